"""End to end: which targets are refused, in any disguise, and a change that is undone when it does not prove itself. Each
check has a sidecar of its own."""

import collections
import contextlib
import http.client
import sys
import threading
import time
from concurrent import futures

from admin import SECRET, Plane, answered, audits, refused, unchanged
from certificates import running
from limits import clients_of, trusting
from props import Answer, App, Checks, Network, Process, expect, free_port, run, told, until
from protocols import fronted

check = Checks()


# What no target may be


# Spellings of the loopback. Those of no fixed meaning are no addresses to us.
ODD = (
    "2130706433", "0x7f000001", "0X7F000001", "017700000001", "127.1", "127.0.1", "0x7f.0.0.1", "0177.0.0.1", "127.0.0.01",
    "0", "127.0.0.1.", "%31%32%37.0.0.1", "127\u30020\u30020\u30021", "\u2460\u2461\u2466.0.0.1", "localhost..",
    "[::1%25lo]",
)
MAPPED = (
    "127.0.0.1", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:FFFF:7f00:0001]", "localhost", "LocalHost",
    "localhost.",
)
EVERYWHERE = (*MAPPED, "[::1]", "[0:0:0:0:0:0:0:1]", "127.0.0.2", "127.255.255.254")
FAR = (
    "192.0.2.1", "10.0.0.1", "[2001:db8::1]", "169.254.169.254", "[fe80::1]", "0.0.0.0", "[::]", "[::127.0.0.1]",
    "[64:ff9b::127.0.0.1]", "ip6-localhost", "x.localhost", "localhost.example", "metadata.google.internal",
)


@check("a target that is the sidecar in any spelling, is not on the loopback, or hides where it leads is refused with why")
def _(stage):
    everywhere = ("--redirect", "[::]:0", "--probe", "[::]:0")
    with running(stage, "refused", stage.public, *everywhere, target=stage.second.url) as own:
        plane, port = Plane(own), own.sidecar.port_of
        app = stage.second.port
        cases = [("loop", f"http://{host}:{port('admin')}") for host in MAPPED]
        cases += [("loop", f"http://{host}:{port(of)}") for of in ("https", "redirect", "probe") for host in EVERYWHERE]
        cases += [("loop", f"{scheme}127.0.0.1:{own.port}") for scheme in ("", "h2c://", "HTTP://")]
        cases += [("malformed", f"http://{host}:{to}") for host in ODD for to in (own.port, port("admin"), app)]
        cases += [("not_local", f"http://{host}:{to}") for host in FAR for to in (own.port, 80)]
        # Of two hosts a reader may take the other one.
        cases += [
            ("malformed", f"http://{host}")
            for host in (
                f"user@127.0.0.1:{app}", f"user:{SECRET}@localhost:{app}", f"127.0.0.1:{app}@169.254.169.254",
                f"127.0.0.1:{app}\\@169.254.169.254", f"127.0.0.1:{app}#@169.254.169.254", f"127.0.0.1:{app}?x",
                f"127.0.0.1:{app}/path", f"/127.0.0.1:{app}", f"127.0.0.1:{app} ", "127.0.0.1:0",
                "127.0.0.1:65536", "", f"127.0.0.1:{app}\r\nX: y",
            )
        ]
        others = (f"https://127.0.0.1:{app}", "ftp://127.0.0.1:1", "unix:app.sock", "file:///etc/passwd")
        cases += [("malformed", url) for url in others]
        with unchanged(plane):
            for reason, url in cases:
                for probe in (True, False):
                    said = refused(plane.change(url, probe=probe), 422, reason)
                    expect(said.startswith("nothing was changed: "), said)
            refused(plane.change(stage.second.url, confirm_within="soon"), 422, "malformed")
            refused(plane.change(f"http://127.0.0.1:{free_port()}"), 422, "probe_failed")
            refused(plane.change(f"unix:{stage.folder}/nobody.sock"), 422, "probe_failed")
        expect(own.get().body == "Hello you!", "the app's hello")
        changes = until(3, "audit records", lambda: audits(own, "target_change"))
        expect({record["result"] for record in changes} == {"refused"}, changes[0])
        expect(SECRET not in own.sidecar.stdout.read_text(), "a password is in the audit")
    return f"{len(cases)} spellings, with a probe and without"


