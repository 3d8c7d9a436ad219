//! What must hold of every plan, whatever was observed: a farm is walked through random events, likely and unlikely, and
//! each plan on the way is judged. The letters are those under which the start protocol's promises are tested.

mod promises;

use proptest::prelude::*;
use proptest::sample::select;

use printernizer_crds::Reason;
use printernizer_crds::print_job::{Answer, DeletionPolicy, DesiredState};
use printernizer_crds::printer::BedClearing;

use crate::device::{DeviceState, Link};
use crate::print_job::gate::{self, Closed};
use crate::print_job::start::SendAnswer;
use crate::print_job::{UploadView, Watch};
use crate::testing::{SENDER, Scene, identity, seconds};

/// Something that happens to the farm.
#[derive(Clone, Debug)]
enum Event {
    JobDecides,
    PrinterDecides,
    /// A crash after the first effect of a plan.
    JobDecidesHalf,
    Shows(DeviceState, Identity, bool),
    Silent(u64),
    Connecting,
    Answers,
    Age(u64),
    Pass(u64),
    WindowOver,
    SeenActive,
    SeenPreview(u64),
    /// After its question the device has been idle for so long.
    StaysIdle(u64),
    /// The error it shows has stood for so long.
    ErrorStands(u64),
    Sent(SendAnswer, bool, u64),
    TryAlive(bool),
    NewProcess,
    Uploads(UploadView),
    /// The file is at hand, or not.
    Files(FileOf),
    Closes(Option<Closed>, u64),
    FileDeleted(bool),
    RefusesDeletion(u64),
    PauseSent,
    Claim,
    /// The gate is asked and, if it is open, so many writes of the start are done.
    Tries(usize),
    Wants(DesiredState),
    DeletesJob(DeletionPolicy),
    DeletesPrinter,
    Person(Answer),
    ClearsBed,
    Acknowledges,
    Ejecting,
    Mapping(bool),
    HoldStarts(bool),
    JobGone,
    PrinterGone(bool),
    ShownOn(bool),
    Unschedulable,
}

/// How far a job's file is.
#[derive(Clone, Copy, Debug)]
enum FileOf {
    Read,
    Unknown,
    Fetching(u64),
    Refused,
}

/// What a device shows.
#[derive(Clone, Copy, Debug)]
enum Identity {
    Older,
    Ours,
    OursUnnamed,
    OurFileAlone,
    OlderWithOurFile,
    NextAttempt,
    Foreign,
    AnotherOperator,
    Erased,
}

