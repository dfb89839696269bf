#!/usr/bin/env python3
"""The project beside nginx, HAProxy, Envoy, Caddy, Traefik and hitch: what each costs for the same work, on this machine.

    cargo build --release
    benches/side_by_side/run.py [--rounds 5] [--seconds 5] [--peers nginx,haproxy] [--workloads h1,h2]
                                [--json FILE] [--plot FILE.png]
    benches/side_by_side/run.py --from FILE.json [--plot FILE.png]

README.md beside this file says what is measured, and what to install.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import peers
import plot
import report
from stage import Failed, Stage, about
from workloads import NOT_FOR, WORKLOADS

BINARY = Path(__file__).resolve().parents[2] / "target/release/portcullis"


def common(text, seconds=5):
    """What each command here takes."""
    given = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--seconds", type=int, default=seconds, help="of load, each time")
    given.add_argument("--project", type=Path, default=BINARY, metavar="BINARY", help="default: target/release/portcullis")
    return given


def arguments(text):
    given = common(text)
    given.add_argument("--peers", default=",".join(peers.PEERS), help=f"of {','.join(peers.PEERS)}; default: %(default)s")
    given.add_argument("--project-args", default="", metavar="WORDS", help="more flags for `portcullis run`: --project-args='--ring 100'")
    given.add_argument("--venv", default=os.environ.get("PEERS_VENV"), help="where pip has put peers; also PEERS_VENV")
    given.add_argument("--json", type=Path, metavar="FILE", help="write all that was measured there")
    given.add_argument("--plot", type=Path, metavar="FILE.png", help="draw it there; needs matplotlib")
    given.add_argument("--from", dest="earlier", type=Path, metavar="FILE.json", help="measure nothing; tell of an earlier run")
    return given


def chosen(text, known, what):
    names = [name for name in text.split(",") if name]
    if strangers := [name for name in names if name not in known]:
        sys.exit(f"no such {what}: {', '.join(strangers)}; there are {', '.join(known)}")
    return names


def project(options):
    """The binary, which must be there."""
    if not os.access(options.project, os.X_OK):
        sys.exit(f"there is no {options.project}: cargo build --release makes it, --project names another")
    return options.project.resolve()


def proxies(options):
    """How each is started, its version, and what is missing."""
    more = peers.words(options.project_args)
    binary = project(options)
    makers = {peers.PROJECT: lambda job, flags=(): peers.project(binary, job, [*missing_flags(flags, more), *more])}
    versions, missing = {peers.PROJECT: peers.version(peers.PROJECT, binary)}, []
    for name in chosen(options.peers, peers.PEERS, "peer"):
        try:
            path = peers.tool(name, options.venv)
        except peers.Missing as error:
            print(f"{error}; it is left out", file=sys.stderr)
            missing.append(name)
            continue
        makers[name] = lambda job, flags=(), path=path, name=name: peers.PEERS[name](path, job)
        versions[name] = peers.version(name, path)
    return makers, versions, missing


def missing_flags(flags, more):
    """What a workload wants, unless we are told otherwise."""
    pairs = zip(flags[::2], flags[1::2])
    return [word for flag, value in pairs if not any(one.split("=")[0] == flag for one in more) for word in (flag, value)]


def need_for(names):
    """What these workloads take."""
    need(["openssl", "nginx", *sorted({WORKLOADS[name].client for name in names} - {""})])


def need(tools):
    """All that is missing, in one go."""
    told = []
    for name in tools:
        try:
            peers.tool(name)
        except peers.Missing as error:
            told.append(str(error))
    if told:
        sys.exit("\n".join(told))


def measure(stage, options, makers, names, told):
    """Peers one after the other within each workload, in another order each round: a mood of the machine meets all of them."""
    for turn in range(options.rounds):
        start = turn % len(makers)
        order = list(makers)[start:] + list(makers)[:start]
        for name in names:
            workload = WORKLOADS[name]
            for proxy in order:
                if (proxy, name) in NOT_FOR:
                    continue
                cell = told[proxy].setdefault(name, {"cost": [], "requests": [], "failed": [], "errors": []})
                try:
                    with stage.proxy(proxy, lambda job: makers[proxy](job, workload.flags)) as running:
                        told[proxy].setdefault("base", {"cost": []})["cost"].append(running.base / 2**20)
                        for key, value in workload.measure(stage, running, options.seconds).items():
                            cell.setdefault(key, []).append(value)
                    said = f"{cell['cost'][-1]:,.1f} {workload.unit}, {cell['failed'][-1]} failed"
                except (Failed, OSError) as error:
                    said = f"error: {error}"
                    cell["errors"].append(str(error))
                print(f"round {turn + 1} of {options.rounds}: {name}, {proxy}: {said}", file=sys.stderr)


def tell(run, options, markdown, draw):
    """As a table, and as what was asked for beside it."""
    print(markdown(run))
    if options.json:
        options.json.write_text(json.dumps(run, indent=1, ensure_ascii=False) + "\n")
    if options.plot:
        draw(run, options.plot)


def until_interrupted(main):
    try:
        main()
    except KeyboardInterrupt:
        print("interrupted; what was started is stopped", file=sys.stderr)
        sys.exit(130)


def main():
    given = arguments(__doc__)
    given.add_argument("--rounds", type=int, default=5)
    given.add_argument("--workloads", default=",".join(WORKLOADS), help="of %(default)s")
    options = given.parse_args()
    if options.plot:
        plot.library()
    if options.earlier:
        run = json.loads(options.earlier.read_text())
    else:
        names = chosen(options.workloads, WORKLOADS, "workload")
        need_for(names)
        makers, versions, missing = proxies(options)
        clients = {name: peers.version(name, peers.tool(name)) for name in sorted({WORKLOADS[n].client for n in names} - {""})}
        with Stage() as stage:
            run = {"about": about(stage, versions), "results": {name: {} for name in makers}}
            run["about"].update(clients=clients, missing=missing, rounds=options.rounds, seconds=options.seconds)
            measure(stage, options, makers, names, run["results"])
    tell(run, options, report.markdown, plot.side_by_side)


if __name__ == "__main__":
    until_interrupted(main)
