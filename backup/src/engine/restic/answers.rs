//! What restic 0.18 answers: JSON on standard output, JSON and plain words on standard error.

use std::collections::BTreeSet;

use jiff::Timestamp;
use printernizer_crds::backup_policy::Retention;
use serde::Deserialize;

use super::super::{Entry, EntryKind, Restored, Snapshot, Stored};

/// How many complaints become part of a message.
const TOLD: usize = 3;

/// What was said on standard error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// The last word.
    exit: Option<String>,
    /// Complaints about files, with the file, and about the repository.
    errors: Vec<(String, String)>,
    /// Everything else.
    plain: Vec<String>,
}

impl Said {
    /// Reads the lines.
    pub fn read(lines: &[String]) -> Self {
        #[derive(Deserialize)]
        struct Line {
            message_type: String,
            #[serde(default)]
            message: String,
            #[serde(default)]
            item: String,
            error: Option<Inner>,
        }
        #[derive(Deserialize)]
        struct Inner {
            #[serde(default)]
            message: String,
        }
        let mut said = Self::default();
        for line in lines {
            match serde_json::from_str::<Line>(line) {
                Ok(line) if line.message_type == "exit_error" => said.exit = Some(line.message),
                Ok(line) if line.message_type == "error" => {
                    let message = line.error.map_or(line.message, |inner| inner.message);
                    said.errors.push((line.item, message));
                }
                Ok(_) => {}
                Err(_) => said.plain.push(line.clone()),
            }
        }
        said
    }

    /// Without what restic says because it was told to end.
    pub fn before_it_was_ended(mut self) -> Self {
        self.exit = None;
        self.plain.retain(|line| !line.contains("received, cleaning up"));
        self
    }

    /// All of it in a sentence or two.
    pub fn text(&self) -> String {
        let mut parts: Vec<String> = Vec::new();
        let mut seen = BTreeSet::new();
        let exit = self.exit.as_deref().map(|exit| exit.trim().trim_start_matches("Fatal: ").trim());
        // The rest repeats the address.
        let exit = exit.map(|exit| exit.split("\nIs there a repository").next().unwrap_or(exit));
        let errors = self.errors.iter().map(|(_, message)| message.as_str());
        // What was tried again is the cause; each attempt tells the same.
        let plain = self.plain.iter().rev().map(|line| match line.split_once("retrying after ") {
            Some((_, rest)) => rest.split_once(": ").map_or(rest, |(_, cause)| cause),
            None => line.as_str(),
        });
        let trouble = errors.chain(plain).map(str::trim).filter(|text| !text.is_empty());
        for text in exit.into_iter().chain(trouble).map(|text| text.trim_start_matches("error: ")) {
            if parts.len() > TOLD || !seen.insert(text.to_owned()) || parts.iter().any(|part| part.contains(text)) {
                continue;
            }
            parts.push(text.to_owned());
        }
        parts.join("; ")
    }

    /// The files that could not be read.
    pub fn unreadable(&self) -> String {
        let files: Vec<String> = self.errors.iter().map(|(item, message)| format!("{item} ({message})")).collect();
        let distinct: BTreeSet<&String> = files.iter().collect();
        let named: Vec<&str> = distinct.iter().take(TOLD).map(|file| file.as_str()).collect();
        let more = if distinct.len() > TOLD { " and others" } else { "" };
        format!(
            "some files could not be read, so there is no recovery point: {}{more}; let the pods' user read them \
             (spec.jobTemplate.runAsUser, fsGroup), or exclude them",
            if named.is_empty() { self.text() } else { named.join(", ") }
        )
    }

    /// Whether the command that makes the data failed.
    pub fn command_failed(&self) -> bool {
        self.exit
            .as_deref()
            .is_some_and(|exit| exit.contains("command failed") || exit.contains("failed to start command"))
    }
}

/// The result of a backup, if the line is one.
pub fn summary(line: &[u8]) -> Option<Stored> {
    #[derive(Deserialize)]
    struct Summary {
        message_type: String,
        snapshot_id: String,
        #[serde(default)]
        total_files_processed: u64,
        #[serde(default)]
        total_bytes_processed: u64,
        #[serde(default)]
        data_added_packed: u64,
    }
    let summary: Summary = serde_json::from_slice(line).ok()?;
    (summary.message_type == "summary").then_some(Stored {
        snapshot: summary.snapshot_id,
        files: summary.total_files_processed,
        bytes: summary.total_bytes_processed,
        bytes_added: summary.data_added_packed,
    })
}

/// The result of a restore, if the line is one.
pub fn restored(line: &[u8]) -> Option<Restored> {
    #[derive(Deserialize)]
    struct Summary {
        message_type: String,
        #[serde(default)]
        files_restored: u64,
        #[serde(default)]
        bytes_restored: u64,
    }
    let summary: Summary = serde_json::from_slice(line).ok()?;
    let found = Restored { files: summary.files_restored, bytes: summary.bytes_restored };
    (summary.message_type == "summary").then_some(found)
}

/// What a check found.
#[derive(Debug, Deserialize)]
pub struct Damage {
    message_type: String,
    #[serde(default)]
    num_errors: u64,
    broken_packs: Option<Vec<String>>,
}

/// The result of a check, if the line is one.
pub fn damage(line: &[u8]) -> Option<Damage> {
    let damage: Damage = serde_json::from_slice(line).ok()?;
    (damage.message_type == "summary").then_some(damage)
}

impl Damage {
    /// Whether files of the repository are known to be broken.
    pub fn has_packs(&self) -> bool {
        self.broken_packs.as_ref().is_some_and(|packs| !packs.is_empty())
    }

