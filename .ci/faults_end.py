"""End to end: the end and the beginning of the process, under load and at the wrong moment. Each check has a sidecar of
its own."""

import contextlib
import os
import signal
import socket
import threading
import time
from pathlib import Path

from certificates import running
from faults import Asking, Held, ends, is_alive, is_permitted, pid_of, said, without_capabilities
from faults_app import asks, network_of
from limits import (
    ACK, DATA, END_HEADERS, END_STREAM, GET_ROOT, GOAWAY, HEADERS, OK, PING, PREFACE, SETTINGS, Asker, askers, counted,
    frame, trusting,
)
from props import BINARY, Checks, Process, Secret, expect, free_port, run, told, until
from protocols import Site, fronted

from admin import Plane, answered
from records import Wire

check = Checks()


# The end, and the beginning


# What came of the first request of a connection that was ended before it.
BROKEN_OFF = ("IncompleteReadError('0 bytes read", "ConnectionResetError")
UNHEARD = "closed before its first answer"


class Patient(Asker):
    """One that reads on after a GOAWAY, as it should, and comes back on a new connection; `is_closed` when it cannot."""

    def __init__(self, port, context):
        super().__init__(port, context)
        self.goaways, self.is_closed, self.said_close = [], False, 0

    async def ask(self):
        is_new = not self.writer
        if is_new:
            try:
                await self._connect()
            except OSError:
                self.is_closed = True
                return None
        self.went = []
        answer = await super().ask()
        return UNHEARD if is_new and str(answer).startswith(BROKEN_OFF) else answer

    async def _ask_h1(self):
        answer = await super()._ask_h1()
        # Closed by this side, because it was told to.
        self.said_close += not self.writer
        return answer

    async def _ask_h2(self):
        stream, status, body = next(self.streams), None, b""
        self.writer.write(frame(HEADERS, END_HEADERS | END_STREAM, stream, GET_ROOT))
        while True:
            head = await self.reader.readexactly(9)
            kind, flags, of = head[3], head[4], int.from_bytes(head[5:9])
            payload = await self.reader.readexactly(int.from_bytes(head[:3]))
            if kind in (SETTINGS, PING) and not flags & ACK:
                self.writer.write(frame(kind, ACK, 0, payload if kind == PING else b""))
            elif kind == GOAWAY:
                self.went.append(int.from_bytes(payload[:4]))
            elif of == stream:
                if kind == HEADERS and status is None:
                    status = 200 if payload[:1] == OK else "another than 200 over HTTP/2"
                elif kind == DATA:
                    body += payload
                elif kind != HEADERS:
                    return f"a frame of type {kind}: {payload.hex()}"
                if flags & END_STREAM:
                    break
        if self.went:
            self.goaways.append((stream, self.went))
            self.close()
        return status if status != 200 or body == b"ok" else repr(body)


