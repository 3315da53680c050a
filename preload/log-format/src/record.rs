//! Records: the bytes of one log entry.
//!
//! ```text
//! 0        1        2          4           8
//! | kind u8 | flags u8 | thread u16 | len u32 | body ... (len bytes in all, a multiple of 8)
//!
//! call body:  | nr u16 | nargs u8 | nbufs u16 | reserved u24 | ret i64 | args u64 * nargs | bufs |
//! one buf:    | len u32 | arg u8 | dir u8 | flags u16 | addr u64 | len bytes, padded to 8 |
//! ```

/// Bytes of a record's header.
pub const HEADER_BYTES: usize = 8;
/// Bytes of a call's body before its arguments.
pub const CALL_BYTES: usize = 16;
/// Bytes of a buffer's header.
pub const BUF_BYTES: usize = 16;
/// Largest record a reader accepts (a call's buffers together are below 2 GiB by the kernel's
/// own limit on one transfer).
pub const RECORD_BYTES_MAX: u32 = 0x7fff_f000;

/// What a record describes. Each record is one step of its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A program image starts: the process's first record, and after each exec.
    Start = 1,
    /// A call, complete: number, arguments, result, buffers.
    Call = 2,
    /// The token given up by a call that may block; its `Call` follows later.
    Yield = 3,
    /// A clock read through the vDSO or its symbols: clock id in `flags`, nanoseconds as body.
    Clock = 4,
    /// A trapped `rdtsc`/`rdtscp`: counter as body.
    Tsc = 5,
    /// A signal delivered to the guest: body [`SIGNAL_BYTES`].
    Signal = 6,
    /// A thread's first instruction.
    ThreadStart = 7,
    /// A thread's end.
    ThreadExit = 8,
    /// The process's end: status as in wait(2), u64.
    Exit = 9,
    /// The token taken from a thread that ran without a call (inexact on replay).
    Preempt = 10,
    /// A remark that replay skips: code u32, length u32, text. See [`note`].
    Note = 11,
    /// The shared token acquired: its order number over all sharing processes, u64.
    Shared = 12,
    /// Something on a TLS connection that the host has ended: see [`plain`].
    Plain = 13,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 13] = [
        Kind::Start,
        Kind::Call,
        Kind::Yield,
        Kind::Clock,
        Kind::Tsc,
        Kind::Signal,
        Kind::ThreadStart,
        Kind::ThreadExit,
        Kind::Exit,
        Kind::Preempt,
        Kind::Note,
        Kind::Shared,
        Kind::Plain,
    ];

    /// Reads a kind's number.
    pub fn from_u8(value: u8) -> Option<Kind> {
        let kind = Kind::ALL.get(usize::from(value).wrapping_sub(1)).copied();
        kind.filter(|k| *k as u8 == value)
    }
}

/// Flags of a record's header.
pub mod flag {
    /// Call: completes an earlier `Yield` of the same thread.
    pub const COMPLETES: u8 = 1;
    /// Call: randomness derived from the seed; its bytes are not stored.
    pub const SEEDED: u8 = 2;
    /// Call: performed on replay too (memory, own threads).
    pub const LOCAL: u8 = 4;
    /// Signal: raised by the guest's own instruction (SIGSEGV ...), happens again by itself.
    pub const SYNCHRONOUS: u8 = 8;
    /// Signal: delivered between calls of a thread that made none (inexact on replay).
    pub const INEXACT: u8 = 16;
    /// Yield: the token was given up because another thread waited long, not for the call.
    pub const FAIRNESS: u8 = 32;
    /// Exit: by the default action of a signal that was sent, at the end of the call before.
    pub const KILLED: u8 = 64;
}

/// `flags` of a [`Kind::Clock`] record that is not clock_gettime's.
pub mod clock {
    /// gettimeofday.
    pub const TIMEOFDAY: u8 = 64;
    /// time.
    pub const TIME: u8 = 65;
}

