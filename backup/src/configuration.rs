//! What a run is told: its configuration, passwords and keys from the environment, and where things are mounted.
//!
//! Secrets have variables of their own, which the kubelet fills from Secrets. They are kept in types that do not print
//! themselves, and every text that comes from a child passes [`Secrets::redact`] before anybody sees it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use printernizer_crds::backup_policy::{CONFIGURATION_VARIABLE as CONFIGURATION, RunConfiguration, Target};
use secrecy::{ExposeSecret as _, SecretString};

use crate::failure::Failure;

/// The variable with the repository's password.
pub const PASSWORD: &str = "PRINTERNIZER_BACKUP_PASSWORD";
/// The variable with the directory before all mounts, `/` in a pod.
pub const ROOT: &str = "PRINTERNIZER_BACKUP_ROOT";
/// The variable with the file the report is written to.
pub const REPORT: &str = "PRINTERNIZER_BACKUP_REPORT";

/// Shortest secret that is looked for in texts: shorter ones would make texts unreadable, and are none.
const SHORTEST_REDACTED: usize = 4;

/// Where the pod's mounts are.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The mounts below this directory.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// A volume that is backed up.
    pub fn volume(&self, claim: &str) -> PathBuf {
        self.root.join("sources/volumes").join(claim)
    }

    /// The volume a target is in: the n-th copy, or the target itself.
    pub fn target(&self, copy: Option<usize>) -> PathBuf {
        match copy {
            None => self.root.join("target"),
            Some(index) => self.root.join(format!("copies/{index}")),
        }
    }

    /// The certificates a target's server is checked against.
    pub fn target_authority(&self, copy: Option<usize>) -> PathBuf {
        let folder = copy.map_or_else(|| "target".to_owned(), |index| format!("copy-{index}"));
        self.root.join("certificates").join(folder).join("ca.pem")
    }

    /// The certificates the n-th PostgreSQL server is checked against.
    pub fn postgres_authority(&self, index: usize) -> PathBuf {
        self.root.join(format!("certificates/postgres-{index}/ca.pem"))
    }

    /// Room for caches, dumps and drills.
    pub fn scratch(&self) -> PathBuf {
        self.root.join("scratch")
    }

    /// A volume that is restored into.
    pub fn restore(&self, claim: &str) -> PathBuf {
        self.root.join("restore").join(claim)
    }
}

/// An access key of an S3 service.
#[derive(Clone, Debug)]
pub struct AccessKey {
    /// Its id.
    pub id: SecretString,
    /// Its secret.
    pub secret: SecretString,
}

impl AccessKey {
    /// Whether both are the same key.
    pub fn is(&self, other: &Self) -> bool {
        self.id.expose_secret() == other.id.expose_secret()
            && self.secret.expose_secret() == other.secret.expose_secret()
    }
}

/// User and password of a PostgreSQL server.
#[derive(Clone, Debug)]
pub struct Login {
    /// The user.
    pub username: SecretString,
    /// The password.
    pub password: SecretString,
}

/// Every secret of a run.
#[derive(Clone, Debug)]
pub struct Secrets {
    /// The repository's password, and that of its copies.
    pub password: SecretString,
    /// The target's key, if it is an S3 bucket.
    pub target: Option<AccessKey>,
    /// The copies' keys, in their order.
    pub copies: Vec<Option<AccessKey>>,
    /// The PostgreSQL servers' logins, in their order. Pods that neither back up nor restore into a server have none.
    pub postgres: Vec<Option<Login>>,
}

impl Secrets {
    /// The text without any secret in it.
    pub fn redact(&self, text: &str) -> String {
        let keys = self.target.iter().chain(self.copies.iter().flatten());
        let logins = self.postgres.iter().flatten().map(|login| &login.password);
        let secrets = keys.flat_map(|key| [&key.secret, &key.id]).chain(logins).chain([&self.password]);
        secrets.fold(text.to_owned(), |text, secret| match secret.expose_secret() {
            short if short.len() < SHORTEST_REDACTED => text,
            secret => text.replace(secret, "***"),
        })
    }
}

