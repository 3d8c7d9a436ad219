//! `add-printer`: asks for what is not given, tries the printer, and writes its Secret and Printer. The access code or password
//! comes from a file, standard input or a prompt, never from the command line, where other users of the machine could see it.
//!
//! Whatever can be refused is refused before anything is written. If the Printer is refused after its Secret was written, the
//! Secret goes again; where nobody knows whether the Printer was written, it stays.

pub mod arguments;
mod ask;
mod manifest;
mod probe;

use std::fmt::Write as _;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::runtime::wait::{Error as WaitError, await_condition};
use kube::{Api, ResourceExt};
use printernizer_crds::{ConditionType, Printer};
use secrecy::SecretString;

use crate::arguments::{AddPrinter, Kind};
use crate::cluster::Cluster;
use crate::error::Error;
use crate::objects::{Bed, Flags, bed, condition, full_name, of_printer};
use crate::output::{Format, Style, clean, structured};
use crate::person::sure;
use crate::run::Session;
use probe::Facts;

/// Everything that is written about a new printer.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    name: String,
    kind: Kind,
    address: String,
    serial_number: Option<String>,
    username: String,
    secret: SecretString,
    secret_name: String,
    public_key_sha256: Option<String>,
    mqtt_port: u16,
    ftps_port: u16,
    model: String,
    location: Option<String>,
    nozzle_micrometers: Option<i32>,
    material: Option<String>,
}

/// Adds a printer.
pub async fn add(session: &mut Session<'_>, arguments: &AddPrinter) -> Result<(), Error> {
    if !arguments.dry_run {
        free_name(&session.cluster, arguments).await?;
    }
    let (wanted, facts) = ask::gather(session.person, arguments).await?;
    let printer = manifest::printer(&wanted, session.flags.namespace.as_deref());
    if arguments.dry_run {
        session.answer(&structured(Format::Yaml, &printer)?)?;
        return session.note(&manifest::about_secret(&wanted));
    }
    if let Some(serial) = &wanted.serial_number {
        free_device(&session.cluster, serial).await?;
    }
    // Whatever the API server refuses in it, it refuses before anything is written.
    session.cluster.create(&printer, true).await?;
    session.evidence(&summary(&wanted, facts.as_ref(), session))?;
    sure(session.person, arguments.sure.yes, &format!("Add it to namespace {}?", session.cluster.namespace()))?;
    let created = write(&session.cluster, &wanted, &printer, arguments.replace_secret).await?;
    let text = match arguments.output.output {
        Some(Format::Json | Format::Yaml) => structured(arguments.output.output.unwrap_or(Format::Yaml), &created)?,
        Some(Format::Name) => full_name(&created) + "\n",
        None | Some(Format::Wide) => {
            format!("secret/{} written\n{} created\n", wanted.secret_name, full_name(&created))
        }
    };
    session.answer(&text)?;
    if arguments.wait.is_zero() {
        return Ok(());
    }
    let found = wait(&session.cluster, &wanted.name, arguments.wait).await;
    let told = told(found, arguments.wait, &session.flags);
    session.note(&clean(&told))
}

/// Refuses a name that is taken, before anybody is asked for anything.
async fn free_name(cluster: &Cluster, arguments: &AddPrinter) -> Result<(), Error> {
    let name = &arguments.name;
    if cluster.find::<Printer>(name).await?.is_some() {
        return Err(Error::NotNow(format!(
            "there is a printer {name} already; choose another name, or change that one with `kubectl edit printer {name}`"
        )));
    }
    Ok(())
}

