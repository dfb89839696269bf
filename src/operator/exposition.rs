//! The text of `GET /metrics`, read: names, labels and values. A line that is none is skipped: what a later version says more
//! must not take away the rest.

use std::borrow::Cow;

/// One sample.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Metric<'a> {
    /// With its prefix and suffix.
    pub(super) name: &'a str,
    labels: Vec<(&'a str, Cow<'a, str>)>,
    pub(super) value: f64,
}

impl Metric<'_> {
    /// The value of a label; empty where there is none.
    pub(super) fn label(&self, name: &str) -> &str {
        let mut labels = self.labels.iter();
        let found = labels.find(|(known, _)| *known == name);
        found.map_or("", |(_, value)| value)
    }
}

/// All samples of a text.
pub(super) fn parse(text: &str) -> impl Iterator<Item = Metric<'_>> {
    text.lines().filter_map(metric)
}

fn metric(line: &str) -> Option<Metric<'_>> {
    let (name, rest) = word(line.trim_start());
    if name.is_empty() {
        return None;
    }
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    // A timestamp and an exemplar may follow.
    let value: f64 = rest.split_whitespace().next()?.parse().ok()?;
    // Nothing can be made of what has no end.
    if !value.is_finite() {
        return None;
    }
    Some(Metric {
        name,
        labels,
        value,
    })
}

/// Labels, and what comes after their bracket.
type Labels<'a> = (Vec<(&'a str, Cow<'a, str>)>, &'a str);

fn labels(mut rest: &str) -> Option<Labels<'_>> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', ',']);
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, after) = word(rest);
        let (value, after) = quoted(after.trim_start().strip_prefix('=')?.trim_start())?;
        if name.is_empty() {
            return None;
        }
        labels.push((name, value));
        rest = after;
    }
}

/// The letters that a name may have, and what comes after.
fn word(text: &str) -> (&str, &str) {
    let is_of_names = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | ':');
    let end = text.find(|letter| !is_of_names(letter));
    text.split_at(end.unwrap_or(text.len()))
}

/// A value in its quotes, without its escapes, and what comes after.
fn quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let text = text.strip_prefix('"')?;
    let end = text.find(['"', '\\'])?;
    let (plain, rest) = text.split_at(end);
    if let Some(rest) = rest.strip_prefix('"') {
        return Some((Cow::Borrowed(plain), rest));
    }
    let (mut value, mut letters) = (plain.to_owned(), rest.chars());
    loop {
        match letters.next()? {
            '"' => return Some((Cow::Owned(value), letters.as_str())),
            '\\' => value.push(match letters.next()? {
                'n' => '\n',
                letter => letter,
            }),
            letter => value.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(line: &str) -> Metric<'_> {
        let mut all = parse(line);
        let found = all.next().unwrap_or_else(|| panic!("{line}"));
        assert_eq!(all.next(), None);
        found
    }

    #[test]
    fn a_sample_has_a_name_labels_and_a_value() {
        let bare = only("up 1");
        assert_eq!((bare.name, bare.value, bare.label("code")), ("up", 1.0, ""));
        let labelled = only(r#"a:b_total{method="GET",code="200",reason=""} 1.5e3 1700000000"#);
        assert_eq!((labelled.name, labelled.value), ("a:b_total", 1500.0));
        let labels = ["method", "code", "reason"].map(|name| labelled.label(name));
        assert_eq!(labels, ["GET", "200", ""]);
        let spaced = only(r#"x{ a = "1" , b="2", } 3"#);
        assert_eq!((spaced.label("a"), spaced.label("b")), ("1", "2"));
        assert_eq!(only("x_bucket{le=\"+Inf\"} 3").label("le"), "+Inf");
    }

    #[test]
    fn escapes_in_values_are_undone_and_brackets_there_end_nothing() {
        let odd = only(r#"x{a="q\"b\\s\nn",b="}, {é"} 4"#);
        assert_eq!(odd.label("a"), "q\"b\\s\nn");
        assert_eq!(odd.label("b"), "}, {é");
        assert_eq!(odd.value, 4.0);
    }

    #[test]
    fn an_exemplar_is_no_part_of_the_sample() {
        let line = r#"x_bucket{le="0.5"} 7 # {trace_id="00ff"} 0.25 1700000000.000"#;
        assert_eq!(only(line).value, 7.0);
        assert_eq!(only(line).label("le"), "0.5");
    }

    #[test]
    fn what_is_no_sample_is_skipped() {
        let text = "# HELP x y\n# TYPE x counter\n\nx\nx{\nx{a} 1\nx{a=} 1\nx{a=\"1} 1\nx{=\"1\"} 1\nx{a=\"\\\nx y\nx NaN\nx +Inf\n\u{1b}[2J 1\n{} 1\nx 1\n# EOF\n";
        let all: Vec<_> = parse(text).collect();
        assert_eq!(all.len(), 1, "{all:?}");
        assert_eq!((all[0].name, all[0].value), ("x", 1.0));
    }
}
