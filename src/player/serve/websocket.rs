//! WebSockets: each message of the client is looked up like a request, and answered by the
//! messages that followed it in the recording.

use std::sync::Arc;
use std::time::Instant;

use futures_util::{SinkExt, StreamExt};
use hyper::header::HeaderValue;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{Message as Out, Utf8Bytes};

use super::answer::{self, AnswerBody};
use super::body::sleep_until;
use super::head;
use crate::player::fault::Action;
use crate::player::key::Canonical;
use crate::player::turns::{Turn, turns};
use crate::player::{Client, Decision, Player, Timing};
use crate::stream::{Direction, Exchange, Message};

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Fields of the handshake that are made anew.
const OF_THE_HANDSHAKE: [&str; 3] =
    ["sec-websocket-accept", "sec-websocket-extensions", "content-length"];

/// What the messages of one connection have in common.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) player: Arc<Player>,
    /// The upgrade.
    pub(super) canonical: Canonical,
    pub(super) client: Client,
}

/// Whether a request asks for a WebSocket.
pub(super) fn wanted<B>(request: &Request<B>) -> bool {
    let upgrade = request.headers().get("upgrade").map(HeaderValue::as_bytes);
    upgrade.is_some_and(|value| value.eq_ignore_ascii_case(b"websocket"))
}

/// What proves that the handshake was understood.
pub(super) fn accept(headers: &HeaderMap) -> Option<HeaderValue> {
    let key = headers.get("sec-websocket-key")?;
    HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok()
}

/// Answers the upgrade and serves what follows.
pub(super) async fn open(
    session: Session,
    exchange: Exchange,
    action: Action,
    upgrade: OnUpgrade,
    key: HeaderValue,
    at: Instant,
) -> Response<AnswerBody> {
    let timing = session.player.settings().timing;
    let asked_ns = exchange.request.ended_ns;
    let started_ns = exchange.response.as_ref().map_or(asked_ns, |r| r.started_ns);
    sleep_until(at + timing.pause(0, started_ns.saturating_sub(asked_ns))).await;
    let recorded = exchange.response.as_ref().map(|r| r.headers.as_slice()).unwrap_or_default();
    let mut headers = head::fields(recorded);
    OF_THE_HANDSHAKE.iter().for_each(|name| drop(headers.remove(*name)));
    headers.insert("connection", HeaderValue::from_static("Upgrade"));
    headers.insert("upgrade", HeaderValue::from_static("websocket"));
    headers.insert("sec-websocket-accept", key);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            let io = TokioIo::new(upgraded);
            let socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
            // The client is gone: nothing is left to be done.
            let _ = run(session, exchange, action, socket, at).await;
        }
    });
    let mut response = Response::new(answer::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = headers;
    response
}

async fn run(
    session: Session,
    exchange: Exchange,
    action: Action,
    mut socket: Socket,
    at: Instant,
) -> Result<(), tokio_tungstenite::tungstenite::Error> {
    let timing = session.player.settings().timing;
    let first = turns(&exchange.messages).into_iter().next();
    if let Some(turn) = first
        && !play(&mut socket, turn, exchange.request.ended_ns, timing, action, at).await?
    {
        return Ok(());
    }
    while let Some(message) = socket.next().await {
        let (opcode, bytes) = match message? {
            Out::Text(text) => (Message::TEXT, text.into()),
            Out::Binary(bytes) => (Message::BINARY, bytes),
            Out::Close(_) => break,
            Out::Ping(_) | Out::Pong(_) | Out::Frame(_) => continue,
        };
        let at = Instant::now();
        let direction = Direction::Sent;
        let (time_ns, step, pieces) = (0, 0, Vec::new());
        let asked = Message { direction, opcode, bytes, time_ns, step, pieces };
        let player = session.player.clone();
        let canonical = player.message(&session.canonical, &asked);
        let client = session.client.clone();
        let decided = tokio::task::spawn_blocking(move || player.decide(&canonical, &client)).await;
        match decided {
            Ok(Ok(Decision::Serve { exchange, turn, action })) => {
                let all = turns(&exchange.messages);
                let Some(turn) = all.get(turn as usize) else { continue };
                let asked_ns = turn.asked.map_or(exchange.request.ended_ns, |m| m.time_ns);
                if !play(&mut socket, *turn, asked_ns, timing, action, at).await? {
                    return Ok(());
                }
            }
            Ok(Ok(Decision::Fault(_))) => return Ok(()),
            Ok(Ok(Decision::Upstream(_))) => {
                let why = "messages of WebSockets are not asked of the real services";
                return refuse(&mut socket, why).await;
            }
            Ok(Ok(Decision::Refuse(report))) => return refuse(&mut socket, &report).await,
            Ok(Err(e)) => return refuse(&mut socket, &format!("failed to {e}")).await,
            Err(_) => return Ok(()),
        }
    }
    Ok(())
}

/// Sends the answers of a turn; whether the connection goes on.
async fn play(
    socket: &mut Socket,
    turn: Turn<'_>,
    asked_ns: u64,
    timing: Timing,
    action: Action,
    at: Instant,
) -> Result<bool, tokio_tungstenite::tungstenite::Error> {
    let at = at + std::time::Duration::from_millis(action.delay_ms);
    let answers = turn.answers.iter().filter(|m| m.direction == Direction::Received);
    for (index, message) in answers.enumerate() {
        if action.truncate_after.is_some_and(|max| index >= max) {
            return Ok(false);
        }
        sleep_until(at + timing.pause(index + 1, message.time_ns.saturating_sub(asked_ns))).await;
        let bytes = message.bytes.clone();
        let out = match message.opcode {
            Message::TEXT => match Utf8Bytes::try_from(bytes.clone()) {
                Ok(text) => Out::Text(text),
                Err(_) => Out::Binary(bytes),
            },
            Message::BINARY => Out::Binary(bytes),
            Message::PING => Out::Ping(bytes),
            Message::CLOSE => {
                socket.close(close_frame(&bytes)).await?;
                return Ok(false);
            }
            _ => continue,
        };
        socket.send(out).await?;
    }
    Ok(true)
}

/// Code and reason of a recorded close.
fn close_frame(bytes: &[u8]) -> Option<CloseFrame> {
    let (code, reason) = bytes.split_first_chunk::<2>()?;
    let code = CloseCode::from(u16::from_be_bytes(*code));
    let reason = String::from_utf8_lossy(reason).into_owned();
    code.is_allowed().then(|| CloseFrame { code, reason: reason.into() })
}

/// Tells the client, in the form of the Responses interface, and closes.
async fn refuse(
    socket: &mut Socket,
    report: &str,
) -> Result<(), tokio_tungstenite::tungstenite::Error> {
    let value = serde_json::json!({
        "type": "error",
        "status": 400,
        "error": { "type": "rr_run_mismatch", "code": "rr_run_mismatch", "message": report },
    });
    socket.send(Out::text(value.to_string())).await?;
    let reason = "not recorded".into();
    socket.close(Some(CloseFrame { code: CloseCode::Policy, reason })).await
}
