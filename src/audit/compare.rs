//! One event of each run: are they the same, and if not, where does that come from?

use log_format::record::{BUF_NOT_COMPARED, Buf, Call, Dir, Kind, Record, extra};
use log_format::table::{self, Class};
use serde::Serialize;

use super::Source;
use super::fds::{Fds, Target};

/// Bytes of a differing buffer shown before the difference, and after it.
const CONTEXT_BYTES: usize = 24;

/// How two events differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Where it comes from.
    pub source: Source,
    /// What differs, for the user.
    pub what: String,
    /// The bytes that differ.
    pub bytes: Option<Bytes>,
}

/// Both sides of a buffer, around its first difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bytes {
    /// Offset of the first byte that differs.
    pub offset: usize,
    /// Offset of the first byte shown.
    pub from: usize,
    /// The first run's bytes from there.
    pub a: Vec<u8>,
    /// The second run's.
    pub b: Vec<u8>,
}

impl Bytes {
    /// The first difference of two buffers; none if they are equal.
    pub fn between(a: &[u8], b: &[u8]) -> Option<Bytes> {
        let offset = a.iter().zip(b).position(|(a, b)| a != b).unwrap_or(a.len().min(b.len()));
        if offset == a.len() && offset == b.len() {
            return None;
        }
        let from = offset.saturating_sub(CONTEXT_BYTES);
        let part = |all: &[u8]| {
            all.get(from..all.len().min(offset + CONTEXT_BYTES)).unwrap_or_default().to_vec()
        };
        Some(Bytes { offset, from, a: part(a), b: part(b) })
    }
}

impl Difference {
    fn new(source: Source, what: impl Into<String>) -> Difference {
        Difference { source, what: what.into(), bytes: None }
    }

    fn with(self, bytes: Option<Bytes>) -> Difference {
        Difference { bytes, ..self }
    }
}

/// Whether a record tells of the order of threads and processes, not of the program.
pub fn is_schedule(kind: Kind) -> bool {
    matches!(kind, Kind::Yield | Kind::Preempt | Kind::Shared | Kind::Note)
}

/// The difference of two events whose canonical bytes differ; none if it is of no account.
///
/// `fds` are the first run's, before the event.
pub fn difference(a: &Record, b: &Record, fds: &Fds) -> Option<Difference> {
    let (kind_a, kind_b) = (a.header.kind, b.header.kind);
    if a.header.thread != b.header.thread {
        let (a, b) = (a.header.thread, b.header.thread);
        return Some(Difference::new(Source::Schedule, format!("thread {a} came first, or {b}")));
    }
    if kind_a != kind_b {
        let source = if is_schedule(kind_a) || is_schedule(kind_b) {
            Source::Schedule
        } else if kind_a == Kind::Signal || kind_b == Kind::Signal {
            Source::Signal
        } else if matches!(kind_a, Kind::Clock | Kind::Tsc)
            || matches!(kind_b, Kind::Clock | Kind::Tsc)
        {
            // How often a program reads the clock is its own doing, and mostly of no account.
            Source::Clock
        } else {
            Source::Behaviour
        };
        return Some(Difference::new(source, "another kind of event"));
    }
    match kind_a {
        Kind::Call | Kind::Yield | Kind::Start => match (a.call(), b.call()) {
            (Ok(a), Ok(b)) if kind_a == Kind::Start => start(&a, &b),
            (Ok(a), Ok(b)) => call(&a, &b, kind_a, fds),
            _ => Some(Difference::new(Source::Other, "a damaged call")),
        },
        Kind::Clock if a.header.flags != b.header.flags => {
            Some(Difference::new(Source::Behaviour, "another clock"))
        }
        Kind::Clock => Some(Difference::new(Source::Clock, "the time")),
        Kind::Tsc => Some(Difference::new(Source::Clock, "the time stamp counter")),
        Kind::Signal => Some(Difference::new(Source::Signal, "the signal")),
        Kind::Exit => Some(Difference::new(Source::Behaviour, "the exit status")),
        Kind::Shared | Kind::Preempt | Kind::ThreadStart | Kind::ThreadExit | Kind::Plain => {
            Some(Difference::new(Source::Schedule, "the order of threads"))
        }
        Kind::Note => None,
    }
}

fn start(a: &Call, b: &Call) -> Option<Difference> {
    let info = |call: &Call<'_>| call.buf(extra::START, Dir::Extra).map(|buf| buf.bytes.to_vec());
    if let (Some(a), Some(b)) = (info(a), info(b)) {
        // Stack and program break; what stands around them are keys, pids (which the caller has
        // made equal) and the state that the parent left.
        if a.get(32..48) != b.get(32..48) {
            return Some(Difference::new(Source::Address, "where stack and heap start"));
        }
    }
    files(a, b)
}

/// Files that were mapped or executed.
fn files(a: &Call, b: &Call) -> Option<Difference> {
    let all = |call: &Call<'_>| -> Vec<Vec<u8>> {
        let files = call.bufs().flatten().filter(|f| f.dir == Dir::Extra && f.arg == extra::FILE);
        files.map(|f| f.bytes.to_vec()).collect()
    };
    (all(a) != all(b)).then(|| Difference::new(Source::FileMeta, "the identity of a mapped file"))
}

