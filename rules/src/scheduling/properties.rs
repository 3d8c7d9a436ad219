//! Properties of the schedule that hold for every farm, and what a large farm costs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use printernizer_crds::print_job::PrinterReference;
use printernizer_crds::printer::StartWindow;
use printernizer_crds::{PrintJob, Printer};
use proptest::prelude::*;

use super::fixtures::{NOW, at, declared, filament, job, printer};
use super::matching::FITS;
use super::memo::LOOKED_AT;
use super::{
    Input, JobKey, MAX_NEXT_FOR, Memo, NextFor, PrinterView, Schedule, Waiting, capabilities, fits,
    printer_accepts_start, requirements, schedule_with,
};

const MATERIALS: [&str; 3] = ["PLA", "PETG", "ASA"];
const COLORS: [&str; 3] = ["#1F6FEB", "#2065DC", "#FF0000"];

/// What became of a job between two schedules.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Written {
    Not,
    Anew,
    Gone,
}

#[derive(Clone, Debug)]
struct Farm {
    jobs: Vec<PrintJob>,
    printers: Vec<(Printer, bool)>,
    hold_starts: bool,
    /// Jobs whose files cannot be had.
    resting: BTreeMap<String, Timestamp>,
}

impl Farm {
    fn schedule(&self) -> Schedule {
        self.schedule_with(&mut Memo::default())
    }

    fn schedule_with(&self, memo: &mut Memo) -> Schedule {
        let printers = self.printers.iter().map(|(printer, ready)| PrinterView { printer, ready_for_start: *ready });
        let input = Input {
            jobs: self.jobs.iter().collect(),
            printers: printers.collect(),
            held: self.hold_starts.then_some(super::HOLD_STARTS),
            resting: self.resting.clone(),
        };
        schedule_with(&input, at(NOW), memo)
    }

    fn rests(&self, job: &PrintJob) -> bool {
        self.resting.contains_key(job.metadata.uid.as_ref().unwrap())
    }

    fn job(&self, namespace: &str, name: &str) -> &PrintJob {
        self.jobs.iter().find(|j| JobKey::of(j) == JobKey { namespace: namespace.into(), name: name.into() }).unwrap()
    }

    fn printer(&self, namespace: &str, name: &str) -> &(Printer, bool) {
        let same = |p: &Printer| {
            p.metadata.name.as_deref() == Some(name) && p.metadata.namespace.as_deref() == Some(namespace)
        };
        self.printers.iter().find(|(p, _)| same(p)).unwrap()
    }
}

fn namespace(second: bool) -> String {
    if second { "other" } else { "farm" }.to_owned()
}

prop_compose! {
    fn any_job(name: String)(
        second in prop::bool::weighted(0.2),
        filaments in prop::collection::vec((0..3usize, 0..3usize), 0..3),
        priority in -1..2i32,
        queued in 0..3u64,
        named in prop::option::weighted(0.1, 0..8usize),
        pause in prop::option::weighted(0.1, 0..3u64),
        state in prop::sample::select(vec![0, 0, 0, 0, 0, 0, 1, 2]),
        model in prop::sample::select(vec![Some("COREONE"), Some("COREONE"), Some("MK4S"), None]),
    ) -> PrintJob {
        use printernizer_crds::print_job::DesiredState;
        let mut job = job(&name);
        job.metadata.namespace = Some(namespace(second));
        job.spec.priority = priority;
        job.spec.printer_ref = named.map(|n| PrinterReference { name: format!("printer-{n}") });
        job.spec.desired_state = [DesiredState::Run, DesiredState::Pause, DesiredState::Cancel][state];
        let status = job.status.as_mut().unwrap();
        status.not_before = pause.map(|s| Time(at(NOW) + Duration::from_secs(s)));
        status.queued_time = Some(Time(at("2026-11-20T00:00:00Z") + Duration::from_secs(queued)));
        let file = status.file.as_mut().unwrap();
        file.printer_model = model.map(Into::into);
        file.filaments =
            (1..).zip(filaments).map(|(index, (m, c))| filament(index, MATERIALS[m], COLORS[c], "5")).collect();
        job
    }
}

