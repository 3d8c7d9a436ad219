//! Reports put together: partial ones after a full one, what clears an error, what is known about storage and trays.
//! All values are made up in the shapes of OpenBambuAPI mqtt.md.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{Merged, Report, State, Storage};

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(map) = value else { panic!("an object") };
    map
}

/// The state after a full report and partial ones.
fn after(full: Value, partial: &[Value]) -> Report {
    let mut state = Merged::default();
    state.merge(&object(full), true);
    for delta in partial {
        state.merge(&object(delta.clone()), false);
    }
    state.report()
}

#[test]
fn a_partial_report_changes_what_it_names_and_nothing_else() {
    let full = json!({"gcode_state": "RUNNING", "subtask_id": "12", "mc_percent": "7", "mc_remaining_time": 90,
                      "hms": [{"attr": 1, "code": 2}], "nozzle_diameter": "0.4",
                      "nozzle_type": "hardened_steel", "print_error": 0});
    let report = after(full, &[json!({"mc_percent": 8}), json!({"hms": []})]);
    assert_eq!(report.percent, Some(8));
    assert_eq!(report.remaining_minutes, Some(90));
    assert_eq!(report.ids.subtask.as_deref(), Some("12"));
    assert_eq!(
        (report.nozzle_diameter_millimeters, report.nozzle_type.as_deref()),
        (Some(0.4), Some("hardened_steel"))
    );
    assert_eq!(report.hms, [], "a list is replaced whole");
}

#[test]
fn what_a_full_report_does_not_name_is_unknown() {
    let mut state = Merged::default();
    state.merge(&object(json!({"gcode_state": "IDLE", "print_error": 0})), true);
    state.merge(&object(json!({"gcode_state": "IDLE"})), true);
    assert_eq!(state.report().print_error, None, "unknown is not the same as none");
}

#[test]
fn a_value_of_the_wrong_kind_is_unknown_and_not_the_old_one() {
    let report = after(json!({"gcode_state": "IDLE", "print_error": 0}), &[json!({"print_error": {"x": 1}})]);
    assert_eq!(report.print_error, None);
    assert_eq!(after(json!({"gcode_state": "hibernating"}), &[]).state, State::Unknown);
}

#[test]
fn a_cancelled_print_is_told_from_a_failed_one_after_the_printer_has_forgotten_why() {
    let running = json!({"gcode_state": "RUNNING", "subtask_id": "12", "print_error": 0});
    let ended = json!({"gcode_state": "FAILED", "print_error": 0});
    let cancelled = after(running.clone(), &[json!({"print_error": 50_348_044}), ended.clone()]);
    assert_eq!((cancelled.print_error, cancelled.latched_error), (Some(0), Some(0x0300_400C)));
    let still_running = [json!({"print_error": 50_348_044}), json!({"print_error": 0}), ended.clone()];
    assert_eq!(after(running.clone(), &still_running).latched_error, Some(0x0300_400C), "withdrawn before the end");
    let other_code_later = [json!({"print_error": 50_348_044}), json!({"print_error": 83_902_484}), ended.clone()];
    assert_eq!(after(running.clone(), &other_code_later).latched_error, Some(0x0300_400C));
    let failed = after(running.clone(), &[json!({"print_error": 117_473_298}), ended.clone()]);
    assert_eq!(failed.latched_error, Some(0x0700_8012));
    assert_eq!(after(running, &[ended]).latched_error, None);
}

#[test]
fn an_error_that_was_overcome_or_belongs_to_the_print_before_is_not_kept() {
    let running = json!({"gcode_state": "RUNNING", "subtask_id": "12", "print_error": 0});
    let runout = json!({"gcode_state": "PAUSE", "print_error": 0x0300_8004_u32});
    let resumed = json!({"gcode_state": "RUNNING", "print_error": 0});
    assert_eq!(after(running.clone(), &[runout, resumed]).latched_error, None);
    let cancelled = json!({"gcode_state": "FAILED", "print_error": 0x0300_400C_u32});
    let next = json!({"gcode_state": "PREPARE", "subtask_id": "13", "print_error": 0});
    assert_eq!(after(running.clone(), &[cancelled.clone(), next]).latched_error, None);
    let same_again = json!({"gcode_state": "PREPARE", "print_error": 0});
    assert_eq!(after(running, &[cancelled, same_again]).latched_error, None);
}

