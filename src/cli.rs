//! The command line: one file per subcommand.
//!
//! `rr-run --record PROGRAM` and `rr-run record -- PROGRAM` are the same; so are `--replay` and
//! `replay`. `rewrite` turns the first form into the second, because with clap alone a program
//! named like a subcommand (`rr-run --record diff`) would be taken for it.

#[cfg(feature = "top")]
mod ask;
mod audit;
mod diff;
mod doctor;
mod exec;
mod export;
mod info;
mod ls;
mod mismatches;
mod pack;
mod policy;
mod record;
mod replay;
mod rm;
mod serve;
mod show;
mod streams;
mod telemetry;
#[cfg(feature = "top")]
mod top;
mod unpack;
mod verify;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::error::Result;
use crate::session::Store;
pub(crate) use telemetry::TelemetryArgs;

const FORMS: &str = "\
       rr-run --record [OPTIONS] PROGRAM [ARGS]...
       rr-run --replay [OPTIONS] [SESSION]
       rr-run --seed N PROGRAM [ARGS]...";

const EXIT_CODES: &str = "\
Exit codes:
  the program's own, 128 + n if signal n ended it; and rr-run's:
  119  requests were not those of the recording
  120  the replay differs from its recording
  121  the session is missing, damaged, newer or in use
  122  the program can't be recorded (static, 32-bit, setuid ...)
  123  audit, diff: not the same
  124  audit, diff: could not tell
  125  rr-run itself failed
  126  the program can't be executed
  127  there is no such program";

/// Record any unmodified Linux program and replay it hermetically.
#[derive(Debug, Parser)]
#[command(name = "rr-run", version, after_help = EXIT_CODES)]
#[command(override_usage = format!("rr-run COMMAND\n{FORMS}"))]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Record(record::Record),
    Replay(replay::Replay),
    Run(record::Run),
    Ls(ls::Ls),
    Show(show::Show),
    Streams(streams::Streams),
    Export(export::Export),
    #[cfg(feature = "top")]
    Top(top::Top),
    Info(info::Info),
    Diff(diff::Diff),
    Audit(audit::Audit),
    Verify(verify::Verify),
    Pack(pack::Pack),
    Unpack(unpack::Unpack),
    Rm(rm::Rm),
    Serve(serve::Serve),
    Exec(exec::Exec),
    Mismatches(mismatches::Mismatches),
    Doctor(doctor::Doctor),
    #[command(hide = true)]
    ExecGuest(replay::ExecGuest),
}

/// Where sessions are kept: flattened into the options of each subcommand that uses them.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct StoreArgs {
    /// Directory that holds sessions [default: $RR_RUN_DIR, else the XDG state directory]
    #[arg(short = 'o', long = "dir", value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl StoreArgs {
    /// The store that is meant.
    ///
    /// # Errors
    /// As [`Store::new`].
    pub(crate) fn store(&self) -> Result<Store> {
        Store::new(self.dir.as_deref())
    }
}

impl Cli {
    /// Reads the command line of this process.
    ///
    /// # Errors
    /// clap's, among them the requests for help and version.
    pub fn from_args(args: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(rewrite(args.into_iter().collect()))
    }

    /// Runs the subcommand; the exit code.
    ///
    /// # Errors
    /// The subcommand's.
    pub fn run(self) -> Result<u8> {
        match self.command {
            Command::Record(command) => command.run(),
            Command::Replay(command) => command.run(),
            Command::Run(command) => command.run(),
            Command::Ls(command) => command.run(),
            Command::Show(command) => command.run(),
            Command::Streams(command) => command.run(),
            Command::Export(command) => command.run(),
            #[cfg(feature = "top")]
            Command::Top(command) => command.run(),
            Command::Info(command) => command.run(),
            Command::Diff(command) => command.run(),
            Command::Audit(command) => command.run(),
            Command::Verify(command) => command.run(),
            Command::Pack(command) => command.run(),
            Command::Unpack(command) => command.run(),
            Command::Rm(command) => command.run(),
            Command::Serve(command) => command.run(),
            Command::Exec(command) => command.run(),
            Command::Mismatches(command) => command.run(),
            Command::Doctor(command) => command.run(),
            Command::ExecGuest(command) => command.run(),
        }
    }
}

/// Turns `[options] --record ...` into `record [options] ...`, likewise `--replay`; options
/// alone before a program into `run ...`.
fn rewrite(mut args: Vec<OsString>) -> Vec<OsString> {
    let command = Cli::command();
    let takes_value = |option: &str| {
        let all = command.get_subcommands().filter(|c| matches!(c.get_name(), "record" | "replay"));
        all.flat_map(|c| c.get_arguments()).any(|arg| {
            let long = arg.get_long().is_some_and(|l| option.strip_prefix("--") == Some(l));
            let short = arg.get_short().is_some_and(|s| option == format!("-{s}"));
            (long || short) && arg.get_action().takes_values()
        })
    };
    let mut at = 1;
    while let Some(option) = args.get(at).and_then(|a| a.to_str()) {
        match option {
            "--record" | "--replay" => {
                let name = OsString::from(&option[2..]);
                args.remove(at);
                args.insert(1, name);
                return args;
            }
            "-h" | "--help" | "-V" | "--version" => return args,
            "--" => break,
            _ if !option.starts_with('-') || option == "-" => break,
            _ => at += if takes_value(option) { 2 } else { 1 },
        }
    }
    if at > 1 {
        args.insert(1, "run".into());
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(line: &str) -> String {
        let args = line.split(' ').map(OsString::from).collect();
        let words: Vec<_> = rewrite(args).into_iter().map(|a| a.into_string().unwrap()).collect();
        words.join(" ")
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_become_subcommands_only_before_the_program() {
        assert_eq!(rewritten("rr-run --record diff -u"), "rr-run record diff -u");
        assert_eq!(rewritten("rr-run -o d --record x"), "rr-run record -o d x");
        assert_eq!(rewritten("rr-run --seed 4 x --record"), "rr-run run --seed 4 x --record");
        assert_eq!(rewritten("rr-run --replay"), "rr-run replay");
        assert_eq!(rewritten("rr-run show --replay"), "rr-run show --replay");
        assert_eq!(rewritten("rr-run --help"), "rr-run --help");
    }
}
