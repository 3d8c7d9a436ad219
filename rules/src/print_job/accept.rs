//! Acceptance: whether the job may be printed at all. Copies and reprints by Git are refused here; the file is read here.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use printernizer_crds::print_job::FileStatus;
use printernizer_crds::{ConditionStatus, ConditionType, Conditions, PrintJob, PrintJobStatus, RUN_ANNOTATION, Reason};
use sha2::{Digest as _, Sha256};

use super::decide::{REST, write_if_changed};
use super::release::unset_claim;
use super::{FileView, Observed, status};
use crate::plan::{Effect, Plan};
use crate::scheduling::used_filaments;

/// Labels by which tools that apply files mark what they manage: Argo CD, also where it tracks by the common label (its
/// default before 3.0), and Flux.
const TRACKING_LABELS: [&str; 4] = [
    "app.kubernetes.io/instance",
    "argocd.argoproj.io/instance",
    "helm.toolkit.fluxcd.io/name",
    "kustomize.toolkit.fluxcd.io/name",
];
/// Annotations by which they do: Argo CD, and Helm, whose next upgrade creates again what is gone.
const TRACKING_ANNOTATIONS: [&str; 2] = ["argocd.argoproj.io/tracking-id", "meta.helm.sh/release-name"];

/// Whether a tool manages the job, so that it may create it again after its deletion. A mark that was meant for something
/// else costs little: the finished job is kept.
pub fn is_tracked(job: &PrintJob) -> bool {
    let (labels, annotations) = (job.metadata.labels.as_ref(), job.metadata.annotations.as_ref());
    TRACKING_LABELS.iter().any(|mark| labels.is_some_and(|l| l.contains_key(*mark)))
        || TRACKING_ANNOTATIONS.iter().any(|mark| annotations.is_some_and(|a| a.contains_key(*mark)))
}

/// What the run annotation of a job says: the UID, and the runID when it was written.
pub fn run_annotation(job: &PrintJob) -> String {
    let uid = job.metadata.uid.as_deref().unwrap_or_default();
    if job.spec.run_id.is_empty() { uid.to_owned() } else { format!("{uid}/{}", job.spec.run_id) }
}

/// Whether the annotation names another object's print, and the same run of it.
pub(crate) fn is_copy(job: &PrintJob) -> bool {
    let Some(run) = job.metadata.annotations.as_ref().and_then(|a| a.get(RUN_ANNOTATION)) else { return false };
    let (uid, run_id) = run.split_once('/').unwrap_or((run, ""));
    Some(uid) != job.metadata.uid.as_deref() && run_id == job.spec.run_id
}

/// A copy of a job that was printed never prints by itself. What was copied of the other one's claim is not its own.
pub(super) fn refuse_copy(seen: &Observed<'_>, old: &PrintJobStatus) -> Plan {
    let message = "this object is a copy of a job that was printed (annotation printernizer.io/run); set spec.runID to \
                   a new value to print it again";
    let mut new = old.clone();
    if new.printer.is_some() || new.start.is_some() || new.upload.is_some() {
        unset_claim(&mut new, seen);
    }
    let (type_, no) = (ConditionType::Accepted, ConditionStatus::False);
    seen.set(&mut new, type_, no, Reason::CopyOfPrintedJob, message);
    write_if_changed(old, new)
}

/// Decides whether the job is accepted; `None` when it is.
pub(super) fn decide(seen: &Observed<'_>, old: &PrintJobStatus) -> Option<Plan> {
    let refuse = |reason, message: String| Some(write(seen, old, reason, message));
    if let Some(record) = seen.printed_before {
        return refuse(
            Reason::AlreadyPrinted,
            format!(
                "a job of this name and runID was printed on {} (PrintRecord {}); set spec.runID to a new value to \
                 print it again",
                record.spec.printed_on,
                record.metadata.name.as_deref().unwrap_or_default()
            ),
        );
    }
    match &seen.file {
        // Its facts stay in status; the bytes are fetched again, and compared, before the upload.
        _ if accepted_as_written(seen.job, old) => None,
        FileView::Read(file) => Some(accept(seen.job, old, file, seen.now)),
        // Another part of the spec has changed. What its source holds now is not asked: the job keeps to the file it was
        // accepted with, also while the source is away.
        _ if old.file.as_ref().is_some_and(|file| file.read_for == wished(seen.job)) => {
            old.file.as_ref().map(|file| accept(seen.job, old, file, seen.now))
        }
        FileView::Unknown => {
            let plan = write(seen, old, Reason::FetchingFile, fetching(old).into());
            Some(plan.then(Effect::FetchFile).again(REST))
        }
        FileView::Fetching { .. } => Some(write(seen, old, Reason::FetchingFile, fetching(old).into()).again(REST)),
        FileView::Refused { reason, message } => {
            Some(write(seen, old, *reason, message.clone()).then(Effect::FetchFile).again(REST))
        }
    }
}

/// What a job says whose file was fetched before and must be fetched again.
pub(super) const FETCHED_AGAIN: &str = "the file is not in the operator's cache any more and is fetched again; then the job \
                                        gets a printer";

/// What a job says while its file is fetched.
fn fetching(old: &PrintJobStatus) -> &'static str {
    let lost = old.file.as_ref().is_some_and(|file| file.read_for.is_empty() && !file.read_from.is_empty());
    if lost { FETCHED_AGAIN } else { "the file is being fetched" }
}