@check("the probe of a target follows no redirect, wherever it leads; the status that it wants is the one that counts")
def _(stage):
    def page(ask):
        paths = {"/moved": 302, "/inside": 307, "/broken": 500, "/healthz": 200, "/none": 204}
        fields = {"Location": leads[ask.path]} if ask.path in leads else {}
        ask.answer(paths[ask.path], b"x", **fields)

    leads = {"/inside": "/healthz"}

    with fronted(stage, "elsewhere", page) as (_, elsewhere), fronted(stage, "moved", page) as (own, app):
        leads["/moved"], plane = f"{elsewhere.url}/healthz", Plane(own)
        wanted = [("/moved", 200), ("/inside", 200), ("/broken", 200), ("/none", 200), ("/healthz", 204)]
        with unchanged(plane):
            for path, status in wanted:
                answer = plane.change(app.url, probe_path=path, probe_status=status)
                expect(path in refused(answer, 422, "probe_status"), answer.seen())
            tried = answered(plane.change(elsewhere.url, probe_path="/healthz", dry_run=True))
            expect(tried["dry_run"] and tried["url"] == app.url, tried)
            expect((tried["checked"]["url"], tried["checked"]["status"]) == (elsewhere.url, 200), tried)
        expect([asked.path for asked in elsewhere.asked] == ["/healthz"], elsewhere.asked)
        expect([asked.path for asked in app.asked] == [path for path, _ in wanted], app.asked)
        for path, status in (("/moved", 302), ("/none", 204)):
            answered(plane.change(app.url, probe_path=path, probe_status=status))


# Listens where it is told to, and writes down who comes.
SITE = """
import http.server, sys, threading
log, port, *addresses = sys.argv[1:]

class Site(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_):
        pass

class Server(http.server.ThreadingHTTPServer):
    def verify_request(self, request, client):
        with open(log, "a") as file:
            file.write(self.server_address[0] + "\\n")
        return True

servers = [Server((address, int(port)), Site) for address in addresses]
print("listening", flush=True)
for server in servers:
    threading.Thread(target=server.serve_forever).start()
"""


class Room(Network):
    """With a file of hosts of its own, in which the addresses of others are at home."""

    # A private one, one of a link, and the one where clouds keep their credentials.
    PRIVATE, LINK, METADATA = "10.99.7.7", "169.254.7.7", "169.254.169.254"

    def __init__(self, stage, name):
        folder = stage.folder / f"{name}-room"
        folder.mkdir()
        self.hosts, self.log, resolver = folder / "hosts", folder / "log", folder / "nsswitch"
        self.means()
        self.log.touch()
        resolver.write_text("hosts: files\n")
        others = (self.PRIVATE, self.LINK, self.METADATA)
        binds = [(self.hosts, "/etc/hosts"), (resolver, "/etc/nsswitch.conf")]
        super().__init__(
            stage, name, *(f"{{ip}} address add {ip}/32 dev lo" for ip in others),
            *(f"mount --bind '{from_}' {to}" for from_, to in binds),
        )
        self.port = free_port()
        command = [*self.inside, sys.executable, "-c", SITE, self.log, self.port, "127.0.0.1", *others]
        self.site = Process(f"{name}-site", command, {}, stage.folder)
        until(5, "the site listens", lambda: "listening" in self.site.stdout.read_text())

    def means(self, /, **names):
        """From now on these names (under .test) lead there."""
        lines = [f"{ip} {name}.test\n" for name, all_of in names.items() for ip in all_of.split()]
        self.hosts.write_text("127.0.0.1 localhost\n" + "".join(lines))

    def visited(self):
        return self.log.read_text().split()

    def close(self):
        self.site.kill()
        super().close()


@contextlib.contextmanager
def in_room(stage, name, *arguments):
    room = Room(stage, name)
    try:
        target = f"http://127.0.0.1:{room.port}"
        with running(stage, name, stage.public, *arguments, target=target, under=room.inside) as own:
            plane = Plane(own, under=room.inside)
            yield room, own, plane
    finally:
        room.close()


