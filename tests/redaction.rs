//! Redaction: planted secrets are nowhere in a session, and its replay runs all the same.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rr_run::session::Session;

use crate::harness::{Case, RR_RUN, Recording, clean_environment, replay_command, run, same};

/// What is planted, and where.
const SECRETS: [(&str, &str); 21] = [
    ("an environment variable of a known form", "sk-proj-Env1Abcdefgh0123456789XYZ"),
    ("an environment variable of no form", "Env2-hunter2-horse"),
    ("a password in a URL in the environment", "Url3pass9word"),
    ("JSON in the environment", "Json4-0a1b2c3d4e5f6a7b"),
    ("a header of curl's", "Curl5-token-0123456789"),
    ("an x-api-key header", "Key6-9876543210-abc"),
    ("basic authentication", "Basic7-pass-4321"),
    ("a cookie sent", "cook8IEIEIE00112233"),
    ("a cookie set", "cook9SetSetSet445566"),
    ("a body sent as JSON", "body10-refresh-7788"),
    ("a body sent as a form", "form11-client-9900"),
    ("a response's body", "resp12-access-1234567"),
    ("a file read in two halves", "ghp_File13aaaaBBBBccccDDDD1234567890abcdEF"),
    ("a file read byte by byte", "glpat-Byte14-AbCdEfGhIjKlM"),
    ("standard input", "AKIASTDIN5EXAMPLE777"),
    ("an argument", "Arg16-long-enough-1"),
    ("an argument's flag", "Flag17value90123"),
    ("a private key", "Pem18QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJz"),
    ("a pipe between processes", "hf_PipeNineteenABCDEFGHIJKLMNOPQRST"),
    ("the user's rules, a value", "Own20 with \"quotes\" / 1"),
    ("the user's rules, a form", "corp-21aabbccddeeff"),
];

fn secret(number: usize) -> &'static str {
    SECRETS[number - 1].1
}

const RULES: &str = r#"
[[value]]
id = "own-value"
value = "Own20 with \"quotes\" / 1"

[[rule]]
id = "own-form"
keywords = ["corp-"]
regex = 'corp-(?<secret>[0-9a-f]{14})'
"#;

/// A server that answers everything with a cookie and a token, and remembers what it got.
struct Server {
    port: u16,
    got: Arc<Mutex<Vec<u8>>>,
}

impl Server {
    fn start() -> Server {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let got = Arc::new(Mutex::new(Vec::new()));
        let all = got.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                answer(socket, &all);
            }
        });
        Server { port, got }
    }
}

fn answer(socket: TcpStream, got: &Mutex<Vec<u8>>) {
    let mut reader = BufReader::new(socket);
    let mut request = Vec::new();
    let mut len = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        request.extend_from_slice(line.as_bytes());
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            len = value.trim().parse().unwrap_or(0);
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; len];
    let _ = reader.read_exact(&mut body);
    request.extend_from_slice(&body);
    got.lock().unwrap().extend_from_slice(&request);
    let body = format!("{{\"access_token\": \"{}\", \"n\": 1}}", secret(12));
    let head = format!(
        "HTTP/1.1 200 OK\r\nSet-Cookie: sid={}; Path=/\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        secret(9),
        body.len()
    );
    let mut socket = reader.into_inner();
    // In pieces, so that both are read in pieces too.
    for part in [&head[..40], &head[40..], &body[..25], &body[25..]] {
        let _ = socket.write_all(part.as_bytes());
        let _ = socket.flush();
        std::thread::sleep(Duration::from_millis(20));
    }
}

const PYTHON: &str = r#"
import base64, binascii, json, os, subprocess, sys, urllib.parse, urllib.request
url = "http://127.0.0.1:" + os.environ["PORT"]
env = os.environ["OPENAI_API_KEY"]
def post(body, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url + "/post", body.encode(), headers)
    with urllib.request.urlopen(request) as answer:
        return answer.headers["set-cookie"], json.loads(answer.read())
with open("halves", "rb", buffering=0) as f:
    first = f.read(20)
    halves = first + f.read()
with open("bytes", "rb", buffering=0) as f:
    single = b"".join(iter(lambda: f.read(1), b""))
typed = sys.stdin.readline().strip()
print(post(json.dumps({"refresh_token": open("body").read(), "prompt": "hello " + env})))
print(post("grant_type=x&client_secret=" + open("form").read(), x_api_key=open("key").read(),
           Cookie="theme=dark; sid=" + open("cookie").read()))
