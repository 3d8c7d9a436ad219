//! Waiting for a condition of the outside world: asks again and again, and when time is up tells what was last
//! seen. It never sleeps in the hope that something has happened.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

/// How often [`wait_until`] asks.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The condition did not become true in time. `Debug` reads like `Display`, because tests show it by `unwrap`.
pub struct WaitTimeout {
    description: String,
    timeout: Duration,
    last_seen: Option<String>,
}

impl fmt::Display for WaitTimeout {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "waited {:.1} s for: {}; ", self.timeout.as_secs_f64(), self.description)?;
        match &self.last_seen {
            Some(state) => write!(formatter, "last seen: {state}"),
            None => write!(formatter, "the first look never returned"),
        }
    }
}

impl fmt::Debug for WaitTimeout {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl std::error::Error for WaitTimeout {}

/// Calls `look` until it returns `Ok`, at most for `timeout`. An `Err` is not a failure but the state that was
/// seen instead; the last one is part of the [`WaitTimeout`]. A look that hangs counts against `timeout` too.
pub async fn wait_until<T, S, F, Fut>(description: &str, timeout: Duration, mut look: F) -> Result<T, WaitTimeout>
where
    S: fmt::Debug,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, S>>,
{
    let deadline = Instant::now() + timeout;
    let mut last_seen = None;
    loop {
        match timeout_at(deadline, look()).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(state)) => last_seen = Some(format!("{state:?}")),
            Err(_) => break,
        }
        if Instant::now() + POLL_INTERVAL >= deadline {
            break;
        }
        sleep(POLL_INTERVAL).await;
    }
    Err(WaitTimeout { description: description.to_owned(), timeout, last_seen })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_good_look_is_the_result() {
        let mut looks = 0;
        let found = wait_until("three", Duration::from_secs(20), || {
            looks += 1;
            let seen = looks;
            async move { if seen == 3 { Ok(seen) } else { Err(seen) } }
        })
        .await;
        assert_eq!(found.unwrap(), 3);
        assert_eq!(looks, 3);
    }

    #[tokio::test]
    async fn a_timeout_tells_what_was_last_seen() {
        let result: Result<(), _> =
            wait_until("the bed to be clear", Duration::from_millis(120), || async { Err("a part lies on it") }).await;
        let text = format!("{:?}", result.unwrap_err());
        assert!(text.contains("the bed to be clear") && text.contains("a part lies on it"), "{text}");
    }

    #[tokio::test]
    async fn a_look_that_hangs_does_not_hang_the_test() {
        let result: Result<(), _> = wait_until("an answer", Duration::from_millis(50), || async {
            std::future::pending::<()>().await;
            Err(())
        })
        .await;
        let text = result.unwrap_err().to_string();
        assert!(text.contains("the first look never returned"), "{text}");
    }
}
