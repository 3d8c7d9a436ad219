//! The file of a job between its acceptance and its upload: what the job keeps to, and what becomes of it when its file
//! is gone from the cache and its source does not give it back.

use printernizer_crds::common::SecretReference;
use printernizer_crds::print_job::{FilamentChoice, HttpSource, PrinterReference, S3Source};
use printernizer_crds::{ConditionType, Conditions, PrintJob, Reason};

use crate::plan::{DeviceCommand, Effect};
use crate::print_job::{UploadView, kept_sha256, needs_file_at_hand};
use crate::testing::objects::filament;
use crate::testing::{Scene, seconds};

fn message(s: &Scene, type_: ConditionType) -> String {
    s.job_status().conditions.condition(type_).unwrap().message.clone()
}

/// A claimed job whose file has been on its way for so long.
fn fetching(n: u64) -> Scene {
    let mut s = Scene::claimed();
    (s.file, s.fetching) = (None, Some(seconds(n)));
    s
}

#[test]
fn a_claimed_job_asks_for_its_file_and_sends_nothing_before_it_is_at_hand() {
    let mut s = Scene::waiting();
    s.claim();
    assert!(s.job_plan().has(&Effect::FetchFile), "at once, with the second half of the claim");
    let mut s = Scene::claimed();
    s.file = None;
    let plan = s.job_plan();
    assert_eq!((plan.effects.as_slice(), plan.look_again), (&[Effect::FetchFile][..], Some(seconds(60))));
    let plan = fetching(59).job_plan();
    assert_eq!((plan.job(), plan.look_again), (None, Some(seconds(1))));
    let read = Scene::claimed();
    assert!(read.job_plan().job().unwrap().upload.is_some());
    for (stage, needed) in [(Scene::claimed as fn() -> Scene, true), (Scene::uploaded, false), (Scene::printing, false)]
    {
        assert_eq!(needs_file_at_hand(&stage().job), needed);
    }
}

#[test]
fn a_source_that_has_failed_since_costs_the_job_its_claim_at_once_and_the_printer_nothing() {
    for (file_refused, fetching, says) in [
        (Some(Reason::SourceUnreachable), None, "SourceUnreachable"),
        (Some(Reason::DigestMismatch), None, "DigestMismatch"),
        // Also one that is only too slow.
        (None, Some(seconds(60)), "FetchingFile"),
    ] {
        let mut s = Scene::claimed();
        let file = s.file.take();
        (s.file_refused, s.fetching) = (file_refused, fetching);
        assert_eq!(s.run_job(), [], "nothing lies on the printer");
        let status = s.job_status();
        assert_eq!((status.printer, status.attempt, status.upload), (None, 2, None), "{says}");
        assert_eq!((status.avoid, status.not_before, status.refusals), (None, None, 0), "no fault of the printer");
        assert_eq!(s.reason(ConditionType::Accepted), says);
        assert_eq!(s.job_status().waiting_for.as_deref(), Some(says), "that is what a person reads");
        assert!(!crate::scheduling::is_waiting_for_a_printer(&s.job));
        s.run_printer();
        assert_eq!(s.printer_status().current_job, None, "it is free for others");
        // It asks for the file, and says so once.
        let plan = s.job_plan();
        assert!(plan.job().is_none() && (fetching.is_some() || plan.has(&Effect::FetchFile)), "{plan:?}");

        // A new process begins from the start, and takes no other file.
        (s.file_refused, s.fetching) = (None, None);
        assert!(s.job_plan().has(&Effect::FetchFile));
        assert_eq!(kept_sha256(&s.job), Some(status.file.unwrap().sha256.as_str()));
        s.file = file;
        s.run_job();
        assert!(s.is(ConditionType::Accepted) && crate::scheduling::is_waiting_for_a_printer(&s.job), "{says}");
        s.claim();
        s.run_job();
        assert_eq!(s.job_status().attempt, 2);
        assert!(matches!(s.run_job().as_slice(), [DeviceCommand::Upload { .. }]));
    }
}

#[test]
fn what_may_lie_on_the_printer_goes_before_the_claim_also_when_the_file_is_gone() {
    let mut s = Scene::claimed();
    s.run_job();
    assert!(s.job_status().upload.is_some());
    // A new process, which has nothing at hand.
    s.file_refused = Some(Reason::FileNotFound);
    assert_eq!(s.run_job(), [s.delete()]);
    s.file_deleted = true;
    s.run_job();
    assert_eq!((s.job_status().printer, s.reason(ConditionType::Accepted).as_str()), (None, "FileNotFound"));
    // An upload that is under way has its file, whatever becomes of the source.
    let mut s = Scene::claimed();
    s.run_job();
    (s.upload, s.file_refused) = (UploadView::Running { percent: 1 }, Some(Reason::FileNotFound));
    assert_eq!(s.run_job(), []);
    assert!(s.job_status().printer.is_some());
}

#[test]
fn an_upload_that_fails_again_and_again_is_told_once() {
    let mut s = Scene::claimed();
    s.run_job();
    let failed = UploadView::Failed { message: "the storage is full".into() };
    s.upload = failed.clone();
    s.run_job();
    let told = message(&s, ConditionType::Started);
    for view in [UploadView::Idle, UploadView::Running { percent: 10 }, failed, UploadView::Running { percent: 99 }] {
        s.upload = view.clone();
        assert!(s.job_plan().job().is_none(), "{view:?}");
    }
    // A change of the spec is observed all the same.
    s.job.metadata.generation = Some(2);
    s.run_job();
    assert_eq!((s.job_status().observed_generation, message(&s, ConditionType::Started)), (Some(2), told));
    s.upload = UploadView::Done;
    s.run_job();
    assert_eq!(s.reason(ConditionType::Started), "StartPending");
}

