//! Drives the command line of restic 0.18: `--json`, exit codes, and its environment variables for everything secret.
//!
//! Facts used here, from restic's manual ("Scripting") and as measured with Debian's 0.18.0: exit code 3 is a backup with
//! unreadable files, 10 no repository, 11 a lock, 12 a wrong password, 130 a signal. A request that fails is tried again for
//! 15 minutes, and each try is told on standard error in plain words, also with `--json`. `forget`, `prune` and `check` lock
//! the repository for themselves, everything else shares it. A live owner replaces its lock every 5 minutes; `unlock` judges
//! by this machine's clock.

use std::ffi::OsString;
use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use printernizer_crds::backup_policy::Retention;
use secrecy::ExposeSecret as _;
use tokio::process::Command;
use tokio::time::Instant;

use super::bucket;
use super::classify;
use super::location::Location;
use super::{Data, Engine, EngineError, Entry, Environment, Marks, Restored, Snapshot, Stored};
use crate::child::{self, ChildError, Ended, Input, Output};
use crate::configuration::{Limits, Secrets};
use crate::stop::Stop;

mod answers;
mod locks;

use answers::{Identified, Said};
use locks::Watch;

/// The program.
const RESTIC: &str = "restic";
/// How long restic waits for a lock in one go at most; between, locks of the dead are looked for.
const LOCK_TURN: Duration = Duration::from_secs(300);
/// How long a command may take that moves no data of sources: restic itself gives up a request after 15 minutes.
const SHORT: Duration = Duration::from_secs(3_600);
/// Variables that are handed on, if they are set: where programs are, public certificates, and proxies.
const HANDED_ON: [&str; 6] = ["PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"];

/// What all repositories of a run share.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Password and keys; also what is taken out of texts.
    pub secrets: Secrets,
    /// Room for caches and temporary files.
    pub scratch: PathBuf,
    /// How long to wait.
    pub limits: Limits,
    /// Whether the run was told to stop.
    pub stop: Stop,
}

/// A repository that restic keeps.
#[derive(Clone, Debug)]
pub struct Restic {
    location: Location,
    settings: Settings,
}

/// One command of restic.
#[derive(Default)]
struct Call<'a> {
    arguments: Vec<OsString>,
    environment: Environment,
    input: Input,
    limit: Option<Duration>,
    from: Option<&'a Restic>,
    /// Whether complaints that no retry mends end it. Not for what complains of sources in the same words.
    impatient: bool,
}

impl Call<'_> {
    fn new<A: Into<OsString>>(arguments: impl IntoIterator<Item = A>) -> Self {
        let arguments = arguments.into_iter().map(Into::into).collect();
        Self { arguments, limit: Some(SHORT), impatient: true, ..Self::default() }
    }

    fn unlimited(self) -> Self {
        Self { limit: None, ..self }
    }
}

/// How restic ended, and what it complained of.
struct Answer {
    code: i32,
    said: Said,
    /// Which snapshot it left out because it cannot be loaded.
    left_out: Option<String>,
}

impl Restic {
    /// The repository at a place.
    pub fn new(location: Location, settings: Settings) -> Self {
        Self { location, settings }
    }

    /// The same repository, which stops when another is told to.
    #[must_use]
    pub fn stopped_by(&self, stop: Stop) -> Self {
        Self { location: self.location.clone(), settings: Settings { stop, ..self.settings.clone() } }
    }

    /// Where it is.
    pub fn place(&self) -> &Location {
        &self.location
    }

