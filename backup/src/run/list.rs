//! Lists the recovery points, for people and for programs.

use jiff::Timestamp;
use serde::Serialize;

use super::{Run, no_longer_whole, points, sized};
use crate::engine::Engine as _;
use crate::failure::Failure;

/// A recovery point in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    /// Its id, that of its run.
    pub id: String,
    /// How old it is: when its run began (UTC).
    pub time: Timestamp,
    /// What was read for it, in bytes.
    pub bytes: u64,
    /// What is in it.
    pub sources: Vec<String>,
}

impl Listed {
    /// As a line for a person.
    pub fn line(&self) -> String {
        let time = self.time.strftime("%Y-%m-%d %H:%M:%S UTC");
        format!("{}  {time}  {:>9}  {}", self.id, sized(self.bytes), self.sources.join(", "))
    }
}

impl Run {
    /// The recovery points at the target or at a copy, the newest first and at most so many; and what is wrong if there may
    /// be more, whose snapshots cannot be loaded or lack parts.
    pub async fn list(&self, copy: Option<usize>, at_most: usize) -> Result<(Vec<Listed>, Option<String>), Failure> {
        let engine = self.source_of(copy).await?;
        let (snapshots, damage) = engine.loadable(&self.host()).await?;
        let held = points::held(snapshots);
        let mut listed = Vec::new();
        for point in held.points.iter().rev().take(at_most) {
            let manifest = self.manifest(engine, point).await?;
            listed.push(Listed {
                id: point.run.clone(),
                time: point.time,
                bytes: manifest.bytes(),
                sources: manifest.parts.iter().map(|part| part.source.to_string()).collect(),
            });
        }
        let wrong = damage.map(|damage| damage.to_string());
        Ok((listed, wrong.or_else(|| no_longer_whole(&held, engine))))
    }
}
