//! One connection: TLS with the server, TLS with the guest, and what passes between them.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpStream as StdTcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use log_format::record::plain;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client};

use super::Shared;
use super::certs::names;
use super::handover::Hello;
use super::plain::{Closed, Ended, Opened};
use super::pump::{Log, Prefixed, abort, pump};

/// A connection that the host has taken over.
pub(super) struct Taken {
    pub(super) number: u32,
    /// The host's end of the pair.
    pub(super) guest: StdTcpStream,
    /// The guest's own connection.
    pub(super) upstream: StdTcpStream,
    pub(super) hello: Hello,
    /// Bytes had passed before the ClientHello: a new connection is no substitute.
    pub(super) used: bool,
    pub(super) opened: Opened,
}

/// Notes whether the server asks for a certificate of the guest.
#[derive(Debug, Default)]
struct Asked(AtomicBool);

impl ResolvesClientCert for Asked {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.store(true, Ordering::Release);
        None
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// That a guest may have sent something that has not gone out yet; until this is dropped.
pub(super) struct Sending {
    shared: Arc<Shared>,
    done: AtomicBool,
}

impl Sending {
    pub(super) fn new(shared: Arc<Shared>) -> Sending {
        shared.sending.fetch_add(1, Ordering::AcqRel);
        Sending { shared, done: AtomicBool::new(false) }
    }

    fn all_sent(&self) {
        if !self.done.swap(true, Ordering::AcqRel) {
            self.shared.sending.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.all_sent();
    }
}

/// Serves a connection to its end.
pub(super) async fn serve(sending: Sending, taken: Taken) {
    let number = taken.number;
    let shared = sending.shared.clone();
    if let Err(e) = run(&shared, &sending, taken).await {
        // Neither side could be talked to: the guest sees its connection end.
        let closed = Closed { sent_bytes: 0, received_bytes: 0, end: Ended::Failed };
        if e.kind() != io::ErrorKind::Other {
            shared.journal.add_json(plain::CLOSED, number, &closed);
        }
    }
}

async fn run(shared: &Shared, sending: &Sending, taken: Taken) -> io::Result<()> {
    let Taken { number, guest, upstream, hello, used, mut opened } = taken;
    guest.set_nonblocking(true)?;
    upstream.set_nonblocking(true)?;
    let mut guest = TcpStream::from_std(guest)?;
    let upstream = TcpStream::from_std(upstream)?;
    // The guest's records come in one piece each; nothing is to wait for more.
    let _ = upstream.set_nodelay(true);
    let mut head = vec![0; hello.len];
    if guest.read_exact(&mut head).await.is_err() {
        // The guest gave up (or the shim did, and the guest's socket is where it was).
        return Ok(());
    }
    let name = opened.sni.clone().unwrap_or_else(|| opened.peer.ip().to_canonical().to_string());
    let met = tokio::select! {
        met = meet(shared, &name, &hello, upstream) => met,
        () = gone(&guest) => return Ok(()),
    };
    let guest = Prefixed { read: head, at: 0, tcp: guest };
    let (server, names) = match met {
        Ok(met) => met,
        Err(unmet) if used => {
            unmet.note(shared, &name, opened.peer.port());
            opened.opaque = Some(unmet.reason);
            shared.journal.add_json(plain::OPENED, number, &opened);
            abort(&guest.tcp);
            return Ok(());
        }
        Err(unmet) => {
            // The next one need not come here at all.
            unmet.note(shared, &name, opened.peer.port());
            opened.opaque = Some(unmet.reason);
            return splice(shared, sending, number, &opened, guest).await;
        }
    };
    let (_, session) = server.get_ref();
    let alpn = session.alpn_protocol().map(<[u8]>::to_vec);
    opened.alpn = alpn.as_deref().map(|p| String::from_utf8_lossy(p).into_owned());
    opened.version = session.protocol_version().and_then(|v| v.as_str()).map(str::to_owned);
    let config = shared.authority.server(names, alpn.as_deref()).map_err(io::Error::other)?;
    let accepted = TlsAcceptor::from(config).accept(guest).await;
    let mut guest = match accepted {
        Ok(guest) => {
            shared.accepted(&name, opened.peer.port());
            guest
        }
        Err(e) => {
            opened.opaque = Some(refused(shared, &name, opened.peer.port(), &e));
            shared.journal.add_json(plain::OPENED, number, &opened);
            return Ok(());
        }
    };
    shared.journal.add_json(plain::OPENED, number, &opened);
    let mut server = server;
    let log = Log { journal: &shared.journal, connection: number };
    let mut closing = Box::pin(shared.closing());
    let moved = pump(
        &mut guest,
        &mut server,
        Some(log),
        |context| closing.as_mut().poll(context).is_ready(),
        || sending.all_sent(),
    )
    .await;
    let closed = Closed { sent_bytes: moved.sent, received_bytes: moved.received, end: moved.end };
    shared.journal.add_json(plain::CLOSED, number, &closed);
    Ok(())
}

/// Why a destination is left alone once a guest has refused the session's certificate.
const REFUSED: &str = "the program refuses the session's certificate";

/// Why a guest has to do TLS with a server itself.
struct Unmet {
    reason: String,
    /// It would not be otherwise the next time. A connection that breaks is no such reason.
    lasting: bool,
}

impl Unmet {
    fn lasting(reason: impl ToString) -> Unmet {
        Unmet { reason: reason.to_string(), lasting: true }
    }

