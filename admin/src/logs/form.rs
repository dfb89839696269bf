//! How a stream of records is written: server-sent events (what a page reads), or a line of JSON each (what a shell reads).

use std::io::Write;

use hyper::body::Bytes;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::accept::Accept;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Form {
    /// `text/event-stream`.
    Events,
    /// `application/x-ndjson`.
    Lines,
}

impl Form {
    pub(super) fn of(accept: &Accept<'_>) -> Self {
        if accept.prefers(Self::Events.content_type(), Self::Lines.content_type()) {
            Self::Events
        } else {
            Self::Lines
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Events => "text/event-stream",
            Self::Lines => "application/x-ndjson",
        }
    }

    /// The id of an event is what a client that lost its stream sends as `Last-Event-ID`.
    pub(super) fn record(self, out: &mut Vec<u8>, line: &[u8]) {
        if self == Self::Events {
            if let Some(id) = id(line) {
                out.extend_from_slice(b"id: ");
                out.extend_from_slice(id);
                out.push(b'\n');
            }
            out.extend_from_slice(b"data: ");
        }
        out.extend_from_slice(line);
        out.extend_from_slice(self.end());
    }

    /// How many records this client was too slow for. They are counted before the filter: nobody can ask them any more.
    pub(super) fn missed(self, out: &mut Vec<u8>, missed: u64) {
        // Writing to a Vec cannot fail.
        let _ = match self {
            Self::Events => write!(out, "event: missed\ndata: {{\"missed\":{missed}}}\n\n"),
            Self::Lines => writeln!(out, "{{\"kind\":\"missed\",\"missed\":{missed}}}"),
        };
    }

    /// Shows that the stream is alive, to the client and to whatever lies between and would close an idle connection.
    pub(super) fn heartbeat(self) -> Bytes {
        if self == Self::Events {
            return Bytes::from_static(b": heartbeat\n\n");
        }
        let now = OffsetDateTime::now_utc().format(&Rfc3339);
        let time = now.unwrap_or_default();
        Bytes::from(format!("{{\"kind\":\"heartbeat\",\"time\":\"{time}\"}}\n"))
    }

    fn end(self) -> &'static [u8] {
        match self {
            Self::Events => b"\n\n",
            Self::Lines => b"\n",
        }
    }
}

/// The second field of a record, which is its id.
fn id(line: &[u8]) -> Option<&[u8]> {
    let kind = line.iter().position(|byte| *byte == b',')?;
    let id = line[kind..].strip_prefix(b",\"id\":\"")?;
    let end = id.iter().position(|byte| *byte == b'"')?;
    Some(&id[..end])
}
