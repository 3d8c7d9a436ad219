//! Reads a printer's JSON into report.rs, leniently: wrong or missing members become `None`, one bad number never costs
//! the whole report. It never guesses a state. What is not a PrusaLink at all is an error that says what was found.
//! Known variants: Buddy sends `storage` as an object, Python PrusaLink as a list; Buddy before 6.2.0 could send a
//! trailing comma in /api/v1/job (Buddy issue 4193), which stays an error here and passes with the next poll.

use serde_json::{Map, Value};

use crate::error::{Error, clean_text};
use crate::report::{
    FileInfo, Flavor, JobFile, JobId, JobReport, JobSummary, PrinterInfo, State, StatusReport, Storage, Telemetry,
    TransferSummary, VersionInfo,
};

type Object = Map<String, Value>;

/// Reads a JSON object, or says what it was instead.
pub(crate) fn object(request: &str, body: &[u8]) -> Result<Object, Error> {
    let start = body.iter().find(|byte| !byte.is_ascii_whitespace());
    match start {
        None => return Err(Error::protocol(request, "the answer is empty")),
        Some(b'<') => return Err(Error::NotPrusaLink { found: "a web page".into() }),
        Some(_) => {}
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Error::NotPrusaLink { found: "JSON, but no object".into() }),
        Err(source) if start == Some(&b'{') => Err(Error::Protocol {
            request: request.into(),
            detail: "the answer is not valid JSON".into(),
            source: Some(source.into()),
        }),
        Err(_) => Err(Error::NotPrusaLink { found: clean_text(&String::from_utf8_lossy(&body[..body.len().min(80)])) }),
    }
}

pub(crate) fn version(object: &Object) -> Result<VersionInfo, Error> {
    let text = text(object, "text").unwrap_or_default();
    let Some(rest) = text.strip_prefix("PrusaLink") else {
        let found = if text.is_empty() { "other JSON".to_owned() } else { text };
        return Err(Error::NotPrusaLink { found });
    };
    // Buddy says the bare word; only the Python server adds its version and the model under `original`.
    let is_python = !rest.trim().is_empty() || object.get("original").is_some_and(Value::is_string);
    Ok(VersionInfo {
        flavor: if is_python { Flavor::PyLink } else { Flavor::Buddy },
        api: self::text(object, "api"),
        firmware: self::text(object, "firmware"),
        printer: self::text(object, "printer").or_else(|| self::text(object, "original")),
        hostname: self::text(object, "hostname"),
        text,
    })
}

pub(crate) fn info(object: &Object) -> PrinterInfo {
    PrinterInfo {
        serial: text(object, "serial"),
        hostname: text(object, "hostname"),
        nozzle_diameter_millimeters: number(object, "nozzle_diameter"),
        mmu: boolean(object, "mmu"),
        min_extrusion_temperature_celsius: number(object, "min_extrusion_temp"),
        name: text(object, "name"),
        location: text(object, "location"),
    }
}

pub(crate) fn status(object: &Object) -> Result<StatusReport, Error> {
    let Some(printer) = child(object, "printer") else {
        return Err(Error::NotPrusaLink { found: "a status without a printer".into() });
    };
    let trouble = ["status_printer", "status_connect"].iter().find_map(|key| {
        let part = child(printer, key)?;
        // Only the state of the machine counts; a missing link to the vendor's cloud is no trouble.
        (*key == "status_printer" && boolean(part, "ok") == Some(false)).then(|| text(part, "message"))?
    });
    Ok(StatusReport {
        state: state(printer),
        job: child(object, "job").map(|job| JobSummary {
            id: job_id(job),
            progress_percent: number(job, "progress"),
            time_remaining_seconds: whole(job, "time_remaining"),
            time_printing_seconds: whole(job, "time_printing"),
            filament_change_in_seconds: whole(job, "filament_change_in"),
        }),
        storages: storages(object.get("storage")),
        transfer: child(object, "transfer").map(|transfer| TransferSummary {
            id: whole(transfer, "id"),
            progress_percent: number(transfer, "progress"),
            transferred_bytes: whole(transfer, "transferred").or_else(|| whole(transfer, "data_transferred")),
            time_transferring_seconds: whole(transfer, "time_transferring"),
        }),
        telemetry: Telemetry {
            nozzle_celsius: number(printer, "temp_nozzle"),
            nozzle_target_celsius: number(printer, "target_nozzle"),
            bed_celsius: number(printer, "temp_bed"),
            bed_target_celsius: number(printer, "target_bed"),
            axis_z_millimeters: number(printer, "axis_z"),
            speed_percent: number(printer, "speed"),
            flow_percent: number(printer, "flow"),
        },
        trouble,
    })
}

