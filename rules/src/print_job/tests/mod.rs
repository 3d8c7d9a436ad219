//! Tests of a job's life: the table row by row, the gate clause by clause, and the rest of the start protocol.

mod accidents;
mod asked;
mod before_the_start;
mod claims;
mod copies_and_letting_go;
mod ends;
mod files;
mod gate;
mod last_words;
mod pause_and_stop;
mod phases;
mod questions;
mod relations;
mod table;
mod traces;
mod verdicts;
mod words;

use crate::plan::DeviceCommand;
use crate::testing::Scene;

/// Runs both rules until nothing is written, deleting what is asked to be deleted.
pub(super) fn settle(s: &mut Scene) {
    for _ in 0..12 {
        let (job, printer, deleted) = (s.job.clone(), s.printer.clone(), s.file_deleted);
        let commands = [s.run_job(), s.run_printer()].concat();
        s.file_deleted |= commands.iter().any(|c| matches!(c, DeviceCommand::DeleteFile { .. }));
        if s.job == job && s.printer == printer && s.file_deleted == deleted {
            return;
        }
    }
    panic!("the rules do not come to rest");
}
