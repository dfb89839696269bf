//! The combined log format of Apache and nginx, for GoAccess, lnav and whatever else reads access logs. What is no exchange
//! is a comment line.

use super::fields::Fields;

/// Writes one line without its end.
pub(crate) fn write(fields: &Fields, out: &mut Vec<u8>) {
    if fields.get("kind") == Some("exchange") {
        exchange(fields, out);
    } else {
        comment(fields, out);
    }
}

/// `client - client_id [time] "request" status bytes_out "referer" "user_agent"`
fn exchange(fields: &Fields, out: &mut Vec<u8>) {
    bare(fields.get_some("client"), out);
    out.extend_from_slice(b" - ");
    bare(fields.get_some("client_id"), out);
    out.extend_from_slice(b" [");
    time(fields.get_some("time"), out);
    out.extend_from_slice(b"] ");
    request(fields, out);
    out.push(b' ');
    bare(Some(status(fields)), out);
    out.push(b' ');
    bare(fields.get_some("bytes_out"), out);
    for name in ["referer", "user_agent"] {
        out.push(b' ');
        quoted(fields.get_some(name).unwrap_or("-"), out);
    }
}

/// `# time kind name=value…`
fn comment(fields: &Fields, out: &mut Vec<u8>) {
    out.extend_from_slice(b"# ");
    bare(fields.get_some("time"), out);
    out.push(b' ');
    bare(fields.get_some("kind"), out);
    let known = fields.iter().filter(|(_, value)| !value.is_empty());
    for (name, value) in known.filter(|(name, _)| !matches!(*name, "time" | "kind")) {
        out.push(b' ');
        bare(Some(name), out);
        out.push(b'=');
        if value.bytes().all(is_simple) {
            out.extend_from_slice(value.as_bytes());
        } else {
            quoted(value, out);
        }
    }
}

/// `"GET /path?query HTTP/1.1"`, with nginx's name for HTTP/2.
fn request(fields: &Fields, out: &mut Vec<u8>) {
    let path = match fields.get("path") {
        // The target of a CONNECT is an authority and has no path.
        Some("") => fields.get_some("host"),
        path => path,
    };
    let (Some(method), Some(path)) = (fields.get_some("method"), path) else {
        out.extend_from_slice(b"\"-\"");
        return;
    };
    out.push(b'"');
    escape(method, is_special, out);
    out.push(b' ');
    escape(path, is_special, out);
    if let Some(query) = fields.get("query") {
        out.push(b'?');
        escape(query, is_special, out);
    }
    if let Some(version) = fields.get_some("http") {
        out.extend_from_slice(b" HTTP/");
        escape(
            if version == "2" { "2.0" } else { version },
            is_special,
            out,
        );
    }
    out.push(b'"');
}

/// Where none was sent: nginx's 499 when the client has gone, else what nginx writes when there is none.
fn status(fields: &Fields) -> &str {
    match (fields.get_some("status"), fields.get("closed_by")) {
        (Some(status), _) => status,
        (None, Some("client")) => "499",
        (None, _) => "000",
    }
}

/// `2026-11-23T00:52:39.123456Z` as `23/Nov/2026:00:52:39 +0000`.
fn time(rfc3339: Option<&str>, out: &mut Vec<u8>) {
    let Some((day, month, year, clock)) = rfc3339.and_then(parts) else {
        out.push(b'-');
        return;
    };
    for (part, end) in [(day, "/"), (month, "/"), (year, ":"), (clock, " +0000")] {
        bare(Some(part), out);
        out.extend_from_slice(end.as_bytes());
    }
}

/// Day, month, year and clock of a time in UTC.
fn parts(time: &str) -> Option<(&str, &'static str, &str, &str)> {
    let (date, clock) = time.strip_suffix('Z')?.split_once('T')?;
    let month: usize = date.get(5..7)?.parse().ok()?;
    let month = MONTHS.get(month.checked_sub(1)?)?;
    Some((date.get(8..10)?, month, date.get(..4)?, clock.get(..8)?))
}

/// A value between spaces, or `-`.
fn bare(value: Option<&str>, out: &mut Vec<u8>) {
    let is_special = |byte| is_special(byte) || matches!(byte, b' ' | b'[' | b']');
    escape(value.unwrap_or("-"), is_special, out);
}

fn quoted(value: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    escape(value, is_special, out);
    out.push(b'"');
}