    fn command(&self, call: &Call<'_>) -> Command {
        let scratch = &self.settings.scratch;
        let mut command = Command::new(RESTIC);
        // Those of a command that makes the data come first: none of them changes what restic does.
        command.env_clear().envs(call.environment.0.iter().map(|(name, value)| (name, value)));
        command.env("HOME", scratch).env("TMPDIR", scratch.join("tmp")).env("TZ", "UTC");
        command.env("RESTIC_CACHE_DIR", scratch.join("cache"));
        for name in HANDED_ON {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.env("RESTIC_PASSWORD", self.settings.secrets.password.expose_secret());
        command.env("RESTIC_REPOSITORY", &self.location.address);
        let places = std::iter::once(&self.location).chain(call.from.map(|from| &from.location));
        for place in places.clone().rev() {
            if let Some(key) = &place.key {
                command.env("AWS_ACCESS_KEY_ID", key.id.expose_secret());
                command.env("AWS_SECRET_ACCESS_KEY", key.secret.expose_secret());
            }
        }
        if let Some(from) = call.from {
            command.env("RESTIC_FROM_PASSWORD", self.settings.secrets.password.expose_secret());
            command.env("RESTIC_FROM_REPOSITORY", &from.location.address);
        }
        command.args(["--json", "--quiet"]);
        for place in places {
            place.options.iter().for_each(|option| {
                command.args(["-o", option]);
            });
            if let Some(authority) = &place.authority {
                command.arg("--cacert").arg(authority);
            }
        }
        command.args(&call.arguments);
        command
    }

    /// Runs a command and waits for another run's lock, if there is one.
    async fn call(
        &self,
        call: &Call<'_>,
        mut output: impl FnMut() -> Result<Output<'static>, EngineError>,
    ) -> Result<Answer, EngineError> {
        self.patiently(call, async |call| self.once(call, output()?).await).await
    }

    /// As [`Self::call`], for a command whose output is read line by line.
    async fn lines(&self, call: &Call<'_>, each: &mut dyn FnMut(&[u8])) -> Result<Answer, EngineError> {
        self.patiently(call, async |call| self.once(call, Output::Lines(each)).await).await
    }

    async fn patiently<'c>(
        &self,
        call: &Call<'c>,
        mut once: impl AsyncFnMut(&Call<'c>) -> Result<Answer, EngineError>,
    ) -> Result<Answer, EngineError> {
        let deadline = Instant::now() + self.settings.limits.lock;
        let mut again = Call {
            arguments: call.arguments.clone(),
            environment: call.environment.clone(),
            input: call.input.clone(),
            limit: call.limit,
            from: call.from,
            impatient: call.impatient,
        };
        let dead_lock = self.settings.limits.dead_lock;
        let places = std::iter::once(self).chain(call.from);
        let mut watched: Vec<(&Self, Watch)> = places.map(|place| (place, Watch::default())).collect();
        let mut answer = once(call).await?;
        while answer.code == 11 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(EngineError::Locked(self.location.name.clone()));
            }
            // The lock may be that of a run that was killed.
            for (place, watch) in &mut watched {
                let locks = place.locks().await?;
                if watch.are_of_the_dead(locks, Instant::now(), dead_lock) {
                    place.unlock().await?;
                }
            }
            let turn = left.min(LOCK_TURN).min(dead_lock / 6);
            again.arguments = vec!["--retry-lock".into(), format!("{}s", turn.as_secs().max(1)).into()];
            again.arguments.extend(call.arguments.iter().cloned());
            again.limit = call.limit.map(|limit| limit + turn);
            answer = once(&again).await?;
        }
        Ok(answer)
    }

    async fn once(&self, call: &Call<'_>, output: Output<'_>) -> Result<Answer, EngineError> {
        let command = self.command(call);
        let mut left_out = None;
        let mut complained = |line: &str| {
            if left_out.is_none() && classify::is_left_out(line) {
                left_out = Some(self.settings.secrets.redact(line));
            }
            if call.impatient && classify::is_hopeless(line) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let ended =
            child::run(command, call.input.clone(), output, &mut complained, call.limit, &self.settings.stop).await;
        let Ended { status, complaints, given_up } = match ended {
            Ok(ended) => ended,
            Err(ChildError::Interrupted) => return Err(EngineError::Interrupted),
            Err(ChildError::TimedOut { limit, complaints }) => {
                let said = self.heard(&complaints).before_it_was_ended().text();
                let said = if said.is_empty() { format!("no answer in {} s", limit.as_secs()) } else { said };
                return Err(match classify::error(&self.location, &said) {
                    EngineError::Other(_) => {
                        EngineError::Unreachable { location: self.location.name.clone(), said, advice: String::new() }
                    }
                    known => known,
                });
            }
            Err(error) => return Err(EngineError::Other(self.settings.secrets.redact(&error.to_string()))),
        };
        let said = self.heard(&complaints);
        if given_up {
            return Err(classify::error(&self.location, &said.text()));
        }
        Ok(Answer { code: status.code().unwrap_or(-1), said, left_out })
    }

    fn heard(&self, complaints: &[String]) -> Said {
        let complaints: Vec<String> = complaints.iter().map(|line| self.settings.secrets.redact(line)).collect();
        Said::read(&complaints)
    }

    /// The error of an exit code that is not 0.
    fn failed(&self, answer: &Answer) -> EngineError {
        let name = self.location.name.clone();
        match answer.code {
            10 => EngineError::Missing(name),
            11 => EngineError::Locked(name),
            12 => EngineError::WrongPassword(name),
            130 => EngineError::Interrupted,
            code => match classify::error(&self.location, &answer.said.text()) {
                EngineError::Other(said) => EngineError::Other(format!("{said} (exit code {code})")),
                known => known,
            },
        }
    }

    fn succeeded(&self, answer: &Answer) -> Result<(), EngineError> {
        match self.left_out(answer) {
            _ if answer.code != 0 => Err(self.failed(answer)),
            Some(damage) => Err(damage),
            None => Ok(()),
        }
    }

    /// What is wrong if snapshots were left out, which is told by words alone: the exit code is 0.
    fn left_out(&self, answer: &Answer) -> Option<EngineError> {
        let said = format!("a snapshot cannot be loaded ({})", answer.left_out.as_ref()?);
        Some(EngineError::Damaged { location: self.location(), said })
    }

    /// The ids of all locks.
    async fn locks(&self) -> Result<Vec<String>, EngineError> {
        let mut ids = Vec::new();
        let mut each = |line: &[u8]| ids.push(String::from_utf8_lossy(line).into_owned());
        let answer = self.once(&Call::new(["list", "locks"]), Output::Lines(&mut each)).await?;
        self.succeeded(&answer).map(|()| ids)
    }

    /// Takes away locks that are too old by this machine's clock, or of a process of this machine that is gone.
    async fn unlock(&self) -> Result<(), EngineError> {
        let answer = self.once(&Call::new(["unlock"]), Output::Lines(&mut |_| {})).await?;
        self.succeeded(&answer)
    }

    /// Runs a command that says nothing of interest.
    async fn done(&self, call: Call<'_>) -> Result<(), EngineError> {
        let answer = self.lines(&call, &mut |_| {}).await?;
        self.succeeded(&answer)
    }

    /// Runs a command and reads the last JSON document it writes.
    async fn json<T: serde::de::DeserializeOwned>(&self, call: Call<'_>) -> Result<T, EngineError> {
        let mut text = Vec::new();
        let answer = self
            .lines(&call, &mut |line| {
                text.clear();
                text.extend_from_slice(line);
            })
            .await?;
        self.succeeded(&answer)?;
        self.parse(&text)
    }

    fn parse<T: serde::de::DeserializeOwned>(&self, text: &[u8]) -> Result<T, EngineError> {
        serde_json::from_slice(text).map_err(|error| {
            EngineError::Other(format!("what restic said of {} cannot be read: {error}", self.location.name))
        })
    }
}

