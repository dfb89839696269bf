//! What collectors get.

use super::*;

#[tokio::test]
async fn otlp_is_what_its_own_messages_say() {
    let collector = Collector::otlp().await;
    let (exporter, lane) = exporter(&traces(Format::Otlp, &collector.url()), QUICK);
    lane.put(span(1));
    lane.put(failed_call(2));
    let [server, client] = exporter.beside(collector.until("both", two)).await;
    assert_eq!(
        (&*server.trace, &*server.id),
        (&*"a0".repeat(16), &*"01".repeat(8))
    );
    assert_eq!(server.parent, Some("b0".repeat(8)));
    assert_eq!(
        (&*server.kind, &*server.name, &*server.service),
        ("SERVER", "GET", "shop")
    );
    assert_eq!(
        (server.started, server.took),
        (1_700_000_000_123_456_000, 2_500_000)
    );
    assert_eq!((server.flags, &*server.state), (0x301, "rojo=1"));
    assert_eq!(server.error, None);
    let tags: Vec<_> = server
        .tags
        .iter()
        .map(|(name, text)| (&**name, &**text))
        .collect();
    assert_eq!(
        tags,
        [
            ("http.request.method", "GET"),
            ("http.response.status_code", "200"),
            ("network.peer.address", "::ffff:10.0.0.7"),
            ("network.peer.port", "4711"),
            ("tls.resumed", "true"),
        ]
    );
    assert_eq!(
        (&*client.kind, client.parent, client.flags),
        ("CLIENT", None, 0x101)
    );
    assert_eq!(
        client.trace,
        format!("{}{}", "00".repeat(8), "09".repeat(8))
    );
    assert_eq!(client.error.as_deref(), Some("upstream_refused"));
    let export = &collector.exports()[0];
    assert_eq!(export.field("user-agent"), Some(AGENT));
    assert_eq!(
        export.field("host"),
        collector.url().strip_prefix("http://")
    );
}

#[tokio::test]
async fn zipkin_joins_short_traces_and_knows_the_other_side() {
    let collector = Collector::zipkin().await;
    let (exporter, lane) = exporter(&traces(Format::Zipkin, &collector.url()), QUICK);
    lane.put(span(1));
    lane.put(failed_call(2));
    let [server, client] = exporter.beside(collector.until("both", two)).await;
    assert_eq!(
        (&*server.trace, &*server.id),
        (&*"a0".repeat(16), &*"01".repeat(8))
    );
    assert_eq!(server.parent, Some("b0".repeat(8)));
    assert_eq!(
        (&*server.kind, &*server.name, &*server.service),
        ("SERVER", "GET", "shop")
    );
    assert_eq!(
        (server.started, server.took),
        (1_700_000_000_123_456_000, 2_500_000)
    );
    assert_eq!(server.remote, json!({ "ipv4": "10.0.0.7", "port": 4711 }));
    assert_eq!(server.tags["http.response.status_code"], "200");
    assert_eq!(server.error, None);
    assert_eq!((&*client.kind, &client.parent), ("CLIENT", &None));
    assert_eq!(client.trace, "09".repeat(8));
    // Zero would be "not known".
    assert_eq!(client.took, 1000);
    assert_eq!(
        (&client.remote, client.error.as_deref()),
        (&json!(null), Some("upstream_refused"))
    );
}

#[tokio::test]
async fn many_spans_go_in_batches_over_one_connection() {
    let collector = Collector::otlp().await;
    let (exporter, lane) = exporter(&traces(Format::Otlp, &collector.url()), QUICK);
    for _ in 0..1200 {
        lane.put(span(1));
    }
    counted(
        &exporter,
        Counts {
            exported: 1200,
            ..Counts::default()
        },
    )
    .await;
    assert_eq!(collector.spans().len(), 1200);
    assert_eq!((collector.exports().len(), collector.connections()), (3, 1));
}
