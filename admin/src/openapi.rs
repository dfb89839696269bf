//! `GET /openapi.json`: the plane as a document. It is made from what the handlers say of themselves; what the door may
//! answer to any of them is added here.

use std::sync::Arc;

use axum::Extension;
use axum::response::{IntoResponse, Response};
use http::header;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, ResponseBuilder,
};

use crate::guard::{HEALTH, PAGE};

/// The document as it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Document(Arc<str>);

/// This document
#[utoipa::path(get, path = "/openapi.json", operation_id = "openapi", tag = "operation", responses(
    (status = 200, description = "OpenAPI 3.1", body = Object),
))]
pub(crate) async fn show(Extension(document): Extension<Document>) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, document.0.to_string()).into_response()
}

/// What the document says of the whole.
pub(crate) fn frame() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Portcullis: admin plane")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .build();
    OpenApiBuilder::new().info(info).build()
}

impl Document {
    /// The handlers' document, with what is true for all of them.
    pub(crate) fn new(mut document: OpenApi, needs_token: bool) -> Self {
        for (path, item) in &mut document.paths.paths {
            let is_about_health = HEALTH.contains(&path.as_str());
            let asks_for_token = needs_token && !is_about_health && path != PAGE;
            let operations = [
                &mut item.get,
                &mut item.put,
                &mut item.post,
                &mut item.delete,
            ];
            for operation in operations.into_iter().flatten() {
                for (status, description) in AT_THE_DOOR {
                    let may_be = match status {
                        "401" => asks_for_token,
                        "429" => !is_about_health,
                        _ => true,
                    };
                    if may_be {
                        add(operation, status, description);
                    }
                }
                if asks_for_token {
                    let nothing: [&str; 0] = [];
                    operation.security = Some(vec![SecurityRequirement::new("token", nothing)]);
                }
            }
        }
        if needs_token {
            let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
            let components = document.components.get_or_insert_default();
            components.add_security_scheme("token", scheme);
        }
        // What a document cannot say is not said at all.
        Self(document.to_json().unwrap_or_default().into())
    }
}

fn add(operation: &mut Operation, status: &str, description: &str) {
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Problem")))
        .build();
    let response = ResponseBuilder::new()
        .description(description)
        .content("application/problem+json", content)
        .build();
    let responses = &mut operation.responses.responses;
    responses.insert(status.to_owned(), RefOr::T(response));
}

/// What the door answers whatever was asked.
const AT_THE_DOOR: [(&str, &str); 3] = [
    (
        "401",
        "No token, or a wrong one; `token_missing`, `token_wrong`",
    ),
    (
        "403",
        "A foreign Host or Origin (`cross_site`), or a token that may only read (`scope`)",
    ),
    ("429", "More than one client may ask for; `too_many`"),
];

const ABOUT: &str = "What an operator may ask and change while the sidecar runs. Every error is a problem document (RFC 9457). \
A request needs a Host that is an address, localhost or a name of --admin-host, and no foreign Origin.";

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use http::Request;
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;
    use serde_json::Value;

    use crate::fakes::{History, access, access_with, handles};
    use crate::guard::Access;

    async fn document(access: std::sync::Arc<Access>, token: &str) -> Value {
        let router = TowerToHyperService::new(crate::admin(handles(History::of(1)), access));
        let request = Request::get("/openapi.json")
            .header("host", "localhost")
            .header("authorization", format!("Bearer {token}"))
            .body(Body::empty())
            .unwrap();
        let answer = router.call(request).await.unwrap();
        let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    #[tokio::test]
    async fn every_operation_says_what_the_door_may_answer() {
        let token = "0123456789abcdef";
        let open = document(access(), "").await;
        let guarded = document(access_with(token), token).await;
        assert_eq!(
            open["openapi"].as_str().map(|version| &version[..3]),
            Some("3.1")
        );
        let mut operations = 0;
        for (path, item) in open["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                operations += 1;
                let twin = &guarded["paths"][path][method];
                let is_about_health = super::HEALTH.contains(&path.as_str());
                let is_open = is_about_health || path == super::PAGE;
                let has =
                    |operation: &Value, status: &str| operation["responses"][status].is_object();
                assert!(has(operation, "403"), "{method} {path}");
                assert!(!has(operation, "401"), "{method} {path}");
                assert_eq!(has(operation, "429"), !is_about_health, "{method} {path}");
                assert_eq!(has(twin, "401"), !is_open, "{method} {path}");
                assert_eq!(
                    twin["security"][0]["token"].is_array(),
                    !is_open,
                    "{method} {path}"
                );
            }
        }
        assert!(operations >= 19, "only {operations} operations");
    }
}
