"""End to end: traces. What collectors get over real sockets, what the application is told, and that no collector, whatever it
does, is felt by a client. Each check has a sidecar and a collector of its own."""

import atexit
import contextlib
import functools
import json
import os
import re
import secrets
import signal
import socket
import ssl
import threading
import time
import urllib.parse
from pathlib import Path

import collectors
from certificates import running
from collectors import OTLP, ZIPKIN, Closed, collecting, says
from commands import PYYAML
from limits import counted
from props import (
    BINARY, CHECKOUT, CLEAN, VERSION, Answer, Checks, Process, expect, free_port, from_pypi, run, told, until, venv,
)
from protocols import BOTH, fronted, library, rpc
from records import Quick

check = Checks()
ROTEL = "0.0.1a15"
# What Node 20 takes.
NODE_PACKAGES = (
    "@opentelemetry/api@1.9.0", "@opentelemetry/sdk-trace-node@2.12.1", "@opentelemetry/exporter-trace-otlp-proto@0.222.0",
    "@opentelemetry/instrumentation@0.222.0", "@opentelemetry/instrumentation-http@0.222.0",
)
TRUSTED = ("--trusted-proxy", "127.0.0.0/8")
RESULTS = ("exported", "dropped", "failed", "rejected")


def exporting(collector, *more):
    """Flags of a sidecar that sends its spans there."""
    exporter = "zipkin" if getattr(collector, "path", OTLP) == ZIPKIN else "otlp"
    return ("--trace-exporter", exporter, "--trace-endpoint", collector.url, "--drain-delay", "0s", *more)


@contextlib.contextmanager
def traced(stage, name, *more, target=None, path=OTLP, **how):
    """A sidecar before an app, by default the one that echoes, and the collector that it sends its spans to."""
    with collecting(stage, path, **how) as collector:
        with running(stage, name, stage.public, *exporting(collector, *more), target=target) as own:
            yield own, collector


def parent_of(flags="01", trace=None):
    """A trace that begins at a client: its id, the client's span, and the field that tells of both."""
    trace, span = trace or secrets.token_hex(16), secrets.token_hex(8)
    return trace, span, f"traceparent: 00-{trace}-{span}-{flags}"


def heard(answer):
    """What the app that echoes was told, by names in lower case."""
    return {name.lower(): value for name, value in answer.json()}


def in_memory(own):
    """MiB of its own; its program, which is read as it is needed, is not counted."""
    status = Path(f"/proc/{own.sidecar.child.pid}/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+) kB", status)[1]) / 1024


def spans_of(own):
    """How many became what."""
    return {result: int(counted(own, "trace_spans_total", result=result)) for result in RESULTS}


# What a trace is made of


@check("curl through the Express app over HTTP/1.1 and HTTP/2: a server's and a client's span in the trace that curl began")
def _(stage):
    app = urllib.parse.urlsplit(stage.second.url)
    with traced(stage, "spans", target=stage.second.url) as (own, collector):
        for option, http in zip(BOTH, ("1.1", "2")):
            trace, parent, field = parent_of()
            before = time.time_ns()
            answer = own.get(option, "-H", field, path="/?secret=1")
            after = time.time_ns()
            expect((answer.status, answer.body) == (200, "Hello you!"), answer.seen())
            server, calls = collector.exchange(**{"network.protocol.version": http})
            expect(len(calls) == 1, *calls)
            call = calls[0]
            same = {"trace": trace, "name": "GET", "status": "UNSET", "message": "", "scope": ("portcullis", VERSION)}
            server.holds(**same, kind="SERVER", parent=parent)
            call.holds(**same, kind="CLIENT", parent=server.id)
            # Bits of the .proto: sampled; the parent's place is known; and it is another process for the server's span alone.
            expect((server.flags, call.flags) == (0x301, 0x101), hex(server.flags), hex(call.flags))
            record = until(3, "its record", lambda: own.records(http=http))[0]
            expect(record["trace_id"] == trace, record)
            agent = run("curl", "--version").stdout.split()[1]
            expect(server.attributes == {
                "http.request.method": "GET", "url.scheme": "https", "url.path": "/", "http.response.status_code": 200,
                "server.address": "localhost", "server.port": own.port, "network.protocol.version": http,
                "client.address": "127.0.0.1", "network.peer.address": "127.0.0.1", "network.peer.port": record["client_port"],
                "user_agent.original": f"curl/{agent}", "tls.protocol.version": "1.3", "tls.cipher": record["cipher"],
                "tls.resumed": False, "http.request.body.size": 0, "http.response.body.size": len(answer.body),
                "portcullis.request_id": record["request_id"],
            }, server.attributes, record)
            ip, _, port = record["upstream"].rpartition(":")
            expect(call.attributes == {
                "http.request.method": "GET", "url.full": f"{stage.second.url}/", "url.scheme": "http",
                "server.address": app.hostname, "server.port": app.port, "network.peer.address": ip.strip("[]"),
                "network.peer.port": int(port), "http.response.status_code": 200,
            }, call.attributes, record)
            expect(before <= server.start <= call.start < call.end <= server.end <= after, before, server, call, after)
            resource = server.resource
            expect(resource["service.name"] == record["service"] and resource == call.resource, resource)
    return f"the app took {(call.end - call.start) / 1e6:.1f} ms of {(server.end - server.start) / 1e6:.1f} ms"


