//! Databases in a run: copied and dumped into a recovery point, verified in a drill, put back in a restore. How each kind is
//! read and proven is of `sqlite` and `postgres`; here they meet the engine.

use std::fs::File;
use std::future::Future;
use std::path::{Path, PathBuf};

use printernizer_crds::backup_policy::{PostgresSource, RunReason, SqliteSource};
use secrecy::ExposeSecret as _;
use tokio::sync::oneshot;

use super::Run;
use super::backup::Kept;
use crate::engine::{Data, EngineError, Environment};
use crate::failure::Failure;
use crate::manifest::{Part, PartSource};
use crate::postgres::{self, Connection, PostgresError, PostgresProof, Programs, Snapshot};
use crate::source::{Proof, files};
use crate::sqlite::{self, SqliteError};
use crate::stop::Stop;

impl Run {
    /// Whether every database can be read, before anything is written anywhere.
    pub(super) async fn check_databases(&self) -> Result<(), Failure> {
        for source in &self.told.configuration.sources.sqlite {
            self.database_file(source)?;
        }
        for index in 0..self.told.configuration.sources.postgres.len() {
            let connection = self.connection(index)?;
            self.unless_stopped(&self.stop, Snapshot::take(&connection))
                .await?
                .map_err(|error| self.failure(&error))?;
        }
        Ok(())
    }

    /// Copies a SQLite database, and stores the copy.
    pub(super) async fn store_sqlite(&self, run: &str, source: &SqliteSource) -> Result<Kept, Failure> {
        let database = self.database_file(source)?;
        let copy = self.work.join("copy.db");
        let into = copy.clone();
        let proof = self.unless_stopped(&self.stop, apart(move || sqlite::copy(&database, &into))).await??;
        let SqliteSource { claim_name, path, may_be_empty } = source.clone();
        let name = flat(&format!("{claim_name}/{path}"));
        let part = PartSource::Sqlite { claim_name, path };
        self.store_file(run, part, "sqlite", &name, &copy, Proof::Sqlite(proof))
            .await
            .and_then(|kept| kept.checked(may_be_empty))
    }

    /// Dumps a PostgreSQL database into the repository, without a file between.
    pub(super) async fn store_postgres(&self, run: &str, index: usize) -> Result<Kept, Failure> {
        let (source, connection) = (self.postgres_source(index)?, self.connection(index)?);
        let failed = |error: PostgresError| self.failure(&error);
        let snapshot = self.unless_stopped(&self.stop, Snapshot::take(&connection)).await?;
        let mut snapshot = snapshot.map_err(failed)?;
        let proof = self.unless_stopped(&self.stop, snapshot.proof()).await?.map_err(failed)?;
        let dump = snapshot.dump().map_err(failed)?;
        let PostgresSource { host, port, database, .. } = source;
        let path = flat(&format!("{host}:{port}/{database}.dump"));
        let data = Data::Command {
            program: dump.program,
            arguments: dump.arguments,
            environment: Environment(dump.environment),
            name: path.clone(),
        };
        let stored = self.store_tagged(run, &data, "postgres").await.map_err(|error| match error {
            EngineError::Source(said) => self.failure(&connection.explain(&said)),
            other => other.into(),
        })?;
        let kept = Kept { source: source.into(), stored, path, proof: Proof::Postgres(proof) };
        kept.checked(source.may_be_empty)
    }

    /// Restores a dump for practice.
    pub(super) async fn verify_dump(&self, stop: &Stop, dump: &Path, expected: &PostgresProof) -> Result<(), Failure> {
        let file = File::open(dump).map_err(|error| Failure::scratch(dump, &error))?;
        let programs = Programs::on_path();
        let verified = postgres::verify(&programs, &self.work, file, expected);
        self.unless_stopped(stop, verified).await?.map_err(|error| self.failure(&error))
    }

    /// Restores a dump into another database of the server it came from.
    pub(super) async fn restore_dump(
        &self,
        (index, into): (usize, &str),
        dump: &Path,
        part: &Part,
        overwrite: bool,
    ) -> Result<(), Failure> {
        let Proof::Postgres(expected) = &part.proof else {
            return Err(Failure::new(RunReason::RestoreDiffers, format!("{} has another kind of proof", part.source)));
        };
        let connection = Connection { database: into.to_owned(), ..self.connection(index)? };
        let file = File::open(dump).map_err(|error| Failure::scratch(dump, &error))?;
        let restored = postgres::restore(&connection, file.into(), expected, overwrite);
        self.unless_stopped(&self.stop, restored).await?.map_err(|error| self.failure(&error))
    }

