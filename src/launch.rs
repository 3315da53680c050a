//! Starting guests: the shim, the environment, the program, its process tree.

pub mod code;
pub mod elf;
pub mod environment;
pub mod opens;
pub mod privileges;
pub mod setup;
pub mod shim;
pub mod spawn;