/// What is special becomes `\xHH`, as nginx writes it.
fn escape(value: &str, is_special: impl Fn(u8) -> bool, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut rest = value.as_bytes();
    while let Some(at) = rest.iter().position(|byte| is_special(*byte)) {
        out.extend_from_slice(&rest[..at]);
        let (high, low) = (usize::from(rest[at] >> 4), usize::from(rest[at] & 15));
        out.extend_from_slice(&[b'\\', b'x', HEX[high], HEX[low]]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// What could end a quoted text or a line, or looks like an escape.
fn is_special(byte: u8) -> bool {
    !matches!(byte, b' '..=b'~') || matches!(byte, b'"' | b'\\')
}

/// Whether a value of such bytes needs no quotes.
fn is_simple(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'/')
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn line(record: &Value) -> String {
        let fields = Fields::from_json(record.as_object().unwrap());
        let mut out = b"before".to_vec();
        write(&fields, &mut out);
        let line = String::from_utf8(out).unwrap();
        line.strip_prefix("before").unwrap().to_owned()
    }

    fn usual() -> Value {
        json!({
            "kind": "exchange", "time": "2026-11-23T00:52:39.123456Z", "client": "192.0.2.1", "client_id": "web",
            "method": "GET", "host": "shop.example", "path": "/p%20q", "query": "a=b", "status": 200, "reason": "",
            "bytes_in": 5, "bytes_out": 10, "duration_ms": 1.25, "http": "1.1",
            "user_agent": "curl/8", "referer": "http://r.example/",
        })
    }

    /// The usual record with some of its fields changed.
    fn with(changes: &[(&str, Value)]) -> String {
        let mut record = usual();
        for (name, value) in changes {
            record[*name] = value.clone();
        }
        line(&record)
    }

    #[test]
    fn an_exchange_is_a_line_as_nginx_writes_it() {
        assert_eq!(
            line(&usual()),
            "192.0.2.1 - web [23/Nov/2026:00:52:39 +0000] \"GET /p%20q?a=b HTTP/1.1\" 200 10 \"http://r.example/\" \"curl/8\""
        );
        let changes = [
            ("client", json!("2001:db8::1")),
            ("client_id", Value::Null),
            ("http", json!("2")),
            ("query", Value::Null),
            ("referer", json!("")),
            ("user_agent", Value::Null),
            ("bytes_out", json!(0)),
        ];
        assert_eq!(
            with(&changes),
            "2001:db8::1 - - [23/Nov/2026:00:52:39 +0000] \"GET /p%20q HTTP/2.0\" 200 0 \"-\" \"-\""
        );
    }

    #[test]
    fn what_is_absent_is_a_dash() {
        assert_eq!(
            line(&json!({"kind": "exchange"})),
            "- - - [-] \"-\" 000 - \"-\" \"-\""
        );
        let unread = with(&[("method", Value::Null)]);
        assert!(unread.contains("] \"-\" 200 "), "{unread}");
        let connect = with(&[
            ("method", json!("CONNECT")),
            ("path", json!("")),
            ("query", Value::Null),
        ]);
        assert!(
            connect.contains("\"CONNECT shop.example HTTP/1.1\""),
            "{connect}"
        );
        for time in [
            "",
            "Z",
            "T",
            "2026-13-23T00:52:39Z",
            "2026-00-23T00:52:39Z",
            "é-é-éT1Z",
        ] {
            let odd = with(&[("time", json!(time))]);
            assert!(odd.contains(" [-] "), "{odd}");
        }
    }

    #[test]
    fn without_a_status_it_is_nginxs_own_for_a_client_that_has_gone() {
        for (closed_by, status) in [
            (json!("client"), " 499 "),
            (json!("proxy"), " 000 "),
            (Value::Null, " 000 "),
        ] {
            let line = with(&[("status", Value::Null), ("closed_by", closed_by)]);
            assert!(line.contains(status), "{line}");
        }
    }

    #[test]
    fn what_is_no_exchange_is_a_comment() {
        assert_eq!(
            line(&json!({
                "kind": "handshake", "time": "2026-11-23T00:52:39.123456Z", "client": "192.0.2.1", "reason": "plain_http",
                "detail": "\"GET / HTTP/1.1\"\r\n", "status": null, "sni": "", "duration_ms": 0.5,
            })),
            "# 2026-11-23T00:52:39.123456Z handshake client=192.0.2.1 \
             detail=\"\\x22GET / HTTP/1.1\\x22\\x0D\\x0A\" duration_ms=0.500 reason=plain_http"
        );
        assert_eq!(
            line(
                &json!({"kind": "notice", "time": "2026-11-23T00:52:39Z", "reason": "log_dropped", "dropped": 12})
            ),
            "# 2026-11-23T00:52:39Z notice dropped=12 reason=log_dropped"
        );
        assert_eq!(line(&json!({"kind": "a\nb c"})), "# - a\\x0Ab\\x20c");
    }

    #[test]
    fn nothing_that_a_client_sends_can_break_a_line_or_a_field() {
        let nasty = "\" 200 1 \"\\x\" \r\n[x] \0\u{1b}[31m\u{7f}\u{9b}\u{202e}\u{fffd}é";
        let is_plain = |line: &str| line.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        for name in [
            "client",
            "client_id",
            "method",
            "path",
            "query",
            "http",
            "status",
            "bytes_out",
            "referer",
            "user_agent",
        ] {
            let text = with(&[(name, json!(nasty))]);
            assert!(is_plain(&text), "{name}: {text}");
            assert_eq!(text.matches('"').count(), 6, "{name}: {text}");
            let outside: String = text.split('"').step_by(2).collect();
            assert_eq!(outside.split(' ').count(), 10, "{name}: {text}");
            assert_eq!(outside.matches(['[', ']']).count(), 2, "{name}: {text}");
            let text = line(&json!({"kind": "handshake", name: nasty}));
            assert!(text.starts_with("# ") && is_plain(&text), "{name}: {text}");
        }
        assert_eq!(
            with(&[("user_agent", json!(nasty))]).split('"').nth(5),
            Some(
                r"\x22 200 1 \x22\x5Cx\x22 \x0D\x0A[x] \x00\x1B[31m\x7F\xC2\x9B\xE2\x80\xAE\xEF\xBF\xBD\xC3\xA9"
            )
        );
        let odd = with(&[("time", json!("20 6-11-\n3T\u{1b}0:[2:39Z"))]);
        assert!(
            odd.contains(r" [\x0A3/Nov/20\x206:\x1B0:\x5B2:39 +0000] "),
            "{odd}"
        );
    }
}
