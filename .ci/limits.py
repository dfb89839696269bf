"""End to end: slow clients, floods, an app that closes idle connections or is restarted, and requests that are too large.
Each check has a sidecar and an app of its own."""

import asyncio
import collections
import contextlib
import http.client
import os
import random
import re
import socket
import ssl
import struct
import threading
import time
from pathlib import Path

from certificates import running
from props import Answer, Checks, Failed, Process, expect, free_port, from_debian, until
from protocols import BOTH, body_of, holds, record_of

check = Checks()


def counted(own, name, **labels):
    """The sum of a metric's samples that have these labels, as the probe plane tells it."""
    total = 0.0
    for line in own.plane("probe", "/metrics").body.splitlines():
        sample = re.fullmatch(rf"portcullis_{name}(?:\{{(.*)\}})? (\S+)", line)
        if sample and labels.items() <= dict(re.findall(r'(\w+)="([^"]*)"', sample[1] or "")).items():
            total += float(sample[2])
    return total


def trusting(stage, *protocols):
    context = ssl.create_default_context(cafile=stage.public.ca)
    context.set_alpn_protocols(protocols or ["http/1.1"])
    return context


NODE = """
const http = require("http");
const {PORT, DELAY, KEEP_ALIVE, SILENT, FICKLE, PAUSE} = process.env;
const large = Buffer.alloc(16 << 20, "x");
const server = http.createServer((request, response) => {
  const {socket} = request;
  clearTimeout(socket.unused);
  if (KEEP_ALIVE) response.on("finish", () => {
    // Node itself keeps a connection for longer than it announces, and how much longer differs.
    const least = FICKLE ? Math.random() : 1;
    socket.unused = setTimeout(() => socket.destroy(), Number(KEEP_ALIVE) * (least + 1) / 2);
  });
  // With a field of the app's own Node announces nothing.
  if (SILENT) response.setHeader("Connection", "keep-alive");
  const answer = () => response.end(request.url === "/large" ? large : "ok");
  request.resume().on("end", () => setTimeout(answer, Number(DELAY || 0)));
});
if (KEEP_ALIVE) server.keepAliveTimeout = Number(KEEP_ALIVE);
// As a collector of garbage makes them: after it both may be due, a request that has come and the end of its connection.
const busy = (until) => { while (performance.now() < until); };
if (PAUSE) setInterval(() => busy(performance.now() + Number(PAUSE)), 3 * Number(PAUSE));
server.listen(Number(PORT), "127.0.0.1", 4096);
"""


class Node:
    """A small app under Node, whose settings are the variables above."""

    def __init__(self, stage, name, **settings):
        self.name, self.folder, self.port = name, stage.folder, free_port()
        self.env = {"PORT": str(self.port), **{name: str(value) for name, value in settings.items()}}
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        self.process = Process(self.name, ["node", "-e", NODE], self.env, self.folder)
        until(10, f"{self.name} listens", lambda: socket.create_connection(("127.0.0.1", self.port), 1).close() is None)

    def kill(self):
        self.process.kill()


@contextlib.contextmanager
def before_node(stage, name, *arguments, **settings):
    """A sidecar, and an app of Node behind it."""
    app = Node(stage, f"{name}-app", **settings)
    try:
        with running(stage, name, stage.public, *arguments, target=app.url) as own:
            yield own, app
    finally:
        app.kill()


# Clients that ask again and again


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


DATA, HEADERS, SETTINGS, PING, GOAWAY = 0, 1, 4, 6, 7
ACK = END_STREAM = 1
END_HEADERS = 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS)
# The method, https and / by their numbers in HPACK's table, and :authority in plain bytes; 200 is a number, too.
GET_ROOT = b"\x82\x87\x84\x01\x09localhost"
POST_ROOT = b"\x83" + GET_ROOT[1:]
OK = b"\x88"
ENHANCE_YOUR_CALM = 11


