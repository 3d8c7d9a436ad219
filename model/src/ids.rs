//! Random ids of the operator as small numbers. All that the rules do with them is to compare them, so a number may be
//! given out again once nobody holds it any more: then as many states are the same as can be.

use printernizer_crds::{PrintJobStatus, PrinterStatus};

/// A set of ids. The first number is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ids(u64);

/// An id; 0 is none.
pub type Id = u8;

impl Ids {
    /// One id, or none.
    pub fn one(id: Id) -> Self {
        Self(if id == 0 { 0 } else { 1 << (id % 64) })
    }

    /// Those of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The smallest that is not among them.
    pub fn fresh(self) -> Id {
        (1..63).find(|id| self.0 & (1 << id) == 0).unwrap_or(62)
    }
}

/// An id that is written somewhere and that nothing is compared with any more.
pub const OLD: Id = 63;

/// An id as it stands in the API.
pub fn text(id: Id) -> Option<String> {
    (id != 0).then(|| format!("id-{id}"))
}

/// An id that stands in the API.
pub fn read(text: Option<&str>) -> Id {
    text.and_then(|t| t.strip_prefix("id-")).and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// Those in the status of a job.
pub fn of_job(status: &PrintJobStatus) -> Ids {
    let question = read(status.question.as_ref().map(|q| q.id.as_str()));
    let sender = read(status.start.as_ref().map(|s| s.sender.as_str()));
    Ids::one(question).and(Ids::one(sender))
}

/// Those in the status of a printer.
pub fn of_printer(status: &PrinterStatus) -> Ids {
    let bed = status.bed.as_ref();
    let occupancy = read(bed.and_then(|b| b.occupancy_id.as_deref()));
    let distrust = read(status.distrust.as_ref().map(|d| d.id.as_str()));
    Ids::one(occupancy).and(Ids::one(distrust))
}
