// Puts it together: the look at the plane each second, the token, the questions, the keys.

class Page {
  constructor() {
    this.plane = new Plane();
    this.tail = new Tail(this.plane, (error) => this.refused(error));
    this.overview = new Overview(this.plane, (status) => this.tail.filterBy({status}));
    const soon = () => this.look();
    this.target = new Target(this.plane, ask, soon);
    this.certificates = new Certificates(this.plane, soon);
    this.failures = 0;
    this.listen();
    theme(kept(localStorage, "theme"));
    this.look();
  }

  listen() {
    document.addEventListener("visibilitychange", () => (document.hidden ? this.rest() : this.look()));
    addEventListener("online", () => this.look());
    at("gate-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.plane.open(at("token").value.trim());
      say(at("gate-answer"), "");
      this.look();
    });
    at("forget").addEventListener("click", () => {
      this.plane.forget();
      this.askForToken("");
    });
    at("drain").addEventListener("click", () => this.drain());
    at("theme").addEventListener("click", () => theme({light: "dark", dark: "system"}[at("theme").value] ?? "light"));
    at("help").addEventListener("click", () => at("keys").showModal());
    at("keys-close").addEventListener("click", () => at("keys").close());
    at("skip").addEventListener("click", (event) => {
      // The fragment is the filter's.
      event.preventDefault();
      at("tail").focus();
      at("tail").scrollIntoView();
    });
    addEventListener("keydown", (event) => this.key(event));
  }

  key(event) {
    const isTyping = event.target.closest?.("input, select, dialog");
    if (isTyping && event.key === "Escape") event.target.blur();
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey || at("house").hidden) return;
    const act = {
      "/": () => this.tail.form.elements.path.focus(),
      p: () => this.tail.pause(!this.tail.isPaused),
      "?": () => at("keys").showModal(),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  // The look

  /** Now, and then each second for as long as somebody can see it. */
  async look() {
    clearTimeout(this.next);
    if (this.isLooking || document.hidden) return;
    this.isLooking = true;
    const began = Date.now();
    try {
      const [status, metrics] = await Promise.all([this.plane.json("/status"), this.plane.text("/metrics")]);
      this.seen(status, parsed(metrics));
    } catch (error) {
      this.lost(error);
    }
    this.isLooking = false;
    if (!this.isShut && !document.hidden) {
      const pace = this.failures ? Math.min(500 * 2 ** this.failures, 5000) : 1000;
      this.next = setTimeout(() => this.look(), Math.max(100, pace - (Date.now() - began)));
    }
  }

  /** Nobody looks: ask nothing, and give the follower's place back. */
  rest() {
    clearTimeout(this.next);
    this.tail.stop();
  }

  seen(status, sample) {
    const wasShut = this.isShut;
    this.isShut = false;
    at("gate").hidden = true;
    at("house").hidden = false;
    if (wasShut) {
      at("token").value = "";
      at("tail").focus({preventScroll: true});
    }
    this.head();
    const isNew = this.overview.show(status, sample);
    if (isNew) this.tail.mark(`the sidecar has begun anew, at ${clock(Date.now() - status.uptime_s * 1000)}`);
    else if (this.failures > 1) this.tail.mark(`not reachable from ${clock(this.lostSince)} to ${clock(Date.now())}`);
    this.failures = 0;
    this.tail.start();
    this.target.show(status.target ?? {});
    this.certificates.glance([status.certificate]);
    this.version ??= status.version;
    const failed = this.failure?.until > Date.now() ? [["bad", shown(this.failure.text)]] : [];
    notices([...failed, ...troubles(status, this.version)]);
  }

  /** What stands around the rest. A link brings no token along. */
  head() {
    at("forget").hidden = this.isShut || !this.plane.token;
    at("scope").hidden = this.isShut || !this.plane.isReadOnly;
    at("drain").hidden = at("help").hidden = Boolean(this.isShut);
    at("footer").hidden = Boolean(this.isShut || this.plane.token);
  }

  lost(error) {
    if (error instanceof Refused && error.status === 401) return this.refused(error);
    this.failures += 1;
    if (this.failures === 1) this.lostSince = Date.now();
    // It goes on when the sidecar is back, behind a mark that says so.
    this.tail.stop();
    const why = error instanceof Refused ? `It answers ${error.status}, ${error.message}.` : "It does not answer.";
    const since = clock(this.lostSince);
    notices([["bad", `Reconnecting: not reached since ${since}. ${shown(why)} What is shown is from before.`]]);
    at("phase").className = "pill bad";
    say(at("phase"), "reconnecting");
  }

  // The token

  refused(error) {
    this.askForToken(this.plane.token ? `${shown(error.message)}.` : "");
  }

  askForToken(why) {
    const isNew = !this.isShut;
    this.isShut = true;
    this.rest();
    at("house").hidden = true;
    at("gate").hidden = false;
    this.head();
    at("phase").className = "pill warn";
    say(at("phase"), "asks for a token");
    say(at("facts"), "");
    notices([]);
    answered("gate-answer", false, why);
    // Who is typing goes on; a token that was refused is there to be typed over.
    if (isNew) at("token").value = "";
    if (isNew || why) at("token").select();
  }

  async drain() {
    const isSure = await ask("Drain this sidecar?", [
      "It is not ready from now on, goes on accepting for --drain-delay, and then accepts nothing more. "
        + "What is open may finish; what is left after --drain-timeout is cut.",
      "This cannot be undone: only a restart serves again. The process itself stays until it gets SIGTERM.",
    ], "Drain it", true);
    if (!isSure) return;
    try {
      await this.plane.ask("/drain", {method: "POST"});
    } catch (error) {
      this.failure = {text: `Not drained: ${error.message}`, until: Date.now() + 10000};
    }
    this.look();
  }
}

