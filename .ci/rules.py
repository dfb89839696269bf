"""What schemas miss: rules for the objects of one manifest, seen together. `broken(documents, minor)` tells all that does
not hold on Kubernetes 1.`minor`, as sentences."""

import re

# Containers with the program in them.
SIDECAR, WEBHOOK = "portcullis", "webhook"
DRAIN_DELAY, DRAIN_TIMEOUT = 5, 20
WORDS = {
    "restartPolicy": {"Always", "OnFailure", "Never"},
    "imagePullPolicy": {"Always", "IfNotPresent", "Never"},
    "protocol": {"TCP", "UDP", "SCTP"},
    "policyTypes": {"Ingress", "Egress"},
    "whenUnsatisfiable": {"DoNotSchedule", "ScheduleAnyway"},
    "externalTrafficPolicy": {"Cluster", "Local"},
    "failurePolicy": {"Fail", "Ignore"},
    "reinvocationPolicy": {"IfNeeded", "Never"},
    "matchPolicy": {"Equivalent", "Exact"},
    "sideEffects": {"None", "NoneOnDryRun"},
    "operations": {"CREATE", "UPDATE", "DELETE", "CONNECT"},
}
SERVICE_TYPES = {"ClusterIP", "NodePort", "LoadBalancer"}
# From these versions on, without a feature gate.
NATIVE_SIDECARS, SLEEP_HANDLER = 29, 30
NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


def broken(documents, minor):
    told = []
    for document in documents:
        where = f"{document['kind']} {document['metadata']['name']}"
        told += [f"{where}: {sentence}" for sentence in about(document, documents, minor)]
    return told


def about(document, documents, minor):
    yield from words(document)
    if not NAME.fullmatch(document["metadata"]["name"]):
        yield "this is no name"
    kind = document["kind"]
    if pod := pod_of(document):
        claims = [each["metadata"]["name"] for each in document["spec"].get("volumeClaimTemplates", [])]
        yield from about_pod(pod, minor, claims)
        if kind != "Pod":
            yield from about_selector(document)
    if meant := selector_of(document):
        found = [one["metadata"]["name"] for one in documents if pod_of(one) and meant.items() <= labels_of(one).items()]
        if len(found) > 1:
            yield f"it means the pods of more than one: {found}"
    if kind == "MutatingWebhookConfiguration":
        yield from about_configuration(document, documents)
    if kind == "Service":
        yield from about_service(document, documents)
    if kind == "NetworkPolicy":
        yield from about_policy(document, documents)
    if kind in ("PodDisruptionBudget", "NetworkPolicy", "PodMonitor"):
        wanted = (document["spec"].get("selector") or document["spec"].get("podSelector"))["matchLabels"]
        pods = [labels_of(each) for each in documents if pod_of(each) and not is_hook(each)]
        if pods and not any(wanted.items() <= labels.items() for labels in pods):
            yield f"it means no pod: {wanted}"
    if kind == "HorizontalPodAutoscaler":
        target = document["spec"]["scaleTargetRef"]
        found = [each for each in documents if (each["kind"], each["metadata"]["name"]) == (target["kind"], target["name"])]
        if not found or "replicas" in found[0]["spec"]:
            yield f"{target} is not there, or has a number of replicas of its own"


def words(part):
    """Misspelt words, anywhere."""
    if isinstance(part, list):
        for each in part:
            yield from words(each)
    if isinstance(part, dict):
        for key, value in part.items():
            for word in value if isinstance(value, list) else [value]:
                if key in WORDS and isinstance(word, str) and word not in WORDS[key]:
                    yield f"{key}: {word}"
            yield from words(value)


def is_hook(document):
    return "helm.sh/hook" in document["metadata"].get("annotations", {})


def pod_of(document):
    """The pod that this object is or makes."""
    spec = document.get("spec", {})
    return spec if document["kind"] == "Pod" else spec.get("template", {}).get("spec")


def labels_of(document):
    made = document if document["kind"] == "Pod" else document["spec"]["template"]
    return made["metadata"].get("labels", {})