#[test]
fn storage_is_what_the_last_full_report_says() {
    let bits = |two: u32| json!({"home_flag": two << 8, "sdcard": true});
    for (two, expected) in [(1, Storage::Normal), (2, Storage::Abnormal), (3, Storage::ReadOnly)] {
        assert_eq!(after(bits(two), &[]).storage, Some(expected));
    }
    assert_eq!(after(json!({"home_flag": 0, "sdcard": false}), &[]).storage, Some(Storage::Missing));
    assert_eq!(after(bits(0), &[]).storage, None, "the card is there, says one; it is not, says the other");
    assert_eq!(after(bits(1), &[json!({"home_flag": 0})]).storage, Some(Storage::Normal));
    assert_eq!(after(json!({"home_flag": -2_147_483_392_i64}), &[]).storage, Some(Storage::Normal));
    assert_eq!(after(json!({"aux": "3000"}), &[]).storage, Some(Storage::ReadOnly));
    assert_eq!(after(json!({"sdcard": false}), &[]).storage, Some(Storage::Missing));
}

#[test]
fn trays_stay_while_partial_reports_say_only_which_hold_something() {
    let tray = |id: &str| json!({"id": id, "tray_type": "PLA", "tray_color": "FF0000FF", "remain": -1, "state": 11, "tray_weight": "0"});
    let full = json!({"ams": {"ams": [{"id": "0", "tray": [tray("0"), {"id": "1"}]}],
                              "tray_exist_bits": "1", "tray_now": "0"}});
    let before = after(full.clone(), &[]);
    let first = before.ams.tray(0, 0).unwrap();
    assert_eq!((first.loaded, first.material.as_deref(), first.remaining_percent), (Some(true), Some("PLA"), None));
    assert_eq!(before.ams.tray(0, 1).unwrap().loaded, Some(false), "a tray with only an id is empty");
    let report = after(full, &[json!({"ams": {"tray_exist_bits": "2", "tray_now": "255"}})]);
    assert_eq!(report.ams.tray(0, 0).unwrap().loaded, Some(false), "the bits are newer than the list");
    assert_eq!(report.ams.tray(0, 1).unwrap().loaded, Some(true));
    assert_eq!(report.ams.active_tray, Some(255));
}

#[test]
fn a_partial_report_that_names_a_tray_changes_that_tray_and_no_other() {
    let spool =
        |id: &str, material: &str| json!({"id": id, "tray_type": material, "tray_color": "FF0000FF", "remain": 80});
    let full =
        json!({"ams": {"ams": [{"id": "0", "tray": [spool("0", "PLA"), spool("1", "PETG")]}], "tray_exist_bits": "3"}});
    let trays = |delta: Value| {
        let report = after(full.clone(), &[json!({"ams": {"ams": delta}})]);
        let told = report.ams.units[0].trays.iter().map(|t| (t.loaded, t.material.clone().unwrap_or_default()));
        (told.collect::<Vec<_>>(), report.ams.tray(0, 0).unwrap().remaining_percent)
    };
    let told = |first: (bool, &str)| vec![(Some(first.0), first.1.to_owned()), (Some(true), "PETG".to_owned())];
    // A unit without trays, as H2D sends them; a list without units, as P1S.
    assert_eq!(trays(json!([{"id": "0", "temp": "26.0", "tray": []}])), (told((true, "PLA")), Some(80)));
    assert_eq!(trays(json!([])), (told((true, "PLA")), Some(80)));
    // One tray, whole and in part.
    assert_eq!(trays(json!([{"id": "0", "tray": [spool("0", "ABS")]}])), (told((true, "ABS")), Some(80)));
    assert_eq!(trays(json!([{"id": "0", "tray": [{"id": "0", "remain": 79}]}])), (told((true, "PLA")), Some(79)));
    // An empty one, as P1 and X1 tell it, before the bits say so.
    for empty in [json!({"id": "0"}), json!({"id": "0", "state": 9}), json!({"id": "0", "state": 0})] {
        assert_eq!(trays(json!([{"id": "0", "tray": [empty]}])), (told((false, "")), None));
    }
    let back = [
        json!({"ams": {"ams": [{"id": "0", "tray": [{"id": "0"}]}]}}),
        json!({"ams": {"ams": [{"id": "0", "tray": [spool("0", "PLA")]}]}}),
    ];
    assert_eq!(after(full, &back).ams.tray(0, 0).unwrap().loaded, Some(true), "the bits of the full report are older");
}

