//! Everything one decision about a Printer depends on. Reads only.

use std::time::Duration;

use jiff::Timestamp;
use printernizer_crds::{PrintJob, PrintJobStatus, Printer};
use printernizer_rules::device::{Link, LinkFault};
use printernizer_rules::identity::Token;
use printernizer_rules::print_job::status::is_terminal;
use printernizer_rules::printer::{Observed, owes_verdict, serial_claimed, wants_connection};
use printernizer_rules::timing::Timing;

use crate::api::{ApiError, Key, version};
use crate::context::Context;
use crate::fleet::{Attempt, Seen, Session, fresh_id};
use crate::watch::Mark;

/// What was observed, owned.
pub(super) struct Facts {
    pub(super) printer: Printer,
    pub(super) session: Option<Session>,
    pub(super) seen: Option<Seen>,
    link: Link,
    job: Option<PrintJob>,
    last_start_job: Option<PrintJob>,
    shown_job_exists: bool,
    /// Whether the job that is shown may be among what was not listed yet.
    unlisted: bool,
    orphan: Option<PrintJob>,
    duplicate_of: Option<String>,
    deleted: Vec<String>,
    hold_starts: bool,
    fresh_id: String,
    now: Timestamp,
    timing: Timing,
}

impl Facts {
    /// How soon to look again, where nothing could be judged because not everything was listed yet.
    pub(super) fn once_listed(&self) -> Option<Duration> {
        self.unlisted.then_some(self.timing.poll_period)
    }

    /// As the rules take it.
    pub(super) fn observed(&self) -> Observed<'_> {
        Observed {
            printer: &self.printer,
            link: &self.link,
            host: self.seen.as_ref().and_then(|s| s.host.as_deref()),
            watched: self.seen.as_ref().is_some_and(|s| s.watched),
            job: self.job.as_ref(),
            last_start_job: self.last_start_job.as_ref(),
            shown_job_exists: self.shown_job_exists,
            orphan: self.orphan.as_ref(),
            duplicate_of: self.duplicate_of.as_deref(),
            last_start_live: self.seen.as_ref().map_or(Duration::ZERO, |s| s.watch.live),
            deleted: &self.deleted,
            hold_starts: self.hold_starts,
            fresh_id: &self.fresh_id,
            now: self.now,
            timing: &self.timing,
        }
    }
}

