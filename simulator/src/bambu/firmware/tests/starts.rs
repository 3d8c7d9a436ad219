//! Starts: their errors, their filaments, their delays, and those that come twice.

use super::*;

#[test]
fn a_start_that_cannot_be_printed_ends_idle_with_its_error_and_its_ids() {
    type Change = fn(&mut Firmware, &mut StartRequest);
    let table: [(&str, Change, u32); 15] = [
        ("nothing wrong", |_, _| {}, 0),
        ("no such file", |_, request| request.path = Some("/c.gcode.3mf".to_owned()), 0x0500_c010),
        ("strange address", |_, request| request.path = None, 0x0500_4002),
        ("no container", |_, request| request.path = Some("/text.gcode.3mf".to_owned()), 0x0500_4003),
        ("no such plate", |_, request| request.plate_path = "Metadata/plate_7.gcode".to_owned(), 0x0500_4003),
        ("another model", |_, request| request.path = Some("/mini.gcode.3mf".to_owned()), 0x0500_8036),
        ("another nozzle", |_, request| request.path = Some("/wide.gcode.3mf".to_owned()), 0x0500_4038),
        ("card out", |machine, _| machine.card.inserted = false, 0x0500_400c),
        ("card bad", |machine, _| machine.conditions.card_abnormal = true, 0x0500_c010),
        ("wrong md5, not checked", |_, request| request.md5 = "00".to_owned(), 0),
        (
            "wrong md5",
            |machine, request| {
                machine.conditions.checks_md5 = true;
                request.md5 = "00".to_owned();
            },
            0x0500_4003,
        ),
        (
            "right md5",
            |machine, request| {
                machine.conditions.checks_md5 = true;
                request.md5 = machine.card.find("/a.gcode.3mf").unwrap().md5();
            },
            0,
        ),
        (
            "still uploading",
            |machine, _| {
                let file = machine.card.find("/a.gcode.3mf").unwrap().clone();
                machine.card.put("/a.gcode.3mf", CardFile { open: true, ..file });
            },
            0x0500_c010,
        ),
        ("loading filament", |machine, _| act(machine, 0, &Action::ChangeFilament { seconds: 99 }), 0x0502_400d),
        (
            "updating",
            |machine, _| act(machine, 0, &Action::UpdateFirmware { version: "2".to_owned(), seconds: 99 }),
            0x0500_4005,
        ),
    ];
    for (what, change, error) in table {
        let mut machine = machine();
        let mut request = request("a");
        change(&mut machine, &mut request);
        let answer = start(&mut machine, 0, request);
        assert!(matches!(answer, StartAnswer::Acknowledged { accepted: true, .. }), "{what}: acknowledged");
        machine.advance(seconds(15));
        let state = if error == 0 { "PREPARE" } else { "IDLE" };
        assert_eq!(machine.phase().gcode_state(), Some(state), "{what}");
        assert_eq!(machine.print_error(), error, "{what}: {:x}", machine.print_error());
        assert_eq!(machine.shown().subtask_id, "12", "{what}");
        let events = machine.take_events();
        let abandoned = events.iter().any(|event| matches!(event, Event::JobAbandoned { .. }));
        assert_eq!(abandoned, error != 0, "{what}: {events:?}");
    }
}

#[test]
fn filaments_come_from_the_mapped_trays_or_the_print_waits_with_an_error() {
    type Expected = Result<&'static [u8], u32>;
    // plate, use_ams, mapping, trays used or the error
    let table: [(u32, bool, &[i64], Expected); 11] = [
        (1, true, &[0], Ok(&[0])),
        (1, true, &[254], Ok(&[254])),
        (2, true, &[1, -1, 2], Ok(&[1, 2])),
        (2, true, &[0, 2], Err(0x0700_8012)),
        (2, true, &[0, -1, -1], Err(0x0700_8012)),
        (1, true, &[], Err(0x0700_8012)),
        (1, true, &[3], Err(0x0700_8012)),
        (1, true, &[4], Err(0x0700_8012)),
        (1, true, &[-1], Err(0x0700_8012)),
        (1, false, &[], Ok(&[254])),
        (1, false, &[3], Ok(&[254])),
    ];
    for (plate, use_ams, mapping, expected) in table {
        let mut machine = machine();
        let plate_path = format!("Metadata/plate_{plate}.gcode");
        start(&mut machine, 0, StartRequest { plate_path, use_ams, mapping: mapping.to_vec(), ..request("a") });
        machine.advance(seconds(10));
        let used = machine.take_events().into_iter().find_map(|event| match event {
            Event::PhysicalStart { filaments, .. } => Some(filaments.iter().map(|used| used.tray).collect::<Vec<_>>()),
            _ => None,
        });
        let result = used.ok_or(machine.print_error());
        assert_eq!(result, expected.map(<[u8]>::to_vec), "plate {plate}, {use_ams}, {mapping:?}");
        assert_eq!(machine.phase().gcode_state(), Some(if expected.is_ok() { "PREPARE" } else { "PAUSE" }));
    }
}

