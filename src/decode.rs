//! Records as text, in the manner of strace, and as JSON.
//!
//! Bytes in, text out: nothing here reads a guest or a file. What a call's arguments are comes
//! from its row in [`log_format::table`], what they pointed to from the buffers in the log; an
//! argument without a logged buffer (the call failed) is shown as an address.
//!
//! ```text
//! read(3, "GET / HTTP/1.1\r\n"..., 8192) = 16
//! ```

mod args;
mod bytes;
mod json;
mod message;
mod siginfo;
mod sockaddr;
mod structs;
#[cfg(test)]
mod tests;
mod text;

use std::fmt::Write;

use log_format::record::{
    Buf, Call, Dir, FILE_ID_BYTES, Kind, Record, clock, extra, flag, note, plain,
};
use log_format::table::{self, FlagSet, Ret, Row, Ty, errno_name};

use bytes::{u32_at, u64_at};
pub use json::json;
pub use siginfo::signal_name;

/// How much is shown.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Most bytes of one buffer shown; "..." stands for the rest.
    pub string_bytes_max: usize,
    /// Most elements of one array shown.
    pub items_max: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { string_bytes_max: 64, items_max: 32 }
    }
}

impl Options {
    /// Everything is shown.
    pub const FULL: Options = Options { string_bytes_max: usize::MAX, items_max: usize::MAX };
}

/// A call as it is shown: its row, and what is known of it.
struct View<'a> {
    row: Option<&'static Row>,
    nr: u64,
    args: [u64; 6],
    /// `None`: not known (yet).
    ret: Option<i64>,
    bufs: Vec<Buf<'a>>,
    options: &'a Options,
}

impl<'a> View<'a> {
    fn new(call: &Call<'a>, ret: Option<i64>, options: &'a Options) -> View<'a> {
        View {
            row: table::row(call.nr.into()),
            nr: call.nr.into(),
            args: call.args,
            ret,
            bufs: call.bufs().flatten().collect(),
            options,
        }
    }

    /// The buffers of an argument, those that the kernel read and those it wrote.
    fn bufs_of(&self, arg: usize) -> impl Iterator<Item = &Buf<'a>> {
        self.bufs.iter().filter(move |b| usize::from(b.arg) == arg && b.dir != Dir::Extra)
    }

    fn extra(&self, arg: u8) -> Option<&'a [u8]> {
        self.bufs.iter().find(|b| b.arg == arg && b.dir == Dir::Extra).map(|b| b.bytes)
    }

    /// The arguments that this form of the call has: index, name, type.
    fn shown_args(&self) -> impl Iterator<Item = (usize, &'static str, Ty)> {
        let args = self.row.map_or(&[][..], |row| row.args);
        args.iter()
            .enumerate()
            .take(6)
            .map(|(i, arg)| (i, arg.name, arg.ty.resolve(&self.args)))
            .filter(|(.., ty)| *ty != Ty::Unused)
    }

    fn name(&self) -> String {
        match self.row {
            Some(row) => row.name.to_owned(),
            None => format!("syscall_{}", self.nr),
        }
    }

    /// `name(arguments)`.
    fn head(&self) -> String {
        let mut args: Vec<String> =
            self.shown_args().map(|(i, name, ty)| self.arg(i, name, ty)).collect();
        if self.row.is_none() {
            args.extend(self.args.iter().map(|arg| text::hex(*arg)));
        }
        format!("{}({})", self.name(), args.join(", "))
    }

    /// The result, without the equals sign.
    fn result(&self) -> String {
        let Some(ret) = self.ret else { return "?".into() };
        if let Some((name, meaning)) = errno_name(ret) {
            // From here on a result is for the kernel itself: the call is made once more.
            const ERESTARTSYS: i64 = -512;
            let value = if ret <= ERESTARTSYS { "?" } else { "-1" };
            return format!("{value} {name} ({meaning})");
        }
        if let Some(flags) = self.flags_of_result(ret as u32) {
            return format!("{} (flags {flags})", text::hex(ret as u64));
        }
        match self.row.map_or(Ret::Int, |row| row.ret) {
            Ret::Int | Ret::Pid | Ret::Fd => ret.to_string(),
            Ret::Addr | Ret::Hex => text::hex(ret as u64),
        }
    }

    /// The flags that fcntl gives for some commands.
    fn flags_of_result(&self, ret: u32) -> Option<String> {
        const F_GETFD: u64 = 1;
        const F_GETFL: u64 = 3;
        let set = match self.args[1] {
            F_GETFD if ret != 0 => FlagSet::FdFlags,
            F_GETFL => FlagSet::Open,
            _ => return None,
        };
        (self.row?.name == "fcntl").then(|| text::flags(set, ret))
    }

    /// What rr-run knows of the call beyond its arguments.
    fn remarks(&self) -> String {
        let mut out = String::new();
        if let Some(key) = self.extra(extra::CHILD).and_then(|b| u64_at(b, 0)) {
            _ = write!(out, " /* process {key:016x} */");
        }
        if let Some(thread) = self.extra(extra::THREAD).and_then(|b| u64_at(b, 0)) {
            _ = write!(out, " /* thread {thread} */");
        }
        if let Some(path) = self.extra(extra::FILE).and_then(|b| b.get(FILE_ID_BYTES..)) {
            _ = write!(out, " /* {} */", text::quoted(path, usize::MAX));
        }
        if let Some(bytes) = self.extra(extra::OUTPUT)
            && let (Some(number), Some(which)) = (u64_at(bytes, 0), u64_at(bytes, 8))
        {
            let which = if which == 2 { "stderr" } else { "stdout" };
            _ = write!(out, " /* {which}, write {number} of the session */");
        }
        out
    }
}

