//! Decides what a candidate does next: read, create or replace the Lease, wait, or give up. Pure: time and answers
//! enter as arguments, so that whole schedules with faults are tested without a server.
//!
//! Why two leaders never overlap: a leader counts from the *start* of its last proven write and stops after the renew
//! deadline; a candidate counts from the *answer* that showed it a version for the first time, on its own boot clock,
//! and takes over after the longer lease duration, by compare-and-swap on that version. Timestamps inside the Lease
//! are for people: they come from another machine's clock and are never compared with ours.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};

use super::clock::Moment;
use super::config::Config;
use super::{Loss, Term};

/// A call to the API server.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Request {
    Get,
    Create(Box<Lease>),
    /// Carries the resourceVersion it was decided on.
    Replace(Box<Lease>),
}

/// What became of a call.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    /// The Lease as read, or as written.
    Lease(Box<Lease>),
    Absent,
    /// Somebody else wrote first; nothing of ours was written.
    Conflict,
    /// Refused, timed out or lost: it may or may not have been written.
    Unclear,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Next {
    Call(Request),
    Wait(Duration),
    Ended(Loss),
}

/// What a candidate is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Standby,
    Leader {
        term: Term,
        /// Start of the last write that is known to have succeeded.
        renewed: Moment,
    },
    Ended(Loss),
}

/// The Lease as it was last seen.
#[derive(Clone, Debug)]
struct Seen {
    lease: Lease,
    /// Boot time of the answer that showed this version for the first time.
    since: Duration,
}

/// The state machine of one candidate.
#[derive(Clone, Debug)]
pub(super) struct Elector {
    config: Config,
    role: Role,
    seen: Option<Seen>,
    absent: bool,
    /// The last answer may be acted on; otherwise the Lease is read first.
    fresh: bool,
    /// Boot time before which nothing is done.
    idle_until: Duration,
}

impl Elector {
    pub(super) fn new(config: Config) -> Self {
        Self { config, role: Role::Standby, seen: None, absent: false, fresh: false, idle_until: Duration::ZERO }
    }

    pub(super) fn role(&self) -> Role {
        self.role
    }

    /// Longest wait for the answer of a call started now: a leader's call never outlives its deadline.
    pub(super) fn timeout(&self, now: Moment) -> Duration {
        match self.role {
            Role::Leader { renewed, .. } => {
                self.config.call_timeout.min(self.config.renew_deadline.saturating_sub(now.since(renewed)))
            }
            _ => self.config.call_timeout,
        }
    }

    pub(super) fn next(&mut self, now: Moment) -> Next {
        self.expire(now);
        if let Role::Ended(loss) = self.role {
            return Next::Ended(loss);
        }
        let pause = self.idle_until.saturating_sub(now.boot);
        if !pause.is_zero() {
            return Next::Wait(match self.role {
                Role::Leader { renewed, .. } => {
                    pause.min(self.config.renew_deadline.saturating_sub(now.since(renewed)))
                }
                _ => pause,
            });
        }
        if !self.fresh {
            return Next::Call(Request::Get);
        }
        self.fresh = false;
        if self.absent {
            return match self.remaining(now) {
                Some(left) => self.pause(now, left),
                None => Next::Call(Request::Create(Box::new(self.written(None, now)))),
            };
        }
        let Some(seen) = self.seen.clone() else { return Next::Call(Request::Get) };
        match (self.role, self.remaining(now)) {
            (Role::Standby, Some(left)) => self.pause(now, left),
            _ => Next::Call(Request::Replace(Box::new(self.written(Some(&seen.lease), now)))),
        }
    }

    /// Takes in the answer of `request`, which was sent at `started` and answered at `now`.
    pub(super) fn answered(&mut self, request: &Request, started: Moment, now: Moment, answer: Answer) {
        // A deadline that passed while the answer was under way stays passed, whatever the answer says.
        self.expire(now);
        if matches!(self.role, Role::Ended(_)) {
            return;
        }
        match (request, answer) {
            (Request::Get, Answer::Lease(lease)) => self.read(*lease, now),
            (Request::Get, Answer::Absent) if self.leads() => self.role = Role::Ended(Loss::Deleted),
            (Request::Get, Answer::Absent) => {
                self.absent = true;
                self.fresh = true;
            }
            (_, Answer::Lease(lease)) => self.wrote(*lease, started, now),
            (_, Answer::Absent) if self.leads() => self.role = Role::Ended(Loss::Deleted),
            // Somebody else was faster, or an earlier write of ours arrived although its answer did not: look.
            (Request::Create(_) | Request::Replace(_), Answer::Conflict) | (Request::Replace(_), Answer::Absent) => {
                self.fresh = false;
            }
            (_, Answer::Unclear | Answer::Conflict | Answer::Absent) => {
                self.fresh = false;
                self.idle_until = now.boot + self.config.retry_period / 4;
            }
        }
    }

