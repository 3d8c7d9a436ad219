//! `why`: in plain words, why a job is where it is, and what each printer lacks for it. [`explain`] is pure: the operator's
//! own conditions say why, the same rules as the operator's say what each printer lacks. What only the operator knows is named
//! as not known.

use std::cmp::Reverse;

use jiff::Timestamp;
use kube::ResourceExt as _;
use printernizer_crds::print_job::{DesiredState, Phase};
use printernizer_crds::{ConditionType, PrintJob, Printer, Reason};
use printernizer_rules::print_job::status::words;
use printernizer_rules::scheduling::{
    Mismatch, NotFree, capabilities, fits, is_waiting_for_a_printer, printer_accepts_start, requirements,
};
use serde::Serialize;

use crate::arguments::Why as Arguments;
use crate::error::Error;
use crate::objects::{
    Bed, Flags, bed, condition, doubt, full_name, job_name, of_job, of_printer, part, phase, question,
};
use crate::output::{Format, clean, structured};
use crate::run::Session;
use crate::trust::distrust;

mod render;

/// Explains a job.
pub async fn tell(session: &mut Session<'_>, arguments: &Arguments) -> Result<(), Error> {
    let job: PrintJob = session.cluster.get(&job_name(&arguments.job)?).await?;
    // Who else waits, and which printers there are, matters only to a job that waits for one.
    let (jobs, printers) = if compares(&job) {
        (session.cluster.list(false, None).await?, session.cluster.list(false, None).await?)
    } else {
        (Vec::new(), Vec::new())
    };
    let why = explain(&job, &jobs, &printers, session.now);
    let text = match arguments.output.output {
        Some(Format::Name) => full_name(&job) + "\n",
        Some(format @ (Format::Json | Format::Yaml)) => structured(format, &why)?,
        wide => render::text(&why, wide.is_some(), &session.flags, session.paint),
    };
    session.answer(&text)
}

/// Why a job is where it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Why {
    /// The job.
    pub job: String,
    /// What people call the part.
    pub part: String,
    /// Where it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// The operator's reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same in words.
    pub message: String,
    /// What the job asks of a printer, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// Jobs of the namespace that are given a printer before this one, of all that wait for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<Line>,
    /// Until when it is given no printer, after attempts that gave theirs back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// What may keep it from printers that nothing is seen to keep, and is not written in the cluster.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_seen: Vec<&'static str>,
    /// Printers, those nearest to taking it first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub printers: Vec<PrinterLine>,
    /// Commands that help, without their namespace.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub next: Vec<String>,
}

/// A job's place among those that wait for a printer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Jobs before it.
    pub before: usize,
    /// All that wait, this one too.
    pub all: usize,
}

/// What one printer lacks for a job.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PrinterLine {
    /// Its name.
    pub name: String,
    /// Whether it could print the job as it is.
    pub fits: bool,
    /// What keeps it from the job, in words; empty where nothing does.
    pub lacks: String,
}

/// What only the operator knows of printers that are free as the cluster has it.
const NOT_SEEN: [&str; 3] = [
    "whether the operator holds all starts (--hold-starts)",
    "whether it has a connection to the printer at this moment",
    "whether it can get the file at this moment",
];

/// Until when the job is given no printer, where that is still to come.
fn backs_off(job: &PrintJob, now: Timestamp) -> Option<Timestamp> {
    job.status.as_ref().and_then(|s| s.not_before.as_ref()).map(|t| t.0).filter(|until| *until > now)
}

/// Whether the job is compared with printers: it waits for one, or would if nobody held it.
fn compares(job: &PrintJob) -> bool {
    let mut wanted = job.clone();
    if wanted.spec.desired_state == DesiredState::Pause {
        wanted.spec.desired_state = DesiredState::Run;
    }
    is_waiting_for_a_printer(&wanted)
}

/// Why the job is where it is. `jobs` and `printers` are those of its namespace; they matter where it waits for a printer.
pub fn explain(job: &PrintJob, jobs: &[PrintJob], printers: &[Printer], now: Timestamp) -> Why {
    let status = job.status.as_ref();
    let phase = phase(job);
    let (reason, message) = told(job);
    let mut why = Why { job: job.name_any(), part: part(job), phase, reason, message, ..Why::default() };
    if compares(job) {
        why.needs = needs(job);
        why.not_before = backs_off(job, now);
        why.line = (is_waiting_for_a_printer(job) && why.not_before.is_none()).then(|| line(job, jobs, now));
        let mut compared: Vec<_> = printers.iter().map(|p| compare(job, p, printers, jobs, now)).collect();
        compared.sort_by(|(a, one), (b, other)| a.cmp(b).then_with(|| one.name.cmp(&other.name)));
        if compared.iter().any(|(nearness, _)| *nearness == Nearness::Free) {
            why.not_seen = NOT_SEEN.to_vec();
        }
        why.printers = compared.into_iter().map(|(_, line)| line).collect();
    }
    let name = job.name_any();
    match phase {
        Some(Phase::Held) => why.next.push(format!("release {name}")),
        Some(Phase::AttentionNeeded) if question(job).is_some() => why.next.push(format!("outcome {name}")),
        Some(Phase::Paused) if status.is_some_and(|s| s.paused_by_us) => why.next.push(format!("resume {name}")),
        Some(Phase::Pending) => {
            let fitting = why.printers.iter().filter(|line| line.fits).map(|line| line.name.as_str());
            let found = fitting.filter_map(|name| printers.iter().find(|p| p.name_any() == name));
            why.next.extend(found.filter_map(|printer| helps(printer, now)).take(3));
        }
        _ => {}
    }
    why
}

