//! `printernizer probe scan`: looks for Bambu Lab printers in a network, by the serial number in the certificate that they
//! show in a TLS handshake. It logs in nowhere and sends nothing after the handshake; it looks in private networks only,
//! at a bounded number of addresses, and never trusts what it finds.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use futures::StreamExt as _;
use ipnet::IpNet;
use printernizer::error::chain;
use printernizer::files::allow::Networks;
use printernizer_bambu::{CertificateProblem, Error, Shown, Timeouts, identify};
use thiserror::Error;

/// The most addresses of one scan, and the most ports times addresses: a /22 of IPv4.
const PLACES_MAX: usize = 1024;
/// Addresses that are asked at the same time.
const AT_ONCE: usize = 64;
/// How long one address may take, connection and handshake together.
const EACH: Duration = Duration::from_secs(2);
/// Where a printer's MQTT broker listens.
const PORT: u16 = 8883;

/// Where to look for Bambu Lab printers.
#[derive(Args)]
pub struct ScanArguments {
    /// Private network to look in, for example 192.168.1.0/24. At most 1024 addresses (a /22).
    network: IpNet,
    /// Ports to ask, comma-separated. Printers use 8883.
    #[arg(long, value_delimiter = ',', default_values_t = [PORT])]
    ports: Vec<u16>,
}

/// Why nothing is looked for.
#[derive(Debug, Error)]
enum Refused {
    #[error("{network} has more than {PLACES_MAX} addresses to ask: name a smaller network, for example a /24")]
    TooLarge { network: IpNet },
    #[error("{network} is not looked in: only private networks are (10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, ...)")]
    NotPrivate { network: IpNet },
}

/// A printer that was found.
#[derive(Debug)]
struct Found {
    address: SocketAddr,
    shown: Shown,
}

/// Looks and prints what was found. True if it found a printer.
pub async fn run(arguments: &ScanArguments, output: &mut impl Write, notes: &mut impl Write) -> std::io::Result<bool> {
    let places = match places(arguments.network, &arguments.ports) {
        Ok(places) => places,
        Err(refused) => {
            writeln!(notes, "error: {}", chain(&refused))?;
            return Ok(false);
        }
    };
    let (found, others) = look(places).await;
    tell(&found, output)?;
    if others > 0 {
        writeln!(notes, "{others} more answer, but not as a Bambu Lab printer does.")?;
    }
    if found.is_empty() {
        writeln!(
            notes,
            "No Bambu Lab printer was found in {}. Switch the printer on, and LAN Only Mode at its screen (Settings > WLAN), and \
             name the network it is in.",
            arguments.network
        )?;
    }
    Ok(!found.is_empty())
}

/// Every place to ask, or why none is.
fn places(network: IpNet, ports: &[u16]) -> Result<Vec<SocketAddr>, Refused> {
    let bits = network.max_prefix_len().saturating_sub(network.prefix_len());
    let most = 1_usize.checked_shl(bits.into()).and_then(|hosts| hosts.checked_mul(ports.len()));
    if bits >= 63 || most.is_none_or(|most| most > PLACES_MAX) {
        return Err(Refused::TooLarge { network });
    }
    let private = Networks::for_printers(true);
    let mut places = Vec::new();
    for host in network.hosts() {
        // One address outside is enough: then the network was not meant as it was written.
        private.check(host).map_err(|_| Refused::NotPrivate { network })?;
        places.extend(ports.iter().map(|port| SocketAddr::new(host, *port)));
    }
    Ok(places)
}

