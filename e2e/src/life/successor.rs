//! When operators connect to a printer, and whether it had shown by then what it was told to print: a late echo tests
//! something only if whoever comes after a killed operator is there before it.

use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use jiff::Timestamp;
use printernizer_simulator::{AfterCommand, CommandGuard, Entry, Event};

/// The connections to a printer: of which life of the operator each is, from 0, and when it was made. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Connections(Arc<Mutex<Vec<(u64, Timestamp)>>>);

impl Connections {
    /// A guard that does what this one does, and notes the connections.
    pub(super) fn noted(&self, guard: Arc<dyn CommandGuard>) -> Arc<dyn CommandGuard> {
        Arc::new(Noting { guard, connections: self.clone() })
    }

    /// Whether an operator other than the first connected after the printer had taken a start and before it showed that
    /// print, if it ever did.
    pub(super) fn before_the_print_was_shown(&self, entries: &[Entry]) -> bool {
        let starts = entries.iter().filter_map(|e| match &e.event {
            Event::StartCommand { file_name, accepted: true, .. } => Some((file_name, e.time)),
            _ => None,
        });
        let shown = |wanted: &str| {
            let shows = |e: &&Entry| matches!(&e.event, Event::JobAccepted { file_name, .. } if file_name == wanted);
            entries.iter().find(shows).map(|e| e.time)
        };
        let connections = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let later: Vec<Timestamp> = connections.iter().filter(|(life, _)| *life > 0).map(|(_, time)| *time).collect();
        starts.into_iter().any(|(file, told)| {
            let until = shown(file);
            later.iter().any(|time| *time > told && until.is_none_or(|shown| *time < shown))
        })
    }
}

struct Noting {
    guard: Arc<dyn CommandGuard>,
    connections: Connections,
}

impl CommandGuard for Noting {
    fn connected(&self) -> u64 {
        let life = self.guard.connected();
        self.connections.0.lock().unwrap_or_else(PoisonError::into_inner).push((life, Timestamp::now()));
        life
    }

    fn admit(&self, connection: u64, command: &str) -> BoxFuture<'static, Option<AfterCommand>> {
        self.guard.admit(connection, command)
    }
}
