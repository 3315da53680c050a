//! The log: the arena shared with guests, and the files of a session.
//!
//! * [`map`]: the arena in memory; the only place that touches shared memory.
//! * [`table`]: which guests there are.
//! * [`drain`]: from the arena into the session ([`writer`]), gathering facts ([`scan`]).
//! * [`chunk`]: the frame format, bytes in and out; [`frames`]: one process's files.
//! * [`reader`]: its events.

pub mod chunk;
pub mod drain;
pub mod frames;
pub mod map;
pub mod reader;
pub mod scan;
pub mod table;
pub mod writer;

pub use reader::{Event, Events};
