//! `printernizer probe`: connects to a printer exactly as the operator would, starts nothing, and says what it finds.

mod scan;

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use ipnet::IpNet;
use printernizer::files::allow::Networks;
use printernizer::fleet::device::Device as _;
use printernizer::fleet::prusalink::PrusaLink;
use printernizer::fleet::{Bambu, DeviceFault, bambu_config, connect_prusalink};
use printernizer_bambu::Trust;
use printernizer_crds::common::SecretKeyReference;
use printernizer_crds::printer::{BambuConnection, BambuTls, BambuVerification};
use printernizer_prusalink::Credentials;
use printernizer_rules::device::DeviceReport;
use printernizer_rules::timing::Timing;

use crate::inspect::{answer, tell};

/// How long a printer that answers is waited for to say what it is.
const VERSION_LIMIT: Duration = Duration::from_secs(5);

/// Kinds of printers that can be asked.
#[derive(Subcommand)]
pub enum Probe {
    /// A Prusa printer, by PrusaLink.
    Prusalink(PrusaLinkArguments),
    /// A Bambu Lab printer in LAN mode.
    Bambu(BambuArguments),
    /// Look for Bambu Lab printers in a private network. Logs in nowhere.
    Scan(scan::ScanArguments),
}

/// Where printers may be.
#[derive(Args)]
struct NetworkArguments {
    /// Networks the printer may be in, comma-separated. Default: the private ranges and this machine.
    #[arg(long, value_delimiter = ',')]
    networks: Vec<IpNet>,
}

impl NetworkArguments {
    fn allowed(&self) -> Networks {
        let allowed = if self.networks.is_empty() {
            Networks::for_printers(true)
        } else {
            Networks::only(self.networks.clone(), true)
        };
        allowed.of_probe()
    }
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
    #[command(flatten)]
    networks: NetworkArguments,
}

/// How to reach a Bambu Lab printer.
#[derive(Args)]
pub struct BambuArguments {
    /// Host name or address, without scheme and port.
    host: String,
    /// Serial number, as the printer shows it under Settings > Device.
    #[arg(long)]
    serial_number: String,
    /// Environment variable that holds the access code. It is no argument: other users of this machine could see it.
    #[arg(long, default_value = "BAMBU_ACCESS_CODE")]
    access_code_env: String,
    /// Trust this public key instead of the maker's certificate authority: SHA-256, 64 hex digits.
    #[arg(long)]
    public_key_sha256: Option<String>,
    /// Port of the printer's MQTT broker.
    #[arg(long, default_value_t = 8883)]
    mqtt_port: u16,
    #[command(flatten)]
    networks: NetworkArguments,
}

/// Asks the printer and prints the answer.
pub async fn run(probe: Probe) -> ExitCode {
    let asked = match &probe {
        Probe::Prusalink(arguments) => match secret(&arguments.password_env, "Settings > Network > PrusaLink") {
            Some(password) => ask_prusalink(arguments, password).await,
            None => return ExitCode::FAILURE,
        },
        Probe::Bambu(arguments) => match secret(&arguments.access_code_env, "Settings > WLAN") {
            Some(access_code) => ask_bambu(arguments, access_code).await,
            None => return ExitCode::FAILURE,
        },
        Probe::Scan(arguments) => {
            let found = scan::run(arguments, &mut std::io::stdout(), &mut std::io::stderr()).await;
            // A reader that is gone has read enough.
            return if matches!(found, Ok(true)) { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
    };
    match asked {
        Ok(report) => answer(&words_of(&report)),
        Err(fault) => {
            tell(&format!("{:?}: {}", printernizer_rules::printer::fault_of(fault.cause), fault.message));
            ExitCode::FAILURE
        }
    }
}

/// The password or access code in this environment variable.
fn secret(variable: &str, screen: &str) -> Option<String> {
    let value = std::env::var(variable).ok().filter(|value| !value.is_empty());
    if value.is_none() {
        tell(&format!(
            "error: put the password or code into the environment variable {variable}; the printer shows it under {screen}"
        ));
    }
    value
}

async fn ask_prusalink(arguments: &PrusaLinkArguments, password: String) -> Result<DeviceReport, DeviceFault> {
    let credentials = Credentials { username: arguments.username.clone(), password: password.into() };
    let networks = arguments.networks.allowed();
    let (client, _) = connect_prusalink(&arguments.url, credentials, &networks, &Timing::default()).await?;
    let mut device = PrusaLink::new(client, arguments.serial_number.clone(), None);
    device.poll(false).await.map(|reported| reported.report)
}

async fn ask_bambu(arguments: &BambuArguments, access_code: String) -> Result<DeviceReport, DeviceFault> {
    let verification = match arguments.public_key_sha256 {
        Some(_) => BambuVerification::PinnedKey,
        None => BambuVerification::BambuCA,
    };
    let connection = BambuConnection {
        host: arguments.host.clone(),
        serial_number: arguments.serial_number.clone(),
        access_code_secret_ref: SecretKeyReference::default(),
        mqtt_port: arguments.mqtt_port.into(),
        tls: BambuTls { verification, public_key_sha256: arguments.public_key_sha256.clone() },
        ..BambuConnection::default()
    };
    let networks = arguments.networks.allowed();
    let config = bambu_config(&connection, access_code.into(), &Trust::BambuCa, &networks, &Timing::default()).await?;
    let mut device = Bambu::connect(config, None, None).await?;
    // Model and firmware come a moment after the first report, or, of old firmware, never.
    let whole = async {
        loop {
            let report = device.poll(false).await?.report;
            if report.firmware_version.is_some() {
                return Ok(report);
            }
            device.changed().await;
        }
    };
    match tokio::time::timeout(VERSION_LIMIT, whole).await {
        Ok(report) => report,
        Err(_) => device.poll(false).await.map(|reported| reported.report),
    }
}

fn words_of(report: &DeviceReport) -> String {
    let mut text = String::new();
    let mut line = |what: &str, value: Option<String>| {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{what:<16}{}", value.unwrap_or_else(|| "not said".into()));
    };
    line("State", Some(format!("{:?}", report.printer_state())));
    line("Serial number", report.serial_number.clone());
    line("Model", report.model.clone());
    line("Firmware", report.firmware_version.clone());
    line("Nozzle", report.nozzle_diameter_micrometers.map(|d| format!("{}.{:02} mm", d / 1000, d % 1000 / 10)));
    for slot in &report.slots {
        let words =
            [slot.material.as_deref(), slot.color.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" ");
        let empty = if slot.loaded == Some(false) { "empty" } else { "not said" };
        line(&format!("Slot {}", slot.slot), Some(if words.is_empty() { empty.to_owned() } else { words }));
    }
    if let Some(allowed) = report.control_allowed {
        line("Control", Some(if allowed { "allowed" } else { "not allowed: switch on Developer Mode" }.to_owned()));
    }
    if report.has_print {
        line("Print", report.identity.name.clone());
        line("Progress", report.progress.map(|p| format!("{}%", p.percent)));
    }
    for fault in &report.faults {
        line(&fault.severity, Some(fault.message.clone()));
    }
    for blocker in &report.blockers {
        line("In the way", Some(blocker.advice().to_owned()));
    }
    text.push_str(if report.is_free() { "The printer could take a print.\n" } else { "The printer is not free.\n" });
    text
}
