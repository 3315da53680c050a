//! `rr-run exec`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::policy::PolicyArgs;
use super::record::recording;
use super::replay::{LiveArgs, play};
use super::serve::Playing;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::player::Mode;
use crate::record::{self, Recording};
use crate::session::manifest::{Entropy, Time};
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
    live: LiveArgs,
    #[command(flatten)]
    playing: Playing,
    #[command(flatten)]
    policy: PolicyArgs,
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
        let config = self.policy.config()?;
        match self.record_mode {
            RecordMode::None if !there => {
                let why = format!("there is no cassette {}", dir.display());
                Err(Error::Usage(why))
            }
            RecordMode::Once | RecordMode::NewEpisodes if !there => {
                record_to(&dir, self.program, config)
            }
            RecordMode::All => record_anew(&dir, self.program, config, there),
            RecordMode::Once | RecordMode::None | RecordMode::NewEpisodes => {
                if self.record_mode == RecordMode::NewEpisodes {
                    self.playing.mode = Mode::Hybrid;
                }
                // What a suite no longer asks for is no failure of its tests.
                self.playing.allow_unused = true;
                let live = self.live.live(Some(self.program), config.policy.clone());
                self.playing.configure(config);
                play(&Session::open(&dir)?, &self.playing, live, &Telemetry::default())
            }
        }
    }
}

/// Records a new session; the program's exit code.
fn record_to(dir: &Path, command: Vec<OsString>, config: Config) -> Result<u8> {
    let (parent, name) = match (dir.parent(), dir.file_name().and_then(|name| name.to_str())) {
        (Some(parent), Some(name)) => (parent, name),
        _ => return Err(Error::Usage(format!("{} can't be a cassette", dir.display()))),
    };
    let guest = record::Guest {
        command,
        seed: None,
        entropy: Entropy::Seeded,
        time: Time::Real,
        frozen_at: None,
        trap_tsc: false,
    };
    let name = Some(name.to_owned());
    let recording = Recording { name, ..recording(guest, config)? };
    record::record(&Store::new(Some(parent))?, &recording)
}

/// Records in place of an old cassette, which is kept until the new one is whole.
fn record_anew(dir: &Path, command: Vec<OsString>, config: Config, there: bool) -> Result<u8> {
    if !there {
        return record_to(dir, command, config);
    }
    let mut old = dir.as_os_str().to_owned();
    old.push(".old");
    let old = PathBuf::from(old);
    std::fs::rename(dir, &old).map_err(Error::file("rename", dir))?;
    match record_to(dir, command, config) {
        Ok(code) => crate::session::remove(&old).map(|()| code),
        Err(e) => {
            if !dir.exists() {
                std::fs::rename(&old, dir).map_err(Error::file("rename", &old))?;
            }
            Err(e)
        }
    }
}
