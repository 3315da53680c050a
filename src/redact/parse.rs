//! Where in a log the guests' own bytes stand: everything that redaction may look at and change.

use log_format::record::{BUF_INDIRECT, Dir, HEADER_BYTES, Header, Kind, plain};

/// `recv` flags: the bytes stay in the queue, or are out of band.
const MSG_OOB: u64 = 1;
const MSG_PEEK: u64 = 2;
const MSGHDR_BYTES: u32 = 56;

/// Bytes that follow each other for the guest, though not in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Flow {
    /// What was read from a descriptor.
    Read(i32),
    /// What was written to one.
    Written(i32),
    /// Plaintext of a TLS connection, sent.
    Sent(u32),
    /// Plaintext of a TLS connection, received.
    Received(u32),
    /// One buffer by itself.
    Single,
}

/// A part of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// What it belongs to.
    pub flow: Flow,
    /// Where it starts in the frame.
    pub at: usize,
    /// Its length, bytes.
    pub len: usize,
    /// Bytes of it that were moved; the rest comes again.
    pub moved: usize,
    /// Nothing follows it in its flow.
    pub end: bool,
    /// The guest has given it: a replay compares it.
    pub given: bool,
    /// It is a variable, `NAME=value`, of a program's environment.
    pub variable: bool,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Header,
    Call,
    Result,
    Args(u8),
    BufHead,
    BufAddr,
    Note,
    Plain,
    PlainTime,
    Data,
    /// The log makes no sense from here on.
    Broken,
}

/// What a call does with its first argument's descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moves {
    Nothing,
    Read,
    Written,
}

/// Reads one log, frame by frame.
#[derive(Debug)]
pub(super) struct Parser {
    state: State,
    /// Bytes left of the record.
    left: usize,
    /// Bytes left of the data, and of its padding.
    data: usize,
    kind: Kind,
    flags: u8,
    nr: i64,
    args_count: u8,
    bufs_left: u16,
    ret: i64,
    args: [u64; 6],
    /// Head of the buffer, and how many of the moved bytes are left.
    head: u64,
    addr: u64,
    moved: usize,
    connection: u32,
    flow: Flow,
    /// Addresses that a msghdr names: of the peer's name and of control data.
    apart: [u64; 2],
}

impl Default for Parser {
    fn default() -> Parser {
        Parser {
            state: State::Header,
            left: 0,
            data: 0,
            kind: Kind::Preempt,
            flags: 0,
            nr: 0,
            args_count: 0,
            bufs_left: 0,
            ret: 0,
            args: [0; 6],
            head: 0,
            addr: 0,
            moved: 0,
            connection: 0,
            flow: Flow::Single,
            apart: [0; 2],
        }
    }
}

impl Parser {
    /// Appends the pieces of the next frame to `out`.
    pub(super) fn pieces(&mut self, raw: &[u8], out: &mut Vec<Piece>) {
        let mut at = 0;
        while at < raw.len() {
            if matches!(self.state, State::Broken) {
                let len = raw.len() - at;
                out.push(Piece {
                    flow: Flow::Single,
                    at,
                    len,
                    moved: len,
                    end: true,
                    given: false,
                    variable: false,
                });
                return;
            }
            if matches!(self.state, State::Data) {
                at += self.data(raw, at, out);
                continue;
            }
            if matches!(self.state, State::Header) {
                at += without_data(&raw[at..]);
                if at == raw.len() {
                    return;
                }
            }
            let Some(word) = raw.get(at..).and_then(|r| r.first_chunk()) else {
                self.state = State::Broken;
                continue;
            };
            let word = u64::from_le_bytes(*word);
            at += 8;
            if !matches!(self.state, State::Header) {
                if self.left < 8 {
                    self.state = State::Broken;
                    continue;
                }
                self.left -= 8;
            }
            self.word(word, out);
        }
    }