/// The digest of the file a job keeps to: of the one it was accepted with, as long as its spec names the same place and
/// the same digest, and in any case while the job holds a printer.
pub fn kept_sha256(job: &PrintJob) -> Option<&str> {
    let status = job.status.as_ref()?;
    let file = status.file.as_ref()?;
    (status.printer.is_some() || file.read_from == place_of_file(job)).then_some(file.sha256.as_str())
}

/// Which file a job's spec asks for, and how it is had, as one short word.
fn wished(job: &PrintJob) -> String {
    let spec = &job.spec;
    word(&serde_json::json!([spec.source, spec.sha256, spec.plate]))
}

/// Which file a job's spec asks for, however it is had and whichever plate of it is printed, as one short word.
pub fn place_of_file(job: &PrintJob) -> String {
    let mut source = job.spec.source.clone();
    if let Some(http) = source.http.as_mut() {
        (http.credentials_secret_ref, http.ca_bundle_config_map_ref) = (None, None);
    }
    if let Some(s3) = source.s3.as_mut() {
        (s3.credentials_secret_ref, s3.ca_bundle_config_map_ref) = (None, None);
        (s3.region, s3.force_path_style) = (None, false);
    }
    word(&serde_json::json!([source, job.spec.sha256]))
}

fn word(of: &serde_json::Value) -> String {
    Sha256::digest(of.to_string()).iter().take(8).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

/// Whether the job was accepted in the form its spec has now.
fn accepted_as_written(job: &PrintJob, old: &PrintJobStatus) -> bool {
    let accepted = old.conditions.condition(ConditionType::Accepted);
    old.file.is_some()
        && accepted.is_some_and(|c| c.status == "True" && c.observed_generation == job.metadata.generation)
}

/// What a person must write where neither file nor job says which machines the file is for. G-code of another machine can
/// drive a nozzle into the bed, so such a file is never given to just any printer.
const MACHINE_UNSTATED: &str = "the file does not say for which printer model it was sliced: put one there that does, or \
                                name the printer in spec.printerRef, or the models it is for in \
                                spec.requirements.models (and its materials and nozzle in spec.requirements), if you \
                                know that it is for them";

/// What is wrong with the slots a person has chosen: a filament that the plate does not use. It would have no effect, and
/// the print would take its filament from wherever it likes.
fn wrong_filament(job: &PrintJob, file: &FileStatus) -> Option<String> {
    let used: Vec<i32> = used_filaments(file).into_iter().map(|filament| filament.index).collect();
    let wrong = job.spec.filaments.iter().find(|choice| !used.contains(&choice.index)).filter(|_| !used.is_empty())?;
    let used = used.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
    let index = wrong.index;
    Some(format!(
        "spec.filaments chooses a slot for filament {index}, and the print uses filament {used}, as its slicer numbers \
         them: correct spec.filaments"
    ))
}

/// Refuses the job in this form. Nothing binds it to this file: another one may be put in its place.
fn refuse(job: &PrintJob, old: &PrintJobStatus, file: &FileStatus, now: Timestamp, why: (Reason, &str)) -> Plan {
    let mut new = old.clone();
    new.file = Some(FileStatus { read_for: String::new(), read_from: String::new(), ..file.clone() });
    let (type_, no) = (ConditionType::Accepted, ConditionStatus::False);
    status::set(&mut new, job, now, type_, no, why.0, why.1);
    write_if_changed(old, new).then(Effect::FetchFile).again(REST)
}

fn accept(job: &PrintJob, old: &PrintJobStatus, file: &FileStatus, now: Timestamp) -> Plan {
    if let Some(wrong) = wrong_filament(job, file) {
        return refuse(job, old, file, now, (Reason::InvalidSpec, &wrong));
    }
    let mut new = old.clone();
    new.file = Some(FileStatus { read_for: wished(job), read_from: place_of_file(job), ..file.clone() });
    let asked = job.spec.requirements.as_ref().map(|r| r.models.join(", ")).filter(|models| !models.is_empty());
    let named = job.spec.printer_ref.as_ref().map(|r| &r.name);
    let what = match (&file.printer_model, asked, named) {
        (Some(model), ..) => match file.estimated_seconds {
            Some(seconds) => format!("sliced for {model}, about {}", status::words(seconds)),
            None => format!("sliced for {model}"),
        },
        (None, Some(models), _) => format!("the file names no printer model; printed on {models} as the job says"),
        (None, None, Some(name)) => format!("the file names no printer model; printed on {name} as the job says"),
        (None, None, None) => return refuse(job, old, file, now, (Reason::MachineUnstated, MACHINE_UNSTATED)),
    };
    new.queued_time.get_or_insert(Time(now));
    status::set(&mut new, job, now, ConditionType::Accepted, ConditionStatus::True, Reason::FileRead, what);
    Plan::of([Effect::WriteJob(Box::new(new))])
}

fn write(seen: &Observed<'_>, old: &PrintJobStatus, reason: Reason, message: String) -> Plan {
    let mut new = old.clone();
    seen.set(&mut new, ConditionType::Accepted, ConditionStatus::False, reason, message);
    write_if_changed(old, new)
}