#[test]
fn a_file_without_a_machine_is_read_again_and_binds_the_job_to_nothing() {
    let mut s = Scene::bare();
    let whole = s.file.clone();
    s.file.as_mut().unwrap().printer_model = None;
    s.run_job();
    assert_eq!(s.reason(ConditionType::Accepted), "MachineUnstated");
    let plan = s.job_plan();
    assert!(plan.has(&Effect::FetchFile) && plan.look_again.is_some(), "{plan:?}");
    assert_eq!(kept_sha256(&s.job), None, "another file may be put in its place");
    let mut corrected = s.clone();
    corrected.file = whole;
    corrected.run_job();
    assert!(corrected.is(ConditionType::Accepted));
    s.job.spec.printer_ref = Some(PrinterReference { name: "anna".into() });
    s.job.metadata.generation = Some(2);
    s.run_job();
    assert!(s.is(ConditionType::Accepted) && kept_sha256(&s.job).is_some());
}

/// Filaments are numbered as in the slicer; a choice for another one would have no effect without a word.
#[test]
fn a_slot_chosen_for_a_filament_that_is_not_used_is_refused_with_the_numbers_there_are() {
    let mut s = Scene::bare();
    let filaments =
        |indexes: &[i32]| indexes.iter().map(|i| filament(*i, "PLA", "#1F6FEB", "12.5")).collect::<Vec<_>>();
    let choices = |indexes: &[i32]| {
        indexes.iter().map(|index| FilamentChoice { index: *index, slot: "Main".into() }).collect::<Vec<_>>()
    };
    s.file.as_mut().unwrap().filaments = filaments(&[1, 3]);
    s.job.spec.filaments = choices(&[1, 2]);
    s.run_job();
    assert_eq!(s.reason(ConditionType::Accepted), "InvalidSpec");
    let told = message(&s, ConditionType::Accepted);
    assert!(told.contains("filament 2") && told.contains("1 and 3"), "{told}");
    assert_eq!(kept_sha256(&s.job), None, "another file may be put in its place");
    s.job.spec.filaments = choices(&[3, 1]);
    s.job.metadata.generation = Some(2);
    s.run_job();
    assert!(s.is(ConditionType::Accepted));
    // A file that names no filaments is matched by those a person names.
    let mut s = Scene::bare();
    s.file.as_mut().unwrap().filaments.clear();
    s.job.spec.filaments = choices(&[2]);
    s.run_job();
    assert!(s.is(ConditionType::Accepted));
}

fn accepted(change: impl FnOnce(&mut PrintJob)) -> Scene {
    let mut s = Scene::bare();
    change(&mut s.job);
    s.run_job();
    assert!(s.is(ConditionType::Accepted));
    s
}

#[test]
fn a_job_takes_no_other_file_because_its_secret_or_its_plate_has_changed() {
    let secret = || Some(SecretReference { name: "renewed".into() });
    let ca = || Some(printernizer_crds::common::ConfigMapKeyReference { name: "ca".into(), key: "ca.crt".into() });
    let http = || {
        accepted(|job| {
            job.spec.source.config_map = None;
            job.spec.source.http = Some(HttpSource { url: "https://files.example/a".into(), ..HttpSource::default() });
        })
    };
    let s3 = || {
        accepted(|job| {
            job.spec.source.config_map = None;
            job.spec.source.s3 = Some(S3Source { bucket: "parts".into(), key: "a".into(), ..S3Source::default() });
        })
    };
    let keeps = |mut s: Scene, change: &dyn Fn(&mut PrintJob)| {
        change(&mut s.job);
        s.job.metadata.generation = Some(2);
        s.file = None;
        let kept = kept_sha256(&s.job).is_some();
        assert!(s.job_plan().has(&Effect::FetchFile), "it is asked for in any case");
        kept
    };
    assert!(keeps(http(), &|job| job.spec.plate = 2));
    assert!(keeps(http(), &|job| job.spec.source.http.as_mut().unwrap().credentials_secret_ref = secret()));
    assert!(keeps(http(), &|job| job.spec.source.http.as_mut().unwrap().ca_bundle_config_map_ref = ca()));
    assert!(keeps(s3(), &|job| job.spec.source.s3.as_mut().unwrap().credentials_secret_ref = secret()));
    assert!(keeps(s3(), &|job| job.spec.source.s3.as_mut().unwrap().ca_bundle_config_map_ref = ca()));
    assert!(keeps(s3(), &|job| job.spec.source.s3.as_mut().unwrap().region = Some("eu-central-1".into())));
    // Whoever names another place or another digest means another file.
    assert!(!keeps(http(), &|job| job.spec.source.http.as_mut().unwrap().url += "?new"));
    assert!(!keeps(s3(), &|job| job.spec.source.s3.as_mut().unwrap().key = "b".into()));
    assert!(!keeps(s3(), &|job| job.spec.source.s3.as_mut().unwrap().bucket = "others".into()));
    assert!(!keeps(s3(), &|job| job.spec.source.s3.as_mut().unwrap().endpoint = Some("https://s3.example".into())));
    assert!(!keeps(http(), &|job| job.spec.sha256 = Some("1".repeat(64))));
}