print(halves, single, typed, os.environ["DB_PASSWORD"], os.environ["DATABASE_URL"])
print(base64.b64encode(b"x" + env.encode()), binascii.hexlify(env.encode()),
      urllib.parse.quote(open("own").read(), safe=""), json.dumps(open("own").read()))
print(subprocess.run(["cat"], input=open("pipe", "rb").read(), capture_output=True).stdout)
print(open("pem").read(), sys.argv, len(os.environ["GOOGLE_CREDENTIALS"]))
print(open("form2").read())
"#;

const SCRIPT: &str = r#"
curl -sS -H "Authorization: Bearer $(cat curl)" -H "x: $OPENAI_API_KEY" "http://127.0.0.1:$PORT/a"
curl -sS -u "me:$(cat basic)" "http://127.0.0.1:$PORT/b"
"$PYTHON" program.py "$1" --api-token "$2"
"#;

fn case(server: &Server) -> Case {
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", secret(18));
    Case::new("bash")
        .args(["-c", SCRIPT, "bash"])
        .arg(format!("--password={}", secret(16)))
        .arg(secret(17))
        .env("PORT", server.port.to_string())
        .env("PYTHON", "python3")
        .env("OPENAI_API_KEY", secret(1))
        .env("DB_PASSWORD", secret(2))
        .env("DATABASE_URL", format!("postgres://me:{}@db/x", secret(3)))
        .env("GOOGLE_CREDENTIALS", format!("{{\"private\": \"{}\"}}", secret(4)))
        .file("program.py", PYTHON)
        .file("rules.toml", RULES)
        .file("curl", secret(5))
        .file("key", secret(6))
        .file("basic", secret(7))
        .file("cookie", secret(8))
        .file("body", secret(10))
        .file("form", secret(11))
        .file("halves", format!("token {}", secret(13)))
        .file("bytes", secret(14))
        .file("pem", pem)
        .file("pipe", secret(19))
        .file("own", secret(20))
        .file("form2", secret(21))
        .stdin(format!("{}\n", secret(15)))
}

/// All that a session holds, logs and plaintext decompressed, by the name of what holds it.
fn everything(session: &Path) -> Vec<(String, Vec<u8>)> {
    let opened = Session::open(session).unwrap();
    let mut all = Vec::new();
    for process in &opened.manifest().processes {
        let mut log = Vec::new();
        let mut events = opened.events(process).unwrap();
        while let Some(event) = events.next_event().unwrap() {
            log.extend_from_slice(event.bytes);
        }
        all.push((format!("log of process {}", process.id), log));
    }
    let mut todo = vec![session.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(&dir).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                todo.push(entry.path());
            } else if let Ok(bytes) = std::fs::read(entry.path()) {
                all.push((entry.path().display().to_string(), bytes));
            }
        }
    }
    all
}

/// Encodings of a value, made by others than the program under test.
fn encodings(value: &str) -> Vec<Vec<u8>> {
    let mut all = vec![value.as_bytes().to_vec()];
    all.push(serde_json::to_string(value).unwrap().trim_matches('"').into());
    all.push(value.bytes().map(|b| format!("{b:02x}")).collect::<String>().into());
    for skipped in 0..3 {
        let text = STANDARD.encode([&b"xxx"[..skipped], value.as_bytes()].concat());
        // Without the characters that hold bits of the neighbours.
        all.push(text.as_bytes()[4.min(skipped * 4)..text.len() - 4].to_vec());
    }
    all
}

/// What other tools are given of a session.
fn exports(session: &Path) -> Vec<(String, Vec<u8>)> {
    let export = |format: &str| {
        let mut command = Command::new(RR_RUN);
        command.args(["export", "--format", format]).arg(session);
        if ["jsonl", "otlp"].contains(&format) {
            command.arg("--content");
        }
        clean_environment(&mut command);
        let exported = run(&mut command, b"", Duration::from_secs(60));
        assert_eq!((exported.code, exported.err().as_ref()), (Some(0), ""), "{exported}");
        assert!(!exported.stdout.is_empty(), "{format}");
        (format!("export as {format}"), exported.stdout)
    };
    ["har", "jsonl", "otlp", "pcapng", "perfetto"].map(export).into()
}

