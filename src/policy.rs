//! The policy: what a guest may write, reach and execute, as the user says it, and how it comes
//! to the shim, which enforces it (`preload/src/policy.rs`).
//!
//! This keeps a program that means well within its bounds. It is no sandbox: see docs/policy.md.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::Ordering;

use log_format::policy::{PolicyHeader, RULES_BYTES, restricts, rule, verdict};
use serde::{Deserialize, Serialize};

use crate::access::lexical;
use crate::error::{Error, Result};

/// Where names without a name server come from.
const HOSTS: &str = "/etc/hosts";

/// What a guest may do. The default restricts nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Hosts that can be reached; if there are any, others can't.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow_net: Vec<Host>,
    /// Hosts that can't be reached, or (true) none but those allowed can.
    #[serde(skip_serializing_if = "Denied::is_nothing")]
    pub deny_net: Denied<Host>,
    /// Directories (or files) beneath which files can be written; if there are any, no others can.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow_write: Vec<PathBuf>,
    /// No file can be written but those allowed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub deny_write: bool,
    /// Programs that can be executed; if there are any, others can't.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow_exec: Vec<String>,
    /// Programs that can't be executed, or (true) none but those allowed can.
    #[serde(skip_serializing_if = "Denied::is_nothing")]
    pub deny_exec: Denied<String>,
}

/// What is denied: all that is not allowed, or these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Denied<T> {
    /// `true`: all that is not allowed.
    All(bool),
    /// These.
    These(Vec<T>),
}

impl<T> Default for Denied<T> {
    fn default() -> Denied<T> {
        Denied::These(Vec::new())
    }
}

impl<T> Denied<T> {
    /// Whether nothing is.
    pub fn is_nothing(&self) -> bool {
        match self {
            Denied::All(all) => !all,
            Denied::These(these) => these.is_empty(),
        }
    }

    fn all(&self) -> bool {
        matches!(self, Denied::All(true))
    }

    fn these(&self) -> &[T] {
        match self {
            Denied::All(_) => &[],
            Denied::These(these) => these,
        }
    }

    fn and(self, more: Denied<T>) -> Denied<T> {
        match (self, more) {
            (Denied::All(true), _) | (_, Denied::All(true)) => Denied::All(true),
            (Denied::These(mut these), Denied::These(more)) => {
                these.extend(more);
                Denied::These(these)
            }
            (Denied::All(false), other) | (other, Denied::All(false)) => other,
        }
    }
}

/// Hosts, and a port or all: `HOST`, `HOST:PORT`, `ADDRESS/BITS`, `[V6]:PORT`, `*.example.org`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Host {
    who: Who,
    /// 0: every port.
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Who {
    Name(String),
    Network(IpAddr, u8),
}

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Host, String> {
        let wrong = || format!("'{text}' is no HOST, HOST:PORT or ADDRESS/BITS");
        let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((v6, "")) => (v6, None),
            Some((v6, rest)) => (v6, Some(rest.strip_prefix(':').ok_or_else(wrong)?)),
            // More than one colon: an address of version 6.
            None if text.matches(':').count() > 1 => (text, None),
            None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        let port = match port {
            None | Some("*") => 0,
            Some(port) => port.parse().ok().filter(|p| *p > 0).ok_or_else(wrong)?,
        };
        let (address, bits) = host.split_once('/').map_or((host, None), |(a, b)| (a, Some(b)));
        if let Ok(ip) = address.parse::<IpAddr>() {
            let most = if ip.is_ipv4() { 32 } else { 128 };
            let bits = bits.map_or(Ok(most), str::parse).map_err(|_| wrong())?;
            if bits > most {
                return Err(wrong());
            }
            return Ok(Host { who: Who::Network(ip, bits), port });
        }
        let name = host.strip_prefix("*.").unwrap_or(host).trim_end_matches('.');
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > 253 || !name.chars().all(fits) {
            return Err(wrong());
        }
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        Ok(Host { who: Who::Name(name), port })
    }
}

