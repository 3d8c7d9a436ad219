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

fn run_resting(jobs: &[PrintJob], printers: &[Printer], resting: &[&str], until: &str) -> Schedule {
    let printers = printers.iter().map(|printer| PrinterView { printer, ready_for_start: true }).collect();
    let resting = resting.iter().map(|name| (format!("uid-of-{name}"), at(until))).collect();
    schedule(&Input { jobs: jobs.iter().collect(), printers, held: None, resting }, at(NOW))
}

/// Otherwise each of them is given the printer in turn, waits there for a file that does not come, and gives it back.
#[test]
fn a_job_whose_file_cannot_be_had_leaves_the_printer_to_others_and_is_given_one_in_its_time() {
    let until = "2026-11-21T10:00:30Z";
    let (mut first, mut second) = (job("first"), job("second"));
    (first.spec.priority, second.spec.priority) = (10, 5);
    let jobs = [first, second, job("third")];
    let run = |printers: &[Printer], until| run_resting(&jobs, printers, &["first", "second"], until);
    let one = run(&[printer("one")], until);
    assert_eq!(pairs(&one), [("third", "one")]);
    assert_eq!(one.next_change, Some(at(until)));
    // Of many one is told, so that no outage writes to all of them.
    let first = waiting(&one, "first");
    assert_eq!((first.reason(), waiting(&one, "second")), (Reason::WaitingForFile, &Waiting::Queued));
    assert!(first.message().contains("kubectl get printjobs") && !first.message().contains("10:00"), "{first:?}");
    assert_eq!(pairs(&run(&[printer("one")], NOW)), [("first", "one")]);
    // Where no printer is free for them, that is what they wait for.
    let taken = run(&[busy("one")], until);
    assert_eq!((waiting(&taken, "first"), taken.next_change), (&Waiting::Queued, None));
    let dirty = run(&[dirty("one")], until);
    assert_eq!(waiting(&dirty, "first").reason(), Reason::WaitingForBed);
}
