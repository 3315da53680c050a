//! The integration tests, one binary.
//!
//! * `guests`: small C programs, each about one area of the kernel's interface.
//! * `policy`: calls that the user forbids.
//! * `guide`: the commands, pages and links of docs/.
//! * `real`: programs that people use, against a streaming server.
//! * `cli`: rr-run's own commands, and bad input.
//! * `export`: exports and telemetry, read by the tools that they are made for.
//! * `redaction`: planted secrets.
//! * `streams`: what sessions say of their connections.
//! * `tidy`: the house rules as tests.
//! * `tls`: TLS connections that the host takes over.
//!
//! Every guest is run natively, recorded, and replayed in an empty network namespace with its
//! server stopped and its working directory gone: see [`harness`].

mod cli;
mod export;
mod guests;
mod guide;
mod harness;
mod network;
mod player;
mod policy;
mod real;
mod redaction;
mod streams;
mod tidy;
mod tls;
