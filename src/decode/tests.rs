use log_format::record::{BUF_INDIRECT, Header, buf_words, call_words};
use proptest::prelude::*;
use serde_json::json;

use super::*;

/// A buffer of a call: argument, direction, flags, address, content.
type Part<'a> = (u8, Dir, u16, u64, &'a [u8]);

const IN: Dir = Dir::In;
const OUT: Dir = Dir::Out;

fn record_bytes(kind: Kind, flags: u8, thread: u16, body: &[u8]) -> Vec<u8> {
    let len = (8 + body.len()).next_multiple_of(8);
    let header = Header { kind, flags, thread, len: len as u32 };
    let mut out = header.to_word().to_le_bytes().to_vec();
    out.extend(body);
    out.resize(len, 0);
    out
}

fn call_body(nr: u16, args: &[u64], ret: i64, parts: &[Part]) -> Vec<u8> {
    let mut words = call_words(nr, args.len() as u8, parts.len() as u16, ret).to_vec();
    words.extend(args);
    let mut body: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    for (arg, dir, flags, addr, bytes) in parts {
        let words = buf_words(bytes.len() as u32, *arg, *dir, *flags, *addr);
        body.extend(words.iter().flat_map(|w| w.to_le_bytes()));
        body.extend(*bytes);
        body.resize(body.len().next_multiple_of(8), 0);
    }
    body
}

fn shown(kind: Kind, flags: u8, body: &[u8]) -> String {
    let bytes = record_bytes(kind, flags, 2, body);
    record(&Record::parse(&bytes).unwrap(), &Options::default())
}

/// A call by its name: what `show` prints for it.
fn shows(name: &str, args: &[u64], ret: i64, parts: &[Part]) -> String {
    let row = table::ROWS.iter().find(|row| row.name == name).unwrap();
    assert_eq!(row.args.len(), args.len(), "arguments of {name}");
    shown(Kind::Call, 0, &call_body(row.nr, args, ret, parts))
}

