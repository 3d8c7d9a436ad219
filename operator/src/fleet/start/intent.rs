//! The gate, and the intent that is written once it is open.

use std::time::Duration;

use jiff::Timestamp;
use printernizer_crds::print_job::StartIntent;
use printernizer_crds::{PrintJob, Printer};
use printernizer_rules::device::DeviceReport;
use printernizer_rules::print_job::gate::{self, Closed, GateView};
use tokio::time::Instant;

use super::super::FleetContext;
use super::super::device::Device;
use super::super::session::{Attempt, Session};
use super::objects::{Objects, api_server, look_elsewhere, read};
use crate::api::ApiError;
use crate::leadership::Permit;

/// How many times one try judges again what somebody else wrote before each half of its intent.
const MOST_CONFLICTS: u32 = 3;

/// Asks the gate. The mapping is computed again from this very report.
pub(super) fn ask<D: Device>(
    context: &FleetContext,
    objects: &Objects,
    report: &DeviceReport,
    age: Duration,
    sender: Option<&str>,
) -> Result<(), Closed> {
    let mapping = crate::scheduling::mapping(&objects.job, &objects.printer, Some(report));
    let mapping = mapping.as_ref().map(Vec::as_slice).map_err(String::as_str);
    gate::check(&GateView { mapping, sender, ..gate_view::<D>(context, objects, report, age) })
}

/// What the gate is asked about, without a mapping and a sender.
fn gate_view<'a, D: Device>(
    context: &'a FleetContext,
    objects: &'a Objects,
    report: &'a DeviceReport,
    age: Duration,
) -> GateView<'a> {
    GateView {
        job: &objects.job,
        printer: &objects.printer,
        kind: D::KIND,
        report,
        report_age: age,
        judged: objects.judged,
        unresolved_elsewhere: objects.unresolved_elsewhere.as_deref(),
        mapping: Ok(&[]),
        hold_starts: context.hold_starts,
        sender: None,
        now: Timestamp::now(),
        timing: &context.timing,
    }
}

pub(super) fn may(context: &FleetContext, permit: &Permit) -> Result<(), Closed> {
    context.api.leadership().still(&permit.term, context.timing.send_timeout).map_err(|e| Closed::NotNow(e.to_string()))
}

/// One try from the gate on the new connection to the whole intent.
pub(super) struct Try<'a> {
    pub(super) context: &'a FleetContext,
    pub(super) session: &'a Session,
    pub(super) attempt: &'a Attempt,
    pub(super) permit: &'a Permit,
    /// Who is to send: nobody else may on this intent.
    pub(super) sender: String,
    /// What the device said over the new connection, and when. It gets no younger by being judged again.
    pub(super) report: DeviceReport,
    pub(super) at: Instant,
}

