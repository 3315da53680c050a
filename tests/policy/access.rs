//! The account of what was accessed.

use std::process::Command;
use std::time::Duration;

use crate::harness::{Case, RR_RUN, run};

#[test]
fn what_was_written_reached_and_run_is_listed() {
    let script = "mkdir dir; cd dir; echo 1 > ../a; cat ../a > /dev/null; (cd ..; mv a b); \
                  curl -sS -o got http://localhost:{http}/stream; ls absent 2>/dev/null; exit 0";
    let case = Case::bash(script).server().record_with(["--deny-exec=ls"]);
    let recording = case.record().unwrap();
    let mut command = Command::new(RR_RUN);
    command.args(["info", "--access", "--json"]).arg(&recording.session);
    let output = run(&mut command, b"", Duration::from_secs(60));
    let access: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let cwd = recording.dir.path().canonicalize().unwrap().join("cwd");
    let list = |key: &str, field: &str| -> Vec<String> {
        let all = access[key].as_array().unwrap().iter();
        all.map(|one| one[field].as_str().unwrap_or_default().to_owned()).collect()
    };
    let at = |name: &str| cwd.join(name).display().to_string();
    assert_eq!(list("files", "path"), ["a", "b", "dir", "dir/got"].map(at), "{access:#}");
    let programs: Vec<_> =
        list("programs", "path").iter().map(|p| p.rsplit('/').next().unwrap().to_owned()).collect();
    assert_eq!(programs, ["bash", "mkdir", "cat", "mv", "curl"], "{access:#}");
    assert!(list("hosts", "address")[0].starts_with("127.0.0.1:"), "{access:#}");
    assert_eq!(access["hosts"][0]["protocol"], "tcp");
    assert!(list("denied", "what")[0].starts_with("execute /"), "{access:#}");
    let mut command = Command::new(RR_RUN);
    command.args(["info", "--access"]).arg(&recording.session);
    let text = run(&mut command, b"", Duration::from_secs(60)).out();
    assert!(text.contains(&format!("{}  (openat", at("dir/got"))), "{text}");
}
