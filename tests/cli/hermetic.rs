//! A replay changes nothing outside and makes no connection.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::harness::{Case, RR_RUN, Recording, clean_environment, run, same};

/// Calls that a replay has no business to make at all.
const NEVER: &str = "socket,connect,bind,listen,accept,accept4,sendto,sendmsg,sendmmsg,\
                     truncate,mknod,mknodat,link,linkat,chmod,fchmodat,chown,lchown,fchownat,utime,\
                     utimes,futimesat,utimensat,setxattr,lsetxattr,removexattr,lremovexattr,mount,\
                     sethostname,settimeofday,shmget,msgget,semget,mq_open,ptrace";
/// Calls that may be made in rr-run's own scratch directory only.
const SCRATCH: &str = "open,openat,openat2,creat,mkdir,mkdirat,rmdir,unlink,unlinkat,rename,\
                       renameat,renameat2,symlink,symlinkat";
/// Calls that may reach the replay's own processes only.
const KILLS: &str = "kill,tkill,tgkill,rt_sigqueueinfo,rt_tgsigqueueinfo";

/// A guest that connects, writes, renames, signals and starts others.
fn busy() -> Case {
    let script = "set -e
        curl -sS http://localhost:{http}/stream?n=5 > got; mkdir d; mv got d; ln -s d/got l
        (sleep 5) & kill $!; wait $! || true; date +%N >> d/got; chmod 600 d/got; touch t; rm t
        tar cf - d | gzip > d.tgz; rm -r d; cat l || true; wc -c < d.tgz
        perl -e 'open F, \"+>\", \"m\"; print F $$, time; print \"$$\\n\"' ; cat m";
    Case::new("bash").arg("script").file("script", script).server()
}

/// Replays by `command`, to which rr-run and its arguments are added.
fn replays_by(mut command: Command, recording: &Recording) -> String {
    command.arg(RR_RUN).arg("--replay").arg(&recording.session);
    clean_environment(&mut command);
    command.env("HOME", "/nonexistent").current_dir("/");
    let output = run(&mut command, b"", Duration::from_secs(60));
    if let Err(e) = same("replay", &recording.output, &output) {
        panic!("{e}");
    }
    output.err()
}

fn available(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok();
    if !there {
        eprintln!("not run: there is no {program}");
    }
    there
}

#[test]
fn no_call_of_a_replay_reaches_outside() {
    if !available("strace") {
        return;
    }
    let recording = busy().record().expect("it records");
    let trace = recording.dir.path().join("trace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-e", "signal=none", "-s", "300", "-o"]).arg(&trace);
    strace.args(["-e", &format!("trace={NEVER},{SCRATCH},{KILLS}")]);
    replays_by(strace, &recording);
    let trace = std::fs::read_to_string(&trace).expect("the trace is there");
    let pids: BTreeSet<&str> = trace.lines().filter_map(|l| l.split(' ').next()).collect();
    assert!(pids.len() > 8, "the processes were not followed:\n{trace}");
    let wrong: Vec<&str> = trace.lines().filter(|line| !allowed(line, &pids)).collect();
    assert!(wrong.is_empty(), "calls that reach outside:\n{}", wrong.join("\n"));
}

/// Whether a line of the trace is one of rr-run's own calls.
fn allowed(line: &str, pids: &BTreeSet<&str>) -> bool {
    let Some((_, call)) = line.split_once(' ') else { return false };
    let call = call.trim_start();
    let Some((name, rest)) = call.split_once('(') else { return call.contains("resumed>") };
    let is_in = |list: &str| list.split(',').any(|one| one.trim() == name);
    if is_in(KILLS) {
        let to = rest.split([',', ')']).next().unwrap_or_default();
        return pids.contains(to.trim_start_matches('-'));
    }
    if !is_in(SCRATCH) {
        return call.contains("resumed>");
    }
    let reads = name.starts_with("open")
        && !["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"].iter().any(|flag| rest.contains(flag));
    // Every path that it names: all in the directory of this replay, which goes with it.
    let own = |path: &str| {
        let name = |dir| Path::new(path).strip_prefix(dir).ok()?.iter().next()?.to_str();
        ["/dev/shm", "/tmp", "/run"].iter().any(|dir| {
            name(dir).is_some_and(|n| n.starts_with("rr-run-") && !n.starts_with("rr-run-test"))
        })
    };
    let paths: Vec<&str> = rest.split('"').skip(1).step_by(2).collect();
    // What a link leads to is only text.
    let changed = if name.starts_with("symlink") { &paths[1..] } else { &paths[..] };
    let quiet = |path: &&str| own(path) || **path == *"/dev/null";
    reads || !changed.is_empty() && changed.iter().all(quiet) || relative_removal(name, rest)
}

/// The removal of a scratch directory goes by descriptors: `unlinkat(5, "name", 0)`.
fn relative_removal(name: &str, rest: &str) -> bool {
    name == "unlinkat" && rest.starts_with(|c: char| c.is_ascii_digit())
}

#[test]
fn a_replay_needs_neither_network_nor_a_writable_tree() {
    let recording = busy().record().expect("it records");
    // Every mounted file system read-only, but for memory; then nothing can be written anywhere.
    let script = "mount --make-rprivate / || exit 99
        cut -d' ' -f2 /proc/self/mounts | sort -u | while read -r m; do
            case $m in /proc* | /sys* | /dev/shm) ;; *) mount -o remount,bind,ro \"$m\" ;; esac
        done 2>/dev/null
        touch /tmp/writable 2>/dev/null && exit 98
        exec \"$@\"";
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["-m", "-n", "sh", "-c", script, "sh"]);
        command
    };
    let probe = unshare(script).arg("true").output().expect("unshare can be started");
    if !probe.status.success() {
        eprintln!("not run: no mount namespaces here: {probe:?}");
        return;
    }
    replays_by(unshare(script), &recording);
}
