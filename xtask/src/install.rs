//! What the demo and the tests need of the machine: looks for it, and installs what Debian has when it may.
//!
//! It installs nothing unless it runs as root on a machine with apt-get; otherwise it says the exact command. It never
//! installs anything that Debian does not ship: for that it says where it comes from.

use std::process::{Command, Stdio};

use crate::error::Error;
use crate::process::{describe, say, stream};

/// Oldest Go that builds the control plane; e2e/cluster/go.mod asks for it.
const GO_MINOR: u32 = 26;

/// What a thing may be needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// To compile the project.
    Build,
    /// To check and test it.
    Test,
    /// To build the control plane.
    ControlPlane,
}

/// One thing that is needed.
struct Need {
    /// What it is for, as a person would say it.
    purpose: &'static str,
    /// A command that succeeds where it is there.
    probe: &'static [&'static str],
    /// Whether the probe's output is good enough, beyond its success.
    suffices: fn(&str) -> bool,
    /// Where it comes from.
    source: Source,
    /// What for.
    used: Use,
}

enum Source {
    /// Debian packages.
    Debian(&'static [&'static str]),
    /// Anything else: what a person should do.
    Elsewhere(&'static str),
}

const NEEDS: &[Need] = &[
    Need {
        purpose: "a C compiler, for the cryptography in ring",
        probe: &["cc", "--version"],
        suffices: |_| true,
        source: Source::Debian(&["gcc", "libc6-dev"]),
        used: Use::Build,
    },
    Need {
        purpose: "rustfmt",
        probe: &["cargo", "fmt", "--version"],
        suffices: |_| true,
        source: Source::Elsewhere("run `rustup component add rustfmt`"),
        used: Use::Test,
    },
    Need {
        purpose: "clippy",
        probe: &["cargo", "clippy", "--version"],
        suffices: |_| true,
        source: Source::Elsewhere("run `rustup component add clippy`"),
        used: Use::Test,
    },
    Need {
        purpose: "Python with venv, for the test against Prusa's own PrusaLink program",
        probe: &["python3", "-c", "import ensurepip, venv"],
        suffices: |_| true,
        source: Source::Debian(&["python3", "python3-venv"]),
        used: Use::Test,
    },
    Need {
        purpose: "Go 1.26 or newer, for the control plane of demo and tests",
        probe: &["go", "version"],
        suffices: go_suffices,
        source: Source::Elsewhere("install it from https://go.dev/dl and put it on the PATH"),
        used: Use::ControlPlane,
    },
];

fn go_suffices(version: &str) -> bool {
    let minor = version
        .split_whitespace()
        .find_map(|word| word.strip_prefix("go1."))
        .map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
    minor.and_then(|digits| digits.parse::<u32>().ok()).is_some_and(|minor| minor >= GO_MINOR)
}

/// Sees to it that everything for these uses is there.
pub fn ensure(uses: &[Use]) -> Result<(), Error> {
    let wanted = || NEEDS.iter().filter(|need| uses.contains(&need.used));
    let missing: Vec<&Need> = wanted().filter(|need| !present(need)).collect();
    let packages = packages(&missing);
    if !packages.is_empty() && may_install() {
        say(&format!("installing {}", packages.join(" ")));
        apt_get(&["update"])?;
        apt_get(&[&["install", "--yes", "--no-install-recommends"], packages.as_slice()].concat())?;
    }
    let missing: Vec<&Need> = wanted().filter(|need| !present(need)).collect();
    if missing.is_empty() { Ok(()) } else { Err(Error::Missing(advice(&missing))) }
}

fn present(need: &Need) -> bool {
    let Some((program, arguments)) = need.probe.split_first() else { return false };
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    output.is_ok_and(|o| o.status.success() && (need.suffices)(&String::from_utf8_lossy(&o.stdout)))
}

fn packages(missing: &[&Need]) -> Vec<&'static str> {
    let of = |need: &&Need| match need.source {
        Source::Debian(packages) => packages,
        Source::Elsewhere(_) => &[],
    };
    missing.iter().flat_map(of).copied().collect()
}

fn advice(missing: &[&Need]) -> String {
    let mut lines: Vec<String> = missing
        .iter()
        .map(|need| match need.source {
            Source::Debian(_) => need.purpose.to_owned(),
            Source::Elsewhere(advice) => format!("{}: {advice}", need.purpose),
        })
        .collect();
    let packages = packages(missing);
    if !packages.is_empty() {
        lines.push(format!("run: sudo apt-get update && sudo apt-get install --yes {}", packages.join(" ")));
    }
    lines.join("\n  ")
}

fn may_install() -> bool {
    let succeeds = |program: &str, argument: &str| {
        Command::new(program).arg(argument).stdin(Stdio::null()).output().ok().filter(|o| o.status.success())
    };
    let root = succeeds("id", "-u").is_some_and(|o| o.stdout.trim_ascii() == b"0");
    root && succeeds("apt-get", "--version").is_some()
}

fn apt_get(arguments: &[&str]) -> Result<(), Error> {
    let mut command = Command::new("apt-get");
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    let finished = stream(&mut command)?;
    if finished.status.success() {
        return Ok(());
    }
    Err(Error::Missing(format!("`{}` ended with {}: see its output above", describe(&command), finished.status)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(source: Source, probe: &'static [&'static str]) -> Need {
        Need { purpose: "a thing", probe, suffices: |_| true, source, used: Use::Test }
    }

    #[test]
    fn go_is_new_enough_from_the_version_the_module_asks_for() {
        assert!(go_suffices("go version go1.26.8 linux/amd64\n"));
        assert!(go_suffices("go version go1.30rc1 linux/arm64\n"));
        assert!(!go_suffices("go version go1.24.4 linux/amd64\n"));
        assert!(!go_suffices("go: not found"));
    }

    #[test]
    fn a_missing_debian_package_is_named_in_one_command() {
        let (a, b) = (need(Source::Debian(&["gcc", "libc6-dev"]), &[]), need(Source::Debian(&["python3"]), &[]));
        let text = advice(&[&a, &b]);
        assert!(text.ends_with("sudo apt-get install --yes gcc libc6-dev python3"), "{text}");
    }

    #[test]
    fn what_debian_has_not_is_told_with_its_source_and_never_installed() {
        let go = need(Source::Elsewhere("get it from there"), &[]);
        assert_eq!(advice(&[&go]), "a thing: get it from there");
        assert!(packages(&[&go]).is_empty());
    }

    #[test]
    fn a_program_that_fails_or_is_not_there_is_missing() {
        assert!(present(&need(Source::Elsewhere(""), &["true"])));
        assert!(!present(&need(Source::Elsewhere(""), &["false"])));
        assert!(!present(&need(Source::Elsewhere(""), &["no-such-program-here"])));
    }
}
