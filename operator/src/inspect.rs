//! `printernizer inspect` and `printernizer crds`: answers on standard output, for people and pipes.
//! A reader that has seen enough (`| head`) is no failure.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Write as _};
use std::path::Path;
use std::process::ExitCode;

use printernizer::error::chain;
use printernizer_printfile::{Error, Limits};

/// Prints what the operator reads from a print file, of one plate where one is named, or why it refuses it.
pub fn inspect(path: &Path, plate: Option<u32>) -> ExitCode {
    match std::fs::metadata(path) {
        Ok(what) if what.is_dir() => {
            tell(&format!("{}: this is a folder; name one print file in it", path.display()));
            return ExitCode::FAILURE;
        }
        Err(error) => {
            tell(&format!("{}: cannot be opened: {error}", path.display()));
            return ExitCode::FAILURE;
        }
        Ok(_) => {}
    }
    let read = File::open(path).map_err(Error::Read).map(BufReader::new).and_then(|file| match plate {
        Some(plate) => printernizer_printfile::inspect_plate(file, plate, &Limits::default()),
        None => printernizer_printfile::inspect(file, &Limits::default()),
    });
    match read {
        Ok(facts) => match serde_json::to_string_pretty(&facts) {
            Ok(json) => answer(&format!("{json}\n")),
            Err(error) => refuse(path, &error),
        },
        Err(error) => refuse(path, &error),
    }
}

fn refuse(path: &Path, error: &(dyn std::error::Error + 'static)) -> ExitCode {
    tell(&format!("{}: refused: {}", path.display(), chain(error)));
    ExitCode::FAILURE
}

/// Prints the definitions as one YAML stream.
pub fn crds() -> ExitCode {
    let mut text = String::new();
    for crd in printernizer_crds::manifests::all() {
        match printernizer_crds::manifests::to_yaml(&crd) {
            Ok(yaml) => text.extend(["---\n", yaml.trim_end(), "\n"]),
            Err(error) => {
                tell(&format!("error: {error}"));
                return ExitCode::FAILURE;
            }
        }
    }
    answer(&text)
}

/// Writes the answer of a command to standard output.
pub fn answer(text: &str) -> ExitCode {
    let mut output = std::io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            tell(&format!("error: the answer cannot be written: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Tells a person something on standard error, if anybody reads it.
pub fn tell(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
