//! Whom a printer trusts, and what its connection tells.

use printernizer_crds::{ConditionType, Conditions};

use crate::device::{DeviceState, Link, LinkFault};
use crate::print_job::start::SendAnswer;
use crate::testing::{Scene, identity, seconds};

fn pz(name: &str) -> String {
    format!("{name}-pz-00112233445566aa-1.bgcode")
}

#[test]
fn a_print_of_our_kind_that_nobody_knows_means_another_operator() {
    let mut s = Scene::waiting();
    s.report.identity = identity("9", &pz("vase"));
    s.shows(DeviceState::Printing);
    let mut known = s.clone();
    known.shown_job_exists = true;
    known.run_printer();
    assert!(known.printer_is(ConditionType::Ready));
    s.run_printer();
    assert_eq!(s.reason(ConditionType::Trusted), "AnotherOperator");
    assert_eq!(s.reason(ConditionType::Ready), "AnotherOperator");
    let id = s.printer_status().distrust.unwrap().id;
    s.printer.spec.acknowledged = Some("another id".into());
    s.run_printer();
    assert!(s.printer_status().distrust.is_some());
    s.printer.spec.acknowledged = Some(id);
    s.run_printer();
    s.run_printer();
    assert!(s.printer_status().distrust.is_none());
    assert!(s.printer_is(ConditionType::Ready));
}

#[test]
fn the_file_alone_gives_another_operator_away_and_no_refusal_hides_it() {
    let mut s = refused();
    s.report.identity = identity("9", "unnamed");
    s.report.identity.file = Some(pz("vase"));
    s.run_printer();
    assert_eq!(s.reason(ConditionType::Trusted), "AnotherOperator");
}

fn refused() -> Scene {
    let mut s = Scene::intended();
    s.watch.answer = Some(crate::print_job::start::SendAnswer::Refused("no".into()));
    (s.watch.unbroken, s.watch.quiet) = (true, seconds(30));
    s.run_job();
    s.run_printer();
    assert_eq!(s.reason(ConditionType::Trusted), "StartRefused");
    s
}

#[test]
fn a_refusing_printer_is_trusted_again_when_it_has_done_something_else() {
    let mut s = refused();
    s.run_printer();
    assert!(!s.printer_is(ConditionType::Trusted));
    s.shows_nothing();
    s.run_printer();
    assert!(!s.printer_is(ConditionType::Trusted), "forgetting is no change");
    s.shows_foreign(DeviceState::Printing);
    s.run_printer();
    assert!(s.printer_is(ConditionType::Trusted));
}

#[test]
fn a_device_that_allows_control_again_is_usable_again() {
    let mut s = Scene::waiting();
    s.report.control_allowed = Some(false);
    s.run_printer();
    assert!(!s.printer_is(ConditionType::Ready));
    s.report.control_allowed = Some(true);
    s.run_printer();
    assert!(s.printer_is(ConditionType::Ready));
    let control = s.printer_status().conditions.condition(ConditionType::ControlAllowed).cloned().unwrap();
    assert_eq!(control.status, "Unknown", "only a start proves it");
}

#[test]
fn a_printer_that_refuses_control_says_first_what_to_switch_on_and_then_what_to_acknowledge() {
    let mut s = Scene::intended();
    (s.watch.answer, s.watch.unbroken) = (Some(SendAnswer::Refused("no".into())), true);
    s.watch.quiet = s.timing.refusal_quiet;
    s.report.control_allowed = Some(false);
    s.run_job();
    s.run_printer();
    assert_eq!(s.reason(ConditionType::Trusted), "StartRefused");
    assert_eq!(s.reason(ConditionType::Ready), "ControlRefused");
    s.report.control_allowed = Some(true);
    s.run_printer();
    assert_eq!(s.reason(ConditionType::Ready), "StartRefused");
}

#[test]
fn a_device_that_refused_control_and_says_nothing_of_it_may_be_tried_again_only_after_it_was_away() {
    let mut s = Scene::waiting();
    s.report.control_allowed = Some(false);
    s.run_printer();
    s.report.control_allowed = None;
    s.run_printer();
    assert_eq!(s.reason(ConditionType::ControlAllowed), "ControlRefused", "it was watched, and has not restarted");
    s.watched = false;
    s.run_printer();
    assert_eq!(s.reason(ConditionType::ControlAllowed), "NotProvenYet");
    assert!(s.printer_is(ConditionType::Ready));
    s.report.control_allowed = Some(false);
    s.run_printer();
    assert_eq!(s.reason(ConditionType::ControlAllowed), "ControlRefused", "whatever it did meanwhile");
}

#[test]
fn a_duplicate_of_another_printer_is_not_ready() {
    let mut s = Scene::waiting();
    s.duplicate_of = Some("farm/bert");
    s.run_printer();
    assert_eq!(s.reason(ConditionType::Ready), "DuplicateDevice");
}

#[test]
fn wrong_credentials_are_named_and_a_missing_secret_too() {
    for (cause, reason) in [
        (LinkFault::CredentialsRefused, "CredentialsRefused"),
        (LinkFault::SecretNotFound, "SecretNotFound"),
        (LinkFault::WrongSerialNumber, "WrongSerialNumber"),
    ] {
        let mut s = Scene::waiting();
        s.link = Some(Link::Down { cause, message: "for the test".into(), silent_for: seconds(1) });
        s.run_printer();
        assert_eq!(s.reason(ConditionType::Ready), reason);
    }
}
