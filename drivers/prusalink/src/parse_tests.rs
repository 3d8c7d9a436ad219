//! Answers in the shapes printers really send, with their known oddities. Values are invented.

use proptest::prelude::*;

use super::*;
use crate::name::RemoteName;

fn parse(text: &str) -> Object {
    object("GET /x", text.as_bytes()).unwrap()
}

#[test]
fn a_buddy_that_prints_is_read_whole() {
    let report = status(&parse(
        r#"{"job":{"id":129,"progress":42.00,"time_remaining":7320,"time_printing":5400},
            "storage":{"path":"/usb/","name":"usb","read_only":false},
            "printer":{"state":"PRINTING","temp_bed":60.1,"target_bed":60.0,"temp_nozzle":215.3,"target_nozzle":215.0,
                       "axis_z":12.6,"flow":100,"speed":100,"fan_hotend":5000,"fan_print":4200}}"#,
    ))
    .unwrap();
    assert_eq!(report.state, State::Printing);
    let job = report.job.unwrap();
    assert_eq!((job.id, job.progress_percent, job.time_remaining_seconds), (Some(129), Some(42.0), Some(7320)));
    assert_eq!(report.storages[0].path.as_deref(), Some("/usb/"));
    assert_eq!(report.telemetry.nozzle_celsius, Some(215.3));
    assert_eq!(report.telemetry.axis_z_millimeters, Some(12.6));
}

#[test]
fn a_finished_buddy_has_no_job_object() {
    let report = status(&parse(r#"{"printer":{"state":"FINISHED","temp_bed":31.0}}"#)).unwrap();
    assert_eq!((report.state, report.job, report.storages.len()), (State::Finished, None, 0));
}

#[test]
fn a_python_prusalink_with_a_storage_list_and_nulls_is_read() {
    let report = status(&parse(
        r#"{"storage":[{"path":"/local","read_only":false,"free_space":51234304,"name":"PrusaLink gcodes"},
                       {"path":"/sdcard","read_only":true}],
            "transfer":{"id":3,"progress":12.5,"data_transferred":4096,"time_transferring":2},
            "printer":{"state":"PRINTING","temp_nozzle":null,"axis_z":"0.25",
                       "status_connect":{"ok":false,"message":"no link"},"status_printer":{"ok":true,"message":"OK"}},
            "job":{"id":7,"progress":null,"time_remaining":null}}"#,
    ))
    .unwrap();
    assert_eq!(report.storages.len(), 2);
    assert_eq!(report.storages[0].free_bytes, Some(51_234_304));
    assert_eq!(report.transfer.unwrap().transferred_bytes, Some(4096));
    assert_eq!((report.telemetry.nozzle_celsius, report.telemetry.axis_z_millimeters), (None, Some(0.25)));
    assert_eq!(report.job.unwrap().progress_percent, None);
    assert_eq!(report.trouble, None);
}

#[test]
fn trouble_with_the_machine_is_passed_on() {
    let report = status(&parse(
        r#"{"printer":{"state":"ERROR","status_printer":{"ok":false,"message":"Not\u0007 connected"}}}"#,
    ));
    assert_eq!(report.unwrap().trouble.as_deref(), Some("Not connected"));
}

