//! From the start command to the end of the print, as the network shows it and as the ledger knows it.

use std::time::Duration;

use printernizer_simulator::{
    Action, Event, FilamentUse, Outcome, PrintIdentity, PrinterHandle, Simulator, SlicedFile, StartCause,
};
use serde_json::json;
use sha2::Digest;

use super::{
    a1,
    clients::{Client, project_file, upload},
    shows,
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
