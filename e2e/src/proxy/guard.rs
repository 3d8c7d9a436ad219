//! A script as the guard of a simulated Bambu printer: its commands are counted, held and stopped at like the writes
//! that go through a proxy. What is said over TLS cannot be told apart from outside, so the simulator asks.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use printernizer_simulator::{AfterCommand, CommandGuard};

use super::{Script, names};

pub(super) struct Guard {
    pub(super) printer: String,
    pub(super) script: Script,
}

impl CommandGuard for Guard {
    fn connected(&self) -> u64 {
        self.script.life()
    }

    fn admit(&self, connection: u64, command: &str) -> BoxFuture<'static, Option<AfterCommand>> {
        let (script, name) = (self.script.clone(), names::of_bambu_command(&self.printer, command));
        async move {
            let admitted = script.admit(connection, name).await.ok()?;
            let after: AfterCommand = Box::new(move || async move { script.answered(admitted).await.is_ok() }.boxed());
            Some(after)
        }
        .boxed()
    }
}
