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
    axis.set_yticks(range(len(proxies)), labels)
    axis.get_yticklabels()[proxies.index(peers.PROJECT)].set_fontweight("bold")
    axis.invert_yaxis()
    axis.set_xlim(0, longest * 1.3)
    axis.set_title(TITLES[name], fontsize=11, loc="left")
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    bare(axis)


def scaling(run, path):
    """By connections on the left, by size of the response on the right: CPU above, memory below, all axes logarithmic."""
    plt = library()
    words = {"connections": "Keep-alive connections, 1 KiB responses", "bodies": "Size of the response, 4 connections"}
    kinds = [kind for kind in words if any(run[kind].values())]
    figure, axes = plt.subplots(2, len(kinds), figsize=(WIDTH, 8), squeeze=False)
    for column, kind in enumerate(kinds):
        key = "size" if kind == "bodies" else "connections"
        for row, (of, what) in enumerate((("us", "CPU per request, µs"), ("mib", "Memory, MiB"))):
            axis = axes[row][column]
            lines(axis, run[kind], key, of)
            axis.set_title(f"{words[kind]}: {what}", fontsize=11, loc="left")
    finish(plt, figure, run, "CPU and memory of the proxy alone; less is better", path)


def lines(axis, proxies, key, of):
    colours = iter(["#2563eb", "#059669", "#7c3aed", "#b45309", "#0891b2", "#475569"])
    for proxy, points in proxies.items():
        ours = proxy == peers.PROJECT
        colour = OURS if ours else next(colours)
        style = {"color": colour, "marker": "o", "ms": 4, "lw": 2 if ours else 1.2, "label": proxy}
        axis.plot([p[key] for p in points], [p[of] for p in points], **style)
        for point in points if ours else ():
            place = {"xytext": (0, 7), "textcoords": "offset points", "fontsize": 8, "ha": "center", "color": colour}
            axis.annotate(report.figure(point[of]), (point[key], point[of]), **place)
    seen = [point[of] for points in proxies.values() for point in points if point[of]]
    axis.set_xscale("log")
    axis.set_yscale("log")
    # A decade at least, so that what hardly grows looks like it.
    axis.set_ylim(min(min(seen) / 1.5, max(seen) / 6), max(seen) * 1.7)
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
    axis.yaxis.set_minor_formatter(lambda value, _: "")
    ticks = sorted({point[key] for points in proxies.values() for point in points})
    axis.set_xticks(ticks, [size(tick) if key == "size" else f"{tick:,}" for tick in ticks])
    axis.set_xticks([], minor=True)
    axis.grid(True, which="both", color="#e2e8f0", linewidth=0.6)
    axis.legend(frameon=False, fontsize=9, loc="best")
    bare(axis)


def size(count):
    for unit in ("B", "KiB", "MiB"):
        if count < 1024 or unit == "MiB":
            return f"{count} {unit}"
        count //= 1024


def bare(axis):
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    axis.tick_params(labelsize=9)


def finish(plt, figure, run, sentence, path):
    about = run["about"]
    figure.suptitle(f"{about['cpu']}, {about['cores']} cores, {about['kernel']}, {about['date'][:10]}", fontsize=12)
    figure.text(0.5, 0.005, sentence, ha="center", fontsize=9, color="#475569")
    figure.tight_layout(rect=(0, 0.02, 1, 0.99))
    figure.savefig(path, dpi=100, facecolor="white")
    plt.close(figure)
