//! `GET /`: a page for people. One document with its style and script inside, which asks the same plane for everything it
//! shows. It is the same for everybody and holds nothing, so it needs no token.

mod document;

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use self::document::DOCUMENT;

/// A page for people
///
/// Requests as they come, rates, latencies, certificates and the target, and what can be changed. It loads nothing else, and
/// needs no token itself: where the plane does, it asks for one.
#[utoipa::path(get, path = "/", operation_id = "page", tag = "operation", responses(
    (status = 200, description = "The page", content((String = "text/html")), headers(("etag", description = "For If-None-Match"))),
    (status = 304, description = "The page is the one of If-None-Match"),
))]
pub(crate) async fn show(headers: HeaderMap) -> Response {
    let document = &*DOCUMENT;
    let mut response = if is_known(&headers, document.tag.as_bytes()) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let kind = HeaderValue::from_static("text/html; charset=utf-8");
        ([(header::CONTENT_TYPE, kind)], &*document.text).into_response()
    };
    let fields = response.headers_mut();
    for (name, value) in FIELDS {
        fields.insert(name, HeaderValue::from_static(value));
    }
    fields.insert(header::CONTENT_SECURITY_POLICY, document.policy.clone());
    fields.insert(header::ETAG, document.tag.clone());
    response
}

/// Whether the client has this version already. The comparison is the weak one (RFC 9110, section 13.1.2).
fn is_known(headers: &HeaderMap, tag: &[u8]) -> bool {
    let fields = headers.get_all(header::IF_NONE_MATCH).iter();
    fields
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(','))
        .map(|known| known.trim().trim_start_matches("W/"))
        .any(|known| known == "*" || known.as_bytes() == tag)
}

/// What goes with the page, beside its policy and its tag.
const FIELDS: [(HeaderName, &str); 7] = [
    // Asked for again each time, so that a new version of the sidecar shows its own page.
    (header::CACHE_CONTROL, "no-cache"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
];

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::body::{Body, to_bytes};
    use http::Request;
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;

    use super::*;
    use crate::fakes::{History, access, access_with, handles};
    use crate::guard::Access;

    async fn ask(
        access: Arc<Access>,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
    ) -> (u16, HeaderMap, String) {
        let router = TowerToHyperService::new(crate::admin(handles(History::of(1)), access));
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in [("host", "localhost")].iter().chain(fields) {
            request = request.header(*name, *value);
        }
        let answer = router.call(request.body(Body::empty()).unwrap()).await;
        let (head, body) = answer.unwrap().into_parts();
        let body = to_bytes(body, 1 << 20).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        (head.status.as_u16(), head.headers, body)
    }

    #[tokio::test]
    async fn the_page_is_one_small_document_under_a_policy_that_lets_nothing_else_in() {
        let (status, headers, body) = ask(access(), "GET", "/", &[]).await;
        assert_eq!(status, 200);
        assert_eq!(headers[header::CONTENT_TYPE], "text/html; charset=utf-8");
        assert!(body.starts_with("<!doctype html>"), "{:.100}", body);
        assert!(body.len() < 84_000, "{} bytes", body.len());
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"));
        assert!(
            !policy.contains("unsafe") && !policy.contains("http"),
            "{policy}"
        );
        assert_eq!(headers[header::CACHE_CONTROL], "no-cache");
        assert_eq!(headers[header::REFERRER_POLICY], "no-referrer");
        assert_eq!(headers["cross-origin-opener-policy"], "same-origin");
        assert_eq!(headers["cross-origin-resource-policy"], "same-origin");
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    }

    #[tokio::test]
    async fn a_browser_that_has_this_version_is_not_sent_it_again() {
        let (_, headers, _) = ask(access(), "GET", "/", &[]).await;
        let tag = headers[header::ETAG].to_str().unwrap();
        for known in [tag, "*", &format!("W/{tag}"), &format!("\"other\", {tag}")] {
            let fields = [("if-none-match", known)];
            let (status, headers, body) = ask(access(), "GET", "/", &fields).await;
            assert_eq!((status, &*body), (304, ""), "{known}");
            assert_eq!(headers[header::ETAG], tag);
        }
        let fields = [("if-none-match", "\"of another version\"")];
        let (status, _, body) = ask(access(), "GET", "/", &fields).await;
        assert!(status == 200 && !body.is_empty());
    }

    #[tokio::test]
    async fn a_head_has_the_fields_and_no_body() {
        let (_, wanted, _) = ask(access(), "GET", "/", &[]).await;
        let (status, headers, body) = ask(access(), "HEAD", "/", &[]).await;
        assert_eq!((status, &*body), (200, ""));
        for name in [header::CONTENT_SECURITY_POLICY, header::ETAG] {
            assert_eq!(headers[&name], wanted[&name]);
        }
    }

    #[tokio::test]
    async fn the_page_needs_no_token_and_everything_that_it_asks_for_does() {
        let guarded = || access_with("0123456789abcdef");
        let (status, _, _) = ask(guarded(), "GET", "/", &[]).await;
        assert_eq!(status, 200);
        for (method, path) in [
            ("GET", "/status"),
            ("GET", "/metrics"),
            ("GET", "/logs"),
            ("GET", "//"),
            ("GET", "/?/status"),
            ("POST", "/"),
            ("DELETE", "/"),
        ] {
            let (status, headers, _) = ask(guarded(), method, path, &[]).await;
            let is_the_page = path.starts_with("/?") && method == "GET";
            assert_eq!(
                status,
                if is_the_page { 200 } else { 401 },
                "{method} {path}"
            );
            assert!(is_the_page || headers.contains_key(header::WWW_AUTHENTICATE));
        }
        for fields in [
            [("sec-fetch-site", "cross-site")],
            [("origin", "http://evil.example")],
        ] {
            let (status, _, _) = ask(guarded(), "GET", "/", &fields).await;
            assert_eq!(status, 403, "{fields:?}");
        }
    }

    #[tokio::test]
    async fn the_probe_plane_has_no_page() {
        let router = crate::probe(handles(History::of(1)), access());
        let request = Request::get("/").body(Body::empty()).unwrap();
        let answer = TowerToHyperService::new(router).call(request).await;
        assert_eq!(answer.unwrap().status().as_u16(), 404);
    }
}
