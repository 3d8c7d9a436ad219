//! The chart as somebody installs it, and the first chart there was.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use super::super::{NodeError, Programs, run};
use crate::farm::project;

/// Namespace of the release.
pub(super) const NAMESPACE: &str = "printernizer";
/// Name of the release.
pub(super) const RELEASE: &str = "printernizer";
/// The commit with which the operator could be installed for the first time.
const FIRST_CHART: &str = "09e320c434f3402ee2e6c584f90d0d553b570745";
/// How long helm waits for the pods.
const WAIT: &str = "240s";
/// How long helm itself may take.
const LIMIT: Duration = Duration::from_secs(300);

/// helm, with files of its own.
pub(super) struct Helm {
    program: PathBuf,
    home: PathBuf,
}

impl Helm {
    pub(super) fn new(folder: &Path, programs: &Programs) -> Self {
        Self { program: programs.helm.clone(), home: folder.join("helm") }
    }

    /// Installs a chart, and waits for its pods.
    pub(super) async fn install(&self, kubeconfig: &Path, chart: &Path, version: &str) -> Result<(), NodeError> {
        let tag = format!("image.tag={version}");
        let mut command = self.command(kubeconfig, &["install", RELEASE]);
        command.arg(chart).args(["--set", "image.repository=localhost/printernizer", "--set", &tag]);
        command.args(["--set", "printerNetworks={10.244.0.0/24}", "--wait", "--timeout", WAIT]);
        run(&mut command, LIMIT).await.map(drop)
    }

    /// Makes the release that of another chart.
    pub(super) async fn upgrade(&self, kubeconfig: &Path, chart: &Path) -> Result<(), NodeError> {
        let mut command = self.command(kubeconfig, &["upgrade", RELEASE]);
        // A release of the same image would keep its pods.
        command.arg(chart).args(["--reset-then-reuse-values", "--set", "podAnnotations.upgraded=yes"]);
        run(command.args(["--wait", "--timeout", WAIT]), LIMIT).await.map(drop)
    }

    /// Removes the release.
    pub(super) async fn uninstall(&self, kubeconfig: &Path) -> Result<(), NodeError> {
        let mut command = self.command(kubeconfig, &["uninstall", RELEASE]);
        run(command.args(["--wait", "--timeout", WAIT]), LIMIT).await.map(drop)
    }

    fn command(&self, kubeconfig: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.env("KUBECONFIG", kubeconfig).env("HOME", &self.home);
        for (variable, folder) in
            [("HELM_CACHE_HOME", "cache"), ("HELM_CONFIG_HOME", "config"), ("HELM_DATA_HOME", "data")]
        {
            command.env(variable, self.home.join(folder));
        }
        command.args(arguments).args(["--namespace", NAMESPACE]);
        command
    }
}

/// The first chart there was, taken out of the history. It comes with the definitions of its time.
pub(super) async fn first_chart(folder: &Path) -> Result<PathBuf, NodeError> {
    let (archive, place) = (folder.join("first-chart.tar"), folder.join("first-chart"));
    let mut command = Command::new("git");
    command.arg("-C").arg(project()).args(["archive", "--format=tar", "--output"]).arg(&archive);
    if let Err(error) = run(command.args([FIRST_CHART, "charts/printernizer"]), LIMIT).await {
        let advice = format!("the trial needs the project's history: git fetch --unshallow ({error})");
        return Err(NodeError::Missing { what: format!("the chart of commit {FIRST_CHART}"), advice });
    }
    std::fs::create_dir_all(&place).map_err(NodeError::file("make", &place))?;
    let mut command = Command::new("tar");
    run(command.arg("--extract").arg("--file").arg(&archive).arg("--directory").arg(&place), LIMIT).await?;
    Ok(place.join("charts/printernizer"))
}
