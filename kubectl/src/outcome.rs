//! `outcome`: shows what is known of a print of which nobody knows what became, and writes a person's answer:
//! `spec.outcome`, with the id of the question that was shown.

use std::fmt::Write as _;

use jiff::Timestamp;
use kube::ResourceExt as _;
use printernizer_crds::print_job::{Answer, ClaimedPrinter, Question, Shown};
use printernizer_crds::{ConditionType, PrintJob, Printer};
use serde_json::{Value, json};

use crate::arguments::{Became, Outcome};
use crate::cluster::Change;
use crate::error::{Error, several};
use crate::objects::{Bed, Flags, bed, condition, doubt, job_name, of_printer, part, phase, question};
use crate::output::{Paint, Style, age, clean};
use crate::person::sure;
use crate::run::Session;

/// Shows the evidence; with an answer, writes it.
pub async fn answer(session: &mut Session<'_>, arguments: &Outcome) -> Result<(), Error> {
    let job: PrintJob = session.cluster.get(&job_name(&arguments.job)?).await?;
    let asked = question(&job).cloned().ok_or_else(|| nothing_asked(&job))?;
    let printer = match job.status.as_ref().and_then(|s| s.printer.as_ref()) {
        // Without the right to see printers the rest is evidence all the same.
        Some(claimed) => Some(its(claimed, session.cluster.find::<Printer>(&claimed.name).await)),
        None => None,
    };
    let Some(became) = arguments.answer else {
        session.answer(&evidence(&job, &asked, printer.as_ref(), session.paint, session.now))?;
        return session.answer(&choices(&job, &session.flags));
    };
    session.evidence(&evidence(&job, &asked, printer.as_ref(), session.paint_aside, session.now))?;
    let answer = Answer::from(became);
    still(&job, &asked, answer)?;
    sure(session.person, arguments.sure.yes, confirmation(&job, became))?;
    let changed = session.cluster.change(job, |now| still(now, &asked, answer)).await;
    let result = changed.map(|change| match change {
        Change::Written(job) => (job, "answered"),
        Change::Already(job) => (job, "was answered so already"),
    });
    let result = session.report(result, arguments.output.output)?;
    several(&[result])
}

fn nothing_asked(job: &PrintJob) -> Error {
    let name = job.name_any();
    let answered =
        job.status.as_ref().and_then(|s| s.answered.as_ref()).map(|a| format!("; it was answered {:?}", a.answer));
    let phase = phase(job).map_or("not looked at by an operator yet".to_owned(), |p| format!("{p:?}"));
    Error::NotNow(format!("job {name}: nothing is asked (it is {phase}{})", answered.unwrap_or_default()))
}

/// What is to be written, if this very question is still open.
fn still(job: &PrintJob, shown: &Question, answer: Answer) -> Result<Option<Value>, Error> {
    let name = job.name_any();
    let Some(now) = question(job) else { return Err(nothing_asked(job)) };
    if now.id != shown.id {
        return Err(Error::NotNow(format!(
            "job {name}: the printer shows something else by now: {}. Look again",
            doubt(job)
        )));
    }
    let ran = job.status.as_ref().is_some_and(|s| s.start_time.is_some());
    if answer == Answer::NotPrinted && ran {
        return Err(Error::NotNow(format!(
            "job {name}: its print was seen running, so it cannot be said that nothing was printed; answer succeeded or failed"
        )));
    }
    let same = job.spec.outcome.as_ref().is_some_and(|o| o.question_id == shown.id && o.answer == answer);
    Ok((!same).then(|| json!({ "outcome": { "questionID": shown.id, "answer": answer } })))
}

fn confirmation(job: &PrintJob, became: Became) -> &'static str {
    match became {
        Became::Succeeded => "Is the part printed, and good?",
        Became::Failed => "Was it begun, and is it no good?",
        Became::NotPrinted if is_going(job) => {
            "Is it sure that nothing was printed and nothing is printing? The job was deleted, and is not printed."
        }
        Became::NotPrinted => "Is it sure that nothing was printed and nothing is printing? The job is printed again.",
    }
}

/// Whether the job was deleted, and stays only until it is answered.
fn is_going(job: &PrintJob) -> bool {
    job.metadata.deletion_timestamp.is_some()
}

