//! Both logs: records to stdout, the program's own log to stderr. Each is written by a thread of its own, so that nobody
//! who stops reading can stop a request, a probe or a signal.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::records::{Drops, LineWriter, RECORD, RecordLayer, Ring};

/// The running log threads.
#[derive(Debug)]
pub struct Logging {
    records: LineWriter,
    own: LineWriter,
    ring: Arc<Ring>,
}

impl Logging {
    /// Installs the process's one subscriber. `level` filters the program's own log.
    ///
    /// # Errors
    /// When a thread cannot be started or stdout and stderr cannot be had.
    pub fn start(level: &str, ring: usize) -> io::Result<Self> {
        let stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        let records = LineWriter::start("log", stdout, dropped_records)?;
        let own = LineWriter::start("own-log", stderr, dropped_lines)?;
        let ring = Arc::new(Ring::new(ring));
        // The configuration has checked it.
        let filter = level
            .parse::<Targets>()
            .unwrap_or_default()
            .with_target(RECORD, LevelFilter::OFF);
        let sink = own.sink();
        let own_layer = tracing_subscriber::fmt::layer()
            .with_ansi(io::stderr().is_terminal())
            .with_target(false)
            .with_writer(move || sink.clone())
            .with_filter(filter);
        let record_layer = RecordLayer::new(Arc::clone(&ring), records.sink())
            .with_filter(Targets::new().with_target(RECORD, Level::INFO));
        tracing_subscriber::registry()
            .with(own_layer)
            .with(record_layer)
            .init();
        Ok(Self { records, own, ring })
    }

    pub(crate) fn ring(&self) -> Arc<Ring> {
        Arc::clone(&self.ring)
    }

    pub(crate) fn drops(&self) -> Drops {
        self.records.drops()
    }

    /// Says what could not be said before there was a log.
    pub fn warn(&self, warnings: impl Iterator<Item = String>) {
        warnings.for_each(|warning| tracing::warn!("{warning}"));
    }

    /// Writes what is queued; waits a second at most.
    pub fn flush(self) {
        self.records.flush(LAST_WRITE);
        self.own.flush(LAST_WRITE / 4);
    }
}

fn dropped_records(lines: u64) -> String {
    let time = humantime::format_rfc3339_micros(SystemTime::now());
    format!(
        "{{\"kind\":\"notice\",\"time\":\"{time}\",\"reason\":\"log_dropped\",\"dropped\":{lines}}}\n"
    )
}

fn dropped_lines(lines: u64) -> String {
    format!("{lines} lines of this log were dropped because nobody read it\n")
}

const LAST_WRITE: Duration = Duration::from_millis(800);
