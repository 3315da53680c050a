//! The name server of a network replay: answers from what it was told, asks nobody.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use simple_dns::rdata::{A, AAAA, RData};
use simple_dns::{CLASS, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::stream::Lookup;
use crate::stream::connection::canonical;

/// Tells resolvers what to ask.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// How long an answer may be kept, seconds.
const TTL: u32 = 60;

/// Says something of a host, by its name: that it exists though it was not recorded, say.
pub type Fits = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// Names and what is answered for them: what name servers answered while recording, else the
/// addresses that were connected to.
///
/// A name that is known without an address gets one of 198.18.0.0/15, which is set aside for
/// tests (RFC 2544): the player tells hosts by their names.
#[derive(Default)]
pub struct Names {
    addresses: BTreeMap<String, Vec<IpAddr>>,
    /// Recorded answers, by name and type.
    recorded: HashMap<(String, u16), Answers>,
    made_up: u32,
    others: Option<Fits>,
    /// Domains that resolvers here append to names.
    search: Vec<String>,
    /// Lookups so far: name and whether it was known.
    asked: Vec<(String, bool)>,
}

/// Recorded answers to one question, and how many of them were given so far.
struct Answers {
    all: Vec<Vec<u8>>,
    given: usize,
}

impl Names {
    /// Names with their recorded addresses.
    pub fn new(known: impl IntoIterator<Item = (String, Vec<IpAddr>)>) -> Names {
        let mut names = Names::default();
        for (name, mut addresses) in known {
            if addresses.is_empty() {
                addresses.push(names.make_up());
            }
            names.addresses.entry(canonical(&name)).or_default().append(&mut addresses);
        }
        names
    }

    /// Answers these lookups as recorded.
    #[must_use]
    pub fn with_recorded(mut self, lookups: impl IntoIterator<Item = Lookup>) -> Names {
        let answers = |all| Answers { all, given: 0 };
        self.recorded.extend(lookups.into_iter().map(|l| ((l.name, l.kind), answers(l.answers))));
        self
    }

    /// Makes up addresses for names that are not known and fit this.
    #[must_use]
    pub fn with_others(mut self, others: Fits) -> Names {
        self.others = Some(others);
        self.search = search_domains(&fs::read_to_string(RESOLV_CONF).unwrap_or_default());
        self
    }

    /// Whether a name is another that is known, with a domain that the resolver has put behind it
    /// by itself: which ones it tries is the machine's business, not the program's.
    fn is_search(&self, name: &str) -> bool {
        let known = |name: &str| {
            let recorded = |kind: TYPE| self.recorded.contains_key(&(name.to_owned(), kind.into()));
            self.addresses.contains_key(name) || recorded(TYPE::A) || recorded(TYPE::AAAA)
        };
        let mut begins = self.search.iter().filter_map(|domain| name.strip_suffix(domain.as_str()));
        begins.any(|begin| begin.strip_suffix('.').is_some_and(known))
    }

    /// The recorded answer to a question, as a reply to this query.
    fn replayed(&mut self, query: &Packet<'_>) -> Option<Vec<u8>> {
        let [question] = query.questions.as_slice() else { return None };
        let key = Lookup::key(question);
        let Answers { all, given } = self.recorded.get_mut(&key)?;
        let answer = all.get(*given).or(all.last());
        *given += 1;
        let mut reply = match answer {
            Some(answer) => Packet::parse(answer).ok()?,
            None if self.addresses.contains_key(&key.0) => return None,
            // No answer came: the resolver need not wait for that.
            None => {
                let mut reply = Packet::new_reply(query.id());
                *reply.rcode_mut() = RCODE::ServerFailure;
                reply
            }
        };
        reply.set_id(query.id());
        reply.questions.clone_from(&query.questions);
        let bytes = reply.build_bytes_vec_compressed().ok()?;
        let exists = reply.rcode() == RCODE::NoError;
        self.note(key.0, exists);
        Some(bytes)
    }

    fn note(&mut self, name: String, known: bool) {
        if !self.asked.iter().any(|(asked, _)| *asked == name) {
            self.asked.push((name, known));
        }
    }

    fn make_up(&mut self) -> IpAddr {
        self.made_up += 1;
        let [.., c, d] = self.made_up.to_be_bytes();
        Ipv4Addr::new(198, 18, c, d).into()
    }

    /// A name that has this address.
    pub fn name_of(&self, address: IpAddr) -> Option<&str> {
        let mut all = self.addresses.iter();
        all.find(|(_, addresses)| addresses.contains(&address)).map(|(name, _)| name.as_str())
    }

    /// Lookups so far: the name, and whether it was known.
    pub fn asked(&self) -> &[(String, bool)] {
        &self.asked
    }

    fn find(&mut self, name: &str) -> Option<&[IpAddr]> {
        let name = canonical(name);
        let is_other = |names: &Names| names.others.as_ref().is_some_and(|fits| fits(&name));
        if !self.addresses.contains_key(&name) && is_other(self) && !self.is_search(&name) {
            let address = self.make_up();
            self.addresses.insert(name.clone(), vec![address]);
        }
        self.note(name.clone(), self.addresses.contains_key(&name));
        self.addresses.get(&name).map(Vec::as_slice)
    }

    /// The answer to a query, or nothing for bytes that are none.
    pub fn answer(&mut self, query: &[u8]) -> Option<Vec<u8>> {
        let query = Packet::parse(query).ok()?;
        if query.has_flags(PacketFlag::RESPONSE) {
            return None;
        }
        if let Some(reply) = self.replayed(&query) {
            return Some(reply);
        }
        let mut reply = Packet::new_reply(query.id());
        reply.set_flags(PacketFlag::RECURSION_AVAILABLE);
        if query.has_flags(PacketFlag::RECURSION_DESIRED) {
            reply.set_flags(PacketFlag::RECURSION_DESIRED);
        }
        for question in &query.questions {
            reply.questions.push(question.clone());
            let Some(addresses) = self.find(&question.qname.to_string()) else {
                *reply.rcode_mut() = RCODE::NameError;
                continue;
            };
            for address in addresses {
                let data = match address {
                    IpAddr::V4(ip) if asks(question.qtype, TYPE::A) => RData::A(A::from(*ip)),
                    IpAddr::V6(ip) if asks(question.qtype, TYPE::AAAA) => {
                        RData::AAAA(AAAA::from(*ip))
                    }
                    _ => continue,
                };
                let name = question.qname.clone();
                reply.answers.push(ResourceRecord::new(name, CLASS::IN, TTL, data));
            }
        }
        reply.build_bytes_vec_compressed().ok()
    }
}

/// Domains that resolvers append to names (resolv.conf(5)).
fn search_domains(resolv_conf: &str) -> Vec<String> {
    let lists = resolv_conf.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        matches!(words.next(), Some("search" | "domain")).then_some(words)
    });
    lists.flatten().map(canonical).collect()
}

