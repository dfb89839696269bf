// Where requests go, and the form that changes it.

class Target {
  /** `ask` puts a question in a dialog; `onChange` is told when something may be different now. */
  constructor(plane, ask, onChange) {
    this.plane = plane;
    this.ask = ask;
    this.onChange = onChange;
    this.form = at("target-form");
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.change();
    });
    at("confirm").addEventListener("click", () => this.act("/target/confirm", {method: "POST", match: this.tag}, "It stays."));
    at("revert").addEventListener("click", () => this.revert());
    setInterval(() => this.countDown(), 250);
  }

  /** What `/status` says of it. Where something has changed, it is asked for with its tag: a change expects what is shown. */
  async show(view) {
    const {trial, ...rest} = view;
    const state = JSON.stringify([rest, trial?.until]);
    if (state === this.state) return this.render(view);
    this.state = state;
    try {
      const answer = await this.plane.ask("/target");
      this.render(await answer.json(), answer.headers.get("etag"));
    } catch {
      this.state = null;
    }
  }

  render(view, tag = this.tag) {
    [this.view, this.tag] = [view, tag];
    say(at("target-url"), shown(view.url ?? "–"));
    const changed = view.trial ? "on trial" : view.drift ? "changed at run time" : "as configured";
    say(at("target-state"), view.locked ? "locked" : changed);
    at("target-state").className = `tag ${view.trial || view.drift ? "warn" : "good"}`;
    const notes = [];
    if (view.answers_at) notes.push(`It answers at ${view.answers_at}.`);
    if (view.drift) notes.push(`Configured is ${view.configured}; a restart returns to ${view.after_restart}.`);
    if (view.last_rollback) notes.push(`Undone at ${moment(view.last_rollback.time)}: ${view.last_rollback.detail}`);
    if (view.locked) notes.push("It is locked by --target-locked: it stays what it is until a restart.");
    say(at("target-notes"), notes.map(shown).join(" "));
    for (const element of this.form.elements) element.disabled = Boolean(view.locked) && element.id !== "revert";
    at("revert").hidden = !view.drift;
    at("trial").hidden = !view.trial;
    if (view.trial) this.until = Date.now() + view.trial.seconds_left * 1000;
    this.countDown();
  }

  countDown() {
    const trial = this.view?.trial;
    if (!trial) return;
    const left = Math.max(0, Math.min(Math.ceil((this.until - Date.now()) / 1000), trial.seconds_left));
    this.longest = Math.max(this.longest && this.trial === trial.until ? this.longest : 0, left, 1);
    this.trial = trial.until;
    const failed = trial.failed ? `, ${count(trial.failed)} of them failed because of it` : ", none of them failed";
    say(at("trial-text"), `Returns to ${shown(trial.returns_to)} in ${span(left)} unless it is confirmed. `
      + `${count(trial.exchanges)} exchanges so far${trial.exchanges ? failed : ""}.`);
    at("trial-bar").style.setProperty("--share", (left / this.longest).toFixed(3));
  }

  async change() {
    const {url, confirm_within: within, probe} = this.form.elements;
    // What is changed is what was seen before the question.
    const match = this.tag;
    const body = {url: url.value.trim(), probe: probe.checked};
    if (within.value.trim()) body.confirm_within = within.value.trim();
    const isSure = await this.ask("Change the target?", [
      `From ${shown(this.view?.url ?? "?")} to ${shown(body.url)}.`,
      body.probe ? "It is probed before; a target that does not answer changes nothing." : "It is not probed before.",
      "Each request that begins from then on goes there; those in progress finish where they are.",
      body.confirm_within
        ? `It is undone when you do not confirm it within ${shown(body.confirm_within)}, or when its application fails.`
        : "It stays until it is changed again, or until a restart.",
    ], "Change it");
    if (isSure) await this.act("/target", {method: "PUT", body, match}, "It is in force.");
  }

  async revert() {
    const match = this.tag;
    const isSure = await this.ask("Return to the configured target?", [
      `From ${shown(this.view?.url ?? "?")} to ${shown(this.view?.configured ?? "?")}.`,
      "Each request that begins from then on goes there; those in progress finish where they are. It is not probed before.",
    ], "Return to it");
    if (isSure) await this.act("/target", {method: "DELETE", match}, "The configured target is in force.");
  }

  async act(path, options, done) {
    say(at("target-answer"), "…");
    try {
      // A probe may take its time.
      const answer = await this.plane.ask(path, {...options, patience: 30000});
      const view = await answer.json();
      const seen = view.checked?.address ? ` ${view.checked.address} took the connection.` : "";
      answered("target-answer", true, `${done}${shown(seen)}`);
      this.render(view, answer.headers.get("etag"));
      this.form.elements.url.value = "";
    } catch (error) {
      answered("target-answer", false, shown(error.message));
    }
    this.onChange();
  }
}

/** What became of it, in words and in colour. */
function answered(id, isWell, text) {
  at(id).className = `answer ${isWell ? "good" : "bad"}`;
  say(at(id), text);
}