/// Observes; `None` when the Printer is gone.
pub(super) async fn observe(context: &Context, key: &Key) -> Result<Option<Facts>, ApiError> {
    let Some(printer) = context.api.get::<Printer>(key).await? else { return Ok(None) };
    let connection = &printer.spec.connection;
    let has_driver = connection.prusa_link.is_some() || connection.bambu.is_some();
    let duplicate_of = duplicate(context, &printer);
    let connect = wants_connection(&printer) && duplicate_of.is_none();
    let session = if connect { context.fleet.ensure(&printer) } else { None };
    if !connect {
        context.fleet.remove(key);
    }

    let status = printer.status.clone().unwrap_or_default();
    let read = async |name: &str, uid: &str| -> Result<Option<PrintJob>, ApiError> {
        let job = context.api.get::<PrintJob>(&Key::new(&key.namespace, name)).await?;
        Ok(job.filter(|j| j.metadata.uid.as_deref() == Some(uid)))
    };
    let job = match &status.current_job {
        Some(claim) => read(&claim.name, &claim.uid).await?,
        None => None,
    };
    let last_start_job = match &status.last_start {
        Some(last) if last.verdict.is_none() => match &job {
            Some(job) if job.metadata.uid.as_deref() == Some(&last.job_uid) => Some(job.clone()),
            _ => read(&last.job_name, &last.job_uid).await?,
        },
        _ => None,
    };
    let jobs = [job.as_ref(), last_start_job.as_ref()].into_iter().flatten().map(version);
    context.printers.has_read(key, std::iter::once(version(&printer)).chain(jobs));
    // A start whose job is gone, or knows nothing of it, is watched by the printer's own session.
    if let (Some(session), Some(last)) = (&session, &status.last_start)
        && !last_start_job.as_ref().is_some_and(|job| owes_verdict(job, last))
        && last.verdict.is_none()
        && let Some(token) = Token::parse(&last.token)
    {
        let job = Key::new(&key.namespace, &last.job_name);
        session.attach(&Attempt { job, job_uid: last.job_uid.clone(), token }, true, None);
    }
    let mut seen = session.as_ref().map(Session::seen);
    let link = match &seen {
        Some(seen) => seen.link.clone(),
        // A kind that a later version of the API names.
        None if !has_driver => Link::Down {
            cause: LinkFault::NotSupported,
            message: "this version has no driver for this kind of connection".into(),
            silent_for: Duration::ZERO,
        },
        None => Link::Connecting,
    };
    let shown_token = match &link {
        Link::Live { report, .. } => report.identity.name.as_deref().and_then(Token::find),
        _ => None,
    };
    // Often it is a job that was just read; else all are looked through, as long as the print is shown.
    let is_shown = |j: &PrintJob, token: &Token| {
        j.metadata.namespace.as_deref() == Some(&key.namespace)
            && j.metadata.uid.as_deref().is_some_and(|uid| token.is_of_job(uid))
    };
    let is_of_a_job = |token: &Token| {
        [&job, &last_start_job].into_iter().flatten().any(|j| is_shown(j, token))
            || context.job_index.find(|j| is_shown(j, token)).is_some()
    };
    let shown_job_exists = shown_token.as_ref().is_some_and(is_of_a_job);
    // Its job may be among what was not listed yet. Until that is known nothing is judged: neither is a printer distrusted for
    // it, which only a person ends, nor is a print of another cluster taken for accounted.
    let is_whole = context.job_index.is_whole() && context.printer_index.is_whole();
    let unlisted = shown_token.is_some() && !shown_job_exists && !is_whole;
    let link = if unlisted { Link::Connecting } else { link };
    if unlisted && let Some(seen) = &mut seen {
        seen.link = Link::Connecting;
    }
    let deleted = seen.as_ref().map(|s| s.deleted_now.clone()).unwrap_or_default();
    let orphan = orphan(context, &printer).await?;
    Ok(Some(Facts {
        session,
        seen,
        link,
        job,
        last_start_job,
        shown_job_exists,
        unlisted,
        orphan,
        duplicate_of,
        deleted,
        hold_starts: context.fleet.context().hold_starts,
        fresh_id: fresh_id(),
        now: Timestamp::now(),
        timing: context.timing,
        printer,
    }))
}

/// What a Printer is found by: the device it stands for, and the job it holds.
pub(crate) fn marks(printer: &Printer) -> Vec<Mark> {
    let held = printer.status.as_ref().and_then(|s| s.current_job.as_ref());
    let device = serial_claimed(printer).map(|serial| Mark::Device(serial.to_owned()));
    device.into_iter().chain(held.map(|job| Mark::Claim(job.uid.clone()))).collect()
}

/// What a PrintJob is found by: the device it was given to, while its start on it is not resolved.
pub(crate) fn job_marks(job: &PrintJob) -> Vec<Mark> {
    let started = |s: &&PrintJobStatus| !is_terminal(s) && (s.start.is_some() || s.start_time.is_some());
    let given_to = job.status.as_ref().filter(started).and_then(|s| s.printer.as_ref());
    given_to.map(|printer| Mark::Device(printer.serial_number.clone())).into_iter().collect()
}

/// Another Printer for the same device that comes first, as last heard.
fn duplicate(context: &Context, printer: &Printer) -> Option<String> {
    // In a farm of thousands few stand for the same device.
    let others = context.printer_index.marked(&Mark::Device(serial_claimed(printer)?.to_owned()));
    let first = others.iter().filter(|other| comes_before(other, printer)).min_by_key(|other| rank(other))?;
    Some(Key::of(first.as_ref()).to_string())
}

