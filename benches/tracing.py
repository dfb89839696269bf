#!/usr/bin/env python3
"""What tracing costs: CPU per request of the sidecar, with traces off, at 0 %, at 1 % and at 100 %.

    cargo build --release
    benches/tracing.py [target/release/portcullis] [--rounds 9] [--requests 40000] [--h2]

nginx is the app, h2load the client on kept connections, and a collector that takes everything runs in a process of its own. All
sidecars run all the time, and are asked one after the other, in another order each round, so that what else the machine does
meets all of them. CPU is what the kernel has counted for the threads of the process, from before the first request until its
spans are gone; records go to /dev/null.
"""

import argparse
import datetime
import http.server
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

TRACE = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
# Flags, and what comes with each request.
VARIANTS = {
    "off": ((), ()),
    "0 %": (("otlp", "0%"), ()),
    "1 %": (("otlp", "1%"), ()),
    "100 %": (("otlp", "100%"), ()),
    "100 %, Zipkin": (("zipkin", "100%"), ()),
    "off, a trace comes": ((), ("-H", TRACE)),
    "0 %, a trace comes": (("otlp", "0%"), ("-H", TRACE)),
    "100 %, a trace comes": (("otlp", "100%"), ("-H", TRACE)),
}
CONNECTIONS, WARM = 16, 5000


class Sink(http.server.BaseHTTPRequestHandler):
    """Takes what comes."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(202 if self.path.startswith("/api") else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def sink():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    print(server.server_port, flush=True)
    server.serve_forever()


class Bench:
    """All that runs."""

    def __init__(self, binary, folder):
        self.binary, self.folder, self.running = binary, folder, []
        folder.joinpath("tls").mkdir()
        pair = ("-keyout", folder / "tls/tls.key", "-out", folder / "tls/tls.crt")
        kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost")
        subprocess.run(["openssl", "req", "-x509", *kind, *pair], check=True, stderr=subprocess.DEVNULL)
        self.collector = self.start([sys.executable, __file__, "--sink"], stdout=subprocess.PIPE)
        self.endpoint = f"http://127.0.0.1:{int(self.collector.stdout.readline())}"
        self.nginx()
        self.sidecars = {name: self.sidecar(flags) for name, (flags, _) in VARIANTS.items()}

    def start(self, command, **more):
        # In a group of its own, to which nginx's worker belongs, too.
        process = subprocess.Popen([str(part) for part in command], text=True, start_new_session=True, **more)
        self.running.append(process)
        return process

    def close(self):
        for process in self.running:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def nginx(self):
        socket = self.folder / "app.sock"
        config = self.folder / "nginx.conf"
        config.write_text(f"""
            daemon off; worker_processes 1; error_log /dev/null; pid {self.folder}/nginx.pid;
            events {{ worker_connections 1024; }}
            http {{
                access_log off; keepalive_requests 1000000000; client_body_temp_path {self.folder}/body;
                proxy_temp_path {self.folder}/proxy; fastcgi_temp_path {self.folder}/fastcgi;
                uwsgi_temp_path {self.folder}/uwsgi; scgi_temp_path {self.folder}/scgi;
                server {{ listen unix:{socket}; location / {{ return 200 "Hello you!"; }} }}
            }}
        """)
        self.start([shutil.which("nginx") or "/usr/sbin/nginx", "-c", config], stderr=subprocess.DEVNULL)
        self.target = f"unix:{socket}"
        wait(lambda: socket.exists())

    def sidecar(self, flags):
        anywhere = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--probe", "127.0.0.1:0")
        command = [self.binary, "run", "--cert-dir", self.folder / "tls", "--target", self.target, *anywhere]
        if flags:
            exporter, share = flags
            command += ["--trace-exporter", exporter, "--trace-endpoint", self.endpoint, "--trace-sample", share]
        log = self.folder / f"{len(self.running)}.log"
        process = self.start(command, stdout=subprocess.DEVNULL, stderr=log.open("w"))
        line = wait(lambda: re.search(r"listening .*https=\S+:(\d+) .*probe=\S+:(\d+) ", log.read_text()))
        https, probe = line[1], line[2]
        return process.pid, f"https://localhost:{https}/", f"http://127.0.0.1:{probe}/metrics"

    def load(self, name, requests, options):
        """Requests a second; none may fail."""
        _, url, _ = self.sidecars[name]
        command = ["h2load", "-n", str(requests), "-c", str(CONNECTIONS), *options, *VARIANTS[name][1], url]
        done = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        if f"{requests} succeeded, 0 failed, 0 errored" not in done:
            sys.exit(f"{name}: requests have failed\n{done}")
        return float(re.search(r"finished in [^,]*, (\S+) req/s", done)[1])

    def measure(self, name, requests, options):
        """Microseconds of CPU per request, of them in the control thread, and requests a second."""
        pid, _, metrics = self.sidecars[name]
        before, started = spent(pid), counts(metrics)
        speed = self.load(name, requests, options)
        if VARIANTS[name][0]:
            # What is kept goes within a second, and then they are no more.
            share = float(VARIANTS[name][0][1].rstrip("%")) / 100
            wanted = 2 * requests * (1 if share == 1 else 0)
            wait(lambda: sum(counts(metrics).values()) - sum(started.values()) >= wanted)
            time.sleep(1.2)
        after = spent(pid)
        total = sum(after.values()) - sum(before.values())
        control = after[pid] - before[pid]
        return total / requests / 1000, control / requests / 1000, speed


def wait(probe, seconds=20):
    """Until it is there."""
    deadline = time.monotonic() + seconds
    while not (found := probe()):
        if time.monotonic() > deadline:
            sys.exit("what is measured did not come up, or did not finish")
        time.sleep(0.02)
    return found


def spent(pid):
    """Nanoseconds of CPU, by thread."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return {int(task.name): int((task / "schedstat").read_text().split()[0]) for task in tasks}


