use serde_json::json;

use super::*;
use crate::objects::testing::{job, merge, now, occupied, printer};
use crate::output::Paint;

const ACCEPTED: (&str, &str, &str, &str) = ("Accepted", "True", "FileRead", "sliced for COREONE");

fn waiting(name: &str, reason: &str, message: &str, more: serde_json::Value) -> PrintJob {
    let mut object = json!({ "status": { "waitingFor": reason, "message": message } });
    merge(&mut object, more);
    job(name, "Pending", object, &[ACCEPTED, ("Scheduled", "False", reason, message)])
}

fn shown(why: &Why) -> String {
    render::text(why, false, &Flags::default(), Paint::default())
}

#[test]
fn a_job_that_no_printer_fits_names_what_each_lacks_the_nearest_first() {
    let petg = json!({
        "spec": { "displayName": "Cable clip" },
        "status": { "file": { "filaments": [{ "index": 1, "material": "PETG", "grams": "12.3" }] } },
    });
    let job = waiting("clip-1", "NoMatchingPrinter", "3 printers: 2 no PETG, 1 wrong model", petg);
    let a1 = json!({ "spec": { "model": "Bambu Lab A1" } });
    let coarse = json!({ "spec": { "capabilities": { "nozzle": { "diameterMicrometers": 600 } } } });
    let printers = [printer("a1-1", a1, &[]), printer("prusa-1", coarse, &[]), printer("prusa-2", json!({}), &[])];
    let why = explain(&job, std::slice::from_ref(&job), &printers, now());
    let expected = "\
clip-1 (\"Cable clip\"): Pending, NoMatchingPrinter
  3 printers: 2 no PETG, 1 wrong model
  It needs: COREONE, 0.4 mm nozzle, PETG (12.3 g), about 25m

  PRINTER  FITS  WHAT KEEPS IT
  prusa-2  no    no PETG
  prusa-1  no    wrong nozzle (has 0.6 mm; the job wants 0.4 mm)
  a1-1     no    wrong model (Bambu Lab A1; the job is for Prusa CORE One)
";
    assert_eq!(shown(&why), expected);
}

#[test]
fn a_job_that_fits_names_what_keeps_each_printer_and_what_helps() {
    let job = waiting("clip-3", "WaitingForBed", "the next job for prusa-1 (bed not confirmed clear)", json!({}));
    let first = waiting("urgent", "Queued", "waits", json!({ "spec": { "priority": 10 } }));
    let mut busy = crate::objects::testing::job(
        "long",
        "Printing",
        json!({ "status": { "progress": { "percent": 5, "remaining": "2h5m" } } }),
        &[ACCEPTED, ("Started", "True", "PrintSeen", "printing")],
    );
    busy.metadata.uid = Some("uid-of-long".into());
    let claimed = json!({ "status": { "currentJob": { "name": "long", "uid": "uid-of-long", "attempt": 1 } } });
    let held = json!({ "spec": { "unschedulable": true, "unschedulableReason": "new belt" } });
    let printers = [
        occupied("prusa-1", "PartOnBed", json!({ "job": "shelf-hook-2", "displayName": "Shelf hook" })),
        printer("prusa-2", claimed, &[]),
        printer("prusa-3", held, &[]),
        printer("a1-1", json!({ "spec": { "model": "Bambu Lab A1" } }), &[]),
    ];
    let why = explain(&job, &[job.clone(), first, busy], &printers, now());
    let expected = "\
clip-3: Pending, WaitingForBed
  the next job for prusa-1 (bed not confirmed clear)
  It needs: COREONE, 0.4 mm nozzle, PLA (12.3 g), about 25m
  2 jobs wait for a printer; 1 is before it

  PRINTER  FITS  WHAT KEEPS IT
  prusa-1  yes   its bed waits to be cleared: \"Shelf hook\"
  prusa-2  yes   it is busy with long, 2h5m left
  prusa-3  yes   it is held: new belt
  a1-1     no    wrong model (Bambu Lab A1; the job is for Prusa CORE One)

What helps:
  kubectl printernizer clear-bed prusa-1
";
    assert_eq!(shown(&why), expected);
}

