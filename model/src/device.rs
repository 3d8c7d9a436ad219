//! What devices do, well or badly, and what people do at their screens. Written from what the devices are known to do:
//! that they accept, refuse, act late, answer wrongly or not at all, show old facts, restart, and forget.

use printernizer_crds::print_job::DesiredState;
use printernizer_rules::device::{DeviceKind, DeviceReport};
use printernizer_rules::print_job::start::SendAnswer;

use crate::farm;
use crate::promises::Broken;
use crate::size::Size;
use crate::world::{Attempt, Command, Doing, End, Name, No, Try, World};

/// What becomes of a start that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum How {
    /// The device prints, or refuses as it must, and says so.
    Properly,
    /// It asks something first.
    Asks,
    /// The start is lost.
    Lost,
    /// The start is carried out and the answer is lost.
    AnswerLost,
    /// Its network takes the start, and it acts on it later.
    Late,
    /// It prints, and goes on for a while showing what it showed before.
    ShowsOld,
    /// It refuses for no reason that can be seen.
    RefusesForNothing,
    /// It answers that it refuses, and prints.
    RefusesAndPrints,
}

impl How {
    /// Those that are faults.
    pub const FAULTS: [Self; 6] =
        [Self::Lost, Self::AnswerLost, Self::Late, Self::ShowsOld, Self::RefusesForNothing, Self::RefusesAndPrints];
}

/// A start arrives at a device; its answer.
pub fn arrives(w: &mut World, size: &Size, at: No, trying: &Try, how: How) -> SendAnswer {
    let attempt = trying.attempt;
    judge_send(w, at, &trying.looked);
    let refused = || SendAnswer::Refused("not in a state to print".into());
    let device = &w.devices[usize::from(at)];
    if !device.reachable || how == How::Lost {
        return SendAnswer::Unclear;
    }
    let able = !w.is_active(at) && device.files.has(attempt) && device.on_the_way.is_none();
    if !able || how == How::RefusesForNothing {
        return if how == How::AnswerLost { SendAnswer::Unclear } else { refused() };
    }
    let before = farm::report(at, size.kind(at), device);
    match how {
        How::Late => {
            w.devices[usize::from(at)].on_the_way = Some(attempt);
            SendAnswer::Unclear
        }
        How::Asks => {
            takes(w, at, Name::Ours(attempt), Doing::Asking);
            SendAnswer::Accepted
        }
        _ => {
            takes(w, at, Name::Ours(attempt), Doing::Printing);
            begins(w, at, attempt, false);
            match how {
                How::AnswerLost => SendAnswer::Unclear,
                How::RefusesAndPrints => refused(),
                How::ShowsOld => {
                    w.devices[usize::from(at)].shows = Some(before);
                    SendAnswer::Accepted
                }
                _ => SendAnswer::Accepted,
            }
        }
    }
}

/// What was known when the start was sent must not have spoken against it.
fn judge_send(w: &mut World, at: No, looked: &DeviceReport) {
    if looked.is_active() {
        w.breaks(Broken::SentToBusyDevice);
    }
    let material = looked.slots.first().and_then(|s| s.material.as_deref());
    if material != Some("PLA") {
        w.breaks(Broken::SentWithWrongFilament);
    }
    if looked.serial_number != Some(farm::serial(at)) {
        w.breaks(Broken::SentToBusyDevice);
    }
}

fn takes(w: &mut World, at: No, name: Name, doing: Doing) {
    let device = &mut w.devices[usize::from(at)];
    device.number = device.number.saturating_add(1);
    (device.name, device.doing) = (name, doing);
}

/// A machine begins to print an attempt: the moment all this is about.
fn begins(w: &mut World, at: No, attempt: Attempt, by_person: bool) {
    if w.truth.started.has(attempt) {
        w.breaks(Broken::StartedTwice);
    }
    let others = w.truth.started.of_job(attempt.job);
    if others > 0 && !w.truth.started.has(attempt) {
        w.breaks(Broken::PrintedAgain);
    }
    if by_person {
        w.truth.by_person.add(attempt);
    } else {
        if !w.truth.intended_job.has(attempt) || !w.truth.intended_printer.has(attempt) {
            w.breaks(Broken::NoIntent);
        }
        if w.truth.judged_unprinted.has(attempt) {
            w.breaks(Broken::JudgedUnprintedThenRan);
        }
        if w.truth.parts[usize::from(at)] {
            w.breaks(Broken::OntoPart);
        }
    }
    w.truth.started.add(attempt);
    w.truth.parts[usize::from(at)] = true;
}

