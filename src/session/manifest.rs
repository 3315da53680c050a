//! The manifest: what `manifest.json` of a session says.
//!
//! Written when recording starts (status `recording`), replaced atomically when it ends. Numbers
//! that may exceed 2^53 (keys, identities) stand as 16 hex digits, texts that are not UTF-8 as
//! `{"hex": "..."}`.

mod text;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::policy::Policy;
use crate::report::units;

pub(crate) use text::unhex;
pub use text::{ByteText, hex64};

/// A session's manifest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`log_format::VERSION`] of the session.
    pub format: u32,
    /// Version of the rr-run that recorded it.
    pub rr_run: String,
    /// Hash of the shim that recorded it: another shim may lay out a guest's memory otherwise.
    #[serde(default)]
    pub shim: String,
    /// Name of the session.
    pub name: String,
    /// How recording went.
    pub status: Status,
    /// Start of the recording, nanoseconds since the epoch.
    pub started_ns: u64,
    /// The same moment by the monotonic clock, nanoseconds: times of events count from it.
    #[serde(default)]
    pub started_mono_ns: u64,
    /// End of the recording, nanoseconds since the epoch; 0 while it runs or if it was killed.
    pub ended_ns: u64,
    /// How it was recorded.
    pub options: Options,
    /// The session's seed, 64 hex digits.
    pub seed: String,
    /// The program and what it was started with.
    pub program: Program,
    /// Where it was recorded.
    pub machine: Machine,
    /// The git work tree of the working directory.
    pub git: Option<Git>,
    /// Wait status of the root process, as wait(2) gives it.
    pub wait_status: Option<i32>,
    /// Code `rr-run --record` ended with: the guest's, or 128 + the signal's number.
    pub exit_code: Option<u8>,
    /// All processes, in the order of their ids.
    pub processes: Vec<Process>,
    /// Files that were mapped or executed.
    pub files: Vec<File>,
    /// Sums over all processes.
    pub counts: Counts,
    /// What became of TLS connections.
    #[serde(default)]
    pub tls: TlsSummary,
    /// Secrets that were replaced.
    #[serde(default)]
    pub redactions: Redactions,
    /// Numbers of output writes that were begun and never logged, because the writer was killed.
    pub output_holes: Vec<u64>,
    /// Remarks of the recorder for the user.
    pub warnings: Vec<String>,
}

/// How recording went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Status {
    /// Going on; or the host was killed and nothing has looked at the session since.
    #[default]
    Recording,
    /// Every process's log is whole.
    Complete,
    /// The log ends early.
    CutShort {
        /// Why, for the user.
        reason: String,
    },
}

/// Options of a recording.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// Where the guest's randomness came from.
    pub entropy: Entropy,
    /// Which clock the guest saw.
    pub time: Time,
    /// zstd level; 0 = not compressed.
    pub compress: i32,
    /// Limit of the session's size, bytes; 0 = none.
    pub size_bytes_max: u64,
    /// Limit of one log file, bytes.
    pub rotate_bytes: u64,
    /// How long to wait for other processes after the root's end, seconds.
    pub linger_seconds: f64,
    /// A failure to record ends the guest.
    pub strict: bool,
    /// `rdtsc` was trapped and logged.
    pub trap_tsc: bool,
    /// Wall clock of `time: frozen`, nanoseconds since the epoch.
    #[serde(default)]
    pub frozen_ns: u64,
    /// Monotonic clock of `time: frozen`, nanoseconds.
    pub frozen_mono_ns: u64,
    /// Address space randomisation was off, as an exact process replay needs.
    pub aslr_off: bool,
    /// What was done about TLS.
    #[serde(default)]
    pub tls: TlsMode,
    /// What the guest might do.
    #[serde(default, skip_serializing_if = "Policy::is_empty")]
    pub policy: Policy,
    /// Secrets were replaced.
    #[serde(default)]
    pub redact: bool,
}

/// What is done about TLS connections of the guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum TlsMode {
    /// The host ends them; destinations whose certificate the guest refuses are left alone.
    Auto,
    /// The host ends them.
    Intercept,
    /// They stay ciphertext.
    #[default]
    Passive,
}

