//! Which events are shown.

use std::str::FromStr;

use log_format::record::{Call, Kind, Record, clock};
use log_format::table::{self, ROWS, Ret, Ty, errno_name};

use crate::error::{Error, Result};
use crate::log::scan::kind_name;

/// A range of steps, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Steps {
    first: u64,
    last: u64,
}

impl FromStr for Steps {
    type Err = String;

    fn from_str(text: &str) -> Result<Steps, String> {
        let number = |text: &str, default| match text {
            "" => Ok(default),
            _ => text.parse().map_err(|_| format!("'{text}' is no step, which is a number")),
        };
        let (first, last) = match text.split_once("..") {
            Some((first, last)) => {
                (number(first, 0)?, number(last.trim_start_matches('='), u64::MAX)?)
            }
            None if text.is_empty() => return Err("a step is a number".into()),
            None => (number(text, 0)?, number(text, 0)?),
        };
        if first > last {
            return Err(format!("step {first} comes after step {last}"));
        }
        Ok(Steps { first, last })
    }
}

/// What must hold of an event.
#[derive(Debug)]
pub(super) struct Filter {
    /// Numbers of calls; empty with `kinds` empty: any.
    calls: Vec<u16>,
    kinds: Vec<Kind>,
    fd: Option<i32>,
    steps: Option<Steps>,
    thread: Option<u16>,
    failed: bool,
    no_schedule: bool,
}

impl Filter {
    /// A filter by names of calls and kinds, file descriptor, steps, and thread.
    ///
    /// # Errors
    /// [`Error::Usage`] for a name that is neither a call nor a kind.
    pub(super) fn new(
        names: &[String],
        fd: Option<i32>,
        steps: Option<Steps>,
        thread: Option<u16>,
    ) -> Result<Filter> {
        let (mut calls, mut kinds) = (Vec::new(), Vec::new());
        for name in names {
            let row = ROWS.iter().find(|row| row.name == name);
            let named = Kind::ALL
                .into_iter()
                .filter(|k| kind_name(*k) == name || (name == "thread" && is_thread(*k)));
            let before = kinds.len();
            kinds.extend(named);
            match row {
                Some(row) => calls.push(row.nr),
                None if kinds.len() > before => {}
                None => return Err(unknown(name)),
            }
        }
        Ok(Filter { calls, kinds, fd, steps, thread, failed: false, no_schedule: false })
    }

    /// Only calls that failed, if `yes`.
    pub(super) fn failed(self, yes: bool) -> Filter {
        Filter { failed: yes, ..self }
    }

    /// Without the token's hand-overs, if `yes`.
    pub(super) fn without_schedule(self, yes: bool) -> Filter {
        Filter { no_schedule: yes, ..self }
    }

    /// No earlier step is taken.
    pub(super) fn first_step(&self) -> u64 {
        self.steps.map_or(0, |s| s.first)
    }

    /// No later step is taken.
    pub(super) fn last_step(&self) -> u64 {
        self.steps.map_or(u64::MAX, |s| s.last)
    }

    /// Whether the event is shown.
    pub(super) fn takes(&self, step: u64, record: &Record) -> bool {
        let kind = record.header.kind;
        if self.steps.is_some_and(|s| step < s.first || step > s.last)
            || self.thread.is_some_and(|t| t != record.header.thread)
            || (self.no_schedule && matches!(kind, Kind::Yield | Kind::Shared | Kind::Preempt))
        {
            return false;
        }
        let call = match kind {
            Kind::Call | Kind::Yield => record.call().ok(),
            _ => None,
        };
        // A clock that was read without a call is still that call to the user.
        let nr = match kind {
            Kind::Clock => Some(clock_call(record.header.flags)),
            _ => call.map(|c| c.nr),
        };
        let named = (self.calls.is_empty() && self.kinds.is_empty())
            || self.kinds.contains(&kind)
            || nr.is_some_and(|nr| self.calls.contains(&nr));
        let failed = || kind == Kind::Call && call.is_some_and(|c| errno_name(c.ret).is_some());
        named
            && (!self.failed || failed())
            && self.fd.is_none_or(|fd| call.is_some_and(|c| uses(&c, kind, fd)))
    }
}

/// Number of the call that reads this clock.
fn clock_call(flags: u8) -> u16 {
    let name = match flags {
        clock::TIMEOFDAY => "gettimeofday",
        clock::TIME => "time",
        _ => "clock_gettime",
    };
    ROWS.iter().find(|row| row.name == name).map_or(u16::MAX, |row| row.nr)
}

fn is_thread(kind: Kind) -> bool {
    matches!(kind, Kind::ThreadStart | Kind::ThreadExit)
}

fn unknown(name: &str) -> Error {
    let near = ROWS.iter().map(|row| row.name).find(|n| n.starts_with(name) || n.ends_with(name));
    let hint = near.map_or_else(String::new, |n| format!("; did you mean '{n}'"));
    Error::Usage(format!("there is no call or kind of event '{name}'{hint}"))
}

/// Whether a call names this descriptor as an argument or gives it.
fn uses(call: &Call, kind: Kind, fd: i32) -> bool {
    let Some(row) = table::row(call.nr.into()) else { return false };
    let given = kind == Kind::Call && row.ret == Ret::Fd && call.ret == i64::from(fd);
    let named = row.args.iter().zip(call.args).any(|(arg, value)| {
        matches!(arg.ty.resolve(&call.args), Ty::Fd | Ty::DirFd) && value as u32 as i32 == fd
    });
    given || named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_ranges_with_both_ends() {
        let steps = |text: &str| text.parse::<Steps>().map(|s| (s.first, s.last));
        assert_eq!(steps("3..5"), Ok((3, 5)));
        assert_eq!(steps("3.."), Ok((3, u64::MAX)));
        assert_eq!(steps("..=5"), Ok((0, 5)));
        assert_eq!(steps("7"), Ok((7, 7)));
        for bad in ["", "x", "5..3", "1..2..3"] {
            assert!(steps(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_calls_or_kinds() {
        let filter = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|n| n.to_string()).collect();
            Filter::new(&names, None, None, None)
        };
        assert_eq!(filter(&["read", "thread"]).unwrap().kinds.len(), 2);
        let text = filter(&["wrte"]).unwrap_err().to_string();
        assert!(text.contains("'wrte'"), "{text}");
        assert!(filter(&["gettime"]).unwrap_err().to_string().contains("did you mean"));
    }
}
