//! curl, git and pipelines.

use crate::harness::Case;

fn curl(url: &str) -> Case {
    Case::new("curl").args(["-sS", "--cacert", "{ca}", url]).server()
}

#[test]
fn curl_http() {
    curl("http://localhost:{http}/stream?n=20&ms=2").says("\n").check();
}

#[test]
fn curl_https() {
    curl("https://localhost:{https}/stream?n=20&ms=2").arg("--http1.1").check();
}

#[test]
fn curl_http2() {
    curl("https://localhost:{https}/stream?n=20&ms=2").args(["--http2", "-v"]).check();
}

#[test]
fn curl_http2_prior_knowledge() {
    curl("http://localhost:{http}/stream?n=20&ms=2")
        .args(["--http2-prior-knowledge", "-i"])
        .check();
}

#[test]
fn curl_uploads() {
    curl("https://localhost:{https}/upload")
        .args(["--data-binary", "@sent"])
        .file("sent", "0123456789".repeat(30_000))
        .says(" 300000 ")
        .check();
}

#[test]
fn curl_in_parallel() {
    curl("https://localhost:{https}/stream?n=8&ms=2")
        .args(["--parallel", "https://localhost:{https}/?[1-6]"])
        .check();
}

#[test]
fn curl_streams_a_chat() {
    let body = r#"{"model":"m","stream":true,"messages":[]}"#;
    curl("https://localhost:{https}/v1/chat/completions")
        .args(["-N", "-d", body])
        .says("data: [DONE]")
        .check();
}

#[test]
fn curl_to_a_closed_port() {
    Case::new("curl").args(["-sS", "http://127.0.0.1:1/"]).code(7).check();
}

#[test]
fn git_clones_commits_and_logs() {
    let script = "set -e
        export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@example.org
        export GIT_COMMITTER_NAME=A GIT_COMMITTER_EMAIL=a@example.org
        git clone http://localhost:{http}/git/project.git p; cd p
        date +%s%N > new; git add new; git commit -m 'a new file'
        git log --stat --format='%H %an %ct %s'; git status; git fsck; git diff HEAD~1";
    // The placeholder stands in a file because git's arguments are fixed by the script.
    Case::new("bash").arg("script").file("script", script).server().says("a new file").check();
}

#[test]
fn a_pipeline() {
    Case::bash(
        "for i in $(seq 40); do echo \"$i $RANDOM $(date +%N)\"; done |
         awk '{print $2, $1, $3 % 7}' | sed 's/ /-/' | sort -n | tee kept | head -20;
         wc kept; printf '%s\\n' \"${PIPESTATUS[@]}\"",
    )
    .check();
}

#[test]
fn find_and_parallel_xargs() {
    Case::bash(
        "mkdir -p a/b c; for i in $(seq 20); do echo $RANDOM > a/b/$i; done;
         find . -type f -print0 | xargs -0 -P 4 -n 3 sha256sum | sort;
         find /usr/include -name 'e*.h' | xargs -P 3 -n 20 wc -l | tail -5; ls -la a/b",
    )
    .check();
}

#[test]
fn jobs_traps_and_subshells() {
    Case::bash(
        "trap 'echo trapped $?' EXIT; trap 'echo usr1' USR1
         (sleep 0.02; kill -USR1 $$) & sleep 0.05; wait; echo $! $BASHPID
         exec 3< <(echo from a substitution); cat <&3
         coproc cat; echo through >&${COPROC[1]}; read -r line <&${COPROC[0]}; echo $line
         cat <<< \"$(ps -o pid= -p $$)\"; false || (exit 6)",
    )
    .code(6)
    .check();
}
