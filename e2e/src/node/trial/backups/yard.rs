//! What there is to lose, and where it is backed up to: volumes of the node, PostgreSQL and S3 with TLS beside it, and policies.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::RngCore as _;
use rusqlite::Connection;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::process::Command;

use super::super::super::{NodeError, run, runtime};
use super::super::jobs::FARM;
use crate::servers::s3::{S3Options, S3Server};
use crate::servers::{Certificate, PostgresServer};
use crate::tools;

/// The user of the pods, whom volumes belong to.
const USER: u32 = 65_532;
/// The volumes: what is backed up, a second place for backups, and empty ones to restore into.
const VOLUMES: [&str; 6] = ["models", "shop", "disk", "models-restored", "shop-restored", "models-from-copy"];
/// The bucket, and how large the disk below it is.
const BUCKET: &str = "farm-backups";
const DISK: &str = "size=96m";
/// The repository's password.
const PASSWORD: &str = "password-of-the-farms-backups";
/// The user of backups in the database's server, and his password.
const DATABASE_USER: (&str, &str) = ("backup", "password-of-the-database");
/// Orders in each database.
pub(super) const ORDERS: u32 = 1_000;
/// How long restic may take for what a person asks of it.
const BY_HAND: Duration = Duration::from_secs(120);

/// All of it.
pub(super) struct Yard {
    folder: PathBuf,
    pub(super) s3: S3Server,
    pub(super) postgres: PostgresServer,
    authority: String,
    restic: PathBuf,
}

impl Yard {
    /// Starts the servers, and fills volumes and databases.
    pub(super) async fn set(folder: &Path) -> Result<Self, NodeError> {
        let folder = folder.join("backups");
        for name in VOLUMES.map(|name| format!("volumes/{name}")).iter().chain(&["bucket".to_owned(), "by-hand".into()])
        {
            let path = folder.join(name);
            fs::create_dir_all(&path).map_err(NodeError::file("make", &path))?;
            if name.starts_with("volumes/") {
                chown(&path, Some(USER), Some(USER)).map_err(NodeError::file("give away", &path))?;
            }
        }
        let bucket = folder.join("bucket");
        // A disk of its own, so that it can be full. It goes with the namespace.
        run(Command::new("mount").args(["-t", "tmpfs", "-o", DISK, "tmpfs"]).arg(&bucket), runtime::CALL).await?;
        let host: Ipv4Addr = runtime::ADDRESS.parse().map_err(|_| NodeError::Wrong(runtime::ADDRESS.to_owned()))?;
        let certificate = Certificate::new(&[runtime::ADDRESS])?;
        let authority = certificate.authority.clone();
        let postgres = PostgresServer::start_at(Some(host), Some(&certificate)).await?;
        let options = S3Options {
            certificate: Some(certificate),
            host: Some(host),
            buckets: Some(bucket),
            ..S3Options::default()
        };
        let s3 = S3Server::start(options).await?;
        s3.add_bucket(BUCKET, s3.root().0).await?;
        let restic = tools::restic(&mut |_| {}).map_err(|error| NodeError::Wrong(error.to_string()))?;
        let yard = Self { folder, s3, postgres, authority, restic };
        yard.fill().await?;
        Ok(yard)
    }

