//! The fields of one record by name, as text: what the formats other than JSON are made from.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::ops::Range;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};

use super::cut;

/// The fields of one record. An event records itself into it.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    text: String,
    places: Vec<Place>,
}

#[derive(Debug)]
struct Place {
    name: Cow<'static, str>,
    range: Range<usize>,
}

impl Fields {
    /// The fields of a record that was written as JSON. Null is the same as absent.
    pub(crate) fn from_json(record: &Map<String, Value>) -> Self {
        let mut fields = Self::default();
        for (name, value) in record.iter().filter(|(_, value)| !value.is_null()) {
            fields.put(name.clone(), |text| put_json(text, value));
        }
        fields
    }

    /// Forgets the record, and keeps the memory for the next.
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.places.clear();
    }

    /// The field of this name, if the record has it.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let place = self.places.iter().find(|place| place.name == name)?;
        self.text.get(place.range.clone())
    }

    /// The same; none also where the field is empty.
    pub(crate) fn get_some(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|text| !text.is_empty())
    }

    /// Names and texts of all fields, in the order they were read.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let text = |place: &Place| self.text.get(place.range.clone());
        self.places
            .iter()
            .filter_map(move |place| Some((&*place.name, text(place)?)))
    }

    fn put(&mut self, name: impl Into<Cow<'static, str>>, write: impl FnOnce(&mut String)) {
        let start = self.text.len();
        write(&mut self.text);
        self.places.push(Place {
            name: name.into(),
            range: start..self.text.len(),
        });
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), |text| put_cut(text, value));
    }

    fn record_bytes(&mut self, field: &Field, value: &[u8]) {
        let value = String::from_utf8_lossy(value);
        self.put(field.name(), |text| match field.name() {
            // A JSON object whose parts were cut where it was made; cut again it would be none any more.
            "headers" => text.push_str(&value),
            _ => put_cut(text, &value),
        });
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            // Tells the writer what may be dropped first, and readers nothing.
            "class" => {}
            // None was sent.
            "status" if value == 0 => {}
            // Writing to a String cannot fail, here and below.
            name => self.put(name, |text| _ = write!(text, "{value}")),
        }
    }

    /// A duration in microseconds, written as milliseconds.
    fn record_i64(&mut self, field: &Field, value: i64) {
        let micros = value.unsigned_abs();
        self.put(field.name(), |text| put_thousandths(text, micros));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), |text| _ = write!(text, "{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), |text| _ = write!(text, "{value:?}"));
    }
}

fn put_json(text: &mut String, value: &Value) {
    match value {
        Value::String(value) => text.push_str(value),
        Value::Number(value) if value.is_f64() => {
            let milliseconds = value.as_f64().unwrap_or_default();
            put_thousandths(text, (milliseconds * 1000.0).round() as u64);
        }
        other => _ = write!(text, "{other}"),
    }
}

/// Three digits behind the point, as in JSON.
fn put_thousandths(text: &mut String, thousandths: u64) {
    let _ = write!(text, "{}.{:03}", thousandths / 1000, thousandths % 1000);
}

/// As in JSON.
fn put_cut(text: &mut String, value: &str) {
    let (value, rest) = cut(value);
    text.push_str(value);
    text.push_str(rest);
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::{Event, Subscriber};
    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::{Context, SubscriberExt};

    use super::*;
    use crate::records::format::LONGEST;

    struct Keep(Arc<Mutex<Fields>>);

    impl<S: Subscriber> Layer<S> for Keep {
        fn on_event(&self, event: &Event<'_>, _ctx: Context<'_, S>) {
            let mut fields = self.0.lock().unwrap();
            fields.clear();
            event.record(&mut *fields);
        }
    }

    fn told(tell: impl FnOnce()) -> Fields {
        let kept = Arc::new(Mutex::new(Fields::default()));
        let subscriber = tracing_subscriber::registry().with(Keep(Arc::clone(&kept)));
        tracing::subscriber::with_default(subscriber, tell);
        std::mem::take(&mut kept.lock().unwrap())
    }

    fn json(text: &str) -> Fields {
        Fields::from_json(&serde_json::from_str(text).unwrap())
    }

    fn all(fields: &Fields) -> Vec<(&str, &str)> {
        fields.iter().collect()
    }

    #[test]
    fn an_event_is_read_field_by_field_and_what_is_absent_is_absent() {
        let fields = told(|| {
            tracing::info!(
                kind = "exchange",
                class = 1_u64,
                client = %"127.0.0.1",
                host = &b"a\xff"[..],
                headers = &br#"{"x-a":"b"}"#[..],
                path = None::<&str>,
                status = Some(200_u16),
                reason = "",
                upstream_status = 0_u64,
                duration_ms = 12_346_i64,
                resumed = false,
            );
        });
        let wanted = [
            ("kind", "exchange"),
            ("client", "127.0.0.1"),
            ("host", "a\u{fffd}"),
            ("headers", r#"{"x-a":"b"}"#),
            ("status", "200"),
            ("reason", ""),
            ("upstream_status", "0"),
            ("duration_ms", "12.346"),
            ("resumed", "false"),
        ];
        assert_eq!(all(&fields), wanted);
        assert_eq!(fields.get("reason"), Some(""));
        assert_eq!(fields.get_some("reason"), None);
        assert_eq!(fields.get("path"), None);
    }

    #[test]
    fn long_texts_are_cut_at_a_character_but_a_json_object_is_not() {
        let long = "é".repeat(LONGEST);
        let fields = told(|| {
            tracing::info!(
                path = &*long,
                user_agent = long.as_bytes(),
                headers = long.as_bytes()
            );
        });
        for name in ["path", "user_agent"] {
            let text = fields.get(name).unwrap();
            assert_eq!(text.chars().count(), LONGEST / 2 + 1, "{name}");
            assert!(text.ends_with('…'), "{name}");
        }
        assert_eq!(fields.get("headers"), Some(&*long));
    }

    #[test]
    fn a_record_read_from_json_says_the_same() {
        let fields = json(
            r#"{"kind":"exchange","status":null,"reason":"","bytes_out":18446744073709551615,"duration_ms":0.000,
                "body_ms":2.5,"resumed":true,"headers":{"x-a":"b\n"},"some_day":[1]}"#,
        );
        for (name, value) in [
            ("kind", Some("exchange")),
            ("status", None),
            ("reason", Some("")),
            ("bytes_out", Some("18446744073709551615")),
            ("duration_ms", Some("0.000")),
            ("body_ms", Some("2.500")),
            ("resumed", Some("true")),
            ("headers", Some(r#"{"x-a":"b\n"}"#)),
            ("some_day", Some("[1]")),
        ] {
            assert_eq!(fields.get(name), value, "{name}");
        }
    }

    #[test]
    fn nothing_of_a_record_is_left_in_the_next() {
        let fields = told(|| {
            tracing::info!(kind = "exchange", host = "first");
            tracing::info!(kind = "audit");
        });
        assert_eq!(all(&fields), [("kind", "audit")]);
    }
}