@check("the app is told of the client's span; a trace begins where none comes; tracestate goes on and is in the spans")
def _(stage):
    with traced(stage, "told") as (own, collector):
        for option in BOTH:
            # The Python SDK says 03: the id is random all over.
            for flags in ("01", "03"):
                path = f"/continued{option}-{flags}"
                trace, parent, field = parent_of(flags)
                state = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"
                said = heard(own.get(option, "-H", field, "-H", f"tracestate: {state}", path=path))
                server, [call] = collector.exchange(**{"url.path": path})
                expect(said["traceparent"] == f"00-{trace}-{call.id}-{flags}", said, call)
                expect(said["tracestate"] == server.state == call.state == state, said, server, call)
                expect(server.parent == parent, server)
            path = f"/begun{option}"
            said = heard(own.get(option, path=path))
            server, [call] = collector.exchange(**{"url.path": path})
            expect(server.parent == "" and call.parent == server.id, server, call)
            expect(said["traceparent"] == f"00-{server.trace}-{call.id}-01", said, call)
            expect("tracestate" not in said and "b3" not in said and "x-b3-traceid" not in said, said)
        # What is none is no parent, and what belongs to it is not believed either.
        trace = secrets.token_hex(16)
        said = heard(own.get("-H", f"traceparent: 00-{trace}-{'0' * 16}-01", "-H", "tracestate: a=b", path="/broken"))
        server, [call] = collector.exchange(**{"url.path": "/broken"})
        expect(server.parent == "" and server.trace != trace and server.state == "" and "tracestate" not in said, said, server)


@check("what is not sampled has no span, but the app is told 00; the client's own decision counts from --trusted-proxy alone")
def _(stage):
    for trusted, share, wanted in (
        # By what the client says: nothing, 00, 01; None is no span.
        ((), "0", ("00", "00", "00")),
        (TRUSTED, "0", ("00", "00", "01")),
        ((), "100%", ("01", "01", "01")),
        (TRUSTED, "100%", ("01", "00", "01")),
    ):
        name = f"sampled-{share.strip('%')}-{len(trusted)}"
        with traced(stage, name, *trusted, "--trace-sample", share) as (own, collector):
            ids = []
            for fields, flags in zip(((), parent_of("00"), parent_of("01")), wanted):
                said = heard(own.get(*(("-H", fields[2]) if fields else ())))
                # The id is passed on also where nothing is kept.
                version, trace, span, told_flags = said["traceparent"].split("-")
                expect(told_flags == flags and version == "00", f"{name}: {fields} became {said}")
                expect(not fields or (trace == fields[0] and span != fields[1]), said)
                ids.append(trace)
            kept = [trace for trace, flags in zip(ids, wanted) if flags == "01"]
            # At its end it sends whatever there is.
            code, _ = own.sidecar.end(signal.SIGTERM, 8)
            expect(code == 0, f"exit code {code}", own.sidecar.tail())
            expect(sorted(span.trace for span in collector.spans()) == sorted(kept * 2), name, kept, *collector.spans())
            expect({record["trace_id"] for record in own.records()} == set(ids), "each has its record", *own.records())


@check("of 400 requests with --trace-sample 25% about a quarter is kept, whole")
def _(stage):
    with traced(stage, "quarter", "--trace-sample", "25%", target=stage.second.url) as (own, collector):
        load(own, 400)
        code, _ = own.sidecar.end(signal.SIGTERM, 8)
        expect(code == 0, f"exit code {code}", own.sidecar.tail())
        servers, calls = collector.spans(kind="SERVER"), collector.spans(kind="CLIENT")
        # Five standard deviations.
        expect(100 - 44 <= len(servers) <= 100 + 44, len(servers))
        expect(sorted(span.id for span in servers) == sorted(span.parent for span in calls), "some are not whole")
    return f"{len(servers)} were kept"


