//! Somebody who stands between the network and a simulated machine: is told of every command that bears a decision,
//! holds it as long as he likes, and says whether it is carried out and whether its answer is sent.
//!
//! Made for tests that end a client before or after each of its commands. Reports flow meanwhile. Without a guard
//! nothing is held.

use futures::future::BoxFuture;

/// Called when a command was carried out; what it gives says whether its answer is sent. Otherwise the connection ends.
pub type AfterCommand = Box<dyn FnOnce() -> BoxFuture<'static, bool> + Send>;

/// Holds commands: `print.project_file`, `print.pause`, `print.resume`, `print.stop`, and `STOR`, `RNTO` and `DELE`
/// with the name as it was sent.
pub trait CommandGuard: Send + Sync {
    /// A client has connected; what is given comes back with its commands.
    fn connected(&self) -> u64;

    /// A command has come. `None`: it is not carried out, and the connection ends.
    fn admit(&self, connection: u64, command: &str) -> BoxFuture<'static, Option<AfterCommand>>;
}

/// Whether a command is held. Those that only ask, or prepare another one, are not.
fn is_guarded(command: &str) -> bool {
    let verb = command.split(' ').next().unwrap_or_default();
    let guarded = ["print.project_file", "print.pause", "print.resume", "print.stop", "STOR", "RNTO", "DELE"];
    guarded.contains(&verb)
}

/// One client's guard, if there is one.
pub(super) struct Guarded(pub(super) Option<(std::sync::Arc<dyn CommandGuard>, u64)>);

impl Guarded {
    /// Holds the command; what is to be called after it, or `None` if it is not to be carried out.
    pub(super) async fn admit(&self, command: &str) -> Option<Option<AfterCommand>> {
        match &self.0 {
            Some((guard, connection)) if is_guarded(command) => guard.admit(*connection, command).await.map(Some),
            _ => Some(None),
        }
    }
}

/// Whether the answer to a command that was carried out is sent.
pub(super) async fn may_answer(after: Option<AfterCommand>) -> bool {
    match after {
        Some(after) => after().await,
        None => true,
    }
}
