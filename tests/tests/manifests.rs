//! What `deploy/` says of how to run the gateway grants no more than documented, and its parts agree.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::PathBuf, process::Command};

use serde_json::{Value, json};
use vmsgate_tests::{binaries, checkout, process::capture, require::has};

/// Debian's own, which has its python3-yaml.
const PYTHON: &str = "/usr/bin/python3";
/// What the Containerfile makes and all the others name.
const USER: u64 = 10_001;

#[test]
fn the_pod_passes_the_restricted_pod_security_standard() {
    if !has(&[PYTHON]) {
        return;
    }
    let pod = pod();
    assert_eq!(violations(&pod), Vec::<String>::new());
    let container = &pod["containers"][0];
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(pod["securityContext"]["runAsUser"], USER);
}

#[test]
fn what_the_standard_forbids_is_found() {
    if !has(&[PYTHON]) {
        return;
    }
    let container = "/containers/0/securityContext";
    for (place, value) in [
        ("", json!({"hostNetwork": true})),
        ("", json!({"hostPID": true})),
        ("", json!({"hostIPC": true})),
        ("/securityContext", json!({"runAsNonRoot": false})),
        ("/securityContext", json!({"runAsUser": 0})),
        ("/securityContext", json!({"seccompProfile": null})),
        ("/securityContext", json!({"seccompProfile": {"type": "Unconfined"}})),
        ("/securityContext", json!({"sysctls": [{"name": "net.ipv4.ip_forward", "value": "1"}]})),
        ("/securityContext", json!({"seLinuxOptions": {"user": "root"}})),
        ("/securityContext", json!({"appArmorProfile": {"type": "Unconfined"}})),
        (container, json!({"privileged": true})),
        (container, json!({"allowPrivilegeEscalation": null})),
        (container, json!({"capabilities": {"drop": ["NET_RAW"]}})),
        (container, json!({"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}})),
        (container, json!({"procMount": "Unmasked"})),
        (container, json!({"runAsUser": 0})),
        (container, json!({"runAsNonRoot": false})),
        ("/containers/0", json!({"ports": [{"containerPort": 51820, "hostPort": 51820}]})),
        ("/containers/0", json!({"livenessProbe": {"httpGet": {"host": "10.0.0.1", "port": 80}}})),
        ("", json!({"volumes": [{"name": "tun", "hostPath": {"path": "/dev/net/tun"}}]})),
    ] {
        let mut pod = pod();
        let section = pod.pointer_mut(place).unwrap().as_object_mut().unwrap();
        section.extend(value.as_object().unwrap().clone());
        assert_eq!(violations(&pod).len(), 1, "{place} {value}: {:?}", violations(&pod));
    }
}

#[test]
fn the_objects_of_kubernetes_belong_together_and_the_configuration_is_valid() {
    if !has(&[PYTHON]) {
        return;
    }
    let set = object("statefulset");
    let labels = &set["spec"]["template"]["metadata"]["labels"];
    let container = pod()["containers"][0].clone();
    for (file, selector) in [
        ("statefulset", "/spec/selector/matchLabels"),
        ("service", "/spec/selector"),
        ("networkpolicy", "/spec/podSelector/matchLabels"),
        ("poddisruptionbudget", "/spec/selector/matchLabels"),
    ] {
        assert_eq!(object(file).pointer(selector), Some(labels), "{file}");
    }
    let resources = object("kustomization")["resources"].clone();
    let mut listed: Vec<_> =
        resources.as_array().unwrap().iter().map(|file| file.as_str().unwrap()).collect();
    listed.sort_unstable();
    let folder = fs::read_dir(deploy("kubernetes")).unwrap();
    let mut there: Vec<_> = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    there.retain(|file| file != "kustomization.yaml");
    there.sort_unstable();
    assert_eq!(listed, there);

    let text = object("configmap")["data"]["gateway.toml"].as_str().unwrap().to_owned();
    let file = tempfile::tempdir().unwrap();
    let path = file.path().join("gateway.toml");
    fs::write(&path, &text).unwrap();
    let mut check = Command::new(binaries::built().unwrap().join("vmsgate"));
    let variables = container["env"].as_array().unwrap();
    let variables =
        variables.iter().map(|one| (one["name"].as_str().unwrap(), one["value"].as_str().unwrap()));
    check.env_clear().envs(variables).arg("-c").arg(&path);
    capture(check.arg("check")).unwrap();
    let config: toml::Value = toml::from_str(&text).unwrap();
    let gateway = &config["gateway"];
    let endpoint = container["env"].as_array().unwrap().iter().find(|one| one["name"] == "VMSGATE_ENDPOINT");
    assert_eq!(endpoint.unwrap()["value"].as_str(), gateway["endpoint"].as_str());
    let port = container["ports"][0]["containerPort"].as_u64().unwrap();
    assert!(gateway["listen"].as_str().unwrap().ends_with(&format!(":{port}")));
    assert_eq!(object("service")["spec"]["ports"][0]["port"], port);

    let policy = object("networkpolicy");
    assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
    assert_eq!(policy["spec"]["ingress"], json!([{"ports": [{"port": port, "protocol": "UDP"}]}]));
    assert_eq!(object("namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
    // A restart cuts sessions, so only what a restart heals asks for one.
    assert_eq!(
        container["livenessProbe"]["exec"]["command"],
        json!(["/usr/bin/vmsgate", "health", "--alive"])
    );
    assert_eq!(container["readinessProbe"]["exec"]["command"], json!(["/usr/bin/vmsgate", "health"]));
}

/// Nobody runs with the passphrase that everybody can read.
#[test]
fn the_sample_secret_is_refused() {
    if !has(&[PYTHON]) {
        return;
    }
    let sample = object("secret")["stringData"]["passphrase"].as_str().unwrap().to_owned();
    let passphrase = vmsgate_keys::Passphrase::new(sample.as_bytes()).unwrap();
    passphrase.check_strength().unwrap_err();
}

#[test]
fn compose_and_the_image_grant_what_kubernetes_does() {
    if !has(&[PYTHON]) {
        return;
    }
    let service = yaml("compose.yaml")["services"]["vmsgate"].clone();
    assert_eq!(service["user"], format!("{USER}:{USER}"));
    assert_eq!(service["read_only"], true);
    assert_eq!(service["cap_drop"], json!(["ALL"]));
    assert_eq!(service["security_opt"], json!(["no-new-privileges:true"]));
    for right in ["cap_add", "devices", "privileged", "pid", "ipc", "ports"] {
        assert!(service.get(right).is_none(), "{right}");
    }
    let image = fs::read_to_string(deploy("Containerfile")).unwrap();
    assert!(image.contains(&format!("\nUSER {USER}:{USER}\n")), "{image}");
    let (_, shipped) = image.split_once("\nFROM scratch\n").unwrap();
    assert!(!shipped.contains("\nRUN ") && !shipped.contains("\nADD "), "{shipped}");
}

/// Kubernetes' own list for `restricted`, which includes that for `baseline`.
/// <https://kubernetes.io/docs/concepts/security/pod-security-standards/>
fn violations(pod: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut expect = |holds: bool, what: &str| {
        if !holds {
            found.push(what.to_owned());
        }
    };
    let absent = |value: &Value| value.is_null() || *value == json!(false);
    let whole = &pod["securityContext"];
    for namespace in ["hostNetwork", "hostPID", "hostIPC"] {
        expect(absent(&pod[namespace]), namespace);
    }
    expect(whole["sysctls"].is_null(), "sysctls");
    for volume in pod["volumes"].as_array().into_iter().flatten() {
        let allowed = [
            "configMap",
            "csi",
            "downwardAPI",
            "emptyDir",
            "ephemeral",
            "persistentVolumeClaim",
            "projected",
            "secret",
        ];
        let kinds = volume.as_object().unwrap().keys().filter(|key| *key != "name");
        for kind in kinds {
            expect(allowed.contains(&kind.as_str()), kind);
        }
    }
    let containers = ["containers", "initContainers", "ephemeralContainers"];
    for container in containers.iter().flat_map(|list| pod[*list].as_array().into_iter().flatten()) {
        let own = &container["securityContext"];
        let or_whole = |key: &str| if own[key].is_null() { &whole[key] } else { &own[key] };
        expect(absent(&own["privileged"]), "privileged");
        expect(own["allowPrivilegeEscalation"] == json!(false), "allowPrivilegeEscalation");
        expect(*or_whole("runAsNonRoot") == json!(true), "runAsNonRoot");
        expect(or_whole("runAsUser").as_u64() != Some(0), "runAsUser");
        let seccomp = or_whole("seccompProfile")["type"].as_str();
        expect(matches!(seccomp, Some("RuntimeDefault" | "Localhost")), "seccompProfile");
        let armour = or_whole("appArmorProfile")["type"].as_str();
        expect(matches!(armour, None | Some("RuntimeDefault" | "Localhost")), "appArmorProfile");
        expect(or_whole("seLinuxOptions").is_null(), "seLinuxOptions");
        expect(own["procMount"].is_null() || own["procMount"] == "Default", "procMount");
        let names = |key: &str| own["capabilities"][key].as_array().cloned().unwrap_or_default();
        expect(names("drop").contains(&json!("ALL")), "capabilities.drop");
        expect(names("add").iter().all(|name| name == "NET_BIND_SERVICE"), "capabilities.add");
        for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
            expect(container.pointer(&format!("/{probe}/httpGet/host")).is_none(), probe);
        }
        for port in container["ports"].as_array().into_iter().flatten() {
            expect(port["hostPort"].is_null(), "hostPort");
        }
    }
    found
}

fn pod() -> Value {
    object("statefulset")["spec"]["template"]["spec"].clone()
}

fn object(name: &str) -> Value {
    yaml(&format!("kubernetes/{name}.yaml"))
}

/// The one document of a file.
fn yaml(file: &str) -> Value {
    let read = "import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout)";
    let text = capture(Command::new(PYTHON).args(["-c", read]).arg(deploy(file))).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn deploy(file: &str) -> PathBuf {
    checkout().join("deploy").join(file)
}
