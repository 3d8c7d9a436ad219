//! The program `printernizer-backup`, which the pods of a BackupPolicy run.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use jiff::Timestamp;
use printernizer_backup::configuration::{self, Limits, Told, is_name, report_path};
use printernizer_backup::failure::Failure;
use printernizer_backup::report;
use printernizer_backup::run::{Facts, Place, Run, Task, Wanted};
use printernizer_backup::stop::Stop;

/// What restic and its like know of the repository; the command that makes the data must not.
const OF_THE_REPOSITORY: [&str; 2] = ["RESTIC_", "AWS_"];

#[derive(Parser)]
#[command(
    version,
    about = "Makes, checks, prunes and restores the backups of a BackupPolicy",
    long_about = "Makes, checks, prunes and restores the backups of a BackupPolicy. What to do and with which keys comes from the \
                  environment, as the operator sets it in the pods."
)]
struct Arguments {
    /// How long to wait for the first answer of a target, in seconds.
    #[arg(long, env = "PRINTERNIZER_BACKUP_ANSWER_SECONDS", default_value_t = 60, value_name = "SECONDS")]
    answer_seconds: u64,
    /// How long to wait for another run to let go of the repository, in seconds.
    #[arg(long, env = "PRINTERNIZER_BACKUP_LOCK_SECONDS", default_value_t = 2_400, value_name = "SECONDS")]
    lock_seconds: u64,
    /// How long a lock must stay as it is before its owner is taken for dead, in seconds. A live one replaces it every 5 minutes.
    #[arg(long, env = "PRINTERNIZER_BACKUP_DEAD_LOCK_SECONDS", default_value_t = 1_800, value_name = "SECONDS")]
    dead_lock_seconds: u64,
    /// How much a check reads in one go where it is to read everything, in bytes; between, it looks how much time is left.
    #[arg(long, env = "PRINTERNIZER_BACKUP_PART_BYTES", default_value_t = 20_000_000_000, value_name = "BYTES")]
    part_bytes: u64,
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Make a recovery point, and its copies.
    Backup,
    /// Read the repository and its copies, and compare them with their checksums.
    Check,
    /// Forget what is kept no longer, and give its room back.
    Prune,
    /// Restore the newest recovery point into scratch space, and verify it.
    Drill,
    /// Restore a recovery point into empty volumes.
    Restore(RestoreArguments),
    /// List the recovery points.
    List {
        /// At most so many, the newest first.
        #[arg(long, default_value_t = 50)]
        limit: usize,
        /// Of the n-th copy, counted from 0, instead of the target.
        #[arg(long, value_name = "N")]
        copy: Option<usize>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Becomes a command that writes data to back up, without the repository's secrets.
    #[command(hide = true)]
    RunSource {
        /// The command.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        line: Vec<OsString>,
    },
}

#[derive(Args)]
struct RestoreArguments {
    /// The recovery point: its id as `list` shows it, or `latest`.
    #[arg(long, default_value = "latest")]
    point: String,
    /// From the n-th copy, counted from 0, instead of the target.
    #[arg(long, value_name = "N")]
    copy: Option<usize>,
    /// A volume: the claim that was backed up and the one it is restored into, mounted at /restore/CLAIM, which must be empty.
    /// Its SQLite databases come with it. May be repeated.
    #[arg(long = "volume", value_name = "CLAIM=INTO", value_parser = pair)]
    volumes: Vec<(String, String)>,
    /// A PostgreSQL database: its number among the policy's, counted from 0, and the database of the same server it is restored
    /// into, by the same user, who must own it. It must have no tables. May be repeated.
    #[arg(long = "postgres", value_name = "N=DATABASE", value_parser = database)]
    postgres: Vec<(usize, String)>,
    /// Replace what has the same name in these databases.
    #[arg(long, requires = "postgres")]
    overwrite: bool,
    /// The Kubernetes objects, for kubectl apply: as the file objects.yaml into this claim, or without one to standard output.
    #[arg(long, value_name = "INTO", num_args = 0..=1, default_missing_value = "-", value_parser = place)]
    objects: Option<Place>,
}

fn name(text: &str) -> Result<String, String> {
    if is_name(text) {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is not the name of a PersistentVolumeClaim"))
    }
}

fn place(text: &str) -> Result<Place, String> {
    if text == "-" { Ok(Place::StandardOutput) } else { name(text).map(Place::Claim) }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (claim, into) = text.split_once('=').unwrap_or((text, text));
    Ok((name(claim)?, name(into)?))
}

fn database(text: &str) -> Result<(usize, String), String> {
    let (number, name) = text.split_once('=').ok_or_else(|| format!("{text:?} is not N=DATABASE"))?;
    let number = number.parse().map_err(|_| format!("{number:?} is no number of a PostgreSQL source"))?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "_$-".contains(c);
    let fits = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(plain);
    if fits && name.len() <= 63 {
        Ok((number, name.to_owned()))
    } else {
        Err(format!("{name:?} is no plain name of a database"))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // The provider of the cryptography is chosen once; only a second choice could fail.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let Arguments { answer_seconds, lock_seconds, dead_lock_seconds, part_bytes, command } = Arguments::parse();
    let [answer, lock, dead_lock] = [answer_seconds, lock_seconds, dead_lock_seconds].map(Duration::from_secs);
    let told = || configuration::read(|name| std::env::var_os(name), Limits { answer, lock, dead_lock, part_bytes });
    let task = match command {
        Verb::Backup => Task::Backup,
        Verb::Check => Task::Check,
        Verb::Prune => Task::Prune,
        Verb::Drill => Task::Drill,
        Verb::Restore(RestoreArguments { point, copy, volumes, postgres, overwrite, objects }) => {
            Task::Restore(Wanted { point, copy, volumes, postgres, overwrite, objects })
        }
        Verb::List { limit, copy, json } => return list(told(), copy, limit, json).await,
        Verb::RunSource { line } => return become_source(&line),
    };
    perform(told(), &task).await
}

async fn perform(told: Result<Told, Failure>, task: &Task) -> ExitCode {
    // A drill runs what others wrote into their databases, as the same user: whom the system then lets see nothing of this
    // process, its keys least of all.
    let _ = nix::sys::prctl::set_dumpable(false);
    let started = Timestamp::now();
    let mut facts = Facts::default();
    let ended = match told.and_then(prepare) {
        Ok(run) => run.perform(task, &mut facts).await,
        Err(failure) => Err(failure),
    };
    let report = printernizer_backup::run::report(task.role(), started, facts, ended);
    let path = report_path(|name| std::env::var_os(name));
    // A pod's log has both outputs in it, and YAML must stay YAML.
    let comment = matches!(task, Task::Restore(Wanted { objects: Some(Place::StandardOutput), .. }));
    tell(&format!("{}{:?}: {}", if comment { "# " } else { "" }, report.reason, report.message));
    match report::write(&report, &path) {
        Ok(()) if report.succeeded() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => {
            tell(&format!("error: cannot write the report to {}: {error}", path.display()));
            ExitCode::FAILURE
        }
    }
}

fn prepare(told: Told) -> Result<Run, Failure> {
    let stop = Stop::on_signals().map_err(|error| Failure::other(format!("cannot listen for signals: {error}")))?;
    Run::new(told, stop)
}

async fn list(told: Result<Told, Failure>, copy: Option<usize>, limit: usize, json: bool) -> ExitCode {
    let listed = match told.and_then(prepare) {
        Ok(run) => run.list(copy, limit).await,
        Err(failure) => Err(failure),
    };
    let listed = listed.map(|(points, damage)| {
        if let Some(damage) = damage {
            tell(&format!("warning: {damage}"));
        }
        points
    });
    let text = match listed {
        Ok(points) if json => serde_json::to_string_pretty(&points).unwrap_or_default(),
        Ok(points) => points.iter().map(|point| point.line() + "\n").collect(),
        Err(failure) => {
            tell(&format!("error: {failure}"));
            return ExitCode::FAILURE;
        }
    };
    match writeln!(std::io::stdout(), "{}", text.trim_end()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Replaces this program by the one that writes the data.
fn become_source(line: &[OsString]) -> ExitCode {
    let Some((program, arguments)) = line.split_first() else { return ExitCode::FAILURE };
    let mut command = Command::new(program);
    command.args(arguments);
    for (name, _) in std::env::vars_os() {
        if OF_THE_REPOSITORY.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    let error = command.exec();
    tell(&format!("cannot run {}: {error}", program.display()));
    ExitCode::FAILURE
}

fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
