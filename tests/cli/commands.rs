//! What the commands say about a session.

use std::fs;
use std::process::Command;
use std::time::Duration;

use super::{fails, place, rr_run, works};
use crate::harness::{RR_RUN, Server, c_program, clean_environment, run};

/// A store with one session of a C program.
fn recorded(program: &str, args: &[&str]) -> tempfile::TempDir {
    let dir = place();
    let program = c_program(program).display().to_string();
    rr_run(dir.path(), &[&["--record", &program][..], args].concat());
    dir
}

#[test]
fn both_forms_of_record_and_replay() {
    let dir = place();
    let first = works(&rr_run(dir.path(), &["--record", "date", "+%N"]));
    assert_eq!(works(&rr_run(dir.path(), &["--replay"])), first);
    let second = works(&rr_run(dir.path(), &["record", "--name", "two", "--", "date", "+%N"]));
    assert_ne!(first, second);
    assert_eq!(works(&rr_run(dir.path(), &["replay", "two"])), second);
    assert_eq!(works(&rr_run(dir.path(), &["replay"])), second);
}

#[test]
fn a_program_named_like_a_command() {
    let dir = place();
    let output = rr_run(dir.path(), &["--record", "diff", "/etc/passwd", "/dev/null"]);
    assert_eq!(output.code, Some(1), "{output}");
    assert_eq!(rr_run(dir.path(), &["--replay"]).code, Some(1));
}

#[test]
fn show_decodes_every_event() {
    for program in ["files", "pipes", "sockets", "signals", "system", "recent"] {
        let dir = recorded(program, &[]);
        let text = works(&rr_run(dir.path(), &["show"]));
        assert!(text.lines().count() > 5, "{program}: {text}");
        // One program makes calls that do not exist, and these are noted as such.
        let mut strange = text.lines().filter(|l| l.contains("unknown"));
        assert!(strange.all(|l| l.contains("outside the table")), "{program}: {text}");
        let json = works(&rr_run(dir.path(), &["show", "--json"]));
        for line in json.lines() {
            let event: serde_json::Value = serde_json::from_str(line).expect("an event is JSON");
            assert!(event["kind"].is_string() && event["step"].is_u64(), "{line}");
        }
    }
}

#[test]
fn show_filters() {
    let dir = recorded("files", &[]);
    let calls = works(&rr_run(dir.path(), &["show", "--call", "mkdir"]));
    assert!(calls.lines().count() >= 2 && calls.lines().all(|l| l.contains("mkdir(")), "{calls}");
    let failed = works(&rr_run(dir.path(), &["show", "--failed"]));
    assert!(failed.lines().all(|line| line.contains("= -1 ")), "{failed}");
    let steps = works(&rr_run(dir.path(), &["show", "--step", "3..5"]));
    assert_eq!(steps.lines().count(), 3, "{steps}");
}

#[test]
fn info_names_what_was_run() {
    let dir = recorded("processes", &[]);
    let info = works(&rr_run(dir.path(), &["info"]));
    for part in ["processes", "rr-run", "exit"] {
        assert!(info.contains(part), "{part} is missing: {info}");
    }
    let json = works(&rr_run(dir.path(), &["info", "--json"]));
    let json: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(json["exit_code"], 0);
}

#[test]
fn refused_calls_are_counted() {
    let dir = recorded("refused", &[]);
    let info = works(&rr_run(dir.path(), &["info"]));
    assert!(info.contains("io_uring_setup"), "{info}");
}

#[test]
fn unknown_calls_are_counted() {
    let dir = recorded("errors", &[]);
    let info = works(&rr_run(dir.path(), &["info"]));
    assert!(info.contains("unknown"), "{info}");
}

#[test]
fn a_program_that_ran_unseen_is_named() {
    let dir = place();
    let program = c_program("fixed").display().to_string();
    let script = format!("{program} a b; echo $?");
    let output = works(&rr_run(dir.path(), &["--record", "sh", "-c", &script]));
    assert!(output.ends_with("5\n"), "{output}");
    let info = works(&rr_run(dir.path(), &["info"]));
    assert!(info.contains(&program) && info.contains("static"), "{info}");
}

#[test]
fn sessions_are_listed_and_removed() {
    let dir = place();
    for name in ["one", "two", "three"] {
        works(&rr_run(dir.path(), &["record", "--name", name, "--", "true"]));
    }
    let list = works(&rr_run(dir.path(), &["ls"]));
    assert_eq!(list.lines().count(), 4, "{list}");
    works(&rr_run(dir.path(), &["rm", "two"]));
    let list = works(&rr_run(dir.path(), &["ls"]));
    assert!(list.contains("one") && !list.contains("two"), "{list}");
    fails(&rr_run(dir.path(), &["rm", "two"]), 121, "two");
    works(&rr_run(dir.path(), &["rm", "--all"]));
    let store = dir.path().join("store");
    let left = fs::read_dir(&store).map_or(0, |entries| {
        entries.flatten().filter(|entry| entry.path().join("manifest.json").exists()).count()
    });
    assert_eq!(left, 0);
}

