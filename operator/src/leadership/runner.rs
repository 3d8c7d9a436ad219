//! Carries out what the elector decides: one call at a time, each under a timeout, and tells the handles what came of
//! it. Holds no rule of its own. When it ends, for whatever reason, nobody holds a valid permit any more.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use tokio::sync::watch;
use tracing::{info, warn};

use super::elector::{Answer, Elector, Next, Request, Role, holder};
use super::lease::{LeaseError, LeaseStore};
use super::{Loss, Shared};

/// The task that stands for election and renews. Made together with its [`super::Leadership`] handle.
pub struct Runner {
    elector: Elector,
    shared: Arc<Shared>,
    stop: watch::Receiver<bool>,
    troubled: bool,
    /// Whether it was told that the Lease cannot be written.
    refused: bool,
    /// The leader that was told of last.
    told: Option<String>,
}

impl Runner {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let (elector, stop) = (Elector::new(shared.config.clone()), shared.stop.subscribe());
        Self { elector, shared, stop, troubled: false, refused: false, told: None }
    }

    /// Stands for election, renews, and returns when leadership was lost or released. The program should then end:
    /// a handle never becomes leader twice.
    pub async fn run<S: LeaseStore>(mut self, store: S) -> Loss {
        let loss = loop {
            if *self.stop.borrow() {
                break Loss::Released;
            }
            let now = self.shared.clock.now();
            match self.elector.next(now) {
                Next::Ended(loss) => break loss,
                Next::Wait(pause) => {
                    self.publish();
                    self.rest(pause).await;
                }
                Next::Call(request) => self.call(&store, &request).await,
            }
            self.publish();
        };
        self.publish();
        if loss == Loss::Released {
            self.hand_over(&store).await;
        } else {
            warn!(event = "leadership_lost", reason = %loss, "this process no longer leads and must end");
        }
        loss
    }

    /// Waits, but not past a wish to stop. Short steps, because timers stand still while a machine is suspended and
    /// the loss has to be noticed soon after it wakes.
    async fn rest(&mut self, pause: Duration) {
        let step = pause.min(self.shared.config.retry_period).max(Duration::from_millis(1));
        tokio::select! {
            () = tokio::time::sleep(step) => {}
            _ = self.stop.changed() => {}
        }
    }

    async fn call<S: LeaseStore>(&mut self, store: &S, request: &Request) {
        let started = self.shared.clock.now();
        let result = perform(store, request, self.elector.timeout(started)).await;
        let now = self.shared.clock.now();
        if let Err(error @ LeaseError::Unclear(_)) = &result
            && !self.troubled
        {
            let error = error as &dyn std::error::Error;
            warn!(event = "lease_unreachable", error, "leader election cannot reach its Lease and keeps trying");
        }
        self.troubled = matches!(result, Err(LeaseError::Unclear(_)));
        if let Ok(lease) = &result {
            self.tell_leader(lease);
        }
        let unproven = (!*self.shared.reached.borrow()).then(|| result.as_ref().ok().cloned()).flatten();
        self.elector.answered(request, started, now, answer(result));
        if let Some(lease) = unproven {
            self.publish();
            self.prove(store, request, &lease).await;
        }
    }

    /// Finds out whether this process could renew the Lease it was answered with. Whoever waits does not write it, so one
    /// that can only read it would be taken for a successor: the right is asked for without writing.
    async fn prove<S: LeaseStore>(&mut self, store: &S, request: &Request, lease: &Lease) {
        let refused = if matches!(request, Request::Replace(_)) {
            None
        } else {
            let asked = tokio::time::timeout(self.shared.config.call_timeout, store.may_replace(lease)).await;
            asked.unwrap_or_else(|elapsed| Err(LeaseError::Unclear(Box::new(elapsed)))).err()
        };
        if let Some(error) = refused.as_ref().filter(|_| !self.refused) {
            let error = error as &dyn std::error::Error;
            warn!(
                event = "lease_not_writable",
                error, "leader election reads its Lease and cannot write it, and keeps trying"
            );
        }
        self.refused = refused.is_some();
        self.shared.reached.send_replace(!self.refused);
    }

    /// Says once who leads instead of this process.
    fn tell_leader(&mut self, lease: &Lease) {
        let other = holder(lease).filter(|h| self.elector.role() == Role::Standby && *h != self.shared.config.identity);
        if let Some(other) = other
            && self.told.as_deref() != Some(other)
        {
            let seconds = self.shared.config.lease_duration.as_secs();
            info!(
                leader = other,
                "this process waits: another one holds the Lease, or held it less than {seconds} s ago"
            );
            self.told = Some(other.to_owned());
        }
    }

    fn publish(&self) {
        let role = self.elector.role();
        let changed = self.shared.set(role);
        if let (true, Role::Leader { term, .. }) = (changed, role) {
            info!(event = "leadership_acquired", term = term.0, identity = %self.shared.config.identity, "this process leads");
        }
    }

    async fn hand_over<S: LeaseStore>(&mut self, store: &S) {
        let Some(request) = self.elector.release(self.shared.clock.now()) else {
            self.shared.released.send_replace(Some(false));
            return;
        };
        let done = match perform(store, &request, self.shared.config.call_timeout).await {
            Ok(lease) => holder(&lease).is_none(),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                warn!(event = "lease_not_released", error, "the next leader has to wait for the lease to run out");
                false
            }
        };
        self.shared.released.send_replace(Some(done));
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.shared.set(Role::Ended(Loss::Stopped));
        self.shared.released.send_if_modified(|released| released.replace(released.unwrap_or(false)).is_none());
    }
}

async fn perform<S: LeaseStore>(store: &S, request: &Request, timeout: Duration) -> Result<Lease, LeaseError> {
    let call = async {
        match request {
            Request::Get => store.get().await,
            Request::Create(lease) => store.create(lease).await,
            Request::Replace(lease) => store.replace(lease).await,
        }
    };
    match tokio::time::timeout(timeout, call).await {
        Ok(result) => result,
        Err(elapsed) => Err(LeaseError::Unclear(Box::new(elapsed))),
    }
}

fn answer(result: Result<Lease, LeaseError>) -> Answer {
    match result {
        Ok(lease) => Answer::Lease(Box::new(lease)),
        Err(LeaseError::Conflict) => Answer::Conflict,
        Err(LeaseError::Absent) => Answer::Absent,
        Err(LeaseError::Unclear(_)) => Answer::Unclear,
    }
}