/// What became of TLS connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsSummary {
    /// Connections whose plaintext is in the session.
    pub intercepted: u64,
    /// Destinations whose connections stayed ciphertext.
    pub opaque: Vec<OpaqueTls>,
    /// The log of plaintext.
    pub log: PlainLog,
}

/// Connections that stayed ciphertext.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpaqueTls {
    /// Server name that the guest asked for, or the address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Why, for the user.
    pub reason: String,
    /// How many.
    pub connections: u64,
}

/// Size of the log of plaintext.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlainLog {
    /// Records.
    pub events: u64,
    /// Bytes of the log.
    pub bytes: u64,
    /// Bytes of its files.
    pub stored_bytes: u64,
    /// Frames of its files.
    pub frames: u32,
}

/// Secrets that were replaced by placeholders.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redactions {
    /// Places by the rule that found the secret.
    pub rules: BTreeMap<String, u64>,
}

/// Where randomness comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Entropy {
    /// ChaCha20 from the session's seed.
    #[default]
    Seeded,
    /// The operating system; its bytes are logged.
    Os,
}

/// Which clock the guest sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Time {
    /// The real one; its readings are logged.
    #[default]
    Real,
    /// One that stands still.
    Frozen,
}

/// The program and what it was started with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Program {
    /// Arguments, the program's name first.
    pub argv: Vec<ByteText>,
    /// File name as given to execve.
    pub filename: ByteText,
    /// The file that was executed, absolute.
    pub executable: ByteText,
    /// For a script: the words that the kernel puts before its path, an interpreter first.
    #[serde(default)]
    pub interpreters: Vec<ByteText>,
    /// Identity of that file, the name of a kept copy.
    #[serde(with = "hex64")]
    pub identity: u64,
    /// `NAME=value` strings as given to the guest, without rr-run's own.
    pub env: Vec<ByteText>,
    /// LD_PRELOAD of the user, without rr-run's shim.
    pub preload: Option<ByteText>,
    /// Working directory.
    pub cwd: ByteText,
    /// File mode creation mask.
    pub umask: u32,
    /// Resource limits.
    pub rlimits: Vec<Rlimit>,
}

/// One resource limit; `None` is unlimited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// Name as in getrlimit(2), for example `RLIMIT_STACK`.
    pub name: String,
    /// Soft limit.
    pub soft: Option<u64>,
    /// Hard limit.
    pub hard: Option<u64>,
}

/// Where a session was recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// uname: sysname.
    pub system: String,
    /// uname: release.
    pub release: String,
    /// uname: version.
    pub version: String,
    /// uname: machine.
    pub architecture: String,
    /// uname: nodename.
    pub host: String,
    /// Model name of the first processor.
    pub cpu: String,
    /// Number of processors the host could use.
    pub cpus: u32,
    /// Feature flags of the first processor, sorted.
    pub cpu_features: Vec<String>,
}

/// State of a git work tree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Git {
    /// Commit that was checked out.
    pub commit: String,
    /// Whether tracked files were changed.
    pub dirty: bool,
}

/// A recorded process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// `1` for the root, `1.2` for its second child, and so on.
    pub id: String,
    /// Key, also the name of its log files.
    #[serde(with = "hex64")]
    pub key: u64,
    /// Key of the parent; 0 for the root.
    #[serde(with = "hex64")]
    pub parent_key: u64,
    /// Which child of its parent this is, from 1; 0 for the root.
    pub ordinal: u32,
    /// Pid while recording.
    pub pid: i32,
    /// Arguments of the last program it executed, as far as the log tells.
    pub argv: Vec<ByteText>,
    /// Programs it executed after its start.
    pub execs: u32,
    /// How it ended, as wait(2) gives it; none if that was not seen.
    pub wait_status: Option<i32>,
    /// Whether its log ends with its end.
    pub complete: bool,
    /// Why the program that it executed last ran unseen, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opaque: Option<String>,
    /// Events logged.
    pub events: u64,
    /// Bytes of its log.
    pub bytes: u64,
    /// Bytes of its log files.
    pub stored_bytes: u64,
    /// Frames of its log files.
    pub frames: u32,
    /// Records it could not log because recording had stopped.
    pub dropped: u64,
}

