//! The house rules as tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use log_format::table::ROWS;

use crate::harness::{ROOT, RR_RUN};

/// Longest line of source and documentation, characters.
const WIDTH_MAX: usize = 100;
/// Longest source file, lines.
const LINES_MAX: usize = 800;

/// Files of the repository with one of these extensions.
fn files(extensions: &[&str]) -> Vec<PathBuf> {
    let output = Command::new("git")
        .args(["-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(ROOT)
        .output()
        .expect("git starts");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(PathBuf::from)
        .filter(|path| {
            let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
            extensions.contains(&extension) && Path::new(ROOT).join(path).exists()
        })
        .collect()
}

fn text(path: &Path) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_default()
}

/// Fails with all complaints at once.
fn none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn lines_are_not_too_long() {
    let mut complaints = Vec::new();
    for path in files(&["rs", "toml", "py", "mjs", "cjs"]) {
        for (number, line) in text(&path).lines().enumerate() {
            if line.chars().count() > WIDTH_MAX && !line.contains("://") {
                complaints.push(format!("{}:{}: too long", path.display(), number + 1));
            }
        }
    }
    none(complaints);
}

#[test]
fn files_are_not_too_long() {
    let long = files(&["rs", "c", "py"]).into_iter().filter_map(|path| {
        let lines = text(&path).lines().count();
        (lines > LINES_MAX).then(|| format!("{}: {lines} lines", path.display()))
    });
    none(long.collect());
}

#[test]
fn no_debugging_is_left() {
    // Written apart, so that this file does not find itself.
    let left =
        [concat!("dbg", "!("), concat!("todo", "!("), concat!("FIX", "ME"), concat!("XX", "X:")];
    let mut complaints = Vec::new();
    for path in files(&["rs", "c", "py", "md"]) {
        for (number, line) in text(&path).lines().enumerate() {
            if left.iter().any(|word| line.contains(word)) {
                complaints.push(format!("{}:{}: {line}", path.display(), number + 1));
            }
        }
    }
    none(complaints);
}

#[test]
fn lints_are_expected_with_a_reason_not_allowed() {
    let mut complaints = Vec::new();
    for path in files(&["rs"]) {
        for (number, line) in text(&path).lines().enumerate() {
            // unsafe code is allowed per file: see the lints of the workspace.
            if line.contains("[allow(") && !line.contains("unsafe_code") {
                complaints.push(format!("{}:{}: {line}", path.display(), number + 1));
            }
        }
    }
    none(complaints);
}

/// Words in backquotes that look like a path of the repository.
#[test]
fn paths_in_the_documentation_exist() {
    let top = ["src/", "preload/", "tests/", "scripts/", "docs/", "examples/", "benches/", ".ci/"];
    let mut complaints = Vec::new();
    for path in files(&["md"]) {
        for word in text(&path).split('`').skip(1).step_by(2) {
            let name = word.split([' ', ':', '#']).next().unwrap_or_default();
            let is_path = top.iter().any(|prefix| name.starts_with(prefix));
            let made = name.contains(['<', '*', '{']) || name.contains("node_modules");
            if is_path && !made && !Path::new(ROOT).join(name).exists() {
                complaints.push(format!("{}: no {name}", path.display()));
            }
        }
    }
    none(complaints);
}

#[test]
fn links_in_the_documentation_exist() {
    let mut complaints = Vec::new();
    for path in files(&["md"]) {
        for part in text(&path).split("](").skip(1) {
            let link = part.split([')', '#']).next().unwrap_or_default();
            let dir = Path::new(ROOT).join(&path);
            let target = dir.parent().unwrap_or(Path::new("/")).join(link);
            if !link.contains("://") && !target.exists() {
                complaints.push(format!("{}: no {link}", path.display()));
            }
        }
    }
    none(complaints);
}

/// Every call of the table is made by a C program (its `covers:` lines), or stands with a reason
/// in tests/fixtures/uncovered.txt; never both.
#[test]
fn every_call_has_a_program_or_a_reason() {
    let mut covered = BTreeSet::new();
    for path in files(&["c"]) {
        let text = text(&path);
        let lines = text.lines().filter_map(|line| line.strip_prefix("// covers: "));
        covered.extend(lines.flat_map(str::split_whitespace).map(str::to_owned));
    }
    let reasons = text(Path::new("tests/fixtures/uncovered.txt"));
    let excused: BTreeSet<String> = reasons
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(": "))
        .flat_map(|(names, _)| names.split_whitespace())
        .map(str::to_owned)
        .collect();
    let names: BTreeSet<String> = ROWS.iter().map(|row| row.name.to_owned()).collect();
    let mut complaints: Vec<String> = Vec::new();
    for name in &names {
        match (covered.contains(name), excused.contains(name)) {
            (false, false) => complaints.push(format!("{name}: no program and no reason")),
            (true, true) => {
                complaints.push(format!("{name}: has a program, and a reason for none"))
            }
            _ => {}
        }
    }
    let unknown = covered.union(&excused).filter(|name| !names.contains(*name));
    complaints.extend(unknown.map(|name| format!("{name}: not in the table")));
    none(complaints);
}

