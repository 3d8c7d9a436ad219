//! A job whose start was or may have been sent: carries out the table's verdicts, follows the print, pauses, resumes and
//! stops it, asks a person where nothing is proven.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use printernizer_crds::print_job::{DeletionPolicy, DesiredState, Shown};
use printernizer_crds::printer::{LastStart, StartVerdict};
use printernizer_crds::{ConditionStatus, ConditionType, Conditions, PrintJobStatus, Printer, Reason};

use super::decide::{REST, write_if_changed};
use super::gate::token_of;
use super::start::{Relation, StartView, Verdict, Watch, asks_first, judge, ran_all_the_same, relation};
use super::{Observed, finish, leave, question, status};
use crate::device::{DeviceReport, DeviceState, Link};
use crate::identity::Token;
use crate::plan::{DeviceCommand, Effect, Plan};

/// Decides for a job with an intent, a running print, or a start the printer remembers.
pub(super) fn resolve(seen: &Observed<'_>, old: &PrintJobStatus, printer: &Printer, ours: Option<&LastStart>) -> Plan {
    let quiet = Watch::default();
    let connecting = Link::Connecting;
    let session = seen.session.as_ref();
    let (link, watch) = session.map_or((&connecting, &quiet), |s| (s.link, s.watch));
    if watch.try_alive {
        return Plan::wait(REST);
    }
    let token = token_of(seen.job);
    let started = old.conditions.is_true(ConditionType::Started);
    let view = StartView {
        token: &token,
        intent: old.start.as_ref(),
        upload_recorded: old.upload.is_some() || old.start.is_some(),
        device_job_id: old.device_job_id.as_deref(),
        started,
        printer_knows: Some(ours.is_some()),
        link,
        watch,
        now: seen.now,
        timing: seen.timing,
    };
    let verdict = judge(&view);
    let report = link.report_within(seen.timing.stale_after);

    // A verdict that was already written to the printer holds, unless the print turns out to run all the same.
    if let Some(written) = ours.and_then(|l| l.verdict) {
        return if ran_all_the_same(seen.job, written, verdict, watch, report) {
            adopt_without_intent(seen, old, printer)
        } else {
            finish::carry_over(seen, old, printer, written)
        };
    }
    match verdict {
        Verdict::Started | Verdict::StartedAnonymously => {
            let Some(report) = report else { return Plan::wait(seen.timing.poll_period) };
            if ours.is_none() {
                // What runs is remembered by the printer too, before anything else.
                return adopt_without_intent(seen, old, printer);
            }
            let anonymous = verdict == Verdict::StartedAnonymously;
            let relation = relation(&token, old.start.as_ref(), old.device_job_id.as_deref(), &report.identity);
            running(seen, old, report, relation, anonymous)
        }
        Verdict::Ended { end, live } => finish::ended(seen, old, printer, report, end, live),
        Verdict::FailedToStart => finish::not_printed(seen, printer, report, StartVerdict::FailedToStart),
        Verdict::NotSent => finish::not_printed(seen, printer, report, StartVerdict::NotSent),
        Verdict::AsksBeforePrint { call } => asks_before_print(seen, old, report, call),
        Verdict::Silent { call } => silent(seen, old, printer, link, call),
        Verdict::Unknown(_) | Verdict::Wait if let Some(given) = question::answer(seen, old, link) => {
            finish::write_verdict(seen, old, printer, report, question::verdict_of(given), false)
        }
        Verdict::Unknown(reason) => question::ask(seen, old, old.clone(), report, reason),
        Verdict::Wait => wait(seen, old),
    }
}

