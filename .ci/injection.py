"""Injection: manifests with the sidecar put in, against the schemas of all versions; and the admission webhook, asked as
an API server asks, with patches applied by a library of others, and its certificate renewed while it is asked."""

import base64
import copy
import http.client
import json
import re
import ssl
import subprocess
import threading

import jsonpatch
import yaml

import rules
from manifests import MINORS, accepted, documents, invalid
from props import BINARY, CHECKOUT, CLEAN, Checks, Process, expect, free_port, run, sha256, until

check = Checks()

MANIFESTS = CHECKOUT / "tests/manifests"
SETTINGS = ("--tls-secret", "app-tls")
LIMIT = 4 * 1024 * 1024
# The app's own probes keep their time limits and grace periods; the notes tell what these mean.
LEFT = re.compile(r"not long enough$|^(?!portcullis has).* has its preStop before")


def portcullis(command, text, *arguments):
    """What a command makes of a manifest: bytes in, bytes out."""
    words = [BINARY, command, "-f", "-", *arguments]
    return subprocess.run([str(word) for word in words], input=text, env=CLEAN, capture_output=True, timeout=30)


def inject(text, *arguments):
    done = portcullis("inject", text, *SETTINGS, *arguments)
    expect(done.returncode == 0, done.stderr.decode())
    return done.stdout


def objects(text):
    for document in documents(text.decode()):
        yield from document["items"] if document["kind"] == "List" else [document]


def template_of(document):
    """The pod, or the template of pods, of an object."""
    spec = document.get("spec", {})
    if document["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    return document if document["kind"] == "Pod" else spec.get("template")


def injected(found):
    """The pods that have a sidecar now."""
    pods = [template_of(each)["spec"] for each in found if (template_of(each) or {}).get("spec")]
    # A list that is null is one that is not there.
    pods = [{key: value for key, value in pod.items() if value is not None} for pod in pods]
    pods = [pod for pod in pods if rules.sidecar_of(pod)]
    for pod in pods:
        # Where another container has the name, the sidecar's port has none.
        for name, port in zip(("https", "probe"), rules.sidecar_of(pod)["ports"]):
            port.setdefault("name", name)
    return pods


def manifests():
    return sorted(path for path in MANIFESTS.iterdir() if path.is_file())


@check("manifests of all shapes are valid for Kubernetes 1.29 to 1.37 with the sidecar in them, native and classic, and keep the rules")
def _(stage):
    seen = 0
    for path in manifests():
        text = path.read_bytes()
        for given in ((), ("--pre-stop", "exec"), ("--mode", "classic")):
            if given == ("--mode", "classic") and b"Job" in text:
                continue
            found = list(objects(inject(text, *given)))
            for minor in MINORS:
                wrong = [sentence for each in found for sentence in invalid(each, minor)]
                expect(found and not wrong, f"{path.name} {given}, Kubernetes 1.{minor}:", *wrong)
            for pod in injected(found):
                told_of = rules.about_sidecar(rules.sidecar_of(pod), pod, 30)
                wrong = [each for each in told_of if not LEFT.search(each)] + [*ending(pod)]
                expect(not wrong, f"{path.name} {given}", *wrong)
                seen += 1
        for pod in injected(list(objects(inject(text)))):
            accepted(stage, pod, path.name)
    return f"{len(manifests())} manifests, {seen} pods"


def ending(pod):
    """The numbers of a pod's end: the drain has the time that it may take, and the sidecar is told how much there is."""
    said, grace = rules.settings(rules.sidecar_of(pod)), pod.get("terminationGracePeriodSeconds", 30)
    drained = sum(rules.seconds(said.get(f"PORTCULLIS_DRAIN_{name}", usual))
                  for name, usual in (("DELAY", rules.DRAIN_DELAY), ("TIMEOUT", rules.DRAIN_TIMEOUT))) + 1
    if rules.seconds(said["PORTCULLIS_GRACE_PERIOD"]) != grace or grace < drained:
        yield f"a drain takes {drained} s, the pod has {grace}, and the sidecar is told {said['PORTCULLIS_GRACE_PERIOD']}"
    stays = [rules.pre_stop_of(each) for each in pod["containers"] if each["name"] != rules.SIDECAR]
    if any(stay is not None and stay >= grace for stay in stays):
        yield f"a container stays for {stays} s of {grace}"


@check("twice is once, and what was put in is taken out byte for byte, by the release build")
def _(stage):
    for path in manifests():
        once = inject(path.read_bytes())
        expect(inject(once) == once, f"{path.name} is not the same when it is injected again")
        out = portcullis("uninject", once)
        expect(out.returncode == 0 and out.stdout == path.read_bytes(), f"{path.name} does not come back", out.stderr.decode())


class Webhook:
    """`portcullis webhook`, and an API server's way to ask it."""

    def __init__(self, stage):
        self.secret = stage.secret
        self.port, probe = free_port(), free_port()
        environment = {
            "PORTCULLIS_LISTEN": f"127.0.0.1:{self.port}", "PORTCULLIS_PROBE": f"127.0.0.1:{probe}",
            "PORTCULLIS_ADMIN": "127.0.0.1:0", "PORTCULLIS_CERT_DIR": str(self.secret.dir),
        }
        given = ("--inject", "tls-secret=app-tls")
        self.process = Process("webhook", [BINARY, "webhook", *given], environment, stage.folder)
        ready = f"http://127.0.0.1:{probe}/readyz"
        until(15, "the webhook is ready", lambda: run("curl", "-sf", ready).returncode == 0)
        self.context = ssl.create_default_context(cafile=self.secret.ca)

    def connection(self):
        return http.client.HTTPSConnection("localhost", self.port, context=self.context, timeout=15)

    def ask(self, body, connection=None, **headers):
        """The status and the answer to a body."""
        connection = connection or self.connection()
        connection.request("POST", "/mutate?timeout=10s", body, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        return answer.status, answer.read()

    def review(self, given, connection=None, **more):
        """The response to a review of an object."""
        body = json.dumps(review(given, **more))
        status, answer = self.ask(body, connection)
        expect(status == 200, status, answer.decode(errors="replace"))
        answer = json.loads(answer)
        expect((answer["apiVersion"], answer["kind"]) == ("admission.k8s.io/v1", "AdmissionReview"), answer)
        expect(answer["response"]["uid"] == "705ab4f5-6393-11e8-b7cc-42010a800002", answer)
        return answer["response"]


def review(given, operation="CREATE", **more):
    group, _, version = given["apiVersion"].rpartition("/")
    kind = {"group": group, "version": version, "kind": given["kind"]}
    return {
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "kind": kind, "operation": operation, "namespace": "shop",
            "resource": {"group": group, "version": version, "resource": given["kind"].lower() + "s"},
            "requestKind": kind, "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller"},
            "object": given, "oldObject": None, "dryRun": False, "options": {"kind": "CreateOptions"}, **more,
        },
    }