class Asker:
    """One connection of HTTP/1.1 or HTTP/2 that is kept."""

    def __init__(self, port, context):
        self.port, self.context = port, context
        self.streams = None
        self.reader = self.writer = None

    async def ask(self):
        """What came of one GET: 200 if it is just the app's answer, else whatever can be said of it."""
        try:
            async with asyncio.timeout(10):
                if not self.writer:
                    await self._connect()
                return await (self._ask_h2() if self.streams else self._ask_h1())
        except TimeoutError:
            said = "nothing within 10 s"
        except (OSError, EOFError, ValueError) as error:
            said = repr(error)
        self.close()
        return said

    def close(self):
        if self.writer:
            self.writer.transport.abort()
        self.reader = self.writer = None

    async def _connect(self):
        self.reader, self.writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=self.context, server_hostname="localhost",
        )
        self.streams = None
        if self.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2":
            self.streams = iter(range(1, 1 << 31, 2))
            self.writer.write(PREFACE)

    async def _ask_h1(self):
        self.writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        length = re.search(r"^content-length: (\d+)\r$", head, re.MULTILINE | re.IGNORECASE)
        body = await self.reader.readexactly(int(length[1]) if length else 0)
        if re.search(r"^connection: *close\r$", head, re.MULTILINE | re.IGNORECASE):
            self.close()
        status = int(head.split()[1])
        return status if status != 200 or body == b"ok" else f"{head}{body!r}"

    async def _ask_h2(self):
        stream, body, status = next(self.streams), b"", None
        self.writer.write(frame(HEADERS, END_HEADERS | END_STREAM, stream, GET_ROOT))
        while True:
            head = await self.reader.readexactly(9)
            kind, flags, of = head[3], head[4], int.from_bytes(head[5:9])
            payload = await self.reader.readexactly(int.from_bytes(head[:3]))
            if kind in (SETTINGS, PING) and not flags & ACK:
                self.writer.write(frame(kind, ACK, 0, payload if kind == PING else b""))
            elif of == stream:
                # The digits of another status may be Huffman's, and are in the records anyway.
                if kind == HEADERS and status is None:
                    status = 200 if payload[:1] == OK else "another than 200 over HTTP/2"
                elif kind == DATA:
                    body += payload
                elif kind != HEADERS:
                    return f"a frame of type {kind}: {payload.hex()}"
                if flags & END_STREAM:
                    return status if status != 200 or body == b"ok" else repr(body)
            elif kind == GOAWAY:
                return f"GOAWAY: {payload.hex()}"


def askers(stage, own, h1, h2):
    contexts = [trusting(stage)] * h1 + [trusting(stage, "h2")] * h2
    return [Asker(own.port, context) for context in contexts]


# An app that goes away


async def in_rounds(crowd, rounds, pause):
    """All ask at about the same time, so that many connections to the app are open, and again when those have lain unused
    for about as long as the app allows."""
    answers = collections.Counter()

    async def ask(asker, at):
        await asyncio.sleep(at - time.monotonic())
        answers[await asker.ask()] += 1

    for number in range(rounds):
        last = time.monotonic()
        # The first round has handshakes to make. In the others nobody is answered before all have asked.
        earliest, jitter = (pause, 0.07) if number else (0, 0.5)
        await asyncio.gather(*(ask(asker, last + random.uniform(earliest, earliest + jitter)) for asker in crowd))
    for asker in crowd:
        asker.close()
    return answers


@check("of 10,000 requests to an app that closes connections idle for a second, announced, silently or sooner, none fails")
def _(stage):
    rounds, h1, h2 = 20, 150, 17

    async def all_of(crowds):
        return await asyncio.gather(*(in_rounds(crowd, rounds, pauses[kind]) for kind, crowd in crowds.items()))

    # Of the last nobody can learn when it does: after half a second at the earliest.
    kinds = {"announced": {}, "silent": {"SILENT": 1}, "fickle": {"SILENT": 1, "FICKLE": 1}}
    pauses = {"announced": 0.93, "silent": 0.93, "fickle": 0.5}
    with contextlib.ExitStack() as stack:
        owns, common = [], {"KEEP_ALIVE": 1000, "DELAY": 150, "PAUSE": 20}
        for kind, settings in kinds.items():
            own, app = stack.enter_context(before_node(stage, f"keep-alive-{kind}", **common, **settings))
            fields = Answer.get(app.url).headers
            expect(("timeout=1" in fields.get("keep-alive", "")) == (kind == "announced"), fields)
            owns.append(own)
        seen = asyncio.run(all_of({kind: askers(stage, own, h1, h2) for kind, own in zip(kinds, owns)}))
        number = rounds * (h1 + h2)
        for kind, own, answers in zip(kinds, owns, seen):
            failed = [record for record in own.records() if record["status"] != 200 or record["reason"]]
            expect(answers == {200: number}, kind, answers, *failed[:5])
            until(5, f"{number} records", lambda own=own: len(own.records()) == number)
        opened = [len([record for record in own.records() if "connect_ms" in record]) for own in owns]
        retries = [counted(own, "upstream_retries_total") for own in owns]
    return "; ".join(f"{kind}: {n:.0f} retries, {many} connections" for kind, n, many in zip(kinds, retries, opened))