/// A complete call: `name(arguments) = result`.
pub fn call(call: &Call, options: &Options) -> String {
    let view = View::new(call, Some(call.ret), options);
    format!("{} = {}{}", view.head(), view.result(), view.remarks())
}

/// A call whose result is not known (yet): `name(arguments)`.
pub fn unfinished(call: &Call, options: &Options) -> String {
    View::new(call, None, options).head()
}

/// A call of which only the registers are known: what it points to is shown as addresses.
pub fn registers(nr: u64, args: &[u64; 6], ret: Option<i64>, options: &Options) -> String {
    let view = View { row: table::row(nr), nr, args: *args, ret, bufs: Vec::new(), options };
    match ret {
        Some(_) => format!("{} = {}", view.head(), view.result()),
        None => view.head(),
    }
}

/// Any record, as one line.
pub fn record(record: &Record, options: &Options) -> String {
    let header = record.header;
    let is = |bit| header.flags & bit != 0;
    let value = record.value().unwrap_or(0);
    match header.kind {
        Kind::Call => match record.call() {
            Ok(it) => {
                let seeded = if is(flag::SEEDED) { " /* from the seed */" } else { "" };
                format!("{}{seeded}", call(&it, options))
            }
            Err(_) => "--- damaged call ---".into(),
        },
        Kind::Yield => {
            let why = if is(flag::FAIRNESS) { " to a thread that waited" } else { "" };
            match record.call() {
                Ok(it) => {
                    let head = View::new(&it, None, options).head();
                    format!("{head} <unfinished: token given up{why}>")
                }
                Err(_) => "--- damaged yield ---".into(),
            }
        }
        Kind::Start => start(record),
        Kind::Clock => {
            let (s, ns) = (value / 1_000_000_000, value % 1_000_000_000);
            match header.flags {
                clock::TIMEOFDAY => format!("gettimeofday() = {s}.{:06}", ns / 1000),
                clock::TIME => format!("time() = {s}"),
                id => {
                    let id = text::one(FlagSet::Clock, id.into());
                    format!("clock_gettime({id}) = {s}.{ns:09}")
                }
            }
        }
        Kind::Tsc => format!("rdtsc() = {value}"),
        Kind::Signal => {
            let (signo, info) = record.signal().unwrap_or((0, &[]));
            let how = if is(flag::SYNCHRONOUS) {
                ", raised by the thread's own instruction"
            } else if is(flag::INEXACT) {
                ", between calls (inexact on replay)"
            } else {
                ""
            };
            format!("--- {} {}{how} ---", signal_name(signo), siginfo::siginfo(info))
        }
        Kind::ThreadStart => format!("+++ thread {} started +++", header.thread),
        Kind::ThreadExit => format!("+++ thread {} ended +++", header.thread),
        Kind::Exit => format!("+++ {} +++", exit(value as u32)),
        Kind::Preempt => "--- token taken from a thread that made no call ---".into(),
        Kind::Note => {
            let (code, text) = record.note().unwrap_or((0, &[]));
            let what = note_name(code);
            format!("--- {what}: {} ---", text::plain(text, options.string_bytes_max.max(1024)))
        }
        Kind::Shared => format!("--- shared token acquired, number {value} ---"),
        Kind::Plain => {
            let plain = record.plain();
            let (connection, bytes) = plain.map_or((0, &[][..]), |p| (p.connection, p.bytes));
            let what = plain_name(header.flags);
            let shown = text::plain(bytes, options.string_bytes_max);
            format!("--- tls connection {connection} {what}: {shown} ---")
        }
    }
}

/// What a record of the log of plaintext is.
fn plain_name(flags: u8) -> &'static str {
    match flags {
        plain::OPENED => "opened",
        plain::SENT => "sent",
        plain::RECEIVED => "received",
        plain::CLOSED => "closed",
        _ => "unknown",
    }
}

/// What a wait status says, in words.
pub fn exit(status: u32) -> String {
    let signal = status & 0x7f;
    if signal == 0 {
        return format!("exited with {}", (status >> 8) & 0xff);
    }
    let core = if status & 0x80 != 0 { " (core dumped)" } else { "" };
    format!("killed by {}{core}", signal_name(signal))
}

/// What a note's code says.
pub fn note_name(code: u32) -> &'static str {
    match code {
        note::REFUSED => "refused",
        note::OPAQUE => "not intercepted",
        note::UNKNOWN => "unknown call",
        note::NOT_KEPT => "file not kept",
        note::SHARED_MEMORY => "memory shared with a process outside",
        note::UNSUPPORTED => "not reproduced",
        note::TLS_OPAQUE => "tls not intercepted",
        note::DENIED => "denied by the policy",
        note::COPIED => "run from a copy",
        note::RANDOM => "can use rdrand or rdseed, which are not recorded",
        note::SECCOMP => "a seccomp filter was installed",
        _ => "note",
    }
}

/// A program image's start, from [`log_format::record::StartInfo`]'s bytes.
fn start(record: &Record) -> String {
    let info = record.call().ok().and_then(|call| call.buf(extra::START, Dir::Extra));
    let Some(bytes) = info.map(|buf| buf.bytes) else { return "--- start ---".into() };
    let word = |at| u64_at(bytes, at).unwrap_or(0);
    let half = |at| u32_at(bytes, at).unwrap_or(0);
    let execs = match half(24) {
        0 => String::new(),
        n => format!(", exec {n}"),
    };
    format!(
        "--- start of process {:016x}, pid {}, parent {}{execs}, stack {}, brk {} ---",
        word(0),
        half(16),
        half(20),
        text::hex(word(32)),
        text::hex(word(40)),
    )
}
