//! The Job that restores, made from the template of the policy's own backups, which has all that is needed to reach the
//! repository. Pure.

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{PersistentVolumeClaimVolumeSource, Volume, VolumeMount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt as _;
use printernizer_crds::BackupPolicy;
use printernizer_crds::backup_policy::{
    CONFIGURATION_VARIABLE, POLICY_LABEL, PostgresSource, ROLE_LABEL, Role, RunConfiguration, Target,
};

use super::arguments::Restore;
use crate::error::Error;

/// Where sources are mounted in the pods of backups.
const SOURCES: &str = "/sources";
/// Where destinations are mounted.
const DESTINATIONS: &str = "/restore";
/// How long a Job that has ended is kept: a week.
const KEPT_SECONDS: i32 = 604_800;
/// Longest name of a Job, which becomes a label of its pods.
const LONGEST_NAME: usize = 63;
/// Longest id of a recovery point.
const LONGEST_POINT: usize = 64;

/// What is to be done, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// What.
    pub(super) task: Task,
    /// The recovery point.
    pub(super) point: String,
    /// The copy it is taken from, counted from 0; else the target.
    copy: Option<u8>,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// The points are listed.
    List,
    /// Objects are written out.
    Objects,
    /// Data is restored.
    Data {
        /// What, and where to.
        parts: Vec<Part>,
        /// Whether what has the same names in databases is replaced.
        overwrite: bool,
    },
}

/// One thing that is restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// What, in words.
    pub(super) what: String,
    /// The arguments of the program for it.
    pub(super) arguments: [String; 2],
    /// Where to.
    pub(super) into: Into,
}

/// Where something is restored to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Into {
    /// A volume, by its claim.
    Claim(String),
    /// A database of the server it came from.
    Database(String),
}

impl Wanted {
    /// What the command line asks for, if the policy has it.
    pub(super) fn of(policy: &BackupPolicy, arguments: &Restore) -> Result<Self, Error> {
        let point = arguments.point.clone();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if point.is_empty() || point.len() > LONGEST_POINT || point.starts_with('-') || !point.chars().all(plain) {
            return Err(Error::Usage(format!("{point:?} is no id of a recovery point: --list shows them")));
        }
        let copies = policy.spec.copies.len();
        if let Some(copy) = arguments.copy.filter(|copy| usize::from(*copy) > copies) {
            return Err(Error::Usage(format!("{} has {copies} copies, and no number {copy}", policy.name_any())));
        }
        let of = |task| Self { task, point: point.clone(), copy: arguments.copy.map(|copy| copy - 1) };
        if arguments.list {
            return Ok(of(Task::List));
        }
        if arguments.objects {
            return match policy.spec.sources.objects {
                Some(_) => Ok(of(Task::Objects)),
                None => Err(Error::Usage(format!("{} does not back up objects", policy.name_any()))),
            };
        }
        let mut parts = Vec::new();
        for given in &arguments.volumes {
            parts.push(volume(policy, given)?);
        }
        for given in &arguments.postgres {
            parts.push(postgres(policy, given)?);
        }
        Ok(of(Task::Data { parts, overwrite: arguments.overwrite }))
    }

    /// The arguments of the program.
    fn arguments(&self) -> Vec<String> {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let mut all = match &self.task {
            Task::List => words(&["list"]),
            Task::Objects => words(&["restore", "--point", &self.point, "--objects"]),
            Task::Data { parts, overwrite } => {
                let mut all = words(&["restore", "--point", &self.point]);
                all.extend(parts.iter().flat_map(|part| part.arguments.clone()));
                all.extend(overwrite.then(|| "--overwrite".to_owned()));
                all
            }
        };
        all.extend(self.copy.into_iter().flat_map(|copy| ["--copy".to_owned(), copy.to_string()]));
        all
    }

    /// The claims that are written to, each once.
    pub(super) fn claims(&self) -> Vec<&str> {
        let Task::Data { parts, .. } = &self.task else { return Vec::new() };
        let mut claims: Vec<&str> = parts
            .iter()
            .filter_map(|part| match &part.into {
                Into::Claim(claim) => Some(claim.as_str()),
                Into::Database(_) => None,
            })
            .collect();
        claims.sort_unstable();
        claims.dedup();
        claims
    }
}