fn asks(wanted: QTYPE, kind: TYPE) -> bool {
    wanted == QTYPE::ANY || wanted == QTYPE::TYPE(kind)
}

/// Answers queries over UDP until the socket fails.
pub async fn over_udp(socket: UdpSocket, names: Arc<Mutex<Names>>) {
    let mut query = [0; 4096];
    while let Ok((len, from)) = socket.recv_from(&mut query).await {
        let reply = names.lock().ok().and_then(|mut names| names.answer(&query[..len]));
        if let Some(reply) = reply {
            let _ = socket.send_to(&reply, from).await;
        }
    }
}

/// Answers queries over TCP (RFC 7766: each behind its length) until the listener fails.
pub async fn over_tcp(listener: TcpListener, names: Arc<Mutex<Names>>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(conversation(stream, names.clone()));
    }
}

async fn conversation(mut stream: TcpStream, names: Arc<Mutex<Names>>) {
    while let Ok(len) = stream.read_u16().await {
        let mut query = vec![0; len.into()];
        if stream.read_exact(&mut query).await.is_err() {
            return;
        }
        let reply = names.lock().ok().and_then(|mut names| names.answer(&query));
        let Some(reply) = reply else { return };
        let mut out = (reply.len() as u16).to_be_bytes().to_vec();
        out.extend(reply);
        if stream.write_all(&out).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use simple_dns::{Name, QCLASS, Question};

    fn query(name: &str, kind: TYPE) -> Vec<u8> {
        let mut packet = Packet::new_query(7);
        let name = Name::new_unchecked(name).into_owned();
        packet.questions.push(Question::new(name, kind.into(), QCLASS::CLASS(CLASS::IN), false));
        packet.build_bytes_vec().unwrap()
    }

    #[test]
    fn known_names_have_their_addresses_and_others_do_not_exist() {
        let ip: IpAddr = "192.0.2.7".parse().unwrap();
        let mut names =
            Names::new([("API.example.org.".into(), vec![ip]), ("made.up".into(), vec![])]);
        let mut answers = |name: &str, kind| {
            let bytes = names.answer(&query(name, kind)).unwrap();
            let reply = Packet::parse(&bytes).unwrap();
            (reply.rcode(), reply.answers.len())
        };
        assert_eq!(answers("api.example.org", TYPE::A), (RCODE::NoError, 1));
        assert_eq!(answers("api.example.org", TYPE::AAAA), (RCODE::NoError, 0));
        assert_eq!(answers("made.up", TYPE::A), (RCODE::NoError, 1));
        assert_eq!(answers("elsewhere.org", TYPE::A), (RCODE::NameError, 0));
        assert_eq!(names.name_of(ip), Some("api.example.org"));
        assert_eq!(names.asked().len(), 3);
        assert_eq!(names.answer(b"no query"), None);
    }

    #[test]
    fn recorded_answers_come_in_their_order() {
        let address = |id: u16, ip: Option<[u8; 4]>| {
            let mut reply = Packet::new_reply(id);
            let name = Name::new_unchecked("two.example").into_owned();
            let class = QCLASS::CLASS(CLASS::IN);
            reply.questions.push(Question::new(name.clone(), TYPE::A.into(), class, false));
            match ip {
                Some(ip) => {
                    let data = RData::A(A::from(Ipv4Addr::from(ip)));
                    reply.answers.push(ResourceRecord::new(name, CLASS::IN, 9, data));
                }
                None => *reply.rcode_mut() = RCODE::NameError,
            }
            reply.build_bytes_vec().unwrap()
        };
        let lookup = |name: &str, answers| Lookup { name: name.into(), kind: 1, answers };
        let answers = vec![address(1, None), address(2, Some([192, 0, 2, 1]))];
        let recorded = [lookup("two.example", answers), lookup("silent.example", vec![])];
        let mut names = Names::default().with_recorded(recorded).with_others(Arc::new(|_| true));
        names.search = vec!["lan".into()];
        let mut answers = |name: &str| {
            let bytes = names.answer(&query(name, TYPE::A)).unwrap();
            let reply = Packet::parse(&bytes).unwrap();
            let asked = reply.questions.first().unwrap().qname.to_string();
            assert_eq!((reply.id(), asked.as_str()), (7, name));
            (reply.rcode(), reply.answers.len())
        };
        assert_eq!(answers("two.example"), (RCODE::NameError, 0));
        assert_eq!(answers("Two.example"), (RCODE::NoError, 1));
        assert_eq!(answers("two.example"), (RCODE::NoError, 1));
        assert_eq!(answers("silent.example"), (RCODE::ServerFailure, 0));
        // What the resolver tries by itself is not there; what is new is.
        assert_eq!(answers("two.example.lan"), (RCODE::NameError, 0));
        assert_eq!(answers("new.example.lan"), (RCODE::NoError, 1));
    }

    #[test]
    fn search_lists_are_read() {
        let domains = search_domains("nameserver ::1\nsearch a.b C.d.\n# search x\ndomain e\n");
        assert_eq!(domains, ["a.b", "c.d", "e"]);
    }
}
