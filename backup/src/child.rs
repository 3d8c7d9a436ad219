//! Running a child: its output line by line, its complaints as they come, and its end, whether it comes by itself, because
//! the run was told to stop or because time is up. A child that is told to end gets SIGTERM first, so that restic takes its
//! lock away, and is killed when that does not help.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{sleep_until, timeout};

use crate::stop::Stop;

/// How long a child may take to end once it is told to.
const GRACE: Duration = Duration::from_secs(15);
/// Longest line that is read, in bytes; what is longer is an answer to something that was never asked.
const MAX_LINE_BYTES: usize = 64 << 20;
/// How many complaints are kept: the last ones.
const KEPT_LINES: usize = 40;
/// Longest complaint that is kept, in bytes.
const KEPT_LINE_BYTES: usize = 2_000;

/// What a child reads.
#[derive(Debug, Clone, Default)]
pub enum Input {
    /// Nothing.
    #[default]
    Nothing,
    /// This file, opened when the child starts.
    File(PathBuf),
    /// These bytes.
    Bytes(Vec<u8>),
}

/// What is done with what a child writes.
pub enum Output<'a> {
    /// Each line is handed over.
    Lines(&'a mut (dyn FnMut(&[u8]) + 'a)),
    /// It goes into a file, without passing this program.
    File(File),
}

/// How a child ended.
#[derive(Debug)]
pub struct Ended {
    /// Its status.
    pub status: ExitStatus,
    /// The last lines of its complaints.
    pub complaints: Vec<String>,
    /// Whether it was ended because of a complaint.
    pub given_up: bool,
}

/// What ended the talk with a child.
enum Over {
    /// It closed its ends.
    Gone,
    /// It complained of something that ends it.
    TooMuch,
    /// The run was told to stop.
    Stopped,
    /// Time is up.
    Late(Duration),
}

/// Why a child did not come to an end of its own.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// It could not be started.
    #[error("cannot run {program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The connection to it broke.
    #[error("lost {program}: {source}")]
    Lost {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The run was told to stop.
    #[error("the run was told to stop")]
    Interrupted,
    /// It took too long; with its last complaints.
    #[error("it did not end in {} s", limit.as_secs())]
    TimedOut {
        /// How long it had.
        limit: Duration,
        /// What it said last.
        complaints: Vec<String>,
    },
}

/// Runs the command to its end. `complained` sees each line of its standard error and may give it up.
pub async fn run(
    mut command: Command,
    input: Input,
    output: Output<'_>,
    complained: &mut dyn FnMut(&str) -> ControlFlow<()>,
    limit: Option<Duration>,
    stop: &Stop,
) -> Result<Ended, ChildError> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let start = |source| ChildError::Start { program: program.clone(), source };
    let lost = |source| ChildError::Lost { program: program.clone(), source };
    let bytes = match input {
        Input::Nothing => {
            command.stdin(Stdio::null());
            None
        }
        Input::File(path) => {
            command.stdin(File::open(path).map_err(start)?);
            None
        }
        Input::Bytes(bytes) => {
            command.stdin(Stdio::piped());
            Some(bytes)
        }
    };
    let mut each = match output {
        Output::File(file) => {
            command.stdout(file);
            None
        }
        Output::Lines(each) => {
            command.stdout(Stdio::piped());
            Some(each)
        }
    };
    command.stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(start)?;
    // The command holds the other ends of files and pipes.
    drop(command);

    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async {
        if let (Some(mut stdin), Some(bytes)) = (stdin, bytes) {
            // A child that ends early says why by its status.
            let _ = stdin.write_all(&bytes).await;
        }
    };
    let read = async {
        match (stdout, each.as_mut()) {
            (Some(stdout), Some(each)) => {
                lines(stdout, |line| {
                    each(line);
                    ControlFlow::Continue(())
                })
                .await
            }
            _ => Ok(()),
        }
    };
    let mut complaints = VecDeque::new();
    let mut given_up = false;
    let listen = async {
        let Some(stderr) = stderr else { return Ok(()) };
        lines(stderr, |line| {
            let line = String::from_utf8_lossy(&line[..line.len().min(KEPT_LINE_BYTES)]).into_owned();
            let go_on = complained(&line);
            if complaints.len() == KEPT_LINES {
                complaints.pop_front();
            }
            complaints.push_back(line);
            given_up |= go_on.is_break();
            go_on
        })
        .await
    };
    let late = async {
        match limit {
            Some(limit) => {
                sleep_until(tokio::time::Instant::now() + limit).await;
                limit
            }
            None => std::future::pending().await,
        }
    };
    let (over, status) = {
        // All three run until the child closes its ends; the complaints alone may end it sooner.
        let mut talk = std::pin::pin!(async {
            let mut listen = std::pin::pin!(listen);
            let mut others = std::pin::pin!(async { tokio::join!(feed, read).1 });
            tokio::select! {
                heard = &mut listen => match heard {
                    Ok(()) => others.await,
                    error => error,
                },
                read = &mut others => match read {
                    Ok(()) => listen.await,
                    error => error,
                },
            }
        });
        let over = tokio::select! {
            talked = &mut talk => match talked {
                Ok(()) => Over::Gone,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => Over::TooMuch,
                Err(error) => return Err(lost(error)),
            },
            () = stop.stopped() => Over::Stopped,
            limit = late => Over::Late(limit),
        };
        let status = match over {
            Over::Gone => tokio::select! {
                status = child.wait() => Some(status.map_err(lost)?),
                () = stop.stopped() => end(&mut child, std::future::pending::<()>()).await,
            },
            // It goes on complaining to nobody, and may end by that.
            Over::TooMuch => end(&mut child, std::future::pending::<()>()).await,
            // What it says while it cleans up must be read, or saying it would kill it.
            Over::Stopped | Over::Late(_) => end(&mut child, &mut talk).await,
        };
        (over, status)
    };
    match over {
        Over::Stopped => return Err(ChildError::Interrupted),
        Over::Late(limit) => return Err(ChildError::TimedOut { limit, complaints: complaints.into() }),
        Over::Gone | Over::TooMuch => {}
    }
    let status = status.ok_or_else(|| lost(io::Error::other("it cannot be waited for")))?;
    if stop.is_stopped() && !status.success() {
        // The signal went to the child as well.
        return Err(ChildError::Interrupted);
    }
    Ok(Ended { status, complaints: complaints.into(), given_up })
}

