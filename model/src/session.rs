//! A printer's session in the process that leads: which attempt it serves, what it has seen, which commands it takes, and
//! what it does about one. Mirrors `operator/src/fleet/session.rs`, `watching.rs` and `serve.rs`.

use std::sync::LazyLock;
use std::time::Duration;

use dashmap::DashMap;
use printernizer_crds::print_job::StartIntent;
use printernizer_rules::device::{DeviceKind, DeviceReport, DeviceState};
use printernizer_rules::print_job::Watch;
use printernizer_rules::print_job::start::{Relation, relation};

use crate::device;
use crate::farm::{self, TIMING};
use crate::kept::{Kept, Known, once};
use crate::promises::Broken;
use crate::size::Size;
use crate::start;
use crate::world::{About, Attempt, Attempts, Command, Doing, Judged, Line, Name, No, Session, Upload, World};

impl Session {
    /// One that has just begun.
    pub fn new() -> Self {
        Self {
            line: Line::Connecting,
            report: None,
            judged: Judged::No,
            unjudged_long: false,
            serves: None,
            watch: Kept::new(Watch::default()),
            intent: None,
            number: None,
            upload: Upload::Idle,
            closed: None,
            deleted_now: Attempts::default(),
            deleted_before: Attempts::default(),
            undeleted: (Attempts::default(), false),
            pause_sent: false,
            commands: Vec::new(),
            trying: None,
        }
    }

    /// Changes what was seen.
    pub fn watching(&mut self, change: impl FnOnce(&mut Watch)) {
        self.watch = watching(self.watch, change);
    }

    /// Whether a command is still about the attempt that is served; what was deleted is neither uploaded nor started.
    fn takes(&self, command: Command) -> bool {
        let deleted = self.deleted_now.and(self.deleted_before);
        match command {
            Command::Delete(_) => true,
            Command::Upload(a) => self.serves == Some(a) && !deleted.has(a) && self.judged == Judged::Now,
            Command::Start(a) => self.serves == Some(a) && !deleted.has(a),
            Command::Pause(a) | Command::Resume(a) | Command::Stop(a) => self.serves == Some(a),
        }
    }
}

fn of(w: &mut World, at: No) -> &mut Session {
    &mut w.operator.sessions[usize::from(at)]
}

/// Turns a session to an attempt; what was seen of another one is forgotten.
pub fn attach(w: &mut World, at: No, attempt: Attempt, intent_known: bool, number: Option<u32>) {
    let s = of(w, at);
    if s.serves != Some(attempt) {
        s.serves = Some(attempt);
        s.watch = Kept::new(Watch::default());
        (s.intent, s.upload, s.closed, s.pause_sent) = (None, Upload::Idle, None, false);
    }
    if intent_known && !s.watch.counting {
        s.watching(Watch::intent_is_known);
    }
    s.number = number;
}

/// What was recorded before the start of this attempt was sent.
pub fn intent_recorded(w: &mut World, at: No, attempt: Attempt, intent: Kept<StartIntent>) {
    let s = of(w, at);
    if s.serves == Some(attempt) {
        s.intent = Some(intent);
    }
}

/// Hands over a command. One that waits already, or is pointless, is not taken; nor any without a connection.
pub fn command(w: &mut World, at: No, command: Command) {
    let s = of(w, at);
    let pointless = match command {
        Command::Upload(_) => s.upload == Upload::Done,
        Command::Delete(a) => s.deleted_now.has(a),
        _ => false,
    };
    if s.line == Line::Live && !pointless && s.takes(command) && !s.commands.contains(&command) {
        let place = s.commands.partition_point(|c| *c < command);
        s.commands.insert(place, command);
    }
}

/// The connection is lost, or nothing has been heard for too long: something may have happened that no report shows.
pub fn unwatched(w: &mut World, at: No) {
    let s = of(w, at);
    s.judged = Judged::No;
    s.deleted_before = s.deleted_before.and(s.deleted_now);
    s.deleted_now = Attempts::default();
    for pass in w.operator.passes.iter_mut().filter(|p| p.about == About::Printer(at)) {
        pass.judges = (false, false);
    }
}

