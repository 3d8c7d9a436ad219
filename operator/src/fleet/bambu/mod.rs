//! A Bambu Lab printer as a session sees it: one MQTT connection that reports by itself, and a file session whenever one
//! is needed. A file lies under a name that no printer starts by itself until the permit to start it is held.
//!
//! It never reconnects by itself and never repeats a start: a connection that ended is over, and the session begins
//! anew. Rules and their reasons: drivers/bambu/README.md and docs/adr.

mod report;
mod storage;

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use printernizer_bambu::ftps::{Ftps, RemoteName, Renamed};
use printernizer_bambu::mapping::{AmsMapping, Slot};
use printernizer_bambu::project_file::{BedType, FileUrl, PrintId, ProjectFile, StartOptions};
use printernizer_bambu::{
    Answered, CertificateProblem, Config, Connection, Error, Snapshot, StartAnswer, StartOutcome,
};
use printernizer_crds::PrintJob;
use printernizer_crds::common::DeviceIdentity;
use printernizer_crds::print_job::{BambuStartOptions, Switch};
use printernizer_rules::device::{DeviceKind, LinkFault};
use printernizer_rules::identity::Token;
use printernizer_rules::print_job::start::SendAnswer;

use super::device::{Device, DeviceFault, Reported, Taken, UploadJob, Uploader, local, not_leading};
use super::serve::{COMMAND_LEASE, within_lease};

use report::device_report;
use storage::{file_fault, ready, unproven, upload};

/// A report older than this is asked for again before a command is given by it.
const FRESH_WITHIN: Duration = Duration::from_secs(3);
/// A printer that has reported nothing for this long is asked. Shorter than the gap after which reports do not add up,
/// longer than any pause of one that reports by itself.
const ASK_AFTER: Duration = Duration::from_secs(20);
/// Numbers of prints that are remembered, so that none is given to a second one.
const IDS_REMEMBERED: usize = 32;

/// One printer behind Bambu's LAN protocol.
pub struct Bambu {
    config: Config,
    url: Option<FileUrl>,
    /// `None` only while it is being replaced, and when that failed.
    connection: Option<Connection>,
    /// Why the connection has ended.
    over: Option<DeviceFault>,
    ids_seen: Vec<u32>,
    /// Whether the last command was not answered, and nothing has been since.
    unanswered: bool,
    /// Whether it was said of this connection that messages on it cannot be read whole.
    damage_told: bool,
}

impl Bambu {
    /// Connects. `remembered` is the print it showed last, as far as known.
    pub async fn connect(
        config: Config,
        url: Option<FileUrl>,
        remembered: Option<&DeviceIdentity>,
    ) -> Result<Self, DeviceFault> {
        let connection = Connection::open(&config).await.map_err(|e| fault(&e))?;
        let mut device = Self {
            config,
            url,
            connection: Some(connection),
            over: None,
            ids_seen: Vec::new(),
            unanswered: false,
            damage_told: false,
        };
        device.remember(remembered.and_then(|i| i.id.as_deref()));
        Ok(device)
    }

    fn remember(&mut self, id: Option<&str>) {
        if let Some(id) = id.and_then(|id| id.parse().ok())
            && !self.ids_seen.contains(&id)
        {
            self.ids_seen.push(id);
            self.ids_seen.drain(..self.ids_seen.len().saturating_sub(IDS_REMEMBERED));
        }
    }

    /// The connection, or why there is none.
    fn connected(&mut self) -> Result<&mut Connection, DeviceFault> {
        match (&self.over, &mut self.connection) {
            (None, Some(connection)) => Ok(connection),
            (over, _) => Err(over.clone().unwrap_or_else(|| local(&"the connection has ended"))),
        }
    }