def selector_of(document):
    """The labels of the pods that it means, if it means any."""
    spec, kind = document.get("spec", {}), document["kind"]
    if kind == "Service":
        return spec.get("selector")
    found = spec.get("selector") or spec.get("podSelector") or {}
    return found.get("matchLabels")


def about_selector(document):
    wanted = document["spec"]["selector"]["matchLabels"]
    if not wanted.items() <= labels_of(document).items():
        yield f"its selector {wanted} does not match its own pods"
    if any("version" in key or "chart" in key for key in wanted):
        yield f"its selector changes with a version, and is immutable: {wanted}"


def named(pod, name):
    containers = [*pod.get("initContainers", []), *pod["containers"]]
    return next((each for each in containers if each["name"] == name), None)


def sidecar_of(pod):
    return named(pod, SIDECAR)


def webhook_of(pod):
    return named(pod, WEBHOOK)


def settings(container):
    return {each["name"]: each.get("value") for each in container.get("env", [])}


def about_pod(pod, minor, claims):
    containers = [*pod.get("initContainers", []), *pod["containers"]]
    for container in containers:
        yield from (f"container {container['name']}: {told}" for told in about_container(container, pod))
    if pod.get("enableServiceLinks", True) or pod.get("automountServiceAccountToken", True):
        yield "Service links or a token of the API server reach the containers"
    volumes = claims + [each["name"] for each in pod.get("volumes", [])]
    used = {mount["name"] for each in containers for mount in each.get("volumeMounts", [])}
    if sorted(volumes) != sorted(used):
        yield f"volumes {volumes}, of which {sorted(used)} are mounted"
    if sidecar := sidecar_of(pod):
        yield from about_sidecar(sidecar, pod, minor)
        yield from about_end(sidecar, pod, minor)
    if webhook := webhook_of(pod):
        yield from about_server(webhook, {"https", "probe"})
        yield from about_its_end(webhook, pod)


def about_container(container, pod):
    own, of_pod = container.get("securityContext", {}), pod.get("securityContext", {})
    both = {**of_pod, **own}
    # Without a group of its own a user runs with group 0.
    if not both.get("runAsUser") or not both.get("runAsGroup") or both.get("runAsNonRoot") is not True:
        yield "user and group are not both set, or are root"
    if both.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "no seccomp profile"
    if own.get("capabilities") != {"drop": ["ALL"]} or own.get("allowPrivilegeEscalation") is not False:
        yield "capabilities, or a way to them"
    if own.get("readOnlyRootFilesystem") is not True:
        yield "its root can be written to"
    for kind in ("ports", "env", "volumeMounts"):
        names = [each.get("mountPath", each.get("name")) for each in container.get(kind, [])]
        if len(names) != len(set(names)):
            yield f"the same twice in {kind}"
    if any("subPath" in mount or "subPathExpr" in mount for mount in container.get("volumeMounts", [])):
        yield "a mount with subPath, which never changes"
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        if "httpGet" in container.get(name, {}) and not isinstance(container[name]["httpGet"]["port"], int):
            yield f"the port of {name} is a name"


def about_sidecar(sidecar, pod, minor):
    is_native = sidecar in pod.get("initContainers", [])
    if is_native and (sidecar.get("restartPolicy") != "Always" or minor < NATIVE_SIDECARS):
        yield "as an init container the sidecar must have restartPolicy: Always, and Kubernetes 1.29"
    if not is_native and "restartPolicy" in sidecar:
        yield "a container has no restartPolicy"
    if is_native and any("restartPolicy" in each for each in pod["initContainers"][: pod["initContainers"].index(sidecar)]):
        yield "another sidecar starts first"
    scratch = {each["name"] for each in pod.get("volumes", []) if "emptyDir" in each}
    if not all(mount.get("readOnly") or mount["name"] in scratch for mount in sidecar.get("volumeMounts", [])):
        yield "the sidecar can write to what is mounted"
    ports = ports_in(sidecar)
    yield from about_server(sidecar, {"https", "probe", "redirect"})
    grace = pod.get("terminationGracePeriodSeconds", 30)
    for each in (sidecar, *pod["containers"]):
        # preStop is run then, too: what hangs would be kept for a whole drain. The sidecar's is short until it has started.
        for name in ("livenessProbe",) if each is sidecar else ("startupProbe", "livenessProbe"):
            probe = each.get(name, {})
            if each.get("lifecycle") and "httpGet" in probe and probe.get("terminationGracePeriodSeconds", grace) >= grace:
                yield f"{each['name']} has its preStop before it is started anew by {name}"
    for app in pod["containers"]:
        for name in ("startupProbe", "livenessProbe", "readinessProbe"):
            http = app.get(name, {}).get("httpGet", {}) if app is not sidecar else {}
            # /app waits for the application for 5 s.
            if http.get("path") == "/app" and (
                    http["port"] != ports["probe"] or not settings(sidecar).get("PORTCULLIS_APP_HEALTH")
                    or app[name].get("timeoutSeconds", 1) <= 5):
                yield f"{name} of {app['name']} asks for what is not there, or not long enough"