/// Codes of a [`Kind::Note`].
pub mod note {
    /// A call that rr-run refuses with ENOSYS (io_uring ...).
    pub const REFUSED: u32 = 1;
    /// A program that can't be intercepted was executed; the text gives path and reason.
    pub const OPAQUE: u32 = 2;
    /// A syscall number without a known meaning was passed through unrecorded.
    pub const UNKNOWN: u32 = 3;
    /// A file that was mapped or executed could not be kept.
    pub const NOT_KEPT: u32 = 4;
    /// Memory shared with a process outside the session.
    pub const SHARED_MEMORY: u32 = 5;
    /// The guest uses a feature that replay does not reproduce; the text says which.
    pub const UNSUPPORTED: u32 = 6;
    /// A TLS connection that stays the guest's own; the text says why.
    pub const TLS_OPAQUE: u32 = 7;
    /// A call that the policy forbids and that was answered with an error; the text says what.
    pub const DENIED: u32 = 8;
    /// A setuid program of the guest's own user was executed as a copy without the bit.
    pub const COPIED: u32 = 9;
    /// Code that may take random numbers from the processor was mapped; the text names the file.
    pub const RANDOM: u32 = 10;
    /// The guest installed a seccomp filter, which holds for the shim too.
    pub const SECCOMP: u32 = 11;
}

/// Records of the log of plaintext ([`crate::arena::PLAIN_KEY`]), written by the host only.
///
/// ```text
/// body: | connection u32 | len u32 | time u64 | len bytes, padded to 8 |
/// ```
///
/// The time is CLOCK_MONOTONIC in nanoseconds; the header's flags say what it is.
pub mod plain {
    /// A connection, before its data: JSON (see the host's `intercept::plain::Opened`).
    pub const OPENED: u8 = 0;
    /// Bytes that the guest sent.
    pub const SENT: u8 = 1;
    /// Bytes for the guest.
    pub const RECEIVED: u8 = 2;
    /// The end of a connection: JSON (`intercept::plain::Closed`).
    pub const CLOSED: u8 = 3;
    /// Bytes of the body before the data.
    pub const BODY_BYTES: usize = 16;
}

/// Body of a [`Kind::Plain`] record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain<'a> {
    /// Number of the connection, from 1.
    pub connection: u32,
    /// CLOCK_MONOTONIC, nanoseconds.
    pub time_ns: u64,
    /// What the header's flags say.
    pub bytes: &'a [u8],
}

/// Length of a signal's body: signo u32, reserved u32, siginfo 128 bytes.
pub const SIGNAL_BYTES: usize = 136;

/// `arg` values of buffers that belong to no argument.
pub mod extra {
    /// Key of the created process: u64.
    pub const CHILD: u8 = 0xf0;
    /// Identity of a mapped or executed file: [`super::FileId`].
    pub const FILE: u8 = 0xf1;
    /// Number of a write to the session's output u64, which (1 stdout, 2 stderr) u64.
    pub const OUTPUT: u8 = 0xf2;
    /// Start: fixed data, see [`super::StartInfo`].
    pub const START: u8 = 0xf3;
    /// Ordinal of the created thread: u64.
    pub const THREAD: u8 = 0xf4;
    /// CLOCK_MONOTONIC in nanoseconds when the call had completed: u64. Stands in the start of an
    /// image and in the calls that [`crate::table::Row::timed_fd`] names; differs from run to run
    /// by nature, so it is never compared.
    pub const TIME: u8 = 0xf5;
    /// A process of the session whose memory the call has written, which replay does again:
    /// [`super::Written`].
    pub const WRITTEN: u8 = 0xf6;
    /// Size of an attached System V segment, bytes: u64. Stands before its content.
    pub const SEGMENT: u8 = 0xf7;
    /// A file that processes of the session have mapped shared and that the call has changed,
    /// which replay does again for those mappings: [`super::MappedWrite`].
    pub const MAPPED: u8 = 0xf8;
    /// When the file of a shared mapping was made, nanoseconds since the epoch: u64; 0 if the file
    /// system does not know. Inode numbers are used again.
    pub const BORN: u8 = 0xf9;
}