impl TryFrom<String> for Host {
    type Error = String;

    fn try_from(text: String) -> Result<Host, String> {
        text.parse()
    }
}

impl From<Host> for String {
    fn from(host: Host) -> String {
        let text = match host.who {
            Who::Name(name) => name,
            Who::Network(IpAddr::V4(ip), 32) => ip.to_string(),
            Who::Network(ip @ IpAddr::V4(_), bits) => format!("{ip}/{bits}"),
            Who::Network(IpAddr::V6(ip), 128) => format!("[{ip}]"),
            Who::Network(ip @ IpAddr::V6(_), bits) => format!("[{ip}/{bits}]"),
        };
        if host.port == 0 { text } else { format!("{text}:{}", host.port) }
    }
}

/// One denial that was not recorded, of a network replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Key of the process.
    pub process: u64,
    /// What was denied.
    pub text: String,
}

impl Policy {
    /// Whether nothing is restricted.
    pub fn is_empty(&self) -> bool {
        self.restricted() == 0
    }

    /// This policy, and what another says beside it.
    #[must_use]
    pub fn and(mut self, more: Policy) -> Policy {
        self.allow_net.extend(more.allow_net);
        self.deny_net = self.deny_net.and(more.deny_net);
        self.allow_write.extend(more.allow_write);
        self.deny_write |= more.deny_write;
        self.allow_exec.extend(more.allow_exec);
        self.deny_exec = self.deny_exec.and(more.deny_exec);
        self
    }

    /// Makes paths absolute, relative to `dir`, and free of links as far as they are there.
    pub fn rooted_at(&mut self, dir: &Path) {
        let absolute = |path: &Path| {
            let path = dir.join(path);
            std::fs::canonicalize(&path).unwrap_or_else(|_| lexical(&path))
        };
        self.allow_write.iter_mut().for_each(|path| *path = absolute(path));
        let program = |name: &mut String| {
            if name.contains('/')
                && let Some(path) = absolute(Path::new(name)).to_str()
            {
                *name = path.to_owned();
            }
        };
        self.allow_exec.iter_mut().for_each(program);
        if let Denied::These(these) = &mut self.deny_exec {
            these.iter_mut().for_each(program);
        }
    }

    fn restricted(&self) -> u32 {
        let bit = |set: bool, bit| if set { bit } else { 0 };
        bit(!self.allow_net.is_empty() || self.deny_net.all(), restricts::NET)
            | bit(!self.deny_net.these().is_empty(), restricts::NET_DENIES)
            | bit(!self.allow_write.is_empty() || self.deny_write, restricts::WRITE)
            | bit(!self.allow_exec.is_empty() || self.deny_exec.all(), restricts::EXEC)
            | bit(!self.deny_exec.these().is_empty(), restricts::EXEC_DENIES)
    }

    /// Puts the policy where the shim reads it.
    ///
    /// # Errors
    /// [`Error::Usage`] if there is no room for it.
    pub fn install(&self, header: &PolicyHeader) -> Result<()> {
        let hosts = std::fs::read_to_string(HOSTS).unwrap_or_default();
        let mut rules: Vec<u8> = Vec::new();
        let mut put = |letter: u8, text: &[u8]| {
            rules.push(letter);
            rules.extend_from_slice(text);
            rules.push(0);
        };
        for dir in &self.allow_write {
            put(rule::WRITE, dir.as_os_str().as_bytes());
        }
        for (letter, programs) in
            [(rule::EXEC, &self.allow_exec[..]), (rule::EXEC_DENIED, self.deny_exec.these())]
        {
            programs.iter().for_each(|name| put(letter, name.as_bytes()));
        }
        for (letter, said, hosts_said) in [
            (rule::NAME, verdict::ALLOWED, &self.allow_net[..]),
            (rule::NAME_DENIED, verdict::DENIED, self.deny_net.these()),
        ] {
            for Host { who, port } in hosts_said {
                let known = match who {
                    Who::Name(name) => {
                        put(letter, format!("{port} {name}").as_bytes());
                        in_hosts(&hosts, name)
                    }
                    Who::Network(ip, bits) => vec![(*ip, *bits)],
                };
                for (ip, bits) in known {
                    let (version, bytes) = raw(ip);
                    if !header.add(said, bits.into(), version, *port, bytes) {
                        return Err(Error::Usage("the policy names too many addresses".into()));
                    }
                }
            }
        }
        if rules.len() >= RULES_BYTES {
            return Err(Error::Usage("the policy's rules are too long".into()));
        }
        for (to, from) in header.rules.iter().zip(rules) {
            to.store(from, Ordering::Relaxed);
        }
        header.restricts.store(self.restricted(), Ordering::Release);
        Ok(())
    }
}

