//! Tells everybody what happens in the certificate room: the own log loudly, the records as an audit, readiness on the first
//! certificate, and the workers of each new generation.

use std::sync::Arc;

use portcullis_certs::{Attempt, Confirmation, Generation, LoadError, Observer, Outcome};
use tokio::sync::watch;

use crate::config::Config;
use crate::phase::{Life, Phase};
use crate::records::audit;

/// The one who tells.
#[derive(Debug)]
pub(crate) struct Teller {
    service: String,
    life: Arc<Life>,
    generations: watch::Sender<u64>,
}

impl Teller {
    pub(crate) fn new(config: &Config, life: Arc<Life>, generations: watch::Sender<u64>) -> Self {
        Self {
            service: config.service_name.clone(),
            life,
            generations,
        }
    }

    fn succeeded(&self, attempt: &Attempt, generation: &Generation) {
        let (number, trigger, part) = (generation.number, attempt.trigger.word(), &*attempt.part);
        let names = |name: &Option<String>| name.as_deref().unwrap_or("none").to_owned();
        let (old, new) = (names(&attempt.old), names(&attempt.new));
        let mut detail = format!("{part}: generation {number}, trigger {trigger}, {old} -> {new}");
        let mut reason = "";
        match &attempt.confirmation {
            None => {}
            Some(Confirmation::Served) => detail.push_str(", seen to be served"),
            Some(Confirmation::Unverified(why)) => {
                tracing::warn!(
                    part,
                    generation = number,
                    why,
                    "nobody could see whether it is served"
                );
                reason = "unverified";
                detail.push_str(&format!(", unverified: {why}"));
            }
            Some(Confirmation::Differs(seen)) => {
                tracing::error!(
                    part,
                    generation = number,
                    seen,
                    new,
                    "another certificate is served than was published"
                );
                reason = "differs";
                detail.push_str(&format!(", but {seen} is served"));
            }
        }
        for warning in &attempt.warnings {
            detail.push_str(&format!("; warning: {warning}"));
        }
        audit(&self.service, ACTION, "published", reason, &detail);
    }

    fn failed(&self, attempt: &Attempt, error: &LoadError) {
        let (trigger, part) = (attempt.trigger.word(), &*attempt.part);
        if attempt.repeated {
            return tracing::debug!(part, trigger, %error, "still not loaded");
        }
        let kept = match &attempt.old {
            Some(_) => "the old one is still served",
            None => "none is served",
        };
        tracing::error!(part, trigger, %error, "not loaded, {kept}");
        let old = attempt.old.as_deref().unwrap_or("none");
        let detail = format!("{part}: trigger {trigger}, {old} kept: {error}");
        audit(&self.service, ACTION, "failed", error.reason(), &detail);
    }
}

impl Observer for Teller {
    fn published(&self, attempt: &Attempt, generation: &Generation) {
        let (number, part) = (generation.number, &*attempt.part);
        let trigger = attempt.trigger.word();
        let (old, new) = (attempt.old.as_deref(), attempt.new.as_deref());
        tracing::info!(
            part,
            generation = number,
            trigger,
            old,
            new,
            "served from now on"
        );
        for warning in &attempt.warnings {
            tracing::warn!(part, generation = number, "{warning}");
        }
        if generation.has_certificate() && !generation.lacks_trust() {
            self.life.advance(Phase::Ready);
        }
        self.generations.send_replace(generation.number);
    }

    fn ended(&self, attempt: &Attempt) {
        match &attempt.outcome {
            Outcome::Published(generation) => self.succeeded(attempt, generation),
            Outcome::Failed(error) => self.failed(attempt, error),
            // Somebody asked and wants to know; the rest is routine, and no attempt to change anything.
            Outcome::Unchanged => {
                let (trigger, part) = (attempt.trigger.word(), &*attempt.part);
                if attempt.trigger.is_asked_for() {
                    tracing::info!(trigger, part, "certificate unchanged");
                    let detail = format!("{part}: trigger {trigger}");
                    audit(&self.service, ACTION, "unchanged", "", &detail);
                } else {
                    tracing::debug!(part, trigger, "certificate unchanged");
                }
            }
        }
    }
}

const ACTION: &str = "certificate_reload";
