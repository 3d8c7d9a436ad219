//! The session of the simulated operator: polls, counts what it sees, and carries out one command at a time. A start is
//! several steps, so that anything may happen between any two of them: gate, first half, second half, send.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::Timestamp;

use super::World;
use crate::device::DeviceState;
use crate::identity::Token;
use crate::plan::DeviceCommand;
use crate::print_job::gate;
use crate::print_job::start::{Relation, SendAnswer, relation};
use crate::print_job::{UploadView, Watch};
use crate::testing::{Scene, seconds};

/// A try to start, between two of its steps.
#[derive(Clone, Debug)]
pub enum Try {
    /// The gate was open on these facts and these versions of both objects.
    Open { facts: Box<Scene>, versions: (u64, u64), sender: String },
    /// The first half is written.
    Half { facts: Box<Scene>, versions: (u64, u64), sender: String },
    /// Both halves are written.
    Whole { facts: Box<Scene>, sender: String },
}

/// What one process knows and has under way.
#[derive(Clone, Debug, Default)]
pub struct Session {
    pub token: Option<Token>,
    pub commands: VecDeque<DeviceCommand>,
    pub deleted: BTreeSet<String>,
    /// Files the device has not deleted, and since when.
    pub undeleted: BTreeMap<String, Timestamp>,
    pub closed_since: Option<Timestamp>,
    pub trying: Option<Try>,
    last_report: Option<Timestamp>,
}

impl Session {
    pub fn command(&mut self, command: DeviceCommand) {
        let pointless =
            matches!(&command, DeviceCommand::DeleteFile { remote_name } if self.deleted.contains(remote_name));
        if !pointless && !self.commands.contains(&command) {
            self.commands.push_back(command);
        }
    }
}

impl World {
    /// Turns the session to the attempt the job is at.
    pub fn attach(&mut self) {
        let status = self.scene.job_status();
        if status.printer.is_none() || crate::print_job::status::is_terminal(&status) {
            return;
        }
        let token = self.scene.token();
        if self.session.token.as_ref() != Some(&token) {
            let scene = &mut self.scene;
            (scene.watch, scene.upload, scene.closed, scene.pause_sent) =
                (Watch::default(), UploadView::Idle, None, false);
            (self.session.token, self.session.closed_since) = (Some(token.clone()), None);
        }
        let remembered = self.scene.printer_status().last_start.is_some_and(|l| l.token == token.to_string());
        if status.start.is_some() || status.start_time.is_some() || remembered {
            self.scene.watch.intent_is_known();
        }
    }

    /// One poll of the device.
    pub fn poll(&mut self) {
        if !self.up {
            return;
        }
        let report = self.device.report(&self.scene.report);
        let since = self.session.last_report.map(|at| self.scene.now.duration_since(at).unsigned_abs());
        self.session.last_report = Some(self.scene.now);
        (self.scene.report, self.scene.age) = (report.clone(), seconds(0));
        let Some(token) = self.session.token.clone() else { return };
        let number = self.scene.job_status().device_job_id;
        let ours = relation(&token, None, number.as_deref(), &report.identity) == Relation::Ours;
        self.scene.watch.report(&report, ours, since, self.scene.timing.report_gap);
    }

    /// One step of the session's work.
    pub fn session_step(&mut self) {
        if let Some(trying) = self.session.trying.take() {
            let ended = self.try_step(trying);
            if self.session.trying.is_none() {
                self.scene.watch.try_alive = false;
                if let Some(answer) = ended {
                    self.scene.watch.sent(answer);
                }
            }
            return;
        }
        if !self.up {
            return;
        }
        let Some(command) = self.session.commands.pop_front() else { return };
        let ours_runs = self.scene.report.state != DeviceState::Idle
            && self.device.report(&self.scene.report).identity.id == self.scene.job_status().device_job_id;
        match command {
            // What was deleted is not put back, nor started, by a command that had to wait.
            DeviceCommand::Upload { .. } | DeviceCommand::Start if self.is_deleted() => {}
            DeviceCommand::Upload { remote_name } => {
                if self.dice.one_in(8) {
                    self.scene.upload = UploadView::Failed { message: "cut".into() };
                } else {
                    self.device.files.insert(remote_name);
                    self.scene.upload = UploadView::Done;
                }
            }
            DeviceCommand::DeleteFile { remote_name } => {
                if !self.device.refuses {
                    self.device.delete(&remote_name);
                }
                if self.device.files.contains(&remote_name) {
                    self.session.undeleted.entry(remote_name).or_insert(self.scene.now);
                } else {
                    self.session.undeleted.remove(&remote_name);
                    self.session.deleted.insert(remote_name);
                }
            }
            DeviceCommand::Start => self.begin_try(),
            DeviceCommand::Pause if ours_runs => {
                self.scene.pause_sent = true;
                self.device.pause();
            }
            DeviceCommand::Resume if ours_runs => self.device.resume(),
            DeviceCommand::Stop if ours_runs => self.device.stop(),
            DeviceCommand::Pause | DeviceCommand::Resume | DeviceCommand::Stop => {}
        }
    }

