//! What is known to be wrong, or gone, and what there is to do.

use std::fmt::Write as _;

use ConditionStatus::{False, Unknown};
use printernizer_crds::backup_policy::{ReadingStatus, Role, RunReason, RunStatus};
use printernizer_crds::conditions::{MAX_MESSAGE_BYTES, cut};
use printernizer_crds::{ConditionStatus, Reason};

use super::super::names::cron_job_name;
use super::{Says, Teller, is_verdict, reason_of};

/// Between what one has said and the next.
const STOP: &str = ". ";

impl Teller<'_> {
    /// What is said where a run found no recovery point because none had been made: nothing is wrong with what is not there yet,
    /// nor when it is there later. A run that found none where some had been was the loss, or came after it.
    pub(super) fn nothing_yet(&self, run: &RunStatus) -> Option<Says> {
        if run.reason != RunReason::NoRecoveryPoint {
            return None;
        }
        let Some(loss) = &self.status.last_loss else {
            let text = format!("there was no recovery point yet for {}", run.job_name);
            return Some((Unknown, Reason::NothingRunYet, text));
        };
        (loss.end_time.0 > run.end_time.0).then(|| self.lost(loss, "nothing was verified yet"))
    }

    /// What is said of what was so before recovery points were found gone.
    pub(super) fn lost(&self, loss: &RunStatus, before: &str) -> Says {
        let found = format!("{} found: {}", loss.job_name, loss.message);
        if self.status.last_successful_time.as_ref().is_some_and(|made| made.0 > loss.end_time.0) {
            (Unknown, Reason::NothingRunYet, format!("{before}; since then {found}"))
        } else {
            (False, reason_of(loss.reason), found)
        }
    }

    /// What was found wrong and not proven right since, and what ends that; unless the last run of the role has found something
    /// else that is.
    pub(super) fn known_wrong(&self, role: Role, last: Option<&RunStatus>) -> Option<Says> {
        let status = self.status;
        let damage = status.last_damage.as_ref();
        let run = if role == Role::Check {
            damage?
        } else {
            // A drill that was good after the damage was seen has restored the newest point in spite of it, and older points
            // that a good run saw broken are not the newest.
            let since = |run: &&RunStatus| {
                run.reason == RunReason::RepositoryDamaged && last.is_none_or(|last| run.end_time.0 >= last.end_time.0)
            };
            status.last_difference.as_ref().or(damage.filter(since))?
        };
        if last.is_some_and(|last| {
            last.end_time.0 > run.end_time.0 && is_verdict(last.reason) && last.reason != run.reason
        }) {
            return None;
        }
        let metadata = &self.seen.policy.metadata;
        let policy = metadata.name.as_deref().unwrap_or_default();
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        let (by, proof) = match run.reason {
            RunReason::RestoreDiffers => (Role::RestoreDrill, "a later drill has restored all of it"),
            _ => (Role::Check, "later checks, which read everything now, have found all of it whole"),
        };
        let how = match self.wanted(by) {
            (_, true) => {
                let cron_job = cron_job_name(policy, by, None);
                // Each time another name: such Jobs stay.
                format!("kubectl -n {namespace} create job {cron_job}-$(date +%s) --from=cronjob/{cron_job}")
            }
            (field, false) => format!("set {field}"),
        };
        let (reason, ended) = match run.reason {
            RunReason::RestoreDiffers | RunReason::RepositoryDamaged => (reason_of(run.reason), "failed"),
            _ => (Reason::RepositoryDamaged, "saw recovery points that are no longer whole"),
        };
        let mut read = String::new();
        let mut looked = None;
        if by == Role::Check {
            if let Some(ReadingStatus { done, of, .. }) = &status.reading {
                read = format!("Since then {done} of {of} parts of the data were read and are whole. ");
            }
            let last = status.last_check.as_ref().filter(|last| last.end_time.0 > run.end_time.0);
            looked = last.filter(|last| last.reason != RunReason::Succeeded);
        }
        let begin = format!("{} {ended}: ", run.job_name);
        let look = looked.map(|last| format!("The last look, {}, failed: ", last.job_name)).unwrap_or_default();
        let end = format!("Nothing is pruned until {proof}; when it is mended: {how}");
        // What is to be done comes whole, and of what runs have said what room is left.
        let written = begin.len() + read.len() + look.len() + end.len() + 2 * STOP.len();
        let room = MAX_MESSAGE_BYTES.saturating_sub(written);
        let said = cut(&run.message, if looked.is_some() { room / 4 * 3 } else { room });
        let mut text = format!("{begin}{said}{STOP}{read}");
        if let Some(last) = looked {
            let _ = write!(text, "{look}{}{STOP}", cut(&last.message, room - said.len()));
        }
        text.push_str(&end);
        Some((False, reason, text))
    }
}
