//! Jobs that ask for the same are decided once.

use std::collections::HashMap;
use std::sync::Arc;

use super::memo::Asks;
use super::requirements::Requirements;
use super::schedule::JobKey;
use super::waiting::Waiting;

/// What jobs ask for that ask for the same, and what was found out for them.
pub(super) struct Shape {
    pub(super) requirements: Requirements,
    /// Printers that are free and fit, the best last; unset until a job asks.
    pub(super) choices: Option<Vec<usize>>,
    /// What those wait for that get no printer; unset until a job asks.
    pub(super) waiting: Option<Waiting>,
    /// The first job that waits for a printer to become free, and its turn.
    pub(super) first_queued: Option<(usize, Arc<JobKey>)>,
}

/// The shapes met so far among the jobs of one namespace.
#[derive(Default)]
pub(super) struct Shapes<'a> {
    pub(super) all: Vec<Shape>,
    index: HashMap<Requirements, usize>,
    /// Which shape a kind of job is, with the printer it avoids.
    known: HashMap<(u64, Option<&'a str>), usize>,
}

impl<'a> Shapes<'a> {
    /// The shape of a job that avoids this printer. `reduced` leaves out what makes no difference in this namespace; it is
    /// asked once for each kind.
    pub(super) fn of(
        &mut self,
        asks: &Asks,
        avoid: Option<&'a str>,
        reduced: impl FnOnce(&Requirements) -> Requirements,
    ) -> Option<&mut Shape> {
        let at = *self.known.entry((asks.kind, avoid)).or_insert_with(|| {
            let requirements = Requirements { avoid: avoid.map(str::to_owned), ..reduced(&asks.requirements) };
            *self.index.entry(requirements).or_insert_with_key(|requirements| {
                self.all.push(Shape {
                    requirements: requirements.clone(),
                    choices: None,
                    waiting: None,
                    first_queued: None,
                });
                self.all.len() - 1
            })
        });
        self.all.get_mut(at)
    }
}
