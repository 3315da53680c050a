//! The streaming server of examples/stream_server, run for one test.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A running server; killed on drop.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) http: u16,
    pub(crate) https: u16,
    /// PEM of the CA that signed its certificate.
    pub(crate) ca: PathBuf,
}

impl Server {
    /// Starts a server that keeps its files in `dir`: a git repository `project`, and `llm.log`,
    /// what it sent as a model.
    ///
    /// # Errors
    /// If it can't be started, or git fails.
    pub(crate) fn start(dir: &Path) -> io::Result<Server> {
        let repositories = dir.join("git");
        make_repository(&repositories)?;
        let ca = dir.join("ca.pem");
        let mut child = Command::new(binary()?)
            .arg("--ca")
            .arg(&ca)
            .arg("--git-root")
            .arg(&repositories)
            .arg("--log")
            .arg(dir.join("llm.log"))
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()?;
        let mut line = String::new();
        let mut stdout = child.stdout.take().map(BufReader::new);
        if let Some(stdout) = &mut stdout {
            stdout.read_line(&mut line)?;
        }
        let ports: serde_json::Value = serde_json::from_str(&line).map_err(io::Error::other)?;
        let port = |name: &str| {
            let port = ports[name].as_u64().and_then(|port| u16::try_from(port).ok());
            port.ok_or_else(|| io::Error::other(format!("no port in {line}")))
        };
        Ok(Server { child, http: port("http")?, https: port("https")?, ca })
    }

    /// Requests answered so far.
    pub(crate) fn count(&self) -> io::Result<u64> {
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, self.http))?;
        socket.write_all(b"GET /count HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        let body = answer.rsplit("\r\n\r\n").next().unwrap_or_default();
        body.trim().parse().map_err(io::Error::other)
    }

    /// Ends the server.
    pub(crate) fn stop(self) {}
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where cargo put the example: beside the directory of this test binary.
fn binary() -> io::Result<PathBuf> {
    let test = std::env::current_exe()?;
    let target = test.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
    let binary = target.join("examples/stream_server");
    if binary.exists() {
        return Ok(binary);
    }
    Err(io::Error::other(format!("{}: run `cargo build --examples`", binary.display())))
}

/// A bare repository with a few commits of random content.
fn make_repository(root: &Path) -> io::Result<()> {
    let script = r#"
        set -e
        git init -q --bare -b main "$1/project.git"
        git init -q -b main "$1/work" && cd "$1/work"
        for i in 1 2 3; do
            echo "$i $RANDOM $RANDOM" > file$i
            mkdir -p dir$i && seq $RANDOM | head -500 > dir$i/list
            git add . && git -c user.name=A -c user.email=a@example.org commit -qm "commit $i"
        done
        git push -q "$1/project.git" main
    "#;
    let status = Command::new("bash").args(["-c", script, "bash"]).arg(root).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other("git failed")) }
}
