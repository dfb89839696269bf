use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Request;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;

use crate::support::{
    Answer, Ca, Client, Ended, H2, Secret, Sidecar, eventually, portcullis, read_answer,
};

/// `portcullis webhook`, ready.
async fn webhook(args: &[&str]) -> Sidecar {
    let ca = Ca::new();
    let leaf = ca.leaf();
    let secret = Secret::holding(&leaf);
    let mut command = portcullis();
    command
        .args(["webhook", "--listen=127.0.0.1:0", "--probe=127.0.0.1:0"])
        .args(["--admin=127.0.0.1:0", "--drain-delay=0", "--workers=2"])
        .arg("--cert-dir")
        .arg(secret.path())
        .args(args);
    let sidecar = Sidecar::spawn(command, ca, leaf, secret).await;
    sidecar.ready().await;
    sidecar
}

/// As a ReplicaSet makes it.
fn pod(annotations: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "legacy-app-7d4b9c-",
            "labels": { "app.kubernetes.io/name": "legacy-app", "pod-template-hash": "7d4b9c" },
            "annotations": annotations,
            "ownerReferences": [{
                "apiVersion": "apps/v1",
                "kind": "ReplicaSet",
                "name": "legacy-app-7d4b9c",
                "uid": "0b1e",
                "controller": true,
            }],
        },
        // With the defaults that the API server puts in before it asks.
        "spec": {
            "containers": [{
                "name": "app",
                "image": "legacy:1",
                "imagePullPolicy": "IfNotPresent",
                "ports": [{ "name": "http", "containerPort": 8080, "protocol": "TCP" }],
                "livenessProbe": {
                    "httpGet": { "path": "/healthz", "port": "http", "scheme": "HTTP" },
                    "timeoutSeconds": 1,
                },
                "terminationMessagePath": "/dev/termination-log",
            }],
            "dnsPolicy": "ClusterFirst",
            "restartPolicy": "Always",
            "securityContext": {},
            "terminationGracePeriodSeconds": 30,
        },
    })
}

fn review_of(uid: &str, object: &Value, more: &Value) -> Value {
    let mut request = json!({
        "uid": uid,
        "kind": { "group": "", "version": "v1", "kind": object["kind"] },
        "resource": { "group": "", "version": "v1", "resource": "pods" },
        "namespace": "shop",
        "operation": "CREATE",
        "userInfo": { "username": "system:serviceaccount:kube-system:replicaset-controller" },
        "object": object,
        "oldObject": null,
        "dryRun": false,
        "options": { "kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1" },
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        request[key] = value.clone();
    }
    json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request })
}

fn review(object: &Value) -> Value {
    review_of("705ab4f5", object, &Value::Null)
}

fn post(fields: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST /mutate?timeout=10s HTTP/1.1\r\nHost: localhost\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
    )
}

const JSON: &str = "Content-Type: application/json\r\n";

/// What the webhook says of a review.
async fn asked(sidecar: &Sidecar, review: &Value) -> Value {
    let answer = Client::h1(sidecar)
        .send(post(JSON, &review.to_string()))
        .await;
    response(&answer, &review["request"]["uid"])
}

