//! What is on its way of a process that does not lead any more: the one effect that was permitted before it was stopped, or
//! ended, or lost the lease.

use printernizer_crds::print_job::DesiredState;
use printernizer_crds::{PrintJobStatus, PrinterStatus};
use printernizer_rules::device::DeviceReport;

use crate::device::{self, How};
use crate::kept::Kept;
use crate::operator::{self, Step};
use crate::size::Size;
use crate::world::{About, Command, Flight, Job, Line, No, Printer, Session, Try, TryStep, Version, World};
use crate::{api, session, start};

/// Effects that may be on their way when the process ends.
pub fn all(w: &World) -> Vec<Flight> {
    let passes = w.operator.passes.iter().copied().map(Flight::Pass);
    let of_session = |(at, s): (No, &Session)| {
        // What will meet a conflict has no effect; nor has a look.
        let hopes = |t: &Try| match t.step {
            TryStep::Open => t.versions.0.current,
            TryStep::Half => t.versions.1.current,
            TryStep::Whole => false,
            TryStep::Looked => true,
        };
        let trying = s.trying.filter(hopes).map(|t| Flight::Try(at, t));
        let idle = s.trying.is_none() && s.line == Line::Live;
        // An upload that is cut off is no whole file.
        let commands = s.commands.iter().filter(|c| idle && !matches!(c, Command::Start(_) | Command::Upload(_)));
        let commands: Vec<Flight> = commands.map(|c| Flight::Command(at, *c)).collect();
        trying.into_iter().chain(commands)
    };
    let tries = (0..).zip(&w.operator.sessions).flat_map(of_session);
    passes.chain(tries).map(bare).collect()
}

/// An effect of a process that is gone reaches its place.
pub fn arrives(w: &mut World, size: &Size, flight: Flight) {
    match flight {
        Flight::Pass(mut pass) => {
            operator::write(w, &mut pass);
        }
        Flight::Command(at, command) => {
            session::reaches(w, size, at, command);
        }
        Flight::Try(at, t) => match t.step {
            TryStep::Open if t.versions.0.current => api::write_job(w, t.attempt.job, t.half),
            TryStep::Half if t.versions.1.current => {
                if let Some(half) = start::printer_half(at, &t) {
                    api::write_printer(w, at, half);
                }
            }
            TryStep::Looked => {
                device::arrives(w, size, at, &t, How::Properly);
            }
            TryStep::Open | TryStep::Half | TryStep::Whole => {}
        },
    }
}

/// An effect on its way, without what its process knew besides.
pub fn bare(flight: Flight) -> Flight {
    match flight {
        Flight::Pass(mut pass) => {
            let next = pass.steps.get(usize::from(pass.done)).copied();
            pass.judges = (false, false);
            match next {
                Some(Step::WriteJob(_)) => {
                    pass.printer = None;
                    pass.about = pass.job.map_or(pass.about, |v| About::Job(v.no));
                }
                Some(Step::WritePrinter(_)) => {
                    pass.job = None;
                    pass.about = pass.printer.map_or(pass.about, |v| About::Printer(v.no));
                }
                Some(Step::Device(_)) | None => {}
            }
            pass.steps = Kept::new(next.into_iter().collect());
            pass.done = 0;
            Flight::Pass(pass)
        }
        Flight::Try(at, mut t) => {
            let nothing = Version { no: No::MAX, current: true };
            match t.step {
                TryStep::Open => {
                    t.versions.1 = nothing;
                    t.job = Job { status: t.half, wants: DesiredState::Run, answer: None };
                    t.printer = no_printer();
                    (t.old, t.looked) = (true, Kept::new(DeviceReport::default()));
                }
                TryStep::Half => {
                    t.versions.0 = nothing;
                    t.half = t.job.status;
                    (t.old, t.looked) = (true, Kept::new(DeviceReport::default()));
                }
                TryStep::Whole | TryStep::Looked => {
                    t.versions = (nothing, nothing);
                    t.half = Kept::new(PrintJobStatus::default());
                    t.job = Job { status: t.half, wants: DesiredState::Run, answer: None };
                    t.printer = no_printer();
                    (t.sender, t.old) = (0, true);
                }
            }
            Flight::Try(at, t)
        }
        Flight::Command(at, command) => Flight::Command(at, command),
    }
}

fn no_printer() -> Printer {
    Printer { status: Kept::new(PrinterStatus::default()), cleared_for: 0, acknowledged: 0 }
}
