//! How long one connection may stay although the sidecar does: not past its age, and not past the trust in its client.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_certs::{Generation, Store};
use rustls::pki_types::CertificateDer;

/// What holds for one connection.
#[derive(Debug, Default)]
pub(crate) struct Tenure {
    /// `--max-connection-age`.
    ends: Option<Instant>,
    /// Of `--max-requests-per-connection`; none where there is no limit.
    requests_left: Option<Cell<u64>>,
    /// Only with `--close-on-trust-change`, and a client that has shown a certificate.
    trust: Option<Box<Standing>>,
}

#[derive(Debug)]
struct Standing {
    store: Arc<Store>,
    chain: Vec<CertificateDer<'static>>,
    /// The generation that judged last.
    judge: RefCell<Arc<Generation>>,
    is_lost: Cell<bool>,
}

impl Tenure {
    /// One that ends after so many requests, if there is a limit, or after about `age`, where that is not zero. A tenth more or less, so that connections made together do
    /// not all come back together.
    pub(crate) fn aged(age: Duration, requests: Option<u64>) -> Self {
        let spread = 0.9 + 0.2 * fastrand::f64();
        Self {
            ends: (!age.is_zero()).then(|| Instant::now() + age.mul_f64(spread)),
            requests_left: requests.map(Cell::new),
            trust: None,
        }
    }

    /// The same, for as long as the client is one that would be let in.
    pub(crate) fn trusting(
        mut self,
        chain: Vec<CertificateDer<'static>>,
        judge: Arc<Generation>,
        store: Arc<Store>,
    ) -> Self {
        self.trust = Some(Box::new(Standing {
            store,
            chain,
            judge: RefCell::new(judge),
            is_lost: Cell::new(false),
        }));
        self
    }

    /// How long until its age is reached; none where there is no limit.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.ends
            .map(|ends| ends.saturating_duration_since(Instant::now()))
    }

    /// One more request has come.
    pub(crate) fn count(&self) {
        if let Some(left) = &self.requests_left {
            left.set(left.get().saturating_sub(1));
        }
    }

    /// Whether it has had as many requests as it may.
    pub(crate) fn is_used_up(&self) -> bool {
        let left = self.requests_left.as_ref();
        left.is_some_and(|left| left.get() == 0)
    }

    /// Whether the client should go and come back: the next answer says so.
    pub(crate) fn is_over(&self) -> bool {
        self.ends.is_some_and(|ends| ends <= Instant::now())
            || self.is_used_up()
            || self.is_distrusted()
    }

    /// Whether a change of trust may end it.
    pub(crate) fn depends_on_trust(&self) -> bool {
        self.trust.is_some()
    }

    /// Whether the client would not be let in any more. Asked often, judged once for each change of trust.
    pub(crate) fn is_distrusted(&self) -> bool {
        let Some(trust) = &self.trust else {
            return false;
        };
        if trust.is_lost.get() {
            return true;
        }
        let current = trust.store.current();
        let is_judged = trust.judge.borrow().verifies_like(&current);
        if !is_judged {
            trust
                .is_lost
                .set(current.verify_client(&trust.chain).is_err());
            trust.judge.replace(current);
        }
        trust.is_lost.get()
    }
}
