//! Programs that people use, against a streaming server.

mod node;
mod python;
mod rust;
mod shell;
mod should;
