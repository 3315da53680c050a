"""Clients that misbehave, against the server at the URL that is given: each prints how it ends."""
import http.client
import socket
import ssl
import struct
import sys
import threading
import urllib.parse

url = urllib.parse.urlsplit(sys.argv[1])
to = url.hostname, url.port
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\n"


def talk(*pieces, half_close=False):
    """The first line of what comes back."""
    with socket.create_connection(to, timeout=60) as s:
        for piece in pieces:
            s.sendall(piece)
        if half_close:
            s.shutdown(socket.SHUT_WR)
        return s.makefile("rb").readline().decode().strip()


def tell(what, attempt):
    try:
        print(what, attempt(), flush=True)
    except OSError as e:
        print(what, type(e).__name__, flush=True)


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def http2(*frames):
    """How many frames come back before the connection ends, at most four."""
    with socket.create_connection(to, timeout=5) as s:
        s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0) + b"".join(frames))
        s.shutdown(socket.SHUT_WR)
        return "frames" if s.recv(9) else "nothing"


def large():
    connection = http.client.HTTPConnection(*to, timeout=120)
    body = b'{"model":"m","messages":[{"role":"user","content":"' + b"x" * 100_000_000 + b'"}]}'
    connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
    response = connection.getresponse()
    return response.status, len(response.read()) < 100_000


def gone():
    """Cut off inside the body, by a reset."""
    s = socket.create_connection(to)
    s.sendall(HEAD + b"content-length: 1000\r\n\r\n{")
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()
    return "gone"


def pinned():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs()
    with socket.create_connection(to, timeout=60) as s:
        context.wrap_socket(s, server_hostname="a.example")


tell("cut off", lambda: talk(HEAD + b"content-length: 1000\r\n\r\n{", half_close=True))
tell("no HTTP", lambda: talk(b"\x00\x01\x02 nonsense\r\n\r\n"))
tell("half closed", lambda: talk(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", half_close=True))
tell("reset", gone)
tell("stream reset", lambda: http2(
    frame(1, 4, 1, b"\x82\x84\x86\x41\x01a"), frame(3, 0, 1, b"\0\0\0\x08")))
tell("bad frame", lambda: http2(frame(1, 4, 2, b"\xff\xff\xff\xff\xff\xff")))
tell("large", large)
tell("pinned", pinned)
done = [threading.Thread(target=gone) for _ in range(20)]
for thread in done:
    thread.start()
for thread in done:
    thread.join()
tell("after all", lambda: talk(b"GET /x HTTP/1.1\r\nhost: a\r\n\r\n"))
