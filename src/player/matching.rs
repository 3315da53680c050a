//! The index of a session's exchanges: which one answers a request.
//!
//! The ladder is short. First the exact canonical request, then the request under the rules;
//! what fits neither is a miss, and nothing is served for being similar. Equal requests are
//! answered in recorded order; each recorded exchange is served once, unless
//! [`Options::repeat`] says that a key starts over when it is exhausted.

use std::collections::HashMap;

use super::key::{Canonical, Fingerprint};
use super::rules::Rules;
use super::sketch::Sketch;
use super::turns;
use crate::error::Result;
use crate::stream::Exchange;

/// Exchanges prepared at a time.
const BATCH: usize = 4096;

/// How requests are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether a key starts over when all its exchanges were served.
    pub repeat: bool,
}

/// Whether the host is part of the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// It must be the recorded one.
    Same,
    /// Any: the client was pointed at the player by its base URL.
    Any,
}

/// Something that can be served: an exchange, or one turn of a WebSocket.
#[derive(Clone, Debug)]
pub struct Entry {
    /// [`Exchange::id`].
    pub exchange: u32,
    /// Turn of a WebSocket, from 1; 0 for an HTTP exchange and for the upgrade.
    pub turn: u32,
    /// Times it was served.
    pub served: u32,
    /// Which endpoint it asked: an index for [`Library::endpoint`].
    pub endpoint: u32,
    sketch: Sketch,
}

/// What was found for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The same canonical request: index of the entry.
    Exact(u32),
    /// The same under rules: index of the entry, and the rules that changed the request.
    Rule(u32, Vec<String>),
    /// Recorded, but served already as often as it was asked: the last entry with its key.
    Exhausted(u32),
    /// Not recorded.
    Nothing,
}

/// All entries of a session, indexed.
#[derive(Debug, Default)]
pub struct Library {
    entries: Vec<Entry>,
    exact: Index,
    ruled: Index,
    endpoints: Vec<Endpoint>,
    by_endpoint: HashMap<(String, String), Vec<u32>>,
    hosts: HashMap<String, u32>,
    rules: Rules,
    options: Options,
}

/// Method, host and path.
#[derive(Clone, Debug, Default)]
pub struct Endpoint {
    /// Method; `MESSAGE` for the turns of a WebSocket.
    pub method: String,
    /// Host.
    pub host: String,
    /// Path.
    pub path: String,
    group: Group,
}

/// Entries by host (0 for any) and fingerprint.
type Index = HashMap<(u32, Fingerprint), Group>;

/// Entries with the same key, in recorded order.
#[derive(Clone, Debug, Default)]
struct Group {
    entries: Vec<u32>,
    /// Entries before this one were served.
    next: usize,
    /// Next one to be served again.
    again: usize,
}

impl Group {
    fn unserved(&mut self, entries: &[Entry]) -> Option<u32> {
        while let Some(entry) = self.entries.get(self.next) {
            if entries.get(*entry as usize).is_some_and(|e| e.served == 0) {
                return Some(*entry);
            }
            self.next += 1;
        }
        None
    }

    fn repeated(&mut self) -> Option<u32> {
        let entry = self.entries.get(self.again % self.entries.len().max(1)).copied();
        self.again += 1;
        entry
    }
}

/// What is computed of one request, away from the index.
struct Prepared {
    exchange: u32,
    turn: u32,
    method: String,
    host: String,
    path: String,
    exact: Fingerprint,
    ruled: Fingerprint,
    sketch: Sketch,
}

impl Library {
    /// Indexes exchanges, given in recorded order.
    ///
    /// # Errors
    /// One of them can't be read.
    pub fn load(
        exchanges: impl IntoIterator<Item = Result<Exchange>>,
        rules: Rules,
        options: Options,
    ) -> Result<Library> {
        let mut library = Library { rules, options, ..Library::default() };
        let mut exchanges = exchanges.into_iter();
        loop {
            let batch = exchanges.by_ref().take(BATCH).collect::<Result<Vec<_>>>()?;
            if batch.is_empty() {
                return Ok(library);
            }
            for prepared in prepare_all(&batch, &library.rules)? {
                library.insert(prepared);
            }
        }
    }