@check("while the app is killed and started again only requests that it had are lost, by 502 or 503, and none hangs")
def _(stage):
    h1, h2, restarts = 20, 5, 3
    answers, slowest = collections.Counter(), 0.0
    over, last_failure = threading.Event(), 0.0

    async def keep_asking(asker):
        nonlocal slowest, last_failure
        while not over.is_set():
            began = time.monotonic()
            answer = await asker.ask()
            answers[answer] += 1
            slowest = max(slowest, time.monotonic() - began)
            if answer != 200:
                last_failure = time.monotonic()
        asker.close()

    async def all_of(crowd):
        await asyncio.gather(*map(keep_asking, crowd))

    with before_node(stage, "restarts", DELAY=20) as (own, app):
        load = threading.Thread(target=lambda: asyncio.run(all_of(askers(stage, own, h1, h2))))
        load.start()

        def more(number):
            wanted = answers[200] + number
            until(15, f"{number} more answers of the app", lambda: answers[200] >= wanted)

        try:
            more(500)
            for _ in range(restarts):
                app.kill()
                app.start()
                up = time.monotonic()
                more(1500)
            until(5, "2 s without a failure", lambda: time.monotonic() > max(up, last_failure) + 2)
        finally:
            over.set()
            load.join(30)
        expect(last_failure < up + 2, f"{last_failure - up:.1f} s after the app was back there was a failure", answers)
        total = sum(answers.values())
        records = until(5, f"{total} records", lambda: len(r := own.records()) >= total and r)
        failed = [record for record in records if record["status"] != 200 or record["reason"]]
        reasons = collections.Counter((record["status"], record["reason"]) for record in failed)
        lost = total - answers[200]
        expect(set(answers) <= {200, 502, 503, "another than 200 over HTTP/2"}, answers, reasons)
        expect(all(status in (502, 503) and reason for status, reason in reasons), reasons)
        expect(len(failed) == lost <= restarts * (h1 + h2), f"{lost} failed answers, {len(failed)} failed records", reasons)
        expect(slowest < 5, f"one took {slowest:.1f} s", answers)
        retries = counted(own, "upstream_retries_total")
    told_so = ", ".join(f"{count} x {status} {reason}" for (status, reason), count in reasons.items()) or "none"
    return f"of {total} failed: {told_so}; {retries:.0f} retries; the slowest took {slowest:.1f} s"


# Too much, and too slow


@check("413, 414, 431 and 408 come with a body that names the limit over HTTP/1.1 and HTTP/2, and leave their reason")
def _(stage):
    sizes = {"--max-body": "1KiB", "--max-head": "8KiB", "--h2-header-list": "8KiB", "--max-uri": "1KiB"}
    flags = ("--max-headers", "10", "--stall-timeout", "1s", *(part for size in sizes.items() for part in size))
    body = body_of(stage, "above-the-limit", 2000)
    fields = [part for number in range(10) for part in ("-H", f"x-{number}: 1")]
    cases = {
        "body": (413, "--max-body", "body_too_large", ("--data-binary", f"@{body}")),
        "chunks": (413, "--max-body", "body_too_large", ("-H", "Transfer-Encoding: chunked", "--data-binary", f"@{body}")),
        "fields": (431, "--max-headers", "too_many_fields", fields),
        "head": (431, "--max-head", "head_too_large", ("-H", f"x-large: {'x' * 9000}")),
        "uri": (414, "--max-uri", "uri_too_long", ()),
    }
    with before_node(stage, "too-large", *flags) as (own, _):
        for option in BOTH:
            for name, (status, limit, reason, options) in cases.items():
                before = len(own.records(status=status, reason=reason))
                answer = own.get(option, *options, path=f"/{name}" + "x" * (2000 if name == "uri" else 0))
                if (option, name) == ("--http2", "head"):
                    # This one is the answer of the h2 crate, which knows nothing but the status.
                    limit = ""
                seen = answer.seen()[-2000:]
                expect(answer.status == status and limit in answer.body, f"{option}: wanted {status} by {limit}", seen)
                what = f"a record of {status} {reason} over {option}"
                until(3, what, lambda: len(own.records(status=status, reason=reason)) == before + 1)
        for option, stall in zip(BOTH, (stalled_h1, stalled_h2)):
            said = stall(stage, own)
            expect("408 Request Timeout" in said and "--stall-timeout" in said, option, said)
        records = until(3, "their records", lambda: (r := own.records(reason="body_timeout"))[1:] and r)
        expect([(record["status"], record["http"]) for record in records] == [(408, "1.1"), (408, "2")], *records)


