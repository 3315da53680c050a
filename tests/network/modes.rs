//! What network replay does about requests, and what it tells of them.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{command, replay};
use crate::harness::{Case, Output, RR_RUN, Recording, Server, clean_environment, run};

const SHORT: Duration = Duration::from_secs(30);

/// Asks the server at port `$1` for a chat.
pub(super) fn ask(question: &str) -> String {
    format!(
        "curl -sS http://127.0.0.1:$1/v1/chat/completions -w '%{{http_code}}\\n' \
         -d '{{\"model\":\"m\",\"messages\":[{{\"role\":\"user\",\"content\":\"{question}\"}}]}}'"
    )
}

/// A script with these questions: what follows `--` of a replay, with the recorded port.
pub(super) fn program(recording: &Recording, script: &str) -> Vec<String> {
    let argv = ["--", "bash", "-c", script, "bash", &recording.says_port()];
    argv.into_iter().map(str::to_owned).collect()
}

impl Recording {
    /// The port that stands at the end of its output.
    pub(super) fn says_port(&self) -> String {
        let out = String::from_utf8_lossy(&self.output.stdout).into_owned();
        out.lines().last().unwrap_or_default().to_owned()
    }
}

pub(super) fn recorded(questions: &[&str]) -> Recording {
    let script: Vec<_> = questions.iter().map(|question| ask(question)).collect();
    let script = format!("{}; echo $1", script.join("; "));
    Case::bash(&script).args(["bash", "{http}"]).server().record().expect("a recording")
}

/// Replays with another script.
pub(super) fn changed(recording: &Recording, options: &[&str], script: &str) -> Output {
    let program = program(recording, script);
    let args: Vec<&str> =
        options.iter().copied().chain(program.iter().map(String::as_str)).collect();
    replay(recording, &args)
}

#[test]
fn a_part_of_a_recording_is_served() {
    let recording = recorded(&["one", "two"]);
    let output = changed(&recording, &["--only", "exchange=2"], &ask("two"));
    assert_eq!(output.code, Some(0), "{output}");
    assert!(output.out().ends_with("200\n"), "{output}");
    let output = changed(&recording, &["--except", "path=**/completions"], &ask("two"));
    assert_eq!(output.code, Some(119), "{output}");
}

#[test]
fn a_refused_request_can_end_the_run() {
    let recording = recorded(&["one"]);
    let start = Instant::now();
    let script = format!("{} & wait; sleep 100; echo survived", ask("other"));
    let output = changed(&recording, &["--kill"], &script);
    assert_eq!(output.code, Some(119), "{output}");
    assert!(!output.out().contains("survived") && start.elapsed() < Duration::from_secs(60));
}

#[test]
fn the_account_tells_what_was_touched() {
    let recording = recorded(&["one"]);
    // A server on loopback that was not recorded is live: here there is none.
    let script =
        format!("{}; curl -sS http://127.0.0.1:9/; curl -sS http://x.test/; true", ask("one"));
    let json = recording.dir.path().join("account.json");
    let markdown = recording.dir.path().join("account.md");
    let paths = [json.to_str().unwrap(), markdown.to_str().unwrap()];
    let options = ["--optional", "x.test", "--json", paths[0], "--markdown", paths[1]];
    let output = changed(&recording, &options, &script);
    assert_eq!(output.code, Some(0), "{output}");
    let account: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let touched = |kind: &str, verdict: &str| {
        let all = account["hermetic"][kind].as_array().unwrap().iter();
        all.filter(|t| t["verdict"] == verdict).map(|t| t["what"].to_string()).collect::<String>()
    };
    assert!(touched("connects", "served").contains(&recording.says_port()), "{account}");
    assert!(touched("connects", "live").contains("127.0.0.1:9"), "{account}");
    assert!(touched("lookups", "served").contains("x.test"), "{account}");
    assert!(touched("programs", "served").contains("curl"), "{account}");
    assert!(account["saved"]["output_tokens"].as_u64().unwrap() > 0, "{account}");
    assert!(output.err().contains("not paid: "), "{output}");
    assert!(std::fs::read_to_string(&markdown).unwrap().contains("| lookup | `x.test` | served |"));

    // And who asked for what was refused.
    let output = changed(&recording, &options, &ask("other"));
    assert_eq!(output.code, Some(119), "{output}");
    let account: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let program = account["mismatches"][0]["program"].as_str().unwrap();
    assert!(program.starts_with("process ") && program.contains(": curl -sS http"), "{program}");
}

