"""What is asked of each proxy, by which client, and what came of it.

A workload is given the stage and a proxy, and the seconds it may take; it gives a dictionary: `requests` that were answered,
`failed` ones (no answer, or another than 2xx), and what else the client has seen. Those of CPU are divided by their requests by
`measure`; those of memory give `memory`, in KiB a connection.
"""

import asyncio
import contextlib
import re
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import Callable

import peers
from stage import ANYONE, Failed

ASK = b"GET /k HTTP/1.1\r\nHost: localhost\r\n\r\n"
AT_ONCE = 1000


def run(command, timeout):
    """What a client has printed."""
    words = [peers.tool(command[0]), *map(str, command[1:])]
    try:
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise Failed(f"{command[0]} was not done after {timeout} s") from None
    return done.stdout


def found(pattern, text):
    if not (match := re.search(pattern, text)):
        raise Failed(f"unexpected output of the client: {text.strip()[-300:]!r}")
    return match[1]


def milliseconds(text):
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000, "m": 60000}[unit]


def wrk(url, connections, seconds, timeout=60):
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", f"{timeout}s", "--latency", url]
    out = run(command, seconds + timeout + 60)
    refused, broken = wrk_failures(out)
    return {
        # It counts answers of any kind.
        "requests": int(found(r"(\d+) requests in", out)) - refused,
        "failed": refused + broken,
        "rps": float(found(r"Requests/sec:\s+([\d.]+)", out)),
        "p99_ms": milliseconds(found(r"99%\s+([\d.]+\w+)", out)),
    }


def wrk_failures(out):
    """Answers other than 2xx and 3xx; connections and requests that broke."""
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    broken = re.search(r"Socket errors: (.*)", out)
    return int(refused[1]) if refused else 0, sum(map(int, re.findall(r"\d+", broken[1] if broken else "")))


def h2load(arguments, timeout):
    started = time.monotonic()
    out = run(["h2load", *arguments], timeout)
    took = time.monotonic() - started
    answered = int(found(r"status codes: (\d+) 2xx", out))
    done = int(found(r"requests: \d+ total, \d+ started, (\d+) done", out))
    lost = int(found(r"(\d+) failed", out))
    return {"requests": answered, "failed": max(done - answered, lost), "rps": answered / took, "out": out}


def h1(stage, proxy, seconds):
    return wrk(f"https://localhost:{proxy.port}/k", 64, seconds)


def h2(stage, proxy, seconds):
    done = h2load(["-D", seconds, "-c16", "-m16", "-t1", f"https://localhost:{proxy.port}/k"], seconds + 60)
    if (protocol := found(r"Application protocol: (\S+)", done.pop("out"))) != "h2":
        raise Failed(f"it speaks {protocol}")
    done["rps"] = done["requests"] / seconds
    return done


def hs(stage, proxy, seconds):
    """A number, not a time: hey counts what it has cut off at the end as errors."""
    wanted = max(640 * seconds // 4 // 16 * 16, 16)
    options = ["-host", "localhost", "-disable-keepalive", "-n", wanted, "-c", 16]
    out = run(["hey", *options, f"https://localhost:{proxy.port}/k"], 120)
    answered = sum(int(count) for count in re.findall(r"\[2\d\d\]\s+(\d+) responses", out))
    return {"requests": answered, "failed": wanted - answered}


def down(stage, proxy, seconds):
    return wrk(f"https://localhost:{proxy.port}/10m", 4, seconds)


def up(stage, proxy, seconds):
    body = stage.files_folder / "10m"
    done = h2load(["--h1", "-n", 40, "-c4", "-d", body, f"https://localhost:{proxy.port}/up"], 120)
    del done["out"]
    return done


def conn(stage, proxy, seconds):
    """Connections that have had one request, one after the other, and are idle."""
    before, kept, failed = proxy.memory(), [], 0
    with contextlib.ExitStack() as closing:
        for _ in range(AT_ONCE):
            plain = closing.enter_context(socket.create_connection(("127.0.0.1", proxy.port), 30))
            try:
                one = closing.enter_context(ANYONE.wrap_socket(plain, server_hostname="localhost"))
                one.sendall(ASK)
                failed += not one.recv(4096).startswith(b"HTTP/1.1 200")
                kept.append(one)
            except OSError:
                failed += 1
        time.sleep(1.5)
        held = proxy.memory() - before
    return {"requests": AT_ONCE - failed, "failed": failed, "memory": held / AT_ONCE / 1024}


def burst(stage, proxy, seconds):
    """The same when all come at once, 4 s after the last answer: not what is idle, but what a rush has left."""
    before = proxy.memory()

    async def one():
        options = {"ssl": ANYONE, "server_hostname": "localhost", "ssl_handshake_timeout": 60}
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port, **options)
        writer.write(ASK)
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        return writer, head.startswith(b"HTTP/1.1 200")

    async def everyone():
        ends = await asyncio.gather(*(one() for _ in range(AT_ONCE)), return_exceptions=True)
        await asyncio.sleep(4)
        held = proxy.memory() - before
        good = [end for end in ends if not isinstance(end, BaseException)]
        for writer, _ in good:
            writer.transport.abort()
        return held, AT_ONCE - sum(answered for _, answered in good)

    held, failed = asyncio.run(everyone())
    return {"requests": AT_ONCE - failed, "failed": failed, "memory": held / AT_ONCE / 1024}


@dataclass
class Workload:
    name: str
    title: str
    unit: str
    load: Callable
    client: str = ""
    warm: bool = False
    # What else the project is told.
    flags: tuple = ()

    def measure(self, stage, proxy, seconds):
        if self.warm:
            self.load(stage, proxy, 1)
        started = proxy.cpu()
        done = self.load(stage, proxy, seconds)
        spent = proxy.cpu() - started
        if "memory" in done:
            return {**done, "cost": done.pop("memory")}
        if not done["requests"]:
            raise Failed(f"none of its {done['failed']} requests was answered well; {proxy.complaint()}")
        return {**done, "cost": spent / done["requests"] * 1e6}


WORKLOADS = {
    each.name: each
    for each in (
        Workload("conn", "idle connection", "KiB", conn),
        Workload("h1", "HTTP/1.1 request", "µs", h1, "wrk", True),
        Workload("h2", "HTTP/2 request", "µs", h2, "h2load", True),
        Workload("hs", "connection with one request", "µs", hs, "hey"),
        Workload("down", "10 MiB response", "µs", down, "wrk"),
        Workload("up", "10 MiB request", "µs", up, "h2load"),
        Workload("burst", "connection of a burst of 1,000", "KiB", burst, "", False, ("--max-handshakes", "1024")),
    )
}
# Layer 4 has no HTTP/2 of its own.
NOT_FOR = {("hitch", "h2")}
