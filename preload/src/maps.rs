//! Reads /proc/self/maps without allocation.
#![allow(unsafe_code, reason = "raw syscalls with own buffers")]

use crate::sys::sys;

/// What a mapping is, as far as the shim must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// Anonymous, or of no interest.
    Other,
    /// The kernel's clock data.
    Vvar,
    /// The vDSO.
    Vdso,
}

/// One mapping.
#[derive(Clone, Copy, Debug)]
pub struct Map {
    /// First address.
    pub start: u64,
    /// Address behind the last.
    pub end: u64,
    /// What it is.
    pub name: Name,
}

/// Most mappings kept by [`read`].
pub const MAPS_MAX: usize = 8;
/// Longest line handled.
const LINE_BYTES: usize = 1200;

/// A mapped file, or a part of one.
#[derive(Clone, Copy, Debug)]
pub struct Mapped<'a> {
    /// Its path.
    pub path: &'a [u8],
    /// False for further parts of the file mapped before.
    pub first: bool,
    /// First address.
    pub start: u64,
    /// First and last address as text, `00400000-00401000`.
    pub range: &'a [u8],
    /// Addresses of a part that can be executed.
    pub code: Option<(u64, u64)>,
}

/// Reads all lines. `special` gets the vDSO and its data; `file` is called for each mapping of a
/// file.
pub fn read(special: &mut [Map; MAPS_MAX], mut file: impl FnMut(Mapped<'_>)) -> usize {
    let mut count = 0;
    let mut last = [0u8; LINE_BYTES];
    let mut last_len = 0;
    each_line::<LINE_BYTES>(c"/proc/self/maps".as_ptr().cast(), |text| {
        let name = text.iter().position(|b| *b == b'/' || *b == b'[');
        let name = name.and_then(|at| text.get(at..)).unwrap_or(&[]);
        if name.starts_with(b"/") {
            let first = last.get(..last_len) != Some(name);
            if first {
                last_len = name.len();
                last[..last_len].copy_from_slice(name);
            }
            // "start-end rwxp ..."
            let rights = text.iter().position(|b| *b == b' ').unwrap_or(0);
            let executable = text.get(rights + 3) == Some(&b'x');
            let addresses = range(text);
            let code = if executable { addresses } else { None };
            let start = addresses.map_or(0, |(start, _)| start);
            let range = text.get(..rights).unwrap_or(&[]);
            file(Mapped { path: name, first, start, range, code });
            return;
        }
        let kind = match name {
            b"[vdso]" => Name::Vdso,
            name if name.starts_with(b"[vvar") => Name::Vvar,
            _ => return,
        };
        if let (Some(to), Some((start, end))) = (special.get_mut(count), range(text)) {
            *to = Map { start, end, name: kind };
            count += 1;
        }
    });
    count
}

/// Reads a file of the kernel's line by line, as far as `BYTES` of each go; false if it can't be
/// opened. `path` ends with NUL.
pub fn each_line<const BYTES: usize>(path: *const u8, mut each: impl FnMut(&[u8])) -> bool {
    let (mut line, mut len) = ([0u8; BYTES], 0);
    let mut block = [0u8; 4096];
    // SAFETY: own buffers, and a path that ends as the caller says; the descriptor is closed.
    unsafe {
        let fd = sys!(libc::SYS_open, path, libc::O_RDONLY | libc::O_CLOEXEC);
        if fd < 0 {
            return false;
        }
        loop {
            let n = sys!(libc::SYS_read, fd, block.as_mut_ptr(), block.len());
            if n <= 0 {
                break;
            }
            for byte in block.iter().take(n as usize) {
                if *byte != b'\n' {
                    if let Some(to) = line.get_mut(len) {
                        *to = *byte;
                        len += 1;
                    }
                    continue;
                }
                each(line.get(..len).unwrap_or(&[]));
                len = 0;
            }
        }
        sys!(libc::SYS_close, fd);
    }
    true
}

fn range(line: &[u8]) -> Option<(u64, u64)> {
    let mut numbers = [0u64; 2];
    let mut index = 0;
    for byte in line {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'-' if index == 0 => {
                index = 1;
                continue;
            }
            _ => break,
        };
        *numbers.get_mut(index)? = numbers.get(index)? << 4 | u64::from(digit);
    }
    Some((numbers[0], numbers[1]))
}
