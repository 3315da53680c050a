//! A session as one portable file: a zstd-compressed tar archive.
//!
//! ```text
//! manifest.json              first, so that a reader knows what follows
//! redactions                 where placeholders stand, if there are any
//! procs/<key>.<n>.log
//! files/<identity>           kept copies, and files that no package of the system has
//! rules.toml                 accepted differences of network replays, if there are any
//! layers/<n>.jsonl           what hybrid runs have added
//! runs/<n>.json              accounts of network replays
//! ```

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Component, Path, PathBuf};

use tar::{Archive, Builder, EntryType, Header};

use super::hashes::blake3_of;
use super::verify::verify;
use super::{MANIFEST, MANIFEST_BYTES_MAX, Manifest, Session, Store, lock};
use crate::error::{Error, Result};
use crate::player::layer::LAYERS;
use crate::player::report::{ACCEPTED, RUNS};
use crate::redact::{Redactor, marks};

/// Ending of packed sessions' names.
pub const ENDING: &str = "rrpack";
/// zstd level: a little smaller than what is compressed already.
const LEVEL: i32 = 3;

/// What packing did.
#[derive(Clone, Debug, Default)]
pub struct Packed {
    /// Bytes of the file.
    pub bytes: u64,
    /// Files of the machine that were added to the session's own copies.
    pub added: usize,
    /// Files that are neither the system's nor kept, and can't be had any more.
    pub missing: Vec<PathBuf>,
}

/// Packs a session into a new file at `to`, with the mapped and executed files that are not the
/// system's (or all of them).
///
/// # Errors
/// [`Error::SessionBusy`], or the system's; an existing file is not replaced.
pub fn pack(session: &Session, to: &Path, all_files: bool) -> Result<Packed> {
    let Some(_lock) = lock(session.dir())? else {
        return Err(Error::SessionBusy { name: session.name().to_owned() });
    };
    let failed = || Error::file("write", to);
    let parent = match to.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    let file = builder.prefix(".rr-run-pack").tempfile_in(parent).map_err(failed())?;
    let (manifest, sources, mut packed) = contents(session, all_files);
    let encoder = zstd::Encoder::new(BufWriter::new(file), LEVEL).map_err(failed())?;
    let mut tar = Builder::new(encoder);
    let json = serde_json::to_vec_pretty(&manifest).map_err(|e| failed()(e.into()))?;
    append(&mut tar, Path::new(MANIFEST), json.len() as u64, &json[..]).map_err(failed())?;
    let inside = |name: &Path| session.dir().join(name);
    for name in [marks::FILE, ACCEPTED].map(Path::new) {
        if inside(name).exists() {
            add(&mut tar, name, &inside(name), to)?;
        }
    }
    for dir in ["procs", LAYERS, RUNS] {
        for name in known_in(session, dir)? {
            add(&mut tar, &name, &inside(&name), to)?;
        }
    }
    for (identity, source) in sources {
        add(&mut tar, &Manifest::kept_path(identity), &source, to)?;
    }
    let buffered = tar.into_inner().and_then(|encoder| encoder.finish()).map_err(failed())?;
    let file = buffered.into_inner().map_err(|e| failed()(e.into_error()))?;
    packed.bytes = file.as_file().metadata().map_err(failed())?.len();
    file.persist_noclobber(to).map_err(|e| failed()(e.error))?;
    Ok(packed)
}

/// The manifest of the packed session, and where its files are now.
fn contents(session: &Session, all_files: bool) -> (Manifest, Vec<(u64, PathBuf)>, Packed) {
    let mut manifest = session.manifest().clone();
    let mut sources = Vec::new();
    let mut packed = Packed::default();
    for file in &mut manifest.files {
        let copy = session.dir().join(Manifest::kept_path(file.identity));
        if file.kept && copy.is_file() {
            sources.push((file.identity, copy));
            continue;
        }
        if file.system && !all_files {
            continue;
        }
        let place = file.path.as_path().to_owned();
        if !file.blake3.is_empty() && blake3_of(&place).is_ok_and(|hash| hash == file.blake3) {
            file.kept = true;
            packed.added += 1;
            sources.push((file.identity, place));
        } else {
            packed.missing.push(place);
        }
    }
    (manifest, sources, packed)
}

