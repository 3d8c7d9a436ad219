//! Farms whose printers and jobs differ in everything that can be asked for, most of them in little, so that enough pairs
//! fit and each thing excludes some.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use printernizer_crds::common::Nozzle;
use printernizer_crds::print_job::{
    ColorMatch, FilamentChoice, PrinterReference, Requirements as Asked, Toleration, TolerationOperator,
};
use printernizer_crds::printer::{BambuConnection, BuildVolume, DeviceStatus, PrusaLinkConnection, SlotSpec, Taint};
use printernizer_crds::{PrintJob, Printer};
use proptest::prelude::*;

use crate::device::DeviceSlot;
use crate::scheduling::fixtures::{NOW, at, capable, declared, filament, job, printer};
use crate::scheduling::slots as merged;

/// Spellings, and the machine each of them means with its build volume.
const MODELS: [(&str, &str, [i32; 3]); 5] = [
    ("Prusa CORE One", "CORE One", [250, 220, 270]),
    ("COREONE", "CORE One", [250, 220, 270]),
    ("Original Prusa MK4S", "MK4S", [250, 210, 220]),
    ("MK4S", "MK4S", [250, 210, 220]),
    ("N2S", "A1", [256, 256, 256]),
];

pub fn machine(model: &str) -> (&'static str, [i32; 3]) {
    let (_, machine, volume) = MODELS.into_iter().find(|(spelling, ..)| *spelling == model).unwrap();
    (machine, volume)
}

/// Mostly `None`, or mostly the first: else too few pairs fit for the properties to say anything.
fn seldom<T: Clone + std::fmt::Debug + 'static>(values: &[T]) -> impl Strategy<Value = Option<T>> + use<T> {
    prop::option::weighted(0.2, prop::sample::select(values.to_vec()))
}

fn mostly<T: Clone + std::fmt::Debug + 'static>(first: T, others: &[T]) -> impl Strategy<Value = T> + use<T> {
    prop_oneof![4 => Just(first), 1 => prop::sample::select(others.to_vec())]
}

pub fn volume([x, y, z]: [i32; 3]) -> BuildVolume {
    BuildVolume { x, y, z }
}

prop_compose! {
    fn any_slot(n: usize)(
        material in mostly("PLA", &["PETG", "pla "]),
        color in mostly("#1F6FEB", &["#2065DC", "#FF0000"]),
        grams in seldom(&[5, 20, 100]),
        seen in prop::option::weighted(0.5, (
            mostly(Some("PLA"), &[Some("PETG"), None]), mostly(Some("#1F6FEB"), &[Some("#FF0000"), None]),
            seldom(&[0, 1, 50]), seldom(&[250, 1000]), prop::bool::weighted(0.1),
        )),
        declares in prop::bool::weighted(0.8),
    ) -> (Option<SlotSpec>, Option<DeviceSlot>) {
        let name = format!("AMS1-{}", n + 1);
        let mut spec = declared(&name, material, color);
        spec.remaining_grams = grams;
        let seen = seen.map(|(material, color, remaining_percent, spool_grams, empty)| DeviceSlot {
            slot: name,
            loaded: empty.then_some(false),
            material: material.filter(|_| !empty).map(Into::into),
            color: color.filter(|_| !empty && material.is_some()).map(Into::into),
            remaining_percent,
            spool_grams,
            ..Default::default()
        });
        (declares.then_some(spec), seen)
    }
}

prop_compose! {
    fn any_printer(name: String)(
        model in mostly("Prusa CORE One", &MODELS.map(|(spelling, ..)| spelling)),
        detected in seldom(&["COREONE", "MK4S", "Frobnicator 9"]),
        nozzle in (mostly(Some(400), &[Some(600), None]), seldom(&[true, false]), seldom(&[true, false])),
        told in (seldom(&[400, 600]), seldom(&[true, false])),
        plate in seldom(&["Textured PEI", "Satin"]),
        size in seldom(&[[100, 100, 100], [300, 300, 300]]),
        shelf in seldom(&["left", "right"]),
        taint in seldom(&["", "only"]),
        slots in prop::collection::vec(any_slot(0), 0..4),
        (leaving, bambu, prusa) in (prop::bool::weighted(0.05), prop::bool::weighted(0.1), prop::bool::weighted(0.3)),
    ) -> Printer {
        let mut printer = printer(&name);
        printer.spec.model = model.into();
        printer.metadata.labels = shelf.map(|shelf| BTreeMap::from([("shelf".to_owned(), shelf.to_owned())]));
        printer.metadata.deletion_timestamp = leaving.then(|| Time(at(NOW)));
        printer.spec.taints = taint.map(|v| Taint { key: "night".into(), value: v.into(), ..Default::default() })
            .into_iter().collect();
        let (diameter_micrometers, hardened, high_flow) = nozzle;
        let able = capable(&mut printer.spec);
        able.nozzle = Some(Nozzle { diameter_micrometers, hardened, high_flow });
        able.plate = plate.map(Into::into);
        able.build_volume_millimeters = size.map(volume);
        printer.spec.connection.bambu = bambu.then(BambuConnection::default);
        printer.spec.connection.prusa_link = (prusa && !bambu).then(PrusaLinkConnection::default);
        let (mut spec, mut seen) = (Vec::new(), Vec::new());
        for (n, (mut declared, mut reported)) in slots.into_iter().enumerate() {
            let name = format!("AMS1-{}", n + 1);
            if let Some(s) = &mut declared { s.slot.clone_from(&name); }
            if let Some(s) = &mut reported { s.slot.clone_from(&name); }
            spec.extend(declared);
            seen.extend(reported);
        }
        printer.spec.slots = spec;
        let status = printer.status.as_mut().unwrap();
        status.slots = merged(&printer.spec, &seen);
        status.device = Some(DeviceStatus {
            serial_number: Some("SN".into()),
            detected_model: detected.map(Into::into),
            nozzle_diameter_micrometers: told.0,
            nozzle_hardened: told.1,
            ..DeviceStatus::default()
        });
        printer
    }
}

