use std::io::Write;
use std::sync::Arc;

use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

use crate::support::{
    Client, Ended, Secret, Sidecar, eventually, h2_get, hello, portcullis, read_answer, slow,
};

#[tokio::test]
async fn on_sigterm_readiness_goes_and_requests_in_flight_finish() {
    let go_on = Arc::new(Notify::new());
    let app = slow(&go_on).await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let (h1, h2) = (
        Client::h1(&sidecar),
        Client::new(&sidecar, &["h2"]).h2().await,
    );
    let mut idle = h1.connect().await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    read_answer(&mut idle).await.unwrap();
    let in_flight = [
        tokio::spawn(async move { h1.get("/slow").await.text() }),
        tokio::spawn(async move {
            String::from_utf8(h2.exchange(h2_get("/slow"), None).await.unwrap().2).unwrap()
        }),
    ];
    eventually("both are in flight", async || {
        (app.heads().len() == 3).then_some(())
    })
    .await;

    sidecar.signal(Signal::TERM);
    let answer = eventually("not ready", async || {
        Some(sidecar.probe("/readyz").await).filter(|answer| answer.status == 503)
    })
    .await;
    assert!(answer.text().contains("draining"), "{}", answer.text());
    // An idle connection ends in an orderly way, and new ones are not taken.
    assert_eq!(idle.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    eventually("the port is closed", async || {
        tokio::net::TcpStream::connect(sidecar.https)
            .await
            .is_err()
            .then_some(())
    })
    .await;
    assert_eq!(sidecar.probe("/livez").await.status, 200);

    go_on.notify_one();
    go_on.notify_one();
    for one in in_flight {
        eventually("let go", async || {
            go_on.notify_one();
            one.is_finished().then_some(())
        })
        .await;
        assert_eq!(one.await.unwrap(), "finished");
    }
    let ended = sidecar.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(
        ended
            .stdout
            .lines()
            .filter(|line| line.contains("\"path\":\"/slow\"") && line.contains("\"status\":200"))
            .count(),
        2
    );
}

#[tokio::test]
async fn while_it_announces_its_end_it_still_accepts_and_says_close() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &["--drain-delay", "1h"]).await;
    let client = Client::h1(&sidecar);
    assert_eq!(
        client
            .send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .field("connection"),
        None
    );
    sidecar.signal(Signal::TERM);
    eventually("not ready", async || {
        (sidecar.probe("/readyz").await.status == 503).then_some(())
    })
    .await;
    let answer = client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(
        (answer.status, answer.field("connection")),
        (200, Some("close"))
    );
    assert_eq!(sidecar.admin("/status").await.json()["phase"], "draining");
    // The second signal ends the waiting; nothing is open, so nothing is cut.
    sidecar.signal(Signal::TERM);
    assert_eq!(sidecar.ended().await.code, Some(0));
}

#[tokio::test]
async fn a_second_signal_cuts_what_is_left_and_says_so() {
    let app = slow(&Arc::new(Notify::new())).await;
    let sidecar = Sidecar::start(&app, &["--drain-timeout", "1h"]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    stream
        .write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    eventually("it is in flight", async || {
        (!app.heads().is_empty()).then_some(())
    })
    .await;
    sidecar.signal(Signal::TERM);
    sidecar.finishing().await;
    sidecar.signal(Signal::INT);
    let ended = sidecar.ended().await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("cut=1"), "{}", ended.stderr);
    let record = ended
        .stdout
        .lines()
        .find(|line| line.contains("/slow"))
        .unwrap();
    assert!(
        record.contains("\"reason\":\"drain_cut\"") && record.contains("\"status\":null"),
        "{record}"
    );
    // The client is not led to believe that this was an answer.
    assert!(stream.read_to_end(&mut Vec::new()).await.is_err());
}

#[tokio::test]
async fn the_deadline_cuts_what_does_not_finish() {
    let app = slow(&Arc::new(Notify::new())).await;
    let sidecar = Sidecar::start(&app, &["--drain-timeout", "200ms"]).await;
    let h2 = Client::new(&sidecar, &["h2"]).h2().await;
    let asked = tokio::spawn(async move { h2.exchange(h2_get("/slow"), None).await });
    eventually("it is in flight", async || {
        (!app.heads().is_empty()).then_some(())
    })
    .await;
    sidecar.signal(Signal::TERM);
    let ended = sidecar.ended().await;
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.stdout.contains("\"reason\":\"drain_cut\""),
        "{}",
        ended.stdout
    );
    assert!(asked.await.unwrap().is_err());
}

#[tokio::test]
async fn signals_without_a_meaning_do_not_end_it() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &[]).await;
    for signal in [Signal::USR1, Signal::USR2, Signal::PIPE] {
        sidecar.signal(signal);
    }
    assert_eq!(Client::h1(&sidecar).get("/").await.status, 200);
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

