"""End to end: an application that is not there, in all the ways in which it can be away. Each check has a sidecar of
its own."""

import collections
import contextlib
import re
import socket
import time
from pathlib import Path

from certificates import running
from limits import NODE
from props import Answer, Checks, Network, Process, Skipped, expect, free_port, from_debian, run, told, until
from protocols import BOTH
from targets import in_room

from admin import answered

check = Checks()


# An application that is not there


@check("an app that is not up yet: ready, requests are held for --connect-retry-for, then 503; once it is up, answered")
def _(stage):
    port = free_port()
    target = f"http://127.0.0.1:{port}"
    with running(stage, "early", stage.public, target=target) as own:
        until(3, "ready", lambda: own.plane("probe", "/readyz").status == 200)
        expect(own.plane("probe", "/healthz").status == 200, "/healthz")
        for option in BOTH:
            began = time.monotonic()
            answer = own.get(option)
            took = time.monotonic() - began
            expect(answer.status == 503 and answer.headers.get("retry-after"), option, answer.seen())
            expect(1.5 < took < 6, f"{option}: after {took:.1f} s, and --connect-retry-for is 2s")
        url = f"https://localhost:{own.port}/waits"
        waits = [
            Process(f"early{option}", ["curl", "-sS", option, "--cacert", own.secret.ca, url], {}, stage.folder)
            for option in BOTH
        ]
        in_flight = "portcullis_requests_in_flight"
        until(1, "both wait", lambda: own.metric(in_flight) == 2)
        app = Process("early-app", ["node", "-e", NODE], {"PORT": str(port)}, stage.folder)
        try:
            until(10, "it listens", lambda: socket.create_connection(("127.0.0.1", port), 1).close() is None)
            up = time.monotonic()
            answer = own.get()
            took = time.monotonic() - up
            expect(answer.status == 200 and took < 1.5, f"after {took:.2f} s", answer.seen())
            # Held as long as that, if Node was quick enough for them.
            codes = [client.child.wait(10) for client in waits]
            texts = [client.stdout.read_text() for client in waits]
            expect(codes == [0, 0] and all(text == "ok" or "upstream_refused" in text for text in texts), codes, texts)
            until(5, "they are recorded", lambda: len(own.records(path="/waits")) == 2)
        finally:
            app.kill()
    return f"{took * 1000:.0f} ms after it was up; {texts.count('ok')} of 2 that waited were answered by it"


@contextlib.contextmanager
def network_of(stage, name, *setting):
    with contextlib.closing(Network(stage, name, *setting)) as network:
        yield network


def asks(network, own, *options, path="/"):
    """With curl, from in there."""
    url = f"https://localhost:{own.port}{path}"
    common = ("-i", "-sS", "--max-time", "30", "--cacert", own.secret.ca)
    return Answer(run(*network.inside, "curl", *common, *options, url, timeout=60))


def dropped(stage, network, *what):
    """From now on no packet of these is let through, and nobody is told."""
    nft = from_debian(stage.folder, "nftables", "nft")
    rules = "add table inet faults\nadd chain inet faults come { type filter hook input priority 0; }\n"
    # Where they come in: who sends would be told at once.
    script = rules + "".join(f"add rule inet faults come {each} drop\n" for each in what)
    done = run(*network.inside, nft, "-f", "-", text=script)
    if done.returncode != 0:
        raise Skipped(f"there are no filters of packets here: {done.stderr.strip()[:200]}")
    return lambda: expect(run(*network.inside, nft, "delete", "table", "inet", "faults").returncode == 0, "it stays")


@check("an app whose SYNs are dropped is 504 at --connect-timeout over HTTP/1.1 and HTTP/2, and comes back")
def _(stage):
    with network_of(stage, "dropped") as network:
        port = free_port()
        command = [*network.inside, "node", "-e", NODE]
        app = Process("dropped-app", command, {"PORT": str(port)}, stage.folder)
        flags, target = ("--connect-timeout", "1s", "--pool-idle", "100ms"), f"http://127.0.0.1:{port}"
        with running(stage, "dropped", stage.public, *flags, target=target, under=network.inside) as own:
            until(10, "the app is up", lambda: asks(network, own).status == 200)
            restore = dropped(stage, network, f"tcp dport {port}")
            took = []
            for option in BOTH:
                # Of the kept ones none is left.
                until(5, "no connection to the app", lambda: not kept_to(network, port))
                began = time.monotonic()
                answer = asks(network, own, option, path="/dropped")
                took.append(time.monotonic() - began)
                expect(answer.status == 504 and "upstream_connect_timeout" in answer.body, option, answer.seen())
                expect(0.9 < took[-1] < 4, f"{option}: after {took[-1]:.1f} s")
            until(5, "two records", lambda: len(own.records(path="/dropped", reason="upstream_connect_timeout")) == 2)
            restore()
            until(3, "it is answered again", lambda: asks(network, own).status == 200)
            app.kill()
    return f"after {max(took):.2f} s at most"


def sockets_of(network):
    """TCP connections of a network: local and remote port, state, and the kind of timer with its jiffies."""
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{network.pid}/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            local, remote = (int(address.rpartition(":")[2], 16) for address in fields[1:3])
            kind, _, when = fields[5].partition(":")
            yield local, remote, int(fields[3], 16), int(kind, 16), int(when, 16)


def kept_to(network, port):
    return {local for local, remote, state, *_ in sockets_of(network) if remote == port and state == 1}


