//! `printernizer`: runs the operator, prints its definitions, reads a print file, or asks a printer how it is.

mod inspect;
mod probe;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use ipnet::IpNet;
use printernizer::error::chain;
use printernizer::fleet::bambu_ca;
use printernizer::run::{Settings, run};
use printernizer::scope::{Scope, is_namespace};
use printernizer::telemetry::{LogFormat, LogOptions};

/// Kubernetes operator for 3D-print farms.
#[derive(Parser)]
#[command(name = "printernizer", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the operator.
    Run(Box<RunArguments>),
    /// Print the CustomResourceDefinitions as YAML, for kubectl apply -f -.
    Crds,
    /// Print what the operator reads from a print file as JSON, or why it refuses it.
    Inspect {
        /// The print file.
        file: PathBuf,
        /// Which plate of a sliced project (.gcode.3mf), counted from 1. Default: its first sliced one.
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=999))]
        plate: Option<u32>,
    },
    /// Connect to a printer as the operator would, start nothing, and print its state or why it cannot be reached.
    #[command(subcommand)]
    Probe(probe::Probe),
}

#[derive(Args)]
struct RunArguments {
    /// Namespaces to work in, comma-separated. Default: all namespaces.
    #[arg(long, env = "PRINTERNIZER_NAMESPACE", value_delimiter = ',', value_parser = namespace)]
    namespace: Vec<String>,
    /// Namespace of the Lease by which one of several operators is chosen.
    #[arg(long, env = "POD_NAMESPACE", default_value = "default")]
    lease_namespace: String,
    /// Name of this process in the Lease and in events.
    #[arg(long, env = "POD_NAME", default_value = "printernizer")]
    identity: String,
    /// Address of /metrics, /healthz and /readyz, which need no password. Default: 0.0.0.0:8080 in a pod,
    /// 127.0.0.1:8080 elsewhere.
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// Directory of the file cache.
    #[arg(long, env = "PRINTERNIZER_CACHE_DIR", default_value = "/var/cache/printernizer")]
    cache_dir: PathBuf,
    /// Size of the file cache in MiB.
    #[arg(long, default_value_t = 4096)]
    cache_mebibytes: u64,
    /// Days after which a file that nobody used is deleted from the cache.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3650))]
    cache_days: u32,
    /// Uploads that may run at the same time.
    #[arg(long, default_value_t = 4)]
    uploads: usize,
    /// Networks printers may be in, comma-separated, and no others. Default: the private ranges.
    #[arg(long, value_delimiter = ',')]
    printer_networks: Vec<IpNet>,
    /// PEM file with certificate authorities that may vouch for Bambu Lab printers, beside those that are known.
    #[arg(long)]
    bambu_authorities: Option<PathBuf>,
    /// Private networks print files may come from, comma-separated. Public ones are allowed.
    #[arg(long, value_delimiter = ',')]
    source_networks: Vec<IpNet>,
    /// Allow printers and sources on this machine: for simulated printers.
    #[arg(long)]
    allow_loopback: bool,
    /// Start nothing; running prints are followed as ever. Use it after restoring the cluster's data from a backup.
    #[arg(long)]
    hold_starts: bool,
    /// Show the conditions of each printer in /metrics: up to 24 series for each.
    #[arg(long)]
    metrics_per_printer: bool,
    /// Image of the pods that make, check and restore backups. Without one BackupPolicies are not carried out.
    #[arg(long, env = "PRINTERNIZER_BACKUP_IMAGE")]
    backup_image: Option<String>,
    /// When that image is pulled.
    #[arg(long, default_value = "IfNotPresent", value_parser = ["Always", "IfNotPresent", "Never"])]
    backup_image_pull_policy: String,
    /// Let the operator's waiting times and deadlines pass this many times as fast. Then it uses printers on this
    /// machine only. For tests.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    simulated_time: u32,
    /// Form of the log lines.
    #[arg(long, value_enum, default_value = "text")]
    log_format: LogFormat,
    /// Time zone of the log lines, a name of the IANA database.
    #[arg(long, default_value = LogOptions::DEFAULT_ZONE)]
    time_zone: String,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&error),
    };
    match arguments.command {
        Command::Run(arguments) => runtime.block_on(operate(*arguments)),
        Command::Crds => inspect::crds(),
        Command::Inspect { file, plate } => inspect::inspect(&file, plate),
        Command::Probe(probe) => runtime.block_on(probe::run(probe)),
    }
}

async fn operate(arguments: RunArguments) -> ExitCode {
    let filter = std::env::var("RUST_LOG").ok();
    let logs = LogOptions::new(arguments.log_format, &arguments.time_zone, filter.as_deref());
    if let Err(error) = logs.and_then(|logs| logs.install()) {
        return complain(&error);
    }
    // The whole process uses one provider of TLS.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let bambu_ca = match bambu_ca(arguments.bambu_authorities.as_deref()) {
        Ok(bambu_ca) => bambu_ca,
        Err(error) => return complain(&error),
    };
    let settings = Settings {
        scope: Scope::of(arguments.namespace),
        lease_namespace: arguments.lease_namespace,
        identity: arguments.identity,
        listen: arguments.listen.unwrap_or_else(|| {
            default_listen(std::env::var_os("KUBERNETES_SERVICE_HOST").is_some_and(|host| !host.is_empty()))
        }),
        cache: arguments.cache_dir,
        cache_bytes: arguments.cache_mebibytes.saturating_mul(1024 * 1024),
        cache_age: Duration::from_hours(24 * u64::from(arguments.cache_days)),
        uploads: arguments.uploads,
        printer_networks: arguments.printer_networks,
        bambu_ca,
        source_networks: arguments.source_networks,
        allow_loopback: arguments.allow_loopback,
        hold_starts: arguments.hold_starts,
        metrics_per_printer: arguments.metrics_per_printer,
        backup_image: arguments.backup_image.filter(|name| !name.trim().is_empty()).map(|name| {
            printernizer_rules::backup_policy::Image { name, pull_policy: arguments.backup_image_pull_policy }
        }),
        simulated_time: arguments.simulated_time,
    };
    match run(settings).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %chain(&error), "the operator ends");
            ExitCode::FAILURE
        }
    }
}

