//! What must never happen, and what must be possible: the promises of the start protocol, told for people.

use stateright::Property;

use crate::model::Farm;
use crate::world::{Doing, Line, Name, World};
use printernizer_crds::{ConditionType, Conditions};
use printernizer_rules::print_job::start::SendAnswer;

macro_rules! promises {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+) => {
        /// A promise that was broken.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Broken { $($(#[doc = $doc])+ $name,)+ }

        impl Broken {
            /// The promise, in words.
            pub fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }

        fn never() -> Vec<Property<Farm>> {
            vec![$(Property::always($text, |_, w: &World| w.truth.broken != Some(Broken::$name)),)+]
        }
    };
}

promises! {
    /// A second physical start of one attempt.
    StartedTwice = "an attempt starts at most once",
    /// A second attempt although the first one printed.
    PrintedAgain = "a job whose print ran is not printed again",
    /// A file started of which not both halves of an intent were ever written.
    NoIntent = "nothing starts without both halves of its intent",
    /// Verdict NotSent, FailedToStart or NotPrinted, and then it ran.
    JudgedUnprintedThenRan = "a start judged not sent or failed never runs",
    /// Verdict NotSent, FailedToStart or NotPrinted, although it had run.
    JudgedUnprintedButRan = "no print that ran is judged not sent or failed",
    /// A start while something lay on the bed.
    OntoPart = "nothing starts while something lies on the bed",
    /// A job or a file came to a printer with a part on it before this process had judged what the printer shows.
    UsedUnseen = "no job and no file is given to a printer with a part on it before its leader has looked",
    /// A start was sent although the last report showed a print.
    SentToBusyDevice = "no start is sent to a busy device, or to another one",
    /// A start was sent although the last report contradicted the mapping.
    SentWithWrongFilament = "no start is sent with filament the last report contradicts",
    /// The operator ended a pause it had not made.
    ResumedAnothersPause = "no pause is ended that was not made here",
    /// A pause, resume or stop reached another print.
    CommandedAnotherPrint = "no other print is paused, resumed or stopped",
    /// A verdict while the device was silent.
    VerdictFromSilence = "silence gives no verdict",
    /// An end was written while the machine printed.
    EndedWhileItRuns = "no print ends in the API while it runs",
    /// A success or failure of a print that never ran.
    EndedWithoutPrint = "nothing ends as printed that never ran",
    /// A start that runs was dropped from the printer's memory.
    StartForgotten = "a start that ran is not forgotten without a verdict",
    /// A terminal condition was changed.
    EndTakenBack = "an end is final",
}

/// All properties: what never happens, how it ends, and that the interesting happens at all.
pub fn properties(farm: &Farm) -> Vec<Property<Farm>> {
    let mut all = never();
    all.push(Property::always(COMES_TO_ITS_END, |farm: &Farm, w: &World| farm.comes_to_its_end(w)));
    all.push(Property::sometimes("a job is printed", |_, w: &World| job(w, ConditionType::Complete)));
    all.push(Property::sometimes("a start is recorded and not yet sent", |_, w: &World| {
        w.operator.sessions.iter().any(|s| s.watch.try_alive && s.intent.is_some())
    }));
    if farm.size.budget.faults > 0 {
        all.push(Property::sometimes("a start is refused", |_, w: &World| {
            answered(w, |a| matches!(a, SendAnswer::Refused(_)))
        }));
        all.push(Property::sometimes("an answer is unclear", |_, w: &World| {
            answered(w, |a| *a == SendAnswer::Unclear)
        }));
        all.push(Property::sometimes("a start acts late", |_, w: &World| {
            w.devices.iter().any(|d| d.on_the_way.is_some())
        }));
        all.push(Property::sometimes("a person is asked", |_, w: &World| job(w, ConditionType::OutcomeUnknown)));
        all.push(Property::sometimes("a printer does not answer", |_, w: &World| {
            w.operator.sessions.iter().any(|s| matches!(s.line, Line::Down { .. }))
        }));
        all.push(Property::sometimes("a job tries again", |_, w: &World| w.jobs.iter().any(|j| j.status.attempt > 1)));
    }
    if farm.size.budget.crashes > 0 {
        all.push(Property::sometimes("a leader ends with an effect on its way", |_, w: &World| !w.flights.is_empty()));
        all.push(Property::sometimes("a leader ends while its print runs", |farm: &Farm, w: &World| {
            w.left.crashes < farm.size.budget.crashes
                && w.operator.sessions.iter().all(|s| s.line == Line::Connecting)
                && w.devices.iter().any(|d| d.doing == Doing::Printing && matches!(d.name, Name::Ours(_)))
        }));
    }
    all
}

/// The promise that needs a look ahead.
pub const COMES_TO_ITS_END: &str = "left alone with a diligent person, every job ends and every printer is free";

fn job(w: &World, condition: ConditionType) -> bool {
    w.jobs.iter().any(|j| j.status.conditions.is_true(condition))
}

fn answered(w: &World, is: impl Fn(&SendAnswer) -> bool) -> bool {
    w.operator.sessions.iter().any(|s| s.watch.answer.as_ref().is_some_and(&is))
}