    fn reported(&mut self, snapshot: &Snapshot) -> Reported {
        let (version, allowed) = (snapshot.version.as_deref(), snapshot.control_allowed);
        let report = device_report(&snapshot.report, version, allowed, &self.config.serial_number);
        self.remember(report.identity.id.as_deref());
        if snapshot.damaged_messages > 0 && !self.damage_told {
            self.damage_told = true;
            let serial_number = &self.config.serial_number;
            tracing::info!(%serial_number, "the printer sends messages that cannot be read whole; the rest of them counts");
        }
        let refused = match &snapshot.start_answer {
            Some(StartAnswer::Refused(refusal)) => Some(refusal.to_string()),
            _ => None,
        };
        Reported { report, at: snapshot.arrived, refused }
    }

    async fn full_report(&mut self) -> Result<Reported, DeviceFault> {
        match self.connected()?.full_report().await {
            Ok(snapshot) => {
                self.unanswered = false;
                Ok(self.reported(&snapshot))
            }
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// The connection, for one command. Until its answer has come, it counts as not answered.
    fn commanding(&mut self) -> Result<&mut Connection, DeviceFault> {
        self.unanswered = true;
        self.connected()
    }

    fn commanded(&mut self, given: Result<Answered, Error>) -> Result<Taken, DeviceFault> {
        self.unanswered = matches!(given, Ok(Answered::No));
        match given {
            Ok(Answered::Yes) => Ok(Taken::Confirmed),
            Ok(Answered::No) => Ok(Taken::Unanswered),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Notes the error if it ended the connection.
    fn failed(&mut self, error: &Error) -> DeviceFault {
        let fault = fault(error);
        let ends = match error {
            Error::CommandRefused(_) => false,
            // Only a new connection is heard again. But a printer that reads a new job may just be slow, and to connect
            // anew could make that job fail.
            Error::CommandsSwallowed => !self.connection.as_ref().is_some_and(Connection::is_held),
            _ => true,
        };
        if ends {
            self.over.get_or_insert_with(|| fault.clone());
        }
        fault
    }

    /// The start command for what stands in the job's status: nothing of it is made up here.
    fn project_file(&self, job: &PrintJob, name: &str, id: PrintId) -> Result<ProjectFile, DeviceFault> {
        let missing = |what: &str| local(&format!("the job's status has no {what}"));
        let status = job.status.as_ref().ok_or_else(|| missing("file"))?;
        let file = status.file.as_ref().ok_or_else(|| missing("file"))?;
        let name = RemoteName::new(name).map_err(|e| local(&e))?;
        let used: Vec<u32> = file.filaments.iter().filter_map(|f| u32::try_from(f.index).ok()).collect();
        let choices = status.slot_mapping.iter().map(|choice| {
            let slot: Slot = choice.slot.parse().map_err(|e| local(&e))?;
            Ok((u32::try_from(choice.index).map_err(|e| local(&e))?, slot))
        });
        let choices = choices.collect::<Result<Vec<_>, DeviceFault>>()?;
        let all = file.project_filaments.and_then(|n| usize::try_from(n).ok());
        let all = all.ok_or_else(|| missing("number of filaments of the project: slice the file again"))?;
        let connection = self.connection.as_ref().ok_or_else(|| local(&"the connection has ended"))?;
        let snapshot = connection.report();
        let mapping = AmsMapping::new(all, &used, &choices, &snapshot.report).map_err(|e| local(&e))?;
        let plate = u16::try_from(job.spec.plate).map_err(|e| local(&e))?;
        let model = snapshot.version.as_ref().and_then(|v| v.model(&self.config.serial_number)).unwrap_or_default();
        let url = self.url.unwrap_or_else(|| FileUrl::for_model(&model));
        let project_file = ProjectFile::new(name, id, plate, url, mapping).map_err(|e| local(&e))?;
        let bed_type = file.bed_type.as_deref().map(BedType::new).transpose().map_err(|e| local(&e))?;
        let options = options(job.spec.options.as_ref().and_then(|o| o.bambu.as_ref()));
        Ok(project_file.with_bed_type(bed_type.unwrap_or_default()).with_options(options))
    }
}

fn options(wanted: Option<&BambuStartOptions>) -> StartOptions {
    let defaults = StartOptions::default();
    let Some(wanted) = wanted else { return defaults };
    let choose = |switch: Switch, default: bool| match switch {
        Switch::Auto => default,
        Switch::On => true,
        Switch::Off => false,
    };
    StartOptions {
        bed_leveling: choose(wanted.bed_leveling, defaults.bed_leveling),
        flow_calibration: choose(wanted.flow_calibration, defaults.flow_calibration),
        vibration_calibration: choose(wanted.vibration_calibration, defaults.vibration_calibration),
        timelapse: choose(wanted.timelapse, defaults.timelapse),
        ..defaults
    }
}

impl Device for Bambu {
    const KIND: DeviceKind = DeviceKind::Bambu;
    const COMMANDS_BY_NUMBER: bool = false;
    type Files = Ftps;
    /// The file session.
    type Starting = Ftps;

    async fn poll(&mut self, _own_upload: bool) -> Result<Reported, DeviceFault> {
        let connection = self.connected()?;
        let snapshot = connection.report();
        // A printer that only answers is asked, or nothing it shows would ever count.
        if snapshot.arrived.elapsed() < ASK_AFTER {
            return Ok(self.reported(&snapshot));
        }
        self.full_report().await
    }

    async fn fresh(&mut self) -> Result<Reported, DeviceFault> {
        let snapshot = self.connected()?.report();
        // Reports also come over connections on which what we publish is lost.
        let heard = snapshot.fit_for_commands && !self.unanswered;
        if heard && snapshot.arrived.elapsed() < FRESH_WITHIN {
            return Ok(self.reported(&snapshot));
        }
        self.full_report().await
    }

    async fn changed(&mut self) {
        // Whoever looks for a report is told why there is none.
        let Ok(connection) = self.connected() else { return std::future::pending().await };
        if let Err(error) = connection.changed().await {
            self.failed(&error);
        }
    }

    fn is_over(&self) -> bool {
        self.over.is_some()
    }

    fn print_id(&self, token: &Token) -> Option<i64> {
        Some(i64::from(token.print_id(&self.ids_seen)))
    }

    fn unfit(&self, job: &PrintJob) -> Option<String> {
        // Everything but the number, which the intent gives it.
        let name = job.status.as_ref().and_then(|s| s.upload.as_ref()).map_or("", |u| u.remote_name.as_str());
        let command = PrintId::new(1).map_err(|e| local(&e)).and_then(|id| self.project_file(job, name, id));
        command.err().map(|fault| fault.message)
    }

    fn files(&self) -> BoxFuture<'static, Result<Ftps, DeviceFault>> {
        let config = self.config.clone();
        async move { Ftps::connect(&config).await.map_err(|e| file_fault(&e)) }.boxed()
    }

    /// The file session is there by then: the report that is judged must be young when the start is sent.
    async fn begin_start(&mut self, ftps: Ftps) -> Result<(Self::Starting, Reported), DeviceFault> {
        // Whoever gives up waiting in between leaves a device that must be connected to anew.
        self.over = Some(local(&"the connection was being replaced for a start"));
        // A printer has room for few connections: the old one goes before the new one comes.
        if let Some(old) = self.connection.take() {
            old.close().await;
        }
        let connection = match Connection::open(&self.config).await {
            Ok(connection) => connection,
            Err(error) => {
                let fault = fault(&error);
                self.over = Some(fault.clone());
                return Err(fault);
            }
        };
        let snapshot = connection.report();
        (self.connection, self.over) = (Some(connection), None);
        (self.unanswered, self.damage_told) = (false, false);
        Ok((ftps, self.reported(&snapshot)))
    }

    async fn ready_file(&mut self, ftps: &mut Ftps, remote_name: &str) -> Result<(), DeviceFault> {
        let name = RemoteName::new(remote_name).map_err(|e| local(&e))?;
        ready(ftps, &name).await
    }

    async fn withdraw_file(&mut self, ftps: &mut Ftps, remote_name: &str) {
        let Ok(name) = RemoteName::new(remote_name) else { return };
        // A file that could start by itself is not left there because of a start that was not sent. Should this fail, its
        // deletion follows.
        let renamed = tokio::time::timeout(COMMAND_LEASE, ftps.rename(&name, &name.part())).await;
        if !matches!(renamed, Ok(Ok(Renamed::Done))) {
            tracing::info!(file = %name, "the file keeps the name it can be started under until it is deleted");
        }
    }

    async fn newest(&mut self, _: &mut Ftps) -> Result<Reported, DeviceFault> {
        // Asked for in any case: the answer proves that what is sent over this connection arrives.
        self.full_report().await
    }

    async fn send(&mut self, _: &mut Ftps, job: &PrintJob, may: impl FnOnce() -> bool + Send) -> SendAnswer {
        let start = job.status.as_ref().and_then(|s| s.start.as_ref());
        let number = start.and_then(|s| s.ids.task_id).and_then(|id| u32::try_from(id).ok());
        let id = PrintId::new(number.unwrap_or(0)).map_err(|e| local(&e));
        let name = start.map_or("", |s| s.remote_name.as_str());
        let project_file = match id.and_then(|id| self.project_file(job, name, id)) {
            Ok(project_file) => project_file,
            Err(fault) => return SendAnswer::NotSent(fault.message),
        };
        let connection = match self.connected() {
            Ok(connection) => connection,
            Err(fault) => return SendAnswer::NotSent(fault.message),
        };
        match connection.start(&project_file, may).await {
            StartOutcome::NotSent(why) => SendAnswer::NotSent(crate::error::chain(&why)),
            StartOutcome::Sent { acknowledged } => {
                tracing::info!(file = name, acknowledged, "the start was sent");
                SendAnswer::Accepted
            }
            StartOutcome::Refused(refusal) => SendAnswer::Refused(refusal.to_string()),
            StartOutcome::Unclear(error) => {
                self.failed(&error);
                SendAnswer::Unclear
            }
        }
    }

    fn uploader(&self) -> Uploader {
        let config = self.config.clone();
        Box::new(move |job: UploadJob| async move { upload(&config, job).await }.boxed())
    }

    async fn delete(
        &mut self,
        mut ftps: Ftps,
        remote_name: &str,
        may: &(dyn Fn() -> bool + Sync),
    ) -> Result<(), DeviceFault> {
        let name = RemoteName::new(remote_name).map_err(|e| local(&e))?;
        // Under whichever of its names it lies, in the order in which it gets them: a rename that is still on its way
        // must not slip past.
        let mut failed = None;
        for name in [unproven(&name)?, name.part(), name] {
            if !may() {
                return Err(not_leading());
            }
            let deleted = within_lease(async { ftps.delete(&name).await.map(drop).map_err(|e| file_fault(&e)) }).await;
            failed = failed.or(deleted.err());
        }
        if let Some(fault) = failed {
            return Err(fault);
        }
        // The files are gone whatever comes of this.
        let _ = tokio::time::timeout(COMMAND_LEASE, ftps.close()).await;
        Ok(())
    }

    async fn pause(&mut self, _id: Option<&str>) -> Result<Taken, DeviceFault> {
        let given = self.commanding()?.pause().await;
        self.commanded(given)
    }

    async fn resume(&mut self, _id: Option<&str>) -> Result<Taken, DeviceFault> {
        let given = self.commanding()?.resume().await;
        self.commanded(given)
    }

    async fn stop(&mut self, _id: Option<&str>) -> Result<Taken, DeviceFault> {
        let given = self.commanding()?.stop().await;
        self.commanded(given)
    }
}

/// An error of the driver with its whole chain of causes.
pub(crate) fn fault(error: &Error) -> DeviceFault {
    let cause = match error {
        Error::AccessCodeRefused => LinkFault::CredentialsRefused,
        Error::Untrusted { problem: CertificateProblem::OtherPrinter { .. }, .. } => LinkFault::WrongSerialNumber,
        Error::Untrusted { .. } | Error::NotTls { .. } => LinkFault::WrongProtocol,
        _ => LinkFault::Unreachable,
    };
    DeviceFault { cause, message: crate::error::chain(error) }
}

#[cfg(test)]
mod tests;
