//! A world for electors without a server or a runtime: true time in ticks, an API server that answers late, loses
//! requests and answers, machines whose clocks drift, jump and stand still. After each tick it checks that no two
//! processes could have an effect at the same time.

use std::collections::VecDeque;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use proptest::prelude::*;

use super::elector::{Answer, Elector, Next, Request, Role};
use super::{Config, Moment, permit};

const TICK_MILLISECONDS: u64 = 50;

/// What the network and the server do to one call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fate {
    /// Time until the server acts; never when the request is lost.
    pub(super) acts_after: Option<u64>,
    /// Time after that until the answer is there; never when it is lost.
    pub(super) answers_after: Option<u64>,
}

impl Fate {
    pub(super) const PROMPT: Self = Self { acts_after: Some(50), answers_after: Some(50) };
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// The machine sleeps: nothing runs, boot time and wall time go on.
    Suspend(u64),
    /// The virtual machine is paused: its boot time stands still too, and its wall clock is right when it wakes.
    Freeze(u64),
    /// The wall clock is set forward or back.
    SetWall(i64),
    Release,
    Crash,
}

struct Call {
    request: Request,
    started: Moment,
    times_out_at: u64,
    acts_at: Option<u64>,
    answers_after: Option<u64>,
    answer: Option<(u64, Answer)>,
}

struct Process {
    elector: Elector,
    call: Option<Call>,
    sleeps_until: u64,
    starts_at: u64,
    /// True time until which an effect permitted so far may be under way.
    reach: u64,
}

pub(super) struct Machine {
    rate_permille: i64,
    boot_lag: u64,
    wall_jump: i64,
    process: Process,
    starts: u32,
    /// Reach of processes that ended here before.
    past_reach: u64,
}

pub(super) struct World {
    pub(super) now: u64,
    pub(super) lease: Option<Lease>,
    versions: u64,
    pub(super) machines: Vec<Machine>,
    /// Requests whose caller gave up: the server may still act on them.
    orphans: Vec<(u64, Request)>,
    pub(super) fates: VecDeque<Fate>,
    pub(super) permits: u64,
}

fn config(machine: usize, start: u32) -> Config {
    Config { identity: format!("machine-{machine}-start-{start}"), ..Config::new("farm", "operator", "x") }
}

fn process(machine: usize, start: u32, starts_at: u64) -> Process {
    let elector = Elector::new(config(machine, start));
    Process { elector, call: None, sleeps_until: 0, starts_at, reach: 0 }
}

impl World {
    pub(super) fn new(rates_permille: &[i64]) -> Self {
        let machines = rates_permille.iter().enumerate().map(|(index, rate)| Machine {
            rate_permille: *rate,
            boot_lag: 0,
            wall_jump: 0,
            process: process(index, 0, 0),
            starts: 0,
            past_reach: 0,
        });
        let machines = machines.collect();
        let fates = VecDeque::new();
        Self { now: 0, lease: None, versions: 0, machines, orphans: Vec::new(), fates, permits: 0 }
    }

    fn clocks(&self, machine: usize) -> Moment {
        let machine = &self.machines[machine];
        let true_time = i64::try_from(self.now).unwrap();
        let ran = u64::try_from(true_time + true_time * machine.rate_permille / 1000).unwrap();
        let wall = 1_800_000_000_000 + i64::try_from(ran).unwrap() + machine.wall_jump;
        Moment {
            boot: Duration::from_millis(1_000_000 + ran - machine.boot_lag),
            wall: Duration::from_millis(u64::try_from(wall).unwrap()),
        }
    }

    pub(super) fn role(&self, machine: usize) -> Role {
        self.machines[machine].process.elector.role()
    }

    pub(super) fn leads(&self, machine: usize) -> bool {
        let awake = self.machines[machine].process.sleeps_until <= self.now;
        awake && permit(self.role(machine), &config(machine, 0), self.clocks(machine), Duration::ZERO).is_ok()
    }

    pub(super) fn leaders(&self) -> Vec<usize> {
        (0..self.machines.len()).filter(|machine| self.leads(*machine)).collect()
    }

