"""The chart's admission webhook: its certificate, also over upgrades, its arguments and settings, taken by the real binary,
which answers what an API server would ask."""

import base64
import copy
import json
import re

import apiserver
import charts
import manifests
import rules
from manifests import one
from props import BINARY, CLEAN, VERSION, Checks, Sidecar, expect, free_port, openssl, run, told, until
from values import schema

check = Checks()

NAME = "shop-portcullis-webhook"
HOST = f"{NAME}.legacy.svc"
ON = ("--set", "webhook.enabled=true")
# What the chart sets by itself, from other values.
OWN = {
    "inject", "listen", "service-name", "cert-dir", "cert", "key", "tls-profile", "ticket-seed", "client-auth", "client-ca",
    "client-crl", "allow-san", "client-auth-exempt", "admin", "admin-token-file", "probe", "drain-delay", "drain-timeout",
    "grace-period",
}
POD = {
    "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "shop", "namespace": "shop"},
    "spec": {"containers": [{"name": "app", "image": "shop:1", "ports": [{"name": "http", "containerPort": 8080}]}]},
}


def sets():
    found = [name for name in charts.value_sets() if name.startswith("webhook")]
    expect(len(found) >= 5, found)
    return found


def ours(found):
    """The webhook among others."""
    return [each for each in found if each["metadata"]["labels"].get("app.kubernetes.io/component") == "webhook"]


def deployment(found):
    return one(ours(found), "Deployment")


def container(found):
    return rules.webhook_of(rules.pod_of(deployment(found)))


def configuration(found):
    return one(found, "MutatingWebhookConfiguration")


def service(found):
    return one(ours(found), "Service")["spec"]


def first(found):
    return configuration(found)["webhooks"][0]


def bundle(found):
    given = {each["clientConfig"]["caBundle"] for each in configuration(found)["webhooks"]}
    expect(len(given) == 1, given)
    return base64.b64decode(given.pop()).decode()


def written(found, into):
    """The Secret as a folder, and the CA of the configuration beside it."""
    folder = into / "tls"
    folder.mkdir(parents=True)
    for name, text in one(ours(found), "Secret")["data"].items():
        (folder / name).write_bytes(base64.b64decode(text))
    (into / "bundle.crt").write_text(bundle(found))
    return folder, into / "bundle.crt"


MISTAKES = (
    (lambda m: first(m).update(failurePolicy="Open"), "failurePolicy: Open"),
    (lambda m: first(m).update(reinvocationPolicie="Never"), "reinvocationPolicie"),
    (lambda m: first(m).pop("sideEffects"), "sideEffects"),
    (lambda m: first(m)["rules"][0]["operations"].append("EXEC"), "operations: EXEC"),
    (lambda m: first(m)["clientConfig"]["service"].update(port=8443), "has the port 8443"),
    (lambda m: first(m)["clientConfig"].pop("caBundle"), "comes from nobody"),
    (lambda m: first(m)["clientConfig"].update(caBundle="AAAA"), "not that of the Secret"),
    (lambda m: configuration(m)["metadata"].update(annotations={"cert-manager.io/inject-ca-from": "x/y"}), "or from two"),
    (lambda m: first(m)["namespaceSelector"].pop("matchLabels"), "asked about another namespace"),
    (lambda m: first(m)["namespaceSelector"]["matchExpressions"][0].update(values=["kube-system"]), "about its own namespace"),
    (lambda m: first(m)["namespaceSelector"]["matchExpressions"][0].update(values=["legacy"]), "asked about kube-system"),
    (lambda m: first(m).update(objectSelector={}), "asked about what says disabled"),
    (lambda m: configuration(m)["webhooks"][1].update(objectSelector={}), "asked about what says nothing"),
    (lambda m: service(m)["ports"][0].update(targetPort=9902), "leads elsewhere"),
    (lambda m: service(m)["selector"].pop("app.kubernetes.io/name"), "it means the pods of more than one"),
    (lambda m: container(m).pop("lifecycle"), "no preStop hook"),
    (lambda m: container(m)["readinessProbe"]["httpGet"].update(port=8443), "probes of webhook ask"),
    (lambda m: rules.pod_of(deployment(m)).update(terminationGracePeriodSeconds=20), "a drain takes 26 s"),
    (lambda m: rules.pod_of(deployment(m)).pop("automountServiceAccountToken"), "a token of the API server"),
    (lambda m: container(m)["securityContext"].pop("capabilities"), "capabilities"),
)


