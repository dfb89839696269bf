"""End to end: what an exchange costs in system calls, on one warm connection. They are numbers of the program and not of the
machine: with no other connection there is nothing to do for a worker until the next bytes come, so it waits each time."""

import contextlib
import re
import signal
from pathlib import Path

from faults import pid_of
from props import Checks, Process, Skipped, expect, from_debian, run, told, until
from records import before_quick

check = Checks()
READS = {"read", "readv", "recvfrom", "recvmsg"}
WRITES = {"write", "writev", "sendto", "sendmsg"}


class Counted:
    """strace on the one worker of a sidecar."""

    def __init__(self, stage, own, name):
        self.table = stage.folder / f"{name}.calls"
        threads = Path(f"/proc/{pid_of(own)}/task").iterdir()
        self.worker = next(thread for thread in threads if (thread / "comm").read_text().strip() == "worker-0")
        command = [from_debian(stage.folder, "strace", "strace"), "-c", "-o", self.table, "-p", self.worker.name]
        self.strace = Process(f"{name}-strace", command, {}, stage.folder)
        until(10, "the worker is watched", self.is_watching)

    def is_watching(self):
        said = self.strace.stderr.read_text()
        if self.strace.child.poll() is not None:
            raise Skipped(f"no thread can be watched here: {said.strip()[:200]}")
        return "attached" in said and "TracerPid:\t0\n" not in (self.worker / "status").read_text()

    def calls(self):
        """How often it has made which."""
        self.strace.signal(signal.SIGINT)
        self.strace.child.wait(10)
        row = re.compile(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?(\w+)$", re.MULTILINE)
        return {name: int(count) for count, name in row.findall(self.table.read_text()) if name != "total"}


@contextlib.contextmanager
def before_client(stage, name, *flags):
    """A sidecar with one worker, into which its own user may look, and whose connection to the app is there."""
    with before_quick(stage, name, "--workers", "1", "--dumpable", *flags) as own:
        expect(own.get().status == 200)
        yield own


def calls_for(stage, name, requests, clients, *how, flags=()):
    """The worker's calls while so many clients ask so many requests, none of which fails."""
    with before_client(stage, name, *flags) as own:
        counted = Counted(stage, own, name)
        done = run("h2load", "-n", requests, "-c", clients, *how, f"https://localhost:{own.port}/", timeout=60)
        calls = counted.calls()
    expect(f"{requests} succeeded, 0 failed" in done.stdout, told(done))
    return calls


def per_exchange(stage, name, *how):
    """Reads, writes and other calls of the worker, for each of so many exchanges on one connection, its handshake included."""
    calls = calls_for(stage, name, EXCHANGES, 1, *how)
    kinds = {"reads": 0, "writes": 0, "others": 0}
    for call, count in calls.items():
        kinds["reads" if call in READS else "writes" if call in WRITES else "others"] += count / EXCHANGES
    return kinds, calls


def holds(kinds, calls, **most):
    """None is more than that."""
    expect(all(kinds[kind] <= most[kind] for kind in most), f"per exchange: {kinds}", f"at most: {most}", f"calls: {calls}")
    rows = sorted(calls.items(), key=lambda row: -row[1])
    shown = ", ".join(f"{count / EXCHANGES:.2f} {call}" for call, count in rows if count / EXCHANGES >= 0.01)
    return f"{shown}; the handshake is part of it"


EXCHANGES = 500
CLIENTS = 1500


@check("an exchange of HTTP/1.1 costs two reads, two writes and two waits, and nothing else")
def _(stage):
    return holds(*per_exchange(stage, "calls-h1", "--h1"), reads=2.1, writes=2.1, others=2.2)


@check("an exchange of HTTP/2, of ten at a time, costs a read and a write at the app, and a share of the client's")
def _(stage):
    return holds(*per_exchange(stage, "calls-h2", "-m", 10), reads=1.4, writes=1.4, others=0.9)


@check("of 1,500 clients that ask all the time each has a connection to the app, and hardly one is dialled anew")
def _(stage):
    many = ["--max-handshakes", CLIENTS, "--handshake-timeout", "60s"]
    dialled = calls_for(stage, "busy", 20 * CLIENTS, CLIENTS, "--h1", flags=many).get("connect", 0)
    expect(dialled <= 1.1 * CLIENTS, f"{dialled:,} connections to the application")
    return f"{dialled:,} connections to the application for {20 * CLIENTS:,} requests"
