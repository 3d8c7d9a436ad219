//! Pods that do not begin, and Jobs that get none: what of them a person has to put right.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use printernizer_crds::Reason;

use super::problem::{Problem, Stops};

/// How long a pod may take to begin before it is told: images are pulled, volumes attached, nodes added meanwhile.
const PATIENCE: SignedDuration = SignedDuration::from_secs(30);
/// The same for a pod of which only is known that it is being made.
const LONG_PATIENCE: SignedDuration = SignedDuration::from_mins(3);

/// What keeps a pod from beginning; and when to look again at one that may be late. The Jobs are those that have not ended
/// and of which no pod is seen.
pub fn stuck<'a>(
    pods: impl Iterator<Item = &'a Pod>,
    jobs: impl Iterator<Item = &'a Job>,
    now: Timestamp,
) -> (Option<Problem>, Option<Timestamp>) {
    let mut next: Option<Timestamp> = None;
    for (since, patience, text) in pods.filter_map(of_pod).chain(jobs.filter_map(without_pod)) {
        let until = since.saturating_add(patience).unwrap_or(Timestamp::MAX);
        if until <= now {
            return (Some(Problem::new(Stops::Nothing, Reason::PodNotStarted, text)), None);
        }
        next = Some(next.map_or(until, |next| next.min(until)));
    }
    (None, next)
}

/// Since when something waits, how long it may, and what to say then.
type Waits = (Timestamp, SignedDuration, String);

fn of_pod(pod: &Pod) -> Option<Waits> {
    let (why, patience) = waits(pod)?;
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let text = format!("the pod {name} cannot begin: {why}; kubectl describe pod {name} says more");
    Some((pod.metadata.creation_timestamp.as_ref()?.0, patience, text))
}

/// A Job to which Kubernetes gives no pod says so in its events alone.
fn without_pod(job: &Job) -> Option<Waits> {
    let status = job.status.as_ref()?;
    let counted = [status.active, status.terminating].into_iter().flatten().any(|count| count > 0);
    let suspended = job.spec.as_ref().and_then(|spec| spec.suspend) == Some(true);
    let name = job.metadata.name.as_deref().unwrap_or_default();
    let text = format!(
        "the Job {name} has no pod: a quota of the namespace, or a rule of who checks pods, is the usual reason; kubectl describe \
         job {name} says more"
    );
    (!counted && !suspended).then_some((status.start_time.as_ref()?.0, LONG_PATIENCE, text))
}

/// Whether no node takes a pod.
pub fn is_unscheduled(pod: &Pod) -> bool {
    unscheduled(pod).is_some()
}

/// What the scheduler says of a pod that no node takes.
fn unscheduled(pod: &Pod) -> Option<&str> {
    let status = pod.status.as_ref()?;
    if status.phase.as_deref() != Some("Pending") || pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let condition = status.conditions.iter().flatten().find(|c| c.type_ == "PodScheduled" && c.status == "False")?;
    Some(condition.message.as_deref().unwrap_or("no node can take it"))
}

/// Why a pod has not begun, and how long that may last.
fn waits(pod: &Pod) -> Option<(String, SignedDuration)> {
    let status = pod.status.as_ref()?;
    if status.phase.as_deref() != Some("Pending") || pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    if let Some(said) = unscheduled(pod) {
        return Some((said.to_owned(), PATIENCE));
    }
    let waiting = status.container_statuses.iter().flatten().find_map(|c| c.state.as_ref()?.waiting.as_ref())?;
    let reason = waiting.reason.as_deref().unwrap_or_default();
    if matches!(reason, "" | "ContainerCreating" | "PodInitializing") {
        let text = "its volumes, or its image, take long; a volume that is in use on another node is one reason";
        return Some((text.to_owned(), LONG_PATIENCE));
    }
    let said = waiting.message.as_deref().map(|message| format!(": {message}")).unwrap_or_default();
    Some((format!("{reason}{said}"), PATIENCE))
}