    fn word(&mut self, word: u64, out: &mut Vec<Piece>) {
        match self.state {
            State::Header => match Header::from_word(word) {
                Ok(header) => self.record(header),
                Err(_) => self.state = State::Broken,
            },
            State::Call => {
                self.nr = i64::from(word as u16);
                self.args_count = ((word >> 16) as u8).min(6);
                self.bufs_left = (word >> 24) as u16;
                self.state = State::Result;
            }
            State::Result => {
                self.ret = word as i64;
                self.args = [0; 6];
                self.apart = [0; 2];
                self.state = State::Args(0);
                self.next_arg(0, out);
            }
            State::Args(i) => {
                if let Some(arg) = self.args.get_mut(usize::from(i)) {
                    *arg = word;
                }
                self.next_arg(i + 1, out);
            }
            State::BufHead => {
                self.head = word;
                self.state = State::BufAddr;
            }
            State::BufAddr => {
                self.addr = word;
                self.flow = self.flow_of_buffer();
                self.begin_data(self.head as u32 as usize, out);
            }
            State::Note => {
                self.flow = Flow::Single;
                self.begin_data((word >> 32) as usize, out);
            }
            State::Plain => {
                self.connection = word as u32;
                self.head = word >> 32;
                self.state = State::PlainTime;
            }
            State::PlainTime => {
                self.flow = match self.flags {
                    plain::SENT => Flow::Sent(self.connection),
                    plain::RECEIVED => Flow::Received(self.connection),
                    _ => Flow::Single,
                };
                self.begin_data(self.head as usize, out);
            }
            State::Data | State::Broken => {}
        }
    }

    fn record(&mut self, header: Header) {
        self.kind = header.kind;
        self.flags = header.flags;
        self.left = header.len as usize - HEADER_BYTES;
        self.bufs_left = 0;
        self.data = 0;
        self.state = match header.kind {
            _ if self.left == 0 => State::Header,
            Kind::Call | Kind::Yield | Kind::Start => State::Call,
            Kind::Note => State::Note,
            Kind::Plain => State::Plain,
            Kind::Clock
            | Kind::Tsc
            | Kind::Signal
            | Kind::ThreadStart
            | Kind::ThreadExit
            | Kind::Exit
            | Kind::Preempt
            | Kind::Shared => State::Data,
        };
    }

    fn next_arg(&mut self, next: u8, out: &mut Vec<Piece>) {
        if next < self.args_count {
            self.state = State::Args(next);
            return;
        }
        self.moved = usize::try_from(self.ret).unwrap_or(0);
        self.next_buffer(out);
    }

    fn next_buffer(&mut self, out: &mut Vec<Piece>) {
        if self.bufs_left > 0 {
            self.bufs_left -= 1;
            self.state = State::BufHead;
            return;
        }
        self.end_record(out);
    }

    fn end_record(&mut self, out: &mut Vec<Piece>) {
        // What is left belongs to nothing.
        self.state = if self.left > 0 { State::Data } else { State::Header };
        self.data = 0;
        let mut ended = |flow| {
            let (at, len, moved) = (0, 0, 0);
            out.push(Piece { flow, at, len, moved, end: true, given: false, variable: false });
        };
        let fd = self.args[0] as u32 as i32;
        match self.kind {
            Kind::Call if self.nr == libc::SYS_close => {
                ended(Flow::Read(fd));
                ended(Flow::Written(fd));
            }
            Kind::Call if self.ret == 0 && self.moves() == Moves::Read => ended(Flow::Read(fd)),
            Kind::Plain if self.flags == plain::CLOSED => {
                ended(Flow::Sent(self.connection));
                ended(Flow::Received(self.connection));
            }
            _ => {}
        }
    }

    fn begin_data(&mut self, len: usize, out: &mut Vec<Piece>) {
        self.data = len;
        self.state = State::Data;
        let padded = len.next_multiple_of(8);
        if padded > self.left {
            self.state = State::Broken;
        } else if len == 0 {
            self.after_data(out);
        }
    }

