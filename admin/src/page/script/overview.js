// The sidecar at a glance: the strip of numbers, its phase, what is wrong, and its connections.

class Overview {
  constructor(plane, onChoice) {
    this.plane = plane;
    this.meter = new Meter();
    this.rates = new RateChart(at("rates"), at("rates-legend"), onChoice);
    this.latency = new LatencyChart(at("latency"), at("latency-legend"));
    this.tiles = Object.fromEntries(TILES.map(([name, title]) => {
      const tile = {value: make("dd", {class: "value"}, "–"), more: make("dd", {class: "more"}, " ")};
      tile.box = make("div", {class: `tile ${name}`}, make("dt", {}, title), tile.value, tile.more);
      at("glance").append(tile.box);
      return [name, tile];
    }));
    at("open").addEventListener("toggle", () => this.lookInside());
  }

  /** Returns whether the sidecar has begun anew. */
  show(status, sample) {
    const now = Date.now();
    const isNew = this.meter.add(now, sample);
    this.rates.show(now, this.meter.points);
    this.latency.show(now, this.meter.points);
    this.head(status);
    this.strip(status);
    this.connections(status.counts ?? {}, sample, status.traces?.spans);
    if (at("open").open && now - this.looked > 2000) this.lookInside();
    return isNew;
  }

  head(status) {
    const phase = at("phase");
    say(phase, String(status.phase ?? "?"));
    phase.className = `pill ${status.phase === "ready" ? status.degraded?.length ? "warn" : "good" : "warn"}`;
    say(at("service"), shown(status.service ?? ""));
    const title = `${shown(status.service ?? "")} · Portcullis`;
    if (document.title !== title) document.title = title;
    say(at("facts"), `version ${status.version ?? "?"} · up ${span(status.uptime_s)} · ${count(status.workers)} workers`);
    const isOver = status.phase === "draining" || status.phase === "stopped";
    at("drain").disabled = isOver;
    say(at("drain"), status.phase === "stopped" ? "Drained" : isOver ? "Draining" : "Drain…");
  }

  strip(status) {
    const counts = status.counts ?? {};
    const minute = this.meter.minute();
    const since = (quantile) => `since start ${millis(counts.latency_ms?.[quantile])}`;
    const last = this.meter.points.filter((point) => !point.gap).slice(-5);
    const perSecond = last.map(({codes}) => codes.reduce((sum, value) => sum + value, 0));
    const mean = perSecond.length ? perSecond.reduce((sum, value) => sum + value, 0) / perSecond.length : NaN;
    this.tile("rate", rate(mean), `${count(counts.requests)} in all`);
    const failed = minute?.requests ? minute.failed / minute.requests : minute && 0;
    this.tile("errors", isNumber(failed) ? `${(failed * 100).toFixed(failed && failed < 0.1 ? 2 : failed ? 1 : 0)} %` : "–",
      minute ? `${count(minute.failed)} of ${count(minute.requests)}, 5xx or none` : "5xx or no answer",
      failed > 0.05 ? "bad" : failed > 0 ? "warn" : "");
    this.tile("p50", millis(minute?.percentiles[0]), since("p50"));
    this.tile("p99", millis(minute?.percentiles[2]), since("p99"));
    const {open, idle, handshake} = counts.connections ?? {};
    this.tile("open", count(open), `${count(idle)} idle, ${count(handshake)} in handshake`);
    this.tile("flight", count(counts.in_flight), `${count(counts.upstream_connections?.active)} busy upstream`);
    this.expiry(status.certificate ?? {});
  }

  /** Of several certificates the first to end is the one that matters. */
  expiry({parts = [], chain = []}) {
    const ends = parts.filter(({not_after: end}) => end).sort((one, other) => (one.not_after < other.not_after ? -1 : 1));
    if (!ends.length) return this.tile("certificate", "none", "no certificate yet", "bad");
    const first = ends[0];
    const from = chain[0]?.not_after === first.not_after ? chain[0].not_before : Date.now() - 86400000 * 30;
    const left = lifetime({not_before: from, not_after: first.not_after});
    this.tile("certificate", left.days, `${left.unit}: ${left.word}`, left.tone === "good" ? "" : left.tone);
  }

  tile(name, value, more, tone = "") {
    const tile = this.tiles[name];
    say(tile.value, value);
    say(tile.more, more);
    tile.box.className = `tile ${name} ${tone}`;
  }

  connections(counts, sample, spans) {
    const last = this.meter.points.filter((point) => !point.gap).at(-1);
    const down = counts.connections ?? {};
    const up = counts.upstream_connections ?? {};
    const reasons = Object.entries(counts.failed_by_reason ?? {});
    const rows = [
      ["clients", `${count(down.open - down.idle)} active, ${count(down.idle)} idle`],
      ["application", `${count(up.active)} active, ${count(up.idle)} idle`],
      ["handshakes", `${rate(last?.handshakes)} /s, ${count(counts.handshakes_failed)} failed in all`],
      ["in, out", last ? `${bytes(last.bytesIn)}/s, ${bytes(last.bytesOut)}/s` : "–"],
      ["in all", `${bytes(counts.request_bytes)} in, ${bytes(counts.response_bytes)} out`],
      ["failed, why", reasons.map(([reason, number]) => `${reason} ${count(number)}`).join(", ") || "none failed"],
      ["retries", `${count(sample.retries)} of stale connections`],
      ["refused", `${count(sample.refused)} connections`],
      ["log lines lost", count(sample.dropped)],
    ];
    if (spans) {
      const lost = (spans.dropped ?? 0) + (spans.failed ?? 0) + (spans.rejected ?? 0);
      rows.push(["spans of traces", `${count(spans.exported)} exported, ${count(lost)} lost`]);
    }
    const list = at("connections");
    while (list.children.length > rows.length * 2) list.lastChild.remove();
    rows.forEach(([name, value], place) => {
      if (!list.children[place * 2]) list.append(make("dt", {}, name), make("dd"));
      say(list.children[place * 2 + 1], shown(value));
    });
  }

  /** Asks the workers, and only while somebody looks. */
  async lookInside() {
    if (!at("open").open) return;
    this.looked = Date.now();
    const view = await this.plane.json("/inflight?limit=12").catch(() => null);
    if (!view) return;
    const entries = (view.entries ?? []).map((entry) => make("li", {},
      make("b", {}, span(entry.age_ms / 1000)), ` ${shown(`${entry.method ?? entry.kind} ${(entry.path ?? "").slice(0, CUT)}`)}`,
      make("small", {}, shown(`${entry.client}, waits for ${entry.waiting_for}`))));
    if (view.total > entries.length) entries.push(make("li", {}, `and ${count(view.total - entries.length)} more`));
    at("open-list").replaceChildren(...(entries.length ? entries : [make("li", {}, "Nothing is open.")]));
  }
}

const TILES = [
  ["rate", "Requests per second"], ["errors", "Errors, last minute"], ["p50", "p50, last minute"], ["p99", "p99, last minute"],
  ["open", "Client connections"], ["flight", "In flight"], ["certificate", "Certificate"],
];
