"""All that runs: the application, and one proxy at a time in front of it, each in a session and a folder of its own."""

import contextlib
import http.client
import os
import platform
import re
import resource
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path

import account
import peers

# What a certificate says is not what is measured here.
ANYONE = ssl.create_default_context()
ANYONE.check_hostname = False
ANYONE.verify_mode = ssl.CERT_NONE


class Failed(Exception):
    """A proxy did not come up, or does not answer."""


def two_cpus():
    """The first two that we may use: one for the proxy, one for client and application."""
    ours = sorted(os.sched_getaffinity(0))
    if len(ours) < 2:
        sys.exit(
            "There is one CPU only that we may use. The proxy needs one to itself, client and application another: else each "
            "would wait for the others. Take a machine with two, or allow two (taskset, cpuset)."
        )
    return ours[:2]


def raise_descriptors(wanted):
    """As many files as are wanted, or as many as we may open; those we start may open as many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for most in (wanted, hard if hard != resource.RLIM_INFINITY else wanted):
        limit = min(most, wanted)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, max(hard, limit)))
            return limit
        except (ValueError, OSError):
            pass
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def end_on_signals():
    """However we are asked to end, what we have started ends first."""
    def asked(number, _):
        sys.exit(128 + number)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, asked)


def free_ports(count):
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


class Proxy:
    """One that runs."""

    def __init__(self, process, port, folder):
        self.session, self.port, self.folder, self.base = process.pid, port, folder, 0
        self.process = process

    def cpu(self):
        return account.cpu(self.session)

    def memory(self):
        return account.memory(self.session)

    def complaint(self):
        """The end of what it has said."""
        said = [self.folder / name for name in ("stderr.log", "error.log", "stdout.log")]
        lines = [line for path in said if path.exists() for line in path.read_text(errors="replace").splitlines()[-3:]]
        return " / ".join(lines)[-500:] or "it said nothing"


class Stage:
    """Folder, certificate and application. Nothing is left of it afterwards. With `shared` CPUs, all that runs may run on either."""

    def __init__(self, connections=4500, kept=256, shared=False):
        self.cpu, self.client_cpu = two_cpus()
        both = {self.cpu, self.client_cpu}
        self.cpus, self.client_cpus = (both, both) if shared else ({self.cpu}, {self.client_cpu})
        self.files = raise_descriptors(2 * connections + 2000)
        # Each takes two descriptors in the proxy, and a few are for other things.
        self.connections, self.kept = min(connections, (self.files - 500) // 2), kept
        self.openssl, self.app_binary = peers.tool("openssl"), peers.tool("nginx")

    def __enter__(self):
        end_on_signals()
        os.umask(0o022)
        self.folder = Path(tempfile.mkdtemp(prefix="portcullis-side-"))
        try:
            # Proxies that are started by root serve as nobody.
            self.folder.chmod(0o711)
            # Clients are our children, and run where we do.
            os.sched_setaffinity(0, self.client_cpus)
            self.certificate()
            self.app()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        # Asked twice, it still ends first.
        before = {each: signal.signal(each, signal.SIG_IGN) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        for session in account.sessions():
            account.stop(session)
            os.waitpid(session, 0)
        shutil.rmtree(self.folder, ignore_errors=True)
        for number, handler in before.items():
            signal.signal(number, handler)

    def certificate(self):
        self.crt, self.key = self.folder / "tls.crt", self.folder / "tls.key"
        kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost", "-days", "30"]
        names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        command = [self.openssl, "req", "-x509", *kind, *names, "-keyout", self.key, "-out", self.crt]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)

    def start(self, command, folder, cpus):
        """In a session of its own, on those CPUs."""
        with open(folder / "stdout.log", "wb") as out, open(folder / "stderr.log", "wb") as err:
            os.sched_setaffinity(0, cpus)
            try:
                words = [str(word) for word in command]
                environment = {name: value for name, value in os.environ.items() if not ours(name)}
                return subprocess.Popen(
                    words, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=folder, env=environment, start_new_session=True
                )
            finally:
                os.sched_setaffinity(0, self.client_cpus)

    def app(self):
        """nginx: /k is 1 KiB, /up takes a body and answers the same, other paths are files."""
        folder = self.folder / "app"
        self.files_folder = folder / "files"
        self.files_folder.mkdir(parents=True)
        (self.files_folder / "10m").write_bytes(os.urandom(10 << 20))
        (port,) = free_ports(1)
        config = folder / "nginx.conf"
        config.write_text(f"""
            worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error.log;
            events {{ worker_connections {2 * self.connections}; }}
            http {{
              access_log off; sendfile on; tcp_nopush on; tcp_nodelay on;
              keepalive_requests 1000000000; keepalive_timeout 3600; client_max_body_size 0;
              {peers.temporary(folder)}
              server {{
                listen 127.0.0.1:{port} backlog=4096; root {self.files_folder}; open_file_cache max=100;
                location = /k {{ default_type text/plain; return 200 "{'x' * 1024}"; }}
                location = /count {{ stub_status; }}
                location /up {{
                  client_body_buffer_size 16m; proxy_pass_request_body off; proxy_set_header Content-Length "";
                  proxy_method GET; proxy_pass http://127.0.0.1:{port}/k;
                }}
              }}
            }}
        """)
        process = self.start([self.app_binary, "-c", config, "-p", folder, "-e", f"{folder}/error.log"], folder, self.client_cpus)
        self.backend = port
        self.wait(Proxy(process, port, folder), "the application (nginx)")

    def count(self):
        """Requests that have come to the application."""
        asked = http.client.HTTPConnection("127.0.0.1", self.backend, timeout=60)
        asked.request("GET", "/count")
        text = asked.getresponse().read().decode()
        asked.close()
        return int(re.search(r"requests\s+\d+ \d+ (\d+)", text)[1])

    @contextlib.contextmanager
    def proxy(self, name, make):
        """One proxy, fresh, in front of the application; it has answered one request."""
        folder = self.folder / name
        folder.mkdir()
        (port,) = free_ports(1)
        job = peers.Job(folder, port, self.backend, self.crt, self.key, self.connections, self.kept)
        process = self.start(make(job), folder, self.cpus)
        proxy = Proxy(process, port, folder)
        try:
            self.wait(proxy, name)
            time.sleep(0.5)
            proxy.base = proxy.memory()
            self.ask(proxy, name)
            yield proxy
        finally:
            # The compiler's counters, where they are in the project, are written at an orderly end.
            account.stop(process.pid, patience=5 if name == peers.PROJECT else 0)
            process.wait()
            shutil.rmtree(folder, ignore_errors=True)

    def wait(self, proxy, name):
        deadline = time.monotonic() + 20
        while proxy.process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                return socket.create_connection(("127.0.0.1", proxy.port), 1).close()
            time.sleep(0.05)
        raise Failed(f"{name} did not start: {proxy.complaint()}")

    def ask(self, proxy, name):
        deadline = time.monotonic() + 10
        while True:
            try:
                asked = http.client.HTTPSConnection("localhost", proxy.port, context=ANYONE, timeout=5)
                asked.request("GET", "/k")
                status = asked.getresponse().status
                asked.close()
            except (OSError, http.client.HTTPException) as error:
                status = error
            if status == 200:
                return
            if time.monotonic() > deadline:
                raise Failed(f"{name} does not answer: {status}; {proxy.complaint()}")
            time.sleep(0.1)


def ours(name):
    """What would be a setting of the project, where there should be none but those of its command line."""
    return name.startswith("PORTCULLIS_") or name in ("TARGET", "PORT", "SRV_NAME")


def about(stage, versions):
    """What it was measured on, so that figures can be told apart later."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    siblings = Path(f"/sys/devices/system/cpu/cpu{stage.cpu}/topology/thread_siblings_list")
    shared = siblings.exists() and str(stage.client_cpu) in re.split("[,-]", siblings.read_text().strip())
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": model[1] if model else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": f"{platform.system()} {platform.release()}",
        "used": f"proxy on CPU {stage.cpu}, client and application on CPU {stage.client_cpu}"
        + (", which are threads of one core: figures are higher than on two cores" if shared else ""),
        "versions": versions,
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }
