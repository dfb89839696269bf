"""End to end: the admin plane as an operator has it, and in the hands of others. Each check has a sidecar of its own."""

import collections
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import ssl
import tempfile
import threading
import time
from pathlib import Path

from certificates import running
from limits import counted, trusting
from props import (
    BINARY, Answer, Checks, Failed, Secret, Skipped, chromium, expect, from_pypi, run, s_client, served_fingerprint, told,
    until,
)
from protocols import fronted

check = Checks()
SECRET = "hunter2"
SCHEMATHESIS = "4.32.5"
JSON = ("-H", "Content-Type: application/json")


class Plane:
    """The admin plane of a sidecar, as curl reaches it."""

    def __init__(self, own, *options, url=None, under=()):
        self.url = url or f"http://{own.sidecar.address['admin']}"
        self.options, self.under = options, under

    def curl(self, path, *options):
        """curl's result, whatever became of it."""
        limits = ("-i", "-sS", "--max-time", "20")
        return run(*self.under, "curl", *limits, *self.options, *options, f"{self.url}{path}")

    def get(self, path, *options):
        return Answer(self.curl(path, *options))

    def post(self, path, *options):
        return self.get(path, "-X", "POST", *options)

    def change(self, url, *options, **wanted):
        """Of the target."""
        return self.get("/target", "-X", "PUT", *JSON, *options, "-d", json.dumps({"url": url, **wanted}))

    def target(self):
        return answered(self.get("/target"))


def answered(answer, status=200):
    """What an answer of this status says."""
    expect(answer.status == status, f"wanted {status}", answer.seen())
    return answer.json()


def refused(answer, status, reason):
    """A problem document that says why, in a word and in a sentence."""
    problem = answered(answer, status)
    is_problem = answer.headers.get("content-type") == "application/problem+json" and problem["status"] == status
    expect(is_problem and problem["detail"], answer.seen())
    expect(problem.get("reason") == reason, f"wanted {reason}", answer.seen())
    return problem["detail"]


@contextlib.contextmanager
def unchanged(plane):
    """Whatever is done meanwhile, the target's ETag is the same after it: nothing was changed, not even for a moment."""
    before = plane.get("/target").headers["etag"]
    yield
    after = plane.get("/target")
    expect(after.headers["etag"] == before, f"it was {before}", after.seen())


def audits(own, action):
    return own.records("audit", action=action)


# What the plane says of itself


# The answer to a follower of /logs has no end.
HOOKS = """
import schemathesis


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.path == "/logs" and isinstance(case.query, dict) and "follow" in case.query:
        if str(case.query["follow"]).strip("[]'").lower() == "true":
            case.query = {**case.query, "follow": "false"}
"""
# No schema can tell a target that is refused from one that is not.
SETTINGS = """
hooks = "hooks.py"
[checks]
positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "404", "409", "412", "422", "503"]
"""
DRAINING = """
[[operations]]
include-path = "/readyz"
checks.not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "503"]
"""


def generated(stage, own, name, *options, settings=""):
    """So many cases of schemathesis, from the plane's own description of itself; none may fail."""
    program = from_pypi(stage.folder, "schemathesis", SCHEMATHESIS)
    folder = stage.folder / f"schemathesis-{name}"
    folder.mkdir()
    (folder / "hooks.py").write_text(HOOKS)
    (folder / "schemathesis.toml").write_text(SETTINGS + settings)
    url = f"http://{own.sidecar.address['admin']}/openapi.json"
    done = run(
        program, "run", "--seed", 7, "--continue-on-failure", "--no-shrink", *options, url, cwd=folder, timeout=180
    )
    cases = re.search(r"^\s+(\d+) generated", done.stdout, re.MULTILINE)
    expect(done.returncode == 0 and cases and int(cases[1]) > 0, told(done)[-6000:])
    return int(cases[1])


