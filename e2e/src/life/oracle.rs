//! What must be true of every life, whatever happened in it: by the ledger of the machine, by what was stored, by the
//! logs. Nothing here knows what went wrong, and the person of these lives never errs.

use std::collections::BTreeSet;

use jiff::Timestamp;
use printernizer_simulator::{Entry, Event};
use serde_json::Value;

use crate::proxy::Write;

/// More writes than any life needs: an operator that writes the same again and again.
const MOST_WRITES: usize = 300;

/// A life that is over.
pub(super) struct Verdict<'a> {
    pub(super) printer: &'static str,
    pub(super) trace: &'a [Write],
    pub(super) entries: &'a [Entry],
}

impl Verdict<'_> {
    /// What the machine did: no start was sent twice, no attempt was started twice, nothing was started on a part or on a
    /// machine that printed, and the part was printed once.
    pub(super) fn physical(&self) -> Result<(), String> {
        let (mut commands, mut starts) = (BTreeSet::new(), BTreeSet::new());
        let mut busy: Option<&str> = None;
        for entry in self.entries {
            match &entry.event {
                Event::StartCommand { file_name, .. } if !commands.insert(file_name.as_str()) => {
                    return Err(format!("the start of {file_name} was sent twice"));
                }
                // Its own acceptance may stand before a command.
                Event::StartCommand { file_name, .. } if busy.is_some_and(|name| name != file_name) => {
                    return Err(format!("{file_name} was started while {busy:?} was printed"));
                }
                Event::JobAccepted { file_name, .. } => busy = Some(file_name),
                Event::PhysicalStart { bed_occupied: true, file_name, .. } => {
                    return Err(format!("{file_name} was started on an occupied bed"));
                }
                Event::PhysicalStart { file_name, .. } if !starts.insert(file_name.as_str()) => {
                    return Err(format!("one attempt was physically started twice: {file_name}"));
                }
                Event::PhysicalEnd { .. } | Event::JobAbandoned { .. } => busy = None,
                _ => {}
            }
        }
        if starts.len() != 1 {
            return Err(format!("the part was printed {} times: {starts:?}", starts.len()));
        }
        Ok(())
    }

    /// What was stored: both halves of the intent before each start command, the bed clear by then, an end that is final.
    pub(super) fn stored(&self) -> Result<(), String> {
        let printer = format!("PUT printers/{}/status", self.printer);
        for entry in self.entries {
            let Event::StartCommand { file_name, .. } = &entry.event else { continue };
            let names = |half: &'static str| {
                self.stored_before(entry.time, move |w| {
                    let name = w.status.as_ref().and_then(|s| s[half]["remoteName"].as_str());
                    name.is_some_and(|name| file_name.ends_with(name))
                })
            };
            for half in ["start", "lastStart"] {
                if names(half).is_none() {
                    return Err(format!("{file_name} was started without an intent: {half}"));
                }
            }
            let last = self.stored_before(entry.time, |w| w.name.starts_with(&printer));
            if !last.and_then(|w| w.status.as_ref()).is_some_and(|s| is_true(s, "BedCleared")) {
                return Err(format!("{file_name} was started while the bed was not known to be clear"));
            }
        }
        let mut ended: Option<&str> = None;
        let phases = self.trace.iter().filter(|w| w.carried_out() && w.name.starts_with("PUT printjobs/"));
        for phase in phases.filter_map(|w| w.status.as_ref()?["phase"].as_str()) {
            match ended {
                Some(end) if end != phase => return Err(format!("{phase} after {end}")),
                _ if ["Succeeded", "Failed", "Cancelled"].contains(&phase) => ended = Some(phase),
                _ => {}
            }
        }
        if self.trace.len() > MOST_WRITES {
            return Err(format!("{} writes", self.trace.len()));
        }
        Ok(())
    }

    fn stored_before(&self, time: Timestamp, wanted: impl Fn(&Write) -> bool) -> Option<&Write> {
        let earlier = |w: &&Write| w.carried_out() && w.answered.is_some_and(|(at, _)| at <= time);
        self.trace.iter().filter(earlier).filter(|w| wanted(w)).max_by_key(|w| w.answered)
    }
}

