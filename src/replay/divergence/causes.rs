//! What may have caused a divergence.

use std::collections::BTreeSet;

use log_format::record::{Dir, Kind, Record, extra, flag, note};

use super::{Report, What};
use crate::error::Result;
use crate::launch::shim;
use crate::log::scan::file_id;
use crate::session::Session;

/// What may have caused a divergence of the process with this key, likeliest first; `record` is
/// what was recorded at its step.
pub(super) fn find(
    report: &Report,
    session: &Session,
    key: u64,
    record: Option<&Record<'_>>,
) -> Vec<String> {
    if report.what == What::Until {
        return Vec::new();
    }
    let mut causes = Vec::new();
    let mut suspects = Suspects::default();
    // A damaged log has told its damage already.
    let _ = suspects.read(session, key, report.step);
    if let Some(step) = suspects.inexact {
        causes.push(format!(
            "a signal that came while the program made no call (step {step}): replay runs its \
             handler at the end of the call before"
        ));
    }
    let recorder = &session.manifest().shim;
    if !recorder.is_empty() && *recorder != shim::HASH {
        causes.push("the session was recorded by another build of rr-run".into());
    }
    if !suspects.random.is_empty() && !matches!(report.what, What::File | What::Log) {
        let files = suspects.random.into_iter().collect::<Vec<_>>().join(", ");
        causes.push(format!("random numbers of the processor, which {files} can take"));
    }
    causes.extend(common(report.what, record).into_iter().map(str::to_owned));
    causes
}

/// What the log tells, before a step, of things that are not reproduced.
#[derive(Debug, Default)]
struct Suspects {
    /// Step of the last signal that came where no call was made.
    inexact: Option<u64>,
    /// Files with instructions that give random numbers.
    random: BTreeSet<String>,
}

impl Suspects {
    fn read(&mut self, session: &Session, key: u64, end: u64) -> Result<()> {
        let manifest = session.manifest();
        let Some(process) = manifest.processes.iter().find(|p| p.key == key) else {
            return Ok(());
        };
        let mut events = session.events(process)?;
        while let Some(event) = events.next_event()? {
            if event.step >= end {
                break;
            }
            let header = event.record.header;
            match header.kind {
                Kind::Signal if header.flags & flag::INEXACT != 0 => {
                    self.inexact = Some(event.step);
                }
                Kind::Note => {
                    if let Some((note::RANDOM, path)) = event.record.note() {
                        self.random.insert(String::from_utf8_lossy(path).into_owned());
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// What commonly causes such a difference, likeliest first.
fn common(what: What, record: Option<&Record<'_>>) -> Vec<&'static str> {
    const RANDOM: &str = "randomness that can't be trapped: RDRAND, RDSEED (the recording's \
                          `rr-run info` and OPENSSL_ia32cap tell), or rdtsc (`--trap-tsc`)";
    const ADDRESSES: &str = "an address in the data: hash order or pointers printed, and address \
                             space randomisation was on in one of the runs";
    const CHANGED: &str = "another kernel, processor or library than when it was recorded";
    const RACE: &str = "threads or processes that share memory and race without a call";
    const SPIN: &str = "a thread that was preempted while it computed (`rr-run show` has preempt \
                        events)";
    let mut causes = match what {
        What::Call | What::PastEnd | What::End | What::Standstill => {
            vec![RACE, RANDOM, CHANGED, SPIN]
        }
        What::Argument => vec![RACE, ADDRESSES, RANDOM],
        What::Buffer => vec![RANDOM, ADDRESSES, RACE],
        What::Result => vec!["address space randomisation was on in one of the runs", CHANGED],
        What::Thread => vec![SPIN, RACE],
        What::File => vec!["a file that was replaced since, and not kept in the session", CHANGED],
        What::Log => vec!["a damaged session (`rr-run verify`)", "a defect of rr-run"],
        What::Process => vec![RACE, "a recording that was cut short"],
        What::Until => Vec::new(),
    };
    let file = record.and_then(|r| r.call().ok()).and_then(|c| c.buf(extra::FILE, Dir::Extra));
    if !matches!(what, What::File | What::Until) && file.is_some_and(|b| file_id(b.bytes).is_some())
    {
        causes.push("a mapped file that differs");
    }
    causes
}
