//! The program `kubectl-printernizer`, which kubectl runs as `kubectl printernizer`.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    printernizer_kubectl::run::program().await
}
