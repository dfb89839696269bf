"""End to end: what goes wrong around the sidecar. Files, clocks, descriptors, memory, threads, networks, resolvers and
signals are broken on purpose, with strace, faketime, nftables, namespaces and limits of the system; here what the
others stand on, files of certificates, and clocks. Each check has a sidecar of its own."""

import asyncio
import collections
import contextlib
import itertools
import os
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

from certificates import Eye, Load, running
from limits import askers, clients_of, trusting
from props import (
    BINARY, CHECKOUT, Checks, Failed, Process, Secret, Skipped, expect, from_debian, is_static, run, unpack, until,
)
from protocols import Site, fronted
from records import Wire

check = Checks()
DEBUG = CHECKOUT / "target/debug/portcullis"
FAILED = 'portcullis_certificate_reloads_total{result="failed"}'


def pid_of(own):
    """The sidecar's own: what starts it may have forked."""
    pid = own.sidecar.child.pid

    def is_it():
        return Path(f"/proc/{pid}/comm").read_text().strip() == BINARY.name[:15]

    while not is_it():
        pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
    return pid


def is_permitted(*command):
    """Skips where the machine does not let us start something so."""
    done = run(*command, "true")
    if done.returncode != 0:
        raise Skipped(f"not permitted here: {' '.join(str(part) for part in command)}: {done.stderr.strip()[:200]}")
    return command


