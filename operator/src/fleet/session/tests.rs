//! Tests of what a session remembers: of the gate, of deletions, and of what it has shown to the rules.

use super::*;
use printernizer_rules::device::{Blocker, DeviceState, LinkFault};

#[test]
fn only_a_report_that_was_looked_at_counts_as_watched() {
    let (session, _commands) = new(Key::new("farm", "prusa-1"), &Timing::default(), CancellationToken::new());
    let report = || session.with(|s| s.reported(DeviceReport::default(), Instant::now(), Duration::from_secs(30)));
    // A pass that saw no report yet ends after the first one has come.
    let seen = session.seen();
    report();
    session.was_judged(&seen);
    assert!(!session.seen().watched);
    let seen = session.seen();
    assert!(session.was_judged(&seen), "those who wait for it hear of it");
    assert!(session.seen().watched);
    assert!(!session.was_judged(&seen), "once");
    // A pass that saw a report of the connection before says nothing about the first one of the next.
    let seen = session.seen();
    session.connection_lost(&DeviceFault { cause: LinkFault::Unreachable, message: "gone".into() });
    report();
    session.was_judged(&seen);
    assert!(!session.seen().watched);
}

#[test]
fn a_printer_counts_as_judged_that_was_read_after_a_report_of_this_connection_was_judged() {
    let (session, _commands) = new(Key::new("farm", "prusa-1"), &Timing::default(), CancellationToken::new());
    let report = || session.with(|s| s.reported(DeviceReport::default(), Instant::now(), Duration::from_secs(30)));
    report();
    let before = session.judged();
    session.was_judged(&session.seen());
    assert!(!session.seen().is_judged_since(before), "it was read before that was stored");
    let before = session.judged();
    assert!(session.seen().is_judged_since(before));
    session.connection_lost(&DeviceFault { cause: LinkFault::Unreachable, message: "gone".into() });
    report();
    assert!(!session.seen().is_judged_since(before));
    session.was_judged(&session.seen());
    assert!(!session.seen().is_judged_since(before), "it is another connection");
}

#[tokio::test(start_paused = true)]
async fn a_connection_made_anew_at_once_was_watched_and_one_after_a_gap_was_not() {
    let (session, _commands) = new(Key::new("farm", "bambu-1"), &Timing::default(), CancellationToken::new());
    let report = || session.with(|s| s.reported(DeviceReport::default(), Instant::now(), Duration::from_secs(30)));
    report();
    session.was_judged(&session.seen());
    session.connection_broken();
    assert!(matches!(session.seen().link, Link::Live { .. }), "nobody hears of it yet");
    tokio::time::advance(Duration::from_secs(5)).await;
    report();
    assert!(session.seen().watched, "nothing can be printed and forgotten in five seconds");
    let before = session.seen();
    session.connection_broken();
    tokio::time::advance(Duration::from_secs(31)).await;
    report();
    assert!(!session.seen().watched);
    session.was_judged(&before);
    assert!(!session.seen().watched, "what was judged is from before the gap");
}

#[test]
fn without_a_connection_no_command_is_taken_although_the_last_report_is_young() {
    let (session, mut commands) = new(Key::new("farm", "bambu-1"), &Timing::default(), CancellationToken::new());
    let attempt = Attempt { job: Key::new("farm", "clip"), job_uid: "1".into(), token: Token::new("1", 1) };
    session.attach(&attempt, true, None);
    let mut pause = || {
        let (what, attempt) = (DeviceCommand::Pause, attempt.clone());
        session.command(Command { what, attempt, device_job_id: Some("7".into()), file: None });
        commands.try_recv().is_ok()
    };
    session.with(|s| s.reported(DeviceReport::default(), Instant::now(), Duration::from_secs(30)));
    session.connection_broken();
    assert!(!pause(), "by the time there is one, it may not be wanted any more");
    session.with(|s| s.reported(DeviceReport::default(), Instant::now(), Duration::from_secs(30)));
    assert!(pause());
}