fn any_event() -> impl Strategy<Value = Event> {
    use Event::*;
    let state = select(vec![
        DeviceState::Idle,
        DeviceState::Preparing,
        DeviceState::Printing,
        DeviceState::Paused,
        DeviceState::Attention,
        DeviceState::Finished,
        DeviceState::Stopped,
        DeviceState::Failed,
        DeviceState::Busy,
        DeviceState::Unknown,
    ]);
    let shown = select(vec![
        Identity::Older,
        Identity::Ours,
        Identity::Ours,
        Identity::Ours,
        Identity::OursUnnamed,
        Identity::OurFileAlone,
        Identity::OlderWithOurFile,
        Identity::NextAttempt,
        Identity::Foreign,
        Identity::AnotherOperator,
        Identity::Erased,
    ]);
    let sent = select(vec![
        SendAnswer::Accepted,
        SendAnswer::Unclear,
        SendAnswer::Refused("no".into()),
        SendAnswer::NotSent("no".into()),
    ]);
    let upload = select(vec![
        UploadView::Idle,
        UploadView::Running { percent: 50 },
        UploadView::Done,
        UploadView::Failed { message: "cut".into() },
    ]);
    let file = select(vec![
        FileOf::Read,
        FileOf::Read,
        FileOf::Unknown,
        FileOf::Fetching(59),
        FileOf::Fetching(60),
        FileOf::Refused,
    ]);
    let closed = select(vec![
        None,
        Some(Closed::Changed("changed")),
        Some(Closed::NotNow("busy".into())),
        Some(Closed::Held),
        Some(Closed::GiveBack("the bed is not clear".into())),
    ]);
    prop_oneof![
        12 => Just(JobDecides),
        8 => Just(PrinterDecides),
        2 => Just(JobDecidesHalf),
        8 => (state, shown, prop::bool::weighted(0.1)).prop_map(|(s, i, e)| Shows(s, i, e)),
        1 => select(vec![5u64, 60, 600, 900, 3600]).prop_map(Silent),
        1 => Just(Connecting),
        3 => Just(Answers),
        1 => select(vec![0u64, 4, 6, 9, 11, 60]).prop_map(Age),
        2 => select(vec![1u64, 11, 60, 300, 899, 3600, 3_000_000]).prop_map(Pass),
        2 => Just(WindowOver),
        1 => Just(SeenActive),
        1 => select(vec![0u64, 44, 45]).prop_map(SeenPreview),
        1 => select(vec![0u64, 3, 4]).prop_map(StaysIdle),
        1 => select(vec![0u64, 29, 30]).prop_map(ErrorStands),
        2 => (sent, any::<bool>(), select(vec![0u64, 29, 30])).prop_map(|(a, u, q)| Sent(a, u, q)),
        1 => any::<bool>().prop_map(TryAlive),
        1 => Just(NewProcess),
        4 => upload.prop_map(Uploads),
        2 => file.prop_map(Files),
        1 => (closed, select(vec![0u64, 899, 900])).prop_map(|(c, n)| Closes(c, n)),
        2 => any::<bool>().prop_map(FileDeleted),
        1 => select(vec![29u64, 30, 600, 900]).prop_map(RefusesDeletion),
        1 => Just(PauseSent),
        4 => Just(Claim),
        4 => (0..3usize).prop_map(Tries),
        2 => select(vec![DesiredState::Run, DesiredState::Pause, DesiredState::Cancel]).prop_map(Wants),
        1 => select(vec![DeletionPolicy::Cancel, DeletionPolicy::LetFinish]).prop_map(DeletesJob),
        1 => Just(DeletesPrinter),
        3 => select(vec![Answer::Succeeded, Answer::Failed, Answer::NotPrinted]).prop_map(Person),
        3 => Just(ClearsBed),
        1 => Just(Acknowledges),
        1 => Just(Ejecting),
        1 => any::<bool>().prop_map(Mapping),
        1 => any::<bool>().prop_map(HoldStarts),
        1 => Just(JobGone),
        1 => any::<bool>().prop_map(PrinterGone),
        1 => any::<bool>().prop_map(ShownOn),
        1 => Just(Unschedulable),
    ]
}

fn any_stage() -> impl Strategy<Value = Scene> {
    let stages: [fn() -> Scene; 7] =
        [Scene::bare, Scene::waiting, Scene::claimed, Scene::uploaded, Scene::intended, Scene::printing, Scene::asked];
    select(stages.to_vec()).prop_map(|stage| stage())
}

fn show(s: &mut Scene, state: DeviceState, shown: Identity, error: bool) {
    let ours = s.remote_name();
    s.shows(state);
    s.report.error = error.then(|| "0500_4003".into());
    s.report.identity = match shown {
        Identity::Older | Identity::OlderWithOurFile => identity("7", "older.gcode"),
        Identity::Ours | Identity::OursUnnamed => identity("8", &ours),
        Identity::NextAttempt => identity("10", &ours.replace(".bgcode", "7.bgcode")),
        Identity::Foreign => identity("9", "vase.gcode"),
        Identity::AnotherOperator => identity("9", "vase-pz-00112233445566aa-1.bgcode"),
        Identity::OurFileAlone | Identity::Erased => printernizer_crds::common::DeviceIdentity::default(),
    };
    match shown {
        Identity::OursUnnamed => s.report.identity.name = None,
        Identity::OurFileAlone | Identity::OlderWithOurFile => s.report.identity.file = Some(ours),
        _ => {}
    }
}

