//! What this room must be given: small traits, implemented by the one file of the root package that sees both sides.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use crate::condition::IfMatch;
use crate::guard::Caller;
use crate::views::{
    AppTrouble, AppView, AttemptView, CertificatesView, ConfigView, InflightView, LogLevelView,
    PhaseView, Refusal, StatusView, TargetChange, TargetView,
};

/// A boxed future, so that the traits below can be objects.
pub type Waiting<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Everything the two planes can ask.
#[derive(Clone)]
pub struct Handles {
    /// Phase and readiness.
    pub lifecycle: Arc<dyn Lifecycle>,
    /// The recent records.
    pub records: Arc<dyn Records>,
    /// What is open now.
    pub inflight: Arc<dyn Inflight>,
    /// The upstream target.
    pub targets: Arc<dyn Targets>,
    /// The certificates.
    pub certificates: Arc<dyn Certificates>,
    /// The metrics registry.
    pub metrics: Arc<dyn Metrics>,
    /// The effective configuration.
    pub configuration: Arc<dyn Configuration>,
    /// The program's own log.
    pub log_level: Arc<dyn LogLevel>,
    /// The application's own health.
    pub app: Arc<dyn AppHealth>,
}

/// Where the process is in its life.
pub trait Lifecycle: Send + Sync {
    /// What keeps the sidecar from being ready, in words; empty when it is ready.
    fn pending(&self) -> Vec<String>;
    /// The numbers for `/status`.
    fn status(&self) -> StatusView;
    /// Begins to drain, unless that has begun; the process stays.
    fn drain(&self, caller: &Caller) -> PhaseView;
}

/// The recent records, each one line of JSON without its line end: `kind` first, and `id` second where there is one.
///
/// A place is a point in the order in which records were closed. 0 lies before all of them.
pub trait Records: Send + Sync {
    /// Has those who close records hand over what they have gathered, and waits a moment at most: a request that is answered
    /// is in the history that is asked for next.
    fn settle(&self) -> Waiting<'_, ()>;
    /// All records kept, newest first.
    fn recent(&self) -> Vec<Arc<[u8]>>;
    /// What came after `place`, oldest first, at most `most` records and fewer where they are long; and how far that goes.
    /// None only where there is nothing more.
    fn after(&self, place: u64, most: usize) -> Passage;
    /// The place of the newest record; a follower that wants only new ones begins here.
    fn newest(&self) -> u64;
    /// The place of the record with this id, as long as it is kept.
    fn place_of(&self, id: &str) -> Option<u64>;
}

/// A part of the stream of records, for a follower.
#[derive(Clone, Debug, Default)]
pub struct Passage {
    /// The records, oldest first.
    pub lines: Vec<Arc<[u8]>>,
    /// Where to go on.
    pub place: u64,
    /// Records between that were pushed out before they could be read.
    pub missed: u64,
}

/// What is open now.
pub trait Inflight: Send + Sync {
    /// Asks all workers for what has been open longest, `most` of each at most, and waits a second for those that are busy.
    fn open(&self, most: usize) -> Waiting<'_, InflightView>;
}

/// The upstream target.
pub trait Targets: Send + Sync {
    /// What is in force.
    fn current(&self) -> TargetView;
    /// Changes it as a transaction: a refused change changes nothing, and so does one that expects another state than there is.
    fn change<'a>(
        &'a self,
        change: TargetChange,
        expected: IfMatch,
        caller: &'a Caller,
    ) -> Waiting<'a, Result<TargetView, Refusal>>;
    /// A change that waits for a confirmation stays.
    ///
    /// # Errors
    /// When none waits, or another state was expected.
    fn confirm(&self, expected: &IfMatch, caller: &Caller) -> Result<TargetView, Refusal>;
    /// Back to the configured target.
    ///
    /// # Errors
    /// When another state was expected.
    fn revert(&self, expected: &IfMatch, caller: &Caller) -> Result<TargetView, Refusal>;
}

/// The certificates.
pub trait Certificates: Send + Sync {
    /// What is served and how the last attempt ended.
    fn view(&self) -> CertificatesView;
    /// Reloads now and waits for the outcome.
    fn reload<'a>(&'a self, caller: &'a Caller) -> Waiting<'a, Vec<AttemptView>>;
}

/// The effective configuration.
pub trait Configuration: Send + Sync {
    /// Each value with its origin.
    fn view(&self) -> ConfigView;
}

/// The filter of the program's own log.
pub trait LogLevel: Send + Sync {
    /// What is in force.
    fn current(&self) -> LogLevelView;
    /// Puts another in force, until the next one or a restart.
    ///
    /// # Errors
    /// When it is no filter.
    fn set(&self, filter: &str, caller: &Caller) -> Result<LogLevelView, Refusal>;
}

/// The metrics registry.
pub trait Metrics: Send + Sync {
    /// Everything, in the asked-for exposition format.
    fn render(&self, format: MetricsFormat) -> String;
}

/// The application's own health.
pub trait AppHealth: Send + Sync {
    /// Asks the application, or says what it answered a moment ago; none where there is nothing to ask it. However many ask
    /// here, the application is asked by one at a time.
    fn health(&self) -> Waiting<'_, Option<Result<AppView, AppTrouble>>>;
}

/// Which exposition format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsFormat {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus text 0.0.4.
    Prometheus,
}

impl fmt::Debug for Handles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handles").finish_non_exhaustive()
    }
}
