//! Records for people: a line each, in columns where values are usual, coloured on a terminal. No byte from a client reaches
//! the terminal as anything but a letter.

use super::fields::Fields;
use crate::terminal::{GAP, Ink, Pen, duration, size};

/// Writes one line without its end.
pub(crate) fn write(fields: &Fields, colour: bool, out: &mut Vec<u8>) {
    let mut pen = Pen { out, colour };
    time(fields, &mut pen);
    if let Some(service) = fields.get_some("service") {
        pen.put(Ink::Faint, service);
        pen.gap();
    }
    match fields.get("kind") {
        Some("exchange") => exchange(fields, &mut pen),
        Some("handshake") => handshake(fields, &mut pen),
        Some("audit") => audit(fields, &mut pen),
        _ => notice(fields, &mut pen),
    }
}

/// `2026-11-23T00:52:39.123456Z` as `2026-11-23 00:52:39.123Z`.
fn time(fields: &Fields, pen: &mut Pen<'_>) {
    let time = fields.get_some("time").unwrap_or("-");
    match (time.get(..10), time.get(11..23)) {
        (Some(date), Some(clock)) => pen.put(Ink::Faint, &format!("{date} {clock}Z")),
        _ => pen.put(Ink::Faint, time),
    }
    pen.gap();
}

/// `200  GET      12.3 ms   1.2 KiB  127.0.0.1        host/path?query → target  (2 retries) — reason, by side`
fn exchange(fields: &Fields, pen: &mut Pen<'_>) {
    let status = fields.get_some("status").unwrap_or("---");
    pen.column(status_ink(status), status, STATUS);
    pen.column(Ink::Plain, fields.get_some("method").unwrap_or("-"), METHOD);
    figures(fields, pen);
    pen.word(Ink::Plain, fields.get("host").unwrap_or_default());
    pen.word(Ink::Plain, fields.get("path").unwrap_or("-"));
    if let Some(query) = fields.get("query") {
        pen.put(Ink::Plain, "?");
        pen.word(Ink::Plain, query);
    }
    if let Some(target) = fields.get_some("target") {
        pen.put(Ink::Faint, " → ");
        pen.put(Ink::Faint, target);
    }
    match fields.get_some("retries") {
        None | Some("0") => {}
        Some("1") => pen.put(Ink::Yellow, "  (1 retry)"),
        Some(count) => pen.put(Ink::Yellow, &format!("  ({count} retries)")),
    }
    reason(fields, pen);
    if let Some(headers) = fields.get_some("headers") {
        pen.put(Ink::Faint, "  ");
        pen.put(Ink::Faint, headers);
    }
    // Free text comes last, where it cannot pass for anything else.
    if let Some(name) = fields.get_some("client_id") {
        pen.put(Ink::Faint, "  as ");
        pen.put(Ink::Faint, name);
    }
}

/// `TLS  failed   12.3 ms            127.0.0.1        sni — reason, by side: detail`
fn handshake(fields: &Fields, pen: &mut Pen<'_>) {
    pen.column(Ink::Yellow, "TLS", STATUS);
    pen.column(Ink::Plain, "failed", METHOD);
    figures(fields, pen);
    pen.word(Ink::Plain, fields.get_some("sni").unwrap_or("-"));
    reason(fields, pen);
    detail(fields, pen);
}

/// `audit         target_change done, by token ops at 127.0.0.1:4242: detail`
fn audit(fields: &Fields, pen: &mut Pen<'_>) {
    pen.column(Ink::Bold, "audit", STATUS + GAP + METHOD);
    pen.put(Ink::Bold, fields.get_some("action").unwrap_or("-"));
    if let Some(result) = fields.get_some("result") {
        pen.put(Ink::Bold, " ");
        pen.put(Ink::Bold, result);
    }
    if let Some(actor) = fields.get_some("actor") {
        pen.put(Ink::Faint, ", by ");
        pen.put(Ink::Cyan, actor);
    }
    reason(fields, pen);
    detail(fields, pen);
}

/// `notice        log_dropped: 12 dropped (success 10, error 2)`, or whatever else may come one day.
fn notice(fields: &Fields, pen: &mut Pen<'_>) {
    let kind = fields.get_some("kind").unwrap_or("-");
    pen.column(Ink::Yellow, kind, STATUS + GAP + METHOD);
    pen.put(Ink::Yellow, fields.get_some("reason").unwrap_or("-"));
    if let Some(count) = fields.get_some("dropped") {
        pen.put(Ink::Yellow, &format!(": {count} dropped"));
    }
    let classes = ["success", "error", "audit"].map(|class| {
        let count = fields.get_some(&format!("dropped_{class}"))?;
        (count != "0").then(|| format!("{class} {count}"))
    });
    let classes: Vec<String> = classes.into_iter().flatten().collect();
    if !classes.is_empty() {
        pen.put(Ink::Yellow, &format!(" ({})", classes.join(", ")));
    }
    detail(fields, pen);
}