/// Whose memory a call has written (process_vm_writev, or a write to `/proc/<pid>/mem`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Written {
    /// Key of the process.
    pub key: u64,
    /// Steps that it had made by then.
    pub steps: u64,
    /// Where the write began; 0 where an argument tells.
    pub addr: u64,
}

/// Which mapped file a call has changed, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct MappedWrite {
    /// [`file_identity`] of the inode alone: device, number, and when it was made as `mtime_ns`.
    pub inode: u64,
    /// Where a write began, bytes.
    pub offset: u64,
}

/// Direction of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Dir {
    /// Read by the kernel: compared on replay.
    In = 1,
    /// Written by the kernel: given to the guest on replay.
    Out = 2,
    /// Known to rr-run only.
    Extra = 3,
}

/// Flag of a buffer: its address does not stand in an argument but was found through one
/// (an iovec, a msghdr), so replay uses the recorded address.
pub const BUF_INDIRECT: u16 = 1;
/// Flag of a buffer: it holds raw memory with padding or pointers; shown, not compared.
pub const BUF_NOT_COMPARED: u16 = 2;

/// Fixed part of a file's identity, followed by its path; for a library that the loader had mapped
/// before the shim was there and that was kept, NUL and the name by which it was opened follow.
///
/// `identity` is [`file_identity`] of the rest and names the kept copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct FileId {
    /// Hash of device, inode, size and times.
    pub identity: u64,
    /// st_dev.
    pub dev: u64,
    /// st_ino.
    pub ino: u64,
    /// st_size, bytes.
    pub size: u64,
    /// st_mtime, nanoseconds since the epoch.
    pub mtime_ns: u64,
    /// st_ctime, nanoseconds since the epoch.
    pub ctime_ns: u64,
    /// st_mode.
    pub mode: u32,
    /// 1: a copy was kept in the session's files; 2: it was executed; 4: a shared writable map;
    /// 8: a copy was needed and could not be made.
    pub flags: u32,
}

/// Bytes of [`FileId`] before the path.
pub const FILE_ID_BYTES: usize = size_of::<FileId>();

/// Hash of what identifies one content of one file on one machine.
pub const fn file_identity(dev: u64, ino: u64, size: u64, mtime_ns: u64, ctime_ns: u64) -> u64 {
    let a = crate::arena::child_key(dev ^ ino.rotate_left(32), 1);
    let b = crate::arena::child_key(a ^ size, 2);
    crate::arena::child_key(b ^ mtime_ns ^ ctime_ns.rotate_left(17), 3)
}

/// Fixed data of a [`Kind::Start`] record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct StartInfo {
    /// Process key.
    pub key: u64,
    /// Parent's key.
    pub parent_key: u64,
    /// Recorded pid.
    pub pid: u32,
    /// Recorded parent pid.
    pub ppid: u32,
    /// Execs before this image.
    pub generation: u32,
    /// Ordinal under the parent.
    pub ordinal: u32,
    /// Stack pointer that the image started with.
    pub stack: u64,
    /// Program break at the start.
    pub brk: u64,
    /// Blocked signals at the start.
    pub sigmask: u64,
    /// Two bits per fd as in [`crate::arena::ProcEntry::std_fds`].
    pub std_fds: [u64; 8],
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The bytes end inside the record: read more, or the log was cut here.
    Incomplete,
    /// No such kind.
    Kind(u8),
    /// The length is no multiple of eight, too small or too large.
    Length(u32),
    /// The body contradicts its length.
    Body,
}

/// A record's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What follows.
    pub kind: Kind,
    /// [`flag`] bits; for a clock, the clock id.
    pub flags: u8,
    /// Ordinal of the thread in its process and image.
    pub thread: u16,
    /// Length of the record with this header.
    pub len: u32,
}

