//! One review: what the API server asks before it stores an object, and the answer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::kubernetes::change::{Change, Mistake, Note, Path};
use crate::kubernetes::mutate::{Mutation, controller};

/// AdmissionReview, as far as it matters.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    request: Option<Request>,
}

/// What is asked.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request {
    #[serde(default)]
    pub(super) uid: String,
    #[serde(default)]
    operation: String,
    sub_resource: Option<String>,
    pub(super) namespace: Option<String>,
    object: Option<Value>,
}

/// What is answered.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It is stored as it is, with what there is to know about that.
    Left(Vec<Note>),
    /// It is stored with these changes.
    Changed(Vec<Change>, Vec<Note>),
    /// It is not stored.
    Refused(String),
}

/// Reads a review.
///
/// # Errors
/// What is wrong with it, in a sentence for whoever set the webhook up.
pub(super) fn read(body: &[u8]) -> Result<Request, String> {
    // A value takes many times the memory of the two bytes that it may be in a list.
    let values = body
        .iter()
        .filter(|byte| matches!(byte, b',' | b'[' | b'{'));
    if values.count() > MAX_VALUES {
        return Err(format!(
            "this has more than {MAX_VALUES} values, as no object of Kubernetes has"
        ));
    }
    let review: Review = serde_json::from_slice(body)
        .map_err(|error| format!("this is not an AdmissionReview: {error}"))?;
    match (&*review.api_version, &*review.kind) {
        (VERSION, KIND) => {}
        (other, KIND) if other.starts_with("admission.k8s.io/") => {
            return Err(format!(
                "AdmissionReview of {other:.40?} is not spoken here; the webhook's admissionReviewVersions have to be [v1]"
            ));
        }
        _ => return Err("this is not an AdmissionReview of admission.k8s.io/v1".to_owned()),
    }
    match review.request {
        Some(request) if !request.uid.is_empty() => Ok(request),
        Some(_) => Err("the AdmissionReview has no request.uid".to_owned()),
        None => Err("the AdmissionReview has no request".to_owned()),
    }
}

impl Request {
    /// Decides by what `mutate` makes of the object.
    pub(super) fn decide(
        &self,
        mutate: impl FnOnce(&Value) -> Result<Mutation, Vec<Mistake>>,
    ) -> Verdict {
        let Some(object) = self.object.as_ref().filter(|object| self.concerns(object)) else {
            return Verdict::Left(Vec::new());
        };
        match mutate(object) {
            Ok(mutation) if mutation.changes.is_empty() => Verdict::Left(mutation.notes),
            Ok(mutation) => Verdict::Changed(mutation.changes, mutation.notes),
            Err(mistakes) => Verdict::Refused(complaint(object, &mistakes)),
        }
    }

    /// Whether anything could be injected: the containers of a pod that is there cannot be changed any more, and what is
    /// about to go has to be let go.
    fn concerns(&self, object: &Value) -> bool {
        let is_whole = self.sub_resource.as_deref().is_none_or(str::is_empty);
        let can_change = match &*self.operation {
            "CREATE" => true,
            "UPDATE" => object["kind"] != "Pod",
            _ => false,
        };
        is_whole && can_change && object["metadata"]["deletionTimestamp"].is_null()
    }

    /// The AdmissionReview that answers this one.
    pub(super) fn answer(&self, verdict: &Verdict) -> Value {
        let mut response = json!({ "uid": self.uid, "allowed": true });
        match verdict {
            Verdict::Left(notes) => self.warn(&mut response, notes),
            Verdict::Changed(changes, notes) => {
                let patch: Vec<Value> = changes.iter().map(Change::operation).collect();
                response["patchType"] = "JSONPatch".into();
                response["patch"] = STANDARD.encode(Value::from(patch).to_string()).into();
                self.warn(&mut response, notes);
            }
            Verdict::Refused(message) => {
                response["allowed"] = false.into();
                response["status"] =
                    json!({ "code": 422, "reason": "Invalid", "message": message });
            }
        }
        json!({ "apiVersion": VERSION, "kind": KIND, "response": response })
    }

    fn warn(&self, response: &mut Value, notes: &[Note]) {
        let warnings = self.warnings(notes);
        if !warnings.is_empty() {
            response["warnings"] = warnings.into();
        }
    }

    /// For whoever wrote the object; a controller that makes pods reads none.
    fn warnings(&self, notes: &[Note]) -> Vec<String> {
        if self.object.as_ref().and_then(controller).is_some() {
            return Vec::new();
        }
        let said = |note: &Note| cut(&told(&note.at, &note.text), WARNING);
        let mut warnings: Vec<String> = notes.iter().take(WARNINGS).map(said).collect();
        if notes.len() > WARNINGS {
            let more = notes.len() - WARNINGS;
            warnings.push(format!(
                "and {more} more; `portcullis inject` tells all of them"
            ));
        }
        warnings
    }
}

