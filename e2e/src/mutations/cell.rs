//! One operator with a namespace of its own and a machine of each kind, in which one object after the other is changed.

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
use crate::cluster::Cluster;
use crate::farm::{Farm, Operator, OperatorOptions};
use crate::{Namespace, wait_until};

/// How long an object may take to where it comes to; most take a second.
const LIMIT: Duration = Duration::from_secs(60);
/// How long an object must be in a state before it is believed to last.
const LASTS: Duration = Duration::from_millis(1_200);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(150);
/// How often a change is made anew because the operator wrote in between.
const CONFLICTS: usize = 20;
/// The operator's windows run this much faster.
const FASTER: u32 = 100;

/// The object.
const NAME: &str = "subject";

/// Stand in a spec for what is known of the machine only when it runs.
const URL: &str = "http://machine";
const SERIAL: &str = "MACHINE00000000";
const SECRET: &str = "machine";
const KEY: &str = "0000000000000000000000000000000000000000000000000000000000000000";
const MQTT: u16 = 64_001;
const FTPS: u16 = 64_002;

/// One operator, its namespace, its machines.
pub(super) struct Cell {
    farm: Farm,
    namespace: Namespace,
    operator: Operator,
    _directory: TempDir,
}

/// The spec that is changed, as a person would have written it; what only the machine knows is filled in later.
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
        let mut config = Config::prusalink(1).time_scale(f64::from(FASTER));
        config.printers.push(PrinterConfig::bambu("bambu-1"));
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
        self.delete(mutation.subject).await?;
        if !self.operator.is_running() {
            return Err(format!("the operator ended\n{}", self.operator.tail()));
        }
        outcome
    }

    /// First a new object of the spec, then one that is changed to it: both stand for the same machine, so one at a time.
    async fn changed(&self, mutation: &Mutation) -> Result<Outcome, String> {
        let (subject, spec) = (mutation.subject, &mutation.spec);
        let anew = match self.create(subject, spec).await {
            Ok(()) => Some(self.settled(subject, None).await.map_err(|e| format!("a new object: {e}"))?),
            Err(Refused::With(why)) if !why.trim().is_empty() => None,
            Err(_) => return Err("a new object was refused without a word".into()),
        };
        self.delete(subject).await?;
        self.create(subject, &base(subject)).await.map_err(|_| "the object that was to be changed was refused")?;
        self.settled(subject, None).await.map_err(|e| format!("before the change: {e}"))?;
        match (self.replace(subject, spec).await, anew) {
            (Ok(()), Some(anew)) => {
                self.settled(subject, Some(&anew)).await.map_err(|e| format!("a new object is\n  {anew}\nand {e}"))?;
                Ok(Outcome::Converged)
            }
            (Ok(()), None) => Err("refused anew, and taken as a change".into()),
            (Err(Refused::Conflict), _) => Err("the operator writes without an end".into()),
            (Err(Refused::With(why)), _) if why.trim().is_empty() => Err("refused without a word".into()),
            (Err(Refused::With(_)), _) => Ok(Outcome::Rejected),
        }
    }

    /// Waits until the object is in a state, or in this one, and stays in it; gives it. An object that ended and was not
    /// to be kept is in the state of being gone.
    async fn settled(&self, subject: Subject, wanted: Option<&Value>) -> Result<Value, String> {
        let begun = Instant::now();
        let mut since: Option<(Instant, Value)> = None;
        loop {
            let object = self.api(subject).get_opt(NAME).await.map_err(text)?;
            let state =
                object.as_ref().map_or(Some(json!("gone")), |object| state(&serde_json::to_value(object).ok()?));
            since = match (state.filter(|state| wanted.is_none_or(|wanted| wanted == state)), since) {
                (Some(state), Some((since, before))) if state == before => Some((since, before)),
                (state, _) => state.map(|state| (Instant::now(), state)),
            };
            if let Some((_, state)) = since.as_ref().filter(|(since, _)| since.elapsed() >= LASTS) {
                return Ok(state.clone());
            }
            if begun.elapsed() > LIMIT {
                let status = object.map_or_else(|| "gone".to_owned(), |object| object.data["status"].to_string());
                return Err(format!("after {LIMIT:?} it is\n  {status}"));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The machine of a Printer.
    fn machine(&self, subject: Subject) -> Option<PrinterInfo> {
        let name = match subject {
            Subject::PrusaPrinter => "prusa-1",
            Subject::BambuPrinter => "bambu-1",
            Subject::PrintJob => return None,
        };
        self.farm.machine(name).ok().map(|machine| machine.info())
    }

    fn api(&self, subject: Subject) -> Api<DynamicObject> {
        Api::namespaced_with(self.farm.client(), self.farm.namespace(), &resource(subject))
    }

    fn spec(&self, subject: Subject, spec: &Value) -> Value {
        self.machine(subject).map_or_else(|| spec.clone(), |info| of_machine(spec, &info))
    }

    async fn create(&self, subject: Subject, spec: &Value) -> Result<(), Refused> {
        let mut object = DynamicObject::new(NAME, &resource(subject));
        object.data = json!({ "spec": self.spec(subject, spec) });
        self.api(subject).create(&PostParams::default(), &object).await.map(drop).map_err(refused)
    }

    /// Changes the spec of the object, as it is now.
    async fn replace(&self, subject: Subject, spec: &Value) -> Result<(), Refused> {
        let api = self.api(subject);
        for _ in 0..CONFLICTS {
            let mut object = api.get(NAME).await.map_err(refused)?;
            object.data["spec"] = self.spec(subject, spec);
            match api.replace(NAME, &PostParams::default(), &object).await.map_err(refused) {
                Err(Refused::Conflict) => {}
                other => return other.map(drop),
            }
        }
        Err(Refused::Conflict)
    }

    async fn delete(&self, subject: Subject) -> Result<(), String> {
        let api = self.api(subject);
        match api.delete(NAME, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(()),
            other => drop(other.map_err(text)?),
        }
        let gone = wait_until("the object is let go of", LIMIT, async || match api.get_metadata_opt(NAME).await {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err("it is still there".to_owned()),
            Err(error) => Err(error.to_string()),
        });
        gone.await.map_err(text)
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

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