@check("a remote target may not lead to the sidecar, the link or the cloud's credentials, nor may a name that resolves so")
def _(stage):
    with in_room(stage, "named", "--allow-remote-target") as (room, own, plane):
        leads = {
            "loop": {
                "self4": "127.0.0.1", "self6": "::1", "private-self": room.PRIVATE, "mapped": "::ffff:127.0.0.1",
                "any": "0.0.0.0", "twice": "192.0.2.1 127.0.0.1",
            },
            "link_local": {"link": room.LINK, "link6": "fe80::1", "one-of-two": f"{room.PRIVATE} {room.LINK}"},
            "metadata": {
                "cloud": room.METADATA, "cloud6": "fd00:ec2::254", "ali": "100.100.100.200",
                "hidden": f"::ffff:{room.METADATA}",
            },
            "unusable": {"nowhere": "0.0.0.0", "all": "224.0.0.1"},
            "unresolved": {},
        }
        room.means(app=room.PRIVATE, **{name: ip for names in leads.values() for name, ip in names.items()})
        cases = [(reason, f"{name}.test") for reason, names in leads.items() for name in names]
        cases += [("link_local", host) for host in (room.LINK, "169.254.0.1", "[fe80::1]", "[::ffff:169.254.7.7]")]
        cases += [
            ("metadata", host)
            for host in (
                room.METADATA, "[::ffff:a9fe:a9fe]", "[64:ff9b::169.254.169.254]", "[fd00:ec2::254]", "100.100.100.200",
                "168.63.129.16", "metadata.google.internal", "METADATA.google.internal.", "instance-data",
            )
        ]
        cases += [("unusable", host) for host in ("255.255.255.255", "[ff02::1]", "[::10.0.0.1]")]
        cases += [("unresolved", "no-such-name.test")]
        with unchanged(plane):
            for reason, host in cases:
                port = own.port if reason == "loop" else room.port
                for probe in (True, False):
                    answer = plane.change(f"http://{host}:{port}", probe=probe)
                    refused(answer, 422, reason)
        expect(not room.visited(), "these were visited", *room.visited())
        moved = answered(plane.change(f"http://app.test:{room.port}"))
        expect(moved["checked"]["address"] == f"{room.PRIVATE}:{room.port}", moved)
        expect(room.visited() == [room.PRIVATE], room.visited())
    return f"{len(cases)} targets, with a probe and without"


@check("a name that leads elsewhere once it was accepted keeps its last good address or is 502; nothing forbidden is seen")
def _(stage):
    flags = ("--allow-remote-target", "--resolve-every", "100ms")
    with in_room(stage, "rebound", *flags) as (room, own, plane):
        def ask():
            url = f"https://localhost:{own.port}/rebound"
            done = run(*room.inside, "curl", "-i", "-sS", "--max-time", "20", "--cacert", own.secret.ca, url)
            return Answer(done).status

        def said():
            return own.sidecar.stderr.read_text()

        def is_refused(ip):
            # Asked for by the requests, in the background.
            return ask() == 200 and f"stands for {ip}" in said()

        room.means(app=room.PRIVATE)
        answered(plane.change(f"http://app.test:{room.port}"))
        expect(ask() == 200, "before")
        for ip in (room.LINK, room.METADATA, "fe80::1"):
            room.means(app=ip)
            until(6, f"{ip} is refused", lambda ip=ip: is_refused(ip))
        expect(set(room.visited()) == {room.PRIVATE}, room.visited())
        # One that never was good stands for nothing else.
        room.means(app=room.PRIVATE, new=room.PRIVATE)
        answered(plane.change(f"http://new.test:{room.port}", probe=False))
        room.means(new=room.METADATA)
        expect(ask() == 502, "nothing to fall back on")
        until(3, "its record", lambda: own.records()[-1]["reason"] == "upstream_forbidden")
        room.means(new=room.PRIVATE)
        until(6, "it is answered again", lambda: ask() == 200)

        # By the port of ours it was nobody's at first.
        for port in (own.sidecar.port_of("admin"), own.port):
            room.means(self="192.0.2.1")
            answered(plane.change(f"http://self.test:{port}", probe=False))
            for ip in ("127.0.0.1",) if port != own.port else ("127.0.0.1", "::1", room.PRIVATE):
                room.means(self=ip)
                until(6, f"{ip} is refused", lambda: ask() == 502)
                until(3, "its record", lambda: own.records()[-1]["reason"] == "upstream_loop")
        # And to no end does a request come back to us: each has one record.
        expect(not [record for record in own.records() if record["path"] != "/rebound"], "others")
        expect(set(room.visited()) == {room.PRIVATE}, room.visited())


