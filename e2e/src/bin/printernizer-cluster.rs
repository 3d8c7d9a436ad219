//! A Kubernetes control plane on loopback for developers: `printernizer-cluster up` starts one and says how to reach
//! it, until Ctrl-C; `build...` only build what the tests start. It keeps nothing: the next start is an empty cluster.

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use printernizer_e2e::cluster::{Cluster, Options, ensure_binary};
use printernizer_e2e::servers::s3;
use printernizer_e2e::tools::{self, Tool};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
#[command(about = "A Kubernetes control plane on loopback, without nodes")]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build the control plane into the cache, and print the path of the program.
    Build,
    /// Build versitygw, the S3 server of the tests, into the cache, and print the path of the program.
    BuildS3Server,
    /// Build helm and the other programs of the chart's tests into the cache, and print their paths.
    BuildChartTools,
    /// Fetch restic and PostgreSQL, which backups are made with, into the cache, and print their paths.
    BuildBackupTools,
    /// Start an empty cluster, print how to reach it, and take it down at Ctrl-C.
    Up {
        /// Print one JSON line with kubeconfig, server, directory and process ids instead of words.
        #[arg(long)]
        json: bool,
        /// Only etcd and the API server: no CronJobs, no garbage collection, namespaces stay when deleted.
        #[arg(long)]
        bare: bool,
        /// Port of the API server on 127.0.0.1; 0 takes a free one.
        #[arg(long, default_value_t = 0)]
        port: u16,
        /// Leave logs and data in place at the end.
        #[arg(long)]
        keep_data: bool,
        /// One more argument for kube-apiserver; may be repeated.
        #[arg(long = "apiserver-arg", value_name = "ARGUMENT", allow_hyphen_values = true)]
        apiserver_arguments: Vec<String>,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse().command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&printernizer_e2e::failure(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

async fn run(task: Task) -> Result<(), Box<dyn std::error::Error>> {
    match task {
        Task::Build => writeln!(std::io::stdout(), "{}", ensure_binary(&mut tell)?.display())?,
        Task::BuildS3Server => writeln!(std::io::stdout(), "{}", s3::ensure_binary(&mut tell)?.display())?,
        Task::BuildChartTools => {
            for tool in Tool::ALL {
                writeln!(std::io::stdout(), "{}", tool.ensure(&mut tell)?.display())?;
            }
            writeln!(std::io::stdout(), "{}", tools::kubernetes_schemas()?.display())?;
            writeln!(std::io::stdout(), "{}", tools::hadolint()?.display())?;
            writeln!(std::io::stdout(), "{}", tools::zizmor()?.display())?;
            writeln!(std::io::stdout(), "{}", tools::prometheus(&mut tell)?.server.display())?;
        }
        Task::BuildBackupTools => {
            writeln!(std::io::stdout(), "{}", tools::restic(&mut tell)?.display())?;
            writeln!(std::io::stdout(), "{}", tools::postgres(&mut tell)?.display())?;
        }
        Task::Up { json, bare, port, keep_data, apiserver_arguments } => {
            let options = Options {
                controller_manager: !bare,
                scheduler: !bare,
                apiserver_port: port,
                keep_data,
                apiserver_arguments,
                ..Options::default()
            };
            let cluster = Cluster::start(options).await?;
            // Only now: until here a signal may end us at once, because whatever has started ends with us.
            let mut interrupt = signal(SignalKind::interrupt())?;
            let mut terminate = signal(SignalKind::terminate())?;
            if json {
                let line = serde_json::json!({
                    "kubeconfig": cluster.kubeconfig(),
                    "server": cluster.server(),
                    "directory": cluster.directory(),
                    "children": cluster.children(),
                });
                writeln!(std::io::stdout(), "{line}")?;
            } else {
                let (path, kubectl) = (cluster.kubeconfig().display(), cluster.kubectl_line());
                let server = cluster.server();
                writeln!(std::io::stdout(), "Kubernetes at {server}; Ctrl-C ends it.\n\n  {kubectl} get namespaces")?;
                writeln!(std::io::stdout(), "  export KUBECONFIG={path}")?;
            }
            std::io::stdout().flush()?;
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            cluster.stop().await?;
        }
    }
    Ok(())
}
