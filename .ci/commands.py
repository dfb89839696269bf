"""End to end: the commands of an operator against a sidecar that runs, and what they find around it: an app that others
reach, one that is ill, a pod that has too little time. Each check has a sidecar of its own."""

import contextlib
import json
import re
import signal
import socket
import tempfile
import threading
import time

from admin import TOKENS, Plane, answered, audits, refused, token_file
from certificates import running, secret_with
from limits import counted
from props import (
    BINARY, CHECKOUT, CLEAN, Checks, Network, Process, Secret, Skipped, expect, free_port, run, served_fingerprint, told,
    until, venv,
)
from protocols import fronted
from records import Operator

check = Checks()
PYYAML = "6.0.3"


def operator(own, *admin):
    """The commands in an environment with nothing in it, with these options instead of the address alone."""
    commands = Operator(own)
    commands.admin = admin or commands.admin
    return commands


def said(commands, *arguments, code=0):
    """What a command says in JSON."""
    done = commands.asks(*arguments, "--output", "json")
    expect(done.returncode == code, f"wanted exit code {code}", told(done))
    return json.loads(done.stdout)


def complains(commands, code, words, *arguments):
    """A command that fails says why on stderr and nothing on stdout."""
    done = commands.asks(*arguments)
    expect(done.returncode == code and words in done.stderr and not done.stdout, f"wanted {code} and {words!r}", told(done))


# Every command


@check("portcullis target, certs and log-level change a sidecar, in words and JSON; refused, they exit 1 and change nothing")
def _(stage):
    secret = Secret(stage.folder / "commanded")
    with fronted(stage, "commanded-other", lambda ask: ask.answer(200, b"other")) as (_, other), running(
        stage, "commanded", secret, target=stage.second.url
    ) as own:
        tell = operator(own)
        expect(stage.second.url in tell.is_told("target") == tell.is_told("target", "get"), tell.is_told("target"))
        before = said(tell, "target", "get")
        tried = tell.is_told("target", "set", other.url, "--probe-path", "/x", "--dry-run")
        expect("dry run" in tried and "answered 200" in tried, tried)
        expect(said(tell, "target", "set", other.url, "--dry-run")["dry_run"], "no dry run")
        expect(said(tell, "target") == before, "a dry run has changed it")

        # One that waits to be confirmed, and is.
        text = tell.is_told("target", "set", other.url, "--confirm-within", "60s", "--if-match", before["etag"])
        expect(other.url in text and "left to confirm" in text, text)
        expect(said(tell, "target")["trial"]["returns_to"] == stage.second.url and own.get().body == "other", "the trial")
        expect("confirmed" in tell.is_told("target", "confirm"), "confirm")
        complains(tell, 1, "no change waits", "target", "confirm")
        complains(tell, 1, "changed meanwhile", "target", "set", stage.second.url, "--if-match", before["etag"])
        expect("drift" in tell.is_told("status") and said(tell, "status")["target"]["drift"], "no drift in status")
        expect(stage.second.url in tell.is_told("target", "revert") and own.get().body == "Hello you!", "revert")
        expect(said(tell, "target", "set", other.url, "--confirm-within", "1s")["trial"]["seconds_left"] <= 1, "a second")
        until(3, "it is undone", lambda: said(tell, "target")["url"] == stage.second.url)
        expect("nobody has confirmed" in tell.is_told("target"), "it does not say that it was undone")

        unchanged = said(tell, "target")
        for words, url, *more in (
            ("Portcullis itself", f"http://localhost:{own.port}"), ("not on the loopback", "http://192.0.2.1:80"),
            ("written in full", "http://127.1:80"), ("does not take connections", f"http://127.0.0.1:{free_port()}"),
            ("with 200 and not with 204", other.url, "--probe-path", "/", "--probe-status", 204),
        ):
            complains(tell, 1, words, "target", "set", url, *more)
        expect(said(tell, "target") == unchanged, "a refused one has changed it")
        tell.is_told("target", "set", f"http://127.0.0.1:{free_port()}", "--no-probe")
        tell.is_told("target", "revert")

        # Certificates.
        first = secret.fingerprint("..v1")
        expect(first in tell.is_told("certs") and said(tell, "certs", "get")["chain"][0]["sha256"] == first, "certs")
        expect("unchanged" in tell.is_told("certs", "reload"), "reload")
        second = secret.write("..v2")
        secret.publish("..v2")
        until(3, "the new one", lambda: served_fingerprint(own.port) == second)
        expect(said(tell, "certs", "reload")["new"] == second, "reload")
        secret.write("..v3")
        (secret.dir / "..v3/tls.key").write_bytes((secret.dir / "..v1/tls.key").read_bytes())
        secret.publish("..v3")
        complains(tell, 1, "does not match", "certs", "reload")
        expect(served_fingerprint(own.port) == second and second in tell.is_told("certs"), "another one is served")

        # Its own log.
        expect(tell.is_told("log-level").split()[:3] == ["log", "level", "info"], "log-level")
        expect("debug" in tell.is_told("log-level", "debug"), "log-level debug")
        until(3, "it says more", lambda: (own.get(), " DEBUG " in own.sidecar.stderr.read_text())[1])
        complains(tell, 1, "neither a level", "log-level", "a=b=c")
        wanted = {"filter": "debug", "configured": "info"}
        expect(said(tell, "log-level") == wanted, said(tell, "log-level"))
        expect(said(tell, "log-level", "info")["filter"] == "info", "back to info")
        # The operator finds who did what by the same means.
        found = tell.is_told("logs", "--kind", "audit", "--limit", 100, "--output", "json")
        actions = [json.loads(line)["action"] for line in found.splitlines()]
        wanted = {"target_change", "target_confirm", "target_revert", "target_rollback", "log_level", "certificate_reload"}
        expect(wanted <= set(actions), actions)


