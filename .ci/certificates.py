"""End to end: client certificates, several certificates, session tickets, dead mounts, rotation under load. Each check has
a sidecar of its own, with files of its own."""

import collections
import contextlib
import http.client
import itertools
import re
import secrets
import socket
import ssl
import statistics
import subprocess
import time

from props import (
    BINARY, CLEAN, RSA, Answer, Authority, Checks, Failed, Secret, Sidecar, Skipped, expect, fingerprint, openssl, run,
    s_client, served_fingerprint, sha256, told, until,
)

check = Checks()
FORWARDED = "x-forwarded-client-cert"
ALICE = "spiffe://corp.test/ns/shop/sa/alice"
OWN = "spiffe://corp.test/ns/shop/sa/sidecar"


class Own:
    """A sidecar of one check in front of the app that echoes."""

    def __init__(self, stage, name, secret, *arguments, target=None, under=(), binary=BINARY):
        self.secret = secret
        env = {
            "PORTCULLIS_CERT_DIR": str(secret.dir), "PORTCULLIS_LISTEN": "[::]:0", "PORTCULLIS_ADMIN": "127.0.0.1:0",
            "PORTCULLIS_PROBE": "127.0.0.1:0", "TARGET": target or stage.echo.url,
        }
        command = [*under, binary, "run", *arguments]
        self.sidecar = Sidecar(name, command[0], command[1:], env, stage.folder)
        self.port = self.sidecar.port
        self.plane, self.records, self.metric = self.sidecar.plane, self.sidecar.records, self.sidecar.metric

    def curl(self, *arguments, path="/", host="localhost"):
        """curl's result, whatever became of it."""
        url = f"https://{host}:{self.port}{path}"
        resolved = ("--resolve", f"{host}:{self.port}:127.0.0.1")
        limits = ("-i", "-sS", "--max-time", "20", "--cacert", self.secret.ca)
        return run("curl", *limits, *resolved, *arguments, url)

    def get(self, *arguments, **where):
        return Answer(self.curl(*arguments, **where))

    def part(self, folder):
        """What /certs says of one folder."""
        parts = self.plane("admin", "/certs").json()["parts"]
        return next(part for part in parts if part["source"] == str(folder))


@contextlib.contextmanager
def running(stage, name, secret, *arguments, **more):
    """Starts it, ends it, and lets it have the last word of a failure."""
    own = Own(stage, name, secret, *arguments, **more)
    try:
        yield own
    except Failed as error:
        raise Failed(f"{error}\n{own.sidecar.tail()}") from error
    finally:
        own.sidecar.kill()


def secret_with(stage, name, *authorities, **more):
    """A Secret with these client CAs in its `ca.crt`."""
    return Secret(stage.folder / name, **more, **({"ca_crt": bundle(*authorities)} if authorities else {}))


def bundle(*authorities):
    return "".join(authority.crt.read_text() for authority in authorities)


# Client certificates


def identities(answer):
    """What the app was told of the client, under every spelling that an old gateway would take for the field."""
    fold = str.maketrans("_.", "--")
    return [value for name, value in answer.json() if name.lower().translate(fold) == FORWARDED]


def elements(field):
    """Envoy's format: `key=value`, `;` in between, quotes around what has syntax in it. No quote in a value ever."""
    one = r'([A-Za-z]+)=(?:"([^"]*)"|([^;,="]*))'
    expect(re.fullmatch(rf"{one}(?:;{one})*", field), field)
    return [(key, quoted or plain) for key, quoted, plain in re.findall(one, field)]