/** What is wrong or under way, each with its tone. */
function troubles(status, version) {
  const all = [];
  if (status.version !== version) {
    all.push(["warn", `The sidecar is version ${status.version} now: load this page again to have its own.`]);
  }
  const {drain, phase} = status;
  if (phase === "draining" && drain) {
    const left = ` ${span(drain.seconds_left)} left until what is open is cut.`;
    all.push(["warn", `Draining: ${STEPS[drain.step] ?? drain.step}.`, left]);
  } else if (phase === "stopped") {
    const cut = status.cut ? `${count(status.cut)} connections were cut.` : "Nothing had to be cut.";
    all.push(["warn", `Drained. ${cut} The process stays until SIGTERM.`]);
  } else {
    for (const text of status.pending ?? []) all.push(["bad", `Not ready: ${text}`]);
  }
  for (const text of status.degraded ?? []) all.push(["warn", text]);
  return all.map(([tone, text, ...more]) => [tone, shown(text), ...more]);
}

const STEPS = {
  announcing: "not ready, still accepting", finishing: "accepting no more, finishing what is open",
  cutting: "cutting what is left",
};

/** Each with its tone, its text, and what changes all the time. Made anew only where they differ: they are read out. */
function notices(all) {
  const state = JSON.stringify(all.map(([tone, text]) => [tone, text]));
  if (state !== notices.state) {
    notices.state = state;
    const notice = ([tone, text]) => make("p", {class: `notice ${tone}`}, text, make("span", {"aria-live": "off"}));
    at("notices").replaceChildren(...all.map(notice));
  }
  all.forEach(([, , more = ""], place) => say(at("notices").children[place].lastElementChild, more));
}

/** A question in a dialog; what is safe has the focus. */
function ask(title, sentences, yes, isDangerous = false) {
  const dialog = at("ask");
  say(at("ask-title"), title);
  at("ask-text").replaceChildren(...sentences.map((text) => make("span", {}, text)));
  say(at("ask-yes"), yes);
  at("ask-yes").className = isDangerous ? "danger" : "primary";
  dialog.showModal();
  at("ask-no").focus();
  return new Promise((resolve) => {
    let isSure = false;
    at("ask-yes").onclick = () => {
      isSure = true;
      dialog.close();
    };
    at("ask-no").onclick = () => dialog.close();
    dialog.onclose = () => resolve(isSure);
  });
}

/** `light`, `dark`, or what the system says. */
function theme(wanted) {
  const isOne = wanted === "light" || wanted === "dark";
  if (isOne) document.documentElement.dataset.theme = wanted;
  else delete document.documentElement.dataset.theme;
  keep(localStorage, "theme", isOne ? wanted : null);
  const words = `Colours: ${isOne ? wanted : "as the system says"}`;
  filled(at("theme"), {value: wanted, title: words, "aria-label": words}, []);
  say(at("theme"), {light: "☀", dark: "☾"}[wanted] ?? "◐");
}

new Page();
