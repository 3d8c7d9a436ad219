//! A script as the guard of a simulated Bambu printer: its commands are counted, held and stopped at like the writes
//! that go through a proxy. What is said over TLS cannot be told apart from outside, so the simulator asks.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use printernizer_simulator::{AfterCommand, CommandGuard};

use super::{Hook, LATE, Script, names};

/// Stands in the trace for a command that was carried out: this protocol has no such numbers.
const OK: u16 = 200;

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
            let admitted = script.admit(connection, name, None).await.ok()?;
            if matches!(admitted.hook(), Some(Hook::DropBefore | Hook::Late | Hook::Refuse(_))) {
                return None;
            }
            let after: AfterCommand = Box::new(move || {
                async move {
                    let delivered = script.answered(&admitted, OK).await.is_ok();
                    if delivered && admitted.hook() == Some(Hook::AnswerLate) {
                        tokio::time::sleep(LATE).await;
                    }
                    delivered
                }
                .boxed()
            });
            Some(after)
        }
        .boxed()
    }
}
