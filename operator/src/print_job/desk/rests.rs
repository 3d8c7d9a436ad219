//! What did not give a file to a job that held a printer for it, and is left alone for a while. Without that, one job after
//! the other would be given a printer, wait there for a file that does not come, and give it back: writes for each of
//! them, and a printer that is busy for nothing.
//!
//! A rest ends with the first file that comes, or by itself; then one further job tries. It is kept in memory alone: a new
//! process learns of it by one job. It says nothing about files that are in the cache.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::lanes::Lane;

/// First rest; doubles with each job in a row that was let down.
const REST: Duration = Duration::from_secs(30);
/// Longest rest.
const REST_CAP: Duration = Duration::from_mins(5);
/// After so long without a job that was let down, the next one is the first again.
const FORGET: Duration = Duration::from_hours(1);

/// What gives a file, or does not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Giver {
    /// The cache: every file has to be taken in there.
    Cache,
    /// A server, as one namespace knows it: another one has other credentials.
    Server(Lane),
    /// One file of one source.
    File([u8; 32]),
}

struct Rest {
    until: Instant,
    in_a_row: u32,
}

/// What rests. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Rests {
    rests: Arc<Mutex<HashMap<Giver, Rest>>>,
}

impl Rests {
    fn with<T>(&self, f: impl FnOnce(&mut HashMap<Giver, Rest>) -> T) -> T {
        f(&mut self.rests.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A job that held a printer was let down. Others that asked at the same time have learned nothing more.
    pub(super) fn failed(&self, giver: Giver) {
        let now = Instant::now();
        self.with(|rests| {
            rests.retain(|_, rest| now < rest.until + FORGET);
            let rest = rests.entry(giver).or_insert(Rest { until: now, in_a_row: 0 });
            if now >= rest.until {
                rest.until = now + REST.saturating_mul(1 << rest.in_a_row.min(10)).min(REST_CAP);
                rest.in_a_row = rest.in_a_row.saturating_add(1);
            }
        });
    }

    /// These gave a file.
    pub(super) fn gave(&self, givers: &[Giver]) {
        self.with(|rests| rests.retain(|giver, _| !givers.contains(giver)));
    }

    /// Whether nothing rests now: then nobody needs to know who gives what.
    pub(super) fn is_empty(&self) -> bool {
        let now = Instant::now();
        self.with(|rests| rests.values().all(|rest| rest.until <= now))
    }

    /// Until when one of these rests.
    pub(super) fn until(&self, givers: &[Giver]) -> Option<Instant> {
        let now = Instant::now();
        self.with(|rests| givers.iter().filter_map(|giver| rests.get(giver)).map(|rest| rest.until).max())
            .filter(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(name: &str) -> Giver {
        Giver::Server(Lane { namespace: "farm".into(), server: Some(name.into()) })
    }

    #[tokio::test(start_paused = true)]
    async fn a_rest_doubles_with_each_job_in_a_row_and_ends_with_a_file() {
        let rests = Rests::default();
        let mut lasted = Vec::new();
        for _ in 0..6 {
            // Three jobs on three printers, let down together.
            for _ in 0..3 {
                rests.failed(server("down:80"));
            }
            let until = rests.until(&[Giver::Cache, server("down:80")]).unwrap();
            lasted.push((until - Instant::now()).as_secs());
            assert_eq!(rests.until(&[Giver::Cache, server("good:80")]), None);
            assert!(!rests.is_empty());
            tokio::time::advance(until - Instant::now()).await;
            assert_eq!(rests.until(&[server("down:80")]), None, "one may try");
            assert!(rests.is_empty(), "nobody is asked what gives him his file");
        }
        assert_eq!(lasted, [30, 60, 120, 240, 300, 300]);
        rests.failed(server("down:80"));
        rests.failed(Giver::Cache);
        rests.gave(&[server("down:80")]);
        assert_eq!(rests.until(&[server("down:80")]), None);
        rests.failed(server("down:80"));
        assert!(
            rests.until(&[server("down:80")]).is_some_and(|until| until <= Instant::now() + REST),
            "from the start"
        );
        tokio::time::advance(FORGET + REST_CAP).await;
        rests.failed(server("other:80"));
        assert_eq!(rests.with(|r| r.len()), 1, "the others are forgotten");
    }
}