fn response(answer: &Answer, uid: &Value) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.field("content-type"), Some("application/json"));
    let review = answer.json();
    assert_eq!(review["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(review["kind"], "AdmissionReview");
    assert_eq!(&review["response"]["uid"], uid);
    review["response"].clone()
}

/// The object as the API server would store it.
fn patched(object: &Value, response: &Value) -> Value {
    assert_eq!(response["allowed"], true, "{response}");
    assert_eq!(response["patchType"], "JSONPatch", "{response}");
    let patch = STANDARD
        .decode(response["patch"].as_str().unwrap())
        .unwrap();
    let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
    let mut object = object.clone();
    json_patch::patch(&mut object, &patch).unwrap();
    object
}

fn is_injected(pod: &Value) -> bool {
    let containers = pod["spec"]["initContainers"].as_array();
    containers.is_some_and(|all| all.iter().any(|one| one["name"] == "portcullis"))
}

fn is_left(response: &Value) -> bool {
    response["allowed"] == true && response["patch"].is_null()
}

async fn posted(h2: &H2, body: &[u8]) -> Result<(u16, Vec<u8>), h2::Error> {
    let request = Request::post("https://localhost/mutate")
        .header("content-type", "application/json")
        .body(())
        .unwrap();
    let (status, _, bytes) = h2
        .exchange(request, Some(Bytes::copy_from_slice(body)))
        .await?;
    Ok((status.as_u16(), bytes))
}

#[tokio::test]
async fn a_pod_that_is_seen_twice_is_patched_once() {
    let sidecar = webhook(&["--inject", "tls-secret=app-tls"]).await;
    let pod = pod(&json!({}));
    let response = asked(&sidecar, &review(&pod)).await;
    let once = patched(&pod, &response);
    assert!(is_injected(&once), "{once}");
    let secret = once["spec"]["volumes"]
        .as_array()
        .and_then(|volumes| volumes.iter().find(|one| one["name"] == "portcullis-tls"));
    assert_eq!(secret.unwrap()["secret"]["secretName"], "app-tls");
    let probe = &once["spec"]["containers"][0]["livenessProbe"];
    let moved = json!({ "path": "/app", "port": 9902, "scheme": "HTTP" });
    assert_eq!(
        (&probe["httpGet"], &probe["timeoutSeconds"]),
        (&moved, &1.into())
    );
    let env = &once["spec"]["initContainers"][0]["env"];
    let name = json!({ "name": "SRV_NAME", "value": "legacy-app" });
    assert!(env.as_array().unwrap().contains(&name), "{env}");
    assert!(
        response["warnings"].is_null(),
        "a controller reads none: {response}"
    );
    let again = asked(&sidecar, &review(&once)).await;
    assert!(is_left(&again), "{again}");
    let record = sidecar.exchange("/mutate").await;
    assert_eq!(
        (&record["method"], &record["status"], &record["service"]),
        (&"POST".into(), &200.into(), &"portcullis-webhook".into())
    );
}

#[tokio::test]
async fn clients_of_every_kind_get_the_same_answer() {
    let sidecar = webhook(&["--inject", "tls-secret=app-tls"]).await;
    let review = review(&pod(&json!({})));
    let expected = asked(&sidecar, &review).await;
    for (version, name) in [
        (&rustls::version::TLS12, "1.2"),
        (&rustls::version::TLS13, "1.3"),
    ] {
        let client = Client::with_versions(&sidecar, &["http/1.1"], &[version]);
        let answer = client.send(post(JSON, &review.to_string())).await;
        assert_eq!(response(&answer, &"705ab4f5".into()), expected);
        let h2 = Client::with_versions(&sidecar, &["h2"], &[version])
            .h2()
            .await;
        let (status, body) = posted(&h2, review.to_string().as_bytes()).await.unwrap();
        let answer: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((status, &answer["response"]), (200, &expected));
        for protocol in ["1.1", "2"] {
            sidecar
                .record("of each", |record| {
                    let said = |field: &str| record[field].as_str().unwrap_or_default();
                    record["path"] == "/mutate"
                        && said("http").ends_with(protocol)
                        && said("tls").ends_with(name)
                })
                .await;
        }
    }
}

#[tokio::test]
async fn what_is_no_review_is_refused_with_the_reason() {
    let sidecar = webhook(&[]).await;
    let client = Client::h1(&sidecar);
    let good = review(&pod(&json!({}))).to_string();
    let beta = good.replace("admission.k8s.io/v1", "admission.k8s.io/v1beta1");
    for (fields, body, status, part) in [
        (JSON, "", 400, "not an AdmissionReview"),
        (JSON, "{\"apiVersion\":", 400, "not an AdmissionReview"),
        (JSON, "\u{0}\u{ff}", 400, "not an AdmissionReview"),
        (JSON, &good[..good.len() - 1], 400, "not an AdmissionReview"),
        (JSON, &beta, 400, "admissionReviewVersions"),
        (
            JSON,
            &pod(&json!({})).to_string(),
            400,
            "not an AdmissionReview of",
        ),
        ("", &good, 415, "application/json"),
        (
            "Content-Type: application/yaml\r\n",
            &good,
            415,
            "application/json",
        ),
        (
            "Content-Type: application/jsonx\r\n",
            &good,
            415,
            "application/json",
        ),
        (
            "Content-Type: Application/JSON; charset=utf-8\r\n",
            &good,
            200,
            "uid",
        ),
    ] {
        let answer = client.send(post(fields, body)).await;
        assert_eq!(answer.status, status, "{fields}{body}: {}", answer.text());
        assert!(
            answer.text().contains(part),
            "{fields}{body}: {}",
            answer.text()
        );
    }
    let get = client.get("/mutate").await;
    assert_eq!((get.status, get.field("allow")), (405, Some("POST")));
    let answer = client
        .send(post(JSON, &good).replace("/mutate", "/healthz"))
        .await;
    assert_eq!(
        (answer.status, answer.field("allow")),
        (405, Some("GET, HEAD"))
    );
    assert_eq!(client.get("/healthz").await.status, 200);
    assert_eq!(client.get("/").await.status, 404);
}

#[tokio::test]
async fn a_review_may_be_large_and_not_too_large() {
    let sidecar = webhook(&["--inject", "tls-secret=app-tls"]).await;
    let client = Client::h1(&sidecar);
    let said = format!(
        "POST /mutate HTTP/1.1\r\nHost: a\r\n{JSON}Content-Length: {}\r\n\r\n",
        (4 << 20) + 1
    );
    assert_eq!(client.send(said).await.status, 413);
    let chunk = format!("100000\r\n{}\r\n", " ".repeat(1 << 20));
    let chunked = format!(
        "POST /mutate HTTP/1.1\r\nHost: a\r\n{JSON}Transfer-Encoding: chunked\r\n\r\n{}",
        chunk.repeat(5)
    );
    let stream = client.connect().await.unwrap();
    let (mut read, mut write) = tokio::io::split(stream);
    // It may be told so before it has said all.
    let writing = tokio::spawn(async move { write.write_all(chunked.as_bytes()).await });
    let head = crate::support::read_until(&mut read, b"\r\n\r\n").await;
    let head = String::from_utf8(head.unwrap()).unwrap();
    assert!(head.starts_with("HTTP/1.1 413"), "{head}");
    writing.abort();
    let h2 = Client::new(&sidecar, &["h2"]).h2().await;
    let (status, _) = posted(&h2, &vec![b' '; 5 << 20]).await.unwrap();
    assert_eq!(status, 413);

    // Annotations have 256 KiB at most, all in all an object may have more.
    let mut large = pod(&json!({ "example.com/notes": "n".repeat(1 << 20) }));
    let told = asked(&sidecar, &review(&large)).await;
    assert!(is_injected(&patched(&large, &told)));
    // The same in chunks, whose number nobody has told.
    large["metadata"]["annotations"] = json!({ "example.com/notes": "n".repeat(3 << 20) });
    let body = review(&large).to_string();
    let chunked = format!(
        "POST /mutate HTTP/1.1\r\nHost: a\r\n{JSON}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    let answer = client.send(chunked).await;
    let told = response(&answer, &"705ab4f5".into());
    assert!(is_injected(&patched(&large, &told)));
}

#[tokio::test]
async fn a_pod_that_cannot_be_protected_is_refused_with_all_that_is_wrong() {
    let sidecar = webhook(&[]).await;
    let refused = async |annotations: Value| {
        let response = asked(&sidecar, &review(&pod(&annotations))).await;
        assert_eq!(response["allowed"], false, "{response}");
        assert!(response["patch"].is_null(), "{response}");
        let status = &response["status"];
        assert_eq!(
            (&status["code"], &status["reason"]),
            (&422.into(), &"Invalid".into())
        );
        status["message"].as_str().unwrap().to_owned()
    };
    let message = refused(json!({})).await;
    for part in ["tls-secret", "portcullis.dev/inject: disabled"] {
        assert!(message.contains(part), "{message}");
    }
    let message = refused(json!({
        "portcullis.dev/tls-secret": "app-tls",
        "portcullis.dev/mode": "modern",
        "portcullis.dev/https-prt": "9443",
    }))
    .await;
    for part in ["portcullis.dev/mode", "did you mean https-port?"] {
        assert!(message.contains(part), "{message}");
    }
    eventually("the program's own log tells", async || {
        let log = sidecar.log();
        (log.contains("did you mean https-port?") && log.contains("shop")).then_some(())
    })
    .await;
    let said = pod(&json!({ "portcullis.dev/tls-secret": "app-tls" }));
    let response = asked(&sidecar, &review(&said)).await;
    assert!(is_injected(&patched(&said, &response)));
}

#[tokio::test]
async fn what_is_not_to_be_injected_is_let_through() {
    let sidecar = webhook(&[]).await;
    let disabled = pod(&json!({ "portcullis.dev/inject": "disabled" }));
    let response = asked(&sidecar, &review(&disabled)).await;
    assert!(is_left(&response), "{response}");
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" } });
    let widget = json!({ "apiVersion": "example.com/v1", "kind": "Pod", "metadata": {} });
    let pod = pod(&json!({}));
    for (object, more) in [
        (&secret, json!({})),
        (&widget, json!({})),
        (&pod, json!({ "operation": "DELETE", "object": null })),
        (&pod, json!({ "operation": "CONNECT" })),
        (&pod, json!({ "operation": "UPDATE" })),
        (
            &pod,
            json!({ "operation": "CREATE", "subResource": "binding" }),
        ),
    ] {
        let review = review_of("other", object, &more);
        let response = asked(&sidecar, &review).await;
        assert!(is_left(&response), "{review}: {response}");
    }
}

#[tokio::test]
async fn it_is_operated_like_a_sidecar() {
    let sidecar = webhook(&["--inject", "tls-secret=app-tls", "--inject", "mode=native"]).await;
    assert_eq!(sidecar.probe("/app").await.status, 200);
    let options = sidecar.admin("/config").await.json()["options"].clone();
    let option = |name: &str| {
        let mut options = options.as_array().unwrap().iter();
        options.find(|option| option["name"] == name).cloned()
    };
    assert_eq!(
        option("inject"),
        Some(json!({
            "name": "inject",
            "value": "tls-secret=app-tls, mode=native",
            "origin": "flag --inject",
        }))
    );
    assert_eq!(option("target").unwrap()["origin"], "webhook");
    let moved = sidecar.put_target(r#"{"url":"http://127.0.0.1:1"}"#).await;
    assert_eq!(moved.status, 403, "{}", moved.text());
    sidecar.signal(Signal::TERM);
    assert_eq!(sidecar.ended().await.code, Some(0));
}

#[test]
fn all_mistakes_are_told_in_one_run() {
    let mut command = portcullis();
    command
        .args(["webhook", "--ring", "none"])
        .env("PORTCULLIS_INJECT", "tls-secret=-, mod=native,classic");
    let ended = Ended::of(command);
    assert_eq!(ended.code, Some(2));
    for part in [
        "4 mistakes",
        "flag --ring",
        "--inject tls-secret=- (environment PORTCULLIS_INJECT): ",
        "did you mean mode?",
        "--inject classic (environment PORTCULLIS_INJECT): it is not NAME=VALUE",
    ] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
}

/// Reviews one after the other, on kept connections, on new ones and over HTTP/2, each with another uid.
struct Reviews {
    stop: Arc<AtomicBool>,
    begun: Arc<AtomicU64>,
    tasks: JoinSet<()>,
}

impl Reviews {
    fn on(sidecar: &Sidecar, of_each: usize) -> Self {
        let (stop, begun) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let mut tasks = JoinSet::new();
        for number in 0..of_each * 3 {
            let (stop, begun) = (Arc::clone(&stop), Arc::clone(&begun));
            let alpn = if number % 3 == 2 { "h2" } else { "http/1.1" };
            let client = Client::new(sidecar, &[alpn]);
            tasks.spawn(async move {
                let mut asked = 0;
                let mut ask = || {
                    asked += 1;
                    begun.fetch_add(1, Ordering::Relaxed);
                    let uid = format!("{number}-{asked}");
                    let review = review_of(&uid, &pod(&json!({})), &Value::Null);
                    (Value::from(uid), review.to_string())
                };
                if alpn == "h2" {
                    let h2 = client.h2().await;
                    while !stop.load(Ordering::Relaxed) {
                        let (uid, review) = ask();
                        let (status, body) = posted(&h2, review.as_bytes()).await.unwrap();
                        let answer: Value = serde_json::from_slice(&body).unwrap();
                        assert_eq!((status, &answer["response"]["uid"]), (200, &uid));
                    }
                    return;
                }
                let mut stream = client.connect().await.unwrap();
                while !stop.load(Ordering::Relaxed) {
                    if number % 3 == 1 {
                        stream = client.connect().await.unwrap();
                    }
                    let (uid, review) = ask();
                    let request = post(JSON, &review);
                    stream.write_all(request.as_bytes()).await.unwrap();
                    let answer = read_answer(&mut stream).await.unwrap();
                    assert!(response(&answer, &uid)["patch"].is_string());
                }
            });
        }
        Self { stop, begun, tasks }
    }

    /// Waits for so many more.
    async fn more(&self, count: u64) {
        let wanted = self.begun.load(Ordering::Relaxed) + count;
        eventually("more reviews", async || {
            (self.begun.load(Ordering::Relaxed) >= wanted).then_some(())
        })
        .await;
    }

    /// Ends it; a review that failed fails the test here.
    async fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(finished) = self.tasks.join_next().await {
            finished.unwrap();
        }
    }
}

#[tokio::test]
async fn certificates_are_renewed_while_hundreds_of_reviews_are_in_flight() {
    let mut sidecar = webhook(&["--inject", "tls-secret=app-tls"]).await;
    let reviews = Reviews::on(&sidecar, 70);
    reviews.more(500).await;
    let client = Client::h1(&sidecar);
    for generation in 2..=6 {
        let leaf = sidecar.ca.leaf();
        sidecar.secret.swap(&leaf);
        sidecar.published(generation).await;
        client.sees("the new certificate", &leaf).await;
        reviews.more(250).await;
    }
    reviews.end().await;
    assert!(sidecar.records().iter().all(|record| {
        record["kind"] == "audit" || (record["kind"] == "exchange" && record["status"] == 200)
    }));
}
