//! The command line. Flags that kubectl has are named as there and mean the same.

#![allow(missing_docs, reason = "what is documented here is told to people by --help")]

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use printernizer_crds::print_job::Answer;

pub use crate::add_printer::arguments::{AddPrinter, Kind};
use crate::backups::arguments::{BackupNow, Backups, Restore};
use crate::output::Format;

/// Runs a print farm from the command line.
#[derive(Parser, Debug)]
#[command(name = "kubectl-printernizer", bin_name = "kubectl printernizer", version, about, max_term_width = 110)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub cluster: ClusterArguments,
}

/// Which cluster, which namespace, and as whom.
#[derive(Args, Clone, Debug, Default)]
pub struct ClusterArguments {
    /// Namespace to work in. Default: that of the context
    #[arg(short, long, global = true, value_name = "NAME", help_heading = "Cluster")]
    pub namespace: Option<String>,
    /// Context of the kubeconfig
    #[arg(long, global = true, value_name = "NAME", help_heading = "Cluster")]
    pub context: Option<String>,
    /// Cluster of the kubeconfig
    #[arg(long, global = true, value_name = "NAME", help_heading = "Cluster")]
    pub cluster: Option<String>,
    /// User of the kubeconfig
    #[arg(long, global = true, value_name = "NAME", help_heading = "Cluster")]
    pub user: Option<String>,
    /// The kubeconfig. Default: the variable KUBECONFIG, else ~/.kube/config
    #[arg(long, global = true, value_name = "FILE", help_heading = "Cluster")]
    pub kubeconfig: Option<PathBuf>,
    /// User to act as
    #[arg(long = "as", global = true, value_name = "NAME", help_heading = "Cluster")]
    pub act_as: Option<String>,
    /// Group to act as; may be repeated
    #[arg(long = "as-group", global = true, value_name = "NAME", help_heading = "Cluster")]
    pub act_as_groups: Vec<String>,
    /// Longest wait for one answer of the API server: 20s, 2m; not 0
    #[arg(long, global = true, value_name = "TIME", default_value = "30s", value_parser = limit, help_heading = "Cluster")]
    pub request_timeout: Option<Duration>,
}

/// How the answer is written.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct OutputArguments {
    /// Form of the answer
    #[arg(short, long, value_name = "FORM")]
    pub output: Option<Format>,
}

impl Command {
    /// Whether it writes nothing to the cluster.
    pub fn only_reads(&self) -> bool {
        match self {
            Self::Status(_) | Self::Why(_) | Self::Backups(_) => true,
            Self::Outcome(outcome) => outcome.answer.is_none(),
            Self::AddPrinter(add) => add.dry_run,
            Self::Restore(restore) => restore.dry_run,
            _ => false,
        }
    }
}

/// What a person can ask for.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// The farm at a glance: what waits for a person, printers, jobs
    Status(Status),
    /// Say that beds are clear, after looking at what lies on them
    ClearBed(ClearBed),
    /// Answer what became of a print, after looking at the evidence
    Outcome(Outcome),
    /// Pause prints that run
    Pause(Jobs),
    /// Go on with prints that were paused from here
    Resume(Jobs),
    /// Stop jobs for good
    Cancel(Cancel),
    /// Hold jobs back before they start, or keep new jobs off printers
    Hold(Hold),
    /// Release what was held
    Release(Release),
    /// Trust a printer again after looking at it
    Acknowledge(Acknowledge),
    /// Add a printer: ask for what is needed, try it, write its Secret and Printer
    AddPrinter(Box<AddPrinter>),
    /// Why a job waits, and what each printer lacks for it
    Why(Why),
    /// Backups: what could be lost, and whether they are proven
    Backups(Backups),
    /// Make a backup now
    BackupNow(BackupNow),
    /// Restore a recovery point, or show which there are
    Restore(Box<Restore>),
}

#[derive(Args, Debug)]
pub struct Status {
    /// All namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Printers with these labels, and all jobs
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub selector: Option<String>,
    #[command(flatten)]
    pub output: OutputArguments,
}

#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(false))]
pub struct ClearBed {
    /// Printers whose beds are clear; with --yes each with the id of what lies there
    #[arg(group = "which", value_name = "PRINTER[=ID]")]
    pub printers: Vec<String>,
    /// Every bed at this location; you are asked
    #[arg(long, group = "which", value_name = "LOCATION")]
    pub location: Option<String>,
    /// Every bed of the namespace; you are asked
    #[arg(long, group = "which")]
    pub all: bool,
    #[command(flatten)]
    pub sure: Sure,
    #[command(flatten)]
    pub output: OutputArguments,
}

/// Whether to ask before something is written.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Sure {
    /// Do not ask: what is shown is right
    #[arg(short, long)]
    pub yes: bool,
}

