//! A process that has just begun to connect, and what another one has stored.

use std::time::Duration;

use crate::device::{DeviceState, Link};
use crate::printer::stands_for;
use crate::testing::{Scene, seconds};

fn stands(s: &Scene, connecting: Duration) -> Option<Duration> {
    s.with_printer(|seen| stands_for(seen, connecting))
}

#[test]
fn what_is_stored_of_a_printer_stands_while_a_new_leader_connects_and_no_longer_than_silence_is_borne() {
    let mut s = Scene::printing();
    s.link = Some(Link::Connecting);
    let limit = s.timing.stale_after;
    assert_eq!(stands(&s, Duration::ZERO), Some(limit));
    assert_eq!(stands(&s, limit.saturating_sub(seconds(1))), Some(seconds(1)));
    assert_eq!(stands(&s, limit), None);
    s.run_printer();
    assert_eq!(stands(&s, Duration::ZERO), Some(limit), "that it is not known stands as well");
}

#[test]
fn whatever_is_to_be_decided_at_once_does_not_wait_for_a_connection() {
    type Change = fn(&mut Scene);
    let rows: [(&str, Change); 8] = [
        ("a report has come", |s| s.link = None),
        ("it is known why none comes", |s| s.silent_for(1)),
        ("a person has written the spec", |s| s.printer.metadata.generation = Some(2)),
        ("the Printer is being deleted", Scene::delete_printer),
        ("nothing is stored: it was created again", |s| s.printer.status = None),
        ("a start is to be taken over from the Printer before it", |s| s.orphan = true),
        ("another Printer comes first", |s| s.duplicate_of = Some("farm/other")),
        ("starts are held, and no bed counts as clear", |s| s.hold_starts = true),
    ];
    for (what, change) in rows {
        let mut s = Scene::printing();
        s.shows(DeviceState::Printing);
        s.link = Some(Link::Connecting);
        assert!(stands(&s, seconds(1)).is_some(), "{what}: before");
        change(&mut s);
        assert_eq!(stands(&s, seconds(1)), None, "{what}");
    }
}