impl Header {
    /// The eight bytes of this header.
    pub const fn to_word(self) -> u64 {
        self.kind as u64
            | (self.flags as u64) << 8
            | (self.thread as u64) << 16
            | (self.len as u64) << 32
    }

    /// Reads a header from its eight bytes.
    ///
    /// # Errors
    /// [`Malformed::Kind`] or [`Malformed::Length`].
    pub fn from_word(word: u64) -> Result<Header, Malformed> {
        let kind = Kind::from_u8(word as u8).ok_or(Malformed::Kind(word as u8))?;
        let len = (word >> 32) as u32;
        if !len.is_multiple_of(8) || len < HEADER_BYTES as u32 || len > RECORD_BYTES_MAX {
            return Err(Malformed::Length(len));
        }
        Ok(Header { kind, flags: (word >> 8) as u8, thread: (word >> 16) as u16, len })
    }
}

/// One record, borrowed from the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its header.
    pub header: Header,
    /// What follows the header.
    pub body: &'a [u8],
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

impl<'a> Record<'a> {
    /// Reads the record at the start of `bytes`.
    ///
    /// # Errors
    /// [`Malformed`]; `Incomplete` when `bytes` is a prefix of a record.
    pub fn parse(bytes: &'a [u8]) -> Result<Record<'a>, Malformed> {
        let word = u64_at(bytes, 0).ok_or(Malformed::Incomplete)?;
        let header = Header::from_word(word)?;
        let body = bytes.get(HEADER_BYTES..header.len as usize).ok_or(Malformed::Incomplete)?;
        let record = Record { header, body };
        match header.kind {
            Kind::Call | Kind::Yield | Kind::Start => {
                let call = record.call()?;
                for buf in call.bufs() {
                    buf?;
                }
            }
            Kind::Clock | Kind::Tsc | Kind::Exit | Kind::Shared => {
                record.value().ok_or(Malformed::Body)?;
            }
            Kind::Signal => {
                if body.len() < SIGNAL_BYTES {
                    return Err(Malformed::Body);
                }
            }
            Kind::Note => {
                record.note().ok_or(Malformed::Body)?;
            }
            Kind::Plain => {
                record.plain().ok_or(Malformed::Body)?;
            }
            Kind::ThreadStart | Kind::ThreadExit | Kind::Preempt => {}
        }
        Ok(record)
    }

    /// The call of a `Call`, `Yield` or `Start` record (a start is a call without arguments).
    ///
    /// # Errors
    /// [`Malformed::Body`] if the record is of another kind or too short.
    pub fn call(&self) -> Result<Call<'a>, Malformed> {
        if !matches!(self.header.kind, Kind::Call | Kind::Yield | Kind::Start) {
            return Err(Malformed::Body);
        }
        let word = u64_at(self.body, 0).ok_or(Malformed::Body)?;
        let ret = u64_at(self.body, 8).ok_or(Malformed::Body)? as i64;
        let nargs = (word >> 16) as u8;
        let nbufs = (word >> 24) as u16;
        if nargs > 6 {
            return Err(Malformed::Body);
        }
        let rest = self.body.get(CALL_BYTES..).ok_or(Malformed::Body)?;
        let mut args = [0; 6];
        for (i, arg) in args.iter_mut().enumerate().take(nargs.into()) {
            *arg = u64_at(rest, i * 8).ok_or(Malformed::Body)?;
        }
        let bufs = rest.get(usize::from(nargs) * 8..).ok_or(Malformed::Body)?;
        Ok(Call { nr: word as u16, nargs, nbufs, ret, args, bufs })
    }

    /// The single word of a `Clock`, `Tsc`, `Exit` or `Shared` record.
    pub fn value(&self) -> Option<u64> {
        u64_at(self.body, 0)
    }

    /// Signal number and siginfo of a `Signal` record.
    pub fn signal(&self) -> Option<(u32, &'a [u8])> {
        Some((u32_at(self.body, 0)?, self.body.get(8..SIGNAL_BYTES)?))
    }

