"""A stand-in for the kubelet: runs a Pod's template with podman as the kubelet runs it, as far as the examples go. The
order of start and end, hooks, probes, Secrets as folders, users and rights are its own; and what it does not know
it refuses."""

import copy
import json
import os
import shutil
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from props import expect, run, until

KNOWN = {
    "name", "image", "command", "args", "env", "ports", "startupProbe", "livenessProbe", "readinessProbe", "lifecycle",
    "resources", "securityContext", "volumeMounts", "restartPolicy", "imagePullPolicy", "terminationMessagePolicy",
}
UNITS = {"Ki": "k", "Mi": "m", "Gi": "g"}


def containers(template):
    """All of them by name; native sidecars are init containers."""
    spec = template["spec"]
    return {each["name"]: each for each in (*spec.get("initContainers", ()), *spec["containers"])}


def changed(template, name, env=(), **fields):
    """A copy of a template, in which a container has other variables and fields."""
    template = copy.deepcopy(template)
    container = containers(template)[name]
    env = dict(env)
    kept = [pair for pair in container.get("env", []) if pair["name"] not in env]
    container["env"] = kept + [{"name": key, "value": value} for key, value in env.items()]
    container.update(fields)
    return template


def policy(manifest, template, node):
    """The NetworkPolicies that select this pod, as rules of nftables: only what is listed is let in, and the node."""
    labels, ports = template["metadata"]["labels"].items(), set()
    selecting = [
        each["spec"] for each in manifest
        if each["kind"] == "NetworkPolicy" and each["spec"]["podSelector"].get("matchLabels", {}).items() <= labels
    ]
    if not selecting:
        return ""
    having = (port for each in containers(template).values() for port in each.get("ports", ()))
    named = {port["name"]: port["containerPort"] for port in having}
    for spec in selecting:
        expect(spec["policyTypes"] == ["Ingress"] and all(set(rule) == {"ports"} for rule in spec["ingress"]), spec)
        for rule in spec["ingress"]:
            ports |= {named.get(port["port"], port["port"]) for port in rule["ports"]}
    listed = ", ".join(map(str, sorted(ports)))
    return f"""
        add table inet listed
        add chain inet listed in {{ type filter hook input priority 0; policy accept; }}
        add rule inet listed in iif lo accept
        add rule inet listed in ip saddr {node} accept
        add rule inet listed in tcp dport {{ {listed} }} accept
        add rule inet listed in tcp flags & (fin | syn | rst | ack) == syn drop
        add rule inet listed in meta l4proto udp drop
    """


class Volume:
    """A Secret as the kubelet mounts it: files that are links to those below `..data`, which is swapped as a whole."""

    def __init__(self, folder, mode=0o644, group=None):
        self.dir, self.mode, self.group, self.version = folder, mode, group, 0
        folder.mkdir(parents=True)
        self.own(folder, 0o755)

    def own(self, path, mode):
        if self.group is not None:
            os.chown(path, 0, self.group)
            # What the group may do the kubelet adds.
            mode |= 0o2070 if path.is_dir() else 0o040
        path.chmod(mode)

    def publish(self, files):
        self.version += 1
        into = self.dir / f"..v{self.version}"
        into.mkdir()
        self.own(into, 0o755)
        for name, text in files.items():
            (into / name).write_text(text)
            self.own(into / name, self.mode)
        os.symlink(into.name, self.dir / "..data_tmp")
        os.rename(self.dir / "..data_tmp", self.dir / "..data")
        for name in files:
            if not (self.dir / name).is_symlink():
                os.symlink(f"..data/{name}", self.dir / name)


def leaf(authority, folder, names):
    """The data of a kubernetes.io/tls Secret."""
    folder.mkdir(parents=True)
    crt, key = folder / "tls.crt", folder / "tls.key"
    authority.sign("/CN=leaf", crt, key, f"subjectAltName={names}\nextendedKeyUsage=serverAuth\n")
    return {"tls.crt": crt.read_text(), "tls.key": key.read_text()}


