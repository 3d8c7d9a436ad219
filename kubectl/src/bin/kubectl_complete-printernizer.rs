//! What kubectl asks for completions of `kubectl printernizer` in a shell.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    printernizer_kubectl::complete::program().await
}
