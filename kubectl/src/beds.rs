//! `clear-bed`: shows what lies on beds, and confirms that they are clear: `spec.bed.clearedFor` gets the id of what was
//! shown. A bed on which something else lies by then is left alone.
//!
//! Between a person's round and the command a print may have ended. So what nobody sees in front of the command (`--yes`) is
//! confirmed only where its id is named.

use kube::ResourceExt as _;
use printernizer_crds::Printer;
use serde_json::json;

use crate::arguments::ClearBed;
use crate::cluster::Change;
use crate::error::{Error, several};
use crate::objects::{Bed, OnBed, bed, printer_name};
use crate::output::{Style, Table, age, clean, count};
use crate::person::sure;
use crate::run::Session;

/// Confirms beds.
pub async fn clear(session: &mut Session<'_>, arguments: &ClearBed) -> Result<(), Error> {
    let mut results = Vec::new();
    let mut waiting = Vec::new();
    let wanted = wanted(arguments)?;
    for (printer, id) in named(session, arguments, wanted).await? {
        match bed(&printer) {
            Bed::Waits(on) if id.as_ref().is_some_and(|id| *id != on.id) => {
                results.push(session.tell(Err(changed(&printer, &on)))?);
            }
            Bed::Waits(on) => waiting.push((printer, on)),
            state => {
                let result = Err(no_need(&printer, &state));
                // Whoever names all beds means those that wait.
                if !arguments.printers.is_empty() {
                    results.push(session.tell(result)?);
                }
            }
        }
    }
    if waiting.is_empty() {
        if results.is_empty() {
            session.note("no bed waits to be cleared")?;
        }
        return several(&results);
    }
    session.evidence(&table(&waiting, session.now).render("", session.paint_aside))?;
    let question = match waiting.len() {
        1 => "Is this bed clear?".to_owned(),
        n => format!("Are these {n} beds clear?"),
    };
    if !arguments.sure.yes && !session.person.is_there() {
        let named: Vec<String> = waiting.iter().map(|(p, on)| format!("{}={}", p.name_any(), on.id)).collect();
        let command = session.flags.command(&format!("clear-bed {} --yes", named.join(" ")));
        return Err(Error::Usage(format!(
            "nobody is at the terminal to be asked; once somebody has seen that what is shown is gone: {command}"
        )));
    }
    sure(session.person, arguments.sure.yes, &question)?;
    for (printer, shown) in waiting {
        let changed = confirm(session, printer, &shown).await;
        let result = changed.map(|change| match change {
            Change::Written(printer) => (printer, "bed confirmed clear"),
            Change::Already(printer) => (printer, "bed was confirmed already"),
        });
        results.push(session.report(result, arguments.output.output)?);
    }
    several(&results)
}

/// Writes that this very bed is clear.
pub async fn confirm(session: &Session<'_>, printer: Printer, shown: &OnBed) -> Result<Change<Printer>, Error> {
    session.cluster.change(printer, |now| still(now, shown)).await
}

/// What is to be written, if what was shown still lies there.
fn still(now: &Printer, shown: &OnBed) -> Result<Option<serde_json::Value>, Error> {
    match bed(now) {
        Bed::Waits(on) if on.id == shown.id => Ok(Some(json!({ "bed": { "clearedFor": shown.id } }))),
        Bed::Confirmed(_) if now.spec.bed.cleared_for.as_ref() == Some(&shown.id) => Ok(None),
        Bed::Waits(on) => Err(changed(now, &on)),
        state => Err(no_need(now, &state)),
    }
}

fn changed(printer: &Printer, on: &OnBed) -> Error {
    Error::NotNow(format!(
        "printer {}: what lies on the bed has changed since it was shown; now it is: {} ({}). Look again",
        printer.name_any(),
        on.what,
        on.id
    ))
}

