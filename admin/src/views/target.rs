//! What there is to say of the target, and what may be asked of it.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

/// The target in force.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TargetView {
    /// The target in force.
    pub url: String,
    /// The one from the configuration.
    pub configured: String,
    /// Whether the two differ.
    pub drift: bool,
    /// Whether it stays what it is until a restart (`--target-locked`).
    pub locked: bool,
    /// What a restart makes of it: changes at run time are not kept.
    pub after_restart: String,
    /// Where a target on `localhost` has answered, which means either loopback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answers_at: Option<String>,
    /// The change that waits for a confirmation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial: Option<TrialView>,
    /// The last change that was undone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_rollback: Option<RollbackView>,
    /// What the probe of this change saw; only in the answer to a change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checked: Option<CheckedView>,
    /// The change was only tried; nothing was changed.
    #[serde(skip_serializing_if = "is_false")]
    pub dry_run: bool,
    /// Changes with all of this but `answers_at` and the numbers of the trial; for `If-Match`.
    #[serde(skip)]
    pub etag: String,
}

/// A change that waits for a confirmation.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TrialView {
    /// When it is undone (RFC 3339).
    pub until: String,
    /// The same from now, in seconds.
    pub seconds_left: u64,
    /// What is in force then.
    pub returns_to: String,
    /// Exchanges with the new target so far.
    pub exchanges: u64,
    /// Those that failed because of it. Half of at least five within ten seconds undo the change.
    pub failed: u64,
}

/// A change that was undone.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RollbackView {
    /// RFC 3339.
    pub time: String,
    /// What was in force before.
    pub from: String,
    /// What is in force since.
    pub to: String,
    /// `unconfirmed` or `failures`.
    pub reason: &'static str,
    /// The same in words.
    pub detail: String,
}

/// What a probe saw.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CheckedView {
    /// The target as it is understood.
    pub url: String,
    /// Who took the connection; absent for a Unix socket, and when nobody was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The status of its answer, where `probe_path` was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

/// A change of the target.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetChange {
    /// The new target, as in `--target`.
    #[schema(example = "http://127.0.0.1:8081")]
    pub url: String,
    /// Whether to connect to it before the change.
    #[serde(default = "yes")]
    #[schema(default = true)]
    pub probe: bool,
    /// A path to GET before the change. No redirect is followed.
    #[schema(example = "/healthz")]
    pub probe_path: Option<String>,
    /// The status that the answer must have; 200 when nothing is said.
    #[serde(default, deserialize_with = "status")]
    #[schema(minimum = 100, maximum = 599)]
    pub probe_status: Option<u16>,
    /// Undo the change when it is not confirmed within this time, or when its application fails.
    #[schema(example = "60s")]
    pub confirm_within: Option<String>,
    /// Everything but the change itself.
    #[serde(default)]
    #[schema(default = false)]
    pub dry_run: bool,
}

/// Why a change was refused.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// A short stable word.
    pub reason: &'static str,
    /// What was refused, why, and what to try.
    pub detail: String,
}

/// To JSON Schema 204.0 is as whole as 204.
fn status<'de, D: Deserializer<'de>>(number: D) -> Result<Option<u16>, D::Error> {
    let Some(number) = Option::<f64>::deserialize(number)? else {
        return Ok(None);
    };
    if number.fract() == 0.0 && (100.0..600.0).contains(&number) {
        return Ok(Some(number as u16));
    }
    Err(D::Error::custom("probe_status is a status from 100 to 599"))
}

fn yes() -> bool {
    true
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes what it asks about by reference"
)]
fn is_false(value: &bool) -> bool {
    !value
}