/// Refuses a device that another Printer stands for: of two, one would be used for nothing.
async fn free_device(cluster: &Cluster, serial: &str) -> Result<(), Error> {
    let printers: Vec<Printer> = cluster.list(false, None).await?;
    let same = printers.iter().find(|p| {
        let connection = &p.spec.connection;
        let written = connection.bambu.as_ref().map(|b| b.serial_number.as_str());
        let written = written.or_else(|| connection.prusa_link.as_ref()?.serial_number.as_deref());
        let seen = p.status.as_ref().and_then(|s| s.device.as_ref()).and_then(|d| d.serial_number.as_deref());
        written.or(seen) == Some(serial)
    });
    match same {
        Some(other) => Err(Error::NotNow(format!(
            "printer {} stands for the device with serial number {serial} already",
            other.name_any()
        ))),
        None => Ok(()),
    }
}

/// Writes Secret and Printer.
async fn write(cluster: &Cluster, wanted: &Wanted, printer: &Printer, replace: bool) -> Result<Printer, Error> {
    let secret = manifest::secret(wanted);
    let made = match cluster.create(&secret, false).await {
        Ok(made) => Some(made),
        Err(Error::Exists { .. }) if replace => {
            replace_secret(cluster, wanted).await?;
            None
        }
        Err(Error::Exists { .. }) => {
            return Err(Error::NotNow(format!(
                "there is a Secret {0} already; --replace-secret writes the new code into it, --secret-name makes another",
                wanted.secret_name
            )));
        }
        Err(error) => return Err(error),
    };
    match cluster.create(printer, false).await {
        Ok(created) => Ok(created),
        Err(error) => not_created(cluster, printer, made.as_ref(), error).await,
    }
}

/// Writes into a Secret that exists, where that takes nothing from anybody.
async fn replace_secret(cluster: &Cluster, wanted: &Wanted) -> Result<(), Error> {
    let name = &wanted.secret_name;
    let Some(old) = cluster.find_metadata::<Secret>(name).await? else {
        return Err(Error::NotNow(format!("the Secret {name} has just been deleted; try again")));
    };
    let printers: Vec<Printer> = cluster.list(false, None).await?;
    if let Some(why) = manifest::keep(&old, &printers) {
        return Err(Error::NotNow(why));
    }
    cluster.overwrite::<Secret>(&old, manifest::secret_patch(wanted)).await.map(drop)
}

/// What becomes of the Secret that was made for a Printer whose creation failed with this error.
async fn not_created(
    cluster: &Cluster,
    printer: &Printer,
    made: Option<&Secret>,
    error: Error,
) -> Result<Printer, Error> {
    let left = if error.is_refusal() {
        let Some(made) = made else { return Err(error) };
        match cluster.delete(made).await {
            Ok(()) => return Err(error),
            Err(why) => format!("it could not be deleted ({}), delete it before the next try", why.chain()),
        }
    } else {
        // It may have been created all the same, or be created yet, and then it needs its Secret.
        match cluster.find::<Printer>(&printer.name_any()).await {
            Ok(Some(found)) if found.spec.connection == printer.spec.connection => return Ok(found),
            _ => format!(
                "it is left, for the printer may be there yet; look with `kubectl get printer {}`, and if it is not there \
                 try again with --replace-secret",
                printer.name_any()
            ),
        }
    };
    let secret = made.map(ResourceExt::name_any);
    match secret {
        Some(secret) => Err(Error::SecretLeft { secret, left, source: Box::new(error) }),
        None => Err(error),
    }
}

/// What is about to be added.
fn summary(wanted: &Wanted, facts: Option<&Facts>, session: &Session<'_>) -> String {
    let mut text = format!("{}\n", session.paint_aside.paint(Style::Heading, &format!("printer {}", wanted.name)));
    let mut line = |what: &str, value: Option<&str>| {
        if let Some(value) = value {
            // Writing into a String cannot fail.
            let _ = writeln!(text, "  {what:<16}{}", clean(value));
        }
    };
    line("Address", Some(&wanted.address));
    line("Model", Some(&wanted.model));
    line("Serial number", wanted.serial_number.as_deref());
    line("Location", wanted.location.as_deref());
    match facts {
        None => line("It says", Some("not asked (--no-probe)")),
        Some(facts) => {
            line("Firmware", facts.firmware.as_deref());
            line("State", Some(&facts.state));
            line("Nozzle", facts.nozzle.as_deref());
            line("Loaded", Some(&facts.loaded.join(", ")).filter(|l| !l.is_empty()).map(String::as_str));
            let refuses = "not allowed: switch on Developer Mode (Settings > WLAN); the code changes then";
            line("Control", (facts.control_allowed == Some(false)).then_some(refuses));
        }
    }
    line("Declared", wanted.material.as_ref().map(|m| format!("{m} is loaded")).as_deref());
    text
}