pub(crate) fn job(object: &Object) -> JobReport {
    JobReport {
        id: job_id(object),
        state: state(object),
        progress_percent: number(object, "progress"),
        time_remaining_seconds: whole(object, "time_remaining"),
        time_printing_seconds: whole(object, "time_printing"),
        file: child(object, "file").map(|file| JobFile {
            name: text(file, "name"),
            display_name: text(file, "display_name"),
            path: text(file, "path"),
            size_bytes: whole(file, "size"),
        }),
    }
}

pub(crate) fn storage_list(request: &str, object: &Object) -> Result<Vec<Storage>, Error> {
    match object.get("storage_list") {
        Some(list @ Value::Array(_)) => Ok(storages(Some(list))),
        _ => Err(Error::protocol(request, "the answer has no storage_list")),
    }
}

pub(crate) fn file(object: &Object) -> FileInfo {
    FileInfo {
        name: text(object, "name"),
        display_name: text(object, "display_name"),
        kind: text(object, "type"),
        size_bytes: whole(object, "size"),
        modified_unix_seconds: whole(object, "m_timestamp"),
    }
}

/// The loaded material in the legacy answer of `/api/printer`; `---` means none.
pub(crate) fn material(object: &Object) -> Option<String> {
    let material = text(child(object, "telemetry")?, "material")?;
    (!material.is_empty() && material.chars().any(|character| character != '-')).then_some(material)
}

/// The printer's own words in an error answer: the `message` of its JSON, or the plain text.
pub(crate) fn refusal(body: &[u8]) -> String {
    if let Ok(Value::Object(object)) = serde_json::from_slice(body) {
        let words = text(&object, "message").filter(|words| !words.is_empty()).or_else(|| text(&object, "title"));
        return words.unwrap_or_default();
    }
    let start = String::from_utf8_lossy(&body[..body.len().min(4096)]);
    if start.trim_start().starts_with('<') { "(a web page)".into() } else { clean_text(&start) }
}

fn storages(value: Option<&Value>) -> Vec<Storage> {
    let one = |value: &Value| {
        let object = value.as_object()?;
        Some(Storage {
            path: text(object, "path"),
            name: text(object, "name"),
            kind: text(object, "type"),
            read_only: boolean(object, "read_only").or_else(|| boolean(object, "ro")),
            available: boolean(object, "available"),
            free_bytes: whole(object, "free_space"),
            total_bytes: whole(object, "total_space"),
        })
    };
    match value {
        Some(Value::Array(list)) => list.iter().filter_map(one).collect(),
        Some(value) => one(value).into_iter().collect(),
        None => Vec::new(),
    }
}

fn state(object: &Object) -> State {
    let word = text(object, "state").unwrap_or_default();
    match word.to_ascii_uppercase().as_str() {
        "IDLE" => State::Idle,
        "BUSY" => State::Busy,
        "PRINTING" => State::Printing,
        "PAUSED" => State::Paused,
        "FINISHED" => State::Finished,
        "STOPPED" => State::Stopped,
        "ERROR" => State::Error,
        "ATTENTION" => State::Attention,
        "READY" => State::Ready,
        _ => State::Unknown(word),
    }
}

fn job_id(object: &Object) -> Option<JobId> {
    whole(object, "id").and_then(|id| JobId::try_from(id).ok())
}

fn child<'a>(object: &'a Object, key: &str) -> Option<&'a Object> {
    object.get(key)?.as_object()
}

fn text(object: &Object, key: &str) -> Option<String> {
    object.get(key)?.as_str().map(clean_text)
}

fn boolean(object: &Object, key: &str) -> Option<bool> {
    object.get(key)?.as_bool()
}

fn number(object: &Object, key: &str) -> Option<f64> {
    match object.get(key)? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
        _ => None,
    }
}

/// A whole number that is not negative; sizes may come as decimal strings, times with a fraction.
fn whole(object: &Object, key: &str) -> Option<u64> {
    match object.get(key)? {
        Value::Number(number) => number.as_u64().or_else(|| {
            let number = number.as_f64().filter(|number| (0.0..1e15).contains(number))?;
            // Inside the range checked above the cast is exact up to the fraction, which is meant to go.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            Some(number as u64)
        }),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
