#!/usr/bin/env python3
"""End to end: `portcullis top` in a terminal, which is tmux's, under traffic from curl and h2load; what is read is what tmux
has on its screen. Each check has a sidecar of its own. As a program, `top.py pictures` draws docs/pictures/top.png."""

import contextlib
import fcntl
import html
import http.client
import math
import os
import pty
import random
import re
import shlex
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

from admin import TOKENS, token_file  # noqa: E402
from certificates import running  # noqa: E402
from props import (  # noqa: E402
    BINARY, CHECKOUT, CLEAN, Checks, Failed, Process, Secret, Skipped, chromium, expect, free_port, run, told, until,
)
from protocols import Site, fronted, record_of  # noqa: E402
from records import Wire  # noqa: E402

check = Checks()
SMALL, LARGE = (80, 24), (200, 50)


class Screen:
    """A terminal of tmux with a shell command in it, which is looked at and typed into."""

    def __init__(self, stage, name, command, size=SMALL, env=()):
        if not shutil.which("tmux"):
            raise Skipped("there is no tmux here")
        self.folder = tempfile.mkdtemp(prefix="portcullis-tmux-")
        self.tmux = ("tmux", "-u", "-S", f"{self.folder}/socket", "-f", "/dev/null")
        self.before, self.after = stage.folder / f"{name}.before", stage.folder / f"{name}.after"
        line = " ".join(shlex.quote(str(word)) for word in command)
        script = f"stty -g >{self.before}; echo shell before; {line}; echo ended $?; stty -g >{self.after}; sleep 600"
        width, height = size
        given = {**CLEAN, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **dict(env)}
        done = run(*self.tmux, "new-session", "-d", "-s", "top", "-x", width, "-y", height, "sh", "-c", script, env=given)
        expect(done.returncode == 0, told(done))

    def asks(self, *arguments):
        done = run(*self.tmux, *arguments, env={**CLEAN, "LC_ALL": "C.UTF-8"})
        expect(done.returncode == 0, told(done))
        return done.stdout

    def text(self, *options):
        return self.asks("capture-pane", "-p", *options, "-t", "top")

    def types(self, *keys):
        self.asks("send-keys", "-t", "top", *keys)

    def resizes(self, width, height):
        self.asks("resize-window", "-t", "top", "-x", str(width), "-y", str(height))

    def shows(self, *wanted, seconds=10, without=()):
        """Waits until each of these patterns is on the screen, and none of those; returns the screen."""
        def found():
            text = self.text()
            lacks = [words for words in wanted if not re.search(words, text, re.MULTILINE)]
            more = [words for words in without if re.search(words, text, re.MULTILINE)]
            if lacks or more:
                raise Failed(f"lacks {lacks}, has {more}:\n{text}")
            return text

        return until(seconds, "what is wanted on the screen", found)

    def pid(self):
        """The process of the command, which the shell in the pane waits for."""
        pane = self.asks("display-message", "-p", "-t", "top", "#{pane_pid}").strip()
        return int(until(5, "the command runs", lambda: run("pgrep", "-P", pane).stdout.split())[0])

    def is_restored(self, code=0):
        """The command has ended so, and the terminal is as it was before."""
        text = self.shows(rf"\Ashell before\nended {code}\n", without=("──", "quit"))
        expect(text.strip().splitlines()[-1] == f"ended {code}", text)
        flags = self.asks("display-message", "-p", "-t", "top", "#{alternate_on} #{cursor_flag} #{mouse_any_flag}")
        expect(flags.strip() == "0 1 0", f"alternate screen, cursor, mouse: {flags}")
        until(3, "its settings", lambda: self.after.exists() and self.after.read_text())
        expect(self.before.read_text() == self.after.read_text(), self.before.read_text(), self.after.read_text())

    def close(self):
        run(*self.tmux, "kill-server")
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def watching(stage, name, *arguments, **more):
    """`portcullis top` with these arguments on a screen."""
    screen = Screen(stage, name, [BINARY, "top", *arguments], **more)
    try:
        yield screen
    finally:
        screen.close()


def admin_of(own):
    return ("--admin", own.sidecar.address["admin"])


def flood(stage, own, name, *paths, seconds=30):
    """h2load on these paths until it is killed."""
    urls = [f"https://localhost:{own.port}{path}" for path in paths]
    return Process(name, ["h2load", "-D", str(seconds), "-c", "4", "--rps", "60", *urls], {}, stage.folder)


