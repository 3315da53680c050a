//! rr-run: record any unmodified dynamic Linux program, and replay it from the log alone.
//!
//! This crate is the host, the side outside the guest. What runs inside is `preload/`, and what
//! both share is [`log_format`].
//!
//! One `read()` of a recorded program, from guest to report:
//!
//! 1. `launch` has started the guest with the shim preloaded and an arena to map.
//! 2. The shim performs the call and appends a record to its slot of the arena.
//! 3. `log` moves full slots into the session as checksummed, compressed frames, out of which
//!    `redact` has taken the secrets.
//! 4. At the end `session` gets its manifest: processes, files, counts.
//! 5. On replay `log` feeds the frames back; the shim answers the call from the record.
//! 6. The first call that differs is a divergence: the host adds stack and context to it and
//!    shows it.
//! 7. [`cli`] has one file per subcommand; `show` and others read events by [`log::Events`].

#![deny(clippy::print_stdout, clippy::print_stderr)]

/// The guide's blocks of Rust are compiled as tests.
#[cfg(doctest)]
#[doc = include_str!("../docs/library.md")]
struct Guide;

pub mod access;
pub mod audit;
pub mod cli;
pub mod config;
pub mod decode;
pub mod doctor;
pub mod error;
pub mod export;
pub mod intercept;
pub mod launch;
pub mod log;
pub mod network;
pub mod player;
pub mod policy;
pub mod record;
pub mod redact;
pub mod replay;
pub mod report;
pub mod session;
pub mod stream;
pub mod telemetry;
