//! What serving needs besides a player.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use super::head::Spellings;
use super::upstream::Upstream;
use crate::error::{Error, Result};
use crate::intercept::certs::Authority;
use crate::intercept::trust::{self, Trust};
use crate::player::layer::Layer;
use crate::redact;
use crate::session::manifest::ByteText;

/// What serving needs besides a player.
#[derive(Default)]
pub struct Setup {
    /// Whether pages of other origins may read the answers.
    pub(super) cors: bool,
    pub(super) authority: Option<Authority>,
    /// Names that clients may have connected to an address by.
    names: HashMap<IpAddr, Vec<String>>,
    /// Recorded destinations, and whether there is something to answer for them.
    pub(super) spoken: HashMap<SocketAddr, bool>,
    pub(super) upstream: Option<Upstream>,
    pub(super) spellings: Spellings,
}

impl Setup {
    /// Without TLS; `cors` says whether pages of other origins may read the answers.
    pub fn new(cors: bool) -> Setup {
        Setup { cors, ..Setup::default() }
    }

    /// Asks the real services in hybrid mode; what comes is kept in a new layer of the session in
    /// `dir`.
    ///
    /// # Errors
    /// The system's.
    pub fn with_upstream(&mut self, dir: &Path, redact: &redact::Options) -> Result<()> {
        self.upstream = Some(Upstream::new(Layer::new(dir, redact)?)?);
        Ok(())
    }

    /// Names with their addresses, as recorded: TLS certificates are good for them.
    pub(crate) fn with_names(&mut self, names: &[(String, Vec<IpAddr>)]) {
        for (name, addresses) in names {
            for address in addresses {
                self.names.entry(*address).or_default().push(name.clone());
            }
        }
    }

    /// Recorded destinations, and whether HTTP was spoken there, as far as could be read: where it
    /// was not, clients are not left to wait.
    pub(crate) fn with_spoken(&mut self, destinations: HashMap<SocketAddr, bool>) {
        self.spoken = destinations;
    }

    pub(super) fn names(&self, address: IpAddr) -> Vec<String> {
        let mut names = self.names.get(&address).cloned().unwrap_or_default();
        if address.is_loopback() {
            names.push("localhost".into());
        }
        names
    }

    /// Serves TLS too, on the same port, with certificates of a new authority; its PEM, which
    /// clients must trust.
    ///
    /// # Errors
    /// The system's, without randomness.
    pub fn with_tls(&mut self) -> Result<String> {
        let authority = Authority::new()?;
        let pem = authority.pem();
        self.authority = Some(authority);
        Ok(pem)
    }

    /// Serves TLS too, and writes bundles to `dir` that make a program with this environment
    /// trust it.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn with_trust(&mut self, dir: &Path, env: &mut Vec<ByteText>) -> Result<Trust> {
        let authority = Authority::new()?;
        let cwd = std::env::current_dir().map_err(Error::io("find the working directory"))?;
        let trust = trust::give(&authority, dir, &cwd, env)?;
        self.authority = Some(authority);
        Ok(trust)
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tls = self.authority.is_some();
        f.debug_struct("Setup").field("cors", &self.cors).field("tls", &tls).finish()
    }
}
