//! Who is let in to the admin plane: by tokens, over TLS with certificates that are followed; and a record of whoever was not.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use portcullis_admin::{Access, Io, Secure, Secured, Waiting};
use portcullis_certs::{Identity, Setup, Store, Trigger};
use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::Teller;
use super::tokens::TokenFile;
use crate::addresses::Addresses;
use crate::config::{AdminAddress, Config};
use crate::own_dials::{FrontDoor, OwnDials};
use crate::phase::Life;
use crate::records::{Audit, audit};

/// The admin plane's entry.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) access: Arc<Access>,
    /// What the plane is served with; none where it is in clear.
    pub(crate) certificates: Option<Arc<Store>>,
    tokens: Option<Arc<TokenFile>>,
    /// The looks at what it shows.
    own: Arc<OwnDials>,
}

impl Entry {
    /// Reads the tokens, and makes everything ready that is needed for TLS.
    ///
    /// # Errors
    /// When there are no tokens in the file, or the policy of TLS is impossible.
    pub(crate) fn new(config: &Config, addresses: &Addresses) -> Result<Self, String> {
        let plane = &config.admin;
        let service = config.service_name.clone();
        let tokens = plane.token_file.as_ref();
        let tokens = tokens
            .map(|path| TokenFile::open(path, &service))
            .transpose()?;
        let (file, known) = tokens.unzip();
        let own = Arc::<OwnDials>::default();
        let certificates = plane.tls.as_ref().map(|setup| {
            let store = store(config, setup)?;
            if let AdminAddress::Tcp(address) = addresses.admin {
                let own = Arc::clone(&own);
                store.dials(FrontDoor { address, own });
            }
            Ok::<_, String>(store)
        });
        Ok(Self {
            access: Access::new(known, plane.hosts.clone(), Arc::new(Complaints(service))),
            certificates: certificates.transpose()?,
            tokens: file.map(Arc::new),
            own,
        })
    }

    /// What makes a connection to the plane secure; none where it is in clear.
    pub(crate) fn secure(&self) -> Option<Arc<dyn Secure>> {
        let store = Arc::clone(self.certificates.as_ref()?);
        let (access, own) = (Arc::clone(&self.access), Arc::clone(&self.own));
        Some(Arc::new(Tls { store, access, own }))
    }

    /// Reads everything again that is read from files.
    pub(crate) fn reload(&self, trigger: Trigger) {
        self.look_at_tokens();
        if let Some(store) = &self.certificates {
            let store = Arc::clone(store);
            tokio::task::spawn_blocking(move || store.reload(trigger, || {}));
        }
    }

    /// Reads the tokens again.
    pub(crate) fn look_at_tokens(&self) {
        if let Some(file) = &self.tokens {
            file.look_now();
        }
    }

    /// Follows the files for as long as the process lives.
    pub(crate) async fn keep(&self) -> Infallible {
        let certificates = async {
            match &self.certificates {
                Some(store) => portcullis_certs::watch(Arc::clone(store)).await,
                None => std::future::pending().await,
            }
        };
        let tokens = async {
            match &self.tokens {
                Some(file) => file.keep(&self.access).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            never = certificates => never,
            never = tokens => never,
        }
    }
}

/// A store of its own: clients of the application and operators are not let in by the same rules.
fn store(config: &Config, setup: &Setup) -> Result<Arc<Store>, String> {
    let nobody_waits = (Arc::new(Life::new()), watch::channel(0).0);
    let teller = Teller::of_admin_plane(config, nobody_waits.0, nobody_waits.1);
    let store = Store::new(setup.clone(), teller)
        .map_err(|error| format!("preparing TLS of the admin plane: {error}"))?;
    Ok(Arc::new(store))
}

/// Writes the record of whoever was not let in.
struct Complaints(String);

impl portcullis_admin::Audit for Complaints {
    fn refused(&self, who: &str, reason: &'static str, detail: &str) {
        tracing::warn!(who, reason, detail, "not let in to the admin plane");
        let refused = Audit {
            action: "admin_access",
            result: "refused",
            reason,
            detail,
            actor: Some(who),
        };
        audit(&self.0, &refused);
    }
}

struct Tls {
    store: Arc<Store>,
    access: Arc<Access>,
    own: Arc<OwnDials>,
}

impl Secure for Tls {
    fn secure(&self, stream: TcpStream) -> Waiting<'static, io::Result<Secured>> {
        let (store, access) = (Arc::clone(&self.store), Arc::clone(&self.access));
        let own = Arc::clone(&self.own);
        Box::pin(async move {
            let client = stream.peer_addr()?;
            // The sidecar itself looks at what is shown, and goes.
            let is_own = own.contain(SocketAddr::new(client.ip().to_canonical(), client.port()));
            let shaken = shake(&store, stream).await;
            shaken.inspect_err(|error| {
                if !is_own {
                    access.refuse_handshake(&client, error);
                }
            })
        })
    }
}

async fn shake(store: &Store, stream: TcpStream) -> io::Result<Secured> {
    let mut config = (*store.current().config).clone();
    // The plane speaks HTTP/1.1 only.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await?;
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    // A session that is resumed is judged as of now, like everybody.
    let judged = store.current().verify_client(chain);
    judged.map_err(|refusal| io::Error::other(format!("{refusal:?}")))?;
    let client = chain.first().and_then(name);
    let io: Box<dyn Io> = Box::new(stream);
    Ok(Secured { io, client })
}

fn name(leaf: &CertificateDer<'_>) -> Option<Arc<str>> {
    Some(Identity::read(leaf)?.name().into())
}
