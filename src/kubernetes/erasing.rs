//! What was written into a document, taken out of it again.

use std::collections::BTreeSet;

use super::change::{Note, Path};
use super::record::{Done, Record, follow};
use super::writing::nothing;
use super::yaml::{self, Body, Node, Splice, Trouble};

/// The text of a document without what was done to its objects, each by its place, and what could not be taken out.
///
/// # Errors
/// What is wrong with the text that is left.
pub(crate) fn erase(
    text: &str,
    records: &[(Path, Record)],
) -> Result<(String, Vec<Note>), Trouble> {
    let root = yaml::parse(text)?.ok_or_else(nothing)?;
    let (mut splices, mut notes) = (Vec::new(), Vec::new());
    for (from, record) in records {
        let own: BTreeSet<Path> = all(record)
            .flat_map(Done::own)
            .filter_map(|own| follow(&root, from, own))
            .collect();
        for done in all(record) {
            match undo(text, &root, from, done, &own) {
                Ok(undone) => splices.extend(undone),
                Err(note) => notes.push(note),
            }
        }
    }
    let mut text = yaml::apply(text, splices);
    // What one object shares with another is put together again when it is taken out of both.
    for done in records
        .iter()
        .rev()
        .flat_map(|(_, record)| record.written.iter().rev())
    {
        fold(&mut text, done)?;
    }
    Ok((text, notes))
}

fn all(record: &Record) -> impl Iterator<Item = &Done> {
    record.added.iter().chain(&record.replaced)
}

/// The edits that undo one change.
fn undo(
    text: &str,
    root: &Node,
    from: &Path,
    done: &Done,
    own: &BTreeSet<Path>,
) -> Result<Vec<Splice>, Note> {
    let note = |at: Path, text: String| Err(Note { at, text });
    let Some(path) = follow(root, from, &done.at) else {
        let text = format!(
            "{} is not there any more: what was done to it stays",
            done.at
        );
        return note(from.clone(), text);
    };
    let leaf = done.own().first().and_then(|own| follow(root, from, own));
    let is = |node| yaml::value_at(root, node).ok();
    let found = leaf.and_then(|leaf| root.at(&leaf)).and_then(is);
    if !done.is.is_null() && found.is_some_and(|found| found != done.is) {
        return note(
            path,
            "this was changed since, and stays as it is".to_owned(),
        );
    }
    let undone = match &done.was {
        Some(was) if is_covered(root, &path, own) => vec![yaml::put(root, &path, was)],
        _ => {
            let mut taken = Vec::new();
            uncover(root, &path, own, &mut |path| {
                taken.push(yaml::take(text, root, path))
            });
            taken
        }
    };
    match undone.into_iter().collect() {
        Some(splices) => Ok(splices),
        None => note(
            path,
            "this is written in a way that cannot be taken out: take it out by hand".to_owned(),
        ),
    }
}

/// Puts an alias, or nothing, in place of what was written out for it; not where it would mean something else by now.
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
    let folded = yaml::apply(text, splice.into_iter().collect());
    let means = |text: &str| yaml::value(&yaml::parse(text).ok()??).ok();
    if means(&folded) == means(text) {
        *text = folded;
    }
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
