//! Answers to single requests.

use std::io;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::channel::Channel;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::header::{CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, Version};

use super::head::{self, Spellings};
use super::units::Units;
use super::{Cut, body};
use crate::error::Error;
use crate::network::GuestEnd;
use crate::player::Timing;
use crate::player::fault::{self, Action};
use crate::stream::exchange::header;
use crate::stream::http::content::{self, Content};
use crate::stream::{Direction, End, Exchange, Header, Response as Recorded};

/// Body of an answer.
pub(super) type AnswerBody = UnsyncBoxBody<Bytes, io::Error>;

pub(super) fn empty() -> AnswerBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body that does not say that it is empty.
fn unknown() -> AnswerBody {
    let (_, body) = Channel::<Bytes, io::Error>::new(1);
    body.boxed_unsync()
}

fn full(bytes: impl Into<Bytes>) -> AnswerBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

pub(super) fn plain(status: StatusCode, text: &'static str) -> Response<AnswerBody> {
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    response
}

/// JSON in the form that the known interfaces give errors, so that clients show it.
fn error(status: StatusCode, kind: &str, message: &str) -> Response<AnswerBody> {
    let value = serde_json::json!({
        "type": "error",
        "error": { "type": kind, "code": kind, "message": message },
    });
    let mut response = Response::new(full(value.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    // The OpenAI and Anthropic libraries obey this: nobody retries for minutes.
    headers.insert("x-should-retry", HeaderValue::from_static("false"));
    response
}

/// The answer to a request that was not recorded.
pub(super) fn refused(report: &str) -> Response<AnswerBody> {
    error(StatusCode::BAD_REQUEST, "rr_run_mismatch", report)
}

/// The answer when the real service could not be asked.
pub(super) fn unreachable(e: &io::Error) -> Response<AnswerBody> {
    error(StatusCode::BAD_GATEWAY, "rr_run_upstream", &format!("the real service: {e}"))
}

/// The answer when the session can't be read.
pub(super) fn failed(e: &Error) -> Response<AnswerBody> {
    error(StatusCode::BAD_REQUEST, "rr_run_failed", &format!("failed to {e}"))
}

/// The answer of a fault.
pub(super) async fn fault(action: Action) -> Result<Response<AnswerBody>, Cut> {
    pause(&action).await;
    match (action.end, action.answer) {
        (Some(fault::Cut::Hang), _) => std::future::pending().await,
        (Some(fault::Cut::Reset), _) | (None, None) => Err(Cut("a fault cuts the connection")),
        (None, Some(answer)) => {
            let mut response = Response::new(full(answer.body));
            *response.status_mut() =
                StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            for (name, value) in &answer.headers {
                head::insert(response.headers_mut(), name.as_bytes(), value.as_bytes());
            }
            Ok(response)
        }
    }
}

async fn pause(action: &Action) {
    if action.delay_ms > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(action.delay_ms)).await;
    }
}

/// How recorded answers are given.
pub(super) struct How<'a> {
    /// How recorded times are used.
    pub(super) timing: Timing,
    /// Names of fields in their own case.
    pub(super) spellings: &'a Spellings,
    /// Who is to be told that an answer ends.
    pub(super) guest: Option<GuestEnd>,
}

