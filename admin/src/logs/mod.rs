//! `GET /logs`: the recent records, filtered here so that a request pays nothing for the filters.

mod asked;
mod filter;
mod follow;
mod form;
mod recent;
mod schema;

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};

pub(crate) use self::asked::most;
use self::asked::{Asked, Parameters};
use self::form::Form;
use self::schema::Record;
use crate::accept::Accept;
use crate::handles::{Handles, Records};
use crate::problem::Problem;
use crate::server::Slot;

/// The recent records
///
/// Newest first, as an array or, where `Accept` asks for it, as lines. With `follow` what there is comes oldest first and then what
/// comes, as lines or as server-sent events.
#[utoipa::path(get, path = "/logs", operation_id = "logs", tag = "records", params(Parameters), responses(
    (status = 200, description = "Records", content((Vec<Record> = "application/json"), (String = "application/x-ndjson"), (String = "text/event-stream"))),
    (status = 400, description = "A parameter that there is not, or a bad value", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "All places for followers are taken (`too_many_followers`), or too much is being sent to others (`too_many_answers`)", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn show(
    State(handles): State<Handles>,
    slot: Option<Extension<Slot>>,
    headers: HeaderMap,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(parameters) = parameters.map_err(|error| Problem::bad_query(&error))?;
    let mut asked = Asked::new(&parameters)?;
    let accept = Accept::of(&headers);
    handles.records.settle().await;
    let slot = slot.map(|Extension(slot)| slot);
    if !asked.follow {
        return recent::answer(&*handles.records, &asked, &accept, slot.as_ref()).await;
    }
    let form = Form::of(&accept);
    if form == Form::Events {
        asked.go_on_after(headers.get("last-event-id"));
    }
    // Without our own accept loop there is nothing that a follower could take from others.
    let following = match slot {
        Some(slot) => Some(slot.follow().ok_or_else(too_many_followers)?),
        None => None,
    };
    Ok(follow::start(handles.records, asked, form, following).await)
}

fn too_many_followers() -> Problem {
    let detail =
        "all places for followers are taken; GET /logs without follow shows the same records";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).reason("too_many_followers")
}

/// All records after this place, oldest first, and how far that goes.
fn all_after(records: &dyn Records, mut place: u64) -> (Vec<Arc<[u8]>>, u64) {
    let mut lines = Vec::new();
    loop {
        let passage = records.after(place, SOME);
        place = passage.place;
        if passage.lines.is_empty() {
            return (lines, place);
        }
        lines.extend(passage.lines);
    }
}

