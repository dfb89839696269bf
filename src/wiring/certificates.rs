//! The certificate room as the admin plane, the records and the metrics see it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portcullis_admin::{AttemptView, Certificates, CertificatesView, ChainElement, Waiting};
use portcullis_certs::{
    Attempt, Bundle, Facts as CertificateFacts, Generation, Outcome, Source, Store, Trigger,
};

use super::House;
use crate::phase::{Life, Phase};
use crate::records::audit;

impl Certificates for House {
    fn view(&self) -> CertificatesView {
        let current = self.certificates.current();
        let bundle = current.bundle.as_ref();
        let last = self
            .certificates
            .last_attempt()
            .map(|attempt| attempt_view(&self.certificates, &attempt));
        CertificatesView {
            source: describe(self.certificates.source()),
            generation: current.number,
            chain: bundle
                .map(|bundle| bundle.chain.iter().map(element).collect())
                .unwrap_or_default(),
            warnings: bundle
                .map(|bundle| bundle.warnings(SystemTime::now().into()))
                .unwrap_or_default(),
            last_error: last.as_ref().and_then(|attempt| attempt.error.clone()),
            last_attempt: last,
            last_success: self.certificates.last_success().map(rfc3339),
        }
    }

    fn reload(&self) -> Waiting<'_, AttemptView> {
        Box::pin(async move {
            let store = Arc::clone(&self.certificates);
            let reload = tokio::task::spawn_blocking(move || store.reload(Trigger::Admin));
            match reload.await {
                Ok(attempt) => attempt_view(&self.certificates, &attempt),
                Err(error) => AttemptView {
                    time: rfc3339(SystemTime::now()),
                    trigger: Trigger::Admin.word(),
                    result: "failed",
                    reason: Some("internal"),
                    error: Some(error.to_string()),
                    generation: self.certificates.current().number,
                    old: None,
                    new: None,
                },
            }
        })
    }
}

fn attempt_view(store: &Store, attempt: &Attempt) -> AttemptView {
    let current = store.current();
    let (reason, error) = match &attempt.outcome {
        Outcome::Failed(error) => (Some(error.reason()), Some(error.to_string())),
        Outcome::Published(_) | Outcome::Unchanged => (None, None),
    };
    AttemptView {
        time: rfc3339(attempt.at),
        trigger: attempt.trigger.word(),
        result: result(&attempt.outcome),
        reason,
        error,
        generation: current.number,
        old: attempt.old.clone(),
        new: fingerprint(&current),
    }
}

/// Tells everybody of an attempt: the own log loudly, the records as an audit, and readiness on the first success.
pub(crate) fn observer(service: String, life: Arc<Life>) -> impl Fn(&Attempt) + Send + Sync {
    move |attempt| {
        let trigger = attempt.trigger.word();
        match &attempt.outcome {
            Outcome::Published(generation) => {
                let (number, leaf) = (
                    generation.number,
                    generation.bundle.as_ref().map(Bundle::leaf),
                );
                if let Some(leaf) = leaf {
                    tracing::info!(
                        generation = number, trigger, subject = %leaf.subject, names = ?leaf.names,
                        not_after = %leaf.not_after, sha256 = %leaf.sha256, "certificate served from now on"
                    );
                }
                for warning in attempt.warnings() {
                    tracing::warn!(generation = number, "{warning}");
                }
                let detail = format!(
                    "generation {number}, {} -> {}",
                    attempt.old.as_deref().unwrap_or("none"),
                    fingerprint(generation).as_deref().unwrap_or("none")
                );
                audit(&service, "certificate_reload", "published", "", &detail);
                life.advance(Phase::Ready);
            }
            // Somebody asked and wants to know; the rest is routine.
            Outcome::Unchanged if matches!(attempt.trigger, Trigger::Admin | Trigger::Signal) => {
                tracing::info!(trigger, "certificate unchanged");
            }
            Outcome::Unchanged => tracing::debug!(trigger, "certificate unchanged"),
            Outcome::Failed(error) if attempt.repeated => {
                tracing::debug!(trigger, %error, "certificate still not loaded")
            }
            Outcome::Failed(error) => {
                let kept = attempt
                    .old
                    .as_deref()
                    .map_or("none is served", |_| "the old one is still served");
                tracing::error!(trigger, %error, "certificate not loaded, {kept}");
                audit(
                    &service,
                    "certificate_reload",
                    "failed",
                    error.reason(),
                    &error.to_string(),
                );
            }
        }
    }
}

/// `not_after` of each kind of element of the chain served, as Unix time. One for all intermediates: the first to expire
/// is the one that matters.
pub(super) fn not_after(store: &Store) -> Vec<(&'static str, i64)> {
    let current = store.current();
    let chain = current
        .bundle
        .as_ref()
        .map(|bundle| bundle.chain.as_slice())
        .unwrap_or_default();
    let elements = std::iter::once("leaf").chain(std::iter::repeat("intermediate"));
    earliest(elements.zip(chain.iter().map(|facts| facts.not_after.unix_timestamp())))
}

fn earliest(dates: impl Iterator<Item = (&'static str, i64)>) -> Vec<(&'static str, i64)> {
    let mut by_element: Vec<(&'static str, i64)> = Vec::new();
    for (element, at) in dates {
        match by_element.iter_mut().find(|(known, _)| *known == element) {
            Some((_, first)) => *first = at.min(*first),
            None => by_element.push((element, at)),
        }
    }
    by_element
}

fn element(facts: &CertificateFacts) -> ChainElement {
    let date = |at: time::OffsetDateTime| rfc3339(SystemTime::from(at));
    ChainElement {
        subject: facts.subject.clone(),
        issuer: facts.issuer.clone(),
        names: facts.names.clone(),
        serial: facts.serial.clone(),
        sha256: facts.sha256.clone(),
        not_before: date(facts.not_before),
        not_after: date(facts.not_after),
    }
}

fn fingerprint(generation: &Generation) -> Option<String> {
    generation
        .bundle
        .as_ref()
        .map(|bundle| bundle.leaf().sha256.clone())
}

fn result(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Published(_) => "published",
        Outcome::Unchanged => "unchanged",
        Outcome::Failed(_) => "failed",
    }
}

fn describe(source: &Source) -> String {
    match source {
        Source::Directory(folder) => folder.display().to_string(),
        Source::Files { certificate, key } => {
            format!("{} and {}", certificate.display(), key.display())
        }
    }
}

fn rfc3339(at: SystemTime) -> String {
    // Certificates may carry dates before 1970, which this formatter refuses.
    let at = at.max(SystemTime::UNIX_EPOCH + Duration::ZERO);
    humantime::format_rfc3339_millis(at).to_string()
}
