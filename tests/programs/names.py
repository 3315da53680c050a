# Looks names up, asks for a page, and for those in its arguments; `serve ADDRESS` serves both.
import http.server, itertools, socket, struct, sys, threading, urllib.error, urllib.request

A, TXT, AAAA = 1, 16, 28
TURNS = itertools.count()


def wire(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def reply(query, address):
    name, at = [], 12
    while query[at]:
        name.append(query[at + 1 : at + 1 + query[at]].decode())
        at += 1 + query[at]
    kind = struct.unpack_from(">H", query, at + 1)[0]
    name = ".".join(name).lower()
    addresses = {
        "page.example": [address],
        "late.example": [address],
        "alone.example": ["192.0.2.50"],
        "two.example": ["192.0.2.8", "192.0.2.9"],
        "text.example": [],
    }
    data = []
    code = 0
    if name == "broken.example":
        code = 2
    elif name not in addresses:
        code = 3
    elif kind == A:
        data = [socket.inet_aton(ip) for ip in addresses[name]]
        if next(TURNS) % 2:
            data.reverse()
    elif kind == TXT:
        data = [b"\x05hello"]
    question = query[12 : at + 5]
    head = query[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, len(data), 0, 0)
    record = lambda d: b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(d)) + d
    return head + question + b"".join(map(record, data))


def serve(address):
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-length", "4")
            self.end_headers()
            self.wfile.write(b"page")

    names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    names.bind((address, 53))
    page = http.server.HTTPServer(("0.0.0.0", 8080), Page)
    threading.Thread(target=page.serve_forever, daemon=True).start()
    print("ready", flush=True)
    while True:
        query, peer = names.recvfrom(4096)
        names.sendto(reply(query, address), peer)


def look_up(name):
    try:
        found = socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)
        return [entry[4][0] for entry in found]
    except socket.gaierror as error:
        return error


def ask(url):
    try:
        return urllib.request.urlopen(url, timeout=20).read()
    except urllib.error.HTTPError as error:
        return error.code
    except OSError as error:
        return error


if sys.argv[1:2] == ["serve"]:
    serve(sys.argv[2])
for name in ["alone.example", "missing.example", "broken.example"]:
    print(name, look_up(name))
server = next(l.split()[1] for l in open("/etc/resolv.conf") if l.startswith("nameserver"))
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(10)
for id, name, kind in [(7, "text.example", TXT), (8, "two.example", A), (9, "Two.example", A)]:
    question = wire(name) + struct.pack(">HH", kind, 1)
    client.sendto(struct.pack(">HHHHHH", id, 0x100, 1, 0, 0, 0) + question, (server, 53))
    answer, _ = client.recvfrom(4096)
    print(name, answer[:2], answer[12:].startswith(question), answer[12 + len(question) :])
print(ask("http://page.example:8080/"))
for host in sys.argv[1:]:
    print(host, ask(f"http://{host}/"))
