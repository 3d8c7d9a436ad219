//! What the demo and the tests need of the machine: looks for it, and installs what Debian has when it may.
//!
//! It installs nothing unless it runs as root on a machine with apt-get; otherwise it says the exact command. It never
//! installs anything that Debian does not ship: for that it says where it comes from. It removes no package, and starts
//! no service.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Command, Stdio};

use crate::error::Error;
use crate::process::{describe, say, stream};

/// Oldest Go that builds the control plane; e2e/cluster/go.mod asks for it.
const GO_MINOR: u32 = 26;

/// Packages with a service of the same name, which Debian would start at once and with every boot. Tests start their own
/// servers; the machine's must not begin to listen because somebody tests this project.
const SERVERS: &[&str] = &["mosquitto", "nginx", "vsftpd"];

/// How packages are installed. Without `--no-remove`, `--yes` also agrees to the removal of whatever conflicts with them:
/// Docker's containerd.io, for example, for Debian's runc.
const INSTALL: &[&str] = &["install", "--yes", "--no-remove", "--no-install-recommends"];

/// Asked by Debian's packages before they start a service; 101 forbids it.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// What a thing may be needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// To compile the project.
    Build,
    /// To check and test it.
    Test,
    /// To let things go wrong around the operator.
    Faults,
    /// To build and run the fuzz targets.
    Fuzz,
    /// To check the chart and the other manifests.
    Chart,
    /// To run a node, and pods on it.
    Node,
    /// To make images.
    Image,
    /// To build the control plane, and programs of others from their Go modules.
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
        purpose: "a C++ compiler, for libFuzzer",
        probe: &["c++", "--version"],
        suffices: |_| true,
        source: Source::Debian(&["g++"]),
        used: Use::Fuzz,
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
        purpose: "openssl, for the certificates of tests against servers that others wrote",
        probe: &["openssl", "version"],
        suffices: |_| true,
        source: Source::Debian(&["openssl"]),
        used: Use::Test,
    },
    Need {
        purpose: "mosquitto, for the test of connections to Bambu printers",
        // It knows no option that succeeds without starting it.
        probe: &["test", "-x", "/usr/sbin/mosquitto"],
        suffices: |_| true,
        source: Source::Debian(&["mosquitto"]),
        used: Use::Test,
    },
    Need {
        purpose: "vsftpd, for the test of file transfers to Bambu printers",
        probe: &["/usr/sbin/vsftpd", "-v"],
        suffices: |_| true,
        source: Source::Debian(&["vsftpd"]),
        used: Use::Test,
    },
    Need {
        purpose: "nginx, for the tests of fetching print files",
        probe: &["/usr/sbin/nginx", "-v"],
        suffices: |_| true,
        source: Source::Debian(&["nginx"]),
        used: Use::Test,
    },
    Need {
        purpose: "faketime, for operators whose clock jumps",
        probe: &["faketime", "--version"],
        suffices: |_| true,
        source: Source::Debian(&["faketime"]),
        used: Use::Faults,
    },
    Need {
        purpose: "Lua 5.1, for the health checks of Argo CD",
        probe: &["lua5.1", "-v"],
        suffices: |_| true,
        source: Source::Debian(&["lua5.1"]),
        used: Use::Chart,
    },
    Need {
        purpose: "shellcheck, for what the workflows run",
        probe: &["shellcheck", "--version"],
        suffices: |_| true,
        source: Source::Debian(&["shellcheck"]),
        used: Use::Chart,
    },
    Need {
        purpose: "Debian's packages, for the libraries of images",
        probe: &["dpkg-query", "--version"],
        suffices: |_| true,
        source: Source::Elsewhere("make images on Debian, or on a system made from it"),
        used: Use::Image,
    },
    Need {
        purpose: "the keys Debian signs with, for the image of backups",
        probe: &["test", "-f", "/usr/share/keyrings/debian-archive-keyring.gpg"],
        suffices: |_| true,
        source: Source::Debian(&["debian-archive-keyring"]),
        used: Use::Image,
    },
    Need {
        purpose: "runc, which runs containers",
        // The first is Debian's, the second that of Docker's packages, which Debian's would replace.
        probe: &["test", "-x", "/usr/sbin/runc", "-o", "-x", "/usr/bin/runc"],
        suffices: |_| true,
        source: Source::Debian(&["runc"]),
        used: Use::Node,
    },
    Need {
        purpose: "what connects pods",
        probe: &["test", "-x", "/usr/lib/cni/bridge"],
        suffices: |_| true,
        source: Source::Debian(&["containernetworking-plugins"]),
        used: Use::Node,
    },
    Need {
        purpose: "nft and ip, for the network of pods",
        probe: &["test", "-x", "/usr/sbin/nft", "-a", "-x", "/sbin/ip"],
        suffices: |_| true,
        source: Source::Debian(&["nftables", "iproute2"]),
        used: Use::Node,
    },
    Need {
        purpose: "catatonit, which waits in each pod",
        probe: &["test", "-x", "/usr/bin/catatonit"],
        suffices: |_| true,
        source: Source::Debian(&["catatonit"]),
        used: Use::Node,
    },
    Need {
        purpose: "git, for the commit that images are made from",
        probe: &["git", "--version"],
        suffices: |_| true,
        source: Source::Debian(&["git"]),
        used: Use::Image,
    },
    Need {
        purpose: "Go 1.26 or newer, for the control plane of demo and tests and for what checks the chart",
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
        install(&packages)?;
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
        let (install, packages) = (INSTALL.join(" "), packages.join(" "));
        lines.push(format!("run: sudo apt-get update && sudo apt-get {install} {packages}"));
    }
    let servers = servers(&packages);
    if !servers.is_empty() {
        lines.push(format!("then, as the tests start their own: sudo systemctl disable --now {}", servers.join(" ")));
    }
    lines.join("\n  ")
}

