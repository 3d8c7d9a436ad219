//! The schedule against a second reading of the rules: every assignment is judged from the plain objects, requirement by
//! requirement, without a line of what is tested.

mod farms;

use std::collections::{BTreeMap, BTreeSet};

use printernizer_crds::print_job::{ColorMatch, SlotChoice, TolerationOperator};
use printernizer_crds::printer::{SlotSource, SlotStatus};
use printernizer_crds::{PrintJob, Printer};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::color::Color;
use super::fixtures::{NOW, at};
use super::{Input, Mismatch, PrinterView, Schedule, Waiting, capabilities, fits, requirements, schedule};
use farms::{farm, machine, volume};

/// What the machine lacks, other than filament.
fn lacks(job: &PrintJob, printer: &Printer) -> Vec<&'static str> {
    let (spec, file) = (&job.spec, job.status.as_ref().unwrap().file.as_ref().unwrap());
    let asked = spec.requirements.as_ref().unwrap();
    let (wants, able) = (asked.nozzle.as_ref().unwrap(), printer.spec.capabilities.as_ref().unwrap());
    let (nozzle, device) = (able.nozzle.as_ref().unwrap(), printer.status.as_ref().unwrap().device.as_ref().unwrap());
    let model = device.detected_model.as_deref().filter(|m| *m != "Frobnicator 9").unwrap_or(&printer.spec.model);
    let (is, of_model) = machine(model);
    let models: Vec<_> = if asked.models.is_empty() {
        file.printer_model.iter().map(|m| machine(m).0).collect()
    } else {
        asked.models.iter().map(|m| machine(m).0).collect()
    };
    let has = able.build_volume_millimeters.unwrap_or(volume(of_model));
    let diameter = device.nozzle_diameter_micrometers.or(nozzle.diameter_micrometers);
    let hardened = device.nozzle_hardened.or(nozzle.hardened);
    let shelf = printer.metadata.labels.as_ref().map(|labels| labels["shelf"].clone());
    let selected =
        spec.printer_selector.as_ref().is_none_or(|s| s.match_labels.as_ref().unwrap().get("shelf") == shelf.as_ref());
    let tolerated = printer.spec.taints.iter().all(|taint| {
        spec.tolerations.iter().any(|t| t.operator == TolerationOperator::Exists || t.value == taint.value)
    });
    let plate = |name: &str| name.to_lowercase().replace(" plate", "");
    let on_bed = able.plate.as_deref().map(plate);
    let is_3mf = file.format == "Gcode3mf";
    let checks = [
        (printer.metadata.deletion_timestamp.is_none(), "stays"),
        (spec.printer_ref.as_ref().is_none_or(|r| Some(&r.name) == printer.metadata.name.as_ref()), "name"),
        (selected, "selector"),
        (tolerated, "taint"),
        (models.contains(&is) || (models.is_empty() && spec.printer_ref.is_some()), "model"),
        (file.nozzle_diameter_micrometers.is_none_or(|d| diameter == Some(d)), "nozzle of the file"),
        (wants.diameter_micrometers.is_none_or(|d| diameter == Some(d)), "nozzle asked for"),
        (wants.hardened != Some(true) || hardened == Some(true), "hardened"),
        (wants.hardened.is_some() || file.filament_abrasive != Some(true) || hardened != Some(false), "abrasive"),
        (wants.high_flow != Some(true) || nozzle.high_flow == Some(true), "high flow"),
        (wants.high_flow != Some(false) || nozzle.high_flow != Some(true), "no high flow"),
        (wants.high_flow.is_some() || file.nozzle_high_flow != Some(true) || nozzle.high_flow != Some(false), "flow"),
        (asked.plate.as_deref().is_none_or(|p| on_bed == Some(plate(p))), "plate"),
        (file.plate.as_deref().is_none_or(|p| on_bed.is_none() || on_bed == Some(plate(p))), "plate of the file"),
        (file.height_micrometers.is_none_or(|h| h <= i64::from(has.z) * 1000), "height"),
        (asked.min_build_volume_millimeters.is_none_or(|v| v.x <= has.x && v.y <= has.y && v.z <= has.z), "volume"),
        (printer.spec.connection.bambu.is_none() || is_3mf, "a sliced 3MF"),
        (printer.spec.connection.prusa_link.is_none() || !is_3mf, "G-code"),
    ];
    checks.into_iter().filter(|(holds, _)| !holds).map(|(_, what)| what).collect()
}