#[test]
fn each_call_can_wait_until_it_is_written() {
    let dir = place();
    let script = "date +%N & date +%N & wait; echo $RANDOM";
    let output = works(&rr_run(dir.path(), &["--record", "--foreground", "bash", "-c", script]));
    let verified = works(&rr_run(dir.path(), &["verify"]));
    assert!(verified.contains("\nwhole: 3 processes") && !verified.contains("note:"), "{verified}");
    assert_eq!(works(&rr_run(dir.path(), &["--replay"])), output);
}

#[test]
fn one_seed_gives_one_randomness() {
    let dir = place();
    let random = |args: &[&str]| {
        let tail = ["head", "-c", "16", "/dev/urandom"];
        let output = rr_run(dir.path(), &[args, &tail[..]].concat());
        assert_eq!(output.code, Some(0), "{output}");
        output.stdout
    };
    let first = random(&["--seed", "7", "--record"]);
    assert_eq!(random(&["--seed", "7", "--record"]), first);
    assert_eq!(random(&["--seed", "7"]), first);
    assert_ne!(random(&["--seed", "8", "--record"]), first);
    assert_ne!(random(&["--record"]), random(&["--record"]));
}

#[test]
fn a_frozen_clock_stands_still() {
    let dir = place();
    let script = "date +%s%N; sleep 0.01; date +%s%N";
    let output = works(&rr_run(dir.path(), &["--time", "frozen", "--record", "sh", "-c", script]));
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines.first(), lines.get(1), "{output}");
    assert_eq!(works(&rr_run(dir.path(), &["--replay"])), output);
}

#[test]
fn until_stops_a_replay_at_a_step() {
    let dir = recorded("files", &[]);
    let output = rr_run(dir.path(), &["--replay", "--until", "2"]);
    assert!(output.err().contains("step 2"), "{output}");
    assert!(!output.out().contains("umask"), "{output}");
}

#[test]
fn until_stops_any_process_and_says_if_it_does_not() {
    let dir = place();
    works(&rr_run(dir.path(), &["--record", "sh", "-c", "env echo child; echo parent"]));
    let output = rr_run(dir.path(), &["--replay", "--until", "1.1:3"]);
    works(&output);
    assert!(output.err().contains("stop at step 3") && output.err().contains("process 1.1"));
    assert!(!output.out().contains("parent"), "{output}");
    for (until, id) in [("100000", "1"), ("1.1:100000", "1.1")] {
        let output = rr_run(dir.path(), &["--replay", "--until", until]);
        assert_eq!(works(&output), "child\nparent\n", "{output}");
        let note = format!("rr-run: note: process {id} has ended after ");
        assert!(output.err().contains(&note), "{output}");
        assert!(output.err().contains("no step 100000"), "{output}");
    }
    fails(&rr_run(dir.path(), &["--replay", "--until", "1.7:3"]), 125, "1.7");
    for bad in ["0", "x", "1.1:", "1.1:0"] {
        let output = rr_run(dir.path(), &["--replay", "--until", bad]);
        assert!(output.code != Some(0) && output.err().contains("PROCESS:STEP"), "{output}");
    }
}

#[test]
fn a_closed_stdout_is_closed_for_the_program() {
    let dir = place();
    let program = "echo x; echo code $? >&2; [ -e /proc/self/fd/1 ] && echo open >&2; true";
    let closed = |rr_run: &str| {
        let script = format!("{rr_run} \"$@\" >&-");
        let mut command = Command::new("sh");
        clean_environment(&mut command);
        command.args(["-c", &script, "sh"]).current_dir(dir.path());
        command.env("RR_RUN_DIR", dir.path().join("store"));
        command
    };
    let run =
        |mut command: Command, args: &[&str]| run(command.args(args), b"", Duration::from_secs(60));
    let native = run(closed(""), &["sh", "-c", program]);
    assert!(native.err().contains("code 1") && !native.err().contains("open"), "{native}");
    let recorded = run(closed(RR_RUN), &["--record", "sh", "-c", program]);
    assert_eq!(recorded, native);
    assert_eq!(run(closed(RR_RUN), &["--replay"]), native);
    assert_eq!(rr_run(dir.path(), &["--replay"]), native);
}

/// The limit of file sizes is one of the reasons.
#[test]
fn a_file_that_can_not_be_kept_is_noted() {
    let dir = place();
    fs::copy("/bin/echo", dir.path().join("copy")).expect("a program can be copied");
    let script = "ulimit -f 1; ./copy said";
    let said = works(&rr_run(dir.path(), &["--record", "bash", "-c", script]));
    assert_eq!(said, "said\n");
    for command in ["info", "show"] {
        let told = works(&rr_run(dir.path(), &[command]));
        let note = format!("file not kept: {}/copy", dir.path().display());
        assert!(told.contains(&note), "{told}");
    }
    assert_eq!(works(&rr_run(dir.path(), &["--replay"])), said);
    fs::remove_file(dir.path().join("copy")).expect("it can be removed");
    fails(&rr_run(dir.path(), &["--replay"]), 121, "copy");
}

