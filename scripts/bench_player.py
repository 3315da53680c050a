#!/usr/bin/env python3
"""Compares the player (`rr-run serve`) with mitmproxy's server replay and vcrpy; medians.

    scripts/bench_player.py --rr-run PATH --server PATH [--runs N]

Each tool records the same client asking the same server, and answers it from that recording: a
stream of tokens, many small exchanges, and one large body. The peers are installed under cargo's
target directory at the first use, in the versions that the running Python can have.
"""
import argparse
import contextlib
import functools
import hashlib
import http.client
import http.server
import json
import os
import re
import shutil
import socket
import socketserver
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PEERS = ["mitmproxy", "vcrpy", "urllib3"]
TOKENS, SPACING_MS = 200, 5
SMALL = 500
LARGE = 50_000_000
# Most that the client takes of a body at a time.
TAKE = 1 << 16
# Cases that ask in another way for what a case has recorded.
RECORDED_BY = {"changed": "small", "reversed": "small"}


# What the client does. It runs in the peers' Python, in a process of its own for each case, so
# that it can be recorded and so that vcrpy's memory can be told from what stands here.

def client(spec):
    """Asks what one case asks; prints what was seen as JSON. With `cassette` in `spec`, vcrpy
    stands between."""
    import urllib3
    landing = bytearray(LARGE if spec["case"] == "large" else 0)
    # The room of a body is there before memory is counted.
    landing[::4096] = b"\1" * len(range(0, len(landing), 4096))
    before, start = memory(os.getpid(), "VmRSS"), time.perf_counter()
    with contextlib.ExitStack() as stack:
        if spec["cassette"]:
            import vcr
            options = {"match_on": spec["match_on"]} if spec["match_on"] else {}
            stack.enter_context(vcr.use_cassette(
                spec["cassette"], record_mode=spec["record_mode"], **options))
        ready = time.perf_counter() - start
        seen = ASK[spec["case"]](urllib3.PoolManager(retries=False), spec["base"], landing)
        grown = memory(os.getpid(), "VmHWM") - before
    print(json.dumps({"ready": ready, "peak": grown, **seen}))


def get(pool, url):
    response = pool.request("GET", url, preload_content=False)
    if response.status != 200:
        raise RuntimeError(f"{url}: {response.status}: {response.read(500)}")
    return response


def ask_stream(pool, base, _landing):
    """When each token came, in seconds since the request, and in how many reads."""
    # A first request makes the connection, and whatever else is made once.
    for _ in get(pool, f"{base}/stream?n=1&ms=0").stream(TAKE):
        pass
    start = time.perf_counter()
    arrivals, reads = [], 0
    for piece in get(pool, f"{base}/stream?n={TOKENS}&ms={SPACING_MS}").stream(TAKE):
        arrivals += [time.perf_counter() - start] * piece.count(b"\n")
        reads += bool(piece)
    if len(arrivals) != TOKENS:
        raise RuntimeError(f"{len(arrivals)} tokens instead of {TOKENS}")
    return {"arrivals": arrivals, "reads": reads}


def chat(number):
    text = f"What is {number} plus {number}? Think aloud. "
    return json.dumps({"model": "model-1", "messages": [
        {"role": "system", "content": "You are a helpful assistant. " * 20},
        {"role": "user", "content": text},
    ]})


def post(pool, base, body):
    return pool.request("POST", f"{base}/v1/chat/completions", body=body,
                        headers={"content-type": "application/json"})


def ask_small(pool, base, _landing, numbers=range(SMALL)):
    """Seconds for all chats, one after the other, and a hash of each answer."""
    bodies = [chat(number) for number in numbers]
    start = time.perf_counter()
    answers = [post(pool, base, body) for body in bodies]
    seconds = time.perf_counter() - start
    refused = [answer for answer in answers if answer.status != 200]
    if refused:
        raise RuntimeError(f"{len(refused)} refused: {refused[0].status}: {refused[0].data[:500]}")
    return {"seconds": seconds, "answers": [digest(answer.data) for answer in answers]}