/// What was judged before is not what is shown now.
fn changed(w: &mut World, at: No) {
    let s = of(w, at);
    s.judged = if s.judged == Judged::No { Judged::No } else { Judged::Earlier };
    for pass in w.operator.passes.iter_mut().filter(|p| p.about == About::Printer(at)) {
        pass.judges.1 = false;
    }
}

/// A pass over the printer has ended, and what it meant is stored.
pub fn was_judged(w: &mut World, at: No, judges: (bool, bool)) {
    let s = of(w, at);
    match judges {
        (true, true) => (s.judged, s.unjudged_long) = (Judged::Now, false),
        (true, false) if s.judged == Judged::No => s.judged = Judged::Earlier,
        _ => {}
    }
}

/// One poll of the device: a report, or silence.
pub fn poll(w: &mut World, size: &Size, at: No) {
    if w.devices[usize::from(at)].reachable {
        let report = farm::report(at, size.kind(at), &w.devices[usize::from(at)]);
        took(w, at, report, TIMING.poll_period);
        return;
    }
    let s = of(w, at);
    if matches!(s.line, Line::Down { .. }) {
        return;
    }
    s.line = Line::Down { long: false };
    // All that is asked of an old report is whether a pause has ended since.
    s.report = s.report.filter(|_| s.pause_sent);
    s.commands.clear();
    s.watching(Watch::connection_lost);
    unwatched(w, at);
}

/// Takes in a report, this long after the one before.
pub fn took(w: &mut World, at: No, report: Kept<DeviceReport>, since: Duration) {
    let s = of(w, at);
    if let Some(attempt) = s.serves {
        let seen = Seen { watch: s.watch, report, attempt, intent: s.intent, number: s.number, since, times: 1 };
        s.watch = once(&WATCHED, seen, Seen::watched);
    }
    let was_paused = s.report.is_some_and(|old| old.state == DeviceState::Paused);
    if was_paused && report.state != DeviceState::Paused {
        s.pause_sent = false;
    }
    let same = |old: Kept<DeviceReport>| old.state == report.state && old.identity == report.identity;
    let is_same = s.line == Line::Live && s.report.is_some_and(same);
    (s.report, s.line) = (Some(report), Line::Live);
    if !is_same {
        changed(w, at);
    }
}

/// Reports as they are taken in.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Seen {
    /// What was seen before.
    pub watch: Kept<Watch>,
    /// The report.
    pub report: Kept<DeviceReport>,
    /// The attempt that is served.
    pub attempt: Attempt,
    /// Its intent.
    pub intent: Option<Kept<StartIntent>>,
    /// The device's number of it.
    pub number: Option<u32>,
    /// Time from report to report.
    pub since: Duration,
    /// How often the same is reported.
    pub times: u8,
}

static WATCHED: Known<Seen, Kept<Watch>> = LazyLock::new(DashMap::new);

impl Seen {
    fn watched(&self) -> Kept<Watch> {
        let ours = is_ours(self.attempt, self.intent, self.number, &self.report);
        watching(self.watch, |watch| {
            for _ in 0..self.times {
                watch.report(&self.report, ours, Some(self.since), TIMING.report_gap);
            }
        })
    }
}

/// A whole window of the same report is taken in.
pub fn watched_for_a_window(w: &mut World, at: No) {
    let s = of(w, at);
    let (Line::Live, Some(report), Some(attempt)) = (s.line, s.report, s.serves) else { return };
    let (watch, intent, number, since) = (s.watch, s.intent, s.number, TIMING.report_gap);
    let times = u8::try_from(TIMING.observation_window.as_secs() / since.as_secs()).unwrap_or(u8::MAX);
    s.watch = once(&WATCHED, Seen { watch, report, attempt, intent, number, since, times }, Seen::watched);
}

