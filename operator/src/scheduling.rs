//! Makes the schedule true: runs the pure scheduler over what was last heard, then claims by compare-and-swap on what
//! the API server says now. One pass at a time.
//!
//! What was claimed a moment ago is remembered until it is heard of, so that a slow watch does not give one job to two
//! printers. Should it happen all the same, the job names only one of them, and the other takes its claim back.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::ready;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use printernizer_crds::print_job::SlotChoice;
use printernizer_crds::printer::CurrentJob;
use printernizer_crds::{PrintJob, Printer};
use printernizer_rules::device::DeviceReport;
use printernizer_rules::print_job::Waiting;
use printernizer_rules::scheduling as rules;
use printernizer_rules::scheduling::{Assignment, Input, JobKey, Memo, PrinterView, Schedule, schedule, schedule_with};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::{ApiError, Key};
use crate::context::Context;
use crate::error::pass_error;
use crate::fleet::Session;
use crate::print_job::{complete_claim, mark_for_claim};
use crate::reconcile::Done;
use crate::tasks::caught;
use crate::telemetry::Heartbeat;
use crate::telemetry::metrics::{Controller, Outcome};

/// Changes that come within this time are looked at together.
const GATHER: Duration = Duration::from_millis(20);
/// Changes wait no longer than this, however much there is to look at.
const GATHER_CAP: Duration = Duration::from_secs(1);
/// How long a claim is remembered that has not been heard of.
const ASSUMED: Duration = Duration::from_secs(30);
/// Claims under way at a time: what keeps an API server busy, and no more.
const CLAIMS_AT_A_TIME: usize = 16;
/// How long what was claimed first waits for further claims of the same schedule.
const CLAIMS_FIRST: Duration = Duration::from_secs(2);
/// How long a claim waits for the passes over its job and printer that are under way.
const HOLD_WAIT: Duration = Duration::from_millis(200);
/// Pause before a claim that failed is tried again.
const CLAIM_RETRY: Duration = Duration::from_secs(5);
/// The schedule is made at least this often.
const RESYNC: Duration = Duration::from_secs(60);

/// The last schedule, and the wish for a new one.
#[derive(Clone, Default)]
pub struct Scheduling {
    wish: Arc<Notify>,
    waiting: Arc<Mutex<BTreeMap<Arc<JobKey>, rules::Waiting>>>,
}

impl Scheduling {
    /// Something has changed that may matter.
    pub fn wake(&self) {
        self.wish.notify_one();
    }

    /// Why a job waits, by the last schedule.
    pub fn waiting(&self, key: &Key) -> Option<Waiting> {
        let key = JobKey { namespace: key.namespace.clone(), name: key.name.clone() };
        let why = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()?;
        Some(Waiting { reason: why.reason(), message: why.message() })
    }
}

/// The slot each filament of the job is taken from on this printer, by the newest report where there is one; else why
/// the printer does not fit.
pub fn mapping(job: &PrintJob, printer: &Printer, report: Option<&DeviceReport>) -> Result<Vec<SlotChoice>, String> {
    let capabilities = match report {
        Some(report) => rules::capabilities_reported(printer, report),
        None => rules::capabilities(printer),
    };
    rules::fits(&rules::requirements(job), printer, &capabilities).map_err(|m| m.to_string())
}

/// Schedules until cancelled.
pub async fn run(context: Arc<Context>, heartbeat: Heartbeat, cancel: CancellationToken) {
    let mut kept = Kept::default();
    let mut next = Instant::now();
    let mut gather = GATHER;
    loop {
        heartbeat.beat();
        let beat = Instant::now() + Duration::from_secs(5);
        tokio::select! {
            () = cancel.cancelled() => return,
            () = context.scheduling.wish.notified() => {}
            () = tokio::time::sleep_until(next) => {}
            () = tokio::time::sleep_until(beat) => continue,
        }
        // Changes come in bursts; one look at all of them is cheaper than one at each. The more there is to look at,
        // the more are gathered: a thousand new jobs are not looked at a thousand times.
        tokio::time::sleep(gather).await;
        let began = Instant::now();
        let pass = caught("the schedule", Box::pin(pass(&context, &mut kept, &heartbeat))).await;
        let again = Instant::now() + CLAIM_RETRY;
        let pass = pass.unwrap_or_else(|_| {
            // Nobody knows what it left behind half done.
            kept.memo = Memo::default();
            Pass { outcome: Outcome::Panicked, looked: GATHER, next: Some(again) }
        });
        gather = pass.looked.clamp(GATHER, GATHER_CAP);
        context.metrics.reconciled(Controller::Scheduling, pass.outcome, began.elapsed());
        let resync = Instant::now() + RESYNC;
        next = pass.next.unwrap_or(resync).min(resync);
    }
}

