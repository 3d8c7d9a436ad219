//! The state of the modelled farm: the API server's objects, the process that leads, what is on its way, the devices, and
//! the truth, which nobody in the farm knows. Everything in it is small; times are no more than past or ahead.

use printernizer_crds::print_job::{Answer, DesiredState, StartIntent};
use printernizer_crds::{PrintJobStatus, PrinterStatus};
use printernizer_rules::device::DeviceReport;
use printernizer_rules::print_job::Watch;
use printernizer_rules::print_job::gate::Closed;

use crate::ids::{Id, Ids};
use crate::kept::Kept;
use crate::operator::Step;
use crate::promises::Broken;

/// Number of a job, a printer, an attempt.
pub type No = u8;

/// One attempt of one job. Its file's name on a device, and the identity of its print, follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Attempt {
    /// The job.
    pub job: No,
    /// Which attempt of it, counted from 1.
    pub number: No,
}

/// A set of attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Attempts(u32);

impl Attempts {
    fn bit(attempt: Attempt) -> u32 {
        1 << (u32::from(attempt.job) * 8 + u32::from(attempt.number)).min(31)
    }
    /// Whether it is among them.
    pub fn has(self, attempt: Attempt) -> bool {
        self.0 & Self::bit(attempt) != 0
    }
    /// Adds one.
    pub fn add(&mut self, attempt: Attempt) {
        self.0 |= Self::bit(attempt);
    }
    /// Takes one out.
    pub fn remove(&mut self, attempt: Attempt) {
        self.0 &= !Self::bit(attempt);
    }
    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
    /// Those of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
    /// How many are of this job.
    pub fn of_job(self, job: No) -> u32 {
        ((self.0 >> (u32::from(job) * 8)) & 0xff).count_ones()
    }
    /// All of them.
    pub fn iter(self) -> impl Iterator<Item = Attempt> {
        (0..32u8).filter(move |bit| self.0 & (1 << bit) != 0).map(|bit| Attempt { job: bit / 8, number: bit % 8 })
    }
}

/// A PrintJob: its status, and what a person has written into its spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Job {
    /// Its status.
    pub status: Kept<PrintJobStatus>,
    /// spec.desiredState.
    pub wants: DesiredState,
    /// spec.outcome.
    pub answer: Option<(Id, Answer)>,
}

/// A Printer: its status, and what a person has written into its spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Printer {
    /// Its status.
    pub status: Kept<PrinterStatus>,
    /// spec.bed.clearedFor.
    pub cleared_for: Id,
    /// spec.acknowledged.
    pub acknowledged: Id,
}

/// What a pass or a try was made on: the object, and whether somebody has written it since. A write with an old version
/// is a conflict, so more than that is not to be known of a resourceVersion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    /// Which object.
    pub no: No,
    /// Whether it is the stored one.
    pub current: bool,
}

/// What a pass is about. Of each there is one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum About {
    /// A PrintJob's reconcile.
    Job(No),
    /// A Printer's reconcile.
    Printer(No),
    /// The scheduler's claim.
    Claim,
}

/// A pass between two of its effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pass {
    /// What it is about.
    pub about: About,
    /// What was decided.
    pub steps: Kept<Vec<Step>>,
    /// How many of them are done.
    pub done: u8,
    /// The job it was decided on.
    pub job: Option<Version>,
    /// The printer it was decided on.
    pub printer: Option<Version>,
    /// Whether, at its end, the reports of its connection count as judged, and whether what is shown now does.
    pub judges: (bool, bool),
}

/// How far a try to start is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TryStep {
    /// The gate was open.
    Open,
    /// The job's half of the intent is written.
    Half,
    /// Both halves are written.
    Whole,
    /// The second look was good: the send is next.
    Looked,
}

