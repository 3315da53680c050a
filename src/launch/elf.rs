//! Whether a file is a program that can be recorded, read from its first bytes.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use log_format::privileges::Effect;
use object::elf::{self, FileHeader64};
use object::endian::LittleEndian;
use object::pod;
use object::read::elf::{FileHeader, ProgramHeader};

use super::privileges;
use crate::error::{Error, Result};

/// Bytes read for the headers; program headers stand right behind the ELF header.
const HEAD_BYTES: u64 = 64 * 1024;
/// Longest `#!` line the kernel takes.
const SCRIPT_LINE_MAX: usize = 256;
/// Scripts that name scripts that name ... as many as the kernel follows.
const SCRIPT_DEPTH_MAX: usize = 5;
/// Bytes of an ELF header.
const ELF_HEADER_BYTES: usize = 64;

/// What executing a file comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// A dynamic x86-64 ELF program.
    Elf,
    /// A script, run by this interpreter with this one argument, if any.
    Script {
        /// Path of the interpreter, as written in the script.
        interpreter: PathBuf,
        /// What follows it on the line.
        argument: Option<Vec<u8>>,
    },
}

/// What the kernel puts before a script's path: interpreter and argument, of the innermost script
/// first; empty for an ELF program.
///
/// # Errors
/// As [`check`].
pub fn interpreters(path: &Path) -> Result<Vec<Vec<u8>>> {
    let (mut words, mut at) = (Vec::new(), path.to_owned());
    for _ in 0..=SCRIPT_DEPTH_MAX {
        let Program::Script { interpreter, argument } = check(&at)? else { break };
        let mut before = vec![interpreter.as_os_str().as_encoded_bytes().to_vec()];
        before.extend(argument);
        before.append(&mut words);
        words = before;
        at = interpreter;
    }
    Ok(words)
}

/// Looks at the file that is to be executed.
///
/// # Errors
/// [`Error::NotExecutable`] for what the kernel would refuse, [`Error::ProgramUnusable`] for what
/// can't be intercepted: static, 32-bit, another architecture, setuid.
pub fn check(path: &Path) -> Result<Program> {
    check_depth(path, 0)
}

fn check_depth(path: &Path, depth: usize) -> Result<Program> {
    let refused = |reason: String| Error::NotExecutable { path: path.to_owned(), reason };
    let unusable =
        |reason: &str| Error::ProgramUnusable { path: path.to_owned(), reason: reason.into() };
    let meta = path.metadata().map_err(|e| refused(e.to_string()))?;
    if meta.is_dir() {
        return Err(refused("it is a directory".into()));
    }
    rustix::fs::access(path, rustix::fs::Access::EXEC_OK)
        .map_err(|_| refused("it has no permission to be executed".into()))?;
    let file = match File::open(path) {
        Ok(file) => file,
        Err(_) => return Err(unusable("it may be executed but not read, so it drops preloads")),
    };
    let mut head = Vec::new();
    (&file).take(HEAD_BYTES).read_to_end(&mut head).map_err(|e| refused(e.to_string()))?;
    if let Some(line) = head.strip_prefix(b"#!") {
        let program = script(line).ok_or_else(|| refused("its #! line is empty".into()))?;
        if let Program::Script { interpreter, .. } = &program {
            if depth == SCRIPT_DEPTH_MAX {
                return Err(refused("its interpreters are scripts themselves".into()));
            }
            check_depth(interpreter, depth + 1)?;
        }
        return Ok(program);
    }
    elf(&file, head, &refused, &unusable)?;
    match privileges::of(&file).map_err(|e| refused(e.to_string()))? {
        Effect::Raised(what) => Err(unusable(&format!("it is {what}"))),
        Effect::Randomised if depth > 0 => {
            Err(unusable("it is a script whose interpreter is a setuid program"))
        }
        Effect::Randomised | Effect::None => Ok(Program::Elf),
    }
}

/// The interpreter that a script's first line names, as the kernel reads it.
fn script(line: &[u8]) -> Option<Program> {
    let line = line.get(..SCRIPT_LINE_MAX).unwrap_or(line);
    let line = line.split(|b| *b == b'\n').next().unwrap_or(line).trim_ascii();
    let blank = |b: &u8| *b == b' ' || *b == b'\t';
    let end = line.iter().position(blank).unwrap_or(line.len());
    let (interpreter, argument) = line.split_at(end);
    if interpreter.is_empty() {
        return None;
    }
    let argument = argument.trim_ascii();
    Some(Program::Script {
        interpreter: super::environment::path(interpreter),
        argument: (!argument.is_empty()).then(|| argument.to_vec()),
    })
}

