//! Programs that can't be intercepted: refused as the root, opaque as children.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{fails, place, rr_run, works};
use crate::harness::{RR_RUN, clean_environment, run};

const PT_LOAD: u32 = 1;
const READ_EXECUTE: u32 = 5;
const EM_386: u8 = 3;
const EM_AARCH64: u8 = 183;
const EM_AT: usize = 18;

/// A 32-bit program that ends with code 42.
fn thirty_two_bit() -> Vec<u8> {
    const BASE: u32 = 0x0800_0000;
    const HEADERS: u32 = 52 + 32;
    // mov eax, 1 (exit); mov ebx, 42; int 0x80
    let code = [0xb8, 1, 0, 0, 0, 0xbb, 42, 0, 0, 0, 0xcd, 0x80];
    let size = HEADERS + code.len() as u32;
    let mut elf = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0".to_vec();
    elf.extend([EM_386, 0]);
    // Version, entry, program headers, section headers, flags.
    for word in [1, BASE + HEADERS, 52, 0, 0u32] {
        elf.extend(word.to_le_bytes());
    }
    for half in [52u16, 32, 1, 0, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    for word in [PT_LOAD, 0, BASE, BASE, size, size, READ_EXECUTE, 4096] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(code);
    elf
}

fn install(path: &Path, bytes: &[u8], mode: u32) {
    fs::write(path, bytes).expect("a file can be written");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its mode can be set");
}

/// Records a shell that runs `./it`, and replays that; what it said.
fn as_child(dir: &Path) -> String {
    let recorded = rr_run(dir, &["--record", "bash", "-c", "./it; echo code $?"]);
    let said = works(&recorded);
    let replayed = rr_run(dir, &["--replay"]);
    assert_eq!(works(&replayed), said, "{replayed}");
    // One that the kernel refuses has not run.
    let ran = !said.contains("code 126");
    assert_eq!(replayed.err().contains("ran unseen"), ran, "{replayed}");
    said
}

#[test]
fn a_32_bit_program() {
    let dir = place();
    install(&dir.path().join("it"), &thirty_two_bit(), 0o755);
    fails(&rr_run(dir.path(), &["--record", "./it"]), 122, "32-bit");
    let native = Command::new(dir.path().join("it")).status();
    let said = as_child(dir.path());
    if native.is_ok_and(|status| status.code() == Some(42)) {
        assert!(said.contains("code 42"), "{said}");
        let info = works(&rr_run(dir.path(), &["info"]));
        assert!(info.contains("opaque"), "{info}");
        let show = works(&rr_run(dir.path(), &["show"]));
        assert!(show.contains("a 32-bit program"), "{show}");
    }
}

/// As gcc makes it: with an interpreter of its own.
#[test]
fn a_dynamic_32_bit_program() {
    let dir = place();
    fs::write(dir.path().join("it.c"), "int main() { return 42; }").expect("it can be written");
    let mut gcc = Command::new("gcc");
    gcc.args(["-m32", "-o", "it", "it.c"]).current_dir(dir.path()).stderr(Stdio::null());
    if !gcc.status().is_ok_and(|status| status.success()) {
        eprintln!("not run: gcc makes no 32-bit programs here");
        return;
    }
    fails(&rr_run(dir.path(), &["--record", "./it"]), 122, "32-bit");
    assert!(as_child(dir.path()).contains("code 42"));
}

#[test]
fn a_program_for_another_architecture() {
    let dir = place();
    let mut bytes = fs::read("/bin/true").expect("a program can be read");
    bytes[EM_AT] = EM_AARCH64;
    install(&dir.path().join("it"), &bytes, 0o755);
    fails(&rr_run(dir.path(), &["--record", "./it"]), 122, "architecture");
    let said = as_child(dir.path());
    assert!(said.contains("code 126") || said.contains("code 0"), "{said}");
}

/// What raises its user is refused to another user, and an opaque child to a shell of his.
#[test]
fn a_setuid_program_of_root() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not run: only root can make a program that raises another user to root");
        return;
    }
    let dir = place();
    let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o777));
    open(dir.path()).expect("the mode can be set");
    let id = fs::read("/usr/bin/id").expect("a program can be read");
    install(&dir.path().join("it"), &id, 0o4755);
    let own = dir.path().join("rr-run");
    fs::copy(RR_RUN, &own).expect("the binary can be copied");
    let other = |args: &[&str]| {
        let mut command = Command::new("setpriv");
        clean_environment(&mut command);
        command.args(["--reuid", "65534", "--clear-groups"]).arg(&own).args(args);
        command.current_dir(dir.path()).env("RR_RUN_DIR", dir.path().join("store"));
        command.env("HOME", dir.path());
        run(&mut command, b"", Duration::from_secs(60))
    };
    fails(&other(&["--record", "./it"]), 122, "setuid");
    let recorded = works(&other(&["--record", "bash", "-c", "./it -u | cat; echo $?"]));
    if recorded != "0\n0\n" {
        eprintln!("not run further: the file system does not honour setuid");
        return;
    }
    assert_eq!(works(&other(&["--replay"])), recorded);
    let show = works(&other(&["show"]));
    assert!(show.contains("a setuid program"), "{show}");
}