class Pod:
    """One of a template, at an address; `secrets` are the data by the name of the Secret."""

    def __init__(self, lab, name, template, address, secrets, rules=""):
        self.lab, self.name, self.address, self.spec = lab, name, address, template["spec"]
        self.folder = lab.folder / "pods" / name
        self.folder.mkdir(parents=True)
        self.inside = lab.network(name, address, rules)
        self.group = self.spec.get("securityContext", {}).get("fsGroup")
        self.volumes = {}
        for volume in self.spec.get("volumes", ()):
            kind = next(key for key in volume if key != "name")
            expect(kind in ("secret", "hostPath"), f"a volume of kind {kind}")
            if kind == "secret":
                mounted = Volume(self.folder / volume["name"], volume["secret"].get("defaultMode", 0o644), self.group)
                mounted.publish(secrets[volume["secret"]["secretName"]])
                self.volumes[volume["name"]] = mounted
            else:
                self.volumes[volume["name"]] = volume["hostPath"]["path"]
        self.secrets, self.codes, self.ended = secrets, {}, {}
        self.init, self.apps = self.spec.get("initContainers", []), self.spec["containers"]
        self.containers = {each["name"]: each for each in (*self.init, *self.apps)}

    # Start

    def start(self):
        """Native sidecars one after the other, each when the one before has started; then the rest."""
        for container in self.init:
            expect(container.get("restartPolicy") == "Always", "an init container that ends")
            self.run(container)
            self.started(container)
        for container in self.apps:
            self.run(container)
        for container in self.apps:
            self.started(container)
        return self

    def started(self, container):
        probe = container.get("startupProbe")
        if probe:
            seconds = probe.get("failureThreshold", 3) * probe.get("periodSeconds", 10)
            until(min(seconds, 30), f"{self.name}: {container['name']} has started", lambda: self.probe(container, probe))

    def run(self, container):
        unknown = set(container) - KNOWN
        expect(not unknown, f"the stand-in for the kubelet does not know {unknown}")
        pod, own = self.spec.get("securityContext", {}), container.get("securityContext", {})
        user, group = (own.get(key, pod.get(key)) for key in ("runAsUser", "runAsGroup"))
        config = self.lab.inspect(local(container["image"]))["Config"]
        if pod.get("runAsNonRoot") and user is None:
            name = config.get("User", "").split(":")[0]
            expect(name.isdecimal() and int(name) > 0, f"runAsNonRoot, and the image's user is {name!r}")
        options = [
            "--name", self.of(container["name"]), "--hostname", self.name, "--network", self.lab.place(self.name),
            "--cgroup-parent", self.lab.cgroup, "--pull", "never", "--http-proxy=false", "--log-driver", "k8s-file",
        ]
        if user is not None:
            # As the kubelet does it: whoever says nothing of a group is in that of root.
            options += ["--user", f"{user}:{0 if group is None else group}"]
        if self.group is not None:
            options += ["--group-add", str(self.group)]
        if own.get("readOnlyRootFilesystem"):
            options += ["--read-only", "--read-only-tmpfs=false"]
        if own.get("allowPrivilegeEscalation") is False:
            options += ["--security-opt", "no-new-privileges"]
        for word in own.get("capabilities", {}).get("drop", ()):
            options += ["--cap-drop", word]
        memory = container.get("resources", {}).get("limits", {}).get("memory")
        if memory:
            options += ["--memory", memory[:-2] + UNITS[memory[-2:]]]
        for pair in container.get("env", ()):
            options += ["--env", f"{pair['name']}={self.value(pair)}"]
        for mount in container.get("volumeMounts", ()):
            volume = self.volumes[mount["name"]]
            place = volume.dir if isinstance(volume, Volume) else volume
            options += ["--volume", f"{place}:{mount['mountPath']}:{'ro' if mount.get('readOnly') else 'rw'}"]
        if "command" in container:
            options += ["--entrypoint", json.dumps(container["command"])]
        self.lab.done("run", "--detach", *options, local(container["image"]), *container.get("args", ()))

    def value(self, pair):
        if "value" in pair:
            return pair["value"]
        known = {"status.podIP": self.address, "metadata.name": self.name}
        return known[pair["valueFrom"]["fieldRef"]["fieldPath"]]

    def of(self, container):
        """How podman names a container."""
        return f"{self.name}-{container}"

    # While it runs

    def probe(self, container, probe):
        """From the node, as the kubelet does it."""
        if "exec" in probe:
            return self.exec(container["name"], *probe["exec"]["command"]).returncode == 0
        get, seconds = probe["httpGet"], probe.get("timeoutSeconds", 1)
        named = {port["name"]: port["containerPort"] for port in container.get("ports", ()) if "name" in port}
        scheme = get.get("scheme", "HTTP").lower()
        url = f"{scheme}://{self.address}:{named.get(get['port'], get['port'])}{get.get('path', '/')}"
        done = run(*self.lab.inside, "curl", "-sk", "-m", seconds, "-o", "/dev/null", "-w", "%{http_code}", url)
        return done.stdout[:1] in ("2", "3")

    def ready(self):
        probed = [each for each in self.containers.values() if "readinessProbe" in each]
        return all(self.probe(each, each["readinessProbe"]) for each in probed)

    def alive(self):
        """Every container runs, and every liveness probe succeeds."""
        up = self.lab.done("ps", "--format", "{{.Names}}").split()
        probed = [each for each in self.containers.values() if "livenessProbe" in each]
        return all(self.of(each) in up for each in self.containers) and all(
            self.probe(each, each["livenessProbe"]) for each in probed
        )

    def exec(self, container, *command, timeout=60):
        return self.lab.podman("exec", self.of(container), *command, timeout=timeout)

    def logs(self, container):
        done = self.lab.podman("logs", self.of(container))
        return done.stdout, done.stderr

    def status(self, container):
        """/proc/PID/status of the container's first process, as the node sees it."""
        pid = self.lab.done("inspect", "--format", "{{.State.Pid}}", self.of(container)).strip()
        lines = self.lab.must(*self.lab.inside, "cat", f"/proc/{pid}/status").splitlines()
        return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}

    def tail(self):
        said = []
        for name in self.containers:
            for text in self.logs(name):
                said += [f"{self.of(name)}: {line[:300]}" for line in text.splitlines()[-6:]]
        return "\n".join(said)

    # End

    def terminate(self):
        """As the kubelet ends a pod: all hooks at once; SIGTERM for each container when its hook has returned, for native
        sidecars not before all others have ended; SIGKILL for what is left at the end of the grace period. Returns the
        seconds it took; `codes` are the exit codes."""
        began = time.monotonic()
        grace = self.spec.get("terminationGracePeriodSeconds", 30)
        deadline = began + grace
        apps_ended = threading.Event()

        def left():
            return max(deadline - time.monotonic(), 0)

        def end(container, sidecar):
            hook = container.get("lifecycle", {}).get("preStop")
            if hook:
                self.hook(container, hook, left)
            if sidecar:
                apps_ended.wait(left())
            # The kubelet gives at least 2 s to what it has kept waiting.
            seconds = max(int(left()), 2)
            self.lab.done("stop", "--time", seconds, self.of(container["name"]), timeout=seconds + 30)
            self.ended[container["name"]] = time.monotonic() - began

        with ThreadPoolExecutor(len(self.containers)) as pool:
            apps = [pool.submit(end, container, False) for container in self.apps]
            sidecars = [pool.submit(end, container, True) for container in self.init]
            for each in apps:
                each.result()
            apps_ended.set()
            for each in sidecars:
                each.result()
        took = time.monotonic() - began
        for name in self.containers:
            self.codes[name] = int(self.lab.done("inspect", "--format", "{{.State.ExitCode}}", self.of(name)))
        return took

    def hook(self, container, hook, left):
        if "sleep" in hook:
            threading.Event().wait(min(hook["sleep"]["seconds"], left()))
            return
        try:
            done = self.exec(container["name"], *hook["exec"]["command"], timeout=left() or 0.1)
        except subprocess.TimeoutExpired:
            return
        self.ended[f"{container['name']} preStop"] = done.returncode

    def remove(self):
        """Its containers and its address are free again."""
        self.lab.podman("rm", "--force", "--time", "0", *(self.of(name) for name in self.containers))
        self.lab.no_network(self.name)
        shutil.rmtree(self.folder)


def local(image):
    """An image that is built here."""
    return image if "/" in image else f"localhost/{image}"
