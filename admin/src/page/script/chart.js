// Two charts over the last minutes, as SVG that is drawn anew with each sample.

class Chart {
  constructor(place, legend, label) {
    this.place = place;
    this.legend = legend;
    this.svg = draw("svg", {role: "img", "aria-label": label});
    this.label = label;
    this.now = 0;
    this.points = [];
    place.append(this.svg);
    new ResizeObserver(() => this.draw()).observe(place);
    place.addEventListener("pointermove", (event) => this.point(event.offsetX));
    place.addEventListener("pointerleave", () => this.point(null));
  }

  show(now, points) {
    [this.now, this.points] = [now, points];
    this.draw();
  }

  /** Where the pointer is, in pixels from the left. */
  point(x) {
    this.pointer = x;
    this.draw();
  }

  draw() {
    const [width, height] = [this.place.clientWidth, this.place.clientHeight];
    if (!width || !this.now) return;
    this.width = width;
    this.floor = height - 16;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const marks = this.points.filter((point) => point.gap === "restart").map(({time}) => draw("g", {class: "restart"},
      draw("path", {d: `M${this.x(time)} 0V${this.floor}`}),
      draw("text", {x: this.x(time) - 4, y: 9, "text-anchor": "end"}, "restart")));
    const at = this.pointer == null ? null : this.nearest(this.pointer);
    this.svg.replaceChildren(...this.lines(), ...this.ticks(), ...this.shapes(), ...marks, ...(at ? this.cursor(at) : []));
    this.tell(at);
  }

  cursor({time}) {
    const x = this.x(time);
    const side = x > this.width / 2 ? {x: x - 4, "text-anchor": "end"} : {x: x + 4};
    return [
      draw("path", {class: "cursor", d: `M${x.toFixed(1)} 0V${this.floor}`}),
      draw("text", {class: "tick", y: 9, ...side}, clock(time)),
    ];
  }

  x(time) {
    return this.width - ((this.width - LEFT) * (this.now - time)) / KEPT;
  }

  nearest(x) {
    const time = this.now - (KEPT * (this.width - x)) / (this.width - LEFT);
    const distance = (point) => Math.abs(point.time - time);
    const real = this.points.filter((point) => !point.gap);
    const best = real.reduce((best, point) => (!best || distance(point) < distance(best) ? point : best), null);
    return best && distance(best) < 10000 ? best : null;
  }

  ticks() {
    return [4, 3, 2, 1].map((minutes) => draw("text", {
      class: "tick", x: this.x(this.now - minutes * 60000), y: this.floor + 13, "text-anchor": "middle",
    }, `−${minutes} min`));
  }

  /** Levels across, with their words. */
  levels(levels) {
    return levels.flatMap(([y, text]) => [
      draw("path", {class: "level", d: `M${LEFT} ${y.toFixed(1)}H${this.width}`}),
      draw("text", {class: "tick", x: LEFT - 6, y: y + 3.5, "text-anchor": "end"}, text),
    ]);
  }
}

/** Requests a second, by status class: bars of three seconds, with what failed on top. */
class RateChart extends Chart {
  constructor(place, legend, onChoice) {
    super(place, legend, "Requests a second by status class over the last five minutes");
    this.entries = CLASSES.slice(1).map((name) => {
      const value = make("b", {}, "–");
      const entry = make("button", {type: "button", class: `key s-${name}`, title: `Show only status ${name}`},
        make("i", {"aria-hidden": "true"}), name, value);
      entry.addEventListener("click", () => onChoice(name));
      legend.append(entry);
      return [name, value];
    });
  }

  bins() {
    const bins = new Map();
    for (const point of this.points.filter((point) => !point.gap)) {
      const place = Math.floor(point.time / BIN);
      const bin = bins.get(place) ?? {codes: CLASSES.map(() => 0), number: 0};
      point.codes.forEach((value, index) => { bin.codes[index] += value; });
      bin.number += 1;
      bins.set(place, bin);
    }
    return [...bins].map(([place, {codes, number}]) => [place * BIN, codes.map((value) => value / number)]);
  }

