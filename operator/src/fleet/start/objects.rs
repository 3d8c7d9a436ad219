//! What a start is judged by beside the device: both sides of the claim, and whatever else may stand for the device.

use futures::future::OptionFuture;
use kube::api::DynamicObject;
use printernizer_crds::{PrintJob, Printer};
use printernizer_rules::print_job::{
    self,
    gate::{self, Closed},
};

use super::super::FleetContext;
use super::super::session::{Attempt, Session};
use crate::api::{ApiError, Key};

/// Both sides of a claim.
pub(super) struct Objects {
    pub(super) job: PrintJob,
    pub(super) printer: Printer,
    /// Whether the printer is as it was after a report of this connection had been judged, or later.
    pub(super) judged: bool,
    /// Another job whose start on this device is not resolved, see [`look_elsewhere`].
    pub(super) unresolved_elsewhere: Option<String>,
}

pub(super) fn api_server(error: &ApiError) -> Closed {
    Closed::NotNow(format!("the API server: {error}"))
}

fn unreadable(error: &ApiError) -> Closed {
    Closed::Everywhere(format!(
        "what else may be running on this device cannot be read in all namespaces of the operator, so that nothing is started: \
         {error}"
    ))
}

/// Quorum reads of both sides of the claim, which must still be about this attempt.
pub(super) async fn read(context: &FleetContext, session: &Session, attempt: &Attempt) -> Result<Objects, Closed> {
    let judged = session.judged();
    let (job, printer) =
        tokio::join!(context.api.get::<PrintJob>(&attempt.job), context.api.get::<Printer>(&session.printer));
    let job = job.map_err(|e| api_server(&e))?.ok_or(Closed::Changed("the job is gone"))?;
    let printer = printer.map_err(|e| api_server(&e))?.ok_or(Closed::Changed("the printer is gone"))?;
    let still_ours =
        gate::token_of(&job) == attempt.token && job.metadata.uid.as_deref() == Some(attempt.job_uid.as_str());
    if !still_ours {
        return Err(Closed::Changed("the job has moved on"));
    }
    let judged = session.seen().is_judged_since(judged);
    Ok(Objects { job, printer, judged, unresolved_elsewhere: None })
}

/// Quorum reads of everything else that may stand for this device, in all namespaces this process works in: other
/// Printers, and PrintJobs with an unresolved start. The API server selects them by the serial number, so that no more is
/// sent and read in a farm of thousands; it is asked only where nothing else stands against the start.
pub(super) async fn look_elsewhere(context: &FleetContext, objects: &mut Objects) -> Result<(), Closed> {
    let scope = &context.scope;
    let Objects { job, printer, .. } = &*objects;
    let unresolved_on = async |serial: &str| {
        let unresolved = |other: DynamicObject| {
            let counts = other.metadata.uid != job.metadata.uid && may_be_unresolved(&other.data, serial);
            counts.then(|| Key::of(&other))
        };
        context.api.unfinished_jobs_on(scope, serial, unresolved).await
    };
    let standing_for = async |serial: &str| {
        let in_the_way = |other: DynamicObject| stands_before(printer, &other).then(|| Key::of(&other));
        context.api.printers_of(scope, serial, in_the_way).await
    };
    // Without a serial number no other object can say that it means the same device.
    let given_to = job.status.as_ref().and_then(|s| s.printer.as_ref()).map(|p| p.serial_number.as_str());
    let claimed = printernizer_rules::printer::serial_claimed(printer);
    let (jobs, printers) =
        tokio::join!(OptionFuture::from(given_to.map(unresolved_on)), OptionFuture::from(claimed.map(standing_for)));
    let (jobs, printers) = (jobs.unwrap_or_else(|| Ok(Vec::new())), printers.unwrap_or_else(|| Ok(Vec::new())));
    if let Some(other) = printers.map_err(|e| unreadable(&e))?.first() {
        return Err(Closed::GiveBack(format!("Printer {other} stands for the same device and comes first")));
    }
    objects.unresolved_elsewhere = jobs.map_err(|e| unreadable(&e))?.first().map(Key::to_string);
    Ok(())
}

/// Whether a PrintJob has an unresolved start on the device with this serial number, or prints on it without one. One
/// that cannot be read counts if it names the device and a start: what became of it cannot be known.
fn may_be_unresolved(job: &serde_json::Value, serial: &str) -> bool {
    let status = &job["status"];
    let ended = || serde_json::from_value(status.clone()).is_ok_and(|s| print_job::status::is_terminal(&s));
    let started = !status["start"].is_null() || !status["startTime"].is_null();
    started && status["printer"]["serialNumber"].as_str() == Some(serial) && !ended()
}