#[test]
fn a_partial_report_that_tells_of_a_change_in_part_asks_for_the_whole_unless_the_printer_prints() {
    let spool = |id: &str, material: &str| json!({"id": id, "tray_type": material, "remain": 80});
    let asks = |state: &str, delta: Value| {
        let mut merged = Merged::default();
        let full = json!({"gcode_state": state, "sdcard": true, "ams": {"ams": [{"id": "0", "tray": [spool("0", "PLA")]}],
                          "ams_exist_bits": "1", "tray_exist_bits": "1", "tray_read_done_bits": "1",
                          "tray_is_bbl_bits": "0", "version": 4, "tray_now": "0"}});
        assert!(!merged.merge(&object(full), true), "a full report leaves nothing open");
        merged.merge(&object(delta), false)
    };
    let ams = |ams: Value| json!({ "ams": ams });
    for delta in [
        ams(json!({"tray_exist_bits": "0"})),
        ams(json!({"ams_exist_bits": "3"})),
        ams(json!({"tray_read_done_bits": "3"})),
        ams(json!({"tray_is_bbl_bits": "1"})),
        ams(json!({"version": 5})),
        ams(json!({"ams": [{"id": "0", "tray": [{"id": "0"}]}]})),
        ams(json!({"ams": [{"id": "0", "tray": [spool("0", "PETG")]}]})),
        json!({"sdcard": false}),
    ] {
        assert!(asks("IDLE", delta.clone()), "{delta}");
        assert!(!asks("RUNNING", delta.clone()), "{delta}");
    }
    for delta in [
        ams(json!({"tray_now": "255", "tray_exist_bits": "1", "version": 4})),
        ams(json!({"ams": [{"id": "0", "tray": [{"id": "0", "remain": 79}]}]})),
        json!({"wifi_signal": "-40dBm", "sdcard": true}),
    ] {
        assert!(!asks("IDLE", delta.clone()), "{delta}");
    }
}

#[test]
fn a_spool_with_a_tag_tells_what_is_left_and_what_a_full_one_holds() {
    let tray = |remain: i32, weight: &str| {
        let trays = json!([{"id": "0", "tray_type": "PLA", "remain": remain, "tray_weight": weight}]);
        let report = after(json!({"ams": {"ams": [{"id": "0", "tray": trays}]}}), &[]);
        let tray = report.ams.tray(0, 0).unwrap().clone();
        (tray.remaining_percent, tray.spool_grams)
    };
    assert_eq!(tray(40, "250"), (Some(40), Some(250)));
    assert_eq!(tray(-1, "0"), (None, None), "a spool without a tag");
}

#[test]
fn an_external_spool_has_a_material_but_nobody_knows_whether_it_is_there() {
    let report = after(json!({"vt_tray": {"id": "254", "tray_type": "PETG", "tray_color": "zz"}}), &[]);
    let [spool] = &report.external[..] else { panic!("{:?}", report.external) };
    assert_eq!((spool.id, spool.loaded, spool.material.as_deref()), (254, None, Some("PETG")));
    assert_eq!(spool.color_rgba, None);
}

