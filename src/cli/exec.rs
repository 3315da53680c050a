//! `rr-run exec`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;

use super::replay::play;
use super::serve::Playing;
use crate::error::{Error, Result};
use crate::log::drain::Limits;
use crate::player::Mode;
use crate::player::network::Live;
use crate::policy::Policy;
use crate::record;
use crate::redact;
use crate::session::manifest::{Entropy, Time, TlsMode};
use crate::session::{MANIFEST, Session, Store};
use crate::telemetry::watch::Telemetry;

/// Run a program, a test suite for example, with its network answered from a cassette: a session
/// that is recorded if need be.
#[derive(Debug, clap::Args)]
pub(super) struct Exec {
    /// Directory of the cassette
    #[arg(long, value_name = "PATH")]
    cassette: PathBuf,
    /// When the cassette is recorded
    #[arg(long, value_name = "MODE", default_value = "once")]
    record_mode: RecordMode,
    #[command(flatten)]
    playing: Playing,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    program: Vec<OsString>,
}

/// When a cassette is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum RecordMode {
    /// If there is none yet; requests that it does not have fail.
    Once,
    /// Never; requests that it does not have fail.
    None,
    /// Requests that it does not have are asked of the real services, and added.
    NewEpisodes,
    /// Always, anew.
    All,
}

impl Exec {
    /// Records or replays; the program's exit code.
    ///
    /// # Errors
    /// The program or the cassette can't be used; requests that the cassette does not have.
    pub(super) fn run(mut self) -> Result<u8> {
        let dir =
            std::path::absolute(&self.cassette).map_err(Error::file("find", &self.cassette))?;
        let there = dir.join(MANIFEST).is_file();
        match self.record_mode {
            RecordMode::None if !there => {
                let why = format!("there is no cassette {}", dir.display());
                Err(Error::Usage(why))
            }
            RecordMode::Once | RecordMode::NewEpisodes if !there => record_to(&dir, self.program),
            RecordMode::All => record_anew(&dir, self.program, there),
            RecordMode::Once | RecordMode::None | RecordMode::NewEpisodes => {
                if self.record_mode == RecordMode::NewEpisodes {
                    self.playing.mode = Mode::Hybrid;
                }
                // What a suite no longer asks for is no failure of its tests.
                self.playing.allow_unused = true;
                let live = Live { command: Some(self.program), ..Live::default() };
                play(&Session::open(&dir)?, &self.playing, live, &Telemetry::default())
            }
        }
    }
}

/// Records a new session; the program's exit code.
fn record_to(dir: &Path, command: Vec<OsString>) -> Result<u8> {
    const LINGER: Duration = Duration::from_secs(5);
    let (parent, name) = match (dir.parent(), dir.file_name().and_then(|name| name.to_str())) {
        (Some(parent), Some(name)) => (parent, name),
        _ => return Err(Error::Usage(format!("{} can't be a cassette", dir.display()))),
    };
    let recording = record::Recording {
        guest: record::Guest {
            command,
            seed: None,
            entropy: Entropy::Seeded,
            time: Time::Real,
            frozen_at: None,
            trap_tsc: false,
        },
        name: Some(name.to_owned()),
        limits: Limits { compress: 1, rotate_bytes: 1 << 30, size_bytes_max: 0, foreground: false },
        linger: LINGER,
        strict: false,
        tls: TlsMode::Auto,
        telemetry: Telemetry::default(),
        policy: Policy::default(),
        redact: redact::Options::default(),
    };
    record::record(&Store::new(Some(parent))?, &recording)
}

/// Records in place of an old cassette, which is kept until the new one is whole.
fn record_anew(dir: &Path, command: Vec<OsString>, there: bool) -> Result<u8> {
    if !there {
        return record_to(dir, command);
    }
    let mut old = dir.as_os_str().to_owned();
    old.push(".old");
    let old = PathBuf::from(old);
    std::fs::rename(dir, &old).map_err(Error::file("rename", dir))?;
    match record_to(dir, command) {
        Ok(code) => crate::session::remove(&old).map(|()| code),
        Err(e) => {
            if !dir.exists() {
                std::fs::rename(&old, dir).map_err(Error::file("rename", &old))?;
            }
            Err(e)
        }
    }
}