#[test]
fn a_changed_program_diverges_with_a_report() {
    let dir = place();
    let script = dir.path().join("script");
    fs::write(&script, "echo one; date +%N; echo three\n").expect("a file can be written");
    works(&rr_run(dir.path(), &["--record", "bash", "-c", ". ./script"]));
    // The log answers what a guest reads; a changed argument can't be in it. So the session's
    // manifest is changed, as if another script had been given.
    let manifest = dir.path().join("store/latest/manifest.json");
    let text = fs::read_to_string(&manifest).expect("the manifest can be read");
    let changed = text.replace(". ./script", "echo two     ");
    assert_ne!(text, changed, "the arguments stand in the manifest");
    fs::write(&manifest, changed).expect("the manifest can be written");
    let report = dir.path().join("report.json");
    let path = report.display().to_string();
    let output = rr_run(dir.path(), &["--replay", "--json", &path]);
    fails(&output, 120, "step");
    for part in ["divergence", "recorded", "replayed"] {
        assert!(output.err().contains(part), "{part} is missing: {output}");
    }
    let json = fs::read_to_string(&report).expect("the report was written");
    serde_json::from_str::<serde_json::Value>(&json).expect("it is JSON");
}

#[test]
fn a_session_travels_as_one_file() {
    let dir = recorded("clocks", &[]);
    let recorded = works(&rr_run(dir.path(), &["--replay"]));
    // What network replays have left in it goes along.
    let kept = ["rules.toml", "layers/0001.jsonl", "runs/0001.json"];
    for name in kept {
        let path = dir.path().join("store/latest").join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, "# kept\n").expect("a file");
    }
    let packed = dir.path().join("packed").display().to_string();
    works(&rr_run(dir.path(), &["pack", "--to", &packed]));
    let other = place();
    works(&rr_run(other.path(), &["unpack", "--name", "travelled", &packed]));
    drop(dir);
    for name in kept {
        let path = other.path().join("store/travelled").join(name);
        assert_eq!(fs::read_to_string(path).expect(name), "# kept\n");
    }
    assert_eq!(works(&rr_run(other.path(), &["--replay"])), recorded);
}

#[test]
fn diff_finds_the_first_difference() {
    let dir = place();
    for name in ["a", "b"] {
        works(&rr_run(dir.path(), &["record", "--name", name, "--", "sh", "-c", "echo $$; date"]));
    }
    works(&rr_run(dir.path(), &["diff", "a", "a"]));
    let output = rr_run(dir.path(), &["diff", "a", "b"]);
    assert_eq!(output.code, Some(123), "{output}");
}

#[test]
fn audit_tells_whether_a_program_is_deterministic() {
    let dir = recorded("files", &[]);
    works(&rr_run(dir.path(), &["audit", "latest", "--runs", "2"]));
    works(&rr_run(dir.path(), &["audit", "--runs", "2", "--", "echo", "same"]));
    let output = rr_run(dir.path(), &["audit", "--runs", "2", "--", "date", "+%N"]);
    assert_eq!(output.code, Some(123), "{output}");
}

#[test]
fn doctor_finds_this_machine_fit() {
    let output = works(&rr_run(place().path(), &["doctor"]));
    assert!(output.contains("user dispatch"), "{output}");
}

/// A server that still runs sees nothing of a replay.
#[test]
fn a_replay_sends_no_request() {
    let dir = place();
    let server = Server::start(dir.path()).expect("the server starts");
    let url = format!("http://127.0.0.1:{}/stream?n=3", server.http);
    let recorded = works(&rr_run(dir.path(), &["--record", "curl", "-sS", &url]));
    assert_eq!(server.count().expect("the server answers"), 1);
    assert_eq!(works(&rr_run(dir.path(), &["--replay"])), recorded);
    assert_eq!(server.count().expect("the server answers"), 1);
}

/// A replay opens no socket, writes no file and signals nothing outside.
#[test]
fn a_replay_changes_nothing_outside() {
    let dir = recorded("sockets", &[]);
    let trace = dir.path().join("trace");
    let status = Command::new("strace")
        .args(["-f", "-qq", "-e", "trace=connect,bind,unlink,rename,mkdir,kill", "-o"])
        .arg(&trace)
        .args([RR_RUN, "--replay"])
        .arg(dir.path().join("store/latest"))
        .output()
        .expect("strace starts");
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
    let trace = fs::read_to_string(&trace).expect("there is a trace");
    let outside = |line: &&str| {
        let done = line.contains(") = 0");
        let sends = line.contains(" connect(") || line.contains(" bind(");
        done && sends
    };
    let calls: Vec<&str> = trace.lines().filter(outside).collect();
    assert!(calls.is_empty(), "{}", calls.join("\n"));
}