@check("each mistake that a webhook's objects can have is seen, a selector that means the workload's pods among them")
def _(stage):
    found = charts.render(stage, "4", 37, *ON)
    expect(not rules.broken(found, 37), *rules.broken(found, 37))
    manifests.seen(found, MISTAKES, 37)
    return f"{len(MISTAKES)} mistakes"


@check("alone, the webhook is all that is installed; beside a workload it leaves the workload's objects as they were")
def _(stage):
    alone = charts.render(stage, "4", 37, *ON, "--set", "workload.enabled=false")
    expect(alone == ours(alone) and len(alone) == 7, [each["metadata"]["name"] for each in alone])
    both, before = charts.render(stage, "4", 37, *ON), charts.render(stage, "4", 37)
    expect([each for each in both if each not in ours(both)] == before, both)
    expect(sorted(map(charts.lasting, ours(both))) == sorted(map(charts.lasting, alone)), both)


@check("the certificate that the chart makes is good for the name that the API server asks for, by the CA that it is told")
def _(stage):
    for major in stage.helms:
        found = charts.render(stage, major, 37, *ON, "--set", "webhook.tls.days=20")
        folder, ca = written(found, stage.folder / f"webhook-made-{major}")
        options = ("-purpose", "sslserver", "-x509_strict", "-verify_hostname", HOST, "-CAfile", ca)
        openssl("verify", *options, folder / "tls.crt")
        other = run("openssl", "verify", "-verify_hostname", f"{NAME}.other.svc", "-CAfile", ca, folder / "tls.crt")
        expect(other.returncode != 0, told(other))
        expect(ca.read_text() == (folder / "ca.crt").read_text(), ca.read_text())
        keys = (openssl("x509", "-in", folder / "tls.crt", "-noout", "-pubkey"), openssl("pkey", "-in", folder / "tls.key", "-pubout"))
        expect(keys[0] == keys[1], keys)
        expect(run("openssl", "x509", "-in", folder / "tls.crt", "-noout", "-checkend", 21 * 86400).returncode == 1, "21 days")


def installed(document):
    """An object as Helm leaves it in a cluster: only what is its own is looked at by it again."""
    document = copy.deepcopy(document)
    document["metadata"].setdefault("annotations", {}).update(
        {"meta.helm.sh/release-name": "shop", "meta.helm.sh/release-namespace": "legacy"})
    return document


def upgraded(stage, major, there):
    """The chart as Helm renders it for a cluster in which these objects are."""
    there = map(installed, there)
    with apiserver.Cluster(there, "legacy") as cluster:
        server = ("--dry-run=server", "--disable-openapi-validation", "--kube-apiserver", cluster.url)
        done = charts.helm(stage, major, "template", "shop", charts.CHART, "--namespace", "legacy", *server, *ON)
    expect(done.returncode == 0, told(done)[:3000])
    return manifests.documents(done.stdout)


@check("an upgrade keeps certificate and CA; where the Secret was deleted both are new, and the CA before is still told of once")
def _(stage):
    for major in stage.helms:
        made = upgraded(stage, major, [])
        kept = upgraded(stage, major, ours(made))
        expect(ours(kept) == ours(made), f"Helm {major}: not kept")
        renewed = upgraded(stage, major, [configuration(kept)])
        new = one(ours(renewed), "Secret")["data"]
        expect(new != one(ours(kept), "Secret")["data"], "the same again")
        expect(bundle(renewed) == base64.b64decode(new["ca.crt"]).decode() + bundle(kept), bundle(renewed))
        after = upgraded(stage, major, ours(renewed))
        expect(one(ours(after), "Secret")["data"] == new, "not kept")
        expect(bundle(after) == base64.b64decode(new["ca.crt"]).decode(), bundle(after))


def help_of(command):
    done = run(BINARY, command, "--help", env={**CLEAN, "COLUMNS": "400"})
    expect(done.returncode == 0, told(done))
    return re.sub(r"[ \n]+", " ", done.stdout), set(re.findall(r"^\s+(?:-\w, )?--([a-z0-9-]+)", done.stdout, re.MULTILINE))


