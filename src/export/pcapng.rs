//! Packet captures: pcapng.
//!
//! A recording has no packets. What its connections carried is put into IP and TCP here as if it
//! had been sent so, one segment for each call that moved bytes, at its time. The plaintext of
//! TLS that the host has ended stands in place of the ciphertext, so that HTTP is there to see.
//! Where a reader would not look for it, the other side's port is given as 80, and the true one
//! in a comment: plaintext on port 443, and HTTP/2 on any port. The recorded program's own address
//! and port are made up. Connections over Unix sockets are left out.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use etherparse::{PacketBuilder, TcpHeader};
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::name_resolution::{
    Ipv4Record, Ipv6Record, NameResolutionBlock, Record,
};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::pcapng::{PcapNgBlock, PcapNgWriter};
use pcap_file::{DataLink, Endianness, PcapError};

use super::unwritten;
use crate::error::Result;
use crate::report::units;
use crate::session::{Manifest, Session};
use crate::stream::connection::{Cleartext, Peer, Sink, merge};
use crate::stream::{Connection, Direction, Protocol, Segment, Tls};

/// Most data in one packet; an IP packet has at most 65,535 bytes.
const PAYLOAD_BYTES_MAX: usize = 32 * 1024;
const WINDOW: u16 = u16::MAX;
const HOP_LIMIT: u8 = 64;
/// Addresses of the recorded program, from the ranges for documentation.
const LOCAL_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const LOCAL_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
/// Its ports: so much more than the connection's number.
const LOCAL_PORT: u16 = 40_000;
const HTTPS: u16 = 443;
const HTTP: u16 = 80;
/// `epb_flags`: the packet came in, or went out.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// Writes what went over a session's connections as packets; what of it could not be read.
///
/// # Errors
/// The session can't be read, or the writer's.
pub fn write(session: &Session, out: &mut dyn Write) -> Result<Vec<String>> {
    let traffic = session.traffic()?;
    let manifest = session.manifest();
    let mut packets = Packets::new(manifest, traffic.connections(), out).map_err(failed)?;
    let of_http2 = traffic.summaries().iter().filter(|s| s.protocol == Protocol::Http2);
    packets.http2 = of_http2.map(|s| s.connection).collect();
    let merged = merge(session, &mut packets)?;
    match packets.failure {
        Some(failure) => Err(failed(failure)),
        None => Ok(merged.damage),
    }
}

fn failed(error: PcapError) -> crate::error::Error {
    unwritten(match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other),
    })
}

/// One connection as TCP: what each side has sent.
struct Flow {
    local: SocketAddr,
    peer: SocketAddr,
    /// Next sequence numbers of the guest and of the other side.
    next: [u32; 2],
    /// Whether they have sent FIN.
    finished: [bool; 2],
    cleartext: Cleartext,
}

/// Index of a side in [`Flow`]'s arrays.
fn side(direction: Direction) -> usize {
    match direction {
        Direction::Sent => 0,
        Direction::Received => 1,
    }
}

/// TCP flags of a packet.
#[derive(Clone, Copy, Default)]
struct Flags {
    syn: bool,
    ack: bool,
    fin: bool,
    rst: bool,
}

struct Packets<'a> {
    writer: PcapNgWriter<&'a mut dyn Write>,
    manifest: &'a Manifest,
    /// What the whole session tells of each connection.
    known: HashMap<u32, &'a Connection>,
    /// Connections that speak HTTP/2.
    http2: HashSet<u32>,
    flows: HashMap<u32, Flow>,
    failure: Option<PcapError>,
}