/// The columns that exchanges and handshakes share: how long, how much, and from whom.
fn figures(fields: &Fields, pen: &mut Pen<'_>) {
    let took = fields.get("duration_ms").and_then(|ms| ms.parse().ok());
    let took = took.map(duration).unwrap_or_default();
    let sent = fields.get("bytes_out").and_then(|bytes| bytes.parse().ok());
    let sent = sent.map(size).unwrap_or_default();
    pen.column(Ink::Plain, &format!("{took:>DURATION$}"), DURATION);
    pen.column(Ink::Faint, &format!("{sent:>SIZE$}"), SIZE);
    pen.column(Ink::Plain, fields.get_some("client").unwrap_or("-"), CLIENT);
}

fn reason(fields: &Fields, pen: &mut Pen<'_>) {
    if let Some(reason) = fields.get_some("reason") {
        pen.put(Ink::Faint, " — ");
        pen.put(Ink::Red, reason);
        if let Some(side) = fields.get_some("closed_by") {
            pen.put(Ink::Faint, ", by ");
            pen.put(Ink::Faint, side);
        }
    }
}

fn detail(fields: &Fields, pen: &mut Pen<'_>) {
    if let Some(detail) = fields.get_some("detail") {
        pen.put(Ink::Plain, ": ");
        pen.put(Ink::Plain, detail);
    }
}

fn status_ink(status: &str) -> Ink {
    match status.as_bytes().first() {
        Some(b'1' | b'2') => Ink::Green,
        Some(b'3') => Ink::Cyan,
        Some(b'4') => Ink::Yellow,
        _ => Ink::Red,
    }
}