fn servers(packages: &[&'static str]) -> Vec<&'static str> {
    packages.iter().copied().filter(|package| SERVERS.contains(package)).collect()
}

/// Installs packages and sees to it that no service of theirs runs, now or after the next boot.
fn install(packages: &[&'static str]) -> Result<(), Error> {
    let policy = Policy::forbid()?;
    let installed = apt_get(&[INSTALL, packages].concat());
    drop(policy);
    installed?;
    for server in servers(packages) {
        let mut command = Command::new("update-rc.d");
        let finished = stream(command.args([server, "disable"]))?;
        if !finished.status.success() {
            return Err(Error::Missing(format!("`{}` ended with {}", describe(&command), finished.status)));
        }
    }
    Ok(())
}

/// While this exists no package starts a service. A policy that is there already is the machine's own, and stays.
struct Policy {
    ours: bool,
}

impl Policy {
    fn forbid() -> Result<Self, Error> {
        let written = OpenOptions::new().write(true).create_new(true).mode(0o755).open(POLICY);
        match written.and_then(|mut file| file.write_all(b"#!/bin/sh\nexit 101\n")) {
            Ok(()) => Ok(Self { ours: true }),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(Self { ours: false }),
            Err(error) => {
                Err(Error::Missing(format!("cannot write {POLICY}, which keeps services from starting: {error}")))
            }
        }
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        if self.ours {
            let _ = std::fs::remove_file(POLICY);
        }
    }
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
    fn missing_debian_packages_are_named_in_one_command_that_removes_none() {
        let (a, b) = (need(Source::Debian(&["gcc", "libc6-dev"]), &[]), need(Source::Debian(&["python3"]), &[]));
        let text = advice(&[&a, &b]);
        assert!(text.ends_with("--no-install-recommends gcc libc6-dev python3"), "{text}");
        assert!(text.contains("sudo apt-get install --yes --no-remove "), "{text}");
    }

    #[test]
    fn a_server_that_debian_would_start_is_told_to_stay_stopped() {
        let (server, tool) = (need(Source::Debian(&["vsftpd"]), &[]), need(Source::Debian(&["openssl"]), &[]));
        assert!(advice(&[&server, &tool]).ends_with("sudo systemctl disable --now vsftpd"));
        assert!(!advice(&[&tool]).contains("systemctl"));
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
