"""A stand-in for the API server: what Helm's `lookup` finds in a cluster. Nothing can be changed in it."""

import http.server
import json
import threading

# Plurals by kind. Helm wants to know all kinds of what it renders.
KINDS = {
    "v1": {"Secret": "secrets", "Service": "services", "ServiceAccount": "serviceaccounts", "Pod": "pods"},
    "apps/v1": {"Deployment": "deployments"},
    "policy/v1": {"PodDisruptionBudget": "poddisruptionbudgets"},
    "networking.k8s.io/v1": {"NetworkPolicy": "networkpolicies"},
    "admissionregistration.k8s.io/v1": {"MutatingWebhookConfiguration": "mutatingwebhookconfigurations"},
}
OF_THE_CLUSTER = {"MutatingWebhookConfiguration"}


def root(version):
    return f"/apis/{version}" if "/" in version else f"/api/{version}"


def discovery():
    """What there can be, by path."""
    groups = [version for version in KINDS if "/" in version]
    found = {
        "/version": {"major": "1", "minor": "37", "gitVersion": "v1.37.0"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {"kind": "APIGroupList", "groups": [
            {"name": group.partition("/")[0], "versions": [version], "preferredVersion": version}
            for group in groups for version in [{"groupVersion": group, "version": group.partition("/")[2]}]]},
    }
    for version, kinds in KINDS.items():
        found[root(version)] = {"kind": "APIResourceList", "groupVersion": version, "resources": [
            {"name": name, "singularName": kind.lower(), "namespaced": kind not in OF_THE_CLUSTER, "kind": kind, "verbs": ["get"]}
            for kind, name in kinds.items()]}
    return found


def place_of(document, namespace):
    version, kind = document["apiVersion"], document["kind"]
    within = "" if kind in OF_THE_CLUSTER else f"/namespaces/{namespace}"
    return f"{root(version)}{within}/{KINDS[version][kind]}/{document['metadata']['name']}"


class Cluster:
    """These objects, in a namespace of it."""

    def __init__(self, documents, namespace):
        there = discovery() | {place_of(each, namespace): each for each in documents}

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                found = there.get(self.path.partition("?")[0])
                told = found or {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
                body = json.dumps(told).encode()
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                """Nobody reads it."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
