"""The images as pods of the example manifest, run by the stand-in for the kubelet: what clients outside of the pod see,
what the processes are permitted, certificates that are renewed, and how pods end and follow each other under load."""

import http.client
import json
import re
import shutil
import ssl
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import charts
import rules
from injection import inject
from kubelet import Pod, changed, containers, leaf, policy
from manifests import documents, one, plain
from props import CHECKOUT, CLEAN, Answer, Authority, Checks, Process, expect, from_debian, run, told, until

NAME = "shop.example"
# An app with an answer that takes as long as it is asked to.
SLOW = """
require("http").createServer((request, response) => {
  const seconds = Number(new URL(request.url, "http://app").searchParams.get("seconds"));
  if (!seconds) return response.end("Hello you!");
  response.write("begun, ");
  setTimeout(() => response.end("ended"), seconds * 1000);
}).listen(process.env.PORT);
"""
# Shorter than the manifest's numbers, where these are not what is looked at: seconds until the app gets its signal, too.
HURRIED = {"PORTCULLIS_DRAIN_DELAY": "1s", "PORTCULLIS_DRAIN_TIMEOUT": "4s"}
STAY, GRACE = 6, 10
check = Checks()


class Cluster:
    """The manifest, its Secrets, and the pods that are made of it."""

    def __init__(self, stage):
        self.stage, self.lab = stage, stage.lab
        self.lab.built  # noqa: B018
        self.manifest = plain("legacy-app.yaml")
        self.template = one(self.manifest, "Deployment")["spec"]["template"]
        self.folder = stage.folder / "cluster"
        self.authority = Authority(self.folder / "authority", "the cluster's CA")
        self.first = self.leaf("first")
        (self.folder / "slow.js").write_text(SLOW)
        self.pods, self.numbers = {}, iter(range(10, 250))
        self.background = ThreadPoolExecutor(1)
        self.patient = self.background.submit(ends_in_real_time, self)

    def leaf(self, name):
        return leaf(self.authority, self.folder / name, f"DNS:{NAME}")

    def pod(self, name, template=None, tls=None, address=None, manifest=None, **secrets):
        """A pod that has started, of the plain manifest or of another one."""
        template = template or self.template
        address = address or f"10.77.0.{next(self.numbers)}"
        secrets = {"legacy-app-tls": self.first if tls is None else tls, **secrets}
        listed = policy(manifest or self.manifest, template, self.lab.NODE)
        self.pods[name] = pod = Pod(self.lab, name, template, address, secrets, listed)
        return pod.start()

    def slow(self):
        """The template with the slow app in the app's place."""
        mount = [{"name": "code", "mountPath": "/code", "readOnly": True}]
        template = changed(self.template, "app", command=["node", "/code/slow.js"], volumeMounts=mount)
        template["spec"]["volumes"].append({"name": "code", "hostPath": {"path": str(self.folder)}})
        return template

    def curl(self, pod, *options, scheme="https", port=8443, path="/", inside=None):
        """As a client outside of the pod."""
        known = ("--cacert", self.authority.crt, "--resolve", f"{NAME}:{port}:{pod.address}")
        words = ("curl", "-i", "-sS", "--max-time", "5", *known, *options, f"{scheme}://{NAME}:{port}{path}")
        return run(*(inside or self.lab.clients), *words)

    def get(self, pod, *options, **more):
        return Answer(self.curl(pod, *options, **more))

    def s_client(self, address, *options, port=8443):
        """A handshake and a request by openssl."""
        words = ("-connect", f"{address}:{port}", "-servername", NAME, "-CAfile", self.authority.crt, "-ign_eof", *options)
        request = f"GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n"
        return told(run(*self.lab.clients, "openssl", "s_client", *words, text=request))

    def status(self, pod):
        return json.loads(pod.exec("portcullis", "portcullis", "status", "--output", "json").stdout)

    def is_ready(self, pod):
        until(15, f"{pod.name} is ready", pod.ready)
        return pod


def tail(stage):
    """What the pods that are there have said."""
    here = vars(stage).get("cluster")
    return "\n".join(pod.tail() for pod in here.pods.values() if pod.folder.exists()) if here else ""


def cluster(stage):
    if not hasattr(stage, "cluster"):
        stage.cluster = Cluster(stage)
    return stage.cluster


def shop(stage):
    """A pod of the manifest as it is, which is ready."""
    here = cluster(stage)
    if "shop" not in here.pods:
        here.is_ready(here.pod("shop"))
    return here, here.pods["shop"]


