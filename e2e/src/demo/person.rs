//! The person of the demo: sees a bed that waits, walks there, takes the part off and confirms it. Where you are that
//! person, it only takes the part off the machine when you confirm. Does nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::ResourceExt as _;
use printernizer_crds::Printer;
use printernizer_simulator::Action;

use crate::farm::{Farm, waiting_bed};

/// How long the way to a printer takes.
const WALK: Duration = Duration::from_millis(1500);
/// How long the API server may take for what the person does.
const CALL: Duration = Duration::from_secs(10);

/// What the person knows: which bed waits since when.
#[derive(Debug, Default)]
pub struct Person {
    noticed: BTreeMap<String, (String, Instant)>,
}

/// Takes the parts off the beds that somebody has confirmed to be clear, as that person would have done before.
pub fn lend_a_hand(farm: &Farm, printers: &[Arc<Printer>]) {
    for printer in printers {
        let bed = printer.status.as_ref().and_then(|s| s.bed.as_ref()).filter(|b| !b.print_in_progress);
        let confirmed = bed.is_some_and(|b| b.occupancy_id.is_some() && b.occupancy_id == printer.spec.bed.cleared_for);
        if confirmed
            && let Ok(machine) = farm.machine(&printer.name_any())
            && machine.state().bed_occupied
        {
            // A machine that has begun to print meanwhile refuses; then there is nothing to take off.
            let _ = machine.person(&Action::TakePartOff);
        }
    }
}

impl Person {
    /// Clears the beds whose time has come, and says what was done.
    pub async fn look_around(&mut self, farm: &Farm, printers: &[Arc<Printer>]) -> Vec<String> {
        let now = Instant::now();
        let mut done = Vec::new();
        for printer in printers {
            let name = printer.name_any();
            let Some(id) = waiting_bed(printer) else {
                self.noticed.remove(&name);
                continue;
            };
            let noticed = self.noticed.entry(name.clone()).or_insert_with(|| (id.to_owned(), now));
            if noticed.0 != id {
                *noticed = (id.to_owned(), now);
            }
            if now.duration_since(noticed.1) < WALK {
                continue;
            }
            let part = printer.status.as_ref().and_then(|s| s.bed.as_ref()).and_then(|b| b.display_name.clone());
            match tokio::time::timeout(CALL, farm.clear_bed(printer)).await {
                Ok(Ok(())) => done.push(match part {
                    Some(part) => format!("you took '{part}' off {name} and confirmed that its bed is clear"),
                    None => format!("you looked at {name} and confirmed that its bed is clear"),
                }),
                Ok(Err(error)) => done.push(format!("the bed of {name} cannot be cleared: {error}")),
                Err(_) => done.push(format!("the bed of {name} cannot be cleared: no answer from the API server")),
            }
            // Whatever came of it, the next try is a walk later.
            self.noticed.insert(name, (id.to_owned(), Instant::now()));
        }
        done
    }
}
