//! The JSON the printer writes, field by field as the firmware does: two decimals where it prints two, absent fields
//! absent. Written as text because a number like `42.00` is part of the behaviour.

use std::time::Duration;

use super::{
    Inner, Printer,
    files::type_name,
    firmware::{JobView, LinkState},
    upload::{Transfer, elapsed},
    usb::{Content, FoundFile, Node},
};

/// Version of the TCP/IP stack, which the firmware shows as its server version.
const SERVER_VERSION: &str = "2.1.2";

pub(super) fn version(printer: &Printer) -> String {
    format!(
        r#"{{"api":"2.0.0","server":"{SERVER_VERSION}","nozzle_diameter":{:.2},"text":"PrusaLink","hostname":{},"capabilities":{{"upload-by-put":true}}}}"#,
        printer.nozzle_diameter_millimeters,
        text(printer.life.name()),
    )
}

pub(super) fn info(printer: &Printer, inner: &Inner) -> String {
    let serial_number = inner.faults.wrong_serial().unwrap_or(&inner.serial_number);
    format!(
        r#"{{"nozzle_diameter":{:.2},"mmu":{},"serial":{},"hostname":{},"min_extrusion_temp":170}}"#,
        printer.nozzle_diameter_millimeters,
        printer.mmu,
        text(serial_number),
        text(printer.life.name()),
    )
}

