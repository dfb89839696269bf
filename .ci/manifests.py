"""Manifests, plain or rendered: valid for every version of Kubernetes, by rules that schemas miss, and for the sidecar
itself. Then the plain ones of `examples/kubernetes`."""

import copy
import functools
import json
import shutil
import tempfile
from pathlib import Path

import jsonschema
import yaml
from cloudcoil.models.cert_manager import v1 as cert_manager
from cloudcoil.models.prometheus_operator import v1 as prometheus_operator
from kubernetes_validate import utils

import rules
from props import BINARY, CHECKOUT, CLEAN, Checks, expect, run, told

check = Checks()

PLAIN = CHECKOUT / "examples/kubernetes"
MINORS = range(29, 38)
CUSTOM = {
    ("cert-manager.io/v1", kind): getattr(cert_manager, kind) for kind in ("Certificate", "Issuer")
} | {
    ("monitoring.coreos.com/v1", kind): getattr(prometheus_operator, kind) for kind in ("PodMonitor", "PrometheusRule")
}
# Read once, and not for each document.
utils.schema_contents = functools.cache(utils.schema_contents)
utils.all_versions = functools.cache(utils.all_versions)


class Strict(yaml.SafeLoader):
    """YAML in which a key that is there twice is an error, as it is to the API server."""

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        expect(len(keys) == len(set(keys)), f"a key twice: {keys}", str(node.start_mark))
        return super().construct_mapping(node, deep)


def documents(text):
    return [each for each in yaml.load_all(text, Strict) if each]


def plain(name):
    return documents((PLAIN / name).read_text())


@functools.cache
def custom_schema(api_version, kind):
    """The schema of a custom resource, in which nothing is allowed that it does not name."""
    schema = CUSTOM[api_version, kind].model_json_schema()

    def close(part):
        if isinstance(part, dict):
            if "properties" in part:
                part.setdefault("additionalProperties", False)
            for each in part.values():
                close(each)
        for each in part if isinstance(part, list) else ():
            close(each)

    close(schema)
    return jsonschema.Draft202012Validator(schema)


def invalid(document, minor):
    """What the schemas of Kubernetes 1.`minor` say of a document, or nothing."""
    key = document["apiVersion"], document["kind"]
    try:
        if key in CUSTOM:
            custom_schema(*key).validate(document)
        else:
            utils.validate(document, f"1.{minor}", strict=True)
    except jsonschema.ValidationError as error:
        return [f"{document['kind']} {document['metadata']['name']}: {list(error.path)}: {error.message}"]
    return []


def hold(found, minor, where, excused=None):
    """Fails unless all of these are valid and keep the rules, but for the one that they are excused from, and break."""
    wrong = [sentence for each in found for sentence in invalid(each, minor)] or rules.broken(found, minor)
    if excused:
        expect(any(excused in sentence for sentence in wrong), f"{where} has no need to be excused from {excused!r}")
        wrong = [sentence for sentence in wrong if excused not in sentence]
    expect(found and not wrong, f"{where}, Kubernetes 1.{minor}:", *wrong)


def certificate(stage, into):
    """A Secret's folder, with a CA for clients in it."""
    shutil.copytree(stage.secret.dir / "..v1", into, dirs_exist_ok=True)
    shutil.copy(stage.clients.crt, into / "ca.crt")
    return into


class Mounted:
    """Files of the right kind in place of what is mounted below /etc/portcullis."""

    def __init__(self, stage):
        # Each has a folder of its own: some are asked about at the same time.
        self.stage, self.folder = stage, Path(tempfile.mkdtemp(dir=stage.folder))

    def at(self, option, text):
        """The value of an option, with other paths: each leads to a file or folder that is there."""
        return ",".join(self.file(option, part) if part.startswith("/etc/") else part for part in text.split(","))

    def file(self, option, path):
        into = self.folder / path.lstrip("/")
        into.parent.mkdir(parents=True, exist_ok=True)
        if option == "cert-dir":
            certificate(self.stage, into)
        elif option in ("client-ca", "trace-ca"):
            shutil.copy(self.stage.clients.crt, into)
        elif option == "client-crl":
            shutil.copy(self.stage.clients.crl, into)
        elif option == "trace-header-file":
            into.write_text("Authorization: Bearer 0123456789abcdef\n")
        else:
            into.write_text("ring: 500\n" if option == "config" else "0123456789abcdef0123456789abcdef\n")
        return str(into)


