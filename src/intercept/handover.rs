//! Where guests' connections come in: the shim passes a socket, and gets another one for it.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use log_format::arena::{Address, socket_state};
use log_format::handover::{HELLO_BYTES_MAX, REQUEST_BYTES, Request, reply};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use rustls::server::Acceptor;
use rustls::{CipherSuite, SignatureScheme};

use crate::log::map::ArenaMap;

/// How long a shim may take over its request: it sends it at once.
const PATIENCE: Duration = Duration::from_secs(1);
/// Entries kept of connections that have ended: a guest may still ask for their addresses.
const ENDED_MAX: usize = 1024;

/// What a guest asks a server for.
#[derive(Clone, Debug)]
pub(super) struct Hello {
    /// Server name.
    pub(super) sni: Option<String>,
    /// Protocols, best first.
    pub(super) alpn: Vec<Vec<u8>>,
    /// Bytes of the message on the wire.
    pub(super) len: usize,
}

/// A request, as it came in.
pub(super) struct Asked {
    pub(super) request: Request,
    /// The guest's socket.
    pub(super) upstream: TcpStream,
    /// Its ends.
    pub(super) local: SocketAddr,
    pub(super) peer: SocketAddr,
    /// The ClientHello, or why the host can't speak TLS with the guest.
    pub(super) hello: Result<Hello, String>,
    shim: UnixStream,
}

impl Asked {
    /// Reads a request.
    ///
    /// # Errors
    /// The system's, or that it is none.
    pub(super) fn read(mut shim: UnixStream) -> io::Result<Asked> {
        shim.set_read_timeout(Some(PATIENCE))?;
        shim.set_write_timeout(Some(PATIENCE))?;
        let mut head = [0; REQUEST_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut into = [IoSliceMut::new(&mut head)];
        let got = recvmsg(&shim, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
        let mut socket: Option<OwnedFd> = None;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                socket = fds.last();
            }
        }
        let wrong = || io::Error::other("this is no request");
        let upstream = TcpStream::from(socket.ok_or_else(wrong)?);
        shim.read_exact(&mut head[got..])?;
        let request = Request::from_bytes(&head).ok_or_else(wrong)?;
        let mut hello = vec![0; (request.hello_len as usize).min(HELLO_BYTES_MAX)];
        shim.read_exact(&mut hello)?;
        let (local, peer) = (upstream.local_addr()?, upstream.peer_addr()?);
        Ok(Asked { request, upstream, local, peer, hello: parse(&hello), shim })
    }

    /// Leaves the guest's socket where it is.
    pub(super) fn leave(&self) -> io::Result<()> {
        self.answer(reply::LEAVE, None)
    }

    /// Puts `socket` in the place of the guest's.
    pub(super) fn swap(&self, socket: &TcpStream) -> io::Result<()> {
        self.answer(reply::SWAP, Some(socket))
    }

