//! What keeps a policy from running as it is written, and what is stopped for it.

use printernizer_crds::Reason;
use printernizer_crds::backup_policy::Role;

/// What a problem stops. CronJobs of what is stopped are suspended, and otherwise left as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stops {
    /// Nothing: it is told, and seen at the pods.
    Nothing,
    /// What was written last is not carried out; what was carried out before goes on.
    Changes,
    /// Backups do not begin; checks, prunes and drills do.
    Backups,
    /// Nothing begins.
    Everything,
}

/// Why a policy cannot run as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is stopped.
    pub stops: Stops,
    /// The reason of Ready.
    pub reason: Reason,
    /// What is wrong and what to do.
    pub message: String,
}

impl Problem {
    /// A problem.
    pub fn new(stops: Stops, reason: Reason, message: impl Into<String>) -> Self {
        Self { stops, reason, message: message.into() }
    }

    /// Whether runs of this role must not begin.
    pub fn keeps_from_running(&self, role: Role) -> bool {
        self.stops == Stops::Everything || (self.stops == Stops::Backups && role == Role::Backup)
    }
}
