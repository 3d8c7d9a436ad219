//! Runs that have ended: what a Job and the reports of its pods say.
//!
//! What a report says is believed within what Kubernetes saw of the Job: a node whose clock is wrong makes no recovery point
//! younger than it is. A Job without a report that can be read proves nothing, and counts as failed.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobCondition};
use k8s_openapi::api::core::v1::{ContainerStateTerminated, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use printernizer_crds::backup_policy::{
    CONFIGURATION_VARIABLE, MAX_REPORT_BYTES, MAX_REPORT_MESSAGE_BYTES, ROLE_LABEL, Reading, Report, RepositoryFacts,
    RepositoryStatus, Role, RunConfiguration, RunReason, RunStatus, Target,
};

use super::pod::CONTAINER;

/// A run that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// What it did.
    pub role: Role,
    /// How it ended.
    pub status: RunStatus,
    /// What it found in the repository.
    pub repository: Option<RepositoryFacts>,
    /// Where its repository is.
    pub location: Option<String>,
    /// When its Job began, by Kubernetes' clock.
    pub begin: Timestamp,
    /// Whether it was told which repository held backups so far: before the first one there is none to be missed.
    pub knows_repository: bool,
    /// The newest recovery point there was before a backup made its own.
    pub previous: Option<String>,
    /// The copies it has found or made.
    pub copies: Vec<RepositoryStatus>,
    /// How far a check came that went on where others ended, and how far they had come: its best try.
    pub reading: Option<(i32, Reading)>,
    /// The repositories of the target and of its copies, as far as their ids are known.
    pub places: Vec<RepositoryStatus>,
}

/// The role in the labels of an object.
pub fn role_of(meta: &ObjectMeta) -> Option<Role> {
    let label = meta.labels.as_ref()?.get(ROLE_LABEL)?;
    Role::ALL.into_iter().find(|role| role.as_label() == label)
}

/// The UID of the object's controller.
pub fn controller_of(meta: &ObjectMeta) -> Option<&str> {
    let owners = meta.owner_references.as_deref().unwrap_or_default();
    owners.iter().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.as_str())
}

/// The end of a Job: when, and the condition that says so.
fn end_of(job: &Job) -> Option<(Timestamp, &JobCondition)> {
    let status = job.status.as_ref()?;
    let ended = status.conditions.iter().flatten().find(|c| {
        // SuccessCriteriaMet and FailureTarget come before the pods are gone.
        c.status == "True" && matches!(c.type_.as_str(), "Complete" | "Failed")
    })?;
    let at = status.completion_time.as_ref().or(ended.last_transition_time.as_ref())?;
    Some((at.0, ended))
}

/// Whether a Job has ended.
pub fn has_ended(job: &Job) -> bool {
    end_of(job).is_some()
}

/// How the container of a pod ended.
fn end_of_container(pod: &Pod) -> Option<&ContainerStateTerminated> {
    let containers = pod.status.as_ref()?.container_statuses.as_deref()?;
    containers.iter().find(|c| c.name == CONTAINER)?.state.as_ref()?.terminated.as_ref()
}

/// Whether a Job is complete and one of its pods is seen as it was before: what it has left is not known yet.
pub fn is_unread(job: &Job, pods: &[Pod]) -> bool {
    let uid = job.metadata.uid.as_deref();
    let goes_on = |pod: &Pod| {
        let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
        let has_ended = matches!(phase, Some("Succeeded" | "Failed")) || end_of_container(pod).is_some();
        !has_ended && pod.metadata.deletion_timestamp.is_none()
    };
    end_of(job).is_some_and(|(_, condition)| condition.type_ == "Complete")
        && pods.iter().any(|pod| uid.is_some() && controller_of(&pod.metadata) == uid && goes_on(pod))
}

