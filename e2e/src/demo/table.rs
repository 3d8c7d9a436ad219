//! The table: printers with their beds, jobs with their progress, the last lines of the story. Aligned, and readable at
//! 100 columns. Shows what the API server says, nothing of its own.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt as _;
use printernizer_crds::print_job::Phase;
use printernizer_crds::printer::PrinterState;
use printernizer_crds::{ConditionType, Conditions as _, PrintJob, Printer, PrinterStatus, Reason};

use super::frame::{Frame, Line, Tone, wrap};
use super::verdict::{Verdict, has_ended};

/// Characters of a progress bar.
const BAR: usize = 16;
/// Width of sentences: a usual terminal of 100 columns shows them whole.
const WIDTH: usize = 98;
/// Where a line of the story begins, after its time.
const STORY: usize = 9;
/// Widest column of names.
const NAME: usize = 26;

/// What is shown.
pub struct View<'a> {
    /// By name.
    pub printers: &'a [Arc<Printer>],
    /// By name.
    pub jobs: &'a [Arc<PrintJob>],
    /// Last lines of the story, oldest first.
    pub told: &'a [String],
    /// Since the start of the demo.
    pub elapsed: Duration,
    /// Seconds that pass on the printers in one second.
    pub time_scale: f64,
    /// Once every job has ended: when that was, and the judgment.
    pub verdict: Option<(Duration, &'a Verdict)>,
    /// How to reach the farm, where it stays.
    pub reach: Option<&'a str>,
}

/// Draws the table.
pub fn frame(view: &View<'_>) -> Frame {
    let mut lines = vec![heading(view), Line::default()];
    let names = view.printers.iter().map(|p| p.name_any());
    let printer_width = width("PRINTER", names);
    let job_width = width("JOB", view.jobs.iter().map(|j| j.name_any()));
    let head = Line::default().cell("PRINTER", printer_width, Tone::Head).cell("STATE", 12, Tone::Head);
    lines.push(head.cell("READY", 8, Tone::Head).cell("JOB", job_width, Tone::Head).cell("BED", 40, Tone::Head));
    lines.extend(view.printers.iter().map(|p| printer_row(p, printer_width, job_width)));
    lines.push(Line::default());

    let part_width = width("PART", view.jobs.iter().filter_map(|j| j.spec.display_name.clone()));
    let head = Line::default().cell("JOB", job_width, Tone::Head).cell("PART", part_width, Tone::Head);
    let head = head.cell("PHASE", 16, Tone::Head).cell("PRINTER", printer_width, Tone::Head);
    lines.push(head.cell("PROGRESS", BAR + 7, Tone::Head).cell("LEFT", 8, Tone::Head));
    lines.extend(view.jobs.iter().map(|j| job_row(j, job_width, part_width, printer_width)));
    lines.push(Line::default());

    if let Some((after, verdict)) = view.verdict {
        let tone = if verdict.is_good() { Tone::Good } else { Tone::Bad };
        let text = format!("The examples ended after {:.1} s. {}", after.as_secs_f64(), verdict.in_short());
        lines.extend(wrap(&text, WIDTH, 0).into_iter().map(|text| Line::of(text, tone)));
        lines.push(Line::default());
    }
    if let Some(reach) = view.reach {
        lines.extend(reach_lines(reach).enumerate().map(|(index, line)| {
            let tone = if index == 0 || line.trim_start().starts_with('#') { Tone::Dim } else { Tone::Plain };
            Line::of(line, tone)
        }));
        lines.push(Line::default());
    }
    // Last, because a low terminal shows the first lines only.
    let told = view.told.iter().flat_map(|text| wrap(text, WIDTH, STORY));
    lines.extend(told.map(|text| Line::of(text, Tone::Dim)));
    Frame(lines)
}

/// How to reach the farm that stays. A command is to be copied: it stays in one line.
pub fn reach_lines(reach: &str) -> impl Iterator<Item = String> + '_ {
    let heading = "The farm stays up until Ctrl-C. To try in another terminal:".to_owned();
    std::iter::once(heading).chain(reach.lines().map(|line| format!("  {line}")))
}

fn heading(view: &View<'_>) -> Line {
    let done = view.jobs.iter().filter(|j| has_ended(j)).count();
    let seconds = view.elapsed.as_secs();
    let text = format!(
        "   {} simulated printers, {} times as fast, LEFT too   {done} of {} jobs ended   {:02}:{:02}",
        view.printers.len(),
        view.time_scale,
        view.jobs.len(),
        seconds / 60,
        seconds % 60
    );
    let mut line = Line::of("Printernizer", Tone::Head);
    line.0.extend(Line::of(text, Tone::Dim).0);
    line
}

