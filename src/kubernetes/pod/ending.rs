//! The end of a pod: the app is kept for as long as a drain may last, and the pod gets that much more time.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::place;
use super::shape::{Container, Pod};
use crate::check::ending::needed;
use crate::kubernetes::change::{Change, Note, Path};
use crate::kubernetes::settings::{PreStop, Settings};

/// What becomes of it.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) changes: Vec<Change>,
    pub(super) notes: Vec<Note>,
    /// How long the pod has, in seconds.
    pub(super) grace: i64,
    /// Whether a hook of the kubelet's own was put there.
    pub(super) needs_sleep: bool,
}

/// Keeps the app while the sidecar drains.
pub(super) fn of(pod: &Pod<'_>, app: &Container<'_>, settings: &Settings) -> Ending {
    let stay = seconds(needed(settings.drain_delay, settings.drain_timeout, false));
    let mut ending = Ending {
        changes: Vec::new(),
        notes: Vec::new(),
        grace: 0,
        needs_sleep: false,
    };
    let added = ending.hook(app, settings, stay);
    ending.grace(pod, added, stay);
    if added > 0 {
        ending.of_the_dead(app, stay);
    }
    ending
}

impl Ending {
    /// Says how much longer the hook takes than before.
    fn hook(&mut self, app: &Container<'_>, settings: &Settings, stay: i64) -> i64 {
        let at = app.at.to("lifecycle").to("preStop");
        let hook = app
            .value
            .get("lifecycle")
            .and_then(|all| all.get("preStop"));
        let hook = hook
            .and_then(Value::as_object)
            .filter(|hook| !hook.is_empty());
        match (hook, settings.pre_stop) {
            (None, PreStop::None) => {
                self.tell(at, stays_alone(stay, &delay(settings)));
                0
            }
            (None, how) => self.put(app, how, stay),
            (Some(hook), how) => match Sleep::of(hook) {
                Some(sleep) if sleep.seconds >= stay => 0,
                Some(sleep) if how != PreStop::None => {
                    self.changes.push(sleep.raised(&at, stay));
                    stay - sleep.seconds
                }
                _ => {
                    self.tell(at, has_a_hook(stay, &delay(settings)));
                    0
                }
            },
        }
    }

    fn put(&mut self, app: &Container<'_>, how: PreStop, stay: i64) -> i64 {
        self.needs_sleep = how == PreStop::Sleep;
        let hook = if self.needs_sleep {
            json!({ "sleep": { "seconds": stay } })
        } else {
            json!({ "exec": { "command": ["sleep", stay.to_string()] } })
        };
        let change = place::key_in(app.value, &app.at, "lifecycle", "preStop", hook);
        self.changes.push(change);
        stay
    }

    /// The app has as long for its own end as before.
    fn grace(&mut self, pod: &Pod<'_>, added: i64, stay: i64) {
        let before = pod.grace.unwrap_or(USUAL);
        self.grace = before.saturating_add(added).max(stay + MARGIN);
        if self.grace != before {
            let at = Path::default().to("spec");
            let change = place::key(pod.spec, &at, "terminationGracePeriodSeconds", self.grace);
            self.changes.push(change);
        }
    }

    fn of_the_dead(&mut self, app: &Container<'_>, stay: i64) {
        for kind in ["startupProbe", "livenessProbe"] {
            let probe = app.value.get(kind).filter(|probe| probe.is_object());
            let limit = probe.and_then(|probe| probe.get("terminationGracePeriodSeconds"));
            if probe.is_some() && limit.is_none_or(Value::is_null) {
                let text = format!(
                    "{KILLED} is kept for its preStop hook first, for {stay} s: terminationGracePeriodSeconds in the probe, 5 for example, makes that shorter"
                );
                self.tell(app.at.to(kind), text);
            }
        }
    }

    fn tell(&mut self, at: Path, text: String) {
        self.notes.push(Note { at, text });
    }
}

fn stays_alone(stay: i64, delay: &str) -> String {
    format!(
        "the app has no preStop hook, and is told to end at once: the sidecar still takes requests for {delay} then, and finishes them for up to {stay} s; an app that is gone by then costs them"
    )
}

fn has_a_hook(stay: i64, delay: &str) -> String {
    format!(
        "left as it is: the hook has to take {delay} at least, in which the sidecar still takes requests, better {stay} s, in which it finishes them; an app that is gone by then costs them"
    )
}

fn delay(settings: &Settings) -> String {
    humantime::format_duration(settings.drain_delay).to_string()
}

/// Rounded up: what is too short cuts requests.
fn seconds(duration: Duration) -> i64 {
    let whole = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    i64::try_from(whole).unwrap_or(i64::MAX - MARGIN)
}