/// Runs `rr-run exec` with this cassette.
fn exec(cassette: &Path, options: &[&str], port: u16, question: &str) -> Output {
    let mut command = Command::new(RR_RUN);
    clean_environment(&mut command);
    command.args(["exec", "--timing", "instant", "--cassette"]).arg(cassette).args(options);
    command.args(["--", "bash", "-c", &ask(question), "bash", &port.to_string()]);
    run(&mut command, b"", Duration::from_secs(60))
}

#[test]
fn a_cassette_is_recorded_once() {
    let dir = tempfile::tempdir().unwrap();
    let cassette = dir.path().join("cassettes/chat");
    let server = Server::start(dir.path()).unwrap();
    let port = server.http;
    let output = exec(&cassette, &["--record-mode", "none"], port, "one");
    assert_eq!(output.code, Some(125), "{output}");
    let first = exec(&cassette, &[], port, "one");
    assert_eq!(first.code, Some(0), "{first}");
    let answered = server.count().unwrap();
    for mode in ["once", "none"] {
        let again = exec(&cassette, &["--record-mode", mode], port, "one");
        assert_eq!((again.code, again.out()), (Some(0), first.out()), "{mode}: {again}");
        let other = exec(&cassette, &["--record-mode", mode], port, "two");
        assert_eq!(other.code, Some(119), "{mode}: {other}");
    }
    assert_eq!(server.count().unwrap(), answered);
    let anew = exec(&cassette, &["--record-mode", "all"], port, "two");
    assert_eq!(anew.code, Some(0), "{anew}");
    server.stop();
    let again = exec(&cassette, &[], port, "two");
    assert_eq!((again.code, again.out()), (Some(0), anew.out()), "{again}");
}

#[test]
fn the_recorded_program_is_run_again() {
    let recording = recorded(&["one", "two"]);
    let output = run(&mut command(&recording), b"", Duration::from_secs(60));
    assert_eq!(
        (output.code, output.stdout.clone()),
        (Some(0), recording.output.stdout),
        "{output}"
    );
}

/// Answers each GET with its path and the number of requests so far.
const COUNTING: &str = r#"
import http.server, sys
count = 0
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global count
        count += 1
        body = f"{self.path} {count}\n".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.send_header("set-cookie", "secret=1")
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"#;

/// A running server of [`COUNTING`], at this port or a free one.
struct Counting(std::process::Child, u16);