    /// Adds one exchange, after all others.
    ///
    /// # Errors
    /// It can't be read.
    pub fn add(&mut self, exchange: &Exchange) -> Result<()> {
        for prepared in prepare(exchange, &self.rules)? {
            self.insert(prepared);
        }
        Ok(())
    }

    fn insert(&mut self, new: Prepared) {
        let index = self.entries.len() as u32;
        let hosts = self.hosts.len() as u32 + 1;
        let host = *self.hosts.entry(new.host.clone()).or_insert(hosts);
        let at = self.by_endpoint.entry((new.method.clone(), new.path.clone())).or_default();
        let known = at.iter().copied().find(|e| self.endpoints[*e as usize].host == new.host);
        let endpoint = known.unwrap_or(self.endpoints.len() as u32);
        if known.is_none() {
            at.push(endpoint);
            self.endpoints.push(Endpoint {
                method: new.method,
                host: new.host,
                path: new.path,
                group: Group::default(),
            });
        }
        self.entries.push(Entry {
            exchange: new.exchange,
            turn: new.turn,
            served: 0,
            endpoint,
            sketch: new.sketch,
        });
        for host in [0, host] {
            self.exact.entry((host, new.exact)).or_default().entries.push(index);
            self.ruled.entry((host, new.ruled)).or_default().entries.push(index);
        }
        self.endpoints[endpoint as usize].group.entries.push(index);
    }

    /// Endpoints with the request's method, path and (if it counts) host.
    fn endpoints_of(&self, request: &Canonical, host: Host) -> Vec<u32> {
        let key = (request.method.clone(), request.path.clone());
        let all = self.by_endpoint.get(&key).into_iter().flatten().copied();
        let same = |e: &u32| self.endpoints[*e as usize].host == request.host;
        all.filter(|e| host == Host::Any || same(e)).collect()
    }

    /// Finds what answers a request, and counts it as served.
    pub fn find(&mut self, request: &Canonical, host: Host) -> Found {
        let host = match host {
            Host::Any => 0,
            Host::Same => match self.hosts.get(&request.host) {
                Some(host) => *host,
                None => return Found::Nothing,
            },
        };
        let key = (host, request.fingerprint());
        if let Some(entry) = take(&mut self.exact, &mut self.entries, key) {
            return Found::Exact(entry);
        }
        let mut ruled = request.clone();
        let rules: Vec<String> =
            self.rules.apply(&mut ruled).into_iter().map(str::to_owned).collect();
        let ruled_key = (host, ruled.fingerprint());
        if let Some(entry) = take(&mut self.ruled, &mut self.entries, ruled_key) {
            return Found::Rule(entry, rules);
        }
        let exact = self.exact.contains_key(&key);
        let group = match exact {
            true => self.exact.get_mut(&key),
            false => self.ruled.get_mut(&ruled_key),
        };
        let Some(group) = group else { return Found::Nothing };
        if !self.options.repeat {
            return group.entries.last().map_or(Found::Nothing, |e| Found::Exhausted(*e));
        }
        let Some(entry) = group.repeated() else { return Found::Nothing };
        self.entries[entry as usize].served += 1;
        if exact { Found::Exact(entry) } else { Found::Rule(entry, rules) }
    }

    /// The next unserved entry of the request's endpoint, counted as served.
    pub fn next_in_sequence(&mut self, request: &Canonical, host: Host) -> Option<u32> {
        let at = self.endpoints_of(request, host);
        let firsts = at
            .into_iter()
            .filter_map(|e| self.endpoints.get_mut(e as usize)?.group.unserved(&self.entries));
        let entry = firsts.min()?;
        self.entries[entry as usize].served += 1;
        Some(entry)
    }

    /// The first entry of this exchange, counted as served.
    pub fn serve(&mut self, exchange: u32) -> Option<u32> {
        let entry = self.entries.iter().position(|e| e.exchange == exchange)?;
        self.entries[entry].served += 1;
        Some(entry as u32)
    }

