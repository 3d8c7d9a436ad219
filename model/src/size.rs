//! How large a farm is explored, and how much may go wrong in it.

use printernizer_rules::device::DeviceKind::{self, Bambu, PrusaLink};

pub use crate::world::Budget;
use crate::world::No;

/// One size.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Its name.
    pub name: &'static str,
    /// What it is, for people.
    pub about: &'static str,
    /// The printers.
    pub kinds: &'static [DeviceKind],
    /// How many jobs.
    pub jobs: No,
    /// What may go wrong.
    pub budget: Budget,
    /// Attempts of a job beyond which is not looked.
    pub attempts: No,
    /// Whether the printers show no print at the beginning, as one that has printed nothing yet, and people do nothing else
    /// at their screens than print where nobody is connected.
    pub blank: bool,
    /// Whether nobody has looked at the printers yet at the beginning, though a person has said that their beds are clear.
    pub unseen: bool,
    /// How many passes may be half-way at a time.
    pub overlap: u8,
    /// Whether `cargo xtask test` explores it.
    pub always: bool,
}

const fn budget(crashes: u8, faults: u8, meddling: u8, long_waits: u8) -> Budget {
    Budget { crashes, faults, meddling, long_waits }
}

/// As many passes as there are.
pub const ALL: u8 = u8::MAX;

/// All sizes, the smallest first.
pub const SIZES: &[Size] = &[
    size("calm", "a printer, two jobs, nothing fails", &[PrusaLink], 2, budget(0, 0, 0, 0), 2).always(),
    size("crash", "a printer, a job, a crash or lost lease at any step", &[PrusaLink], 1, budget(1, 0, 0, 0), 3)
        .always(),
    size("fault", "a printer, a job, a fault of the device", &[PrusaLink], 1, budget(0, 1, 0, 0), 3).always(),
    size("bambu", "the same with a Bambu Lab printer", &[Bambu], 1, budget(0, 1, 0, 0), 3).always(),
    size(
        "people",
        "a printer, a job, and somebody at the screen, the spool or desiredState",
        &[PrusaLink],
        1,
        budget(0, 0, 1, 0),
        3,
    )
    .always(),
    size(
        "blank",
        "a printer that shows no print, a job, a crash or lost lease, and a print that nobody sees",
        &[PrusaLink],
        1,
        budget(1, 0, 1, 0),
        2,
    )
    .blank()
    .always(),
    size(
        "unseen",
        "a printer whose bed was confirmed before anybody was connected to it, a job, and somebody at the screen",
        &[PrusaLink],
        1,
        budget(0, 0, 1, 0),
        2,
    )
    .unseen()
    .always(),
    size("1x1", "a printer, a job, a crash or lost lease and a fault", &[PrusaLink], 1, budget(1, 1, 0, 0), 3),
    size("1x2", "a printer, two jobs, a crash or lost lease and a fault", &[PrusaLink], 2, budget(1, 1, 0, 0), 2),
    size(
        "2x1",
        "two printers, a job, a crash or lost lease and a fault",
        &[PrusaLink, Bambu],
        1,
        budget(1, 1, 0, 0),
        2,
    ),
    size(
        "2x2",
        "two printers, two jobs, a crash or lost lease and a fault",
        &[PrusaLink, Bambu],
        2,
        budget(1, 1, 0, 0),
        2,
    ),
    size(
        "wild",
        "two printers, three jobs, much of everything: for random walks",
        &[PrusaLink, Bambu],
        3,
        budget(3, 4, 4, 2),
        6,
    ),
];

const fn size(
    name: &'static str,
    about: &'static str,
    kinds: &'static [DeviceKind],
    jobs: No,
    budget: Budget,
    attempts: No,
) -> Size {
    Size { name, about, kinds, jobs, budget, attempts, blank: false, unseen: false, overlap: ALL, always: false }
}

impl Size {
    /// Explored by every test run.
    const fn always(self) -> Self {
        Self { always: true, ..self }
    }

    /// Of printers that show no print at the beginning.
    const fn blank(self) -> Self {
        Self { blank: true, ..self }
    }

    /// Of printers nobody was connected to at the beginning.
    const fn unseen(self) -> Self {
        Self { unseen: true, ..self }
    }

    /// The size of this name.
    pub fn named(name: &str) -> Option<Self> {
        SIZES.iter().find(|s| s.name == name).copied()
    }

    /// Kind of a printer.
    pub fn kind(&self, printer: No) -> DeviceKind {
        self.kinds.get(usize::from(printer)).copied().unwrap_or(PrusaLink)
    }
}
