//! What is read of known requests, and what the application is told.

use http::HeaderValue;

use super::*;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

/// Trace, span and decision in short; `-` for what there is not.
fn said(fields: &[(&'static str, &str)]) -> String {
    let incoming = read(&headers(fields));
    let ids = incoming.parent.as_ref().map(|parent| {
        let mut buffer = [0; 32];
        let span = parent.span.hex();
        let span = super::super::text(&span);
        format!("{} {span}", parent.trace.hex_as_it_came(&mut buffer))
    });
    let decision = incoming.decision.map(|decision| format!("{decision:?}"));
    let or_nothing = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    format!("{} {}", or_nothing(ids), or_nothing(decision))
}

#[test]
fn a_traceparent_is_read_as_the_recommendation_says() {
    let whole = format!("{TRACE} {SPAN}");
    for (value, wanted) in [
        (format!("00-{TRACE}-{SPAN}-01"), format!("{whole} Keep")),
        (format!("00-{TRACE}-{SPAN}-00"), format!("{whole} Drop")),
        (format!("00-{TRACE}-{SPAN}-02"), format!("{whole} Drop")),
        (format!("00-{TRACE}-{SPAN}-ff"), format!("{whole} Keep")),
        (format!(" 00-{TRACE}-{SPAN}-01 "), format!("{whole} Keep")),
        // A later version may say more.
        (format!("cc-{TRACE}-{SPAN}-01"), format!("{whole} Keep")),
        (
            format!("cc-{TRACE}-{SPAN}-01-more"),
            format!("{whole} Keep"),
        ),
        (format!("cc-{TRACE}-{SPAN}-01.more"), "- -".to_owned()),
        (format!("00-{TRACE}-{SPAN}-01-more"), "- -".to_owned()),
        (format!("ff-{TRACE}-{SPAN}-01"), "- -".to_owned()),
        (format!("00-{}-{SPAN}-01", "0".repeat(32)), "- -".to_owned()),
        (
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            "- -".to_owned(),
        ),
        (
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            "- -".to_owned(),
        ),
        (format!("0-{TRACE}-{SPAN}-01"), "- -".to_owned()),
        (format!("00_{TRACE}_{SPAN}_01"), "- -".to_owned()),
        (format!("00-{TRACE}-{SPAN}-0g"), "- -".to_owned()),
        (format!("00-{TRACE}-{SPAN}"), "- -".to_owned()),
        ("\u{e9}".repeat(30), "- -".to_owned()),
        (String::new(), "- -".to_owned()),
    ] {
        assert_eq!(said(&[("traceparent", &value)]), wanted, "{value}");
    }
}

#[test]
fn of_two_traceparents_none_counts() {
    let one = format!("00-{TRACE}-{SPAN}-01");
    let fields = [("traceparent", &*one), ("traceparent", &one)];
    assert_eq!(said(&fields), "- -");
}

#[test]
fn b3_in_one_field_is_read_with_and_without_its_ends() {
    let short = &TRACE[16..];
    for (value, wanted) in [
        (format!("{TRACE}-{SPAN}-1"), format!("{TRACE} {SPAN} Keep")),
        (format!("{TRACE}-{SPAN}-0"), format!("{TRACE} {SPAN} Drop")),
        (format!("{TRACE}-{SPAN}-d"), format!("{TRACE} {SPAN} Debug")),
        (format!("{TRACE}-{SPAN}"), format!("{TRACE} {SPAN} -")),
        (format!("{short}-{SPAN}-1"), format!("{short} {SPAN} Keep")),
        (
            format!("{TRACE}-{SPAN}-1-{SPAN}"),
            format!("{TRACE} {SPAN} Keep"),
        ),
        ("0".to_owned(), "- Drop".to_owned()),
        ("1".to_owned(), "- Keep".to_owned()),
        ("d".to_owned(), "- Debug".to_owned()),
        (format!("{TRACE}-{SPAN}-2"), "- -".to_owned()),
        (format!("{TRACE}-{SPAN}-1-none"), "- -".to_owned()),
        (format!("{TRACE}-{SPAN}-1-{SPAN}-"), "- -".to_owned()),
        (format!("{TRACE}-"), "- -".to_owned()),
        (TRACE.to_owned(), "- -".to_owned()),
        (String::new(), "- -".to_owned()),
    ] {
        assert_eq!(said(&[("b3", &value)]), wanted, "{value}");
    }
}

#[test]
fn b3_in_several_fields_may_lack_some_of_them() {
    let ids = [("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN)];
    for (more, wanted) in [
        (&[][..], format!("{TRACE} {SPAN} -")),
        (&[("x-b3-sampled", "1")], format!("{TRACE} {SPAN} Keep")),
        (&[("x-b3-sampled", "false")], format!("{TRACE} {SPAN} Drop")),
        (&[("x-b3-sampled", "d")], format!("{TRACE} {SPAN} -")),
        (&[("x-b3-flags", "1")], format!("{TRACE} {SPAN} Debug")),
        (
            &[("x-b3-flags", "0"), ("x-b3-sampled", "0")],
            format!("{TRACE} {SPAN} Drop"),
        ),
        (&[("x-b3-spanid", SPAN)], "- -".to_owned()),
    ] {
        let fields: Vec<_> = ids.iter().chain(more).copied().collect();
        assert_eq!(said(&fields), wanted, "{more:?}");
    }
    assert_eq!(said(&[("x-b3-sampled", "0")]), "- Drop");
    assert_eq!(said(&[("x-b3-traceid", TRACE)]), "- -");
}

#[test]
fn the_first_format_that_is_understood_counts() {
    let (w3c, other) = (format!("00-{TRACE}-{SPAN}-00"), "a".repeat(16));
    let b3 = format!("{other}-{other}-1");
    let all = [("b3", &*b3), ("traceparent", &w3c), ("x-b3-flags", "1")];
    assert_eq!(said(&all), format!("{TRACE} {SPAN} Drop"));
    let broken = [("traceparent", "00-0"), ("b3", &*b3)];
    assert_eq!(said(&broken), format!("{other} {other} Keep"));
    let broken = [("b3", "?"), ("x-b3-sampled", "1")];
    assert_eq!(said(&broken), "- Keep");
}

fn told(came: &[(&'static str, &str)], formats: Formats, decision: Decision) -> Vec<String> {
    let mut headers = headers(came);
    let read = |text: &str| SpanId::read(text.as_bytes()).unwrap();
    let trace = TraceId::read(b"a3ce929d0e0e4736").unwrap();
    let out = Outgoing {
        trace,
        span: read("00000000000000a1"),
        parent: read("00000000000000a2"),
        decision,
        is_random: false,
    };
    write(
        &mut headers,
        formats,
        &out,
        came.contains(&("tracestate", "a=b")),
    );
    let fields = headers.iter();
    let mut fields: Vec<_> = fields
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    fields.sort();
    fields
}

#[test]
fn the_application_is_told_in_each_format_and_of_nothing_else() {
    let stale = [
        ("traceparent", "old"),
        ("tracestate", "x=y"),
        ("b3", "old"),
        ("x-b3-traceid", "old"),
        ("x-b3-flags", "1"),
        ("x-b3-sampled", "1"),
        ("accept", "*/*"),
    ];
    let none = Formats::default();
    let w3c = Formats { w3c: true, ..none };
    let short = "a3ce929d0e0e4736";
    assert_eq!(told(&stale, none, Decision::Keep), ["accept: */*"]);
    assert_eq!(
        told(&stale, w3c, Decision::Keep),
        [
            "accept: */*",
            "traceparent: 00-0000000000000000a3ce929d0e0e4736-00000000000000a1-01"
        ]
    );
    assert_eq!(
        told(&[("tracestate", "a=b")], w3c, Decision::Drop),
        [
            "traceparent: 00-0000000000000000a3ce929d0e0e4736-00000000000000a1-00",
            "tracestate: a=b"
        ]
    );
    let b3 = Formats { b3: true, ..none };
    for (decision, word) in [
        (Decision::Drop, "0"),
        (Decision::Keep, "1"),
        (Decision::Debug, "d"),
    ] {
        let wanted = format!("b3: {short}-00000000000000a1-{word}-00000000000000a2");
        assert_eq!(told(&[], b3, decision), [wanted]);
    }
    let several = Formats {
        b3_multi: true,
        ..none
    };
    for (decision, field) in [
        (Decision::Drop, "x-b3-sampled: 0"),
        (Decision::Keep, "x-b3-sampled: 1"),
        (Decision::Debug, "x-b3-flags: 1"),
    ] {
        let mut wanted = vec![
            field.to_owned(),
            "x-b3-parentspanid: 00000000000000a2".to_owned(),
            "x-b3-spanid: 00000000000000a1".to_owned(),
            format!("x-b3-traceid: {short}"),
        ];
        wanted.sort();
        assert_eq!(told(&[], several, decision), wanted);
    }
}

#[test]
fn the_state_of_several_fields_is_one_list() {
    let parent = format!("00-{TRACE}-{SPAN}-01");
    let fields = [
        ("traceparent", &*parent),
        ("tracestate", "a=1"),
        ("tracestate", "b=2"),
    ];
    let state = |fields: &[(&'static str, &str)]| read(&headers(fields)).parent.unwrap().state;
    assert_eq!(state(&fields).as_deref(), Some("a=1,b=2"));
    let long = "x".repeat(513);
    assert_eq!(state(&[fields[0], ("tracestate", &long)]), None);
    assert_eq!(state(&[fields[0], ("tracestate", "\u{e9}")]), None);
}
