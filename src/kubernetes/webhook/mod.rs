//! `portcullis webhook`: an admission webhook that injects sidecars. It is an application behind the sidecar as any other
//! is, only that it is built in: certificates, limits, records, planes and drain are the sidecar's own.

mod app;
mod review;

use std::io;
use std::net::{Ipv4Addr, TcpListener};

use clap::ArgMatches;
use serde_json::Value;

use super::settings::{self, Given};
use crate::config::{Config, Mistakes, Raw, Reading};

/// Where the sidecar will find the webhook; nobody serves there yet.
#[derive(Debug)]
pub struct Place(TcpListener);

/// What answers the API server.
#[derive(Debug)]
pub struct Webhook {
    listener: TcpListener,
    given: Given,
    limit: usize,
}

impl Place {
    /// A free port of the loopback.
    ///
    /// # Errors
    /// When there is none.
    pub fn find() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        Ok(Self(listener))
    }

    /// Reads flags, environment and file: what to inject, and the sidecar in front.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn furnish(self, matches: &ArgMatches) -> Result<(Webhook, Config, Raw), Mistakes> {
        let target = format!(
            "http://{}",
            self.0
                .local_addr()
                .map_err(|error| Mistakes(vec![error.to_string()]))?
        );
        let mut reading = Reading::of_webhook(matches, |raw| stage(raw, &target));
        let given = given(&reading.raw, &mut reading.mistakes.0);
        let (config, raw) = reading.sound()?;
        let limit = config.limits.max_body.unwrap_or(u64::MAX);
        let webhook = Webhook {
            listener: self.0,
            given,
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
        };
        Ok((webhook, config, raw))
    }
}

impl Webhook {
    /// Answers from now on, on a thread of its own, until the process ends.
    ///
    /// # Errors
    /// When the system refuses the thread or what it needs.
    pub fn open(self) -> io::Result<()> {
        app::start(self.listener, self.given, self.limit)
    }
}

fn stage(raw: &mut Raw, target: &str) {
    let mut settle = |name, text: &str| raw.stage(NAME, name, &text);
    settle("target", target);
    // Nobody has another one to offer, and the process then makes no other connections.
    settle("target-locked", "true");
    settle("app-health", app::HEALTH);
    for (name, text) in [("max-body", "4MiB"), ("service-name", "portcullis-webhook")] {
        if !raw.is_explicit(name) {
            raw.stage(NAME, name, &text);
        }
    }
}

/// What pods get that do not say otherwise.
fn given(raw: &Raw, mistakes: &mut Vec<String>) -> Given {
    let mut given = Given::default();
    let Some(said) = raw.get("inject") else {
        return given;
    };
    let mut names = Vec::new();
    for text in &said.texts {
        let outcome = match text.split_once('=') {
            None => Err(SHAPE.to_owned()),
            Some((name, _)) if names.contains(&name) => Err("it is said twice".to_owned()),
            Some((name, value)) => {
                names.push(name);
                given.set(name, value)
            }
        };
        if let Err(error) = outcome {
            mistakes.push(format!("--inject {text} ({}): {error}", said.origin));
        }
    }
    mistakes.extend(combination(&given).map(|why| format!("--inject: {why}")));
    given
}

/// What is wrong with every pod that says nothing itself; the Secret may be left to them.
fn combination(given: &Given) -> impl Iterator<Item = String> {
    let mut given = given.clone();
    let _ = given.set("tls-secret", "any");
    let (_, mistakes) = settings::read(&Value::Null, &given);
    mistakes.into_iter().map(|mistake| mistake.text)
}

const SHAPE: &str = "it is not NAME=VALUE; in the environment a comma begins another one, so a value that has commas goes into a flag or the file";

/// The origin of what it settles by itself.
const NAME: &str = "webhook";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Result<(Webhook, Config, Raw), Mistakes> {
        let line = ["portcullis", "webhook"].iter().chain(args);
        let matches = crate::config::command().get_matches_from(line);
        let (_, matches) = matches.subcommand().unwrap();
        Place::find().unwrap().furnish(matches)
    }

    #[test]
    fn it_is_the_sidecar_in_front_of_its_own_application() {
        let (webhook, config, raw) = read(&["--inject", "tls-secret=app-tls"]).unwrap();
        let address = webhook.listener.local_addr().unwrap();
        assert_eq!(config.target.to_string(), format!("http://{address}"));
        assert!(config.target_locked && config.redirect.is_none());
        assert_eq!(config.app_health.as_deref(), Some("/healthz"));
        assert_eq!(config.service_name, "portcullis-webhook");
        assert_eq!(
            (config.limits.max_body, webhook.limit),
            (Some(4 << 20), 4 << 20)
        );
        let said = |name| raw.get(name).unwrap();
        assert_eq!(said("target").origin.to_string(), "webhook");
        assert_eq!(said("inject").text(), "tls-secret=app-tls");
        assert!(raw.options().any(|opt| opt.name == "inject"));
    }

    #[test]
    fn what_somebody_said_is_left() {
        let (webhook, config, _) = read(&["--max-body=1KiB", "--service-name=injector"]).unwrap();
        assert_eq!(webhook.limit, 1 << 10);
        assert_eq!(config.service_name, "injector");
        let (webhook, config, _) = read(&["--max-body=0", "--listen=[::]:8080"]).unwrap();
        assert_eq!((config.limits.max_body, webhook.limit), (None, usize::MAX));
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let mistakes = read(&[
            "--inject=tls-secret",
            "--inject=tls-sekret=x",
            "--inject=mode=native",
            "--inject=admin-port=8443",
            "--inject=mode=classic",
            "--ring=none",
        ]);
        let mistakes = mistakes.unwrap_err().0.join("\n");
        for part in [
            "--inject tls-secret (flag --inject): it is not NAME=VALUE",
            "--inject tls-sekret=x (flag --inject): ",
            "--inject mode=classic (flag --inject): it is said twice",
            "--inject: https-port and admin-port are both 8443",
            "--ring (flag --ring)",
        ] {
            assert!(mistakes.contains(part), "{part:?} is missing in {mistakes}");
        }
    }

    #[test]
    fn what_is_settled_cannot_be_said() {
        for flag in [
            "--target=http://127.0.0.1:1",
            "--redirect=:80",
            "--app-health=/",
        ] {
            let line = ["portcullis", "webhook", flag];
            let refused = crate::config::command().try_get_matches_from(line);
            assert!(refused.is_err(), "{flag}");
        }
    }
}