    /// Body of a `Plain` record.
    pub fn plain(&self) -> Option<Plain<'a>> {
        let len = u32_at(self.body, 4)? as usize;
        let bytes = self.body.get(plain::BODY_BYTES..plain::BODY_BYTES.checked_add(len)?)?;
        Some(Plain { connection: u32_at(self.body, 0)?, time_ns: u64_at(self.body, 8)?, bytes })
    }

    /// Code and text of a `Note` record.
    pub fn note(&self) -> Option<(u32, &'a [u8])> {
        let len = u32_at(self.body, 4)? as usize;
        Some((u32_at(self.body, 0)?, self.body.get(8..8usize.checked_add(len)?)?))
    }
}

/// A call's number, arguments, result and buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call<'a> {
    /// Syscall number.
    pub nr: u16,
    /// How many of `args` the call has.
    pub nargs: u8,
    /// How many buffers follow.
    pub nbufs: u16,
    /// Result: a value, or a negated errno.
    pub ret: i64,
    /// Arguments.
    pub args: [u64; 6],
    bufs: &'a [u8],
}

impl<'a> Call<'a> {
    /// The buffers, in the order they were logged.
    pub fn bufs(&self) -> Bufs<'a> {
        Bufs { rest: self.bufs, left: self.nbufs }
    }

    /// The first buffer with this `arg` number and direction.
    pub fn buf(&self, arg: u8, dir: Dir) -> Option<Buf<'a>> {
        self.bufs().flatten().find(|b| b.arg == arg && b.dir == dir)
    }

    /// CLOCK_MONOTONIC in nanoseconds when the call had completed, where that was noted.
    pub fn time_ns(&self) -> Option<u64> {
        u64_at(self.buf(extra::TIME, Dir::Extra)?.bytes, 0)
    }
}

/// One buffer of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buf<'a> {
    /// Index of the argument that it belongs to, or one of [`extra`]'s values.
    pub arg: u8,
    /// Direction.
    pub dir: Dir,
    /// [`BUF_INDIRECT`], [`BUF_NOT_COMPARED`].
    pub flags: u16,
    /// Address in the recorded guest.
    pub addr: u64,
    /// Content.
    pub bytes: &'a [u8],
}

/// Iterator over the buffers of a [`Call`].
#[derive(Clone, Debug)]
pub struct Bufs<'a> {
    rest: &'a [u8],
    left: u16,
}

impl<'a> Iterator for Bufs<'a> {
    type Item = Result<Buf<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let one = self.read();
        if one.is_none() {
            self.left = 0;
        }
        Some(one.ok_or(Malformed::Body))
    }
}

impl<'a> Bufs<'a> {
    fn read(&mut self) -> Option<Buf<'a>> {
        let word = u64_at(self.rest, 0)?;
        let addr = u64_at(self.rest, 8)?;
        let len = word as u32 as usize;
        let dir = match (word >> 40) as u8 {
            1 => Dir::In,
            2 => Dir::Out,
            3 => Dir::Extra,
            _ => return None,
        };
        let bytes = self.rest.get(BUF_BYTES..BUF_BYTES + len)?;
        self.rest = self.rest.get((BUF_BYTES + len).next_multiple_of(8)..)?;
        Some(Buf { arg: (word >> 32) as u8, dir, flags: (word >> 48) as u16, addr, bytes })
    }
}

/// The two words that start a call's body.
pub const fn call_words(nr: u16, nargs: u8, nbufs: u16, ret: i64) -> [u64; 2] {
    [nr as u64 | (nargs as u64) << 16 | (nbufs as u64) << 24, ret as u64]
}

/// The two words that start a buffer.
pub const fn buf_words(len: u32, arg: u8, dir: Dir, flags: u16, addr: u64) -> [u64; 2] {
    [len as u64 | (arg as u64) << 32 | (dir as u64) << 40 | (flags as u64) << 48, addr]
}
