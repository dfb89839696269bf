//! What was written into a document, taken out of it again.

use std::collections::BTreeSet;

use super::change::{Note, Path};
use super::record::{Done, Record, follow};
use super::writing::nothing;
use super::yaml::{self, Body, Node, Trouble};

/// The text of a document without what was done to the object at `from`, and what could not be taken out.
///
/// # Errors
/// What is wrong with the text that is left.
pub(crate) fn erase(
    text: &str,
    from: &Path,
    record: &Record,
) -> Result<(String, Vec<Note>), Trouble> {
    let root = yaml::parse(text)?.ok_or_else(nothing)?;
    let (mut splices, mut notes) = (Vec::new(), Vec::new());
    let own: BTreeSet<Path> = all(record)
        .flat_map(Done::own)
        .filter_map(|own| follow(&root, from, own))
        .collect();
    for done in all(record) {
        let Some(path) = follow(&root, from, &done.at) else {
            let text = format!("{} is not there any more", done.at);
            notes.push(Note {
                at: from.clone(),
                text,
            });
            continue;
        };
        let is_other = |node| yaml::value_at(&root, node).ok().as_ref() != Some(&done.is);
        if !done.is.is_null() && root.at(&path).is_some_and(is_other) {
            let text = "this was changed since, and stays as it is".to_owned();
            notes.push(Note { at: path, text });
            continue;
        }
        match &done.was {
            Some(was) if is_covered(&root, &path, &own) => {
                splices.extend(yaml::put(&root, &path, was))
            }
            _ => uncover(&root, &path, &own, &mut |path| {
                splices.extend(yaml::take(text, &root, path))
            }),
        }
    }
    let mut text = yaml::apply(text, splices);
    for done in record.written.iter().rev() {
        fold(&mut text, done)?;
    }
    Ok((text, notes))
}

fn all(record: &Record) -> impl Iterator<Item = &Done> {
    record.added.iter().chain(&record.replaced)
}

/// Puts an alias, or nothing, in place of what was written out for it.
fn fold(text: &mut String, done: &Done) -> Result<(), Trouble> {
    let Some(root) = yaml::parse(text)? else {
        return Ok(());
    };
    let place = follow(&root, &Path::default(), &done.at);
    let node = place.as_ref().and_then(|place| root.at(place));
    let is_same =
        node.is_some_and(|node| yaml::value_at(&root, node).ok().as_ref() == Some(&done.is));
    let (Some(place), true) = (place, is_same) else {
        return Ok(());
    };
    let splice = match &done.was {
        Some(was) => yaml::put(&root, &place, was),
        None => yaml::take(text, &root, &place),
    };
    *text = yaml::apply(text, splice.into_iter().collect());
    Ok(())
}

/// Whether all that is in a place is injection's own.
fn is_covered(root: &Node, path: &Path, own: &BTreeSet<Path>) -> bool {
    if own.contains(path) {
        return true;
    }
    match root.at(path).map(|node| &node.body) {
        Some(Body::List { items, .. }) if !items.is_empty() => {
            (0..items.len()).all(|item| is_covered(root, &path.to(item), own))
        }
        Some(Body::Map { entries, .. }) if !entries.is_empty() => entries.iter().all(|entry| {
            entry
                .key
                .text()
                .is_some_and(|key| is_covered(root, &path.to(key), own))
        }),
        _ => false,
    }
}

/// The largest places that are injection's own.
fn uncover(root: &Node, path: &Path, own: &BTreeSet<Path>, found: &mut impl FnMut(&Path)) {
    if is_covered(root, path, own) {
        return found(path);
    }
    match root.at(path).map(|node| &node.body) {
        Some(Body::List { items, .. }) => {
            (0..items.len()).for_each(|item| uncover(root, &path.to(item), own, found));
        }
        Some(Body::Map { entries, .. }) => {
            for key in entries.iter().filter_map(|entry| entry.key.text()) {
                uncover(root, &path.to(key), own, found);
            }
        }
        _ => {}
    }
}
