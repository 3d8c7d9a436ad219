//! The reconciles of the process that leads: observe, decide by the real rules, act. Mirrors `observe.rs` and `act.rs` of
//! `operator/src/print_job` and `operator/src/printer`, and `claim` of `operator/src/scheduling.rs`.
//!
//! A decision is made in one step; each of its writes is a step of its own. What only this process knows (a command
//! handed to a session) goes along with the write before it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use dashmap::DashMap;
use printernizer_crds::print_job::StartIntent;
use printernizer_crds::printer::CurrentJob;
use printernizer_crds::{PrintJobStatus, PrinterStatus};
use printernizer_rules::device::{DeviceReport, Link};
use printernizer_rules::plan::{DeviceCommand, Effect, Plan};
use printernizer_rules::print_job::gate::Closed;
use printernizer_rules::print_job::status::is_terminal;
use printernizer_rules::print_job::{self, FileView, SessionView, Undeleted, UploadView, Watch};
use printernizer_rules::printer;
use printernizer_rules::scheduling::{Input, PrinterView, device_could_start, schedule};

use crate::farm::{self, NOW, TIMING};
use crate::ids::{self, Id, Ids};
use crate::kept::{Kept, Known, once};
use crate::promises::Broken;
use crate::world::{About, Attempt, Attempts, Command, Job, Judged, Line, No, Pass, Printer, Upload, Version, World};
use crate::{api, plain, session};

/// One effect of a plan. Finalizers, records and the deletion of what has long ended are not modelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Replace the job's status.
    WriteJob(Kept<PrintJobStatus>),
    /// Replace the printer's status.
    WritePrinter(Kept<PrinterStatus>),
    /// Hand a command to the session.
    Device(Command),
}

impl Step {
    /// The random ids it holds.
    pub fn ids(&self) -> Ids {
        match self {
            Self::WriteJob(status) => status.ids(),
            Self::WritePrinter(status) => status.ids(),
            Self::Device(_) => Ids::default(),
        }
    }
}

/// All a decision about a job depends on. The same is never decided twice: rules are pure.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct JobView {
    job: (No, Job),
    printer: Option<(No, Printer)>,
    session: Option<SessionSeen>,
    shown_on: Option<(Line, Option<Kept<DeviceReport>>)>,
    fresh: Id,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct SessionSeen {
    line: Line,
    report: Option<Kept<DeviceReport>>,
    judged: bool,
    unjudged_long: bool,
    watch: Kept<Watch>,
    upload: Upload,
    closed: Option<(Kept<Closed>, bool)>,
    file_deleted: bool,
    undeleted: Option<bool>,
    pause_sent: bool,
}

/// All a decision about a printer depends on.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct PrinterSeen {
    printer: (No, Printer),
    line: Line,
    report: Option<Kept<DeviceReport>>,
    judged: bool,
    job: Option<(No, Job)>,
    last_start_job: Option<(No, Job)>,
    live: bool,
    deleted: Attempts,
    fresh: Id,
}

type Steps = Kept<Vec<Step>>;
type Claim = ((No, Job), (No, Printer), Line, Option<Kept<DeviceReport>>, bool);

static JOB_PLANS: Known<JobView, Steps> = LazyLock::new(DashMap::new);
static PRINTER_PLANS: Known<PrinterSeen, Steps> = LazyLock::new(DashMap::new);
static CLAIMS: Known<Claim, Option<Kept<PrinterStatus>>> = LazyLock::new(DashMap::new);

/// A plan, made on these statuses, without the writes that only say something new.
fn steps(
    plan: Plan,
    attempt: Attempt,
    job: Option<Kept<PrintJobStatus>>,
    printer: Option<Kept<PrinterStatus>>,
) -> Steps {
    let command = |what| match what {
        DeviceCommand::Upload { .. } => Some(Command::Upload(attempt)),
        DeviceCommand::Start => Some(Command::Start(attempt)),
        DeviceCommand::Pause => Some(Command::Pause(attempt)),
        DeviceCommand::Resume => Some(Command::Resume(attempt)),
        DeviceCommand::Stop => Some(Command::Stop(attempt)),
        DeviceCommand::DeleteFile { remote_name } => farm::attempt_of(&remote_name).map(Command::Delete),
    };
    let step = |effect| match effect {
        Effect::WriteJob(status) => Some(plain::job(*status)).filter(|new| Some(*new) != job).map(Step::WriteJob),
        Effect::WritePrinter(status) => {
            Some(plain::printer(*status)).filter(|new| Some(*new) != printer).map(Step::WritePrinter)
        }
        Effect::Device(what) => command(what).map(Step::Device),
        _ => None,
    };
    Kept::new(plan.effects.into_iter().filter_map(step).collect())
}

