//! The schedule by example: who goes first, where to, and what those that wait are told.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use printernizer_crds::print_job::{ClaimedPrinter, DesiredState, PrinterReference};
use printernizer_crds::printer::{CurrentJob, PrusaLinkConnection, StartWindow};
use printernizer_crds::{RUN_ANNOTATION, Reason};

use super::super::fixtures::{NOW, at, condition, declared, filament, job, printer};
use super::super::waiting::QUEUED_MESSAGE;
use super::*;

mod passing_over;

fn run(jobs: &[PrintJob], printers: &[Printer]) -> Schedule {
    run_with(jobs, printers, false)
}

fn run_with(jobs: &[PrintJob], printers: &[Printer], hold_starts: bool) -> Schedule {
    let printers = printers.iter().map(|printer| PrinterView { printer, ready_for_start: true }).collect();
    schedule(
        &Input {
            jobs: jobs.iter().collect(),
            printers,
            held: hold_starts.then_some(HOLD_STARTS),
            resting: BTreeMap::new(),
        },
        at(NOW),
    )
}

fn pairs(schedule: &Schedule) -> Vec<(&str, &str)> {
    schedule.assignments.iter().map(|a| (a.job.as_str(), a.printer.as_str())).collect()
}

fn waiting<'a>(schedule: &'a Schedule, job: &str) -> &'a Waiting {
    &schedule.waiting[&JobKey { namespace: "farm".into(), name: job.into() }]
}

fn told(schedule: &Schedule, job: &str) -> String {
    let waiting = waiting(schedule, job);
    assert_eq!(waiting.reason(), Reason::NoMatchingPrinter, "{waiting:?}");
    waiting.message()
}

fn busy(name: &str) -> Printer {
    let mut busy = printer(name);
    busy.status.as_mut().unwrap().conditions.retain(|c| c.type_ != "Idle");
    busy
}

#[test]
fn a_waiting_job_goes_to_a_free_printer_with_its_mapping() {
    let schedule = run(&[job("clip")], &[printer("one")]);
    let expected = Assignment {
        namespace: "farm".into(),
        job: "clip".into(),
        job_uid: "uid-of-clip".into(),
        printer: "one".into(),
        printer_uid: "uid-of-one".into(),
        mapping: vec![SlotChoice { index: 1, slot: "Main".into() }],
    };
    assert_eq!(schedule, Schedule { assignments: vec![expected], ..Schedule::default() });
}

#[test]
fn a_copy_of_a_job_gets_no_printer_whatever_its_restored_status_says() {
    let annotated = |uid: &str| {
        let mut job = job("clip");
        job.metadata.annotations = Some([(RUN_ANNOTATION.to_owned(), uid.to_owned())].into());
        job
    };
    assert_eq!(pairs(&run(&[annotated("uid-of-clip")], &[printer("one")])), [("clip", "one")]);
    assert_eq!(run(&[annotated("uid-of-another")], &[printer("one")]), Schedule::default());
}

#[test]
fn the_urgent_go_first_then_the_older_ones() {
    let mut late = job("a-late");
    late.status.as_mut().unwrap().queued_time = Some(Time(at("2026-11-20T00:00:01Z")));
    let mut urgent = job("z-urgent");
    urgent.spec.priority = 1;
    let mut young = job("b-young");
    young.metadata.creation_timestamp = Some(Time(at("2026-11-02T00:00:00Z")));
    let schedule = run(&[late, young, job("c-old"), urgent], &[printer("1"), printer("2"), printer("3")]);
    assert_eq!(pairs(&schedule), [("z-urgent", "1"), ("c-old", "2"), ("b-young", "3")]);
    assert_eq!(*waiting(&schedule, "a-late"), Waiting::Queued);
}

