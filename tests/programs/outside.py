"""Tries to reach the world in every way it knows, and prints what came of each."""
import errno
import socket
import subprocess


def tell(what, attempt):
    try:
        result = attempt()
    except OSError as error:
        result = errno.errorcode.get(error.errno, error)
    print(what, result, flush=True)


def stream(family, to, kind=socket.SOCK_STREAM):
    with socket.socket(family, kind) as s:
        s.settimeout(1)
        s.connect((to, 443))
        s.sendall(b"\x16\x03\x01")
        return s.recv(1)


def datagram(family, to, port):
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(0.5)
        s.sendto(b"\xc3\0\0\0\1" + bytes(1200), (to, port))
        return s.recv(1)


def multicast():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        return s.sendto(b"who", ("224.0.0.251", 5353))


def raw():
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as s:
        return s.sendto(b"\x08\0\xf7\xff\0\0\0\0", ("192.0.2.9", 0))


def frame():
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
        s.bind(("out0", 0))
        return s.send(b"\xff" * 12 + b"\x08\x06" + bytes(46))


V4, V6 = socket.AF_INET, socket.AF_INET6
tell("tcp", lambda: stream(V4, "192.0.2.1"))
tell("tcp6", lambda: stream(V6, "2001:db8:1::1"))
tell("mapped", lambda: stream(V6, "::ffff:192.0.2.1"))
tell("quic", lambda: datagram(V4, "192.0.2.2", 443))
tell("quic6", lambda: datagram(V6, "2001:db8:1::2", 443))
tell("dns", lambda: datagram(V4, "192.0.2.3", 53))
tell("dns6", lambda: datagram(V6, "2001:db8:1::3", 53))
tell("dgram", lambda: stream(V4, "192.0.2.4", socket.SOCK_DGRAM))
tell("multicast", multicast)
tell("lookup", lambda: socket.getaddrinfo("nowhere.example", 443))
tell("raw", raw)
tell("frame", frame)
for argv in (
    ["curl", "-sS", "-m", "2", "http://192.0.2.5/"],
    ["curl", "-sS", "-m", "2", "http://[2001:db8:1::5]/"],
    ["getent", "hosts", "elsewhere.example"],
):
    print(argv[0], subprocess.run(argv, capture_output=True).returncode, flush=True)