def counts(metrics):
    """Spans by what became of them."""
    with urllib.request.urlopen(metrics) as answer:
        text = answer.read().decode()
    return {result: int(float(count)) for result, count in re.findall(r'trace_spans_total\{result="(\w+)"\} (\S+)', text)}


def middle(values):
    return statistics.median(values)


def table(measured, dropped, requests, rounds):
    cpu = {name: [one[0] for one in each] for name, each in measured.items()}
    speed = {name: middle([one[2] for one in each]) for name, each in measured.items()}
    print("| traces | CPU µs/request: median (least to most) | of it control thread | against off ", end="")
    print("| requests/s | against off | spans dropped |")
    print("|---|---|---|---|---|---|---|")
    for name, each in measured.items():
        base = "off, a trace comes" if "comes" in name else "off"
        # Of each round its own: what else the machine did met both.
        ratio = middle([one / other for one, other in zip(cpu[name], cpu[base])])
        print(
            f"| {name} | {middle(cpu[name]):.2f} ({min(cpu[name]):.2f} to {max(cpu[name]):.2f}) "
            f"| {middle([one[1] for one in each]):.2f} | {100 * (ratio - 1):+.1f} % "
            f"| {speed[name]:,.0f} | {100 * (speed[name] / speed[base] - 1):+.1f} % | {dropped[name]} |"
        )


def main():
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("binary", nargs="?", default="target/release/portcullis")
    given.add_argument("--rounds", type=int, default=9)
    given.add_argument("--requests", type=int, default=40_000)
    given.add_argument("--h2", action="store_true", help="HTTP/2 with 8 streams a connection, in place of HTTP/1.1")
    given.add_argument("--sink", action="store_true", help=argparse.SUPPRESS)
    options = given.parse_args()
    if options.sink:
        return sink()
    binary = Path(options.binary).resolve()
    load = ("-m", "8") if options.h2 else ("--h1",)
    with tempfile.TemporaryDirectory(prefix="portcullis-tracing-") as folder:
        bench = Bench(binary, Path(folder))
        try:
            measured = {name: [] for name in VARIANTS}
            for name in VARIANTS:
                bench.load(name, WARM, load)
            time.sleep(2)
            for turn in range(options.rounds):
                names = list(VARIANTS)
                for name in names[turn % len(names):] + names[: turn % len(names)]:
                    measured[name].append(bench.measure(name, options.requests, load))
                print(f"round {turn + 1} of {options.rounds}", file=sys.stderr)
            dropped = {name: counts(bench.sidecars[name][2]).get("dropped", "") for name in VARIANTS}
        finally:
            bench.close()
    version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    protocol = "HTTP/2" if options.h2 else "HTTP/1.1"
    print(
        f"{version}, {datetime.date.today()}, {model[1] if model else platform.machine()}, {os.cpu_count()} cores, "
        f"Linux {platform.release()}; {protocol}, {CONNECTIONS} kept connections, {options.rounds} rounds of "
        f"{options.requests:,} requests\n"
    )
    table(measured, dropped, options.requests, options.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
