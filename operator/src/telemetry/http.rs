//! `/metrics`, `/healthz` and `/readyz` over plain HTTP. Live means that every registered task has shown a sign of life
//! within its limit; ready means that every gate has opened, leading or not, so that a standby is ready too. Answers
//! name what is missing. Never touches the API server or a printer: a probe must not depend on them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::Metrics;

#[derive(Debug)]
enum Check {
    Beat { last: Instant, limit: Duration },
    Gate { open: bool },
}

/// The process's own view of its health. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Health {
    checks: Arc<Mutex<BTreeMap<&'static str, Check>>>,
}

/// A task's sign of life. Dropping it ends the watch over the task, so a task that may only end with the process
/// keeps it until then.
#[derive(Debug)]
pub struct Heartbeat {
    health: Health,
    name: &'static str,
}

/// Something that must have happened before the process is ready.
#[derive(Clone, Debug)]
pub struct Gate {
    health: Health,
    name: &'static str,
}

impl Health {
    /// Nothing registered: live and ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Watches a task from now on: the process is not live when two beats are further apart than `max_age`. A second
    /// registration of a name replaces the first.
    pub fn heartbeat(&self, name: &'static str, max_age: Duration) -> Heartbeat {
        self.change(|checks| checks.insert(name, Check::Beat { last: Instant::now(), limit: max_age }));
        Heartbeat { health: self.clone(), name }
    }

    /// Registers something the process waits for, closed at first.
    pub fn gate(&self, name: &'static str) -> Gate {
        self.change(|checks| checks.insert(name, Check::Gate { open: false }));
        Gate { health: self.clone(), name }
    }

    /// Tasks without a sign of life, with the age of the last one.
    pub fn stale(&self) -> Vec<(&'static str, Duration)> {
        let now = Instant::now();
        self.change(|checks| {
            let age = |check: &Check| match check {
                Check::Beat { last, limit } => Some(now.saturating_duration_since(*last)).filter(|age| age > limit),
                Check::Gate { .. } => None,
            };
            checks.iter().filter_map(|(name, check)| age(check).map(|age| (*name, age))).collect()
        })
    }

    /// Gates that have not opened yet.
    pub fn closed(&self) -> Vec<&'static str> {
        self.change(|checks| {
            let closed = |check: &Check| matches!(check, Check::Gate { open: false });
            checks.iter().filter(|(_, check)| closed(check)).map(|(name, _)| *name).collect()
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<&'static str, Check>) -> T) -> T {
        change(&mut self.checks.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Heartbeat {
    /// The task is alive now.
    pub fn beat(&self) {
        self.health.change(|checks| {
            if let Some(Check::Beat { last, .. }) = checks.get_mut(self.name) {
                *last = Instant::now();
            }
        });
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.health.change(|checks| checks.remove(self.name));
    }
}

impl Gate {
    /// It has happened.
    pub fn open(&self) {
        self.set(true);
    }

    /// It is no longer so, for example while a cache is filled again.
    pub fn close(&self) {
        self.set(false);
    }

    fn set(&self, now_open: bool) {
        self.health.change(|checks| checks.insert(self.name, Check::Gate { open: now_open }));
    }
}

/// The three pages.
pub fn router(metrics: Metrics, health: Health) -> Router {
    let health_routes = Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz)).with_state(health);
    Router::new().route("/metrics", get(show_metrics)).with_state(metrics).merge(health_routes)
}

/// Serves until `shutdown` is done.
pub async fn serve(
    listener: TcpListener,
    metrics: Metrics,
    health: Health,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, router(metrics, health)).with_graceful_shutdown(shutdown).await
}

async fn show_metrics(State(metrics): State<Metrics>) -> Response {
    match metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("metrics cannot be shown: {error}\n")).into_response()
        }
    }
}

async fn healthz(State(health): State<Health>) -> Response {
    let mut text = String::new();
    for (name, age) in health.stale() {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "stale: {name} gave no sign of life for {:.0} s", age.as_secs_f64());
    }
    answer(text)
}

async fn readyz(State(health): State<Health>) -> Response {
    let mut text = String::new();
    for name in health.closed() {
        let _ = writeln!(text, "waiting for: {name}");
    }
    answer(text)
}

fn answer(trouble: String) -> Response {
    if trouble.is_empty() {
        (StatusCode::OK, "ok\n").into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, trouble).into_response()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    async fn page(health: &Health, path: &str) -> (u16, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let running = serve(listener, Metrics::new().unwrap(), health.clone(), async { drop(stopped.await) });
        let server = tokio::spawn(running);
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        drop(stop);
        server.await.unwrap().unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    #[tokio::test]
    async fn a_stale_task_is_named_and_a_beat_heals_it() {
        let health = Health::new();
        let sessions = health.heartbeat("sessions", Duration::from_hours(1));
        let watch = health.heartbeat("watch-printers", Duration::ZERO);
        let (status, text) = page(&health, "/healthz").await;
        assert_eq!(status, 503);
        assert!(text.contains("watch-printers") && !text.contains("sessions"), "{text}");
        drop(watch);
        sessions.beat();
        assert_eq!(page(&health, "/healthz").await, (200, "ok\n".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn beats_within_the_limit_keep_a_task_alive() {
        let health = Health::new();
        let beat = health.heartbeat("sessions", Duration::from_secs(10));
        for _ in 0..10 {
            tokio::time::advance(Duration::from_secs(9)).await;
            assert_eq!(health.stale(), []);
            beat.beat();
        }
        tokio::time::advance(Duration::from_secs(11)).await;
        assert_eq!(health.stale(), [("sessions", Duration::from_secs(11))]);
    }

    #[tokio::test]
    async fn the_process_is_ready_when_every_gate_is_open_and_live_before() {
        let health = Health::new();
        let (caches, crds) = (health.gate("caches synced"), health.gate("CRDs established"));
        crds.open();
        assert_eq!(page(&health, "/readyz").await, (503, "waiting for: caches synced\n".to_owned()));
        assert_eq!(page(&health, "/healthz").await.0, 200);
        caches.open();
        assert_eq!(page(&health, "/readyz").await.0, 200);
        caches.close();
        assert_eq!(health.closed(), ["caches synced"]);
    }

    #[tokio::test]
    async fn metrics_are_served_as_text() {
        let (status, text) = page(&Health::new(), "/metrics").await;
        assert_eq!(status, 200);
        assert!(text.contains("# TYPE printernizer_leader gauge"), "{text}");
    }
}