@check("a client with a certificate is let in over HTTP/1.1 and HTTP/2, and the app is told who it is as Envoy tells it")
def _(stage):
    names = f"URI:{ALICE},DNS:alice.corp.test,DNS:a.corp.test"
    alice = stage.staff.client("alice", names, '/O=Corp; By="evil",x=1/CN=alice/emailAddress=a@corp.test/UID=7')
    subject = openssl("x509", "-in", alice.crt, "-noout", "-subject", "-nameopt", "RFC2253").strip().removeprefix("subject=")
    # The other way that RFC 2253 has to write it.
    subject = subject.replace(r'\"', r"\22")
    wanted = [
        ("By", OWN), ("Hash", fingerprint(alice.crt)), ("Subject", subject), ("URI", ALICE),
        ("DNS", "alice.corp.test"), ("DNS", "a.corp.test"),
    ]
    secret = secret_with(stage, "mutual", stage.staff, names=f"{Secret.NAMES},URI:{OWN}")
    with running(stage, "mutual", secret, "--client-auth", "required") as own:
        for option in ("--http1.1", "--http2"):
            answer = own.get(option, *alice.curl, path="/who")
            told_app = identities(answer)
            expect(answer.status == 200 and len(told_app) == 1, answer.seen())
            expect(elements(told_app[0]) == wanted, f"wanted {wanted}", f"got    {elements(told_app[0])}", told_app[0])
        records = until(3, "two records", lambda: (r := own.records(path="/who"))[1:] and r)
        expect([record.get("client_id") for record in records] == [ALICE] * 2, records)


@check("what a client says about its own certificate never reaches the app, in no spelling, with a certificate or without")
def _(stage):
    alice = stage.staff.client("plain", "DNS:plain.corp.test")
    claims = (
        "X-Forwarded-Client-Cert", "X_Forwarded_Client_Cert", "x-forwarded_client.cert", "X-Forwarded-Client-CERT",
    )
    forged = [part for name in claims for part in ("-H", f"{name}: Hash=forged")]
    secret = secret_with(stage, "forged", stage.staff)
    with running(stage, "forged", secret, "--client-auth", "optional") as own:
        for option in ("--http1.1", "--http2"):
            without = own.get(option, *forged)
            expect(without.status == 200 and not identities(without), without.seen())
            known = own.get(option, *forged, *alice.curl)
            expect(len(identities(known)) == 1 and "forged" not in known.body, known.seen())
        # A client cannot have the field taken away either.
        named = own.get("--http1.1", *alice.curl, "-H", f"Connection: close, {FORWARDED}")
        expect(len(identities(named)) == 1, named.seen())


class Refusal:
    """How a client is refused: the alert that it sees, and what stands in the record."""

    def __init__(self, client, alert, reason, *words):
        self.client, self.alert, self.reason, self.words = client, alert, reason, words

    def seen_by_curl(self, own, option):
        self.seen(own, lambda: own.curl(option, *(self.client.curl if self.client else ())))

    def seen_by_openssl(self, own, option):
        command = ("openssl", "s_client", "-connect", f"localhost:{own.port}", option)
        self.seen(own, lambda: run(*command, *(self.client.s_client if self.client else ())))

    def seen(self, own, ask):
        before = len(own.records("handshake"))
        done = ask()
        expect(done.returncode != 0 and f"alert {self.alert}" in done.stderr, f"wanted alert {self.alert}", told(done))

        def recorded():
            records = own.records("handshake")[before:]
            told_why = ((record["reason"], record["detail"]) for record in records)
            fits = (reason == self.reason and all(word in detail for word in self.words) for reason, detail in told_why)
            expect(any(fits), *records)
            return True

        until(3, f"a record that says {self.reason} and {self.words}", recorded)