/// Names of the files in a directory of the session that are packed, sorted.
fn known_in(session: &Session, dir: &str) -> Result<Vec<PathBuf>> {
    let path = session.dir().join(dir);
    let failed = || Error::file("list", &path);
    let mut names = Vec::new();
    let entries = match fs::read_dir(&path) {
        // Not every session was replayed.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(names),
        entries => entries.map_err(failed())?,
    };
    for entry in entries {
        names.push(Path::new(dir).join(entry.map_err(failed())?.file_name()));
    }
    names.retain(|name| is_known(name));
    names.sort();
    Ok(names)
}

fn add(tar: &mut Builder<impl Write>, name: &Path, source: &Path, to: &Path) -> Result<()> {
    let file = File::open(source).map_err(Error::file("read", source))?;
    let len = file.metadata().map_err(Error::file("read", source))?.len();
    // Not more than was announced, should it grow meanwhile.
    append(tar, name, len, file.take(len)).map_err(Error::file("write", to))
}

fn append(
    tar: &mut Builder<impl Write>,
    name: &Path,
    len: u64,
    data: impl Read,
) -> std::io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_size(len);
    header.set_mode(0o600);
    tar.append_data(&mut header, name, data)
}

/// Unpacks a session into a store, under its own name or another; its directory.
///
/// Nothing is left behind unless the session is whole.
///
/// # Errors
/// [`Error::Damaged`], [`Error::SessionNewer`], [`Error::SessionExists`], or the system's.
pub fn unpack(store: &Store, from: &Path, name: Option<&str>) -> Result<PathBuf> {
    let file = File::open(from).map_err(Error::file("read", from))?;
    let scratch = store.scratch()?;
    extract(BufReader::new(file), from, scratch.path())?;
    let mut manifest = super::read_manifest(scratch.path())?;
    if let Some(name) = name {
        manifest.name = name.to_owned();
        super::write_manifest(scratch.path(), &manifest, &mut Redactor::off())?;
    }
    let report = verify(&Session::open(scratch.path())?)?;
    let of_process = report.processes.iter().find_map(|p| p.problem.clone());
    if let Some(problem) = report.problems.first().cloned().or(of_process) {
        return Err(damaged(from, problem));
    }
    store.adopt(scratch, &manifest.name)
}

/// Writes the archive's files into `dir`, and nothing anywhere else.
fn extract(from: impl Read, archive: &Path, dir: &Path) -> Result<()> {
    let broken = |e: std::io::Error| damaged(archive, e.to_string());
    let decoder = zstd::Decoder::new(from).map_err(broken)?;
    let mut archive_reader = Archive::new(decoder);
    for entry in archive_reader.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let name = entry.path().map_err(broken)?.into_owned();
        let regular = entry.header().entry_type() == EntryType::Regular;
        if !regular || !is_known(&name) {
            let what = format!("it holds '{}', which no session has", name.display());
            return Err(damaged(archive, what));
        }
        let size = entry.size();
        if name == Path::new(MANIFEST) && size > MANIFEST_BYTES_MAX {
            return Err(damaged(archive, "its manifest is too large"));
        }
        let to = dir.join(&name);
        let failed = || Error::file("write", &to);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).map_err(failed())?;
        }
        // A second file of the same name is refused.
        let mut file = File::create_new(&to).map_err(failed())?;
        let copied = std::io::copy(&mut entry, &mut file).map_err(failed())?;
        if copied != size {
            return Err(damaged(archive, format!("'{}' is cut short", name.display())));
        }
    }
    Ok(())
}

fn damaged(path: &Path, what: impl Into<String>) -> Error {
    Error::damaged(path, what, "nothing was unpacked")
}

/// Whether a session can have a file of this name: relative, and one of the known forms.
fn is_known(name: &Path) -> bool {
    let parts: Option<Vec<&str>> = name
        .components()
        .map(|part| match part {
            Component::Normal(part) => part.to_str(),
            _ => None,
        })
        .collect();
    match parts.as_deref() {
        Some([one]) => [MANIFEST, marks::FILE, ACCEPTED].contains(one),
        Some(["procs", log]) => is_log(log),
        Some([LAYERS, layer]) => is_numbered(layer, ".jsonl"),
        Some([RUNS, run]) => is_numbered(run, ".json"),
        Some(["files", file]) => is_hex16(file),
        _ => false,
    }
}

