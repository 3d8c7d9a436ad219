//! What tests with simulated Bambu Lab printers share: a farm with one A1, and what the ledger says of its starts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]
#![allow(dead_code, reason = "each test binary uses its own part of this")]

use printernizer_crds::print_job::Phase;
use printernizer_crds::{ConditionType, PrintJobStatus};
use printernizer_simulator::{
    BambuFault, BambuIdentity, Config, Event, Fault, FaultKind, FilamentUse, PrintIdentity, SlicedFile, StartCause,
};
use serde_json::json;

use crate::support::{FACTOR, SOON, Shop};

/// The one printer of these farms.
pub const A1: &str = "bambu-1";
/// The job.
pub const CLIP: &str = "clip";
/// How long its print takes in seconds of the machine: minutes of the clock on the wall, more than any test needs for
/// what it does meanwhile. Nobody waits for the end.
pub const PRINT: u64 = 40_000;

/// One A1 whose seconds are those of the operator's windows, so that 135 s of it are less than the 300 s of W.
pub fn a1() -> Config {
    let mut config = Config::bambu(1).time_scale(f64::from(FACTOR));
    config.printers[0].bambu.report_milliseconds = 200;
    config
}

/// A fault that happens once, to a start.
pub fn to_a_start(fault: FaultKind) -> Fault {
    Fault::once(fault).on("PUBLISH", "print.project_file")
}

/// A fault that lasts.
pub fn lasting(fault: BambuFault) -> Fault {
    Fault::lasting(FaultKind::Bambu(fault))
}

/// A farm with this printer, whose bed has not been cleared, and its operator at work. The file `part` takes [`PRINT`].
pub async fn opened(name: &str, config: Config, faults: Vec<Fault>) -> Shop {
    let mut shop = Shop::empty(name, config).await;
    shop.machine(A1).replace_faults(faults);
    shop.farm.add_printers().await.unwrap();
    let part = SlicedFile::lasting(PRINT).plate(&[(1, "PLA")]).build();
    shop.farm.add_file("part", part).await.unwrap();
    shop.operate(&[]).await;
    shop
}

/// The same with a cleared bed, and a job that asks for the part.
pub async fn with(name: &str, faults: Vec<Fault>) -> Shop {
    let shop = opened(name, a1(), faults).await;
    shop.clear(A1).await;
    shop.print(CLIP, json!({})).await;
    shop
}

/// A farm whose printer prints the part.
pub async fn printing(name: &str) -> Shop {
    let shop = with(name, Vec::new()).await;
    shop.phase(CLIP, Phase::Printing).await;
    shop
}

/// Lets the print that runs come to its end; it is the only one there was.
pub async fn prints_to_its_end(shop: Shop, attempt: i32) {
    let status = shop.phase(CLIP, Phase::Printing).await;
    assert_eq!(status.attempt, attempt);
    succeeds(&shop).await;
    assert_eq!(shop.starts("pz-"), 1);
    shop.close().await;
}

/// Lets the print that runs come to its end.
pub async fn succeeds(shop: &Shop) -> PrintJobStatus {
    // Not before it moves: time that is skipped while it heats is not printed.
    let machine = shop.machine(A1);
    let runs = machine.wait_for(SOON, |m| m.link_state.as_deref() == Some("RUNNING")).await;
    assert!(runs, "{:?}", machine.state());
    shop.skip(PRINT + 60);
    shop.phase(CLIP, Phase::Succeeded).await
}

/// The part was not printed, and a person says so until he is believed: whenever the printer shows something else than
/// when he was asked, he is asked again.
pub async fn not_printed(shop: &Shop, job: &str) -> PrintJobStatus {
    loop {
        let asked = shop.question(job).await;
        let outcome = json!({ "outcome": { "questionID": asked, "answer": "NotPrinted" } });
        shop.farm.change_job(job, outcome).await.unwrap();
        let answered = |s: &PrintJobStatus| s.attempt == 2 || s.question.as_ref().is_some_and(|q| q.id != asked);
        let status = shop.job(job, "takes the answer, or asks again", answered).await;
        if status.attempt == 2 {
            return status;
        }
    }
}

/// A person has looked at the printer, and says so.
pub async fn acknowledge(shop: &Shop) {
    let status = shop.printer(A1, "is not trusted", |s| s.distrust.is_some()).await;
    shop.farm.change_printer(A1, json!({ "acknowledged": status.distrust.unwrap().id })).await.unwrap();
}

/// Start commands for files of ours that reached the printer.
pub fn commands(shop: &Shop) -> usize {
    shop.farm.simulator().ledger().start_commands("pz-").len()
}

/// The ids and filaments of the only print of ours.
pub fn the_start(shop: &Shop) -> (BambuIdentity, Vec<FilamentUse>) {
    let starts = shop.farm.simulator().ledger().physical_starts("pz-");
    let [entry] = starts.as_slice() else { panic!("not one start: {starts:?}") };
    let Event::PhysicalStart { cause, identity: PrintIdentity::Bambu(ids), filaments, .. } = &entry.event else {
        panic!("{entry:?}")
    };
    assert_eq!(*cause, StartCause::ProjectFile);
    (ids.clone(), filaments.clone())
}

/// Waits until a condition of the printer has this status, and gives its message.
pub async fn printer_advice(shop: &Shop, condition: ConditionType, reason: printernizer_crds::Reason) -> String {
    use printernizer_crds::Conditions as _;
    let status = shop.printer_says(A1, condition, reason).await;
    status.conditions.condition(condition).unwrap().message.clone()
}
