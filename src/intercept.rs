//! TLS plaintext: the host ends the guest's TLS connections.
//!
//! One connection, followed:
//!
//! 1. The guest connects by itself. When it writes a ClientHello, the shim passes the socket to
//!    the host (`handover`) and gets one end of a loopback pair for it.
//! 2. `serve` talks TLS with the server over the guest's own connection, asking for the same
//!    name and protocols, and verifies its certificate; then with the guest, by a certificate of
//!    this session (`certs`), which the guest's environment makes it trust (`trust`).
//! 3. `pump` passes the plaintext on as it comes, and adds it to the `journal`, from which
//!    the drain moves it into the session.
//! 4. [`plain`] reads it again.
//!
//! Where that can't be done (the server's certificate does not verify, it wants one of the
//! guest's, the guest refuses ours), the guest's own bytes go to the server untouched.

pub(crate) mod certs;
mod handover;
pub(crate) mod journal;
pub mod plain;
mod pump;
mod serve;
pub(crate) mod trust;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ::log_format::record::plain as kinds;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use certs::{Authority, Servers};
use handover::{Asked, Pairs, Sockets};
use journal::Journal;
use plain::Opened;
use serve::{Sending, Taken, serve};
pub use trust::Trust;

use crate::error::{Error, Result};
use crate::log::map::{ArenaMap, set_text};
use crate::session::manifest::{ByteText, TlsMode};

/// What is prepared before the guest starts.
pub struct Preparation {
    authority: Authority,
    trust: Trust,
    mode: TlsMode,
}

/// Makes the session's certificate authority and what guests need to trust it, in the session at
/// `dir`; the guest's environment then names it. None if TLS is left alone.
///
/// # Errors
/// The system's.
pub fn prepare(
    mode: TlsMode,
    dir: &Path,
    cwd: &Path,
    env: &mut Vec<ByteText>,
) -> Result<Option<Preparation>> {
    if mode == TlsMode::Passive {
        return Ok(None);
    }
    let authority = Authority::new()?;
    let trust = trust::give(&authority, dir, cwd, env)?;
    Ok(Some(Preparation { authority, trust, mode }))
}

impl Preparation {
    /// Tells the shim, by the header of the arena at `arena_path`, where connections are to be
    /// passed to.
    ///
    /// # Errors
    /// The system's.
    pub fn listen(self, arena: &Arc<ArenaMap>, arena_path: &Path) -> Result<Listening> {
        let socket = socket_path(arena_path);
        let listener = UnixListener::bind(&socket).map_err(Error::file("create", &socket))?;
        let owner = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&socket, owner).map_err(Error::file("create", &socket))?;
        let tls = &arena.header().tls;
        self.trust.tell(arena);
        set_text(&tls.socket_path, socket.as_os_str().as_encoded_bytes());
        Ok(Listening { preparation: self, arena: arena.clone(), listener, socket })
    }
}

/// Ready for guests, and not yet served.
pub struct Listening {
    preparation: Preparation,
    arena: Arc<ArenaMap>,
    listener: UnixListener,
    socket: PathBuf,
}

/// What all connections share.
struct Shared {
    authority: Authority,
    journal: Arc<Journal>,
    sockets: Sockets,
    /// How the host talks to servers; made when the first one is needed.
    servers: OnceLock<std::result::Result<Servers, String>>,
    trust: Trust,
    mode: TlsMode,
    /// Destinations that are left alone, by name and port, and why.
    left_alone: Mutex<HashMap<(String, u16), String>>,
    /// Destinations whose last guest went away when it saw the session's certificate.
    went_away: Mutex<HashSet<(String, u16)>>,
    closing: watch::Receiver<bool>,
    /// Connections whose guest may still have sent something that has not gone out.
    sending: AtomicUsize,
    connections: AtomicU32,
    stop: AtomicBool,
}

impl Shared {
    fn servers(&self) -> std::result::Result<&Servers, String> {
        let made = || Servers::new(&self.trust.users).map_err(|e| e.to_string());
        self.servers.get_or_init(made).as_ref().map_err(Clone::clone)
    }

