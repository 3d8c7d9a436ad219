//! The demo: a control plane, simulated printers, the operator with the timings of production, the manifests of
//! `examples/`, and a person who clears the beds, unless you are that person. Shows a live table until every job of the
//! examples has ended, then judges by the ledger of the machines. It changes nothing outside its own namespace but the
//! definitions.

mod error;
pub(crate) mod examples;
mod frame;
mod person;
mod picture;
mod screen;
mod stage;
mod story;
mod table;
pub(crate) mod verdict;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use kube::ResourceExt as _;
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use printernizer_crds::{PrintJob, Printer};
use tokio::signal::unix::{SignalKind, signal};

pub use error::DemoError;
use person::{Person, lend_a_hand};
use picture::Picture;
use screen::Screen;
use stage::Stage;
use story::Story;
use verdict::{Verdict, has_ended, is_example};

/// How often the table is drawn and the person looks around.
const TICK: Duration = Duration::from_millis(200);
/// How long the operator may take to end.
const GOODBYE: Duration = Duration::from_secs(15);
/// Exit code of a program that was interrupted.
const INTERRUPTED: u8 = 130;

/// What is wanted of the demo.
#[derive(Clone, Debug)]
pub struct Options {
    /// End when every job has ended.
    pub once: bool,
    /// Context of an existing cluster to use.
    pub context: Option<String>,
    /// Number of simulated printers.
    pub printers: usize,
    /// Seconds that pass on the printers in one second.
    pub time_scale: f64,
    /// Whether the demo plays the person who clears the beds.
    pub person: bool,
    /// Where a picture of the table goes.
    pub picture: Option<PathBuf>,
    /// The operator's program.
    pub operator: PathBuf,
    /// How long the jobs may take before the demo has failed.
    pub limit: Duration,
}

/// Why the table is left.
enum End {
    AllJobs,
    Interrupted,
    TooLong,
}

/// Runs the demo to its end.
pub async fn run(options: Options) -> Result<ExitCode, DemoError> {
    let begun = Instant::now();
    let mut screen = Screen::new();
    // From here on Ctrl-C ends the demo in order; while the control plane starts, it waits until that is done.
    let mut signals = Signals::new()?;
    let stage = Stage::set(&options, begun).await?;
    let directory = stage.directory().to_owned();
    let mut show = Show::new(&options, stage, begun);
    let played = show.play(&mut screen, &mut signals).await;
    screen.leave()?;
    let shown = match &played {
        Ok(end) => show.tell_end(end),
        Err(error) => Err(DemoError::Told(error.to_string())),
    };
    let went_well = matches!(shown, Ok(ExitCode::SUCCESS)) || matches!(played, Ok(End::Interrupted));
    let (picture, stage) = (show.picture, show.stage);
    let taken_down = stage.strike(GOODBYE, !went_well).await;
    if !went_well {
        Screen::say(&format!("The operator's log is kept in {}", directory.display()))?;
    }
    played?;
    if let (Some(path), Some(picture)) = (&options.picture, picture) {
        picture.write(path)?;
        Screen::say(&format!("Picture of the table: {}", path.display()))?;
    }
    taken_down?;
    shown
}

/// The demo while its table is shown.
struct Show {
    options: Options,
    stage: Stage,
    begun: Instant,
    story: Story,
    person: Person,
    picture: Option<Picture>,
    /// Names of the examples' jobs that were seen; one that is gone was deleted by somebody.
    examples: BTreeSet<String>,
    /// All jobs, as last seen.
    jobs: Vec<Arc<PrintJob>>,
    /// When every job of the examples had ended, and the judgment of what has happened by now.
    ended: Option<(Duration, Verdict)>,
}

impl Show {
    fn new(options: &Options, stage: Stage, begun: Instant) -> Self {
        Self {
            options: options.clone(),
            stage,
            begun,
            story: Story::default(),
            person: Person::default(),
            picture: None,
            examples: BTreeSet::new(),
            jobs: Vec::new(),
            ended: None,
        }
    }

