//! The stack of a stopped guest: return addresses, and the functions they are in.

use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{ExplicitModuleSectionInfo, Module, Unwinder};
use log_format::table::Memory;
use object::elf::PF_X;
use object::{
    Object, ObjectSection, ObjectSegment, ObjectSymbol, SectionKind, SegmentFlags, SymbolKind,
};
use serde::Serialize;

/// Most frames reported.
const FRAMES_MAX: usize = 64;
/// Frames that show that a walk goes the right way.
const FRAMES_ENOUGH: usize = 4;
/// How much of the stack is searched for a return address, bytes.
const SCAN_BYTES: u64 = 4096;
/// Longest call instruction, bytes.
const CALL_BYTES: usize = 7;
/// Files larger than this are not read for symbols, bytes.
const FILE_BYTES_MAX: u64 = 512 << 20;

/// One frame of a stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Frame {
    /// Address in the guest.
    #[serde(serialize_with = "hex")]
    pub address: u64,
    /// File that is mapped there, if any.
    pub file: Option<PathBuf>,
    /// Address in that file's own numbering.
    #[serde(serialize_with = "hex")]
    pub offset: u64,
    /// Function, if a symbol covers the address.
    pub function: Option<String>,
    /// Bytes from the function's start.
    pub function_offset: u64,
}

fn hex<S: serde::Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{value:#x}"))
}

/// Memory of another process.
#[derive(Debug)]
pub struct Remote {
    file: File,
}

impl Remote {
    /// The memory of the process `pid`, a descendant of this one.
    ///
    /// # Errors
    /// The system's.
    pub fn open(pid: i32) -> std::io::Result<Remote> {
        Ok(Remote { file: File::open(format!("/proc/{pid}/mem"))? })
    }
}

impl Memory for Remote {
    fn read(&self, addr: u64, into: &mut [u8]) -> bool {
        self.file.read_exact_at(into, addr).is_ok()
    }
}

/// One line of `/proc/<pid>/maps`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Map {
    range: Range<u64>,
    executable: bool,
    offset: u64,
    path: PathBuf,
}

fn maps(pid: i32) -> Vec<Map> {
    let text = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    text.lines().filter_map(map).collect()
}

fn map(line: &str) -> Option<Map> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let rights = words.next()?;
    let offset = words.next()?;
    // Device and inode stand between; the path may hold spaces.
    let path = line.find('/').map_or("", |at| line.get(at..).unwrap_or_default());
    let hex = |text| u64::from_str_radix(text, 16).ok();
    Some(Map {
        range: hex(start)?..hex(end)?,
        executable: rights.contains('x'),
        offset: hex(offset)?,
        path: PathBuf::from(path),
    })
}

/// A mapped ELF file, with what unwinding and naming need.
struct Image {
    path: PathBuf,
    range: Range<u64>,
    /// What is added to the file's own addresses.
    bias: u64,
    /// Start, size, name.
    symbols: Vec<(u64, u64, String)>,
}

/// The frames of the thread of `pid` with these registers, innermost first.
pub fn stack(pid: i32, [rip, rsp, rbp]: [u64; 3]) -> Vec<Frame> {
    let maps = maps(pid);
    let mut unwinder: UnwinderX86_64<Vec<u8>> = UnwinderX86_64::new();
    let mut images: Vec<Image> = Vec::new();
    for map in maps.iter().filter(|m| m.executable && m.path.is_absolute()) {
        if images.iter().any(|i| i.path == map.path) {
            continue;
        }
        let of_file = maps.iter().filter(|m| m.path == map.path);
        let (start, end) = of_file.fold((u64::MAX, 0), |(start, end), m| {
            (start.min(m.range.start), end.max(m.range.end))
        });
        if let Some((module, image)) = load(map, start..end) {
            unwinder.add_module(module);
            images.push(image);
        }
    }
    let guest = Guest { remote: Remote::open(pid).ok(), maps, images, unwinder };
    let in_shim = guest.maps.iter().any(|m| m.range.contains(&rip) && is_shim(&m.path));
    if !in_shim {
        return guest.walk([rip, rsp, rbp]);
    }
    // The guest called a function that the shim stands in for: its return address is the first
    // on the stack from which the rest unwinds.
    let mut longest = Vec::new();
    for at in (0..SCAN_BYTES).step_by(8).map(|i| rsp.wrapping_add(i)) {
        let Some(address) = guest.word(at).filter(|a| guest.is_return_address(*a)) else {
            continue;
        };
        let mut frames = guest.walk([address, at + 8, rbp]);
        // Lookups are of the call, one byte before where it returns to.
        if let Some(first) = frames.first_mut() {
            *first = name(&guest.images, address, address - 1);
        }
        if frames.len() > longest.len() {
            longest = frames;
        }
        if longest.len() >= FRAMES_ENOUGH {
            break;
        }
    }
    longest
}

