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

#[test]
fn no_stage_calls_the_stage_before_it_and_only_the_wiring_sees_both_rooms() {
    // A stage, and what it must not know.
    let forbidden = [
        ("listener.rs", &["tls", "http", "forward", "upstream"][..]),
        ("tls.rs", &["http", "forward", "upstream"]),
        (
            "headers.rs",
            &["tls", "listener", "forward", "upstream", "worker"],
        ),
        (
            "failure.rs",
            &[
                "tls", "listener", "forward", "upstream", "worker", "records",
            ],
        ),
        ("forward.rs", &["tls", "listener"]),
        (
            "upstream/",
            &["tls", "listener", "forward", "worker", "records"],
        ),
        ("records/", &["tls", "listener", "forward", "worker"]),
        (
            "metrics/",
            &["tls", "listener", "forward", "worker", "records", "http"],
        ),
    ];
    for (path, text) in sources("src") {
        let name = path
            .strip_prefix(env!("CARGO_MANIFEST_DIR"))
            .unwrap()
            .strip_prefix("src")
            .unwrap()
            .to_owned();
        for (stage, unknown) in &forbidden {
            if name.starts_with(stage.trim_end_matches('/')) {
                for word in *unknown {
                    assert!(
                        !text.contains(&format!("use crate::{word}::")),
                        "{} imports {word}",
                        path.display()
                    );
                }
            }
        }
        let both = text.contains("portcullis_admin") && text.contains("portcullis_certs");
        let may = ["app.rs", "wiring/mod.rs", "wiring/certificates.rs"]
            .iter()
            .any(|file| name.ends_with(file));
        assert!(!both || may, "{} sees both rooms", path.display());
    }
}
