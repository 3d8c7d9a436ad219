//! The upload of a session: the verified file from the cache to the device, in a task of its own. The session goes on
//! polling meanwhile, and may lose its connection and make it anew. An upload that is given up is not dropped: the driver
//! is told, cuts the transfer and removes what has arrived; only then does anything else touch the device's storage.

use std::sync::Arc;
use std::time::Duration;

use printernizer_rules::print_job::UploadView;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::FleetContext;
use super::device::{DeviceFault, UploadJob, Uploader, local};
use super::serve::COMMAND_LEASE;
use super::session::{Attempt, Command, Session};
use crate::tasks::caught;

/// First pause before an upload is tried again; doubles.
const BACKOFF: Duration = Duration::from_secs(2);
/// How long a driver may take to let go of an upload that was given up. Afterwards it is dropped.
const LETTING_GO: Duration = Duration::from_secs(15);
/// What is said of an upload that nobody wants any more.
const GIVEN_UP: &str = "the upload was given up";

/// What is said of an upload that had to wait while its printer was not watched.
const UNWATCHED: &str = "nobody has looked at the printer since it was not heard of for a while";

/// What came of the upload of an attempt.
type Ended = (Attempt, Result<(), DeviceFault>);

/// The uploads of a session, of which one at most is under way.
#[derive(Default)]
pub(super) struct Uploads {
    under_way: Option<UnderWay>,
}

struct UnderWay {
    command: Command,
    /// Cuts it off.
    cancel: CancellationToken,
    ended: oneshot::Receiver<Ended>,
}

impl Uploads {
    /// The command whose upload is under way.
    pub(super) fn under_way(&self) -> Option<&Command> {
        self.under_way.as_ref().map(|under_way| &under_way.command)
    }

    /// Waits until the upload under way has ended, and notes what came of it. Without one it waits for ever.
    pub(super) async fn ended(&mut self, session: &Session) {
        if let Some(under_way) = &mut self.under_way
            && let Ok(result) = (&mut under_way.ended).await
        {
            self.under_way = None;
            ended(session, result);
        } else {
            std::future::pending::<()>().await;
        }
    }

    /// Ends the upload under way, if there is one, and waits until the device's storage is free of it.
    pub(super) async fn give_up(&mut self, session: &Session) {
        if let Some(under_way) = &self.under_way {
            under_way.cancel.cancel();
            self.ended(session).await;
        }
    }

    /// Begins an upload; none may be under way.
    pub(super) fn begin(
        &mut self,
        context: &FleetContext,
        session: &Session,
        uploader: Uploader,
        command: &Command,
        remote_name: &str,
    ) {
        let Some(file) = command.file.clone() else {
            let fault = local(&"the job's file was not at hand");
            return ended(session, (command.attempt.clone(), Err(fault)));
        };
        let cancel = session.cancel.child_token();
        session.with(|s| s.upload = UploadView::Running { percent: 0 });
        let size_bytes = file.size_bytes;
        let (for_progress, watched) = (session.clone(), session.clone());
        let progress = move |sent: u64| {
            let percent = i32::try_from(sent.min(size_bytes) * 100 / size_bytes.max(1)).unwrap_or(100);
            for_progress.with(|s| {
                if matches!(s.upload, UploadView::Running { .. }) {
                    s.upload = UploadView::Running { percent };
                }
            });
        };
        let slots = Arc::clone(&context.upload_slots);
        let leadership = context.api.leadership().clone();
        let (printer, remote_name, cut) = (session.printer.clone(), remote_name.to_owned(), cancel.clone());
        let task = async move {
            // Uploads share the network: only some at a time. Whoever has its turn has its file at hand.
            let _slot = tokio::select! {
                biased;
                () = cut.cancelled() => return Err(local(&GIVEN_UP)),
                slot = slots.acquire_owned() => slot.map_err(|e| local(&e))?,
            };
            // It may have waited long; and no upload outlives the lease, however long it takes.
            leadership.permit(COMMAND_LEASE).map_err(|e| local(&e))?;
            // So may the printer, and somebody may have used it meanwhile.
            if !watched.with(|s| s.judging.is_judged()) {
                return Err(local(&UNWATCHED));
            }
            tracing::info!(%printer, file = %remote_name, bytes = file.size_bytes, "uploading");
            let job = UploadJob {
                remote_name,
                path: file.path.clone(),
                size_bytes: file.size_bytes,
                progress: Arc::new(progress),
                cancel: cut.clone(),
            };
            let given_up = async {
                cut.cancelled().await;
                tokio::time::sleep(LETTING_GO).await;
            };
            tokio::select! {
                biased;
                loss = leadership.lost() => Err(local(&loss)),
                result = uploader(job) => result,
                () = given_up => Err(local(&GIVEN_UP)),
            }
        };
        let (attempt, (tell, ended)) = (command.attempt.clone(), oneshot::channel());
        tokio::spawn(async move {
            let result = caught("the upload", task).await.unwrap_or_else(|panicked| Err(local(&panicked)));
            // The session may have ended; then nobody waits for this.
            let _ = tell.send((attempt, result));
        });
        self.under_way = Some(UnderWay { command: command.clone(), cancel, ended });
    }
}

