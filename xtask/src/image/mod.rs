//! `cargo xtask image`: a program's image as an OCI archive, and a list of what is in it.
//!
//! Made without Docker and without root: the image is the release build, the few shared libraries it is linked with,
//! as packages of Debian, or of Ubuntu, have installed them on this machine, and four small files. There is no shell and
//! no package manager; only backups have more, PostgreSQL and a shell among it, and all of that is Debian 13's. The same program and the same libraries give the same image, byte by byte: files have the time of
//! the commit, or that of SOURCE_DATE_EPOCH. It pushes nothing.

mod backup;
mod layout;
mod libraries;
mod sbom;
mod tools;
mod unpacked;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::error::Error;
use crate::install::{self, Use};
use crate::process::{describe, quietly, say, succeed, warn};
use crate::workspace::{Workspace, cargo};
use layout::{Description, Entry, Image};
use libraries::{Collection, Package};

/// User and group of the program; the chart runs it as this user, too.
const USER: u32 = 65532;
/// Largest image, compressed, in bytes.
const LARGEST_BYTES: u64 = 40_000_000;
/// The same for backups: restic, PostgreSQL and the tables of ICU alone have 35 MB.
const LARGEST_BACKUP_BYTES: u64 = 60_000_000;
/// Where programs look for others.
const SEARCH: &str = "/usr/bin";
/// A program that waits, and ends the processes that nobody waits for.
const CATATONIT: &str = "catatonit";

/// Arguments of `image`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Whose image is made.
    #[arg(default_value = "operator")]
    programs: Vec<Program>,
    /// Folder the images are written to. Default: target/image.
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
    /// Of the programs as the tests have them, which are large and built quickly. They may have any size.
    #[arg(long)]
    debug: bool,
    /// Of the programs as they are in the target folder.
    #[arg(skip)]
    built: bool,
}

/// A program that has an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Program {
    /// The operator: image `printernizer`.
    Operator,
    /// Simulated printers, to try a farm out: image `printernizer-simulator`.
    Simulator,
    /// What the pods of a BackupPolicy run, with restic and PostgreSQL: image `printernizer-backup`.
    Backup,
    /// What holds a pod's network on the project's own node: image `pause`, of Debian's catatonit.
    #[value(skip)]
    Pause,
}

impl Arguments {
    /// Every image that the project's own node needs. All programs have been built as the tests have them.
    pub fn for_node(output: PathBuf, debug: bool) -> Self {
        Self {
            programs: vec![Program::Operator, Program::Simulator, Program::Backup, Program::Pause],
            output: Some(output),
            debug,
            built: debug,
        }
    }
}

impl Program {
    /// The package, and the image.
    fn package(self) -> &'static str {
        match self {
            Self::Operator => "printernizer",
            Self::Simulator => "printernizer-simulator",
            Self::Backup => "printernizer-backup",
            Self::Pause => "pause",
        }
    }

    /// The file.
    fn file(self) -> &'static str {
        match self {
            Self::Operator => "printernizer",
            Self::Simulator => "printer-simulator",
            Self::Backup => "printernizer-backup",
            Self::Pause => CATATONIT,
        }
    }

    fn purpose(self) -> &'static str {
        match self {
            Self::Operator => "Runs a 3D-print farm as Kubernetes resources",
            Self::Simulator => "Simulated 3D printers that speak the real protocols",
            Self::Backup => "Backs up volumes, databases and objects with restic, and restores them",
            Self::Pause => "Waits",
        }
    }

    fn largest_bytes(self) -> u64 {
        if self == Self::Backup { LARGEST_BACKUP_BYTES } else { LARGEST_BYTES }
    }
}

