//! The keys that wait to be looked at. One that is worked on is not given out again before its pass has ended, and no
//! wish that comes meanwhile is lost.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::Id;
use tokio::time::Instant;

use crate::api::Key;

/// A key that has time is looked at after this at the latest, whatever else is to be done.
pub(super) const IDLE_CAP: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(super) struct State {
    /// When each key is to be looked at.
    pub(super) due: HashMap<Key, Instant>,
    /// The same of those that are not worked on now, the first one first.
    order: BTreeSet<(Instant, Key)>,
    /// Keys that are looked at before they are due if no other key is due.
    idle: BTreeSet<Key>,
    /// Keys that are worked on, from the moment on in which they were given out; then with the task that does it.
    pub(super) running: HashMap<Key, Option<Id>>,
    pub(super) failures: HashMap<Key, u32>,
    /// Keys whose object the pass under way found gone.
    pub(super) gone: HashSet<Key>,
    /// The versions of objects that the last pass over a key has read.
    read: HashMap<Key, Vec<u64>>,
    /// Keys that are not given out for now.
    held: HashSet<Key>,
    /// How long keys that were given out had been due.
    waits: Vec<Duration>,
}

impl State {
    fn bring_forward(&mut self, key: Key, at: Instant) {
        match self.due.get_mut(&key) {
            Some(known) if *known <= at => return,
            Some(known) => {
                self.order.remove(&(*known, key.clone()));
                *known = at;
            }
            None => drop(self.due.insert(key.clone(), at)),
        }
        self.enter_order(key);
    }

    /// Puts the key into the order if it is due some time and may be given out then.
    fn enter_order(&mut self, key: Key) {
        if let Some(at) = self.due.get(&key).filter(|_| self.is_to_be_had(&key)) {
            self.order.insert((*at, key));
        }
    }

    fn is_to_be_had(&self, key: &Key) -> bool {
        !self.running.contains_key(key) && !self.held.contains(key)
    }

    /// The key to look at now. From here on it is worked on, and not given out again before that has ended.
    fn pop(&mut self, now: Instant) -> Option<Key> {
        let due = self.order.first().filter(|(at, _)| *at <= now).map(|(_, key)| key);
        let key = due.or_else(|| self.idle.iter().find(|key| self.is_to_be_had(key)))?.clone();
        if let Some(at) = self.due.remove(&key) {
            self.waits.extend((at <= now).then(|| now - at));
            self.order.remove(&(at, key.clone()));
        }
        self.idle.remove(&key);
        self.running.insert(key.clone(), None);
        Some(key)
    }

    /// Notes that the pass over the key has ended; whether it found the object gone.
    fn ended(&mut self, key: &Key) -> bool {
        self.running.remove(key);
        self.enter_order(key.clone());
        self.gone.remove(key)
    }
}

/// The keys to look at, and when: whichever was due first is looked at first. Cheap to clone; anything may add to it.
#[derive(Clone, Default)]
pub struct Queue {
    state: Arc<Mutex<State>>,
    pub(super) changed: Arc<Notify>,
    /// A pass has ended.
    ended: Arc<Notify>,
}

impl Queue {
    pub(super) fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at the key as soon as possible.
    pub fn now(&self, key: Key) {
        self.after(key, Duration::ZERO);
    }

    /// Looks at the key after this time at the latest.
    pub fn after(&self, key: Key, after: Duration) {
        self.with(|s| s.bring_forward(key, Instant::now() + after));
        self.changed.notify_one();
    }

    /// Looks at the key when nothing else is to be done. For news that thousands of objects hear at once and that change
    /// nothing but a message: those with something to do must not stand behind them.
    pub fn when_idle(&self, key: Key) {
        self.with(|s| {
            s.bring_forward(key.clone(), Instant::now() + IDLE_CAP);
            s.idle.insert(key);
        });
        self.changed.notify_one();
    }

    /// Notes what the pass over the key decides on: versions of objects as [`crate::api::version`] gives them. A pass that
    /// does not succeed is made again without any news.
    pub fn has_read(&self, key: &Key, versions: impl Iterator<Item = u64>) {
        let versions = versions.collect();
        self.with(|s| s.read.insert(key.clone(), versions));
    }

    /// Looks at the key as soon as possible, unless its last pass has read this version of the object it is told of: the
    /// watch brings news of one write to several keys, and much of it is known by then.
    pub fn news(&self, key: Key, version: u64) {
        if !self.with(|s| s.read.get(&key).is_some_and(|read| read.contains(&version))) {
            self.now(key);
        }
    }

    /// Gives the key to somebody who does himself what a pass would do, as soon as the pass under way has ended: no other
    /// one begins until what is given back is dropped, and no wish that comes meanwhile is lost.
    pub async fn hold(&self, key: Key) -> Held {
        self.with(|s| {
            if let Some(at) = s.due.get(&key) {
                s.order.remove(&(*at, key.clone()));
            }
            s.held.insert(key.clone());
        });
        let held = Held { queue: self.clone(), key };
        loop {
            let mut ended = std::pin::pin!(self.ended.notified());
            ended.as_mut().enable();
            if !self.with(|s| s.running.contains_key(&held.key)) {
                return held;
            }
            ended.await;
        }
    }

    /// Notes that the pass over the key has ended; whether it found the object gone.
    pub(super) fn pass_ended(&self, key: &Key) -> bool {
        let gone = self.with(|s| s.ended(key));
        self.ended.notify_waiters();
        gone
    }

