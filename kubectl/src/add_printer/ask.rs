//! What a new printer needs: from the command line, else from the printer itself, else from the person.

use printernizer_bambu::SerialNumber;
use printernizer_printfile::models;
use printernizer_prusalink::{BaseUrl, BaseUrlError};
use secrecy::{ExposeSecret as _, SecretString};

use super::probe::{self, Facts, Reached};
use super::{Wanted, manifest};
use crate::arguments::{AddPrinter, Kind};
use crate::error::Error;
use crate::output::clean;
use crate::person::Person;

/// The longest secret that is read: no printer's is nearly as long.
const SECRET_MAX_BYTES: u64 = 1024;

/// Gathers everything; with a probe, also what the printer says.
pub(super) async fn gather(person: &mut dyn Person, given: &AddPrinter) -> Result<(Wanted, Option<Facts>), Error> {
    manifest::check_name(&given.name)?;
    let kind = match given.kind {
        Some(kind) => kind,
        None => kind(person)?,
    };
    let address = match &given.address {
        Some(address) => address.trim().to_owned(),
        None => text(person, "--address", address_question(kind))?,
    };
    let address = address_for(kind, &address)?;
    if let Some(number) = given.serial_number.as_deref().filter(|_| kind == Kind::Bambu) {
        SerialNumber::new(number).map_err(|e| Error::Usage(format!("--serial-number: {e}")))?;
    }
    let mut wanted = Wanted {
        name: given.name.clone(),
        kind,
        address,
        serial_number: given.serial_number.clone(),
        username: given.username.clone(),
        secret: SecretString::default(),
        secret_name: given.secret_name.clone().unwrap_or_else(|| given.name.clone()),
        public_key_sha256: given.public_key_sha256.clone(),
        mqtt_port: given.mqtt_port,
        ftps_port: given.ftps_port,
        model: given.model.clone().unwrap_or_default(),
        location: given.location.clone(),
        nozzle_micrometers: given.nozzle,
        material: given.material.clone(),
    };
    let reached = if given.no_probe { None } else { Some(probe::reach(&wanted).await?) };
    if kind == Kind::Bambu {
        identity(person, &mut wanted, reached.as_ref()).await?;
    }
    // A manifest for Git needs no secret, and neither does one that nobody tries.
    if !(given.dry_run && given.no_probe) {
        wanted.secret = secret(person, given.secret_file.as_deref(), kind)?;
    }
    let facts = match &reached {
        Some(reached) => Some(probe::ask(&wanted, reached).await?),
        None => None,
    };
    if let Some(facts) = &facts {
        wanted.serial_number = wanted.serial_number.or_else(|| facts.serial_number.clone());
    }
    if wanted.model.is_empty() {
        let said = facts.as_ref().and_then(|f| f.model.as_deref()).map(clean).filter(|m| !m.is_empty());
        wanted.model = match said {
            Some(model) => models::display_name(&model).map_or(model.clone(), str::to_owned),
            None => text(person, "--model", "Model, as its maker calls it (Bambu Lab A1, Prusa CORE One): ")?,
        };
    }
    let silent = facts.as_ref().is_some_and(|f| f.loaded.is_empty());
    if kind == Kind::Prusalink && wanted.material.is_none() && silent && person.is_there() {
        let answer = person.ask("Filament that is loaded (PLA, PETG, ...; empty: say nothing of it): ")?;
        wanted.material = Some(answer).filter(|m| !m.is_empty());
    }
    Ok((wanted, facts))
}

fn kind(person: &mut dyn Person) -> Result<Kind, Error> {
    loop {
        let answer = text(person, "--kind", "Kind of printer (bambu, prusalink): ")?;
        match answer.to_lowercase().as_str() {
            "bambu" => return Ok(Kind::Bambu),
            "prusalink" | "prusa" => return Ok(Kind::Prusalink),
            _ => {}
        }
    }
}

fn address_question(kind: Kind) -> &'static str {
    match kind {
        Kind::Bambu => "Its address (at the printer: Settings > WLAN): ",
        Kind::Prusalink => "Its address (at the printer: Settings > Network > PrusaLink): ",
    }
}

/// The address in the form of its field.
fn address_for(kind: Kind, address: &str) -> Result<String, Error> {
    // A login may stand before it, which is told nowhere.
    if address.contains('@') {
        return Err(Error::Usage(BaseUrlError::LoginInAddress.to_string()));
    }
    match kind {
        Kind::Bambu if is_host(address) => Ok(address.to_owned()),
        Kind::Bambu => Err(Error::Usage(format!(
            "{address:?}: write the host of a Bambu Lab printer alone, for example 192.168.1.40"
        ))),
        Kind::Prusalink => {
            let url = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
            BaseUrl::parse(&url).map_err(|e| Error::Usage(format!("{address:?}: {e}")))?;
            Ok(url)
        }
    }
}

/// Whether this is a host alone: a name, or an address of either version.
fn is_host(text: &str) -> bool {
    let name = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-');
    (name && !text.is_empty()) || text.parse::<std::net::Ipv6Addr>().is_ok()
}

/// Something that must be known.
fn text(person: &mut dyn Person, option: &str, question: &str) -> Result<String, Error> {
    if !person.is_there() {
        return Err(Error::Usage(format!("{option} is needed, for nobody is at the terminal to be asked")));
    }
    loop {
        let answer = person.ask(question)?;
        if !answer.is_empty() {
            return Ok(answer);
        }
    }
}

