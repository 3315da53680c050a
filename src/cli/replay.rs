//! `rr-run replay`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use super::policy::PolicyArgs;
use super::serve::Playing;
use super::{StoreArgs, TelemetryArgs};
use crate::error::{Error, Result};
use crate::player::network::{self, Live};
use crate::player::rules::Glob;
use crate::policy::Policy;
use crate::replay::gdb::exec_guest;
use crate::replay::{Replaying, Until, replay};
use crate::report::out::tell;
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
    #[command(flatten)]
    live: LiveArgs,
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

/// What of a network replay is real.
#[derive(Debug, clap::Args)]
pub(super) struct LiveArgs {
    /// In a network replay: real time, rather than the recorded one
    #[arg(long)]
    live_clock: bool,
    /// In a network replay: real randomness and process ids, rather than the recorded ones
    #[arg(long)]
    live_entropy: bool,
    /// In a network replay: let connections to this host pass, a database for example; with or
    /// without a port, with * in it
    #[arg(long, value_name = "HOST[:PORT]")]
    passthrough: Vec<Glob>,
}

impl LiveArgs {
    /// A run of this command, or the recorded one.
    pub(super) fn live(self, command: Option<Vec<OsString>>, policy: Policy) -> Live {
        let LiveArgs { live_clock: clock, live_entropy: entropy, passthrough } = self;
        Live { command, clock, entropy, policy, passthrough }
    }

    fn is_any(&self) -> bool {
        self.live_clock || self.live_entropy || !self.passthrough.is_empty()
    }
}

impl Replay {
    /// Replays the session; the recorded exit code.
    ///
    /// # Errors
    /// The session is unusable, or the replay differs from it.
    pub(super) fn run(mut self) -> Result<u8> {
        let session = self.store.store()?.open(self.session.as_deref())?;
        let telemetry = self.telemetry.clone().into_telemetry();
        if !self.network && self.live.is_any() {
            let why = "--live-clock, --live-entropy and --passthrough need --network";
            return Err(Error::Usage(why.into()));
        }
        if self.network {
            let config = self.policy.config()?;
            let command = (!self.program.is_empty()).then_some(self.program);
            let live = self.live.live(command, config.policy.clone());
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
    let player = Arc::new(playing.player(session, None, &live.passthrough)?);
    let (outcome, hermetic) = network::replay(session, player.clone(), live)?;
    for (name, known) in &outcome.lookups {
        if !known {
            tell!("rr-run: the name {name} was not recorded");
        }
    }
    for denial in &outcome.denials {
        tell!("rr-run: the policy forbids: {}", denial.text);
    }
    let ended = playing.finish(session, &player, Some(hermetic)).map(|_| outcome.code);
    told(telling.map(|telling| telling.finish(session, &ended, Some(&player.report()))));
    ended
}

/// Says that events could not be told; the replay itself is what counts.
fn told(result: Option<Result<()>>) {
    if let Some(Err(e)) = result {
        tell!("rr-run: failed to {e}\ntry: {}", e.advice());
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
