//! The objects of a new printer. Pure.

use k8s_openapi::api::core::v1::Secret;
use kube::api::ObjectMeta;
use printernizer_crds::common::{Nozzle, SecretKeyReference, SecretReference};
use printernizer_crds::printer::{
    BambuConnection, BambuTls, BambuVerification, Capabilities, Connection, PrusaLinkConnection, SlotSpec,
};
use printernizer_crds::{Printer, PrinterSpec, USAGE_LABEL};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::Wanted;
use crate::arguments::Kind;
use crate::error::Error;

/// Value of the usage label.
const USAGE: &str = "printer";
/// Key of a Bambu Lab printer's access code.
const ACCESS_CODE: &str = "accessCode";
/// The user where the firmware fixes it.
const DEFAULT_USER: &str = "maker";

/// Refuses a name no object can have, with words that say what one looks like.
pub(super) fn check_name(name: &str) -> Result<(), Error> {
    let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let fits = name.len() <= 253 && name.chars().all(inside) && ends(name.chars().next()) && ends(name.chars().last());
    // In its place an address may stand, and a login in that.
    let told = if name.contains('@') { "this".to_owned() } else { format!("{name:?}") };
    if fits { Ok(()) } else { Err(Error::Usage(format!("{told} is no name of an object: write it like prusa-1"))) }
}

/// The Printer.
pub(super) fn printer(wanted: &Wanted, namespace: Option<&str>) -> Printer {
    let connection = match wanted.kind {
        Kind::Bambu => Connection { bambu: Some(bambu(wanted)), prusa_link: None },
        Kind::Prusalink => Connection {
            bambu: None,
            prusa_link: Some(PrusaLinkConnection {
                url: wanted.address.clone(),
                serial_number: wanted.serial_number.clone(),
                credentials_secret_ref: SecretReference { name: wanted.secret_name.clone() },
            }),
        },
    };
    let mut spec = PrinterSpec::new(wanted.model.clone(), connection);
    spec.location.clone_from(&wanted.location);
    spec.capabilities = wanted.nozzle_micrometers.map(|diameter| Capabilities {
        nozzle: Some(Nozzle { diameter_micrometers: Some(diameter), ..Nozzle::default() }),
        ..Capabilities::default()
    });
    let slot = match wanted.kind {
        Kind::Bambu => "External",
        Kind::Prusalink => "Main",
    };
    spec.slots = wanted
        .material
        .iter()
        .map(|material| SlotSpec { slot: slot.to_owned(), material: material.clone(), ..SlotSpec::default() })
        .collect();
    let mut printer = Printer::new(&wanted.name, spec);
    printer.metadata.namespace = namespace.map(str::to_owned);
    printer
}

fn bambu(wanted: &Wanted) -> BambuConnection {
    let verification = match wanted.public_key_sha256 {
        Some(_) => BambuVerification::PinnedKey,
        None => BambuVerification::BambuCA,
    };
    BambuConnection {
        host: wanted.address.clone(),
        serial_number: wanted.serial_number.clone().unwrap_or_default(),
        access_code_secret_ref: SecretKeyReference { name: wanted.secret_name.clone(), key: ACCESS_CODE.to_owned() },
        mqtt_port: wanted.mqtt_port.into(),
        ftps_port: wanted.ftps_port.into(),
        tls: BambuTls { verification, public_key_sha256: wanted.public_key_sha256.clone() },
        file_url_scheme: None,
    }
}

/// What the Secret holds: the one place where the secret is told.
fn data(wanted: &Wanted) -> Vec<(&'static str, String)> {
    let secret = wanted.secret.expose_secret().to_owned();
    match wanted.kind {
        Kind::Bambu => vec![(ACCESS_CODE, secret)],
        Kind::Prusalink if wanted.username == DEFAULT_USER => vec![("password", secret)],
        Kind::Prusalink => vec![("username", wanted.username.clone()), ("password", secret)],
    }
}

/// The Secret.
pub(super) fn secret(wanted: &Wanted) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(wanted.secret_name.clone()),
            labels: Some([(USAGE_LABEL.to_owned(), USAGE.to_owned())].into()),
            ..ObjectMeta::default()
        },
        string_data: Some(data(wanted).into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ..Secret::default()
    }
}

/// The same, written into a Secret that exists and is one for printers.
pub(super) fn secret_patch(wanted: &Wanted) -> Value {
    let data: serde_json::Map<String, Value> =
        data(wanted).into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
    // One that stands there from before would be logged in with.
    let user = json!({ "username": null });
    let stale = wanted.kind == Kind::Prusalink && !data.contains_key("username");
    json!({ "data": if stale { user } else { json!({}) }, "stringData": data })
}

/// Why this Secret, of which this is the metadata, is not to be written into.
pub(super) fn keep(secret: &ObjectMeta, printers: &[Printer]) -> Option<String> {
    let name = secret.name.as_deref().unwrap_or_default();
    let used_as = secret.labels.as_ref().and_then(|labels| labels.get(USAGE_LABEL));
    if used_as.map(String::as_str) != Some(USAGE) {
        return Some(format!(
            "the Secret {name} has not the label {USAGE_LABEL}: {USAGE}, so it is perhaps for something else; --secret-name \
             makes another"
        ));
    }
    let user = printers.iter().find(|printer| {
        let connection = &printer.spec.connection;
        let names = [
            connection.bambu.as_ref().map(|b| &b.access_code_secret_ref.name),
            connection.prusa_link.as_ref().map(|p| &p.credentials_secret_ref.name),
        ];
        names.into_iter().flatten().any(|used| used == name)
    })?;
    let user = user.metadata.name.as_deref().unwrap_or_default();
    Some(format!("the Secret {name} is that of the printer {user}; --secret-name makes another"))
}

/// What Secret the printed Printer needs.
pub(super) fn about_secret(wanted: &Wanted) -> String {
    let keys: Vec<&str> = data(wanted).into_iter().map(|(key, _)| key).collect();
    format!(
        "# It needs a Secret {} with the label {USAGE_LABEL}: {USAGE} and: {}. Do not put that into Git as it is.",
        wanted.secret_name,
        keys.join(", ")
    )
}
