//! The firmware model as tables: what each phase shows and takes, and what becomes of a whole print.

mod power;
mod starts;

use bytes::Bytes;

use super::{print::StartFaults, *};
use crate::{
    Action, AfterPowerCut, Answer, BambuIdentity, BambuTimings, SlicedFile, StartCause,
    bambu::{card::CardFile, config::BambuConfig},
    fault::Incidents,
};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// An A1 whose own steps take 10 s each, with files of 1000 s on its card.
fn machine() -> Firmware {
    let timings = BambuTimings {
        accepting_milliseconds: 10_000,
        preparing_milliseconds: 10_000,
        pausing_milliseconds: 10_000,
        stopping_milliseconds: 10_000,
        finishing_milliseconds: 10_000,
        recovering_milliseconds: 10_000,
    };
    let config = BambuConfig { timings, ..BambuConfig::default() };
    let mut machine = Firmware::new(config, "A1", "0.4".to_owned(), false, Card::new(1_000_000));
    let sliced = SlicedFile::lasting(1000).plate(&[(1, "PLA")]).plate(&[(1, "PLA"), (3, "PETG")]);
    for (name, content) in [
        ("/a.gcode.3mf", sliced.build()),
        ("/b.gcode.3mf", sliced.build()),
        ("/mini.gcode.3mf", sliced.clone().sliced_for("N1", "0.4").build()),
        ("/wide.gcode.3mf", sliced.sliced_for("N2S", "0.8").build()),
        ("/text.gcode.3mf", b"G28\n".to_vec()),
    ] {
        machine.card.put(name, CardFile::new(Bytes::from(content)));
    }
    machine
}

fn request(name: &str) -> StartRequest {
    StartRequest {
        cause: StartCause::ProjectFile,
        identity: BambuIdentity {
            plate: 1,
            task_id: "11".to_owned(),
            subtask_id: "12".to_owned(),
            project_id: "13".to_owned(),
            subtask_name: name.to_owned(),
        },
        plate_path: "Metadata/plate_1.gcode".to_owned(),
        path: Some(format!("/{name}.gcode.3mf")),
        md5: String::new(),
        use_ams: true,
        mapping: vec![0, -1, 2],
    }
}

fn start(machine: &mut Firmware, at: u64, request: StartRequest) -> StartAnswer {
    machine.advance(seconds(at));
    machine.start(seconds(at), request, &StartFaults::default(), Incidents::default())
}

fn act(machine: &mut Firmware, at: u64, action: &Action) {
    machine.advance(seconds(at));
    machine.person(seconds(at), action, Incidents::default()).unwrap();
}

/// Printing since 20 s.
fn printing(mishaps: Vec<(u8, Mishap)>) -> Firmware {
    let mut machine = machine();
    let incidents = Incidents { questions: Vec::new(), mishaps };
    machine.start(Duration::ZERO, request("a"), &StartFaults::default(), incidents);
    machine.advance(seconds(20));
    machine
}

fn starts(machine: &mut Firmware) -> Vec<(String, bool)> {
    let events = machine.take_events().into_iter();
    events
        .filter_map(|event| match event {
            Event::PhysicalStart { file_name, bed_occupied, .. } => Some((file_name, bed_occupied)),
            _ => None,
        })
        .collect()
}

/// The machine at second 50, brought to a phase by what the screen says.
fn at_phase(screen: &str) -> Firmware {
    let mut machine = match screen {
        "idle" => machine(),
        "preparing a" => {
            let mut machine = machine();
            start(&mut machine, 35, request("a"));
            machine
        }
        "printing (stuck) a" => printing(vec![(1, Mishap::Stuck { fails_after: None })]),
        "paused (filament) a" => printing(vec![(1, Mishap::Runout)]),
        "failed a" => printing(vec![(1, Mishap::Fails(PrintErrorCode(0x0300_800b)))]),
        _ => printing(Vec::new()),
    };
    match screen {
        "pausing a" => act(&mut machine, 45, &Action::Pause),
        "paused a" => act(&mut machine, 30, &Action::Pause),
        "resuming a" => {
            act(&mut machine, 30, &Action::Pause);
            act(&mut machine, 45, &Action::Resume);
        }
        "stopping a" => act(&mut machine, 45, &Action::Stop),
        "off" => act(&mut machine, 45, &Action::CutPower),
        "asking whether to go on with a" => act(&mut machine, 45, &Action::Reboot { job: AfterPowerCut::Ask }),
        "recovering a" => act(&mut machine, 45, &Action::Reboot { job: AfterPowerCut::Resume }),
        _ => {}
    }
    machine.advance(seconds(50));
    assert_eq!(machine.phase().describe().replace(".gcode.3mf", ""), screen);
    machine
}

