//! Locks whose owners are dead. By its time a lock cannot be judged: the clock of its owner is another one. But a live owner
//! replaces its lock by a new one every 5 minutes, so that locks which stay the same for much longer are nobody's.

use std::time::Duration;

use tokio::time::Instant;

/// What was seen of a repository's locks.
#[derive(Debug, Default)]
pub struct Watch {
    seen: Option<(Vec<String>, Instant)>,
}

impl Watch {
    /// Whether the locks that are there now have been the same for longer than the limit.
    pub fn are_of_the_dead(&mut self, mut ids: Vec<String>, now: Instant, limit: Duration) -> bool {
        ids.sort();
        match &self.seen {
            Some((known, since)) if *known == ids => !ids.is_empty() && now.duration_since(*since) > limit,
            _ => {
                self.seen = Some((ids, now));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_locks_that_nobody_replaces_are_of_the_dead() {
        let (begun, limit) = (Instant::now(), Duration::from_secs(1_800));
        let minutes = |minutes: u64| begun + Duration::from_secs(60 * minutes);
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        let mut watch = Watch::default();
        assert!(!watch.are_of_the_dead(ids(&["a", "b"]), minutes(0), limit));
        assert!(!watch.are_of_the_dead(ids(&["b", "a"]), minutes(30), limit), "not longer than the limit");
        assert!(watch.are_of_the_dead(ids(&["b", "a"]), minutes(31), limit));
        // One of them lives.
        assert!(!watch.are_of_the_dead(ids(&["a", "c"]), minutes(32), limit));
        assert!(!watch.are_of_the_dead(ids(&["a", "c"]), minutes(62), limit));
        assert!(watch.are_of_the_dead(ids(&["a", "c"]), minutes(63), limit));
        assert!(!watch.are_of_the_dead(Vec::new(), minutes(64), limit));
        assert!(!watch.are_of_the_dead(Vec::new(), minutes(164), limit), "there is none");
    }
}