@check("out of ports for connections to the app, what has one is answered and the rest is 503 at once, without a storm")
def _(stage):
    ports = 20
    with network_of(stage, "narrow", f"sysctl -qw net.ipv4.ip_local_port_range='40000 {40000 + ports - 1}'") as network:
        port = free_port()
        settings = {"PORT": str(port), "DELAY": "1000"}
        app = Process("narrow-app", [*network.inside, "node", "-e", NODE], settings, stage.folder)
        with running(stage, "narrow", stage.public, target=f"http://127.0.0.1:{port}", under=network.inside) as own:
            # A client that needs none of these ports.
            client = ("--local-port", "50000-50999")
            until(10, "the app is up", lambda: asks(network, own, *client).status == 200)
            before, began = own_cpu(network, own), time.monotonic()
            codes, many = collections.Counter(), 100
            url = f"https://localhost:{own.port}/[1-{many}]"
            options = ("-Z", "--parallel-max", many, "--http2", "-o", "/dev/null", "-w", "%{http_code} %{time_total}\n")
            done = run(*network.inside, "curl", "-sS", *client, "--cacert", own.secret.ca, *options, url, timeout=60)
            refused = []
            for line in done.stdout.splitlines():
                code, took = line.split()
                codes[code] += 1
                refused += [float(took)] if code == "503" else []
            elapsed, cpu = time.monotonic() - began, own_cpu(network, own) - before
            expect(done.returncode == 0 and set(codes) == {"200", "503"}, codes, told(done)[-2000:])
            expect(codes["200"] <= ports + 1 and codes["503"] >= many - ports - 1, codes)
            expect(max(refused) < 2.5, f"a refusal took {max(refused):.1f} s")
            expect(cpu < 1, f"{cpu:.2f} s of CPU")
            records = until(5, "records", lambda: (r := own.records(status=503))[codes["503"] - 1 :] and r)
            expect({record["reason"] for record in records} == {"upstream_exhausted"}, records[0])
            # With the ports back all is well.
            until(10, "answered again", lambda: asks(network, own, *client).status == 200)
            app.kill()
    told_so = f"{codes['200']} answered, {codes['503']} refused within {max(refused):.2f} s"
    return f"{told_so}; {cpu:.2f} s of CPU in {elapsed:.1f} s"


def own_cpu(network, own):
    """CPU seconds so far; in a network of its own its metrics are asked there."""
    url = f"http://{own.sidecar.address['admin']}/metrics"
    text = run(*network.inside, "curl", "-sS", url).stdout
    return float(re.search(r"^process_cpu_seconds_total (\S+)$", text, re.MULTILINE)[1])


def resolver_dies(stage, room):
    """From now on there is one that never answers, as one does whose packets are lost."""
    (room.hosts.parent / "nsswitch").write_text("hosts: dns\n")
    (room.hosts.parent / "resolv.conf").write_text("nameserver 127.0.0.53\n")
    done = run(*room.inside, "mount", "--bind", room.hosts.parent / "resolv.conf", "/etc/resolv.conf")
    expect(done.returncode == 0, told(done))
    dropped(stage, room, "udp dport 53")


@check("a name that the resolver no longer knows, or a resolver that is dead, leaves the last good addresses in use")
def _(stage):
    with in_room(stage, "resolver", "--allow-remote-target") as (room, own, plane):
        def status(path):
            return asks(room, own, path=path).status

        room.means(app=room.PRIVATE)
        answered(plane.change(f"http://app.test:{room.port}"))
        expect(status("/known") == 200, "before")
        room.means()
        seen = [status("/unknown") for _ in range(3)]
        record = until(3, "its record", lambda: own.records(path="/unknown"))[-1]
        expect(set(seen) == {200}, f"NXDOMAIN: {seen}", record)
        resolver_dies(stage, room)
        began = time.monotonic()
        seen = [status("/dead") for _ in range(2)]
        record = until(3, "its record", lambda: own.records(path="/dead"))[-1]
        expect(set(seen) == {200} and time.monotonic() - began < 6, f"a dead resolver: {seen}", record)


@check("a name that leads elsewhere is followed; a dead resolver delays a request by --connect-timeout at most, no probe")
def _(stage):
    with in_room(stage, "moved-name", "--allow-remote-target") as (room, own, plane):
        room.means(app=room.PRIVATE)
        answered(plane.change(f"http://app.test:{room.port}"))
        expect(asks(room, own).status == 200, "before")
        before = len(room.visited())
        room.means(app="127.0.0.1")

        def is_followed():
            expect(asks(room, own).status == 200, "a request")
            return room.visited()[-1] == "127.0.0.1"

        until(40, "the new address", is_followed)
        expect(set(room.visited()[before:]) <= {room.PRIVATE, "127.0.0.1"}, room.visited())
        resolver_dies(stage, room)
        url = f"https://localhost:{own.port}/hangs"
        command = ["curl", "-sS", "-w", "\n%{http_code}", "--cacert", own.secret.ca, url]
        began = time.monotonic()
        client = Process("moved-name-client", [*room.inside, *command], {}, stage.folder)
        while client.child.poll() is None:
            for path in ("/livez", "/readyz", "/metrics"):
                url = f"http://{own.sidecar.address['probe']}{path}"
                expect(run(*room.inside, "curl", "-sf", "--max-time", "2", url).returncode == 0, path)
            expect(time.monotonic() < began + 15, "the request hangs")
        status = client.stdout.read_text()[-3:]
        # The last good address, or the end of --connect-timeout.
        expect(status in ("200", "504"), client.tail())
    return f"{status} after {time.monotonic() - began:.1f} s"