/// A stopped guest.
struct Guest {
    remote: Option<Remote>,
    maps: Vec<Map>,
    images: Vec<Image>,
    unwinder: UnwinderX86_64<Vec<u8>>,
}

impl Guest {
    fn word(&self, address: u64) -> Option<u64> {
        self.remote.as_ref()?.u64(address)
    }

    /// Whether the address is in a program's code, behind a call.
    fn is_return_address(&self, address: u64) -> bool {
        let map = self.maps.iter().find(|m| m.executable && m.range.contains(&address));
        let mut code = [0; CALL_BYTES];
        let read = |r: &Remote| r.read(address.wrapping_sub(CALL_BYTES as u64), &mut code);
        map.is_some_and(|m| m.path.is_absolute() && !is_shim(&m.path))
            && self.remote.as_ref().is_some_and(read)
            // call rel32, or call through a register or memory: ff /2 of two to seven bytes.
            && (code[CALL_BYTES - 5] == 0xe8
                || (2..=CALL_BYTES).any(|n| {
                    code[CALL_BYTES - n] == 0xff && code[CALL_BYTES - n + 1] >> 3 & 7 == 2
                }))
    }

    fn walk(&self, [rip, rsp, rbp]: [u64; 3]) -> Vec<Frame> {
        let mut read = |address: u64| self.word(address).ok_or(());
        let mut cache = CacheX86_64::<_>::new();
        let registers = UnwindRegsX86_64::new(rip, rsp, rbp);
        let mut frames = Vec::new();
        let mut walk = self.unwinder.iter_frames(rip, registers, &mut cache, &mut read);
        while frames.len() < FRAMES_MAX
            && let Ok(Some(frame)) = walk.next()
        {
            let address = frame.address();
            // Not code: the unwinding has lost its way.
            if !self.maps.iter().any(|m| m.executable && m.range.contains(&address)) {
                break;
            }
            // A return address stands behind the call: the call itself is looked up.
            frames.push(name(&self.images, address, frame.address_for_lookup()));
        }
        frames
    }
}

fn is_shim(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("rr-run-") && name.ends_with(".so")
}

fn load(map: &Map, range: Range<u64>) -> Option<(Module<Vec<u8>>, Image)> {
    let meta = fs::metadata(&map.path).ok()?;
    if !meta.is_file() || meta.len() > FILE_BYTES_MAX {
        return None;
    }
    let bytes = fs::read(&map.path).ok()?;
    let file = object::File::parse(&*bytes).ok()?;
    // The segment that this mapping shows says how far addresses are moved. Segments that are no
    // code may end in the page that it begins in.
    let segment = file.segments().find(|s| {
        let (offset, size) = s.file_range();
        let code =
            matches!(s.flags(), SegmentFlags::Elf { p_flags, .. } if p_flags.0 & PF_X.0 != 0);
        code && (offset & !0xfff..offset + size).contains(&map.offset)
    })?;
    let bias = map
        .range
        .start
        .wrapping_sub(map.offset)
        .wrapping_add(segment.file_range().0)
        .wrapping_sub(segment.address());
    let section = |name: &str| {
        let section = file.section_by_name(name)?;
        let data = section.uncompressed_data().ok()?.into_owned();
        Some((section.address()..section.address() + section.size(), data))
    };
    let split = |found: Option<(Range<u64>, Vec<u8>)>| found.unzip();
    let (text_svma, text) = split(section(".text"));
    let (eh_frame_svma, eh_frame) = split(section(".eh_frame"));
    let (eh_frame_hdr_svma, eh_frame_hdr) = split(section(".eh_frame_hdr"));
    let (got_svma, _) = split(section(".got"));
    let info = ExplicitModuleSectionInfo {
        base_svma: 0,
        text_svma,
        text,
        eh_frame_svma,
        eh_frame,
        eh_frame_hdr_svma,
        eh_frame_hdr,
        got_svma,
        ..Default::default()
    };
    let module = Module::new(map.path.display().to_string(), range.clone(), bias, info);
    Some((module, Image { path: map.path.clone(), range, bias, symbols: symbols(&file) }))
}

