//! A found order of events, as numbered steps a person can follow: what happened, and what it changed.

use std::fmt::Write as _;

use printernizer_crds::print_job::DesiredState;
use printernizer_crds::{PrintJobStatus, PrinterStatus};
use printernizer_rules::print_job::status::phase;

use crate::device::{AtScreen, How};
use crate::model::{Action, Farm};
use crate::operator::Step;
use crate::reduce::Event;
use crate::world::{About, Attempt, Command, Doing, End, Flight, Line, Name, No, TryStep, World};

/// The whole story.
pub fn story(farm: &Farm, events: impl IntoIterator<Item = Event>) -> String {
    let mut w = farm.begin();
    let mut text = String::new();
    let mut number = 0;
    for event in events {
        for action in event.decided.into_iter().chain([event.then]) {
            let before = w.clone();
            farm.happens(&mut w, action);
            number += 1;
            let _ = writeln!(text, "{number:>4}. {}", happened(&before, action));
            for change in changes(&before, &w) {
                let _ = writeln!(text, "          {change}");
            }
        }
        farm.tidy(&mut w);
    }
    if let Some(broken) = w.truth.broken {
        let _ = writeln!(text, "      BROKEN: {}", broken.text());
    }
    text
}

/// What becomes of a farm that does not come to its end.
pub fn aftermath(farm: &Farm, w: &World) -> String {
    const ROUNDS: usize = 30;
    let mut text = "      left alone:\n".to_owned();
    let mut w = Farm::calmed(w);
    for round in 1..=ROUNDS {
        let before = w.clone();
        farm.round(&mut w);
        if w == before {
            break;
        }
        let _ = writeln!(text, "      round {round}");
        for change in changes(&before, &w) {
            let _ = writeln!(text, "          {change}");
        }
    }
    for (no, stored) in w.jobs.iter().enumerate() {
        let _ = writeln!(text, "      job-{no} stays: {}", job(&stored.status));
    }
    for (no, stored) in w.printers.iter().enumerate() {
        let _ =
            writeln!(text, "      printer-{no} stays: {}, files {:?}", printer(&stored.status), w.devices[no].files);
    }
    text
}

fn of(attempt: Attempt) -> String {
    format!("job-{} attempt {}", attempt.job, attempt.number)
}

fn command(command: Command) -> String {
    match command {
        Command::Upload(a) => format!("upload the file of {}", of(a)),
        Command::Start(a) => format!("begin to start {}", of(a)),
        Command::Pause(a) => format!("pause {}", of(a)),
        Command::Resume(a) => format!("resume {}", of(a)),
        Command::Stop(a) => format!("stop {}", of(a)),
        Command::Delete(a) => format!("delete the file of {}", of(a)),
    }
}

fn about(about: About) -> String {
    match about {
        About::Job(no) => format!("the pass of job-{no}"),
        About::Printer(at) => format!("the pass of printer-{at}"),
        About::Claim => "the claim".to_owned(),
    }
}

fn next_step(w: &World, of: About) -> &'static str {
    let pass = w.operator.passes.iter().find(|p| p.about == of);
    match pass.and_then(|p| p.steps.get(usize::from(p.done)).map(|s| (p, s))) {
        Some((p, Step::WriteJob(_))) if p.job.is_some_and(|v| v.current) => "writes the job",
        Some((p, Step::WritePrinter(_))) if p.printer.is_some_and(|v| v.current) => "writes the printer",
        Some(_) => "meets a conflict, and ends",
        None => "ends",
    }
}

fn try_step(step: TryStep) -> &'static str {
    match step {
        TryStep::Open => "writes the job's half of the intent",
        TryStep::Half => "writes the printer's half of the intent",
        TryStep::Whole => "looks a second time",
        TryStep::Looked => "sends the start",
    }
}

fn flight(f: Flight) -> String {
    match f {
        Flight::Pass(pass) => format!("a write of {}", about(pass.about)),
        Flight::Try(at, t) => format!("the try on printer-{at}, which {}", try_step(t.step)),
        Flight::Command(at, what) => format!("printer-{at}: {}", command(what)),
    }
}

/// What happened, in words.
fn happened(w: &World, action: Action) -> String {
    match action {
        Action::DecideJob(no, _) => format!("the operator decides about job-{no}"),
        Action::DecidePrinter(at) => format!("the operator decides about printer-{at}"),
        Action::Assign(no, at) => format!("the scheduler gives printer-{at} to job-{no}"),
        Action::Write(of) => format!("{} {}", about(of), next_step(w, of)),
        Action::Poll(at) => format!("the session of printer-{at} polls"),
        Action::CarryOut(at, what) => format!("the session of printer-{at} carries out: {}", command(what)),
        Action::Try(at) => {
            let step = w.operator.sessions[usize::from(at)].trying.map(|t| try_step(t.step));
            format!("the try on printer-{at} {}", step.unwrap_or("ends"))
        }
        Action::Send(at, how) => format!("the start is sent to printer-{at}, which {}", sent(how)),
        Action::Lands(at) => format!("printer-{at} acts on the start it took before"),
        Action::ShowsNew(at) => format!("printer-{at} shows at last what it does"),
        Action::Ends(at, End::Finished) => format!("the print on printer-{at} ends well"),
        Action::Ends(at, _) => format!("the print on printer-{at} fails"),
        Action::Reboots(at) => format!("printer-{at} restarts"),
        Action::Reachable(at, true) => format!("printer-{at} answers again"),
        Action::Reachable(at, false) => format!("printer-{at} answers no more"),
        Action::AtScreen(at, what) => format!("a person at printer-{at} {}", at_screen(what)),
        Action::ClearBed(at) => format!("a person clears the bed of printer-{at} and says so"),
        Action::Answer(no, answer) => format!("a person answers for job-{no}: {answer:?}"),
        Action::Acknowledge(at) => format!("a person has looked at printer-{at}"),
        Action::Want(no, wish) => format!("a person wants of job-{no}: {wish:?}"),
        Action::NextLeader(None) => "the leader crashes or loses the lease; another process leads".to_owned(),
        Action::NextLeader(Some(f)) => {
            format!("the leader is stopped, another process leads; on its way is {}", flight(f))
        }
        Action::Arrives(which) => {
            let f = w.flights.get(usize::from(which)).copied();
            format!("what was on its way arrives: {}", f.map(flight).unwrap_or_default())
        }
        Action::Seconds => "seconds pass, and with them deadlines".to_owned(),
        Action::Window => "five minutes pass".to_owned(),
        Action::Long => "a quarter of an hour passes".to_owned(),
    }
}

