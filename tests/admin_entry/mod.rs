/// Who asks too much, or too often with a wrong token.
mod floods;
/// TLS on the admin plane.
mod tls;
/// Tokens and their scopes.
mod tokens;

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use crate::support::{Answer, Ended, Sidecar, hello, read_answer, running, send};

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