    /// Takes bytes of the data, or of what stands behind it; how many.
    fn data(&mut self, raw: &[u8], at: usize, out: &mut Vec<Piece>) -> usize {
        let here = raw.len() - at;
        if self.data == 0 {
            // Padding, or a record without data.
            let until = if self.is_buffered() { self.left % 8 } else { self.left };
            let len = until.min(here);
            self.left -= len;
            if len == until {
                self.after_data(out);
            }
            return len;
        }
        let len = self.data.min(here);
        if self.is_msghdr() && len == MSGHDR_BYTES as usize {
            self.apart = [0, 32].map(|word| {
                let bytes = raw.get(at + word..).and_then(|b| b.first_chunk());
                bytes.map_or(0, |b| u64::from_le_bytes(*b))
            });
        }
        self.data -= len;
        self.left -= len;
        let moved = match self.flow {
            Flow::Written(_) => len.min(self.moved),
            _ => len,
        };
        if matches!(self.flow, Flow::Written(_)) && !self.counts_messages() {
            self.moved -= moved;
        }
        let moved = if self.counts_messages() { len } else { moved };
        let end = self.flow == Flow::Single && self.data == 0;
        let (given, variable) = (self.is_given(), self.is_variable());
        out.push(Piece { flow: self.flow, at, len, moved, end, given, variable });
        if self.data == 0 && self.left.is_multiple_of(8) {
            self.after_data(out);
        }
        len
    }

    fn is_given(&self) -> bool {
        let has_buffers = matches!(self.kind, Kind::Call | Kind::Yield | Kind::Start);
        has_buffers && (self.head >> 40) as u8 == Dir::In as u8
    }

    fn is_variable(&self) -> bool {
        let environment = match self.nr {
            libc::SYS_execve => 2,
            libc::SYS_execveat => 3,
            _ => return false,
        };
        self.is_given() && (self.head >> 32) as u8 == environment
    }

    fn is_buffered(&self) -> bool {
        matches!(self.kind, Kind::Call | Kind::Yield | Kind::Start) && !self.left.is_multiple_of(8)
    }

    fn after_data(&mut self, out: &mut Vec<Piece>) {
        match self.kind {
            Kind::Call | Kind::Yield | Kind::Start if self.bufs_left > 0 => self.next_buffer(out),
            _ if self.left > 0 => self.state = State::Data,
            _ => self.end_record(out),
        }
    }

    fn moves(&self) -> Moves {
        match self.nr {
            libc::SYS_recvfrom if self.args[3] & (MSG_PEEK | MSG_OOB) != 0 => Moves::Nothing,
            libc::SYS_recvmsg if self.args[2] & (MSG_PEEK | MSG_OOB) != 0 => Moves::Nothing,
            libc::SYS_recvmmsg if self.args[3] & (MSG_PEEK | MSG_OOB) != 0 => Moves::Nothing,
            libc::SYS_read
            | libc::SYS_readv
            | libc::SYS_pread64
            | libc::SYS_preadv
            | libc::SYS_preadv2
            | libc::SYS_recvfrom
            | libc::SYS_recvmsg
            | libc::SYS_recvmmsg => Moves::Read,
            libc::SYS_write
            | libc::SYS_writev
            | libc::SYS_pwrite64
            | libc::SYS_pwritev
            | libc::SYS_pwritev2
            | libc::SYS_sendto
            | libc::SYS_sendmsg
            | libc::SYS_sendmmsg => Moves::Written,
            _ => Moves::Nothing,
        }
    }

    fn counts_messages(&self) -> bool {
        self.nr == libc::SYS_sendmmsg
    }

    fn is_msghdr(&self) -> bool {
        let flags = (self.head >> 48) as u16;
        self.head as u32 == MSGHDR_BYTES && flags & BUF_INDIRECT != 0 && self.has_messages()
    }

    fn has_messages(&self) -> bool {
        matches!(
            self.nr,
            libc::SYS_sendmsg | libc::SYS_recvmsg | libc::SYS_sendmmsg | libc::SYS_recvmmsg
        )
    }

    fn flow_of_buffer(&self) -> Flow {
        let (arg, dir, flags) =
            ((self.head >> 32) as u8, (self.head >> 40) as u8, (self.head >> 48) as u16);
        let fd = self.args[0] as u32 as i32;
        let scattered = matches!(
            self.nr,
            libc::SYS_readv
                | libc::SYS_writev
                | libc::SYS_preadv
                | libc::SYS_preadv2
                | libc::SYS_pwritev
                | libc::SYS_pwritev2
        );
        let plain = !scattered || flags & BUF_INDIRECT != 0;
        if self.kind != Kind::Call
            || arg != 1
            || !plain
            || self.is_msghdr()
            || (self.has_messages() && self.apart.contains(&self.addr))
        {
            return Flow::Single;
        }
        match self.moves() {
            Moves::Read if dir == Dir::Out as u8 => Flow::Read(fd),
            Moves::Written if dir == Dir::In as u8 => Flow::Written(fd),
            _ => Flow::Single,
        }
    }
}

