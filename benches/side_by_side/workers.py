#!/usr/bin/env python3
"""What workers cost each other: CPU per request of the project with one worker and with two, on two CPUs that client and
application use, too.

    benches/side_by_side/workers.py [--rounds 5] [--seconds 3] [--project BINARY]

With client and application on the same two CPUs, twice the requests a second cannot be seen. But what keeps a second worker from
doing as much as the first (locks, cache lines that both write) would cost CPU: where a request costs the same, they do.
"""

import statistics
from functools import partial

import peers
import run as command
from stage import Stage
from workloads import WORKLOADS

NAMES = ("h1", "h2", "hs")


def main():
    given = command.common(__doc__, seconds=3)
    given.add_argument("--rounds", type=int, default=5)
    options = given.parse_args()
    command.need_for(NAMES)
    binary, costs = command.project(options), {}
    with Stage(shared=True) as stage:
        for turn in range(options.rounds):
            for workers in (1, 2) if turn % 2 else (2, 1):
                for name in NAMES:
                    with stage.proxy(peers.PROJECT, partial(peers.project, binary, workers=workers)) as proxy:
                        seen = WORKLOADS[name].measure(stage, proxy, options.seconds)
                    costs.setdefault((name, workers), []).append((seen["cost"], seen["failed"]))
    print("| workload | one worker, µs | two workers, µs | ratio | failed |\n|---|---|---|---|---|")
    for name in NAMES:
        one, two = (statistics.median(cost for cost, _ in costs[name, workers]) for workers in (1, 2))
        failed = sum(failed for workers in (1, 2) for _, failed in costs[name, workers])
        print(f"| `{name}` | {one:.1f} | {two:.1f} | {two / one:.2f} | {failed} |")


if __name__ == "__main__":
    command.until_interrupted(main)