  lines() {
    this.binned = this.bins();
    const highest = Math.max(1, ...this.binned.map(([, codes]) => codes.reduce((sum, value) => sum + value, 0)));
    const step = 10 ** Math.floor(Math.log10(highest));
    this.top = [1, 2, 3, 4, 6, 8, 10].map((factor) => factor * step).find((top) => top >= highest) ?? highest;
    return this.levels([this.top, this.top / 2].map((level) => [this.y(level), count(level)]));
  }

  y(value) {
    return this.floor - (this.floor - 12) * (value / this.top);
  }

  shapes() {
    const paths = CLASSES.map(() => "");
    const width = Math.max(1, ((this.width - LEFT) * BIN) / KEPT - 1);
    for (const [time, codes] of this.binned) {
      const left = Math.max(LEFT, this.x(time)).toFixed(1);
      let sum = 0;
      codes.forEach((value, index) => {
        if (!value) return;
        const [low, high] = [this.y(sum), this.y(sum + value)];
        // A single failure among thousands is still to be seen.
        const tall = Math.max(low - high, index > 2 ? 1.5 : 0);
        paths[index] += `M${left} ${low.toFixed(1)}h${width.toFixed(1)}v${(-tall).toFixed(1)}h-${width.toFixed(1)}z`;
        sum += value;
      });
    }
    return paths.map((d, index) => draw("path", {class: `bar s-${CLASSES[index]}`, d}));
  }

  tell(at) {
    const last = this.points.filter((point) => !point.gap).slice(-5);
    const mean = (index) => last.reduce((sum, point) => sum + point.codes[index], 0) / (last.length || 1);
    for (const [name, value] of this.entries) {
      const index = CLASSES.indexOf(name);
      say(value, last.length ? rate(at ? at.codes[index] : mean(index)) : "–");
    }
  }
}

/** Percentiles on a logarithmic scale. */
class LatencyChart extends Chart {
  constructor(place, legend) {
    super(place, legend, "Latency percentiles over the last five minutes");
    this.entries = ["p50", "p90", "p99"].map((name) => {
      const value = make("b", {}, "–");
      legend.append(make("span", {class: `key l-${name}`}, make("i", {"aria-hidden": "true"}), name, value));
      return [name, value];
    });
  }

  lines() {
    const values = this.points.flatMap(({p50, p99}) => [p50, p99]).filter((value) => value > 0);
    this.low = Math.floor(Math.log10(Math.min(1, ...values)));
    this.high = Math.max(this.low + 2, Math.ceil(Math.log10(Math.max(1, ...values))));
    const levels = [];
    for (let power = this.low; power <= this.high; power += 1) levels.push([this.y(10 ** power), level(10 ** power)]);
    return this.levels(levels.slice(1));
  }

  y(value) {
    const share = (Math.log10(Math.max(value, 10 ** this.low)) - this.low) / (this.high - this.low);
    return this.floor - (this.floor - 12) * share;
  }

  /** The points between two gaps, as coordinates. */
  runs(name) {
    const runs = [[]];
    for (const point of this.points) {
      if (point.gap || point[name] == null) runs.push([]);
      else runs.at(-1).push([this.x(point.time).toFixed(1), this.y(point[name]).toFixed(1)]);
    }
    return runs.filter((run) => run.length);
  }

  shapes() {
    const line = (run) => `M${run.join("L")}`;
    const [low, high] = [this.runs("p50"), this.runs("p99")];
    const band = high.map((run, place) => `${line(run)}L${(low[place] ?? []).toReversed().join("L")}z`).join("");
    return [
      draw("path", {class: "band", d: band}),
      ...this.entries.map(([name]) => draw("path", {class: `line l-${name}`, d: this.runs(name).map(line).join("")})),
    ];
  }

  tell(at) {
    const last = at ?? this.points.filter((point) => !point.gap).at(-1);
    for (const [name, value] of this.entries) say(value, millis(last?.[name]));
  }
}

function level(value) {
  return value >= 1000 ? `${value / 1000} s` : `${Number(value.toPrecision(1))} ms`;
}

/** Pixels for the words of the levels. */
const LEFT = 42;
/** Milliseconds of one bar. */
const BIN = 3000;