#[test]
fn the_best_printer_is_nearest_in_color_then_simplest_then_longest_idle() {
    let mut red = printer("a");
    red.spec.slots[0].color = Some("#FF0000".into());
    let mut rich = printer("b");
    rich.spec.slots.push(declared("External", "TPU", "#000000"));
    let mut recent = printer("c");
    recent.status.as_mut().unwrap().conditions[2] = condition("Idle", "True", "2026-11-21T00:00:00Z");
    let jobs: Vec<_> = (1..=5).map(|n| job(&format!("job-{n}"))).collect();
    let schedule = run(&jobs, &[red, rich, recent, printer("e"), printer("d")]);
    assert_eq!(pairs(&schedule), [("job-1", "d"), ("job-2", "e"), ("job-3", "c"), ("job-4", "b"), ("job-5", "a")]);
}

#[test]
fn a_job_that_must_wait_keeps_no_printer_from_others() {
    let mut first = job("first");
    first.spec.priority = 10;
    first.spec.printer_ref = Some(PrinterReference { name: "busy".into() });
    let schedule = run(&[first, job("second")], &[busy("busy"), printer("free")]);
    assert_eq!(pairs(&schedule), [("second", "free")]);
    assert_eq!(*waiting(&schedule, "first"), Waiting::Queued);
}

#[test]
fn objects_of_different_namespaces_never_meet() {
    let mut elsewhere = printer("one");
    elsewhere.metadata.namespace = Some("other".into());
    let schedule = run(&[job("clip")], &[elsewhere]);
    assert_eq!(pairs(&schedule), []);
    assert_eq!(told(&schedule, "clip"), "no printer in this namespace");
}

fn set(printer: &mut Printer, type_: &str, is: &str, reason: Reason) {
    let conditions = &mut printer.status.as_mut().unwrap().conditions;
    conditions.retain(|c| c.type_ != type_);
    let mut condition = condition(type_, is, NOW);
    condition.reason = reason.as_str().into();
    conditions.push(condition);
}

fn dirty(name: &str) -> Printer {
    let mut dirty = printer(name);
    set(&mut dirty, "BedCleared", "False", Reason::PartOnBed);
    dirty
}

fn printing(name: &str) -> Printer {
    let mut printing = printer(name);
    set(&mut printing, "BedCleared", "False", Reason::PrintInProgress);
    set(&mut printing, "Idle", "False", Reason::Printing);
    let current = CurrentJob { name: "other".into(), ..CurrentJob::default() };
    printing.status.as_mut().unwrap().current_job = Some(current);
    printing
}

#[test]
fn what_passes_by_itself_is_called_queued() {
    let mut connecting = printer("one");
    set(&mut connecting, "Ready", "Unknown", Reason::Connecting);
    let mut new = printer("one");
    new.status = None;
    let mut ending = printer("one");
    set(&mut ending, "Idle", "False", Reason::Printing);
    for printer in [busy("one"), printing("one"), ending, connecting, new] {
        let schedule = run(&[job("clip")], &[printer]);
        assert_eq!(*waiting(&schedule, "clip"), Waiting::Queued);
        assert_eq!(waiting(&schedule, "clip").message(), QUEUED_MESSAGE);
    }
}

#[test]
fn the_next_job_for_a_printer_is_told_what_the_printer_needs() {
    type Change = fn(&mut Printer);
    let rows: &[(Change, Reason, &str)] = &[
        (
            |p| set(p, "BedCleared", "False", Reason::PartOnBed),
            Reason::WaitingForBed,
            "the next job for one (bed not confirmed clear); `kubectl describe printer one` says what to do",
        ),
        (|p| p.spec.unschedulable = true, Reason::WaitingForPrinter, "one (unschedulable)"),
        (
            |p| set(p, "Ready", "False", Reason::StartRefused),
            Reason::WaitingForPrinter,
            "one (not ready: StartRefused)",
        ),
        (
            |p| {
                set(p, "Ready", "False", Reason::ControlRefused);
                let ready = p.status.as_mut().unwrap().conditions.iter_mut().find(|c| c.type_ == "Ready");
                ready.unwrap().message = "switch on Developer Mode".into();
            },
            Reason::WaitingForPrinter,
            "one (not ready: switch on Developer Mode)",
        ),
        (|p| set(p, "Idle", "False", Reason::Attention), Reason::WaitingForPrinter, "one (not idle: Attention)"),
        (
            |p| {
                set(p, "Idle", "False", Reason::Occupied);
                set(p, "BedCleared", "False", Reason::PrintInProgress);
            },
            Reason::WaitingForPrinter,
            "one (not idle: Occupied)",
        ),
    ];
    for (change, reason, text) in rows {
        let mut printer = printer("one");
        change(&mut printer);
        let schedule = run(&[job("first"), job("second")], &[printer]);
        let first = waiting(&schedule, "first");
        assert!(first.message().contains(text), "{}", first.message());
        assert_eq!(first.reason(), *reason);
        assert_eq!(*waiting(&schedule, "second"), Waiting::Queued, "only the next one is told");
    }
    let held = run_with(&[job("clip")], &[printer("one")], true);
    assert_eq!(pairs(&held), []);
    assert!(waiting(&held, "clip").message().contains("--hold-starts"));
}

