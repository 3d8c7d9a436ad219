//! Bambu Lab printers, from `kubectl apply` to a finished print: the real operator as a process, a real API server, a
//! printer that speaks the real protocol.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod bambu;
mod support;

use bambu::{A1, CLIP, a1, commands, lasting, opened, printing, prints_to_its_end, succeeds, the_start};
use printernizer_crds::print_job::Phase;
use printernizer_crds::{ConditionType, Conditions, Reason};
use printernizer_e2e::farm::project;
use printernizer_simulator::{
    Action, AfterPowerCut, Answer, BambuFault, Config, Event, Fault, FaultKind, JobCommand, SlicedFile, Tray,
};
use serde_json::json;
use support::Shop;

/// A farm with this example file and a cleared bed.
async fn example(test: &str, config: Config, file: &str) -> Shop {
    let shop = opened(test, config, Vec::new()).await;
    let bytes = std::fs::read(project().join("examples/files").join(file)).unwrap();
    shop.farm.add_file("example", bytes).await.unwrap();
    shop
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_printed_once_and_the_bed_waits_for_a_person() {
    let shop = example("bambu", a1(), "cable-clip-a1.gcode.3mf").await;
    shop.farm.print("clip-1", "example", json!({})).await.unwrap();

    shop.job_says("clip-1", ConditionType::Scheduled, Reason::WaitingForBed).await;
    shop.printer_says(A1, ConditionType::BedCleared, Reason::NeverConfirmed).await;
    assert_eq!(shop.starts("pz-"), 0);
    shop.clear(A1).await;

    let status = shop.phase("clip-1", Phase::Succeeded).await;
    assert_eq!((status.attempt, status.attempts.len()), (1, 1));
    assert_eq!(shop.starts("pz-"), 1);
    let printer = shop.printer(A1, "is released", |s| s.current_job.is_none()).await;
    let bed = printer.bed.unwrap();
    assert_eq!(bed.job.as_deref(), Some("clip-1"));
    assert!(bed.occupancy_id.is_some());
    assert!(printer.conditions.has_reason(ConditionType::ControlAllowed, Reason::ControlProven));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_filament_of_a_two_colored_part_comes_from_the_slot_that_holds_it() {
    let mut config = a1();
    let trays = [("PETG", "000000FF"), ("PLA", "FFFFFFFF"), ("PLA", "FF0000FF"), ("PLA", "1F6FEBFF")];
    config.printers[0].bambu.trays = trays.iter().map(|(material, color)| Tray::loaded(material, color)).collect();
    let shop = example("colors", config, "label-stand-two-colors-a1.gcode.3mf").await;
    shop.clear(A1).await;
    shop.farm.print("sign", "example", json!({ "colorMatch": "Near" })).await.unwrap();
    let status = shop.phase("sign", Phase::Printing).await;
    let told: Vec<_> = status.slot_mapping.iter().map(|c| (c.index, c.slot.as_str())).collect();
    assert_eq!(told, [(1, "AMS1-4"), (3, "AMS1-2")]);
    // The machine took what it was told: filament 1 is blue, filament 3 white.
    let (_, filaments) = the_start(&shop);
    let used: Vec<_> = filaments.iter().map(|f| (f.filament, f.tray, f.color.as_str())).collect();
    assert_eq!(used, [(1, 3, "1F6FEBFF"), (3, 1, "FFFFFFFF")]);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_plate_of_a_file_is_the_one_that_is_printed() {
    let shop = example("plate", a1(), "two-plates-a1.gcode.3mf").await;
    shop.clear(A1).await;
    shop.farm.print("second", "example", json!({ "plate": 2 })).await.unwrap();
    shop.phase("second", Phase::Printing).await;
    let (ids, _) = the_start(&shop);
    assert_eq!(ids.plate, 2);
    assert_eq!((&ids.task_id, &ids.task_id), (&ids.subtask_id, &ids.project_id));
    assert!(ids.subtask_name.contains("-pz-"), "{ids:?}");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_filament_is_taken_out_before_the_start_is_given_back_unstarted() {
    let mut config = a1();
    config.printers[0].bambu.trays = vec![Tray::loaded("PLA", "FFFFFFFF"), Tray::default()];
    config.printers[0].bambu.external = Tray::default();
    let upload = FaultKind::StallUpload { after_bytes: 16, milliseconds: 1_500 };
    let shop = opened("tray", config, vec![Fault::once(upload)]).await;
    shop.clear(A1).await;
    shop.print(CLIP, json!({})).await;
    shop.phase(CLIP, Phase::Uploading).await;
    let machine = shop.machine(A1);
    machine.person(&Action::ChangeTray { tray: 0, material: "PETG".into(), color: "FFFFFFFF".into() }).unwrap();
    shop.job(CLIP, "waits for a printer again", |s| s.printer.is_none() && s.attempt == 2).await;
    shop.machine_shows(A1, "no file", |m| m.files.is_empty()).await;
    assert_eq!((commands(&shop), shop.starts("")), (0, 0));
    machine.person(&Action::ChangeTray { tray: 0, material: "PLA".into(), color: "FFFFFFFF".into() }).unwrap();
    // Full reports are asked for once in a minute at most, and only they tell what is in a slot. A new connection has one.
    machine.person(&Action::Reboot { job: AfterPowerCut::Lose }).unwrap();
    shop.phase(CLIP, Phase::Printing).await;
    let (_, filaments) = the_start(&shop);
    assert_eq!(filaments[0].material, "PLA");
    succeeds(&shop).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_that_is_put_in_is_known_at_once_and_the_job_that_waits_for_it_is_printed() {
    let mut config = a1();
    config.printers[0].bambu.trays = vec![Tray::default(), Tray::default()];
    config.printers[0].bambu.external = Tray::default();
    let shop = opened("spool", config, Vec::new()).await;
    shop.clear(A1).await;
    shop.print(CLIP, json!({})).await;
    shop.job_says(CLIP, ConditionType::Scheduled, Reason::NoMatchingPrinter).await;
    let logins = || shop.machine(A1).state().bambu.unwrap().logins;
    let before = logins();
    let spool = Action::ChangeTray { tray: 1, material: "PLA".into(), color: "FFFFFFFF".into() };
    shop.machine(A1).person(&spool).unwrap();
    let status = shop.phase(CLIP, Phase::Printing).await;
    assert_eq!(status.slot_mapping[0].slot, "AMS1-2");
    assert_eq!(logins(), before + 1, "only the start connects anew");
    prints_to_its_end(shop, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_print_is_paused_resumed_and_cancelled_by_spec() {
    let shop = printing("control").await;
    shop.machine_shows(A1, "RUNNING", |m| m.link_state.as_deref() == Some("RUNNING")).await;
    shop.want(CLIP, "Pause").await;
    let status = shop.phase(CLIP, Phase::Paused).await;
    assert!(status.conditions.has_reason(ConditionType::Started, Reason::PausedAsAsked), "{:?}", status.conditions);
    shop.want(CLIP, "Run").await;
    shop.phase(CLIP, Phase::Printing).await;
    shop.machine_shows(A1, "RUNNING", |m| m.link_state.as_deref() == Some("RUNNING")).await;
    shop.want(CLIP, "Cancel").await;
    let status = shop.phase(CLIP, Phase::Cancelled).await;
    assert!(status.conditions.has_reason(ConditionType::Failed, Reason::Cancelled));
    for command in [JobCommand::Pause, JobCommand::Resume, JobCommand::Stop] {
        assert_eq!(shop.effects(command), 1, "{command:?}: {:?}", shop.ledger());
    }
    shop.printer_says(A1, ConditionType::BedCleared, Reason::FailedPrintOnBed).await;
    shop.machine_shows(A1, "no file", |m| m.files.is_empty()).await;
    assert_eq!((commands(&shop), shop.starts("pz-")), (1, 1));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_printer_that_never_answers_a_command_is_paused_and_resumed_all_the_same() {
    let shop = printing("mute").await;
    shop.machine(A1).fault(lasting(BambuFault::NoAcknowledgement));
    shop.machine_shows(A1, "RUNNING", |m| m.link_state.as_deref() == Some("RUNNING")).await;
    shop.want(CLIP, "Pause").await;
    let status = shop.phase(CLIP, Phase::Paused).await;
    assert!(status.conditions.has_reason(ConditionType::Started, Reason::PausedAsAsked), "{:?}", status.conditions);
    shop.want(CLIP, "Run").await;
    shop.phase(CLIP, Phase::Printing).await;
    for command in [JobCommand::Pause, JobCommand::Resume] {
        assert_eq!(shop.effects(command), 1, "{command:?}: {:?}", shop.ledger());
    }
    prints_to_its_end(shop, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_print_that_shows_our_name_and_no_number_is_paused_resumed_and_cancelled() {
    let shop = bambu::with("nonumber", vec![lasting(BambuFault::NoIdEcho)]).await;
    let status = shop.phase(CLIP, Phase::Printing).await;
    assert_eq!(status.device_job_id, None);
    shop.machine_shows(A1, "RUNNING", |m| m.link_state.as_deref() == Some("RUNNING")).await;
    shop.want(CLIP, "Pause").await;
    shop.phase(CLIP, Phase::Paused).await;
    shop.want(CLIP, "Run").await;
    shop.phase(CLIP, Phase::Printing).await;
    shop.machine_shows(A1, "RUNNING", |m| m.link_state.as_deref() == Some("RUNNING")).await;
    shop.want(CLIP, "Cancel").await;
    shop.phase(CLIP, Phase::Cancelled).await;
    for command in [JobCommand::Pause, JobCommand::Resume, JobCommand::Stop] {
        assert_eq!(shop.effects(command), 1, "{command:?}: {:?}", shop.ledger());
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_at_the_screen_is_not_ended_by_spec() {
    let shop = printing("screen").await;
    let machine = shop.machine(A1);
    shop.machine_shows(A1, "RUNNING", |m| m.link_state.as_deref() == Some("RUNNING")).await;
    machine.person(&Action::Pause).unwrap();
    shop.job_says(CLIP, ConditionType::Started, Reason::PausedAtPrinter).await;
    for (desired, acted) in [("Pause", "Pause"), ("Run", "Run")] {
        shop.want(CLIP, desired).await;
        shop.job(CLIP, "takes note", |s| s.acted_on.is_some_and(|a| format!("{a:?}") == acted)).await;
    }
    shop.job_says(CLIP, ConditionType::Started, Reason::PausedAtPrinter).await;
    assert_eq!((shop.commands(JobCommand::Pause), shop.commands(JobCommand::Resume)), (0, 0));
    machine.person(&Action::Resume).unwrap();
    prints_to_its_end(shop, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_print_started_at_the_screen_occupies_the_printer_until_its_bed_is_cleared() {
    let shop = opened("foreign", a1(), Vec::new()).await;
    shop.clear(A1).await;
    let machine = shop.machine(A1);
    let foreign = Action::PrintForeignFile { file_name: "vase.gcode.3mf".into(), duration_seconds: 100_000 };
    machine.person(&foreign).unwrap();
    shop.printer_says(A1, ConditionType::Idle, Reason::Occupied).await;
    shop.print(CLIP, json!({})).await;
    shop.job(CLIP, "waits", |s| s.conditions.is_false(ConditionType::Scheduled)).await;
    shop.machine_shows(A1, "RUNNING", |m| m.link_state.as_deref() == Some("RUNNING")).await;
    shop.skip(100_060);
    shop.printer_says(A1, ConditionType::BedCleared, Reason::ForeignPrintOnBed).await;
    assert_eq!(commands(&shop), 0);
    shop.clear(A1).await;
    prints_to_its_end(shop, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_job_prints_its_own_file_and_not_the_one_before() {
    let shop = printing("own").await;
    let first = succeeds(&shop).await;
    let other = SlicedFile::lasting(bambu::PRINT + 1).plate(&[(1, "PLA")]).build();
    shop.farm.add_file("other", other).await.unwrap();
    shop.farm.print("next", "other", json!({})).await.unwrap();
    shop.clear(A1).await;
    let next = shop.phase("next", Phase::Printing).await;
    let begun = |event| if let Event::PhysicalStart { sha256, .. } = event { Some(sha256) } else { None };
    let printed: Vec<_> = shop.ledger().into_iter().filter_map(|e| begun(e.event)).collect();
    assert_eq!(printed, [first, next].map(|s| s.file.unwrap().sha256));
    assert_ne!(printed[0], printed[1]);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_screen_that_nobody_leaves_is_no_end_of_the_next_print() {
    let shop = printing("finish").await;
    succeeds(&shop).await;
    assert_eq!(shop.machine(A1).state().link_state.as_deref(), Some("FINISH"));
    // The next print shows itself late: until then the printer says that a print has ended.
    let late = BambuFault::SlowStart { ids_after_seconds: 60, state_after_seconds: 90 };
    shop.machine(A1).fault(Fault::once(FaultKind::Bambu(late)));
    shop.print("next", json!({})).await;
    shop.clear(A1).await;
    let status = shop.phase("next", Phase::Printing).await;
    assert!(status.question.is_none() && status.attempt == 1);
    assert_eq!((commands(&shop), shop.starts("pz-")), (2, 2));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_an_end_screen_swallows_is_asked_about() {
    let shop = printing("prompt").await;
    succeeds(&shop).await;
    shop.machine(A1).fault(lasting(BambuFault::EndScreenIgnoresStarts));
    shop.print("next", json!({})).await;
    shop.clear(A1).await;
    shop.question("next").await;
    assert_eq!((commands(&shop), shop.starts("pz-")), (2, 1));
    shop.machine(A1).person(&Action::LeaveEndScreen).unwrap();
    bambu::not_printed(&shop, "next").await;
    shop.clear(A1).await;
    shop.phase("next", Phase::Printing).await;
    assert_eq!((commands(&shop), shop.starts("pz-")), (3, 2));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reboot_in_the_middle_of_a_print_is_put_before_a_person() {
    let shop = printing("reboot").await;
    // Before its first print a printer shows none, as after a reboot: what was seen meanwhile tells the two apart.
    for (count, job) in [(1, CLIP), (2, "next")] {
        shop.machine(A1).person(&Action::Reboot { job: AfterPowerCut::Lose }).unwrap();
        shop.job_says(job, ConditionType::OutcomeUnknown, Reason::IdentityErased).await;
        shop.answer(job, "Failed").await;
        shop.phase(job, Phase::Failed).await;
        shop.printer(A1, "has an occupied bed", |s| s.conditions.is_false(ConditionType::BedCleared)).await;
        assert_eq!((commands(&shop), shop.starts("pz-")), (count, count));
        if count == 1 {
            shop.print("next", json!({})).await;
            shop.clear(A1).await;
            shop.phase("next", Phase::Printing).await;
        }
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_print_that_goes_on_after_a_power_cut_is_ours_and_its_end_is_confirmed_by_a_person() {
    let shop = printing("resumed").await;
    shop.machine_shows(A1, "RUNNING", |m| m.link_state.as_deref() == Some("RUNNING")).await;
    shop.machine(A1).person(&Action::Reboot { job: AfterPowerCut::Resume }).unwrap();
    shop.machine_shows(A1, "RUNNING again", |m| m.link_state.as_deref() == Some("RUNNING")).await;
    resumed_is_ended_by_a_person(shop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_printer_that_asks_whether_to_resume_our_print_calls_a_person_and_the_print_goes_on() {
    let shop = printing("asks").await;
    let machine = shop.machine(A1);
    shop.machine_shows(A1, "RUNNING", |m| m.link_state.as_deref() == Some("RUNNING")).await;
    machine.person(&Action::Reboot { job: AfterPowerCut::Ask }).unwrap();
    let status = shop.job_says(CLIP, ConditionType::Started, Reason::Attention).await;
    assert_eq!(status.phase, Some(Phase::AttentionNeeded));
    let told = status.message.unwrap();
    assert!(told.contains("offers to resume") && told.contains("decide at its screen"), "{told}");
    let advice = bambu::printer_advice(&shop, ConditionType::Idle, Reason::Attention).await;
    assert!(advice.contains("decide at its screen"), "{advice}");
    machine.person(&Action::AnswerDialog { answer: Answer::Continue }).unwrap();
    shop.machine_shows(A1, "RUNNING again", |m| m.link_state.as_deref() == Some("RUNNING")).await;
    resumed_is_ended_by_a_person(shop).await;
}

/// Of a print that goes on after a power cut the printer has forgotten whose it is: that is said, and at its end a person
/// is asked.
async fn resumed_is_ended_by_a_person(shop: Shop) {
    let says = |s: &printernizer_crds::PrintJobStatus| {
        let started = s.conditions.condition(ConditionType::Started);
        started.is_some_and(|c| c.reason == "PrintSeen" && c.message.contains("after a restart of the printer"))
    };
    let status = shop.job(CLIP, "says that it goes on", says).await;
    assert_eq!(status.phase, Some(Phase::Printing));
    shop.printer_says(A1, ConditionType::Idle, Reason::Printing).await;
    shop.skip(PRINT_AND_MORE);
    shop.question(CLIP).await;
    let status = shop.phase(CLIP, Phase::AttentionNeeded).await;
    let told = status.message.unwrap();
    assert!(told.contains("the printer was restarted") && told.contains("spec.outcome"), "{told}");
    shop.answer(CLIP, "Succeeded").await;
    shop.phase(CLIP, Phase::Succeeded).await;
    assert_eq!((commands(&shop), shop.starts("pz-")), (1, 1));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reboot_of_an_idle_printer_does_not_clear_its_bed() {
    let shop = printing("idle").await;
    succeeds(&shop).await;
    let occupied = |s: &printernizer_crds::PrinterStatus| s.bed.as_ref().is_some_and(|b| b.occupancy_id.is_some());
    shop.printer(A1, "has a part on its bed", occupied).await;
    let machine = shop.machine(A1);
    machine.person(&Action::Reboot { job: AfterPowerCut::Lose }).unwrap();
    assert_eq!(machine.state().bambu.unwrap().task_id, "0");
    shop.print("next", json!({})).await;
    shop.printer_says(A1, ConditionType::Idle, Reason::NothingRunning).await;
    shop.job("next", "waits", |s| s.conditions.is_false(ConditionType::Scheduled)).await;
    shop.printer(A1, "still has a part on its bed", occupied).await;
    assert_eq!(commands(&shop), 1);
    shop.clear(A1).await;
    shop.phase("next", Phase::Printing).await;
    assert_eq!((commands(&shop), shop.starts("pz-")), (2, 2));
    shop.close().await;
}

/// Enough for the print to end.
const PRINT_AND_MORE: u64 = bambu::PRINT + 600;
