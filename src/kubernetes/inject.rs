//! A whole manifest: what is done to each of its objects, and the text that comes out.

use std::collections::BTreeSet;

use serde_json::Value;

use super::around;
use super::change::{Mistake, Note, Path};
use super::found::{bare, done, is_service, misplaced, protected};
use super::manifest::{is_hook, owner, template};
use super::pod::{self, BYPASS, Hints, KILLED, Owner, Patch};
use super::service::{self, Bare, MovedService, Protected};
use super::settings::Given;
use super::stream::{self, Part, Remark};
use super::writing::{Wanted, write};

/// What came out.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The manifest.
    pub(crate) text: String,
    /// What was done, and what there is to know about it, in the order of the manifest.
    pub(crate) remarks: Vec<Remark>,
}

/// The manifest with a sidecar for each pod, and the Services that lead to it.
///
/// # Errors
/// All mistakes of all objects.
pub(crate) fn inject(text: &str, given: &Given) -> Result<Outcome, Vec<Remark>> {
    let parts = stream::read(text)?;
    let mut plan = Plan {
        parts: &parts,
        given,
        pods: Vec::new(),
        bare: Vec::new(),
        services: Vec::new(),
        moved: Vec::new(),
        needs_sleep: false,
        said: BTreeSet::new(),
        wanted: parts.iter().map(|_| Vec::new()).collect(),
        remarks: Vec::new(),
        mistakes: Vec::new(),
    };
    plan.look();
    plan.pods();
    let protected = plan.protected();
    plan.services(&protected);
    plan.surroundings(&protected);
    plan.write()
}

/// The manifest without what `inject` did to it.
///
/// # Errors
/// All that is wrong with it.
pub(crate) fn uninject(text: &str) -> Result<Outcome, Vec<Remark>> {
    let parts = stream::read(text)?;
    let mut remarks: Vec<_> = parts.iter().flat_map(Part::leftovers).collect();
    if parts.iter().all(|part| part.injected.is_empty()) {
        remarks.push(about_all("nothing here was injected"));
    }
    let text = parts.iter().map(|part| &*part.bare.text).collect();
    Ok(Outcome { text, remarks })
}

fn about_all(text: &str) -> Remark {
    Remark {
        line: 1,
        column: 1,
        text: text.to_owned(),
    }
}

/// A pod, or a template of pods.
struct Pod {
    part: usize,
    object: Path,
    template: Path,
    owner: Owner,
    protected: Option<Protected>,
}

struct Plan<'a> {
    parts: &'a [Part],
    given: &'a Given,
    pods: Vec<Pod>,
    bare: Vec<Bare>,
    services: Vec<(usize, Path, &'a Value)>,
    moved: Vec<MovedService>,
    needs_sleep: bool,
    said: BTreeSet<&'static str>,
    wanted: Vec<Vec<Wanted>>,
    remarks: Vec<Remark>,
    mistakes: Vec<Remark>,
}