/// What a Job that has ended came to; `None` while it runs, or is unread. `pods` are those of the policy.
pub fn run_of(job: &Job, pods: &[Pod]) -> Option<Run> {
    let (end, condition) = end_of(job).filter(|_| !is_unread(job, pods))?;
    let role = role_of(&job.metadata)?;
    let uid = job.metadata.uid.as_deref()?;
    let mut ended: Vec<(&Pod, &ContainerStateTerminated)> = pods
        .iter()
        .filter(|pod| controller_of(&pod.metadata) == Some(uid))
        .filter_map(|pod| Some((pod, end_of_container(pod)?)))
        .collect();
    ended.sort_by_key(|(_, end)| end.finished_at.as_ref().map(|t| t.0));
    let last = ended.last().map(|(_, end)| *end);
    let said = |end: &ContainerStateTerminated| report(end.message.as_deref()?).filter(|report| report.role == role);
    let told = told(job);
    let knows_repository = told.as_ref().is_some_and(|told| told.repository_id.is_some());
    // The last try counts, but for what an earlier one has proven wrong: a check reads another sample the next time.
    let proven = |report: &Report| {
        // Before the first backup that is no proof: it may have been made since.
        proves_wrong(role, report.reason) && (knows_repository || report.reason != RunReason::NoRecoveryPoint)
    };
    let report = ended.iter().rev().find_map(|(_, end)| said(end).filter(proven)).or_else(|| said(last?));
    let begin = job.status.as_ref().and_then(|s| s.start_time.as_ref()).map_or(end, |t| t.0);
    let complete = condition.type_ == "Complete";
    let mut status = RunStatus {
        job_name: job.metadata.name.clone().unwrap_or_default(),
        job_uid: uid.to_owned(),
        start_time: Time(begin),
        end_time: Time(end),
        reason: RunReason::Failed,
        message: String::new(),
        snapshot: None,
        recovery_point_time: None,
        bytes: None,
        bytes_changed: None,
        restore_seconds: None,
        read_data_percent: None,
    };
    let location = told.as_ref().map(|told| told.target.location());
    let tries = ended.iter().filter_map(|(_, end)| said(end)).filter_map(|report| read_by(role, &report));
    let reading = tries.reduce(|best, next| if is_further(next.1, best.1) { next } else { best });
    let Some(report) = report else {
        let (reason, message) = without_report(condition, last);
        (status.reason, status.message) = (reason, cut(&message));
        return Some(Run {
            role,
            status,
            repository: None,
            location,
            begin,
            knows_repository,
            previous: None,
            copies: Vec::new(),
            reading,
            places: told.iter().flat_map(|told| places(told, None, &[])).collect(),
        });
    };
    // What was read before the Job began, or after it had ended, was read by another clock.
    let seen = |moment: Timestamp| begin <= moment && moment <= end;
    status.start_time = Time(if seen(report.start_time.0) { report.start_time.0 } else { begin });
    let named = |id: &String| id.len() <= 64;
    status.snapshot = report.snapshot.filter(named);
    status.recovery_point_time = if role == Role::Backup && status.snapshot.is_some() {
        Some(status.start_time.clone())
    } else {
        report.recovery_point_time
    };
    (status.reason, status.message) = match (complete, report.reason) {
        (false, RunReason::Succeeded) => {
            let why = condition.message.as_deref().unwrap_or_default();
            (RunReason::Failed, cut(&format!("the run reported success and its Job failed: {why}")))
        }
        (_, reason) => (reason, cut(&report.message)),
    };
    let counted = |bytes: Option<i64>| bytes.filter(|b| *b >= 0);
    status.bytes = counted(report.bytes);
    status.bytes_changed = counted(report.bytes_changed);
    status.restore_seconds = counted(report.restore_seconds);
    status.read_data_percent = report.read_data_percent.filter(|percent| (0..=100).contains(percent));
    let repository = report.repository.filter(|r| r.id.len() <= 64 && r.snapshot_count >= 0);
    let locations = told.iter().flat_map(|told| &told.copies).map(Target::location);
    let found = locations.zip(report.copy_ids).filter_map(|(location, id)| Some((location, id.filter(named)?)));
    let copies: Vec<RepositoryStatus> = found.map(|(location, id)| RepositoryStatus { location, id }).collect();
    let places = told.iter().flat_map(|told| places(told, repository.as_ref(), &copies)).collect();
    Some(Run {
        role,
        status,
        repository,
        location,
        begin,
        knows_repository,
        previous: report.previous_snapshot.filter(named),
        copies,
        reading,
        places,
    })
}

