//! `acknowledge`: shows why a printer is not trusted with jobs, and trusts it again: `spec.acknowledged` gets the id of what
//! was shown.

use kube::ResourceExt as _;
use printernizer_crds::printer::Distrust;
use printernizer_crds::{ConditionType, Printer};
use serde_json::json;

use crate::arguments::Acknowledge;
use crate::cluster::Change;
use crate::error::{Error, several};
use crate::objects::{condition, of_printer, printer_name};
use crate::output::{Style, Table, clean};
use crate::person::sure;
use crate::run::Session;

/// Trusts printers again.
pub async fn acknowledge(session: &mut Session<'_>, arguments: &Acknowledge) -> Result<(), Error> {
    let mut results = Vec::new();
    let mut distrusted = Vec::new();
    for name in &arguments.printers {
        let printer: Printer = session.cluster.get(&printer_name(name)?).await?;
        match distrust(&printer) {
            Some(distrust) => distrusted.push((printer.clone(), distrust.clone())),
            None => results.push(session.tell(Err(trusted(&printer)))?),
        }
    }
    if distrusted.is_empty() {
        return several(&results);
    }
    let mut table = Table::new(&["PRINTER", "WHAT HAPPENED"]);
    for (printer, _) in &distrusted {
        table.row([(printer.name_any(), Style::Plain), (what_happened(printer), Style::Notice)]);
    }
    session.evidence(&table.render("", session.paint_aside))?;
    sure(session.person, arguments.sure.yes, "Have you looked at it, and may it print again?")?;
    for (printer, shown) in distrusted {
        let changed = session.cluster.change(printer, |now| still(now, &shown)).await;
        let result = changed.map(|change| match change {
            Change::Written(printer) => (printer, "acknowledged"),
            Change::Already(printer) => (printer, "was acknowledged already"),
        });
        results.push(session.report(result, arguments.output.output)?);
    }
    several(&results)
}

/// Why the printer is not trusted.
pub fn distrust(printer: &Printer) -> Option<&Distrust> {
    printer.status.as_ref().and_then(|s| s.distrust.as_ref())
}

/// What happened, without what is to be written about it.
pub fn what_happened(printer: &Printer) -> String {
    let told = condition(of_printer(printer), ConditionType::Trusted).map(|c| clean(&c.message)).unwrap_or_default();
    let until = told.find("; look at the printer").unwrap_or(told.len());
    told.get(..until).unwrap_or_default().to_owned()
}

fn still(now: &Printer, shown: &Distrust) -> Result<Option<serde_json::Value>, Error> {
    match distrust(now) {
        Some(distrust) if distrust.id != shown.id => Err(Error::NotNow(format!(
            "printer {}: something else has happened since: {}. Look again",
            now.name_any(),
            what_happened(now)
        ))),
        Some(_) if now.spec.acknowledged.as_ref() == Some(&shown.id) => Ok(None),
        Some(_) => Ok(Some(json!({ "acknowledged": shown.id }))),
        None => Err(trusted(now)),
    }
}

fn trusted(printer: &Printer) -> Error {
    Error::NotNow(format!("printer {}: nothing speaks against giving it jobs", printer.name_any()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::testing::printer;

    fn quarantined(id: &str) -> Printer {
        let message =
            format!("two prints in a row have failed; look at the printer, then set spec.acknowledged to {id}");
        let distrust = json!({ "status": { "distrust": { "id": id, "reason": "Quarantined" } } });
        printer("a1", distrust, &[("Trusted", "False", "Quarantined", &message)])
    }

    #[test]
    fn only_what_was_shown_is_acknowledged() {
        let first = quarantined("1");
        assert_eq!(what_happened(&first), "two prints in a row have failed");
        let shown = distrust(&first).unwrap().clone();
        assert_eq!(still(&first, &shown).unwrap(), Some(json!({ "acknowledged": "1" })));
        let mut done = first.clone();
        done.spec.acknowledged = Some("1".into());
        assert_eq!(still(&done, &shown).unwrap(), None);
        assert!(still(&quarantined("2"), &shown).unwrap_err().to_string().contains("something else has happened"));
        assert!(
            still(&printer("a1", json!({}), &[]), &shown).unwrap_err().to_string().contains("nothing speaks against")
        );
    }
}
