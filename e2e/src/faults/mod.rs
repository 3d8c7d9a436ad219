//! The fault campaign: lives of a job in which one thing goes wrong, or two, on real processes against a real API server.
//!
//! A [`Plan`] says what goes wrong where. The plans are enumerated from lives in which nothing does; each can be asked for
//! again by its name. What must hold in every life is judged by `life`; nothing here is ever tried a second time.

mod campaign;
mod enumerate;
mod plan;
mod printers;

pub use campaign::{Campaign, Told, live_all};
pub use plan::{NoPlan, Plan};
