use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Ca, Client, Leaf, Secret, Sidecar, eventually, hello, running};

async fn restrictions(sidecar: &Sidecar) -> Vec<(String, String)> {
    let status = sidecar.admin("/status").await.json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let all = status["restrictions"].as_array().unwrap();
    all.iter()
        .map(|one| (text(&one["name"]), text(&one["state"])))
        .collect()
}

/// A line of what the kernel says of the process.
fn kernel(sidecar: &Sidecar, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{}/status", sidecar.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap().trim_start_matches(':').trim().to_owned()
}

const ALL: [&str; 4] = ["no_new_privileges", "not_dumpable", "landlock", "seccomp"];

#[tokio::test]
async fn everything_that_the_kernel_can_restrict_is_restricted_and_told() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let told = restrictions(&sidecar).await;
    let names: Vec<&str> = told.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ALL);
    for (name, state) in &told {
        // Landlock is a matter of the kernel's age; what is lacking is said at the start, too.
        let is_said = sidecar
            .log()
            .contains(&format!("restriction {name} is {state}"));
        assert!(
            state == "on" || (name == "landlock" && is_said),
            "{name} is {state}: {}",
            sidecar.log()
        );
    }
    assert_eq!(kernel(&sidecar, "NoNewPrivs"), "1");
    assert_eq!(kernel(&sidecar, "Seccomp"), "2");
}

#[tokio::test]
async fn each_restriction_can_be_turned_off() {
    let app = hello("hi").await;
    let flags = [
        "--no-landlock",
        "--no-seccomp",
        "--dumpable",
        "--allow-new-privileges",
    ];
    let sidecar = Sidecar::start(&app, &flags).await;
    let wanted: Vec<_> = ALL.map(|name| (name.to_owned(), "off".to_owned())).into();
    assert_eq!(restrictions(&sidecar).await, wanted);
    assert_eq!(kernel(&sidecar, "NoNewPrivs"), "0");
    assert_eq!(kernel(&sidecar, "Seccomp"), "0");
    assert!(!sidecar.log().contains("restriction"), "{}", sidecar.log());
}

/// A folder `tls` in a folder of its own, with a certificate in it, and a sidecar that serves it.
async fn in_folder(mounts: &Path, ca: &Ca, leaf: &Leaf, args: &[&str]) -> Sidecar {
    let app = hello("hi").await;
    let tls = mounts.join("tls");
    write(&tls, leaf);
    let mut command = running();
    command.arg("--cert-dir").arg(&tls).args(args);
    command.arg("--target").arg(app.to_string());
    let sidecar = Sidecar::spawn(command, ca.clone(), leaf.clone(), Secret::empty()).await;
    sidecar.ready().await;
    sidecar
}

fn write(folder: &Path, leaf: &Leaf) {
    fs::create_dir(folder).unwrap();
    fs::write(folder.join("tls.crt"), &leaf.certificate).unwrap();
    fs::write(folder.join("tls.key"), &leaf.key).unwrap();
}

async fn is_enforced(sidecar: &Sidecar) -> bool {
    let all = restrictions(sidecar).await;
    all.contains(&("landlock".to_owned(), "on".to_owned()))
}

#[tokio::test]
async fn a_certificate_from_elsewhere_is_not_read_and_the_way_out_is_told() {
    let (ca, mounts, elsewhere) = (Ca::new(), folder(), folder());
    let (first, second) = (ca.leaf(), ca.leaf());
    let other = elsewhere.path().join("tls");
    write(&other, &second);
    let lead_there = || {
        fs::rename(mounts.path().join("tls"), mounts.path().join("old")).unwrap();
        symlink(&other, mounts.path().join("tls")).unwrap();
    };
    let sidecar = in_folder(mounts.path(), &ca, &first, &[]).await;
    if !is_enforced(&sidecar).await {
        return;
    }
    lead_there();
    eventually("it is refused", async || {
        let log = sidecar.log();
        (log.contains("Permission denied") && log.contains("--no-landlock")).then_some(())
    })
    .await;
    assert_eq!(sidecar.admin("/certs").await.json()["generation"], 1);
    drop(sidecar);

    // It is the restriction that keeps it from being read, and nothing else.
    fs::remove_file(mounts.path().join("tls")).unwrap();
    let sidecar = in_folder(mounts.path(), &ca, &first, &["--no-landlock"]).await;
    fs::remove_dir_all(mounts.path().join("old")).unwrap();
    lead_there();
    sidecar.published(2).await;
}

#[tokio::test]
async fn a_folder_that_is_made_again_is_read_again() {
    let (ca, mounts) = (Ca::new(), folder());
    let sidecar = in_folder(mounts.path(), &ca, &ca.leaf(), &[]).await;
    fs::remove_dir_all(mounts.path().join("tls")).unwrap();
    write(&mounts.path().join("tls"), &ca.leaf());
    sidecar.published(2).await;
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[tokio::test]
async fn a_locked_target_is_served_and_changed_by_nobody() {
    let (app, other) = (hello("hi").await, hello("other").await);
    let sidecar = Sidecar::start(&app, &["--target-locked"]).await;
    let change = json!({ "url": other.to_string() }).to_string();
    let refused = sidecar.put_target(&change).await;
    assert_eq!(refused.status, 403);
    let problem = refused.json();
    assert_eq!(problem["reason"], "target_locked");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("--target-locked"),
        "{problem}"
    );
    let view = sidecar.admin("/target").await.json();
    assert_eq!(
        (&view["locked"], &view["drift"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(Client::h1(&sidecar).get("/").await.text(), "hi");
    // It still looks at what it serves: with Landlock, that is one more port.
    let is_look = |record: &Value| record["action"] == "certificate_look";
    let look = sidecar.record("a look", is_look).await;
    assert_eq!(look["result"], "served", "{look}");
}
