"""End to end: too much of everything, against the limits that are to hold, and what a scanner finds. Each check has a
sidecar of its own."""

import asyncio
import contextlib
import json
import re
import socket
import ssl
import subprocess
import time

from certificates import running
from faults import Held, in_64_mebibytes, is_alive
from limits import counted, is_answered_in_time, trusting
from props import BINARY, Checks, expect, from_debian, run, told, until
from protocols import fronted
from records import in_memory

check = Checks()


@check("of 2,000 connections of h2load against a limit of 500, 500 work to the end, and the others are refused at once")
def _(stage):
    flags = ("--max-connections", 500)
    with running(stage, "crowded", stage.public, *flags, target=stage.second.url) as own:
        done = run("h2load", "--h1", "-c", 2000, "-n", 20_000, f"https://localhost:{own.port}/", timeout=120)
        seen = re.search(r"(\d+) succeeded, (\d+) failed", done.stdout)
        expect(seen, told(done))
        worked, took = int(seen[1]), re.search(r"finished in ([\d.]+)(m?s)", done.stdout)
        seconds = float(took[1]) / (1000 if took[2] == "ms" else 1)
        # Each connection has ten of the requests to ask.
        expect(worked >= 500 * 10, told(done))
        until(5, "all are gone", lambda: counted(own, "connections") == 0)
        until(5, "their records", lambda: len(own.records()) >= worked)
        statuses = {record["status"] for record in own.records()}
        expect(statuses == {200}, statuses)
        refused = own.metric('portcullis_connections_refused_total{reason="max_connections"}')
        expect(refused >= 1000, f"{refused} were refused")
        expect(seconds < 60, told(done))
        is_answered_in_time(own)
    return f"{worked} requests answered in {seconds:.1f} s, {refused:.0f} connections refused"


async def shake(port, context, often):
    """Full handshakes, one after the other, each given up when it is over."""
    for _ in range(often):
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port, ssl=context), 20)
            writer.transport.abort()
        except (OSError, ssl.SSLError, TimeoutError, asyncio.TimeoutError):
            pass


def half_of(port, number):
    """Connections that begin a handshake and do not go on."""
    begun = []
    for _ in range(number):
        one = socket.socket()
        one.settimeout(5)
        try:
            one.connect(("127.0.0.1", port))
            one.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        except OSError:
            pass
        begun.append(one)
    return begun


@check("in 64 MiB handshakes in a flood, idle connections and readers who do not read stay under the limit; others go on")
def _(stage):
    under = in_64_mebibytes()
    said = run(*under, BINARY, "check").stdout
    expect("512 connections of clients" in said and "a memory limit of 64 MiB" in said, said)
    context = trusting(stage)

    def page(ask):
        with contextlib.suppress(OSError):
            ask.answer(200, b"x" * (8 << 20) if ask.path == "/large" else b"hello")

    with fronted(stage, "flooded", page, under=under) as (own, _):
        room = own.plane("admin", "/config").json()["in_effect"]
        expect((room["max_connections"], room["max_requests"]) == (512, 64), room)
        most = [in_memory(own)]
        with Held(own, 200, context):
            most.append(in_memory(own))
            begun = half_of(own.port, 1000)
            most.append(in_memory(own))

            async def flood():
                await asyncio.gather(*(shake(own.port, context, 40) for _ in range(50)))

            asyncio.run(flood())
            most.append(in_memory(own))
            for one in begun:
                one.close()
            until(10, "there is room again", lambda: own.get("--max-time", "2").status == 200)
        until(10, "all are gone", lambda: counted(own, "connections") == 0)
        readers = []
        for _ in range(150):
            tls = context.wrap_socket(socket.create_connection(("127.0.0.1", own.port)), server_hostname="localhost")
            tls.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
            readers.append(tls)
        refused = 'portcullis_requests_total{method="GET",code="503",reason="overloaded"}'
        until(10, "what is too much is refused", lambda: own.metric(refused) >= 150 - 64)
        until(10, "the rest is in flight", lambda: own.metric("portcullis_requests_in_flight") == 64)
        time.sleep(1)
        most.append(in_memory(own))
        for tls in readers:
            tls.close()
        until(10, "there is room again", lambda: own.get("--max-time", "2").status == 200)
        is_alive(own)
    expect(max(most) < 64, f"{most} MiB")
    return "MiB: " + ", ".join(f"{seen:.0f}" for seen in most)


# What a certificate of two days from a private CA without CRL or OCSP brings with it.
PRIVATE = {"cert_expirationStatus", "cert_notAfter", "cert_revocation", "cert_chain_of_trust", "cert_trust"}


@check("testssl.sh finds nothing above LOW that a private CA does not explain")
def _(stage):
    testssl = from_debian(stage.folder, "testssl.sh", "testssl")
    root = stage.folder / "testssl.sh"
    # It insists on a resolver, also for an address that it is given.
    resolver = stage.folder / "no-resolver"
    resolver.mkdir()
    (resolver / "dig").write_text("#!/bin/sh\n")
    (resolver / "dig").chmod(0o755)
    from_debian(stage.folder, "bsdextrautils", "hexdump")
    found = stage.folder / "testssl.json"

    def page(ask):
        fields = {
            "X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
            "Content-Security-Policy": "default-src 'none'",
        }
        ask.answer(200, b"hello", **fields)

    with fronted(stage, "scanned", page, "--hsts") as (own, _):
        environment = {"PATH": f"{resolver}:{stage.folder / 'bsdextrautils'}:/usr/bin:/bin", "HOME": str(stage.folder)}
        if (root / "etc/testssl").is_dir():
            environment["TESTSSL_INSTALL_DIR"] = str(root / "etc/testssl")
        done = subprocess.run(
            [
                str(testssl), "--quiet", "--warnings", "off", "--color", "0", "--nodns", "none", "--ip", "127.0.0.1",
                "--add-ca", str(own.secret.ca), "--jsonfile", str(found), f"localhost:{own.port}",
            ],
            capture_output=True, text=True, timeout=400, env=environment, stdin=subprocess.DEVNULL, check=False,
        )
        expect(found.is_file(), done.stdout[-2000:], done.stderr[-2000:])
        findings = json.loads(found.read_text())
    ids = {finding["id"] for finding in findings}
    # It has looked, and at TLS.
    expect({"TLS1_2", "TLS1_3", "cipherlist_AVERAGE", "cert_commonName"} <= ids, sorted(ids), done.stdout[-1500:])
    bad = [
        finding for finding in findings
        if finding["severity"] in ("MEDIUM", "HIGH", "CRITICAL", "FATAL") and finding["id"] not in PRIVATE
    ]
    expect(not bad, *bad)
    return f"{len(findings)} findings"
