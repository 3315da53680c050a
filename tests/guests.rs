//! The C programs of tests/programs: each tests one area.

use crate::harness::Case;

macro_rules! guests {
    ($($(#[$doc:meta])* $name:ident => $case:expr;)*) => {
        $($(#[$doc])* #[test] fn $name() { $case.check(); })*
    };
}

guests! {
    files => Case::c("files");
    pipes_and_pollers => Case::c("pipes");
    sockets => Case::c("sockets");
    signals => Case::c("signals");
    threads => Case::c("threads");
    cancelled_threads => Case::c("cancel").same_as_native();
    processes => Case::c("processes");
    memory => Case::c("memory");
    clocks_and_randomness => Case::c("clocks");
    registers_live_through_calls => Case::c("registers").says("xmm: 0 of 16 changed");
    errors_are_the_kernels => Case::c("errors").same_as_native();
    system => Case::c("system");
    recent_calls => Case::c("recent");
    time_stamp_counter => Case::c("tsc");
    lower_half_of_the_time_stamp_counter => Case::c("lower");
    threads_that_spin_for_each_other => Case::c("handing").says("6 rounds");
    refused_calls_fail_as_on_an_old_kernel =>
        Case::c("refused").code(0);
    execs_with_more_strings_than_any_buffer_holds => Case::c("large_exec")
        .same_as_native()
        .says("script: status 700");
    /// A record has 16 bits for a thread's ordinal.
    more_threads_in_turn_than_a_record_can_number =>
        Case::c("many_threads").args(["in_turn", "65800"]).limit_s(300).says("65800 threads");
    more_threads_at_once_than_the_shim_has_mapped_blocks_for =>
        Case::c("many_threads").args(["at_once", "5000"]).limit_s(300).says("5000 threads");
    /// Keeps a machine busy for a minute: other tests would wait for it.
    #[ignore = "starts 4,300 processes at once"]
    more_processes_at_once_than_are_followed =>
        Case::c("many_processes").arg("4300").limit_s(300).says("vfork: ").says(" children");
    output_through_descriptors_of_any_number => Case::c("descriptors")
        .same_as_native()
        .says("child's own through 800")
        .says("after exec through 600");
    random_devices_through_any_descriptor_and_call =>
        Case::c("descriptors").arg("random").says("after exec");
    a_thread_that_spins_is_preempted => Case::c("spin");
    own_handler_for_sigsys => Case::c("sigsys").code(159).says("seen 2").says("handler kept 1");
    closing_every_descriptor => Case::c("closes_all").says("done");
    many_large_reads => Case::c("many_calls").arg("6000");
    an_empty_stdin => Case::c("environment").says("stdin: 0");
    stdin_comes_from_the_log =>
        Case::c("environment").stdin("typed once").says("stdin: 10 typed once");
    output_that_waits_for_its_reader =>
        Case::c("duplex").stdin(vec![b'x'; 4 << 20]).reads_late().says("done");
    signals_that_dispatch_calls => Case::c("lost_calls").says("0 calls were lost");
    signals_at_the_ends_of_calls => Case::c("late_signals").says("4000 of 4000 came");
    signals_while_the_mask_is_set => Case::c("two_signals").says("all came\nall came");
    arguments_and_environment => Case::c("environment")
        .args(["two words", "", "\u{fc}"])
        .env("SHOWN", "a b")
        .says("SHOWN=a b")
        .says("argument 1: two words");
    an_ld_preload_of_the_user_stays => Case::c("environment")
        .env("LD_PRELOAD", "libutil.so.1")
        .says("LD_PRELOAD=libutil.so.1");
}

/// However a random device is read, and over fork and exec.
#[test]
fn one_seed_gives_the_same_random_bytes() {
    let case = Case::c("descriptors").arg("random").record_with(["--seed", "7"]);
    let [one, two] = [(); 2].map(|()| case.record().unwrap_or_else(|e| panic!("{e}")));
    assert_eq!(one.output.stdout, two.output.stdout);
    let other = Case::c("descriptors").arg("random").record_with(["--seed", "8"]).record();
    assert_ne!(one.output.stdout, other.unwrap_or_else(|e| panic!("{e}")).output.stdout);
}

/// Hundreds of calls, each with a hash of the memory that the kernel wrote.
#[test]
fn every_checked_call_gives_the_same_bytes() {
    let test = crate::harness::rust_test("rr-run-log-format", "kernel");
    Case::new(test.display().to_string())
        .args(["--test-threads=1", "--nocapture"])
        .says("test result: ok")
        .check();
}

/// One test per way in which a process can end.
mod ends {
    use super::Case;

    macro_rules! ends {
        ($($name:ident: $code:expr;)*) => {
            $(#[test] fn $name() {
                Case::c("ends").arg(stringify!($name)).code($code).check();
            })*
        };
    }

    ends! {
        returns: 3;
        raw_exit: 5;
        abort: 134;
        segv: 139;
        ill: 132;
        fpe: 136;
        term: 143;
        kill: 137;
        pipe: 141;
        main_leaves_first: 0;
        thread_exits_process: 7;
        thread_aborts: 134;
    }

    #[test]
    fn immediate_exit() {
        Case::c("ends").arg("_exit").code(4).check();
    }
}

/// Memory that processes reach in common, and that of another process.
mod shared {
    use super::Case;

    macro_rules! shared {
        ($($name:ident;)*) => {
            $(#[test] fn $name() {
                Case::c("shared").arg(stringify!($name)).says("done").check();
            })*
        };
    }

    shared! {
        reader;
        protected;
        written;
        child_written;
        segment;
        ends;
        by_write;
        remade;
    }

    /// How many processes had to be put in order, and how many notes there are of memory that may
    /// be changed from outside.
    fn counts(recording: &crate::harness::Recording) -> (u64, u64) {
        let manifest = std::fs::read_to_string(recording.session.join("manifest.json"));
        let manifest: serde_json::Value =
            serde_json::from_str(&manifest.expect("there is a manifest")).expect("it is JSON");
        let count = |of: &str, name| manifest["counts"][of][name].as_u64().unwrap_or(0);
        (count("kinds", "shared"), count("notes", "shared_memory"))
    }

    /// A mapped locale or library does not put processes in order.
    #[test]
    fn a_file_of_the_system_is_not_shared() {
        let case = Case::c("shared").arg("constants").says("done");
        case.check();
        assert_eq!(counts(&case.record().expect("it can be recorded")), (0, 0));
    }

    #[test]
    fn what_may_be_changed_from_outside_is_noted() {
        let case = Case::c("shared").args(["older", "before"]).file("before", "older than this");
        case.check();
        assert_eq!(counts(&case.record().expect("it can be recorded")), (1, 1));
        let case = Case::c("shared").arg("reader");
        assert_eq!(counts(&case.record().expect("it can be recorded")).1, 0);
    }
}

/// A guest that is itself gone on replay is run from the session's copy.
#[test]
fn the_program_need_not_exist_on_replay() {
    let binary = crate::harness::c_program("clocks").display().to_string();
    Case::bash(&format!("cp {binary} ./copy && ./copy && rm copy")).check();
}

#[test]
fn a_path_with_spaces() {
    let binary = crate::harness::c_program("clocks").display().to_string();
    let script = format!("mkdir 'a b' && cp {binary} 'a b/the copy' && './a b/the copy'");
    Case::bash(&script).check();
}

#[test]
fn a_script_that_was_written_during_the_run() {
    Case::bash("printf '#!/bin/sh\\necho script $$ $(date +%%N)\\n' > s; chmod +x s; ./s").check();
}

/// Its first line names a link that is gone on replay.
#[test]
fn a_script_whose_interpreter_is_gone() {
    let script = "ln -s /bin/sh interpreter; printf '#!%s\\necho script $$ $0 $1\\n' \
                  \"$PWD/interpreter\" > s; chmod +x s; ./s one";
    Case::bash(script).says("./s one").check();
}

/// Stacks are placed by the limit that the parent has set.
#[test]
fn a_program_with_another_stack_limit() {
    let threads = crate::harness::c_program("threads").display().to_string();
    Case::bash(&format!("ulimit -S -s 3000; {threads}; ulimit -S -s 2500; {threads} | tail -3"))
        .check();
}

/// What runs as another user is recorded as well.
#[test]
fn a_program_of_another_user() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not run: only root can become another user");
        return;
    }
    let script = "setpriv --reuid 65534 --clear-groups bash -c 'id -u; date +%N; echo $$'";
    Case::bash(script).says("65534").check();
}