@check("a refused client gets the fitting alert in TLS 1.3 and 1.2, and its record says why in plain words")
def _(stage):
    staff = stage.staff
    other = Authority(stage.folder / "other", "other CA")
    past = ("-startdate", "20200101000000Z", "-enddate", "20200201000000Z")
    future = ("-startdate", "20990101000000Z", "-enddate", "20990201000000Z")
    allowed = "DNS:web.corp.test"
    good, gone = staff.client("good", allowed), staff.client("gone", allowed)
    staff.revoke(gone)
    server = "basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n"
    refusals = [
        Refusal(None, "certificate required", "client_certificate_missing", "no certificate"),
        Refusal(other.client("stranger", allowed), "unknown ca", "client_issuer_unknown", "CN=other CA", "CN=stranger"),
        Refusal(staff.client("late", allowed, days=past), "certificate expired", "client_certificate_expired", "2020-02-01"),
        Refusal(
            staff.client("early", allowed, days=future), "certificate expired", "client_certificate_not_yet_valid",
            "not valid yet",
        ),
        Refusal(gone, "certificate revoked", "client_certificate_revoked", "CN=gone is revoked"),
        Refusal(
            staff.client("wrong-name", "DNS:web.other.test"), "access denied", "client_name_not_allowed",
            "DNS:web.other.test", "--allow-san",
        ),
        Refusal(
            staff.client("server", extensions=server), "unsupported certificate", "client_certificate_invalid",
            "not for client authentication",
        ),
    ]
    first = staff.client("first-version", extensions="")
    if "Version: 1 " in openssl("x509", "-in", first.crt, "-noout", "-text"):
        refusals.append(Refusal(first, "certificate unknown", "client_certificate_invalid", "X.509 v1", "CN=first-version"))
    secret = secret_with(stage, "refusals", staff, ca_crl=staff.gencrl())
    strict = ("--client-auth", "required", "--client-crl", secret.dir / "ca.crl", "--allow-san", "DNS:*.corp.test")
    with running(stage, "refusals", secret, *strict) as own:
        expect(own.get(*good.curl).status == 200, "the good one is refused")
        for refusal in refusals:
            refusal.seen_by_curl(own, "--http1.1")
            refusal.seen_by_openssl(own, "-tls1_2")
        wanted = 2 * len(refusals)
        until(3, "one record of each handshake", lambda: len(own.records("handshake")) == wanted)
        expect(own.get(*good.curl).status == 200, "the good one is refused")
    return f"{len(refusals)} kinds"


@check("a refused client that has begun to talk HTTP/2 sees the alert, too, and no reset connection")
def _(stage):
    missing = Refusal(None, "certificate required", "client_certificate_missing")
    secret = secret_with(stage, "talkative", stage.staff)
    with running(stage, "talkative", secret, "--client-auth", "required") as own:
        for _ in range(10):
            missing.seen_by_curl(own, "--http2")


@check("another client CA in the Secret: who is of the old one is refused, who is of the new one let in, with no restart")
def _(stage):
    new = Authority(stage.folder / "new-staff", "new staff CA")
    old_client, new_client = stage.staff.client("old"), new.client("new")
    secret = secret_with(stage, "ca-swap", stage.staff)
    with running(stage, "ca-swap", secret, "--client-auth", "required") as own:
        expect(own.get(*old_client.curl).status == 200 and own.curl(*new_client.curl).returncode != 0, "before the swap")
        secret.write("..v2", ca_crt=bundle(new))
        secret.publish("..v2")
        until(2, "the new client is let in", lambda: own.curl(*new_client.curl).returncode == 0)
        Refusal(old_client, "unknown ca", "client_issuer_unknown", "CN=staff CA").seen_by_curl(own, "--http1.1")
        audit = until(3, "an audit record", lambda: own.records("audit", result="published")[1:])
        expect("no longer trusted for clients: CN=staff CA" in audit[0]["detail"], audit)

        # Emptied: nobody could come in any more, so it is not taken.
        secret.write("..v3", ca_crt="")
        secret.publish("..v3")
        part = until(3, "/certs says why", lambda: (p := own.part(secret.dir))["last_error"] and p)
        expect("ca.crt" in part["last_error"] and "empty" in part["last_error"], part)
        expect([ca["subject"] for ca in part["client_ca"]] == ["CN=new staff CA"], part)
        expect(own.get(*new_client.curl).status == 200, "the new client is refused")
        expect(served_fingerprint(own.port, *new_client.s_client) == secret.fingerprint("..v2"), "half of it was taken")


@check("a CRL that is renewed in the Secret shuts out whom it revokes, on the next connection")
def _(stage):
    leaver = stage.staff.client("leaver")
    secret = secret_with(stage, "crl", stage.staff, ca_crl=stage.staff.gencrl())
    with running(stage, "crl", secret, "--client-auth", "required", "--client-crl", secret.dir / "ca.crl") as own:
        expect(own.get(*leaver.curl).status == 200, "refused before the revocation")
        stage.staff.revoke(leaver)
        secret.write("..v2", ca_crt=bundle(stage.staff), ca_crl=stage.staff.gencrl())
        secret.publish("..v2")
        until(2, "the client is refused", lambda: own.curl(*leaver.curl).returncode != 0)
        Refusal(leaver, "certificate revoked", "client_certificate_revoked", "CN=leaver").seen_by_curl(own, "--http1.1")


