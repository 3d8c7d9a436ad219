//! Drives the command line of restic 0.18: `--json`, exit codes, and its environment variables for everything secret.
//!
//! Facts used here, from restic's manual ("Scripting") and as measured with Debian's 0.18.0: exit code 3 is a backup with
//! unreadable files, 10 no repository, 11 a lock, 12 a wrong password, 130 a signal. A request that fails is tried again for
//! 15 minutes, and each try is told on standard error in plain words, also with `--json`. `forget`, `prune` and `check` lock
//! the repository for themselves, everything else shares it. A live owner replaces its lock every 5 minutes; `unlock` judges
//! by this machine's clock.

use std::ffi::OsString;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use tokio::process::Command;
use tokio::time::Instant;

use super::classify;
use super::location::Location;
use super::{Engine as _, EngineError, Environment};
use crate::child::{self, ChildError, Ended, Input, Output};
use crate::configuration::{Limits, Secrets};
use crate::stop::Stop;

mod answers;
mod commands;
mod ground;
mod locks;

use answers::Said;
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
        let mut stays = None;
        let mut answer = once(call).await?;
        while answer.code == 11 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(
                    stays.map_or_else(|| EngineError::Locked(self.location.name.clone()), EngineError::DeadLock)
                );
            }
            // The lock may be that of a run that was killed.
            for (place, watch) in &mut watched {
                let locks = place.locks().await?;
                if watch.are_of_the_dead(locks.clone(), Instant::now(), dead_lock) {
                    place.unlock().await?;
                    let left = place.locks().await?;
                    stays = locks.iter().any(|id| left.contains(id)).then(|| place.location.name.clone());
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

    /// Takes away locks that are too old by this machine's clock, or of a process of this machine that is gone. Those of a clock
    /// that was ahead stay, for restic can take away these or all, and another one may be of a run that lives.
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