@check("portcullis drain --wait returns when nothing is in flight, or with 4 when that takes long; SIGTERM then ends with 0")
def _(stage):
    go_on = threading.Event()

    def page(ask):
        if ask.path == "/slow":
            go_on.wait(20)
        ask.answer(200, b"hello")

    with fronted(stage, "drained", page, "--drain-delay", "0s", "--drain-timeout", "30s") as (own, app):
        tell = operator(own)
        url = f"https://localhost:{own.port}/slow"
        slow = Process("drained-slow", ["curl", "-sS", "--cacert", own.secret.ca, url], {}, stage.folder)
        until(5, "it is asked", lambda: app.asked)
        began = time.monotonic()
        done = tell.asks("drain", "--wait", "--timeout", "1s")
        expect(done.returncode == 4 and "drain" in done.stdout + done.stderr, told(done))
        expect(1 <= time.monotonic() - began < 3, "--timeout")
        complains(tell, 1, "drain", "status", "--ready")
        expect(said(tell, "status")["phase"] == "draining" and said(tell, "drain")["phase"] == "draining", "phase")
        waiting = Process("drained-wait", [BINARY, "drain", "--wait", *tell.admin], {}, stage.folder)
        time.sleep(0.5)
        expect(waiting.child.poll() is None, waiting.tail())
        go_on.set()
        expect(waiting.child.wait(5) == 0 and "drained" in waiting.stdout.read_text(), waiting.tail())
        expect(slow.child.wait(5) == 0 and slow.stdout.read_text() == "hello", slow.tail())
        expect(said(tell, "drain", "--wait")["phase"] == "stopped", "phase")
        # Who asks the planes still learns how it is.
        expect([own.plane("probe", path).status for path in ("/livez", "/readyz")] == [200, 503], "the probe plane")
        with socket.socket() as late:
            expect(late.connect_ex(("127.0.0.1", own.port)) != 0, "the port is still open")
        code, took = own.sidecar.end(signal.SIGTERM, 5)
        expect(code == 0, f"exit code {code}", own.sidecar.tail())
        tell.is_told("drain", "--wait", code=3)
    return f"ended in {took:.2f} s"


READS = (("status",), ("status", "--ready"), ("logs",), ("target",), ("certs",), ("log-level",), ("doctor",))


def all_answer(commands):
    """All that only look, in words and in JSON."""
    for command in READS:
        text = commands.is_told(*command)
        expect(text.strip() and "\x1b" not in text, command)
        for line in commands.is_told("logs", "--output", "json").splitlines() if command == ("logs",) else ():
            expect("kind" in json.loads(line), line)
        if command != ("logs",):
            expect(said(commands, *command), command)