def ports_in(container):
    return {each["name"]: each["containerPort"] for each in container["ports"]}


def about_server(server, allowed):
    ports = ports_in(server)
    if not {"https", "probe"} <= set(ports) <= allowed:
        yield f"ports of {server['name']}: {ports}"
    asked = {name: server.get(f"{name}Probe", {}).get("httpGet") for name in ("startup", "liveness", "readiness")}
    wanted = {name: {"path": path, "port": ports["probe"]} for name, path in (
        ("startup", "/livez"), ("liveness", "/livez"), ("readiness", "/readyz"))}
    if asked != wanted:
        yield f"probes of {server['name']} ask {asked}"


def seconds(text):
    found = re.fullmatch(r"(\d+)s?", str(text))
    return int(found[1]) if found else None


def pre_stop_of(app):
    """For how long this container is kept after the pod's end has begun, or None."""
    hook = app.get("lifecycle", {}).get("preStop", {})
    if "sleep" in hook:
        return hook["sleep"]["seconds"]
    command = hook.get("exec", {}).get("command", [])
    return int(command[1]) if command[:1] == ["sleep"] else None


def drain_delay(server):
    return seconds(settings(server).get("PORTCULLIS_DRAIN_DELAY", DRAIN_DELAY))


def drains_first(server):
    return server.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command") == ["portcullis", "drain"]


def about_grace(server, pod):
    said, grace = settings(server), pod.get("terminationGracePeriodSeconds", 30)
    drained = drain_delay(server) + seconds(said.get("PORTCULLIS_DRAIN_TIMEOUT", DRAIN_TIMEOUT)) + 1
    if seconds(said.get("PORTCULLIS_GRACE_PERIOD")) != grace:
        yield f"{server['name']} is told of another grace period than {grace} s"
    if grace < drained:
        yield f"a drain takes {drained} s, and the pod has {grace}"


def about_its_end(webhook, pod):
    yield from about_grace(webhook, pod)
    if not drains_first(webhook):
        yield "the webhook has no preStop hook `portcullis drain`"


def about_end(sidecar, pod, minor):
    """The pod's end: who is there for how long."""
    yield from about_grace(sidecar, pod)
    delay, grace = drain_delay(sidecar), pod.get("terminationGracePeriodSeconds", 30)
    if sidecar in pod.get("initContainers", []) and not drains_first(sidecar):
        yield "a native sidecar hears of the end when the app has gone: it needs the preStop hook `portcullis drain`"
    for app in (each for each in pod["containers"] if each is not sidecar):
        stays = pre_stop_of(app)
        if stays is not None and not delay <= stays < grace:
            yield f"{app['name']} stays for {stays} s: at least {delay}, less than {grace}"
        if "sleep" in app.get("lifecycle", {}).get("preStop", {}) and minor < SLEEP_HANDLER:
            yield "the sleep handler is there from 1.30 on"
    if not any(pre_stop_of(each) is not None or (each.get("lifecycle") or {}).get("preStop") for each in pod["containers"]
               if each is not sidecar):
        yield "no container waits for the drain"


def ports_of(labels, documents):
    """Ports by name of the sidecars, or of the webhook, in pods with these labels."""
    for document in documents:
        pod = pod_of(document)
        server = pod and (sidecar_of(pod) or webhook_of(pod))
        if server and labels.items() <= labels_of(document).items():
            return ports_in(server)
    return None


