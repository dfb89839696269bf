"""End to end: what is written down, counted and shown of every exchange, whoever reads it, and whether anybody does. Each check
has a sidecar of its own."""

import collections
import contextlib
import functools
import http.client
import json
import os
import re
import secrets
import selectors
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse
from pathlib import Path

from certificates import running, secret_with
from limits import counted, trusting
from props import (
    BINARY, CHECKOUT, CLEAN, Answer, Checks, Failed, Process, Secret, Skipped, expect, free_port, from_debian, run, s_client,
    told, until,
)
from protocols import BOTH, fronted, loaded

check = Checks()
MILLION = int(os.environ.get("PORTCULLIS_E2E_REQUESTS") or 1_000_000)


class Quick:
    """HAProxy as an app that answers at once, so that a flood is the sidecar's work."""

    def __init__(self, stage, name):
        program, port = from_debian(stage.folder, "haproxy", "haproxy"), free_port()
        config = stage.folder / f"{name}.cfg"
        config.write_text(f"""
global
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 20s
frontend door
    bind 127.0.0.1:{port}
    http-request return status 200 content-type text/plain string ok
""")
        self.process = Process(name, [program, "-db", "-f", config], {}, stage.folder)
        self.url = f"http://127.0.0.1:{port}"
        until(10, f"{name} answers", lambda: run("curl", "-sf", self.url).stdout == "ok")


@contextlib.contextmanager
def before_quick(stage, name, *arguments, **more):
    app = Quick(stage, f"{name}-app")
    try:
        with running(stage, name, stage.public, *arguments, target=app.url, **more) as own:
            yield own
    finally:
        app.process.kill()


class Wire:
    """A connection of HTTP/1.1, on which anything can be said."""

    def __init__(self, stage, own):
        plain = socket.create_connection(("127.0.0.1", own.port), 20)
        self.tls = trusting(stage).wrap_socket(plain, server_hostname="localhost")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.tls.close()

    def says(self, request):
        """The status of what is answered."""
        self.tls.sendall(request)
        answer = http.client.HTTPResponse(self.tls)
        answer.begin()
        answer.read()
        return answer.status


def said_to(stage, own, request):
    with Wire(stage, own) as wire:
        return wire.says(request)


# The access log


AGENT = 'odd "agent" \\ [x] é \u202e\u4e2d'


@check("GoAccess reads the combined log: every request is valid, and each status is there as often as the metrics say")
def _(stage):
    program, go_on = from_debian(stage.folder, "goaccess", "goaccess"), threading.Event()

    def page(ask):
        ask.read_body()
        if ask.path == "/waits":
            go_on.wait(20)
        with contextlib.suppress(OSError):
            statuses = {"/missing": 404, "/broken": 500, "/nothing": 204}
            ask.answer(statuses.get(ask.path.partition("?")[0], 200), b"hello")

    with fronted(stage, "combined", page, "--log-format", "combined", "--log-query") as (own, _):
        for option in BOTH:
            for more in ((), ("-d", "body"), ("-I",), ("-X", "PUT", "-d", "x"), ("-A", AGENT), ("-A", ""), ("-e", 'r"\\é')):
                expect(own.get(option, *more, path="/plain?a=%22b%22&c").status == 200, option, more)
            for path, status in (("/missing", 404), ("/broken", 500), ("/nothing", 204)):
                expect(own.get(option, path=path).status == status, path)
            expect(own.curl(option, "--max-time", "0.5", path="/waits").returncode != 0, "it was answered")
        go_on.set()
        expect(said_to(stage, own, b"GET /no-host HTTP/1.1\r\n\r\n") == 400, "a request without a host")
        expect(run("curl", "-sS", f"https://localhost:{own.port}").returncode != 0, "a handshake without our CA")
        requests = 2 * 11 + 1
        until(5, f"{requests} requests", lambda: counted(own, "requests_total") == requests)
        metered = {
            status or "499": counted(own, "requests_total", code=status or "none")
            for status in ("200", "204", "400", "404", "500", None)
        }

        def written():
            lines = own.sidecar.stdout.read_text(encoding="ascii").splitlines()
            comments = [line for line in lines if line.startswith("# ")]
            return len(lines) - len(comments) == requests and comments

        comments = until(5, f"{requests} lines", written)
        expect(any(" handshake " in line for line in comments), comments)
        report, bad = (stage.folder / f"goaccess.{name}" for name in ("json", "bad"))
        options = ("--log-format=COMBINED", "--no-global-config", "--no-progress", f"--invalid-requests={bad}")
        done = run(program, own.sidecar.stdout, *options, "-o", report, env={**CLEAN, "HOME": str(stage.folder)})
        expect(done.returncode == 0, told(done))
    seen = json.loads(report.read_text(errors="replace"))
    general = {name: seen["general"][f"{name}_requests"] for name in ("total", "valid", "failed")}
    wanted = {"total": requests, "valid": requests, "failed": 0}
    expect(general == wanted, f"wanted {wanted}", f"got    {general}", bad.read_text() if bad.exists() else "")
    items = [item for group in seen["status_codes"]["data"] for item in group["items"]]
    statuses = {item["data"].split()[0]: item["hits"]["count"] for item in items}
    expect(statuses == metered, f"metrics  {metered}", f"GoAccess {statuses}")
    expect(metered["499"] == 2, metered)
    return f"{requests} requests, {len(comments)} comment lines"


