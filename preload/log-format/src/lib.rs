//! The contract between the shim (inside the guest) and the host (`rr-run`).
//!
//! Seven things are shared, and only here:
//!
//! * [`arena`]: the file both sides map. Each guest process appends to *slots* of it while
//!   recording; the host moves full slots into the session. On replay the host fills slots and
//!   the shim consumes them.
//! * [`record`]: the bytes of one log entry, their writer-side layout and the checked parser.
//! * [`handover`]: how a guest's TLS connection passes to the host.
//! * [`privileges`]: what the marks of an executed file come to.
//! * [`code`]: what is known of mapped code.
//! * [`tellings`]: texts for the host where nothing is logged.
//! * [`table`]: one row for every x86-64 syscall: its name, class, arguments and buffers.
//!
//! ```text
//! guest process            arena (a file, mapped by all)                       host
//! call -> record -> slot   [header][processes][slot headers][output][slots]   drain -> zstd
//! ```
//!
//! The log of one process is a byte stream: the concatenation of its slots in the order of
//! [`arena::SlotHeader::seq`]. Records are multiples of eight bytes and may cross slots. A
//! process that is killed leaves a stream whose last record may be incomplete; readers stop
//! before it.
//!
//! All integers are little-endian and of fixed size. [`VERSION`] changes with any change of
//! layout or meaning; a reader refuses a newer version and names both.
#![no_std]
#![forbid(unsafe_code)]

pub mod arena;
pub mod clocks;
pub mod code;
pub mod handover;
pub mod pids;
pub mod policy;
pub mod privileges;
pub mod processes;
pub mod record;
pub mod table;
pub mod tellings;

/// Version of the arena, the records and the session's chunk files together.
pub const VERSION: u32 = 1;

/// Port of name servers.
pub const DNS_PORT: u16 = 53;
/// Where the Unix sockets of the system's resolvers are: nscd's and systemd's.
pub const RESOLVERS: [&str; 3] = ["/var/run/nscd/", "/run/nscd/", "/run/systemd/resolve/"];
