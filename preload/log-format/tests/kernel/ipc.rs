use crate::harness::Kernel;

const PRIVATE: u64 = 0;
const CREATE: u64 = 0o1600;
const RMID: u64 = 0;
const STAT: u64 = 2;
const INFO: u64 = 3;

#[test]
fn shared_memory() {
    let mut k = Kernel::new();
    let id = k.ok("shmget", &[PRIVATE, 4096, CREATE]) as u64;
    let (stat, info, usage) = (k.buf(112), k.buf(72), k.buf(48));
    k.ok("shmctl", &[id, STAT, stat]);
    k.ok("shmctl", &[0, INFO, info]);
    k.ok("shmctl", &[0, 14, usage]);
    k.ok("shmctl", &[id, RMID, 0]);
}

#[test]
fn semaphores() {
    let mut k = Kernel::new();
    let id = k.ok("semget", &[PRIVATE, 64, CREATE]) as u64;
    let (stat, info, all) = (k.buf(104), k.buf(40), k.buf(128));
    k.ok("semctl", &[id, 0, STAT, stat]);
    k.ok("semctl", &[0, 0, INFO, info]);
    k.ok("semctl", &[0, 0, 19, info]);
    k.ok("semctl", &[id, 0, 13, all]);
    k.ok("semctl", &[id, 0, 16, 3]);
    let down = k.put(&[0, 0, 0xff, 0xff, 0, 0]);
    k.ok("semop", &[id, down, 1]);
    let time = k.words(&[1, 0]);
    k.ok("semtimedop", &[id, down, 1, time]);
    k.ok("semctl", &[id, 0, RMID, 0]);
}

#[test]
fn messages() {
    let mut k = Kernel::new();
    let id = k.ok("msgget", &[PRIVATE, CREATE]) as u64;
    let (stat, info) = (k.buf(120), k.buf(32));
    k.ok("msgctl", &[id, STAT, stat]);
    k.ok("msgctl", &[0, INFO, info]);
    k.ok("msgctl", &[0, 12, info]);
    let message = k.put(b"\x05\0\0\0\0\0\0\0hello");
    k.ok("msgsnd", &[id, message, 5, 0]);
    let buf = k.buf(8 + 64);
    assert_eq!(k.ok("msgrcv", &[id, buf, 64, 0, 0]), 5);
    k.ok("msgctl", &[id, RMID, 0]);
}

#[test]
fn posix_queues() {
    let mut k = Kernel::new();
    let name = k.string(&format!("rr-run-test-{}", std::process::id()));
    let attr = k.words(&[0, 4, 64, 0, 0, 0, 0, 0]);
    let flags = (libc::O_RDWR | libc::O_CREAT) as u64;
    let queue = k.maybe("mq_open", &[name, flags, 0o600, attr]);
    if queue < 0 {
        return;
    }
    let queue = queue as u64;
    k.ok("mq_unlink", &[name]);
    let (text, time) = (k.put(b"hello"), k.words(&[u32::MAX.into(), 0]));
    k.ok("mq_timedsend", &[queue, text, 5, 7, time]);
    let (buf, priority, old) = (k.buf(64), k.buf(4), k.buf(64));
    k.ok("mq_getsetattr", &[queue, 0, old]);
    assert_eq!(k.ok("mq_timedreceive", &[queue, buf, 64, priority, time]), 5);
}

#[test]
fn keys() {
    let mut k = Kernel::new();
    let (kind, name, payload) = (k.string("user"), k.string("rr-run-test"), k.put(b"secret"));
    // The process keyring.
    let ring = -2i32 as u32 as u64;
    let key = k.maybe("add_key", &[kind, name, payload, 6, ring]);
    if key < 0 {
        return;
    }
    let buf = k.buf(64);
    for op in [6, 11, 17] {
        k.maybe("keyctl", &[op, key as u64, buf, 64, 0]);
        k.maybe("keyctl", &[op, key as u64, buf, 0, 0]);
    }
    k.maybe("keyctl", &[31, buf, 64, 0, 0]);
}