class Unread:
    """A pipe as stdout, which is read when it is asked for and not before."""

    def __init__(self, stage, name):
        path = stage.folder / f"{name}.pipe"
        os.mkfifo(path)
        self.end = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.under = ("sh", "-c", f'exec "$@" >{path}', "sh")
        self.lines, self.reader = [], threading.Thread(target=self.run)

    def run(self):
        os.set_blocking(self.end, True)
        with os.fdopen(self.end, "rb") as pipe:
            self.lines.extend(pipe)

    def read(self):
        self.reader.start()

    def all(self):
        """When nobody writes any more."""
        self.reader.join(30)
        expect(not self.reader.is_alive(), "stdout does not end")
        return self.lines


def flood(stage, own, number, connections=16, burst=100):
    """So many requests, no two of one path, host or method; the callable waits for them, with `meanwhile` now and then, and
    tells how many were answered 200."""
    answered, broken = [0] * connections, []

    def request(of, which):
        # Most methods are GET, because others would all be one in the metrics.
        method = f"GET{which}" if which % 50 == 0 else "GET"
        name = f"{of}-{which}"
        return f"{method} /path/{name}?query={name} HTTP/1.1\r\nHost: host-{name}.test\r\nUser-Agent: {name}\r\n\r\n".encode()

    def ask(of):
        share = number // connections + (of < number % connections)
        try:
            with Wire(stage, own) as wire:
                for first in range(0, share, burst):
                    many = min(burst, share - first)
                    wire.tls.sendall(b"".join(request(of, which) for which in range(first, first + many)))
                    heard = b""
                    while heard.count(b"\r\n\r\nok") < many:
                        more = wire.tls.recv(1 << 20)
                        expect(more, f"it ended after {heard[-400:]}")
                        heard += more
                    answered[of] += heard.count(b"HTTP/1.1 200 ")
        except (OSError, Failed) as error:
            broken.append(repr(error))

    threads = [threading.Thread(target=ask, args=(of,)) for of in range(connections)]
    for thread in threads:
        thread.start()

    def ended(meanwhile=lambda: None):
        while any(thread.is_alive() for thread in threads):
            meanwhile()
            threads[0].join(0.2)
        expect(not broken, *broken[:3])
        return sum(answered)

    return ended


