//! The operator: arguments, wiring, shutdown.
fn main() {}
