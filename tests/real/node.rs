//! Node, with the packages of scripts/setup-tests.

use crate::harness::Case;

fn node(name: &str) -> Case {
    Case::node(name)
        .args(["https://localhost:{https}", "http://localhost:{http}"])
        .says("done")
        .limit_s(120)
        .server()
}

#[test]
fn fetch() {
    node("fetching.mjs").check();
}

#[test]
fn openai() {
    node("openai.cjs").check();
}

#[test]
fn worker_threads() {
    node("workers.mjs").check();
}

#[test]
fn child_processes() {
    node("children.mjs").check();
}

#[test]
fn files_timers_and_randomness() {
    node("various.mjs").check();
}
