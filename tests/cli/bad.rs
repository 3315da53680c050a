//! Bad input: one clear error, and the exit code that the README names.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use super::{fails, place, rr_run, works};
use crate::harness::{RR_RUN, c_program, run};

#[test]
fn no_such_program() {
    fails(&rr_run(place().path(), &["--record", "no-such-program"]), 127, "no-such-program");
    fails(&rr_run(place().path(), &["--record", "/no/such/program"]), 127, "/no/such/program");
}

#[test]
fn not_executable() {
    let dir = place();
    fs::write(dir.path().join("plain"), "text").expect("a file can be written");
    fails(&rr_run(dir.path(), &["--record", "./plain"]), 126, "plain");
    fails(&rr_run(dir.path(), &["--record", "/tmp"]), 126, "/tmp");
}

#[test]
fn not_a_program() {
    let dir = place();
    let path = dir.path().join("noise");
    fs::write(&path, [0x7f, b'E', b'L', b'F', 9, 9, 9]).expect("a file can be written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode can be set");
    let output = rr_run(dir.path(), &["--record", "./noise"]);
    assert!([Some(122), Some(126)].contains(&output.code), "{output}");
    assert!(output.err().contains("noise"), "{output}");
}

#[test]
fn a_script_without_its_interpreter() {
    let dir = place();
    let path = dir.path().join("script");
    fs::write(&path, "#!/no/such/interpreter\n").expect("a file can be written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode can be set");
    let output = rr_run(dir.path(), &["--record", "./script"]);
    assert!([Some(126), Some(127)].contains(&output.code), "{output}");
}

#[test]
fn a_static_program() {
    let program = c_program("fixed").display().to_string();
    fails(&rr_run(place().path(), &["--record", &program]), 122, "static");
}

#[test]
fn a_setuid_program() {
    let dir = place();
    let path = dir.path().join("raised");
    fs::copy("/bin/true", &path).expect("a program can be copied");
    // Owned by another user, or it would raise nothing.
    let owned = nix::unistd::chown(&path, Some(nix::unistd::Uid::from_raw(12345)), None).is_ok();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4755)).expect("its mode can be set");
    if owned {
        fails(&rr_run(dir.path(), &["--record", "./raised"]), 122, "raised");
    }
}

#[test]
fn no_session() {
    let dir = place();
    for command in ["--replay", "show", "info", "verify"] {
        fails(&rr_run(dir.path(), &[command]), 121, "session");
        fails(&rr_run(dir.path(), &[command, "missing"]), 121, "missing");
    }
}

#[test]
fn wrong_usage() {
    for args in [&["--record"][..], &["--no-such-option"], &["show", "--step", "x"], &[]] {
        let output = rr_run(place().path(), args);
        assert!(output.code.is_some_and(|code| code != 0), "{args:?}: {output}");
        assert!(!output.err().is_empty(), "{args:?}: {output}");
    }
}

#[test]
fn a_store_that_is_a_file() {
    let dir = place();
    fs::write(dir.path().join("store"), "").expect("a file can be written");
    fails(&rr_run(dir.path(), &["--record", "true"]), 125, "store");
}

/// Runs a script in a mount namespace of its own, with a small tmpfs at ./small; none where
/// namespaces are not allowed.
fn with_small_disk(script: &str) -> Option<crate::harness::Output> {
    let dir = place();
    fs::create_dir(dir.path().join("small")).expect("a directory can be made");
    let script = format!("mount -t tmpfs -o size=4m none small || exit 99\n{script}");
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &script]).env("RR", RR_RUN).current_dir(dir.path());
    command.env("MANY", c_program("many_calls"));
    let output = run(&mut command, b"", Duration::from_secs(60));
    (output.code != Some(99) && !output.err().contains("unshare")).then_some(output)
}

#[test]
fn a_full_disk_does_not_stop_the_program() {
    let Some(output) = with_small_disk("exec $RR record --entropy os -o small -- $MANY 3000")
    else {
        return;
    };
    // Either the recording ends early with a word about it, or there is no room to begin with.
    let err = output.err();
    assert!(err.contains("space"), "{output}");
    if output.code == Some(0) {
        assert!(output.out().contains("2000: "), "{output}");
    } else {
        fails(&output, 125, "space");
    }
}

#[test]
fn a_read_only_directory() {
    let script = "mkdir small/s && mount -o remount,ro small && exec $RR --record -o small/s true";
    let Some(output) = with_small_disk(script) else { return };
    fails(&output, 125, "small/s");
}

#[test]
fn the_size_limit_ends_the_recording_not_the_program() {
    let dir = place();
    let program = c_program("many_calls").display().to_string();
    let output = rr_run(
        dir.path(),
        &["record", "--entropy", "os", "--max-size", "2M", "--", &program, "3000"],
    );
    assert!(works(&output).contains("2000: "), "{output}");
    let info = works(&rr_run(dir.path(), &["info"]));
    assert!(info.contains("limit"), "{info}");
    works(&rr_run(dir.path(), &["show", "--limit", "5"]));
}