/// Builds the programs and their images; the exit code says whether all are small enough.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    install::ensure(&[Use::Build, Use::Image])?;
    let workspace = Workspace::load()?;
    let output = arguments.output.clone().unwrap_or_else(|| workspace.target_folder().join("image"));
    fs::create_dir_all(&output).map_err(writing(&output))?;

    let ours = || arguments.programs.iter().filter(|program| **program != Program::Pause);
    let mut build = cargo();
    build.args(["build", "--locked"]).args((!arguments.debug).then_some("--release"));
    for program in ours() {
        build.args(["--package", program.package(), "--bin", program.file()]);
    }
    if !arguments.built {
        succeed(&mut build)?;
    }
    if arguments.programs.contains(&Program::Pause) {
        pause(&output)?;
    }
    let mut all_small = true;
    for program in ours() {
        let folder = workspace.target_folder().join(if arguments.debug { "debug" } else { "release" });
        let mut file = folder.join(program.file());
        if arguments.debug {
            // What is needed to debug it is three quarters of it.
            let stripped = output.join(program.file());
            succeed(Command::new("strip").arg("--strip-debug").arg("-o").arg(&stripped).arg(&file))?;
            file = stripped;
        }
        let small = make(*program, &file, !arguments.debug, &output)?;
        all_small &= small || arguments.debug;
    }
    if !all_small {
        warn("an image is larger than it should be: see what has come in");
    }
    Ok(if all_small { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Makes the image of what waits. It is linked with nothing, and never leaves this machine.
fn pause(output: &Path) -> Result<(), Error> {
    let path = format!("usr/bin/{CATATONIT}");
    let bytes = read(&Path::new("/").join(&path))?;
    let description = Description {
        entry_point: vec![format!("/{path}"), "-P".to_owned()],
        ..description(Program::Pause, None, unix_seconds()?)
    };
    write(&description, vec![Entry { path, bytes, executable: true }], output).map(drop)
}

/// Makes the image of the operator in this file, as it was built out of the history. It never leaves this machine.
pub fn older_operator(file: &Path, version: &'static str, output: &Path) -> Result<(), Error> {
    let description = Description { version, small: false, ..description(Program::Operator, None, unix_seconds()?) };
    write(&description, files(Program::Operator, file)?.entries, output)?;
    say(&format!("name      {}", description.reference()));
    Ok(())
}

/// Makes an image, and writes its archive into the folder.
fn write(description: &Description<'_>, entries: Vec<Entry>, output: &Path) -> Result<(Image, PathBuf), Error> {
    let image = layout::image(description, entries).map_err(writing(output))?;
    let archive = output.join(format!("{}-{}.tar", description.name, description.version));
    fs::write(&archive, &image.archive).map_err(writing(&archive))?;
    Ok((image, archive))
}

/// What is in a program's image.
struct Contents {
    entries: Vec<Entry>,
    packages: Vec<Package>,
    /// Where it looks for other programs.
    search: String,
}

/// The files of a program's image, and where its libraries are from.
fn files(program: Program, file: &Path) -> Result<Contents, Error> {
    let mut found = Collection::default();
    let search = if program == Program::Backup {
        backup::add(file, &mut found)?
    } else {
        found.libraries(file)?;
        SEARCH.to_owned()
    };
    for entry in furniture() {
        found.own(entry);
    }
    found.own(Entry { path: format!("usr/bin/{}", program.file()), bytes: read(file)?, executable: true });
    let (entries, packages) = found.finish()?;
    Ok(Contents { entries, packages, search })
}

fn description(program: Program, revision: Option<String>, unix_seconds: u64) -> Description<'static> {
    Description {
        name: program.package(),
        version: env!("CARGO_PKG_VERSION"),
        purpose: program.purpose(),
        entry_point: vec![format!("/usr/bin/{}", program.file())],
        search: SEARCH,
        small: true,
        user: USER,
        revision,
        unix_seconds,
    }
}

/// Makes the image of one program, and says whether it is small enough.
fn make(program: Program, file: &Path, small: bool, output: &Path) -> Result<bool, Error> {
    let version = env!("CARGO_PKG_VERSION");
    let Contents { entries, packages, search } = files(program, file)?;
    let description = Description { search: &search, small, ..description(program, revision()?, unix_seconds()?) };
    let (image, archive) = write(&description, entries, output)?;
    let list = output.join(format!("{}-{version}.cdx.json", program.package()));
    fs::write(&list, sbom::write(program.package(), version, &packages)?).map_err(writing(&list))?;

    say(&format!("image     {} ({:.1} MB compressed)", archive.display(), megabytes(image.compressed_bytes)));
    say(&format!("name      {}", description.reference()));
    say(&format!("digest    {}", image.digest));
    say(&format!("contents  {}", list.display()));
    Ok(image.compressed_bytes <= program.largest_bytes())
}

/// What a program looks for beside its libraries, and what tells a scanner which system it looks at.
fn furniture() -> Vec<Entry> {
    let passwd = format!("root:x:0:0::/:/sbin/nologin\nprinternizer:x:{USER}:{USER}::/:/sbin/nologin\n");
    let group = format!("root:x:0:\nprinternizer:x:{USER}:\n");
    let file = |path: &str, text: String| Entry { path: path.to_owned(), bytes: text.into_bytes(), executable: false };
    vec![
        file("etc/passwd", passwd),
        file("etc/group", group),
        file("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n".to_owned()),
    ]
}

#[allow(clippy::cast_precision_loss, reason = "for people")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn writing(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |cause| Error::Write { path, cause }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|cause| Error::Read { path: path.to_owned(), cause })
}

/// What a program says on standard output.
fn ask(command: &mut Command) -> Result<String, Error> {
    let finished = quietly(command)?;
    let of = |wanted| -> String {
        let lines = finished.lines.iter().filter(|(from, _)| *from == wanted);
        lines.flat_map(|(_, line)| [line.as_str(), "\n"]).collect()
    };
    if finished.status.success() {
        return Ok(of(crate::process::Stream::Output));
    }
    Err(Error::Failed { program: describe(command), told: of(crate::process::Stream::Error).trim().to_owned() })
}

fn git(arguments: &[&str]) -> Result<String, Error> {
    let text = ask(Command::new("git").args(arguments).current_dir(crate::workspace::root()))?;
    Ok(text.trim().to_owned())
}

/// The commit; none if the sources are not as committed.
fn revision() -> Result<Option<String>, Error> {
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    Ok(if changed.is_empty() { Some(git(&["rev-parse", "HEAD"])?) } else { None })
}

/// When the sources were written.
fn unix_seconds() -> Result<u64, Error> {
    let (from, text) = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => ("SOURCE_DATE_EPOCH", text),
        Err(_) => ("git log", git(&["log", "-1", "--format=%ct"])?),
    };
    text.parse().map_err(|_| Error::Failed { program: from.to_owned(), told: format!("{text:?} are no seconds") })
}
