//! The desk: files are read once at a time, again after a pause, and for the plate that is wanted.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::FutureExt as _;
use printernizer_crds::common::ConfigMapKeyReference;
use printernizer_printfile::Limits;
use serde_json::json;

use super::lanes::Lane;
use super::reading::status_of;
use super::*;
use crate::files::testing::{Objects, config};

mod claimed;
mod sources;

fn job() -> PrintJob {
    serde_json::from_value(json!({
        "apiVersion": "printernizer.io/v1alpha1", "kind": "PrintJob",
        "metadata": { "name": "clip", "namespace": "farm", "uid": "1" },
        "spec": { "source": { "configMap": { "name": "part", "key": "part.gcode" } } },
    }))
    .unwrap()
}

/// Lets so much of the clock pass at once.
async fn pass(by: Duration) {
    tokio::time::pause();
    tokio::time::advance(by).await;
    tokio::time::resume();
}

/// Waits until the file is refused for this reason; gives the message.
async fn refused(desk: &Desk, job: &PrintJob, expected: Reason) -> String {
    let ended = async {
        loop {
            match desk.state(job) {
                FileState::Refused { reason, message } if reason == expected => return message,
                _ => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ended).await.expect("it ends")
}

#[tokio::test]
async fn a_file_whose_reading_panics_is_read_again_after_a_pause() {
    let directory = tempfile::tempdir().unwrap();
    let asked = AtomicUsize::new(0);
    let objects = Objects::of(move |_, _| {
        assert!(asked.fetch_add(1, Ordering::SeqCst) > 0, "a bug");
        Some(b"<!DOCTYPE html>\n".to_vec())
    });
    let files = Files::new(config(directory.path(), objects));
    let jobs = Queue::default();
    let desk = Desk::new(files.unwrap(), jobs.clone());
    let job = job();
    assert_eq!(desk.fetch(&job), None);
    let message = refused(&desk, &job, Reason::FetchingFile).await;
    assert!(message.contains("unforeseen"), "{message}");
    assert!(jobs.is_due(&Key::of(&job)), "the job hears of it");
    assert!(desk.fetch(&job).is_some_and(|pause| pause <= RETRY), "not at once, but soon");
    pass(RETRY).await;
    assert_eq!(desk.fetch(&job), None);
    refused(&desk, &job, Reason::NotAPrintFile).await;
}

#[test]
fn what_costs_the_cluster_only_is_tried_again_sooner_and_a_wrong_spec_not_at_all() {
    let pauses = |retry| [0, 1, 3, 9, 60].map(|refusals| pause(retry, refusals).as_secs());
    assert_eq!(pauses(Retry::Backoff), [5, 10, 40, 300, 300]);
    assert_eq!(pauses(Retry::Soon), [5, 10, 40, 60, 60]);
    assert_eq!(pauses(Retry::Seldom), [5, 10, 40, 2560, 3600]);
    assert_eq!(pauses(Retry::AfterChange), [86_400; 5]);
}

#[tokio::test]
async fn what_is_refused_says_how_often_it_is_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    let objects = Objects::of(|_, _| Some(b"<!DOCTYPE html>\n".to_vec()));
    let desk = Desk::new(Files::new(config(directory.path(), objects)).unwrap(), Queue::default());
    let secret = json!({ "url": "http://127.0.0.1:9/a", "credentialsSecretRef": { "name": "missing" } });
    for (source, reason, words) in [
        (json!({ "configMap": { "name": "a", "key": "b" } }), Reason::NotAPrintFile, Some("every 5 minutes")),
        (json!({ "http": { "url": "http://127.0.0.1:9/a" } }), Reason::SourceUnreachable, Some("every 5 minutes")),
        (json!({ "http": secret }), Reason::SecretNotFound, Some("every minute")),
        (json!({ "s3": { "bucket": "parts", "key": "../a" } }), Reason::NotSupported, None),
    ] {
        let mut job = job();
        job.spec.source = serde_json::from_value(source.clone()).unwrap();
        assert_eq!(desk.fetch(&job), None, "{source}");
        let told = refused(&desk, &job, reason).await;
        match words {
            Some(words) => assert!(told.ends_with(&format!("Tried again by itself, at least {words}")), "{told}"),
            None => assert!(!told.contains("again"), "only another spec helps: {told}"),
        }
    }
}

/// Otherwise a source that answers slowly keeps more and more readers, and no other job gets its file.
#[tokio::test]
async fn a_file_is_read_once_at_a_time_and_not_for_a_job_that_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let objects = Objects::of(|_, _| Some(b"<!DOCTYPE html>\n".to_vec()));
    let desk = Desk::new(Files::new(config(directory.path(), objects)).unwrap(), Queue::default());
    let job = job();
    assert_eq!(desk.fetch(&job), None);
    refused(&desk, &job, Reason::NotAPrintFile).await;
    // As many as there may be are read already.
    let lane = || Lane { namespace: "farm".into(), server: None };
    let mut places = Vec::new();
    while let Some(place) = desk.reader.accepting.enter(lane()).now_or_never() {
        places.push(place);
    }
    tokio::time::pause();
    tokio::time::advance(RETRY).await;
    assert_eq!(desk.fetch(&job), None);
    let waits = async |count: usize| {
        while desk.reader.accepting.waiting() != count {
            tokio::task::yield_now().await;
        }
    };
    let waits = async |count, why: &str| tokio::time::timeout(Duration::from_secs(20), waits(count)).await.expect(why);
    waits(1, "it waits for its turn").await;
    assert!(matches!(desk.state(&job), FileState::Refused { .. }), "and says what it said");
    tokio::time::advance(RETRY_CAP * 2).await;
    assert_eq!(desk.fetch(&job), None);
    waits(1, "once").await;
    desk.forget(&Key::of(&job));
    waits(0, "nobody waits for it any more").await;
}