fn symbols(file: &object::File<'_>) -> Vec<(u64, u64, String)> {
    let code = |index| {
        let section = file.section_by_index(index);
        section.is_ok_and(|s| s.kind() == SectionKind::Text)
    };
    let mut symbols: Vec<(u64, u64, String)> = file
        .symbols()
        .chain(file.dynamic_symbols())
        .filter(|s| s.is_definition())
        .filter(|s| s.kind() == SymbolKind::Text || s.section_index().is_some_and(code))
        .filter_map(|s| Some((s.address(), s.size(), s.name().ok()?.to_owned())))
        .collect();
    symbols.sort();
    symbols
}

fn name(images: &[Image], address: u64, lookup: u64) -> Frame {
    let mut frame =
        Frame { address, file: None, offset: address, function: None, function_offset: 0 };
    let Some(image) = images.iter().find(|i| i.range.contains(&lookup)) else { return frame };
    frame.file = Some(image.path.clone());
    frame.offset = address.wrapping_sub(image.bias);
    let wanted = lookup.wrapping_sub(image.bias);
    let at = image.symbols.partition_point(|(start, ..)| *start <= wanted);
    let found = image.symbols[..at].iter().rev().take(8).find(|(start, size, _)| {
        // Hand-written code has symbols without a size.
        *size == 0 || wanted < start + size
    });
    if let Some((start, _, name)) = found {
        frame.function = Some(demangle(name));
        frame.function_offset = frame.offset.wrapping_sub(*start);
    }
    frame
}

/// The name as its language writes it.
fn demangle(name: &str) -> String {
    if let Ok(rust) = rustc_demangle::try_demangle(name) {
        return format!("{rust:#}");
    }
    let options = cpp_demangle::DemangleOptions::default().no_params().no_return_type();
    let cpp =
        cpp_demangle::Symbol::new(name).ok().and_then(|s| s.demangle_with_options(&options).ok());
    cpp.unwrap_or_else(|| name.to_owned())
}

impl std::fmt::Display for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#018x}", self.address)?;
        if let Some(function) = &self.function {
            write!(f, " {function}+{:#x}", self.function_offset)?;
        }
        match &self.file {
            Some(file) => {
                let name = file.file_name().map_or(file.as_path(), Path::new);
                write!(f, " ({}+{:#x})", name.display(), self.offset)
            }
            None => write!(f, " (no file)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_maps_is_understood() {
        let line = "7f00-7fff r-xp 00001000 fd:00 9   /usr/lib/a b.so (deleted)";
        let parsed = map(line).unwrap();
        assert_eq!((parsed.range, parsed.offset, parsed.executable), (0x7f00..0x7fff, 4096, true));
        assert_eq!(parsed.path, Path::new("/usr/lib/a b.so (deleted)"));
        assert_eq!(map("7f00-7fff rw-p 00000000 00:00 0 [stack]").unwrap().path, Path::new(""));
        assert_eq!(map("rubbish"), None);
    }

    #[test]
    fn a_function_of_this_program_is_named() {
        #[inline(never)]
        fn here() -> u64 {
            here as fn() -> u64 as usize as u64
        }
        let frames = stack(std::process::id() as i32, [here() + 1, 0, 0]);
        let function = frames.first().and_then(|f| f.function.clone()).unwrap();
        assert!(function.contains("a_function_of_this_program_is_named::here"), "{function}");
    }
}
