//! The plain views that cross the border between this room and the house.

mod app;
mod certificates;
mod configuration;
mod inflight;
mod status;
mod target;
mod traces;

pub(crate) use configuration::LogLevelChange;

pub use app::{AppTrouble, AppView, BypassView};
pub use certificates::{
    AttemptView, CertificateSummary, CertificatesView, ChainElement, ClientAuthView, CrlView,
    PartSummary, PartView,
};
pub use configuration::{ConfigView, InEffectView, LogLevelView, OptionView};
pub use inflight::{InflightEntry, InflightView};
pub use status::{
    Connections, Counts, DrainView, Latency, LogDropped, PhaseView, RestrictionView, StatusView,
    UpstreamConnections,
};
pub use target::{CheckedView, Refusal, RollbackView, TargetChange, TargetView, TrialView};
pub use traces::{SpanCounts, TracesView};