@check("schemathesis finds the plane's own OpenAPI document true: of all cases no failure and no 5xx, in the drain neither")
def _(stage):
    with running(stage, "described", stage.public, "--app-health", "/", target=stage.second.url) as own:
        cases = generated(stage, own, "all", "--checks", "all", "-n", 100, "--exclude-path", "/drain")
        expect(own.sidecar.child.poll() is None and "panic" not in own.sidecar.stderr.read_text(), own.sidecar.tail())
        # Whatever it made of the target, the configured one is as near as ever.
        own.plane("admin", "/target", "-X", "DELETE")
        expect(own.get().body == "Hello you!", "the app's hello")
        drained = generated(stage, own, "drain", "--checks", "all", "-n", 10, "--phases", "fuzzing", settings=DRAINING)
        phase = Plane(own).get("/status").json()["phase"]
        expect(phase in ("draining", "stopped"), phase)
    return f"{cases} cases, {drained} in the drain"


TOKENS = {"deploy": ("write", "0123456789abcdef0123456789abcdef"), "watch": ("read", "fedcba9876543210fedcba9876543210")}


def token_file(stage, name):
    path = stage.folder / f"{name}.tokens"
    path.write_text("# who may do what\n\n" + "".join(f"{who} {scope} {token}\n" for who, (scope, token) in TOKENS.items()))
    path.chmod(0o600)
    return path


def bearer(who):
    """curl's option for this token, or for one that nobody has."""
    return ("-H", f"Authorization: Bearer {TOKENS[who][1] if who in TOKENS else who}")


@check("schemathesis finds no operation that forgets to ask for a token, and every answer documented")
def _(stage):
    tokens = token_file(stage, "described-tokens")
    with running(stage, "described-tokens", stage.public, "--admin-token-file", tokens, target=stage.second.url) as own:
        checks = ("--checks", "ignored_auth,status_code_conformance,not_a_server_error", "--exclude-path", "/drain")
        cases = generated(
            stage, own, "tokens", *checks, "-n", 1, "--phases", "coverage", "--rate-limit", "100/s", *bearer("deploy"),
        )
        refusals = [counted(own, "admin_refused_total", reason=f"token_{why}") for why in ("missing", "wrong")]
        expect(min(refusals) > 0, f"{refusals} without a token and with a wrong one: was it ever asked so?")
    return f"{cases} cases, {sum(refusals):.0f} without a right token"


@check("every operation asks for a token but the page and those about health; one of scope read changes nothing, and no token is told")
def _(stage):
    tokens = token_file(stage, "scopes")
    with running(stage, "scopes", stage.public, "--admin-token-file", tokens, target=stage.second.url) as own:
        plane, reader = Plane(own), Plane(own, *bearer("watch"))
        described = answered(reader.get("/openapi.json"))["paths"]
        operations = [(path, method.upper()) for path, methods in described.items() for method in methods]
        open_to_all = [path for path, method in operations if plane.get(path, "-X", method).status != 401]
        # The page holds nothing, and a browser cannot bring a token to it.
        expect(set(open_to_all) == {"/livez", "/readyz", "/healthz", "/"}, open_to_all)
        changes = [(path, method) for path, method in operations if method != "GET"]
        with unchanged(reader):
            for path, method in changes:
                refused(reader.get(path, "-X", method, *JSON, "-d", "{}"), 403, "scope")
        refused(plane.get("/status"), 401, "token_missing")
        refused(Plane(own, *bearer("nobody")).get("/status"), 401, "token_wrong")
        answered(Plane(own, *bearer("deploy")).change(stage.second.url))
        record = until(3, "an audit record", lambda: audits(own, "target_change"))[-1]
        expect("token deploy of 127.0.0.1" in str(record), record)

        # Another file: what was taken away is worth nothing within seconds, what is new opens.
        tokens.write_text("deploy write 00112233445566778899aabbccddeeff\n")
        until(5, "the old one is refused", lambda: reader.get("/status").status == 401)
        answered(plane.get("/status", "-H", "Authorization: Bearer 00112233445566778899aabbccddeeff"))
        seen = own.sidecar.stdout.read_text() + own.sidecar.stderr.read_text() + plane.get("/healthz").body
        told_of = [token for _, token in TOKENS.values() if token in seen]
        expect(not told_of, told_of)
    return f"{len(operations)} operations, {len(changes)} of them changes"