    /// Ends this candidate's life. Returns the write that hands the Lease over at once, if there is one to make. No
    /// permit is valid from here on, so the caller must have ended all effects before.
    pub(super) fn release(&mut self, now: Moment) -> Option<Request> {
        self.expire(now);
        let led = self.leads();
        if !matches!(self.role, Role::Ended(_)) {
            self.role = Role::Ended(Loss::Released);
        }
        let mut lease = self.seen.as_ref().filter(|_| led)?.lease.clone();
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = None;
        spec.lease_duration_seconds = Some(1);
        spec.renew_time = Some(timestamp(now));
        Some(Request::Replace(Box::new(lease)))
    }

    fn leads(&self) -> bool {
        matches!(self.role, Role::Leader { .. })
    }

    fn expire(&mut self, now: Moment) {
        if let Role::Leader { renewed, .. } = self.role
            && now.since(renewed) >= self.config.renew_deadline
        {
            self.role = Role::Ended(Loss::Expired);
        }
    }

    fn read(&mut self, lease: Lease, now: Moment) {
        self.absent = false;
        self.fresh = true;
        let ours = holder(&lease) == Some(self.config.identity.as_str());
        if self.leads() && !ours {
            self.role = Role::Ended(Loss::Superseded);
            return;
        }
        match &mut self.seen {
            Some(seen) if version(&seen.lease) == version(&lease) => {}
            seen => *seen = Some(Seen { lease, since: now.boot }),
        }
    }

    fn wrote(&mut self, lease: Lease, started: Moment, now: Moment) {
        let term = Term(transitions(&lease));
        self.absent = false;
        self.fresh = true;
        self.seen = Some(Seen { lease, since: now.boot });
        self.idle_until = started.boot + self.config.retry_period;
        match self.role {
            Role::Leader { term, .. } => self.role = Role::Leader { term, renewed: started },
            // An answer that took longer than the deadline makes nobody leader: the Lease is ours, renew it first.
            Role::Standby if now.since(started) >= self.config.renew_deadline => self.idle_until = now.boot,
            Role::Standby => self.role = Role::Leader { term, renewed: started },
            Role::Ended(_) => {}
        }
    }

    /// How long the Lease still belongs to somebody else; none when it is free or ours.
    fn remaining(&self, now: Moment) -> Option<Duration> {
        let seen = self.seen.as_ref()?;
        let holder = holder(&seen.lease)?;
        if holder == self.config.identity {
            return None;
        }
        // Another version of the operator may have been given a longer lease than ours.
        let stated = seen.lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds).unwrap_or(0);
        let duration = self.config.lease_duration.max(Duration::from_secs(u64::try_from(stated).unwrap_or(0)));
        let left = (seen.since + duration).saturating_sub(now.boot);
        (!left.is_zero()).then_some(left)
    }

    fn pause(&mut self, now: Moment, left: Duration) -> Next {
        let pause = left.min(self.config.retry_period);
        self.idle_until = now.boot + pause;
        Next::Wait(pause)
    }

    /// The Lease as it should be: ours, renewed now, and counted on when it was not ours before.
    fn written(&self, before: Option<&Lease>, now: Moment) -> Lease {
        let mut lease = before.cloned().unwrap_or_else(|| Lease {
            metadata: ObjectMeta {
                name: Some(self.config.name.clone()),
                namespace: Some(self.config.namespace.clone()),
                ..ObjectMeta::default()
            },
            spec: None,
        });
        let leads = self.leads();
        let spec: &mut LeaseSpec = lease.spec.get_or_insert_default();
        if !leads {
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0).max(0).saturating_add(1));
            spec.acquire_time = Some(timestamp(now));
        }
        let seconds = self.config.lease_duration.as_secs() + u64::from(self.config.lease_duration.subsec_nanos() > 0);
        spec.holder_identity = Some(self.config.identity.clone());
        spec.lease_duration_seconds = Some(i32::try_from(seconds).unwrap_or(i32::MAX));
        // The API server answers a replace that changes nothing without writing; then nobody would see a sign of life.
        let renew = timestamp(now);
        spec.renew_time = Some(match &spec.renew_time {
            Some(last) if last.0 == renew.0 => {
                MicroTime(last.0.checked_add(Duration::from_micros(1)).unwrap_or(last.0))
            }
            _ => renew,
        });
        lease
    }
}

/// Who holds a Lease; none when it was released.
pub(super) fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).filter(|holder| !holder.is_empty())
}

fn version(lease: &Lease) -> &str {
    lease.metadata.resource_version.as_deref().unwrap_or_default()
}

fn transitions(lease: &Lease) -> u64 {
    let count = lease.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or(0);
    u64::try_from(count).unwrap_or(0)
}

fn timestamp(now: Moment) -> MicroTime {
    let micros = i64::try_from(now.wall.as_micros()).unwrap_or(i64::MAX);
    MicroTime(Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX))
}
