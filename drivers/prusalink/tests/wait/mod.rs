//! Waiting for a condition: asks again and again until it holds, and when time is up tells what was last seen. It never
//! sleeps in the hope that something has happened.

use std::fmt::Debug;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

/// Longest wait for something that must happen; nothing here takes as long on a machine that is not overloaded.
const LIMIT: Duration = Duration::from_secs(60);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks until the answer is `Ok`; an `Err` is not a failure but what was seen instead.
pub(crate) async fn wait_until<T, S: Debug>(what: &str, mut look: impl AsyncFnMut() -> Result<T, S>) -> T {
    let deadline = Instant::now() + LIMIT;
    let mut last_seen = None;
    while let Ok(looked) = timeout_at(deadline, look()).await {
        match looked {
            Ok(found) => return found,
            Err(seen) => last_seen = Some(seen),
        }
        if Instant::now() + PAUSE >= deadline {
            break;
        }
        sleep(PAUSE).await;
    }
    panic!("waited {LIMIT:?} for: {what}; last seen: {last_seen:?}")
}
