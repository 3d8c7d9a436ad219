//! Leadership by a Kubernetes Lease: who may write status and talk to printers.
//!
//! Everything with an effect asks for a [`Permit`] first, and again right before the effect; a permit says that no
//! other process can become leader before the effect has timed out. It never grants anything on doubt: a slow API
//! server, a suspended machine or a jumping clock ends leadership early, and a process that lost it never regains it.
//!
//! Limits: a person who empties or deletes the Lease by hand may bring in a second leader up to one retry period
//! before the first one notices; a virtual machine paused without its clocks noticing believes its old lease until
//! its wall clock is corrected. What a print start risks then is caught by the resourceVersions of its own writes.

mod clock;
mod config;
mod elector;
mod lease;
mod runner;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus::{Gauge, IntGauge};
use thiserror::Error;
use tokio::sync::watch;

pub use clock::{Clock, Moment, SystemClock};
pub use config::{Config, ConfigError};
use elector::Role;
pub use lease::{KubeLeaseStore, LeaseError, LeaseStore};
pub use runner::Runner;

/// One time of being leader: the Lease's `leaseTransitions`, which grows with each acquisition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Term(pub u64);

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why leadership, or the standing for it, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Loss {
    /// The Lease could not be renewed within the deadline, or a clock says so.
    #[error("the Lease was not renewed in time; look for a slow API server or a suspended machine")]
    Expired,
    /// Another process holds the Lease.
    #[error("another process holds the Lease")]
    Superseded,
    /// Somebody deleted the Lease.
    #[error("the Lease was deleted")]
    Deleted,
    /// Given up on purpose, at shutdown.
    #[error("leadership was released for shutdown")]
    Released,
    /// The task that renews is gone.
    #[error("the election task ended; the process must be restarted")]
    Stopped,
}

/// Why an effect is not permitted now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotLeader {
    /// Another process leads, or nobody yet.
    #[error("this process does not lead; the leader does the work")]
    Standby,
    /// This process led, and must end.
    #[error("this process no longer leads: {0}")]
    Lost(Loss),
    /// The effect was planned in an earlier term.
    #[error("the effect was planned in term {planned}, now is term {now}; observe again")]
    OtherTerm {
        /// Term in which the effect was planned.
        planned: Term,
        /// Term now.
        now: Term,
    },
    /// Leading, but the effect could outlive the lease.
    #[error("the lease holds for {left:?} more and the effect needs {needed:?}; try again after the next renewal")]
    LeaseTooShort {
        /// Time left.
        left: Duration,
        /// Time the effect may take.
        needed: Duration,
    },
}

/// Leave to carry out effects until `expires`, on both clocks. Ask [`Leadership::still`] before each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permit {
    /// Term in which it was given.
    pub term: Term,
    /// The moment before which all effects must have ended or timed out.
    pub expires: Moment,
}

/// What leadership tells about itself.
#[derive(Clone, Debug)]
pub struct Gauges {
    /// 1 while this process leads.
    pub leader: IntGauge,
    /// When the Lease was renewed last, in seconds since 1970 by the wall clock.
    pub renewed_timestamp_seconds: Gauge,
}

struct Shared {
    config: Config,
    clock: Arc<dyn Clock>,
    gauges: Gauges,
    roles: watch::Sender<Role>,
    stop: watch::Sender<bool>,
    released: watch::Sender<Option<bool>>,
    /// Whether the Lease was ever read.
    reached: watch::Sender<bool>,
}

impl Shared {
    /// Records a role; an end is final. True when the kind of role changed.
    fn set(&self, role: Role) -> bool {
        let mut changed = false;
        self.roles.send_if_modified(|current| {
            if *current == role || matches!(current, Role::Ended(_)) {
                return false;
            }
            changed = std::mem::discriminant(current) != std::mem::discriminant(&role);
            *current = role;
            true
        });
        let role = *self.roles.borrow();
        self.gauges.leader.set(i64::from(matches!(role, Role::Leader { .. })));
        if let Role::Leader { renewed, .. } = role {
            self.gauges.renewed_timestamp_seconds.set(renewed.wall.as_secs_f64());
        }
        changed
    }
}

/// The rule of every permit: leader, within the renew deadline, and the lease outlives the effect.
fn permit(role: Role, config: &Config, now: Moment, needed: Duration) -> Result<Permit, NotLeader> {
    let (term, renewed) = match role {
        Role::Standby => return Err(NotLeader::Standby),
        Role::Ended(loss) => return Err(NotLeader::Lost(loss)),
        Role::Leader { term, renewed } => (term, renewed),
    };
    let age = now.since(renewed);
    if age >= config.renew_deadline {
        return Err(NotLeader::Lost(Loss::Expired));
    }
    let left = config.usable().saturating_sub(age);
    if left <= needed {
        return Err(NotLeader::LeaseTooShort { left, needed });
    }
    Ok(Permit { term, expires: renewed.plus(config.usable()) })
}

