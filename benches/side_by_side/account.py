"""What the processes of a session have cost: CPU and memory, as the kernel counts them, for an ordinary user on any Linux.

A proxy is started in a session of its own, to which all of its processes belong. CPU is the nanoseconds that the kernel has
counted for each of their threads (`schedstat`); what a thread that ends between two looks has spent is lost, which for proxies
that keep their threads is nothing. A thread that runs at the moment of the look is counted up to its last tick, 1 to 10 ms ago.
Memory is what cannot be thrown away, without files that are mapped, from `smaps_rollup`: `Pss_Anon`, which is `Anonymous` with
pages that a parent and its forked children share counted once; before Linux 5.3 `Anonymous` itself.
"""

import os
import signal
import time
from pathlib import Path

PROC = Path("/proc")


def stats():
    """Of each process: its id, its parent's, and its session's."""
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                # The name of the program may have blanks and parentheses in it.
                state, parent, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if state not in "ZX":
                yield int(entry.name), int(parent), int(session)


def members(session):
    return [pid for pid, _, of in stats() if of == session]


def cpu(session):
    """Seconds of CPU so far."""
    spent = 0
    for pid in members(session):
        for task in (PROC / str(pid) / "task").glob("*/schedstat"):
            try:
                spent += int(task.read_text().split()[0])
            except (FileNotFoundError, ProcessLookupError):
                pass
    return spent / 1e9


def memory(session):
    """Bytes of memory now."""
    held = 0
    for pid in members(session):
        try:
            lines = [line.split() for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines()[1:]]
        except (FileNotFoundError, ProcessLookupError):
            continue
        kib = {line[0]: int(line[1]) for line in lines}
        held += kib.get("Pss_Anon:", kib["Anonymous:"]) * 1024
    return held


def stop(session, patience=0):
    """Ends all of them, and nothing of what they would still do is wanted; but for so many seconds they may end by themselves."""
    begun = time.monotonic()
    if patience:
        tell([session], signal.SIGTERM)
    while (left := members(session)) and time.monotonic() < begun + patience + 10:
        if time.monotonic() >= begun + patience:
            tell(left, signal.SIGKILL)
        time.sleep(0.02)


def tell(pids, number):
    """Sends them a signal, as far as they are still there."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def sessions():
    """Those that children of ours lead. Asked of the kernel, so that none is forgotten whatever has interrupted us."""
    return [pid for pid, parent, session in stats() if parent == os.getpid() and session == pid]
