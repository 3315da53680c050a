//! Which guest processes there are, and which of them have ended.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

use log_format::arena::{ProcEntry, proc_state, proc_trait};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open, test_kill_process};
use rustix::time::Timespec;

use super::map::ArenaMap;
use super::namespaces;

/// Looks for a process of another pid namespace after which it counts as gone.
const LOOKS_MAX: u32 = 3;

/// Process entries beyond those in use that have disk space.
pub const PROCS_READY: usize = 64;

/// A guest process, as the host has seen it.
#[derive(Debug)]
pub struct Guest {
    /// Its key.
    pub key: u64,
    /// Its pid, 0 until it runs.
    pub pid: i32,
    /// The state its entry had when it was last looked at.
    pub state: u32,
    /// Whether the process itself is gone.
    pub gone: bool,
    /// How often its pid here was looked for in vain.
    looked: u32,
    pidfd: Option<OwnedFd>,
}

impl Guest {
    /// Whether it runs and is still recorded or replayed.
    pub fn runs(&self) -> bool {
        self.state == proc_state::LIVE && !self.gone
    }
}

/// Follows the process entries of an arena.
#[derive(Debug, Default)]
pub struct Table {
    /// By index of the entry.
    guests: HashMap<usize, Guest>,
    /// Entries that have disk space: those below this number.
    allocated: usize,
}

impl Table {
    /// Looks at all entries, and at which of their processes have ended.
    pub fn update(&mut self, arena: &ArenaMap) {
        let used = arena.procs_used().len();
        if used + PROCS_READY / 2 > self.allocated {
            let end = used + PROCS_READY;
            // Without room the guests still have the entries there are.
            if arena.allocate_procs(self.allocated, end).is_ok() {
                self.allocated = end;
            }
        }
        let known: Vec<i32> = self.guests.values().map(|guest| guest.pid).collect();
        for (index, entry) in arena.procs_used().iter().enumerate() {
            let state = entry.state.load(Ordering::Acquire);
            if !matches!(state, proc_state::LIVE | proc_state::EXITED | proc_state::OPAQUE) {
                continue;
            }
            let (key, mut pid) =
                (entry.key.load(Ordering::Acquire), entry.pid.load(Ordering::Acquire));
            let guest = self.guests.entry(index).or_insert_with(|| Guest {
                key,
                pid: 0,
                state,
                gone: false,
                looked: 0,
                pidfd: None,
            });
            guest.state = state;
            let traits = entry.traits.load(Ordering::Acquire);
            let local = traits & proc_trait::FOREIGN != 0 && traits & proc_trait::TOLD == 0;
            if guest.pid == 0 && pid > 0 && local {
                match namespaces::visible_pid(pid, &known) {
                    Some(visible) => pid = visible,
                    None => {
                        guest.looked += 1;
                        // One that lives is found, but perhaps not while /proc changes.
                        guest.gone = guest.looked >= LOOKS_MAX;
                        continue;
                    }
                }
            }
            if guest.pid == 0 && pid > 0 {
                guest.pid = pid;
                let opened = Pid::from_raw(pid).map(|p| pidfd_open(p, PidfdFlags::empty()));
                match opened {
                    Some(Ok(fd)) => guest.pidfd = Some(fd),
                    // It has ended and been waited for.
                    Some(Err(Errno::SRCH)) => guest.gone = true,
                    // Too many open files: `poll` asks by pid.
                    _ => {}
                }
            }
        }
        self.poll();
        self.keep_held(arena);
    }

    /// A process whose parent has yet to see that it was created is not gone: the parent would
    /// take another one's entry for its own.
    fn keep_held(&mut self, arena: &ArenaMap) {
        let gone: Vec<usize> =
            self.guests.iter().filter(|(_, guest)| guest.gone).map(|(index, _)| *index).collect();
        for index in gone {
            let Some(entry) = arena.procs().get(index) else { continue };
            let parent = entry.parent_key.load(Ordering::Acquire);
            if entry.held.load(Ordering::Acquire) != 0
                && self.guests.values().any(|guest| guest.key == parent && !guest.gone)
                && let Some(guest) = self.guests.get_mut(&index)
            {
                guest.gone = false;
            }
        }
    }

    /// Marks guests whose pidfd says that they have ended.
    fn poll(&mut self) {
        let (mut fds, mut guests) = (Vec::new(), Vec::new());
        for guest in self.guests.values_mut() {
            let Guest { gone, pidfd, pid, .. } = guest;
            match pidfd {
                _ if *gone => {}
                Some(fd) => {
                    fds.push(PollFd::new(fd, PollFlags::IN));
                    guests.push(gone);
                }
                None => {
                    let alive = |pid| test_kill_process(pid) != Err(Errno::SRCH);
                    *gone = Pid::from_raw(*pid).is_some_and(|pid| !alive(pid));
                }
            }
        }
        if fds.is_empty() || poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_err() {
            return;
        }
        for (fd, gone) in fds.iter().zip(guests) {
            *gone = fd.revents().contains(PollFlags::IN);
        }
    }

    /// All guests seen and not yet removed, with the index of their entry.
    pub fn guests(&self) -> impl Iterator<Item = (usize, &Guest)> {
        self.guests.iter().map(|(index, guest)| (*index, guest))
    }

    /// Guests that run and are still recorded or replayed.
    pub fn running(&self) -> impl Iterator<Item = &Guest> {
        self.guests.values().filter(|g| g.runs())
    }

    /// Forgets a guest and frees its entry for another process.
    pub fn remove(&mut self, arena: &ArenaMap, index: usize) {
        self.guests.remove(&index);
        if let Some(entry) = arena.procs().get(index) {
            clear(entry);
        }
    }
}

/// Makes an entry as new.
fn clear(entry: &ProcEntry) {
    let zero32 = [
        &entry.ordinal,
        &entry.generation,
        &entry.children,
        &entry.slot,
        &entry.slots_started,
        &entry.status,
        &entry.feed_written,
        &entry.feed_read,
        &entry.feed_end,
        &entry.feed_pos,
        &entry.traits,
        &entry.unseen,
        &entry.held,
    ];
    for word in zero32.into_iter().chain(&entry.feed) {
        word.store(0, Ordering::Relaxed);
    }
    let zero64 =
        [&entry.key, &entry.parent_key, &entry.steps, &entry.pending_output, &entry.dropped];
    for word in zero64.into_iter().chain(&entry.std_fds) {
        word.store(0, Ordering::Relaxed);
    }
    entry.pid.store(0, Ordering::Relaxed);
    // Last: from here on a parent may reserve it.
    entry.state.store(proc_state::FREE, Ordering::Release);
}
