//! Streams: what went over a session's connections, as requests, responses and tokens.
//!
//! Everything here is sans-IO: bytes and times in, decoded things out. It works on a finished
//! session, on one that is being recorded, and on one that was cut short.
//!
//! 1. [`connection`]: the calls of all processes become connections and their [`Segment`]s: who
//!    sent how many bytes when. The plaintext of TLS connections that the host has intercepted
//!    comes in by the same type.
//! 2. `http`: the segments of one connection become [`Exchange`]s (HTTP/1, HTTP/2, WebSocket).
//! 3. `dialect`: an exchange with a model becomes an `LlmCall`: its request, tokens, usage, end.
//! 4. `token`, `capture`, `replay`, `timing`: token streams by themselves, for recordings and
//!    for Rust programs that capture live.

pub mod body;
pub mod call;
pub(crate) mod calls;
pub mod capture;
pub mod connection;
pub mod decoder;
pub mod dialect;
pub mod eventstream;
pub mod exchange;
pub mod framing;
pub mod http;
mod index;
pub mod ndjson;
pub mod performance;
pub mod recorded;
pub mod replay;
mod source;
pub mod sse;
pub mod summary;
pub mod timing;
pub mod token;
pub mod traffic;

pub use body::{Body, Piece, Source};
pub use call::{Api, CallEnd, CallId, LlmCall};
pub use calls::llm_calls;
pub use capture::{StreamCapture, capture_stream, capture_stream_async};
pub use connection::{Connection, Direction, Lookup, Segment, Tls};
pub use decoder::CallDecoder;
pub use exchange::{Chunk, End, Exchange, Header, Message, Protocol, Request, Response};
pub use performance::{ModelPerformance, StreamPerformance};
pub use recorded::{ReplayStatistics, ReplayedCall};
pub use replay::{ReplayTiming, StreamReplay, StreamingLlmWrapper};
pub use timing::{StreamTiming, analyze_stream_timing};
pub use token::{
    ChunkSize, MergedStream, StreamChunk, StreamToken, TokenKind, merge_stream_chunks,
    split_content_into_chunks,
};
pub use traffic::{Summary, Traffic};
