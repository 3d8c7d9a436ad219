//! The simulation's time: real time since its start, multiplied by the time scale, plus what was skipped.
//!
//! Machines live in this time (prints, dialogs, parking); the network (timeouts, nonces) lives in real time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// The clock all machines of one simulation share.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    origin: Instant,
    scale: f64,
    skipped_milliseconds: Arc<AtomicU64>,
}

impl Clock {
    /// Starts at zero. `scale` is how many simulated seconds one real second lasts, from 0.001 to 1000000.
    pub(crate) fn start(scale: f64) -> Self {
        Self { origin: Instant::now(), scale, skipped_milliseconds: Arc::default() }
    }

    /// Simulated time since the simulation's start.
    pub(crate) fn now(&self) -> Duration {
        self.origin.elapsed().mul_f64(self.scale) + self.skipped()
    }

    /// Jumps forward. Whoever waits for an instant must ask again.
    pub(crate) fn skip(&self, simulated: Duration) {
        let milliseconds = u64::try_from(simulated.as_millis()).unwrap_or(u64::MAX);
        self.skipped_milliseconds.fetch_add(milliseconds, Ordering::SeqCst);
    }

    /// The real instant at which `simulated` is reached, rounded up so that it has really been reached then.
    pub(crate) fn instant_of(&self, simulated: Duration) -> Instant {
        let remaining = simulated.saturating_sub(self.skipped());
        self.origin + remaining.div_f64(self.scale) + Duration::from_micros(1)
    }

    fn skipped(&self) -> Duration {
        Duration::from_millis(self.skipped_milliseconds.load(Ordering::SeqCst))
    }
}
