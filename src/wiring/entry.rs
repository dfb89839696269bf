//! Who is let in to the admin plane: tokens of a file that is read again, TLS with certificates that are, and a record of
//! whoever was not.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use portcullis_admin::{Access, Io, Secure, Secured, Tokens, Waiting};
use portcullis_certs::{Identity, Setup, Store, Trigger};
use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::Teller;
use crate::config::Config;
use crate::phase::Life;
use crate::records::{Audit, audit};

/// The admin plane's entry.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) access: Arc<Access>,
    /// What the plane is served with; none where it is in clear.
    pub(crate) certificates: Option<Arc<Store>>,
    tokens: Option<Arc<TokenFile>>,
}

struct TokenFile {
    path: PathBuf,
    service: String,
    /// As it was last read, good or not.
    content: std::sync::Mutex<Vec<u8>>,
    look: Notify,
}

impl Entry {
    /// Reads the tokens, and makes everything ready that is needed for TLS.
    ///
    /// # Errors
    /// When there are no tokens in the file, or the policy of TLS is impossible.
    pub(crate) fn new(config: &Config) -> Result<Self, String> {
        let plane = &config.admin;
        let service = config.service_name.clone();
        let mut known = None;
        let tokens = match &plane.token_file {
            None => None,
            Some(path) => {
                let (content, tokens) = read_tokens(path)?;
                known = Some(tokens);
                Some(Arc::new(TokenFile {
                    path: path.clone(),
                    service: service.clone(),
                    content: content.into(),
                    look: Notify::new(),
                }))
            }
        };
        let certificates = plane.tls.as_ref().map(|setup| store(config, setup));
        Ok(Self {
            access: Access::new(known, plane.hosts.clone(), Arc::new(Complaints(service))),
            certificates: certificates.transpose()?,
            tokens,
        })
    }

    /// What makes a connection to the plane secure; none where it is in clear.
    pub(crate) fn secure(&self) -> Option<Arc<dyn Secure>> {
        let store = Arc::clone(self.certificates.as_ref()?);
        Some(Arc::new(Tls(store)))
    }

    /// Reads everything again that is read from files: SIGHUP.
    pub(crate) fn reload(&self, trigger: Trigger) {
        if let Some(file) = &self.tokens {
            file.look.notify_one();
        }
        if let Some(store) = &self.certificates {
            let store = Arc::clone(store);
            spawn_blocking(move || store.reload(trigger, || {}));
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

/// Reads a token file.
///
/// # Errors
/// Why it cannot be used.
pub(crate) fn read_tokens(path: &Path) -> Result<(Vec<u8>, Tokens), String> {
    let wrong = |why: &dyn std::fmt::Display| {
        format!("reading --admin-token-file {}: {why}", path.display())
    };
    let content = fs::read(path).map_err(|error| wrong(&error))?;
    let text = std::str::from_utf8(&content).map_err(|_| wrong(&"it is not text"))?;
    let tokens = Tokens::parse(text).map_err(|why| wrong(&why))?;
    Ok((content, tokens))
}

impl TokenFile {
    /// A mount that hangs must not stop the control thread, so the file is read elsewhere; and it is small, so that it is
    /// simply read again and again.
    async fn keep(self: &Arc<Self>, access: &Access) -> Infallible {
        loop {
            let _ = timeout(INTERVAL, self.look.notified()).await;
            let this = Arc::clone(self);
            // A panic would be a defect, and must not be the end of all renewals.
            match spawn_blocking(move || this.look_again()).await {
                Ok(Some(Ok(tokens))) => {
                    let count = tokens.count();
                    access.renew(tokens);
                    tracing::info!(count, "tokens of the admin plane read again");
                    self.tell("done", "", &format!("{count} tokens are good from now on"));
                }
                Ok(Some(Err(why))) => {
                    tracing::error!("{why}; the tokens read before are still good");
                    self.tell("failed", "malformed", &why);
                }
                Ok(None) | Err(_) => {}
            }
        }
    }

    /// The tokens, or what is wrong with them; none where nothing has changed.
    fn look_again(&self) -> Option<Result<Tokens, String>> {
        let content = fs::read(&self.path).unwrap_or_default();
        let mut known = self
            .content
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if *known == content {
            return None;
        }
        *known = content;
        Some(read_tokens(&self.path).map(|(_, tokens)| tokens))
    }

    fn tell(&self, result: &'static str, reason: &'static str, detail: &str) {
        let read_again = Audit {
            action: "admin_tokens",
            result,
            reason,
            detail,
            actor: None,
        };
        audit(&self.service, &read_again);
    }
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

struct Tls(Arc<Store>);

impl Secure for Tls {
    fn secure(&self, stream: TcpStream) -> Waiting<'static, io::Result<Secured>> {
        let store = Arc::clone(&self.0);
        Box::pin(async move {
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
        })
    }
}

fn name(leaf: &CertificateDer<'_>) -> Option<Arc<str>> {
    Some(Identity::read(leaf)?.name().into())
}

/// Between two looks at the tokens.
const INTERVAL: Duration = Duration::from_secs(1);