# Zipkin


def b3(headers):
    return {name: value for name, value in headers.items() if name == "b3" or name.startswith("x-b3-")}


@check("Zipkin gets its JSON, field by field; B3 is read from one field and from several, and ids of 64 bits stay short")
def _(stage):
    long, short, parent = secrets.token_hex(16), secrets.token_hex(8), secrets.token_hex(8)
    several = ("X-B3-TraceId", "X-B3-SpanId", "X-B3-Sampled")
    cases = {
        "/one": ([f"b3: {long}-{parent}-1"], long),
        "/one-short": ([f"b3: {short}-{parent}-1-{secrets.token_hex(8)}"], short),
        "/several": ([f"{name}: {value}" for name, value in zip(several, (long, parent, "1"))], long),
        "/several-short": ([f"{name}: {value}" for name, value in zip(several, (short, parent, "1"))], short),
    }
    with traced(stage, "zipkin", path=ZIPKIN) as (own, collector):
        for path, (fields, trace) in cases.items():
            before = time.time_ns() // 1000
            said = heard(own.get(*(word for field in fields for word in ("-H", field)), path=path))
            after = time.time_ns() // 1000
            server, [call] = collector.exchange(**{"url.path": path})
            record = until(3, "its record", lambda path=path: own.records(path=path))[0]
            # In several fields and as traceparent by default, and as it came.
            wanted = {
                "x-b3-traceid": trace, "x-b3-spanid": call.id, "x-b3-parentspanid": server.id, "x-b3-sampled": "1",
            }
            if path.startswith("/one"):
                wanted["b3"] = f"{trace}-{call.id}-1-{server.id}"
            expect(b3(said) == wanted, said, call, server)
            expect(said["traceparent"] == f"00-{trace.zfill(32)}-{call.id}-01", said)
            common = {"traceId", "id", "parentId", "kind", "name", "timestamp", "duration", "localEndpoint"}
            common |= {"remoteEndpoint", "tags"}
            for span in (server, call):
                fields = {name: value for name, value in span.fields.items() if name not in ("trace", "attributes")}
                expect(set(fields) == common, fields)
                expect(all(isinstance(value, str) for value in span.tags.values()), span.tags)
                expect(span.localEndpoint == {"serviceName": record["service"]}, span)
                expect(isinstance(span.timestamp, int) and isinstance(span.duration, int) and span.duration >= 1, span)
                expect(before <= span.timestamp <= span.timestamp + span.duration <= after + 1, before, span, after)
                expect(span.tags["http.request.method"] == "GET" and span.tags["http.response.status_code"] == "200", span)
                expect("error" not in span.tags, span)
            server.holds(traceId=trace, parentId=parent, kind="SERVER", name="GET")
            server.holds(remoteEndpoint={"ipv4": "127.0.0.1", "port": record["client_port"]})
            call.holds(traceId=trace, parentId=server.id, kind="CLIENT", name="GET")
            call.holds(remoteEndpoint={"ipv4": "127.0.0.1", "port": int(record["upstream"].rpartition(":")[2])})
            expect(server.timestamp <= call.timestamp and call.duration <= server.duration, server, call)
        own.get(path="/begun")
        server, _ = collector.exchange(**{"url.path": "/begun"})
        expect("parentId" not in server.fields and len(server.traceId) == 32, server)
        kinds = {(post.path, post.fields["Content-Type"]) for post in collector.posts}
        expect(kinds == {(ZIPKIN, "application/json")}, kinds)
        [said] = {post.fields["User-Agent"] for post in collector.posts}
        expect(said == f"portcullis/{VERSION}", said)


@check("B3's debug flag is passed on from --trusted-proxy, and what B3 denies has no span")
def _(stage):
    with traced(stage, "zipkin-trusted", *TRUSTED, path=ZIPKIN) as (own, collector):
        trace, span = secrets.token_hex(16), secrets.token_hex(8)
        ids = ("-H", f"X-B3-TraceId: {trace}", "-H", f"X-B3-SpanId: {span}")
        said = b3(heard(own.get(*ids, "-H", "X-B3-Flags: 1", path="/debug")))
        expect(said.get("x-b3-flags") == "1" and said["x-b3-traceid"] == trace, said)
        for fields in (("b3: 0",), ("X-B3-Sampled: 0",), (f"b3: {trace}-{span}-0",)):
            said = b3(heard(own.get(*(word for field in fields for word in ("-H", field)), path="/denied")))
            expect(said["x-b3-sampled"] == "0", fields, said)
        own.sidecar.end(signal.SIGTERM, 8)
        expect({span.traceId for span in collector.spans()} == {trace} and collector.count() == 2, *collector.spans())