def patched(given, response):
    """The object with the patch applied."""
    expect(response["allowed"], response)
    if "patch" not in response:
        return given
    expect(response["patchType"] == "JSONPatch", response)
    return jsonpatch.apply_patch(copy.deepcopy(given), json.loads(base64.b64decode(response["patch"])))


def pods():
    """Pods as controllers make them, of all the templates in the manifests."""
    for path in manifests():
        for document in objects(path.read_bytes()):
            template = template_of(document)
            if not template or "helm.sh/hook" in document["metadata"].get("annotations", {}):
                continue
            metadata = {**(template.get("metadata") or {}), "namespace": "shop"}
            if metadata.get("annotations") is None:
                metadata.pop("annotations", None)
            metadata.setdefault("name", document["metadata"]["name"])
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
            # Without what aliases share.
            yield path.name, json.loads(json.dumps(pod))


def webhook(stage):
    if not hasattr(stage, "webhook"):
        stage.webhook = Webhook(stage)
    return stage.webhook


@check("the webhook's patch, applied by a library of others, makes the same pod as the command; a second call patches nothing")
def _(stage):
    asked, seen = webhook(stage), 0
    for name, pod in pods():
        made = patched(pod, asked.review(pod))
        wanted = json.loads(inject(json.dumps(pod, ensure_ascii=False).encode()))
        expect(made == wanted, f"{name}: {pod['metadata']['name']}", json.dumps(made), json.dumps(wanted))
        again = asked.review(made)
        expect(again["allowed"] and "patch" not in again, again)
        seen += "portcullis" in json.dumps(made["spec"])
    expect(seen > 20, f"{seen} pods")
    return f"{seen} pods"


@check("a Service that says which port is the app's is led to the sidecar, again after somebody has led it back")
def _(stage):
    asked = webhook(stage)
    annotations = {"portcullis.dev/target-port": "8080"}
    given = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "annotations": annotations},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}, {"port": 81, "name": "x"}]},
    }
    made = patched(given, asked.review(given))
    expect([port.get("targetPort") for port in made["spec"]["ports"]] == [8443, None], made)
    expect("patch" not in asked.review(made, operation="UPDATE"), made)
    made["spec"]["ports"][0]["targetPort"] = 8080
    made = patched(made, asked.review(made, operation="UPDATE"))
    expect(made["spec"]["ports"][0]["targetPort"] == 8443, made)