/// Whether another Printer stands for the same device and comes before this one: one with an unresolved start, then
/// the older, then the UID. The namespace does not matter: there is one device.
pub(crate) fn comes_before(other: &Printer, printer: &Printer) -> bool {
    let serial = serial_claimed(printer);
    other.metadata.uid != printer.metadata.uid
        && serial.is_some()
        && serial_claimed(other) == serial
        && rank(other) < rank(printer)
}

fn rank(printer: &Printer) -> (bool, Option<Timestamp>, Option<String>) {
    let created = printer.metadata.creation_timestamp.as_ref().map(|t| t.0);
    (!has_unresolved_start(printer), created, printer.metadata.uid.clone())
}

/// Whether the Printer remembers a start without a verdict.
pub(crate) fn has_unresolved_start(printer: &Printer) -> bool {
    printer.status.as_ref().and_then(|s| s.last_start.as_ref()).is_some_and(|last| last.verdict.is_none())
}

/// A job with an unresolved start on this device whose Printer is gone: this one, created again, takes it over.
async fn orphan(context: &Context, printer: &Printer) -> Result<Option<PrintJob>, ApiError> {
    let status = printer.status.clone().unwrap_or_default();
    let Some(serial) = serial_claimed(printer) else { return Ok(None) };
    let candidate = context.job_index.marked(&Mark::Device(serial.to_owned())).into_iter().find(|job| {
        let named = job.status.as_ref().and_then(|s| s.printer.as_ref());
        job.metadata.namespace == printer.metadata.namespace
            && named.is_some_and(|n| Some(&n.uid) != printer.metadata.uid.as_ref())
    });
    let Some(candidate) = candidate else { return Ok(None) };
    // A cache only wakes us: the claim is taken over on what the API server says now.
    let Some(job) = context.api.get::<PrintJob>(&Key::of(candidate.as_ref())).await? else { return Ok(None) };
    let holders = context.printer_index.marked(&Mark::Claim(job.metadata.uid.clone().unwrap_or_default()));
    let claimed_elsewhere = holders.iter().any(|p| p.metadata.uid != printer.metadata.uid);
    let named = job.status.as_ref().and_then(|s| s.printer.as_ref());
    let still = !job.status.as_ref().is_some_and(is_terminal)
        && named.is_some_and(|n| n.serial_number == serial)
        && !claimed_elsewhere
        && (status.current_job.is_none() || status.current_job.as_ref().map(|c| &c.uid) == job.metadata.uid.as_ref());
    Ok(still.then_some(job))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn printer(namespace: &str, created: &str, serial: &str, verdict: Option<&str>) -> Printer {
        let last = json!({
            "token": "3f2504e04f8941d3-1", "jobName": "clip", "jobUID": "1", "remoteName": "a",
            "deadline": "2026-11-21T12:00:00Z", "verdict": verdict,
        });
        serde_json::from_value(json!({
            "apiVersion": "printernizer.io/v1alpha1", "kind": "Printer",
            "metadata": { "name": "prusa-1", "namespace": namespace, "uid": namespace, "creationTimestamp": created },
            "spec": { "model": "Prusa CORE One", "connection": { "prusaLink": {
                "url": "http://192.168.1.9", "serialNumber": serial, "credentialsSecretRef": { "name": "prusa-1" },
            } } },
            "status": { "lastStart": last },
        }))
        .unwrap()
    }

    #[test]
    fn of_two_printers_of_a_device_one_comes_first_whatever_their_namespaces() {
        let (early, late) = ("2026-01-01T00:00:00Z", "2026-06-01T00:00:00Z");
        let settled = Some("Succeeded");
        let old = printer("one", early, "SN-1", settled);
        let new = printer("two", late, "SN-1", settled);
        assert!(comes_before(&old, &new) && !comes_before(&new, &old));
        let unresolved = printer("two", late, "SN-1", None);
        assert!(comes_before(&unresolved, &old) && !comes_before(&old, &unresolved));
        let same_time = printer("two", early, "SN-1", settled);
        assert!(comes_before(&old, &same_time) && !comes_before(&same_time, &old), "the UID decides");
        assert!(!comes_before(&printer("two", early, "SN-2", None), &new), "another device");
        assert!(!comes_before(&old, &old), "itself");
    }
}