#[test]
fn each_phase_shows_its_state_and_error_and_takes_commands_or_not() {
    // phase, gcode_state, print_error, then whether pause, resume and stop do something, and a start begins
    let table = [
        ("idle", Some("IDLE"), 0, false, false, false, true),
        ("preparing a", Some("PREPARE"), 0, true, false, true, false),
        ("printing a", Some("RUNNING"), 0, true, false, true, false),
        ("printing (stuck) a", Some("RUNNING"), 0, true, false, true, false),
        ("pausing a", Some("RUNNING"), 0, false, false, true, false),
        ("paused a", Some("PAUSE"), 0, false, true, true, false),
        ("paused (filament) a", Some("PAUSE"), 0x0300_8004, false, true, true, false),
        ("resuming a", Some("PAUSE"), 0, false, false, true, false),
        ("stopping a", Some("RUNNING"), 0x0300_400c, false, false, false, false),
        ("failed a", Some("FAILED"), 0, false, false, false, true),
        ("asking whether to go on with a", Some("IDLE"), 0x0300_8007, false, false, false, true),
        ("recovering a", Some("RUNNING"), 0, false, false, true, false),
        ("off", None, 0, false, false, false, false),
    ];
    let now = seconds(50);
    for (phase, state, error, pause, resume, stop, begins) in table {
        assert_eq!(at_phase(phase).phase().gcode_state(), state, "{phase}: state");
        assert_eq!(at_phase(phase).print_error(), error, "{phase}: error {:x}", at_phase(phase).print_error());
        assert_eq!(at_phase(phase).pause(now), pause, "{phase}: pause");
        assert_eq!(at_phase(phase).resume(now), resume, "{phase}: resume");
        assert_eq!(at_phase(phase).stop(now), stop, "{phase}: stop");
        let mut machine = at_phase(phase);
        if machine.is_powered() {
            starts(&mut machine);
            start(&mut machine, 50, request("b"));
            machine.advance(seconds(60));
            let begun = starts(&mut machine).iter().any(|(name, _)| name == "b.gcode.3mf");
            assert_eq!(begun, begins, "{phase}: start");
        }
    }
}

#[test]
fn an_act_the_screen_does_not_offer_is_refused() {
    for (phase, action) in [
        ("idle", Action::Pause),
        ("idle", Action::Stop),
        ("idle", Action::LeaveEndScreen),
        ("idle", Action::RunOutOfFilament),
        ("idle", Action::AnswerDialog { answer: Answer::Continue }),
        ("idle", Action::PrintFile { file_name: "c.gcode.3mf".to_owned() }),
        ("idle", Action::PressPrint),
        ("idle", Action::RestorePower { job: AfterPowerCut::Ask }),
        ("printing a", Action::TakePartOff),
        ("printing a", Action::PrintFile { file_name: "b.gcode.3mf".to_owned() }),
        ("printing a", Action::UpdateFirmware { version: String::new(), seconds: 1 }),
        ("printing a", Action::ChangeFilament { seconds: 1 }),
        ("asking whether to go on with a", Action::LeaveEndScreen),
        ("off", Action::CutPower),
        ("off", Action::Pause),
    ] {
        let mut machine = at_phase(phase);
        assert!(machine.person(seconds(50), &action, Incidents::default()).is_err(), "{phase}: {action:?}");
    }
}

#[test]
fn a_whole_print_happens_in_order_even_if_nobody_looks_until_later() {
    let mut machine = machine();
    machine.start(Duration::ZERO, request("a"), &StartFaults::default(), Incidents::default());
    machine.advance(seconds(100_000));
    let names: Vec<_> = machine
        .take_events()
        .iter()
        .map(|event| match event {
            Event::JobAccepted { .. } => "accepted",
            Event::PhysicalStart { .. } => "start",
            Event::PhysicalEnd { outcome: Outcome::Finished, progress_percent: 100, .. } => "end",
            _ => "other",
        })
        .collect();
    assert_eq!(names, ["accepted", "start", "end"]);
    assert_eq!(machine.phase().gcode_state(), Some("FINISH"));
}
