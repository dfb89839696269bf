//! A change from its wish to its outcome. Nothing is written before everything has been looked at.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::refusals::{Refused, refuse, refuse_address};
use super::trial::Trial;
use super::{State, Targets};
use crate::upstream::ask::{AskError, ask};
use crate::upstream::connect::{DialError, probe};
use crate::upstream::target::{Endpoint, Target, TargetUrl};

/// What is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// The new target, as in `--target`.
    pub(crate) url: String,
    /// How it is tried before; none: not at all.
    pub(crate) probe: Option<Probe>,
    /// It is undone when nobody confirms it within that time.
    pub(crate) confirm_within: Option<Duration>,
    /// Everything but the change itself.
    pub(crate) is_dry: bool,
}

/// Trying a target.
#[derive(Clone, Debug)]
pub(crate) enum Probe {
    /// Somebody takes connections there.
    Connect,
    /// A GET of this path is answered with this status. Redirects are not followed.
    Get(String, StatusCode),
}

/// What the probe saw.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    /// The target as it is understood.
    pub(crate) url: TargetUrl,
    /// Who answered; none for a Unix socket, or when nobody was asked.
    pub(crate) address: Option<SocketAddr>,
    /// The status of the answer, where a GET was sent.
    pub(crate) status: Option<StatusCode>,
}

/// What came of a change.
#[derive(Clone, Debug)]
pub(crate) struct Changed {
    /// The target that was in force before.
    pub(crate) from: TargetUrl,
    pub(crate) checked: Checked,
}

impl Checked {
    /// Which loopback has answered is worth knowing.
    fn tell(&self, target: &Target) {
        if let (Endpoint::Localhost(_), Some(address)) = (self.url.endpoint(), self.address) {
            target.won(address);
        }
    }
}

impl Targets {
    /// Changes the target for every request that starts from now on; those in flight finish where they began. `is_expected` is
    /// asked about the revision that would be changed. What happens while it is probed (a revert, a rollback) wins.
    pub(crate) async fn change(
        &self,
        change: &Change,
        is_expected: impl Fn(u64) -> bool,
    ) -> Result<Changed, Refused> {
        if self.is_locked() {
            let why =
                "the sidecar runs with --target-locked: the target is what it is configured to be";
            return Err(Refused("target_locked", why.to_owned()));
        }
        let url = TargetUrl::parse(&change.url).map_err(|why| Refused("malformed", why))?;
        self.refuse(&url)?;
        let _waits = self.waiting.try_acquire().map_err(|_| {
            let why = "several changes wait already for one that is being probed; come back when it is decided";
            Refused("busy", why.to_owned())
        })?;
        let _turn = self.turn.lock().await;
        let revision = {
            let state = self.state();
            expected(&state, &is_expected)?;
            state.revision
        };
        let checked = self.try_it(url, change.probe.as_ref()).await?;
        let mut state = self.state();
        expected(&state, |now| now == revision)?;
        let from = self.current().url.clone();
        if change.is_dry {
            return Ok(Changed { from, checked });
        }
        let target = self.swap(checked.url.clone(), change.confirm_within.is_some());
        checked.tell(&target);
        match change.confirm_within {
            None => state.settle(checked.url.clone()),
            Some(within) => {
                state.trial = Some(Trial::new(target, within));
                state.revise();
            }
        }
        drop(state);
        self.changed.notify_waiters();
        Ok(Changed { from, checked })
    }

    /// The change that is on trial stays.
    pub(crate) fn confirm(&self, is_expected: impl Fn(u64) -> bool) -> Result<(), Refused> {
        let mut state = self.state();
        expected(&state, &is_expected)?;
        let Some(trial) = state.trial.take() else {
            let why = "no change waits for a confirmation; it may have been undone already";
            return Err(Refused("nothing_to_confirm", why.to_owned()));
        };
        self.current.store(Arc::new(trial.target.settled()));
        state.settle(trial.target.url.clone());
        drop(state);
        self.changed.notify_waiters();
        Ok(())
    }