impl Engine for Restic {
    fn location(&self) -> String {
        self.location.name.clone()
    }

    async fn open(&self) -> Result<Option<String>, EngineError> {
        if let Some(folder) = self.location.folder.as_ref().filter(|folder| !folder.is_dir()) {
            let said = format!("{} is no directory", folder.display());
            return Err(EngineError::NotFound { location: self.location(), said, advice: String::new() });
        }
        let mut call = Call::new(["cat", "config", "--no-lock"]);
        call.limit = Some(self.settings.limits.answer);
        if self.location.key.is_some() {
            // Restic's S3 library would try ten times before it says a word; restic itself tries again as well.
            call.arguments.extend(["-o", "s3.retries=1"].map(OsString::from));
        }
        let mut text = Vec::new();
        // It is written over several lines.
        let answer = self.lines(&call, &mut |line| text.extend_from_slice(line)).await?;
        if answer.code == 10 {
            bucket::check(&self.location, self.settings.limits.answer).await?;
            return Ok(None);
        }
        self.succeeded(&answer)?;
        Ok(Some(self.parse::<Identified>(&text)?.id))
    }

    async fn create(&self, like: Option<&Self>) -> Result<String, EngineError> {
        let mut call = Call::new(["init"]);
        if like.is_some() {
            call.arguments.push("--copy-chunker-params".into());
        }
        call.from = like;
        Ok(self.json::<Identified>(call).await?.id)
    }

