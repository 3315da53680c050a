//! Descriptors of all processes, and what they lead to.

use std::collections::HashMap;

use log_format::record::{Call, Dir};

/// Number of an open file description, shared by dup, fork and passing it on.
pub(super) type ObjectId = usize;

/// One process's descriptors.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    open: HashMap<i32, Fd>,
}

#[derive(Clone, Copy, Debug)]
struct Fd {
    object: ObjectId,
    close_on_exec: bool,
}

/// What a call did to a table: descriptions that have one descriptor less.
pub(super) type Released = Vec<ObjectId>;

impl Table {
    /// What a descriptor leads to.
    pub(super) fn get(&self, fd: i32) -> Option<ObjectId> {
        self.open.get(&fd).map(|fd| fd.object)
    }

    /// Opens a descriptor; what it led to before.
    pub(super) fn set(&mut self, fd: i32, object: ObjectId, close_on_exec: bool) -> Released {
        self.open.insert(fd, Fd { object, close_on_exec }).map(|fd| fd.object).into_iter().collect()
    }

    /// Every description, once for each descriptor.
    pub(super) fn objects(&self) -> impl Iterator<Item = ObjectId> + '_ {
        self.open.values().map(|fd| fd.object)
    }

    /// Closes what an exec closes.
    pub(super) fn exec(&mut self) -> Released {
        self.close(|_, fd| fd.close_on_exec)
    }

    /// Closes everything.
    pub(super) fn exit(&mut self) -> Released {
        self.close(|_, _| true)
    }

    fn close(&mut self, which: impl Fn(i32, &Fd) -> bool) -> Released {
        self.open.extract_if(|n, fd| which(*n, fd)).map(|(_, fd)| fd.object).collect()
    }

    /// Follows a successful call that closes, copies or marks descriptors. What was released, and
    /// what was copied.
    pub(super) fn follow(&mut self, call: &Call<'_>) -> (Released, Option<ObjectId>) {
        let fd = |i: usize| call.args[i] as u32 as i32;
        let given = call.ret as i32;
        match i64::from(call.nr) {
            libc::SYS_close => return (self.close(|n, _| n == fd(0)), None),
            libc::SYS_close_range => {
                let (first, last) = (call.args[0] as u32, call.args[1] as u32);
                let inside = |n: i32| (first..=last).contains(&(n as u32));
                if call.args[2] as u32 & libc::CLOSE_RANGE_CLOEXEC != 0 {
                    let marked = self.open.iter_mut().filter(|(n, _)| inside(**n));
                    marked.for_each(|(_, fd)| fd.close_on_exec = true);
                } else {
                    return (self.close(|n, _| inside(n)), None);
                }
            }
            libc::SYS_dup | libc::SYS_dup2 => return self.copy(fd(0), given, false),
            libc::SYS_dup3 => {
                return self.copy(fd(0), given, call.args[2] as i32 & libc::O_CLOEXEC != 0);
            }
            libc::SYS_fcntl => match call.args[1] as i32 {
                libc::F_DUPFD => return self.copy(fd(0), given, false),
                libc::F_DUPFD_CLOEXEC => return self.copy(fd(0), given, true),
                libc::F_SETFD => self.mark(fd(0), call.args[2] as i32 & libc::FD_CLOEXEC != 0),
                _ => {}
            },
            libc::SYS_ioctl => match call.args[1] {
                libc::FIOCLEX => self.mark(fd(0), true),
                libc::FIONCLEX => self.mark(fd(0), false),
                _ => {}
            },
            _ => {}
        }
        (Vec::new(), None)
    }

    fn mark(&mut self, fd: i32, close_on_exec: bool) {
        if let Some(fd) = self.open.get_mut(&fd) {
            fd.close_on_exec = close_on_exec;
        }
    }

    fn copy(&mut self, from: i32, to: i32, cloexec: bool) -> (Released, Option<ObjectId>) {
        match self.open.get(&from).copied() {
            _ if from == to => (Vec::new(), None),
            Some(fd) => (self.set(to, fd.object, cloexec), Some(fd.object)),
            // A copy of something that is not followed.
            None => (self.close(|n, _| n == to), None),
        }
    }
}

/// The two descriptors that socketpair gave.
pub(super) fn pair(call: &Call<'_>) -> Option<[i32; 2]> {
    let bytes = call.buf(3, Dir::Out)?.bytes;
    let [a, b] = bytes.as_chunks::<4>().0.get(..2)?.try_into().ok()?;
    Some([i32::from_le_bytes(a), i32::from_le_bytes(b)])
}
