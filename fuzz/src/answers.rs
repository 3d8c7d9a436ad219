//! What printers send. A printer is believed neither in form nor in length.

use printernizer_bambu::report::Report;

/// One message after another, one on each line, as a connection takes them in.
pub fn bambu_report(bytes: &[u8]) {
    let (reports, refusals) = printernizer_bambu::fuzzing::messages(bytes.split(|byte| *byte == b'\n'));
    reports.iter().for_each(holds);
    for refusal in refusals {
        fit_for_people(&refusal.to_string());
    }
}

fn holds(report: &Report) {
    assert!(report.percent.is_none_or(|percent| percent <= 100));
    assert!(report.nozzle_diameter_millimeters.is_none_or(f64::is_finite));
    assert!(report.hms.len() <= 64 && report.ams.units.len() <= 16 && report.external.len() <= 8);
    let trays = report.ams.units.iter().flat_map(|unit| &unit.trays).chain(&report.external);
    assert!(trays.clone().count() <= 16 * 8 + 8);
    let words = trays.flat_map(|tray| [&tray.material, &tray.color_rgba]);
    let names = [&report.subtask_name, &report.gcode_file, &report.ids.task, &report.ids.subtask, &report.ids.project];
    for text in words.chain(names).flatten() {
        assert!(text.chars().count() <= 300, "{text:?}");
    }
}

/// The same bytes in pieces of any size are the same replies.
pub fn ftp_reply(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let whole = printernizer_bambu::fuzzing::ftp_replies(&[rest]);
    let pieces: Vec<&[u8]> = rest.chunks(usize::from(*first).max(1)).collect();
    assert_eq!(whole, printernizer_bambu::fuzzing::ftp_replies(&pieces));
    for text in whole {
        fit_for_people(&text);
    }
}

/// The body of any answer, read as each of them.
pub fn prusalink_answer(bytes: &[u8]) {
    for text in printernizer_prusalink::fuzzing::answers(bytes) {
        fit_for_people(&text);
    }
}

fn fit_for_people(text: &str) {
    assert!(text.chars().count() <= 500 && !text.chars().any(char::is_control), "{text:?}");
}
