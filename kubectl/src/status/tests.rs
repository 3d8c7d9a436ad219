use serde_json::json;

use super::render::{Place, text};
use super::*;
use crate::backups::testing::policy;
use crate::objects::Flags;
use crate::objects::testing::{job, now, occupied, printer};
use crate::output::Paint;

fn printing(name: &str, holder: &str) -> Printer {
    let more = json!({ "status": {
        "state": "Printing", "currentJob": { "name": holder, "uid": format!("uid-of-{holder}"), "attempt": 1 },
        "bed": { "occupancyID": "1", "printInProgress": true },
        "slots": [{ "slot": "Main", "material": "PLA", "source": "Declared" }],
    } });
    let rows =
        [("BedCleared", "False", "PrintInProgress", "a print is running"), ("Idle", "False", "Printing", "prints")];
    printer(name, more, &rows)
}

fn farm() -> (Vec<Printer>, Vec<PrintJob>) {
    let refused = [("Ready", "False", "CredentialsRefused", "copy the code from the printer's screen into the Secret")];
    let held = json!({ "spec": { "unschedulable": true, "unschedulableReason": "new belt" } });
    let printers = vec![
        printer("a1-1", json!({ "status": { "state": "Unknown" } }), &refused),
        printing("a1-2", "label-left"),
        printer("a1-3", held, &[]),
        occupied("prusa-1", "PartOnBed", json!({ "job": "shelf-hook-2", "displayName": "Shelf hook" })),
    ];
    let progress = json!({ "status": { "progress": { "percent": 28, "summary": "28%", "remaining": "19m" } } });
    let question = json!({ "status": {
        "waitingFor": "NoSignOfStart",
        "question": { "id": "1", "reason": "NoSignOfStart", "shown": { "state": "Idle" } },
    } });
    let doubt =
        "the start was sent or may have been, and the printer shows no sign of it. Look at the printer, then set ...";
    let misfit = json!({ "status": { "waitingFor": "NoMatchingPrinter", "message": "4 printers: 4 no PETG" } });
    let jobs = vec![
        job("clip-1", "AttentionNeeded", question, &[("OutcomeUnknown", "True", "NoSignOfStart", doubt)]),
        job("label-left", "Printing", progress, &[("Started", "True", "PrintSeen", "printing")]),
        job("petg", "Pending", misfit, &[("Scheduled", "False", "NoMatchingPrinter", "4 printers: 4 no PETG")]),
        job(
            "q-1",
            "Pending",
            json!({ "status": { "waitingFor": "Queued" } }),
            &[("Scheduled", "False", "Queued", "waits")],
        ),
        job(
            "q-2",
            "Pending",
            json!({ "status": { "waitingFor": "Queued" } }),
            &[("Scheduled", "False", "Queued", "waits")],
        ),
        job("done", "Succeeded", json!({}), &[("Complete", "True", "PrintSucceeded", "printed")]),
        job("bad", "Failed", json!({}), &[("Failed", "True", "PrintFailed", "the printer gave up")]),
    ];
    (printers, jobs)
}

#[test]
fn a_farm_is_shown_with_what_waits_for_a_person_first() {
    let (printers, jobs) = farm();
    let overview = overview(&printers, &jobs, &[], now());
    let expected = r#"4 things wait for a person
  job clip-1       what became of its print? the start was sent or may have been, and the printer shows no sign of it
                   kubectl printernizer outcome clip-1
  printer a1-1     CredentialsRefused: copy the code from the printer's screen into the Secret
  printer prusa-1  the bed: "Shelf hook" (job shelf-hook-2, 12m)  kubectl printernizer clear-bed prusa-1
  job petg         no printer fits: 4 printers: 4 no PETG
                   kubectl printernizer why petg

4 printers: 1 printing, 1 bed waits to be cleared
  NAME     STATE     JOB         PROGRESS  LEFT  BED              TROUBLE
  a1-1     Unknown                               Cleared          CredentialsRefused
  a1-2     Printing  label-left  28%       19m   PrintInProgress
  a1-3     Idle                                  Cleared          held: new belt
  prusa-1  Idle                                  PartOnBed

7 jobs
  PHASE            JOBS  BECAUSE OF
  AttentionNeeded  1     NoSignOfStart 1
  Printing         1
  Pending          3     NoMatchingPrinter 1, Queued 2
  Succeeded        1
  Failed           1     PrintFailed 1
"#;
    assert_eq!(text(&overview, Place::One("farm"), false, &Flags::default(), Paint::default()), expected);
}

#[test]
fn commands_name_the_namespace_where_it_is_not_the_one_people_are_in() {
    let (printers, jobs) = farm();
    let overview = overview(&printers, &jobs, &[], now());
    let named = text(&overview, Place::One("farm"), false, &Flags::default().within("farm"), Paint::default());
    assert!(named.contains("kubectl printernizer clear-bed prusa-1 -n farm\n"), "{named}");
    let all = text(&overview, Place::All, true, &Flags::default(), Paint::default());
    assert!(all.contains("kubectl printernizer outcome clip-1 -n farm\n") && all.contains("job farm/clip-1"), "{all}");
    let wide = "  farm       a1-2     Printing  label-left  28%       19m   PrintInProgress                                Prusa CORE \
                One  PLA     6.4.0     192.168.1.51:80\n";
    assert!(all.contains(wide), "{all}");
}

