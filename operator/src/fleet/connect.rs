//! From a Printer's spec to something that can be asked: reads the Secret, resolves the name once, checks the address
//! against the allow-list, and connects to that address and no other.

use std::net::SocketAddr;
use std::time::Duration;

use printernizer_crds::USAGE_LABEL;
use printernizer_crds::printer::{Printer, PrusaLinkConnection};
use printernizer_prusalink::{BaseUrl, Client, Config, Credentials, Timeouts};
use printernizer_rules::device::LinkFault;
use printernizer_rules::timing::Timing;
use secrecy::SecretString;

use super::device::DeviceFault;
use super::prusalink::fault;
use crate::api::{Api, ApiError, Key};
use crate::files::allow::Networks;

/// The value the usage label must have on a printer's Secret.
const USAGE: &str = "printer";
/// User of Buddy firmware, where it is fixed.
const DEFAULT_USER: &str = "maker";
/// Longest wait for a name to be resolved.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// The login of a printer, and the version of the Secret it came from.
pub struct Login {
    /// The login.
    pub credentials: Credentials,
    /// resourceVersion of the Secret.
    pub version: String,
}

/// Reads the Secret of a PrusaLink printer.
pub async fn read_login(api: &Api, printer: &Printer, connection: &PrusaLinkConnection) -> Result<Login, DeviceFault> {
    let name = &connection.credentials_secret_ref.name;
    let namespace = printer.metadata.namespace.clone().unwrap_or_default();
    let secret = match api.secret(&Key::new(namespace, name)).await {
        Ok(Some(secret)) => secret,
        Ok(None) => {
            return Err(secret_fault(
                LinkFault::SecretNotFound,
                format!("create the Secret {name} with the key password"),
            ));
        }
        Err(error @ ApiError::Other(_)) => {
            let why = format!("the Secret {name} cannot be read: {}", crate::error::chain(&error));
            return Err(secret_fault(LinkFault::SecretNotFound, why));
        }
        Err(error) => return Err(secret_fault(LinkFault::Unreachable, error.to_string())),
    };
    if secret.metadata.labels.as_ref().and_then(|l| l.get(USAGE_LABEL)).map(String::as_str) != Some(USAGE) {
        let text = format!("label the Secret {name} with {USAGE_LABEL}={USAGE}; the operator reads no other Secrets");
        return Err(secret_fault(LinkFault::SecretNotLabeled, text));
    }
    let value = |key: &str| {
        let bytes = secret.data.as_ref().and_then(|d| d.get(key))?;
        let text = String::from_utf8(bytes.0.clone()).ok()?;
        let text = text.trim().to_owned();
        (!text.is_empty()).then_some(text)
    };
    let Some(password) = value("password") else {
        return Err(secret_fault(LinkFault::SecretKeyMissing, format!("add the key password to the Secret {name}")));
    };
    let username = value("username").unwrap_or_else(|| DEFAULT_USER.to_owned());
    let version = secret.metadata.resource_version.unwrap_or_default();
    Ok(Login { credentials: Credentials { username, password: SecretString::from(password) }, version })
}

fn secret_fault(cause: LinkFault, message: String) -> DeviceFault {
    DeviceFault { cause, message }
}

/// A client for the printer at this address, not connected yet.
pub async fn prusalink(
    url: &str,
    credentials: Credentials,
    networks: &Networks,
    timing: &Timing,
) -> Result<(Client, SocketAddr), DeviceFault> {
    let forbidden = |message: String| DeviceFault { cause: LinkFault::AddressForbidden, message };
    let base_url = BaseUrl::parse(url).map_err(|e| forbidden(e.to_string()))?;
    let host = base_url.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let unresolved = |why: String| DeviceFault {
        cause: LinkFault::Unreachable,
        message: format!("the name {host} cannot be resolved ({why}): check the address"),
    };
    let lookup = tokio::net::lookup_host((host.as_str(), base_url.port()));
    let mut addresses = match tokio::time::timeout(RESOLVE_TIMEOUT, lookup).await {
        Ok(Ok(addresses)) => addresses,
        Ok(Err(error)) => return Err(unresolved(error.to_string())),
        Err(_) => return Err(unresolved("no answer in time".into())),
    };
    let Some(address) = addresses.next() else { return Err(unresolved("no address".into())) };
    networks.check(address.ip()).map_err(|e| forbidden(crate::error::chain(&e)))?;
    let timeouts = Timeouts { send: timing.send_timeout, ..Timeouts::default() };
    let client = Client::new(Config { base_url, address, credentials, timeouts }).map_err(fault)?;
    Ok((client, address))
}