    async fn store(&self, data: &Data, marks: &Marks) -> Result<Stored, EngineError> {
        let mut call = Call::new(["backup", "--host", &marks.host]).unlimited();
        let time = marks.time.strftime("%Y-%m-%d %H:%M:%S").to_string();
        let mut options: Vec<OsString> = vec!["--time".into(), time.into()];
        for tag in &marks.tags {
            options.extend(["--tag".into(), tag.into()]);
        }
        let named = |name: &str| [OsString::from("--stdin-filename"), name.into()];
        match data {
            Data::Files { paths, excludes } => {
                for pattern in excludes {
                    options.extend(["--exclude".into(), pattern.into()]);
                }
                options.push("--".into());
                options.extend(paths.iter().map(|path| path.clone().into_os_string()));
            }
            Data::File { from, name } => {
                options.push("--stdin".into());
                options.extend(named(name));
                call.input = Input::File(from.clone());
            }
            Data::Bytes { bytes, name } => {
                options.push("--stdin".into());
                options.extend(named(name));
                call.input = Input::Bytes(bytes.clone());
            }
            Data::Command { program, arguments, environment, name } => {
                options.push("--stdin-from-command".into());
                options.extend(named(name));
                options.push("--".into());
                options.extend(without_repository_secrets(program, arguments)?);
                call.environment.clone_from(environment);
            }
        }
        call.arguments.extend(options);
        let mut summary = None;
        let answer = self.lines(&call, &mut |line| summary = answers::summary(line).or(summary.take())).await?;
        match (answer.code, summary) {
            (0, Some(stored)) => Ok(stored),
            (0, None) => Err(EngineError::Other("restic stored a snapshot and did not say which".to_owned())),
            (3, _) => Err(EngineError::Source(answer.said.unreadable())),
            _ if answer.said.command_failed() => Err(EngineError::Source(answer.said.text())),
            _ => Err(self.failed(&answer)),
        }
    }

    async fn snapshots(&self, host: &str) -> Result<Vec<Snapshot>, EngineError> {
        match self.loadable(host).await? {
            (_, Some(damage)) => Err(damage),
            (snapshots, None) => Ok(snapshots),
        }
    }

    async fn loadable(&self, host: &str) -> Result<(Vec<Snapshot>, Option<EngineError>), EngineError> {
        let mut text = Vec::new();
        let answer = self.lines(&Call::new(["snapshots", "--host", host]), &mut |line| text = line.to_vec()).await?;
        if answer.code != 0 {
            return Err(self.failed(&answer));
        }
        let snapshots: Option<Vec<answers::SnapshotAnswer>> = self.parse(&text)?;
        let snapshots = snapshots.unwrap_or_default().into_iter().map(Snapshot::from).collect();
        Ok((snapshots, self.left_out(&answer)))
    }

    async fn list(&self, snapshot: &str, folder: &str, each: &mut dyn FnMut(Entry)) -> Result<(), EngineError> {
        let call = Call::new(["ls", &format!("{snapshot}:{folder}")]);
        let mut wrong = None;
        let answer = self
            .lines(&call, &mut |line| match answers::entry(line) {
                Ok(Some(entry)) => each(entry),
                Ok(None) => {}
                Err(error) => wrong = Some(error),
            })
            .await?;
        self.succeeded(&answer)?;
        match wrong {
            None => Ok(()),
            Some(error) => Err(EngineError::Other(format!("restic lists what cannot be read: {error}"))),
        }
    }

    async fn read(&self, snapshot: &str, file: &str, at_most: usize) -> Result<Vec<u8>, EngineError> {
        let call = Call::new(["dump", snapshot, file]);
        let mut text: Vec<u8> = Vec::new();
        let answer = self
            .lines(&call, &mut |line| {
                if text.len() <= at_most {
                    text.extend_from_slice(line);
                    text.push(b'\n');
                }
            })
            .await?;
        self.succeeded(&answer)?;
        if text.len() > at_most {
            return Err(EngineError::Other(format!("{file} of snapshot {snapshot} has more than {at_most} bytes")));
        }
        Ok(text)
    }