# gRPC


@check("gRPC over h2c: spans have the call's name, service, method and grpc-status, and are errors by whose fault it was")
def _(stage):
    codes = library(stage, "grpc").StatusCode
    # Of a server an error is what is its own fault.
    cases = {"OK": ("UNSET", "UNSET"), "NOT_FOUND": ("UNSET", "ERROR"), "UNAVAILABLE": ("ERROR", "ERROR")}

    def ends(message, context):
        if message != b"OK":
            context.abort(codes[message.decode()], "so it is")
        return message

    with collecting(stage) as collector:
        flags = exporting(collector)
        with rpc(stage, "grpc-traces", *flags, unary_unary_ends=ends) as (own, method, grpc):
            for word, (server_status, call_status) in cases.items():
                trace, parent, field = parent_of()
                said = [tuple(field.split(": "))]
                with contextlib.suppress(grpc.RpcError):
                    method("unary_unary_ends")(word.encode(), 10, said)
                server = until(8, word, lambda trace=trace: collector.spans(trace=trace, kind="SERVER"))[0]
                [call] = collector.spans(trace=trace, kind="CLIENT")
                server.holds(name="Talk/unary_unary_ends", parent=parent, status=server_status)
                call.holds(name="Talk/unary_unary_ends", parent=server.id, status=call_status)
                for span in (server, call):
                    wanted = {
                        "rpc.system.name": "grpc", "rpc.method": "Talk/unary_unary_ends",
                        "rpc.response.status_code": word, "http.response.status_code": 200, "http.request.method": "POST",
                    }
                    expect(wanted.items() <= span.attributes.items(), wanted, span)
                    expected = {word} if span.status == "ERROR" else {None}
                    expect({span.attributes.get("error.type")} == expected, span)


# What goes wrong


@check("an app that is down, that answers 500 or 404, a client that leaves, a redirect: spans say so, and whose error it is")
def _(stage):
    with traced(stage, "down", "--connect-retry-for", "0s", target=f"http://127.0.0.1:{free_port()}") as (own, collector):
        for option in BOTH:
            answer = own.get(option, path=f"/down{option}")
            expect(answer.status == 503, answer.seen())
            server, [call] = collector.exchange(**{"url.path": f"/down{option}"})
            for span in (server, call):
                span.holds(status="ERROR", message="upstream_refused")
                expect(span.attributes["error.type"] == span.attributes["portcullis.reason"] == "upstream_refused", span)
            expect(server.attributes["http.response.status_code"] == 503, server)
            # The answer was ours.
            expect("http.response.status_code" not in call.attributes, call)

    gone = threading.Event()

    def page(ask):
        if ask.path.startswith("/waits"):
            gone.wait(10)
        with contextlib.suppress(OSError):
            ask.answer(int(ask.path[1:]) if ask.path[1:].isdigit() else 200)

    with collecting(stage) as collector:
        with fronted(stage, "failing", page, *exporting(collector, "--redirect", "127.0.0.1:0")) as (own, _):
            for code, server_status, call_status in ((500, "ERROR", "ERROR"), (404, "UNSET", "ERROR"), (204, "UNSET", "UNSET")):
                expect(own.get(path=f"/{code}").status == code, code)
                server, [call] = collector.exchange(**{"url.path": f"/{code}"})
                # What a status says needs no words.
                for span, status in ((server, server_status), (call, call_status)):
                    span.holds(status=status, message="")
                    kind = str(code) if status == "ERROR" else None
                    expect(span.attributes.get("error.type") == kind, span)
                    expect(span.attributes["http.response.status_code"] == code, span)
            for option, http in zip(BOTH, ("1.1", "2")):
                # It has no time to say goodbye.
                curl = ("timeout", "-s", "KILL", "0.5", "curl", option, "--cacert", own.secret.ca)
                run(*curl, f"https://localhost:{own.port}/waits")
                wanted = {"url.path": "/waits", "network.protocol.version": http}
                server, [call] = collector.exchange(**wanted)
                for span in (server, call):
                    # Nobody here is at fault.
                    span.holds(status="UNSET")
                    expect(span.attributes["portcullis.reason"] == "client_gone", span)
                    expect(not {"error.type", "http.response.status_code"} & set(span.attributes), span)
                    expect(0.1e9 < span.end - span.start < 5e9, span)
            gone.set()
            trace, parent, field = parent_of()
            answer = Answer.get("-H", field, f"http://localhost:{own.sidecar.port_of('redirect')}/moved?x=1")
            expect(answer.status == 308, answer.seen())
            server, calls = collector.exchange(**{"url.path": "/moved"})
            server.holds(trace=trace, parent=parent, status="UNSET")
            wanted = {"url.scheme": "http", "http.response.status_code": 308}
            expect(wanted.items() <= server.attributes.items() and not calls, server, calls)
            expect(not {"tls.protocol.version", "tls.cipher"} & set(server.attributes), server)


