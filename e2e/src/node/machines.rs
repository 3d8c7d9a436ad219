//! Simulated printers as pods: one machine each, at an address of its own, as printers are. They are told apart from the
//! operator's world by their namespace. Their ledgers are asked over their control API, which the operator does not know.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::api::{LogParams, Patch, PatchParams};
use kube::{Api, Client};
use printernizer_simulator::{Entry, PrinterConfig, PrinterInfo};
use serde_json::{Value, json};

use super::NodeError;
use crate::farm::http;
use crate::wait_until;

/// Where they are.
pub(super) const NAMESPACE: &str = "machines";
/// Ports of a machine: PrusaLink or MQTT, FTPS, and the control API.
const PORTS: [u16; 3] = [8883, 8990, 8000];
/// How long a pod may take to run.
const START: Duration = Duration::from_secs(180);

/// Machines that run.
pub(super) struct Machines {
    infos: Vec<PrinterInfo>,
    /// Control API by machine.
    controls: BTreeMap<String, String>,
}

impl Machines {
    /// Starts a pod for each of these machines, whose time passes so many times as fast.
    pub(super) async fn start(
        client: &Client,
        image: &str,
        machines: Vec<PrinterConfig>,
        time_scale: f64,
    ) -> Result<Self, NodeError> {
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
        apply::<Namespace>(&Api::all(client.clone()), NAMESPACE, namespace).await?;
        let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
        let mut names = Vec::new();
        for mut machine in machines {
            machine.port = PORTS[0];
            machine.bambu.ftps_port = PORTS[1];
            let name = machine.name.clone();
            let config = json!({ "timeScale": time_scale, "printers": [machine] }).to_string();
            let map = json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "config.json": config },
            });
            apply(&maps, &name, map).await?;
            apply(&pods, &name, pod(&name, image)).await?;
            names.push(name);
        }
        let mut started = Self { infos: Vec::new(), controls: BTreeMap::new() };
        for name in names {
            // The one line that the program says when the printer accepts connections.
            let ready: Value = wait_until(&format!("the machine {name} to be switched on"), START, async || {
                let said = pods.logs(&name, &LogParams::default()).await.map_err(|error| error.to_string())?;
                serde_json::from_str(said.lines().next().unwrap_or_default()).map_err(|_| said)
            })
            .await?;
            let unusable = |error| NodeError::Wrong(format!("the machine {name} does not say where it is: {error}"));
            let infos: Vec<PrinterInfo> = serde_json::from_value(ready["printers"].clone()).map_err(unusable)?;
            started.infos.extend(infos);
            started.controls.insert(name, ready["control"].as_str().unwrap_or_default().to_owned());
        }
        Ok(started)
    }

    /// How to reach them.
    pub(super) fn infos(&self) -> &[PrinterInfo] {
        &self.infos
    }

    /// Takes the part off the bed of this machine, if one lies there and it does not print.
    pub(super) async fn take_part_off(&self, name: &str) -> Result<(), NodeError> {
        let url = format!("{}/printers/{name}/person", self.control(name)?);
        // An empty bed is refused, and that is fine.
        http(&url, Some(&json!({ "action": "takePartOff" }))).await?;
        Ok(())
    }

    /// What all machines did.
    pub(super) async fn ledger(&self) -> Result<Vec<Entry>, NodeError> {
        let mut all = Vec::new();
        for (name, control) in &self.controls {
            let (_, body) = http(&format!("{control}/ledger"), None).await?;
            let unreadable = |error| NodeError::Wrong(format!("the ledger of {name} cannot be read: {error}"));
            let entries: Vec<Entry> = serde_json::from_str(&body).map_err(unreadable)?;
            all.extend(entries);
        }
        Ok(all)
    }

    fn control(&self, name: &str) -> Result<&str, NodeError> {
        let found = self.controls.get(name).map(String::as_str);
        found.ok_or_else(|| NodeError::Wrong(format!("there is no machine {name}")))
    }
}

async fn apply<K>(api: &Api<K>, name: &str, object: Value) -> Result<(), NodeError>
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    api.patch(name, &PatchParams::apply("trial").force(), &Patch::Apply(object)).await?;
    Ok(())
}

fn pod(name: &str, image: &str) -> Value {
    let [_, _, control] = PORTS;
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "labels": { "app.kubernetes.io/name": "printernizer-simulator" } },
        "spec": {
            // A machine that fails is not to be mended by Kubernetes: its ledger would be gone.
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "securityContext": { "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } },
            "containers": [{
                "name": "printer",
                "image": image,
                "imagePullPolicy": "Never",
                "args": [
                    "--config=/etc/printer/config.json", "--listen=$(POD_IP)", format!("--control=$(POD_IP):{control}"),
                ],
                "env": [{ "name": "POD_IP", "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } }],
                "securityContext": {
                    "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] },
                },
                "volumeMounts": [{ "name": "config", "mountPath": "/etc/printer", "readOnly": true }],
            }],
            "volumes": [{ "name": "config", "configMap": { "name": name } }],
        },
    })
}
