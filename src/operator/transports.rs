//! Tests: a Unix socket and TLS as they really are, with certificates made on the spot.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;

use super::client::{Request, ask};
use super::plane::Plane;
use super::{Trouble, fake};

const READY: &str = r#"{"status":"ready"}"#;

/// A CA, a server's and a client's certificate, as files.
struct Pki(tempfile::TempDir);

impl Pki {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "admin CA");
        let ca = params.self_signed(&key).unwrap();
        std::fs::write(folder.path().join("ca.crt"), ca.pem()).unwrap();
        let issuer = Issuer::new(params, key);
        for (name, names) in [
            ("server", vec!["admin.example".to_owned()]),
            ("client", vec![]),
        ] {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(names).unwrap();
            let leaf = params.signed_by(&key, &issuer).unwrap();
            let file = |end: &str| folder.path().join(format!("{name}.{end}"));
            std::fs::write(file("crt"), leaf.pem()).unwrap();
            std::fs::write(file("key"), key.serialize_pem()).unwrap();
        }
        Self(folder)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn flag(&self, flag: &str, name: &str) -> String {
        format!(" --{flag} {}", self.file(name).display())
    }

    fn acceptor(&self, wants_certificate: bool) -> TlsAcceptor {
        let chain = |name: &str| certificates(&self.file(name));
        let key = PrivateKeyDer::from_pem_file(self.file("server.key")).unwrap();
        let provider = portcullis_certs::provider();
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if wants_certificate {
            let mut roots = rustls::RootCertStore::empty();
            roots.add_parsable_certificates(chain("ca.crt"));
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let config = builder.with_single_cert(chain("server.crt"), key).unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    /// An admin plane that says it is ready, once, if the handshake allows.
    async fn plane(&self, wants_certificate: bool) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = self.acceptor(wants_certificate);
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(stream) = acceptor.accept(stream).await {
                fake::serve(stream, fake::answer("200 OK", READY)).await;
            }
        });
        address
    }
}

fn certificates(path: &Path) -> Vec<CertificateDer<'static>> {
    let all = CertificateDer::pem_file_iter(path).unwrap();
    all.map(Result::unwrap).collect()
}

/// The exit code, and why.
async fn asked(line: &str) -> (u8, String) {
    let plane = Plane::new(&fake::matches(line), &|_| None).unwrap();
    match ask(&plane, &Request::get("/readyz")).await {
        Ok(said) => (0, said.value["status"].as_str().unwrap().to_owned()),
        Err(trouble) => (trouble.code(), trouble.to_string()),
    }
}

#[tokio::test]
async fn a_unix_socket_is_an_admin_plane_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let line = format!("status --admin unix:{}", path.display());
    let (code, words) = asked(&line).await;
    assert_eq!(code, 3);
    assert!(words.starts_with("no admin plane at unix:/"), "{words}");
    let listener = UnixListener::bind(&path).unwrap();
    let served = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        fake::serve(stream, fake::answer("200 OK", READY)).await
    });
    assert_eq!(asked(&line).await, (0, "ready".to_owned()));
    let request = served.await.unwrap().to_ascii_lowercase();
    assert!(request.contains("host: localhost\r\n"), "{request}");
}

#[tokio::test]
async fn tls_is_believed_with_the_right_ca_and_name_only() {
    let (pki, other) = (Pki::new(), Pki::new());
    let ca = pki.flag("admin-ca", "ca.crt");
    let named = " --admin-server-name admin.example";
    for (flags, code, part) in [
        (format!("{ca}{named}"), 0, "ready"),
        (ca.clone(), 3, "--admin-server-name"),
        (
            format!("{ca} --admin-server-name other.example"),
            3,
            "other.example",
        ),
        (
            format!("{}{named}", other.flag("admin-ca", "ca.crt")),
            3,
            "is it --admin-ca that its certificate comes from",
        ),
    ] {
        let address = pki.plane(false).await;
        let line = format!("status --admin https://{address}{flags}");
        let (ended, words) = asked(&line).await;
        assert_eq!(ended, code, "{line}: {words}");
        assert!(words.contains(part), "{line}: {words}");
    }
}

#[tokio::test]
async fn a_certificate_is_shown_where_one_is_wanted() {
    let pki = Pki::new();
    let tls = format!(
        "{} --admin-server-name admin.example",
        pki.flag("admin-ca", "ca.crt")
    );
    let own = format!(
        "{}{}",
        pki.flag("admin-client-cert", "client.crt"),
        pki.flag("admin-client-key", "client.key")
    );
    let address = pki.plane(true).await;
    let line = format!("status --admin https://{address}{tls}{own}");
    assert_eq!(asked(&line).await, (0, "ready".to_owned()));
    let address = pki.plane(true).await;
    let (code, words) = asked(&format!("status --admin https://{address}{tls}")).await;
    assert_eq!(code, 3);
    assert!(words.contains("give --admin-client-cert"), "{words}");
    let half = format!(
        "status --admin https://{address}{tls}{}",
        pki.flag("admin-client-cert", "client.crt")
    );
    let trouble = Plane::new(&fake::matches(&half), &|_| None).unwrap_err();
    assert!(matches!(trouble, Trouble::Usage(words) if words.contains("go together")));
}

#[tokio::test]
async fn plain_http_to_tls_is_answered_with_what_to_try() {
    let pki = Pki::new();
    let address = pki.plane(false).await;
    let (code, words) = asked(&format!("status --admin http://{address}")).await;
    assert_eq!(code, 3);
    assert!(words.contains("say https://"), "{words}");
}
