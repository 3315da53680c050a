//! The table against the kernel: what a call changes in memory lies in the buffers that its row
//! says are written. A byte outside would be missing on replay.
#![allow(unsafe_code, reason = "calls the kernel with addresses")]

mod files;
mod harness;
mod ipc;
mod net;
mod process;
mod time;
