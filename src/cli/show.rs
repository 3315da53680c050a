//! `rr-run show`.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::Write;

use serde_json::json;

use super::StoreArgs;
use crate::decode;
use crate::error::{Error, Result};
use crate::report::out::{stdout, tell, written};
use crate::report::units;
use crate::session::{Process, Session, Status};

mod filter;

use filter::{Filter, Steps};

/// Show the events of a session as strace shows calls.
///
/// One line each: process, step, thread, event. Processes follow each other in the order of
/// their ids.
#[derive(Debug, clap::Args)]
pub(super) struct Show {
    #[command(flatten)]
    store: StoreArgs,
    /// Only this process: its id (1.2), key or pid; may be given several times
    #[arg(short, long, value_name = "PROCESS")]
    process: Vec<String>,
    /// Only these calls, or kinds of event: clock, signal, exit, start, thread, yield, note ...
    #[arg(short, long, value_name = "NAME", value_delimiter = ',')]
    call: Vec<String>,
    /// Only calls on this file descriptor
    #[arg(long, value_name = "FD")]
    fd: Option<i32>,
    /// Only these steps: A..B, A.., ..B or A (B is included)
    #[arg(short, long, value_name = "STEPS")]
    step: Option<Steps>,
    /// Only this thread's events, by its number in its process
    #[arg(short, long, value_name = "N")]
    thread: Option<u16>,
    /// Calls that failed only
    #[arg(long)]
    failed: bool,
    /// Show when calls that move bytes had completed: seconds since the recording's start
    #[arg(long)]
    times: bool,
    /// Leave out the token's hand-overs and other events that are no calls of the program
    #[arg(long)]
    no_schedule: bool,
    /// At most this many events
    #[arg(short = 'n', long, value_name = "N")]
    limit: Option<u64>,
    /// Only the last N of what would be shown
    #[arg(long, value_name = "N")]
    tail: Option<usize>,
    /// Bytes of each string that are shown
    #[arg(long, value_name = "BYTES", default_value_t = 64)]
    string_limit: usize,
    /// One JSON object a line, with all bytes
    #[arg(long)]
    json: bool,
    /// Name or directory of the session [default: the latest]
    session: Option<OsString>,
}

impl Show {
    /// Shows the events; the exit code.
    ///
    /// # Errors
    /// There is no such session or process, or a log is damaged; what can be read is shown first.
    pub(super) fn run(self) -> Result<u8> {
        let session = self.store.store()?.open(self.session.as_deref())?;
        let processes = self.processes(&session)?;
        if processes.is_empty() && session.manifest().status == Status::Recording {
            tell!("rr-run: the session is being recorded, and nothing of its log is written yet");
        }
        let filter = Filter::new(&self.call, self.fd, self.step, self.thread)?
            .failed(self.failed)
            .without_schedule(self.no_schedule);
        stdout(|out| {
            let mut lines = Lines {
                out,
                left: self.limit.unwrap_or(u64::MAX),
                tail: self.tail.map(|n| (n, VecDeque::new())),
            };
            let mut damage = None;
            for process in processes {
                if let Err(e) = self.process(&session, process, &filter, &mut lines) {
                    match e {
                        Error::Damaged { .. } | Error::SessionNewer { .. } => damage = Some(e),
                        other => return Err(other),
                    }
                }
                if lines.left == 0 {
                    break;
                }
            }
            lines.finish()?;
            damage.map_or(Ok(0), Err)
        })
    }

