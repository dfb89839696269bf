//! The certificate room as the admin plane and the metrics see it.

mod views;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portcullis_admin::{
    AttemptView, Caller, Certificates, CertificatesView, ClientAuthView, Waiting,
};
use portcullis_certs::{Account, Confirmation, Store, Trigger};
use time::OffsetDateTime;
use tokio::time::timeout;

use self::views::{attempt_view, history, part_view, rfc3339};
use super::House;
use crate::metrics::PartFacts;

impl Certificates for House {
    fn view(&self) -> CertificatesView {
        let store = &self.certificates;
        let current = store.current();
        let accounts_of_data = accounts(store);
        let own = self.entry.certificates.as_ref();
        let accounts_of_admin = own.map(accounts_of_admin_plane).unwrap_or_default();
        let number_of_admin = own.map_or(0, |store| store.current().number);
        let of_data = accounts_of_data
            .iter()
            .map(|part| part_view(part, current.number));
        let of_admin = accounts_of_admin
            .iter()
            .map(|part| part_view(part, number_of_admin));
        let parts: Vec<_> = of_data.chain(of_admin).collect();
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
            history: history(accounts_of_data.iter().chain(&accounts_of_admin)),
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
        self.entry.look_at_tokens();
        Box::pin(async move {
            let mut attempts = reload(&self.certificates).await;
            if let Some(store) = &self.entry.certificates {
                let own = reload(store).await;
                attempts.extend(own.into_iter().map(|attempt| AttemptView {
                    source: format!("{ADMIN_PLANE}{}", attempt.source),
                    ..attempt
                }));
            }
            attempts
        })
    }
}

async fn reload(store: &Arc<Store>) -> Vec<AttemptView> {
    let number = || store.current().number;
    let reload = tokio::task::spawn_blocking({
        let store = Arc::clone(store);
        move || store.reload(Trigger::Admin, || {})
    });
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
}

/// Of what the admin plane is served with.
fn accounts_of_admin_plane(store: &Arc<Store>) -> Vec<Account> {
    let mut accounts = accounts(store);
    for account in &mut accounts {
        account.part = format!("{ADMIN_PLANE}{}", account.part).into();
    }
    accounts
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
pub(super) fn degraded(house: &House) -> Vec<String> {
    let mut degraded = troubles(&house.certificates);
    if let Some(store) = &house.entry.certificates {
        let own = troubles(store).into_iter();
        degraded.extend(own.map(|trouble| format!("{ADMIN_PLANE}{trouble}")));
    }
    degraded
}

fn troubles(store: &Store) -> Vec<String> {
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
pub(super) fn facts(store: &Store, own: Option<&Arc<Store>>) -> Vec<PartFacts> {
    let mut facts = facts_of(store, "");
    if let Some(own) = own {
        facts.extend(facts_of(own, ADMIN_PLANE));
    }
    facts
}

fn facts_of(store: &Store, prefix: &str) -> Vec<PartFacts> {
    let now = SystemTime::now();
    let part = |part: &Account| PartFacts {
        name: format!("{prefix}{}", part.part),
        not_after: not_after(part),
        differs_for: part
            .differs_since
            .map(|since| now.duration_since(since).unwrap_or_default()),
        is_not_shown: matches!(part.seen, Some(Confirmation::Differs(_))),
        is_mount_dead: part.dead_mount.is_some(),
        is_watched: part.is_watched,
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

/// Before the name of what the admin plane is served with.
pub(super) const ADMIN_PLANE: &str = "admin plane: ";
/// For a reload that somebody waits for.
const PATIENCE: Duration = Duration::from_secs(15);
