// What is served, for how long yet, and how reloads went.

class Certificates {
  constructor(plane, onChange) {
    this.plane = plane;
    this.onChange = onChange;
    at("reload").addEventListener("click", () => this.reload());
  }

  async refresh() {
    this.asked = Date.now();
    try {
      this.show(await this.plane.json("/certs"));
    } catch {
      // The next look comes soon; whether the plane answers at all is said elsewhere.
      this.asked = 0;
    }
  }

  /** `/status` is looked at every second, and says whether there is something new. */
  async glance(summary) {
    const state = JSON.stringify(summary);
    if (state === this.state && Date.now() - this.asked < 15000) return;
    this.state = state;
    await this.refresh();
  }

  async reload() {
    const button = at("reload");
    button.disabled = true;
    answered("reload-answer", true, "Reading the files…");
    try {
      const {attempts = []} = await this.plane.json("/certs/reload", {method: "POST", patience: 30000});
      const published = attempts.filter(({result}) => result === "published");
      answered("reload-answer", true, published.length ? `Generation ${published[0].generation} is served.`
        : "Nothing new on disk: what is there is served.");
    } catch (error) {
      answered("reload-answer", false, shown(error.message));
    }
    button.disabled = false;
    await this.refresh();
    this.onChange();
  }

  show(view) {
    say(at("generation"), `generation ${count(view.generation)}`);
    at("generation").title = `served since ${moment(view.since)}`;
    const parts = (view.parts ?? []).map((part) => this.part(part));
    // What was opened stays open, and the focus stays where it was.
    const open = [...at("parts").querySelectorAll("details[open]")].map((details) => details.dataset.source);
    const focused = at("parts").querySelector("summary:focus")?.parentElement.dataset.source;
    at("parts").replaceChildren(...parts);
    for (const details of at("parts").querySelectorAll("details")) {
      details.open = open.includes(details.dataset.source);
      if (details.dataset.source === focused) details.firstElementChild.focus();
    }
    const attempts = (view.history ?? []).slice(0, 10).map(attempt);
    at("history").replaceChildren(...(attempts.length ? attempts : [make("li", {}, "No attempt yet.")]));
  }

  part(part) {
    const leaf = part.chain?.[0] ?? part.client_ca?.[0];
    const name = leaf ? leaf.names?.[0] ?? leaf.subject : part.kind === "ticket_seed" ? "Session tickets" : "nothing yet";
    const others = (leaf?.names ?? []).slice(1, 8).map((name) => make("span", {class: "chip"}, shown(plain(name))));
    const left = leaf && lifetime(leaf);
    return make("article", {class: "part"},
      make("div", {class: "line"}, make("h3", {}, shown(plain(name))),
        left && make("span", {class: `left ${left.tone}`}, make("b", {}, left.days), ` ${left.unit}`)),
      others.length ? make("p", {class: "chips"}, ...others) : null,
      leaf && validity(leaf, left),
      make("p", {class: "state"}, KINDS[part.kind] ?? part.kind, leaf ? ` by ${shown(leaf.issuer)}` : ""),
      ...this.troubles(part), this.facts(part, leaf));
  }

  troubles(part) {
    const troubles = (part.warnings ?? []).map((text) => ["warn", text]);
    const since = part.disk_differs_since;
    if (since) troubles.push(["warn", `What is on disk is not what is served, since ${moment(since)}.`]);
    if (part.seen === "differs") troubles.push(["bad", "Clients are shown another certificate than the one published."]);
    if (part.last_error) troubles.push(["bad", `Not loaded: ${part.last_error}`]);
    return troubles.map(([tone, text]) => make("p", {class: `trouble ${tone}`}, shown(text)));
  }

  facts(part, leaf) {
    const last = part.last_attempt;
    const rows = [
      ["from", part.source], ["valid until", leaf && moment(leaf.not_after)], ["SHA-256, served", leaf?.sha256],
      ["SHA-256, on disk", part.on_disk?.sha256 === leaf?.sha256 && leaf ? "the same" : part.on_disk?.sha256],
      ["key", leaf?.key], ["serial", leaf?.serial], ["names", leaf?.names?.map(plain).join(", ")],
      ["last attempt", last && `${moment(last.time)}: ${last.result}, by ${last.trigger}`],
      ["last success", part.last_success && moment(part.last_success)], ["seen by a client", part.seen],
      ["CRLs", part.crls?.map(({issuer, revoked}) => `${issuer}: ${revoked} revoked`).join("; ")],
    ].filter(([, value]) => value);
    const list = rows.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, shown(value))]);
    return make("details", {"data-source": part.source},
      make("summary", {}, "Details"), make("dl", {class: "facts-list"}, ...list));
  }
}

const KINDS = {certificate: "certificate", client_ca: "client CA", ticket_seed: "seed of session tickets"};

/** `DNS:shop.example` is a name like any other. */
function plain(name) {
  return String(name ?? "").replace(/^(DNS|IP):/, "");
}

/** How long a certificate is good for yet, in days and in a word; a colour goes with the word. */
function lifetime({not_before: from, not_after: until}) {
  const left = new Date(until) - Date.now();
  const days = left / 86400000;
  if (!isNumber(days)) return {tone: "warn", word: "not known", share: 0, days: "–", unit: "days left"};
  const share = left / (new Date(until) - new Date(from));
  const tone = days < 1 ? "bad" : share < 0.1 || days < 7 && share < 0.34 ? "warn" : "good";
  const word = left < 0 ? "expired" : tone === "bad" ? "ends soon" : tone === "warn" ? "renew now" : "good";
  const hours = Math.max(0, Math.floor(left / 3600000));
  return {
    tone, word, share: Math.min(1, Math.max(0, share)),
    days: left < 0 ? "0" : days >= 2 ? String(Math.floor(days)) : String(hours),
    unit: left < 0 ? "expired" : days >= 2 ? "days left" : hours === 1 ? "hour left" : "hours left",
  };
}

function validity({not_after: until}, left) {
  const bar = make("span");
  bar.style.setProperty("--share", left.share.toFixed(3));
  return make("div", {class: `validity ${left.tone}`}, make("div", {class: "bar", "aria-hidden": "true"}, bar),
    make("span", {}, `${left.word}, until ${moment(until).split(" ")[0]}`));
}

function attempt({time, trigger, result, generation, error, source, warnings = []}) {
  const tone = {published: "good", failed: "bad"}[result] ?? "plain";
  return make("li", {},
    make("span", {class: "when"}, moment(time)), make("span", {class: `tag ${tone}`}, shown(result)),
    make("span", {class: "what", title: shown(source)}, `generation ${count(generation)}, by ${shown(trigger ?? "?")}`),
    error ? make("p", {class: "trouble bad"}, shown(error)) : null,
    ...warnings.map((text) => make("p", {class: "trouble warn"}, shown(text))));
}
