//! Starting the root guest, and what the host does about signals meanwhile.
#![expect(unsafe_code, reason = "code between fork and exec, and signal dispositions")]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};

use log_format::arena::ARENA_BYTES;
use nix::sys::personality::{self, Persona};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use nix::sys::signal::{SaFlags, SigAction};
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, kill, sigaction, sigprocmask};
use nix::unistd::Pid;

use crate::error::{Error, Result};

/// How the root guest is started.
#[derive(Debug)]
pub struct Spawn {
    /// File name given to execve.
    pub filename: CString,
    /// Arguments, the program's name first.
    pub argv: Vec<CString>,
    /// Environment.
    pub env: Vec<CString>,
    /// Resource limits that the guest gets: which, soft, hard.
    pub rlimits: Vec<(Resource, u64, u64)>,
    /// On replay: what the recording had.
    pub replay: Option<Recorded>,
}

/// Attributes of the recorded process, taken on for a replay.
#[derive(Debug)]
pub struct Recorded {
    /// Working directory.
    pub cwd: PathBuf,
    /// File mode creation mask.
    pub umask: u32,
    /// Where to send the descriptor by which this process answers the loader's opens.
    pub opens: Option<OwnedFd>,
}

/// Lets this process write files as large as an arena, whatever `ulimit -f` says for the guest;
/// the limit that the guest is to get.
///
/// # Errors
/// [`Error::Machine`] if the hard limit is too low.
pub fn raise_file_limit() -> Result<Option<(Resource, u64, u64)>> {
    let which = Resource::RLIMIT_FSIZE;
    let Ok((soft, hard)) = getrlimit(which) else { return Ok(None) };
    if soft == hard && soft == RLIM_INFINITY {
        return Ok(None);
    }
    if hard < ARENA_BYTES as u64 || setrlimit(which, hard, hard).is_err() {
        return Err(Error::Machine {
            doing: "create the memory shared with the program".into(),
            reason: format!("files may have {hard} bytes at most here (ulimit -Hf)"),
        });
    }
    Ok(Some((which, soft, hard)))
}

/// Lets this process have as many descriptors as it may: each connection that it takes over costs
/// two. The limit that guests are to get.
pub fn raise_descriptor_limit() -> Option<(Resource, u64, u64)> {
    let which = Resource::RLIMIT_NOFILE;
    let (soft, hard) = getrlimit(which).ok()?;
    setrlimit(which, hard, hard).ok()?;
    Some((which, soft, hard))
}

/// Turns address space randomisation off for programs started by this thread; false if the
/// machine refuses that.
pub fn turn_aslr_off() -> bool {
    personality::get()
        .and_then(|old| personality::set(old | Persona::ADDR_NO_RANDOMIZE))
        .and_then(|_| personality::get())
        .is_ok_and(|now| now.contains(Persona::ADDR_NO_RANDOMIZE))
}

/// Starts the guest; its pid.
///
/// # Errors
/// [`Error::NotExecutable`] if the kernel refuses the program, or the system's.
pub fn spawn(spawn: &Spawn, signals: &Signals) -> Result<Pid> {
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
    };
    // Addresses as numbers, because the closure must be Send; they stay valid: `spawn` is
    // borrowed until the child has executed or failed.
    let (argv, envp) = (pointers(&spawn.argv), pointers(&spawn.env));
    let (argv_at, envp_at) = (argv.as_ptr() as usize, envp.as_ptr() as usize);
    let filename_at = spawn.filename.as_ptr() as usize;
    let opens = spawn.replay.as_ref().and_then(|recorded| recorded.opens.as_ref());
    let opens = opens.map(AsRawFd::as_raw_fd);
    let umask = spawn.replay.as_ref().map(|recorded| recorded.umask);
    let rlimits = spawn.rlimits.clone();
    let replay = spawn.replay.is_some();
    let closed = CLOSED.load(Ordering::Relaxed);
    let signals = signals.original.clone();
    // The name given here is never executed: the closure executes the program itself, because
    // Command sorts the environment.
    let mut command = Command::new("/");
    if let Some(recorded) = &spawn.replay {
        command.current_dir(&recorded.cwd).stdin(Stdio::null()).stdout(Stdio::null());
    }
    let before_exec = move || -> io::Result<()> {
        if replay {
            // The terminal's signals are the host's affair, and nothing outlives the host.
            nix::unistd::setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
        }
        for fd in (0..3).filter(|fd| !replay && closed >> fd & 1 != 0) {
            // SAFETY: the descriptor is the /dev/null of this program's own start, and the guest
            // executes next.
            unsafe { libc::close(fd) };
        }
        if let Some(umask) = umask {
            nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(umask));
        }
        for (resource, soft, hard) in &rlimits {
            // A limit above this process's own can't be had: the log answers what the guest asks.
            let _ = setrlimit(*resource, *soft, *hard);
        }
        signals.restore();
        if let Some(socket) = opens {
            // SAFETY: the parent keeps its end open until this child has executed.
            super::opens::intercept(unsafe { BorrowedFd::borrow_raw(socket) });
        }
        // SAFETY: the three addresses are those of NUL-terminated strings and NULL-terminated
        // arrays that the parent keeps alive while it waits for this child to execute; the child
        // has a copy of that memory.
        unsafe {
            libc::execve(
                filename_at as *const libc::c_char,
                argv_at as *const *const libc::c_char,
                envp_at as *const *const libc::c_char,
            );
        }
        Err(io::Error::last_os_error())
    };
    // SAFETY: the closure runs between fork and exec and makes only system calls: no allocation,
    // no lock. Its captures were allocated before the fork.
    unsafe { command.pre_exec(before_exec) };
    let path = super::environment::path(spawn.filename.as_bytes());
    match command.spawn() {
        // The caller waits for the process by its pid.
        Ok(child) => Ok(Pid::from_raw(child.id() as i32)),
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOEXEC | libc::EACCES | libc::ENOENT)) => {
            Err(Error::NotExecutable { path, reason: e.to_string() })
        }
        Err(e) => Err(Error::file("start", &path)(e)),
    }
}

