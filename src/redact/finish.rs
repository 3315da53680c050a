//! The end of a recording: what was written before it was known to be secret.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use log_format::arena::PLAIN_KEY;

use super::matcher::Secret;
use super::rules::Rules;
use super::stash::{self, Line};
use super::value::Key;
use super::{Redacted, Redactor, Work};
use crate::error::{Error, Result};
use crate::log::chunk::{Encoder, Place};
use crate::log::drain::QUICK_BYTES;
use crate::log::frames::{Frames, log_path};
use crate::log::writer::Writer;
use crate::session::hashes::blake3_of;
use crate::session::manifest::{Manifest, Redactions};
use crate::session::{ARENA, Store};

/// Looks at everything at most so often: each time something new may be learnt.
const ROUNDS_MAX: usize = 4;
/// Largest kept file that is looked at.
const FILE_BYTES_MAX: u64 = 64 << 20;

impl Redactor {
    /// Keeps what is secret beside the arena at `arena` while recording.
    pub fn stash(&mut self, arena: &Path) {
        let Some(work) = &mut self.work else { return };
        work.stash_path = Some(stash::path(arena));
        for secret in work.secrets.clone() {
            work.stash(&secret);
        }
    }

    /// The redactor of a host that was killed, for the session in `dir`: with what it knew, if its
    /// stash is still there, else with the rules alone.
    ///
    /// # Errors
    /// The built-in rules make no sense.
    pub fn recover(dir: &Path, manifest: &Manifest) -> Result<Redactor> {
        if !manifest.options.redact {
            return Ok(Redactor::off());
        }
        let arena = dir.join(ARENA);
        let arena = fs::read_link(&arena).unwrap_or(arena);
        let mut lines = stash::read(&stash::path(&arena)).unwrap_or_default().into_iter();
        let (key, user) = match lines.next() {
            Some(Line::Head { key, rules }) => (Some(Key(key)), rules),
            _ => (None, None),
        };
        let rules = Rules::new(user.as_deref().map(|text| (Path::new("rules"), text)))?;
        let mut work = Work::new(key, rules);
        for line in lines {
            let Line::Secret { value, keep, context, rule } = line else { continue };
            let placeholder = work.placeholder(&value.0, keep);
            // Frames that were written hold placeholders already, which are to be marked.
            let marked = Secret {
                value: placeholder.clone(),
                placeholder: placeholder.clone(),
                keep,
                context: context.0.clone(),
                rule: rule.clone(),
            };
            let (value, context) = (value.0, context.0);
            work.add(Secret { value, placeholder, keep, context, rule });
            work.add(marked);
        }
        work.learnt = false;
        Ok(Redactor { work: Some(Box::new(work)) })
    }

    /// Replaces what is left in the session in `dir`, whose logs are written, and says in the
    /// manifest what was done. The manifest itself is redacted when it is written.
    ///
    /// # Errors
    /// The system's; secrets may then still stand in the session.
    pub fn finish(&mut self, dir: &Path, manifest: &mut Manifest) -> Result<()> {
        let Some(work) = &mut self.work else { return Ok(()) };
        let keys: Vec<u64> = manifest.processes.iter().map(|p| p.key).chain([PLAIN_KEY]).collect();
        keys.iter().for_each(|key| work.end_flows(*key));
        // The root's were looked at before it started.
        for process in &manifest.processes {
            let argv: Vec<Vec<u8>> = process.argv.iter().map(|a| a.0.clone()).collect();
            work.learn_from_program(&[], &argv);
        }
        // What can't be decoded teaches nothing.
        let _ = work.look_at_exchanges(dir, manifest);
        work.files(dir, manifest)?;
        for _ in 0..ROUNDS_MAX {
            if !std::mem::take(&mut work.learnt) {
                break;
            }
            work.refresh();
            for key in &keys {
                work.look_again(dir, *key)?;
            }
            work.files(dir, manifest)?;
        }
        work.rewrite_all(dir, manifest)?;
        work.marks.settle();
        work.marks.write(dir)?;
        manifest.redactions = Redactions { rules: work.counts.clone() };
        Ok(())
    }
}

impl Work {
    /// Looks at a whole log with all that is known now.
    fn look_again(&mut self, dir: &Path, key: u64) -> Result<()> {
        let mut frames = Frames::open(dir, key, true)?;
        let mut raw = Vec::new();
        let mut start = 0;
        self.streams.remove(&key);
        // Without what is going to be changed anyway.
        let mut known = self.late.get(&key).cloned().unwrap_or_default();
        known.sort_by_key(|(at, _)| *at);
        while frames.read(&mut raw)?.is_some() {
            patch(&known, start, &mut raw);
            start += raw.len() as u64;
            self.again(key, &mut raw);
            raw.clear();
        }
        self.end_flows(key);
        Ok(())
    }

