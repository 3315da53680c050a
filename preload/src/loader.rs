//! What the dynamic loader has loaded, from the list that it keeps for debuggers.
#![allow(unsafe_code, reason = "finds the loader's list by its symbol")]

use core::arch::asm;

use log_format::table::Memory;

use crate::sys::Guest;

/// A loaded object: the head of `struct link_map`.
#[derive(Clone, Copy)]
pub struct Object {
    /// What is added to the addresses in its file.
    pub bias: u64,
    /// Address of its NUL-terminated name, as it was opened; may be 0.
    pub name: u64,
    /// Address of its dynamic section.
    dynamic: u64,
    next: u64,
}

/// All of them, the program first. Read with faults caught, because the list may change meanwhile.
pub fn objects() -> impl Iterator<Item = Object> {
    /// A list that is longer has been damaged.
    const OBJECTS_MAX: usize = 4096;
    let debug: u64;
    // SAFETY: reads the address of a weak symbol: null where the loader has none.
    unsafe {
        asm!(
            ".weak _r_debug",
            "mov {}, [rip + _r_debug@GOTPCREL]",
            out(reg) debug, options(nostack)
        );
    }
    // r_version, r_map.
    let first = if debug == 0 { None } else { Guest.u64(debug + 8) };
    let object = |at: u64| {
        let mut words = [0u64; 4];
        for (i, word) in (0..).zip(&mut words) {
            *word = Guest.u64(at + i * 8)?;
        }
        let [bias, name, dynamic, next] = words;
        (at != 0).then_some(Object { bias, name, dynamic, next })
    };
    let mut next = first.unwrap_or(0);
    core::iter::from_fn(move || {
        let found = object(next)?;
        next = found.next;
        Some(found)
    })
    .take(OBJECTS_MAX)
}

/// True if an object uses the function `name` of another one.
pub fn imports(name: &[u8]) -> bool {
    objects().any(|object| object.imports(name).unwrap_or(false))
}

impl Object {
    /// `None`: without the tables that tell (a statically linked one has none).
    fn imports(&self, name: &[u8]) -> Option<bool> {
        const ENTRIES_MAX: u64 = 512;
        const SYMBOL_BYTES: u64 = 24;
        let (mut symbols, mut strings, mut hash, mut gnu_hash) = (0, 0, 0, 0);
        for at in (0..ENTRIES_MAX).map(|i| self.dynamic + i * 16) {
            let value = Guest.u64(at + 8)?;
            match Guest.u64(at)? as i64 {
                0 => break,
                tag::HASH => hash = value,
                tag::STRTAB => strings = value,
                tag::SYMTAB => symbols = value,
                tag::GNU_HASH => gnu_hash = value,
                _ => {}
            }
        }
        // In the order of a GNU hash table, what is imported comes before what it finds.
        let count_at = if gnu_hash != 0 { gnu_hash } else { hash } + 4;
        let count = Guest.u64(count_at)? as u32;
        if symbols == 0 || strings == 0 || count_at == 4 {
            return None;
        }
        let mut found = [0u8; 32];
        let found = found.get_mut(..=name.len())?;
        for at in (1..u64::from(count)).map(|i| symbols + i * SYMBOL_BYTES) {
            // st_name, st_info, st_other, st_shndx: 0 where it is imported.
            let word = Guest.u64(at)?;
            if word >> 48 == 0
                && Guest.read(strings + u64::from(word as u32), found)
                && found.split_last() == Some((&0, name))
            {
                return Some(true);
            }
        }
        Some(false)
    }
}

/// Tags of a dynamic section (elf(5)) that the libc crate does not have.
mod tag {
    pub const HASH: i64 = 4;
    pub const STRTAB: i64 = 5;
    pub const SYMTAB: i64 = 6;
    pub const GNU_HASH: i64 = 0x6fff_fef5;
}
