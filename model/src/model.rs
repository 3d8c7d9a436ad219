//! The farm as a model: its first state, what may happen next, and what comes of it.

use dashmap::DashMap;
use printernizer_crds::print_job::{Answer, DesiredState};
use printernizer_crds::{PrintJobStatus, PrinterStatus};
use stateright::{Model, Property};

use crate::device::{self, AtScreen, How};
use crate::reduce::{self, Event};
use crate::size::Size;
use crate::world::{
    About, Attempts, Budget, Command, Device, Doing, End, Flight, Job, Line, Name, No, Operator, Pass, Printer,
    Session, Truth, TryStep, World,
};
use crate::{api, fair, flight, ids, kept::Kept, operator, people, promises, session, start, time};

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// A job is observed and decided on, with the printer that holds it as last heard.
    DecideJob(No, Option<No>),
    /// A printer is observed and decided on.
    DecidePrinter(No),
    /// The scheduler begins to claim a printer for a job.
    Assign(No, No),
    /// The next write of a pass.
    Write(About),
    /// A session polls its device.
    Poll(No),
    /// A session carries out a command.
    CarryOut(No, Command),
    /// The next step of a try.
    Try(No),
    /// The start is sent.
    Send(No, How),
    /// A start that came late is acted on.
    Lands(No),
    /// The device shows what it does, at last.
    ShowsNew(No),
    /// A print ends.
    Ends(No, End),
    /// The device restarts.
    Reboots(No),
    /// The device's network fails, or works again.
    Reachable(No, bool),
    /// A person at its screen.
    AtScreen(No, AtScreen),
    /// A person clears the bed and says so.
    ClearBed(No),
    /// A person answers what is asked about a job.
    Answer(No, Answer),
    /// A person has looked at a printer that is not trusted.
    Acknowledge(No),
    /// A person wants something else of a job.
    Want(No, DesiredState),
    /// The process that leads crashes, is stopped, or loses the lease; another one leads. One effect of the old one may
    /// still be on its way.
    NextLeader(Option<Flight>),
    /// That effect reaches its place.
    Arrives(u8),
    /// Seconds pass.
    Seconds,
    /// A window of observation passes.
    Window,
    /// A quarter of an hour passes.
    Long,
}

/// The model of a farm of one size.
pub struct Farm {
    /// Which size.
    pub size: Size,
    /// Whether really every order of events is tried, also where another one comes to the same.
    pub whole: bool,
    /// States from which the farm is known to come to its end.
    pub tame: DashMap<u64, ()>,
}

impl Farm {
    /// A farm of this size.
    pub fn new(size: Size) -> Self {
        Self { size, whole: false, tame: DashMap::new() }
    }

    /// The same, of which nothing is left out that comes to the same as something else.
    pub fn whole(size: Size) -> Self {
        Self { whole: true, ..Self::new(size) }
    }

    /// Idle printers with clear beds, accepted jobs, and a process that leads and is connected, but where nobody has looked yet.
    pub fn begin(&self) -> World {
        let device = Device {
            doing: Doing::Nothing,
            name: if self.size.blank { Name::None } else { Name::Older },
            number: 1,
            files: Attempts::default(),
            on_the_way: None,
            shows: None,
            reachable: true,
            filament: true,
        };
        let of = self.size.kinds.len();
        let printer = Printer { status: Kept::new(PrinterStatus::default()), cleared_for: 0, acknowledged: 0 };
        let job = Job { status: Kept::new(PrintJobStatus::default()), wants: DesiredState::Run, answer: None };
        let mut w = World {
            jobs: vec![job; usize::from(self.size.jobs)],
            printers: vec![printer; of],
            operator: Operator { passes: Vec::new(), sessions: vec![Session::new(); of] },
            flights: Vec::new(),
            devices: vec![device; of],
            left: Budget { crashes: 0, faults: 0, meddling: 0, long_waits: 0 },
            truth: Truth { parts: vec![false; of], ..Truth::default() },
        };
        for at in self.printers() {
            for _ in 0..3 {
                if !self.size.unseen {
                    session::poll(&mut w, &self.size, at);
                }
                operator::decide_printer(&mut w, at);
                finish(&mut w);
                // What was written last stays written: a later part must not be cleared by it.
                if people::may_clear(&w, at) {
                    people::clear_bed(&mut w, at);
                }
            }
        }
        for no in self.jobs() {
            operator::decide_job(&mut w, no, None);
            finish(&mut w);
        }
        w.left = self.size.budget;
        self.tidy(&mut w);
        w
    }

    /// Numbers of the printers.
    pub fn printers(&self) -> impl Iterator<Item = No> + use<> {
        (0..).take(self.size.kinds.len())
    }