/// Its log ends before the loop, where the replay has to end it.
#[test]
fn a_child_that_is_killed_while_it_computes() {
    let script = "python3 -c 'print(1, flush=True)\nwhile True: pass' & sleep 0.5; \
                  kill -9 $!; wait $!; echo code $?";
    Case::bash(script).says("code 137").check();
}

/// What it writes to its parent is in the parent's log; what it writes elsewhere is not.
#[test]
fn a_static_child_is_opaque() {
    let binary = crate::harness::c_program("fixed").display().to_string();
    Case::bash(&format!("{binary} child | cat; echo \"$({binary} a b) $?\""))
        .says("static child")
        .says("static a 5")
        .check();
}

/// They find the variables of the shim, which name the entry of the static program.
#[test]
fn programs_of_a_static_child_are_unseen() {
    let binary = crate::harness::c_program("fixed").display().to_string();
    let case = Case::bash(&format!("n=$({binary} starts | wc -l); echo \"$n lines\""));
    case.check();
    let recording = case.record().expect("it can be recorded");
    let manifest = std::fs::read_to_string(recording.session.join("manifest.json"));
    let manifest = manifest.expect("there is a manifest");
    assert!(manifest.contains("a static program, which started 2 programs"), "{manifest}");
}

/// The entry of a child that has ended is not used again before its parent has seen it created.
#[test]
fn children_that_end_before_their_parents_go_on() {
    let script = "for k in 1 2 3 4; do \
                  (for i in $(seq 10); do sh -c '/bin/true; /bin/true'; done) & \
                  done; wait; echo all";
    Case::bash(script).says("all").check();
}