/// The operator's reason and words for where the job stands.
fn told(job: &PrintJob) -> (Option<String>, String) {
    let Some((status, phase)) = job.status.as_ref().and_then(|s| Some((s, s.phase?))) else {
        return (None, "no operator has looked at it yet: is one running, and for this namespace?".to_owned());
    };
    let by = |type_| condition(of_job(job), type_).map(|c| (Some(c.reason.clone()), clean(&c.message)));
    let waits = || {
        let reason = status.waiting_for.clone()?;
        Some((Some(reason), clean(status.message.as_deref().unwrap_or_default())))
    };
    let found = match phase {
        Phase::AttentionNeeded if question(job).is_some() => {
            Some((status.question.as_ref().map(|q| q.reason.clone()), doubt(job)))
        }
        Phase::Succeeded => by(ConditionType::Complete),
        Phase::Failed | Phase::Cancelled => by(ConditionType::Failed),
        Phase::Printing | Phase::Paused => waits().or_else(|| by(ConditionType::Started)),
        _ => waits(),
    };
    let (reason, mut message) = found.unwrap_or((None, "its next step is being decided".to_owned()));
    if let Some(claimed) = status.printer.as_ref().filter(|_| phase != Phase::Succeeded) {
        message = format!("{message} (printer {})", claimed.name);
    }
    if let Some(progress) = status.progress.as_ref().filter(|_| matches!(phase, Phase::Printing | Phase::Paused)) {
        let left = progress.remaining.as_deref().map(|left| format!(", {} left", clean(left))).unwrap_or_default();
        message = format!("{message}; {}%{left}", progress.percent);
    }
    (reason, message)
}

/// What the job asks of a printer, as its file and its spec say.
fn needs(job: &PrintJob) -> Vec<String> {
    let spec = &job.spec;
    let Some(file) = job.status.as_ref().and_then(|s| s.file.as_ref()) else { return Vec::new() };
    let asked = spec.requirements.clone().unwrap_or_default();
    let mut needs = Vec::new();
    needs.extend(spec.printer_ref.as_ref().map(|r| format!("printer {}", r.name)));
    needs.extend(
        spec.printer_selector.is_some().then(|| "a printer with the labels of spec.printerSelector".to_owned()),
    );
    let models = if asked.models.is_empty() { file.printer_model.iter().cloned().collect() } else { asked.models };
    needs.extend((!models.is_empty()).then(|| models.join(" or ")));
    let nozzle = asked.nozzle.and_then(|n| n.diameter_micrometers).or(file.nozzle_diameter_micrometers);
    needs.extend(nozzle.map(|n| format!("{} mm nozzle", f64::from(n) / 1000.0)));
    needs.extend(file.filaments.iter().filter_map(|f| {
        let what = [f.material.as_deref(), f.color.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" ");
        let grams = f.grams.as_ref().map(|g| format!(" ({g} g)")).unwrap_or_default();
        (!what.is_empty()).then(|| what + &grams)
    }));
    needs.extend(asked.materials.iter().map(|m| format!("{m} loaded")));
    needs.extend(asked.plate.or_else(|| file.plate.clone()).map(|p| format!("plate {p}")));
    needs.extend(file.estimated_seconds.map(|s| format!("about {}", words(s))));
    needs.iter().map(|text| clean(text)).collect()
}

/// The job's place in the order in which jobs are given printers: priority, then age in the queue. Those that back off are
/// passed over.
fn line(job: &PrintJob, jobs: &[PrintJob], now: Timestamp) -> Line {
    let turn = |job: &PrintJob| {
        let queued = job.status.as_ref().and_then(|s| s.queued_time.as_ref()).map_or(Timestamp::MAX, |t| t.0);
        let created = job.metadata.creation_timestamp.as_ref().map_or(Timestamp::MAX, |t| t.0);
        (Reverse(job.spec.priority), queued, created, job.uid(), job.name_any())
    };
    let mine = turn(job);
    let takes = |job: &PrintJob| is_waiting_for_a_printer(job) && backs_off(job, now).is_none();
    let waiting: Vec<_> = jobs.iter().filter(|j| takes(j)).collect();
    let before = waiting.iter().filter(|j| turn(j) < mine).count();
    Line { before, all: waiting.len().max(before + 1) }
}