/// How long a run waits for others.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For the target's first answer.
    pub answer: Duration,
    /// For another run's lock. Longer than it takes to know that the owner is dead.
    pub lock: Duration,
    /// For any change of a lock before its owner is taken for dead: a live one replaces its lock every 5 minutes.
    pub dead_lock: Duration,
    /// How much a check reads in one go where it reads everything, in bytes: what one part has.
    pub part_bytes: u64,
}

/// Everything a run is told.
#[derive(Clone, Debug)]
pub struct Told {
    /// What to do.
    pub configuration: RunConfiguration,
    /// The passwords and keys for it.
    pub secrets: Secrets,
    /// Where things are.
    pub layout: Layout,
    /// How long to wait.
    pub limits: Limits,
}

/// Where the report goes.
pub fn report_path(variable: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    variable(REPORT)
        .filter(|path| !path.is_empty())
        .map_or_else(|| PathBuf::from("/dev/termination-log"), PathBuf::from)
}

/// Reads what the run is told from these variables.
pub fn read(variable: impl Fn(&str) -> Option<OsString>, limits: Limits) -> Result<Told, Failure> {
    let text = |name: &str| -> Result<Option<String>, Failure> {
        let value = variable(name).filter(|value| !value.is_empty());
        let value =
            value.map(|value| value.into_string().map_err(|_| Failure::invalid(format!("{name} is not UTF-8"))));
        value.transpose()
    };
    // Without blanks and line ends around it, as restic reads a password file and as a person types it: a Secret made of a
    // file ends with the file's line end, and a repository with that in its password cannot be opened by hand.
    let secret = |name: &str, whose: &str| -> Result<SecretString, Failure> {
        let value = text(name)?.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let value = value.ok_or_else(|| {
            Failure::invalid(format!(
                "{name} is not set: {whose}; the Secret is missing, has not this key, or it is empty"
            ))
        })?;
        Ok(value.into())
    };
    let json = text(CONFIGURATION)?.ok_or_else(|| {
        Failure::invalid(format!("{CONFIGURATION} is not set; the operator sets it in the pods of a BackupPolicy"))
    })?;
    let configuration: RunConfiguration = serde_json::from_str(&json)
        .map_err(|error| Failure::invalid(format!("{CONFIGURATION} cannot be read: {error}")))?;
    check(&configuration)?;

    let key = |target: &Target, prefix: &str| -> Result<Option<AccessKey>, Failure> {
        let Some(s3) = &target.s3 else { return Ok(None) };
        let whose = |key: &str| format!("it comes from key {key} of Secret {}", s3.credentials_secret_ref.name);
        Ok(Some(AccessKey {
            id: secret(&format!("PRINTERNIZER_BACKUP_{prefix}_ACCESS_KEY_ID"), &whose("accessKeyID"))?,
            secret: secret(&format!("PRINTERNIZER_BACKUP_{prefix}_SECRET_ACCESS_KEY"), &whose("secretAccessKey"))?,
        }))
    };
    let password_from = &configuration.encryption.password_secret_ref;
    let whose = format!("it comes from key {} of Secret {}", password_from.key, password_from.name);
    let mut logins = Vec::new();
    for (index, source) in configuration.sources.postgres.iter().enumerate() {
        let whose = |key: &str| format!("it comes from key {key} of Secret {}", source.credentials_secret_ref.name);
        let name = |what: &str| format!("PRINTERNIZER_BACKUP_POSTGRES_{index}_{what}");
        let given = text(&name("USERNAME"))?.is_some() || text(&name("PASSWORD"))?.is_some();
        let login = || -> Result<Login, Failure> {
            Ok(Login {
                username: secret(&name("USERNAME"), &whose("username"))?,
                password: secret(&name("PASSWORD"), &whose("password"))?,
            })
        };
        logins.push(given.then(login).transpose()?);
    }
    let copies = configuration.copies.iter().enumerate();
    let secrets = Secrets {
        password: secret(PASSWORD, &whose)?,
        target: key(&configuration.target, "TARGET")?,
        copies: copies.map(|(index, copy)| key(copy, &format!("COPY_{index}"))).collect::<Result<_, _>>()?,
        postgres: logins,
    };
    let root = variable(ROOT).filter(|root| !root.is_empty()).map_or_else(|| PathBuf::from("/"), PathBuf::from);
    Ok(Told { configuration, secrets, layout: Layout::new(root), limits })
}