#[test]
fn whatever_keeps_a_printer_is_told_in_words() {
    let windows =
        |from: &str, to: &str| json!({ "spec": { "startWindows": [{ "timeZone": "UTC", "from": from, "to": to }] } });
    let start = json!({ "status": { "lastStart": {
        "token": "0-1", "jobName": "lost", "jobUID": "u", "remoteName": "x", "deadline": "2026-11-22T11:00:00Z",
    } } });
    let distrust = json!({ "status": { "distrust": { "id": "1", "reason": "StartRefused" } } });
    let refused = [("Ready", "False", "StartRefused", "the printer refused a start; look at the printer")];
    let dialog = [("Idle", "False", "Attention", "a dialog waits on the printer's screen: answer it there")];
    let rows: Vec<(Printer, &str, Option<&str>)> = vec![
        (printer("a", json!({}), &[]), "", None),
        (
            printer("a", json!({ "metadata": { "deletionTimestamp": "2026-11-22T11:00:00Z" } }), &[]),
            "being deleted",
            None,
        ),
        (printer("a", json!({ "spec": { "unschedulable": true } }), &[]), "it is held (spec.unschedulable)", None),
        (printer("a", start, &[]), "it is not known yet what became of lost", Some("why lost")),
        (
            printer("a", distrust, &refused),
            "StartRefused: the printer refused a start; look at the printer",
            Some("acknowledge a"),
        ),
        (printer("a", json!({ "status": null }), &[]), "no operator has looked at it yet", None),
        (printer("a", json!({}), &dialog), "a dialog waits on the printer's screen: answer it there", None),
        (printer("a", windows("20:00", "22:00"), &[]), "prints may start on it from 2026-11-22T20:00:00Z on", None),
        (
            occupied("a", "PartOnBed", json!({ "job": "hook" })),
            "its bed waits to be cleared: \"hook\"",
            Some("clear-bed a"),
        ),
    ];
    let job = waiting("clip", "Queued", "waits", json!({}));
    for (printer, lacks, help) in &rows {
        let why = explain(&job, &[], std::slice::from_ref(printer), now());
        assert_eq!(why.printers[0].lacks, *lacks);
        assert_eq!(why.next.first().map(String::as_str), *help, "{lacks}");
    }
}

#[test]
fn a_job_in_any_phase_is_explained_by_the_condition_that_counts() {
    let question = json!({ "status": {
        "printer": { "name": "a1-1", "uid": "u", "serialNumber": "s" },
        "question": { "id": "1", "reason": "NoSignOfStart", "shown": { "state": "Idle" } },
    } });
    let doubt = "the printer shows no sign of it. Look at the printer, then set spec.outcome";
    let printing = json!({ "status": {
        "printer": { "name": "a1-1", "uid": "u", "serialNumber": "s" }, "progress": { "percent": 42, "remaining": "19m" },
    } });
    let paused =
        json!({ "status": { "pausedByUs": true, "waitingFor": "PausedAsAsked", "message": "paused as asked" } });
    let file = json!({ "status": { "file": null, "waitingFor": "FileNotFound", "message": "the file is not there" } });
    let held =
        json!({ "spec": { "desiredState": "Pause" }, "status": { "waitingFor": "Held", "message": "held back" } });
    let failed = [("Failed", "True", "DeadlineExceeded", "not started in time")];
    let rows: Vec<(PrintJob, Option<&str>, &str, Option<&str>)> = vec![
        (job("j", "Pending", json!({ "status": null }), &[]), None, "no operator has looked at it yet", None),
        (
            job("j", "Pending", file, &[("Accepted", "False", "FileNotFound", "the file is not there")]),
            Some("FileNotFound"),
            "the file is not there",
            None,
        ),
        (job("j", "Held", held, &[ACCEPTED]), Some("Held"), "held back", Some("release j")),
        (
            job("j", "AttentionNeeded", question, &[ACCEPTED, ("OutcomeUnknown", "True", "NoSignOfStart", doubt)]),
            Some("NoSignOfStart"),
            "the printer shows no sign of it (printer a1-1)",
            Some("outcome j"),
        ),
        (
            job("j", "Printing", printing, &[ACCEPTED, ("Started", "True", "PrintSeen", "printing")]),
            Some("PrintSeen"),
            "printing (printer a1-1); 42%, 19m left",
            None,
        ),
        (
            job("j", "Paused", paused, &[ACCEPTED, ("Started", "True", "PausedAsAsked", "paused as asked")]),
            Some("PausedAsAsked"),
            "paused as asked",
            Some("resume j"),
        ),
        (job("j", "Failed", json!({}), &failed), Some("DeadlineExceeded"), "not started in time", None),
        (
            job("j", "Succeeded", json!({}), &[("Complete", "True", "PrintSucceeded", "printed")]),
            Some("PrintSucceeded"),
            "printed",
            None,
        ),
    ];
    for (job, reason, message, help) in &rows {
        let why = explain(job, &[], &[], now());
        assert_eq!(why.reason.as_deref(), *reason, "{message}");
        assert!(why.message.starts_with(message), "{}", why.message);
        assert_eq!(why.next.first().map(String::as_str), *help, "{message}");
    }
}

