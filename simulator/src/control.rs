//! The control API: plays the person at the machines, sets faults, shows the ledger. JSON over loopback HTTP.
//!
//! Errors are `{"error": "..."}` and say what to send instead. Never part of what the operator under test may see.

use std::time::Duration;

use axum::{
    Json, Router,
    extract::{Path, Query, State, rejection::JsonRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use tokio::net::TcpListener;

use crate::{
    ActError, Action, Entry, Error, Fault, PrinterConfig, PrinterHandle, PrinterInfo, PrinterState, simulator::Farm,
};

/// Serves until aborted.
pub(crate) async fn serve(listener: TcpListener, farm: Farm) {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/printers", get(list).post(add))
        .route("/printers/{name}", get(show))
        .route("/printers/{name}/person", post(person))
        .route("/printers/{name}/faults", get(faults).put(replace_faults).post(add_fault).delete(clear_faults))
        .route("/ledger", get(ledger))
        .route("/clock/skip", post(skip_time))
        .with_state(farm);
    // Ends only with an error of the listening socket; /healthz then shows it.
    let _ = axum::serve(listener, router).await;
}

struct Failure(StatusCode, String);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, Json(serde_json::json!({ "error": self.1 }))).into_response()
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = match error {
            Error::UnknownPrinter { .. } => StatusCode::NOT_FOUND,
            Error::DuplicateName { .. } | Error::Listen { .. } => StatusCode::CONFLICT,
            _ => StatusCode::BAD_REQUEST,
        };
        Self(status, error.to_string())
    }
}

impl From<ActError> for Failure {
    fn from(error: ActError) -> Self {
        Self(StatusCode::CONFLICT, error.to_string())
    }
}

impl From<JsonRejection> for Failure {
    fn from(rejection: JsonRejection) -> Self {
        Self(rejection.status(), rejection.body_text())
    }
}

type Body<T> = Result<Json<T>, JsonRejection>;

async fn list(State(farm): State<Farm>) -> Json<Vec<PrinterState>> {
    Json(farm.handles().iter().map(crate::PrinterHandle::state).collect())
}

async fn add(
    State(farm): State<Farm>,
    config: Body<PrinterConfig>,
) -> Result<(StatusCode, Json<PrinterInfo>), Failure> {
    let Json(config) = config?;
    Ok((StatusCode::CREATED, Json(farm.add(&config)?)))
}

async fn show(State(farm): State<Farm>, Path(name): Path<String>) -> Result<Json<PrinterState>, Failure> {
    Ok(Json(farm.printer(&name)?.state()))
}

async fn person(
    State(farm): State<Farm>,
    Path(name): Path<String>,
    action: Body<Action>,
) -> Result<Json<PrinterState>, Failure> {
    let printer = farm.printer(&name)?;
    let Json(action) = action?;
    printer.person(&action)?;
    printer.settled().await;
    Ok(Json(printer.state()))
}

async fn faults(State(farm): State<Farm>, Path(name): Path<String>) -> Result<Json<Vec<Fault>>, Failure> {
    Ok(Json(farm.printer(&name)?.state().faults))
}

async fn replace_faults(
    State(farm): State<Farm>,
    Path(name): Path<String>,
    faults: Body<Vec<Fault>>,
) -> Result<Json<Vec<Fault>>, Failure> {
    let printer = farm.printer(&name)?;
    let Json(faults) = faults?;
    faults.iter().try_for_each(|fault| known(&printer, fault))?;
    printer.replace_faults(faults);
    printer.settled().await;
    Ok(Json(printer.state().faults))
}

async fn add_fault(
    State(farm): State<Farm>,
    Path(name): Path<String>,
    fault: Body<Fault>,
) -> Result<Json<Vec<Fault>>, Failure> {
    let printer = farm.printer(&name)?;
    let Json(fault) = fault?;
    known(&printer, &fault)?;
    printer.fault(fault);
    printer.settled().await;
    Ok(Json(printer.state().faults))
}

/// A fault that would do nothing must not pass for one that is set.
fn known(printer: &PrinterHandle, fault: &Fault) -> Result<(), Failure> {
    if printer.knows_fault(fault) {
        return Ok(());
    }
    let text = "this kind of printer cannot have this fault: the README lists them by kind".to_owned();
    Err(Failure(StatusCode::UNPROCESSABLE_ENTITY, text))
}

async fn clear_faults(State(farm): State<Farm>, Path(name): Path<String>) -> Result<StatusCode, Failure> {
    let printer = farm.printer(&name)?;
    printer.clear_faults();
    printer.settled().await;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Skip {
    /// Simulated seconds, at most a year.
    seconds: u32,
}

async fn skip_time(State(farm): State<Farm>, skip: Body<Skip>) -> Result<StatusCode, Failure> {
    let Json(Skip { seconds }) = skip?;
    farm.skip_time(Duration::from_secs(u64::from(seconds.min(366 * 86_400))));
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LedgerQuery {
    /// Only entries with a greater sequence.
    #[serde(default)]
    after: u64,
    /// Only this printer's.
    printer: Option<String>,
}

async fn ledger(State(farm): State<Farm>, Query(query): Query<LedgerQuery>) -> Json<Vec<Entry>> {
    let mut entries = farm.ledger().entries_after(query.after);
    if let Some(printer) = &query.printer {
        entries.retain(|entry| &entry.printer == printer);
    }
    Json(entries)
}
