"""End to end: what the system does not give: descriptors, memory, CPU, parts of the kernel, a place to write to. Each
check has a sidecar of its own."""

import collections
import contextlib
import os
import re
import signal
import statistics
import threading
import time
from pathlib import Path

from certificates import Mounted, running
from faults import Held, ends, in_64_mebibytes, is_alive, is_permitted, pid_of, said, samples, traced
from limits import counted, is_answered_in_time, trusting
from props import BINARY, Answer, Checks, Process, Skipped, expect, free_port, run, told, until
from protocols import BOTH, body_of

from records import in_memory

check = Checks()


# What the system does not give


@check("out of file descriptors it takes little CPU, says so once, is back within 1 s, and answers probes and the operator")
def _(stage):
    # More than there are descriptors for: whoever says so is believed.
    flags, under = ("--max-connections", "1000", "--workers", "2"), is_permitted("prlimit", "--nofile=100:100", "--")
    with running(stage, "emfile", stage.public, *flags, target=stage.second.url, under=under) as own:
        own.get()
        ticks = os.sysconf("SC_CLK_TCK")

        def cpu():
            fields = Path(f"/proc/{pid_of(own)}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / ticks

        def is_full():
            # Or it refuses what it has none for, which is as good.
            refused = r'^portcullis_connections_refused_total\S* [1-9]'
            text = said(own)
            return "accepting connections fails" in text or re.search(
                refused, own.plane("probe", "/metrics", "-m", "1").body, re.MULTILINE
            )

        with Held(own, 150):
            until(5, "it is out of them", is_full)
            began, before = time.monotonic(), cpu()
            silent = [
                f"{plane}: {done.stderr.strip()}" for plane in ("admin", "probe")
                if (done := run("curl", "-sSf", "-m", 1, f"http://{own.sidecar.address[plane]}/livez")).returncode != 0
            ]
            until(5, "two seconds", lambda: time.monotonic() > began + 2)
            share = (cpu() - before) / (time.monotonic() - began)
            lines = said(own).count("accepting connections fails")
        freed = time.monotonic()
        until(5, "served again", lambda: own.get("--max-time", "1").status == 200)
        took = time.monotonic() - freed
        expect(share < 0.05, f"{share:.0%} of a CPU")
        expect(lines <= 2, f"{lines} lines")
        expect(took < 1, f"it took {took:.1f} s")
        is_alive(own)
        expect(not silent, "without descriptors nobody is answered at", *silent)
    return f"{share:.1%} of a CPU; served {took * 1000:.0f} ms after"


def refused_after(own, number):
    """How many were, when at least so many are."""
    return until(5, "the rest is refused", lambda: (n := counted(own, "connections_refused_total")) >= number and n)


@check("with few descriptors the limit of connections follows from them: the rest is closed at once, and the planes answer")
def _(stage):
    under = is_permitted("prlimit", "--nofile=200:200", "--")
    with running(stage, "few", stage.public, target=stage.second.url, under=under) as own:
        most = own.plane("admin", "/config").json()["in_effect"]["max_connections"]
        with Held(own, 300):
            refused = refused_after(own, 300 - most)
            for plane in ("admin", "probe"):
                expect(own.plane(plane, "/livez").status == 200, plane)
            expect(own.metric("process_open_fds") < 150, "descriptors")
        until(2, "served again", lambda: own.get("--max-time", "1").status == 200)
        expect("accepting connections fails" not in said(own), own.sidecar.tail())
    return f"{most} connections, {refused:.0f} refused"


@check("with hardly any address space left 300 connections are served, 700 refused, and the process goes on")
def _(stage):
    def address_space(own):
        return int(re.search(r"^VmSize:\s+(\d+)", Path(f"/proc/{pid_of(own)}/status").read_text(), re.MULTILINE)[1]) << 10

    flags, most = ("--max-connections", "300"), 300
    with running(stage, "roomy", stage.public, *flags, target=stage.second.url) as own:
        own.get()
        needed = address_space(own)
    room = 64 << 20
    under = is_permitted("prlimit", f"--as={needed + room}", "--")
    with running(stage, "cramped", stage.public, *flags, target=stage.second.url, under=under) as own:
        own.get()
        before = in_memory(own)
        with Held(own, 1000, trusting(stage)) as held:
            refused = refused_after(own, 700)
            expect(len(held.sockets) == most, f"{len(held.sockets)} were let in")
            # Each has a head half sent, and a body.
            for tls in held.sockets:
                tls.sendall(b"POST /cramped HTTP/1.1\r\nHost: localhost\r\nContent-Length: 70000\r\n\r\n" + b"x" * 60_000)
            until(5, "all are open", lambda: own.metric("portcullis_requests_in_flight") == most)
            grown = in_memory(own) - before
            for tls in held.sockets:
                tls.sendall(b"x" * 10_000)
            until(10, "all are answered", lambda: len(own.records(path="/cramped")) == most)
        statuses = collections.Counter(record["status"] for record in own.records(path="/cramped"))
        expect(set(statuses) == {404}, statuses)
        # 256 KiB each.
        expect(grown < most / 4 + 16, f"{grown:.0f} MiB")
        until(3, "served again", lambda: own.get().status == 200)
        is_alive(own)
    return f"{refused:.0f} refused, {grown:.0f} MiB for {most} uploads, {room >> 20} MiB of address space to spare"


@check("in a container of 64 MiB fewer than 10,000 connections are let in by default")
def _(stage):
    with running(stage, "small", stage.public, under=in_64_mebibytes()) as own:
        most = own.plane("admin", "/config").json()["in_effect"]["max_connections"]
        if own.metric("process_max_fds") < 15_000:
            raise Skipped("the limit follows from file descriptors here")
    # 64 MiB hold no more than about 3,000 at 20 KiB each.
    expect(most < 5000, f"{most} are let in")
    return f"{most}"


@contextlib.contextmanager
def blocked_worker(stage, name, seconds, *arguments):
    """A sidecar with two workers of which one stands still for so long, when it holds nothing and was about to wait."""
    if os.geteuid() != 0:
        raise Skipped("only root may look into a process that is not dumpable")
    with running(stage, name, stage.public, "--workers", "2", *arguments, target=stage.second.url) as own:
        until(3, "it serves", lambda: own.get().status == 200)
        tasks = Path(f"/proc/{pid_of(own)}/task").iterdir()
        tids = {(task / "comm").read_text().strip(): task.name for task in tasks}
        delay = f"epoll_wait:delay_enter={int(seconds * 1e6)}:when=1"
        strace = traced(stage, name, delay, on=[tids["worker-0"]])
        try:
            def is_blocked():
                # The view of what is open asks all of them.
                view = own.plane("admin", "/inflight").json()
                return view["workers_answered"] < view["workers_asked"]

            until(10, "one is blocked", is_blocked)
            yield own, is_blocked
        finally:
            strace.signal(signal.SIGINT)
            strace.child.wait()


@check("while one worker stands still for 8 s who comes is served by the other, and probes and the operator are answered")
def _(stage):
    with blocked_worker(stage, "blocked", 8) as (own, is_blocked):
        began, number, slowest = time.monotonic(), 0, 0.0
        while time.monotonic() < began + 4:
            slowest = max(slowest, is_answered_in_time(own))
            for plane, path in (("probe", "/livez"), ("probe", "/readyz"), ("admin", "/status"), ("probe", "/metrics")):
                asked = time.monotonic()
                expect(own.plane(plane, path).status == 200, path)
                expect(time.monotonic() - asked < 2, f"{path} took {time.monotonic() - asked:.1f} s")
            number += 1
        expect(is_blocked(), "it was not blocked all the while")
        until(20, "it goes on", lambda: not is_blocked())
        is_answered_in_time(own)
    return f"{number} requests, the slowest took {slowest:.2f} s"


@check("a metric tells of a worker that stands still")
def _(stage):
    words = ("worker", "watchdog", "blocked", "stuck", "lag")
    with blocked_worker(stage, "watchdog", 4) as (own, is_blocked):
        def found():
            return [line for word in words for line in samples(own, word) if not line.endswith(" 0")]

        until(3, "a metric says so", found)


@check("a kernel without IPv6, memfd, io_uring, statx, clone3, Landlock or rseq is as good as any; what is lacking is said")
def _(stage):
    at_once = ("--drain-delay", "0s")
    # The first socket is that of the first listener.
    under = traced(stage, "no-ipv6", "socket:error=EAFNOSUPPORT:when=1")
    with running(stage, "no-ipv6", stage.public, *at_once, target=stage.second.url, under=under) as own:
        expect(own.sidecar.address["https"].startswith("0.0.0.0:"), own.sidecar.address)
        expect(own.get("--ipv4").status == 200, "no answer")
        ends(own)
    lacking = (
        "memfd_create", "io_uring_setup", "io_uring_enter", "statx", "clone3", "rseq", "membarrier", "openat2",
        "close_range", "landlock_create_ruleset", "pidfd_open", "copy_file_range", "execveat",
    )
    under = traced(stage, "old-kernel", f"/^({'|'.join(lacking)})$:error=ENOSYS")
    with running(stage, "old-kernel", stage.public, *at_once, target=stage.second.url, under=under) as own:
        goes_on(own)
    injected = len(re.findall(r" ENOSYS .*\(INJECTED\)", (stage.folder / "old-kernel.strace").read_text()))
    # A static program has no loader, which would ask, too.
    expect(injected > 3, f"{injected} calls were refused: was it ever asked?")
    # As a container runtime's default profile has it: what it refuses is not permitted.
    refused = (
        "io_uring_setup", "io_uring_enter", "keyctl", "add_key", "request_key", "bpf", "perf_event_open", "userfaultfd",
        "mbind", "set_mempolicy", "move_pages", "migrate_pages", "setns", "unshare", "mount", "ptrace", "kcmp",
        "personality",
    )
    under = traced(stage, "seccomp", f"/^({'|'.join(refused)})$:error=EPERM")
    with running(stage, "seccomp", stage.public, *at_once, target=stage.second.url, under=under) as own:
        goes_on(own)
    under = traced(stage, "no-prctl", "prctl:error=EPERM")
    with running(stage, "no-prctl", stage.public, target=stage.second.url, under=under) as own:
        words = r" WARN .*(the kernel refused|restriction \w+ is unavailable)"
        until(3, "what was refused is said", lambda: re.search(words, said(own)))
        expect(own.get().status == 200, "no answer")
    return f"{len(lacking)} calls unknown, made {injected} times; {len(refused)} not permitted"


@check("when the kernel forgets what it has cached, the sidecar still reads what it needs of itself under Landlock")
def _(stage):
    forget = Path("/proc/sys/vm/drop_caches")
    if not os.access(forget, os.W_OK):
        raise Skipped("caches cannot be dropped here")
    with running(stage, "forgotten", stage.public, target=stage.second.url) as own:
        expect(own.metric("process_open_fds") > 0, "before")
        # A folder of /proc that nobody holds gets another inode when it is looked at again.
        for what in ("2", "3"):
            forget.write_text(what)
        expect(own.metric("process_open_fds") > 0, "nothing is read of /proc/self any more")
        own.sidecar.signal(signal.SIGHUP)
        until(5, "it has looked", lambda: "portcullis_plaintext_bypass 1" in own.plane("probe", "/metrics").body)


def goes_on(own):
    """It does what it is there for, and ends as it should."""
    for option in BOTH:
        expect(own.get(option).body == "Hello you!", option)
    expect(own.plane("probe", "/readyz").status == 200, "it is not ready")
    is_alive(own)
    ends(own)


class Silent:
    """A sidecar whose own log nobody hears, so that its ports are chosen here; as `own` for what asks it."""

    def __init__(self, stage, name, target, *under, secret=None):
        self.secret = secret or stage.public
        self.port, self.probe, admin = free_port(), free_port(), free_port()
        addresses = {"listen": self.port, "probe": self.probe, "admin": admin}
        flags = [part for flag, port in addresses.items() for part in (f"--{flag}", f"127.0.0.1:{port}")]
        command = [*under, BINARY, "run", "--cert-dir", self.secret.dir, "--target", target, "--drain-delay", "0s", *flags]
        self.process = Process(name, command, {}, stage.folder)
        self.sidecar = self.process
        until(10, f"{name} is ready", lambda: run("curl", "-sf", f"{self.url}/readyz").returncode == 0)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.probe}"

    def plane(self, _, path):
        return Answer.get(f"{self.url}{path}")

    def get(self, *options):
        return Answer.get("--cacert", self.secret.ca, *options, f"https://localhost:{self.port}/")


