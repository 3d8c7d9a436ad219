//! The schedule of the farm: one pass over all waiting jobs and all printers, namespace by namespace.
//!
//! Jobs go in the order of priority, then queue time, creation and UID. A job takes the free printer that fits best:
//! nearest colors, then fewest slots (so that printers with many materials stay free for jobs that need them), then the
//! longest idle, then by name. A printer that could not start the job is passed over for a while if another one fits. A
//! job whose printers are all busy, or whose file cannot be had, keeps no printer from others. Jobs that ask for the same
//! are decided once, so the cost grows with the number of shapes times printers, not with that of jobs times printers.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use printernizer_crds::print_job::SlotChoice;
use printernizer_crds::{ConditionType, Conditions, PrintJob, Printer};

use super::capabilities::{Capabilities, ModelNames};
use super::free::{NotFree, printer_accepts_start};
use super::matching::fit;
use super::memo::{Asks, Memo};
use super::mismatch::explain;
use super::requirements::Requirements;
use super::shapes::{Shape, Shapes};
use super::waiting::{MAX_NEXT_FOR, NextFor, Obstacle, Waiting, obstacle};

/// Why nothing is started where the operator is told so.
pub const HOLD_STARTS: &str = "all starts are held: --hold-starts";

/// Everything a schedule depends on.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    /// Jobs; those that do not wait for a printer are passed over.
    pub jobs: Vec<&'a PrintJob>,
    /// Every printer of the namespaces of those jobs.
    pub printers: Vec<PrinterView<'a>>,
    /// Why nothing is started anywhere, as [`HOLD_STARTS`]: then nothing is assigned, and each job that waits is told.
    pub held: Option<&'a str>,
    /// UIDs of jobs whose files cannot be had at present, and until when that is taken for granted. They are given no
    /// printer, which would only wait with them.
    pub resting: BTreeMap<String, Timestamp>,
}

/// A printer, and its session's word.
#[derive(Clone, Copy, Debug)]
pub struct PrinterView<'a> {
    /// The printer.
    pub printer: &'a Printer,
    /// Whether its device could take a print, as its session tells: see [`device_could_start`](super::device_could_start).
    pub ready_for_start: bool,
}

/// Namespace and name of a job.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl JobKey {
    /// The key of this job.
    pub fn of(job: &PrintJob) -> Self {
        Self {
            namespace: job.metadata.namespace.clone().unwrap_or_default(),
            name: job.metadata.name.clone().unwrap_or_default(),
        }
    }
}

/// A job and the printer it goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Namespace of both.
    pub namespace: String,
    /// Name of the PrintJob.
    pub job: String,
    /// UID of the PrintJob.
    pub job_uid: String,
    /// Name of the Printer.
    pub printer: String,
    /// UID of the Printer.
    pub printer_uid: String,
    /// The slot each filament is taken from.
    pub mapping: Vec<SlotChoice>,
}

/// What one pass decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// Assignments, by namespace, in the order of jobs. No job and no printer occurs twice.
    pub assignments: Vec<Assignment>,
    /// Every waiting job that was not assigned.
    pub waiting: BTreeMap<Arc<JobKey>, Waiting>,
    /// When time alone will change the result: the end of a pause or rest, or the opening of a start window.
    pub next_change: Option<Timestamp>,
}

/// Gives waiting jobs to free printers. The result does not depend on the order of the input.
pub fn schedule(input: &Input<'_>, now: Timestamp) -> Schedule {
    schedule_with(input, now, &mut Memo::default())
}

/// The same, by one who makes schedules again and again: only jobs that were written since the last one are looked at anew.
pub fn schedule_with(input: &Input<'_>, now: Timestamp, memo: &mut Memo) -> Schedule {
    let mut namespaces: BTreeMap<&str, (Vec<Queued<'_>>, Vec<PrinterView<'_>>)> = BTreeMap::new();
    for job in &input.jobs {
        if let Some(asks) = memo.asks(job) {
            namespaces.entry(job.metadata.namespace.as_deref().unwrap_or_default()).or_default().0.push((job, asks));
        }
    }
    for view in &input.printers {
        let namespace = view.printer.metadata.namespace.as_deref().unwrap_or_default();
        if let Some((_, printers)) = namespaces.get_mut(namespace) {
            printers.push(*view);
        }
    }
    let mut schedule = Schedule::default();
    for (jobs, printers) in namespaces.into_values() {
        let namespace = Namespace::new(&printers, input.held, now, &mut memo.names);
        namespace.assign(jobs, &input.resting, now, &mut schedule);
    }
    memo.pass_ended();
    schedule
}

