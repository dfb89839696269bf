//! `If-Match`: a change that expects what is changed to be as it was when somebody looked (RFC 9110, section 13.1.1).

use http::{HeaderMap, header};

/// The condition of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IfMatch(
    /// The entity tags, or none where nothing is expected.
    Option<Vec<String>>,
);

impl IfMatch {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let fields = headers.get_all(header::IF_MATCH);
        let mut tags = Vec::new();
        for field in &fields {
            let field = String::from_utf8_lossy(field.as_bytes());
            tags.extend(field.split(',').map(|tag| tag.trim().to_owned()));
        }
        let is_any = tags.is_empty() || tags.iter().any(|tag| tag == "*");
        Self((!is_any).then_some(tags))
    }

    /// Whether what has this entity tag may be changed. A weak tag matches nothing, as the comparison is the strong one.
    pub fn admits(&self, tag: &str) -> bool {
        self.0
            .as_ref()
            .is_none_or(|tags| tags.iter().any(|expected| expected == tag))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn admits(fields: &[&'static str], tag: &str) -> bool {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(header::IF_MATCH, HeaderValue::from_static(field));
        }
        IfMatch::of(&headers).admits(tag)
    }

    #[test]
    fn only_a_strong_tag_that_is_named_matches() {
        assert!(admits(&[], "\"1\""));
        assert!(admits(&["*"], "\"1\""));
        assert!(admits(&["\"1\""], "\"1\""));
        assert!(admits(&["\"0\", \"1\""], "\"1\""));
        assert!(admits(&["\"0\"", "\"1\""], "\"1\""));
        assert!(!admits(&["\"0\""], "\"1\""));
        assert!(!admits(&["W/\"1\""], "\"1\""));
        assert!(!admits(&["1"], "\"1\""));
        assert!(!admits(&[""], "\"1\""));
    }
}