@check("with --close-on-trust-change a kept connection ends with the trust in its client, and others go on")
def _(stage):
    gone, stays = Authority(stage.folder / "gone-staff", "gone CA"), stage.staff
    clients = gone.client("temp"), stays.client("permanent")
    secret = secret_with(stage, "trust", gone, stays)
    with running(stage, "trust", secret, "--client-auth", "required", "--close-on-trust-change") as own:
        ended, kept = (Kept(own, client) for client in clients)
        expect((ended.asks(), kept.asks()) == (200, 200), "before the change")
        secret.write("..v2", ca_crt=bundle(stays))
        secret.publish("..v2")
        until(2, "the connection is ended", ended.is_closed)
        expect(kept.asks() == 200, "the other one")


class Kept:
    """A connection that is kept, without a thought of opening another."""

    def __init__(self, own, client):
        context = ssl.create_default_context(cafile=own.secret.ca)
        context.load_cert_chain(client.crt, client.key)
        plain = socket.create_connection(("127.0.0.1", own.port), 10)
        self.socket = context.wrap_socket(plain, server_hostname="localhost")

    def asks(self):
        self.socket.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = http.client.HTTPResponse(self.socket)
        answer.begin()
        answer.read()
        return answer.status

    def is_closed(self):
        self.socket.settimeout(0.02)
        try:
            return self.socket.recv(1) == b""
        except TimeoutError:
            return False


@check("an exempt path is open without a certificate, and no other spelling of it, over HTTP/1.1 and HTTP/2")
def _(stage):
    someone = stage.staff.client("someone")
    secret = secret_with(stage, "exempt", stage.staff)
    open_to_all = ("/healthz", "/healthz?deep=1")
    closed = (
        "/", "//healthz", "/healthz/", "/%68ealthz", "/healthz/../x", "/./healthz", "/x/../healthz", "/healthz;x",
        "/healthz%00", "/healthz%2f..%2fx", "/HEALTHZ", "/healthz%3fx", "/?/healthz",
    )
    with running(stage, "exempt", secret, "--client-auth", "required", "--client-auth-exempt", "/healthz") as own:
        for option in ("--http1.1", "--http2"):

            def status(path, *more, option=option):
                return own.get(option, "--path-as-is", *more, path=path).status

            for paths, wanted in ((open_to_all, 200), (closed, 403)):
                got = {path: status(path) for path in paths}
                expect(set(got.values()) == {wanted}, f"{option}, wanted {wanted}", got)
            for header in ("X-Original-URL: /secret", "X_Rewrite_URL: /secret", "X-Original-URI: /secret"):
                answer = own.get(option, "-H", header, path="/healthz")
                expect("/secret" not in answer.body, answer.seen())
            expect({status(path, *someone.curl) for path in (*open_to_all, *closed)} == {200}, "refused with a certificate")
        # The absolute form has a path, too.
        for path, wanted in (("/healthz", 200), ("/x", 403)):
            answer = own.get("--http1.1", "--request-target", f"https://localhost:{own.port}{path}")
            expect(answer.status == wanted, answer.seen())
        record = until(3, "a record", lambda: own.records(path="/HEALTHZ", status=403))[0]
        expect(record["reason"] == "client_certificate_missing" and "client_id" not in record, record)


# Several certificates


