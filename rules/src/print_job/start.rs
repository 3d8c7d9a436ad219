//! The table of the start protocol: what a start that was or may have been sent has come to, judged by what the device
//! shows. First matching row wins; the rows stand here in the protocol's order, with one exception that `judge` names.
//!
//! Never decides from silence: an unreachable device gives no verdict. "Failed to start" is given only by the process
//! that sent, on the connection it sent on, and never once an active state was seen.

use std::time::Duration;

use jiff::Timestamp;
use printernizer_crds::common::DeviceIdentity;
use printernizer_crds::print_job::{Shown, StartIntent};
use printernizer_crds::printer::StartVerdict;
use printernizer_crds::{PrintJob, Reason};

use super::gate::token_of;
pub use super::watch::Watch;
use crate::device::{DeviceReport, DeviceState, Link};
use crate::identity::Token;
use crate::timing::Timing;

/// Poll periods for which a device must stay idle after its question, before a print was not begun.
const IDLE_POLLS: u32 = 2;

/// What came back when this process sent the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendAnswer {
    /// It is certain that no byte left this process.
    NotSent(String),
    /// The device took the request. That proves nothing yet.
    Accepted,
    /// The device refused this very request.
    Refused(String),
    /// No answer, or one that says nothing.
    Unclear,
}

/// Everything one verdict depends on.
#[derive(Clone, Debug)]
pub struct StartView<'a> {
    /// Token of the attempt.
    pub token: &'a Token,
    /// The intent, if one was written.
    pub intent: Option<&'a StartIntent>,
    /// Whether an upload of this attempt was recorded.
    pub upload_recorded: bool,
    /// The device's number of our print, once stored.
    pub device_job_id: Option<&'a str>,
    /// Whether the print was recorded as seen running.
    pub started: bool,
    /// Whether the Printer carries the second half of the intent (or a later verdict of it); `None` when the Printer
    /// that was claimed is gone, so that nobody can tell.
    pub printer_knows: Option<bool>,
    /// The connection.
    pub link: &'a Link,
    /// What this process has seen.
    pub watch: &'a Watch,
    /// Now.
    pub now: Timestamp,
    /// Windows.
    pub timing: &'a Timing,
}

/// How a print ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Well.
    Succeeded,
    /// Badly.
    Failed,
    /// Stopped.
    Cancelled,
}

/// What a start has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It runs.
    Started,
    /// It runs, resumed by a device that forgot its identity: its end will be put before a person.
    StartedAnonymously,
    /// It has not begun and asks something; a person is called when `call` is set.
    AsksBeforePrint {
        /// Whether it has been asking for longer than notes take to vanish.
        call: bool,
    },
    /// It ended; `live` when this process saw it run.
    Ended {
        /// How.
        end: End,
        /// Whether this process saw it active, so that the end is one seen live.
        live: bool,
    },
    /// Proven: it never ran.
    FailedToStart,
    /// Proven: no byte was sent.
    NotSent,
    /// Nothing can be said yet.
    Wait,
    /// The window is over and nothing is proven: a person must say.
    Unknown(Reason),
    /// The device does not answer; nothing can be said. `call` when it has lasted long.
    Silent {
        /// Whether a person is to be called.
        call: bool,
    },
}

/// How what the device shows relates to the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// It shows our identity.
    Ours,
    /// It shows the identity of before, but our file.
    OldIdentityOurFile,
    /// It shows the identity of before.
    AsBefore,
    /// It shows none, although it did before.
    Erased {
        /// Our file is shown all the same.
        our_file: bool,
    },
    /// It shows another one.
    Third,
}

/// Whether a name on the device is one of this attempt.
fn carries(token: &Token, name: Option<&str>) -> bool {
    name.and_then(Token::find).is_some_and(|t| t == *token)
}

/// Whether a device shows no print; a file it may name all the same.
fn names_no_print(shown: &DeviceIdentity) -> bool {
    shown.id.is_none() && shown.name.is_none()
}

/// Relates what the device shows to the attempt.
///
/// `device_job_id` is the device's own number of the print, once stored.
pub fn relation(
    token: &Token,
    intent: Option<&StartIntent>,
    device_job_id: Option<&str>,
    shown: &DeviceIdentity,
) -> Relation {
    let carries = |text: &Option<String>| carries(token, text.as_deref());
    let our_task = intent.and_then(|i| i.ids.task_id).map(|id| id.to_string());
    let our_id = shown.id.is_some() && (shown.id.as_deref() == device_job_id || shown.id == our_task);
    if carries(&shown.name) || our_id {
        return Relation::Ours;
    }
    let our_file = carries(&shown.file);
    let nothing_else = names_no_print(shown);
    let before = intent.map(|i| &i.before.identity);
    match before {
        Some(b) if nothing_else && !b.is_erased() => Relation::Erased { our_file },
        Some(b) if our_file && shown.id == b.id && shown.name == b.name => Relation::OldIdentityOurFile,
        // Whatever was before is not recorded; a device that shows nothing but our file has forgotten the rest.
        None if our_file && nothing_else => Relation::Erased { our_file },
        Some(b) if b == shown => Relation::AsBefore,
        None if shown.is_erased() => Relation::AsBefore,
        _ => Relation::Third,
    }
}

