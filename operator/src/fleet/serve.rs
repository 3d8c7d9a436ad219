//! The work of a session: one loop that polls the device, takes in what it reports, and carries out commands, one at a
//! time. Every command asks leadership first, and is dropped when it is not about the attempt that is served any more.

use std::time::Duration;

use printernizer_rules::device::{DeviceReport, DeviceState, LinkFault};
use printernizer_rules::plan::DeviceCommand;
use rand::Rng as _;
use tokio::time::Instant;

use super::device::{Device, DeviceFault, Reported, Taken, local};
use super::session::{Command, Commands, Session};
use super::upload::{self, Uploads};
use super::{FleetContext, start};

/// Lease that must be left when a command to a device begins: it may take a request's whole time.
pub(super) const COMMAND_LEASE: Duration = Duration::from_secs(5);
/// How long a device has for its answer to a pause, resume or stop. Less than the command itself has: one that is not
/// answered must not pass for one that was cut off.
pub(super) const COMMAND_ANSWER: Duration = COMMAND_LEASE.saturating_sub(Duration::from_millis(500));
/// Longest time for a deletion; its login has a limit of its own.
const DELETE_LIMIT: Duration = Duration::from_secs(45);
/// Longest time for a whole report, of which each request has a limit of its own: no printer keeps its session for ever.
pub(super) const POLL_LIMIT: Duration = Duration::from_secs(60);

/// Polls and works until cancelled, or until the device must be connected to anew.
pub(super) async fn serve<D: Device>(
    context: &FleetContext,
    session: &Session,
    device: &mut D,
    commands: &mut Commands,
    uploads: &mut Uploads,
    until: Instant,
) -> Result<(), DeviceFault> {
    // All sessions begin together when the operator does: a new connection is asked at once, one that is served on
    // at some moment of the period, so that polls spread out.
    let live = session.with(|s| s.connected);
    let phase = if live { rand::rng().random_range(0.0..1.0) } else { 0.0 };
    let mut next_poll = Instant::now() + session.timing.poll_period.mul_f64(phase);
    let mut polled_since_command = false;
    loop {
        if let Some(fault) = session.ends_by() {
            return Err(fault);
        }
        tokio::select! {
            biased;
            () = session.cancel.cancelled() => return Ok(()),
            () = uploads.ended(session) => context.tell(session),
            // A poll that is due goes first: several long commands in a row would be a gap in watching. But one command goes
            // between two of them: the next one of a slow device is due when the last has ended.
            Some(command) = commands.recv(), if polled_since_command || Instant::now() < next_poll => {
                polled_since_command = false;
                // Every effect asks leadership first; what is not carried out now will be asked for again.
                let serves = session.with(|s| s.serves(&command));
                // A printer's storage serves one at a time: what another upload left behind is deleted after this one.
                let (in_the_way, unwanted) = uploads.under_way().map_or((false, false), |under_way| {
                    (waits_for(&command.what, &under_way.what), ends_upload(&command.what, &under_way.what))
                });
                if serves && !in_the_way && context.api.leadership().permit(COMMAND_LEASE).is_ok() {
                    if unwanted {
                        uploads.give_up(session).await;
                    }
                    // On the heap: a session rests nearly always, and would keep the room for its largest command.
                    Box::pin(carry_out(context, session, device, &command, uploads)).await;
                    next_poll = Instant::now();
                }
                session.with(|s| {
                    s.pending.retain(|p| *p != command.what);
                    let now = Instant::now();
                    s.rests.retain(|_, at| now < *at);
                    // A start and an upload have pauses of their own.
                    if !matches!(command.what, DeviceCommand::Start | DeviceCommand::Upload { .. }) {
                        s.rests.insert(command.what.clone(), now + session.timing.poll_period * 2);
                    }
                });
                context.tell(session);
                // A file may be deleted for a job this session does not serve: one that had ended when it began.
                context.jobs.now(command.attempt.job);
            }
            () = device.changed() => next_poll = Instant::now(),
            () = tokio::time::sleep_until(next_poll) => {
                next_poll = Instant::now() + session.timing.poll_period;
                polled_since_command = true;
                match report_of(device, uploads.under_way().is_some()).await {
                    Ok(report) => took(context, session, report),
                    Err(fault) => {
                        // One missed poll says nothing; being refused or finding another device does.
                        let silent = session.with(|s| s.report.as_ref().map_or(Duration::MAX, |(_, at)| at.elapsed()));
                        let lasting = fault.cause != LinkFault::Unreachable || silent >= session.timing.stale_after;
                        if lasting || device.is_over() {
                            return Err(fault);
                        }
                    }
                }
                if Instant::now() >= until && uploads.under_way().is_none() {
                    return Ok(());
                }
            }
        }
    }
}

