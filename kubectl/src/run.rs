//! From the command line to the exit code: parses, connects, carries out, and says what went wrong.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use clap::Parser as _;
use jiff::Timestamp;
use kube::Resource;
use serde::Serialize;

use crate::arguments::{Arguments, Command};
use crate::cluster::Cluster;
use crate::error::{Error, FAILED};
use crate::objects::{Flags, full_name};
use crate::output::{Format, Paint, structured};
use crate::person::{Person, Terminal};
use crate::{add_printer, backups, beds, complete, outcome, status, trust, wanted, why};

/// What a command works with.
pub struct Session<'a> {
    /// The API server.
    pub cluster: Cluster,
    /// Where answers go.
    pub out: &'a mut dyn Write,
    /// Where everything else goes that is said: evidence before a question, notes, errors.
    pub aside: &'a mut dyn Write,
    /// Whoever answers questions.
    pub person: &'a mut dyn Person,
    /// Color of answers, or none.
    pub paint: Paint,
    /// Color of everything else.
    pub paint_aside: Paint,
    /// When the command was given.
    pub now: Timestamp,
    /// What commands that are proposed must repeat.
    pub flags: Flags,
}

impl Session<'_> {
    /// Writes an answer.
    pub fn answer(&mut self, text: &str) -> Result<(), Error> {
        self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()).map_err(Error::Output)
    }

    /// Shows what a question is about.
    pub fn evidence(&mut self, text: &str) -> Result<(), Error> {
        self.aside.write_all(text.as_bytes()).map_err(Error::Output)
    }

    /// Says something beside the answer.
    pub fn note(&mut self, text: &str) -> Result<(), Error> {
        writeln!(self.aside, "{text}").map_err(Error::Output)
    }

    /// Says what came of one of several things; gives the exit code of what failed.
    pub fn tell(&mut self, result: Result<(), Error>) -> Result<Result<(), u8>, Error> {
        match result {
            Ok(()) => Ok(Ok(())),
            Err(error) => {
                self.note(&format!("error: {}", error.chain()))?;
                Ok(Err(error.code()))
            }
        }
    }

    /// Writes what was done to an object, in the form that is asked for.
    pub fn report<K>(
        &mut self,
        result: Result<(Box<K>, &str), Error>,
        format: Option<Format>,
    ) -> Result<Result<(), u8>, Error>
    where
        K: Resource<DynamicType = ()> + Serialize,
    {
        match result {
            Ok((object, done)) => {
                let name = full_name(object.as_ref());
                let text = match format {
                    None | Some(Format::Wide) => format!("{name} {done}\n"),
                    Some(Format::Name) => format!("{name}\n"),
                    Some(format) => structured(format, &object)?,
                };
                self.answer(&text)?;
                Ok(Ok(()))
            }
            Err(error) => self.tell(Err(error)),
        }
    }
}

/// Runs the program as its arguments say.
pub async fn program() -> ExitCode {
    if let Some(words) = complete::asked(std::env::args_os().skip(1)) {
        return complete::answer(&words).await;
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        // Help and version are errors to clap, with an exit code of 0.
        Err(error) => {
            let code = error.exit_code();
            let login = std::env::args().find(|word| word.contains("://") && word.contains('@'));
            if login.is_some() && code != 0 {
                // It would be repeated.
                let told = "error: the command line was not understood; it has an address with a login in it, which is not repeated here. See --help";
                let _ = writeln!(std::io::stderr(), "{told}");
            } else {
                let _ = error.print();
            }
            return ExitCode::from(u8::try_from(code).unwrap_or(crate::error::USAGE));
        }
    };
    let (mut out, mut aside) = (std::io::stdout(), std::io::stderr());
    match Box::pin(carry_out(&arguments, &mut out, &mut aside, &mut Terminal)).await {
        Ok(()) => ExitCode::SUCCESS,
        // A reader that is gone has read enough; of what was to be written, the rest may be undone.
        Err(Error::Output(error)) if error.kind() == ErrorKind::BrokenPipe && arguments.command.only_reads() => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            if !error.was_told() && writeln!(aside, "error: {}", error.chain()).is_err() {
                return ExitCode::from(FAILED);
            }
            ExitCode::from(error.code())
        }
    }
}

/// Connects and carries out the command.
pub async fn carry_out(
    arguments: &Arguments,
    out: &mut dyn Write,
    aside: &mut dyn Write,
    person: &mut dyn Person,
) -> Result<(), Error> {
    let cluster = Cluster::connect(&arguments.cluster).await?;
    let session = Session {
        cluster,
        out,
        aside,
        person,
        paint: Paint::on(&std::io::stdout()),
        paint_aside: Paint::on(&std::io::stderr()),
        now: Timestamp::now(),
        flags: Flags::of(&arguments.cluster),
    };
    Box::pin(command(session, &arguments.command)).await
}

/// Carries out the command.
pub async fn command(mut session: Session<'_>, command: &Command) -> Result<(), Error> {
    let session = &mut session;
    match command {
        Command::Status(arguments) => Box::pin(status::show(session, arguments)).await,
        Command::ClearBed(arguments) => Box::pin(beds::clear(session, arguments)).await,
        Command::Outcome(arguments) => Box::pin(outcome::answer(session, arguments)).await,
        Command::Pause(arguments) => Box::pin(wanted::pause(session, arguments)).await,
        Command::Resume(arguments) => Box::pin(wanted::resume(session, arguments)).await,
        Command::Cancel(arguments) => Box::pin(wanted::cancel(session, arguments)).await,
        Command::Hold(arguments) => Box::pin(wanted::hold(session, arguments)).await,
        Command::Release(arguments) => Box::pin(wanted::release(session, arguments)).await,
        Command::Acknowledge(arguments) => Box::pin(trust::acknowledge(session, arguments)).await,
        Command::AddPrinter(arguments) => Box::pin(add_printer::add(session, arguments)).await,
        Command::Why(arguments) => Box::pin(why::tell(session, arguments)).await,
        Command::Backups(arguments) => Box::pin(backups::show(session, arguments)).await,
        Command::BackupNow(arguments) => Box::pin(backups::now(session, arguments)).await,
        Command::Restore(arguments) => Box::pin(backups::restore(session, arguments)).await,
    }
}