/// A filter holds for the shim too, which therefore makes only the calls of the guest.
#[test]
fn a_guest_with_a_seccomp_filter() {
    Case::c("filtered").stdin("some input").code(5).same_as_native().check();
    Case::c("filtered").arg("maps").stdin("some input").code(5).same_as_native().check();
    for what in ["threads", "no-clone3", "exec"] {
        Case::c("filtered").arg(what).check();
    }
    let recording = Case::c("filtered").code(5).record().expect("it can be recorded");
    let manifest = std::fs::read_to_string(recording.session.join("manifest.json"));
    assert!(manifest.is_ok_and(|json| json.contains("\"seccomp\": 1")));
}

/// There pids mean other processes than outside.
#[test]
fn a_pid_namespace() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not run: only root can make a pid namespace");
        return;
    }
    let made = std::process::Command::new("unshare").args(["-p", "--fork", "true"]).status();
    if !made.is_ok_and(|status| status.success()) {
        eprintln!("not run: no pid namespace can be made here");
        return;
    }
    let work = "echo $$; (date +%N; sleep 0.3); for i in 1 2 3; do echo $i $BASHPID & done; wait; \
                head -c 3000000 /dev/urandom | md5sum; exit 7";
    for options in ["-p --fork", "-p --fork --mount-proc", "-U -r -p --fork"] {
        let script = format!("unshare {options} bash -c '{work}'; echo ended $?");
        Case::bash(&script).says("ended 7").check();
    }
}
