//! Who may read now: so many files at the same time, of which so many of one namespace and so many from one server. A
//! server that only drips, or a namespace full of such sources, keeps no more than its share from others. Within these
//! bounds whoever came first goes first.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

/// How many may read at the same time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// In all.
    pub(super) all: usize,
    /// Of one namespace.
    pub(super) namespace: usize,
    /// From one server.
    pub(super) server: usize,
}

/// Whose file is read, and where from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lane {
    /// Namespace of the job.
    pub(super) namespace: String,
    /// Host and port; none for what lies in the cluster.
    pub(super) server: Option<String>,
}

/// The lanes. Cheap to clone.
#[derive(Clone)]
pub(super) struct Lanes {
    state: Arc<Mutex<State>>,
}

struct State {
    bounds: Bounds,
    all: usize,
    namespaces: HashMap<String, usize>,
    servers: HashMap<String, usize>,
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    lane: Lane,
    enter: oneshot::Sender<Place>,
}

/// A place in a lane, free again when this is dropped.
pub(super) struct Place {
    lanes: Lanes,
    lane: Lane,
}

impl Lanes {
    pub(super) fn new(bounds: Bounds) -> Self {
        let (namespaces, servers) = (HashMap::new(), HashMap::new());
        let state = State { bounds, all: 0, namespaces, servers, waiting: VecDeque::new() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Waits for a place. Dropped, it waits no longer.
    pub(super) async fn enter(&self, lane: Lane) -> Place {
        let (enter, entered) = oneshot::channel();
        self.with(|s| s.waiting.push_back(Waiting { lane, enter }));
        self.admit();
        match entered.await {
            Ok(place) => place,
            // Nobody is sent away.
            Err(_) => std::future::pending().await,
        }
    }

    /// Takes a place for what is under way already, whether or not there is one: then others wait for longer.
    pub(super) fn take(&self, lane: Lane) -> Place {
        self.with(|s| s.count(&lane));
        Place { lanes: self.clone(), lane }
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn admit(&self) {
        // Outside of the lock: a place nobody takes any more is free again at once.
        for Waiting { lane, enter } in self.with(State::admissible) {
            drop(enter.send(Place { lanes: self.clone(), lane }));
        }
    }

    /// How many wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.with(|s| s.waiting.iter().filter(|w| !w.enter.is_closed()).count())
    }
}

impl State {
    /// Takes those out of the queue, and counts them, who may enter now.
    fn admissible(&mut self) -> Vec<Waiting> {
        let mut admitted = Vec::new();
        for waiting in std::mem::take(&mut self.waiting) {
            if waiting.enter.is_closed() {
                continue;
            }
            if self.has_room(&waiting.lane) {
                self.count(&waiting.lane);
                admitted.push(waiting);
            } else {
                self.waiting.push_back(waiting);
            }
        }
        admitted
    }

    fn has_room(&self, lane: &Lane) -> bool {
        let taken = |counts: &HashMap<String, usize>, name: &str| counts.get(name).copied().unwrap_or_default();
        self.all < self.bounds.all
            && taken(&self.namespaces, &lane.namespace) < self.bounds.namespace
            && lane.server.as_ref().is_none_or(|server| taken(&self.servers, server) < self.bounds.server)
    }

    fn count(&mut self, lane: &Lane) {
        self.all += 1;
        *self.namespaces.entry(lane.namespace.clone()).or_default() += 1;
        if let Some(server) = &lane.server {
            *self.servers.entry(server.clone()).or_default() += 1;
        }
    }

    fn leave(&mut self, lane: &Lane) {
        let one_less = |counts: &mut HashMap<String, usize>, name: &str| {
            if let Some(count) = counts.get_mut(name) {
                *count = count.saturating_sub(1);
            }
            counts.retain(|_, count| *count > 0);
        };
        self.all = self.all.saturating_sub(1);
        one_less(&mut self.namespaces, &lane.namespace);
        if let Some(server) = &lane.server {
            one_less(&mut self.servers, server);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.lanes.with(|s| s.leave(&self.lane));
        self.lanes.admit();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn lane(namespace: &str, server: &str) -> Lane {
        let server = Some(server.to_owned()).filter(|server| !server.is_empty());
        Lane { namespace: namespace.to_owned(), server }
    }

    fn lanes() -> Lanes {
        Lanes::new(Bounds { all: 4, namespace: 3, server: 2 })
    }

    #[tokio::test]
    async fn a_server_and_a_namespace_take_their_share_and_no_more() {
        let lanes = lanes();
        let enters = |namespace: &str, server: &str| lanes.enter(lane(namespace, server)).now_or_never();
        let slow = [enters("farm", "slow:80"), enters("farm", "slow:80")].map(Option::unwrap);
        assert!(enters("farm", "slow:80").is_none() && enters("shop", "slow:80").is_none(), "two from one server");
        let third = enters("farm", "good:80").unwrap();
        assert!(enters("farm", "").is_none(), "three of one namespace");
        let fourth = enters("shop", "").unwrap();
        assert!(enters("shop", "").is_none(), "four in all");
        drop(fourth);
        assert!(enters("shop", "good:80").is_some());
        drop((slow, third));
        assert!(lanes.with(|s| (s.all, s.namespaces.is_empty(), s.servers.is_empty())) == (0, true, true));
    }

    #[tokio::test]
    async fn who_waits_enters_in_turn_and_who_has_gone_takes_no_place() {
        let lanes = lanes();
        let held = [lanes.enter(lane("farm", "a:80")).await, lanes.enter(lane("farm", "a:80")).await];
        let (mut first, mut gone) =
            (lanes.enter(lane("farm", "a:80")).boxed(), lanes.enter(lane("farm", "a:80")).boxed());
        let mut last = lanes.enter(lane("farm", "a:80")).boxed();
        for waiting in [&mut gone, &mut first, &mut last] {
            assert!(waiting.now_or_never().is_none());
        }
        assert_eq!(lanes.waiting(), 3);
        drop(gone);
        assert_eq!(lanes.waiting(), 2);
        drop(held);
        let places = [first.now_or_never(), last.now_or_never()].map(Option::unwrap);
        assert_eq!((lanes.waiting(), lanes.with(|s| s.all)), (0, 2));
        drop(places);
        // A place that was given and never taken is free again.
        let held = [lanes.enter(lane("farm", "a:80")).await, lanes.enter(lane("farm", "a:80")).await];
        let mut never = lanes.enter(lane("farm", "a:80")).boxed();
        assert!((&mut never).now_or_never().is_none());
        drop(held);
        drop(never);
        assert_eq!(lanes.with(|s| s.all), 0);
    }
}
