//! A PrusaLink printer as a session sees it: polls become whole reports, and the numbers the device gives its prints
//! become identities. The device shows a number only while a print exists; afterwards it is asked whether its last
//! number is still the one we know (an unknown sub-command of the job answers that without any effect).

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use printernizer_crds::PrintJob;
use printernizer_crds::common::DeviceIdentity;
use printernizer_crds::printer::Fault;
use printernizer_prusalink::{Client, Error, RemoteName, StartConnection, StartOutcome, State, StatusReport};
use printernizer_rules::device::{
    Blocker, DeviceKind, DeviceProgress, DeviceReport, DeviceSlot, DeviceState, LinkFault,
};
use printernizer_rules::print_job::start::SendAnswer;
use tokio::time::Instant;

use super::device::{Device, DeviceFault, Reported, Taken, UploadJob, Uploader, local, micrometers, not_leading};
use super::serve::within_lease;

/// Facts that change rarely are asked for this often.
const SLOW_FACTS: Duration = Duration::from_secs(30);
/// A try to start has one connection, and sends once over it.
const USED_UP: &str = "the connection of this start was used";
/// How many numbers after the last known one are tried when it has moved while nobody watched.
const NUMBERS_TRIED: u32 = 16;

/// A print the device has numbered.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    id: String,
    name: Option<String>,
}

#[derive(Clone, Debug, Default)]
struct SlowFacts {
    serial_number: Option<String>,
    firmware: Option<String>,
    model: Option<String>,
    nozzle_diameter_micrometers: Option<i32>,
    material: Option<String>,
    storage_missing: bool,
}

/// One printer behind PrusaLink.
pub struct PrusaLink {
    client: Client,
    expected_serial: Option<String>,
    facts: SlowFacts,
    facts_read: Option<Instant>,
    known: Option<Known>,
    /// Whether the last number was confirmed since the connection was last in doubt.
    confirmed: bool,
}

/// A print of which only is known that its number is beyond this one.
fn beyond(number: &str) -> Known {
    Known { id: format!(">{number}-{}", super::fresh_id()), name: None }
}

impl PrusaLink {
    /// A printer that has not been asked anything yet. `remembered` is the print it showed last, as far as known.
    pub fn new(client: Client, expected_serial: Option<String>, remembered: Option<DeviceIdentity>) -> Self {
        // A number that was not found is a new unknown at each connection: it must not equal itself.
        let known = remembered.and_then(|i| {
            i.id.map(|id| match id.strip_prefix('>') {
                Some(text) => beyond(text.split('-').next().unwrap_or_default()),
                None => Known { id, name: i.name },
            })
        });
        Self { client, expected_serial, facts: SlowFacts::default(), facts_read: None, known, confirmed: false }
    }

    /// What rarely changes, with the check that it is still the same device.
    async fn read_facts(&mut self) -> Result<(), DeviceFault> {
        let version = self.client.version().await.map_err(fault)?;
        let info = self.client.info().await.map_err(fault)?;
        if let Some(expected) = &self.expected_serial
            && info.serial.as_ref() != Some(expected)
        {
            let found = info.serial.as_deref().unwrap_or("none");
            return Err(DeviceFault {
                cause: LinkFault::WrongSerialNumber,
                message: format!(
                    "another printer answers at this address: its serial number is {found}, not {expected}; correct the \
                     address, or, if it stands here for good, spec.connection.prusaLink.serialNumber"
                ),
            });
        }
        // Without an answer to these the printer can be used all the same.
        let material = self.client.material().await.unwrap_or_default();
        let storages = self.client.storage().await.unwrap_or_default();
        self.facts = SlowFacts {
            serial_number: info.serial,
            firmware: version.firmware,
            model: version.printer,
            nozzle_diameter_micrometers: info.nozzle_diameter_millimeters.and_then(micrometers),
            material,
            storage_missing: storages.iter().any(|s| s.available == Some(false)),
        };
        self.facts_read = Some(Instant::now());
        Ok(())
    }

    /// Makes `known` the print the device did last.
    async fn confirm_number(&mut self) -> Result<(), DeviceFault> {
        let Some(known) = self.known.clone() else { return Ok(()) };
        let Ok(id) = known.id.parse::<u32>() else { return Ok(()) };
        if self.client.last_job_is(id).await.map_err(fault)? {
            self.confirmed = true;
            return Ok(());
        }
        for step in 1..=NUMBERS_TRIED {
            let next = (id + step) % (u32::from(u16::MAX) + 1);
            if self.client.last_job_is(next).await.map_err(fault)? {
                self.known = Some(Known { id: next.to_string(), name: None });
                self.confirmed = true;
                return Ok(());
            }
        }
        // It moved, and nobody knows how far: a name of its own that differs from every number.
        self.known = Some(beyond(&known.id));
        self.confirmed = true;
        Ok(())
    }

