//! Recording: perform a call, log it.
#![allow(unsafe_code, reason = "the guest's calls are performed with the guest's arguments")]

pub mod plain;

use core::sync::atomic::Ordering;

use log_format::arena::Mode;
use log_format::record::{self, Dir, Header, Kind, extra, flag};
use log_format::table::{self, BufAt, Class, Memory, Row};

use crate::fds::What;
use crate::sys::Guest;
use crate::thread::{BUFS_MAX, Thread};
use crate::{calls, entropy, intercept, masks, output, policy, sockets, token, trap, vdso};

/// Most bytes of a transfer.
const TRANSFER_MAX: u64 = 1 << 30;

/// A buffer that belongs to no argument: its `arg` number and bytes.
pub type Extra<'a> = (u8, &'a [u8]);

/// Performs and logs a call of class Recorded, Blocking or Local.
pub fn call(t: &mut Thread, row: &Row, args: &[u64; 6]) -> i64 {
    let p = t.process();
    let nr = u64::from(row.nr);
    if is_seeded_read(t, nr, args) {
        let ret = entropy::answer(&mut t.rng, nr, args);
        log(t, Kind::Call, flag::SEEDED, row, args, ret, &[]);
        return ret;
    }
    if transfers_unseen(t, nr, args) {
        // The bytes would never pass through the guest's memory; EINVAL makes it copy them.
        let ret = -i64::from(libc::EINVAL);
        log(t, Kind::Call, 0, row, args, ret, &[]);
        return ret;
    }
    if let Some(ret) = policy::before(t, row, args) {
        return ret;
    }
    intercept::before(t, nr, args);
    let room = sockets::room(nr, args);
    let mut real = *args;
    let mut mask = [0u64; 3];
    masks::before(t, nr, &mut real, &mut mask);
    clamp(nr, &mut real);
    intercept::stand_in(nr, args, &mut real);
    let network = p.mode == Mode::Network;
    if network && let Some(ret) = calls::instead(t, row, &mut real) {
        return ret;
    }
    let mut output = output::Write::find(t, nr, args);
    let can_block = row.class_of(args) == Class::Blocking && (p.threads > 1 || p.shares());
    let gives_up = can_block && !output.as_mut().is_some_and(|o| o.can_keep_token(t, nr, args));
    if gives_up {
        log(t, Kind::Yield, 0, row, args, 0, &[]);
        token::give_up(t);
    }
    if let Some(output) = &mut output {
        if gives_up { output.wait_turn(p) } else { output.take_number(p) }
    }
    let wait = if network { calls::clocks::wait(p, nr, args) } else { None };
    let ret = trap::interruptible(t, nr, &real);
    if let Some(wait) = wait {
        calls::clocks::waited(p, &wait, ret);
    }
    if ret > 0 && reads_uuid(t, nr, args) {
        entropy::write_uuid(p, args[1], ret as u64);
    }
    if gives_up {
        token::take(t);
        if let Some(output) = &mut output {
            output.take_number(p);
        }
    }
    if let Some(room) = room {
        sockets::show(nr, args, room, ret);
    }
    let mut flags = if gives_up { flag::COMPLETES } else { 0 };
    if row.class == Class::Local {
        flags |= flag::LOCAL;
    }
    if let Some(output) = output {
        let bytes = output.bytes();
        let time = vdso::monotonic_ns(p).to_le_bytes();
        let extras = [(extra::OUTPUT, &bytes[..]), (extra::TIME, &time)];
        log(t, Kind::Call, flags, row, args, ret, &extras);
        output.done(p);
    } else if is_timed(t, row, args, ret) {
        let time = vdso::monotonic_ns(p).to_le_bytes();
        log(t, Kind::Call, flags, row, args, ret, &[(extra::TIME, &time)]);
    } else {
        log(t, Kind::Call, flags, row, args, ret, &[]);
    }
    calls::descriptors::after(t, nr, args, ret);
    policy::after(nr, args, ret);
    if network {
        calls::network::after(t, nr, args, ret);
        calls::clocks::after_read(t, nr, args, ret);
        return calls::pids::after(t, row, args, ret);
    }
    ret
}

