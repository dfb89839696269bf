//! What is done to the parts of a body, whichever way it goes.

use bytes::Bytes;
use http_body::Frame;

use crate::headers::clean_trailers;

/// Trailers are fields like any other: an application may merge them into its header.
pub(super) fn clean(mut frame: Frame<Bytes>) -> Frame<Bytes> {
    if let Some(trailers) = frame.trailers_mut() {
        clean_trailers(trailers);
    }
    frame
}

/// A short part of a body, for a side that may not read. It lies in the buffer that the other side's bytes are read into, of 8 KiB at
/// least: many short parts that wait would each keep one. The last one does not wait behind others for long.
pub(super) fn unpin(frame: Frame<Bytes>) -> Frame<Bytes> {
    frame.map_data(|data| match data.len() {
        ..SHORT => Bytes::copy_from_slice(&data),
        _ => data,
    })
}

/// Bytes that are worth less than the buffer that they lie in.
const SHORT: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_part_of_a_body_keeps_no_buffer_and_a_long_one_is_not_copied() {
        for (length, is_kept) in [(1, false), (SHORT - 1, false), (SHORT, true)] {
            let buffer = Bytes::from(vec![7; 8 * 1024]);
            let part = unpin(Frame::data(buffer.slice(..length)));
            assert_eq!(part.data_ref().unwrap(), &buffer[..length]);
            assert_eq!(!buffer.is_unique(), is_kept, "{length}");
        }
    }
}
