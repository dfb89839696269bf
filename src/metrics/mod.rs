//! Counting. Each worker has a [`Meter`] of its own, so that the request path never waits for another worker; a scrape
//! sums them up. Labels come from closed sets only: the number of series does not depend on what clients send.

mod certificates;
mod expose;
mod gauges;
mod histogram;
mod meter;
mod process;
mod snapshot;
mod traces;

pub(crate) use certificates::PartFacts;
pub(crate) use expose::{Facts, Metrics};
pub(crate) use gauges::Counted;
pub(crate) use meter::{ExchangeFacts, HandshakeFacts, Meter, Totals};
