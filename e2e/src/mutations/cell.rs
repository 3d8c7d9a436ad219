//! One operator with a namespace of its own, in which one object after the other is changed. Two machines of each kind
//! stand in it, so that the object that is changed and the new one it is compared with have one each.

use std::path::PathBuf;
use std::time::Duration;

use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, PostParams};
use printernizer_simulator::{Config, PrinterConfig, PrinterInfo, Simulator};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;

use super::compare::state;
use super::{Mutation, Outcome, Subject};
use crate::Namespace;
use crate::cluster::Cluster;
use crate::farm::{Farm, Operator, OperatorOptions};

/// How long an object may take to where it comes to; most take a second.
const LIMIT: Duration = Duration::from_secs(60);
/// How long two objects must be in the same state before it is believed to last.
const LASTS: Duration = Duration::from_millis(1_200);
/// How often they are looked at.
const LOOK: Duration = Duration::from_millis(150);
/// How often a change is made anew because the operator wrote in between.
const CONFLICTS: usize = 20;
/// The operator's windows run this much faster.
const FASTER: u32 = 100;

/// Stand in a spec for what differs between the two machines.
const URL: &str = "http://machine";
const SERIAL: &str = "MACHINE00000000";
const SECRET: &str = "machine";
const KEY: &str = "0000000000000000000000000000000000000000000000000000000000000000";
const MQTT: u16 = 64_001;
const FTPS: u16 = 64_002;

/// The object that is changed, and the new one it is compared with.
const PAIR: [&str; 2] = ["changed", "anew"];

/// One operator, its namespace, its machines.
pub(super) struct Cell {
    farm: Farm,
    namespace: Namespace,
    operator: Operator,
    _directory: TempDir,
}

/// The spec that is changed, as a person would have written it; what differs between the machines is filled in later.
pub(super) fn base(subject: Subject) -> Value {
    let printer = |model: &str, slot: &str, connection: Value| {
        json!({
            "model": model,
            "connection": connection,
            "capabilities": { "nozzle": { "diameterMicrometers": 400 }, "plate": "smooth" },
            "location": "shelf 2",
            "slots": [{ "slot": slot, "material": "PLA", "color": "#FFFFFF" }],
            "bed": { "clearing": "Manual" },
        })
    };
    match subject {
        Subject::PrusaPrinter => {
            let link = json!({ "url": URL, "serialNumber": SERIAL, "credentialsSecretRef": { "name": SECRET } });
            printer("Prusa CORE One", "Main", json!({ "prusaLink": link }))
        }
        Subject::BambuPrinter => {
            let link = json!({
                "host": "127.0.0.1", "mqttPort": MQTT, "ftpsPort": FTPS, "serialNumber": SERIAL,
                "accessCodeSecretRef": { "name": SECRET, "key": "accessCode" },
                "tls": { "verification": "PinnedKey", "publicKeySHA256": KEY },
            });
            printer("Bambu Lab A1", "AMS1-1", json!({ "bambu": link }))
        }
        Subject::PrintJob => json!({
            "displayName": "Clip",
            "source": { "configMap": { "name": "part", "key": "part.gcode" } },
            "priority": 5,
            "requirements": { "materials": ["PLA"] },
        }),
    }
}

/// A spec for this machine.
fn of_machine(spec: &Value, info: &PrinterInfo) -> Value {
    let bambu = info.bambu.as_ref();
    match spec {
        Value::String(text) => match text.as_str() {
            URL => json!(info.url),
            SERIAL => json!(info.serial_number),
            SECRET => json!(info.name),
            KEY => bambu.map_or(json!(KEY), |b| json!(b.public_key_sha256)),
            _ => spec.clone(),
        },
        Value::Number(number) => match (number.as_u64(), bambu) {
            (Some(port), Some(bambu)) if port == u64::from(MQTT) => json!(bambu.mqtt_port),
            (Some(port), Some(bambu)) if port == u64::from(FTPS) => json!(bambu.ftps_port),
            _ => spec.clone(),
        },
        Value::Array(items) => items.iter().map(|item| of_machine(item, info)).collect(),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(name, value)| (name.clone(), of_machine(value, info))).collect())
        }
        other => other.clone(),
    }
}

/// What the API server says against a request.
enum Refused {
    Conflict,
    With(String),
}