/// Notes what came of an upload, unless the session serves another attempt by now.
pub(super) fn ended(session: &Session, (attempt, result): Ended) {
    if let Err(fault) = &result {
        session.command_failed(fault);
    }
    session.with(|s| match result {
        _ if s.attempt.as_ref() != Some(&attempt) => {}
        Ok(()) => {
            s.upload = UploadView::Done;
            s.upload_failures = 0;
        }
        Err(fault) => {
            tracing::warn!(printer = %session.printer, %fault, "the upload did not succeed");
            s.upload_failures = s.upload_failures.saturating_add(1);
            let pause = BACKOFF * (1 << s.upload_failures.min(5));
            s.upload_not_before = Some(Instant::now() + pause);
            s.upload = UploadView::Failed { message: fault.message };
        }
    });
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use futures::FutureExt as _;
    use printernizer_rules::device::DeviceReport;

    use super::super::session::Commands;
    use super::super::testing;
    use super::*;
    use crate::leadership::Leadership;

    /// Begins an upload with this uploader; gives the session, and the state it is in when the upload has ended.
    async fn upload(leadership: &Leadership, uploader: Uploader) -> (Session, Commands, Command) {
        let context = testing::context(leadership);
        let (session, commands, command) = testing::serving();
        let mut uploads = Uploads::default();
        uploads.begin(&context, &session, uploader, &command, "part.gcode");
        assert_eq!(session.seen().upload, UploadView::Running { percent: 0 });
        tokio::time::timeout(Duration::from_secs(20), uploads.ended(&session)).await.expect("it ends");
        assert!(uploads.under_way().is_none());
        (session, commands, command)
    }

    fn failure(session: &Session) -> String {
        let UploadView::Failed { message } = session.seen().upload else { panic!("{:?}", session.seen().upload) };
        message
    }

    #[tokio::test]
    async fn an_upload_that_panics_has_failed_and_is_tried_again_after_a_pause() {
        let panics: Uploader = Box::new(|_| async { panic!("a bug") }.boxed());
        let (session, mut commands, command) = upload(&Leadership::fixed(true), panics).await;
        assert!(failure(&session).starts_with("the upload failed in an unforeseen way"), "{}", failure(&session));
        tokio::time::pause();
        session.command(command.clone());
        assert!(commands.try_recv().is_err(), "not at once");
        tokio::time::advance(BACKOFF * 2).await;
        session.command(command);
        assert!(commands.try_recv().is_ok());
    }

    #[tokio::test]
    async fn an_upload_needs_leadership_when_its_first_byte_is_sent_and_until_its_last() {
        let uploads = Arc::new(AtomicUsize::new(0));
        let counting = |uploads: &Arc<AtomicUsize>| -> Uploader {
            let uploads = Arc::clone(uploads);
            Box::new(move |_| {
                uploads.fetch_add(1, Ordering::SeqCst);
                std::future::pending().boxed()
            })
        };
        let (session, ..) = upload(&Leadership::fixed(false), counting(&uploads)).await;
        assert!(failure(&session).contains("does not lead"), "{}", failure(&session));
        assert_eq!(uploads.load(Ordering::SeqCst), 0);
        let leadership = Leadership::fixed(true);
        let loses = async {
            while uploads.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
            leadership.lose();
        };
        let ((session, ..), ()) = tokio::join!(upload(&leadership, counting(&uploads)), loses);
        assert!(failure(&session).contains("Lease"), "{}", failure(&session));
    }

    /// An upload that is under way when this returns; its driver, told to stop, does `then`.
    async fn begun(then: impl Future<Output = ()> + Send + 'static) -> (Uploads, Session) {
        let context = testing::context(&Leadership::fixed(true));
        let (session, _commands, command) = testing::serving();
        let (begins, begun) = tokio::sync::oneshot::channel();
        let uploader: Uploader = Box::new(move |job| {
            async move {
                let _ = begins.send(());
                job.cancel.cancelled().await;
                then.await;
                Err(local(&"cut off"))
            }
            .boxed()
        });
        let mut uploads = Uploads::default();
        uploads.begin(&context, &session, uploader, &command, "part.gcode");
        begun.await.unwrap();
        (uploads, session)
    }

    #[tokio::test]
    async fn an_upload_that_is_given_up_is_over_when_its_driver_has_tidied_up() {
        let tidied = Arc::new(AtomicBool::new(false));
        let for_driver = Arc::clone(&tidied);
        let tidy_up = async move {
            tokio::task::yield_now().await;
            for_driver.store(true, Ordering::SeqCst);
        };
        let (mut uploads, session) = begun(tidy_up).await;
        uploads.give_up(&session).await;
        assert!(tidied.load(Ordering::SeqCst));
        assert_eq!(failure(&session), "cut off");
        // There is nothing to give up any more, and nothing to wait for.
        uploads.give_up(&session).await;
    }

    #[tokio::test]
    async fn a_driver_that_does_not_let_go_is_not_waited_for_for_ever() {
        let (mut uploads, session) = begun(std::future::pending()).await;
        tokio::time::pause();
        let began = Instant::now();
        uploads.give_up(&session).await;
        assert!(began.elapsed() <= LETTING_GO + Duration::from_secs(1), "{:?}", began.elapsed());
        assert_eq!(failure(&session), GIVEN_UP);
    }

    #[tokio::test]
    async fn an_upload_that_has_waited_for_its_turn_is_not_begun_after_a_gap_before_somebody_has_looked() {
        let context = testing::context(&Leadership::fixed(true));
        let (session, mut commands, command) = testing::serving();
        let turn = Arc::clone(&context.upload_slots).acquire_owned().await.unwrap();
        let mut uploads = Uploads::default();
        let never: Uploader = Box::new(|_| panic!("a byte was sent"));
        uploads.begin(&context, &session, never, &command, "part.gcode");
        session.with(|s| s.reported(DeviceReport::default(), Instant::now(), Duration::ZERO));
        drop(turn);
        uploads.ended(&session).await;
        assert_eq!(failure(&session), UNWATCHED);
        // Nor is one that waits in the queue, until somebody has.
        session.with(|s| s.upload_not_before = None);
        session.command(command.clone());
        assert!(commands.try_recv().is_err());
        session.was_judged(&session.seen());
        session.command(command);
        assert!(commands.try_recv().is_ok());
    }

    #[tokio::test]
    async fn an_upload_without_a_file_has_failed_and_is_not_asked_for_without_pause() {
        let context = testing::context(&Leadership::fixed(true));
        let (session, mut commands, command) = testing::serving();
        let command = Command { file: None, ..command };
        let never: Uploader = Box::new(|_| panic!("nothing to upload"));
        let mut uploads = Uploads::default();
        uploads.begin(&context, &session, never, &command, "part.gcode");
        assert!(uploads.under_way().is_none());
        assert!(failure(&session).contains("not at hand"), "{}", failure(&session));
        session.command(command);
        assert!(commands.try_recv().is_err());
    }
}
