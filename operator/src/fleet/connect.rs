//! From a Printer's spec to something that can be asked: reads the Secret, resolves the name once, checks the addresses
//! against the allow-list, and connects to the first that is allowed and no other.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use printernizer_bambu::project_file::FileUrl;
use printernizer_bambu::{SerialNumber, Trust};
use printernizer_crds::USAGE_LABEL;
use printernizer_crds::common::DeviceIdentity;
use printernizer_crds::printer::{
    BambuConnection, BambuTls, BambuVerification, FileUrlScheme, Printer, PrusaLinkConnection,
};
use printernizer_prusalink::{BaseUrl, Client, Config, Credentials, Timeouts};
use printernizer_rules::device::LinkFault;
use printernizer_rules::printer::serial_claimed;
use printernizer_rules::timing::Timing;
use secrecy::SecretString;

use super::FleetContext;
use super::bambu::Bambu;
use super::device::{Device, DeviceFault};
use super::prusalink::{PrusaLink, fault};
use super::serve::COMMAND_ANSWER;
use crate::api::{Api, ApiError, Key};
use crate::files::allow::Networks;
use crate::files::resolve::{ResolveError, SystemResolver, resolve};

/// The value the usage label must have on a printer's Secret.
const USAGE: &str = "printer";
/// User of Buddy firmware, where it is fixed.
const DEFAULT_USER: &str = "maker";
/// Longest wait for a name to be resolved.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a printer's Secret holds, and which version of it.
pub struct Login {
    /// The user, where the Secret names one.
    pub username: Option<String>,
    /// Password or access code.
    pub password: SecretString,
    /// resourceVersion of the Secret.
    pub version: String,
}

/// A kind of connection in a Printer's spec: which Secret it uses, and how its device is reached.
pub(super) trait Reach: Clone + Send + Sync + 'static {
    /// What is reached.
    type Device: Device;

    /// Name of the Secret, and the key of the password or access code in it.
    fn secret(&self) -> (&str, &str);

    /// Connects; gives the device and its address. The login is used for this printer only.
    fn connect(
        &self,
        printer: &Printer,
        login: Login,
        context: &FleetContext,
    ) -> impl Future<Output = Result<(Self::Device, String), DeviceFault>> + Send;
}

impl Reach for PrusaLinkConnection {
    type Device = PrusaLink;

    fn secret(&self) -> (&str, &str) {
        (&self.credentials_secret_ref.name, "password")
    }

    async fn connect(
        &self,
        printer: &Printer,
        login: Login,
        context: &FleetContext,
    ) -> Result<(PrusaLink, String), DeviceFault> {
        let username = login.username.unwrap_or_else(|| DEFAULT_USER.to_owned());
        let credentials = Credentials { username, password: login.password };
        let (client, address) = prusalink(&self.url, credentials, &context.networks, &context.timing).await?;
        let serial = serial_claimed(printer).map(str::to_owned);
        Ok((PrusaLink::new(client, serial, remembered(printer).cloned()), address.to_string()))
    }
}

impl Reach for BambuConnection {
    type Device = Bambu;

    fn secret(&self) -> (&str, &str) {
        (&self.access_code_secret_ref.name, &self.access_code_secret_ref.key)
    }

    async fn connect(
        &self,
        printer: &Printer,
        login: Login,
        context: &FleetContext,
    ) -> Result<(Bambu, String), DeviceFault> {
        let FleetContext { networks, bambu_ca, timing, .. } = context;
        let config = bambu(self, login.password, bambu_ca, networks, timing).await?;
        let url = self.file_url_scheme.map(|scheme| match scheme {
            FileUrlScheme::Ftp => FileUrl::Ftp,
            FileUrlScheme::File => FileUrl::SdCard,
        });
        let address = config.mqtt.to_string();
        Ok((Bambu::connect(config, url, remembered(printer)).await?, address))
    }
}

/// The print the device showed last, as far as the Printer remembers.
fn remembered(printer: &Printer) -> Option<&DeviceIdentity> {
    printer.status.as_ref()?.bed.as_ref()?.accounted_identity.as_ref()
}

