//! Bytes that a guest never had in its memory: the kernel moved them from a file to a socket.

use rr_run::stream::{Connection, Direction, End};

use super::{exchanges, table, traffic};
use crate::harness::Case;

const UPLOAD: &str = r#"
import os, socket, sys
body = open("body", "rb")
length = os.fstat(body.fileno()).st_size
with socket.create_connection(("localhost", int(sys.argv[1]))) as s:
    head = f"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n"
    s.sendall(f"{head}Connection: close\r\n\r\n".encode())
    sent = s.sendfile(body)
    answer = b""
    while piece := s.recv(4096):
        answer += piece
print(sent, answer.decode().split("\r\n")[0])
"#;

/// A body that went by sendfile is not in the log, and that is said.
#[test]
fn an_upload_by_sendfile_is_stated() {
    let case = Case::new("python3")
        .args(["upload.py", "{http}"])
        .file("upload.py", UPLOAD)
        .file("body", "0123456789".repeat(20_000))
        .says("200000 HTTP/1.1 200 OK")
        .server();
    let recording = case.record().unwrap();
    case.replay(&recording).unwrap();
    let traffic = traffic(&recording.session);
    let all = exchanges(&traffic);
    let [exchange] = &all[..] else { panic!("{}", table(&traffic)) };
    assert_eq!((&*exchange.request.method, &*exchange.request.target), ("POST", "/upload"));
    let End::Malformed(why) = &exchange.end else { panic!("{exchange:?}") };
    assert!(why.contains("moved inside the kernel"), "{why}");
    let Connection { sent_bytes, .. } = traffic.connections()[0];
    assert!(sent_bytes < 1000, "{sent_bytes} bytes {:?}", Direction::Sent);
}
