//! A look at a pod before anything is done to it: whether a sidecar fits in, and in front of what.

use serde_json::Value;

use super::shape::{self, Pod};
use super::{App, Owner, app, rules, sidecar, volumes};
use crate::kubernetes::change::{Mistake, Note, Path};
use crate::kubernetes::settings::{
    Given, INJECT, INJECTED, Settings, annotation, is_disabled, read, said,
};

/// The app that is found, and where.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) item: usize,
    pub(super) app: App,
    /// Why it is this one, where it could have been another.
    pub(super) note: Option<Note>,
}

/// What a look at a pod has found.
#[derive(Debug)]
pub(super) enum Survey<'a> {
    Left(Note),
    Fit(Box<Fit<'a>>),
}

/// A pod that a sidecar fits into.
#[derive(Debug)]
pub(super) struct Fit<'a> {
    pub(super) pod: Pod<'a>,
    pub(super) settings: Settings,
    pub(super) found: Found,
}

/// Looks at a pod.
///
/// # Errors
/// All that is wrong with it.
pub(super) fn survey<'a>(
    template: &'a Value,
    owner: &Owner,
    given: &Given,
) -> Result<Survey<'a>, Vec<Mistake>> {
    if let Some(why) = left(template) {
        return Ok(Survey::Left(why));
    }
    let (settings, mut mistakes) = read(template, given);
    let pod = match Pod::read(template) {
        Ok(pod) => pod,
        Err(more) => {
            mistakes.extend(more);
            return Err(mistakes);
        }
    };
    let has_port = pod.all().any(|one| one.tcp_ports().next().is_some());
    if owner.is_job && !has_port && settings.target_port.is_none() && mistakes.is_empty() {
        let at = Path::default().to("spec");
        let text = NOBODY.to_owned();
        return Ok(Survey::Left(Note { at, text }));
    }
    mistakes.extend(rules::broken(&pod, owner, &settings));
    let is_of = |name: &str| {
        mistakes
            .iter()
            .any(|mistake| mistake.at == annotation(name))
    };
    // What was said wrongly about it would only be told twice.
    if is_of("container") || is_of("target-port") {
        return Err(mistakes);
    }
    let found = app::find(template, &pod, &settings).map_err(|mistake| mistakes.push(mistake));
    let Ok(found) = found else {
        return Err(mistakes);
    };
    mistakes.extend(rules::target(&pod, found.app.port, &settings));
    if mistakes.is_empty() {
        Ok(Survey::Fit(Box::new(Fit {
            pod,
            settings,
            found,
        })))
    } else {
        Err(mistakes)
    }
}

/// Whether a pod has what injection puts there, and not the annotation that says so.
pub(crate) fn has_lost_its_record(template: &Value) -> bool {
    !is_disabled(template)
        && said(template, INJECTED).is_none()
        && volumes::is_there(template)
        && shape::named(template, sidecar::NAME).is_some()
}

/// Why a pod is left alone, if it is.
fn left(template: &Value) -> Option<Note> {
    let note = |at, text: &str| {
        let text = text.to_owned();
        Some(Note { at, text })
    };
    if is_disabled(template) {
        return note(annotation(INJECT), "left alone, as it says");
    }
    // A record without what it tells of protects nobody.
    if said(template, INJECTED).is_some() && volumes::is_there(template) {
        shape::named(template, sidecar::NAME)?;
        return note(
            annotation(INJECTED),
            "left as it is: the sidecar is there already",
        );
    }
    let by_hand = shape::named(template, sidecar::NAME)?;
    note(
        by_hand,
        "left as it is: it has a container named portcullis, which was not put there by injection",
    )
}

const NOBODY: &str =
    "left as it is: a Job whose containers have no port serves nobody; where it does, say its port";