/// Why this bed is not confirmed.
fn no_need(printer: &Printer, state: &Bed) -> Error {
    let name = printer.name_any();
    Error::NotNow(match state {
        Bed::Clear => format!("printer {name}: the bed is clear already"),
        Bed::InUse => format!("printer {name}: a print is running; its end asks for the bed"),
        Bed::Confirmed(words) => {
            format!("printer {name}: the bed was confirmed, and the operator has not taken it yet: {words}")
        }
        Bed::NotKnown | Bed::Waits(_) => {
            format!("printer {name}: the operator has not looked at it yet; is it running?")
        }
    })
}

/// A printer that was named, and the id of what is said to lie there.
type Named = (String, Option<String>);

/// The printers that are named, each once.
fn wanted(arguments: &ClearBed) -> Result<Vec<Named>, Error> {
    let usage = |text: String| Err(Error::Usage(text));
    if arguments.sure.yes && arguments.printers.is_empty() {
        return usage(
            "--yes is for beds that are named with the id of what lies there, PRINTER=ID: of --all and --location nobody \
             knows what they would confirm. Without --yes you are shown it and asked"
                .to_owned(),
        );
    }
    let mut wanted: Vec<Named> = Vec::new();
    for text in &arguments.printers {
        let (name, id) = text.split_once('=').map_or((text.as_str(), None), |(name, id)| (name, Some(id.to_owned())));
        let name = printer_name(name)?;
        if id.is_none() && arguments.sure.yes {
            return usage(format!(
                "{text:?}: --yes confirms what its id names and nothing else: write {name}=ID; `clear-bed {name}` without \
                 --yes shows it"
            ));
        }
        match wanted.iter().find(|(other, _)| *other == name) {
            None => wanted.push((name, id)),
            Some((_, other)) if *other == id => {}
            Some(_) => return usage(format!("printer {name} is named twice, with different things on its bed")),
        }
    }
    Ok(wanted)
}

async fn named(
    session: &Session<'_>,
    arguments: &ClearBed,
    wanted: Vec<Named>,
) -> Result<Vec<(Printer, Option<String>)>, Error> {
    let mut printers = Vec::new();
    for (name, id) in wanted {
        printers.push((session.cluster.get(&name).await?, id));
    }
    if !printers.is_empty() {
        return Ok(printers);
    }
    let all: Vec<Printer> = session.cluster.list(false, None).await?;
    let there = match &arguments.location {
        None => all,
        Some(location) => at(all, location)?,
    };
    Ok(there.into_iter().map(|printer| (printer, None)).collect())
}

/// The printers at this location.
fn at(all: Vec<Printer>, location: &str) -> Result<Vec<Printer>, Error> {
    let mut places: Vec<String> = all.iter().filter_map(|p| p.spec.location.as_deref().map(clean)).collect();
    places.sort();
    places.dedup();
    let there: Vec<Printer> = all.into_iter().filter(|p| p.spec.location.as_deref() == Some(location)).collect();
    if !there.is_empty() {
        return Ok(there);
    }
    let known = if places.is_empty() { "no printer has a spec.location".to_owned() } else { places.join(", ") };
    Err(Error::NotNow(format!("no printer is at {location:?}; locations are: {known}")))
}

fn table(waiting: &[(Printer, OnBed)], now: jiff::Timestamp) -> Table {
    let mut table = Table::new(&["PRINTER", "ON THE BED", "ID", "JOB", "SINCE", "LOCATION"]);
    for (printer, on) in waiting {
        table.row([
            (printer.name_any(), Style::Plain),
            (on.what.clone(), Style::Notice),
            (on.id.clone(), Style::Faint),
            (on.job.clone().unwrap_or_default(), Style::Plain),
            (on.since.map(|t| age(t, now)).unwrap_or_default(), Style::Plain),
            (printer.spec.location.clone().unwrap_or_default(), Style::Plain),
        ]);
    }
    table
}

