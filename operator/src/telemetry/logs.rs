//! Log lines for the person at night: JSON or text, on standard output, with the farm's local time and its offset.
//! Printer, job and namespace are fields of their own. Sets the global subscriber, once per process. A line that cannot
//! be written is lost and nothing else: whoever reads the log may go at any time, prints must go on.

use std::fmt;
use std::io::{self, Write};

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use jiff::tz::TimeZone;
use thiserror::Error;
use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt as lines};

/// The client of the API server quotes whole objects it cannot read, with all that is secret in them: addresses with
/// signatures, Secrets. Our own errors say which object it was. A filter that names this target has its way.
/// Nor does it say more than our own errors do when the API server cannot be reached, and it says it at every try.
const QUIET: &str = "kube_client::client=off";

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line, for machines.
    #[default]
    Json,
    /// One readable line, for people.
    Text,
}

/// Why logging could not be set up.
#[derive(Debug, Error)]
pub enum LogError {
    /// No such time zone.
    #[error("there is no time zone {name:?}; write a name of the IANA database such as Europe/Berlin")]
    Zone {
        /// What was asked for.
        name: String,
        /// Why it was not found.
        source: jiff::Error,
    },
    /// The filter does not parse.
    #[error("the log filter {filter:?} does not parse; write for example info or printernizer=debug,kube=warn")]
    Filter {
        /// What was asked for.
        filter: String,
        /// Why it does not parse.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Somebody else was first.
    #[error("logging was set up twice in one process")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// How this process logs.
#[derive(Clone, Debug)]
pub struct LogOptions {
    format: LogFormat,
    zone: TimeZone,
    filter: String,
}

impl LogOptions {
    /// Name of the zone when none is given.
    pub const DEFAULT_ZONE: &str = "Europe/Berlin";

    /// `zone` is an IANA name; `filter` is the value of RUST_LOG, info when none or empty.
    pub fn new(format: LogFormat, zone: &str, filter: Option<&str>) -> Result<Self, LogError> {
        let zone = TimeZone::get(zone).map_err(|source| LogError::Zone { name: zone.to_owned(), source })?;
        let filter = filter.map(str::trim).filter(|filter| !filter.is_empty()).unwrap_or("info").to_owned();
        EnvFilter::try_new(&filter).map_err(|source| LogError::Filter { filter: filter.clone(), source })?;
        Ok(Self { format, zone, filter })
    }

    /// Makes standard output the log of this process.
    pub fn install(&self) -> Result<(), LogError> {
        self.subscriber(|| Unfailing(io::stdout())).try_init().map_err(LogError::Twice)
    }

    fn subscriber<W>(&self, writer: W) -> Box<dyn Subscriber + Send + Sync>
    where
        W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
    {
        let filter = EnvFilter::new(format!("{QUIET},{}", self.filter));
        let timer = LocalTime(self.zone.clone());
        let lines = lines::Subscriber::builder().with_env_filter(filter).with_timer(timer).with_writer(writer);
        match self.format {
            LogFormat::Json => Box::new(lines.json().flatten_event(true).with_span_list(false).finish()),
            LogFormat::Text => Box::new(lines.with_ansi(false).finish()),
        }
    }
}

/// Writes what can be written. A failed write must reach nobody: the subscriber would tell standard error of it, which
/// may be the same closed pipe, and a panic over that would end the operator.
struct Unfailing<W>(W);

impl<W: Write> Write for Unfailing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = self.0.flush();
        Ok(())
    }
}

struct LocalTime(TimeZone);

impl FormatTime for LocalTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        writer.write_str(&rfc3339(Timestamp::now(), &self.0))
    }
}

/// Local time with offset and milliseconds: `2026-07-01T14:00:00.000+02:00`. The zone's name is left out, since
/// RFC 3339 has no place for it.
pub fn rfc3339(time: Timestamp, zone: &TimeZone) -> String {
    const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));
    PRINTER.timestamp_with_offset_to_string(&time, zone.to_offset(time))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn line(format: LogFormat) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let options = LogOptions::new(format, LogOptions::DEFAULT_ZONE, None).unwrap();
        tracing::subscriber::with_default(options.subscriber(move || writer.clone()), || {
            let span = tracing::info_span!("reconcile", printer = "core-one-1", namespace = "farm");
            span.in_scope(|| tracing::info!(job = "bracket", "the print has started"));
            tracing::debug!("not shown by default");
        });
        let written = sink.0.lock().unwrap().clone();
        String::from_utf8(written).unwrap()
    }

    #[test]
    fn a_json_line_has_its_fields_by_name() {
        let text = line(LogFormat::Json);
        assert_eq!(text.lines().count(), 1, "{text}");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["job"], "bracket");
        assert_eq!(value["message"], "the print has started");
        assert_eq!((&value["span"]["printer"], &value["span"]["namespace"]), (&"core-one-1".into(), &"farm".into()));
        let time = value["timestamp"].as_str().unwrap();
        assert!(time.ends_with("+01:00") || time.ends_with("+02:00"), "{time}");
        assert!(time.parse::<Timestamp>().is_ok(), "{time}");
    }

    #[test]
    fn objects_that_cannot_be_read_are_not_quoted_however_much_is_logged() {
        for filter in [None, Some("debug"), Some("trace,printernizer=info")] {
            let sink = Sink::default();
            let writer = sink.clone();
            let options = LogOptions::new(LogFormat::Json, "UTC", filter).unwrap();
            tracing::subscriber::with_default(options.subscriber(move || writer.clone()), || {
                tracing::warn!(target: "kube_client::client", "{{\"password\": \"hidden\"}}");
                tracing::error!(target: "kube_client::client::builder", "hidden");
                tracing::warn!(target: "kube_runtime::watcher", "shown");
            });
            let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
            assert!(!text.contains("hidden") && text.contains("shown"), "{filter:?}: {text}");
        }
    }

    #[test]
    fn a_line_that_cannot_be_written_is_no_error() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut log = Unfailing(writer);
        assert!(log.0.write_all(b"nobody reads").is_err());
        log.write_all(b"nobody reads").unwrap();
        log.flush().unwrap();
    }

    #[test]
    fn a_text_line_reads_without_a_terminal() {
        let text = line(LogFormat::Text);
        assert!(text.contains("the print has started") && text.contains("core-one-1"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn summer_and_winter_have_their_own_offset() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let shown = |time: &str| rfc3339(time.parse().unwrap(), &berlin);
        assert_eq!(shown("2026-07-01T12:00:00Z"), "2026-07-01T14:00:00.000+02:00");
        assert_eq!(shown("2026-10-25T00:59:59.9Z"), "2026-10-25T02:59:59.900+02:00");
        assert_eq!(shown("2026-10-25T01:00:00Z"), "2026-10-25T02:00:00.000+01:00");
    }

    #[test]
    fn unknown_settings_say_what_to_write_instead() {
        let zone = LogOptions::new(LogFormat::Text, "Europe/Berln", None).unwrap_err().to_string();
        assert!(zone.contains("Europe/Berlin"), "{zone}");
        assert!(LogOptions::new(LogFormat::Text, "UTC", Some("printernizer=loud")).is_err());
    }
}