/// What is in a slot: material, color, what is left in milligrams. `None` when it is empty or nobody can rely on it.
fn loaded(printer: &Printer, name: &str) -> Option<(String, Option<Color>, Option<i64>)> {
    let declared = printer.spec.slots.iter().find(|s| s.slot == name);
    let seen = printer.status.as_ref().unwrap().slots.iter().find(|s| s.slot == name);
    let told = seen.filter(|s: &&SlotStatus| s.source == SlotSource::Device);
    let said = declared.map(|d| d.material.trim().to_uppercase());
    let material = match (told, &said) {
        (Some(told), Some(said)) => {
            let material = told.material.clone()?;
            (material == *said).then_some(material)?
        }
        (Some(told), None) => told.material.clone()?,
        (None, said) => said.clone()?,
    };
    let color = |text: &Option<String>| text.as_deref().and_then(Color::parse);
    let (by_device, by_person) = (told.and_then(|s| color(&s.color)), declared.and_then(|d| color(&d.color)));
    let other_spool = matches!((by_device, by_person), (Some(one), Some(other)) if !one.is_near(other));
    let share = seen.and_then(|s| Some(i64::from(s.remaining_percent.filter(|p| *p > 0)?) * i64::from(s.spool_grams?)));
    let by_person_left = declared.filter(|_| !other_spool).and_then(|d| d.remaining_grams).map(|g| i64::from(g) * 1000);
    Some((material, by_device.or(by_person), share.map(|s| s * 10).or(by_person_left)))
}

/// What is wrong with the slots that were chosen.
fn wrong_slots(job: &PrintJob, printer: &Printer, mapping: &[SlotChoice]) -> Vec<String> {
    let file = job.status.as_ref().unwrap().file.as_ref().unwrap();
    let used: Vec<_> = file.filaments.iter().filter(|f| f.grams.as_deref() != Some("0")).collect();
    let rule = job.spec.color_match.unwrap_or(if used.len() > 1 { ColorMatch::Near } else { ColorMatch::Ignore });
    let mut wrong = Vec::new();
    let mut taken: BTreeMap<&str, (&str, &str, i64)> = BTreeMap::new();
    if mapping.iter().map(|c| c.index).ne(used.iter().map(|f| f.index)) {
        wrong.push(format!("{mapping:?} is not of the used filaments"));
    }
    for (choice, filament) in mapping.iter().zip(&used) {
        let chosen = job.spec.filaments.iter().find(|c| c.index == filament.index);
        if chosen.is_some_and(|c| c.slot != choice.slot) {
            wrong.push("another slot than the chosen one".into());
        }
        let Some((material, color, left)) = loaded(printer, &choice.slot) else {
            wrong.push(format!("{} holds nothing to rely on", choice.slot));
            continue;
        };
        let (wanted, shade) = (filament.material.as_deref().unwrap(), filament.color.as_deref().unwrap());
        let near = match (rule, color, Color::parse(shade).unwrap()) {
            (ColorMatch::Ignore, ..) => true,
            (ColorMatch::Near, Some(has), wants) => has.is_near(wants),
            (ColorMatch::Exact, Some(has), wants) => has == wants,
            (_, None, _) => false,
        };
        if material != wanted || !(near || chosen.is_some()) {
            wrong.push(format!("{material} {color:?} for {wanted} {shade}"));
        }
        let grams: f64 = filament.grams.as_deref().unwrap().parse().unwrap();
        let (first, first_shade, sum) = taken.entry(&choice.slot).or_insert((wanted, shade, 0));
        #[allow(clippy::cast_possible_truncation, reason = "small and whole")]
        {
            *sum += (grams * 1000.0).round() as i64;
        }
        if (*first, *first_shade) != (wanted, shade) {
            wrong.push(format!("two filaments from {}", choice.slot));
        }
        if left.is_some_and(|left| left < *sum) {
            wrong.push(format!("too little in {}", choice.slot));
        }
    }
    for besides in &job.spec.requirements.as_ref().unwrap().materials {
        let slots = printer.status.as_ref().unwrap().slots.iter();
        if !slots.filter_map(|s| loaded(printer, &s.slot)).any(|(material, ..)| material == *besides) {
            wrong.push(format!("no {besides} besides"));
        }
    }
    wrong
}

fn run(jobs: &[PrintJob], printers: &[Printer]) -> Schedule {
    let views = printers.iter().map(|printer| PrinterView { printer, ready_for_start: true }).collect();
    schedule(&Input { jobs: jobs.iter().collect(), printers: views, held: None, resting: BTreeMap::new() }, at(NOW))
}

fn job_of<'a>(jobs: &'a [PrintJob], name: &str) -> &'a PrintJob {
    jobs.iter().find(|j| j.metadata.name.as_deref() == Some(name)).unwrap()
}

fn printer_of<'a>(printers: &'a [Printer], name: &str) -> &'a Printer {
    printers.iter().find(|p| p.metadata.name.as_deref() == Some(name)).unwrap()
}