# The browser of an operator


# What a page may try. It tells its own site what became of each try, and never more than that.
ATTACKS = """<!doctype html><title>a page</title><script type="module">
  const [plane, site] = [PLANE, SITE];
  const json = {"Content-Type": "application/json"}, text = {"Content-Type": "text/plain"};
  const body = JSON.stringify({url: "http://127.0.0.1:TARGET", probe: false});
  const tries = [
    ["/", {}], ["/status", {}], ["/logs", {}], ["/config", {mode: "no-cors"}], ["/target", {mode: "no-cors"}],
    ["/certs/reload", {method: "POST"}], ["/certs/reload", {method: "POST", mode: "no-cors", headers: text}],
    ["/drain", {method: "POST", mode: "no-cors", body: ""}],
    ["/drain", {method: "POST", mode: "no-cors", headers: text, body: "{}"}],
    ["/target/confirm", {method: "POST", mode: "no-cors"}],
    ["/target", {method: "POST", mode: "no-cors", headers: text, body}],
    ["/target", {method: "PUT", headers: json, body}], ["/target", {method: "DELETE"}],
    ["/log-level", {method: "PUT", headers: json, body: '{"filter":"off"}'}],
  ];
  for (const [path, options] of tries) {
    let result;
    try {
      const answer = await fetch(plane + path, options);
      result = {type: answer.type, read: (await answer.text()).length};
    } catch (error) {
      result = {type: "failed", read: 0};
    }
    await fetch(`${site}/result?${new URLSearchParams({path, ...result})}`);
  }
  const form = Object.assign(document.createElement("form"), {method: "POST", action: plane + "/drain", target: "frame"});
  const frame = Object.assign(document.createElement("iframe"), {name: "frame"});
  const loaded = new Promise((done) => { frame.onload = done; setTimeout(done, 2000); });
  document.body.append(frame, form);
  form.submit();
  await loaded;
  await fetch(`${site}/result?path=the-end&type=failed&read=0`);
</script>"""


def results(app):
    """What the page has said so far."""
    paths = (asked.path for asked in app.asked if asked.path.startswith("/result?"))
    return [dict(part.split("=") for part in path.partition("?")[2].split("&")) for path in paths]