#[test]
fn all_configuration_mistakes_are_reported_in_one_run() {
    let config = file(
        "listen: 127.0.0.1:0\ntragte: http://127.0.0.1:1\nmax-head: lots\nring: [1, 2]\ntls-min: 1.1\nhsts:\n",
    );
    let mut command = portcullis();
    command
        .args([
            "run",
            "--target",
            "https://127.0.0.1:1",
            "--idle-timeout",
            "0",
        ])
        .args([
            "--admin",
            "0.0.0.0:9901",
            "--cert",
            "x",
            "--head-timeout",
            "9999years",
        ])
        .env("PORTCULLIS_DRAIN_DELAY", "soon")
        .arg("--config")
        .arg(config.path());
    let ended = Ended::of(command);
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    let path = config.path().display();
    for part in [
        "10 mistakes".to_owned(),
        format!("{path}:2: unknown key \"tragte\"; did you mean \"target\"?"),
        format!("--max-head ({path}:3)"),
        format!("{path}:4: ring takes a single value"),
        format!("--tls-min ({path}:5)"),
        "--target (flag --target)".to_owned(),
        "use http://".to_owned(),
        "--idle-timeout".to_owned(),
        "longer than ten years".to_owned(),
        "--drain-delay (environment PORTCULLIS_DRAIN_DELAY)".to_owned(),
        "--admin 0.0.0.0:9901".to_owned(),
        "--cert needs --key".to_owned(),
    ] {
        assert!(
            ended.stderr.contains(&part),
            "{part:?} is missing in {}",
            ended.stderr
        );
    }
}

#[test]
fn mistakes_about_client_certificates_are_found_before_anybody_relies_on_them() {
    let with = |args: &[&str], env: &[(&str, &str)]| {
        let mut command = portcullis();
        command.arg("check").args(args).envs(env.iter().copied());
        let ended = Ended::of(command);
        assert_eq!(ended.code, Some(2), "{args:?}: {}", ended.stderr);
        ended.stderr
    };
    let mistaken = with(
        &[
            "--client-ca",
            "/ca.pem",
            "--client-crl",
            "/crl",
            "--allow-san",
            "DNS:a/b",
            "--tls-profile",
            "modern",
            "--tls-min",
            "1.2",
            "--client-auth-exempt",
            "healthz",
        ],
        &[("PORTCULLIS_CERT_DIR", "/a, /b,/a")],
    );
    for part in [
        "--client-ca without --client-auth",
        "--client-crl without --client-auth",
        "--allow-san without --client-auth",
        "--allow-san (flag --allow-san): \"DNS:a/b\" is not a host name",
        "--tls-min 1.2 is below --tls-profile modern",
        "\"healthz\" is not a path",
        "names the same folder twice",
    ] {
        assert!(mistaken.contains(part), "{part:?} is missing in {mistaken}");
    }
    let mistaken = with(&["--client-auth", "always"], &[]);
    assert!(mistaken.contains("one mistake") && mistaken.contains("off, optional or required"));
    let mistaken = with(
        &[
            "--client-auth",
            "optional",
            "--client-auth-exempt",
            "/x",
            "--cert",
            "/c",
            "--key",
            "/k",
        ],
        &[],
    );
    assert!(mistaken.contains("--client-auth-exempt needs --client-auth required"));
    assert!(mistaken.contains("--client-auth with --cert needs --client-ca"));
}

#[test]
fn an_option_that_may_be_repeated_is_a_list_everywhere() {
    let config = file(
        "cert-dir: [/one, /two]\nclient-auth: required\nallow-san:\n  - DNS:*.a.test\n  - DNS:*.b.test\n",
    );
    let check = |args: &[&str], env: &[(&str, &str)]| {
        let mut command = portcullis();
        command.arg("check").arg("--config").arg(config.path());
        command.args(args).envs(env.iter().copied());
        Ended::of(command).stdout
    };
    let line = |text: &str, name: &str| {
        let found = text
            .lines()
            .find(|line| line.trim_start().starts_with(name));
        found.unwrap_or_default().to_owned()
    };
    let text = check(&[], &[]);
    assert!(line(&text, "cert-dir").contains("/one, /two"), "{text}");
    assert!(line(&text, "allow-san").contains("DNS:*.a.test, DNS:*.b.test"));
    let text = check(&[], &[("PORTCULLIS_CERT_DIR", "/three, /four")]);
    assert!(
        line(&text, "cert-dir").contains("/three, /four  "),
        "{text}"
    );
    let text = check(&["--cert-dir", "/five", "--cert-dir", "/six"], &[]);
    assert!(line(&text, "cert-dir").contains("/five, /six"), "{text}");
    // Every part that cannot be read is named, the client CA with the folder it lies in.
    assert!(
        text.contains("/five/tls.crt") && text.contains("/six/tls.crt"),
        "{text}"
    );
}