/// The programs make the calls that they claim to.
#[test]
fn programs_cover_what_they_say() {
    let mut complaints = Vec::new();
    for path in files(&["c"]) {
        let text = text(&path);
        let claims: BTreeSet<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("// covers: "))
            .flat_map(str::split_whitespace)
            .collect();
        if claims.is_empty() {
            continue;
        }
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();

        let dir = tempfile::tempdir().expect("a directory can be made");
        let trace = dir.path().join("trace");
        Command::new("strace")
            .args(["-f", "-qq", "-o"])
            .arg(&trace)
            .arg(crate::harness::c_program(name))
            .current_dir(dir.path())
            .output()
            .expect("strace starts");
        let trace = String::from_utf8_lossy(&fs::read(&trace).unwrap_or_default()).into_owned();
        let made: BTreeSet<&str> = trace
            .lines()
            .filter_map(|line| line.split_once(' ')?.1.trim_start().split_once('('))
            .map(|(name, _)| named(name))
            .collect();
        let missing = claims.iter().filter(|claim| !made.contains(*claim));
        complaints.extend(missing.map(|call| format!("{name}.c does not make {call}")));
    }
    none(complaints);
}

/// The table's name for a call of which strace may know only the number.
fn named(name: &str) -> &str {
    let number = name.strip_prefix("syscall_0x").and_then(|hex| u64::from_str_radix(hex, 16).ok());
    number.and_then(log_format::table::row).map_or(name, |row| row.name)
}

/// The shim depends on no library, so that it loads under any libc.
#[test]
fn the_shim_needs_no_library() {
    let output =
        Command::new("readelf").arg("-d").arg(RR_RUN_SHIM).output().expect("readelf starts");
    let dynamic = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && !dynamic.contains("(NEEDED)"), "{dynamic}");
}

/// Where the build put the shim.
const RR_RUN_SHIM: &str = env!("RR_RUN_SHIM");

#[test]
fn help_names_every_exit_code_of_the_readme() {
    let output = Command::new(RR_RUN).arg("--help").output().expect("rr-run starts");
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    let readme = text(Path::new("README.md"));
    for code in 120..=127 {
        let code = code.to_string();
        assert!(help.contains(&code), "--help does not name {code}");
        assert!(readme.contains(&code), "the README does not name {code}");
    }
}

/// Files of the source that write files, and why no secret gets into a session by them.
const WRITERS: [(&str, &str); 29] = [
    ("cli/ask.rs", "rules of redacted mismatches, for an editor, in a scratch file"),
    ("cli/audit.rs", "a report that the user names"),
    ("cli/export.rs", "read from redacted logs, to a file that the user names"),
    ("cli/serve.rs", "a report that the user names, a certificate"),
    ("intercept/trust.rs", "certificates"),
    ("launch/code.rs", "what instructions programs have"),
    ("launch/privileges.rs", "the program; kept files are redacted at the end"),
    ("launch/shim.rs", "the shim"),
    ("log/map.rs", "the arena, which is gone when recording ends"),
    ("log/writer.rs", "logs: takes only what a redactor has made"),
    ("network/clocks.rs", "readings of clocks"),
    ("network/processes.rs", "what identifies processes, in a scratch directory"),
    ("player/layer.rs", "passes its text through a redactor"),
    ("player/report.rs", "passes its text through a redactor"),
    ("redact/finish.rs", "the redactor's own"),
    ("redact/marks.rs", "places of placeholders"),
    ("redact/stash.rs", "beside the arena, gone with it"),
    ("redact/value.rs", "the key of placeholders, in no session"),
    ("replay.rs", "a report that the user names"),
    ("replay/gdb.rs", "what gdb is told, in a scratch directory"),
    ("replay/loader.rs", "memory of the guest"),
    ("report/junit.rs", "a report that the user names"),
    ("session.rs", "the manifest: passes through a redactor"),
    ("session/git.rs", "names of tracked files, in no session"),
    ("session/hashes.rs", "hashes"),
    ("session/pack.rs", "a copy of a session"),
    ("stream/index.rs", "read from redacted logs"),
    ("stream/summary.rs", "read from redacted logs"),
    ("telemetry/lines.rs", "read from redacted logs, to a file that the user names"),
];

/// Whatever is written into a session has passed through a redactor.
#[test]
fn no_write_goes_round_the_redactor() {
    let writes = [
        "File::create",
        "fs::write",
        "File::options",
        "OpenOptions",
        ".persist",
        "fs::copy",
        "fs::hard_link",
        "tempfile_in",
        "NamedTempFile",
    ];
    let mut complaints = Vec::new();
    let mut found = BTreeSet::new();
    for path in files(&["rs"]) {
        let Ok(name) = path.strip_prefix("src") else { continue };
        let name = name.display().to_string();
        let text = text(&path);
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        if name.ends_with("tests.rs") {
            continue;
        }
        if writes.iter().any(|call| code.contains(call)) {
            found.insert(name.clone());
            if !WRITERS.iter().any(|(known, _)| *known == name) {
                complaints.push(format!("{name} writes files: does it redact?"));
            }
        }
        if code.contains("Redacted(") && !name.starts_with("redact") {
            complaints.push(format!("{name} makes redacted bytes of its own"));
        }
    }
    let gone = WRITERS.iter().filter(|(name, _)| !found.contains(*name));
    complaints.extend(gone.map(|(name, _)| format!("{name} writes no files any more")));
    let writer = text(Path::new("src/log/writer.rs"));
    let appends: Vec<&str> = writer.split("pub fn append(").skip(1).collect();
    if appends.len() != 1 || !appends[0].starts_with("\n        &mut self,") {
        complaints.push("a log's writer has one way to append".into());
    }
    let before = writer.split("\nfn write_frame(").next().unwrap_or_default();
    let writes = [before.matches("write_frame(").count(), before.matches(".write_").count()];
    if !before.contains("redacted: Redacted<'_>") || writes != [1, 0] {
        complaints.push("a log's writer takes redacted bytes only".into());
    }
    none(complaints);
}