@check("a pod that cannot be protected is refused with all reasons; one that is opted out is let through as it is")
def _(stage):
    asked = webhook(stage)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "web-", "annotations": {}},
           "spec": {"hostNetwork": True, "containers": [{"name": "app", "ports": [{"containerPort": 8443}]}]}}
    pod["metadata"]["annotations"] = {"portcullis.dev/client-auth": "requird"}
    refused = asked.review(pod)
    message = refused["status"]["message"]
    expect(not refused["allowed"] and "patch" not in refused, refused)
    expect(all(part in message for part in ("requird", "portcullis.dev/inject")), message)
    pod["metadata"]["annotations"] = {"portcullis.dev/inject": "disabled"}
    expect(asked.review(pod)["allowed"] and "patch" not in asked.review(pod), asked.review(pod))
    pod["metadata"]["annotations"] = {}
    expect("hostNetwork" in asked.review(pod)["status"]["message"], asked.review(pod))


@check("what is no review is answered in HTTP, malformed and oversized bodies included, and the webhook goes on")
def _(stage):
    asked = webhook(stage)
    whole = json.dumps(review(next(pods())[1])).encode()
    for body in (b"", b"{", b"[]", b"null", whole[:-1], whole + b"x", b"\xff" * 100, b"[" * 100_000,
                 b'{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview","request":{}}',
                 b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}'):
        status, answer = asked.ask(body)
        expect(status == 400 and answer, status, body[:80], answer)
    expect(asked.ask(whole, **{"Content-Type": "text/plain"})[0] == 415, "text/plain")
    for oversized in (b" " * (LIMIT + 1), iter([b" " * 65536] * 80)):
        try:
            status = asked.ask(oversized)[0]
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            status = 413
        expect(status == 413, status)
    large = review(next(pods())[1])
    large["request"]["object"]["metadata"]["annotations"] = {f"key-{number}": "x" * 1000 for number in range(2500)}
    status, answer = asked.ask(json.dumps(large))
    expect(status == 200 and json.loads(answer)["response"]["allowed"], status, answer[:200])
    expect(asked.review(next(pods())[1])["allowed"], "it does not go on")


@check("the webhook's certificate is renewed under load, and no review fails")
def _(stage):
    asked, wrong, stop, done = webhook(stage), [], threading.Event(), []
    pod = next(pods())[1]

    def ask(is_kept):
        kept = asked.connection() if is_kept else None
        while not stop.is_set():
            try:
                if "patch" not in asked.review(pod, kept):
                    wrong.append("no patch")
            except Exception as error:  # noqa: BLE001
                wrong.append(repr(error))
            done.append(1)

    threads = [threading.Thread(target=ask, args=(number % 2,)) for number in range(6)]
    for thread in threads:
        thread.start()
    try:
        for version in range(20, 25):
            before = len(done)
            asked.secret.write(f"..v{version}")
            asked.secret.publish(f"..v{version}")
            wanted = asked.secret.fingerprint(f"..v{version}")
            until(15, "the renewed certificate is shown", lambda wanted=wanted: shown(asked) == wanted)
            until(15, "reviews go on", lambda before=before: len(done) > before + 20)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    expect(not wrong, f"{len(wrong)} of {len(done)} failed", *wrong[:5])
    return f"{len(done)} reviews, 5 certificates"


def shown(asked):
    """The fingerprint of the certificate that a new connection is shown."""
    connection = asked.connection()
    connection.connect()
    leaf = connection.sock.getpeercert(binary_form=True)
    connection.close()
    return sha256(leaf)


@check("the example: ports, probes and numbers as the README tells, and each line of the diff that it shows")
def _(stage):
    example = (CHECKOUT / "examples/injection/app.yaml").read_bytes()
    found = list(yaml.safe_load_all(inject(example)))
    pod = rules.pod_of(next(each for each in found if each["kind"] == "Deployment"))
    service = next(each for each in found if each["kind"] == "Service")
    expect(service["spec"]["ports"][0] == {"name": "web", "port": 80, "targetPort": 8443}, service)
    probes = {name: pod["containers"][0][name]["httpGet"] for name in ("livenessProbe", "readinessProbe")}
    expect(all(asked == {"path": "/app", "port": 9902} for asked in probes.values()), probes)
    diff = iter(portcullis("inject", example, *SETTINGS, "--diff", "--quiet").stdout.decode().splitlines())
    shown = (CHECKOUT / "README.md").read_text().split("```diff\n")[1].split("```")[0].splitlines()
    for line in shown:
        begin = line.split("…")[0]
        expect(any(real.startswith(begin) for real in diff), f"the README shows what is not there, or not there: {line}")