/// The print runs: adopts it, follows it, carries out what is wanted of it.
fn running(
    seen: &Observed<'_>,
    old: &PrintJobStatus,
    report: &DeviceReport,
    relation: Relation,
    anonymous: bool,
) -> Plan {
    let mut new = old.clone();
    new.start_time.get_or_insert(Time(seen.now));
    if relation == Relation::Ours && report.identity.id.is_some() {
        new.device_job_id.clone_from(&report.identity.id);
    }
    // What was unknown is not any more: the print is there.
    question::close(seen, &mut new);
    let mut plan = Plan::nothing();
    let paused = report.state == DeviceState::Paused;
    let desired = wanted(seen);
    // Only our own identity is ever paused, resumed or stopped.
    let ours = relation == Relation::Ours && is_fresh(seen) && !anonymous;
    let pause_sent = seen.session.as_ref().is_some_and(|s| s.pause_sent);
    if !paused {
        new.paused_by_us = false;
    }
    let command = match (desired, new.acted_on.unwrap_or(DesiredState::Run)) {
        (DesiredState::Cancel, _) => Some(DeviceCommand::Stop),
        (DesiredState::Pause, DesiredState::Pause) | (DesiredState::Run, DesiredState::Run) => None,
        (DesiredState::Pause, _) if paused => {
            new.paused_by_us = pause_sent && report.faults.is_empty() && report.error.is_none();
            new.acted_on = Some(DesiredState::Pause);
            None
        }
        (DesiredState::Pause, _) => (report.state == DeviceState::Printing).then_some(DeviceCommand::Pause),
        (DesiredState::Run, _) if paused && old.paused_by_us && report.faults.is_empty() && report.error.is_none() => {
            Some(DeviceCommand::Resume)
        }
        (DesiredState::Run, _) => {
            new.acted_on = Some(DesiredState::Run);
            None
        }
    };
    let deleted = seen.job.metadata.deletion_timestamp.is_some();
    let (reason, text) = running_words(report, desired, deleted, anonymous, &new);
    seen.set(&mut new, ConditionType::Started, ConditionStatus::True, reason, text);
    if let Some(seen_progress) = &report.progress {
        // While it was silent or not shown, no time left was given.
        let told = [Reason::PrinterSilent, Reason::NotShown, Reason::PrinterUnreachable];
        let back = told.into_iter().any(|r| old.conditions.has_reason(ConditionType::Started, r));
        let turned = back || old.phase != new.phase;
        if turned || status::progress_is_due(old.progress.as_ref(), seen_progress, seen.now, seen.timing) {
            new.progress = Some(status::progress(seen.now, seen_progress));
        }
    }
    if new != *old {
        plan = plan.then(Effect::WriteJob(Box::new(new)));
    }
    if let Some(command) = command.filter(|_| ours) {
        plan = plan.then(Effect::Device(command)).again(seen.timing.poll_period);
    }
    plan.again(seen.timing.progress_period)
}

/// Whether the newest report is young enough for a command.
fn is_fresh(seen: &Observed<'_>) -> bool {
    seen.session.as_ref().is_some_and(|s| s.link.report_within(seen.timing.fresh_report).is_some())
}

/// What is wanted of the print now; a deletion may mean Cancel.
fn wanted(seen: &Observed<'_>) -> DesiredState {
    let deleted = seen.job.metadata.deletion_timestamp.is_some();
    if deleted && seen.job.spec.deletion_policy == DeletionPolicy::Cancel {
        return DesiredState::Cancel;
    }
    seen.job.spec.desired_state
}

fn running_words(
    report: &DeviceReport,
    desired: DesiredState,
    deleted: bool,
    anonymous: bool,
    new: &PrintJobStatus,
) -> (Reason, String) {
    let moves = matches!(report.state, DeviceState::Preparing | DeviceState::Printing);
    match report.state {
        // It was restarted, and goes on without saying with what: nothing is sent to it for this job.
        _ if anonymous && moves => {
            let wanted = match desired {
                DesiredState::Run => "at its end you are asked what became of the part",
                DesiredState::Pause => "pause it at the printer's screen",
                DesiredState::Cancel => "stop it at the printer's screen",
            };
            let text = "printing on after a restart of the printer, which does not say any more whose print it is";
            (Reason::PrintSeen, format!("{text}: {wanted}"))
        }
        DeviceState::Attention => (Reason::Attention, "the printer asks something: look at its screen".to_owned()),
        DeviceState::Paused if new.paused_by_us => {
            (Reason::PausedAsAsked, "paused: set spec.desiredState to Run to go on".to_owned())
        }
        DeviceState::Paused => {
            (Reason::PausedAtPrinter, "paused by the printer or at its screen: resume it there".to_owned())
        }
        _ if desired == DesiredState::Cancel && deleted => {
            (Reason::BeingDeleted, "stopping the print; deleted, and kept until it has ended".to_owned())
        }
        _ if desired == DesiredState::Cancel => (Reason::PrintSeen, "stopping".to_owned()),
        _ if deleted => (
            Reason::BeingDeleted,
            "printing; deleted, and kept until the print has ended (set spec.desiredState to Cancel to stop it)"
                .to_owned(),
        ),
        DeviceState::Preparing => (Reason::PrintSeen, "the printer prepares the print".to_owned()),
        _ => (Reason::PrintSeen, "printing".to_owned()),
    }
}

