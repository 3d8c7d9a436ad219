//! How a printer of any kind lives: its state behind one lock, brought up to the clock before anyone sees it.
//!
//! Whoever changes something wakes the others: ticker, endpoints, waiting clients. The lock is never held across an
//! await, so a connection that dies leaves no half-done effect. Knows no protocol.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use crate::{Event, Ledger, clock::Clock};

/// Everything that changes of a printer: the firmware and what lies beside it.
pub(crate) trait Alive {
    /// Lets everything due happen; true if something did.
    fn advance(&mut self, now: Duration) -> bool;
    /// When something happens next by itself, in simulated time.
    fn next_deadline(&self) -> Option<Duration>;
    /// What happened since the last call.
    fn take_events(&mut self) -> Vec<Event>;
    /// The machine's own serial number, also while another one is shown.
    fn serial_number(&self) -> &str;
}

/// A printer's state, and what is needed to let it live.
pub(crate) struct Life<S> {
    name: String,
    clock: Clock,
    ledger: Ledger,
    state: Mutex<S>,
    changed: watch::Sender<u64>,
}

impl<S: Alive> Life<S> {
    pub(crate) fn new(name: &str, clock: Clock, ledger: Ledger, state: S) -> Self {
        Self { name: name.to_owned(), clock, ledger, state: Mutex::new(state), changed: watch::Sender::new(0) }
    }

    /// The printer's name within the simulation.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Lets everything due happen, then looks.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&S, Duration) -> R) -> R {
        self.with(false, |state, now| look(state, now))
    }

    /// Lets everything due happen, then keeps something nobody waits for.
    pub(crate) fn keep<R>(&self, keep: impl FnOnce(&mut S, Duration) -> R) -> R {
        self.with(false, keep)
    }

    /// Lets everything due happen, then changes something and wakes who waits for it.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut S, Duration) -> R) -> R {
        self.with(true, change)
    }

    fn with<R>(&self, wakes: bool, act: impl FnOnce(&mut S, Duration) -> R) -> R {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        // Whoever waits for what the machine does is told, also when it was this look that let it happen.
        let wakes = state.advance(now) || wakes;
        // What happened before stands before what `act` writes.
        self.write_events(&mut state);
        let result = act(&mut state, now);
        self.write_events(&mut state);
        drop(state);
        if wakes {
            self.wake();
        }
        result
    }

    fn write_events(&self, state: &mut S) {
        for event in state.take_events() {
            self.record(state, event);
        }
    }

    /// Writes to the ledger what the firmware itself does not know: requests and their answers.
    pub(crate) fn record(&self, state: &S, event: Event) {
        self.ledger.record(&self.name, state.serial_number(), event);
    }

    pub(crate) fn wake(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Changes whenever the state may have.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Lets the machine live: wakes at each of its deadlines. Ends never; abort it with its simulator.
    pub(crate) async fn tick(&self) {
        let mut changed = self.changes();
        loop {
            changed.borrow_and_update();
            let deadline = self.look(|state, _| state.next_deadline());
            let due = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(self.clock.instant_of(deadline)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {}
                result = changed.changed() => if result.is_err() { return },
            }
        }
    }
}
