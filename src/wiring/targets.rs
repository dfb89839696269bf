//! The target as the admin plane sees it and changes it, with an audit record and a line in the log for each change.

use std::convert::Infallible;
use std::time::Duration;

use http::StatusCode;
use portcullis_admin::{
    Caller, CheckedView, IfMatch, Refusal, RollbackView, TargetChange, TargetView, TrialView,
    Waiting,
};

use super::House;
use crate::config::duration;
use crate::records::Audit;
use crate::upstream::{Change, Changed, Checked, Probe, Refused, Rollback, Standing};

impl portcullis_admin::Targets for House {
    fn current(&self) -> TargetView {
        self.target_view()
    }

    fn change<'a>(
        &'a self,
        change: TargetChange,
        expected: IfMatch,
        caller: &'a Caller,
    ) -> Waiting<'a, Result<TargetView, Refusal>> {
        Box::pin(async move {
            let asked = read(change);
            let changed = match &asked {
                Ok(asked) => {
                    let is_expected = |revision| expected.admits(&self.etag(revision));
                    self.targets.change(asked, is_expected).await
                }
                Err(refused) => Err(refused.clone()),
            };
            let (asked, Changed { from, checked }) = match (asked, changed) {
                (Ok(asked), Ok(changed)) => (asked, changed),
                (_, Err(refused)) | (Err(refused), _) => {
                    return Err(self.refuse(TARGET_CHANGE, refused, caller));
                }
            };
            let (from, to) = (from.to_string(), checked.url.to_string());
            self.tell_change(&asked, &from, &to, caller);
            let mut view = self.target_view();
            view.dry_run = asked.is_dry;
            view.checked = asked.probe.is_some().then(|| seen(&checked));
            Ok(view)
        })
    }

    fn confirm(&self, expected: &IfMatch, caller: &Caller) -> Result<TargetView, Refusal> {
        let is_expected = |revision| expected.admits(&self.etag(revision));
        let confirmed = self.targets.confirm(is_expected);
        confirmed.map_err(|refused| self.refuse(TARGET_CONFIRM, refused, caller))?;
        let view = self.target_view();
        tracing::info!(target_url = view.url, "target confirmed: it stays");
        let detail = format!("{} stays", view.url);
        self.audit(TARGET_CONFIRM, "done", "", &detail, Some(caller));
        Ok(view)
    }

    fn revert(&self, expected: &IfMatch, caller: &Caller) -> Result<TargetView, Refusal> {
        let from = self.targets.current();
        let is_expected = |revision| expected.admits(&self.etag(revision));
        let reverted = self.targets.revert(is_expected);
        let has_changed =
            reverted.map_err(|refused| self.refuse(TARGET_REVERT, refused, caller))?;
        let view = self.target_view();
        if has_changed {
            self.guard.look_now();
            tracing::info!(from = %from.url, to = view.url, "target reverted to the configured one");
        }
        let result = if has_changed { "done" } else { "unchanged" };
        let detail = format!("{} -> {}", from.url, view.url);
        self.audit(TARGET_REVERT, result, "", &detail, Some(caller));
        Ok(view)
    }
}

impl House {
    /// Undoes what nobody confirms, and reminds of a target that is not the configured one.
    pub(crate) async fn keep_target(&self) -> Infallible {
        let undone = |rollback: &Rollback| {
            let Rollback { from, to, why, .. } = rollback;
            self.guard.look_now();
            tracing::warn!(from, to, %why, "target change undone");
            let detail = format!("{from} -> {to}: {why}");
            self.audit(TARGET_ROLLBACK, "done", why.word(), &detail, None);
        };
        let reminding = async {
            loop {
                tokio::time::sleep(REMINDER).await;
                if self.targets.has_drifted() {
                    self.tell_drift();
                }
            }
        };
        tokio::select! {
            never = self.targets.watch_over_trials(undone) => never,
            never = reminding => never,
        }
    }

    fn tell_change(&self, asked: &Change, from: &str, to: &str, caller: &Caller) {
        let detail = match (asked.is_dry, asked.confirm_within) {
            (true, _) => format!("{to} could take the place of {from}"),
            (false, None) => format!("{from} -> {to}"),
            (false, Some(within)) => {
                let within = humantime::format_duration(within);
                format!("{from} -> {to}, undone unless confirmed within {within}")
            }
        };
        let result = if asked.is_dry { "dry_run" } else { "done" };
        self.audit(TARGET_CHANGE, result, "", &detail, Some(caller));
        if !asked.is_dry {
            self.guard.look_now();
            tracing::info!(from, to, confirm_within = ?asked.confirm_within, "target changed");
            if self.targets.has_drifted() {
                self.tell_drift();
            }
        }
    }

