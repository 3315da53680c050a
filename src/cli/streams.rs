//! `rr-run streams`.

mod page;
mod play;
mod raw;
mod stats;
mod table;
#[cfg(test)]
mod tests;

use std::ffi::OsString;

use serde_json::json;

use super::StoreArgs;
use crate::error::{Error, Result};
use crate::report::out::{self, stdout, tell, written};
use crate::session::Session;
use crate::stream::performance::StreamPerformance;
use crate::stream::recorded::call_of;
use crate::stream::summary::call_summaries;
use crate::stream::traffic::Traffic;
use crate::stream::{CallId, ReplayTiming, llm_calls};

/// Show what went over a session's connections: HTTP exchanges and calls of language models.
///
/// Without an ID: a table of the exchanges, one line each. With one: the request and the
/// response, merged. Works on a session that is being recorded, too.
#[derive(Debug, clap::Args)]
#[command(override_usage = "rr-run streams [OPTIONS] [SESSION] [ID]")]
pub(super) struct Streams {
    #[command(flatten)]
    store: StoreArgs,
    /// Only calls of language models, and unknown streams
    #[arg(long)]
    llm: bool,
    /// The exchange's bytes: heads, and bodies without their transfer coding
    #[arg(long, conflicts_with_all = ["json", "play"])]
    raw: bool,
    /// JSON: the list, the call, or the figures
    #[arg(long, conflicts_with = "play")]
    json: bool,
    /// Print the tokens in their recorded timing
    #[arg(long)]
    play: bool,
    /// Play so many times as fast
    #[arg(long, value_name = "FACTOR", requires = "play", default_value_t = 1.0)]
    speed: f64,
    /// Figures by model: time to first token, gaps between tokens, stalls
    #[arg(long, conflicts_with_all = ["raw", "play", "llm"])]
    stats: bool,
    /// Name or directory of the session [default: the latest], and an exchange's number (7; over
    /// a WebSocket 7.2)
    #[arg(value_names = ["SESSION", "ID"], num_args = 0..=2)]
    what: Vec<OsString>,
}

impl Streams {
    /// Shows the table, an exchange or the figures; the exit code.
    ///
    /// # Errors
    /// There is no such session or exchange, or it can't be read.
    pub(super) fn run(self) -> Result<u8> {
        let (name, id) = self.target()?;
        let session = self.store.store()?.open(name.as_deref())?;
        if self.stats {
            return self.figures(&session, id);
        }
        let traffic = session.traffic()?;
        for damage in traffic.damage() {
            tell!("rr-run: what follows is not all: {damage}");
        }
        let Some(id) = id else {
            if self.raw || self.play {
                let usage = "--raw and --play need the number of an exchange: streams SESSION ID";
                return Err(Error::Usage(usage.into()));
            }
            return self.list(&session, &traffic);
        };
        if self.play {
            let timing = match self.speed {
                factor if factor > 0.0 => ReplayTiming::Scaled(1.0 / factor),
                _ => return Err(Error::Usage("--speed must be greater than 0".into())),
            };
            return play::play(call_of(&traffic, id)?, timing);
        }
        let exchange = traffic.exchange(id.exchange)?;
        if self.raw {
            return stdout(|out| raw::raw(out, &exchange));
        }
        let calls = llm_calls(&exchange)?;
        let call = calls.iter().find(|call| call.id == id);
        if call.is_none() && !calls.is_empty() {
            call_of(&traffic, id)?;
        }
        stdout(|out| {
            if self.json {
                out::json(out, &json!({ "exchange": page::head_json(&exchange), "call": call }))?;
            } else {
                let key = exchange.request.process;
                let process = session.manifest().processes.iter().find(|p| p.key == key);
                let process = process.map_or_else(|| format!("{key:x}"), |p| p.id.clone());
                let text = page::page(&process, &exchange, call)?;
                out.write_all(text.as_bytes()).map_err(written)?;
            }
            Ok(0)
        })
    }

    /// The session and the exchange that are meant: a number alone is one of the latest session.
    fn target(&self) -> Result<(Option<OsString>, Option<CallId>)> {
        let id = |text: &OsString| text.to_str().and_then(|text| text.parse::<CallId>().ok());
        match &self.what[..] {
            [] => Ok((None, None)),
            [one] => Ok(match id(one) {
                Some(id) => (None, Some(id)),
                None => (Some(one.clone()), None),
            }),
            [session, last, ..] => match id(last) {
                Some(id) => Ok((Some(session.clone()), Some(id))),
                None => {
                    let text = last.to_string_lossy();
                    let what = format!("'{text}' is no number of an exchange (7, or 7.2)");
                    Err(Error::Usage(what))
                }
            },
        }
    }

    fn list(&self, session: &Session, traffic: &Traffic) -> Result<u8> {
        let calls = call_summaries(session, traffic)?;
        let rows = table::rows(session, traffic, calls, self.llm);
        stdout(|out| {
            if self.json {
                out::json(out, &rows)?;
                return Ok(0);
            }
            let mut text = table::render(&rows);
            text.push_str(&table::opaque(traffic.connections()));
            out.write_all(text.as_bytes()).map_err(written)?;
            Ok(0)
        })
    }

    fn figures(&self, session: &Session, id: Option<CallId>) -> Result<u8> {
        let figures: StreamPerformance = match id {
            Some(id) => crate::stream::performance::performance(&[session.llm_call(id)?]),
            None => session.analyze_stream_performance()?,
        };
        stdout(|out| {
            if self.json {
                out::json(out, &figures)?;
            } else {
                out.write_all(stats::render(&figures).as_bytes()).map_err(written)?;
            }
            Ok(0)
        })
    }
}