fn width(head: &str, texts: impl Iterator<Item = String>) -> usize {
    texts.map(|t| t.chars().count()).chain([head.len()]).max().unwrap_or(0).min(NAME) + 2
}

fn printer_row(printer: &Printer, name_width: usize, job_width: usize) -> Line {
    let status = printer.status.clone().unwrap_or_default();
    let state = status.state.unwrap_or_default();
    let tone = match state {
        PrinterState::Printing | PrinterState::Preparing => Tone::Busy,
        PrinterState::Finished | PrinterState::Idle => Tone::Plain,
        PrinterState::Paused => Tone::Waiting,
        PrinterState::Failed | PrinterState::Attention | PrinterState::Offline => Tone::Bad,
        PrinterState::Unknown => Tone::Dim,
    };
    let ready = status.conditions.condition(ConditionType::Ready).map_or("Unknown", |c| c.status.as_str());
    let ready_tone = match ready {
        "True" => Tone::Good,
        "False" => Tone::Bad,
        _ => Tone::Dim,
    };
    let job = status.current_job.as_ref().map_or("", |j| j.name.as_str());
    let (bed, bed_tone) = bed(&status);
    Line::default()
        .cell(&printer.name_any(), name_width, Tone::Plain)
        .cell(&format!("{state:?}"), 12, tone)
        .cell(ready, 8, ready_tone)
        .cell(job, job_width, Tone::Plain)
        .cell(&bed, 40, bed_tone)
}

fn bed(status: &PrinterStatus) -> (String, Tone) {
    let Some(condition) = status.conditions.condition(ConditionType::BedCleared) else {
        return (String::new(), Tone::Dim);
    };
    let is = |reason: Reason| condition.reason == reason.as_str();
    let part = status.bed.as_ref().and_then(|b| b.display_name.as_ref());
    let part = part.map_or_else(|| "a part".to_owned(), |p| format!("'{p}'"));
    if condition.status == "True" {
        ("clear".to_owned(), Tone::Good)
    } else if is(Reason::PrintInProgress) {
        ("print in progress".to_owned(), Tone::Busy)
    } else if is(Reason::NeverConfirmed) {
        ("never confirmed: look at it".to_owned(), Tone::Waiting)
    } else if is(Reason::PartOnBed) {
        (format!("{part} lies on it"), Tone::Waiting)
    } else if is(Reason::FailedPrintOnBed) {
        (format!("what is left of {part}"), Tone::Waiting)
    } else {
        (condition.reason.clone(), Tone::Waiting)
    }
}

fn job_row(job: &PrintJob, name_width: usize, part_width: usize, printer_width: usize) -> Line {
    let status = job.status.clone().unwrap_or_default();
    let phase = status.phase.unwrap_or_default();
    let tone = match phase {
        Phase::Pending | Phase::Held => Tone::Dim,
        Phase::Assigned | Phase::Uploading | Phase::Starting | Phase::Printing => Tone::Busy,
        Phase::Paused | Phase::AttentionNeeded | Phase::Cancelled => Tone::Waiting,
        Phase::Succeeded => Tone::Good,
        Phase::Failed => Tone::Bad,
    };
    let line = Line::default()
        .cell(&job.name_any(), name_width, Tone::Plain)
        .cell(job.spec.display_name.as_deref().unwrap_or_default(), part_width, Tone::Plain)
        .cell(&format!("{phase:?}"), 16, tone)
        .cell(status.printer.as_ref().map_or("", |p| p.name.as_str()), printer_width, Tone::Plain);
    let Some(progress) = &status.progress else {
        let waiting = if phase == Phase::Pending { status.waiting_for.as_deref().unwrap_or_default() } else { "" };
        return line.cell(waiting, BAR + 7, Tone::Dim);
    };
    let left = if phase == Phase::Printing { progress.remaining.as_deref().unwrap_or_default() } else { "" };
    line.cell(&format!("{} {:>3}%", bar(progress.percent), progress.percent), BAR + 7, tone).cell(left, 8, Tone::Plain)
}

fn bar(percent: i32) -> String {
    let filled = usize::try_from(percent.clamp(0, 100)).unwrap_or(0) * BAR / 100;
    format!("{}{}", "█".repeat(filled), "░".repeat(BAR - filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_full_only_at_the_end() {
        assert_eq!(bar(0), "░".repeat(BAR));
        assert_eq!(bar(100), "█".repeat(BAR));
        assert!(bar(99).ends_with('░'));
        assert_eq!(bar(50).chars().count(), BAR);
    }
}