    async fn extract(&self, snapshot: &str, file: &str, into: &Path) -> Result<(), EngineError> {
        let call = Call::new(["dump", snapshot, file]).unlimited();
        let output = || {
            let file = File::create(into);
            let file = file.map_err(|error| EngineError::Other(format!("cannot write {}: {error}", into.display())))?;
            Ok(Output::File(file))
        };
        let answer = self.call(&call, output).await?;
        self.succeeded(&answer)
    }

    async fn restore(&self, snapshot: &str, folder: &str, into: &Path) -> Result<Restored, EngineError> {
        let mut call = Call::new(["restore", &format!("{snapshot}:{folder}"), "--verify", "--target"]).unlimited();
        call.arguments.push(into.into());
        let mut summary = None;
        let answer = self.lines(&call, &mut |line| summary = answers::restored(line).or(summary.take())).await?;
        if answer.code != 0 {
            return Err(match self.failed(&answer) {
                EngineError::Full { said, .. } => EngineError::Full { location: into.display().to_string(), said },
                error => error,
            });
        }
        summary.ok_or_else(|| EngineError::Other("restic restored and did not say what".to_owned()))
    }

    async fn expired(&self, host: &str, tag: &str, retention: &Retention) -> Result<Vec<String>, EngineError> {
        let mut call = Call::new(["forget", "--dry-run", "--host", host, "--tag", tag, "--group-by", "host"]);
        call.arguments.extend(answers::rules(retention).into_iter().map(OsString::from));
        let groups: Option<Vec<answers::ForgetGroup>> = {
            let mut text = Vec::new();
            let answer = self.lines(&call, &mut |line| text = line.to_vec()).await?;
            self.succeeded(&answer)?;
            // Without any snapshot it says nothing at all.
            if text.is_empty() { None } else { self.parse(&text)? }
        };
        Ok(groups.unwrap_or_default().into_iter().flat_map(answers::ForgetGroup::removed).collect())
    }

    async fn forget(&self, snapshots: &[String]) -> Result<(), EngineError> {
        // Ids are 64 characters: a thousand of them stay well below what a command line holds.
        for some in snapshots.chunks(1_000) {
            let mut call = Call::new(["forget"]);
            call.arguments.extend(some.iter().map(OsString::from));
            self.done(call).await?;
        }
        Ok(())
    }

    async fn prune(&self) -> Result<(), EngineError> {
        self.done(Call::new(["prune"]).unlimited()).await
    }

    async fn check(&self, percent: u8) -> Result<(), EngineError> {
        let mut call = Call::new(["check"]).unlimited();
        if percent > 0 {
            call.arguments.push(format!("--read-data-subset={percent}%").into());
        }
        let mut damage = None;
        let answer = self.lines(&call, &mut |line| damage = answers::damage(line).or(damage.take())).await?;
        if answer.code == 0 {
            return Ok(());
        }
        Err(match (self.failed(&answer), damage) {
            (error @ (EngineError::Missing(_) | EngineError::Locked(_) | EngineError::WrongPassword(_)), _) => error,
            (_, Some(damage)) if damage.has_packs() => {
                EngineError::Damaged { location: self.location(), said: damage.told(&answer.said) }
            }
            (error, _) => error,
        })
    }

    async fn size_bytes(&self) -> Result<u64, EngineError> {
        Ok(self.json::<answers::Stats>(Call::new(["stats", "--mode", "raw-data"])).await?.total_size)
    }

    async fn copy(&self, from: &Self, snapshots: &[String]) -> Result<(), EngineError> {
        for some in snapshots.chunks(1_000) {
            let mut call = Call::new(["copy"]).unlimited();
            call.arguments.extend(some.iter().map(OsString::from));
            call.from = Some(from);
            self.done(call).await?;
        }
        Ok(())
    }
}

/// The command line that starts the program without the repository's secrets, which restic's children would inherit: this
/// very program, which forgets them and becomes the other one.
fn without_repository_secrets(program: &Path, arguments: &[OsString]) -> Result<Vec<OsString>, EngineError> {
    let myself = std::env::current_exe()
        .map_err(|error| EngineError::Other(format!("cannot find this program's own file: {error}")))?;
    let mut line = vec![myself.into_os_string(), "run-source".into(), "--".into(), program.into()];
    line.extend(arguments.iter().cloned());
    Ok(line)
}