#[test]
fn stages_mean_something_only_while_a_print_goes_on() {
    assert_eq!(after(json!({"gcode_state": "IDLE", "stg_cur": 0}), &[]).stage, None);
    assert_eq!(after(json!({"gcode_state": "PREPARE", "stg_cur": 13}), &[]).stage, Some(13));
}

#[test]
fn developer_mode_and_updates_are_read_from_their_fields() {
    assert_eq!(after(json!({"fun": "3EC1AFFF9CFF"}), &[]).signature_required, Some(true));
    assert_eq!(after(json!({"fun": "3EC18FFF9CFF"}), &[]).signature_required, Some(false));
    assert_eq!(after(json!({"gcode_state": "IDLE"}), &[]).signature_required, None);
    let updating = |status: &str| after(json!({"upgrade_state": {"status": status}}), &[]).upgrade.is_going_on;
    assert!(updating("FLASHING") && updating("NEW_WORD"));
    assert!(!updating("IDLE") && !updating("upgrade_success") && !updating(""));
    assert_eq!(after(json!({"ams_status": 260}), &[]).filament_change, Some(true));
    assert_eq!(after(json!({"ams_status": "0"}), &[]).filament_change, Some(false));
}

#[test]
fn lists_from_a_device_are_capped() {
    let many: Vec<Value> = (0..5000).map(|_| json!({"attr": 1, "code": 1})).collect();
    let units: Vec<Value> = (0..5000).map(|id| json!({"id": id, "tray": []})).collect();
    let report = after(json!({"hms": many, "ams": {"ams": units}, "subtask_name": "x".repeat(100_000)}), &[]);
    assert_eq!((report.hms.len(), report.ams.units.len()), (64, 16));
    assert_eq!(report.subtask_name.unwrap().len(), 300);
}

/// Keys a partial report may carry, with values of the right and of other kinds.
fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        "[A-Z0-9a-f]{0,12}".prop_map(Value::from),
        prop::sample::select(vec!["IDLE", "PREPARE", "RUNNING", "PAUSE", "FINISH", "FAILED"]).prop_map(Value::from),
        prop::collection::vec((0..4_i64, 0..4_i64), 0..3)
            .prop_map(|list| list.iter().map(|(a, c)| json!({"attr": a, "code": c})).collect()),
    ]
}

fn fields() -> impl Strategy<Value = Map<String, Value>> {
    let keys = vec![
        "gcode_state",
        "task_id",
        "subtask_id",
        "subtask_name",
        "gcode_file",
        "print_error",
        "hms",
        "mc_percent",
        "mc_remaining_time",
        "layer_num",
        "total_layer_num",
        "stg_cur",
        "nozzle_diameter",
        "nozzle_type",
        "vt_tray",
        "fun",
        "ams_status",
        "home_flag",
        "sdcard",
        "aux",
    ];
    prop::collection::btree_map(prop::sample::select(keys).prop_map(str::to_owned), value(), 0..12)
        .prop_map(|map| map.into_iter().collect())
}

proptest! {
    /// A device has a state and sends what changed; whoever merged that knows the same as one who asked for all of it.
    #[test]
    fn partial_reports_add_up_to_the_full_one(start in fields(), changes in prop::collection::vec(fields(), 0..6)) {
        let mut device = start.clone();
        let mut merged = Merged::default();
        merged.merge(&start, true);
        for change in &changes {
            device.extend(change.clone());
            merged.merge(change, false);
        }
        let mut asked = Merged::default();
        asked.merge(&device, true);
        let (mut merged, mut asked) = (merged.report(), asked.report());
        // Two values are more than the sum of fields: one remembers, the other is believed in full reports only.
        (merged.latched_error, asked.latched_error) = (None, None);
        (merged.storage, asked.storage) = (None, None);
        prop_assert_eq!(merged, asked);
    }
}
