//! The log: the arena shared with guests, and the files of a session.
//!
//! * [`map`]: the arena in memory; the only place that touches shared memory.
//! * [`table`]: which guests there are.
//! * [`drain`]: from the arena into the session ([`writer`]), gathering facts ([`scan`]).
//! * [`feed`]: from the session into the arena, for a replay; [`output`]: what it writes.
//! * [`chunk`]: the frame format, bytes in and out; [`frames`]: one process's files.
//! * [`reader`]: its events; `tail`: those that a running recording has not written yet.

mod ahead;
pub mod chunk;
pub mod drain;
pub mod feed;
pub mod frames;
pub mod map;
mod namespaces;
pub mod output;
pub mod reader;
pub mod scan;
pub mod table;
mod tail;
#[cfg(test)]
mod tests;
pub mod writer;

pub use reader::{Event, Events};