/// Takes the denials that were left in the arena; `taken` counts those that were.
pub fn denials(header: &PolicyHeader, taken: &mut u64) -> Vec<Refusal> {
    let mut found = Vec::new();
    header.denials.take(taken, |process, text| {
        found.push(Refusal { process, text: String::from_utf8_lossy(text).into_owned() });
    });
    found
}

/// Addresses of a name that need no name server.
fn in_hosts(hosts: &str, name: &str) -> Vec<(IpAddr, u8)> {
    let whole = |ip: IpAddr| (ip, if ip.is_ipv4() { 32 } else { 128 });
    let mut found: Vec<(IpAddr, u8)> = Vec::new();
    if name == "localhost" || name.ends_with(".localhost") {
        found.push((Ipv4Addr::new(127, 0, 0, 0).into(), 8));
        found.push(whole(Ipv6Addr::LOCALHOST.into()));
    }
    for line in hosts.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(Ok(ip)) = words.next().map(str::parse::<IpAddr>) else { continue };
        if words.any(|word| log_format::policy::is_named(word.as_bytes(), name.as_bytes())) {
            found.push(whole(ip));
        }
    }
    found
}

/// Version and bytes, as the arena has them.
fn raw(ip: IpAddr) -> (u8, [u8; 16]) {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&ip.octets());
            (4, bytes)
        }
        IpAddr::V6(ip) => (6, ip.octets()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_ports_and_networks_have_bits() {
        for text in [
            "api.example.org",
            "api.example.org:443",
            "*.example.org:443",
            "10.0.0.0/8",
            "192.0.2.1:80",
            "[2001:db8::1]:80",
            "[2001:db8::1]",
        ] {
            assert_eq!(String::from(text.parse::<Host>().unwrap()), text);
        }
        assert_eq!(String::from("::1".parse::<Host>().unwrap()), "[::1]");
        assert_eq!(String::from("A.Example.:*".parse::<Host>().unwrap()), "a.example");
        for bad in ["", ":80", "a b", "x:0", "x:99999", "10.0.0.0/33", "[::1]80", "http://x/"] {
            assert!(bad.parse::<Host>().is_err(), "{bad}");
        }
    }

    #[test]
    fn policies_add_up() {
        let first: Policy = toml::from_str("allow_net = ['a']\ndeny_exec = ['curl']").unwrap();
        let second: Policy = toml::from_str("deny_net = true\ndeny_exec = ['wget']").unwrap();
        let both = first.and(second);
        assert_eq!(both.deny_net, Denied::All(true));
        assert_eq!(both.deny_exec.these(), ["curl", "wget"]);
        assert!(Policy::default().is_empty() && !both.is_empty());
        let round: Policy = toml::from_str(&toml::to_string(&both).unwrap()).unwrap();
        assert_eq!(round, both);
    }

    #[test]
    fn the_hosts_file_names_addresses() {
        let hosts = "10.1.2.3 db db.internal # here\n#10.1.2.4 db\n";
        let ip: IpAddr = "10.1.2.3".parse().unwrap();
        assert_eq!(in_hosts(hosts, "db.internal"), [(ip, 32)]);
        assert_eq!(in_hosts(hosts, "*.internal"), [(ip, 32)]);
        assert_eq!(in_hosts(hosts, "localhost").len(), 2);
    }
}
