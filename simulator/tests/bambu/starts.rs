//! From the start command to the end of the print, as the network shows it and as the ledger knows it.

use std::time::Duration;

use printernizer_simulator::{
    Action, AfterPowerCut, BambuFault, Event, Fault, FaultKind, FilamentUse, Outcome, PrintErrorCode, PrintIdentity,
    PrinterHandle, Simulator, SlicedFile, StartCause,
};
use serde_json::json;
use sha2::Digest;

use super::{
    a1,
    clients::{Client, project_file, upload},
    shows, until,
};

pub const NAME: &str = "bracket-pz-1.gcode.3mf";

pub fn bracket() -> Vec<u8> {
    SlicedFile::lasting(1000).plate(&[(1, "PLA")]).build()
}

/// A printer with the file on its card, and a client.
pub async fn loaded() -> (Simulator, PrinterHandle, Client) {
    let (simulator, printer) = a1().await;
    upload(&printer, NAME, &bracket()).await;
    let client = Client::listening(&printer).await;
    (simulator, printer, client)
}

#[tokio::test]
async fn a_print_goes_from_upload_to_finish_and_the_ledger_knows_its_bytes() {
    let (simulator, printer, mut client) = loaded().await;
    assert_eq!(client.state().await, "IDLE");
    let answer = client.acknowledged("print", "project_file", &project_file(NAME, 100)).await;
    assert_eq!((&answer["result"], &answer["command"]), (&json!("success"), &json!(null)));
    let report = client.full_report().await;
    assert_eq!(report["gcode_state"], "RUNNING");
    assert_eq!(
        (&report["task_id"], &report["subtask_id"], &report["project_id"]),
        (&json!("101"), &json!("102"), &json!("103"))
    );
    assert_eq!((&report["subtask_name"], &report["gcode_file"]), (&json!("bracket-pz-1"), &json!(NAME)));
    assert_eq!((&report["mc_remaining_time"], &report["total_layer_num"]), (&json!(17), &json!(42)));
    simulator.skip_time(Duration::from_secs(500));
    assert_eq!(client.full_report().await["mc_percent"], 50);
    simulator.skip_time(Duration::from_secs(500));
    let report = client.full_report().await;
    assert_eq!((&report["gcode_state"], &report["gcode_file"]), (&json!("FINISH"), &json!("")));
    assert_eq!(report["subtask_id"], "102");
    assert!(printer.state().bed_occupied);
    let ledger = simulator.ledger();
    let starts = ledger.physical_starts("pz-1");
    assert_eq!(starts.len(), 1);
    let Event::PhysicalStart { sha256, identity, cause, bed_occupied, filaments, .. } = &starts[0].event else {
        panic!()
    };
    assert_eq!(*sha256, format!("{:x}", sha2::Sha256::digest(bracket())));
    let PrintIdentity::Bambu(identity) = identity else { panic!() };
    assert_eq!((identity.plate, identity.task_id.as_str(), identity.subtask_name.as_str()), (1, "101", "bracket-pz-1"));
    assert_eq!((*cause, *bed_occupied), (StartCause::ProjectFile, false));
    let white = FilamentUse {
        filament: 1,
        wanted_material: "PLA".into(),
        tray: 0,
        material: "PLA".into(),
        color: "FFFFFFFF".into(),
    };
    assert_eq!(*filaments, [white]);
    let Event::PhysicalEnd { outcome, .. } = ledger.physical_ends("pz-1")[0].event else { panic!() };
    assert_eq!(outcome, Outcome::Finished);
    printer.person(&Action::LeaveEndScreen).unwrap();
    assert_eq!(shows(&printer), "IDLE");
}

fn fault(kind: BambuFault) -> Fault {
    Fault::once(FaultKind::Bambu(kind))
}

/// The last start command in the ledger: acknowledgement, whether accepted.
fn last_command(simulator: &Simulator) -> (Option<String>, bool) {
    let entry = simulator.ledger().start_commands("").pop().unwrap();
    let Event::StartCommand { acknowledgement, accepted, .. } = entry.event else { panic!() };
    (acknowledgement, accepted)
}

fn physical_starts(simulator: &Simulator) -> usize {
    simulator.ledger().physical_starts("").len()
}

