//! What a killed recording leaves in memory goes with its session.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use super::kills::children;
use super::{command, place, rr_run, works};

/// Kills rr-run while it records; the arena that it has left in memory, none if it is elsewhere.
fn killed(dir: &Path) -> Option<PathBuf> {
    let mut sleep = command(dir, &["--record", "sleep", "100"]);
    sleep.env("TEST_API_KEY", "sk-proj-Env1Abcdefgh0123456789XYZ");
    let mut host = sleep.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    let guests = guests(&host);
    let arena = fs::read_link(dir.join("store/latest/arena")).ok();
    host.kill().expect("it can be killed");
    host.wait().expect("it can be waited for");
    for pid in guests {
        let pid = nix::unistd::Pid::from_raw(pid.parse().expect("a pid"));
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
    }
    if arena.is_none() {
        eprintln!("not run further: there is no room in memory for an arena");
    }
    arena
}

/// The guests of a host, once there are some.
fn guests(host: &Child) -> Vec<String> {
    loop {
        let guests = children(host.id());
        if !guests.is_empty() {
            return guests;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn secrets(arena: &Path) -> PathBuf {
    let mut path = arena.as_os_str().to_owned();
    path.push(".secrets");
    path.into()
}

#[test]
fn removing_a_killed_session_removes_its_arena() {
    let dir = place();
    let Some(arena) = killed(dir.path()) else { return };
    assert!(arena.exists() && secrets(&arena).exists());
    works(&rr_run(dir.path(), &["rm", "--all"]));
    assert!(!arena.exists() && !secrets(&arena).exists());
}

#[test]
fn recording_sweeps_what_a_removed_session_has_left() {
    let dir = place();
    let (Some(gone), other) = (killed(dir.path()), place()) else { return };
    let Some(kept) = killed(other.path()) else { return };
    fs::remove_dir_all(dir.path().join("store")).expect("the session can be removed");
    works(&rr_run(dir.path(), &["--record", "true"]));
    assert!(!gone.exists() && !secrets(&gone).exists());
    // That of a session which is there completes it.
    assert!(kept.exists() && secrets(&kept).exists());
    assert!(works(&rr_run(other.path(), &["info"])).contains("rr-run was killed"));
    assert!(!kept.exists() && !secrets(&kept).exists());
}
