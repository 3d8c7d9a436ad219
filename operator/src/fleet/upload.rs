//! An upload: the verified file from the cache to the device, in a task of its own while the session goes on polling.

use std::sync::Arc;
use std::time::Duration;

use printernizer_rules::device::LinkFault;
use printernizer_rules::print_job::UploadView;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::FleetContext;
use super::device::{DeviceFault, UploadJob, Uploader};
use super::session::{Attempt, Command, Session};

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
    let file = command.file.clone()?;
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
    let (printer, remote_name, cut) = (session.printer.clone(), remote_name.to_owned(), cancel.clone());
    let task = async move {
        // Uploads share the network: only some at a time.
        let _slot = slots.acquire_owned().await.map_err(|e| local(&e))?;
        let cached = files.fetch(&file.request, Some(&file.facts.sha256)).await;
        let cached = cached.map_err(|e| local(&crate::error::chain(&e)))?;
        tracing::info!(%printer, file = %remote_name, bytes = cached.size_bytes, "uploading");
        let job = UploadJob {
            remote_name,
            path: cached.path.clone(),
            size_bytes: cached.size_bytes,
            progress: Arc::new(progress),
            cancel: cut.clone(),
        };
        uploader(job).await
    };
    let (cut, attempt) = (cancel.clone(), command.attempt.clone());
    tokio::spawn(async move {
        let result = tokio::select! {
            biased;
            () = cut.cancelled() => Err(local(&"the upload was given up")),
            result = task => result,
        };
        // The session may have ended; then nobody waits for this.
        let _ = done.send((attempt, result)).await;
    });
    Some(cancel)
}

fn local(message: &dyn std::fmt::Display) -> DeviceFault {
    DeviceFault { cause: LinkFault::Unreachable, message: message.to_string() }
}

/// Notes what came of an upload, unless the session serves another attempt by now.
pub(super) fn ended(session: &Session, (attempt, result): Ended) {
    session.with(|s| match result {
        _ if s.attempt.as_ref() != Some(&attempt) => {}
        Ok(()) => {
            s.upload = UploadView::Done { device_job_id: None };
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
