//! Turns of a WebSocket: one message of the client and what the server sends until the next.

use super::key::{Canonical, Content};
use crate::stream::{Direction, Message};

/// Method under which turns are looked up.
pub const METHOD: &str = "MESSAGE";

/// One turn.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    /// Its number: 0 is what the server sends by itself at first.
    pub number: u32,
    /// What the client sent; none in turn 0.
    pub asked: Option<&'a Message>,
    /// What follows from the server.
    pub answers: &'a [Message],
}

/// The turns of these messages. Answers may hold pings and pongs of either side.
pub fn turns(messages: &[Message]) -> Vec<Turn<'_>> {
    let starts = |m: &Message| {
        m.direction == Direction::Sent && matches!(m.opcode, Message::TEXT | Message::BINARY)
    };
    let mut all = Vec::new();
    let (mut rest, mut asked) = (messages, None);
    loop {
        let end = rest.iter().position(starts).unwrap_or(rest.len());
        let (answers, after) = rest.split_at(end);
        all.push(Turn { number: all.len() as u32, asked, answers });
        let Some((first, after)) = after.split_first() else { return all };
        (asked, rest) = (Some(first), after);
    }
}

/// The canonical form of a message on the connection that `upgrade` opened.
pub fn canonical(upgrade: &Canonical, message: &Message) -> Canonical {
    let bytes = &message.bytes[..];
    let body = match (serde_json::from_slice(bytes), std::str::from_utf8(bytes)) {
        (Ok(value), _) => Content::Json(value),
        (_, Ok(text)) => Content::Text(text.to_owned()),
        _ => Content::Binary {
            bytes: bytes.len() as u64,
            hash: blake3::hash(bytes).to_hex().to_string(),
        },
    };
    Canonical { method: METHOD.into(), body, headers: Vec::new(), ..upgrade.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_a_question_with_what_follows() {
        let message = |direction, opcode, text: &'static str| Message {
            direction,
            opcode,
            bytes: text.into(),
            time_ns: 0,
            step: 0,
            pieces: Vec::new(),
        };
        use Direction::{Received, Sent};
        let messages = [
            message(Received, 1, "hello"),
            message(Sent, 1, "a"),
            message(Received, 1, "1"),
            message(Sent, 10, ""),
            message(Received, 1, "2"),
            message(Sent, 1, "b"),
        ];
        let all = turns(&messages);
        let shape: Vec<_> = all.iter().map(|t| (t.number, t.answers.len())).collect();
        assert_eq!(shape, [(0, 1), (1, 3), (2, 0)]);
        assert_eq!(turns(&[]).len(), 1);
    }
}