/// The recorded answer of an exchange to a request that was whole at `at`.
pub(super) async fn exchange(
    exchange: Exchange,
    action: Action,
    at: Instant,
    asked: &Parts,
    how: How<'_>,
) -> Result<Response<AnswerBody>, Cut> {
    let How { timing, spellings, guest } = how;
    pause(&action).await;
    let at = at + std::time::Duration::from_millis(action.delay_ms);
    let asked_ns = exchange.request.ended_ns;
    let Some(mut recorded) = exchange.response else {
        body::sleep_until(at + timing.pause(0, exchange.ended_ns.saturating_sub(asked_ns))).await;
        return Err(Cut("the recorded answer never came"));
    };
    body::sleep_until(at + timing.pause(0, recorded.started_ns.saturating_sub(asked_ns))).await;
    if !accepts(asked, &recorded.headers) {
        recorded = decoded(recorded).await?;
    }
    let mut response = Response::new(empty());
    head::give(&mut response, &recorded, asked.version, spellings).await;
    let bodiless = asked.method == Method::HEAD || matches!(recorded.status, 204 | 304);
    let declared = header(&recorded.headers, "content-length")
        .and_then(|v| std::str::from_utf8(v).ok()?.trim().parse::<u64>().ok());
    let whole = match exchange.end {
        End::Complete => declared.is_none_or(|length| length == recorded.body.len()),
        // Clients leave when a stream's content says that it is over (`[DONE]`), before they have
        // read the framing's end. The server had not cut it, so it is not cut here.
        End::Closed(Direction::Sent) | End::Reset { by: Direction::Sent, .. } => declared.is_none(),
        // What the guest has read is all there is.
        End::Open | End::Closed(_) | End::Reset { .. } | End::Malformed(_) => false,
    };
    if bodiless || (whole && recorded.body.is_empty()) {
        let headers = response.headers();
        let framed =
            headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING);
        if framed && asked.version < Version::HTTP_2 {
            // So that hyper writes these as they are.
            *response.body_mut() = unknown();
        }
        if let Some(guest) = guest {
            guest.answered(exchange.id);
        }
    } else {
        *response.body_mut() = body::send(body::Plan {
            body: recorded.body,
            trailers: head::fields(&recorded.trailers),
            at,
            asked_ns,
            ended_ns: exchange.ended_ns,
            timing,
            whole,
            units: Units::of(&recorded.headers),
            tokens_max: action.truncate_after,
            ends: guest.map(|guest| (guest, exchange.id)),
        });
    }
    Ok(response)
}

/// Whether the client takes the content coding that was recorded for another.
fn accepts(asked: &Parts, recorded: &[Header]) -> bool {
    let Some(codings) = header(recorded, "content-encoding") else { return true };
    let codings = String::from_utf8_lossy(codings).to_ascii_lowercase();
    let taken = asked.headers.get_all("accept-encoding").iter();
    let taken: Vec<String> =
        taken.map(|v| String::from_utf8_lossy(v.as_bytes()).to_ascii_lowercase()).collect();
    let listed = |coding: &str| {
        let mut all = taken.iter().flat_map(|value| value.split(','));
        let name = |one: &str| one.split(';').next().map(str::trim).unwrap_or_default().to_owned();
        all.any(|one| [coding, "*"].contains(&name(one).as_str()))
    };
    codings.split(',').map(str::trim).all(|coding| coding == "identity" || listed(coding))
}

/// The answer without its content coding, its pieces kept.
async fn decoded(mut recorded: Recorded) -> Result<Recorded, Cut> {
    let decoding = tokio::task::spawn_blocking(move || {
        if let Ok(Content { body, problem: None }) =
            content::content(&recorded.headers, &recorded.body)
        {
            recorded.body = body;
            recorded.headers.retain(|field| {
                let named = |name: &[u8]| field.name.eq_ignore_ascii_case(name);
                !named(b"content-encoding") && !named(b"content-length")
            });
        }
        recorded
    });
    decoding.await.map_err(|_| Cut("the player has stopped"))
}

/// Lets a browser's page of any origin ask what it has announced.
pub(super) fn preflight<B>(request: &Request<B>) -> Response<AnswerBody> {
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    allow_origin(&mut response);
    let asked = |name: &str| request.headers().get(name).cloned();
    let headers = response.headers_mut();
    if let Some(method) = asked("access-control-request-method") {
        headers.insert("access-control-allow-methods", method);
    }
    if let Some(names) = asked("access-control-request-headers") {
        headers.insert("access-control-allow-headers", names);
    }
    headers.insert("access-control-max-age", HeaderValue::from_static("600"));
    response
}

/// Lets a browser's page of any origin read the answer.
pub(super) fn allow_origin(response: &mut Response<AnswerBody>) {
    let headers = response.headers_mut();
    headers.insert("access-control-allow-origin", HeaderValue::from_static("*"));
    headers.insert("access-control-expose-headers", HeaderValue::from_static("*"));
}
