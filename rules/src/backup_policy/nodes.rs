//! On which node a run's pods must be: where its volumes are in use, if only one node may have them.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::batch::v1::Job;
use printernizer_crds::Reason;

use super::needs::{ClaimFacts, Found};
use super::problem::{Problem, Stops};

/// The node on which the pods of a Job must run.
pub fn of_job(job: &Job) -> Option<&str> {
    let affinity = job.spec.as_ref()?.template.spec.as_ref()?.affinity.as_ref()?;
    let required = affinity.node_affinity.as_ref()?.required_during_scheduling_ignored_during_execution.as_ref()?;
    let fields = required.node_selector_terms.first()?.match_fields.as_ref()?;
    fields.first()?.values.as_ref()?.first().map(String::as_str)
}

/// The node for pods with these volumes; `None` where any will do.
pub fn node<'a>(claims: impl IntoIterator<Item = &'a str>, found: &Found) -> Result<Option<String>, Problem> {
    let facts = |name: &str| found.claims.get(name).and_then(Option::as_ref);
    let alone: BTreeMap<&str, &ClaimFacts> = claims
        .into_iter()
        .filter_map(|name| Some((name, facts(name)?)))
        .filter(|(_, facts)| !facts.is_shared() && !facts.in_use.is_empty())
        .collect();
    let problem = |text: String| Err(Problem::new(Stops::Backups, Reason::VolumeInUse, text));
    for (name, facts) in &alone {
        if facts.access_modes.iter().all(|mode| mode == "ReadWriteOncePod") {
            let pod = facts.in_use.values().next().map_or("", String::as_str);
            return problem(format!(
                "the volume {name} may be mounted by one pod alone, which is {pod}: it cannot be mounted beside it. Use a \
                 volume with the access mode ReadWriteOnce or ReadWriteMany"
            ));
        }
    }
    let nodes: BTreeSet<&String> = alone.values().flat_map(|facts| facts.in_use.keys()).collect();
    if nodes.len() > 1 {
        let uses = alone.iter().flat_map(|(name, facts)| {
            facts.in_use.iter().map(move |(node, pod)| format!("{name} on {node} (pod {pod})"))
        });
        return problem(format!(
            "volumes that one node alone may mount are in use on different nodes: {}. Run their pods on one node, or write a \
             policy for each volume",
            uses.collect::<Vec<_>>().join(", ")
        ));
    }
    Ok(nodes.into_iter().next().cloned())
}
