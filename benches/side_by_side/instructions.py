#!/usr/bin/env python3
"""Instructions that a request takes of the project outside the kernel, as valgrind's callgrind counts them: by crate, and the functions
that have most of them. They are the same whatever else the machine does.

    benches/side_by_side/instructions.py [--project BINARY] [--workload h1|h2] [--requests 4000] [--functions 25]

Needs valgrind and h2load. What connections take for themselves is taken away: as many with more requests are counted, too. A copy of 2 KiB
and more counts as an instruction a byte. Without symbols there is only the sum: `CARGO_PROFILE_RELEASE_STRIP=none cargo build --release`.
"""

import argparse
import collections
import re
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import peers
import run as command
from stage import Failed, Stage
from workloads import h2load

STREAMS = {"h1": 1, "h2": 16}
CONNECTIONS = 16


def main():
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--project", type=Path, default=command.BINARY, metavar="BINARY", help="default: target/release/portcullis")
    given.add_argument("--workload", choices=STREAMS, default="h1")
    given.add_argument("--requests", type=int, default=4000)
    given.add_argument("--functions", type=int, default=25)
    options = given.parse_args()
    for tool in ("valgrind", "callgrind_control", "h2load"):
        if not shutil.which(tool):
            sys.exit(f"{tool} is not there: apt-get install valgrind nghttp2-client")
    binary, few = command.project(options), options.requests // 4
    with Stage() as stage, stage.proxy(peers.PROJECT, partial(under_valgrind, binary)) as proxy:
        asked = partial(ask, proxy.port, options.workload)
        asked(options.requests)
        counts = [counted(proxy, partial(asked, number)) for number in (few, few + options.requests)]
    own, whole = (collections.Counter(more) for more in counts[1])
    for difference, less in zip((own, whole), counts[0]):
        difference.subtract(less)
    show(own, whole, options.requests, options.functions)


def under_valgrind(binary, job):
    """With nothing locked, since it writes what it counts where it was started."""
    count = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={job.folder}/counted"]
    return count + peers.project(binary, job, more=["--no-landlock", "--no-seccomp"])


def ask(port, workload, number):
    protocol = ["--h1"] if workload == "h1" else ["-m", str(STREAMS[workload])]
    done = h2load(["-n", number, "-c", CONNECTIONS, "-t1", *protocol, f"https://localhost:{port}/k"], 300)
    if done["requests"] != number:
        raise Failed(f"of {number} requests {done['requests']} were answered")


def counted(proxy, work):
    """Instructions by function, its own and with those of what it calls."""
    before = set(proxy.folder.glob("counted.*"))
    for order, wait in (("--zero", None), ("--instr=on", work), ("--instr=off", None), ("--dump", None)):
        done = subprocess.run(["callgrind_control", order, str(proxy.session)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise Failed(f"callgrind_control {order}: {done.stdout}")
        if wait:
            wait()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for path in set(proxy.folder.glob("counted.*")) - before:
            if "totals:" in (text := path.read_text(errors="replace")):
                return read(text)
        time.sleep(0.1)
    raise Failed("callgrind has written nothing")


def read(text):
    """Callgrind's format: names stand behind a number where they come first, and below `calls=` is what the call took."""
    names, own, whole = {}, collections.Counter(), collections.Counter()

    def name(written):
        number, spelt = re.fullmatch(r"(\(\d+\))? ?(.*)", written).groups()
        return names.setdefault(number, spelt) if spelt else names[number]

    function = callee = None
    is_call = False
    for line in text.splitlines():
        if line.startswith("fn="):
            function = name(line[3:])
        elif line.startswith("cfn="):
            callee = name(line[4:])
        elif line.startswith("calls="):
            is_call = True
        elif function and re.match(r"[+*\d-]", line) and len(parts := line.split()) == 2:
            # A function that calls itself has been counted already.
            if is_call and callee != function:
                whole[callee] += int(parts[1])
            elif not is_call:
                own[function] += int(parts[1])
            is_call = False
    return own, whole


def crate(function):
    """Whose it is, as far as its name tells."""
    if found := re.match(r"<?(?:dyn |&|mut )*([a-z_0-9]+)(?:::| as )", function):
        return found[1]
    return "mimalloc" if re.match(r"_?mi_", function) else "C, assembly and the C library"


def show(own, whole, requests, functions):
    crates = collections.Counter()
    for function, count in own.items():
        crates[crate(function)] += count
    print(f"| of | instructions a request |\n|---|---|\n| all | {sum(own.values()) / requests:,.0f} |")
    for of, count in crates.most_common(12):
        print(f"| {of} | {count / requests:,.0f} |")
    for what, counts in (("by itself", own), ("with what it calls", whole)):
        print(f"\n| function, {what} | instructions a request |\n|---|---|")
        for function, count in counts.most_common(functions):
            print(f"| `{function[:100]}` | {count / requests:,.0f} |")


if __name__ == "__main__":
    command.until_interrupted(main)