class Fickle:
    """An app that answers the first request of each connection, and closes it when it gets a second one."""

    def __init__(self):
        self.server, self.heads = socket.create_server(("127.0.0.1", 0)), []
        self.url = f"http://127.0.0.1:{self.server.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                self.talk(self.server.accept()[0])

    def talk(self, connection):
        with connection:
            for turn in range(2):
                head = b""
                while b"\r\n\r\n" not in head:
                    more = connection.recv(65536)
                    if not more:
                        return
                    head += more
                self.heads.append(head.decode())
                if turn == 0:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    def close(self):
        self.server.close()


@check("a request that is sent again because a kept connection was stale has two client's spans; the app is told of each")
def _(stage):
    with contextlib.closing(Fickle()) as app, traced(stage, "again", target=app.url) as (own, collector):
        # The second request takes the connection of the first.
        done = own.curl("--http1.1", f"https://localhost:{own.port}/first", path="/second")
        expect(done.returncode == 0 and done.stdout.count("HTTP/1.1 200") == 2, told(done))
        server, calls = collector.exchange(**{"url.path": "/second"})
        expect(len(calls) == 2 and len(app.heads) == 3, *calls, *app.heads)
        stale, good = calls
        stale.holds(parent=server.id, status="ERROR", message="upstream_stale")
        good.holds(parent=server.id, status="UNSET")
        expect("http.request.resend_count" not in stale.attributes, stale)
        expect("http.response.status_code" not in stale.attributes, stale)
        expect(stale.attributes["error.type"] == "upstream_stale", stale)
        expect(good.attributes["http.request.resend_count"] == 1, good)
        expect(good.attributes["http.response.status_code"] == 200, good)
        expect(server.start <= stale.start <= stale.end <= good.start <= good.end <= server.end, server, stale, good)
        seen = [re.search(r"(?mi)^traceparent: 00-\w+-(\w+)-01", head)[1] for head in app.heads]
        expect(seen[1:] == [stale.id, good.id], seen, calls)
        record = until(3, "its record", lambda: own.records(path="/second"))[0]
        expect(record["retries"] == 1, record)


# Others' libraries


INSTRUMENTED = """
const {NodeTracerProvider, SimpleSpanProcessor} = require("@opentelemetry/sdk-trace-node");
const {OTLPTraceExporter} = require("@opentelemetry/exporter-trace-otlp-proto");
const {registerInstrumentations} = require("@opentelemetry/instrumentation");
const {HttpInstrumentation} = require("@opentelemetry/instrumentation-http");
const {resourceFromAttributes} = require("@opentelemetry/resources");
const resource = resourceFromAttributes({"service.name": "app"});
const spanProcessors = [new SimpleSpanProcessor(new OTLPTraceExporter())];
const provider = new NodeTracerProvider({resource, spanProcessors});
provider.register();
registerInstrumentations({instrumentations: [new HttpInstrumentation()]});
"""
CLIENT = """
import sys, urllib.request, ssl
from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
url, ca = sys.argv[1:]
with provider.get_tracer("client").start_as_current_span("asks", kind=trace.SpanKind.CLIENT):
    fields = {}
    propagate.inject(fields)
    asked = urllib.request.Request(url, headers=fields)
    print(urllib.request.urlopen(asked, context=ssl.create_default_context(cafile=ca)).read().decode())
provider.shutdown()
"""