#[test]
fn a_wrong_mapping_can_be_mended_and_resumed_and_starts_once() {
    let mut machine = machine();
    start(&mut machine, 0, StartRequest { mapping: vec![3], ..request("a") });
    machine.advance(seconds(10));
    assert!(machine.resume(seconds(11)));
    assert_eq!(machine.print_error(), 0x0700_8012);
    let (material, color) = ("PLA".to_owned(), String::new());
    act(&mut machine, 12, &Action::ChangeTray { tray: 3, material, color });
    act(&mut machine, 13, &Action::Resume);
    assert_eq!(starts(&mut machine), [("a.gcode.3mf".to_owned(), false)]);
    assert_eq!(machine.phase().gcode_state(), Some("PREPARE"));
}

#[test]
fn without_ams_or_external_spool_nothing_can_be_mapped_there() {
    for (action, request, error) in [
        (None, StartRequest { use_ams: true, ..request("a") }, 0x0700_8012),
        (
            Some(Action::ChangeTray { tray: 254, material: String::new(), color: String::new() }),
            StartRequest { use_ams: false, ..request("a") },
            0x07ff_8012,
        ),
    ] {
        let mut machine = machine();
        match action {
            Some(action) => act(&mut machine, 0, &action),
            None => machine.trays.clear(),
        }
        start(&mut machine, 0, request);
        machine.advance(seconds(10));
        assert_eq!(machine.print_error(), error);
    }
}

#[test]
fn name_ids_and_state_of_a_slow_start_appear_at_their_own_times() {
    let mut machine = printing(Vec::new());
    machine.advance(seconds(2000));
    let faults = StartFaults { slow: Some((seconds(100), seconds(135))), ..StartFaults::default() };
    let other = StartRequest {
        identity: BambuIdentity { subtask_id: "22".to_owned(), ..request("b").identity },
        ..request("b")
    };
    machine.start(seconds(2000), other, &faults, Incidents::default());
    for (at, name, id, state) in [
        (2000, "b.gcode.3mf", "12", "FINISH"),
        (2099, "b.gcode.3mf", "12", "FINISH"),
        (2100, "b.gcode.3mf", "22", "FINISH"),
        (2134, "b.gcode.3mf", "22", "FINISH"),
        (2135, "b.gcode.3mf", "22", "PREPARE"),
    ] {
        machine.advance(seconds(at));
        let shown = machine.shown();
        let now = (shown.gcode_file.as_str(), shown.subtask_id.as_str(), machine.phase().gcode_state());
        assert_eq!(now, (name, id, Some(state)), "{at}");
    }
}

#[test]
fn a_start_while_busy_is_refused_and_may_cancel_what_is_printing() {
    for cancels in [false, true] {
        let mut machine = printing(Vec::new());
        machine.conditions.busy_start_cancels = cancels;
        let answer = start(&mut machine, 30, request("b"));
        assert!(matches!(answer, StartAnswer::Acknowledged { accepted: false, .. }));
        assert_eq!(machine.print_error(), if cancels { 0x0300_400c } else { 0x0500_4004 });
        machine.advance(seconds(40));
        assert_eq!(machine.phase().gcode_state(), Some(if cancels { "FAILED" } else { "RUNNING" }));
        assert_eq!(machine.print_error(), 0, "shown for a moment only");
        assert_eq!(starts(&mut machine).len(), 1);
    }
}

#[test]
fn a_repeated_start_waits_behind_the_first_and_prints_again_when_that_has_ended() {
    let slow = StartFaults { slow: Some((seconds(1), seconds(5000))), ..StartFaults::default() };
    let mut machine = machine();
    start(&mut machine, 0, request("a"));
    machine.start(seconds(1), request("a"), &slow, Incidents::default());
    machine.advance(seconds(6000));
    let twice = ("a.gcode.3mf".to_owned(), false);
    assert_eq!(starts(&mut machine), [twice.clone(), (twice.0, true)]);
}

#[test]
fn two_tasks_with_clamped_ids_look_like_one() {
    let clamped = || {
        let identity = BambuIdentity { task_id: CLAMPED_ID.to_owned(), ..request("a").identity };
        StartRequest { identity, ..request("a") }
    };
    let mut machine = machine();
    start(&mut machine, 0, clamped());
    machine.advance(seconds(2000));
    let answer = start(&mut machine, 2000, clamped());
    assert!(matches!(answer, StartAnswer::Acknowledged { accepted: false, .. }));
    machine.advance(seconds(3000));
    assert_eq!(starts(&mut machine).len(), 1);
}