#[test]
fn a_farm_at_rest_and_an_empty_one_say_so() {
    let quiet = overview(&[printer("a1", json!({}), &[])], &[], &[], now());
    let shown = text(&quiet, Place::One("farm"), false, &Flags::default(), Paint::default());
    let expected = "\
Nothing waits for a person

1 printer
  NAME  STATE  JOB  PROGRESS  LEFT  BED
  a1    Idle                        Cleared
";
    assert_eq!(shown, expected);
    let empty = text(&Overview::default(), Place::One("farm"), false, &Flags::default(), Paint::default());
    assert!(empty.starts_with("There are no printers and no jobs in namespace farm."), "{empty}");
}

#[test]
fn a_backup_outside_its_objectives_waits_for_a_person_and_a_good_one_is_not_spoken_of() {
    let late = [("RecoveryPointObjectiveMet", "False", "ObjectiveMissed", "5 hours could be lost")];
    let policies = [policy("files", json!({}), &[]), policy("shop", json!({}), &late)];
    let shown = overview(&[printer("a1", json!({}), &[])], &[], &policies, now());
    let shown = text(&shown, Place::One("farm"), false, &Flags::default(), Paint::default());
    let expected = "\
1 thing waits for a person
  backup policy shop  ObjectiveMissed: 5 hours could be lost
                      kubectl printernizer backup-now shop

1 printer
";
    assert!(shown.starts_with(expected), "{shown}");
    let alone = overview(&[], &[], &policies, now());
    let alone = text(&alone, Place::All, false, &Flags::default(), Paint::default());
    assert!(alone.contains("backup policy farm/shop") && alone.contains("backup-now shop -n farm"), "{alone}");
}

#[test]
fn objects_that_no_operator_has_looked_at_are_told_of_after_a_moment() {
    let old = json!({ "metadata": { "creationTimestamp": "2026-11-22T11:59:30Z" }, "status": null });
    let young = json!({ "metadata": { "creationTimestamp": "2026-11-22T11:59:31Z" }, "status": null });
    let seen = overview(&[printer("a1", young.clone(), &[])], &[job("clip", "Pending", young, &[])], &[], now());
    assert_eq!(seen.unseen, 0);
    let unseen = overview(&[printer("a1", old.clone(), &[])], &[job("clip", "Pending", old, &[])], &[], now());
    assert_eq!(unseen.unseen, 2);
    let shown = text(&unseen, Place::One("farm"), false, &Flags::default(), Paint::default());
    assert!(shown.starts_with("2 objects were not looked at by any operator"), "{shown}");
}

/// What is said, and the command for it.
type Told = (&'static str, Option<&'static str>);

#[test]
fn each_thing_a_person_must_do_is_found_where_it_stands() {
    let distrust = json!({ "status": { "distrust": { "id": "1", "reason": "Quarantined" } } });
    let trusted = "two prints in a row have failed; look at the printer, then set spec.acknowledged to 1";
    let quarantined = [("Trusted", "False", "Quarantined", trusted), ("Ready", "False", "Quarantined", trusted)];
    let dialog = [("Idle", "False", "Attention", "a dialog waits on the printer's screen: answer it there")];
    let holder = json!({ "status": { "currentJob": { "name": "clip", "uid": "u", "attempt": 1 } } });
    let rows: Vec<(Printer, &[Told])> = vec![
        (printer("a1", json!({}), &[]), &[]),
        (printer("a1", distrust, &quarantined), &[("two prints in a row have failed", Some("acknowledge a1"))]),
        (printer("a1", json!({}), &dialog), &[("a dialog waits on the printer's screen: answer it there", None)]),
        (printer("a1", holder, &dialog), &[]),
        (printer("a1", json!({}), &[("Ready", "False", "BeingDeleted", "deleted")]), &[]),
        (printer("a1", json!({}), &[("Ready", "Unknown", "Connecting", "connecting")]), &[]),
        (
            occupied("a1", "NeverConfirmed", json!({})),
            &[("the bed: nobody has looked yet (12m)", Some("clear-bed a1"))],
        ),
        (occupied("a1", "PrintInProgress", json!({ "printInProgress": true })), &[]),
    ];
    for (printer, expected) in &rows {
        let needs = needs_of_printer(printer, &[], now());
        let found: Vec<_> = needs.iter().map(|n| (n.what.as_str(), n.command.as_deref())).collect();
        assert_eq!(found, *expected);
    }
    let stalled = json!({ "status": { "message": "the file is not there" } });
    let rows: Vec<(PrintJob, Option<&str>)> = vec![
        (
            job("clip", "Pending", stalled, &[("Stalled", "True", "FileNotFound", "the file is not there")]),
            Some("the file is not there"),
        ),
        (job("clip", "Pending", json!({}), &[("Scheduled", "False", "Queued", "waits")]), None),
        (job("clip", "Paused", json!({}), &[("Started", "True", "PausedAsAsked", "paused")]), None),
        (
            job("clip", "Paused", json!({}), &[("Started", "True", "PausedAtPrinter", "no filament")]),
            Some("paused at the machine: no filament"),
        ),
        (job("clip", "Printing", json!({}), &[("Started", "True", "PrintSeen", "printing")]), None),
        (job("clip", "Failed", json!({}), &[("Failed", "True", "PrintFailed", "it failed")]), None),
    ];
    for (job, expected) in &rows {
        assert_eq!(need_of_job(job).map(|n| n.what).as_deref(), *expected);
    }
}
