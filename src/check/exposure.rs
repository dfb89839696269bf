//! What would be exposed, to whom, in sentences.

use super::Remark;
use super::ports::{AdminDoor, Reach};
use crate::config::Config;

/// All of it, the application first.
pub(super) fn of(config: &Config) -> Vec<Remark> {
    let mut remarks = vec![application(config), target(config)];
    remarks.extend(redirect(config));
    remarks.extend(proxies(config));
    remarks.push(admin(&AdminDoor::of(config)));
    remarks.push(probe(config));
    remarks.extend(app_health(config));
    remarks.extend(records(config));
    remarks
}

fn application(config: &Config) -> Remark {
    let who = match &config.certificates.client_auth {
        None => "everybody".to_owned(),
        Some(policy) if policy.is_required => {
            "every client with a certificate of the client CA".to_owned()
        }
        Some(_) if config.client_auth_exempt.is_empty() => {
            "everybody, with or without a client certificate (the application is told which)"
                .to_owned()
        }
        Some(_) => format!(
            "every client with a certificate of the client CA (everybody at {})",
            config.client_auth_exempt.join(", ")
        ),
    };
    let from = if config.allow_clients.is_empty() {
        "who reaches the pod".to_owned()
    } else {
        let networks = config.allow_clients.0.iter().map(ToString::to_string);
        format!("from {}", networks.collect::<Vec<_>>().join(", "))
    };
    Remark::Fact(format!(
        "the application is open over TLS on {} to {who} {from}",
        config.listen
    ))
}

fn target(config: &Config) -> Remark {
    let target = &config.target;
    if target.is_local() {
        let elsewhere = if config.require_loopback_app {
            "the sidecar is not ready while the application also listens elsewhere (--require-loopback-app)"
        } else {
            "whether the application also listens elsewhere cannot be seen from here: bind it to the loopback"
        };
        return Remark::Fact(format!(
            "plain HTTP to the application ({target}) stays in the pod; {elsewhere}"
        ));
    }
    Remark::Warning(format!(
        "the target {target} is not on the loopback: requests, with all that clients send in them, leave the pod in plain HTTP"
    ))
}

fn redirect(config: &Config) -> Vec<Remark> {
    let Some(address) = config.redirect else {
        return vec![Remark::Fact(
            "there is no plain HTTP listener (--redirect)".to_owned(),
        )];
    };
    let mut remarks = vec![Remark::Fact(format!(
        "plain HTTP on {address} is answered with 308 to https on port {}; nothing of it reaches the application",
        config.redirect_port
    ))];
    let exempt = &config.redirect_exempt;
    let (acme, answered): (Vec<_>, Vec<_>) = exempt
        .iter()
        .partition(|path| path.starts_with("/.well-known/acme-challenge/"));
    if !acme.is_empty() {
        remarks.push(Remark::Fact(
            "but for GET of tokens below /.well-known/acme-challenge/, which goes to the application".to_owned(),
        ));
    }
    if !answered.is_empty() {
        let paths: Vec<&str> = answered.into_iter().map(String::as_str).collect();
        remarks.push(Remark::Fact(format!(
            "but for {}, answered 200 here",
            paths.join(", ")
        )));
    }
    remarks
}

/// Whose word about the client is believed.
fn proxies(config: &Config) -> Vec<Remark> {
    let everybody = config
        .trusted_proxies
        .0
        .iter()
        .filter(|network| network.prefix_len() == 0);
    everybody
        .map(|network| {
            Remark::Warning(format!(
                "--trusted-proxy {network} is everybody: whoever connects may claim to be any client, in records and to the application; name the load balancers' networks"
            ))
        })
        .collect()
}

fn admin(door: &AdminDoor) -> Remark {
    const MAY: &str = "read the records, change the target and reload certificates";
    let address = &door.address;
    let has_credential = door.has_tokens || door.wants_certificate;
    match (door.reach, has_credential) {
        (Reach::File, _) => Remark::Fact(format!(
            "the admin plane is the socket {address}: only the sidecar's own user and root open it (mode 0600), and may {MAY}"
        )),
        (Reach::Pod, false) => Remark::Fact(format!(
            "the admin plane is on the loopback ({address}) and asks for no token: every container of the pod, and who may port-forward to it, may {MAY}; --admin-token-file asks for one"
        )),
        (_, true) => Remark::Fact(format!(
            "the admin plane on {address} needs {}: without it nobody may {MAY}",
            door.needs()
        )),
        (Reach::Network, false) => Remark::Warning(format!(
            "the admin plane on {address} is reached from outside the pod and asks for no token: everybody may {MAY}"
        )),
    }
}

fn probe(config: &Config) -> Remark {
    let address = config.probe;
    if Reach::of(&address) == Reach::Pod {
        return Remark::Warning(format!(
            "the probe plane is on the loopback ({address}): kubelet and Prometheus come from outside the pod and do not reach it; use --probe [::]:{}, or exec probes with `portcullis status --ready`",
            address.port()
        ));
    }
    Remark::Fact(format!(
        "the probe plane on {address} is open to whoever reaches the pod, in plain HTTP: health, and metrics with certificate names and numbers of requests; it changes nothing, and a NetworkPolicy can close it"
    ))
}

