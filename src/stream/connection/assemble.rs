//! From calls to connections: follows descriptors through all processes.

mod sockets;

use std::collections::{BTreeMap, VecDeque};

use log_format::arena::PLAIN_KEY;
use log_format::handover::is_client_hello;
use log_format::record::{Call, Dir, Record, extra};

use super::fds::{ObjectId, Table};
use super::names::Names;
use super::transfer::{Moved, moved, unseen};
use super::{Connection, Direction, Lookup, Peer, Segment, Tls};
use crate::intercept::plain::{Ended, Opened};
pub(crate) use sockets::inet;
use sockets::{is_name_server, peer};

/// Descriptors on their way between processes that are remembered.
const FLIGHT_MAX: usize = 1024;

/// Gets what the assembler finds, in the order of time.
pub(crate) trait Sink {
    /// A connection was opened; its number is one more than that of the one before, from 1.
    fn opened(&mut self, connection: &Connection);
    /// Bytes went over it.
    fn segment(&mut self, connection: u32, segment: &Segment<'_>);
    /// Bytes went over it that are not in the log.
    fn unseen(&mut self, connection: u32, direction: Direction, time_ns: u64);
    /// A side says that it sends no more.
    fn shut(&mut self, connection: u32, by: Direction, time_ns: u64);
    /// From here on its bytes are the plaintext of its TLS.
    fn intercepted(&mut self, connection: &Connection);
    /// It was closed by a side.
    fn closed(&mut self, connection: u32, by: Direction, time_ns: u64);
    /// An event of a process, before what it means to its connections.
    fn event(&mut self, _process: u64, _step: u64, _time_ns: u64, _record: &Record<'_>) {}
}

/// What descriptors can lead to, as far as it matters here.
#[derive(Clone, Debug, PartialEq)]
enum What {
    /// A stream socket, and its connection's index.
    Stream { unix: bool, connection: Option<usize> },
    /// A datagram socket, and the port it is connected to.
    Datagram { port: Option<u16> },
    /// One end of a socketpair.
    Pair { other: ObjectId },
    /// `/etc/hosts`.
    Hosts,
}

#[derive(Debug)]
struct Object {
    what: What,
    descriptors: usize,
}

/// How a connection stands.
#[derive(Clone, Copy, Debug, Default)]
struct Life {
    /// The peer has ended it.
    peer_ended: bool,
    /// The host has ended its TLS: its end is told by the log of plaintext.
    intercepted: bool,
}

/// A call and where it stands.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    /// Key of the process.
    pub(super) process: u64,
    pub(super) step: u64,
    /// Since the recording's start.
    pub(super) time_ns: u64,
    /// Bytes of the record, and where they stand in the process's log.
    pub(super) bytes: &'a [u8],
    pub(super) offset: u64,
}

impl At<'_> {
    /// Where a part of the record stands in the log.
    fn offset_of(&self, part: &[u8]) -> u64 {
        let inside = (part.as_ptr() as usize).wrapping_sub(self.bytes.as_ptr() as usize);
        self.offset + inside.min(self.bytes.len()) as u64
    }
}

/// Follows all processes' calls.
#[derive(Default)]
pub(super) struct Assembler {
    objects: Vec<Object>,
    pub(super) connections: Vec<Connection>,
    /// For each connection: how it stands.
    lives: Vec<Life>,
    names: Names,
    /// Name servers that were to be asked could not be.
    pub(super) no_lookups: bool,
    /// ClientHellos that were sent, by process and step: descriptor and connection. The host tells
    /// of a handshake when it is over, and the descriptor may be another's by then.
    hellos: BTreeMap<(u64, u64), (i32, usize)>,
    /// Descriptors passed on and not yet received: to whom, if that is known.
    flight: VecDeque<(Option<ObjectId>, Vec<ObjectId>)>,
}

impl Assembler {
    /// All connections, and the lookups of names.
    pub(super) fn into_parts(self) -> (Vec<Connection>, Vec<Lookup>) {
        (self.connections, self.names.into_lookups())
    }