fn elf(
    file: &File,
    mut head: Vec<u8>,
    refused: &dyn Fn(String) -> Error,
    unusable: &dyn Fn(&str) -> Error,
) -> Result<()> {
    if !head.starts_with(&elf::ELFMAG) {
        return Err(refused("it is neither an ELF program nor a script with #!".into()));
    }
    match head.get(4).copied().map(elf::FileClass) {
        Some(elf::ELFCLASS64) => {}
        Some(elf::ELFCLASS32) => return Err(unusable("it is a 32-bit program")),
        _ => return Err(refused("its ELF header is damaged".into())),
    }
    // Parsed from a copy that is aligned as the header's fields ask.
    let Ok((header, _)) = pod::from_bytes::<FileHeader64<LittleEndian>>(&head) else {
        return Err(refused("its ELF header is cut off".into()));
    };
    let endian = LittleEndian;
    if header.e_machine.get(endian) != elf::EM_X86_64 {
        return Err(unusable("it is for another architecture than x86-64"));
    }
    if !matches!(header.e_type.get(endian), elf::ET_EXEC | elf::ET_DYN) {
        return Err(refused("it is an ELF file but no program".into()));
    }
    // Program headers may stand anywhere: if beyond what was read, they are fetched to behind
    // the header, where `object` finds them by a corrected offset.
    let size =
        usize::from(header.e_phnum.get(endian)) * usize::from(header.e_phentsize.get(endian));
    let at = header.e_phoff.get(endian);
    if at.saturating_add(size as u64) > head.len() as u64 {
        let mut table = vec![0; size];
        file.read_exact_at(&mut table, at)
            .map_err(|_| refused("its program headers are cut off".into()))?;
        head.truncate(ELF_HEADER_BYTES);
        head.extend_from_slice(&table);
        head[32..40].copy_from_slice(&(ELF_HEADER_BYTES as u64).to_le_bytes());
    }
    let headers = FileHeader64::<LittleEndian>::parse(&*head)
        .and_then(|header| header.program_headers(endian, &*head))
        .map_err(|_| refused("its program headers are damaged".into()))?;
    if headers.iter().any(|h| h.p_type(endian) == elf::PT_INTERP) {
        Ok(())
    } else {
        Err(unusable("it is statically linked, so nothing can be preloaded into it"))
    }
}

/// The file that a command name means, found as execvp does.
///
/// # Errors
/// [`Error::ProgramMissing`], or [`Error::NotExecutable`] if all that was found can't be executed.
pub fn find(program: &Path) -> Result<PathBuf> {
    let missing = |reason: &str| Error::ProgramMissing {
        program: program.display().to_string(),
        reason: reason.into(),
    };
    if program.as_os_str().is_empty() {
        return Err(missing("its name is empty"));
    }
    if program.as_os_str().as_encoded_bytes().contains(&b'/') {
        return match program.metadata() {
            Ok(_) => Ok(program.to_owned()),
            Err(e) => Err(missing(&e.to_string())),
        };
    }
    let search = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    let mut denied = None;
    for directory in std::env::split_paths(&search) {
        let candidate = directory.join(program);
        match candidate.metadata() {
            Ok(meta) if meta.is_file() => {
                if rustix::fs::access(&candidate, rustix::fs::Access::EXEC_OK).is_ok() {
                    return Ok(candidate);
                }
                denied.get_or_insert(candidate);
            }
            _ => {}
        }
    }
    match denied {
        Some(path) => {
            Err(Error::NotExecutable { path, reason: "it has no permission to be executed".into() })
        }
        None => Err(missing("it is in no directory of PATH")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn file(dir: &Path, name: &str, bytes: &[u8], mode: u32) -> PathBuf {
        let path = dir.join(name);
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a_program_of_this_system_is_usable_and_found_by_name() {
        let path = find(Path::new("true")).unwrap();
        assert_eq!(check(&path).unwrap(), Program::Elf);
        assert_eq!(find(Path::new("no-such-program")).unwrap_err().exit_code(), 127);
        assert_eq!(find(Path::new("/no/such")).unwrap_err().exit_code(), 127);
    }

    #[test]
    fn scripts_lead_to_their_interpreter() {
        let dir = tempfile::tempdir().unwrap();
        let good = file(dir.path(), "good", b"#! /bin/sh -e x\necho", 0o755);
        let expected =
            Program::Script { interpreter: "/bin/sh".into(), argument: Some(b"-e x".to_vec()) };
        assert_eq!(check(&good).unwrap(), expected);
        let nested = format!("#!{} y\n", good.display());
        let nested = file(dir.path(), "nested", nested.as_bytes(), 0o755);
        let words = ["/bin/sh", "-e x", good.to_str().unwrap(), "y"];
        assert_eq!(interpreters(&nested).unwrap(), words.map(|w| w.as_bytes().to_vec()));
        let bad = file(dir.path(), "bad", b"#!/no/such/interpreter\n", 0o755);
        assert_eq!(check(&bad).unwrap_err().exit_code(), 126);
        let own = dir.path().join("own");
        let line = format!("#!{}\n", own.display());
        file(dir.path(), "own", line.as_bytes(), 0o755);
        assert_eq!(check(&own).unwrap_err().exit_code(), 126);
    }

    #[test]
    fn unusable_files_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let program = std::fs::read(find(Path::new("true")).unwrap()).unwrap();
        let with = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = program.clone();
            change(&mut bytes);
            check(&file(dir.path(), name, &bytes, 0o755)).unwrap_err().exit_code()
        };
        assert_eq!(with("text", &|b| *b = b"hello".to_vec()), 126);
        assert_eq!(with("short", &|b| b.truncate(30)), 126);
        assert_eq!(with("bits", &|b| b[4] = 1), 122);
        assert_eq!(with("arm", &|b| b[18] = 183), 122);
        assert_eq!(with("no-headers", &|b| b[56] = 0), 122);
        let plain = file(dir.path(), "plain", &program, 0o644);
        assert_eq!(check(&plain).unwrap_err().exit_code(), 126);
        assert_eq!(check(dir.path()).unwrap_err().exit_code(), 126);
        for cut in 0..200 {
            let _ = check(&file(dir.path(), "cut", &program[..cut], 0o755));
        }
    }
}