/// The counts of an explanation, and the number of printers it speaks of; `None` where it speaks of none.
fn counts(text: &str) -> Option<(usize, usize)> {
    let (total, reasons) = text.split_once(" printers: ").or_else(|| text.split_once(" printer: "))?;
    let counted = reasons.split(", ").filter_map(|reason| reason.split_once(' ')?.0.parse::<usize>().ok());
    Some((total.parse().ok()?, counted.sum()))
}

proptest! {
    #[test]
    fn no_job_goes_to_a_printer_that_fails_a_single_requirement((jobs, printers) in farm()) {
        for a in run(&jobs, &printers).assignments {
            let (job, printer) = (job_of(&jobs, &a.job), printer_of(&printers, &a.printer));
            prop_assert_eq!(lacks(job, printer), Vec::<&str>::new(), "{} on {}", a.job, a.printer);
            prop_assert_eq!(wrong_slots(job, printer, &a.mapping), Vec::<String>::new(), "{} on {}", a.job, a.printer);
        }
    }

    #[test]
    fn a_printer_that_lacks_nothing_but_filament_is_excluded_for_its_filament((jobs, printers) in farm()) {
        for job in &jobs {
            for printer in printers.iter().filter(|p| lacks(job, p).is_empty()) {
                let about_filament = match fits(&requirements(job), printer, &capabilities(printer)) {
                    Ok(_) => true,
                    Err(mismatch) => matches!(
                        mismatch,
                        Mismatch::MaterialUnknown
                            | Mismatch::NoMaterial { .. }
                            | Mismatch::WrongMaterial { .. }
                            | Mismatch::Contradicted { .. }
                            | Mismatch::NoColor { .. }
                            | Mismatch::NotEnoughFilament { .. }
                            | Mismatch::NotEnoughSlots
                            | Mismatch::NoSlot { .. }
                            | Mismatch::SlotEmpty { .. }
                    ),
                };
                prop_assert!(about_filament, "{:?} {:?}", job.metadata.name, printer.metadata.name);
            }
        }
    }

    #[test]
    fn the_counts_of_an_explanation_add_up_to_the_printers((jobs, printers) in farm()) {
        for (key, waiting) in run(&jobs, &printers).waiting {
            let Waiting::NoMatchingPrinter(text) = waiting else { continue };
            let job = job_of(&jobs, &key.name);
            match counts(&text) {
                Some(told) => prop_assert_eq!(told, (printers.len(), printers.len()), "{}", text),
                None if job.spec.printer_ref.is_some() => prop_assert!(text.starts_with("printer printer-"), "{}", text),
                None => prop_assert!(text.contains("spec.requirements"), "advice on the job: {}", text),
            }
        }
    }
}

/// Properties over farms where nothing fits, or everything does, would hold for any scheduler.
#[test]
fn the_farms_of_these_properties_reach_every_mismatch_and_many_assignments() {
    let mut runner =
        TestRunner::new_with_rng(Config::with_cases(600), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let (seen, assigned) = (std::cell::RefCell::new(BTreeSet::new()), std::cell::Cell::new(0));
    runner
        .run(&farm(), |(jobs, printers)| {
            assigned.set(assigned.get() + run(&jobs, &printers).assignments.len());
            for (job, printer) in jobs.iter().flat_map(|j| printers.iter().map(move |p| (j, p))) {
                let kind = match fits(&requirements(job), printer, &capabilities(printer)) {
                    Ok(_) => "Ok".to_owned(),
                    Err(mismatch) => format!("{mismatch:?}").split([' ', '(']).next().unwrap_or_default().to_owned(),
                };
                seen.borrow_mut().insert(kind);
            }
            Ok(())
        })
        .unwrap();
    assert!(assigned.get() > 120, "{} assignments", assigned.get());
    let expected = [
        "BeingDeleted",
        "Contradicted",
        "FlowUnknown",
        "HardeningUnknown",
        "HighFlow",
        "MaterialUnknown",
        "ModelUnstated",
        "NoColor",
        "NoMaterial",
        "NoSlot",
        "NotEnoughFilament",
        "NotEnoughSlots",
        "NotHighFlow",
        "NotSelected",
        "NozzleNotHardened",
        "NozzleUnknown",
        "Ok",
        "SlotEmpty",
        "Tainted",
        "TooLow",
        "TooSmall",
        "WrongFormat",
        "WrongMaterial",
        "WrongModel",
        "WrongNozzle",
        "WrongPlate",
    ];
    assert_eq!(seen.into_inner().iter().map(String::as_str).collect::<Vec<_>>(), expected);
}