def ask_large(pool, base, landing):
    """Seconds for the large body, and its hash."""
    start = time.perf_counter()
    at = 0
    for piece in get(pool, f"{base}/large").stream(TAKE):
        landing[at:at + len(piece)] = piece
        at += len(piece)
    seconds = time.perf_counter() - start
    if at != LARGE:
        raise RuntimeError(f"{at} bytes instead of {LARGE}")
    return {"seconds": seconds, "answers": [digest(landing)]}


def ask_changed(pool, base, _landing):
    """What comes of a chat whose text was not recorded."""
    from urllib3.exceptions import ProtocolError
    from vcr.errors import CannotOverwriteExistingCassetteException
    try:
        answer = post(pool, base, chat("one"))
    except ProtocolError:
        return {"status": "cut", "answers": []}
    except CannotOverwriteExistingCassetteException:
        return {"status": "exception", "answers": []}
    return {"status": str(answer.status), "answers": [digest(answer.data)]}


ASK = {
    "stream": ask_stream,
    "small": ask_small,
    "large": ask_large,
    "changed": ask_changed,
    "reversed": functools.partial(ask_small, numbers=range(SMALL - 1, -1, -1)),
}


def digest(data):
    return hashlib.sha256(data).hexdigest()


def memory(pid, field):
    """One of the memory fields of a process's status, MiB."""
    with open(f"/proc/{pid}/status") as status:
        line = next(line for line in status if line.startswith(field + ":"))
    return int(line.split()[1]) / 1024


# What is recorded: the stream server, through a relay for the stream, and a server of files.

class Relay(socketserver.BaseRequestHandler):
    """Passes a connection on to the server and notes when tokens pass, so that every recording is
    compared with what came to it: some recorders hold an answer back until it is whole."""

    def setup(self):
        # Tokens of earlier answers on the connection.
        self.before = 0
        self.server.arrivals = []

    def handle(self):
        with socket.create_connection(self.server.upstream) as upstream:
            for end in self.request, upstream:
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.upward, args=(upstream,), daemon=True).start()
            body = b""
            while data := upstream.recv(1 << 16):
                body += data
                # Ends of lines within the body, not those of heads and chunks.
                tokens = body.count(b"\n") - body.count(b"\r\n") - self.before
                arrivals = self.server.arrivals
                arrivals += [time.perf_counter() - self.start] * (tokens - len(arrivals))
                self.request.sendall(data)

    def upward(self, upstream):
        while data := self.request.recv(1 << 16):
            # Requests come one after the other: what was noted before is of an earlier answer.
            self.before += len(self.server.arrivals)
            self.server.arrivals = []
            self.start = time.perf_counter()
            upstream.sendall(data)
        upstream.shutdown(socket.SHUT_WR)