    /// The server's side of a request.
    fn act(&mut self, request: &Request) -> Answer {
        let lease = match (request, &self.lease) {
            (Request::Get, Some(lease)) => return Answer::Lease(Box::new(lease.clone())),
            (Request::Get | Request::Replace(_), None) => return Answer::Absent,
            (Request::Create(_), Some(_)) => return Answer::Conflict,
            (Request::Replace(lease), Some(stored))
                if lease.metadata.resource_version != stored.metadata.resource_version =>
            {
                return Answer::Conflict;
            }
            (Request::Create(lease) | Request::Replace(lease), _) => lease,
        };
        self.versions += 1;
        let metadata = ObjectMeta { resource_version: Some(self.versions.to_string()), ..lease.metadata.clone() };
        let stored = Lease { metadata, spec: lease.spec.clone() };
        self.lease = Some(stored.clone());
        Answer::Lease(Box::new(stored))
    }

    fn begin(&mut self, machine: usize, request: Request) {
        let fate = self.fates.pop_front().unwrap_or(Fate::PROMPT);
        let started = self.clocks(machine);
        let timeout = self.machines[machine].process.elector.timeout(started);
        self.machines[machine].process.call = Some(Call {
            request,
            started,
            times_out_at: self.now + u64::try_from(timeout.as_millis()).unwrap(),
            acts_at: fate.acts_after.map(|after| self.now + after),
            answers_after: fate.answers_after,
            answer: None,
        });
    }

    pub(super) fn apply(&mut self, machine: usize, event: Event) {
        let now = self.now;
        match event {
            Event::Suspend(span) => self.machines[machine].process.sleeps_until = now + span,
            Event::Freeze(span) => {
                self.machines[machine].process.sleeps_until = now + span;
                self.machines[machine].boot_lag += span;
            }
            Event::SetWall(by) => self.machines[machine].wall_jump += by,
            Event::Release => {
                let clocks = self.clocks(machine);
                let process = &mut self.machines[machine].process;
                // The caller has ended its effects before it releases.
                process.reach = process.reach.min(now);
                let request = process.elector.release(clocks);
                if let Some(request) = request {
                    self.orphans.push((now + 100, request));
                }
                self.restart(machine, 1_000);
            }
            Event::Crash => self.restart(machine, 1_000),
        }
    }

    fn restart(&mut self, machine: usize, after: u64) {
        let at = self.now + after;
        let machine_state = &mut self.machines[machine];
        machine_state.starts += 1;
        machine_state.past_reach = machine_state.past_reach.max(machine_state.process.reach);
        let old = std::mem::replace(&mut machine_state.process, process(machine, machine_state.starts, at));
        machine_state.process.sleeps_until = old.sleeps_until;
        if let Some(Call { request, acts_at: Some(at), .. }) = old.call {
            self.orphans.push((at, request));
        }
    }

    fn step(&mut self, machine: usize) {
        let now = self.now;
        if let Some(mut call) = self.machines[machine].process.call.take() {
            if call.acts_at.is_some_and(|at| at <= now) {
                call.acts_at = None;
                let answer = self.act(&call.request);
                call.answer = call.answers_after.map(|after| (now + after, answer));
            }
            self.machines[machine].process.call = Some(call);
        }
        if self.machines[machine].process.sleeps_until > now || self.machines[machine].process.starts_at > now {
            return;
        }
        let clocks = self.clocks(machine);
        if let Some(mut call) = self.machines[machine].process.call.take() {
            let answer = match call.answer.take() {
                Some((at, answer)) if at <= now => answer,
                _ if call.times_out_at <= now => {
                    if let Some(at) = call.acts_at {
                        self.orphans.push((at, call.request.clone()));
                    }
                    Answer::Unclear
                }
                kept => {
                    call.answer = kept;
                    self.machines[machine].process.call = Some(call);
                    return;
                }
            };
            self.machines[machine].process.elector.answered(&call.request, call.started, clocks, answer);
        }
        match self.machines[machine].process.elector.next(clocks) {
            Next::Call(request) => self.begin(machine, request),
            Next::Wait(_) => {}
            Next::Ended(_) => self.restart(machine, 500),
        }
    }

