//! The command line of what is done with backups.

#![allow(missing_docs, reason = "what is documented here is told to people by --help")]

use std::time::Duration;

use clap::Args;

use crate::arguments::{OutputArguments, Sure, duration};

#[derive(Args, Debug)]
pub struct Backups {
    /// All namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    #[command(flatten)]
    pub output: OutputArguments,
}

#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(false))]
pub struct BackupNow {
    /// Backup policies
    #[arg(group = "which", value_name = "POLICY")]
    pub policies: Vec<String>,
    /// Every policy of the namespace
    #[arg(long, group = "which")]
    pub all: bool,
    /// How long to wait for the backups to end: 30m, 2h. Default: not at all
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = duration, hide_default_value = true)]
    pub wait: Duration,
    #[command(flatten)]
    pub output: OutputArguments,
}

#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
pub struct Restore {
    /// Backup policy
    #[arg(value_name = "POLICY")]
    pub policy: String,
    /// Recovery point: its id, as --list shows it, or latest
    #[arg(long, value_name = "ID", default_value = "latest")]
    pub point: String,
    /// Show the recovery points there are; nothing is restored
    #[arg(long, group = "what", conflicts_with_all = ["volumes", "postgres", "objects"])]
    pub list: bool,
    /// Restore what was in this volume, its SQLite databases too, into an empty one; may be repeated
    #[arg(long = "volume", group = "what", value_name = "CLAIM=DESTINATION")]
    pub volumes: Vec<String>,
    /// Restore this PostgreSQL database into one of its server that has no tables; may be repeated
    #[arg(long, group = "what", value_name = "DATABASE=DESTINATION")]
    pub postgres: Vec<String>,
    /// Replace what has the same names in these databases
    #[arg(long, requires = "postgres")]
    pub overwrite: bool,
    /// Write the Kubernetes objects to standard output as YAML; nothing is applied
    #[arg(long, group = "what", conflicts_with_all = ["volumes", "postgres"])]
    pub objects: bool,
    /// From this copy instead of the target: 1 is the first of spec.copies
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(1..=9))]
    pub copy: Option<u8>,
    /// Restore also into volumes that running pods have mounted
    #[arg(long)]
    pub even_if_mounted: bool,
    /// How long to wait for the end: 30m, 2h. Default: not at all; 10m for --list and --objects
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub wait: Option<Duration>,
    /// Write nothing to the cluster: print the Job
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub sure: Sure,
    #[command(flatten)]
    pub output: OutputArguments,
}
