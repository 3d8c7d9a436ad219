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
        if !self.running.contains_key(&key) {
            self.order.insert((at, key));
        }
    }

    /// The key to look at now. From here on it is worked on, and not given out again before that has ended.
    fn pop(&mut self, now: Instant) -> Option<Key> {
        let due = self.order.first().filter(|(at, _)| *at <= now).map(|(_, key)| key);
        let key = due.or_else(|| self.idle.iter().find(|key| !self.running.contains_key(*key)))?.clone();
        if let Some(at) = self.due.remove(&key) {
            self.order.remove(&(at, key.clone()));
        }
        self.idle.remove(&key);
        self.running.insert(key.clone(), None);
        Some(key)
    }

    /// Notes that the pass over the key has ended; whether it found the object gone.
    pub(super) fn ended(&mut self, key: &Key) -> bool {
        self.running.remove(key);
        if let Some(at) = self.due.get(key) {
            self.order.insert((*at, key.clone()));
        }
        self.gone.remove(key)
    }
}

/// The keys to look at, and when: whichever was due first is looked at first. Cheap to clone; anything may add to it.
#[derive(Clone, Default)]
pub struct Queue {
    state: Arc<Mutex<State>>,
    pub(super) changed: Arc<Notify>,
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

    /// Forgets what is remembered of a key whose object is gone, as its pass has found. A pass that is due is still
    /// made, and none after it.
    pub fn forget(&self, key: &Key) {
        self.with(|s| {
            s.failures.remove(key);
            s.gone.insert(key.clone());
        });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_that_was_given_out_is_not_given_out_again_before_its_pass_has_ended() {
        let (queue, key) = (Queue::default(), Key::new("farm", "a"));
        queue.now(key.clone());
        assert_eq!(queue.take_due(1).0, std::slice::from_ref(&key));
        // Before anybody knows the task that works on it.
        queue.now(key.clone());
        queue.when_idle(key.clone());
        assert_eq!(queue.take_due(1).0, []);
        queue.with(|s| s.ended(&key));
        assert_eq!(queue.take_due(1).0, [key]);
    }
}
