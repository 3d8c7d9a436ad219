//! Accidents that other farm software had, and the rules that keep this one from them. All of them, and the tests at other
//! levels, are listed in docs/accidents.md.

use printernizer_crds::ConditionType;
use printernizer_crds::print_job::Phase;

use crate::device::{DeviceState, Link};
use crate::plan::DeviceCommand;
use crate::print_job::Watch;
use crate::print_job::gate::claim_agrees;
use crate::testing::Scene;

/// A day and a little, in seconds.
const LONG: u64 = 100_000;

/// A new process: it has seen nothing yet.
fn restarted(mut s: Scene) -> Scene {
    (s.watch, s.watched) = (Watch::default(), false);
    s
}

/// Both rules decide, three times over; whatever they ask of the device is given.
fn decided(s: &mut Scene) -> Vec<DeviceCommand> {
    (0..3).flat_map(|_| [s.run_job(), s.run_printer()].concat()).collect()
}

#[test]
fn a_new_process_takes_no_claim_back_and_ends_no_print_before_its_printer_has_spoken() {
    let stages: [fn() -> Scene; 4] = [Scene::claimed, Scene::uploaded, Scene::intended, Scene::printing];
    for stage in stages {
        let mut s = restarted(stage());
        let phase = s.job_status().phase;
        s.link = Some(Link::Connecting);
        decided(&mut s);
        assert!(claim_agrees(&s.job, &s.printer), "{phase:?}");
        assert_eq!((s.verdict_written(), s.job_status().attempt, s.job_status().question), (None, 1, None));
        if s.is(ConditionType::Started) {
            assert_eq!(s.job_status().phase, Some(Phase::Printing));
        }
    }
}

#[test]
fn a_printer_that_has_not_said_what_it_does_ends_no_print_and_gets_none() {
    let mut s = restarted(Scene::printing());
    s.shows_ours(DeviceState::Unknown);
    decided(&mut s);
    assert_eq!((s.verdict_written(), s.job_status().phase), (None, Some(Phase::Printing)));
    assert!(s.printer_status().current_job.is_some());
    let mut free = Scene::uploaded();
    assert_eq!(free.gate(), Ok(()));
    free.shows(DeviceState::Unknown);
    assert!(free.gate().is_err(), "unknown is not idle");
}

#[test]
fn a_print_is_followed_for_as_long_as_it_is_shown_whatever_its_file_promised() {
    let mut s = Scene::printing();
    // Its file says that it takes an hour.
    for _ in 0..20 {
        s.pass(LONG);
        assert_eq!(decided(&mut s), []);
        assert_eq!((s.verdict_written(), s.job_status().phase), (None, Some(Phase::Printing)));
    }
    s.shows_ours(DeviceState::Finished);
    decided(&mut s);
    assert_eq!(s.job_status().phase, Some(Phase::Succeeded));
}

#[test]
fn a_print_that_stands_still_while_its_printer_says_that_it_prints_is_neither_ended_nor_begun_again() {
    let mut s = Scene::printing();
    let progress = s.report.progress;
    for _ in 0..10 {
        s.pass(LONG);
        assert_eq!(decided(&mut s), []);
        assert_eq!(s.report.progress, progress);
    }
    assert_eq!((s.verdict_written(), s.job_status().attempt), (None, 1));
    assert!(!s.printer_is(ConditionType::BedCleared));
    // Whoever notices it can end it from here.
    s.job.spec.desired_state = printernizer_crds::print_job::DesiredState::Cancel;
    assert_eq!(s.run_job(), [DeviceCommand::Stop]);
}

#[test]
fn a_print_repeated_at_the_screen_after_its_end_is_somebody_elses_and_needs_a_clear_bed() {
    let mut s = Scene::printing();
    s.shows_ours(DeviceState::Finished);
    decided(&mut s);
    s.clear_bed();
    s.run_printer();
    assert!(s.printer_is(ConditionType::BedCleared));
    // The same file under the next number of the device: "print again", or whatever set it going.
    let name = s.remote_name();
    s.report.identity = crate::testing::identity("9", &name);
    s.shows(DeviceState::Printing);
    s.shown_job_exists = true;
    let ended = s.job_status();
    decided(&mut s);
    assert_eq!(s.job_status(), ended, "terminal is final");
    assert_eq!(s.reason(ConditionType::Idle), "Occupied");
    assert!(!s.printer_is(ConditionType::BedCleared));
}
