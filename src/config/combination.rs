//! What is wrong only in combination: each value may be fine by itself.

use std::net::SocketAddr;
use std::path::Path;

use super::{AdminAddress, Config};
use crate::upstream::{OwnPorts, OwnSocket, Refused, refuse};

/// Puts on the list what does not go together.
pub(super) fn check(config: &Config, mistakes: &mut Vec<String>) {
    if config.close_on_trust_change && config.certificates.client_auth.is_none() {
        mistakes.push(
            "--close-on-trust-change without --client-auth: nobody is trusted by certificate"
                .to_owned(),
        );
    }
    if config.proxy_protocol && config.trusted_proxies.is_empty() {
        mistakes.push(
            "--proxy-protocol without --trusted-proxy: nobody would be believed; name the load balancers' networks"
                .to_owned(),
        );
    }
    if !config.redirect_exempt.is_empty() && config.redirect.is_none() {
        mistakes.push(
            "--redirect-exempt without --redirect: there is no plain HTTP listener to be exempt on"
                .to_owned(),
        );
    }
    if !config.allow_remote_target && !config.target.is_local() {
        mistakes.push(format!(
            "--target {}: this is not on the loopback, and plain HTTP would leave the pod; use 127.0.0.1, localhost or unix:, or say --allow-remote-target",
            config.target
        ));
    }
    if let Err(Refused(_, why)) = refuse(&config.target) {
        mistakes.push(format!("--target: {why}"));
    }
    if let Some(flag) = loops(config) {
        mistakes.push(format!(
            "--target {}: {flag} listens there, and requests would go round in circles; give the application's own port",
            config.target
        ));
    }
    mistakes.extend(collects_itself(config));
    mistakes.extend(overlaps(config));
    if config.require_loopback_app && !config.target.is_local() {
        mistakes.push(format!(
            "--require-loopback-app with --target {}: only an application on the loopback or a Unix socket can be kept out of others' reach",
            config.target
        ));
    }
    if config.drain_timeout.is_zero() {
        mistakes.push(
            "--drain-timeout 0: requests in flight would always be cut; use at least 1s".to_owned(),
        );
    }
}

/// What would listen on TCP, by its flag.
fn listeners(config: &Config) -> Vec<(&'static str, SocketAddr)> {
    let admin = match &config.admin.address {
        AdminAddress::Tcp(address) => Some(*address),
        AdminAddress::Unix(_) => None,
    };
    [
        ("--listen", Some(config.listen)),
        ("--redirect", config.redirect),
        ("--admin", admin),
        ("--probe", Some(config.probe)),
    ]
    .into_iter()
    .filter_map(|(flag, address)| Some((flag, address?)))
    .collect()
}

/// Two listeners on one port, of which only one could be bound.
fn overlaps(config: &Config) -> Vec<String> {
    let listeners = listeners(config);
    let mut mistakes = Vec::new();
    for (number, (flag, address)) in listeners.iter().enumerate() {
        for (other, taken) in &listeners[..number] {
            if overlap(*address, *taken) {
                mistakes.push(format!(
                    "{flag} {address}: {other} has {taken}, and both cannot be; choose another port"
                ));
            }
        }
    }
    mistakes
}

/// Port 0 is another one each time; "any" address of IPv6 is one of IPv4, too.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let (ip, taken) = (one.ip().to_canonical(), other.ip().to_canonical());
    let is_any = ip.is_unspecified() || taken.is_unspecified();
    one.port() == other.port() && one.port() != 0 && (is_any || ip == taken)
}

/// The flag of the own listener that the target leads to. Ports that the system picks are not known yet.
fn loops(config: &Config) -> Option<&'static str> {
    let leads_to = |own: OwnPorts| own.are_target(&config.target);
    let is_socket = |path: &Path| {
        leads_to(OwnPorts {
            unix: vec![OwnSocket {
                path: path.to_owned(),
                identity: None,
            }],
            ..OwnPorts::default()
        })
    };
    match &config.admin.address {
        AdminAddress::Unix(path) if is_socket(path) => return Some("--admin"),
        _ => {}
    }
    let is_port = |address: SocketAddr| {
        leads_to(OwnPorts {
            tcp: vec![address],
            ..OwnPorts::default()
        })
    };
    let mut listeners = listeners(config).into_iter();
    let found = listeners.find(|(_, address)| is_port(*address));
    found.map(|(flag, _)| flag)
}

/// Spans of what would make more spans.
fn collects_itself(config: &Config) -> Option<String> {
    let endpoint = &config.traces.as_ref()?.endpoint;
    let addresses = endpoint.addresses()?;
    let leads_to = |own: SocketAddr| {
        let own = OwnPorts {
            tcp: vec![own],
            ..OwnPorts::default()
        };
        let mut all = addresses.iter();
        all.any(|ip| own.contains(SocketAddr::new(*ip, endpoint.port)))
    };
    let mut listeners = listeners(config).into_iter();
    let (flag, _) = listeners.find(|(_, own)| leads_to(*own))?;
    Some(format!(
        "--trace-endpoint {endpoint}: {flag} listens there, and it is no collector; give the collector's own port"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_listeners_on_one_port_are_found_before_they_are_bound() {
        for (one, other, wanted) in [
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("[::]:1", "127.0.0.1:1", true),
            ("0.0.0.0:1", "10.0.0.1:1", true),
            ("[::ffff:127.0.0.1]:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "127.0.0.1:2", false),
            ("127.0.0.1:1", "127.0.0.2:1", false),
            ("[::]:0", "[::]:0", false),
        ] {
            let (one, other) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(overlap(one, other), wanted, "{one} {other}");
        }
    }
}