@check("a client is shown the certificate of the name that it asks for, ECDSA or RSA as it can verify, else the first")
def _(stage):
    authority = Authority(stage.folder / "names", "throw-away CA")
    a, a_rsa, b = (
        secret_with(stage, name, authority=authority, names=names, **more)
        for name, names, more in (
            ("a", "DNS:a.test", {}), ("a-rsa", "DNS:a.test", {"kind": RSA}), ("b", "DNS:b.test,DNS:*.b.test", {}),
        )
    )
    rsa, ecdsa = ("-sigalgs", "RSA-PSS+SHA256"), ("-sigalgs", "ECDSA+SHA256")
    more = (part for other in (a_rsa, b) for part in ("--cert-dir", other.dir))
    with running(stage, "sni", a, "--cert-dir", a.dir, *more) as own:

        def shown(name, *options):
            wanted = ("-CAfile", authority.crt, "-verify_return_error")
            seen = s_client(own.port, *wanted, *options, name=name)
            expect(seen["code"] == 0 and seen["verified"] == "0", seen["text"])
            return seen["leaf"], seen["signature"]

        first, second, third = (secret.fingerprint("..v1") for secret in (a, a_rsa, b))
        for version in ((), ("-tls1_2",)):
            expect(shown("a.test", *version) == (first, "ECDSA"), "a.test", shown("a.test", *version))
            expect(shown("a.test", *version, *ecdsa) == (first, "ECDSA"), "a.test with ECDSA")
            expect(shown("a.test", *version, *rsa) == (second, "RSA-PSS"), "a.test with RSA")
            for name in ("b.test", "B.Test", "x.b.test"):
                expect(shown(name, *version) == (third, "ECDSA"), name, shown(name, *version))
            for name in ("elsewhere.test", "x.y.b.test"):
                expect(shown(name, *version) == (first, "ECDSA"), name, shown(name, *version))

        # Each is renewed on its own, also while another is broken.
        (b.dir / "..broken").mkdir()
        (b.dir / "..broken/tls.crt").write_text("nothing")
        b.publish("..broken")
        until(3, "/certs says why", lambda: own.part(b.dir)["last_error"])
        renewed = a_rsa.write("..v2")
        a_rsa.publish("..v2")
        until(2, "the renewed one", lambda: shown("a.test", *rsa)[0] == renewed)
        expect((shown("a.test")[0], shown("b.test")[0]) == (first, third), "another one changed, too")


@check("a request for a name of another certificate than the connection's is answered 421, over HTTP/1.1 and HTTP/2")
def _(stage):
    authority = Authority(stage.folder / "hosts", "throw-away CA")
    one, other = (
        secret_with(stage, f"host-{name}", authority=authority, names=f"DNS:{name}.test,DNS:shared.test") for name in "ab"
    )
    with running(stage, "hosts", one, "--cert-dir", one.dir, "--cert-dir", other.dir) as own:
        for option in ("--http1.1", "--http2"):
            for host, wanted in (
                ("a.test", 200), ("b.test", 421), (f"B.TEST:{own.port}", 421), ("b.test.:443", 421), ("shared.test", 200),
                ("nobodys.test", 200), ("127.0.0.1", 200),
            ):
                answer = own.get(option, "-H", f"Host: {host}", path="/asked", host="a.test")
                expect(answer.status == wanted, f"{option} {host}, wanted {wanted}", answer.seen())
            expect(own.get(option, host="b.test").status == 200, "b.test on its own connection")
        record = until(3, "a record", lambda: own.records(path="/asked", status=421))[0]
        expect(record["reason"] == "misdirected" and record["sni"] == "a.test", record)


@check("after a rotation openssl verifies the chain over its intermediate; a chain in the wrong order is not taken")
def _(stage):
    root = Authority(stage.folder / "root", "root CA")
    intermediate = Authority(stage.folder / "intermediate", "intermediate CA", issuer=root)
    secret = secret_with(stage, "chain", authority=intermediate)
    wanted = secret.write("..v2", chain=intermediate.crt.read_text())
    secret.write("..v3", chain=root.crt.read_text() + intermediate.crt.read_text())
    with running(stage, "chain", secret) as own:

        def seen():
            return s_client(own.port, "-CAfile", root.crt, "-verify_return_error", "-showcerts")

        expect(seen()["verified"] != "0", "the chain lacks its intermediate, and is verified all the same")
        secret.publish("..v2")
        until(2, "the new certificate", lambda: served_fingerprint(own.port) == wanted)
        for name in ("..v2", "..v3"):
            if name == "..v3":
                secret.publish(name)
                part = until(3, "/certs says why", lambda: (p := own.part(secret.dir))["last_error"] and p)
                expect("out of order" in part["last_error"] and len(part["chain"]) == 2, part)
            handshake = seen()
            facts = (handshake["code"], handshake["verified"], handshake["signature"])
            expect(facts == (0, "0", "ECDSA"), handshake["text"])
            subjects = re.findall(r"^ \d s:.*CN = (.*)$", handshake["text"], re.MULTILINE)
            expect(subjects == ["v2", "intermediate CA"], subjects, handshake["text"])
            expect(served_fingerprint(own.port) == wanted, "another certificate is served")


# Session tickets


