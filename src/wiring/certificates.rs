//! The certificate room as the admin plane and the metrics see it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portcullis_admin::{
    AttemptView, Caller, Certificates, CertificatesView, ChainElement, ClientAuthView, CrlView,
    PartView, Waiting,
};
use portcullis_certs::{
    Account, Attempt, Confirmation, CrlFacts, Facts as CertificateFacts, Outcome, Store, Trigger,
};
use time::OffsetDateTime;
use tokio::time::timeout;

use super::House;
use crate::metrics::PartFacts;

impl Certificates for House {
    fn view(&self) -> CertificatesView {
        let store = &self.certificates;
        let current = store.current();
        let parts: Vec<_> = accounts(store)
            .iter()
            .map(|part| part_view(part, current.number))
            .collect();
        CertificatesView {
            generation: current.number,
            since: rfc3339(current.since),
            default: parts.first().cloned(),
            client_auth: store
                .setup()
                .client_auth
                .as_ref()
                .map(|auth| ClientAuthView {
                    required: auth.is_required || !self.config.client_auth_exempt.is_empty(),
                    allow_san: auth.allow.iter().map(ToString::to_string).collect(),
                    exempt: self.config.client_auth_exempt.clone(),
                }),
            ticket_keys: if store.has_ticket_seed() {
                "seed"
            } else {
                "random"
            },
            parts,
        }
    }

