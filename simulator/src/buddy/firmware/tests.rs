//! The firmware model as tables: each screen with what it shows and takes, each mishap with how it ends.

use bytes::Bytes;

use super::*;
use crate::{
    Action, AfterPowerCut, Answer, PrintIdentity, QuestionKind, StartCause,
    buddy::usb::UsbFile,
    fault::{Incidents, Mishap},
};

const PRINT_SECONDS: u64 = 1000;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn path(name: &str) -> Vec<String> {
    vec![name.to_owned()]
}

/// A machine with two files of 1000 s on its drive; each of its own steps takes 10 s.
fn machine() -> Firmware {
    let timings = MachineTimings {
        starting_milliseconds: 10_000,
        pausing_milliseconds: 10_000,
        resuming_milliseconds: 10_000,
        aborting_milliseconds: 10_000,
        finishing_milliseconds: 10_000,
        recovering_milliseconds: 10_000,
    };
    let mut machine = Firmware::new(41, false, "PLA", Usb::new(10_000), timings);
    for name in ["a.gcode", "b.gcode"] {
        let text = format!("; estimated printing time (normal mode) = {PRINT_SECONDS}s\n");
        machine.usb.put(&path(name), UsbFile::new(Bytes::from(text), 0), false).unwrap();
    }
    machine
}

fn started(incidents: Incidents) -> Firmware {
    let mut machine = machine();
    machine.start(Duration::ZERO, &path("a.gcode"), StartCause::PrusaLinkPost, incidents).unwrap();
    machine
}

/// Printing since 10 s.
fn printing(mishaps: Vec<(u8, Mishap)>) -> Firmware {
    let mut machine = started(Incidents { questions: Vec::new(), mishaps });
    machine.advance(seconds(10));
    machine
}

fn asked(continues_after: Option<Duration>) -> Firmware {
    let questions = vec![(QuestionKind::NewFirmware, continues_after)];
    let mut machine = started(Incidents { questions, mishaps: Vec::new() });
    machine.advance(seconds(10));
    machine
}

fn act(machine: &mut Firmware, at: u64, action: &Action) {
    machine.advance(seconds(at));
    machine.person(seconds(at), action, Incidents::default(), 0).unwrap();
}

fn answer(machine: &mut Firmware, at: u64, answer: Answer) {
    act(machine, at, &Action::AnswerDialog { answer });
}

/// The machine at second 50, brought to a screen by its name.
fn at_screen(screen: &str) -> Firmware {
    let mut machine = match screen {
        "idle" | "preview of b.gcode" => machine(),
        "starting" => {
            let mut machine = machine();
            machine.start(seconds(45), &path("a.gcode"), StartCause::Screen, Incidents::default()).unwrap();
            machine
        }
        "question NewFirmware" => asked(None),
        "dialog FilamentRunout" => printing(vec![(1, Mishap::Runout)]),
        "printing (stuck)" => printing(vec![(1, Mishap::Stuck { fails_after: None })]),
        "red error screen after a.gcode" => printing(vec![(1, Mishap::RedScreen)]),
        _ => printing(Vec::new()),
    };
    match screen {
        "preview of b.gcode" => {
            machine.store_upload(&path("b.gcode"), UsbFile::new(Bytes::from("G28"), 0), true, true).unwrap();
        }
        "pausing" => act(&mut machine, 45, &Action::Pause),
        "paused" => act(&mut machine, 20, &Action::Pause),
        "resuming" => {
            act(&mut machine, 20, &Action::Pause);
            act(&mut machine, 45, &Action::Resume);
        }
        "aborting" => act(&mut machine, 45, &Action::Stop),
        "stopped" => act(&mut machine, 20, &Action::Stop),
        "off" => act(&mut machine, 20, &Action::CutPower),
        "dialog PowerCut" => act(&mut machine, 20, &Action::Reboot { job: AfterPowerCut::Ask }),
        "recovering" => act(&mut machine, 45, &Action::Reboot { job: AfterPowerCut::Resume }),
        _ => {}
    }
    machine.advance(seconds(50));
    assert_eq!(machine.screen_text(), screen);
    machine
}

