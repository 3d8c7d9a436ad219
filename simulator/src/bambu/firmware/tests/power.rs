//! Power cuts, reboots and updates: what is lost, what goes on, what starts by itself.

use super::*;

#[test]
fn a_late_start_shows_nothing_before_it_happens_and_is_lost_with_the_power() {
    let faults = StartFaults { start_late: Some(seconds(300)), ..StartFaults::default() };
    let mut machine = machine();
    machine.start(Duration::ZERO, request("a"), &faults, Incidents::default());
    machine.advance(seconds(299));
    assert_eq!(machine.shown(), &Shown::nothing());
    machine.advance(seconds(310));
    assert_eq!(machine.phase().gcode_state(), Some("PREPARE"));
    let mut machine = self::machine();
    machine.start(Duration::ZERO, request("a"), &faults, Incidents::default());
    act(&mut machine, 100, &Action::Reboot { job: AfterPowerCut::Ask });
    machine.advance(seconds(9999));
    assert_eq!(machine.phase().gcode_state(), Some("IDLE"));
    assert_eq!(starts(&mut machine), []);
}

#[test]
fn a_reboot_erases_the_ids_and_the_print_goes_on_or_not() {
    // what happens to the print, whether ids are kept, then state and print_error, and the state 20 s later
    let table = [
        (AfterPowerCut::Ask, false, "IDLE", 0x0300_8007, "IDLE"),
        (AfterPowerCut::Resume, false, "RUNNING", 0, "RUNNING"),
        (AfterPowerCut::Lose, false, "IDLE", 0, "IDLE"),
        (AfterPowerCut::Ask, true, "IDLE", 0x0300_8007, "IDLE"),
    ];
    for (job, keeps, state, error, later) in table {
        let mut machine = printing(Vec::new());
        machine.conditions.keeps_ids = keeps;
        act(&mut machine, 100, &Action::Reboot { job });
        assert_eq!((machine.phase().gcode_state(), machine.print_error()), (Some(state), error), "{job:?}");
        let erased = machine.shown().subtask_id == "0" && machine.shown().subtask_name.is_empty();
        assert_eq!(erased, !keeps, "{job:?}");
        machine.advance(seconds(120));
        assert_eq!(machine.phase().gcode_state(), Some(later), "{job:?}");
        assert_eq!(starts(&mut machine).len(), 1, "{job:?}: going on is no start");
    }
}

#[test]
fn the_question_after_a_power_loss_can_be_answered_and_protects_nothing() {
    let mut machine = at_phase("asking whether to go on with a");
    act(&mut machine, 51, &Action::AnswerDialog { answer: Answer::Continue });
    machine.advance(seconds(61));
    assert_eq!((machine.phase().gcode_state(), machine.shown().gcode_file.as_str()), (Some("RUNNING"), "a.gcode.3mf"));
    let mut machine = at_phase("asking whether to go on with a");
    act(&mut machine, 51, &Action::AnswerDialog { answer: Answer::Abort });
    assert_eq!((machine.phase().gcode_state(), machine.print_error()), (Some("IDLE"), 0));
    let mut machine = at_phase("asking whether to go on with a");
    starts(&mut machine);
    start(&mut machine, 51, request("b"));
    machine.advance(seconds(61));
    assert_eq!(starts(&mut machine), [("b.gcode.3mf".to_owned(), true)]);
}

#[test]
fn a_leftover_file_starts_by_itself_after_a_power_cycle_if_the_machine_does_that() {
    for (fault, name, expected) in [
        (false, "/a.gcode.3mf", 0),
        (true, "/a.gcode.3mf", 1),
        (true, "/a.gcode.3mf.part", 0),
        (true, "/cache/a.gcode.3mf", 0),
    ] {
        let mut machine = machine();
        machine.conditions.leftover_starts = fault;
        let file = machine.card.find("/a.gcode.3mf").unwrap().clone();
        for path in machine.card.paths() {
            machine.card.remove(&path);
        }
        machine.card.put(name, file);
        act(&mut machine, 0, &Action::Reboot { job: AfterPowerCut::Ask });
        machine.advance(seconds(50));
        assert_eq!(starts(&mut machine).len(), expected, "{name}");
        let ids = (machine.shown().task_id.as_str(), machine.shown().subtask_id.as_str());
        assert_eq!(ids, ("0", "0"), "{name}");
    }
}

#[test]
fn an_update_ends_with_a_reboot_into_the_new_version() {
    let mut machine = machine();
    act(&mut machine, 0, &Action::UpdateFirmware { version: "01.06.00.00".to_owned(), seconds: 60 });
    let boots = machine.boots();
    machine.advance(seconds(60));
    assert_eq!((machine.boots(), machine.config().firmware.as_str()), (boots + 1, "01.06.00.00"));
}