/// Ends the child: with SIGTERM, and if that does not help with SIGKILL. Meanwhile it is listened to.
async fn end(child: &mut Child, talk: impl Future) -> Option<ExitStatus> {
    if let Some(id) = child.id().and_then(|id| i32::try_from(id).ok()) {
        let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
    }
    let cleaned_up = async {
        let mut ended = std::pin::pin!(child.wait());
        tokio::select! {
            status = &mut ended => status,
            _ = talk => ended.await,
        }
    };
    if let Ok(status) = timeout(GRACE, cleaned_up).await {
        return status.ok();
    }
    let _ = child.start_kill();
    child.wait().await.ok()
}

/// Hands over each line until the end, or until one is enough: then the error is [`io::ErrorKind::Interrupted`].
async fn lines(source: impl AsyncRead + Unpin, mut each: impl FnMut(&[u8]) -> ControlFlow<()>) -> io::Result<()> {
    let mut source = BufReader::with_capacity(32 << 10, source);
    let mut line = Vec::new();
    loop {
        let part = source.fill_buf().await?;
        if part.is_empty() {
            if !line.is_empty() {
                let _ = each(&line);
            }
            return Ok(());
        }
        let end = part.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(part.len(), |end| end + 1);
        line.extend_from_slice(&part[..end.unwrap_or(part.len())]);
        source.consume(used);
        if line.len() > MAX_LINE_BYTES {
            return Err(io::Error::other("it wrote a line of more than 64 MiB"));
        }
        if end.is_some() {
            let go_on = each(&line);
            line.clear();
            if go_on.is_break() {
                return Err(io::ErrorKind::Interrupted.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(
        script: &str,
        input: Input,
        limit: Option<Duration>,
        stop: &Stop,
    ) -> (Vec<String>, Result<Ended, ChildError>) {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let mut read = Vec::new();
        let mut each = |line: &[u8]| read.push(String::from_utf8_lossy(line).into_owned());
        let mut complained =
            |line: &str| if line == "enough" { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        let ended = run(command, input, Output::Lines(&mut each), &mut complained, limit, stop).await;
        (read, ended)
    }

    #[tokio::test]
    async fn lines_complaints_and_status_all_arrive() {
        let input = Input::Bytes(b"one\ntwo".to_vec());
        let (read, ended) = shell("cat; echo no >&2; exit 3", input, None, &Stop::default()).await;
        let ended = ended.unwrap();
        assert_eq!(read, ["one", "two"]);
        assert_eq!((ended.status.code(), ended.complaints, ended.given_up), (Some(3), vec!["no".to_owned()], false));
    }

    #[tokio::test]
    async fn a_child_that_is_given_up_is_ended() {
        let (_, ended) = shell("echo enough >&2; exec sleep 600", Input::Nothing, None, &Stop::default()).await;
        assert!(ended.unwrap().given_up);
    }

    #[tokio::test]
    async fn time_that_is_up_ends_a_child_and_tells_what_it_said() {
        let limit = Some(Duration::from_millis(1_500));
        let (_, ended) = shell("echo busy >&2; exec sleep 600", Input::Nothing, limit, &Stop::default()).await;
        let Err(ChildError::TimedOut { complaints, .. }) = ended else { panic!("{ended:?}") };
        assert_eq!(complaints, ["busy"]);
    }

    #[tokio::test]
    async fn a_child_gets_the_time_to_clean_up_when_the_run_is_told_to_stop() {
        let folder = tempfile::tempdir().unwrap();
        let (ready, clean) = (folder.path().join("ready"), folder.path().join("clean"));
        let script = format!(
            "trap 'echo cleaning up >&2; touch {}; exit 0' TERM; touch {}; while :; do sleep 0.05; done",
            clean.display(),
            ready.display()
        );
        let stop = Stop::default();
        let told = stop.clone();
        tokio::spawn(async move {
            while !ready.exists() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            told.stop();
        });
        let (_, ended) = shell(&script, Input::Nothing, None, &stop).await;
        assert!(matches!(ended, Err(ChildError::Interrupted)), "{ended:?}");
        assert!(clean.exists());
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named() {
        let command = Command::new("no-such-program-here");
        let ended = run(
            command,
            Input::Nothing,
            Output::Lines(&mut |_| {}),
            &mut |_| ControlFlow::Continue(()),
            None,
            &Stop::default(),
        )
        .await;
        assert!(ended.unwrap_err().to_string().contains("no-such-program-here"));
    }
}