impl<'a> Packets<'a> {
    fn new(
        manifest: &'a Manifest,
        connections: &'a [Connection],
        out: &'a mut dyn Write,
    ) -> Result<Packets<'a>, PcapError> {
        let command = units::command(&manifest.program.argv, 200);
        let section = SectionHeaderBlock {
            endianness: Endianness::Little,
            options: vec![
                SectionHeaderOption::UserApplication(
                    concat!("rr-run ", env!("CARGO_PKG_VERSION")).into(),
                ),
                SectionHeaderOption::Comment(
                    format!("session {}: {command}", manifest.name).into(),
                ),
            ],
            ..SectionHeaderBlock::default()
        };
        let mut writer = PcapNgWriter::with_section_header(out, section)?;
        let interface = InterfaceDescriptionBlock {
            linktype: DataLink::RAW,
            snaplen: 0,
            options: vec![
                InterfaceDescriptionOption::IfName("rr-run".into()),
                // Nanoseconds.
                InterfaceDescriptionOption::IfTsResol(9),
            ],
        };
        writer.write_block(&interface.into_block())?;
        let names = names(connections);
        if !names.is_empty() {
            let names = NameResolutionBlock { records: names, options: Vec::new() };
            writer.write_block(&names.into_block())?;
        }
        let known = connections.iter().map(|c| (c.id, c)).collect();
        Ok(Packets {
            writer,
            manifest,
            known,
            http2: HashSet::new(),
            flows: HashMap::new(),
            failure: None,
        })
    }

    /// Writes a packet from one side of a connection.
    fn packet(
        &mut self,
        id: u32,
        from: Direction,
        flags: Flags,
        payload: &[u8],
        time_ns: u64,
        comment: Option<String>,
    ) {
        let Some(flow) = self.flows.get_mut(&id) else { return };
        if self.failure.is_some() {
            return;
        }
        let (this, other) = (side(from), side(from.other()));
        let (source, target) = match from {
            Direction::Sent => (flow.local, flow.peer),
            Direction::Received => (flow.peer, flow.local),
        };
        let mut tcp = TcpHeader::new(source.port(), target.port(), flow.next[this], WINDOW);
        tcp.syn = flags.syn;
        tcp.fin = flags.fin;
        tcp.rst = flags.rst;
        tcp.psh = !payload.is_empty();
        tcp.ack = flags.ack;
        if flags.ack {
            tcp.acknowledgment_number = flow.next[other];
        }
        let advance = payload.len() as u32 + u32::from(flags.syn) + u32::from(flags.fin);
        flow.next[this] = flow.next[this].wrapping_add(advance);
        let builder = match (source.ip(), target.ip()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                PacketBuilder::ipv4(a.octets(), b.octets(), HOP_LIMIT)
            }
            (a, b) => PacketBuilder::ipv6(v6(a).octets(), v6(b).octets(), HOP_LIMIT),
        };
        let builder = builder.tcp_header(tcp);
        let mut data = Vec::with_capacity(builder.size(payload.len()));
        if let Err(e) = builder.write(&mut data, payload) {
            self.failure = Some(PcapError::IoError(io::Error::other(e)));
            return;
        }
        let direction = if from == Direction::Sent { OUTBOUND } else { INBOUND };
        let mut options = vec![EnhancedPacketOption::Flags(direction)];
        options.extend(comment.map(|text| EnhancedPacketOption::Comment(text.into())));
        let block = EnhancedPacketBlock {
            interface_id: 0,
            timestamp: Duration::from_nanos(self.manifest.started_ns + time_ns),
            original_len: data.len() as u32,
            data: Cow::Owned(data),
            options,
        };
        self.failure = self.writer.write_block(&block.into_block()).err();
    }

    fn fin(&mut self, id: u32, by: Direction, time_ns: u64) {
        let Some(flow) = self.flows.get_mut(&id) else { return };
        if !std::mem::replace(&mut flow.finished[side(by)], true) {
            let flags = Flags { fin: true, ack: true, ..Flags::default() };
            self.packet(id, by, flags, b"", time_ns, None);
        }
    }

    /// Whether a reader would not look for HTTP on this port.
    fn shown_as_http(&self, connection: &Connection, port: u16) -> bool {
        let plain = matches!(connection.tls, Tls::Intercepted { .. });
        port != HTTP && (plain && port == HTTPS || self.http2.contains(&connection.id))
    }

    /// What is to be known of a connection, for people.
    fn comment(&self, connection: &Connection) -> String {
        let processes = &self.manifest.processes;
        let process = processes.iter().find(|p| p.key == connection.process);
        let mut text = match process {
            Some(p) => format!("process {} ({})", p.id, units::command(&p.argv, 80)),
            None => format!("process {:016x}", connection.process),
        };
        text += &format!(", step {}, descriptor {}", connection.step, connection.fd);
        if let Some(host) = &connection.host {
            text += &format!("; host {host}");
        }
        match &connection.tls {
            Tls::None => {}
            Tls::Intercepted { .. } => text += "; the plaintext of TLS",
            Tls::Opaque { reason, .. } => text += &format!("; TLS that was not read: {reason}"),
        }
        if let Peer::Inet(peer) = &connection.peer
            && self.shown_as_http(connection, peer.port())
        {
            text += &format!("; port {} in truth", peer.port());
        }
        text
    }
}

