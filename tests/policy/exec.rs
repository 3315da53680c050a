//! Programs that may not be executed.

use super::policed;
use crate::harness::{Case, python};

#[test]
fn denied_programs_can_t_be_executed_by_whatever_path() {
    let script = "ln -s $(command -v ls) other; ls -d /; ./other -d /; cat /dev/null; \
                  printf '#!/bin/ls\\n' > script; chmod +x script; ./script; echo end";
    let (out, err, notes) = policed(&Case::bash(script).record_with(["--deny-exec=ls"]));
    assert_eq!(out, "end\n", "{err}");
    assert!(notes.contains("denied by the policy: execute /"), "{notes}");
    assert!(notes.contains("denied 3"), "{notes}");
}

#[test]
fn only_allowed_programs_can_be_executed() {
    let script = "import subprocess
def attempt(*argv):
    try:
        print(argv[0], subprocess.run(argv, capture_output=True).returncode, flush=True)
    except OSError as e:
        print(argv[0], e.strerror, flush=True)
attempt('echo', 'hello')
attempt('cat', '/dev/null')
attempt('no-such-program')
";
    let case = Case::new(python()).args(["-c", script]).record_with(["--allow-exec=echo"]);
    let (out, err, _) = policed(&case);
    let expected = "echo 0\ncat Permission denied\nno-such-program No such file or directory\n";
    assert_eq!(out, expected, "{err}");
    let (out, err, _) =
        policed(&Case::bash("cat /dev/null; echo end").record_with(["--deny-exec"]));
    assert_eq!(out, "end\n", "{err}");
}

#[test]
fn what_can_t_be_held_to_the_policy_is_not_executed() {
    // A static program: one without an interpreter for the loader.
    let case = Case::bash(
        "printf 'int main(void){return 7;}' > p.c && gcc -static -o p p.c && ./p; echo $?",
    );
    let (out, err, notes) = policed(&case.record_with(["--deny-net"]));
    assert_eq!(out, "126\n", "{err}");
    assert!(notes.contains("p, a static program"), "{notes}");
}
