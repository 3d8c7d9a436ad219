//! `pause`, `resume`, `cancel`, `hold` and `release`: what is wanted of jobs (`spec.desiredState`), and whether a printer
//! gets new ones (`spec.unschedulable`).
//!
//! The API has one field for holding a job and for pausing its print. A person means one of the two, so each is refused
//! where it would do the other.

mod wish;

use kube::ResourceExt as _;
use printernizer_crds::{PrintJob, Printer};
use serde_json::Value;

use crate::arguments::{Cancel, Hold, Jobs, OutputArguments, Release};
use crate::cluster::Change;
use crate::error::{Error, several};
use crate::objects::{Reference, job_name, part, phase};
use crate::output::{Style, Table, clean};
use crate::person::sure;
use crate::run::Session;
use wish::{Wish, has_started, held, released, to_write};

/// Pauses prints.
pub async fn pause(session: &mut Session<'_>, arguments: &Jobs) -> Result<(), Error> {
    Box::pin(jobs(session, &arguments.jobs, Wish::Pause, arguments.output)).await
}

/// Goes on with paused prints.
pub async fn resume(session: &mut Session<'_>, arguments: &Jobs) -> Result<(), Error> {
    Box::pin(jobs(session, &arguments.jobs, Wish::Resume, arguments.output)).await
}

/// Stops jobs, after a question: that is final.
pub async fn cancel(session: &mut Session<'_>, arguments: &Cancel) -> Result<(), Error> {
    let mut found = Vec::new();
    let mut results = Vec::new();
    for name in &arguments.jobs {
        let job: PrintJob = session.cluster.get(&job_name(name)?).await?;
        match to_write(&job, Wish::Cancel) {
            Ok(_) => found.push(job),
            Err(refused) => results.push(session.tell(Err(refused))?),
        }
    }
    if found.is_empty() {
        return several(&results);
    }
    let mut table = Table::new(&["JOB", "PART", "PHASE", "PRINTER", "PROGRESS"]);
    for job in &found {
        table.row(line(job).map(|text| (text, Style::Plain)));
    }
    session.evidence(&table.render("", session.paint_aside))?;
    let question = if found.len() == 1 { "Stop it for good?" } else { "Stop them for good?" };
    sure(session.person, arguments.sure.yes, question)?;
    for job in found {
        let shown = has_started(&job);
        let change = |now: &PrintJob| match to_write(now, Wish::Cancel)? {
            Some(_) if has_started(now) != shown => Err(Error::NotNow(format!(
                "job {}: its print {} since it was shown. Look again",
                now.name_any(),
                if shown { "has ended" } else { "has started" }
            ))),
            spec => Ok(spec),
        };
        let result = Box::pin(write(session, job, Wish::Cancel, change)).await;
        results.push(session.report(result, arguments.output.output)?);
    }
    several(&results)
}

/// Holds jobs back, and keeps new ones off printers.
pub async fn hold(session: &mut Session<'_>, arguments: &Hold) -> Result<(), Error> {
    let mut results = Vec::new();
    let named = references(&arguments.names)?;
    if arguments.reason.is_some() && named.iter().any(|one| matches!(one, Reference::Job(_))) {
        return Err(Error::Usage("a job has no reason of its own for being held: --reason is for printers".into()));
    }
    for one_of_them in named {
        match one_of_them {
            Reference::Job(name) => results.push(Box::pin(one(session, &name, Wish::Hold, arguments.output)).await?),
            Reference::Printer(name) => {
                let wish = |now: &Printer| held(now, arguments.reason.as_deref());
                results.push(
                    printer(session, &name, wish, ["held: it gets no new jobs", "was held already"], arguments.output)
                        .await?,
                );
            }
        }
    }
    several(&results)
}

/// Releases what was held.
pub async fn release(session: &mut Session<'_>, arguments: &Release) -> Result<(), Error> {
    let mut results = Vec::new();
    for one_of_them in references(&arguments.names)? {
        match one_of_them {
            Reference::Job(name) => results.push(Box::pin(one(session, &name, Wish::Release, arguments.output)).await?),
            Reference::Printer(name) => {
                let wish = |now: &Printer| Ok(released(now));
                results.push(printer(session, &name, wish, ["released", "was not held"], arguments.output).await?);
            }
        }
    }
    several(&results)
}

/// What these names mean: all of them, before anything is written about the first.
fn references(names: &[String]) -> Result<Vec<Reference>, Error> {
    names.iter().map(|name| Reference::parse(name)).collect()
}

async fn jobs(session: &mut Session<'_>, names: &[String], wish: Wish, output: OutputArguments) -> Result<(), Error> {
    let mut results = Vec::new();
    let names: Vec<String> = names.iter().map(|name| job_name(name)).collect::<Result<_, _>>()?;
    for name in names {
        results.push(Box::pin(one(session, &name, wish, output)).await?);
    }
    several(&results)
}

async fn one(
    session: &mut Session<'_>,
    name: &str,
    wish: Wish,
    output: OutputArguments,
) -> Result<Result<(), u8>, Error> {
    let result = match session.cluster.get::<PrintJob>(name).await {
        Ok(job) => Box::pin(write(session, job, wish, |now: &PrintJob| to_write(now, wish))).await,
        Err(error) => Err(error),
    };
    session.report(result, output.output)
}

async fn write(
    session: &Session<'_>,
    job: PrintJob,
    wish: Wish,
    change: impl Fn(&PrintJob) -> Result<Option<Value>, Error>,
) -> Result<(Box<PrintJob>, &'static str), Error> {
    Ok(match Box::pin(session.cluster.change(job, change)).await? {
        Change::Written(job) => (job, wish.done()),
        Change::Already(job) => (job, wish.already()),
    })
}

async fn printer(
    session: &mut Session<'_>,
    name: &str,
    wish: impl Fn(&Printer) -> Result<Option<Value>, Error>,
    [done, already]: [&'static str; 2],
    output: OutputArguments,
) -> Result<Result<(), u8>, Error> {
    let result = match session.cluster.get::<Printer>(name).await {
        Ok(found) => session.cluster.change(found, wish).await.map(|change| match change {
            Change::Written(printer) => (printer, done),
            Change::Already(printer) => (printer, already),
        }),
        Err(error) => Err(error),
    };
    session.report(result, output.output)
}

/// A job in one row: name, part, phase, printer, progress.
fn line(job: &PrintJob) -> [String; 5] {
    let status = job.status.as_ref();
    let printer = status.and_then(|s| s.printer.as_ref()).map(|p| p.name.clone());
    let progress = status.and_then(|s| s.progress.as_ref()).and_then(|p| p.summary.as_deref().map(clean));
    [
        job.name_any(),
        part(job),
        phase(job).map(|p| format!("{p:?}")).unwrap_or_default(),
        printer.unwrap_or_default(),
        progress.unwrap_or_default(),
    ]
}