    async fn identify(&mut self, status: &StatusReport) -> Result<bool, DeviceFault> {
        let Some(job) = &status.job else {
            if !self.confirmed {
                self.confirm_number().await?;
            }
            return Ok(true);
        };
        let id = job.id.map(|id| id.to_string());
        let named = self.known.as_ref().is_some_and(|k| Some(&k.id) == id.as_ref() && k.name.is_some());
        if !named {
            // The print may end between the two answers; then the next report tells.
            let Some(report) = self.client.job().await.map_err(fault)? else { return Ok(false) };
            let Some(id) = report.id.map(|id| id.to_string()).or(id) else { return Ok(false) };
            self.known = Some(Known { id, name: report.file_name().map(str::to_owned) });
        }
        self.confirmed = true;
        Ok(true)
    }

    fn report(&self, status: &StatusReport, own_upload: bool) -> DeviceReport {
        let state = match &status.state {
            State::Idle | State::Ready => DeviceState::Idle,
            State::Busy => DeviceState::Busy,
            State::Printing => DeviceState::Printing,
            State::Paused => DeviceState::Paused,
            State::Finished => DeviceState::Finished,
            State::Stopped => DeviceState::Stopped,
            State::Attention | State::Error => DeviceState::Attention,
            State::Unknown(_) => DeviceState::Unknown,
        };
        let has_print = status.job.is_some();
        let mut blockers = Vec::new();
        if state == DeviceState::Attention && !has_print {
            blockers.push(Blocker::Dialog);
        }
        if self.facts.storage_missing || status.storages.iter().any(|s| s.read_only == Some(true)) {
            blockers.push(Blocker::StorageMissing);
        }
        if status.transfer.is_some() && !own_upload {
            blockers.push(Blocker::Transfer);
        }
        let identity = self.known.as_ref().map_or_else(DeviceIdentity::default, |known| DeviceIdentity {
            id: Some(known.id.clone()),
            name: known.name.clone(),
            file: None,
        });
        let slot = |material: &String| DeviceSlot {
            slot: "Main".into(),
            loaded: Some(true),
            material: Some(material.clone()),
            ..DeviceSlot::default()
        };
        let trouble =
            |message: &String| Fault { code: "PrusaLink".into(), severity: "Common".into(), message: message.clone() };
        DeviceReport {
            state,
            has_print,
            identity,
            error: None,
            busy_with_job: false,
            blockers,
            progress: status.job.as_ref().map(|job| DeviceProgress {
                percent: job.progress_percent.map_or(0, whole_percent),
                layer: None,
                total_layers: None,
                remaining_seconds: job.time_remaining_seconds.and_then(|s| i64::try_from(s).ok()),
            }),
            slots: self.facts.material.iter().map(slot).collect(),
            faults: status.trouble.iter().map(trouble).collect(),
            serial_number: self.facts.serial_number.clone(),
            firmware_version: self.facts.firmware.clone(),
            model: self.facts.model.clone(),
            nozzle_diameter_micrometers: self.facts.nozzle_diameter_micrometers,
            // PrusaLink tells the diameter and nothing else of the nozzle.
            nozzle_hardened: None,
            control_allowed: None,
        }
    }

    async fn whole_report(&mut self, own_upload: bool) -> Result<Reported, DeviceFault> {
        for _ in 0..3 {
            let asked = Instant::now();
            let status = self.client.status().await.map_err(fault)?;
            if self.identify(&status).await? {
                return Ok(Reported::asked(self.report(&status, own_upload), asked));
            }
        }
        Err(DeviceFault {
            cause: LinkFault::Unreachable,
            message: "the printer contradicts itself about its print".into(),
        })
    }
}

impl Device for PrusaLink {
    const KIND: DeviceKind = DeviceKind::PrusaLink;
    const COMMANDS_BY_NUMBER: bool = true;
    /// Files are reached like everything else.
    type Files = ();
    /// `None` once the start was sent.
    type Starting = Option<StartConnection>;

    async fn poll(&mut self, own_upload: bool) -> Result<Reported, DeviceFault> {
        let stale = self.facts_read.is_none_or(|at| at.elapsed() >= SLOW_FACTS);
        if stale {
            self.confirmed = false;
            self.read_facts().await?;
        }
        let report = self.whole_report(own_upload).await;
        if report.is_err() {
            // Whatever answers next may be another device, or this one after a restart.
            self.facts_read = None;
        }
        report
    }