@check("OpenTelemetry's SDKs in a client (Python) and in the Express app (Node): one trace, each span the child of the last")
def _(stage):
    code = stage.folder / "instrumented"
    code.mkdir()
    (code / "package.json").write_text('{"private": true}')
    done = run("npm", "install", "--no-audit", "--no-fund", *NODE_PACKAGES, cwd=code, env=dict(os.environ), timeout=300)
    expect(done.returncode == 0, told(done))
    (code / "begin.cjs").write_text(INSTRUMENTED)
    with collecting(stage) as collector:
        sends = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url.replace("localhost", "127.0.0.1")}
        port, app_code = free_port(), stage.second.code
        env = {**sends, "PORT": str(port), "NODE_OPTIONS": f"--require {code}/begin.cjs"}
        app = Process("instrumented-app", ["node", "index.js"], env, stage.folder, cwd=app_code)
        try:
            target = f"http://127.0.0.1:{port}"
            until(15, "the app listens", lambda: socket.create_connection(("127.0.0.1", port), 1).close() is None)
            with running(stage, "instrumented", stage.public, *exporting(collector), target=target) as own:
                script = stage.folder / "client.py"
                script.write_text(CLIENT)
                python = collectors.packages(stage) / "bin/python"
                env = {**CLEAN, **sends, "OTEL_SERVICE_NAME": "client"}
                done = run(python, script, f"https://localhost:{own.port}/", own.secret.ca, env=env)
                expect(done.stdout.strip() == "Hello you!", told(done))
                until(8, "four spans", lambda: collector.count() >= 4)
        finally:
            app.kill()
        spans = collector.spans()
        expect(len(spans) == 4 and len({span.trace for span in spans}) == 1, *spans)
        by_place = {(span.resource["service.name"], span.kind): span for span in spans}
        service = own.records()[0]["service"]
        places = (("client", "CLIENT"), (service, "SERVER"), (service, "CLIENT"), ("app", "SERVER"))
        chain = [by_place[place] for place in places]
        expect(chain[0].parent == "", chain[0])
        for parent, child in zip(chain, chain[1:]):
            expect(child.parent == parent.id, parent, child)
            # Two clocks are one here; Node's counts from a start that it knows to the millisecond.
            expect(parent.start - 2e6 <= child.start, parent, child)
        # A parent in another process is known to be there.
        expect(chain[1].flags & 0x300 == 0x300 and chain[2].flags & 0x300 == 0x100, chain)


@check("a real OpenTelemetry collector (Rotel) takes the spans, and passes them on as it got them")
def _(stage):
    program = next(from_pypi(stage.folder, "rotel", ROTEL).parent.parent.glob("lib/*/site-packages/rotel/rotel-agent"))
    port, grpc_port = free_port(), free_port()
    with collecting(stage) as behind:
        arguments = (
            "start", "--otlp-http-endpoint", f"127.0.0.1:{port}", "--otlp-grpc-endpoint", f"127.0.0.1:{grpc_port}",
            "--exporter", "otlp", "--otlp-exporter-endpoint", behind.url.replace("localhost", "127.0.0.1"),
            "--otlp-exporter-protocol", "http", "--otlp-exporter-compression", "none",
            "--log-file", stage.folder / "rotel.log", "--pid-file", stage.folder / "rotel.pid",
        )
        rotel = Process("rotel", [program, *arguments], {}, stage.folder)
        try:
            until(10, "it listens", lambda: socket.create_connection(("127.0.0.1", port), 1).close() is None)
            flags = ("--trace-exporter", "otlp", "--trace-endpoint", f"http://127.0.0.1:{port}")
            with running(stage, "before-rotel", stage.public, *flags, "--drain-delay", "0s") as own:
                trace, parent, field = parent_of()
                own.get("-H", field, "-H", "tracestate: a=b", path="/through")
                server, [call] = behind.exchange(**{"url.path": "/through"})
                server.holds(trace=trace, parent=parent, state="a=b", scope=("portcullis", VERSION))
                call.holds(parent=server.id, trace=trace)
                expect(server.attributes["tls.resumed"] is False, server)
                expect(call.attributes["http.response.status_code"] == 200, call)
                load(own, 500, "--h1")
                until(8, "all of them", lambda: spans_of(own)["exported"] == 2 * 501)
                until(8, "all of them behind it", lambda: behind.count() == 2 * 501)
                wrong = [span for span in behind.spans() if span.resource != server.resource or len(span.attributes) < 6]
                expect(not wrong, *wrong[:2])
        finally:
            rotel.kill()


# Collectors that are none


def load(own, requests, *options):
    """h2load, of which nothing may fail."""
    done = run("h2load", "-n", requests, "-c", min(requests, 8), *options, f"https://localhost:{own.port}/", timeout=120)
    wanted = f"{requests} total, {requests} started, {requests} done, {requests} succeeded, 0 failed, 0 errored, 0 timeout"
    expect(wanted in done.stdout and f"status codes: {requests} 2xx" in done.stdout, told(done))
    return float(re.search(r"finished in [^,]*, (\S+) req/s", done.stdout)[1])