/// How far a try of a check came, and from where.
fn read_by(role: Role, report: &Report) -> Option<(i32, Reading)> {
    let (before, mut reading) = report.read_before.zip(report.reading)?;
    let is_so = (1..=256).contains(&reading.of) && reading.done <= reading.of;
    if role != Role::Check || !is_so || !(0..=reading.done).contains(&before) {
        return None;
    }
    if report.reason != RunReason::Succeeded {
        // Its end proves nothing of the last part.
        reading.done = reading.done.min(reading.of - 1);
    }
    Some((before.min(reading.done), reading))
}

/// Whether more of everything was read.
pub fn is_further(one: Reading, other: Reading) -> bool {
    i64::from(one.done) * i64::from(other.of) > i64::from(other.done) * i64::from(one.of)
}

/// The repositories a run was told of, by what it found, or was to find.
fn places(
    told: &RunConfiguration,
    found: Option<&RepositoryFacts>,
    copies: &[RepositoryStatus],
) -> Vec<RepositoryStatus> {
    let id = told.repository_id.clone().or_else(|| found.map(|found| found.id.clone()));
    let target = RepositoryStatus { location: told.target.location(), id: id.unwrap_or_default() };
    let copies = told.copies.iter().map(|copy| {
        let location = copy.location();
        let known = copies.iter().chain(&told.copy_repositories).find(|known| known.location == location);
        RepositoryStatus { id: known.map(|known| known.id.clone()).unwrap_or_default(), location }
    });
    std::iter::once(target).chain(copies).collect()
}

/// Whether a run that ended so has looked and found something wrong, which another try of it cannot undo.
fn proves_wrong(role: Role, reason: RunReason) -> bool {
    matches!(role, Role::Check | Role::RestoreDrill)
        && matches!(reason, RunReason::RepositoryDamaged | RunReason::RestoreDiffers | RunReason::NoRecoveryPoint)
}

fn report(message: &str) -> Option<Report> {
    (message.len() <= MAX_REPORT_BYTES).then(|| serde_json::from_str(message).ok()).flatten()
}

/// Why a Job ended whose pods said nothing that can be read.
fn without_report(condition: &JobCondition, last: Option<&ContainerStateTerminated>) -> (RunReason, String) {
    let said = condition.message.as_deref().unwrap_or_default();
    match (condition.reason.as_deref(), last.and_then(|end| end.reason.as_deref())) {
        (_, Some("OOMKilled")) => (
            RunReason::Failed,
            "its pod needed more memory than it may use: raise spec.jobTemplate.resources.limits.memory".to_owned(),
        ),
        (Some("DeadlineExceeded"), _) => (
            RunReason::Interrupted,
            "it took longer than it may: see its pod's log, or raise spec.jobTemplate.activeDeadlineSeconds (of a drill: \
             spec.verification.restoreDrill.timeoutSeconds)"
                .to_owned(),
        ),
        _ if condition.type_ == "Complete" => (
            RunReason::Failed,
            "its pod left no report that can be read, so nobody knows what it made: the next run tells".to_owned(),
        ),
        _ => {
            let code = last.map(|end| format!(" (exit code {})", end.exit_code)).unwrap_or_default();
            let text = format!("its pod left no report that can be read{code}; see the pod's log. The Job says: {said}");
            (RunReason::Failed, text)
        }
    }
}

/// What a Job was told: the policy may have changed since.
fn told(job: &Job) -> Option<RunConfiguration> {
    let pod = job.spec.as_ref()?.template.spec.as_ref()?;
    let container = pod.containers.iter().find(|c| c.name == CONTAINER)?;
    let variable = container.env.iter().flatten().find(|v| v.name == CONFIGURATION_VARIABLE)?;
    serde_json::from_str(variable.value.as_deref()?).ok()
}

/// As much of a message as a status may hold.
fn cut(message: &str) -> String {
    printernizer_crds::conditions::cut(message, MAX_REPORT_MESSAGE_BYTES).to_owned()
}
