//! What the sidecar was told, and what may be told to it still.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The effective configuration.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ConfigView {
    /// All options, in the order of the help.
    pub options: Vec<OptionView>,
    /// What came of those that are found out at the start.
    pub in_effect: InEffectView,
}

/// One option.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OptionView {
    /// Its flag, without the dashes.
    pub name: String,
    /// Its value, with commas where there are several; null where nothing is set.
    pub value: Option<String>,
    /// Where it comes from: `default`, `flag --NAME`, `environment NAME`, a file with its line, or `not set`.
    pub origin: String,
}

/// Values that `auto` and the surroundings decide.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct InEffectView {
    /// The name in every record.
    pub service_name: String,
    /// Worker threads.
    pub workers: usize,
    /// Client connections at once.
    pub max_connections: usize,
    /// Requests in flight at once.
    pub max_requests: usize,
    /// The lowest version of TLS.
    pub tls_min: &'static str,
    /// Where HTTPS is.
    pub https: String,
    /// Where plain HTTP is redirected.
    pub redirect: Option<String>,
    /// Where this plane is.
    pub admin: String,
    /// Where the probe plane is.
    pub probe: String,
}

/// The filter of the program's own log.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LogLevelView {
    /// In force.
    pub filter: String,
    /// `--log-level`, to which a restart returns.
    pub configured: String,
}

/// A change of the filter.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogLevelChange {
    /// `error`, `warn`, `info`, `debug`, `trace`, `off`, or a filter like `portcullis=debug,h2=info`.
    #[schema(example = "debug")]
    pub filter: String,
}
