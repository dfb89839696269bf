//! The ports there would be: what is spoken there, who reaches them, and what they may do.

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::config::{AdminAddress, AdminPlane, Config};

/// Something that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Door {
    pub(super) address: String,
    pub(super) flag: &'static str,
    pub(super) speaks: &'static str,
    pub(super) reach: Reach,
    /// What whoever is let in may do.
    pub(super) may: String,
    /// What is needed to be let in.
    pub(super) needs: String,
}

/// Who reaches a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Whoever may open the socket.
    File,
    /// The containers of this pod.
    Pod,
    /// Whoever reaches the pod.
    Network,
}

impl Reach {
    /// By the address that is listened on.
    pub(super) fn of(address: &SocketAddr) -> Self {
        if address.ip().to_canonical().is_loopback() {
            Self::Pod
        } else {
            Self::Network
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::File => "who may open it",
            Self::Pod => "this pod",
            Self::Network => "the network",
        }
    }
}

/// The admin plane, as far as it decides about exposure. The one place that reads its flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AdminDoor {
    pub(super) address: String,
    pub(super) reach: Reach,
    pub(super) is_tls: bool,
    pub(super) has_tokens: bool,
    pub(super) wants_certificate: bool,
}

impl AdminDoor {
    pub(super) fn of(config: &Config) -> Self {
        let AdminPlane {
            address,
            token_file,
            tls,
            hosts: _,
        } = &config.admin;
        let reach = match address {
            AdminAddress::Tcp(address) => Reach::of(address),
            AdminAddress::Unix(_) => Reach::File,
        };
        Self {
            reach,
            is_tls: tls.is_some(),
            has_tokens: token_file.is_some(),
            wants_certificate: tls.as_ref().is_some_and(|tls| tls.client_auth.is_some()),
            address: address.to_string(),
        }
    }

    /// What is needed to be let in.
    pub(super) fn needs(&self) -> String {
        let mut needs = Vec::new();
        if self.wants_certificate {
            needs.push("a client certificate");
        }
        if self.has_tokens {
            needs.push("a token");
        }
        if needs.is_empty() {
            needs.push("nothing");
        }
        needs.join(" and ")
    }
}

/// All that would listen.
pub(super) fn doors(config: &Config) -> Vec<Door> {
    let redirect = config.redirect.map(|address| redirect(config, &address));
    [data(config)]
        .into_iter()
        .chain(redirect)
        .chain([admin(&AdminDoor::of(config)), probe(config)])
        .collect()
}

fn data(config: &Config) -> Door {
    let needs = match &config.certificates.client_auth {
        None => "nothing",
        Some(_) if !config.client_auth_exempt.is_empty() => {
            "a client certificate, but for exempt paths"
        }
        Some(policy) if policy.is_required => "a client certificate",
        Some(_) => "nothing, a client certificate is asked for",
    };
    let from = if config.allow_clients.is_empty() {
        ""
    } else {
        ", from --allow-client"
    };
    Door {
        address: config.listen.to_string(),
        flag: "listen",
        speaks: "TLS",
        reach: Reach::of(&config.listen),
        may: "use the application".to_owned(),
        needs: format!("{needs}{from}"),
    }
}

fn redirect(config: &Config, address: &SocketAddr) -> Door {
    let from = if config.allow_clients.is_empty() {
        "nothing"
    } else {
        "nothing, from --allow-client"
    };
    Door {
        address: address.to_string(),
        flag: "redirect",
        speaks: "plain",
        reach: Reach::of(address),
        may: "be sent to https://".to_owned(),
        needs: from.to_owned(),
    }
}

fn admin(door: &AdminDoor) -> Door {
    Door {
        address: door.address.clone(),
        flag: "admin",
        speaks: if door.is_tls { "TLS" } else { "plain" },
        reach: door.reach,
        may: "read records, change target and certificates".to_owned(),
        needs: door.needs(),
    }
}

fn probe(config: &Config) -> Door {
    let app = if config.app_health.is_some() {
        ", and the application's"
    } else {
        ""
    };
    Door {
        address: config.probe.to_string(),
        flag: "probe",
        speaks: "plain",
        reach: Reach::of(&config.probe),
        may: format!("read health{app}, metrics"),
        needs: "nothing".to_owned(),
    }
}

/// In columns as wide as what they hold.
pub(super) fn table(text: &mut String, doors: &[Door]) {
    let mut rows =
        vec![["address", "flag", "speaks", "reached by", "who may", "with"].map(str::to_owned)];
    rows.extend(doors.iter().map(|door| {
        [
            door.address.clone(),
            format!("--{}", door.flag),
            door.speaks.to_owned(),
            door.reach.words().to_owned(),
            door.may.clone(),
            door.needs.clone(),
        ]
    }));
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..6).map(width).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        let _ = writeln!(text, "  {}", cells.join("  ").trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;

    fn drawn(line: &str) -> String {
        let mut text = String::new();
        table(&mut text, &doors(&read(line)));
        text
    }

    #[test]
    fn every_port_is_told_with_who_reaches_it_and_what_is_needed() {
        assert_eq!(
            drawn("--listen [::]:8443 --admin 127.0.0.1:9901 --probe [::]:9902"),
            "  address         flag      speaks  reached by   who may                                       with
  [::]:8443       --listen  TLS     the network  use the application                           nothing
  127.0.0.1:9901  --admin   plain   this pod     read records, change target and certificates  nothing
  [::]:9902       --probe   plain   the network  read health, metrics                          nothing
"
        );
        let all = drawn(
            "--redirect 0.0.0.0:8080 --client-auth required --client-auth-exempt /healthz --allow-client 10.0.0.0/8 --probe 127.0.0.1:1",
        );
        for part in [
            "a client certificate, but for exempt paths, from --allow-client",
            "--redirect  plain   the network  be sent to https://",
            "127.0.0.1:1     --probe     plain   this pod",
        ] {
            assert!(all.contains(part), "{part} is not in\n{all}");
        }
        assert!(
            drawn("--client-auth required")
                .contains("use the application                           a client certificate\n")
        );
        assert!(
            drawn("--client-auth optional").contains("nothing, a client certificate is asked for")
        );
    }

    #[test]
    fn an_admin_plane_says_what_is_needed_there() {
        let mut door = AdminDoor {
            address: "unix:/run/admin.sock".to_owned(),
            reach: Reach::File,
            is_tls: false,
            has_tokens: false,
            wants_certificate: false,
        };
        assert_eq!(door.needs(), "nothing");
        door.has_tokens = true;
        assert_eq!(door.needs(), "a token");
        door.wants_certificate = true;
        assert_eq!(door.needs(), "a client certificate and a token");
    }
}
