//! The driver all kinds share: a queue of keys, each worked on by one task at a time.
//!
//! A panic in one object's pass is that object's failure. A failed pass is repeated with exponential backoff and jitter
//! of its own; whatever happens in between only brings it forward. Keys are de-duplicated, so the queue is never larger
//! than the number of objects.

mod queue;

use std::future::Future;
use std::time::Duration;

use rand::Rng as _;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info_span, warn};

use crate::api::{ApiError, Key};
use crate::error::pass_error;
use crate::telemetry::metrics::{Controller, Outcome, PassError};
use crate::telemetry::{Heartbeat, Metrics};

pub use queue::Queue;

/// Longest time one pass may take.
const PASS_TIMEOUT: Duration = Duration::from_secs(60);
/// First pause after a failed pass.
const BACKOFF_BASE: Duration = Duration::from_millis(200);
/// Longest pause after failed passes.
const BACKOFF_CAP: Duration = Duration::from_secs(60);
/// First pause after another writer was first: the two passes of a printer and its job meet often, and briefly.
const CONFLICT_BASE: Duration = Duration::from_millis(10);
/// Longest pause after another writer was first.
const CONFLICT_CAP: Duration = Duration::from_secs(1);
/// An object is looked at again at least this often, should every event have been missed.
const RESYNC: Duration = Duration::from_secs(600);

/// What a pass came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// For the metrics.
    pub outcome: Outcome,
    /// Look again after this time at the latest.
    pub again: Option<Duration>,
}

/// A pass that has ended: its key, when it began, and its result, unless its time was up.
type Pass = (Key, Instant, Option<Result<Done, ApiError>>);

/// Runs passes until cancelled; passes under way are dropped then.
pub async fn run<F, Fut>(
    controller: Controller,
    queue: Queue,
    concurrency: usize,
    metrics: Metrics,
    heartbeat: Heartbeat,
    cancel: CancellationToken,
    pass: F,
) where
    F: Fn(Key) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Done, ApiError>> + Send + 'static,
{
    let mut passes: JoinSet<Pass> = JoinSet::new();
    loop {
        heartbeat.beat();
        let (ready, next) = queue.take_due(concurrency.saturating_sub(passes.len()));
        for waited in queue.waits() {
            metrics.waited_in_queue(controller, waited);
        }
        for key in ready {
            let span = info_span!("reconcile", controller = ?controller, namespace = %key.namespace, name = %key.name);
            let work = pass(key.clone());
            let running = key.clone();
            let handle = passes.spawn(
                async move {
                    let began = Instant::now();
                    (key, began, tokio::time::timeout(PASS_TIMEOUT, work).await.ok())
                }
                .instrument(span),
            );
            queue.with(|s| s.running.insert(running, Some(handle.id())));
        }
        let wake = next
            .unwrap_or_else(|| Instant::now() + Duration::from_secs(5))
            .min(Instant::now() + Duration::from_secs(5));
        tokio::select! {
            () = cancel.cancelled() => break,
            () = queue.changed.notified() => {}
            () = tokio::time::sleep_until(wake), if passes.len() < concurrency => {}
            Some(ended) = passes.join_next() => finished(controller, &queue, &metrics, ended),
        }
    }
    passes.shutdown().await;
}

type Ended = Result<Pass, tokio::task::JoinError>;

/// Why a pass came to nothing.
enum Failure {
    Error(ApiError),
    TimeUp,
    Panic,
}