def accepted(stage, pod, where):
    """Fails unless `portcullis check` takes the arguments and variables of the pod's sidecar."""
    sidecar, mounted = rules.sidecar_of(pod), Mounted(stage)
    environment, arguments = {"PORTCULLIS_CERT_DIR": mounted.at("cert-dir", "/etc/portcullis/tls")}, []
    for name, value in rules.settings(sidecar).items():
        # What is not given as a value comes from elsewhere.
        option = name.removeprefix("PORTCULLIS_").lower().replace("_", "-")
        environment[name] = mounted.at(option, value or "from-elsewhere")
    for argument in sidecar["args"]:
        option, equals, value = argument.partition("=")
        arguments.append(option + equals + mounted.at(option.lstrip("-"), value))
    done = run(BINARY, "check", *arguments[1:], env={**CLEAN, **environment})
    wrong = [line for line in told(done).splitlines() if "error" in line or "is not an option" in line]
    expect(arguments[0] == "run" and done.returncode == 0 and not wrong, where, *(wrong or [told(done)[:1000]]))


@check("the plain manifests are valid for Kubernetes 1.29 to 1.37, keep the rules, and name options that the sidecar takes")
def _(stage):
    names = sorted(path.name for path in PLAIN.glob("*.yaml"))
    expect(len(names) == 3, names)
    for name in names:
        found = plain(name)
        for minor in MINORS:
            hold(found, minor, name)
        pods = [pod for pod in map(rules.pod_of, found) if pod]
        for pod in pods:
            accepted(stage, pod, name)
        expect(len(pods) == 1, name)
        environment = rules.settings(rules.sidecar_of(pods[0]))
        expect({"SRV_NAME", "PORT", "TARGET"} <= set(environment), name, environment)
    return f"{len(names)} manifests"


def patched(document, patch):
    """A strategic merge, as far as the example goes: lists of what has a name are merged by it."""
    if isinstance(patch, dict):
        return {**document, **{key: patched(document.get(key), part) for key, part in patch.items()}}
    if isinstance(patch, list) and document:
        by_name = {part["name"]: part for part in document}
        by_name.update((part["name"], patched(by_name.get(part["name"], {}), part)) for part in patch)
        return list(by_name.values())
    return patch


@check("examples/traces/kubernetes.yaml as a patch of the Deployment is valid, keeps the rules, and names options that exist")
def _(stage):
    [patch] = documents((CHECKOUT / "examples/traces/kubernetes.yaml").read_text())
    name = "legacy-app.yaml, patched"
    found = [patched(each, patch) if each["kind"] == "Deployment" else each for each in plain("legacy-app.yaml")]
    for minor in MINORS:
        hold(found, minor, name)
    [pod] = [pod for pod in map(rules.pod_of, found) if pod]
    accepted(stage, pod, name)
    traces = {key for key in rules.settings(rules.sidecar_of(pod)) if key.startswith("PORTCULLIS_TRACE_")}
    expect(len(traces) == 3, traces)


def one(manifest, kind):
    """The only document of a kind."""
    found = [document for document in manifest if document["kind"] == kind]
    expect(len(found) == 1, f"{len(found)} of {kind}")
    return found[0]


def of_kind(manifest, kind):
    return one(manifest, kind)["spec"]


def deployment(manifest):
    return one(manifest, "Deployment")


def spec(manifest):
    return rules.pod_of(deployment(manifest))


def sidecar(manifest):
    return rules.sidecar_of(spec(manifest))


def app(manifest):
    return spec(manifest)["containers"][0]


def classic(manifest):
    pod = spec(manifest)
    pod["containers"].append(pod.pop("initContainers")[0])