/// The printers among these places, by address, and how many others take connections.
async fn look(places: Vec<SocketAddr>) -> (Vec<Found>, usize) {
    let timeouts = Timeouts { connect: EACH, handshake: EACH, ..Timeouts::default() };
    let ask = async |address| match tokio::time::timeout(EACH, identify(address, &timeouts)).await {
        Ok(answer) => answer.map(|shown| Some(Found { address, shown })).or_else(|error| match error {
            Error::NotTls { .. } | Error::Tls { .. } | Error::Untrusted { .. } => Err(()),
            _ => Ok(None),
        }),
        Err(_) => Ok(None),
    };
    let answers: Vec<Result<Option<Found>, ()>> =
        futures::stream::iter(places).map(ask).buffer_unordered(AT_ONCE).collect().await;
    let others = answers.iter().filter(|answer| answer.is_err()).count();
    let mut found: Vec<Found> = answers.into_iter().filter_map(|answer| answer.ok().flatten()).collect();
    found.sort_by_key(|found| found.address);
    (found, others)
}

fn tell(found: &[Found], output: &mut impl Write) -> std::io::Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    let address = |found: &Found| match found.address.port() {
        PORT => found.address.ip().to_string(),
        _ => found.address.to_string(),
    };
    let serials =
        found.iter().map(|f| f.shown.serial_number.as_str().len()).max().unwrap_or(0).max("SERIAL NUMBER".len());
    let addresses = found.iter().map(|f| address(f).len()).max().unwrap_or(0).max("ADDRESS".len());
    let row = |serial: &str, address: &str, issuer: &str, key: &str| {
        format!("{serial:<serials$}  {address:<addresses$}  {issuer:<7}  {key}")
    };
    writeln!(output, "{}", row("SERIAL NUMBER", "ADDRESS", "ISSUER", "PUBLIC KEY (SHA-256)"))?;
    for printer in found {
        let (serial, key) = (printer.shown.serial_number.as_str(), &printer.shown.public_key_sha256);
        writeln!(output, "{}", row(serial, &address(printer), issuer(&printer.shown), key))?;
    }
    let unproven: Vec<&Found> = found.iter().filter(|f| f.shown.problem.is_some()).collect();
    if unproven.is_empty() {
        return Ok(());
    }
    writeln!(output)?;
    for printer in unproven {
        if let Some(problem) = &printer.shown.problem {
            writeln!(output, "{}: {problem}", address(printer))?;
        }
    }
    Ok(())
}

/// One word about who issued the certificate. One that is before or after its time was issued all the same.
fn issuer(shown: &Shown) -> &'static str {
    match &shown.problem {
        Some(CertificateProblem::UnknownIssuer { .. }) => "unknown",
        Some(CertificateProblem::BadSignature { .. }) => "forged",
        _ => "known",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(network: &str, ports: &[u16]) -> Result<usize, &'static str> {
        places(network.parse().unwrap(), ports).map(|places| places.len()).map_err(|refused| match refused {
            Refused::TooLarge { .. } => "too large",
            Refused::NotPrivate { .. } => "not private",
        })
    }

    #[test]
    fn a_scan_is_bounded_in_addresses_and_ports() {
        assert_eq!(count("192.168.0.0/24", &[PORT]), Ok(254));
        assert_eq!(count("192.168.1.7/32", &[PORT]), Ok(1));
        assert_eq!(count("10.0.0.0/22", &[PORT]), Ok(1022));
        assert_eq!(count("fd12::/118", &[PORT]), Ok(1024));
        for (network, ports) in
            [("10.0.0.0/21", &[PORT][..]), ("10.0.0.0/22", &[1, 2]), ("::/0", &[1]), ("fd00::/64", &[1])]
        {
            assert_eq!(count(network, ports), Err("too large"), "{network}");
        }
    }

    #[test]
    fn only_private_networks_are_looked_in() {
        for network in ["8.8.8.0/24", "169.254.0.0/24", "2001:db8::/120", "0.0.0.0/32", "224.0.0.0/30", "172.32.0.0/24"]
        {
            assert_eq!(count(network, &[PORT]), Err("not private"), "{network}");
        }
        for network in ["10.1.2.0/24", "172.31.255.0/24", "100.64.0.0/24", "127.0.0.0/24"] {
            assert_eq!(count(network, &[PORT]), Ok(254), "{network}");
        }
    }
}