    /// Numbers of the jobs.
    pub fn jobs(&self) -> impl Iterator<Item = No> + use<> {
        0..self.size.jobs
    }

    /// What the process that leads may do next.
    fn work(&self, w: &World, out: &mut Vec<Action>) {
        let passes = &w.operator.passes;
        let has = |about| passes.iter().any(|p| p.about == about);
        out.extend(passes.iter().map(|p| Action::Write(p.about)));
        for (no, job) in self.jobs().zip(&w.jobs) {
            if !has(About::Job(no)) && (self.whole || !reduce::is_twin(w, no)) {
                out.push(Action::DecideJob(no, None));
                if job.status.printer.is_none() {
                    let held = self.printers().zip(&w.printers).filter(|(_, p)| operator::holds(p, no));
                    out.extend(held.map(|(at, _)| Action::DecideJob(no, Some(at))));
                    if !has(About::Claim) {
                        out.extend(self.printers().map(|at| Action::Assign(no, at)));
                    }
                }
            }
        }
        for (at, s) in self.printers().zip(&w.operator.sessions) {
            if !has(About::Printer(at)) {
                out.push(Action::DecidePrinter(at));
            }
            match &s.trying {
                Some(t) if t.step == TryStep::Looked => {
                    out.push(Action::Send(at, How::Properly));
                    if w.left.faults > 0 {
                        out.push(Action::Send(at, How::Asks));
                        out.extend(How::FAULTS.map(|how| Action::Send(at, how)));
                    }
                }
                Some(_) => out.push(Action::Try(at)),
                None => {
                    out.push(Action::Poll(at));
                    if s.line == Line::Live {
                        out.extend(s.commands.iter().map(|c| Action::CarryOut(at, *c)));
                    }
                }
            }
        }
    }

    /// What devices and the people at them may do next.
    fn machines(&self, w: &World, out: &mut Vec<Action>) {
        for (at, d) in self.printers().zip(&w.devices) {
            if d.on_the_way.is_some() {
                out.push(Action::Lands(at));
            }
            if d.shows.is_some() {
                out.push(Action::ShowsNew(at));
            }
            // A print lasts longer than a try: while there is one, none ends that may have begun since its gate.
            let may_end = d.doing == Doing::Printing && w.operator.sessions[usize::from(at)].trying.is_none();
            if may_end {
                out.push(Action::Ends(at, End::Finished));
            }
            if !d.reachable {
                out.push(Action::Reachable(at, true));
            }
            if w.left.faults > 0 {
                if may_end {
                    out.push(Action::Ends(at, End::Failed));
                }
                if d.reachable {
                    out.push(Action::Reachable(at, false));
                }
                out.push(Action::Reboots(at));
            }
            let mut screen = vec![AtScreen::Answers(true), AtScreen::Answers(false), AtScreen::Resumes];
            if w.left.meddling > 0 {
                screen.push(AtScreen::Forgotten);
            }
            if w.left.meddling > 0 && !self.size.blank {
                screen.extend([AtScreen::LeavesEnd, AtScreen::Foreign]);
                screen.extend([AtScreen::Pauses, AtScreen::Filament]);
                screen.extend(d.files.iter().map(AtScreen::Starts));
            }
            out.extend(
                screen
                    .into_iter()
                    .filter(|what| device::is_possible(w, at, *what))
                    .map(|what| Action::AtScreen(at, what)),
            );
        }
    }

    /// What people may do at the API.
    fn people(&self, w: &World, out: &mut Vec<Action>) {
        for (at, p) in self.printers().zip(&w.printers) {
            if people::may_clear(w, at) {
                out.push(Action::ClearBed(at));
            }
            let distrust = ids::read(p.status.distrust.as_ref().map(|d| d.id.as_str()));
            if distrust != 0 && distrust != p.acknowledged {
                out.push(Action::Acknowledge(at));
            }
        }
        for (no, job) in self.jobs().zip(&w.jobs).filter(|(no, _)| self.whole || !reduce::is_twin(w, *no)) {
            out.extend(people::answer(w, no).map(|answer| Action::Answer(no, answer)));
            if w.left.meddling > 0
                && !self.size.blank
                && !printernizer_rules::print_job::status::is_terminal(&job.status)
            {
                out.extend(device::other_wishes(job.wants).iter().map(|wish| Action::Want(no, *wish)));
            }
        }
    }