# A change on trial


@contextlib.contextmanager
def second_app(stage):
    """Another one of the Express app, which is in nobody's way."""
    app = App("trial-app", stage.second.code, stage.folder)
    try:
        yield app
    finally:
        app.kill()


def is_at(own, app):
    """Whether the next request goes to this app, by its record."""
    before = len(own.records())
    answer = own.get()
    expect((answer.status, answer.body) == (200, "Hello you!"), answer.seen())
    return until(3, "its record", lambda: own.records()[before:])[0]["target"] == app.url


@check("a target that nobody confirms is left in time; a confirmed one stays, and a restart returns to the configured one")
def _(stage):
    with second_app(stage) as other, running(stage, "trial", stage.public, target=stage.second.url) as own:
        plane = Plane(own)
        changed = plane.change(other.url, confirm_within="1s")
        trial = answered(changed)["trial"]
        expect(trial["returns_to"] == stage.second.url and trial["seconds_left"] <= 1, trial)
        expect(is_at(own, other), "it is not in force")
        expect(own.metric("portcullis_target_drift") == 1, "no drift in the metrics")
        began = time.monotonic()
        until(3, "it is undone", lambda: plane.target()["url"] == stage.second.url)
        took = time.monotonic() - began
        view = plane.target()
        expect(view["last_rollback"]["reason"] == "unconfirmed" and not view["drift"] and "trial" not in view, view)
        expect(is_at(own, stage.second) and own.metric("portcullis_target_drift") == 0, "it is not in force again")
        record = until(3, "an audit record", lambda: audits(own, "target_rollback"))[0]
        expect(record["reason"] == "unconfirmed" and other.url in record["detail"], record)
        refused(plane.post("/target/confirm"), 409, "nothing_to_confirm")
        stale = changed.headers["etag"]
        refused(plane.change(other.url, "-H", f"If-Match: {stale}"), 412, "changed_meanwhile")

        answered(plane.change(other.url, confirm_within="1s"))
        kept = answered(plane.post("/target/confirm"))
        expect("trial" not in kept and kept["url"] == other.url, kept)
        time.sleep(1.6)
        expect(is_at(own, other), "confirmed, and not kept")
        view = plane.get("/status").json()["target"]
        expect(view["drift"] and view["after_restart"] == stage.second.url, view)
        # In the middle of a trial, too.
        answered(plane.change(stage.second.url, confirm_within="60s"))
        answered(plane.change(other.url, confirm_within="60s"))
        own.sidecar.kill()
    with running(stage, "trial-again", stage.public, target=stage.second.url) as own:
        view = Plane(own).target()
        expect(view["url"] == stage.second.url and not view["drift"] and "trial" not in view, view)
        expect(is_at(own, stage.second), "it is not in force after a restart")
    return f"undone after {took:.1f} s"


@check("of ten changes that go by the same ETag one is made and nine are told they came late; without one all are made")
def _(stage):
    with fronted(stage, "raced", lambda ask: ask.answer(200, b"hello")) as (own, app):
        plane = Plane(own)

        def at_once(*options):
            urls = [f"http://127.0.0.{number}:{app.port}" for number in range(1, 11)]
            with futures.ThreadPoolExecutor(len(urls)) as clients:
                answers = [*clients.map(lambda url: plane.change(url, *options, probe=False), urls)]
            made = [url for url, answer in zip(urls, answers) if answer.status == 200]
            for answer in answers:
                if answer.status != 200:
                    refused(answer, 412, "changed_meanwhile")
                else:
                    expect(answer.json()["url"] in urls, answer.seen())
            expect(plane.target()["url"] in made, plane.target(), made)
            return len(made)

        expect(at_once("-H", f"If-Match: {plane.get('/target').headers['etag']}") == 1, "more than one, or none")
        expect(at_once() == 10, "some were refused")
        changes = until(3, "audit records", lambda: (r := audits(own, "target_change"))[19:] and r)
        expect(collections.Counter(record["result"] for record in changes) == {"done": 11, "refused": 9}, changes[-1])