/// The intent in a job's status.
pub fn intent_of(status: Kept<PrintJobStatus>) -> Option<Kept<StartIntent>> {
    static KNOWN: Known<Kept<PrintJobStatus>, Option<Kept<StartIntent>>> = LazyLock::new(DashMap::new);
    once(&KNOWN, status, |s| s.start.clone().map(Kept::new))
}

/// Whether the job will still say what became of the start this printer remembers.
fn owes(no: No, job: Job, printer: Kept<PrinterStatus>) -> bool {
    static KNOWN: Known<(No, Job, Kept<PrinterStatus>), bool> = LazyLock::new(DashMap::new);
    once(&KNOWN, (no, job, printer), |_| {
        printer.last_start.as_ref().is_some_and(|last| printer::owes_verdict(&farm::job(no, &job), last))
    })
}

/// The attempt a job is at.
pub fn attempt_of(no: No, job: &Job) -> Attempt {
    Attempt { job: no, number: No::try_from(job.status.attempt.max(1)).unwrap_or(No::MAX) }
}

/// Whether this printer holds this job.
pub fn holds(printer: &Printer, job: No) -> bool {
    printer.status.current_job.as_ref().is_some_and(|c| farm::job_no(&c.uid) == Some(job))
}

/// Observes a job and decides. `holder` is the printer that holds it, as last heard: none, or one that does.
pub fn decide_job(w: &mut World, no: No, holder: Option<No>) {
    let job = w.jobs[usize::from(no)];
    let status = job.status;
    let named = status.printer.as_ref().and_then(|p| farm::printer_no(&p.uid));
    let at = named.or(holder);
    let attempt = attempt_of(no, &job);
    let claimed = status.printer.is_some();
    let file = status.upload.as_ref().and_then(|u| farm::attempt_of(&u.remote_name));
    if let Some(at) = at.filter(|_| claimed && !is_terminal(&status)) {
        let last = w.printers[usize::from(at)].status.last_start.as_ref();
        let remembered = last.is_some_and(|l| farm::attempt_of(&l.token) == Some(attempt));
        let known = status.start.is_some() || status.start_time.is_some() || remembered;
        let number = status.device_job_id.as_ref().and_then(|id| id.parse().ok());
        session::attach(w, at, attempt, known, number);
        if let Some(intent) = intent_of(status) {
            session::intent_recorded(w, at, attempt, intent);
        }
    }
    let session = at.map(|at| {
        let s = &w.operator.sessions[usize::from(at)];
        let deleted = s.deleted_now.and(s.deleted_before);
        SessionSeen {
            line: s.line,
            report: s.report,
            judged: s.judged == Judged::Now,
            unjudged_long: s.unjudged_long,
            watch: s.watch,
            upload: s.upload,
            closed: s.closed,
            file_deleted: file.is_some_and(|f| deleted.has(f)),
            undeleted: file.filter(|f| s.undeleted.0.has(*f)).map(|_| s.undeleted.1),
            pause_sent: s.pause_sent,
        }
    });
    let waits = !claimed && !is_terminal(&status) && status.upload.is_none();
    let shown_on = if waits { shown_on(w, attempt) } else { None };
    let printer = at.map(|at| (at, w.printers[usize::from(at)]));
    let view = JobView { job: (no, job), printer, session, shown_on, fresh: w.fresh_id(Some(no), at) };
    let steps = job_steps(&view, attempt);
    if let (Some((_, printer)), Some(seen)) = (&view.printer, &view.session)
        && seen.line != Line::Live
    {
        no_verdict(w, printer, steps);
    }
    let version = |no| Version { no, current: true };
    let pass = Pass {
        about: About::Job(no),
        steps,
        done: 0,
        job: Some(version(no)),
        printer: at.map(version),
        judges: (false, false),
    };
    settle(w, pass);
}

fn job_steps(view: &JobView, attempt: Attempt) -> Steps {
    once(&JOB_PLANS, *view, |_| job_decision(view, attempt))
}

