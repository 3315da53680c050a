//! Arguments and environment of the root guest.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use log_format::arena::PAD_TOTAL;

use crate::error::{Error, Result};
use crate::session::manifest::ByteText;

/// Variables that the shim removes before the guest sees them.
const OWN: [&[u8]; 3] = [b"RR_RUN_ARENA", b"RR_RUN_PROC", b"RR_RUN_PAD"];
/// OpenSSL, BoringSSL and aws-lc then leave RDRAND and RDSEED alone, which can't be trapped.
const NO_RDRAND: &[u8] = b"~0x4000000000000000";

/// A path from bytes.
pub fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes.to_vec()))
}

/// The environment of this process as `NAME=value`, in its order, without rr-run's own.
pub fn inherited() -> Vec<ByteText> {
    std::env::vars_os()
        .filter(|(name, _)| !OWN.contains(&name.as_bytes()))
        .map(|(name, value)| ByteText([name.as_bytes(), b"=", value.as_bytes()].concat()))
        .collect()
}

/// The value of a variable in `NAME=value` strings.
pub fn value<'a>(env: &'a [ByteText], name: &[u8]) -> Option<&'a [u8]> {
    env.iter().find_map(|entry| entry.0.strip_prefix(name)?.strip_prefix(b"="))
}

/// The strings that start the root guest.
///
/// They stand on the guest's initial stack, so their number, order and total length must be equal
/// while recording and replaying: `RR_RUN_PAD` makes up for paths of different lengths.
///
/// # Errors
/// [`Error::Usage`] if the paths are too long to be padded.
pub fn guest(
    env: &[ByteText],
    filename: &OsStr,
    shim: &Path,
    arena: &Path,
) -> Result<Vec<CString>> {
    let user_preload = value(env, b"LD_PRELOAD").filter(|v| !v.is_empty());
    let mut preload = shim.as_os_str().as_bytes().to_vec();
    if let Some(user) = user_preload {
        preload.push(b':');
        preload.extend_from_slice(user);
    }
    let arena = arena.as_os_str().as_bytes();
    let used = preload.len() + arena.len() + filename.len();
    let pad = PAD_TOTAL.checked_sub(used).ok_or_else(|| {
        Error::Usage(format!("paths and LD_PRELOAD have {used} bytes, more than {PAD_TOTAL}"))
    })?;
    let set = |name: &[u8], value: &[u8]| [name, b"=", value].concat();
    let preload = set(b"LD_PRELOAD", &preload);
    let mut out: Vec<Vec<u8>> = Vec::with_capacity(env.len() + 6);
    let mut preloaded = false;
    for entry in env {
        match entry.0.split(|b| *b == b'=').next() {
            Some(b"LD_PRELOAD") if preloaded => {}
            Some(b"LD_PRELOAD") => {
                out.push(preload.clone());
                preloaded = true;
            }
            Some(b"RUNNING_UNDER_RR_RUN") => {}
            Some(name) if OWN.contains(&name) => {}
            _ => out.push(entry.0.clone()),
        }
    }
    if !preloaded {
        out.push(preload);
    }
    if value(env, b"OPENSSL_ia32cap").is_none() {
        out.push(set(b"OPENSSL_ia32cap", NO_RDRAND));
    }
    out.push(set(b"RUNNING_UNDER_RR_RUN", b"1"));
    out.push(set(OWN[0], arena));
    out.push(set(OWN[1], b"0000"));
    out.push(set(OWN[2], &vec![b'x'; pad]));
    out.into_iter().map(c_string).collect()
}

/// A C string.
///
/// # Errors
/// [`Error::Usage`] for a NUL inside.
pub fn c_string(bytes: impl Into<Vec<u8>>) -> Result<CString> {
    CString::new(bytes).map_err(|_| Error::Usage("a NUL byte stands in a string".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(env: &[&str], filename: &str, arena: &str) -> Vec<String> {
        let env: Vec<ByteText> = env.iter().map(|e| ByteText(e.as_bytes().to_vec())).collect();
        let built = guest(&env, OsStr::new(filename), Path::new("/tmp/s.so"), Path::new(arena));
        built.unwrap().into_iter().map(|s| s.into_string().unwrap()).collect()
    }

    #[test]
    fn the_strings_have_the_same_length_wherever_session_and_program_are() {
        let env = ["A=1", "LD_PRELOAD=/lib/user.so", "B=2"];
        let short = strings(&env, "/bin/x", "/a");
        let long = strings(&env, "/a/much/longer/name", "/another/long path/to/arena");
        assert!(short.iter().any(|s| s == "LD_PRELOAD=/tmp/s.so:/lib/user.so"));
        let total = |filename: &str, all: &[String]| {
            filename.len() + all.iter().map(String::len).sum::<usize>()
        };
        assert_eq!(total("/bin/x", &short), total("/a/much/longer/name", &long));
        assert_eq!(short.len(), long.len());
    }

    #[test]
    fn the_user_s_settings_stay() {
        let built = strings(&["OPENSSL_ia32cap=:~0", "RR_RUN_PAD=old"], "/bin/x", "/a");
        assert_eq!(built.iter().filter(|s| s.starts_with("OPENSSL_ia32cap=")).count(), 1);
        assert!(built.contains(&"OPENSSL_ia32cap=:~0".into()));
        assert!(!built.contains(&"RR_RUN_PAD=old".into()));
    }

    #[test]
    fn paths_that_are_too_long_are_refused() {
        let arena = "/a".repeat(PAD_TOTAL);
        assert!(guest(&[], OsStr::new("x"), Path::new("/s"), Path::new(&arena)).is_err());
    }
}