def page(ask):
    """An app that fails in several ways."""
    ask.read_body()
    path = ask.path.partition("?")[0]
    if path == "/slow":
        time.sleep(0.3)
    if path == "/cuts":
        ask.close_connection = True
        return
    ask.answer({"/missing": 404, "/broken": 500}.get(path, 200), b"hello" * 100)


def rate_on(text):
    """Requests a second, as the screen has them."""
    return float(re.search(r"^requests +([\d.,]+)/s", text, re.MULTILINE)[1].replace(",", ""))


def row_of(text, key):
    """What a table says of a key: its numbers."""
    row = re.search(rf"^  {re.escape(key)} +(\S.*)$", text, re.MULTILINE)
    expect(row, f"no row of {key}", text)
    return row[1].split()


@check("portcullis top shows rates, a path asked for a second ago and an error with its reason; it fits 80x24 and 200x50")
def _(stage):
    with fronted(stage, "topped", page) as (own, _), watching(stage, "topped-top", *admin_of(own)) as screen:
        screen.shows(r"portcullis \S+, .*: ready, up", "requests +0/s", r"none since \S+ UTC", "none so far", "days? left")
        load = flood(stage, own, "topped-load", "/", "/catalog")
        try:
            text = screen.shows("requests +[1-9]", r"2xx [1-9]", "p50 .* ms .*p99", "^  /catalog ", "active, .* idle")
            expect(float(row_of(text, "/")[1].replace(",", "")) > 0, text)
            until(10, "the rate that is sent", lambda: 150 < rate_on(screen.text()) < 330)
            # Those that come once.
            own.get(path="/asked-for-once?secret=1")
            own.get(path="/broken")
            own.get(path="/slow")
            own.curl(path="/cuts")
            cut = record_of(own, path="/cuts")
            text = screen.shows(
                r"^  /asked-for-once ", r"500 +\(application\) +GET +/broken", rf"{cut['status']} +{cut['reason']} +GET +/cuts",
                rf"failed +\S+/s: {cut['reason']}", r"4xx|5xx [^0]", seconds=5,
            )
            expect("secret" not in text, text)
            # The numbers are those of the metrics.
            screen.resizes(*LARGE)
            text = screen.shows("▸ paths", "clients ·", "errors ·", "requests/s, at most", r"127\.0\.0\.1|::1")
            lines = text.splitlines()
            expect(len(lines) <= LARGE[1] and max(map(len, lines)) == LARGE[0], f"{len(lines)} lines", text)
            screen.types("s")
            screen.shows("most errors")
            screen.types("s")
            text = screen.shows("slowest")
            rows = text[text.index("slowest"):].splitlines()
            expect(rows[1].split()[0] == "/slow", *rows[:4])
            screen.resizes(*SMALL)
            text = screen.shows(r"q quit .* \? help", "▸ paths", without=("clients ·",))
            expect(max(map(len, text.splitlines())) == SMALL[0], text)
            # Other keys.
            screen.types("Tab")
            screen.shows("▸ clients")
            screen.types("Tab")
            screen.shows("▸ errors")
            screen.types("Tab", "?")
            screen.shows("╭ help", "Ctrl-C")
            screen.types("Escape")
            screen.shows("▸ paths", without=("╭",))
            screen.types("p")
            still = screen.shows("PAUSED")
            own.get(path="/while-paused")
            time.sleep(2.2)
            expect(screen.text() == still, still, screen.text())
            screen.types("p")
            screen.shows("/while-paused|UTC$", without=("PAUSED",))
            screen.types("r")
            screen.shows("none so far", without=("/asked-for-once",))
        finally:
            load.kill()
        screen.shows("requests +0/s")
        screen.types("q")
        screen.is_restored()
    return f"{rate_on(text):.0f} requests/s seen"