def hurried(template):
    template = changed(template, "portcullis", HURRIED)
    template = changed(template, "app", lifecycle={"preStop": {"exec": {"command": ["sleep", str(STAY)]}}})
    template["spec"]["terminationGracePeriodSeconds"] = GRACE
    return template


# Load


class Load:
    """Clients outside who keep their connections, each asking again and again until it is told to go elsewhere: over a
    connection that it is to close, or by `stop()`."""

    def __init__(self, here, address, number, port=8443, stays=False):
        self.lab, self.address, self.port, self.stays = here.lab, address, port, stays
        self.context = ssl.create_default_context(cafile=here.authority.crt)
        self.stopped, self.lock = threading.Event(), threading.Lock()
        self.answered, self.closed, self.failed = 0, 0, []
        self.threads = [threading.Thread(target=self.client, daemon=True) for _ in range(number)]
        for thread in self.threads:
            thread.start()

    def client(self):
        with self.lab.joined("clients"):
            own = None
            while not self.stopped.is_set():
                try:
                    own = own or connect(self.address, self.port, self.context)
                    own.request("GET", "/", headers={"Host": NAME})
                    answer = own.getresponse()
                    body, last = answer.read(), answer.will_close
                    whole = answer.status == 200 and body == b"Hello you!"
                except (OSError, http.client.HTTPException) as error:
                    whole, body, last = False, repr(error), True
                with self.lock:
                    self.answered += whole
                    self.closed += last
                    if not whole:
                        self.failed.append(body)
                if last:
                    if own:
                        own.close()
                    own = None
                    if not self.stays:
                        return
                self.stopped.wait(0.02)

    def stop(self):
        self.stopped.set()
        return self.join()

    def join(self):
        for thread in self.threads:
            thread.join(30)
        number = len(self.failed)
        expect(not number, f"{number} of {number + self.answered} requests failed", self.failed[:5])
        return self.answered


def connect(address, port, context):
    """A connection with the name that the certificate has."""
    made = http.client.HTTPSConnection(address, port, timeout=20, context=context)
    plain = http.client.HTTPConnection(address, port, timeout=20)
    plain.connect()
    made.sock = context.wrap_socket(plain.sock, server_hostname=NAME)
    made.auto_open = 0
    return made


class Slow(threading.Thread):
    """A client who asks the slow app; `begun` when the answer has."""

    def __init__(self, here, address, seconds):
        super().__init__(daemon=True)
        self.here, self.address, self.seconds = here, address, seconds
        self.begun, self.body = threading.Event(), b""
        self.start()

    def run(self):
        with self.here.lab.joined("clients"):
            try:
                own = connect(self.address, 8443, ssl.create_default_context(cafile=self.here.authority.crt))
                own.sock.settimeout(60)
                own.request("GET", f"/?seconds={self.seconds}", headers={"Host": NAME})
                answer = own.getresponse()
                self.body = answer.read(7)
                self.begun.set()
                self.body += answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.body += repr(error).encode()


def terminated_under_load(here, pod, seconds):
    """Ends a pod while clients ask and one waits for an answer of so many seconds: nobody sees an error, and its sidecar
    has drained. Returns how many were answered, and the seconds that it took."""
    load = Load(here, pod.address, 6)
    until(10, "there is load", lambda: load.answered >= 60)
    slow = Slow(here, pod.address, seconds)
    expect(slow.begun.wait(10), "the slow answer has not begun")
    took = pod.terminate()
    slow.join()
    answered = load.join()
    expect(load.closed == 6, f"{load.closed} of 6 clients were told to go elsewhere")
    expect(slow.body == b"begun, ended", slow.body)
    expect(pod.codes["portcullis"] == 0, pod.codes, pod.tail())
    # It has no handler, and its image says so: nobody waits for it.
    expect(pod.codes["app"] == 137 and pod.ended["portcullis preStop"] == 0, pod.codes, pod.ended)
    expect(pod.ended["app"] <= pod.ended["portcullis"], pod.ended)
    return answered, took


def ends_in_real_time(here):
    pod = here.is_ready(here.pod("patient", here.slow()))
    return terminated_under_load(here, pod, 15)


# What clients see


@check("a client outside of the pod gets the app's hello over HTTPS with HTTP/1.1 and HTTP/2, certificate verified")
def _(stage):
    here, pod = shop(stage)
    for option, version in (("--http1.1", "1.1"), ("--http2", "2")):
        answer = here.get(pod, option)
        expect((answer.status, answer.http, answer.body) == (200, version, "Hello you!"), answer.seen())