/// Whether a command has to wait until the upload under way has ended.
fn waits_for(command: &DeviceCommand, under_way: &DeviceCommand) -> bool {
    matches!(command, DeviceCommand::DeleteFile { .. }) && !ends_upload(command, under_way)
}

/// Whether a command ends the upload under way: its file is not wanted any more, or another one takes its place.
fn ends_upload(command: &DeviceCommand, under_way: &DeviceCommand) -> bool {
    match (command, under_way) {
        (DeviceCommand::DeleteFile { remote_name }, DeviceCommand::Upload { remote_name: sent }) => remote_name == sent,
        (DeviceCommand::Upload { .. }, _) => true,
        _ => false,
    }
}

async fn report_of<D: Device>(device: &mut D, own_upload: bool) -> Result<Reported, DeviceFault> {
    tokio::time::timeout(POLL_LIMIT, device.poll(own_upload)).await.unwrap_or_else(|_| Err(too_slow()))
}

/// Takes in a report; tells the controllers if it means something new.
pub(super) fn took(context: &FleetContext, session: &Session, Reported { report, at, refused }: Reported) {
    let (news, connects) = session.with(|s| {
        let refused = refused.is_some_and(|why| s.watching.as_mut().is_some_and(|w| w.refused(why)));
        if s.fault.is_none() && s.report.as_ref().is_some_and(|(_, last)| *last >= at) {
            // Nothing was said since: what was taken in before has no second weight.
            return (refused, false);
        }
        if let Some(watching) = s.watching.as_mut() {
            watching.report(&report, at);
        }
        let was_paused = s.report.as_ref().is_some_and(|(old, _)| old.state == DeviceState::Paused);
        if was_paused && report.state != DeviceState::Paused {
            // The pause we caused is over, however it ended; the next one may be somebody else's.
            s.pause_sent = false;
        }
        let connects = !s.connected;
        // A new connection is news, whatever it shows: what was asked for meanwhile was not taken.
        let news = connects || s.fault.is_some() || s.report.as_ref().is_none_or(|(old, _)| differs(old, &report));
        // Nor does anything count after a gap before it was looked at.
        let gap = s.reported(report, at, session.timing.report_gap);
        (news || gap || refused, connects)
    });
    if connects {
        context.metrics.session_connected();
    }
    if news {
        context.tell(session);
    }
}

/// Whether two reports differ in more than the seconds that are left.
fn differs(old: &DeviceReport, new: &DeviceReport) -> bool {
    let essence = |r: &DeviceReport| {
        let mut r = r.clone();
        if let Some(progress) = r.progress.as_mut() {
            progress.remaining_seconds = None;
        }
        r
    };
    essence(old) != essence(new)
}

/// Carries out one command.
async fn carry_out<D: Device>(
    context: &FleetContext,
    session: &Session,
    device: &mut D,
    command: &Command,
    uploads: &mut Uploads,
) {
    match &command.what {
        DeviceCommand::Upload { remote_name } => {
            // What an interrupted try has left behind goes first; a name holds one whole file or none.
            match delete(context, session, device, uploads, remote_name).await {
                Ok(()) => uploads.begin(context, session, device.uploader(), command, remote_name),
                Err(fault) => upload::ended(session, (command.attempt.clone(), Err(fault))),
            }
        }
        DeviceCommand::DeleteFile { remote_name } => {
            let result = delete(context, session, device, uploads, remote_name).await;
            let told_before = session.with(|s| s.is_undeleted(remote_name, &result));
            if !told_before {
                told(session, command, &result.clone().map(|()| Taken::Confirmed));
            }
            if let Err(fault) = &result {
                session.command_failed(fault);
            }
            session.with(|s| s.deletion_ended(remote_name, &result));
        }
        DeviceCommand::Start => Box::pin(start::run(context, session, device, command)).await,
        DeviceCommand::Pause | DeviceCommand::Resume | DeviceCommand::Stop => {
            control(context, session, device, command).await;
        }
    }
}