#[derive(Args, Debug)]
pub struct Outcome {
    /// The job
    #[arg(value_name = "JOB")]
    pub job: String,
    /// What became of its print. Without it, only the evidence is shown
    #[arg(value_name = "ANSWER")]
    pub answer: Option<Became>,
    #[command(flatten)]
    pub sure: Sure,
    #[command(flatten)]
    pub output: OutputArguments,
}

/// What became of a print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Became {
    /// It was printed and is good
    Succeeded,
    /// It was begun and is not good
    Failed,
    /// It was never begun: the job is printed again
    NotPrinted,
}

impl From<Became> for Answer {
    fn from(became: Became) -> Self {
        match became {
            Became::Succeeded => Self::Succeeded,
            Became::Failed => Self::Failed,
            Became::NotPrinted => Self::NotPrinted,
        }
    }
}

#[derive(Args, Debug)]
pub struct Jobs {
    /// Jobs
    #[arg(required = true, value_name = "JOB")]
    pub jobs: Vec<String>,
    #[command(flatten)]
    pub output: OutputArguments,
}

#[derive(Args, Debug)]
pub struct Cancel {
    /// Jobs
    #[arg(required = true, value_name = "JOB")]
    pub jobs: Vec<String>,
    #[command(flatten)]
    pub sure: Sure,
    #[command(flatten)]
    pub output: OutputArguments,
}

#[derive(Args, Debug)]
pub struct Hold {
    /// Jobs, or printers as printer/NAME
    #[arg(required = true, value_name = "JOB | printer/NAME")]
    pub names: Vec<String>,
    /// Why, for other people; printers only
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    #[command(flatten)]
    pub output: OutputArguments,
}

#[derive(Args, Debug)]
pub struct Release {
    /// Jobs, or printers as printer/NAME
    #[arg(required = true, value_name = "JOB | printer/NAME")]
    pub names: Vec<String>,
    #[command(flatten)]
    pub output: OutputArguments,
}

#[derive(Args, Debug)]
pub struct Acknowledge {
    /// Printers that were looked at
    #[arg(required = true, value_name = "PRINTER")]
    pub printers: Vec<String>,
    #[command(flatten)]
    pub sure: Sure,
    #[command(flatten)]
    pub output: OutputArguments,
}

#[derive(Args, Debug)]
pub struct Why {
    /// The job
    #[arg(value_name = "JOB")]
    pub job: String,
    #[command(flatten)]
    pub output: OutputArguments,
}

/// A span of time as kubectl takes it: `45s`, `2m`, `1h`, or seconds alone.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let (digits, unit) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(digits) => (digits, text.chars().last().unwrap_or('s')),
        None => (text, 's'),
    };
    let number: u64 = digits.parse().map_err(|_| "write 45s, 2m or 1h".to_owned())?;
    let seconds = number.checked_mul(match unit {
        'h' => 3600,
        'm' => 60,
        _ => 1,
    });
    seconds.filter(|s| *s <= 86_400).map(Duration::from_secs).ok_or_else(|| "at most 24h".to_owned())
}

/// A span of time that is some time.
fn limit(text: &str) -> Result<Duration, String> {
    let limit = duration(text)?;
    if limit.is_zero() {
        Err("no answer comes in no time, and nothing waits for ever: 30s".to_owned())
    } else {
        Ok(limit)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn times_are_taken_as_kubectl_takes_them() {
        for (text, seconds) in
            [("45s", Some(45)), ("2m", Some(120)), ("1h", Some(3600)), ("7", Some(7)), ("0", Some(0))]
        {
            assert_eq!(duration(text).ok().map(|d| d.as_secs()), seconds, "{text}");
        }
        assert!(limit("0").is_err() && limit("1s").is_ok());
        for wrong in ["", "s", "1d", "-1s", "25h", "18446744073709551615h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_command_that_writes_is_not_done_when_nobody_reads_on() {
        let reads = |line: &str| Arguments::try_parse_from(line.split(' ')).unwrap().command.only_reads();
        assert!(reads("x status") && reads("x why a") && reads("x outcome a") && reads("x add-printer a --dry-run"));
        assert!(reads("x backups -A") && reads("x restore a --dry-run --volume a=b"));
        for line in [
            "x outcome a failed",
            "x add-printer a",
            "x hold a",
            "x clear-bed a",
            "x cancel a",
            "x pause a",
            "x backup-now a",
            "x restore a --list",
        ] {
            assert!(!reads(line), "{line}");
        }
    }

    #[test]
    fn beds_are_named_in_one_way() {
        let parses = |line: &str| Arguments::try_parse_from(line.split(' ')).is_ok();
        assert!(
            parses("x clear-bed a b") && parses("x clear-bed --all -n farm") && parses("x clear-bed --location shelf")
        );
        assert!(!parses("x clear-bed") && !parses("x clear-bed a --all") && !parses("x clear-bed --all --location s"));
    }
}