fn found(session: &Path) -> Vec<String> {
    let mut leaks = Vec::new();
    for (name, bytes) in everything(session).into_iter().chain(exports(session)) {
        for (place, value) in SECRETS {
            for encoded in encodings(value) {
                if memchr::memmem::find(&bytes, &encoded).is_some() {
                    let text = String::from_utf8_lossy(&encoded).into_owned();
                    leaks.push(format!("{name} has the secret of {place}: {text}"));
                }
            }
        }
    }
    leaks
}

/// Replays with these variables in the caller's environment.
fn replays(recording: &Recording, env: &[(&str, &str)]) -> crate::harness::Output {
    let mut command = replay_command(&recording.session);
    command.envs(env.iter().copied());
    run(&mut command, b"", Duration::from_secs(60))
}

#[test]
fn planted_secrets_are_nowhere_and_the_replay_runs() {
    let server = Server::start();
    let case = case(&server);
    let telemetry = tempfile::tempdir().unwrap();
    let told = telemetry.path().join("told").display().to_string();
    let options = ["--redact-rules", "rules.toml", "--telemetry-content", "--telemetry", &told];
    let recording = case.record_with(options).record().unwrap();
    std::fs::copy(&told, recording.session.join("told")).unwrap();
    let shown = recording.output.out();
    let got = String::from_utf8_lossy(&server.got.lock().unwrap()).into_owned();
    // The guest had the real ones.
    for number in [2, 3, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21] {
        let json = serde_json::to_string(secret(number)).unwrap();
        let place = SECRETS[number - 1].0;
        assert!(shown.contains(json.trim_matches('"')), "{place}\n{shown}");
    }
    for number in [1, 5, 6, 8, 10, 11] {
        assert!(got.contains(secret(number)), "{}\n{got}", SECRETS[number - 1].0);
    }
    let leaks = found(&recording.session);
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
    std::fs::remove_file(recording.session.join("told")).unwrap();

    let replayed = replays(&recording, &[]);
    assert_eq!(replayed.code, Some(0), "{replayed}");
    // As it was, but for the secrets, which are of the same lengths.
    assert_eq!(replayed.stdout.len(), recording.output.stdout.len(), "{replayed}");
    assert!(SECRETS.iter().all(|(_, value)| !replayed.out().contains(value)), "{replayed}");
    let other = [("OPENAI_API_KEY", "sk-proj-another"), ("DB_PASSWORD", "x")];
    same("replay with other keys", &replayed, &replays(&recording, &other)).unwrap();
    assert!(found(&recording.session).is_empty());

    let values: Vec<&str> = SECRETS.iter().map(|(_, value)| *value).collect();
    let verify = |session: &Path| verify(session, &values.join("\n"));
    let verified = verify(&recording.session);
    assert_eq!(verified.code, Some(0), "{verified}");

    // Without redaction all of them are there.
    let server = Server::start();
    let raw = self::case(&server).record_with(["--no-redact"]).record().unwrap();
    let verified = verify(&raw.session);
    assert_eq!(verified.code, Some(121), "{verified}");
    for line in 1..=SECRETS.len() {
        let says = format!("the value in line {line} stands in");
        assert!(verified.out().contains(&says), "{says}\n{verified}");
    }
}

/// `rr-run verify --secrets` with these values.
fn verify(session: &Path, values: &str) -> crate::harness::Output {
    let list = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(list.path(), values).unwrap();
    let mut command = Command::new(RR_RUN);
    command.args(["verify", "--secrets"]).arg(list.path()).arg(session);
    clean_environment(&mut command);
    command.env("HOME", "/nonexistent");
    run(&mut command, b"", Duration::from_secs(60))
}

#[test]
fn a_compressed_body_is_looked_into() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let value = "correct-horse-battery";
    std::thread::spawn(move || -> std::io::Result<()> {
        let mut socket = listener.accept()?.0;
        let _ = socket.read(&mut [0; 4096])?;
        let mut body = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        body.write_all(format!("a text with {value} in it").as_bytes())?;
        let body = body.finish()?;
        let head = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length";
        write!(socket, "{head}: {}\r\n\r\n", body.len())?;
        socket.write_all(&body)
    });
    let url = format!("http://127.0.0.1:{port}/");
    let recording = Case::new("curl").args(["-sS", "-o", "got", &url]).record().unwrap();
    let verified = verify(&recording.session, value);
    assert_eq!(verified.code, Some(121), "{verified}");
    let says = "the value in line 1 stands in exchange 1, response body";
    assert!(verified.out().contains(says), "{verified}");
}

