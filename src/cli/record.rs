//! `rr-run record`, and `rr-run run`, which only seeds.

use std::ffi::OsString;

use super::StoreArgs;
use crate::error::{Error, Result};
use crate::session::manifest::{Entropy, Time};

/// Run a program and record it into a new session.
#[derive(Debug, clap::Args)]
pub(super) struct Record {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    guest: Guest,
    /// Name of the session [default: time and program]
    #[arg(long)]
    name: Option<String>,
    /// zstd level of the log; 0 = off
    #[arg(long, value_name = "LEVEL", default_value_t = 1, value_parser = clap::value_parser!(i32).range(0..=19))]
    compress: i32,
    /// End recording (not the program) when the session has this size, for example 500M
    #[arg(long, value_name = "SIZE")]
    max_size: Option<String>,
    /// Seconds to wait for background processes after the program's end
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    linger: f64,
    /// End the program if a call can't be recorded
    #[arg(long)]
    strict_record: bool,
}

/// Run a program with seeded randomness, without recording it.
#[derive(Debug, clap::Args)]
pub(super) struct Run {
    #[command(flatten)]
    guest: Guest,
}

/// The program and what it sees.
#[derive(Debug, clap::Args)]
struct Guest {
    /// Seed of all randomness: 64 hex digits, or any text
    #[arg(long)]
    seed: Option<String>,
    /// Where the program's randomness comes from
    #[arg(long, value_name = "SOURCE", default_value = "seeded")]
    entropy: Entropy,
    /// Which clock the program sees
    #[arg(long, value_name = "CLOCK", default_value = "real")]
    time: Time,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

impl Record {
    /// Records the program; its exit code.
    ///
    /// # Errors
    /// The program can't be recorded, or the session not be written.
    pub(super) fn run(self) -> Result<u8> {
        Err(Error::Usage("'record' is not there yet".into()))
    }
}

impl Run {
    /// Runs the program; its exit code.
    ///
    /// # Errors
    /// The program can't be run.
    pub(super) fn run(self) -> Result<u8> {
        Err(Error::Usage("'run' is not there yet".into()))
    }
}
