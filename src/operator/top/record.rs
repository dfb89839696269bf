//! A line of `GET /logs`, as far as it is shown here.

use serde::Deserialize;

/// What a line says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Line {
    /// An exchange, or a handshake that failed.
    Record(Record),
    /// So many records were pushed out before they could be sent.
    Missed(u64),
    /// Nothing that is shown here.
    Other,
}

/// An exchange, or a handshake that failed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Record {
    pub(super) id: String,
    /// RFC 3339.
    pub(super) time: String,
    pub(super) client: String,
    /// None of a handshake.
    pub(super) method: Option<String>,
    /// Of a handshake, what went wrong in it.
    pub(super) path: String,
    pub(super) status: Option<u16>,
    /// Empty on success.
    pub(super) reason: String,
    pub(super) ms: f64,
}

impl Record {
    /// Whether it counts as an error: it failed, or the application said so.
    pub(super) fn is_error(&self) -> bool {
        !self.reason.is_empty() || self.status.is_some_and(|status| status >= 500)
    }

    /// Whether it is of a request.
    pub(super) fn is_exchange(&self) -> bool {
        self.method.is_some()
    }
}

/// The fields as they come. Those of another version may be of other kinds: then the line is left out, and not the others.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Fields {
    kind: String,
    id: String,
    time: String,
    client: Option<String>,
    client_id: Option<String>,
    method: Option<String>,
    path: Option<String>,
    detail: Option<String>,
    status: Option<u16>,
    reason: String,
    duration_ms: Option<f64>,
    missed: u64,
}

/// Reads a line.
pub(super) fn read(line: &[u8]) -> Line {
    let Ok(fields) = serde_json::from_slice::<Fields>(line) else {
        return Line::Other;
    };
    match fields.kind.as_str() {
        "exchange" => Line::Record(Record {
            method: Some(fields.method.unwrap_or_else(|| UNKNOWN.to_owned())),
            path: fields.path.unwrap_or_else(|| UNKNOWN.to_owned()),
            id: fields.id,
            time: fields.time,
            client: fields.client_id.or(fields.client).unwrap_or_default(),
            status: fields.status.filter(|status| *status != 0),
            reason: fields.reason,
            ms: fields.duration_ms.unwrap_or_default(),
        }),
        "handshake" => Line::Record(Record {
            method: None,
            path: fields.detail.unwrap_or_default(),
            id: fields.id,
            time: fields.time,
            client: fields.client.unwrap_or_default(),
            status: None,
            reason: fields.reason,
            ms: fields.duration_ms.unwrap_or_default(),
        }),
        "missed" => Line::Missed(fields.missed),
        _ => Line::Other,
    }
}

/// Of a request that was not understood.
const UNKNOWN: &str = "-";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exchanges_and_failed_handshakes_are_read() {
        let line = br#"{"kind":"exchange","time":"2026-11-23T10:00:00Z","client":"10.0.0.1","client_id":null,"method":"GET","path":"/a","status":502,"reason":"upstream_refused","duration_ms":1.25,"more":[1]}"#;
        let Line::Record(record) = read(line) else {
            panic!("no record");
        };
        assert_eq!((record.status, record.ms), (Some(502), 1.25));
        assert_eq!((&*record.client, &*record.path), ("10.0.0.1", "/a"));
        assert!(record.is_error() && record.is_exchange());
        let line = br#"{"kind":"handshake","client":"10.0.0.2","reason":"no_common_version","detail":"it speaks TLS 1.0","status":null,"duration_ms":2}"#;
        let Line::Record(record) = read(line) else {
            panic!("no record");
        };
        assert!(record.is_error() && !record.is_exchange());
        assert_eq!(record.path, "it speaks TLS 1.0");
    }

    #[test]
    fn what_is_nothing_to_show_is_left_out() {
        assert_eq!(read(br#"{"kind":"missed","missed":12}"#), Line::Missed(12));
        for line in [
            &b""[..],
            b"{",
            b"[]",
            b"\xff",
            br#"{"kind":"heartbeat","time":"t"}"#,
            br#"{"kind":"audit"}"#,
            br#"{"kind":"exchange","status":"502"}"#,
        ] {
            assert_eq!(read(line), Line::Other);
        }
        let Line::Record(odd) = read(br#"{"kind":"exchange"}"#) else {
            panic!("no record");
        };
        assert_eq!((odd.path.as_str(), odd.status), ("-", None));
        assert!(!odd.is_error());
    }
}
