//! `printernizer inspect` and `printernizer crds`: answers on standard output, for people and pipes.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the answer of a command line program")]

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::process::ExitCode;

use printernizer::error::chain;
use printernizer_printfile::{Error, Limits};

/// Prints what the operator reads from a print file, of one plate where one is named, or why it refuses it.
pub fn inspect(path: &Path, plate: Option<u32>) -> ExitCode {
    let read = File::open(path).map_err(Error::Read).map(BufReader::new).and_then(|file| match plate {
        Some(plate) => printernizer_printfile::inspect_plate(file, plate, &Limits::default()),
        None => printernizer_printfile::inspect(file, &Limits::default()),
    });
    match read {
        Ok(facts) => match serde_json::to_string_pretty(&facts) {
            Ok(json) => {
                println!("{json}");
                ExitCode::SUCCESS
            }
            Err(error) => refuse(path, &error),
        },
        Err(error) => refuse(path, &error),
    }
}

fn refuse(path: &Path, error: &(dyn std::error::Error + 'static)) -> ExitCode {
    eprintln!("{}: refused: {}", path.display(), chain(error));
    ExitCode::FAILURE
}

/// Prints the definitions as one YAML stream.
pub fn crds() -> ExitCode {
    for crd in printernizer_crds::manifests::all() {
        match printernizer_crds::manifests::to_yaml(&crd) {
            Ok(yaml) => println!("---\n{}", yaml.trim_end()),
            Err(error) => {
                eprintln!("error: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
