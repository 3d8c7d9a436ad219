//! What the API server was asked for, as it counts itself: the view from outside of what an operator costs. Counts are
//! those of all clients, so a test looks at kinds nobody else uses while it measures.

use std::collections::BTreeMap;

use kube::Client;
use kube::api::{ListParams, Request};

use super::FarmError;

/// Requests by verb as the API server calls it (`GET`, `LIST`, `PUT`, ...) and resource (`printers/status`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requests(BTreeMap<(String, String), u64>);

impl Requests {
    /// What was counted since the API server's start. Needs the right to read its metrics.
    pub async fn read(client: &Client) -> Result<Self, FarmError> {
        let request = Request::new("/metrics").list(&ListParams::default());
        let request = request.map_err(|e| FarmError::Waited(e.to_string()))?;
        let text = client.request_text(request).await?;
        let mut counts = BTreeMap::new();
        for line in text.lines().filter(|l| l.starts_with("apiserver_request_total{")) {
            let Some((labels, value)) = line.rsplit_once("} ") else { continue };
            let label = |name: &str| {
                let (_, rest) = labels.split_once(&format!("{name}=\""))?;
                Some(rest.split_once('"')?.0.to_owned())
            };
            let (Some(verb), Some(mut resource)) = (label("verb"), label(",resource")) else { continue };
            if let Some(part) = label("subresource").filter(|s| !s.is_empty()) {
                resource = format!("{resource}/{part}");
            }
            // Counts are whole numbers, large ones in exponent form.
            let count: f64 = value.parse().unwrap_or_default();
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
            let count = count as u64;
            *counts.entry((verb, resource)).or_insert(0) += count;
        }
        Ok(Self(counts))
    }

    /// What was added since an earlier count.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let rest = self.0.iter().map(|(key, n)| (key.clone(), n - earlier.0.get(key).copied().unwrap_or(0).min(*n)));
        Self(rest.filter(|(_, n)| *n > 0).collect())
    }

    /// Requests with one of these verbs for one of these resources.
    pub fn of(&self, verbs: &[&str], resources: &[&str]) -> u64 {
        let wanted = self.0.iter().filter(|((v, r), _)| verbs.contains(&v.as_str()) && resources.contains(&r.as_str()));
        wanted.map(|(_, n)| n).sum()
    }
}