/// Why an object is refused, and the way out.
fn complaint(object: &Value, mistakes: &[Mistake]) -> String {
    let told = |(number, mistake): (usize, &Mistake)| {
        let text = told(&mistake.at, &mistake.text);
        match mistakes.len() {
            1 => text,
            _ => format!("({}) {text}", number + 1),
        }
    };
    let told: Vec<String> = mistakes.iter().enumerate().map(told).collect();
    let (kind, place) = match &object["kind"] {
        Value::String(kind) if kind == "Pod" || kind == "Service" => (&**kind, "on it"),
        Value::String(kind) => (&**kind, "on its pod template"),
        _ => ("object", "on it"),
    };
    format!(
        "Portcullis cannot protect this {}: {}. To have it without a sidecar, put the annotation portcullis.dev/inject: disabled {place}",
        cut(kind, 64),
        cut(&told.join("; "), COMPLAINT),
    )
}

/// With the place, where there is one.
fn told(at: &Path, text: &str) -> String {
    if at.0.is_empty() {
        text.to_owned()
    } else {
        format!("{at}: {text}")
    }
}

/// The text in one line of at most so many bytes.
fn cut(text: &str, limit: usize) -> String {
    let text: String = text
        .chars()
        .map(|one| if one.is_control() { ' ' } else { one })
        .collect();
    if text.len() <= limit {
        return text;
    }
    let end = text.floor_char_boundary(limit - MORE.len());
    format!("{}{MORE}", &text[..end])
}

const VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";

/// Longer ones may be cut by the API server, and all together at 4096 bytes.
const WARNING: usize = 256;
const WARNINGS: usize = 4;
/// Events and conditions carry it.
const COMPLAINT: usize = 4096;
const MORE: &str = "…";

