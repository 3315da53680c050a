//! The configuration file: what otherwise stands on the command line.
//!
//! The user's own file (`$XDG_CONFIG_HOME/rr-run/config.toml`) is read first, then `rr-run.toml` of
//! the working directory; or only the file that `--config` names. A later file's values replace
//! those of an earlier one, its lists and policies are added. The command line has the last word.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::policy::Policy;
use crate::redact;
use crate::session::manifest::TlsMode;

/// Name of the file in the working directory.
pub const FILE: &str = "rr-run.toml";

/// All sections.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `[policy]`: what guests may do.
    pub policy: Policy,
    /// `[record]`: how to record.
    pub record: Record,
    /// `[redact]`: what is secret.
    pub redact: Redact,
    /// `[replay]`: how recorded answers are served.
    pub replay: Replay,
}

/// The section `[redact]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Redact {
    /// Leave secrets in sessions.
    pub off: Option<bool>,
    /// A file of further rules.
    pub rules: Option<PathBuf>,
}

/// The section `[replay]`, of network replay and `rr-run serve`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Replay {
    /// Files of rules for what may differ, and faults.
    pub rules: Vec<PathBuf>,
}

/// The section `[record]`: defaults of `rr-run record`'s options of the same names.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Record {
    /// zstd level.
    pub compress: Option<i32>,
    /// Size at which recording ends.
    pub max_size: Option<String>,
    /// Seconds to wait for background processes.
    pub linger: Option<f64>,
    /// End the program if a call can't be recorded.
    pub strict: Option<bool>,
    /// What to do about TLS.
    pub tls: Option<TlsMode>,
}

impl Redact {
    /// What redaction is to do.
    pub fn into_options(self) -> redact::Options {
        redact::Options { off: self.off.unwrap_or(false), rules: self.rules }
    }
}

impl Config {
    /// Reads `only`, or the files that there are.
    ///
    /// # Errors
    /// [`Error::Config`], or the system's.
    pub fn load(only: Option<&Path>) -> Result<Config> {
        if let Some(path) = only {
            return Config::read(path);
        }
        let cwd = std::env::current_dir().map_err(Error::io("find the working directory"))?;
        let mut config = Config::default();
        for path in own_file().into_iter().chain([cwd.join(FILE)]) {
            if path.is_file() {
                config = config.and(Config::read(&path)?);
            }
        }
        Ok(config)
    }

    /// Reads one file. Paths in it are relative to its directory.
    ///
    /// # Errors
    /// [`Error::Config`], or the system's.
    pub fn read(path: &Path) -> Result<Config> {
        let text = std::fs::read_to_string(path).map_err(Error::file("read", path))?;
        let mut config: Config = toml::from_str(&text).map_err(|e| Error::Config {
            file: path.to_owned(),
            reason: e.to_string().trim_end().to_owned(),
        })?;
        let path = std::path::absolute(path).map_err(Error::file("find", path))?;
        let dir = path.parent().unwrap_or(Path::new("/"));
        config.policy.rooted_at(dir);
        let files = config.replay.rules.iter_mut().chain(&mut config.redact.rules);
        files.for_each(|file| *file = dir.join(&file));
        Ok(config)
    }

    /// This configuration with what a nearer file says.
    fn and(self, nearer: Config) -> Config {
        let (far, near) = (self.record, nearer.record);
        Config {
            policy: self.policy.and(nearer.policy),
            record: Record {
                compress: near.compress.or(far.compress),
                max_size: near.max_size.or(far.max_size),
                linger: near.linger.or(far.linger),
                strict: near.strict.or(far.strict),
                tls: near.tls.or(far.tls),
            },
            redact: Redact {
                off: nearer.redact.off.or(self.redact.off),
                rules: nearer.redact.rules.or(self.redact.rules),
            },
            replay: Replay { rules: [self.replay.rules, nearer.replay.rules].concat() },
        }
    }
}

/// The user's own file, if a place for it is known.
fn own_file() -> Option<PathBuf> {
    let absolute =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let dir = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?;
    Some(dir.join("rr-run/config.toml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nearer_file_replaces_values_and_adds_to_the_policy() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let far = "[policy]\nallow_write = ['out']\n[record]\ncompress = 3\n\
                   [replay]\nrules = ['r.toml']\n";
        let far = write("a.toml", far);
        let near = write("b.toml", "[policy]\ndeny_net = true\n[record]\ntls = 'passive'\n");
        let both = Config::read(&far).unwrap().and(Config::read(&near).unwrap());
        let out = dir.path().canonicalize().unwrap().join("out");
        assert_eq!(both.policy.allow_write, [out]);
        assert!(!both.policy.deny_net.is_nothing());
        assert_eq!((both.record.compress, both.record.tls), (Some(3), Some(TlsMode::Passive)));
        assert_eq!(both.replay.rules, [dir.path().join("r.toml")]);
        let bad = write("c.toml", "[policy]\nallow_wirte = []\n");
        let error = Config::read(&bad).unwrap_err().to_string();
        assert!(error.contains("c.toml") && error.contains("allow_wirte"), "{error}");
    }
}
