//! What calls do to the world outside their process: what a policy forbids and the account of
//! accesses lists.

use super::{Row, Ty};
use crate::table::types::Shape;

/// What a call does to files or the network, beside what was opened before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing that a policy is about.
    None,
    /// Opens a file; the path is in this argument.
    Opens(u8),
    /// Acts on what these arguments name.
    Paths(&'static [Act]),
    /// Changes the attributes of the file behind the descriptor in its first argument.
    ChangesFile,
    /// Connects the socket in its first argument to an address.
    Connects,
    /// Binds the socket in its first argument, which makes a file if the address is a path.
    Binds,
    /// Sends to an address that stands in this argument, if one does.
    SendsTo(u8),
    /// Sends a message, or several, that may have addresses.
    SendsMessages,
    /// Executes a program; the path is in this argument.
    Executes(u8),
}

/// What is done to the file that an argument names. The argument before a path holds the directory
/// that a relative path starts from, if it is of type [`Ty::DirFd`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Makes an entry that must not be there yet.
    Creates(u8),
    /// Takes away an entry that must be there.
    Removes(u8),
    /// Makes an entry, or replaces the one that is there.
    Replaces(u8),
    /// Changes the file; a link at the end is followed, unless the call's flags say otherwise.
    Changes(u8),
    /// Changes the file; a link at the end is not followed.
    ChangesEntry(u8),
}

impl Act {
    /// The argument.
    pub const fn arg(self) -> u8 {
        match self {
            Act::Creates(arg)
            | Act::Removes(arg)
            | Act::Replaces(arg)
            | Act::Changes(arg)
            | Act::ChangesEntry(arg) => arg,
        }
    }
}

const AT_SYMLINK_NOFOLLOW: u64 = 0x100;
const AT_SYMLINK_FOLLOW: u64 = 0x400;

/// Bits of open's flags.
pub mod open {
    /// O_WRONLY and O_RDWR.
    pub const WRITES: u64 = 3;
    /// O_CREAT.
    pub const CREATES: u64 = 0o100;
    /// O_EXCL.
    pub const EXCLUSIVE: u64 = 0o200;
    /// O_TRUNC.
    pub const TRUNCATES: u64 = 0o1000;
    /// O_NOFOLLOW.
    pub const NO_FOLLOW: u64 = 0o400_000;
    /// O_PATH: nothing is opened but the name.
    pub const PATH_ONLY: u64 = 0o10_000_000;
    /// O_TMPFILE without O_DIRECTORY.
    pub const TEMPORARY: u64 = 0o20_000_000;
}

/// Whether a file opened with these flags is opened for writing, or made.
pub const fn opens_for_writing(flags: u64) -> bool {
    let changes = open::WRITES | open::CREATES | open::TRUNCATES | open::TEMPORARY;
    flags & changes != 0 && flags & open::PATH_ONLY == 0
}

impl Row {
    /// The argument that holds the directory of the path in `path`, if there is one.
    pub fn dir_of(&self, path: u8) -> Option<usize> {
        let before = usize::from(path).checked_sub(1)?;
        self.args.get(before).is_some_and(|arg| arg.ty == Ty::DirFd).then_some(before)
    }

    /// Where a call that opens a file has its flags: in an argument, or at the start of the
    /// `struct open_how` to which an argument points. None: it has no flags (creat).
    pub fn open_flags(&self) -> Option<OpenFlags> {
        self.args.iter().enumerate().find_map(|(i, arg)| match arg.ty {
            Ty::Flags(super::FlagSet::Open) => Some(OpenFlags::Arg(i)),
            Ty::In(_, Shape::OpenHow) => Some(OpenFlags::How(i)),
            _ => None,
        })
    }

    /// Whether a link at the end of the path is followed by a call that [`Act::Changes`] a file.
    pub fn follows(&self, args: &[u64; 6]) -> bool {
        let flags =
            self.args.iter().zip(args).find_map(|(arg, value)| {
                (arg.ty == Ty::Flags(super::FlagSet::At)).then_some(*value)
            });
        match flags {
            // linkat is the one call that does not follow by default.
            Some(flags) if self.name == "linkat" => flags & AT_SYMLINK_FOLLOW != 0,
            Some(flags) => flags & AT_SYMLINK_NOFOLLOW == 0,
            None => self.name != "link",
        }
    }

    /// Whether the call's buffers hold the arguments of what it executes.
    pub const fn executes(&self) -> bool {
        matches!(self.effect, Effect::Executes(_))
    }
}

/// Where the flags of an opening call are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenFlags {
    /// In this argument.
    Arg(usize),
    /// In the first eight bytes of what this argument points to.
    How(usize),
}

// A path that an effect names is one.
const _: () = {
    let mut i = 0;
    while i < super::ROWS.len() {
        let row = &super::ROWS[i];
        match row.effect {
            Effect::Opens(arg) | Effect::Executes(arg) => assert!(is_path(row, arg)),
            Effect::Paths(acts) => {
                let mut j = 0;
                while j < acts.len() {
                    assert!(is_path(row, acts[j].arg()));
                    j += 1;
                }
            }
            Effect::SendsTo(arg) => {
                assert!(matches!(row.args[arg as usize].ty, Ty::In(_, Shape::Sockaddr)));
            }
            Effect::None
            | Effect::ChangesFile
            | Effect::Connects
            | Effect::Binds
            | Effect::SendsMessages => {}
        }
        i += 1;
    }
};

const fn is_path(row: &Row, arg: u8) -> bool {
    matches!(row.args[arg as usize].ty, Ty::Path)
}
