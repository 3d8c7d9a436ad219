//! What a printer tells people beyond its state: contradictions, words written in vain, deletion, prints not shown.

use printernizer_crds::common::{DeviceIdentity, Nozzle};
use printernizer_crds::printer::{BedClearing, Capabilities, SlotSpec};
use printernizer_crds::{ConditionType, Conditions};

use super::{bed_reason, occupancy};
use crate::device::{DeviceSlot, DeviceState, Link};
use crate::plan::NO_EFFECT;
use crate::testing::Scene;

fn message(s: &Scene, type_: ConditionType) -> String {
    s.printer_status().conditions.condition(type_).map(|c| c.message.clone()).unwrap_or_default()
}

#[test]
fn a_spec_that_contradicts_its_device_says_so_with_both_sides() {
    let mut s = Scene::waiting();
    s.report.nozzle_diameter_micrometers = Some(400);
    s.report.nozzle_hardened = Some(false);
    s.report.model = Some("COREONE".into());
    s.report.slots = vec![DeviceSlot { slot: "Main".into(), material: Some("PLA".into()), ..DeviceSlot::default() }];
    s.run_printer();
    assert!(s.printer_is(ConditionType::SpecMatchesDevice), "{:?}", s.printer_status().conditions);
    let nozzle = Some(Nozzle { diameter_micrometers: Some(600), hardened: Some(true), high_flow: Some(true) });
    s.printer.spec.capabilities = Some(Capabilities { nozzle, ..Capabilities::default() });
    s.printer.spec.slots = vec![SlotSpec { slot: "Main".into(), material: "PETG".into(), ..SlotSpec::default() }];
    s.printer.spec.model = "Original Prusa MK4".into();
    s.run_printer();
    assert_eq!(s.reason(ConditionType::SpecMatchesDevice), "Contradicted");
    assert_eq!(
        message(&s, ConditionType::SpecMatchesDevice),
        "model: the spec says Original Prusa MK4, the printer is a Prusa CORE One, which counts; nozzle: the spec says \
         0.6 mm, the printer 0.4 mm, which counts; nozzle: the spec says hardened, the printer not hardened, which counts; \
         slot Main: the device reports PLA, spec.slots declares PETG; correct \
         the one that is wrong"
    );
    assert!(s.printer_is(ConditionType::Ready), "jobs that fit are printed all the same");
    assert!(s.printer_plan().effects.is_empty(), "told once");
}

#[test]
fn a_clearance_with_a_wrong_id_is_told_to_have_no_effect_until_it_is_corrected() {
    let mut s = Scene::waiting();
    s.shows_foreign(DeviceState::Finished);
    s.run_printer();
    assert!(!message(&s, ConditionType::BedCleared).contains(NO_EFFECT), "the last clearance stays written");
    s.printer.spec.bed.cleared_for = Some("deadbeef".into());
    s.run_printer();
    let told = message(&s, ConditionType::BedCleared);
    assert!(told.contains("spec.bed.clearedFor is deadbeef") && told.contains(NO_EFFECT), "{told}");
    assert!(told.contains(&occupancy(&s).unwrap()), "the right id is still told: {told}");
    assert_eq!(bed_reason(&s), "ForeignPrintOnBed");
    assert!(s.printer_plan().effects.is_empty(), "told once");
    s.printer.spec.bed.cleared_for = Some("cafe".into());
    s.run_printer();
    let told = message(&s, ConditionType::BedCleared);
    assert!(told.contains("cafe") && !told.contains("deadbeef"), "{told}");
    s.clear_bed();
    s.run_printer();
    assert!(s.printer_is(ConditionType::BedCleared));
    assert!(!message(&s, ConditionType::BedCleared).contains(NO_EFFECT));
}

#[test]
fn a_clearance_before_it_is_known_what_became_of_the_print_is_told_to_count_later() {
    let mut s = Scene::printing();
    (s.watched, s.printer.spec.bed.cleared_for) = (false, Some(String::new()));
    s.shows_nothing();
    s.run_printer();
    assert_eq!(bed_reason(&s), "Unconfirmed");
    assert!(!message(&s, ConditionType::BedCleared).contains("clearedFor is "), "nothing was written");
    s.watched = true;
    s.clear_bed();
    s.run_printer();
    let told = message(&s, ConditionType::BedCleared);
    assert!(told.contains("counts once it is known what became of the last print"), "{told}");
    assert!(s.printer_plan().effects.is_empty(), "told once");
}

#[test]
fn a_clearance_while_a_print_runs_is_told_to_have_no_effect() {
    let mut s = Scene::waiting();
    s.shows_foreign(DeviceState::Printing);
    s.run_printer();
    assert!(!message(&s, ConditionType::BedCleared).contains(NO_EFFECT));
    s.clear_bed();
    s.run_printer();
    assert!(message(&s, ConditionType::BedCleared).contains("while a print runs"));
    let mut ejecting = s.clone();
    ejecting.printer.spec.bed.clearing = BedClearing::Automatic;
    ejecting.run_printer();
    assert!(!message(&ejecting, ConditionType::BedCleared).contains(NO_EFFECT), "what it ejected stays written");
}

#[test]
fn a_print_that_is_not_shown_is_not_said_to_run() {
    let mut s = Scene::printing();
    assert_eq!(message(&s, ConditionType::BedCleared), "a print is running; the bed is to be cleared after it");
    s.shows_ours(DeviceState::Idle);
    s.run_printer();
    assert_eq!(bed_reason(&s), "PrintInProgress");
    assert!(message(&s, ConditionType::BedCleared).contains("not shown any more"));
    assert!(message(&s, ConditionType::Idle).contains("the print of bracket is watched for"));
    s.shows_ours(DeviceState::Printing);
    s.run_printer();
    assert_eq!(message(&s, ConditionType::BedCleared), "a print is running; the bed is to be cleared after it");
}

#[test]
fn a_print_that_goes_on_after_a_power_cut_is_not_said_to_be_somebody_elses() {
    let mut s = Scene::printing();
    s.report.identity = DeviceIdentity { file: Some(s.remote_name()), ..DeviceIdentity::default() };
    s.run_printer();
    assert_eq!(
        (s.reason(ConditionType::Idle).as_str(), message(&s, ConditionType::Idle).as_str()),
        ("Printing", "prints bracket")
    );
    // Our file under the number of another print is not ours yet.
    s.report.identity.id = Some("9".into());
    s.run_printer();
    assert_eq!(s.reason(ConditionType::Idle), "Occupied");
}

#[test]
fn a_deleted_printer_that_is_kept_says_why() {
    let mut s = Scene::printing();
    s.delete_printer();
    s.run_printer();
    assert_eq!(s.reason(ConditionType::Ready), "BeingDeleted");
    assert!(message(&s, ConditionType::Ready).contains("the print of bracket"));
}

#[test]
fn a_second_printer_of_a_device_is_not_said_to_be_connecting() {
    let mut s = Scene::bare();
    s.link = Some(Link::Connecting);
    s.run_printer();
    assert!(s.printer_is(ConditionType::Reconciling));
    s.duplicate_of = Some("farm/bert");
    s.run_printer();
    let status = s.printer_status();
    assert!(status.conditions.condition(ConditionType::Reconciling).is_none());
    assert!(status.conditions.iter().all(|c| c.message != "connecting"), "{:?}", status.conditions);
}

#[test]
fn a_start_whose_outcome_was_in_question_is_not_denied() {
    let s = Scene::waiting();
    assert_eq!(message(&s, ConditionType::ControlAllowed), "no start has been seen to work yet with this firmware");
}
