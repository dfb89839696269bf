//! The page as it is sent: the frame with style and script put into it, once, and what follows from their text.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use base64::engine::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;

/// The page.
pub(super) static DOCUMENT: LazyLock<Document> =
    LazyLock::new(|| Document::of(FRAME, STYLE, SCRIPT));

/// A page, and what is sent with it.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) text: String,
    /// `Content-Security-Policy`. The digests are made of what is sent, so that they cannot be those of an older text.
    pub(super) policy: HeaderValue,
    /// `ETag`.
    pub(super) tag: HeaderValue,
}

impl Document {
    fn of(frame: &str, style: &str, script: &str) -> Self {
        let text = frame
            .replacen(STYLE_PLACE, &format!("<style>{style}</style>"), 1)
            .replacen(SCRIPT_PLACE, &format!("<script>{script}</script>"), 1);
        let policy = format!(
            "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; {REST}",
            STANDARD.encode(digest(&SHA256, script.as_bytes())),
            STANDARD.encode(digest(&SHA256, style.as_bytes())),
        );
        // The policy is made of the text, so this stands for both.
        let version = digest(&SHA256, text.as_bytes());
        let version = &version.as_ref()[..16];
        let hex: String = version.iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            text,
            policy: field(&policy),
            tag: field(&format!("\"{hex}\"")),
        }
    }
}

/// Base64 and hex are fit for a field. If they were not, the page would be let do nothing.
fn field(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

const FRAME: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
/// One script: each file uses what those before it define.
const SCRIPT: &str = concat!(
    include_str!("script/text.js"),
    include_str!("script/plane.js"),
    include_str!("script/meter.js"),
    include_str!("script/chart.js"),
    include_str!("script/tail.js"),
    include_str!("script/target.js"),
    include_str!("script/certificates.js"),
    include_str!("script/overview.js"),
    include_str!("script/page.js"),
);
const STYLE_PLACE: &str = "<style></style>";
const SCRIPT_PLACE: &str = "<script></script>";
/// Nothing is loaded, framed, navigated to or made into script; the page talks to its own plane.
const REST: &str = "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
require-trusted-types-for 'script'; trusted-types 'none'";

#[cfg(test)]
mod tests {
    use super::*;

    /// What stands in the one element of this name.
    fn within<'a>(text: &'a str, element: &str) -> &'a str {
        let (open, close) = (format!("<{element}>"), format!("</{element}>"));
        assert_eq!(text.matches(&open).count(), 1, "{open}");
        assert_eq!(text.matches(&close).count(), 1, "{close}");
        let (_, rest) = text.split_once(&open).unwrap();
        rest.split_once(&close).unwrap().0
    }

    #[test]
    fn the_policy_lets_in_the_very_text_that_is_sent() {
        for (element, source) in [("style", STYLE), ("script", SCRIPT)] {
            let sent = within(&DOCUMENT.text, element);
            assert_eq!(sent, source);
            let hash = STANDARD.encode(digest(&SHA256, sent.as_bytes()));
            let allowed = format!("{element}-src 'sha256-{hash}'");
            let policy = DOCUMENT.policy.to_str().unwrap();
            assert!(policy.contains(&allowed), "{policy}");
        }
    }

    #[test]
    fn what_the_policy_would_block_is_not_there() {
        // Of the frame only: the script makes its elements by name.
        let lines = || FRAME.lines().chain(STYLE.lines());
        for forbidden in [
            "style=",
            "src=",
            "href=\"http",
            "javascript:",
            "@import",
            "url(",
        ] {
            let found = lines().find(|line| line.contains(forbidden));
            assert_eq!(found, None, "{forbidden}");
        }
        assert_eq!(lines().find(|line| has_handler(line)), None);
        for sink in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
        ] {
            assert!(!SCRIPT.contains(sink), "{sink}");
        }
    }

    /// An attribute like `onclick=`.
    fn has_handler(line: &str) -> bool {
        line.split(' ').any(|word| {
            let name = word.split('=').next().unwrap_or_default();
            word.contains('=')
                && name.starts_with("on")
                && name.bytes().all(|byte| byte.is_ascii_lowercase())
        })
    }

    #[test]
    fn another_text_is_another_version_under_another_policy() {
        let of = |script| Document::of("<style></style><script></script>", "a{}", script);
        let (one, other) = (of("1"), of("2"));
        assert!(one.tag != other.tag && one.policy != other.policy);
        assert_eq!((of("1").tag, of("1").policy), (one.tag, one.policy));
        assert_eq!(one.text, "<style>a{}</style><script>1</script>");
    }
}
