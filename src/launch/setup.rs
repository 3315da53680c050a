//! An arena made ready for its first guest.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use log_format::arena::{MAGIC, Mode, ROOT_KEY, proc_state};

use crate::error::{Error, Result};
use crate::log::map::{ArenaMap, set_text};
use crate::log::table::PROCS_READY;
use crate::policy::Policy;

/// What a new arena's header says.
#[derive(Debug)]
pub struct Setup<'a> {
    /// What the shim does.
    pub mode: Mode,
    /// `log_format::arena::option` bits.
    pub options: u32,
    /// Seed of all randomness.
    pub seed: [u8; 32],
    /// Start of the recording, nanoseconds since the epoch.
    pub started_ns: u64,
    /// Frozen wall clock, nanoseconds since the epoch.
    pub frozen_ns: u64,
    /// Frozen monotonic clock, nanoseconds.
    pub frozen_mono_ns: u64,
    /// Directory of kept files.
    pub files_dir: &'a Path,
    /// The shim.
    pub shim: &'a Path,
    /// The arena itself.
    pub path: &'a Path,
    /// Where sessions share their kept files; none: they don't.
    pub cache_dir: Option<&'a Path>,
    /// Replay: stop the process with this key before this step.
    pub until: Option<(u64, u64)>,
    /// What the guest may do.
    pub policy: Policy,
}

impl Setup<'_> {
    /// Creates the arena, with the root's entry reserved.
    ///
    /// # Errors
    /// The system's, or [`Error::Usage`] for a path that is too long.
    pub fn create(&self) -> Result<ArenaMap> {
        let arena = ArenaMap::create(self.path)?;
        arena
            .allocate_header(self.mode == Mode::Replay)
            .and_then(|()| arena.allocate_procs(0, PROCS_READY))
            .map_err(Error::io("reserve disk space for the log"))?;
        let header = arena.header();
        header.version.store(log_format::VERSION, Ordering::Relaxed);
        header.mode.store(self.mode as u32, Ordering::Relaxed);
        header.options.store(self.options, Ordering::Relaxed);
        header.host_pid.store(std::process::id() as i32, Ordering::Relaxed);
        header.started_ns.store(self.started_ns, Ordering::Relaxed);
        header.frozen_ns.store(self.frozen_ns, Ordering::Relaxed);
        header.frozen_mono_ns.store(self.frozen_mono_ns, Ordering::Relaxed);
        if let Some((key, step)) = self.until {
            header.until_key.store(key, Ordering::Relaxed);
            header.until_step.store(step, Ordering::Relaxed);
        }
        for (to, from) in header.seed.iter().zip(self.seed) {
            to.store(from, Ordering::Relaxed);
        }
        let texts = [
            (&header.files_dir[..], self.files_dir),
            (&header.shim_path[..], self.shim),
            (&header.arena_path[..], self.path),
            (&header.cache_dir[..], self.cache_dir.unwrap_or(Path::new(""))),
        ];
        for (field, path) in texts {
            if !set_text(field, path.as_os_str().as_encoded_bytes()) {
                return Err(Error::Usage(format!("the path {} is too long", path.display())));
            }
        }
        self.policy.install(&header.policy)?;
        if let Some(root) = arena.procs().first() {
            root.key.store(ROOT_KEY, Ordering::Relaxed);
            if let Some(fds) = root.std_fds.first() {
                fds.store(open_std_fds(), Ordering::Relaxed);
            }
            root.state.store(proc_state::RESERVED, Ordering::Release);
        }
        header.procs_used.store(1, Ordering::Release);
        header.magic.store(MAGIC, Ordering::Release);
        Ok(arena)
    }
}

/// Which of fds 0, 1, 2 are open, as `ProcEntry::std_fds` has it: they are the session's stdin,
/// stdout and stderr.
fn open_std_fds() -> u64 {
    let open = |fd: u64| Path::new(&format!("/proc/self/fd/{fd}")).exists();
    (0..3).filter(|fd| open(*fd)).map(|fd| (fd + 1) << (2 * fd)).sum()
}

/// One of `log_format::arena::option`'s bits, if it is `set`.
pub fn bit(set: bool, bit: u32) -> u32 {
    if set { bit } else { 0 }
}

/// Wall clock, nanoseconds since the epoch.
pub fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64)
}

/// Monotonic clock, nanoseconds.
pub fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    (now.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec as u64)
}

/// The 256 bits that `--seed` means: 64 hex digits as they are, other text by its hash; without
/// one the system's.
///
/// # Errors
/// The system's.
pub fn seed(text: Option<&str>) -> Result<[u8; 32]> {
    let Some(text) = text else {
        use std::io::Read;
        let mut seed = [0; 32];
        std::fs::File::open("/dev/urandom")
            .and_then(|mut file| file.read_exact(&mut seed))
            .map_err(Error::io("read randomness for the seed"))?;
        return Ok(seed);
    };
    let digits = crate::session::manifest::unhex(text);
    let exact = digits.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    Ok(exact.unwrap_or_else(|| *blake3::hash(text.as_bytes()).as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_hex_or_any_text() {
        let hex = "0f".repeat(32);
        assert_eq!(seed(Some(&hex)).unwrap(), [15; 32]);
        assert_ne!(seed(Some("7")).unwrap(), seed(Some("8")).unwrap());
        assert_eq!(seed(Some("7")).unwrap(), seed(Some("7")).unwrap());
        assert_ne!(seed(None).unwrap(), seed(None).unwrap());
    }
}
