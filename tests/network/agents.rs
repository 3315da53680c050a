//! Agents from the registries, unmodified, against aimock: their tools run live, what tools print
//! is in the next turn, and every turn of the replay is exact.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::harness::{Mock, Output, ROOT, RR_RUN, network_namespace, run};

const LIMIT: Duration = Duration::from_secs(120);

/// One agent at work.
struct Agent {
    argv: Vec<String>,
    env: Vec<(&'static str, String)>,
    /// Files in its home.
    home: Vec<(&'static str, String)>,
    mock: Option<Mock>,
    dir: tempfile::TempDir,
}

/// A program of the agents' own Python.
fn python(program: &str) -> String {
    format!("{ROOT}/tests/.agents/bin/{program}")
}

fn own(name: &str) -> String {
    format!("{ROOT}/tests/programs/agents/{name}")
}

impl Agent {
    fn new(fixtures: &str, argv: &[&str]) -> Agent {
        let argv = argv.iter().map(|&arg| arg.to_owned()).collect();
        let mock = Mock::start(&format!("agents/{fixtures}.json"));
        let dir = tempfile::tempdir().expect("a directory");
        Agent { argv, env: Vec::new(), home: Vec::new(), mock: Some(mock), dir }
    }

    fn url(&self) -> String {
        self.mock.as_ref().map(|mock| mock.url.clone()).unwrap_or_default()
    }

    fn env(mut self, name: &'static str, value: impl Into<String>) -> Agent {
        self.env.push((name, value.into()));
        self
    }

    /// Where it works, in the state in which it always begins.
    fn fresh(&self) -> PathBuf {
        let (work, home) = (self.dir.path().join("work"), self.dir.path().join("home"));
        for dir in [&work, &home] {
            let _ = fs::remove_dir_all(dir);
            fs::create_dir_all(dir).expect("a directory");
        }
        fs::write(work.join("greet.py"), "print(\"hello world\")\n").expect("a file");
        for (name, content) in &self.home {
            let path = home.join(name);
            fs::create_dir_all(path.parent().unwrap_or(&home)).expect("a directory");
            fs::write(path, content).expect("a file");
        }
        work
    }

    fn run(&self, before: &[&str]) -> Output {
        let work = self.fresh();
        let mut argv = before.iter().copied().chain(self.argv.iter().map(String::as_str));
        let mut command = Command::new(argv.next().expect("a program"));
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.args(argv).current_dir(work).env_clear().env("PATH", path);
        command.envs([("LANG", "C.UTF-8"), ("TERM", "dumb"), ("SHELL", "/bin/bash")]);
        command.env("HOME", self.dir.path().join("home"));
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        run(&mut command, b"", LIMIT)
    }

    /// What its tools have left.
    fn files(&self) -> Vec<(String, String)> {
        let dir = fs::read_dir(self.dir.path().join("work")).expect("a directory");
        let mut files: Vec<_> = dir
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let name = path.file_name()?.to_string_lossy().into_owned();
                Some((name, fs::read_to_string(path).ok()?))
            })
            .collect();
        files.sort();
        files
    }

    /// Records it and replays it without mock and network.
    fn check(mut self, says: &str, requests: u64) {
        let store = self.dir.path().join("sessions").display().to_string();
        let recorded = self.run(&[RR_RUN, "record", "-o", &store, "--name", "a", "--"]);
        assert_eq!(recorded.code, Some(0), "{recorded}");
        assert!(recorded.out().contains(says), "{recorded}");
        let files = self.files();
        self.mock = None;
        let loops = std::env::var("RR_TEST_LOOPS").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
        for number in 1..=loops {
            let ways = [&["unshare"], network_namespace()].concat();
            let up = ["sh", "-c", "ip link set lo up && exec \"$@\"", "sh"];
            let replay = [RR_RUN, "replay", "--network", "-o", &store, "a", "--"];
            let output = self.run(&[&ways[..], &up, &replay].concat());
            assert_eq!(output.code, Some(0), "replay {number}: {output}");
            let all = ["exact", "by rule", "out of sequence", "refused"].map(|kind| {
                let report = output.err();
                let before =
                    report.split(&format!(" {kind}")).next().unwrap_or_default().to_owned();
                before.rsplit(' ').next().and_then(|count| count.parse().ok()).unwrap_or(u64::MAX)
            });
            assert!(all[0] >= requests && all[1..] == [0; 3], "replay {number}: {output}");
            assert_eq!(output.out(), recorded.out(), "replay {number}");
            assert_eq!(self.files(), files, "replay {number}");
        }
        assert!(Path::new(&store).join("a/runs").is_dir());
    }
}

#[test]
fn llm() {
    let argv = [&*python("llm"), "-m", "mock", "--functions", &own("tools.py"), "Run date for me"];
    let mut agent = Agent::new("llm", &argv).env("OPENAI_API_KEY", "sk-mock");
    let models = format!(
        "- model_id: mock\n  model_name: gpt-4o\n  api_base: {}/v1\n  supports_tools: true\n",
        agent.url()
    );
    agent.home.push((".config/io.datasette.llm/extra-openai-models.yaml", models));
    agent.check("The time is what date said.", 2);
}

#[test]
fn mini_swe_agent() {
    let task = "Change the greeting in greet.py to goodbye";
    let mini = python("mini");
    let argv = [&*mini, "-m", "openai/gpt-4o", "-y", "--exit-immediately", "-t", task];
    let agent = Agent::new("mini-swe-agent", &argv);
    let url = format!("{}/v1", agent.url());
    agent
        .env("OPENAI_API_KEY", "sk-mock")
        .env("OPENAI_API_BASE", url)
        .env("MSWEA_CONFIGURED", "true")
        .env("MSWEA_COST_TRACKING", "ignore_errors")
        .env("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        .check("goodbye world", 3);
}

#[test]
fn smolagents() {
    let agent = Agent::new("smolagents", &[&python("python"), &own("smolagents_run.py")]);
    let url = format!("{}/v1", agent.url());
    agent.env("OPENAI_BASE_URL", url).check("tool done", 4);
}

#[test]
fn openai_agents() {
    let agent = Agent::new("openai-agents", &[&python("python"), &own("openai_agents_run.py")]);
    let url = format!("{}/v1", agent.url());
    agent.env("OPENAI_API_KEY", "sk-mock").env("OPENAI_BASE_URL", url).check("Finished.", 3);
}

#[test]
fn claude_code() {
    let claude = format!("{ROOT}/tests/node_modules/.bin/claude");
    let model = ["--model", "claude-sonnet-4-5"];
    let argv =
        [&[&*claude, "-p", "What time is it?", "--allowedTools", "Bash"][..], &model].concat();
    let agent = Agent::new("claude-code", &argv);
    let url = agent.url();
    agent
        .env("ANTHROPIC_API_KEY", "sk-ant-mock")
        .env("ANTHROPIC_BASE_URL", url)
        .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
        .check("It is late.", 3);
}