/// Signals as they were when the host started: guests get them so.
#[derive(Clone, Debug)]
struct Original {
    mask: SigSet,
    ignored: Vec<Signal>,
}

/// Whether this process was started with SIGPIPE ignored.
static SIGPIPE_IGNORED: AtomicBool = AtomicBool::new(false);

/// Which of the descriptors 0, 1, 2 were closed when this process was started, as bits.
static CLOSED: AtomicU32 = AtomicU32::new(0);

/// Runs before `main`: Rust's runtime ignores SIGPIPE and opens what is closed of the first three
/// descriptors, and what they were before is the guest's.
// SAFETY: the section holds addresses of functions that the loader calls with (argc, argv, envp),
// which a function without parameters may be given; this one needs nothing to be set up.
#[unsafe(link_section = ".init_array")]
#[used]
static NOTE_START: extern "C" fn() = note_start;

extern "C" fn note_start() {
    for fd in 0..3 {
        // SAFETY: only asks for the descriptor's flags.
        let closed = unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0;
        CLOSED.fetch_or(u32::from(closed) << fd, Ordering::Relaxed);
    }
    let mut now = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: with no new action the call only writes the present one to `now`, which has room
    // for it; all zeros are a valid sigaction.
    let ignored = unsafe {
        libc::sigaction(libc::SIGPIPE, std::ptr::null(), now.as_mut_ptr()) == 0
            && now.assume_init().sa_sigaction == libc::SIG_IGN
    };
    SIGPIPE_IGNORED.store(ignored, Ordering::Relaxed);
}

impl Original {
    fn restore(&self) {
        if SIGPIPE_IGNORED.load(Ordering::Relaxed) {
            let action = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
            // SAFETY: ignoring runs no code of ours.
            let _ = unsafe { sigaction(Signal::SIGPIPE, &action) };
        }
        for signal in HANDLED {
            let handler = match self.ignored.contains(&signal) {
                true => SigHandler::SigIgn,
                false => SigHandler::SigDfl,
            };
            let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
            // SAFETY: ignoring or defaulting runs no code of ours.
            let _ = unsafe { sigaction(signal, &action) };
        }
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.mask), None);
    }
}

/// Signals whose treatment the host changes for itself.
const HANDLED: [Signal; 7] = [
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGCHLD,
];

/// Signals that a thread of the host waits for.
const WAITED: [Signal; 6] = [
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// Waits for a signal of this set; and whether the terminal sent it, to the guest too.
fn next_signal(waited: &SigSet) -> Option<(Signal, bool)> {
    loop {
        let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
        // SAFETY: both pointers are valid for the call; all zeros are a valid siginfo.
        let (got, code) = unsafe {
            let got = libc::sigwaitinfo(waited.as_ref(), info.as_mut_ptr());
            (got, info.assume_init().si_code)
        };
        match Signal::try_from(got) {
            Ok(signal) => return Some((signal, code == libc::SI_KERNEL)),
            Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}

/// The host's own treatment of signals.
pub struct Signals {
    original: Original,
    /// Pid that signals go to; 0 before it runs.
    guest: Arc<AtomicI32>,
    /// Last signal the host got; 0 none.
    got: Arc<AtomicI32>,
}

impl Signals {
    /// Takes over signals. While recording (`forward`) the host passes them on to the guest, but
    /// for those of the terminal, which the guest gets as well. On replay those that would end
    /// this process are noted for [`Signals::got`], and `noted` is called.
    ///
    /// To be called before other threads start, which inherit the mask.
    ///
    /// # Errors
    /// The system's.
    pub fn take(forward: bool, noted: impl Fn() + Send + 'static) -> Result<Signals> {
        let failed = |e: nix::Error| Error::io("take over signals")(e.into());
        let mut ignored = Vec::new();
        for signal in HANDLED {
            let action = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
            // SAFETY: the default action runs no code of ours.
            let old = unsafe { sigaction(signal, &action) }.map_err(failed)?;
            if matches!(old.handler(), SigHandler::SigIgn) {
                ignored.push(signal);
            }
        }
        let waited: SigSet = WAITED.into_iter().collect();
        let mut mask = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&waited), Some(&mut mask)).map_err(failed)?;
        let guest = Arc::new(AtomicI32::new(0));
        let got = Arc::new(AtomicI32::new(0));
        let (to, last) = (guest.clone(), got.clone());
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                while let Some((signal, from_terminal)) = next_signal(&waited) {
                    let pid = to.load(Ordering::Acquire);
                    if forward && pid > 0 && !from_terminal {
                        let _ = kill(Pid::from_raw(pid), signal);
                    }
                    let ends = !matches!(signal, Signal::SIGUSR1 | Signal::SIGUSR2);
                    if !forward && ends {
                        last.store(signal as i32, Ordering::Release);
                        noted();
                    }
                }
            })
            .map_err(Error::io("start a thread"))?;
        Ok(Signals { original: Original { mask, ignored }, guest, got })
    }

    /// From now on signals go to this process.
    pub fn forward_to(&self, pid: Pid) {
        self.guest.store(pid.as_raw(), Ordering::Release);
    }

    /// The guest is gone: its pid may soon be another's.
    pub fn forward_to_none(&self) {
        self.guest.store(0, Ordering::Release);
    }

    /// Number of the last signal noted, if any.
    pub fn got(&self) -> Option<i32> {
        Some(self.got.load(Ordering::Acquire)).filter(|n| *n != 0)
    }
}
