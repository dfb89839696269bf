//! What the log says of itself.

use std::time::SystemTime;

use serde_json::Value;

use super::format::{Format, quote};
use super::id::new_id;
use super::log::Counts;
use super::moment::moment;

/// A record of kind `notice`, as JSON.
#[derive(Debug)]
pub(crate) struct Notice(Vec<u8>);

impl Notice {
    /// So many lines are missing.
    pub(crate) fn dropped(service: &str, lost: Counts) -> Self {
        let time = SystemTime::now();
        let mut json =
            format!(r#"{{"kind":"notice","id":"{}","time":""#, new_id(time)).into_bytes();
        json.extend_from_slice(&moment(time));
        json.extend_from_slice(br#"","service":"#);
        quote(&mut json, service);
        let counts = format!(
            r#","reason":"log_dropped","dropped":{},"dropped_success":{},"dropped_error":{},"dropped_audit":{}}}"#,
            lost.sum(),
            lost.success,
            lost.error,
            lost.audit
        );
        json.extend_from_slice(counts.as_bytes());
        Self(json)
    }

    /// As it stands in the log, with its end.
    pub(crate) fn line(&self, format: Format) -> Vec<u8> {
        let mut line = match serde_json::from_slice(&self.0) {
            Ok(Value::Object(fields)) if format != Format::Json => format.lay_out_json(&fields),
            _ => self.0.clone(),
        };
        line.push(b'\n');
        line
    }

    /// As it stands in the ring.
    pub(super) fn json(&self) -> &[u8] {
        &self.0
    }
}