/// What is kept from pass to pass.
#[derive(Default)]
struct Kept {
    /// What was claimed and not heard of yet, by UID of the job: the printer, and since when.
    assumed: HashMap<String, (Key, Instant)>,
    memo: Memo,
}

/// What a pass came to.
struct Pass {
    outcome: Outcome,
    /// How long it took to make the schedule, without its claims.
    looked: Duration,
    /// Look again then at the latest.
    next: Option<Instant>,
}

async fn pass(context: &Context, Kept { assumed, memo }: &mut Kept, heartbeat: &Heartbeat) -> Pass {
    let looking = Instant::now();
    let jobs = context.job_index.all();
    let printers = context.printer_index.all();
    let claims: HashMap<&str, Key> = printers
        .iter()
        .filter_map(|p| Some((p.status.as_ref()?.current_job.as_ref()?.uid.as_str(), Key::of(p.as_ref()))))
        .collect();
    assumed.retain(|uid, (_, since)| !claims.contains_key(uid.as_str()) && since.elapsed() < ASSUMED);
    let taken: HashSet<&Key> = assumed.values().map(|(k, _)| k).collect();
    let free_jobs = jobs.iter().filter(|j| {
        let uid = j.metadata.uid.as_deref().unwrap_or_default();
        !claims.contains_key(uid) && !assumed.contains_key(uid)
    });
    let held = held(context);
    let input = Input {
        jobs: free_jobs.map(AsRef::as_ref).collect(),
        printers: printers
            .iter()
            .map(|p| {
                let key = Key::of(p.as_ref());
                PrinterView {
                    printer: p.as_ref(),
                    ready_for_start: !taken.contains(&key) && could_start(context, &key),
                }
            })
            .collect(),
        held: held.as_deref(),
        resting: resting(context, jobs.iter().map(AsRef::as_ref)),
    };
    let (began, now) = (Instant::now(), Timestamp::now());
    let Schedule { assignments, waiting, next_change } = schedule_with(&input, now, memo);
    publish(context, waiting);
    let looked = looking.elapsed();
    let mut outcome = if assignments.is_empty() { Outcome::Unchanged } else { Outcome::Applied };
    let mut retry = None;
    // Each is about a job and a printer of its own. Once the API server does not answer, no further one is begun: the
    // others would not fare better.
    let silent = AtomicBool::new(false);
    let heard = futures::stream::iter(assignments).take_while(|_| ready(!silent.load(Relaxed)));
    let claims = heard.map(async |assignment| {
        // A claim is a pass over its job and its printer: neither is looked at meanwhile.
        let (job, printer) = keys(&assignment);
        let held = async { tokio::join!(context.jobs.hold(job), context.printers.hold(printer)) };
        let Ok(held) = tokio::time::timeout(HOLD_WAIT, held).await else { return (Ok(Claimed::No), assignment, None) };
        (Box::pin(claim(context, &assignment)).await, assignment, Some(held))
    });
    let mut claims = std::pin::pin!(claims.buffer_unordered(CLAIMS_AT_A_TIME));
    let mut claimed_first = Vec::new();
    while let Some((claimed, assignment, held)) = claims.next().await {
        // Many claims and a slow API server are no reason to start the process again.
        heartbeat.beat();
        // What follows a claim is an upload of minutes: it can wait for a moment while other printers are given away.
        if began.elapsed() < CLAIMS_FIRST {
            claimed_first.push(held);
        } else {
            claimed_first.clear();
        }
        match claimed {
            Ok(Claimed::Yes(rest)) => {
                let printer = Key::new(&assignment.namespace, &assignment.printer);
                assumed.insert(assignment.job_uid.clone(), (printer, Instant::now()));
                silent.fetch_or(matches!(rest, Err(ApiError::Timeout)), Relaxed);
            }
            // Something has changed; the watch will tell, and the next pass looks again.
            Ok(Claimed::No) | Err(ApiError::Conflict | ApiError::NotFound | ApiError::NotLeader(_)) => {
                context.scheduling.wake();
            }
            // Otherwise this object cannot be claimed: that is its own trouble and nobody else's.
            Err(error) => {
                tracing::warn!(job = %assignment.job, printer = %assignment.printer, %error, "the claim failed and is tried again");
                silent.fetch_or(matches!(error, ApiError::Timeout), Relaxed);
                context.metrics.pass_failed(Controller::Scheduling, pass_error(&error));
                outcome = Outcome::Failed;
                retry = Some(Instant::now() + CLAIM_RETRY);
            }
        }
    }
    let forgotten = assumed.values().map(|(_, since)| *since + ASSUMED);
    let change = next_change.map(|at| at.duration_since(now).try_into().unwrap_or(Duration::ZERO));
    let change = change.map(|left: Duration| began + left + Duration::from_millis(5));
    Pass { outcome, looked, next: retry.into_iter().chain(change).chain(forgotten).min() }
}

