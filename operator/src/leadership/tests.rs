//! Leadership through its public handle, with a Lease in memory and tokio's paused time, and single faults in the
//! simulated world. What all schedules have in common is checked by the property in simulation.rs.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use tokio::time::{Instant, sleep, timeout};

use super::elector::{Answer, Elector, Next, Request, Role, holder};
use super::lease::{LeaseError, LeaseStore};
use super::simulation::{Event, Fate, led_by_the_first};
use super::{Clock, Config, Gauges, Leadership, Loss, Moment, NotLeader};

/// Tokio's time, with jumps.
#[derive(Clone)]
struct TestClock {
    start: Instant,
    boot_ahead_seconds: Arc<AtomicU64>,
    wall_ahead_seconds: Arc<AtomicI64>,
}

impl TestClock {
    fn new() -> Self {
        Self { start: Instant::now(), boot_ahead_seconds: Arc::default(), wall_ahead_seconds: Arc::default() }
    }
}

impl Clock for TestClock {
    fn now(&self) -> Moment {
        let ran = self.start.elapsed() + Duration::from_secs(1_000_000);
        let wall = self.wall_ahead_seconds.load(Ordering::SeqCst) + 1_000_000;
        Moment {
            boot: ran + Duration::from_secs(self.boot_ahead_seconds.load(Ordering::SeqCst)),
            wall: self.start.elapsed() + Duration::from_secs(u64::try_from(wall).unwrap()),
        }
    }
}

/// What the next replace does.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// Written, but the answer never comes.
    AnswerLost,
    /// No call is answered.
    Silent,
    /// It may be read and not written.
    Forbidden,
}

#[derive(Clone)]
struct MemoryStore {
    lease: Arc<Mutex<Option<Lease>>>,
    fault: Arc<Mutex<Fault>>,
}

impl MemoryStore {
    fn new() -> Self {
        Self { lease: Arc::default(), fault: Arc::new(Mutex::new(Fault::None)) }
    }

    fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    fn holder(&self) -> Option<String> {
        self.lease.lock().unwrap().as_ref().and_then(|lease| holder(lease).map(str::to_owned))
    }

    fn write(&self, lease: &Lease) -> Lease {
        let mut stored = self.lease.lock().unwrap();
        let last = stored.as_ref().and_then(|lease| lease.metadata.resource_version.clone());
        let version = last.map_or(1, |version| version.parse::<u64>().unwrap() + 1);
        let mut lease = lease.clone();
        lease.metadata.resource_version = Some(version.to_string());
        *stored = Some(lease.clone());
        lease
    }

    async fn reachable(&self) {
        if *self.fault.lock().unwrap() == Fault::Silent {
            std::future::pending::<()>().await;
        }
    }
}

impl LeaseStore for MemoryStore {
    async fn get(&self) -> Result<Lease, LeaseError> {
        self.reachable().await;
        self.lease.lock().unwrap().clone().ok_or(LeaseError::Absent)
    }

    async fn create(&self, lease: &Lease) -> Result<Lease, LeaseError> {
        self.reachable().await;
        if self.lease.lock().unwrap().is_some() { Err(LeaseError::Conflict) } else { Ok(self.write(lease)) }
    }

    async fn replace(&self, lease: &Lease) -> Result<Lease, LeaseError> {
        self.reachable().await;
        let stored = self.lease.lock().unwrap().clone().ok_or(LeaseError::Absent)?;
        if stored.metadata.resource_version != lease.metadata.resource_version {
            return Err(LeaseError::Conflict);
        }
        let written = self.write(lease);
        let lost = *self.fault.lock().unwrap() == Fault::AnswerLost;
        if lost {
            self.set(Fault::None);
            std::future::pending::<()>().await;
        }
        Ok(written)
    }

    async fn may_replace(&self, _lease: &Lease) -> Result<(), LeaseError> {
        self.reachable().await;
        let forbidden = *self.fault.lock().unwrap() == Fault::Forbidden;
        if forbidden { Err(LeaseError::Unclear("forbidden".into())) } else { Ok(()) }
    }
}

struct Candidate {
    leadership: Leadership,
    clock: TestClock,
    gauges: Gauges,
    task: tokio::task::JoinHandle<Loss>,
}