#[tokio::test]
async fn an_acknowledgement_proves_nothing_and_neither_does_its_absence() {
    // fault, acknowledged, accepted, ids echoed, starts, gcode_state, print_error
    let error = PrintErrorCode(0x0500_4003);
    let table = [
        (FaultKind::AcceptWithoutStarting, true, false, false, 0, "IDLE", 0),
        (FaultKind::Bambu(BambuFault::NoAcknowledgement), false, true, true, 1, "RUNNING", 0),
        (FaultKind::Bambu(BambuFault::SwallowCommand), false, false, false, 0, "IDLE", 0),
        (FaultKind::Bambu(BambuFault::NeverStarts), true, true, true, 0, "IDLE", 0),
        (FaultKind::Bambu(BambuFault::NoIdEcho), true, true, false, 1, "RUNNING", 0),
        (FaultKind::Bambu(BambuFault::StartError { code: error }), true, true, true, 0, "IDLE", 0x0500_4003),
    ];
    for (kind, acknowledged, accepted, echoed, starts, state, error) in table {
        let (simulator, printer, mut client) = loaded().await;
        printer.fault(Fault::once(kind.clone()).on("PUBLISH", "print.project_file"));
        if acknowledged {
            let answer = client.acknowledged("print", "project_file", &project_file(NAME, 100)).await;
            assert_eq!(answer["result"], "success", "{kind:?}");
        } else {
            let sequence_id = client.send("print", "project_file", &project_file(NAME, 100)).await;
            client.send("pushing", "pushall", &json!({})).await;
            let mut message = client.message().await;
            while message["print"]["msg"] != 0 {
                assert_ne!(message["print"]["sequence_id"], sequence_id.as_str(), "{kind:?}");
                message = client.message().await;
            }
        }
        let report = client.full_report().await;
        assert_eq!(report["gcode_state"], state, "{kind:?}");
        assert_eq!(report["print_error"], error, "{kind:?}");
        assert_eq!(report["subtask_id"] == "102", echoed, "{kind:?}");
        assert_eq!(physical_starts(&simulator), starts, "{kind:?}");
        assert_eq!(last_command(&simulator).1, accepted, "{kind:?}");
        assert_eq!(printer.state().faults, [], "{kind:?}: used up");
    }
}

#[tokio::test]
async fn a_connection_may_end_before_or_after_a_start_had_its_effect() {
    for (kind, starts) in [(FaultKind::DropBeforeHandling, 0), (FaultKind::DropAfterHandling, 1)] {
        let (simulator, printer, mut client) = loaded().await;
        printer.fault(Fault::once(kind).on("PUBLISH", "project_file"));
        client.send("print", "project_file", &project_file(NAME, 100)).await;
        assert!(client.has_ended().await);
        assert_eq!(physical_starts(&simulator), starts);
        assert_eq!(simulator.ledger().start_commands("pz-1").len(), 1);
    }
}

#[tokio::test]
async fn the_echo_comes_up_to_minutes_after_the_acknowledgement() {
    let (simulator, printer, mut client) = loaded().await;
    printer.fault(fault(BambuFault::SlowStart { ids_after_seconds: 135, state_after_seconds: 210 }));
    client.acknowledged("print", "project_file", &project_file(NAME, 100)).await;
    for (skipped, id, state, starts) in
        [(0, "0", "IDLE", 0), (134, "0", "IDLE", 0), (2, "102", "IDLE", 0), (80, "102", "RUNNING", 1)]
    {
        simulator.skip_time(Duration::from_secs(skipped));
        let report = client.full_report().await;
        assert_eq!((&report["subtask_id"], &report["gcode_state"]), (&json!(id), &json!(state)), "{skipped}");
        assert_eq!(report["gcode_file"], NAME);
        assert_eq!(physical_starts(&simulator), starts);
    }
}