/// The printer asks something before the print.
fn asks_before_print(seen: &Observed<'_>, old: &PrintJobStatus, report: Option<&DeviceReport>, call: bool) -> Plan {
    let mut new = old.clone();
    if let Some(id) = report.and_then(|r| r.identity.id.clone()) {
        new.device_job_id = Some(id);
    }
    let (reason, text) = if call {
        (Reason::WaitingAtPrinter, "the printer asks something before the print: answer at its screen")
    } else {
        (
            Reason::PrinterAsks,
            "the printer asks something before the print: answer at its screen; if it is only a note, it goes away by itself",
        )
    };
    seen.set(&mut new, ConditionType::Started, ConditionStatus::False, reason, text);
    let mut plan = write_if_changed(old, new).again(seen.timing.poll_period);
    if wanted(seen) == DesiredState::Cancel && is_fresh(seen) {
        plan = plan.then(Effect::Device(DeviceCommand::Stop));
    }
    plan
}

/// Nothing can be said yet. What is told names a time, and is told once.
fn wait(seen: &Observed<'_>, old: &PrintJobStatus) -> Plan {
    let mut new = old.clone();
    let started = old.conditions.is_true(ConditionType::Started);
    let report = seen.session.as_ref().and_then(|s| s.link.report_within(seen.timing.stale_after));
    let (reason, what) = if started && report.is_some_and(question::offers_to_resume) {
        (
            Reason::Attention,
            "the printer was restarted and offers to resume an unfinished print: decide at its screen. If it prints on, \
             so does this job; else it is watched",
        )
    } else if started {
        (Reason::NotShown, "the print is not shown as running any more; watching for its end")
    } else {
        (Reason::StartSent, "the start was sent or may have been; watching the printer for it")
    };
    let kept = leave::kept_words(seen);
    let said = old.conditions.condition(ConditionType::Started);
    let told = said.is_some_and(|c| c.message.starts_with(what) && c.message.ends_with(&kept));
    if !told && (started || old.question.is_none()) {
        let counted = seen.session.as_ref().map_or(Duration::ZERO, |s| s.watch.live);
        let left = seen.timing.observation_window.saturating_sub(counted);
        let until = clock(seen.now.checked_add(left).unwrap_or(seen.now));
        seen.tell(&mut new, reason, format!("{what} until {until} at least, then a person is asked{kept}"));
        no_time_left(&mut new);
    }
    leave::or_let_go(seen, write_if_changed(old, new).again(seen.timing.poll_period))
}

/// The device does not answer. That never ends a job; after a while a person is called.
fn silent(seen: &Observed<'_>, old: &PrintJobStatus, printer: &Printer, link: &Link, call: bool) -> Plan {
    let mut new = old.clone();
    let silence = match link {
        Link::Connecting => Duration::ZERO,
        Link::Live { age, .. } => *age,
        Link::Down { silent_for, .. } => *silent_for,
    };
    let kept = leave::kept_words(seen);
    let told = old.conditions.condition(ConditionType::Started).is_some_and(|c| {
        let silent = [Reason::PrinterSilent, Reason::PrinterUnreachable].iter().any(|r| r.as_str() == c.reason);
        silent && c.message.ends_with(&kept)
    });
    if old.question.is_some() {
        // What a person is asked stays; that the job is deleted is added, once.
        let asked = new.conditions.iter_mut().find(|c| c.type_ == ConditionType::OutcomeUnknown.as_str());
        if let Some(asked) = asked.filter(|c| !c.message.ends_with(&kept)) {
            asked.message += &kept;
            status::refresh(&mut new, seen.job, seen.now);
        }
    } else if call {
        let text = "the printer does not answer: check its power and network; the job goes on when it does";
        seen.tell(&mut new, Reason::PrinterUnreachable, format!("{text}{kept}"));
    } else if silence >= seen.timing.stale_after && !told {
        let name = printer.metadata.name.as_deref().unwrap_or_default();
        let since = clock(seen.now.checked_sub(silence).unwrap_or(seen.now));
        let at = old.progress.as_ref().map(|p| format!("; it was last seen at {} %", p.percent)).unwrap_or_default();
        let text = format!("{name} has not answered since {since}{at}; the job goes on when it does{kept}");
        seen.tell(&mut new, Reason::PrinterSilent, text);
        no_time_left(&mut new);
    }
    leave::or_let_go(seen, write_if_changed(old, new).again(question::rest(seen, old, seen.timing.unready_limit / 15)))
}

/// How long a print takes that is not seen, nobody knows.
fn no_time_left(new: &mut PrintJobStatus) {
    if let Some(progress) = &mut new.progress {
        (progress.remaining, progress.remaining_seconds, progress.estimated_end_time) = (None, None, None);
    }
}

