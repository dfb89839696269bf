//! The volumes with the certificates, and where the sidecar mounts them.

use serde_json::{Value, json};

use super::shape::Pod;
use crate::kubernetes::settings::Settings;

/// Their names.
pub(super) const VOLUMES: [&str; 2] = [TLS, CA];

/// Where the sidecar finds the CAs of clients when they have a Secret of their own.
pub(super) const CA_FILE: &str = "/etc/portcullis/client-ca/ca.crt";

/// Whether the pod has the first of them. This much is read of any JSON.
pub(super) fn is_there(template: &Value) -> bool {
    let volumes = template.pointer("/spec/volumes").and_then(Value::as_array);
    volumes.is_some_and(|volumes| volumes.iter().any(|one| one["name"] == TLS))
}

/// What the pod gets.
pub(super) fn volumes(pod: &Pod<'_>, settings: &Settings) -> Vec<Value> {
    let mode = if pod.has_fs_group {
        GROUP_READS
    } else {
        ALL_READ
    };
    let tls = json!({
        "name": TLS,
        "secret": { "secretName": settings.tls_secret, "defaultMode": mode },
    });
    let ca = client_ca(settings).map(|secret| {
        let items = [json!({ "key": "ca.crt", "path": "ca.crt" })];
        json!({
            "name": CA,
            "secret": { "secretName": secret, "defaultMode": mode, "items": items },
        })
    });
    [tls].into_iter().chain(ca).collect()
}

/// The sidecar's part of it: whole folders, as what is mounted with `subPath` never changes.
pub(super) fn mounts(settings: &Settings) -> Vec<Value> {
    let mount =
        |name: &str, path: &str| json!({ "name": name, "mountPath": path, "readOnly": true });
    let tls = mount(TLS, "/etc/portcullis/tls");
    let ca = client_ca(settings).map(|_| mount(CA, "/etc/portcullis/client-ca"));
    [tls].into_iter().chain(ca).collect()
}

/// The Secret with the CAs of clients, where it is one of its own and used.
pub(super) fn client_ca(settings: &Settings) -> Option<&str> {
    let secret = settings.client_ca_secret.as_deref()?;
    settings.asks_clients().then_some(secret)
}

const TLS: &str = "portcullis-tls";
const CA: &str = "portcullis-ca";

/// 0444: the pod's group of files would have to be set, and would change those of its other volumes. Nobody but the sidecar
/// mounts these.
const ALL_READ: u32 = 0o444;

/// 0440: the pod has a group of files already.
const GROUP_READS: u32 = 0o440;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::settings::ClientAuth;

    fn settings() -> Settings {
        Settings {
            tls_secret: "app-tls".to_owned(),
            client_ca_secret: Some("clients".to_owned()),
            ..Settings::default()
        }
    }

    fn volumes_of(spec: &Value, settings: &Settings) -> Value {
        let template = json!({ "spec": spec });
        json!(volumes(&Pod::read(&template).unwrap(), settings))
    }

    #[test]
    fn the_key_is_readable_with_and_without_a_group_of_files() {
        let containers = json!([{ "name": "app" }]);
        let expected = |mode: u32| {
            let secret = json!({ "secretName": "app-tls", "defaultMode": mode });
            json!([{ "name": "portcullis-tls", "secret": secret }])
        };
        let spec = json!({ "containers": containers });
        assert_eq!(volumes_of(&spec, &settings()), expected(292));
        let spec = json!({ "containers": containers, "securityContext": { "fsGroup": 1 } });
        assert_eq!(volumes_of(&spec, &settings()), expected(288));
    }

    #[test]
    fn client_cas_have_a_volume_where_clients_are_asked() {
        let settings = Settings {
            client_auth: ClientAuth::Required,
            ..settings()
        };
        let spec = json!({ "containers": [{ "name": "app" }] });
        let ca = json!({ "name": "portcullis-ca", "secret": {
            "secretName": "clients", "defaultMode": 292, "items": [{ "key": "ca.crt", "path": "ca.crt" }],
        } });
        assert_eq!(volumes_of(&spec, &settings)[1], ca);
        let mount = json!({ "name": "portcullis-ca", "mountPath": "/etc/portcullis/client-ca", "readOnly": true });
        assert_eq!(mounts(&settings)[1], mount);
    }
}