    /// Whether the file of the attempt that is served was deleted.
    fn is_deleted(&self) -> bool {
        self.session.deleted.iter().any(|name| Token::find(name) == self.session.token)
    }

    fn begin_try(&mut self) {
        self.poll();
        let facts = Box::new(self.scene.clone());
        let current = self.session.token.as_ref() == Some(&facts.token()) && !facts.job_gone;
        match facts.gate() {
            Ok(()) if current => {
                (self.scene.closed, self.session.closed_since) = (None, None);
                self.scene.watch.try_alive = true;
                let sender = format!("sender-{}", self.steps);
                self.session.trying = Some(Try::Open { facts, versions: self.versions, sender });
            }
            Ok(()) => {}
            Err(closed) => {
                self.scene.closed = Some(closed);
                self.session.closed_since.get_or_insert(self.scene.now);
            }
        }
    }

    /// The next step of a try; what it has come to, if that was its last one.
    pub fn try_step(&mut self, trying: Try) -> Option<SendAnswer> {
        match trying {
            Try::Open { mut facts, versions, sender } => {
                let job = gate::job_half(&facts.gate_view(None), &sender, None)?;
                self.session.trying = if self.write_job(versions.0, job.clone()) {
                    facts.job.status = Some(job);
                    facts.other_job = None;
                    Some(Try::Half { facts, versions, sender })
                } else {
                    let (facts, versions) = self.read_again(&facts, None)?;
                    Some(Try::Open { facts, versions, sender })
                };
                None
            }
            Try::Half { mut facts, versions, sender } => {
                let printer = gate::printer_half(&facts.job, &facts.printer)?;
                self.session.trying = if self.write_printer(versions.1, printer.clone()) {
                    facts.printer.status = Some(printer);
                    Some(Try::Whole { facts, sender })
                } else if let Some((facts, versions)) = self.read_again(&facts, Some(&sender)) {
                    Some(Try::Half { facts, versions, sender })
                } else {
                    return Some(SendAnswer::NotSent("the printer changed".into()));
                };
                None
            }
            Try::Whole { mut facts, sender } => {
                if !self.up {
                    return Some(SendAnswer::NotSent("the connection ended".into()));
                }
                (facts.report, facts.age, facts.now) = (self.device.report(&facts.report), seconds(0), self.scene.now);
                if let Err(closed) = gate::check(&facts.gate_view(Some(&sender))) {
                    return Some(SendAnswer::NotSent(closed.to_string()));
                }
                let name = facts.job_status().start?.remote_name;
                Some(self.send(&name))
            }
        }
    }

    /// Both objects as they are by now, if the gate is open on them and on what the device said then.
    fn read_again(&self, facts: &Scene, sender: Option<&str>) -> Option<(Box<Scene>, (u64, u64))> {
        let mut now = Box::new(self.scene.clone());
        now.report = facts.report.clone();
        now.age = facts.age + self.scene.now.duration_since(facts.now).unsigned_abs();
        let current = now.token() == facts.token() && !now.job_gone;
        (current && gate::check(&now.gate_view(sender)).is_ok()).then_some((now, self.versions))
    }

    fn send(&mut self, name: &str) -> SendAnswer {
        match self.dice.below(10) {
            0 => SendAnswer::Unclear,
            1 => {
                self.device.on_the_way = Some((name.to_owned(), 1 + self.dice.below(200)));
                SendAnswer::Unclear
            }
            2 | 3 => {
                self.device.start(name, &mut self.dice);
                SendAnswer::Unclear
            }
            _ if self.device.start(name, &mut self.dice) => SendAnswer::Accepted,
            _ => SendAnswer::Refused("not in a state to print".into()),
        }
    }
}