/// Both sides of `WHAT=DESTINATION`.
fn sides<'a>(flag: &str, given: &'a str) -> Result<(&'a str, &'a str), Error> {
    let sides = given.split_once('=').filter(|(what, into)| !what.is_empty() && !into.is_empty());
    sides.ok_or_else(|| Error::Usage(format!("{flag} {given:?}: write WHAT=DESTINATION; both may have the same name")))
}

/// A name of a claim, which becomes part of a path.
fn claim(name: &str) -> Result<String, Error> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
    let fits = name.len() <= 253 && name.chars().all(plain) && !name.starts_with(['-', '.']);
    fits.then(|| name.to_owned()).ok_or_else(|| Error::Usage(format!("{name:?} is no name of a PersistentVolumeClaim")))
}

fn lacks(policy: &BackupPolicy, what: &str, has: &[String]) -> Error {
    let has = if has.is_empty() { "none".to_owned() } else { has.join(", ") };
    Error::Usage(format!("{} does not back up {what}; it has: {has}", policy.name_any()))
}

fn volume(policy: &BackupPolicy, given: &str) -> Result<Part, Error> {
    let (what, into) = sides("--volume", given)?;
    let sources = &policy.spec.sources;
    let files = sources.persistent_volume_claims.iter().map(|source| source.claim_name.clone());
    let mut has: Vec<String> = files.chain(sources.sqlite.iter().map(|source| source.claim_name.clone())).collect();
    has.sort();
    has.dedup();
    if !has.iter().any(|claim| claim == what) {
        return Err(lacks(policy, &format!("the volume {what}"), &has));
    }
    Ok(Part {
        what: format!("volume {what}"),
        arguments: ["--volume".to_owned(), format!("{what}={into}")],
        into: Into::Claim(claim(into)?),
    })
}

