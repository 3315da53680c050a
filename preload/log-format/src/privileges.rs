//! What executing a file changes in the rights of who executes it: the set-user-id and
//! set-group-id bits and the capabilities of the file.
//!
//! The loader ignores preloads for a program that gets rights its caller has not, and the kernel
//! randomises the addresses of every program whose file has such a mark, even if its owner runs
//! it.

const SETUID: u32 = 0o4000;
/// Without the right to execute for the group, the bit means something else.
const SETGID: u32 = 0o2010;
const ROOT: u32 = 0;

/// Most bytes of a file's `security.capability` attribute.
pub const CAPABILITY_BYTES: usize = 24;

/// The file's marks.
#[derive(Clone, Copy, Debug)]
pub struct Marks<'a> {
    /// Its mode.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its `security.capability` attribute; empty: none.
    pub capabilities: &'a [u8],
}

impl Marks<'_> {
    /// True if there is a mark.
    pub fn any(&self) -> bool {
        self.mode & SETUID != 0 || self.mode & SETGID == SETGID || !self.capabilities.is_empty()
    }
}

/// Who executes it. Sets of capabilities have one bit for each.
#[derive(Clone, Copy, Debug, Default)]
pub struct Caller {
    /// Real user.
    pub uid: u32,
    /// Effective user.
    pub euid: u32,
    /// Real group.
    pub gid: u32,
    /// Effective group.
    pub egid: u32,
    /// Permitted capabilities.
    pub permitted: u64,
    /// Inheritable capabilities.
    pub inheritable: u64,
    /// The bounding set.
    pub bounding: u64,
}

/// What the marks come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The program runs as any other.
    None,
    /// It gets no other rights, but randomised addresses: a copy without marks does the same.
    Randomised,
    /// Nothing can be preloaded into it; what it is.
    Raised(&'static str),
}

const SETUID_PROGRAM: &str = "a setuid program, for which the loader ignores preloads";
const SETGID_PROGRAM: &str = "a setgid program, for which the loader ignores preloads";
const CAPABLE_PROGRAM: &str =
    "a program with file capabilities, for which the loader ignores preloads";
const MIXED_CALLER: &str = "executed while the effective user or group is not the real one, so \
                            that the loader ignores preloads";

/// What executing a file comes to, as the kernel decides it.
pub fn effect(file: &Marks<'_>, caller: &Caller) -> Effect {
    let (setuid, setgid) = (file.mode & SETUID != 0, file.mode & SETGID == SETGID);
    let euid = if setuid { file.uid } else { caller.euid };
    let egid = if setgid { file.gid } else { caller.egid };
    if setuid && (euid != caller.uid || euid != caller.euid) {
        return Effect::Raised(SETUID_PROGRAM);
    }
    if setgid && (egid != caller.gid || egid != caller.egid) {
        return Effect::Raised(SETGID_PROGRAM);
    }
    if euid != caller.uid || egid != caller.gid {
        return Effect::Raised(MIXED_CALLER);
    }
    let mut randomised = setuid || setgid;
    if let Some(given) = FileCapabilities::parse(file.capabilities) {
        if caller.uid == ROOT {
            // Root gets all that it may have, whatever the file says.
            randomised |= (caller.bounding | caller.inheritable) & !caller.permitted != 0;
        } else {
            let permitted =
                given.permitted & caller.bounding | given.inheritable & caller.inheritable;
            if given.effective || permitted != 0 {
                return Effect::Raised(CAPABLE_PROGRAM);
            }
        }
    }
    if randomised { Effect::Randomised } else { Effect::None }
}

/// `struct vfs_cap_data`.
struct FileCapabilities {
    effective: bool,
    permitted: u64,
    inheritable: u64,
}

impl FileCapabilities {
    fn parse(bytes: &[u8]) -> Option<FileCapabilities> {
        let word = |i: usize| {
            let word = bytes.get(i * 4..i * 4 + 4)?;
            Some(u64::from(u32::from_le_bytes(word.try_into().ok()?)))
        };
        // Revision and flags; then permitted and inheritable, the lower halves first. The first
        // revision has no upper halves.
        Some(FileCapabilities {
            effective: word(0)? & 1 != 0,
            permitted: word(1)? | word(3).unwrap_or(0) << 32,
            inheritable: word(2)? | word(4).unwrap_or(0) << 32,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: Caller = Caller {
        uid: 1000,
        euid: 1000,
        gid: 1000,
        egid: 1000,
        permitted: 0,
        inheritable: 0,
        bounding: u64::MAX,
    };
    const ROOT: Caller = Caller { uid: 0, euid: 0, gid: 0, egid: 0, permitted: u64::MAX, ..USER };
    /// cap_net_raw, permitted and effective.
    const PING: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    fn of(mode: u32, owner: u32, capabilities: &[u8], caller: Caller) -> Effect {
        effect(&Marks { mode, uid: owner, gid: owner, capabilities }, &caller)
    }

    #[test]
    fn programs_without_marks_run_as_they_are() {
        assert_eq!(of(0o755, 0, &[], USER), Effect::None);
        let mixed = Caller { euid: 1001, ..USER };
        assert_eq!(of(0o755, 0, &[], mixed), Effect::Raised(MIXED_CALLER));
    }

    #[test]
    fn a_bit_that_changes_nothing_only_randomises() {
        assert_eq!(of(0o4755, 0, &[], ROOT), Effect::Randomised);
        assert_eq!(of(0o4755, 0, &[], USER), Effect::Raised(SETUID_PROGRAM));
        assert_eq!(of(0o2755, 1000, &[], USER), Effect::Randomised);
        assert_eq!(of(0o2755, 0, &[], USER), Effect::Raised(SETGID_PROGRAM));
        assert_eq!(of(0o2745, 0, &[], USER), Effect::None);
        let lowered = Caller { euid: 1000, ..ROOT };
        assert_eq!(of(0o4755, 0, &[], lowered), Effect::Raised(SETUID_PROGRAM));
    }

    #[test]
    fn capabilities_raise_who_lacks_them() {
        assert_eq!(of(0o755, 0, &PING, USER), Effect::Raised(CAPABLE_PROGRAM));
        assert_eq!(of(0o755, 0, &PING, ROOT), Effect::None);
        assert_eq!(of(0o755, 0, &PING, Caller { permitted: 1, ..ROOT }), Effect::Randomised);
        assert_eq!(of(0o755, 0, &PING[..3], USER), Effect::None);
    }
}
