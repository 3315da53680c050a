//! One argument as text.

use log_format::record::{BUF_INDIRECT, Buf};
use log_format::table::{FlagSet, Shape, Ty, ioctl};

use super::{View, message, signal_name, structs, text};

impl View<'_> {
    /// Argument `i` of (resolved) type `ty`.
    pub(super) fn arg(&self, i: usize, name: &str, ty: Ty) -> String {
        let value = self.args.get(i).copied().unwrap_or(0);
        scalar(ty, value)
            .unwrap_or_else(|| self.pointed_to(i, name, ty).unwrap_or_else(|| text::address(value)))
    }

    /// What a pointer leads to; `None` if the log does not have it.
    fn pointed_to(&self, i: usize, name: &str, ty: Ty) -> Option<String> {
        let max = self.options.string_bytes_max;
        let items = self.options.items_max;
        let Some(first) = self.bufs_of(i).next() else {
            // Nothing was transferred: the end of a file, of a directory, of a wait.
            let there = self.args.get(i).is_some_and(|addr| *addr != 0);
            let shape = match ty {
                Ty::In(_, shape) | Ty::Out(_, shape) if there && self.ret == Some(0) => shape,
                _ => return None,
            };
            return match shape {
                Shape::Bytes => Some("\"\"".into()),
                Shape::EpollEvents | Shape::Dirents => Some("[]".into()),
                _ => None,
            };
        };
        let indirect = |buf: &&Buf| buf.flags & BUF_INDIRECT != 0;
        match ty {
            // A path is what the call is about: never cut.
            Ty::Path => Some(text::quoted(without_nul(first.bytes), usize::MAX)),
            Ty::Strings if name == "envp" && items != usize::MAX => {
                Some(format!("[/* {} vars */]", self.bufs_of(i).count()))
            }
            Ty::Strings => {
                let strings = self.bufs_of(i).map(|b| text::quoted(without_nul(b.bytes), max));
                Some(text::list(strings, items))
            }
            Ty::InLoose(_, Shape::EpollEvents) => {
                let list = structs::shape(Shape::EpollEvents, first.bytes, self.options);
                Some(list.trim_start_matches('[').trim_end_matches(']').to_owned())
            }
            Ty::In(_, shape)
            | Ty::InLoose(_, shape)
            | Ty::Out(_, shape)
            | Ty::OutAlways(_, shape)
            | Ty::InOut(_, shape) => Some(structs::shape(shape, first.bytes, self.options)),
            Ty::IovIn(_) | Ty::IovOut(_) => {
                let parts = self.bufs_of(i).map(|b| text::quoted(b.bytes, max));
                Some(text::list(parts, items))
            }
            Ty::MsgIn | Ty::MsgOut => message::one(self, i),
            Ty::MmsgIn | Ty::MmsgOut => Some(message::many(self, i)),
            Ty::SigsetPair => Some(structs::shape(Shape::Sigset, first.bytes, self.options)),
            Ty::XattrArgs(_) => Some(format!("{{value={}}}", text::quoted(first.bytes, max))),
            Ty::Regset | Ty::Ifconf => {
                let data = self.bufs_of(i).find(indirect)?;
                Some(structs::shape(Shape::Opaque, data.bytes, self.options))
            }
            _ => None,
        }
    }
}

/// An argument that is a number.
fn scalar(ty: Ty, value: u64) -> Option<String> {
    let low = value as u32;
    Some(match ty {
        Ty::Int | Ty::Pid | Ty::Fd => (low as i32).to_string(),
        Ty::Uint if low == u32::MAX => "-1".into(),
        Ty::Uint => low.to_string(),
        Ty::Long => (value as i64).to_string(),
        Ty::Ulong => value.to_string(),
        Ty::Hex => text::hex(value),
        Ty::DirFd => dirfd(low as i32),
        Ty::Mode => text::mode(low),
        Ty::Signal if low == 0 => "0".into(),
        Ty::Signal => signal_name(low),
        Ty::Clock => text::one(FlagSet::Clock, low),
        Ty::Flags(FlagSet::Ioctl) => match ioctl(value).name {
            "" => text::hex(low.into()),
            name => name.into(),
        },
        Ty::Flags(set) => text::flags(set, low),
        Ty::Addr => text::address(value),
        Ty::Unused
        | Ty::By(_)
        | Ty::Ioctl
        | Ty::Path
        | Ty::Strings
        | Ty::In(..)
        | Ty::InLoose(..)
        | Ty::Out(..)
        | Ty::OutAlways(..)
        | Ty::InOut(..)
        | Ty::IovIn(_)
        | Ty::IovOut(_)
        | Ty::MsgIn
        | Ty::MsgOut
        | Ty::MmsgIn
        | Ty::MmsgOut
        | Ty::SigsetPair
        | Ty::XattrArgs(_)
        | Ty::Regset
        | Ty::Ifconf => return None,
    })
}

fn dirfd(fd: i32) -> String {
    const AT_FDCWD: i32 = -100;
    if fd == AT_FDCWD { "AT_FDCWD".into() } else { fd.to_string() }
}

/// The text before its NUL.
pub(super) fn without_nul(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    bytes.get(..end).unwrap_or(bytes)
}