    /// One tick of true time, then the check.
    pub(super) fn tick(&mut self) {
        self.now += TICK_MILLISECONDS;
        let (due, later) = std::mem::take(&mut self.orphans).into_iter().partition(|(at, _)| *at <= self.now);
        self.orphans = later;
        for (_, request) in due as Vec<(u64, Request)> {
            let _answer_nobody_waits_for = self.act(&request);
        }
        for machine in 0..self.machines.len() {
            self.step(machine);
            self.check();
        }
    }

    pub(super) fn run(&mut self, milliseconds: u64) {
        let end = self.now + milliseconds;
        while self.now < end {
            self.tick();
        }
    }

    fn check(&mut self) {
        for machine in 0..self.machines.len() {
            let clocks = self.clocks(machine);
            // A sleeping machine asks nothing; what it was permitted before is in its reach.
            if self.machines[machine].process.sleeps_until > self.now {
                continue;
            }
            let Ok(permit) = permit(self.role(machine), &config(machine, 0), clocks, Duration::ZERO) else { continue };
            self.permits += 1;
            for (other, rival) in self.machines.iter().enumerate() {
                let reach = if other == machine { 0 } else { rival.process.reach };
                let reach = reach.max(rival.past_reach);
                assert!(reach <= self.now, "{machine} leads at {} but {other} may act until {reach}", self.now);
            }
            // Both clocks bound an effect, so the nearer end is the real one.
            let left =
                permit.expires.boot.saturating_sub(clocks.boot).min(permit.expires.wall.saturating_sub(clocks.wall));
            let process = &mut self.machines[machine].process;
            process.reach = process.reach.max(self.now + u64::try_from(left.as_millis()).unwrap());
        }
    }
}

fn fates() -> impl Strategy<Value = Fate> {
    let delay = prop_oneof![6 => 0..300_u64, 2 => 300..3_000_u64, 1 => 3_000..20_000_u64];
    let maybe = prop_oneof![8 => Just(true), 1 => Just(false)];
    (delay.clone(), delay, maybe.clone(), maybe).prop_map(|(acts, answers, arrives, returns)| Fate {
        acts_after: arrives.then_some(acts),
        answers_after: returns.then_some(answers),
    })
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        (1_000..40_000_u64).prop_map(Event::Suspend),
        (-60_000..60_000_i64).prop_map(Event::SetWall),
        Just(Event::Release),
        Just(Event::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_schedule_of_faults_lets_two_processes_act_at_once(
        rates in prop::collection::vec(-20..20_i64, 2..4),
        fates in prop::collection::vec(fates(), 20..150),
        mut events in prop::collection::vec((0..100_000_u64, 0..3_usize, events()), 0..12),
    ) {
        events.sort_by_key(|event| event.0);
        let mut world = World::new(&rates);
        world.fates = fates.into();
        for (at, machine, event) in events {
            while world.now < at {
                world.tick();
            }
            let machine = machine % world.machines.len();
            world.apply(machine, event);
        }
        // Once the faults are over there is exactly one leader again, and it stays. The longest of them: a late
        // write that was sent just before.
        world.fates.clear();
        world.run(90_000);
        prop_assert_eq!(world.leaders().len(), 1);
        let leader = world.leaders();
        world.run(60_000);
        prop_assert_eq!(world.leaders(), leader);
        prop_assert!(world.permits > 0);
    }
}

/// A world of `machines` in which machine 0 has just become leader.
pub(super) fn led_by_the_first(machines: usize) -> World {
    let mut world = World::new(&vec![0; machines]);
    // The first one is faster.
    world.fates = [Fate::PROMPT].into();
    world.machines.iter_mut().skip(1).for_each(|machine| machine.process.starts_at = 2_000);
    world.run(3_000);
    assert_eq!(world.leaders(), [0]);
    world
}