#[test]
fn each_printer_has_one_next_job_which_is_one_that_fits() {
    let mut named = job("b-named");
    named.spec.printer_ref = Some(PrinterReference { name: "two".into() });
    let mut first = job("a-first");
    first.spec.printer_ref = Some(PrinterReference { name: "one".into() });
    let schedule = run(&[first, named, job("c-any")], &[dirty("one"), dirty("two"), dirty("three")]);
    for (job, printer) in [("a-first", "one"), ("b-named", "two"), ("c-any", "three")] {
        let told = waiting(&schedule, job).message();
        assert!(told.starts_with(&format!("the next job for {printer} (bed not confirmed clear);")), "{told}");
    }
    let both = run(&[job("clip")], &[dirty("one"), dirty("two"), printing("three")]);
    let told = waiting(&both, "clip").message();
    assert!(told.contains("one (bed not confirmed clear) or two (bed not confirmed clear);"), "{told}");
}

/// How many jobs are told something else than before, other than those that got a printer.
fn told_anew(before: &Schedule, after: &Schedule) -> usize {
    after.waiting.iter().filter(|(job, waiting)| before.waiting.get(*job) != Some(*waiting)).count()
}

#[test]
fn of_a_thousand_waiting_jobs_at_most_the_next_one_hears_of_a_bed_or_a_start() {
    let jobs: Vec<_> = (0..1000).map(|n| job(&format!("job-{n:04}"))).collect();
    for (farm, heard) in [(1, [0, 0, 1]), (3, [1, 0, 1]), (4, [1, 0, 1]), (100, [0, 0, 0])] {
        let names: Vec<_> = (0..farm).map(|n| format!("printer-{n:03}")).collect();
        let mut printers: Vec<_> = names.iter().map(|n| dirty(n)).collect();
        let waits = run(&jobs, &printers);
        assert_eq!((waits.assignments.len(), waits.waiting.len()), (0, 1000));
        printers[0] = printer(&names[0]);
        let cleared = run(&jobs, &printers);
        assert_eq!(pairs(&cleared), [("job-0000", names[0].as_str())]);
        printers[0] = printing(&names[0]);
        let started = run(&jobs[1..], &printers);
        printers[0] = dirty(&names[0]);
        let ended = run(&jobs[1..], &printers);
        let counts = [told_anew(&waits, &cleared), told_anew(&cleared, &started), told_anew(&started, &ended)];
        assert_eq!(counts, heard, "a farm of {farm}: a bed cleared, a print started, a print ended");
    }
}

#[test]
fn a_thousand_jobs_for_one_named_printer_are_not_told_of_its_bed() {
    let jobs: Vec<_> = (0..1000)
        .map(|n| {
            let mut job = job(&format!("job-{n:04}"));
            job.spec.printer_ref = Some(PrinterReference { name: "one".into() });
            job
        })
        .collect();
    let schedule = run(&jobs, &[dirty("one")]);
    assert_eq!(schedule.waiting.values().filter(|w| **w != Waiting::Queued).count(), 1);
}

#[test]
fn the_session_has_its_say() {
    let (job, printer) = (job("clip"), printer("one"));
    let views = vec![PrinterView { printer: &printer, ready_for_start: false }];
    let schedule =
        schedule(&Input { jobs: vec![&job], printers: views, held: None, resting: BTreeMap::new() }, at(NOW));
    assert_eq!((pairs(&schedule), waiting(&schedule, "clip")), (vec![], &Waiting::Queued));
}

