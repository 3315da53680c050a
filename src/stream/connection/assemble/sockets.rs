//! Sockets: how they are made, connected, accepted and closed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use log_format::DNS_PORT;
use log_format::record::{Call, Dir};

use super::{Assembler, At, Life, Object, Sink, What};
use crate::stream::connection::fds::{ObjectId, Table, pair};
use crate::stream::connection::{Connection, Direction, Peer, Tls};

impl Assembler {
    pub(super) fn open(
        &mut self,
        table: &mut Table,
        fd: i32,
        what: What,
        close_on_exec: bool,
        at: At<'_>,
        sink: &mut dyn Sink,
    ) -> ObjectId {
        let id = self.objects.len();
        self.objects.push(Object { what, descriptors: 1 });
        let released = table.set(fd, id, close_on_exec);
        self.released(released, at.time_ns, sink);
        id
    }

    pub(super) fn socket(
        &mut self,
        table: &mut Table,
        call: &Call<'_>,
        at: At<'_>,
        sink: &mut dyn Sink,
    ) {
        let (domain, kind) = (call.args[0] as i32, call.args[1] as i32);
        let unix = domain == libc::AF_UNIX;
        let what = match kind & 0xf {
            libc::SOCK_STREAM if unix || matches!(domain, libc::AF_INET | libc::AF_INET6) => {
                What::Stream { unix, connection: None }
            }
            libc::SOCK_DGRAM if !unix => What::Datagram { port: None },
            _ => return,
        };
        self.open(table, call.ret as i32, what, kind & libc::SOCK_CLOEXEC != 0, at, sink);
    }

    pub(super) fn pair(
        &mut self,
        table: &mut Table,
        call: &Call<'_>,
        at: At<'_>,
        sink: &mut dyn Sink,
    ) {
        let Some([a, b]) = pair(call) else { return };
        let cloexec = call.args[1] as i32 & libc::SOCK_CLOEXEC != 0;
        let first = self.objects.len();
        self.open(table, a, What::Pair { other: first + 1 }, cloexec, at, sink);
        self.open(table, b, What::Pair { other: first }, cloexec, at, sink);
    }

    pub(super) fn connect(
        &mut self,
        id: ObjectId,
        call: &Call<'_>,
        at: At<'_>,
        sink: &mut dyn Sink,
    ) {
        let Some(to) = call.buf(1, Dir::In).and_then(|b| peer(b.bytes)) else { return };
        let failed = i32::try_from(-call.ret).unwrap_or(0);
        match &mut self.objects[id].what {
            What::Datagram { port } => {
                if let Peer::Inet(to) = to {
                    match call.ret {
                        0 => *port = Some(to.port()),
                        _ => self.no_lookups |= to.port() == DNS_PORT,
                    }
                }
            }
            What::Stream { connection: Some(index), .. } => {
                // A connect that is asked again how it goes.
                let known = &mut self.connections[*index];
                let going = [0, libc::EALREADY, libc::EISCONN, libc::EINPROGRESS, libc::EINTR];
                if !going.contains(&failed) && known.closed_ns.is_none() {
                    known.error = Some(failed);
                    let index = *index;
                    self.close(index, Direction::Received, at.time_ns, sink);
                }
            }
            What::Stream { .. } => {
                let index = self.begin(id, call.args[0] as i32, to, false, at, sink);
                if !matches!(failed, 0 | libc::EINPROGRESS | libc::EINTR | libc::EAGAIN) {
                    self.connections[index].error = Some(failed);
                    self.close(index, Direction::Received, at.time_ns, sink);
                    // The socket may try again.
                    if let What::Stream { connection, .. } = &mut self.objects[id].what {
                        *connection = None;
                    }
                }
            }
            What::Pair { .. } | What::Hosts => {}
        }
    }

    /// Whether a call sends a datagram to a name server.
    pub(super) fn asks_names(&self, table: &Table, call: &Call<'_>) -> bool {
        let object = table.get(call.args[0] as u32 as i32).map(|id| &self.objects[id].what);
        let Some(What::Datagram { port }) = object else { return false };
        is_name_server(call.buf(4, Dir::In).map(|b| b.bytes), *port)
    }