    /// What was found.
    pub fn told(&self, said: &Said) -> String {
        let packs = self.broken_packs.iter().flatten();
        let named: Vec<String> = packs.clone().take(TOLD).map(|pack| pack.chars().take(16).collect()).collect();
        let more = if packs.count() > TOLD { " and others" } else { "" };
        let first = said.errors.first().map(|(_, message)| format!(" ({message})")).unwrap_or_default();
        format!("{} errors, broken pack files {}{more}{first}", self.num_errors, named.join(", "))
    }
}

/// A snapshot in `snapshots` and `forget`.
#[derive(Debug, Deserialize)]
pub struct SnapshotAnswer {
    id: String,
    original: Option<String>,
    time: Timestamp,
    tree: String,
    tags: Option<Vec<String>>,
}

impl From<SnapshotAnswer> for Snapshot {
    fn from(answer: SnapshotAnswer) -> Self {
        let SnapshotAnswer { id, original, time, tree, tags } = answer;
        Self { id, original, time, tree, tags: tags.unwrap_or_default() }
    }
}

/// A group in `forget`.
#[derive(Debug, Deserialize)]
pub struct ForgetGroup {
    remove: Option<Vec<Identified>>,
}

/// What has an id: the repository's configuration, a snapshot.
#[derive(Debug, Deserialize)]
pub struct Identified {
    /// The id.
    pub id: String,
}

/// What `stats` counts.
#[derive(Debug, Deserialize)]
pub struct Stats {
    /// Bytes.
    pub total_size: u64,
}

impl ForgetGroup {
    /// The ids of what is not kept.
    pub fn removed(self) -> impl Iterator<Item = String> {
        self.remove.unwrap_or_default().into_iter().map(|snapshot| snapshot.id)
    }
}

/// An entry of a listing; None for the line about the snapshot itself.
pub fn entry(line: &[u8]) -> Result<Option<Entry>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Node {
        message_type: String,
        #[serde(default, rename = "type")]
        kind: String,
        #[serde(default)]
        path: String,
        #[serde(default)]
        size: u64,
        mtime: Option<Timestamp>,
    }
    let node: Node = serde_json::from_slice(line)?;
    let kind = match node.kind.as_str() {
        "file" => EntryKind::File(node.size),
        "dir" => EntryKind::Folder,
        "symlink" => EntryKind::Link,
        _ => EntryKind::Other,
    };
    // A time before 1970 is rounded down, as a file system does it.
    let modified_unix_seconds =
        node.mtime.map_or(0, |time| i64::try_from(time.as_nanosecond().div_euclid(1_000_000_000)).unwrap_or_default());
    Ok((node.message_type == "node").then_some(Entry { path: node.path, kind, modified_unix_seconds }))
}

/// The options of `forget` for these rules.
pub fn rules(retention: &Retention) -> Vec<String> {
    let count = |name: &str, count: Option<i32>| count.map(|count| format!("--keep-{name}={count}"));
    let rules = [
        count("last", retention.keep_last),
        count("hourly", retention.keep_hourly),
        count("daily", retention.keep_daily),
        count("weekly", retention.keep_weekly),
        count("monthly", retention.keep_monthly),
        count("yearly", retention.keep_yearly),
        retention.keep_within_days.map(|days| format!("--keep-within={days}d")),
    ];
    rules.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(lines: &[&str]) -> Said {
        Said::read(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_cause_of_a_retry_is_told_once_and_without_the_address() {
        let lines = [
            "Stat(<config/>) returned error, retrying after 1.1s: Stat: dial tcp: connection refused",
            "Stat(<config/>) returned error, retrying after 2.3s: Stat: dial tcp: connection refused",
        ];
        assert_eq!(said(&lines).text(), "Stat: dial tcp: connection refused");
        let ended = [
            lines[0],
            r#"{"message_type":"exit_error","code":130,"message":"context canceled"}"#,
            "\u{1b}[2Ksignal terminated received, cleaning up",
        ];
        assert_eq!(said(&ended).before_it_was_ended().text(), "Stat: dial tcp: connection refused");
        let exit = r#"{"message_type":"exit_error","code":1,"message":"Fatal: unable to open config file: no\nIs there a repository at the following location?\n/x"}"#;
        assert_eq!(said(&[exit]).text(), "unable to open config file: no");
    }

    #[test]
    fn files_that_could_not_be_read_are_named() {
        let error = |item: &str| {
            format!(
                r#"{{"message_type":"error","error":{{"message":"open {item}: permission denied"}},"during":"archival","item":"{item}"}}"#
            )
        };
        let lines: Vec<String> = ["/v/a", "/v/b", "/v/c", "/v/d"].map(error).into();
        let text = Said::read(&lines).unreadable();
        assert!(text.contains("/v/a (open /v/a: permission denied)") && text.contains("and others"), "{text}");
        assert!(!text.contains("/v/d"), "{text}");
    }

    #[test]
    fn a_listing_is_read_with_whole_seconds() {
        let line = br#"{"name":"a","type":"file","path":"/a","size":7,"mtime":"1969-12-31T23:59:58.5Z","message_type":"node"}"#;
        let found = entry(line).unwrap().unwrap();
        assert_eq!((found.kind, found.modified_unix_seconds), (EntryKind::File(7), -2));
        assert_eq!(entry(br#"{"message_type":"snapshot","id":"x"}"#).unwrap(), None);
        assert!(entry(b"no json").is_err());
    }

    #[test]
    fn rules_become_options() {
        let retention: Retention = serde_json::from_str(r#"{"keepLast":3,"keepDaily":30,"keepWithinDays":2}"#).unwrap();
        assert_eq!(rules(&retention), ["--keep-last=3", "--keep-daily=30", "--keep-within=2d"]);
    }
}