/// A try to start between two of its steps, with the objects as it holds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Try {
    /// Which attempt.
    pub attempt: Attempt,
    /// How far it is.
    pub step: TryStep,
    /// The job, as read, then as written.
    pub job: Job,
    /// The printer, likewise.
    pub printer: Printer,
    /// The job's half of the intent, decided at the gate.
    pub half: Kept<PrintJobStatus>,
    /// Versions that were read.
    pub versions: (Version, Version),
    /// Its random id.
    pub sender: Id,
    /// The report it looked at last.
    pub looked: Kept<DeviceReport>,
    /// Whether that report is too old by now.
    pub old: bool,
}

/// A command to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Command {
    /// Upload the file of the attempt.
    Upload(Attempt),
    /// Try to start it.
    Start(Attempt),
    /// Pause its print.
    Pause(Attempt),
    /// Resume it.
    Resume(Attempt),
    /// Stop it.
    Stop(Attempt),
    /// Delete its file.
    Delete(Attempt),
}

/// The connection, as the session has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Line {
    /// Not made yet.
    Connecting,
    /// There is a report, not older than a poll period.
    Live,
    /// Lost; for a quarter of an hour or not.
    Down {
        /// Whether that long.
        long: bool,
    },
}

/// How an upload stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Upload {
    /// Not begun.
    Idle,
    /// Done.
    Done,
    /// Failed.
    Failed,
}

/// What of a connection's reports was judged, and what that meant is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Judged {
    /// None.
    No,
    /// One, but not the state or the print that is shown now.
    Earlier,
    /// What is shown now.
    Now,
}

/// One printer's session in the process that leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Session {
    /// The connection.
    pub line: Line,
    /// The newest report.
    pub report: Option<Kept<DeviceReport>>,
    /// What of its reports is judged, and stored.
    pub judged: Judged,
    /// Whether what is shown has not been for a quarter of an hour.
    pub unjudged_long: bool,
    /// The attempt it serves.
    pub serves: Option<Attempt>,
    /// What it has seen of it.
    pub watch: Kept<Watch>,
    /// The intent it knows of.
    pub intent: Option<Kept<StartIntent>>,
    /// The device's number of the print, once stored.
    pub number: Option<u32>,
    /// The upload.
    pub upload: Upload,
    /// What closed the gate, and whether for a quarter of an hour.
    pub closed: Option<(Kept<Closed>, bool)>,
    /// Files deleted on this connection.
    pub deleted_now: Attempts,
    /// Files deleted on an earlier one.
    pub deleted_before: Attempts,
    /// Files the device did not delete, and whether for a quarter of an hour.
    pub undeleted: (Attempts, bool),
    /// A pause was sent.
    pub pause_sent: bool,
    /// Commands that wait.
    pub commands: Vec<Command>,
    /// The try under way.
    pub trying: Option<Try>,
}

/// The process that leads. One that has just begun to lead knows nothing, whether it was started or stood by; one that
/// does not lead any more ends. So one is enough for any number of operators, with what is on its way of the others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Operator {
    /// Its passes, in the order of what they are about.
    pub passes: Vec<Pass>,
    /// Its sessions, one for each printer.
    pub sessions: Vec<Session>,
}

/// The one effect that was permitted when its process was stopped, or ended, or lost the lease, and which the world sees
/// later: a request on its way, or a process that was paused between the permit and the write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flight {
    /// The next effect of a pass.
    Pass(Pass),
    /// The next step of a try.
    Try(No, Try),
    /// A command to a device.
    Command(No, Command),
}

/// What a device is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Doing {
    /// Nothing.
    Nothing,
    /// It has taken a start and asks something first.
    Asking,
    /// It prints.
    Printing,
    /// It is paused.
    Paused {
        /// By a command of ours.
        by_us: bool,
    },
    /// It shows the end of a print.
    Shows(End),
}

/// How a print ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// Well.
    Finished,
    /// Badly.
    Failed,
    /// It was stopped.
    Stopped,
}

