//! Spec mutations: every field of a Printer's and of an unclaimed PrintJob's spec is deleted, changed, emptied, made
//! extreme, given each value its schema names, and made invalid, while an operator works with the object. The API server
//! refuses the change and says why; or the object comes to the state that a new object of that spec comes to.
//!
//! The changes are made from the schema of the definitions, so a new field is changed as soon as it exists.

mod cell;
mod compare;
mod generate;

use std::path::PathBuf;
use std::time::Instant;

use crate::cluster::Cluster;
use crate::faults::Told;
use cell::Cell;
pub use generate::Mutation;

/// How often it is said how far the mutations are.
const PROGRESS: usize = 100;

/// What is changed: an object, as a person would have written it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A Printer of a Core One.
    PrusaPrinter,
    /// A Printer of an A1.
    BambuPrinter,
    /// A PrintJob that no printer has claimed.
    PrintJob,
}

impl Subject {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::PrusaPrinter, Self::BambuPrinter, Self::PrintJob];

    fn word(self) -> &'static str {
        match self {
            Self::PrusaPrinter => "prusa-printer",
            Self::BambuPrinter => "bambu-printer",
            Self::PrintJob => "print-job",
        }
    }
}

/// What came of a mutation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The API server refused it and said why.
    Rejected,
    /// The object came to where a new one comes to.
    Converged,
}

/// All mutations, in the order of the schema.
pub fn all() -> Result<Vec<Mutation>, String> {
    let mut all = Vec::new();
    for subject in Subject::ALL {
        all.extend(generate::of(subject, &cell::base(subject))?);
    }
    Ok(all)
}

/// Makes all of these, with so many operators at a time, each in a namespace of its own, and says a line about each that
/// fails, and one at the end about the others.
pub async fn make_all(
    cluster: &Cluster,
    program: PathBuf,
    mutations: &[Mutation],
    operators: usize,
    tell: &mut impl FnMut(&str),
) -> Result<Told, String> {
    let begun = Instant::now();
    let mut cells = Vec::new();
    for _ in 0..operators.max(1) {
        cells.push(Cell::open(cluster, program.clone()).await?);
    }
    let queue = std::sync::Mutex::new(mutations.iter());
    let next = || queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
    let (said, mut saying) = tokio::sync::mpsc::unbounded_channel();
    let work = futures::future::join_all(cells.into_iter().map(async |mut cell| {
        while let Some(mutation) = next() {
            let outcome = cell.make(mutation).await;
            // Whoever listens does so until all is said.
            let _ = said.send((mutation, outcome));
        }
        cell.close().await
    }));
    let (mut told, mut rejected, mut converged) = (Told::default(), 0, 0);
    let count = async {
        while told.passed + told.failed < mutations.len() {
            let Some((mutation, outcome)) = saying.recv().await else { break };
            match outcome {
                Ok(Outcome::Rejected) => (told.passed, rejected) = (told.passed + 1, rejected + 1),
                Ok(Outcome::Converged) => (told.passed, converged) = (told.passed + 1, converged + 1),
                Err(why) => {
                    told.failed += 1;
                    tell(&format!(
                        "FAILED {mutation}\nreplay: cargo xtask faults --mutations --plan '{mutation}'\n{why}\n"
                    ));
                }
            }
            if (told.passed + told.failed) % PROGRESS == 0 {
                tell(&format!(
                    "{} of {}, {:.0} s",
                    told.passed + told.failed,
                    mutations.len(),
                    begun.elapsed().as_secs_f64()
                ));
            }
        }
    };
    let (closed, ()) = tokio::join!(work, count);
    for why in closed.into_iter().filter_map(Result::err) {
        told.failed += 1;
        tell(&format!("FAILED at the end of an operator: {why}"));
    }
    tell(&format!(
        "{} mutations: {rejected} refused with a message, {converged} came to where a new object comes to, {} neither; {:.0} s",
        mutations.len(),
        told.failed,
        begun.elapsed().as_secs_f64()
    ));
    Ok(told)
}