impl<'a> Plan<'a> {
    fn objects(&self) -> impl Iterator<Item = (usize, Path, &'a Value)> + use<'a> {
        let parts = self.parts.iter().enumerate();
        parts.flat_map(|(number, part)| {
            let found = part.bare.objects().into_iter();
            found.filter_map(move |path| Some((number, path.clone(), path.of(&part.bare.value)?)))
        })
    }

    /// Which pods there are, and what they serve.
    fn look(&mut self) {
        for (part, object, value) in self.objects() {
            if is_service(value) {
                self.services.push((part, object.clone(), value));
            }
            let Some(inner) = template(value) else {
                continue;
            };
            let Some(pod) = inner.of(value) else { continue };
            if !inner.0.is_empty() {
                let wrong = misplaced(value, &inner);
                self.mistaken(&object, part, &object, &wrong);
            }
            if is_hook(value) {
                let note = Note {
                    at: Path::default(),
                    text: HOOK.to_owned(),
                };
                self.note(&object, part, &object, &[note]);
                continue;
            }
            let (owner, template) = (owner(value), object.join(&inner));
            let protected = match pod::app(pod, &owner, self.given) {
                Ok(Some(app)) => Some(protected(value, pod, app)),
                Ok(None) => {
                    if pod::has_lost_its_record(pod) {
                        let (at, text) = (Path::default(), LOST.to_owned());
                        self.mistaken(&object, part, &template, &[Mistake { at, text }]);
                    }
                    self.bare.push(bare(value, pod));
                    None
                }
                // They are told when it is patched.
                Err(_) => None,
            };
            self.pods.push(Pod {
                part,
                object,
                template,
                owner,
                protected,
            });
        }
    }

    fn pods(&mut self) {
        for pod in std::mem::take(&mut self.pods) {
            let part = &self.parts[pod.part];
            let template = pod.template.of(&part.bare.value).unwrap_or(&Value::Null);
            let hints = Hints {
                public_port: pod.protected.as_ref().and_then(|pod| self.public_port(pod)),
            };
            match pod::patch(template, &pod.owner, self.given, &hints) {
                Ok(Patch::Injected(injected)) => {
                    let done = done(&injected.app);
                    self.remarks.push(part.remark(
                        &pod.object,
                        &pod.object,
                        &Path::default(),
                        &done,
                    ));
                    self.note(&pod.object, pod.part, &pod.template, &injected.notes);
                    self.needs_sleep |= injected.needs_sleep;
                    let (at, changes) = (pod.template.clone(), injected.changes);
                    self.wanted[pod.part].push(Wanted { at, changes });
                }
                Ok(Patch::Left(note)) => self.note(&pod.object, pod.part, &pod.template, &[note]),
                Err(mistakes) => self.mistaken(&pod.object, pod.part, &pod.template, &mistakes),
            }
            self.pods.push(pod);
        }
    }

    fn public_port(&self, pod: &Protected) -> Option<u16> {
        let mut services = self.services.iter();
        services.find_map(|(_, _, value)| service::public_port(value, pod))
    }

    fn protected(&self) -> Vec<Protected> {
        self.pods
            .iter()
            .filter_map(|pod| pod.protected.clone())
            .collect()
    }

    fn services(&mut self, protected: &[Protected]) {
        for (part, object, value) in std::mem::take(&mut self.services) {
            match service::patch(value, protected, &self.bare) {
                Ok(moved) => {
                    self.note(&object, part, &object, &moved.notes);
                    self.moved.extend(moved.service);
                    let was_moved = self.parts[part].injected.contains(&object);
                    if !moved.changes.is_empty() {
                        let (at, changes) = (object, moved.changes);
                        self.wanted[part].push(Wanted { at, changes });
                    } else if was_moved {
                        let (at, text) = (Path::default(), BACK.to_owned());
                        self.note(&object, part, &object, &[Note { at, text }]);
                    }
                }
                Err(mistakes) => self.mistaken(&object, part, &object, &mistakes),
            }
        }
    }

    fn surroundings(&mut self, protected: &[Protected]) {
        for (part, object, value) in self.objects() {
            let notes = around::notes(value, protected, &self.moved);
            self.note(&object, part, &object, &notes);
        }
    }

    /// What is true of many pods is said of the first.
    fn note(&mut self, object: &Path, part: usize, from: &Path, notes: &[Note]) {
        let part = &self.parts[part];
        for note in notes {
            let common = SAID_ONCE
                .iter()
                .find(|begin| note.text.starts_with(**begin));
            if common.is_none_or(|common| self.said.insert(*common)) {
                let remark = part.remark(object, from, &note.at, &note.text);
                self.remarks.push(remark);
            }
        }
    }

    fn mistaken(&mut self, object: &Path, part: usize, from: &Path, mistakes: &[Mistake]) {
        let part = &self.parts[part];
        let remarks = mistakes
            .iter()
            .map(|one| part.remark(object, from, &one.at, &one.text));
        self.mistakes.extend(remarks);
    }

    fn write(mut self) -> Result<Outcome, Vec<Remark>> {
        let mut text = String::new();
        for (part, wanted) in self.parts.iter().zip(&self.wanted) {
            if wanted.is_empty() {
                text.push_str(&part.bare.text);
                continue;
            }
            match write(&part.bare, wanted) {
                Ok(new) => text.push_str(&new),
                Err(trouble) => self.mistakes.push(part.trouble(&trouble)),
            }
        }
        if !self.mistakes.is_empty() {
            self.mistakes.sort();
            return Err(self.mistakes);
        }
        if self.pods.is_empty() && self.wanted.iter().all(Vec::is_empty) {
            let nothing = "there is no pod here, and no template of pods";
            self.remarks.push(about_all(nothing));
        }
        if self.needs_sleep {
            self.remarks.push(about_all(SLEEP));
        }
        self.remarks
            .extend(self.parts.iter().flat_map(Part::leftovers));
        // Those of one place stay in the order they were made in.
        self.remarks
            .sort_by_key(|remark| (remark.line, remark.column));
        let remarks = self.remarks;
        Ok(Outcome { text, remarks })
    }
}

const HOOK: &str =
    "left alone: Helm makes it for a moment of a release (helm.sh/hook), and it serves nobody";

const SLEEP: &str = "preStop hooks that sleep need Kubernetes 1.30; before that, --pre-stop exec runs `sleep` in the app's image";
const BACK: &str = "leads to the app again: an earlier injection had led it to the sidecar, and no pod here has one by injection";
const LOST: &str = "it has an injected sidecar, and the annotation that says so is gone: put portcullis.dev/injected back, or take the sidecar and its volume out by hand";
/// Of each of these only the first.
const SAID_ONCE: [&str; 2] = [BYPASS, KILLED];
