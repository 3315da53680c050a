//! `rr-run replay`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use super::policy::PolicyArgs;
use super::serve::Playing;
use super::{StoreArgs, TelemetryArgs};
use crate::error::Result;
use crate::player::network::{self, Live};
use crate::replay::gdb::exec_guest;
use crate::replay::{Replaying, Until, replay};
use crate::session::Session;
use crate::telemetry::ReplayMode;
use crate::telemetry::watch::Telemetry;

/// Run a session's program again from its log alone.
#[derive(Debug, clap::Args)]
pub(super) struct Replay {
    #[command(flatten)]
    store: StoreArgs,
    /// Stop before this step of the first process, or of another: its id (1.2), key or pid
    #[arg(long, value_name = "[PROCESS:]STEP")]
    until: Option<Until>,
    /// Run under gdb
    #[arg(long)]
    gdb: bool,
    /// Argument for gdb, for example --gdb-arg=-ex --gdb-arg='break main'
    #[arg(long, value_name = "ARG", requires = "gdb", allow_hyphen_values = true)]
    gdb_arg: Vec<OsString>,
    /// Run the program live, with its network answered from the session
    #[arg(long, conflicts_with_all = ["until", "gdb"])]
    network: bool,
    /// With --network: real time, rather than the recorded one
    #[arg(long, requires = "network")]
    live_clock: bool,
    /// With --network: real randomness, rather than the recorded one
    #[arg(long, requires = "network")]
    live_entropy: bool,
    #[command(flatten)]
    playing: Playing,
    #[command(flatten)]
    telemetry: TelemetryArgs,
    #[command(flatten)]
    policy: PolicyArgs,
    /// Name or directory of the session [default: the latest]
    session: Option<OsString>,
    /// With --network: program and arguments in place of the recorded ones
    #[arg(last = true, requires = "network")]
    program: Vec<OsString>,
}

impl Replay {
    /// Replays the session; the recorded exit code.
    ///
    /// # Errors
    /// The session is unusable, or the replay differs from it.
    pub(super) fn run(mut self) -> Result<u8> {
        let session = self.store.store()?.open(self.session.as_deref())?;
        let telemetry = self.telemetry.clone().into_telemetry();
        if self.network {
            let config = self.policy.config()?;
            let live = Live {
                command: (!self.program.is_empty()).then_some(self.program),
                clock: self.live_clock,
                entropy: self.live_entropy,
                policy: config.policy.clone(),
            };
            self.playing.configure(config);
            return play(&session, &self.playing, live, &telemetry);
        }
        let telling = telemetry.replay(session.manifest(), ReplayMode::Process)?;
        let replaying = Replaying {
            until: self.until,
            json: self.playing.json,
            gdb: self.gdb.then_some(self.gdb_arg),
        };
        let outcome = replay(&session, &replaying);
        told(telling.map(|telling| telling.finish(&session, &outcome, None)));
        outcome
    }
}

/// Runs a program with the network of the session: its exit code, or an error if in strict mode
/// its requests were others.
pub(super) fn play(
    session: &Session,
    playing: &Playing,
    live: Live,
    telemetry: &Telemetry,
) -> Result<u8> {
    let telling = telemetry.replay(session.manifest(), ReplayMode::Network)?;
    let player = Arc::new(playing.player(session, None)?);
    let (outcome, hermetic) = network::replay(session, player.clone(), live)?;
    for (name, known) in &outcome.lookups {
        if !known {
            eprintln!("rr-run: the name {name} was not recorded");
        }
    }
    for denial in &outcome.denials {
        eprintln!("rr-run: the policy forbids: {}", denial.text);
    }
    let ended = playing.finish(session, &player, Some(hermetic)).map(|_| outcome.code);
    told(telling.map(|telling| telling.finish(session, &ended, Some(&player.report()))));
    ended
}

/// Says that events could not be told; the replay itself is what counts.
fn told(result: Option<Result<()>>) {
    if let Some(Err(e)) = result {
        eprintln!("rr-run: failed to {e}\ntry: {}", e.advice());
    }
}

/// Become the guest of a replay: what gdb runs.
#[derive(Debug, clap::Args)]
pub(super) struct ExecGuest {
    /// What to execute
    file: PathBuf,
}

impl ExecGuest {
    /// Executes the guest.
    ///
    /// # Errors
    /// Always, if it returns.
    pub(super) fn run(self) -> Result<u8> {
        Err(exec_guest(&self.file))
    }
}