fn postgres(policy: &BackupPolicy, given: &str) -> Result<Part, Error> {
    let (what, into) = sides("--postgres", given)?;
    let sources = &policy.spec.sources.postgres;
    // Databases of one name on two servers are told apart by HOST/DATABASE.
    let matches = |(_, source): &(usize, &PostgresSource)| {
        source.database == what || format!("{}/{}", source.host, source.database) == what
    };
    let found: Vec<_> = sources.iter().enumerate().filter(matches).collect();
    let names = || sources.iter().map(|source| format!("{}/{}", source.host, source.database)).collect::<Vec<_>>();
    let [(index, source)] = found.as_slice() else {
        return Err(match found.len() {
            0 => lacks(policy, &format!("the PostgreSQL database {what}"), &names()),
            _ => Error::Usage(format!(
                "{what} is on several servers: write HOST/DATABASE={into}; there are {}",
                names().join(", ")
            )),
        });
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "_$-".contains(c);
    let begins = into.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !begins || into.len() > 63 || !into.chars().all(plain) {
        return Err(Error::Usage(format!("{into:?} is no plain name of a database")));
    }
    Ok(Part {
        what: format!("PostgreSQL database {} at {}", source.database, source.host),
        arguments: ["--postgres".to_owned(), format!("{index}={into}")],
        into: Into::Database(into.to_owned()),
    })
}

/// Refuses to restore over the backups themselves.
pub(super) fn spares_the_backups(policy: &BackupPolicy, wanted: &Wanted) -> Result<(), Error> {
    let places = std::iter::once(&policy.spec.target).chain(&policy.spec.copies);
    let kept: Vec<&str> = places
        .filter_map(|place: &Target| place.persistent_volume_claim.as_ref())
        .map(|volume| volume.claim_name.as_str())
        .collect();
    match wanted.claims().into_iter().find(|claim| kept.contains(claim)) {
        Some(claim) => Err(Error::Usage(format!("{claim} holds the backups themselves: restore into another volume"))),
        None => Ok(()),
    }
}

/// Refuses to take a Job from a CronJob that was made for another spec, as long as the policy cannot be followed: places and
/// databases are told to the program by their number, and another one may have it now.
fn is_up_to_date(policy: &BackupPolicy, told: &RunConfiguration, wanted: &Wanted) -> Result<(), Error> {
    let of = |source: &PostgresSource| format!("{}:{}/{}", source.host, source.port, source.database);
    let databases = |sources: &[PostgresSource]| sources.iter().map(of).collect::<Vec<_>>();
    let places = |target: &Target, copies: &[Target]| {
        std::iter::once(target).chain(copies).map(Target::location).collect::<Vec<_>>()
    };
    let refuse = |what: &str, told: &[String], says: &[String]| {
        let all = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        Err(Error::NotNow(format!(
            "{} was changed and the operator has not followed yet: its CronJob has the {what} {}, the policy says {}. See its \
             conditions, or write them as they were, and restore then",
            policy.name_any(),
            all(told),
            all(says)
        )))
    };
    let spec = &policy.spec;
    let (has, says) = (places(&told.target, &told.copies), places(&spec.target, &spec.copies));
    if has != says {
        return refuse("places", &has, &says);
    }
    let (has, says) = (databases(&told.sources.postgres), databases(&spec.sources.postgres));
    let into_database = matches!(&wanted.task, Task::Data { parts, .. } if parts.iter().any(|part| matches!(part.into, Into::Database(_))));
    if into_database && has != says {
        return refuse("databases", &has, &says);
    }
    Ok(())
}

/// Name of a Job for this policy at this moment.
pub(super) fn name(policy: &str, now: jiff::Timestamp) -> String {
    let end = format!("-{}-{}", Role::Restore.as_label(), now.strftime("%Y%m%d-%H%M%S%3f"));
    let begin: String = policy.chars().take(LONGEST_NAME - end.len()).collect();
    format!("{}{end}", begin.trim_end_matches(['-', '.']))
}

/// The Job.
pub(super) fn job(policy: &BackupPolicy, template: &CronJob, name: &str, wanted: &Wanted) -> Result<Job, Error> {
    let odd = || {
        let cron_job = template.name_any();
        Error::NotNow(format!(
            "the CronJob {cron_job} is not one of the operator's: it has no container, or one that is not told what to do"
        ))
    };
    let mut spec = template.spec.job_template.spec.clone().ok_or_else(odd)?;
    spec.backoff_limit = Some(0);
    spec.suspend = None;
    spec.ttl_seconds_after_finished = Some(KEPT_SECONDS);
    let labels: std::collections::BTreeMap<String, String> =
        [(POLICY_LABEL.to_owned(), policy.name_any()), (ROLE_LABEL.to_owned(), Role::Restore.as_label().to_owned())]
            .into();
    spec.template.metadata.get_or_insert_default().labels.get_or_insert_default().extend(labels.clone());
    let pod = spec.template.spec.as_mut().ok_or_else(odd)?;
    // Where sources are was chosen for reading them, and what is lost may be one of them.
    pod.affinity = None;
    pod.node_name = None;
    pod.automount_service_account_token = Some(false);
    if !wanted.claims().is_empty() {
        // A volume that nobody has written to belongs to root.
        let security = pod.security_context.get_or_insert_default();
        security.fs_group = security.fs_group.or(security.run_as_group);
    }
    let container = pod.containers.first_mut().ok_or_else(odd)?;
    let variable = container.env.iter().flatten().find(|variable| variable.name == CONFIGURATION_VARIABLE);
    let told = variable.and_then(|variable| serde_json::from_str(variable.value.as_deref()?).ok()).ok_or_else(odd)?;
    is_up_to_date(policy, &told, wanted)?;
    container.args = Some(wanted.arguments());
    let mounts = container.volume_mounts.get_or_insert_default();
    let is_source = |mount: &VolumeMount| mount.mount_path.starts_with(SOURCES);
    let sources: Vec<String> = mounts.iter().filter(|mount| is_source(mount)).map(|mount| mount.name.clone()).collect();
    mounts.retain(|mount| !is_source(mount));
    let still: Vec<String> = mounts.iter().map(|mount| mount.name.clone()).collect();
    let volumes = pod.volumes.get_or_insert_default();
    volumes.retain(|volume| !sources.contains(&volume.name) || still.contains(&volume.name));
    for (number, claim) in wanted.claims().into_iter().enumerate() {
        let name = format!("restore-{number}");
        mounts.push(VolumeMount {
            name: name.clone(),
            mount_path: format!("{DESTINATIONS}/{claim}"),
            ..VolumeMount::default()
        });
        let claim = PersistentVolumeClaimVolumeSource { claim_name: claim.to_owned(), read_only: None };
        volumes.push(Volume { name, persistent_volume_claim: Some(claim), ..Volume::default() });
    }
    let metadata = ObjectMeta { name: Some(name.to_owned()), labels: Some(labels), ..ObjectMeta::default() };
    Ok(Job { metadata, spec: Some(spec), status: None })
}

#[cfg(test)]
#[path = "job_tests.rs"]
mod tests;