@check("with stdout or stderr closed, or given up by their reader, requests go on, lost lines count, SIGTERM ends with 0")
def _(stage):
    closed = ("sh", "-c", 'exec "$@" >&- 2>&- <&-', "sh")
    own = Silent(stage, "closed", stage.second.url, *closed)
    try:
        for option in (*BOTH, "-k"):
            expect(own.get(option).body == "Hello you!", option)
        # What is opened next has the numbers of stdout and stderr: no record may go there.
        expect(not own.process.stdout.read_bytes() and not own.process.stderr.read_bytes(), own.process.tail())
        code, took = own.process.end(signal.SIGTERM, 10)
        expect(code == 0, f"exit code {code}")
    finally:
        own.process.kill()
    lost = {}
    for number in (1, 2):
        name = f"broken-{number}"
        pipe = stage.folder / f"{name}.pipe"
        os.mkfifo(pipe)
        end = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        own = Silent(stage, name, stage.second.url, "sh", "-c", f'exec "$@" {number}>{pipe}', "sh")
        try:
            expect(own.get().status == 200, "before")
            os.close(end)
            for _ in range(20):
                expect(own.get().status == 200, f"after {number} was given up")
            # A word for its own log, too.
            own.process.signal(signal.SIGHUP)
            expect(own.get().status == 200 and own.process.child.poll() is None, "after SIGHUP")
            lost[number] = counted(own, "log_dropped_total", **{"class": "success"})
            if number == 1:
                until(5, "lines are lost", lambda own=own: counted(own, "log_dropped_total", **{"class": "success"}) >= 20)
                lost[number] = counted(own, "log_dropped_total", **{"class": "success"})
            code, took = own.process.end(signal.SIGTERM, 10)
            expect(code == 0, f"exit code {code}", own.process.tail())
            expect("panicked" not in own.process.stderr.read_text(), own.process.tail())
        finally:
            own.process.kill()
    expect(lost[2] == 0, f"with stderr given up {lost[2]} records were lost")
    return f"{lost[1]:.0f} lines lost"


