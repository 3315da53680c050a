//! Compiles the C programs of tests/programs, and tests of other packages that are guests here.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::ROOT;

/// Compiles tests/programs/`name`.c if it is newer than its binary.
///
/// A first line `// cc: FLAGS` adds flags for the compiler.
///
/// # Panics
/// If it does not compile.
pub(crate) fn c_program(name: &str) -> PathBuf {
    // Guests that run it must not see it replaced by the same again.
    static COMPILING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = COMPILING.lock().unwrap_or_else(PoisonError::into_inner);
    let programs = Path::new(ROOT).join("tests/programs");
    let source = programs.join(format!("{name}.c"));
    let binary = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let newest = changed(&source).max(changed(&programs.join("guest.h")));
    if changed(&binary) > newest {
        return binary;
    }
    let text = std::fs::read_to_string(&source)
        .unwrap_or_else(|e| panic!("failed to read {}: {e}", source.display()));
    let flags = text.lines().next().and_then(|line| line.strip_prefix("// cc:")).unwrap_or("");
    // Tests may run in several processes: each compiles to a file of its own and moves it in place.
    let made = binary.with_extension(std::process::id().to_string());
    let output = Command::new("gcc")
        .args(["-O1", "-g", "-pthread", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-o"])
        .arg(&made)
        .arg(&source)
        .args(flags.split_whitespace())
        .output()
        .unwrap_or_else(|e| panic!("failed to start gcc: {e}"));
    assert!(
        output.status.success(),
        "{name}.c does not compile:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    std::fs::rename(&made, &binary).unwrap_or_else(|e| panic!("failed to move {made:?}: {e}"));
    binary
}

/// Compiles the integration test `test` of the workspace's package `package`.
///
/// # Panics
/// If it does not compile.
pub(crate) fn rust_test(package: &str, test: &str) -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .args(["test", "--no-run", "--message-format=json", "-p", package, "--test", test])
        .current_dir(ROOT)
        .output()
        .unwrap_or_else(|e| panic!("failed to start cargo: {e}"));
    let messages = String::from_utf8_lossy(&output.stdout);
    let made = messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let it = message["target"]["name"] == test;
        message["executable"].as_str().filter(|_| it).map(PathBuf::from)
    });
    made.unwrap_or_else(|| {
        panic!("{test} does not compile:\n{}", String::from_utf8_lossy(&output.stderr))
    })
}

fn changed(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|meta| meta.modified()).ok()
}