/// A file that was mapped or executed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Where it was.
    pub path: ByteText,
    /// Hash of device, inode, size and times: see `log_format::record::file_identity`.
    #[serde(with = "hex64")]
    pub identity: u64,
    /// Device.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
    /// Size, bytes.
    pub size: u64,
    /// Modification time, nanoseconds since the epoch.
    pub mtime_ns: u64,
    /// blake3 of the content, 64 hex digits; empty if it could not be read any more.
    pub blake3: String,
    /// A copy is in the session's `files` directory.
    pub kept: bool,
    /// The copy has placeholders where the original has secrets.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub redacted: bool,
    /// It was executed (not only mapped).
    pub executed: bool,
    /// Names by which the loader opened it, where a replay could need them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<ByteText>,
    /// It belongs to the system (under /usr, /lib ... and owned by root).
    pub system: bool,
}

/// Sums over all processes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Events.
    pub events: u64,
    /// Bytes logged.
    pub bytes: u64,
    /// Bytes of all log files.
    pub stored_bytes: u64,
    /// Events by kind (`call`, `clock`, `signal` ...).
    pub kinds: BTreeMap<String, u64>,
    /// Notes by code (`refused`, `opaque`, `unknown` ...).
    pub notes: BTreeMap<String, u64>,
    /// Signals that came while a thread made no call: where their handlers ran is not reproduced.
    #[serde(default)]
    pub inexact_signals: u64,
    /// Connections made or accepted.
    #[serde(default)]
    pub connections: u64,
    /// Records dropped because recording had stopped.
    pub dropped: u64,
    /// Writes to stdout and stderr, those that were begun and never logged included; not known
    /// of sessions that older versions have recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_writes: Option<u64>,
}

impl Manifest {
    /// The process with this id (`1.2`) or key (16 hex digits) or recorded pid.
    pub fn process(&self, name: &str) -> Option<&Process> {
        let by_id = self.processes.iter().find(|p| p.id == name);
        let by_key = || {
            let key = u64::from_str_radix(name, 16).ok().filter(|_| name.len() == 16)?;
            self.processes.iter().find(|p| p.key == key)
        };
        let by_pid = || {
            let pid = name.parse::<i32>().ok()?;
            self.processes.iter().find(|p| p.pid == pid)
        };
        by_id.or_else(by_key).or_else(by_pid)
    }

    /// The process with this name, as [`Manifest::process`] takes it.
    ///
    /// # Errors
    /// [`Error::Usage`] if there is none.
    pub fn named(&self, name: &str) -> Result<&Process> {
        self.process(name).ok_or_else(|| {
            let known: Vec<_> = self.processes.iter().map(|p| p.id.as_str()).collect();
            let known = units::clip(&known.join(", "), 80);
            Error::Usage(format!("the session has no process '{name}', only {known}"))
        })
    }

    /// Path of a kept copy, relative to the session.
    pub fn kept_path(identity: u64) -> PathBuf {
        PathBuf::from(format!("files/{identity:016x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_survives_json() {
        let mut manifest = Manifest { format: 1, name: "x".into(), ..Manifest::default() };
        manifest.program.argv = vec![ByteText(b"caf\xe9".to_vec()), ByteText(b"ok".to_vec())];
        manifest.status = Status::CutShort { reason: "why".into() };
        manifest.processes.push(Process { key: u64::MAX, id: "1".into(), ..Process::default() });
        let json = serde_json::to_string_pretty(&manifest).unwrap();
        assert!(json.contains("ffffffffffffffff") && json.contains("\"hex\": \"636166e9\""));
        assert_eq!(serde_json::from_str::<Manifest>(&json).unwrap(), manifest);
        assert_eq!(manifest.process("1").map(|p| p.key), Some(u64::MAX));
    }
}