#[test]
fn of_a_large_farm_the_nearest_printers_are_listed() {
    let job = waiting("clip", "Queued", "waits", json!({}));
    let printers: Vec<_> = (0..40).map(|n| printer(&format!("p-{n:02}"), json!({}), &[])).collect();
    let why = explain(&job, &[], &printers, now());
    assert!(shown(&why).contains("  and 25 more, further from fitting; -o wide lists them\n"));
    assert_eq!(render::text(&why, true, &Flags::default(), Paint::default()).matches("\n  p-").count(), 40);
}

#[test]
fn what_only_the_operator_knows_is_named_where_a_printer_is_free() {
    let job = waiting("clip", "Queued", "waits", json!({}));
    let free = shown(&explain(&job, &[], &[printer("a", json!({}), &[])], now()));
    assert!(
        free.contains("  a        yes   nothing is seen\n  Not seen from here: whether the operator holds all starts"),
        "{free}"
    );
    let busy = shown(&explain(&job, &[], &[occupied("a", "PartOnBed", json!({}))], now()));
    assert!(!busy.contains("Not seen from here"), "{busy}");
}

#[test]
fn a_job_that_backs_off_stands_in_nobodys_way_and_says_until_when() {
    let later = json!({ "status": { "notBefore": "2026-11-22T12:05:00Z" }, "spec": { "priority": 10 } });
    let over = json!({ "status": { "notBefore": "2026-11-22T11:55:00Z" }, "spec": { "priority": 10 } });
    let pausing =
        waiting("pausing", "BackingOff", "the next attempt is made after 2026-11-22T12:05:00Z", later.clone());
    let urgent = waiting("urgent", "Queued", "waits", over);
    let job = waiting("clip", "Queued", "waits", json!({}));
    let jobs = [job.clone(), pausing.clone(), urgent];
    assert_eq!(explain(&job, &jobs, &[], now()).line, Some(Line { before: 1, all: 2 }));
    let said = explain(&pausing, &jobs, &[], now());
    assert_eq!((said.line, said.not_before.is_some()), (None, true));
    assert!(!shown(&said).contains("It is given no printer before"), "the operator has said it");
    let unsaid = shown(&explain(&waiting("pausing", "Queued", "waits", later), &jobs, &[], now()));
    assert!(unsaid.contains("It is given no printer before 2026-11-22T12:05:00Z"), "{unsaid}");
}

#[test]
fn a_printer_that_could_not_start_the_job_is_passed_over_while_another_fits() {
    let avoid = |until: &str| json!({ "status": { "avoid": { "name": "a", "until": until } } });
    let job = waiting("clip", "Queued", "waits", avoid("2026-11-22T12:30:00Z"));
    let lacks = |job: &PrintJob, others: &[Printer]| {
        let printers = [&[printer("a", json!({}), &[])], others].concat();
        explain(job, &[], &printers, now()).printers.into_iter().find(|p| p.name == "a").unwrap().lacks
    };
    let occupied = occupied("b", "PartOnBed", json!({}));
    let said = lacks(&job, std::slice::from_ref(&occupied));
    assert!(said.contains("others that fit come first until 2026-11-22T12:30:00Z"), "{said}");
    assert_eq!(lacks(&job, &[]), "", "there is no other");
    assert_eq!(lacks(&job, &[printer("b", json!({ "spec": { "unschedulable": true } }), &[])]), "");
    assert_eq!(lacks(&job, &[printer("b", json!({ "spec": { "model": "Bambu Lab A1" } }), &[])]), "");
    let over = waiting("clip", "Queued", "waits", avoid("2026-11-22T11:59:00Z"));
    assert_eq!(lacks(&over, &[occupied]), "", "that is over");
}
