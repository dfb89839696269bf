// The admin plane, as this page asks it.

/** An answer that is none of those hoped for. */
class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `the answer is ${status}`);
    this.status = status;
    this.reason = problem.reason;
  }
}

class Plane {
  constructor() {
    // Of this tab only, and gone with it.
    this.token = kept(sessionStorage, "token");
    this.isReadOnly = false;
  }

  open(token) {
    this.token = token;
    this.isReadOnly = false;
    keep(sessionStorage, "token", token);
  }

  forget() {
    this.open(null);
  }

  /** The answer, or an error that says why not. */
  async ask(path, {method = "GET", body, match, accept = "application/json", signal, patience = 5000} = {}) {
    const headers = {Accept: accept};
    if (this.token) headers.Authorization = `Bearer ${this.token}`;
    if (match) headers["If-Match"] = match;
    if (body) headers["Content-Type"] = "application/json";
    const limits = [signal, patience && AbortSignal.timeout(patience)].filter(Boolean);
    const answer = await fetch(path, {
      method, headers, body: body && JSON.stringify(body), cache: "no-store", credentials: "omit", redirect: "error",
      signal: limits.length ? AbortSignal.any(limits) : undefined,
    });
    if (answer.ok) return answer;
    const problem = await answer.json().catch(() => ({}));
    if (problem.reason === "scope") this.isReadOnly = true;
    throw new Refused(answer.status, problem);
  }

  async json(path, options) {
    return (await this.ask(path, options)).json();
  }

  async text(path) {
    return (await this.ask(path, {accept: "text/plain"})).text();
  }

  /** Each line of an answer without an end, until it ends all the same. `onLines` is given some at once. */
  async follow(path, signal, onOpen, onLines) {
    const silence = new AbortController();
    let watch;
    const heard = () => {
      clearTimeout(watch);
      watch = setTimeout(() => silence.abort(), SILENCE);
    };
    heard();
    try {
      const answer = await this.ask(path, {
        accept: "application/x-ndjson", patience: 0, signal: AbortSignal.any([signal, silence.signal]),
      });
      onOpen();
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const {done, value} = await reader.read();
        if (done) return;
        heard();
        const lines = (rest + value).split("\n");
        rest = lines.pop();
        onLines(lines);
      }
    } finally {
      clearTimeout(watch);
    }
  }
}

/** Storage may be forbidden; then nothing is kept. */
function kept(storage, name) {
  try {
    return storage.getItem(`portcullis-${name}`);
  } catch {
    return null;
  }
}

function keep(storage, name, value) {
  try {
    if (value) storage.setItem(`portcullis-${name}`, value);
    else storage.removeItem(`portcullis-${name}`);
  } catch {
    // It lasts as long as the page does.
  }
}

/** A heartbeat comes every 15 s. */
const SILENCE = 40000;
