// The records as they come: a stream, a filter that the server applies, and rows that open.

class Tail {
  /** `onRefusal` is told of an answer that a token could change. */
  constructor(plane, onRefusal) {
    this.plane = plane;
    this.onRefusal = onRefusal;
    this.form = at("filter");
    this.body = at("records");
    /** What is not shown yet: lines, and marks between them. */
    this.waiting = [];
    this.ids = new Set();
    this.skipped = 0;
    this.isPaused = false;
    /** Paused because a row is open, which would move away from who reads it. */
    this.isHeld = false;
    this.last = null;
    this.run = null;
    this.listen();
    this.readFragment();
  }

  listen() {
    this.form.addEventListener("input", () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.refilter(), 300);
    });
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.refilter();
    });
    at("pause").addEventListener("click", () => this.pause(!this.isPaused));
    at("clear").addEventListener("click", () => this.filterBy({}));
    addEventListener("hashchange", () => {
      this.readFragment();
      this.restart();
    });
    this.body.addEventListener("click", (event) => this.clicked(event));
    this.body.addEventListener("keydown", (event) => this.moved(event));
  }

  // The filter

  /** The filter as the server takes it: only what is said. */
  query() {
    const query = new URLSearchParams();
    for (const {name, value} of this.form.elements) {
      const text = name === "path" ? value : value.trim();
      if (name && text) query.set(name, text);
    }
    return query;
  }

  readFragment() {
    const wanted = new URLSearchParams(location.hash.slice(1));
    for (const element of this.form.elements) if (element.name) element.value = wanted.get(element.name) ?? "";
    this.applied = this.query().toString();
  }

  /** Only these conditions from now on. */
  filterBy(conditions) {
    for (const element of this.form.elements) if (element.name) element.value = conditions[element.name] ?? "";
    this.refilter();
  }

  refilter() {
    const query = this.query().toString();
    if (query === this.applied) return;
    this.applied = query;
    history.replaceState(null, "", query ? `#${query}` : location.pathname);
    this.restart();
  }

  // The stream

  /** Begins anew, with what the sidecar still knows. */
  restart() {
    this.stop();
    this.last = null;
    this.skipped = 0;
    this.waiting = [];
    this.ids.clear();
    this.pause(false);
    this.body.replaceChildren();
    say(at("filter-answer"), "");
    this.start();
  }

  /** Goes on where it was. */
  start() {
    if (this.run) return;
    this.run = new AbortController();
    this.keepFollowing(this.run.signal);
  }

  stop() {
    this.run?.abort();
    this.run = null;
    this.isOpen = false;
    this.state();
  }

  async keepFollowing(signal) {
    for (let delay = 500; !signal.aborted; delay = Math.min(delay * 2, 5000)) {
      this.isOpen = false;
      try {
        await this.plane.follow(`/logs?${this.address()}`, signal, () => {
          [this.isOpen, delay] = [true, 500];
          say(at("filter-answer"), "");
          this.state();
        }, (lines) => this.take(lines, signal));
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof Refused) {
          if (error.status === 401) return this.onRefusal(error);
          say(at("filter-answer"), shown(error.message));
          // The same question would be refused again; another filter begins anew.
          if (error.status === 400) return;
        }
      }
      this.isOpen = false;
      this.state();
      await new Promise((resolve) => setTimeout(resolve, delay));
    }
  }

  address() {
    const query = this.query();
    query.set("follow", "true");
    query.set("limit", ROWS);
    // What a restarted sidecar does not know any more, it takes for older than all it has.
    if (this.last) query.set("since", this.last);
    return query;
  }

  take(lines, signal) {
    if (signal.aborted) return;
    for (const line of lines) {
      if (line.startsWith('{"kind":"missed"')) this.skipped += JSON.parse(line).missed;
      else if (line && !line.startsWith('{"kind":"heartbeat"')) this.waiting.push(line);
    }
    // Whatever comes at once, no more is kept than is shown.
    const spare = this.waiting.length - ROWS;
    if (spare > 0) {
      this.waiting.splice(0, spare);
      this.skipped += spare;
    }
    this.flushSoon();
  }

  flushSoon() {
    if (this.isFlushing) return;
    this.isFlushing = true;
    requestAnimationFrame(() => {
      this.isFlushing = false;
      if (!this.isPaused) this.flush();
      this.state();
    });
  }

  // The rows

  flush() {
    const isFew = this.waiting.length <= 2;
    for (const line of this.waiting.splice(0)) {
      if (line instanceof Element) {
        if (this.body.firstElementChild?.matches(".mark") === false) this.body.prepend(line);
        continue;
      }
      let record;
      try {
        record = JSON.parse(line);
      } catch {
        continue;
      }
      if (!record || typeof record !== "object") continue;
      if (record.id) this.last = record.id;
      if (record.id && this.ids.has(record.id)) continue;
      if (record.id) this.ids.add(record.id);
      this.body.prepend(row(record, isFew));
    }
    this.trim();
    if (!this.body.querySelector("button[tabindex='0']")) this.body.querySelector("button.open")?.setAttribute("tabindex", 0);
  }

  /** The oldest go, with what was opened of them. */
  trim() {
    for (let spare = this.body.querySelectorAll("tr.record, tr.mark").length - ROWS; spare > 0; spare -= 1) {
      if (this.body.lastElementChild.matches(".detail")) this.body.lastElementChild.remove();
      this.ids.delete(this.body.lastElementChild.record?.id);
      this.body.lastElementChild.remove();
    }
  }

  /** A line between what was and what comes. */
  mark(text) {
    this.waiting.push(make("tr", {class: "mark"}, make("td", {colspan: 8}, text)));
    this.flushSoon();
  }

  pause(isPaused, isHeld = false) {
    [this.isPaused, this.isHeld] = [isPaused, isHeld];
    at("pause").setAttribute("aria-pressed", isPaused);
    say(at("pause"), isPaused ? "Continue" : "Pause");
    if (!isPaused) this.flushSoon();
    this.state();
  }

  state() {
    const rows = this.ids.size;
    const paused = `paused${this.isHeld ? " while a row is open" : ""}, ${count(this.waiting.length)} waiting`;
    const parts = [this.isPaused ? paused : this.isOpen ? "live" : "not connected"];
    if (rows) parts.push(`${count(rows)} shown`);
    if (this.skipped) parts.push(`${count(this.skipped)} skipped`);
    say(at("tail-state"), parts.join(" · "));
    at("tail").classList.toggle("paused", this.isPaused);
    at("clear").hidden = !this.applied;
    at("nothing").hidden = this.body.childElementCount > 0;
  }

  clicked(event) {
    const only = event.target.closest("button[data-filter]");
    if (only) return this.filterBy({...Object.fromEntries(this.query()), [only.dataset.filter]: only.value});
    const record = event.target.closest("tr.record");
    // Who marks text means no click.
    if (!record || event.target.tagName !== "BUTTON" && getSelection().toString()) return;
    toggle(record);
    const isOpen = Boolean(this.body.querySelector(".detail"));
    if (isOpen && !this.isPaused) this.pause(true, true);
    else if (!isOpen && this.isHeld) this.pause(false);
  }

  /** One row is in the order of the Tab key; from there the arrows lead on. */
  moved(event) {
    const step = {ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity}[event.key];
    const from = event.target.closest("button.open");
    if (!step || !from) return;
    event.preventDefault();
    const buttons = [...this.body.querySelectorAll("button.open")];
    const to = buttons[Math.min(buttons.length - 1, Math.max(0, buttons.indexOf(from) + step))];
    from.tabIndex = -1;
    to.tabIndex = 0;
    to.focus();
  }
}

