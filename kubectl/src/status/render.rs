//! The overview as text.

use std::fmt::Write as _;

use super::{Need, Overview, PrinterRow};
use crate::beds::waiting_words;
use crate::objects::Flags;
use crate::output::{Paint, Style, Table, count};

/// Whose objects are shown.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'a> {
    /// Those of every namespace.
    All,
    /// Those of this one.
    One(&'a str),
}

/// The overview as a person reads it.
pub(super) fn text(overview: &Overview, place: Place<'_>, wide: bool, flags: &Flags, paint: Paint) -> String {
    let all = matches!(place, Place::All);
    if overview.printers.is_empty() && overview.jobs.is_empty() && overview.needs.is_empty() {
        let place = match place {
            Place::All => "in this cluster".to_owned(),
            Place::One(namespace) => format!("in namespace {namespace}"),
        };
        let add = flags.command("add-printer NAME");
        return format!("There are no printers and no jobs {place}. `{add}` adds a printer.\n");
    }
    let mut text = String::new();
    if overview.unseen > 0 {
        let what = count(overview.unseen, "object was", "objects were");
        let said = format!("{what} not looked at by any operator: is one running, and for this namespace?");
        let _ = writeln!(text, "{}\n", paint.paint(Style::Bad, &said));
    }
    needs(&mut text, overview, place, flags, paint);
    if !overview.printers.is_empty() {
        let _ = writeln!(text, "\n{}", paint.paint(Style::Heading, &heading_of_printers(overview)));
        text.push_str(&printers(&overview.printers, all, wide).render("  ", paint));
    }
    if !overview.jobs.is_empty() {
        let number = overview.jobs.iter().map(|j| j.count).sum();
        let _ = writeln!(text, "\n{}", paint.paint(Style::Heading, &count(number, "job", "jobs")));
        text.push_str(&jobs(overview).render("  ", paint));
    }
    text
}

fn needs(text: &mut String, overview: &Overview, place: Place<'_>, flags: &Flags, paint: Paint) {
    let number = overview.needs.len();
    if number == 0 {
        let _ = writeln!(text, "{}", paint.paint(Style::Good, "Nothing waits for a person"));
        return;
    }
    let heading = count(number, "thing waits for a person", "things wait for a person");
    let _ = writeln!(text, "{}", paint.paint(Style::Heading, &heading));
    let name = |need: &Need| match place {
        Place::All => format!("{} {}/{}", need.kind, need.namespace, need.name),
        Place::One(_) => format!("{} {}", need.kind, need.name),
    };
    let width = overview.needs.iter().map(|need| name(need).chars().count()).max().unwrap_or(0);
    for need in &overview.needs {
        let (name, style) = (name(need), if need.urgent { Style::Bad } else { Style::Notice });
        let space = " ".repeat(width - name.chars().count());
        let _ = write!(text, "  {}{space}  {}", paint.paint(style, &name), need.what);
        let command = need.command.as_deref().map(|rest| match place {
            Place::All => flags.within(&need.namespace).command(rest),
            Place::One(_) => flags.command(rest),
        });
        // Of beds there are as many as printers, and what is said of one is short.
        let before = if is_of_bed(need) { "  ".to_owned() } else { format!("\n  {}  ", " ".repeat(width)) };
        let command = command.map(|command| format!("{before}{}", paint.paint(Style::Faint, &command)));
        let _ = writeln!(text, "{}", command.unwrap_or_default());
    }
}

fn is_of_bed(need: &Need) -> bool {
    need.command.as_deref().is_some_and(|command| command.starts_with("clear-bed"))
}

fn heading_of_printers(overview: &Overview) -> String {
    let of = |state: &str| overview.printers.iter().filter(|p| p.state == state).count();
    let mut parts = Vec::new();
    for (number, word) in [(of("Printing"), "printing"), (of("Paused"), "paused"), (of("Offline"), "offline")] {
        if number > 0 {
            parts.push(format!("{number} {word}"));
        }
    }
    let beds = overview.needs.iter().filter(|need| is_of_bed(need)).count();
    if beds > 0 {
        parts.push(waiting_words(beds));
    }
    let number = count(overview.printers.len(), "printer", "printers");
    if parts.is_empty() { number } else { format!("{number}: {}", parts.join(", ")) }
}

fn printers(rows: &[PrinterRow], all: bool, wide: bool) -> Table {
    let troubled = rows.iter().any(|r| r.trouble.is_some());
    let mut header = Vec::new();
    header.extend(all.then_some("NAMESPACE"));
    header.extend(["NAME", "STATE", "JOB", "PROGRESS", "LEFT", "BED"]);
    header.extend(troubled.then_some("TROUBLE"));
    if wide {
        header.extend(["LOCATION", "MODEL", "LOADED", "FIRMWARE", "HOST"]);
    }
    let mut table = Table::new(&header);
    for row in rows {
        let mut cells = Vec::new();
        let mut cell = |text: &str, style: Style| cells.push((text.to_owned(), style));
        if all {
            cell(&row.namespace, Style::Plain);
        }
        cell(&row.name, Style::Plain);
        cell(&row.state, style_of_state(&row.state));
        for value in [&row.job, &row.progress, &row.left] {
            cell(value.as_deref().unwrap_or_default(), Style::Plain);
        }
        cell(&row.bed, style_of_bed(&row.bed));
        if troubled {
            cell(row.trouble.as_deref().unwrap_or_default(), Style::Bad);
        }
        if wide {
            cell(row.location.as_deref().unwrap_or_default(), Style::Plain);
            cell(&row.model, Style::Plain);
            cell(&row.loaded.join(","), Style::Plain);
            cell(row.firmware.as_deref().unwrap_or_default(), Style::Plain);
            cell(row.host.as_deref().unwrap_or_default(), Style::Plain);
        }
        table.row(cells);
    }
    table
}

fn style_of_state(state: &str) -> Style {
    match state {
        "Printing" | "Preparing" => Style::Good,
        "Paused" | "Attention" => Style::Notice,
        "Offline" | "Failed" => Style::Bad,
        _ => Style::Plain,
    }
}

fn style_of_bed(bed: &str) -> Style {
    match bed {
        "Cleared" | "PrintInProgress" | "" => Style::Plain,
        _ => Style::Notice,
    }
}

/// One row for each phase, with the reasons in it.
fn jobs(overview: &Overview) -> Table {
    let mut rows: Vec<(&str, usize, Vec<String>)> = Vec::new();
    for job in &overview.jobs {
        let reason = job.reason.as_ref().map(|reason| format!("{reason} {}", job.count));
        match rows.last_mut() {
            Some((phase, count, reasons)) if *phase == job.phase => {
                *count += job.count;
                reasons.extend(reason);
            }
            _ => rows.push((&job.phase, job.count, reason.into_iter().collect())),
        }
    }
    let mut table = Table::new(&["PHASE", "JOBS", "BECAUSE OF"]);
    for (phase, count, reasons) in rows {
        let style = match phase {
            "AttentionNeeded" | "Failed" => Style::Bad,
            "Printing" => Style::Good,
            _ => Style::Plain,
        };
        table.row([(phase.to_owned(), style), (count.to_string(), Style::Plain), (reasons.join(", "), Style::Plain)]);
    }
    table
}
