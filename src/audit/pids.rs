//! Pids and tids replaced by ordinals.
//!
//! The kernel numbers processes as it likes. Two runs that differ in nothing but these numbers
//! are the same: a process of the session counts by its key, any other pid by the order in which
//! its process's log mentions it first.

use std::collections::HashMap;

use log_format::record::{CALL_BYTES, Dir, HEADER_BYTES, Kind, Record, extra};
use log_format::table::{self, siginfo_pid};

use crate::session::Manifest;

/// Bit that tells a pid by first mention from one by key.
const MENTIONED: u32 = 0x8000_0000;
/// Offset of si_utime and si_stime in siginfo of SIGCHLD: the clock's, 16 bytes.
const SI_TIMES: usize = 32;
const SIGCHLD: u32 = 17;

const CLONE: u16 = 56;
const CLONE3: u16 = 435;

/// Pids of one session, as one of its processes sees them.
#[derive(Clone, Debug)]
pub struct Pids {
    known: HashMap<u32, u32>,
    mentioned: u32,
}

impl Pids {
    /// Knows the processes of the session.
    pub fn new(manifest: &Manifest) -> Pids {
        let ordinal = |key: u64| (key as u32 ^ (key >> 32) as u32) & !MENTIONED;
        let known = manifest.processes.iter().map(|p| (p.pid as u32, ordinal(p.key))).collect();
        Pids { known, mentioned: 0 }
    }

    /// What stands for a pid. 0, negative numbers of errors and "any" stay as they are; a
    /// negative process group is mapped by its absolute value.
    fn ordinal(&mut self, pid: i32) -> i32 {
        if (-1..=0).contains(&pid) {
            return pid;
        }
        let Pids { known, mentioned } = self;
        let ordinal = *known.entry(pid.unsigned_abs()).or_insert_with(|| {
            *mentioned += 1;
            MENTIONED | *mentioned
        });
        // The sign bit of an ordinal by mention is no sign: both stay distinct.
        if pid < 0 { (ordinal ^ 0x4000_0000) as i32 } else { ordinal as i32 }
    }

    /// Copies a record's bytes into `out`, with its pids replaced and the call's time left out.
    pub fn canonical(&mut self, record: &Record, bytes: &[u8], out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(bytes);
        match record.header.kind {
            Kind::Call | Kind::Yield | Kind::Start => self.call(record, bytes, out),
            Kind::Signal => {
                self.siginfo(out.get_mut(HEADER_BYTES + 8..).unwrap_or_default());
            }
            _ => {}
        }
    }

    fn call(&mut self, record: &Record, bytes: &[u8], out: &mut [u8]) {
        let Ok(call) = record.call() else { return };
        let start = bytes.as_ptr().addr();
        let at = |part: &[u8]| part.as_ptr().addr().wrapping_sub(start);
        if let Some(time) = call.buf(extra::TIME, Dir::Extra) {
            out.iter_mut().skip(at(time.bytes)).take(time.bytes.len()).for_each(|b| *b = 0);
        }
        if record.header.kind == Kind::Start {
            if let Some(info) = call.buf(extra::START, Dir::Extra) {
                self.replace(out, at(info.bytes) + 16);
                self.replace(out, at(info.bytes) + 20);
            }
            return;
        }
        let args_at = HEADER_BYTES + CALL_BYTES;
        let Some(row) = table::row(call.nr.into()) else { return };
        for i in (0..usize::from(call.nargs)).filter(|i| row.is_pid(*i, &call.args)) {
            self.replace(out, args_at + i * 8);
        }
        if record.header.kind == Kind::Call && call.ret > 0 && row.gives_pid(&call.args) {
            self.replace(out, HEADER_BYTES + 8);
        }
        for buf in call.bufs().flatten().filter(|b| matches!(b.dir, Dir::In | Dir::Out)) {
            let tid_of_child = matches!(call.nr, CLONE | CLONE3) && buf.bytes.len() == 4;
            if tid_of_child || row.holds_pid(buf.arg.into(), &call.args) {
                self.replace(out, at(buf.bytes));
            } else if row.holds_siginfo(buf.arg.into(), &call.args) {
                let (from, len) = (at(buf.bytes), buf.bytes.len());
                self.siginfo(out.get_mut(from..from + len).unwrap_or_default());
            }
        }
    }

    /// Replaces the sender in a siginfo that has one, and drops the times of a child.
    fn siginfo(&mut self, info: &mut [u8]) {
        let Some(pid) = siginfo_pid(info) else { return };
        self.replace(info, pid);
        if info.first_chunk() == Some(&SIGCHLD.to_le_bytes()) {
            info.iter_mut().skip(SI_TIMES).take(16).for_each(|b| *b = 0);
        }
    }

    /// Replaces the pid that stands at an offset.
    fn replace(&mut self, out: &mut [u8], at: usize) {
        if let Some(place) = out.get_mut(at..).and_then(|b| b.first_chunk_mut::<4>()) {
            *place = self.ordinal(i32::from_le_bytes(*place)).to_le_bytes();
        }
    }
}
