//! The promises themselves, each asked of one plan and the farm it was made for.

use printernizer_crds::print_job::PrintJobStatus;
use printernizer_crds::printer::{BedClearing, StartVerdict};
use printernizer_crds::{ConditionType, Conditions, PrinterStatus};

use crate::device::{DeviceReport, Link};
use crate::plan::{DeviceCommand, Effect, Plan};
use crate::print_job::gate;
use crate::print_job::start::{Relation, asks_first, relation};
use crate::print_job::status::is_terminal;
use crate::testing::{JOB_UID, Scene};

fn unresolved(status: &PrinterStatus) -> bool {
    status.last_start.as_ref().is_some_and(|l| l.verdict.is_none())
}

fn bed_is_clear(status: &PrinterStatus) -> bool {
    status.conditions.is_true(ConditionType::BedCleared)
}

fn report(s: &Scene) -> Option<DeviceReport> {
    s.link().report_within(s.timing.stale_after).cloned()
}

fn verdict_of(status: &PrinterStatus, token: &str) -> Option<StartVerdict> {
    status.last_start.as_ref().filter(|l| l.token == token).and_then(|l| l.verdict)
}

pub fn job_decides(s: &Scene) -> Plan {
    let plan = s.job_plan();
    let (job, printer) = (s.job_status(), s.printer_status());
    verdict_before_the_job_knows(s, &plan, &job);
    commands_are_due(s, &plan, &job, &printer);
    terminal_is_final(&plan, &job);
    let writes = plan.effects.iter().filter(|e| matches!(e, Effect::WritePrinter(_))).count();
    assert!(writes <= 1, "the second write was decided without the first: {plan:?}");
    file_is_remembered(&plan, &job, s);
    if let Some(new) = plan.printer() {
        no_verdict_from_silence(s, new, &printer);
        bed_is_cleared_for_a_reason(s, new, &printer);
        assert_eq!(new.current_job, printer.current_job, "a job never writes a claim");
        let forgotten = unresolved(&printer)
            && printer.last_start.as_ref().map(|l| &l.token) != new.last_start.as_ref().map(|l| &l.token);
        assert!(!forgotten, "an unresolved start of another attempt was forgotten: {printer:?}");
    }
    if let Some(new) = plan.job() {
        assert!(!(new.conditions.is_true(ConditionType::Complete) && new.conditions.is_true(ConditionType::Failed)));
        assert!(new.attempt >= job.attempt, "attempts only grow");
        let asked = new.conditions.is_true(ConditionType::OutcomeUnknown);
        assert_eq!(asked, new.question.is_some(), "a person is asked exactly while there is a question");
        let lost = job.start.is_some() && new.start.is_none();
        assert!(!lost || new.attempt > job.attempt || is_terminal(new), "an intent is forgotten with its attempt only");
    }
    let going = s.job.metadata.deletion_timestamp.is_some() && s.job.metadata.finalizers.is_none();
    if !going {
        rests_or_looks_again(&plan, &job);
    }
    plan
}

pub fn printer_decides(s: &Scene) -> Plan {
    let plan = s.printer_plan();
    let old = s.printer_status();
    for command in plan.commands() {
        assert!(matches!(command, DeviceCommand::DeleteFile { .. }), "{command:?}");
        assert!(s.link().report_within(s.age).is_some_and(|r| !r.is_active()));
    }
    if let Some(new) = plan.printer() {
        // (a) A claim is never released while its start has no verdict.
        let released = old.current_job.is_some() && new.current_job != old.current_job;
        let of_claim = new
            .last_start
            .as_ref()
            .is_some_and(|l| l.verdict.is_none() && Some(&l.job_uid) == old.current_job.as_ref().map(|c| &c.uid));
        assert!(!(released && of_claim), "{new:?}");
        no_verdict_from_silence(s, new, &old);
        bed_is_cleared_for_a_reason(s, new, &old);
        let forgotten =
            unresolved(&old) && old.last_start.as_ref().map(|l| &l.token) != new.last_start.as_ref().map(|l| &l.token);
        assert!(!forgotten, "an unresolved start was forgotten");
    }
    plan
}

