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
        if text.len() > LONGEST {
            return Err(format!("a log filter has {LONGEST} characters at most"));
        }
        // A bare word that is no level would be the name of something that is logged, and silence all the rest.
        if let Some(odd) = text.split(',').find(|part| !is_directive(part)) {
            return Err(format!(
                "{odd:?} is neither a level (off, error, warn, info, debug, trace) nor one for something that is logged, like portcullis=debug"
            ));
        }
        let targets: Targets = text.parse().map_err(|error| {
            format!("{text:?} is not a log filter like info or portcullis=debug ({error})")
        })?;
        Ok(Self {
            text: text.to_owned(),
            targets,
        })
    }
}

fn is_directive(part: &str) -> bool {
    let is_level = |word: &str| word.parse::<LevelFilter>().is_ok() && word.len() > 1;
    match part.split_once('=') {
        None => is_level(part),
        Some((target, level)) => {
            let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"_-:".contains(&byte);
            !target.is_empty() && target.bytes().all(is_part) && is_level(level)
        }
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

/// Characters of a filter.
const LONGEST: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_does_not_silence_the_log() {
        for filter in [
            "info",
            "off",
            "TRACE",
            "portcullis=debug",
            "warn,h2=off,portcullis::tls=trace",
        ] {
            assert_eq!(check(filter), Ok(()), "{filter}");
        }
        let long = "a=debug,".repeat(200) + "info";
        for filter in [
            "",
            "debg",
            "portcullis",
            "6",
            "-1",
            "info,",
            "info;debug",
            "=",
            "a=b=c",
            "[x]=debug",
            "x=loud",
            "a\0=info",
            &long,
        ] {
            assert!(check(filter).is_err(), "{filter}");
        }
    }
}
