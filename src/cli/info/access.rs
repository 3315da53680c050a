//! `rr-run info --access`.

use crate::access::Access;
use crate::report::units::{self, count};
use crate::session::manifest::ByteText;

use super::Page;

/// Programs shown alike are counted.
fn programs(access: &Access) -> String {
    let mut runs: Vec<(String, usize)> = Vec::new();
    for program in &access.programs {
        let line = format!("{}  ({})", program.path, units::command(&program.argv, 80));
        match runs.iter_mut().find(|(known, _)| *known == line) {
            Some((_, n)) => *n += 1,
            None => runs.push((line, 1)),
        }
    }
    let times = |n: usize| if n > 1 { format!(", {n} times") } else { String::new() };
    runs.iter().map(|(line, n)| line.clone() + &times(*n)).collect::<Vec<_>>().join("\n")
}

/// What was accessed, for people.
pub(super) fn render(access: &Access) -> String {
    let mut page = Page(String::new());
    let none = |text: String| if text.is_empty() { "none".to_owned() } else { text };
    let files = access.files.iter().map(|file| {
        let calls: Vec<String> = file
            .calls
            .iter()
            .map(|(name, n)| if *n > 1 { format!("{name} {}", count(*n)) } else { (*name).into() })
            .collect();
        let processes = file.processes.join(" ");
        let path = ByteText(file.path.clone().into_bytes());
        format!("{path}  ({}, by {processes})", calls.join(", "))
    });
    page.line("written", none(files.collect::<Vec<_>>().join("\n")));
    let hosts = access.hosts.iter().map(|host| {
        let name = host.name.as_ref().map_or_else(String::new, |name| format!("{name}  "));
        let failed = match host.failed {
            0 => String::new(),
            n if n == host.count => ", failed".into(),
            n => format!(", {n} failed"),
        };
        let times = if host.count > 1 { format!(" {} times", host.count) } else { String::new() };
        let processes = host.processes.join(" ");
        format!("{name}{} {}{times}{failed}  (by {processes})", host.address, host.protocol)
    });
    page.line("reached", none(hosts.collect::<Vec<_>>().join("\n")));
    page.line("run", programs(access));
    let denied = access.denied.iter().map(|denied| {
        let times = if denied.count > 1 { format!(", {} times", denied.count) } else { "".into() };
        format!("{}{times}  (by {})", denied.what, denied.processes.join(" "))
    });
    page.line("denied", denied.collect::<Vec<_>>().join("\n"));
    page.line("incomplete", access.incomplete.join("\n"));
    page.0
}