/// Of all that is in a review; a pod of the largest size has a quarter of that.
const MAX_VALUES: usize = 200_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn review(request: &Value) -> Vec<u8> {
        json!({ "apiVersion": VERSION, "kind": KIND, "request": request })
            .to_string()
            .into_bytes()
    }

    fn request(more: Value) -> Request {
        let mut request = json!({
            "uid": "705ab4f5",
            "kind": { "group": "", "version": "v1", "kind": "Pod" },
            "operation": "CREATE",
            "namespace": "shop",
            "object": { "apiVersion": "v1", "kind": "Pod", "metadata": {} },
        });
        if let (Value::Object(request), Value::Object(more)) = (&mut request, more) {
            request.extend(more);
        }
        read(&review(&request)).unwrap()
    }

    fn place() -> Path {
        Path::default().to("spec").to("hostNetwork")
    }

    fn mutation(notes: usize) -> Mutation {
        let text = "n".repeat(300);
        let note = Note { at: place(), text };
        Mutation {
            changes: vec![Change::add(place(), false)],
            notes: vec![note; notes],
        }
    }

    fn answered(request: &Request, outcome: Result<Mutation, Vec<Mistake>>) -> Value {
        let answer = request.answer(&request.decide(|_| outcome));
        assert_eq!(
            (&answer["apiVersion"], &answer["kind"]),
            (&VERSION.into(), &KIND.into())
        );
        assert_eq!(answer["response"]["uid"], "705ab4f5");
        answer["response"].clone()
    }

    #[test]
    fn a_review_of_more_values_than_any_object_has_is_not_read() {
        let zeros = "0,".repeat(MAX_VALUES + 1);
        let body = format!(r#"{{"request": {{"object": [{zeros}0]}}}}"#);
        assert!(
            read(body.as_bytes())
                .unwrap_err()
                .contains("more than 200000 values")
        );
    }

    #[test]
    fn what_is_no_review_is_told_in_a_sentence() {
        for (body, part) in [
            ("", "EOF"),
            ("[]", "not an AdmissionReview"),
            ("{}", "not an AdmissionReview of admission.k8s.io/v1"),
            ("{\"apiVersion\":1}", "expected a string"),
            (
                r#"{"apiVersion":"v1","kind":"Pod"}"#,
                "not an AdmissionReview of",
            ),
            (
                r#"{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview","request":{"uid":"1"}}"#,
                "\"admission.k8s.io/v1beta1\" is not spoken here",
            ),
            (
                r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}"#,
                "no request",
            ),
            (
                r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{}}"#,
                "no request.uid",
            ),
        ] {
            let why = read(body.as_bytes()).unwrap_err();
            assert!(why.contains(part), "{body}: {why}");
        }
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(read(deep.as_bytes()).is_err());
    }

    #[test]
    fn what_cannot_be_changed_is_let_through_unseen() {
        for more in [
            json!({ "operation": "DELETE", "object": null }),
            json!({ "operation": "CONNECT" }),
            json!({ "operation": "UPDATE" }),
            json!({ "subResource": "ephemeralcontainers" }),
            json!({ "object": { "kind": "Pod", "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" } } }),
            json!({ "object": null }),
        ] {
            let request = request(more);
            let verdict = request.decide(|_| panic!("looked at"));
            let answer = request.answer(&verdict);
            assert_eq!(
                answer["response"],
                json!({ "uid": "705ab4f5", "allowed": true })
            );
        }
    }

    #[test]
    fn the_object_and_its_namespace_are_what_is_decided_about() {
        let is_seen = |request: &Request| {
            let verdict = request.decide(|object| {
                assert!(object["metadata"].is_object());
                Ok(mutation(0))
            });
            matches!(verdict, Verdict::Changed(..))
        };
        assert!(is_seen(&request(json!({}))));
        let object = json!({ "kind": "Service", "metadata": {} });
        assert!(is_seen(&request(
            json!({ "operation": "UPDATE", "subResource": "", "object": object })
        )));
    }

    #[test]
    fn changes_become_a_patch() {
        let response = answered(&request(json!({})), Ok(mutation(0)));
        assert_eq!(
            (&response["allowed"], &response["patchType"]),
            (&true.into(), &"JSONPatch".into())
        );
        let patch = STANDARD
            .decode(response["patch"].as_str().unwrap())
            .unwrap();
        let patch: Value = serde_json::from_slice(&patch).unwrap();
        assert_eq!(
            patch,
            json!([{ "op": "add", "path": "/spec/hostNetwork", "value": false }])
        );
        assert!(response["warnings"].is_null());
        let response = answered(&request(json!({})), Ok(Mutation::default()));
        assert_eq!(response, json!({ "uid": "705ab4f5", "allowed": true }));
    }

    #[test]
    fn warnings_are_few_and_short_and_none_go_to_a_controller() {
        let response = answered(&request(json!({})), Ok(mutation(9)));
        let warnings = response["warnings"].as_array().unwrap();
        assert_eq!(warnings.len(), 5);
        assert!(
            warnings
                .iter()
                .all(|warning| warning.as_str().unwrap().len() <= 256)
        );
        assert!(
            warnings[0]
                .as_str()
                .unwrap()
                .starts_with("spec.hostNetwork: nnn")
        );
        assert_eq!(
            warnings[4],
            "and 5 more; `portcullis inject` tells all of them"
        );
        let owner = json!([{ "kind": "ReplicaSet", "controller": true }]);
        let object = json!({ "kind": "Pod", "metadata": { "ownerReferences": owner } });
        let response = answered(&request(json!({ "object": object })), Ok(mutation(9)));
        assert!(response["patch"].is_string() && response["warnings"].is_null());
    }

    #[test]
    fn a_refusal_names_all_mistakes_and_the_way_out() {
        let mistake = |text: &str| Mistake {
            at: place(),
            text: text.to_owned(),
        };
        let mut wrong = vec![mistake("is the\nnode's"), mistake("is on")];
        wrong[1].at = Path::default();
        let response = answered(&request(json!({})), Err(wrong));
        assert_eq!(response["allowed"], false);
        let status = &response["status"];
        assert_eq!(
            (&status["code"], &status["reason"]),
            (&422.into(), &"Invalid".into())
        );
        assert_eq!(
            status["message"],
            "Portcullis cannot protect this Pod: (1) spec.hostNetwork: is the node's; (2) is on. \
             To have it without a sidecar, put the annotation portcullis.dev/inject: disabled on it"
        );
        let endless = vec![mistake(&"ä".repeat(9_000))];
        let response = answered(&request(json!({})), Err(endless));
        let message = response["status"]["message"].as_str().unwrap();
        assert!(
            message.len() < 5_000 && message.ends_with("disabled on it"),
            "{message}"
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body: Vec<u8>) {
            let _ = read(&body);
        }

        #[test]
        fn no_json_makes_it_panic(text in "[{}\\[\\]\",:0-9a-z]{0,200}", object in any::<(String, String)>()) {
            let _ = read(text.as_bytes());
            let (key, value) = object;
            let object = json!({ "kind": value, "metadata": { (key): value } });
            let request = request(json!({ "object": object, "operation": "UPDATE" }));
            let wrong = Mistake { at: place(), text: value };
            let _ = request.answer(&request.decide(|_| Err(vec![wrong])));
        }
    }
}