/// Reads the Secret of a printer.
pub(super) async fn read_login<C: Reach>(api: &Api, printer: &Printer, connection: &C) -> Result<Login, DeviceFault> {
    let (name, key) = connection.secret();
    let namespace = printer.metadata.namespace.clone().unwrap_or_default();
    let secret = match api.secret(&Key::new(namespace, name)).await {
        Ok(Some(secret)) => secret,
        Ok(None) => {
            let text =
                format!("create the Secret {name} with the label printernizer.io/usage=printer and the key {key}");
            return Err(secret_fault(LinkFault::SecretNotFound, text));
        }
        Err(error @ ApiError::Other(_)) => {
            let why = format!("the Secret {name} cannot be read: {}", crate::error::chain(&error));
            return Err(secret_fault(LinkFault::SecretNotFound, why));
        }
        Err(error) => return Err(secret_fault(LinkFault::Unreachable, error.to_string())),
    };
    let label = secret.metadata.labels.as_ref().and_then(|l| l.get(USAGE_LABEL)).map(String::as_str);
    if label != Some(USAGE) {
        return Err(secret_fault(LinkFault::SecretNotLabeled, crate::error::label_advice(name, USAGE, label)));
    }
    let value = |key: &str| {
        let bytes = secret.data.as_ref().and_then(|d| d.get(key))?;
        let text = String::from_utf8(bytes.0.clone()).ok()?;
        let text = text.trim().to_owned();
        (!text.is_empty()).then_some(text)
    };
    let Some(password) = value(key) else {
        return Err(secret_fault(LinkFault::SecretKeyMissing, format!("add the key {key} to the Secret {name}")));
    };
    let version = secret.metadata.resource_version.clone().unwrap_or_default();
    Ok(Login { username: value("username"), password: SecretString::from(password), version })
}

fn secret_fault(cause: LinkFault, message: String) -> DeviceFault {
    DeviceFault { cause, message }
}

fn forbidden(message: String) -> DeviceFault {
    DeviceFault { cause: LinkFault::AddressForbidden, message }
}

/// Of what stands in the field of this name nothing can be made.
fn invalid(field: &str, why: &dyn std::fmt::Display) -> DeviceFault {
    DeviceFault { cause: LinkFault::InvalidSpec, message: format!("correct spec.connection.{field}: {why}") }
}

/// The address a name stands for, if printers may be there.
async fn address_of(host: &str, port: u16, networks: &Networks) -> Result<IpAddr, DeviceFault> {
    let allowed =
        resolve(&SystemResolver, host, port, networks, RESOLVE_TIMEOUT).await.map_err(|error| match &error {
            ResolveError::Forbidden { .. } => forbidden(crate::error::chain(&error)),
            ResolveError::Unresolved { .. } => {
                DeviceFault { cause: LinkFault::Unreachable, message: crate::error::chain(&error) }
            }
        })?;
    let first = allowed.first().map(SocketAddr::ip);
    first.ok_or_else(|| forbidden(format!("{host} has no address that is allowed")))
}

/// A client for the printer at this address, not connected yet.
pub async fn prusalink(
    url: &str,
    credentials: Credentials,
    networks: &Networks,
    timing: &Timing,
) -> Result<(Client, SocketAddr), DeviceFault> {
    let base_url = BaseUrl::parse(url).map_err(|e| invalid("prusaLink.url", &e))?;
    let address = address_of(base_url.host(), base_url.port(), networks).await?;
    let address = SocketAddr::new(address, base_url.port());
    let timeouts = Timeouts { send: timing.send_timeout, ..Timeouts::default() };
    let client = Client::new(Config { base_url, address, credentials, timeouts }).map_err(fault)?;
    Ok((client, address))
}