# By a name: how it answers, and what becomes of spans at once. Of the others it is known when there is no hope left.
BAD = {
    "dead": (None, {"dropped"}),
    "slow": (collectors.never, {"dropped"}),
    "noise": (collectors.noise, {"dropped"}),
    "endless": (collectors.endless, {"exported"}),
    "broken": (says(500, b"x" * 200_000), {"rejected"}),
    "refusing": (says(401), {"rejected"}),
    "busy": (says(429, retry_after="1"), {"dropped"}),
    "away": (says(503), {"dropped"}),
}
# More than there is room for: each request has two spans.
MANY = 12_000
# What waits in lanes, what was taken out of them, and what is on its way.
ROOM = 2 * 8192 + 512


class Bad:
    """Sidecars that stand before one app, each with a collector of its own."""

    def __init__(self, stage):
        app, self.collectors, self.owns = Quick(stage, "bad-collectors-app"), {}, {}
        self.asked, self.open = {}, contextlib.ExitStack()
        self.open.callback(app.process.kill)
        # Later their threads are gone, and whoever waits for them waits for ever.
        atexit.register(self.open.close)
        for name, (answer, _) in BAD.items():
            collector = collecting(stage, answer=answer) if answer else contextlib.closing(Closed())
            self.add(stage, name, self.open.enter_context(collector), app)
        # One that shows a certificate which is good, but of nobody that is trusted here.
        context = tls_of(stage)
        collector = self.open.enter_context(collecting(stage, context=context))
        self.add(stage, "stranger", collector, app, "--trace-ca", stage.staff.crt)

    def add(self, stage, name, collector, app, *more):
        flags = exporting(collector, *more)
        self.collectors[name] = collector
        self.owns[name] = self.open.enter_context(running(stage, f"bad-{name}", stage.public, *flags, target=app.url))
        self.asked[name] = 0

    def load(self, name, requests=MANY):
        self.asked[name] += requests
        return load(self.owns[name], requests, *(("--h1",) if len(name) % 2 else ()))


@functools.cache
def bad(stage):
    return Bad(stage)