/// What the definition of the resource promises, once more: names from outside become paths here.
fn check(configuration: &RunConfiguration) -> Result<(), Failure> {
    let sources = &configuration.sources;
    let claims = sources.persistent_volume_claims.iter().map(|v| &v.claim_name);
    let claims = claims.chain(sources.sqlite.iter().map(|s| &s.claim_name));
    if let Some(claim) = claims.into_iter().find(|claim| !is_name(claim)) {
        return Err(Failure::invalid(format!("{claim:?} is not the name of a PersistentVolumeClaim")));
    }
    let paths = sources.persistent_volume_claims.iter().flat_map(|v| &v.paths);
    let paths = paths.chain(sources.sqlite.iter().map(|s| &s.path));
    if let Some(path) = paths.into_iter().find(|path| !is_within(path)) {
        return Err(Failure::invalid(format!(
            "{path:?} is not a path within a volume: no slash at the front, no .. and no control characters"
        )));
    }
    for target in std::iter::once(&configuration.target).chain(&configuration.copies) {
        let path = target.persistent_volume_claim.as_ref().and_then(|volume| volume.sub_path.as_deref());
        if path.is_some_and(|path| !is_within(path)) {
            return Err(Failure::invalid(format!("{path:?} is not a directory within a volume")));
        }
        if target.s3.is_some() == target.persistent_volume_claim.is_some() {
            return Err(Failure::invalid("a target must be exactly one of s3 and persistentVolumeClaim"));
        }
    }
    for (what, name) in [("policy", &configuration.policy), ("namespace", &configuration.namespace)] {
        if !is_name(name) {
            return Err(Failure::invalid(format!("{name:?} is not the name of a {what}")));
        }
    }
    Ok(())
}

/// Whether it can be the name of an object: nothing that leads elsewhere as a path.
pub fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    !name.is_empty() && name.len() <= 253 && !name.starts_with('.') && name.chars().all(plain)
}

