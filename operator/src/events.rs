//! Events of objects: the story that `kubectl describe` tells. One event for each condition that changes its status or
//! reason, never one for each pass. A failure to write an event never changes anything else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client, Resource, ResourceExt};
use printernizer_crds::Reason;
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::api::CALL_TIMEOUT;

/// Events that wait to be written; more are dropped, and said so in the log.
const WAITING: usize = 512;
/// Longest note the API server takes, in bytes.
const MAX_NOTE_BYTES: usize = 1024;

/// Writes events, one after the other, in the background.
#[derive(Clone)]
pub struct Events {
    queue: mpsc::Sender<Event>,
    instance: String,
    clock: Clock,
}

/// Numbers for the names of events: the nanoseconds since 1970, but never the same and never a smaller one than before.
/// kubectl shows events of this API in the order of their names, so the names tell the story in its order.
#[derive(Clone, Default)]
struct Clock(Arc<AtomicU64>);

impl Clock {
    fn next(&self) -> u64 {
        self.after(u64::try_from(Timestamp::now().as_nanosecond()).unwrap_or_default())
    }

    fn after(&self, now: u64) -> u64 {
        let follow = |last: u64| Some(now.max(last.saturating_add(1)));
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, follow)
            .map_or(now, |last| now.max(last.saturating_add(1)))
    }
}

impl Events {
    /// Starts the writer. `instance` names this process in the events.
    pub fn start(client: Client, instance: String) -> Self {
        let (queue, mut waiting) = mpsc::channel::<Event>(WAITING);
        tokio::spawn(async move {
            while let Some(event) = waiting.recv().await {
                let api: Api<Event> = Api::namespaced(client.clone(), &event.namespace().unwrap_or_default());
                let params = PostParams::default();
                match tokio::time::timeout(CALL_TIMEOUT, api.create(&params, &event)).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => warn!(%error, "an event could not be written"),
                    Err(_) => {
                        warn!("an event could not be written in time");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                }
            }
        });
        Self { queue, instance, clock: Clock::default() }
    }

    /// Tells of every condition that has changed its status or reason.
    pub fn conditions<K: Resource<DynamicType = ()>>(&self, object: &K, old: &[Condition], new: &[Condition]) {
        for condition in new {
            let before = old.iter().find(|c| c.type_ == condition.type_);
            let changed = before.is_none_or(|b| b.status != condition.status || b.reason != condition.reason);
            if changed && is_news(condition, before) {
                self.publish(object, condition);
            }
        }
    }

    fn publish<K: Resource<DynamicType = ()>>(&self, object: &K, condition: &Condition) {
        let type_ = if warns(condition) { "Warning" } else { "Normal" };
        let kind = K::kind(&());
        info!(kind = %kind, namespace = %object.namespace().unwrap_or_default(), name = %object.name_any(), condition = %condition.type_, status = %condition.status, reason = %condition.reason, "{}", condition.message);
        let mut note = condition.message.clone();
        if note.len() > MAX_NOTE_BYTES {
            let end = (0..=MAX_NOTE_BYTES).rev().find(|i| note.is_char_boundary(*i)).unwrap_or(0);
            note.truncate(end);
        }
        let event = Event {
            metadata: ObjectMeta {
                name: Some(format!("{}.{:016x}", object.name_any(), self.clock.next())),
                namespace: object.namespace(),
                ..ObjectMeta::default()
            },
            action: Some(condition.type_.clone()),
            event_time: Some(MicroTime(Timestamp::now())),
            note: Some(note),
            reason: Some(condition.reason.clone()),
            regarding: Some(object.object_ref(&())),
            reporting_controller: Some("printernizer.io/operator".into()),
            reporting_instance: Some(self.instance.clone()),
            type_: Some(type_.into()),
            ..Event::default()
        };
        if self.queue.try_send(event).is_err() {
            warn!(kind = %kind, name = %object.name_any(), "too many events wait; one was dropped");
        }
    }
}

/// Whether a change is worth a line of the story.
fn is_news(condition: &Condition, before: Option<&Condition>) -> bool {
    let (type_, status) = (condition.type_.as_str(), condition.status.as_str());
    // They repeat what another condition has said.
    let repeats = matches!(type_, "Ready" | "Stalled" | "Reconciling");
    // Not known because the printer is not reached: the one line about that is enough.
    let follows = status == "Unknown" && matches!(type_, "Reachable" | "Authorized" | "ControlAllowed" | "Idle");
    let was_never_otherwise = (type_, status) == ("Trusted", "True") && before.is_none();
    !(repeats || follows || was_never_otherwise)
}

/// Whether a person should be warned: something is wrong, and not just waited for.
fn warns(condition: &Condition) -> bool {
    let reason = |r: Reason| condition.reason == r.as_str();
    match (condition.type_.as_str(), condition.status.as_str()) {
        ("Failed", "True") => !reason(Reason::Cancelled),
        ("OutcomeUnknown", "True") | ("Reachable" | "Authorized" | "Trusted" | "ControlAllowed", "False") => true,
        ("Accepted", "False") => !reason(Reason::FetchingFile),
        ("Scheduled", "False") => reason(Reason::NoMatchingPrinter),
        ("Started", _) => {
            [Reason::UploadFailed, Reason::WaitingAtPrinter, Reason::PrinterUnreachable, Reason::Attention]
                .into_iter()
                .any(reason)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use printernizer_crds::conditions::SetAt;
    use printernizer_crds::{ConditionStatus, ConditionType, Conditions as _};

    use super::*;

    fn condition(type_: ConditionType, status: ConditionStatus, reason: Reason) -> Condition {
        let at = SetAt {
            time: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH),
            generation: None,
        };
        let mut conditions = Vec::new();
        conditions.set(type_, status, reason, "", &at);
        conditions.remove(0)
    }

    #[test]
    fn names_of_events_rise_even_when_the_clock_does_not() {
        let clock = Clock::default();
        assert_eq!([clock.after(10), clock.after(10), clock.after(3), clock.after(20)], [10, 11, 12, 20]);
    }

    #[test]
    fn what_is_not_known_because_the_printer_is_away_is_told_once() {
        use ConditionStatus::{False, True, Unknown};
        assert!(is_news(&condition(ConditionType::Reachable, False, Reason::Unreachable), None));
        assert!(!is_news(&condition(ConditionType::Idle, Unknown, Reason::StateUnknown), None));
        assert!(!is_news(&condition(ConditionType::Ready, False, Reason::Unreachable), None));
        let trusted = condition(ConditionType::Trusted, True, Reason::NoDistrust);
        assert!(!is_news(&trusted, None));
        let distrusted = condition(ConditionType::Trusted, False, Reason::Quarantined);
        assert!(is_news(&trusted, Some(&distrusted)));
    }
}
