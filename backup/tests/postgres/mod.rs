//! A shop's database, and what the tests of its dumps look at.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]
#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Stdio;

use printernizer_backup::postgres::{Connection, Dump, Programs};
use printernizer_e2e::servers::{Certificate, PostgresServer};
use tempfile::{NamedTempFile, TempDir};
use tokio::process::Command;

/// The password of the user who reads.
pub const PASSWORD: &str = "secret-of-the-reader";

/// Everything a dump may stumble over: names, a partition, rows that a policy hides, letters in a check, tables that are
/// made without a log.
const SHOP: &str = r#"
CREATE TABLE parts (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, image bytea);
INSERT INTO parts (name, image) SELECT 'part ' || n, decode(md5(n::text), 'hex') FROM generate_series(1, 1000) n;
CREATE TABLE words (word text CHECK (word ~ '^\w+$'));
INSERT INTO words VALUES ('Größe'), ('Ähre');
CREATE SCHEMA "Größe ""XL""";
CREATE TABLE "Größe ""XL"""."a.b
c" (id int REFERENCES parts, at timestamptz DEFAULT now());
INSERT INTO "Größe ""XL"""."a.b
c" VALUES (1), (2), (3);
CREATE TABLE prints (at date NOT NULL, part int) PARTITION BY RANGE (at);
CREATE TABLE prints_2026 PARTITION OF prints FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
INSERT INTO prints SELECT '2026-03-01', n FROM generate_series(1, 40) n;
CREATE UNLOGGED TABLE cached (id int);
INSERT INTO cached VALUES (1);
CREATE MATERIALIZED VIEW names AS SELECT name FROM parts;
CREATE TABLE wages (who text, sum int);
INSERT INTO wages VALUES ('ada', 1), ('bob', 2);
ALTER TABLE wages ENABLE ROW LEVEL SECURITY;
CREATE ROLE "night shift";
CREATE POLICY own ON wages TO "night shift" USING (who = current_user);
"#;

/// The shop's server.
pub struct Shop {
    pub server: PostgresServer,
    authority: NamedTempFile,
}

impl Shop {
    pub async fn open() -> Self {
        let certificate = Certificate::new(&[]).unwrap();
        let server = PostgresServer::start(Some(&certificate)).await.unwrap();
        let create = "CREATE DATABASE shop TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de'";
        server.execute("postgres", create).await.unwrap();
        server.execute("shop", SHOP).await.unwrap();
        let reader =
            format!("CREATE ROLE reader LOGIN BYPASSRLS PASSWORD '{PASSWORD}'; GRANT pg_read_all_data TO reader");
        server.execute("shop", &reader).await.unwrap();
        let authority = pem(&certificate);
        Self { server, authority }
    }

    pub async fn execute(&self, statements: &str) {
        for statement in statements.split("; ") {
            self.server.execute("shop", statement).await.unwrap();
        }
    }

    /// As the backup reaches it.
    pub fn reader(&self) -> Connection {
        Connection {
            host: "127.0.0.1".to_owned(),
            port: self.server.address().port(),
            database: "shop".to_owned(),
            username: "reader".to_owned(),
            password: Some(PASSWORD.into()),
            authority: Some(self.authority.path().to_owned()),
            programs: Programs::in_folder(self.server.programs()),
        }
    }

    /// As a person reaches a database to restore into.
    pub fn owner(&self, database: &str) -> Connection {
        let (username, password) = self.server.superuser();
        let (username, password) = (username.to_owned(), Some(password.into()));
        Connection { database: database.to_owned(), username, password, ..self.reader() }
    }
}

/// An authority that has signed nothing here.
pub fn other_authority() -> NamedTempFile {
    pem(&Certificate::new(&[]).unwrap())
}

fn pem(certificate: &Certificate) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(certificate.authority.as_bytes()).unwrap();
    file
}

/// A scratch folder that the user of the scratch server can enter, too.
pub fn scratch() -> TempDir {
    let scratch = tempfile::Builder::new().prefix("scratch-").tempdir().unwrap();
    std::fs::set_permissions(scratch.path(), PermissionsExt::from_mode(0o711)).unwrap();
    scratch
}

/// PostgreSQL's programs, one of them replaced by a script; `REAL` in it is the one that is replaced.
pub fn programs_with(shop: &Shop, program: &str, script: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["psql", "pg_dump", "pg_restore", "initdb", "postgres"] {
        let real = shop.server.programs().join(name);
        let path = folder.path().join(name);
        if name == program {
            std::fs::write(&path, script.replace("REAL", &real.display().to_string())).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        } else {
            symlink(real, path).unwrap();
        }
    }
    folder
}

/// The program of a dump, as restic runs it.
pub fn command(dump: &Dump) -> Command {
    let mut command = Command::new(&dump.program);
    command.args(&dump.arguments).env_clear().envs(dump.environment.iter().cloned()).stdin(Stdio::null());
    command
}

/// Runs a dump into a file.
pub async fn dumped(dump: &Dump) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    let running = command(dump).stdout(file.reopen().unwrap()).stderr(Stdio::piped()).spawn().unwrap();
    let output = running.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    file
}

/// Names in a folder.
pub fn folder(path: &Path) -> Vec<String> {
    std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Command lines of the processes whose parent is this one.
pub fn children() -> Vec<String> {
    let own = std::process::id().to_string();
    let parent =
        |status: &str| status.lines().any(|line| line.strip_prefix("PPid:").is_some_and(|id| id.trim() == own));
    processes(|folder| std::fs::read_to_string(folder.join("status")).is_ok_and(|status| parent(&status)))
}

/// Command lines of the processes that work in a folder.
pub fn processes_below(path: &Path) -> Vec<String> {
    processes(|folder| std::fs::read_link(folder.join("cwd")).is_ok_and(|cwd| cwd.starts_with(path)))
}

fn processes(wanted: impl Fn(&Path) -> bool) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    let processes = entries.filter(|path| path.join("cmdline").exists() && wanted(path));
    let lines = processes.filter_map(|path| std::fs::read(path.join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).collect()
}