#[tokio::test]
async fn a_tray_changed_after_the_mapping_prints_with_what_is_in_it() {
    let (simulator, printer, mut client) = loaded().await;
    printer.person(&Action::ChangeTray { tray: 0, material: "ABS".into(), color: "000000FF".into() }).unwrap();
    client.acknowledged("print", "project_file", &project_file(NAME, 100)).await;
    client.full_report().await;
    let entry = simulator.ledger().physical_starts("").pop().unwrap();
    let Event::PhysicalStart { filaments, .. } = entry.event else { panic!() };
    assert_eq!((filaments[0].wanted_material.as_str(), filaments[0].material.as_str()), ("PLA", "ABS"));
}

#[tokio::test]
async fn pause_resume_and_stop_act_and_are_acknowledged_even_when_they_do_nothing() {
    let (simulator, _printer, mut client) = loaded().await;
    assert_eq!(client.acknowledged("print", "pause", &json!({ "param": "" })).await["result"], "success");
    client.acknowledged("print", "project_file", &project_file(NAME, 100)).await;
    for (command, state) in [("pause", "PAUSE"), ("resume", "RUNNING"), ("stop", "FAILED")] {
        assert_eq!(client.acknowledged("print", command, &json!({ "param": "" })).await["result"], "success");
        assert_eq!(client.state().await, state);
    }
    let effects: Vec<bool> = simulator
        .ledger()
        .entries()
        .into_iter()
        .filter_map(|entry| match entry.event {
            Event::JobCommand { took_effect, .. } => Some(took_effect),
            _ => None,
        })
        .collect();
    assert_eq!(effects, [false, true, true, true]);
    assert_eq!(client.acknowledged("print", "gcode_file", &json!({ "param": NAME })).await["result"], "fail");
}

#[tokio::test]
async fn an_undismissed_end_screen_may_swallow_starts() {
    let (simulator, printer, mut client) = loaded().await;
    client.acknowledged("print", "project_file", &project_file(NAME, 100)).await;
    simulator.skip_time(Duration::from_secs(2000));
    printer.fault(Fault::lasting(FaultKind::Bambu(BambuFault::EndScreenIgnoresStarts)));
    client.send("print", "project_file", &project_file(NAME, 200)).await;
    assert_eq!(client.full_report().await["subtask_id"], "102");
    printer.person(&Action::LeaveEndScreen).unwrap();
    client.acknowledged("print", "project_file", &project_file(NAME, 300)).await;
    assert_eq!(client.full_report().await["subtask_id"], "302");
    assert_eq!((physical_starts(&simulator), simulator.ledger().starts_on_occupied_bed().len()), (2, 1));
}

#[tokio::test]
async fn a_failing_print_shows_its_error_for_a_moment() {
    let (simulator, printer, mut client) = loaded().await;
    let code = PrintErrorCode(0x0300_800b);
    printer.fault(fault(BambuFault::PrintFails { after_percent: 50, code }));
    client.acknowledged("print", "project_file", &project_file(NAME, 100)).await;
    simulator.skip_time(Duration::from_secs(500));
    let report = client.full_report().await;
    assert_eq!((&report["gcode_state"], &report["print_error"]), (&json!("FAILED"), &json!(0x0300_800b)));
    simulator.skip_time(Duration::from_secs(2));
    assert_eq!(client.full_report().await["print_error"], 0);
    let Event::PhysicalEnd { outcome, progress_percent, .. } = simulator.ledger().physical_ends("")[0].event else {
        panic!()
    };
    assert_eq!((outcome, progress_percent), (Outcome::Failed, 50));
}

#[tokio::test]
async fn the_screen_and_the_machine_itself_start_prints_too() {
    let (simulator, printer, _client) = loaded().await;
    printer.person(&Action::PrintFile { file_name: NAME.to_owned() }).unwrap();
    printer.fault(Fault::lasting(FaultKind::Bambu(BambuFault::LeftoverFileStarts)));
    printer.person(&Action::Reboot { job: AfterPowerCut::Lose }).unwrap();
    until(&printer, "printing again", |state| state.link_state.as_deref() == Some("RUNNING")).await;
    let causes: Vec<_> = simulator
        .ledger()
        .physical_starts("")
        .into_iter()
        .map(|entry| match entry.event {
            Event::PhysicalStart { cause, bed_occupied, .. } => (cause, bed_occupied),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(causes, [(StartCause::Screen, false), (StartCause::LeftoverFile, true)]);
}