pub(super) fn status(inner: &Inner, now: Duration) -> String {
    let firmware = &inner.firmware;
    let mut fields = Vec::new();
    if let Some(job) = firmware.job(now) {
        fields.push(format!(r#""job":{{{}}}"#, job_numbers(&job, "")));
    }
    fields.push(r#""storage":{"path":"/usb/","name":"usb","read_only":false}"#.to_owned());
    if let Some(transfer) = &inner.transfer {
        fields.push(format!(
            r#""transfer":{{"id":{},"time_transferring":{},"progress":{:.2},"transferred":{}}}"#,
            transfer.id,
            elapsed(transfer).as_secs(),
            percent(transfer),
            transfer.transferred_bytes,
        ));
    }
    let state = firmware.link_state().unwrap_or(LinkState::Idle);
    let hot = matches!(state, LinkState::Printing | LinkState::Paused | LinkState::Attention);
    let (nozzle, bed) = if hot { ("215.0", "60.0") } else { ("24.0", "23.0") };
    let (target_nozzle, target_bed) = if hot { (nozzle, bed) } else { ("0.0", "0.0") };
    let axes = if state == LinkState::Printing { "" } else { r#""axis_x":0.0,"axis_y":0.0,"# };
    let fan = if hot { 4800 } else { 0 };
    fields.push(format!(
        r#""printer":{{"state":"{}","temp_bed":{bed},"target_bed":{target_bed},"temp_nozzle":{nozzle},"target_nozzle":{target_nozzle},{axes}"axis_z":10.0,"flow":100,"speed":100,"fan_hotend":{fan},"fan_print":{fan}}}"#,
        state.as_str(),
    ));
    format!("{{{}}}", fields.join(","))
}

pub(super) fn job(job: &JobView) -> String {
    let found = &job.file;
    let refs = refs(&found.short_folder, &found.short_name);
    format!(
        r#"{{{},"file":{{"refs":{refs},"name":{},"display_name":{},"path":{},"size":{},"m_timestamp":{}}}}}"#,
        job_numbers(job, job_state(job.state)),
        text(&found.short_name),
        text(&found.long_name),
        text(&found.short_folder),
        found.file.data.len(),
        found.file.modified_unix_seconds,
    )
}

pub(super) fn storage(inner: &Inner) -> String {
    format!(
        r#"{{"storage_list":[{{"path":"/usb/","name":"usb","type":"USB","read_only":false,"available":{}}}]}}"#,
        inner.firmware.usb.inserted,
    )
}

pub(super) fn transfer(transfer: &Transfer) -> String {
    let seconds = elapsed(transfer).as_secs();
    let remaining_bytes = transfer.size_bytes - transfer.transferred_bytes;
    let remaining = remaining_bytes.saturating_mul(seconds).checked_div(transfer.transferred_bytes).unwrap_or(0);
    format!(
        r#"{{"type":"FROM_CLIENT","display_name":{},"path":{},"size":"{}","progress":{:.2},"transferred":{},"time_remaining":{remaining},"time_transferring":{seconds},"to_print":{}}}"#,
        text(transfer.path.last().map_or("", String::as_str)),
        text(&format!("/usb/{}", transfer.path.join("/"))),
        transfer.size_bytes,
        percent(transfer),
        transfer.transferred_bytes,
        transfer.to_print,
    )
}

pub(super) fn legacy_printer(inner: &Inner, _now: Duration) -> String {
    let state = inner.firmware.link_state().unwrap_or(LinkState::Idle);
    let printing = state == LinkState::Printing;
    let paused = matches!(state, LinkState::Paused | LinkState::Attention);
    format!(
        r#"{{"telemetry":{{"temp-bed":23.0,"temp-nozzle":24.0,"print-speed":100,"z-height":10.0,"material":{}}},"temperature":{{"tool0":{{"actual":24.0,"target":0.0}},"bed":{{"actual":23.0,"target":0.0}}}},"state":{{"text":"{}","flags":{{"link_state":"{}","operational":{},"paused":{paused},"printing":{printing},"cancelling":false,"pausing":false,"error":false,"sdReady":false,"closedOnError":false,"ready":{},"busy":{}}}}}}}"#,
        text(inner.firmware.material()),
        if printing { "Printing" } else { "Operational" },
        state.as_str(),
        !printing && !paused,
        !printing && !paused,
        state == LinkState::Busy,
    )
}

/// A file as listed, with its size.
pub(super) fn file(found: &FoundFile) -> String {
    let content = Content::File(found.file.clone());
    let refs = refs(&found.short_folder, &found.short_name);
    entry(&found.short_name, &found.long_name, &content, Some(&refs), true)
}

/// A folder with its children, which lack the size.
pub(super) fn folder(path: &[String], node: Option<&Node>, children: &[Node]) -> String {
    let (name, display_name) = node.map_or(("usb", "usb"), |node| (&node.short_name, &node.long_name));
    let short_folder = if path.is_empty() { "/usb".to_owned() } else { format!("/usb/{}", path.join("/")) };
    let children: Vec<String> = children
        .iter()
        .map(|child| {
            let refs = matches!(child.content, Content::File(_)).then(|| refs(&short_folder, &child.short_name));
            entry(&child.short_name, &child.long_name, &child.content, refs.as_deref(), false)
        })
        .collect();
    format!(
        r#"{{"name":{},"ro":false,"type":"FOLDER","display_name":{},"children":[{}]}}"#,
        text(name),
        text(display_name),
        children.join(","),
    )
}

fn entry(name: &str, display_name: &str, content: &Content, refs: Option<&str>, with_size: bool) -> String {
    let mut fields = vec![
        format!(r#""name":{}"#, text(name)),
        r#""ro":false"#.to_owned(),
        format!(r#""type":"{}""#, type_name(display_name, content)),
    ];
    if let Content::File(file) = content {
        fields.push(format!(r#""m_timestamp":{}"#, file.modified_unix_seconds));
        if with_size {
            fields.push(format!(r#""size":{}"#, file.data.len()));
        }
    }
    if let Some(refs) = refs {
        fields.push(format!(r#""refs":{refs}"#));
    }
    fields.push(format!(r#""display_name":{}"#, text(display_name)));
    format!("{{{}}}", fields.join(","))
}

fn refs(short_folder: &str, short_name: &str) -> String {
    let path = format!("{short_folder}/{short_name}");
    format!(
        r#"{{"icon":{},"thumbnail":{},"download":{}}}"#,
        text(&format!("/thumb/s{path}")),
        text(&format!("/thumb/l{path}")),
        text(&path),
    )
}

/// The numbers of a job, without braces. `state` is written if not empty.
fn job_numbers(job: &JobView, state: &str) -> String {
    let mut fields = vec![format!(r#""id":{}"#, job.id)];
    if !state.is_empty() {
        fields.push(format!(r#""state":"{state}""#));
    }
    fields.push(format!(r#""progress":{}.00"#, job.progress_percent));
    if let Some(seconds) = job.time_remaining_seconds {
        fields.push(format!(r#""time_remaining":{seconds}"#));
    }
    fields.push(format!(r#""time_printing":{}"#, job.time_printing_seconds));
    fields.join(",")
}

/// A job at a dialog is shown as paused; only the printer's own state says ATTENTION.
fn job_state(state: LinkState) -> &'static str {
    match state {
        LinkState::Attention => LinkState::Paused.as_str(),
        other => other.as_str(),
    }
}

#[allow(clippy::cast_precision_loss, reason = "a percentage shown with two decimals")]
fn percent(transfer: &Transfer) -> f64 {
    transfer.transferred_bytes as f64 * 100.0 / transfer.size_bytes.max(1) as f64
}

/// A JSON string.
fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
