#!/usr/bin/env python3
"""How CPU and memory grow, for the project and, with --peers, for others: by open connections, and by the size of responses.

    benches/side_by_side/scaling.py [--seconds 5] [--peers nginx] [--parts connections,bodies] [--json FILE] [--plot FILE.png]
    benches/side_by_side/scaling.py --from FILE.json [--plot FILE.png]

Connections (wrk, 1 KiB, every one of them asks all the time): once all are there, requests are counted at the application, and
CPU and memory are read before and after, so that handshakes are not in the figures. Bodies (h2load on 4 connections, a number of
requests): memory is the most of what was seen several times a second, in a process that has just started.
"""

import json
import subprocess
import sys
import time

import peers
import plot
import report
import run as command
from stage import Failed, Stage, about
from workloads import found, wrk_failures

CONNECTIONS = (1, 10, 100, 1000, 5000, 10_000)
SIZES = (1, 1 << 10, 10 << 10, 100 << 10, 1 << 20, 10 << 20, 100 << 20)
MOST = 12_000
# Limits of the project that are not what is measured; peers have none, or they are lifted in their configuration.
FLAGS = ("--max-connections", MOST, "--max-requests", MOST, "--max-handshakes", MOST, "--handshake-timeout", "60s")
NEEDED = {"connections": "wrk", "bodies": "h2load"}


def client(words, during):
    """A client that runs while `during` looks; gives what it has printed, and what `during` has found."""
    words = [peers.tool(words[0]), *map(str, words[1:])]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        seen = during(process)
        return process.communicate(timeout=120)[0], seen
    finally:
        process.kill()
        process.wait()


def connections(stage, proxy, count, seconds):
    # A handshake costs both sides; until they are over, figures would be those of handshakes.
    settle = 1 + count // 400

    def during(process):
        time.sleep(settle)
        before, spent = stage.count(), proxy.cpu()
        held = proxy.memory()
        time.sleep(seconds)
        asked, cost = stage.count() - before - 1, proxy.cpu() - spent
        return asked, cost, max(held, proxy.memory())

    load = ["wrk", "-t1", f"-c{count}", f"-d{settle + seconds + 2}s", "--timeout", "60s", f"https://localhost:{proxy.port}/k"]
    out, (asked, cost, held) = client(load, during)
    if asked < 1:
        raise Failed(f"nothing reached the application: {out.strip()[-200:]!r}; {proxy.complaint()}")
    per_connection = (held - proxy.base) / count / 1024
    return {
        "connections": count, "requests": asked, "failed": sum(wrk_failures(out)), "us": cost / asked * 1e6, "rps": asked / seconds,
        "mib": held / 2**20, "kib_per_connection": per_connection,
    }


def bodies(stage, proxy, size, seconds):
    path = stage.files_folder / str(size)
    if not path.exists():
        with open(path, "wb") as file:
            file.truncate(size)
    mib = size / 2**20
    # About as many as a client and an application on one CPU do in that time.
    wanted = max(8, int(seconds / (50e-6 + 1.5e-3 * mib)) // 4 * 4)
    spent = proxy.cpu()

    def during(process):
        most = 0
        while process.poll() is None:
            most = max(most, proxy.memory())
            try:
                process.wait(0.2)
            except subprocess.TimeoutExpired:
                pass
        return most

    out, most = client(["h2load", "--h1", "-n", wanted, "-c4", f"https://localhost:{proxy.port}/{size}"], during)
    cost = proxy.cpu() - spent
    good = int(found(r"status codes: (\d+) 2xx", out))
    if not good:
        raise Failed(f"no request was answered well: {out.strip()[-200:]!r}; {proxy.complaint()}")
    us = cost / good * 1e6
    return {"size": size, "requests": good, "failed": wanted - good, "us": us, "us_per_mib": us / mib, "mib": most / 2**20}


def possible(stage, told):
    """As many connections as there are descriptors for."""
    most = max(CONNECTIONS)
    if most <= stage.connections:
        return CONNECTIONS
    told["impossible"].append(f"{most:,} connections need {2 * most + 500:,} descriptors, and we may have {stage.files:,}")
    return [*(count for count in CONNECTIONS if count < stage.connections), stage.connections]


def measure(stage, options, makers, parts, told):
    points = {"connections": (connections, possible(stage, told)), "bodies": (bodies, SIZES)}
    for part in parts:
        one, values = points[part]
        for value in values:
            for proxy in makers:
                try:
                    with stage.proxy(proxy, lambda job: makers[proxy](job, FLAGS)) as running:
                        point = one(stage, running, value, options.seconds)
                    told[part][proxy].append(point)
                    said = f"{point['us']:,.1f} µs, {point['mib']:.1f} MiB, {point['failed']:,} failed"
                except (Failed, OSError) as error:
                    said = f"{part} {value:,}, {proxy}: error: {error}"
                    told["impossible"].append(said)
                print(f"{part} {value:,}, {proxy}: {said}", file=sys.stderr)


def markdown(run):
    lines = []
    if any(run["connections"].values()):
        lines += ["| connections | proxy | CPU µs/request | requests/s | memory, MiB | KiB/connection | failed |"]
        lines += ["|---" * 7 + "|"]
        for proxy, p in rows(run["connections"], "connections"):
            lines += [
                f"| {p['connections']:,} | {proxy} | {p['us']:.1f} | {p['rps']:,.0f} | {p['mib']:.1f} "
                f"| {p['kib_per_connection']:.1f} | {p['failed']:,} |"
            ]
        lines += [""]
    if any(run["bodies"].values()):
        lines += ["| response | proxy | CPU µs/request | CPU µs/MiB | peak memory, MiB | failed |", "|---" * 6 + "|"]
        for proxy, p in rows(run["bodies"], "size"):
            per_mib = f"{p['us_per_mib']:,.0f}" if p["size"] >= 1 << 10 else "–"
            lines += [
                f"| {plot.size(p['size'])} | {proxy} | {report.figure(p['us'])} | {per_mib} | {p['mib']:.1f} "
                f"| {p['failed']:,} of {p['requests'] + p['failed']:,} |"
            ]
        lines += [""]
    flags = " ".join(map(str, FLAGS))
    lines += ["CPU and memory of the proxy alone, which is started anew for each row.", f"The project runs with `{flags}`."]
    return "\n".join([*lines, *run["impossible"], "", *report.provenance(run["about"])])


def rows(part, key):
    """Those that are alike beside each other."""
    return sorted(((proxy, point) for proxy, points in part.items() for point in points), key=lambda row: row[1][key])


def main():
    given = command.arguments(__doc__)
    given.add_argument("--parts", default="connections,bodies", help="of %(default)s")
    given.set_defaults(peers="")
    options = given.parse_args()
    if options.plot:
        plot.library()
    if options.earlier:
        run = json.loads(options.earlier.read_text())
    else:
        parts = command.chosen(options.parts, NEEDED, "part")
        clients = [NEEDED[part] for part in parts]
        command.need(["openssl", "nginx", *clients])
        makers, versions, missing = command.proxies(options)
        with Stage(connections=MOST, kept=MOST) as stage:
            run = {part: {name: [] for name in makers} for part in NEEDED}
            run.update(about=about(stage, versions), impossible=[])
            run["about"].update(missing=missing, rounds=1, seconds=options.seconds)
            run["about"]["clients"] = {name: peers.version(name, peers.tool(name)) for name in clients}
            measure(stage, options, makers, parts, run)
    command.tell(run, options, markdown, plot.scaling)


if __name__ == "__main__":
    command.until_interrupted(main)
