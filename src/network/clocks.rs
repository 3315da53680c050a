//! Recorded clock readings, one file for each program image, as the shim of a network replay maps
//! them ([`log_format::clocks`]).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::Path;

use log_format::clocks::{BETWEEN, MAGIC, NAME_BYTES, SOURCES_MAX, is_read, name};
use log_format::record::{Call, Dir, Kind, clock};

use super::known::Answered;
use crate::error::{Error, Result};
use crate::session::Session;

const NS: u64 = 1_000_000_000;

/// Readings of one image, by source.
#[derive(Default)]
struct Image {
    sources: BTreeMap<u8, Vec<u64>>,
    /// How many there were of each source when the answer of an exchange had been read.
    answers: BTreeMap<u32, Vec<(u8, usize)>>,
}

/// Answers that a process is still to read.
#[derive(Default)]
struct Awaited {
    /// In the order of time, by descriptor.
    by_fd: HashMap<i32, VecDeque<Answered>>,
    /// Those whose end was read by the last call, and from where: its next part may follow.
    read: (i32, Vec<u32>),
}

/// Writes the readings of all images of a session into `dir`; `answered`: its answers, in the
/// order of time.
///
/// # Errors
/// The session is damaged, or the system's.
pub fn write(session: &Session, answered: &[Answered], dir: &Path) -> Result<()> {
    let mut all: HashMap<u64, Awaited> = HashMap::new();
    for one in answered {
        all.entry(one.process).or_default().by_fd.entry(one.fd).or_default().push_back(*one);
    }
    for process in &session.manifest().processes {
        let mut events = session.events(process)?;
        let mut image = Image::default();
        let mut generation = 0;
        let mut begun = false;
        let mut awaited = all.remove(&process.key).unwrap_or_default();
        let mut started_ns = session.manifest().started_mono_ns;
        while let Some(event) = events.next_event()? {
            match event.record.header.kind {
                Kind::Start if std::mem::replace(&mut begun, true) => {
                    std::mem::take(&mut image).write(dir, process.key, generation)?;
                    generation += 1;
                }
                Kind::Clock => {
                    let value = event.record.value().unwrap_or_default();
                    image.add(event.record.header.flags, value);
                }
                Kind::Call => {
                    let Ok(call) = event.record.call() else { continue };
                    if let Some((source, value)) = reading(call) {
                        image.add(source, value);
                    }
                    if let Some(time_ns) = event.time_ns() {
                        if started_ns == 0 {
                            started_ns = time_ns;
                        }
                        for exchange in awaited.read(call, time_ns.saturating_sub(started_ns)) {
                            image.answered(*exchange);
                        }
                    }
                }
                _ => {}
            }
        }
        image.write(dir, process.key, generation)?;
    }
    Ok(())
}

impl Awaited {
    /// The exchanges whose answers have ended with what a call read, as far as can be told.
    fn read(&mut self, call: Call<'_>, time_ns: u64) -> &[u32] {
        let fd = call.args[0] as i32;
        let (from, read) = &mut self.read;
        if !is_read(call.nr) || call.ret <= 0 || *from != fd {
            read.clear();
        }
        if is_read(call.nr)
            && call.ret > 0
            && let Some(awaited) = self.by_fd.get_mut(&fd)
        {
            *from = fd;
            while let Some(first) = awaited.pop_front_if(|first| first.time_ns <= time_ns) {
                read.push(first.exchange);
            }
        }
        read
    }
}

/// What a clock's syscall gave.
fn reading(call: Call<'_>) -> Option<(u8, u64)> {
    let word = |arg: u8, at: usize| {
        let bytes = call.buf(arg, Dir::Out)?.bytes.get(at..at + 8)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    };
    if call.ret < 0 {
        return None;
    }
    match i64::from(call.nr) {
        libc::SYS_clock_gettime => {
            Some((u8::try_from(call.args[0]).ok()?, word(1, 0)? * NS + word(1, 8)?))
        }
        libc::SYS_gettimeofday => Some((clock::TIMEOFDAY, word(0, 0)? * NS + word(0, 8)? * 1000)),
        libc::SYS_time => Some((clock::TIME, call.ret as u64 * NS)),
        _ => None,
    }
}

impl Image {
    fn add(&mut self, source: u8, value: u64) {
        if self.sources.len() < SOURCES_MAX || self.sources.contains_key(&source) {
            self.sources.entry(source).or_default().push(value);
        }
    }

    fn answered(&mut self, exchange: u32) {
        let counts = self.sources.iter().map(|(source, values)| (*source, values.len()));
        let counts: Vec<_> = counts.collect();
        let near = |before: &Vec<(u8, usize)>| {
            let last = |source| before.iter().find(|(s, _)| *s == source).map_or(0, |(_, n)| *n);
            counts.iter().all(|(source, n)| n - last(*source) <= BETWEEN as usize)
        };
        // What is read long after an answer's end is no part of it.
        if self.answers.get(&exchange).is_none_or(near) {
            self.answers.insert(exchange, counts);
        }
    }

    fn write(self, dir: &Path, key: u64, generation: u32) -> Result<()> {
        if self.sources.is_empty() {
            return Ok(());
        }
        let mut file = [0; NAME_BYTES];
        name(key, generation, &mut file);
        let path = dir.join(String::from_utf8_lossy(&file).as_ref());
        let (sources, answers) = (self.sources.len(), self.answers.len());
        let mut words = vec![MAGIC, sources as u64, answers as u64];
        let mut at = words.len() + 3 * sources + (1 + sources) * answers;
        for (source, values) in &self.sources {
            words.extend([u64::from(*source), values.len() as u64, at as u64]);
            at += values.len();
        }
        for (exchange, counts) in &self.answers {
            words.push((*exchange).into());
            let count =
                |source: &u8| counts.iter().find(|(s, _)| s == source).map_or(0, |(_, n)| *n);
            words.extend(self.sources.keys().map(|source| count(source) as u64));
        }
        words.extend(self.sources.into_values().flatten());
        let bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
        std::fs::write(&path, bytes).map_err(Error::file("write", &path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shim_finds_what_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let mut image = Image::default();
        for (source, value) in [(1, 5), (0, 7), (1, 6), (clock::TIME, 3)] {
            image.add(source, value);
            image.answered(value as u32);
        }
        image.write(dir.path(), 0xab, 2).unwrap();
        let bytes = std::fs::read(dir.path().join("00000000000000ab-00000002")).unwrap();
        let words: Vec<u64> =
            bytes.chunks_exact(8).map(|w| u64::from_le_bytes(w.try_into().unwrap())).collect();
        let found = |source| log_format::clocks::find(&words, source).map(|(_, all)| all);
        assert_eq!(found(0), Some(&[7][..]));
        assert_eq!(found(1), Some(&[5, 6][..]));
        assert_eq!(found(clock::TIME), Some(&[3][..]));
        assert_eq!(found(4), None);
        let answered = |exchange| log_format::clocks::at_answer(&words, exchange);
        assert_eq!(answered(7), Some(&[1, 1, 0][..]));
        assert_eq!(answered(3), Some(&[1, 2, 1][..]));
        assert_eq!(answered(4), None);
    }
}
