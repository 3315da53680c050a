//! Calls of models in short, kept beside a session's index so that a list need not decode them.

use std::fs;
use std::io::Write as _;
use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::call::{Api, CallEnd, CallId, LlmCall, Operation};
use super::llm_calls;
use super::traffic::Traffic;
use crate::error::Result;
use crate::session::{Session, Status};

/// Name of the file in a session's directory.
pub const CALLS: &str = "calls.idx";
/// Version of its format; another one is made anew.
const VERSION: u32 = 1;
/// Largest file that is read, bytes.
const BYTES_MAX: u64 = 1 << 30;

/// A call in short.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallSummary {
    /// Which.
    pub id: CallId,
    /// Interface.
    pub api: Api,
    /// Provider.
    pub provider: String,
    /// Operation.
    pub operation: Operation,
    /// When its request began, nanoseconds since the recording's start.
    pub started_ns: u64,
    /// When its answer ended.
    pub ended_ns: u64,
    /// Model that answered, or else the one asked for.
    pub model: Option<String>,
    /// Whether the answer came as a stream.
    pub streamed: bool,
    /// Tokens of the prompt, as the provider counted.
    pub input_tokens: Option<u64>,
    /// Tokens of the answer, as the provider counted.
    pub output_tokens: Option<u64>,
    /// Pieces of the answer.
    pub tokens: u64,
    /// From request to first token, nanoseconds.
    pub time_to_first_token_ns: Option<u64>,
    /// See [`LlmCall::tokens_per_second`].
    pub tokens_per_second: Option<f64>,
    /// Kind of the error the service told.
    pub error: Option<String>,
    /// How it ended.
    pub end: CallEnd,
}

impl From<&LlmCall> for CallSummary {
    fn from(call: &LlmCall) -> CallSummary {
        CallSummary {
            id: call.id,
            api: call.api,
            provider: call.provider.clone(),
            operation: call.operation,
            started_ns: call.started_ns,
            ended_ns: call.ended_ns,
            model: call.model().map(str::to_owned),
            streamed: call.streamed,
            input_tokens: call.usage.input_tokens,
            output_tokens: call.usage.output_tokens,
            tokens: call.tokens.len() as u64,
            time_to_first_token_ns: call.timing.time_to_first_token_ns,
            tokens_per_second: call.tokens_per_second(),
            error: call.error.as_ref().map(|error| error.kind.clone()),
            end: call.end.clone(),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    /// Hash of the exchanges they were made from.
    made_from: u64,
    calls: Vec<CallSummary>,
}

/// All calls of a session in short, by their exchanges.
///
/// The first time all exchanges are decoded, and what is found is left in the session's
/// directory if that can be written to.
///
/// # Errors
/// As [`Traffic::exchange`].
pub fn call_summaries(session: &Session, traffic: &Traffic) -> Result<Vec<CallSummary>> {
    let live = session.manifest().status == Status::Recording;
    let path = session.dir().join(CALLS);
    let made_from = serde_json::to_vec(traffic.summaries()).map_or(0, |json| xxh3_64(&json));
    if !live && let Some(calls) = read(&path, made_from) {
        return Ok(calls);
    }
    let file = File { version: VERSION, made_from, calls: decode(traffic)? };
    if !live {
        // One that can't be stored is made again the next time.
        let _ = write(session.dir(), &path, &file);
    }
    Ok(file.calls)
}

/// Decodes all exchanges, on all processors.
fn decode(traffic: &Traffic) -> Result<Vec<CallSummary>> {
    /// Exchanges that a thread takes at a time: those near each other stand in the same frames.
    const BATCH: usize = 32;
    let all = traffic.summaries();
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, Vec<CallSummary>)>> {
        let mut found = Vec::new();
        loop {
            let from = next.fetch_add(BATCH, Ordering::Relaxed);
            let Some(batch) = all.get(from..).filter(|rest| !rest.is_empty()) else {
                return Ok(found);
            };
            let mut calls = Vec::new();
            for summary in batch.iter().take(BATCH) {
                let exchange = traffic.exchange(summary.id)?;
                calls.extend(llm_calls(&exchange)?.iter().map(CallSummary::from));
            }
            found.push((from, calls));
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let threads = threads.min(all.len().div_ceil(BATCH)).max(1);
    let mut found = Vec::new();
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        found.push(work());
        // A thread that panicked has aborted the program.
        found.extend(others.into_iter().filter_map(|other| other.join().ok()));
    });
    let mut batches = found.into_iter().collect::<Result<Vec<_>>>()?.concat();
    batches.sort_by_key(|(from, _)| *from);
    Ok(batches.into_iter().flat_map(|(_, calls)| calls).collect())
}

fn read(path: &Path, made_from: u64) -> Option<Vec<CallSummary>> {
    if fs::metadata(path).ok()?.len() > BYTES_MAX {
        return None;
    }
    let file: File = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    (file.version == VERSION && file.made_from == made_from).then_some(file.calls)
}

fn write(dir: &Path, path: &Path, file: &File) -> std::io::Result<()> {
    let mut out = tempfile::Builder::new().prefix(".calls").tempfile_in(dir)?;
    out.write_all(&serde_json::to_vec(file)?)?;
    out.persist(path).map_err(|e| e.error)?;
    Ok(())
}