    /// Changes the logs that hold something to be changed.
    fn rewrite_all(&mut self, dir: &Path, manifest: &mut Manifest) -> Result<()> {
        for (key, mut patches) in std::mem::take(&mut self.late) {
            patches.sort_by_key(|(at, _)| *at);
            let stored = rewrite(dir, key, &patches, manifest)?;
            if key == PLAIN_KEY {
                manifest.tls.log.stored_bytes = stored;
            } else if let Some(process) = manifest.processes.iter_mut().find(|p| p.key == key) {
                process.stored_bytes = stored;
            }
        }
        manifest.counts.stored_bytes = manifest.processes.iter().map(|p| p.stored_bytes).sum();
        Ok(())
    }

    /// Replaces secrets in kept files: the session then has a copy of its own.
    fn files(&mut self, dir: &Path, manifest: &mut Manifest) -> Result<()> {
        self.refresh();
        for file in manifest.files.iter_mut().filter(|f| f.kept) {
            let path = dir.join(Manifest::kept_path(file.identity));
            let failed = || Error::file("redact", &path);
            let mut content = match content_of(&path).map_err(failed())? {
                Content::Text(content) => content,
                Content::Program => continue,
                Content::Large => {
                    let path = String::from_utf8_lossy(&file.path.0).into_owned();
                    let warning =
                        format!("too large to look for secrets in: {path}, which is kept");
                    if !manifest.warnings.contains(&warning) {
                        manifest.warnings.push(warning);
                    }
                    continue;
                }
            };
            let before = content.clone();
            self.bytes(&mut content);
            if content == before {
                continue;
            }
            let mode = fs::metadata(&path).map_err(failed())?.permissions().mode();
            let mut own =
                tempfile::Builder::new().prefix(".redacted").tempfile_in(dir).map_err(failed())?;
            own.write_all(&content).map_err(failed())?;
            let mode = fs::Permissions::from_mode(mode);
            own.as_file().set_permissions(mode).map_err(failed())?;
            own.persist(&path).map_err(|e| failed()(e.error))?;
            Store::forget_kept(dir, file.identity);
            file.blake3 = blake3_of(&path).map_err(failed())?;
            file.redacted = true;
        }
        Ok(())
    }
}

/// What a kept file holds.
enum Content {
    /// What may hold a secret.
    Text(Vec<u8>),
    /// A program or library, or nearly nothing.
    Program,
    /// More than is looked at.
    Large,
}

fn content_of(path: &Path) -> std::io::Result<Content> {
    let mut file = fs::File::open(path)?;
    let len = file.metadata()?.len();
    let mut head = [0; 4];
    if file.read(&mut head)? < 4 || head == *b"\x7fELF" {
        return Ok(Content::Program);
    }
    if len > FILE_BYTES_MAX {
        return Ok(Content::Large);
    }
    let mut content = Vec::with_capacity(len as usize);
    content.extend_from_slice(&head);
    file.read_to_end(&mut content)?;
    Ok(Content::Text(content))
}

/// Applies patches, in the order of their places, to the part of a log that begins at `start`.
fn patch(patches: &[(u64, Vec<u8>)], start: u64, raw: &mut [u8]) {
    let end = start + raw.len() as u64;
    // None reaches from one frame into the next.
    let first = patches.partition_point(|(at, _)| *at < start);
    for (at, bytes) in patches.get(first..).unwrap_or_default() {
        if *at >= end {
            break;
        }
        let here = at.checked_sub(start).map(|at| at as usize);
        if let Some(here) = here.and_then(|at| raw.get_mut(at..at + bytes.len())) {
            here.copy_from_slice(bytes);
        }
    }
}

/// Writes a log anew with these changes; bytes of its files.
fn rewrite(dir: &Path, key: u64, patches: &[(u64, Vec<u8>)], manifest: &Manifest) -> Result<u64> {
    let scratch = tempfile::Builder::new().prefix(".redacted").tempdir_in(dir);
    let scratch = scratch.map_err(Error::file("create a directory in", dir))?;
    let procs = scratch.path().join("procs");
    fs::create_dir(&procs).map_err(Error::file("create", &procs))?;
    let options = &manifest.options;
    let mut encoder = Encoder::new(options.compress)
        .and_then(|encoder| encoder.quick_first(QUICK_BYTES))
        .map_err(Error::io("set up compression"))?;
    let mut writer = Writer::new(scratch.path(), key);
    let mut frames = Frames::open(dir, key, true)?;
    let mut raw = Vec::new();
    while let Some(header) = frames.read(&mut raw)? {
        patch(patches, writer.bytes, &mut raw);
        let place = Place {
            key,
            seq: header.seq,
            first_record: header.first_record,
            first_step: header.first_step,
        };
        writer
            .append(&mut encoder, place, Redacted(&raw), options.rotate_bytes.max(1))
            .map_err(Error::file("write in", &procs))?;
        raw.clear();
    }
    let mut number = 0;
    loop {
        let (from, to) = (log_path(scratch.path(), key, number), log_path(dir, key, number));
        if from.exists() {
            fs::rename(&from, &to).map_err(Error::file("replace", &to))?;
        } else if to.exists() {
            fs::remove_file(&to).map_err(Error::file("remove", &to))?;
        } else {
            break;
        }
        number += 1;
    }
    Ok(writer.stored_bytes)
}
