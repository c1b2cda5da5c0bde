//! The manifests of Kubernetes, and what compose.yaml starts.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use dirsyncd::config::{Config, Provisioning};
use dirsyncd::run::Setup;
use serde_json::{Value, json};

use super::{file, run};

/// The documents of `deploy/`, each valid, by file.
fn documents() -> &'static BTreeMap<String, Value> {
    static DOCUMENTS: LazyLock<BTreeMap<String, Value>> = LazyLock::new(|| {
        let venv = file("target/manifests-venv");
        run(Command::new(file("tests/scim/setup.sh"))
            .arg(&venv)
            .arg(file("tests/container/requirements.txt")));
        let said = run(Command::new(venv.join("bin/python"))
            .arg("-B")
            .arg(file("tests/container/validate.py"))
            .arg(file("deploy")));
        let lines = said.lines().map(|line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            let name = line["file"].as_str().unwrap().to_owned();
            (name, line["document"].take())
        });
        lines.collect()
    });
    &DOCUMENTS
}

pub(crate) fn document(name: &str) -> &'static Value {
    &documents()[name]
}

/// What the program makes of a configuration at this place.
fn configuration(path: &str, text: &str) -> Config {
    let config = Config::parse(Path::new(path), text).unwrap();
    Setup::new(config).unwrap().config
}

#[test]
fn what_kubernetes_is_given_follows_its_schemas_and_is_all_of_it() {
    let mut there: Vec<&str> = documents().keys().map(String::as_str).collect();
    there.retain(|name| {
        !["compose.yaml", "kustomization.yaml", "secret.example.yaml"].contains(name)
    });
    let listed = document("kustomization.yaml")["resources"]
        .as_array()
        .unwrap();
    let mut listed: Vec<&str> = listed.iter().map(|name| name.as_str().unwrap()).collect();
    listed.sort_unstable();
    assert_eq!(listed, there);
}

#[test]
fn a_pod_is_alone_and_without_rights() {
    let deployment = &document("deployment.yaml")["spec"];
    assert_eq!(deployment["replicas"], 1);
    assert_eq!(deployment["strategy"]["type"], "Recreate");
    let pod = &deployment["template"]["spec"];
    assert_eq!(
        pod["securityContext"],
        json!({
            "runAsNonRoot": true, "runAsUser": 10001, "runAsGroup": 10001, "fsGroup": 10001,
            "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"},
        })
    );
    let container = &pod["containers"][0];
    assert_eq!(
        container["securityContext"],
        json!({
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        })
    );
    // Kubernetes opens it to the fsGroup, and to nobody else.
    assert_eq!(pod["volumes"][1]["secret"]["defaultMode"], 0o400);
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        let command = &container[probe]["exec"]["command"];
        assert_eq!(
            command,
            &json!([
                "/usr/bin/dirsyncd",
                "status",
                "--quiet",
                "--socket",
                "/var/lib/dirsyncd/dirsyncd.db.sock"
            ]),
            "{probe}"
        );
    }
    let startup = &container["startupProbe"];
    let number = |key: &str| startup[key].as_u64().unwrap();
    assert_eq!(number("periodSeconds") * number("failureThreshold"), 600);
    // As many volumes as places.
    let names = |list: &Value| -> Vec<String> {
        let list = list.as_array().unwrap().iter();
        list.map(|volume| volume["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&container["volumeMounts"]), names(&pod["volumes"]));
}

#[test]
fn the_configuration_for_kubernetes_names_the_secrets_and_places_that_a_pod_has() {
    let text = document("configmap.yaml")["data"]["config.toml"]
        .as_str()
        .unwrap();
    let config = configuration("/etc/dirsyncd/config.toml", text);
    assert_eq!(config.database, Path::new("/var/lib/dirsyncd/dirsyncd.db"));
    let secret = document("secret.example.yaml")["stringData"]
        .as_object()
        .unwrap();
    for name in secret.keys() {
        assert!(
            text.contains(&format!("{{ credential = \"{name}\" }}")),
            "{name}"
        );
    }
    assert_eq!(text.matches("credential =").count(), secret.len());
}

#[test]
fn what_compose_starts_is_closed_and_fits_together() {
    let services = &document("compose.yaml")["services"];
    for (name, service) in services.as_object().unwrap() {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(service["cap_drop"], json!(["ALL"]), "{name}");
        assert_eq!(
            service["security_opt"],
            json!(["no-new-privileges:true"]),
            "{name}"
        );
    }
    let text = fs::read_to_string(file("deploy/container/config.toml")).unwrap();
    let organization = configuration("/etc/dirsyncd/config.toml", &text).organization;
    let Provisioning::Scim { directory, .. } = &organization.provisioning else {
        panic!("{:?}", organization.provisioning);
    };
    let command = services["simulator"]["command"].as_array().unwrap();
    let address = organization
        .api
        .as_str()
        .trim_start_matches("http://")
        .trim_end_matches('/');
    for option in [
        format!("--organization={}", organization.id),
        format!("--directory={directory}"),
        format!("--listen={address}"),
    ] {
        assert!(command.contains(&json!(option)), "{option}");
    }
    assert_eq!(services["dirsyncd"]["network_mode"], "service:simulator");
}
