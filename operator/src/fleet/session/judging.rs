//! What of a session's reports the Printer's own pass has judged, with what that meant stored. What was not is not used: what
//! is stored of the printer was said before, and anybody may have printed since.

use std::time::Duration;

use printernizer_rules::device::Link;
use tokio::time::Instant;

use super::{Seen, Session};

/// What was judged.
#[derive(Debug, Default)]
pub(in crate::fleet) struct Judging {
    /// Whether a report of this connection was.
    watched: bool,
    /// How often another state or print was shown than before, and up to which of these it was judged.
    changes: u64,
    changes_judged: u64,
    /// Since when what is shown is not.
    unjudged_since: Option<Instant>,
    /// When the state was reported that no status has yet.
    unstored_since: Option<Instant>,
    /// Whether a person was told that the status cannot be stored.
    unstored_told: bool,
}

/// The same at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct JudgingSeen {
    changes: u64,
    judged: Option<Judged>,
}

/// That what one connection of a session showed at some moment was judged, and what it meant is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    connection: u64,
    changes: u64,
}

impl Judging {
    /// Of a session that begins.
    pub(super) fn since(now: Instant) -> Self {
        Self { unjudged_since: Some(now), ..Self::default() }
    }

    /// Something may have happened that no report shows.
    pub(super) fn unwatched(&mut self) {
        self.watched = false;
        self.unjudged_since.get_or_insert_with(Instant::now);
    }

    /// Another state or print is shown than before.
    pub(super) fn changed(&mut self, at: Instant) {
        self.changes += 1;
        self.unjudged_since.get_or_insert_with(Instant::now);
        self.unstored_since.get_or_insert(at);
    }

    /// Whether what is shown now was judged, and what that meant is stored.
    pub(in crate::fleet) fn is_judged(&self) -> bool {
        self.watched && self.changes == self.changes_judged
    }

    /// Whether a report of this connection was.
    pub(super) fn watched(&self) -> bool {
        self.watched
    }

    /// How long what is shown was not; zero where it is.
    pub(super) fn unjudged_for(&self) -> Duration {
        self.unjudged_since.map_or(Duration::ZERO, |at| at.elapsed())
    }

    /// When the state was reported that no status has yet.
    pub(super) fn unstored_since(&self) -> Option<Instant> {
        self.unstored_since
    }

    /// What is to be known of it at one moment.
    pub(super) fn seen(&self, connection: u64) -> JudgingSeen {
        let judged = Judged { connection, changes: self.changes };
        JudgingSeen { changes: self.changes, judged: self.is_judged().then_some(judged) }
    }
}

impl Seen {
    /// Whether what the connection shows is judged, and what that meant is stored.
    pub fn is_judged(&self) -> bool {
        self.judging.judged.is_some()
    }

    /// Whether it is, and nothing else was shown, and no other connection came, after `before`, as the same session gave
    /// it. A Printer that was read in between says what it meant.
    pub fn is_judged_since(&self, before: Option<Judged>) -> bool {
        self.is_judged() && before == self.judging.judged
    }
}

impl Session {
    /// That what the present connection shows was judged, and what it meant is stored. Asked before the Printer is read.
    pub fn judged(&self) -> Option<Judged> {
        self.with(|s| s.judging.seen(s.connection).judged)
    }

    /// What was seen was judged, and what it meant is stored. A report that came in the meantime was not: the first one
    /// of a connection must not pass for watched. True if what is shown now was not judged before and is: others wait for
    /// that.
    pub fn was_judged(&self, seen: &Seen) -> bool {
        let news = self.with(|s| {
            let same = s.connection == seen.connection;
            let judging = &mut s.judging;
            judging.unstored_since.take_if(|since| Some(*since) == seen.unstored_since);
            judging.unstored_told = false;
            let before = judging.is_judged();
            if matches!(seen.link, Link::Live { .. }) && same {
                judging.watched = true;
                judging.changes_judged = judging.changes_judged.max(seen.judging.changes);
            }
            let news = judging.is_judged() && !before;
            if news {
                judging.unjudged_since = None;
            }
            news
        });
        if news {
            self.looked.notify_waiters();
        }
        news
    }

    /// Whether a person is to be told that the status cannot be stored: once, until it is.
    pub fn tells_unstored(&self) -> bool {
        self.with(|s| !std::mem::replace(&mut s.judging.unstored_told, true))
    }

    /// Waits until what was reported is judged, and no longer than until `limit`.
    pub(in crate::fleet) async fn judged_by(&self, limit: Instant) {
        let judged = async {
            loop {
                let looked = self.looked.notified();
                if self.judged().is_some() {
                    return;
                }
                looked.await;
            }
        };
        // Who waited in vain is told why by the gate.
        let _ = tokio::time::timeout_at(limit, judged).await;
    }
}