    /// The n-th PostgreSQL source of the policy.
    pub(super) fn postgres_source(&self, index: usize) -> Result<&PostgresSource, Failure> {
        let sources = &self.told.configuration.sources.postgres;
        sources.get(index).ok_or_else(|| {
            Failure::invalid(format!("there is no PostgreSQL source {index}: the policy has {}", sources.len()))
        })
    }

    fn connection(&self, index: usize) -> Result<Connection, Failure> {
        let source = self.postgres_source(index)?;
        let login = self.told.secrets.postgres.get(index).and_then(Option::as_ref).ok_or_else(|| {
            Failure::invalid(format!(
                "PRINTERNIZER_BACKUP_POSTGRES_{index}_USERNAME and _PASSWORD are not set: they come from keys username and \
                 password of Secret {}; the Secret is missing, has not these keys, or they are empty",
                source.credentials_secret_ref.name
            ))
        })?;
        let port = u16::try_from(source.port).map_err(|_| Failure::invalid(format!("{} is no port", source.port)))?;
        let authority = source.ca_bundle_config_map_ref.as_ref().map(|_| self.told.layout.postgres_authority(index));
        Ok(Connection {
            host: source.host.clone(),
            port,
            database: source.database.clone(),
            username: login.username.expose_secret().to_owned(),
            password: Some(login.password.clone()),
            authority,
            programs: Programs::on_path(),
        })
    }

    /// The file of a database, which must be in its volume: a link in there may lead anywhere.
    fn database_file(&self, source: &SqliteSource) -> Result<PathBuf, Failure> {
        let SqliteSource { claim_name, path, .. } = source;
        let root = self.told.layout.volume(claim_name);
        files::readable(&root, claim_name)?;
        let unreadable = |error: std::io::Error| {
            Failure::source_unavailable(format!(
                "SQLite database {path} of volume {claim_name} cannot be read: {error}"
            ))
        };
        let place = root.join(path).canonicalize().map_err(unreadable)?;
        if place.starts_with(root.canonicalize().map_err(unreadable)?) {
            return Ok(place);
        }
        let out = format!("SQLite database {path} of volume {claim_name} is a link that leads out of the volume");
        Err(Failure::invalid(out))
    }

    fn failure(&self, error: &PostgresError) -> Failure {
        Failure::new(error.reason(), self.told.secrets.redact(&error.to_string()))
    }

    /// What comes first: the end of the work, or being told to stop, which ends the work.
    async fn unless_stopped<T>(&self, stop: &Stop, work: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::select! {
            done = work => Ok(done),
            () = stop.stopped() => Err(Failure::interrupted()),
        }
    }
}

impl From<&PostgresSource> for PartSource {
    fn from(source: &PostgresSource) -> Self {
        Self::Postgres { host: source.host.clone(), port: source.port, database: source.database.clone() }
    }
}

impl From<SqliteError> for Failure {
    fn from(error: SqliteError) -> Self {
        Self::new(error.reason(), error.to_string())
    }
}

/// The name of a database in its snapshot: a file at the top, for restic knows no folders around what it reads from a program.
fn flat(name: &str) -> String {
    format!("/{}", name.replace(['/', ':'], "-"))
}

/// Compares a restored SQLite database with what was recorded.
pub(super) async fn verify_sqlite(file: PathBuf, expected: sqlite::SqliteProof) -> Result<(), Failure> {
    apart(move || sqlite::verify(&file, &expected)).await
}

/// Runs what blocks on a thread of its own. It ends with the process: a run that is told to stop does not wait for it.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SqliteError> + Send + 'static,
) -> Result<T, Failure> {
    let (told, done) = oneshot::channel();
    let thread = std::thread::Builder::new().name("sqlite".to_owned()).spawn(move || drop(told.send(work())));
    thread.map_err(|error| Failure::other(format!("cannot start a thread: {error}")))?;
    let done = done.await.map_err(|_| Failure::other("SQLite's thread ended without a result"))?;
    done.map_err(Failure::from)
}
