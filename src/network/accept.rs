//! Accepting the guest's connections, with the destinations that the shim has noted.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use log_format::arena::{Address, socket_state};
use rustix::net::sockopt::set_socket_linger;
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::asker::Asker;
use super::dns::{self, Fits, Names};
use crate::error::{Error, Result};
use crate::log::map::ArenaMap;

/// The guest's end of a connection, as the shim knows it.
#[derive(Clone)]
pub struct GuestEnd {
    arena: Arc<ArenaMap>,
    place: usize,
}

impl GuestEnd {
    /// The rest of this exchange's recorded answer is about to be sent.
    pub fn answered(&self, exchange: u32) {
        if let Some(socket) = self.arena.sockets().get(self.place) {
            socket.answered.store(exchange, Ordering::Release);
        }
    }
}

impl fmt::Debug for GuestEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuestEnd").field("place", &self.place).finish_non_exhaustive()
    }
}

/// A connection of the guest's, accepted for its destination.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub stream: TcpStream,
    /// Where the guest wanted to connect to.
    pub destination: SocketAddr,
    /// The host's name, where the run knows one.
    pub name: Option<String>,
    /// Key of the process.
    pub process: u64,
    /// Its descriptor.
    pub fd: i32,
    /// Its other end.
    pub guest: GuestEnd,
    /// Who has made it; none if the process has ended already.
    pub asker: Option<Asker>,
}

/// What answers a guest's connections.
pub trait Answers: Send + Sync {
    /// Answers one connection until it ends.
    fn answer(&self, accepted: Accepted) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// What became of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was answered here.
    Answered,
    /// It was refused: nothing in the recording has this destination.
    Refused,
    /// It was real: a server on loopback that the recording has no exchanges with, or one that is
    /// meant to be real.
    Live,
}

/// One connection that the guest made or tried to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Key of the process.
    pub process: u64,
    /// Where to.
    pub destination: SocketAddr,
    /// The host's name, where the run knows one.
    pub name: Option<String>,
    /// What became of it.
    pub verdict: Verdict,
}

/// Attempts so far.
pub type Attempts = Arc<Mutex<Vec<Attempt>>>;

/// Listens for connections and lookups, and tells the shim where.
///
/// # Errors
/// The system's: no loopback address can be listened on.
pub async fn listen(
    arena: &Arc<ArenaMap>,
    names: &Arc<Mutex<Names>>,
    attempts: &Attempts,
    answers: &Arc<dyn Answers>,
    live: Option<&Fits>,
) -> Result<()> {
    let net = &arena.header().net;
    let hosts: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    for (i, host) in hosts.into_iter().enumerate() {
        let player = match TcpListener::bind((host, 0)).await {
            Ok(listener) => listener,
            // A machine without IPv6: the guest can't connect by it either.
            Err(_) if i == 1 => return Ok(()),
            Err(e) => return Err(Error::io("listen on 127.0.0.1")(e)),
        };
        let (udp, tcp) = dns_sockets(host).await.map_err(Error::io("listen for lookups"))?;
        let port = |at: std::io::Result<SocketAddr>| at.map_or(0, |at| at.port().into());
        if let (Some(p), Some(d)) = (net.player.get(i), net.dns.get(i)) {
            p.store(port(player.local_addr()), Ordering::Release);
            d.store(port(udp.local_addr()), Ordering::Release);
        }
        tokio::spawn(dns::over_udp(udp, names.clone()));
        tokio::spawn(dns::over_tcp(tcp, names.clone()));
        let ours = Accepting {
            arena: arena.clone(),
            names: names.clone(),
            attempts: attempts.clone(),
            answers: answers.clone(),
            live: live.cloned(),
        };
        tokio::spawn(accept(player, ours));
    }
    Ok(())
}

/// A UDP and a TCP socket with the same port.
async fn dns_sockets(host: IpAddr) -> std::io::Result<(UdpSocket, TcpListener)> {
    const TRIES: usize = 20;
    let mut tries = 0;
    loop {
        let udp = UdpSocket::bind((host, 0)).await?;
        match TcpListener::bind(udp.local_addr()?).await {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(e) if tries >= TRIES => return Err(e),
            Err(_) => tries += 1,
        }
    }
}

/// What is needed to accept connections.
struct Accepting {
    arena: Arc<ArenaMap>,
    names: Arc<Mutex<Names>>,
    attempts: Attempts,
    answers: Arc<dyn Answers>,
    /// Hosts that are meant to be real.
    live: Option<Fits>,
}