#[tokio::test(start_paused = true)]
async fn the_gate_is_closed_since_the_first_try_in_vain_of_an_attempt_and_never_by_what_closes_all() {
    let (session, _commands) = new(Key::new("farm", "prusa-1"), &Timing::default(), CancellationToken::new());
    let attempt = |n| Attempt { job: Key::new("farm", "clip"), job_uid: "1".into(), token: Token::new("1", n) };
    let closed_for = |closed| {
        session.with(|s| s.try_ended(closed));
        session.seen().closed_for
    };
    let wait = || tokio::time::advance(Duration::from_secs(60));
    session.attach(&attempt(1), false, None);
    assert_eq!(closed_for(Some(Closed::NotNow("busy".into()))), Duration::ZERO);
    wait().await;
    assert_eq!(closed_for(Some(Closed::Changed("changed"))), Duration::from_secs(60), "whatever the reason");
    assert_eq!(closed_for(Some(Closed::Held)), Duration::ZERO);
    wait().await;
    assert_eq!(closed_for(Some(Closed::Everywhere("forbidden".into()))), Duration::ZERO);
    wait().await;
    assert_eq!(closed_for(Some(Closed::NotNow("busy".into()))), Duration::ZERO);
    wait().await;
    assert_eq!(closed_for(None), Duration::ZERO);
    closed_for(Some(Closed::NotNow("busy".into())));
    wait().await;
    session.attach(&attempt(2), false, None);
    assert_eq!(session.seen().closed_for, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_device_that_turns_free_is_tried_at_once_and_one_that_stays_as_it_is_after_the_pause() {
    let (session, mut commands) = new(Key::new("farm", "bambu-1"), &Timing::default(), CancellationToken::new());
    let attempt = Attempt { job: Key::new("farm", "clip"), job_uid: "1".into(), token: Token::new("1", 1) };
    session.attach(&attempt, false, None);
    let report = |blockers: &[Blocker]| {
        let report = DeviceReport { state: DeviceState::Idle, blockers: blockers.to_vec(), ..DeviceReport::default() };
        session.with(|s| s.reported(report, Instant::now(), Duration::from_secs(30)));
    };
    let mut tried = || {
        let (what, attempt) = (DeviceCommand::Start, attempt.clone());
        session.command(Command { what, attempt, device_job_id: None, file: None });
        session.with(|s| s.pending.clear());
        commands.try_recv().is_ok()
    };
    let in_vain = || session.with(|s| s.no_try_before = Some(Instant::now() + Duration::from_secs(16)));
    report(&[Blocker::FilamentChange]);
    in_vain();
    report(&[Blocker::Dialog]);
    assert!(!tried(), "something else is in the way");
    report(&[]);
    assert!(tried());
    in_vain();
    report(&[]);
    assert!(!tried(), "what closes the gate is not to be seen at the device");
    tokio::time::advance(Duration::from_secs(16)).await;
    assert!(tried());
}

#[tokio::test(start_paused = true)]
async fn what_a_device_does_not_delete_is_known_since_its_first_refusal_and_deletions_are_made_anew_when_it_comes_back()
{
    let (session, mut commands) = new(Key::new("farm", "prusa-1"), &Timing::default(), CancellationToken::new());
    let fault = |text: &str| DeviceFault { cause: LinkFault::Unreachable, message: text.into() };
    let ended = |result| session.with(|s| s.deletion_ended("part.gcode", &result));
    ended(Err(fault("busy")));
    tokio::time::advance(Duration::from_secs(60)).await;
    ended(Err(fault("still busy")));
    let refused = Undeleted { lasting: Duration::from_secs(60), message: "still busy".into() };
    assert_eq!(session.seen().undeleted, [("part.gcode".to_owned(), refused)]);
    ended(Ok(()));
    let seen = session.seen();
    assert_eq!((seen.undeleted, seen.deleted_now), (vec![], vec!["part.gcode".to_owned()]));

    let what = DeviceCommand::DeleteFile { remote_name: "part.gcode".into() };
    let attempt = Attempt { job: Key::new("farm", "clip"), job_uid: "1".into(), token: Token::new("1", 1) };
    let mut asked = || {
        session.with(|s| {
            s.reported(DeviceReport::default(), Instant::now(), Duration::from_secs(30));
        });
        session.command(Command { what: what.clone(), attempt: attempt.clone(), device_job_id: None, file: None });
        commands.try_recv().is_ok()
    };
    assert!(!asked(), "it is gone");
    session.connection_lost(&fault("gone"));
    assert_eq!((session.seen().deleted, session.seen().deleted_now), (vec!["part.gcode".to_owned()], vec![]));
    assert!(asked(), "who knows what happened in between");
}

#[test]
fn what_was_deleted_is_neither_uploaded_again_nor_started_by_a_command_that_had_to_wait() {
    let (session, _commands) = new(Key::new("farm", "prusa-1"), &Timing::default(), CancellationToken::new());
    let token = Token::new("3f2504e0-4f89-41d3-9a0c-0305e82c3301", 1);
    let remote_name = token.remote_name("part", "gcode");
    let attempt = Attempt { job: Key::new("farm", "clip"), job_uid: "3f2504e0".into(), token };
    session.attach(&attempt, false, None);
    session.with(|s| s.reported(DeviceReport::default(), Instant::now(), Duration::from_secs(30)));
    session.was_judged(&session.seen());
    let served = |what: DeviceCommand| {
        let command = Command { what, attempt: attempt.clone(), device_job_id: None, file: None };
        session.with(|s| s.serves(&command))
    };
    let upload = || DeviceCommand::Upload { remote_name: remote_name.clone() };
    assert!(served(upload()) && served(DeviceCommand::Start));
    session.with(|s| s.deletion_ended(&remote_name, &Ok(())));
    assert!(!served(upload()) && !served(DeviceCommand::Start));
    assert!(served(DeviceCommand::DeleteFile { remote_name: remote_name.clone() }) && served(DeviceCommand::Stop));
}

#[tokio::test(start_paused = true)]
async fn a_try_to_start_waits_for_a_judgment_as_long_as_its_report_is_worth_something() {
    let (session, _commands) = new(Key::new("farm", "bambu-1"), &Timing::default(), CancellationToken::new());
    session.with(|s| s.reported(DeviceReport::default(), Instant::now(), Duration::from_secs(30)));
    let limit = || Instant::now() + Duration::from_secs(5);
    let began = Instant::now();
    session.judged_by(limit()).await;
    assert_eq!(began.elapsed(), Duration::from_secs(5), "nobody has looked");
    let began = Instant::now();
    let looks = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        session.was_judged(&session.seen());
    };
    tokio::join!(session.judged_by(limit()), looks);
    assert_eq!(began.elapsed(), Duration::from_secs(1));
    session.judged_by(limit()).await;
    assert_eq!(began.elapsed(), Duration::from_secs(1), "it is judged");
}

#[test]
fn what_is_shown_later_must_be_judged_and_stored_too() {
    let (session, _commands) = new(Key::new("farm", "prusa-1"), &Timing::default(), CancellationToken::new());
    let shows = |state| {
        let report = DeviceReport { state, ..DeviceReport::default() };
        session.with(|s| s.reported(report, Instant::now(), Duration::from_secs(30)));
    };
    shows(DeviceState::Idle);
    session.was_judged(&session.seen());
    let idle = session.judged();
    shows(DeviceState::Idle);
    assert!(session.seen().is_judged_since(idle), "it shows the same");
    // A print at the screen, which the write of a status is refused for until it has ended.
    shows(DeviceState::Printing);
    let printing = session.seen();
    assert!(!printing.is_judged() && printing.watched);
    shows(DeviceState::Idle);
    assert_eq!(session.judged(), None, "it shows what it showed before, and a part lies on the bed");
    assert!(!session.was_judged(&printing), "what it shows by now was not judged with that");
    assert_eq!(session.judged(), None);
    assert!(session.was_judged(&session.seen()), "those who wait for it hear of it");
    assert!(session.seen().is_judged());
    assert!(!session.seen().is_judged_since(idle), "the Printer was read before that was stored");
}

#[tokio::test(start_paused = true)]
async fn it_is_known_how_long_what_is_shown_was_not_judged() {
    let (session, _commands) = new(Key::new("farm", "prusa-1"), &Timing::default(), CancellationToken::new());
    let report = || session.with(|s| s.reported(DeviceReport::default(), Instant::now(), Duration::from_secs(30)));
    let later = async |seconds| {
        tokio::time::advance(Duration::from_secs(seconds)).await;
        session.seen().unjudged_for.as_secs()
    };
    report();
    assert_eq!(later(10).await, 10);
    session.was_judged(&session.seen());
    assert_eq!(later(10).await, 0);
    session.connection_lost(&DeviceFault { cause: LinkFault::Unreachable, message: "gone".into() });
    later(10).await;
    report();
    assert_eq!(later(10).await, 20, "a connection that comes and goes is no judgment");
    assert!(session.tells_unstored() && !session.tells_unstored(), "once");
    session.was_judged(&session.seen());
    assert!(session.tells_unstored(), "it was stored meanwhile");
}