#[test]
fn each_screen_shows_its_state_has_a_job_or_not_and_takes_commands_or_not() {
    use LinkState::{Attention, Busy, Idle, Paused, Printing, Stopped};
    let yes = Ok(TookEffect::Yes);
    let nothing = Ok(TookEffect::No);
    let refused = Err(CommandRefusal::WrongState);
    // screen, state, job object, start taken, then stop, pause and resume
    let table = [
        ("idle", Some(Idle), false, true, refused, refused, refused),
        ("preview of b.gcode", Some(Idle), false, true, refused, refused, refused),
        ("starting", Some(Idle), false, false, refused, refused, refused),
        ("question NewFirmware", Some(Attention), true, false, yes, refused, refused),
        ("printing", Some(Printing), true, false, yes, yes, refused),
        ("printing (stuck)", Some(Printing), true, false, yes, yes, refused),
        ("dialog FilamentRunout", Some(Attention), true, false, yes, refused, refused),
        ("pausing", Some(Paused), true, false, nothing, refused, nothing),
        ("paused", Some(Paused), true, false, yes, refused, yes),
        ("resuming", Some(Paused), true, false, nothing, refused, nothing),
        ("aborting", Some(Printing), true, false, nothing, nothing, refused),
        ("stopped", Some(Stopped), false, true, refused, refused, refused),
        ("dialog PowerCut", Some(Attention), true, false, yes, refused, refused),
        ("recovering", Some(Busy), false, false, refused, refused, refused),
        ("off", None, false, false, refused, refused, refused),
        ("red error screen after a.gcode", None, false, false, refused, refused, refused),
    ];
    for (screen, state, has_job, takes_start, stop, pause, resume) in table {
        let now = seconds(50);
        let job = at_screen(screen).last_job_id();
        assert_eq!(at_screen(screen).link_state(), state, "{screen}: state");
        assert_eq!(at_screen(screen).job(now).is_some(), has_job, "{screen}: job");
        assert_eq!(at_screen(screen).check_start(&path("b.gcode")).is_ok(), takes_start, "{screen}: start");
        assert_eq!(at_screen(screen).stop(now, job), stop, "{screen}: stop");
        assert_eq!(at_screen(screen).pause(now, job), pause, "{screen}: pause");
        assert_eq!(at_screen(screen).resume(now, job), resume, "{screen}: resume");
        assert_eq!(at_screen(screen).stop(now, job + 1), Err(CommandRefusal::UnknownJob), "{screen}: other id");
    }
}

#[test]
fn a_whole_print_happens_in_order_even_if_nobody_looks_until_later() {
    let mut machine = started(Incidents::default());
    machine.advance(seconds(100_000));
    assert_eq!(machine.link_state(), Some(LinkState::Finished));
    let (cause, file_name) = (StartCause::PrusaLinkPost, "a.gcode".to_owned());
    let identity = PrintIdentity::PrusaLink { job_id: 42 };
    let events = machine.take_events();
    let Event::PhysicalStart { sha256, .. } = &events[1] else { panic!("{events:?}") };
    let expected = [
        Event::JobAccepted { cause, file_name: file_name.clone(), identity: identity.clone() },
        Event::PhysicalStart {
            cause,
            file_name: file_name.clone(),
            sha256: sha256.clone(),
            identity: identity.clone(),
            filaments: Vec::new(),
            bed_occupied: false,
        },
        Event::PhysicalEnd { outcome: Outcome::Finished, file_name, identity, progress_percent: 100 },
    ];
    assert_eq!(events, expected);
    assert!(machine.bed_occupied());
}

#[test]
fn progress_and_times_count_printing_only() {
    let mut machine = printing(Vec::new());
    act(&mut machine, 110, &Action::Pause);
    act(&mut machine, 500, &Action::Resume);
    machine.advance(seconds(830));
    let job = machine.job(seconds(830)).unwrap();
    // 100 s before the pause, and 320 s since 510.
    assert_eq!((job.progress_percent, job.time_printing_seconds, job.time_remaining_seconds), (42, 420, Some(580)));
    machine.set_conditions(Conditions { stale_time_printing: Some(seconds(3537)), ..Conditions::default() });
    assert_eq!(machine.job(seconds(830)).unwrap().time_printing_seconds, 3537);
}

#[test]
fn a_question_that_continues_by_itself_starts_the_print_then_and_not_before() {
    let mut machine = asked(Some(seconds(30)));
    let is_start = |event: &Event| matches!(event, Event::PhysicalStart { .. });
    machine.advance(seconds(39));
    assert_eq!(machine.link_state(), Some(LinkState::Attention));
    assert!(!machine.take_events().iter().any(is_start));
    machine.advance(seconds(40));
    assert_eq!(machine.link_state(), Some(LinkState::Printing));
    assert!(machine.take_events().iter().any(is_start));
}

#[test]
fn a_question_given_up_goes_to_idle_and_keeps_the_id_used() {
    for by_command in [false, true] {
        let mut machine = asked(None);
        if by_command {
            machine.stop(seconds(20), 42).unwrap();
        } else {
            answer(&mut machine, 20, Answer::Abort);
        }
        assert_eq!(machine.link_state(), Some(LinkState::Idle));
        assert!(machine.knows_job(42) && !machine.bed_occupied());
        let events = machine.take_events();
        let identity = PrintIdentity::PrusaLink { job_id: 42 };
        assert_eq!(events.last(), Some(&Event::JobAbandoned { file_name: "a.gcode".to_owned(), identity }));
        assert!(!events.iter().any(|event| matches!(event, Event::PhysicalStart { .. })));
    }
}

