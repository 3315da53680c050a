//! Exports and telemetry, read by the tools that they are made for.

mod files;
mod otlp;
mod telemetry;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::harness::{Case, ROOT, RR_RUN, Recording, clean_environment, python, run};

/// Asks models by curl: HTTP/1.1 plain, over TLS, HTTP/2 over TLS, one cut off, one compressed.
const ASKING: &str = r#"
    ask() { curl -sSN "${@:3}" "$1" -H 'content-type: application/json' -d "$2" || true; }
    b='{"model":"MODEL","stream":true,"stream_options":{"include_usage":true},"max_tokens":9,
        "messages":[{"role":"user","content":"hello gr\u00fcn"}]}'
    ask http://localhost:{http}/v1/chat/completions "${b/MODEL/gpt-one}"
    ask https://localhost:{https}/v1/chat/completions "${b/MODEL/gpt-two}" --http1.1
    ask https://localhost:{https}/v1/messages "${b/MODEL/claude}" --http2
    ask https://localhost:{https}/v1/messages "${b/MODEL/m-cut}" --http2 2>/dev/null
    ask http://localhost:{http}/v1/chat/completions?key=in-query "${b/MODEL/m-gzip}" --compressed
    ask http://localhost:{http}/v1/chat/completions "${b/MODEL/m-error}"
    curl -sS http://localhost:{http}/ -b 'one=1; two=2'
    echo done
"#;

/// A session with calls of models.
fn recording() -> Recording {
    let case = Case::bash(ASKING).env("SSL_CERT_FILE", "{ca}").server().says("done").limit_s(60);
    case.record().unwrap_or_else(|e| panic!("{e}"))
}

/// Exports a session to a file beside it.
fn exported(recording: &Recording, format: &str) -> PathBuf {
    let path = recording.dir.path().join(format!("export.{format}"));
    let mut command = Command::new(RR_RUN);
    clean_environment(&mut command);
    command.env("HOME", recording.dir.path());
    command.args(["export", "--format", format, "-o"]).arg(&path).arg(&recording.session);
    let output = run(&mut command, b"", Duration::from_secs(60));
    assert_eq!((output.code, output.err().as_str()), (Some(0), ""), "{output}");
    path
}

/// Runs a program of tests/programs with the Python of scripts/setup-tests; what it says.
fn tool(name: &str, args: &[&Path]) -> String {
    let mut command = Command::new(python());
    clean_environment(&mut command);
    command.arg(format!("{ROOT}/tests/programs/{name}")).args(args);
    let output = run(&mut command, b"", Duration::from_secs(60));
    assert_eq!(output.code, Some(0), "{output}");
    output.out()
}