#[test]
fn tls_is_stored_as_lengths_and_replays() {
    let key = secret(1);
    for protocol in ["--http1.1", "--http2"] {
        for tls in ["auto", "passive"] {
            let url = "https://localhost:{https}/stream?n=3&ms=2";
            let case = Case::new("bash")
                .args(["-c", "curl -sS $P -H \"Authorization: Bearer $OPENAI_API_KEY\" $U"])
                .env("OPENAI_API_KEY", key)
                .env("P", protocol)
                .env("U", url)
                .env("SSL_CERT_FILE", "{ca}")
                .env("CURL_CA_BUNDLE", "{ca}")
                .server();
            let recording = case.record_with(["--tls", tls]).record().unwrap();
            let leaks = found(&recording.session);
            assert!(leaks.is_empty(), "{}", leaks.join("\n"));
            same("replay", &recording.output, &replays(&recording, &[])).unwrap();
            let verified = verify(&recording.session, key);
            assert_eq!(verified.code, Some(0), "{protocol} {tls} {verified}");
        }
    }
}

/// Only what HTTP/2 carried says that this is a secret.
#[test]
fn headers_of_http2_are_learnt() {
    let value = "H2only-0123456789ab";
    let case = Case::new("bash")
        .args(["-c", "curl --http2 -sS -K config \"$U\""])
        .file("config", format!("header = \"x-api-key: {value}\"\n"))
        .env("U", "https://localhost:{https}/stream?n=3&ms=2")
        .env("SSL_CERT_FILE", "{ca}")
        .env("CURL_CA_BUNDLE", "{ca}")
        .server();
    let recording = case.record().unwrap();
    for (name, bytes) in everything(&recording.session) {
        assert!(memchr::memmem::find(&bytes, value.as_bytes()).is_none(), "{name}");
    }
    same("replay", &recording.output, &replays(&recording, &[])).unwrap();
    let verified = verify(&recording.session, value);
    assert_eq!(verified.code, Some(0), "{verified}");
}

/// Of no form that a rule knows, of one, and a header's in letters that no rule spells so.
const IN_PIECES: [&str; 3] =
    ["Env2-hunter2-horse", "ghp_Pieces22aaaaBBBBccccDDDD1234567890abcdEF", "Mixed23-0123456789"];

const MODEL_REQUEST: &str = r#"{"model": "m", "stream": true, "messages": []}"#;

/// Answers with two of them in pieces: over transfer chunks, or a few letters with each event.
fn answer_in_pieces(mut socket: TcpStream) {
    let cut = |text: &str, size: usize| -> Vec<String> {
        text.as_bytes().chunks(size).map(|part| String::from_utf8_lossy(part).into()).collect()
    };
    let mut request = String::new();
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    while !request.ends_with("\r\n\r\n") && reader.read_line(&mut request).unwrap_or(0) > 0 {}
    let [env, only, _] = IN_PIECES;
    let _ = reader.read_exact(&mut [0; MODEL_REQUEST.len()]);
    let (kind, parts) = if request.starts_with("POST /v1/chat/completions") {
        let event = |index: usize, text: &String| {
            let delta = serde_json::json!({
                "choices": [{"index": index, "delta": {"content": text}}],
            });
            format!("data: {delta}\n\n")
        };
        // Two answers at once, by turns.
        let first = cut(&format!("a {env} b"), 3);
        let second = cut(&format!("one {only} two"), 5);
        let pairs = first.iter().zip(&second);
        let parts = pairs.flat_map(|(a, b)| [event(0, a), event(1, b)]);
        let left = second.iter().skip(first.len()).map(|b| event(1, b));
        ("text/event-stream", parts.chain(left).collect())
    } else {
        ("text/plain", cut(&format!("chunks of {env} and {only}."), 5))
    };
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = |part: String| format!("{:x}\r\n{part}\r\n", part.len());
    let chunks: String = parts.into_iter().map(chunk).collect();
    let _ = socket.write_all(format!("{head}{chunks}0\r\n\r\n").as_bytes());
}

