//! Who is let in to the admin plane, in this order: no web page of somebody else's, nobody without a token where there are
//! tokens, nobody who asks for too much. What only says how the sidecar is, is open to all but the first; the page needs no token.

mod caller;
mod complaints;
mod origin;
mod tokens;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tokio::time::sleep;

use self::complaints::{Complaints, Why};
use crate::allowance::Allowance;
use crate::problem::Problem;
use crate::server::{ClientKey, Peer, Slot, Working};

pub use caller::Caller;
pub use complaints::Audit;
pub use tokens::{Scope, Tokens};

/// What the door goes by.
pub struct Access {
    /// None where nobody needs one.
    tokens: ArcSwapOption<Tokens>,
    /// Names under which the plane may be asked, besides addresses and `localhost`.
    hosts: Vec<String>,
    requests: Allowance,
    /// The same for the probe plane, which must not be emptied by the other.
    probes: Allowance,
    wrong_tokens: Allowance,
    complaints: Arc<Complaints>,
}

impl Access {
    /// A door for whoever has one of these tokens, or for everybody.
    pub fn new(tokens: Option<Tokens>, hosts: Vec<String>, audit: Arc<dyn Audit>) -> Arc<Self> {
        Arc::new(Self {
            tokens: ArcSwapOption::new(tokens.map(Arc::new)),
            hosts,
            requests: Allowance::new(BURST, RATE),
            probes: Allowance::new(BURST, RATE),
            wrong_tokens: Allowance::new(10, 1),
            complaints: Complaints::new(audit),
        })
    }

    /// From now on these are the tokens.
    pub fn renew(&self, tokens: Tokens) {
        self.tokens.store(Some(Arc::new(tokens)));
    }

