//! The date of an answer (RFC 9110, section 6.6.1), formatted once a second.

use std::cell::Cell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;

use crate::headers::visible;

/// The latest date, and the second that it is of.
#[derive(Default)]
pub(crate) struct Date(Cell<Option<(u64, HeaderValue)>>);

impl Date {
    /// Now.
    pub(crate) fn now(&self) -> HeaderValue {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let second = since.map_or(0, |since| since.as_secs());
        let (_, date) = self
            .0
            .take()
            .filter(|(of, _)| *of == second)
            .unwrap_or_else(|| (second, at(second)));
        self.0.set(Some((second, date.clone())));
        date
    }
}

fn at(second: u64) -> HeaderValue {
    let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
    visible(date)
}
