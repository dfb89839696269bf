//! HTTP as it is spoken to clients. `h1` serves one message at a time over the [`framer`]; `h2`
//! drives the `h2` crate. Both open an exchange for each request and hand it on; neither knows what comes next.

mod answer;
mod body_gate;
mod chunked;
mod chunks;
mod closing;
mod date;
mod fields;
mod framer;
mod h1;
mod h2;
mod head;
mod message;
mod parts;
mod progress;
mod request_body;
mod response_body;
mod scan;
mod send;
mod standing;
mod stream_io;
mod timer;
mod tunnel;
mod waiting;
mod watch;

pub(crate) use answer::{plain, refuse};
pub(crate) use body_gate::BodyGate;
pub(crate) use chunked::Chunked;
pub(crate) use date::Date;
pub(crate) use fields::{announced_trailers, write_field};
#[cfg(fuzzing)]
pub(crate) use framer::{Framer, Next, Reads};
pub(crate) use h1::serve as serve_h1;
pub(crate) use h2::{Spare, serve as serve_h2};
#[cfg(fuzzing)]
pub(crate) use head::Framing;
#[cfg(any(fuzzing, feature = "bench"))]
pub(crate) use head::HeadLimits;
pub(crate) use head::content_length;
#[cfg(feature = "bench")]
pub(crate) use head::parse;
pub(crate) use message::{Framed, Message, Unsendable};
pub(crate) use progress::RequestProgress;
pub(crate) use request_body::{RequestBody, poll_h2};
pub(crate) use response_body::{ResponseBody, Sending, Source};
#[cfg(feature = "bench")]
pub(crate) use scan::Scan;
pub(crate) use send::{Sent, send_body};
pub(crate) use stream_io::StreamIo;
pub(crate) use tunnel::Spoken;
pub(crate) use watch::Watch;
