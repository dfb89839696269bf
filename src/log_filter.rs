//! The filter of the program's own log, which an operator may change while it runs.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Filter};

use crate::records::RECORD;

/// A handle on the filter in force.
#[derive(Clone, Debug)]
pub(crate) struct LogFilter(Arc<ArcSwap<Rule>>);

/// What was asked for, and what came of it.
#[derive(Debug)]
struct Rule {
    text: String,
    targets: Targets,
}

impl Rule {
    fn new(text: &str) -> Result<Self, String> {
        let targets: Targets = text.parse().map_err(|error| {
            format!("{text:?} is not a log filter like info or portcullis=debug ({error})")
        })?;
        Ok(Self {
            text: text.to_owned(),
            targets,
        })
    }
}

/// Whether it is a filter.
///
/// # Errors
/// Why it is none.
pub(crate) fn check(text: &str) -> Result<(), String> {
    Rule::new(text).map(drop)
}

impl LogFilter {
    /// With `text` in force, which the configuration has checked.
    pub(crate) fn new(text: &str) -> Self {
        let rule = Rule::new(text).unwrap_or_else(|_| Rule {
            text: String::new(),
            targets: Targets::default(),
        });
        Self(Arc::new(ArcSwap::from_pointee(rule)))
    }

    /// As it was asked for.
    pub(crate) fn text(&self) -> String {
        self.0.load().text.clone()
    }

    /// Puts another in force.
    ///
    /// # Errors
    /// When it is no filter; nothing has changed then.
    pub(crate) fn set(&self, text: &str) -> Result<(), String> {
        self.0.store(Arc::new(Rule::new(text)?));
        // Each place that may log has been told once and for all whether it does.
        tracing::callsite::rebuild_interest_cache();
        Ok(())
    }
}

/// Records are no part of this log; each of them is asked about, so the answer costs no look at the rule.
impl<S: Subscriber> Filter<S> for LogFilter {
    fn enabled(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        metadata.target() != RECORD && Filter::enabled(&self.0.load().targets, metadata, context)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if metadata.target() == RECORD {
            return Interest::never();
        }
        <Targets as Filter<S>>::callsite_enabled(&self.0.load().targets, metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        <Targets as Filter<S>>::max_level_hint(&self.0.load().targets)
    }
}