fn sent(how: How) -> &'static str {
    match how {
        How::Properly => "takes it if it can",
        How::Asks => "takes it and asks something first",
        How::Lost => "never receives it",
        How::AnswerLost => "takes it; its answer is lost",
        How::Late => "takes it and acts later, without an answer",
        How::ShowsOld => "takes it, and goes on showing what it showed",
        How::RefusesForNothing => "refuses it for nothing",
        How::RefusesAndPrints => "answers that it refuses, and prints",
    }
}

fn at_screen(what: AtScreen) -> String {
    match what {
        AtScreen::Answers(true) => "answers its question: print".to_owned(),
        AtScreen::Answers(false) => "answers its question: do not print".to_owned(),
        AtScreen::LeavesEnd => "leaves the end screen".to_owned(),
        AtScreen::Starts(a) => format!("starts the file of {}", of(a)),
        AtScreen::Foreign => "prints something else".to_owned(),
        AtScreen::Forgotten => "prints something else, and the machine shows nothing of it afterwards".to_owned(),
        AtScreen::Pauses => "pauses the print".to_owned(),
        AtScreen::Resumes => "resumes the print".to_owned(),
        AtScreen::Filament => "changes the filament".to_owned(),
    }
}

fn job(s: &PrintJobStatus) -> String {
    let mut text = format!("{:?}, attempt {}", phase(s, DesiredState::Run), s.attempt.max(1));
    if let Some(p) = &s.printer {
        let _ = write!(text, ", on {}", p.name);
    }
    if let Some(upload) = &s.upload {
        text += if upload.size_verified { ", file verified" } else { ", file to be uploaded" };
    }
    if s.start.is_some() {
        text += ", intent";
    }
    if let Some(q) = &s.question {
        let _ = write!(text, ", question {} ({})", q.id, q.reason);
    }
    text
}

fn printer(s: &PrinterStatus) -> String {
    let holder = s.current_job.as_ref().map_or("free".to_owned(), |c| format!("held by {} {}", c.name, c.attempt));
    let last = s.last_start.as_ref().map_or("no start".to_owned(), |l| match l.verdict {
        Some(verdict) => format!("start {} {verdict:?}", l.token),
        None => format!("start {} unresolved", l.token),
    });
    let bed = s.bed.as_ref().map_or("bed unknown".to_owned(), |b| match (&b.occupancy_id, b.print_in_progress) {
        (_, true) => "bed in use".to_owned(),
        (Some(id), _) => format!("bed occupied {id}"),
        (None, _) => "bed clear".to_owned(),
    });
    let distrust = s.distrust.as_ref().map_or(String::new(), |d| format!(", {:?}", d.reason));
    format!("{holder}, {last}, {bed}{distrust}")
}

fn doing(d: &crate::world::Device) -> String {
    let name = match d.name {
        Name::None => "nothing it knows of".to_owned(),
        Name::Older => "an older print".to_owned(),
        Name::Foreign => "a foreign print".to_owned(),
        Name::Ours(a) => of(a),
    };
    let doing = match d.doing {
        Doing::Nothing => "idle, last",
        Doing::Asking => "asks before",
        Doing::Printing => "prints",
        Doing::Paused { .. } => "is paused at",
        Doing::Shows(_) => "shows the end of",
    };
    format!("{doing} {name}")
}

/// What is different afterwards.
fn changes(before: &World, after: &World) -> Vec<String> {
    let mut told = Vec::new();
    let mut tell = |kind: &str, no: No, old: String, new: String| {
        if old != new {
            told.push(format!("{kind}-{no}: {new}"));
        }
    };
    for (no, (old, new)) in (0..).zip(before.jobs.iter().zip(&after.jobs)) {
        tell("job", no, job(&old.status), job(&new.status));
    }
    for (no, (old, new)) in (0..).zip(before.printers.iter().zip(&after.printers)) {
        tell("printer", no, printer(&old.status), printer(&new.status));
    }
    for (no, (old, new)) in (0..).zip(before.devices.iter().zip(&after.devices)) {
        tell("device", no, doing(old), doing(new));
    }
    let seen = |s: &crate::world::Session| {
        let line = match s.line {
            Line::Connecting => "connecting",
            Line::Live => "connected",
            Line::Down { .. } => "down",
        };
        let answer = s.watch.answer.as_ref().map_or(String::new(), |a| format!(", answer {a:?}"));
        let closed = s.closed.map_or(String::new(), |(c, _)| format!(", gate closed: {}", *c));
        let over = if s.watch.live.is_zero() { "" } else { ", window over" };
        format!("{line}{answer}{closed}{over}")
    };
    for (no, (old, new)) in (0..).zip(before.operator.sessions.iter().zip(&after.operator.sessions)) {
        tell("session", no, seen(old), seen(new));
    }
    told
}