/// How many beds wait, for people.
pub fn waiting_words(number: usize) -> String {
    count(number, "bed waits to be cleared", "beds wait to be cleared")
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::arguments::{Arguments, Command};
    use crate::objects::testing::{now, occupied, printer};
    use crate::output::Paint;

    fn shown(printer: &Printer) -> OnBed {
        match bed(printer) {
            Bed::Waits(on) => on,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_lies_on_each_bed_is_shown_with_its_job() {
        let hook = json!({ "job": "shelf-hook-2", "displayName": "Shelf hook" });
        let mut printers = [occupied("prusa-1", "PartOnBed", hook), occupied("a1-2", "NeverConfirmed", json!({}))];
        printers[0].spec.location = Some("shelf 3".into());
        let waiting: Vec<_> = printers.into_iter().map(|p| (p.clone(), shown(&p))).collect();
        let expected = "\
PRINTER  ON THE BED             ID          JOB           SINCE  LOCATION
prusa-1  \"Shelf hook\"           0123456789  shelf-hook-2  12m    shelf 3
a1-2     nobody has looked yet  0123456789                12m
";
        assert_eq!(table(&waiting, now()).render("", Paint::default()), expected);
    }

    #[test]
    fn only_what_was_shown_is_confirmed() {
        let first = occupied("prusa-1", "PartOnBed", json!({ "displayName": "Shelf hook" }));
        let seen = shown(&first);
        assert_eq!(still(&first, &seen).unwrap(), Some(json!({ "bed": { "clearedFor": "0123456789" } })));
        let next = occupied("prusa-1", "PartOnBed", json!({ "occupancyID": "9876543210", "displayName": "Clip" }));
        let refused = still(&next, &seen).unwrap_err();
        assert_eq!(refused.code(), crate::error::NOT_NOW);
        assert!(refused.to_string().contains("has changed") && refused.to_string().contains("Clip"), "{refused}");
        let running = occupied("prusa-1", "PrintInProgress", json!({ "printInProgress": true }));
        assert!(still(&running, &seen).unwrap_err().to_string().contains("a print is running"));
        let mut confirmed = first.clone();
        confirmed.spec.bed.cleared_for = Some(seen.id.clone());
        assert_eq!(still(&confirmed, &seen).unwrap(), None, "another has confirmed the same");
    }

    #[test]
    fn what_nobody_is_shown_is_named_by_its_id() {
        let of = |line: &str| {
            let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
            let Command::ClearBed(arguments) = arguments.command else { panic!("{line}") };
            wanted(&arguments).map_err(|error| (error.code(), error.to_string()))
        };
        let one = |name: &str, id: Option<&str>| (name.to_owned(), id.map(str::to_owned));
        assert_eq!(of("x clear-bed a1 a2=7 a1").unwrap(), [one("a1", None), one("a2", Some("7"))]);
        assert_eq!(of("x clear-bed printer/a1=7 --yes").unwrap(), [one("a1", Some("7"))]);
        assert!(of("x clear-bed --all").unwrap().is_empty());
        for (line, words) in [
            ("x clear-bed --all --yes", "PRINTER=ID"),
            ("x clear-bed --location shelf -y", "PRINTER=ID"),
            ("x clear-bed a1=7 a2 -y", "write a2=ID"),
            ("x clear-bed a1=7 a1=8 -y", "named twice"),
            ("x clear-bed job/a1=7 -y", "is a job"),
        ] {
            let (code, said) = of(line).unwrap_err();
            assert!(code == crate::error::USAGE && said.contains(words), "{line}: {said}");
        }
    }

    #[test]
    fn a_location_that_nobody_is_at_is_answered_with_those_there_are() {
        let mut there = printer("a1", json!({}), &[]);
        there.spec.location = Some("shelf 3".into());
        assert_eq!(at(vec![there.clone(), printer("a2", json!({}), &[])], "shelf 3").unwrap().len(), 1);
        let said = at(vec![there], "shelf 4").unwrap_err().to_string();
        assert!(said.ends_with("locations are: shelf 3"), "{said}");
    }
}