/// Everything needed to connect to a Bambu Lab printer, its name resolved and its address allowed. `ca` is what its
/// verification by authorities means.
pub async fn bambu(
    connection: &BambuConnection,
    access_code: SecretString,
    ca: &Trust,
    networks: &Networks,
    timing: &Timing,
) -> Result<printernizer_bambu::Config, DeviceFault> {
    let port = |field: &str, port: i32| {
        let number = u16::try_from(port).ok().filter(|port| *port > 0);
        number.ok_or_else(|| invalid(field, &format_args!("{port} is no port, which is a number from 1 to 65535")))
    };
    let (mqtt, ftps) = (port("bambu.mqttPort", connection.mqtt_port)?, port("bambu.ftpsPort", connection.ftps_port)?);
    let serial_number = SerialNumber::new(&connection.serial_number).map_err(|e| invalid("bambu.serialNumber", &e))?;
    let trust = trust(&connection.tls, ca)?;
    let address = address_of(&connection.host, mqtt, networks).await?;
    Ok(printernizer_bambu::Config {
        mqtt: SocketAddr::new(address, mqtt),
        ftps: SocketAddr::new(address, ftps),
        serial_number,
        access_code,
        trust,
        timeouts: printernizer_bambu::Timeouts {
            send: timing.send_timeout,
            acknowledgement: COMMAND_ANSWER,
            // As long as a start is watched on the connection that carried it.
            hold_after_start: timing.observation_window,
            transfer_end: timing.upload_end,
            ..printernizer_bambu::Timeouts::default()
        },
    })
}

/// Why a file of certificate authorities cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the certificate authorities in {file} cannot be used; correct the file or --bambu-authorities")]
pub struct AuthoritiesError {
    file: PathBuf,
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// Who may vouch for Bambu Lab printers: the maker's authorities, and those in the file.
pub fn bambu_ca(file: Option<&Path>) -> Result<Trust, AuthoritiesError> {
    let Some(file) = file else { return Ok(Trust::BambuCa) };
    let cannot = |source| AuthoritiesError { file: file.to_owned(), source };
    let pem = std::fs::read(file).map_err(|e| cannot(e.into()))?;
    Trust::authorities_from_pem(&pem).map_err(|e| cannot(e.into()))
}

fn trust(tls: &BambuTls, ca: &Trust) -> Result<Trust, DeviceFault> {
    match tls.verification {
        BambuVerification::BambuCA => Ok(ca.clone()),
        BambuVerification::PinnedKey => tls
            .public_key_sha256
            .as_deref()
            .and_then(sha256_from_hex)
            .map(Trust::PinnedKey)
            .ok_or_else(|| invalid("bambu.tls.publicKeySHA256", &"a pinned key is 64 lower-case hex digits")),
    }
}

fn sha256_from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_named_with_what_is_wrong_and_no_file_is_the_makers_authorities() {
        assert!(matches!(bambu_ca(None), Ok(Trust::BambuCa)));
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ca.pem");
        let said = || crate::error::chain(&bambu_ca(Some(&file)).unwrap_err());
        assert!(said().contains("ca.pem") && said().contains("No such file"), "{}", said());
        std::fs::write(&file, "").unwrap();
        assert!(said().contains("no certificate"), "{}", said());
    }