/// Whose certificate is trusted: that of the serial number on the screen, issued by the maker, or one key.
async fn identity(person: &mut dyn Person, wanted: &mut Wanted, reached: Option<&Reached>) -> Result<(), Error> {
    let shown = match reached {
        Some(reached) if wanted.serial_number.is_none() || wanted.public_key_sha256.is_none() => {
            Some(probe::identify(reached).await?)
        }
        _ => None,
    };
    if wanted.serial_number.is_none() {
        wanted.serial_number = Some(match &shown {
            Some(shown) if person.is_there() => {
                let found = shown.serial_number.as_str();
                if !person.agrees(&format!(
                    "It says its serial number is {found}. Does its screen (Settings > Device) say the same?"
                ))? {
                    return Err(Error::NotNow(format!(
                        "another printer is at {}: nothing was written",
                        wanted.address
                    )));
                }
                found.to_owned()
            }
            Some(shown) => {
                return Err(Error::Usage(format!(
                    "the printer says its serial number is {0}: compare with its screen (Settings > Device), and if that shows \
                     the same: --serial-number {0}",
                    shown.serial_number.as_str()
                )));
            }
            None => text(person, "--serial-number", "Its serial number (at the printer: Settings > Device): ")?,
        });
    }
    if wanted.public_key_sha256.is_some() {
        return Ok(());
    }
    let Some(shown) = shown.filter(|shown| shown.problem.is_some()) else { return Ok(()) };
    // Where the key can be pinned, and only if the rest is as it should be: else the probe says what is wrong.
    if wanted.serial_number.as_deref() != Some(shown.serial_number.as_str()) {
        return Ok(());
    }
    let problem = shown.problem.as_ref().map(ToString::to_string).unwrap_or_default();
    if !person.is_there() {
        return Err(Error::NotNow(format!("{problem}: --public-key-sha256 {}", shown.public_key_sha256)));
    }
    let question =
        format!("{}.\nIs this your printer for sure, and is this key to be trusted from now on?", clean(&problem));
    if person.agrees(&question)? {
        wanted.public_key_sha256 = Some(shown.public_key_sha256);
        return Ok(());
    }
    Err(Error::NotNow("nothing was written".to_owned()))
}

/// The access code or password: from the file, or from the person.
fn secret(person: &mut dyn Person, file: Option<&str>, kind: Kind) -> Result<SecretString, Error> {
    let (what, screen) = match kind {
        Kind::Bambu => ("Access code", "Settings > WLAN"),
        Kind::Prusalink => ("Password", "Settings > Network > PrusaLink"),
    };
    let secret = match file {
        Some(file) => from_file(file)?,
        None if person.is_there() => {
            person.ask_secret(&format!("{what} (at the printer: {screen}; not shown here): "))?
        }
        None => {
            return Err(Error::Usage(
                "--secret-file is needed, for nobody is at the terminal to be asked; - reads standard input".to_owned(),
            ));
        }
    };
    let trimmed = secret.expose_secret().trim();
    if trimmed.is_empty() || trimmed.contains(['\n', '\r']) {
        return Err(Error::Usage(format!("the {} must be one line, and not empty", what.to_lowercase())));
    }
    Ok(SecretString::from(trimmed))
}

fn from_file(file: &str) -> Result<SecretString, Error> {
    use std::io::{IsTerminal as _, Read as _};
    let named = if file == "-" { "standard input" } else { file };
    let failed = |source| Error::SecretFile { file: named.to_owned(), source };
    if file == "-" && std::io::stdin().is_terminal() {
        return Err(Error::Usage(
            "standard input is a terminal, which would show what you type: leave out --secret-file, and you are asked"
                .to_owned(),
        ));
    }
    let mut text = String::new();
    // One more than fits, to see whether there is more.
    let most = SECRET_MAX_BYTES + 1;
    let read = if file == "-" {
        std::io::stdin().lock().take(most).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|f| f.take(most).read_to_string(&mut text))
    };
    let read = read.map_err(failed)?;
    let secret = SecretString::from(text);
    if read as u64 > SECRET_MAX_BYTES {
        return Err(Error::Usage(format!(
            "{named} has more than {SECRET_MAX_BYTES} bytes: that is no printer's secret"
        )));
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_on_every_path_and_a_login_in_it_told_nowhere() {
        for (kind, address, written) in [
            (Kind::Bambu, "192.168.1.40", "192.168.1.40"),
            (Kind::Bambu, "fd00::7", "fd00::7"),
            (Kind::Prusalink, "prusa-1.lan", "http://prusa-1.lan"),
            (Kind::Prusalink, "http://[fd00::7]:81", "http://[fd00::7]:81"),
        ] {
            assert_eq!(address_for(kind, address).unwrap(), written);
        }
        for kind in [Kind::Bambu, Kind::Prusalink] {
            for address in ["http://maker:hush@host", "maker:hush@host", "ftp://host", "host/path", "a b", ""] {
                let refused = address_for(kind, address).unwrap_err();
                assert_eq!(refused.code(), crate::error::USAGE, "{address}");
                assert!(!refused.chain().contains("hush"), "{refused}");
            }
        }
    }

    #[test]
    fn a_file_that_is_longer_than_a_secret_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("secret");
        let read = |bytes: usize| {
            std::fs::write(&file, "x".repeat(bytes)).unwrap();
            from_file(file.to_str().unwrap()).map(|secret| secret.expose_secret().len())
        };
        assert_eq!(read(1024).unwrap(), 1024);
        let refused = read(1025).unwrap_err();
        assert!(refused.to_string().contains("more than 1024 bytes"), "{refused}");
    }
}