# Where it is hard to live


@check("it runs as any user without capabilities on a root that is read only, with no /tmp, no home and no /etc/passwd")
def _(stage):
    root = stage.folder / "bare-root"
    root.mkdir()
    folders = [path for path in ("/usr", "/lib", "/lib64", "/bin") if Path(path).exists()]
    # As in an image made from scratch: what a dynamic binary needs, the Secret, and nothing that can be written.
    steps = [
        f"mount -t tmpfs -o size=64m,mode=755 tmpfs '{root}'",
        f"mkdir -p '{root}/proc' '{root}{BINARY.parent}' '{root}/secret'",
        *(f"mkdir -p '{root}{path}' && mount --rbind {path} '{root}{path}'" for path in folders),
        f"cp '{BINARY}' '{root}{BINARY}'", f"cp -rL '{stage.public.dir}'/tls.* '{root}/secret/'", f"chmod -R a+rX '{root}'",
        f"mount -t proc proc '{root}/proc'", f"mount -o remount,ro '{root}'",
    ]
    alone = "setpriv --reuid=4711 --regid=4711 --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs"
    script = " && ".join(steps) + f""" && exec chroot '{root}' {alone} -- "$@" """
    under = is_permitted("unshare", "-m", "sh", "-c", script, "sh")
    mounted = Mounted(stage.public.ca, "/secret")
    with running(stage, "scratch", mounted, "--drain-delay", "0s", target=stage.second.url, under=under) as own:
        pid = pid_of(own)
        status = Path(f"/proc/{pid}/status").read_text()
        expect("Uid:\t4711" in status and "CapEff:\t0000000000000000" in status, status)
        done = run("nsenter", "-t", pid, "-m", "touch", f"{root}/written")
        expect(done.returncode != 0 and "Read-only" in done.stderr, told(done))
        for option in BOTH:
            expect(own.get(option).body == "Hello you!", option)
        # More than fits into memory kept for it would have to lie on a disk.
        done = own.curl("-d", f"@{body_of(stage, 'large-upload', 8 << 20)}")
        expect(Answer(done).status in (404, 413), told(done)[-500:])
        for path in ("/livez", "/readyz", "/metrics"):
            expect(own.plane("probe", path).status == 200, path)
        ends(own)


