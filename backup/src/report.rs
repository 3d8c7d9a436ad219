//! What a run says at its end, as the kubelet keeps it: valid JSON of at most [`MAX_REPORT_BYTES`], whatever the message.

use std::io;
use std::path::Path;

use printernizer_crds::backup_policy::{MAX_REPORT_BYTES, MAX_REPORT_MESSAGE_BYTES, Report};

/// What stands where text was cut.
const CUT: &str = "…";

/// The report as JSON that fits. A message that is too long is cut, never inside a character; everything else stays.
pub fn encode(mut report: Report) -> Result<Vec<u8>, serde_json::Error> {
    report.message = plain(&report.message);
    let mut room = MAX_REPORT_MESSAGE_BYTES;
    loop {
        report.message = cut(&report.message, room);
        let bytes = serde_json::to_vec(&report)?;
        if bytes.len() <= MAX_REPORT_BYTES || room == 0 {
            return Ok(bytes);
        }
        // JSON may need six bytes for one, so that what fits is found by trying.
        room /= 2;
    }
}

/// Writes the report over whatever is in the file; the kubelet has made it.
pub fn write(report: &Report, path: &Path) -> io::Result<()> {
    let bytes = encode(report.clone()).map_err(io::Error::other)?;
    std::fs::write(path, bytes)
}

/// The text without line breaks and other control characters, which conditions and tables cannot show.
pub fn plain(text: &str) -> String {
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()).collect();
    words.join(" ")
}

/// At most so many bytes of the text, whole characters.
pub fn cut(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let Some(room) = bytes.checked_sub(CUT.len()) else { return String::new() };
    format!("{}{CUT}", printernizer_crds::conditions::cut(text, room))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use printernizer_crds::backup_policy::{Reading, RepositoryFacts, Role, RunReason};

    use super::*;

    fn report(message: String) -> Report {
        let time = Time(Timestamp::from_second(1_795_000_000).unwrap());
        Report {
            role: Role::Backup,
            reason: RunReason::TargetUnreachable,
            message,
            start_time: time.clone(),
            end_time: time.clone(),
            snapshot: Some("r".repeat(64)),
            recovery_point_time: Some(time.clone()),
            repository: Some(RepositoryFacts {
                id: "f".repeat(64),
                snapshot_count: i32::MAX,
                broken_count: Some(i32::MAX),
                oldest_recovery_point: Some(time.clone()),
                newest_recovery_point: Some(time),
                size_bytes: Some(i64::MAX),
            }),
            bytes: Some(i64::MAX),
            bytes_changed: Some(i64::MIN),
            restore_seconds: Some(i64::MAX),
            read_data_percent: Some(100),
            previous_snapshot: Some("r".repeat(64)),
            copy_ids: vec![Some("f".repeat(64)); 2],
            reading: Some(Reading { done: 256, of: 256 }),
            read_before: Some(256),
        }
    }

    #[test]
    fn a_report_fits_and_is_valid_whatever_its_message_is() {
        for piece in ["a", "ü", "💥", "\"", "\\", "\u{0}", "\n", "\u{7f}", "𝄞\"\\", "{\"a\":", "\u{2028}"] {
            for count in [0, 1, 170, 340, 511, 512, 1_023, 1_024, 1_025, 5_000] {
                let bytes = encode(report(piece.repeat(count))).unwrap();
                assert!(bytes.len() <= MAX_REPORT_BYTES, "{piece:?} x {count}: {} bytes", bytes.len());
                let read: Report = serde_json::from_slice(&bytes).unwrap();
                assert!(read.message.len() <= MAX_REPORT_MESSAGE_BYTES);
                assert_eq!(read.repository, report(String::new()).repository);
            }
        }
    }

    #[test]
    fn text_is_cut_between_characters_and_says_so() {
        assert_eq!(cut("Größe", 100), "Größe");
        assert_eq!(cut("Größenwahn", 8), "Grö…");
        assert_eq!(cut("Größenwahn", 6), "Gr…");
        assert_eq!(cut("ab", 1), "");
        assert_eq!(plain("two\nlines\tand \u{7} a bell"), "two lines and a bell");
    }

    #[test]
    fn a_report_replaces_what_was_in_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "x".repeat(10_000)).unwrap();
        write(&report("done".to_owned()), file.path()).unwrap();
        let read: Report = serde_json::from_slice(&std::fs::read(file.path()).unwrap()).unwrap();
        assert_eq!(read.message, "done");
    }
}
