//! Printers a job is not given to for a while, or is not the next for.

use printernizer_crds::print_job::AvoidedPrinter;

use super::*;

fn avoiding(printer: &str, until: &str) -> PrintJob {
    let mut job = job("clip");
    job.status.as_mut().unwrap().avoid = Some(AvoidedPrinter { name: printer.into(), until: Time(at(until)) });
    job
}

#[test]
fn a_printer_that_could_not_start_the_job_is_passed_over_while_another_one_fits() {
    let later = "2026-11-21T10:15:00Z";
    let run = |printers: &[Printer]| run(&[avoiding("one", later)], printers);
    assert_eq!(pairs(&run(&[printer("one"), printer("two")])), [("clip", "two")]);
    // Also while the other one is busy; the moment that changes this is known.
    let waits = run(&[printer("one"), busy("two")]);
    assert_eq!((pairs(&waits), waits.next_change), (vec![], Some(at(later))));
    assert_eq!(waiting(&waits, "clip"), &Waiting::Queued);
    // Not for one that does not fit, is out of service or is going.
    let mut others = [printer("two"), printer("two"), printer("two")];
    others[0].spec.slots.clear();
    others[1].spec.unschedulable = true;
    others[2].metadata.deletion_timestamp = Some(Time(at(NOW)));
    for other in others {
        assert_eq!(pairs(&run(&[printer("one"), other])), [("clip", "one")]);
    }
    assert_eq!(pairs(&run(&[printer("one")])), [("clip", "one")]);
}

#[test]
fn a_printer_is_passed_over_by_that_job_and_for_that_time_only() {
    let farm = [printer("one"), busy("two")];
    assert_eq!(pairs(&run(&[avoiding("one", NOW)], &farm)), [("clip", "one")]);
    let other = job("other");
    assert_eq!(pairs(&run(&[avoiding("one", "2026-11-21T10:15:00Z"), other], &farm)), [("other", "one")]);
    let mut named = avoiding("one", "2026-11-21T10:15:00Z");
    named.spec.printer_ref = Some(PrinterReference { name: "one".into() });
    assert_eq!(pairs(&run(&[named], &farm)), [("clip", "one")], "a person chose it");
}

#[test]
fn a_job_is_never_the_next_for_a_printer_it_does_not_fit_or_passes_over() {
    let mut petg = job("clip");
    petg.status.as_mut().unwrap().file.as_mut().unwrap().filaments = vec![filament(1, "PETG", "#F5A623", "3")];
    let mut fits = busy("two");
    fits.spec.slots = vec![declared("Main", "PETG", "#F5A623")];
    let schedule = run(&[petg], &[dirty("one"), fits]);
    assert_eq!(*waiting(&schedule, "clip"), Waiting::Queued, "the bed of one is not what it waits for");
    let schedule = run(&[avoiding("one", "2026-11-21T10:15:00Z")], &[dirty("one"), busy("two")]);
    assert_eq!(*waiting(&schedule, "clip"), Waiting::Queued);
}
