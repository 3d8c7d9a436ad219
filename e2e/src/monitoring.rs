//! The chart's alerts and dashboards as tests look at them: their expressions, and the names of metrics in those. Asks no
//! Prometheus.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;
use thiserror::Error;

use crate::farm::project;

/// Why a file could not be looked at.
#[derive(Debug, Error)]
pub enum MonitoringError {
    /// It could not be read.
    #[error("{path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is not what it should be.
    #[error("{path}: {message}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
}

/// Something that is asked of Prometheus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Where it stands: the alert, or dashboard and panel.
    pub place: String,
    /// The expression, without a dashboard's variables.
    pub expression: String,
}

/// The file with the alerts.
pub fn alerts_file() -> PathBuf {
    project().join("charts/printernizer/files/alerts.yaml")
}

/// The folder with the dashboards.
pub fn dashboards_folder() -> PathBuf {
    project().join("charts/printernizer/files/dashboards")
}

/// The expressions of all alerts.
pub fn alerts() -> Result<Vec<Query>, MonitoringError> {
    let path = alerts_file();
    let file: Value = serde_saphyr::from_str(&read(&path)?).map_err(|error| wrong(&path, &error.to_string()))?;
    let groups = file["groups"].as_array().into_iter().flatten();
    let rules = groups.flat_map(|group| group["rules"].as_array().into_iter().flatten());
    rules
        .map(|rule| match (rule["alert"].as_str(), rule["expr"].as_str()) {
            (Some(place), Some(expression)) => {
                Ok(Query { place: place.to_owned(), expression: expression.trim().to_owned() })
            }
            _ => Err(wrong(&path, "a rule without alert or expr")),
        })
        .collect()
}

/// The dashboards, by the names of their files.
pub fn dashboards() -> Result<BTreeMap<String, Value>, MonitoringError> {
    let folder = dashboards_folder();
    let failed = |source| MonitoringError::Read { path: folder.clone(), source };
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(&folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let value = serde_json::from_str(&read(&path)?).map_err(|error| wrong(&path, &error.to_string()))?;
        found.insert(path.file_name().unwrap_or_default().to_string_lossy().into_owned(), value);
    }
    Ok(found)
}

/// The panels of a dashboard that show something.
pub fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    dashboard["panels"].as_array().into_iter().flatten().filter(|panel| panel["type"] != "row")
}

/// What the panels of a dashboard ask, with Grafana's variables as they are where somebody looks at everything in the last
/// quarter of an hour.
pub fn queries(dashboard: &Value) -> Vec<Query> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let of_panel = |panel: &Value| -> Vec<Query> {
        let place = format!("{}: {}", text(&dashboard["title"]), text(&panel["title"]));
        let targets = panel["targets"].as_array().into_iter().flatten();
        let filled = |expression: &str| {
            let variables = [
                ("$__rate_interval", "5m"),
                ("$__interval", "5m"),
                ("$__range", "15m"),
                ("$namespace", ".*"),
                ("$job", ".*"),
            ];
            variables.iter().fold(expression.to_owned(), |text, (name, value)| text.replace(name, value))
        };
        targets.map(|target| Query { place: place.clone(), expression: filled(&text(&target["expr"])) }).collect()
    };
    panels(dashboard).flat_map(of_panel).collect()
}

/// The names of metrics in an expression: ours, and those of the process.
pub fn metric_names(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    words.filter(|w| w.starts_with("printernizer_") || w.starts_with("process_")).map(str::to_owned).collect()
}

/// What an expression wants of labels: metric, label and value, three times of `m{a=~"x|y",b!="z"}`. Which release is meant, and
/// the bounds of histograms, are left out.
pub fn wanted(expression: &str) -> Vec<(String, String, String)> {
    let of_metric = |(at, _): (usize, &str)| -> Vec<(String, String, String)> {
        let Some((metric, rest)) = expression[at..].split_once('{') else { return Vec::new() };
        if !metric.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
            return Vec::new();
        }
        let matchers = rest.split('}').next().unwrap_or_default().split(',');
        let matchers = matchers.filter_map(|matcher| matcher.trim().split_once(['=', '!']));
        let matchers = matchers.filter(|(label, _)| !["namespace", "job", "le"].contains(label));
        let values = matchers.flat_map(|(label, values)| {
            let values = values.trim_start_matches(['=', '~']).trim_matches('"').split('|');
            values.map(move |value| (metric.to_owned(), label.to_owned(), value.to_owned()))
        });
        values.collect()
    };
    expression.match_indices("printernizer_").flat_map(of_metric).collect()
}

/// The metrics the operator has, with their types, as `docs/metrics.md` lists them; a test of the operator compares that
/// list with the program.
pub fn documented_metrics() -> Result<BTreeMap<String, String>, MonitoringError> {
    let path = project().join("docs/metrics.md");
    let text = read(&path)?;
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `printernizer_"));
    let metric = |row: &str| {
        let mut cells = row.split('|').map(str::trim);
        Some((format!("printernizer_{}", cells.next()?.trim_end_matches('`')), cells.next()?.to_owned()))
    };
    Ok(rows.filter_map(metric).collect())
}

fn read(path: &Path) -> Result<String, MonitoringError> {
    std::fs::read_to_string(path).map_err(|source| MonitoringError::Read { path: path.to_owned(), source })
}

fn wrong(path: &Path, message: &str) -> MonitoringError {
    MonitoringError::Content { path: path.to_owned(), message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_metrics_are_told_from_labels_and_functions() {
        let expression = "sum by (le) (rate(printernizer_a_bucket{job=~\"x\"}[1m])) / process_b > printernizer_c_total";
        let names: Vec<String> = metric_names(expression).into_iter().collect();
        assert_eq!(names, ["printernizer_a_bucket", "printernizer_c_total", "process_b"]);
    }

    #[test]
    fn what_is_wanted_of_labels_is_told_with_its_metric_and_without_the_release() {
        let of =
            r#"rate(printernizer_a{job="x",b=~"c|d"}[1m]) / printernizer_e + printernizer_f{namespace!~"x", g!="h"}"#;
        let read: Vec<String> =
            wanted(of).into_iter().map(|(metric, label, value)| format!("{metric} {label} {value}")).collect();
        assert_eq!(read, ["printernizer_a b c", "printernizer_a b d", "printernizer_f g h"]);
    }
}