#[test]
fn every_state_word_is_known_and_a_new_one_is_kept() {
    for word in ["IDLE", "BUSY", "PRINTING", "PAUSED", "FINISHED", "STOPPED", "ERROR", "ATTENTION", "READY"] {
        let report = status(&parse(&format!(r#"{{"printer":{{"state":"{word}"}}}}"#))).unwrap();
        assert!(!matches!(report.state, State::Unknown(_)), "{word}");
        assert_eq!(report.state.to_string(), word);
    }
    let report = status(&parse(r#"{"printer":{"state":"LEVITATING"}}"#)).unwrap();
    assert_eq!(report.state, State::Unknown("LEVITATING".into()));
    let report = status(&parse(r#"{"printer":{"state":7}}"#)).unwrap();
    assert_eq!(report.state, State::Unknown(String::new()));
}

#[test]
fn the_two_servers_are_told_apart() {
    let buddy = version(&parse(
        r#"{"api":"2.0.0","server":"2.1.2","nozzle_diameter":0.40,"text":"PrusaLink","hostname":"core-one",
            "capabilities":{"upload-by-put":true}}"#,
    ))
    .unwrap();
    assert_eq!((buddy.flavor, buddy.firmware, buddy.flavor.storage_name()), (Flavor::Buddy, None, "usb"));
    let python = version(&parse(
        r#"{"api":"2.0.0","server":"0.8.1","original":"PrusaLink I3MK3S","text":"PrusaLink 0.8.1",
            "firmware":"3.14.1-8237","hostname":"pi"}"#,
    ))
    .unwrap();
    assert_eq!((python.flavor, python.firmware.as_deref()), (Flavor::PyLink, Some("3.14.1-8237")));
}

#[test]
fn other_servers_are_named_in_the_error() {
    let octoprint = version(&parse(r#"{"api":"0.1","server":"1.11.8","text":"OctoPrint 1.11.8"}"#)).unwrap_err();
    assert!(matches!(&octoprint, Error::NotPrusaLink { found } if found == "OctoPrint 1.11.8"), "{octoprint}");
    let page = object("GET /x", b"\n <!DOCTYPE html><html>").unwrap_err();
    assert!(matches!(&page, Error::NotPrusaLink { found } if found == "a web page"), "{page}");
    for body in [&b"[1,2]"[..], b"hello", b"7"] {
        assert!(matches!(object("GET /x", body), Err(Error::NotPrusaLink { .. })), "{body:?}");
    }
    assert!(matches!(status(&parse(r#"{"state":"ok"}"#)), Err(Error::NotPrusaLink { .. })));
}

#[test]
fn a_trailing_comma_is_an_error_with_its_cause_and_no_panic() {
    let error = object("GET /api/v1/job", br#"{"id":5,"file":{"name":"X.BGC",}}"#).unwrap_err();
    assert!(matches!(&error, Error::Protocol { source: Some(_), .. }), "{error:?}");
    assert!(error.to_string().contains("GET /api/v1/job"), "{error}");
    assert!(matches!(object("GET /x", b"  "), Err(Error::Protocol { .. })));
}

#[test]
fn the_job_carries_the_long_name() {
    let report = job(&parse(
        r#"{"id":130,"state":"PRINTING","progress":0.00,"time_printing":3,
            "file":{"refs":{"download":"/usb/BRACKE~1.BGC"},"name":"BRACKE~1.BGC",
                    "display_name":"bracket-pz-0011223344556677-1.bgcode","path":"/usb","size":91234,"m_timestamp":1700000000}}"#,
    ));
    assert_eq!(report.id, Some(130));
    assert!(report.prints(&RemoteName::new("bracket-pz-0011223344556677-1.bgcode").unwrap()));
    assert!(!report.prints(&RemoteName::new("bracket-pz-0011223344556677-2.bgcode").unwrap()));
    assert_eq!(report.file.unwrap().size_bytes, Some(91234));
    assert_eq!(job(&parse("{}")).file_name(), None);
}

#[test]
fn sizes_may_be_strings_and_impossible_numbers_are_nothing() {
    assert_eq!(file(&parse(r#"{"size":"12345"}"#)).size_bytes, Some(12345));
    assert_eq!(file(&parse(r#"{"size":-1}"#)).size_bytes, None);
    assert_eq!(file(&parse(r#"{"size":1e300}"#)).size_bytes, None);
    assert_eq!(file(&parse(r#"{"size":{}}"#)).size_bytes, None);
    assert_eq!(job(&parse(r#"{"id":5000000000}"#)).id, None);
    assert_eq!(number(&parse(r#"{"t":"inf"}"#), "t"), None);
}

#[test]
fn three_dashes_mean_no_material() {
    assert_eq!(material(&parse(r#"{"telemetry":{"material":"PETG"}}"#)).as_deref(), Some("PETG"));
    assert_eq!(material(&parse(r#"{"telemetry":{"material":"---"}}"#)), None);
    assert_eq!(material(&parse(r#"{"telemetry":{"material":""}}"#)), None);
    assert_eq!(material(&parse("{}")), None);
}

#[test]
fn refusals_are_read_from_json_text_and_pages() {
    assert_eq!(refusal(br#"{"title":"409: Conflict","message":"File is busy"}"#), "File is busy");
    assert_eq!(refusal(br#"{"title":"409: Conflict","message":""}"#), "409: Conflict");
    assert_eq!(refusal(b"409: File already exists"), "409: File already exists");
    assert_eq!(refusal(b"<html>no"), "(a web page)");
    assert_eq!(refusal(b""), "");
}

/// JSON of any shape under the member names that printers use.
fn any_answer() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,300}".prop_map(Value::from),
    ];
    let keys =
        "printer|job|storage|transfer|file|telemetry|material|state|id|size|progress|text|message|name|status_printer";
    leaf.prop_recursive(4, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(keys, inner, 0..8).prop_map(|members| members.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn no_answer_of_any_shape_gets_through_as_a_panic_or_a_long_text(answer in any_answer(), cut in 0usize..200) {
        let mut body = answer.to_string().into_bytes();
        for length in [body.len(), body.len().min(cut)] {
            body.truncate(length);
            prop_assert!(refusal(&body).chars().count() <= 200);
            let Ok(object) = object("GET /x", &body) else { continue };
            let (_, _, _) = (version(&object), info(&object), file(&object));
            if let Ok(StatusReport { state: State::Unknown(word), .. }) = status(&object) {
                prop_assert!(word.chars().count() <= 200);
            }
            prop_assert!(job(&object).file_name().is_none_or(|name| name.chars().count() <= 200));
            prop_assert!(material(&object).is_none_or(|name| name.chars().count() <= 200));
        }
    }
}