    fn note(&self, shared: &Shared, name: &str, port: u16) {
        if self.lasting {
            shared.leave_from_now_on(name, port, &self.reason);
        }
    }
}

/// TLS with the server, as the guest asked for it, and the server's names.
async fn meet(
    shared: &Shared,
    name: &str,
    hello: &Hello,
    upstream: TcpStream,
) -> Result<(client::TlsStream<TcpStream>, Vec<String>), Unmet> {
    let asked = Arc::new(Asked::default());
    let servers = shared.servers().map_err(Unmet::lasting)?;
    let (mut config, verifier) = servers.client(hello.sni.is_some()).map_err(Unmet::lasting)?;
    config.alpn_protocols.clone_from(&hello.alpn);
    config.client_auth_cert_resolver = asked.clone();
    config.enable_sni = hello.sni.is_some();
    let server = ServerName::try_from(name.to_owned()).map_err(Unmet::lasting)?;
    let connected = TlsConnector::from(Arc::new(config)).connect(server, upstream).await;
    if asked.0.load(Ordering::Acquire) {
        return Err(Unmet::lasting("the server asks for a certificate of the program"));
    }
    let stream = connected.map_err(|e| Unmet {
        reason: format!("TLS with the server failed: {}", said(&e)),
        lasting: of_tls(&e).is_some(),
    })?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(|all| all.first());
    let names = names(name, verifier.by_name.load(Ordering::Acquire), certificate);
    Ok((stream, names))
}

/// Waits until the guest has given up its connection.
async fn gone(guest: &TcpStream) {
    let mut byte = [0];
    loop {
        match guest.peek(&mut byte).await {
            Ok(0) | Err(_) => return,
            // More than the ClientHello: early data. It stays, and so does the readiness.
            Ok(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
        }
    }
}

/// A new connection to the same server, which the guest's own bytes go over.
async fn splice(
    shared: &Shared,
    sending: &Sending,
    number: u32,
    opened: &Opened,
    mut guest: Prefixed,
) -> io::Result<()> {
    shared.journal.add_json(plain::OPENED, number, opened);
    let mut server = match connect(opened.peer).await {
        Ok(server) => server,
        Err(e) => {
            abort(&guest.tcp);
            return Err(e);
        }
    };
    let head = guest.read.split_off(guest.at.min(guest.read.len()));
    server.write_all(&head).await?;
    guest.read.clear();
    guest.at = 0;
    let mut closing = Box::pin(shared.closing());
    let moved = pump(
        &mut guest,
        &mut server,
        None,
        |context| closing.as_mut().poll(context).is_ready(),
        || sending.all_sent(),
    )
    .await;
    let closed = Closed { sent_bytes: moved.sent, received_bytes: moved.received, end: moved.end };
    shared.journal.add_json(plain::CLOSED, number, &closed);
    Ok(())
}

async fn connect(peer: SocketAddr) -> io::Result<TcpStream> {
    let server = TcpStream::connect(peer).await?;
    server.set_nodelay(true)?;
    Ok(server)
}

/// Notes that a handshake with the guest failed, and says why.
fn refused(shared: &Shared, name: &str, port: u16, e: &io::Error) -> String {
    let alert = match of_tls(e) {
        Some(rustls::Error::AlertReceived(alert)) => alert,
        Some(e) => return format!("TLS with the program failed: {e}"),
        None => {
            // Some refuse so; others were ended, or ran out of time.
            return if shared.went_away_again(name, port) {
                shared.leave_from_now_on(name, port, REFUSED);
                REFUSED.to_owned()
            } else {
                "the program went away before TLS was agreed on".to_owned()
            };
        }
    };
    let distrusts = matches!(
        alert,
        AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::AccessDenied
            | AlertDescription::BadCertificateStatusResponse
            | AlertDescription::InternalError
    );
    if !distrusts {
        return format!("TLS with the program failed: {}", said(e));
    }
    shared.leave_from_now_on(name, port, REFUSED);
    REFUSED.to_owned()
}

/// What TLS itself objects to; none if the connection below broke.
fn of_tls(e: &io::Error) -> Option<&rustls::Error> {
    e.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>())
}

fn said(e: &io::Error) -> String {
    e.get_ref().map_or_else(|| e.to_string(), ToString::to_string)
}