@check("top outlives a restart of its sidecar, says since when it is gone, and shows no negative rate; slow answers block no key")
def _(stage):
    admin = free_port()
    flags = ("--admin", f"127.0.0.1:{admin}")
    with Valve(admin) as valve:
        with running(stage, "topped-first", stage.public, *flags, target=stage.second.url) as own:
            for number in range(20):
                own.get(path=f"/{number}")
            screen = Screen(stage, "topped-again", [BINARY, "top", "--admin", valve.address, "--interval", "500ms"])
            try:
                screen.shows("ready, up")
                own.get(path="/first")
                screen.shows("^  /first ")
                own.sidecar.kill()
                text = screen.shows(r"not reachable since \d\d:\d\d:\d\d", "trying again")
                since = re.search(r"since (\S+)", text)[1]
                with running(stage, "topped-second", stage.public, *flags, target=stage.second.url) as second:
                    screen.shows("ready, up", "another process answers since", without=("not reachable",))
                    second.get(path="/second")
                    text = screen.shows("^  /second ", "^  /first ")
                    expect("-" not in re.search(r"^requests +(\S+)", text, re.MULTILINE)[1], text)
                    # An admin plane that takes connections, and says nothing.
                    valve.is_shut = True
                    time.sleep(1)
                    began = time.monotonic()
                    screen.types("?")
                    screen.shows("╭ help", seconds=1)
                    screen.types("?")
                    screen.shows("▸ paths", without=("╭",), seconds=1)
                    took = time.monotonic() - began
                    screen.shows("not reachable", "said nothing for 5 s", seconds=12)
                    valve.is_shut = False
                    screen.shows("ready, up", without=("not reachable",), seconds=8)
                screen.types("C-c")
                screen.is_restored()
            finally:
                screen.close()
    return f"gone since {since}; keys in {took:.1f} s"