impl Accepting {
    /// Where to connect to in truth, if this destination is meant to be real.
    fn real(&self, name: Option<&str>, destination: SocketAddr) -> Option<(String, u16)> {
        let fits = self.live.as_ref()?;
        let (address, port) = (destination.ip().to_string(), destination.port());
        let loopback = destination.ip().is_loopback().then_some("localhost");
        let mut all = name.into_iter().chain(loopback).chain([address.as_str()]);
        all.find(|host| fits(host) || fits(&format!("{host}:{port}")))?;
        Some((name.unwrap_or(&address).to_owned(), port))
    }
}

/// Passes a connection on to the real host; one that can't be reached ends it.
async fn pass_on(mut stream: TcpStream, host: (String, u16)) {
    match TcpStream::connect(host).await {
        Ok(mut real) => {
            let _ = real.set_nodelay(true);
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut real).await;
        }
        Err(_) => {
            let _ = set_socket_linger(&stream, Some(Duration::ZERO));
        }
    }
}

async fn accept(listener: TcpListener, ours: Accepting) {
    let Accepting { arena, names, attempts, answers, .. } = &ours;
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(_) => {
                // No descriptors at the moment: others will end.
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let Some((place, destination, process, fd)) = find(arena, from) else { continue };
        let name = names.lock().ok();
        let name = name.and_then(|n| n.name_of(destination.ip()).map(str::to_owned));
        let real = ours.real(name.as_deref(), destination);
        let verdict = if real.is_some() { Verdict::Live } else { Verdict::Answered };
        if let Ok(mut all) = attempts.lock() {
            all.push(Attempt { process, destination, name: name.clone(), verdict });
        }
        let answered: Pin<Box<dyn Future<Output = ()> + Send>> = match real {
            Some(host) => Box::pin(pass_on(stream, host)),
            None => {
                let socket = arena.sockets().get(place);
                let asker = socket.and_then(|socket| Asker::of(arena, socket));
                let guest = GuestEnd { arena: arena.clone(), place };
                answers.answer(Accepted { stream, destination, name, process, fd, guest, asker })
            }
        };
        let arena = arena.clone();
        tokio::spawn(async move {
            answered.await;
            if let Some(socket) = arena.sockets().get(place) {
                socket.state.store(socket_state::ENDED, Ordering::Release);
            }
        });
    }
}

/// The entry of the socket whose guest's end has this address: its place, and what it says.
fn find(arena: &ArenaMap, from: SocketAddr) -> Option<(usize, SocketAddr, u64, i32)> {
    arena.sockets().iter().enumerate().find_map(|(place, socket)| {
        let open = socket.state.load(Ordering::Acquire) == socket_state::OPEN;
        let local = address(&socket.local)?;
        (open && local == from).then(|| {
            let process = socket.process.load(Ordering::Relaxed);
            let peer = address(&socket.peer).map(unmapped)?;
            Some((place, peer, process, socket.fd.load(Ordering::Relaxed)))
        })?
    })
}

/// Moves the shim's word of connections that do not come here into the list.
pub fn collect(arena: &ArenaMap, attempts: &Attempts) {
    for socket in arena.sockets() {
        let verdict = match socket.state.load(Ordering::Acquire) {
            socket_state::REFUSED => Verdict::Refused,
            socket_state::LIVE => Verdict::Live,
            _ => continue,
        };
        if let (Some(peer), Ok(mut all)) = (address(&socket.peer), attempts.lock()) {
            all.push(Attempt {
                process: socket.process.load(Ordering::Relaxed),
                destination: unmapped(peer),
                name: None,
                verdict,
            });
        }
        socket.state.store(socket_state::FREE, Ordering::Release);
    }
}

/// An address as it stands in the arena.
pub fn address(stored: &Address) -> Option<SocketAddr> {
    let (version, port, ip) = stored.get();
    let ip = match version {
        4 => IpAddr::from(<[u8; 4]>::try_from(ip.get(..4)?).ok()?),
        6 => IpAddr::from(ip),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// Stores an address in the arena.
pub fn store(to: &Address, address: SocketAddr) {
    let mut ip = [0; 16];
    let version = match address.ip() {
        IpAddr::V4(v4) => {
            ip[..4].copy_from_slice(&v4.octets());
            4
        }
        IpAddr::V6(v6) => {
            ip = v6.octets();
            6
        }
    };
    to.set(version, address.port(), ip);
}

/// The address without the mapping of IPv4 into IPv6.
pub(super) fn unmapped(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
