//! A guard between the network and the machine: what it refuses never happens, what it lets pass happens before it is
//! asked about the answer.

use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use printernizer_simulator::{AfterCommand, CommandGuard};

use super::{
    a1,
    clients::{Client, Ftps, project_file, upload},
    shows,
    starts::{NAME, bracket},
    until,
};

/// Notes what came. Lets commands pass that do not contain `refused`, and their answers if `answers`.
struct Guard {
    refused: &'static str,
    answers: bool,
    heard: Mutex<Vec<String>>,
}

impl CommandGuard for Guard {
    fn connected(&self) -> u64 {
        7
    }

    fn admit(&self, connection: u64, command: &str) -> BoxFuture<'static, Option<AfterCommand>> {
        assert_eq!(connection, 7);
        self.heard.lock().unwrap().push(command.to_owned());
        let (pass, answers) = (!command.contains(self.refused), self.answers);
        let after: AfterCommand = Box::new(move || std::future::ready(answers).boxed());
        std::future::ready(pass.then_some(after)).boxed()
    }
}

fn guard(refused: &'static str, answers: bool) -> Arc<Guard> {
    Arc::new(Guard { refused, answers, heard: Mutex::default() })
}

#[tokio::test]
async fn a_command_that_the_guard_refuses_has_no_effect_and_ends_the_connection() {
    let (simulator, printer) = a1().await;
    let guard = guard("print.project_file", true);
    assert!(printer.guard(guard.clone()));
    upload(&printer, NAME, &bracket()).await;
    let mut client = Client::listening(&printer).await;
    assert_eq!(client.state().await, "IDLE");
    client.send("print", "project_file", &project_file(NAME, 100)).await;
    assert!(client.has_ended().await);
    assert_eq!(simulator.ledger().start_commands("").len(), 0);
    assert_eq!(*guard.heard.lock().unwrap(), [format!("STOR {NAME}"), "print.project_file".to_owned()]);
}

#[tokio::test]
async fn a_command_whose_answer_the_guard_refuses_has_its_effect() {
    let (_simulator, printer) = a1().await;
    upload(&printer, NAME, &bracket()).await;
    assert!(printer.guard(guard("nothing", false)));
    let mut client = Client::listening(&printer).await;
    client.send("print", "project_file", &project_file(NAME, 100)).await;
    assert!(client.has_ended().await);
    until(&printer, "printing", |_| shows(&printer) == "RUNNING").await;
    let mut files = Ftps::ready(&printer).await;
    files.send_only("DELE absent").await;
    assert_eq!(files.next_reply().await, None);
}
