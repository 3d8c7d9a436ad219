//! `printernizer-fuzz seeds TARGET FOLDER` and `printernizer-fuzz replay TARGET FILE...`: what `cargo xtask fuzz` and a
//! person need besides the fuzzer. A replay runs the target's body once for each file.

use std::path::Path;
use std::process::ExitCode;

use printernizer_fuzz::{TARGETS, Target};

#[allow(clippy::print_stderr, reason = "this is the command's output")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["seeds", name, folder] => target(name).and_then(|target| write_seeds(target, Path::new(folder))),
        ["replay", name, files @ ..] if !files.is_empty() => target(name).and_then(|target| replay(target, files)),
        _ => Err("use: printernizer-fuzz seeds TARGET FOLDER | replay TARGET FILE...".to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn target(name: &str) -> Result<&'static Target, String> {
    TARGETS.iter().find(|target| target.name == name).ok_or_else(|| {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        format!("there is no target {name}, only {}", names.join(", "))
    })
}

fn write_seeds(target: &Target, folder: &Path) -> Result<(), String> {
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for (number, seed) in (target.seeds)().iter().enumerate() {
        let path = folder.join(format!("seed-{number}"));
        std::fs::write(&path, seed).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

fn replay(target: &Target, files: &[&str]) -> Result<(), String> {
    for file in files {
        let bytes = std::fs::read(file).map_err(|error| format!("{file}: {error}"))?;
        (target.body)(&bytes);
    }
    Ok(())
}