/// For a job that is to be accepted.
fn reading(request: SourceRequest, plate: i32) -> Reading {
    let released = CancellationToken::new();
    released.cancel();
    Reading { request, asked: Asked::default(), plate, facts: None, released }
}

fn example(name: &str) -> Vec<u8> {
    std::fs::read(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/files").join(name)).unwrap()
}

#[test]
fn the_status_of_a_sliced_3mf_says_what_its_start_needs() {
    let bytes = std::io::Cursor::new(example("label-stand-two-colors-a1.gcode.3mf"));
    let facts = printernizer_printfile::inspect_plate(bytes, 1, &Limits::default()).unwrap();
    let status = status_of(&facts, "", 1);
    assert_eq!((status.format.as_str(), status.printer_model.as_deref()), ("Gcode3mf", Some("N2S")));
    assert_eq!(status.plate.as_deref(), Some("Textured PEI Plate"));
    assert_eq!(status.bed_type.as_deref(), Some("textured_plate"));
    assert_eq!(status.project_filaments, Some(3));
    assert_eq!(status.filaments.iter().map(|f| f.index).collect::<Vec<_>>(), [1, 3]);
}

#[tokio::test]
async fn a_plate_of_more_filaments_than_are_matched_is_refused() {
    for (used, refused) in [(16, false), (17, true)] {
        let directory = tempfile::tempdir().unwrap();
        let list = |what: &str| vec![what; used].join(";");
        let gcode = format!(
            "; generated by PrusaSlicer 2.9.0\nG28\nG1 X1 Y1 E1\n; filament used [g] = {}\n; filament_type = {}\n\
             ; estimated printing time (normal mode) = 1m\n; prusaslicer_config = begin\n; prusaslicer_config = end\n",
            vec!["1.00"; used].join(", "),
            list("PLA"),
        );
        let objects = Objects::of(move |_, _| Some(gcode.clone().into_bytes()));
        let files = Files::new(config(directory.path(), objects)).unwrap();
        let part = ConfigMapKeyReference { name: "part".into(), key: "part.gcode".into() };
        let source = Source { config_map: Some(part), ..Source::default() };
        let request = SourceRequest { namespace: "farm".into(), source };
        let reading = reading(request, 1);
        match Reader::new(files).read(&reading).await.state.unwrap() {
            FileState::Read(status) => assert_eq!((status.filaments.len(), refused), (used, false)),
            FileState::Refused { reason, message } => {
                assert!(refused && reason == Reason::NotSupported, "{used}: {message}");
                assert!(message.contains("17 filaments"), "{message}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_job_gets_the_facts_of_its_plate_or_hears_which_there_are() {
    let directory = tempfile::tempdir().unwrap();
    let objects = Objects::of(|_, _| Some(example("two-plates-a1.gcode.3mf")));
    let files = Files::new(config(directory.path(), objects)).unwrap();
    let part = ConfigMapKeyReference { name: "part".into(), key: "part.gcode.3mf".into() };
    let source = Source { config_map: Some(part), ..Source::default() };
    let request = SourceRequest { namespace: "farm".into(), source };
    let reader = Reader::new(files);
    let mut seconds = Vec::new();
    for plate in [1, 2, 3] {
        let reading = reading(request.clone(), plate);
        match reader.read(&reading).await.state.unwrap() {
            FileState::Read(status) => seconds.push(status.estimated_seconds.unwrap()),
            FileState::Refused { reason, message } => {
                assert_eq!((plate, reason), (3, Reason::MissingPlate));
                assert!(message.contains("only 1, 2"), "{message}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(seconds.as_slice(), [clip, stand] if clip < stand), "{seconds:?}");
}