    fn files(&self) -> BoxFuture<'static, Result<(), DeviceFault>> {
        std::future::ready(Ok(())).boxed()
    }

    async fn begin_start(&mut self, (): ()) -> Result<(Self::Starting, Reported), DeviceFault> {
        let asked = Instant::now();
        self.confirmed = false;
        self.read_facts().await?;
        let (connection, status) = self.client.fresh_start_connection().await.map_err(fault)?;
        if !self.identify(&status).await? {
            return Err(DeviceFault {
                cause: LinkFault::Unreachable,
                message: "a print just ended; look again".into(),
            });
        }
        Ok((Some(connection), Reported::asked(self.report(&status, false), asked)))
    }

    async fn newest(&mut self, starting: &mut Self::Starting) -> Result<Reported, DeviceFault> {
        let starting = starting.as_mut().ok_or_else(|| local(&USED_UP))?;
        let asked = Instant::now();
        let status = starting.status().await.map_err(fault)?;
        self.identify(&status).await?;
        Ok(Reported::asked(self.report(&status, false), asked))
    }

    async fn send(
        &mut self,
        starting: &mut Self::Starting,
        job: &PrintJob,
        may: impl FnOnce() -> bool + Send,
    ) -> SendAnswer {
        let start = job.status.as_ref().and_then(|s| s.start.as_ref());
        let name = match RemoteName::new(start.map_or("", |s| s.remote_name.as_str())) {
            Ok(name) => name,
            Err(error) => return SendAnswer::NotSent(error.to_string()),
        };
        let Some(mut starting) = starting.take() else { return SendAnswer::NotSent(USED_UP.to_owned()) };
        let outcome = starting.start(&name, may).await;
        if !starting.server_closes_always() && starting.is_open() {
            self.client = starting.into_client();
        }
        match outcome {
            StartOutcome::NotSent(why) => SendAnswer::NotSent(why.to_string()),
            StartOutcome::Accepted => SendAnswer::Accepted,
            StartOutcome::Refused { status: 409, message } => SendAnswer::Refused(message),
            // Only 409 is about the state of the printer; whatever else came back proves nothing about this request.
            StartOutcome::Refused { .. } | StartOutcome::Unclear(_) => SendAnswer::Unclear,
        }
    }

    fn uploader(&self) -> Uploader {
        let uploader = self.client.uploader();
        Box::new(move |job: UploadJob| {
            async move {
                let name = RemoteName::new(job.remote_name).map_err(|e| local(&e))?;
                let file = tokio::fs::File::open(&job.path).await.map_err(|e| local(&e))?;
                let progress = job.progress;
                let sent = move |bytes| progress(bytes);
                uploader.upload(&name, file, job.size_bytes, sent, &job.cancel).await.map(drop).map_err(fault)
            }
            .boxed()
        })
    }

    async fn delete(&mut self, (): (), remote_name: &str, may: &(dyn Fn() -> bool + Sync)) -> Result<(), DeviceFault> {
        let name = RemoteName::new(remote_name).map_err(|e| local(&e))?;
        if !may() {
            return Err(not_leading());
        }
        within_lease(async { self.client.delete_file(&name).await.map(drop).map_err(fault) }).await
    }

    async fn pause(&mut self, id: Option<&str>) -> Result<Taken, DeviceFault> {
        self.client.pause(number(id)?).await.map(|()| Taken::Confirmed).map_err(fault)
    }

    async fn resume(&mut self, id: Option<&str>) -> Result<Taken, DeviceFault> {
        self.client.resume(number(id)?).await.map(|()| Taken::Confirmed).map_err(fault)
    }

    async fn stop(&mut self, id: Option<&str>) -> Result<Taken, DeviceFault> {
        self.client.stop(number(id)?).await.map(|()| Taken::Confirmed).map_err(fault)
    }
}

fn number(id: Option<&str>) -> Result<u32, DeviceFault> {
    let id = id.ok_or_else(|| local(&"the printer's number of the print is not known"))?;
    id.parse().map_err(|e| local(&e))
}

/// An error of the driver with its whole chain of causes.
#[allow(clippy::needless_pass_by_value, reason = "used as `map_err(fault)`")]
pub(crate) fn fault(error: Error) -> DeviceFault {
    let cause = match &error {
        Error::Unauthorized => LinkFault::CredentialsRefused,
        Error::NotPrusaLink { .. } => LinkFault::WrongProtocol,
        _ => LinkFault::Unreachable,
    };
    DeviceFault { cause, message: crate::error::chain(&error) }
}

#[allow(clippy::cast_possible_truncation, reason = "bounded before the cast")]
fn whole_percent(percent: f64) -> i32 {
    percent.clamp(0.0, 100.0).floor() as i32
}
