"""End to end: what is written down, counted and shown of every exchange, whoever reads it, and whether anybody does.
Each check has a sidecar of its own."""

import collections
import contextlib
import functools
import http.client
import itertools
import json
import os
import re
import secrets
import selectors
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time
import urllib.parse
from pathlib import Path

from certificates import running, secret_with
from limits import counted
from props import (
    BINARY, CHECKOUT, CLEAN, Checks, Failed, Process, Secret, Skipped, expect, free_port, from_debian, run, s_client,
    told, until,
)
from protocols import BOTH, fronted, loaded

check = Checks()
# Python warns of its name.
OLD = getattr(ssl.TLSVersion, "TLSv1_1")
MILLION = int(os.environ.get("PORTCULLIS_E2E_REQUESTS") or 1_000_000)


class Quick:
    """HAProxy as an app that answers at once, so that a flood is the sidecar's work."""

    def __init__(self, stage, name):
        program, port = from_debian(stage.folder, "haproxy", "haproxy"), free_port()
        config = stage.folder / f"{name}.cfg"
        config.write_text(f"""
global
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 20s
frontend door
    bind 127.0.0.1:{port}
    http-request return status 200 content-type text/plain string ok
""")
        self.process = Process(name, [program, "-db", "-f", config], {}, stage.folder)
        self.url = f"http://127.0.0.1:{port}"
        until(10, f"{name} answers", lambda: run("curl", "-sf", self.url).stdout == "ok")


@contextlib.contextmanager
def before_quick(stage, name, *arguments, secret=None, under=()):
    app = Quick(stage, f"{name}-app")
    try:
        with running(stage, name, secret or stage.public, *arguments, target=app.url, under=under) as own:
            yield own
    finally:
        app.process.kill()


class Wire:
    """A connection of HTTP/1.1, on which anything can be said."""

    def __init__(self, own):
        context = ssl.create_default_context(cafile=own.secret.ca)
        self.tls = context.wrap_socket(socket.create_connection(("127.0.0.1", own.port), 20), server_hostname="localhost")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.tls.close()

    def says(self, request):
        """The status of what is answered."""
        self.tls.sendall(request)
        answer = http.client.HTTPResponse(self.tls)
        answer.begin()
        answer.read()
        return answer.status


def said_to(own, request):
    with Wire(own) as wire:
        return wire.says(request)


def leaves(own, app, path):
    """A client of HTTP/1.1 whose connection breaks when the app has its request."""
    with Wire(own) as wire:
        wire.tls.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        until(5, "the app is asked", lambda: any(asked.path == path for asked in app.asked))
        wire.tls.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


# The access log


AGENT = 'odd "agent" \\ [x] é \u202e\u4e2d'


@check("GoAccess reads the combined log: every request is valid, and each status is there as often as the metrics say")
def _(stage):
    program, go_on = from_debian(stage.folder, "goaccess", "goaccess"), threading.Event()

    def page(ask):
        ask.read_body()
        if ask.path == "/waits":
            go_on.wait(20)
        with contextlib.suppress(OSError):
            statuses = {"/missing": 404, "/broken": 500, "/nothing": 204}
            ask.answer(statuses.get(ask.path.partition("?")[0], 200), b"hello")

    with fronted(stage, "combined", page, "--log-format", "combined", "--log-query") as (own, app):
        for option in BOTH:
            for more in ((), ("-d", "body"), ("-I",), ("-X", "PUT", "-d", "x"), ("-A", AGENT), ("-A", ""), ("-e", 'r"\\é')):
                expect(own.get(option, *more, path="/plain?a=%22b%22&c").status == 200, option, more)
            for path, status in (("/missing", 404), ("/broken", 500), ("/nothing", 204)):
                expect(own.get(option, path=path).status == status, path)
        leaves(own, app, "/waits")
        expect(own.curl("--http2", "--max-time", "0.5", path="/waits").returncode != 0, "it was answered")
        until(5, "that two left", lambda: counted(own, "requests_total", reason="client_gone") == 2)
        go_on.set()
        expect(said_to(own, b"GET /no-host HTTP/1.1\r\n\r\n") == 400, "a request without a host")
        expect(run("curl", "-sS", f"https://localhost:{own.port}").returncode != 0, "a handshake without our CA")
        requests = 2 * 10 + 2 + 1
        until(5, f"{requests} requests", lambda: counted(own, "requests_total") == requests)
        metered = {
            status or "499": counted(own, "requests_total", code=status or "none")
            for status in ("200", "204", "400", "404", "500", None)
        }

        def written():
            lines = own.sidecar.stdout.read_text(encoding="ascii").splitlines()
            comments = [line for line in lines if line.startswith("# ")]
            return len(lines) - len(comments) == requests and comments

        comments = until(5, f"{requests} lines", written)
        expect(any(" handshake " in line for line in comments), comments)
        report, bad = (stage.folder / f"goaccess.{name}" for name in ("json", "bad"))
        options = ("--log-format=COMBINED", "--no-global-config", "--no-progress", f"--invalid-requests={bad}")
        done = run(program, own.sidecar.stdout, *options, "-o", report, env={**CLEAN, "HOME": str(stage.folder)})
        expect(done.returncode == 0, told(done))
    seen = json.loads(report.read_text(errors="replace"))
    general = {name: seen["general"][f"{name}_requests"] for name in ("total", "valid", "failed")}
    wanted = {"total": requests, "valid": requests, "failed": 0}
    expect(general == wanted, f"wanted {wanted}", f"got    {general}", bad.read_text() if bad.exists() else "")
    items = [item for group in seen["status_codes"]["data"] for item in group["items"]]
    statuses = {item["data"].split()[0]: item["hits"]["count"] for item in items}
    expect(statuses == metered, f"metrics  {metered}", f"GoAccess {statuses}")
    expect(metered["499"] == 2, metered)
    return f"{requests} requests, {len(comments)} comment lines"


