//! The account of accesses: which files a session's program wrote, which hosts it reached, and
//! which programs it ran. Made from the log, so also of a session that was cut short.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::path::{Component, Path, PathBuf};

use log_format::record::{Call, Dir, Kind, extra, note};
use log_format::table::{Act, Effect, OpenFlags, Row, open, opens_for_writing, row};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::launch::environment::path;
use crate::log::scan::file_id;
use crate::session::Session;
use crate::session::manifest::{ByteText, Process};
use crate::stream::connection::{Peer, inet};

/// What was accessed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Access {
    /// Files that were opened for writing, made, changed or removed, by path.
    pub files: Vec<FileAccess>,
    /// Hosts that were connected or sent to, by name and address.
    pub hosts: Vec<HostAccess>,
    /// Programs that were run, in the order of processes and time.
    pub programs: Vec<ProgramAccess>,
    /// What the policy refused.
    pub denied: Vec<Denied>,
    /// Processes whose log is damaged or incomplete: more may have been accessed.
    pub incomplete: Vec<String>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FileAccess {
    /// Its path; relative ones are completed as far as the log tells.
    pub path: String,
    /// What was done, by the calls' names, and how often.
    pub calls: BTreeMap<&'static str, u64>,
    /// Ids of the processes.
    pub processes: Vec<String>,
}

/// One host and port.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HostAccess {
    /// The name that was looked up for the address, if it is known.
    pub name: Option<String>,
    /// The address.
    pub address: SocketAddr,
    /// `tcp` or `udp`.
    pub protocol: &'static str,
    /// Connections, or sockets that sent there.
    pub count: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Ids of the processes.
    pub processes: Vec<String>,
}

/// One run of a program.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProgramAccess {
    /// The file.
    pub path: String,
    /// Its arguments.
    pub argv: Vec<ByteText>,
    /// Id of the process.
    pub process: String,
}

/// What the policy refused.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Denied {
    /// What it was.
    pub what: String,
    /// How often.
    pub count: u64,
    /// Ids of the processes.
    pub processes: Vec<String>,
}

