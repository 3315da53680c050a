//! Whether two runs are the same, and what made them differ.
//!
//! A run is compared on two levels:
//!
//! * its *outputs*, all that leaves it: stdout, stderr, files, connections, executed programs,
//!   exit codes ([`profile`]). They decide the verdict.
//! * its *events* ([`walk`]): both logs side by side, up to the first event at which the programs
//!   themselves do something else. Inputs that differed before it are named as its sources.
//!
//! What is a name of the system only (pids and tids) is replaced by ordinals first ([`pids`]).

pub mod compare;
pub mod evidence;
pub mod fds;
pub mod pids;
pub mod profile;
pub mod report;
pub mod runs;
pub mod walk;

#[cfg(test)]
mod tests;

use serde::Serialize;

/// Where a difference between two runs comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A clock or a counter of time.
    Clock,
    /// Random bytes.
    Random,
    /// A process or thread id.
    Pid,
    /// What a peer on the network sent, or its address.
    Network,
    /// Which thread or process came first; what was ready when.
    Schedule,
    /// The content of a file.
    File,
    /// Attributes of a file: times, inode, directory order.
    FileMeta,
    /// A pipe, terminal or other stream between processes.
    Stream,
    /// The machine, its limits, the environment.
    Environment,
    /// Where memory was mapped.
    Address,
    /// A signal.
    Signal,
    /// Another result of a call that belongs to none of these.
    Other,
    /// The program did something else: another call, other arguments, other bytes.
    Behaviour,
}

impl Source {
    /// For the user, and what to do about it.
    pub fn describe(self) -> (&'static str, &'static str) {
        match self {
            Source::Clock => ("the clock", "--time frozen, or a clock that the program is given"),
            Source::Random => ("randomness", "--seed without --entropy os"),
            Source::Pid => ("process ids", "names that do not hold a pid"),
            Source::Network => ("a network peer", "`rr-run --replay`, which needs no peer"),
            Source::Schedule => ("scheduling", "fewer threads, or an order that the program sets"),
            Source::File => ("file contents", "the same files at the start of each run"),
            Source::FileMeta => ("file attributes", "sorted directories, no times or inodes"),
            Source::Stream => ("a pipe or terminal", "the same standard input for each run"),
            Source::Environment => ("the environment", "the same machine, limits and variables"),
            Source::Address => ("memory addresses", "`rr-run doctor`: ASLR must be off"),
            Source::Signal => ("signals", "no timers or signals from outside"),
            Source::Other => ("another input", "a look at the events below"),
            Source::Behaviour => ("the program itself", "a look at the inputs before it"),
        }
    }
}
