// Rates and percentiles, from counters that only count.

const CLASSES = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];

/** Samples of the Prometheus text that this page knows; all else is passed over. */
function parsed(text) {
  const found = {
    codes: Object.fromEntries(CLASSES.map((name) => [name, 0])), requests: 0, buckets: [], bytesIn: 0, bytesOut: 0,
    handshakes: 0, handshakesFailed: 0, retries: 0, dropped: 0, refused: 0, started: 0,
  };
  for (const line of text.split("\n")) {
    const match = /^([a-z_]+)(?:\{(.*)\})? (\S+)/.exec(line);
    const value = match ? Number(match[3]) : NaN;
    if (!Number.isFinite(value)) continue;
    const label = (name) => new RegExp(`(?:^|,)${name}="((?:[^"\\\\]|\\\\.)*)"`).exec(match[2] ?? "")?.[1];
    switch (match[1]) {
      case "portcullis_requests_total": {
        const code = label("code") ?? "";
        const name = /^[1-5]\d\d$/.test(code) ? `${code[0]}xx` : "none";
        found.codes[name] += value;
        found.requests += value;
        break;
      }
      case "portcullis_request_duration_seconds_bucket":
        found.buckets.push([Number((label("le") ?? "").replace("+Inf", "Infinity")), value]);
        break;
      case "portcullis_request_bytes_total": found.bytesIn += value; break;
      case "portcullis_response_bytes_total": found.bytesOut += value; break;
      case "portcullis_handshakes_total":
        found.handshakes += value;
        if (label("result") !== "ok") found.handshakesFailed += value;
        break;
      case "portcullis_upstream_retries_total": found.retries += value; break;
      case "portcullis_log_dropped_total": found.dropped += value; break;
      case "portcullis_connections_refused_total":
      case "portcullis_connections_not_allowed_total": found.refused += value; break;
      case "process_start_time_seconds": found.started = value; break;
    }
  }
  found.buckets.sort((one, other) => one[0] - other[0]);
  return found;
}

/** In milliseconds, as well as the buckets tell; null where nothing was observed between the two. */
function percentile(share, from, to) {
  const grown = to.buckets.map(([edge, value], place) => [edge, value - (from?.buckets[place]?.[1] ?? 0)]);
  const all = grown.at(-1)?.[1] ?? 0;
  if (!(all > 0)) return null;
  const wanted = share * all;
  let [below, seen] = [0, 0];
  for (const [edge, value] of grown) {
    if (value >= wanted) {
      // Beyond the last edge nobody knows how far.
      if (edge === Infinity) return below * 1000;
      const within = value > seen ? (wanted - seen) / (value - seen) : 1;
      return (below + (edge - below) * within) * 1000;
    }
    [below, seen] = [edge, value];
  }
  return null;
}

class Meter {
  constructor() {
    /** Samples of this life of the sidecar, oldest first. */
    this.samples = [];
    /** What the charts show: rates and percentiles with their time, or a gap. */
    this.points = [];
  }

  /** Returns whether the sidecar has begun anew since the last sample. */
  add(time, sample) {
    const last = this.samples.at(-1);
    const isNew = last && (sample.started !== last.started || sample.requests < last.requests);
    const seconds = last ? (time - last.time) / 1000 : 0;
    if (isNew) this.samples = [];
    if (isNew || seconds > GAP) this.points.push({time, gap: isNew ? "restart" : "gap"});
    else if (last && seconds > 0) this.points.push({time, ...this.since(last, sample, seconds)});
    this.samples.push({time, ...sample});
    const old = time - KEPT;
    while (this.samples[0].time < old) this.samples.shift();
    while (this.points[0]?.time < old) this.points.shift();
    return Boolean(isNew);
  }

  since(last, sample, seconds) {
    const per = (name) => (sample[name] - last[name]) / seconds;
    const codes = CLASSES.map((name) => Math.max(0, sample.codes[name] - last.codes[name]) / seconds);
    const before = this.ago(10);
    const [p50, p90, p99] = [0.5, 0.9, 0.99].map((share) => percentile(share, before, sample));
    return {codes, p50, p90, p99, bytesIn: per("bytesIn"), bytesOut: per("bytesOut"), handshakes: per("handshakes")};
  }

  /** The sample of so many seconds ago, or the oldest. */
  ago(seconds) {
    const now = this.samples.at(-1)?.time ?? 0;
    return this.samples.find((sample) => sample.time >= now - seconds * 1000);
  }

  /** What the last minute was like. */
  minute() {
    const [from, to] = [this.ago(60), this.samples.at(-1)];
    if (!to || from === to) return null;
    const grown = (name) => to.codes[name] - from.codes[name];
    const seconds = (to.time - from.time) / 1000;
    return {
      seconds, requests: to.requests - from.requests, failed: grown("5xx") + grown("none"),
      percentiles: [0.5, 0.9, 0.99].map((share) => percentile(share, from, to)),
    };
  }
}

/** Seconds between two samples that are more than a delay. */
const GAP = 5;
/** Milliseconds that the charts go back. */
const KEPT = 300000;