fn words(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

const CWD: u64 = -100i64 as u64;

#[test]
fn data_is_quoted_and_cut() {
    assert_eq!(
        shows("read", &[3, 0x1000, 8192], 16, &[(1, OUT, 0, 0x1000, b"GET / HTTP/1.1\r\n")]),
        r#"read(3, "GET / HTTP/1.1\r\n", 8192) = 16"#
    );
    assert_eq!(shows("read", &[3, 0x1000, 10], 0, &[]), "read(3, \"\", 10) = 0");
    let long = [b'x'; 100];
    assert_eq!(
        shows("write", &[1, 0x1000, 100], 100, &[(1, IN, 0, 0x1000, &long)]),
        format!("write(1, \"{}\"..., 100) = 100", "x".repeat(64))
    );
    assert_eq!(
        shows(
            "writev",
            &[1, 0x1000, 2],
            4,
            &[(1, IN, BUF_INDIRECT, 0x2000, b"ab"), (1, IN, BUF_INDIRECT, 0x3000, b"\0\x7f"),]
        ),
        r#"writev(1, ["ab", "\0\177"], 2) = 4"#
    );
}

#[test]
fn a_failed_call_shows_its_error_and_addresses() {
    assert_eq!(
        shows("read", &[3, 0x1000, 10], -11, &[]),
        "read(3, 0x1000, 10) = -1 EAGAIN (Resource temporarily unavailable)"
    );
    let addr = [2, 0, 0x1f, 0x90, 127, 0, 0, 1];
    assert_eq!(
        shows("connect", &[3, 0x1000, 16], -111, &[(1, IN, 0, 0x1000, &addr)]),
        "connect(3, {AF_INET, 127.0.0.1:8080}, 16) = -1 ECONNREFUSED (Connection refused)"
    );
    assert_eq!(
        shows("pause", &[], -512, &[]),
        "pause() = ? ERESTARTSYS (To be restarted if SA_RESTART is set)"
    );
}

#[test]
fn files_have_paths_modes_and_flags() {
    let hosts: Part = (1, IN, 0, 0x1000, b"/etc/hosts\0");
    assert_eq!(
        shows("openat", &[CWD, 0x1000, 0o2000000, 0o7777], 3, &[hosts]),
        r#"openat(AT_FDCWD, "/etc/hosts", O_RDONLY|O_CLOEXEC) = 3"#
    );
    assert_eq!(
        shows("openat", &[CWD, 0x1000, 0o101, 0o644], 3, &[hosts]),
        r#"openat(AT_FDCWD, "/etc/hosts", O_WRONLY|O_CREAT, 0644) = 3"#
    );
    let mut stat = [0; 144];
    stat[24..28].copy_from_slice(&0o100644u32.to_le_bytes());
    stat[48..56].copy_from_slice(&1234u64.to_le_bytes());
    assert_eq!(
        shows("newfstatat", &[CWD, 0x1000, 0x2000, 0x100], 0, &[hosts, (2, OUT, 0, 0x2000, &stat)]),
        "newfstatat(AT_FDCWD, \"/etc/hosts\", {st_mode=S_IFREG|0644, st_size=1234, ...}, \
         AT_SYMLINK_NOFOLLOW) = 0"
    );
    let entries = b"\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x18\0\x04..\0\0\0";
    assert_eq!(
        shows("getdents64", &[3, 0x1000, 32768], 24, &[(1, OUT, 0, 0x1000, entries)]),
        r#"getdents64(3, [{d_type=DT_DIR, d_name=".."}], 32768) = 24"#
    );
    assert_eq!(
        shows("pipe2", &[0x1000, 0o2000000], 0, &[(0, OUT, 0, 0x1000, &[3, 0, 0, 0, 4, 0, 0, 0])]),
        "pipe2([3, 4], O_CLOEXEC) = 0"
    );
    assert_eq!(shows("fcntl", &[3, 3, 0xdead], 2, &[]), "fcntl(3, F_GETFL) = 0x2 (flags O_RDWR)");
    assert_eq!(
        shows("sendfile", &[4, 3, 0x1000, 16], 16, &[(2, OUT, 0, 0x1000, &words(&[24]))]),
        "sendfile(4, 3, [24], 16) = 16"
    );
    assert_eq!(
        shows("fcntl", &[3, 4, 0o4000], 0, &[]),
        "fcntl(3, F_SETFL, O_RDONLY|O_NONBLOCK) = 0"
    );
    let size = [24, 0, 80, 0, 0, 0, 0, 0];
    assert_eq!(
        shows("ioctl", &[1, 0x5413, 0x1000], 0, &[(2, OUT, 0, 0x1000, &size)]),
        "ioctl(1, TIOCGWINSZ, {ws_row=24, ws_col=80, ws_xpixel=0, ws_ypixel=0}) = 0"
    );
    assert_eq!(
        shows("ioctl", &[1, 0x5401, 0x1000], -25, &[]),
        "ioctl(1, TCGETS, 0x1000) = -1 ENOTTY (Inappropriate ioctl for device)"
    );
}

#[test]
fn waiting_shows_events_and_times() {
    let fds = [3, 0, 0, 0, 1, 0, 1, 0, 5, 0, 0, 0, 4, 0, 0, 0];
    assert_eq!(
        shows("poll", &[0x1000, 2, -1i32 as u32 as u64], 1, &[(0, OUT, 0, 0x1000, &fds)]),
        "poll([{fd=3, events=POLLIN, revents=POLLIN}, {fd=5, events=POLLOUT}], 2, -1) = 1"
    );
    let event = [1, 0, 0, 0x80, 5, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(
        shows("epoll_wait", &[4, 0x1000, 64, 0], 1, &[(1, OUT, 0, 0x1000, &event)]),
        "epoll_wait(4, [{events=EPOLLIN|EPOLLET, data={u32=5, u64=5}}], 64, 0) = 1"
    );
    assert_eq!(shows("epoll_wait", &[4, 0x1000, 64, 0], 0, &[]), "epoll_wait(4, [], 64, 0) = 0");
    assert_eq!(
        shows("epoll_ctl", &[3, 1, 4, 0x1000], 0, &[(3, IN, 0, 0x1000, &event)]),
        "epoll_ctl(3, EPOLL_CTL_ADD, 4, {events=EPOLLIN|EPOLLET, data={u32=5, u64=5}}) = 0"
    );
    let set = words(&[0b101000]);
    let time = words(&[1, 500]);
    assert_eq!(
        shows(
            "select",
            &[6, 0x1000, 0, 0, 0x2000],
            1,
            &[(1, OUT, 0, 0x1000, &set), (4, OUT, 0, 0x2000, &time),]
        ),
        "select(6, [3 5], NULL, NULL, {tv_sec=1, tv_usec=500}) = 1"
    );
    assert_eq!(
        shows("clock_nanosleep", &[1, 1, 0x1000, 0], 0, &[(2, IN, 0, 0x1000, &words(&[9, 7]))]),
        "clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, {tv_sec=9, tv_nsec=7}, NULL) = 0"
    );
    assert_eq!(
        shows("futex", &[0x1000, 0x80, 2, 0, 77, 77], 0, &[]),
        "futex(0x1000, FUTEX_WAIT_PRIVATE, 2, NULL) = 0"
    );
    assert_eq!(
        shows("futex", &[0x1000, 0x81, 1, 77, 77, 77], 1, &[]),
        "futex(0x1000, FUTEX_WAKE_PRIVATE, 1) = 1"
    );
}

#[test]
fn sockets_have_addresses_options_and_messages() {
    assert_eq!(
        shows("socket", &[2, 0o2000001, 6], 3, &[]),
        "socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, 6) = 3"
    );
    assert_eq!(
        shows("setsockopt", &[3, 6, 1, 0x1000, 4], 0, &[(3, IN, 0, 0x1000, &[1, 0, 0, 0])]),
        "setsockopt(3, SOL_TCP, TCP_NODELAY, [1], 4) = 0"
    );
    let addr = [2, 0, 0, 80, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(
        shows(
            "accept4",
            &[3, 0x1000, 0x2000, 0o2000000],
            4,
            &[(1, OUT, 0, 0x1000, &addr), (2, OUT, 0, 0x2000, &[16, 0, 0, 0]),]
        ),
        "accept4(3, {AF_INET, 10.0.0.1:80}, [16], SOCK_CLOEXEC) = 4"
    );
    let header = words(&[0x5000, 16, 0x6000, 1, 0x7000, 24, 0]);
    let rights = [20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(
        shows(
            "recvmsg",
            &[3, 0x1000, 0x40],
            2,
            &[
                (1, OUT, BUF_INDIRECT, 0x1000, &header),
                (1, OUT, BUF_INDIRECT, 0x5000, &addr),
                (1, OUT, BUF_INDIRECT, 0x8000, b"hi"),
                (1, OUT, BUF_INDIRECT, 0x7000, &rights),
            ]
        ),
        "recvmsg(3, {msg_name={AF_INET, 10.0.0.1:80}, msg_iov=[\"hi\"], \
         msg_control=[{SCM_RIGHTS, [9]}], msg_flags=0}, MSG_DONTWAIT) = 2"
    );
    let header = words(&[0, 0, 0x6000, 1, 0, 0, 0]);
    assert_eq!(
        shows(
            "sendmmsg",
            &[3, 0x1000, 2, 0],
            2,
            &[
                (1, IN, BUF_INDIRECT, 0x1000, &header),
                (1, IN, BUF_INDIRECT, 0x8000, b"one"),
                (1, OUT, BUF_INDIRECT, 0x1038, &[3, 0, 0, 0]),
                (1, IN, BUF_INDIRECT, 0x1040, &header),
                (1, IN, BUF_INDIRECT, 0x9000, b"two"),
                (1, OUT, BUF_INDIRECT, 0x1078, &[3, 0, 0, 0]),
            ]
        ),
        "sendmmsg(3, [{msg_iov=[\"one\"], msg_flags=0}, {msg_iov=[\"two\"], msg_flags=0}], 2, 0) \
         = 2"
    );
}

#[test]
fn processes_have_arguments_statuses_and_keys() {
    let parts: [Part; 4] = [
        (0, IN, 0, 0x1000, b"/bin/ls\0"),
        (1, IN, BUF_INDIRECT, 0x2000, b"ls\0"),
        (1, IN, BUF_INDIRECT, 0x2010, b"-l\0"),
        (2, IN, BUF_INDIRECT, 0x3000, b"HOME=/\0"),
    ];
    assert_eq!(
        shows("execve", &[0x1000, 0x1800, 0x1900], 0, &parts),
        r#"execve("/bin/ls", ["ls", "-l"], [/* 1 vars */]) = 0"#
    );
    assert_eq!(
        shows("wait4", &[-1i64 as u64, 0x1000, 0, 0], 77, &[(1, OUT, 0, 0x1000, &[0, 3, 0, 0])]),
        "wait4(-1, [{WIFEXITED(s) && WEXITSTATUS(s) == 3}], 0, NULL) = 77"
    );
    assert_eq!(
        shows("fork", &[], 77, &[(extra::CHILD, Dir::Extra, 0, 0, &words(&[0xabc]))]),
        "fork() = 77 /* process 0000000000000abc */"
    );
    assert_eq!(
        shows(
            "clone3",
            &[0x1000, 64],
            78,
            &[(0, IN, 0, 0x1000, &words(&[0x4100, 0, 0, 0, 17, 0x7000, 0x800, 0])),]
        ),
        "clone3({flags=CLONE_VM|CLONE_VFORK, stack=0x7000, exit_signal=SIGCHLD, \
         stack_size=0x800}, 64) = 78"
    );
    assert_eq!(
        shows(
            "sigaltstack",
            &[0x1000, 0x2000],
            0,
            &[
                (0, IN, 0, 0x1000, &words(&[0x7000, 0, 0x2000])),
                (1, OUT, 0, 0x2000, &words(&[0, 2, 0])),
            ]
        ),
        "sigaltstack({ss_sp=0x7000, ss_flags=0, ss_size=8192}, {ss_flags=SS_DISABLE}) = 0"
    );
    assert_eq!(
        shows("prctl", &[15, 0x1000, 7, 7, 7], 0, &[(1, IN, 0, 0x1000, b"worker\0")]),
        r#"prctl(PR_SET_NAME, "worker") = 0"#
    );
    assert_eq!(shows("kill", &[77, 15], 0, &[]), "kill(77, SIGTERM) = 0");
    assert_eq!(
        shows(
            "rt_sigprocmask",
            &[0, 0x1000, 0x2000, 8],
            0,
            &[(1, IN, 0, 0x1000, &words(&[1 << 16])), (2, OUT, 0, 0x2000, &words(&[0])),]
        ),
        "rt_sigprocmask(SIG_BLOCK, [CHLD], [], 8) = 0"
    );
    assert_eq!(
        shows(
            "rt_sigaction",
            &[2, 0x1000, 0, 8],
            0,
            &[(1, IN, 0, 0x1000, &words(&[0x4000, 0x1400_0000, 0x5000, 0])),]
        ),
        "rt_sigaction(SIGINT, {sa_handler=0x4000, sa_mask=[], sa_flags=SA_RESTORER|SA_RESTART}, \
         NULL, 8) = 0"
    );
    assert_eq!(
        shows(
            "prlimit64",
            &[0, 3, 0, 0x1000],
            0,
            &[(3, OUT, 0, 0x1000, &words(&[8 << 20, u64::MAX])),]
        ),
        "prlimit64(0, RLIMIT_STACK, NULL, {rlim_cur=8192*1024, rlim_max=RLIM64_INFINITY}) = 0"
    );
    assert_eq!(
        shows("mmap", &[0, 4096, 3, 0x22, u32::MAX.into(), 0], 0x7fff_f7fc_0000, &[]),
        "mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7ffff7fc0000"
    );
}

#[test]
fn an_unknown_number_is_shown_with_its_registers() {
    let body = call_body(400, &[1, 2], -38, &[]);
    let text = "syscall_400(0x1, 0x2, 0, 0, 0, 0) = -1 ENOSYS (Function not implemented)";
    assert_eq!(shown(Kind::Call, 0, &body), text);
    assert_eq!(registers(3, &[7, 0, 0, 0, 0, 0], None, &Options::default()), "close(7)");
}

#[test]
fn every_other_kind_is_one_line() {
    let clock = 12_345_678_901u64.to_le_bytes();
    assert_eq!(shown(Kind::Clock, 1, &clock), "clock_gettime(CLOCK_MONOTONIC) = 12.345678901");
    assert_eq!(shown(Kind::Clock, 64, &clock), "gettimeofday() = 12.345678");
    assert_eq!(shown(Kind::Clock, 65, &clock), "time() = 12");
    assert_eq!(shown(Kind::Tsc, 0, &words(&[42])), "rdtsc() = 42");
    let mut signal = vec![17, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0];
    signal.resize(24, 0);
    signal.extend([77, 0, 0, 0]);
    signal.resize(136, 0);
    assert_eq!(
        shown(Kind::Signal, 0, &signal),
        "--- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=77, si_uid=0, si_status=0} ---"
    );
    let wait = call_body(202, &[0x1000, 0x80, 2, 0, 0, 0], 0, &[]);
    assert_eq!(
        shown(Kind::Yield, 0, &wait),
        "futex(0x1000, FUTEX_WAIT_PRIVATE, 2, NULL) <unfinished: token given up>"
    );
    assert_eq!(shown(Kind::ThreadStart, 0, &[]), "+++ thread 2 started +++");
    assert_eq!(shown(Kind::ThreadExit, 0, &[]), "+++ thread 2 ended +++");
    assert_eq!(shown(Kind::Exit, 0, &words(&[0])), "+++ exited with 0 +++");
    assert_eq!(shown(Kind::Exit, 0, &words(&[0x8b])), "+++ killed by SIGSEGV (core dumped) +++");
    assert_eq!(shown(Kind::Shared, 0, &words(&[5])), "--- shared token acquired, number 5 ---");
    assert_eq!(shown(Kind::Preempt, 0, &[]), "--- token taken from a thread that made no call ---");
    let mut note = vec![1, 0, 0, 0, 14, 0, 0, 0];
    note.extend(b"io_uring_setup");
    assert_eq!(shown(Kind::Note, 0, &note), "--- refused: io_uring_setup ---");
    let info = words(&[1, 0, 7 | 6 << 32, 2, 0x7ffc, 0x5555, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let start = call_body(0, &[], 0, &[(extra::START, Dir::Extra, 0, 0, &info)]);
    assert_eq!(
        shown(Kind::Start, 0, &start),
        "--- start of process 0000000000000001, pid 7, parent 6, exec 2, stack 0x7ffc, brk 0x5555 \
         ---"
    );
}

#[test]
fn json_has_names_values_and_content() {
    let body = call_body(0, &[3, 0x1000, 8], 2, &[(1, OUT, 0, 0x1000, b"\xff\0")]);
    let bytes = record_bytes(Kind::Call, flag::COMPLETES, 4, &body);
    assert_eq!(
        json(&Record::parse(&bytes).unwrap()),
        json!({
            "kind": "call",
            "thread": 4,
            "text": "read(3, \"\\377\\0\", 8) = 2",
            "flags": ["completes"],
            "nr": 0,
            "name": "read",
            "args": [
                { "name": "fd", "type": "fd", "value": 3, "text": "3" },
                { "name": "buf", "type": "out", "value": "0x1000", "text": "\"\\377\\0\"" },
                { "name": "count", "type": "uint", "value": 8, "text": "8" },
            ],
            "ret": 2,
            "buffers": [
                { "arg": 1, "dir": "out", "addr": "0x1000", "len": 2, "base64": "/wA=" },
            ],
        })
    );
    let failed = record_bytes(Kind::Call, 0, 0, &call_body(3, &[9], -9, &[]));
    let failed = json(&Record::parse(&failed).unwrap());
    assert_eq!((&failed["ret"], &failed["errno"]), (&json!(-9), &json!("EBADF")));
}

fn any_part() -> impl Strategy<Value = (u8, bool, u16, u64, Vec<u8>)> {
    let arg = prop_oneof![0u8..6, 0xf0u8..0xf5];
    // Around the sizes of the structures, and addresses that fit one another.
    let bytes = proptest::collection::vec(any::<u8>(), 0..300);
    let addr = prop_oneof![Just(0x1000u64), any::<u64>()];
    (arg, any::<bool>(), 0u16..4, addr, bytes)
}

proptest! {
    #[test]
    fn any_buffers_of_any_call_can_be_shown(
        row in 0..table::ROWS.len(),
        args in proptest::collection::vec(prop_oneof![0u64..64, Just(0x1000), any::<u64>()], 0..7),
        ret in prop_oneof![-600i64..600, any::<i64>()],
        parts in proptest::collection::vec(any_part(), 0..6),
    ) {
        let parts: Vec<Part> = parts
            .iter()
            .map(|(arg, out, flags, addr, bytes)| {
                let dir = if *arg > 6 { Dir::Extra } else if *out { OUT } else { IN };
                (*arg, dir, *flags, *addr, bytes.as_slice())
            })
            .collect();
        let body = call_body(table::ROWS[row].nr, &args[..args.len().min(6)], ret, &parts);
        for kind in [Kind::Call, Kind::Yield, Kind::Start] {
            let bytes = record_bytes(kind, 0, 0, &body);
            let parsed = Record::parse(&bytes).unwrap();
            prop_assert!(!record(&parsed, &Options::default()).contains('\n'));
            prop_assert!(json(&parsed).is_object());
        }
    }

    #[test]
    fn any_record_can_be_shown(
        kind in 0..Kind::ALL.len(),
        flags: u8,
        body in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        let bytes = record_bytes(Kind::ALL[kind], flags, 0, &body);
        if let Ok(parsed) = Record::parse(&bytes) {
            prop_assert!(!record(&parsed, &Options::FULL).contains('\n'));
            prop_assert!(json(&parsed).is_object());
        }
    }
}
