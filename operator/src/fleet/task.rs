//! The task of one session: connects, serves, connects again, and reads the Secret now and then. It decides only how long
//! to wait before the next connection.

use std::sync::Arc;
use std::time::Duration;

use printernizer_crds::Printer;
use printernizer_rules::device::LinkFault;
use rand::Rng as _;
use tokio::time::Instant;

use super::connect::{Reach, read_login};
use super::device::DeviceFault;
use super::session::{Commands, Session};
use super::upload::Uploads;
use super::{FleetContext, serve};

/// Secrets are read again this often.
const SECRET_PERIOD: Duration = Duration::from_secs(60);
/// First pause after a connection that failed; doubles.
const RECONNECT_BASE: Duration = Duration::from_secs(1);
/// Longest pause before a printer that does not answer is tried again.
pub(super) const RECONNECT_CAP: Duration = Duration::from_secs(15);
/// Longest pause before refused credentials are tried again: nobody is hammered.
const REFUSED_CAP: Duration = Duration::from_secs(600);
/// First pause after refused credentials.
const REFUSED_BASE: Duration = Duration::from_secs(30);

/// A session's task: connects, serves, connects again.
pub(super) async fn run<C: Reach>(
    context: Arc<FleetContext>,
    session: Session,
    mut commands: Commands,
    printer: Printer,
    connection: C,
) {
    let mut failures: u32 = 0;
    let mut uploads = Uploads::default();
    while !session.cancel.is_cancelled() {
        // Version of the Secret that is tried.
        let mut version = String::new();
        // On the heap: connecting needs room that a session would keep otherwise.
        let result = Box::pin(async {
            // What is remembered may have grown since the session began.
            let newest = context.api.get::<Printer>(&session.printer).await.ok().flatten();
            let printer = newest.as_ref().unwrap_or(&printer);
            let login = read_login(&context.api, printer, &connection).await?;
            version.clone_from(&login.version);
            connection.connect(printer, login, &context).await
        });
        let ended = tokio::select! {
            () = session.cancel.cancelled() => break,
            ended = result => ended,
        };
        let fault = match ended {
            Ok((mut device, address)) => {
                session.with(|s| s.host = Some(address));
                let connected = Instant::now();
                let login = (&printer, &connection, version.as_str());
                match serve_with(&context, &session, &mut device, &mut commands, &mut uploads, login).await {
                    Served::Anew => {
                        failures = 0;
                        session.connection_broken();
                        continue;
                    }
                    Served::Fault(fault) => {
                        let talked =
                            session.with(|s| s.report.as_ref().is_some_and(|(_, at)| at.elapsed() < RECONNECT_CAP));
                        // A short connection proves nothing.
                        if talked && connected.elapsed() >= RECONNECT_CAP {
                            failures = 0;
                        }
                        fault
                    }
                }
            }
            Err(fault) => fault,
        };
        context.metrics.session_failed(fault.cause, session.with(|s| s.connected));
        failures = failures.saturating_add(1);
        let (base, cap) = match fault.cause {
            LinkFault::CredentialsRefused => (REFUSED_BASE, REFUSED_CAP),
            _ => (RECONNECT_BASE, RECONNECT_CAP),
        };
        let pause = base.saturating_mul(1 << (failures - 1).min(10)).min(cap);
        // A connection that ended at a printer that talked a moment ago is made anew before anybody hears of it.
        let talked =
            session.with(|s| s.report.as_ref().is_some_and(|(_, at)| at.elapsed() < session.timing.stale_after));
        let hiccup = failures == 1 && fault.cause == LinkFault::Unreachable && talked;
        let mut new = false;
        if hiccup {
            // An upload has a connection of its own, and goes on.
            tracing::info!(printer = %session.printer, %fault, "the connection ended and is made anew");
            session.connection_broken();
        } else {
            uploads.give_up(&session).await;
            new = session.connection_lost(&fault);
        }
        // From here on no command is taken; what was taken before belongs to the lost connection.
        while commands.try_recv().is_ok() {}
        session.with(|s| s.pending.clear());
        if new {
            tracing::warn!(printer = %session.printer, %fault, retry_in = ?pause, "no connection to the printer");
            context.tell(&session);
        }
        let refused = (fault.cause == LinkFault::CredentialsRefused).then_some(version.as_str());
        wait(&context, &session, &printer, &connection, pause, refused).await;
    }
    uploads.give_up(&session).await;
}

/// How serving a device ended.
enum Served {
    /// The login has changed, or the session ends.
    Anew,
    /// The connection is in trouble.
    Fault(DeviceFault),
}

/// Serves the device while its Secret stays the same.
async fn serve_with<C: Reach>(
    context: &FleetContext,
    session: &Session,
    device: &mut C::Device,
    commands: &mut Commands,
    uploads: &mut Uploads,
    (printer, connection, version): (&Printer, &C, &str),
) -> Served {
    // All sessions begin together when the operator does; they do not all ask for their Secrets together.
    let mut until = Instant::now() + SECRET_PERIOD.mul_f64(rand::rng().random_range(0.0..1.0));
    loop {
        if let Err(fault) = serve::serve(context, session, device, commands, uploads, until).await {
            return Served::Fault(fault);
        }
        until = Instant::now() + SECRET_PERIOD;
        if session.cancel.is_cancelled() {
            return Served::Anew;
        }
        if session.keeps_connection() {
            continue;
        }
        match Box::pin(read_login(&context.api, printer, connection)).await {
            Ok(login) if login.version == version => {}
            Ok(_) => return Served::Anew,
            // The API server does not answer: the connection is good all the same.
            Err(fault) if fault.cause == LinkFault::Unreachable => {}
            Err(fault) => return Served::Fault(fault),
        }
    }
}

/// Waits before the next connection; a changed Secret ends the wait after refused credentials.
async fn wait<C: Reach>(
    context: &FleetContext,
    session: &Session,
    printer: &Printer,
    connection: &C,
    pause: Duration,
    refused_version: Option<&str>,
) {
    let until = Instant::now() + pause;
    loop {
        let step = until.min(Instant::now() + SECRET_PERIOD / 4);
        tokio::select! {
            () = session.cancel.cancelled() => return,
            () = tokio::time::sleep_until(step) => {}
        }
        if Instant::now() >= until {
            return;
        }
        if let Some(refused) = refused_version
            && let Ok(login) = Box::pin(read_login(&context.api, printer, connection)).await
            && login.version != refused
        {
            return;
        }
    }
}
