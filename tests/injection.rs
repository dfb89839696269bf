//! `portcullis inject` and `uninject` over manifests as they are found in the wild. What came out once and was read stands
//! beside what went in: `PORTCULLIS_GOLDEN=write cargo test injection` writes it anew, to be read as a diff.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use crate::support::portcullis;

/// Manifests that can be injected, with how many.
fn manifests(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/manifests")
        .join(folder);
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.is_file()).collect();
    files.sort();
    assert!(files.len() > 5, "{files:?}");
    files
}

/// Runs a command with a manifest at its stdin.
fn run(command: &str, arguments: &[&str], manifest: &[u8]) -> Output {
    let mut child = portcullis()
        .arg(command)
        .args(["-f", "-"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let manifest = manifest.to_owned();
    let writer = std::thread::spawn(move || {
        // Who has seen enough does not read on.
        let _ = stdin.write_all(&manifest);
    });
    let done = child.wait_with_output().unwrap();
    writer.join().unwrap();
    done
}

fn injected(manifest: &[u8], arguments: &[&str]) -> Output {
    let arguments: Vec<_> = ["--tls-secret", "app-tls"]
        .iter()
        .chain(arguments)
        .copied()
        .collect();
    run("inject", &arguments, manifest)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_owned()).unwrap()
}

/// Compares with what was read before; or writes it.
fn is_golden(path: &Path, kind: &str, found: &[u8]) {
    let name = path.file_name().unwrap().to_str().unwrap();
    let golden = path.parent().unwrap().join(kind).join(name);
    if std::env::var("PORTCULLIS_GOLDEN").as_deref() == Ok("write") {
        fs::create_dir_all(golden.parent().unwrap()).unwrap();
        return fs::write(golden, found).unwrap();
    }
    let wanted = fs::read(&golden).unwrap_or_default();
    assert_eq!(text(found), text(&wanted), "{}", golden.display());
}

#[test]
fn manifests_of_all_shapes_come_out_as_they_were_read_before() {
    for path in manifests("") {
        let done = injected(&fs::read(&path).unwrap(), &[]);
        assert_eq!(
            done.status.code(),
            Some(0),
            "{path:?}: {}",
            text(&done.stderr)
        );
        is_golden(&path, "injected", &done.stdout);
        is_golden(&path, "notes", &done.stderr);
    }
}

#[test]
fn twice_is_once_and_what_was_put_in_is_taken_out_byte_for_byte() {
    for path in manifests("") {
        let given = fs::read(&path).unwrap();
        let once = injected(&given, &[]).stdout;
        assert_ne!(text(&once), text(&given), "{path:?}");
        let twice = injected(&once, &[]);
        assert_eq!(text(&twice.stdout), text(&once), "{path:?}");
        let out = run("uninject", &[], &once);
        assert_eq!(out.status.code(), Some(0), "{path:?}");
        assert_eq!(text(&out.stdout), text(&given), "{path:?}");
        assert_eq!(text(&out.stderr), "", "{path:?}");
    }
}

#[test]
fn what_cannot_be_injected_is_told_with_its_place_and_nothing_is_printed() {
    for path in manifests("cannot") {
        let done = injected(&fs::read(&path).unwrap(), &[]);
        assert_eq!(
            done.status.code(),
            Some(2),
            "{path:?}: {}",
            text(&done.stderr)
        );
        assert_eq!(text(&done.stdout), "", "{path:?}");
        is_golden(&path, "told", &done.stderr);
    }
}

#[test]
fn a_diff_is_shown_in_place_of_the_manifest() {
    let path = &manifests("")[0];
    let done = injected(&fs::read(path).unwrap(), &["--diff", "--quiet"]);
    let shown = text(&done.stdout);
    assert!(
        shown.starts_with("--- stdin\n+++ stdin (new)\n@@ "),
        "{shown}"
    );
    assert!(
        shown.contains("\n+          image: portcullis:")
            || shown.contains("+    image: portcullis:"),
        "{shown}"
    );
    assert_eq!(text(&done.stderr), "");
}

#[test]
fn flags_have_twins_in_the_environment_and_mistakes_are_told_all_at_once() {
    let wrong = portcullis()
        .args(["inject", "-f", "-", "--https-port", "443", "--mode", "both"])
        .env("PORTCULLIS_PRE_STOP", "never")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    let told = text(&wrong.stderr);
    assert_eq!(told.lines().count(), 3, "{told}");
    for part in [
        "--https-port: \"443\"",
        "--mode: \"both\"",
        "PORTCULLIS_PRE_STOP: \"never\"",
    ] {
        assert!(told.contains(part), "{told}");
    }
    let missing = portcullis()
        .args(["inject", "-f", "/nowhere/app.yaml"])
        .output()
        .unwrap();
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("reading /nowhere/app.yaml"));
}