class Valve:
    """A way to a port that can be shut: what comes then is taken and left unanswered."""

    def __init__(self, port):
        self.port, self.is_shut, self.held = port, False, []
        self.door = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = f"127.0.0.1:{self.door.getsockname()[1]}"

    def __enter__(self):
        threading.Thread(target=self.take, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.door.close()

    def take(self):
        with contextlib.suppress(OSError):
            while True:
                inner, _ = self.door.accept()
                threading.Thread(target=self.join, args=(inner,), daemon=True).start()

    def join(self, inner):
        if self.is_shut:
            self.held.append(inner)
            return
        try:
            outer = socket.create_connection(("127.0.0.1", self.port))
        except OSError:
            inner.close()
            return
        threading.Thread(target=self.pump, args=(outer, inner), daemon=True).start()
        self.pump(inner, outer)

    @staticmethod
    def pump(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


# Raw, and as a careful client sends it.
HOSTILE = ("/\u4e2d\u6587/\u202e\u202dgnp.exe", "/\u0007", "/caf\u00e9\u0301\U0001f469\u200d\U0001f469", "/\u009b2J\u009d0;x\u009c")


@check("top is let in by a token, shows hostile paths escaped in their place, and gives the terminal back to whatever ends it")
def _(stage):
    tokens, reader = token_file(stage, "topped"), stage.folder / "topped-reader.token"
    reader.write_text(TOKENS["watch"][1] + "\n")
    with fronted(stage, "topped-guarded", page, "--admin-token-file", tokens) as (own, _):
        admin = admin_of(own)
        with watching(stage, "topped-without", *admin) as screen:
            screen.shows("token", "ended 1")
        for name, ending in (("term", "TERM"), ("int", "INT"), ("hup", "HUP"), ("key", None)):
            with watching(stage, f"topped-{name}", *admin, "--admin-token-file", reader, env={"NO_COLOR": "1"}) as screen:
                screen.shows("ready, up", "▸ paths")
                if ending == "TERM":
                    is_hostile(own, screen)
                    painted = screen.text("-e")
                    # 39 and 49 are the terminal's own.
                    expect(not re.search(r"\x1b\[(\d+;)*(3[0-8]|4[0-8]|9\d|10\d)[;m]", painted), painted)
                if ending:
                    run("kill", f"-{ending}", screen.pid())
                else:
                    screen.types("q")
                screen.is_restored()
    return f"{len(HOSTILE)} paths"


@check("top ends quietly when its terminal goes away, as with a window that is closed")
def _(stage):
    with fronted(stage, "topped-gone", page) as (own, _):
        for number in range(5):
            ours, its = pty.openpty()
            fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
            top = subprocess.Popen(
                (BINARY, "top", *map(str, admin_of(own)), "--interval", "100ms"), stdin=its, stdout=its, stderr=its,
                start_new_session=True, env={"TERM": "xterm"},
            )
            try:
                os.close(its)
                seen = b""
                while b"ready" not in seen:
                    seen += os.read(ours, 65536)
                os.close(ours)
                code = top.wait(5)
                expect(code in (0, 1), f"terminal {number}: {code}")
            finally:
                top.kill()


def is_hostile(own, screen):
    """Paths that would move the cursor, turn the text around, or take more columns than they seem to."""
    seen = 0
    for path in HOSTILE:
        for sent in (path.encode(), "".join(f"%{byte:02X}" for byte in path.encode()).encode()):
            with Wire(own) as wire:
                with contextlib.suppress(OSError):
                    wire.says(b"GET /" + sent.lstrip(b"/") + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
    own.get(path="/after-them")
    screen.resizes(*LARGE)
    text = screen.shows("^  /after-them ", r"%E4%B8%AD|\\u\{4e2d\}")
    lines = text.splitlines()
    expect(max(map(len, lines)) == LARGE[0], text)
    # Each row of the tables ends where its column does.
    rule = next(line for line in lines if "▸ paths" in line)
    end = rule.index("p95") + 3
    for line in lines[lines.index(rule) + 1:]:
        if "──" in line:
            break
        row = line[:end].rstrip()
        if row:
            seen += 1
            expect(row.endswith(" ms") and len(row) == end, f"ends at {len(row)}, not {end}", line)
        expect(not re.search("[\u4e2d\u202e\u0301\u200d\U0001f469]", line), line)
    expect(seen > len(HOSTILE), text)
    screen.resizes(*SMALL)


@check("top --once prints one screen as text for scripts; without a terminal, and with what it does not have, it says what to do")
def _(stage):
    with fronted(stage, "topped-once", page) as (own, _):
        load = flood(stage, own, "topped-once-load", "/", "/catalog")
        try:
            until(5, "traffic", lambda: own.sidecar.metric('portcullis_requests_total{method="GET",code="200",reason=""}'))
            done = run(BINARY, "top", "--once", *admin_of(own), env={})
            expect(done.returncode == 0 and not done.stderr and "\x1b" not in done.stdout, told(done))
            for words in ("ready, up", r"^requests +[1-9]", r"^latency +p50", r"^certificate .* days? left", "^  /catalog "):
                expect(re.search(words, done.stdout, re.MULTILINE), words, told(done))
            expect("quit" not in done.stdout and all(line.strip() for line in done.stdout.splitlines()), told(done))
        finally:
            load.kill()
        for code, words, *arguments in (
            (2, "--once", *admin_of(own)), (2, "status --output json", "--output", "json", *admin_of(own)),
            (2, "100ms", "--interval", "1ms"), (3, "no admin plane", "--once", "--admin", f"127.0.0.1:{free_port()}"),
        ):
            done = run(BINARY, "top", *arguments, env={"TERM": "xterm"})
            expect(done.returncode == code and words in done.stderr and not done.stdout, words, told(done))


# The picture


PICTURE = CHECKOUT / "docs/pictures/top.png"
# Columns, rows, and the pixels of one.
FRAME, CELL = (118, 34), (10, 19)
INKS = {31: "#f47067", 32: "#7fd18a", 33: "#e3b341", 36: "#6cc7d9"}
PAGE = """<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; background: #1b1f27; }}
pre {{ margin: 0; padding: 14px 18px; color: #d7dce4; font: 16.611px/19px "DejaVu Sans Mono", monospace; }}
b {{ font-weight: 700; color: #fff; }} i {{ font-style: normal; color: #77808f; }}
</style><pre>{}</pre>"""


def drawn(text):
    """What tmux has on its screen, with its inks, as HTML."""
    out, bold, dim, ink = [], False, False, None
    for part in re.split(r"(\x1b\[[\d;]*m)", text):
        codes = re.fullmatch(r"\x1b\[([\d;]*)m", part)
        if not codes:
            words = html.escape(part)
            words = f'<span style="color:{ink}">{words}</span>' if ink else words
            words = f"<i>{words}</i>" if dim else words
            out.append(f"<b>{words}</b>" if bold else words)
            continue
        numbers = [int(code or 0) for code in codes[1].split(";")]
        if numbers[:2] == [38, 5]:
            ink = INKS.get(30 + numbers[2], ink)
            continue
        for code in numbers:
            if code in (0, 22):
                bold = dim = False
            bold, dim = bold or code == 1, dim or code == 2
            if code in (0, 39):
                ink = None
            ink = INKS.get(code, ink)
    return PAGE.format("".join(out))


class Shoppers(threading.Thread):
    """Clients at several addresses, more of them now and fewer then, on connections that they keep for a while."""

    PATHS = ("/", "/", "/", "/catalog", "/catalog", "/catalog/shoes", "/catalog/hats", "/cart", "/search", "/api/stock",
             "/assets/app.css", "/assets/app.js", "/favicon.ico", "/account", "/report")

    def __init__(self, own, number):
        super().__init__(daemon=True)
        self.own, self.random, self.address, self.is_over = own, random.Random(number), f"127.0.0.{number + 11}", False
        self.context = ssl.create_default_context(cafile=own.secret.ca)

    def run(self):
        while not self.is_over:
            wire = http.client.HTTPSConnection(
                "127.0.0.1", self.own.port, context=self.context, source_address=(self.address, 0), timeout=20
            )
            with contextlib.suppress(OSError, http.client.HTTPException):
                for _ in range(self.random.randrange(5, 120)):
                    path = self.random.choice(self.PATHS)
                    wire.request("POST" if path == "/cart" else "GET", path, body="x" * 200 if path == "/cart" else None)
                    wire.getresponse().read()
                    # As the tide.
                    pace = 0.012 + 0.010 * math.sin(time.monotonic() / 4) + self.random.random() * 0.01
                    time.sleep(pace * (1 + self.random.random()))
            wire.close()


def shop(ask):
    """An app that is like one: some of it is slow, and some of it breaks."""
    ask.read_body()
    path = ask.path.partition("?")[0]
    slow = {"/report": 0.12, "/search": 0.03, "/api/stock": 0.008}.get(path, 0.001)
    time.sleep(slow * (0.5 + random.random()))
    if path == "/account" and random.random() < 0.04:
        ask.close_connection = True
        return
    broken = {"/favicon.ico": 404, "/report": 500 if random.random() < 0.1 else 200}
    ask.answer(broken.get(path, 200), b"x" * random.randrange(500, 20000))


def pictures(folder):
    """docs/pictures/top.png: the screen after a minute of traffic."""
    class Stage:
        pass

    stage = Stage()
    stage.folder, stage.public = folder, Secret(folder / "shop", names="DNS:shop.example,DNS:localhost,IP:127.0.0.1")
    pair = stage.public.dir / "..v1"
    extensions = f"subjectAltName={stage.public.names}\nextendedKeyUsage=serverAuth\n"
    stage.public.authority.sign("/CN=shop", pair / "tls.crt", pair / "tls.key", extensions, days=("-days", "75"))
    # Head and body are two writes, which would wait for each other.
    Site.Asked.disable_nagle_algorithm = True
    with fronted(stage, "shop", shop, "--service-name", "shop") as (own, _):
        shoppers = [Shoppers(own, number) for number in range(6)]
        with watching(stage, "shop-top", *admin_of(own), size=FRAME) as screen:
            screen.shows("ready, up")
            for one in shoppers:
                one.start()
            time.sleep(58)
            with Wire(own) as wire:
                wire.says(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
            run("openssl", "s_client", "-connect", f"127.0.0.1:{own.port}", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
            time.sleep(4)
            text = screen.text("-e")
        for one in shoppers:
            one.is_over = True
    page = folder / "top.html"
    page.write_text(drawn(text.rstrip("\n")))
    width, height = FRAME[0] * CELL[0] + 36, FRAME[1] * CELL[1] + 28
    PICTURE.parent.mkdir(exist_ok=True)
    process = chromium(
        "picture", folder, f"--screenshot={PICTURE}", f"--window-size={width},{height}", "--hide-scrollbars", page.as_uri()
    )
    process.child.wait(60)
    print(f"{PICTURE}: {PICTURE.stat().st_size} bytes")


def main():
    if sys.argv[1:] != ["pictures"]:
        sys.exit("usage: top.py pictures")
    with tempfile.TemporaryDirectory(prefix="portcullis-pictures-") as folder:
        try:
            pictures(Path(folder))
        finally:
            Process.kill_all()


if __name__ == "__main__":
    main()