prop_compose! {
    fn any_job(name: String)(
        model in mostly(Some("COREONE"), &[Some("MK4S"), Some("N2S"), None]),
        asked_models in seldom(&[vec!["Prusa CORE One", "MK4S"], vec!["N2S"]]),
        diameters in (mostly(Some(400), &[Some(600), None]), seldom(&[400, 600])),
        (abrasive, high_flow) in (seldom(&[true, false]), seldom(&[true, false])),
        (hardened, flow) in (seldom(&[true, false]), seldom(&[true, false])),
        plates in (seldom(&["Textured PEI Plate", "Satin"]), seldom(&["satin", "Textured PEI"])),
        size in (seldom(&[90_000, 220_500, 280_000]), seldom(&[[100, 100, 100], [240, 215, 1]])),
        filaments in prop::collection::vec((
            mostly("PLA", &["PETG"]), mostly("#1F6FEB", &["#2065DC", "#FF0000"]), mostly("5", &["0", "20.001"]),
        ), 1..4),
        choice in seldom(&["AMS1-1", "AMS1-2"]),
        rule in seldom(&[ColorMatch::Ignore, ColorMatch::Near, ColorMatch::Exact]),
        besides in seldom(&["PLA", "PETG"]),
        who in (seldom(&["left", "right"]), seldom(&[(TolerationOperator::Exists, ""), (TolerationOperator::Equal, "only")]),
            prop::option::weighted(0.1, 0..4usize)),
        three_mf in prop::bool::weighted(0.1),
    ) -> PrintJob {
        let mut job = job(&name);
        let file = job.status.as_mut().unwrap().file.as_mut().unwrap();
        file.format = if three_mf { "Gcode3mf" } else { "BinaryGcode" }.into();
        file.printer_model = model.map(Into::into);
        file.nozzle_diameter_micrometers = diameters.0;
        (file.filament_abrasive, file.nozzle_high_flow) = (abrasive, high_flow);
        file.plate = plates.0.map(Into::into);
        file.height_micrometers = size.0;
        file.filaments =
            (1..).zip(filaments).map(|(index, (m, color, grams))| filament(index, m, color, grams)).collect();
        // A print without any filament is a case of its own, which other tests are about.
        file.filaments[0].grams = Some("5".into());
        job.spec.requirements = Some(Asked {
            models: asked_models.into_iter().flatten().map(Into::into).collect(),
            materials: besides.map(Into::into).into_iter().collect(),
            nozzle: Some(Nozzle { diameter_micrometers: diameters.1, hardened, high_flow: flow }),
            plate: plates.1.map(Into::into),
            min_build_volume_millimeters: size.1.map(volume),
        });
        job.spec.color_match = rule;
        job.spec.filaments = choice.map(|slot| FilamentChoice { index: 1, slot: slot.into() }).into_iter().collect();
        let (shelf, toleration, named) = who;
        job.spec.printer_selector = shelf.map(|shelf| LabelSelector {
            match_labels: Some(BTreeMap::from([("shelf".to_owned(), shelf.to_owned())])),
            match_expressions: None,
        });
        job.spec.tolerations = toleration.map(|(operator, value)| Toleration {
            key: "night".into(), operator, value: value.into(), effect: None,
        }).into_iter().collect();
        job.spec.printer_ref = named.map(|n| PrinterReference { name: format!("printer-{n}") });
        job
    }
}

pub fn farm() -> impl Strategy<Value = (Vec<PrintJob>, Vec<Printer>)> {
    let jobs: Vec<_> = (0..4).map(|n| any_job(format!("job-{n}"))).collect();
    let printers: Vec<_> = (0..4).map(|n| any_printer(format!("printer-{n}"))).collect();
    (jobs, printers)
}
