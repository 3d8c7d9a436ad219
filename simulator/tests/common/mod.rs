//! A PrusaLink client for these tests only, written from the protocol's facts: digest as in RFC 2069, one connection
//! per request. Shares no code with any driver or with the simulator.

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic, its helpers too")]

use std::time::Duration;

use md5::{Digest, Md5};
use printernizer_simulator::{Config, MachineTimings, PrinterHandle, PrinterInfo, PrinterState, Simulator};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::Value;

/// Nothing in these tests takes longer, also on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A print of this many simulated seconds.
pub fn gcode(seconds: u64) -> String {
    format!("G28\nG1 X10\n; estimated printing time (normal mode) = {seconds}s\n")
}

/// One printer whose own steps take no time; prints take their simulated time.
pub async fn one_printer(time_scale: f64) -> (Simulator, PrinterHandle, Buddy) {
    start(Config { machine: instant(), ..Config::prusalink(1).time_scale(time_scale) }).await
}

/// The first printer of this configuration.
pub async fn start(config: Config) -> (Simulator, PrinterHandle, Buddy) {
    let simulator = Simulator::start(config).await.unwrap();
    let info = simulator.printers().remove(0);
    let handle = simulator.printer(&info.name).unwrap();
    (simulator, handle, Buddy::new(info))
}

pub fn instant() -> MachineTimings {
    MachineTimings {
        starting_milliseconds: 0,
        pausing_milliseconds: 0,
        resuming_milliseconds: 0,
        aborting_milliseconds: 0,
        finishing_milliseconds: 0,
        recovering_milliseconds: 0,
    }
}

pub fn md5_hex(text: &str) -> String {
    format!("{:x}", Md5::digest(text))
}

/// The `Authorization` of RFC 2069 for one request.
pub fn authorization(info: &PrinterInfo, nonce: &str, method: &str, target: &str) -> String {
    let user = md5_hex(&format!("maker:Printer API:{}", info.password.as_str()));
    let response = md5_hex(&format!("{user}:{nonce}:{}", md5_hex(&format!("{method}:{target}"))));
    format!(r#"Digest username="maker", realm="Printer API", nonce="{nonce}", uri="{target}", response="{response}""#)
}

/// A client of one printer.
#[derive(Debug, Clone)]
pub struct Buddy {
    pub info: PrinterInfo,
    pub client: Client,
}

impl Buddy {
    pub fn new(info: PrinterInfo) -> Self {
        let client = http_client(|builder| builder.pool_max_idle_per_host(0));
        Self { info, client }
    }

    /// A request that logs in by key.
    pub fn request(&self, method: Method, target: &str) -> RequestBuilder {
        let url = format!("{}{target}", self.info.url);
        self.client.request(method, url).header("X-Api-Key", self.info.password.as_str())
    }

    pub async fn get(&self, target: &str) -> Response {
        self.request(Method::GET, target).send().await.unwrap()
    }

    pub async fn json(&self, target: &str) -> Value {
        let response = self.get(target).await;
        assert_eq!(response.status(), 200, "{target}");
        response.json().await.unwrap()
    }

    pub async fn status(&self, method: Method, target: &str) -> u16 {
        self.request(method, target).send().await.unwrap().status().as_u16()
    }

    pub async fn state(&self) -> String {
        self.json("/api/v1/status").await["printer"]["state"].as_str().unwrap().to_owned()
    }

    pub async fn has_job(&self) -> bool {
        self.json("/api/v1/status").await.get("job").is_some()
    }

    pub async fn upload(&self, name: &str, content: impl Into<String>) -> Response {
        let target = format!("/api/v1/files/usb/{name}");
        self.request(Method::PUT, &target).body(content.into()).send().await.unwrap()
    }

    /// Uploads and asks for the print in one request.
    pub async fn upload_and_print(&self, name: &str, content: impl Into<String>) -> Response {
        let request = self.request(Method::PUT, &format!("/api/v1/files/usb/{name}"));
        request.header("Print-After-Upload", "?1").body(content.into()).send().await.unwrap()
    }

    /// Asks for the print of a stored file.
    pub async fn print(&self, name: &str) -> u16 {
        self.status(Method::POST, &format!("/api/v1/files/usb/{name}")).await
    }

    /// Uploads, starts, and expects both to work.
    pub async fn upload_then_print(&self, name: &str, seconds: u64) {
        assert_eq!(self.upload(name, gcode(seconds)).await.status(), 201);
        assert_eq!(self.print(name).await, 204);
    }

    /// Whether this is the id of the current or last job.
    pub async fn probes(&self, id: u16) -> bool {
        match self.status(Method::PUT, &format!("/api/v1/job/{id}/x")).await {
            400 => true,
            404 => false,
            other => panic!("the probe answered {other}"),
        }
    }
}

/// Waits until the machine itself, not the network, is as wanted.
pub async fn until(printer: &PrinterHandle, what: &str, condition: impl Fn(&PrinterState) -> bool) {
    assert!(printer.wait_for(PATIENCE, condition).await, "never {what}: {:?}", printer.state());
}

/// Waits for a state string.
pub async fn until_link_state(printer: &PrinterHandle, wanted: &str) {
    until(printer, wanted, |state| state.link_state.as_deref() == Some(wanted)).await;
}

/// A client of its own. No test speaks TLS, but the library wants to know who would.
pub(crate) fn http_client(more: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder) -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    more(Client::builder().no_proxy().timeout(PATIENCE)).build().unwrap()
}
