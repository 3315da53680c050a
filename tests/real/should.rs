//! Programs that should work, and do.

use crate::harness::Case;

#[test]
fn wget() {
    Case::new("wget")
        .args(["-qO-", "--ca-certificate={ca}", "https://localhost:{https}/stream?n=10&ms=2"])
        .server()
        .check();
}

#[test]
fn perl() {
    let script = "use Time::HiRes 'time'; printf \"%f %d %f\\n\", time, $$, rand;
        print `echo child; date +%N`; my %h = map { $_ => 1 } 1..20;
        print join(',', keys %h), \"\\n\";
        if (my $p = fork) { waitpid $p, 0; print $? >> 8, \"\\n\" } else { exit 4 }";
    Case::new("perl").args(["-e", script]).check();
}

#[test]
fn make_with_two_jobs() {
    let makefile = "all: a b c\n\
        %: %.c\n\tgcc -O1 -o $@ $<\n\tdate +%N\n";
    let source = "int main(){return 0;}\n";
    Case::new("bash")
        .args(["-c", "make -j2 && ./a && ls"])
        .file("Makefile", makefile)
        .file("a.c", source)
        .file("b.c", source)
        .file("c.c", source)
        .limit_s(120)
        .check();
}

#[test]
fn interactive_bash() {
    Case::new("bash")
        .args(["--norc", "-i"])
        .types(["echo $RANDOM $$", "date +%N | cat", "exit 3"])
        .code(3)
        .check();
}

#[test]
fn interactive_python() {
    Case::new(crate::harness::python())
        .arg("-q")
        .types(["import os, random", "print(random.random(), os.getpid())", "exit(2)"])
        .code(2)
        .check();
}

#[test]
fn gdb_batch() {
    let binary = crate::harness::c_program("files").display().to_string();
    Case::new("gdb").args(["-batch", "-ex", "info functions main", &binary]).check();
}

#[test]
fn java() {
    Case::new("java")
        .args(["{programs}/Streams.java", "https://localhost:{https}", "{ca}"])
        .says("done")
        .limit_s(180)
        .server()
        .check();
}

#[test]
fn go_with_cgo() {
    Case::new(format!("{}/tests/programs/go-client/go-client", crate::harness::ROOT))
        .args(["https://localhost:{https}", "{ca}"])
        .says("done")
        .server()
        .check();
}

/// The Go of the system reads the time stamp counter, though it lies under /usr.
#[test]
fn go_of_the_system() {
    let found = std::process::Command::new("go").arg("version").output();
    if !found.is_ok_and(|output| output.status.success()) {
        eprintln!("not run: there is no go");
        return;
    }
    for arguments in [&["version"][..], &["env", "GOROOT", "GOVERSION"], &["vet", "."]] {
        Case::new("go")
            .args(arguments.iter().copied())
            .file("go.mod", "module example.test/m\n")
            .file("m.go", "package main\n\nfunc main() { println(1) }\n")
            .limit_s(180)
            .check();
    }
}