fn is_ours(attempt: Attempt, intent: Option<Kept<StartIntent>>, number: Option<u32>, report: &DeviceReport) -> bool {
    let number = number.map(|n| n.to_string());
    relation(&farm::token(attempt), intent.as_deref(), number.as_deref(), &report.identity) == Relation::Ours
}

/// A watch, changed.
fn watching(watch: Kept<Watch>, change: impl FnOnce(&mut Watch)) -> Kept<Watch> {
    let mut watch = (*watch).clone();
    change(&mut watch);
    // Only whether a window is over is told apart.
    let over = |time: Duration, window: Duration| if time >= window { window } else { Duration::ZERO };
    watch.live = over(watch.live, TIMING.observation_window);
    watch.quiet = over(watch.quiet, TIMING.refusal_quiet);
    watch.preview_for = over(watch.preview_for, TIMING.preview_patience);
    watch.idle_for = watch.idle_for.map(|idle| idle.min(TIMING.poll_period * 2));
    Kept::new(watch)
}

/// Carries out a command that waits. A start is only begun.
pub fn carry_out(w: &mut World, size: &Size, at: No, command: Command) {
    let s = of(w, at);
    s.commands.retain(|c| *c != command);
    if !s.takes(command) {
        return;
    }
    match command {
        Command::Start(attempt) => start::begin(w, size, at, attempt),
        Command::Upload(attempt) => {
            if s.judged != Judged::Now && w.truth.parts[usize::from(at)] {
                w.breaks(Broken::UsedUnseen);
            }
            let arrived = reaches(w, size, at, command);
            let s = of(w, at);
            if s.serves == Some(attempt) {
                s.upload = if arrived { Upload::Done } else { Upload::Failed };
            }
        }
        Command::Delete(attempt) => {
            let gone = reaches(w, size, at, command);
            let s = of(w, at);
            if gone {
                s.deleted_now.add(attempt);
                s.undeleted.0.remove(attempt);
            } else {
                s.undeleted.0.add(attempt);
            }
            if s.undeleted.0.is_empty() {
                s.undeleted.1 = false;
            }
        }
        Command::Pause(attempt) | Command::Resume(attempt) | Command::Stop(attempt) => {
            poll(w, size, at);
            let s = of(w, at);
            let (Line::Live, Some(report)) = (s.line, s.report) else { return };
            let ours = match size.kind(at) {
                DeviceKind::PrusaLink => {
                    let number = s.number.map(|n| n.to_string());
                    number.is_some() && report.identity.id == number
                }
                DeviceKind::Bambu => is_ours(attempt, s.intent, s.number, &report),
            };
            if ours && report.is_active() {
                let taken = reaches(w, size, at, command);
                if let Command::Pause(_) = command {
                    of(w, at).pause_sent = taken;
                }
            }
        }
    }
}

/// What a device does about a command that reaches it; whether it took it.
pub fn reaches(w: &mut World, size: &Size, at: No, command: Command) -> bool {
    let d = &mut w.devices[usize::from(at)];
    if !d.reachable {
        return false;
    }
    match command {
        Command::Start(_) => false,
        Command::Upload(attempt) => {
            d.files.add(attempt);
            true
        }
        Command::Delete(attempt) => {
            let shown = d.name == Name::Ours(attempt);
            if shown && matches!(d.doing, Doing::Asking | Doing::Printing | Doing::Paused { .. }) {
                return false;
            }
            d.files.remove(attempt);
            // On PrusaLink this also leaves the end screen.
            if shown && size.kind(at) == DeviceKind::PrusaLink {
                d.doing = Doing::Nothing;
            }
            true
        }
        Command::Pause(attempt) | Command::Resume(attempt) | Command::Stop(attempt) => {
            let its = d.name == Name::Ours(attempt);
            device::controlled(w, at, command);
            if !its {
                w.breaks(Broken::CommandedAnotherPrint);
            }
            true
        }
    }
}
