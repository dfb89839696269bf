//! What a source refuses to read, with a message that says what to try. All over real files.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use portcullis_certs::{LoadError, MinVersion, Setup, Source, examine};

fn setup(folder: &Path) -> Setup {
    Setup {
        sources: vec![Source::Directory(folder.into())],
        min: MinVersion::default(),
        client_auth: None,
        ticket_seed: None,
    }
}

/// Reads and proves a folder as `check` does.
fn prove(folder: &Path) -> Result<(), LoadError> {
    let examined = examine(&setup(folder), std::time::SystemTime::now().into());
    let found = examined.into_iter().map(|part| part.found.map(|_| ()));
    found.collect()
}

#[expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking"
)]
/// Reads a folder in which `tls.crt` was made by `make`, and returns the error's reason and text.
fn refused(make: impl FnOnce(&Path)) -> (&'static str, String) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tls.key"), "x").unwrap();
    make(&folder.path().join("tls.crt"));
    let error = prove(folder.path()).unwrap_err();
    (error.reason(), error.to_string())
}

#[test]
fn a_missing_file_is_an_error_that_asks_for_the_secret() {
    let (reason, text) = refused(|_| {});
    assert_eq!(reason, "read");
    assert!(
        text.contains("tls.crt") && text.contains("is the Secret mounted here"),
        "{text}"
    );
}

#[test]
fn only_regular_files_are_read_so_that_nothing_can_block() {
    let (reason, text) = refused(|path| fs::create_dir(path).unwrap());
    assert_eq!(
        (reason, text.contains("not a regular file")),
        ("not_regular", true),
        "{text}"
    );
    let (reason, _) = refused(|path| {
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    });
    assert_eq!(reason, "not_regular");
}

#[test]
fn a_file_larger_than_any_certificate_is_not_taken_into_memory() {
    let (reason, text) = refused(|path| fs::File::create(path).unwrap().set_len(10 << 20).unwrap());
    assert_eq!(reason, "too_large");
    assert!(text.contains("10485760"), "{text}");
}

#[test]
fn an_unreadable_file_is_an_error_that_asks_for_the_user() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tls.crt");
    fs::write(&path, "x").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    let Err(_) = fs::read(&path) else {
        // For root nothing is unreadable.
        return;
    };
    let error = prove(folder.path()).unwrap_err().to_string();
    assert!(
        error.contains("may the container's user read it"),
        "{error}"
    );
}

#[test]
fn a_link_of_the_mount_that_leads_nowhere_is_an_error() {
    let (reason, _) = refused(|path| {
        symlink("..gone", path.with_file_name("..data")).unwrap();
        symlink("..data/tls.crt", path).unwrap();
    });
    assert_eq!(reason, "read");
}

#[test]
fn a_data_link_that_the_files_do_not_go_through_is_nobodys_business() {
    let made = |name: &str| {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    };
    let write = |folder: &Path, (certificate, key): &(String, String)| {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("tls.crt"), certificate).unwrap();
        fs::write(folder.join("tls.key"), key).unwrap();
    };
    let above = tempfile::tempdir().unwrap();
    let own = above.path().join("own");
    write(&own, &made("own.test"));
    write(&above.path().join("evil/own"), &made("evil.test"));
    for planted in ["evil", "nowhere"] {
        let _ = fs::remove_file(above.path().join("..data"));
        symlink(planted, above.path().join("..data")).unwrap();
        let setup = setup(&own);
        let examined = examine(&setup, std::time::SystemTime::now().into());
        let found = examined[0].found.as_ref().unwrap();
        assert_eq!(found.chain[0].names[0].to_string(), "DNS:own.test");
        // It is a folder like any other, and its key is for everybody to read.
        assert!(
            found
                .warnings
                .iter()
                .any(|words| words.contains("readable by every user"))
        );
    }
}