/// Whether the device shows the attempt this job is at.
pub(super) fn shows_attempt(job: &PrintJob, report: &DeviceReport) -> bool {
    let status = job.status.as_ref();
    let (intent, number) = (status.and_then(|s| s.start.as_ref()), status.and_then(|s| s.device_job_id.as_deref()));
    relation(&token_of(job), intent, number, &report.identity) == Relation::Ours
}

/// Whether the device shows a print of which nobody knows whose it was: another number than before the start, and no name.
/// PrusaLink names a print only as long as it is on the screen, so this may be our file, started by a person, whose end
/// nobody saw.
fn shows_nameless(intent: Option<&StartIntent>, relation: Relation, shown: &DeviceIdentity) -> bool {
    let number_before = intent.and_then(|i| i.before.identity.id.as_ref());
    relation == Relation::Third && shown.name.is_none() && shown.id.is_some() && shown.id.as_ref() != number_before
}

/// Whether the device shows, or has shown, a print of which it was written that there was none: somebody has started the
/// file at its screen before it was deleted (docs/adr/0014). Our identity alone says nothing after a start that the device
/// gave up itself.
pub(super) fn ran_all_the_same(
    job: &PrintJob,
    written: StartVerdict,
    verdict: Verdict,
    watch: &Watch,
    report: Option<&DeviceReport>,
) -> bool {
    let shown = report.filter(|r| shows_attempt(job, r));
    let intent = job.status.as_ref().and_then(|s| s.start.as_ref());
    let nameless = |r: &DeviceReport| {
        shows_nameless(intent, relation(&token_of(job), intent, None, &r.identity), &r.identity) && !r.is_active()
    };
    let proves = match written {
        StartVerdict::NotSent => shown.is_some() || report.is_some_and(nameless),
        StartVerdict::FailedToStart => shown.is_some_and(|r| r.state == DeviceState::Finished),
        _ => return false,
    };
    proves || watch.seen_active || matches!(verdict, Verdict::Started)
}

/// Whether the observation window W is over: enough live reports counted here, and never before the deadline.
fn window_over(view: &StartView<'_>) -> bool {
    view.watch.live >= view.timing.observation_window && view.intent.is_none_or(|intent| view.now >= intent.deadline.0)
}

/// Whether this process may say "failed to start": it sent, on this connection, without a gap, and saw nothing run.
fn may_say_failed(view: &StartView<'_>) -> bool {
    view.watch.answer.is_some() && view.watch.unbroken && !view.watch.seen_active && !view.started
}

fn to_window(view: &StartView<'_>, reason: Reason) -> Verdict {
    if window_over(view) { Verdict::Unknown(reason) } else { Verdict::Wait }
}

fn failed_or_window(view: &StartView<'_>, reason: Reason) -> Verdict {
    if may_say_failed(view) { Verdict::FailedToStart } else { to_window(view, reason) }
}

/// How the device says the print it shows has ended; `None` where it does not say.
fn shown_end(report: &DeviceReport) -> Option<End> {
    match report.state {
        DeviceState::Finished => Some(End::Succeeded),
        DeviceState::Failed => Some(End::Failed),
        DeviceState::Stopped => Some(End::Cancelled),
        _ => None,
    }
}

/// Whether a device asks something before any progress, as a Prusa's preview does.
pub(crate) fn asks_first(report: &DeviceReport) -> bool {
    report.state == DeviceState::Attention && report.progress.is_none_or(|p| p.percent <= 0)
}