    /// Shows the table until the end.
    async fn play(&mut self, screen: &mut Screen, signals: &mut Signals) -> Result<End, DemoError> {
        if !self.options.once && !screen.shows_table() {
            table::reach_lines(&self.stage.reach).try_for_each(|line| Screen::say(&line))?;
        }
        let (printers, writer) = reflector::store::<Printer>();
        let watch = watcher(self.stage.farm.printers(), watcher::Config::default()).default_backoff();
        let mut printer_changes = reflector::reflector(writer, watch).boxed();
        let (jobs, writer) = reflector::store::<PrintJob>();
        let watch = watcher(self.stage.farm.jobs(), watcher::Config::default()).default_backoff();
        let mut job_changes = reflector::reflector(writer, watch).boxed();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = signals.next() => return Ok(End::Interrupted),
                _ = printer_changes.next() => {}
                _ = job_changes.next() => {}
                status = self.stage.operator.ended() => {
                    return Err(DemoError::OperatorEnded { status: status?.to_string(), tail: self.stage.operator.tail() });
                }
                _ = ticks.tick() => {
                    if self.options.person {
                        for line in self.person.look_around(&self.stage.farm, &printers.state()).await {
                            self.story.add(self.begun.elapsed(), line);
                        }
                    }
                }
            }
            if !self.options.person {
                lend_a_hand(&self.stage.farm, &printers.state());
            }
            if let Some(end) = self.look(screen, &printers, &jobs)? {
                return Ok(end);
            }
        }
    }

    /// Draws what there is now, and says whether that is the end.
    fn look(
        &mut self,
        screen: &mut Screen,
        printers: &Store<Printer>,
        jobs: &Store<PrintJob>,
    ) -> Result<Option<End>, DemoError> {
        let now = self.begun.elapsed();
        let (mut printers, mut jobs) = (printers.state(), jobs.state());
        printers.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        jobs.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        self.story.follow(now, &printers, &jobs);
        self.examples.extend(jobs.iter().filter(|j| is_example(j)).map(|j| j.name_any()));
        let over = jobs.iter().filter(|j| is_example(j)).all(|j| has_ended(j));
        self.jobs.clone_from(&jobs);
        if (over && self.examples.len() >= self.stage.jobs) || self.ended.is_some() {
            let after = self.ended.as_ref().map_or(now, |(after, _)| *after);
            self.ended = Some((after, Verdict::judge(&jobs, &self.stage.farm.simulator().ledger())));
        }
        let view = table::View {
            printers: &printers,
            jobs: &jobs,
            told: self.story.last(),
            elapsed: now,
            time_scale: self.options.time_scale,
            verdict: self.ended.as_ref().map(|(after, verdict)| (*after, verdict)),
            reach: (!self.options.once).then_some(self.stage.reach.as_str()),
        };
        let frame = table::frame(&view);
        if self.options.picture.is_some() && self.ended.is_none() {
            Picture::keep_better(&mut self.picture, &frame, &printers, &jobs);
        }
        screen.show(&frame, &self.story.take_new())?;
        Ok(match &self.ended {
            Some(_) if self.options.once => Some(End::AllJobs),
            None if now > self.options.limit && self.options.once => Some(End::TooLong),
            _ => None,
        })
    }

    /// What is said when the table is left, and the exit code.
    fn tell_end(&self, end: &End) -> Result<ExitCode, DemoError> {
        let verdict = self.ended.as_ref().map(|(after, verdict)| (after, verdict));
        let code = match (end, verdict) {
            (End::AllJobs | End::Interrupted, Some((after, verdict))) => {
                self.tell_verdict(Some(*after), verdict)?;
                if verdict.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
            }
            (End::TooLong, _) => {
                Screen::say(&format!(
                    "Not every job has ended within {} s. `kubectl describe printjob` tells why a job waits; run the demo \
                     without --once to look.",
                    self.options.limit.as_secs()
                ))?;
                ExitCode::FAILURE
            }
            (_, None) => {
                let verdict = Verdict::judge(&self.jobs, &self.stage.farm.simulator().ledger());
                self.tell_verdict(None, &verdict)?;
                if verdict.is_good() { ExitCode::from(INTERRUPTED) } else { ExitCode::FAILURE }
            }
        };
        Ok(code)
    }

    fn tell_verdict(&self, after: Option<Duration>, verdict: &Verdict) -> Result<(), DemoError> {
        Screen::say("")?;
        verdict.lines(after, self.options.time_scale).iter().try_for_each(|line| Screen::say(line))
    }
}

struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Self, DemoError> {
        let on = |kind| signal(kind).map_err(DemoError::Signals);
        Ok(Self { interrupt: on(SignalKind::interrupt())?, terminate: on(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