impl Cell {
    /// Opens a namespace with machines that nobody has described yet, a print file, and an operator at work.
    pub(super) async fn open(cluster: &Cluster, program: PathBuf) -> Result<Self, String> {
        let client = cluster.client().await.map_err(text)?;
        let namespace = Namespace::create(&client, "mutations").await.map_err(text)?;
        let mut config = Config::prusalink(PAIR.len()).time_scale(f64::from(FASTER));
        config.printers.extend((1..=PAIR.len()).map(|n| PrinterConfig::bambu(format!("bambu-{n}"))));
        for printer in &mut config.printers {
            printer.bambu.report_milliseconds = 100;
        }
        let simulator = Simulator::start(config).await.map_err(text)?;
        let farm = Farm::new(client, namespace.name(), simulator);
        for info in farm.simulator().printers() {
            farm.add_secret(&info).await.map_err(text)?;
        }
        let part = "; generated by PrusaSlicer 2.9.4\nG28\nG1 X10 Y10 E1\n; filament used [g] = 0.94\n\
            ; estimated printing time (normal mode) = 5m 0s\n; prusaslicer_config = begin\n; filament_type = PLA\n\
            ; nozzle_diameter = 0.4\n; printer_model = COREONE\n; prusaslicer_config = end\n";
        farm.add_file("part", part.into()).await.map_err(text)?;
        let directory = tempfile::tempdir().map_err(text)?;
        let options = OperatorOptions {
            program,
            kubeconfig: cluster.kubeconfig().to_owned(),
            directory: directory.path().to_owned(),
            namespace: namespace.name().to_owned(),
            simulated_time: FASTER,
            arguments: Vec::new(),
        };
        let operator = Operator::start(&options).await.map_err(text)?;
        Ok(Self { farm, namespace, operator, _directory: directory })
    }

    /// Makes one change, and looks what comes of it. Nothing of it is left afterwards.
    pub(super) async fn make(&mut self, mutation: &Mutation) -> Result<Outcome, String> {
        let outcome = self.changed(mutation).await;
        for name in PAIR {
            self.delete(mutation.subject, name).await?;
        }
        if !self.operator.is_running() {
            return Err(format!("the operator ended\n{}", self.operator.tail()));
        }
        outcome
    }

    async fn changed(&self, mutation: &Mutation) -> Result<Outcome, String> {
        let (subject, [changed, anew]) = (mutation.subject, PAIR);
        self.create(subject, changed, &base(subject)).await.map_err(|refused| match refused {
            Refused::Conflict => "the object of an earlier change is still there".to_owned(),
            Refused::With(why) => format!("the object that was to be changed was refused: {why}"),
        })?;
        self.settled(subject, changed).await?;
        match self.replace(subject, changed, &mutation.spec).await {
            Ok(()) => {}
            Err(Refused::Conflict) => return Err("the operator writes without an end".into()),
            Err(Refused::With(why)) if why.trim().is_empty() => return Err("refused without a word".into()),
            Err(Refused::With(_)) => return Ok(Outcome::Rejected),
        }
        if let Err(Refused::With(why)) = self.create(subject, anew, &mutation.spec).await {
            return Err(format!("taken as a change, and refused anew: {why}"));
        }
        self.same(subject).await
    }