#[test]
fn each_mishap_stops_the_print_where_it_happens() {
    let stuck = |fails_after| Mishap::Stuck { fails_after };
    // mishap, state shown while it lasts, what ends it, state and outcome then
    let table = [
        (Mishap::Runout, Some(LinkState::Attention), Some(Answer::Continue), LinkState::Finished, Outcome::Finished),
        (Mishap::Door, Some(LinkState::Attention), Some(Answer::Abort), LinkState::Stopped, Outcome::Stopped),
        (stuck(Some(seconds(600))), Some(LinkState::Printing), None, LinkState::Stopped, Outcome::Failed),
    ];
    for (mishap, state, end, state_then, outcome_then) in table {
        let mut machine = printing(vec![(25, mishap)]);
        machine.advance(seconds(500));
        assert_eq!(machine.link_state(), state, "{mishap:?}");
        assert_eq!(machine.job(seconds(500)).unwrap().progress_percent, 25, "{mishap:?}");
        if let Some(end) = end {
            answer(&mut machine, 500, end);
        }
        machine.advance(seconds(100_000));
        assert_eq!(machine.link_state(), Some(state_then), "{mishap:?}");
        let last = machine.take_events().pop();
        assert!(matches!(last, Some(Event::PhysicalEnd { outcome, .. }) if outcome == outcome_then), "{mishap:?}");
    }
}

#[test]
fn a_red_screen_answers_nothing_until_a_reboot_and_the_id_stays() {
    let mut machine = printing(vec![(25, Mishap::RedScreen)]);
    machine.advance(seconds(500));
    assert_eq!(machine.link_state(), None);
    act(&mut machine, 500, &Action::Reboot { job: AfterPowerCut::Ask });
    assert_eq!(machine.link_state(), Some(LinkState::Idle));
    assert!(machine.knows_job(42) && machine.job(seconds(500)).is_none());
}

#[test]
fn a_power_cut_before_the_first_movement_uses_the_id_and_prints_nothing() {
    for screen in ["starting", "question NewFirmware"] {
        let mut machine = at_screen(screen);
        act(&mut machine, 50, &Action::Reboot { job: AfterPowerCut::Resume });
        machine.advance(seconds(100_000));
        assert_eq!(machine.link_state(), Some(LinkState::Idle), "{screen}");
        assert_eq!(machine.last_job_id(), 42, "{screen}");
        assert!(!machine.take_events().iter().any(|event| matches!(event, Event::PhysicalStart { .. })), "{screen}");
    }
}

#[test]
fn a_print_cut_off_goes_on_with_its_id_and_progress_or_is_lost() {
    for job in [AfterPowerCut::Ask, AfterPowerCut::Resume, AfterPowerCut::Lose] {
        let mut machine = printing(Vec::new());
        act(&mut machine, 510, &Action::CutPower);
        act(&mut machine, 5000, &Action::RestorePower { job });
        if job == AfterPowerCut::Ask {
            assert_eq!(machine.link_state(), Some(LinkState::Attention));
            answer(&mut machine, 5000, Answer::Continue);
        }
        machine.advance(seconds(5010));
        let shown = machine.job(seconds(5010)).map(|job| (job.id, job.progress_percent));
        machine.advance(seconds(100_000));
        let events = machine.take_events();
        let starts = events.iter().filter(|event| matches!(event, Event::PhysicalStart { .. })).count();
        let Some(Event::PhysicalEnd { outcome, .. }) = events.last() else { panic!("{events:?}") };
        let expected = match job {
            AfterPowerCut::Lose => (None, Outcome::LostPower),
            _ => (Some((42, 50)), Outcome::Finished),
        };
        assert_eq!((shown, *outcome, starts), (expected.0, expected.1, 1), "{job:?}");
    }
}

#[test]
fn the_usb_drive_can_be_pulled_while_printing() {
    let mut machine = printing(Vec::new());
    act(&mut machine, 100, &Action::RemoveUsb);
    assert_eq!(machine.link_state(), Some(LinkState::Attention));
    let go_on = Action::AnswerDialog { answer: Answer::Continue };
    assert!(machine.person(seconds(100), &go_on, Incidents::default(), 0).is_err());
    act(&mut machine, 100, &Action::InsertUsb);
    act(&mut machine, 100, &go_on);
    machine.advance(seconds(100_000));
    assert_eq!(machine.link_state(), Some(LinkState::Finished));
}

#[test]
fn a_busy_machine_shows_busy_only_while_it_does_not_print() {
    let busy = Conditions { busy: true, ..Conditions::default() };
    let mut idle = machine();
    idle.set_conditions(busy);
    assert_eq!(idle.link_state(), Some(LinkState::Busy));
    assert_eq!(idle.check_start(&path("a.gcode")).unwrap_err(), StartRefusal::NotReady);
    let mut working = printing(Vec::new());
    working.set_conditions(busy);
    assert_eq!(working.link_state(), Some(LinkState::Printing));
}

#[test]
fn the_bed_is_cleared_by_a_person_only_and_not_under_a_running_print() {
    let mut machine = printing(Vec::new());
    assert!(machine.person(seconds(20), &Action::TakePartOff, Incidents::default(), 0).is_err());
    machine.advance(seconds(100_000));
    act(&mut machine, 100_000, &Action::LeaveEndScreen);
    assert!(machine.bed_occupied());
    act(&mut machine, 100_000, &Action::TakePartOff);
    assert!(!machine.bed_occupied());
}