prop_compose! {
    fn any_printer(name: String)(
        second in prop::bool::weighted(0.2),
        slots in prop::collection::vec((0..3usize, 0..3usize), 0..4),
        obstacle in 0..12u8,
        ready in prop::bool::weighted(0.9),
        model in prop::sample::select(vec!["Prusa CORE One", "COREONE", "MK4S"]),
    ) -> (Printer, bool) {
        let mut printer = printer(&name);
        printer.metadata.namespace = Some(namespace(second));
        printer.spec.model = model.into();
        printer.spec.slots = (1..).zip(slots)
            .map(|(n, (m, c))| declared(&format!("AMS1-{n}"), MATERIALS[m], COLORS[c])).collect();
        let status = printer.status.as_mut().unwrap();
        match obstacle {
            0 => printer.spec.unschedulable = true,
            1 => status.conditions.retain(|c| c.type_ != "Ready"),
            2 => status.conditions.retain(|c| c.type_ != "BedCleared"),
            3 => status.conditions.retain(|c| c.type_ != "Idle"),
            4 => status.current_job = Some(printernizer_crds::printer::CurrentJob::default()),
            5 => printer.metadata.deletion_timestamp = Some(Time(at(NOW))),
            6 => printer.spec.start_windows = vec![StartWindow {
                time_zone: "Europe/Berlin".into(), days: vec![], from: "20:00".into(), to: "22:00".into(),
            }],
            _ => {}
        }
        (printer, ready)
    }
}

fn farm() -> impl Strategy<Value = Farm> {
    let jobs = (0..16).map(|n| any_job(format!("job-{n}"))).collect::<Vec<_>>();
    let printers = (0..8).map(|n| any_printer(format!("printer-{n}"))).collect::<Vec<_>>();
    let resting = prop::collection::vec(prop::bool::weighted(0.15), 16);
    (jobs, printers, prop::bool::weighted(0.05), resting).prop_map(|(jobs, printers, hold_starts, resting)| {
        let uid = |(job, rests): (&PrintJob, bool)| job.metadata.uid.clone().filter(|_| rests);
        let until = at(NOW) + Duration::from_secs(30);
        let resting = jobs.iter().zip(resting).filter_map(uid).map(|uid| (uid, until)).collect();
        Farm { jobs, printers, hold_starts, resting }
    })
}

