//! Moves bytes between two streams, both ways, and passes on how each side ends.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use log_format::record::plain;
use rustix::net::Shutdown;
use rustix::net::sockopt::set_socket_linger;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{client, server};

use super::journal::{DATA_BYTES_MAX, Journal};
use super::plain::Ended;

/// How long the last bytes of a guest that reset its connection may take to go out.
const LAST_BYTES: Duration = Duration::from_millis(20);

/// A TCP connection whose first bytes have been read already.
pub(super) struct Prefixed {
    pub(super) read: Vec<u8>,
    pub(super) at: usize,
    pub(super) tcp: TcpStream,
}

impl AsyncRead for Prefixed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let rest = self.read.get(self.at..).unwrap_or_default();
        if rest.is_empty() {
            return Pin::new(&mut self.tcp).poll_read(context, into);
        }
        let len = rest.len().min(into.remaining());
        into.put_slice(&rest[..len]);
        self.at += len;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Prefixed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}

/// One side of a connection.
pub(super) trait Side: AsyncRead + AsyncWrite + Unpin {
    /// The TCP connection below.
    fn tcp(&self) -> &TcpStream;
}

impl Side for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Side for Prefixed {
    fn tcp(&self) -> &TcpStream {
        &self.tcp
    }
}

impl Side for client::TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

impl Side for server::TlsStream<Prefixed> {
    fn tcp(&self) -> &TcpStream {
        &self.get_ref().0.tcp
    }
}

/// Makes the end of a connection a reset.
pub(super) fn abort(tcp: &TcpStream) {
    let _ = set_socket_linger(tcp, Some(Duration::ZERO));
}

/// Where the plaintext goes.
pub(super) struct Log<'a> {
    pub(super) journal: &'a Journal,
    pub(super) connection: u32,
}

/// Where one direction stands.
enum State {
    Reading,
    /// Bytes of the buffer from here on are to be written.
    Writing(usize),
    Flushing,
    /// The source has ended: with TLS's own end, or without.
    Ending(bool),
    Done,
}

/// One direction.
pub(super) struct Way {
    state: State,
    what: u8,
    buf: Box<[u8]>,
    len: usize,
    /// Bytes moved.
    pub(super) bytes: u64,
}

/// What went wrong, and on which side of a direction.
enum Broken {
    Source(io::Error),
    Target(io::Error),
}

impl Way {
    fn new(what: u8) -> Way {
        let buf = vec![0; DATA_BYTES_MAX].into_boxed_slice();
        Way { state: State::Reading, what, buf, len: 0, bytes: 0 }
    }

    fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
        from: &mut impl Side,
        to: &mut impl Side,
        log: Option<&Log<'_>>,
    ) -> Poll<Result<(), Broken>> {
        loop {
            match self.state {
                State::Reading => {
                    if let Some(log) = log {
                        ready!(log.journal.poll_room(context));
                    }
                    let mut into = ReadBuf::new(&mut self.buf);
                    match Pin::new(&mut *from).poll_read(context, &mut into) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(e)) if e.kind() == io::ErrorKind::UnexpectedEof => {
                            self.state = State::Ending(false);
                            continue;
                        }
                        Poll::Ready(Err(e)) => return Poll::Ready(Err(Broken::Source(e))),
                        Poll::Pending => return Poll::Pending,
                    }
                    self.len = into.filled().len();
                    if self.len == 0 {
                        self.state = State::Ending(true);
                        continue;
                    }
                    self.bytes += self.len as u64;
                    if let Some(log) = log {
                        let bytes = self.buf.get(..self.len).unwrap_or_default();
                        log.journal.add(self.what, log.connection, bytes);
                    }
                    self.state = State::Writing(0);
                }
                State::Writing(at) => {
                    let bytes = self.buf.get(at..self.len).unwrap_or_default();
                    if bytes.is_empty() {
                        self.state = State::Flushing;
                        continue;
                    }
                    let written = ready!(Pin::new(&mut *to).poll_write(context, bytes));
                    match written {
                        Ok(0) => {
                            return Poll::Ready(Err(Broken::Target(
                                io::ErrorKind::WriteZero.into(),
                            )));
                        }
                        Ok(n) => self.state = State::Writing(at + n),
                        Err(e) => return Poll::Ready(Err(Broken::Target(e))),
                    }
                }
                State::Flushing => {
                    ready!(Pin::new(&mut *to).poll_flush(context)).map_err(Broken::Target)?;
                    self.state = State::Reading;
                }
                State::Ending(in_order) => {
                    if in_order {
                        // Whoever reads this side may be gone already.
                        let _ = ready!(Pin::new(&mut *to).poll_shutdown(context));
                    } else {
                        let _ = rustix::net::shutdown(to.tcp(), Shutdown::Write);
                    }
                    self.state = State::Done;
                }
                State::Done => return Poll::Ready(Ok(())),
            }
        }
    }
}

/// What was moved, and how it ended.
pub(super) struct Moved {
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) end: Ended,
}

/// Moves bytes until both sides have ended, or one is broken. `sent_all` is called when all that
/// the guest sent has reached the server's connection.
pub(super) async fn pump(
    guest: &mut impl Side,
    server: &mut impl Side,
    log: Option<Log<'_>>,
    mut stopped: impl FnMut(&mut Context<'_>) -> bool,
    sent_all: impl Fn(),
) -> Moved {
    let mut sent = Way::new(plain::SENT);
    let mut received = Way::new(plain::RECEIVED);
    let end = poll_fn(|context| {
        if stopped(context) {
            return Poll::Ready(Ended::RecordingEnded);
        }
        let one = sent.poll(context, guest, server, log.as_ref());
        let other = received.poll(context, server, guest, log.as_ref());
        if sent.is_done() {
            sent_all();
        }
        match (one, other) {
            (Poll::Ready(Err(Broken::Source(e))), _) => Poll::Ready(ended(&e, Ended::GuestReset)),
            (Poll::Ready(Err(Broken::Target(e))), _) => Poll::Ready(ended(&e, Ended::ServerReset)),
            (_, Poll::Ready(Err(Broken::Source(e)))) => Poll::Ready(ended(&e, Ended::ServerReset)),
            // The guest no longer reads, and what it sent must still arrive.
            (Poll::Pending, Poll::Ready(Err(Broken::Target(_)))) => {
                received.state = State::Done;
                Poll::Pending
            }
            (_, Poll::Ready(Err(Broken::Target(_)))) => Poll::Ready(Ended::GuestReset),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Ended::Finished),
            (Poll::Pending, _) | (_, Poll::Pending) => Poll::Pending,
        }
    })
    .await;
    match end {
        Ended::GuestReset => {
            // A reset drops what still waits to be sent; the guest's own had more time.
            tokio::time::sleep(LAST_BYTES).await;
            abort(server.tcp());
        }
        Ended::ServerReset => abort(guest.tcp()),
        Ended::Failed => {
            abort(server.tcp());
            abort(guest.tcp());
        }
        Ended::Finished | Ended::RecordingEnded => {}
    }
    Moved { sent: sent.bytes, received: received.bytes, end }
}

/// An error of TLS is nobody's reset.
fn ended(e: &io::Error, reset: Ended) -> Ended {
    if e.kind() == io::ErrorKind::InvalidData { Ended::Failed } else { reset }
}