fn candidate(store: &MemoryStore, name: &str) -> Candidate {
    let clock = TestClock::new();
    let gauges = crate::telemetry::Metrics::new().unwrap().lease();
    let config = Config::new("farm", "operator", name);
    let (leadership, runner) = Leadership::new(config, clock.clone(), gauges.clone()).unwrap();
    Candidate { leadership, clock, gauges, task: tokio::spawn(runner.run(store.clone())) }
}

const SEND: Duration = Duration::from_secs(3);

#[tokio::test(start_paused = true)]
async fn a_lone_candidate_leads_and_keeps_leading() {
    let store = MemoryStore::new();
    let one = candidate(&store, "one");
    assert_eq!(one.leadership.permit(SEND), Err(NotLeader::Standby));
    let term = one.leadership.wait_until_leader().await.unwrap();
    for _ in 0..100 {
        sleep(Duration::from_secs(1)).await;
        let permit = one.leadership.permit(SEND).unwrap();
        assert_eq!(permit.term, term);
        assert_eq!(one.leadership.still(&term, SEND), Ok(()));
    }
    assert_eq!(one.gauges.leader.get(), 1);
    assert!(store.holder().unwrap().starts_with("one_"));
}

#[tokio::test(start_paused = true)]
async fn an_effect_that_could_outlive_the_lease_is_not_permitted() {
    let one = candidate(&MemoryStore::new(), "one");
    one.leadership.wait_until_leader().await.unwrap();
    assert!(one.leadership.permit(Duration::from_secs(11)).is_ok());
    let refused = one.leadership.permit(Duration::from_secs(14)).unwrap_err();
    assert!(matches!(refused, NotLeader::LeaseTooShort { .. }), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_api_server_ends_leadership_after_the_renew_deadline() {
    let store = MemoryStore::new();
    let one = candidate(&store, "one");
    one.leadership.wait_until_leader().await.unwrap();
    store.set(Fault::Silent);
    let began = Instant::now();
    assert_eq!(one.leadership.lost().await, Loss::Expired);
    assert!(began.elapsed() <= Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(one.leadership.permit(Duration::ZERO), Err(NotLeader::Lost(Loss::Expired)));
    assert_eq!((one.leadership.current(), one.gauges.leader.get()), (None, 0));
    assert_eq!(one.task.await.unwrap(), Loss::Expired);
}

#[tokio::test(start_paused = true)]
async fn the_lease_is_reached_with_the_first_answer_and_an_outage_takes_nothing_back() {
    let store = MemoryStore::new();
    store.set(Fault::Silent);
    let one = candidate(&store, "one");
    let reached = timeout(Duration::from_secs(60), one.leadership.reached()).await;
    assert!(reached.is_err(), "nothing was answered");
    store.set(Fault::None);
    timeout(Duration::from_secs(60), one.leadership.reached()).await.unwrap();
    store.set(Fault::Silent);
    one.leadership.lost().await;
    timeout(Duration::ZERO, one.leadership.reached()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_may_not_write_the_lease_has_not_reached_it_although_it_reads_who_leads() {
    let store = MemoryStore::new();
    let one = candidate(&store, "one");
    one.leadership.wait_until_leader().await.unwrap();
    store.set(Fault::Forbidden);
    let two = candidate(&store, "two");
    let reached = timeout(Duration::from_secs(60), two.leadership.reached()).await;
    assert!(reached.is_err(), "a rollout would end the one that works for it");
    store.set(Fault::None);
    timeout(Duration::from_secs(60), two.leadership.reached()).await.unwrap();
    assert!(one.leadership.current().is_some() && two.leadership.current().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_suspended_machine_has_no_permit_from_the_moment_it_wakes() {
    let one = candidate(&MemoryStore::new(), "one");
    let term = one.leadership.wait_until_leader().await.unwrap();
    // Tokio's timers stood still meanwhile: no task has run since.
    one.clock.boot_ahead_seconds.store(60, Ordering::SeqCst);
    assert_eq!(one.leadership.still(&term, Duration::ZERO), Err(NotLeader::Lost(Loss::Expired)));
    let noticed = Instant::now();
    assert_eq!(one.leadership.lost().await, Loss::Expired);
    assert!(noticed.elapsed() <= Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_set_forward_ends_leadership_and_one_set_back_does_not_prolong_it() {
    let store = MemoryStore::new();
    let one = candidate(&store, "one");
    one.leadership.wait_until_leader().await.unwrap();
    one.clock.wall_ahead_seconds.store(11, Ordering::SeqCst);
    assert_eq!(one.leadership.permit(Duration::ZERO), Err(NotLeader::Lost(Loss::Expired)));

    let store = MemoryStore::new();
    let two = candidate(&store, "two");
    two.leadership.wait_until_leader().await.unwrap();
    two.clock.wall_ahead_seconds.store(-3600, Ordering::SeqCst);
    sleep(Duration::from_secs(30)).await;
    assert!(two.leadership.current().is_some(), "renewals go on by boot time");
    store.set(Fault::Silent);
    two.clock.wall_ahead_seconds.store(-7200, Ordering::SeqCst);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(two.leadership.current(), None);
}

#[tokio::test(start_paused = true)]
async fn release_hands_over_within_the_retry_period() {
    let store = MemoryStore::new();
    let one = candidate(&store, "one");
    let first = one.leadership.wait_until_leader().await.unwrap();
    let two = candidate(&store, "two");
    sleep(Duration::from_secs(5)).await;
    assert_eq!(two.leadership.current(), None);
    let began = Instant::now();
    assert!(one.leadership.release().await);
    assert_eq!(store.holder(), None);
    assert_eq!(one.leadership.current(), None);
    let second = two.leadership.wait_until_leader().await.unwrap();
    assert!(began.elapsed() <= Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(second > first);
    assert_eq!(one.task.await.unwrap(), Loss::Released);
}

#[tokio::test(start_paused = true)]
async fn permits_end_before_the_release_is_written() {
    let store = MemoryStore::new();
    let one = candidate(&store, "one");
    one.leadership.wait_until_leader().await.unwrap();
    store.set(Fault::Silent);
    let leadership = one.leadership.clone();
    let releasing = tokio::spawn(async move { leadership.release().await });
    tokio::task::yield_now().await;
    assert_eq!(one.leadership.permit(Duration::ZERO), Err(NotLeader::Lost(Loss::Released)));
    assert!(!timeout(Duration::from_secs(10), releasing).await.unwrap().unwrap(), "nobody answered the release");
}

#[tokio::test(start_paused = true)]
async fn a_standby_that_releases_leaves_the_leader_alone() {
    let store = MemoryStore::new();
    let one = candidate(&store, "one");
    one.leadership.wait_until_leader().await.unwrap();
    let two = candidate(&store, "two");
    sleep(Duration::from_secs(3)).await;
    assert!(!two.leadership.release().await);
    assert_eq!(two.leadership.wait_until_leader().await, Err(NotLeader::Lost(Loss::Released)));
    assert!(one.leadership.current().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_renewal_whose_answer_was_lost_costs_nothing() {
    let store = MemoryStore::new();
    let one = candidate(&store, "one");
    let term = one.leadership.wait_until_leader().await.unwrap();
    store.set(Fault::AnswerLost);
    for _ in 0..30 {
        sleep(Duration::from_secs(1)).await;
        assert_eq!(one.leadership.current(), Some(term));
    }
}

#[tokio::test(start_paused = true)]
async fn a_foreign_holder_written_over_ours_ends_leadership_at_the_next_renewal() {
    let store = MemoryStore::new();
    let one = candidate(&store, "one");
    one.leadership.wait_until_leader().await.unwrap();
    let mut lease = store.lease.lock().unwrap().clone().unwrap();
    lease.spec.as_mut().unwrap().holder_identity = Some("somebody".to_owned());
    store.write(&lease);
    let began = Instant::now();
    assert_eq!(one.leadership.lost().await, Loss::Superseded);
    assert!(began.elapsed() <= Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_touched_lease_that_is_still_ours_costs_nothing() {
    let store = MemoryStore::new();
    let one = candidate(&store, "one");
    let term = one.leadership.wait_until_leader().await.unwrap();
    let mut lease = store.lease.lock().unwrap().clone().unwrap();
    lease.metadata.annotations = Some([("note".to_owned(), "a person was here".to_owned())].into());
    store.write(&lease);
    sleep(Duration::from_secs(15)).await;
    assert_eq!(one.leadership.current(), Some(term));
    let kept = store.lease.lock().unwrap().clone().unwrap().metadata.annotations.unwrap();
    assert!(kept.contains_key("note"));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_lease_ends_leadership_and_is_not_taken_at_once_by_who_saw_it() {
    let store = MemoryStore::new();
    let one = candidate(&store, "one");
    one.leadership.wait_until_leader().await.unwrap();
    let two = candidate(&store, "two");
    sleep(Duration::from_secs(4)).await;
    *store.lease.lock().unwrap() = None;
    let began = Instant::now();
    assert_eq!(one.leadership.lost().await, Loss::Deleted);
    two.leadership.wait_until_leader().await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(12), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_election_task_that_ends_ends_leadership() {
    let one = candidate(&MemoryStore::new(), "one");
    one.leadership.wait_until_leader().await.unwrap();
    one.task.abort();
    assert_eq!(one.leadership.lost().await, Loss::Stopped);
    assert_eq!(one.gauges.leader.get(), 0);
    assert!(!one.leadership.release().await);
}

#[test]
fn a_lease_is_counted_from_the_start_of_its_renewal_not_from_the_answer() {
    let at =
        |seconds| Moment { boot: Duration::from_secs(seconds), wall: Duration::from_secs(1_800_000_000 + seconds) };
    let mut elector = Elector::new(Config::new("farm", "operator", "one"));
    assert_eq!(elector.next(at(100)), Next::Call(Request::Get));
    elector.answered(&Request::Get, at(100), at(101), Answer::Absent);
    let Next::Call(create @ Request::Create(_)) = elector.next(at(101)) else { panic!("it should create the Lease") };
    let Request::Create(lease) = &create else { unreachable!() };
    elector.answered(&create, at(101), at(104), Answer::Lease(lease.clone()));
    assert!(matches!(elector.role(), Role::Leader { renewed, .. } if renewed == at(101)));
    let Next::Call(renewal @ Request::Replace(_)) = elector.next(at(104)) else { panic!("it should renew") };
    elector.answered(&renewal, at(104), at(107), Answer::Lease(lease.clone()));
    assert!(matches!(elector.role(), Role::Leader { renewed, .. } if renewed == at(104)));
}

#[test]
fn a_crashed_leader_is_replaced_after_the_lease_duration_and_not_before() {
    let mut world = led_by_the_first(2);
    world.apply(0, Event::Crash);
    world.run(12_000);
    assert_eq!(world.leaders(), Vec::<usize>::new());
    world.run(8_000);
    assert_eq!(world.leaders().len(), 1);
}

#[test]
fn a_slow_api_server_keeps_its_leader_as_long_as_answers_come_in_time() {
    let mut world = led_by_the_first(1);
    world.fates = vec![Fate { acts_after: Some(1_500), answers_after: Some(1_500) }; 100].into();
    for _ in 0..100 {
        world.run(1_000);
        assert_eq!(world.leaders(), [0]);
    }
}

#[test]
fn answers_slower_than_the_call_timeout_make_no_leader_and_a_recovered_server_makes_one() {
    let mut world = super::simulation::World::new(&[0, 0]);
    world.fates = vec![Fate { acts_after: Some(3_000), answers_after: Some(3_000) }; 20].into();
    while !world.fates.is_empty() {
        world.tick();
        assert!(world.leaders().is_empty());
    }
    world.run(40_000);
    assert_eq!(world.leaders().len(), 1);
}

#[test]
fn a_write_that_arrives_after_its_leader_gave_up_only_delays_the_next_one() {
    let mut world = led_by_the_first(2);
    // The renewal reaches the server 14 s late; everything else is prompt again.
    world.fates = [Fate { acts_after: Some(14_000), answers_after: None }].into();
    world.run(60_000);
    assert_eq!(world.leaders().len(), 1);
}

#[test]
fn a_standby_whose_wall_clock_jumps_takes_nothing_over() {
    let mut world = led_by_the_first(2);
    for jump in [3_600_000, -7_200_000, 86_400_000] {
        world.apply(1, Event::SetWall(jump));
        world.run(5_000);
        assert_eq!(world.leaders(), [0]);
    }
}

#[test]
fn a_frozen_virtual_machine_is_stopped_by_its_corrected_wall_clock() {
    let mut world = led_by_the_first(2);
    world.apply(0, Event::Freeze(30_000));
    world.run(29_000);
    assert_eq!(world.leaders(), [1]);
    // It wakes and believes by its boot time that no time has passed; each tick checks that it may do nothing.
    world.run(10_000);
    assert_eq!(world.leaders(), [1]);
}