/// A hook that does nothing but sleep.
struct Sleep {
    seconds: i64,
    /// Where in the hook that is said, and what stands there in front of the number.
    at: Path,
    before: Option<&'static str>,
}

impl Sleep {
    fn of(hook: &Map<String, Value>) -> Option<Self> {
        let mut handlers = hook.iter().filter(|(_, value)| !value.is_null());
        let (name, handler) = handlers.next()?;
        if handlers.next().is_some() {
            return None;
        }
        match &**name {
            "sleep" => Some(Self {
                seconds: handler.get("seconds")?.as_i64().filter(|it| *it >= 0)?,
                at: Path::default().to("sleep").to("seconds"),
                before: None,
            }),
            "exec" => Self::by_program(handler.get("command")?.as_array()?),
            _ => None,
        }
    }

    fn by_program(command: &[Value]) -> Option<Self> {
        let words: Option<Vec<_>> = command.iter().map(Value::as_str).collect();
        let (text, item, before) = match words?[..] {
            [program, text] if program_name(program) == "sleep" => (text, 1, ""),
            [shell, "-c", script] if SHELLS.contains(&program_name(shell)) => {
                (script.trim().strip_prefix("sleep ")?.trim(), 2, "sleep ")
            }
            _ => return None,
        };
        let at = Path::default().to("exec").to("command").to(item);
        let (seconds, before) = (lasting(text)?, Some(before));
        Some(Self {
            seconds,
            at,
            before,
        })
    }

    fn raised(&self, hook: &Path, stay: i64) -> Change {
        let value = match self.before {
            None => Value::from(stay),
            Some(before) => Value::from(format!("{before}{stay}")),
        };
        Change::replace(hook.join(&self.at), value)
    }
}

fn program_name(path: &str) -> &str {
    let folders = ["/usr/bin/", "/bin/"];
    let name = folders.iter().find_map(|folder| path.strip_prefix(folder));
    name.unwrap_or(path)
}

/// Whole seconds of what the program `sleep` understands.
fn lasting(text: &str) -> Option<i64> {
    let units = [('s', 1), ('m', 60), ('h', 3600)];
    let found = units
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(*unit)?, *factor)));
    let (number, factor) = found.unwrap_or((text, 1));
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let number = is_number.then(|| number.parse::<i64>().ok())?;
    number?.checked_mul(factor)
}

const SHELLS: [&str; 4] = ["sh", "bash", "ash", "dash"];

/// Kubernetes' own, where nobody says otherwise.
const USUAL: i64 = 30;

/// For the sidecar's last words, and for what the kubelet takes between a hook and a signal.
const MARGIN: i64 = 4;

