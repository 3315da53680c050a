//! Build script of rr-run: builds the shim, which `src/launch/shim.rs` embeds.
//!
//! The shim is a crate of its own because it is `no_std`, aborts on panic and must not be linked
//! into the host; it is built with its own target directory, so that the two builds do not wait
//! for each other's lock.

use std::env;
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=preload");
    println!("cargo::rerun-if-changed=scripts/embed_shim.rs");
    println!("cargo::rerun-if-changed=Cargo.lock");
    // Relocating 35,000 addresses at each start, and the pages that they are on, would take as
    // long as all that rr-run does before a guest runs. Libraries, heap and stack stay randomised.
    println!("cargo::rustc-link-arg-bins=-no-pie");
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    match build(&root, &out) {
        Ok((shim, hash)) => {
            println!("cargo::rustc-env=RR_RUN_SHIM={}", shim.display());
            println!("cargo::rustc-env=RR_RUN_SHIM_HASH={hash:016x}");
        }
        Err(why) => {
            // A directive ends with its line: each line of the compiler's message is one.
            for line in format!("failed to build the shim: {why}").lines() {
                println!("cargo::error={line}");
            }
        }
    }
}

/// Builds the shim; its path, and a hash of its content that tells it from others.
fn build(root: &Path, out: &Path) -> Result<(PathBuf, u64), String> {
    let target_dir = out.join("shim");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(root)
        .args(["build", "--release", "--package", "rr-run-preload"])
        .args(["--target", TARGET])
        .arg("--manifest-path")
        .arg(root.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target_dir)
        // Every start of rr-run reads the shim: without debug information that is a fifth.
        .env("CARGO_PROFILE_RELEASE_STRIP", "debuginfo");
    // The outer build has fetched everything that the lock file names.
    if root.join("Cargo.lock").exists() {
        cargo.arg("--locked");
    }
    // What cargo sets for a build script must not reach the inner build: clippy's wrapper would
    // lint instead of building, sanitizer and coverage flags would add libraries to the shim.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let kept = ["CARGO_HOME", "CARGO_NET_OFFLINE", "CARGO_HTTP_PROXY"].contains(&&*text);
        let disturbs = text.starts_with("CARGO_")
            || text.starts_with("RUSTC")
            || text.starts_with("RUSTFLAGS")
            || text.starts_with("RUSTDOC")
            || ["CARGO", "RUSTFLAGS", "CLIPPY_ARGS", "CLIPPY_CONF_DIR", "LD_PRELOAD"]
                .contains(&&*text);
        let registry = text.starts_with("CARGO_REGISTRIES_") || text.starts_with("CARGO_SOURCE_");
        if disturbs && !kept && !registry {
            cargo.env_remove(&name);
        }
    }
    let done = cargo.output().map_err(|e| e.to_string())?;
    if !done.status.success() {
        return Err(format!("{}\n{}", done.status, String::from_utf8_lossy(&done.stderr)));
    }
    let shim = target_dir.join(TARGET).join("release/librr_run_preload.so");
    let bytes = std::fs::read(&shim).map_err(|e| format!("{}: {e}", shim.display()))?;
    let mut hasher = DefaultHasher::new();
    hasher.write(&bytes);
    Ok((shim, hasher.finish()))
}

/// The one machine that the shim is written for. Given although it is the default: a target set
/// in a configuration file would put the shim elsewhere.
const TARGET: &str = "x86_64-unknown-linux-gnu";