/// A program of root's that root runs gets no other rights, but random addresses: it is recorded
/// from a copy without the bit.
#[test]
fn a_setuid_program_of_its_own_owner() {
    let dir = place();
    let path = dir.path().join("it");
    fs::copy(crate::harness::c_program("clocks"), &path).expect("a program can be copied");
    for (mode, what) in [(0o4755, "setuid"), (0o2755, "setgid")] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode can be set");
        for command in [&["./it"][..], &["bash", "-c", "./it; (exec ./it) | tail -n 3"]] {
            let said = works(&rr_run(dir.path(), &[&["--record"], command].concat()));
            assert_eq!(works(&rr_run(dir.path(), &["--replay"])), said, "{what} {command:?}");
            let info = works(&rr_run(dir.path(), &["info"]));
            assert!(info.contains("copy without the bit"), "{info}");
            assert!(!info.contains("opaque"), "{info}");
        }
    }
    // The copies serve where the program is gone.
    let said = works(&rr_run(dir.path(), &["--record", "./it"]));
    fs::remove_file(&path).expect("it can be removed");
    assert_eq!(works(&rr_run(dir.path(), &["--replay"])), said);
}

/// A system's setuid program, run by root.
#[test]
fn su_of_root() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not run: only root owns su");
        return;
    }
    let dir = place();
    let command = ["--record", "su", "-s", "/bin/bash", "-c", "echo $UID; date +%N", "nobody"];
    let recorded = rr_run(dir.path(), &command);
    if recorded.code != Some(0) {
        eprintln!("not run: su does not work here: {recorded}");
        return;
    }
    let said = works(&recorded);
    assert_eq!(works(&rr_run(dir.path(), &["--replay"])), said);
}

/// File capabilities raise another user, and change nothing for root.
#[test]
fn a_program_with_capabilities() {
    let dir = place();
    fs::copy("/bin/cat", dir.path().join("it")).expect("a program can be copied");
    let mut setcap = Command::new("setcap");
    setcap.args(["cap_net_raw+ep", "it"]).current_dir(dir.path()).stderr(Stdio::null());
    if !setcap.status().is_ok_and(|status| status.success()) {
        eprintln!("not run: setcap is missing, or not permitted");
        return;
    }
    let recorded = rr_run(dir.path(), &["--record", "./it", "/proc/self/maps"]);
    let said = works(&recorded);
    assert_eq!(works(&rr_run(dir.path(), &["--replay"])), said);
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).expect("it is ours");
    let script = "setpriv --reuid 65534 --clear-groups bash -c './it /dev/null; echo $?'";
    works(&rr_run(dir.path(), &["--record", "bash", "-c", script]));
    let show = works(&rr_run(dir.path(), &["show"]));
    assert!(show.contains("a program with file capabilities"), "{show}");
}

/// A child whose program finds neither shim nor arena: it has another root directory.
#[test]
fn a_child_that_can_not_load_the_shim() {
    let dir = place();
    let make = "mkdir root && cp -L --parents /bin/echo $(ldd /bin/echo | grep -o '/[^ ]*') root";
    let made = Command::new("sh").args(["-c", make]).current_dir(dir.path()).status();
    assert!(made.expect("sh starts").success());
    let privileged = if nix::unistd::geteuid().is_root() { "" } else { "unshare -r " };
    let script = format!("{privileged}chroot root /bin/echo lost; echo code $?; echo after");
    let recorded = rr_run(dir.path(), &["--record", "sh", "-c", &script]);
    if !works(&recorded).contains("lost") {
        eprintln!("not run: the root directory can't be changed here: {recorded}");
        return;
    }
    assert_eq!(recorded.out(), "lost\ncode 0\nafter\n", "{recorded}");
    let info = works(&rr_run(dir.path(), &["info"]));
    for part in ["1 process ran unseen", "/bin/echo lost", "not load the shim"] {
        assert!(info.contains(part), "{info}");
    }
    let replayed = rr_run(dir.path(), &["--replay"]);
    assert_eq!(works(&replayed), "code 0\nafter\n", "{replayed}");
    let err = replayed.err();
    assert_eq!(err.matches("rr-run: note: ").count(), 1, "{replayed}");
    assert!(err.contains("1 process ran unseen"), "{replayed}");
}