    fn processes<'a>(&self, session: &'a Session) -> Result<Vec<&'a Process>> {
        let manifest = session.manifest();
        if self.process.is_empty() {
            return Ok(manifest.processes.iter().collect());
        }
        self.process.iter().map(|name| manifest.named(name)).collect()
    }

    /// Shows one process's events, and where its log ends if that is not its end.
    fn process(
        &self,
        session: &Session,
        process: &Process,
        filter: &Filter,
        lines: &mut Lines<'_>,
    ) -> Result<()> {
        let options = decode::Options { string_bytes_max: self.string_limit, ..Default::default() };
        let manifest = session.manifest();
        let id_width = manifest.processes.iter().map(|p| p.id.len()).max().unwrap_or(1);
        let step_width = process.events.max(1).to_string().len();
        let mut events = session.events(process)?;
        if filter.first_step() > 0 {
            events.seek(filter.first_step())?;
        }
        let ended = loop {
            let event = match events.next_event() {
                Ok(Some(event)) => event,
                Ok(None) => break Ok(()),
                Err(e) => break Err(e),
            };
            if event.step > filter.last_step() {
                return Ok(());
            }
            if !filter.takes(event.step, &event.record) {
                continue;
            }
            let time_ns = event.time_ns().map(|t| t.saturating_sub(manifest.started_mono_ns));
            let line = if self.json {
                let mut value = decode::json(&event.record);
                if let Some(time_ns) = time_ns.filter(|_| manifest.started_mono_ns != 0) {
                    value["time_ns"] = time_ns.into();
                }
                value["process"] = process.id.as_str().into();
                value["step"] = event.step.into();
                value.to_string()
            } else {
                let (id, step, thread) = (&process.id, event.step, event.record.header.thread);
                let text = decode::record(&event.record, &options);
                let time = if self.times { seconds(time_ns) } else { String::new() };
                format!("{id:<id_width$} {step:>step_width$} t{thread:<2} {time}{text}")
            };
            lines.event(line)?;
            if lines.left == 0 {
                return Ok(());
            }
        };
        let why = match &ended {
            Err(Error::Damaged { path, what, .. }) => {
                let file = path.file_name().unwrap_or_default().to_string_lossy();
                format!("the log is damaged here: {file}: {what}")
            }
            Err(e) => format!("the log can't be read further: {e}"),
            Ok(()) if process.complete => return Ok(()),
            Ok(()) => reason(session, process),
        };
        let step = events.next_step();
        if self.json {
            lines.remark(
                json!({ "process": process.id, "log_ends": why, "step": step }).to_string(),
            )?;
        } else {
            let id = &process.id;
            lines.remark(format!("{id:<id_width$} {step:>step_width$} --- {why} ---"))?;
        }
        ended
    }
}

/// A time as a column of its own, blank if it was not noted.
fn seconds(time_ns: Option<u64>) -> String {
    match time_ns {
        Some(ns) => format!("{:>12.6} ", ns as f64 / 1e9),
        None => format!("{:>12} ", ""),
    }
}

/// Why an undamaged log ends before its process's exit.
fn reason(session: &Session, process: &Process) -> String {
    match &session.manifest().status {
        Status::Recording => "the log goes on: the session is being recorded".into(),
        _ if process.wait_status.is_some_and(|s| s & 0x7f != 0) => {
            format!("the log ends here: the process was {}", units::end(process))
        }
        Status::CutShort { reason } => format!("the log ends here: {reason}"),
        Status::Complete => "the log ends here; the process's end was not logged".into(),
    }
}

/// Output lines, up to a limit, or only the last ones.
struct Lines<'a> {
    out: &'a mut dyn Write,
    left: u64,
    tail: Option<(usize, VecDeque<String>)>,
}

impl Lines<'_> {
    fn event(&mut self, line: String) -> Result<()> {
        self.left -= 1;
        self.remark(line)
    }

    fn remark(&mut self, line: String) -> Result<()> {
        match &mut self.tail {
            None => writeln!(self.out, "{line}").map_err(written),
            Some((max, kept)) => {
                kept.push_back(line);
                if kept.len() > *max {
                    kept.pop_front();
                }
                Ok(())
            }
        }
    }

    fn finish(&mut self) -> Result<()> {
        for line in self.tail.take().map(|(_, kept)| kept).unwrap_or_default() {
            writeln!(self.out, "{line}").map_err(written)?;
        }
        Ok(())
    }
}
