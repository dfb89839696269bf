"""A place to run containers in, of which nothing is left on the machine: podman in mounts, processes and a network of their
own, with images that are made here, because no registry can be reached."""

import contextlib
import ctypes
import functools
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

from props import CHECKOUT, VERSION, Process, Skipped, expect, run, told, until

RUST_IMAGE = re.search(r"^ARG RUST_IMAGE=(\S+)", (CHECKOUT / "Dockerfile").read_text(), re.MULTILINE)[1]
NODE_IMAGE = re.search(r"^ARG NODE_IMAGE=(\S+)", (CHECKOUT / "examples/legacy-app/Dockerfile").read_text(), re.MULTILINE)[1]
PORTCULLIS, LEGACY_APP = f"localhost/portcullis:{VERSION}", "localhost/legacy-app:1.0.0"
DEBIAN = {"podman": "podman", "runc": "runc", "netavark": "netavark", "nft": "nftables", "ip": "iproute2", "make": "make"}
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
CLONE_NEWNET = 0x40000000

# Works as root on a machine without CAP_SYS_RESOURCE, and with cgroups of either version.
CONTAINERS = """
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=20000:20000"]
log_driver = "k8s-file"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
static_dir = "{folder}/libpod"
tmp_dir = "{folder}/tmp"
volume_path = "{folder}/volumes"
[network]
network_backend = "netavark"
network_config_dir = "{folder}/networks"
"""
STORAGE = """
[storage]
driver = "overlay"
graphroot = "{folder}/graph"
runroot = "{folder}/run"
"""
# The first process of the lab: when it ends, all others do, and with them the mounts and the networks.
INIT = "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN); print('up', flush=True); signal.pause()"


def install():
    """What is missing, as .ci/run does it."""
    missing = [package for command, package in DEBIAN.items() if not shutil.which(command, path=f"{os.defpath}:/usr/sbin")]
    if "netavark" in missing and Path("/usr/lib/podman/netavark").exists():
        missing.remove("netavark")
    if missing:
        options = ("install", "-y", "-qq", "--no-install-recommends", *missing)
        for words in (("update", "-qq"), options):
            done = run("apt-get", *words, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, timeout=300)
        if done.returncode != 0:
            raise Skipped(f"{' '.join(missing)} cannot be installed here: {done.stderr.strip()[-300:]}")