/// (a) A verdict is written to the Printer before the PrintJob.
fn verdict_before_the_job_knows(s: &Scene, plan: &Plan, old: &PrintJobStatus) {
    let Some(new) = plan.job() else { return };
    let token = gate::token_of(&s.job).to_string();
    let may_have_run = old.start.is_some() || old.conditions.is_true(ConditionType::Started);
    let over = is_terminal(new) || new.printer.is_none() || new.attempt != old.attempt;
    if !may_have_run || !over || is_terminal(old) {
        return;
    }
    // Where the Printer is gone, only a person's answer ends it.
    let nobody_to_ask = s.printer_gone || !gate::claim_agrees(&s.job, &s.printer);
    if nobody_to_ask && s.job.spec.outcome.is_some() {
        return;
    }
    let job_at = plan.effects.iter().position(|e| matches!(e, Effect::WriteJob(_)));
    let printer_at =
        plan.effects.iter().position(|e| matches!(e, Effect::WritePrinter(p) if verdict_of(p, &token).is_some()));
    let written = verdict_of(&s.printer_status(), &token).is_some();
    assert!(written || (printer_at.is_some() && printer_at < job_at), "{plan:?}");
}

/// (b) and (h): what is sent to a device, and when.
fn commands_are_due(s: &Scene, plan: &Plan, job: &PrintJobStatus, printer: &PrinterStatus) {
    let token = gate::token_of(&s.job);
    for command in plan.commands() {
        match command {
            DeviceCommand::Start => {
                assert!(job.upload.as_ref().is_some_and(|u| u.size_verified && u.token == token.to_string()));
                assert!(gate::claim_agrees(&s.job, &s.printer));
                assert_eq!(job.start, None, "an intent is recorded: never again");
                assert!(
                    printer.last_start.as_ref().is_none_or(|l| l.token != token.to_string()),
                    "this attempt was used"
                );
                assert!(!is_terminal(job));
            }
            DeviceCommand::Pause | DeviceCommand::Resume | DeviceCommand::Stop => {
                let link = s.link();
                let fresh = link.report_within(s.timing.fresh_report).expect("a fresh report");
                let number = job.device_job_id.as_deref();
                assert_eq!(relation(&token, job.start.as_ref(), number, &fresh.identity), Relation::Ours);
                assert!(fresh.is_active());
            }
            DeviceCommand::Upload { remote_name } => {
                let recorded = plan.job().unwrap_or(job).upload.clone().expect("recorded before the first byte");
                assert_eq!(recorded.remote_name, remote_name);
                assert_eq!(recorded.token, token.to_string());
                assert!(s.file.is_some() && s.file_refused.is_none(), "there is nothing to upload");
            }
            DeviceCommand::DeleteFile { remote_name } => {
                assert!(crate::identity::Token::find(&remote_name).is_some(), "only files of ours: {remote_name}");
            }
        }
    }
}

/// A claim that is given back before its file is known to be gone leaves the name of the file to the Printer.
fn file_is_remembered(plan: &Plan, old: &PrintJobStatus, s: &Scene) {
    let (Some(upload), Some(new)) = (&old.upload, plan.job()) else { return };
    if new.upload.is_some()
        || s.file_deleted
        || s.session_gone
        || s.printer_gone
        || s.job.metadata.annotations.is_some()
    {
        return;
    }
    let seen = s.printer_status().current_job.is_some_and(|c| c.uid == JOB_UID)
        || old.printer.as_ref().is_some_and(|p| Some(&p.uid) == s.printer.metadata.uid.as_ref());
    let printer = plan.printer().cloned().unwrap_or_else(|| s.printer_status());
    let kept = printer.left_files.iter().any(|f| f.remote_name == upload.remote_name);
    assert!(!seen || kept, "nobody will delete {}: {plan:?}", upload.remote_name);
}

/// (c) Complete and Failed are final.
fn terminal_is_final(plan: &Plan, old: &PrintJobStatus) {
    if let Some(new) = plan.job().filter(|_| is_terminal(old)) {
        for type_ in [ConditionType::Complete, ConditionType::Failed] {
            assert_eq!(new.conditions.condition(type_), old.conditions.condition(type_));
        }
        assert_eq!((new.attempt, &new.attempts, &new.start), (old.attempt, &old.attempts, &old.start));
    }
}

