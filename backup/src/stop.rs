//! Being told to stop: SIGTERM, with which a kubelet ends a pod, and SIGINT, with which a person does.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Whether the run was told to stop. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Stop(CancellationToken);

impl Stop {
    /// Listens for the signals from now on.
    pub fn on_signals() -> io::Result<Self> {
        let stop = Self::default();
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let told = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            told.0.cancel();
        });
        Ok(stop)
    }

    /// One that stops with this one, and by itself when this time is over.
    #[must_use]
    pub fn within(&self, limit: std::time::Duration) -> Self {
        let shorter = Self(self.0.child_token());
        let told = shorter.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = told.stopped() => {}
                () = tokio::time::sleep(limit) => told.stop(),
            }
        });
        shorter
    }

    /// Says so.
    pub fn stop(&self) {
        self.0.cancel();
    }

    /// Whether it was said.
    pub fn is_stopped(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until it is said.
    pub async fn stopped(&self) {
        self.0.cancelled().await;
    }
}