@check("a page in Chromium that is on the operator's machine reads nothing of the plane, changes nothing, and is audited")
def _(stage):
    with running(stage, "browsed", stage.public, target=stage.second.url) as own:
        plane, port = Plane(own), own.sidecar.port_of("admin")
        answered(plane.change(f"http://localhost:{stage.second.port}"))
        state = [plane.get(path).body for path in ("/target", "/log-level")]
        seen = []
        # Another site, and another port of the same: the browser tells them apart, we refuse both.
        for number, host in enumerate(("evil.example", "127.0.0.1")):
            def page(ask):
                attacks = ATTACKS.replace("PLANE", f'"http://127.0.0.1:{port}"').replace("TARGET", "1")
                text = attacks.replace("SITE", "location.origin") if ask.path == "/page" else "thanks"
                ask.answer(200, text.encode(), Content_Type="text/html")

            before = counted(own, "admin_refused_total", reason="cross_site")
            with fronted(stage, f"evil-{number}", page) as (_, app):
                url = f"http://{host}:{app.port}/page"
                rules = "--host-resolver-rules=MAP evil.example 127.0.0.1"
                browser = chromium(f"browser-{number}", stage.folder, rules, url)
                try:
                    until(40, "the page's results", lambda: any(one["path"] == "the-end" for one in results(app)))
                except Failed as error:
                    raise Failed(f"{error}\n{browser.tail()}\n{results(app)}") from error
                finally:
                    browser.kill()
                read = [one for one in results(app) if one["read"] != "0" or one["type"] not in ("failed", "opaque")]
                expect(not read, f"of {host}:", *read)
                arrived = counted(own, "admin_refused_total", reason="cross_site") - before
                expect(arrived >= 10, f"only {arrived:.0f} of what {host} tried came as far as the plane")
                seen.append(f"{arrived:.0f} of {host}")
        expect([plane.get(path).body for path in ("/target", "/log-level")] == state, "it was changed")
        expect(plane.get("/status").json()["phase"] == "ready", "it drains")
        expect(own.get().body == "Hello you!", "the app's hello")
        # The start, and the change above.
        done = collections.Counter(record["action"] for record in own.records("audit"))
        accesses = done.pop("admin_access")
        expect(accesses and done == {"certificate_reload": 1, "certificate_look": 1, "target_change": 1}, done)
        record = audits(own, "admin_access")[0]
        expect(record["reason"] == "cross_site" and record["result"] == "refused", record)

        # A name that leads here now: to the browser the page is of the plane's own site.
        shown = chromium(
            "rebound-browser", stage.folder, "--host-resolver-rules=MAP evil.example 127.0.0.1", "--dump-dom",
            f"http://evil.example:{port}/status",
        )
        until(30, "the page is shown", lambda: "</html>" in shown.stdout.read_text() or shown.child.poll() is not None)
        shown.kill()
        page = shown.stdout.read_text()
        expect("Host is not allowed" in page and stage.second.url not in page, page, shown.tail())
        for host, status in (("evil.example", 403), ("localhost.evil.example", 403), ("localhost", 200)):
            answer = plane.get("/status", "-H", f"Host: {host}:{port}")
            expect(answer.status == status, f"{host}: {status}", answer.seen())
    return f"refused: {', '.join(seen)}"


# Wrong tokens


class Pace:
    """How long requests take on one connection that is kept, over and over."""

    def __init__(self, stage, own):
        self.connection = http.client.HTTPSConnection("localhost", own.port, context=trusting(stage), timeout=20)

    def p99(self, requests=300):
        took = []
        for _ in range(requests):
            began = time.monotonic()
            self.connection.request("GET", "/")
            answer = self.connection.getresponse()
            answer.read()
            expect(answer.status == 200, answer.status)
            took.append((time.monotonic() - began) * 1000)
        return sorted(took)[len(took) * 99 // 100]


class Guessers:
    """Clients that try one wrong token after the other, on connections that they keep for as long as they may."""

    # Addresses of their own: the operator is another client.
    SOURCES = ("127.0.0.66", "127.0.0.67")

    def __init__(self, own, guesses, clients=52):
        self.address, self.left = ("127.0.0.1", own.sidecar.port_of("admin")), guesses
        self.answers, self.lock = collections.Counter(), threading.Lock()
        sources = (self.SOURCES[number % 2] for number in range(clients))
        self.threads = [threading.Thread(target=self.run, args=(source,), daemon=True) for source in sources]
        for thread in self.threads:
            thread.start()

    def number(self):
        with self.lock:
            self.left -= 1
            return self.left

    def run(self, source):
        connection = None
        while (number := self.number()) >= 0:
            try:
                if connection is None:
                    connection = http.client.HTTPConnection(*self.address, timeout=30, source_address=(source, 0))
                connection.request("GET", "/status", headers={"Authorization": f"Bearer guess-{number:020}"})
                answer = connection.getresponse()
                said = json.loads(answer.read())
                seen = (answer.status, said["reason"], "wrong token" in said["detail"])
                if answer.getheader("Connection") == "close":
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException) as error:
                seen, connection = type(error).__name__, None
            with self.lock:
                self.answers[seen] += 1

    def are_at_it(self):
        return all(thread.is_alive() for thread in self.threads)

    def end(self):
        for thread in self.threads:
            thread.join(60)
        expect(not any(thread.is_alive() for thread in self.threads), "they do not end")
        return self.answers


