//! `rr-run serve`.

use std::ffi::OsString;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::StoreArgs;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::player::hermetic::Hermetic;
use crate::player::resolution::Asks;
use crate::player::rules::Glob;
use crate::player::selection::Choice;
use crate::player::{Builder, Interface, Mode, Player, Report, Timing, serve};
use crate::redact::{self, Redactor};
use crate::report::junit;
use crate::report::out::{say, tell};
use crate::session::Session;

/// Serve a session's recorded answers to programs whose base URL points here.
#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    #[command(flatten)]
    store: StoreArgs,
    /// Address to listen on; port 0 takes a free one, which is printed
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8484")]
    listen: SocketAddr,
    /// Serve one interface only, whatever the base URL's path: openai, anthropic, gemini,
    /// ollama or bedrock
    #[arg(long = "as", value_name = "NAME")]
    interface: Option<Interface>,
    #[command(flatten)]
    playing: Playing,
    /// Do not let pages of other origins read the answers
    #[arg(long)]
    no_cors: bool,
    /// Speak TLS too, on the same port; the certificate to trust is written to this file
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// End when everything recorded was asked for
    #[arg(long)]
    until_done: bool,
    /// Name or directory of the session [default: the latest]
    session: Option<OsString>,
}

/// How recorded answers are served, and where the account goes.
#[derive(Debug, clap::Args)]
pub(super) struct Playing {
    /// What a request meets that was not recorded: an error (strict), the next answer of its
    /// endpoint (warn), or the real service, whose answer is kept with the session (hybrid)
    #[arg(long, value_name = "MODE", default_value = "strict")]
    pub(super) mode: Mode,
    /// When pieces leave: recorded, instant, scale=X or tokens-per-second=N [default: recorded;
    /// instant if the variable CI is set]
    #[arg(long, value_name = "TIMING")]
    timing: Option<Timing>,
    /// Rules for what may differ, and faults
    #[arg(long, value_name = "FILE")]
    rules: Vec<PathBuf>,
    /// Serve the answers to a request again from the first when all were served
    #[arg(long)]
    repeat: bool,
    /// Serve only these recorded exchanges: host=GLOB, path=GLOB, process=ID, exchange=FROM..TO,
    /// time=FROM..TO (seconds since the recording's start) or step=PROCESS:FROM..TO
    #[arg(long, value_name = "CHOICE")]
    only: Vec<Choice>,
    /// Do not serve these recorded exchanges
    #[arg(long, value_name = "CHOICE")]
    except: Vec<Choice>,
    /// Recorded exchanges that are never asked for fail no run
    #[arg(long)]
    pub(super) allow_unused: bool,
    /// What this host is asked, or not asked, decides nothing: a service in the background. A name
    /// or address, with * in it
    #[arg(long, value_name = "HOST")]
    optional: Vec<Glob>,
    /// With --mode hybrid: ask only these hosts, with * in them
    #[arg(long, value_name = "HOST")]
    fallback: Vec<Glob>,
    /// Show each request that was not recorded on the terminal, beside the nearest one, and ask
    /// what is to be done; the answers are kept with the session
    #[arg(long, conflicts_with = "kill")]
    #[cfg(feature = "top")]
    interactive: bool,
    /// End the run at the first request that is refused; a network replay's program is killed
    #[arg(long)]
    kill: bool,
    /// Write the account (of a process replay: the report of a divergence) as JSON
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// Write the account as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write the account as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// What is secret, as the configuration says
    #[arg(skip)]
    redact: redact::Options,
}

impl Playing {
    /// Adds what the configuration says.
    pub(super) fn configure(&mut self, config: Config) {
        self.rules.extend(config.replay.rules);
        self.redact = config.redact.into_options();
    }

    /// A player of the session; what was recorded of hosts in `live` is not served.
    ///
    /// # Errors
    /// Session or rules can't be read.
    pub(super) fn player(
        &self,
        session: &Session,
        interface: Option<Interface>,
        live: &[Glob],
    ) -> Result<Player> {
        let ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
        let default = if ci { Timing::Instant } else { Timing::Recorded };
        let builder = Player::builder(session)
            .mode(self.mode)
            .timing(self.timing.unwrap_or(default))
            .repeat(self.repeat)
            .interface(interface)
            .only(self.only.iter().cloned())
            .except(self.except.iter().cloned())
            .except(live.iter().cloned().map(Choice::Host))
            .allow_unused(self.allow_unused)
            .fallback(self.fallback.iter().cloned())
            .optional(self.optional.iter().cloned())
            .redact(self.redact.clone())
            .asks(self.asks(session)?)
            .kill(self.kill);
        self.rules.iter().fold(builder, Builder::rules).build()
    }