fn happen(s: &mut Scene, event: &Event) {
    match event.clone() {
        Event::JobDecides if !s.job_gone => {
            let plan = promises::job_decides(s);
            s.apply(&plan);
        }
        Event::JobDecidesHalf if !s.job_gone => {
            let plan = promises::job_decides(s);
            s.fresh += 1;
            plan.effects.iter().take(1).for_each(|e| s.apply_one(e));
        }
        Event::JobDecides | Event::JobDecidesHalf => {}
        Event::PrinterDecides => {
            let plan = promises::printer_decides(s);
            s.apply(&plan);
            s.watched = s.watched || matches!(s.link(), Link::Live { .. });
        }
        Event::Shows(state, shown, error) => show(s, state, shown, error),
        Event::Silent(n) => s.silent_for(n),
        Event::Connecting => s.link = Some(Link::Connecting),
        Event::Answers => (s.link, s.age) = (None, seconds(1)),
        Event::Age(n) => s.age = seconds(n),
        Event::Pass(n) => {
            s.pass(n);
            s.unjudged_for = if s.watched { seconds(0) } else { s.unjudged_for + seconds(n) };
        }
        Event::WindowOver => {
            s.watch.live = s.timing.observation_window;
            s.last_start_live = s.timing.observation_window;
        }
        Event::SeenActive => s.watch.seen_active = true,
        Event::SeenPreview(n) => (s.watch.seen_preview, s.watch.preview_for) = (true, seconds(n)),
        Event::StaysIdle(n) => s.watch.idle_for = Some(seconds(n)),
        Event::ErrorStands(n) => s.watch.standing_error = Some(("0500_4003".into(), seconds(n))),
        Event::Sent(answer, unbroken, quiet) => {
            (s.watch.answer, s.watch.unbroken, s.watch.quiet) = (Some(answer), unbroken, seconds(quiet));
        }
        Event::TryAlive(alive) => s.watch.try_alive = alive,
        Event::NewProcess => {
            (s.watch, s.upload, s.closed, s.undeleted) = (Watch::default(), UploadView::Idle, None, None);
            (s.file_deleted, s.watched, s.pause_sent) = (false, false, false);
            s.unjudged_for = seconds(0);
            s.deleted.clear();
        }
        Event::Uploads(upload) => s.upload = upload,
        Event::Files(file) => {
            (s.file, s.fetching, s.file_refused) = match file {
                FileOf::Read => (Scene::bare().file, None, None),
                FileOf::Unknown => (None, None, None),
                FileOf::Fetching(n) => (None, Some(seconds(n)), None),
                FileOf::Refused => (None, None, Some(Reason::SourceUnreachable)),
            };
        }
        Event::Closes(closed, n) => (s.closed, s.closed_for) = (closed, seconds(n)),
        Event::FileDeleted(gone) => {
            s.file_deleted = gone;
            let (started, left) = (s.printer_status().last_start, s.printer_status().left_files);
            let names = started.map(|l| l.remote_name).into_iter().chain(left.into_iter().map(|f| f.remote_name));
            s.deleted = if gone { names.collect() } else { Vec::new() };
        }
        Event::RefusesDeletion(n) => s.refuses_deletion(n),
        Event::PauseSent => s.pause_sent = true,
        Event::Claim => {
            let status = s.job_status();
            let free = s.printer_status().current_job.is_none() && s.printer.status.is_some();
            if free && status.printer.is_none() && crate::scheduling::is_waiting_for_a_printer(&s.job) && !s.job_gone {
                s.claim();
            }
        }
        Event::Tries(writes) => {
            if promises::gate_is_asked(s)
                && writes > 0
                && let Some(job) = gate::job_half(&s.gate_view(None), SENDER, None)
            {
                s.job.status = Some(job);
                if writes > 1 {
                    s.printer.status = gate::printer_half(&s.job, &s.printer);
                }
            }
        }
        Event::Wants(desired) => {
            if s.job.spec.desired_state != DesiredState::Cancel {
                s.job.spec.desired_state = desired;
            }
        }
        Event::DeletesJob(policy) => {
            s.job.spec.deletion_policy = policy;
            s.delete_job();
        }
        Event::DeletesPrinter => s.delete_printer(),
        Event::Person(answer) => {
            if s.job_status().question.is_some() {
                s.answer(answer);
            }
        }
        Event::ClearsBed => s.clear_bed(),
        Event::Acknowledges => s.printer.spec.acknowledged = s.printer_status().distrust.map(|d| d.id),
        Event::Ejecting => s.printer.spec.bed.clearing = BedClearing::Automatic,
        Event::Mapping(fits) => {
            let fitting = Scene::bare().mapping;
            s.mapping = if fits { fitting } else { Err("no PLA is loaded".into()) };
        }
        Event::HoldStarts(hold) => s.hold_starts = hold,
        Event::JobGone => {
            s.job_gone = s.job.metadata.deletion_timestamp.is_some() && s.job.metadata.finalizers.is_none();
        }
        Event::PrinterGone(gone) => s.printer_gone = gone,
        Event::ShownOn(shown) => s.shown_on = shown,
        Event::Unschedulable => s.printer.spec.unschedulable = true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_plan_on_any_walk_keeps_the_promises(stage in any_stage(), events in prop::collection::vec(any_event(), 1..30)) {
        let mut s = stage;
        for event in &events {
            happen(&mut s, event);
        }
        promises::comes_to_rest(&s);
    }
}