/// Deletes a file under all its names. Each of its commands asks leadership.
async fn delete<D: Device>(
    context: &FleetContext,
    session: &Session,
    device: &mut D,
    uploads: &Uploads,
    remote_name: &str,
) -> Result<(), DeviceFault> {
    let leadership = context.api.leadership();
    let may = || leadership.permit(COMMAND_LEASE).is_ok();
    let own_upload = uploads.under_way().is_some();
    let files = tokio::time::timeout(POLL_LIMIT, files(context, session, device, own_upload)).await;
    let files = files.unwrap_or_else(|_| Err(too_slow()))?;
    if !own_upload {
        look_first(context, session, device).await;
    }
    let deleted = device.delete(files, remote_name, &may);
    tokio::time::timeout(DELETE_LIMIT, deleted).await.unwrap_or_else(|_| Err(too_slow()))
}

/// Asks for a report before something that may take long, where the last one is some seconds old: together they would be a
/// gap in watching. Some devices say nothing by themselves for a while.
pub(super) async fn look_first<D: Device>(context: &FleetContext, session: &Session, device: &mut D) {
    let age = session.with(|s| s.report.as_ref().map(|(_, at)| at.elapsed()));
    if age.is_none_or(|age| age <= session.timing.fresh_report) {
        return;
    }
    // What a failed one means is for the loop of the session to say.
    if let Ok(Ok(reported)) = tokio::time::timeout(POLL_LIMIT, device.fresh()).await {
        took(context, session, reported);
    }
}

/// Opens a session with the device's storage, and polls meanwhile: some file servers take their time, and who looks away for
/// long has not watched.
pub(super) async fn files<D: Device>(
    context: &FleetContext,
    session: &Session,
    device: &mut D,
    own_upload: bool,
) -> Result<D::Files, DeviceFault> {
    let opened = device.files();
    let watching = async {
        loop {
            tokio::time::sleep(session.timing.poll_period).await;
            // What a failed poll means is for the loop of the session to say.
            if let Ok(reported) = report_of(device, own_upload).await {
                took(context, session, reported);
            }
        }
    };
    tokio::select! {
        biased;
        opened = opened => opened,
        never = watching => never,
    }
}

pub(super) fn too_slow() -> DeviceFault {
    local(&"the printer answers too slowly: look at its network, and restart it")
}

/// No command lasts longer than the lease that was asked for it; one that is cut off may have been taken.
pub(super) async fn within_lease<T>(command: impl Future<Output = Result<T, DeviceFault>>) -> Result<T, DeviceFault> {
    tokio::time::timeout(COMMAND_LEASE, command).await.unwrap_or_else(|_| Err(too_slow()))
}

/// Logs what came of a command; whether the device may have taken it.
fn told(session: &Session, command: &Command, result: &Result<Taken, DeviceFault>) -> bool {
    let (printer, job, what) = (&session.printer, &command.attempt.job, &command.what);
    match result {
        Ok(Taken::Confirmed) => tracing::info!(%printer, %job, command = ?what, "the printer took the command"),
        Ok(Taken::Unanswered) => {
            tracing::info!(%printer, %job, command = ?what, "the command was sent, and the printer did not answer");
        }
        Err(fault) => tracing::info!(%printer, %job, command = ?what, %fault, "the printer did not take the command"),
    }
    result.is_ok()
}

async fn control<D: Device>(context: &FleetContext, session: &Session, device: &mut D, command: &Command) {
    let result = give(context, session, device, command).await;
    if let Err(fault) = &result {
        session.command_failed(fault);
    }
    if told(session, command, &result) {
        session.with(|s| s.taken = Some((command.what.clone(), Instant::now())));
    }
}

