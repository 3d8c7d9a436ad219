//! A picture of the table as SVG, for the README: text in a fixed grid, so that it looks the same with any font.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use printernizer_crds::print_job::Phase;
use printernizer_crds::printer::PrinterState;
use printernizer_crds::{PrintJob, Printer, PrinterStatus};

use super::DemoError;
use super::frame::{Frame, Line, Tone};

/// Width of a character, in pixels.
const CHARACTER: f64 = 8.4;
/// Height of a line, in pixels.
const LINE: f64 = 20.0;
/// Free space around the text, in pixels.
const MARGIN: f64 = 20.0;
/// Least number of columns.
const COLUMNS: usize = 100;

/// The frame that is worth a picture.
#[derive(Debug)]
pub struct Picture {
    frame: Frame,
    worth: usize,
}

impl Picture {
    /// Keeps this frame if it shows at least as much as the one that is kept: jobs in many phases, busy printers, prints
    /// in the middle, a person at a bed. Not the instant in which a print has ended and the printer still says that it
    /// prints.
    pub fn keep_better(kept: &mut Option<Self>, frame: &Frame, printers: &[Arc<Printer>], jobs: &[Arc<PrintJob>]) {
        if printers.iter().any(|p| p.status.as_ref().is_some_and(between_two_reports)) {
            return;
        }
        let status = |j: &Arc<PrintJob>| j.status.clone().unwrap_or_default();
        let mut phases: Vec<_> = jobs.iter().filter_map(|j| status(j).phase).collect();
        phases.sort();
        phases.dedup();
        let busy = printers.iter().filter(|p| p.status.as_ref().is_some_and(|s| s.current_job.is_some())).count();
        let some_done = usize::from(phases.contains(&Phase::Succeeded));
        let middle = |j: &&Arc<PrintJob>| {
            let status = status(j);
            status.completion_time.is_none() && status.progress.is_some_and(|p| (20..=90).contains(&p.percent))
        };
        let person = usize::from(frame.0.iter().flat_map(|l| &l.0).any(|s| s.text.contains("you took")));
        let worth = person * 3 + some_done * 8 + phases.len() * 3 + busy * 2 + jobs.iter().filter(middle).count() * 3;
        if kept.as_ref().is_none_or(|k| worth >= k.worth) {
            *kept = Some(Self { frame: frame.clone(), worth });
        }
    }

    /// Writes it as SVG.
    pub fn write(&self, path: &Path) -> Result<(), DemoError> {
        std::fs::write(path, svg(&self.frame)).map_err(|source| DemoError::Write { path: path.to_owned(), source })
    }
}

/// Whether the printer is shown printing although its print is known to have ended.
fn between_two_reports(status: &PrinterStatus) -> bool {
    let prints = matches!(status.state, Some(PrinterState::Printing | PrinterState::Preparing));
    prints && status.bed.as_ref().is_some_and(|bed| !bed.print_in_progress)
}

fn columns(line: &Line) -> usize {
    line.0.iter().map(|s| s.text.trim_end().chars().count()).sum()
}

#[allow(clippy::cast_precision_loss, reason = "columns and lines of a screen")]
fn svg(frame: &Frame) -> String {
    let width = frame.0.iter().map(columns).max().unwrap_or(0).max(COLUMNS) as f64 * CHARACTER + 2.0 * MARGIN;
    let height = frame.0.len() as f64 * LINE + 2.0 * MARGIN;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         height=\"{height:.0}\" role=\"img\" font-size=\"14\" \
         font-family=\"ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace\">\n\
         <title>The demo's table of printers and jobs</title>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#0d1117\"/>\n"
    );
    for (row, line) in frame.0.iter().enumerate() {
        let y = MARGIN + row as f64 * LINE + LINE * 0.72;
        let mut column = 0;
        for span in &line.0 {
            let shown = span.text.trim_end();
            let indent = shown.len() - shown.trim_start().len();
            let (x, length) = ((column + indent) as f64, (shown.chars().count() - indent) as f64);
            column += span.text.chars().count();
            if shown.is_empty() {
                continue;
            }
            let weight = if span.tone == Tone::Head { " font-weight=\"bold\"" } else { "" };
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "<text x=\"{:.1}\" y=\"{y:.1}\" fill=\"{}\"{weight} textLength=\"{:.1}\" \
                 lengthAdjust=\"spacingAndGlyphs\" xml:space=\"preserve\">{}</text>",
                MARGIN + x * CHARACTER,
                color(span.tone),
                length * CHARACTER,
                escape(shown.trim_start())
            );
        }
    }
    text.push_str("</svg>\n");
    text
}

fn color(tone: Tone) -> &'static str {
    match tone {
        Tone::Plain | Tone::Head => "#e6edf3",
        Tone::Dim => "#8b949e",
        Tone::Good => "#3fb950",
        Tone::Busy => "#39c5cf",
        Tone::Waiting => "#d29922",
        Tone::Bad => "#f85149",
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_in_their_column_and_markup_is_text() {
        let line = Line::default().cell("a<b&c", 10, Tone::Plain).cell("done", 6, Tone::Good);
        let svg = svg(&Frame(vec![line]));
        assert!(svg.contains(">a&lt;b&amp;c</text>"), "{svg}");
        assert!(svg.contains(&format!("<text x=\"{:.1}\"", MARGIN + 10.0 * CHARACTER)), "{svg}");
        assert!(svg.contains(color(Tone::Good)), "{svg}");
    }
}