    /// Forgets what is remembered of a key whose object is gone, as its pass has found. A pass that is due is still
    /// made, and none after it.
    pub fn forget(&self, key: &Key) {
        self.with(|s| {
            s.failures.remove(key);
            s.read.remove(key);
            s.gone.insert(key.clone());
        });
    }

    /// How many keys are due and wait, and how many are worked on.
    pub fn depth(&self) -> (usize, usize) {
        let now = Instant::now();
        self.with(|s| (s.order.iter().take_while(|(at, _)| *at <= now).count(), s.running.len()))
    }

    /// How long each key that was given out since the last time had been due.
    pub(super) fn waits(&self) -> Vec<Duration> {
        self.with(|s| std::mem::take(&mut s.waits))
    }

    /// Whether a pass over the key is to be made.
    #[cfg(test)]
    pub(crate) fn is_due(&self, key: &Key) -> bool {
        self.with(|s| s.due.contains_key(key))
    }

    /// Up to so many keys to look at now, and when the next one is due.
    pub(super) fn take_due(&self, free: usize) -> (Vec<Key>, Option<Instant>) {
        let now = Instant::now();
        self.with(|s| {
            let ready = std::iter::from_fn(|| s.pop(now)).take(free).collect();
            (ready, s.order.first().map(|(at, _)| *at))
        })
    }
}

/// As long as it lives, no pass over its key begins.
pub struct Held {
    queue: Queue,
    key: Key,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.queue.with(|s| {
            s.held.remove(&self.key);
            s.enter_order(self.key.clone());
        });
        self.queue.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn how_long_a_key_waited_counts_from_when_it_was_due() {
        let queue = Queue::default();
        queue.after(Key::new("farm", "late"), Duration::from_secs(2));
        queue.after(Key::new("farm", "later"), Duration::from_secs(60));
        queue.when_idle(Key::new("farm", "idle"));
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(queue.depth(), (1, 0));
        assert_eq!(queue.take_due(2).0.len(), 2);
        assert_eq!((queue.depth(), queue.waits()), ((0, 2), vec![Duration::from_secs(3)]));
        assert!(queue.waits().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_is_held_is_given_out_afterwards_and_no_wish_is_lost() {
        let (queue, key, other) = (Queue::default(), Key::new("farm", "a"), Key::new("farm", "b"));
        queue.now(key.clone());
        let held = queue.hold(key.clone()).await;
        queue.now(key.clone());
        queue.when_idle(key.clone());
        queue.now(other.clone());
        assert_eq!(queue.take_due(9).0, std::slice::from_ref(&other));
        drop(held);
        tokio::time::timeout(Duration::ZERO, queue.changed.notified()).await.expect("whoever gives keys out is told");
        assert_eq!(queue.take_due(9).0, std::slice::from_ref(&key));
        drop(queue.hold(Key::new("farm", "c")).await);
        assert_eq!(queue.take_due(9).0, [], "nobody wished anything");
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_held_when_the_pass_under_way_has_ended_and_no_other_one_begins() {
        let (queue, key) = (Queue::default(), Key::new("farm", "a"));
        let soon = Duration::from_secs(1);
        queue.now(key.clone());
        assert_eq!(queue.take_due(1).0, std::slice::from_ref(&key));
        queue.now(key.clone());
        assert!(tokio::time::timeout(soon, queue.hold(key.clone())).await.is_err(), "it is worked on");
        let (holds, ends) = (queue.clone(), queue.clone());
        let waits = tokio::spawn({
            let key = key.clone();
            async move { holds.hold(key).await }
        });
        tokio::time::sleep(soon).await;
        ends.pass_ended(&key);
        let held = waits.await.unwrap();
        assert_eq!(queue.take_due(9).0, [], "it is due, and held");
        drop(held);
        assert_eq!(queue.take_due(9).0, [key]);
    }

    #[test]
    fn what_a_pass_has_read_is_no_news_and_whatever_was_written_since_is() {
        let (queue, key) = (Queue::default(), Key::new("farm", "a"));
        queue.has_read(&key, [1, 7].into_iter());
        queue.news(key.clone(), 1);
        queue.news(key.clone(), 7);
        assert!(!queue.is_due(&key));
        queue.news(key.clone(), 8);
        assert!(queue.is_due(&key), "another version");
        let other = Key::new("farm", "b");
        queue.news(other.clone(), 1);
        assert!(queue.is_due(&other), "another key");
        assert_eq!(queue.take_due(2).0.len(), 2);
        queue.has_read(&key, [8].into_iter());
        queue.news(key.clone(), 1);
        assert!(queue.is_due(&key), "only the last pass counts");
        queue.take_due(1);
        queue.forget(&key);
        queue.news(key.clone(), 8);
        assert!(queue.is_due(&key), "an object of the same name");
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_was_given_out_is_not_given_out_again_before_its_pass_has_ended() {
        let (queue, key) = (Queue::default(), Key::new("farm", "a"));
        queue.now(key.clone());
        assert_eq!(queue.take_due(1).0, std::slice::from_ref(&key));
        // Before anybody knows the task that works on it.
        queue.now(key.clone());
        queue.when_idle(key.clone());
        assert_eq!(queue.take_due(1).0, []);
        queue.pass_ended(&key);
        assert_eq!(queue.take_due(1).0, [key]);
    }
}
