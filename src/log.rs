//! The log: the arena shared with guests, and the files of a session.
//!
//! * [`chunk`]: the frame format, bytes in and out.
//! * [`frames`]: the frames of one process's files.
//! * [`reader`]: its events.

pub mod chunk;
pub mod frames;
pub mod reader;

pub use reader::{Event, Events};
