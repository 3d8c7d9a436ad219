//! `printer-simulator`: runs simulated printers until it is told to stop.
//!
//! Prints exactly one line of JSON on standard output when every printer accepts connections; messages for people go
//! to standard error.

use std::{
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
};

use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use printernizer_simulator::{Config, PrinterConfig, Simulator};
use tokio::{io::AsyncReadExt, signal::unix::SignalKind};

/// Simulated 3D printers that speak the real protocols, on loopback unless told otherwise.
#[derive(Debug, Parser)]
#[command(name = "printer-simulator", version)]
struct Arguments {
    /// How many PrusaLink printers (Core One) to add, named prusa-1 and so on.
    #[arg(long, value_name = "N", default_value_t = 0)]
    prusalink: u16,
    /// How many Bambu printers (A1 with AMS lite) to add, named bambu-1 and so on.
    #[arg(long, value_name = "N", default_value_t = 0)]
    bambu: u16,
    /// Port of the first printer, the next ones follow, two for each Bambu printer; free ports if absent.
    #[arg(long, value_name = "PORT")]
    base_port: Option<u16>,
    /// Simulated seconds per real second.
    #[arg(long, value_name = "FACTOR")]
    time_scale: Option<f64>,
    /// Address all printers listen on, 127.0.0.1 if absent. Beyond loopback everybody in that network can print.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<Ipv4Addr>,
    /// Where the control API listens: on loopback, or on the printers' address.
    #[arg(long, value_name = "ADDRESS:PORT")]
    control: Option<SocketAddr>,
    /// File the ledger is appended to, one JSON line per entry.
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// Configuration as JSON; the other options add to it or replace its values.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Also end when standard input is closed.
    #[arg(long)]
    exit_with_stdin: bool,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("cannot read the configuration {path}: {source}")]
    ConfigFile { path: PathBuf, source: io::Error },
    #[error("the configuration {path} is not usable: {source}")]
    Config { path: PathBuf, source: serde_json::Error },
    #[error("the ports from {base} on do not suffice for {count} printers: choose a smaller --base-port")]
    Ports { base: u16, count: u32 },
    #[error("no printers: say --prusalink N or --bambu N, or name some in --config")]
    NoPrinters,
    #[error("{error}{}", cause(.error))]
    Simulator { error: printernizer_simulator::Error },
    #[error("cannot write the ready line or wait for signals: {0}")]
    Process(#[from] io::Error),
    #[error("cannot write the ready line: {0}")]
    Json(#[from] serde_json::Error),
}

fn cause(error: &printernizer_simulator::Error) -> String {
    std::error::Error::source(error).map(|source| format!(" ({source})")).unwrap_or_default()
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(io::stderr(), "printer-simulator: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Failure> {
    // Each printer takes two to four sockets and its connections: the usual soft limit ends at two hundred printers.
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
    let mut terminate = tokio::signal::unix::signal(SignalKind::terminate())?;
    let mut interrupt = tokio::signal::unix::signal(SignalKind::interrupt())?;
    let exit_with_stdin = arguments.exit_with_stdin;
    let simulator = Simulator::start(configuration(arguments)?).await.map_err(|error| Failure::Simulator { error })?;
    let ready = serde_json::json!({ "control": simulator.control_url(), "printers": simulator.printers() });
    let mut stdout = io::stdout().lock();
    serde_json::to_writer(&mut stdout, &ready)?;
    stdout.write_all(b"\n")?;
    stdout.flush()?;
    drop(stdout);
    let stdin_closed = async {
        if exit_with_stdin {
            let mut ignored = [0; 1024];
            let mut stdin = tokio::io::stdin();
            while stdin.read(&mut ignored).await.is_ok_and(|length| length > 0) {}
        } else {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = stdin_closed => {}
    }
    if simulator.ledger().file_failed() {
        let _ = writeln!(io::stderr(), "printer-simulator: the ledger file is incomplete: writing to it failed");
    }
    drop(simulator);
    // A thread that still reads standard input must not hold the process.
    std::process::exit(0)
}

fn configuration(arguments: Arguments) -> Result<Config, Failure> {
    let mut config = match arguments.config {
        Some(path) => {
            let text = match std::fs::read(&path) {
                Ok(text) => text,
                Err(source) => return Err(Failure::ConfigFile { path, source }),
            };
            match serde_json::from_slice(&text) {
                Ok(config) => config,
                Err(source) => return Err(Failure::Config { path, source }),
            }
        }
        None => Config::default(),
    };
    let (prusalink, bambu) = (u32::from(arguments.prusalink), u32::from(arguments.bambu));
    let mut ports = arguments.base_port.map_or(0, u32::from)..;
    let mut port = || match (arguments.base_port, ports.next()) {
        (None, _) => Ok(0),
        (Some(base), port) => {
            port.and_then(|port| u16::try_from(port).ok()).ok_or(Failure::Ports { base, count: prusalink + bambu })
        }
    };
    for index in 1..=prusalink {
        config.printers.push(PrinterConfig { port: port()?, ..PrinterConfig::named(format!("prusa-{index}")) });
    }
    for index in 1..=bambu {
        let mut printer = PrinterConfig::bambu(format!("bambu-{index}"));
        (printer.port, printer.bambu.ftps_port) = (port()?, port()?);
        config.printers.push(printer);
    }
    if config.printers.is_empty() {
        return Err(Failure::NoPrinters);
    }
    config.time_scale = arguments.time_scale.unwrap_or(config.time_scale);
    config.listen = arguments.listen.unwrap_or(config.listen);
    config.control = arguments.control.unwrap_or(config.control);
    config.ledger_file = arguments.ledger.or(config.ledger_file);
    Ok(config)
}
