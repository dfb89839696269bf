//! `--fix-redirects`: an application that does not know of TLS sends its clients back to http, and its cookies in clear.

use http::header::{CONTENT_LOCATION, LOCATION, REFRESH, SET_COOKIE};
use http::{HeaderMap, HeaderValue};

/// Rewrites `http://` to `https://` where a redirect leads to the very authority that the client has asked for, and adds
/// `Secure` to cookies.
pub(crate) fn fix_redirects(headers: &mut HeaderMap, host: &HeaderValue) {
    let Ok(host) = host.to_str() else { return };
    for (name, value) in headers.iter_mut() {
        let fixed = if *name == LOCATION || *name == CONTENT_LOCATION {
            value.to_str().ok().and_then(|text| secured(text, host))
        } else if *name == REFRESH {
            value.to_str().ok().and_then(|text| refresh(text, host))
        } else if *name == SET_COOKIE {
            cookie(value.as_bytes())
        } else {
            None
        };
        // Made of a valid value and visible ASCII, it is valid.
        if let Some(fixed) = fixed.and_then(|fixed| HeaderValue::from_bytes(&fixed).ok()) {
            *value = fixed;
        }
    }
}

/// The same place on https.
fn secured(location: &str, host: &str) -> Option<Vec<u8>> {
    let (scheme, rest) = location.split_at_checked(7)?;
    if !scheme.eq_ignore_ascii_case("http://") {
        return None;
    }
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    // Port 80 is what http means without one.
    let without_port = authority.strip_suffix(":80").unwrap_or(authority);
    let is_ours = authority.eq_ignore_ascii_case(host) || without_port.eq_ignore_ascii_case(host);
    is_ours.then(|| format!("https://{host}{path}").into_bytes())
}

/// `5; url=http://…`, as browsers read it: the address perhaps in quotes.
fn refresh(value: &str, host: &str) -> Option<Vec<u8>> {
    let at = value.to_ascii_lowercase().find("url=")? + 4;
    let (before, url) = value.split_at_checked(at)?;
    let bare = url.trim_start_matches(['"', '\'', ' ']);
    let quotes = &url[..url.len() - bare.len()];
    let fixed = secured(bare, host)?;
    Some([before.as_bytes(), quotes.as_bytes(), &fixed].concat())
}

fn cookie(value: &[u8]) -> Option<Vec<u8>> {
    let mut attributes = value.split(|byte| *byte == b';').skip(1);
    let is_secure = attributes.any(|one| one.trim_ascii().eq_ignore_ascii_case(b"secure"));
    (!is_secure).then(|| [value, b"; Secure"].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(name: &'static str, value: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        fix_redirects(&mut headers, &HeaderValue::from_static("app.example:8443"));
        headers[name].to_str().unwrap().to_owned()
    }

    #[test]
    fn only_this_very_authority_is_rewritten() {
        for (from, to) in [
            (
                "http://app.example:8443/a?b#c",
                "https://app.example:8443/a?b#c",
            ),
            ("HTTP://App.Example:8443", "https://app.example:8443"),
            ("http://app.example:8443?x", "https://app.example:8443?x"),
        ] {
            assert_eq!(fixed("location", from), to);
        }
        for untouched in [
            "/relative",
            "https://app.example:8443/",
            "http://app.example/",
            "http://app.example:8443.evil.test/",
            "http://app.example:8443@evil.test/",
            "http://user@app.example:8443/",
            "http://other.example/?http://app.example:8443/",
            "ftp://app.example:8443/",
            "",
        ] {
            assert_eq!(fixed("location", untouched), untouched);
        }
    }

    #[test]
    fn the_default_port_may_be_named() {
        let mut headers = HeaderMap::new();
        headers.insert(
            LOCATION,
            HeaderValue::from_static("http://app.example:80/x"),
        );
        fix_redirects(&mut headers, &HeaderValue::from_static("app.example"));
        assert_eq!(headers[LOCATION], "https://app.example/x");
    }

    #[test]
    fn a_refresh_and_a_cookie_are_fixed_in_their_own_syntax() {
        let (from, to) = (
            "5; URL='http://app.example:8443/x'",
            "5; URL='https://app.example:8443/x'",
        );
        assert_eq!(fixed("refresh", from), to);
        assert_eq!(fixed("refresh", "5"), "5");
        assert_eq!(fixed("set-cookie", "a=b; Path=/"), "a=b; Path=/; Secure");
        assert_eq!(fixed("set-cookie", "a=secure"), "a=secure; Secure");
        assert_eq!(fixed("set-cookie", "a=b;secure"), "a=b;secure");
    }
}
