//! Pausing, resuming and stopping a print that runs: only ours, and only what we have paused ourselves.

use printernizer_crds::ConditionType;
use printernizer_crds::print_job::DesiredState;
use printernizer_crds::printer::StartVerdict;

use crate::device::DeviceState;
use crate::plan::DeviceCommand;
use crate::testing::{Scene, seconds};

fn wants(s: &mut Scene, desired: DesiredState) -> Vec<DeviceCommand> {
    s.job.spec.desired_state = desired;
    s.run_job()
}

#[test]
fn commands_are_sent_only_on_a_fresh_report_that_shows_our_identity_active() {
    for desired in [DesiredState::Pause, DesiredState::Cancel] {
        let mut s = Scene::printing();
        assert_eq!(wants(&mut s.clone(), desired).len(), 1);
        s.age = seconds(6);
        assert_eq!(wants(&mut s, desired), []);
        s.age = seconds(1);
        s.shows_foreign(DeviceState::Printing);
        assert_eq!(wants(&mut s, desired), []);
        let mut ended = Scene::printing();
        ended.shows_ours(DeviceState::Idle);
        assert_eq!(wants(&mut ended, desired), []);
        s.shows_nothing();
        s.report.identity.file = Some(s.remote_name());
        s.shows(DeviceState::Printing);
        assert_eq!(wants(&mut s, desired), [], "a print without its identity is left alone");
    }
}

#[test]
fn cancel_acts_until_the_print_has_stopped() {
    let mut s = Scene::printing();
    assert_eq!(wants(&mut s, DesiredState::Cancel), [DeviceCommand::Stop]);
    assert_eq!(s.run_job(), [DeviceCommand::Stop]);
    s.shows_ours(DeviceState::Stopped);
    s.run_job();
    assert_eq!(s.reason(ConditionType::Failed), "Cancelled");
    assert_eq!(s.verdict_written(), Some(StartVerdict::Cancelled));
}

#[test]
fn our_pause_is_resumed_and_no_other() {
    let paused = |ours: bool, fault: bool| {
        let mut s = Scene::printing();
        if ours {
            assert_eq!(wants(&mut s, DesiredState::Pause), [DeviceCommand::Pause]);
            s.pause_sent = true;
        } else {
            s.job.spec.desired_state = DesiredState::Pause;
        }
        s.shows_ours(DeviceState::Paused);
        s.report.error = fault.then(|| "0300_4006".into());
        assert_eq!(s.run_job(), []);
        (s.reason(ConditionType::Started), wants(&mut s, DesiredState::Run))
    };
    assert_eq!(paused(true, false), ("PausedAsAsked".into(), vec![DeviceCommand::Resume]));
    assert_eq!(paused(false, false), ("PausedAtPrinter".into(), vec![]), "paused at the screen");
    assert_eq!(paused(true, true), ("PausedAtPrinter".into(), vec![]), "paused by a fault");
}

#[test]
fn a_print_resumed_at_the_screen_is_not_paused_again() {
    let mut s = Scene::printing();
    wants(&mut s, DesiredState::Pause);
    s.pause_sent = true;
    s.shows_ours(DeviceState::Paused);
    s.run_job();
    s.shows_ours(DeviceState::Printing);
    assert_eq!(s.run_job(), []);
    assert_eq!(wants(&mut s, DesiredState::Run), []);
    assert_eq!(wants(&mut s, DesiredState::Pause), [DeviceCommand::Pause], "a change acts again");
}

#[test]
fn a_cancelled_job_stops_the_question_before_its_print() {
    let mut s = Scene::intended();
    s.shows_ours(DeviceState::Attention);
    assert_eq!(s.run_job(), []);
    assert_eq!(wants(&mut s, DesiredState::Cancel), [DeviceCommand::Stop]);
}
