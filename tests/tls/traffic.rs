//! Much data, many connections, and all the ways in which a connection can end.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use rr_run::session::Session;
use rr_run::stream::connection::Peer;

use super::plaintext;
use crate::harness::{Case, Certificate, Recording};

/// What is downloaded, over and over.
const BLOCK_BYTES: usize = 1 << 16;

/// A server that does what the first line of each request says; what it `tells` of a
/// connection's end.
struct Server {
    port: u16,
    certificate: Certificate,
    tells: Receiver<String>,
    _dir: tempfile::TempDir,
}

impl Server {
    fn start() -> Server {
        Server::with(Certificate::new)
    }

    fn with(certificate: fn(&Path) -> Certificate) -> Server {
        Server::that(certificate, serve)
    }

    fn that(certificate: fn(&Path) -> Certificate, serves: Serves) -> Server {
        let dir = tempfile::tempdir().unwrap();
        let certificate = certificate(dir.path());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, tells) = channel();
        let ours = certificate.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (certificate, tell) = (ours.clone(), sender.clone());
                std::thread::spawn(move || serves(socket, &certificate, &tell));
            }
        });
        Server { port, certificate, tells, _dir: dir }
    }

    fn case(&self, kind: &str, number: usize) -> Case {
        let (port, number) = (self.port.to_string(), number.to_string());
        Case::python("tls_traffic.py")
            .args([kind, &port, &number])
            .env("SSL_CERT_FILE", self.certificate.ca.display().to_string())
            .says("done")
            .limit_s(240)
    }

    fn told(&self) -> String {
        self.tells.recv_timeout(Duration::from_secs(10)).expect("the server sees the end")
    }
}

type Serves = fn(TcpStream, &Certificate, &Sender<String>);

/// Speaks first, and TLS only when it is asked to.
fn greet(mut socket: TcpStream, certificate: &Certificate, tell: &Sender<String>) {
    let mut word = [0; 9];
    let asked = socket.write_all(b"220 hello\n").and_then(|()| socket.read_exact(&mut word));
    if asked.is_ok() && word == *b"STARTTLS\n" && socket.write_all(b"220 go on\n").is_ok() {
        serve(socket, certificate, tell);
    }
}

fn serve(socket: TcpStream, certificate: &Certificate, tell: &Sender<String>) {
    let _ = socket.set_nodelay(true);
    let mut from = BufReader::with_capacity(1 << 16, certificate.accept(socket));
    let mut line = String::new();
    while from.read_line(&mut line).is_ok_and(|len| len > 0) {
        let mut words = line.split_whitespace();
        let command = words.next().unwrap_or_default().to_owned();
        let number: usize = words.next().and_then(|n| n.parse().ok()).unwrap_or(0);
        let done = match command.as_str() {
            "upload" => {
                let mut crc = crc32fast::Hasher::new();
                let mut part = (&mut from).take(number as u64);
                let mut buffer = vec![0; BLOCK_BYTES];
                while let Ok(len @ 1..) = part.read(&mut buffer) {
                    crc.update(&buffer[..len]);
                }
                writeln!(from.get_mut(), "{}", crc.finalize())
            }
            "download" => (0..number).step_by(BLOCK_BYTES).try_for_each(|at| {
                from.get_mut().write_all(&block()[..BLOCK_BYTES.min(number - at)])
            }),
            "answer" => {
                let mut rest = Vec::new();
                let end = from.read_to_end(&mut rest);
                let end = end.map_err(|e| e.kind());
                let _ = write!(from.get_mut(), "{} bytes, then {end:?}", rest.len());
                from.get_mut().conn.send_close_notify();
                from.get_mut().flush()
            }
            "end" => {
                let _ = from.get_mut().write_all(b"goodbye");
                from.get_mut().conn.send_close_notify();
                let _ = from.get_mut().flush();
                let mut rest = Vec::new();
                let end = from.read_to_end(&mut rest).map_err(|e| e.kind());
                let _ = tell.send(format!("{} bytes, then {end:?}", rest.len()));
                let _ = from.get_ref().sock.shutdown(Shutdown::Both);
                return;
            }
            _ => {
                let end = loop {
                    if let Err(e) = from.get_mut().write_all(&block()) {
                        break e.kind();
                    }
                };
                let _ = tell.send(format!("{end:?}"));
                return;
            }
        };
        if done.and_then(|()| from.get_mut().flush()).is_err() {
            return;
        }
        line.clear();
    }
}