/// Keeps a call within what one record holds; the kernel could have done less as well. And keeps
/// address randomisation off in what the guest executes.
fn clamp(nr: u64, args: &mut [u64; 6]) {
    const ADDR_NO_RANDOMIZE: u64 = libc::ADDR_NO_RANDOMIZE as u64;
    const ASK: u64 = 0xffff_ffff;
    match nr as i64 {
        libc::SYS_read
        | libc::SYS_write
        | libc::SYS_pread64
        | libc::SYS_pwrite64
        | libc::SYS_recvfrom
        | libc::SYS_sendto => args[2] = args[2].min(TRANSFER_MAX),
        libc::SYS_recvmmsg | libc::SYS_sendmmsg => args[2] = messages_that_fit(args[1], args[2]),
        libc::SYS_personality if args[0] & ASK != ASK => args[0] |= ADDR_NO_RANDOMIZE,
        _ => {}
    }
}

/// How many of `count` messages at `addr` (struct mmsghdr) have buffers that one record can hold;
/// at least one, unless there is none.
fn messages_that_fit(addr: u64, count: u64) -> u64 {
    const MMSGHDR_BYTES: u64 = 64;
    const IOVLEN_AT: u64 = 24;
    const IOV_MAX: u64 = 1024;
    // Header, name, control data and length.
    const OTHERS: u64 = 4;
    let mut room = BUFS_MAX as u64;
    for i in 0..count {
        let iovlen = addr.wrapping_add(i * MMSGHDR_BYTES + IOVLEN_AT);
        let need = OTHERS + Guest.u64(iovlen).unwrap_or(0).min(IOV_MAX);
        match room.checked_sub(need) {
            Some(left) => room = left,
            None => return i.max(1),
        }
    }
    count
}

/// Whether a descriptor is of a random device, and the seed answers its reads.
fn is_seeded(t: &Thread, fd: u64) -> bool {
    let p = t.process();
    p.fds.get(fd) == What::Random && !p.option(log_format::arena::option::ENTROPY_OS)
}

/// Whether the seed answers a read.
fn is_seeded_read(t: &Thread, nr: u64, args: &[u64; 6]) -> bool {
    let reads = matches!(
        nr as i64,
        libc::SYS_read | libc::SYS_pread64 | libc::SYS_readv | libc::SYS_preadv | libc::SYS_preadv2
    );
    reads && is_seeded(t, args[0])
}

/// Whether a call reads a UUID that the seed makes. What it gets is logged: unlike random bytes,
/// it comes through the kernel, which counts how far it was read.
fn reads_uuid(t: &Thread, nr: u64, args: &[u64; 6]) -> bool {
    let p = t.process();
    matches!(nr as i64, libc::SYS_read | libc::SYS_pread64)
        && p.fds.get(args[0]) == What::Uuid
        && !p.option(log_format::arena::option::ENTROPY_OS)
}

/// Whether a call's record says when it completed.
fn is_timed(t: &Thread, row: &Row, args: &[u64; 6], ret: i64) -> bool {
    let fd = row.timed_fd().and_then(|i| args.get(i));
    // What would block has moved nothing.
    ret != -i64::from(libc::EAGAIN) && fd.is_some_and(|fd| t.process().fds.get(*fd) != What::File)
}

/// True for a call that moves bytes inside the kernel to the session's output or to a file that
/// is mapped shared, or from a random device that the seed stands for.
fn transfers_unseen(t: &Thread, nr: u64, args: &[u64; 6]) -> bool {
    let (from, to) = match nr as i64 {
        libc::SYS_sendfile => (args[1], args[0]),
        libc::SYS_splice | libc::SYS_copy_file_range => (args[0], args[2]),
        libc::SYS_tee => (args[0], args[1]),
        _ => return false,
    };
    matches!(t.process().fds.get(to), What::Stdout | What::Stderr)
        || is_seeded(t, from)
        || calls::mapped::inode_of(to).is_some()
}

