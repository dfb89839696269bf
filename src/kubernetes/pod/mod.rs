//! What injection does to one pod: the sidecar, its volumes, the app's probes and the pod's end.

use serde_json::Value;

use super::change::{Change, Mistake, Note};
use super::settings::Given;

/// What the pod is of.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    /// `Pod` where it is its own.
    pub(crate) kind: String,
    /// None where it gets one later.
    pub(crate) name: Option<String>,
    /// Whether its pods have to end by themselves.
    pub(crate) is_job: bool,
}

/// What other objects of the input say.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hints {
    /// The port that clients know.
    pub(crate) public_port: Option<u16>,
}

/// What becomes of a pod.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Patch {
    Injected(Injected),
    /// As it is, and why.
    Left(Note),
}

/// A pod with a sidecar. All places are told from the pod or its template on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Injected {
    pub(crate) changes: Vec<Change>,
    pub(crate) notes: Vec<Note>,
    pub(crate) app: App,
    /// Whether a hook of the kubelet's own sleeps, which needs Kubernetes 1.30.
    pub(crate) needs_sleep: bool,
}

/// What the sidecar stands in front of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct App {
    pub(crate) container: String,
    /// Its plain port.
    pub(crate) port: u16,
    /// What its container calls that port.
    pub(crate) names: Vec<String>,
    /// The sidecar's port.
    pub(crate) https: u16,
    /// The other TCP ports of the pod's containers, which stay what they are.
    pub(crate) others: Vec<(u16, Option<String>)>,
}

/// What stands in front of the sidecar, and `None` for a pod that is left alone.
///
/// # Errors
/// All the mistakes that `patch` would tell.
pub(crate) fn app(
    template: &Value,
    owner: &Owner,
    given: &Given,
) -> Result<Option<App>, Vec<Mistake>> {
    let _ = (template, owner, given);
    Ok(None)
}

/// What injection does to a pod or a template of one.
///
/// # Errors
/// All that is wrong with it.
pub(crate) fn patch(
    template: &Value,
    owner: &Owner,
    given: &Given,
    hints: &Hints,
) -> Result<Patch, Vec<Mistake>> {
    let _ = (template, owner, given, hints);
    Err(Vec::new())
}

/// The labels of a pod or a template of one.
pub(crate) fn labels(template: &Value) -> impl Iterator<Item = (&str, &str)> {
    let labels = template
        .pointer("/metadata/labels")
        .and_then(Value::as_object);
    let labels = labels.into_iter().flatten();
    labels.filter_map(|(name, value)| Some((&**name, value.as_str()?)))
}