    #[cfg(feature = "top")]
    fn asks(&self, session: &Session) -> Result<Option<Arc<dyn Asks>>> {
        if !self.interactive {
            return Ok(None);
        }
        Ok(Some(Arc::new(super::ask::Asking::new(session.dir().to_owned())?)))
    }

    #[cfg(not(feature = "top"))]
    fn asks(&self, _: &Session) -> Result<Option<Arc<dyn Asks>>> {
        Ok(None)
    }

    /// Writes the account of the run; an error if it has failed.
    ///
    /// # Errors
    /// [`Error::Mismatched`], or the system's.
    pub(super) fn finish(
        &self,
        session: &Session,
        player: &Player,
        hermetic: Option<Hermetic>,
    ) -> Result<u8> {
        let mut redactor = Redactor::of_environment(&self.redact)?;
        let report = Report { hermetic, ..player.report() }.redacted(&mut redactor)?;
        tell!("rr-run: {}", report.summary().trim_end());
        // A session that can't be written to is served all the same.
        if let Err(e) = report.keep(session.dir()) {
            tell!("rr-run: failed to {e}");
        }
        let write = |path: &Path, text: String| {
            std::fs::write(path, text).map_err(Error::file("write", path))
        };
        if let Some(path) = &self.json {
            let text = serde_json::to_string_pretty(&report);
            write(path, text.map_err(|e| Error::io("write JSON")(e.into()))?)?;
        }
        if let Some(path) = &self.markdown {
            write(path, report.markdown())?;
        }
        if let Some(path) = &self.junit {
            junit::write(path, "rr-run network replay", &report.cases())?;
        }
        match report.failure() {
            None => Ok(0),
            Some(what) => Err(Error::Mismatched { session: session.name().to_owned(), what }),
        }
    }
}

impl Serve {
    /// Serves until SIGINT or SIGTERM; the exit code.
    ///
    /// # Errors
    /// Session, rules or address can't be used; in strict mode, a run that differs.
    pub(super) fn run(mut self) -> Result<u8> {
        self.playing.configure(Config::load(None)?);
        let session = self.store.store()?.open(self.session.as_deref())?;
        let player = Arc::new(self.playing.player(&session, self.interface, &[])?);
        if player.is_empty() {
            let why = format!("the session '{}' has no exchanges to serve", session.name());
            return Err(Error::Usage(why));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(Error::io("start threads"))?;
        runtime.block_on(async {
            let mut setup = serve::Setup::new(!self.no_cors);
            if let Some(path) = &self.ca {
                let pem = setup.with_tls()?;
                std::fs::write(path, pem).map_err(Error::file("write", path))?;
            }
            if player.settings().mode == Mode::Hybrid {
                setup.with_upstream(session.dir(), player.redact())?;
            }
            let stop = stop(player.clone(), self.until_done)?;
            let listening = TcpListener::bind(self.listen).await;
            let listener = listening.map_err(Error::io(format!("listen on {}", self.listen)))?;
            let address = listener.local_addr().map_err(Error::io("listen"))?;
            say!("serving {} exchanges on http://{address}\n", player.len());
            serve::serve(listener, player.clone(), setup, stop).await
        })?;
        self.playing.finish(&session, &player, None)
    }
}

/// Completes at SIGINT, at SIGTERM and, if asked for, when everything was served or something
/// refused.
fn stop(player: Arc<Player>, until_done: bool) -> Result<impl Future<Output = ()>> {
    let handle = |kind| signal(kind).map_err(Error::io("wait for signals"));
    let (mut interrupt, mut terminate) =
        (handle(SignalKind::interrupt())?, handle(SignalKind::terminate())?);
    let done = async move {
        while !(player.is_over() || until_done && player.is_done()) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = done => {}
        }
    })
}
