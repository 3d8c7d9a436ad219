//! Whether one printer fits one job: everything that follows from what both are, nothing that passes by itself.
//!
//! Busy, bed, readiness and start windows are not asked here. The checks run in a fixed order and the first that fails is
//! the printer's mismatch: who may use it, then model, size, nozzle and plate, then filament.

use printernizer_crds::Printer;
use printernizer_crds::print_job::SlotChoice;

use super::capabilities::Capabilities;
use super::filaments::{Mapped, map};
use super::mismatch::Mismatch;
use super::requirements::Requirements;
use super::selection::untolerated;

#[cfg(test)]
thread_local! {
    /// How many pairs this thread has compared: what a schedule costs, whatever else the machine does.
    pub(super) static FITS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Whether the printer fits the job, and which slot each filament comes from. `capabilities` are this printer's, from its
/// status or from a fresh report.
pub fn fits(
    requirements: &Requirements,
    printer: &Printer,
    capabilities: &Capabilities,
) -> Result<Vec<SlotChoice>, Mismatch> {
    fit(requirements, printer, capabilities).map(|mapped| mapped.choices)
}

pub(super) fn fit(
    requirements: &Requirements,
    printer: &Printer,
    capabilities: &Capabilities,
) -> Result<Mapped, Mismatch> {
    #[cfg(test)]
    FITS.with(|count| count.set(count.get() + 1));
    may_use(requirements, printer)?;
    model(requirements, capabilities)?;
    // What the spec alone tells comes before what only the device may still tell.
    takes(requirements, printer)?;
    machine(requirements, capabilities)?;
    map(requirements, capabilities)
}

fn may_use(requirements: &Requirements, printer: &Printer) -> Result<(), Mismatch> {
    if printer.metadata.deletion_timestamp.is_some() {
        return Err(Mismatch::BeingDeleted);
    }
    let named = requirements.printer.as_ref().is_none_or(|name| printer.metadata.name.as_ref() == Some(name));
    let selected = requirements.selector.as_ref().is_none_or(|s| s.selects(printer.metadata.labels.as_ref()));
    if !(named && selected) {
        return Err(Mismatch::NotSelected);
    }
    match untolerated(&printer.spec.taints, &requirements.tolerations) {
        Some(taint) => Err(Mismatch::Tainted { key: taint.key.clone() }),
        None => Ok(()),
    }
}

/// Whether the printer takes this kind of file. What no file says is not asked.
fn takes(requirements: &Requirements, printer: &Printer) -> Result<(), Mismatch> {
    let connection = &printer.spec.connection;
    let takes_3mf = connection.bambu.is_some();
    match requirements.sliced_3mf {
        Some(is_3mf) if is_3mf != takes_3mf && (takes_3mf || connection.prusa_link.is_some()) => {
            Err(Mismatch::WrongFormat { takes_3mf })
        }
        _ => Ok(()),
    }
}

fn model(requirements: &Requirements, capabilities: &Capabilities) -> Result<(), Mismatch> {
    // Who names one printer vouches for its model; who names several, or none, cannot.
    if requirements.models.is_empty() && requirements.printer.is_none() {
        return Err(Mismatch::ModelUnstated);
    }
    if !requirements.models.is_empty() && !requirements.models.contains(&capabilities.model) {
        let (has, wants) = (capabilities.model_shown.clone(), requirements.models.clone());
        return Err(Mismatch::WrongModel { has, wants });
    }
    Ok(())
}

fn machine(requirements: &Requirements, capabilities: &Capabilities) -> Result<(), Mismatch> {
    volume(requirements, capabilities)?;
    nozzle(requirements, capabilities)?;
    let has = capabilities.plate.as_deref();
    let asked_fits = requirements.plate.as_ref().is_none_or(|wanted| has.is_some_and(|has| same_plate(wanted, has)));
    let sliced_fits = requirements.file_plate.as_ref().is_none_or(|of| has.is_none_or(|has| same_plate(of, has)));
    if asked_fits && sliced_fits { Ok(()) } else { Err(Mismatch::WrongPlate { has: capabilities.plate.clone() }) }
}

fn volume(requirements: &Requirements, capabilities: &Capabilities) -> Result<(), Mismatch> {
    let Some(has) = capabilities.build_volume else {
        return if requirements.min_build_volume.is_some() { Err(Mismatch::VolumeUnknown) } else { Ok(()) };
    };
    match requirements.min_build_volume {
        Some(wants) if wants.x > has.x || wants.y > has.y || wants.z > has.z => {
            return Err(Mismatch::TooSmall { has, wants });
        }
        _ => {}
    }
    if requirements.height_micrometers.is_some_and(|height| height > i64::from(has.z) * 1000) {
        return Err(Mismatch::TooLow { has: has.z });
    }
    Ok(())
}

fn nozzle(requirements: &Requirements, capabilities: &Capabilities) -> Result<(), Mismatch> {
    for wanted in &requirements.nozzle_diameters_micrometers {
        match capabilities.nozzle_diameter_micrometers {
            None => return Err(Mismatch::NozzleUnknown),
            Some(has) if has != *wanted => return Err(Mismatch::WrongNozzle { has, wants: *wanted }),
            Some(_) => {}
        }
    }
    match capabilities.nozzle_hardened {
        Some(false) if requirements.nozzle_hardened || requirements.filament_abrasive => {
            return Err(Mismatch::NozzleNotHardened { abrasive: !requirements.nozzle_hardened });
        }
        None if requirements.nozzle_hardened => return Err(Mismatch::HardeningUnknown),
        _ => {}
    }
    match (requirements.nozzle_high_flow, capabilities.nozzle_high_flow) {
        (Some(true), Some(false)) => Err(Mismatch::NotHighFlow),
        (Some(true), None) => Err(Mismatch::FlowUnknown),
        (Some(false), Some(true)) => Err(Mismatch::HighFlow),
        (None, Some(false)) if requirements.file_high_flow => Err(Mismatch::NotHighFlow),
        _ => Ok(()),
    }
}

/// Whether two names mean the same plate: `Textured PEI Plate` and `textured pei`.
fn same_plate(one: &str, other: &str) -> bool {
    fn folded(name: &str) -> String {
        name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    }
    let (one, other) = (folded(one), folded(other));
    let bare = |name: &str| name.strip_suffix("plate").filter(|rest| !rest.is_empty()).map(str::to_owned);
    bare(&one).unwrap_or(one) == bare(&other).unwrap_or(other)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use printernizer_crds::common::Nozzle;
    use printernizer_crds::print_job::{PrinterReference, Toleration, TolerationOperator};
    use printernizer_crds::printer::{BambuConnection, BuildVolume, PrusaLinkConnection, Taint};
    use printernizer_crds::{PrintJob, PrinterSpec};

    use super::super::fixtures::{NOW, capable, job, printer};
    use super::super::{capabilities, requirements};
    use super::*;

    fn verdict(job: &PrintJob, printer: &Printer) -> Result<usize, Mismatch> {
        fits(&requirements(job), printer, &capabilities(printer)).map(|choices| choices.len())
    }

    #[test]
    fn a_printer_fits_the_job_its_file_was_sliced_for() {
        assert_eq!(verdict(&job("clip"), &printer("one")), Ok(1));
    }

    fn wrong_model(has: &str) -> Mismatch {
        Mismatch::WrongModel { has: has.into(), wants: vec!["COREONE".into()] }
    }

    fn wrong_nozzle(wants: i32) -> Mismatch {
        Mismatch::WrongNozzle { has: 400, wants }
    }

    #[test]
    fn each_thing_a_printer_lacks_is_its_mismatch() {
        type Change = fn(&mut PrintJob, &mut PrinterSpec);
        let rows: &[(&str, Change, Mismatch)] = &[
            ("model", |_, p| p.model = "Bambu Lab A1".into(), wrong_model("Bambu Lab A1")),
            ("a misspelt model", |_, p| p.model = "Prusa Core-2".into(), wrong_model("Prusa Core-2")),
            ("no model", |j, _| file(j).printer_model = None, Mismatch::ModelUnstated),
            ("nozzle", |j, _| file(j).nozzle_diameter_micrometers = Some(600), wrong_nozzle(600)),
            ("no nozzle", |_, p| p.capabilities = None, Mismatch::NozzleUnknown),
            ("asked nozzle", |j, _| ask(j).nozzle = Some(nozzle(Some(250), None, None)), wrong_nozzle(250)),
            (
                "an unknown model",
                |j, _| file(j).printer_model = Some("CORE Two".into()),
                Mismatch::WrongModel { has: "Prusa CORE One".into(), wants: vec!["coretwo".into()] },
            ),
            ("hardening", |j, _| ask(j).nozzle = Some(nozzle(None, Some(true), None)), Mismatch::HardeningUnknown),
            (
                "hardened",
                |j, p| {
                    ask(j).nozzle = Some(nozzle(None, Some(true), None));
                    capable(p).nozzle = Some(nozzle(Some(400), Some(false), None));
                },
                Mismatch::NozzleNotHardened { abrasive: false },
            ),
            (
                "abrasive",
                |j, p| {
                    file(j).filament_abrasive = Some(true);
                    capable(p).nozzle = Some(nozzle(Some(400), Some(false), None));
                },
                Mismatch::NozzleNotHardened { abrasive: true },
            ),
            ("flow", |j, _| ask(j).nozzle = Some(nozzle(None, None, Some(true))), Mismatch::FlowUnknown),
            (
                "high flow",
                |j, p| {
                    ask(j).nozzle = Some(nozzle(None, None, Some(true)));
                    capable(p).nozzle = Some(nozzle(Some(400), None, Some(false)));
                },
                Mismatch::NotHighFlow,
            ),
            (
                "the file's high flow",
                |j, p| {
                    file(j).nozzle_high_flow = Some(true);
                    capable(p).nozzle = Some(nozzle(Some(400), None, Some(false)));
                },
                Mismatch::NotHighFlow,
            ),
            ("height", |j, _| file(j).height_micrometers = Some(270_001), Mismatch::TooLow { has: 270 }),
            (
                "no volume",
                |j, p| {
                    p.model = "Voron 2.4".into();
                    file(j).printer_model = Some("Voron 2.4".into());
                    ask(j).min_build_volume_millimeters = Some(BuildVolume { x: 1, y: 1, z: 1 });
                },
                Mismatch::VolumeUnknown,
            ),
            (
                "no high flow",
                |j, p| {
                    ask(j).nozzle = Some(nozzle(None, None, Some(false)));
                    capable(p).nozzle = Some(nozzle(Some(400), None, Some(true)));
                },
                Mismatch::HighFlow,
            ),
            (
                "G-code",
                |_, p| p.connection.bambu = Some(BambuConnection::default()),
                Mismatch::WrongFormat { takes_3mf: true },
            ),
            (
                "sliced 3MF",
                |j, p| {
                    file(j).format = "Gcode3mf".into();
                    p.connection.prusa_link = Some(PrusaLinkConnection::default());
                },
                Mismatch::WrongFormat { takes_3mf: false },
            ),
            ("asked plate", |j, _| ask(j).plate = Some("Satin".into()), Mismatch::WrongPlate { has: None }),
            (
                "file's plate",
                |j, p| {
                    file(j).plate = Some("Cool Plate".into());
                    capable(p).plate = Some("Textured PEI".into());
                },
                Mismatch::WrongPlate { has: Some("Textured PEI".into()) },
            ),
            ("material", |_, p| p.slots[0].material = "PETG".into(), Mismatch::NoMaterial { material: "PLA".into() }),
            ("no slots", |_, p| p.slots.clear(), Mismatch::MaterialUnknown),
            (
                "grams",
                |_, p| p.slots[0].remaining_grams = Some(12),
                Mismatch::NotEnoughFilament { material: "PLA".into() },
            ),
            (
                "taint",
                |_, p| p.taints.push(Taint { key: "night".into(), ..Taint::default() }),
                Mismatch::Tainted { key: "night".into() },
            ),
            ("name", |j, _| j.spec.printer_ref = Some(PrinterReference { name: "two".into() }), Mismatch::NotSelected),
        ];
        for (what, change, expected) in rows {
            let (mut job, mut printer) = (job("clip"), printer("one"));
            change(&mut job, &mut printer.spec);
            assert_eq!(verdict(&job, &printer).unwrap_err(), *expected, "{what}");
        }
        let mut leaving = printer("one");
        leaving.metadata.deletion_timestamp = Some(Time(NOW.parse().unwrap()));
        assert_eq!(verdict(&job("clip"), &leaving), Err(Mismatch::BeingDeleted));
    }

    #[test]
    fn each_kind_of_printer_takes_its_kind_of_file() {
        let (mut job, mut printer) = (job("clip"), printer("one"));
        printer.spec.connection.prusa_link = Some(PrusaLinkConnection::default());
        assert_eq!(verdict(&job, &printer), Ok(1));
        file(&mut job).format = "Gcode3mf".into();
        printer.spec.connection = printernizer_crds::printer::Connection::default();
        printer.spec.connection.bambu = Some(BambuConnection::default());
        assert_eq!(verdict(&job, &printer), Ok(1));
    }

    #[test]
    fn a_person_can_vouch_for_a_file_without_facts_by_naming_the_printer() {
        let mut job = job("clip");
        file(&mut job).printer_model = None;
        file(&mut job).nozzle_diameter_micrometers = None;
        job.spec.printer_ref = Some(PrinterReference { name: "one".into() });
        assert_eq!(verdict(&job, &printer("one")), Ok(1));
        file(&mut job).printer_model = Some("MK4".into());
        assert!(matches!(verdict(&job, &printer("one")), Err(Mismatch::WrongModel { .. })), "the file says otherwise");
    }

    #[test]
    fn what_a_person_allows_is_allowed() {
        let (mut job, mut printer) = (job("clip"), printer("one"));
        printer.spec.taints.push(Taint { key: "night".into(), ..Taint::default() });
        job.spec.tolerations.push(Toleration {
            key: "night".into(),
            operator: TolerationOperator::Exists,
            ..Toleration::default()
        });
        printer.spec.model = "Original Prusa MK4".into();
        ask(&mut job).models = vec!["COREONE".into(), "MK4IS".into()];
        capable(&mut printer.spec).nozzle = Some(nozzle(Some(400), Some(true), Some(true)));
        ask(&mut job).nozzle = Some(nozzle(None, Some(true), Some(true)));
        (file(&mut job).filament_abrasive, file(&mut job).nozzle_high_flow) = (Some(true), Some(false));
        file(&mut job).plate = Some("Textured PEI Plate".into());
        assert_eq!(verdict(&job, &printer), Ok(1), "a plate nobody declared is not compared with the file's");
        capable(&mut printer.spec).plate = Some("textured-PEI".into());
        ask(&mut job).plate = Some("Textured PEI".into());
        assert_eq!(verdict(&job, &printer), Ok(1));
    }

    #[test]
    fn what_nobody_says_of_a_nozzle_keeps_no_file_away() {
        let (mut job, mut printer) = (job("clip"), printer("one"));
        (file(&mut job).filament_abrasive, file(&mut job).nozzle_high_flow) = (Some(true), Some(true));
        assert_eq!(verdict(&job, &printer), Ok(1));
        (file(&mut job).filament_abrasive, file(&mut job).nozzle_high_flow) = (Some(false), Some(false));
        for word in [true, false] {
            capable(&mut printer.spec).nozzle = Some(nozzle(Some(400), Some(word), Some(word)));
            assert_eq!(verdict(&job, &printer), Ok(1), "a file for an ordinary nozzle prints with any");
        }
    }

    #[test]
    fn a_part_larger_than_the_build_volume_does_not_fit() {
        let (mut job, mut printer) = (job("clip"), printer("one"));
        let of = |x, y, z| BuildVolume { x, y, z };
        let has = of(250, 220, 270);
        for (wants, fits) in [(has, true), (of(251, 1, 1), false), (of(1, 221, 1), false), (of(1, 1, 271), false)] {
            ask(&mut job).min_build_volume_millimeters = Some(wants);
            let expected = if fits { Ok(1) } else { Err(Mismatch::TooSmall { has, wants }) };
            assert_eq!(verdict(&job, &printer), expected);
        }
        capable(&mut printer.spec).build_volume_millimeters = Some(of(300, 300, 300));
        file(&mut job).height_micrometers = Some(300_000);
        assert_eq!(verdict(&job, &printer), Ok(1), "what is declared wins over the model's");
        file(&mut job).height_micrometers = Some(300_001);
        assert_eq!(verdict(&job, &printer), Err(Mismatch::TooLow { has: 300 }));
        "Voron 2.4".clone_into(&mut printer.spec.model);
        capable(&mut printer.spec).build_volume_millimeters = None;
        (file(&mut job).printer_model, job.spec.requirements) = (Some("Voron 2.4".into()), None);
        assert_eq!(verdict(&job, &printer), Ok(1), "a height that nobody knows is not compared");
    }

    fn file(job: &mut PrintJob) -> &mut printernizer_crds::print_job::FileStatus {
        job.status.as_mut().unwrap().file.as_mut().unwrap()
    }

    fn ask(job: &mut PrintJob) -> &mut printernizer_crds::print_job::Requirements {
        job.spec.requirements.get_or_insert_default()
    }

    fn nozzle(diameter_micrometers: Option<i32>, hardened: Option<bool>, high_flow: Option<bool>) -> Nozzle {
        Nozzle { diameter_micrometers, hardened, high_flow }
    }
}
