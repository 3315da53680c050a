//! The player: serves the recorded exchanges of a session.
//!
//! One request of a client, from socket to report:
//!
//! 1. [`serve`] reads it (HTTP/1, HTTP/2, WebSocket).
//! 2. [`key`] makes its canonical form, [`rules`] take out what does not matter.
//! 3. [`matching`] finds the exchange that answers it, by fingerprint.
//! 4. [`fault`] may put something else in its place.
//! 5. The answer's pieces leave at their recorded times, read from the session one by one.
//! 6. A request that was not recorded becomes a [`mismatch`], which names what changed; a model may
//!    [`explain`] it.

pub mod account;
pub mod builder;
pub mod engine;
pub mod explain;
pub mod fault;
pub mod hermetic;
pub mod interface;
pub mod key;
pub mod layer;
pub mod matching;
pub mod mismatch;
pub mod network;
pub mod recorded;
pub mod report;
pub mod resolution;
pub mod rules;
#[cfg(test)]
pub(crate) mod sample;
pub mod selection;
pub mod serve;
pub mod sketch;
pub mod timing;
pub mod turns;

pub use account::Report;
pub use builder::Builder;
pub use engine::{Client, Decision, Mode, Player, Recordings, Settings};
pub use interface::Interface;
pub use key::Canonical;
pub use matching::{Found, Host, Library, Options};
pub use rules::Rules;
pub use timing::Timing;