/// Gives a pause, resume or stop: only while a report not older than 5 s on this connection shows our identity active.
async fn give<D: Device>(
    context: &FleetContext,
    session: &Session,
    device: &mut D,
    command: &Command,
) -> Result<Taken, DeviceFault> {
    let fresh = tokio::time::timeout(POLL_LIMIT, device.fresh()).await;
    let reported = fresh.unwrap_or_else(|_| Err(too_slow()))?;
    let Reported { report, at, .. } = &reported;
    let fresh = at.elapsed() <= session.timing.fresh_report;
    let id = command.device_job_id.as_deref();
    // A device that is commanded by its number of the print must show that one; another may never show a number at all,
    // and the name is ours as well.
    let ours = if D::COMMANDS_BY_NUMBER {
        id.is_some() && report.identity.id.as_deref() == id
    } else {
        session.with(|s| s.serves(command) && s.watching.as_ref().is_some_and(|w| w.is_ours(report)))
    };
    let ours = fresh && ours && report.is_active();
    took(context, session, reported);
    if !ours {
        return Err(local(&"it does not show the print as running now"));
    }
    context.api.leadership().permit(COMMAND_LEASE).map_err(|e| local(&e))?;
    match command.what {
        DeviceCommand::Pause => {
            let result = within_lease(device.pause(id)).await;
            // A pause that was refused, or of which nobody knows whether it was sent, is not ours to end.
            session.with(|s| s.pause_sent = result.is_ok());
            result
        }
        DeviceCommand::Resume => within_lease(device.resume(id)).await,
        _ => within_lease(device.stop(id)).await,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use crate::leadership::Leadership;

    #[tokio::test]
    async fn the_rules_ask_again_when_a_connection_that_ended_is_back_although_it_shows_what_it_showed_before() {
        let context = testing::context(&Leadership::fixed(true));
        let (session, mut commands, upload) = testing::serving();
        let report = || {
            let reported = Reported { report: DeviceReport::default(), at: Instant::now(), refused: None };
            took(&context, &session, reported);
        };
        report();
        assert!(!context.jobs.is_due(&upload.attempt.job), "it is connected, and shows nothing new");
        // Printer restarts; meanwhile the job is given to it, and its upload is asked for in vain.
        session.connection_broken();
        session.command(upload.clone());
        assert!(commands.try_recv().is_err());
        report();
        assert!(context.jobs.is_due(&upload.attempt.job) && context.printers.is_due(&session.printer));
    }

    #[tokio::test(start_paused = true)]
    async fn a_report_after_a_gap_is_news_although_it_shows_what_was_shown_before_it() {
        let context = testing::context(&Leadership::fixed(true));
        let (session, _commands, _) = testing::serving();
        let report = async |after: u64| {
            tokio::time::advance(Duration::from_secs(after)).await;
            took(&context, &session, Reported { report: DeviceReport::default(), at: Instant::now(), refused: None });
            (session.seen().watched, context.printers.is_due(&session.printer))
        };
        assert_eq!(report(30).await, (true, false));
        // Nothing is given to the printer until it is looked at, so somebody must look.
        assert_eq!(report(31).await, (false, true));
    }

    /// Serves a device with so many files to delete, which takes so long; whether it was watched all the time.
    async fn watched_while(device: testing::Slow, deletions: usize, lasting: Duration) -> bool {
        let context = testing::context(&Leadership::fixed(true));
        let (session, mut commands, upload) = testing::serving();
        let judged = session.judged();
        for n in 0..deletions {
            let what = DeviceCommand::DeleteFile { remote_name: format!("part-{n}.gcode") };
            session.command(Command { what, ..upload.clone() });
        }
        let (mut device, mut uploads) = (device, Uploads::default());
        let until = Instant::now() + lasting;
        serve(&context, &session, &mut device, &mut commands, &mut uploads, until).await.unwrap();
        assert_eq!(session.seen().deleted.len(), deletions, "all are deleted");
        session.seen().is_judged_since(judged)
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_server_that_takes_longer_than_a_gap_leaves_no_gap_in_watching() {
        let device = testing::Slow { files: Duration::from_secs(40), ..testing::Slow::default() };
        assert!(watched_while(device, 1, Duration::from_secs(50)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn several_long_commands_in_a_row_leave_no_gap_in_watching() {
        let device = testing::Slow { deletion: Duration::from_secs(20), ..testing::Slow::default() };
        assert!(watched_while(device, 3, Duration::from_secs(70)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_device_whose_answers_take_longer_than_a_period_is_told_what_to_do_between_them() {
        let device = testing::Slow { poll: Duration::from_secs(3), ..testing::Slow::default() };
        assert!(watched_while(device, 4, Duration::from_secs(15)).await);
    }
}