/// (d) Silence gives no verdict.
fn no_verdict_from_silence(s: &Scene, new: &PrinterStatus, old: &PrinterStatus) {
    let verdict = |p: &PrinterStatus| p.last_start.as_ref().and_then(|l| l.verdict);
    if matches!(s.link(), Link::Down { .. } | Link::Connecting) {
        assert!(verdict(new).is_none() || verdict(new) == verdict(old), "{:?}", new.last_start);
    }
}

/// (f) The bed becomes clear for its present id, or by an ejection after a success seen live; never while a print runs or
/// a start is unresolved.
fn bed_is_cleared_for_a_reason(s: &Scene, new: &PrinterStatus, old: &PrinterStatus) {
    if !bed_is_clear(new) || bed_is_clear(old) {
        return;
    }
    let Link::Live { report, .. } = s.link() else { panic!("cleared without a report") };
    assert!(!report.is_active() && !unresolved(new));
    let id = old.bed.as_ref().and_then(|b| b.occupancy_id.clone());
    let by_person = id.is_some() && id == s.printer.spec.bed.cleared_for;
    let ejected = s.printer.spec.bed.clearing == BedClearing::Automatic
        && s.watch.seen_active
        && new.last_start.as_ref().and_then(|l| l.verdict) == Some(StartVerdict::Succeeded);
    assert!(by_person || ejected);
}

/// Nothing that is not at its end rests for ever: a plan without a next look belongs to a job that is over.
fn rests_or_looks_again(plan: &Plan, old: &PrintJobStatus) {
    let written = plan.effects.iter().any(|e| matches!(e, Effect::WriteJob(_) | Effect::WritePrinter(_)));
    let leaving = plan.has(&Effect::RemoveJobFinalizer) || is_terminal(old);
    let copy = old.conditions.has_reason(ConditionType::Accepted, printernizer_crds::Reason::AlreadyPrinted);
    assert!(written || leaving || copy || plan.look_again.is_some(), "nobody will look again: {plan:?} {old:?}");
}

/// (g) Asks the gate and judges its answer.
pub fn gate_is_asked(s: &Scene) -> bool {
    if s.gate().is_err() || s.job_gone || s.printer_gone || s.link.is_some() {
        return false;
    }
    let (job, printer) = (s.job_status(), s.printer_status());
    let bed = printer.bed.as_ref().expect("a bed that was confirmed");
    assert!(bed.occupancy_id.is_none() && !bed.print_in_progress && bed_is_clear(&printer));
    assert_eq!(bed.accounted_identity.as_ref(), Some(&s.report.identity));
    assert!(!unresolved(&printer) && job.start.is_none() && !is_terminal(&job));
    assert!(!s.report.is_active() && !asks_first(&s.report) && s.age <= s.timing.fresh_report);
    assert_eq!(printer.current_job.map(|c| c.uid).as_deref(), Some(JOB_UID));
    assert!(
        report(s)
            .is_some_and(|r| crate::identity::Token::find(&r.identity.name.unwrap_or_default()) != Some(s.token()))
    );
    true
}

/// (e) While nothing happens outside, the rules come to rest: no ping-pong, and nothing is written that says the same.
pub fn comes_to_rest(s: &Scene) {
    let mut s = s.clone();
    for _ in 0..12 {
        // The first report that is judged is news to the job.
        let before = (s.job.clone(), s.printer.clone(), s.watched);
        if !s.job_gone {
            let plan = job_decides(&s);
            s.apply(&plan);
        }
        let plan = printer_decides(&s);
        s.apply(&plan);
        s.watched = s.watched || matches!(s.link(), Link::Live { .. });
        if (&s.job, &s.printer, s.watched) == (&before.0, &before.1, before.2) {
            let (job, printer) = (s.job_plan(), s.printer_plan());
            assert!(s.job_gone || (job.job().is_none() && job.printer().is_none()), "the same again: {job:?}");
            assert!(printer.printer().is_none(), "the same again: {printer:?}");
            return;
        }
    }
    panic!("no rest: {:#?}\n{:#?}", s.job_plan(), s.printer_plan());
}
