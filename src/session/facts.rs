//! What a manifest says of the machine and of how the program was started.

use std::fs;
use std::io::Read;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::sys::stat::{Mode, umask};

use super::manifest::{Machine, Rlimit};

/// All resource limits that a replay sets again.
pub const RLIMITS: [(Resource, &str); 16] = [
    (Resource::RLIMIT_AS, "RLIMIT_AS"),
    (Resource::RLIMIT_CORE, "RLIMIT_CORE"),
    (Resource::RLIMIT_CPU, "RLIMIT_CPU"),
    (Resource::RLIMIT_DATA, "RLIMIT_DATA"),
    (Resource::RLIMIT_FSIZE, "RLIMIT_FSIZE"),
    (Resource::RLIMIT_LOCKS, "RLIMIT_LOCKS"),
    (Resource::RLIMIT_MEMLOCK, "RLIMIT_MEMLOCK"),
    (Resource::RLIMIT_MSGQUEUE, "RLIMIT_MSGQUEUE"),
    (Resource::RLIMIT_NICE, "RLIMIT_NICE"),
    (Resource::RLIMIT_NOFILE, "RLIMIT_NOFILE"),
    (Resource::RLIMIT_NPROC, "RLIMIT_NPROC"),
    (Resource::RLIMIT_RSS, "RLIMIT_RSS"),
    (Resource::RLIMIT_RTPRIO, "RLIMIT_RTPRIO"),
    (Resource::RLIMIT_RTTIME, "RLIMIT_RTTIME"),
    (Resource::RLIMIT_SIGPENDING, "RLIMIT_SIGPENDING"),
    (Resource::RLIMIT_STACK, "RLIMIT_STACK"),
];

/// The resource limits of this process.
pub fn rlimits() -> Vec<Rlimit> {
    let limit = |value: u64| (value != RLIM_INFINITY).then_some(value);
    RLIMITS
        .into_iter()
        .filter_map(|(resource, name)| {
            let (soft, hard) = getrlimit(resource).ok()?;
            Some(Rlimit { name: name.into(), soft: limit(soft), hard: limit(hard) })
        })
        .collect()
}

/// The file mode creation mask of this process.
pub fn file_mask() -> u32 {
    // It can only be read by setting it.
    let mask = umask(Mode::from_bits_truncate(0o077));
    umask(mask);
    mask.bits()
}

/// This machine.
pub fn machine() -> Machine {
    let text = |s: &std::ffi::OsStr| s.to_string_lossy().into_owned();
    let cpu = first_processor().unwrap_or_default();
    let field = |name: &str| {
        let line = cpu.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let mut cpu_features: Vec<String> =
        field("flags").unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    cpu_features.sort();
    let mut machine = Machine {
        cpu: field("model name").unwrap_or_default(),
        cpus: std::thread::available_parallelism().map_or(0, |n| n.get() as u32),
        cpu_features,
        ..Machine::default()
    };
    if let Ok(uname) = nix::sys::utsname::uname() {
        machine.system = text(uname.sysname());
        machine.release = text(uname.release());
        machine.version = text(uname.version());
        machine.architecture = text(uname.machine());
        machine.host = text(uname.nodename());
    }
    machine
}

/// What /proc/cpuinfo says of the first processor; the kernel takes its time for all.
fn first_processor() -> std::io::Result<String> {
    const BYTES_MAX: u64 = 8 << 10;
    let mut text = Vec::new();
    fs::File::open("/proc/cpuinfo")?.take(BYTES_MAX).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_described() {
        let machine = machine();
        assert_eq!((machine.system.as_str(), machine.architecture.as_str()), ("Linux", "x86_64"));
        assert!(machine.cpu_features.iter().any(|f| f == "sse2"));
        assert!(rlimits().iter().any(|l| l.name == "RLIMIT_STACK"));
        assert_eq!(file_mask(), file_mask());
    }
}
