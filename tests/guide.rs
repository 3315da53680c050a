//! The guide: its commands work, and its pages and links are complete.
//!
//! A block that begins with three backquotes and `sh,run` is run; those of one page one after the
//! other in one bash, in an empty directory.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::harness::{ROOT, RR_RUN, clean_environment, run};

/// Pages below docs/, by their paths from there.
fn pages() -> Vec<PathBuf> {
    let docs = Path::new(ROOT).join("docs");
    let mut found = Vec::new();
    for dir in [docs.clone(), docs.join("decisions")] {
        for entry in fs::read_dir(dir).unwrap().flatten() {
            if entry.path().extension().is_some_and(|e| e == "md") {
                found.push(entry.path().strip_prefix(&docs).unwrap().to_owned());
            }
        }
    }
    found
}

fn text(page: &Path) -> String {
    fs::read_to_string(Path::new(ROOT).join("docs").join(page)).unwrap()
}

/// Runs the blocks of a page.
fn runs(page: &str) {
    let text = text(Path::new(page));
    let blocks = text.split("```sh,run\n").skip(1).filter_map(|rest| rest.split("```").next());
    let script: String = blocks.collect();
    assert!(!script.is_empty(), "{page} has nothing to run");
    let dir = tempfile::tempdir().unwrap();
    let bin = Path::new(RR_RUN).parent().unwrap().display();
    let path = std::env::var("PATH").unwrap_or_default();
    let script = format!("set -eux\n{script}");
    let mut command = Command::new("bash");
    command.args(["-c", &script]).current_dir(dir.path());
    clean_environment(&mut command);
    command.env("PATH", format!("{bin}:{path}")).env("RR_RUN_DIR", dir.path().join("sessions"));
    command.env("HOME", dir.path());
    let output = run(&mut command, b"", Duration::from_secs(240));
    assert!(output.code == Some(0), "docs/{page}: {output}");
}

#[test]
fn the_commands_of_the_first_recording_work() {
    runs("first-recording.md");
}

#[test]
fn the_commands_of_process_replay_work() {
    runs("process-replay.md");
}

#[test]
fn the_commands_of_network_replay_work() {
    runs("replay-network.md");
}

#[test]
fn the_commands_of_policy_work() {
    runs("policy.md");
}

#[test]
fn the_commands_of_installation_work() {
    runs("install.md");
}

#[test]
fn every_page_with_commands_has_its_test() {
    let tested = fs::read_to_string(Path::new(ROOT).join("tests/guide.rs")).unwrap();
    for page in pages() {
        let name = page.display().to_string();
        let runs = text(&page).contains("```sh,run\n");
        assert!(!runs || tested.contains(&format!("runs(\"{name}\")")), "{name} is not tested");
    }
}

#[test]
fn every_page_is_in_the_guide() {
    let summary = text(Path::new("SUMMARY.md"));
    for page in pages() {
        let name = page.display().to_string();
        let there = name == "SUMMARY.md" || summary.contains(&format!("]({name})"));
        assert!(there, "docs/{name} is not in docs/SUMMARY.md");
    }
}

/// The anchor that a heading gets.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

#[test]
fn links_lead_to_headings_that_exist() {
    for page in pages() {
        for link in text(&page).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let Some((target, wanted)) = link.split_once('#') else { continue };
            if link.contains("://") {
                continue;
            }
            let target = match target {
                "" => page.clone(),
                target => page.parent().unwrap_or(Path::new("")).join(target),
            };
            let there = text(&target);
            let headings: BTreeSet<String> = there
                .lines()
                .filter(|line| line.starts_with('#'))
                .map(|line| anchor(line.trim_matches('#')))
                .collect();
            assert!(headings.contains(wanted), "docs/{}: no {link}", page.display());
        }
    }
}
