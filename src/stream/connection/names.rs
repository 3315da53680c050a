//! Names that were looked up for addresses.

use std::collections::HashMap;
use std::net::IpAddr;

use simple_dns::Packet;
use simple_dns::rdata::RData;

/// Port of name servers.
pub(super) const DNS_PORT: u16 = 53;
/// Most names kept.
const NAMES_MAX: usize = 65536;

/// Names by address.
#[derive(Debug, Default)]
pub(super) struct Names {
    looked_up: HashMap<IpAddr, String>,
    /// From `/etc/hosts`, which names what nobody has asked for as well.
    hosts: HashMap<IpAddr, String>,
}

impl Names {
    /// The name that was last looked up for an address.
    pub(super) fn get(&self, ip: IpAddr) -> Option<&str> {
        let ip = ip.to_canonical();
        self.looked_up.get(&ip).or_else(|| self.hosts.get(&ip)).map(String::as_str)
    }

    /// Learns from a name server's answer.
    pub(super) fn answer(&mut self, bytes: &[u8]) {
        let Ok(packet) = Packet::parse(bytes) else { return };
        // Aliases lead from the asked name to addresses: the asked one is what the user knows.
        let Some(question) = packet.questions.first() else { return };
        let name = question.qname.to_string();
        for answer in &packet.answers {
            let ip = match &answer.rdata {
                RData::A(a) => IpAddr::from(a.address.to_be_bytes()),
                RData::AAAA(a) => IpAddr::from(a.address.to_be_bytes()),
                _ => continue,
            };
            if self.looked_up.len() < NAMES_MAX {
                self.looked_up.insert(ip, name.clone());
            }
        }
    }

    /// Learns from bytes of `/etc/hosts`; a line that is cut is left out.
    pub(super) fn hosts(&mut self, bytes: &[u8]) {
        for line in String::from_utf8_lossy(bytes).lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            if let (Some(Ok(ip)), Some(name)) =
                (words.next().map(str::parse::<IpAddr>), words.next())
                && self.hosts.len() < NAMES_MAX
            {
                self.hosts.entry(ip).or_insert_with(|| name.to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_answers_and_then_from_the_hosts_file() {
        let mut names = Names::default();
        names.hosts(b"127.0.0.1 localhost lh # here\n::1 localhost\n10.0.0.1\n1.2.3.4 old");
        // example.org CNAME a.example.org, A 1.2.3.4.
        let mut answer =
            b"\0\x01\x81\x80\0\x01\0\x02\0\0\0\0\x07example\x03org\0\0\x01\0\x01".to_vec();
        answer.extend_from_slice(b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x04\x01a\xc0\x0c");
        answer.extend_from_slice(b"\xc0\x29\0\x01\0\x01\0\0\0\x3c\0\x04\x01\x02\x03\x04");
        names.answer(&answer);
        names.answer(b"junk");
        let name = |ip: &str| names.get(ip.parse().unwrap());
        assert_eq!(name("1.2.3.4"), Some("example.org"));
        assert_eq!(name("::ffff:1.2.3.4"), Some("example.org"));
        assert_eq!((name("::1"), name("10.0.0.1")), (Some("localhost"), None));
    }
}
