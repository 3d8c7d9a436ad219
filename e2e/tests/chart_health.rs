//! The health checks of Argo CD, run by Lua 5.1 on objects as the operator writes them. Argo CD gives a script the object
//! and the basic functions, and no other library: so does this.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod manifests;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use manifests::{kustomize, objects, read, run, the};
use printernizer_e2e::farm::project;
use serde_json::Value;

/// Runs a script as Argo CD does: what it says, status and message.
const RUNNER: &str = r#"
local script, object = arg[1], arg[2]
local environment = { ipairs = ipairs, pairs = pairs, next = next, type = type, tostring = tostring, tonumber = tonumber, table = table }
environment.obj = assert(loadstring("return " .. object))()
local health = setfenv(assert(loadfile(script)), environment)()
io.write(health.status, "\n", health.message or "")
"#;

/// A value as Lua writes it.
fn lua(value: &Value) -> String {
    let text = |text: &str| {
        let bytes: Vec<String> = text.bytes().map(|byte| format!("\\{byte:03}")).collect();
        format!("\"{}\"", bytes.concat())
    };
    match value {
        Value::Null => "nil".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(string) => text(string),
        Value::Array(items) => format!("{{{}}}", items.iter().map(lua).collect::<Vec<_>>().join(",")),
        Value::Object(fields) => {
            let fields: Vec<String> = fields.iter().map(|(name, v)| format!("[{}]={}", text(name), lua(v))).collect();
            format!("{{{}}}", fields.join(","))
        }
    }
}

fn health(script: &Path, object: &Value) -> (String, String) {
    let runner = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(runner.path(), RUNNER).unwrap();
    let said = run(Command::new("lua5.1").arg(runner.path()).arg(script).arg(lua(object))).unwrap();
    let (status, message) = said.split_once('\n').unwrap();
    (status.to_owned(), message.to_owned())
}

/// Every kind there is, by the definitions.
fn kinds() -> Vec<String> {
    let definitions = objects(&kustomize("crds/manifests").unwrap());
    definitions.iter().map(|definition| definition["spec"]["names"]["kind"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_object_has_the_health_that_is_written_down_for_it() {
    for kind in kinds() {
        let folder = project().join("deploy/argocd/health").join(&kind);
        let tests = objects(&read(&folder.join("health_test.yaml"))).remove(0);
        let (mut used, mut seen) = (BTreeSet::new(), BTreeSet::new());
        for test in tests["tests"].as_array().unwrap() {
            let input = test["inputPath"].as_str().unwrap();
            let object = objects(&read(&folder.join(input))).remove(0);
            assert_eq!(object["kind"], kind, "{input}");
            let (status, message) = health(&folder.join("health.lua"), &object);
            let wanted = &test["healthStatus"];
            assert_eq!(
                (Value::from(status.clone()), Value::from(message)),
                (wanted["status"].clone(), wanted["message"].clone()),
                "{kind} {input}"
            );
            used.insert(input.strip_prefix("testdata/").unwrap().to_owned());
            seen.insert(status);
        }
        let files = std::fs::read_dir(folder.join("testdata")).unwrap();
        let files: BTreeSet<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        assert_eq!(files, used, "{kind}: test data (left) and tests (right)");
        // A record is a memory, and that is never ill.
        let expected = if kind == "PrintRecord" { 1 } else { 4 };
        assert_eq!(seen.len(), expected, "{kind}: {seen:?}");
    }
}

#[test]
fn the_settings_of_argo_cd_hold_the_scripts_as_they_are() {
    let built = objects(&kustomize("deploy/argocd/health").unwrap());
    let settings = the(&built, "ConfigMap");
    assert_eq!(
        (&settings["metadata"]["name"], &settings["metadata"]["namespace"]),
        (&"argocd-cm".into(), &"argocd".into())
    );
    let data = settings["data"].as_object().unwrap();
    assert_eq!(data.len(), kinds().len());
    for kind in kinds() {
        let script = read(&project().join(format!("deploy/argocd/health/{kind}/health.lua")));
        assert_eq!(data[&format!("resource.customizations.health.printernizer.io_{kind}")], script, "{kind}");
    }
}
