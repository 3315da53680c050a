//! Options about what guests may do.

use std::path::PathBuf;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::policy::{Denied, Host, Policy};

/// What the guest may do; see docs/policy.md.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Policy and configuration")]
pub(super) struct PolicyArgs {
    /// Let only these hosts be reached: a name, *.DOMAIN or ADDRESS/BITS, with or without a port
    #[arg(long, value_name = "HOST[:PORT]")]
    allow_net: Vec<Host>,
    /// Let no host be reached but those allowed; with a value, not this one
    #[arg(long, value_name = "HOST[:PORT]", num_args = 0..=1, require_equals = true)]
    deny_net: Option<Vec<Host>>,
    /// Let only files beneath these directories be written
    #[arg(long, value_name = "DIR")]
    allow_write: Vec<PathBuf>,
    /// Let no file be written but beneath the directories allowed
    #[arg(long)]
    deny_write: bool,
    /// Let only these programs be executed (by name, path or directory)
    #[arg(long, value_name = "PROGRAM")]
    allow_exec: Vec<String>,
    /// Let no program be executed but those allowed; with a value, not this one
    #[arg(long, value_name = "PROGRAM", num_args = 0..=1, require_equals = true)]
    deny_exec: Option<Vec<String>>,
    /// Read this configuration file, rather than rr-run.toml here and the user's own
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl PolicyArgs {
    /// The configuration, with the policy of the command line in it.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub(super) fn config(&self) -> Result<Config> {
        let mut config = Config::load(self.config.as_deref())?;
        let cwd = std::env::current_dir().map_err(Error::io("find the working directory"))?;
        let mut policy = Policy {
            allow_net: self.allow_net.clone(),
            deny_net: denied(self.deny_net.as_ref()),
            allow_write: self.allow_write.clone(),
            deny_write: self.deny_write,
            allow_exec: self.allow_exec.clone(),
            deny_exec: denied(self.deny_exec.as_ref()),
        };
        policy.rooted_at(&cwd);
        config.policy = config.policy.and(policy);
        Ok(config)
    }
}

/// None: the option is not there; no value: all.
fn denied<T: Clone>(given: Option<&Vec<T>>) -> Denied<T> {
    match given {
        None => Denied::default(),
        Some(these) if these.is_empty() => Denied::All(true),
        Some(these) => Denied::These(these.clone()),
    }
}