proptest! {
    #[test]
    fn no_job_and_no_printer_is_given_away_twice(farm in farm()) {
        let schedule = farm.schedule();
        let jobs: BTreeSet<_> = schedule.assignments.iter().map(|a| &a.job_uid).collect();
        let printers: BTreeSet<_> = schedule.assignments.iter().map(|a| &a.printer_uid).collect();
        prop_assert_eq!(jobs.len(), schedule.assignments.len());
        prop_assert_eq!(printers.len(), schedule.assignments.len());
        for a in &schedule.assignments {
            let key = JobKey { namespace: a.namespace.clone(), name: a.job.clone() };
            prop_assert!(!schedule.waiting.contains_key(&key));
        }
    }

    #[test]
    fn every_assignment_is_to_a_printer_that_accepts_it_and_fits(farm in farm()) {
        for a in farm.schedule().assignments {
            let job = farm.job(&a.namespace, &a.job);
            let (printer, ready) = farm.printer(&a.namespace, &a.printer);
            prop_assert!(*ready && !farm.hold_starts && !farm.rests(job));
            prop_assert_eq!(printer_accepts_start(printer, at(NOW)), Ok(()));
            prop_assert_eq!(fits(&requirements(job), printer, &capabilities(printer)), Ok(a.mapping));
            prop_assert!(job.status.as_ref().unwrap().not_before.as_ref().is_none_or(|t| t.0 <= at(NOW)));
        }
    }

    #[test]
    fn nobody_waits_beside_a_free_printer_that_fits(farm in farm()) {
        let schedule = farm.schedule();
        for key in schedule.waiting.iter().filter(|(_, w)| !matches!(w, Waiting::BackingOff(_))).map(|(k, _)| k) {
            let job = farm.job(&key.namespace, &key.name);
            for (printer, ready) in farm.printers.iter().filter(|_| !farm.rests(job)) {
                let free = *ready && !farm.hold_starts && printer_accepts_start(printer, at(NOW)).is_ok();
                let taken = schedule.assignments.iter().any(|a| Some(&a.printer_uid) == printer.metadata.uid.as_ref());
                let same = printer.metadata.namespace == job.metadata.namespace;
                let fitting = fits(&requirements(job), printer, &capabilities(printer)).is_ok();
                prop_assert!(!(free && !taken && same && fitting), "{key:?} beside {:?}", printer.metadata.name);
            }
        }
    }

    #[test]
    fn among_jobs_that_ask_for_the_same_the_order_of_the_queue_holds(farm in farm()) {
        let schedule = farm.schedule();
        let rank = |j: &PrintJob| {
            (std::cmp::Reverse(j.spec.priority), j.status.as_ref().unwrap().queued_time.clone().unwrap().0, j.metadata.uid.clone())
        };
        for a in &schedule.assignments {
            let served = farm.job(&a.namespace, &a.job);
            for (key, _) in schedule.waiting.iter().filter(|(k, w)| k.namespace == a.namespace && **w == Waiting::Queued) {
                let passed_over = farm.job(&key.namespace, &key.name);
                if requirements(served) == requirements(passed_over) && !farm.rests(passed_over) {
                    prop_assert!(rank(served) < rank(passed_over), "{} before {key:?}", a.job);
                }
            }
        }
    }

    #[test]
    fn the_order_of_the_input_does_not_matter(
        (farm, jobs, printers) in farm().prop_flat_map(|farm| {
            let (jobs, printers) = (Just(farm.jobs.clone()).prop_shuffle(), Just(farm.printers.clone()).prop_shuffle());
            (Just(farm), jobs, printers)
        })
    ) {
        let shuffled = Farm { jobs, printers, ..farm.clone() };
        prop_assert_eq!(shuffled.schedule(), farm.schedule());
    }

    #[test]
    fn what_is_kept_from_schedule_to_schedule_makes_no_difference(
        farms in prop::collection::vec(farm(), 2..5),
        written in prop::collection::vec(prop::sample::select(vec![Written::Not, Written::Not, Written::Anew, Written::Gone]), 64),
    ) {
        let (mut memo, mut now, mut written) = (Memo::default(), farms[0].jobs.clone(), written.into_iter());
        for (turn, mut farm) in farms.into_iter().enumerate() {
            for (job, other) in now.iter_mut().zip(&farm.jobs) {
                match (turn, written.next()) {
                    (0, _) | (_, Some(Written::Anew)) => {
                        *job = other.clone();
                        job.metadata.resource_version = Some(turn.to_string());
                    }
                    _ => {}
                }
            }
            farm.jobs = now.iter().filter(|_| written.next() != Some(Written::Gone)).cloned().collect();
            prop_assert_eq!(farm.schedule_with(&mut memo), farm.schedule());
            prop_assert_eq!(memo.len().0, farm.jobs.len(), "what is gone is forgotten");
        }
    }

    #[test]
    fn who_is_told_that_nothing_fits_is_told_the_truth(farm in farm()) {
        for (key, waiting) in farm.schedule().waiting {
            let job = farm.job(&key.namespace, &key.name);
            let fitting = farm.printers.iter().any(|(p, _)| {
                p.metadata.namespace == job.metadata.namespace && fits(&requirements(job), p, &capabilities(p)).is_ok()
            });
            match waiting {
                Waiting::NoMatchingPrinter(why) => prop_assert!(!fitting, "{why}"),
                Waiting::Queued => prop_assert!(fitting, "the printers of this farm have all been connected"),
                Waiting::Unconnected => prop_assert!(false, "the printers of this farm have all been connected"),
                Waiting::NextFor(next) => {
                    prop_assert!(!next.is_empty() && next.len() <= MAX_NEXT_FOR);
                    for NextFor { printer, .. } in next {
                        let printer = farm.printers.iter().map(|(p, _)| p).find(|p| {
                            p.metadata.namespace == job.metadata.namespace && p.metadata.name.as_ref() == Some(&printer)
                        });
                        let fits = printer.map(|p| fits(&requirements(job), p, &capabilities(p)).is_ok());
                        prop_assert_eq!(fits, Some(true));
                    }
                }
                Waiting::ForFile => prop_assert!(fitting && farm.rests(job)),
                Waiting::BackingOff(_) => {}
            }
        }
    }
}

