//! What is in the exporter's files, for who asks before anything is exported.

use std::path::Path;

use super::followed::Followed;
use super::{MOST_FIELDS, fields, tls};
use crate::config::Traces;
use http::HeaderMap;

/// What was found in one file.
#[derive(Debug)]
pub(crate) struct Examined<'a> {
    pub(crate) path: &'a Path,
    /// In a few words; or why it cannot be used.
    pub(crate) found: Result<String, String>,
}

/// Reads the files now.
pub(crate) fn examine(traces: &Traces) -> Vec<Examined<'_>> {
    let ca = traces.ca.iter().map(|ca| Examined {
        path: ca.path(),
        found: tls::roots(ca)
            .look()
            .map(|roots| format!("CAs        {}", roots.len())),
    });
    let fields = traces.header_file.iter().map(|path| Examined {
        path,
        // Nobody may ever write into a FIFO, and who asks wants an answer.
        found: if path.metadata().is_ok_and(|known| !known.is_file()) {
            Err("it is not a file".to_owned())
        } else {
            header_file(path).look()
        }
        .map(|fields| {
            let names: Vec<_> = fields.keys().map(|name| name.as_str()).collect();
            format!("fields     {}", names.join(", "))
        }),
    });
    ca.chain(fields).collect()
}

/// `--trace-header-file`
pub(super) fn header_file(path: &Path) -> Followed<HeaderMap> {
    Followed::new(
        "--trace-header-file",
        path.to_owned(),
        MOST_FIELDS,
        fields::parse,
    )
}