// Widths of what is usual; what is wider shifts the rest of its line.
const STATUS: usize = 3;
const METHOD: usize = 7;
const DURATION: usize = 7;
const SIZE: usize = 8;
const CLIENT: usize = 15;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::terminal::is_unsafe;

    fn painted(record: &Value, colour: bool) -> String {
        let fields = Fields::from_json(record.as_object().unwrap());
        let mut out = Vec::new();
        write(&fields, colour, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(!text.contains('\n'), "{text:?}");
        text
    }

    fn line(record: &Value) -> String {
        painted(record, false)
    }

    fn usual() -> Value {
        json!({
            "kind": "exchange", "time": "2026-11-23T00:52:39.123456Z", "service": "shop", "client": "127.0.0.1",
            "method": "GET", "host": "shop.example", "path": "/path", "query": "a=b", "status": 200, "reason": "",
            "bytes_in": 0, "bytes_out": 1234, "duration_ms": 12.345, "target": "http://127.0.0.1:8080", "retries": 0,
        })
    }

    /// The usual record with some of its fields changed.
    fn with(changes: &[(&str, Value)]) -> Value {
        let mut record = usual();
        for (name, value) in changes {
            record[*name] = value.clone();
        }
        record
    }

    const START: &str = "2026-11-23 00:52:39.123Z  shop  ";

    #[test]
    fn exchanges_stand_in_columns() {
        let failed = with(&[
            ("method", json!("OPTIONS")),
            ("client", json!("192.168.100.100")),
            ("query", Value::Null),
            ("status", json!(503)),
            ("reason", json!("upstream_refused")),
            ("closed_by", json!("upstream")),
            ("bytes_out", json!(0)),
            ("duration_ms", json!(2010.5)),
            ("retries", json!(2)),
        ]);
        let gone = with(&[
            ("client", json!("2001:db8:0:1:2:3:4:5")),
            ("status", Value::Null),
            ("reason", json!("client_gone")),
            ("closed_by", json!("client")),
            ("retries", json!(1)),
            ("client_id", json!("CN=a b")),
            ("headers", json!({"x-a": "b"})),
        ]);
        for (record, wanted) in [
            (
                usual(),
                "200  GET      12.3 ms   1.2 KiB  127.0.0.1        shop.example/path?a=b → http://127.0.0.1:8080",
            ),
            (
                failed,
                "503  OPTIONS   2.01 s       0 B  192.168.100.100  shop.example/path → http://127.0.0.1:8080  (2 retries) \
                 — upstream_refused, by upstream",
            ),
            (
                gone,
                "---  GET      12.3 ms   1.2 KiB  2001:db8:0:1:2:3:4:5  shop.example/path?a=b → http://127.0.0.1:8080  \
                 (1 retry) — client_gone, by client  {\"x-a\":\"b\"}  as CN=a b",
            ),
        ] {
            assert_eq!(line(&record), format!("{START}{wanted}"));
        }
    }

    #[test]
    fn other_kinds_are_told_apart_at_a_glance() {
        for (mut record, wanted) in [
            (
                json!({
                    "kind": "handshake", "client": "192.0.2.1", "sni": "a.example", "reason": "plain_http",
                    "detail": "HTTP on the TLS port", "duration_ms": 0.5, "closed_by": "client", "status": null,
                }),
                "TLS  failed   0.50 ms            192.0.2.1        a.example — plain_http, by client: HTTP on the TLS port",
            ),
            (
                json!({"kind": "audit", "action": "target_change", "result": "done", "reason": "", "detail": "a -> b"}),
                "audit         target_change done: a -> b",
            ),
            (
                json!({"kind": "audit", "action": "target_change", "result": "refused", "reason": "loop", "detail": "no"}),
                "audit         target_change refused — loop: no",
            ),
            (
                json!({
                    "kind": "audit", "action": "target_change", "result": "done", "reason": "", "detail": "a -> b",
                    "actor": "token ops at 127.0.0.1:4242",
                }),
                "audit         target_change done, by token ops at 127.0.0.1:4242: a -> b",
            ),
            (
                json!({
                    "kind": "notice", "reason": "log_dropped", "dropped": 12, "dropped_success": 10,
                    "dropped_error": 2, "dropped_audit": 0,
                }),
                "notice        log_dropped: 12 dropped (success 10, error 2)",
            ),
            (
                json!({"kind": "some_day", "detail": "new"}),
                "some_day      -: new",
            ),
        ] {
            record["time"] = json!("2026-11-23T00:52:39.123456Z");
            record["service"] = json!("shop");
            assert_eq!(line(&record), format!("{START}{wanted}"));
        }
    }

    #[test]
    fn what_is_absent_leaves_its_column_empty() {
        for (record, wanted) in [
            (
                json!({"kind": "exchange"}),
                "-  ---  -                           -                -",
            ),
            (
                json!({"kind": "handshake", "time": "odd"}),
                "odd  TLS  failed                      -                -",
            ),
            (json!({}), "-  -             -"),
        ] {
            assert_eq!(line(&record), wanted);
        }
    }

    #[test]
    fn colours_tell_the_class_and_end_where_their_text_ends() {
        for (status, text, code) in [
            (json!(204), "204", 32),
            (json!(304), "304", 36),
            (json!(404), "404", 33),
            (json!(502), "502", 31),
            (Value::Null, "---", 31),
        ] {
            let line = painted(&with(&[("status", status)]), true);
            let wanted = format!("\x1b[{code}m{text}\x1b[0m");
            assert!(line.contains(&wanted), "{line:?}");
        }
        // Without its codes a coloured line is the plain one.
        let record = with(&[("reason", json!("client_gone")), ("retries", json!(3))]);
        let mut text = painted(&record, true);
        let ends = text.matches("\x1b[0m").count();
        assert_eq!(text.matches('\x1b').count(), 2 * ends, "{text:?}");
        for code in [0, 1, 2, 31, 32, 33, 36] {
            text = text.replace(&format!("\x1b[{code}m"), "");
        }
        assert_eq!(text, line(&record));
    }

    #[test]
    fn no_byte_from_a_client_is_obeyed_by_a_terminal() {
        let nasty = "a\r\n\t\0\u{1b}[31m\u{7f}\u{9b}\u{202e}\u{2066}\u{200b}\u{2028}\u{a0}\u{e0041}é\u{fffd}\\";
        let escaped = concat!(
            r"a\x0d\x0a\x09\x00\x1b[31m\x7f\u{9b}\u{202e}\u{2066}\u{200b}\u{2028}\u{a0}\u{e0041}",
            "é\u{fffd}",
            r"\\"
        );
        for name in [
            "service",
            "client",
            "client_id",
            "method",
            "host",
            "path",
            "query",
            "status",
            "reason",
            "target",
            "retries",
        ] {
            let text = line(&with(&[(name, json!(nasty))]));
            assert!(text.contains(escaped), "{name}: {text}");
        }
        for kind in ["exchange", "handshake", "audit", "notice", nasty] {
            for name in [
                "time",
                "sni",
                "reason",
                "detail",
                "action",
                "result",
                "actor",
                "dropped",
                "dropped_error",
                "closed_by",
                "headers",
            ] {
                let mut record = json!({"kind": kind, "reason": "a"});
                record[name] = json!(nasty);
                let text = line(&record);
                assert!(!text.chars().any(is_unsafe), "{kind} {name}: {text:?}");
            }
        }
    }

    #[test]
    fn a_name_cannot_pass_for_what_follows_it() {
        for name in ["host", "path", "query"] {
            let text = line(&with(&[(name, json!("x → y"))]));
            assert!(text.contains(r"x\x20→\x20y"), "{name}: {text}");
        }
    }
}