@check("`webhook.inject` has every setting of `portcullis inject`, and no other")
def _(_stage):
    text, _ = help_of("inject")
    named = set(schema()["properties"]["webhook"]["properties"]["inject"]["properties"])
    # Each says by which annotation a pod overrides it.
    wanted = set(re.findall(r"portcullis\.dev/([a-z-]+)\]", text))
    expect(named == wanted, f"missing: {wanted - named}", f"too many: {named - wanted}")
    return f"{len(wanted)} settings"


@check("`webhook.options` has every option of `portcullis webhook` that the chart does not set by itself, and no other")
def _(_stage):
    _, flags = help_of("webhook")
    named, wanted = set(schema()["properties"]["options"]["properties"]), flags - OWN - charts.ELSEWHERE
    for part in schema()["properties"]["webhook"]["properties"]["options"]["allOf"]:
        named -= {name for name, allowed in part.get("properties", {}).items() if allowed is False}
    expect(named == wanted, f"missing: {wanted - named}", f"too many: {named - wanted}")
    return f"{len(wanted)} options"


def started(stage, found, name):
    """The real webhook with a rendered container's arguments and variables, on ports that are free here."""
    into, server = stage.folder / f"webhook-{name}", container(found)
    into.mkdir()
    made = [each for each in ours(found) if each["kind"] == "Secret"]
    folder, ca = written(found, into) if made else (stage.secret.dir, stage.secret.ca)
    here = {"PORT": str(free_port()), "PORTCULLIS_CERT_DIR": str(folder)}
    here |= {f"PORTCULLIS_{plane}": "127.0.0.1:0" for plane in ("ADMIN", "PROBE")}
    return Sidecar(name, BINARY, server["args"], {**rules.settings(server), **here}, into), ca


@check("the real webhook takes the arguments and variables of every rendered one, and is ready")
def _(stage):
    for name in sets():
        for minor in (28, 37):
            found = charts.render(stage, "4", minor, "--values", charts.value_sets()[name])
            webhook, _ = started(stage, found, f"{name}-{minor}")
            until(10, f"{name} is ready", lambda webhook=webhook: webhook.plane("probe", "/readyz").status == 200)
            webhook.kill()
    return f"{len(sets())} sets of values"


@check("asked as the API server asks, with the CA that it is told, it patches a pod as the values and the cluster's version say")
def _(stage):
    for minor, mode, stay in ((28, "classic", "exec"), (37, "native", "sleep")):
        found = charts.render(stage, "4", minor, "--values", charts.value_sets()["webhook"])
        webhook, ca = started(stage, found, f"asked-{minor}")
        review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": "1", "operation": "CREATE", "namespace": "shop", "object": POD,
            "kind": {"group": "", "version": "v1", "kind": "Pod"}, "resource": {"group": "", "version": "v1", "resource": "pods"}}}
        url, place = f"https://{HOST}:{webhook.port}/mutate", f"{HOST}:{webhook.port}:127.0.0.1"
        words = ("--cacert", ca, "--resolve", place, "--json", json.dumps(review), url)
        done = run("curl", "-sS", "--fail-with-body", "--max-time", "5", *words)
        expect(done.returncode == 0, told(done))
        answer = json.loads(done.stdout)["response"]
        expect(answer["allowed"] and answer["uid"] == "1" and answer["patchType"] == "JSONPatch", answer)
        patch = json.loads(base64.b64decode(answer["patch"]))
        text = json.dumps(patch)
        place = {"native": "initContainers", "classic": "containers"}[mode]
        expect(any(place == part for each in patch for part in each["path"].split("/")) and f'"{stay}"' in text, patch)
        expect(f'"portcullis:{VERSION}"' in text and '"app-tls"' in text, patch)
        webhook.kill()


@check("the notes of an installation say what to label and how to see it")
def _(stage):
    done = charts.helm(stage, "4", "install", "shop", charts.CHART, "--namespace", "legacy", "--dry-run=client", *ON)
    expect(done.returncode == 0, told(done))
    notes = done.stdout.partition("NOTES:")[2]
    for words in (
        f"rollout status deployment/{NAME}", "label namespace NAMESPACE portcullis.dev/inject=enabled",
        "portcullis.dev/tls-secret", "portcullis.dev/target-port",
    ):
        expect(words in notes and len(notes.splitlines()) <= 30, f"{words!r} is not in", notes)
