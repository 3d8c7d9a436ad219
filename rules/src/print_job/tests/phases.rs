//! The phase of a job at each stage, what it says it waits for, and the two conditions by which other tools judge it.

use printernizer_crds::print_job::{DesiredState, Phase};
use printernizer_crds::{ConditionType, Conditions as _, Reason};

use crate::device::DeviceState;
use crate::print_job::status;
use crate::testing::{Scene, seconds};

/// A job whose file is on its way.
fn fetching() -> Scene {
    let mut s = Scene::bare();
    (s.file, s.fetching) = (None, Some(seconds(1)));
    s.run_job();
    s
}

/// A job whose file cannot be had.
fn refused() -> Scene {
    let mut s = Scene::bare();
    (s.file, s.file_refused) = (None, Some(Reason::FileNotFound));
    s.run_job();
    s
}

/// What the job is wanted to do, decided.
fn wanted(mut s: Scene, desired: DesiredState) -> Scene {
    s.job.spec.desired_state = desired;
    s.run_job();
    s
}

fn finished() -> Scene {
    let mut s = Scene::printing();
    s.shows_ours(DeviceState::Finished);
    s.run_job();
    s
}

#[test]
fn each_stage_has_its_phase_and_says_what_it_waits_for() {
    let mut uploading = Scene::claimed();
    uploading.run_job();
    let stages = vec![
        (fetching(), Phase::Pending, Some("FetchingFile")),
        (refused(), Phase::Pending, Some("FileNotFound")),
        (Scene::waiting(), Phase::Pending, None),
        (wanted(Scene::waiting(), DesiredState::Pause), Phase::Held, Some("Held")),
        // Held is what a person reads, whatever else is the matter.
        (wanted(refused(), DesiredState::Pause), Phase::Held, Some("Held")),
        (Scene::claimed(), Phase::Assigned, Some("UploadPending")),
        (uploading, Phase::Uploading, Some("Uploading")),
        (Scene::uploaded(), Phase::Starting, Some("StartPending")),
        (Scene::printing(), Phase::Printing, None),
        (finished(), Phase::Succeeded, None),
        (wanted(Scene::waiting(), DesiredState::Cancel), Phase::Cancelled, None),
    ];
    for (s, phase, waits_for) in stages {
        let status = s.job_status();
        assert_eq!((status.phase, status.waiting_for.as_deref()), (Some(phase), waits_for));
    }
    assert_eq!(finished().job_status().message, None, "what has succeeded needs no words");
    // An intent is a start, whatever else is known of it.
    let mut intended = Scene::intended().job_status();
    intended.upload = None;
    assert_eq!(status::phase(&intended, DesiredState::Run), Phase::Starting);
}

#[test]
fn a_job_is_stalled_while_only_a_person_can_help_and_reconciling_while_its_file_is_read() {
    let of = |s: &Scene| [ConditionType::Stalled, ConditionType::Reconciling].map(|type_| s.is(type_));
    assert_eq!(of(&fetching()), [false, true]);
    assert_eq!(of(&refused()), [true, false]);
    assert_eq!(of(&wanted(refused(), DesiredState::Pause)), [false, false], "it is held back, and nothing is wrong");
    assert_eq!(of(&Scene::waiting()), [false, false]);
    assert_eq!(of(&Scene::printing()), [false, false]);
    assert_eq!(of(&finished()), [false, false]);
    let cancelled = wanted(Scene::bare(), DesiredState::Cancel);
    assert!(cancelled.job_status().conditions.condition(ConditionType::Accepted).is_none());
    assert_eq!(of(&cancelled), [false, false], "it has ended before its file was asked for");
    let failed = {
        let mut s = Scene::printing();
        s.shows_ours(DeviceState::Failed);
        s.run_job();
        s
    };
    assert_eq!(of(&failed), [true, false]);
}
