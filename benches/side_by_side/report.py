"""The table of a run, as Markdown: medians over rounds, and how they compare to the cheapest peer of layer 7 in the same run."""

import statistics

import peers

COLUMNS = {
    "h1": "HTTP/1.1, µs",
    "h2": "HTTP/2, µs",
    "hs": "handshake, µs",
    "down": "10 MiB down, µs",
    "up": "10 MiB up, µs",
    "conn": "KiB/idle connection",
    "burst": "KiB/connection after a burst",
    "base": "MiB at the start",
}
# So much may fail, and figures are still those of the work that was asked for.
TOLERATED = 0.01


def median(run, proxy, workload, key="cost"):
    values = run["results"][proxy].get(workload, {}).get(key)
    return statistics.median(values) if values else None


def failed(run, proxy, workload):
    """How many of how many."""
    cell = run["results"][proxy].get(workload, {})
    bad = sum(cell.get("failed", []))
    return bad, bad + sum(cell.get("requests", []))


def trusted(run, proxy, workload):
    bad, of = failed(run, proxy, workload)
    return bad <= TOLERATED * of and not run["results"][proxy].get(workload, {}).get("errors")


def cheapest(run, workload):
    """What all are compared to. Who fails is cheap for a bad reason, and is none."""
    rivals = [name for name in run["results"] if name != peers.PROJECT and name not in peers.LAYER_4]
    costs = [median(run, name, workload) for name in rivals if trusted(run, name, workload)]
    return min((cost for cost in costs if cost), default=None)


def ratio(run, proxy, workload):
    cost, best = median(run, proxy, workload), cheapest(run, workload)
    return cost / best if cost is not None and best else None


def figure(value):
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}"


def cell(run, proxy, workload):
    if run["results"][proxy].get(workload, {}).get("errors"):
        return "error"
    if (cost := median(run, proxy, workload)) is None:
        return "–"
    compared = ratio(run, proxy, workload)
    mark = " †" if failed(run, proxy, workload)[0] else ""
    return figure(cost) + (f" ({compared:.2f})" if compared else "") + mark


def measured(run):
    return [name for name in COLUMNS if any(name in each for each in run["results"].values())]


def table(run):
    names = measured(run)
    speed = [("rps", "HTTP/1.1 requests/s"), ("p99_ms", "HTTP/1.1 p99, ms")] if "h1" in names else []
    yield "| | " + " | ".join([*(COLUMNS[name] for name in names), *(title for _, title in speed), "failed requests"]) + " |"
    yield "|---" * (len(names) + len(speed) + 2) + "|"
    for proxy in run["results"]:
        row = [label(run, proxy), *(cell(run, proxy, name) for name in names)]
        for key, _ in speed:
            value = median(run, proxy, "h1", key)
            row.append("–" if value is None else f"{value:,.0f}" if key == "rps" else f"{value:.2f}")
        bad = [(name, *failed(run, proxy, name)) for name in names]
        row.append(", ".join(f"{name}: {count:,} of {of:,}" for name, count, of in bad if count) or "0")
        yield "| " + " | ".join(row) + " |"


def label(run, proxy):
    known = run["about"]["versions"].get(proxy, "?")
    return f"{proxy} {known}" + (" (layer 4)" if proxy in peers.LAYER_4 else "")


def markdown(run):
    about = run["about"]
    lines = list(table(run))
    lines += ["", "CPU and memory of the proxy alone; medians over rounds; in brackets: against the cheapest peer of layer 7."]
    if any(failed(run, proxy, name)[0] for proxy in run["results"] for name in measured(run)):
        lines += [f"† some requests have failed; where more than {TOLERATED:.0%} have, nothing is compared to it."]
    if "burst" in measured(run):
        flag = "In a burst the project runs with `--max-handshakes 1024`"
        lines += [f"{flag}: its default, 512, is a limit that the peers do not have."]
    for proxy, workloads in run["results"].items():
        for name, one in workloads.items():
            lines += [f"{proxy}, {name}: error: {error}" for error in dict.fromkeys(one.get("errors", []))]
    lines += [f"Left out, not installed: {name} ({peers.how_to_get(name)})." for name in about.get("missing", [])]
    return "\n".join([*lines, "", *provenance(about)])


def provenance(about):
    yield f"- {about['date']}; {about['cpu']}, {about['cores']} cores; {about['kernel']}"
    yield f"- {about['used']}; {about['rounds']} round(s) of {about['seconds']} s"
    yield "- " + ", ".join(f"{name} {known}" for name, known in about["versions"].items())
    if clients := about.get("clients"):
        yield "- clients: " + ", ".join(f"{name} {known}".removesuffix(" ?") for name, known in clients.items())
    yield f"- `{about['command']}`"
