//! The program `rr-run`: parse, call, map errors to exit codes.

#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::io::{Write, stderr};
use std::process::ExitCode;

use rr_run::cli::Cli;
use rr_run::error::exit;

fn main() -> ExitCode {
    let cli = match Cli::from_args(std::env::args_os()) {
        Ok(cli) => cli,
        Err(e) => {
            // Help and version come here too, with exit code 0.
            let _ = e.print();
            return if e.exit_code() == 0 { ExitCode::SUCCESS } else { exit::INTERNAL.into() };
        }
    };
    match cli.run() {
        Ok(code) => code.into(),
        Err(e) => {
            // Without a reader there is nobody to tell.
            let _ = writeln!(stderr(), "rr-run: failed to {e}\ntry: {}", e.advice());
            e.exit_code().into()
        }
    }
}