class Starved(threading.Thread):
    """Lets a process run for so much of each tenth of a second only."""

    def __init__(self, own, share):
        super().__init__()
        self.pid, self.share, self.over = pid_of(own), share, threading.Event()

    def run(self):
        while not self.over.is_set():
            os.kill(self.pid, signal.SIGCONT)
            time.sleep(0.1 * self.share)
            os.kill(self.pid, signal.SIGSTOP)
            self.over.wait(0.1 * (1 - self.share))
        os.kill(self.pid, signal.SIGCONT)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()


@check("with a twentieth of a CPU /livez answers within 1 s, and no request times out that comes alone")
def _(stage):
    with running(stage, "starved", stage.public, target=stage.second.url) as own:
        own.get()
        live, took = [], []
        with Starved(own, 0.05):
            began = time.monotonic()
            while time.monotonic() < began + 8:
                for path, seen in (("/livez", live), (None, took)):
                    asked = time.monotonic()
                    answer = own.plane("probe", path) if path else own.get(BOTH[len(took) % 2])
                    seen.append(time.monotonic() - asked)
                    expect(answer.status == 200, answer.seen())
        expect(statistics.median(live) > 0.02, "it was not starved", live)
        expect(statistics.median(live) < 1 and max(live) < 3, f"/livez took {max(live):.1f} s")
        reasons = {record["reason"] for record in own.records()}
        expect(reasons == {""} and not own.records("handshake"), reasons, own.records("handshake"))
        is_alive(own)
    told_so = f"/livez {statistics.median(live) * 1000:.0f} ms, at most {max(live) * 1000:.0f}"
    return f"{told_so}; {len(took)} requests, at most {max(took):.1f} s"
