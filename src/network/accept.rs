//! Accepting the guest's connections, with the destinations that the shim has noted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use log_format::arena::{Address, socket_state};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::dns::{self, Names};
use crate::error::{Error, Result};
use crate::log::map::ArenaMap;

/// A connection of the guest's, accepted for its destination.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub stream: TcpStream,
    /// Where the guest wanted to connect to.
    pub destination: SocketAddr,
    /// Key of the process.
    pub process: u64,
    /// Its descriptor.
    pub fd: i32,
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
    /// It was real: a server on loopback that the recording has no exchanges with.
    Live,
}

/// One connection that the guest made or tried to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Key of the process.
    pub process: u64,
    /// Where to.
    pub destination: SocketAddr,
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
        tokio::spawn(accept(player, arena.clone(), attempts.clone(), answers.clone()));
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

async fn accept(
    listener: TcpListener,
    arena: Arc<ArenaMap>,
    attempts: Attempts,
    answers: Arc<dyn Answers>,
) {
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
        let Some((place, destination, process, fd)) = find(&arena, from) else { continue };
        let attempt = Attempt { process, destination, verdict: Verdict::Answered };
        if let Ok(mut all) = attempts.lock() {
            all.push(attempt);
        }
        let answered = answers.answer(Accepted { stream, destination, process, fd });
        let arena = arena.clone();
        tokio::spawn(async move {
            answered.await;
            if let Some(socket) = arena.sockets().get(place) {
                socket.state.store(socket_state::FREE, Ordering::Release);
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

fn unmapped(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
