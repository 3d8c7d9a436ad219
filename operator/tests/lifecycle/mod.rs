//! Brings a job on a printer of its own to every point of its life, on both kinds of printers, and holds it there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]
#![allow(dead_code, reason = "each test binary uses its own part of this")]

use futures::future::join_all;
use kube::api::{Patch, PatchParams};
use printernizer_crds::print_job::Phase;
use printernizer_crds::{
    ConditionType, Conditions, PRINT_JOB_FINALIZER, PRINTER_FINALIZER, PrintJobStatus, PrinterStatus, Reason,
};
use printernizer_simulator::{Action, Config, Entry, Event, Fault, FaultKind, JobCommand, PrinterConfig, SlicedFile};
use serde_json::{Value, json};

use crate::support::{PRINT, Shop, part};

/// Longer than anything that is late here.
pub const LATE: u64 = 100_000;

/// Where a job is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// Waits for the bed of its printer.
    Pending,
    /// Held back by spec.
    Held,
    /// Has the printer, whose bed is not confirmed: an operator that died had just claimed it.
    Assigned,
    /// Its file is on its way.
    Uploading,
    /// Its file is there, and the machine is not free.
    Starting,
    /// The start was sent, and the machine takes its time.
    Sent,
    /// It is printed.
    Printing,
    /// It is paused by spec.
    Paused,
    /// The start came to nothing, and a person is asked.
    Asking,
    /// It is printed and over.
    Succeeded,
}

/// A job, its printer, and where it is.
#[derive(Clone, Copy, Debug)]
pub struct Stage {
    pub job: &'static str,
    pub printer: &'static str,
    pub at: At,
}

/// Stages of these, each with a job and a printer of its own.
pub const fn stage(job: &'static str, printer: &'static str, at: At) -> Stage {
    Stage { job, printer, at }
}

/// A farm with the printers of these stages, and its operator at work. The files `part` and `sliced` take [`PRINT`].
pub async fn open(name: &str, stages: &[Stage]) -> Shop {
    let mut config = Config::prusalink(0).time_scale(20.0);
    config.printers = stages
        .iter()
        .map(|stage| {
            let mut printer = PrinterConfig::named(stage.printer);
            if stage.is_bambu() {
                printer = PrinterConfig::bambu(stage.printer);
                printer.bambu.report_milliseconds = 200;
            }
            printer
        })
        .collect();
    let mut shop = Shop::empty(name, config).await;
    shop.farm.add_printers().await.unwrap();
    shop.farm.add_file("part", part(PRINT)).await.unwrap();
    shop.farm.add_file("sliced", SlicedFile::lasting(PRINT).plate(&[(1, "PLA")]).build()).await.unwrap();
    shop.operate(&[]).await;
    shop
}

impl Stage {
    pub fn is_bambu(&self) -> bool {
        self.printer.starts_with("bambu")
    }

    /// Asks for the job, on its printer.
    async fn ask(&self, shop: &Shop, more: &Value) {
        let mut spec = json!({ "printerRef": { "name": self.printer } });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let file = if self.is_bambu() { "sliced" } else { "part" };
        shop.farm.print(self.job, file, spec).await.unwrap();
    }

    /// Brings the job there.
    pub async fn reach(&self, shop: &Shop, more: &Value) {
        let machine = shop.machine(self.printer);
        let stall = Fault::once(FaultKind::StallUpload { after_bytes: 16, milliseconds: 1_500 });
        match self.at {
            At::Held => {
                let mut held = more.clone();
                held["desiredState"] = json!("Pause");
                self.ask(shop, &held).await;
                self.is(shop, Phase::Held).await;
                shop.job_says(self.job, ConditionType::Accepted, Reason::FileRead).await;
                return;
            }
            At::Pending | At::Assigned => {
                self.ask(shop, more).await;
                shop.job_says(self.job, ConditionType::Scheduled, Reason::WaitingForBed).await;
                if self.at == At::Assigned {
                    self.claim(shop).await;
                    self.is(shop, Phase::Assigned).await;
                }
                return;
            }
            At::Uploading => {
                machine.fault(Fault::lasting(FaultKind::StallUpload { after_bytes: 16, milliseconds: 10_000 }));
            }
            At::Starting => machine.fault(stall),
            At::Sent => machine.fault(Fault::once(FaultKind::StartLate { seconds: LATE })),
            At::Asking => machine.fault(Fault::once(FaultKind::AcceptWithoutStarting)),
            At::Printing | At::Paused | At::Succeeded => {}
        }
        shop.clear(self.printer).await;
        self.ask(shop, more).await;
        match self.at {
            At::Uploading => drop(self.is(shop, Phase::Uploading).await),
            At::Starting => {
                self.is(shop, Phase::Uploading).await;
                if self.is_bambu() {
                    machine.person(&Action::ChangeFilament { seconds: 1_000_000 }).unwrap();
                } else {
                    machine.fault(Fault::lasting(FaultKind::Busy));
                }
                let waits = |s: &PrintJobStatus| {
                    s.conditions
                        .condition(ConditionType::Started)
                        .is_some_and(|c| c.message.contains("waiting to start"))
                };
                let status = shop.job(self.job, "waits to start", waits).await;
                assert_eq!(status.phase, Some(Phase::Starting));
            }
            At::Sent => {
                let status = shop.job(self.job, "has its start sent", |s| s.start.is_some()).await;
                assert_eq!(status.phase, Some(Phase::Starting));
                shop.ledger_shows("the start", |all| all.iter().any(|e| self.did(e, is_start))).await;
            }
            At::Asking => drop(shop.question(self.job).await),
            At::Printing | At::Paused => {
                self.prints(shop).await;
                if self.at == At::Paused {
                    shop.want(self.job, "Pause").await;
                    self.is(shop, Phase::Paused).await;
                }
            }
            At::Succeeded => {
                self.prints(shop).await;
                shop.finish_prints();
                self.is(shop, Phase::Succeeded).await;
            }
            At::Pending | At::Held | At::Assigned => {}
        }
    }

