//! Asks a printer what it is, over the drivers the operator uses. Starts nothing and changes nothing. The address is
//! the one a person named; a name is looked up once.

use std::net::SocketAddr;
use std::time::Duration;

use printernizer_bambu::mapping::Slot;
use printernizer_bambu::report::Report;
use printernizer_bambu::{Connection, SerialNumber, Shown, Timeouts, Trust, identify as look};
use printernizer_prusalink::{BaseUrl, Client, Credentials};

use super::Wanted;
use crate::arguments::Kind;
use crate::error::Error;

/// Longest wait for a name to be resolved.
const RESOLVE: Duration = Duration::from_secs(5);
/// How long a printer that answers is waited for to say what it is.
const VERSION: Duration = Duration::from_secs(5);
/// Longest time for the whole, which is the sum of the drivers' own limits and rarely used.
const WHOLE: Duration = Duration::from_secs(60);

/// What a printer says of itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) serial_number: Option<String>,
    pub(super) model: Option<String>,
    pub(super) firmware: Option<String>,
    pub(super) state: String,
    pub(super) nozzle: Option<String>,
    pub(super) loaded: Vec<String>,
    pub(super) control_allowed: Option<bool>,
}

/// Where a printer is, looked up.
#[derive(Clone, Debug)]
pub(super) struct Reached {
    address: SocketAddr,
    base_url: Option<BaseUrl>,
}

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Probe(error.into())
}

/// Looks the address up.
pub(super) async fn reach(wanted: &Wanted) -> Result<Reached, Error> {
    let (host, port, base_url) = match wanted.kind {
        Kind::Bambu => (wanted.address.clone(), wanted.mqtt_port, None),
        Kind::Prusalink => {
            let url = BaseUrl::parse(&wanted.address).map_err(|e| Error::Usage(format!("{}: {e}", wanted.address)))?;
            (url.host().to_owned(), url.port(), Some(url))
        }
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let found = tokio::time::timeout(RESOLVE, tokio::net::lookup_host((bare.as_str(), port))).await;
    let found = found.map_err(|_| failed(format!("no name server has answered for {host}")))?;
    let mut found = found.map_err(|e| failed(format!("the name {host} cannot be resolved: {e}")))?;
    let address = found.next().ok_or_else(|| failed(format!("{host} has no address")))?;
    Ok(Reached { address, base_url })
}

/// Whose certificate a Bambu Lab printer shows. Logs in nowhere.
pub(super) async fn identify(reached: &Reached) -> Result<Shown, Error> {
    look(reached.address, &Timeouts::default()).await.map_err(failed)
}

/// What the printer says of itself.
pub(super) async fn ask(wanted: &Wanted, reached: &Reached) -> Result<Facts, Error> {
    let asked = async {
        match wanted.kind {
            Kind::Bambu => bambu(wanted, reached).await,
            Kind::Prusalink => prusalink(wanted, reached).await,
        }
    };
    let limit = WHOLE.as_secs();
    tokio::time::timeout(WHOLE, asked).await.map_err(|_| failed(format!("it has not answered within {limit} s")))?
}

async fn prusalink(wanted: &Wanted, reached: &Reached) -> Result<Facts, Error> {
    let Some(base_url) = reached.base_url.clone() else { return Err(failed("it has no address")) };
    let credentials = Credentials { username: wanted.username.clone(), password: wanted.secret.clone() };
    let timeouts = printernizer_prusalink::Timeouts::default();
    let config = printernizer_prusalink::Config { base_url, address: reached.address, credentials, timeouts };
    let mut client = Client::new(config).map_err(failed)?;
    let version = client.version().await.map_err(failed)?;
    let info = client.info().await.map_err(failed)?;
    if let (Some(expected), found) = (&wanted.serial_number, &info.serial)
        && found.as_ref() != Some(expected)
    {
        let found = found.as_deref().unwrap_or("none");
        return Err(failed(format!("another printer answers: its serial number is {found}, not {expected}")));
    }
    let status = client.status().await.map_err(failed)?;
    // Without an answer to this one the printer can be used all the same.
    let material = client.material().await.unwrap_or_default();
    Ok(Facts {
        serial_number: info.serial,
        model: version.printer,
        firmware: version.firmware,
        state: status.state.to_string(),
        nozzle: info.nozzle_diameter_millimeters.map(|mm| format!("{mm} mm")),
        loaded: material.into_iter().collect(),
        control_allowed: None,
    })
}

async fn bambu(wanted: &Wanted, reached: &Reached) -> Result<Facts, Error> {
    let usage = |why: &dyn std::fmt::Display| Error::Usage(why.to_string());
    let serial = wanted.serial_number.as_deref().unwrap_or_default();
    let serial_number = SerialNumber::new(serial).map_err(|e| usage(&e))?;
    let trust = match wanted.public_key_sha256.as_deref().map(sha256) {
        None => Trust::BambuCa,
        Some(Some(key)) => Trust::PinnedKey(key),
        Some(None) => return Err(usage(&"--public-key-sha256 has 64 lower-case hex digits")),
    };
    let config = printernizer_bambu::Config {
        mqtt: reached.address,
        ftps: SocketAddr::new(reached.address.ip(), wanted.ftps_port),
        serial_number: serial_number.clone(),
        access_code: wanted.secret.clone(),
        trust,
        timeouts: Timeouts::default(),
    };
    let mut connection = Connection::open(&config).await.map_err(failed)?;
    // Model and firmware come a moment after the first report, or, of old firmware, never.
    let version = async {
        while connection.report().version.is_none() {
            if connection.changed().await.is_err() {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(VERSION, version).await;
    let snapshot = connection.report();
    connection.close().await;
    let version = snapshot.version.as_deref();
    Ok(Facts {
        serial_number: Some(serial_number.as_str().to_owned()),
        model: version.and_then(|v| v.model(&serial_number)),
        firmware: version.and_then(|v| v.firmware()).map(str::to_owned),
        state: format!("{:?}", snapshot.report.state),
        nozzle: snapshot.report.nozzle_diameter_millimeters.map(|mm| format!("{mm} mm")),
        loaded: loaded(&snapshot.report),
        control_allowed: snapshot.control_allowed,
    })
}

/// Slots with what is in them.
fn loaded(report: &Report) -> Vec<String> {
    let units = report.ams.units.iter().flat_map(|unit| unit.trays.iter().map(|tray| (unit.id, tray)));
    let in_units = units.filter_map(|(unit, tray)| {
        let material = tray.material.as_deref().filter(|_| tray.loaded != Some(false))?;
        Some(format!("{} {material}", Slot::from_report(unit, tray.id)?))
    });
    let outside = report.external.iter().filter_map(|tray| Some(format!("External {}", tray.material.as_deref()?)));
    in_units.chain(outside).collect()
}

/// A key's digest, from 64 lower-case hex digits.
fn sha256(text: &str) -> Option<[u8; 32]> {
    let hex = text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let mut key = [0; 32];
    for (byte, at) in key.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2).filter(|_| hex)?, 16).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_64_lower_case_hex_digits() {
        assert_eq!(sha256(&"ab".repeat(32)), Some([0xab; 32]));
        for wrong in ["", "ab", &"AB".repeat(32), &"zz".repeat(32), &"é".repeat(32)] {
            assert_eq!(sha256(wrong), None, "{wrong}");
        }
    }
}
