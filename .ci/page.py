#!/usr/bin/env python3
"""End to end: the page at `GET /` of the admin plane, driven in headless Chromium by `.ci/page/drive.mjs`. Each check has a
sidecar of its own. `.ci/page.py pictures [FOLDER]` makes the README's pictures anew, which takes five minutes."""

import base64
import contextlib
import functools
import http.client
import json
import math
import os
import random
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.dont_write_bytecode = True

from admin import TOKENS, Plane, answered, bearer, token_file  # noqa: E402
from certificates import running  # noqa: E402
from props import (  # noqa: E402
    CHECKOUT, CLEAN, Answer, Checks, Failed, Process, Secret, Sidecar, Skipped, expect, free_port, run, served_fingerprint,
    told, unpack, venv,
)
from protocols import Site  # noqa: E402

check = Checks()
# Playwright without a browser of its own, and the judge of accessibility.
PACKAGES = ("playwright-core@1.65.1", "axe-core@4.14.1")
DRIVER = Path(__file__).resolve().parent / "page/drive.mjs"


@functools.cache
def modules(folder):
    """A folder with the packages from npm in it."""
    into = folder / "page-modules"
    into.mkdir()
    (into / "package.json").write_text("{}")
    install = ("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", *PACKAGES)
    done = run(*install, cwd=into, env=dict(os.environ), timeout=300)
    expect(done.returncode == 0, told(done))
    return into


def drive(stage, scenario, url, patience=60, more=None, **answers):
    """Runs a scenario; what it has done outside of the page is done by these functions, by their names. Returns what it
    tells."""
    browser = shutil.which("chromium")
    if not browser:
        raise Skipped("there is no chromium here")
    home = stage.folder / f"page-{scenario}-home"
    home.mkdir()
    env = {
        **CLEAN, **(more or {}), "HOME": str(home), "TMPDIR": str(home), "PAGE_MODULES": str(modules(stage.folder)),
        "PAGE_CHROMIUM": browser, **{name: os.environ[name] for name in ("PAGE_SHOTS",) if name in os.environ},
    }
    child = subprocess.Popen(
        ["node", str(DRIVER), scenario, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, env=env, start_new_session=True,
    )
    watchdog = threading.Timer(patience, lambda: os.killpg(child.pid, 9))
    watchdog.start()
    seen, words = [], None
    try:
        for line in child.stdout:
            if line.startswith("@"):
                word, *details = json.loads(line[1:])
                child.stdin.write(json.dumps(answers[word](*details)) + "\n")
                child.stdin.flush()
            elif line.startswith("="):
                words = line[1:].strip()
            else:
                seen.append(line)
        code = child.wait(10)
    finally:
        watchdog.cancel()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, 9)
        child.wait()
        child.stdin.close()
        child.stdout.close()
    expect(code == 0, f"exit {code}", "".join(seen))
    return words


def shop(ask):
    """An app whose paths say what they want."""
    if "slow" in ask.path:
        time.sleep(0.3)
    ask.read_body()
    status = 404 if "missing" in ask.path else 500 if "boom" in ask.path else 302 if "login" in ask.path else 200
    ask.answer(status, b"x" * random.choice((12, 340, 2048)), **({"Location": "/"} if status == 302 else {}))


@contextlib.contextmanager
def shown(stage, name, *arguments, secret=None, page=shop):
    """A sidecar with the app behind it, and the address of its page."""
    app = Site(page)
    try:
        with running(stage, f"page-{name}", secret or stage.public, *arguments, target=app.url) as own:
            own.app = app
            own.page = f"http://{own.sidecar.address['admin']}/"
            yield own
    finally:
        app.server.shutdown()
        app.server.server_close()


def getter(own):
    def get(path):
        return Answer.get("--cacert", own.secret.ca, f"https://localhost:{own.port}{path}").status

    return get


