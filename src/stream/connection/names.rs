//! Names that were looked up for addresses.

use std::collections::HashMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use simple_dns::rdata::RData;
use simple_dns::{Packet, PacketFlag, Question, RCODE};

/// Most names kept, and most lookups.
const NAMES_MAX: usize = 65536;
/// Most answers to one question that are kept.
const ANSWERS_MAX: usize = 64;

/// A question that was put to name servers, and their answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lookup {
    /// The name, [`canonical`].
    pub name: String,
    /// Type of the records that were wanted (RFC 1035, QTYPE): 1 for IPv4 addresses, 28 for IPv6.
    pub kind: u16,
    /// The answers, each a message (RFC 1035, section 4), in the order in which they came.
    pub answers: Vec<Vec<u8>>,
}

/// A name as lookups have it: in lower case, without a dot at its end.
pub fn canonical(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

impl Lookup {
    /// Whether a name server has said that the name exists.
    pub fn succeeded(&self) -> bool {
        let exists = |answer: &Packet<'_>| answer.rcode() == RCODE::NoError;
        self.answers.iter().any(|bytes| Packet::parse(bytes).is_ok_and(|answer| exists(&answer)))
    }

    /// The name of a question as it stands here, and its type.
    pub fn key(question: &Question<'_>) -> (String, u16) {
        (canonical(&question.qname.to_string()), question.qtype.into())
    }
}

/// Names by address, and lookups.
#[derive(Debug, Default)]
pub(super) struct Names {
    looked_up: HashMap<IpAddr, String>,
    /// From `/etc/hosts`, which names what nobody has asked for as well.
    hosts: HashMap<IpAddr, String>,
    lookups: Vec<Lookup>,
    /// Places in `lookups`.
    places: HashMap<(String, u16), usize>,
}

impl Names {
    /// The name that was last looked up for an address.
    pub(super) fn get(&self, ip: IpAddr) -> Option<&str> {
        let ip = ip.to_canonical();
        self.looked_up.get(&ip).or_else(|| self.hosts.get(&ip)).map(String::as_str)
    }

    /// All lookups, in the order in which they were first made.
    pub(super) fn into_lookups(self) -> Vec<Lookup> {
        self.lookups
    }

    fn lookup(&mut self, question: &Question<'_>) -> Option<&mut Lookup> {
        let key = Lookup::key(question);
        let place = match self.places.get(&key) {
            Some(place) => *place,
            None if self.lookups.len() >= NAMES_MAX => return None,
            None => {
                let (name, kind) = key.clone();
                self.lookups.push(Lookup { name, kind, answers: Vec::new() });
                self.places.insert(key, self.lookups.len() - 1);
                self.lookups.len() - 1
            }
        };
        self.lookups.get_mut(place)
    }

    /// Learns from a question to a name server.
    pub(super) fn question(&mut self, bytes: &[u8]) {
        let Ok(packet) = Packet::parse(bytes) else { return };
        if let Some(question) = packet.questions.first() {
            self.lookup(question);
        }
    }

    /// Learns from a name server's answer.
    pub(super) fn answer(&mut self, bytes: &[u8]) {
        let Ok(packet) = Packet::parse(bytes) else { return };
        // Aliases lead from the asked name to addresses: the asked one is what the user knows.
        let Some(question) = packet.questions.first() else { return };
        // The whole of one that was cut short comes by TCP.
        let cut = packet.has_flags(PacketFlag::TRUNCATION);
        if let Some(lookup) = self.lookup(question)
            && lookup.answers.len() < ANSWERS_MAX
            && !cut
        {
            lookup.answers.push(bytes.to_vec());
        }
        let name = question.qname.to_string();
        for ip in addresses(&packet) {
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

/// Addresses in an answer.
fn addresses(packet: &Packet<'_>) -> impl Iterator<Item = IpAddr> {
    packet.answers.iter().filter_map(|answer| match &answer.rdata {
        RData::A(a) => Some(IpAddr::from(a.address.to_be_bytes())),
        RData::AAAA(a) => Some(IpAddr::from(a.address.to_be_bytes())),
        _ => None,
    })
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
            b"\0\x01\x81\x80\0\x01\0\x02\0\0\0\0\x07Example\x03org\0\0\x01\0\x01".to_vec();
        answer.extend_from_slice(b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x04\x01a\xc0\x0c");
        answer.extend_from_slice(b"\xc0\x29\0\x01\0\x01\0\0\0\x3c\0\x04\x01\x02\x03\x04");
        names.answer(&answer);
        names.answer(b"junk");
        names.question(b"\0\x02\x01\0\0\x01\0\0\0\0\0\0\x04none\0\0\x1c\0\x01");
        let name = |ip: &str| names.get(ip.parse().unwrap());
        assert_eq!(name("1.2.3.4"), Some("Example.org"));
        assert_eq!(name("::ffff:1.2.3.4"), Some("Example.org"));
        assert_eq!((name("::1"), name("10.0.0.1")), (Some("localhost"), None));
        let lookup = |name: &str, kind, answers| Lookup { name: name.into(), kind, answers };
        let expected = [lookup("example.org", 1, vec![answer]), lookup("none", 28, vec![])];
        assert_eq!(names.into_lookups(), expected);
    }
}
