//! A path with its query.

/// A path with its query.
#[derive(Debug)]
pub(super) struct Query(String);

impl Query {
    /// For `path`, without parameters.
    pub(super) fn new(path: &str) -> Self {
        Self(path.to_owned())
    }

    /// Adds a parameter.
    pub(super) fn add(&mut self, name: &str, value: &str) {
        self.0.push(if self.0.contains('?') { '&' } else { '?' });
        self.0.push_str(name);
        self.0.push('=');
        for byte in value.bytes() {
            match byte {
                b'-' | b'.' | b'_' | b'~' => self.0.push(char::from(byte)),
                _ if byte.is_ascii_alphanumeric() => self.0.push(char::from(byte)),
                _ => self.0.push_str(&format!("%{byte:02X}")),
            }
        }
    }

    /// As it goes into a request.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_can_hold_anything() {
        let mut query = Query::new("/logs");
        query.add("path", "/a b?&=#%é");
        query.add("since", "2026-11-23T00:00:00+01:00");
        assert_eq!(
            query.as_str(),
            "/logs?path=%2Fa%20b%3F%26%3D%23%25%C3%A9&since=2026-11-23T00%3A00%3A00%2B01%3A00"
        );
    }
}
