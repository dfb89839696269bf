use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;

use crate::support::{
    Answer, App, Ca, Client, Ended, Sidecar, eventually, hello, portcullis, read_answer, running,
    send,
};

const WRITE: &str = "0123456789abcdef0123456789abcdef";
const READ: &str = "fedcba9876543210fedcba9876543210";

/// A token file.
fn tokens(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

fn both() -> tempfile::NamedTempFile {
    tokens(&format!("# who may\nops write {WRITE}\nweb read {READ}\n"))
}

fn path(file: &tempfile::NamedTempFile) -> &str {
    file.path().to_str().unwrap()
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

async fn over_unix(path: &Path, request: &str) -> Answer {
    let mut stream = UnixStream::connect(path).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    read_answer(&mut stream).await.unwrap()
}

#[tokio::test]
async fn with_tokens_nothing_but_health_is_open() {
    let app = hello("hi").await;
    let file = both();
    let sidecar = Sidecar::start(&app, &["--admin-token-file", path(&file)]).await;
    for open in ["/livez", "/readyz", "/healthz"] {
        assert_eq!(
            sidecar.ask_admin("GET", open, "").await.status,
            200,
            "{open}"
        );
    }
    for (method, path) in [
        ("GET", "/status"),
        ("GET", "/logs"),
        ("GET", "/logs?follow=true"),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
        ("GET", "/config"),
        ("GET", "/nothing"),
        ("POST", "/livez"),
        ("POST", "/drain"),
        ("DELETE", "/target"),
        ("POST", "/certs/reload"),
    ] {
        let answer = sidecar.ask_admin(method, path, "").await;
        assert_eq!(answer.status, 401, "{method} {path}");
        assert_eq!(answer.json()["reason"], "token_missing", "{method} {path}");
        assert_eq!(
            answer.field("www-authenticate"),
            Some("Bearer realm=\"portcullis\"")
        );
        for wrong in [
            "",
            "x",
            &WRITE[1..],
            &format!("{WRITE}0"),
            &WRITE.to_uppercase(),
        ] {
            let answer = sidecar.ask_admin(method, path, &bearer(wrong)).await;
            // Later ones are slowed.
            assert!(
                [401, 429].contains(&answer.status),
                "{method} {path}: {}",
                answer.head
            );
        }
    }
    let basic = sidecar
        .ask_admin(
            "GET",
            "/status",
            &format!("Authorization: Basic {WRITE}\r\n"),
        )
        .await;
    assert_eq!(basic.status, 401);
    for token in [WRITE, READ] {
        assert_eq!(
            sidecar
                .ask_admin("GET", "/status", &bearer(token))
                .await
                .status,
            200
        );
    }
    // The probe plane has no credential and no changes.
    assert_eq!(sidecar.probe("/metrics").await.status, 200);
    assert_eq!(sidecar.probe("/status").await.status, 404);
}

#[tokio::test]
async fn a_token_of_scope_read_changes_nothing() {
    let app = hello("hi").await;
    let file = both();
    let sidecar = Sidecar::start(&app, &["--admin-token-file", path(&file)]).await;
    for (method, path) in [
        ("DELETE", "/target"),
        ("POST", "/certs/reload"),
        ("POST", "/drain"),
        ("PUT", "/target"),
        ("PUT", "/log-level"),
    ] {
        let answer = sidecar.ask_admin(method, path, &bearer(READ)).await;
        assert_eq!(
            (answer.status, &answer.json()["reason"]),
            (403, &"scope".into()),
            "{method} {path}"
        );
    }
    let refused = sidecar
        .record("of the refusal", |record| {
            record["action"] == "admin_access"
        })
        .await;
    assert_eq!(refused["reason"], "scope");
    assert!(
        refused["actor"]
            .as_str()
            .unwrap()
            .starts_with("token web of 127.0.0.1:"),
        "{refused}"
    );
    assert_eq!(
        sidecar
            .ask_admin("POST", "/certs/reload", &bearer(WRITE))
            .await
            .status,
        200
    );
    let done = sidecar
        .record("of the reload", |record| {
            record["action"] == "certificate_reload" && record["result"] == "asked"
        })
        .await;
    assert!(
        done["actor"]
            .as_str()
            .unwrap()
            .starts_with("token ops of 127.0.0.1:"),
        "{done}"
    );
    let shown = sidecar.stdout_text() + &sidecar.log();
    assert!(
        !shown.contains(WRITE) && !shown.contains(READ),
        "a token is in a log"
    );
}

#[tokio::test]
async fn a_token_file_is_read_again_when_it_changes_and_a_broken_one_changes_nothing() {
    let app = hello("hi").await;
    let file = tokens(WRITE);
    let sidecar = Sidecar::start(&app, &["--admin-token-file", path(&file)]).await;
    let status = async |token: &str| {
        sidecar
            .ask_admin("GET", "/status", &bearer(token))
            .await
            .status
    };
    assert_eq!((status(WRITE).await, status(READ).await), (200, 401));
    std::fs::write(file.path(), format!("ops {READ}\n")).unwrap();
    let failed = sidecar
        .record("of the failure", |record| {
            record["action"] == "admin_tokens"
        })
        .await;
    assert_eq!(
        (&failed["result"], &failed["reason"]),
        (&"failed".into(), &"malformed".into())
    );
    assert!(!failed.to_string().contains(READ), "{failed}");
    assert_eq!(status(WRITE).await, 200);
    std::fs::write(file.path(), format!("ops write {READ}\n")).unwrap();
    sidecar.signal(rustix::process::Signal::HUP);
    eventually("the new one is good", async || {
        (status(READ).await == 200).then_some(())
    })
    .await;
    assert_eq!(status(WRITE).await, 401);
    std::fs::remove_file(file.path()).unwrap();
    eventually("it is said", async || {
        sidecar
            .log()
            .contains("the tokens read before are still good")
            .then_some(())
    })
    .await;
    assert_eq!(status(READ).await, 200);
}

/// Sends this again and again from many connections until told to stop; what was answered, and how.
fn flood(admin: SocketAddr, request: impl Fn(usize) -> String + Send + Sync + 'static) -> Flood {
    let (stop, request) = (Arc::new(AtomicBool::new(false)), Arc::new(request));
    let mut clients = JoinSet::new();
    for client in 0..8 {
        let (stop, request) = (Arc::clone(&stop), Arc::clone(&request));
        clients.spawn(async move {
            let mut answers = Vec::new();
            while !stop.load(Ordering::Relaxed) && answers.len() < 2000 {
                answers.push(send(admin, request(client * 10_000 + answers.len())).await);
            }
            answers
        });
    }
    Flood { stop, clients }
}

struct Flood {
    stop: Arc<AtomicBool>,
    clients: JoinSet<Vec<Answer>>,
}

impl Flood {
    async fn end(mut self) -> Vec<Answer> {
        self.stop.store(true, Ordering::Relaxed);
        let mut answers = Vec::new();
        while let Some(some) = self.clients.join_next().await {
            answers.extend(some.unwrap());
        }
        answers
    }
}

#[tokio::test]
async fn wrong_tokens_are_slowed_counted_and_recorded_as_a_few_and_right_ones_pass() {
    let app = hello("hi").await;
    let file = both();
    let sidecar = Sidecar::start(&app, &["--admin-token-file", path(&file)]).await;
    let flood = flood(sidecar.admin, |number| {
        let token = bearer(&format!("{number:032}"));
        format!("GET /status HTTP/1.1\r\nHost: localhost\r\n{token}Connection: close\r\n\r\n")
    });
    eventually("they are slowed", async || {
        // Beside the flood, and each within the patience of a test.
        assert_eq!(
            sidecar
                .ask_admin("GET", "/status", &bearer(WRITE))
                .await
                .status,
            200
        );
        assert_eq!(sidecar.ask_admin("GET", "/livez", "").await.status, 200);
        assert_eq!(sidecar.probe("/livez").await.status, 200);
        let wrong = "portcullis_admin_refused_total{reason=\"token_wrong\"}";
        (sidecar.metric(wrong).await > 100).then_some(())
    })
    .await;
    let answers = flood.end().await;
    let slowed: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status == 429)
        .collect();
    assert!(
        slowed.len() > answers.len() / 2,
        "{} of {}",
        slowed.len(),
        answers.len()
    );
    assert_eq!(slowed[0].field("retry-after"), Some("1"));
    assert_eq!(slowed[0].field("connection"), Some("close"));
    let counted = sidecar
        .metric("portcullis_admin_refused_total{reason=\"token_wrong\"}")
        .await;
    assert_eq!(counted, answers.len() as u64);
    let records = sidecar.records();
    let told = records
        .iter()
        .filter(|record| record["reason"] == "token_wrong")
        .count();
    // One at once, and one for each ten seconds that it took.
    assert!((1..10).contains(&told), "{told} records");
}

#[tokio::test]
async fn a_flood_of_requests_hides_neither_probes_nor_the_application() {
    let app = hello("hi").await;
    let file = both();
    let sidecar = Sidecar::start(&app, &["--admin-token-file", path(&file)]).await;
    // Nobody is as fast as that on every machine: the bucket is emptied by many requests on one connection.
    let flood = flood(sidecar.admin, |_| {
        let request = "GET /config HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(200);
        format!("{request}GET /config HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    });
    let client = Client::h1(&sidecar);
    eventually("they are slowed", async || {
        assert_eq!(sidecar.probe("/livez").await.status, 200);
        assert_eq!(sidecar.probe("/metrics").await.status, 200);
        assert_eq!(sidecar.admin("/livez").await.status, 200);
        assert_eq!(
            sidecar
                .ask_admin("GET", "/status", &bearer(READ))
                .await
                .status,
            200
        );
        assert_eq!(client.get("/").await.status, 200);
        let refused = "portcullis_admin_refused_total{reason=\"too_many\"}";
        (sidecar.metric(refused).await > 0).then_some(())
    })
    .await;
    flood.end().await;
}

#[tokio::test]
async fn connections_that_ask_nothing_or_only_for_health_take_no_place_from_who_works() {
    let app = App::scripted(|mut talk| async move {
        talk.head().await?;
        std::future::pending().await
    })
    .await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let body = format!("{{\"url\":\"{app}\",\"probe_path\":\"/\"}}");
    let mut changing = TcpStream::connect(sidecar.admin).await.unwrap();
    changing
        .write_all(format!("PUT /target HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()).as_bytes())
        .await
        .unwrap();
    eventually("it is probed", async || {
        (!app.heads().is_empty()).then_some(())
    })
    .await;
    let mut others = Vec::new();
    for number in 0..200 {
        let mut other = TcpStream::connect(sidecar.admin).await.unwrap();
        if number % 2 == 0 {
            let _ = other
                .write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
                .await;
            let _ = other.read(&mut [0; 1024]).await;
        }
        others.push(other);
    }
    // The application never answers, and that is what the client is told.
    let answer = read_answer(&mut changing).await.unwrap();
    assert_eq!(
        (answer.status, &answer.json()["reason"]),
        (422, &"probe_failed".into())
    );
}

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
async fn a_unix_socket_is_for_its_user_alone_and_the_record_says_who_came() {
    let app = hello("hi").await;
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("admin.sock");
    let at = format!("unix:{}", socket.display());
    let sidecar = Sidecar::start(&app, &["--admin", &at]).await;
    let facts = std::fs::metadata(&socket).unwrap();
    assert!(facts.file_type().is_socket());
    assert_eq!(facts.permissions().mode() & 0o777, 0o600);
    let answer = over_unix(
        &socket,
        "GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert_eq!(answer.status, 200);
    let answer = over_unix(
        &socket,
        "DELETE /target HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let record = sidecar
        .record("of the revert", |record| {
            record["action"] == "target_revert"
        })
        .await;
    let who = format!(
        "uid {} pid {}",
        rustix::process::getuid().as_raw(),
        std::process::id()
    );
    assert_eq!(record["actor"], who.as_str());
    let foreign = over_unix(
        &socket,
        "GET /status HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert_eq!(foreign.status, 403);

    // A second one does not take it away from the first …
    let mut second = running();
    second
        .env("PORTCULLIS_ADMIN", &at)
        .env("PORTCULLIS_CERT_DIR", folder.path());
    let second = tokio::task::spawn_blocking(|| Ended::of(second))
        .await
        .unwrap();
    assert_eq!(second.code, Some(1));
    assert!(
        second.stderr.contains("another process listens there"),
        "{}",
        second.stderr
    );
    // … and what a killed one leaves is no obstacle.
    drop(sidecar);
    assert!(socket.exists(), "it was killed, and could not clean up");
    let next = Sidecar::start(&app, &["--admin", &at, "--drain-delay", "0s"]).await;
    next.signal(rustix::process::Signal::TERM);
    assert_eq!(next.ended().await.code, Some(0));
    assert!(!socket.exists(), "one that ends in order takes it away");
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

#[tokio::test]
async fn foreign_hosts_and_origins_are_refused_and_an_allowed_name_is_not() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &["--admin-host", "admin.shop.svc"]).await;
    let ask = async |method: &str, fields: &str| {
        let request = format!(
            "{method} /target HTTP/1.1\r\n{fields}Content-Length: 0\r\nConnection: close\r\n\r\n"
        );
        send(sidecar.admin, request).await
    };
    for fields in [
        "Host: localhost\r\n",
        "Host: admin.shop.svc:9901\r\n",
        "Host: 127.0.0.1\r\nOrigin: http://127.0.0.1\r\n",
        "Host: localhost\r\nSec-Fetch-Site: same-origin\r\n",
    ] {
        assert_eq!(ask("DELETE", fields).await.status, 200, "{fields}");
    }
    for fields in [
        "Host: evil.example\r\n",
        "Host: admin.shop.svc.evil.example\r\n",
        "Host: localhost\r\nOrigin: http://evil.example\r\n",
        "Host: localhost\r\nOrigin: null\r\n",
        "Host: localhost:9901\r\nOrigin: http://localhost:3000\r\n",
        "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n",
        "Host: localhost\r\nSec-Fetch-Site: same-site\r\n",
    ] {
        let answer = ask("DELETE", fields).await;
        assert_eq!(
            (answer.status, &answer.json()["reason"]),
            (403, &"cross_site".into()),
            "{fields}"
        );
    }
    let rebound = send(
        sidecar.admin,
        "GET http://evil.example/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert_eq!(rebound.status, 403);
    // A form, which needs nobody's leave to be sent, is no change.
    for kind in [
        "application/x-www-form-urlencoded",
        "text/plain",
        "multipart/form-data; boundary=x",
    ] {
        let body = format!("{{\"url\":\"{app}\"}}");
        let request = format!(
            "PUT /target HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        assert_eq!(send(sidecar.admin, request).await.status, 415, "{kind}");
    }
    sidecar
        .record("of the refusal", |record| {
            record["action"] == "admin_access" && record["reason"] == "cross_site"
        })
        .await;
}
