//! Tells everybody what happens in the certificate room: the own log loudly, the records as an audit, readiness on the first
//! certificate, and the workers of each new generation.

use std::sync::Arc;

use portcullis_certs::{Attempt, Confirmation, Generation, LoadError, Observer, Outcome};
use tokio::sync::watch;

use super::certificates::ADMIN_PLANE;
use crate::config::Config;
use crate::phase::{Life, Phase};
use crate::records::{Audit, audit};

/// The one who tells.
#[derive(Debug)]
pub(crate) struct Teller {
    service: String,
    /// Before the name of each part.
    prefix: &'static str,
    life: Arc<Life>,
    generations: watch::Sender<u64>,
}

impl Teller {
    pub(crate) fn new(config: &Config, life: Arc<Life>, generations: watch::Sender<u64>) -> Self {
        Self {
            service: config.service_name.clone(),
            prefix: "",
            life,
            generations,
        }
    }

    /// One for the certificates of the admin plane, which nobody's readiness depends on.
    pub(crate) fn of_admin_plane(
        config: &Config,
        life: Arc<Life>,
        generations: watch::Sender<u64>,
    ) -> Self {
        Self {
            prefix: ADMIN_PLANE,
            ..Self::new(config, life, generations)
        }
    }

    fn part(&self, attempt: &Attempt) -> String {
        format!("{}{}", self.prefix, attempt.part)
    }

    fn audit(
        &self,
        action: &'static str,
        result: &'static str,
        reason: &'static str,
        detail: &str,
    ) {
        let told = Audit {
            action,
            result,
            reason,
            detail,
            actor: None,
        };
        audit(&self.service, &told);
    }

    fn published(&self, attempt: &Attempt, generation: &Generation) {
        let (number, trigger) = (generation.number, attempt.trigger.word());
        let part = &*self.part(attempt);
        let none = || "none".to_owned();
        let old = attempt.old.clone().unwrap_or_else(none);
        let new = attempt.new.clone().unwrap_or_else(none);
        tracing::info!(
            part,
            generation = number,
            trigger,
            old,
            new,
            "served from now on"
        );
        let mut detail = format!("{part}: generation {number}, trigger {trigger}, {old} -> {new}");
        for warning in &attempt.warnings {
            tracing::warn!(part, generation = number, "{warning}");
            detail.push_str(&format!("; warning: {warning}"));
        }
        self.audit(RELOAD, "published", "", &detail);
        if generation.has_certificate() && !generation.lacks_trust() {
            self.life.advance(Phase::Ready);
        }
        self.generations.send_replace(number);
    }

    fn failed(&self, attempt: &Attempt, error: &LoadError) {
        let (trigger, part) = (attempt.trigger.word(), &*self.part(attempt));
        if attempt.repeated {
            return tracing::debug!(part, trigger, %error, "still not loaded");
        }
        let kept = match &attempt.old {
            Some(_) => "the old one is still served",
            None => "none is served",
        };
        if error.is_unsettled() {
            tracing::warn!(part, trigger, %error, "not loaded yet, {kept}");
        } else {
            tracing::error!(part, trigger, %error, "not loaded, {kept}");
        }
        let old = attempt.old.as_deref().unwrap_or("none");
        let refused = attempt.refused.as_deref();
        let refused = refused.map_or_else(String::new, |new| format!(", {new} refused"));
        let detail = format!("{part}: trigger {trigger}, {old} kept{refused}: {error}");
        self.audit(RELOAD, "failed", error.reason(), &detail);
    }
}

impl Observer for Teller {
    fn attempted(&self, attempt: &Attempt) {
        match &attempt.outcome {
            Outcome::Published(generation) => self.published(attempt, generation),
            Outcome::Failed(error) => self.failed(attempt, error),
            // Somebody asked and wants to know; the rest is routine, and no attempt to change anything.
            Outcome::Unchanged => {
                let (trigger, part) = (attempt.trigger.word(), &*self.part(attempt));
                if attempt.trigger.is_asked_for() || attempt.recovered {
                    tracing::info!(trigger, part, "certificate unchanged");
                    let what = if attempt.recovered {
                        "what is on disk is what is served again"
                    } else {
                        "nothing new on disk"
                    };
                    let detail = format!("{part}: trigger {trigger}, {what}");
                    self.audit(RELOAD, "unchanged", "", &detail);
                } else {
                    tracing::debug!(trigger, part, "certificate unchanged");
                }
            }
        }
    }

    fn looked(&self, attempt: &Attempt, seen: &Confirmation) {
        let (part, new) = (
            &*self.part(attempt),
            attempt.new.as_deref().unwrap_or("none"),
        );
        let detail = match seen {
            Confirmation::Served => format!("{part}: {new} is shown to clients"),
            Confirmation::Unverified(why) => {
                tracing::warn!(part, new, why, "nobody could see whether it is served");
                format!("{part}: {new}: {why}")
            }
            Confirmation::Differs(other) => {
                tracing::error!(
                    part,
                    new,
                    other,
                    "another certificate is served than was published"
                );
                format!("{part}: {new} was published, {other} is shown to clients")
            }
        };
        self.audit(LOOK, seen.word(), "", &detail);
    }
}

const RELOAD: &str = "certificate_reload";
/// A look at the own listener with a client's eyes, after a publication.
const LOOK: &str = "certificate_look";