const CUT = 400;

function cell(name, value, ...more) {
  const text = value == null ? "" : shown(String(value));
  return make("td", {class: name, title: text.length > 12 ? text.slice(0, CUT) : null}, text.slice(0, CUT), ...more);
}

/** One record as a row. What is no exchange says in its place what it is about. */
function row(record, isNew) {
  const isExchange = record.kind === "exchange";
  const button = make("button", {type: "button", class: "open", tabindex: -1, "aria-expanded": "false"},
    clock(record.time), make("small", {}, /\.\d{3}/.exec(record.time)?.[0]));
  const words = isExchange ? record.path ?? "–" : [record.action, record.detail ?? record.path].filter(Boolean).join(": ");
  const status = isExchange ? record.status ?? "none" : record.result ?? "–";
  const took = cell("took", isNumber(record.duration_ms) ? millis(record.duration_ms) : "");
  if (isNumber(record.duration_ms)) took.style.setProperty("--share", share(record.duration_ms));
  const element = make("tr", {class: `record ${tone(record)}${isNew ? " new" : ""}`},
    make("td", {class: "time"}, button), cell("status", status),
    cell("method", isExchange ? record.method : record.kind), cell("path", words), cell("client", record.client),
    took, cell("bytes", isNumber(record.bytes_out) ? bytes(record.bytes_out) : ""), cell("reason", record.reason));
  element.record = record;
  return element;
}

/** The class that gives a row its colour. */
function tone(record) {
  if (record.kind === "handshake") return "s-none other";
  if (record.kind !== "exchange") return ["refused", "failed"].includes(record.result) ? "s-5xx other" : "s-1xx other";
  return record.status ? `s-${String(record.status)[0]}xx` : "s-none";
}

/** How long a duration is on a scale from a millisecond to ten seconds. */
function share(duration) {
  return Math.min(1, Math.max(0.02, Math.log10(Math.max(duration, 1)) / 4)).toFixed(3);
}

function toggle(element) {
  const button = element.querySelector("button.open");
  const isOpen = button.getAttribute("aria-expanded") === "true";
  button.setAttribute("aria-expanded", !isOpen);
  if (isOpen) return element.nextElementSibling.remove();
  element.after(make("tr", {class: "detail"}, make("td", {colspan: 8}, wholeRecord(element.record))));
}

/** All fields, in the order in which they came; by some of them one can filter. */
function wholeRecord(record) {
  const fields = Object.entries(record).map(([name, value]) => {
    const text = value === null ? "null" : value === "" ? "(empty)" : shown(value);
    const entry = make("dd", {}, text);
    if (FILTERS.includes(name) && value !== "" && value !== null) {
      const what = `only these: ${name} ${text}`.slice(0, CUT);
      const only = {type: "button", class: "only", "data-filter": name, value, title: what, "aria-label": what};
      entry.append(make("button", only, "only these"));
    }
    return make("div", {class: text.length > 60 ? "long" : null}, make("dt", {}, shown(name)), entry);
  });
  return make("dl", {}, ...fields);
}

const FILTERS = ["kind", "client", "method", "path", "status", "reason"];
/** Rows that are kept. */
const ROWS = 300;