    fn tell_drift(&self) {
        let (current, configured) = (self.targets.current(), self.targets.configured());
        tracing::warn!(
            target_url = %current.url,
            %configured,
            "the target in force is not the configured one, to which a restart returns"
        );
    }

    fn refuse(&self, action: &'static str, refused: Refused, caller: &Caller) -> Refusal {
        let Refused(reason, detail) = refused;
        self.audit(action, "refused", reason, &detail, Some(caller));
        Refusal { reason, detail }
    }

    pub(super) fn audit(
        &self,
        action: &'static str,
        result: &'static str,
        reason: &'static str,
        detail: &str,
        caller: Option<&Caller>,
    ) {
        let actor = caller.map(ToString::to_string);
        let audit = Audit {
            action,
            result,
            reason,
            detail,
            actor: actor.as_deref(),
        };
        crate::records::audit(&self.config.service_name, &audit);
    }

    fn target_view(&self) -> TargetView {
        let standing = self.targets.standing();
        let configured = self.targets.configured();
        TargetView {
            url: standing.current.url.to_string(),
            configured: configured.to_string(),
            locked: self.targets.is_locked(),
            drift: standing.current.url != *configured,
            after_restart: configured.to_string(),
            answers_at: standing
                .current
                .answers_at()
                .map(|address| address.to_string()),
            trial: trial(&standing),
            last_rollback: standing.last_rollback.as_ref().map(rolled_back),
            checked: None,
            dry_run: false,
            etag: self.etag(standing.revision),
        }
    }

    /// The revisions of two processes are not the same states.
    fn etag(&self, revision: u64) -> String {
        format!("\"{}-{revision}\"", self.nonce)
    }
}

fn read(change: TargetChange) -> Result<Change, Refused> {
    let malformed = |what: &str| Refused("malformed", what.to_owned());
    let probe = match (change.probe, change.probe_path, change.probe_status) {
        (true, None, None) => Some(Probe::Connect),
        (true, Some(path), status) => {
            let status = StatusCode::from_u16(status.unwrap_or(200))
                .map_err(|_| malformed("probe_status is no status code"))?;
            Some(Probe::Get(path, status))
        }
        (true, None, Some(_)) => {
            return Err(malformed(
                "probe_status without probe_path: nothing is asked that could have a status",
            ));
        }
        (false, None, None) => None,
        (false, ..) => {
            return Err(malformed(
                "probe_path and probe_status want a probe, and probe is false",
            ));
        }
    };
    let confirm_within = change.confirm_within.as_deref().map(|text| {
        let within =
            duration(text).map_err(|why| Refused("malformed", format!("confirm_within: {why}")))?;
        if within.is_zero() || within > LONGEST_TRIAL {
            return Err(malformed(
                "confirm_within is more than nothing, and 24h at most",
            ));
        }
        Ok(within)
    });
    Ok(Change {
        url: change.url,
        probe,
        confirm_within: confirm_within.transpose()?,
        is_dry: change.dry_run,
    })
}

fn seen(checked: &Checked) -> CheckedView {
    CheckedView {
        url: checked.url.to_string(),
        address: checked.address.map(|address| address.to_string()),
        status: checked.status.map(|status| status.as_u16()),
    }
}

fn trial(standing: &Standing) -> Option<TrialView> {
    let trial = standing.trial.as_ref()?;
    let (exchanges, failed) = trial.target.tally();
    Some(TrialView {
        until: humantime::format_rfc3339_millis(trial.ends).to_string(),
        seconds_left: trial.left().as_secs(),
        returns_to: standing.settled.to_string(),
        exchanges,
        failed,
    })
}

fn rolled_back(rollback: &Rollback) -> RollbackView {
    RollbackView {
        time: humantime::format_rfc3339_millis(rollback.at).to_string(),
        from: rollback.from.clone(),
        to: rollback.to.clone(),
        reason: rollback.why.word(),
        detail: rollback.why.to_string(),
    }
}

const TARGET_CHANGE: &str = "target_change";
const TARGET_CONFIRM: &str = "target_confirm";
const TARGET_REVERT: &str = "target_revert";
const TARGET_ROLLBACK: &str = "target_rollback";
const LONGEST_TRIAL: Duration = Duration::from_secs(24 * 3600);
/// Between two reminders that the target is not the configured one.
const REMINDER: Duration = Duration::from_secs(3600);
