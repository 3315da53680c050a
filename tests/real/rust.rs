//! A Rust program with reqwest on a multi-threaded tokio runtime, built by scripts/setup-tests.

use crate::harness::{Case, ROOT};

fn client(tls: &str) -> Case {
    Case::new(format!("{ROOT}/tests/programs/reqwest-client/target/debug/reqwest-client"))
        .args([tls, "https://localhost:{https}", "{ca}"])
        .says("done")
        .server()
}

#[test]
fn reqwest_with_rustls() {
    client("rustls").check();
}

#[test]
fn reqwest_with_native_tls() {
    client("native-tls").check();
}
