//! What guests trust: bundles with the session's certificate, and the variables that name them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use log_format::arena::{STAND_INS, stand_in};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::certs::Authority;
use crate::error::{Error, Result};
use crate::launch::environment::{path, value};
use crate::log::map::{ArenaMap, ring, set_text};
use crate::session::manifest::ByteText;

/// Where systems keep their bundle, most common first.
const SYSTEM: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// How paths of Java's own trust store end.
const JAVA: [&str; 2] = ["/lib/security/cacerts", "/certs/java/cacerts"];

/// How the path of the bundle ends that Python packages bring along and name themselves
/// (`ssl.create_default_context(cafile=certifi.where())`), past every variable.
const CERTIFI: &str = "/certifi/cacert.pem";

/// A variable by which a runtime learns which certificates to trust.
struct Variable {
    name: &'static str,
    /// Its certificates come beside the runtime's own; else they take their place.
    adds: bool,
}

const fn variable(name: &'static str, adds: bool) -> Variable {
    Variable { name, adds }
}

const VARIABLES: [Variable; 10] = [
    variable("SSL_CERT_FILE", false),
    variable("NODE_EXTRA_CA_CERTS", true),
    variable("REQUESTS_CA_BUNDLE", false),
    variable("CURL_CA_BUNDLE", false),
    variable("GIT_SSL_CAINFO", false),
    variable("AWS_CA_BUNDLE", false),
    variable("PIP_CERT", false),
    variable("CARGO_HTTP_CAINFO", false),
    variable("CODEX_CA_CERTIFICATE", false),
    variable("DENO_CERT", true),
];

/// What a guest is given.
pub struct Trust {
    /// Files that it opens under other names: ending of the name, and the file. Java's come first.
    stand_ins: Vec<(PathBuf, PathBuf)>,
    /// Bundles that the user's variables name.
    pub(super) users: Vec<PathBuf>,
    /// Java's, made when someone opens it.
    java: JavaStore,
}

/// A trust store in Java's own format (JKS), which every version reads, with or without the
/// usual password.
struct JavaStore {
    file: PathBuf,
    /// The system's bundle.
    system: Option<PathBuf>,
    own: CertificateDer<'static>,
}

/// Bundles in the making.
struct Bundles<'a> {
    dir: &'a Path,
    authority: String,
    /// Content without the session's certificate, and the file.
    written: Vec<(Vec<u8>, PathBuf)>,
}

impl Bundles<'_> {
    /// A file with these certificates and the session's.
    fn with(&mut self, mut content: Vec<u8>) -> Result<PathBuf> {
        if let Some((_, file)) = self.written.iter().find(|(c, _)| *c == content) {
            return Ok(file.clone());
        }
        let file = self.dir.join(match self.written.len() {
            0 => "ca-bundle.pem".to_owned(),
            n => format!("ca-bundle-{n}.pem"),
        });
        let original = content.clone();
        if !content.is_empty() && !content.ends_with(b"\n") {
            content.push(b'\n');
        }
        content.extend_from_slice(self.authority.as_bytes());
        fs::write(&file, content).map_err(Error::file("write", &file))?;
        self.written.push((original, file.clone()));
        Ok(file)
    }
}

/// Writes the bundles of a session in `dir` and points the environment at them. A bundle that
/// the user has named is kept, with the session's certificate added.
///
/// # Errors
/// The system's.
pub(crate) fn give(
    authority: &Authority,
    dir: &Path,
    cwd: &Path,
    env: &mut Vec<ByteText>,
) -> Result<Trust> {
    let system = SYSTEM.iter().find_map(|path| fs::read(path).ok().map(|c| (*path, c)));
    let (system_path, system) = system.map_or((None, Vec::new()), |(p, c)| (Some(p), c));
    let mut bundles = Bundles { dir, authority: authority.pem(), written: Vec::new() };
    let all = bundles.with(system)?;
    let system_path = system_path.map(PathBuf::from);
    let java = JavaStore {
        file: dir.join("ca-bundle.jks"),
        system: system_path.clone(),
        own: authority.der().clone(),
    };
    let stand_ins = JAVA.map(|ending| (PathBuf::from(ending), java.file.clone())).to_vec();
    let mut trust = Trust { stand_ins, users: Vec::new(), java };
    if let Some(ending) = system_path {
        trust.stand_ins.push((ending, all.clone()));
        trust.stand_ins.push((CERTIFI.into(), all.clone()));
    }
    for Variable { name, adds } in VARIABLES {
        let users = value(env, name.as_bytes()).filter(|v| !v.is_empty()).map(path);
        let file = match users {
            Some(users) => {
                let users = cwd.join(users);
                // Most variables name the same one.
                let stand_in = || trust.stand_ins.iter().find(|(name, _)| *name == users);
                if let Some((_, file)) = stand_in().filter(|_| trust.users.contains(&users)) {
                    set(env, name, file);
                    continue;
                }
                // A directory, or a file that can't be read: the user's affair.
                let Ok(content) = fs::read(&users) else { continue };
                let file = bundles.with(content)?;
                // A program may name it itself, too (`curl --cacert`).
                for name in [fs::canonicalize(&users).ok(), Some(users.clone())] {
                    let known = |name: &PathBuf| trust.stand_ins.iter().any(|(n, _)| n == name);
                    if let Some(name) = name.filter(|name| !known(name)) {
                        trust.stand_ins.push((name, file.clone()));
                    }
                }
                trust.users.push(users);
                file
            }
            None if adds => bundles.with(Vec::new())?,
            None => all.clone(),
        };
        set(env, name, &file);
    }
    Ok(trust)
}

