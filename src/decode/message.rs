//! `struct msghdr` and what it leads to.

use log_format::record::{BUF_INDIRECT, Buf};

use super::bytes::{i32_at, u32_at, u64_at};
use super::{View, sockaddr, text};
use log_format::table::FlagSet;

const MSGHDR_BYTES: usize = 56;
const MMSGHDR_BYTES: u64 = 64;

/// The message of sendmsg or recvmsg.
pub(super) fn one(view: &View, arg: usize) -> Option<String> {
    let bufs: Vec<&Buf> = view.bufs_of(arg).collect();
    message(view, &bufs)
}

/// The messages of sendmmsg or recvmmsg.
pub(super) fn many(view: &View, arg: usize) -> String {
    let bufs: Vec<&Buf> = view.bufs_of(arg).collect();
    let start = view.args.get(arg).copied().unwrap_or(0);
    let mut heads = Vec::new();
    for (i, buf) in bufs.iter().enumerate() {
        let next = start.wrapping_add(heads.len() as u64 * MMSGHDR_BYTES);
        if buf.bytes.len() == MSGHDR_BYTES && buf.addr == next {
            heads.push(i);
        }
    }
    let ends = heads.iter().skip(1).copied().chain([bufs.len()]);
    let messages = heads.iter().zip(ends).map(|(from, to)| {
        let bufs = bufs.get(*from..to).unwrap_or(&[]);
        message(view, bufs).unwrap_or_else(|| "?".into())
    });
    text::list(messages, view.options.items_max)
}

/// A message whose header is the first of `bufs`.
fn message(view: &View, bufs: &[&Buf]) -> Option<String> {
    let (head, rest) = bufs.split_first()?;
    let header = head.bytes;
    let word = |at| u64_at(header, at).unwrap_or(0);
    let (name_at, control_at) = (word(0), word(32));
    let msg_len_at = head.addr.wrapping_add(MSGHDR_BYTES as u64);
    let mut name = None;
    let mut control = None;
    let mut parts = Vec::new();
    for buf in rest.iter().filter(|b| b.flags & BUF_INDIRECT != 0) {
        if buf.addr == name_at && name.is_none() {
            name = Some(sockaddr::sockaddr(buf.bytes));
        } else if buf.addr == control_at {
            control = Some(controls(buf.bytes));
        } else if buf.addr != msg_len_at {
            parts.push(text::quoted(buf.bytes, view.options.string_bytes_max));
        }
    }
    let mut out = String::from("{");
    if let Some(name) = name {
        out += &format!("msg_name={name}, ");
    }
    out += &format!("msg_iov={}", text::list(parts, view.options.items_max));
    if let Some(control) = control {
        out += &format!(", msg_control={control}");
    }
    out += &format!(", msg_flags={}}}", text::flags(FlagSet::Msg, u32_at(header, 48).unwrap_or(0)));
    Some(out)
}

/// The control messages in a msg_control buffer.
fn controls(bytes: &[u8]) -> String {
    const SOL_SOCKET: u32 = 1;
    const SCM_RIGHTS: u32 = 1;
    const SCM_CREDENTIALS: u32 = 2;
    const HEADER: usize = 16;
    let mut items = Vec::new();
    let mut rest = bytes;
    while let (Some(len), Some(level), Some(kind)) =
        (u64_at(rest, 0), u32_at(rest, 8), u32_at(rest, 12))
    {
        let Some(data) = usize::try_from(len).ok().and_then(|len| rest.get(HEADER..len)) else {
            break;
        };
        let words = || (0..data.len() / 4).filter_map(|i| i32_at(data, i * 4));
        items.push(match (level, kind) {
            (SOL_SOCKET, SCM_RIGHTS) => {
                format!("{{SCM_RIGHTS, {}}}", text::list(words().map(|fd| fd.to_string()), 64))
            }
            (SOL_SOCKET, SCM_CREDENTIALS) => {
                let ids: Vec<String> = words().map(|id| id.to_string()).collect();
                format!("{{SCM_CREDENTIALS, [{}]}}", ids.join(", "))
            }
            _ => {
                let level = text::one(FlagSet::SocketLevel, level);
                format!("{{{level}, {kind}, {}}}", text::quoted(data, 64))
            }
        });
        match rest.get((HEADER + data.len()).next_multiple_of(8)..) {
            Some(next) => rest = next,
            None => break,
        }
    }
    text::list(items, 64)
}
