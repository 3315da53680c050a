//! Checks that only look: kernel, processor, sandbox, limits.

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

use super::{Check, text_of};

/// The arena is a gigabyte of addresses, beside what the guest itself has.
const ADDRESS_SPACE_MIN: u64 = 4 << 30;

pub(super) fn kernel() -> Check {
    const NAME: &str = "kernel";
    let release = text_of("/proc/sys/kernel/osrelease").trim().to_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|n| n.parse().ok());
    let version: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let check = Check::ok(NAME, release);
    if version < (5, 11) {
        return check.fail("it has no syscall user dispatch", "Linux 5.11 or newer");
    }
    check
}

pub(super) fn architecture() -> Check {
    // A binary for another architecture would not have been built: the shim is x86-64 only.
    let emulated = text_of("/proc/cpuinfo").contains("QEMU TCG");
    let check = Check::ok("architecture", std::env::consts::ARCH);
    if emulated {
        return check.warn("an emulated processor is slow", "a native or virtual machine");
    }
    check
}

fn status_field(name: &str) -> Option<String> {
    let status = text_of("/proc/self/status");
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim_start_matches(':').trim().to_owned())
}

pub(super) fn seccomp() -> Check {
    const NAME: &str = "seccomp";
    match status_field("Seccomp").as_deref() {
        Some("0") => Check::ok(NAME, "off"),
        Some("2") => Check::ok(NAME, "a filter is active, and let all checks here through")
            .warn("a call that it refuses is recorded as refused", ""),
        Some(mode) => Check::ok(NAME, format!("mode {mode}"))
            .fail("the calls that rr-run makes are refused", "a shell outside the sandbox"),
        None => Check::ok(NAME, "not in this kernel"),
    }
}

pub(super) fn tracer() -> Check {
    const NAME: &str = "tracer";
    match status_field("TracerPid").as_deref() {
        None | Some("0") => Check::ok(NAME, "none"),
        Some(pid) => {
            let name = text_of(&format!("/proc/{pid}/comm"));
            let found = format!("{} (pid {pid})", name.trim());
            Check::ok(NAME, found).warn("recording is slow under it", "rr-run outside, it inside")
        }
    }
}

/// Programs that stand in for the kernel or the processor.
pub(super) fn emulator() -> Check {
    const NAME: &str = "emulators";
    const OUTSIDE: &str = "rr-run outside of it";
    let set = |name: &str| std::env::var_os(name).is_some();
    let check = |what: &str| Check::ok(NAME, what);
    if set("RUNNING_UNDER_RR_RUN") {
        return check("inside a program that rr-run runs")
            .fail("a program can't be intercepted twice", OUTSIDE);
    }
    if set("RUNNING_UNDER_RR") {
        return check("rr").fail("rr does not know syscall user dispatch", OUTSIDE);
    }
    if text_of("/proc/version").contains("gVisor")
        || text_of("/proc/self/mountinfo").contains("gvisor")
    {
        return check("gVisor").fail("it has no syscall user dispatch", "the runc runtime");
    }
    let maps = text_of("/proc/self/maps");
    if maps.contains("valgrind") || maps.contains("vgpreload") {
        return check("valgrind").fail("it handles calls itself", OUTSIDE);
    }
    if maps.contains("libasan.so") {
        return check("AddressSanitizer").warn("it maps where it likes", OUTSIDE);
    }
    check("none (rr, gVisor, valgrind)")
}

pub(super) fn container() -> Check {
    const NAME: &str = "container";
    let exists = |path: &str| std::path::Path::new(path).exists();
    let kind = if exists("/.dockerenv") {
        "docker".to_owned()
    } else if exists("/run/.containerenv") {
        "podman".to_owned()
    } else if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
        "kubernetes".to_owned()
    } else if let Ok(kind) = std::env::var("container") {
        kind
    } else if text_of("/proc/sys/kernel/osrelease").to_ascii_lowercase().contains("microsoft") {
        "WSL".to_owned()
    } else {
        return Check::ok(NAME, "none seen");
    };
    // What a container may refuse is tried above; that it is one changes nothing by itself.
    Check::ok(NAME, kind)
}

pub(super) fn clock_source() -> Check {
    const NAME: &str = "clock";
    let path = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let source = text_of(path).trim().to_owned();
    let check = Check::ok(NAME, if source.is_empty() { "unknown" } else { &source });
    match source.as_str() {
        "" | "tsc" | "kvm-clock" | "hyperv_clocksource_tsc_page" => check,
        _ => check.warn("each reading of the clock is a call into the kernel", "clocksource=tsc"),
    }
}

pub(super) fn limits() -> Check {
    const NAME: &str = "limits";
    let soft = |resource| getrlimit(resource).map_or(RLIM_INFINITY, |(soft, _)| soft);
    let space = soft(Resource::RLIMIT_AS);
    if space < ADDRESS_SPACE_MIN {
        let found = format!("address space {}", crate::report::units::bytes(space));
        return Check::ok(NAME, found).fail("the shared log does not fit", "ulimit -v unlimited");
    }
    if soft(Resource::RLIMIT_FSIZE) != RLIM_INFINITY {
        return Check::ok(NAME, "file size is limited")
            .warn("a recording ends at that size", "ulimit -f unlimited");
    }
    Check::ok(NAME, "none in the way")
}

/// Instructions that give random bytes can't be trapped.
pub(super) fn random_instructions() -> Check {
    const NAME: &str = "RDRAND, RDSEED";
    let cpu = text_of("/proc/cpuinfo");
    let has = |flag: &str| cpu.lines().any(|l| l.starts_with("flags") && l.contains(flag));
    if !has(" rdrand") && !has(" rdseed") {
        return Check::ok(NAME, "not there");
    }
    // OpenSSL and its relatives use most of them, and are told not to.
    Check::ok(NAME, "there, and masked for OpenSSL, BoringSSL and aws-lc (OPENSSL_ia32cap)")
}