impl Try<'_> {
    fn ask<D: Device>(&self, objects: &Objects, sender: Option<&str>) -> Result<(), Closed> {
        ask::<D>(self.context, objects, &self.report, self.at.elapsed(), sender)
    }

    /// The gate, and the intent in the job. Where somebody wrote the job meanwhile, both are read and judged again: nothing
    /// was sent, so the device is not connected to anew for that.
    pub(super) async fn first_half<D: Device>(&self, device: &D) -> Result<Objects, Closed> {
        let api = &self.context.api;
        let print_id = device.print_id(&self.attempt.token);
        let mut conflicts = 0;
        loop {
            let mut objects = read(self.context, self.session, self.attempt).await?;
            self.ask::<D>(&objects, None)?;
            if let Some(why) = device.unfit(&objects.job) {
                return Err(Closed::GiveBack(why));
            }
            look_elsewhere(self.context, &mut objects).await?;
            self.ask::<D>(&objects, None)?;

            // A job that Git may create again leaves its record before anything can be sent.
            if let Some(spec) = gate::record(&objects.job, &objects.printer, Timestamp::now()) {
                may(self.context, self.permit)?;
                api.create_record(&crate::print_job::record_of(spec)).await.map_err(|e| api_server(&e))?;
            }

            let view = gate_view::<D>(self.context, &objects, &self.report, self.at.elapsed());
            let half = gate::job_half(&view, &self.sender, print_id)
                .ok_or(Closed::Changed("the job is not ready to start"))?;
            may(self.context, self.permit)?;
            let intended = half.start.clone();
            match api.replace_status(&objects.job, half).await {
                Ok(job) => return Ok(Objects { job, ..objects }),
                Err(ApiError::Conflict) if conflicts < MOST_CONFLICTS => conflicts += 1,
                Err(ApiError::Conflict) => return Err(Closed::Changed("the job changed before the intent")),
                // Part of the intent is stored and may name us as its sender: that is no intent.
                Err(error @ ApiError::Dropped(_)) => return Err(api_server(&error)),
                Err(error) => {
                    // On an unclear answer read back: only the sender named there may send, on the whole of its intent.
                    let read = api.get::<PrintJob>(&self.attempt.job).await.ok().flatten();
                    let ours = read.filter(|j| stores(j, intended.as_ref()));
                    return ours.map(|job| Objects { job, ..objects }).ok_or(api_server(&error));
                }
            }
        }
    }

    /// The intent in the printer; an error says why nothing may be sent. A printer that was written meanwhile is read and
    /// judged again: its own reconcile writes what it shows at the very moment at which it turns free.
    pub(super) async fn second_half<D: Device>(&self, objects: &mut Objects) -> Result<(), String> {
        let api = &self.context.api;
        let mut conflicts = 0;
        loop {
            if may(self.context, self.permit).is_err() {
                return Err("leadership ended".into());
            }
            let half = gate::printer_half(&objects.job, &objects.printer);
            let half = half.ok_or("the printer is not ready for the intent")?;
            let intended = half.last_start.clone();
            match api.replace_status(&objects.printer, half).await {
                Ok(printer) => {
                    objects.printer = printer;
                    return Ok(());
                }
                Err(ApiError::Conflict) if conflicts < MOST_CONFLICTS => {
                    conflicts += 1;
                    let read = read(self.context, self.session, self.attempt).await;
                    *objects = read.map_err(|closed| closed.to_string())?;
                    self.ask::<D>(objects, Some(&self.sender)).map_err(|closed| closed.to_string())?;
                }
                Err(ApiError::Conflict) => return Err("the printer changed before the intent was whole".into()),
                Err(error @ ApiError::Dropped(_)) => return Err(format!("the intent is not whole: {error}")),
                Err(error) => {
                    // Written or not: nothing is sent without knowing that it is.
                    let read = api.get::<Printer>(&self.session.printer).await.ok().flatten();
                    let written = |p: &Printer| p.status.as_ref().is_some_and(|s| s.last_start == intended);
                    let confirmed = read.filter(written);
                    objects.printer = confirmed.ok_or_else(|| format!("the intent could not be confirmed: {error}"))?;
                    return Ok(());
                }
            }
        }
    }
}

/// Whether this intent is stored in the job, with all that was written.
fn stores(job: &PrintJob, intended: Option<&StartIntent>) -> bool {
    let stored = job.status.as_ref().and_then(|s| s.start.as_ref());
    // Compared as they are sent: a time has fewer digits there than here.
    let sent = |start: Option<&StartIntent>| serde_json::to_value(start).ok();
    stored.is_some() && sent(stored) == sent(intended)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_intent_is_ours_when_all_of_it_is_stored() {
        let start = json!({
            "protocol": 1, "token": "3f2504e04f8941d3-1", "remoteName": "a", "ids": { "taskID": 7, "deviceJobID": "8" },
            "sender": "s", "deadline": "2026-11-21T12:00:00Z", "before": { "state": "Idle" },
        });
        let job = |start: &serde_json::Value| -> PrintJob {
            serde_json::from_value(json!({
                "apiVersion": "printernizer.io/v1alpha1", "kind": "PrintJob", "metadata": { "name": "j" },
                "spec": { "source": { "configMap": { "name": "a", "key": "b" } } }, "status": { "start": start },
            }))
            .unwrap()
        };
        let mut intended: StartIntent = serde_json::from_value(start.clone()).unwrap();
        intended.deadline.0 += jiff::SignedDuration::from_nanos(1);
        assert!(stores(&job(&start), Some(&intended)), "no API server keeps nanoseconds");
        for (field, other) in [
            ("sender", json!("another")),
            ("token", json!("3f2504e04f8941d3-2")),
            ("remoteName", json!("b")),
            ("ids", json!({ "taskID": 7 })),
            ("deadline", json!("2026-11-21T12:00:01Z")),
            ("before", json!({ "state": "Finished" })),
        ] {
            let mut partly = start.clone();
            partly[field] = other;
            assert!(!stores(&job(&partly), Some(&intended)), "{field}");
        }
        assert!(!stores(&job(&json!(null)), Some(&intended)));
        assert!(!stores(&job(&json!(null)), None), "there is no intent");
    }
}
