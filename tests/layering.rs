//! The shape, held by a machine.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty());
    found
}

fn all() -> Vec<(PathBuf, String)> {
    ["src", "admin/src", "certs/src"]
        .into_iter()
        .flat_map(sources)
        .collect()
}

#[test]
fn every_file_says_what_it_is_for_and_stays_small() {
    for (path, text) in all() {
        let first = text.lines().next().unwrap_or_default();
        assert!(
            first.starts_with("//!") || first.starts_with("#![doc"),
            "{} does not open with //!",
            path.display()
        );
        let product = text
            .lines()
            .take_while(|line| *line != "#[cfg(test)]")
            .count();
        assert!(
            product <= 300,
            "{} has {product} lines: two subjects?",
            path.display()
        );
    }
}

#[test]
fn the_rooms_do_not_know_the_house() {
    for (path, text) in sources("certs/src") {
        for word in [
            "hyper",
            "axum",
            "http::",
            "portcullis_admin",
            "portcullis::",
        ] {
            assert!(
                !text.contains(&format!("use {word}")),
                "{} imports {word}",
                path.display()
            );
        }
    }
    for (path, text) in sources("admin/src") {
        for word in ["portcullis_certs", "portcullis::", "rustls"] {
            assert!(!text.contains(word), "{} mentions {word}", path.display());
        }
    }
}

/// Whether a file names a module of the house, however it does.
fn knows(text: &str, module: &str) -> bool {
    let path = format!("crate::{module}");
    let named = text.match_indices(&path).any(|(at, _)| {
        let rest = &text[at + path.len()..];
        rest.starts_with("::") || rest.starts_with(';')
    });
    named || text.contains("crate::{")
}

#[test]
fn no_stage_knows_the_stages_that_call_it() {
    // A stage, and what it must not know. Nouns may be shared: a response body carries its upstream lease.
    let forbidden = [
        (
            "listener.rs",
            &["tls", "connection", "http", "forward", "upstream", "worker"][..],
        ),
        ("tls", &["connection", "http", "forward", "upstream"]),
        ("http", &["tls", "connection", "forward"]),
        (
            "headers",
            &[
                "tls",
                "listener",
                "connection",
                "forward",
                "upstream",
                "worker",
            ],
        ),
        (
            "failure.rs",
            &[
                "tls",
                "listener",
                "connection",
                "http",
                "forward",
                "upstream",
                "worker",
                "records",
            ],
        ),
        (
            "trace",
            &[
                "tls",
                "listener",
                "connection",
                "http",
                "forward",
                "worker",
                "records",
                "metrics",
            ],
        ),
        ("forward", &["tls", "listener", "connection"]),
        (
            "upstream",
            &[
                "tls",
                "listener",
                "connection",
                "forward",
                "worker",
                "records",
            ],
        ),
        (
            "records",
            &["tls", "listener", "connection", "forward", "worker"],
        ),
        (
            "metrics",
            &[
                "tls",
                "listener",
                "connection",
                "forward",
                "worker",
                "records",
                "http",
            ],
        ),
        (
            "config",
            &[
                "tls",
                "listener",
                "connection",
                "forward",
                "worker",
                "records",
                "http",
            ],
        ),
    ];
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut checked = 0;
    for (path, text) in sources("src") {
        let name = path.strip_prefix(&root).unwrap();
        for (stage, unknown) in forbidden
            .iter()
            .filter(|(stage, _)| name.starts_with(stage))
        {
            checked += 1;
            for module in *unknown {
                assert!(
                    !knows(&text, module),
                    "{} ({stage}) knows {module}",
                    path.display()
                );
            }
        }
    }
    assert!(
        checked > 30,
        "only {checked} files were looked at: have they moved?"
    );
}

#[test]
fn only_app_and_wiring_see_both_rooms() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (path, text) in sources("src") {
        let name = path.strip_prefix(&root).unwrap();
        let both = text.contains("portcullis_admin") && text.contains("portcullis_certs");
        let may = name == Path::new("app.rs") || name.starts_with("wiring");
        assert!(!both || may, "{} sees both rooms", path.display());
    }
}
