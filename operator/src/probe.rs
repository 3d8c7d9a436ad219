//! `printernizer probe`: connects to a printer exactly as the operator would, starts nothing, and says what it finds.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the answer of a command line program")]

use std::process::ExitCode;

use clap::{Args, Subcommand};
use ipnet::IpNet;
use printernizer::files::allow::Networks;
use printernizer::fleet::device::Device as _;
use printernizer::fleet::prusalink::PrusaLink;
use printernizer::fleet::{DeviceFault, connect_prusalink};
use printernizer_prusalink::Credentials;
use printernizer_rules::device::DeviceReport;
use printernizer_rules::timing::Timing;

/// Kinds of printers that can be asked.
#[derive(Subcommand)]
pub enum Probe {
    /// A Prusa printer, by PrusaLink.
    Prusalink(PrusaLinkArguments),
}

/// How to reach a PrusaLink printer.
#[derive(Args)]
pub struct PrusaLinkArguments {
    /// Address: http://HOST or http://HOST:PORT.
    url: String,
    /// User; fixed on current firmware.
    #[arg(long, default_value = "maker")]
    username: String,
    /// Environment variable that holds the password. A password is no argument: other users of this machine could see it.
    #[arg(long, default_value = "PRUSALINK_PASSWORD")]
    password_env: String,
    /// Serial number the printer must have.
    #[arg(long)]
    serial_number: Option<String>,
    /// Networks the printer may be in, comma-separated. Default: the private ranges and this machine.
    #[arg(long, value_delimiter = ',')]
    networks: Vec<IpNet>,
}

/// Asks the printer and prints the answer.
pub async fn run(probe: Probe) -> ExitCode {
    let Probe::Prusalink(arguments) = probe;
    let Ok(password) = std::env::var(&arguments.password_env) else {
        eprintln!(
            "error: put the password into the environment variable {}; the printer shows it under Settings > Network > \
             PrusaLink",
            arguments.password_env
        );
        return ExitCode::FAILURE;
    };
    match ask(&arguments, password).await {
        Ok(report) => print(&report),
        Err(fault) => {
            eprintln!("{:?}: {}", printernizer_rules::printer::fault_of(fault.cause), fault.message);
            ExitCode::FAILURE
        }
    }
}

async fn ask(arguments: &PrusaLinkArguments, password: String) -> Result<DeviceReport, DeviceFault> {
    let networks = if arguments.networks.is_empty() {
        Networks::for_printers(true)
    } else {
        Networks::only(arguments.networks.clone(), true)
    };
    let credentials = Credentials { username: arguments.username.clone(), password: password.into() };
    let (client, _) = connect_prusalink(&arguments.url, credentials, &networks, &Timing::default()).await?;
    let mut device = PrusaLink::new(client, arguments.serial_number.clone(), None);
    device.poll(false).await.map(|reported| reported.report)
}

fn print(report: &DeviceReport) -> ExitCode {
    let line = |what: &str, value: Option<String>| {
        println!("{what:<16}{}", value.unwrap_or_else(|| "not said".into()));
    };
    line("State", Some(format!("{:?}", report.printer_state())));
    line("Serial number", report.serial_number.clone());
    line("Model", report.model.clone());
    line("Firmware", report.firmware_version.clone());
    line("Nozzle", report.nozzle_diameter_micrometers.map(|d| format!("{}.{:02} mm", d / 1000, d % 1000 / 10)));
    line("Material", report.slots.first().and_then(|s| s.material.clone()));
    if report.has_print {
        line("Print", report.identity.name.clone());
        line("Progress", report.progress.map(|p| format!("{}%", p.percent)));
    }
    for blocker in &report.blockers {
        line("In the way", Some(blocker.advice().to_owned()));
    }
    println!("{}", if report.is_free() { "The printer could take a print." } else { "The printer is not free." });
    ExitCode::SUCCESS
}
