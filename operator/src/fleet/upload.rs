//! An upload: the verified file from the cache to the device, in a task of its own while the session goes on polling.

use std::sync::Arc;
use std::time::Duration;

use printernizer_rules::print_job::UploadView;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::FleetContext;
use super::device::{DeviceFault, UploadJob, Uploader, local};
use super::serve::COMMAND_LEASE;
use super::session::{Attempt, Command, Session};
use crate::tasks::caught;

/// First pause before an upload is tried again; doubles.
const BACKOFF: Duration = Duration::from_secs(2);

/// What came of the upload of an attempt.
pub(super) type Ended = (Attempt, Result<(), DeviceFault>);

/// Begins an upload; what comes of it is sent to `done`. Gives the token that cuts it off.
pub(super) fn begin(
    context: &FleetContext,
    session: &Session,
    uploader: Uploader,
    command: &Command,
    remote_name: &str,
    done: mpsc::Sender<Ended>,
) -> Option<CancellationToken> {
    let Some(file) = command.file.clone() else {
        let fault = local(&"the job does not say any more where its file is: correct spec.source");
        ended(session, (command.attempt.clone(), Err(fault)));
        return None;
    };
    let cancel = session.cancel.child_token();
    session.with(|s| s.upload = UploadView::Running { percent: 0 });
    let size_bytes = u64::try_from(file.facts.size_bytes).unwrap_or(0);
    let for_progress = session.clone();
    let progress = move |sent: u64| {
        let percent = i32::try_from(sent.min(size_bytes) * 100 / size_bytes.max(1)).unwrap_or(100);
        for_progress.with(|s| {
            if matches!(s.upload, UploadView::Running { .. }) {
                s.upload = UploadView::Running { percent };
            }
        });
    };
    let (files, slots) = (context.files.clone(), Arc::clone(&context.upload_slots));
    let leadership = context.api.leadership().clone();
    let (printer, remote_name, cut) = (session.printer.clone(), remote_name.to_owned(), cancel.clone());
    let task = async move {
        // Uploads share the network: only some at a time.
        let _slot = slots.acquire_owned().await.map_err(|e| local(&e))?;
        let cached = files.fetch(&file.request, Some(&file.facts.sha256)).await;
        let cached = cached.map_err(|e| local(&crate::error::chain(&e)))?;
        // It may have waited long; and no upload outlives the lease, however long it takes.
        leadership.permit(COMMAND_LEASE).map_err(|e| local(&e))?;
        tracing::info!(%printer, file = %remote_name, bytes = cached.size_bytes, "uploading");
        let job = UploadJob {
            remote_name,
            path: cached.path.clone(),
            size_bytes: cached.size_bytes,
            progress: Arc::new(progress),
            cancel: cut.clone(),
        };
        tokio::select! {
            biased;
            loss = leadership.lost() => Err(local(&loss)),
            result = uploader(job) => result,
        }
    };
    let (cut, attempt) = (cancel.clone(), command.attempt.clone());
    tokio::spawn(async move {
        let result = tokio::select! {
            biased;
            () = cut.cancelled() => Err(local(&"the upload was given up")),
            result = caught("the upload", task) => result.unwrap_or_else(|panicked| Err(local(&panicked))),
        };
        // The session may have ended; then nobody waits for this.
        let _ = done.send((attempt, result)).await;
    });
    Some(cancel)
}

/// Notes what came of an upload, unless the session serves another attempt by now.
pub(super) fn ended(session: &Session, (attempt, result): Ended) {
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
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::FutureExt as _;

    use super::super::testing;
    use super::*;
    use crate::leadership::Leadership;

    /// Begins an upload with this uploader; gives the session, and the state it is in when the upload has ended.
    async fn upload(leadership: &Leadership, uploader: Uploader) -> (Session, mpsc::Receiver<Command>, Command) {
        let directory = tempfile::tempdir().unwrap();
        let context = testing::context(leadership, directory.path());
        let (session, commands, command) = testing::serving();
        let (done, mut results) = mpsc::channel(1);
        begin(&context, &session, uploader, &command, "part.gcode", done).unwrap();
        assert_eq!(session.seen().upload, UploadView::Running { percent: 0 });
        let result = tokio::time::timeout(Duration::from_secs(20), results.recv()).await.expect("it ends");
        ended(&session, result.expect("it says how"));
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

    #[tokio::test]
    async fn a_job_that_names_no_file_any_more_is_told_and_not_asked_for_without_pause() {
        let directory = tempfile::tempdir().unwrap();
        let context = testing::context(&Leadership::fixed(true), directory.path());
        let (session, mut commands, command) = testing::serving();
        let command = Command { file: None, ..command };
        let never: Uploader = Box::new(|_| panic!("nothing to upload"));
        assert!(begin(&context, &session, never, &command, "part.gcode", mpsc::channel(1).0).is_none());
        assert!(failure(&session).contains("spec.source"), "{}", failure(&session));
        session.command(command);
        assert!(commands.try_recv().is_err());
    }
}