/// What no record and no read has in one piece, but whoever reads the session's exchanges.
#[test]
fn values_in_pieces_are_replaced_where_they_are_put_together() {
    const CLIENT: &str = r#"
import http.client, os
for path in ["/v1/chat/completions", "/chunks"]:
    client = http.client.HTTPConnection("127.0.0.1", int(os.environ["PORT"]))
    client.request("POST", path, os.environ["BODY"], {"x-aPI-keY": open("key").read()})
    print(path, len(client.getresponse().read()))
"#;
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || listener.incoming().flatten().for_each(answer_in_pieces));
    let recording = Case::new("python3")
        .args(["client.py"])
        .file("client.py", CLIENT)
        .file("key", IN_PIECES[2])
        .env("PORT", port.to_string())
        .env("BODY", MODEL_REQUEST)
        .env("DB_PASSWORD", IN_PIECES[0])
        .record()
        .unwrap();
    let mut views = everything(&recording.session);
    let mut view = |args: &[&str]| {
        let mut command = Command::new(RR_RUN);
        command.args(&args[..1]).arg(&recording.session).args(&args[1..]);
        let output = run(&mut command, b"", Duration::from_secs(60));
        assert_eq!(output.code, Some(0), "{args:?} {output}");
        views.push((format!("{args:?}"), output.stdout.clone()));
        output.out()
    };
    // With the rest as it was.
    let events = view(&["streams", "1", "--json"]);
    assert!(events.contains("one ghp_") && events.contains(" two"), "{events}");
    let har = view(&["export", "--format", "har"]);
    assert!(har.contains("chunks of "), "{har}");
    view(&["streams", "--json"]);
    view(&["streams", "2", "--json"]);
    view(&["streams", "2", "--raw"]);
    view(&["export", "--format", "jsonl"]);
    view(&["export", "--format", "perfetto"]);
    view(&["show", "--json"]);
    for (name, bytes) in &views {
        for value in IN_PIECES {
            assert!(memchr::memmem::find(bytes, value.as_bytes()).is_none(), "{name}: {value}");
        }
    }
    same("replay", &recording.output, &replays(&recording, &[])).unwrap();
}

/// Keys of local servers are too common to be replaced wherever they stand: what the guest makes
/// of the placeholder is accepted there.
#[test]
fn a_common_key_replays() {
    for key in ["dummy", "EMPTY", "ollama"] {
        let server = Server::start();
        let script = format!(
            "curl -s -H \"x-goog-api-key: $GEMINI_API_KEY\" -u \"me:$GEMINI_API_KEY\" \
             http://127.0.0.1:{}/?key=$GEMINI_API_KEY >/dev/null; echo key $GEMINI_API_KEY",
            server.port
        );
        let recording = Case::bash(&script).env("GEMINI_API_KEY", key).record().unwrap();
        assert_eq!(recording.output.out(), format!("key {key}\n"));
        let replayed = replays(&recording, &[]);
        assert_eq!(
            (replayed.code, replayed.out()),
            (Some(0), recording.output.out()),
            "{replayed}"
        );
        let manifest = std::fs::read_to_string(recording.session.join("manifest.json")).unwrap();
        assert!(!manifest.contains(&format!("GEMINI_API_KEY={key}")), "{manifest}");
    }
}

/// Shown output that is not the recorded one is no surprise: a line says so.
#[test]
fn a_replay_says_that_its_output_has_placeholders() {
    let token = secret(13);
    let note = "rr-run: note: 1 write to stdout or stderr";
    for (content, redacted) in [(token, true), ("nothing of that kind", false)] {
        let case = Case::bash("cat file; echo after").file("file", format!("{content}\n"));
        let recording = case.record().unwrap();
        let replayed = replays(&recording, &[]);
        assert_eq!(replayed.code, Some(0), "{replayed}");
        assert_eq!(replayed.stdout.len(), recording.output.stdout.len(), "{replayed}");
        assert_eq!(replayed.stdout != recording.output.stdout, redacted, "{replayed}");
        assert_eq!(replayed.err().contains(note), redacted, "{replayed}");
    }
}