/// Which of these jobs wait for a printer and could get no file there now, and until when.
fn resting<'a>(context: &Context, jobs: impl Iterator<Item = &'a PrintJob>) -> BTreeMap<String, Timestamp> {
    if !context.desk.anything_rests() {
        return BTreeMap::new();
    }
    let until = |job: &PrintJob| {
        let left = context.desk.resting(job)?.saturating_duration_since(Instant::now());
        Some((job.metadata.uid.clone()?, Timestamp::now().checked_add(left).ok()?))
    };
    jobs.filter(|job| rules::is_waiting_for_a_printer(job)).filter_map(until).collect()
}

/// Why nothing is started anywhere.
fn held(context: &Context) -> Option<String> {
    let fleet = context.fleet.context();
    if fleet.hold_starts { Some(rules::HOLD_STARTS.to_owned()) } else { fleet.definitions.too_old() }
}

/// Whether the printer's device could take a print, as its session tells.
fn could_start(context: &Context, key: &Key) -> bool {
    let seen = context.fleet.session(key).as_ref().map(Session::seen);
    seen.is_some_and(|s| rules::device_could_start(&s.link, s.is_judged(), context.timing.stale_after))
}

/// Keeps why each job waits, and wakes those for whom that is new.
fn publish(context: &Context, waiting: BTreeMap<Arc<JobKey>, rules::Waiting>) {
    let mut known = context.scheduling.waiting.lock().unwrap_or_else(PoisonError::into_inner);
    // Both in the order of their keys: thousands are compared one by one.
    let mut before = known.iter().peekable();
    for (key, why) in &waiting {
        while before.next_if(|(earlier, _)| *earlier < key).is_some() {}
        if before.next_if(|(same, _)| *same == key).is_none_or(|(_, told)| told != why) {
            context.jobs.when_idle(Key::new(&key.namespace, &key.name));
        }
    }
    drop(before);
    *known = waiting;
}

/// What a claim came to.
enum Claimed {
    /// The printer holds the job, and the job names it unless this failed: then its own pass goes on.
    Yes(Result<(), ApiError>),
    /// Something has changed, or is being looked at.
    No,
}

/// The job and the printer of an assignment.
fn keys(assignment: &Assignment) -> (Key, Key) {
    let key = |name: &str| Key::new(&assignment.namespace, name);
    (key(&assignment.job), key(&assignment.printer))
}

/// Claims the printer for the job, if both still are what the schedule saw: finalizers and annotation first, then the
/// printer's half, then the job's. Where only the last one fails, the job's own pass writes it.
async fn claim(context: &Context, assignment: &Assignment) -> Result<Claimed, ApiError> {
    let (job_key, printer_key) = keys(assignment);
    let (job, printer) =
        tokio::try_join!(context.api.get::<PrintJob>(&job_key), context.api.get::<Printer>(&printer_key))?;
    let (Some(job), Some(printer)) = (job, printer) else { return Ok(Claimed::No) };
    let view = PrinterView { printer: &printer, ready_for_start: could_start(context, &printer_key) };
    let held = held(context);
    let again = Input {
        jobs: vec![&job],
        printers: vec![view],
        held: held.as_deref(),
        resting: resting(context, std::iter::once(&job)),
    };
    let same = |a: &Assignment| a.job_uid == assignment.job_uid && a.printer_uid == assignment.printer_uid;
    if !schedule(&again, Timestamp::now()).assignments.iter().any(same) {
        return Ok(Claimed::No);
    }
    let (job, printer) = mark_for_claim(context, &job, &printer).await?;
    let Some(mut status) = printer.status.clone() else { return Ok(Claimed::No) };
    if status.current_job.is_some() {
        return Ok(Claimed::No);
    }
    let attempt = job.status.as_ref().map_or(1, |s| s.attempt.max(1));
    status.current_job = Some(CurrentJob { name: assignment.job.clone(), uid: assignment.job_uid.clone(), attempt });
    let printer = context.api.replace_status(&printer, status).await?;
    // A panic in it is this job's failure: its own pass meets it again.
    let rest = caught("completing a claim", Box::pin(complete_claim(context, job, printer))).await;
    Ok(Claimed::Yes(match rest {
        Ok(Ok(Done { again: None, .. })) => Ok(()),
        Ok(Ok(Done { again: Some(again), .. })) => {
            context.jobs.after(job_key, again);
            Ok(())
        }
        rest => {
            context.jobs.now(job_key);
            rest.map_or(Ok(()), |rest| rest.map(drop))
        }
    }))
}
