//! A PrintRecord as it is left by a print of long ago.

use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use printernizer_crds::PrintRecord;
use serde_json::json;

/// Makes the record `old` of a print that ended years ago, whose job is gone: the operator that leads next deletes it.
pub async fn old_record(client: Client, namespace: &str) -> Result<(), kube::Error> {
    let records: Api<PrintRecord> = Api::namespaced(client, namespace);
    let old = json!({
        "apiVersion": "printernizer.io/v1alpha1", "kind": "PrintRecord", "metadata": { "name": "old" },
        "spec": { "namespace": namespace, "name": "gone", "runID": "", "uid": "u", "printedOn": "prusa-1",
                  "startTime": "2020-01-01T08:00:00Z" },
    });
    let old = serde_json::from_value(old).map_err(kube::Error::SerdeError)?;
    records.create(&PostParams::default(), &old).await?;
    let ended = Patch::Merge(json!({ "status": { "outcome": "Succeeded", "endTime": "2020-01-01T09:00:00Z" } }));
    records.patch_status("old", &PatchParams::default(), &ended).await?;
    Ok(())
}
