//! Everything one decision about a PrintJob depends on. Reads only.

use jiff::Timestamp;
use printernizer_crds::print_job::SlotChoice;
use printernizer_crds::{PrintJob, PrintRecord, Printer};
use printernizer_rules::device::Link;
use printernizer_rules::identity::Token;
use printernizer_rules::print_job::gate::token_of;
use printernizer_rules::print_job::status::is_terminal;
use printernizer_rules::print_job::{FileView, Observed, SessionView, Undeleted, Waiting};
use printernizer_rules::timing::Timing;

use super::desk::FileState;
use super::record_name;
use crate::api::{ApiError, Key, version};
use crate::context::Context;
use crate::fleet::{Attempt, Judged, Seen, Session, fresh_id};
use crate::watch::Mark;

/// What was observed, owned.
pub(super) struct Facts {
    pub(super) job: PrintJob,
    pub(super) printer: Option<Printer>,
    pub(super) session: Option<Session>,
    pub(super) attempt: Attempt,
    seen: Option<Seen>,
    judged: bool,
    file_deleted: bool,
    undeleted: Option<Undeleted>,
    file: FileState,
    printed_before: Option<PrintRecord>,
    shown_on: Option<Link>,
    mapping: Option<Result<Vec<SlotChoice>, String>>,
    waiting: Option<Waiting>,
    fresh_id: String,
    now: Timestamp,
    timing: Timing,
}

impl Facts {
    /// As the rules take it.
    pub(super) fn observed(&self) -> Observed<'_> {
        Observed {
            job: &self.job,
            printer: self.printer.as_ref(),
            session: self.seen.as_ref().map(|seen| SessionView {
                link: &seen.link,
                judged: self.judged,
                unjudged_for: seen.unjudged_for,
                watch: &seen.watch,
                upload: seen.upload.clone(),
                closed: seen.closed.clone(),
                closed_for: seen.closed_for,
                file_deleted: self.file_deleted,
                undeleted: self.undeleted.clone(),
                pause_sent: seen.pause_sent,
            }),
            file: match &self.file {
                FileState::Unknown => FileView::Unknown,
                FileState::Fetching { since } => FileView::Fetching { lasting: since.elapsed() },
                FileState::Read(facts) => FileView::Read(facts),
                FileState::Refused { reason, message } => {
                    FileView::Refused { reason: *reason, message: message.clone() }
                }
            },
            printed_before: self.printed_before.as_ref(),
            shown_on: self.shown_on.as_ref(),
            mapping: self.mapping.clone(),
            waiting: self.waiting.clone(),
            fresh_id: &self.fresh_id,
            now: self.now,
            timing: &self.timing,
        }
    }
}

/// Observes; `None` when the job is gone.
pub(super) async fn observe(context: &Context, key: &Key) -> Result<Option<Facts>, ApiError> {
    let Some(job) = context.api.get::<PrintJob>(key).await? else { return Ok(None) };
    let status = job.status.as_ref();
    let uid = job.metadata.uid.as_deref().unwrap_or_default();

    // The printer that holds the job, as last heard, else the one the job names; read from the quorum.
    let holders = context.printer_index.marked(&Mark::Claim(uid.to_owned()));
    let holder = holders.into_iter().find(|p| p.metadata.namespace == job.metadata.namespace);
    let named = status.and_then(|s| s.printer.as_ref()).map(|p| Key::new(&key.namespace, &p.name));
    let at = named.or_else(|| holder.map(|p| Key::of(p.as_ref())));
    // Asked before the Printer is read: what is judged later may have made another one of it.
    let session = at.as_ref().and_then(|at| context.fleet.session(at));
    let judged = session.as_ref().and_then(Session::judged);
    let printer = match &at {
        Some(at) => context.api.get::<Printer>(at).await?,
        None => None,
    };
    // A Printer of the same name that was created again is another one, unless it holds the job.
    let printer = printer.filter(|p| {
        let holds = p.status.as_ref().and_then(|s| s.current_job.as_ref()).is_some_and(|c| c.uid == uid);
        holds || status.and_then(|s| s.printer.as_ref()).is_some_and(|n| Some(&n.uid) == p.metadata.uid.as_ref())
    });
    context.jobs.has_read(key, std::iter::once(version(&job)).chain(printer.as_ref().map(version)));
    of(context, job, printer, session.zip(judged)).await.map(Some)
}

