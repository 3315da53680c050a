//! Pids of guests in pid namespaces of their own, as the host sees them.

use std::fs;

/// Parents between a guest and the host, at most.
const DEPTH_MAX: usize = 4096;

/// The pid here of a descendant of this process that has the pid `local` in the innermost of its
/// namespaces, and is none of those known. Only processes in another namespace than this one are
/// looked at.
pub(super) fn visible_pid(local: i32, known: &[i32]) -> Option<i32> {
    let own = std::process::id() as i32;
    let entries = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = entries.filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    pids.find(|pid| {
        !known.contains(pid)
            && status(*pid).is_some_and(|s| s.is_nested && s.innermost == local)
            && descends(*pid, own)
    })
}

/// What /proc tells of a process.
struct Status {
    parent: i32,
    is_nested: bool,
    innermost: i32,
}

fn status(pid: i32) -> Option<Status> {
    parse(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn parse(text: &str) -> Option<Status> {
    let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let pids: Vec<&str> = line("NSpid:")?.split_whitespace().collect();
    Some(Status {
        parent: line("PPid:")?.trim().parse().ok()?,
        is_nested: pids.len() > 1,
        innermost: pids.last()?.parse().ok()?,
    })
}

fn descends(mut pid: i32, from: i32) -> bool {
    for _ in 0..DEPTH_MAX {
        match status(pid) {
            Some(status) if status.parent == from => return true,
            Some(status) if status.parent > 1 => pid = status.parent,
            _ => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_pid_is_read() {
        let text = "Name:\tsh\nPPid:\t12\nTracerPid:\t0\nNSpid:\t70\t8\t1\n";
        let status = parse(text).unwrap();
        assert_eq!((status.parent, status.is_nested, status.innermost), (12, true, 1));
        let outside = parse("PPid:\t1\nNSpid:\t70\n").unwrap();
        assert!(!outside.is_nested && outside.innermost == 70);
        assert!(parse("PPid:\t1\n").is_none());
        assert_eq!(visible_pid(std::process::id() as i32, &[]), None);
    }
}