fn app_health(config: &Config) -> Option<Remark> {
    let path = config.app_health.as_ref()?;
    Some(Remark::Fact(format!(
        "/app on the probe plane ({}) asks the application for {path} on behalf of whoever asks, without a certificate; the answer has its status, the target and the path, and nothing of what the application says",
        config.probe
    )))
}

/// What records hold that they do not by themselves.
fn records(config: &Config) -> Vec<Remark> {
    let recording = &config.recording;
    let mut more = Vec::new();
    if recording.query {
        more.push("queries (--log-query)".to_owned());
    }
    if !recording.headers.is_empty() {
        let names: Vec<&str> = recording.headers.iter().map(|name| name.as_str()).collect();
        more.push(format!("the fields {} (--log-header)", names.join(", ")));
    }
    if more.is_empty() {
        return Vec::new();
    }
    let words = format!(
        "records hold {}, on stdout and on the admin plane: they may be credentials",
        more.join(" and ")
    );
    if recording.redact.is_empty() {
        vec![Remark::Warning(format!("{words}; --redact takes them out"))]
    } else {
        vec![Remark::Fact(format!(
            "{words}, but for what --redact matches"
        ))]
    }
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;

    fn told(line: &str) -> Vec<Remark> {
        of(&read(line))
    }

    fn has(line: &str, is_warning: bool, part: &str) {
        let remarks = told(line);
        let found = remarks.iter().any(|remark| match remark {
            Remark::Fact(words) => !is_warning && words.contains(part),
            Remark::Warning(words) => is_warning && words.contains(part),
        });
        assert!(found, "{line}: {part} is not in {remarks:#?}");
    }

    #[test]
    fn the_defaults_are_no_reason_to_warn() {
        let remarks = told("");
        let warnings = remarks
            .iter()
            .filter(|remark| matches!(remark, Remark::Warning(_)));
        assert_eq!(warnings.count(), 0, "{remarks:#?}");
        for part in [
            "to everybody who reaches the pod",
            "stays in the pod",
            "no plain HTTP listener",
            "every container of the pod",
            "the probe plane on [::]:9902 is open to whoever reaches the pod",
        ] {
            has("", false, part);
        }
    }

    #[test]
    fn what_opens_more_is_warned_of() {
        for (line, part) in [
            (
                "--target http://10.0.0.7:80 --allow-remote-target",
                "leave the pod in plain HTTP",
            ),
            ("--trusted-proxy ::/0", "--trusted-proxy ::/0 is everybody"),
            ("--probe 127.0.0.1:9902", "kubelet and Prometheus"),
            ("--log-query", "records hold queries"),
            ("--log-header X-Tenant", "the fields x-tenant"),
        ] {
            has(line, true, part);
        }
        has(
            "--log-query --redact token=[^&]*",
            false,
            "but for what --redact matches",
        );
    }

    #[test]
    fn who_is_let_in_is_said_as_it_is() {
        for (line, part) in [
            (
                "--client-auth required",
                "every client with a certificate of the client CA who reaches the pod",
            ),
            (
                "--client-auth optional",
                "with or without a client certificate",
            ),
            (
                "--client-auth required --client-auth-exempt /healthz",
                "(everybody at /healthz)",
            ),
            ("--allow-client 10.0.0.0/8", "everybody from 10.0.0.0/8"),
            ("--redirect 127.0.0.1:8080", "308 to https on port 443"),
            (
                "--redirect 127.0.0.1:8080 --redirect-exempt /lb --redirect-exempt /.well-known/acme-challenge/",
                "but for /lb, answered 200 here",
            ),
            (
                "--redirect 127.0.0.1:8080 --redirect-exempt /.well-known/acme-challenge/",
                "goes to the application",
            ),
        ] {
            has(line, false, part);
        }
    }

    #[test]
    fn an_admin_plane_is_as_open_as_its_place_and_its_credentials_make_it() {
        let door = |reach, has_tokens| AdminDoor {
            address: "x".to_owned(),
            reach,
            is_tls: true,
            has_tokens,
            wants_certificate: false,
        };
        for (reach, has_tokens, part) in [
            (Reach::File, false, "mode 0600"),
            (Reach::Pod, false, "every container of the pod"),
            (Reach::Pod, true, "needs a token"),
            (Reach::Network, true, "needs a token"),
        ] {
            let remark = admin(&door(reach, has_tokens));
            assert!(
                matches!(&remark, Remark::Fact(words) if words.contains(part)),
                "{remark:?}"
            );
        }
        let open = admin(&door(Reach::Network, false));
        assert!(matches!(open, Remark::Warning(_)), "{open:?}");
    }
}