REQUEST = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class Visitor:
    """openssl with a client's certificate, which asks once and keeps the session that it was given."""

    def __init__(self, folder, client, version):
        self.session = folder / f"session{version}"
        self.options = (*client.s_client, version)

    def comes_to(self, own):
        seen, _ = self._asks(own, "-sess_out")
        expect(seen["session"] == "New" and self.session.exists(), seen["text"])

    def goes_to(self, own):
        """Whether it was let in as known, by both sides' account."""
        seen, record = self._asks(own, "-sess_in")
        expect(record["resumed"] == (seen["session"] == "Reused"), record, seen["text"])
        expect(record["client_id"] == "visitor.corp.test", record)
        return record["resumed"]

    def _asks(self, own, session):
        """What openssl saw and what the sidecar wrote about it, always awaited: it belongs to no later question."""
        before = len(own.records())
        seen = s_client(own.port, *self.options, session, self.session, request=REQUEST)
        expect("HTTP/1.1 200" in seen["text"], seen["text"])
        return seen, until(3, "a record", lambda: own.records()[before:])[0]


@check("who shares a ticket seed resumes the other's sessions of TLS 1.3 and 1.2; not after another client CA, nor without")
def _(stage):
    folder = stage.folder / "tickets"
    client = stage.staff.client("visitor", "DNS:visitor.corp.test")
    more = Authority(stage.folder / "more-staff", "more staff CA")
    secret = [secret_with(stage, f"tickets/{number}", stage.staff) for number in range(3)]
    for name in ("shared", "another"):
        (folder / name).write_text(f"{secrets.token_urlsafe(48)}\n")
    seeds = [("--ticket-seed", folder / name) for name in ("shared", "shared", "another")]
    with contextlib.ExitStack() as stack:
        one, other, stranger = (
            stack.enter_context(running(stage, f"tickets-{number}", secret[number], "--client-auth", "required", *seed))
            for number, seed in enumerate(seeds)
        )
        visitors = [Visitor(folder, client, version) for version in ("-tls1_3", "-tls1_2")]
        for visitor in visitors:
            visitor.comes_to(one)
            # Twice the other: a ticket is not used up by a process that did not make it.
            went = [visitor.goes_to(to) for to in (other, stranger, other)]
            expect(went == [True, False, True], f"{visitor.options[-1]}: resumed {went}")
        expect([own.plane("admin", "/certs").json()["ticket_keys"] for own in (one, other)] == ["seed"] * 2, "/certs")

        # The certificate is renewed: sessions outlive that. Not a change of who is let in, be it only one CA more.
        for version, authorities, outlives in (("..v2", (stage.staff,), True), ("..v3", (stage.staff, more), False)):
            wanted = secret[1].write(version, ca_crt=bundle(*authorities))
            secret[1].publish(version)
            until(2, "the new certificate", lambda: served_fingerprint(other.port, *client.s_client) == wanted)
            went = [visitor.goes_to(other) for visitor in visitors]
            expect(went == [outlives] * 2, f"{version}: resumed {went}")
        expect(all(visitor.goes_to(one) for visitor in visitors), "the one that has not changed")


@check("a client whose certificate expired and was renewed is let in, although it comes with its old session")
def _(stage):
    folder = stage.folder / "renewal"
    end = time.time() + 4
    dates = ("-startdate", "20200101000000Z", "-enddate", time.strftime("%Y%m%d%H%M%SZ", time.gmtime(end)))
    old = stage.staff.client("short-lived", "DNS:visitor.corp.test", days=dates)
    new = stage.staff.client("renewed", "DNS:visitor.corp.test")
    secret = secret_with(stage, "renewal", stage.staff)
    with running(stage, "renewal", secret, "--client-auth", "required") as own:
        visitors = [Visitor(folder, old, version) for version in ("-tls1_3", "-tls1_2")]
        for visitor in visitors:
            visitor.comes_to(own)
            expect(visitor.goes_to(own), "not resumed")
        until(10, "the old one has expired", lambda: time.time() > end + 1)
        for visitor in visitors:
            refused = s_client(own.port, *visitor.options, "-sess_in", visitor.session, request=REQUEST)
            expect("alert certificate expired" in refused["text"] and "HTTP/1.1" not in refused["text"], refused["text"])
            visitor.options = (*new.s_client, visitor.options[-1])
            expect(not visitor.goes_to(own), "resumed with an expired certificate")
        expect({record["reason"] for record in own.records("handshake")} == {"client_certificate_expired"}, "records")