/// Records that are asked for at once.
const SOME: usize = 500;

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use axum::response::IntoResponse;
    use http::{HeaderValue, Uri, header};
    use serde_json::Value;

    use super::*;
    use crate::fakes::{History, handles, id};

    /// Number 7 has no id, because it is a notice.
    const KNOWN: [&str; 7] = [
        r#"{"kind":"exchange","id":"01993c00-0000-7000-8000-000000000001","time":"2026-11-23T10:00:00.000000Z","client":"192.0.2.1","client_id":"CN=shop, O=\"Ä\"","method":"GET","host":"a","path":"/a/1","status":200,"reason":"","duration_ms":1.250}"#,
        r#"{"kind":"exchange","id":"01993c00-0000-7000-8000-000000000002","time":"2026-11-23T10:00:00.500000Z","client":"::ffff:192.0.2.1","method":"POST","host":"a","path":"/a/\"2\"","headers":{"status":"500","kind":"audit"},"status":502,"reason":"upstream_refused","duration_ms":2500.000}"#,
        r#"{"kind":"exchange","id":"01993c00-0000-7000-8000-000000000003","time":"2026-11-23T10:00:01.000000Z","client":"2001:db8::7","client_id":"2001:db8::1","method":"get","host":"a","path":"/b","status":null,"reason":"client_gone","duration_ms":0.900}"#,
        r#"{"kind":"handshake","id":"01993c00-0000-7000-8000-000000000004","time":"2026-11-23T10:00:01.100000Z","client":"2001:db8::1","reason":"not_tls","detail":"status 502","duration_ms":3.000,"status":null}"#,
        r#"{"kind":"exchange","id":"01993c00-0000-7000-8000-000000000005","time":"2026-11-23T10:00:02.000000Z","client":"192.0.2.9","method":"GET","host":"a","path":"/A/1","status":404,"reason":"","duration_ms":250.000}"#,
        r#"{"kind":"audit","id":"01993c00-0000-7000-8000-000000000006","time":"2026-11-23T10:00:03.000000Z","action":"target_change","result":"ok"}"#,
        r#"{"kind":"notice","time":"2026-11-23T10:00:04.000000Z","reason":"log_queue_full","dropped":3}"#,
    ];

    async fn ask(records: Arc<dyn Records>, query: &str, accept: &'static str) -> Response {
        let uri: Uri = format!("/logs?{query}").parse().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        let parameters = Query::try_from_uri(&uri);
        show(State(handles(records)), None, headers, parameters)
            .await
            .into_response()
    }

    async fn text(response: Response) -> String {
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    }

    fn history() -> Arc<History> {
        let history = History::of(100);
        KNOWN.iter().for_each(|line| history.push(line));
        history
    }

    /// The last digits of the ids shown; 7 where there is none.
    async fn shown(query: &str) -> Vec<u64> {
        let text = text(ask(history(), query, "*/*").await).await;
        let records: Vec<Value> = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
        let number = |record: &Value| match record["id"].as_str() {
            Some(id) => id[24..].parse().unwrap(),
            None => 7,
        };
        records.iter().map(number).collect()
    }

    #[tokio::test]
    async fn every_filter_shows_what_it_says_of_a_known_history() {
        for (query, wanted) in [
            ("", &[7, 6, 5, 4, 3, 2, 1][..]),
            ("limit=2", &[7, 6]),
            ("limit=0", &[]),
            ("limit=0&status=5xx", &[]),
            ("status=502", &[2]),
            ("status=5xx", &[2]),
            ("status=4XX", &[5]),
            ("status=none", &[4, 3]),
            ("status=301", &[]),
            ("method=GET", &[5, 3, 1]),
            ("method=post", &[2]),
            ("path=/a/", &[2, 1]),
            ("path=/a/%222%22", &[2]),
            ("path=", &[5, 3, 2, 1]),
            ("min_ms=250", &[5, 2]),
            ("min_ms=250.001", &[2]),
            ("min_ms=0", &[5, 4, 3, 2, 1]),
            ("client=192.0.2.1", &[2, 1]),
            ("client=::ffff:192.0.2.1", &[2, 1]),
            ("client=2001:DB8:0::1", &[4]),
            ("client=2001:db8::1", &[4, 3]),
            ("client=CN%3Dshop,%20O%3D%22%C3%84%22", &[1]),
            ("client=CN%3Dshop", &[]),
            ("reason=upstream_refused", &[2]),
            ("reason=upstream", &[]),
            ("reason=", &[5, 1]),
            ("kind=exchange", &[5, 3, 2, 1]),
            ("kind=handshake", &[4]),
            ("kind=audit", &[6]),
            ("kind=notice", &[7]),
            ("kind=exchange&method=GET&limit=2", &[5, 3]),
            ("status=none&client=2001:db8::1&min_ms=3", &[4]),
            // The second one began before and was closed after; so was the fourth.
            ("since=2026-11-23T10:00:02Z", &[7, 6, 5, 2]),
            ("since=2026-11-23T11:00:03%2B01:00", &[7, 6, 2]),
            ("since=01993C00-0000-7000-8000-000000000004", &[7, 6, 5]),
            (
                "since=01993c00-0000-7000-8000-000000000001&path=/&limit=2",
                &[5, 3],
            ),
            // It is kept no more, so everything that is may be new.
            ("since=01993c00-0000-7000-8000-000000000099&limit=1", &[7]),
        ] {
            assert_eq!(shown(query).await, wanted, "{query}");
        }
    }

    #[tokio::test]
    async fn what_is_not_understood_is_refused_with_what_is_allowed() {
        for (query, hint) in [
            (
                "colour=red",
                "expected one of `limit`, `since`, `status`, `method`, `path`, `min_ms`, `client`, `reason`, `kind`, `follow`",
            ),
            ("limit=1&limit=2", "duplicate field `limit`"),
            ("limit=many", "limit=many is not a number of records"),
            ("limit=-1", "is not a number of records"),
            ("since=yesterday", "a time like"),
            (
                "status=teapot",
                "a code like 502, a class like 5xx, or none",
            ),
            ("status=099", "a code like"),
            ("status=+20", "a code like"),
            ("status=6xx", "a code like"),
            ("min_ms=fast", "a number of milliseconds"),
            ("min_ms=NaN", "a number of milliseconds"),
            ("min_ms=-1", "a number of milliseconds"),
            ("kind=Exchange", "exchange, handshake, audit or notice"),
            ("follow=yes", "true or false"),
            ("follow=true&status=teapot", "a code like"),
        ] {
            let response = ask(history(), query, "text/event-stream").await;
            assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{query}");
            assert_eq!(
                response.headers()[header::CONTENT_TYPE],
                "application/problem+json"
            );
            let text = text(response).await;
            assert!(text.contains(hint), "{query}: {text}");
        }
    }

    #[tokio::test]
    async fn an_array_is_the_rule_and_lines_are_sent_to_whoever_asks_for_them() {
        for (accept, kind, wanted) in [
            ("*/*", "application/json", "[\n"),
            (
                "application/json, application/x-ndjson;q=0.9",
                "application/json",
                "[\n",
            ),
            ("application/x-ndjson", "application/x-ndjson", KNOWN[6]),
        ] {
            let response = ask(history(), "", accept).await;
            assert_eq!(response.headers()[header::CONTENT_TYPE], kind);
            assert!(text(response).await.starts_with(wanted), "{accept}");
        }
        assert_eq!(text(ask(History::of(1), "", "*/*").await).await, "[\n]\n");
    }

    #[tokio::test]
    async fn a_long_history_is_filtered_whole() {
        let history = History::of(5000);
        history.push_exchanges(0..5000);
        let response = ask(history, "path=/49&method=GET", "application/x-ndjson").await;
        let text = text(response).await;
        assert_eq!(text.lines().count(), 111);
        assert!(text.contains(&id(49)) && text.contains(&id(4999)));
    }
}
