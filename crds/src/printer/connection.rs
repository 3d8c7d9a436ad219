//! How to reach a printer: by Bambu's LAN protocol or by PrusaLink. Passwords and codes are never written here, only
//! the Secret that holds them. The forms of addresses and serial numbers are those the makers document.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{SecretKeyReference, SecretReference};

/// How to reach the printer.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.bambu) != has(self.prusaLink)")
    .message("connection must name exactly one of bambu and prusaLink"))]
pub struct Connection {
    /// A Bambu Lab printer in LAN mode, by MQTT and FTPS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bambu: Option<BambuConnection>,
    /// A Prusa printer, by PrusaLink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prusa_link: Option<PrusaLinkConnection>,
}

/// Connection to a Bambu Lab printer.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BambuConnection {
    /// Host name or address of the printer, without scheme and port.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$') || self.matches('^[0-9a-fA-F:]*:[0-9a-fA-F:.]+$')")
        .message("host must be a host name or an address alone, without scheme, port or path: for example 192.168.1.40"))]
    pub host: String,
    /// Serial number of the printer; it is in the printer's certificate and is checked at every connection.
    #[schemars(length(min = 8, max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Z0-9]+$')")
        .message("serialNumber has capital letters and digits only, as the printer shows it under Settings > Device"))]
    pub serial_number: String,
    /// Secret key that holds the access code shown on the printer's screen.
    pub access_code_secret_ref: SecretKeyReference,
    /// Port of the printer's MQTT broker. Default 8883.
    #[serde(default = "default_mqtt_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub mqtt_port: i32,
    /// Port of the printer's FTPS server. Default 990.
    #[serde(default = "default_ftps_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub ftps_port: i32,
    /// How the printer's certificate is checked.
    #[serde(default)]
    pub tls: BambuTls,
    /// Form of the file address in the start command: ftp or file. Default: the one that fits the model.
    #[serde(default, rename = "fileURLScheme", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "FileUrlScheme")]
    pub file_url_scheme: Option<FileUrlScheme>,
}

/// As the API server fills in what is left out.
impl Default for BambuConnection {
    fn default() -> Self {
        Self {
            host: String::new(),
            serial_number: String::new(),
            access_code_secret_ref: SecretKeyReference::default(),
            mqtt_port: default_mqtt_port(),
            ftps_port: default_ftps_port(),
            tls: BambuTls::default(),
            file_url_scheme: None,
        }
    }
}

fn default_mqtt_port() -> i32 {
    8883
}

fn default_ftps_port() -> i32 {
    990
}

/// Form of the file address in a Bambu start command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FileUrlScheme {
    /// `ftp://` and the name.
    Ftp,
    /// `file:///sdcard/` and the name.
    File,
}

/// How a Bambu printer's certificate is checked.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.verification) && self.verification == 'PinnedKey') == has(self.publicKeySHA256)")
    .message("publicKeySHA256 goes with verification: PinnedKey, and is required there"))]
pub struct BambuTls {
    /// BambuCA checks against the maker's certificate authority and the serial number; PinnedKey against one public key.
    /// Default BambuCA.
    #[serde(default)]
    pub verification: BambuVerification,
    /// SHA-256 of the printer's public key (its DER SubjectPublicKeyInfo), 64 hex digits; with PinnedKey only.
    #[serde(default, rename = "publicKeySHA256", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9a-f]{64}$')")
        .message("publicKeySHA256 must be 64 lower-case hex digits, as sha256sum prints them"))]
    pub public_key_sha256: Option<String>,
}

/// Ways to check a Bambu printer's certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum BambuVerification {
    /// Against the maker's certificate authority, and the serial number as its name.
    #[default]
    BambuCA,
    /// Against one public key.
    PinnedKey,
}

/// Connection to a printer by PrusaLink.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PrusaLinkConnection {
    /// Address of the printer: http://HOST or http://HOST:PORT. The firmware offers no TLS.
    #[schemars(length(min = 8, max = 300))]
    #[x_kube(validation = Rule::new(r"self.matches('^http://([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\\[[0-9a-fA-F:.]+\\])(:[0-9]{1,5})?/?$')")
        .message("url must be http://HOST or http://HOST:PORT, without user, path or query: for example http://192.168.1.50"))]
    pub url: String,
    /// Serial number of the printer. When absent the one seen at first contact is kept in status and pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub serial_number: Option<String>,
    /// Secret with the key password (shown on the printer under Settings > Network > PrusaLink) and, if it is not
    /// "maker", the key username.
    pub credentials_secret_ref: SecretReference,
}
