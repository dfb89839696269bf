//! Which ports of a Service are to be moved, and to where.

use serde_json::Value;

use super::super::change::Mistake;
use super::annotations::{self, Settings};
use super::ports::{self, Port, Target};
use super::{Bare, Moved, Protected, has_selector, namespace_of, reaches, remarks, selects};
use crate::kubernetes::settings::{self, annotation};

/// The ports to move, and to where.
pub(super) type Plan<'a> = Vec<(Port<'a>, u16)>;

/// As an annotation of the Service says.
pub(super) fn told<'a>(
    service: &'a Value,
    settings: &Settings,
    target: &Target,
    protected: &[Protected],
) -> Result<Plan<'a>, Vec<Mistake>> {
    let at = annotation(annotations::TARGET_PORT);
    let mistake = |at, text| Err(vec![Mistake { at, text }]);
    if !has_selector(service) {
        let text = "the Service selects no pods, so where its ports lead to is not up to it";
        return mistake(at, text.to_owned());
    }
    let https = sidecar(service, settings, target, protected).map_err(|mistake| vec![mistake])?;
    let is_led = |port: &Port| port.target == *target;
    let plan: Vec<_> = ports::of(service).filter(is_led).collect();
    // A Service that was moved before and has lost the record of it is fine as it is.
    let is_there = |port: Port| port.target == Target::Number(https);
    if plan.is_empty() && !ports::of(service).any(is_there) {
        let ports: Vec<_> = ports::of(service).map(|p| p.target.to_string()).collect();
        let ports = ports.join(", ");
        return mistake(
            at,
            format!("no port of the Service leads to {target}, but to: {ports}"),
        );
    }
    Ok(plan.into_iter().map(|port| (port, https)).collect())
}

/// The port of the sidecar: the annotation's, or that of the pods where they are known, and the same where both are.
fn sidecar(
    service: &Value,
    settings: &Settings,
    target: &Target,
    protected: &[Protected],
) -> Result<u16, Mistake> {
    let is_meant = |pods: &&Protected| reaches(service, pods) && pods.serves(target);
    let pods = protected.iter().find(is_meant);
    match (settings.https, pods) {
        (Some(https), Some(pods)) if https != pods.https => Err(Mistake {
            at: annotation(annotations::HTTPS_PORT),
            text: format!(
                "the sidecar of {} is on port {}: say the same here and there",
                pods.who, pods.https
            ),
        }),
        (Some(https), _) => Ok(https),
        (None, pods) => Ok(pods.map_or_else(usual, |pods| pods.https)),
    }
}

/// As the pods say.
pub(super) fn found<'a>(
    service: &'a Value,
    protected: &[Protected],
    bare: &[Bare],
    moved: &mut Moved,
) -> Result<Plan<'a>, Vec<Mistake>> {
    remarks::elsewhere(service, protected, moved);
    let all = protected.iter().filter(|pods| reaches(service, pods));
    let all: Vec<&Protected> = all.collect();
    let (mut plan, mut mistakes) = (Vec::new(), Vec::new());
    for port in ports::of(service) {
        let (serving, rest): (Vec<&Protected>, Vec<&Protected>) =
            all.iter().partition(|pods| pods.serves(&port.target));
        match (serving.first(), rest.first()) {
            (None, _) => remarks::plain(&port, &all, moved),
            (Some(one), Some(other)) => remarks::mixed(&port, one, other, moved),
            (Some(one), None) => match serving.iter().find(|pods| pods.https != one.https) {
                Some(other) => mistakes.push(at_odds(&port, one, other)),
                None => plan.push((port, one.https)),
            },
        }
    }
    let bare = bare
        .iter()
        .find(|pods| selects(service, &pods.labels) && namespace_of(service) == pods.namespace);
    if let (Some((first, _)), Some(other)) = (plan.first(), bare) {
        remarks::bare(first, &all, other, moved);
        plan.clear();
    }
    if mistakes.is_empty() {
        Ok(plan)
    } else {
        Err(mistakes)
    }
}

fn at_odds(port: &Port<'_>, one: &Protected, other: &Protected) -> Mistake {
    let text = format!(
        "it leads to {}, with the sidecar on port {}, and to {}, with port {}: give both the same portcullis.dev/{}",
        one.who,
        one.https,
        other.who,
        other.https,
        annotations::HTTPS_PORT
    );
    Mistake {
        at: port.at(),
        text,
    }
}

/// The sidecar's port where nobody says another.
fn usual() -> u16 {
    settings::Settings::default().https_port
}
