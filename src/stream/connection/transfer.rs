//! Which bytes a call moved.

use log_format::record::{BUF_INDIRECT, Buf, Call, Dir};

/// `recv` flags: the bytes stay in the queue, or are out of band.
const MSG_OOB: u64 = 1;
const MSG_PEEK: u64 = 2;
const MSGHDR_BYTES: usize = 56;
const MMSGHDR_BYTES: u64 = 64;

/// One message or stretch of bytes that a call moved on its descriptor.
#[derive(Clone, Debug, Default)]
pub(super) struct Moved<'a> {
    /// Address of the message, where the call names one.
    pub(super) name: Option<&'a [u8]>,
    /// Its bytes.
    pub(super) parts: Vec<&'a [u8]>,
    /// Descriptors that were passed along.
    pub(super) rights: Vec<i32>,
}

/// What a completed call moved over the descriptor in its first argument: received (`Dir::Out`)
/// or sent (`Dir::In`). None if it is no such call or moved nothing.
pub(super) fn moved<'a>(call: &Call<'a>) -> Option<(Dir, Vec<Moved<'a>>)> {
    let done = u64::try_from(call.ret).ok().filter(|n| *n > 0)?;
    let dir = match i64::from(call.nr) {
        libc::SYS_read | libc::SYS_readv => Dir::Out,
        libc::SYS_recvfrom if call.args[3] & (MSG_PEEK | MSG_OOB) == 0 => Dir::Out,
        libc::SYS_recvmsg if call.args[2] & (MSG_PEEK | MSG_OOB) == 0 => Dir::Out,
        libc::SYS_recvmmsg if call.args[3] & (MSG_PEEK | MSG_OOB) == 0 => Dir::Out,
        libc::SYS_sendto if call.args[3] & MSG_OOB == 0 => Dir::In,
        libc::SYS_sendmsg if call.args[2] & MSG_OOB == 0 => Dir::In,
        libc::SYS_write | libc::SYS_writev | libc::SYS_sendmmsg => Dir::In,
        _ => return None,
    };
    let bufs = call.bufs().flatten().filter(|b| b.arg == 1 && (b.dir == dir || is_header(b)));
    let messages = match i64::from(call.nr) {
        libc::SYS_read | libc::SYS_write | libc::SYS_recvfrom | libc::SYS_sendto => {
            let data = call.buf(1, dir)?.bytes;
            let len = usize::try_from(done).map_or(data.len(), |n| n.min(data.len()));
            let name = call.buf(4, dir).map(|b| b.bytes);
            vec![Moved { name, parts: vec![data.get(..len)?], rights: Vec::new() }]
        }
        libc::SYS_readv | libc::SYS_writev => {
            let parts = bufs.filter(|b| b.flags & BUF_INDIRECT != 0).map(|b| b.bytes).collect();
            vec![Moved { parts, ..Moved::default() }]
        }
        libc::SYS_recvmsg | libc::SYS_sendmsg => {
            let bufs: Vec<Buf<'a>> = bufs.collect();
            let (head, rest) = bufs.split_first()?;
            vec![message(head, rest)]
        }
        _ => many(call.args[1], &bufs.collect::<Vec<_>>()),
    };
    Some((dir, messages))
}

/// Bytes that a call moved inside the kernel, which the log does not have: descriptor, direction.
pub(super) fn unseen(call: &Call<'_>) -> Option<(i32, Dir)> {
    let fd = |i: usize| call.args[i] as u32 as i32;
    match i64::from(call.nr) {
        libc::SYS_sendfile if call.ret > 0 => Some((fd(0), Dir::In)),
        libc::SYS_splice if call.ret > 0 => Some((fd(2), Dir::In)),
        _ => None,
    }
}

fn is_header(buf: &Buf<'_>) -> bool {
    buf.bytes.len() == MSGHDR_BYTES && buf.flags & BUF_INDIRECT != 0
}

/// The messages of sendmmsg or recvmmsg, whose headers stand in an array at `start`.
fn many<'a>(start: u64, bufs: &[Buf<'a>]) -> Vec<Moved<'a>> {
    let mut heads = Vec::new();
    for (i, buf) in bufs.iter().enumerate() {
        let next = start.wrapping_add(heads.len() as u64 * MMSGHDR_BYTES);
        if is_header(buf) && buf.addr == next {
            heads.push(i);
        }
    }
    let ends = heads.iter().skip(1).copied().chain([bufs.len()]);
    heads
        .iter()
        .zip(ends)
        .filter_map(|(from, to)| {
            let (head, rest) = bufs.get(*from..to)?.split_first()?;
            Some(message(head, rest))
        })
        .collect()
}

/// The message with this header.
fn message<'a>(head: &Buf<'a>, rest: &[Buf<'a>]) -> Moved<'a> {
    let word = |at: usize| {
        let bytes = head.bytes.get(at..).and_then(|b| b.first_chunk());
        bytes.map_or(0, |b| u64::from_le_bytes(*b))
    };
    let (name_at, control_at) = (word(0), word(32));
    let msg_len_at = head.addr.wrapping_add(MSGHDR_BYTES as u64);
    let mut moved = Moved::default();
    for buf in rest {
        if name_at != 0 && buf.addr == name_at && moved.name.is_none() && moved.parts.is_empty() {
            moved.name = Some(buf.bytes);
        } else if control_at != 0 && buf.addr == control_at {
            moved.rights = rights(buf.bytes);
        } else if buf.addr != msg_len_at {
            moved.parts.push(buf.bytes);
        }
    }
    moved
}

/// Descriptors in a msg_control buffer (SCM_RIGHTS).
fn rights(bytes: &[u8]) -> Vec<i32> {
    const HEADER: usize = 16;
    const SCM_RIGHTS: [u32; 2] = [libc::SOL_SOCKET as u32, libc::SCM_RIGHTS as u32];
    let mut found = Vec::new();
    let mut rest = bytes;
    while let Some(header) = rest.first_chunk::<HEADER>() {
        let len = header.first_chunk::<8>().map_or(0, |b| u64::from_le_bytes(*b));
        let half = |at: usize| {
            let bytes = header.get(at..).and_then(|b| b.first_chunk());
            bytes.map_or(0, |b| u32::from_le_bytes(*b))
        };
        let Some(data) = usize::try_from(len).ok().and_then(|len| rest.get(HEADER..len)) else {
            break;
        };
        if [half(8), half(12)] == SCM_RIGHTS {
            found.extend(data.as_chunks::<4>().0.iter().map(|b| i32::from_le_bytes(*b)));
        }
        match rest.get((HEADER + data.len()).next_multiple_of(8)..) {
            Some(next) => rest = next,
            None => break,
        }
    }
    found
}