impl Counting {
    fn start(port: u16) -> Counting {
        let mut child = Command::new("python3")
            .args(["-c", COUNTING, &port.to_string()])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
        Counting(child, line.trim().parse().unwrap())
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn hybrid_records_what_is_new_and_the_next_run_is_hermetic() {
    let server = Counting::start(0);
    let port = server.1.to_string();
    let get = |path: &str| format!("curl -sS http://127.0.0.1:{port}/{path}");
    let recording = Case::bash(&get("a")).record().expect("a recording");
    let script = format!("{}; {}; {}", get("a"), get("b"), get("c"));
    let options = ["replay", "--network", "--timing", "instant"];
    let hybrid = |more: &[&str], script: &str| {
        let mut command = Command::new(RR_RUN);
        clean_environment(&mut command);
        command
            .env("HOME", "/nonexistent")
            .args(options)
            .args(["--mode", "hybrid"])
            .args(more)
            .arg(&recording.session);
        command.args(["--", "bash", "-c", script]);
        run(&mut command, b"", Duration::from_secs(60))
    };
    let elsewhere = hybrid(&["--fallback", "api.example.org"], &script);
    assert_eq!(elsewhere.code, Some(119), "{elsewhere}");
    let first = hybrid(&[], &script);
    assert_eq!((first.code, first.out().as_str()), (Some(0), "/a 1\n/b 2\n/c 3\n"), "{first}");
    assert!(first.err().contains("2 requests answered by the real services"), "{first}");
    drop(server);
    let layers: Vec<_> = std::fs::read_dir(recording.session.join("layers")).unwrap().collect();
    assert_eq!(layers.len(), 1);
    let layer = std::fs::read_to_string(layers[0].as_ref().unwrap().path()).unwrap();
    assert!(layer.lines().count() == 2 && !layer.contains("secret=1"), "{layer}");
    let next = replay(&recording, &["--", "bash", "-c", &script]);
    assert_eq!((next.code, next.out()), (Some(0), first.out()), "{next}");
    // The recording itself is as it was.
    let strict = replay(&recording, &["--only", "exchange=1"]);
    assert_eq!((strict.code, strict.out().as_str()), (Some(0), "/a 1\n"), "{strict}");

    // Nobody is there any more who could be asked.
    let dead = hybrid(&[], &format!("{}; exit 0", get("d")));
    assert_eq!(dead.code, Some(119), "{dead}");
    assert!(dead.err().contains("1 request that the real services did not answer"), "{dead}");
}

#[test]
fn a_service_can_be_meant_to_be_real() {
    let (recorded, real) = (Counting::start(0), Counting::start(0));
    let get = |port: u16, path: &str| format!("curl -sS http://127.0.0.1:{port}/{path}");
    let script = format!("{}; {}", get(recorded.1, "a"), get(real.1, "b"));
    let recording = Case::bash(&script).record().expect("a recording");
    assert_eq!(recording.output.out(), "/a 1\n/b 1\n");
    let replay = |more: &[&str]| {
        let mut command = Command::new(RR_RUN);
        clean_environment(&mut command);
        command.env("HOME", "/nonexistent").arg("replay").args(more).arg(&recording.session);
        run(&mut command, b"", Duration::from_secs(60))
    };
    let host = format!("127.0.0.1:{}", real.1);
    let output = replay(&["--network", "--passthrough", &host]);
    assert_eq!((output.code, output.out().as_str()), (Some(0), "/a 1\n/b 2\n"), "{output}");
    assert!(output.err().contains("1 connect served, 1 connect live"), "{output}");
    let output = replay(&["--passthrough", &host]);
    assert_eq!(output.code, Some(125), "{output}");
    drop(real);
    let output = replay(&["--network", "--passthrough", &host]);
    // Refused, or reset when it sends: curl has a code for each.
    let failed = [Some(7), Some(56)].contains(&output.code);
    assert!(output.out() == "/a 1\n" && failed, "{output}");
}

#[test]
fn a_cassette_takes_in_new_episodes() {
    let dir = tempfile::tempdir().unwrap();
    let cassette = dir.path().join("chat");
    let server = Server::start(dir.path()).unwrap();
    let port = server.http;
    let first = exec(&cassette, &["--record-mode", "new_episodes"], port, "one");
    assert_eq!(first.code, Some(0), "{first}");
    let second = exec(&cassette, &["--record-mode", "new_episodes"], port, "two");
    assert!(second.code == Some(0) && second.out().ends_with("200\n"), "{second}");
    server.stop();
    for (question, before) in [("one", first), ("two", second)] {
        let again = exec(&cassette, &["--record-mode", "none"], port, question);
        assert_eq!((again.code, again.out()), (Some(0), before.out()), "{again}");
    }
}

#[test]
fn a_cassette_is_recorded_as_the_configuration_says() {
    let dir = tempfile::tempdir().unwrap();
    let rules = "[[value]]\nid = 'mine'\nvalue = 'correct-horse-battery'\n";
    std::fs::write(dir.path().join("secrets.toml"), rules).unwrap();
    let config = "[redact]\nrules = 'secrets.toml'\n[policy]\ndeny_exec = ['cat']\n";
    std::fs::write(dir.path().join("rr-run.toml"), config).unwrap();
    let mut command = Command::new(RR_RUN);
    clean_environment(&mut command);
    command.current_dir(dir.path()).args(["exec", "--cassette", "chat", "--", "bash", "-c"]);
    command.arg("echo correct-horse-battery; cat rr-run.toml; echo $?");
    let output = run(&mut command, b"", Duration::from_secs(60));
    assert_eq!(output.out(), "correct-horse-battery\n126\n", "{output}");
    let mut show = Command::new(RR_RUN);
    clean_environment(&mut show);
    let shown = run(show.arg("show").arg(dir.path().join("chat")), b"", Duration::from_secs(60));
    assert!(shown.out().contains("denied by the policy"), "{shown}");
    assert!(!shown.out().contains("correct-horse-battery"), "{shown}");
}

/// A request with a key in its text, and a token that has a known form.
fn with_key(question: &str) -> String {
    ask(question).replace("QUESTION", "'\"$DB_PASSWORD and $(cat token) $TOKEN\"'")
}

#[test]
fn a_replay_may_have_other_keys_and_no_account_tells_them() {
    const OLD: [&str; 2] = ["correct-horse-battery-1", "ghp_aaaaBBBBccccDDDD1234567890abcdEFGHij"];
    const NEW: [&str; 2] = ["another-1", "ghp_zzzzYYYYxxxxWWWW0987654321zyxwVUTSrq"];
    let token = |value: &str| format!("TOKEN={value}; {}; echo $1", with_key("say QUESTION"));
    let case = Case::bash(&token(OLD[1])).args(["bash", "{http}"]).env("DB_PASSWORD", OLD[0]);
    let recording = case.file("token", "-").server().record().unwrap();
    let dir = recording.dir.path();
    std::fs::write(dir.join("gone/token"), "-").unwrap();
    let replay = |script: &str, options: &[&str]| {
        let mut command = command(&recording);
        command.args(options).args(program(&recording, script)).env("DB_PASSWORD", NEW[0]);
        run(&mut command, b"", Duration::from_secs(60))
    };
    let output = replay(&token(NEW[1]), &[]);
    assert_eq!((output.code, output.out()), (Some(0), recording.output.out()), "{output}");

    let paths = ["json", "md", "xml"].map(|kind| dir.join(format!("account.{kind}")));
    let [json, markdown, junit] = paths.each_ref().map(|path| path.to_str().unwrap());
    let options = ["--json", json, "--markdown", markdown, "--junit", junit];
    let other = token(NEW[1]).replace("say", "shout");
    let output = replay(&other, &options);
    assert_eq!(output.code, Some(119), "{output}");
    let runs = recording.session.join("runs/0002.json");
    let told = paths.iter().chain([&runs]).map(|path| std::fs::read_to_string(path).unwrap());
    for told in told.chain([output.to_string()]) {
        let told = told.replace("&lt;", "<").replace("&gt;", ">");
        assert!(told.contains("shout <secret> and - <secret>"), "{told}");
        assert!(!OLD.iter().chain(&NEW).any(|value| told.contains(value)), "{told}");
    }
}

#[test]
fn mismatches_say_where_in_the_program_they_come_from() {
    let recording = recorded(&["one"]);
    let dir = recording.dir.path();
    let script = "import sys, threading, urllib.request\n\n\
                  def ask_the_oracle():\n    \
                  urllib.request.urlopen(f'http://127.0.0.1:{sys.argv[1]}/x')\n\n\
                  thread = threading.Thread(target=ask_the_oracle)\nthread.start()\n";
    std::fs::write(dir.join("oracle.py"), script).unwrap();
    let oracle = format!("{} {}/oracle.py $1", crate::harness::python(), dir.display());
    for (program, frame) in [
        (oracle.as_str(), "ask_the_oracle ("),
        ("curl -sS http://127.0.0.1:$1/x", "curl_easy_perform+"),
    ] {
        changed(&recording, &["--allow-unused"], program);
        let mut command = Command::new(RR_RUN);
        clean_environment(&mut command);
        let output = run(command.arg("mismatches").arg(&recording.session), b"", SHORT);
        assert!(output.out().contains(frame), "{frame} is missing in {output}");
    }
}

/// Services that a program asks beside its work must not decide about a run.
#[test]
fn a_service_can_be_optional_and_one_that_was_not_there_stays_away() {
    let away = "curl -sS -m 5 http://203.0.113.5/ 2>&1 | cut -c1-9";
    let script = format!("{}; {}; {away}; echo $1", ask("one"), ask("two"));
    let case = Case::bash(&script).args(["bash", "{http}"]).server();
    let recording = case.record_with(["--deny-net=203.0.113.5"]).record().unwrap();
    let refused = |output: &Output| output.out().lines().filter(|l| *l == "curl: (7)").count();
    assert_eq!(refused(&recording.output), 1, "{}", recording.output);
    // It was not reached, and is not now: no request, no mismatch.
    let output = replay(&recording, &[]);
    assert_eq!((output.code, refused(&output)), (Some(0), 1), "{output}");
    let others = format!("{}; {}", ask("three"), away);
    assert_eq!(changed(&recording, &[], &others).code, Some(119));
    assert_eq!(changed(&recording, &["--optional", "10.*"], &others).code, Some(119));
    let output = changed(&recording, &["--optional", "127.0.0.1"], &others);
    assert_eq!(output.code, Some(0), "{output}");
    assert!(output.err().contains("mismatch 1:"), "{output}");
}
