//! The admin plane that a command asks: where it is, and what it is shown. Flags win over the environment, which inside a pod
//! is the sidecar's own.

use clap::ArgMatches;

use super::Trouble;
use super::address::Address;
use super::tls::{self, Tls};
use super::token::Token;
use crate::config::switch;

/// The admin plane to ask.
#[derive(Clone, Debug)]
pub(super) struct Plane {
    pub(super) address: Address,
    /// For an address that is spoken to in TLS.
    pub(super) tls: Option<Tls>,
    pub(super) token: Option<Token>,
}

/// The environment.
pub(super) type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Plane {
    /// As the command line names it, else the environment, else where a sidecar has it by default.
    pub(super) fn new(matches: &ArgMatches, variables: Variables<'_>) -> Result<Self, Trouble> {
        let mut plane = Self::anonymous(matches, variables)?;
        let said = Said { matches, variables };
        if let Some(path) = said.text("admin-token-file") {
            if plane.tls.is_none() && !plane.address.is_local() {
                return Err(Trouble::Usage(format!(
                    "the token would go to {} in clear; use https://, or an address of this machine",
                    plane.address
                )));
            }
            plane.token = Some(Token::read(&path)?);
        }
        Ok(plane)
    }

    /// The same for what needs no token, so that nothing fails for want of one.
    pub(super) fn anonymous(
        matches: &ArgMatches,
        variables: Variables<'_>,
    ) -> Result<Self, Trouble> {
        let said = Said { matches, variables };
        let text = said.text("admin").unwrap_or_else(|| DEFAULT.to_owned());
        let address = Address::parse(&text, said.is_tls_meant()).map_err(Trouble::Usage)?;
        let tls = match &address {
            Address::Tls { host, .. } => Some(Tls::new(host, &said.tls())?),
            Address::Unix(_) | Address::Plain(_) => None,
        };
        Ok(Self {
            address,
            tls,
            token: None,
        })
    }
}

struct Said<'a> {
    matches: &'a ArgMatches,
    variables: Variables<'a>,
}

impl Said<'_> {
    /// Flag, then environment; an empty value is unset.
    fn text(&self, name: &str) -> Option<String> {
        let flag = self.matches.get_one::<String>(name).cloned();
        flag.or_else(|| self.variable(name))
    }

    fn variable(&self, name: &str) -> Option<String> {
        let twin = format!("PORTCULLIS_{}", name.to_ascii_uppercase().replace('-', "_"));
        (self.variables)(&twin).filter(|text| !text.is_empty())
    }

    /// Whether the sidecar of this environment speaks TLS on its admin plane.
    fn is_tls_meant(&self) -> bool {
        let is_on = |text: String| switch(&text) == Ok(true);
        self.variable("admin-tls").is_some_and(is_on) || self.variable("admin-cert").is_some()
    }

    fn tls(&self) -> tls::Asked {
        tls::Asked {
            ca: self.text("admin-ca"),
            server_name: self.text("admin-server-name"),
            certificate: self.text("admin-client-cert"),
            key: self.text("admin-client-key"),
        }
    }
}

const DEFAULT: &str = "127.0.0.1:9901";

#[cfg(test)]
impl Plane {
    /// At this address, with nothing to show.
    pub(super) fn at(address: std::net::SocketAddr) -> Self {
        Self {
            address: Address::Plain(address),
            tls: None,
            token: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::commands;
    use super::*;

    fn plane(line: &str, variables: &[(&str, &str)]) -> Result<Plane, Trouble> {
        let [status, ..] = commands();
        let matches = status.try_get_matches_from(line.split(' ')).unwrap();
        Plane::new(&matches, &|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_default() {
        let set = [("PORTCULLIS_ADMIN", "127.0.0.1:2")];
        for (line, variables, wanted) in [
            ("status", &[][..], "127.0.0.1:9901"),
            ("status", &[("PORTCULLIS_ADMIN", "")], "127.0.0.1:9901"),
            ("status", &set, "127.0.0.1:2"),
            ("status --admin :1", &set, "127.0.0.1:1"),
            ("status --admin unix:/a", &set, "unix:/a"),
            (
                "status",
                &[
                    ("PORTCULLIS_ADMIN", "unix:/run/admin"),
                    ("PORTCULLIS_ADMIN_TLS", "true"),
                ],
                "unix:/run/admin",
            ),
            (
                "status --admin http://localhost:1",
                &[("PORTCULLIS_ADMIN_TLS", "on")],
                "127.0.0.1:1",
            ),
        ] {
            let plane = plane(line, variables).unwrap();
            assert_eq!(plane.address.to_string(), wanted, "{line} {variables:?}");
        }
    }

    #[test]
    fn a_sidecar_that_speaks_tls_is_spoken_to_in_tls() {
        for variables in [
            [("PORTCULLIS_ADMIN_TLS", "true")],
            [("PORTCULLIS_ADMIN_CERT", "/admin/tls.crt")],
        ] {
            let error = plane("status", &variables).unwrap_err().to_string();
            assert!(error.contains("https needs --admin-ca"), "{error}");
        }
        let off = plane("status", &[("PORTCULLIS_ADMIN_TLS", "off")]);
        assert!(off.unwrap().tls.is_none());
    }

    #[test]
    fn the_sidecars_own_token_file_is_found_and_never_sent_in_clear() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "ops write 5ec12e7\n").unwrap();
        let variables = [("PORTCULLIS_ADMIN_TOKEN_FILE", file.path().to_str().unwrap())];
        assert!(plane("status", &variables).unwrap().token.is_some());
        let local = plane("status --admin unix:/run/admin", &variables);
        assert!(local.unwrap().token.is_some());
        let error = plane("status --admin 192.0.2.1:9901", &variables).unwrap_err();
        assert_eq!(error.code(), 2);
        assert!(error.to_string().contains("in clear"), "{error}");
        let unread = plane("status --admin-token-file /nowhere", &variables).unwrap_err();
        assert!(unread.to_string().contains("/nowhere"), "{unread}");
    }
}
