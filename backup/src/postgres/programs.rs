//! PostgreSQL's programs, and the environment they run in.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use super::PostgresError;

/// Variables of ours that every program gets: where libraries and temporary files are.
const INHERITED: [&str; 3] = ["PATH", "LD_LIBRARY_PATH", "TMPDIR"];
/// How long a program may take to tell its version.
const VERSION_LIMIT: Duration = Duration::from_secs(60);

/// Where PostgreSQL's programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    folders: Vec<PathBuf>,
}

impl Programs {
    /// On the PATH of this process.
    pub fn on_path() -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        Self { folders: std::env::split_paths(&path).collect() }
    }

    /// In one folder.
    pub fn in_folder(folder: &Path) -> Self {
        Self { folders: vec![folder.to_owned()] }
    }

    /// One of them.
    pub(super) fn find(&self, program: &'static str) -> Result<PathBuf, PostgresError> {
        let paths = self.folders.iter().filter(|folder| folder.is_absolute()).map(|folder| folder.join(program));
        paths.into_iter().find(|path| path.is_file()).ok_or(PostgresError::ProgramMissing { program })
    }

    /// A command with an environment of its own: messages in English, which we read, and nothing of ours that is secret.
    pub(super) fn command(&self, program: &'static str) -> Result<Command, PostgresError> {
        let mut command = Command::new(self.find(program)?);
        command.env_clear().envs(environment()).stdin(Stdio::null()).kill_on_drop(true);
        Ok(command)
    }

    /// Major version of `pg_dump`.
    pub(super) async fn dump_version(&self) -> Result<u32, PostgresError> {
        let program = "pg_dump";
        let output = timeout(VERSION_LIMIT, self.command(program)?.arg("--version").output()).await;
        let output = output
            .map_err(|_| PostgresError::Silent { what: "pg_dump --version".to_owned(), limit: VERSION_LIMIT })?
            .map_err(|source| PostgresError::Program { program, source })?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        major(&said)
            .ok_or_else(|| PostgresError::Answer { what: "pg_dump --version", said: super::error::shown(&said) })
    }
}

/// What of our environment goes on to every program.
pub(super) fn environment() -> Vec<(OsString, OsString)> {
    let inherited = INHERITED.iter().filter_map(|name| Some((OsString::from(name), std::env::var_os(name)?)));
    inherited.chain([(OsString::from("LC_ALL"), OsStr::new("C").to_owned())]).collect()
}

/// The major version in what `pg_dump --version` says: `pg_dump (PostgreSQL) 17.6 (Debian 17.6-0+deb13u1)`, `... 18beta1`.
fn major(said: &str) -> Option<u32> {
    let (_, version) = said.split_once("(PostgreSQL)")?;
    let digits: String = version.trim_start().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_what_pg_dump_says() {
        assert_eq!(major("pg_dump (PostgreSQL) 17.6 (Debian 17.6-0+deb13u1)\n"), Some(17));
        assert_eq!(major("pg_dump (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(major("pg_dump: error: you do not exist\n"), None);
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = Programs::in_folder(Path::new("/nonexistent")).find("pg_dump").unwrap_err();
        assert!(error.to_string().contains("pg_dump is not on the PATH"), "{error}");
    }
}
