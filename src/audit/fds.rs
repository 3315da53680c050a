//! What the descriptors of a process stand for, as far as its log tells.

use std::collections::HashMap;

use log_format::record::{Call, Dir};

/// What a descriptor stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A file, by its path.
    File(String),
    /// A source of random bytes.
    Random,
    /// A socket: its number in the process, and its peer if it has connected.
    Socket(u32, Option<String>),
    /// A pipe, or another object between processes.
    Stream,
}

/// Descriptors of one process.
#[derive(Clone, Debug, Default)]
pub struct Fds {
    open: HashMap<i32, Target>,
    sockets: u32,
}

impl Fds {
    /// What a descriptor stands for. One inherited from the parent, or passed, is not known.
    pub fn get(&self, fd: u64) -> Option<&Target> {
        self.open.get(&(fd as u32 as i32))
    }

    /// Follows a completed call.
    pub fn follow(&mut self, call: &Call) {
        if call.ret < 0 && call.nr != CONNECT {
            return;
        }
        let given = call.ret as i32;
        match call.nr {
            OPEN | CREAT => self.opened(call, 0, given),
            OPENAT | OPENAT2 => self.opened(call, 1, given),
            SOCKET => self.socket(given, None),
            ACCEPT | ACCEPT4 => {
                let peer = call.buf(1, Dir::Out).map(|b| address(b.bytes));
                self.socket(given, peer);
            }
            CONNECT => {
                let peer = call.buf(1, Dir::In).map(|b| address(b.bytes));
                if let Some(Target::Socket(_, known)) = self.open.get_mut(&fd(call, 0)) {
                    *known = peer;
                }
            }
            SOCKETPAIR => self.pair(call, 3),
            PIPE | PIPE2 => self.pair(call, 0),
            EPOLL_CREATE | EPOLL_CREATE1 | EVENTFD | EVENTFD2 | SIGNALFD | SIGNALFD4
            | TIMERFD_CREATE | MEMFD_CREATE | INOTIFY_INIT1 => {
                self.open.insert(given, Target::Stream);
            }
            DUP | DUP2 | DUP3 => self.copy(fd(call, 0), given),
            FCNTL if matches!(call.args[1] as u32, F_DUPFD | F_DUPFD_CLOEXEC) => {
                self.copy(fd(call, 0), given);
            }
            CLOSE => {
                self.open.remove(&fd(call, 0));
            }
            CLOSE_RANGE => {
                let (first, last) = (call.args[0] as u32, call.args[1] as u32);
                self.open.retain(|fd, _| !(first..=last).contains(&(*fd as u32)));
            }
            _ => {}
        }
    }

    fn opened(&mut self, call: &Call, path_arg: u8, given: i32) {
        let path = call.buf(path_arg, Dir::In).map_or(&b""[..], |b| b.bytes);
        let path = String::from_utf8_lossy(path.strip_suffix(b"\0").unwrap_or(path)).into_owned();
        let target = match path.as_str() {
            "/dev/urandom" | "/dev/random" => Target::Random,
            _ => Target::File(path),
        };
        self.open.insert(given, target);
    }

    fn socket(&mut self, given: i32, peer: Option<String>) {
        self.sockets += 1;
        self.open.insert(given, Target::Socket(self.sockets, peer));
    }

    fn pair(&mut self, call: &Call, arg: u8) {
        let Some(both) = call.buf(arg, Dir::Out) else { return };
        for one in both.bytes.as_chunks::<4>().0 {
            self.open.insert(i32::from_le_bytes(*one), Target::Stream);
        }
    }

    fn copy(&mut self, from: i32, to: i32) {
        match self.open.get(&from).cloned() {
            Some(target) => self.open.insert(to, target),
            None => self.open.remove(&to),
        };
    }
}

fn fd(call: &Call, arg: usize) -> i32 {
    call.args[arg] as u32 as i32
}

/// A socket address in short: `127.0.0.1:80`, `[::1]:80`, a path.
fn address(bytes: &[u8]) -> String {
    let port = || bytes.get(2..4).map_or(0, |p| u16::from_be_bytes([p[0], p[1]]));
    match bytes.first() {
        Some(2) if bytes.len() >= 8 => {
            let ip: [u8; 4] = [bytes[4], bytes[5], bytes[6], bytes[7]];
            format!("{}:{}", std::net::Ipv4Addr::from(ip), port())
        }
        Some(10) => match bytes.get(8..24).and_then(|b| <[u8; 16]>::try_from(b).ok()) {
            Some(ip) => format!("[{}]:{}", std::net::Ipv6Addr::from(ip), port()),
            None => "IPv6".into(),
        },
        Some(1) => {
            let path = bytes.get(2..).unwrap_or_default();
            String::from_utf8_lossy(path).trim_matches('\0').to_owned()
        }
        _ => "unknown".into(),
    }
}

const CLOSE: u16 = 3;
const OPEN: u16 = 2;
const PIPE: u16 = 22;
const DUP: u16 = 32;
const DUP2: u16 = 33;
const SOCKET: u16 = 41;
const CONNECT: u16 = 42;
const ACCEPT: u16 = 43;
const SOCKETPAIR: u16 = 53;
const FCNTL: u16 = 72;
const CREAT: u16 = 85;
const EPOLL_CREATE: u16 = 213;
const OPENAT: u16 = 257;
const SIGNALFD: u16 = 282;
const TIMERFD_CREATE: u16 = 283;
const EVENTFD: u16 = 284;
const ACCEPT4: u16 = 288;
const SIGNALFD4: u16 = 289;
const EVENTFD2: u16 = 290;
const EPOLL_CREATE1: u16 = 291;
const DUP3: u16 = 292;
const PIPE2: u16 = 293;
const INOTIFY_INIT1: u16 = 294;
const MEMFD_CREATE: u16 = 319;
const CLOSE_RANGE: u16 = 436;
const OPENAT2: u16 = 437;
const F_DUPFD: u32 = 0;
const F_DUPFD_CLOEXEC: u32 = 1030;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_short() {
        assert_eq!(address(&[2, 0, 0, 80, 127, 0, 0, 1]), "127.0.0.1:80");
        let mut v6 = vec![10, 0, 1, 187, 0, 0, 0, 0];
        v6.extend_from_slice(&std::net::Ipv6Addr::LOCALHOST.octets());
        assert_eq!(address(&v6), "[::1]:443");
        assert_eq!(address(b"\x01\0/run/x\0"), "/run/x");
        assert_eq!(address(&[]), "unknown");
    }
}
