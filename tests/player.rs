//! The player: clients get the recorded answers from `rr-run serve`, with the server stopped.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Case, Mock, Output, ROOT, RR_RUN, Recording, clean_environment, python, run};

/// A running `rr-run serve`.
struct Player {
    child: Child,
    url: String,
}

impl Player {
    fn start(session: &Path, args: &[&str]) -> Player {
        let mut command = Command::new(RR_RUN);
        clean_environment(&mut command);
        command.env("HOME", "/nonexistent");
        command.args(["serve", "--listen", "127.0.0.1:0"]).args(args).arg(session);
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("rr-run starts");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let url = line.trim().rsplit(' ').next().unwrap_or_default().to_owned();
        assert!(url.starts_with("http://"), "{line:?}");
        Player { child, url }
    }

    /// Ends it: exit code and stderr.
    fn stop(self) -> (Option<i32>, String) {
        let pid = Pid::from_raw(self.child.id().try_into().expect("a pid"));
        kill(pid, Signal::SIGTERM).expect("it runs");
        let output = self.child.wait_with_output().expect("it ends");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn bash(script: &str) -> Output {
    let mut command = Command::new("bash");
    clean_environment(&mut command);
    run(command.args(["-c", script]), b"", Duration::from_secs(60))
}

const CHAT: &str =
    r#"-d '{"model":"m","stream":true,"messages":[{"role":"user","content":"QUESTION"}]}'"#;

/// A shell function that asks the server at its first argument for a streamed chat.
fn ask(question: &str) -> String {
    format!("curl -sSN $1/v1/chat/completions {}", CHAT.replace("QUESTION", question))
}

/// A recording of these questions, asked one after the other with curl.
fn recorded(questions: &[&str]) -> Recording {
    let script: Vec<_> = questions.iter().map(|question| ask(question)).collect();
    let script = format!("set -- http://127.0.0.1:{{http}}; {}", script.join("; "));
    Case::bash(&script).server().record().expect("a recording")
}

fn stdout(recording: &Recording) -> String {
    String::from_utf8_lossy(&recording.output.stdout).into_owned()
}

#[test]
fn curl_gets_the_recorded_streams() {
    let recording = recorded(&["one", "two", "one"]);
    for args in [&["--timing", "instant"][..], &["--as", "openai", "--timing", "scale=0.1"]] {
        let player = Player::start(&recording.session, args);
        let script =
            format!("set -- {}; {}; {}; {}", player.url, ask("one"), ask("two"), ask("one"));
        let output = bash(&script);
        assert_eq!(output.out(), stdout(&recording), "{output}");
        let (code, account) = player.stop();
        assert_eq!(code, Some(0), "{account}");
        assert!(account.contains("3 requests: 3 exact"), "{account}");
    }
}

#[test]
fn strict_refuses_what_was_not_recorded_and_says_why() {
    let recording = recorded(&["what is here?"]);
    let player = Player::start(&recording.session, &["--timing", "instant"]);
    let asked = ask("what is there?").replace("-sSN", "-sSN -w '%{http_code}'");
    let output = bash(&format!("set -- {}; {asked}", player.url));
    assert!(output.out().ends_with("400"), "{output}");
    assert!(output.out().contains("changed text at /body/messages/0/content"), "{output}");
    let (code, account) = player.stop();
    assert_eq!(code, Some(119), "{account}");
    let mismatches = |args: &[&str]| {
        let mut command = Command::new(RR_RUN);
        command.arg("mismatches").args(args).arg(&recording.session);
        run(&mut command, b"", Duration::from_secs(60))
    };
    let shown = mismatches(&[]);
    assert_eq!(shown.code, Some(119), "{shown}");
    assert!(shown.out().contains("words: what is [-here?-]{+there?+}"), "{shown}");
    // With the suggested rule kept, the same request is answered.
    assert!(mismatches(&["--accept"]).out().contains("[[rule]]"));
    let player = Player::start(&recording.session, &["--timing", "instant"]);
    let output = bash(&format!("set -- {}; {}", player.url, ask("what is there?")));
    assert_eq!(output.out(), stdout(&recording), "{output}");
    let (code, account) = player.stop();
    assert_eq!(code, Some(0), "{account}");
    assert!(account.contains("1 by rule") && account.contains("rule prompt: 1"), "{account}");
}

#[test]
fn warn_serves_in_sequence() {
    let recording = recorded(&["one", "two"]);
    let player = Player::start(&recording.session, &["--mode", "warn", "--timing", "instant"]);
    let script = format!("set -- {}; {}; {}", player.url, ask("three"), ask("four"));
    assert_eq!(bash(&script).out(), stdout(&recording));
    let (code, account) = player.stop();
    assert_eq!(code, Some(0), "{account}");
    assert!(account.contains("2 out of sequence"), "{account}");
}

#[test]
fn the_packages_of_the_models_work_against_the_player() {
    let program = format!("{}/tests/programs/models.py", crate::harness::ROOT);
    let recording = Case::python("models.py")
        .args(["http://localhost:{http}", "http://127.0.0.1:{http}"])
        .server()
        .env("SSL_CERT_FILE", "{ca}")
        .limit_s(120)
        .record()
        .expect("a recording");
    let player = Player::start(&recording.session, &["--timing", "instant"]);
    let output = bash(&format!("{} {program} {} {}", python(), player.url, player.url));
    let (_, account) = player.stop();
    // Four streams at a time end in any order: what they print is compared as a set.
    let sorted = |text: &str| {
        let mut lines: Vec<_> =
            text.lines().map(|l| l.trim_start_matches(|c: char| c.is_ascii_digit())).collect();
        lines.sort_unstable();
        lines.join("\n")
    };
    assert_eq!(sorted(&output.out()), sorted(&stdout(&recording)), "{account}\n{output}");
}

#[test]
fn a_client_that_leaves_at_the_last_event_does_not_cut_the_stream_of_others() {
    let leaving = r#"
import http.client, sys
body = '{"model":"m","stream":true,"messages":[{"role":"user","content":"one"}]}'
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
response, got = connection.getresponse(), b""
while b"[DONE]" not in got:
    got += response.read(1)
"#;
    let case = Case::new(python()).args(["-c", leaving, "{http}"]).server();
    let recording = case.record().expect("a recording");
    let player = Player::start(&recording.session, &["--timing", "instant"]);
    let json = " -H content-type:application/json --http1.1";
    let output = bash(&format!("set -- {}; {}{json}", player.url, ask("one")));
    let (code, account) = player.stop();
    assert_eq!((code, output.code), (Some(0), Some(0)), "{account} {output}");
    assert!(output.out().contains("[DONE]"), "{output}");
}

#[test]
fn what_came_before_a_cut_arrives() {
    let recording = recorded(&["one"]);
    let rules = recording.dir.path().join("faults.toml");
    std::fs::write(&rules, "[[fault]]\ntruncate_after = 8\n").unwrap();
    let rules = rules.display().to_string();
    let args = ["--rules", &rules, "--timing", "instant", "--repeat"];
    let player = Player::start(&recording.session, &args);
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let output = bash(&format!("set -- {}; {} {version}", player.url, ask("one")));
        assert_ne!(output.code, Some(0), "{output}");
        let events = output.out().matches("data: ").count();
        assert!(events == 8 && !output.out().contains("[DONE]"), "{version}: {output}");
    }
    player.stop();
}

#[test]
fn faults_take_the_place_of_answers() {
    let recording = recorded(&["one"]);
    let rules = recording.dir.path().join("faults.toml");
    std::fs::write(&rules, "[[fault]]\nstatus = 429\nnth = 1\nbody = 'slow down'\n").unwrap();
    let rules = rules.display().to_string();
    let player = Player::start(&recording.session, &["--rules", &rules, "--timing", "instant"]);
    let asked = ask("one").replace("-sSN", "-sSN -w '%{http_code}'");
    assert_eq!(bash(&format!("set -- {}; {asked}", player.url)).out(), "slow down429");
    player.stop();
}

#[test]
fn tls_and_proxies_are_served() {
    let recording = recorded(&["one"]);
    let ca = recording.dir.path().join("player-ca.pem").display().to_string();
    let player =
        Player::start(&recording.session, &["--ca", &ca, "--repeat", "--timing", "instant"]);
    let https = player.url.replace("http:", "https:");
    for options in ["--http1.1", "--http2"] {
        let asked = ask("one").replace("-sSN", &format!("-sSN {options} --cacert {ca}"));
        let output = bash(&format!("set -- {https}; {asked}"));
        assert_eq!(output.out(), stdout(&recording), "{options}: {output}");
    }
    player.stop();
}

#[test]
fn bad_input_is_told_apart() {
    let recording = recorded(&["one"]);
    let serve = |args: &[&str], session: &Path| {
        let mut command = Command::new(RR_RUN);
        command.arg("serve").args(args).arg(session);
        let output = run(&mut command, b"", Duration::from_secs(60));
        (output.code, output.err())
    };
    let rules = recording.dir.path().join("bad.toml");
    std::fs::write(&rules, "[[rule]]\nignore = ['x']\n").unwrap();
    let (code, err) = serve(&["--rules", &rules.display().to_string()], &recording.session);
    assert_eq!(code, Some(125), "{err}");
    assert!(err.contains("bad.toml") && err.contains("line 2"), "{err}");
    let (code, err) = serve(&["--timing", "soon"], &recording.session);
    assert_eq!(code, Some(125), "{err}");
    let silent = Case::bash("true").record().expect("a recording");
    let (code, err) = serve(&[], &silent.session);
    assert_eq!(code, Some(125), "{err}");
    assert!(err.contains("no exchanges"), "{err}");
}

/// Runs `rr-run replay --network`, the server being stopped.
fn network_replay(recording: &Recording, args: &[&str]) -> Output {
    let mut command = Command::new(RR_RUN);
    clean_environment(&mut command);
    command.env("HOME", "/nonexistent");
    command.args(["replay", "--network", "--timing", "instant"]).arg(&recording.session).args(args);
    run(&mut command, b"", Duration::from_secs(120))
}

#[test]
fn a_network_replay_runs_programs_against_the_recording() {
    let recording = recorded(&["one", "two"]);
    let output = network_replay(&recording, &[]);
    assert_eq!(output.code, Some(0), "{output}");
    assert_eq!(output.out(), stdout(&recording), "{output}");
    // Another program, one of whose questions was not recorded.
    let http = recorded_url(&recording);
    let script = format!("set -- {http}; {}; {}", ask("two"), ask("three"));
    let output = network_replay(&recording, &["--", "bash", "-c", &script]);
    assert_eq!(output.code, Some(119), "{output}");
    assert!(output.out().contains("rr_run_mismatch"), "{output}");
    assert!(output.err().contains("changed text"), "{output}");
}

/// The server's base URL in a recording of [`recorded`]: it stands in the recorded command.
fn recorded_url(recording: &Recording) -> String {
    let manifest = std::fs::read_to_string(recording.session.join("manifest.json")).unwrap();
    let at = manifest.find("http://127.0.0.1:").expect("a URL");
    manifest[at..].chars().take_while(|c| *c != ';').collect()
}

#[test]
fn a_model_explains_and_its_rule_is_kept_if_one_agrees() {
    let recording = recorded(&["on 2030-01-02, is it cold?"]);
    let model = Mock::start("explain.json");
    let http = recorded_url(&recording);
    let replay = |question: &str| {
        let script = format!("set -- {http}; {}", ask(question));
        network_replay(&recording, &["--allow-unused", "--", "bash", "-c", &script])
    };
    let url = format!("{}/v1", model.url);
    let explain = |said: &[u8]| {
        let mut command = Command::new(RR_RUN);
        clean_environment(&mut command);
        command.args(["mismatches", "--explain-with", &url]).arg(&recording.session);
        run(&mut command, said, Duration::from_secs(60))
    };
    // A rule that does not accept the request is not offered.
    assert_eq!(replay("on 2030-01-02, is it hot?").code, Some(119));
    let output = explain(b"y\n");
    assert_eq!(output.code, Some(119), "{output}");
    assert!(output.out().contains("Another question.\n\ngpt-4o-mini proposed no rule"), "{output}");
    // One that does is kept after a yes only, and holds from then on.
    assert_eq!(replay("on 2031-05-06, is it cold?").code, Some(119));
    for (said, code) in [(&b""[..], 119), (b"y\n", 0), (b"", 0)] {
        let output = explain(said);
        assert_eq!(output.code, Some(code), "{output}");
    }
    assert_eq!(replay("on 2031-05-06, is it cold?").code, Some(0));
    // An endpoint that is not there.
    assert_eq!(replay("on 2030-01-02, is it wet?").code, Some(119));
    drop(model);
    let output = explain(b"");
    assert_eq!(output.code, Some(125), "{output}");
    assert!(output.err().contains("gave no explanation: Connection refused"), "{output}");
}

#[test]
fn clients_that_misbehave_are_told_or_cut_and_hold_up_nobody() {
    let recording = recorded(&["one"]);
    let ca = recording.dir.path().join("player.pem").display().to_string();
    let player = Player::start(&recording.session, &["--ca", &ca, "--mode", "strict"]);
    let mut command = Command::new(python());
    command.arg(format!("{ROOT}/tests/programs/bad_clients.py")).arg(&player.url);
    let output = run(&mut command, b"", Duration::from_secs(100));
    let refused = "HTTP/1.1 400 Bad Request";
    let expected = format!(
        "cut off \nno HTTP {refused}\nhalf closed {refused}\nreset gone\nstream reset frames\n\
         bad frame frames\nlarge (400, True)\npinned SSLCertVerificationError\n\
         after all {refused}\n"
    );
    assert_eq!(output.out(), expected, "{output}");
    let (code, err) = player.stop();
    assert_eq!(code, Some(119), "{err}");
    assert!(err.contains("not answered: a client: it sent no HTTP request"), "{err}");
    assert!(
        err.contains("not answered: a client to a.example: it ended the TLS handshake"),
        "{err}"
    );
}

#[test]
fn a_client_that_speaks_tls_to_a_player_without_is_told_of() {
    let recording = recorded(&["one"]);
    let player = Player::start(&recording.session, &["--allow-unused"]);
    let mut command = Command::new("curl");
    command.arg("-sS").arg(player.url.replace("http:", "https:"));
    let output = run(&mut command, b"", Duration::from_secs(30));
    assert_eq!(output.code, Some(35), "{output}");
    let (code, err) = player.stop();
    assert_eq!(code, Some(119), "{err}");
    assert!(
        err.contains("not answered: a client: it speaks TLS, which is served if `--ca"),
        "{err}"
    );
}
