//! What jobs ask for, kept from one schedule to the next: of ten thousand that wait, few were written since.
//!
//! Kept is only what one version of a job says and no time changes, so a schedule made with a memo is the one made
//! without.

use std::collections::HashMap;
use std::sync::Arc;

use printernizer_crds::PrintJob;

use super::capabilities::ModelNames;
use super::requirements::Requirements;
use super::schedule::JobKey;
use super::waiting::is_waiting_for_a_printer;

#[cfg(test)]
thread_local! {
    /// How many jobs this thread has looked at anew.
    pub(super) static LOOKED_AT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// What was found out of jobs, by UID and resourceVersion. A job that is not in the input any more is forgotten.
#[derive(Default)]
pub struct Memo {
    pub(super) names: ModelNames,
    jobs: HashMap<String, Kept>,
    /// Jobs that ask for the same share one.
    kinds: HashMap<Arc<Requirements>, u64>,
    /// Numbers of kinds are not given out twice.
    next_kind: u64,
    pass: u64,
}

struct Kept {
    version: String,
    /// The pass in which it was last looked for.
    pass: u64,
    asks: Option<Asks>,
}

/// What one waiting job asks for, whatever the time.
#[derive(Clone)]
pub(super) struct Asks {
    pub(super) key: Arc<JobKey>,
    pub(super) requirements: Arc<Requirements>,
    /// The number of these requirements.
    pub(super) kind: u64,
}

impl Memo {
    /// What this job asks for; `None` when it does not wait for a printer.
    pub(super) fn asks(&mut self, job: &PrintJob) -> Option<Asks> {
        // Whatever has no version may have changed.
        let (Some(uid), Some(version)) = (&job.metadata.uid, &job.metadata.resource_version) else {
            return self.look_at(job);
        };
        if let Some(kept) = self.jobs.get_mut(uid).filter(|kept| kept.version == *version) {
            kept.pass = self.pass;
            return kept.asks.clone();
        }
        let asks = self.look_at(job);
        let kept = Kept { version: version.clone(), pass: self.pass, asks: asks.clone() };
        self.jobs.insert(uid.clone(), kept);
        asks
    }

    fn look_at(&mut self, job: &PrintJob) -> Option<Asks> {
        #[cfg(test)]
        LOOKED_AT.with(|count| count.set(count.get() + 1));
        if !is_waiting_for_a_printer(job) {
            return None;
        }
        let requirements = self.names.requirements(job);
        let key = Arc::new(JobKey::of(job));
        if let Some((requirements, kind)) = self.kinds.get_key_value(&requirements) {
            return Some(Asks { key, requirements: Arc::clone(requirements), kind: *kind });
        }
        let (requirements, kind) = (Arc::new(requirements), self.next_kind);
        self.next_kind = self.next_kind.wrapping_add(1);
        self.kinds.insert(Arc::clone(&requirements), kind);
        Some(Asks { key, requirements, kind })
    }

    /// A schedule has been made: what was not asked for is forgotten.
    pub(super) fn pass_ended(&mut self) {
        let pass = self.pass;
        self.jobs.retain(|_, kept| kept.pass == pass);
        self.kinds.retain(|requirements, _| Arc::strong_count(requirements) > 1);
        self.pass = pass.wrapping_add(1);
    }

    /// How many jobs, and kinds of them, are kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> (usize, usize) {
        (self.jobs.len(), self.kinds.len())
    }
}
