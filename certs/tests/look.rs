//! What a look with a client's eyes makes of a listener that shows something else, and of none at all.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking"
)]

use std::any::Any;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use portcullis_certs::{
    Attempt, Confirmation, MinVersion, Observer, OwnListener, Setup, Source, Store, Trigger,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection};

/// Remembers what was seen.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<&'static str>>>);

impl Observer for Seen {
    fn attempted(&self, _: &Attempt) {}

    fn looked(&self, _: &Attempt, seen: &Confirmation) {
        self.0.lock().unwrap().push(seen.word());
    }
}

struct At(SocketAddr);

impl OwnListener for At {
    fn dial(&self) -> io::Result<(TcpStream, Box<dyn Any + Send>)> {
        Ok((TcpStream::connect(self.0)?, Box::new(())))
    }
}

fn made() -> rcgen::CertifiedKey<rcgen::KeyPair> {
    rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap()
}

fn write(folder: &Path, made: &rcgen::CertifiedKey<rcgen::KeyPair>) {
    std::fs::write(folder.join("tls.crt"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
}

/// A listener that shows this certificate to whoever comes.
fn showing(made: &rcgen::CertifiedKey<rcgen::KeyPair>) -> At {
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(portcullis_certs::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let mut tls = ServerConnection::new(Arc::clone(&config)).unwrap();
            let _ = tls.complete_io(&mut stream);
        }
    });
    At(address)
}

/// Publishes one certificate before a listener, and returns what was seen there.
fn seen(listener: impl FnOnce(&rcgen::CertifiedKey<rcgen::KeyPair>) -> At) -> &'static str {
    let folder = tempfile::tempdir().unwrap();
    let own = made();
    write(folder.path(), &own);
    let setup = Setup {
        sources: vec![Source::Directory(folder.path().into())],
        min: MinVersion::default(),
        client_auth: None,
        ticket_seed: None,
    };
    let seen = Seen::default();
    let store = Store::new(setup, seen.clone()).unwrap();
    store.dials(listener(&own));
    let attempts = store.reload(Trigger::Start, || {});
    // Whatever was seen, it is served: a look undoes nothing.
    assert!(store.current().has_certificate());
    let words = seen.0.lock().unwrap().clone();
    assert_eq!(words, [attempts[0].confirmation.as_ref().unwrap().word()]);
    let account = store
        .accounts(std::time::SystemTime::now().into())
        .remove(0);
    assert_eq!(account.seen.unwrap().word(), words[0]);
    words[0]
}

#[test]
fn the_own_certificate_another_one_and_none_are_told_apart() {
    assert_eq!(seen(showing), "served");
    assert_eq!(seen(|_| showing(&made())), "differs");
    assert_eq!(
        seen(|_| {
            let taken = TcpListener::bind("127.0.0.1:0").unwrap();
            At(taken.local_addr().unwrap())
        }),
        "unverified"
    );
}