fn finished(controller: Controller, queue: &Queue, metrics: &Metrics, ended: Ended) {
    let (key, took, result) = match ended {
        Ok((key, began, Some(Ok(done)))) => (Some(key), began.elapsed(), Ok(done)),
        Ok((key, began, Some(Err(error)))) => (Some(key), began.elapsed(), Err(Failure::Error(error))),
        Ok((key, began, None)) => (Some(key), began.elapsed(), Err(Failure::TimeUp)),
        Err(join) => {
            let id = join.id();
            let key = queue.with(|s| s.running.iter().find(|(_, i)| **i == Some(id)).map(|(k, _)| k.clone()));
            (key, Duration::ZERO, Err(Failure::Panic))
        }
    };
    let Some(key) = key else { return };
    let gone = queue.pass_ended(&key);
    match result {
        Ok(done) if gone => metrics.reconciled(controller, done.outcome, took),
        Ok(done) => {
            metrics.reconciled(controller, done.outcome, took);
            queue.with(|s| s.failures.remove(&key));
            queue.after(key, done.again.unwrap_or(RESYNC).min(RESYNC));
        }
        // Another writer was first: what it wrote will be observed at once.
        Err(Failure::Error(ApiError::Conflict)) => {
            metrics.reconciled(controller, Outcome::Conflict, took);
            let pause = backoff(queue, &key, CONFLICT_BASE, CONFLICT_CAP);
            queue.after(key, pause);
        }
        Err(Failure::Error(ApiError::NotLeader(_))) => {
            metrics.reconciled(controller, Outcome::Abandoned, took);
            queue.after(key, Duration::from_secs(1));
        }
        Err(Failure::Error(error)) => {
            metrics.reconciled(controller, Outcome::Failed, took);
            metrics.pass_failed(controller, pass_error(&error));
            let pause = backoff(queue, &key, BACKOFF_BASE, BACKOFF_CAP);
            warn!(controller = ?controller, namespace = %key.namespace, name = %key.name, %error, retry_in = ?pause, "the pass failed");
            queue.after(key, pause);
        }
        Err(Failure::TimeUp) => {
            metrics.reconciled(controller, Outcome::Failed, took);
            metrics.pass_failed(controller, PassError::Timeout);
            let pause = backoff(queue, &key, BACKOFF_BASE, BACKOFF_CAP);
            warn!(controller = ?controller, namespace = %key.namespace, name = %key.name, limit = ?PASS_TIMEOUT, retry_in = ?pause, "the pass took too long and was cut off");
            queue.after(key, pause);
        }
        Err(Failure::Panic) => {
            metrics.reconciled(controller, Outcome::Panicked, took);
            let pause = backoff(queue, &key, BACKOFF_BASE, BACKOFF_CAP);
            warn!(controller = ?controller, namespace = %key.namespace, name = %key.name, retry_in = ?pause, "the pass panicked; this is a bug, other objects are not affected");
            queue.after(key, pause);
        }
    }
}

fn backoff(queue: &Queue, key: &Key, base: Duration, cap: Duration) -> Duration {
    let failures = queue.with(|s| {
        let n = s.failures.entry(key.clone()).or_insert(0);
        *n = n.saturating_add(1);
        *n
    });
    let full = base.saturating_mul(1 << (failures - 1).min(16)).min(cap);
    full.mul_f64(rand::rng().random_range(0.5..1.0))
}

#[cfg(test)]
mod tests {
    use super::queue::IDLE_CAP;
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    fn start<F, Fut>(queue: &Queue, pass: F) -> CancellationToken
    where
        F: Fn(Key) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Done, ApiError>> + Send + 'static,
    {
        let cancel = CancellationToken::new();
        let health = crate::telemetry::Health::new();
        let heartbeat = health.heartbeat("test", Duration::from_secs(3600));
        let metrics = Metrics::new().unwrap();
        tokio::spawn(run(Controller::Printer, queue.clone(), 4, metrics, heartbeat, cancel.clone(), pass));
        cancel
    }

    const UNCHANGED: Done = Done { outcome: Outcome::Unchanged, again: None };

