//! `portcullis doctor`: on a running pod, looks at what is around the sidecar. Each finding comes with the line that fixes it.
//!
//! What the sidecar knows is asked of its admin plane; ports and the application are looked at by this very process, in the
//! same network namespace. An admin plane that does not answer is a finding, and the rest is looked at all the same.

mod application;
mod certificates;
mod draw;
mod finding;
mod plane;
mod pod;
mod settings;

use std::io::Write;
use std::time::Duration;

use clap::{ArgMatches, Command};
use serde_json::Value;
use time::OffsetDateTime;

use self::finding::{Finding, State};
use self::settings::Settings;
use super::args::{Errand, Output, valued, with_common};
use super::client::{self, Request};
use super::plane::Plane;
use super::rows::text;
use super::{Trouble, show};
use crate::check::ending::needed;
use crate::config::grace_period;
use crate::exposure;
use crate::upstream::{Target, TargetUrl, ask};

pub(super) fn command() -> Command {
    let flags = settings::FLAGS
        .map(|(name, value, help)| valued(name, value, help).value_parser(checked(name)));
    let command = Command::new("doctor")
        .about("Look at what is around a running sidecar, and say what to do about it")
        .args(flags);
    with_common(command, EXAMPLES)
}

/// As it was written, which is as the sidecar would read it.
fn checked(name: &'static str) -> impl Fn(&str) -> Result<String, String> + Clone {
    move |text| {
        match name {
            "target" => TargetUrl::parse(text).map(drop)?,
            "grace-period" => grace_period(text).map(drop)?,
            _ => {}
        }
        Ok(text.to_owned())
    }
}

/// Looks, writes what was found to `out`, and tells whether there is no problem.
pub(super) async fn run(
    errand: Errand<'_>,
    matches: &ArgMatches,
    out: &mut impl Write,
) -> Result<bool, Trouble> {
    let said = Said::by(errand.plane).await;
    let (settings, doubts) = Settings::read(matches, said.config.as_ref());
    let at = errand.plane.address.to_string();
    let mut findings = said.judged(&at, &settings, OffsetDateTime::now_utc());
    findings.extend(doubts);
    findings.extend(around(&said, &settings, matches).await);
    let text = match errand.output {
        Output::Json => {
            let json = serde_json::to_string_pretty(&findings);
            json.map_err(|error| Trouble::Negative(error.to_string()))? + "\n"
        }
        Output::Text { colour } => {
            show(out, &draw::draw(&findings, colour))?;
            format!("\n{}\n", draw::summary(&findings))
        }
    };
    show(out, text.as_bytes())?;
    Ok(findings.iter().all(|found| found.state < State::Problem))
}

/// What the admin plane says.
#[derive(Debug)]
struct Said {
    status: Result<Value, String>,
    certificates: Option<Value>,
    /// None also where the sidecar is older than the question.
    config: Option<Value>,
}

impl Said {
    async fn by(plane: &Plane) -> Self {
        let status = read(plane, "/status").await;
        // Who does not answer is not asked three times.
        let (certificates, config) = if status.is_ok() {
            let certificates = read(plane, "/certs").await.ok();
            (certificates, read(plane, "/config").await.ok())
        } else {
            (None, None)
        };
        Self {
            status,
            certificates,
            config,
        }
    }

    /// Without a look at anything else.
    fn judged(&self, admin: &str, settings: &Settings, now: OffsetDateTime) -> Vec<Finding> {
        let mut findings = vec![plane::answers(admin, &self.status)];
        findings.extend(plane::is_kept_inside(settings.admin));
        let status = self.status.as_ref().ok();
        if let Some(status) = status {
            findings.push(plane::readiness(status));
            findings.extend(plane::target(&status["target"]));
        }
        match &self.certificates {
            Some(all) => findings.extend(certificates::all(all, now)),
            None => findings.push(unseen()),
        }
        let since = status.and_then(|status| certificates::when(&status["certificate"]["since"]));
        findings.push(pod::clock(now, since));
        if let (Some(delay), Some(timeout)) = (settings.drain_delay, settings.drain_timeout) {
            findings.push(pod::drain(
                needed(delay, timeout, settings.is_traced),
                settings.grace_period,
            ));
        }
        findings
    }
}

fn unseen() -> Finding {
    let found = State::Note.of(
        "certificate",
        "what is served is not known without the admin plane",
    );
    found.fix("portcullis check looks at what is on disk")
}

/// What is to be seen from here.
async fn around(said: &Said, settings: &Settings, matches: &ArgMatches) -> Vec<Finding> {
    let in_force = || {
        let url = said.status.as_ref().ok()?["target"]["url"].as_str()?;
        TargetUrl::parse(url).ok()
    };
    let is_chosen = matches.contains_id("target");
    let url = if is_chosen { None } else { in_force() };
    let Some(url) = url.or_else(|| settings.target.clone()) else {
        return Vec::new();
    };
    let mut findings: Vec<_> = application::exposure(&exposure::look(&url, &settings.own))
        .into_iter()
        .collect();
    let target = Target::new(0, url);
    let path = settings.app_health.as_deref();
    let asked = ask(&target, &settings.own, path.unwrap_or("/"), LIMIT).await;
    let mut listening = exposure::listening(&settings.own);
    listening.truncate(MOST_LISTENERS);
    findings.extend(application::answer(&target.url, path, &asked, &listening));
    findings
}

async fn read(plane: &Plane, path: &str) -> Result<Value, String> {
    let said = client::ask(plane, &Request::get(path)).await;
    said.map(|said| said.value)
        .map_err(|trouble| trouble.to_string())
}

const EXAMPLES: &str = "\
Examples:
  kubectl exec deploy/shop -c portcullis -- portcullis doctor
  portcullis doctor --grace-period 60 --output json

Findings are ok, note, warning or problem. The exit code is 1 when there is a problem; an admin plane that does not answer is
one, and the rest is looked at all the same.";

/// For the application to answer.
const LIMIT: Duration = Duration::from_secs(5);
const MOST_LISTENERS: usize = 8;
