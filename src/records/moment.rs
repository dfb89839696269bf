//! When something was, as records say it: RFC 3339 in UTC, to the microsecond.

use std::cell::Cell;
use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

thread_local! {
    /// The latest second, and its text.
    static SECOND: Cell<(u64, Text)> = const { Cell::new((u64::MAX, [0; LENGTH])) };
}

/// What is written: ASCII.
pub(super) type Text = [u8; LENGTH];

/// This moment, of which all but the fraction is formatted once a second.
pub(super) fn moment(time: SystemTime) -> Text {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (second, micros) = (since.as_secs(), since.subsec_micros());
    let (of, mut text) = SECOND.get();
    if of != second {
        text = whole(second);
        SECOND.set((second, text));
    }
    let mut rest = micros;
    for digit in text[FRACTION..LENGTH - 1].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    text
}

fn whole(second: u64) -> Text {
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(second));
    let mut text = [b'0'; LENGTH];
    // It fails for a year of more than four digits.
    let _ = write!(
        &mut text[..],
        "{}",
        humantime::format_rfc3339_micros(time.unwrap_or(UNIX_EPOCH))
    );
    text
}

/// `2026-11-29T10:59:57.249559Z`, and where its fraction begins.
const LENGTH: usize = 27;
const FRACTION: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_moment_is_written_as_rfc_3339_has_it() {
        let moments = [
            (0, 0),
            (0, 999_999_999),
            (1, 0),
            (951_782_400, 1_000),
            (951_782_400, 120_003_999),
            (951_782_399, 0),
            (4_102_444_799, 100_000_000),
            (253_402_300_799, 999_999_000),
        ];
        for (second, nanos) in moments {
            let time = UNIX_EPOCH + Duration::new(second, nanos);
            let wanted = humantime::format_rfc3339_micros(time).to_string();
            assert_eq!(std::str::from_utf8(&moment(time)), Ok(&*wanted));
        }
    }
}