@check("every command works over TCP, a Unix socket and TLS, with a token from a file, and in the sidecar's own environment")
def _(stage):
    tokens, reader = token_file(stage, "doors"), stage.folder / "reader.token"
    reader.write_text(TOKENS["watch"][1] + "\n")
    token = ("--admin-token-file", tokens)
    with tempfile.TemporaryDirectory(prefix="portcullis-doors-") as folder:
        path = f"unix:{folder}/admin.sock"
        doors = {
            "tcp": ((), ()), "tokens": (token, token), "unix": (("--admin", path), ()),
            "tls": (("--admin-tls", *token), ("--admin-ca", stage.public.ca, *token)),
        }
        # An app that nobody else reaches, so that there is nothing to find.
        with fronted(stage, "doors-app", lambda ask: ask.answer(200, b"hello")) as (_, app):
            for door, (flags, options) in doors.items():
                with running(stage, f"door-{door}", stage.public, *flags, target=app.url) as own:
                    address = own.sidecar.address["admin"]
                    ways = {"unix": [path], "tls": [f"https://localhost:{address.rpartition(':')[2]}"]}
                    for way in ways.get(door, [address, f"http://{address}", f":{address.rpartition(':')[2]}"]):
                        tell = operator(own, "--admin", way, *options)
                        tell.is_told("status", "--ready")
                        tell.is_told("doctor")
                    all_answer(tell)
                    complains(tell, 2, "a class like 5xx", "logs", "--status", "teapot")
                    expect("debug" in tell.is_told("log-level", "debug"), "a change")
                    record = until(3, "an audit record", lambda own=own: audits(own, "log_level"))[0]
                    expect(("token deploy" in record["actor"]) == (token == options[-2:]), record)
                    if token == options[-2:]:
                        # Who may read only, and who has none.
                        lesser = operator(own, *tell.admin[:-1], reader)
                        lesser.is_told("status")
                        complains(lesser, 1, "may only read", "log-level", "info")
                        without = operator(own, *tell.admin[:-2])
                        complains(without, 1, "token", "status")
                        without.is_told("status", "--ready")
                    if door == "tls":
                        env = {
                            "PORTCULLIS_ADMIN": address, "PORTCULLIS_ADMIN_TLS": "true",
                            "PORTCULLIS_ADMIN_TOKEN_FILE": str(tokens), "PORTCULLIS_ADMIN_CA": str(stage.public.ca),
                        }
                        for command in ("status", "doctor", "logs"):
                            done = run(BINARY, command, env=env)
                            expect(done.returncode == 0 and done.stdout, told(done))
                        other = operator(own, "--admin", ways["tls"][0], "--admin-ca", stage.staff.crt, *token)
                        expect(other.asks("status").returncode in (1, 3), told(other.asks("status")))
    return f"{len(doors)} doors, {2 * len(READS)} questions each"


@check("exit codes are 2 for mistakes, 3 where nobody is, 4 for a plane that is silent; no token leaves the host in clear")
def _(stage):
    tokens = token_file(stage, "codes")
    nobody = ("--admin", f"127.0.0.1:{free_port()}")
    mistakes = (
        ("status", "--no-such-flag"), ("status", "--output", "xml"), ("status", "--admin", "nowhere"), ("target", "set"),
        ("target", "set", "http://127.0.0.1:1", "--confirm-within", "soon"), ("target", "move"), ("certs", "renew"),
        ("log-level", "a", "b"), ("drain", "--timeout", "5s"), ("logs", "--kind", "teapot"),
        ("doctor", "--grace-period", "soon", *nobody),
        ("status", "--admin-token-file", "/no/such/file"), ("status", "--admin", "https://localhost:1"),
        # Off the loopback, in clear.
        ("status", "--admin", "http://192.0.2.1:9901", "--admin-token-file", tokens),
    )
    for arguments in mistakes:
        done = run(BINARY, *arguments, env={"PORTCULLIS_ADMIN": nobody[1]})
        expect(done.returncode == 2 and done.stderr and not done.stdout, told(done))
        expect(all(token not in done.stderr for _, token in TOKENS.values()), told(done))
    changes = (("target", "set", "http://127.0.0.1:1"), ("target", "confirm"), ("target", "revert"), ("certs", "reload"))
    commands = [*READS[:-1], *changes, ("log-level", "debug"), ("drain",), ("drain", "--wait"), ("logs", "-f")]
    for arguments in commands:
        for admin in (nobody, ("--admin", f"unix:{stage.folder}/nobody.sock")):
            done = run(BINARY, *arguments, *admin, env={})
            expect(done.returncode == 3 and done.stderr and not done.stdout, told(done))
    # It looks at the rest all the same.
    done = run(BINARY, "doctor", *nobody, env={"TARGET": stage.second.url})
    expect(done.returncode == 1 and f"no admin plane at {nobody[1]}" in done.stdout and "200 OK" in done.stdout, told(done))

    # All at once: each waits for as long as it has patience, which is a minute for a change.
    patient = [*READS[:-1], ("drain", "--wait", "--timeout", "2s")]
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        admin = ("--admin", f"127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        waiting = {
            command: Process(f"silent-{number}", [BINARY, *command, *admin], {}, stage.folder)
            for number, command in enumerate(patient)
        }
        for command, process in waiting.items():
            until(20, f"{command} has given up", lambda process=process: process.child.poll() is not None)
        took = time.monotonic() - began
    codes = {command: process.child.returncode for command, process in waiting.items()}
    expect(set(codes.values()) == {4}, codes, *(process.tail() for process in waiting.values()))
    return f"{len(mistakes)} mistakes; patience of {took:.0f} s"