    /// Counts a copy of a table: a process was created.
    pub(super) fn copied(&mut self, table: &Table) {
        for object in table.objects() {
            self.objects[object].descriptors += 1;
        }
    }

    /// Descriptors were closed.
    pub(super) fn released(&mut self, objects: Vec<ObjectId>, time_ns: u64, sink: &mut dyn Sink) {
        for id in objects {
            let object = &mut self.objects[id];
            object.descriptors = object.descriptors.saturating_sub(1);
            if object.descriptors == 0
                && let What::Stream { connection: Some(index), .. } = object.what
            {
                let by = if self.lives[index].peer_ended {
                    Direction::Received
                } else {
                    Direction::Sent
                };
                self.close(index, by, time_ns, sink);
            }
        }
    }

    /// Follows a completed call; the key of the process that it created.
    pub(super) fn call(
        &mut self,
        table: &mut Table,
        call: &Call<'_>,
        at: At<'_>,
        sink: &mut dyn Sink,
    ) -> Option<u64> {
        let fd = |i: usize| call.args[i] as u32 as i32;
        match i64::from(call.nr) {
            libc::SYS_connect => {
                if let Some(id) = table.get(fd(0)) {
                    self.connect(id, call, at, sink);
                }
                return None;
            }
            libc::SYS_fork | libc::SYS_vfork | libc::SYS_clone | libc::SYS_clone3 => {
                let key = call.buf(extra::CHILD, Dir::Extra)?.bytes;
                return key.first_chunk().map(|b| u64::from_le_bytes(*b));
            }
            _ => {}
        }
        if let Some(id) = table.get(fd(0))
            && let Some((dir, messages)) = moved(call)
        {
            let head = messages.first().and_then(|message| message.parts.first());
            if dir == Dir::In
                && head
                    .and_then(|head| head.first_chunk())
                    .is_some_and(|head| is_client_hello(*head))
                && let What::Stream { connection: Some(index), .. } = self.objects[id].what
            {
                self.hellos.insert((at.process, at.step), (fd(0), index));
            }
            for message in messages {
                self.transfer(table, id, dir, &message, at, sink);
            }
            return None;
        }
        if let Some((fd, dir)) = unseen(call) {
            if let Some((_, number)) = self.connection_of(table, fd) {
                sink.unseen(number, direction(dir), at.time_ns);
            }
            return None;
        }
        let ret = i32::try_from(call.ret).unwrap_or(-1);
        match i64::from(call.nr) {
            libc::SYS_socket if ret >= 0 => self.socket(table, call, at, sink),
            libc::SYS_socketpair if ret >= 0 => self.pair(table, call, at, sink),
            libc::SYS_accept | libc::SYS_accept4 if ret >= 0 => {
                self.accept(table, call, at, sink);
            }
            libc::SYS_open | libc::SYS_openat if ret >= 0 => {
                let path = u8::from(i64::from(call.nr) == libc::SYS_openat);
                let path = call.buf(path, Dir::In).map(|b| b.bytes);
                if path == Some(b"/etc/hosts\0") {
                    self.open(table, ret, What::Hosts, true, at, sink);
                }
            }
            libc::SYS_read | libc::SYS_readv | libc::SYS_recvfrom | libc::SYS_recvmsg
                if ret == 0 && asked(call) =>
            {
                if let Some((index, number)) = self.connection_of(table, fd(0)) {
                    self.lives[index].peer_ended = true;
                    if !self.lives[index].intercepted {
                        sink.shut(number, Direction::Received, at.time_ns);
                    }
                }
            }
            libc::SYS_shutdown if ret == 0 => {
                if let Some((index, number)) = self.connection_of(table, fd(0))
                    && call.args[1] as i32 != libc::SHUT_RD
                    && !self.lives[index].intercepted
                {
                    sink.shut(number, Direction::Sent, at.time_ns);
                }
            }
            libc::SYS_getsockopt if ret == 0 => self.socket_error(table, call, at, sink),
            libc::SYS_getpeername if ret == 0 => {
                if let Some((index, _)) = self.connection_of(table, fd(0))
                    && let Some(peer) = call.buf(1, Dir::Out).and_then(|b| peer(b.bytes))
                    && matches!(&self.connections[index].peer,
                        Peer::Inet(known) if known.port() == 0)
                {
                    self.connections[index].peer = peer;
                }
            }
            libc::SYS_sendto | libc::SYS_sendmmsg | libc::SYS_write
                if ret < 0 && ret != -libc::EAGAIN && self.asks_names(table, call) =>
            {
                self.no_lookups = true;
            }
            _ if matches!(-ret, libc::ECONNRESET | libc::EPIPE | libc::ETIMEDOUT) => {
                if let Some((index, _)) = self.connection_of(table, fd(0)) {
                    self.connections[index].error.get_or_insert(-ret);
                    self.close(index, Direction::Received, at.time_ns, sink);
                }
            }
            // The kernel releases a descriptor even when close was interrupted.
            libc::SYS_close => {
                let (released, _) = table.follow(call);
                self.released(released, at.time_ns, sink);
            }
            _ if ret >= 0 => {
                let (released, copied) = table.follow(call);
                if let Some(id) = copied {
                    self.objects[id].descriptors += 1;
                }
                self.released(released, at.time_ns, sink);
            }
            _ => {}
        }
        None
    }