GUESSES = 10_000


@check(f"{GUESSES:,} wrong tokens hide no probe, slow no request and keep no right token out; all are counted, few recorded")
def _(stage):
    tokens = token_file(stage, "guessed")
    with running(stage, "guessed", stage.public, "--admin-token-file", tokens, target=stage.second.url) as own:
        plane, pace = Plane(own, *bearer("watch")), Pace(stage, own)
        pace.p99(50)
        before = pace.p99()
        began = time.monotonic()
        guessers = Guessers(own, GUESSES)
        until(5, "they are at it", lambda: guessers.left < GUESSES - 100)
        during, slowest, looks = [], 0.0, 0
        while guessers.are_at_it():
            for ask in (lambda: plane.get("/livez"), lambda: own.plane("probe", "/livez"), lambda: plane.get("/status")):
                asked = time.monotonic()
                answer = ask()
                expect(answer.status == 200, answer.seen())
                slowest, looks = max(slowest, time.monotonic() - asked), looks + 1
            if len(during) < 3:
                during.append(pace.p99())
        answers = guessers.end()
        took = time.monotonic() - began
        expect(looks >= 30 and during, f"{looks} looks while they were at it: that was too short")
        expect(max(during) < 10 * before + 50, f"p99 was {before:.1f} ms before, and {max(during):.1f} ms")
        expect(slowest < 2, f"a probe took {slowest:.1f} s")
        wrong = {(401, "token_wrong", False), (429, "too_many", True)}
        fast = (429, "too_many", False)
        # Two addresses with ten each, and one more a second.
        expect(answers[401, "token_wrong", False] < 2 * (11 + took), answers)
        wanted = {"token_wrong": sum(answers[kind] for kind in wrong), "too_many": answers[fast]}
        # When there are more connections than places, an old one gives way, with an answer on its way perhaps.
        broken = GUESSES - sum(wanted.values())
        expect(broken < GUESSES / 100, answers)
        counts = {reason: counted(own, "admin_refused_total", reason=reason) for reason in wanted}
        fits = all(wanted[reason] <= counts[reason] <= wanted[reason] + broken for reason in wanted)
        expect(fits, f"answered {wanted}", f"counted  {counts}", answers)

        def are_told():
            records = [record for record in audits(own, "admin_access") if record["reason"] == "token_wrong"]
            numbers = [re.match(r"(\d+) more within ", record["detail"]) for record in records]
            return sum(int(more[1]) if more else 1 for more in numbers) == counts["token_wrong"] and records

        records = until(12, "the audit has all of them", are_told)
        # Silent ones make room for each other.
        silent = [socket.create_connection(guessers.address, 5, (Guessers.SOURCES[0], 0)) for _ in range(500)]
        for ask in (lambda: plane.get("/livez"), lambda: plane.get("/status")) * 5:
            answered(ask())
        for connection in silent:
            connection.close()
        expect(len(records) <= 4 + took / 4, f"{len(records)} audit records")
        expect("guess-" not in own.sidecar.stdout.read_text() + own.sidecar.stderr.read_text(), "tokens are written down")
    rate = f"{GUESSES / took:.0f}/s, {len(records)} audit records"
    return f"{rate}, p99 {before:.1f} ms before and {max(during):.1f} ms meanwhile; probes within {slowest * 1000:.0f} ms"


# Doors


NOBODY = 65534


