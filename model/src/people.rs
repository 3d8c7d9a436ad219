//! What people do at the API: they clear beds, answer what is asked by what they see, and look at printers that are not
//! trusted.

use printernizer_crds::print_job::Answer;

use crate::world::{Doing, Name, No, World};
use crate::{api, ids, operator};

/// Whether there is something to clear, and the machine lets it be done.
pub fn may_clear(w: &World, at: No) -> bool {
    let printer = &w.printers[usize::from(at)];
    let wanted = occupancy(w, at);
    let asked = wanted != 0 && wanted != printer.cleared_for;
    asked && !w.is_active(at) && w.devices[usize::from(at)].on_the_way.is_none()
}

fn occupancy(w: &World, at: No) -> ids::Id {
    let bed = w.printers[usize::from(at)].status.bed.as_ref();
    ids::read(bed.and_then(|b| b.occupancy_id.as_deref()))
}

/// Takes what lies there, and writes the id that is asked for.
pub fn clear_bed(w: &mut World, at: No) {
    let id = occupancy(w, at);
    w.truth.parts[usize::from(at)] = false;
    w.printers[usize::from(at)].cleared_for = id;
    api::printer_changed(w, at);
}

/// What a person who looks would answer to the open question, if there is one and it is not answered. Nobody answers
/// while the machine prints it.
pub fn answer(w: &World, no: No) -> Option<Answer> {
    let job = &w.jobs[usize::from(no)];
    let id = ids::read(job.status.question.as_ref().map(|q| q.id.as_str()));
    if id == 0 || job.answer.is_some_and(|(given, _)| given == id) {
        return None;
    }
    let attempt = operator::attempt_of(no, job);
    let shown = |d: &crate::world::Device| {
        d.name == Name::Ours(attempt) && matches!(d.doing, Doing::Asking | Doing::Printing | Doing::Paused { .. })
    };
    if w.devices.iter().any(shown) {
        return None;
    }
    Some(match (w.truth.started.has(attempt), w.truth.good.has(attempt)) {
        (false, _) => Answer::NotPrinted,
        (true, true) => Answer::Succeeded,
        (true, false) => Answer::Failed,
    })
}

/// Writes the answer to the question that is open.
pub fn answers(w: &mut World, no: No, answer: Answer) {
    let job = &mut w.jobs[usize::from(no)];
    let id = ids::read(job.status.question.as_ref().map(|q| q.id.as_str()));
    job.answer = Some((id, answer));
    api::job_changed(w, no);
}

/// Has looked at the printer.
pub fn acknowledges(w: &mut World, at: No) {
    let printer = &mut w.printers[usize::from(at)];
    printer.acknowledged = ids::read(printer.status.distrust.as_ref().map(|d| d.id.as_str()));
    api::printer_changed(w, at);
}