#[test]
fn who_fits_nowhere_is_told_what_excluded_how_many() {
    let nozzle = |name: &str| {
        let mut printer = busy(name);
        printer.spec.capabilities.as_mut().unwrap().nozzle.as_mut().unwrap().diameter_micrometers = Some(600);
        printer
    };
    let mut asked = job("clip");
    asked.status.as_mut().unwrap().file.as_mut().unwrap().filaments = vec![filament(1, "PETG", "#F5A623", "3")];
    let schedule = run(&[asked.clone()], &[nozzle("one"), printer("two"), nozzle("three")]);
    assert_eq!(told(&schedule, "clip"), "3 printers: 2 wrong nozzle (has 0.6 mm; the job wants 0.4 mm), 1 no PETG");

    asked.spec.printer_ref = Some(PrinterReference { name: "two".into() });
    assert_eq!(told(&run(&[asked.clone()], &[nozzle("one"), printer("two")]), "clip"), "printer two: no PETG");
    let mut silent = asked.clone();
    silent.status.as_mut().unwrap().file.as_mut().unwrap().filaments[0].material = None;
    let advice = "the file does not say which material it needs: name it in spec.requirements.materials";
    assert_eq!(told(&run(&[silent], &[printer("two")]), "clip"), advice, "it is not the printer's fault");
    asked.spec.printer_ref = Some(PrinterReference { name: "four".into() });
    let missing = run(&[asked], &[printer("two")]);
    assert_eq!(told(&missing, "clip"), "printer four does not exist in this namespace");
}

#[test]
fn a_window_nobody_can_read_is_told_with_what_is_wrong_in_it() {
    let mut odd = printer("one");
    let window =
        StartWindow { time_zone: "Europe/Bonn".into(), from: "20:00".into(), to: "22:00".into(), days: vec![] };
    odd.spec.start_windows = vec![window];
    let schedule = run(&[job("clip")], &[odd]);
    let told = waiting(&schedule, "clip").message();
    assert!(told.contains("spec.startWindows cannot be read: time zone \"Europe/Bonn\""), "{told}");
    assert_eq!(waiting(&schedule, "clip").reason(), Reason::WaitingForPrinter);
}

#[test]
fn a_part_too_high_for_one_printer_goes_to_a_higher_one() {
    let mut low = printer("a-low");
    let height = printernizer_crds::printer::BuildVolume { x: 250, y: 220, z: 100 };
    low.spec.capabilities.as_mut().unwrap().build_volume_millimeters = Some(height);
    let of_height = |name: &str, micrometers| {
        let mut job = job(name);
        job.status.as_mut().unwrap().file.as_mut().unwrap().height_micrometers = Some(micrometers);
        job
    };
    let jobs = [of_height("1-high", 100_001), of_height("2-low", 100_000)];
    let schedule = run(&jobs, &[low.clone(), printer("b")]);
    assert_eq!(pairs(&schedule), [("1-high", "b"), ("2-low", "a-low")]);
    assert_eq!(told(&run(&jobs[..1], &[low]), "1-high"), "1 printer: 1 too low for the part (has 100 mm)");
}

#[test]
fn a_spool_that_is_too_small_for_one_job_serves_another() {
    let mut printer = printer("one");
    printer.spec.slots[0].remaining_grams = Some(50);
    let weighing = |name: &str, grams: &str| {
        let mut job = job(name);
        job.status.as_mut().unwrap().file.as_mut().unwrap().filaments = vec![filament(1, "PLA", "#1F6FEB", grams)];
        job
    };
    let schedule = run(&[weighing("a-heavy", "50.001"), weighing("b-light", "50")], &[printer]);
    assert_eq!(pairs(&schedule), [("b-light", "one")]);
    assert_eq!(told(&schedule, "a-heavy"), "1 printer: 1 not enough PLA left");
}