@check("an app that dies on trial under load is left with nobody's help; from then on no request fails, and none has hung")
def _(stage):
    with second_app(stage) as other, running(
        stage, "dies", stage.public, "--connect-retry-for", "200ms", target=stage.second.url
    ) as own:
        plane, over, answers = Plane(own), threading.Event(), collections.deque()

        def ask():
            context = trusting(stage)
            while not over.is_set():
                began = time.monotonic()
                try:
                    connection = http.client.HTTPSConnection("localhost", own.port, context=context, timeout=10)
                    connection.request("GET", "/")
                    status = connection.getresponse().status
                    connection.close()
                except OSError as error:
                    status = repr(error)
                answers.append((began, time.monotonic(), status))
                time.sleep(0.02)

        clients = [threading.Thread(target=ask) for _ in range(8)]
        try:
            for client in clients:
                client.start()
            answered(plane.change(other.url, confirm_within="60s"))
            until(5, "requests reach it", lambda: plane.target()["trial"]["exchanges"] > 50)
            died = time.monotonic()
            other.kill()
            view = until(15, "it is undone", lambda: (v := plane.target())["url"] == stage.second.url and v)
            back = time.monotonic()
            rollback = view["last_rollback"]
            expect(rollback["reason"] == "failures" and rollback["from"] == other.url, view)
            until(5, "200 requests after that", lambda: sum(began > back for began, *_ in answers) > 200)
        finally:
            over.set()
            for client in clients:
                client.join(15)
        after = [status for began, _, status in answers if began > back]
        expect(set(after) == {200}, collections.Counter(after))
        before = [status for _, ended, status in answers if ended < died]
        expect(set(before) == {200}, collections.Counter(before))
        failed = collections.Counter(status for *_, status in answers if status != 200)
        # What they were answered was said by us: none hung.
        expect(set(failed) <= {502, 503}, failed)
        record = until(3, "an audit record", lambda: audits(own, "target_rollback"))[0]
        expect(record["reason"] == "failures" and "have failed" in record["detail"], record)
    return f"left after {back - died:.1f} s and {sum(failed.values())} failures of {len(answers)} requests"


@check("after a change the connections to the old app are closed; an exchange that is in flight ends there where it began")
def _(stage):
    go_on = threading.Event()

    def page(ask):
        if ask.path == "/slow":
            go_on.wait(20)
        ask.answer(200, b"old")

    with fronted(stage, "moves", page, "--pool-idle", "60s") as (own, app):
        url = f"https://localhost:{own.port}/slow"
        slow = Process("moves-slow", ["curl", "-sS", "--cacert", own.secret.ca, url], {}, stage.folder)
        until(5, "it is asked", lambda: any(asked.path == "/slow" for asked in app.asked))
        done = own.curl("--http2", "-Z", "-o", "/dev/null", path="/[1-20]")
        expect(done.returncode == 0, told(done))
        kept = len(clients_of(app.port))
        expect(kept > 1, f"{kept} connections to the app: none is kept")
        answered(Plane(own).change(stage.second.url))
        expect(own.get().body == "Hello you!", "the next request")
        until(3, "all but one are closed", lambda: len(clients_of(app.port)) == 1)
        go_on.set()
        expect(slow.child.wait(10) == 0 and slow.stdout.read_text() == "old", slow.tail())
        until(3, "the last one is closed", lambda: not clients_of(app.port))
        record = until(3, "its record", lambda: own.records(path="/slow"))[0]
        expect((record["target"], record["status"]) == (app.url, 200), record)
    return f"{kept} were open"
