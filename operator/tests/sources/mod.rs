//! What tests of sources share: objects beside jobs, jobs that name a source, and what became of them.
#![allow(dead_code, reason = "each test binary uses its own part of this")]

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::{Patch, PatchParams};
use printernizer_crds::print_job::Phase;
use printernizer_crds::{ConditionType, Conditions, Reason};
use printernizer_simulator::Event;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::Shop;

/// Writes a Secret for sources; `null` for a key takes it out.
pub async fn write_secret(shop: &Shop, name: &str, data: Value) {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": name, "labels": { "printernizer.io/usage": "source" } },
        "stringData": data,
    });
    let secrets: Api<Secret> = Api::namespaced(shop.farm.client(), shop.farm.namespace());
    secrets.patch(name, &PatchParams::apply("person").force(), &Patch::Apply(secret)).await.unwrap();
}

/// Changes a Secret as `kubectl patch --type merge` does.
pub async fn change_secret(shop: &Shop, name: &str, patch: Value) {
    let secrets: Api<Secret> = Api::namespaced(shop.farm.client(), shop.farm.namespace());
    secrets.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

/// Writes a certificate authority into the ConfigMap of this name, under the key `ca.crt`.
pub async fn write_authority(shop: &Shop, name: &str, pem: &str) {
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "ca.crt": pem },
    });
    let maps: Api<ConfigMap> = Api::namespaced(shop.farm.client(), shop.farm.namespace());
    maps.patch(name, &PatchParams::apply("person").force(), &Patch::Apply(map)).await.unwrap();
}

/// `object` with the fields of `more` in it; a field that is `null` there is taken out.
#[allow(clippy::needless_pass_by_value, reason = "reads like the object that is written")]
pub fn with(mut object: Value, more: Value) -> Value {
    let fields = object.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    fields.retain(|_, value| !value.is_null());
    object
}

/// Asks for a print of the file at this source; `more` goes into the spec.
pub async fn ask(shop: &Shop, name: &str, source: &Value, more: Value) {
    let job = json!({
        "apiVersion": "printernizer.io/v1alpha1", "kind": "PrintJob", "metadata": { "name": name },
        "spec": with(json!({ "source": source }), more),
    });
    shop.farm.jobs().patch(name, &PatchParams::apply("person").force(), &Patch::Apply(job)).await.unwrap();
}

/// Waits until the job is refused for this reason, with this in the message, and costs nothing else.
pub async fn refused(shop: &Shop, name: &str, reason: Reason, advice: &str) {
    let status = shop.job_says(name, ConditionType::Accepted, reason).await;
    let accepted = status.conditions.condition(ConditionType::Accepted).unwrap();
    assert!(accepted.status == "False" && accepted.message.contains(advice), "{name}: {accepted:?}");
    assert_eq!(status.phase, Some(Phase::Pending), "{name}");
}

/// Waits until the job's file was read; gives its digest.
pub async fn accepted(shop: &Shop, name: &str) -> String {
    shop.job_says(name, ConditionType::Accepted, Reason::FileRead).await.file.unwrap().sha256
}

/// The digests of the files that machines began to print, in order.
pub fn printed(shop: &Shop) -> Vec<String> {
    let begun = |event| match event {
        Event::PhysicalStart { sha256, .. } => Some(sha256),
        _ => None,
    };
    shop.ledger().into_iter().filter_map(|entry| begun(entry.event)).collect()
}

/// The digest of these bytes.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

/// Everything the operator wrote into its log and said in conditions and events of the farm.
pub async fn everything_said(shop: &Shop) -> String {
    let mut text = std::fs::read_to_string(shop.operator.as_ref().unwrap().log()).unwrap();
    for job in shop.farm.jobs().list(&kube::api::ListParams::default()).await.unwrap() {
        text += &serde_json::to_string(&job.status).unwrap();
    }
    let events: Api<k8s_openapi::api::events::v1::Event> = Api::namespaced(shop.farm.client(), shop.farm.namespace());
    for event in events.list(&kube::api::ListParams::default()).await.unwrap() {
        text += &event.note.unwrap_or_default();
    }
    text
}