class Files(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass


class Local(socketserver.ThreadingTCPServer):
    daemon_threads = True


@contextlib.contextmanager
def listening(handler):
    """A server in this process; gives it and its base URL."""
    with Local(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@contextlib.contextmanager
def program(argv, log):
    """A program that serves; gives its base URL, the seconds until it said so, and its pid."""
    start = time.perf_counter()
    with open(log, "wb") as errors:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=errors, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    said = ""
    try:
        for line in process.stdout:
            said += line.decode()
            ports = re.findall(r"127\.0\.0\.1:(\d+)", said)
            if ports and re.search("listening|serving", said):
                break
        else:
            raise RuntimeError(f"{argv}: {said}{tail(log)}")
        ready = time.perf_counter() - start
        try:
            # The last is its own: mitmproxy names the server's before.
            yield f"http://127.0.0.1:{ports[-1]}", ready, process.pid
        except RuntimeError as error:
            raise RuntimeError(f"{error}; {os.path.basename(argv[0])}: {tail(log)}") from error
    finally:
        process.terminate()
        process.stdout.close()
        process.wait()


def tail(path):
    with open(path, encoding="utf-8", errors="replace") as log:
        return log.read()[-500:].strip()


# The tools. Each records a case once (`record`), and answers it from that (`replay`).

class Tool:
    # Whether there is a recording.
    replays = True
    # What `replay` is given so that it does not wait.
    instant = {}
    # What `replay` is given for the tool as it comes; None if that is another column.
    by_default = {}

    def __init__(self, peers, place, origins):
        self.peers, self.origins = peers, origins
        self.place = os.path.join(place, type(self).__name__)
        os.makedirs(self.place, exist_ok=True)

    def path(self, case):
        return os.path.join(self.place, RECORDED_BY.get(case, case))

    def origin(self, case):
        return self.origins[RECORDED_BY.get(case, case)]

    def client(self, case, base, before=(), **spec):
        """Runs the client; `before` is the command that it stands behind."""
        spec = {"case": case, "base": base, "cassette": None, **spec}
        argv = [*before, os.path.join(self.peers, "bin/python3"), os.path.abspath(__file__),
                "--client", json.dumps(spec)]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"the client ended with {done.returncode}: {done.stderr[-500:]}")
        return json.loads(done.stdout)

    def behind(self, argv, case, log):
        """The client asks a program that serves."""
        with program(argv, os.path.join(self.place, log)) as (base, ready, pid):
            seen = self.client(case, base)
            return {**seen, "ready": ready, "peak": memory(pid, "VmHWM")}


class Native(Tool):
    name, replays = "no tool", False

    def record(self, case):
        return self.client(case, self.origin(case))

    replay = record


class RrRun(Tool):
    name, instant = "rr-run", {"timing": "instant"}
    program = None

    def record(self, case):
        return self.client(case, self.origin(case),
                           [self.program, "--record", "-o", self.path(case)])

    def replay(self, case, timing="recorded"):
        return self.behind([self.program, "serve", "-o", self.path(case), "--timing", timing,
                            "--listen", "127.0.0.1:0"], case, "replay.log")


class Mitmproxy(Tool):
    name = "mitmproxy"
    by_default = {"extra": "forward"}

    def argv(self, case, options):
        # It connects to the server before it knows that it has the answer, unless it is lazy;
        # and it ends with the last recorded answer, which cuts a large one, unless it keeps
        # serving.
        return [os.path.join(self.peers, "bin/mitmdump"), "--mode", f"reverse:{self.origin(case)}",
                "--listen-host", "127.0.0.1", "--listen-port", "0", "--set", "flow_detail=0",
                "--set", "connection_strategy=lazy", "--set", "keepserving=true", *options]

    def record(self, case):
        return self.behind(self.argv(case, ["-w", self.path(case)]), case, "record.log")

    def replay(self, case, extra="kill"):
        options = ["--server-replay", self.path(case), "--set", f"server_replay_extra={extra}"]
        return self.behind(self.argv(case, options), case, "replay.log")


class Vcrpy(Tool):
    name = "vcrpy"
    match_on = None

    def record(self, case):
        return self.with_cassette(case, "all")

    def replay(self, case):
        return self.with_cassette(case, "none")

    def with_cassette(self, case, mode):
        return self.client(case, self.origin(case), cassette=self.path(case) + ".yaml",
                           record_mode=mode, match_on=self.match_on)


class VcrpyBody(Vcrpy):
    """Its defaults, and the body."""
    name, by_default = "vcrpy, bodies", None
    match_on = ["method", "scheme", "host", "port", "path", "query", "body"]


# What is measured.

def part(values, share):
    """The value that this share of all values does not exceed."""
    return sorted(values)[int((len(values) - 1) * share)]


def stream_figures(seen, recorded):
    off = [abs(a - b) for a, b in zip(seen["arrivals"], recorded, strict=True)]
    return {
        "first": seen["arrivals"][0], "first recorded": recorded[0],
        "off": part(off, 0.5), "off p99": part(off, 0.99),
        "whole": seen["arrivals"][-1], "whole recorded": recorded[-1], "reads": seen["reads"],
    }


class Comparison:
    """Recordings of all tools, and figures of their replays."""

    def __init__(self, tools, relay, count):
        self.tools, self.relay, self.count = tools, relay, count
        self.recorded = {}
        self.figures = {}
        self.failures = []

    def measured(self, tool, keys, measure):
        """Adds what `measure` gives; why it failed is a figure too."""
        try:
            figures = measure(tool)
        except RuntimeError as error:
            if str(error) not in self.failures:
                self.failures.append(str(error))
            figures = dict.fromkeys(keys, f"failed: {self.failures.index(str(error)) + 1}")
        for key in keys:
            if key in figures:
                self.figures.setdefault((tool.name, key), []).append(figures[key])

    def record(self, tool):
        for case in "stream", "small", "large":
            def recorded(tool, case=case):
                seen = tool.record(case)
                if case == "stream":
                    seen["arrivals"] = list(self.relay.arrivals)
                self.recorded[tool.name, case] = seen
                return {}
            self.measured(tool, [f"{case} recording"], recorded)

    def recording(self, tool, case):
        seen = self.recorded.get((tool.name, case))
        if seen is None:
            raise RuntimeError(f"{tool.name} has no recording: "
                               f"{self.figures[tool.name, f'{case} recording'][0]}")
        return seen

    def stream(self, tool):
        recorded = self.recording(tool, "stream")["arrivals"]
        seen = tool.replay("stream")
        # Without a tool nothing is the same twice: the relay tells what was just sent.
        return stream_figures(seen, recorded if tool.replays else list(self.relay.arrivals))

    def unpaced(self, tool):
        """The stream without waiting."""
        if not tool.replays:
            return {}
        self.recording(tool, "stream")
        seen = tool.replay("stream", **tool.instant)
        return {"instant first": seen["arrivals"][0], "instant": seen["arrivals"][-1],
                "instant reads": seen["reads"]}

    def small(self, tool):
        return self.throughput(tool, "small", SMALL)

    def large(self, tool):
        return self.throughput(tool, "large", LARGE / 1e6)

    def throughput(self, tool, case, amount):
        answers = self.recording(tool, case)["answers"]
        seen = tool.replay(case, **tool.instant)
        if tool.replays and seen["answers"] != answers:
            raise RuntimeError(f"{tool.name}: other answers than the recorded ones")
        figures = {f"{case} rate": amount / seen["seconds"]}
        if tool.replays:
            figures |= {f"{case} ready": seen["ready"], f"{case} peak": seen["peak"]}
        return figures

    def changed(self, tool, **options):
        """Who serves a request with another body, and what."""
        answers = self.recording(tool, "small")["answers"]
        before = self.count()
        seen = tool.replay("changed", **options)
        if self.count() > before:
            return "asks server"
        if seen["answers"] and seen["answers"][0] in answers:
            return "wrong answer"
        if seen["status"] == "200":
            raise RuntimeError(f"{tool.name}: an answer from nowhere")
        return f"refused: {seen['status']}"

    def matching(self, tool):
        if not tool.replays:
            return {}
        figures = {"changed": self.changed(tool)}
        if tool.by_default is not None:
            figures["changed by default"] = self.changed(tool, **tool.by_default)
        answers = self.recording(tool, "small")["answers"]
        right = zip(reversed(answers), tool.replay("reversed")["answers"], strict=True)
        figures["right"] = f"{sum(a == b for a, b in right)} of {SMALL}"
        return figures

    def run(self, runs):
        for tool in self.tools:
            self.record(tool)
        # One after the other in each round, so that a busy moment hits all tools.
        for _ in range(runs):
            for measure in self.stream, self.unpaced, self.small, self.large:
                for tool in self.tools:
                    self.measured(tool, KEYS[measure.__name__], measure)
        # These are the same each time.
        for tool in self.tools:
            self.measured(tool, KEYS["matching"], self.matching)

    def cell(self, tool, key, unit):
        values = self.figures.get((tool.name, key))
        if not values:
            return "-"
        told = [value for value in values if isinstance(value, str)]
        if told:
            return told[0]
        return unit(statistics.median(values))


def milliseconds(value):
    return f"{value * 1000:.2f} ms" if value < 1 else f"{value:.2f} s"


def number(value):
    return f"{value:.0f}"


def mebibytes(value):
    return f"{value:.0f} MiB"


def same(value):
    return value


# Label, figure and how it is written, by the method that measures it.
ROWS = {
    "stream": [
        ("first token, recorded", "first recorded", milliseconds),
        ("first token", "first", milliseconds),
        ("token off by, median", "off", milliseconds),
        ("token off by, p99", "off p99", milliseconds),
        ("last token, recorded", "whole recorded", milliseconds),
        ("last token", "whole", milliseconds),
        ("reads of the client", "reads", number),
    ],
    "unpaced": [
        ("no waiting: first token", "instant first", milliseconds),
        ("no waiting: last token", "instant", milliseconds),
        ("no waiting: reads", "instant reads", number),
    ],
    "small": [
        (f"{SMALL} chats: requests/s", "small rate", number),
        (f"{SMALL} chats: ready after", "small ready", milliseconds),
        (f"{SMALL} chats: memory", "small peak", mebibytes),
    ],
    "large": [
        (f"{LARGE // 10**6} MB: MB/s", "large rate", number),
        (f"{LARGE // 10**6} MB: ready after", "large ready", milliseconds),
        (f"{LARGE // 10**6} MB: memory", "large peak", mebibytes),
    ],
    "matching": [
        ("changed body", "changed", same),
        ("changed body, by default", "changed by default", same),
        ("other order: right", "right", same),
    ],
}
KEYS = {name: [key for _, key, _ in rows] for name, rows in ROWS.items()}


def install():
    """Installs the peers unless they are there; returns their place and their versions."""
    metadata = subprocess.run(["cargo", "metadata", "--format-version=1", "--no-deps"],
                              cwd=ROOT, check=True, capture_output=True)
    place = os.path.join(json.loads(metadata.stdout)["target_directory"], "peers",
                         f"python{sys.version_info.major}.{sys.version_info.minor}")
    stamp = os.path.join(place, "stamp")
    pip = [os.path.join(place, "bin/python3"), "-m", "pip", "--disable-pip-version-check"]
    if not os.path.exists(stamp):
        for argv in [sys.executable, "-m", "venv", "--clear", place], [*pip, "install", *PEERS]:
            done = subprocess.run(argv, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"{argv}: {done.stderr[-500:]}")
        with open(stamp, "w"):
            pass
    listed = subprocess.run([*pip, "list", "--format=json"], check=True, capture_output=True)
    versions = {package["name"]: package["version"] for package in json.loads(listed.stdout)}
    return place, {name: versions[name] for name in PEERS}


def compare(rr_run, server, runs):
    """Prints one table: a row for each figure, a column for each tool."""
    peers, versions = install()
    place = tempfile.mkdtemp(prefix="rr-run-bench-")
    process = subprocess.Popen([server, "--for-secs", "7200"], stdout=subprocess.PIPE)
    try:
        port = json.loads(process.stdout.readline())["http"]
        with open(os.path.join(place, "large"), "wb") as large:
            large.write(os.urandom(LARGE))
        with listening(functools.partial(Files, directory=place)) as (_, files), \
                listening(Relay) as (relay, relayed):
            relay.upstream = "127.0.0.1", port
            origins = {"stream": relayed, "small": f"http://127.0.0.1:{port}", "large": files}
            RrRun.program = os.path.abspath(rr_run)
            tools = [kind(peers, place, origins)
                     for kind in (Native, RrRun, Mitmproxy, Vcrpy, VcrpyBody)]
            comparison = Comparison(tools, relay, functools.partial(count, port))
            comparison.run(runs)
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(place)
    print("\nserving a recording: " + ", ".join(f"{n} {v}" for n, v in versions.items())
          + f", Python {sys.version.split()[0]}; {TOKENS} tokens, {SPACING_MS} ms apart")
    print(f"{'':28}" + "".join(f"{tool.name:>22}" for tool in tools))
    for label, key, unit in (row for rows in ROWS.values() for row in rows):
        print(f"{label:28}"
              + "".join(f"{comparison.cell(tool, key, unit):>22}" for tool in tools))
    for index, failure in enumerate(comparison.failures, 1):
        print(f"failed: {index}: {failure}")


def count(port):
    """How many requests the server has had."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/count")
    answer = int(connection.getresponse().read())
    connection.close()
    return answer


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rr-run", metavar="PATH")
    parser.add_argument("--server", metavar="PATH", help="the stream_server example")
    parser.add_argument("--runs", type=int, default=5)
    # The comparison runs itself as its client.
    parser.add_argument("--client", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        client(options.client)
    elif options.rr_run and options.server:
        compare(options.rr_run, options.server, options.runs)
    else:
        parser.error("--rr-run and --server are needed")


if __name__ == "__main__":
    main()
