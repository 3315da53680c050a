//! Errors a user can meet, and the exit code of each.
//!
//! Every message is a sentence in lower case that continues "failed to", and every error has a
//! piece of advice that the program prints after "try:". `docs/ERRORS.md` lists them.

use std::io;
use std::path::{Path, PathBuf};

/// Exit codes of `rr-run` itself. Any other code is the guest's (128 + n for signal n).
pub mod exit {
    /// Requests were not those of the recording, or not all of those were made.
    pub const MISMATCH: u8 = 119;
    /// The replay differs from its recording.
    pub const DIVERGENCE: u8 = 120;
    /// The session is missing, damaged, of a newer version or in use.
    pub const SESSION: u8 = 121;
    /// The program can't be recorded: static, 32-bit, setuid, another architecture.
    pub const PROGRAM: u8 = 122;
    /// Sessions or runs that were compared differ.
    pub const NOT_DETERMINISTIC: u8 = 123;
    /// The comparison could not be made.
    pub const UNDECIDED: u8 = 124;
    /// rr-run itself failed: wrong usage, no permission, disk full.
    pub const INTERNAL: u8 = 125;
    /// The program exists and can't be executed.
    pub const NOT_EXECUTABLE: u8 = 126;
    /// There is no such program.
    pub const NOT_FOUND: u8 = 127;
}

/// Result of nearly everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, as far as a user can do something about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call to the operating system failed.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done, continuing "failed to".
        doing: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The command line makes no sense.
    #[error("understand the command line: {0}")]
    Usage(String),
    /// No session of this name.
    #[error("find the session '{name}': there is none in {store}")]
    SessionMissing {
        /// What was asked for.
        name: String,
        /// Where sessions are kept.
        store: PathBuf,
    },
    /// A name that stands for several sessions.
    #[error("find the session '{name}': several begin so ({matches})")]
    SessionAmbiguous {
        /// What was asked for.
        name: String,
        /// Some of the matches.
        matches: String,
    },
    /// The store holds nothing.
    #[error("find a session: there is none in {store}")]
    NoSession {
        /// Where sessions are kept.
        store: PathBuf,
    },
    /// A session of this name is there already.
    #[error("create the session '{name}': it exists already")]
    SessionExists {
        /// Its name.
        name: String,
    },
    /// The session is being recorded at this moment.
    #[error("use the session '{name}': it is being recorded")]
    SessionBusy {
        /// Its name.
        name: String,
    },
    /// The session was written by a newer rr-run.
    #[error("read {path}: it has format version {found}, this rr-run reads up to {known}")]
    SessionNewer {
        /// File that carries the version.
        path: PathBuf,
        /// Version found.
        found: u32,
        /// Newest version this program reads.
        known: u32,
    },
    /// The session's bytes are not what was written.
    #[error("read {path}: {what} ({readable})")]
    Damaged {
        /// The damaged file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
        /// What can be read all the same.
        readable: String,
    },
    /// No such program.
    #[error("find the program '{program}': {reason}")]
    ProgramMissing {
        /// As given on the command line.
        program: String,
        /// Where was looked.
        reason: String,
    },
    /// The file can't be executed.
    #[error("execute {path}: {reason}")]
    NotExecutable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A program that can't be intercepted.
    #[error("record {path}: {reason}")]
    ProgramUnusable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A file that the recording mapped or executed is another one now.
    #[error("replay with {path}: {reason}, and the session keeps no copy")]
    FileChanged {
        /// The file.
        path: PathBuf,
        /// How it differs.
        reason: String,
    },
    /// The machine does not offer what recording or replaying needs.
    #[error("{doing}: {reason}")]
    Machine {
        /// What was being done, continuing "failed to".
        doing: String,
        /// What is missing.
        reason: String,
    },
    /// The replay differs from its recording; the report has been shown.
    #[error("replay '{session}': it differs from its recording at step {step}")]
    Diverged {
        /// Name of the session.
        session: String,
        /// First step that differs.
        step: u64,
    },
    /// A file of rules can't be used.
    #[error("read the rules in {file}: {reason}")]
    Rules {
        /// The file.
        file: String,
        /// What is wrong with it, and where.
        reason: String,
    },
    /// A configuration file can't be used.
    #[error("read the configuration in {file}: {reason}")]
    Config {
        /// The file.
        file: PathBuf,
        /// What is wrong with it, and where.
        reason: String,
    },
    /// Requests were not those of the recording; the report has been shown.
    #[error("serve '{session}' as it was recorded: {what}")]
    Mismatched {
        /// Name of the session.
        session: String,
        /// How many requests did not match, how many exchanges were not asked for.
        what: String,
    },
    /// Compared runs or sessions differ.
    #[error("find {what} equal")]
    NotDeterministic {
        /// What was compared.
        what: String,
    },
    /// A comparison could not be made.
    #[error("compare {what}: {reason}")]
    Undecided {
        /// What was to be compared.
        what: String,
        /// Why that was not possible.
        reason: String,
    },
}

