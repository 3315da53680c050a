//! Libraries of a program's own, which the loader maps before the shim is there.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{command, place, works};
use crate::harness::{ROOT, replay_command, run};

/// Makes `prog` in `dir`, which finds `lib/libown.so` by its own place, and `plain`, which has to
/// be told. The library has links, as installed ones do.
fn build(dir: &Path) {
    let script = "set -e; mkdir lib; c='gcc -O1 -D_GNU_SOURCE -pthread'
        $c -shared -fPIC -Wl,-soname,libown.so.1 -o lib/libown.so.1.2 $1
        ln -s libown.so.1.2 lib/libown.so.1; ln -s libown.so.1 lib/libown.so
        $c -DPROGRAM -o plain $1 -Llib -lown
        $c -DPROGRAM -o prog $1 -Llib -lown -Wl,-rpath,'$ORIGIN/lib'
        cp prog replaced; cp prog replaced.next";
    let source = Path::new(ROOT).join("tests/programs/library.c");
    let made = Command::new("sh").args(["-ec", script, "sh"]).arg(source).current_dir(dir).status();
    assert!(made.expect("sh starts").success());
}

/// Records in a directory, changes that, replays, and compares what was put out.
fn survives(args: &[&str], library_path: Option<&str>, change: impl Fn(&Path)) {
    let dir = place();
    let there = dir.path().join("there");
    fs::create_dir(&there).expect("a directory can be made");
    build(&there);
    let store = dir.path().join("store");
    let mut record = command(dir.path(), &[]);
    record.arg("--record").arg("-o").arg(&store).args(args).current_dir(&there);
    record.envs(library_path.map(|path| ("LD_LIBRARY_PATH", path)));
    let recorded = works(&run(&mut record, b"", Duration::from_secs(60)));
    assert!(recorded.contains(" at "), "{recorded}");
    change(&there);
    for _ in 0..2 {
        let replayed =
            run(&mut replay_command(&store.join("latest")), b"", Duration::from_secs(60));
        assert_eq!(works(&replayed), recorded, "{replayed}");
    }
}

fn gone(there: &Path) {
    fs::remove_dir_all(there).expect("a directory can be removed");
}

#[test]
fn found_by_the_programs_place() {
    survives(&["./prog"], None, gone);
}

#[test]
fn found_by_the_environment() {
    survives(&["./plain"], Some("./lib"), gone);
    survives(&["./plain"], Some("/nowhere:lib:"), gone);
}

/// Another program takes its name before the shim is there.
#[test]
fn whose_program_is_replaced_once_it_runs() {
    survives(&["./replaced"], None, |_| ());
    survives(&["sh", "-c", "cp prog replaced.next; ./replaced; ./replaced"], None, gone);
}

#[test]
fn replaced_once_it_is_loaded() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not run: only root can open a mapped file that is gone");
        return;
    }
    survives(&["sh", "-c", "cp lib/libown.so.1.2 lib/next; ./prog; ./prog"], None, gone);
}

#[test]
fn of_a_child() {
    survives(&["sh", "-c", "./prog; LD_LIBRARY_PATH=$PWD/lib ./plain | cat; ./prog"], None, gone);
}

#[test]
fn replaced_by_another() {
    survives(&["./prog"], None, |there| {
        fs::remove_file(there.join("lib/libown.so.1")).expect("a link can be removed");
        fs::copy("/lib/x86_64-linux-gnu/libm.so.6", there.join("lib/libown.so.1"))
            .expect("a library can be copied");
    });
}

#[test]
fn whose_program_alone_is_gone() {
    survives(&["./prog"], None, |there| {
        fs::remove_file(there.join("prog")).expect("a program can be removed");
    });
}