    #[tokio::test]
    async fn what_cannot_be_is_told_with_its_field_and_is_no_forbidden_address() {
        let correct = json!({
            "host": "127.0.0.1", "serialNumber": "03919A123456789",
            "accessCodeSecretRef": { "name": "a1", "key": "accessCode" },
            "tls": { "verification": "PinnedKey", "publicKeySHA256": "0".repeat(64) },
        });
        let pin = |sha256: &str| json!({ "tls": { "verification": "PinnedKey", "publicKeySHA256": sha256 } });
        let cases = [
            (json!({}), None),
            (json!({ "host": "192.0.2.10" }), Some((LinkFault::AddressForbidden, "192.0.2.10"))),
            (json!({ "mqttPort": 70_000 }), Some((LinkFault::InvalidSpec, "bambu.mqttPort: 70000 is no port"))),
            (json!({ "mqttPort": 0 }), Some((LinkFault::InvalidSpec, "bambu.mqttPort: 0 is no port"))),
            (json!({ "ftpsPort": -1 }), Some((LinkFault::InvalidSpec, "bambu.ftpsPort: -1 is no port"))),
            (
                json!({ "serialNumber": "0391" }),
                Some((LinkFault::InvalidSpec, "bambu.serialNumber: not a serial number")),
            ),
            (json!({ "serialNumber": "03919a123456789" }), Some((LinkFault::InvalidSpec, "capital letters"))),
            (pin("abc"), Some((LinkFault::InvalidSpec, "bambu.tls.publicKeySHA256"))),
            (pin(&"é".repeat(32)), Some((LinkFault::InvalidSpec, "bambu.tls.publicKeySHA256"))),
            (
                json!({ "tls": { "verification": "PinnedKey" } }),
                Some((LinkFault::InvalidSpec, "64 lower-case hex digits")),
            ),
        ];
        for (change, expected) in cases {
            let mut connection = correct.clone();
            connection.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            let connection: BambuConnection = serde_json::from_value(connection).unwrap();
            let code = SecretString::from("12345678");
            let made =
                bambu(&connection, code, &Trust::BambuCa, &Networks::for_printers(true), &Timing::default()).await;
            match (made, expected) {
                (Ok(_), None) => {}
                (Err(fault), Some((cause, words))) => {
                    assert_eq!(fault.cause, cause, "{change}: {fault}");
                    assert!(fault.message.contains(words), "{change}: {fault}");
                }
                (made, _) => panic!("{change}: {:?}", made.err()),
            }
        }
        let login = Credentials { username: DEFAULT_USER.into(), password: SecretString::from("x") };
        let made = prusalink("ftp://127.0.0.1", login, &Networks::for_printers(true), &Timing::default()).await;
        let fault = made.map(|(_, address)| address).unwrap_err();
        assert_eq!(fault.cause, LinkFault::InvalidSpec, "{fault}");
    }

    async fn connects(url: &str, networks: &Networks) -> Result<SocketAddr, LinkFault> {
        let credentials = Credentials { username: "maker".into(), password: "p".into() };
        let found = prusalink(url, credentials, networks, &Timing::default()).await;
        found.map(|(_, address)| address).map_err(|fault| fault.cause)
    }

    #[tokio::test]
    async fn a_printer_is_judged_by_the_address_its_host_leads_to() {
        let networks = Networks::for_printers(false);
        for url in [
            "http://127.0.0.1",
            "http://[::1]",
            "http://[::ffff:127.0.0.1]",
            "http://localhost",
            "http://127.1",
            "http://0x7f000001",
            "http://2130706433",
            "http://0177.0.0.1",
            "http://169.254.169.254",
            "http://[::ffff:169.254.169.254]",
            "http://[64:ff9b::a9fe:a9fe]",
            "http://0251.0376.0251.0376",
            "http://8.8.8.8",
            "http://0.0.0.0",
        ] {
            assert_eq!(connects(url, &networks).await, Err(LinkFault::AddressForbidden), "{url}");
        }
        for (url, address) in [
            ("http://192.168.1.51", "192.168.1.51:80"),
            ("http://[fd12::51]:8080", "[fd12::51]:8080"),
            ("http://[::ffff:10.0.0.51]", "[::ffff:10.0.0.51]:80"),
        ] {
            assert_eq!(connects(url, &networks).await, Ok(address.parse().unwrap()), "{url}");
        }
        let local = connects("http://localhost:8080", &Networks::for_printers(true)).await.unwrap();
        assert!(local.ip().is_loopback() && local.port() == 8080, "{local}");
    }

    #[tokio::test]
    async fn a_printers_files_go_to_the_address_its_commands_go_to() {
        let connection: BambuConnection = serde_json::from_value(serde_json::json!({
            "host": "localhost", "serialNumber": "03919A3B0100254", "accessCodeSecretRef": { "name": "a", "key": "b" },
        }))
        .unwrap();
        let connect = async |networks| {
            bambu(&connection, "12ab34cd".into(), &Trust::BambuCa, &networks, &Timing::default()).await
        };
        let config = connect(Networks::for_printers(true)).await.unwrap();
        assert!(config.mqtt.ip() == config.ftps.ip() && config.mqtt.ip().is_loopback());
        let fault = connect(Networks::for_printers(false)).await.err().unwrap();
        assert_eq!(fault.cause, LinkFault::AddressForbidden, "{}", fault.message);
    }
}
