//! Charts as somebody installs them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use super::super::{NodeError, Programs, run};
use crate::tools::first_release;

/// Namespace of the release.
pub(super) const NAMESPACE: &str = "printernizer";
/// Name of the release.
pub(super) const RELEASE: &str = "printernizer";
/// How long helm waits for the pods.
const WAIT: &str = "240s";
/// How long helm itself may take.
const LIMIT: Duration = Duration::from_secs(300);

/// The values for backups. The first release knows none.
fn backups(version: &str) -> [String; 4] {
    let set = |value: String| ["--set".to_owned(), value];
    let [a, b] = set("backup.image.repository=localhost/printernizer-backup".to_owned());
    let [c, d] = set(format!("backup.image.tag={version}"));
    [a, b, c, d]
}

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
        if version != first_release::VERSION {
            command.args(backups(version));
        }
        run(&mut command, LIMIT).await.map(drop)
    }

    /// Makes the release that of another chart, with its image.
    pub(super) async fn upgrade(&self, kubeconfig: &Path, chart: &Path, version: &str) -> Result<(), NodeError> {
        let tag = format!("image.tag={version}");
        let mut command = self.command(kubeconfig, &["upgrade", RELEASE]);
        command.arg(chart).args(["--reset-then-reuse-values", "--set", &tag]).args(backups(version));
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
