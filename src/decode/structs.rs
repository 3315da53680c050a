//! What buffers hold, by their shape.

use std::fmt::Write;

use log_format::table::{FlagSet, Shape};

use super::args::without_nul;
use super::bytes::{i32_at, i64_at, u16_at, u32_at, u64_at};
use super::{Options, siginfo, signal_name, sockaddr, text};

/// A buffer as text.
pub(super) fn shape(shape: Shape, bytes: &[u8], options: &Options) -> String {
    known(shape, bytes, options).unwrap_or_else(|| raw(bytes, options))
}

fn known(shape: Shape, bytes: &[u8], options: &Options) -> Option<String> {
    let items = options.items_max;
    let max = options.string_bytes_max;
    Some(match shape {
        Shape::Bytes => text::quoted(bytes, max),
        Shape::Text => text::quoted(without_nul(bytes), usize::MAX),
        Shape::I32 | Shape::PidWord => {
            let words = (0..bytes.len() / 4).filter_map(|i| i32_at(bytes, i * 4));
            text::list(words.map(|word| word.to_string()), items)
        }
        Shape::U64 => {
            let words = (0..bytes.len() / 8).filter_map(|i| u64_at(bytes, i * 8));
            text::list(words.map(text::hex), items)
        }
        Shape::I64 => {
            let words = (0..bytes.len() / 8).filter_map(|i| i64_at(bytes, i * 8));
            text::list(words.map(|word| word.to_string()), items)
        }
        Shape::Timespec => each(bytes, 16, items, timespec)?,
        Shape::Timeval => each(bytes, 16, items, timeval)?,
        Shape::Itimerspec => {
            let (interval, value) = (timespec(bytes)?, timespec(bytes.get(16..)?)?);
            format!("{{it_interval={interval}, it_value={value}}}")
        }
        Shape::Stat => stat(bytes)?,
        Shape::Statx => statx(bytes)?,
        Shape::Statfs => statfs(bytes)?,
        Shape::Sockaddr => sockaddr::sockaddr(bytes),
        Shape::Pollfds => pollfds(bytes, items),
        Shape::EpollEvents => epoll_events(bytes, items)?,
        Shape::FdSet | Shape::CpuSet => bits(bytes),
        Shape::Sigset => siginfo::sigset(u64_at(bytes, 0)?),
        Shape::Sigaction => siginfo::sigaction(bytes)?,
        Shape::Siginfo if bytes.len() > 128 => {
            each(bytes, 128, items, |b| Some(siginfo::siginfo(b)))?
        }
        Shape::Siginfo => siginfo::siginfo(bytes),
        Shape::Rlimit => rlimit(bytes)?,
        Shape::Rusage => rusage(bytes)?,
        Shape::Utsname => utsname(bytes)?,
        Shape::Flock => flock(bytes)?,
        Shape::OpenHow => open_how(bytes)?,
        Shape::Sigstack => sigstack(bytes)?,
        Shape::CloneArgs => clone_args(bytes)?,
        Shape::Sysinfo => sysinfo(bytes)?,
        Shape::Tms => {
            let ticks = |at| i64_at(bytes, at);
            format!(
                "{{tms_utime={}, tms_stime={}, tms_cutime={}, tms_cstime={}}}",
                ticks(0)?,
                ticks(8)?,
                ticks(16)?,
                ticks(24)?
            )
        }
        Shape::Termios => {
            let flags = |at| u32_at(bytes, at).map(|word| text::hex(word.into()));
            format!(
                "{{c_iflag={}, c_oflag={}, c_cflag={}, c_lflag={}, ...}}",
                flags(0)?,
                flags(4)?,
                flags(8)?,
                flags(12)?
            )
        }
        Shape::Winsize => {
            let side = |at| u16_at(bytes, at);
            format!(
                "{{ws_row={}, ws_col={}, ws_xpixel={}, ws_ypixel={}}}",
                side(0)?,
                side(2)?,
                side(4)?,
                side(6)?
            )
        }
        Shape::SockOption => match (bytes.len(), i32_at(bytes, 0)) {
            (4, Some(value)) => format!("[{value}]"),
            _ => text::quoted(bytes, max),
        },
        Shape::WaitStatus => wait_status(u32_at(bytes, 0)?),
        Shape::Dirents => dirents(bytes, items),
        Shape::Opaque => return None,
    })
}

/// `{0a 1b ...}`.
fn raw(bytes: &[u8], options: &Options) -> String {
    let mut out = String::from("{");
    for (i, byte) in bytes.iter().enumerate() {
        if i > 0 {
            out.push(' ');
        }
        if i == options.string_bytes_max {
            out.push_str("...");
            break;
        }
        _ = write!(out, "{byte:02x}");
    }
    out.push('}');
    out
}