    /// How many were not let in, by a word for why.
    pub fn refused(&self) -> [(&'static str, u64); 6] {
        self.complaints.counts()
    }

    pub(crate) fn needs_token(&self) -> bool {
        self.tokens.load().is_some()
    }

    /// Somebody could not even shake hands.
    pub fn refuse_handshake(&self, who: &dyn fmt::Display, why: &dyn fmt::Display) {
        self.complaints
            .tell(Why::Handshake, &who.to_string(), &why.to_string());
    }

    /// Whether this client has not asked for too much.
    async fn moderate(&self, bucket: &Allowance, client: Option<ClientKey>) -> Result<(), Problem> {
        if client.is_none_or(|client| bucket.take(&client)) {
            return Ok(());
        }
        self.complaints.count(Why::TooMany);
        Err(slowed("more requests than one client may send").await)
    }

    /// Whose token the request has; none where none is needed.
    async fn token(
        &self,
        peer: Option<&Peer>,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<Option<Arc<str>>, Problem> {
        let tokens = self.tokens.load();
        let Some(tokens) = &*tokens else {
            return Ok(None);
        };
        let who = || peer.map_or_else(|| "nobody known".to_owned(), ToString::to_string);
        let Some(shown) = bearer(headers) else {
            self.moderate(&self.requests, peer.map(Peer::key)).await?;
            self.complaints
                .tell(Why::TokenMissing, &who(), "no token, where one is needed");
            let detail = "this plane needs a token: send Authorization: Bearer TOKEN, with one of --admin-token-file";
            return Err(unauthorized(Why::TokenMissing, detail, CHALLENGE));
        };
        let Some((name, scope)) = tokens.find(shown) else {
            self.complaints
                .tell(Why::TokenWrong, &who(), "a token that is in no list");
            // Whoever has a right one is let in all the same: those who share an address must not lock each other out.
            if peer.is_some_and(|peer| !self.wrong_tokens.take(&peer.key())) {
                return Err(slowed("too many wrong tokens").await);
            }
            let detail = "this token is not in --admin-token-file, or not any more";
            return Err(unauthorized(Why::TokenWrong, detail, CHALLENGE_AGAIN));
        };
        if scope == Scope::Read && !method.is_safe() {
            let who = format!("token {name} of {}", who());
            let detail = "its scope is read, and this would change something";
            self.complaints.tell(Why::Scope, &who, detail);
            let detail = format!("the token {name} may only read, and {method} changes something");
            return Err(Problem::new(StatusCode::FORBIDDEN, detail).reason(Why::Scope.word()));
        }
        Ok(Some(name))
    }
}

/// The door of the admin plane.
pub(crate) async fn admit(
    State(access): State<Arc<Access>>,
    request: Request,
    next: Next,
) -> Response {
    // The body may only be held by one, and stays outside meanwhile.
    let (mut head, body) = request.into_parts();
    match enter(&access, &head).await {
        Ok(caller) => {
            let _working = working(&head);
            head.extensions.insert(caller);
            next.run(Request::from_parts(head, body)).await
        }
        Err(problem) => problem.into_response(),
    }
}

async fn enter(access: &Access, request: &Parts) -> Result<Caller, Problem> {
    let peer = request.extensions.get::<Peer>().cloned();
    origin::check(request, &access.hosts).inspect_err(|_| {
        let who = peer.as_ref().map(ToString::to_string);
        let who = who.as_deref().unwrap_or("nobody known");
        let detail = "a foreign Host or Origin: a web page, or another name for this plane";
        access.complaints.tell(Why::CrossSite, who, detail);
    })?;
    if is_about_health(request) {
        return Ok(Caller { peer, token: None });
    }
    // A browser that is sent somewhere brings no token, and the page holds nothing: what it shows it asks for, with a token.
    if is_for_the_page(request) {
        let client = peer.as_ref().map(Peer::key);
        access.moderate(&access.requests, client).await?;
        return Ok(Caller { peer, token: None });
    }
    let token = access
        .token(peer.as_ref(), &request.method, &request.headers)
        .await?;
    // Who has a right token has a bucket of its own: everybody on the loopback has the same address.
    let named = token.clone().map(ClientKey::Token);
    let client = named.or_else(|| peer.as_ref().map(Peer::key));
    access.moderate(&access.requests, client).await?;
    Ok(Caller { peer, token })
}

/// The door of the probe plane: open to everybody, but not for a flood.
pub(crate) async fn moderate(
    State(access): State<Arc<Access>>,
    request: Request,
    next: Next,
) -> Response {
    let (head, body) = request.into_parts();
    if !is_about_health(&head) {
        let client = head.extensions.get::<Peer>().map(Peer::key);
        if let Err(problem) = access.moderate(&access.probes, client).await {
            return problem.into_response();
        }
    }
    let _working = working(&head);
    next.run(Request::from_parts(head, body)).await
}

/// A request that is worked on does not give way to those that are still at the door.
fn working(request: &Parts) -> Option<Working> {
    request.extensions.get::<Slot>().map(Slot::work)
}

/// What a prober with no credential asks, and what must be answered however much else is asked.
fn is_about_health(request: &Parts) -> bool {
    request.method.is_safe() && HEALTH.contains(&request.uri.path())
}

/// What a browser asks before anybody could give it a token.
fn is_for_the_page(request: &Parts) -> bool {
    request.method.is_safe() && request.uri.path() == PAGE
}

/// The path of the page. It needs no token.
pub(crate) const PAGE: &str = "/";

/// The paths that need neither a token nor an allowance.
pub(crate) const HEALTH: [&str; 3] = ["/healthz", "/livez", "/readyz"];

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut fields = headers.get_all(header::AUTHORIZATION).iter();
    let field = fields.next()?.as_bytes();
    // Of two nobody knows which is meant.
    if fields.next().is_some() {
        return None;
    }
    let (scheme, token) = field.split_at_checked(SCHEME.len())?;
    scheme
        .eq_ignore_ascii_case(SCHEME)
        .then(|| token.trim_ascii())
}

fn unauthorized(why: Why, detail: &str, challenge: &'static str) -> Problem {
    let challenge = HeaderValue::from_static(challenge);
    Problem::new(StatusCode::UNAUTHORIZED, detail)
        .reason(why.word())
        .field(header::WWW_AUTHENTICATE, challenge)
}

/// A refusal that takes its time, so that who asks again at once does not ask often.
async fn slowed(what: &str) -> Problem {
    sleep(DELAY).await;
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        format!("{what}; come back in a second"),
    )
    .reason(Why::TooMany.word())
    .field(header::RETRY_AFTER, HeaderValue::from_static("1"))
    .field(header::CONNECTION, HeaderValue::from_static("close"))
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("needs_token", &self.needs_token())
            .field("hosts", &self.hosts)
            .finish_non_exhaustive()
    }
}

const SCHEME: &[u8] = b"bearer ";
/// RFC 6750, section 3.
const CHALLENGE: &str = "Bearer realm=\"portcullis\"";
const CHALLENGE_AGAIN: &str = "Bearer realm=\"portcullis\", error=\"invalid_token\"";
/// Requests of one client at once, and so many a second.
const BURST: u32 = 1000;
const RATE: u32 = 500;
const DELAY: Duration = Duration::from_millis(100);
