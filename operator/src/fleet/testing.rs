//! What unit tests of the fleet share: sessions without a cluster and without a device.

use std::sync::Arc;
use std::time::Duration;

use kube::{Client, Config};
use printernizer_bambu::Trust;
use printernizer_rules::device::DeviceReport;
use printernizer_rules::identity::Token;
use printernizer_rules::plan::DeviceCommand;
use printernizer_rules::timing::Timing;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::session::{self, Attempt, Command, Commands, Session};
use super::{FleetContext, Networks};
use crate::api::{Api, Key};
use crate::files::CachedFile;
use crate::leadership::Leadership;
use crate::reconcile::Queue;
use crate::telemetry::Metrics;

/// SHA-256 of the one file there is, `G28` and a line feed.
const SHA256: &str = "8080cd1d636d28b227689516fdadfd2aaed94e57b113db13523a38b51d0d09e9";

/// What sessions share, with nobody at the API server's address.
pub(super) fn context(leadership: &Leadership) -> FleetContext {
    let mut nobody = Config::new("http://127.0.0.1:1".parse().unwrap());
    nobody.default_retry = false;
    let metrics = Metrics::new().unwrap();
    let api = Api::new(Client::try_from(nobody).unwrap(), leadership.clone(), metrics.clone());
    FleetContext {
        api,
        scope: crate::scope::Scope::default(),
        timing: Timing::default(),
        networks: Networks::for_printers(true),
        bambu_ca: Trust::BambuCa,
        hold_starts: false,
        metrics,
        upload_slots: Arc::new(Semaphore::new(1)),
        printers: Queue::default(),
        jobs: Queue::default(),
    }
}

/// A connected session that serves an attempt, and the command to upload its file.
pub(super) fn serving() -> (Session, Commands, Command) {
    let (session, commands) = session::new(Key::new("farm", "prusa-1"), &Timing::default(), CancellationToken::new());
    let job_uid = "3f2504e0-4f89-41d3-9a0c-0305e82c3301".to_owned();
    let token = Token::new(&job_uid, 1);
    let remote_name = token.remote_name("part", "gcode");
    let attempt = Attempt { job: Key::new("farm", "clip"), job_uid, token };
    session.attach(&attempt, false, None);
    session.with(|s| s.reported(DeviceReport::default(), Instant::now(), Duration::from_secs(30)));
    let file = Some(CachedFile::of("/nowhere/part.gcode".into(), SHA256, 4));
    let what = DeviceCommand::Upload { remote_name };
    (session, commands, Command { what, attempt, device_job_id: None, file })
}
