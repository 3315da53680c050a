//! Hosts that may not be reached.

use std::process::Command;
use std::time::Duration;

use super::policed;
use crate::harness::{Case, RR_RUN, python, run};

#[test]
fn only_allowed_hosts_and_ports_are_reached() {
    let script = "curl -sS -o got http://localhost:{http}/stream && echo got; \
                  curl -sS http://127.0.0.1:9/; curl -sS http://192.0.2.1/; echo end";
    let case = Case::bash(script).server().record_with(["--allow-net=localhost:{http}"]);
    let (out, err, notes) = policed(&case);
    assert_eq!(out, "got\nend\n", "{err}");
    assert!(err.contains("Failed to connect to 192.0.2.1 port 80"), "{err}");
    assert!(notes.contains("denied by the policy: connect to 192.0.2.1:80"), "{notes}");
    let denied = "curl -sS http://localhost:{http}/stream";
    let (_, err, _) = policed(&Case::bash(denied).server().record_with(["--deny-net"]).code(7));
    assert!(err.contains("Failed to connect to localhost"), "{err}");
    let case = Case::bash(denied).server().record_with(["--deny-net=127.0.0.0/8"]).code(7);
    assert!(policed(&case).1.contains("Failed to connect to localhost"));
}

#[test]
fn datagrams_are_refused() {
    let script = "import socket
def attempt(f):
    try:
        print(f())
    except OSError as e:
        print(e.strerror)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
attempt(lambda: s.sendto(b'x', ('192.0.2.1', 99)))
attempt(lambda: s.sendmsg([b'x'], [], 0, ('192.0.2.1', 99)))
attempt(lambda: s.connect(('192.0.2.1', 99)))
attempt(lambda: s.sendto(b'x', ('127.0.0.1', 9)))
attempt(lambda: socket.socket(socket.AF_INET6).connect(('::ffff:192.0.2.1', 99)))
";
    let case = Case::new(python()).args(["-c", script]).record_with(["--allow-net=127.0.0.1"]);
    let refused = "Connection refused\n";
    let (out, err, _) = policed(&case);
    assert_eq!(out, format!("{refused}{refused}{refused}1\n{refused}"), "{err}");
}

/// Serves names on port 53 of an empty network namespace, and runs rr-run in it.
const NAMES: &str = r#"
import fcntl, socket, struct, subprocess, sys, threading
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
flags = struct.pack('16sh', b'lo', 0x49)
fcntl.ioctl(s, 0x8914, flags + bytes(22))
s.bind(('127.0.0.1', 53))
def serve():
    while True:
        q, who = s.recvfrom(999)
        last = 2 if b'\x04good' in q else 3
        a = q[:2] + b'\x81\x80' + q[4:6] + b'\0\1\0\0\0\0' + q[12:]
        a += b'\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4' + bytes([127, 0, 0, last])
        s.sendto(a, who)
threading.Thread(target=serve, daemon=True).start()
sys.exit(subprocess.run(sys.argv[1:]).returncode)
"#;

#[test]
fn names_are_followed_to_the_addresses_that_name_servers_give() {
    let guest = r#"
import socket, struct
def look_up(name):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.connect(('127.0.0.1', 53))
    labels = b''.join(bytes([len(l)]) + l for l in name.encode().split(b'.'))
    s.send(b'ab\1\0\0\1\0\0\0\0\0\0' + labels + b'\0\0\1\0\1')
    return socket.inet_ntoa(s.recv(999)[-4:])
def attempt(address):
    try:
        socket.create_connection(address, 5)
    except OSError as e:
        print(address, e.strerror)
    else:
        print(address, 'connected')
server = socket.create_server(('0.0.0.0', 8080))
attempt(('127.0.0.2', 8080))
for name in ['x.good.example', 'bad.example']:
    ip = look_up(name)
    attempt((ip, 8080))
    attempt((ip, 8081))
"#;
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    command.args(["-rn", "python3", "-c", NAMES, RR_RUN, "--record", "-o"]).arg(dir.path());
    command.args(["--allow-net=*.good.example:8080", &python(), "-c", guest]);
    let output = run(&mut command, b"", Duration::from_secs(60));
    let expected = "('127.0.0.2', 8080) Connection refused
('127.0.0.2', 8080) connected
('127.0.0.2', 8081) Connection refused
('127.0.0.3', 8080) Connection refused
('127.0.0.3', 8081) Connection refused
";
    assert_eq!(output.out(), expected, "{output}");
}

#[test]
fn network_replay_is_held_to_the_policy_too() {
    let script = "curl -sS -o got http://localhost:{http}/stream && echo got; echo 1 > file";
    let case = Case::bash(script).server();
    let recording = case.record().unwrap();
    let replay = |options: &[&str]| {
        let mut command = Command::new(RR_RUN);
        command.args(["--replay", "--network", "--mode=warn"]).args(options);
        command.arg(&recording.session).current_dir(recording.dir.path());
        run(&mut command, b"", Duration::from_secs(60))
    };
    let output = replay(&["--deny-write", "--deny-net"]);
    assert!(!output.out().contains("got"), "{output}");
    assert!(output.err().contains("the policy forbids: write /"), "{output}");
    assert!(output.err().contains("the policy forbids: connect to "), "{output}");
    let output = replay(&["--allow-net=localhost", "--allow-write=."]);
    assert!(output.out().contains("got"), "{output}");
    assert!(!output.err().contains("forbids"), "{output}");
}