@check("a Unix socket is there for its owner alone; the audit has who came; a stale one is replaced; at the end it is gone")
def _(stage):
    as_nobody = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--")
    if os.geteuid() != 0 or run(*as_nobody, "true").returncode != 0:
        raise Skipped("nobody else's rights can be taken on here")
    # Where others may go, so that it is the socket that they cannot open.
    with tempfile.TemporaryDirectory(prefix="portcullis-socket-") as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "admin.sock"
        arguments = ("--admin", f"unix:{path}", "--drain-delay", "0s")
        ports = ("--listen", "127.0.0.1:0", "--probe", "127.0.0.1:0")
        another = (BINARY, "run", "--cert-dir", stage.public.dir, *ports, *arguments)
        with running(stage, "socket", stage.public, *arguments, target=stage.second.url) as own:
            expect(path.is_socket() and path.stat().st_mode & 0o777 == 0o600, oct(path.stat().st_mode))
            plane = Plane(own, "--unix-socket", path, url="http://localhost")
            other = Plane(own, "--unix-socket", path, url="http://localhost", under=as_nobody)
            expect(plane.target()["url"] == stage.second.url, "the target")
            done = other.curl("/status")
            expect(done.returncode == 7, told(done))

            # Whoever is let in is who the kernel says it is.
            def changed_by(plane, level):
                answered(plane.get("/log-level", "-X", "PUT", *JSON, "-d", json.dumps({"filter": level})))
                def actors():
                    return [record["actor"] for record in audits(own, "log_level") if record["detail"].endswith(level)]

                return until(3, "an audit record", actors)[0]

            actor = changed_by(plane, "debug")
            expect(re.fullmatch(r"uid 0 pid \d+", actor), actor)
            path.chmod(0o666)
            actor = changed_by(other, "warn")
            expect(re.fullmatch(rf"uid {NOBODY} pid \d+", actor), actor)
            path.chmod(0o600)

            # It cannot be a target either, whatever leads there.
            link = Path(folder) / "link.sock"
            link.symlink_to(path)
            with unchanged(plane):
                for url in (f"unix:{path}", f"unix:{link}", f"unix:{folder}/../{Path(folder).name}/./link.sock"):
                    for probe in (True, False):
                        refused(plane.change(url, probe=probe), 422, "loop")
            # Nor is it taken from who listens there.
            more = run(*another)
            expect(more.returncode == 1 and str(path) in more.stderr, told(more))
            expect(plane.target()["url"] == stage.second.url, "the target")
        # Killed, it left its socket.
        expect(path.is_socket(), "nothing is left behind")
        with running(stage, "socket-again", stage.public, *arguments, target=stage.second.url) as own:
            plane = Plane(own, "--unix-socket", path, url="http://localhost")
            expect(plane.target()["url"] == stage.second.url, "the target")
            code, _ = own.sidecar.end(signal.SIGTERM, 8)
            expect(code == 0 and not path.exists(), f"exit code {code}; the socket is there: {path.exists()}")
        path.write_text("precious")
        done = run(*another)
        expect(done.returncode == 1 and path.read_text() == "precious", told(done))


