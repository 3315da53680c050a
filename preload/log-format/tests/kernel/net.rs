use crate::harness::{Kernel, int};

const AF_UNIX: u64 = 1;
const AF_INET: u64 = 2;
const STREAM: u64 = 1;
const DGRAM: u64 = 2;

#[test]
fn connections() {
    let mut k = Kernel::new();
    let listener = k.ok("socket", &[AF_INET, STREAM, 0]) as u64;
    let loopback = k.put(&[2, 0, 0, 0, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    k.ok("bind", &[listener, loopback, 16]);
    k.ok("listen", &[listener, 8]);
    let (addr, len) = (k.buf(64), k.buf(4));
    k.set(len, &[64, 0, 0, 0]);
    k.ok("getsockname", &[listener, addr, len]);
    for accept in ["accept", "accept4"] {
        let client = k.ok("socket", &[AF_INET, STREAM, 0]) as u64;
        k.ok("connect", &[client, addr, 16]);
        let (peer, peer_len) = (k.buf(28), k.buf(4));
        k.set(peer_len, &[28, 0, 0, 0]);
        let args = [listener, peer, peer_len, 0];
        let server = k.ok(accept, if accept == "accept" { &args[..3] } else { &args }) as u64;
        k.ok("getpeername", &[server, peer, peer_len]);
        let text = k.put(b"some text");
        k.ok("sendto", &[server, text, 9, 0, 0, 0]);
        let buf = k.buf(64);
        // A stream gives no address: the length becomes 0.
        k.set(peer_len, &[28, 0, 0, 0]);
        assert_eq!(k.ok("recvfrom", &[client, buf, 4, 2, peer, peer_len]), 4);
        assert_eq!(k.ok("recvfrom", &[client, buf, 64, 0, 0, 0]), 9);
        let word = k.buf(4);
        k.ok("ioctl", &[client, libc::FIONREAD, word]);
        k.ok("ioctl", &[client, libc::TIOCOUTQ, word]);
        options(&mut k, client);
    }
}

fn options(k: &mut Kernel, socket: u64) {
    let (value, len) = (k.buf(256), k.buf(4));
    // Numbers, times, credentials, structures, names.
    for (level, name) in
        [(1, 3), (1, 4), (1, 13), (1, 20), (1, 17), (6, 1), (6, 11), (6, 13), (0, 2)]
    {
        for room in [256u32, 2] {
            k.set(value, &[0xa5; 256]);
            k.set(len, &room.to_le_bytes());
            k.call("getsockopt", &[socket, level, name, value, len]);
        }
    }
    let on = k.put(&[1, 0, 0, 0]);
    k.ok("setsockopt", &[socket, 6, 1, on, 4]);
}

#[test]
fn datagrams() {
    let mut k = Kernel::new();
    let server = k.ok("socket", &[AF_INET, DGRAM, 0]) as u64;
    let loopback = k.put(&[2, 0, 0, 0, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    k.ok("bind", &[server, loopback, 16]);
    let (to, len) = (k.buf(16), k.buf(4));
    k.set(len, &[16, 0, 0, 0]);
    k.ok("getsockname", &[server, to, len]);
    let client = k.ok("socket", &[AF_INET, DGRAM, 0]) as u64;
    let text = k.put(b"datagram");
    let (buf, from) = (k.buf(100), k.buf(64));
    let receive = |k: &mut Kernel, room: u64, flags: u64| {
        k.ok("sendto", &[client, text, 8, 0, to, 16]);
        k.set(len, &[64, 0, 0, 0]);
        k.ok("recvfrom", &[server, buf, room, flags, from, len])
    };
    assert_eq!(receive(&mut k, 100, 0), 8);
    // The result says more than was written.
    let trunc = libc::MSG_TRUNC as u64;
    assert_eq!(receive(&mut k, 3, trunc), 8);

    let (part, rest) = (k.buf(5), k.buf(100));
    let iov = k.words(&[part, 5, rest, 100]);
    let control = k.buf(64);
    let header = |k: &mut Kernel| k.words(&[from, 64, iov, 2, control, 64, 0]);
    let message = header(&mut k);
    k.ok("sendto", &[client, text, 8, 0, to, 16]);
    assert_eq!(k.ok("recvmsg", &[server, message, 0]), 8);
    k.ok("sendto", &[client, text, 8, 0, to, 16]);
    let short = k.words(&[part, 5]);
    let message = k.words(&[0, 0, short, 1, 0, 0, 0]);
    assert_eq!(k.ok("recvmsg", &[server, message, trunc]), 8);

    let source = k.words(&[text, 8]);
    let out = k.words(&[to, 16, source, 1, 0, 0, 0, 0, to, 16, source, 1, 0, 0, 0, 0]);
    assert_eq!(k.ok("sendmmsg", &[client, out, 2, 0]), 2);
    let (one, two) = (k.buf(64), k.buf(64));
    let (one, two) = (k.words(&[one, 64]), k.words(&[two, 64]));
    let (name1, name2) = (k.buf(16), k.buf(16));
    let time = k.words(&[1, 0]);
    let inbox = k.words(&[name1, 16, one, 1, 0, 0, 0, 0, name2, 16, two, 1, 0, 0, 0, 0]);
    assert_eq!(k.ok("recvmmsg", &[server, inbox, 2, 0, time]), 2);
    let message = k.words(&[to, 16, source, 1, 0, 0, 0]);
    k.ok("sendmsg", &[client, message, 0]);
}

#[test]
fn descriptors_in_messages() {
    let mut k = Kernel::new();
    let pair = k.buf(8);
    k.ok("socketpair", &[AF_UNIX, STREAM, 0, pair]);
    let (a, b) = (k.u32(pair).into(), k.u32(pair + 4).into());
    let text = k.put(b"x");
    let iov = k.words(&[text, 1]);
    let mut rights = vec![20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0];
    rights.extend(0u64.to_le_bytes());
    let control = k.put(&rights);
    let message = k.words(&[0, 0, iov, 1, control, 24, 0]);
    k.ok("sendmsg", &[a, message, 0]);
    let (buf, control) = (k.buf(8), k.buf(128));
    let iov = k.words(&[buf, 8]);
    let message = k.words(&[0, 0, iov, 1, control, 128, 0]);
    k.ok("recvmsg", &[b, message, 0]);
    k.ok("sendto", &[a, text, 1, 0, 0, 0]);
    let len = k.buf(4);
    k.set(len, &[110, 0, 0, 0]);
    let name = k.buf(110);
    k.ok("getsockname", &[a, name, len]);
    k.set(len, &[110, 0, 0, 0]);
    k.ok("recvfrom", &[b, buf, 8, 0, name, len]);
    assert_eq!(k.call("recvfrom", &[b, buf, 8, 0x40, name, len]), -i64::from(libc::EAGAIN));
}

#[test]
fn interfaces() {
    let mut k = Kernel::new();
    let socket = k.ok("socket", &[AF_INET, DGRAM, 0]) as u64;
    let list = k.buf(40 * 8);
    let conf = k.words(&[40 * 8, list]);
    k.ok("ioctl", &[socket, 0x8912, conf]);
    let lo = |k: &mut Kernel| {
        let mut request = b"lo".to_vec();
        request.resize(40, 0);
        k.put(&request)
    };
    for request in [0x8913, 0x8921, 0x8927, 0x8933, 0x8970, 0x8942] {
        let arg = lo(&mut k);
        k.ok("ioctl", &[socket, request, arg]);
    }
    for request in [0x8915, 0x8919, 0x891b] {
        let arg = lo(&mut k);
        k.call("ioctl", &[socket, request, arg]);
    }
    let index = lo(&mut k);
    k.set(index + 16, &[1, 0, 0, 0]);
    k.ok("ioctl", &[socket, 0x8910, index]);
    assert_eq!(k.call("connect", &[int(-1), list, 16]), -i64::from(libc::EBADF));
}
