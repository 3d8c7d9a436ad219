//! A simple device: numbers its prints, shows their ends, forgets them when its power is cut, and keeps a ledger of every
//! physical start. It speaks no protocol; what the operator sees of it is a report.

use std::collections::BTreeSet;

use printernizer_crds::common::DeviceIdentity;

use super::Dice;
use crate::device::{Blocker, DeviceProgress, DeviceReport, DeviceState};

/// What it is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Nothing,
    Asking,
    /// The question is answered and the print has not begun; it shows idle.
    Opening {
        left: u64,
    },
    Printing {
        left: u64,
    },
    Paused {
        left: u64,
    },
    Shows(DeviceState),
}

#[derive(Clone, Debug)]
pub struct Device {
    doing: Doing,
    number: u32,
    name: Option<String>,
    /// Whether it forgets its print when its power is cut.
    forgets: bool,
    pub files: BTreeSet<String>,
    /// It deletes nothing, as while something else reads its storage.
    pub refuses: bool,
    /// A dialog waits on its screen.
    pub dialog: bool,
    /// A start that was taken by its network and is acted on so many seconds later.
    pub on_the_way: Option<(String, u64)>,
    /// Names of prints that a person started at its screen.
    pub by_person: BTreeSet<String>,
    /// Names of all prints that were physically started.
    pub ledger: Vec<String>,
}

impl Device {
    pub fn new(forgets: bool) -> Self {
        let files = BTreeSet::new();
        let name = Some("older.gcode".into());
        let (on_the_way, ledger) = (None, Vec::new());
        let (refuses, dialog, by_person) = (false, false, BTreeSet::new());
        Self { doing: Doing::Nothing, number: 7, name, forgets, files, refuses, dialog, on_the_way, by_person, ledger }
    }

    pub fn is_active(&self) -> bool {
        matches!(self.doing, Doing::Asking | Doing::Opening { .. } | Doing::Printing { .. } | Doing::Paused { .. })
    }

    /// Whether its reports say that there is a print.
    fn shows_print(&self) -> bool {
        self.is_active() && !matches!(self.doing, Doing::Opening { .. })
    }

    pub fn was_started(&self, name: &str) -> bool {
        self.ledger.iter().any(|n| n == name)
    }

    /// Takes a start, or refuses it.
    pub fn start(&mut self, name: &str, dice: &mut Dice) -> bool {
        if self.is_active() || !self.files.contains(name) {
            return false;
        }
        self.number += 1;
        self.name = Some(name.to_owned());
        self.doing = Doing::Asking;
        if !dice.one_in(4) {
            self.print(dice);
        }
        true
    }

    fn print(&mut self, dice: &mut Dice) {
        self.ledger.extend(self.name.clone());
        self.doing = Doing::Printing { left: 20 + dice.below(200) };
    }

    /// A person at its screen: answers its question, resumes, or starts one of our files that never ran.
    pub fn person(&mut self, dice: &mut Dice) {
        if self.doing == Doing::Asking {
            if dice.one_in(3) {
                self.doing = Doing::Nothing;
            } else {
                self.doing = Doing::Opening { left: 1 + dice.below(3) };
            }
            return;
        }
        if dice.one_in(20) {
            self.resume();
        }
        if dice.one_in(4) {
            (self.refuses, self.dialog) = (false, false);
        }
        let untouched = self.files.iter().find(|f| !self.was_started(f)).cloned();
        // A print at the screen that nobody watched, on a device that then forgets it, is a known limit.
        let possible = self.on_the_way.is_none() && !self.forgets;
        if let Some(name) = untouched.filter(|_| possible && dice.one_in(20))
            && self.start(&name, dice)
        {
            self.by_person.insert(name);
        }
    }

    pub fn foreign_print(&mut self, dice: &mut Dice) {
        if !self.is_active() {
            self.number += 1;
            self.name = Some(format!("vase{}.gcode", self.number));
            self.doing = Doing::Printing { left: 20 + dice.below(200) };
        }
    }

    pub fn cut_power(&mut self) {
        self.doing = Doing::Nothing;
        self.on_the_way = None;
        if self.forgets {
            self.name = None;
        }
    }

    pub fn delete(&mut self, name: &str) {
        let shown = self.name.as_deref() == Some(name);
        if !(shown && self.is_active()) {
            self.files.remove(name);
            if shown && matches!(self.doing, Doing::Shows(_)) {
                self.doing = Doing::Nothing;
            }
        }
    }

    pub fn pause(&mut self) {
        if let Doing::Printing { left } = self.doing {
            self.doing = Doing::Paused { left };
        }
    }

    pub fn resume(&mut self) {
        if let Doing::Paused { left } = self.doing {
            self.doing = Doing::Printing { left };
        }
    }

    pub fn stop(&mut self) {
        match self.doing {
            Doing::Asking => self.doing = Doing::Nothing,
            Doing::Printing { .. } | Doing::Paused { .. } => self.doing = Doing::Shows(DeviceState::Stopped),
            Doing::Nothing | Doing::Opening { .. } | Doing::Shows(_) => {}
        }
    }

    pub fn pass(&mut self, seconds: u64, dice: &mut Dice) {
        if let Some((name, left)) = self.on_the_way.take() {
            match left.checked_sub(seconds) {
                Some(left) if left > 0 => self.on_the_way = Some((name, left)),
                _ => {
                    // It was taken over whole: deleting the file in the meantime does not stop it.
                    let deleted = self.files.insert(name.clone());
                    if !self.start(&name, dice) && deleted {
                        self.files.remove(&name);
                    }
                }
            }
        }
        if let Doing::Opening { left } = self.doing {
            match left.checked_sub(seconds) {
                Some(left) if left > 0 => self.doing = Doing::Opening { left },
                _ => self.print(dice),
            }
        } else if let Doing::Printing { left } = self.doing {
            self.doing = match left.checked_sub(seconds) {
                Some(left) if left > 0 => Doing::Printing { left },
                _ if dice.one_in(5) => Doing::Shows(DeviceState::Failed),
                // Someone leaves the end screen before anyone has seen it.
                _ if dice.one_in(20) => Doing::Nothing,
                _ => Doing::Shows(DeviceState::Finished),
            };
        }
    }

    pub fn report(&self, otherwise: &DeviceReport) -> DeviceReport {
        let known = self.name.as_ref().map(|name| DeviceIdentity {
            id: Some(self.number.to_string()),
            name: Some(name.clone()),
            file: None,
        });
        let percent = i32::from(self.doing != Doing::Asking);
        DeviceReport {
            state: match self.doing {
                Doing::Nothing | Doing::Opening { .. } => DeviceState::Idle,
                Doing::Asking => DeviceState::Attention,
                Doing::Printing { .. } => DeviceState::Printing,
                Doing::Paused { .. } => DeviceState::Paused,
                Doing::Shows(state) => state,
            },
            has_print: self.shows_print(),
            identity: known.unwrap_or_default(),
            blockers: if self.dialog { vec![Blocker::Dialog] } else { Vec::new() },
            progress: self.shows_print().then(|| DeviceProgress { percent, ..DeviceProgress::default() }),
            ..otherwise.clone()
        }
    }
}
