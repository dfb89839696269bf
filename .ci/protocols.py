"""End to end: WebSocket, gRPC, bodies of every kind, plain HTTP, proxies in front, as real clients speak them. Each check
has a sidecar and an app of its own."""

import base64
import contextlib
import hashlib
import http.client
import http.server
import importlib
import json
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import types
from concurrent import futures

from certificates import running
from props import (
    CLEAN, Answer, Checks, Failed, Process, Skipped, expect, free_port, from_debian, openssl, run, s_client, told, until,
    venv,
)

check = Checks()
LIBRARIES = ("websockets==17.4", "grpcio==1.85.1")
BOTH = ("--http1.1", "--http2")
# RFC 5737: nobody has these addresses.
ALICE, EVE = "203.0.113.9", "198.51.100.7"


def library(stage, name):
    """A module of the client libraries, which are installed when the first is asked for."""
    into = stage.folder / "venv-libraries"
    if not into.exists():
        venv(stage.folder, "libraries", *LIBRARIES)
        sys.path.append(str(next(into.glob("lib/*/site-packages"))))
    return importlib.import_module(name)


class Site:
    """An HTTP/1.1 app of one check: `page` answers each request, `asked` has them all."""

    class Asked(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body leave together.
        wbufsize = -1

        def page(self):
            # A connection has one of these for all its requests.
            self.seen = types.SimpleNamespace(
                path=self.path, version=self.request_version, headers=self.headers, body=None, trailers={},
            )
            self.server.asked.append(self.seen)
            self.server.page(self)

        do_GET = do_HEAD = do_POST = do_PUT = page

        def handle_expect_100(self):
            # That is for the page to do.
            return True

        def ask_for_body(self):
            self.send_response_only(100)
            self.end_headers()
            self.wfile.flush()

        def read_body(self):
            """All of it; a body in chunks leaves its trailers, too."""
            if self.headers.get("Transfer-Encoding") != "chunked":
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            else:
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.seen.trailers = http.client.parse_headers(self.rfile)
            self.seen.body = body
            return body

        def answer(self, status, body=b"", **fields):
            self.send_response(status)
            for name, value in fields.items():
                self.send_header(name.replace("_", "-"), value)
            # 204 and 304 have none.
            if status not in (204, 304):
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
            self.wfile.flush()

        def log_message(self, *_):
            pass

    def __init__(self, page):
        # The requests are accepted as they come, by the hundreds.
        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 1024

        self.server = Server(("127.0.0.1", 0), Site.Asked)
        self.server.page, self.server.asked = page, []
        self.asked = self.server.asked
        self.port = self.server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


@contextlib.contextmanager
def fronted(stage, name, page, *arguments, **more):
    """An app of this page, and a sidecar in front of it."""
    app = Site(page)
    try:
        with running(stage, name, stage.public, *arguments, target=app.url, **more) as own:
            yield own, app
    finally:
        app.server.shutdown()
        app.server.server_close()


def record_of(own, **fields):
    """The one record of a request that was made once."""
    records = until(5, f"a record of {fields}", lambda: own.records(**fields))
    expect(len(records) == 1, f"{len(records)} records of {fields}", *records)
    return records[0]


def holds(got, **wanted):
    expect(wanted.items() <= got.items(), f"wanted {wanted}", f"got    {got}")


# WebSocket


class Talker:
    """The app: it echoes what is said to it on any path but those of `pages`; `asked` has every request."""

    def __init__(self, stage, pages):
        server = library(stage, "websockets.sync.server")
        datastructures, answers = library(stage, "websockets.datastructures"), library(stage, "websockets.http11")
        ended = library(stage, "websockets.exceptions").ConnectionClosed
        self.asked, self.closed = [], []

        def page(_, request):
            self.asked.append(request)
            path = request.path.partition("?")[0]
            if path not in pages:
                return None
            body = pages[path].encode()
            fields = {"Content-Type": "text/html", "Content-Length": str(len(body))}
            return answers.Response(200, "OK", datastructures.Headers(fields), body)

        def talk(connection):
            with contextlib.suppress(ended):
                while True:
                    connection.send(connection.recv())
            self.closed.append((connection.protocol.close_code, connection.protocol.close_reason))

        self.server = server.serve(
            talk, "127.0.0.1", 0, process_request=page, subprotocols=["echo.v1"], max_size=None, compression=None,
        )
        self.url = f"http://127.0.0.1:{self.server.socket.getsockname()[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def fields_of(self, path):
        """What one request was, with its names in lower case."""
        requests = [request for request in self.asked if request.path == path]
        expect(len(requests) == 1, f"{len(requests)} requests of {path}", self.asked)
        return {name.lower(): value for name, value in requests[0].headers.raw_items()}


@contextlib.contextmanager
def talking(stage, name, **pages):
    app = Talker(stage, {f"/{name}": page for name, page in pages.items()})
    try:
        with running(stage, name, stage.public, target=app.url) as own:
            yield own, app
    finally:
        app.server.shutdown()


@check("WebSocket over HTTP/1.1: text, binary, a MiB, ping, subprotocol, and the close with its code and reason arrive")
def _(stage):
    client = library(stage, "websockets.sync.client")
    with talking(stage, "websocket") as (own, app):
        context = ssl.create_default_context(cafile=stage.public.ca)
        large = base64.b64encode(bytes(range(256)) * 3072)
        with client.connect(
            f"wss://localhost:{own.port}/talk", ssl=context, subprotocols=["other", "echo.v1"], max_size=None, proxy=None,
        ) as talk:
            expect(talk.subprotocol == "echo.v1", talk.response.headers)
            expect(talk.response.status_code == 101, talk.response)
            for said in ("hello", b"\x00\xff" * 7, large, large.decode()):
                talk.send(said)
                heard = talk.recv(10)
                expect(heard == said, f"{len(said)} of {type(said)} said, {len(heard)} of {type(heard)} heard")
            expect(talk.ping().wait(5), "no pong")
            expect(not own.records(path="/talk"), "the record came before the end")
            talk.close(4001, "that is all")
        until(3, "the app saw the close", lambda: app.closed == [(4001, "that is all")])
        expect((talk.protocol.close_rcvd.code, talk.protocol.close_rcvd.reason) == (4001, "that is all"), talk.protocol)
        asked = app.fields_of("/talk")
        expect(asked["upgrade"] == "websocket" and asked["x-forwarded-proto"] == "https", asked)
        record = record_of(own, path="/talk")
        holds(record, status=101, reason="", http="1.1", method="GET")
        expect(min(record["bytes_in"], record["bytes_out"]) > 2 * len(large), record)


# It tells the app how it went, by another request. Several talks: Chromium gives up its first connections when it is done
# with setting itself up, and then the next talk has none of HTTP/2 to go by.
PAGE = """<!doctype html><title>talk</title><script type="module">
  const said = ["hello", "x".repeat(1 << 20)];
  const talk = (number) => new Promise((done) => {
    const socket = new WebSocket(`wss://${location.host}/talk-${number}`, ["echo.v1"]);
    const heard = [];
    socket.onopen = () => said.forEach((text) => socket.send(text));
    socket.onmessage = (event) => {
      heard.push(event.data);
      if (heard.length === said.length) socket.close(4002, "enough");
    };
    socket.onclose = ({code, reason, wasClean}) => {
      const same = JSON.stringify(heard) === JSON.stringify(said);
      done({same, code, reason, wasClean, protocol: socket.protocol});
    };
  });
  for (let number = 1; number <= 3; number += 1) {
    await fetch("/again");
    const result = await talk(number);
    await fetch(`/result?${new URLSearchParams({number, ...result})}`);
  }
</script>"""


def chromium(stage, url):
    """Chromium on its way to a page, with trust in our certificate's key, and in no need of anybody else."""
    leaf = openssl("x509", "-in", stage.public.dir / "tls.crt", "-noout", "-pubkey")
    key = base64.b64decode("".join(leaf.splitlines()[1:-1]))
    trusted = base64.b64encode(hashlib.sha256(key).digest()).decode()
    home = stage.folder / "chromium"
    home.mkdir()
    options = (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", "--disable-breakpad", "--disable-dev-shm-usage",
        f"--user-data-dir={home}", f"--ignore-certificate-errors-spki-list={trusted}",
    )
    # Whatever it leaves, it leaves here.
    return Process("chromium", ["chromium", *options, url], {"HOME": str(home), "TMPDIR": str(home)}, stage.folder)


@check("Chromium talks WebSocket over the page's HTTP/2 connection, and the HTTP/1.1 app sees an upgrade like any other")
def _(stage):
    if not shutil.which("chromium"):
        raise Skipped("there is no chromium here")
    with talking(stage, "browser", page=PAGE, again="", result="thanks") as (own, app):
        browser = chromium(stage, f"https://localhost:{own.port}/page")

        def results():
            return [request.path for request in app.asked if request.path.startswith("/result?")]

        try:
            until(30, "the page's results", lambda: len(results()) == 3)
        except Failed as error:
            raise Failed(f"{error}\n{browser.tail()}") from error
        finally:
            browser.kill()
        wanted = "same=true&code=4002&reason=enough&wasClean=true&protocol=echo.v1"
        expect(results() == [f"/result?number={number}&{wanted}" for number in (1, 2, 3)], results())
        until(5, "three records", lambda: len([r for r in own.records() if r["path"].startswith("/talk-")]) == 3)
        records = own.records(http="2", status=200, reason="")
        over_h2 = [record for record in records if record["path"].startswith("/talk-")]
        expect(over_h2, "none came over HTTP/2", *own.records())
        for talk in over_h2:
            expect(min(talk["bytes_in"], talk["bytes_out"]) > 1 << 20, talk)
            shared = [one["path"] for one in records if one["client_port"] == talk["client_port"]]
            expect("/again" in shared, "it had a connection to itself", talk)
            # The library takes nothing but a GET of HTTP/1.1.
            asked = app.fields_of(talk["path"])
            expect(asked["upgrade"] == "websocket" and asked["connection"].lower() == "upgrade", asked)
            expect(len(base64.b64decode(asked["sec-websocket-key"])) == 16 and asked["sec-websocket-version"] == "13", asked)
    return f"{len(over_h2)} of 3 talks"


# gRPC


@contextlib.contextmanager
def rpc(stage, name, *arguments, **methods):
    """A gRPC app with these methods, whose names begin with their kind, and a channel through the sidecar; messages are
    bytes."""
    grpc = library(stage, "grpc")
    server = grpc.server(futures.ThreadPoolExecutor(4))
    handlers = {
        name: getattr(grpc, f"{name.rpartition('_')[0]}_rpc_method_handler")(function) for name, function in methods.items()
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Talk", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with running(stage, name, stage.public, *arguments, target=f"h2c://127.0.0.1:{port}") as own:
            trust = grpc.ssl_channel_credentials(stage.public.ca.read_bytes())
            with grpc.secure_channel(f"localhost:{own.port}", trust, [("grpc.enable_http_proxy", 0)]) as channel:
                yield own, lambda name: getattr(channel, name.rpartition("_")[0])(f"/Talk/{name}"), grpc
    finally:
        server.stop(None)


@check("gRPC: calls of all four kinds arrive, with metadata before and behind and a message of a MiB")
def _(stage):
    def whole(message, context):
        said = dict(context.invocation_metadata())
        context.send_initial_metadata((("before", said["asked"]),))
        context.set_trailing_metadata((("behind", "you"), ("raw-bin", b"\x00\xff")))
        return message

    def count(message, _):
        yield from (b"%d" % number for number in range(int(message)))

    def total(messages, _):
        return b"%d" % sum(map(len, messages))

    def echo(messages, _):
        yield from messages

    methods = {"unary_unary_whole": whole, "unary_stream_count": count, "stream_unary_total": total}
    with rpc(stage, "grpc", **methods, stream_stream_echo=echo) as (own, method, _):
        large = bytes(range(256)) * 4096
        said, call = method("unary_unary_whole").with_call(large, 10, (("asked", "so"),))
        expect(said == large, f"{len(said)} bytes came back")
        expect(dict(call.initial_metadata())["before"] == "so", call.initial_metadata())
        behind = dict(call.trailing_metadata())
        expect((behind["behind"], behind["raw-bin"]) == ("you", b"\x00\xff"), behind)

        counted = list(method("unary_stream_count")(b"1000", 10))
        expect(counted == [b"%d" % number for number in range(1000)], len(counted), counted[-3:])

        added = method("stream_unary_total")((b"x" * size for size in range(500)), 10)
        expect(added == b"%d" % sum(range(500)), added)

        # Each is said only when the last was heard.
        heard = threading.Semaphore()

        def turns():
            for number in range(100):
                expect(heard.acquire(timeout=5), f"nothing came back of {number - 1}")
                yield b"%d" % number

        turn = 0
        for turn, echoed in enumerate(method("stream_stream_echo")(turns(), 20)):
            expect(echoed == b"%d" % turn, echoed)
            heard.release()
        expect(turn == 99, turn)
        for path in ("unary_unary_whole", "unary_stream_count", "stream_unary_total", "stream_stream_echo"):
            holds(record_of(own, path=f"/Talk/{path}"), status=200, reason="", http="2", method="POST")


@check("gRPC: a status with its details, a deadline and a cancelled call reach who has to know")
def _(stage):
    ended, left = threading.Event(), []

    def missing(_, context):
        context.set_trailing_metadata((("hint", "elsewhere"),))
        context.abort(codes.NOT_FOUND, "no such thing: ä/b%")

    def wait(_, context):
        ended.clear()
        context.add_callback(ended.set)
        left.append(context.time_remaining())
        yield b"begun"
        ended.wait(20)

    codes = library(stage, "grpc").StatusCode
    with rpc(stage, "grpc-ends", unary_unary_missing=missing, unary_stream_wait=wait) as (own, method, grpc):
        try:
            expect(False, method("unary_unary_missing")(b"", 10))
        except grpc.RpcError as error:
            expect((error.code(), error.details()) == (codes.NOT_FOUND, "no such thing: ä/b%"), error)
            expect(dict(error.trailing_metadata()).get("hint") == "elsewhere", error.trailing_metadata())
        holds(record_of(own, path="/Talk/unary_unary_missing"), status=200, reason="")

        call = method("unary_stream_wait")(b"")
        expect(next(call) == b"begun", left)
        call.cancel()
        until(5, "the app sees that the call was cancelled", ended.is_set)
        holds(record_of(own, path="/Talk/unary_stream_wait"), status=200, reason="client_gone")

        call = method("unary_stream_wait")(b"", 0.5)
        try:
            expect(next(call) == b"begun" and 0 < left[1] < 0.6, left)
            expect(False, next(call))
        except grpc.RpcError as error:
            expect(error.code() == codes.DEADLINE_EXCEEDED, error)
        until(5, "the app sees that the time is over", ended.is_set)


# Bodies


def loaded(url, requests, *options):
    """h2load, of which nothing may fail; what it says of itself."""
    done = run("h2load", "-n", requests, *options, url, timeout=120)
    wanted = f"{requests} total, {requests} started, {requests} done, {requests} succeeded, 0 failed, 0 errored, 0 timeout"
    expect(wanted in done.stdout and f"status codes: {requests} 2xx" in done.stdout, told(done))
    speed = re.search(r"finished in [^,]*, (\S+) req/s", done.stdout)
    received = re.search(r"(\d+)\) data$", done.stdout, re.MULTILINE)
    return f"{speed[1]} requests/s", int(received[1])


def body_of(stage, name, size):
    path = stage.folder / name
    path.write_bytes((b"0123456789abcdef" * (size // 16 + 1))[:size])
    return path


@check("h2load: POST bodies on many streams reach an HTTP/1.1 app whole, one by one")
def _(stage):
    body = body_of(stage, "post", 20_000)

    def page(ask):
        ask.answer(200 if ask.read_body() == wanted else 500, b"ok")

    wanted = body.read_bytes()
    with fronted(stage, "post", page) as (own, app):
        speed, received = loaded(f"https://localhost:{own.port}/", 600, "-c", 4, "-m", 25, "-d", body)
        expect(received == 600 * 2 and len(app.asked) == 600, f"{received} bytes, {len(app.asked)} requests")
        records = until(3, "600 records", lambda: (r := own.records(status=200, reason=""))[599:] and r)
        expect({(record["bytes_in"], record["bytes_out"]) for record in records} == {(20_000, 2)}, records[0])
    return speed


@check("h2load: POST bodies on many streams come back from nghttpd, which speaks HTTP/2 in clear")
def _(stage):
    body, port = body_of(stage, "echoed", 20_000), free_port()
    server = from_debian(stage.folder, "nghttp2-server", "nghttpd")
    app = Process("nghttpd", [server, "--no-tls", "--echo-upload", "-a", "127.0.0.1", port], {}, stage.folder)
    try:
        until(5, "nghttpd listens", lambda: socket.create_connection(("127.0.0.1", port), 1).close() is None)
        with running(stage, "echoed", stage.public, target=f"h2c://127.0.0.1:{port}") as own:
            speed, received = loaded(f"https://localhost:{own.port}/", 3000, "-c", 4, "-m", 100, "-d", body)
            expect(received == 3000 * 20_000, f"{received} bytes")
            over_h1 = own.get("--http1.1", "--data-binary", f"@{body}", path="/h1")
            expect(over_h1.status == 200 and over_h1.body == body.read_text(), over_h1.headers, len(over_h1.body))
            holds(record_of(own, path="/h1"), http="1.1", bytes_in=20_000, bytes_out=20_000)
            records = until(3, "all records", lambda: (r := own.records(status=200, reason=""))[3000:] and r)
            upstreams = len({record["upstream"] for record in records})
            expect(upstreams == 1, f"{upstreams} upstreams")
    finally:
        app.kill()
    return speed


def uploaded(own, *options, path="/"):
    """An upload as curl tells of it, and the heads that came before the last."""
    done = own.curl("-w", "\n%{json}", *options, path=path)
    expect(done.returncode == 0, told(done))
    return json.loads(done.stdout.rpartition("\n")[2]), done


# With a body above a MiB curl asks by itself, and waits for so long.
WAITS = ("--http1.1", "--expect100-timeout", "20", "-T")


@check("Expect: 100-continue is between client and app: refused, the body is never sent; asked for, it arrives")
def _(stage):
    body = body_of(stage, "expected", 3_000_000)

    def page(ask):
        if ask.path == "/asks":
            ask.ask_for_body()
            ask.read_body()
            return ask.answer(201)
        ask.close_connection = True
        return ask.answer(int(ask.path[1:]), b"no")

    with fronted(stage, "expect", page) as (own, app):
        for status in (401, 413):
            seen, done = uploaded(own, *WAITS, body, path=f"/{status}")
            expect((seen["http_code"], seen["size_upload"]) == (status, 0), told(done))
            expect("100 Continue" not in done.stdout, told(done))
            holds(record_of(own, path=f"/{status}"), status=status, reason="", bytes_in=0)
        seen, done = uploaded(own, *WAITS, body, path="/asks")
        expect((seen["http_code"], seen["size_upload"]) == (201, 3_000_000), told(done))
        expect(done.stdout.startswith("HTTP/1.1 100 Continue\r\n"), told(done))
        expect(app.asked[-1].body == body.read_bytes(), f"{len(app.asked[-1].body)} bytes arrived")
        holds(record_of(own, path="/asks"), status=201, bytes_in=3_000_000)
        expect([ask.headers["Expect"] for ask in app.asked] == ["100-continue"] * 3, app.asked)


@check("a 413 in the middle of a large upload reaches curl over HTTP/1.1 and HTTP/2, though the app reads no further")
def _(stage):
    body, over = body_of(stage, "huge", 64 << 20), threading.Event()

    def page(ask):
        ask.rfile.read(100_000)
        ask.answer(413, b"too much", Connection="close")
        over.wait(30)
        ask.close_connection = True

    with fronted(stage, "too-much", page) as (own, _):
        try:
            for option in BOTH:
                path = f"/{option}"
                seen, done = uploaded(own, option, "-H", "Expect:", "-T", body, path=path)
                expect(seen["http_code"] == 413 and "\r\n\r\ntoo much" in done.stdout, told(done))
                expect(seen["size_upload"] < 64 << 20, told(done))
                holds(record_of(own, path=path), status=413, bytes_out=8)
        finally:
            over.set()


@check("a client of HTTP/1.0 gets a chunked answer as plain bytes up to the end of the connection")
def _(stage):
    def page(ask):
        ask.send_response(200)
        ask.send_header("Transfer-Encoding", "chunked")
        ask.end_headers()
        ask.wfile.write(b"5\r\nhello\r\n4\r\n you\r\n0\r\n\r\n")

    with fronted(stage, "old-client", page) as (own, app):
        answer = own.get("--http1.0", path="/old")
        expect(answer.status == 200 and answer.body == "hello you", answer.seen())
        expect("transfer-encoding" not in answer.headers, answer.seen())
        expect(app.asked[0].version == "HTTP/1.1", app.asked[0])
        holds(record_of(own, path="/old"), status=200, reason="", http="1.0", bytes_out=9)


@check("trailers go through: the app's to curl over HTTP/1.1 and HTTP/2, those of nghttp to the app")
def _(stage):
    def page(ask):
        ask.read_body()
        ask.send_response(200)
        ask.send_header("Transfer-Encoding", "chunked")
        ask.send_header("Trailer", "X-Sum")
        ask.end_headers()
        ask.wfile.write(b"5\r\nhello\r\n0\r\nX-Sum: 42\r\n\r\n")

    with fronted(stage, "trailers", page) as (own, app):
        for option in BOTH:
            done = own.curl(option, "-H", "TE: trailers")
            expect(done.returncode == 0 and done.stdout.lower().endswith("\r\n\r\nhellox-sum: 42\r\n"), told(done))
        # Without a length: small enough to be told one all the same, and not.
        for size in (10, 100_000):
            sent = run(
                "nghttp", "-v", "--no-content-length", "-d", body_of(stage, "summed", size), "--trailer", "x-sent: 43",
                f"https://localhost:{own.port}/nghttp",
            )
            expect(sent.returncode == 0 and "x-sum: 42" in sent.stdout, told(sent)[:4000])
            ask = app.asked[-1]
            fields = (*ask.headers.items(), *ask.trailers.items())
            expect(len(ask.body) == size and ask.trailers["x-sent"] == "43", f"{len(ask.body)} of {size} bytes", *fields)


@check("events arrive one by one while the answer is still open, over HTTP/1.1 and HTTP/2")
def _(stage):
    seen = threading.Semaphore(0)

    def page(ask):
        ask.send_response(200)
        ask.send_header("Content-Type", "text/event-stream")
        ask.end_headers()
        ask.close_connection = True
        for number in range(5):
            ask.wfile.write(b"data: %d\n\n" % number)
            ask.wfile.flush()
            # The next only when the client has this one.
            if not seen.acquire(timeout=10):
                return

    with fronted(stage, "events", page) as (own, _):
        for option in BOTH:
            path = f"/events{option}"
            command = (
                "curl", "-NsS", option, "--max-time", "20", "--cacert", stage.public.ca,
                f"https://localhost:{own.port}{path}",
            )
            with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=CLEAN) as client:
                for number in range(5):
                    event = client.stdout.readline() + client.stdout.readline()
                    expect(event == b"data: %d\n\n" % number, f"{option}: {event} is event {number}")
                    expect(not own.records(path=path), "the answer is over")
                    seen.release()
                expect(client.stdout.read() == b"", "more than was sent")
            expect(client.returncode == 0, f"curl's exit code is {client.returncode}")
            holds(record_of(own, path=path), status=200, reason="", bytes_out=5 * 9)


@check("answers without a body stay so, over HTTP/1.1 and HTTP/2: HEAD with its length, 204, 304 with its tag")
def _(stage):
    def page(ask):
        if ask.command == "HEAD":
            return ask.answer(200, b"x" * 12_345)
        return ask.answer(int(ask.path[1:]), **({"ETag": '"7"'} if ask.path == "/304" else {}))

    with fronted(stage, "no-body", page) as (own, _):
        for option in BOTH:
            for options, path, status in (
                (("--head",), "/", 200), ((), "/204", 204), (("-H", 'If-None-Match: "7"'), "/304", 304),
            ):
                # Twice on one connection: what was left of the first would be the second's.
                done = own.curl(option, *options, f"https://localhost:{own.port}{path}", path=path)
                expect(done.returncode == 0, told(done))
                heads = done.stdout.split("\r\n\r\n")
                expect(len(heads) == 3 and not heads[2], told(done))
                for head in heads[:2]:
                    expect(re.match(rf"HTTP/\S+ {status} ", head), told(done))
                    length, tag = (re.search(rf"(?im)^{name}: (.*?)\r?$", head) for name in ("content-length", "etag"))
                    expect((length and length[1]) == ("12345" if options == ("--head",) else None), told(done))
                    expect((tag and tag[1]) == ('"7"' if status == 304 else None), told(done))


# Names


@check("HTTP/1.1 names go both ways as they are written; HTTP/2's reach the app in Title-Case, and a length with them")
def _(stage):
    def page(ask):
        ask.read_body()
        ask.answer(200, **{"X-aPP-sAYS": "so", "ETag": '"1"'})

    def written(ask):
        return [name for name, value in ask.headers.items() if value == "seen"]

    sent = ("-H", "X-MiXeD-CaSe: seen", "-H", "x-lower: seen", "-H", "UPPER_x: seen")
    with fronted(stage, "names", page) as (own, app):
        old = own.get("--http1.1", *sent)
        expect(written(app.asked[-1]) == ["X-MiXeD-CaSe", "x-lower", "UPPER_x"], app.asked[-1].headers.items())
        expect("X-aPP-sAYS: so\r\n" in old.seen() and "ETag: " in old.seen(), old.seen())
        new = own.get("--http2", *sent)
        expect(written(app.asked[-1]) == ["X-Mixed-Case", "X-Lower", "Upper_x"], app.asked[-1].headers.items())
        expect("Host" in app.asked[-1].headers.keys() and "x-app-says: so\r\n" in new.seen(), new.seen())

        # Nobody told it: what curl reads from stdin has no length in HTTP/2.
        done = run(
            "curl", "-sS", "-i", "--http2", "--cacert", stage.public.ca, "-X", "POST", "-T", "-",
            f"https://localhost:{own.port}/", text="a few words",
        )
        expect(done.stdout.startswith("HTTP/2 200") and app.asked[-1].body == b"a few words", told(done))
        fields = dict(app.asked[-1].headers.items())
        expect(fields.get("Content-Length") == "11" and "Transfer-Encoding" not in fields, fields)
    with fronted(stage, "lower-names", page, "--header-case", "lower") as (own, app):
        old = own.get("--http1.1", *sent)
        expect(written(app.asked[-1]) == ["x-mixed-case", "x-lower", "upper_x"], app.asked[-1].headers.items())
        expect("x-app-says: so\r\n" in old.seen() and "etag: " in old.seen(), old.seen())


@check("with --fix-redirects curl follows an app that knows nothing of TLS over https alone, and its cookie is Secure")
def _(stage):
    def page(ask):
        if ask.path == "/next":
            return ask.answer(200, b"arrived")
        return ask.answer(302, Location=f"http://{ask.headers['Host']}/next", Set_Cookie="a=b; Path=/")

    for option in BOTH:
        jar = stage.folder / f"jar{option}"
        follow = (option, "-L", "--proto-redir", "=https", "-c", jar)
        with fronted(stage, f"fixed{option}", page, "--fix-redirects") as (own, _):
            done = own.curl(*follow)
            expect(done.returncode == 0 and done.stdout.endswith("\r\n\r\narrived"), told(done))
            expect(re.search(r"(?im)^set-cookie: a=b; Path=/; Secure\r?$", done.stdout), told(done))
            domain, _, path, secure, _, name, value = jar.read_text().strip().splitlines()[-1].split("\t")
            expect((domain, path, secure, name, value) == ("localhost", "/", "TRUE", "a", "b"), jar.read_text())
    with fronted(stage, "unfixed", page) as (own, _):
        done = own.curl("-L", "--proto-redir", "=https")
        expect(done.returncode != 0 and f"http://localhost:{own.port}/next" in done.stdout, told(done))


# Plain HTTP


@check("plain HTTP on the TLS port is sent to https, a POST is told in words, and TLS is spoken there as ever")
def _(stage):
    def page(ask):
        ask.answer(200)

    with fronted(stage, "plain", page) as (own, app):
        plain = f"http://localhost:{own.port}/path?x=y"
        answer = Answer.get(plain, "-H", "Host: shop.example:80")
        expect(answer.status == 308 and answer.headers.get("location") == "https://shop.example/path?x=y", answer.seen())
        answer = Answer.get("-d", "secret=1", plain)
        expect(answer.status == 400 and "https" in answer.body, answer.seen())
        for method, status in (("GET", 308), ("POST", 400)):
            record = record_of(own, method=method, path="/path")
            holds(record, status=status, reason="plain_http")
            expect("tls" not in record and "secret" not in str(record), record)
        expect(not app.asked, "it came to the app")
        for version in ("-tls1_3", "-tls1_2"):
            seen = s_client(own.port, "-CAfile", stage.public.ca, "-verify_return_error", version)
            expect((seen["code"], seen["verified"]) == (0, "0"), seen["text"])
    with fronted(stage, "plain-port", page, "--redirect-port", "8443") as (own, _):
        answer = Answer.get(f"http://localhost:{own.port}/", "-H", "Host: shop.example")
        expect(answer.headers.get("location") == "https://shop.example:8443/", answer.seen())


@check("on --redirect an exempt path is answered, ACME's challenge comes to the app in clear, all else is sent to https")
def _(stage):
    def page(ask):
        ask.answer(200, b"proof of " + ask.path.encode())

    acme = "/.well-known/acme-challenge/"
    exempt = ("--redirect", "127.0.0.1:0", "--redirect-exempt", "/lb-check", "--redirect-exempt", acme)
    with fronted(stage, "exempt-plain", page, *exempt) as (own, app):

        def plain(path, *options):
            url = f"http://127.0.0.1:{own.sidecar.port_of('redirect')}{path}"
            return Answer.get("--path-as-is", "-H", "Host: shop.example", *options, url)

        expect(plain("/lb-check").status == 200 and not app.asked, "the sidecar answers that itself")
        proof = plain(f"{acme}token")
        expect((proof.status, proof.body) == (200, f"proof of {acme}token"), proof.seen())
        fields = app.asked[0].headers
        expect((fields["X-Forwarded-Proto"], fields["Host"]) == ("http", "shop.example"), fields.items())
        record = record_of(own, path=f"{acme}token")
        holds(record, status=200, reason="", target=app.url)
        for path in (
            "/", "/lb-check/", "/lb-check/x", "//lb-check", "/.well-known/", acme, f"{acme}../secret",
            f"{acme}%2e%2e/secret",
        ):
            answer = plain(path)
            expect(answer.status == 308, answer.seen())
            expect(answer.headers.get("location") == f"https://shop.example{path}", answer.seen())
        expect(plain(f"{acme}token", "-d", "x").status == 308, "a POST is no question for a proof")
        expect(len(app.asked) == 1, [ask.path for ask in app.asked])


# Proxies in front


def fields_page(ask):
    ask.answer(200, json.dumps({name.lower(): value for name, value in ask.headers.items()}).encode())


def names_client(answer, own, client, path, **forwarded):
    """App and record name this client."""
    expect(answer.status == 200, answer.seen())
    holds(answer.json(), **{"x-real-ip": client, "x-forwarded-for": client, **forwarded})
    return holds(record_of(own, path=path), client=client, status=200, reason="")


PROXIED = ("--trusted-proxy", "127.0.0.0/8", "--proxy-protocol")


@check("curl's PROXY header names the client; a trusted proxy without one is refused")
def _(stage):
    with fronted(stage, "proxy-header", fields_page, *PROXIED, "--redirect", "127.0.0.1:0") as (own, _):
        header = ("--haproxy-protocol", "--interface", "127.0.0.5")
        for option in BOTH:
            names_client(own.get(option, *header, path=f"/{option}"), own, "127.0.0.5", f"/{option}")
        for port in (own.port, own.sidecar.port_of("redirect")):
            answer = Answer.get(*header, f"http://127.0.0.1:{port}/in-clear-{port}")
            expect(answer.status == 308, answer.seen())
            holds(record_of(own, path=f"/in-clear-{port}"), client="127.0.0.5")
        named = own.curl("--haproxy-clientip", ALICE, path="/named")
        known = "is unknown" not in named.stderr
        if known:
            names_client(Answer(named), own, ALICE, "/named")
        done = own.curl()
        expect(done.returncode != 0 and not done.stdout, told(done))
        record = record_of(own, kind="handshake")
        expect(record["reason"] == "bad_proxy_header" and record["detail"], record)
        expect(own.plane("probe", "/readyz").status == 200, "not ready")
    return None if known else "this curl has no --haproxy-clientip"


class Balancer:
    """HAProxy in front of a port, in TCP mode; it tells of the client by PROXY header, and says that it is `client`."""

    def __init__(self, stage, port, version, client):
        program = from_debian(stage.folder, "haproxy", "haproxy")
        self.port = free_port()
        name = f"haproxy-{version}-{client}"
        config = stage.folder / f"{name}.cfg"
        config.write_text(f"""
defaults
    mode tcp
    timeout connect 5s
    timeout client 20s
    timeout server 20s
frontend door
    bind 127.0.0.1:{self.port}
    tcp-request connection set-src str({client})
    default_backend sidecar
backend sidecar
    server sidecar 127.0.0.1:{port} {version}
""")
        self.process = Process(name, [program, "-db", "-f", config], {}, stage.folder)
        until(5, f"{name} listens\n{self.process.tail()}", self.is_open)

    def is_open(self):
        return any(
            line.split()[1].endswith(f":{self.port:04X}") and line.split()[3] == "0A"
            for line in open("/proc/net/tcp", encoding="ascii").readlines()[1:]
        )


@check("HAProxy's PROXY headers, version 1 and 2, name the client, over HTTP/1.1 and HTTP/2")
def _(stage):
    with fronted(stage, "haproxy", fields_page, *PROXIED) as (own, _):
        for version in ("send-proxy", "send-proxy-v2"):
            for client in (ALICE, "2001:db8::9"):
                balancer = Balancer(stage, own.port, version, client)
                try:
                    for option in BOTH:
                        path = f"/{version}{option}/{client}"
                        # What the client itself says does not count.
                        forged = ("-H", f"X-Forwarded-For: {EVE}", "-H", f"X-Real-IP: {EVE}")
                        done = own.curl(option, *forged, "--connect-to", f"::127.0.0.1:{balancer.port}", path=path)
                        names_client(Answer(done), own, client, path)
                finally:
                    balancer.process.kill()


NOT_ALLOWED = "portcullis_connections_not_allowed_total"


@check("with --allow-client others are closed and counted: by their own address, and by that which HAProxy tells")
def _(stage):
    with fronted(stage, "allowed", fields_page, "--allow-client", f"{ALICE}/24") as (own, app):
        done = own.curl()
        expect(done.returncode != 0 and not done.stdout, told(done))
        until(3, "it is counted", lambda: own.metric(NOT_ALLOWED) == 1)
        expect(not app.asked and own.plane("probe", "/readyz").status == 200, "asked, or not ready")
    with fronted(stage, "allowed-haproxy", fields_page, *PROXIED, "--allow-client", f"{ALICE}/24") as (own, app):
        for client, refused in ((ALICE, 0), (EVE, 1)):
            balancer = Balancer(stage, own.port, "send-proxy-v2", client)
            try:
                done = own.curl("--connect-to", f"::127.0.0.1:{balancer.port}", path=f"/{client}")
            finally:
                balancer.process.kill()
            if refused:
                expect(done.returncode != 0 and not done.stdout, told(done))
            else:
                names_client(Answer(done), own, client, f"/{client}")
            until(3, "it is counted", lambda refused=refused: own.metric(NOT_ALLOWED) == refused)
        expect(len(app.asked) == 1, [ask.path for ask in app.asked])


@check("of X-Forwarded-For a trusted proxy is believed up to the first stranger from the right, and nobody else is")
def _(stage):
    def said(*chains):
        return [part for chain in chains for part in ("-H", f"X-Forwarded-For: {chain}")]

    cases = {
        "one": (said(ALICE), ALICE, f"{ALICE}, 127.0.0.1"),
        "forged": (said(f"{EVE}, {ALICE}"), ALICE, f"{EVE}, {ALICE}, 127.0.0.1"),
        "hops": (said(f"{EVE}, {ALICE}, 127.3.0.1"), ALICE, f"{EVE}, {ALICE}, 127.3.0.1, 127.0.0.1"),
        "fields": (said(EVE, ALICE), ALICE, f"{EVE}, {ALICE}, 127.0.0.1"),
        "none": ((), "127.0.0.1", "127.0.0.1"),
    }
    with fronted(stage, "chains", fields_page, "--trusted-proxy", "127.0.0.0/8") as (own, _):
        for option in BOTH:
            for name, (fields, client, chain) in cases.items():
                path = f"/{name}{option}"
                names_client(own.get(option, *fields, path=path), own, client, path, **{"x-forwarded-for": chain})
        kept = own.get("-H", "X-Forwarded-Host: shop.example", "-H", "X-Request-Id: mine-1", *said(ALICE), path="/kept")
        holds(kept.json(), **{"x-forwarded-host": "shop.example", "x-request-id": "mine-1"})
        holds(record_of(own, path="/kept"), request_id="mine-1", client=ALICE)
    with fronted(stage, "no-chains", fields_page, "--trusted-proxy", "192.0.2.0/24") as (own, _):
        own_word = own.get("-H", "X-Request-Id: mine-1", "-H", f"Forwarded: for={EVE}", *said(EVE), path="/forged")
        names_client(own_word, own, "127.0.0.1", "/forged")
        expect(EVE not in own_word.body and "mine-1" not in own_word.body, own_word.body)


# Node


FETCH = """
const [base] = process.argv.slice(1);
const show = async (answer) => ({status: answer.status, text: await answer.text()});
const stream = () => {
  let left = 50;
  return new ReadableStream({
    pull: (to) => (left-- > 0 ? to.enqueue(new Uint8Array(2000).fill(120)) : to.close()),
  });
};
const got = await show(await fetch(`${base}/?get`));
const posted = await show(await fetch(`${base}/posted`, {method: "POST", body: stream(), duplex: "half"}));
console.log(JSON.stringify({got, posted}));
"""


def fetched(stage, own):
    env = {**CLEAN, "NODE_EXTRA_CA_CERTS": str(stage.public.ca)}
    base = f"https://localhost:{own.port}"
    done = run("node", "--input-type=module", "-e", FETCH, base, env=env)
    expect(done.returncode == 0, told(done))
    return json.loads(done.stdout)


@check("Node's fetch gets the Express app's hello, and a streamed POST comes to Express, and whole to an app that reads it")
def _(stage):
    with running(stage, "fetch", stage.public, target=stage.second.url) as own:
        seen = fetched(stage, own)
        holds(seen["got"], status=200, text="Hello you!")
        expect(seen["posted"]["status"] == 404 and "Cannot POST /posted" in seen["posted"]["text"], seen)
        holds(record_of(own, path="/posted"), status=404, reason="", method="POST")

    def page(ask):
        ask.answer(200, b"%d" % len(ask.read_body()))

    with fronted(stage, "fetch-read", page) as (own, app):
        seen = fetched(stage, own)
        holds(seen["posted"], status=200, text="100000")
        expect(app.asked[-1].body == b"x" * 100_000, len(app.asked[-1].body))
        holds(record_of(own, path="/posted"), status=200, reason="", bytes_in=100_000)