/// An address as IPv6.
fn v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// The names of the other ends.
fn names(connections: &[Connection]) -> Vec<Record<'static>> {
    let mut names: BTreeMap<IpAddr, Vec<&str>> = BTreeMap::new();
    for connection in connections {
        if let (Peer::Inet(peer), Some(host)) = (&connection.peer, &connection.host)
            && host.parse::<IpAddr>().is_err()
        {
            let of = names.entry(peer.ip()).or_default();
            if !of.contains(&host.as_str()) {
                of.push(host);
            }
        }
    }
    let record = |(ip, names): (IpAddr, Vec<&str>)| {
        let names = names.into_iter().map(|name| Cow::Owned(name.to_owned())).collect();
        match ip {
            IpAddr::V4(ip) => {
                Record::Ipv4(Ipv4Record { ip_addr: ip.octets().to_vec().into(), names })
            }
            IpAddr::V6(ip) => {
                Record::Ipv6(Ipv6Record { ip_addr: ip.octets().to_vec().into(), names })
            }
        }
    };
    names.into_iter().map(record).collect()
}

/// The guest's own end, made up.
fn local(id: u32, peer: SocketAddr) -> SocketAddr {
    let ip: IpAddr = match peer.ip() {
        IpAddr::V4(ip) if ip.is_loopback() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_loopback() => Ipv6Addr::LOCALHOST.into(),
        IpAddr::V4(_) => LOCAL_V4.into(),
        IpAddr::V6(_) => LOCAL_V6.into(),
    };
    let ports = u32::from(u16::MAX - LOCAL_PORT);
    SocketAddr::new(ip, LOCAL_PORT + (id % ports) as u16)
}

impl Sink for Packets<'_> {
    fn opened(&mut self, connection: &Connection) {
        // By now it may be known better than when it was opened.
        let connection = self.known.get(&connection.id).copied().unwrap_or(connection);
        let Peer::Inet(mut peer) = connection.peer else { return };
        if !connection.accepted && self.shown_as_http(connection, peer.port()) {
            peer.set_port(HTTP);
        }
        let id = connection.id;
        let flow = Flow {
            local: local(id, peer),
            peer,
            next: [1, 1],
            finished: [false; 2],
            cleartext: Cleartext::of(connection),
        };
        self.flows.insert(id, flow);
        let comment = self.comment(connection);
        let time_ns = connection.opened_ns;
        let opener = if connection.accepted { Direction::Received } else { Direction::Sent };
        let flags = Flags { syn: true, ..Flags::default() };
        self.packet(id, opener, flags, b"", time_ns, Some(comment));
        let ack = Flags { ack: true, ..Flags::default() };
        self.packet(id, opener.other(), Flags { syn: true, ..ack }, b"", time_ns, None);
        self.packet(id, opener, ack, b"", time_ns, None);
    }

    fn segment(&mut self, connection: u32, segment: &Segment<'_>) {
        let Some(flow) = self.flows.get_mut(&connection) else { return };
        if !flow.cleartext.passes(segment) {
            return;
        }
        let flags = Flags { ack: true, ..Flags::default() };
        for part in segment.bytes.chunks(PAYLOAD_BYTES_MAX) {
            self.packet(connection, segment.direction, flags, part, segment.time_ns, None);
        }
    }

    fn unseen(&mut self, connection: u32, direction: Direction, time_ns: u64) {
        let flags = Flags { ack: true, ..Flags::default() };
        let comment = Some("here bytes went over that the recording does not have".into());
        self.packet(connection, direction, flags, b"", time_ns, comment);
    }

    fn shut(&mut self, connection: u32, by: Direction, time_ns: u64) {
        self.fin(connection, by, time_ns);
    }

    fn intercepted(&mut self, _connection: &Connection) {}

    fn closed(&mut self, connection: u32, by: Direction, time_ns: u64) {
        const RESET: [i32; 2] = [libc::ECONNRESET, libc::EPIPE];
        let error = self.known.get(&connection).and_then(|c| c.error);
        if error.is_some_and(|error| RESET.contains(&error)) {
            let flags = Flags { rst: true, ack: true, ..Flags::default() };
            self.packet(connection, Direction::Received, flags, b"", time_ns, None);
        } else {
            self.fin(connection, by, time_ns);
            self.fin(connection, by.other(), time_ns);
            let flags = Flags { ack: true, ..Flags::default() };
            self.packet(connection, by, flags, b"", time_ns, None);
        }
        self.flows.remove(&connection);
    }
}