/// Over a WebSocket without TLS, whose client masks what it sends: a key in one message, and values
/// of which each message has a few letters, in both directions.
#[test]
fn values_in_messages_are_replaced() {
    const SERVER: &str = r#"
import json, os, sys
from websockets.sync.server import serve
def answer(ws):
    text = "the answer is " + os.environ["VALUE"]
    for message in ws:
        if "end" in message:
            for at in range(0, len(text), 4):
                ws.send(json.dumps({"type": "delta", "delta": text[at:at + 4]}))
            ws.send("end")
with serve(answer, "127.0.0.1", 0, compression=None) as server:
    print(server.socket.getsockname()[1], flush=True)
    server.serve_forever()
"#;
    const CLIENT: &str = r#"
import json, os
from websockets.sync.client import connect
with connect(f"ws://127.0.0.1:{os.environ['PORT']}/", compression=None) as ws:
    ws.send(json.dumps({"auth": open("key").read()}))
    text = "mine is " + os.environ["OWN_PASSWORD"]
    for at in range(0, len(text), 4):
        ws.send(json.dumps({"type": "delta", "delta": text[at:at + 4]}))
    ws.send("end")
    total = 0
    while (message := ws.recv()) != "end":
        total += len(message)
print("got", total)
"#;
    let [own, token, _] = IN_PIECES;
    let python = format!("{}/tests/.venv/bin/python3", crate::harness::ROOT);
    let mut server = Command::new(&python);
    server.args(["-c", SERVER]).env("VALUE", own).stdout(Stdio::piped());
    let mut server = server.spawn().unwrap();
    let mut port = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let case = Case::new(&python).args(["-c", CLIENT]).env("PORT", port.trim());
    let case = case.env("OWN_PASSWORD", own).file("key", token).says("got");
    let recording = case.record();
    server.kill().unwrap();
    server.wait().unwrap();
    let recording = recording.unwrap();
    let session = Session::open(&recording.session).unwrap();
    let traffic = session.traffic().unwrap();
    let exchange = traffic.exchange(traffic.summaries()[0].id).unwrap();
    let text: String = exchange
        .messages
        .iter()
        .filter_map(|message| serde_json::from_slice::<serde_json::Value>(&message.bytes).ok())
        .map(|json| format!("{}{}", json["auth"].as_str().unwrap_or(""), json["delta"]))
        .collect::<String>()
        .replace(['"', '\n'], "")
        .replace("null", "");
    assert!(text.contains("mine is ") && text.contains("the answer is "), "{text}");
    assert!(!text.contains(own) && !text.contains(token) && text.contains("ghp_"), "{text}");
    same("replay", &recording.output, &replays(&recording, &[])).unwrap();
}

/// No rule finds the value; only the name of a child's variable says what it is.
#[test]
fn variables_of_children_are_learnt() {
    let value = "correct-horse-battery";
    let script = "echo first $(cat pw); DB_PASSWORD=$(cat pw) env | grep DB_";
    let case = Case::bash(script).file("pw", value).says(&format!("DB_PASSWORD={value}"));
    let recording = case.record().unwrap();
    let leaks: Vec<_> = everything(&recording.session)
        .into_iter()
        .filter(|(_, bytes)| memchr::memmem::find(bytes, value.as_bytes()).is_some())
        .map(|(name, _)| name)
        .collect();
    assert!(leaks.is_empty(), "{leaks:?}");
    let replayed = replays(&recording, &[]);
    assert_eq!(replayed.code, Some(0), "{replayed}");
    assert_eq!(replayed.stdout.len(), recording.output.stdout.len());
}

/// What is seen of a recording that goes on, before anything of it is on disk.
#[test]
fn a_running_session_shows_no_secret_that_a_rule_finds() {
    let token = secret(13);
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), token).unwrap();
    let mut command = Command::new(RR_RUN);
    command.args(["--record", "-o", "store", "--telemetry", "told"]);
    command.args(["bash", "-c", "read -r x < file; echo hi > $x; echo $x; read -r y"]);
    clean_environment(&mut command);
    command.current_dir(dir.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, format!("{token}\n"));
    let mut command = Command::new(RR_RUN);
    command.args(["show", "store/latest"]).current_dir(dir.path());
    clean_environment(&mut command);
    let shown = run(&mut command, b"", Duration::from_secs(60));
    assert!(shown.out().contains("write(1, \"ghp_"), "{shown}");
    assert!(!shown.out().contains(token), "{shown}");
    let started = Instant::now();
    let told = loop {
        let told = std::fs::read_to_string(dir.path().join("told")).unwrap_or_default();
        if told.contains("ghp_") {
            break told;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{told}");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(!told.contains(token), "{told}");
    drop(child.stdin.take());
    child.wait().unwrap();
}
