//! A real Prometheus that reads metrics every second, and answers queries.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;
use tokio::process::Command;

use super::{Server, ServerError, directory, free_address};
use crate::farm::http_get;
use crate::tools;

/// A running Prometheus. Dropping it ends it.
#[derive(Debug)]
pub struct PrometheusServer {
    server: Server,
}

/// One series of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its labels.
    pub labels: Vec<(String, String)>,
    /// Its value now; not a number where a share of nothing was asked for.
    pub value: f64,
}

impl PrometheusServer {
    /// Starts one that reads `/metrics` at these addresses, as the targets of a job of this name in this namespace, and
    /// evaluates the rules of this file.
    pub async fn start(
        targets: &[SocketAddr],
        (namespace, job): (&str, &str),
        rules: &Path,
    ) -> Result<Self, ServerError> {
        let fetching = tokio::task::spawn_blocking(|| tools::prometheus(&mut |_| {}));
        let programs = fetching.await.map_err(|error| ServerError::Start(error.to_string()))??;
        let (directory, address) = (directory()?, free_address(None)?);
        let at = directory.path();
        let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
        let configuration = serde_json::json!({
            "global": { "scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s" },
            "rule_files": [rules],
            "scrape_configs": [{
                "job_name": job,
                "static_configs": [{ "targets": targets, "labels": { "namespace": namespace } }],
            }],
        });
        // JSON is YAML.
        std::fs::write(at.join("prometheus.yaml"), configuration.to_string())?;
        let mut command = Command::new(programs.server);
        command.arg(format!("--config.file={}", at.join("prometheus.yaml").display()));
        command.arg(format!("--storage.tsdb.path={}", at.join("data").display()));
        command.arg(format!("--web.listen-address={address}"));
        Ok(Self { server: Server::start(command, directory, address).await? })
    }

    /// What the expression comes to now.
    pub async fn query(&self, expression: &str) -> Result<Vec<Sample>, ServerError> {
        let answer = self.get(&format!("query?query={}", percent_encoded(expression))).await?;
        let number = |text: &Value| text.as_str().and_then(|text| text.parse().ok());
        let data = &answer["data"];
        if data["resultType"] == "scalar" {
            let value = number(&data["result"][1]).unwrap_or(f64::NAN);
            return Ok(vec![Sample { labels: Vec::new(), value }]);
        }
        let series = data["result"].as_array().into_iter().flatten();
        let samples = series.filter_map(|series| {
            let labels = series["metric"].as_object()?.iter();
            let labels = labels.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()));
            Some(Sample { labels: labels.collect(), value: number(&series["value"][1])? })
        });
        Ok(samples.collect())
    }

    /// Names of all metrics it knows.
    pub async fn names(&self) -> Result<Vec<String>, ServerError> {
        let answer = self.get("label/__name__/values").await?;
        Ok(answer["data"].as_array().into_iter().flatten().filter_map(|n| n.as_str().map(str::to_owned)).collect())
    }

    /// The rules it has loaded, each with the error of its last evaluation, if there was one.
    pub async fn rules(&self) -> Result<Vec<(String, Option<String>)>, ServerError> {
        let answer = self.get("rules").await?;
        let groups = answer["data"]["groups"].as_array().into_iter().flatten();
        let rules = groups.flat_map(|group| group["rules"].as_array().into_iter().flatten());
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        // Without an evaluation there is nothing to tell yet.
        let evaluated = rules.filter(|rule| rule["health"] != "unknown");
        Ok(evaluated.filter_map(|rule| Some((text(&rule["name"])?, text(&rule["lastError"])))).collect())
    }

    async fn get(&self, path: &str) -> Result<Value, ServerError> {
        let url = format!("http://{}/api/v1/{path}", self.server.address);
        let text = http_get(&url).await.map_err(|error| ServerError::Start(error.to_string()))?;
        let answer: Value =
            serde_json::from_str(&text).map_err(|error| ServerError::Start(format!("{url}: {error}: {text}")))?;
        if answer["status"] == "success" { Ok(answer) } else { Err(ServerError::Start(format!("{url}: {text}"))) }
    }
}

fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