/// A waiting job, and what it asks for.
type Queued<'a> = (&'a PrintJob, Asks);

/// One printer as the pass sees it.
struct Candidate<'a> {
    printer: &'a Printer,
    name: &'a str,
    capabilities: Capabilities,
    idle_since: Option<Timestamp>,
    free: bool,
    /// What keeps it from being free, where that does not pass by itself.
    obstacle: Option<Obstacle>,
}

/// The printers of one namespace, sorted by name.
struct Namespace<'a> {
    printers: Vec<Candidate<'a>>,
    free: usize,
    /// When the next start window opens that alone keeps a printer from being free.
    opens: Option<Timestamp>,
    /// Whether anyone says how much filament is left. Otherwise jobs do not differ by what they weigh.
    weighed: bool,
    /// Height of the lowest printer in micrometers. Jobs that are no higher do not differ by their height.
    lowest_micrometers: i64,
}

impl<'a> Namespace<'a> {
    fn new(views: &[PrinterView<'a>], held: Option<&str>, now: Timestamp, names: &mut ModelNames) -> Self {
        let mut opens: Option<Timestamp> = None;
        let mut printers: Vec<_> = views
            .iter()
            .map(|view| {
                let accepts = printer_accepts_start(view.printer, now);
                if let Err(NotFree::OutsideStartWindows { opens: Some(at) }) = accepts {
                    opens = Some(earliest(opens, at));
                }
                let status = view.printer.status.as_ref();
                let idle = status.and_then(|s| s.conditions.condition(ConditionType::Idle));
                Candidate {
                    printer: view.printer,
                    name: view.printer.metadata.name.as_deref().unwrap_or_default(),
                    capabilities: names.capabilities(view.printer),
                    idle_since: idle.map(|c| c.last_transition_time.0),
                    free: accepts.is_ok() && view.ready_for_start && held.is_none(),
                    obstacle: match accepts {
                        Ok(()) => held.map(|why| Obstacle::Other(why.into())),
                        Err(not_free) => obstacle(view.printer, &not_free),
                    },
                }
            })
            .collect();
        printers.sort_by_key(|p| p.name);
        let free = printers.iter().filter(|p| p.free).count();
        let weighed =
            printers.iter().flat_map(|p| &p.capabilities.slots).any(|slot| slot.remaining_milligrams.is_some());
        let heights = printers.iter().filter_map(|p| p.capabilities.build_volume).map(|v| i64::from(v.z) * 1000);
        let lowest_micrometers = heights.min().unwrap_or(i64::MAX);
        Self { printers, free, opens, weighed, lowest_micrometers }
    }

    fn assign(
        mut self,
        mut jobs: Vec<Queued<'_>>,
        resting: &BTreeMap<String, Timestamp>,
        now: Timestamp,
        schedule: &mut Schedule,
    ) {
        jobs.sort_by_cached_key(|(job, _)| place_in_the_queue(job));
        let mut shapes = Shapes::default();
        let mut queued = false;
        // Printers of which one job is told already that its file keeps it from them.
        let mut told = BTreeSet::new();
        for (turn, (job, asks)) in jobs.into_iter().enumerate() {
            let pause = job.status.as_ref().and_then(|s| s.not_before.as_ref()).map(|t| t.0).filter(|t| *t > now);
            if let Some(until) = pause {
                schedule.next_change = Some(earliest(schedule.next_change, until));
                schedule.waiting.insert(asks.key, Waiting::BackingOff(until));
                continue;
            }
            let avoid = job.status.as_ref().and_then(|s| s.avoid.as_ref()).filter(|a| a.until.0 > now);
            let avoided = avoid.map(|a| a.name.as_str());
            let Some(shape) = shapes.of(&asks, avoided, |asked| self.reduced(asked)) else { continue };
            let rest = job.metadata.uid.as_ref().and_then(|uid| resting.get(uid)).filter(|until| **until > now);
            if let Some((at, _)) = rest.and_then(|_| self.best(shape)) {
                schedule.next_change = rest.map(|until| earliest(schedule.next_change, *until));
                let waiting = if told.insert(at) { Waiting::ForFile } else { Waiting::Queued };
                schedule.waiting.insert(asks.key, waiting);
                continue;
            }
            if let Some((printer, mapping)) = self.take(shape) {
                schedule.assignments.push(Assignment {
                    namespace: job.metadata.namespace.clone().unwrap_or_default(),
                    job: job.metadata.name.clone().unwrap_or_default(),
                    job_uid: job.metadata.uid.clone().unwrap_or_default(),
                    printer: printer.metadata.name.clone().unwrap_or_default(),
                    printer_uid: printer.metadata.uid.clone().unwrap_or_default(),
                    mapping,
                });
                continue;
            }
            let waiting = shape.waiting.get_or_insert_with(|| self.waiting(&shape.requirements));
            if *waiting == Waiting::Queued {
                queued = true;
                shape.first_queued.get_or_insert_with(|| (turn, Arc::clone(&asks.key)));
            }
            if let Some(avoid) = avoid {
                schedule.next_change = Some(earliest(schedule.next_change, avoid.until.0));
            }
            schedule.waiting.insert(asks.key, waiting.clone());
        }
        if let Some(at) = self.opens.filter(|_| queued) {
            schedule.next_change = Some(earliest(schedule.next_change, at));
        }
        schedule
            .waiting
            .extend(self.next_in_line(&shapes).into_iter().map(|(job, next)| (job, Waiting::NextFor(next))));
    }

    /// What of these requirements makes a difference among the printers here.
    fn reduced(&self, asked: &Requirements) -> Requirements {
        let mut requirements = asked.clone();
        if !self.weighed {
            requirements.filaments.iter_mut().for_each(|f| f.milligrams = 0);
        }
        requirements.height_micrometers = requirements.height_micrometers.filter(|h| *h > self.lowest_micrometers);
        requirements
    }

    /// The jobs that are next for printers which something keeps from taking them, with those printers: at most one job
    /// for each printer, and none that is next for many.
    fn next_in_line(&self, shapes: &Shapes<'_>) -> BTreeMap<Arc<JobKey>, Vec<NextFor>> {
        let mut line: Vec<_> = shapes.all.iter().filter_map(|s| Some((s.first_queued.as_ref()?, s))).collect();
        line.sort_unstable_by_key(|((turn, _), _)| *turn);
        let mut next: BTreeMap<Arc<JobKey>, Vec<NextFor>> = BTreeMap::new();
        for candidate in &self.printers {
            let Some(obstacle) = &candidate.obstacle else { continue };
            let takes = |requirements: &Requirements| {
                requirements.printer.as_deref().is_none_or(|name| name == candidate.name)
                    && requirements.avoid.as_deref() != Some(candidate.name)
                    && fit(requirements, candidate.printer, &candidate.capabilities).is_ok()
            };
            if let Some(((_, job), _)) = line.iter().find(|(_, shape)| takes(&shape.requirements)) {
                let entry = NextFor { printer: candidate.name.to_owned(), obstacle: obstacle.clone() };
                next.entry(Arc::clone(job)).or_default().push(entry);
            }
        }
        next.retain(|_, printers| printers.len() <= MAX_NEXT_FOR);
        next
    }

    /// Takes the best free printer that fits.
    fn take(&mut self, shape: &mut Shape) -> Option<(&'a Printer, Vec<SlotChoice>)> {
        let (at, mapping) = self.best(shape)?;
        let candidate = self.printers.get_mut(at)?;
        candidate.free = false;
        self.free -= 1;
        Some((candidate.printer, mapping))
    }

    /// The best free printer that fits.
    fn best(&self, shape: &mut Shape) -> Option<(usize, Vec<SlotChoice>)> {
        if self.free == 0 {
            return None;
        }
        let choices = shape.choices.get_or_insert_with(|| self.choices(&shape.requirements));
        while let Some(at) = choices.last().copied() {
            let candidate = self.printers.get(at).filter(|c| c.free);
            let mapped = candidate.and_then(|c| fit(&shape.requirements, c.printer, &c.capabilities).ok());
            if let Some(mapped) = mapped {
                return Some((at, mapped.choices));
            }
            choices.pop();
        }
        None
    }

    /// The free printers that fit, the best last.
    fn choices(&self, requirements: &Requirements) -> Vec<usize> {
        let mut ranked: Vec<_> = self
            .candidates(requirements)
            .filter(|(_, c)| c.free && !self.passes_over(requirements, c))
            .filter_map(|(at, c)| {
                let mapped = fit(requirements, c.printer, &c.capabilities).ok()?;
                let idle_since = c.idle_since.unwrap_or(Timestamp::MAX);
                Some((mapped.color_distance, c.capabilities.slots.len(), idle_since, at))
            })
            .collect();
        ranked.sort_unstable_by(|a, b| b.cmp(a));
        ranked.into_iter().map(|(.., at)| at).collect()
    }

    /// Whether the job waits for another printer rather than going back to this one: one that fits and is in service,
    /// whatever it does at the moment.
    fn passes_over(&self, requirements: &Requirements, avoided: &Candidate<'_>) -> bool {
        let in_service = |p: &Printer| p.metadata.deletion_timestamp.is_none() && !p.spec.unschedulable;
        requirements.avoid.as_deref() == Some(avoided.name)
            && self.candidates(requirements).any(|(_, other)| {
                other.name != avoided.name
                    && in_service(other.printer)
                    && fit(requirements, other.printer, &other.capabilities).is_ok()
            })
    }

    /// What a job without printer waits for. It is queued when a printer fits as it is, whatever that one does at the
    /// moment.
    fn waiting(&self, requirements: &Requirements) -> Waiting {
        let (mut mismatches, mut unconnected) = (Vec::new(), false);
        for (_, candidate) in self.candidates(requirements) {
            match fit(requirements, candidate.printer, &candidate.capabilities) {
                Ok(_) => return Waiting::Queued,
                Err(mismatch) if mismatch.is_unknown() && !was_connected(candidate.printer) => unconnected = true,
                Err(mismatch) => mismatches.push(mismatch),
            }
        }
        if unconnected {
            return Waiting::Unconnected;
        }
        Waiting::NoMatchingPrinter(match (&requirements.printer, mismatches.as_slice()) {
            (Some(name), []) => format!("printer {name} does not exist in this namespace"),
            (Some(_), [mismatch]) if mismatch.is_of_the_job() => mismatch.to_string(),
            (Some(name), [mismatch]) => format!("printer {name}: {mismatch}"),
            _ => explain(&mismatches),
        })
    }

    /// The printers a job can mean: the one it names, or all.
    fn candidates(&self, requirements: &Requirements) -> impl Iterator<Item = (usize, &Candidate<'a>)> {
        let range = match &requirements.printer {
            None => 0..self.printers.len(),
            Some(name) => match self.printers.binary_search_by_key(&name.as_str(), |c| c.name) {
                Ok(at) => at..at + 1,
                Err(_) => 0..0,
            },
        };
        self.printers.iter().enumerate().take(range.end).skip(range.start)
    }
}

/// What says whose turn is first: priority, time, then what no two share.
fn place_in_the_queue(job: &PrintJob) -> (Reverse<i32>, Timestamp, Timestamp, Option<&str>, Option<&str>) {
    let queued = job.status.as_ref().and_then(|s| s.queued_time.as_ref()).map_or(Timestamp::MAX, |t| t.0);
    let created = job.metadata.creation_timestamp.as_ref().map_or(Timestamp::MAX, |t| t.0);
    let (uid, name) = (job.metadata.uid.as_deref(), job.metadata.name.as_deref());
    (Reverse(job.spec.priority), queued, created, uid, name)
}

/// Whether the device has ever told anything of itself.
fn was_connected(printer: &Printer) -> bool {
    let device = printer.status.as_ref().and_then(|s| s.device.as_ref());
    device.is_some_and(|d| d.serial_number.is_some())
}

fn earliest(known: Option<Timestamp>, other: Timestamp) -> Timestamp {
    known.map_or(other, |k| k.min(other))
}

#[cfg(test)]
mod tests;