@check("plain HTTP on the redirect's port is answered 308 to https://")
def _(stage):
    here, pod = shop(stage)
    answer = here.get(pod, scheme="http", port=8081, path="/cart?of=mine")
    expect((answer.status, answer.headers["location"]) == (308, f"https://{NAME}/cart?of=mine"), answer.seen())


@check("the app listens on all addresses, the NetworkPolicy lets nobody but the node there, and doctor tells")
def _(stage):
    here, pod = shop(stage)
    seen = here.get(pod, scheme="http", port=8080, inside=here.lab.inside)
    expect(seen.body == "Hello you!", "the node reaches it", seen.seen())
    for port in (8080, 9901, 9902):
        tried = here.curl(pod, "--connect-timeout", "1", scheme="http", port=port)
        expect(tried.returncode in (7, 28), f"a client reaches {port}", told(tried))
    done = pod.exec("portcullis", "portcullis", "doctor")
    problems = [line for line in done.stdout.splitlines() if line.startswith("problem")]
    expect(done.returncode == 1 and len(problems) == 1 and "plain port" in problems[0], told(done))


@check("without a shell in the image, portcullis logs, status and target by exec tell of the request")
def _(stage):
    here, pod = shop(stage)
    here.get(pod, path="/asked-for-by-name")
    done = pod.exec("portcullis", "portcullis", "logs")
    expect("/asked-for-by-name" in done.stdout and done.returncode == 0, told(done))
    records = [json.loads(line) for line in pod.logs("portcullis")[0].splitlines()]
    expect(any(record.get("path") == "/asked-for-by-name" for record in records), records[-3:])
    expect(here.status(pod)["service"] == "legacy-app", here.status(pod))
    told_target = pod.exec("portcullis", "portcullis", "target")
    expect("http://localhost:8080 (answers at 127.0.0.1:8080)" in told_target.stdout, told(told_target))
    none = pod.exec("portcullis", "sh", "-c", "true")
    expect(none.returncode != 0, told(none))


@check("the processes have a user of their own, no capability, no new privileges, and nothing to write to")
def _(stage):
    here, pod = shop(stage)
    for name, user in (("portcullis", "65532"), ("app", "1000")):
        seen = pod.status(name)
        expect(set(seen["Uid"].split()) == set(seen["Gid"].split()) == {user}, seen["Uid"], seen["Gid"])
        expect(all(int(seen[key], 16) == 0 for key in ("CapEff", "CapPrm", "CapBnd", "CapInh")), seen)
        expect((seen["NoNewPrivs"], seen["Seccomp"]) == ("1", "2"), seen)
        limit = containers(here.template)[name]["resources"]["limits"]["memory"]
        expect(memory(here, pod, name) == int(limit[:-2]) << 20, memory(here, pod, name))
    mounts = mounted(here, pod, "portcullis")
    writable = sorted(place for place, options in mounts.items() if "rw" in options.split(","))
    kernel = re.compile(r"/(proc|dev|sys)(/|$)")
    expect("ro" in mounts["/"].split(",") and "ro" in mounts["/etc/portcullis/tls"].split(","), mounts)
    expect(all(kernel.match(place) or place in RUNTIME for place in writable), writable)
    restricted = {each["name"]: each["state"] for each in here.status(pod)["restrictions"]}
    expect(all(state == "on" for state in restricted.values()) and {"landlock", "seccomp"} <= set(restricted), restricted)
    return ", ".join(restricted)


# What podman makes writable, and the kubelet, too: files of root.
RUNTIME = {"/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/run/.containerenv", "/run/secrets"}


def mounted(here, pod, name):
    pid = here.lab.done("inspect", "--format", "{{.State.Pid}}", pod.of(name)).strip()
    lines = here.lab.must(*here.lab.inside, "cat", f"/proc/{pid}/mounts").splitlines()
    return {line.split()[1]: line.split()[3] for line in lines}


def memory(here, pod, name):
    return int(here.lab.done("inspect", "--format", "{{.HostConfig.Memory}}", pod.of(name)))


# Certificates


@check("a renewed Secret is shown to new clients through the swap of ..data, without a restart")
def _(stage):
    here, pod = shop(stage)

    def shown():
        text = here.s_client(pod.address)
        found = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", text, re.DOTALL)
        expect(found, text)
        return found[0].strip()

    before = pod.status("portcullis")["Pid"]
    expect(shown() == here.first["tls.crt"].strip(), "the first is shown")
    second = here.leaf("second")
    began = time.monotonic()
    pod.volumes["tls"].publish(second)
    until(5, "the second is shown", lambda: shown() == second["tls.crt"].strip())
    took = time.monotonic() - began
    expect(pod.status("portcullis")["Pid"] == before, "it was started anew")
    return f"after {took:.2f} s"