@check("each command says by --help what it is for, with examples and its exit codes, in lines that a terminal has room for")
def _(stage):
    commands = [
        ("run",), ("check",), ("demo",), ("status",), ("logs",), ("target",), ("target", "set"), ("target", "confirm"),
        ("target", "revert"), ("certs",), ("certs", "reload"), ("log-level",), ("drain",), ("doctor",), ("top",),
    ]
    front = run(BINARY, "--help", env={}).stdout
    for command in commands:
        done = run(BINARY, *command, "--help", env={})
        expect(done.returncode == 0 and "Usage: portcullis" in done.stdout and not done.stderr, told(done))
        expect(re.search(rf"^  {command[0]} ", front, re.MULTILINE), front)
        wide = [line for line in done.stdout.splitlines() if len(line) > 120]
        expect(not wide, *wide)
        if command[0] not in ("run", "check", "demo"):
            expect("--admin" in done.stdout, told(done))
            # Of those below others, the upper one says it.
            expect("Exit codes: 0 " in done.stdout and "Example" in done.stdout or len(command) > 1, told(done))
    return f"{len(commands)} of them"


# Who else reaches the app


# The example's app with an address of its own to listen on, which the example has no setting for.
EXPRESS = """
const express = require("express");
const app = express();
app.get("/", (_, response) => response.send("Hello you!"));
app.listen(Number(process.env.PORT), process.env.HOST);
"""


class Express:
    """The Express app on this address, in the same place each time."""

    def __init__(self, stage, name, under=()):
        self.stage, self.name, self.under, self.port = stage, name, under, free_port()
        self.url, self.process = f"http://127.0.0.1:{self.port}", None

    def listens_on(self, host):
        self.kill()
        env = {"PORT": str(self.port), "HOST": host, "NODE_PATH": str(self.stage.second.code / "node_modules")}
        self.process = Process(self.name, [*self.under, "node", "-e", EXPRESS], env, self.stage.folder)
        until(10, f"{self.name} answers", lambda: run(*self.under, "curl", "-sf", self.url).stdout == "Hello you!")

    def kill(self):
        if self.process:
            self.process.kill()


def finding(findings, name):
    """The worst one of what was looked at."""
    states = ("ok", "note", "warning", "problem")
    return max((one for one in findings if one["check"] == name), key=lambda one: states.index(one["state"]))