/// The name of a namespace. An address with one that is none would be another address.
fn namespace(text: &str) -> Result<String, &'static str> {
    is_namespace(text).then(|| text.to_owned()).ok_or("this is no name of a namespace")
}

/// Reachable for the kubelet and for Prometheus in a pod, for this machine only elsewhere.
fn default_listen(in_pod: bool) -> SocketAddr {
    SocketAddr::from((if in_pod { [0, 0, 0, 0] } else { [127, 0, 0, 1] }, 8080))
}

fn complain(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    inspect::tell(&format!("error: {}", chain(error)));
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn metrics_are_for_this_machine_only_where_nobody_else_needs_them() {
        assert!(default_listen(false).ip().is_loopback());
        assert!(default_listen(true).ip().is_unspecified());
    }

    #[test]
    fn namespaces_are_named_in_a_list_or_one_by_one_and_a_word_that_is_none_is_refused() {
        let scope = |given: &[&str]| {
            let arguments = ["printernizer", "run"].iter().chain(given);
            let Command::Run(run) = Arguments::try_parse_from(arguments).map_err(|e| e.to_string())?.command else {
                panic!("not run")
            };
            Ok::<_, String>(
                Scope::of(run.namespace).parts().into_iter().map(|p| p.map(str::to_owned)).collect::<Vec<_>>(),
            )
        };
        let two = Ok(vec![Some("lab".to_owned()), Some("shop".to_owned())]);
        assert_eq!(scope(&["--namespace=shop,lab"]), two);
        assert_eq!(scope(&["--namespace", "lab", "--namespace", "shop"]), two);
        assert_eq!(scope(&[]), Ok(vec![None]));
        for wrong in ["", "shop,", "Shop", "a/b", "-a", "*", &"a".repeat(64)] {
            let said = scope(&[&format!("--namespace={wrong}")]).unwrap_err();
            assert!(said.contains("no name of a namespace"), "{wrong}: {said}");
        }
    }

    /// The manifests that run the operator, as they are rendered.
    fn deployments() -> Vec<(String, serde_json::Value)> {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut files: Vec<PathBuf> = std::fs::read_dir(root.join("charts/printernizer/ci/golden"))
            .unwrap()
            .map(|file| file.unwrap().path())
            .chain([root.join("deploy/kustomize/base/operator.yaml")])
            .collect();
        files.sort();
        let found = files.iter().map(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            let objects: Vec<serde_json::Value> = serde_saphyr::from_multiple(&text).unwrap();
            let deployment = objects.into_iter().find(|object| object["kind"] == "Deployment").unwrap();
            (path.display().to_string(), deployment)
        });
        found.collect()
    }

    #[test]
    fn the_operator_understands_every_argument_that_the_chart_gives_it() {
        let deployments = deployments();
        assert!(deployments.len() >= 5);
        for (path, deployment) in deployments {
            let given = deployment["spec"]["template"]["spec"]["containers"][0]["args"].as_array().unwrap().clone();
            let given = given.iter().map(|argument| argument.as_str().unwrap());
            let arguments = Arguments::try_parse_from(["printernizer"].into_iter().chain(given));
            let Command::Run(run) = arguments.unwrap_or_else(|error| panic!("{path}: {error}")).command else {
                panic!("{path}: not run")
            };
            LogOptions::new(run.log_format, &run.time_zone, Some("info,printernizer=debug")).unwrap();
        }
    }

    #[test]
    fn the_documentation_lists_every_option_of_run_as_it_is() {
        let mut command = Arguments::command();
        command.build();
        let run = command.find_subcommand("run").unwrap();
        let mut table = String::from("| option | variable | default | meaning |\n|---|---|---|---|\n");
        for option in run.get_arguments().filter(|a| a.get_id() != "help") {
            let name = option.get_long().unwrap();
            let takes_value = option.get_action().takes_values();
            let code = |text: &str| if text.is_empty() { String::new() } else { format!("`{text}`") };
            let variable = code(option.get_env().and_then(|v| v.to_str()).unwrap_or_default());
            let defaults: Vec<_> = option.get_default_values().iter().filter_map(|v| v.to_str()).collect();
            let default = if takes_value { code(&defaults.join(",")) } else { String::new() };
            let values: Vec<_> = option.get_possible_values().iter().map(|v| format!("`{}`", v.get_name())).collect();
            let mut help = option.get_help().map(ToString::to_string).unwrap_or_default();
            if takes_value && !values.is_empty() {
                write!(help, ": {}", values.join(" or ")).unwrap();
            }
            writeln!(table, "| `--{name}` | {variable} | {default} | {help} |").unwrap();
        }
        let document = include_str!("../../docs/operating.md");
        assert!(document.contains(&table), "docs/operating.md must have this table:\n{table}");
    }
}
