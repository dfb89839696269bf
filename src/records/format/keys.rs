//! The names of fields as JSON writes them, put together once for each kind of event.

use tracing::Metadata;
use tracing::callsite::Identifier;

/// What stands in front of each value: `,"name":`, by the field's index.
pub(super) type Names = [Box<[u8]>];

/// Those of the few kinds of events that records are.
#[derive(Debug, Default)]
pub(in crate::records) struct Keys(Vec<(Identifier, Box<Names>)>);

impl Keys {
    /// Those of this kind. Names are ours and need no escaping.
    pub(super) fn of(&mut self, kind: &Metadata<'_>) -> &Names {
        let id = kind.callsite();
        let at = self.0.iter().position(|(known, _)| *known == id);
        let at = at.unwrap_or_else(|| {
            let names = kind.fields().iter().map(|field| field.name());
            let keys = names.map(|name| format!(",\"{name}\":").into_bytes().into());
            self.0.push((id, keys.collect()));
            self.0.len() - 1
        });
        &self.0[at].1
    }
}