/// A start that was taken by the device's network is acted on. The file was taken with it: deleting it does not help.
pub fn lands(w: &mut World, at: No) {
    let Some(attempt) = w.devices[usize::from(at)].on_the_way.take() else { return };
    if !w.is_active(at) {
        takes(w, at, Name::Ours(attempt), Doing::Printing);
        begins(w, at, attempt, false);
    }
}

/// The print ends.
pub fn ends(w: &mut World, at: No, how: End) {
    let device = &mut w.devices[usize::from(at)];
    device.shows = None;
    device.doing = Doing::Shows(how);
    if let (Name::Ours(attempt), End::Finished) = (device.name, how) {
        w.truth.good.add(attempt);
    }
}

/// A pause, resume or stop reaches the device.
pub fn controlled(w: &mut World, at: No, command: Command) {
    let device = &mut w.devices[usize::from(at)];
    match (command, device.doing) {
        (Command::Pause(_), Doing::Printing) => device.doing = Doing::Paused { by_us: true },
        (Command::Resume(_), Doing::Paused { by_us }) => {
            device.doing = Doing::Printing;
            if !by_us {
                w.breaks(Broken::ResumedAnothersPause);
            }
        }
        (Command::Stop(_), Doing::Asking) => device.doing = Doing::Nothing,
        (Command::Stop(_), Doing::Printing | Doing::Paused { .. }) => device.doing = Doing::Shows(End::Stopped),
        _ => {}
    }
}

/// Its power is cut and comes back. What it printed is lost; some kinds forget what that was.
pub fn reboots(w: &mut World, size: &Size, at: No) {
    let device = &mut w.devices[usize::from(at)];
    (device.doing, device.on_the_way, device.shows) = (Doing::Nothing, None, None);
    if size.kind(at) == DeviceKind::Bambu {
        device.name = Name::None;
    }
}

/// What a person does at the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AtScreen {
    /// Answers its question: print, or not.
    Answers(bool),
    /// Leaves the end screen.
    LeavesEnd,
    /// Starts one of our files that never ran.
    Starts(Attempt),
    /// Prints something else.
    Foreign,
    /// Prints something else, of which the machine shows nothing afterwards.
    Forgotten,
    /// Pauses the print.
    Pauses,
    /// Resumes it.
    Resumes,
    /// Puts in other filament, or the right one again.
    Filament,
}

/// Whether that can be done now.
pub fn is_possible(w: &World, at: No, what: AtScreen) -> bool {
    let device = &w.devices[usize::from(at)];
    let idle = !w.is_active(at) && device.on_the_way.is_none();
    match what {
        AtScreen::Answers(_) => device.doing == Doing::Asking,
        AtScreen::LeavesEnd => matches!(device.doing, Doing::Shows(_)),
        AtScreen::Starts(attempt) => idle && device.files.has(attempt) && !w.truth.started.has(attempt),
        AtScreen::Foreign | AtScreen::Filament => idle,
        // Who is connected sees a print, and remembers what it showed, unless nothing was heard for longer than a gap. A
        // try to start has no time for that.
        AtScreen::Forgotten => {
            idle && device.name == Name::None && w.operator.sessions[usize::from(at)].trying.is_none()
        }
        AtScreen::Pauses => device.doing == Doing::Printing,
        AtScreen::Resumes => matches!(device.doing, Doing::Paused { .. }),
    }
}

/// Does it.
pub fn at_screen(w: &mut World, at: No, what: AtScreen) {
    let device = &mut w.devices[usize::from(at)];
    match what {
        AtScreen::Answers(false) | AtScreen::LeavesEnd => device.doing = Doing::Nothing,
        AtScreen::Answers(true) => {
            device.doing = Doing::Printing;
            if let Name::Ours(attempt) = device.name {
                begins(w, at, attempt, false);
            }
        }
        AtScreen::Starts(attempt) => {
            takes(w, at, Name::Ours(attempt), Doing::Printing);
            begins(w, at, attempt, true);
        }
        AtScreen::Foreign => {
            takes(w, at, Name::Foreign, Doing::Printing);
            w.truth.parts[usize::from(at)] = true;
        }
        AtScreen::Forgotten => w.truth.parts[usize::from(at)] = true,
        AtScreen::Pauses => device.doing = Doing::Paused { by_us: false },
        AtScreen::Resumes => device.doing = Doing::Printing,
        AtScreen::Filament => device.filament = !device.filament,
    }
}

/// What is wanted of a job, in the order a person may change it.
pub fn other_wishes(now: DesiredState) -> &'static [DesiredState] {
    match now {
        DesiredState::Run => &[DesiredState::Pause, DesiredState::Cancel],
        DesiredState::Pause => &[DesiredState::Run, DesiredState::Cancel],
        DesiredState::Cancel => &[],
    }
}