class Unread:
    """A pipe as stdout, which is read when it is asked for and not before."""

    def __init__(self, stage, name):
        path = stage.folder / f"{name}.pipe"
        os.mkfifo(path)
        self.end = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.under = ("sh", "-c", f'exec "$@" >{path}', "sh")
        self.lines, self.reader = [], threading.Thread(target=self.run)

    def run(self):
        os.set_blocking(self.end, True)
        with os.fdopen(self.end, "rb") as pipe:
            self.lines.extend(pipe)

    def read(self):
        self.reader.start()

    def all(self):
        """When nobody writes any more."""
        self.reader.join(30)
        expect(not self.reader.is_alive(), "stdout does not end")
        return self.lines


def flood(own, number, connections=16, burst=100):
    """So many requests, no two of one path, host or method; the callable waits for them, with `meanwhile` now and then, and
    tells how many were answered 200."""
    answered, broken = [0] * connections, []

    def request(of, which):
        # Most methods are GET, because others would all be one in the metrics.
        method = f"GET{which}" if which % 50 == 0 else "GET"
        name = f"{of}-{which}"
        fields = f"Host: host-{name}.test\r\nUser-Agent: {name}\r\n\r\n"
        return f"{method} /path/{name}?query={name} HTTP/1.1\r\n{fields}".encode()

    def ask(of):
        share = number // connections + (of < number % connections)
        try:
            with Wire(own) as wire:
                for first in range(0, share, burst):
                    many = min(burst, share - first)
                    wire.tls.sendall(b"".join(request(of, which) for which in range(first, first + many)))
                    heard = b""
                    while heard.count(b"\r\n\r\nok") < many:
                        more = wire.tls.recv(1 << 20)
                        expect(more, f"it ended after {heard[-400:]}")
                        heard += more
                    answered[of] += heard.count(b"HTTP/1.1 200 ")
        except (OSError, Failed) as error:
            broken.append(repr(error))

    threads = [threading.Thread(target=ask, args=(of,)) for of in range(connections)]
    for thread in threads:
        thread.start()

    def ended(meanwhile=lambda: None):
        while any(thread.is_alive() for thread in threads):
            meanwhile()
            threads[0].join(0.2)
        expect(not broken, *broken[:3])
        return sum(answered)

    return ended