/// How that note begins.
pub(crate) const KILLED: &str = "an app that is killed for its liveness or startup probe";

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(spec: &Value, settings: &Settings) -> (Vec<Value>, Vec<String>, i64) {
        let template = json!({ "spec": spec });
        let pod = Pod::read(&template).unwrap();
        let ending = of(&pod, &pod.containers[0], settings);
        let told = |note: &Note| format!("{}: {}", note.at, note.text);
        (
            ending.changes.iter().map(Change::operation).collect(),
            ending.notes.iter().map(told).collect(),
            ending.grace,
        )
    }

    fn with_hook(hook: &Value, grace: &Value) -> Value {
        json!({
            "containers": [{ "name": "app", "lifecycle": { "preStop": hook } }],
            "terminationGracePeriodSeconds": grace,
        })
    }

    fn settings(pre_stop: PreStop) -> Settings {
        Settings {
            pre_stop,
            ..Settings::default()
        }
    }

    fn grace(op: &str, seconds: i64) -> Value {
        json!({ "op": op, "path": "/spec/terminationGracePeriodSeconds", "value": seconds })
    }

    #[test]
    fn an_app_without_a_hook_is_kept_by_the_kubelet() {
        let spec = json!({ "containers": [{ "name": "app" }] });
        let (changes, notes, _) = ends(&spec, &Settings::default());
        let hook = json!({
            "op": "add", "path": "/spec/containers/0/lifecycle",
            "value": { "preStop": { "sleep": { "seconds": 26 } } },
        });
        assert_eq!(changes, [hook, grace("add", 56)]);
        assert!(notes.is_empty());
    }

    #[test]
    fn an_app_without_a_hook_is_kept_by_a_program() {
        let spec = json!({
            "containers": [{ "name": "app", "lifecycle": { "postStart": {}, "preStop": null } }],
            "terminationGracePeriodSeconds": 60,
        });
        let (changes, ..) = ends(&spec, &settings(PreStop::Exec));
        let hook = json!({
            "op": "replace", "path": "/spec/containers/0/lifecycle/preStop",
            "value": { "exec": { "command": ["sleep", "26"] } },
        });
        assert_eq!(changes, [hook, grace("replace", 86)]);
    }

    #[test]
    fn a_sleep_that_is_too_short_is_raised_and_so_is_the_grace_period() {
        let seconds = |place: &str, value: Value| {
            let path = format!("/spec/containers/0/lifecycle/preStop/{place}");
            json!({ "op": "replace", "path": path, "value": value })
        };
        let exec = |command: Value| json!({ "exec": { "command": command } });
        for (hook, changed, after) in [
            (
                json!({ "sleep": { "seconds": 10 } }),
                seconds("sleep/seconds", json!(26)),
                56,
            ),
            (
                exec(json!(["sleep", "5"])),
                seconds("exec/command/1", json!("26")),
                61,
            ),
            (
                exec(json!(["/bin/sleep", "5s"])),
                seconds("exec/command/1", json!("26")),
                61,
            ),
            (
                exec(json!(["/bin/sh", "-c", "sleep 10"])),
                seconds("exec/command/2", json!("sleep 26")),
                56,
            ),
            (
                exec(json!(["bash", "-c", " sleep 0 "])),
                seconds("exec/command/2", json!("sleep 26")),
                66,
            ),
        ] {
            let spec = with_hook(&hook, &json!(40));
            assert_eq!(
                ends(&spec, &Settings::default()).0,
                [changed, grace("replace", after)],
                "{hook}"
            );
        }
    }

    #[test]
    fn a_sleep_that_is_long_enough_stays() {
        for hook in [
            json!({ "sleep": { "seconds": 26 } }),
            json!({ "exec": { "command": ["sleep", "1m"] } }),
        ] {
            let spec = with_hook(&hook, &json!(90));
            assert_eq!(
                ends(&spec, &Settings::default()),
                (Vec::new(), Vec::new(), 90)
            );
        }
    }

    #[test]
    fn any_other_hook_is_left_and_told() {
        for hook in [
            json!({ "exec": { "command": ["sh", "-c", "sleep 5; nginx -s quit"] } }),
            json!({ "exec": { "command": ["sleep", "5", "6"] } }),
            json!({ "exec": { "command": ["sleep", "$(DELAY)"] } }),
            json!({ "exec": { "command": [1] } }),
            json!({ "httpGet": { "port": 80 } }),
            json!({ "sleep": { "seconds": 1 }, "exec": {} }),
        ] {
            let (changes, notes, grace) =
                ends(&with_hook(&hook, &Value::Null), &Settings::default());
            assert_eq!((changes.len(), grace), (0, 30), "{hook}");
            assert!(notes[0].starts_with(
                "spec.containers[0].lifecycle.preStop: left as it is: the hook has to take 5s"
            ));
        }
    }

    #[test]
    fn the_grace_period_holds_a_drain_in_any_case() {
        let hook = json!({ "httpGet": { "port": 80 } });
        let (changes, _, after) = ends(&with_hook(&hook, &json!(10)), &Settings::default());
        assert_eq!((changes, after), (vec![grace("replace", 30)], 30));
        let long = Settings {
            drain_timeout: Duration::from_millis(60_500),
            pre_stop: PreStop::None,
            ..Settings::default()
        };
        let spec = json!({ "containers": [{ "name": "app" }] });
        let (changes, notes, after) = ends(&spec, &long);
        assert_eq!((changes, after), (vec![grace("add", 71)], 71));
        assert!(notes[0].contains("has no preStop hook"));
    }

    #[test]
    fn a_short_sleep_that_is_to_stay_is_told() {
        let spec = with_hook(&json!({ "sleep": { "seconds": 5 } }), &Value::Null);
        let (changes, notes, _) = ends(&spec, &settings(PreStop::None));
        assert_eq!((changes.len(), notes.len()), (0, 1));
    }

    #[test]
    fn a_liveness_probe_without_its_own_grace_period_is_told() {
        let spec = json!({ "containers": [{ "name": "app",
            "startupProbe": { "terminationGracePeriodSeconds": 5 }, "livenessProbe": {},
        }] });
        let (_, notes, _) = ends(&spec, &Settings::default());
        assert_eq!(notes.len(), 1);
        assert!(notes[0].starts_with("spec.containers[0].livenessProbe: an app that is killed"));
    }

    #[test]
    fn numbers_beyond_all_bounds_are_none() {
        let hook = json!({ "sleep": { "seconds": 0 } });
        let (_, _, after) = ends(&with_hook(&hook, &json!(i64::MAX)), &Settings::default());
        assert_eq!(after, i64::MAX);
        assert_eq!(lasting("9223372036854775807h"), None);
        let hook = json!({ "sleep": { "seconds": i64::MIN } });
        assert!(Sleep::of(hook.as_object().unwrap()).is_none());
    }
}
