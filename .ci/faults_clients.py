"""End to end: clients that are rude, slow, many, or gone without a word. Each check has a sidecar of its own."""

import collections
import contextlib
import http.client
import itertools
import re
import resource
import socket
import statistics
import struct
import sys
import time
from pathlib import Path

from certificates import running
from faults import Asking, Held, is_alive, pid_of, said
from faults_app import asks, network_of, sockets_of
from limits import (
    END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, askers, before_node, counted, frame, is_answered_in_time,
    trusting,
)
from props import Checks, Process, Skipped, expect, free_port, from_debian, run, told, until
from protocols import BOTH, body_of, fronted, holds

from records import Wire, in_memory, series

check = Checks()


# Clients that are rude, and many


def resets(tls):
    tls.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    tls.close()


@check("200 resets, in handshake, head, body, answer and between, cancel what was asked for within 1 s and leave nothing")
def _(stage):
    gone, number = collections.deque(), 40

    def page(ask):
        if ask.path == "/answer":
            # Its end is for the application to see: nobody reads any more.
            with contextlib.suppress(OSError):
                ask.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 999999999\r\n\r\n")
                while True:
                    ask.wfile.write(b"x" * 1000)
                    ask.wfile.flush()
                    time.sleep(0.01)
            gone.append(time.monotonic())
            ask.close_connection = True
        elif ask.path == "/body":
            with contextlib.suppress(OSError):
                ask.rfile.read(1000)
            gone.append(time.monotonic())
            ask.close_connection = True
        else:
            ask.answer(200, b"ok")

    with fronted(stage, "rude", page) as (own, app):
        app.server.handle_error = lambda *_: None
        with Wire(own) as wire:
            wire.says(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(5, "nobody is there", lambda: counted(own, "connections") == 0)
        before = own.metric("process_open_fds")
        late = []
        for _ in range(number):
            with socket.create_connection(("127.0.0.1", own.port), 5) as plain:
                plain.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
                resets(plain)
            for request in (b"GET /head HTTP/1.1\r\nHost: loc", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"):
                wire = Wire(own)
                if request.endswith(b"\r\n\r\n"):
                    expect(wire.says(request) == 200, "one before the reset")
                else:
                    wire.tls.sendall(request)
                resets(wire.tls)
            for path, rest in (("/answer", b"\r\n"), ("/body", b"Content-Length: 1000\r\n\r\nhalf")):
                seen, ends = len(app.asked), len(gone)
                wire = Wire(own)
                wire.tls.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\n".encode() + rest)
                until(5, "the app is asked", lambda seen=seen: len(app.asked) > seen)
                if path == "/answer":
                    wire.tls.recv(100)
                began = time.monotonic()
                resets(wire.tls)
                until(5, "the app is let go", lambda ends=ends: len(gone) > ends)
                late.append(gone[-1] - began)
        until(5, "nobody is there", lambda: counted(own, "connections") == 0)
        until(10, "descriptors are as many as before", lambda: own.metric("process_open_fds") <= before + 3)
        until(5, "nothing is open", lambda: counted(own, "requests_in_flight") == 0)
        expect(" ERROR " not in said(own), own.sidecar.tail())
        slowest = max(late)
        expect(slowest < 1, f"{slowest:.2f} s")
        reasons = collections.Counter(record["reason"] for record in own.records() + own.records("handshake"))
        expect(set(reasons) <= {"", "client_gone", "handshake_gone"}, reasons)
    return f"the slowest took {slowest * 1000:.0f} ms; {dict(reasons)}"


@check("100 clients that stop reading 64 MiB cost little memory, hold the app back, are cut in time, and hinder nobody")
def _(stage):
    sent, size, number, names = collections.Counter(), 64 << 20, 100, itertools.count()

    def page(ask):
        if ask.path == "/":
            ask.answer(200, b"ok")
            return
        piece, me = b"x" * (64 << 10), next(names)
        with contextlib.suppress(OSError):
            ask.wfile.write(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
            for _ in range(size // len(piece)):
                ask.wfile.write(piece)
                ask.wfile.flush()
                sent[me] += len(piece)
        ask.close_connection = True

    # The same path, in HPACK by its name and in plain bytes, and a window far wider than what anybody reads.
    fields = b"\x82\x87\x04\x05/deaf\x01\x09localhost"
    wide = frame(8, 0, 0, struct.pack(">I", 1 << 30)) + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 1 << 30))
    asked = {
        "http/1.1": b"GET /deaf HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "h2": PREFACE + wide + frame(HEADERS, END_HEADERS | END_STREAM, 1, fields),
    }
    contexts = {protocol: trusting(stage, protocol) for protocol in asked}
    with fronted(stage, "deaf", page, "--stall-timeout", "6s") as (own, app), contextlib.ExitStack() as stack:
        app.server.handle_error = lambda *_: None
        own.get()

        def more(protocol, many):
            """And the memory when no more is taken for them."""
            before = len(sent)
            for _ in range(many):
                plain = socket.socket()
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
                plain.connect(("127.0.0.1", own.port))
                tls = stack.enter_context(contexts[protocol].wrap_socket(plain, server_hostname="localhost"))
                tls.sendall(asked[protocol])
            until(5, "all are answered", lambda: len(sent) >= before + many)
            last = None

            def stands():
                nonlocal last
                is_so, last = sum(sent.values()) == last, sum(sent.values())
                return time.sleep(0.1) or is_so
            until(4, "nothing is taken from the app", stands)
            return in_memory(own)

        # What comes with the first is there for the others, too.
        each, last = {}, more("http/1.1", 10) and more("h2", 10)
        for protocol in asked:
            now = more(protocol, 40)
            each[protocol], last = (now - last) * 1024 / 40, now
        slowest = is_answered_in_time(own)
        records = until(20, "their records", lambda: (r := own.records(path="/deaf"))[number - 1 :] and r)
        slowest = max(slowest, is_answered_in_time(own))
    reasons = collections.Counter(record["reason"] for record in records)
    expect(set(reasons) == {"client_stalled"}, reasons)
    passed = max(sent.values()) / (1 << 20)
    expect(passed < 32, f"{passed:.0f} MiB of 64 were taken from the app for nobody")
    told_so = ", ".join(f"{many:.0f} KiB each of {protocol}" for protocol, many in each.items())
    # It is 256 at most, and what an allocator makes of that.
    expect(max(each.values()) < 512, told_so)
    return f"{told_so}; {passed:.1f} MiB taken from the app at most; others within {slowest:.2f} s"


def descriptors_for(number):
    """So many descriptors for this process, or the check is none here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < number:
        raise Skipped(f"a process may have {hard} descriptors here, and {number} are needed")
    if soft != resource.RLIM_INFINITY and soft < number:
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))


@check("10,000 idle TLS connections cost a few KiB each; others are served, also when all close at once; memory falls")
def _(stage):
    number = 10_000
    descriptors_for(number + 1000)
    flags = ("--max-connections", number + 100, "--idle-timeout", "10m")
    with running(stage, "idle", stage.public, *flags, target=stage.second.url) as own:
        context = trusting(stage)
        with Held(own, 200, context):
            is_answered_in_time(own)
        until(5, "nobody is there", lambda: counted(own, "connections") == 0)
        before, fds = in_memory(own), own.metric("process_open_fds")
        began = time.monotonic()
        with Held(own, number, context) as held:
            took = time.monotonic() - began
            expect(not held.broken and len(held.sockets) == number, held.broken[:3], f"{len(held.sockets)} connections")
            until(5, "all are idle", lambda: counted(own, "connections", state="idle") >= number)
            most = in_memory(own)
            slowest = max(is_answered_in_time(own) for _ in range(5))
            each = (most - before) * 1024 / number
            expect(each < 24, f"{each:.1f} KiB each")
            # At once: their processes are gone, and the kernel says so for all of them.
            for one in held.sockets:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        began = time.monotonic()
        slowest = max(slowest, *(is_answered_in_time(own) for _ in range(5)))
        until(15, "nobody is there", lambda: counted(own, "connections") == 0)
        over = time.monotonic() - began
        until(10, "their descriptors are free", lambda: own.metric("process_open_fds") <= fds + 20)
        until(30, "most of the memory is given back", lambda: in_memory(own) < before + (most - before) / 3)
        after = in_memory(own)
        is_alive(own)
    told_so = f"{each:.1f} KiB each ({before:.0f} MiB before, {most:.0f} with them, {after:.0f} after)"
    return f"{told_so}; open in {took:.0f} s, gone in {over:.1f} s; others within {slowest:.2f} s"


# So many connections a second, each given up when 500 others have come.
STORM = """
import collections, socket, struct, sys, time
port, rate, seconds = map(int, sys.argv[1:])
held, made, began = collections.deque(), 0, time.monotonic()
reset = struct.pack("ii", 1, 0)
while (now := time.monotonic() - began) < seconds:
    while made < now * rate:
        one = socket.socket()
        one.setblocking(False)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        one.connect_ex(("127.0.0.1", port))
        held.append(one)
        made += 1
        if len(held) > 500:
            held.popleft().close()
    time.sleep(0.001)
print(made)
"""


@check("in a storm of 5,000 connects a second who is there goes on, new ones come in within 2 s, and nothing is left of it")
def _(stage):
    with before_node(stage, "storm") as (own, _):
        with Asking(askers(stage, own, 4, 2)) as asking:
            asking.more(300)
            calm = sorted(asking.took[50:])
            fds, asking.took = own.metric("process_open_fds"), []
            command = [sys.executable, "-c", STORM, own.port, 5000, 2]
            storm = Process("storm-script", command, {}, stage.folder)
            slowest = 0.0
            while storm.child.poll() is None:
                slowest = max(slowest, is_answered_in_time(own))
            wild = sorted(asking.took)
        made = int(storm.stdout.read_text())
        expect(set(asking.answers) == {200}, asking.answers)
        p99 = [all_of[int(len(all_of) * 0.99)] for all_of in (calm, wild)]
        # The storm itself takes half of a small machine.
        expect(p99[1] < max(5 * p99[0], 0.5), f"{p99[0] * 1000:.1f} ms before, {p99[1] * 1000:.1f} ms in the storm")
        until(10, "nobody is there", lambda: counted(own, "connections") == 0)
        until(5, "descriptors", lambda: own.metric("process_open_fds") <= fds + 3)
        is_alive(own)
    told_so = f"{made} connects; p99 of the others {p99[0] * 1000:.1f} ms before, {p99[1] * 1000:.1f} ms then"
    return f"{told_so}; new ones within {slowest:.2f} s"


@contextlib.contextmanager
def linked(stage, name):
    """A pod and a client's host, with a cable between them; the pod's address."""
    with contextlib.ExitStack() as stack:
        pod, host = (stack.enter_context(network_of(stage, f"{name}-{end}")) for end in ("pod", "host"))
        pair = f"link add pod0 netns {pod.pid} type veth peer name host0 netns {host.pid}"
        if run(pod.ip, *pair.split()).returncode != 0:
            raise Skipped("there are no pairs of network devices here")
        for network, device, ip in ((pod, "pod0", "10.97.0.1"), (host, "host0", "10.97.0.2")):
            for setting in (f"address add {ip}/24 dev {device}", f"link set {device} up"):
                done = run(*network.inside, network.ip, *setting.split())
                expect(done.returncode == 0, told(done))
        yield pod, host, "10.97.0.1"


@check("at 1 Mbit/s to the client downloads over HTTP/1.1 and HTTP/2 come whole, with no timeout and in little memory")
def _(stage):
    size = 400 << 10
    body = body_of(stage, "narrow-body", size)
    with linked(stage, "one-mbit") as (pod, host, ip):
        tc = from_debian(stage.folder, "iproute2", "tc")
        narrow = "qdisc add dev pod0 root tbf rate 1mbit burst 16kb latency 300ms"
        if (done := run(*pod.inside, tc, *narrow.split())).returncode != 0:
            raise Skipped(f"nothing can be slowed down here: {done.stderr.strip()[:200]}")
        port = free_port()
        serve = ("-m", "http.server", port, "--bind", "127.0.0.1", "--directory", stage.folder)
        command = [*pod.inside, sys.executable, *serve]
        app = Process("one-mbit-app", command, {}, stage.folder)
        flags = ("--stall-timeout", "5s", "--response-timeout", "3s", "--handshake-timeout", "5s")
        target = f"http://127.0.0.1:{port}"
        with running(stage, "one-mbit", stage.public, *flags, target=target, under=pod.inside) as own:
            until(10, "the app is up", lambda: asks(pod, own, path="/narrow-body").status == 200)
            before, began, most = memory_of(own), time.monotonic(), 0
            url = f"https://localhost:{own.port}/narrow-body"
            common = ("curl", "-sS", "--cacert", own.secret.ca, "--resolve", f"localhost:{own.port}:{ip}")
            clients = [
                Process(f"one-mbit-{option}", [*host.inside, *common, option, url], {}, stage.folder) for option in BOTH
            ]
            while any(client.child.poll() is None for client in clients):
                most = max(most, memory_of(own))
                expect(time.monotonic() < began + 40, "it does not end")
                time.sleep(0.1)
            took = time.monotonic() - began
            for client in clients:
                expect(client.child.returncode == 0, client.tail())
                expect(client.stdout.read_bytes() == body.read_bytes(), f"{client.name}: another body")
            records = until(5, "their records", lambda: (r := own.records(client="10.97.0.2"))[1:] and r)
            expect([(r["status"], r["reason"], r["bytes_out"]) for r in records] == [(200, "", size)] * 2, *records)
            # Were it as fast as ever, nothing would have been shown.
            expect(took > 4, f"it took {took:.1f} s")
            expect(most - before < 8, f"{before:.0f} MiB before, {most:.0f} then")
        app.kill()
    return f"{took:.1f} s, {most - before:+.1f} MiB"


def memory_of(own):
    """In MiB, where nobody can ask it for its metrics from here."""
    status = Path(f"/proc/{pid_of(own)}/status").read_text()
    return int(re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)[1]) / 1024


# An application of one tunnel, which says something in it as often as that, or nothing at all.
TUNNELLED = """
import socket, sys
port, pause = int(sys.argv[1]), float(sys.argv[2])
with socket.create_server(("127.0.0.1", port)) as door:
    print("listening", flush=True)
    plain, _ = door.accept()
    head = b""
    while b"\\r\\n\\r\\n" not in head:
        head += plain.recv(4096)
    plain.sendall(b"HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\nUpgrade: chat\\r\\n\\r\\n")
    if pause:
        plain.settimeout(pause)
    while True:
        try:
            if not plain.recv(4096):
                break
        except TimeoutError:
            plain.sendall(b"ping")
        except OSError:
            break
print("closed", flush=True)
"""
CHATS = """
import socket, ssl, sys
ca, ip, port = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
tls = context.wrap_socket(socket.create_connection((ip, int(port))), server_hostname="localhost")
tls.sendall(b"GET /chat HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: Upgrade\\r\\nUpgrade: chat\\r\\n\\r\\n")
print(tls.recv(4096), flush=True)
while tls.recv(4096):
    pass
"""


@contextlib.contextmanager
def vanished(stage, name, pause, *setting):
    """A tunnel whose client is unplugged."""
    with linked(stage, name) as (pod, host, ip):
        for each in setting:
            expect(run(*pod.inside, "sysctl", "-qw", each).returncode == 0, each)
        port = free_port()
        app = Process(f"{name}-app", [*pod.inside, sys.executable, "-c", TUNNELLED, port, pause], {}, stage.folder)
        until(5, "the app listens", lambda: "listening" in app.stdout.read_text())
        target = f"http://127.0.0.1:{port}"
        with running(stage, name, stage.public, target=target, under=pod.inside) as own:
            command = [*host.inside, sys.executable, "-c", CHATS, own.secret.ca, ip, own.port]
            client = Process(f"{name}-client", command, {}, stage.folder)
            until(10, "it is a tunnel", lambda: "101" in client.stdout.read_text())
            # Nothing is to be on its way that the kernel would repeat.
            until(5, "all is acknowledged", lambda: all(kind != 1 for *_, kind, _ in sockets_of(pod)) or pause)
            done = run(*host.inside, host.ip, "link", "set", "host0", "down")
            expect(done.returncode == 0, told(done))
            yield pod, own, app
        client.kill()
        app.kill()


@check("a tunnel whose client vanishes without a word ends when the kernel gives up what the app says; the app is let go")
def _(stage):
    # So that it gives up after seconds; it would after a quarter of an hour.
    with vanished(stage, "vanished", 0.1, "net.ipv4.tcp_retries2=3") as (_, own, app):
        began = time.monotonic()
        until(30, "the app is let go", lambda: "closed" in app.stdout.read_text())
        took = time.monotonic() - began
        record = until(5, "its record", lambda: own.records(path="/chat"))[0]
        holds(record, status=101, reason="client_gone")
    return f"after {took:.1f} s"


@check("a tunnel in which nobody says anything is asked after by TCP keep-alive within 5 minutes: its client may be gone")
def _(stage):
    with vanished(stage, "silent", 0) as (pod, own, _):
        def timers():
            # Kind 2 is the one for keep-alive; in hundredths of a second, as the kernel shows all times.
            all_of = sockets_of(pod)
            return [(kind, when / 100) for local, _, state, kind, when in all_of if (local, state) == (own.port, 1)]

        seen = until(5, "its connection", timers)
        is_asked = [kind for kind, _ in seen] == [2] and seen[0][1] <= 300
        expect(is_asked, f"the kind of its timer, and when it is due: {seen}")


@check("scraped 100 times a second it answers each in time with the same series, and no request is slower for that")
def _(stage):
    number = 300
    with before_node(stage, "scraped-often") as (own, _), Asking(askers(stage, own, 4, 2)) as asking:
        asking.more(300)
        calm, asking.took = statistics.median(asking.took[50:]), []
        host, _, port = own.sidecar.address["probe"].rpartition(":")
        plane, slowest, before = http.client.HTTPConnection(host, int(port), timeout=5), 0.0, series(own)
        began, cpu = time.monotonic(), own.metric("process_cpu_seconds_total")
        for one in range(number):
            until(2, "a hundredth of a second", lambda one=one: time.monotonic() >= began + one / 100)
            asked = time.monotonic()
            plane.request("GET", "/metrics")
            answer = plane.getresponse()
            text = answer.read().decode()
            slowest = max(slowest, time.monotonic() - asked)
            expect(answer.status == 200, answer.status, text)
        took = time.monotonic() - began
        share = (own.metric("process_cpu_seconds_total") - cpu) / took
        wild = statistics.median(asking.took)
        expect(series(own) == before, series(own) ^ before)
        expect(set(asking.answers) == {200}, asking.answers)
        expect(slowest < 1, f"one scrape took {slowest:.2f} s")
        expect(wild < max(5 * calm, 0.05), f"a request took {calm * 1000:.1f} ms before, {wild * 1000:.1f} ms then")
    told_so = f"{number / took:.0f} a second, {len(before)} series, the slowest {slowest * 1000:.0f} ms"
    return f"{told_so}; requests {calm * 1000:.1f} ms before, {wild * 1000:.1f} ms then; {share:.0%} of a CPU for all"
