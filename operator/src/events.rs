//! Events of objects: the story that `kubectl describe` tells. One event for each condition that changes its status or
//! reason, never one for each pass. A failure to write an event never changes anything else. Only the leader writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, ObjectMeta, Time};
use kube::{Resource, ResourceExt};
use printernizer_crds::{Printer, Reason};
use printernizer_rules::plan::NO_EFFECT;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::api::{Api, ApiError};

/// Events that wait to be written; more are dropped, and said so in the log.
const WAITING: usize = 512;
/// Pause after an event the API server gave no answer to.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest name of an event whose object has a long one, without the number, in bytes: the API server takes 253.
const MAX_NAME_BYTES: usize = 200;
/// Longest note the API server takes, in bytes.
const MAX_NOTE_BYTES: usize = 1024;

/// Takes events and hands them to their writer.
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
    /// The events, and the writer of those that are published, which runs until cancelled. `instance` names this
    /// process in the events.
    pub fn new(instance: String) -> (Self, Writer) {
        let (queue, waiting) = mpsc::channel::<Event>(WAITING);
        (Self { queue, instance, clock: Clock::default() }, Writer { waiting })
    }

    /// Tells of every condition that has changed its status or reason.
    pub fn conditions<K: Resource<DynamicType = ()>>(&self, object: &K, old: &[Condition], new: &[Condition]) {
        for condition in new {
            let before = old.iter().find(|c| c.type_ == condition.type_);
            let changed = before.is_none_or(|b| b.status != condition.status || b.reason != condition.reason);
            // What a person wrote in vain is told also where nothing else has changed.
            let in_vain = is_in_vain(condition) && before.is_none_or(|b| b.message != condition.message);
            let repeats = condition.type_ == "Ready" && K::kind(&()) != "BackupPolicy";
            if (changed || in_vain) && is_news(condition, before, repeats) && !is_over(condition, new) {
                self.publish(object, condition);
            }
        }
    }

    /// Tells that the status of a printer is refused, or not kept whole: nothing is given to it until a person has helped.
    pub fn not_stored(&self, printer: &Printer, error: &ApiError) {
        let (type_, status, reason) = ("Ready".to_owned(), "False".to_owned(), "StatusNotStored".to_owned());
        let message = format!("what this printer shows cannot be stored, so no job is given to it: {error}");
        let last_transition_time = Time(Timestamp::now());
        self.publish(
            printer,
            &Condition { type_, status, reason, message, last_transition_time, observed_generation: None },
        );
    }

    fn publish<K: Resource<DynamicType = ()>>(&self, object: &K, condition: &Condition) {
        let type_ = if warns(condition) { "Warning" } else { "Normal" };
        let kind = K::kind(&());
        info!(kind = %kind, namespace = %object.namespace().unwrap_or_default(), name = %object.name_any(), condition = %condition.type_, status = %condition.status, reason = %condition.reason, "{}", condition.message);
        let note = beginning(&condition.message, MAX_NOTE_BYTES).to_owned();
        let event = Event {
            metadata: ObjectMeta {
                name: Some(event_name(&object.name_any(), self.clock.next())),
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

/// As much of a text as fits into so many bytes.
fn beginning(text: &str, most_bytes: usize) -> &str {
    let end = (0..=most_bytes.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    &text[..end]
}

fn event_name(object: &str, number: u64) -> String {
    // Names are parts joined by dots, and each part begins and ends with a letter or digit.
    format!("{}.{number:016x}", beginning(object, MAX_NAME_BYTES).trim_end_matches(['.', '-']))
}

/// Writes what was published, one after the other, in the background.
pub struct Writer {
    waiting: mpsc::Receiver<Event>,
}

impl Writer {
    /// Writes until cancelled. Each write asks leadership first; what cannot be written is told in the log alone, where
    /// it stood already.
    pub async fn run(mut self, api: Api, cancel: CancellationToken) {
        while let Some(Some(event)) = cancel.run_until_cancelled(self.waiting.recv()).await {
            match api.create_event(&event).await {
                Ok(()) => {}
                Err(error @ ApiError::Timeout) => {
                    warn!(%error, "an event could not be written");
                    cancel.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
                }
                Err(error) => warn!(%error, "an event could not be written"),
            }
        }
    }
}

/// Whether the condition says that something a person wrote changes nothing.
fn is_in_vain(condition: &Condition) -> bool {
    condition.message.contains(NO_EFFECT)
}

/// Whether it only says of a job that has ended what its end says.
fn is_over(condition: &Condition, all: &[Condition]) -> bool {
    let ended = all.iter().any(|c| matches!(c.type_.as_str(), "Complete" | "Failed") && c.status == "True");
    ended && matches!(condition.type_.as_str(), "Scheduled" | "Started")
}

/// Whether nothing has been found out yet, or is to be found out.
fn is_unasked(condition: &Condition) -> bool {
    [Reason::NothingRunYet, Reason::NoObjective, Reason::NotVerified].iter().any(|r| r.as_str() == condition.reason)
}

/// Whether a change is worth a line of the story. `repeated` is whether Ready repeats what another condition has said.
fn is_news(condition: &Condition, before: Option<&Condition>, repeated: bool) -> bool {
    let (type_, status) = (condition.type_.as_str(), condition.status.as_str());
    // They repeat what another condition has said.
    let deleted = type_ == "Ready" && condition.reason == Reason::BeingDeleted.as_str();
    let repeats = (matches!(type_, "Stalled" | "Reconciling") || (type_ == "Ready" && repeated)) && !deleted;
    // Not known because the printer is not reached: the one line about that is enough.
    let follows = status == "Unknown" && matches!(type_, "Reachable" | "Authorized" | "ControlAllowed" | "Idle");
    // Told in one breath with the printer that was given.
    let next = type_ == "Started" && condition.reason == Reason::UploadPending.as_str();
    let was_never_otherwise = matches!(type_, "Trusted" | "SpecMatchesDevice") && status == "True" && before.is_none();
    !(repeats || next || follows || was_never_otherwise || is_unasked(condition))
}

/// Whether a person should be warned: something is wrong, and not just waited for.
fn warns(condition: &Condition) -> bool {
    let reason = |r: Reason| condition.reason == r.as_str();
    match (condition.type_.as_str(), condition.status.as_str()) {
        ("Failed", "True") => !reason(Reason::Cancelled),
        ("OutcomeUnknown", "True")
        | ("IntegrityVerified" | "RestoreVerified", "False" | "Unknown")
        | (
            "Reachable"
            | "Authorized"
            | "Trusted"
            | "ControlAllowed"
            | "SpecMatchesDevice"
            | "TargetReachable"
            | "LastBackupSucceeded"
            | "RecoveryPointObjectiveMet"
            | "RecoveryTimeObjectiveMet",
            "False",
        ) => true,
        ("Ready", "False") => !reason(Reason::BeingDeleted),
        ("Accepted", "False") => !reason(Reason::FetchingFile),
        ("Scheduled", "False") => reason(Reason::NoMatchingPrinter),
        ("Started", _) => {
            [Reason::UploadFailed, Reason::WaitingAtPrinter, Reason::PrinterUnreachable, Reason::Attention]
                .into_iter()
                .any(reason)
        }
        _ => is_in_vain(condition),
    }
}

#[cfg(test)]
mod tests {
    use axum::extract::State;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::Client;
    use printernizer_crds::conditions::SetAt;
    use printernizer_crds::{ConditionStatus, ConditionType, Conditions as _};

    use super::*;
    use crate::leadership::Leadership;
    use crate::telemetry::Metrics;

    fn condition(type_: ConditionType, status: ConditionStatus, reason: Reason) -> Condition {
        let at = SetAt {
            time: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH),
            generation: None,
        };
        let mut conditions = Vec::new();
        conditions.set(type_, status, reason, "", &at);
        conditions.remove(0)
    }

    /// An API server that counts the events it is sent.
    async fn counting() -> (Client, Arc<AtomicU64>) {
        let count = Arc::new(AtomicU64::new(0));
        let answer = |State(count): State<Arc<AtomicU64>>, body: String| async move {
            count.fetch_add(1, Ordering::SeqCst);
            body
        };
        let router = axum::Router::new().fallback(answer).with_state(Arc::clone(&count));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let mut config = kube::Config::new(format!("http://{address}").parse().unwrap());
        config.default_retry = false;
        (Client::try_from(config).unwrap(), count)
    }

    #[tokio::test]
    async fn only_a_leader_writes_events() {
        let (client, count) = counting().await;
        let mut object = ConfigMap::default();
        object.metadata.name = Some("prusa-1".into());
        object.metadata.namespace = Some("farm".into());
        let told = [condition(ConditionType::Reachable, ConditionStatus::False, Reason::Unreachable)];
        let leadership = Leadership::fixed(true);
        for expected in [1, 1] {
            let (events, writer) = Events::new("test".into());
            events.conditions(&object, &[], &told);
            drop(events);
            // Without anybody who could publish more, the writer ends with the last event.
            let api = Api::new(client.clone(), leadership.clone(), Metrics::new().unwrap());
            writer.run(api, CancellationToken::new()).await;
            assert_eq!(count.load(Ordering::SeqCst), expected);
            leadership.lose();
        }
    }

    #[test]
    fn the_longest_names_and_messages_still_fit() {
        let long = format!("{}.{}", "a".repeat(MAX_NAME_BYTES - 1), "b".repeat(50));
        let name = event_name(&long, 7);
        assert_eq!(name, format!("{}.0000000000000007", "a".repeat(MAX_NAME_BYTES - 1)));
        assert_eq!(event_name("clip", 7), "clip.0000000000000007");
        assert_eq!((beginning("Düse", 2), beginning("Düse", 3), beginning("Düse", 99)), ("D", "Dü", "Düse"));
    }

    #[test]
    fn names_of_events_rise_even_when_the_clock_does_not() {
        let clock = Clock::default();
        assert_eq!([clock.after(10), clock.after(10), clock.after(3), clock.after(20)], [10, 11, 12, 20]);
    }

    #[test]
    fn what_a_person_wrote_in_vain_is_warned_of_wherever_it_is_told() {
        use ConditionStatus::False;
        let rows = [
            (ConditionType::BedCleared, Reason::PartOnBed),
            (ConditionType::OutcomeUnknown, Reason::AnsweredByPerson),
            (ConditionType::OutcomeUnknown, Reason::OutcomeKnown),
        ];
        for (type_, reason) in rows {
            let mut told = condition(type_, False, reason);
            assert!(!warns(&told), "{reason}");
            told.message = format!("spec says something, which {NO_EFFECT}");
            assert!(warns(&told), "{reason}");
        }
    }

    #[test]
    fn what_is_not_known_because_the_printer_is_away_is_told_once() {
        use ConditionStatus::{False, True, Unknown};
        assert!(is_news(&condition(ConditionType::Reachable, False, Reason::Unreachable), None, true));
        assert!(!is_news(&condition(ConditionType::Idle, Unknown, Reason::StateUnknown), None, true));
        assert!(!is_news(&condition(ConditionType::Ready, False, Reason::Unreachable), None, true));
        let trusted = condition(ConditionType::Trusted, True, Reason::NoDistrust);
        assert!(!is_news(&trusted, None, true));
        assert!(!is_news(&condition(ConditionType::Started, False, Reason::UploadPending), None, true));
        let distrusted = condition(ConditionType::Trusted, False, Reason::Quarantined);
        assert!(is_news(&trusted, Some(&distrusted), true));
    }
}