#[test]
fn flags_that_are_not_known_end_with_2_and_a_suggestion() {
    for (args, part) in [
        (&["run", "--targt", "x"][..], "--target"),
        (&["ruin"], "run"),
        (&["run", "--config", "/nowhere.yaml"], "/nowhere.yaml"),
    ] {
        let mut command = portcullis();
        command.args(args);
        let ended = Ended::of(command);
        assert_eq!(ended.code, Some(2), "{args:?}");
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn a_port_in_use_and_a_target_that_is_the_sidecar_itself_are_refused_at_start() {
    let bind = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (taken, other) = (bind(), bind());
    let address = taken.local_addr().unwrap().to_string();
    let admin = other.local_addr().unwrap().to_string();
    let mut command = portcullis();
    command.args([
        "run",
        "--listen",
        &address,
        "--admin",
        &admin,
        "--probe",
        "127.0.0.1:0",
    ]);
    let ended = Ended::of(command);
    assert_eq!(ended.code, Some(1));
    // Both are reported.
    assert!(
        ended.stderr.contains(&address) && ended.stderr.contains(&admin),
        "{}",
        ended.stderr
    );
    // One port for two is seen without a try.
    let mut command = portcullis();
    command.args(["check", "--admin", "127.0.0.1:9902"]);
    let mistaken = Ended::of(command);
    assert_eq!(mistaken.code, Some(2));
    assert!(
        mistaken
            .stderr
            .contains("--admin has 127.0.0.1:9902, and both cannot be"),
        "{}",
        mistaken.stderr
    );
    assert!(
        ended.stderr.contains("another process listens there"),
        "{}",
        ended.stderr
    );
    drop((taken, other));

    for target in [
        address.clone(),
        format!("http://localhost:{}", address.rsplit_once(':').unwrap().1),
    ] {
        let mut command = portcullis();
        command.args([
            "run",
            "--listen",
            &address,
            "--admin",
            "127.0.0.1:0",
            "--probe",
            "127.0.0.1:0",
            "--target",
            &target,
        ]);
        let ended = Ended::of(command);
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        assert!(
            ended
                .stderr
                .contains("--listen listens there, and requests would go round in circles"),
            "{}",
            ended.stderr
        );
    }
}

#[tokio::test]
async fn the_names_of_the_sidecar_pattern_work_as_they_are() {
    let app = hello("Hello you!").await;
    let sidecar = Sidecar::start("http://127.0.0.1:1", &[]).await;
    let (ca, leaf) = (crate::support::Ca::new(), sidecar.leaf.clone());
    drop(sidecar);
    let secret = Secret::holding(&leaf);
    let mut command = portcullis();
    command
        .args(["run", "--admin", "127.0.0.1:0", "--probe", "127.0.0.1:0"])
        .arg("--cert-dir")
        .arg(secret.path())
        // What Kubernetes injects for a Service named portcullis means nothing.
        .envs([
            ("TARGET", app.address.to_string()),
            ("PORT", "0".to_owned()),
            ("SRV_NAME", "old-name".to_owned()),
            ("PORTCULLIS_PORT", "tcp://10.0.0.1:80".to_owned()),
            ("PORTCULLIS_RINGS", "7".to_owned()),
            ("PORTCULLIS_ADMIN", String::new()),
        ]);
    let sidecar = Sidecar::spawn(command, ca, leaf, secret).await;
    eventually("ready", async || {
        (sidecar.probe("/readyz").await.status == 200).then_some(())
    })
    .await;
    let status = sidecar.admin("/status").await.json();
    assert_eq!(
        (&status["service"], &status["target"]["url"]),
        (&"old-name".into(), &app.to_string().into())
    );
    let log = sidecar.log();
    assert!(
        log.contains("did you mean PORTCULLIS_RING?") && !log.contains("PORTCULLIS_PORT"),
        "{log}"
    );
}

#[test]
fn check_explains_every_value_and_the_certificate() {
    let leaf = crate::support::Ca::new().leaf();
    let secret = Secret::holding(&leaf);
    let config = file("ring: 500\n");
    let mut command = portcullis();
    command
        .args(["check", "--max-head", "32KiB"])
        .env("PORT", "4443");
    command
        .arg("--config")
        .arg(config.path())
        .arg("--cert-dir")
        .arg(secret.path());
    let ended = Ended::of(command);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let line = |name: &str| {
        ended
            .stdout
            .lines()
            .find(|line| line.trim_start().starts_with(name))
            .unwrap_or_else(|| panic!("{name} is missing in {}", ended.stdout))
            .to_owned()
    };
    assert!(line("listen").contains("[::]:4443") && line("listen").contains("environment PORT"));
    assert!(line("max-head").contains("32KiB") && line("max-head").contains("flag --max-head"));
    assert!(line("ring").contains("500") && line("ring").ends_with(":1"));
    assert!(
        line("tls-profile").contains("intermediate") && line("tls-profile").contains("default")
    );
    assert!(line("names").contains("DNS:localhost"), "{}", ended.stdout);

    let mut command = portcullis();
    command.args(["check", "--cert-dir", "/nowhere"]);
    let ended = Ended::of(command);
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.stdout.contains("is the Secret mounted here"),
        "{}",
        ended.stdout
    );
}

#[test]
fn check_tells_ports_and_exposure_and_all_it_can_where_something_is_wrong() {
    let leaf = crate::support::Ca::new().leaf();
    let secret = Secret::holding(&leaf);
    let check = |args: &[&str]| {
        let mut command = portcullis();
        command.arg("check").args(args);
        command.arg("--cert-dir").arg(secret.path());
        Ended::of(command)
    };
    let sound = check(&[]);
    assert_eq!(sound.code, Some(0), "{}", sound.stderr);
    for part in [
        "--listen  TLS",
        "--probe   plain   the network",
        "every container of the pod",
        "25s at most",
    ] {
        assert!(
            sound.stdout.contains(part),
            "{part:?} is missing in {}",
            sound.stdout
        );
    }
    let mistaken = check(&[
        "--listen",
        "x",
        "--ring",
        "none",
        "--probe",
        "127.0.0.1:9902",
    ]);
    assert_eq!(mistaken.code, Some(2));
    for part in [
        "flag --ring",
        "DNS:localhost",
        "has the default in the place",
        "warning: the probe plane is on the loopback",
    ] {
        assert!(
            mistaken.stdout.contains(part),
            "{part:?} is missing in {}",
            mistaken.stdout
        );
    }
    assert!(
        mistaken.stderr.contains("2 mistakes"),
        "{}",
        mistaken.stderr
    );
}

#[tokio::test]
async fn demo_shows_the_main_job() {
    let mut command = portcullis();
    command.args([
        "demo",
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--probe",
        "127.0.0.1:0",
        "--redirect",
        "127.0.0.1:0",
    ]);
    let ca = crate::support::Ca::new();
    let leaf = ca.leaf();
    let mut sidecar = Sidecar::spawn(command, ca, leaf, Secret::empty()).await;
    let script = eventually("the lines to try", async || {
        let text = sidecar.stdout_text();
        text.contains("Ctrl-C").then_some(text)
    })
    .await;
    let path = script
        .split_whitespace()
        .find(|word| word.ends_with("ca.crt"))
        .unwrap();
    let pem = std::fs::read(path).unwrap();
    sidecar.ca.certificate = rustls::pki_types::pem::PemObject::from_pem_slice(&pem).unwrap();
    eventually("ready", async || {
        (sidecar.probe("/readyz").await.status == 200).then_some(())
    })
    .await;
    assert_eq!(Client::h1(&sidecar).get("/").await.text(), "Hello you!");
    let admin = sidecar.admin;
    assert!(
        script.contains(&format!(" top --admin {admin}")),
        "{script}"
    );
    assert!(script.contains(&format!("http://{admin}/\n")), "{script}");
    let page = sidecar.admin("/").await;
    assert_eq!(page.field("content-type"), Some("text/html; charset=utf-8"));

    let second = script
        .split("\"url\":\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    assert_eq!(
        sidecar
            .put_target(&format!("{{\"url\":\"{second}\"}}"))
            .await
            .status,
        200
    );
    assert_eq!(
        Client::h1(&sidecar).get("/").await.text(),
        "Hello from the second app!"
    );

    let before = Client::h1(&sidecar).served().await;
    let rotate = script.lines().find(|line| line.contains("mv -T")).unwrap();
    assert!(
        std::process::Command::new("sh")
            .args(["-c", rotate])
            .status()
            .unwrap()
            .success()
    );
    eventually("the second certificate", async || {
        (Client::h1(&sidecar).served().await != before).then_some(())
    })
    .await;

    let folder = std::path::Path::new(path).parent().unwrap().to_owned();
    sidecar.signal(Signal::INT);
    assert_eq!(sidecar.ended().await.code, Some(0));
    assert!(
        !folder.exists(),
        "the demo left {} behind",
        folder.display()
    );
}

#[tokio::test]
async fn silent_clients_do_not_hold_up_the_end() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &["--drain-timeout", "1h"]).await;
    let handshake = tokio::net::TcpStream::connect(sidecar.https).await.unwrap();
    let preface = Client::new(&sidecar, &["h2"]).connect().await.unwrap();
    let idle = Client::h1(&sidecar).connect().await.unwrap();
    sidecar.signal(Signal::TERM);
    assert_eq!(sidecar.ended().await.code, Some(0));
    drop((handshake, preface, idle));
}
