//! Files that are read again.

use super::*;

/// A CA, and a certificate of it for the loopback with its key, PEM.
fn pki() -> [String; 3] {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let (ca_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&ca_key).unwrap();
    let issuer = Issuer::new(params, ca_key);
    let leaf = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    [ca.pem(), leaf.pem(), key.serialize_pem()]
}

#[tokio::test]
async fn a_collector_is_known_by_its_ca_which_may_change() {
    let ([right, certificate, key], [wrong, ..]) = (pki(), pki());
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.crt");
    std::fs::write(&ca, wrong).unwrap();
    let collector = Collector::otlp_over_tls(&certificate, &key).await;
    let traces = Traces {
        ca: Some(Authorities::File(ca.clone())),
        ..traces(Format::Otlp, &collector.url())
    };
    let (exporter, lane) = exporter(&traces, QUICK);
    lane.put(span(1));
    counted(
        &exporter,
        Counts {
            failed: 1,
            ..Counts::default()
        },
    )
    .await;
    let why = exporter.standing().last_error.unwrap();
    assert!(
        why.contains("(give the CA of its certificate by --trace-ca)"),
        "{why}"
    );
    std::fs::write(&ca, right).unwrap();
    lane.put(span(2));
    counted(
        &exporter,
        Counts {
            failed: 1,
            exported: 1,
            ..Counts::default()
        },
    )
    .await;
    // What is there no more is not forgotten; a connection of its own shows it.
    std::fs::remove_file(&ca).unwrap();
    collector.becomes(Mode::Closing);
    for exported in [2, 3] {
        lane.put(span(3));
        counted(
            &exporter,
            Counts {
                failed: 1,
                exported,
                ..Counts::default()
            },
        )
        .await;
    }
}

#[tokio::test]
async fn fields_are_read_again_for_each_batch() {
    let folder = tempfile::tempdir().unwrap();
    let file: PathBuf = folder.path().join("headers");
    let collector = Collector::otlp().await;
    let traces = Traces {
        header_file: Some(file.clone()),
        ..traces(Format::Otlp, &collector.url())
    };
    let (exporter, lane) = exporter(&traces, QUICK);
    // Nothing goes out without what it is to go with.
    lane.put(span(1));
    counted(
        &exporter,
        Counts {
            failed: 1,
            ..Counts::default()
        },
    )
    .await;
    assert_eq!(collector.connections(), 0);
    let why = exporter.standing().last_error.unwrap();
    assert!(why.contains("--trace-header-file"), "{why}");
    for (exported, text, wanted) in [
        (1, "Authorization: Bearer one\n", "Bearer one"),
        (2, "Authorization: Bearer two\n", "Bearer two"),
        (3, "no field\n", "Bearer two"),
    ] {
        std::fs::write(&file, text).unwrap();
        lane.put(span(1));
        counted(
            &exporter,
            Counts {
                failed: 1,
                exported,
                ..Counts::default()
            },
        )
        .await;
        let exports = collector.exports();
        let sent = exports
            .last()
            .and_then(|export| export.field("authorization"));
        assert_eq!(sent, Some(wanted));
    }
}
