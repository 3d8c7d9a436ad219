//! The command line of `add-printer`.

#![allow(missing_docs, reason = "what is documented here is told to people by --help")]

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::arguments::{OutputArguments, Sure, duration};

/// Kinds of printers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Bambu Lab, LAN Only Mode with Developer Mode
    Bambu,
    /// Prusa, by PrusaLink
    Prusalink,
}

#[derive(Args, Debug)]
pub struct AddPrinter {
    /// Name of the new Printer
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Kind of printer
    #[arg(long, value_name = "KIND")]
    pub kind: Option<Kind>,
    /// Address: HOST for a Bambu Lab printer, http://HOST for PrusaLink
    #[arg(long, value_name = "ADDRESS")]
    pub address: Option<String>,
    /// Serial number. Default: what the printer says; of a Bambu Lab printer you compare it with its screen first
    #[arg(long, value_name = "NUMBER")]
    pub serial_number: Option<String>,
    /// File with the access code or password; - for standard input. Default: you are asked
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<String>,
    /// User of PrusaLink
    #[arg(long, value_name = "NAME", default_value = "maker")]
    pub username: String,
    /// Model. Default: what the printer says; a Prusa does not
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
    /// Shelf or room
    #[arg(long, value_name = "LOCATION")]
    pub location: Option<String>,
    /// Nozzle diameter in millimeters, where the printer does not tell it
    #[arg(long, value_name = "MM", value_parser = micrometers)]
    pub nozzle: Option<i32>,
    /// Filament that is loaded, for a printer with one spool: PLA
    #[arg(long, value_name = "MATERIAL")]
    pub material: Option<String>,
    /// Bambu Lab: trust this public key (SHA-256, 64 hex digits) instead of the maker's authorities
    #[arg(long, value_name = "HEX")]
    pub public_key_sha256: Option<String>,
    /// Bambu Lab: port of the MQTT broker
    #[arg(long, value_name = "PORT", default_value_t = 8883)]
    pub mqtt_port: u16,
    /// Bambu Lab: port of the FTPS server
    #[arg(long, value_name = "PORT", default_value_t = 990)]
    pub ftps_port: u16,
    /// Name of the Secret. Default: that of the Printer
    #[arg(long, value_name = "NAME")]
    pub secret_name: Option<String>,
    /// Write also into a Secret that exists, if it is one for printers and no other Printer uses it
    #[arg(long)]
    pub replace_secret: bool,
    /// Do not ask the printer: this machine cannot reach it, or it is switched off
    #[arg(long)]
    pub no_probe: bool,
    /// Write nothing to the cluster: print the Printer, for a file in Git
    #[arg(long)]
    pub dry_run: bool,
    /// How long to wait for the operator to say how it finds the printer; 0 not to wait
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub wait: Duration,
    #[command(flatten)]
    pub sure: Sure,
    #[command(flatten)]
    pub output: OutputArguments,
}

/// A nozzle's diameter, from millimeters as people write them.
#[allow(clippy::cast_possible_truncation, reason = "bounded before the cast")]
fn micrometers(text: &str) -> Result<i32, String> {
    let millimeters: f64 = text.replace(',', ".").parse().map_err(|_| "write it in millimeters: 0.4".to_owned())?;
    let fits = (0.1..=2.0).contains(&millimeters);
    fits.then(|| (millimeters * 1000.0).round() as i32).ok_or_else(|| "nozzles have 0.1 to 2 mm: 0.4".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nozzle_is_given_in_millimeters() {
        assert_eq!(micrometers("0.4"), Ok(400));
        assert_eq!(micrometers("0,25"), Ok(250));
        assert!(micrometers("400").is_err() && micrometers("fine").is_err());
    }
}
