"""Collectors of traces over real sockets, good and bad: they take OTLP's protobuf or Zipkin's JSON, which is decoded when
somebody asks what came."""

import contextlib
import functools
import gzip
import http.server
import importlib
import json
import socket
import sys
import threading
import types

from props import expect, until, venv

# Its decoder is the one that OpenTelemetry makes of the real .proto files; the other two are a real client's.
PACKAGES = ("opentelemetry-proto==1.45.2", "opentelemetry-sdk==1.45.2", "opentelemetry-exporter-otlp-proto-http==1.45.2")
OTLP, ZIPKIN = "/v1/traces", "/api/v2/spans"


def packages(stage):
    """The venv of these packages, made when it is first asked for; its modules can be imported then."""
    into = stage.folder / "venv-traces"
    if not into.exists():
        venv(stage.folder, "traces", *PACKAGES)
        sys.path.append(str(next(into.glob("lib/*/site-packages"))))
    return into


class Span:
    """Its fields by their names: of OTLP with ids in hex, of Zipkin as they came; and its attributes as a dict."""

    def __init__(self, **fields):
        self.fields = fields

    def __repr__(self):
        return repr(self.fields)

    def __getattr__(self, name):
        if name not in self.fields:
            raise AttributeError(name)
        return self.fields[name]

    def holds(self, **wanted):
        expect(wanted.items() <= self.fields.items(), f"wanted {wanted}", f"got    {self.fields}")


# How one answers. None of them sends anything twice.


def takes(ask):
    """As a collector of either kind does."""
    if ask.path == OTLP:
        ask.reply(200, content_type="application/x-protobuf")
    else:
        ask.reply(202)


def says(status, body=b"", **fields):
    return lambda ask: ask.reply(status, body, **fields)


def never(ask):
    """Until it is closed."""
    ask.server.over.wait()
    ask.close_connection = True


def noise(ask):
    ask.wfile.write(bytes(range(256)) * 64)
    ask.close_connection = True


def endless(ask):
    """An answer whose body never ends."""
    ask.close_connection = True
    ask.reply(200, transfer_encoding="chunked")
    with contextlib.suppress(OSError):
        while not ask.server.over.is_set():
            ask.wfile.write(b"10000\r\n" + b"\0" * 65536 + b"\r\n")
            ask.wfile.flush()


class Collector:
    """One of them, and all that it was sent: `posts` has each request with path, fields and body."""

    class Asked(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body leave together.
        wbufsize = -1

        def do_POST(self):
            body = self.read_body()
            # As others send theirs.
            body = gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body
            post = types.SimpleNamespace(path=self.path, fields=self.headers, body=body)
            self.server.posts.append(post)
            self.server.answer(self)

        def read_body(self):
            if self.headers["Transfer-Encoding"] != "chunked":
                return self.rfile.read(int(self.headers["Content-Length"]))
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def reply(self, status, body=b"", **fields):
            self.send_response(status)
            for name, value in fields.items():
                self.send_header(name.replace("_", "-"), value)
            if "transfer_encoding" not in fields:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

        def log_message(self, *_):
            pass

    def __init__(self, path, answer=takes, port=0, context=None):
        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *_):
                # Whoever is answered badly goes away.
                pass

        self.server = Server(("127.0.0.1", port), Collector.Asked)
        self.server.posts, self.server.answer, self.server.over = [], answer, threading.Event()
        self.posts = self.server.posts
        if context:
            # Each shakes hands in its own thread: one that does not would hold up all others.
            self.server.socket = context.wrap_socket(
                self.server.socket, server_side=True, do_handshake_on_connect=False,
            )
        self.port, self.path = self.server.server_port, path
        self.url = f"http{'s' * bool(context)}://localhost:{self.port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.server.over.set()
        self.server.shutdown()
        self.server.server_close()

    def spans(self, **wanted):
        """All that came, oldest first, where these fields are so."""
        spans = [span for post in list(self.posts) for span in decoded(post.path, post.body)]
        return [span for span in spans if wanted.items() <= span.fields.items()]

    def count(self):
        return len(self.spans())

    def exchange(self, **wanted):
        """The server's span that has these attributes, and those of its attempts, earliest first."""

        def found():
            servers = [span for span in self.spans(kind="SERVER") if wanted.items() <= span.attributes.items()]
            expect(len(servers) <= 1, f"{len(servers)} spans of {wanted}", *servers)
            return servers

        server = until(8, f"a span of {wanted}", found)[0]
        # Zipkin has another name for it.
        calls = [
            span for span in self.spans(trace=server.trace, kind="CLIENT")
            if server.id in (span.fields.get("parent"), span.fields.get("parentId"))
        ]
        return server, sorted(calls, key=lambda span: span.fields.get("start") or span.timestamp)


@contextlib.contextmanager
def collecting(stage, path=OTLP, **more):
    packages(stage)
    with contextlib.closing(Collector(path, **more)) as collector:
        yield collector


@functools.cache
def decoded(path, body):
    return otlp(body) if path == OTLP else zipkin(body)


def otlp(body):
    service = importlib.import_module("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    request = service.ExportTraceServiceRequest.FromString(body)
    known(request)
    spans = []
    for resource in request.resource_spans:
        of = plain(resource.resource.attributes)
        for scope in resource.scope_spans:
            spans += [span_of(span, of, scope.scope) for span in scope.spans]
    return spans


def span_of(span, resource, scope):
    expect((len(span.trace_id), len(span.span_id)) == (16, 8), span)
    kind, status = type(span).SpanKind.Name(span.kind), span.status
    return Span(
        trace=span.trace_id.hex(), id=span.span_id.hex(), parent=span.parent_span_id.hex(), name=span.name,
        kind=kind.removeprefix("SPAN_KIND_"), start=span.start_time_unix_nano, end=span.end_time_unix_nano,
        status=type(status).StatusCode.Name(status.code).removeprefix("STATUS_CODE_"), message=status.message,
        state=span.trace_state, flags=span.flags, attributes=plain(span.attributes), resource=resource,
        scope=(scope.name, scope.version),
    )


def known(message):
    """Nothing in it that the .proto files do not name."""
    unknown = importlib.import_module("google.protobuf.unknown_fields").UnknownFieldSet
    expect(len(unknown(message)) == 0, f"unknown fields in {message.DESCRIPTOR.full_name}", message)
    for field, value in message.ListFields():
        if field.message_type:
            for each in value if hasattr(value, "append") or hasattr(value, "add") else [value]:
                known(each)


def plain(attributes):
    """Key and value, each key once, each value as what it is."""
    pairs = {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in attributes}
    expect(len(pairs) == len(attributes), "an attribute twice", attributes)
    return pairs


def zipkin(body):
    """As they are; of what the API's schema asks for, everything is looked at where it is checked."""
    spans = json.loads(body)
    expect(isinstance(spans, list), spans)
    return [Span(**span, trace=span["traceId"], attributes=span.get("tags", {})) for span in spans]


class Closed:
    """A port that refuses connections, and stays free until a collector opens there."""

    def __init__(self):
        # Bound and not listening: nobody else gets it, and who connects is refused.
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def opens(self, path=OTLP):
        self.socket.close()
        return Collector(path, port=self.port)

    def close(self):
        self.socket.close()