/// Judges a start.
///
/// One row stands earlier than in the protocol's table: "(a) written, (b) not" comes before the rows that end in
/// `OutcomeUnknown`. Read strictly in order it could never apply, since a reachable device always matches one of them,
/// and a person would be asked about a start that provably was not sent. Adoption still comes first. The decision is
/// recorded in docs/adr/0002.
pub fn judge(view: &StartView<'_>) -> Verdict {
    let report = match view.link {
        Link::Live { report, age } if *age <= view.timing.stale_after => report,
        Link::Down { silent_for, .. } => return silent(view, *silent_for),
        Link::Live { age, .. } => return silent(view, *age),
        Link::Connecting => return silent(view, Duration::ZERO),
    };
    let active = report.is_active();
    let seen_active = view.started || view.watch.seen_active;
    let relation = match relation(view.token, view.intent, view.device_job_id, &report.identity) {
        // Ours was shown since: whatever was shown before it, a device that shows none now has forgotten ours.
        other if other != Relation::Ours && seen_active && names_no_print(&report.identity) => {
            Relation::Erased { our_file: carries(view.token, report.identity.file.as_deref()) }
        }
        other => other,
    };
    let asks_first = asks_first(report) && !seen_active;
    let as_before = view.intent.is_some_and(|i| i.before == report.shown());
    let state_as_before = view.intent.is_some_and(|i| i.before.state == report.printer_state());
    let refused = matches!(view.watch.answer, Some(SendAnswer::Refused(_)));
    // Neither an error nor a refusal is the last word before it has stood for a while: docs/adr/0010.
    let stands = |lasting: Duration| lasting >= view.timing.refusal_quiet;
    // An error that stood there before the start says nothing about the start.
    let standing = view.watch.standing_error.as_ref().filter(|(error, _)| report.error.as_ref() == Some(error));
    let standing = standing.filter(|_| view.intent.is_none_or(|i| i.before.error != report.error));
    // Nor does one that may be about another start than ours, refused because the printer has taken ours.
    let standing = standing.filter(|_| !report.busy_with_job);
    let failed_on_its_own = standing.is_some_and(|(_, lasting)| stands(*lasting));

    match relation {
        // our identity, ATTENTION before any progress (Prusa preview)
        Relation::Ours if active && asks_first => {
            return Verdict::AsksBeforePrint { call: view.watch.preview_for >= view.timing.preview_patience };
        }
        // our identity, active (also started at the screen, without an intent)
        Relation::Ours if active => return Verdict::Started,
        // our remote name on the device, no upload recorded (the API was restored from a backup)
        Relation::Ours if !view.upload_recorded => return to_window(view, Reason::NoRecordOfUpload),
        _ => {}
    }
    // (a) written, (b) not: see above. Likewise when this process knows that it did not send.
    // Once the device has shown our identity, or shows a print that may have been ours, somebody may have started the
    // file at its screen: docs/adr/0014.
    let shown = view.watch.seen_ours || relation == Relation::Ours;
    let nameless = !active && shows_nameless(view.intent, relation, &report.identity);
    let untouched = !seen_active && !shown && !nameless;
    if matches!(view.watch.answer, Some(SendAnswer::NotSent(_))) && untouched {
        return Verdict::NotSent;
    }
    let never_sent = view.watch.answer.is_none() && !view.watch.try_alive;
    if view.intent.is_some() && untouched && view.printer_knows == Some(false) && never_sent {
        return Verdict::NotSent;
    }
    // neither half of an intent: nothing was sent, and nothing of ours is there
    if view.intent.is_none() && view.printer_knows != Some(true) && !seen_active && relation != Relation::Ours {
        return Verdict::Wait;
    }
    // ours was in the preview, now idle, and stays so: one such report may be the moment before the print
    if view.watch.seen_preview && !seen_active && !active && report.state == DeviceState::Idle {
        let stays = view.watch.idle_for.is_some_and(|idle| idle >= view.timing.poll_period * IDLE_POLLS);
        let judged = if stays { failed_or_window } else { to_window };
        return judged(view, Reason::EndNotSeen);
    }
    match relation {
        // our identity ended, an active state of it was seen
        Relation::Ours if seen_active => match shown_end(report) {
            Some(end) => Verdict::Ended { end, live: view.watch.seen_active },
            None => to_window(view, Reason::EndNotSeen),
        },
        // our identity ended, never seen active, state not as in `before`
        Relation::Ours if shown_end(report).is_some() && !state_as_before => match shown_end(report) {
            Some(end) if window_over(view) => Verdict::Ended { end, live: false },
            _ => Verdict::Wait,
        },
        // our identity, idle, error or refusal, for a while
        Relation::Ours
            if report.state == DeviceState::Idle && (failed_on_its_own || refused && stands(view.watch.quiet)) =>
        {
            failed_or_window(view, Reason::NoSignOfStart)
        }
        // our identity, idle or lingering end state as in `before`
        Relation::Ours => to_window(view, Reason::NoSignOfStart),
        // old identity, file is ours: landed
        Relation::OldIdentityOurFile => to_window(view, Reason::EndNotSeen),
        // active with the identity of `before`
        Relation::AsBefore if active => to_window(view, Reason::NoSignOfStart),
        // a third identity, active (also one of an older attempt or of an ended job: never adopted)
        Relation::Third if active => to_window(view, Reason::ForeignPrint),
        // refusal of our very request, no active state for a while
        _ if refused && !active && stands(view.watch.quiet) && may_say_failed(view) => Verdict::FailedToStart,
        // everything as before
        Relation::AsBefore if as_before => to_window(view, Reason::NoSignOfStart),
        // identities erased, then active with our file: resumed after power loss
        Relation::Erased { our_file: true } if active => Verdict::StartedAnonymously,
        // identities erased, and not so in `before`, idle (reboot)
        Relation::Erased { .. } => to_window(view, Reason::IdentityErased),
        // anything else; among it id + 1 without a name: a print ran, and nobody knows whose
        _ => to_window(view, Reason::EndNotSeen),
    }
}

fn silent(view: &StartView<'_>, silent_for: Duration) -> Verdict {
    Verdict::Silent { call: silent_for >= view.timing.unready_limit }
}

/// Whether a question may still be answered: the device shows what it showed when it was asked.
pub fn still_shows(question: &Shown, report: &DeviceReport) -> bool {
    *question == report.shown()
}
