//! `rr-run record`, and `rr-run run`, which only seeds.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::policy::PolicyArgs;
use super::{StoreArgs, TelemetryArgs};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::log::drain::Limits;
use crate::record::{self, Recording};
use crate::session::manifest::{Entropy, Time, TlsMode};
use crate::telemetry::watch::Telemetry;

/// zstd level, unless it is said.
const LEVEL: i32 = 1;
const LEVEL_MAX: i32 = 19;
/// Largest log file.
const ROTATE_BYTES: u64 = 1 << 30;
/// Seconds to wait for background processes, unless it is said.
const LINGER_S: f64 = 5.0;

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
    /// zstd level of the log behind its first 4 MiB (less there); 0 = off [default: 1]
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(i32).range(0..=19))]
    compress: Option<i32>,
    /// End recording (not the program) when the session has this size, for example 500M
    #[arg(long, value_name = "SIZE")]
    max_size: Option<String>,
    /// Go on in a new log file at this size
    #[arg(long, value_name = "SIZE", hide = true)]
    rotate: Option<String>,
    /// Write what each call logs before it returns, to measure what that costs
    #[arg(long, hide = true)]
    foreground: bool,
    /// Seconds to wait for background processes after the program's end [default: 5]
    #[arg(long, value_name = "SECONDS")]
    linger: Option<f64>,
    /// End the program if a call can't be recorded
    #[arg(long)]
    strict_record: bool,
    /// What to do about TLS connections [default: auto]
    #[arg(long, value_name = "MODE")]
    tls: Option<TlsMode>,
    #[command(flatten)]
    telemetry: TelemetryArgs,
    #[command(flatten)]
    policy: PolicyArgs,
    /// Leave secrets (keys, tokens, passwords, cookies) in the session
    #[arg(long)]
    no_redact: bool,
    /// Further rules of what is secret, see docs/redaction.md
    #[arg(long, value_name = "FILE", conflicts_with = "no_redact")]
    redact_rules: Option<PathBuf>,
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
    /// Where a frozen clock stands: wall clock and monotonic clock, nanoseconds [default: now]
    #[arg(long, value_name = "NS,NS", hide = true, value_parser = two_numbers)]
    frozen_at: Option<(u64, u64)>,
    /// Trap and log rdtsc, for programs that read it themselves (slower clocks)
    #[arg(long)]
    trap_tsc: bool,
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
        let mut config = self.policy.config()?;
        let defaults = &mut config.record;
        defaults.linger = self.linger.or(defaults.linger);
        defaults.compress = self.compress.or(defaults.compress);
        defaults.max_size = self.max_size.or(defaults.max_size.take());
        defaults.strict = self.strict_record.then_some(true).or(defaults.strict);
        defaults.tls = self.tls.or(defaults.tls);
        config.redact.off = self.no_redact.then_some(true).or(config.redact.off);
        config.redact.rules = self.redact_rules.or(config.redact.rules.take());
        let mut recording = recording(self.guest.into_guest(), config)?;
        recording.name = self.name;
        recording.limits.rotate_bytes =
            self.rotate.as_deref().map_or(Ok(ROTATE_BYTES), size_bytes)?;
        recording.foreground = self.foreground;
        recording.telemetry = self.telemetry.into_telemetry();
        record::record(&self.store.store()?, &recording)
    }
}

/// How to record as the configuration says.
///
/// # Errors
/// It makes no sense.
pub(super) fn recording(guest: record::Guest, config: Config) -> Result<Recording> {
    let defaults = config.record;
    let linger = defaults.linger.unwrap_or(LINGER_S);
    let linger = Duration::try_from_secs_f64(linger)
        .map_err(|e| Error::Usage(format!("--linger {linger}: {e}")))?;
    let compress = defaults.compress.unwrap_or(LEVEL);
    if !(0..=LEVEL_MAX).contains(&compress) {
        return Err(Error::Usage(format!("{compress} is no level from 0 to {LEVEL_MAX}")));
    }
    let size_bytes_max = defaults.max_size.as_deref().map_or(Ok(0), size_bytes)?;
    let rotate_bytes = ROTATE_BYTES;
    Ok(Recording {
        guest,
        name: None,
        limits: Limits { compress, rotate_bytes, size_bytes_max },
        foreground: false,
        linger,
        strict: defaults.strict.unwrap_or(false),
        tls: defaults.tls.unwrap_or(TlsMode::Auto),
        telemetry: Telemetry::default(),
        policy: config.policy,
        redact: config.redact.into_options(),
    })
}

impl Run {
    /// Runs the program; its exit code.
    ///
    /// # Errors
    /// The program can't be run.
    pub(super) fn run(self) -> Result<u8> {
        record::run_seeded(&self.guest.into_guest())
    }
}

impl Guest {
    fn into_guest(self) -> record::Guest {
        record::Guest {
            command: self.command,
            seed: self.seed,
            entropy: self.entropy,
            time: self.time,
            frozen_at: self.frozen_at,
            trap_tsc: self.trap_tsc,
        }
    }
}

/// Two numbers with a comma between them.
fn two_numbers(text: &str) -> Result<(u64, u64), String> {
    let numbers = text.split_once(',').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    numbers.ok_or_else(|| "two numbers are needed, with a comma between them".to_owned())
}

/// Bytes of a size such as `500M`; K, M, G, T are powers of 1024.
fn size_bytes(text: &str) -> Result<u64> {
    let wrong = || Error::Usage(format!("'{text}' is no size, which looks like 500M"));
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        "T" | "TB" | "TIB" => 40,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_suffixes() {
        assert_eq!(size_bytes("500M").unwrap(), 500 << 20);
        assert_eq!(size_bytes("7").unwrap(), 7);
        for bad in ["", "M", "5X", "-1", "99999999999T"] {
            assert!(size_bytes(bad).is_err(), "{bad}");
        }
    }
}