fn job_decision(view: &JobView, attempt: Attempt) -> Steps {
    let job = farm::job(view.job.0, &view.job.1);
    let printer = view.printer.as_ref().map(|(no, p)| farm::printer(*no, p));
    let link = view.session.map(|s| farm::link(s.line, s.report));
    let session = view.session.as_ref().zip(link.as_ref()).map(|(s, link)| SessionView {
        link,
        judged: s.judged,
        unjudged_for: if s.unjudged_long { TIMING.unready_limit } else { std::time::Duration::ZERO },
        watch: &s.watch,
        upload: match s.upload {
            Upload::Idle => UploadView::Idle,
            Upload::Done => UploadView::Done,
            Upload::Failed => UploadView::Failed { message: "cut".into() },
        },
        closed: s.closed.map(|(closed, _)| (*closed).clone()),
        closed_for: if s.closed.is_some_and(|(_, long)| long) {
            TIMING.unready_limit
        } else {
            std::time::Duration::ZERO
        },
        file_deleted: s.file_deleted,
        undeleted: s.undeleted.map(|long| Undeleted {
            lasting: if long { TIMING.unready_limit } else { std::time::Duration::ZERO },
            message: "the file is in use".into(),
        }),
        pause_sent: s.pause_sent,
    });
    let report = view.session.and_then(|s| s.report.filter(|_| s.line == Line::Live));
    let mapping = printer.as_ref().map(|p| farm::mapping(&job, p, report.as_deref()));
    let file = farm::file();
    let shown_on = view.shown_on.map(|(line, report)| farm::link(line, report));
    let fresh_id = ids::text(view.fresh).unwrap_or_default();
    let plan = print_job::decide(&print_job::Observed {
        job: &job,
        printer: printer.as_ref(),
        session,
        file: FileView::Read(&file),
        printed_before: None,
        shown_on: shown_on.as_ref(),
        mapping,
        waiting: None,
        fresh_id: &fresh_id,
        now: *NOW,
        timing: &TIMING,
    });
    steps(plan, attempt, Some(view.job.1.status), view.printer.map(|(_, p)| p.status))
}

/// The connection to a device that shows this attempt, or a later one of its job, of which the job knows nothing.
fn shown_on(w: &World, attempt: Attempt) -> Option<(Line, Option<Kept<DeviceReport>>)> {
    let is_it = |name: Option<&str>| {
        let shown = name.and_then(farm::attempt_of);
        shown.is_some_and(|shown| shown.job == attempt.job && shown.number >= attempt.number)
    };
    let sessions = || w.operator.sessions.iter();
    let live = sessions().find(|s| s.line == Line::Live && s.report.is_some_and(|r| is_it(r.identity.name.as_deref())));
    let silent = || {
        let showed = |p: &Printer| {
            let accounted = p.status.bed.as_ref().and_then(|b| b.accounted_identity.as_ref());
            is_it(accounted.and_then(|i| i.name.as_deref()))
        };
        sessions().zip(&w.printers).find(|(s, p)| s.line != Line::Live && showed(p)).map(|(s, _)| s)
    };
    live.or_else(silent).map(|s| (s.line, s.report))
}

/// Observes a printer and decides.
pub fn decide_printer(w: &mut World, no: No) {
    let at = usize::from(no);
    let printer = w.printers[at];
    let job_of = |uid: &str| farm::job_no(uid).map(|j| (j, w.jobs[usize::from(j)]));
    let job = printer.status.current_job.as_ref().and_then(|c| job_of(&c.uid));
    let last = printer.status.last_start.as_ref().filter(|l| l.verdict.is_none());
    let last_start_job = last.and_then(|l| job_of(&l.job_uid));
    if let Some(last) = last
        && !last_start_job.is_some_and(|(j, job)| owes(j, job, printer.status))
        && let Some(attempt) = farm::attempt_of(&last.token)
    {
        session::attach(w, no, attempt, true, None);
    }
    let s = &w.operator.sessions[at];
    let seen = PrinterSeen {
        printer: (no, printer),
        line: s.line,
        report: s.report,
        judged: s.judged != Judged::No,
        job,
        last_start_job,
        live: s.watch.live >= TIMING.observation_window,
        deleted: s.deleted_now,
        fresh: w.fresh_id(None, Some(no)),
    };
    let steps = printer_steps(&seen);
    if seen.line != Line::Live {
        no_verdict(w, &printer, steps);
    }
    let judges = (seen.line == Line::Live, seen.line == Line::Live);
    let version = Version { no, current: true };
    settle(w, Pass { about: About::Printer(no), steps, done: 0, job: None, printer: Some(version), judges });
}

fn printer_steps(seen: &PrinterSeen) -> Steps {
    once(&PRINTER_PLANS, *seen, printer_decision)
}

fn printer_decision(seen: &PrinterSeen) -> Steps {
    let object = |(no, job): (No, Job)| farm::job(no, &job);
    let (job, last_start_job) = (seen.job.map(object), seen.last_start_job.map(object));
    let link = farm::link(seen.line, seen.report);
    let shown = match &link {
        Link::Live { report, .. } => report.identity.name.as_deref().and_then(farm::attempt_of),
        _ => None,
    };
    let deleted: Vec<String> = seen.deleted.iter().map(farm::remote_name).collect();
    let live = if seen.live { TIMING.observation_window } else { std::time::Duration::ZERO };
    let fresh_id = ids::text(seen.fresh).unwrap_or_default();
    let plan = printer::decide(&printer::Observed {
        printer: &farm::printer(seen.printer.0, &seen.printer.1),
        link: &link,
        host: Some("192.0.2.7"),
        watched: seen.judged,
        job: job.as_ref(),
        last_start_job: last_start_job.as_ref(),
        shown_job_exists: shown.is_some(),
        orphan: None,
        duplicate_of: None,
        last_start_live: live,
        deleted: &deleted,
        hold_starts: false,
        fresh_id: &fresh_id,
        now: *NOW,
        timing: &TIMING,
    });
    steps(plan, Attempt { job: 0, number: 0 }, None, Some(seen.printer.1.status))
}