def strangers(own, numbers):
    """Handshakes with names that nobody has: two of three fail, because the client trusts nobody, and because it is old."""
    for number in numbers:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if number % 3 == 0:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with contextlib.suppress(OSError):
            plain = socket.create_connection(("127.0.0.1", own.port), 10)
            if number % 3 == 2:
                plain.sendall(b"GET / HTTP/1.1\r\n" if number % 2 else b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00")
                plain.recv(1000)
                plain.close()
                continue
            with context.wrap_socket(plain, server_hostname=f"name-{number}.test"):
                pass


def series(own):
    lines = own.plane("probe", "/metrics").body.splitlines()
    return {line.rpartition(" ")[0] for line in lines if not line.startswith("#")}


def in_memory(own):
    return own.metric("process_resident_memory_bytes") / (1 << 20)


@check(f"of {MILLION:,} requests of as many paths and hosts all are answered while nobody reads stdout; then the counts add up")
def _(stage):
    out = Unread(stage, "unread")
    with before_quick(stage, "unread", "--drain-delay", "0s", under=out.under) as own:
        flood(stage, own, 2000)()
        strangers(own, range(12))
        until(5, "the first are counted", lambda: counted(own, "requests_total") >= 2000)
        until(5, "no handshake is open", lambda: counted(own, "connections", state="handshake") == 0)
        before, most, slowest = series(own), 0.0, 0.0

        def meanwhile():
            nonlocal most, slowest
            began = time.monotonic()
            for path in ("/livez", "/readyz"):
                expect(own.plane("probe", path).status == 200, path)
            slowest, most = max(slowest, time.monotonic() - began), max(most, in_memory(own))

        began = time.monotonic()
        load = flood(stage, own, MILLION)
        strangers(own, range(12, 612))
        answered = load(meanwhile)
        took = time.monotonic() - began
        expect(answered == MILLION, f"{answered} answered 200")
        new = series(own) ^ before
        expect(not new, "series that came or went", *new)
        requests = counted(own, "requests_total")
        expect(most < 120, f"{most:.0f} MiB")
        expect(slowest < 3, f"the probes took {slowest:.1f} s")
        out.read()
        until(20, "what was queued", lambda: out.lines and len(out.lines) == (time.sleep(0.5), len(out.lines))[1])
        # One more tells what was dropped, and the sidecar's own account is what stands at its end.
        expect(own.get(path="/last").status == 200, "the last")
        until(5, "it is counted", lambda: counted(own, "requests_total") > requests)
        dropped = {kind: counted(own, "log_dropped_total", **{"class": kind}) for kind in ("success", "error", "audit")}
        requests, refused = counted(own, "requests_total"), counted(own, "handshakes_total", result="failed")
        code, _ = own.sidecar.end(signal.SIGTERM, 10)
        expect(code == 0, f"exit code {code}")
        records = [json.loads(line) for line in out.all()]
    kinds = collections.Counter(record["kind"] for record in records)
    announced = {kind: sum(record.get(f"dropped_{kind}", 0) for record in records) for kind in dropped}
    expect(announced == dropped, f"counted   {dropped}", f"announced {announced}", kinds)
    expect(kinds["exchange"] + kinds["handshake"] + announced["success"] + announced["error"] == requests + refused, kinds,
           announced, f"{requests} requests, {refused} failed handshakes")
    expect(announced["success"] > 0, "nothing was dropped: was it ever full?")
    rest = f"{kinds['exchange']} exchanges in the log and {announced['success']} announced as dropped"
    return f"{MILLION / took:.0f}/s, {rest}, {most:.0f} MiB at most, {len(before)} series, probes within {slowest:.2f} s"


@check("SIGTERM while nobody reads stdout ends it in time with exit code 0, and what is in the pipe is whole lines")
def _(stage):
    out = Unread(stage, "stalled")
    with before_quick(stage, "stalled", "--drain-delay", "0s", under=out.under) as own:
        expect(flood(stage, own, 20_000)() == 20_000, "not all were answered")
        until(5, "the queue is full", lambda: counted(own, "log_dropped_total", **{"class": "success"}) > 0)
        code, took = own.sidecar.end(signal.SIGTERM, 8)
        expect(code == 0, f"exit code {code}", own.sidecar.tail())
        out.read()
        *lines, last = out.all()
    for line in lines:
        json.loads(line)
    expect(last.startswith(b'{"kind":"'), last)
    return f"{took:.2f} s"


class Disk:
    """A folder of 256 KiB in a mount namespace of the sidecar, which is seen from here by its process."""

    def __init__(self, stage, name):
        self.folder = stage.folder / name
        self.folder.mkdir()
        script = f"mount -t tmpfs -o size=256k,mode=755 tmpfs '{self.folder}'"
        if run("unshare", "-m", "sh", "-c", script).returncode != 0:
            raise Skipped("mounts of one's own are not permitted here")
        self.under = ("unshare", "-m", "sh", "-c", f'{script} && exec "$@"', "sh")

    def seen_of(self, own):
        return Path(f"/proc/{own.sidecar.child.pid}/root{self.folder}")


def lines_of(*paths):
    """The records in these files and what is none, and the first must be most."""
    whole, torn = [], []
    for path in paths:
        for line in path.read_bytes().split(b"\n")[:-1]:
            try:
                whole.append(json.loads(line))
            except ValueError:
                torn.append(line)
    return whole, torn


def is_complete(own, *paths, gone=0):
    """Requests are in these files or counted as dropped, and each drop was announced; `gone` were in a file that is."""
    whole, torn = lines_of(*paths)
    exchanges = sum(record["kind"] == "exchange" for record in whole)
    announced = sum(record.get("dropped", 0) for record in whole)
    requests, dropped = counted(own, "requests_total"), counted(own, "log_dropped_total")
    expect((exchanges + gone + dropped, announced) == (requests, dropped), f"{exchanges} and {gone} exchanges written",
           f"{announced} announced, {dropped} dropped", f"{requests} requests", torn)
    return exchanges


@check("a full disk under --log-file costs lines and no request; freed, rotated by logrotate or removed, the counts add up")
def _(stage):
    rotate, disk = from_debian(stage.folder, "logrotate", "logrotate"), Disk(stage, "disk")
    log = disk.folder / "access.log"
    with before_quick(stage, "full", "--log-file", log, under=disk.under) as own:
        seen = disk.seen_of(own)
        file, old = seen / "access.log", seen / "access.log.1"
        url = f"https://localhost:{own.port}"
        (seen / "ballast").write_bytes(b"x" * (128 << 10))
        loaded(f"{url}/full", 1000, "--h1", "-c", 4)
        lost = until(5, "lines are counted as lost", lambda: counted(own, "log_dropped_total", **{"class": "success"}))
        is_here = functools.partial(counted, own, "requests_total")
        until(5, "all are counted", lambda: is_here() == 1000)
        (seen / "ballast").unlink()
        loaded(f"{url}/freed", 50, "--h1", "-c", 2)
        until(5, "they are written, and the gap is told", lambda: is_complete(own, file))
        whole, torn = lines_of(file)
        freed = [record for record in whole if record.get("path") == "/freed"]
        expect(len(freed) == 50, f"{len(freed)} lines after there was room")
        # A line that the disk had no room for in its middle stands by itself.
        expect(len(torn) <= 1 and all(line.startswith(b'{"kind":"exchange"') for line in torn), *torn)

        config = stage.folder / "logrotate.conf"
        pid = own.sidecar.child.pid
        config.write_text(f"{log} {{\n rotate 3\n nocreate\n postrotate\n  kill -USR1 {pid}\n endscript\n}}\n")
        state = ("-s", stage.folder / "logrotate.state")
        done = run("nsenter", "-m", "-t", pid, rotate, "-f", *state, config)
        expect(done.returncode == 0, told(done))
        until(5, "a new file", lambda: file.exists() and old.exists())
        loaded(f"{url}/rotated", 50, "--h1", "-c", 2)
        until(5, "all are there", lambda: is_complete(own, old, file))
        expect({record["path"] for record in lines_of(file)[0] if "path" in record} == {"/rotated"}, "the new file")

        gone = is_complete(own, old, file)
        file.unlink()
        # What comes before the signal goes where nobody finds it.
        own.sidecar.signal(signal.SIGUSR1)
        until(5, "a new file", file.exists)
        loaded(f"{url}/removed", 50, "--h1", "-c", 2)
        rotated = sum(record["kind"] == "exchange" for record in lines_of(old)[0])
        until(5, "all are there", lambda: is_complete(own, old, file, gone=gone - rotated))
        expect(not own.sidecar.stdout.read_text(), "there is something on stdout, too")
    return f"{lost:.0f} lines lost, {len(torn)} of them in the middle"
