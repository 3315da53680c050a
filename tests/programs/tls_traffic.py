"""One kind of traffic over TLS: tls_traffic.py KIND PORT [NUMBER]."""
import asyncio, socket, ssl, struct, sys, zlib

kind, port = sys.argv[1], int(sys.argv[2])
number = int(sys.argv[3]) if len(sys.argv) > 3 else 0
context = ssl.create_default_context()
BLOCK = bytes(range(256)) * 256


def connect():
    plain = socket.create_connection(("localhost", port))
    return context.wrap_socket(plain, server_hostname="localhost")


def transfer():
    with connect() as s:
        s.sendall(b"upload %d\n" % number)
        for _ in range(number // len(BLOCK)):
            s.sendall(BLOCK)
        line = b""
        while not line.endswith(b"\n"):
            line += s.recv(1)
        print(line.decode().strip())
        s.sendall(b"download %d\n" % number)
        got = crc = 0
        while got < number:
            piece = s.recv(1 << 16)
            got, crc = got + len(piece), zlib.crc32(piece, crc)
        print(got, crc)


async def many():
    all_open = asyncio.Event()
    count = 0

    async def one(index):
        nonlocal count
        reader, writer = await asyncio.open_connection("localhost", port, ssl=context)
        writer.write(b"download 1000\n")
        first = await reader.readexactly(1000)
        count += 1
        if count == number:
            all_open.set()
        await all_open.wait()
        writer.write(b"download %d\n" % index)
        rest = await reader.readexactly(index)
        writer.close()
        return zlib.crc32(first + rest)

    print(zlib.crc32(repr(await asyncio.gather(*map(one, range(number)))).encode()))


class Pipe:
    """TLS whose two directions end apart."""

    def __init__(self):
        self.into, self.out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.into, self.out, server_hostname="localhost")
        self.socket = socket.create_connection(("localhost", port))
        self.loop(self.tls.do_handshake)

    def loop(self, what, wait=True):
        while True:
            try:
                return what()
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLWantReadError:
                self.flush()
                if not wait:
                    return None
                data = self.socket.recv(1 << 16)
                self.into.write(data) if data else self.into.write_eof()
            finally:
                self.flush()

    def flush(self):
        if data := self.out.read():
            self.socket.sendall(data)

    def say(self, data):
        self.loop(lambda: self.tls.write(data))

    def read_all(self):
        data = b""
        while piece := self.loop(lambda: self.tls.read(1 << 16)):
            data += piece
        return data


def client_ends_first():
    pipe = Pipe()
    pipe.say(b"answer at the end\n" + b"x" * 100)
    # TLS's own end, then TCP's; the answer comes after both.
    pipe.loop(pipe.tls.unwrap, wait=False)
    pipe.socket.shutdown(socket.SHUT_WR)
    print(pipe.read_all().decode())


def server_ends_first():
    pipe = Pipe()
    pipe.say(b"end first\n")
    print(pipe.read_all().decode())
    pipe.say(b"y" * 1234)
    pipe.loop(pipe.tls.unwrap, wait=False)
    pipe.socket.shutdown(socket.SHUT_WR)
    pipe.socket.close()


def abort():
    for _ in range(number):
        s = connect()
        s.sendall(b"flood\n")
        got = 0
        while got < 100000:
            got += len(s.recv(1 << 16))
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.close()


def go_away():
    """Closes when the server's certificate is there, without a word; then talks. In turns."""
    for _ in range(number):
        out = ssl.MemoryBIO()
        tls = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost")
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        with socket.create_connection(("localhost", port)) as s:
            s.sendall(out.read())
            s.recv(1 << 16)
        with connect() as s:
            s.sendall(b"download 10\n")
            print(s.recv(10))


def start_later():
    plain = socket.create_connection(("localhost", port))
    print(plain.recv(100).decode(), end="")
    plain.sendall(b"STARTTLS\n")
    print(plain.recv(100).decode(), end="")
    with context.wrap_socket(plain, server_hostname="localhost") as s:
        s.sendall(b"download %d\n" % number)
        print(s.recv(100))


what = globals()[kind]()
if what is not None:
    asyncio.run(what)
print("done")