    async fn fill(&self) -> Result<(), NodeError> {
        let models = self.volume("models");
        for (name, kilobytes) in [("clip.3mf", 900), ("parts/stand ä.stl", 2_000), ("parts/deep/er/x.gcode", 40)] {
            Self::write(&models.join(name), kilobytes)?;
        }
        let path = self.volume("shop").join("orders.db");
        let failed = |error: rusqlite::Error| NodeError::Wrong(format!("{}: {error}", path.display()));
        let database = Connection::open(&path).map_err(failed)?;
        database
            .execute_batch(&format!(
                "CREATE TABLE orders (id INTEGER PRIMARY KEY, what TEXT);
                 WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ORDERS})
                 INSERT INTO orders SELECT i, 'part ' || i FROM n;"
            ))
            .map_err(failed)?;
        drop(database);
        chown(&path, Some(USER), Some(USER)).map_err(NodeError::file("give away", &path))?;
        let (user, password) = DATABASE_USER;
        for (database, statements) in [
            ("postgres", format!("CREATE ROLE {user} LOGIN PASSWORD '{password}'")),
            ("postgres", "CREATE DATABASE shop".to_owned()),
            ("postgres", format!("CREATE DATABASE shop_restored OWNER {user}")),
            ("postgres", format!("GRANT pg_read_all_data TO {user}")),
            ("shop", "CREATE TABLE orders (id int PRIMARY KEY, what text)".to_owned()),
            ("shop", format!("INSERT INTO orders SELECT i, 'part ' || i FROM generate_series(1, {ORDERS}) i")),
        ] {
            self.postgres.execute(database, &statements).await?;
        }
        Ok(())
    }

    /// Writes a file that nothing makes smaller.
    pub(super) fn write(path: &Path, kilobytes: usize) -> Result<(), NodeError> {
        let mut bytes = vec![0; kilobytes * 1_024];
        rand::rng().fill_bytes(&mut bytes);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(NodeError::file("make", folder))?;
        }
        fs::write(path, bytes).map_err(NodeError::file("write", path))
    }

    /// Where a volume is on the node.
    pub(super) fn volume(&self, name: &str) -> PathBuf {
        self.folder.join("volumes").join(name)
    }

    /// Where the bucket is.
    pub(super) fn bucket(&self) -> PathBuf {
        self.folder.join("bucket").join(BUCKET)
    }

    /// Takes all the room there is on the disk of the bucket but so many kilobytes, until the file is removed.
    pub(super) fn fill_the_disk(&self, left: u64) -> Result<PathBuf, NodeError> {
        let path = self.folder.join("bucket/filler");
        let mut file = fs::File::create(&path).map_err(NodeError::file("write", &path))?;
        let mut room: u64 = 0;
        loop {
            match file.write(&[1; 4_096]) {
                Ok(written) => room += written as u64,
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(source) => return Err(NodeError::File { action: "write", path, source }),
            }
        }
        file.set_len(room.saturating_sub(left * 1_024)).map_err(NodeError::file("write", &path))?;
        Ok(path)
    }

    /// Volumes, Secrets, the authority, a program that has a volume in use, and the policies.
    pub(super) fn objects(&self, pause: &str) -> Value {
        let mut items = Vec::new();
        for name in VOLUMES {
            items.extend(volume(name, &self.volume(name)));
        }
        let (id, secret) = self.s3.root();
        let secret_of = |name: &str, data: Value| {
            json!({
                "apiVersion": "v1", "kind": "Secret", "stringData": data,
                "metadata": { "name": name, "labels": { "printernizer.io/usage": "backup" } },
            })
        };
        // As `kubectl create secret --from-file` keeps it: the line end is no part of what a person types by hand.
        let password = format!("{PASSWORD}\n");
        items.push(secret_of("backup", json!({ "password": password, "accessKeyID": id, "secretAccessKey": secret })));
        items.push(secret_of("database", json!({ "username": DATABASE_USER.0, "password": DATABASE_USER.1 })));
        items.push(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "authority" },
            "data": { "ca.crt": self.authority },
        }));
        items.push(program(pause));
        let address = self.postgres.address();
        let everything = json!({
            "objects": {},
            "persistentVolumeClaims": [{ "claimName": "models" }],
            "sqlite": [{ "claimName": "shop", "path": "orders.db" }],
            "postgres": [{
                "host": address.ip().to_string(), "port": address.port(), "database": "shop",
                "credentialsSecretRef": { "name": "database" },
                "caBundleConfigMapRef": { "name": "authority", "key": "ca.crt" },
            }],
        });
        let mut farm = self.policy("farm", "0 3 * * *", &everything);
        farm["spec"]["copies"] = json!([{ "persistentVolumeClaim": { "claimName": "disk", "subPath": "farm" } }]);
        farm["spec"]["jobTemplate"] = json!({ "backoffLimit": 1 });
        let files = json!({ "persistentVolumeClaims": [{ "claimName": "models" }] });
        items.push(self.policy("clock", "* * * * *", &files));
        // A fault of the target is told at once here, without another try.
        let mut once = self.policy("once", "0 4 * * *", &files);
        once["spec"]["jobTemplate"] = json!({ "backoffLimit": 0 });
        items.extend([farm, once]);
        json!({ "apiVersion": "v1", "kind": "List", "items": items })
    }

    fn policy(&self, name: &str, schedule: &str, sources: &Value) -> Value {
        json!({
            "apiVersion": "printernizer.io/v1alpha1", "kind": "BackupPolicy", "metadata": { "name": name },
            "spec": {
                "schedule": schedule, "timeZone": "Europe/Berlin", "sources": sources,
                "target": { "s3": {
                    "endpoint": self.s3.endpoint(), "bucket": BUCKET, "prefix": name, "region": self.s3.region(),
                    "forcePathStyle": true, "credentialsSecretRef": { "name": "backup" },
                    "caBundleConfigMapRef": { "name": "authority", "key": "ca.crt" },
                } },
                "encryption": { "passwordSecretRef": { "name": "backup", "key": "password" } },
                "retention": { "keepLast": 20 },
                "verification": {
                    "check": { "schedule": "0 5 * * 0", "readDataPercent": 100 },
                    "restoreDrill": { "schedule": "0 6 1 * *" },
                },
                "objectives": { "recoveryPointSeconds": 3_600, "recoveryTimeSeconds": 600 },
            },
        })
    }

    /// What stock restic says, with nothing but what the documentation tells to write down.
    pub(super) async fn by_hand(&self, policy: &str, arguments: &[&str]) -> Result<String, NodeError> {
        let authority = self.folder.join("by-hand/ca.pem");
        fs::write(&authority, &self.authority).map_err(NodeError::file("write", &authority))?;
        let (id, secret) = self.s3.root();
        let mut command = Command::new(&self.restic);
        command.env("RESTIC_REPOSITORY", format!("s3:{}/{BUCKET}/{policy}", self.s3.endpoint()));
        command.env("RESTIC_PASSWORD", PASSWORD).env("AWS_ACCESS_KEY_ID", id).env("AWS_SECRET_ACCESS_KEY", secret);
        command.env("RESTIC_CACHE_DIR", self.folder.join("by-hand/cache"));
        command.arg("--cacert").arg(authority).args(["-o", "s3.bucket-lookup=path"]).args(arguments);
        run(&mut command, BY_HAND).await
    }

    /// An empty folder to restore into by hand.
    pub(super) fn desk(&self) -> PathBuf {
        self.folder.join("by-hand/restored")
    }
}