fn block() -> Vec<u8> {
    (0..BLOCK_BYTES).map(|n| n as u8).collect()
}

/// Records and replays; all connections must have left their plaintext.
fn plain(case: &Case) -> (Recording, Vec<u8>, Vec<u8>) {
    let recording = case.record().unwrap_or_else(|e| panic!("{e}"));
    let (tls, sent, received) = plaintext(&recording);
    assert!(tls.intercepted > 0 && tls.opaque.is_empty(), "{tls:?}");
    case.replay(&recording).unwrap_or_else(|e| panic!("{e}"));
    (recording, sent, received)
}

#[test]
fn a_hundred_megabytes_each_way() {
    const BYTES: usize = 100 << 20;
    let (recording, sent, received) = plain(&Server::start().case("transfer", BYTES));
    let mut crc = crc32fast::Hasher::new();
    (0..BYTES / BLOCK_BYTES).for_each(|_| crc.update(&block()));
    let crc = crc.finalize();
    assert_eq!(recording.output.out(), format!("{crc}\n{BYTES} {crc}\ndone\n"));
    let requests = format!("upload {BYTES}\ndownload {BYTES}\n").len();
    assert_eq!(sent.len(), BYTES + requests);
    assert_eq!(received.len(), BYTES + format!("{crc}\n").len());
}

#[test]
fn five_hundred_connections_at_once() {
    const COUNT: usize = 500;
    let (recording, _, received) = plain(&Server::start().case("many", COUNT));
    assert_eq!(plaintext(&recording).0.intercepted, COUNT as u64);
    assert_eq!(received.len(), (0..COUNT).map(|n| n + 1000).sum::<usize>());
}

#[test]
fn an_answer_comes_after_the_client_has_ended_its_side() {
    let (recording, sent, _) = plain(&Server::start().case("client_ends_first", 0));
    assert_eq!(recording.output.out(), "100 bytes, then Ok(100)\ndone\n");
    assert!(sent.ends_with(&[b'x'; 100]));
}

#[test]
fn bytes_go_to_a_server_that_has_ended_its_side() {
    let server = Server::start();
    let (recording, sent, _) = plain(&server.case("server_ends_first", 0));
    assert_eq!(server.told(), "1234 bytes, then Ok(1234)");
    assert_eq!(recording.output.out(), "goodbye\ndone\n");
    assert!(sent.ends_with(&[b'y'; 1234]));
}

#[test]
fn a_client_that_aborts_is_an_abort_for_the_server() {
    let server = Server::start();
    let (_, _, received) = plain(&server.case("abort", 5));
    for _ in 0..5 {
        let kinds = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
        let told = server.told();
        assert!(kinds.iter().any(|kind| format!("{kind:?}") == told), "{told}");
    }
    assert!(received.len() >= 500_000);
}

#[test]
fn a_server_whose_certificate_is_its_own_authority() {
    let (recording, ..) =
        plain(&Server::with(Certificate::own_authority).case("transfer", BLOCK_BYTES));
    assert!(recording.output.out().ends_with("done\n"));
}

#[test]
fn guests_that_go_away_in_the_handshake_do_not_end_interception() {
    let recording = Server::start().case("go_away", 3).record().unwrap();
    let (tls, ..) = plaintext(&recording);
    assert_eq!((tls.intercepted, tls.opaque.len()), (3, 1), "{tls:?}");
    assert_eq!(tls.opaque[0].reason, "the program went away before TLS was agreed on");
    assert_eq!(tls.opaque[0].connections, 3);
    // Each is told of once, though its descriptor was another's when the host gave up.
    let session = Session::open(&recording.session).unwrap();
    let traffic = session.traffic().unwrap();
    let to_server = traffic.connections().iter().filter(|c| matches!(c.peer, Peer::Inet(_)));
    assert_eq!(to_server.count(), 6, "{:#?}", traffic.connections());
}

#[test]
fn a_server_may_speak_first_and_begin_tls_later() {
    let server = Server::that(Certificate::new, greet);
    let (recording, sent, received) = plain(&server.case("start_later", 3));
    assert_eq!(recording.output.out(), "220 hello\n220 go on\nb'\\x00\\x01\\x02'\ndone\n");
    assert_eq!((&sent[..], &received[..]), (&b"download 3\n"[..], &[0u8, 1, 2][..]));
}
