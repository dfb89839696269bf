//! A part, an attempt, a certificate as the admin plane shows them.

use std::time::{Duration, SystemTime};

use portcullis_admin::{AttemptView, ChainElement, CrlView, PartView};
use portcullis_certs::{
    Account, Attempt, Confirmation, CrlFacts, Facts as CertificateFacts, Outcome, PastAttempt,
};
use time::OffsetDateTime;

pub(super) fn part_view(part: &Account, generation: u64) -> PartView {
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

pub(super) fn attempt_view(attempt: &Attempt, generation: u64) -> AttemptView {
    let (reason, error) = match &attempt.outcome {
        Outcome::Published(_) | Outcome::Unchanged => (None, None),
        Outcome::Failed(error) => (Some(error.reason()), Some(error.to_string())),
    };
    AttemptView {
        source: attempt.part.to_string(),
        time: rfc3339(attempt.at),
        trigger: attempt.trigger.word(),
        result: attempt.outcome.word(),
        reason,
        error,
        generation,
        old: attempt.old.clone(),
        new: attempt.new.clone(),
        seen: attempt.confirmation.as_ref().map(Confirmation::word),
        warnings: attempt.warnings.clone(),
    }
}

/// The latest attempts of these parts, newest first.
pub(super) fn history<'a>(parts: impl Iterator<Item = &'a Account>) -> Vec<AttemptView> {
    let past = |part: &'a Account| {
        part.past
            .iter()
            .map(|past| (past.at, past_view(part, past)))
    };
    let mut history: Vec<_> = parts.flat_map(past).collect();
    history.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    history.into_iter().map(|(_, view)| view).collect()
}

fn past_view(part: &Account, past: &PastAttempt) -> AttemptView {
    AttemptView {
        source: part.part.to_string(),
        time: rfc3339(past.at),
        trigger: past.trigger.word(),
        result: past.result,
        reason: past.error.as_ref().map(|(reason, _)| *reason),
        error: past.error.as_ref().map(|(_, error)| error.clone()),
        generation: past.generation,
        old: past.old.clone(),
        new: past.new.clone(),
        seen: past.confirmation.as_ref().map(Confirmation::word),
        warnings: past.warnings.clone(),
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

pub(super) fn rfc3339(at: SystemTime) -> String {
    // Certificates may carry dates before 1970, which this formatter refuses.
    let at = at.max(SystemTime::UNIX_EPOCH + Duration::ZERO);
    humantime::format_rfc3339_millis(at).to_string()
}