/// One structure plainly, several as a list.
fn each(
    bytes: &[u8],
    size: usize,
    items_max: usize,
    one: impl Fn(&[u8]) -> Option<String>,
) -> Option<String> {
    if bytes.len() == size {
        return one(bytes);
    }
    let all: Option<Vec<String>> = bytes.chunks_exact(size).map(one).collect();
    Some(text::list(all?, items_max))
}

fn timespec(bytes: &[u8]) -> Option<String> {
    const UTIME_NOW: i64 = 0x3fff_ffff;
    const UTIME_OMIT: i64 = 0x3fff_fffe;
    let (s, ns) = (i64_at(bytes, 0)?, i64_at(bytes, 8)?);
    Some(match ns {
        UTIME_NOW => "UTIME_NOW".into(),
        UTIME_OMIT => "UTIME_OMIT".into(),
        _ => format!("{{tv_sec={s}, tv_nsec={ns}}}"),
    })
}

fn timeval(bytes: &[u8]) -> Option<String> {
    Some(format!("{{tv_sec={}, tv_usec={}}}", i64_at(bytes, 0)?, i64_at(bytes, 8)?))
}

/// `S_IFREG|0644`.
fn file_mode(mode: u32) -> String {
    const S_IFMT: u32 = 0o170000;
    let kind = text::one(FlagSet::FileType, mode & S_IFMT);
    format!("{kind}|{}", text::mode(mode & !S_IFMT))
}

fn is_device(mode: u32) -> bool {
    matches!(mode & 0o170000, 0o020000 | 0o060000)
}

fn stat(bytes: &[u8]) -> Option<String> {
    let mode = u32_at(bytes, 24)?;
    let size = if is_device(mode) {
        let dev = u64_at(bytes, 40)?;
        let major = (dev >> 8) & 0xfff | (dev >> 32) & !0xfff;
        let minor = dev & 0xff | (dev >> 12) & !0xff;
        format!("st_rdev=makedev({major:#x}, {minor:#x})")
    } else {
        format!("st_size={}", i64_at(bytes, 48)?)
    };
    Some(format!("{{st_mode={}, {size}, ...}}", file_mode(mode)))
}

fn statx(bytes: &[u8]) -> Option<String> {
    let mask = text::flags(FlagSet::StatxMask, u32_at(bytes, 0)?);
    let mode = u16_at(bytes, 28)?.into();
    let size = u64_at(bytes, 40)?;
    Some(format!("{{stx_mask={mask}, stx_mode={}, stx_size={size}, ...}}", file_mode(mode)))
}

fn statfs(bytes: &[u8]) -> Option<String> {
    let word = |at| u64_at(bytes, at);
    Some(format!(
        "{{f_type={}, f_bsize={}, f_blocks={}, f_bfree={}, f_bavail={}, ...}}",
        text::hex(word(0)?),
        word(8)?,
        word(16)?,
        word(24)?,
        word(32)?
    ))
}

fn pollfds(bytes: &[u8], items: usize) -> String {
    let all = bytes.chunks_exact(8).map(|one| {
        let events = |at| text::flags(FlagSet::Poll, u16_at(one, at).unwrap_or(0).into());
        let fd = i32_at(one, 0).unwrap_or(0);
        let revents = match u16_at(one, 6) {
            None | Some(0) => String::new(),
            Some(_) => format!(", revents={}", events(6)),
        };
        format!("{{fd={fd}, events={}{revents}}}", events(4))
    });
    text::list(all, items)
}

fn epoll_events(bytes: &[u8], items: usize) -> Option<String> {
    let one = |bytes: &[u8]| {
        let events = text::flags(FlagSet::Epoll, u32_at(bytes, 0)?);
        let data = u64_at(bytes, 4)?;
        Some(format!("{{events={events}, data={{u32={}, u64={data}}}}}", data as u32))
    };
    if bytes.len() == 12 {
        return one(bytes).map(|event| format!("[{event}]"));
    }
    each(bytes, 12, items, one)
}

/// Numbers of the bits that are set.
fn bits(bytes: &[u8]) -> String {
    let set = bytes.iter().enumerate().flat_map(|(i, byte)| {
        (0..8).filter(move |bit| byte & (1 << bit) != 0).map(move |bit| (i * 8 + bit).to_string())
    });
    format!("[{}]", set.collect::<Vec<_>>().join(" "))
}

fn rlimit(bytes: &[u8]) -> Option<String> {
    let limit = |at| {
        Some(match u64_at(bytes, at)? {
            u64::MAX => "RLIM64_INFINITY".into(),
            // As strace: limits of memory are round in KiB.
            n if n > 1024 && n % 1024 == 0 => format!("{}*1024", n / 1024),
            n => n.to_string(),
        })
    };
    let (cur, max): (String, String) = (limit(0)?, limit(8)?);
    Some(format!("{{rlim_cur={cur}, rlim_max={max}}}"))
}

fn rusage(bytes: &[u8]) -> Option<String> {
    let (user, system) = (timeval(bytes)?, timeval(bytes.get(16..)?)?);
    Some(format!("{{ru_utime={user}, ru_stime={system}, ru_maxrss={}, ...}}", i64_at(bytes, 32)?))
}

