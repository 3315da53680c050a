//! Printing a call's tokens in their recorded timing.

use std::io::{ErrorKind, Write};

use crate::error::Result;
use crate::report::out::written;
use crate::stream::{LlmCall, ReplayTiming, StreamReplay, TokenKind};

/// Plays a call to standard output. Reasoning and tool calls are set apart by a line of their
/// own.
///
/// # Errors
/// Those of standard output, but for a reader that has gone.
pub(super) fn play(call: LlmCall, timing: ReplayTiming) -> Result<u8> {
    let names: Vec<String> = call.tool_calls().map(|call| call.name.clone()).collect();
    match print(StreamReplay::new(call.tokens, timing), &names) {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(0),
        result => result.map(|()| 0).map_err(written),
    }
}

fn print(tokens: StreamReplay, names: &[String]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let mut part = None;
    for token in tokens {
        let next = (token.kind, token.output, token.tool_call);
        if part != Some(next) {
            let name = token.tool_call.and_then(|n| names.get(n as usize));
            let title = match token.kind {
                TokenKind::Text if part.is_none() => None,
                TokenKind::Text => Some("answer".to_owned()),
                TokenKind::Reasoning => Some("reasoning".to_owned()),
                TokenKind::Refusal => Some("refusal".to_owned()),
                TokenKind::ToolCall => {
                    Some(format!("calls {}", name.map_or("a tool", String::as_str)))
                }
                TokenKind::Event => None,
            };
            if part.is_some() {
                writeln!(out)?;
            }
            if let Some(title) = title {
                writeln!(out, "[{title}]")?;
            }
            part = Some(next);
        }
        for c in token.text.chars() {
            match c {
                '\n' | '\t' => write!(out, "{c}")?,
                c if c.is_control() => write!(out, "{}", c.escape_default())?,
                c => write!(out, "{c}")?,
            }
        }
        if token.kind == TokenKind::Event {
            writeln!(out)?;
        }
        out.flush()?;
    }
    writeln!(out)
}