/// Whether it is a path that stays where it begins.
fn is_within(path: &str) -> bool {
    let plain = Path::new(path).components().all(|part| matches!(part, std::path::Component::Normal(_)));
    !path.is_empty() && plain && !path.starts_with('/') && !path.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn told(change: impl Fn(&mut Value), without: &str) -> Result<Told, Failure> {
        told_without(change, &[without])
    }

    fn told_without(change: impl Fn(&mut Value), without: &[&str]) -> Result<Told, Failure> {
        told_as(change, |name, value| (!without.contains(&name)).then(|| value.to_owned()))
    }

    /// What is read where each variable has the value that this makes of it.
    fn told_as(change: impl Fn(&mut Value), given: impl Fn(&str, &str) -> Option<String>) -> Result<Told, Failure> {
        let mut configuration = json!({
            "namespace": "farm", "policy": "nightly",
            "sources": {
                "persistentVolumeClaims": [{"claimName": "models"}],
                "postgres": [{"host": "db", "port": 5432, "database": "shop", "credentialsSecretRef": {"name": "shop-db"}}],
            },
            "target": {"s3": {"bucket": "backups", "credentialsSecretRef": {"name": "s3-keys"}}},
            "encryption": {"passwordSecretRef": {"name": "backup-password", "key": "password"}},
            "retention": {"keepLast": 3},
            "verification": {},
        });
        change(&mut configuration);
        let configuration = configuration.to_string();
        let variable = |name: &str| -> Option<OsString> {
            let value = match name {
                CONFIGURATION => &configuration,
                PASSWORD => "correct horse",
                "PRINTERNIZER_BACKUP_TARGET_ACCESS_KEY_ID" => "AKIA-1",
                "PRINTERNIZER_BACKUP_TARGET_SECRET_ACCESS_KEY" => "s3-secret",
                "PRINTERNIZER_BACKUP_POSTGRES_0_USERNAME" => "reader",
                "PRINTERNIZER_BACKUP_POSTGRES_0_PASSWORD" => "pg-secret",
                _ => return None,
            };
            given(name, value).map(OsString::from)
        };
        let limits = Limits { answer: Duration::ZERO, lock: Duration::ZERO, dead_lock: Duration::ZERO, part_bytes: 1 };
        read(variable, limits)
    }

    #[test]
    fn what_is_complete_is_read_and_shows_no_secret() {
        let told = told(|_| {}, "").unwrap();
        let shown = format!("{told:?}");
        for secret in ["correct horse", "s3-secret", "pg-secret", "AKIA-1"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert_eq!(
            told.secrets.redact("Fatal: s3-secret of AKIA-1, pg-secret, correct horse"),
            "Fatal: *** of ***, ***, ***"
        );
        assert_eq!(told.layout.volume("models"), PathBuf::from("/sources/volumes/models"));
    }

    #[test]
    fn what_is_missing_is_named_with_the_secret_it_comes_from() {
        for (variable, secret) in [
            (PASSWORD, "key password of Secret backup-password"),
            ("PRINTERNIZER_BACKUP_TARGET_SECRET_ACCESS_KEY", "key secretAccessKey of Secret s3-keys"),
            ("PRINTERNIZER_BACKUP_POSTGRES_0_PASSWORD", "key password of Secret shop-db"),
            (CONFIGURATION, "operator"),
        ] {
            let failure = told(|_| {}, variable).unwrap_err();
            assert!(failure.message.contains(variable) && failure.message.contains(secret), "{failure}");
        }
    }

    #[test]
    fn the_line_end_of_a_file_is_no_part_of_a_secret() {
        let secrets = told_as(|_| {}, |_, value| Some(format!(" {value}\r\n"))).unwrap().secrets;
        assert_eq!(secrets.password.expose_secret(), "correct horse");
        assert_eq!(secrets.target.as_ref().unwrap().secret.expose_secret(), "s3-secret");
        assert_eq!(secrets.redact("Fatal: correct horse"), "Fatal: ***");
        let empty = told_as(|_| {}, |name, value| Some(if name == PASSWORD { "\n" } else { value }.to_owned()));
        assert!(empty.unwrap_err().message.contains("it is empty"));
    }

    #[test]
    fn pods_that_read_no_database_need_no_login() {
        let both = ["PRINTERNIZER_BACKUP_POSTGRES_0_USERNAME", "PRINTERNIZER_BACKUP_POSTGRES_0_PASSWORD"];
        let told = told_without(|_| {}, &both).unwrap();
        assert!(matches!(told.secrets.postgres[..], [None]));
    }

    #[test]
    fn no_name_leads_out_of_its_mount() {
        let claim = |name: &str| told(|c| c["sources"]["persistentVolumeClaims"][0]["claimName"] = json!(name), "");
        for name in ["..", "a/b", ".", "", ".hidden", "a\u{0}b", "A"] {
            assert!(claim(name).is_err(), "{name:?}");
        }
        assert!(claim("models.v2-0").is_ok());
        let path = |path: &str| told(|c| c["sources"]["persistentVolumeClaims"][0]["paths"] = json!([path]), "");
        for wrong in ["/etc", "..", "a/../../b", "a/..", "", "a\nb", "."] {
            assert!(path(wrong).is_err(), "{wrong:?}");
        }
        assert!(path("a/..b/c d").is_ok());
    }

    #[test]
    fn a_target_is_one_place() {
        let both = told(|c| c["target"]["persistentVolumeClaim"] = json!({"claimName": "disk"}), "");
        assert!(both.unwrap_err().message.contains("exactly one"));
    }
}