def strangers(own, numbers):
    """Clients that come with names nobody has: of four one completes its handshake, one trusts nobody, one is too old, and
    one talks plain HTTP."""
    for number in numbers:
        name = f"name-{number}.test"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if number % 4 == 0:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        elif number % 4 == 1:
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = context.maximum_version = OLD
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", own.port), 10) as plain:
            if number % 4 == 2:
                plain.sendall(f"GET /{name} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
                plain.recv(1000)
            else:
                context.wrap_socket(plain, server_hostname=name).close()


def series(own):
    lines = own.plane("probe", "/metrics").body.splitlines()
    return {line.rpartition(" ")[0] for line in lines if not line.startswith("#")}


def in_memory(own):
    return own.metric("process_resident_memory_bytes") / (1 << 20)


@check(f"of {MILLION:,} requests of as many paths and hosts all are answered while nobody reads stdout; the counts add up")
def _(stage):
    out = Unread(stage, "unread")
    with before_quick(stage, "unread", "--drain-delay", "0s", under=out.under) as own:
        flood(own, 2000)()
        strangers(own, range(12))
        until(5, "the first are counted", lambda: counted(own, "requests_total") >= 2000)
        until(5, "no handshake is open", lambda: counted(own, "connections", state="handshake") == 0)
        before, most, slowest = series(own), 0.0, 0.0

        names = itertools.count(12)

        def meanwhile():
            nonlocal most, slowest
            strangers(own, itertools.islice(names, 12))
            began = time.monotonic()
            for path in ("/livez", "/readyz"):
                expect(own.plane("probe", path).status == 200, path)
            slowest, most = max(slowest, time.monotonic() - began), max(most, in_memory(own))

        began = time.monotonic()
        load = flood(own, MILLION)
        answered = load(meanwhile)
        took = time.monotonic() - began
        while next(names) < 600:
            meanwhile()
        expect(answered == MILLION, f"{answered} answered 200")
        new = series(own) ^ before
        expect(not new, "series that came or went", *new)
        expect(most < 120, f"{most:.0f} MiB")
        expect(slowest < 3, f"the probes took {slowest:.1f} s")
        out.read()
        until(20, "the gap is told", lambda: out.lines and b'"log_dropped"' in out.lines[-1])
        dropped = {kind: counted(own, "log_dropped_total", **{"class": kind}) for kind in ("success", "error", "audit")}
        requests, refused = counted(own, "requests_total"), counted(own, "handshakes_total", result="failed")
        code, _ = own.sidecar.end(signal.SIGTERM, 10)
        expect(code == 0, f"exit code {code}")
        records = [json.loads(line) for line in out.all()]
    kinds = collections.Counter(record["kind"] for record in records)
    announced = {kind: sum(record.get(f"dropped_{kind}", 0) for record in records) for kind in dropped}
    expect(announced == dropped, f"counted   {dropped}", f"announced {announced}", kinds)
    expect(kinds["exchange"] + kinds["handshake"] + announced["success"] + announced["error"] == requests + refused, kinds,
           announced, f"{requests} requests, {refused} failed handshakes")
    expect(announced["success"] > 0, "nothing was dropped: was it ever full?")
    rest = f"{kinds['exchange']} exchanges in the log and {announced['success']} announced as dropped"
    return f"{MILLION / took:.0f}/s, {rest}, {most:.0f} MiB at most, {len(before)} series, probes within {slowest:.2f} s"


@check("SIGTERM while nobody reads stdout ends it in time with exit code 0, and what is in the pipe is whole lines")
def _(stage):
    out = Unread(stage, "stalled")
    with before_quick(stage, "stalled", "--drain-delay", "0s", under=out.under) as own:
        expect(flood(own, 20_000)() == 20_000, "not all were answered")
        until(5, "the queue is full", lambda: counted(own, "log_dropped_total", **{"class": "success"}) > 0)
        code, took = own.sidecar.end(signal.SIGTERM, 8)
        expect(code == 0, f"exit code {code}", own.sidecar.tail())
        out.read()
        *lines, last = out.all()
    for line in lines:
        json.loads(line)
    expect(last.startswith(b'{"kind":"'), last)
    return f"{took:.2f} s"


class Disk:
    """A folder of 256 KiB in a mount namespace of the sidecar, which is seen from here by its process."""

    def __init__(self, stage, name):
        self.folder = stage.folder / name
        self.folder.mkdir()
        script = f"mount -t tmpfs -o size=256k,mode=755 tmpfs '{self.folder}'"
        if run("unshare", "-m", "sh", "-c", script).returncode != 0:
            raise Skipped("mounts of one's own are not permitted here")
        self.under = ("unshare", "-m", "sh", "-c", f'{script} && exec "$@"', "sh")

    def seen_of(self, own):
        return Path(f"/proc/{own.sidecar.child.pid}/root{self.folder}")


def lines_of(*paths):
    """The records in these files, and the lines that are none."""
    whole, torn = [], []
    for path in paths:
        for line in path.read_bytes().split(b"\n")[:-1]:
            try:
                record = json.loads(line)
            except ValueError:
                torn.append(line)
                continue
            expect("kind" in record, "no record, and in the log:", line)
            whole.append(record)
    return whole, torn


def is_complete(own, *paths, gone=0):
    """Requests are in these files or counted as dropped, and each drop was announced; `gone` were in a file that is."""
    whole, torn = lines_of(*paths)
    exchanges = sum(record["kind"] == "exchange" for record in whole)
    announced = sum(record.get("dropped", 0) for record in whole)
    requests, dropped = counted(own, "requests_total"), counted(own, "log_dropped_total")
    expect((exchanges + gone + dropped, announced) == (requests, dropped), f"{exchanges} and {gone} exchanges written",
           f"{announced} announced, {dropped} dropped", f"{requests} requests", torn)
    return exchanges


@check("a full disk under --log-file costs lines and no request; freed, rotated by logrotate or removed, the counts add up")
def _(stage):
    rotate, disk = from_debian(stage.folder, "logrotate", "logrotate"), Disk(stage, "disk")
    log = disk.folder / "access.log"
    with before_quick(stage, "full", "--log-file", log, under=disk.under) as own:
        seen = disk.seen_of(own)
        file, old = seen / "access.log", seen / "access.log.1"
        url = f"https://localhost:{own.port}"
        (seen / "ballast").write_bytes(b"x" * (128 << 10))
        loaded(f"{url}/full", 1000, "--h1", "-c", 4)
        lost = until(5, "lines are counted as lost", lambda: counted(own, "log_dropped_total", **{"class": "success"}))
        is_here = functools.partial(counted, own, "requests_total")
        until(5, "all are counted", lambda: is_here() == 1000)
        (seen / "ballast").unlink()
        loaded(f"{url}/freed", 50, "--h1", "-c", 2)
        until(5, "they are written, and the gap is told", lambda: is_complete(own, file))
        whole, torn = lines_of(file)
        freed = [record for record in whole if record.get("path") == "/freed"]
        expect(len(freed) == 50, f"{len(freed)} lines after there was room")
        expect(not torn, "what the disk had no room for is there in part", *torn)

        config = stage.folder / "logrotate.conf"
        pid = own.sidecar.child.pid
        config.write_text(f"{log} {{\n rotate 3\n nocreate\n postrotate\n  kill -USR1 {pid}\n endscript\n}}\n")
        state = ("-s", stage.folder / "logrotate.state")
        done = run("nsenter", "-m", "-t", pid, rotate, "-f", *state, config)
        expect(done.returncode == 0, told(done))
        until(5, "a new file", lambda: file.exists() and old.exists())
        loaded(f"{url}/rotated", 50, "--h1", "-c", 2)
        until(5, "all are there", lambda: is_complete(own, old, file))
        expect({record["path"] for record in lines_of(file)[0] if "path" in record} == {"/rotated"}, "the new file")

        gone = is_complete(own, old, file)
        file.unlink()
        # What comes before the signal goes where nobody finds it.
        own.sidecar.signal(signal.SIGUSR1)
        until(5, "a new file", file.exists)
        loaded(f"{url}/removed", 50, "--h1", "-c", 2)
        rotated = sum(record["kind"] == "exchange" for record in lines_of(old)[0])
        until(5, "all are there", lambda: is_complete(own, old, file, gone=gone - rotated))
        expect(not own.sidecar.stdout.read_text(), "there is something on stdout, too")
    return f"{lost:.0f} lines lost"


# Metrics


SHIPPED = CHECKOUT / "helm/portcullis"
class Prometheus:
    """A Prometheus that scrapes this sidecar each second, with all rules that are shipped."""

    def __init__(self, stage, own):
        program, folder = from_debian(stage.folder, "prometheus", "prometheus"), stage.folder / "scraped"
        folder.mkdir(exist_ok=True)
        config, port = folder / "prometheus.yaml", free_port()
        config.write_text(f"""
global:
  scrape_interval: 1s
  evaluation_interval: 1s
rule_files: {json.dumps([str(path) for path in rule_files()])}
scrape_configs:
  - job_name: portcullis
    static_configs: [{{targets: ["{own.sidecar.address["probe"].replace("[::]", "127.0.0.1")}"]}}]
""")
        options = ("--enable-feature=exemplar-storage", "--log.level=warn", f"--storage.tsdb.path={folder / 'data'}")
        command = [program, f"--config.file={config}", f"--web.listen-address=127.0.0.1:{port}", *options]
        self.process = Process("prometheus", command, {}, folder)
        self.url = f"http://127.0.0.1:{port}"
        until(30, "Prometheus is ready", lambda: run("curl", "-sf", f"{self.url}/-/ready").returncode == 0)

    def ask(self, path, **parameters):
        query = urllib.parse.urlencode(parameters)
        answer = json.loads(run("curl", "-sS", f"{self.url}/api/v1/{path}?{query}").stdout)
        expect(answer["status"] == "success", path, parameters, answer)
        return answer["data"]

    def value(self, query):
        """Of a query with one result."""
        return float(self.ask("query", query=query)["result"][0]["value"][1])

    def rules(self):
        return [rule for group in self.ask("rules")["groups"] for rule in group["rules"]]

    def traces(self):
        now = time.time()
        query = "portcullis_request_duration_seconds_bucket"
        found = self.ask("query_exemplars", query=query, start=now - 600, end=now + 60)
        return {exemplar["labels"]["trace_id"] for each in found for exemplar in each["exemplars"]}


def rule_files():
    return sorted(path for path in SHIPPED.glob("rules/*.yaml") if not path.stem.endswith("_test"))


def expressions_of_the_dashboard():
    """All that its panels and its variables ask, with something in place of the variables."""

    def walk(part):
        if isinstance(part, dict):
            yield from (value for name, value in part.items() if name in ("expr", "definition") and isinstance(value, str))
        for each in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
            yield from walk(each)

    dashboard = json.loads((SHIPPED / "dashboards/portcullis.json").read_text())
    values = {"$__rate_interval": "1m", "$__range": "1h", "$__interval": "1m", "$job": ".+", "$instance": ".+"}
    for expression in dict.fromkeys(walk(dashboard)):
        expression = re.sub(r"^label_values\((.*), \w+\)$", r"\1", expression)
        for name, value in values.items():
            expression = expression.replace(name, value)
        # What is left are groups of a regular expression.
        expect(not re.search(r"\$\D", expression), expression)
        yield expression


def asked_for(expression):
    """The metrics of ours in an expression, each with the labels by which it is chosen; those of recording rules have a
    colon before them."""
    for name, labels in re.findall(r"(?<![\w:])((?:portcullis|process)_\w+)\s*(\{.*?\})?", expression):
        yield name, {label for label in re.findall(r"(\w+)\s*(?:=|!=|=~|!~)\s*\"", labels)} - {"job", "instance"}


def traffic(own):
    """Some of everything, so that there is a number for every name."""
    for option in BOTH:
        expect(own.get(option).status == 200, option)
        expect(own.get(option, "-d", "body", "-H", "X_Forwarded_For: 1").status == 200, option)
    expect(said_to(own, b"GET / HTTP/1.1\r\n\r\n") == 400, "a request without a host")
    expect(run("curl", "-sS", f"https://localhost:{own.port}").returncode != 0, "a handshake without our CA")


@check("promtool finds nothing to say of /metrics; every metric and label in the rules and on the dashboard is there")
def _(stage):
    promtool = from_debian(stage.folder, "prometheus", "promtool")
    secret = secret_with(stage, "metered", stage.staff)
    # Nobody listens there, and nobody has to.
    traces = "--trace-exporter", "otlp", "--trace-endpoint", f"http://127.0.0.1:{free_port()}"
    with before_quick(stage, "metered", "--client-auth", "optional", *traces, secret=secret) as own:
        traffic(own)
        until(5, "all is counted", lambda: counted(own, "requests_total") == 5)
        answer = own.plane("probe", "/metrics")
        expect(answer.headers["content-type"].startswith("text/plain; version=0.0.4"), answer.headers)
        done = run(promtool, "check", "metrics", text=answer.body)
        expect(done.returncode == 0 and not (done.stdout + done.stderr).strip(), told(done))
        there = {}
        for name, labels in re.findall(r"^(\w+)(\{.*\})? \S+$", answer.body, re.MULTILINE):
            there.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    rules = (re.sub(r"(?m)^\s*(?:#|summary:|description:).*$", "", path.read_text()) for path in rule_files())
    named = [one for expression in (*rules, *expressions_of_the_dashboard()) for one in asked_for(expression)]
    lacking = [(name, labels) for name, labels in named if name not in there or labels - there[name]]
    expect(named and not lacking, "they are asked for, and nobody has them:", *lacking)
    named = {name for name, _ in named}
    return f"{len(named)} of {len(there)} names are in use"


def traced(own, flags, client):
    """A request of this client that belongs to a trace; its id."""
    trace = secrets.token_hex(16)
    field = f"traceparent: 00-{trace}-{secrets.token_hex(8)}-{flags}"
    expect(own.get("--interface", client, "-H", field).status == 200, field)
    return trace


@check("Prometheus scrapes it, evaluates all rules and the dashboard, has the right numbers and the sampled traces")
def _(stage):
    trusted, stranger = "127.0.0.5", "127.0.0.6"
    with before_quick(stage, "scraped", "--trusted-proxy", trusted) as own:
        prometheus = Prometheus(stage, own)
        try:
            loaded(f"https://localhost:{own.port}/", 500, "-c", 4)
            sampled = traced(own, "01", trusted)
            until(15, "the sampled trace", lambda: sampled in prometheus.traces())
            # Behind it, and scraped: a bucket shows its latest trace alone, so one sampled later would hide them.
            unsampled = {traced(own, "00", trusted) for _ in range(10)}
            # Whoever is no proxy of ours could fill them at will.
            unsampled |= {traced(own, "01", stranger) for _ in range(10)}
            right = "sum(portcullis_requests_total)", "portcullis_request_duration_seconds_count", "up"
            wanted = [521, 521, 1]
            until(15, f"{wanted}", lambda: [prometheus.value(query) for query in right] == wanted)
            seen = prometheus.traces() & unsampled
            expect(not seen, "traces that are not sampled", seen)

            def evaluated():
                rules = prometheus.rules()
                fresh = [rule for rule in rules if not rule["lastEvaluation"].startswith("0001")]
                return len(fresh) == len(rules) and rules

            rules = until(30, "all rules were evaluated", evaluated)
            ill = [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"]
            expect(not ill, *ill)
            number = sum(len(re.findall(r"- (?:alert|record):", path.read_text())) for path in rule_files())
            expect(len(rules) == number, f"{len(rules)} of {number} rules")
            expressions = list(expressions_of_the_dashboard())
            for expression in expressions:
                prometheus.ask("query", query=expression)
            # The throw-away certificate lives for a day, and nothing else is wrong.
            wanted = ["PortcullisCertificateExpiresVerySoon"]

            def firing():
                return [rule["name"] for rule in prometheus.rules() if rule.get("state") == "firing"]

            until(15, f"{wanted} and no other fires", lambda: firing() == wanted)
            own.get()
            grown = "sum(increase(portcullis_requests_total[1m]))"
            until(15, "it sees one more", lambda: prometheus.value(grown) > 0)
            errors = prometheus.process.stderr.read_text()
            expect("level=error" not in errors, errors)
        except Failed as error:
            raise Failed(f"{error}\n{prometheus.process.tail()}") from error
        finally:
            prometheus.process.kill()
    return f"{len(rules)} rules, {len(expressions)} expressions of the dashboard"


# Who looks on


class Follower:
    """A client of /logs?follow=true, which counts what comes and keeps none of it."""

    def __init__(self, own, is_events):
        host, _, port = own.sidecar.address["admin"].rpartition(":")
        self.socket = socket.socket()
        # A small one, so that who does not read holds little.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self.socket.settimeout(20)
        self.socket.connect((host, int(port)))
        kind = "text/event-stream" if is_events else "application/x-ndjson"
        # HTTP/1.0: the stream comes without marks of chunks.
        self.socket.sendall(f"GET /logs?follow=true HTTP/1.0\r\nHost: localhost\r\nAccept: {kind}\r\n\r\n".encode())
        self.seen = self.missed = 0
        self.rest = b""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.socket.recv(1)
        expect(b" 200 OK\r\n" in head and kind.encode() in head, head)
        self.record = b"data: {\"kind\"" if is_events else b"{\"kind\""

    def takes(self):
        """What there is now, up to a MiB."""
        self.rest += self.socket.recv(1 << 20)
        *lines, self.rest = self.rest.split(b"\n")
        for line in lines:
            missed = re.search(rb'"missed":(\d+)', line[:60])
            if missed:
                self.missed += int(missed[1])
            elif line.startswith(self.record) and b'"heartbeat"' not in line[:40]:
                self.seen += 1


def reading(followers, is_enough):
    """Reads for these until each has enough."""
    with selectors.DefaultSelector() as ready:
        for follower in followers:
            ready.register(follower.socket, selectors.EVENT_READ, follower)
        while not is_enough():
            for key, _ in ready.select(0.1):
                key.data.takes()


@check("with 50 followers of which 10 never read no request fails, /livez answers within 1 s, and all are told of gaps")
def _(stage):
    requests = 40_000
    with before_quick(stage, "followed") as own:
        own.get()
        until(5, "the first record", lambda: own.records())
        before = sum(1 for _ in own.sidecar.stdout.open("rb"))
        followers = [Follower(own, is_events=number % 2 == 0) for number in range(50)]
        deaf, reads = followers[:10], followers[10:]
        total = threading.Event()
        threads = []

        def all_of(group, number):
            return lambda: all(follower.seen + follower.missed >= number for follower in group)

        def recorded():
            return sum(1 for _ in own.sidecar.stdout.open("rb")) - before

        wanted = 0
        reader = threading.Thread(target=lambda: reading(reads, lambda: total.is_set() and all_of(reads, wanted)()))
        slowest, outcome = 0.0, []

        def load():
            try:
                outcome.append(loaded(f"https://localhost:{own.port}/", requests, "-c", 10, "-m", 10)[0])
            except Exception as error:  # whatever it is, it is to be told
                outcome.append(error)

        threads = [reader, threading.Thread(target=load)]
        for thread in threads:
            thread.start()
        while threads[1].is_alive():
            began = time.monotonic()
            expect(own.plane("probe", "/livez").status == 200, "/livez")
            slowest = max(slowest, time.monotonic() - began)
            threads[1].join(0.1)
        expect(isinstance(outcome[0], str), outcome)
        until(10, "all is written", lambda: recorded() >= requests)
        dropped = counted(own, "log_dropped_total")
        expect(dropped == 0, f"{dropped} dropped")
        wanted = recorded()
        total.set()
        reader.join(30)
        told_so = [(follower.seen, follower.missed) for follower in reads]
        expect(not reader.is_alive(), f"of {wanted}", told_so)
        expect(slowest < 1, f"/livez took {slowest:.2f} s")
        late = threading.Thread(target=lambda: reading(deaf, all_of(deaf, wanted)), daemon=True)
        late.start()
        late.join(30)
        # What came since, like a look at the certificate, is told to all.
        expect(recorded() == wanted, "something was recorded meanwhile")
        sums = collections.Counter(follower.seen + follower.missed for follower in followers)
        expect(sums == {wanted: 50}, f"wanted {wanted}", sums)
        expect(all(follower.missed and follower.seen for follower in deaf), [(f.seen, f.missed) for f in deaf])
    fast = sum(not follower.missed for follower in reads)
    least = min(follower.seen for follower in reads)
    told_so = f"of the 40 {fast} missed nothing, the slowest saw {least} of {wanted}"
    return f"{outcome[0]}; {told_so}; /livez within {slowest:.2f} s"


# The operator


class Operator:
    """`portcullis logs` and `status` in an environment with nothing in it."""

    def __init__(self, own):
        self.admin = ("--admin", own.sidecar.address["admin"])

    def asks(self, *arguments):
        return run(BINARY, *arguments, *self.admin, env={})

    def is_told(self, *arguments, code=0):
        done = self.asks(*arguments)
        expect(done.returncode == code, f"wanted exit code {code}", told(done))
        return done.stdout + done.stderr

    def paths(self, *arguments):
        records = map(json.loads, self.is_told("logs", "--output", "json", *arguments).splitlines())
        return [record.get("path") for record in records]


@check("portcullis logs shows, filters and follows, and goes quietly when its reader does; it needs no environment")
def _(stage):
    def page(ask):
        ask.read_body()
        ask.answer(404 if ask.path == "/missing" else 200, b"hello")

    with fronted(stage, "shown", page) as (own, _):
        operator = Operator(own)
        for path in ("/one", "/two", "/missing"):
            own.get(path=path)
        own.get("-d", "body", path="/posted")
        all_of = ["/one", "/two", "/missing", "/posted"]
        until(3, "four records", lambda: operator.paths("--kind", "exchange") == all_of)
        for wanted, *filters in (
            (all_of[-2:], "--limit", 2), (["/missing"], "--status", "4xx"), (["/posted"], "--method", "POST"),
            (["/two"], "--path", "/tw"), ([], "--min-ms", 60_000), (all_of, "--client", "127.0.0.1"),
            ([], "--client", "::1"),
            (all_of, "--since", "1h"), ([], "--reason", "client_gone"),
        ):
            got = operator.paths("--kind", "exchange", *filters)
            expect(got == wanted, filters, f"wanted {wanted}", f"got    {got}")
        text = operator.is_told("logs")
        expect(all(path in text for path in all_of) and "\x1b" not in text, text)
        expect("\x1b[" in operator.is_told("logs", "--color", "always"), "no colour")
        with open(stage.folder / "followed.text", "w+b") as shown:
            follow = [str(part) for part in (BINARY, "logs", "-f", *operator.admin)]
            child = subprocess.Popen(follow, stdout=shown, stderr=subprocess.DEVNULL, env={})
            try:
                def is_shown(path):
                    return path in Path(shown.name).read_text()

                until(5, "the last ones come first", lambda: is_shown("/posted"))
                own.get(path="/just-now")
                until(2, "the record of just now", lambda: is_shown("/just-now"))
            finally:
                child.kill()
                child.wait()
        for arguments in ("logs", "logs -f", "status"):
            piped = f"set -o pipefail; '{BINARY}' {arguments} {' '.join(operator.admin)} | head -1"
            done = subprocess.Popen(
                ["bash", "-c", piped], env=CLEAN, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                start_new_session=True,
            )
            # One that follows learns of it when it has something to say.
            until(5, f"{arguments} ends", lambda done=done: (own.get(path="/more"), done.poll() is not None)[1])
            out, err = done.communicate()
            expect((done.returncode, err) == (0, "") and len(out.splitlines()) == 1, arguments, done.returncode, out, err)


@check("portcullis status tells the numbers that matter; --ready is 0, then 1 in the drain and without a certificate")
def _(stage):
    with before_quick(stage, "told", "--drain-delay", "4s") as own:
        operator = Operator(own)
        for _ in range(3):
            own.get()
        until(3, "they are counted", lambda: counted(own, "requests_total") == 3)
        text = operator.is_told("status")
        expect(re.search(r"^requests\s+3\b", text, re.MULTILINE) and "nothing dropped" in text, text)
        expect(json.loads(operator.is_told("status", "--output", "json"))["counts"]["requests"] == 3, text)
        expect(operator.is_told("status", "--ready") == "ready\n", "not ready")
        operator.is_told("logs", "--status", "teapot", code=2)
        operator.is_told("logs", "--no-such-flag", code=2)
        own.sidecar.signal(signal.SIGTERM)
        until(3, "it is not ready", lambda: operator.asks("status", "--ready").returncode == 1)
        said = operator.is_told("status", "--ready", code=1)
        expect("drain" in said, said)
        expect(own.sidecar.child.wait(10) == 0, "its end")
        operator.is_told("status", code=3)
        operator.is_told("logs", "-f", code=3)
    bare = Secret(stage.folder / "bare")
    (bare.dir / "tls.crt").unlink()
    with running(stage, "bare", bare) as own:
        said = Operator(own).is_told("status", "--ready", code=1)
        expect("tls.crt" in said, said)


@check("/inflight shows a request that hangs in the app, and a WebSocket, for as long as they are open")
def _(stage):
    go_on = threading.Event()

    def page(ask):
        if ask.headers.get("Upgrade"):
            ask.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            ask.wfile.flush()
            ask.close_connection = True
        go_on.wait(20)
        with contextlib.suppress(OSError):
            if not ask.headers.get("Upgrade"):
                ask.answer(200, b"hello")

    upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {'A' * 22}==")
    with fronted(stage, "open", page) as (own, _):
        url = f"https://localhost:{own.port}"
        common = ("curl", "-sS", "--max-time", "20", "--cacert", stage.public.ca)
        commands = {
            "hangs": [*common, "--http2", f"{url}/hangs?token=x"],
            "talks": [*common, "--http1.1", *(part for field in upgrade for part in ("-H", field)), f"{url}/talks"],
        }
        clients = [Process(name, command, {}, stage.folder) for name, command in commands.items()]
        try:
            def entries():
                view = own.plane("admin", "/inflight").json()
                found = {entry["path"]: entry for entry in view["entries"]}
                return view["total"] == 2 and found.get("/talks", {}).get("kind") == "tunnel" and found

            found = until(5, "both are open", entries)
            hangs = {"kind": "exchange", "method": "GET", "http": "2", "client": "127.0.0.1", "waiting_for": "upstream"}
            expect(hangs.items() <= found["/hangs"].items(), f"wanted {hangs}", f"got    {found['/hangs']}")
            expect(set(found) == {"/hangs", "/talks"} and counted(own, "requests_in_flight") == 2, found)
            go_on.set()
            until(5, "none is open", lambda: own.plane("admin", "/inflight").json()["total"] == 0)
        finally:
            go_on.set()
            for client in clients:
                client.kill()


# What clients would like to have written


# Of a request in latin-1, so that each character is a byte: name of the case, path and query, user agent, field, and whether
# it is a request at all.
def in_utf8(text):
    """Its bytes, each as a character."""
    return text.encode().decode("latin-1")


ODD = (
    ("percent", "/a%0d%0a%22%00%1b%e2%80%ae?b=%0a%22", "c%0ad", "e%0af", True),
    ("quotes", "/a'b;c,d?q='`{}|", '"}\n'.strip() + ',"kind":"audit"', '\\"\\\\', True),
    ("utf-8", in_utf8("/\u00e4\u4e2d?\u00fc=1"), in_utf8("\u00e9\U0001f984"), "\u00df", True),
    ("not utf-8", "/plain?a=b", "\xff\xfe\xc0\xaf\xed\xa0\x80\xf0\x9f", "\x80\xbf", True),
    ("direction", "/plain", in_utf8("\u202etxt.exe\u2066\u200b"), in_utf8("\u202e"), True),
    ("c1", "/plain", in_utf8("\u009b31m\u0085"), "\x9b2J", True),
    ("tab", "/plain", "a\tb", "c\td", True),
    ("escape", "/plain", "a\x1b[2Jb", "c", None),
    ("newline in a field", "/plain", 'a\n{"kind":"audit"}', "c", None),
    ("carriage return", "/plain", "a\rb", "c", None),
    ("null", "/plain", "a\x00b", "c", None),
    ("newline in the path", "/a\nb", "c", "d", None),
    ("escape in the path", "/a\x1b[31mb\x07", "c", "d", None),
)
NAMES = ('a"b', "a\\b", "a b", "a\nb", "\x1b[31m", "\u202egnp.test", "A" * 300, "%0a", "-", "x.invalid.")
PROTOCOLS = ('a"}', "a\n{", "\x1b[2J", "\u202egnp", "a\tb c")


def odd_requests(own):
    """Each on a connection of its own; those that must be answered are."""
    for name, path, agent, field, is_one in ODD:
        request = (
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {agent}\r\nReferer: http://r/{field}\r\n"
            f"X-Odd: {field}\r\nConnection: close\r\n\r\n"
        )
        try:
            status = said_to(own, request.encode("latin-1"))
        except (OSError, http.client.HTTPException) as error:
            status = repr(error)
        expect(status == 200 if is_one else status in (200, 400), name, status)
    for name in NAMES:
        s_client(own.port, name=name)
    for protocol in PROTOCOLS:
        s_client(own.port, "-alpn", protocol, name="odd.test")
    run("openssl", "s_client", "-connect", f"localhost:{own.port}", "-noservername")


@contextlib.contextmanager
def written_to(stage, name, *arguments):
    """A sidecar that writes down as much as it can, after all that is odd was said to it."""
    flags = ("--log-query", "--log-header", "X-Odd", "--log-header", "Referer", *arguments)
    with running(stage, name, stage.public, *flags) as own:
        odd_requests(own)
        expect(own.get(path="/the-end").status == 200, "the end")
        until(5, "the last record", lambda: b"/the-end" in own.sidecar.stdout.read_bytes())
        yield own


@check("whatever clients put into path, query, fields, SNI or ALPN, each line is one JSON record with just that in it")
def _(stage):
    with written_to(stage, "odd") as own:
        records = [json.loads(line) for line in own.sidecar.stdout.read_bytes().split(b"\n")[:-1]]
        kept = json.loads(own.plane("admin", "/logs").body)
        expect(len(kept) == len(records), f"{len(records)} written, {len(kept)} kept")
        kinds = collections.Counter(record["kind"] for record in records)
        expect(kinds["exchange"] == len(ODD) + 1 and kinds["audit"] <= 3, kinds)
        refused = [record for record in records if record["kind"] == "handshake"]
        expect(all(record["reason"] and record["detail"] for record in refused), *refused)
        offered = [record["alpn"] for record in refused if record.get("sni") == "odd.test"]
        expect(offered == list(PROTOCOLS), offered)

    def text(sent):
        return sent.encode("latin-1").decode(errors="replace")

    for (name, path, agent, field, is_one), record in zip(ODD, [r for r in records if r["kind"] == "exchange"]):
        path, _, query = path.partition("?")
        if is_one:
            got = [record.get(field) for field in ("path", "query", "user_agent", "headers")]
            headers = {"x-odd": text(field), "referer": f"http://r/{text(field)}"}
            wanted = [text(path), text(query) or None, text(agent), headers]
            expect(got == wanted, name, f"wanted {wanted}", f"got    {got}")
        else:
            expect(record["status"] == 400 and record["reason"], name, record)
    return f"{kinds['exchange']} exchanges, {len(refused)} handshakes"


@check("whatever clients send, no control byte or mark of direction is in combined, in text, or in what logs shows")
def _(stage):
    unsafe = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\u2028\u2029]")
    for form in ("combined", "text"):
        with written_to(stage, f"odd-{form}", "--log-format", form) as own:
            log = own.sidecar.stdout.read_bytes()
            shown = run(BINARY, "logs", "--limit", 1000, "--admin", own.sidecar.address["admin"], env={}).stdout
            number = len(own.plane("admin", "/logs").json())
        for text in (log.decode(), shown):
            found = unsafe.search(text)
            expect(not found, found and text[max(found.start() - 200, 0) : found.end() + 20])
            expect(text.count("\n") == number, f"{number} records, {text.count(chr(10))} lines", text)
        if form == "combined":
            expect(log.isascii(), "combined is more than ASCII")


SECRET = "hunter2"


@check("no secret of a query, a path, Authorization or a cookie is in stdout, stderr, /logs, /inflight or /metrics")
def _(stage):
    cases = {
        "by default": (),
        "at debug level": ("--log-level", "debug"),
        "redacted": (
            "--log-query", "--log-header", "Authorization", "--log-header", "Cookie", "--log-header", "X-Api-Key",
            "--redact", f"{SECRET}[a-z]*",
        ),
    }
    found = []
    for case, arguments in cases.items():
        name = case.replace(" ", "-")
        go_on = threading.Event()

        def page(ask, go_on=go_on):
            ask.read_body()
            if ask.path.startswith("/waits"):
                go_on.wait(20)
            with contextlib.suppress(OSError):
                if ask.path.startswith("/breaks"):
                    ask.wfile.write(f"HTTP/1.1 200 {SECRET}\r\nX: {SECRET}\r\nContent-Length: x\r\n\r\n".encode())
                    ask.close_connection = True
                else:
                    ask.answer(200, b"hello", Set_Cookie=f"session={SECRET}")

        fields = (
            "-H", f"Authorization: Bearer {SECRET}", "-H", f"Cookie: session={SECRET}", "-H", f"X-Api-Key: {SECRET}",
            "-H", f"Proxy-Authorization: Basic {SECRET}", "-e", f"https://localhost/from?token={SECRET}",
        )
        # Only who asks for it has it taken out of paths.
        paths = ("/plain", "/breaks", f"/{SECRET}ly") if case == "redacted" else ("/plain", "/breaks")
        with fronted(stage, f"secrets-{name}", page, *arguments) as (own, _):
            for option in BOTH:
                for path in paths:
                    own.curl(option, *fields, path=f"{path}?token={SECRET}#{SECRET}")
                own.curl(option, "-u", f"user:{SECRET}", "-d", f"password={SECRET}", path=f"/login?{SECRET}")
            # In clear on the TLS port, and what is no request or none that is served.
            run("curl", "-sS", *fields, f"http://localhost:{own.port}/clear?token={SECRET}")
            for bad in (
                f"GET /bad?token={SECRET} HTTP/1.1\r\nAuthorization: {SECRET}\r\n\r\n",
                f"GET /bad?token={SECRET} HTTP/1.1\r\nHost: a\r\nCookie {SECRET}\r\n\r\n",
                f"PUT /?{SECRET} HTTP/1.1\r\nHost: a\r\nCookie: {SECRET}\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                f"GET https://user:{SECRET}@localhost/userinfo?{SECRET} HTTP/1.1\r\nHost: localhost\r\n\r\n",
            ):
                with contextlib.suppress(OSError, http.client.HTTPException):
                    said_to(own, bad.encode())
            waits = Process(f"waits-{name}", ["curl", "-sS", "--max-time", "20", "--cacert", stage.public.ca, *fields,
                            f"https://localhost:{own.port}/waits?token={SECRET}"], {}, stage.folder)
            try:
                until(5, "it is open", lambda: own.plane("admin", "/inflight").json()["total"] == 1)
                told_so = {path: own.plane("admin", path).body for path in ("/inflight", "/logs", "/metrics", "/status")}
                go_on.set()
                until(5, "its record", lambda: own.records(path="/waits"))
            finally:
                go_on.set()
                waits.kill()
            told_so["logs"] = run(BINARY, "logs", "--limit", 100, "--admin", own.sidecar.address["admin"], env={}).stdout
            told_so |= {"stdout": own.sidecar.stdout.read_text(), "stderr": own.sidecar.stderr.read_text()}
        for where, text in told_so.items():
            found += [f"{case}, in {where}: {line[:500]}" for line in text.splitlines() if SECRET in line]
        expect(("[redacted]" in told_so["stdout"]) == (case == "redacted"), case, told_so["stdout"][-1000:])
    expect(not found, *found)
