//! Pods that do not begin: what of them a person has to put right.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use printernizer_crds::Reason;

use super::problem::{Problem, Stops};

/// How long a pod may take to begin before it is told: images are pulled, volumes attached, nodes added meanwhile.
const PATIENCE: SignedDuration = SignedDuration::from_secs(30);
/// The same for a pod of which only is known that it is being made.
const LONG_PATIENCE: SignedDuration = SignedDuration::from_mins(3);

/// What keeps a pod from beginning; and when to look again at one that may be late.
pub fn stuck<'a>(pods: impl Iterator<Item = &'a Pod>, now: Timestamp) -> (Option<Problem>, Option<Timestamp>) {
    let mut next: Option<Timestamp> = None;
    for pod in pods {
        let Some((why, patience)) = waits(pod) else { continue };
        let Some(created) = pod.metadata.creation_timestamp.as_ref() else { continue };
        let until = created.0.saturating_add(patience).unwrap_or(Timestamp::MAX);
        if until <= now {
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            let text = format!("the pod {name} cannot begin: {why}; kubectl describe pod {name} says more");
            return (Some(Problem::new(Stops::Nothing, Reason::PodNotStarted, text)), None);
        }
        next = Some(next.map_or(until, |next| next.min(until)));
    }
    (None, next)
}

/// Why a pod has not begun, and how long that may last.
fn waits(pod: &Pod) -> Option<(String, SignedDuration)> {
    let status = pod.status.as_ref()?;
    if status.phase.as_deref() != Some("Pending") || pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let unscheduled = status.conditions.iter().flatten().find(|c| c.type_ == "PodScheduled" && c.status == "False");
    if let Some(condition) = unscheduled {
        let said = condition.message.as_deref().unwrap_or("no node can take it");
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
