"""Pictures of what was measured, by matplotlib."""

import sys

import peers
import report

OURS, OTHERS, FLOOR = "#c2410c", "#64748b", "#cbd5e1"
TITLES = {
    "h1": "HTTP/1.1: CPU per request, µs",
    "h2": "HTTP/2: CPU per request, µs",
    "hs": "New connection with one request: CPU, µs",
    "down": "10 MiB response: CPU, µs",
    "up": "10 MiB request: CPU, µs",
    "conn": "Memory per idle connection, KiB",
    "burst": "Memory per connection after a burst, KiB",
    "base": "Memory at the start, MiB",
}
WIDTH = 12  # inches, of 100 dots


def library():
    """Said before anything is measured."""
    try:
        import matplotlib
    except ImportError:
        sys.exit(f"matplotlib, which draws --plot, is not installed: pip install {peers.PIP['matplotlib']}")
    matplotlib.use("Agg")
    import matplotlib.pyplot

    return matplotlib.pyplot


def side_by_side(run, path):
    """A panel for each workload, a bar for each proxy."""
    plt, names = library(), report.measured(run)
    rows = (len(names) + 1) // 2
    figure, axes = plt.subplots(rows, 2, figsize=(WIDTH, 0.8 + rows * (0.9 + 0.3 * len(run["results"]))), squeeze=False)
    for axis, name in zip(axes.flat, names):
        panel(axis, run, name)
    for axis in list(axes.flat)[len(names):]:
        axis.axis("off")
    finish(plt, figure, run, "less is better; in brackets: against the cheapest peer of layer 7", path)


def panel(axis, run, name):
    proxies = list(run["results"])
    costs = [report.median(run, proxy, name) for proxy in proxies]
    colours = [OURS if proxy == peers.PROJECT else FLOOR if proxy in peers.LAYER_4 else OTHERS for proxy in proxies]
    axis.barh(range(len(proxies)), [cost or 0 for cost in costs], color=colours, height=0.7)
    longest = max((cost for cost in costs if cost), default=1)
    for place, (proxy, cost) in enumerate(zip(proxies, costs)):
        text = report.cell(run, proxy, name).replace("†", "some failed")
        axis.text((cost or 0) + longest * 0.01, place, f" {text}", va="center", fontsize=10)
    labels = [f"{proxy} (layer 4)" if proxy in peers.LAYER_4 else proxy for proxy in proxies]
    axis.set_yticks(range(len(proxies)), labels, fontsize=10)
    axis.get_yticklabels()[proxies.index(peers.PROJECT)].set_fontweight("bold")
    axis.invert_yaxis()
    axis.set_xlim(0, longest * 1.3)
    axis.set_title(TITLES[name], fontsize=11, loc="left")
    bare(axis)


def scaling(run, path):
    """Two panels: by connections, by size of the body. CPU is drawn through, memory is dashed."""
    plt = library()
    kinds = [kind for kind in ("connections", "bodies") if any(run[kind].values())]
    figure, axes = plt.subplots(1, len(kinds), figsize=(WIDTH, 6), squeeze=False)
    words = {
        "connections": ("Keep-alive connections (1 KiB answers)", "connections", "memory, MiB", "mib"),
        "bodies": ("Size of the response", "size", "peak memory, MiB", "mib"),
    }
    for axis, kind in zip(axes.flat, kinds):
        title, key, memory, column = words[kind]
        other = axis.twinx()
        shades = iter(["#2563eb", "#059669", "#7c3aed", "#b45309", "#0891b2", "#475569"])
        for proxy, points in run[kind].items():
            colour = OURS if proxy == peers.PROJECT else next(shades)
            for where, of, style in ((axis, "us", "-"), (other, column, "--")):
                seen = [point for point in points if point.get(of)]
                where.plot([p[key] for p in seen], [p[of] for p in seen], style, color=colour, marker="o", ms=4, label=proxy)
                lift = 6 if of == "us" else -12
                for point in seen if len(run[kind]) == 1 else ():
                    place = {"xytext": (0, lift), "textcoords": "offset points", "fontsize": 8, "ha": "center"}
                    where.annotate(report.figure(point[of]), (point[key], point[of]), **place)
        for each, text in ((axis, "CPU per request, µs (drawn through)"), (other, memory + " (dashed)")):
            each.set_yscale("log")
            each.set_ylabel(text)
            each.spines["top"].set_visible(False)
        axis.set_xscale("log")
        axis.set_title(title, fontsize=11, loc="left")
        axis.grid(True, color="#e2e8f0", linewidth=0.6)
        ticks = sorted({point[key] for points in run[kind].values() for point in points})
        axis.set_xticks(ticks, [size(tick) if kind == "bodies" else f"{tick:,}" for tick in ticks], fontsize=9)
        axis.minorticks_off()
        axis.legend(frameon=False, fontsize=9, loc="upper left")
    finish(plt, figure, run, "CPU and memory of the proxy alone", path)


def size(count):
    for unit in ("B", "KiB", "MiB"):
        if count < 1024 or unit == "MiB":
            return f"{count} {unit}"
        count //= 1024


def bare(axis):
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    axis.tick_params(axis="x", labelsize=9)


def finish(plt, figure, run, sentence, path):
    about = run["about"]
    figure.suptitle(f"{about['cpu']}, {about['cores']} cores, {about['kernel']}, {about['date'][:10]}", fontsize=12)
    figure.text(0.5, 0.005, sentence, ha="center", fontsize=9, color="#475569")
    figure.tight_layout(rect=(0, 0.02, 1, 0.99))
    figure.savefig(path, dpi=100, facecolor="white")
    plt.close(figure)
