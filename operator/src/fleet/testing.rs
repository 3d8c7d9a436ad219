//! What unit tests of the fleet share: sessions without a cluster and without a device.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kube::{Client, Config};
use printernizer_bambu::Trust;
use printernizer_crds::PrintJob;
use printernizer_rules::device::{DeviceKind, DeviceReport};
use printernizer_rules::identity::Token;
use printernizer_rules::plan::DeviceCommand;
use printernizer_rules::print_job::start::SendAnswer;
use printernizer_rules::timing::Timing;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::device::{Device, DeviceFault, Reported, Taken, Uploader, local};
use super::session::{self, Attempt, Command, Commands, Session};
use super::{FleetContext, Networks};
use crate::api::{Api, Key};
use crate::definitions::Definitions;
use crate::files::CachedFile;
use crate::leadership::Leadership;
use crate::reconcile::Queue;
use crate::telemetry::Metrics;

/// SHA-256 of the one file there is, `G28` and a line feed.
const SHA256: &str = "8080cd1d636d28b227689516fdadfd2aaed94e57b113db13523a38b51d0d09e9";

/// What a device says that is asked for more than it is made for.
const NOT_ASKED: &str = "this device is not made for that";

/// An idle printer that takes its time; nothing else is asked of it.
#[derive(Default)]
pub(super) struct Slow {
    /// How long it takes to open a session with the storage.
    pub(super) files: Duration,
    /// How long it takes to delete a file.
    pub(super) deletion: Duration,
    /// How long it takes to say what it does.
    pub(super) poll: Duration,
}

impl Device for Slow {
    const KIND: DeviceKind = DeviceKind::Bambu;
    const COMMANDS_BY_NUMBER: bool = false;
    type Files = ();
    type Starting = ();

    async fn poll(&mut self, _own_upload: bool) -> Result<Reported, DeviceFault> {
        tokio::time::sleep(self.poll).await;
        Ok(Reported::asked(DeviceReport::default(), Instant::now()))
    }

    fn files(&self) -> BoxFuture<'static, Result<(), DeviceFault>> {
        tokio::time::sleep(self.files).map(Ok).boxed()
    }

    async fn begin_start(&mut self, (): ()) -> Result<((), Reported), DeviceFault> {
        Err(local(&NOT_ASKED))
    }

    async fn newest(&mut self, (): &mut ()) -> Result<Reported, DeviceFault> {
        Err(local(&NOT_ASKED))
    }

    async fn send(&mut self, (): &mut (), _job: &PrintJob, _may: impl FnOnce() -> bool + Send) -> SendAnswer {
        SendAnswer::NotSent(NOT_ASKED.into())
    }

    fn uploader(&self) -> Uploader {
        Box::new(|_| std::future::ready(Err(local(&NOT_ASKED))).boxed())
    }

    async fn delete(&mut self, (): (), _name: &str, _may: &(dyn Fn() -> bool + Sync)) -> Result<(), DeviceFault> {
        tokio::time::sleep(self.deletion).await;
        Ok(())
    }

    async fn pause(&mut self, _id: Option<&str>) -> Result<Taken, DeviceFault> {
        Err(local(&NOT_ASKED))
    }

    async fn resume(&mut self, _id: Option<&str>) -> Result<Taken, DeviceFault> {
        Err(local(&NOT_ASKED))
    }

    async fn stop(&mut self, _id: Option<&str>) -> Result<Taken, DeviceFault> {
        Err(local(&NOT_ASKED))
    }
}

/// What sessions share, with nobody at the API server's address.
pub(super) fn context(leadership: &Leadership) -> FleetContext {
    context_with(leadership, "http://127.0.0.1:1")
}

/// The same with an API server at this address.
pub(super) fn context_with(leadership: &Leadership, server: &str) -> FleetContext {
    let mut config = Config::new(server.parse().unwrap());
    config.default_retry = false;
    let metrics = Metrics::new().unwrap();
    let api = Api::new(Client::try_from(config).unwrap(), leadership.clone(), metrics.clone());
    FleetContext {
        api,
        scope: crate::scope::Scope::default(),
        timing: Timing::default(),
        networks: Networks::for_printers(true),
        bambu_ca: Trust::BambuCa,
        hold_starts: false,
        definitions: Definitions::default(),
        metrics,
        upload_slots: Arc::new(Semaphore::new(1)),
        printers: Queue::default(),
        jobs: Queue::default(),
    }
}

/// A connected session whose printer was looked at, that serves an attempt, and the command to upload its file.
pub(super) fn serving() -> (Session, Commands, Command) {
    let (session, commands) = session::new(Key::new("farm", "prusa-1"), &Timing::default(), CancellationToken::new());
    let job_uid = "3f2504e0-4f89-41d3-9a0c-0305e82c3301".to_owned();
    let token = Token::new(&job_uid, 1);
    let remote_name = token.remote_name("part", "gcode");
    let attempt = Attempt { job: Key::new("farm", "clip"), job_uid, token };
    session.attach(&attempt, false, None);
    session.with(|s| s.reported(DeviceReport::default(), Instant::now(), Duration::from_secs(30)));
    session.was_judged(&session.seen());
    let file = Some(CachedFile::of("/nowhere/part.gcode".into(), SHA256, 4));
    let what = DeviceCommand::Upload { remote_name };
    (session, commands, Command { what, attempt, device_job_id: None, file })
}