/// The printer that was claimed, or why it is no evidence.
fn its(claimed: &ClaimedPrinter, found: Result<Option<Printer>, Error>) -> Result<Printer, String> {
    let name = &claimed.name;
    match found {
        Ok(Some(printer)) if printer.uid().as_deref() == Some(claimed.uid.as_str()) => Ok(printer),
        Ok(Some(_)) => Err(format!("not known: the Printer {name} was deleted, and another has its name now")),
        Ok(None) => Err(format!("not known: there is no Printer {name} any more")),
        Err(error) => Err(format!("not known: {}", error.chain())),
    }
}

/// Everything that is known of the print.
fn evidence(
    job: &PrintJob,
    asked: &Question,
    printer: Option<&Result<Printer, String>>,
    paint: Paint,
    now: Timestamp,
) -> String {
    let status = job.status.as_ref();
    let on = status.and_then(|s| s.printer.as_ref()).map(|p| format!(" on {}", p.name)).unwrap_or_default();
    let mut text = format!(
        "{}\n",
        paint.paint(Style::Heading, &format!("What became of \"{}\" ({}){on}?", part(job), job.name_any()))
    );
    let mut line = |what: &str, value: Option<String>| {
        if let Some(value) = value.filter(|v| !v.is_empty()) {
            // Writing into a String cannot fail.
            let _ = writeln!(text, "  {what:<18}{}", clean(&value));
        }
    };
    line("Asked because", Some(doubt(job)));
    line("Attempt", status.map(|s| s.attempt.to_string()));
    line("File on it", status.and_then(|s| s.upload.as_ref()).map(|u| u.remote_name.clone()));
    let seen = status.and_then(|s| s.start_time.as_ref()).map(|t| format!("{} ago", age(t.0, now)));
    line("Seen printing", Some(seen.unwrap_or_else(|| "never".to_owned())));
    line("Progress seen", status.and_then(|s| s.progress.as_ref()).and_then(|p| p.summary.clone()));
    line("It showed then", Some(shown(&asked.shown)));
    if let Some(Err(why)) = printer {
        line("It shows now", Some(why.clone()));
    }
    if let Some(Ok(printer)) = printer {
        let state = printer.status.as_ref().and_then(|s| s.state).map(|s| format!("{s:?}"));
        let idle = condition(of_printer(printer), ConditionType::Idle).map(|c| c.message.clone());
        line("It shows now", Some([state, idle].into_iter().flatten().collect::<Vec<_>>().join(", ")));
        let on_bed = match bed(printer) {
            Bed::Waits(on) => Some(on.what),
            Bed::Clear => Some("confirmed clear before this print".to_owned()),
            Bed::InUse => Some("a print was running on it".to_owned()),
            Bed::NotKnown | Bed::Confirmed(_) => None,
        };
        line("Bed", on_bed);
        for fault in printer.status.iter().flat_map(|s| &s.faults) {
            line("Fault", Some(fault.message.clone()));
        }
    }
    text
}

fn shown(shown: &Shown) -> String {
    let identity = &shown.identity;
    let print = [&identity.name, &identity.file, &identity.id].into_iter().flatten().next();
    let print = print.map_or("no print".to_owned(), |p| format!("the print {p}"));
    let error = shown.error.as_ref().map(|e| format!(", error {e}")).unwrap_or_default();
    format!("{:?}, {print}{error}", shown.state)
}

