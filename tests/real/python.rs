//! Python, with the packages of scripts/setup-tests.

use crate::harness::Case;

fn python(name: &str) -> Case {
    Case::python(name)
        .args(["https://localhost:{https}", "http://localhost:{http}"])
        .env("SSL_CERT_FILE", "{ca}")
        .env("REQUESTS_CA_BUNDLE", "{ca}")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .server()
}

#[test]
fn standard_library() {
    python("standard.py").says("done").check();
}

#[test]
fn urllib_and_requests() {
    python("requesting.py").says("done").check();
}

#[test]
fn httpx_sync_and_async() {
    python("with_httpx.py").says("done").check();
}

#[test]
fn openai_and_anthropic() {
    python("models.py").says("done").limit_s(120).check();
}

#[test]
fn threads() {
    python("threaded.py").says("done").check();
}

#[test]
fn asyncio() {
    python("looping.py").says("done").check();
}

#[test]
fn subprocesses() {
    python("subprocesses.py").says("done").check();
}

#[test]
fn multiprocessing_by_fork() {
    python("pools.py").arg("fork").says("done").limit_s(120).check();
}

#[test]
fn multiprocessing_by_spawn() {
    python("pools.py").arg("spawn").says("done").limit_s(120).check();
}

#[test]
fn an_exception_ends_it() {
    python("raises.py").code(1).check();
}
