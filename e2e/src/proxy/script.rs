//! What happens to which request. One script is shared by all proxies of one farm, so that writes to the API server and
//! to printers stand in one order.
//!
//! The process behind the proxies has lives: a stop ends one, and nothing that belongs to an ended life is forwarded
//! or answered. Connections belong to the life in which they were opened.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::body::Bytes;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};

use super::hook::{Deed, Hook, Rule, Which};

/// A write that came to a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Its place among all writes, from 1.
    pub number: usize,
    /// What it is, for example `PUT printjobs/clip-1/status Uploading` or `prusa-1 POST start`.
    pub name: String,
    /// Its place among the writes of that name, from 1.
    pub occurrence: usize,
    /// The life it was sent in, from 0.
    pub life: u64,
    /// The status in it, where it writes one.
    pub status: Option<Value>,
    /// When it was carried out, and with which HTTP status; `None` where it was not, or is under way. Printers that do
    /// not speak HTTP count as 200.
    pub answered: Option<(Timestamp, u16)>,
}

impl Write {
    /// Whether it had its effect.
    pub fn carried_out(&self) -> bool {
        self.answered.is_some_and(|(_, status)| (200..300).contains(&status))
    }
}

impl fmt::Display for Write {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} #{}", self.name, self.occurrence)
    }
}

/// A read that came to a proxy, or a write that bears no decision: by its place since the last write.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Read {
    /// What it is, for example `GET printers/prusa-1`, `LIST printjobs` or `WATCH printers`.
    pub name: String,
    /// Its place among the reads of that name since that write, from 1.
    pub nth: usize,
    /// Name and occurrence of the last write before it, if there was one.
    pub since: Option<(String, usize)>,
}

/// The life of the connection has ended: there is nobody to answer.
#[derive(Debug, thiserror::Error)]
#[error("the process behind this connection has been stopped")]
pub(super) struct Stopped;

/// A request that is held until something was done.
#[derive(Debug)]
pub struct Held {
    /// What is to be done.
    pub deed: Deed,
    /// What is held.
    pub request: String,
    /// Whether it was carried out already, and its answer is held.
    pub carried_out: bool,
    go: oneshot::Sender<bool>,
}

impl Held {
    /// It goes on; or its connection ends.
    pub fn release(self, goes_on: bool) {
        // Nobody listens any more where its sender has gone.
        let _ = self.go.send(goes_on);
    }
}

/// What is wrong with the watches that are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WatchFault {
    Cut,
    Expired,
    Frozen,
}

/// The table of hooks, and the trace of writes. Clones share it.
#[derive(Clone, Debug)]
pub struct Script(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    life: watch::Sender<Life>,
    watches: watch::Sender<Option<WatchFault>>,
    hold: mpsc::UnboundedSender<Held>,
    held: tokio::sync::Mutex<mpsc::UnboundedReceiver<Held>>,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Rule>,
    seen: HashMap<String, usize>,
    trace: Vec<Write>,
    reads: Vec<Read>,
    since: HashMap<String, usize>,
    lists: HashMap<String, Bytes>,
    stale_life: Option<u64>,
}

#[derive(Clone, Debug, Default)]
struct Life {
    number: u64,
    stopped_at: Option<Write>,
}

/// A request that may be forwarded.
#[derive(Debug)]
pub(super) struct Admitted {
    life: u64,
    name: String,
    /// Its place in the trace, if it is a write.
    place: Option<usize>,
    hook: Option<Hook>,
}

impl Admitted {
    /// What is done to it.
    pub(super) fn hook(&self) -> Option<Hook> {
        self.hook
    }
}

impl Script {
    /// A script with these hooks; without any it only counts.
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Self {
        let state = State { rules: rules.into_iter().collect(), ..State::default() };
        let (hold, waiting) = mpsc::unbounded_channel();
        Self(Arc::new(Shared {
            state: Mutex::new(state),
            life: watch::Sender::new(Life::default()),
            watches: watch::Sender::new(None),
            hold,
            held: tokio::sync::Mutex::new(waiting),
        }))
    }

