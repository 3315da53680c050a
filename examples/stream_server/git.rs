//! A git remote: requests under /git/ go to `git http-backend`, a CGI program.

use std::io;
use std::path::Path;
use std::process::Stdio;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use hyper::{Request, Response, StatusCode};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::{Body, full, response, status};

/// Serves the bare repositories in `root`.
pub(crate) async fn answer(root: &Path, request: Request<Incoming>) -> Response<Body> {
    match backend(root, request).await {
        Ok(response) => response,
        Err(e) => {
            eprintln!("git http-backend: {e}");
            status(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

async fn backend(root: &Path, request: Request<Incoming>) -> io::Result<Response<Body>> {
    let header = |name: HeaderName| {
        request.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
    };
    let path = request.uri().path().strip_prefix("/git").unwrap_or_default().to_owned();
    let mut command = Command::new("git");
    command
        // The repositories may belong to another user than the server's.
        .args(["-c", "safe.directory=*", "http-backend"])
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", path)
        .env("REQUEST_METHOD", request.method().as_str())
        .env("QUERY_STRING", request.uri().query().unwrap_or_default())
        .env("CONTENT_TYPE", header(CONTENT_TYPE))
        .env("HTTP_CONTENT_ENCODING", header(CONTENT_ENCODING))
        .env("GIT_PROTOCOL", header(HeaderName::from_static("git-protocol")))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let body = request.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
    let mut child = command.env("CONTENT_LENGTH", body.len().to_string()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(&body).await?;
    }
    let output = child.wait_with_output().await?.stdout;
    let end = output
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .ok_or_else(|| io::Error::other("no end of the headers"))?;
    let (head, body) = (&output[..end], &output[end + 4..]);
    let mut answer = response("", full(body.to_vec()));
    for line in String::from_utf8_lossy(head).lines() {
        let Some((name, value)) = line.split_once(": ") else { continue };
        if name.eq_ignore_ascii_case("status") {
            let code = value.split(' ').next().unwrap_or_default();
            *answer.status_mut() = code.parse().map_err(io::Error::other)?;
        } else if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), value.parse()) {
            answer.headers_mut().insert(name, value);
        }
    }
    Ok(answer)
}