/// Observes the rest, for a job that was read with the printer it names or that holds it, after that printer's session had
/// said what was `judged`.
pub(super) async fn of(
    context: &Context,
    job: PrintJob,
    printer: Option<Printer>,
    judged: Option<(Session, Judged)>,
) -> Result<Facts, ApiError> {
    let key = &Key::of(&job);
    let status = job.status.clone().unwrap_or_default();
    let uid = job.metadata.uid.clone().unwrap_or_default();
    let attempt = Attempt { job: key.clone(), job_uid: uid.clone(), token: token_of(&job) };
    let (session, judged) = judged.unzip();
    let session = printer.as_ref().and_then(|p| session.or_else(|| context.fleet.session(&Key::of(p))));
    let claimed = status.printer.is_some();
    if let Some(session) = session.as_ref().filter(|_| claimed && !is_terminal(&status)) {
        // A start that only the printer remembers counts too: its window must end some day.
        let last = printer.as_ref().and_then(|p| p.status.as_ref()).and_then(|s| s.last_start.as_ref());
        let remembered = last.is_some_and(|l| l.token == attempt.token.to_string());
        let intent_known = status.start.is_some() || status.start_time.is_some() || remembered;
        session.attach(&attempt, intent_known, status.device_job_id.as_deref());
        if let Some(intent) = &status.start {
            session.intent_recorded(&attempt.token, intent);
        }
    }
    let seen = session.as_ref().map(Session::seen);
    let judged = seen.as_ref().is_some_and(|s| s.is_judged_since(judged));
    let remote_name = status.upload.as_ref().map(|u| u.remote_name.as_str());
    let file_deleted =
        remote_name.is_some_and(|name| seen.as_ref().is_some_and(|s| s.deleted.iter().any(|d| d == name)));
    let undeleted = remote_name.and_then(|name| seen.as_ref()?.undeleted.iter().find(|(n, _)| n == name));
    let undeleted = undeleted.map(|(_, undeleted)| undeleted.clone());
    let mapping = printer.as_ref().map(|p| match seen.as_ref().map(|s| &s.link) {
        Some(Link::Live { report, .. }) => crate::scheduling::mapping(&job, p, Some(report)),
        _ => crate::scheduling::mapping(&job, p, None),
    });
    let printed_before = if claimed || is_terminal(&status) || !printernizer_rules::print_job::is_tracked(&job) {
        None
    } else {
        let name = record_name(&key.namespace, &key.name, &job.spec.run_id);
        let record = context.api.get::<PrintRecord>(&Key::new(&key.namespace, name)).await?;
        record.filter(|r| r.spec.uid != uid)
    };
    let shown_on = if claimed || is_terminal(&status) || status.upload.is_some() {
        None
    } else {
        let token = token_of(&job);
        let shows = context.fleet.showing(&key.namespace, &uid).filter(|link| shows_current_or_later(link, &token));
        shows.or_else(|| silent_that_showed(context, &key.namespace, &uid, &token))
    };
    Ok(Facts {
        printer,
        session,
        attempt,
        seen,
        judged,
        file_deleted,
        undeleted,
        file: context.desk.state(&job),
        printed_before,
        shown_on,
        mapping,
        waiting: context.scheduling.waiting(key),
        fresh_id: fresh_id(),
        now: Timestamp::now(),
        timing: context.timing,
        job,
    })
}

/// Whether the device shows this attempt or one the cluster does not know of yet; earlier ones are accounted for.
fn shows_current_or_later(link: &Link, token: &Token) -> bool {
    let Link::Live { report, .. } = link else { return false };
    let shown = report.identity.name.as_deref().and_then(Token::find);
    shown.is_some_and(|shown| shown.attempt() >= token.attempt())
}

/// The connection to a printer that is not heard now and showed such an attempt when it was, as its bed remembers.
fn silent_that_showed(context: &Context, namespace: &str, uid: &str, token: &Token) -> Option<Link> {
    let showed = |p: &Printer| {
        let bed = p.status.as_ref().and_then(|s| s.bed.as_ref());
        let shown = bed.and_then(|b| b.accounted_identity.as_ref()?.name.as_deref().and_then(Token::find));
        p.metadata.namespace.as_deref() == Some(namespace)
            && shown.is_some_and(|shown| shown.is_of_job(uid) && shown.attempt() >= token.attempt())
    };
    let printer = context.printer_index.find(showed)?;
    let session = context.fleet.session(&Key::of(printer.as_ref()));
    let link = session.map_or(Link::Connecting, |s| s.seen().link);
    (!matches!(link, Link::Live { .. })).then_some(link)
}