/// Files by path, with calls and processes.
type Files = BTreeMap<PathBuf, (BTreeMap<&'static str, u64>, Vec<String>)>;

/// What of a process decides which file a path names.
#[derive(Clone, Debug, Default)]
struct State {
    cwd: PathBuf,
    open: HashMap<i32, PathBuf>,
}

#[derive(Default)]
struct Collected {
    files: Files,
    hosts: BTreeMap<(SocketAddr, &'static str), HostAccess>,
    programs: Vec<ProgramAccess>,
    denied: BTreeMap<String, (u64, Vec<String>)>,
    children: HashMap<u64, State>,
}

impl Access {
    /// Reads what a session's program accessed.
    ///
    /// # Errors
    /// The log can't be read; damage is told in [`Access::incomplete`].
    pub fn of(session: &Session) -> Result<Access> {
        let manifest = session.manifest();
        let mut all = Collected::default();
        let mut names: HashMap<IpAddr, String> = HashMap::new();
        let id_of = |key: u64| {
            let found = manifest.processes.iter().find(|p| p.key == key);
            found.map_or_else(|| format!("{key:016x}"), |p| p.id.clone())
        };
        for connection in session.traffic()?.connections() {
            let Peer::Inet(peer) = connection.peer else { continue };
            if connection.accepted {
                continue;
            }
            if let Some(host) = connection.host.clone() {
                names.entry(peer.ip().to_canonical()).or_insert(host);
            }
            all.reached(peer, "tcp", connection.error.is_some(), &id_of(connection.process));
        }
        let root = State { cwd: path(&manifest.program.cwd.0), ..State::default() };
        let mut incomplete = Vec::new();
        for (i, process) in manifest.processes.iter().enumerate() {
            let state = match i {
                0 => root.clone(),
                _ => all.children.remove(&process.key).unwrap_or_else(|| root.clone()),
            };
            if i == 0 {
                all.programs.push(ProgramAccess {
                    path: manifest.program.executable.to_string(),
                    argv: manifest.program.argv.clone(),
                    process: process.id.clone(),
                });
            }
            match all.read(session, process, state) {
                Ok(()) if process.complete || session.is_live() => {}
                Ok(()) => incomplete.push(format!("{}: its log ends early", process.id)),
                Err(e @ (Error::Damaged { .. } | Error::SessionNewer { .. })) => {
                    incomplete.push(format!("{}: {e}", process.id));
                }
                Err(e) => return Err(e),
            }
        }
        Ok(all.into_access(&names, incomplete))
    }
}

impl Collected {
    fn reached(&mut self, to: SocketAddr, protocol: &'static str, failed: bool, process: &str) {
        let to = SocketAddr::new(to.ip().to_canonical(), to.port());
        let host = self.hosts.entry((to, protocol)).or_insert_with(|| HostAccess {
            name: None,
            address: to,
            protocol,
            count: 0,
            failed: 0,
            processes: Vec::new(),
        });
        host.count += 1;
        host.failed += u64::from(failed);
        add(&mut host.processes, process);
    }

    fn read(&mut self, session: &Session, process: &Process, mut state: State) -> Result<()> {
        let mut events = session.events(process)?;
        let mut exec: Option<(PathBuf, Vec<ByteText>)> = None;
        // Connected sockets of unknown kind: they count once something is sent.
        let mut datagrams: HashMap<i32, SocketAddr> = HashMap::new();
        while let Some(event) = events.next_event()? {
            let record = &event.record;
            match record.header.kind {
                Kind::Note => {
                    if let Some((note::DENIED, text)) = record.note() {
                        let what = String::from_utf8_lossy(text).into_owned();
                        let (count, processes) = self.denied.entry(what).or_default();
                        *count += 1;
                        add(processes, &process.id);
                    }
                }
                Kind::Start => {
                    if let Some((path, argv)) = exec.take() {
                        let path = path.display().to_string();
                        let process = process.id.clone();
                        self.programs.push(ProgramAccess { path, argv, process });
                    }
                }
                Kind::Yield | Kind::Call => {
                    let Ok(call) = record.call() else { continue };
                    let Some(row) = row(call.nr.into()) else { continue };
                    if row.executes() {
                        let tried = record.header.kind == Kind::Yield;
                        exec = tried.then(|| state.executed(row, &call)).flatten();
                    } else if record.header.kind == Kind::Call {
                        self.call(row, &call, &mut state, &mut datagrams, &process.id);
                    }
                }
                Kind::Clock
                | Kind::Tsc
                | Kind::Signal
                | Kind::ThreadStart
                | Kind::ThreadExit
                | Kind::Exit
                | Kind::Preempt
                | Kind::Shared
                | Kind::Plain => {}
            }
        }
        Ok(())
    }

    fn call(
        &mut self,
        row: &'static Row,
        call: &Call<'_>,
        state: &mut State,
        datagrams: &mut HashMap<i32, SocketAddr>,
        process: &str,
    ) {
        let fd = call.args[0] as u32 as i32;
        if let Effect::Connects = row.effect {
            // A stream's connect is told by the account of connections.
            let to = call.buf(1, Dir::In).and_then(|b| inet(b.bytes));
            match to.filter(|to| call.ret == 0 && to.port() != 0) {
                Some(to) => datagrams.insert(fd, to),
                None => datagrams.remove(&fd),
            };
            return;
        }
        if call.ret < 0 {
            return;
        }
        for child in call.bufs().flatten().filter(|b| b.arg == extra::CHILD) {
            if let Some(key) = child.bytes.first_chunk() {
                self.children.insert(u64::from_le_bytes(*key), state.clone());
            }
        }
        let mut wrote = |path: PathBuf| {
            let (calls, processes) = self.files.entry(path).or_default();
            *calls.entry(row.name).or_default() += 1;
            add(processes, process);
        };
        match row.effect {
            Effect::Opens(path) => {
                let Some(path) = state.path(row, call, path) else { return };
                let flags = match row.open_flags() {
                    Some(OpenFlags::Arg(at)) => call.args.get(at).copied().unwrap_or(0),
                    Some(OpenFlags::How(at)) => call
                        .buf(at as u8, Dir::In)
                        .and_then(|b| b.bytes.first_chunk())
                        .map_or(0, |word| u64::from_le_bytes(*word)),
                    None => open::WRITES,
                };
                if opens_for_writing(flags) && !is_device(&path) {
                    wrote(path.clone());
                }
                state.open.insert(call.ret as i32, path);
            }
            Effect::Paths(acts) => {
                for act in acts {
                    // What a hard link leads to is not changed by making it.
                    let linked = matches!(act, Act::Changes(_)) && row.name.starts_with("link");
                    if let Some(path) = state.path(row, call, act.arg()).filter(|_| !linked) {
                        wrote(path);
                    }
                }
            }
            Effect::ChangesFile => {
                if let Some(path) = state.open.get(&fd) {
                    wrote(path.clone());
                }
            }
            Effect::SendsTo(_) | Effect::SendsMessages => {
                let named = call.bufs().flatten().find_map(|b| {
                    (b.dir == Dir::In && (16..=28).contains(&b.bytes.len()))
                        .then(|| inet(b.bytes))
                        .flatten()
                });
                let connected = datagrams.remove(&fd).filter(|_| named.is_none());
                if let Some(to) = connected.or(named) {
                    self.reached(to, "udp", false, process);
                }
            }
            Effect::Connects | Effect::Binds | Effect::Executes(_) | Effect::None => {
                state.follow(row.name, call);
                if matches!(row.name, "close" | "write" | "writev") {
                    // A socket that is written to as a stream is one.
                    datagrams.remove(&fd);
                }
            }
        }
    }

    fn into_access(self, names: &HashMap<IpAddr, String>, incomplete: Vec<String>) -> Access {
        let streams: Vec<SocketAddr> =
            self.hosts.keys().filter(|(_, p)| *p == "tcp").map(|(to, _)| *to).collect();
        let hosts = self.hosts.into_iter().filter(|((to, protocol), _)| {
            // A stream's sends look like a datagram's; the connection is told already.
            *protocol == "tcp" || !streams.contains(to)
        });
        let mut hosts: Vec<HostAccess> = hosts
            .map(|((to, _), mut host)| {
                host.name = names.get(&to.ip()).cloned();
                host
            })
            .collect();
        hosts.sort_by(|a, b| (&a.name, a.address).cmp(&(&b.name, b.address)));
        let files = self.files.into_iter();
        let denied = self.denied.into_iter();
        Access {
            files: files
                .map(|(path, (calls, processes))| FileAccess {
                    path: path.display().to_string(),
                    calls,
                    processes,
                })
                .collect(),
            hosts,
            programs: self.programs,
            denied: denied
                .map(|(what, (count, processes))| Denied { what, count, processes })
                .collect(),
            incomplete,
        }
    }
}

impl State {
    /// The path in an argument, absolute and without dots.
    fn path(&self, row: &Row, call: &Call<'_>, arg: u8) -> Option<PathBuf> {
        let bytes = call.buf(arg, Dir::In)?.bytes;
        let given = path(bytes.strip_suffix(b"\0").unwrap_or(bytes));
        let dir = row.dir_of(arg).and_then(|at| call.args.get(at)).map(|fd| *fd as u32 as i32);
        let start = match dir {
            Some(fd) if fd != libc::AT_FDCWD => self.open.get(&fd),
            _ => Some(&self.cwd),
        };
        Some(match start {
            Some(dir) => lexical(&dir.join(given)),
            None => given,
        })
    }

    /// The program that an exec would run, and its arguments.
    fn executed(&self, row: &Row, call: &Call<'_>) -> Option<(PathBuf, Vec<ByteText>)> {
        let Effect::Executes(arg) = row.effect else { return None };
        let known = call.buf(extra::FILE, Dir::Extra).and_then(|b| file_id(b.bytes));
        let file = known.map(|(_, name)| path(name)).or_else(|| self.path(row, call, arg))?;
        let argv = call.bufs().flatten().filter(|b| b.dir == Dir::In && b.arg == arg + 1);
        let argv = argv.map(|b| ByteText(b.bytes.strip_suffix(b"\0").unwrap_or(b.bytes).to_vec()));
        Some((file, argv.collect()))
    }

    /// Follows what decides about later paths.
    fn follow(&mut self, name: &str, call: &Call<'_>) {
        let fd = call.args[0] as u32 as i32;
        match name {
            "chdir" => {
                if let Some(b) = call.buf(0, Dir::In) {
                    let to = path(b.bytes.strip_suffix(b"\0").unwrap_or(b.bytes));
                    self.cwd = lexical(&self.cwd.join(to));
                }
            }
            "fchdir" => {
                if let Some(to) = self.open.get(&fd) {
                    self.cwd.clone_from(to);
                }
            }
            "dup" | "dup2" | "dup3" => {
                if let Some(to) = self.open.get(&fd).cloned() {
                    self.open.insert(call.ret as i32, to);
                }
            }
            "close" => {
                self.open.remove(&fd);
            }
            _ => {}
        }
    }
}

/// Devices in which nothing is kept.
fn is_device(path: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let bytes = path.as_os_str().as_bytes();
    !bytes.starts_with(b"/proc/") && log_format::policy::is_always_writable(bytes)
}

fn add(list: &mut Vec<String>, process: &str) {
    if !list.iter().any(|known| known == process) {
        list.push(process.to_owned());
    }
}

/// A path without `.` and `..`.
pub(crate) fn lexical(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            part => out.push(part),
        }
    }
    out
}