/// Bytes of the whole clock records at the start of `raw`: the most frequent ones by far.
fn without_data(raw: &[u8]) -> usize {
    let mut at = 0;
    while let Some(word) = raw.get(at..).and_then(|rest| rest.first_chunk()) {
        match Header::from_word(u64::from_le_bytes(*word)) {
            Ok(Header { kind: Kind::Clock, len, .. }) if len as usize <= raw.len() - at => {
                at += len as usize;
            }
            _ => break,
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::sample::{call, record};

    fn pieces(log: &[u8], cut: usize) -> Vec<(Flow, Vec<u8>, bool)> {
        let mut parser = Parser::default();
        let mut all: Vec<(Flow, Vec<u8>, bool)> = Vec::new();
        let mut open = false;
        for part in log.chunks(cut) {
            let mut out = Vec::new();
            parser.pieces(part, &mut out);
            for p in out {
                let bytes = part[p.at..p.at + p.len].to_vec();
                match all.last_mut().filter(|(flow, ..)| open && *flow == p.flow) {
                    Some(last) => {
                        last.1.extend(bytes);
                        last.2 = p.end;
                    }
                    None => all.push((p.flow, bytes, p.end)),
                }
                open = !p.end && p.flow == Flow::Single;
            }
        }
        all
    }

    #[test]
    fn buffers_are_found_wherever_frames_are_cut() {
        let mut log = Vec::new();
        log.extend(record(Kind::Clock, 1, 0, &[1; 8]));
        log.extend(call(0, &[3, 0x7000, 100], 5, &[(1, Dir::Out, b"hello")]));
        log.extend(call(257, &[1, 0x7000, 0], 4, &[(1, Dir::In, b"/a/path\0"), (2, Dir::In, b"")]));
        log.extend(call(
            1,
            &[4, 0x7000, 9],
            9,
            &[(1, Dir::In, b"nine long"), (0xf2, Dir::Extra, &[0; 16])],
        ));
        log.extend(call(0, &[3, 0x7000, 100], 0, &[]));
        log.extend(record(
            Kind::Note,
            0,
            0,
            &[[1, 0, 0, 0, 4, 0, 0, 0], *b"text\0\0\0\0"].concat(),
        ));
        log.extend(record(Kind::ThreadStart, 0, 0, &[]));
        log.extend(call(3, &[3], 0, &[]));
        for cut in [8, 16, 24, 40, 64, 10_000] {
            let found = pieces(&log, cut);
            let text = |flow| {
                let of = found.iter().filter(move |(f, ..)| *f == flow);
                of.flat_map(|(_, bytes, _)| bytes.clone()).collect::<Vec<u8>>()
            };
            assert_eq!(text(Flow::Read(3)), b"hello", "{cut}");
            assert_eq!(text(Flow::Written(4)), b"nine long");
            let single = found.iter().filter(|(f, ..)| *f == Flow::Single);
            let single: Vec<_> = single.map(|(_, bytes, end)| (bytes.clone(), *end)).collect();
            assert_eq!(single[0], (b"/a/path\0".to_vec(), true), "{cut}");
            assert_eq!(single.last(), Some(&(b"text".to_vec(), true)), "{cut}");
            let ends =
                found.iter().filter(|(f, b, end)| *f == Flow::Read(3) && b.is_empty() && *end);
            assert_eq!(ends.count(), 2);
        }
    }

    #[test]
    fn a_partly_written_buffer_counts_as_far_as_it_went() {
        let log = call(1, &[4, 0x7000, 9], 4, &[(1, Dir::In, b"nine long")]);
        let mut out = Vec::new();
        Parser::default().pieces(&log, &mut out);
        assert_eq!((out[0].len, out[0].moved), (9, 4));
    }

    #[test]
    fn nonsense_is_looked_at_as_it_is() {
        let mut out = Vec::new();
        Parser::default().pieces(&[0xff; 100], &mut out);
        assert_eq!((out[0].len, out[0].end), (92, true));
    }
}
