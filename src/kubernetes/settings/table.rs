//! Every setting once: this table makes the flags, the annotations and their help.

use super::parse;
use super::{Setting, Settings};
use crate::config::duration;

/// All settings, in the order of the help.
pub(crate) static SETTINGS: &[Setting] = &[
    setting(
        "tls-secret",
        "NAME",
        None,
        "The Secret of type kubernetes.io/tls with the certificate and its key; needed",
        |settings, text| parse::secret(text).map(|name| settings.tls_secret = name),
    ),
    setting(
        "image",
        "IMAGE",
        Some(concat!("portcullis:", env!("CARGO_PKG_VERSION"))),
        "The sidecar's image",
        |settings, text| parse::image(text).map(|image| settings.image = image),
    ),
    setting(
        "container",
        "NAME",
        None,
        "The app's container, where a pod has several; default: that of the annotation kubectl.kubernetes.io/default-container, else the only one that can be meant",
        |settings, text| parse::container(text).map(|name| settings.container = Some(name)),
    ),
    setting(
        "target-port",
        "PORT",
        None,
        "The app's plain port, a number or the name of a port of its container; default: its only port, else the one named http or web",
        |settings, text| parse::port_ref(text).map(|port| settings.target_port = Some(port)),
    ),
    setting(
        "target-protocol",
        "NAME",
        Some("http"),
        "What the app speaks: http, or h2c for HTTP/2 in clear (gRPC)",
        |settings, text| parse::protocol(text).map(|name| settings.target_protocol = name),
    ),
    setting(
        "mode",
        "MODE",
        Some("native"),
        "native: an init container that is restarted always (Kubernetes 1.29 or newer); classic: one more container, which may start after the app and end before it",
        |settings, text| parse::mode(text).map(|mode| settings.mode = mode),
    ),
    setting(
        "client-auth",
        "MODE",
        Some("off"),
        "Whether clients are asked for a certificate: off, optional or required",
        |settings, text| parse::client_auth(text).map(|mode| settings.client_auth = mode),
    ),
    setting(
        "client-ca-secret",
        "NAME",
        None,
        "The Secret whose ca.crt has the CAs of clients' certificates; default: ca.crt of tls-secret",
        |settings, text| parse::secret(text).map(|name| settings.client_ca_secret = Some(name)),
    ),
    setting(
        "allow-san",
        "PATTERNS",
        None,
        "Let in only clients with one of these names, between commas: DNS:*.corp.example, URI:spiffe://corp.example/ns/*/sa/web, email:*@corp.example, IP:10.0.0.0/8; default: all",
        |settings, text| parse::allow_san(text).map(|patterns| settings.allow_san = patterns),
    ),
    setting(
        "service-name",
        "NAME",
        None,
        "The name in every record; default: the label app.kubernetes.io/name, else the label app, else the name of the object",
        |settings, text| parse::service_name(text).map(|name| settings.service_name = Some(name)),
    ),
    setting(
        "https-port",
        "PORT",
        Some("8443"),
        "Where the sidecar takes HTTPS; a Service leads there then",
        |settings, text| parse::own_port(text).map(|port| settings.https_port = port),
    ),
    setting(
        "probe-port",
        "PORT",
        Some("9902"),
        "Where the sidecar answers probes, and gives its metrics",
        |settings, text| parse::own_port(text).map(|port| settings.probe_port = port),
    ),
    setting(
        "admin-port",
        "PORT",
        Some("9901"),
        "The sidecar's admin plane, on the pod's loopback",
        |settings, text| parse::own_port(text).map(|port| settings.admin_port = port),
    ),
    setting(
        "redirect-port",
        "PORT",
        None,
        "The public HTTPS port, which redirects of plain HTTP name; default: the Service's where it is known, else 443",
        |settings, text| parse::port(text).map(|port| settings.redirect_port = Some(port)),
    ),
    setting(
        "drain-delay",
        "DURATION",
        Some("5s"),
        "At the end of a pod, go on accepting for so long while endpoints propagate",
        |settings, text| duration(text).map(|delay| settings.drain_delay = delay),
    ),
    setting(
        "drain-timeout",
        "DURATION",
        Some("20s"),
        "Then let requests finish for so long, then cut them",
        |settings, text| duration(text).map(|timeout| settings.drain_timeout = timeout),
    ),
    setting(
        "pre-stop",
        "HOW",
        Some("sleep"),
        "How the app is kept while the sidecar drains: sleep (by the kubelet, Kubernetes 1.30 or newer), exec (by the program sleep in the app's image) or none",
        |settings, text| parse::pre_stop(text).map(|how| settings.pre_stop = how),
    ),
];

const fn setting(
    name: &'static str,
    value: &'static str,
    default: Option<&'static str>,
    about: &'static str,
    set: fn(&mut Settings, &str) -> Result<(), String>,
) -> Setting {
    Setting {
        name,
        value,
        default,
        about,
        set,
    }
}
