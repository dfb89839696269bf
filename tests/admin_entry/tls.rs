use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{READ, WRITE, bearer, both, path};
use crate::support::{Ca, Client, Ended, Sidecar, eventually, hello, portcullis, running};

#[tokio::test]
async fn certificates_of_the_admin_plane_are_shown_and_a_broken_one_is_told() {
    let app = hello("hi").await;
    let folder = tempfile::tempdir().unwrap();
    let leaf = Ca::named("admin CA").leaf();
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name).to_str().unwrap().to_owned()
    };
    let (cert, key) = (write("c", &leaf.certificate), write("k", &leaf.key));
    let sidecar = Sidecar::start(&app, &["--admin-cert", &cert, "--admin-key", &key]).await;
    let client = Client::curious(&sidecar, &[], &["http/1.1"]).at_admin(&sidecar);
    let ask = async |method: &str, path: &str| {
        client.send(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")).await
    };
    eventually("the plane has its certificate", async || {
        client.connect().await.ok()
    })
    .await;
    let own = eventually("it is seen with a client's eyes", async || {
        let shown = ask("GET", "/certs").await.json();
        let mut parts = shown["parts"].as_array().unwrap().clone();
        parts.retain(|part| {
            let source = part["source"].as_str().unwrap();
            source.starts_with("admin plane: ") && part["seen"] == "served"
        });
        parts.pop()
    })
    .await;
    assert_eq!(own["chain"][0]["sha256"], leaf.sha256());
    let refused = "portcullis_admin_refused_total{reason=\"handshake\"}";
    assert_eq!(
        sidecar.metric(refused).await,
        0,
        "the look is nobody who was refused"
    );
    std::fs::write(&key, "no key").unwrap();
    let reloaded = ask("POST", "/certs/reload").await;
    assert_eq!(reloaded.status, 409, "{}", reloaded.text());
    assert!(
        reloaded.json()["detail"]
            .as_str()
            .unwrap()
            .contains("1 of 2 parts failed"),
        "{}",
        reloaded.text()
    );
    let status = ask("GET", "/status").await.json();
    assert!(
        status["degraded"][0]
            .as_str()
            .unwrap()
            .starts_with("admin plane: "),
        "{status}"
    );
    // Whoever cannot shake hands is told of, too.
    let mut plain = TcpStream::connect(sidecar.admin).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let _ = plain.read_to_end(&mut Vec::new()).await;
    sidecar
        .record("of the handshake", |record| {
            record["action"] == "admin_access" && record["reason"] == "handshake"
        })
        .await;
}