    fn reload<'a>(&'a self, caller: &'a Caller) -> Waiting<'a, Vec<AttemptView>> {
        self.audit(
            "certificate_reload",
            "asked",
            "",
            "asked for by the admin plane",
            Some(caller),
        );
        self.entry.reload(Trigger::Admin);
        Box::pin(async move {
            let store = Arc::clone(&self.certificates);
            let number = || self.certificates.current().number;
            let reload = tokio::task::spawn_blocking(move || store.reload(Trigger::Admin, || {}));
            // What goes wrong here is no refusal of a part: a panic, or a file system that hangs.
            let error = match timeout(PATIENCE, reload).await {
                Ok(Ok(attempts)) => {
                    let view = |attempt| attempt_view(attempt, number());
                    return attempts.iter().map(view).collect();
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("reading the files has not ended in {PATIENCE:?}; it goes on"),
            };
            vec![AttemptView {
                source: "all".to_owned(),
                time: rfc3339(SystemTime::now()),
                trigger: Trigger::Admin.word(),
                result: "failed",
                reason: Some("internal"),
                error: Some(error),
                generation: number(),
                old: None,
                new: None,
                seen: None,
                warnings: Vec::new(),
            }]
        })
    }
}

/// What keeps clients from being let in, in words.
pub(super) fn pending(store: &Store) -> Option<String> {
    let current = store.current();
    let (what, is_it): (_, fn(&Account) -> bool) = if !current.has_certificate() {
        ("no certificate yet", |part| part.source.is_some())
    } else if current.lacks_trust() {
        ("no client CA yet", |part| part.trusts)
    } else {
        return None;
    };
    let why = accounts(store)
        .into_iter()
        .find(is_it)
        .and_then(|part| part.failure);
    Some(match why {
        Some(error) => format!("{what}: {error}"),
        None => what.to_owned(),
    })
}

/// What is wrong although clients are served, in words.
pub(super) fn degraded(store: &Store) -> Vec<String> {
    let mut degraded = Vec::new();
    for part in accounts(store) {
        if let Some(error) = &part.failure {
            degraded.push(format!("{}: not loaded: {error}", part.part));
        }
        if let Some(Confirmation::Differs(seen)) = &part.seen {
            degraded.push(format!(
                "{}: {seen} is served, which is another one",
                part.part
            ));
        }
        let warnings = part.warnings.iter();
        degraded.extend(warnings.map(|warning| format!("{}: {warning}", part.part)));
    }
    degraded
}

/// What the metrics tell of each part.
pub(super) fn facts(store: &Store) -> Vec<PartFacts> {
    let now = SystemTime::now();
    let part = |part: &Account| PartFacts {
        name: part.part.to_string(),
        not_after: not_after(part),
        differs_for: part
            .differs_since
            .map(|since| now.duration_since(since).unwrap_or_default()),
        is_not_shown: matches!(part.seen, Some(Confirmation::Differs(_))),
        is_mount_dead: part.dead_mount.is_some(),
        reloads: [
            ("published", part.counts.published),
            ("failed", part.counts.failed),
        ],
        last_success: part.last_success,
    };
    accounts(store).iter().map(part).collect()
}

fn accounts(store: &Store) -> Vec<Account> {
    store.accounts(OffsetDateTime::now_utc())
}

/// `not_after` of each kind of element, as Unix time. One for all intermediates, and one for all client CAs: the first to
/// expire is the one that matters.
fn not_after(part: &Account) -> Vec<(&'static str, i64)> {
    let mut by_element = Vec::new();
    let chain = part.served.iter().flat_map(|bundle| &bundle.chain);
    let authorities = part.trust.iter().flat_map(|trust| &trust.authorities);
    let elements = std::iter::once("leaf").chain(std::iter::repeat("intermediate"));
    let dated = elements
        .zip(chain)
        .chain(std::iter::repeat("client_ca").zip(authorities));
    for (element, facts) in dated {
        let at = facts.not_after.unix_timestamp();
        match by_element.iter_mut().find(|(known, _)| *known == element) {
            Some((_, first)) => *first = at.min(*first),
            None => by_element.push((element, at)),
        }
    }
    by_element
}

fn part_view(part: &Account, generation: u64) -> PartView {
    let elements = |chain: &[CertificateFacts]| chain.iter().map(element).collect::<Vec<_>>();
    let trust = part.trust.as_ref();
    let last = part.last_attempt.as_ref();
    PartView {
        source: part.part.to_string(),
        kind: match (&part.source, part.is_seed) {
            (Some(_), _) => "certificate",
            (None, true) => "ticket_seed",
            (None, false) => "client_ca",
        },
        chain: part
            .served
            .as_ref()
            .map(|bundle| elements(&bundle.chain))
            .unwrap_or_default(),
        on_disk: part.on_disk.as_ref().map(element),
        disk_differs_since: part.differs_since.map(rfc3339),
        client_ca: trust.map(|trust| elements(&trust.authorities)),
        crls: trust
            .map(|trust| trust.crls.iter().map(crl).collect())
            .unwrap_or_default(),
        seen: part.seen.as_ref().map(Confirmation::word),
        warnings: part.warnings.clone(),
        last_attempt: last.map(|attempt| {
            let number = match &attempt.outcome {
                Outcome::Published(published) => published.number,
                Outcome::Unchanged | Outcome::Failed(_) => generation,
            };
            attempt_view(attempt, number)
        }),
        last_success: part.last_success.map(rfc3339),
        last_error: part.failure.as_ref().map(ToString::to_string),
    }
}

fn attempt_view(attempt: &Attempt, generation: u64) -> AttemptView {
    let (result, reason, error) = match &attempt.outcome {
        Outcome::Published(_) => ("published", None, None),
        Outcome::Unchanged => ("unchanged", None, None),
        Outcome::Failed(error) => ("failed", Some(error.reason()), Some(error.to_string())),
    };
    AttemptView {
        source: attempt.part.to_string(),
        time: rfc3339(attempt.at),
        trigger: attempt.trigger.word(),
        result,
        reason,
        error,
        generation,
        old: attempt.old.clone(),
        new: attempt.new.clone(),
        seen: attempt.confirmation.as_ref().map(Confirmation::word),
        warnings: attempt.warnings.clone(),
    }
}

fn element(facts: &CertificateFacts) -> ChainElement {
    let date = |at: OffsetDateTime| rfc3339(SystemTime::from(at));
    ChainElement {
        subject: facts.subject.clone(),
        issuer: facts.issuer.clone(),
        names: facts.names.iter().map(ToString::to_string).collect(),
        key: facts.key.clone(),
        serial: facts.serial.clone(),
        sha256: facts.sha256.clone(),
        not_before: date(facts.not_before),
        not_after: date(facts.not_after),
    }
}

fn crl(facts: &CrlFacts) -> CrlView {
    let date = |at: OffsetDateTime| rfc3339(SystemTime::from(at));
    CrlView {
        issuer: facts.issuer.clone(),
        this_update: date(facts.this_update),
        next_update: facts.next_update.map(date),
        revoked: facts.revoked,
    }
}

fn rfc3339(at: SystemTime) -> String {
    // Certificates may carry dates before 1970, which this formatter refuses.
    let at = at.max(SystemTime::UNIX_EPOCH + Duration::ZERO);
    humantime::format_rfc3339_millis(at).to_string()
}

/// For a reload that somebody waits for.
const PATIENCE: Duration = Duration::from_secs(15);
