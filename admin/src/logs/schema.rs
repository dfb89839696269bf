//! What a record looks like, for the OpenAPI document: records come as lines that are finished already, and nobody here makes
//! them.

use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, SchemaFormat, Type};
use utoipa::openapi::{KnownFormat, RefOr, Schema};

/// What `since` takes.
pub(super) fn moment_or_id() -> RefOr<Schema> {
    let text = |format| {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(format))
    };
    OneOfBuilder::new()
        .item(text(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .item(text(SchemaFormat::Custom("uuid".to_owned())))
        .into()
}

/// The kind of a record.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "only its description is used")]
pub(super) enum Kind {
    /// A request and its response.
    Exchange,
    /// A handshake that failed.
    Handshake,
    /// Something was changed, or was refused.
    Audit,
    /// The log about itself.
    Notice,
}

/// A record. A field that is not known is absent.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its description is used")]
pub(super) struct Record {
    /// What it is about.
    kind: Kind,
    /// UUIDv7.
    id: Option<String>,
    /// When it began (RFC 3339).
    time: String,
    /// `--service-name`.
    service: Option<String>,
    /// The client's address.
    client: Option<String>,
    /// The method, as sent.
    method: Option<String>,
    /// The host that was asked for.
    host: Option<String>,
    /// The path, without its query.
    path: Option<String>,
    /// As sent to the client; null where none was.
    status: Option<u16>,
    /// Empty on success, else a stable word.
    reason: Option<String>,
    /// Body bytes of the request.
    bytes_in: Option<u64>,
    /// Body bytes of the response.
    bytes_out: Option<u64>,
    /// From the first byte of the request to the last of the response.
    duration_ms: Option<f64>,
    /// What was done, in an audit record.
    action: Option<String>,
    /// How that ended.
    result: Option<String>,
    /// Who did it.
    actor: Option<String>,
    /// The same in words.
    detail: Option<String>,
}