# Dead mounts and blind ones


@check("where the system has no inotify left the sidecar says so, polls, and takes a renewed certificate all the same")
def _(stage):
    script = 'echo 0 > /proc/sys/user/max_inotify_instances && exec "$@"'
    under = ("unshare", "-Ur", "sh", "-c", script, "sh")
    if run(*under, "true").returncode != 0:
        raise Skipped("user namespaces are not permitted here")
    secret = Secret(stage.folder / "blind")
    with running(stage, "blind", secret, under=under) as own:
        until(2, "the log says so", lambda: "polling every 1s instead" in own.sidecar.stderr.read_text())
        for version in ("..v2", "..v3"):
            wanted = secret.write(version)
            secret.publish(version)
            until(5, "the new certificate", lambda: served_fingerprint(own.port) == wanted)
        audit = own.records("audit", action="certificate_reload", result="published")[-1]
        expect("trigger poll" in audit["detail"], audit)


@check("a Secret that is mounted with subPath is called dead in the log, by check, /status and a metric; a whole one is not")
def _(stage):
    if run("unshare", "-m", "true").returncode != 0:
        raise Skipped("mounts of one's own are not permitted here")
    folder = stage.folder / "mounts"
    source = Secret(folder)
    # What the kubelet's folders are called, and what it binds for a subPath: the file in there.
    version = source.dir / "..2026_11_22_10_00_00.123456789"
    (source.dir / "..v1").rename(version)
    source.publish(version.name)
    parts = folder / "parts/tls"
    parts.mkdir(parents=True)
    for name in ("tls.crt", "tls.key"):
        (parts / name).touch()
    each = ((version / name, parts / name) for name in ("tls.crt", "tls.key"))
    whole = folder / "whole/tls"
    whole.mkdir(parents=True)
    for target, binds in ((parts, each), (whole, [(source.dir, whole)])):
        script = "".join(f"mount --bind '{from_}' '{to}' && " for from_, to in binds) + 'exec "$@"'
        under = ("unshare", "-m", "sh", "-c", script, "sh")
        mounted = Mounted(source.ca, target)
        is_dead = target is parts
        checked = run(*under, BINARY, "check", "--cert-dir", target)
        expect(checked.returncode == 0, told(checked))
        with running(stage, f"mounted-{target.parent.name}", mounted, under=under) as own:
            until(2, "ready", lambda: own.plane("probe", "/readyz").status == 200)
            status = own.plane("admin", "/status")
            said = {
                "check": "with subPath" in checked.stdout,
                "log": "with subPath" in own.sidecar.stderr.read_text(),
                "/status": "with subPath" in str(status.json()["degraded"]),
                "/certs": "with subPath" in str(own.part(target)["warnings"]),
                "metric": own.metric(f'portcullis_certificate_mount_dead{{name="{target}"}}') == 1,
            }
            expect(set(said.values()) == {is_dead}, f"dead mount: {is_dead}", said, status.seen())
            if not is_dead:
                wanted = source.write("..2026_11_22_11_00_00.987654321")
                source.publish("..2026_11_22_11_00_00.987654321")
                until(2, "the new certificate", lambda: served_fingerprint(own.port) == wanted)


class Mounted:
    """A Secret as it is seen in a namespace of its own."""

    def __init__(self, ca, folder):
        self.ca, self.dir = ca, folder


# Rotation under load


@check("with --max-connection-age clients are told to come back on another connection, and no request fails")
def _(stage):
    secret, number = Secret(stage.folder / "age"), 1500
    with running(stage, "age", secret, "--max-connection-age", "100ms") as own:
        for options in (("--http1.1",), ("--http2",), ("--http2", "-Z", "--parallel-max", "10")):
            before = len(own.records())
            done = own.curl(*options, "-o", stage.folder / "age/body", "-w", "%{http_code}\n", path=f"/[1-{number}]")
            codes = collections.Counter(done.stdout.split())
            expect(done.returncode == 0 and codes == {"200": number}, options, codes, done.stderr)
            records = until(3, f"{number} records", lambda: (r := own.records()[before:])[number - 1 :] and r)
            expect(len({record["client_port"] for record in records}) > 1, f"{options}: one connection for all")