# What may go wrong in a manifest, and a word of what is told of it.
MISTAKES = (
    (lambda m: spec(m).update(dnsPolici="Default"), "dnsPolici"),
    (lambda m: m[0].update(sped={}), "sped"),
    (lambda m: sidecar(m).update(restartPolicy="Alwys"), "Alwys"),
    (lambda m: sidecar(m).pop("restartPolicy"), "must have restartPolicy"),
    (classic, "a container has no restartPolicy"),
    (lambda m: spec(m)["initContainers"].insert(0, {**copy.deepcopy(sidecar(m)), "name": "first"}), "starts first"),
    (lambda m: sidecar(m)["securityContext"].pop("runAsGroup"), "user and group"),
    (lambda m: app(m)["securityContext"].pop("runAsUser"), "user and group"),
    (lambda m: spec(m)["securityContext"].pop("seccompProfile"), "no seccomp profile"),
    (lambda m: sidecar(m)["securityContext"].pop("capabilities"), "capabilities"),
    (lambda m: app(m)["securityContext"].update(readOnlyRootFilesystem=False), "root can be written"),
    (lambda m: sidecar(m)["volumeMounts"][0].update(subPath="tls.crt"), "subPath"),
    (lambda m: sidecar(m)["volumeMounts"][0].pop("readOnly"), "can write to what is mounted"),
    (lambda m: sidecar(m)["volumeMounts"][0].update(name="other"), "are mounted"),
    (lambda m: sidecar(m)["env"].append(sidecar(m)["env"][0]), "the same twice in env"),
    (lambda m: sidecar(m)["readinessProbe"]["httpGet"].update(path="/livez"), "probes of portcullis ask"),
    (lambda m: app(m)["livenessProbe"]["httpGet"].update(port="probe"), "is a name"),
    (lambda m: app(m)["livenessProbe"].update(timeoutSeconds=1), "not long enough"),
    (lambda m: app(m)["livenessProbe"].pop("terminationGracePeriodSeconds"), "app has its preStop before"),
    (lambda m: sidecar(m)["livenessProbe"].pop("terminationGracePeriodSeconds"), "portcullis has its preStop before"),
    (lambda m: sidecar(m)["ports"].append({"name": "admin", "containerPort": 9901}), "ports of portcullis"),
    (lambda m: spec(m).pop("enableServiceLinks"), "Service links"),
    (lambda m: spec(m).update(terminationGracePeriodSeconds=40), "told of another grace period"),
    (lambda m: spec(m).update(terminationGracePeriodSeconds=20), "a drain takes 26 s"),
    (lambda m: app(m)["lifecycle"]["preStop"]["exec"].update(command=["sleep", "3"]), "stays for 3 s"),
    (lambda m: app(m)["lifecycle"]["preStop"]["exec"].update(command=["sleep", "30"]), "stays for 30 s"),
    (lambda m: app(m)["lifecycle"].update(preStop={"sleep": {"seconds": 26}}), "from 1.30 on"),
    (lambda m: app(m).pop("lifecycle"), "no container waits"),
    (lambda m: sidecar(m).pop("lifecycle"), "needs the preStop hook"),
    (lambda m: of_kind(m, "Service")["ports"][0].update(targetPort="https"), "leads elsewhere"),
    (lambda m: of_kind(m, "Service")["ports"][0].update(targetPort=8080), "leads elsewhere"),
    (lambda m: of_kind(m, "Service").update(type="Balancer"), "type Balancer"),
    (lambda m: of_kind(m, "Service").update(selector={"app": "none"}), "leads to no sidecar"),
    (lambda m: of_kind(m, "NetworkPolicy")["ingress"].append({"ports": [{"port": 8080}]}), "it opens {8080}"),
    (lambda m: of_kind(m, "NetworkPolicy")["ingress"].append({"ports": [{"port": 9902}]}), "it opens {9902}"),
    (lambda m: of_kind(m, "NetworkPolicy")["ingress"].append({}), "opens all ports"),
    (lambda m: of_kind(m, "NetworkPolicy").update(ingress=[]), "closes the TLS port"),
    (lambda m: of_kind(m, "PodDisruptionBudget")["selector"].update(matchLabels={"app": "none"}), "means no pod"),
    (lambda m: deployment(m)["spec"]["selector"]["matchLabels"].update(app="other"), "does not match its own pods"),
    (lambda m: m.append(renamed(deployment(m))), "it means the pods of more than one"),
)


def renamed(document):
    document = copy.deepcopy(document)
    document["metadata"]["name"] = "other"
    return document


def seen(whole, mistakes, minor=29):
    """Fails unless each of these mistakes is told of, when it is made in these documents."""
    for make, words in mistakes:
        made = copy.deepcopy(whole)
        make(made)
        wrong = [sentence for each in made for sentence in invalid(each, minor)] + rules.broken(made, minor)
        expect(any(words in sentence for sentence in wrong), f"{words!r} is not told of:", *wrong)


@check("each mistake that a manifest can have is seen: in schemas, and by the rules that schemas lack")
def _(stage):
    seen(plain("legacy-app.yaml"), MISTAKES)
    custom = {
        "apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": {"name": "x"},
        "spec": {"secretName": "x", "issuerRef": {"name": "x"}},
    }
    expect(not invalid(custom, 29), invalid(custom, 29))
    custom["spec"]["dnsName"] = "x"
    expect("dnsName" in json.dumps(invalid(custom, 29)), invalid(custom, 29))
    return f"{len(MISTAKES) + 1} mistakes"