    /// What comes of it.
    pub fn happens(&self, w: &mut World, action: Action) {
        let size = &self.size;
        match action {
            Action::DecideJob(no, holder) => operator::decide_job(w, no, holder),
            Action::DecidePrinter(at) => operator::decide_printer(w, at),
            Action::Assign(job, at) => operator::claim(w, job, at),
            Action::Write(about) => {
                if let Some(pass) = taken(w, about) {
                    operator::step(w, pass);
                }
            }
            Action::Poll(at) => session::poll(w, size, at),
            Action::CarryOut(at, command) => session::carry_out(w, size, at, command),
            Action::Try(at) => start::step(w, size, at),
            Action::Send(at, how) => {
                w.left.faults -= u8::from(how != How::Properly);
                start::send(w, size, at, how);
            }
            Action::Lands(at) => device::lands(w, at),
            Action::ShowsNew(at) => w.devices[usize::from(at)].shows = None,
            Action::Ends(at, how) => {
                w.left.faults -= u8::from(how == End::Failed);
                time::minutes(w, size);
                device::ends(w, at, how);
            }
            Action::Reboots(at) => {
                w.left.faults -= 1;
                device::reboots(w, size, at);
            }
            Action::Reachable(at, reachable) => {
                w.left.faults -= u8::from(!reachable);
                w.devices[usize::from(at)].reachable = reachable;
            }
            Action::AtScreen(at, what) => {
                let free = matches!(what, AtScreen::Answers(_) | AtScreen::Resumes);
                w.left.meddling -= u8::from(!free);
                if what == AtScreen::Forgotten {
                    time::minutes_unseen(w);
                    if w.operator.sessions[usize::from(at)].line == Line::Live {
                        // The connection has stood all the time, and said nothing.
                        session::unwatched(w, at);
                    }
                }
                device::at_screen(w, at, what);
            }
            Action::ClearBed(at) => people::clear_bed(w, at),
            Action::Answer(no, answer) => people::answers(w, no, answer),
            Action::Acknowledge(at) => people::acknowledges(w, at),
            Action::Want(no, wish) => {
                w.left.meddling -= 1;
                w.jobs[usize::from(no)].wants = wish;
                api::job_changed(w, no);
            }
            Action::NextLeader(flight) => {
                w.left.crashes -= 1;
                w.flights.extend(flight);
                w.operator = Operator { passes: Vec::new(), sessions: vec![Session::new(); w.printers.len()] };
            }
            Action::Arrives(which) => {
                let flight = w.flights.remove(usize::from(which));
                w.truth.late = true;
                flight::arrives(w, size, flight);
            }
            Action::Seconds => time::seconds(w),
            Action::Window => time::window(w, size),
            Action::Long => {
                w.left.long_waits -= 1;
                time::long(w, size);
            }
        }
    }
}

/// Takes a pass out, to go on with it.
fn taken(w: &mut World, about: About) -> Option<Pass> {
    let place = w.operator.passes.iter().position(|p| p.about == about)?;
    Some(w.operator.passes.remove(place))
}

/// Carries out all passes to their ends.
pub fn finish(w: &mut World) {
    while let Some(about) = w.operator.passes.first().map(|p| p.about) {
        if let Some(pass) = taken(w, about) {
            operator::step(w, pass);
        }
    }
}

impl Model for Farm {
    type State = World;
    type Action = Event;

    fn init_states(&self) -> Vec<World> {
        vec![self.begin()]
    }

    fn actions(&self, w: &World, out: &mut Vec<Event>) {
        out.extend(self.events(w));
    }

    fn next_state(&self, _: &World, event: Event) -> Option<World> {
        Some(event.next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        promises::properties(self)
    }

    fn within_boundary(&self, w: &World) -> bool {
        self.is_within(w)
    }
}

impl Farm {
    /// Whether no job has had more attempts than are looked at.
    pub fn is_within(&self, w: &World) -> bool {
        w.jobs.iter().all(|j| j.status.attempt <= i32::from(self.size.attempts))
    }

    /// Whether every job has ended and nothing is under way: nothing can start any more, and nothing is looked at.
    pub fn is_over(w: &World) -> bool {
        w.flights.is_empty() && time::is_quiet(w) && fair::is_over(w)
    }

    /// Everything that may happen next.
    pub fn possible(&self, w: &World, out: &mut Vec<Action>) {
        if w.truth.broken.is_some() || Self::is_over(w) {
            return;
        }
        self.work(w, out);
        self.machines(w, out);
        self.people(w, out);
        if w.left.crashes > 0 {
            out.push(Action::NextLeader(None));
            out.extend(flight::all(w).into_iter().map(|f| Action::NextLeader(Some(f))));
        }
        out.extend((0..).take(w.flights.len()).map(Action::Arrives));
        out.push(Action::Seconds);
        if time::is_quiet(w) {
            out.push(Action::Window);
            if w.left.long_waits > 0 {
                out.push(Action::Long);
            }
        }
    }
}
