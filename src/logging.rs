//! Both logs: records to stdout, the program's own log to stderr. Each is written by a thread of its own, so that nobody
//! who stops reading can stop a request, a probe or a signal.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::Level;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Config, LogFormat, Recording};
use crate::log_filter::LogFilter;
use crate::records::{
    Counts, Format, LineWriter, LogHandle, Notice, Output, RECORD, RecordLayer, Ring,
};
use crate::terminal::is_colourful;

/// The running log threads.
#[derive(Debug)]
pub struct Logging {
    records: LineWriter,
    own: LineWriter,
    ring: Arc<Ring>,
    filter: LogFilter,
}

impl Logging {
    /// Installs the process's one subscriber. `--log-level` filters the program's own log.
    ///
    /// # Errors
    /// When a thread cannot be started, the log file cannot be opened, or stdout and stderr cannot be had.
    pub fn start(config: &Config) -> Result<Self, String> {
        let output = output(config.recording.file.as_deref())?.told();
        Self::install(config, output).map_err(|error| format!("starting the log: {error}"))
    }

    fn install(config: &Config, output: Output) -> io::Result<Self> {
        let recording = &config.recording;
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        let format = format(recording);
        let ring = Arc::new(Ring::new(recording.ring));
        let records = {
            let (ring, service) = (Arc::clone(&ring), config.service_name.clone());
            let dropped = move |lost, write: Write<'_>| {
                let notice = Notice::dropped(&service, lost);
                if write(&notice.line(format)) {
                    ring.note(&notice);
                }
            };
            LineWriter::start("log", output, Box::new(dropped))?
        };
        let own = LineWriter::start("own-log", Output::stream(stderr), Box::new(dropped_lines))?;
        let filter = LogFilter::new(&config.log_level);
        let sink = own.sink();
        let own_layer = tracing_subscriber::fmt::layer()
            .with_ansi(io::stderr().is_terminal())
            .with_target(false)
            .with_writer(move || sink.clone())
            .with_filter(filter.clone());
        let record_layer =
            RecordLayer::new(Arc::clone(&ring), records.sink(), format, recording.sample)
                .with_filter(Targets::new().with_target(RECORD, Level::INFO));
        tracing_subscriber::registry()
            .with(own_layer)
            .with(record_layer)
            .init();
        crate::panics::tell();
        Ok(Self {
            records,
            own,
            ring,
            filter,
        })
    }

    pub(crate) fn ring(&self) -> Arc<Ring> {
        Arc::clone(&self.ring)
    }

    pub(crate) fn filter(&self) -> LogFilter {
        self.filter.clone()
    }

    pub(crate) fn handle(&self) -> LogHandle {
        self.records.handle()
    }

    /// Says what could not be said before there was a log.
    pub fn warn(&self, warnings: impl Iterator<Item = String>) {
        warnings.for_each(|warning| tracing::warn!("{warning}"));
    }

    /// Writes what is queued; waits a second at most.
    pub fn flush(self) {
        let end = Instant::now() + LAST_WRITE;
        let lost = self.records.flush(LAST_WRITE.mul_f32(0.8));
        if lost > 0 {
            tracing::warn!(lost, "records were not written: nobody reads them");
        }
        // What the records have left of it, which is most.
        self.own
            .flush(end.saturating_duration_since(Instant::now()));
    }
}

/// The log file, or stdout.
fn output(file: Option<&Path>) -> Result<Output, String> {
    match file {
        Some(path) => Output::append(path).map_err(|error| {
            format!(
                "opening --log-file {}: {error}; the folder must be there and writable for this user",
                path.display()
            )
        }),
        None => io::stdout()
            .as_fd()
            .try_clone_to_owned()
            .map(|stdout| Output::stream(File::from(stdout)))
            .map_err(|error| format!("taking stdout: {error}")),
    }
}

fn format(recording: &Recording) -> Format {
    match recording.format {
        LogFormat::Json => Format::Json,
        LogFormat::Combined => Format::Combined,
        LogFormat::Text => Format::Text {
            colour: recording.file.is_none() && is_colourful(),
        },
    }
}

/// Writes a line, and says whether it could.
type Write<'a> = &'a mut dyn FnMut(&[u8]) -> bool;

fn dropped_lines(lost: Counts, write: Write<'_>) {
    let lost = lost.sum();
    write(format!("{lost} lines of this log were dropped because nobody read it\n").as_bytes());
}

const LAST_WRITE: Duration = Duration::from_secs(1);
