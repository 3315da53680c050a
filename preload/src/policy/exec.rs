//! Programs.

use core::sync::atomic::Ordering;

use log_format::arena::{IS_ENTERED, IS_OPAQUE};
use log_format::policy::{is_beneath, restricts, rule};

use super::paths::{Found, PathText, resolve};
use super::{ACCESS, Text, any_rule, deny, restricted};
use crate::arena;
use crate::files::Target;
use crate::thread::Thread;

/// EACCES for a program that may not be executed; a note says so.
pub fn check(t: &mut Thread, dir: u64, path: u64, target: &Target) -> Option<i64> {
    let restricted = restricted();
    if restricted == 0 {
        return None;
    }
    let (mut given, mut found) = (PathText::new(), PathText::new());
    if !given.copy(path) || resolve(dir, path, true, &mut found) != Found::There {
        return None;
    }
    let is = |rule: &[u8]| names(rule, given.get()) || names(rule, found.get());
    let interpreter = target.interpreter_path();
    let runs = |rule: &[u8]| is(rule) || !interpreter.is_empty() && names(rule, interpreter);
    let allowed = any_rule(rule::EXEC, is);
    let mut why = Text::default();
    let denied = any_rule(rule::EXEC_DENIED, runs);
    if denied || restricted & restricts::EXEC != 0 && !allowed {
        why.set(&[b"execute ", found.get()]);
    } else if let Some(reason) = target.opaque.filter(|_| !allowed) {
        // Nothing would hold it to the policy.
        why.set(&[b"execute ", found.get(), b", ", reason]);
    } else {
        return None;
    }
    deny(t, &why);
    Some(ACCESS)
}

/// Network replay: leaves word of a program that is executed, for the host's account.
pub fn tell(t: &mut Thread, dir: u64, path: u64, target: &Target) {
    let mut found = PathText::new();
    // A search along PATH tries many.
    if resolve(dir, path, true, &mut found) == Found::There {
        let how = if target.opaque.is_some() { IS_OPAQUE } else { IS_ENTERED };
        let key = t.process().entry().key.load(Ordering::Relaxed);
        arena::header().net.programs.tell(key, &[&[how], found.get()]);
        arena::ring();
    }
}

/// EACCES if there is a policy to which a program without the shim would not be held.
pub fn unobserved(t: &mut Thread) -> Option<i64> {
    if restricted() == 0 {
        return None;
    }
    let mut why = Text::default();
    why.set(&[b"execute a program after recording had stopped"]);
    deny(t, &why);
    Some(ACCESS)
}

/// Whether a rule is about the program at `path`: the path, a directory above it, or its last part.
fn names(rule: &[u8], path: &[u8]) -> bool {
    if rule.contains(&b'/') {
        return is_beneath(path, rule);
    }
    path.rsplit(|b| *b == b'/').next() == Some(rule)
}