impl Error {
    /// An I/O error met while `doing` something (continuing "failed to").
    pub fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let doing = doing.into();
        move |source| Error::Io { doing, source }
    }

    /// An I/O error met while doing `verb` to a file.
    pub fn file(verb: &str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        Error::io(format!("{verb} {}", path.display()))
    }

    /// Damage found in a file of a session.
    pub fn damaged(path: &Path, what: impl Into<String>, readable: impl Into<String>) -> Error {
        Error::Damaged { path: path.to_owned(), what: what.into(), readable: readable.into() }
    }

    /// The code `rr-run` ends with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Io { .. }
            | Error::Usage(_)
            | Error::Rules { .. }
            | Error::Config { .. }
            | Error::Machine { .. } => exit::INTERNAL,
            Error::SessionMissing { .. }
            | Error::SessionAmbiguous { .. }
            | Error::NoSession { .. }
            | Error::SessionExists { .. }
            | Error::SessionBusy { .. }
            | Error::SessionNewer { .. }
            | Error::Damaged { .. }
            | Error::FileChanged { .. } => exit::SESSION,
            Error::ProgramMissing { .. } => exit::NOT_FOUND,
            Error::NotExecutable { .. } => exit::NOT_EXECUTABLE,
            Error::ProgramUnusable { .. } => exit::PROGRAM,
            Error::Diverged { .. } => exit::DIVERGENCE,
            Error::Mismatched { .. } => exit::MISMATCH,
            Error::NotDeterministic { .. } => exit::NOT_DETERMINISTIC,
            Error::Undecided { .. } => exit::UNDECIDED,
        }
    }

    /// What the user can do about it, printed after "try:".
    pub fn advice(&self) -> &'static str {
        match self {
            Error::Io { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    "another directory with -o DIR or RR_RUN_DIR"
                }
                io::ErrorKind::StorageFull => "-o DIR on a file system with more space",
                _ => "`rr-run doctor`, which checks what rr-run needs",
            },
            Error::Usage(_) => "`rr-run --help`",
            Error::SessionMissing { .. }
            | Error::SessionAmbiguous { .. }
            | Error::SessionExists { .. } => "`rr-run ls` for the names in use, or another -o DIR",
            Error::NoSession { .. } => "`rr-run --record PROGRAM` first, or another -o DIR",
            Error::SessionBusy { .. } => "again when its program has ended",
            Error::SessionNewer { .. } => "the rr-run that recorded it, or a newer one",
            Error::Damaged { .. } => "`rr-run verify`, which says what is still readable",
            Error::ProgramMissing { .. } => "the program's full path",
            Error::NotExecutable { .. } => "`ls -l` on the file, and `chmod +x` if it is a program",
            Error::ProgramUnusable { .. } => {
                "a dynamically linked x86-64 build of the program without setuid"
            }
            Error::FileChanged { .. } => {
                "the original file at its place, or record again (system files are not kept)"
            }
            Error::Machine { .. } => "`rr-run doctor`",
            Error::Diverged { .. } => "`rr-run audit` to see whether it always differs there",
            Error::Rules { .. } => "the examples in docs/replay-network.md",
            Error::Config { .. } => "the keys in docs/configuration.md",
            Error::Mismatched { .. } => {
                "`rr-run mismatches`, and `rr-run mismatches --suggest` for rules that accept them"
            }
            Error::NotDeterministic { .. } => "`rr-run diff` on the two sessions",
            Error::Undecided { .. } => "`rr-run verify` on the sessions first",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_has_every_error() {
        let documentation = include_str!("../docs/ERRORS.md");
        let source = include_str!("error.rs");
        let body = source.split("pub enum Error {").nth(1).unwrap().split("\n}\n").next().unwrap();
        let variants = body.lines().filter_map(|line| {
            let name = line.strip_prefix("    ")?;
            let name = name.split([' ', '(']).next()?;
            name.starts_with(|c: char| c.is_ascii_uppercase()).then_some(name)
        });
        let mut count = 0;
        for name in variants {
            assert!(documentation.contains(&format!("**`{name}`**")), "{name}");
            count += 1;
        }
        assert!(count > 10);
    }

    #[test]
    fn own_exit_codes_are_distinct_and_below_the_signal_range() {
        let codes = [
            exit::MISMATCH,
            exit::DIVERGENCE,
            exit::SESSION,
            exit::PROGRAM,
            exit::NOT_DETERMINISTIC,
            exit::UNDECIDED,
            exit::INTERNAL,
            exit::NOT_EXECUTABLE,
            exit::NOT_FOUND,
        ];
        assert!(codes.windows(2).all(|w| w[0] < w[1]) && codes[8] < 128);
    }
}