    #[tokio::test(start_paused = true)]
    async fn a_panic_harms_only_its_own_object_and_is_tried_again() {
        let queue = Queue::default();
        let (good, bad) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (g, b) = (Arc::clone(&good), Arc::clone(&bad));
        let cancel = start(&queue, move |key| {
            let (g, b) = (Arc::clone(&g), Arc::clone(&b));
            async move {
                if key.name == "bad" {
                    assert!(b.fetch_add(1, Ordering::SeqCst) >= 2, "a bug");
                } else {
                    g.fetch_add(1, Ordering::SeqCst);
                }
                Ok(UNCHANGED)
            }
        });
        queue.now(Key::new("farm", "bad"));
        queue.now(Key::new("farm", "good"));
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!((good.load(Ordering::SeqCst), bad.load(Ordering::SeqCst)), (1, 3));
        cancel.cancel();
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_never_worked_on_twice_at_once_and_no_wish_is_lost() {
        let queue = Queue::default();
        let (running, most, passes) =
            (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let shared = (Arc::clone(&running), Arc::clone(&most), Arc::clone(&passes));
        let cancel = start(&queue, move |_| {
            let (running, most, passes) = shared.clone();
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(100)).await;
                running.fetch_sub(1, Ordering::SeqCst);
                passes.fetch_add(1, Ordering::SeqCst);
                Ok(UNCHANGED)
            }
        });
        queue.now(Key::new("farm", "a"));
        tokio::time::sleep(Duration::from_millis(50)).await;
        queue.now(Key::new("farm", "a"));
        queue.now(Key::new("farm", "a"));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!((most.load(Ordering::SeqCst), passes.load(Ordering::SeqCst)), (1, 2));
        cancel.cancel();
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_to_be_done_comes_before_what_has_time_and_in_its_turn() {
        let queue = Queue::default();
        let seen = Arc::new(Mutex::new(Vec::new()));
        (0..100).for_each(|n| queue.when_idle(Key::new("farm", format!("idle-{n:02}"))));
        queue.after(Key::new("farm", "second"), Duration::from_millis(2));
        queue.now(Key::new("farm", "first"));
        let shared = Arc::clone(&seen);
        let cancel = start(&queue, move |key| {
            shared.lock().unwrap().push(key.name);
            async {
                tokio::time::sleep(Duration::from_millis(10)).await;
                Ok(UNCHANGED)
            }
        });
        tokio::time::sleep(Duration::from_millis(15)).await;
        queue.now(Key::new("farm", "idle-99"));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let seen = seen.lock().unwrap();
        let turn = |name: &str| seen.iter().position(|n| n == name).unwrap();
        assert!(turn("first") < 1 && turn("second") < 8 && turn("idle-99") < 12, "{seen:?}");
        assert_eq!(seen.len(), 102, "each once: {seen:?}");
        cancel.cancel();
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_time_is_looked_at_all_the_same_when_there_is_always_something_to_do() {
        let queue = Queue::default();
        let idle = Arc::new(AtomicUsize::new(0));
        let (i, q) = (Arc::clone(&idle), queue.clone());
        let cancel = start(&queue, move |key| {
            let (i, q) = (Arc::clone(&i), q.clone());
            async move {
                tokio::time::sleep(Duration::from_millis(10)).await;
                if key.name == "idle" {
                    i.fetch_add(1, Ordering::SeqCst);
                } else {
                    q.now(key);
                }
                Ok(UNCHANGED)
            }
        });
        (0..20).for_each(|n| queue.now(Key::new("farm", format!("busy-{n}"))));
        tokio::time::sleep(Duration::from_millis(100)).await;
        queue.when_idle(Key::new("farm", "idle"));
        tokio::time::sleep(IDLE_CAP / 2).await;
        assert_eq!(idle.load(Ordering::SeqCst), 0);
        tokio::time::sleep(IDLE_CAP).await;
        assert_eq!(idle.load(Ordering::SeqCst), 1);
        cancel.cancel();
    }

    #[tokio::test(start_paused = true)]
    async fn failures_back_off_and_an_event_brings_the_next_pass_forward() {
        let queue = Queue::default();
        let passes = Arc::new(AtomicUsize::new(0));
        let p = Arc::clone(&passes);
        let cancel = start(&queue, move |_| {
            p.fetch_add(1, Ordering::SeqCst);
            async { Err(ApiError::Timeout) }
        });
        queue.now(Key::new("farm", "a"));
        tokio::time::sleep(Duration::from_secs(300)).await;
        let after_five_minutes = passes.load(Ordering::SeqCst);
        assert!((8..=20).contains(&after_five_minutes), "{after_five_minutes}");
        queue.now(Key::new("farm", "a"));
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(passes.load(Ordering::SeqCst), after_five_minutes + 1);
        cancel.cancel();
    }

    #[tokio::test(start_paused = true)]
    async fn a_pass_that_never_ends_is_cut_off_counted_as_an_error_and_tried_again() {
        let (queue, metrics, cancel) = (Queue::default(), Metrics::new().unwrap(), CancellationToken::new());
        let passes = Arc::new(AtomicUsize::new(0));
        let p = Arc::clone(&passes);
        let heartbeat = crate::telemetry::Health::new().heartbeat("test", Duration::from_secs(3600));
        let pass = move |_| {
            p.fetch_add(1, Ordering::SeqCst);
            std::future::pending()
        };
        tokio::spawn(run(Controller::Printer, queue.clone(), 4, metrics.clone(), heartbeat, cancel.clone(), pass));
        queue.now(Key::new("farm", "a"));
        tokio::time::sleep(PASS_TIMEOUT * 3 / 2).await;
        assert_eq!(passes.load(Ordering::SeqCst), 2);
        let text = metrics.text().unwrap();
        let errors = "printernizer_reconcile_errors_total{controller=\"printer\",reason=\"timeout\"} 1\n";
        assert!(text.contains(errors), "{text}");
        cancel.cancel();
    }

    #[tokio::test(start_paused = true)]
    async fn an_object_that_is_gone_is_not_looked_at_again_until_it_is_heard_of() {
        let queue = Queue::default();
        let passes = Arc::new(AtomicUsize::new(0));
        let (p, q) = (Arc::clone(&passes), queue.clone());
        let cancel = start(&queue, move |key| {
            p.fetch_add(1, Ordering::SeqCst);
            let q = q.clone();
            async move {
                q.forget(&key);
                Ok(UNCHANGED)
            }
        });
        queue.now(Key::new("farm", "a"));
        tokio::time::sleep(RESYNC * 5).await;
        assert_eq!(passes.load(Ordering::SeqCst), 1);
        assert!(queue.with(|s| s.due.is_empty() && s.running.is_empty() && s.gone.is_empty()), "nothing is kept of it");
        queue.now(Key::new("farm", "a"));
        tokio::time::sleep(RESYNC).await;
        assert_eq!(passes.load(Ordering::SeqCst), 2);
        cancel.cancel();
    }
}