/// A volume of the node, and the claim that is bound to it: nothing here makes volumes.
fn volume(name: &str, path: &Path) -> [Value; 2] {
    let spec = json!({
        "accessModes": ["ReadWriteOnce"], "storageClassName": "", "volumeName": name,
        "resources": { "requests": { "storage": "1Gi" } },
    });
    [
        json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": name },
            "spec": {
                "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce"], "storageClassName": "",
                "persistentVolumeReclaimPolicy": "Retain", "hostPath": { "path": path, "type": "Directory" },
                "claimRef": { "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": FARM, "name": name },
            },
        }),
        json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": name }, "spec": spec }),
    ]
}

/// A program that has the volume with the database in use.
fn program(image: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "shop" },
        "spec": {
            "restartPolicy": "Always", "automountServiceAccountToken": false,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": USER, "seccompProfile": { "type": "RuntimeDefault" },
            },
            "containers": [{
                "name": "shop", "image": image, "imagePullPolicy": "Never",
                "securityContext": {
                    "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] },
                },
                "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
            }],
            "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": "shop" } }],
        },
    })
}

/// A digest of everything in this folder: paths and contents.
pub(super) fn digest(folder: &Path) -> Result<String, NodeError> {
    let mut hash = Sha256::new();
    let mut folders = vec![folder.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(NodeError::file("read", &folder))? {
            let path = entry.map_err(NodeError::file("read", &folder))?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    for path in &files {
        let bytes = fs::read(path).map_err(NodeError::file("read", path))?;
        hash.update(path.strip_prefix(folder).unwrap_or(path).as_os_str().as_encoded_bytes());
        hash.update([0]);
        hash.update(bytes.len().to_le_bytes());
        hash.update(bytes);
    }
    Ok(format!("{} files, {:x}", files.len(), hash.finalize()))
}

/// Rows of the table with the orders in a SQLite database.
pub(super) fn orders(database: &Path) -> Result<u32, NodeError> {
    let failed = |error: rusqlite::Error| NodeError::Wrong(format!("{}: {error}", database.display()));
    let database = Connection::open(database).map_err(failed)?;
    database.query_row("SELECT count(*) FROM orders WHERE what = 'part ' || id", [], |row| row.get(0)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_tells_a_file_that_is_missing_renamed_or_changed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("a")).unwrap();
        fs::write(at("a/b"), "1").unwrap();
        let mut seen = std::collections::BTreeSet::from([digest(folder.path()).unwrap()]);
        fs::write(at("a/b"), "2").unwrap();
        assert!(seen.insert(digest(folder.path()).unwrap()));
        fs::rename(at("a/b"), at("a/c")).unwrap();
        assert!(seen.insert(digest(folder.path()).unwrap()));
        fs::remove_file(at("a/c")).unwrap();
        assert!(seen.insert(digest(folder.path()).unwrap()));
    }
}