    /// Waits until the object has come to a state.
    async fn settled(&self, subject: Subject, name: &str) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            let object = self.get(subject, name).await?;
            if self.state(subject, name, object.as_ref()).is_some() {
                return Ok(());
            }
            if begun.elapsed() > LIMIT {
                return Err(format!("before the change it came to nothing: {}", status(object.as_ref())));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until both objects are in the same state, and stay in it.
    async fn same(&self, subject: Subject) -> Result<Outcome, String> {
        let begun = Instant::now();
        let mut since: Option<(Instant, Value)> = None;
        loop {
            let (changed, anew) = (self.get(subject, PAIR[0]).await?, self.get(subject, PAIR[1]).await?);
            let states = (self.state(subject, PAIR[0], changed.as_ref()), self.state(subject, PAIR[1], anew.as_ref()));
            // Both may be gone as well: a job that ended and was not to be kept.
            since = match (states, changed.is_none() && anew.is_none()) {
                (_, true) => return Ok(Outcome::Converged),
                ((Some(one), Some(other)), _) if one == other => match since {
                    Some((since, state)) if state == one => Some((since, state)),
                    _ => Some((Instant::now(), one)),
                },
                _ => None,
            };
            if since.as_ref().is_some_and(|(since, _)| since.elapsed() >= LASTS) {
                return Ok(Outcome::Converged);
            }
            if begun.elapsed() > LIMIT {
                let (changed, anew) = (status(changed.as_ref()), status(anew.as_ref()));
                return Err(format!("after {LIMIT:?} the changed object is\n  {changed}\nand a new one\n  {anew}"));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn state(&self, subject: Subject, name: &str, object: Option<&DynamicObject>) -> Option<Value> {
        let object = serde_json::to_value(object?).ok()?;
        let machine = self.machine(subject, name);
        let mut own = vec![(name.to_owned(), "OBJECT")];
        let partner = PAIR.iter().find(|other| **other != name).map_or("", |other| *other);
        own.push((partner.to_owned(), "OBJECT"));
        if let Some(info) = machine {
            own.extend([
                (info.url.clone(), "URL"),
                (info.serial_number.clone(), "SERIAL"),
                (info.name.clone(), "MACHINE"),
            ]);
            own.extend(info.bambu.iter().flat_map(|b| {
                [
                    (b.public_key_sha256.clone(), "KEY"),
                    (b.mqtt_port.to_string(), "PORT"),
                    (b.ftps_port.to_string(), "PORT"),
                ]
            }));
        }
        let own: Vec<(&str, &str)> = own.iter().map(|(name, instead)| (name.as_str(), *instead)).collect();
        state(&object, &own)
    }

    /// The machine of a Printer of this name.
    fn machine(&self, subject: Subject, name: &str) -> Option<PrinterInfo> {
        let place = PAIR.iter().position(|other| *other == name)?;
        let kind = match subject {
            Subject::PrusaPrinter => "prusa",
            Subject::BambuPrinter => "bambu",
            Subject::PrintJob => return None,
        };
        self.farm.machine(&format!("{kind}-{}", place + 1)).ok().map(|machine| machine.info())
    }

    fn api(&self, subject: Subject) -> Api<DynamicObject> {
        Api::namespaced_with(self.farm.client(), self.farm.namespace(), &resource(subject))
    }

    fn spec(&self, subject: Subject, name: &str, spec: &Value) -> Value {
        self.machine(subject, name).map_or_else(|| spec.clone(), |info| of_machine(spec, &info))
    }

    async fn get(&self, subject: Subject, name: &str) -> Result<Option<DynamicObject>, String> {
        self.api(subject).get_opt(name).await.map_err(text)
    }

    async fn create(&self, subject: Subject, name: &str, spec: &Value) -> Result<(), Refused> {
        let mut object = DynamicObject::new(name, &resource(subject));
        object.data = json!({ "spec": self.spec(subject, name, spec) });
        self.api(subject).create(&PostParams::default(), &object).await.map(drop).map_err(refused)
    }

    /// Changes the spec of an object, as it is now.
    async fn replace(&self, subject: Subject, name: &str, spec: &Value) -> Result<(), Refused> {
        let api = self.api(subject);
        for _ in 0..CONFLICTS {
            let mut object = api.get(name).await.map_err(refused)?;
            object.data["spec"] = self.spec(subject, name, spec);
            match api.replace(name, &PostParams::default(), &object).await.map_err(refused) {
                Err(Refused::Conflict) => {}
                other => return other.map(drop),
            }
        }
        Err(Refused::Conflict)
    }

    async fn delete(&self, subject: Subject, name: &str) -> Result<(), String> {
        let api = self.api(subject);
        match api.delete(name, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(()),
            other => drop(other.map_err(text)?),
        }
        let begun = Instant::now();
        while api.get_metadata_opt(name).await.map_err(text)?.is_some() {
            if begun.elapsed() > LIMIT {
                return Err(format!("{name} is not let go of"));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Ends the operator, and looks whether anything in it went wrong without a word.
    pub(super) async fn close(self) -> Result<(), String> {
        let log = self.operator.log().to_owned();
        self.operator.terminate(LIMIT).await.map_err(text)?;
        let log = std::fs::read_to_string(log).map_err(text)?;
        let infos = self.farm.simulator().printers();
        let codes = infos.iter().filter_map(|info| info.bambu.as_ref()).map(|bambu| bambu.access_code.as_str());
        crate::life::tells_no_secret(&log, infos.iter().map(|info| info.password.as_str()).chain(codes))?;
        self.namespace.delete().await.map_err(text)
    }
}

fn resource(subject: Subject) -> ApiResource {
    let (kind, plural) = if subject == Subject::PrintJob { ("PrintJob", "printjobs") } else { ("Printer", "printers") };
    let kind = GroupVersionKind::gvk("printernizer.io", "v1alpha1", kind);
    ApiResource::from_gvk_with_plural(&kind, plural)
}

fn refused(error: kube::Error) -> Refused {
    match error {
        kube::Error::Api(status) if status.is_conflict() || status.is_already_exists() => Refused::Conflict,
        kube::Error::Api(status) => Refused::With(status.message),
        other => Refused::With(other.to_string()),
    }
}

fn status(object: Option<&DynamicObject>) -> String {
    object.map_or_else(|| "gone".to_owned(), |object| object.data["status"].to_string())
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