fn is_true(status: &Value, condition: &str) -> bool {
    let conditions = status["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|c| c["type"] == condition && c["status"] == "True"))
}

/// No secret stands in a log, and nothing in it tells of a bug.
pub(crate) fn tells_no_secret<'a>(log: &str, secrets: impl Iterator<Item = &'a str>) -> Result<(), String> {
    for secret in secrets.filter(|s| !s.is_empty()) {
        if let Some(line) = log.lines().find(|line| line.contains(secret)) {
            return Err(format!("a secret stands in the log: {line}"));
        }
    }
    match log.lines().find(|line| line.contains("panicked")) {
        Some(line) => Err(format!("something panicked: {line}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use printernizer_simulator::{PrintIdentity, StartCause};
    use serde_json::json;

    use super::*;

    const FILE: &str = "clip-pz-0123456789abcdef-1.gcode";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn entry(second: i64, event: Event) -> Entry {
        Entry { sequence: 1, time: at(second), printer: "prusa-1".into(), serial_number: "1".into(), event }
    }

    fn identity() -> PrintIdentity {
        PrintIdentity::PrusaLink { job_id: 1 }
    }

    fn command(second: i64, file: &str) -> Entry {
        entry(
            second,
            Event::StartCommand {
                cause: StartCause::ProjectFile,
                file_name: file.into(),
                answer: None,
                acknowledgement: None,
                identity: None,
                accepted: true,
                reason: String::new(),
            },
        )
    }

    fn accepted(second: i64) -> Entry {
        let (cause, file_name) = (StartCause::ProjectFile, FILE.to_owned());
        entry(second, Event::JobAccepted { cause, file_name, identity: identity() })
    }

    fn started(second: i64, file: &str, bed_occupied: bool) -> Entry {
        entry(
            second,
            Event::PhysicalStart {
                cause: StartCause::ProjectFile,
                file_name: file.into(),
                sha256: String::new(),
                identity: identity(),
                filaments: Vec::new(),
                bed_occupied,
            },
        )
    }

    fn write(second: i64, code: u16, name: &str, status: Value) -> Write {
        let answered = Some((at(second), code));
        Write { number: 1, name: name.into(), occurrence: 1, life: 0, status: Some(status), answered }
    }

    fn job(second: i64, phase: &str) -> Write {
        write(second, 200, "PUT printjobs/clip-1/status", json!({ "phase": phase, "start": { "remoteName": FILE } }))
    }

    fn printer(second: i64, code: u16, cleared: &str) -> Write {
        let conditions = json!([{ "type": "BedCleared", "status": cleared }]);
        let status = json!({ "lastStart": { "remoteName": FILE }, "conditions": conditions });
        write(second, code, "PUT printers/prusa-1/status Idle", status)
    }

    fn judged(trace: &[Write], entries: &[Entry]) -> Result<(), String> {
        let verdict = Verdict { printer: "prusa-1", trace, entries };
        verdict.physical().and_then(|()| verdict.stored())
    }

    #[test]
    fn a_life_in_order_is_in_order() {
        let trace = [job(1, "Starting"), printer(2, 200, "True"), job(9, "Succeeded")];
        let entries = [command(3, FILE), accepted(4), started(5, FILE, false)];
        assert_eq!(judged(&trace, &entries), Ok(()));
    }

    #[test]
    fn each_broken_promise_is_seen() {
        let good = [job(1, "Starting"), printer(2, 200, "True")];
        let late_half = [job(1, "Starting"), printer(4, 200, "True")];
        let refused_half = [job(1, "Starting"), printer(2, 409, "True")];
        let no_first_half = [printer(2, 200, "True")];
        let bed = [job(1, "Starting"), printer(2, 200, "False")];
        let ends = [job(1, "Starting"), printer(2, 200, "True"), job(7, "Failed"), job(8, "Queued")];
        let once = [command(3, FILE), accepted(4), started(5, FILE, false)];
        let other = "b-pz-0-1.gcode";
        let cases: [(&[Write], &[Entry], &str); 11] = [
            (&late_half, &once, "without an intent: lastStart"),
            (&refused_half, &once, "without an intent: lastStart"),
            (&no_first_half, &once, "without an intent: start"),
            (&bed, &once, "not known to be clear"),
            (&ends, &once, "Queued after Failed"),
            (&good, &[], "printed 0 times"),
            (&good, &[started(4, FILE, false), started(5, FILE, false)], "started twice"),
            (&good, &[started(4, FILE, true)], "on an occupied bed"),
            (&good, &[started(4, FILE, false), started(5, other, false)], "printed 2 times"),
            (&good, &[accepted(4), command(5, other)], "was started while"),
            (&good, &[command(4, FILE), command(5, FILE)], "sent twice"),
        ];
        for (trace, entries, wanted) in cases {
            let why = judged(trace, entries).unwrap_err();
            assert!(why.contains(wanted), "{wanted}: {why}");
        }
    }

    #[test]
    fn a_secret_or_a_panic_in_a_log_is_seen() {
        let secrets = || ["12345678"].into_iter();
        assert_eq!(tells_no_secret("all is well\n", secrets()), Ok(()));
        assert!(tells_no_secret("login with 12345678 failed", secrets()).is_err());
        assert!(tells_no_secret("thread 'main' panicked at src/x.rs", secrets()).is_err());
    }
}