/// The question "do we lead?", cheap to clone and to ask.
#[derive(Clone)]
pub struct Leadership {
    shared: Arc<Shared>,
}

impl Leadership {
    /// A handle and the task that works for it: `tokio::spawn(runner.run(store))`. It keeps `gauges` up to
    /// date.
    pub fn new(config: Config, clock: impl Clock, gauges: Gauges) -> Result<(Self, Runner), ConfigError> {
        config.validate()?;
        gauges.leader.set(0);
        let shared = Arc::new(Shared {
            config,
            clock: Arc::new(clock),
            gauges,
            roles: watch::Sender::new(Role::Standby),
            stop: watch::Sender::new(false),
            released: watch::Sender::new(None),
            reached: watch::Sender::new(false),
        });
        Ok((Self { shared: Arc::clone(&shared) }, Runner::new(shared)))
    }

    /// The term in which this process leads at this moment, if it does.
    pub fn current(&self) -> Option<Term> {
        self.permit(Duration::ZERO).ok().map(|permit| permit.term)
    }

    /// Leave for effects that take at most `needed`: leader now, and on both clocks more lease left than that.
    pub fn permit(&self, needed: Duration) -> Result<Permit, NotLeader> {
        permit(*self.shared.roles.borrow(), &self.shared.config, self.shared.clock.now(), needed)
    }

    /// Whether an effect planned in `term` and taking at most `needed` may begin now.
    pub fn still(&self, term: &Term, needed: Duration) -> Result<(), NotLeader> {
        let permit = self.permit(needed)?;
        if permit.term == *term { Ok(()) } else { Err(NotLeader::OtherTerm { planned: *term, now: permit.term }) }
    }

    /// Waits until this process leads; an error when it never will.
    pub async fn wait_until_leader(&self) -> Result<Term, NotLeader> {
        let mut roles = self.shared.roles.subscribe();
        match roles.wait_for(|role| *role != Role::Standby).await.map(|role| *role) {
            Ok(Role::Leader { term, .. }) => Ok(term),
            Ok(Role::Ended(loss)) => Err(NotLeader::Lost(loss)),
            Ok(Role::Standby) | Err(_) => Err(NotLeader::Lost(Loss::Stopped)),
        }
    }

    /// Waits until the API server has shown for the first time that this process could renew the Lease. It says nothing of
    /// later: an outage takes nothing back.
    pub async fn reached(&self) {
        // The sender lives as long as this handle.
        let _ = self.shared.reached.subscribe().wait_for(|reached| *reached).await;
    }

    /// Waits until leadership, or the standing for it, has ended. May come up to one retry period after permits have
    /// become invalid, which they do by the clocks alone.
    pub async fn lost(&self) -> Loss {
        let mut roles = self.shared.roles.subscribe();
        match roles.wait_for(|role| matches!(role, Role::Ended(_))).await.map(|role| *role) {
            Ok(Role::Ended(loss)) => loss,
            _ => Loss::Stopped,
        }
    }

    /// Ends all permits at once and hands the Lease over, as the last act of a process. The caller has ended its
    /// effects and closed its sessions before. One try under the call timeout, after a call already under way has
    /// ended; true when the Lease was free afterwards, false when the next leader has to wait for it to run out.
    pub async fn release(&self) -> bool {
        self.shared.set(Role::Ended(Loss::Released));
        self.shared.stop.send_replace(true);
        let mut released = self.shared.released.subscribe();
        let limit = self.shared.config.call_timeout * 2;
        match tokio::time::timeout(limit, released.wait_for(Option::is_some)).await {
            Ok(Ok(done)) => *done == Some(true),
            _ => false,
        }
    }
}

/// For tests of those who ask.
#[cfg(test)]
impl Leadership {
    /// Leads for one lease from now on, or stands by for ever.
    pub(crate) fn fixed(leads: bool) -> Self {
        let role = if leads { Role::Leader { term: Term(1), renewed: SystemClock.now() } } else { Role::Standby };
        let shared = Shared {
            config: Config::new("farm", "operator", "pod"),
            clock: Arc::new(SystemClock),
            gauges: crate::telemetry::Metrics::new().unwrap().lease(),
            roles: watch::Sender::new(role),
            stop: watch::Sender::new(false),
            released: watch::Sender::new(None),
            reached: watch::Sender::new(false),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The lease runs out.
    pub(crate) fn lose(&self) {
        self.shared.set(Role::Ended(Loss::Expired));
    }
}
