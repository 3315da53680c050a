//! aimock, a server for agents that is not from here.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::ROOT;

/// A server; killed on drop.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn new(child: Child) -> Running {
        Running(child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// aimock on a port of its own.
pub(crate) struct Mock {
    _server: Running,
    pub(crate) url: String,
}

impl Mock {
    /// Answers as a file of tests/fixtures says.
    pub(crate) fn start(fixtures: &str) -> Mock {
        let mut child = Command::new("node")
            .arg(format!("{ROOT}/tests/node_modules/@copilotkit/aimock/dist/cli.js"))
            // Turns are counted, rather than guessed.
            .env("AIMOCK_STRICT_TURN_INDEX", "1")
            .args(["-p", "0", "-f", &format!("{ROOT}/tests/fixtures/{fixtures}")])
            .stdout(Stdio::piped())
            .spawn()
            .expect("node starts");
        let stdout = child.stdout.take().expect("its output is a pipe");
        let lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let url = lines
            .filter_map(|line| line.split_once("http://").map(|(_, at)| format!("http://{at}")))
            .next()
            .expect("aimock says where it listens");
        Mock { _server: Running(child), url: url.trim().to_owned() }
    }

    /// What aimock says it was asked, sorted: path, model and question.
    pub(crate) fn journal(&self) -> Vec<(String, String, String)> {
        let output = Command::new("curl")
            .args(["-sS", &format!("{}/__aimock/journal", self.url)])
            .output()
            .expect("curl starts");
        let entries: Vec<Value> = serde_json::from_slice(&output.stdout).expect("a list");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let entry = |entry: &Value| {
            let path = text(&entry["path"]).split('?').next().unwrap_or_default().to_owned();
            let body = &entry["body"];
            (path, text(&body["model"]), text(&body["messages"][0]["content"]))
        };
        let mut all: Vec<_> = entries.iter().map(entry).collect();
        all.sort();
        all
    }

    /// Has aimock forget what it was asked.
    pub(crate) fn forget(&self) {
        let url = format!("{}/__aimock/reset/journal", self.url);
        let status = Command::new("curl").args(["-sSf", "-o/dev/null", "-XPOST", &url]).status();
        assert!(status.is_ok_and(|status| status.success()));
    }
}
