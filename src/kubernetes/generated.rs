//! Manifests for tests: objects of every kind, as a tape of bytes decides.

use serde_json::{Value, json};

use super::styled::{Tape, Writer};

fn probe(tape: &mut Tape<'_>) -> Value {
    match tape.of(6) {
        0 => json!({"httpGet": {"path": "/healthz", "port": 8080}}),
        1 => json!({"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 5}),
        2 => json!({"tcpSocket": {"port": 8080}}),
        3 => json!({"exec": {"command": ["cat", "/tmp/x"]}}),
        4 => json!({"httpGet": {"port": 8080, "path": "/other"}}),
        _ => json!({"httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTPS"}}),
    }
}

fn template(tape: &mut Tape<'_>) -> Value {
    let mut app = json!({"name": "app", "image": "registry.example/app:1.0",
        "ports": [{"name": "http", "containerPort": 8080}], "env": [{"name": "A", "value": "yes"}]});
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if tape.of(2) == 1 {
            app[name] = probe(tape);
        }
    }
    match tape.of(5) {
        1 => app["lifecycle"] = json!({"preStop": {"exec": {"command": ["sleep", "5"]}}}),
        2 => app["lifecycle"] = json!({"postStart": {"exec": {"command": ["true"]}}}),
        3 => app["lifecycle"] = json!({}),
        _ => {}
    }
    let mut spec = json!({"containers": [app]});
    if tape.of(3) == 1 {
        spec["containers"]
            .as_array_mut()
            .unwrap()
            .insert(tape.of(2).into(), json!({"name": "log", "image": "log:1"}));
    }
    match tape.of(4) {
        1 => spec["initContainers"] = json!([{"name": "first", "image": "x:1"}]),
        2 => spec["initContainers"] = json!([]),
        _ => {}
    }
    match tape.of(4) {
        1 => spec["volumes"] = json!([{"name": "data", "emptyDir": {}}]),
        2 => spec["volumes"] = json!([]),
        3 => spec["volumes"] = Value::Null,
        _ => {}
    }
    if tape.of(3) == 1 {
        spec["terminationGracePeriodSeconds"] = json!(60);
    }
    let mut template = json!({"spec": spec});
    match tape.of(5) {
        1 => template["metadata"] = json!({"labels": {"app": "web"}}),
        2 => template["metadata"] = json!({"labels": {"app": "web"}, "annotations": {"a": "b"}}),
        3 => template["metadata"] = json!({"annotations": Value::Null, "labels": {"app": "web"}}),
        4 => template["metadata"] = json!({"annotations": {}, "labels": {"app": "web"}}),
        _ => {}
    }
    template
}

fn object(tape: &mut Tape<'_>) -> Value {
    let metadata = json!({"name": "web", "labels": {"app": "web"}});
    match tape.of(6) {
        0 => json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
            "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template(tape), "replicas": 2}}),
        1 => json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata,
            "spec": {"template": template(tape), "volumeClaimTemplates": [{"metadata": {"name": "data"}}]}}),
        2 => json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata,
            "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": template(tape)}}}}),
        3 => {
            let mut pod = template(tape);
            pod["apiVersion"] = json!("v1");
            pod["kind"] = json!("Pod");
            pod["metadata"]["name"] = json!("web");
            pod
        }
        4 => json!({"apiVersion": "v1", "kind": "List", "items": [object(tape), object(tape)]}),
        _ => {
            json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"selector": {"app": "web"},
            "ports": [{"name": "http", "port": 80, "targetPort": "http"}, {"name": "x", "port": 81}]}})
        }
    }
}

/// A stream of up to three documents.
pub(super) fn stream(choices: &[u8]) -> String {
    let (shape, style) = choices.split_at(choices.len() / 3);
    let mut shape = Tape(shape.iter());
    let tape = Tape(style.iter());
    let mut writer = Writer {
        tape,
        out: String::new(),
        anchors: Vec::new(),
        feed: "\n",
    };
    if writer.tape.sometimes() {
        writer.feed = "\r\n";
    }
    for number in 0..=shape.of(3) {
        if number > 0 || writer.tape.of(2) == 1 {
            writer.out.push_str("---");
            writer.feed();
        }
        writer.document(&object(&mut shape));
    }
    if writer.tape.sometimes() {
        let kept = writer.out.trim_end().len();
        writer.out.truncate(kept);
    }
    writer.out
}
