//! What `Connection` says (RFC 9110, section 7.6.1).

use http::HeaderMap;
use http::header::CONNECTION;

/// Its options, over all its lines: `close`, `upgrade`, and the names of fields for this connection alone.
pub(super) fn options(fields: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = fields.get_all(CONNECTION).iter();
    let options = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    options.map(<[u8]>::trim_ascii)
}

/// Whether this is one of them.
pub(crate) fn has_option(fields: &HeaderMap, wanted: &str) -> bool {
    options(fields).any(|option| option.eq_ignore_ascii_case(wanted.as_bytes()))
}
