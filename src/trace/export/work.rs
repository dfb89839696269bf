//! What the exporter has in its hands: spans that were taken out of the lanes, and the batch that is sent now.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use super::followed::Followed;
use super::link::Link;
use crate::trace::span::Span;

/// What is on its way.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) link: Link,
    pub(super) fields: Option<Followed<HeaderMap>>,
    /// Taken out of the lanes.
    pub(super) waiting: VecDeque<Span>,
    pub(super) batch: Option<Batch>,
    /// How long to wait when the next try fails.
    pub(super) pause: Duration,
}

/// Spans that are sent together, made ready.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) body: Bytes,
    pub(super) spans: u64,
    pub(super) tries: u32,
}

impl Work {
    /// The spans of the next batch: so many, and no more bytes than a collector takes; one at least.
    pub(super) fn next(&mut self) -> Vec<Span> {
        let mut bytes = 0;
        let fits = |span: &&Span| {
            let is_first = bytes == 0;
            bytes += span.size();
            is_first || bytes <= MOST_BYTES
        };
        let upcoming = self.waiting.iter().take(MOST_SPANS);
        let count = upcoming.take_while(fits).count();
        self.waiting.drain(..count).collect()
    }

    /// How long to wait after a try: twice as long each time, somewhere around it so that many sidecars do not come at once; and
    /// never before the collector wants to be asked again, but for what is longer than anybody waits.
    pub(super) fn wait(&mut self, after: Option<Duration>, longest: Duration) -> Duration {
        let pause = self.pause.mul_f64(0.8 + 0.4 * fastrand::f64());
        self.pause = (self.pause * 2).min(longest);
        pause.max(after.unwrap_or_default()).min(longest)
    }
}

/// Of a batch: spans, their bytes in memory.
const MOST_SPANS: usize = 512;
const MOST_BYTES: usize = 2 * 1024 * 1024;