/// The scheduler gives a job to a printer: what it heard may be old, what it claims on is read again.
pub fn claim(w: &mut World, job: No, printer: No) {
    let s = &w.operator.sessions[usize::from(printer)];
    let view = (
        (job, w.jobs[usize::from(job)]),
        (printer, w.printers[usize::from(printer)]),
        s.line,
        s.report,
        s.judged == Judged::Now,
    );
    let Some(status) = once(&CLAIMS, view, claimed) else { return };
    if s.judged != Judged::Now && w.truth.parts[usize::from(printer)] {
        w.breaks(Broken::UsedUnseen);
    }
    let steps = Kept::new(vec![Step::WritePrinter(status)]);
    let version = Version { no: printer, current: true };
    settle(w, Pass { about: About::Claim, steps, done: 0, job: None, printer: Some(version), judges: (false, false) });
}

fn claimed(key: &Claim) -> Option<Kept<PrinterStatus>> {
    let (job, printer) = (farm::job(key.0.0, &key.0.1), farm::printer(key.1.0, &key.1.1));
    let ready_for_start = device_could_start(&farm::link(key.2, key.3), key.4, TIMING.stale_after);
    let view = PrinterView { printer: &printer, ready_for_start };
    let input = Input { jobs: vec![&job], printers: vec![view], held: None, resting: BTreeMap::new() };
    let given = !schedule(&input, *NOW).assignments.is_empty();
    printer.status.clone().filter(|s| given && s.current_job.is_none()).map(|mut status| {
        let attempt = job.status.as_ref().map_or(1, |s| s.attempt.max(1));
        status.current_job = Some(CurrentJob { name: farm::job_name(key.0.0), uid: farm::job_uid(key.0.0), attempt });
        plain::printer(status)
    })
}

/// Carries out the next write of a pass. False when somebody else was first.
pub fn step(w: &mut World, mut pass: Pass) -> bool {
    let done = write(w, &mut pass);
    if done {
        settle(w, pass);
    }
    done
}

/// The next write alone, as its request does it that was on its way when the process ended.
pub fn write(w: &mut World, pass: &mut Pass) -> bool {
    let current = match pass.steps.get(usize::from(pass.done)) {
        Some(Step::WriteJob(status)) => match pass.job {
            Some(Version { no, current: true }) => {
                api::write_job(w, no, *status);
                true
            }
            _ => false,
        },
        Some(Step::WritePrinter(status)) => match pass.printer {
            Some(Version { no, current: true }) => {
                api::write_printer(w, no, *status);
                true
            }
            _ => false,
        },
        _ => true,
    };
    pass.done += 1;
    current
}

/// Goes on with a pass to its next write, or to its end.
fn settle(w: &mut World, mut pass: Pass) {
    while let Some(Step::Device(command)) = pass.steps.get(usize::from(pass.done)) {
        let at = pass.printer.map(|v| v.no);
        if let Some(at) = at {
            session::command(w, at, *command);
        }
        pass.done += 1;
    }
    if usize::from(pass.done) < pass.steps.len() {
        // What is done is forgotten: a pass is what is left of it.
        static LEFT: Known<(Steps, u8), Steps> = LazyLock::new(DashMap::new);
        if pass.done > 0 {
            pass.steps = once(&LEFT, (pass.steps, pass.done), |(s, done)| Kept::new(s[usize::from(*done)..].to_vec()));
            pass.done = 0;
        }
        let place = w.operator.passes.partition_point(|p| p.about < pass.about);
        w.operator.passes.insert(place, pass);
    } else if let About::Printer(no) = pass.about {
        session::was_judged(w, no, pass.judges);
    }
}

/// Silence gives no verdict.
fn no_verdict(w: &mut World, old: &Printer, steps: Steps) {
    let verdict = |status: &PrinterStatus| status.last_start.as_ref().and_then(|l| l.verdict);
    let given = steps.iter().any(|step| match step {
        Step::WritePrinter(new) => verdict(new).is_some() && verdict(new) != verdict(&old.status),
        _ => false,
    });
    if given {
        w.breaks(Broken::VerdictFromSilence);
    }
}