    /// The recorded entry that is most like a request: of the same operation (the endpoint, or
    /// the same method and last part of the path elsewhere),
    /// with the longest common beginning of the conversation, then with the most equal members;
    /// of equals, one that was not served.
    pub fn nearest(&self, request: &Canonical, host: Host) -> Option<u32> {
        let sketch = Sketch::new(request);
        let at = self.endpoints_of(request, host);
        let mut candidates: Vec<u32> =
            at.iter().flat_map(|e| self.endpoints[*e as usize].group.entries.clone()).collect();
        if candidates.is_empty() {
            candidates = (0..self.entries.len() as u32).collect();
        }
        let operation = |path: &str| path.rsplit('/').next().map(str::to_owned);
        let asked = operation(&request.path);
        let place = |entry: &Entry| {
            let at = &self.endpoints[entry.endpoint as usize];
            let alike = at.method == request.method && operation(&at.path) == asked;
            alike.then_some(at.path == request.path)
        };
        let ranked = candidates.into_iter().rev().filter_map(|i| {
            let entry = self.entries.get(i as usize)?;
            let rank = (place(entry)?, entry.sketch.likeness(&sketch), entry.served == 0);
            Some((rank, i))
        });
        // The first of equals, since they come last to first.
        ranked.max_by_key(|(rank, _)| *rank).map(|(_, i)| i)
    }

    /// An entry.
    pub fn entry(&self, index: u32) -> Option<&Entry> {
        self.entries.get(index as usize)
    }

    /// All entries, in recorded order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The endpoint of an entry.
    pub fn endpoint(&self, entry: &Entry) -> &Endpoint {
        &self.endpoints[entry.endpoint as usize]
    }

    /// Whether any exchange went to this host.
    pub fn has_host(&self, host: &str) -> bool {
        self.hosts.contains_key(host)
    }

    /// Hosts that exchanges went to, with their ports if these are not the usual ones.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.hosts.keys().map(String::as_str)
    }

    /// The rules in force.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }
}

fn take(index: &mut Index, entries: &mut [Entry], key: (u32, Fingerprint)) -> Option<u32> {
    let entry = index.get_mut(&key)?.unserved(entries)?;
    entries[entry as usize].served += 1;
    Some(entry)
}

fn prepare_all(batch: &[Exchange], rules: &Rules) -> Result<Vec<Prepared>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    let share = batch.len().div_ceil(threads).max(64);
    let one = |part: &[Exchange]| -> Result<Vec<Prepared>> {
        let mut all = Vec::with_capacity(part.len());
        for exchange in part {
            all.extend(prepare(exchange, rules)?);
        }
        Ok(all)
    };
    std::thread::scope(|scope| {
        let parts: Vec<_> =
            batch.chunks(share).map(|part| scope.spawn(move || one(part))).collect();
        let mut all = Vec::with_capacity(batch.len());
        for part in parts {
            match part.join() {
                Ok(prepared) => all.extend(prepared?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(all)
    })
}

fn prepare(exchange: &Exchange, rules: &Rules) -> Result<Vec<Prepared>> {
    let one = |turn: u32, mut canonical: Canonical| {
        let (exact, sketch) = (canonical.fingerprint(), Sketch::new(&canonical));
        let (method, host) = (canonical.method.clone(), canonical.host.clone());
        let path = canonical.path.clone();
        let ruled = match rules.apply(&mut canonical).is_empty() {
            true => exact,
            false => canonical.fingerprint(),
        };
        Prepared { exchange: exchange.id, turn, method, host, path, exact, ruled, sketch }
    };
    let head = rules.canonical(&exchange.request)?;
    let asked = turns::turns(&exchange.messages).into_iter().skip(1);
    let mut all: Vec<Prepared> = asked
        .filter_map(|turn| Some((turn.number, rules.message(&head, turn.asked?))))
        .map(|(number, canonical)| one(number, canonical))
        .collect();
    all.insert(0, one(0, head));
    Ok(all)
}

#[cfg(test)]
mod tests;