    /// Waits for the end of recording.
    fn closing(&self) -> impl Future<Output = ()> + use<> {
        let mut closing = self.closing.clone();
        async move {
            let _ = closing.wait_for(|now| *now).await;
        }
    }

    /// From now on connections to this destination stay the guest's own.
    fn leave_from_now_on(&self, name: &str, port: u16, reason: &str) {
        if self.mode == TlsMode::Auto {
            let mut all = self.left_alone.lock().unwrap_or_else(PoisonError::into_inner);
            all.insert((name.to_owned(), port), reason.to_owned());
        }
    }

    /// A guest's handshake with this destination ended without a word; whether the one before
    /// it, too.
    fn went_away_again(&self, name: &str, port: u16) -> bool {
        let mut all = self.went_away.lock().unwrap_or_else(PoisonError::into_inner);
        !all.insert((name.to_owned(), port))
    }

    /// A guest has accepted the session's certificate for this destination.
    fn accepted(&self, name: &str, port: u16) {
        let mut all = self.went_away.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(&(name.to_owned(), port));
    }

    fn why_left_alone(&self, name: &str, port: u16) -> Option<String> {
        let all = self.left_alone.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&(name.to_owned(), port)).cloned()
    }
}

/// The host's side of interception, while it records.
pub struct Interception {
    shared: Arc<Shared>,
    /// Takes connections in, and gives back what serves them, if there was any.
    accepting: JoinHandle<Option<Runtime>>,
    socket: PathBuf,
    close: watch::Sender<bool>,
}

impl Interception {
    /// Starts to serve guests. To be called once the signals are blocked that must not end this
    /// process: its threads inherit the mask.
    ///
    /// # Errors
    /// The system's.
    pub fn start(listening: Listening) -> Result<Interception> {
        let Listening { preparation, arena, listener, socket } = listening;
        let Preparation { authority, trust, mode } = preparation;
        let (close, closing) = watch::channel(false);
        let shared = Arc::new(Shared {
            authority,
            journal: Arc::new(Journal::new(arena.clone())),
            sockets: Sockets::new(arena.clone()),
            servers: OnceLock::new(),
            trust,
            mode,
            left_alone: Mutex::default(),
            went_away: Mutex::default(),
            closing,
            sending: AtomicUsize::new(0),
            connections: AtomicU32::new(0),
            stop: AtomicBool::new(false),
        });
        let ours = shared.clone();
        let accepting = std::thread::Builder::new()
            .name("handover".into())
            .spawn(move || accept(&listener, &ours))
            .map_err(Error::io("start a thread"))?;
        Ok(Interception { shared, accepting, socket, close })
    }

    /// Makes what guests wait for. To be called whenever a guest rings.
    pub fn make_wanted(&self, arena: &ArenaMap) {
        self.shared.trust.make_wanted(arena);
    }

    /// Where plaintext waits for the drain.
    pub(crate) fn journal(&self) -> Arc<Journal> {
        self.shared.journal.clone()
    }

    /// Ends interception: what guests have sent still goes out, within `patience`; `drain` is
    /// called meanwhile, to make room.
    pub fn finish(self, mut drain: impl FnMut(), patience: Duration) {
        let since = Instant::now();
        while self.shared.sending.load(Ordering::Acquire) > 0 && since.elapsed() < patience {
            drain();
            std::thread::sleep(Duration::from_millis(2));
        }
        self.shared.stop.store(true, Ordering::Release);
        // The thread that waits for guests looks at `stop`.
        let _ = UnixStream::connect(&self.socket);
        let _ = std::fs::remove_file(&self.socket);
        let runtime = self.accepting.join().ok().flatten();
        let _ = self.close.send(true);
        // Each connection notes its end.
        let left = || Arc::strong_count(&self.shared) > 1;
        let since = Instant::now();
        while left() && since.elapsed() < Duration::from_millis(200) {
            std::thread::sleep(Duration::from_millis(1));
        }
        if let Some(runtime) = runtime {
            runtime.shutdown_background();
        }
    }
}

