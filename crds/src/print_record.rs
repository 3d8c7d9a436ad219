//! PrintRecord: the cluster's memory of a print whose PrintJob a Git tool may create again.
//! Written by the operator only, before the start is sent; outlives the job so that it is not printed a second time.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was printed. The operator writes it once; people only read it, or delete it to allow a job of the same name and
/// runID to print again.
#[derive(CustomResource, Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[kube(
    group = "printernizer.io",
    version = "v1alpha1",
    kind = "PrintRecord",
    plural = "printrecords",
    singular = "printrecord",
    shortname = "prec",
    category = "printernizer",
    namespaced,
    status = "PrintRecordStatus",
    derive = "PartialEq",
    doc = "PrintRecord remembers that a PrintJob was printed, so that a job re-created from Git is not printed twice.",
    printcolumn(name = "Job", type_ = "string", json_path = ".spec.name", description = "Name of the PrintJob."),
    printcolumn(name = "Run", type_ = "string", json_path = ".spec.runID", description = "The job's runID."),
    printcolumn(name = "Printer", type_ = "string", json_path = ".spec.printedOn", description = "Printer it ran on."),
    printcolumn(name = "Outcome", type_ = "string", json_path = ".status.outcome", description = "How it ended."),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("a PrintRecord is written once by the operator; delete it if the job may print again"))]
pub struct PrintRecordSpec {
    /// Namespace of the PrintJob.
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// Name of the PrintJob.
    #[schemars(length(max = 253))]
    pub name: String,
    /// The job's spec.runID at the start.
    #[serde(rename = "runID")]
    #[schemars(length(max = 63))]
    pub run_id: String,
    /// UID of the PrintJob that was printed.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// Name of the Printer it was started on.
    #[schemars(length(max = 253))]
    pub printed_on: String,
    /// When the start was about to be sent (UTC).
    pub start_time: Time,
}

/// How the recorded print ended.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PrintRecordStatus {
    /// Outcome of the print; absent while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "crate::print_job::Outcome")]
    pub outcome: Option<crate::print_job::Outcome>,
    /// When the job ended (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Time>,
}