# Not curl: over HTTP/2 it does not read while nothing comes of what it is to send.


def stalled_h1(stage, own):
    """What a client reads that has sent a part of its body."""
    plain = socket.create_connection(("127.0.0.1", own.port), 5)
    with trusting(stage).wrap_socket(plain, server_hostname="localhost") as client:
        client.sendall(b"POST /stalled HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nthe beginning")
        return client.makefile("rb").read().decode()


def stalled_h2(stage, own):
    plain = socket.create_connection(("127.0.0.1", own.port), 5)
    with trusting(stage, "h2").wrap_socket(plain, server_hostname="localhost") as client:
        client.sendall(PREFACE + frame(HEADERS, END_HEADERS, 1, POST_ROOT) + frame(DATA, 0, 1, b"the beginning"))
        reader, said = client.makefile("rb"), b""
        while head := reader.read(9):
            payload = reader.read(int.from_bytes(head[:3]))
            if head[3] == DATA:
                said += payload
                if head[4] & END_STREAM:
                    break
        return said.decode()


def is_answered_in_time(own):
    """A client that has just come has its answer within 2 s."""
    began = time.monotonic()
    answer = own.get("--http1.1", "--max-time", "5")
    took = time.monotonic() - began
    expect(answer.status == 200 and took < 2, f"it took {took:.1f} s", answer.seen())
    return took


@check("600 clients that hold a handshake after its first bytes keep nobody out")
def _(stage):
    with before_node(stage, "half-handshakes") as (own, _), contextlib.ExitStack() as held:
        for _ in range(600):
            connection = held.enter_context(socket.create_connection(("127.0.0.1", own.port), 5))
            connection.sendall(b"\x16\x03\x01")
        until(5, "it has as many as it takes", lambda: counted(own, "connections", state="handshake") >= 500)
        took = max(is_answered_in_time(own) for _ in range(5))
        gave_way = until(5, "some gave way", lambda: counted(own, "handshakes_total", reason="handshakes_full"))
    return f"the slowest of 5 took {took:.2f} s; {gave_way:.0f} gave way"


@check("a flood of 20,000 PINGs is ended by GOAWAY with ENHANCE_YOUR_CALM, and others are served meanwhile")
def _(stage):
    with before_node(stage, "pings") as (own, _):
        plain = socket.create_connection(("127.0.0.1", own.port), 5)
        with trusting(stage, "h2").wrap_socket(plain, server_hostname="localhost") as flood:
            flood.sendall(PREFACE)
            seen = b""
            with contextlib.suppress(OSError):
                for _ in range(200):
                    flood.sendall(frame(PING, payload=b"flooding") * 100)
            is_answered_in_time(own)
            with contextlib.suppress(OSError):
                while more := flood.recv(65536):
                    seen += more
        errors = []
        while len(seen) >= 9:
            end = 9 + int.from_bytes(seen[:3])
            if seen[3] == GOAWAY:
                errors.append(int.from_bytes(seen[13:17]))
            seen = seen[end:]
        expect(errors[-1:] == [ENHANCE_YOUR_CALM], f"{errors} in its GOAWAY frames")
        holds(until(3, "its record", lambda: own.records(reason="h2_abuse"))[-1], http="2")


# Many clients that are slow on purpose


