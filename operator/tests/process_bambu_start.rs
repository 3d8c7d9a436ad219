//! Starts on a Bambu Lab printer whose echo is late, missing or a lie, and printers that refuse: whatever is said, a
//! file is started once, and what cannot be known is asked of a person.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod bambu;
mod support;

use bambu::{A1, CLIP, a1, commands, lasting, opened, printer_advice, prints_to_its_end, succeeds, to_a_start, with};
use printernizer_crds::print_job::Phase;
use printernizer_crds::{ConditionType, Conditions, Reason};
use printernizer_simulator::{Action, BambuFault, Event, Fault, FaultKind, RefusalForm};
use serde_json::json;
use support::Shop;

async fn with_start(name: &str, fault: BambuFault) -> Shop {
    with(name, vec![to_a_start(FaultKind::Bambu(fault))]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_echo_that_comes_after_135_seconds_is_waited_for() {
    let late = BambuFault::SlowStart { ids_after_seconds: 135, state_after_seconds: 137 };
    let shop = with_start("late", late).await;
    shop.phase(CLIP, Phase::Printing).await;
    assert_eq!(commands(&shop), 1);
    prints_to_its_end(shop, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_printer_switched_off_and_on_before_it_shows_its_new_print_is_asked_about_and_the_part_printed_once() {
    let late = BambuFault::SlowStart { ids_after_seconds: 135, state_after_seconds: 137 };
    let shop = with_start("latelost", late).await;
    let is_start = |e: &printernizer_simulator::Entry| matches!(e.event, Event::StartCommand { .. });
    shop.ledger_shows("the start", |entries| entries.iter().any(is_start)).await;
    let machine = shop.machine(A1);
    machine.person(&Action::Reboot { job: printernizer_simulator::AfterPowerCut::Lose }).unwrap();
    assert_eq!(machine.state().bambu.unwrap().gcode_file, "", "nothing of the print is shown any more");
    shop.question(CLIP).await;
    assert_eq!((commands(&shop), shop.starts("pz-")), (1, 0));
    bambu::not_printed(&shop, CLIP).await;
    shop.clear(A1).await;
    prints_to_its_end(shop, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_stands_in_place_of_the_print_is_a_failed_start_and_the_part_is_printed_once() {
    let code = "0500_4003".to_owned().try_into().unwrap();
    let shop = with_start("error", BambuFault::StartError { code }).await;
    shop.printer_says(A1, ConditionType::Trusted, Reason::StartRefused).await;
    let status = shop.job(CLIP, "waits again", |s| s.attempt == 2 && s.printer.is_none()).await;
    assert_eq!((status.failed_prints, commands(&shop), shop.starts("pz-")), (0, 1, 0));
    shop.machine(A1).person(&Action::LeaveEndScreen).unwrap();
    bambu::acknowledge(&shop).await;
    prints_to_its_end(shop, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_is_closed_at_the_printer_costs_it_no_connections_and_its_opening_starts_the_job() {
    let upload = FaultKind::StallUpload { after_bytes: 16, milliseconds: 1_500 };
    let shop = with("closed", vec![Fault::once(upload)]).await;
    let machine = shop.machine(A1);
    shop.phase(CLIP, Phase::Uploading).await;
    machine.person(&Action::ChangeFilament { seconds: 1_000_000 }).unwrap();
    let logins = || machine.state().bambu.unwrap().logins;
    let before = logins();
    let waits = |s: &printernizer_crds::PrintJobStatus| {
        let started = s.conditions.condition(ConditionType::Started);
        started.is_some_and(|c| c.message.contains("filament is being changed"))
    };
    shop.job(CLIP, "waits for the filament", waits).await;
    // Long enough for several tries, were each to connect anew.
    let more = |m: &printernizer_simulator::PrinterState| m.bambu.as_ref().is_some_and(|b| b.logins > before);
    assert!(!machine.wait_for(std::time::Duration::from_secs(6), more).await, "{} logins", logins() - before);
    machine.person(&Action::ChangeFilament { seconds: 0 }).unwrap();
    shop.phase(CLIP, Phase::Printing).await;
    assert_eq!(logins(), before + 1, "the connection of the start\n{}", shop.operator.as_ref().unwrap().tail());
    prints_to_its_end(shop, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_printer_whose_file_server_is_slower_than_a_gap_in_watching_prints_all_the_same() {
    let upload = FaultKind::StallUpload { after_bytes: 16, milliseconds: 1_500 };
    let shop = with("slowfiles", vec![Fault::once(upload)]).await;
    // The login of the upload is over: what is slow from now on is that of the start.
    shop.machine_shows(A1, "a file that arrives", |m| m.files.iter().any(|f| f.starts_with("up-"))).await;
    // Each answer comes in time, and all of them together after more than 30 s.
    for command in ["PBSZ", "PROT", "TYPE"] {
        shop.machine(A1).fault(Fault::lasting(FaultKind::DelayHandling { milliseconds: 11_000 }).on(command, ""));
    }
    prints_to_its_end(shop, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_acknowledgement_is_adopted() {
    let shop = with_start("noack", BambuFault::NoAcknowledgement).await;
    prints_to_its_end(shop, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_is_acknowledged_and_never_happens_is_asked_about_and_printed_when_a_person_says_so() {
    let shop = with("lie", vec![to_a_start(FaultKind::AcceptWithoutStarting)]).await;
    shop.question(CLIP).await;
    assert_eq!((commands(&shop), shop.starts("pz-")), (1, 0));
    shop.answer(CLIP, "NotPrinted").await;
    shop.printer_says(A1, ConditionType::BedCleared, Reason::Unconfirmed).await;
    shop.clear(A1).await;
    prints_to_its_end(shop, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_shows_its_ids_and_nothing_more_is_asked_about() {
    for fault in [BambuFault::NeverStarts, BambuFault::Refuse { form: RefusalForm::WithoutResult }] {
        let shop = with_start("idsonly", fault).await;
        shop.question(CLIP).await;
        assert_eq!(commands(&shop), 1);
        shop.answer(CLIP, "Failed").await;
        shop.phase(CLIP, Phase::Failed).await;
        assert_eq!((commands(&shop), shop.starts("pz-")), (1, 0));
        shop.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_is_swallowed_or_refused_without_a_word_is_asked_about_and_never_sent_again() {
    for fault in [BambuFault::SwallowCommand, BambuFault::Refuse { form: RefusalForm::Silent }] {
        let shop = with_start("silent", fault).await;
        shop.question(CLIP).await;
        let status = shop.phase(CLIP, Phase::AttentionNeeded).await;
        let message = &status.conditions.condition(ConditionType::OutcomeUnknown).unwrap().message;
        assert!(message.contains("NotPrinted"), "{message}");
        assert_eq!((commands(&shop), shop.starts("pz-")), (1, 0));
        shop.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_printer_without_developer_mode_gets_no_more_jobs_and_says_what_to_switch_on() {
    for form in [RefusalForm::Acknowledgement, RefusalForm::AcknowledgementAndHms] {
        let shop = with("refused", vec![lasting(BambuFault::Refuse { form })]).await;
        let advice = printer_advice(&shop, ConditionType::ControlAllowed, Reason::ControlRefused).await;
        assert!(advice.contains("Developer Mode"), "{advice}");
        let status = shop.job(CLIP, "waits again", |s| s.attempt == 2 && s.printer.is_none()).await;
        assert_eq!(status.failed_prints, 0);
        let told = (&status.attempts[0].printer, &status.attempts[0].reason);
        assert!(told.0 == A1 && told.1.contains("switch on Developer Mode"), "{told:?}");
        let told = |s: &printernizer_crds::PrintJobStatus| {
            s.message.as_ref().is_some_and(|m| m.contains(A1) && m.contains("switch on Developer Mode"))
        };
        shop.job(CLIP, "says itself what to switch on", told).await;
        shop.job(CLIP, "still says it when its pause is over", |s| {
            s.conditions.has_reason(ConditionType::Scheduled, Reason::WaitingForPrinter) && told(s)
        })
        .await;
        let printer = shop.printer_says(A1, ConditionType::Trusted, Reason::StartRefused).await;
        assert!(printer.conditions.is_true(ConditionType::BedCleared), "nothing was printed: {:?}", printer.conditions);
        assert!(!printer.conditions.is_true(ConditionType::Ready));
        assert_eq!((commands(&shop), shop.starts("pz-")), (1, 0));
        shop.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_shows_only_among_the_faults_is_told_and_its_start_is_not_repeated() {
    let shop = with("hms", vec![lasting(BambuFault::Refuse { form: RefusalForm::Hms })]).await;
    let advice = printer_advice(&shop, ConditionType::ControlAllowed, Reason::ControlRefused).await;
    assert!(advice.contains("Developer Mode"), "{advice}");
    let ended = |s: &printernizer_crds::PrintJobStatus| s.question.is_some() || s.attempt == 2;
    shop.job(CLIP, "is put before a person or waits again", ended).await;
    assert_eq!((commands(&shop), shop.starts("pz-")), (1, 0));
    shop.close().await;
}

/// A farm in which a person starts another file at the screen while our start lies at the printer, which has not looked at
/// it yet: nothing can take it back.
async fn turned_busy(name: &str, lasting: Option<BambuFault>) -> Shop {
    let shop = with(name, vec![to_a_start(FaultKind::DelayHandling { milliseconds: 1_500 })]).await;
    let machine = shop.machine(A1);
    shop.machine_shows(A1, "that a start has come", |m| m.faults.is_empty()).await;
    if let Some(fault) = lasting {
        machine.fault(bambu::lasting(fault));
    }
    let foreign = Action::PrintForeignFile { file_name: "vase.gcode.3mf".into(), duration_seconds: 100_000 };
    machine.person(&foreign).unwrap();
    shop
}

#[tokio::test(flavor = "multi_thread")]
async fn a_printer_that_cancels_its_print_when_told_to_start_ours_loses_that_one_and_ours_is_printed_once() {
    let shop = turned_busy("cancels", Some(BambuFault::BusyStartCancels)).await;
    let over = |e: &printernizer_simulator::Entry| {
        matches!(&e.event, Event::PhysicalEnd { file_name, outcome, .. }
            if file_name.contains("vase") && *outcome == printernizer_simulator::Outcome::Stopped)
    };
    shop.ledger_shows("the end of their print", |entries| entries.iter().any(over)).await;
    shop.question(CLIP).await;
    shop.printer(A1, "asks for a clear bed", |s| s.conditions.is_false(ConditionType::BedCleared)).await;
    assert_eq!((commands(&shop), shop.starts("vase"), shop.starts("pz-")), (1, 1, 0));
    bambu::not_printed(&shop, CLIP).await;
    shop.clear(A1).await;
    shop.phase(CLIP, Phase::Printing).await;
    assert_eq!((commands(&shop), shop.starts("vase")), (2, 1));
    assert_eq!(shop.farm.simulator().ledger().starts_on_occupied_bed(), []);
    prints_to_its_end(shop, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_printer_that_turns_busy_under_a_start_keeps_its_print_and_ours_is_asked_about() {
    let shop = turned_busy("busy", None).await;
    let machine = shop.machine(A1);
    shop.printer_says(A1, ConditionType::Idle, Reason::Occupied).await;
    shop.question(CLIP).await;
    assert_eq!((commands(&shop), shop.starts("pz-")), (1, 0));
    assert_eq!(shop.farm.simulator().ledger().physical_ends("vase").len(), 0, "their print goes on");
    machine.person(&Action::Stop).unwrap();
    shop.machine_shows(A1, "an end", |m| m.link_state.as_deref() == Some("FAILED")).await;
    bambu::not_printed(&shop, CLIP).await;
    shop.clear(A1).await;
    prints_to_its_end(shop, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_printer_that_does_not_rename_prints_once_all_the_same() {
    for code in [502, 550] {
        let shop = with("norename", vec![lasting(BambuFault::RenameRefused { code })]).await;
        shop.phase(CLIP, Phase::Printing).await;
        assert!(shop.ledger().iter().all(|e| !matches!(e.event, Event::Rename { .. })));
        succeeds(&shop).await;
        shop.machine_shows(A1, "no file", |m| m.files.is_empty()).await;
        assert_eq!((commands(&shop), shop.starts("pz-")), (1, 1));
        shop.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_waits_on_the_card_does_not_start_itself_after_a_power_cycle() {
    let upload = FaultKind::StallUpload { after_bytes: 16, milliseconds: 1_500 };
    let faults = vec![lasting(BambuFault::LeftoverFileStarts), Fault::once(upload)];
    let shop = with("leftover", faults).await;
    let machine = shop.machine(A1);
    shop.phase(CLIP, Phase::Uploading).await;
    // The gate stays closed as long as the filament is changed.
    machine.person(&Action::ChangeFilament { seconds: 1_000_000 }).unwrap();
    shop.machine_shows(A1, "the whole file", |m| m.files.iter().any(|f| f.contains(".part"))).await;
    shop.job(CLIP, "has its file uploaded", |s| s.upload.as_ref().is_some_and(|u| u.size_verified)).await;
    assert_eq!((commands(&shop), shop.starts("")), (0, 0));
    machine.person(&Action::CutPower).unwrap();
    shop.printer(A1, "is unreachable", |s| s.conditions.is_false(ConditionType::Reachable)).await;
    machine.person(&Action::RestorePower { job: printernizer_simulator::AfterPowerCut::Lose }).unwrap();
    // What happened to the bed while the power was off is not known: the job was given back, with its file.
    shop.printer_says(A1, ConditionType::BedCleared, Reason::Unconfirmed).await;
    shop.machine_shows(A1, "no file", |m| m.files.is_empty()).await;
    assert_eq!(shop.starts(""), 0);
    shop.clear(A1).await;
    shop.phase(CLIP, Phase::Printing).await;
    // The one start there was is the one that was sent.
    assert_eq!(commands(&shop), 1);
    bambu::the_start(&shop);
    prints_to_its_end(shop, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_printer_that_asks_whether_to_resume_gets_no_start_until_a_person_has_answered() {
    let shop = opened("resume", a1(), Vec::new()).await;
    let machine = shop.machine(A1);
    let foreign = Action::PrintForeignFile { file_name: "vase.gcode.3mf".into(), duration_seconds: 100_000 };
    machine.person(&foreign).unwrap();
    shop.machine_shows(A1, "RUNNING", |m| m.link_state.as_deref() == Some("RUNNING")).await;
    machine.person(&Action::CutPower).unwrap();
    machine.settled().await;
    machine.person(&Action::RestorePower { job: printernizer_simulator::AfterPowerCut::Ask }).unwrap();
    // On the wire it is IDLE with an error on the screen.
    let faults =
        shop.printer(A1, "shows the question", |s| s.faults.iter().any(|f| f.code == "0300_8007")).await.faults;
    assert!(faults.iter().all(|f| f.message.len() > 20), "{faults:?}");
    let printer =
        shop.printer(A1, "asks for a clear bed", |s| s.bed.as_ref().is_some_and(|b| b.occupancy_id.is_some()));
    let id = printer.await.bed.unwrap().occupancy_id.unwrap();
    // Even if somebody says that the bed is clear.
    shop.farm.change_printer(A1, json!({ "bed": { "clearedFor": id } })).await.unwrap();
    shop.print(CLIP, json!({})).await;
    shop.job(CLIP, "waits", |s| s.conditions.is_false(ConditionType::Scheduled)).await;
    let advice = printer_advice(&shop, ConditionType::Idle, Reason::Attention).await;
    assert!(advice.contains("screen"), "{advice}");
    assert_eq!(commands(&shop), 0);
    machine.person(&Action::AnswerDialog { answer: printernizer_simulator::Answer::Abort }).unwrap();
    machine.person(&Action::TakePartOff).unwrap();
    prints_to_its_end(shop, 1).await;
}