    fn transfer(
        &mut self,
        table: &mut Table,
        id: ObjectId,
        dir: Dir,
        moved: &Moved<'_>,
        at: At<'_>,
        sink: &mut dyn Sink,
    ) {
        if !moved.rights.is_empty() {
            self.rights(table, id, dir, &moved.rights, at, sink);
        }
        match self.objects[id].what {
            // Ciphertext; what it says comes from the log of plaintext.
            What::Stream { connection: Some(index), .. } if self.lives[index].intercepted => {}
            What::Stream { connection: Some(index), .. } => {
                let connection = &mut self.connections[index];
                for bytes in &moved.parts {
                    let direction = direction(dir);
                    let sum = match direction {
                        Direction::Sent => &mut connection.sent_bytes,
                        Direction::Received => &mut connection.received_bytes,
                    };
                    *sum += bytes.len() as u64;
                    let At { process, step, time_ns, .. } = at;
                    let offset = at.offset_of(bytes);
                    let log = process;
                    let segment = Segment { direction, time_ns, process, step, log, offset, bytes };
                    sink.segment(connection.id, &segment);
                }
            }
            What::Datagram { port } if is_name_server(moved.name, port) => {
                let message = moved.parts.concat();
                match dir {
                    Dir::Out => self.names.answer(&message),
                    _ => self.names.question(&message),
                }
            }
            What::Hosts if dir == Dir::Out => self.names.hosts(&moved.parts.concat()),
            _ => {}
        }
    }

    /// Descriptors are passed on, or come in.
    fn rights(
        &mut self,
        table: &mut Table,
        id: ObjectId,
        dir: Dir,
        fds: &[i32],
        at: At<'_>,
        sink: &mut dyn Sink,
    ) {
        if dir == Dir::In {
            let to = match self.objects[id].what {
                What::Pair { other } => Some(other),
                _ => None,
            };
            let objects: Vec<ObjectId> = fds.iter().filter_map(|fd| table.get(*fd)).collect();
            // Part of them are nothing that is followed: which ones, the receiver can't tell.
            if objects.len() == fds.len() && self.flight.len() < FLIGHT_MAX {
                objects.iter().for_each(|o| self.objects[*o].descriptors += 1);
                self.flight.push_back((to, objects));
            }
            return;
        }
        let paired = matches!(self.objects[id].what, What::Pair { .. });
        let fits = |to: &Option<ObjectId>| if paired { *to == Some(id) } else { to.is_none() };
        let index = self.flight.iter().position(|(to, all)| fits(to) && all.len() == fds.len());
        let Some((_, objects)) = index.and_then(|i| self.flight.remove(i)) else { return };
        for (fd, object) in fds.iter().zip(objects) {
            let released = table.set(*fd, object, false);
            self.released(released, at.time_ns, sink);
        }
    }

