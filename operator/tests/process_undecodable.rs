//! An object the operator cannot read, stored while the definitions were looser: it harms nobody but itself. The
//! definitions of this test's own cluster are changed for a while, so it is alone in its file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod support;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, ResourceExt};
use printernizer_crds::print_job::Phase;
use printernizer_e2e::{cluster, wait_until};
use printernizer_simulator::Config;
use serde_json::json;
use support::{SOON, Shop};

async fn loosen(shop: &Shop, name: &str) {
    let crds: Api<CustomResourceDefinition> = Api::all(shop.farm.client());
    let mut crd = crds.get(name).await.unwrap();
    let schema = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    for version in &mut crd.spec.versions {
        version.schema.as_mut().unwrap().open_api_v3_schema = Some(serde_json::from_value(schema.clone()).unwrap());
        // Columns and selectable fields need the schema they name.
        version.additional_printer_columns = None;
        version.selectable_fields = None;
    }
    crds.replace(name, &PostParams::default(), &crd).await.unwrap();
}

async fn store(shop: &Shop, kind: &str, plural: &str, object: serde_json::Value) -> Api<DynamicObject> {
    let gvk = GroupVersionKind::gvk("printernizer.io", "v1alpha1", kind);
    let resource = ApiResource::from_gvk_with_plural(&gvk, plural);
    let api: Api<DynamicObject> = Api::namespaced_with(shop.farm.client(), shop.farm.namespace(), &resource);
    let object: DynamicObject = serde_json::from_value(object).unwrap();
    wait_until("the looser definition is served", SOON, async || {
        match api.create(&PostParams::default(), &object).await {
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    })
    .await
    .unwrap();
    api
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_cannot_be_read_harms_only_itself() {
    assert!(
        !cluster::shared().await.unwrap().is_existing(),
        "this test changes definitions: not on an existing cluster"
    );
    let mut shop = Shop::empty("unreadable", Config::prusalink(1).time_scale(20.0)).await;
    loosen(&shop, "printjobs.printernizer.io").await;
    loosen(&shop, "printers.printernizer.io").await;
    let job = json!({
        "apiVersion": "printernizer.io/v1alpha1", "kind": "PrintJob", "metadata": { "name": "broken" },
        "spec": { "source": 7, "priority": "high" },
    });
    let jobs = store(&shop, "PrintJob", "printjobs", job).await;
    let printer = json!({
        "apiVersion": "printernizer.io/v1alpha1", "kind": "Printer", "metadata": { "name": "broken" },
        "spec": { "connection": [1, 2, 3] },
    });
    let printers = store(&shop, "Printer", "printers", printer).await;
    printernizer_e2e::farm::Farm::define(shop.cluster).await.unwrap();

    shop.farm.add_printers().await.unwrap();
    shop.farm.add_file("part", support::part(support::PRINT)).await.unwrap();
    shop.operate(&[]).await;
    let clear = async {
        // The farm's own list would stumble over the broken printer; this one is asked for by name.
        shop.clear("prusa-1").await;
        shop.print("clip", json!({})).await;
        shop.phase("clip", Phase::Printing).await;
        shop.finish_prints();
        shop.phase("clip", Phase::Succeeded).await;
    };
    clear.await;
    let log = std::fs::read_to_string(shop.operator.as_ref().unwrap().log()).unwrap();
    let told = log.lines().filter(|l| l.contains("cannot be read") && l.contains("broken")).count();
    assert!((2..20).contains(&told), "{told} lines about two objects\n{log}");

    // It is corrected, and printed; the other is deleted.
    let spec = json!({ "spec": {
        "source": { "configMap": { "name": "part", "key": "part.gcode" } }, "priority": 1,
    } });
    jobs.patch("broken", &PatchParams::default(), &Patch::Merge(spec)).await.unwrap();
    printers.delete("broken", &DeleteParams::default()).await.unwrap();
    shop.clear("prusa-1").await;
    shop.phase("broken", Phase::Printing).await;
    assert_eq!(jobs.get("broken").await.unwrap().name_any(), "broken");
    shop.close().await;
}