class Lab:
    """10.77.0.1 is the node: a bridge with the pods on it, and with the clients, who are nobody's node."""

    NODE, CLIENTS = "10.77.0.1", "10.77.0.2"

    def __init__(self, folder):
        if os.geteuid() != 0:
            raise Skipped("containers take root here")
        install()
        self.folder = folder / "lab"
        for name in ("networks", "net", "volumes"):
            (self.folder / name).mkdir(parents=True)
        self.config, self.storage = self.folder / "containers.conf", self.folder / "storage.conf"
        self.config.write_text(CONTAINERS.format(folder=self.folder))
        self.storage.write_text(STORAGE.format(folder=self.folder))
        self.cgroup = f"/portcullis-lab-{os.getpid()}"
        alone = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
        if run(*alone, "true").returncode != 0:
            raise Skipped("mounts, processes and networks of one's own are not permitted here")
        self.holder = Process("lab", [*alone, sys.executable, "-c", INIT], {}, self.folder)
        until(5, "the lab is there", lambda: "up" in self.holder.stdout.read_text())
        unshare = self.holder.child.pid
        self.pid = int(Path(f"/proc/{unshare}/task/{unshare}/children").read_text().split()[0])
        self.outside = ("nsenter", "-m", "-p", "-t", str(self.pid), "--")
        self.inside = ("nsenter", "-m", "-p", "-n", "-t", str(self.pid), "--")
        # podman's locks are there.
        self.must(*self.inside, "mount", "-t", "tmpfs", "tmpfs", "/dev/shm")
        if "overlay" in run("stat", "-f", "-c", "%T", self.folder).stdout:
            (self.folder / "graph").mkdir()
            self.must(*self.inside, "mount", "-t", "tmpfs", "-o", "size=8g", "tmpfs", self.folder / "graph")
        self.must(*self.inside, "sh", "-c", " && ".join((
            "ip link set lo up", "ip link add pods type bridge", f"ip addr add {self.NODE}/24 dev pods",
            "ip link set pods up",
        )))
        self.numbers, self.ports = iter(range(1, 1000)), {}
        self.clients = self.network("clients", self.CLIENTS)
        done = self.podman("info", "--format", "{{.Store.GraphRoot}}")
        if done.returncode != 0:
            raise Skipped(f"podman does not work here: {done.stderr.strip()[-300:]}")

    def must(self, *command, **options):
        done = run(*command, **options)
        expect(done.returncode == 0, told(done))
        return done.stdout

    # Networks

    def network(self, name, address, rules=""):
        """A network of its own on the bridge, with rules of nftables; returns what enters it."""
        holder = self.folder / "net" / name
        port = self.ports[name] = f"pod{next(self.numbers)}"
        # The same for the same address, so that whoever has spoken to it finds it again.
        hardware = f"02:00:00:00:00:{int(address.rpartition('.')[2]):02x}"
        holder.touch()
        self.must(*self.inside, "unshare", f"--net={holder}", "true")
        inside = (*self.inside, "nsenter", f"--net={holder}", "--")
        self.must(*inside, "sh", "-c", " && ".join((
            # Process 1 is on the node.
            f"ip link add eth0 address {hardware} type veth peer name {port} netns 1", "ip link set lo up",
            f"ip addr add {address}/24 dev eth0", "ip link set eth0 up", f"ip route add default via {self.NODE}",
        )))
        self.must(*self.inside, "ip", "link", "set", port, "master", "pods", "up")
        if rules:
            self.must(*inside, "nft", "-f", "-", text=rules)
        return inside

    def no_network(self, name):
        holder = self.folder / "net" / name
        self.must(*self.inside, "ip", "link", "delete", self.ports.pop(name))
        run(*self.inside, "umount", holder)
        holder.unlink(missing_ok=True)

    def place(self, name):
        """How podman names a network."""
        return f"ns:{self.folder / 'net' / name}"

    @contextlib.contextmanager
    def joined(self, name=None):
        """This thread is in one of the networks, or on the node. For a thread that ends with it."""
        expect(threading.current_thread() is not threading.main_thread(), "the main thread stays where it is")
        # A network of the lab's mounts is reached by a link of its first process.
        path = f"/proc/{self.pid}/root{self.folder / 'net' / name}" if name else f"/proc/{self.pid}/ns/net"
        with open(path) as network:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.setns(network.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        yield

    # podman

    @property
    def env(self):
        kept = {name: value for name, value in os.environ.items() if "proxy" in name.lower()}
        kept |= {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        return {**kept, "CONTAINERS_CONF": str(self.config), "CONTAINERS_STORAGE_CONF": str(self.storage)}

    def podman(self, *arguments, timeout=60, **options):
        return run(*self.inside, "podman", *arguments, timeout=timeout, env=self.env, **options)

    def done(self, *arguments, **options):
        """What podman printed, when it did what it was asked to."""
        done = self.podman(*arguments, **options)
        expect(done.returncode == 0, told(done))
        return done.stdout

    def inspect(self, image):
        return json.loads(self.done("image", "inspect", image))[0]

    def files(self, image):
        """What is in an image: the members of its layers."""
        packed = self.folder / "saved.tar"
        packed.unlink(missing_ok=True)
        self.done("save", "--quiet", "--format", "oci-archive", "--output", packed, image)
        members = {}
        with tarfile.open(packed) as archive:
            def blob(digest):
                return archive.extractfile(f"blobs/{digest.replace(':', '/')}").read()

            index = json.load(archive.extractfile("index.json"))
            manifest = json.loads(blob(index["manifests"][0]["digest"]))
            for layer in manifest["layers"]:
                with tarfile.open(fileobj=io.BytesIO(blob(layer["digest"]))) as files:
                    for member in files:
                        content = files.extractfile(member).read() if member.isfile() else b""
                        members["/" + member.name.strip("./")] = (member, content)
        return members, sum(layer["size"] for layer in manifest["layers"])

    # Images

    @functools.cached_property
    def builder(self):
        """A command like docker, whose builds find images that are made here and see this machine's tools."""
        cargo = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
        rustup = Path(os.environ.get("RUSTUP_HOME") or Path.home() / ".rustup")
        node = Path(shutil.which("node")).resolve()
        npmrc = self.folder / "npmrc"
        mine = Path.home() / ".npmrc"
        npmrc.write_text((mine.read_text() if mine.exists() else "") + f"\ncafile={CERTIFICATES}\n")
        # Whatever is written to cargo's home is gone after the step.
        volumes = ["/usr:/usr:ro", "/etc/ssl:/etc/ssl:ro", f"{cargo}:{cargo}:O", f"{npmrc}:/root/.npmrc:ro"]
        if rustup.exists():
            volumes.append(f"{rustup}:{rustup}:ro")
        if not node.is_relative_to("/usr"):
            volumes.append(f"{node.parents[1]}:{node.parents[1]}:ro")
        options = ["--pull=never", "--network=host"]
        # What .ci/dist has compiled here is there for it in the same place, as long as no source is another one. It is an
        # overlay, too: the builds of the image write nothing to it.
        target = CHECKOUT / "target"
        if (target / "tools/bin/cargo-auditable").exists() and not os.environ.get("CARGO_TARGET_DIR"):
            volumes.append(f"{target}:{target}:O")
            options.append(f"--build-arg=SOURCE={CHECKOUT}")
        path = (
            cargo / "bin", node.parent, "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin",
        )
        env = {"PATH": ":".join(map(str, dict.fromkeys(path)))}
        self.stand_in(RUST_IMAGE, ["/etc/ld.so.cache"], {**env, "CARGO_HOME": cargo, "RUSTUP_HOME": rustup})
        programs = [node, shutil.which("sh"), shutil.which("env"), shutil.which("sleep")]
        # Debian's node has parts of itself there.
        programs += ["/usr/share/nodejs"] if Path("/usr/share/nodejs").exists() else []
        self.stand_in(NODE_IMAGE, [*map(Path, programs), *closure(programs)], env)
        command = self.folder / "podman"
        options += [f"--volume={volume}" for volume in volumes]
        settings = " ".join(f"{name}={value}" for name, value in self.env.items() if name.startswith("CONTAINERS"))
        # Its network is the machine's, where the registries of packages are.
        command.write_text(
            f'#!/bin/sh\nsub=$1\nshift\n[ "$sub" != build ] || set -- {" ".join(options)} "$@"\n'
            f'exec {" ".join(self.outside)} env -C "$PWD" {settings} podman "$sub" "$@"\n'
        )
        command.chmod(0o755)
        return command

    def stand_in(self, name, paths, env):
        """An image with these files of the machine, under a name that a registry would have."""
        packed = self.folder / "stand-in.tar"
        with tarfile.open(packed, "w") as archive:
            for folder in ("bin", "sbin", "lib", "lib64"):
                if Path(f"/{folder}").is_symlink():
                    archive.add(f"/{folder}")
            for folder, mode in (("tmp", 0o1777), ("root", 0o700), ("usr", 0o755), ("etc", 0o755), ("var", 0o755)):
                member = tarfile.TarInfo(folder)
                member.type, member.mode = tarfile.DIRTYPE, mode
                archive.addfile(member)
            wanted = (Path(path) for path in ("/etc/passwd", "/etc/group", "/etc/alternatives", *paths))
            # A link and what it leads to.
            for path in sorted({place for path in wanted if path.exists() for place in (real_place(path), path.resolve())}):
                archive.add(path)
        changes = (word for key, value in env.items() for word in ("--change", f"ENV {key}={value}"))
        self.done("import", "--quiet", *changes, packed, name)
        packed.unlink()

    @functools.cached_property
    def built(self):
        """Both images, as `make build-images` makes them; returns what it said."""
        done = subprocess.run(
            ["make", "build-images", f"CONTAINER={self.builder}"], cwd=CHECKOUT, env=dict(os.environ), timeout=1800,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )
        expect(done.returncode == 0, done.stdout[-4000:])
        return done.stdout

    def close(self):
        """All that runs in it ends with its first process; what is left are control groups."""
        self.podman("rm", "--force", "--all", "--time", "0")
        self.holder.kill()
        for top in Path("/sys/fs/cgroup").glob(f"**/{self.cgroup.strip('/')}"):
            for group in sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True):
                with contextlib.suppress(OSError):
                    group.rmdir()
            with contextlib.suppress(OSError):
                top.rmdir()


def real_place(path):
    """The path with the links among its folders followed, and not the last one."""
    return path.parent.resolve() / path.name


def closure(programs):
    """The libraries of programs."""
    found = set()
    for program in programs:
        found |= set(re.findall(r"(/\S+) \(0x", run("ldd", program).stdout))
    return sorted(Path(path) for path in found)
