//! What happens to which write. One script is shared by all proxies of one operator, so that writes to the API server
//! and to printers stand in one order.
//!
//! The process behind the proxies has lives: a stop ends one, and nothing that belongs to an ended life is forwarded
//! or answered. Connections belong to the life in which they were opened.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// What is done to a write. More kinds of fault are more kinds of hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hook {
    /// The life ends before the write is forwarded.
    StopBefore,
    /// The life ends after the write was carried out; its answer is not delivered.
    StopAfter,
}

/// Which write is meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Which {
    /// The n-th of this name, see [`Write::name`].
    Named {
        /// The name.
        name: String,
        /// n, from 1, over all lives.
        occurrence: usize,
    },
    /// The n-th of a life, whatever it is.
    OfLife {
        /// The life, from 0.
        life: u64,
        /// n, from 1.
        nth: usize,
    },
}

/// One row of the table: which write, and what happens to it. A row is used once. Reads as text, and from text, as
/// `after prusa-1 POST start #1` or `before write 3 of life 1`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Which write.
    pub which: Which,
    /// What happens.
    pub hook: Hook,
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = if self.hook == Hook::StopBefore { "before" } else { "after" };
        match &self.which {
            Which::Named { name, occurrence } => write!(formatter, "{side} {name} #{occurrence}"),
            Which::OfLife { life, nth } => write!(formatter, "{side} write {nth} of life {life}"),
        }
    }
}

/// A row that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is no row: write `before|after <name of the write> #<which>` or `before|after write <which> of life <n>`"
)]
pub struct NoRule(String);

impl FromStr for Rule {
    type Err = NoRule;

    fn from_str(text: &str) -> Result<Self, NoRule> {
        let wrong = || NoRule(text.to_owned());
        let (side, rest) = text.split_once(' ').ok_or_else(wrong)?;
        let hook = match side {
            "before" => Hook::StopBefore,
            "after" => Hook::StopAfter,
            _ => return Err(wrong()),
        };
        let which = if let Some((nth, life)) = rest.strip_prefix("write ").and_then(|r| r.split_once(" of life ")) {
            Which::OfLife { life: life.parse().map_err(|_| wrong())?, nth: nth.parse().map_err(|_| wrong())? }
        } else {
            let (name, occurrence) = rest.rsplit_once(" #").ok_or_else(wrong)?;
            Which::Named { name: name.to_owned(), occurrence: occurrence.parse().map_err(|_| wrong())? }
        };
        Ok(Self { which, hook })
    }
}

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
}

impl fmt::Display for Write {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} #{}", self.name, self.occurrence)
    }
}

/// The life of the connection has ended: there is nobody to answer.
#[derive(Debug, thiserror::Error)]
#[error("the process behind this connection has been stopped")]
pub(super) struct Stopped;

/// The table of hooks, and the trace of writes. Clones share it.
#[derive(Clone, Debug)]
pub struct Script(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    life: watch::Sender<Life>,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Rule>,
    seen: HashMap<String, usize>,
    trace: Vec<Write>,
}

#[derive(Clone, Debug, Default)]
struct Life {
    number: u64,
    stopped_at: Option<Write>,
}

/// A write that may be forwarded.
#[derive(Debug)]
pub(super) struct Admitted {
    write: Write,
    stop_after: bool,
}

impl Script {
    /// A script with these hooks; without any it only counts.
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Self {
        let state = State { rules: rules.into_iter().collect(), ..State::default() };
        Self(Arc::new(Shared { state: Mutex::new(state), life: watch::Sender::new(Life::default()) }))
    }

    /// All writes so far, in the order in which they came.
    pub fn trace(&self) -> Vec<Write> {
        self.with(|state| state.trace.clone())
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

    /// Begins a new life, after the process of the old one is dead. Connections of the old one are closed.
    pub fn next_life(&self) {
        self.0.life.send_modify(|life| *life = Life { number: life.number + 1, stopped_at: None });
    }

    /// The life that new connections belong to.
    pub(super) fn life(&self) -> u64 {
        self.0.life.borrow().number
    }

    /// Lets a read pass, unless the life has ended.
    pub(super) async fn admit_read(&self, life: u64) -> Result<(), Stopped> {
        if self.is_live(life) {
            return Ok(());
        }
        Err(self.end_of(life).await)
    }

    /// Counts a write, and lets it pass unless the life has ended or ends here.
    pub(super) async fn admit(&self, life: u64, name: String) -> Result<Admitted, Stopped> {
        if !self.is_live(life) {
            return Err(self.end_of(life).await);
        }
        let (write, hook) = self.with(|state| {
            let occurrence = state.seen.entry(name.clone()).or_default();
            *occurrence += 1;
            let write = Write { number: state.trace.len() + 1, name, occurrence: *occurrence, life };
            state.trace.push(write.clone());
            let place = state.trace.iter().filter(|w| w.life == life).count();
            let row = state.rules.iter().position(|rule| match &rule.which {
                Which::Named { name, occurrence } => *name == write.name && *occurrence == write.occurrence,
                Which::OfLife { life, nth } => *life == write.life && *nth == place,
            });
            (write, row.map(|row| state.rules.remove(row).hook))
        });
        if hook == Some(Hook::StopBefore) {
            self.stop(&write);
            return Err(self.end_of(life).await);
        }
        Ok(Admitted { write, stop_after: hook == Some(Hook::StopAfter) })
    }

    /// The answer to a write has come; it is delivered unless the life has ended or ends here.
    pub(super) async fn answered(&self, admitted: Admitted) -> Result<(), Stopped> {
        let life = admitted.write.life;
        if admitted.stop_after {
            self.stop(&admitted.write);
        }
        if self.is_live(life) { Ok(()) } else { Err(self.end_of(life).await) }
    }

    /// Waits until the next life begins: until then the process that is to be ended hears nothing.
    pub(super) async fn end_of(&self, life: u64) -> Stopped {
        let mut changes = self.0.life.subscribe();
        if changes.wait_for(|now| now.number != life).await.is_err() {
            std::future::pending::<()>().await;
        }
        Stopped
    }

    fn is_live(&self, life: u64) -> bool {
        let now = self.0.life.borrow();
        now.number == life && now.stopped_at.is_none()
    }

    fn stop(&self, write: &Write) {
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
