//! `--trace-header-file`: fields that are sent along with every export.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Reads one `Name: value` a line; empty lines and lines that begin with `#` are none. What is wrong is told by its line, because a
/// value is a secret.
///
/// # Errors
/// The first mistake.
pub(crate) fn parse(bytes: &[u8]) -> Result<HeaderMap, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not text (UTF-8)".to_owned())?;
    let mut fields = HeaderMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = field(line).map_err(|why| format!("line {}: {why}", number + 1))?;
        fields.append(name, value);
    }
    // As a file is for a moment that is written in place.
    if fields.is_empty() {
        return Err("there is no field in it".to_owned());
    }
    Ok(fields)
}

fn field(line: &str) -> Result<(HeaderName, HeaderValue), &'static str> {
    let (name, value) = line
        .split_once(':')
        .ok_or("it is no field like `Authorization: Bearer …`")?;
    let name: HeaderName = name
        .parse()
        .map_err(|_| "what is before the colon is not the name of a field")?;
    if OURS.contains(&name) {
        return Err("this field is the exporter's own");
    }
    let mut value: HeaderValue = value
        .trim()
        .parse()
        .map_err(|_| "the value has characters that no field may have")?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// What frames a message, and what says what it is.
static OURS: [HeaderName; 10] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::EXPECT,
    header::TE,
    header::TRAILER,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stand_one_a_line() {
        let text = "# for the collector\r\n\r\nAuthorization: Bearer a:b\r\nX-Scope-OrgID:shop\n";
        let fields = parse(text.as_bytes()).unwrap();
        assert_eq!(fields["authorization"], "Bearer a:b");
        assert!(fields["authorization"].is_sensitive());
        assert_eq!(fields["x-scope-orgid"], "shop");
        assert_eq!(fields.len(), 2);
    }

    #[test]
    fn a_mistake_is_told_by_its_line_and_not_by_what_it_says() {
        for (text, part) in [
            ("A: b\ns3cret", "line 2: it is no field"),
            ("s3 cret: b", "line 1: what is before the colon"),
            ("A: s3cret\u{1}", "line 1: the value"),
            ("Content-Length: 5", "line 1: this field is the exporter's"),
            ("host: s3cret", "line 1: this field is the exporter's"),
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(part) && !error.contains("s3"), "{error}");
        }
        assert!(parse(&[0xff]).is_err());
    }
}