    /// Back to the configured target, without a question: it must always be possible. False when it was in force for good already.
    pub(crate) fn revert(&self, is_expected: impl Fn(u64) -> bool) -> Result<bool, Refused> {
        let mut state = self.state();
        expected(&state, &is_expected)?;
        if !self.has_drifted() && state.trial.is_none() {
            return Ok(false);
        }
        self.swap(self.configured.clone(), false);
        state.settle(self.configured.clone());
        drop(state);
        self.changed.notify_waiters();
        Ok(true)
    }

    /// By everything that can be known without asking anybody.
    fn refuse(&self, url: &TargetUrl) -> Result<(), Refused> {
        if !self.allow_remote && !url.is_local() {
            let why = format!(
                "{url} is not on the loopback, and the sidecar runs without --allow-remote-target"
            );
            return Err(Refused("not_local", why));
        }
        refuse(url)?;
        self.refuse_loop(url)
    }

    async fn try_it(&self, url: TargetUrl, wanted: Option<&Probe>) -> Result<Checked, Refused> {
        self.refuse_resolved(&url).await?;
        let target = Target::new(0, url.clone());
        let (address, status) = match wanted {
            None => (None, None),
            Some(Probe::Connect) => {
                let dialed = probe(&target, &self.own, self.connect_timeout).await;
                let address = dialed.map_err(|error| not_taken(&url, &error))?;
                (address, None)
            }
            Some(Probe::Get(path, status)) => {
                let answered = ask(&target, &self.own, path, ANSWER).await;
                let answered = answered.map_err(|error| not_answered(&url, path, &error))?;
                if answered.status != *status {
                    let why = format!(
                        "{url} answers GET {path} with {} and not with {}",
                        answered.status.as_u16(),
                        status.as_u16()
                    );
                    return Err(Refused("probe_status", why));
                }
                (answered.address, Some(answered.status))
            }
        };
        Ok(Checked {
            url,
            address,
            status,
        })
    }

    /// A name may stand for what would be refused as an address. What it stands for later is judged when it is dialled.
    async fn refuse_resolved(&self, url: &TargetUrl) -> Result<(), Refused> {
        let Endpoint::Name(name, port) = url.endpoint() else {
            return Ok(());
        };
        let unknown = |why: String| Refused("unresolved", format!("{url}: {name} {why}"));
        let found = timeout(self.connect_timeout, lookup_host((name.as_str(), *port))).await;
        let found = found
            .map_err(|_| unknown("was not resolved in time".to_owned()))?
            .map_err(|error| unknown(format!("is not resolved: {error}")))?;
        for address in found {
            if self.own.contains(address) {
                let why = format!("{url} leads to {address}, which is Portcullis itself");
                return Err(Refused("loop", why));
            }
            refuse_address(address.ip()).map_err(|(reason, why)| {
                Refused(
                    reason,
                    format!("{url} leads to {}, which {why}", address.ip()),
                )
            })?;
        }
        Ok(())
    }
}

fn expected(state: &State, is_expected: impl Fn(u64) -> bool) -> Result<(), Refused> {
    if is_expected(state.revision) {
        return Ok(());
    }
    let why = "the target was changed meanwhile; look at it again (it has another ETag)";
    Err(Refused("changed_meanwhile", why.to_owned()))
}

fn not_taken(url: &TargetUrl, error: &DialError) -> Refused {
    let reason = match error {
        DialError::Loop => "loop",
        DialError::Forbidden(_, reason, _) => reason,
        _ => "probe_failed",
    };
    Refused(reason, format!("{url} does not take connections: {error}"))
}

fn not_answered(url: &TargetUrl, path: &str, error: &AskError) -> Refused {
    match error {
        AskError::Dial(error) => not_taken(url, error),
        AskError::Path(_) => Refused("malformed", format!("probe_path {path:?}: {error}")),
        AskError::TimedOut(_) | AskError::Broken(_) => Refused(
            "probe_failed",
            format!("{url} does not answer GET {path}: {error}"),
        ),
    }
}

/// For the answer to a probe.
const ANSWER: Duration = Duration::from_secs(5);