class Load:
    """200 requests a second of four kinds: over new connections and kept ones, HTTP/1.1 and HTTP/2."""

    KINDS = {
        "kept, HTTP/1.1": ("--h1", "-c", "2", "--rps", "25"),
        "kept, HTTP/2": ("-c", "2", "-m", "4", "--rps", "25"),
        "new, HTTP/1.1": ("--h1", "-r", "50"),
        "new, HTTP/2": ("-r", "50"),
    }

    def __init__(self, url, seconds):
        def start(options):
            number = str(50 * seconds)
            connections = ("-c", number) if "-r" in options else ()
            return subprocess.Popen(
                ["h2load", "-n", number, *connections, *options, url], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, env=CLEAN,
            )

        self.running = {kind: start(options) for kind, options in self.KINDS.items()}
        self.number = 50 * seconds

    def still(self):
        return all(process.poll() is None for process in self.running.values())

    def end(self):
        """None may have failed; returns how many there were."""
        for kind, process in self.running.items():
            output, _ = process.communicate(timeout=120)
            wanted = f"{self.number} done, {self.number} succeeded, 0 failed, 0 errored, 0 timeout"
            expect(wanted in output and f"status codes: {self.number} 2xx" in output, kind, output)
        return self.number * len(self.running)


class Eye:
    """Raw handshakes: which certificate is shown now."""

    def __init__(self, port):
        self.port = port
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE

    def look(self):
        with socket.create_connection(("127.0.0.1", self.port), 5) as plain:
            with self.context.wrap_socket(plain, server_hostname="localhost") as tls:
                return sha256(tls.getpeercert(binary_form=True))


def details(own, action):
    return [audit["detail"] for audit in own.records("audit", action=f"certificate_{action}")]


@check("25 rotations under 200 requests a second: every one is served, in order, and no request fails")
def _(stage):
    swaps, seconds = 25, 12
    secret = Secret(stage.folder / "rotations")
    wanted = [(f"..v{number}", secret.write(f"..v{number}")) for number in range(2, 2 + swaps)]
    took = []
    with running(stage, "rotations", secret, target=stage.second.url) as own:
        eye, before = Eye(own.port), secret.fingerprint("..v1")
        load = Load(f"https://localhost:{own.port}/", seconds)
        try:
            until(5, "the load", lambda: len(own.records()) > 100)
            for version, leaf in wanted:
                began = time.monotonic()
                secret.publish(version)
                while (shown := eye.look()) != leaf:
                    expect(shown == before, f"{shown} is shown, neither the old {before} nor the new {leaf}")
                    expect(time.monotonic() < began + 2, f"{version} is not served after 2 s")
                    time.sleep(0.002)
                took.append(time.monotonic() - began)
                before = leaf
                # Not the next one at once: what is measured is one swap each.
                time.sleep(0.2)
            expect(load.still(), "the load ended before the rotations")
        finally:
            requests = load.end()
        # A connection keeps what it began with: the four kept ones were asked hundreds of times each.
        generations = collections.defaultdict(list)
        for record in own.records():
            generations[record["client_port"]].append(record["generation"])
        kept = [set(all_of) for all_of in generations.values() if len(all_of) > 100]
        expect([len(all_of) for all_of in kept] == [1] * 4, kept)
        # The sidecar's own account: what it published, and what it then saw with a client's eyes.
        leaves = [secret.fingerprint("..v1"), *(leaf for _, leaf in wanted)]
        until(3, "a look at the last", lambda: leaves[-1] in details(own, "look")[-1])
        for action, texts in (
            ("reload", [f"{old} -> {new}" for old, new in itertools.pairwise(["none", *leaves])]),
            ("look", [f"{leaf} is shown to clients" for leaf in leaves]),
        ):
            told_so = details(own, action)
            expect(len(told_so) == len(texts), f"{len(told_so)} records of {len(texts)}", *told_so)
            expect(all(text in detail for text, detail in zip(texts, told_so)), *told_so)
    median, longest = statistics.median(took) * 1000, max(took) * 1000
    return f"median {median:.0f} ms, longest {longest:.0f} ms; {requests} requests"