#[tokio::test]
async fn off_the_loopback_the_plane_needs_tokens_and_tls() {
    for (given, wanted) in [
        (&[][..], &["--admin-token-file FILE and --admin-tls"][..]),
        (&["--admin-tls"], &["needs --admin-token-file FILE;"]),
        (&["--admin-token-file", "/f"], &["needs --admin-tls"]),
        (
            &["--admin-client-ca", "/f"],
            &["--admin-client-ca without --admin-tls"],
        ),
        (
            &["--admin-cert", "/f", "--admin-token-file", "/f"],
            &["--admin-cert needs --admin-key"],
        ),
        (&["--admin-host", "a b"], &["is not a host name"]),
    ] {
        for address in ["0.0.0.0:0", "[::]:0", ":0", "10.0.0.1:9901"] {
            let mut command = portcullis();
            command.args(["run", "--admin", address]).args(given);
            let ended = Ended::of(command);
            assert_eq!(ended.code, Some(2), "{given:?}");
            for words in wanted {
                assert!(ended.stderr.contains(words), "{given:?}: {}", ended.stderr);
            }
        }
    }
    let mut command = portcullis();
    command.args(["run", "--admin", "unix:/tmp/x.sock", "--admin-tls"]);
    assert!(Ended::of(command).stderr.contains("leave it out"));
    for (file, wanted) in [
        ("/nowhere/tokens", "No such file"),
        ("/dev/null", "it is no regular file"),
    ] {
        let mut command = running();
        command.args(["--admin-token-file", file, "--cert-dir", "/tmp"]);
        let ended = tokio::task::spawn_blocking(|| Ended::of(command))
            .await
            .unwrap();
        assert_eq!(ended.code, Some(1));
        assert!(ended.stderr.contains(wanted), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn over_tls_the_plane_shows_the_served_certificate_and_follows_its_renewal() {
    let app = hello("hi").await;
    let file = both();
    let arguments = [
        "--admin",
        "0.0.0.0:0",
        "--admin-tls",
        "--admin-token-file",
        path(&file),
    ];
    let mut sidecar = Sidecar::start_with(&app, &arguments, |_| {}).await;
    sidecar.admin.set_ip([127, 0, 0, 1].into());
    sidecar.ready().await;
    // HTTP/2 is not spoken there, whatever a client would like better.
    let client = Client::new(&sidecar, &["h2", "http/1.1"]).at_admin(&sidecar);
    let request = format!(
        "GET /certs HTTP/1.1\r\nHost: localhost\r\n{}Connection: close\r\n\r\n",
        bearer(READ)
    );
    let seen = eventually("the plane has its certificate", async || {
        let stream = client.connect().await.ok()?;
        stream
            .get_ref()
            .1
            .peer_certificates()
            .map(|chain| chain[0].clone().into_owned())
    })
    .await;
    assert_eq!(seen, sidecar.leaf.der);
    assert_eq!(client.send(&request).await.status, 200);
    let without = client
        .send("GET /certs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!(without.status, 401);
    let mut plain = TcpStream::connect(sidecar.admin).await.unwrap();
    plain.write_all(request.as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    let _ = plain.read_to_end(&mut heard).await;
    assert!(!heard.starts_with(b"HTTP/"), "in clear nothing is said");

    let renewed = sidecar.ca.leaf();
    sidecar.secret.swap(&renewed);
    eventually("the renewed one is shown", async || {
        let stream = client.connect().await.ok()?;
        (stream.get_ref().1.peer_certificates()?[0] == renewed.der).then_some(())
    })
    .await;
}

#[tokio::test]
async fn with_a_client_ca_of_its_own_the_plane_wants_a_certificate_too() {
    let app = hello("hi").await;
    let file = both();
    let folder = tempfile::tempdir().unwrap();
    let (own, staff) = (Ca::named("admin CA"), Ca::named("staff CA"));
    let leaf = own.leaf();
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name).to_str().unwrap().to_owned()
    };
    let (cert, key, ca) = (
        write("c", &leaf.certificate),
        write("k", &leaf.key),
        write("ca", &staff.pem),
    );
    let arguments = [
        "--admin-cert",
        &cert,
        "--admin-key",
        &key,
        "--admin-client-ca",
        &ca,
        "--admin-token-file",
        path(&file),
    ];
    let mut sidecar = Sidecar::start(&app, &arguments).await;
    // From here on clients trust what the plane shows.
    sidecar.ca = own;
    let request = format!(
        "DELETE /target HTTP/1.1\r\nHost: localhost\r\n{}Connection: close\r\n\r\n",
        bearer(WRITE)
    );
    let alice = staff.client("alice", &["spiffe://corp.example/alice"], 7);
    let alice = Client::as_client(&sidecar, &alice).at_admin(&sidecar);
    let answer = eventually("the plane has its certificate", async || {
        alice.connect().await.ok()?;
        Some(alice.send(&request).await)
    })
    .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let record: Value = sidecar
        .record("of the revert", |record| {
            record["action"] == "target_revert"
        })
        .await;
    let who = record["actor"].as_str().unwrap();
    assert!(
        who.starts_with("token ops of spiffe://corp.example/alice at 127.0.0.1:"),
        "{who}"
    );
    Client::h1(&sidecar).at_admin(&sidecar).is_refused().await;
    let stranger = Ca::named("another CA").client("mallory", &[], 8);
    Client::as_client(&sidecar, &stranger)
        .at_admin(&sidecar)
        .is_refused()
        .await;
}
