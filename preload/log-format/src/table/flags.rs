//! Names of flags and enumerations, for showing calls as strace does.

/// One named value.
#[derive(Clone, Copy, Debug)]
pub struct FlagName {
    /// Value.
    pub value: u32,
    /// Bits that must equal `value`; 0 means `value` itself (a plain flag).
    pub mask: u32,
    /// Name as in the man page.
    pub name: &'static str,
}

/// Which set of names an argument takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagSet {
    /// open(2).
    Open,
    /// Not named: shown in hex.
    Hex,
}

impl FlagSet {
    /// The names of this set.
    pub fn names(self) -> &'static [FlagName] {
        match self {
            FlagSet::Open | FlagSet::Hex => &[],
        }
    }
}
