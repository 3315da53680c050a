//! `--interactive`: the user decides at the terminal, and what was decided holds from then on.

use std::process::Command;
use std::time::Duration;

use super::command;
use super::modes::{ask, changed, program, recorded};
use crate::harness::{Output, RR_RUN, Recording, run, run_on_terminal};

const LIMIT: Duration = Duration::from_secs(60);

/// Replays other questions, with these keys pressed.
fn decided(recording: &Recording, options: &[&str], questions: &str, keys: &[&str]) -> Output {
    let mut command = command(recording);
    command.args(["--interactive", "--allow-unused"]).args(options);
    command.args(program(recording, questions)).env("TERM", "xterm-256color");
    run_on_terminal(&command, keys, LIMIT).expect("a conversation")
}

#[test]
fn an_exchange_is_chosen_and_answers_like_requests_from_then_on() {
    let recording = recorded(&["one", "two"]);
    // Both sides are shown, and what can be done.
    let output = decided(&recording, &[], &ask("onE"), &["n"]);
    assert_eq!(output.code, Some(0), "{output}");
    // The terminal is told where words stand, rather than sent spaces.
    let moves = regex::Regex::new(r"\x1b\[[0-9;?]*[A-Za-z]|\s+").unwrap();
    let screen = moves.replace_all(&output.out(), " ").replace("  ", " ");
    for part in ["recorded: exchange 1", "asked", "n serve the nearest", "i ignore from now on"] {
        assert!(screen.contains(part), "{part} is missing in {screen}");
    }
    assert!(output.out().contains("1 request answered as the user said"), "{output}");
    assert!(!screen.contains("u ask the real service"), "{screen}");
    // By its place in the list.
    let output = decided(&recording, &[], &ask("another"), &["sj\r"]);
    assert_eq!(output.code, Some(0), "{output}");
    // Without a terminal.
    for (question, answer) in [("onE", "one"), ("another", "two")] {
        let output = changed(&recording, &["--allow-unused"], &ask(question));
        assert_eq!(output.code, Some(0), "{output}");
        let served = changed(&recording, &["--allow-unused"], &ask(answer));
        assert_eq!(output.out(), served.out());
    }
    assert_eq!(changed(&recording, &["--allow-unused"], &ask("onEE")).code, Some(119));
}

#[test]
fn rules_are_accepted_and_requests_refused() {
    let recording = recorded(&["it is 2030-01-02"]);
    let later = format!("{}; {}", ask("it is 2031-03-04"), ask("it is 2032-05-06"));
    let output = decided(&recording, &["--repeat"], &later, &["i"]);
    assert_eq!(output.code, Some(0), "{output}");
    assert!(output.out().contains("2 requests answered as the user said"), "{output}");
    assert_eq!(changed(&recording, &[], &ask("it is 2033-07-08")).code, Some(0));
    let output = decided(&recording, &[], &ask("is it?"), &["r"]);
    assert_eq!(output.code, Some(119), "{output}");
}

#[test]
fn a_terminal_is_needed() {
    let recording = recorded(&["one"]);
    let mut command = Command::new("setsid");
    command.args(["--wait", RR_RUN, "replay", "--network", "--interactive"]);
    let output = run(command.arg(&recording.session), b"", LIMIT);
    assert_eq!(output.code, Some(125), "{output}");
    assert!(output.err().contains("--interactive needs a terminal"), "{output}");
}