    fn answer(&self, answer: u64, socket: Option<&TcpStream>) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fds = socket.map(AsFd::as_fd);
        if let Some(fd) = &fds
            && !control.push(SendAncillaryMessage::ScmRights(std::slice::from_ref(fd)))
        {
            return Err(io::Error::other("no room for a descriptor"));
        }
        let word = answer.to_le_bytes();
        sendmsg(&self.shim, &[IoSlice::new(&word)], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

/// Reads a ClientHello; why the host can't answer it.
fn parse(mut bytes: &[u8]) -> Result<Hello, String> {
    let len = bytes.len();
    let mut acceptor = Acceptor::default();
    let accepted = loop {
        let read = acceptor.read_tls(&mut bytes).map_err(|e| e.to_string())?;
        match acceptor.accept() {
            Ok(Some(accepted)) => break accepted,
            Ok(None) if read > 0 && !bytes.is_empty() => {}
            Ok(None) => return Err("its ClientHello came in pieces".into()),
            Err((e, _)) => return Err(format!("its TLS is not spoken here ({e})")),
        }
    };
    let hello = accepted.client_hello();
    let speaks = hello.cipher_suites().iter().any(|suite| {
        matches!(
            suite,
            CipherSuite::TLS13_AES_128_GCM_SHA256
                | CipherSuite::TLS13_AES_256_GCM_SHA384
                | CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        )
    });
    if !speaks || !hello.signature_schemes().contains(&SignatureScheme::ECDSA_NISTP256_SHA256) {
        return Err("its TLS is too old".into());
    }
    Ok(Hello {
        sni: hello.server_name().map(str::to_owned),
        alpn: hello.alpn().into_iter().flatten().map(<[u8]>::to_vec).collect(),
        len,
    })
}

/// Makes pairs of connected sockets: the guest's and the host's.
#[derive(Default)]
pub(super) struct Pairs {
    listeners: [Option<TcpListener>; 2],
}

impl Pairs {
    /// A pair of the family of `like`: for the guest, and for the host.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn make(&mut self, like: IpAddr) -> io::Result<(TcpStream, TcpStream)> {
        let (slot, loopback) = match like {
            IpAddr::V4(_) => (0, IpAddr::from(Ipv4Addr::LOCALHOST)),
            IpAddr::V6(_) => (1, IpAddr::from(Ipv6Addr::LOCALHOST)),
        };
        let listener = match &mut self.listeners[slot] {
            Some(listener) => listener,
            none => none.insert(TcpListener::bind((loopback, 0))?),
        };
        let guest = TcpStream::connect(listener.local_addr()?)?;
        let name = guest.local_addr()?;
        let host = loop {
            let (host, from) = listener.accept()?;
            // Others may connect to the port; they are sent away.
            if from == name {
                break host;
            }
        };
        guest.set_nodelay(true)?;
        host.set_nodelay(true)?;
        Ok((guest, host))
    }
}

/// The arena's table of guests' sockets.
pub(super) struct Sockets {
    arena: Arc<ArenaMap>,
    /// Entries of connections that have ended, oldest first.
    ended: Mutex<VecDeque<usize>>,
}

impl Sockets {
    pub(super) fn new(arena: Arc<ArenaMap>) -> Sockets {
        Sockets { arena, ended: Mutex::default() }
    }

    /// Enters one end of a pair, `own`, whose other end has this port; its number, or none if
    /// there is no room.
    pub(super) fn enter(&self, asked: &Asked, own: SocketAddr, other_port: u16) -> Option<usize> {
        let sockets = self.arena.sockets();
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |i: usize| {
            sockets.get(i).is_some_and(|s| {
                let (version, port, _) = s.local.get();
                (version, port) == (parts(own).0, own.port())
            })
        };
        // The kernel gives ports again once their connections are over.
        if let Some(at) = ended.iter().position(|i| same(*i))
            && let Some(socket) = ended.remove(at).and_then(|i| sockets.get(i))
        {
            socket.state.store(socket_state::FREE, Ordering::Release);
        }
        drop(ended);
        let (number, socket) = sockets.iter().enumerate().find(|(_, socket)| {
            socket.state.load(Ordering::Relaxed) == socket_state::FREE
                && socket
                    .state
                    .compare_exchange(
                        socket_state::FREE,
                        socket_state::RESERVED,
                        Ordering::AcqRel,
                        Ordering::Relaxed,
                    )
                    .is_ok()
        })?;
        socket.fd.store(asked.request.fd, Ordering::Relaxed);
        socket.process.store(asked.request.process, Ordering::Relaxed);
        socket.step.store(asked.request.step, Ordering::Relaxed);
        set(&socket.local, own);
        socket.local.other_port.store(other_port.into(), Ordering::Relaxed);
        set(&socket.peer, asked.peer);
        set(&socket.shown, asked.local);
        socket.state.store(socket_state::OPEN, Ordering::Release);
        Some(number)
    }

    /// The connection has ended.
    pub(super) fn leave(&self, number: usize) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.push_back(number);
        if ended.len() > ENDED_MAX
            && let Some(socket) = ended.pop_front().and_then(|i| self.arena.sockets().get(i))
        {
            socket.state.store(socket_state::FREE, Ordering::Release);
        }
    }
}

/// Version and bytes of an address; one of version 4 in version 6's clothes is of version 4.
fn parts(address: SocketAddr) -> (u8, [u8; 16]) {
    let mut ip = [0; 16];
    match address.ip().to_canonical() {
        IpAddr::V4(v4) => {
            ip[..4].copy_from_slice(&v4.octets());
            (4, ip)
        }
        IpAddr::V6(v6) => (6, v6.octets()),
    }
}

fn set(to: &Address, address: SocketAddr) {
    let (version, ip) = parts(address);
    to.set(version, address.port(), ip);
}