    pub(super) fn accept(
        &mut self,
        table: &mut Table,
        call: &Call<'_>,
        at: At<'_>,
        sink: &mut dyn Sink,
    ) {
        let fd = call.ret as i32;
        let Some(listener) = table.get(call.args[0] as u32 as i32) else { return };
        let What::Stream { unix, .. } = self.objects[listener].what else { return };
        let cloexec = i64::from(call.nr) == libc::SYS_accept4
            && call.args[3] as i32 & libc::SOCK_CLOEXEC != 0;
        let what = What::Stream { unix, connection: None };
        let id = self.open(table, fd, what, cloexec, at, sink);
        let nobody = || match unix {
            true => Peer::Unix(String::new()),
            false => Peer::Inet(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))),
        };
        let from = call.buf(1, Dir::Out).and_then(|b| peer(b.bytes)).unwrap_or_else(nobody);
        self.begin(id, fd, from, true, at, sink);
    }

    /// A connection begins on a socket; its index.
    pub(super) fn begin(
        &mut self,
        id: ObjectId,
        fd: i32,
        peer: Peer,
        accepted: bool,
        at: At<'_>,
        sink: &mut dyn Sink,
    ) -> usize {
        let index = self.connections.len();
        let host = match &peer {
            Peer::Inet(to) if !accepted => self.names.get(to.ip()).map(str::to_owned),
            _ => None,
        };
        self.connections.push(Connection {
            id: index as u32 + 1,
            process: at.process,
            fd,
            accepted,
            peer,
            host,
            tls: Tls::None,
            opened_ns: at.time_ns,
            closed_ns: None,
            step: at.step,
            sent_bytes: 0,
            received_bytes: 0,
            error: None,
        });
        self.lives.push(Life::default());
        if let What::Stream { connection, .. } = &mut self.objects[id].what {
            *connection = Some(index);
        }
        sink.opened(&self.connections[index]);
        index
    }

    pub(super) fn close(&mut self, index: usize, by: Direction, time_ns: u64, sink: &mut dyn Sink) {
        let connection = &mut self.connections[index];
        if connection.closed_ns.is_none() {
            connection.closed_ns = Some(time_ns);
            if !self.lives[index].intercepted {
                sink.closed(connection.id, by, time_ns);
            }
        }
    }

    /// How a connect ended that was not waited for.
    pub(super) fn socket_error(
        &mut self,
        table: &Table,
        call: &Call<'_>,
        at: At<'_>,
        sink: &mut dyn Sink,
    ) {
        let asked = [call.args[1] as i32, call.args[2] as i32];
        let error = call.buf(3, Dir::Out).and_then(|b| b.bytes.first_chunk());
        if let Some((index, _)) = self.connection_of(table, call.args[0] as u32 as i32)
            && asked == [libc::SOL_SOCKET, libc::SO_ERROR]
            && let Some(error) = error.map(|b| i32::from_le_bytes(*b)).filter(|e| *e != 0)
        {
            self.connections[index].error.get_or_insert(error);
            self.close(index, Direction::Received, at.time_ns, sink);
        }
    }
}

/// Whether a datagram's other end is a name server: at the address that its call names, else at the
/// port that its socket is connected to.
pub(super) fn is_name_server(name: Option<&[u8]>, connected: Option<u16>) -> bool {
    name.and_then(inet).map(|named| named.port()).or(connected) == Some(DNS_PORT)
}

/// The internet address in a `struct sockaddr`.
pub(crate) fn inet(bytes: &[u8]) -> Option<SocketAddr> {
    match peer(bytes)? {
        Peer::Inet(address) => Some(address),
        Peer::Unix(_) => None,
    }
}

/// The address in a `struct sockaddr`.
pub(super) fn peer(bytes: &[u8]) -> Option<Peer> {
    let family = u16::from_le_bytes(*bytes.first_chunk()?);
    let port = || bytes.get(2..)?.first_chunk().map(|b| u16::from_be_bytes(*b));
    match i32::from(family) {
        libc::AF_INET => {
            let ip: [u8; 4] = *bytes.get(4..)?.first_chunk()?;
            Some(Peer::Inet(SocketAddr::new(IpAddr::V4(ip.into()), port()?)))
        }
        libc::AF_INET6 => {
            let ip: [u8; 16] = *bytes.get(8..)?.first_chunk()?;
            let ip = IpAddr::V6(Ipv6Addr::from(ip)).to_canonical();
            Some(Peer::Inet(SocketAddr::new(ip, port()?)))
        }
        libc::AF_UNIX => {
            let path = match bytes.get(2..)? {
                [0, name @ ..] => format!("@{}", String::from_utf8_lossy(name)),
                path => {
                    let end = path.iter().position(|b| *b == 0).unwrap_or(path.len());
                    String::from_utf8_lossy(path.get(..end)?).into_owned()
                }
            };
            Some(Peer::Unix(path))
        }
        _ => None,
    }
}