@check("a pod whose Secret has no certificate yet is alive and not ready, and ready when it has come")
def _(stage):
    here = cluster(stage)
    pod = here.pod("early", hurried(here.template), tls={})
    until(5, "it is alive", pod.alive)
    expect(not pod.ready(), "it is ready without a certificate")
    pod.volumes["tls"].publish(here.first)
    here.is_ready(pod)
    expect(here.get(pod).body == "Hello you!", "hello")


# Sessions and replicas


def seeded(here, seed):
    """The template with a ticket seed from a Secret of this name."""
    mount = {"name": "seed", "mountPath": "/etc/portcullis/seed", "readOnly": True}
    own = containers(here.template)["portcullis"]["volumeMounts"]
    env = {"PORTCULLIS_TICKET_SEED": "/etc/portcullis/seed/seed"}
    template = changed(hurried(here.template), "portcullis", env, volumeMounts=[*own, mount])
    template["spec"]["volumes"].append({"name": "seed", "secret": {"secretName": seed, "defaultMode": 0o440}})
    return template


def seed(words):
    return {"seed": f"{words}, and as long as one has to be\n"}


REPLICAS = ("replica-1", "replica-2", "replica-3")


def replica(here, name, address=None):
    return here.pod(name, seeded(here, "seed"), address=address, seed=seed("of all replicas"))


def replicas(stage):
    """Three pods with the same seed, which are ready."""
    here = cluster(stage)
    if REPLICAS[0] not in here.pods:
        with ThreadPoolExecutor(3) as pool:
            started = [pool.submit(replica, here, name) for name in REPLICAS]
            for pod in started:
                here.is_ready(pod.result())
    return here, [here.pods[name] for name in REPLICAS]


@check("replicas with the same ticket seed resume each other's sessions, TLS 1.2 and 1.3; with another seed a pod does not")
def _(stage):
    here, (first, second, _) = replicas(stage)
    other = here.pod("stranger", seeded(here, "other"), other=seed("of nobody else"))
    here.is_ready(other)
    for version in ("-tls1_2", "-tls1_3"):
        session = here.folder / f"session{version}"
        made = here.s_client(first.address, version, "-sess_out", session)
        expect("New, TLS" in made and "Hello you!" in made, made)
        resumed = here.s_client(second.address, version, "-sess_in", session)
        expect("Reused, TLS" in resumed and "Hello you!" in resumed, resumed)
        anew = here.s_client(other.address, version, "-sess_in", session)
        expect("New, TLS" in anew and "Hello you!" in anew, anew)


def haproxy(here, pods):
    """In front of them on the node, as a Service is: it asks the probe plane who is ready."""
    config = here.folder / "haproxy.cfg"
    servers = "\n".join(f"    server {pod.name} {pod.address}:8443 check port 9902" for pod in pods)
    config.write_text(f"""
defaults
    mode tcp
    timeout connect 2s
    timeout client 60s
    timeout server 60s
frontend https
    bind {here.lab.NODE}:8443
    default_backend pods
backend pods
    balance roundrobin
    option httpchk GET /readyz
    default-server inter 200ms fall 1 rise 1
{servers}
frontend stats
    mode http
    bind 127.0.0.1:8404
    stats enable
    stats uri /stats
""")
    command = from_debian(here.stage.folder, "haproxy", "haproxy")
    return Process("haproxy", [*here.lab.inside, command, "-db", "-f", config], {}, here.folder)


def up(here, name):
    done = run(*here.lab.inside, "curl", "-s", "-m", "2", "http://127.0.0.1:8404/stats;csv")
    lines = [line.split(",") for line in done.stdout.splitlines()]
    return any(line[:2] == ["pods", name] and line[17] == "UP" for line in lines)


@check("three replicas behind HAProxy are replaced one after the other under load, and no request fails")
def _(stage):
    here, pods = replicas(stage)
    balancer = haproxy(here, pods)
    try:
        for pod in pods:
            until(10, f"{pod.name} is in", lambda name=pod.name: up(here, name))
        load = Load(here, here.lab.NODE, 8, stays=True)
        took = []
        for pod in pods:
            before = load.answered
            took.append(pod.terminate())
            expect(pod.codes["portcullis"] == 0, pod.codes, pod.tail())
            pod.remove()
            here.is_ready(replica(here, pod.name, pod.address))
            until(10, f"{pod.name} is in again", lambda name=pod.name: up(here, name))
            expect(load.answered > before + 100, "there was load")
        answered = load.stop()
    finally:
        balancer.kill()
    return f"{answered} requests; each pod ended in {statistics.mean(took):.1f} s"