/// A moment as people read it: whole seconds, UTC.
fn clock(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// The device shows our identity although the printer remembers no unresolved start of it: started at the screen, or
/// proven not sent and running all the same. The attempt is used; the printer gets its half first.
pub(super) fn adopt_without_intent(seen: &Observed<'_>, old: &PrintJobStatus, printer: &Printer) -> Plan {
    let Some(mut new_printer) = printer.status.clone() else { return Plan::wait(REST) };
    let report = seen.session.as_ref().and_then(|s| s.link.report_within(seen.timing.stale_after));
    // Something else may run there by now: its number is not ours.
    let (token, intent, id) = (token_of(seen.job), old.start.as_ref(), old.device_job_id.as_deref());
    let report = report.filter(|r| relation(&token, intent, id, &r.identity) == Relation::Ours);
    let recorded = old.start.as_ref().map(|s| &s.remote_name).or(old.upload.as_ref().map(|u| &u.remote_name));
    let shown = report.and_then(|r| r.identity.name.as_ref());
    let remote_name = recorded.or(shown).cloned().unwrap_or_default();
    new_printer.last_start = Some(LastStart {
        token: token_of(seen.job).to_string(),
        job_name: seen.job.metadata.name.clone().unwrap_or_default(),
        job_uid: seen.job.metadata.uid.clone().unwrap_or_default(),
        remote_name,
        deadline: Time(seen.now),
        verdict: None,
    });
    let mut new = old.clone();
    if let Some(id) = report.and_then(|r| r.identity.id.clone()) {
        new.device_job_id = Some(id);
    }
    let seen_active = seen.session.as_ref().is_some_and(|s| s.watch.seen_active);
    let active = seen_active
        || report.is_some_and(|r| r.is_active() && !asks_first(r))
        || old.conditions.is_true(ConditionType::Started);
    let (is, reason, text) = match (active, &old.start) {
        (true, None) => (ConditionStatus::True, Reason::PrintSeen, "started at the printer's screen"),
        (true, Some(_)) => (ConditionStatus::True, Reason::PrintSeen, "the print was seen running after all"),
        (false, _) => (ConditionStatus::False, Reason::StartSent, "the printer shows this print; watching it"),
    };
    seen.set(&mut new, ConditionType::Started, is, reason, text);
    if active {
        new.start_time.get_or_insert(Time(seen.now));
    }
    let plan = Plan::of([Effect::WritePrinter(Box::new(new_printer)), Effect::WriteJob(Box::new(new))]);
    plan.again(seen.timing.poll_period)
}

/// There is no device any more that shows, or could show, what a person must be asked about: the Printer object is gone, or
/// what was shown without a record is not shown any more. The answer to that very question counts without a report.
pub(super) fn without_device(seen: &Observed<'_>, old: &PrintJobStatus, reason: Reason) -> Plan {
    let asked = old.question.as_ref().is_some_and(|q| q.shown == Shown::default() && q.reason == reason.as_str());
    match question::answer_of_person(seen, old).filter(|_| asked) {
        Some(given) => finish::end_by_answer(seen, old, question::verdict_of(given), old.attempt),
        None => question::ask(seen, old, old.clone(), None, reason),
    }
}

/// A device shows this job's file although the job holds no printer and nothing is recorded: the cluster's memory was
/// restored from an older time. Never printed again without a person.
pub(super) fn shown_without_record(seen: &Observed<'_>, old: &PrintJobStatus, link: &Link) -> Plan {
    let Some(report) = link.report_within(seen.timing.stale_after) else {
        // What it shows now cannot be said. The question that is open stays, and its answer waits, until it is heard.
        return match old.question {
            Some(_) => Plan::wait(question::rest(seen, old, seen.timing.unready_limit / 15)),
            None => question::ask(seen, old, old.clone(), None, Reason::NoRecordOfUpload),
        };
    };
    // The attempt on the device may be later than the one that is recorded: no name is used twice.
    let shown = [&report.identity.name, &report.identity.file].into_iter().flatten().filter_map(|n| Token::find(n));
    let used = shown.map(|t| t.attempt()).max().unwrap_or_default();
    let known = PrintJobStatus { attempt: old.attempt.max(used), ..old.clone() };
    if let Some(given) = question::answer(seen, old, link) {
        return finish::end_by_answer(seen, old, question::verdict_of(given), known.attempt);
    }
    // It is kept with the question, which may outlive what the device shows.
    question::ask(seen, old, known, Some(report), Reason::NoRecordOfUpload)
}