    /// All writes so far, in the order in which they came.
    pub fn trace(&self) -> Vec<Write> {
        self.with(|state| state.trace.clone())
    }

    /// All reads so far, in the order in which they came.
    pub fn reads(&self) -> Vec<Read> {
        self.with(|state| state.reads.clone())
    }

    /// The rows that were not used yet.
    pub fn unmet(&self) -> Vec<Rule> {
        self.with(|state| state.rules.clone())
    }

    /// Waits until a hook has stopped the life, and says at which write. The process is now to be ended.
    pub async fn stopped(&self) -> Write {
        let mut life = self.0.life.subscribe();
        loop {
            let stopped_at = life.borrow_and_update().stopped_at.clone();
            match stopped_at {
                Some(write) => return write,
                None => {
                    if life.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
            }
        }
    }

    /// Waits until a request is held.
    pub async fn held(&self) -> Held {
        match self.0.held.lock().await.recv().await {
            Some(held) => held,
            // The sender lives as long as this script.
            None => std::future::pending().await,
        }
    }

    /// Begins a new life, after the process of the old one is dead. Connections of the old one are closed.
    pub fn next_life(&self) {
        self.0.life.send_modify(|life| *life = Life { number: life.number + 1, stopped_at: None });
    }

    /// The life that new connections belong to.
    pub(super) fn life(&self) -> u64 {
        self.0.life.borrow().number
    }

    /// Counts a read, and lets it pass unless the life has ended.
    pub(super) async fn admit_read(&self, life: u64, name: String) -> Result<Admitted, Stopped> {
        if !self.is_live(life) {
            return Err(self.end_of(life).await);
        }
        let admitted = self.with(|state| {
            let nth = state.since.entry(name.clone()).or_default();
            *nth += 1;
            let since = state.trace.last().map(|w| (w.name.clone(), w.occurrence));
            let read = Read { name: name.clone(), nth: *nth, since };
            let row = state.rules.iter().position(|rule| match &rule.which {
                Which::Since { name, nth, write, occurrence } => {
                    *name == read.name
                        && *nth == read.nth
                        && read.since.as_ref().is_some_and(|(n, o)| n == write && o == occurrence)
                }
                _ => false,
            });
            state.reads.push(read);
            Admitted { life, name, place: None, hook: row.map(|row| state.rules.remove(row).hook) }
        });
        self.before(admitted).await
    }

    /// Counts a write, and lets it pass unless the life has ended or ends here.
    pub(super) async fn admit(&self, life: u64, name: String, status: Option<Value>) -> Result<Admitted, Stopped> {
        if !self.is_live(life) {
            return Err(self.end_of(life).await);
        }
        let admitted = self.with(|state| {
            let occurrence = state.seen.entry(name.clone()).or_default();
            *occurrence += 1;
            let number = state.trace.len() + 1;
            let write = Write { number, name: name.clone(), occurrence: *occurrence, life, status, answered: None };
            state.since.clear();
            let nth_of_life = state.trace.iter().filter(|w| w.life == life).count() + 1;
            let row = state.rules.iter().position(|rule| match &rule.which {
                Which::Named { name, occurrence } => *name == write.name && *occurrence == write.occurrence,
                Which::OfLife { life, nth } => *life == write.life && *nth == nth_of_life,
                Which::Since { .. } => false,
            });
            state.trace.push(write);
            let hook = row.map(|row| state.rules.remove(row).hook);
            Admitted { life, name, place: Some(number - 1), hook }
        });
        self.before(admitted).await
    }

    async fn before(&self, admitted: Admitted) -> Result<Admitted, Stopped> {
        match admitted.hook {
            Some(Hook::StopBefore) => {
                self.stop(&admitted);
                Err(self.end_of(admitted.life).await)
            }
            Some(Hook::HoldBefore(deed)) => {
                if self.hold(deed, &admitted, false).await {
                    Ok(admitted)
                } else {
                    Err(Stopped)
                }
            }
            Some(Hook::CutWatches) => Ok(self.break_watches(WatchFault::Cut, admitted)),
            Some(Hook::ExpireWatches) => Ok(self.break_watches(WatchFault::Expired, admitted)),
            Some(Hook::FreezeWatches) => Ok(self.break_watches(WatchFault::Frozen, admitted)),
            _ => Ok(admitted),
        }
    }

    /// The answer has come; it is delivered unless the life has ended or ends here.
    pub(super) async fn answered(&self, admitted: &Admitted, status: u16) -> Result<(), Stopped> {
        let now = Timestamp::now();
        self.with(|state| {
            if let Some(write) = admitted.place.and_then(|place| state.trace.get_mut(place)) {
                write.answered = Some((now, status));
            }
        });
        match admitted.hook {
            Some(Hook::StopAfter) => self.stop(admitted),
            Some(Hook::StaleAfter | Hook::AncientAfter) => {
                self.with(|state| state.stale_life = Some(admitted.life + 1));
                self.stop(admitted);
            }
            Some(Hook::DropAfter) => return Err(Stopped),
            Some(Hook::HoldAfter(deed)) if !self.hold(deed, admitted, true).await => return Err(Stopped),
            _ => {}
        }
        if self.is_live(admitted.life) { Ok(()) } else { Err(self.end_of(admitted.life).await) }
    }

    /// Waits until the next life begins: until then the process that is to be ended hears nothing.
    pub(super) async fn end_of(&self, life: u64) -> Stopped {
        let mut changes = self.0.life.subscribe();
        if changes.wait_for(|now| now.number != life).await.is_err() {
            std::future::pending::<()>().await;
        }
        Stopped
    }

    /// What is wrong with watches, from now on.
    pub(super) fn watch_faults(&self) -> watch::Receiver<Option<WatchFault>> {
        self.0.watches.subscribe()
    }

    /// Whether what is stored is to be kept before this request is forwarded, to be shown to a later life.
    pub(super) fn keeps_lists_before(&self, admitted: &Admitted) -> bool {
        let first = admitted.place == Some(0);
        admitted.hook == Some(Hook::StaleAfter)
            || first && (admitted.hook == Some(Hook::AncientAfter) || self.with(State::has_ancient))
    }

    /// Keeps what is stored: lists by the name of their kind.
    pub(super) fn keep_lists(&self, lists: HashMap<String, Bytes>) {
        self.with(|state| state.lists = lists);
    }

    /// The list that a life is shown the first time it asks for this kind, if it is not the true one.
    pub(super) fn kept_list(&self, life: u64, kind: &str) -> Option<Bytes> {
        self.with(|state| if state.stale_life == Some(life) { state.lists.remove(kind) } else { None })
    }

    /// Whether the watches of this life begin late.
    pub(super) fn is_stale(&self, life: u64) -> bool {
        self.with(|state| state.stale_life == Some(life))
    }

    fn break_watches(&self, fault: WatchFault, admitted: Admitted) -> Admitted {
        self.0.watches.send_replace(Some(fault));
        admitted
    }

    async fn hold(&self, deed: Deed, admitted: &Admitted, carried_out: bool) -> bool {
        let (go, gone) = oneshot::channel();
        let held = Held { deed, request: admitted.name.clone(), carried_out, go };
        // Both ends live in this script.
        let _ = self.0.hold.send(held);
        gone.await.unwrap_or(false)
    }

    fn is_live(&self, life: u64) -> bool {
        let now = self.0.life.borrow();
        now.number == life && now.stopped_at.is_none()
    }

    fn stop(&self, admitted: &Admitted) {
        let Some(write) = self.with(|s| admitted.place.and_then(|place| s.trace.get(place).cloned())) else { return };
        self.0.life.send_modify(|life| {
            if life.number == write.life {
                life.stopped_at.get_or_insert_with(|| write.clone());
            }
        });
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.0.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn has_ancient(&mut self) -> bool {
        self.rules.iter().any(|rule| rule.hook == Hook::AncientAfter)
    }
}
