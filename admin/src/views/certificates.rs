//! What there is to say of certificates.

use serde::Serialize;
use utoipa::ToSchema;

/// The body of `GET /certs`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CertificatesView {
    /// The number of the generation served; 0 before the first certificate.
    pub generation: u64,
    /// Since when it is served (RFC 3339).
    pub since: String,
    /// The first part: the certificate for clients that ask for no name.
    #[serde(flatten)]
    #[schema(ignore)]
    pub default: Option<PartView>,
    /// All parts, which are loaded each as one: certificates (with the client CAs beside them), client CAs, ticket seed.
    pub parts: Vec<PartView>,
    /// How clients are asked for a certificate; none when they are not.
    pub client_auth: Option<ClientAuthView>,
    /// Where the keys of session tickets come from: `seed` or `random`.
    pub ticket_keys: &'static str,
    /// The latest attempts to reload, newest first, ten of each part at most. A look that found what was known already is none.
    pub history: Vec<AttemptView>,
}

/// What `GET /status` says of certificates; `GET /certs` has the rest.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CertificateSummary {
    /// The number of the generation served; 0 before the first certificate.
    pub generation: u64,
    /// Since when it is served (RFC 3339).
    pub since: String,
    /// The first part: the certificate for clients that ask for no name.
    #[serde(flatten)]
    #[schema(ignore)]
    pub default: Option<PartView>,
    /// All parts, in short.
    pub parts: Vec<PartSummary>,
}

/// One part in short.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PartSummary {
    /// Its folder, or its first file.
    pub source: String,
    /// `certificate`, `client_ca` or `ticket_seed`.
    pub kind: &'static str,
    /// The names of the leaf served.
    pub names: Vec<String>,
    /// When the leaf served ends (RFC 3339).
    pub not_after: Option<String>,
    /// SHA-256 of the leaf served.
    pub served: Option<String>,
    /// SHA-256 of the leaf on disk.
    pub on_disk: Option<String>,
    /// Since when what is on disk is not what is served (RFC 3339); null when it is.
    pub disk_differs_since: Option<String>,
    /// The last error, if the last attempt failed.
    pub last_error: Option<String>,
}

impl From<&PartView> for PartSummary {
    fn from(part: &PartView) -> Self {
        let leaf = part.chain.first();
        let sha256 = |leaf: &ChainElement| leaf.sha256.clone();
        Self {
            source: part.source.clone(),
            kind: part.kind,
            names: leaf.map(|leaf| leaf.names.clone()).unwrap_or_default(),
            not_after: leaf.map(|leaf| leaf.not_after.clone()),
            served: leaf.map(sha256),
            on_disk: part.on_disk.as_ref().map(sha256),
            disk_differs_since: part.disk_differs_since.clone(),
            last_error: part.last_error.clone(),
        }
    }
}

impl From<CertificatesView> for CertificateSummary {
    fn from(view: CertificatesView) -> Self {
        Self {
            generation: view.generation,
            since: view.since,
            default: view.default,
            parts: view.parts.iter().map(PartSummary::from).collect(),
        }
    }
}

/// Files that are loaded together, on disk and served.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PartView {
    /// Its folder, or its first file.
    pub source: String,
    /// `certificate`, `client_ca` or `ticket_seed`.
    pub kind: &'static str,
    /// The chain served, leaf first.
    pub chain: Vec<ChainElement>,
    /// The leaf on disk at the last look, as far as it could be read.
    pub on_disk: Option<ChainElement>,
    /// Since when what is on disk is not what is served (RFC 3339); null when it is.
    pub disk_differs_since: Option<String>,
    /// The client CAs served, where they belong to this part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<Vec<ChainElement>>,
    /// The CRLs in force.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub crls: Vec<CrlView>,
    /// What the last publication looked like with a client's eyes: `served`, `unverified` or `differs`.
    pub seen: Option<&'static str>,
    /// What is legal but surprising.
    pub warnings: Vec<String>,
    /// The last attempt that was more than a look at unchanged files.
    pub last_attempt: Option<AttemptView>,
    /// When the files on disk were last found to be what is served (RFC 3339).
    pub last_success: Option<String>,
    /// The last error, if the last attempt failed.
    pub last_error: Option<String>,
}

/// How clients are asked for a certificate.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ClientAuthView {
    /// Whether requests without one are refused.
    pub required: bool,
    /// `--allow-san`; empty allows all names.
    pub allow_san: Vec<String>,
    /// `--client-auth-exempt`.
    pub exempt: Vec<String>,
}

/// One CRL.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CrlView {
    /// Who issued it.
    pub issuer: String,
    /// RFC 3339.
    pub this_update: String,
    /// RFC 3339. From then on the clients of its CA are refused.
    pub next_update: Option<String>,
    /// How many certificates it revokes.
    pub revoked: usize,
}

/// One certificate of the chain.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ChainElement {
    /// Distinguished name.
    pub subject: String,
    /// The issuer's.
    pub issuer: String,
    /// Subject alternative names.
    pub names: Vec<String>,
    /// Algorithm and size of the key.
    pub key: String,
    /// Lower-case hex with colons.
    pub serial: String,
    /// Over the DER, lower-case hex.
    pub sha256: String,
    /// RFC 3339.
    pub not_before: String,
    /// RFC 3339.
    pub not_after: String,
}

/// How one attempt to reload one part ended.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AttemptView {
    /// The part: its folder, or its first file.
    pub source: String,
    /// RFC 3339.
    pub time: String,
    /// `start`, `notify`, `poll`, `signal` or `admin`.
    pub trigger: &'static str,
    /// `published`, `unchanged` or `failed`.
    pub result: &'static str,
    /// A short stable word, when it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// The error in words, when it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The generation served after it; the one that it published, where it did.
    pub generation: u64,
    /// SHA-256 of the leaf served before (of the client CAs, for a part without a certificate).
    pub old: Option<String>,
    /// The same, after.
    pub new: Option<String>,
    /// What a look with a client's eyes showed after a publication: `served`, `unverified` or `differs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen: Option<&'static str>,
    /// What was published with misgivings.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}