@check("off the loopback the plane starts only with tokens and TLS, and shows the certificate that is served, also a new")
def _(stage):
    tokens, secret = token_file(stage, "outside"), Secret(stage.folder / "outside")
    token, tls = ("--admin-token-file", tokens), ("--admin-tls",)
    common = ("--cert-dir", secret.dir, "--listen", "127.0.0.1:0", "--probe", "127.0.0.1:0", "--target", stage.second.url)
    for admin in ("0.0.0.0:0", "[::]:0"):
        for lacking, flags in (("--admin-token-file", tls), ("--admin-tls", token), ("--admin-token-file", ())):
            done = run(BINARY, "run", *common, "--admin", admin, *flags)
            expect(done.returncode == 2 and lacking in done.stderr and admin in done.stderr, told(done))
            expect(run(BINARY, "check", *common, "--admin", admin, *flags).returncode == 2, "check has nothing against it")
    loose = stage.folder / "loose.tokens"
    loose.write_text(f"deploy admin {SECRET}\n")
    done = run(BINARY, "run", *common, "--admin", "127.0.0.1:0", "--admin-token-file", loose)
    expect(done.returncode in (1, 2) and str(loose) in done.stderr and SECRET not in done.stderr, told(done))

    with running(stage, "outside", secret, "--admin", "0.0.0.0:0", *token, *tls, target=stage.second.url) as own:
        port = own.sidecar.port_of("admin")
        plane = Plane(own, "--cacert", secret.ca, *bearer("deploy"), url=f"https://localhost:{port}")
        expect(plane.target()["url"] == stage.second.url, "the target")
        refused(Plane(own, "--cacert", secret.ca, url=plane.url).get("/status"), 401, "token_missing")
        # Nobody is talked to in clear, nor with an older TLS than the rest.
        expect(Plane(own).curl("/livez").returncode != 0, "in clear")
        expect(s_client(port, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")["code"] != 0, "TLS 1.1")
        kept = http.client.HTTPSConnection("localhost", port, context=trusting_ca(secret.ca), timeout=10)
        headers = {"Authorization": bearer("watch")[1].removeprefix("Authorization: ")}
        for version in ("..v2", "..v3"):
            wanted = secret.write(version)
            secret.publish(version)
            until(2, "the new certificate", lambda wanted=wanted: served_fingerprint(port) == wanted)
            answered(plane.get("/status"))
            # Whoever was there stays.
            kept.request("GET", "/status", headers=headers)
            answer = kept.getresponse()
            expect((answer.status, bool(answer.read())) == (200, True), answer.status)
        expect(served_fingerprint(own.port) == served_fingerprint(port), "two certificates")
        # It has looked at itself with a client's eyes here, too, and has nothing to complain of.
        until(5, "a look at both", lambda: len(audits(own, "certificate_look")) == 6)
        looks = {record["result"] for record in audits(own, "certificate_look")}
        expect(looks == {"served"} and "nobody could see" not in own.sidecar.stderr.read_text(), *audits(own, "certificate_look"))


def trusting_ca(ca):
    return ssl.create_default_context(cafile=ca)


@check("with --admin-client-ca nobody comes in without its certificate; the audit has the name in it and that of the token")
def _(stage):
    tokens, secret = token_file(stage, "mutual-admin"), Secret(stage.folder / "mutual-admin")
    own_pair = Secret(stage.folder / "mutual-admin-own")
    operator = stage.staff.client("operator", "DNS:operator.corp.test")
    stranger = secret.authority.client("admin-stranger", "DNS:operator.corp.test")
    flags = (
        "--admin-token-file", tokens, "--admin-cert", own_pair.dir / "tls.crt", "--admin-key", own_pair.dir / "tls.key",
        "--admin-client-ca", stage.staff.crt,
    )
    with running(stage, "mutual-admin", secret, *flags, target=stage.second.url) as own:
        url = f"https://localhost:{own.sidecar.port_of('admin')}"

        def plane(*options):
            return Plane(own, "--cacert", own_pair.ca, *options, url=url)

        for options in ((), stranger.curl):
            done = plane(*bearer("deploy"), *options).curl("/status")
            expect(done.returncode != 0 and "HTTP/1.1" not in done.stdout, told(done))
        refused(plane(*operator.curl).get("/status"), 401, "token_missing")
        mine = plane(*bearer("deploy"), *operator.curl)
        answered(mine.change(stage.second.url))
        record = until(3, "an audit record", lambda: audits(own, "target_change"))[0]
        expect("deploy" in record["actor"] and "operator.corp.test" in record["actor"], record)
        # The data path is not concerned.
        expect(own.get().body == "Hello you!", "the app's hello")
        expect(served_fingerprint(own.port) == secret.fingerprint("..v1"), "the certificate of the data path")
        shown = served_fingerprint(own.sidecar.port_of("admin"), *operator.s_client)
        expect(shown == own_pair.fingerprint("..v1"), "not its own certificate")
