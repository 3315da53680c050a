//! Files that may not be written.

use super::policed;
use crate::harness::{Case, python};

#[test]
fn only_what_lies_beneath_allowed_directories_is_written() {
    let script = "mkdir ok out
        echo 1 > ok/a && echo 2 > b; echo 3 > /dev/null; echo 4 > /dev/stdout
        mkdir -p ok/x/y; mkdir other; rm -f missing; rm ok/a; mv ok/x outside; cd ok; echo 5 > new
        echo 6 > ../new; touch new; chmod 600 new; chmod 600 ../rr-run.toml; ls
        cat ../rr-run.toml";
    let case = Case::bash(script)
        .record_with(["--allow-write=ok"])
        .file("rr-run.toml", "[policy]\nallow_write = ['out']\n")
        .code(0);
    let (out, err, notes) = policed(&case);
    assert_eq!(out, "4\nnew\nx\n[policy]\nallow_write = ['out']\n", "{err}");
    for denied in ["write ", "mkdir ", "renameat2 ", "fchmodat "] {
        let text = format!("denied by the policy: {denied}/");
        assert!(notes.contains(&text), "{text} is missing in {notes}");
    }
    assert!(err.contains("b: Permission denied") && err.contains("other"), "{err}");
    assert!(!err.contains("missing"), "{err}");
}

#[test]
fn links_do_not_lead_out() {
    let script = "import os
os.mkdir('ok')
def attempt(what, f):
    try:
        f()
        print(what, 'done')
    except OSError as e:
        print(what, type(e).__name__)
os.symlink('../outside', 'ok/dangling')
os.symlink('..', 'ok/up')
attempt('through a dangling link', lambda: open('ok/dangling', 'w'))
attempt('through a directory', lambda: open('ok/up/b', 'w'))
attempt('by dots', lambda: open('ok/../c', 'w'))
attempt('hard link', lambda: os.link('given', 'ok/given'))
attempt('truncate', lambda: os.truncate('given', 0))
attempt('utime', lambda: os.utime('given'))
attempt('descriptor', lambda: os.fchmod(os.open('given', os.O_RDONLY), 0o600))
here = os.open('ok', os.O_RDONLY)
attempt('relative', lambda: os.close(os.open('rel', os.O_CREAT | os.O_WRONLY, dir_fd=here)))
attempt('exclusive', lambda: open('ok/rel', 'x'))
attempt('rename', lambda: os.rename('ok/rel', 'moved'))
attempt('inside', lambda: os.rename('ok/rel', 'ok/moved'))
attempt('unlink', lambda: os.unlink('given'))
attempt('absent', lambda: os.unlink('absent'))
attempt('memory', lambda: os.write(os.memfd_create('m'), b'x'))
";
    let case = Case::new(python())
        .args(["-c", script])
        .file("given", "here")
        .record_with(["--allow-write=ok"]);
    let (out, err, _) = policed(&case);
    let expected = "through a dangling link PermissionError
through a directory PermissionError
by dots PermissionError
hard link PermissionError
truncate PermissionError
utime PermissionError
descriptor PermissionError
relative done
exclusive FileExistsError
rename PermissionError
inside done
unlink PermissionError
absent FileNotFoundError
memory done
";
    assert_eq!(out, expected, "{err}");
}

#[test]
fn git_can_look_but_not_change() {
    let script = "git log --oneline; git status -s; git tag x";
    let repository = "git init -q . && git -c user.name=n -c user.email=e@x commit -q \
                      --allow-empty -m one";
    // Made before, in a directory of its own.
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("repository");
    std::fs::create_dir(&place).unwrap();
    let made = std::process::Command::new("bash")
        .args(["-c", repository])
        .current_dir(&place)
        .status()
        .unwrap();
    assert!(made.success());
    let case = Case::bash(&format!("cd $REPOSITORY && {script}"))
        .record_with(["--deny-write"])
        .env("REPOSITORY", place.display().to_string())
        .code(128);
    let (out, err, _) = policed(&case);
    assert!(out.ends_with(" one\n"), "{out}{err}");
    assert!(err.contains("Permission denied"), "{err}");
}