    /// A TLS handshake was handed to the host, on a descriptor of a process with this table; the
    /// connection's index.
    pub(super) fn handed_over(
        &mut self,
        table: Option<&Table>,
        opened: &Opened,
        at: At<'_>,
        sink: &mut dyn Sink,
    ) -> usize {
        // The call may have yielded since, and comes later then.
        let mut sent =
            self.hellos.range((opened.process, opened.step)..=(opened.process, u64::MAX));
        let sent = sent.find(|(_, (fd, _))| *fd == opened.fd).map(|(_, (_, index))| *index);
        let open = || table.and_then(|table| self.connection_of(table, opened.fd));
        let index = sent.or_else(|| open().map(|(index, _)| index)).unwrap_or_else(|| {
            // Its connect is in no log.
            let what = What::Stream { unix: false, connection: None };
            let id = self.objects.len();
            self.objects.push(Object { what, descriptors: 1 });
            self.begin(id, opened.fd, Peer::Inet(opened.peer), false, at, sink)
        });
        let connection = &mut self.connections[index];
        let sni = opened.sni.clone();
        connection.host = sni.clone().or(connection.host.take());
        connection.tls = match &opened.opaque {
            Some(reason) => Tls::Opaque { sni, reason: reason.clone() },
            None => Tls::Intercepted { sni, alpn: opened.alpn.clone() },
        };
        if opened.opaque.is_none() {
            self.lives[index].intercepted = true;
            // What a proxy was told before is no part of it.
            (connection.sent_bytes, connection.received_bytes) = (0, 0);
            sink.intercepted(connection);
        }
        index
    }

    /// Plaintext went over an intercepted connection.
    pub(super) fn plaintext(
        &mut self,
        index: usize,
        direction: Direction,
        bytes: &[u8],
        at: At<'_>,
        sink: &mut dyn Sink,
    ) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        let sum = match direction {
            Direction::Sent => &mut connection.sent_bytes,
            Direction::Received => &mut connection.received_bytes,
        };
        *sum += bytes.len() as u64;
        let At { step, time_ns, .. } = at;
        let (log, offset) = (PLAIN_KEY, at.offset_of(bytes));
        let process = connection.process;
        let segment = Segment { direction, time_ns, process, step, log, offset, bytes };
        sink.segment(connection.id, &segment);
    }

    /// An intercepted connection has ended.
    pub(super) fn plaintext_end(
        &mut self,
        index: usize,
        end: Ended,
        time_ns: u64,
        sink: &mut dyn Sink,
    ) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        let by = match end {
            Ended::RecordingEnded => return,
            Ended::GuestReset => Direction::Sent,
            Ended::Finished | Ended::ServerReset | Ended::Failed => Direction::Received,
        };
        if self.lives[index].intercepted {
            if end == Ended::Finished {
                sink.shut(connection.id, Direction::Received, time_ns);
            }
            sink.closed(connection.id, by, time_ns);
        }
    }

    /// Index and number of the connection that a descriptor leads to.
    fn connection_of(&self, table: &Table, fd: i32) -> Option<(usize, u32)> {
        match self.objects[table.get(fd)?].what {
            What::Stream { connection: Some(index), .. } => Some((index, index as u32 + 1)),
            _ => None,
        }
    }
}

fn direction(dir: Dir) -> Direction {
    if dir == Dir::In { Direction::Sent } else { Direction::Received }
}

/// Whether a read that gave nothing had room for something: the peer has ended.
fn asked(call: &Call<'_>) -> bool {
    let room = matches!(i64::from(call.nr), libc::SYS_read | libc::SYS_recvfrom);
    !room || call.args[2] > 0
}
