//! What the program asks of a repository, as commands of restic: which one, with which arguments, and what its answer means. How
//! a command is run is in the parent.

use std::ffi::OsString;
use std::fs::File;
use std::path::Path;

use printernizer_crds::backup_policy::Retention;

use super::super::{Data, Engine, EngineError, Entry, Marks, Restored, Sample, Snapshot, Stored, bucket};
use super::answers::{self, Identified};
use super::{Call, Restic, ground};
use crate::child::{Input, Output};

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
        if let Some(folder) = self.location.address.strip_prefix("local:") {
            ground::look(Path::new(folder), &self.location())?;
        }
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

    async fn check(&self, sample: Sample) -> Result<(), EngineError> {
        let mut call = Call::new(["check"]).unlimited();
        match sample {
            Sample::Percent(0) => {}
            Sample::Percent(percent) => call.arguments.push(format!("--read-data-subset={percent}%").into()),
            // By the first byte of a pack's name.
            Sample::Part(part, of) => call.arguments.push(format!("--read-data-subset={part}/{of}").into()),
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