fn is_numbered(name: &str, ending: &str) -> bool {
    let number = name.strip_suffix(ending).unwrap_or_default();
    (1..=9).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit())
}

fn is_hex16(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// `<16 hex digits>.<number>.log`.
fn is_log(name: &str) -> bool {
    let parts: Vec<&str> = name.split('.').collect();
    matches!(parts[..], [key, number, "log"] if is_hex16(key) && number.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_relative_names_are_unpacked() {
        for good in [
            "manifest.json",
            "procs/0000000000000001.0.log",
            "files/00000000000000ff",
            "rules.toml",
            "layers/0001.jsonl",
            "runs/0012.json",
        ] {
            assert!(is_known(Path::new(good)), "{good}");
        }
        for bad in [
            "../manifest.json",
            "/etc/passwd",
            "procs/../../x",
            "procs/0000000000000001.0.log/x",
            "files/../manifest.json",
            "files/xyz",
            "layers/0001.json",
            "runs/.json",
            "lock",
            "",
        ] {
            assert!(!is_known(Path::new(bad)), "{bad}");
        }
    }

    #[test]
    fn an_archive_with_another_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut tar = Builder::new(zstd::Encoder::new(Vec::new(), 1).unwrap());
        let mut header = Header::new_gnu();
        // The crate itself refuses to write such a name, so it is put in by hand.
        let name = b"../evil";
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_size(1);
        header.set_entry_type(EntryType::Regular);
        header.set_cksum();
        tar.append(&header, &b"x"[..]).unwrap();
        let bytes = tar.into_inner().unwrap().finish().unwrap();
        let inside = dir.path().join("inside");
        fs::create_dir(&inside).unwrap();
        let error = extract(&bytes[..], Path::new("a.rrpack"), &inside).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
        assert!(!dir.path().join("evil").exists());
        // Cut anywhere, an archive is an error and never a panic.
        for len in 0..bytes.len() {
            let _ = extract(&bytes[..len], Path::new("a.rrpack"), &inside);
        }
    }

    #[test]
    fn a_packed_session_comes_back_with_the_files_it_used() {
        use crate::session::manifest::{ByteText, File as Mapped};
        use crate::session::sample::{Log, session};

        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(Some(&dir.path().join("one"))).unwrap();
        let mut log = Log::default();
        log.clock(1).stdout(0, b"hi").exit(0);
        let original = session(&store, "a", &[(1, log)]);
        let used = dir.path().join("library.so");
        fs::write(&used, b"content").unwrap();
        let mut manifest = original.manifest().clone();
        let path = ByteText::from(&used);
        let blake3 = blake3_of(&used).unwrap();
        manifest.files.push(Mapped { path, identity: 0xab, size: 7, blake3, ..Mapped::default() });
        let off = &mut Redactor::off();
        crate::session::write_manifest(original.dir(), &manifest, off).unwrap();
        let original = Session::open(original.dir()).unwrap();

        let file = dir.path().join("a.rrpack");
        let packed = pack(&original, &file, false).unwrap();
        assert_eq!((packed.added, packed.missing.len()), (1, 0));
        assert!(pack(&original, &file, false).is_err(), "an existing file is not replaced");

        let other = Store::new(Some(&dir.path().join("two"))).unwrap();
        let back = unpack(&other, &file, None).unwrap();
        let back = Session::open(&back).unwrap();
        assert_eq!(back.manifest().processes, original.manifest().processes);
        assert!(back.manifest().files[0].kept);
        assert_eq!(fs::read(back.dir().join("files/00000000000000ab")).unwrap(), b"content");
        assert!(matches!(unpack(&other, &file, None), Err(Error::SessionExists { .. })));
        assert!(unpack(&other, &file, Some("../b")).is_err());
        unpack(&other, &file, Some("b")).unwrap();

        // Damage anywhere leaves nothing behind.
        let mut bytes = fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        fs::write(&file, &bytes).unwrap();
        assert!(unpack(&other, &file, Some("c")).is_err());
        let left = fs::read_dir(other.dir()).unwrap().count();
        assert_eq!(left, 2, "only the two sessions are there");
    }
}
