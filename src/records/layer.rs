//! The `tracing` layer that turns record events into lines of JSON.
//!
//! Each thread formats into a buffer of its own and hands it to the log thread in batches: when it is full, and when the
//! thread is about to sleep. No lock is shared between workers on the way, and no byte from a client can break a line.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::ring::{Ring, Shard};
use super::writer::Sink;

/// The target of record events.
pub(crate) const RECORD: &str = "portcullis::record";

/// Formats record events, keeps them in the ring and sends them to the log thread.
#[derive(Debug)]
pub(crate) struct RecordLayer {
    ring: Arc<Ring>,
    sink: Sink,
}

impl RecordLayer {
    /// A layer that writes to `sink` and keeps what it wrote in `ring`.
    pub(crate) fn new(ring: Arc<Ring>, sink: Sink) -> Self {
        Self { ring, sink }
    }
}

impl<S: Subscriber> Layer<S> for RecordLayer {
    fn on_event(&self, event: &Event<'_>, _ctx: Context<'_, S>) {
        // A thread that is being torn down has no lane any more; it also has nothing left to say.
        let _ = LANE.try_with(|lane| {
            let mut lane = lane.borrow_mut();
            let lane = lane.get_or_insert_with(|| Lane::new(self));
            lane.write(event);
        });
    }
}

/// Hands this thread's finished lines to the log thread. Runtimes call it before they sleep.
pub(crate) fn hand_over() {
    let _ = LANE.try_with(|lane| {
        if let Some(lane) = lane.borrow_mut().as_mut() {
            lane.hand_over();
        }
    });
}

thread_local! {
    static LANE: RefCell<Option<Lane>> = const { RefCell::new(None) };
}

/// One thread's buffer and its share of the ring.
struct Lane {
    buffer: Vec<u8>,
    lines: u64,
    shard: Arc<Mutex<Shard>>,
    sink: Sink,
}

impl Lane {
    fn new(layer: &RecordLayer) -> Self {
        let buffer = Vec::with_capacity(BATCH);
        Self {
            buffer,
            lines: 0,
            shard: layer.ring.shard(),
            sink: layer.sink.clone(),
        }
    }

    fn write(&mut self, event: &Event<'_>) {
        let start = self.buffer.len();
        self.buffer.push(b'{');
        let mut visitor = Json {
            out: &mut self.buffer,
            has_status: false,
            wants_status: false,
        };
        event.record(&mut visitor);
        visitor.end();
        self.buffer.push(b'}');
        Ring::keep(&self.shard, &self.buffer[start..]);
        self.buffer.push(b'\n');
        self.lines += 1;
        if self.buffer.len() >= BATCH {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        if !self.buffer.is_empty() {
            let batch = std::mem::replace(&mut self.buffer, Vec::with_capacity(BATCH));
            self.sink.send(batch, std::mem::take(&mut self.lines));
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.hand_over();
    }
}

/// Writes fields as members of a JSON object. Field names are ours and need no escaping.
struct Json<'a> {
    out: &'a mut Vec<u8>,
    has_status: bool,
    wants_status: bool,
}

impl Json<'_> {
    fn key(&mut self, field: &Field) {
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(field.name().as_bytes());
        self.out.extend_from_slice(b"\":");
        self.has_status |= field.name() == "status";
        self.wants_status |= field.name() == "method" || field.name() == "duration_ms";
    }

    /// `status` is null where none was sent, so that a reader can tell "none" from "no such field".
    fn end(&mut self) {
        if self.wants_status && !self.has_status {
            self.out.extend_from_slice(b",\"status\":null");
        }
    }
}

impl Visit for Json<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.key(field);
        quote(self.out, value);
    }

    fn record_bytes(&mut self, field: &Field, value: &[u8]) {
        self.key(field);
        quote(self.out, &String::from_utf8_lossy(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.key(field);
        // Writing to a Vec cannot fail, here and below.
        let _ = write!(Text(self.out), "{value}");
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.key(field);
        let _ = write!(Text(self.out), "{value}");
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.key(field);
        self.out
            .extend_from_slice(if value { b"true" } else { b"false" });
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.key(field);
        let _ = write!(Text(self.out), "{value:.3}");
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.key(field);
        self.out.push(b'"');
        let _ = write!(Escaped(self.out), "{value:?}");
        self.out.push(b'"');
    }
}

/// Plain text, known to need no escaping.
struct Text<'a>(&'a mut Vec<u8>);

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Text escaped as the inside of a JSON string.
struct Escaped<'a>(&'a mut Vec<u8>);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape(self.0, text);
        Ok(())
    }
}

/// A JSON string of at most [`LONGEST`] bytes of `text`.
fn quote(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    match text.len() {
        ..=LONGEST => escape(out, text),
        _ => {
            escape(out, &text[..text.floor_char_boundary(LONGEST)]);
            out.extend_from_slice("…".as_bytes());
        }
    }
    out.push(b'"');
}

/// RFC 8259, section 7; runs of plain bytes are copied whole. DEL and the C1 range are escaped as well: a terminal
/// would obey them.
fn escape(out: &mut Vec<u8>, text: &str) {
    let mut plain = 0;
    for (at, letter) in text.char_indices() {
        let short = match letter {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            letter if letter.is_control() => "",
            _ => continue,
        };
        out.extend_from_slice(&text.as_bytes()[plain..at]);
        out.extend_from_slice(short.as_bytes());
        if short.is_empty() {
            let _ = write!(Text(out), "\\u{:04x}", u32::from(letter));
        }
        plain = at + letter.len_utf8();
    }
    out.extend_from_slice(&text.as_bytes()[plain..]);
}

/// Bytes of a batch: about 25 records.
const BATCH: usize = 16 * 1024;
/// Bytes of one text in a record: a path or a user agent may be longer than anybody wants to keep.
const LONGEST: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_can_break_a_line() {
        for text in [
            "plain",
            "\"},{\"",
            "a\nb\r\n",
            "\u{0}\u{1b}[31m\u{7f}\u{9b}",
            "\\u0000",
            "ünï 🦀",
            "\u{2028}",
        ] {
            let mut out = Vec::new();
            quote(&mut out, text);
            assert!(!out.iter().any(|byte| byte.is_ascii_control()), "{text:?}");
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        let mut out = Vec::new();
        quote(&mut out, &"é".repeat(LONGEST));
        let text: String = serde_json::from_slice(&out).unwrap();
        assert_eq!(text.chars().count(), LONGEST / 2 + 1);
    }
}