def loader(own):
    def load(number):
        """So many requests: of ten, one is not found, one fails and one is slow."""
        context = ssl.create_default_context(cafile=own.secret.ca)
        connection = http.client.HTTPSConnection("localhost", own.port, context=context, timeout=20)
        for path in ("/a", "/b", "/missing", "/c", "/boom", "/d", "/e", "/slow", "/f", "/g") * (number // 10):
            connection.request("GET", path)
            connection.getresponse().read()
        connection.close()

    return load


def phase_of(own, *options):
    return lambda: Plane(own, *options).get("/status").json()["phase"]


@check("curl gets the page with a policy whose digests are those of its script and style; a known version is not sent again")
def _(stage):
    with shown(stage, "fields") as own:
        plane = Plane(own)
        answer = plane.get("/")
        expect(answer.status == 200 and answer.headers["content-type"] == "text/html; charset=utf-8", answer.seen()[:2000])
        expect(answer.body.startswith("<!doctype html>") and len(answer.body.encode()) < 84_000, len(answer.body.encode()))
        policy = answer.headers["content-security-policy"]
        for element in ("script", "style"):
            (text,) = re.findall(rf"<{element}>(.*?)</{element}>", answer.body, re.DOTALL)
            done = run("openssl", "dgst", "-sha256", "-r", text=text)
            wanted = base64.b64encode(bytes.fromhex(done.stdout.split()[0])).decode()
            expect(f"{element}-src 'sha256-{wanted}'" in policy, policy)
        for part in ("default-src 'none'", "connect-src 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"):
            expect(part in policy, policy)
        expect("unsafe" not in policy and "http" not in policy, policy)
        wanted = {"referrer-policy": "no-referrer", "cache-control": "no-cache", "cross-origin-opener-policy": "same-origin"}
        expect(wanted.items() <= answer.headers.items(), answer.headers)
        again = plane.get("/", "-H", f"If-None-Match: {answer.headers['etag']}")
        expect(again.status == 304 and not again.body, again.seen())
        head = plane.get("/", "-I")
        expect(head.status == 200 and head.headers["etag"] == answer.headers["etag"] and not head.body, head.seen())
        expect(plane.get("/", "-H", "Origin: http://evil.example").status == 403, "a foreign origin")
        expect(own.plane("probe", "/").status == 404, "the probe plane has it")
    return f"{len(answer.body.encode()) / 1024:.1f} KiB"


@check("the page loads without an error under its policy, nothing it asks leaves its origin, and a request is there in a second")
def _(stage):
    with shown(stage, "loads") as own:
        return drive(stage, "loads", own.page, get=getter(own))


@check("the page's rates, percentiles and errors are those of the traffic")
def _(stage):
    with shown(stage, "measures") as own:
        return drive(stage, "measures", own.page, load=loader(own))


@check("of a flood the page keeps 300 rows, counts what it skips, stays quick, and shows what comes after")
def _(stage):
    with shown(stage, "floods") as own:
        def flood(number):
            done = run("h2load", "-n", number, "-c", 8, "-m", 8, f"https://localhost:{own.port}/flood", timeout=60)
            expect(f"{number} succeeded" in done.stdout, told(done))

        return drive(stage, "floods", own.page, get=getter(own), flood=flood)


@check("the page's filters are applied by the server, kept in its address, and told of when they are none")
def _(stage):
    with shown(stage, "filters") as own:
        return drive(stage, "filters", own.page, get=getter(own))


@check("everything on the page is reached by keys alone: rows open, hold still while open, pause, and go on")
def _(stage):
    with shown(stage, "keyboard") as own:
        return drive(stage, "keyboard", own.page, get=getter(own))


@check("the page changes the target after a question, counts down, confirms, reverts, is told of others, and of what is refused")
def _(stage):
    with shown(stage, "target") as own:
        plane, first, second = Plane(own), own.app.url, stage.second.url
        return drive(
            stage, "target", own.page, target=plane.target, change=lambda url: answered(plane.change(url))["url"],
            targets=lambda: {"first": first, "second": second, "nobody": f"http://127.0.0.1:{free_port()}"},
        )


@check("the page of a locked target says that it is locked, and does not let it be changed")
def _(stage):
    with shown(stage, "locked", "--target-locked") as own:
        return drive(stage, "locked", own.page)


@check("the page shows what is served and for how long, what a reload really did, and the history of reloads")
def _(stage):
    secret = Secret(stage.folder / "page-secret")
    with shown(stage, "certificates", secret=secret) as own:
        secret.write("..v2")

        def spoil():
            """The key of another certificate."""
            shutil.copytree(secret.dir / "..v1", secret.dir / "..bad")
            shutil.copy(secret.dir / "..v2/tls.key", secret.dir / "..bad/tls.key")
            secret.publish("..bad")

        told_more = drive(
            stage, "certificates", own.page, spoil=spoil, renew=lambda: secret.publish("..v2"),
            served=lambda: {"fingerprint": served_fingerprint(own.port)},
        )
        history = Plane(own).get("/certs").json()["history"]
        expect([one["generation"] for one in history][0::len(history) - 1] == [2, 1], history)
        expect(history == sorted(history, key=lambda one: one["time"], reverse=True) and len(history) <= 10, history)
    return told_more


@check("the page survives a restart of the sidecar: it says so, goes on by itself, marks the gap, and has no rate below zero")
def _(stage):
    with shown(stage, "restart") as own:
        addresses = {f"PORTCULLIS_{name}": own.sidecar.address[of] for name, of in (("LISTEN", "https"), ("ADMIN", "admin"))}
        env = {
            "PORTCULLIS_CERT_DIR": str(own.secret.dir), "PORTCULLIS_PROBE": "127.0.0.1:0", "TARGET": own.app.url, **addresses,
        }
        binary, folder = own.sidecar.child.args[0], stage.folder
        later = []

        def start():
            later.append(Sidecar("page-restarted", binary, ["run"], env, folder))

        loader(own)(30)
        try:
            return drive(stage, "restart", own.page, get=getter(own), kill=own.sidecar.kill, start=start)
        except Failed as error:
            raise Failed(f"{error}\n{later[0].tail() if later else ''}") from error
        finally:
            for sidecar in later:
                sidecar.kill()


# Markup in a path is refused by the sidecar already; what is encoded is not, and fields may say anything.
RAW = (
    "GET /'onerror=document.title='owned'// HTTP/1.1\r\nUser-Agent: \"><svg onload=document.title='owned'>",
    "GET /%3Cimg%20src=x%20onerror=document.title='owned'%3E HTTP/1.1\r\nReferer: javascript:document.title='owned'",
    "GET /%22%3E HTTP/1.1\r\nUser-Agent: </td><script>document.title='owned'</script>",
    "GET /invoice-\u202egpj.exe HTTP/1.1\r\nUser-Agent: \u2066\u202eevil\u200b",
    f"GET /{'w' * 8000} HTTP/1.1\r\nUser-Agent: {'W' * 4000}",
)


@check("paths and fields that are markup, script, or turn the text around are shown as text, and do nothing")
def _(stage):
    with shown(stage, "hostile") as own:
        def hostile():
            for request in RAW:
                context = ssl.create_default_context(cafile=own.secret.ca)
                with socket.create_connection(("localhost", own.port)) as plain:
                    with context.wrap_socket(plain, server_hostname="localhost") as secured:
                        secured.sendall(f"{request}\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
                        while secured.recv(4096):
                            pass

        return drive(stage, "hostile", own.page, hostile=hostile)


@check("fields that are missing or new, and garbage among metrics and records, break nothing on the page")
def _(stage):
    with shown(stage, "sparse") as own:
        return drive(stage, "sparse", own.page)


@check("the page asks for a token where there are any, keeps it in its tab only, says when it is wrong, gone or only reads")
def _(stage):
    tokens = token_file(stage, "page")
    with shown(stage, "token", "--admin-token-file", tokens) as own:
        refused = Plane(own).get("/status")
        expect(Plane(own).get("/").status == 200 and refused.status == 401, refused.seen())
        result = drive(
            stage, "token", own.page, get=getter(own), phase=phase_of(own, *bearer("watch")),
            tokens=lambda: {"read": TOKENS["watch"][1], "write": TOKENS["deploy"][1]},
            revoke=lambda: tokens.write_text("other write 00112233445566778899aabbccddeeff\n") and None,
        )
        said = own.sidecar.stdout.read_text() + own.sidecar.stderr.read_text()
        expect(not any(token in said for _, token in TOKENS.values()), "a token is told")
    return result


@check("the page drains the sidecar after a question that says what it means, and shows how far that is")
def _(stage):
    with shown(stage, "drain", "--drain-delay", "2s", "--drain-timeout", "2s") as own:
        return drive(stage, "drain", own.page, phase=phase_of(own))


@check("axe-core finds nothing wrong with the page, its questions and its form for a token, in light and in dark")
def _(stage):
    with contextlib.ExitStack() as stack:
        own = stack.enter_context(shown(stage, "accessible"))
        guarded = stack.enter_context(shown(stage, "guarded", "--admin-token-file", token_file(stage, "page-guarded")))
        return drive(
            stage, "accessible", own.page, load=loader(own), guarded=lambda: {"url": guarded.page},
            targets=lambda: {"second": stage.second.url},
        )


@check("the page fits a screen of 400 pixels, and one of 1280 at 200 %, without scrolling sideways")
def _(stage):
    with shown(stage, "fits") as own:
        return drive(stage, "fits", own.page, load=loader(own))


@check("the page is light or dark as the system says, or as was chosen, also the next time")
def _(stage):
    with shown(stage, "colours") as own:
        return drive(stage, "colours", own.page)


@check("the page asks for nothing while its tab is hidden, and shows what came meanwhile when it is seen again")
def _(stage):
    with shown(stage, "hidden") as own:
        return drive(stage, "hidden", own.page, get=getter(own))


# Pictures for the README


# What clients ask of a shop, and how often.
ASKED = {
    ("GET", "/"): 8, ("GET", "/catalog/shoes"): 7, ("GET", "/cart"): 6, ("GET", "/search"): 5, ("GET", "/assets/app.css"): 9,
    ("GET", "/api/v1/stock/4711"): 8, ("POST", "/orders"): 3, ("PUT", "/api/v1/profile"): 2, ("GET", "/login"): 3,
    ("GET", "/missing/logo.png"): 2, ("GET", "/account"): 1.5, ("GET", "/slow/report"): 2, ("GET", "/boom/checkout"): 1,
}
AGENTS = ("Mozilla/5.0 (X11; Linux x86_64) Firefox/145.0", "curl/8.14.1", "okhttp/4.12", "Mozilla/5.0 (iPhone) Safari/605")


def busy_shop(ask):
    """The same, as fast and as slow as an old application is."""
    slow = {"/search": 0.06, "/cart": 0.012, "/slow/report": 0.4, "/orders": 0.03}.get(ask.path, 0.004)
    time.sleep(slow * random.uniform(0.3, 1.8))
    ask.read_body()
    status = {"/orders": 201, "/login": 302, "/missing/logo.png": 404, "/boom/checkout": 500, "/account": 403}.get(ask.path, 200)
    ask.answer(status, b"x" * random.choice((12, 340, 2048, 18000)))


def client(own, number, stop):
    """Asks now more and now less often, over connections that it keeps for a while."""
    context = ssl.create_default_context(cafile=own.secret.ca)
    connection = None
    while not stop.is_set():
        if connection is None or random.random() < 0.04:
            connection = http.client.HTTPSConnection(
                "localhost", own.port, context=context, timeout=10, source_address=(f"127.0.0.{number + 10}", 0)
            )
        method, path = random.choices(list(ASKED), list(ASKED.values()))[0]
        with contextlib.suppress(OSError, http.client.HTTPException):
            fields = {"User-Agent": random.choice(AGENTS), "Host": "shop.example"}
            connection.request(method, path, body=b"a" * 700 if method != "GET" else None, headers=fields)
            connection.getresponse().read()
        now = time.monotonic()
        stop.wait(random.expovariate(6 * (1.1 + math.sin(now / 19) * 0.6 + math.sin(now / 5) * 0.2)))


def typefaces(folder):
    """What a desktop has for a system's typeface; the bare machine of a check has none. The variable that names it."""
    for package in ("fonts-inter", "fonts-jetbrains-mono"):
        unpack(package, folder / "debian-lists", folder / package)
    alias = "<alias binding='strong'><family>{}</family><prefer><family>{}</family></prefer></alias>"
    names = {"system-ui": "Inter", "sans-serif": "Inter", "ui-monospace": "JetBrains Mono", "monospace": "JetBrains Mono"}
    aliases = "".join(alias.format(*pair) for pair in names.items())
    config = folder / "fonts.conf"
    folders = f"<dir>{folder}</dir><dir>/usr/share/fonts</dir><cachedir>{folder}/fonts</cachedir>"
    config.write_text(f"<fontconfig>{folders}{aliases}</fontconfig>")
    return {"FONTCONFIG_FILE": str(config)}


PILLOW = "12.0.0"
# 256 colours are enough for a page, and a third of the bytes.
SMALLER = """
import sys, PIL.Image
picture = PIL.Image.open(sys.argv[1]).convert("RGB")
picture.quantize(256, method=PIL.Image.Quantize.MAXCOVERAGE, kmeans=3, dither=0).save(sys.argv[1], optimize=True)
"""


class Bench:
    """As much of a stage as the pictures need."""

    def __init__(self, folder):
        self.folder = folder


def pictures(into, seconds=310):
    """The page in both schemes, after five minutes of traffic."""
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="portcullis-page-") as folder, contextlib.ExitStack() as stack:
        stack.callback(Process.kill_all)
        stage = Bench(Path(folder))
        secret = Secret(stage.folder / "shop", names="DNS:shop.example,DNS:www.shop.example,DNS:localhost")
        tls = secret.dir / "..v2"
        tls.mkdir()
        extensions = f"subjectAltName={secret.names}\nextendedKeyUsage=serverAuth\n"
        secret.authority.sign("/CN=shop.example", tls / "tls.crt", tls / "tls.key", extensions, days=("-days", "64"))
        own = stack.enter_context(shown(stage, "pictured", "--service-name", "shop", secret=secret, page=busy_shop))
        stop, began = threading.Event(), []
        clients = [threading.Thread(target=client, args=(own, number, stop), daemon=True) for number in range(8)]

        def traffic():
            began.append(time.monotonic())
            for one in clients:
                one.start()

        def is_enough():
            passed = time.monotonic() - began[0]
            if passed > seconds / 2 and not (secret.dir / "swapped").exists():
                (secret.dir / "swapped").touch()
                Plane(own).post("/certs/reload")
                secret.publish("..v2")
            time.sleep(1)
            return passed > seconds

        palette = venv(stage.folder, "pillow", f"pillow=={PILLOW}") / "bin/python"
        more = {**typefaces(stage.folder), "PAGE_PICTURES": str(into.resolve())}
        try:
            drive(stage, "pictures", own.page, patience=seconds + 90, more=more, traffic=traffic, is_enough=is_enough)
        finally:
            stop.set()
            for one in clients:
                one.join(5)
        for picture in into.glob("page-*.png"):
            done = run(palette, "-c", SMALLER, picture)
            expect(done.returncode == 0, told(done))
    for picture in sorted(into.glob("page-*.png")):
        print(f"{picture}: {picture.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    if sys.argv[1:2] != ["pictures"]:
        sys.exit(f"{__doc__}\nThe checks are run by .ci/e2e.")
    pictures(Path(sys.argv[2]) if len(sys.argv) > 2 else CHECKOUT / "docs/pictures")