#[test]
fn a_first_printer_without_slots_is_told_what_to_write() {
    let mut bare = printer("one");
    bare.spec.slots.clear();
    let advice = "1 printer: 1 filament not known (write what is loaded in the printer's spec.slots)";
    assert_eq!(told(&run(&[job("clip")], &[bare.clone()]), "clip"), advice);
    bare.status = None;
    let schedule = run(&[job("clip")], &[bare.clone()]);
    assert_eq!(*waiting(&schedule, "clip"), Waiting::Unconnected, "the device may still tell, once it is connected");
    let both = run(&[job("clip")], &[bare.clone(), busy("two")]);
    assert_eq!(*waiting(&both, "clip"), Waiting::Queued, "the other one is known to fit");
    let mut plate = job("clip");
    plate.status.as_mut().unwrap().file.as_mut().unwrap().format = "Gcode3mf".into();
    bare.spec.connection.prusa_link = Some(PrusaLinkConnection::default());
    let told_at_once = told(&run(&[plate], &[bare.clone()]), "clip");
    assert!(told_at_once.contains("wrong file"), "which no connection will change either: {told_at_once}");
    bare.spec.model = "Bambu Lab A1".into();
    let excluded = "1 printer: 1 wrong model (Bambu Lab A1; the job is for Prusa CORE One)";
    assert_eq!(told(&run(&[job("clip")], &[bare]), "clip"), excluded, "which no connection will change");
}

#[test]
fn a_pause_and_a_window_say_when_to_look_again() {
    let mut paused = job("paused");
    paused.status.as_mut().unwrap().not_before = Some(Time(at("2026-11-21T10:00:10Z")));
    let mut over = job("over");
    over.status.as_mut().unwrap().not_before = Some(Time(at(NOW)));
    let mut night = printer("one");
    night.spec.start_windows =
        vec![StartWindow { time_zone: "Europe/Berlin".into(), days: vec![], from: "20:00".into(), to: "22:00".into() }];
    let opening = at("2026-11-21T19:00:00Z");

    let both = run(&[paused.clone(), over.clone()], &[night.clone()]);
    assert_eq!(*waiting(&both, "paused"), Waiting::BackingOff(at("2026-11-21T10:00:10Z")));
    assert_eq!(waiting(&both, "paused").message(), "the next attempt is made after 2026-11-21T10:00:10Z");
    let next = "the next job for one (prints may start from 2026-11-21T19:00:00Z on);";
    assert!(waiting(&both, "over").message().starts_with(next), "{:?}", waiting(&both, "over"));
    assert_eq!(both.next_change, Some(at("2026-11-21T10:00:10Z")));
    assert_eq!(run(&[over.clone()], &[night.clone()]).next_change, Some(opening));
    assert_eq!(run(&[paused], &[printer("one")]).assignments, [], "not before its time, even with a free printer");
    assert_eq!(run(&[over], &[printer("one"), night.clone()]).next_change, None, "nobody waits for the window");
    assert_eq!(run(&[], &[night]).next_change, None);
}

#[test]
fn only_jobs_that_wait_for_a_printer_are_looked_at() {
    type Change = fn(&mut PrintJob);
    let rows: &[Change] = &[
        |j| j.spec.desired_state = DesiredState::Pause,
        |j| j.spec.desired_state = DesiredState::Cancel,
        |j| j.metadata.deletion_timestamp = Some(Time(at(NOW))),
        |j| j.status = None,
        |j| j.status.as_mut().unwrap().conditions.clear(),
        |j| j.status.as_mut().unwrap().file = None,
        |j| j.status.as_mut().unwrap().printer = Some(ClaimedPrinter::default()),
        |j| j.status.as_mut().unwrap().conditions.push(condition("OutcomeUnknown", "True", NOW)),
        |j| j.status.as_mut().unwrap().conditions.push(condition("Started", "True", NOW)),
        |j| j.status.as_mut().unwrap().conditions.push(condition("Failed", "True", NOW)),
        |j| j.status.as_mut().unwrap().conditions.push(condition("Complete", "True", NOW)),
    ];
    for (row, change) in rows.iter().enumerate() {
        let mut job = job("clip");
        change(&mut job);
        assert_eq!(run(&[job], &[printer("one")]), Schedule::default(), "row {row}");
    }
}
