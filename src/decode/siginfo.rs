//! Signals: names, sets, siginfo, sigaction.

use log_format::table::FlagSet;

use super::bytes::{i32_at, i64_at, u32_at, u64_at};
use super::text;

/// First real-time signal.
const RTMIN: u32 = 32;
const SIGILL: u32 = 4;
const SIGBUS: u32 = 7;
const SIGFPE: u32 = 8;
const SIGSEGV: u32 = 11;
const SIGCHLD: u32 = 17;

/// `SIGINT`, `SIGRT_2`, or the number.
pub fn signal_name(signo: u32) -> String {
    match FlagSet::Signal.name_of(signo) {
        Some(name) => name.into(),
        None if signo == RTMIN => "SIGRTMIN".into(),
        None if (RTMIN..=64).contains(&signo) => format!("SIGRT_{}", signo - RTMIN),
        None => (signo as i32).to_string(),
    }
}

/// `[INT CHLD]`, or `~[INT]` if most are in the set.
pub(super) fn sigset(set: u64) -> String {
    let inverted = set.count_ones() > 32;
    let shown = if inverted { !set } else { set };
    let names: Vec<String> = (1..=64)
        .filter(|signo| shown & (1 << (signo - 1)) != 0)
        .map(|signo| signal_name(signo).trim_start_matches("SIG").to_owned())
        .collect();
    format!("{}[{}]", if inverted { "~" } else { "" }, names.join(" "))
}

/// Kernel `struct sigaction`: handler, flags, restorer, mask.
pub(super) fn sigaction(bytes: &[u8]) -> Option<String> {
    let handler = match u64_at(bytes, 0)? {
        0 => "SIG_DFL".into(),
        1 => "SIG_IGN".into(),
        at => text::hex(at),
    };
    let flags = text::flags(FlagSet::Sa, u64_at(bytes, 8)? as u32);
    let mask = sigset(u64_at(bytes, 24)?);
    Some(format!("{{sa_handler={handler}, sa_mask={mask}, sa_flags={flags}}}"))
}

/// `siginfo_t`, as much of it as there is.
pub(super) fn siginfo(bytes: &[u8]) -> String {
    fields(bytes).unwrap_or_else(|| "{}".into())
}

fn fields(bytes: &[u8]) -> Option<String> {
    let signo = u32_at(bytes, 0)?;
    let code = i32_at(bytes, 8)?;
    let mut out = format!("{{si_signo={}, si_code={}", signal_name(signo), si_code(signo, code));
    if let Some(errno) = i32_at(bytes, 4).filter(|errno| *errno != 0) {
        out += &format!(", si_errno={errno}");
    }
    out += &details(bytes, signo, code).unwrap_or_default();
    out.push('}');
    Some(out)
}

fn details(bytes: &[u8], signo: u32, code: i32) -> Option<String> {
    const SI_KERNEL: i32 = 0x80;
    const SI_TIMER: i32 = -2;
    const SI_QUEUE: i32 = -1;
    const CLD_EXITED: i32 = 1;
    if code == SI_KERNEL {
        return None;
    }
    if signo == SIGCHLD && code > 0 {
        let status = i32_at(bytes, 24)?;
        let status =
            if code == CLD_EXITED { status.to_string() } else { signal_name(status as u32) };
        let sender = sender(bytes)?;
        return Some(format!("{sender}, si_status={status}"));
    }
    if code > 0 && matches!(signo, SIGILL | SIGBUS | SIGFPE | SIGSEGV) {
        return Some(format!(", si_addr={}", text::address(u64_at(bytes, 16)?)));
    }
    match code {
        SI_TIMER => {
            let (id, overrun) = (i32_at(bytes, 16)?, i32_at(bytes, 20)?);
            Some(format!(", si_timerid={id}, si_overrun={overrun}"))
        }
        SI_QUEUE => Some(format!("{}, si_value={:#x}", sender(bytes)?, i64_at(bytes, 24)?)),
        _ if code <= 0 => sender(bytes),
        _ => None,
    }
}

fn sender(bytes: &[u8]) -> Option<String> {
    Some(format!(", si_pid={}, si_uid={}", i32_at(bytes, 16)?, u32_at(bytes, 20)?))
}

fn si_code(signo: u32, code: i32) -> String {
    let own = match signo {
        SIGCHLD => FlagSet::Cld.name_of(code as u32),
        SIGSEGV => FlagSet::Segv.name_of(code as u32),
        SIGBUS => FlagSet::Bus.name_of(code as u32),
        SIGFPE => FlagSet::Fpe.name_of(code as u32),
        SIGILL => FlagSet::Ill.name_of(code as u32),
        _ => None,
    };
    own.or_else(|| FlagSet::SiCode.name_of(code as u32)).map_or(code.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signal_sets_show_the_smaller_half() {
        assert_eq!(sigset(0), "[]");
        assert_eq!(sigset(1 << 1 | 1 << 16 | 1 << 33), "[INT CHLD RT_2]");
        assert_eq!(sigset(!(1 << 8)), "~[KILL]");
    }

    #[test]
    fn siginfo_shows_what_the_signal_has() {
        let mut info = [0; 128];
        info[0] = 17;
        info[8] = 1;
        info[16] = 77;
        info[24] = 3;
        let child = "{si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=77, si_uid=0, si_status=3}";
        assert_eq!(siginfo(&info), child);
        info[0] = 11;
        info[24] = 0;
        assert_eq!(siginfo(&info), "{si_signo=SIGSEGV, si_code=SEGV_MAPERR, si_addr=0x4d}");
        info[0] = 15;
        info[8] = 0;
        assert_eq!(siginfo(&info), "{si_signo=SIGTERM, si_code=SI_USER, si_pid=77, si_uid=0}");
        assert_eq!(siginfo(&[]), "{}");
    }
}
