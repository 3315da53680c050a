//! What a network replay touched, and what became of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::network::{self, Outcome, known};
use crate::report::table::table;
use crate::report::units;
use crate::stream::Traffic;

/// What became of a connect, a lookup or a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was answered here.
    Served,
    /// It was refused, or the name does not exist.
    Blocked,
    /// It was real.
    Live,
}

/// One thing that was touched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touch {
    /// Address and port, name, or path of the program.
    pub what: String,
    /// What became of it.
    pub verdict: Verdict,
    /// How often.
    pub times: u64,
}

/// Everything that a network replay touched outside of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hermetic {
    /// Connections.
    pub connects: Vec<Touch>,
    /// Names that were looked up.
    pub lookups: Vec<Touch>,
    /// Programs that ran: blocked, if the shim could not enter them, so that they had no network.
    pub programs: Vec<Touch>,
    /// How many are missing there: more were executed at once than can be told.
    #[serde(default)]
    pub programs_lost: u64,
}

impl Hermetic {
    /// The account of a run.
    pub fn new(outcome: &Outcome, traffic: &Traffic) -> Hermetic {
        let mut names = BTreeMap::new();
        for (name, addresses) in known::names(traffic) {
            for address in addresses {
                names.entry(address).or_insert_with(|| name.clone());
            }
        }
        let connects = outcome.attempts.iter().map(|attempt| {
            let at = attempt.destination;
            let what = match attempt.name.as_ref().or_else(|| names.get(&at.ip())) {
                Some(name) => format!("{name}:{} ({at})", at.port()),
                None => at.to_string(),
            };
            let verdict = match attempt.verdict {
                network::Verdict::Answered => Verdict::Served,
                network::Verdict::Refused => Verdict::Blocked,
                network::Verdict::Live => Verdict::Live,
            };
            (what, verdict)
        });
        let lookups = outcome.lookups.iter().map(|(name, known)| {
            (name.clone(), if *known { Verdict::Served } else { Verdict::Blocked })
        });
        let programs = outcome.programs.iter().map(|(path, entered)| {
            (path.clone(), if *entered { Verdict::Served } else { Verdict::Blocked })
        });
        Hermetic {
            connects: touches(connects),
            lookups: touches(lookups),
            programs: touches(programs),
            programs_lost: outcome.programs_lost,
        }
    }

    fn kinds(&self) -> [(&'static str, &[Touch]); 3] {
        [("connect", &self.connects), ("lookup", &self.lookups), ("program", &self.programs)]
    }

    /// One line: how many of each had which verdict, nothing if nothing was touched.
    pub fn summary(&self) -> String {
        let mut parts = Vec::new();
        for (kind, touches) in &self.kinds()[..2] {
            for verdict in [Verdict::Served, Verdict::Blocked, Verdict::Live] {
                let these = touches.iter().filter(|touch| touch.verdict == verdict);
                let times: u64 = these.map(|touch| touch.times).sum();
                if times > 0 {
                    let what = units::plural(times as usize, kind, &format!("{kind}s"));
                    parts.push(format!("{what} {}", verdict.name()));
                }
            }
        }
        let unseen = self.programs.iter().filter(|p| p.verdict == Verdict::Blocked);
        let unseen: Vec<_> = unseen.collect();
        if let Some(first) = unseen.first() {
            let many = units::plural(unseen.len(), "program", "programs");
            parts.push(format!("{many} without a network, for lack of the shim ({})", first.what));
        }
        if self.programs_lost > 0 {
            parts.push(format!("{} programs not told of", units::count(self.programs_lost)));
        }
        parts.join(", ")
    }

    /// A table of everything.
    pub fn table(&self) -> String {
        let rows = self.kinds().into_iter().flat_map(|(kind, touches)| {
            touches.iter().map(move |touch| {
                let (verdict, times) = (touch.verdict.name().to_owned(), units::count(touch.times));
                vec![kind.to_owned(), touch.what.clone(), verdict, times]
            })
        });
        table(&["KIND", "WHAT", "VERDICT", "TIMES"], rows, &[3])
    }

    /// As rows of a Markdown table.
    pub fn markdown(&self) -> String {
        let mut out = String::from("| | what | verdict | times |\n|---|---|---|--:|\n");
        for (kind, touches) in self.kinds() {
            for Touch { what, verdict, times } in touches {
                let _ = writeln!(out, "| {kind} | `{what}` | {} | {times} |", verdict.name());
            }
        }
        out
    }
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Verdict::Served => "served",
            Verdict::Blocked => "blocked",
            Verdict::Live => "live",
        }
    }
}

fn touches(all: impl Iterator<Item = (String, Verdict)>) -> Vec<Touch> {
    let mut counts: BTreeMap<(String, Verdict), u64> = BTreeMap::new();
    for touch in all {
        *counts.entry(touch).or_default() += 1;
    }
    let touch = |((what, verdict), times)| Touch { what, verdict, times };
    counts.into_iter().map(touch).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_touches_are_counted() {
        let touch = |what: &str, verdict| (what.to_owned(), verdict);
        let connects = touches(
            [
                touch("192.0.2.1:443", Verdict::Served),
                touch("127.0.0.1:5432", Verdict::Live),
                touch("192.0.2.1:443", Verdict::Served),
            ]
            .into_iter(),
        );
        let hermetic = Hermetic { connects, ..Hermetic::default() };
        assert_eq!(hermetic.summary(), "2 connects served, 1 connect live");
        assert!(hermetic.table().contains("192.0.2.1:443"));
    }
}
