//! A whole farm for tests and the demo: a control plane, simulated printers, and the operator as a process. Its words
//! are those of a workshop: a printer is added, a part is printed, a bed is cleared. It judges nothing; tests do, by the
//! simulator's ledger and by what the API server says.

mod operator;
mod traffic;

use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use printernizer_crds::{ConditionType, Conditions, PrintJob, Printer};
use printernizer_simulator::{Action, PrinterHandle, PrinterInfo, Simulator};
use serde_json::json;
use thiserror::Error;

use crate::cluster::Cluster;
use crate::{CrdError, NamespaceError, wait_until};
pub use operator::{Operator, OperatorOptions, Surroundings};
pub use traffic::Requests;

/// What can go wrong around a farm, as opposed to on it.
#[derive(Debug, Error)]
pub enum FarmError {
    /// The control plane.
    #[error("the control plane: {0}")]
    Cluster(#[from] crate::cluster::Error),
    /// The definitions.
    #[error("the definitions: {0}")]
    Crds(#[from] CrdError),
    /// The namespace.
    #[error("the namespace: {0}")]
    Namespace(#[from] NamespaceError),
    /// The simulator.
    #[error("the simulator: {0}")]
    Simulator(#[from] printernizer_simulator::Error),
    /// A person at a machine who cannot do what was asked.
    #[error("at the machine: {0}")]
    Act(#[from] printernizer_simulator::ActError),
    /// The API server.
    #[error("the API server: {0}")]
    Api(#[from] kube::Error),
    /// A file or process.
    #[error("files and processes: {0}")]
    Files(#[source] std::io::Error),
    /// The operator's program cannot be started.
    #[error("{program} cannot be started; build it with cargo build -p printernizer")]
    Program {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Something did not happen in time.
    #[error("{0}")]
    Waited(String),
}

/// Longest wait for an answer of a process on this machine, also while it is busy with other things.
const HTTP_LIMIT: Duration = Duration::from_secs(30);

/// The project's folder.
pub fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Simulated printers, and a namespace of a cluster that knows them.
pub struct Farm {
    client: Client,
    namespace: String,
    simulator: Simulator,
}

impl Farm {
    /// A farm in a namespace that exists, with definitions applied. Adds nothing to it yet.
    pub fn new(client: Client, namespace: impl Into<String>, simulator: Simulator) -> Self {
        Self { client, namespace: namespace.into(), simulator }
    }

    /// Applies the project's definitions to a cluster.
    pub async fn define(cluster: &Cluster) -> Result<(), FarmError> {
        let client = cluster.client().await?;
        crate::apply_crds(&client, &project().join("crds/manifests")).await?;
        Ok(())
    }

    /// The client.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The simulated printers, and their ledger.
    pub fn simulator(&self) -> &Simulator {
        &self.simulator
    }

    /// The machine of this name.
    pub fn machine(&self, name: &str) -> Result<PrinterHandle, FarmError> {
        Ok(self.simulator.printer(name)?)
    }

    /// Printers.
    pub fn printers(&self) -> Api<Printer> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// PrintJobs.
    pub fn jobs(&self) -> Api<PrintJob> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Adds every simulated printer, each with its Secret, a spool of PLA, and the default model.
    pub async fn add_printers(&self) -> Result<(), FarmError> {
        for info in self.simulator.printers() {
            self.add_printer(&info, &info.url, json!({})).await?;
        }
        Ok(())
    }

    /// Adds the Secret of one printer, under the printer's name.
    pub async fn add_secret(&self, info: &PrinterInfo) -> Result<(), FarmError> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let (data, _) = described(info, "");
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": info.name, "labels": { "printernizer.io/usage": "printer" } },
            "stringData": data,
        });
        let params = PatchParams::apply("farm").force();
        secrets.patch(&info.name, &params, &Patch::Apply(secret)).await?;
        Ok(())
    }

    /// Adds one printer; `more` is merged into its spec. One with PrusaLink is reached at `url`, a Bambu Lab one where it
    /// is, its key pinned.
    pub async fn add_printer(
        &self,
        info: &PrinterInfo,
        url: &str,
        more: serde_json::Value,
    ) -> Result<Printer, FarmError> {
        self.add_secret(info).await?;
        let (_, spec) = described(info, url);
        let params = PatchParams::apply("farm").force();
        let mut printer = json!({
            "apiVersion": "printernizer.io/v1alpha1", "kind": "Printer", "metadata": { "name": info.name }, "spec": spec,
        });
        merge(&mut printer["spec"], more);
        Ok(self.printers().patch(&info.name, &params, &Patch::Apply(printer)).await?)
    }

    /// Puts a print file into a ConfigMap of this name, under the key `part.gcode`.
    pub async fn add_file(&self, name: &str, bytes: Vec<u8>) -> Result<(), FarmError> {
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let mut map = ConfigMap::default();
        map.metadata.name = Some(name.into());
        map.binary_data = Some([("part.gcode".to_owned(), k8s_openapi::ByteString(bytes))].into());
        maps.create(&PostParams::default(), &map).await?;
        Ok(())
    }

    /// Asks for a print of the file in this ConfigMap; `more` is merged into the job's spec.
    pub async fn print(&self, job: &str, file: &str, more: serde_json::Value) -> Result<PrintJob, FarmError> {
        let mut object = json!({
            "apiVersion": "printernizer.io/v1alpha1", "kind": "PrintJob",
            "metadata": { "name": job },
            "spec": { "displayName": job, "source": { "configMap": { "name": file, "key": "part.gcode" } } },
        });
        merge(&mut object["spec"], more);
        let params = PatchParams::apply("farm").force();
        Ok(self.jobs().patch(job, &params, &Patch::Apply(object)).await?)
    }

    /// Changes a job's spec as `kubectl patch --type merge` does.
    pub async fn change_job(&self, job: &str, spec: serde_json::Value) -> Result<PrintJob, FarmError> {
        let patch = Patch::Merge(json!({ "spec": spec }));
        Ok(self.jobs().patch(job, &PatchParams::default(), &patch).await?)
    }

    /// Changes a printer's spec as `kubectl patch --type merge` does.
    pub async fn change_printer(&self, printer: &str, spec: serde_json::Value) -> Result<Printer, FarmError> {
        let patch = Patch::Merge(json!({ "spec": spec }));
        Ok(self.printers().patch(printer, &PatchParams::default(), &patch).await?)
    }

    /// Waits until the job is as wanted, and gives it.
    pub async fn job(
        &self,
        name: &str,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&PrintJob) -> bool,
    ) -> Result<PrintJob, FarmError> {
        let jobs = self.jobs();
        let description = format!("{name} {what}");
        let found = wait_until(&description, limit, async || {
            let job = jobs.get(name).await.map_err(|e| e.to_string())?;
            if wanted(&job) { Ok(job) } else { Err(in_short(&job)) }
        });
        found.await.map_err(|e| FarmError::Waited(e.to_string()))
    }

    /// Waits until the printer is as wanted, and gives it.
    pub async fn printer(
        &self,
        name: &str,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&Printer) -> bool,
    ) -> Result<Printer, FarmError> {
        let printers = self.printers();
        let description = format!("{name} {what}");
        let found = wait_until(&description, limit, async || {
            let printer = printers.get(name).await.map_err(|e| e.to_string())?;
            if wanted(&printer) {
                return Ok(printer);
            }
            let conditions = printer.status.iter().flat_map(|s| &s.conditions);
            Err(conditions
                .map(|c| format!("{}={} {} {}", c.type_, c.status, c.reason, c.message))
                .collect::<Vec<_>>()
                .join("; "))
        });
        found.await.map_err(|e| FarmError::Waited(e.to_string()))
    }

    /// Does what a person does who walks by: takes parts off the beds that wait for it and confirms it. A printer that
    /// is still printing is left alone. Gives the names of the printers whose beds were cleared.
    pub async fn clear_beds(&self) -> Result<Vec<String>, FarmError> {
        let mut cleared = Vec::new();
        for printer in self.printers().list(&ListParams::default()).await? {
            if waiting_bed(&printer).is_some() {
                self.clear_bed(&printer).await?;
                cleared.push(printer.name_any());
            }
        }
        Ok(cleared)
    }

    /// Takes the part off the bed of this printer, if its bed waits for that, and confirms it.
    pub async fn clear_bed(&self, printer: &Printer) -> Result<(), FarmError> {
        let Some(id) = waiting_bed(printer) else { return Ok(()) };
        let name = printer.name_any();
        let machine = self.machine(&name)?;
        if machine.state().bed_occupied {
            machine.person(&Action::TakePartOff)?;
        }
        self.change_printer(&name, json!({ "bed": { "clearedFor": id } })).await?;
        Ok(())
    }
}

/// What a person would write about a simulated printer: the data of its Secret, and its spec.
fn described(info: &PrinterInfo, url: &str) -> (serde_json::Value, serde_json::Value) {
    let Some(bambu) = &info.bambu else {
        let data = json!({ "username": info.username, "password": info.password.as_str() });
        let spec = json!({
            "model": "Prusa CORE One",
            "connection": { "prusaLink": {
                "url": url,
                "serialNumber": info.serial_number,
                "credentialsSecretRef": { "name": info.name },
            } },
            "capabilities": { "nozzle": { "diameterMicrometers": 400 } },
            "slots": [{ "slot": "Main", "material": "PLA" }],
        });
        return (data, spec);
    };
    let spec = json!({
        "model": "Bambu Lab A1",
        "connection": { "bambu": {
            "host": bambu.host,
            "mqttPort": bambu.mqtt_port,
            "ftpsPort": bambu.ftps_port,
            "serialNumber": info.serial_number,
            "accessCodeSecretRef": { "name": info.name, "key": "accessCode" },
            "tls": { "verification": "PinnedKey", "publicKeySHA256": bambu.public_key_sha256 },
        } },
    });
    (json!({ "accessCode": bambu.access_code.as_str() }), spec)
}

/// The id a person confirms to clear the bed of this printer; `None` while it is clear, a print is running, or it was
/// confirmed already.
pub fn waiting_bed(printer: &Printer) -> Option<&str> {
    let status = printer.status.as_ref()?;
    let bed = status.bed.as_ref().filter(|b| !b.print_in_progress)?;
    let id = bed.occupancy_id.as_ref()?;
    let waits =
        !status.conditions.is_true(ConditionType::BedCleared) && printer.spec.bed.cleared_for.as_ref() != Some(id);
    waits.then_some(id.as_str())
}

/// A job in one line, for the message of a failed wait.
pub fn in_short(job: &PrintJob) -> String {
    let Some(status) = job.status.as_ref() else { return "no status yet".into() };
    let conditions = status.conditions.iter().map(|c| format!("{}={} {}: {}", c.type_, c.status, c.reason, c.message));
    format!("{:?} attempt {}; {}", status.phase, status.attempt, conditions.collect::<Vec<_>>().join("; "))
}

fn merge(into: &mut serde_json::Value, more: serde_json::Value) {
    match (into, more) {
        (serde_json::Value::Object(into), serde_json::Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(serde_json::Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}

/// A small GET over plain HTTP, for metrics, health and Prometheus on loopback.
pub(crate) async fn http_get(url: &str) -> Result<String, FarmError> {
    Ok(http(url, None).await?.1)
}

/// A small request over plain HTTP to a program of ours, with a body or without; gives the status line and the body.
/// Of HTTP/1.0, so that the answer is not cut into chunks.
pub(crate) async fn http(url: &str, post: Option<&serde_json::Value>) -> Result<(String, String), FarmError> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let rest = url.strip_prefix("http://").unwrap_or(url);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let ask = async {
        let mut stream = tokio::net::TcpStream::connect(host).await?;
        let (method, body) = post.map_or(("GET", String::new()), |body| ("POST", body.to_string()));
        let request = format!(
            "{method} /{path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = tokio::time::timeout(HTTP_LIMIT, ask)
        .await
        .map_err(|_| FarmError::Waited(format!("{url} did not answer")))?
        .map_err(FarmError::Files)?;
    let status = answer.lines().next().unwrap_or_default().to_owned();
    Ok((status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()))
}