@check("an app on all addresses is found by log, metric, /status, doctor and, if wanted, /readyz; on loopback all is fine")
def _(stage):
    app = Express(stage, "bypassed-app")
    app.listens_on("0.0.0.0")
    flags = ("--require-loopback-app", "--grace-period", "60")
    try:
        with running(stage, "bypassed", stage.public, *flags, target=app.url) as own:
            tell, address = operator(own), f"0.0.0.0:{app.port}"
            until(3, "it is looked at", lambda: address in own.plane("probe", "/readyz").body)
            detail = refused(own.plane("probe", "/readyz"), 503, "not_ready")
            expect("--require-loopback-app" in detail, detail)
            status = Plane(own).get("/status").json()
            expect(status["bypass"] == {"port": app.port, "reachable_at": [address]}, status)
            expect(address in str(status["degraded"]) and not status["ready"], status)
            expect(own.metric("portcullis_plaintext_bypass") == 1, "the metric")
            warning = rf" WARN .*{re.escape(address)}.*bind the application to"
            until(3, "the log says so", lambda: re.search(warning, own.sidecar.stderr.read_text()))
            complains(tell, 1, address, "status", "--ready")
            text = tell.is_told("doctor", code=1)
            expect(address in text and "bind the application to 127.0.0.1" in text, text)
            found = finding(said(tell, "doctor", code=1), "plain port")
            expect(found["state"] == "problem" and address in found["finding"] and found["fix"], found)
            # It is a warning, and no outage of its own.
            expect(own.get().body == "Hello you!", "the app's hello")

            app.listens_on("127.0.0.1")
            # It would look by itself, the later the more connections the machine has.
            own.sidecar.signal(signal.SIGHUP)
            until(5, "it is ready", lambda: own.plane("probe", "/readyz").status == 200)
            status = Plane(own).get("/status").json()
            expect(status["bypass"]["reachable_at"] == [] and not status["degraded"], status)
            expect(own.metric("portcullis_plaintext_bypass") == 0, "the metric")
            expect("cannot be reached past the sidecar any more" in own.sidecar.stderr.read_text(), own.sidecar.tail())
            tell.is_told("status", "--ready")
            expect(finding(said(tell, "doctor"), "plain port")["state"] == "ok", "doctor")

            # The example as it is, by a change at run time.
            answered(Plane(own).change(stage.second.url))
            until(5, "it is found", lambda: f":{stage.second.port}" in own.plane("probe", "/readyz").body)
            tell.is_told("target", "revert")
            until(5, "it is ready", lambda: own.plane("probe", "/readyz").status == 200)
    finally:
        app.kill()
    with running(stage, "tolerated", stage.public, target=stage.second.url) as own:
        until(3, "it is found", lambda: own.metric("portcullis_plaintext_bypass") == 1)
        expect(own.plane("probe", "/readyz").status == 200, "unready, though nobody has asked for that")


@check("from another host an open app answers in clear past its TLS, which is what doctor says; on the loopback it does not")
def _(stage):
    with contextlib.ExitStack() as stack:
        pod, outside = (stack.enter_context(contextlib.closing(Network(stage, name))) for name in ("pod", "outside"))
        pair = f"link add pod0 netns {pod.pid} type veth peer name out0 netns {outside.pid}"
        if run(pod.ip, *pair.split()).returncode != 0:
            raise Skipped("there are no pairs of network devices here")
        for network, device, ip in ((pod, "pod0", "10.98.0.1"), (outside, "out0", "10.98.0.2")):
            for setting in (f"address add {ip}/24 dev {device}", f"link set {device} up"):
                done = run(*network.inside, network.ip, *setting.split())
                expect(done.returncode == 0, told(done))
        app = Express(stage, "pod-app", pod.inside)
        app.listens_on("0.0.0.0")
        stack.callback(app.kill)
        own = stack.enter_context(running(stage, "pod", stage.public, target=app.url, under=pod.inside))
        admin = ("--admin", own.sidecar.address["admin"])

        def from_outside(url, *options):
            return run(*outside.inside, "curl", "-sS", "--max-time", "5", "--cacert", own.secret.ca, *options, url)

        def doctor():
            done = run(*pod.inside, BINARY, "doctor", *admin, "--output", "json", env={})
            return done.returncode, finding(json.loads(done.stdout), "plain port")["state"]

        def over_tls():
            return from_outside(f"https://localhost:{own.port}", "--resolve", f"localhost:{own.port}:10.98.0.1")

        def in_clear():
            return from_outside(f"http://10.98.0.1:{app.port}")

        until(5, "TLS is in front of it", lambda: over_tls().stdout == "Hello you!")
        expect(in_clear().stdout == "Hello you!" and doctor() == (1, "problem"), told(in_clear()), doctor())
        app.listens_on("127.0.0.1")
        done = in_clear()
        expect(done.returncode == 7 and doctor() == (0, "ok"), told(done), doctor())
        expect(over_tls().stdout == "Hello you!", told(over_tls()))


# How the app is