@check("SIGTERM under load: not ready at once, accepting for the delay, told to close or GOAWAY; no exchange fails; exit 0")
def _(stage):
    delay, size = 2, 100 << 20

    def page(ask):
        if ask.path != "/download":
            ask.answer(200, b"ok")
            return
        ask.wfile.write(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
        for _ in range(100):
            ask.wfile.write(b"x" * (1 << 20))

    flags = ("--drain-delay", f"{delay}s", "--drain-timeout", "20s")
    with fronted(stage, "drains", page, *flags) as (own, app):
        crowd = [Patient(own.port, context) for context in [trusting(stage)] * 8 + [trusting(stage, "h2")] * 4]
        # It takes longer than the delay.
        url = f"https://localhost:{own.port}/download"
        command = ["curl", "-sS", "--limit-rate", "22M", "--cacert", own.secret.ca, url]
        with Asking(crowd) as asking:
            asking.more(200)
            download = Process("drains-download", command, {}, stage.folder)
            until(5, "it downloads", lambda: download.stdout.stat().st_size > 0)
            began = time.monotonic()
            own.sidecar.signal(signal.SIGTERM)
            until(1, "it is not ready", lambda: own.plane("probe", "/readyz").status == 503)
            unready = time.monotonic() - began
            asking.more(100)
            answer = own.get("--http1.1")
            in_delay = time.monotonic() - began < delay
            expect(not in_delay or answer.headers.get("connection") == "close", answer.seen())
            until(15, "nobody is accepted", lambda: all(one.is_closed for one in crowd))
            closed = time.monotonic() - began
        expect(delay - 0.1 < closed < delay + 5, f"accepted for {closed:.1f} s")
        code = own.sidecar.child.wait(25)
        took = time.monotonic() - began
        expect(code == 0 and "cut=0" in said(own), f"exit code {code}", own.sidecar.tail())
        expect(download.child.wait(15) == 0 and download.stdout.stat().st_size == size, download.tail())
        # Those are for the next check.
        expect(set(asking.answers) <= {200, None, UNHEARD}, asking.answers)
        expect(sum(one.said_close for one in crowd[:8]) >= 8, "HTTP/1.1 was not told to close")
        records = own.records()
        odd = [record for record in records if (record["status"], record["reason"]) != (200, "")]
        expect(not odd, f"{len(odd)} records", *odd[:3])
    told_so = f"not ready after {unready * 1000:.0f} ms, accepting for {closed:.1f} s, over after {took:.1f} s"
    return f"{asking.answers[200]} answers; {told_so}"


@check("who is let in right before the door closes is answered his first request")
def _(stage):
    def page(ask):
        ask.answer(200, b"ok")

    with fronted(stage, "last-ones", page, "--drain-delay", "1s") as (own, _):
        crowd = [Patient(own.port, trusting(stage)) for _ in range(24)]
        with Asking(crowd) as asking:
            asking.more(100)
            own.sidecar.signal(signal.SIGTERM)
            until(15, "nobody is accepted", lambda: all(one.is_closed for one in crowd))
        expect(set(asking.answers) == {200, None}, "TLS was agreed on, and the request was sent", asking.answers)


@check("a stream begun while GOAWAY drains is answered, refused, or above what GOAWAY named; what is in flight finishes")
def _(stage):
    go_on = threading.Event()

    def page(ask):
        if ask.path == "/waits":
            go_on.wait(30)
        ask.answer(200, b"ok")

    waits = b"\x82\x87\x04\x06/waits\x01\x09localhost"
    with fronted(stage, "goaway", page, "--drain-delay", "0s") as (own, app):
        plain = socket.create_connection(("127.0.0.1", own.port), 10)
        with trusting(stage, "h2").wrap_socket(plain, server_hostname="localhost") as tls:
            tls.sendall(PREFACE + frame(HEADERS, END_HEADERS | END_STREAM, 1, waits))
            until(5, "it is asked", lambda: any(asked.path == "/waits" for asked in app.asked))
            own.sidecar.signal(signal.SIGTERM)
            reader, goaways, ended, asked = tls.makefile("rb"), [], {}, []
            while head := reader.read(9):
                kind, flags, stream = head[3], head[4], int.from_bytes(head[5:9])
                payload = reader.read(int.from_bytes(head[:3]))
                if kind in (SETTINGS, PING) and not flags & ACK:
                    tls.sendall(frame(kind, ACK, 0, payload if kind == PING else b""))
                elif kind == GOAWAY:
                    goaways.append((int.from_bytes(payload[:4]), int.from_bytes(payload[4:8])))
                    # One after each: the client cannot know yet.
                    asked.append(asked[-1] + 2 if asked else 3)
                    tls.sendall(frame(HEADERS, END_HEADERS | END_STREAM, asked[-1], GET_ROOT))
                    go_on.set()
                elif kind == 3:
                    ended[stream] = f"RST {int.from_bytes(payload)}"
                elif kind in (HEADERS, DATA) and flags & END_STREAM:
                    ended[stream] = "answered"
            reader.close()
        code = own.sidecar.child.wait(25)
        seen = len([one for one in app.asked if one.path == "/"])
    expect(code == 0, f"exit code {code}", own.sidecar.tail())
    expect(goaways[:1] == [((1 << 31) - 1, 0)] and len(goaways) >= 2, goaways)
    expect(ended.get(1) == "answered", ended, goaways)
    last = min(stream for stream, _ in goaways)
    for stream in asked:
        # 7 is REFUSED_STREAM; of one above the last a client knows that it was not seen.
        is_told = ended.get(stream) in ("answered", "RST 7") or stream > last
        expect(is_told, f"stream {stream}: {ended.get(stream)}", goaways)
    answered_ones = sum(ended.get(stream) == "answered" for stream in asked)
    expect(seen == answered_ones, f"the app saw {seen} of which {answered_ones} were answered", ended, goaways)
    return f"GOAWAY {[stream for stream, _ in goaways]}; {ended}"


@check("a WebSocket is told 1001 when its sidecar goes, and a client that then closes is no straggler: exit 0 in time")
def _(stage):
    def page(ask):
        ask.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n")
        ask.wfile.write(b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
        ask.wfile.flush()
        ask.close_connection = True
        with contextlib.suppress(OSError):
            while ask.rfile.read(1):
                pass

    with fronted(stage, "talks", page, "--drain-delay", "0s", "--drain-timeout", "4s") as (own, _), Wire(own) as wire:
        fields = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        fields += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        wire.tls.sendall(f"GET /talks HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n".encode())
        expect(b" 101 " in wire.tls.recv(4096), "no WebSocket")
        own.sidecar.signal(signal.SIGTERM)
        wire.tls.settimeout(8)
        heard = b""
        with contextlib.suppress(OSError):
            while more := wire.tls.recv(4096):
                heard += more
                if heard[:1] == b"\x88":
                    # The client's own close, masked by nothing.
                    wire.tls.sendall(b"\x88\x82\0\0\0\0\x03\xe9")
        code = own.sidecar.child.wait(15)
        expect(heard[:4] == b"\x88\x02\x03\xe9", f"instead of a close frame with 1001: {heard!r}, exit code {code}")
        expect(code == 0, f"exit code {code}")


@check("SIGHUP in the drain changes nothing; SIGTERM without a certificate, and in the middle of reloads, ends with 0")
def _(stage):
    go_on = threading.Event()

    def page(ask):
        go_on.wait(30)
        ask.answer(200, b"ok")

    with fronted(stage, "hangup", page, "--drain-delay", "1s") as (own, app):
        url = f"https://localhost:{own.port}/waits"
        waits = Process("hangup-waits", ["curl", "-sS", "--cacert", own.secret.ca, url], {}, stage.folder)
        until(5, "it is asked", lambda: app.asked)
        own.sidecar.signal(signal.SIGTERM)
        for word in ("still accepting", "accepting no more"):
            until(5, word, lambda word=word: word in said(own))
            for _ in range(3):
                own.sidecar.signal(signal.SIGHUP)
        expect(own.plane("probe", "/livez").status == 200, "/livez")
        is_alive(own)
        go_on.set()
        expect(waits.child.wait(10) == 0 and waits.stdout.read_text() == "ok", waits.tail())
        expect(own.sidecar.child.wait(10) == 0, "exit code")
    bare = Secret(stage.folder / "never-ready")
    (bare.dir / "tls.crt").unlink()
    took = []
    with running(stage, "never-ready", bare) as own:
        expect(own.plane("probe", "/readyz").status == 503, "it is ready")
        took.append(ends(own, 5))
    secret = Secret(stage.folder / "mid-reload")
    secret.write("..v2")
    for number in range(5):
        with running(stage, f"mid-reload-{number}", secret, "--drain-delay", "0s", target=stage.second.url) as own:
            secret.publish("..v2" if number % 2 == 0 else "..v1")
            own.sidecar.signal(signal.SIGHUP)
            took.append(ends(own, 5))
    expect(max(took) < 3, took)
    return f"{max(took):.2f} s at most"


@check("killed with 50 connections open it is there again on the same ports at once; nothing of the old one is in its way")
def _(stage):
    ports = {name: free_port() for name in ("listen", "admin", "probe", "redirect")}
    flags = [part for name, port in ports.items() for part in (f"--{name}", f"127.0.0.1:{port}")]
    with running(stage, "killed", stage.public, *flags, target=stage.second.url) as own, Held(own, 50, trusting(stage)):
        until(5, "all are there", lambda: counted(own, "connections", state="idle") >= 50)
        own.sidecar.signal(signal.SIGKILL)
        own.sidecar.child.wait()
        began = time.monotonic()
        with running(stage, "again", stage.public, *flags, target=stage.second.url) as own:
            until(5, "it serves", lambda: own.get().status == 200)
            took = time.monotonic() - began
            got = {int(address.rpartition(":")[2]) for address in own.sidecar.address.values()}
            expect(got == set(ports.values()), own.sidecar.address)
    expect(took < 3, f"it took {took:.1f} s")
    return f"{took * 1000:.0f} ms"


@contextlib.contextmanager
def as_init(stage, name, *arguments):
    """The first process of a namespace of its own; with how to come in there."""
    under = is_permitted("unshare", "-p", "-f", "--kill-child", "--mount-proc", "--")
    with running(stage, name, stage.public, *arguments, target=stage.second.url, under=under) as own:
        pid = pid_of(own)
        expect(Path(f"/proc/{pid}/status").read_text().split("NSpid:")[1].split()[1] == "1", "it is not process 1")
        yield own, pid, ("nsenter", "-t", pid, "-p", "-m", "--")


@check("as process 1 of its container it obeys SIGHUP, SIGINT and SIGTERM, and nothing without a meaning ends it")
def _(stage):
    for number in (signal.SIGTERM, signal.SIGINT):
        with as_init(stage, f"init-{number.name}", "--drain-delay", "0s") as (own, pid, _):
            for harmless in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE, signal.SIGHUP):
                os.kill(pid, harmless)
            until(3, "SIGHUP is obeyed", lambda: 'trigger="signal"' in said(own))
            expect(own.get().body == "Hello you!", "no answer")
            began = time.monotonic()
            os.kill(pid, number)
            expect(own.sidecar.child.wait(8) == 0, own.sidecar.tail())
    return f"{time.monotonic() - began:.2f} s"


@check("as process 1 it leaves no zombies of processes that it did not start")
def _(stage):
    with as_init(stage, "reaper") as (own, pid, inside):
        for _ in range(3):
            done = run(*inside, "sh", "-c", "(sleep 0.1 &) ; exit 0")
            expect(done.returncode == 0, told(done))

        def zombies():
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            return [child for child in children if "State:\tZ" in Path(f"/proc/{child}/status").read_text()]

        until(3, "they have ended", lambda: len(zombies()) == 3 or not Path(f"/proc/{pid}/task/{pid}/children").read_text())
        until(3, "none is left", lambda: not zombies())


@check("a privileged port, an address that is not here and IPv6 that is off end the start at once; the address is named")
def _(stage):
    def refused(address, words, *under):
        others = ("--admin", "127.0.0.1:0", "--probe", "127.0.0.1:0", "--cert-dir", stage.public.dir)
        began = time.monotonic()
        done = run(*under, BINARY, "run", "--listen", address, *others)
        took.append(time.monotonic() - began)
        expect(done.returncode == 1 and address in done.stderr and words in done.stderr, told(done))

    took = []
    settings = "net.ipv6.conf.all.disable_ipv6=1 net.ipv4.ip_unprivileged_port_start=1024"
    with network_of(stage, "no-address", f"sysctl -qw {settings}") as network:
        plain = without_capabilities()
        refused("127.0.0.1:443", "ports below 1024", *network.inside, *plain)
        refused("192.0.2.1:8443", "does not have that address", *network.inside)
        refused("[::1]:8443", "does not have that address", *network.inside)
        # All addresses are those that there are.
        with running(stage, "v4-only", stage.public, target=stage.second.url, under=network.inside) as own:
            # The app is in another network.
            answer = asks(network, own, "--ipv4")
            expect(answer.status == 503, answer.seen())
    expect(max(took) < 1.5, f"it took {max(took):.1f} s")
    return f"{max(took) * 1000:.0f} ms at most"


@check("ten target changes a second under load fail no request; what is asked after one is answered goes to the new target")
def _(stage):
    def page(ask):
        ask.answer(200, b"ok")

    other = Site(page)
    try:
        with fronted(stage, "switched", page) as (own, app), Asking(askers(stage, own, 8, 4)) as asking:
            plane, late, changes = Plane(own), [], 40
            asking.more(100)
            began = time.monotonic()
            for number in range(changes):
                new, old = (other, app) if number % 2 == 0 else (app, other)
                answered(plane.change(new.url))
                path = f"/after-{number}"
                with Wire(own) as wire:
                    expect(wire.says(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()) == 200, path)
                if not any(asked.path == path for asked in new.asked):
                    late.append(number)
                until(1, "a tenth of a second", lambda number=number: time.monotonic() > began + (number + 1) * 0.1)
            took = time.monotonic() - began
            asking.more(100)
        expect(set(asking.answers) == {200}, asking.answers)
        expect(not late, f"these went to the old one: {late}")
        seen = [sum(asked.path == "/" for asked in each.asked) for each in (app, other)]
        expect(min(seen) > 100, f"one of them was hardly asked: {seen}")
    finally:
        other.server.shutdown()
        other.server.server_close()
    return f"{changes} changes in {took:.1f} s, {asking.answers[200]} requests"