    /// The first half of a claim, as an operator leaves it that ends right after it has written it.
    async fn claim(&self, shop: &Shop) {
        let (printers, jobs, params) = (shop.farm.printers(), shop.farm.jobs(), PatchParams::default());
        let job = jobs.get(self.job).await.unwrap();
        let mark = |finalizer: &str| Patch::Merge(json!({ "metadata": { "finalizers": [finalizer] } }));
        jobs.patch(self.job, &params, &mark(PRINT_JOB_FINALIZER)).await.unwrap();
        printers.patch(self.printer, &params, &mark(PRINTER_FINALIZER)).await.unwrap();
        let claim = json!({ "name": self.job, "uid": job.metadata.uid, "attempt": 1 });
        let claim = Patch::Merge(json!({ "status": { "currentJob": claim } }));
        printers.patch_status(self.printer, &params, &claim).await.unwrap();
    }

    /// Waits until the job is in this phase.
    pub async fn is(&self, shop: &Shop, phase: Phase) -> PrintJobStatus {
        shop.phase(self.job, phase).await
    }

    /// Waits until the machine is at it.
    pub async fn prints(&self, shop: &Shop) {
        self.is(shop, Phase::Printing).await;
        // Not before it moves: time that is skipped while it heats is not printed.
        let runs = if self.is_bambu() { "RUNNING" } else { "PRINTING" };
        shop.machine_shows(self.printer, runs, |m| m.link_state.as_deref() == Some(runs)).await;
    }

    /// Whatever kept the machine is over.
    pub fn free(&self, shop: &Shop) {
        let machine = shop.machine(self.printer);
        machine.clear_faults();
        if self.is_bambu() && self.at == At::Starting {
            machine.person(&Action::ChangeFilament { seconds: 0 }).unwrap();
        }
    }

    /// Waits until the printer is released and nothing of the job lies on it.
    pub async fn is_released(&self, shop: &Shop) -> PrinterStatus {
        shop.machine_shows(self.printer, "no file", |m| m.files.is_empty()).await;
        shop.printer(self.printer, "is released", |s| s.current_job.is_none()).await
    }

    fn did(&self, entry: &Entry, what: impl Fn(&Event) -> bool) -> bool {
        entry.printer == self.printer && what(&entry.event)
    }

    fn count(&self, shop: &Shop, what: impl Fn(&Event) -> bool) -> usize {
        shop.ledger().iter().filter(|e| self.did(e, &what)).count()
    }

    /// How often the machine began to print.
    pub fn starts(&self, shop: &Shop) -> usize {
        self.count(shop, |e| matches!(e, Event::PhysicalStart { .. }))
    }

    /// How often the machine was told to start.
    pub fn commands(&self, shop: &Shop) -> usize {
        self.count(shop, is_start)
    }

    /// How often the machine acted on such a command.
    pub fn acted(&self, shop: &Shop, wanted: JobCommand) -> usize {
        self.count(shop, |e| matches!(e, Event::JobCommand { command, took_effect: true, .. } if *command == wanted))
    }
}

fn is_start(event: &Event) -> bool {
    matches!(event, Event::StartCommand { .. })
}

/// Brings all jobs where they are to be, side by side.
pub async fn reach_all(shop: &Shop, stages: &[Stage], more: &Value) {
    join_all(stages.iter().map(|stage| stage.reach(shop, more))).await;
}

/// Lets all prints come to their ends; each of these jobs was told to its machine once, and begun once.
pub async fn each_is_printed_once(shop: &Shop, stages: impl IntoIterator<Item = &Stage>) {
    shop.finish_prints();
    for stage in stages {
        stage.is(shop, Phase::Succeeded).await;
        assert_eq!((stage.commands(shop), stage.starts(shop)), (1, 1), "{stage:?}");
    }
}

/// A person says what became of the print until he is believed: whenever the printer shows something else than when he was
/// asked, he is asked again.
pub async fn answer_until_over(shop: &Shop, job: &str, answer: &str) -> PrintJobStatus {
    loop {
        let asked = shop.question(job).await;
        let outcome = json!({ "outcome": { "questionID": asked, "answer": answer } });
        shop.farm.change_job(job, outcome).await.unwrap();
        let over = |s: &PrintJobStatus| s.completion_time.is_some();
        let heard = |s: &PrintJobStatus| over(s) || s.question.as_ref().is_some_and(|q| q.id != asked);
        let status = shop.job(job, "takes the answer, or asks again", heard).await;
        if over(&status) {
            return status;
        }
    }
}
