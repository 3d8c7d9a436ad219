//! What connections to many printers cost: opens one to each simulated printer, lets them report for a while, and prints
//! memory and processor time of this process for each connection. The printers run in a process of their own, so that
//! only the driver is measured:
//! `cargo run --release -p printernizer-simulator --bin printer-simulator -- --bambu 100 > ready.json`, then
//! `cargo run --release -p printernizer-bambu --example footprint -- ready.json 30`.

#![allow(clippy::print_stdout, reason = "its output is the result")]

use std::net::IpAddr;
use std::time::Duration;

use printernizer_bambu::{Config, Connection, SerialNumber, Timeouts, Trust};
use serde_json::Value;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let (Some(ready), Some(seconds)) = (arguments.next(), arguments.next()) else {
        return Err("usage: footprint READY.json SECONDS".into());
    };
    let seconds: u32 = seconds.parse()?;
    let ready: Value = serde_json::from_str(&std::fs::read_to_string(ready)?)?;
    let printers = ready["printers"].as_array().ok_or("no printers")?;
    let configs = printers.iter().map(config).collect::<Result<Vec<Config>, Failure>>()?;

    // The first connection pays for what is there once: allocator, runtime, tables of the cryptography.
    Connection::open(configs.first().ok_or("no printers")?).await?.close().await;
    let before = memory_kib()?;
    let mut tasks = Vec::new();
    for config in configs {
        tasks.push(tokio::spawn(async move {
            let mut connection = Connection::open(&config).await?;
            let mut reports = 0_u64;
            let watch = async {
                loop {
                    connection.changed().await?;
                    reports += 1;
                }
            };
            let ended: Result<Result<(), printernizer_bambu::Error>, _> =
                tokio::time::timeout(Duration::from_secs(seconds.into()) + Duration::from_secs(15), watch).await;
            match ended {
                Ok(Err(error)) => Err(error),
                _ => Ok(reports),
            }
        }));
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let cpu_before = processor_ticks()?;
    tokio::time::sleep(Duration::from_secs(seconds.into())).await;
    let (cpu, memory) = (processor_ticks()? - cpu_before, memory_kib()? - before);
    let count = f64::from(u32::try_from(tasks.len())?);
    let mut reports = 0;
    for task in tasks {
        reports += task.await??;
    }
    let share = f64::from(u32::try_from(cpu)?) / 100.0 / f64::from(seconds) / count * 100.0;
    let memory = f64::from(u32::try_from(memory)?) / count;
    println!("{count} connections, {reports} changes: {memory:.1} KiB and {share:.3} % of a core for each");
    Ok(())
}

fn config(printer: &Value) -> Result<Config, Failure> {
    let text = |key: &str| printer[key].as_str().ok_or_else(|| format!("a printer without {key}"));
    let port = |key: &str| printer[key].as_u64().and_then(|port| u16::try_from(port).ok()).ok_or("a port");
    let host: IpAddr = text("host")?.parse()?;
    Ok(Config {
        mqtt: (host, port("mqttPort")?).into(),
        ftps: (host, port("ftpsPort")?).into(),
        serial_number: SerialNumber::new(text("serialNumber")?)?,
        access_code: text("accessCode")?.to_owned().into(),
        trust: Trust::authorities_from_pem(text("certificateAuthorityPem")?.as_bytes())?,
        timeouts: Timeouts {
            full_report: Duration::from_secs(30),
            handshake: Duration::from_secs(30),
            ..Timeouts::default()
        },
    })
}

/// Resident memory of this process.
fn memory_kib() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.split_whitespace().nth(1).ok_or("no number")?.parse()?)
}

/// Processor time of this process in hundredths of a second.
fn processor_ticks() -> Result<u64, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().ok_or("no fields")?.split_whitespace().collect();
    let number = |index: usize| -> Result<u64, Failure> { Ok(fields.get(index).ok_or("no field")?.parse()?) };
    Ok(number(11)? + number(12)?)
}