/// The printer as the operator finds it; `None` where it has not said so in time, or why that cannot be seen.
async fn wait(cluster: &Cluster, name: &str, limit: Duration) -> Result<Option<Printer>, WaitError> {
    let api: Api<Printer> = Api::namespaced(cluster.client(), cluster.namespace());
    let judged = |printer: Option<&Printer>| printer.is_some_and(is_judged);
    match tokio::time::timeout(limit, await_condition(api, name, judged)).await {
        Ok(found) => found,
        Err(_) => Ok(None),
    }
}

/// Whether the operator has said how it finds the printer, and its bed.
fn is_judged(printer: &Printer) -> bool {
    let ready = condition(of_printer(printer), ConditionType::Ready);
    ready.is_some_and(|c| c.status != "Unknown") && !matches!(bed(printer), Bed::NotKnown)
}

/// What the operator says of the new printer, and what is to be done next.
fn told(printer: Result<Option<Printer>, WaitError>, limit: Duration, flags: &Flags) -> String {
    let status = flags.command("status");
    let printer = match printer {
        Ok(Some(printer)) => printer,
        Ok(None) => {
            return format!(
                "the operator has not said within {} s how it finds the printer: is it running, and for this namespace? \
                 `{status}` tells",
                limit.as_secs()
            );
        }
        Err(error) => {
            let why = Error::Watch(Box::new(error)).chain();
            return format!("{why}; `{status}` shows how the operator finds it");
        }
    };
    let name = printer.name_any();
    match condition(of_printer(&printer), ConditionType::Ready) {
        Some(ready) if ready.status == "True" => match bed(&printer) {
            Bed::Waits(_) => {
                let clear = flags.command(&format!("clear-bed {name}"));
                format!("The operator can use it. Look at its bed, then: {clear}")
            }
            _ => "The operator can use it.".to_owned(),
        },
        Some(ready) => format!("The operator cannot use it yet. {}: {}", ready.reason, clean(&ready.message)),
        None => "The operator has said nothing of it.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::objects::testing::{occupied, printer};

    #[test]
    fn what_the_operator_finds_is_told_with_the_next_step() {
        let limit = Duration::from_secs(30);
        let fresh = occupied("a1", "NeverConfirmed", json!({}));
        let said = told(Ok(Some(fresh)), limit, &Flags::default().within("farm"));
        assert_eq!(said, "The operator can use it. Look at its bed, then: kubectl printernizer clear-bed a1 -n farm");
        let refused = printer("a1", json!({}), &[("Ready", "False", "CredentialsRefused", "copy the code")]);
        assert_eq!(
            told(Ok(Some(refused)), limit, &Flags::default()),
            "The operator cannot use it yet. CredentialsRefused: copy the code"
        );
        assert!(told(Ok(None), limit, &Flags::default()).contains("within 30 s"));
    }

    #[test]
    fn a_printer_is_judged_once_the_operator_knows_it_and_its_bed() {
        assert!(is_judged(&occupied("a1", "NeverConfirmed", json!({}))));
        assert!(!is_judged(&printer("a1", json!({}), &[("Ready", "Unknown", "Connecting", "connecting")])));
        assert!(!is_judged(&printer("a1", json!({ "status": null }), &[])));
    }
}