fn call(a: &Call, b: &Call, kind: Kind, fds: &Fds) -> Option<Difference> {
    if a.nr != b.nr {
        return Some(Difference::new(Source::Behaviour, "another call"));
    }
    let row = table::row(a.nr.into());
    let name = |i: usize| row.and_then(|r| r.args.get(i)).map_or("?", |arg| arg.name);
    let side = |call: &Call<'_>, dir: Dir| -> Vec<(u8, u16, Vec<u8>)> {
        let chosen = call.bufs().flatten().filter(|buf| buf.dir == dir);
        chosen.map(|Buf { arg, flags, bytes, .. }| (arg, flags, bytes.to_vec())).collect()
    };
    let differing = |dir: Dir| {
        let (a, b) = (side(a, dir), side(b, dir));
        let pair = a.iter().zip(&b).find(|(a, b)| a.2 != b.2 && a.1 & BUF_NOT_COMPARED == 0);
        match pair {
            Some((a, b)) => Some((a.0, Bytes::between(&a.2, &b.2))),
            None if a.len() != b.len() => {
                Some((a.get(b.len()).or(b.get(a.len())).map_or(0, |x| x.0), None))
            }
            None => None,
        }
    };
    // First what the program did: arguments, and bytes that it passed.
    for i in 0..usize::from(a.nargs.max(b.nargs)) {
        let bits = row.map_or(u64::MAX, |row| row.compared_bits(i, &a.args));
        if a.args[i] & bits != b.args[i] & bits {
            let what = format!("argument {} ({})", i + 1, name(i));
            let bytes = differing(Dir::In).and_then(|(_, bytes)| bytes);
            return Some(Difference::new(Source::Behaviour, what).with(bytes));
        }
    }
    if let Some((arg, bytes)) = differing(Dir::In) {
        let what = format!("the bytes of {} that the program passed", name(arg.into()));
        return Some(Difference::new(Source::Behaviour, what).with(bytes));
    }
    if kind == Kind::Yield {
        return None;
    }
    // Then what it was given.
    let source = given_by(a, row.map(|r| r.class), fds);
    if a.ret != b.ret {
        let bytes = differing(Dir::Out).and_then(|(_, bytes)| bytes);
        return Some(Difference::new(source, "the result").with(bytes));
    }
    if let Some((arg, bytes)) = differing(Dir::Out) {
        let what = format!("the bytes of {} that the program got", name(arg.into()));
        return Some(Difference::new(source, what).with(bytes));
    }
    let extra_of = |call: &Call<'_>, arg| call.buf(arg, Dir::Extra).map(|b| b.bytes.to_vec());
    if extra_of(a, extra::CHILD) != extra_of(b, extra::CHILD) {
        return Some(Difference::new(Source::Behaviour, "which child process this is"));
    }
    if extra_of(a, extra::OUTPUT) != extra_of(b, extra::OUTPUT) {
        let what = "the order of the processes' output";
        return Some(Difference::new(Source::Schedule, what));
    }
    if let Some(files) = files(a, b) {
        return Some(files);
    }
    let placed = |call: &Call<'_>| -> Vec<(u8, u64)> {
        let bufs = call.bufs().flatten().filter(|b| b.arg != extra::TIME);
        bufs.map(|b| (b.arg, b.addr)).collect()
    };
    let moved = a.args != b.args || placed(a) != placed(b);
    moved.then(|| Difference::new(Source::Address, "addresses of arguments"))
}

/// Where what a call gives comes from.
fn given_by(call: &Call, class: Option<Class>, fds: &Fds) -> Source {
    let row = table::row(call.nr.into());
    match row.map_or("", |row| row.name) {
        "clock_gettime" | "gettimeofday" | "time" | "times" | "clock_nanosleep" | "nanosleep"
        | "getitimer" | "timerfd_gettime" | "timer_gettime" | "clock_getres" | "adjtimex"
        | "clock_adjtime" | "setitimer" | "alarm" => Source::Clock,
        "getrandom" => Source::Random,
        "recvfrom" | "recvmsg" | "recvmmsg" | "connect" | "accept" | "accept4" | "getpeername"
        | "getsockname" | "getsockopt" | "sendto" | "sendmsg" | "sendmmsg" | "bind" => {
            Source::Network
        }
        "poll" | "ppoll" | "select" | "pselect6" | "epoll_wait" | "epoll_pwait"
        | "epoll_pwait2" | "futex" | "futex_waitv" | "wait4" | "waitid" | "sched_yield"
        | "sched_getaffinity" | "getcpu" | "rt_sigtimedwait" | "flock" => Source::Schedule,
        "stat" | "fstat" | "lstat" | "newfstatat" | "statx" | "statfs" | "fstatfs" | "getdents"
        | "getdents64" | "access" | "faccessat" | "faccessat2" | "readlink" | "readlinkat"
        | "open" | "openat" | "openat2" | "lseek" | "unlink" | "unlinkat" | "mkdir" | "mkdirat"
        | "rename" | "renameat" | "renameat2" => Source::FileMeta,
        "mmap" | "mremap" | "brk" | "shmat" | "munmap" | "mprotect" => Source::Address,
        "uname" | "sysinfo" | "getrlimit" | "prlimit64" | "getrusage" | "getcwd" | "getuid"
        | "geteuid" | "getgid" | "getegid" | "ioctl" | "umask" | "getgroups" => Source::Environment,
        "read" | "readv" | "pread64" | "preadv" | "preadv2" | "write" | "writev" | "splice"
        | "sendfile" | "copy_file_range" => match fds.get(call.args[0]) {
            Some(Target::Random) => Source::Random,
            Some(Target::Socket(..)) => Source::Network,
            Some(Target::File(path)) if of_kernel(path) => Source::Environment,
            Some(Target::File(_)) => Source::File,
            Some(Target::Stream) | None => Source::Stream,
        },
        _ if row.is_some_and(|row| row.gives_pid(&call.args)) => Source::Pid,
        _ if class == Some(Class::Local) => Source::Address,
        _ => Source::Other,
    }
}

/// Files whose content the kernel makes up.
fn of_kernel(path: &str) -> bool {
    ["/proc/", "/sys/", "/dev/"].iter().any(|dir| path.starts_with(dir))
}