def is_asked(webhook, namespace, labels):
    """Whether the API server asks this webhook about an object with these labels, in a namespace with those."""
    return matches(webhook["namespaceSelector"], namespace) and matches(webhook["objectSelector"], labels)


def matches(selector, labels):
    """As Kubernetes has it. Who is not labelled at all is not in a list."""
    means = {
        "In": lambda key, values: labels.get(key) in values,
        "NotIn": lambda key, values: labels.get(key) not in values,
        "Exists": lambda key, values: key in labels,
        "DoesNotExist": lambda key, values: key not in labels,
    }
    expressions = selector.get("matchExpressions", [])
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        means[each["operator"]](each["key"], each.get("values")) for each in expressions)


def about_configuration(document, documents):
    label, own = "portcullis.dev/inject", "kubernetes.io/metadata.name"
    injected = any("inject" in name for name in document["metadata"].get("annotations", {}))
    made = {each["data"]["ca.crt"] for each in documents if each["kind"] == "Secret" and "ca.crt" in each.get("data", {})}
    for webhook in document["webhooks"]:
        client, name = webhook["clientConfig"], webhook["name"]
        service, bundle = client["service"], client.get("caBundle")
        there = [each["spec"]["ports"] for each in documents if each["kind"] == "Service"
                 and each["metadata"]["name"] == service["name"]]
        if [[service["port"]]] != [[port["port"] for port in ports] for ports in there]:
            yield f"{name}: no Service {service['name']} has the port {service['port']}"
        if bool(bundle) == injected or bundle and made and {bundle} != made:
            yield f"{name}: the CA is not that of the Secret, or comes from nobody, or from two"
        resource, = (resource for rule in webhook["rules"] for resource in rule["resources"])
        labels = {} if resource == "pods" else {label: "enabled"}
        wanted = {
            "a labelled namespace": ({label: "enabled", own: "shop"}, labels, True),
            "another namespace": ({own: "shop"}, labels, False),
            "its own namespace": ({label: "enabled", own: service["namespace"]}, labels, False),
            "kube-system": ({label: "enabled", own: "kube-system"}, labels, False),
            "what says disabled": ({label: "enabled", own: "shop"}, {label: "disabled"}, False),
            "what says nothing": ({label: "enabled", own: "shop"}, {}, resource == "pods"),
        }
        for whom, (namespace, labels, is_wanted) in wanted.items():
            if is_asked(webhook, namespace, labels) != is_wanted:
                yield f"{name}: {'not asked' if is_wanted else 'asked'} about {whom}"


def about_service(service, documents):
    spec = service["spec"]
    if spec.get("type", "ClusterIP") not in SERVICE_TYPES:
        yield f"type {spec['type']}"
    ports = ports_of(spec["selector"], documents)
    if ports is None:
        yield "it leads to no sidecar"
        return
    # By number: names of a native sidecar's ports are not found before 1.32 (kubernetes#127958).
    opened = {ports["https"], ports.get("redirect")}
    if not all(isinstance(each["targetPort"], int) and each["targetPort"] in opened for each in spec["ports"]):
        yield f"it leads elsewhere than to the ports of TLS and redirect: {spec['ports']}"


def about_policy(policy, documents):
    ports = ports_of(policy["spec"]["podSelector"]["matchLabels"], documents)
    if ports is None:
        return
    if policy["spec"].get("policyTypes") != ["Ingress"]:
        yield "it is not about what comes in, or about more"
    opened = {ports["https"], ports.get("redirect")}
    for rule in policy["spec"].get("ingress", []):
        numbers = {each["port"] for each in rule.get("ports", [])}
        if not numbers:
            yield "a rule opens all ports"
        elif not numbers <= opened and not (numbers == {ports["probe"]} and rule.get("from")):
            yield f"it opens {numbers} to {rule.get('from') or 'everybody'}"
    if ports["https"] not in {each["port"] for rule in policy["spec"].get("ingress", []) for each in rule.get("ports", [])}:
        yield "it closes the TLS port"