impl Trust {
    /// Gives the bundles the names that they had in a recording, if files of these names are still
    /// there: the environment is then the recorded one. The shim opens the new ones.
    pub(crate) fn name_as_recorded(&mut self, recorded: &[ByteText], env: &mut Vec<ByteText>) {
        for Variable { name, .. } in VARIABLES {
            let of = |env: &[ByteText]| value(env, name.as_bytes()).map(path);
            let (Some(old), Some(new)) = (of(recorded), of(env)) else { continue };
            if old == new || !old.is_absolute() || !old.is_file() {
                continue;
            }
            let known = self.stand_ins.iter().find(|(ending, _)| *ending == old);
            match known {
                Some((_, file)) if *file != new => continue,
                Some(_) => {}
                None if self.stand_ins.len() < STAND_INS => {
                    self.stand_ins.push((old.clone(), new));
                }
                None => continue,
            }
            set(env, name, &old);
        }
    }

    /// Tells the shim which files to open in place of others.
    pub(crate) fn tell(&self, arena: &ArenaMap) {
        for (to, (ending, file)) in arena.header().tls.stand_ins.iter().zip(&self.stand_ins) {
            if *file == self.java.file {
                to.state.store(stand_in::LATE, Ordering::Relaxed);
            }
            if set_text(&to.file, file.as_os_str().as_encoded_bytes()) {
                set_text(&to.ending, ending.as_os_str().as_encoded_bytes());
            }
        }
    }

    /// Makes what guests wait for. To be called whenever a guest rings.
    pub(crate) fn make_wanted(&self, arena: &ArenaMap) {
        // The first of all.
        let java = || arena.header().tls.stand_ins.iter().take(JAVA.len());
        if !java().any(|one| one.state.load(Ordering::Acquire) == stand_in::WANTED) {
            return;
        }
        let made = fs::write(&self.java.file, self.java.content());
        let state = if made.is_ok() { stand_in::READY } else { stand_in::FAILED };
        java().for_each(|one| one.state.store(state, Ordering::Release));
        ring(&arena.header().host_bell);
    }
}

fn set(env: &mut Vec<ByteText>, name: &str, file: &Path) {
    let prefix = format!("{name}=");
    let text = [prefix.as_bytes(), file.as_os_str().as_encoded_bytes()].concat();
    match env.iter_mut().find(|entry| entry.0.starts_with(prefix.as_bytes())) {
        Some(entry) => entry.0 = text,
        None => env.push(ByteText(text)),
    }
}

impl JavaStore {
    fn content(&self) -> Vec<u8> {
        const MAGIC: u32 = 0xfeed_feed;
        const TRUSTED: u32 = 2;
        let system = self.system.as_ref().and_then(|path| fs::read(path).ok()).unwrap_or_default();
        let certificates: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(&system).flatten().chain([self.own.clone()]).collect();
        let mut out = Vec::new();
        for word in [MAGIC, 2, certificates.len() as u32] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        let text = |out: &mut Vec<u8>, text: &str| {
            out.extend_from_slice(&(text.len() as u16).to_be_bytes());
            out.extend_from_slice(text.as_bytes());
        };
        for (i, certificate) in certificates.iter().enumerate() {
            out.extend_from_slice(&TRUSTED.to_be_bytes());
            text(&mut out, &format!("ca{i}"));
            out.extend_from_slice(&0u64.to_be_bytes());
            text(&mut out, "X.509");
            out.extend_from_slice(&(certificate.len() as u32).to_be_bytes());
            out.extend_from_slice(certificate);
        }
        let mut digest = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
        for unit in "changeit".encode_utf16() {
            digest.update(&unit.to_be_bytes());
        }
        digest.update(b"Mighty Aphrodite");
        digest.update(&out);
        out.extend_from_slice(digest.finish().as_ref());
        out
    }
}