@check("/app tells how the app is behind required client certificates, 503 when it is ill; a flood asks it a few times only")
def _(stage):
    is_ill = threading.Event()

    def page(ask):
        ask.answer(500 if is_ill.is_set() else 200, b"hello")

    secret = secret_with(stage, "health", stage.staff)
    with fronted(stage, "health-app", page) as (_, app):
        flags = ("--client-auth", "required", "--app-health", "/healthz")
        with running(stage, "health", secret, *flags, target=app.url) as own:
            expect(own.curl().returncode != 0, "a client without a certificate")
            before = len(app.asked)
            for plane in ("probe", "admin"):
                view = answered(own.plane(plane, "/app"))
                expect((view["app_status"], view["target"], view["path"]) == (200, app.url, "/healthz"), view)
            expect([asked.path for asked in app.asked[before:]] == ["/healthz"], "one answer for both")

            is_ill.set()
            until(3, "it is told", lambda: own.plane("probe", "/app").status == 503)
            expect("500" in refused(own.plane("probe", "/app"), 503, "app_status"), "its status")
            # That is for the app's probes; the sidecar is as well as ever.
            expect(own.plane("probe", "/readyz").status == 200, "unready because of the app")
            found = finding(said(operator(own), "doctor", code=1), "application")
            expect(found["state"] == "problem" and "500" in found["finding"], found)
            is_ill.clear()
            until(3, "it is told", lambda: own.plane("probe", "/app").status == 200)

            before, began = len(app.asked), time.monotonic()
            done = run("h2load", "--h1", "-n", 2000, "-c", 20, f"http://{own.sidecar.address['probe']}/app", timeout=60)
            took, asked = time.monotonic() - began, len(app.asked) - before
            answers = re.search(r"status codes: (\d+) 2xx, \d+ 3xx, (\d+) 4xx, (\d+) 5xx", done.stdout)
            expect(answers and int(answers[1]) >= 500 and int(answers[3]) == 0, told(done))
            expect(asked <= took + 2, f"the app was asked {asked} times in {took:.1f} s")
            # It leaves no trace in what is said of clients.
            expect(not own.records() and counted(own, "requests_total") == 0, *own.records())
            app.server.shutdown()
            app.server.server_close()
            until(3, "it is told", lambda: own.plane("probe", "/app").status == 503)
            refused(own.plane("probe", "/app"), 503, "app_unreachable")
    with running(stage, "unasked", stage.public, target=stage.second.url) as own:
        refused(own.plane("probe", "/app"), 404, "not_configured")
    return f"{asked} questions for {answers[1]} answers"


# What is around it