/// Prints figures for a farm of 1,000 printers and 10,000 jobs. The counts, also of the pairs that are compared, are
/// asserted, the times are for reading:
/// `cargo test --release -p printernizer-rules -- --nocapture a_large_farm`.
#[test]
fn a_large_farm_is_scheduled_whole() {
    const JOBS: usize = 10_000;
    const PRINTERS: usize = 1_000;
    let printers: Vec<_> = (0..PRINTERS)
        .map(|n| {
            let mut printer = printer(&format!("printer-{n:04}"));
            printer.spec.slots[0].material = MATERIALS[n % 3].into();
            (printer, true)
        })
        .collect();
    let jobs = |shapes: usize| -> Vec<PrintJob> {
        (0..JOBS)
            .map(|n| {
                let mut job = job(&format!("job-{n:05}"));
                job.metadata.resource_version = Some("1".into());
                let grams = format!("{}.5", n % shapes);
                let file = job.status.as_mut().unwrap().file.as_mut().unwrap();
                file.filaments = vec![filament(1, MATERIALS[n % shapes % 3], COLORS[0], &grams)];
                file.height_micrometers = Some(i64::try_from(n % shapes).unwrap());
                job
            })
            .collect()
    };
    let mut declaring = printers.clone();
    declaring[0].0.spec.slots[0].remaining_grams = Some(100_000);
    for (shapes, printers, what, decided) in [
        (12, &printers, "12 kinds of jobs", MATERIALS.len()),
        (JOBS, &printers, "each job of another weight and height", MATERIALS.len()),
        (JOBS, &declaring, "each job of another weight and height, a spool weighed", JOBS),
    ] {
        let mut farm =
            Farm { jobs: jobs(shapes), printers: printers.clone(), hold_starts: false, resting: BTreeMap::new() };
        for (free, expected) in [("all printers free", PRINTERS), ("none free", 0)] {
            farm.hold_starts = expected == 0;
            let mut memo = Memo::default();
            // The first time, and with nothing written since.
            for anew in [JOBS, 0] {
                #[allow(clippy::disallowed_methods, reason = "measures the rule from outside")]
                let begin = Instant::now();
                FITS.set(0);
                LOOKED_AT.set(0);
                let schedule = farm.schedule_with(&mut memo);
                let (compared, looked_at, took) = (FITS.get(), LOOKED_AT.get(), begin.elapsed());
                println!(
                    "{JOBS} jobs, {looked_at} anew, x {PRINTERS} printers, {what}, {free}: {compared} pairs, {took:?}"
                );
                // Each kind is ranked once, told once, and looked at once for the printers that something keeps.
                assert!(compared <= 3 * decided * PRINTERS + JOBS, "{what}, {free}: {compared}");
                assert_eq!((schedule.assignments.len(), schedule.waiting.len()), (expected, JOBS - expected));
                assert_eq!(looked_at, anew, "{what}, {free}");
            }
        }
    }
}