/// How near a printer is to taking a job; nearer ones are smaller.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Nearness {
    /// It could take it now.
    Free,
    /// It fits, and something keeps it.
    Fits,
    /// It does not fit; the later in the order of checks, the nearer.
    Misfit(Reverse<Mismatch>),
}

fn compare(
    job: &PrintJob,
    printer: &Printer,
    printers: &[Printer],
    jobs: &[PrintJob],
    now: Timestamp,
) -> (Nearness, PrinterLine) {
    let name = printer.name_any();
    match fits(&requirements(job), printer, &capabilities(printer)) {
        Err(mismatch) => {
            let lacks = clean(&mismatch.to_string());
            (Nearness::Misfit(Reverse(mismatch)), PrinterLine { name, fits: false, lacks })
        }
        Ok(_) => match printer_accepts_start(printer, now) {
            Ok(()) => match passed_over(job, printer, printers, now) {
                Some(until) => {
                    let lacks = format!("it could not start this job before: others that fit come first until {until}");
                    (Nearness::Fits, PrinterLine { name, fits: true, lacks })
                }
                None => (Nearness::Free, PrinterLine { name, fits: true, lacks: String::new() }),
            },
            Err(kept) => {
                let lacks = obstacle(printer, &kept, jobs);
                (Nearness::Fits, PrinterLine { name, fits: true, lacks })
            }
        },
    }
}

/// Until when the job waits for another printer rather than going back to this one, which could not start it: while there
/// is one that fits and is in service, whatever that one does at the moment.
fn passed_over(job: &PrintJob, printer: &Printer, printers: &[Printer], now: Timestamp) -> Option<Timestamp> {
    let avoid = job.status.as_ref()?.avoid.as_ref().filter(|avoid| avoid.until.0 > now)?;
    let wanted = requirements(job);
    let takes = |other: &Printer| {
        let in_service = other.metadata.deletion_timestamp.is_none() && !other.spec.unschedulable;
        in_service && other.name_any() != avoid.name && fits(&wanted, other, &capabilities(other)).is_ok()
    };
    (avoid.name == printer.name_any() && printers.iter().any(takes)).then_some(avoid.until.0)
}

/// What keeps a printer that fits, in words.
fn obstacle(printer: &Printer, kept: &NotFree, jobs: &[PrintJob]) -> String {
    let says = |type_| condition(of_printer(printer), type_);
    match kept {
        NotFree::BeingDeleted => "it is being deleted".to_owned(),
        NotFree::Unschedulable => match printer.spec.unschedulable_reason.as_deref() {
            Some(reason) => format!("it is held: {}", clean(reason)),
            None => "it is held (spec.unschedulable)".to_owned(),
        },
        NotFree::Claimed { job } => {
            let left = jobs
                .iter()
                .find(|j| j.name_any() == *job)
                .and_then(|j| j.status.as_ref()?.progress.as_ref()?.remaining.clone());
            let left = left.map(|left| format!(", {} left", clean(&left))).unwrap_or_default();
            format!("it is busy with {job}{left}")
        }
        NotFree::StartUnresolved { job } => format!("it is not known yet what became of {job}"),
        NotFree::NotReady => match says(ConditionType::Ready) {
            Some(c) => format!("{}: {}", c.reason, clean(&c.message)),
            None => "no operator has looked at it yet".to_owned(),
        },
        NotFree::BedNotCleared => match bed(printer) {
            Bed::Waits(on) => format!("its bed waits to be cleared: {}", on.what),
            Bed::Confirmed(words) => format!("its bed was confirmed, and the operator has not taken it yet: {words}"),
            Bed::InUse => "a print is running on it".to_owned(),
            Bed::Clear | Bed::NotKnown => "nothing is known of its bed".to_owned(),
        },
        NotFree::NotIdle => {
            says(ConditionType::Idle).map_or("what it does is not known".to_owned(), |c| clean(&c.message))
        }
        NotFree::UnreadableWindow(what) => format!("its spec.startWindows cannot be read: {}", clean(what)),
        NotFree::OutsideStartWindows { opens: Some(at) } => format!("prints may start on it from {at} on"),
        NotFree::OutsideStartWindows { opens: None } => "no start window of it opens any more".to_owned(),
    }
}

/// The command that brings a printer nearer to its next job. None for one that somebody holds: whoever does it says why, and
/// only they know when that is over.
fn helps(printer: &Printer, now: Timestamp) -> Option<String> {
    let name = printer.name_any();
    match printer_accepts_start(printer, now).err()? {
        NotFree::NotReady => distrust(printer).map(|_| format!("acknowledge {name}")),
        NotFree::BedNotCleared => matches!(bed(printer), Bed::Waits(_)).then(|| format!("clear-bed {name}")),
        NotFree::StartUnresolved { job } => Some(format!("why {job}")),
        _ => None,
    }
}

/// Whether the reason says that no printer fits.
fn is_misfit(why: &Why) -> bool {
    why.reason.as_deref() == Some(Reason::NoMatchingPrinter.as_str())
}

#[cfg(test)]
mod tests;