class Slow(Process):
    """slowhttptest in one of its modes, with 300 connections."""

    NUMBER = 300

    def __init__(self, stage, program, own, mode):
        self.mode, self.to = mode, own.port
        options = ("-c", Slow.NUMBER, "-r", 150, "-p", 3, "-l", 100, "-u", f"https://localhost:{own.port}{mode.path}")
        super().__init__(f"slow{mode.option}", [program, mode.option, *options, *mode.options], {}, stage.folder)

    def ports(self):
        """Of its own connections; one of them may be that by which it asks now and then whether it is still answered."""
        ours = set()
        for descriptor in Path(f"/proc/{self.child.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                ours.add(os.readlink(descriptor))
        own = ((local, remote, state) for local, remote, state, descriptor in connections() if descriptor in ours)
        return {local for local, remote, state in own if (remote, state) == (self.to, ESTABLISHED)}


class Mode:
    """How it is slow; `reasons` and `limit` (in seconds) are those for which it is ended."""

    def __init__(self, option, path, limit, reasons, *options):
        self.option, self.path, self.limit, self.reasons, self.options = option, path, limit, reasons, options


MODES = (
    # Another field of the head every two seconds.
    Mode("-H", "/slow-head", 30, {"head_timeout"}, "-t", "GET", "-i", 2),
    # A few bytes of a body every two seconds.
    Mode("-B", "/slow-body", 30, {"body_too_slow", "body_timeout"}, "-s", 8192, "-i", 2),
    # 32 bytes of 16 MiB every five seconds, with a window of less than a KiB. What the kernel has room for is taken at
    # once and pays for the first 30 s, so it is in the second that too little is taken, or nothing for 60.
    Mode("-X", "/large", 60, {"client_too_slow", "client_stalled"}, "-w", 512, "-y", 1024, "-n", 5, "-z", 32),
)
ESTABLISHED, FIN_WAIT_1, CLOSE_WAIT, LAST_ACK, CLOSING = 1, 4, 8, 9, 11


def connections():
    """All of the kernel's: both ports, the state, and as what a descriptor shows it."""
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            local, remote = (int(address.rpartition(":")[2], 16) for address in fields[1:3])
            yield local, remote, int(fields[3], 16), f"socket:[{fields[9]}]"


def clients_of(port):
    """The clients' ports of connections that the kernel has at this port and that are not over: they are open, or there are
    bytes for the client though the process has closed them."""
    alive = (ESTABLISHED, FIN_WAIT_1, CLOSE_WAIT, LAST_ACK, CLOSING)
    return {remote for local, remote, state, _ in connections() if local == port and state in alive}


class Another(threading.Thread):
    """Once a second a client that has just come asks; `answers` is what it was answered, and after how long."""

    def __init__(self, stage, own):
        super().__init__()
        self.port, self.context = own.port, trusting(stage)
        self.over, self.answers = threading.Event(), []

    def run(self):
        while not self.over.wait(1):
            began = time.monotonic()
            try:
                connection = http.client.HTTPSConnection("localhost", self.port, context=self.context, timeout=10)
                connection.request("GET", "/fresh")
                seen = connection.getresponse().status
                connection.close()
            except OSError as error:
                seen = repr(error)
            self.answers.append((seen, time.monotonic() - began))

    def end(self):
        self.over.set()
        self.join(15)


@check("900 slow heads, bodies and readers of slowhttptest are gone 5 s after their limits; others are served all the while")
def _(stage):
    program = from_debian(stage.folder, "slowhttptest", "slowhttptest")
    seen, faults = [], []
    with before_node(stage, "slow") as (own, _), contextlib.ExitStack() as started:
        another = Another(stage, own)
        another.start()
        started.callback(another.end)
        attacks = [Slow(stage, program, own, mode) for mode in MODES]
        for attack in attacks:
            started.callback(attack.kill)

        before = []

        def all_ports():
            # No more come; of so many handshakes at once a few may have given way to others.
            nonlocal before
            theirs = [attack.ports() for attack in attacks]
            stand, before = theirs == before, theirs
            return stand and all(len(each) >= Slow.NUMBER - 5 for each in theirs) and theirs

        ports = until(20, "all connections", all_ports)
        connected = time.monotonic()
        for mode, theirs in zip(MODES, ports):
            end = connected + mode.limit
            until(mode.limit + 5, f"the limit of {mode.option}", lambda end=end: time.monotonic() > end - 1)

            def left(theirs=theirs):
                return len(theirs & clients_of(own.port))

            with contextlib.suppress(Failed):
                until(end + 5 - time.monotonic(), "they are gone", lambda left=left: left() <= 5)
            seconds, still = time.monotonic() - connected, left()
            records = [record for record in own.records(path=mode.path) if record["client_port"] in theirs]
            reasons = collections.Counter(record["reason"] for record in records)
            ended = sum(count for reason, count in reasons.items() if reason in mode.reasons)
            told_so = f"{mode.option}: {len(theirs)} connections, {still} left after {seconds:.1f} s, {dict(reasons)}"
            seen.append(told_so)
            if still > 5 or ended < Slow.NUMBER - 5:
                active = counted(own, "connections")
                faults.append(f"{told_so}; the sidecar has {active:.0f} connections of all kinds")
        another.end()
        late = [answer for answer in another.answers if answer[0] != 200 or answer[1] > 2]
        faults += [f"{len(late)} of {len(another.answers)} others were not answered in time: {late}"] if late else []
        expect(not faults, *faults)
        slowest = max(took for _, took in another.answers)
    return f"{'; '.join(seen)}; {len(another.answers)} others, the slowest took {slowest:.2f} s"
