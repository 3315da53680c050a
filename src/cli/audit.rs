//! `rr-run audit`.

use std::ffi::OsString;
use std::path::PathBuf;

use super::StoreArgs;
use crate::audit::profile::Profile;
use crate::audit::report::{Audit as Report, Run, audit_text};
use crate::audit::runs::{self, Plan};
use crate::error::{Error, Result, exit};
use crate::launch::setup;
use crate::report::out::{json, stdout, written};
use crate::report::{junit, units};
use crate::session::manifest::{ByteText, Entropy, Time};
use crate::session::{Session, Store};

/// Run several times and say whether the runs are the same, and if not, why.
///
/// With a session: replays it. With a program after `--`: records it several times from one seed.
/// The verdict is on what leaves the program: standard output and error, files, connections,
/// executed programs, exit codes. Inputs that differ before the first different output are named.
#[derive(Debug, clap::Args)]
pub(super) struct Audit {
    #[command(flatten)]
    store: StoreArgs,
    /// How many runs
    #[arg(long, value_name = "N", default_value_t = 3)]
    runs: usize,
    /// Seed of all recordings [default: a new one]
    #[arg(long, requires = "command")]
    seed: Option<String>,
    /// Where the program's randomness comes from
    #[arg(long, value_name = "SOURCE", requires = "command")]
    entropy: Option<Entropy>,
    /// Which clock the program sees
    #[arg(long, value_name = "CLOCK", requires = "command")]
    time: Option<Time>,
    /// Standard input of each recording [default: empty]
    #[arg(long, value_name = "FILE", requires = "command")]
    stdin: Option<PathBuf>,
    /// Keep the recordings also if they are the same
    #[arg(long, requires = "command")]
    keep: bool,
    /// Write the result as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the result as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Name or directory of the session to replay [default: the latest]
    #[arg(conflicts_with = "command")]
    session: Option<OsString>,
    /// The program and its arguments
    #[arg(last = true)]
    command: Vec<OsString>,
}

impl Audit {
    /// Makes the runs and reports; 0 if they are the same, [`exit::NOT_DETERMINISTIC`],
    /// [`exit::UNDECIDED`].
    ///
    /// # Errors
    /// A run can't be made or read at all.
    pub(super) fn run(self) -> Result<u8> {
        let store = self.store.store()?;
        let exe = std::env::current_exe().map_err(Error::io("find rr-run's own file"))?;
        let report = if self.command.is_empty() {
            self.replays(&store.open(self.session.as_deref())?, exe)?
        } else {
            self.recordings(&store, exe)?
        };
        if let Some(path) = &self.json {
            let file = std::fs::File::create(path).map_err(Error::file("write", path))?;
            json(&mut std::io::BufWriter::new(file), &report)?;
        }
        if let Some(path) = &self.junit {
            junit::write(path, "rr-run audit", &report.junit())?;
        }
        stdout(|out| {
            out.write_all(audit_text(&report).as_bytes()).map_err(written)?;
            Ok(match report.same() {
                Some(true) => 0,
                Some(false) => exit::NOT_DETERMINISTIC,
                None => exit::UNDECIDED,
            })
        })
    }

    fn replays(&self, session: &Session, exe: PathBuf) -> Result<Report> {
        let profile = profile(session)?;
        let runs = (1..=self.runs.max(1))
            .map(|n| Run::replayed(n, session, &profile, runs::replay(&exe, session)?))
            .collect::<Result<_>>()?;
        let command = units::command(&session.manifest().program.argv, 80);
        let what = format!("{} replays of: {command}", self.runs.max(1));
        Ok(Report { what, reference: session.name().to_owned(), runs })
    }

    fn recordings(&self, store: &Store, exe: PathBuf) -> Result<Report> {
        let mut options: Vec<OsString> = Vec::new();
        for (name, value) in
            [("--entropy", self.entropy.map(name_of)), ("--time", self.time.map(name_of))]
        {
            if let Some(value) = value {
                options.extend([name.into(), value.into()]);
            }
        }
        if self.time == Some(Time::Frozen) {
            // At one time in all runs, else the clock would be a difference again.
            let at = format!("{},{}", setup::now_ns(), setup::monotonic_ns());
            options.extend(["--frozen-at".into(), at.into()]);
        }
        let seed = match &self.seed {
            Some(seed) => seed.clone(),
            None => setup::seed(None)?.iter().map(|b| format!("{b:02x}")).collect(),
        };
        let plan = Plan {
            exe,
            runs: self.runs.max(2),
            options,
            seed,
            stdin: self.stdin.clone(),
            command: self.command.clone(),
        };
        let sessions = runs::record(store, &plan)?;
        let Some((first, others)) = sessions.split_first() else {
            return Err(Error::Usage("an audit needs runs".into()));
        };
        let reference = profile(first)?;
        let runs = others
            .iter()
            .map(|run| Run::recorded((first, &reference), (run, &profile(run)?)))
            .collect::<Result<_>>()?;
        let argv: Vec<ByteText> = self.command.iter().map(ByteText::from).collect();
        let what = format!(
            "{} runs from the seed {} of: {}",
            plan.runs,
            plan.seed,
            units::command(&argv, 80)
        );
        let report = Report { what, reference: first.name().to_owned(), runs };
        if report.same() == Some(true) && !self.keep {
            for session in &sessions {
                crate::session::remove(session.dir())?;
            }
            store.prune_kept();
        }
        Ok(report)
    }
}

/// A damaged session can't be judged.
fn profile(session: &Session) -> Result<Profile> {
    Profile::of(session).map_err(|e| match e {
        Error::Damaged { .. } => Error::Undecided {
            what: format!("the runs with {}", session.name()),
            reason: e.to_string(),
        },
        other => other,
    })
}

/// An option's value as the command line takes it.
fn name_of(value: impl clap::ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned())
}
