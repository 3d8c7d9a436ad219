//! Running other programs: their output is passed on as it comes and kept for the summary at the end.
//!
//! Also the only place that writes to the terminal.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;

use crate::error::Error;

/// Lines of a program's output that are kept; the oldest are dropped.
const MAX_KEPT_LINES: usize = 200_000;

/// Prints a line for the person who called the command.
#[allow(clippy::print_stdout, reason = "this is the command's output")]
pub fn say(line: &str) {
    println!("{line}");
}

/// Prints a line about something that is wrong.
#[allow(clippy::print_stderr, reason = "this is the command's output")]
pub fn warn(line: &str) {
    eprintln!("{line}");
}

/// Prints an error with all its causes.
pub fn complain(error: &dyn std::error::Error) {
    let mut text = format!("error: {error}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.extend([": ", &inner.to_string()]);
        cause = inner.source();
    }
    warn(&text);
}

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// What a program did.
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote, line by line, each stream in its own order.
    pub lines: Vec<(Stream, String)>,
}

/// Runs a program to its end, passing its output on line by line.
pub fn stream(command: &mut Command) -> Result<Finished, Error> {
    collect(command, pass_on)
}

/// Runs a program in sight of the person; an error if it fails.
pub fn succeed(command: &mut Command) -> Result<(), Error> {
    say(&format!("== {}", describe(command)));
    let status = stream(command)?.status;
    if status.success() {
        return Ok(());
    }
    Err(Error::Failed { program: describe(command), told: status.to_string() })
}

/// Runs a program to its end without showing its output.
pub fn quietly(command: &mut Command) -> Result<Finished, Error> {
    collect(command, |_, _| ())
}

/// What is done with a piece of output as it comes.
type Echo = fn(Stream, &[u8]);

fn collect(command: &mut Command, echo: Echo) -> Result<Finished, Error> {
    let program = describe(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|cause| Error::Start { program: program.clone(), advice: "is it installed?".to_owned(), cause })?;
    let (sender, receiver) = mpsc::channel();
    let readers = [
        child.stdout.take().map(|pipe| forward(pipe, Stream::Output, sender.clone(), echo)),
        child.stderr.take().map(|pipe| forward(pipe, Stream::Error, sender.clone(), echo)),
    ];
    drop(sender);
    let mut lines = Vec::new();
    for line in receiver {
        if lines.len() < MAX_KEPT_LINES {
            lines.push(line);
        }
    }
    for reader in readers.into_iter().flatten() {
        // The thread only reads and writes lines: if it ended early its lines are simply not there.
        drop(reader.join());
    }
    let status = child.wait().map_err(|cause| Error::Lost { program, cause })?;
    Ok(Finished { status, lines })
}

fn forward(
    pipe: impl Read + Send + 'static,
    from: Stream,
    to: mpsc::Sender<(Stream, String)>,
    echo: Echo,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut bytes = Vec::new();
        while matches!(reader.read_until(b'\n', &mut bytes), Ok(n) if n > 0) {
            echo(from, &bytes);
            let line = String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_owned();
            bytes.clear();
            if to.send((from, line)).is_err() {
                return;
            }
        }
    })
}

/// A terminal that is gone (a closed pipe) must not end the program that is being run.
fn pass_on(from: Stream, bytes: &[u8]) {
    let written = match from {
        Stream::Output => std::io::stdout().lock().write_all(bytes),
        Stream::Error => std::io::stderr().lock().write_all(bytes),
    };
    drop(written);
}

/// The command as a person would type it.
pub fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|w| w.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_and_errors_of_a_program_are_kept_apart_and_in_order() {
        let finished = quietly(Command::new("sh").args(["-c", "echo one; echo two; echo bad >&2; exit 3"])).unwrap();
        let of = |from| finished.lines.iter().filter(|l| l.0 == from).map(|l| l.1.as_str()).collect::<Vec<_>>();
        assert_eq!(of(Stream::Output), ["one", "two"]);
        assert_eq!(of(Stream::Error), ["bad"]);
        assert_eq!(finished.status.code(), Some(3));
    }

    #[test]
    fn a_last_line_without_an_end_is_kept() {
        let finished = quietly(Command::new("printf").arg("half")).unwrap();
        assert_eq!(finished.lines, [(Stream::Output, "half".to_owned())]);
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = quietly(&mut Command::new("no-such-program-here")).err().unwrap();
        assert!(error.to_string().starts_with("no-such-program-here could not be started"), "{error}");
    }
}