def tls_of(stage):
    """What a collector of https shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(stage.public.dir / "tls.crt", stage.public.dir / "tls.key")
    return context


@check("dead, slow, busy, broken, babbling: whatever a collector does, no request fails of those that h2load makes meanwhile")
def _(stage):
    them, speeds = bad(stage), {}
    them.load("stranger", 1)
    for name in BAD:
        own = them.owns[name]
        speeds[name] = them.load(name)
        until(5, "ready", lambda own=own: own.plane("probe", "/readyz").status == 200)
    slowest, fastest = min(speeds, key=speeds.get), max(speeds, key=speeds.get)
    return f"{speeds[fastest]:.0f} requests/s before {fastest}, {speeds[slowest]:.0f} before {slowest}"


@check("what becomes of spans is counted, each once, and no more wait than there is room for; memory stays where it is")
def _(stage):
    them = bad(stage)
    for name, (_, fates) in BAD.items():
        own = them.owns[name]
        in_the_end = not fates & {"dropped"}

        def adds_up(name=name, own=own, fates=fates, in_the_end=in_the_end):
            counts = spans_of(own)
            waiting = 2 * them.asked[name] - sum(counts.values())
            expect(0 <= waiting <= (0 if in_the_end else ROOM), f"{name}: {waiting} of {them.asked[name]} wait", counts)
            seen = {result for result, count in counts.items() if count}
            expect(fates <= seen <= fates | ({"dropped"} if in_the_end else {"failed"}), f"{name}: {counts}")
            return True

        until(8, "the counts of spans add up", adds_up)
    before = in_memory(them.owns["dead"])
    for _ in range(3):
        them.load("dead")
    grown = in_memory(them.owns["dead"]) - before
    # As much again as the lanes hold may have been taken out of them meanwhile; all that was made would be eight times that.
    expect(grown < 16, f"{grown:.1f} MiB more than when the lanes were full, {before:.1f} MiB")
    return f"{before:.0f} MiB with {ROOM} spans that wait, {grown:+.1f} after three times as many were dropped"


@check("the log says once that a collector takes no spans, where it is, and why")
def _(stage):
    them = bad(stage)
    for name in BAD:
        own, collector = them.owns[name], them.collectors[name]

        def said(*levels, own=own):
            lines = own.sidecar.stderr.read_text().splitlines()
            return [line for line in lines if any(level in line for level in levels)]

        # Silence is known for what it is after 10 s.
        loud = until(15, f"a word about {name}", lambda said=said: said(" WARN ", " ERROR "))
        expect(len(loud) == 1 and str(collector.port) in loud[0], name, *loud)
        expect(not said("panic"), name, *said("panic"))


@check("a collector that comes back gets what waits, the log says that it does, and all that was made is counted as something")
def _(stage):
    them = bad(stage)
    own = them.owns["dead"]
    with contextlib.closing(them.collectors["dead"].opens()) as collector:
        until(40, "spans arrive", lambda: collector.posts)
        them.load("dead", 100)
        made = 2 * them.asked["dead"]
        counts = until(20, "all are counted", lambda: (counts := spans_of(own)) and sum(counts.values()) == made and counts)
        expect(counts["exported"] == collector.count() and counts["rejected"] == 0, counts, collector.count())
        expect(counts["exported"] >= 200 and counts["dropped"] > 0, counts)
        ids = [span.id for span in collector.spans()]
        expect(len(set(ids)) == len(ids), "some came twice")
        expect(max(len(collectors.decoded(post.path, post.body)) for post in collector.posts) <= 512, "a batch is larger")
    until(5, "it is told", lambda: "takes spans again" in own.sidecar.stderr.read_text())
    return str(counts)


@check("a collector of https is known by --trace-ca; one that is not known gets no span, is told of in the log and counted")
def _(stage):
    with collecting(stage, context=tls_of(stage)) as collector:
        flags = exporting(collector, "--trace-ca", stage.public.ca)
        with running(stage, "by-https", stage.public, *flags) as own:
            own.get(path="/by-https")
            server, [call] = collector.exchange(**{"url.path": "/by-https"})
            expect(call.parent == server.id, server, call)
            until(3, "they are counted", lambda: spans_of(own)["exported"] == 2)
    them = bad(stage)
    own, collector = them.owns["stranger"], them.collectors["stranger"]
    until(60, "it gives up", lambda: spans_of(own)["failed"] == 2)
    expect(not collector.posts, collector.posts)
    loud = [line for line in own.sidecar.stderr.read_text().splitlines() if " WARN " in line]
    expect(len(loud) == 1 and re.search("certificate|issuer", loud[0], re.IGNORECASE), *loud)


@check("SIGTERM ends it with 0 within two seconds, whatever its collector does; a good one gets what was left")
def _(stage):
    them, longest = bad(stage), 0.0
    try:
        for name, own in them.owns.items():
            if name not in ("stranger", "dead"):
                them.load(name, 20)
            code, took = own.sidecar.end(signal.SIGTERM, 10)
            expect(code == 0 and took < 2.5, f"{name}: exit code {code} after {took:.2f} s", own.sidecar.tail())
            longest = max(longest, took)
    finally:
        them.open.close()
    with traced(stage, "last-spans") as (own, collector):
        load(own, 100)
        code, took = own.sidecar.end(signal.SIGTERM, 10)
        expect(code == 0 and collector.count() == 200, code, collector.count(), own.sidecar.tail())
    return f"{longest:.2f} s at most"


# What is shipped beside it


@check("examples/traces: each file lies over examples/compose.yaml, and names options that check accepts, and where they lead")
def _(stage):
    python = venv(stage.folder, "traces-yaml", f"pyyaml=={PYYAML}") / "bin/python"
    read = "import json, sys, yaml; json.dump([yaml.safe_load(open(path)) for path in sys.argv[1:]], sys.stdout)"
    names = ("jaeger", "zipkin")
    paths = [CHECKOUT / "examples/compose.yaml", *(CHECKOUT / f"examples/traces/{name}.yaml" for name in names)]
    done = run(python, "-c", read, *paths)
    expect(done.returncode == 0, told(done))
    base, *over = json.loads(done.stdout)
    for name, file in zip(names, over):
        settings = {**base["services"]["portcullis"]["environment"], **file["services"]["portcullis"]["environment"]}
        env = {**CLEAN, **settings, "PORTCULLIS_CERT_DIR": str(stage.public.dir)}
        done = run(BINARY, "check", env=env)
        expect(done.returncode == 0, told(done))
        for option in file["services"]["portcullis"]["environment"]:
            expect(f"environment {option}" in done.stdout, option, told(done))
        # It is where it is looked for, on the app's network, and its page is there for this machine alone.
        host = urllib.parse.urlsplit(settings["PORTCULLIS_TRACE_ENDPOINT"]).hostname
        service = file["services"][host]
        expect(service["networks"] == base["services"]["app"]["networks"], service)
        expect(all(port.startswith("127.0.0.1:") for port in service["ports"]), service)
        [page] = re.findall(r"http://localhost:(\d+)/", (CHECKOUT / f"examples/traces/{name}.yaml").read_text())
        expect(service["ports"] == [f"127.0.0.1:{page}:{page}"], service)