# The chart

# A Service in front of one pod.
SERVICE = """
defaults
    mode tcp
    timeout connect 2s
    timeout client 20s
    timeout server 20s
listen https
    bind {node}:443
    server pod {pod}:8443
listen http
    bind {node}:80
    server pod {pod}:8081
"""


def helm_test(here, manifest, tls):
    """What the chart's test pod runs, by this machine's curl, as a client to whom the Service's name is the node."""
    container = rules.pod_of(next(each for each in manifest if rules.is_hook(each)))["containers"][0]
    (script,), env = container["args"], rules.settings(container)
    hosts = here.folder / "hosts"
    hosts.write_text(f"{here.lab.NODE} {env['SERVICE']}\n")
    alone = ("unshare", "-m", "sh", "-euc", f'mount --bind "{hosts}" /etc/hosts && exec "$@"', "sh")
    script = script.replace("/tls/", f"{tls}/")
    return run(*here.lab.clients, *alone, *container["command"], script, env={**CLEAN, **env})


@check("the chart's pod runs as it is rendered; `helm test` is content with it, and not with another CA")
def _(stage):
    here = cluster(stage)
    manifest = charts.render(stage, "4", 37)
    template = one(manifest, "Deployment")["spec"]["template"]
    name = one(manifest, "Service")["metadata"]["name"]
    tls = leaf(here.authority, here.folder / "charted", f"DNS:{NAME},DNS:{name}")
    pod = here.is_ready(here.pod("charted", template, manifest=manifest, **{f"{name}-tls": tls}))
    expect(here.get(pod).body == "Hello you!", "hello")
    service = here.folder / "service.cfg"
    service.write_text(SERVICE.format(node=here.lab.NODE, pod=pod.address))
    command = from_debian(stage.folder, "haproxy", "haproxy")
    balancer = Process("service", [*here.lab.inside, command, "-db", "-f", service], {}, here.folder)
    try:
        shutil.copy(here.authority.crt, here.folder / "charted/ca.crt")
        done = until(10, "the test passes", lambda: passes(helm_test(here, manifest, here.folder / "charted")))
        expect("https: 200" in done.stdout and "http: 308" in done.stdout, told(done))
        stranger = Authority(here.folder / "stranger", "somebody else's CA")
        shutil.copy(stranger.crt, here.folder / "charted/ca.crt")
        refused = helm_test(here, manifest, here.folder / "charted")
        expect(refused.returncode == 1 and "curl 60" in refused.stdout, told(refused))
    finally:
        balancer.kill()


@check("the plain example with the sidecar injected runs as it comes out: HTTPS, plain HTTP redirected to the Service's port, no fsGroup")
def _(stage):
    here = cluster(stage)
    example = (CHECKOUT / "examples/injection/app.yaml").read_bytes()
    manifest = documents(inject(example, "--pre-stop", "exec", "--drain-delay", "1s", "--drain-timeout", "4s").decode())
    template = one(manifest, "Deployment")["spec"]["template"]
    pod = here.is_ready(here.pod("injected", template, manifest=manifest, **{"app-tls": here.first}))
    expect(here.get(pod).body == "Hello you!", "hello")
    plain_http = here.get(pod, scheme="http")
    expect(plain_http.status == 308 and plain_http.headers["location"] == f"https://{NAME}:80/", plain_http.seen())
    pod.terminate()
    expect(pod.codes["portcullis"] == 0, pod.codes, pod.tail())


def passes(done):
    expect(done.returncode == 0, told(done))
    return done


# The end


@check("a pod under load ends in its time: no client and no slow answer sees an error, the sidecar exits 0")
def _(stage):
    here = cluster(stage)
    answered, took = terminated_under_load(here, here.is_ready(here.pod("hurried", hurried(here.slow()))), 3)
    expect(STAY <= took < GRACE, f"{took:.1f} s")
    return f"{answered} requests, {took:.1f} s"


@check("the same with the manifest's own numbers, and an answer that takes 15 s")
def _(stage):
    here = cluster(stage)
    grace = here.template["spec"]["terminationGracePeriodSeconds"]
    answered, took = here.patient.result(90)
    expect(26 <= took < grace, f"{took:.1f} s of {grace}")
    return f"{answered} requests, {took:.1f} s of {grace}"