/// What can be answered.
fn choices(job: &PrintJob, flags: &Flags) -> String {
    let ran = job.status.as_ref().is_some_and(|s| s.start_time.is_some());
    let name = job.name_any();
    let mut text = "Look at the machine, then answer:\n".to_owned();
    let mut rows = vec![("succeeded", "the part is printed, and good"), ("failed", "it was begun, and is no good")];
    if !ran {
        rows.push(if is_going(job) {
            ("not-printed", "nothing was printed and nothing is printing; the job was deleted, and is not printed")
        } else {
            ("not-printed", "nothing was printed and nothing is printing: the job is printed again")
        });
    }
    for (answer, meaning) in rows {
        let _ = writeln!(text, "  {}", flags.command(&format!("outcome {name} {answer}")));
        let _ = writeln!(text, "      {meaning}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::testing::job;

    fn asked(id: &str, more: Value) -> PrintJob {
        let message = "the printer shows no sign of it. Look at the printer, then set spec.outcome to {...}";
        let mut question =
            json!({ "status": { "question": { "id": id, "reason": "NoSignOfStart", "shown": { "state": "Idle" } } } });
        crate::objects::testing::merge(&mut question, more);
        job("clip", "AttentionNeeded", question, &[("OutcomeUnknown", "True", "NoSignOfStart", message)])
    }

    #[test]
    fn only_the_question_that_was_shown_is_answered() {
        let first = asked("1", json!({}));
        let shown = question(&first).unwrap().clone();
        let written = json!({ "outcome": { "questionID": "1", "answer": "Failed" } });
        assert_eq!(still(&first, &shown, Answer::Failed).unwrap(), Some(written.clone()));
        let other = asked("2", json!({}));
        assert!(still(&other, &shown, Answer::Failed).unwrap_err().to_string().contains("Look again"));
        let over = job("clip", "Printing", json!({}), &[]);
        assert!(
            still(&over, &shown, Answer::Failed).unwrap_err().to_string().contains("nothing is asked (it is Printing)")
        );
        let same = asked("1", json!({ "spec": written }));
        assert_eq!(still(&same, &shown, Answer::Failed).unwrap(), None);
        assert!(still(&same, &shown, Answer::Succeeded).unwrap().is_some(), "an answer may be corrected");
    }

    #[test]
    fn of_a_print_that_was_seen_running_nobody_can_say_that_it_was_not_printed() {
        let ran = asked("1", json!({ "status": { "startTime": "2026-11-22T11:50:00Z" } }));
        let shown = question(&ran).unwrap().clone();
        assert!(still(&ran, &shown, Answer::NotPrinted).unwrap_err().to_string().contains("seen running"));
        assert!(still(&ran, &shown, Answer::Succeeded).is_ok());
        let never = asked("1", json!({}));
        assert!(still(&never, &shown, Answer::NotPrinted).is_ok());
    }

    #[test]
    fn a_job_that_was_deleted_is_not_said_to_be_printed_again() {
        let flags = Flags::default();
        let stays = asked("1", json!({}));
        let goes = asked("1", json!({ "metadata": { "deletionTimestamp": "2026-11-22T12:00:00Z" } }));
        for (job, again) in [(stays, true), (goes, false)] {
            assert_eq!(choices(&job, &flags).contains("is printed again"), again);
            assert_eq!(confirmation(&job, Became::NotPrinted).contains("is printed again"), again);
        }
    }

    #[test]
    fn only_the_printer_that_was_claimed_is_evidence_and_what_is_missing_is_told() {
        let claim = json!({ "status": { "printer": { "name": "a1", "uid": "uid-of-a1", "serialNumber": "s" } } });
        let job = asked("1", claim);
        let claimed = job.status.as_ref().unwrap().printer.clone().unwrap();
        let a1 = || crate::objects::testing::printer("a1", json!({}), &[]);
        let mut other = a1();
        other.metadata.uid = Some("another".into());
        let told = |found| {
            let printer = its(&claimed, found);
            let now = crate::objects::testing::now();
            evidence(&job, question(&job).unwrap(), Some(&printer), Paint::default(), now)
        };
        assert!(told(Ok(Some(a1()))).contains("It shows now      Idle, nothing is running\n"));
        for (found, words) in [
            (Ok(Some(other)), "not known: the Printer a1 was deleted"),
            (Ok(None), "not known: there is no Printer a1"),
            (Err(Error::NotInstalled { doing: "read printer a1".into() }), "not known: cannot read printer a1"),
        ] {
            let told = told(found);
            assert!(told.contains(&format!("It shows now      {words}")) && !told.contains("Idle, nothing"), "{told}");
        }
    }

    #[test]
    fn what_a_device_showed_is_told_in_words() {
        let of = |value: Value| shown(&serde_json::from_value(value).unwrap());
        assert_eq!(of(json!({ "state": "Idle" })), "Idle, no print");
        let finished = json!({ "state": "Failed", "identity": { "id": "7", "name": "CLIP" }, "error": "0300_8007" });
        assert_eq!(of(finished), "Failed, the print CLIP, error 0300_8007");
    }
}