def without_capabilities():
    """Still the same user, whose files these are, and no more: for root everything is readable, and every port free."""
    if os.geteuid() != 0:
        return ()
    return is_permitted("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "--")


# What a container's own cgroup says, version 1 and 2.
SMALL = """
mount -t tmpfs tmpfs /sys/fs/cgroup && mkdir /sys/fs/cgroup/memory &&
echo 67108864 | tee /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes >/sys/fs/cgroup/memory/told &&
exec "$@"
"""


def in_64_mebibytes():
    """Starts something where it has so much memory, by what it is told."""
    return is_permitted("unshare", "-m", "sh", "-c", SMALL, "sh")


def traced(stage, name, *injections, on=()):
    """strace that injects these: in front of a command, or, with `on`, into threads that run already."""
    strace, log = from_debian(stage.folder, "strace", "strace"), stage.folder / f"{name}.strace"
    calls = ",".join(injection.partition(":")[0] for injection in injections)
    options = ("-qq", "-o", log, "-e", f"trace={calls}", *(p for i in injections for p in ("-e", f"inject={i}")))
    if on:
        return Process(f"{name}-strace", [strace, *options, *(p for tid in on for p in ("-p", tid))], {}, stage.folder)
    # Without a stop at any other call it is nearly as fast as ever.
    return is_permitted(strace, "-f", "--seccomp-bpf", *options)


def said(own):
    """Its own log."""
    return own.sidecar.stderr.read_text(errors="replace")


def is_alive(own):
    expect(own.sidecar.child.poll() is None, f"it ended with {own.sidecar.child.returncode}", own.sidecar.tail())
    expect("panicked" not in said(own), own.sidecar.tail())


def ends(own, seconds=15, code=0):
    """By SIGTERM, which whatever stands before it would keep to itself."""
    began = time.monotonic()
    os.kill(pid_of(own), signal.SIGTERM)
    try:
        got = own.sidecar.child.wait(seconds)
    except subprocess.TimeoutExpired:
        raise Failed(f"it still runs {seconds} s after SIGTERM") from None
    expect(got == code, f"exit code {got}, wanted {code}", own.sidecar.tail())
    return time.monotonic() - began


class Held:
    """So many connections at once; closed when it is left."""

    def __init__(self, own, number, context=None, threads=4):
        self.own, self.context, self.sockets, self.broken = own, context, [], []
        share = [number // threads + (one < number % threads) for one in range(threads)]
        self.threads = [threading.Thread(target=self.open, args=(many,)) for many in share]
        for thread in self.threads:
            thread.start()
        for thread in self.threads:
            thread.join()

    def open(self, number):
        for _ in range(number):
            try:
                plain = socket.create_connection(("127.0.0.1", self.own.port), 20)
                if self.context:
                    plain = self.context.wrap_socket(plain, server_hostname="localhost")
                self.sockets.append(plain)
            except OSError as error:
                self.broken.append(repr(error))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for each in self.sockets:
            with contextlib.suppress(OSError):
                each.close()


class Asking:
    """Clients of HTTP/1.1 and HTTP/2 that ask one request after the other in a thread; `answers` is what came of them."""

    def __init__(self, crowd):
        self.crowd, self.answers, self.over = crowd, collections.Counter(), threading.Event()
        self.took = []
        self.thread = threading.Thread(target=lambda: asyncio.run(self.all()))

    async def all(self):
        await asyncio.gather(*map(self.keep, self.crowd))

    async def keep(self, asker):
        while not self.over.is_set():
            began = time.monotonic()
            self.answers[await asker.ask()] += 1
            self.took.append(time.monotonic() - began)
            await asyncio.sleep(0.002)
        asker.close()

    def more(self, number, seconds=20):
        wanted = self.answers[200] + number
        until(seconds, f"{number} more answers", lambda: self.answers[200] >= wanted)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join(30)


# Files of certificates


class Files:
    """A pair that is written in place, as anybody would who knows nothing of renaming."""

    def __init__(self, stage, name):
        self.made = Secret(stage.folder / f"{name}-made")
        self.ca, self.dir = self.made.ca, stage.folder / f"{name}-files"
        self.dir.mkdir()
        self.put("..v1")

    def text(self, version, name):
        return (self.made.dir / version / name).read_text()

    def put(self, version, names=("tls.crt", "tls.key")):
        for name in names:
            (self.dir / name).write_text(self.text(version, name))

    def swap(self, name, make):
        """This file, made by `make` under another name and renamed into place."""
        new = self.dir / "new"
        make(new)
        os.rename(new, self.dir / name)


class Looking:
    """Handshakes one after the other, in a thread: `shown` are the leaves in their order, each once."""

    def __init__(self, own):
        self.eye, self.over, self.shown, self.number, self.broken = Eye(own.port), threading.Event(), [], 0, None
        self.thread = threading.Thread(target=self.run)

    def run(self):
        try:
            while not self.over.is_set():
                leaf = self.eye.look()
                self.number += 1
                if self.shown[-1:] != [leaf]:
                    self.shown.append(leaf)
        except OSError as error:
            self.broken = error

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join(20)


@check("a half-written certificate and a key that comes 2 s late change nothing until they are whole; no handshake fails")
def _(stage):
    files = Files(stage, "torn")
    leaves_of = [files.made.fingerprint("..v1"), *(files.made.write(version) for version in ("..v2", "..v3"))]
    with running(stage, "torn", files, target=stage.second.url) as own, Looking(own) as looking:
        before = own.metric(FAILED)
        text = files.text("..v2", "tls.crt")
        (files.dir / "tls.crt").write_text(text[: len(text) // 2])
        until(5, "the half is refused", lambda: own.metric(FAILED) >= before + 1)
        files.put("..v2")
        began = time.monotonic()
        until(5, "the whole one is served", lambda: looking.shown[-1] == leaves_of[1])
        took = time.monotonic() - began
        # The pair does not agree for two seconds.
        before, began = own.metric(FAILED), time.monotonic()
        files.put("..v3", ("tls.crt",))
        until(5, "the pair is refused", lambda: own.metric(FAILED) > before)
        until(5, "two seconds", lambda: time.monotonic() > began + 2)
        expect(looking.shown == leaves_of[:2], looking.shown)
        files.put("..v3", ("tls.key",))
        until(5, "the pair agrees", lambda: looking.shown[-1] == leaves_of[2])
        lines = [line for line in said(own).splitlines() if "still served" in line and str(files.dir) in line]
        reasons = [record["reason"] for record in own.records("audit", action="certificate_reload", result="failed")]
    expect(not looking.broken and looking.shown == leaves_of, looking.broken, looking.shown)
    # It is tried again all the time, and said once for each thing that is wrong.
    expect(len(lines) == 2, f"{len(lines)} lines", *lines)
    expect(all("PRIVATE" not in line and "MII" not in line for line in lines), *lines)
    expect(set(reasons) == {"malformed", "mismatch"}, reasons)
    return f"whole after {took:.2f} s, {looking.number} handshakes, {len(reasons)} refusals"


@check("what is no certificate (FIFO, DER, garbage, 10 MiB, unreadable) changes nothing, and hinders no good one after it")
def _(stage):
    files = Files(stage, "odd-files")
    der = subprocess.run(
        ["openssl", "x509", "-in", files.made.dir / "..v1/tls.crt", "-outform", "DER"], capture_output=True, check=True
    ).stdout

    def closed(path):
        path.write_text(files.text("..v1", "tls.crt"))
        path.chmod(0)

    def huge(path):
        with path.open("wb") as file:
            file.truncate(10 << 20)

    pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    cases = {
        "a FIFO": (os.mkfifo, {"not_regular"}),
        "DER": (lambda path: path.write_bytes(der), {"malformed", "empty_certificate"}),
        "DER of nothing": (lambda path: path.write_text(pem), {"malformed"}),
        "garbage": (lambda path: path.write_bytes(os.urandom(4000)), {"malformed", "empty_certificate"}),
        "10 MiB": (huge, {"too_large"}),
        "mode 0000": (closed, {"read"}),
    }
    with running(stage, "odd-files", files, target=stage.second.url, under=without_capabilities()) as own:
        eye, shown = Eye(own.port), files.made.fingerprint("..v1")
        for number, (name, (make, reasons)) in enumerate(cases.items(), 2):
            before = own.metric(FAILED)
            files.swap("tls.crt", make)
            until(5, f"{name} is refused", lambda before=before: own.metric(FAILED) > before)
            attempt = own.part(files.dir)["last_attempt"]
            expect(attempt["result"] == "failed" and attempt["reason"] in reasons, name, attempt)
            expect(eye.look() == shown and own.plane("probe", "/readyz").status == 200, name)
            shown = files.made.write(f"..v{number}")
            files.put(f"..v{number}", ("tls.key",))
            files.swap("tls.crt", lambda path, number=number: path.write_text(files.text(f"..v{number}", "tls.crt")))
            until(5, f"a good one after {name}", lambda shown=shown: eye.look() == shown)
        is_alive(own)
    return f"{len(cases)} kinds"


@check("where no watch is left (ENOSPC) the sidecar says so and polls, and a renewed certificate is served within seconds")
def _(stage):
    secret = Secret(stage.folder / "unwatched")
    under = traced(stage, "unwatched", "inotify_add_watch:error=ENOSPC")
    with running(stage, "unwatched", secret, "--drain-delay", "0s", target=stage.second.url, under=under) as own:
        until(5, "the log says so", lambda: re.search(r" WARN .*polling every", said(own)))
        eye = Eye(own.port)
        for version in ("..v2", "..v3"):
            wanted = secret.write(version)
            secret.publish(version)
            until(10, "the new certificate", lambda wanted=wanted: eye.look() == wanted)
        audit = own.records("audit", action="certificate_reload", result="published")[-1]
        expect("trigger poll" in audit["detail"], audit)
        ends(own)


def samples(own, word):
    """Of all metrics with this word in their names."""
    return {line for line in own.plane("probe", "/metrics").body.splitlines() if re.match(rf"portcullis_\w*{word}", line)}


@check("a metric tells a sidecar that cannot watch its certificates from one that can")
def _(stage):
    under = traced(stage, "blind-metric", "inotify_add_watch:error=ENOSPC")
    with running(stage, "blind-metric", stage.public, under=under) as own, running(stage, "seeing", stage.public) as other:
        until(5, "it is blind", lambda: "polling every" in said(own))

        def watched(one):
            return {line.rpartition(" ")[2] for line in samples(one, "certificate_watched")}

        until(5, "it says so", lambda: watched(own) == {"0.0"})
        until(5, "the other says so", lambda: watched(other) == {"1.0"})


@check("a queue of inotify that overflows while the sidecar stands still hides no renewal from it")
def _(stage):
    events = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if events > 100_000:
        raise Skipped(f"{events} events would have to be made")
    secret = Secret(stage.folder / "overflow")
    with running(stage, "overflow", secret, target=stage.second.url) as own:
        wanted = secret.write("..v2")
        own.sidecar.signal(signal.SIGSTOP)
        try:
            # Of equal ones in a row the kernel keeps one; these are two each, and differ.
            for number in range(events // 2 + 2000):
                path = secret.dir / f"touched-{number % 1000}"
                path.touch()
                path.unlink()
            secret.publish("..v2")
        finally:
            own.sidecar.signal(signal.SIGCONT)
        began, eye = time.monotonic(), Eye(own.port)
        # By the next poll at the latest.
        until(40, "the new certificate", lambda: eye.look() == wanted)
        took = time.monotonic() - began
        wanted = secret.write("..v3")
        secret.publish("..v3")
        until(5, "it is told of the next", lambda: eye.look() == wanted)
        audit = own.records("audit", action="certificate_reload", result="published")[-1]
        expect("trigger notify" in audit["detail"], audit)
    return f"{events} in the queue; served after {took:.2f} s"


@check("100 rotations in 10 s under 200 requests a second cost no request, and leave no descriptor, thread or memory")
def _(stage):
    secret = Secret(stage.folder / "flapping")
    leaves_of = {version: secret.write(version) for version in ("..v2", "..v3")}
    names = itertools.cycle(leaves_of)

    def rotate(number):
        """And the time that each took to be published."""
        for _ in range(number):
            began = time.monotonic()
            secret.publish(last := next(names))
            until(1, "a tenth of a second", lambda began=began: time.monotonic() > began + 0.095)
        until(5, "the last is served", lambda: eye.look() == leaves_of[last])

    def usage():
        return {name: own.metric(f"process_{name}") for name in ("open_fds", "threads", "resident_memory_bytes")}

    with running(stage, "flapping", secret, target=stage.second.url) as own:
        eye = Eye(own.port)
        load = Load(f"https://localhost:{own.port}/", 14)
        try:
            rotate(20)
            before = usage()
            rotate(100)
            expect(load.still(), "the load ended before the rotations")
            published = own.metric('portcullis_certificate_reloads_total{result="published"}')
            failed = own.metric(FAILED)
            until(5, "descriptors are as many as before", lambda: usage()["open_fds"] <= before["open_fds"] + 20)
            after = usage()
        finally:
            requests = load.end()
        until(5, "none is open", lambda: clients_of(own.port) == set())
        expect(failed == 0 and published <= 121, f"{published} published, {failed} failed")
        grown = (after["resident_memory_bytes"] - before["resident_memory_bytes"]) / (1 << 20)
        expect(grown < 16 and after["threads"] <= before["threads"] + 4, f"before {before}", f"after  {after}")
    return f"{requests} requests, {published:.0f} published, {grown:+.1f} MiB"


# Clocks


def with_a_loader():
    """The binary, or where that is a static one, that of the tests: only a loader lays a library over the system's."""
    if not is_static(BINARY.read_bytes()):
        return BINARY
    if not DEBUG.exists():
        raise Skipped("no library can be laid over a static program, and cargo build has not made another one")
    return DEBUG


class Clock:
    """What time it is for a sidecar, which can be changed while it runs; its monotonic clock is the real one."""

    def __init__(self, stage, name):
        into = stage.folder / "libfaketime"
        if not into.exists():
            unpack("libfaketime", stage.folder / "debian-lists", into)
        library = next(into.glob("usr/lib/*/faketime/libfaketimeMT.so.1"))
        # Beside the certificates, where the sidecar may read.
        self.file = stage.public.dir.parent / f"{name}.clock"
        self.set("+0")
        settings = {
            "LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": self.file, "FAKETIME_NO_CACHE": 1,
            "FAKETIME_DONT_FAKE_MONOTONIC": 1, "DONT_FAKE_MONOTONIC": 1, "FAKETIME_DONT_RESET": 1,
        }
        self.under = ("env", *(f"{name}={value}" for name, value in settings.items()))

    @contextlib.contextmanager
    def running(self, stage, name, *arguments, **more):
        """A sidecar with this clock."""
        with running(stage, name, stage.public, *arguments, under=self.under, binary=with_a_loader(), **more) as own:
            pid = own.sidecar.child.pid
            try:
                yield own
            finally:
                own.sidecar.kill()
                # What the library leaves of a process that was killed.
                for left in ("faketime_shm", "sem.faketime_sem"):
                    Path(f"/dev/shm/{left}_{pid}").unlink(missing_ok=True)

    def set(self, offset):
        new = self.file.with_suffix(".new")
        new.write_text(f"{offset}\n")
        os.rename(new, self.file)


def year_of(own):
    """That in the record of a request of now."""
    before = len(own.records())
    expect(own.get("-k").status == 200, "a request of now")
    return int(until(5, "its record", lambda: own.records()[before:])[0]["time"][:4])


@check("clocks that jump a year on and two back end no connection and stop no timer; an expired certificate is served")
def _(stage):
    clock, go_on = Clock(stage, "jumps"), threading.Event()
    this_year = time.gmtime().tm_year

    def page(ask):
        if ask.path == "/waits":
            go_on.wait(40)
        ask.answer(200, b"ok")

    app = Site(page)
    flags = ("--head-timeout", "2s", "--idle-timeout", "30s", "--response-timeout", "60s")
    try:
        with clock.running(stage, "jumps", *flags, target=app.url) as own:
            expect(year_of(own) == this_year, "the clock of the start")
            url = f"https://localhost:{own.port}/waits"
            waits = Process("jumps-waits", ["curl", "-sS", "--cacert", own.secret.ca, url], {}, stage.folder)
            until(5, "it is asked", lambda: any(asked.path == "/waits" for asked in app.asked))
            with Asking(askers(stage, own, 4, 2)) as asking:
                for offset, year in (("+1y", 1), ("-1y", -1), ("+0", 0)):
                    asking.more(100)
                    clock.set(offset)
                    until(5, f"its clock is at {offset}", lambda year=year: year_of(own) == this_year + year)
                    asking.more(100)
                    expect(own.plane("probe", "/readyz").status == 200, f"at {offset} it is not ready")
                    if year:
                        own.sidecar.signal(signal.SIGHUP)
                        word = "expired" if year > 0 else "not valid before"
                        until(
                            5, f"/status says so at {offset}",
                            lambda word=word: word in str(own.plane("admin", "/status").json()["degraded"]),
                        )
                    # A timer that begins after the jump, of a head that does not come.
                    began = time.monotonic()
                    with Wire(own) as wire:
                        wire.tls.sendall(b"GET /half HTTP/1.1\r\n")
                        expect(b" 408 " in wire.tls.recv(100), "no 408")
                    took = time.monotonic() - began
                    expect(1.5 < took < 10, f"at {offset} the head timed out after {took:.1f} s")
            expect(set(asking.answers) == {200}, asking.answers)
            # One connection each all the time: nothing was closed.
            ports = collections.Counter(record["client_port"] for record in own.records(path="/"))
            kept = [port for port, number in ports.items() if number > 50]
            expect(len(kept) == 6, f"{len(kept)} kept connections", ports.most_common(8))
            go_on.set()
            expect(waits.child.wait(10) == 0 and waits.stdout.read_text() == "ok", waits.tail())
            odd = [r for r in own.records() if not 0 <= r["duration_ms"] < 60_000]
            expect(not odd, *odd[:3])
            leaf = own.metric(f'portcullis_certificate_not_after_seconds{{name="{own.secret.dir}",element="leaf"}}')
            expect(0 < leaf - time.time() < 2 * 86400, f"the metric says {leaf}")
            is_alive(own)
    finally:
        go_on.set()
        app.server.shutdown()
        app.server.server_close()
    return f"{sum(asking.answers.values())} requests"


class Dated(Secret):
    """A Secret whose certificate is valid from so many seconds from now to so many."""

    def __init__(self, folder, begin, end):
        super().__init__(folder)
        into = self.dir / "..v2"
        into.mkdir()
        begin, end = (time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + at)) for at in (begin, end))
        names = f"subjectAltName={self.names}\n"
        dates = ("-startdate", begin, "-enddate", end)
        self.authority.sign("/CN=dated", into / "tls.crt", into / "tls.key", names, days=dates)
        self.publish("..v2")
        self.leaf = self.fingerprint("..v2")

    def is_served(self, own, word):
        """As it is: ready all the same, and said to be so."""
        expect(Eye(own.port).look() == self.leaf and own.get("-k").status == 200, "it is not served")
        until(5, "/status says so", lambda: word in str(own.plane("admin", "/status").json()["degraded"]))
        expect(own.plane("probe", "/readyz").status == 200, "it is not ready")
        is_alive(own)


@check("a certificate that expires while it is served goes on, ready and degraded; so does one of tomorrow at the start")
def _(stage):
    secret = Dated(stage.folder / "expires", -86400, 4)
    end = time.time() + 4
    with running(stage, "expires", secret, target=stage.second.url) as own:
        expect(own.get().status == 200 and "expired" not in said(own), "the beginning")
        until(20, "it has expired", lambda: time.time() > end + 1)
        secret.is_served(own, "expired at")
    secret = Dated(stage.folder / "tomorrow", 86400, 2 * 86400)
    with running(stage, "tomorrow", secret, target=stage.second.url) as own:
        secret.is_served(own, "is not valid before")
        until(5, "the log says so", lambda: re.search(r" (WARN|ERROR) .*is not valid before", said(own)))


@check("a certificate that expires while it is served is an error in the log, at the next look at the latest")
def _(stage):
    clock = Clock(stage, "expired-log")
    with clock.running(stage, "expired-log", target=stage.second.url) as own:
        # What has expired before it is there is said of the start.
        until(5, "it is ready", lambda: own.plane("probe", "/readyz").status == 200)
        clock.set("+3d")
        # It looks by itself every 30 s, which is long to wait for.
        own.sidecar.signal(signal.SIGHUP)
        until(5, "it has looked", lambda: "certificate unchanged" in said(own))
        until(3, "the log says so", lambda: re.search(r" (WARN|ERROR) .*expired", said(own)))


@check("after 4 s in which the process stands still nothing was timed out, who came meanwhile is served, and timers go on")
def _(stage):
    go_on = threading.Event()

    def page(ask):
        if ask.path == "/waits":
            go_on.wait(40)
        ask.answer(200, b"ok" + ask.read_body())

    limits = ("idle", "stall", "response", "head", "handshake")
    flags = [part for name in limits for part in (f"--{name}-timeout", "7s")]
    with fronted(stage, "still", page, *flags) as (own, app), contextlib.ExitStack() as stack:
        url = f"https://localhost:{own.port}/waits"
        waits = Process("still-waits", ["curl", "-sS", "--cacert", own.secret.ca, url], {}, stage.folder)
        until(5, "it is asked", lambda: any(asked.path == "/waits" for asked in app.asked))
        idle, upload, half = (stack.enter_context(Wire(own)) for _ in range(3))
        expect(idle.says(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n") == 200, "the first")
        upload.tls.sendall(b"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf ")
        half.tls.sendall(b"GET /half HTTP/1.1\r\nHost: loc")
        until(5, "the upload has begun", lambda: any(asked.path == "/upload" for asked in app.asked))
        own.sidecar.signal(signal.SIGSTOP)
        stopped = time.monotonic()
        try:
            late = [stack.enter_context(socket.create_connection(("127.0.0.1", own.port), 5)) for _ in range(100)]
            until(10, "four seconds", lambda: time.monotonic() > stopped + 4)
        finally:
            own.sidecar.signal(signal.SIGCONT)
        go_on.set()
        expect(waits.child.wait(10) == 0 and waits.stdout.read_text() == "ok", waits.tail())
        expect(idle.says(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n") == 200, "the idle one")
        expect(upload.says(b"whole") == 200, "the upload")
        expect(half.says(b"alhost\r\n\r\n") == 200, "the half head")
        context = trusting(stage)
        for plain in late:
            with context.wrap_socket(plain, server_hostname="localhost") as tls:
                tls.sendall(b"GET /late HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                expect(b" 200 " in tls.recv(1000), "one that came meanwhile")
        until(5, "all records", lambda: len(own.records(path="/late", status=200)) == 100)
        expect({record["reason"] for record in own.records()} == {""}, *own.records())
        expect(not own.records("handshake"), *own.records("handshake"))
        # The idle ones are ended by a timer that still runs.
        until(20, "the idle ones are closed", lambda: not clients_of(own.port) and idle.tls.recv(10) == b"")
