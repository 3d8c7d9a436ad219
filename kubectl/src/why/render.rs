//! The explanation as text.

use std::fmt::Write as _;

use printernizer_crds::print_job::Phase;

use super::{Flags, Why, is_misfit};
use crate::output::{Paint, Style, Table, count};

/// Printers that are listed where not all are asked for.
const LISTED: usize = 15;

/// The explanation as a person reads it; `wide` lists every printer.
pub(super) fn text(why: &Why, wide: bool, flags: &Flags, paint: Paint) -> String {
    let phase = why.phase.map_or_else(|| "not looked at yet".to_owned(), |p| format!("{p:?}"));
    let style = match why.phase {
        Some(Phase::AttentionNeeded | Phase::Failed) => Style::Bad,
        Some(Phase::Printing | Phase::Succeeded) => Style::Good,
        _ => Style::Notice,
    };
    let name = if why.part == why.job { why.job.clone() } else { format!("{} (\"{}\")", why.job, why.part) };
    let reason = why.reason.as_ref().map(|reason| format!(", {reason}")).unwrap_or_default();
    // Writing into a String cannot fail.
    let mut text = format!("{}: {}{reason}\n", paint.paint(Style::Heading, &name), paint.paint(style, &phase));
    let _ = writeln!(text, "  {}", why.message);
    if !why.needs.is_empty() {
        let _ = writeln!(text, "  It needs: {}", why.needs.join(", "));
    }
    if let Some(line) = why.line.filter(|_| !is_misfit(why)) {
        let before = match line.before {
            0 => "it is the first".to_owned(),
            n => format!("{} before it", count(n, "is", "are")),
        };
        let _ = writeln!(text, "  {} for a printer; {before}", count(line.all, "job waits", "jobs wait"));
    }
    if let Some(until) = why.not_before.filter(|until| !why.message.contains(&until.to_string())) {
        let _ = writeln!(text, "  It is given no printer before {until}: earlier attempts have given theirs back");
    }
    if !why.printers.is_empty() {
        text.push('\n');
        let most = if wide { usize::MAX } else { LISTED };
        let mut table = Table::new(&["PRINTER", "FITS", "WHAT KEEPS IT"]);
        for printer in why.printers.iter().take(most) {
            let (fits, style) = if printer.fits { ("yes", Style::Good) } else { ("no", Style::Plain) };
            let lacks = if printer.lacks.is_empty() { "nothing is seen" } else { &printer.lacks };
            table.row([
                (printer.name.clone(), Style::Plain),
                (fits.to_owned(), style),
                (lacks.to_owned(), Style::Plain),
            ]);
        }
        text.push_str(&table.render("  ", paint));
        let more = why.printers.len().saturating_sub(most);
        if more > 0 {
            let _ = writeln!(text, "  and {more} more, further from fitting; -o wide lists them");
        }
        if !why.not_seen.is_empty() {
            let _ = writeln!(text, "  Not seen from here: {}", why.not_seen.join("; "));
        }
    }
    if !why.next.is_empty() {
        text.push_str("\nWhat helps:\n");
        for rest in &why.next {
            let _ = writeln!(text, "  {}", flags.command(rest));
        }
    }
    text
}