/// Where the shim finds the host: beside the arena if the name is short enough for a socket.
fn socket_path(arena: &Path) -> PathBuf {
    const PATH_BYTES_MAX: usize = 107;
    let mut beside = arena.as_os_str().to_owned();
    beside.push(SOCKET_ENDING);
    if beside.len() <= PATH_BYTES_MAX {
        return PathBuf::from(beside);
    }
    let name = format!("rr-run-{:x}-{:x}", std::process::id(), crate::launch::setup::now_ns());
    std::env::temp_dir().join(name + SOCKET_ENDING)
}

/// How the socket's name goes on after the arena's.
pub(crate) const SOCKET_ENDING: &str = ".tls";

/// The threads that serve connections.
fn start_runtime() -> std::io::Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).thread_name("tls").enable_all().build()
}

/// Takes connections in until the end; the runtime, which programs without TLS don't need.
fn accept(listener: &UnixListener, shared: &Arc<Shared>) -> Option<Runtime> {
    let mut pairs = Pairs::default();
    let mut runtime = None;
    loop {
        let Ok((shim, _)) = listener.accept() else {
            // Out of descriptors: guests wait a little, and go on by themselves.
            std::thread::sleep(Duration::from_millis(10));
            continue;
        };
        if shared.stop.load(Ordering::Acquire) {
            return runtime;
        }
        // One that fails leaves the guest's socket where it was.
        let _ = Asked::read(shim).and_then(|asked| take(asked, &mut pairs, shared, &mut runtime));
    }
}

/// Takes a connection over, or leaves it alone.
fn take(
    asked: Asked,
    pairs: &mut Pairs,
    shared: &Arc<Shared>,
    runtime: &mut Option<Runtime>,
) -> std::io::Result<()> {
    let number = shared.connections.fetch_add(1, Ordering::AcqRel) + 1;
    let mut opened = Opened {
        process: asked.request.process,
        step: asked.request.step,
        fd: asked.request.fd,
        local: canonical(asked.local),
        peer: canonical(asked.peer),
        sni: asked.hello.as_ref().ok().and_then(|hello| hello.sni.clone()),
        alpn: None,
        version: None,
        opaque: None,
    };
    let name = opened.sni.clone().unwrap_or_else(|| opened.peer.ip().to_string());
    let leave = |opened: &mut Opened, why: String| {
        opened.opaque = Some(why);
        shared.journal.add_json(kinds::OPENED, number, opened);
        asked.leave()
    };
    let hello = match &asked.hello {
        Ok(hello) => hello.clone(),
        Err(why) => return leave(&mut opened, why.clone()),
    };
    if let Some(why) = shared.why_left_alone(&name, opened.peer.port()) {
        return leave(&mut opened, why);
    }
    let runtime = match runtime {
        Some(runtime) => runtime,
        none => match start_runtime() {
            Ok(made) => none.insert(made),
            Err(e) => return leave(&mut opened, format!("no thread could be started ({e})")),
        },
    };
    let made = pairs.make(asked.peer.ip());
    let (guest, host) = match made {
        Ok(pair) => pair,
        Err(e) => return leave(&mut opened, format!("no pair of sockets could be made ({e})")),
    };
    let ends = guest.local_addr().and_then(|own| Ok((own, guest.peer_addr()?.port())));
    let entry = ends.ok().and_then(|(own, other)| shared.sockets.enter(&asked, own, other));
    let Some(entry) = entry else {
        return leave(&mut opened, "there are too many connections at once".into());
    };
    let swapped = asked.swap(&guest);
    drop(guest);
    if let Err(e) = swapped {
        shared.sockets.leave(entry);
        return Err(e);
    }
    let taken = Taken {
        number,
        guest: host,
        upstream: asked.upstream,
        hello,
        used: asked.request.used,
        opened,
    };
    let (ours, sending) = (shared.clone(), Sending::new(shared.clone()));
    runtime.spawn(async move {
        serve(sending, taken).await;
        ours.sockets.leave(entry);
    });
    Ok(())
}

/// An address of version 4 in version 6's clothes, as version 4.
fn canonical(address: std::net::SocketAddr) -> std::net::SocketAddr {
    std::net::SocketAddr::new(IpAddr::to_canonical(&address.ip()), address.port())
}