/// Appends the record of a call, or of one that gives up the token.
pub fn log(
    t: &mut Thread,
    kind: Kind,
    flags: u8,
    row: &Row,
    args: &[u64; 6],
    ret: i64,
    extras: &[Extra<'_>],
) {
    let p = t.process();
    if !p.logging {
        return;
    }
    let has_buffers = kind == Kind::Call && flags & flag::SEEDED == 0;
    let count = if has_buffers { collect(t, row, args, ret) } else { 0 };
    append(t, kind, flags, (row.nr, row.args.len()), args, ret, count, extras);
}

/// Puts the buffers of a call into `t.bufs`; how many. What one record can't hold is told.
pub fn collect(t: &mut Thread, row: &Row, args: &[u64; 6], ret: i64) -> usize {
    let (mut count, mut left_out) = (0, false);
    let bufs = &mut t.bufs;
    table::buffers(row, args, ret, &Guest, &mut |buf| {
        if let Some(slot) = bufs.get_mut(count) {
            *slot = buf;
            count += 1;
        } else {
            left_out = true;
        }
    });
    if left_out {
        note(
            t,
            record::note::UNSUPPORTED,
            b"a call with more than 1,040 buffers: the rest is not logged",
        );
    }
    count
}

/// Appends the record of a call whose buffers are the first `count` of `t.bufs`.
#[expect(clippy::too_many_arguments, reason = "the parts of one record")]
pub fn append(
    t: &mut Thread,
    kind: Kind,
    flags: u8,
    (nr, nargs): (u16, usize),
    args: &[u64; 6],
    ret: i64,
    count: usize,
    extras: &[Extra<'_>],
) {
    let p = t.process();
    if !p.logging {
        return;
    }
    let bufs: &[BufAt] = t.bufs.get(..count).unwrap_or(&[]);
    let mut len = record::HEADER_BYTES + record::CALL_BYTES + nargs * 8;
    for buf in bufs {
        len += record::BUF_BYTES + (buf.len as usize).next_multiple_of(8);
    }
    for (_, bytes) in extras {
        len += record::BUF_BYTES + bytes.len().next_multiple_of(8);
    }
    let step = p.steps.load(Ordering::Relaxed);
    if !p.writer.begin(step, len) {
        stopped(t);
        return;
    }
    let header = Header { kind, flags, thread: t.ordinal as u16, len: len as u32 };
    let words = record::call_words(nr, nargs as u8, (count + extras.len()) as u16, ret);
    p.writer.words(&[header.to_word()]);
    p.writer.words(&words);
    p.writer.words(args.get(..nargs).unwrap_or(args));
    for buf in bufs {
        // What is known to rr-run only has no address of the guest's.
        let addr = if buf.dir == Dir::Extra { 0 } else { buf.addr };
        p.writer.words(&record::buf_words(buf.len, buf.arg, buf.dir, buf.flags, addr));
        p.writer.memory(buf.addr, buf.len as usize);
    }
    for (arg, bytes) in extras {
        p.writer.words(&record::buf_words(bytes.len() as u32, *arg, Dir::Extra, 0, 0));
        p.writer.memory(bytes.as_ptr() as u64, bytes.len());
    }
    committed(t);
}

/// Appends a record whose body is a few words.
pub fn words(t: &mut Thread, kind: Kind, flags: u8, body: &[u64]) {
    let p = t.process();
    if !p.logging {
        return;
    }
    let step = p.steps.load(Ordering::Relaxed);
    let len = record::HEADER_BYTES + body.len() * 8;
    if !p.writer.begin(step, len) {
        stopped(t);
        return;
    }
    let header = Header { kind, flags, thread: t.ordinal as u16, len: len as u32 };
    p.writer.words(&[header.to_word()]);
    p.writer.words(body);
    committed(t);
}

/// Appends a record whose body is two u32 and bytes (a signal, a note).
pub fn bytes(t: &mut Thread, kind: Kind, flags: u8, first: [u32; 2], body: &[u8]) {
    let p = t.process();
    if !p.logging {
        return;
    }
    let step = p.steps.load(Ordering::Relaxed);
    let len = record::HEADER_BYTES + 8 + body.len().next_multiple_of(8);
    if !p.writer.begin(step, len) {
        stopped(t);
        return;
    }
    let header = Header { kind, flags, thread: t.ordinal as u16, len: len as u32 };
    p.writer.words(&[header.to_word(), u64::from(first[0]) | u64::from(first[1]) << 32]);
    p.writer.memory(body.as_ptr() as u64, body.len());
    committed(t);
}

/// Appends a remark.
pub fn note(t: &mut Thread, code: u32, text: &[u8]) {
    bytes(t, Kind::Note, 0, [code, text.len() as u32], text);
}

fn committed(t: &mut Thread) {
    let p = t.process();
    p.writer.commit();
    let steps = p.steps.load(Ordering::Relaxed) + 1;
    p.steps.store(steps, Ordering::Relaxed);
    p.entry().steps.store(steps, Ordering::Relaxed);
}

/// Recording has come to its end (size limit, full disk, no host): the guest goes on without.
fn stopped(t: &mut Thread) {
    let p = t.process();
    p.logging = false;
    p.entry().dropped.fetch_add(1, Ordering::Relaxed);
    if p.option(log_format::arena::option::STRICT) {
        crate::sys::complain(&[b"rr-run: failed to go on recording (--strict-record)\n"]);
        crate::sys::die(125);
    }
}
