//! Work in the background: no panic is lost, and no task ends unnoticed. A panic in a piece of work is that work's
//! error, which is tried again like any other; a task without which the operator does nothing ends the process when it
//! ends, so that it is started anew. It never tries anything again itself.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;
use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A panic in a piece of work. What it said stands in the log only: it may quote anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{0} failed in an unforeseen way; it is tried again, and the operator's log says where: please report it")]
pub struct Panicked(&'static str);

/// Does the work; a panic in it becomes an error. What the work shares with others must be whole between any two of its
/// steps, as it must be for work that is dropped half-way.
pub async fn caught<T>(what: &'static str, work: impl Future<Output = T>) -> Result<T, Panicked> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|_| {
        tracing::error!(what, "this panicked, which is a bug; nothing else is affected");
        Panicked(what)
    })
}

/// Tasks that must run as long as the process leads.
#[derive(Clone)]
pub struct Tasks {
    cancel: CancellationToken,
    tracker: TaskTracker,
    ended: watch::Sender<Option<&'static str>>,
}

impl Tasks {
    /// No task yet. They are to end when `cancel` is cancelled.
    pub fn new(cancel: CancellationToken) -> Self {
        Self { cancel, tracker: TaskTracker::new(), ended: watch::Sender::new(None) }
    }

    /// Starts a task under the name by which it is reported.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let (cancel, ended) = (self.cancel.clone(), self.ended.clone());
        self.tracker.spawn(async move {
            let _ = caught(name, task).await;
            if !cancel.is_cancelled() {
                ended.send_replace(Some(name));
            }
        });
    }

    /// Waits until a task has ended that should not have; gives its name.
    pub async fn ended_early(&self) -> &'static str {
        let mut ended = self.ended.subscribe();
        match ended.wait_for(Option::is_some).await.map(|name| *name) {
            Ok(Some(name)) => name,
            // The sender lives in `self`.
            _ => std::future::pending().await,
        }
    }

    /// Waits until all tasks have ended.
    pub async fn wait(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_becomes_an_error_that_quotes_nothing() {
        let panicked = caught("reading a file", async { panic!("hidden") }).await;
        let text = panicked.map(|()| "no panic").unwrap_err().to_string();
        assert!(text.starts_with("reading a file failed") && !text.contains("hidden"), "{text}");
        assert_eq!(caught("nothing", async { 7 }).await, Ok(7));
    }

    #[tokio::test]
    async fn a_task_that_ends_too_early_is_named_however_it_ended() {
        let returned = Tasks::new(CancellationToken::new());
        returned.spawn("stays", std::future::pending());
        returned.spawn("returns", async {});
        assert_eq!(returned.ended_early().await, "returns");
        let panicked = Tasks::new(CancellationToken::new());
        panicked.spawn("panics", async { panic!("a bug") });
        assert_eq!(panicked.ended_early().await, "panics");
    }

    #[tokio::test]
    async fn a_task_that_ends_when_it_is_told_to_is_no_trouble() {
        let cancel = CancellationToken::new();
        let tasks = Tasks::new(cancel.clone());
        tasks.spawn("obeys", cancel.clone().cancelled_owned());
        cancel.cancel();
        tasks.wait().await;
        assert_eq!(tasks.ended_early().now_or_never(), None);
    }
}