/// What a device calls its print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Name {
    /// It has forgotten, or never knew.
    None,
    /// Something that was printed before this story begins.
    Older,
    /// One of ours.
    Ours(Attempt),
    /// Somebody else's.
    Foreign,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Device {
    /// What it is doing.
    pub doing: Doing,
    /// What it calls its print.
    pub name: Name,
    /// Its count of prints.
    pub number: u8,
    /// Files of ours on it.
    pub files: Attempts,
    /// A start that its network has taken and that it acts on later.
    pub on_the_way: Option<Attempt>,
    /// What it goes on showing, although it has moved on.
    pub shows: Option<Kept<DeviceReport>>,
    /// Whether it answers.
    pub reachable: bool,
    /// Whether the filament the jobs need is in it.
    pub filament: bool,
}

/// What may still go wrong. Every number bounds how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Crashes and losses of the lease.
    pub crashes: u8,
    /// Faults of devices.
    pub faults: u8,
    /// What people do at the screens, to the filament, and to desiredState.
    pub meddling: u8,
    /// Quarters of an hour in which nothing comes of a wait.
    pub long_waits: u8,
}

/// What has really happened, which nobody in the farm knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Truth {
    /// Attempts that a machine has begun to print.
    pub started: Attempts,
    /// Of those, the ones that a person started at the screen.
    pub by_person: Attempts,
    /// Of those, the ones that ended well.
    pub good: Attempts,
    /// Attempts with the job's half of an intent, ever.
    pub intended_job: Attempts,
    /// Attempts with the printer's half.
    pub intended_printer: Attempts,
    /// Attempts that were judged never to have run.
    pub judged_unprinted: Attempts,
    /// Whether something lies on each bed.
    pub parts: Vec<bool>,
    /// Whether an effect of a process that was gone has arrived. It may leave a file that nobody remembers.
    pub late: bool,
    /// The promise that was broken.
    pub broken: Option<Broken>,
}

/// The whole of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// PrintJobs.
    pub jobs: Vec<Job>,
    /// Printers.
    pub printers: Vec<Printer>,
    /// Who leads.
    pub operator: Operator,
    /// What is on its way of those who led.
    pub flights: Vec<Flight>,
    /// Devices, one for each printer.
    pub devices: Vec<Device>,
    /// What may still go wrong.
    pub left: Budget,
    /// What has really happened.
    pub truth: Truth,
}

impl World {
    /// A random id that nobody holds who would compare it: ids of a job are compared with those of the same job alone,
    /// ids of a printer likewise. What a pass holds that is not yet written need not be looked at: of two passes that would
    /// write the same object the second meets a conflict.
    pub fn fresh_id(&self, job: Option<No>, printer: Option<No>) -> Id {
        let of_job = |j: &Job| j.status.ids().and(Ids::one(j.answer.map_or(0, |(id, _)| id)));
        let of_printer = |p: &Printer| p.status.ids().and(Ids::one(p.cleared_for)).and(Ids::one(p.acknowledged));
        let senders = |t: &Try| if Some(t.attempt.job) == job { Ids::one(t.sender) } else { Ids::default() };
        let tries = self.operator.sessions.iter().filter_map(|s| s.trying.as_ref());
        let flights = self.flights.iter().filter_map(|f| match f {
            Flight::Try(_, t) => Some(t),
            Flight::Pass(_) | Flight::Command(..) => None,
        });
        let of_job = job.map(|no| of_job(&self.jobs[usize::from(no)]));
        let of_printer = printer.map(|no| of_printer(&self.printers[usize::from(no)]));
        tries.chain(flights).map(senders).chain(of_job).chain(of_printer).fold(Ids::default(), Ids::and).fresh()
    }

    /// The device is doing something with a print.
    pub fn is_active(&self, printer: No) -> bool {
        matches!(self.devices[usize::from(printer)].doing, Doing::Asking | Doing::Printing | Doing::Paused { .. })
    }

    /// Notes the first broken promise.
    pub fn breaks(&mut self, promise: Broken) {
        self.truth.broken.get_or_insert(promise);
    }
}