@check("doctor and check have a line to fix each finding with, and name a grace period that is too short for the drain")
def _(stage):
    secret = Secret(stage.folder / "ailing")
    app = Express(stage, "ailing-app")
    app.listens_on("127.0.0.1")
    env = {"PORTCULLIS_GRACE_PERIOD": "10"}
    try:
        given = ("env", *(f"{name}={value}" for name, value in env.items()))
        with running(stage, "ailing", secret, "--app-health", "/", under=given, target=app.url) as own:
            tell = operator(own)
            findings = said(tell, "doctor", code=1)
            found = finding(findings, "drain")
            expect(found["state"] == "problem" and "26s" in found["finding"] and "10s" in found["finding"], found)
            expect("terminationGracePeriodSeconds to 26" in found["fix"], found)
            ailing = {one["check"] for one in findings if one["state"] not in ("ok", "note")}
            looked_at = {one["check"] for one in findings}
            expect(ailing == {"drain"} and {"certificate", "clock", "plain port", "application"} <= looked_at, *findings)
            expect(f"127.0.0.1:{app.port}" in finding(findings, "application")["finding"], findings)
            # Long enough, said by who asks.
            expect(finding(said(tell, "doctor", "--grace-period", "26"), "drain")["state"] == "ok", "26 s")

            # All that can be wrong at once.
            served = secret.fingerprint("..v1")
            secret.write("..v2")
            (secret.dir / "..v2/tls.key").write_bytes((secret.dir / "..v1/tls.key").read_bytes())
            secret.publish("..v2")
            until(5, "it is refused", lambda: own.plane("admin", "/certs").json()["last_error"])
            tell.is_told("target", "set", f"http://localhost:{free_port()}", "--no-probe")
            findings = said(tell, "doctor", code=1)
            states = {name: finding(findings, name)["state"] for name in ("certificate", "target", "application", "drain")}
            wanted = {"certificate": "problem", "target": "warning", "application": "problem", "drain": "problem"}
            expect(states == wanted, f"wanted {wanted}", *findings)
            expect(served_fingerprint(own.port) == served, "another certificate is served")
            lacking = [one for one in findings if one["state"] != "ok" and not one["fix"]]
            expect(not lacking, *lacking)
            text = tell.is_told("doctor", code=1)
            expect(text.count("\u2192 ") == len([one for one in findings if one["fix"]]), text)
            expect("3 problems, 1 warning" in text, text)
    finally:
        app.kill()
    given = {**CLEAN, **env, "PORTCULLIS_CERT_DIR": str(secret.dir), "TARGET": "http://127.0.0.1:8080", "PORT": "8443"}
    done = run(BINARY, "check", "--drain-timeout", "30s", env=given)
    expect(done.returncode == 2 and "does not match" in done.stdout + done.stderr, told(done))
    secret.write("..v3")
    secret.publish("..v3")
    done = run(BINARY, "check", "--drain-timeout", "30s", env=given)
    expect(done.returncode == 0, told(done))
    for words in (
        r"target\s+http://127.0.0.1:8080\s+environment TARGET", r"drain-timeout\s+30s\s+flag --drain-timeout",
        r"drain-delay\s+5s\s+default", r"grace-period\s+10\S*\s+environment PORTCULLIS_GRACE_PERIOD",
        r"\[::\]:8443\s+--listen\s+TLS", r"127\.0\.0\.1:9901\s+--admin", r"\[::\]:9902\s+--probe",
        r"35s at most", r"(?i)grace period.*10s",
    ):
        expect(re.search(words, done.stdout), words, told(done))
    return f"{len(findings)} findings"


@check("examples/compose.yaml is sound: its settings are options that check accepts, its health check is a working command")
def _(stage):
    path = CHECKOUT / "examples/compose.yaml"
    python = venv(stage.folder, "yaml", f"pyyaml=={PYYAML}") / "bin/python"
    read = "import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout)"
    done = run(python, "-c", read, path)
    expect(done.returncode == 0, told(done))
    services = json.loads(done.stdout)["services"]
    app, sidecar = services["app"], services["portcullis"]
    # One network namespace, and the app's plain port is not published by either.
    expect(sidecar["network_mode"] == "service:app" and "ports" not in sidecar, sidecar)
    published = {int(str(port).rpartition(":")[2]) for port in app["ports"]}
    expect(8080 not in published and 8443 in published, app)
    environment = {name: str(value) for name, value in sidecar["environment"].items()}
    given = {**CLEAN, **environment, "PORTCULLIS_CERT_DIR": str(stage.public.dir)}
    checked = run(BINARY, "check", *sidecar["command"][1:], env=given)
    expect(checked.returncode == 0, told(checked))
    for name in environment:
        expect(f"environment {name}" in checked.stdout, f"{name} is no option", told(checked))
    expect(re.search(r"TARGET|--target", checked.stdout), told(checked))
    expect(environment["PORTCULLIS_GRACE_PERIOD"] == sidecar["stop_grace_period"], sidecar)
    # Where it is started as it stands there, but for the ports.
    kind, program, *command = sidecar["healthcheck"]["test"]
    expect((kind, program) == ("CMD", "portcullis"), sidecar["healthcheck"])
    with running(stage, "composed", stage.public, target=stage.second.url) as own:
        expect(operator(own).asks(*command).returncode == 0, command)
        own.sidecar.kill()
        expect(operator(own).asks(*command).returncode != 0, command)
    # The key that its comments make can be read by the image's user, who is not who made it.
    typed = "\n".join(re.findall(r"^# {3}((?:mkdir|openssl|chmod|  -addext) .*)$", path.read_text(), re.MULTILINE))
    made = run("sh", "-euc", typed, cwd=stage.folder)
    expect(made.returncode == 0 and (stage.folder / "examples/certs/tls.key").stat().st_mode & 0o004, typed, told(made))
    # Its own comments promise no file that is not there.
    for name in re.findall(r"context: (\S+)", path.read_text()):
        expect((path.parent / name).is_dir(), name)
    return f"{len(services)} services, {len(environment)} settings"