fn utsname(bytes: &[u8]) -> Option<String> {
    const FIELD: usize = 65;
    let names = ["sysname", "nodename", "release", "version", "machine", "domainname"];
    let mut fields = Vec::new();
    for (i, name) in names.iter().enumerate() {
        let field = without_nul(bytes.get(i * FIELD..(i + 1) * FIELD)?);
        fields.push(format!("{name}={}", text::quoted(field, FIELD)));
    }
    Some(format!("{{{}}}", fields.join(", ")))
}

fn flock(bytes: &[u8]) -> Option<String> {
    Some(format!(
        "{{l_type={}, l_whence={}, l_start={}, l_len={}, l_pid={}}}",
        text::one(FlagSet::LockType, u16_at(bytes, 0)?.into()),
        text::one(FlagSet::Whence, u16_at(bytes, 2)?.into()),
        i64_at(bytes, 8)?,
        i64_at(bytes, 16)?,
        i32_at(bytes, 24)?
    ))
}

fn open_how(bytes: &[u8]) -> Option<String> {
    let flags = text::flags(FlagSet::Open, u64_at(bytes, 0)? as u32);
    let mode = text::mode(u64_at(bytes, 8)? as u32);
    let resolve = text::flags(FlagSet::Resolve, u64_at(bytes, 16)? as u32);
    Some(format!("{{flags={flags}, mode={mode}, resolve={resolve}}}"))
}

fn sigstack(bytes: &[u8]) -> Option<String> {
    const SS_DISABLE: u32 = 2;
    let (at, size) = (text::address(u64_at(bytes, 0)?), u64_at(bytes, 16)?);
    Some(match u32_at(bytes, 8)? {
        flags if flags & SS_DISABLE != 0 => "{ss_flags=SS_DISABLE}".into(),
        flags => format!("{{ss_sp={at}, ss_flags={}, ss_size={size}}}", text::hex(flags.into())),
    })
}

fn clone_args(bytes: &[u8]) -> Option<String> {
    let word = |at| u64_at(bytes, at);
    let mut out = format!("{{flags={}", text::flags(FlagSet::Clone, word(0)? as u32));
    const CLONE_PIDFD: u64 = 0x1000;
    let addresses = [("pidfd", 8), ("child_tid", 16), ("parent_tid", 24), ("stack", 40)];
    for (name, at) in addresses {
        let asked = name != "pidfd" || word(0)? & CLONE_PIDFD != 0;
        if asked && word(at)? != 0 {
            _ = write!(out, ", {name}={:#x}", word(at)?);
        }
    }
    let signal = match word(32)? as u32 {
        0 => "0".into(),
        signo => signal_name(signo),
    };
    _ = write!(out, ", exit_signal={signal}");
    if word(48)? != 0 {
        _ = write!(out, ", stack_size={}", text::hex(word(48)?));
    }
    if word(56)? != 0 {
        _ = write!(out, ", tls={:#x}", word(56)?);
    }
    out.push('}');
    Some(out)
}

fn sysinfo(bytes: &[u8]) -> Option<String> {
    let word = |at| u64_at(bytes, at);
    Some(format!(
        "{{uptime={}, loads=[{}, {}, {}], totalram={}, freeram={}, ..., procs={}, ...}}",
        i64_at(bytes, 0)?,
        word(8)?,
        word(16)?,
        word(24)?,
        word(32)?,
        word(40)?,
        u16_at(bytes, 80)?
    ))
}

/// A status as wait(2) gives it, in the words of its macros.
fn wait_status(status: u32) -> String {
    let (low, high) = (status & 0x7f, (status >> 8) & 0xff);
    match low {
        _ if status == 0xffff => "[{WIFCONTINUED(s)}]".into(),
        0 => format!("[{{WIFEXITED(s) && WEXITSTATUS(s) == {high}}}]"),
        0x7f => format!("[{{WIFSTOPPED(s) && WSTOPSIG(s) == {}}}]", signal_name(high)),
        _ => {
            let core = if status & 0x80 != 0 { " && WCOREDUMP(s)" } else { "" };
            format!("[{{WIFSIGNALED(s) && WTERMSIG(s) == {}{core}}}]", signal_name(low))
        }
    }
}

fn dirents(bytes: &[u8], items: usize) -> String {
    const NAME_AT: usize = 19;
    let mut all = Vec::new();
    let mut rest = bytes;
    while let (Some(len), Some(kind)) = (u16_at(rest, 16), rest.get(18)) {
        let Some(name) = rest.get(NAME_AT..usize::from(len)) else { break };
        let kind = text::one(FlagSet::DirentType, (*kind).into());
        let name = text::quoted(without_nul(name), usize::MAX);
        all.push(format!("{{d_type={kind}, d_name={name}}}"));
        rest = rest.get(usize::from(len)..).unwrap_or(&[]);
    }
    text::list(all, items)
}