/// Whether another Printer stands for the same device and comes before this one. One that cannot be read has no
/// session, and comes first only if it remembers a start without a verdict.
fn stands_before(printer: &Printer, other: &DynamicObject) -> bool {
    if other.metadata.uid == printer.metadata.uid {
        return false;
    }
    if let Ok(other) = other.clone().try_parse::<Printer>() {
        return crate::printer::comes_before(&other, printer);
    }
    let status = &other.data["status"];
    let unresolved = !status["lastStart"].is_null() && status["lastStart"]["verdict"].is_null();
    let serial = printernizer_rules::printer::serial_claimed(printer);
    let pinned = status["device"]["serialNumber"].as_str();
    unresolved && serial.is_some() && pinned == serial
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use axum::Json;
    use axum::http::Uri;
    use printernizer_rules::device::DeviceReport;
    use serde_json::json;
    use tokio::time::Instant;

    use super::super::super::testing;
    use super::*;
    use crate::leadership::Leadership;

    /// Reads both sides of a claim from an API server that does this while it answers for the printer; whether the printer
    /// counts as judged.
    async fn judged(
        session: &Session,
        attempt: &Attempt,
        meanwhile: impl Fn(&Session) + Send + Sync + 'static,
    ) -> bool {
        let (of_server, meanwhile) = (session.clone(), Arc::new(meanwhile));
        let spec = json!({ "source": { "configMap": { "name": "a", "key": "b" } } });
        let api = "printernizer.io/v1alpha1";
        let job = json!({ "apiVersion": api, "kind": "PrintJob", "metadata": { "name": "clip", "namespace": "farm", "uid": attempt.job_uid }, "spec": spec });
        let answer = move |uri: Uri| {
            let (session, meanwhile, job) = (of_server.clone(), Arc::clone(&meanwhile), job.clone());
            async move {
                if uri.path().contains("/printjobs/") {
                    return Json(job);
                }
                meanwhile(&session);
                let metadata = json!({ "name": "prusa-1", "namespace": "farm", "uid": "1" });
                let spec = json!({ "model": "Any", "connection": {} });
                Json(json!({ "apiVersion": api, "kind": "Printer", "metadata": metadata, "spec": spec }))
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(answer)).await });
        let context = testing::context_with(&Leadership::fixed(true), &server);
        read(&context, session, attempt).await.map_err(|closed| closed.to_string()).unwrap().judged
    }

    #[tokio::test]
    async fn a_printer_counts_as_judged_only_if_it_was_before_it_was_read_and_nothing_came_since() {
        let (session, _commands, command) = testing::serving();
        let judged = async |meanwhile: fn(&Session)| judged(&session, &command.attempt, meanwhile).await;
        assert!(judged(|_| {}).await);
        // A gap in watching, after which somebody looks at once: the Printer may be as it was before that was stored.
        let gap = |session: &Session| {
            session.with(|s| s.reported(DeviceReport::default(), Instant::now(), Duration::ZERO));
        };
        let looked_after_a_gap = |session: &Session| {
            session.with(|s| s.reported(DeviceReport::default(), Instant::now(), Duration::ZERO));
            session.was_judged(&session.seen());
        };
        assert!(!judged(looked_after_a_gap).await);
        assert!(judged(|_| {}).await, "it was read again");
        assert!(!judged(gap).await);
        assert!(!judged(|_| {}).await, "nobody has looked");
        let looked = |session: &Session| {
            session.was_judged(&session.seen());
        };
        assert!(!judged(looked).await, "it was read before");
        assert!(judged(|_| {}).await);
    }

    #[test]
    fn a_start_counts_as_unresolved_until_its_job_has_ended() {
        let job = |start: serde_json::Value, serial: &str, conditions: serde_json::Value| {
            json!({ "status": {
                "start": start, "printer": { "name": "p", "uid": "u", "serialNumber": serial }, "conditions": conditions,
            } })
        };
        let intent = json!({
            "protocol": 1, "token": "3f2504e04f8941d3-1", "remoteName": "a", "ids": {}, "sender": "s",
            "deadline": "2026-11-21T12:00:00Z", "before": { "state": "Idle" },
        });
        let failed = json!([{ "type": "Failed", "status": "True", "reason": "PrintFailed", "message": "",
            "lastTransitionTime": "2026-11-21T12:00:00Z" }]);
        let unresolved = |job: &serde_json::Value| may_be_unresolved(job, "SN-1");
        assert!(unresolved(&job(intent.clone(), "SN-1", json!([]))));
        assert!(!unresolved(&job(intent.clone(), "SN-1", failed)), "ended");
        assert!(!unresolved(&job(intent.clone(), "SN-2", json!([]))), "another device");
        assert!(!unresolved(&job(json!(null), "SN-1", json!([]))), "nothing was started");
        assert!(unresolved(&job(intent, "SN-1", json!("unreadable"))), "nobody knows");
        let mut at_the_screen = job(json!(null), "SN-1", json!([]));
        at_the_screen["status"]["startTime"] = json!("2026-11-21T12:00:00Z");
        assert!(unresolved(&at_the_screen), "started by a person, and known");
        assert!(!may_be_unresolved(&json!({}), "SN-1"), "a new job");
    }

    #[test]
    fn a_printer_that_cannot_be_read_comes_first_only_with_an_unresolved_start() {
        let own: Printer = serde_json::from_value(json!({
            "apiVersion": "printernizer.io/v1alpha1", "kind": "Printer", "metadata": { "name": "own", "uid": "1" },
            "spec": { "model": "Prusa CORE One", "connection": {} }, "status": { "device": { "serialNumber": "SN-1" } },
        }))
        .unwrap();
        let other = |status: serde_json::Value| -> DynamicObject {
            let spec = json!({ "connection": [1, 2, 3] });
            serde_json::from_value(
                json!({ "metadata": { "name": "other", "uid": "2" }, "spec": spec, "status": status }),
            )
            .unwrap()
        };
        let device = json!({ "serialNumber": "SN-1" });
        assert!(!stands_before(&own, &other(json!({ "device": device }))));
        assert!(!stands_before(&own, &other(json!({ "device": device, "lastStart": { "verdict": "Succeeded" } }))));
        assert!(stands_before(&own, &other(json!({ "device": device, "lastStart": { "token": "t" } }))));
        let elsewhere = json!({ "device": { "serialNumber": "SN-2" }, "lastStart": { "token": "t" } });
        assert!(!stands_before(&own, &other(elsewhere)));
    }
}
