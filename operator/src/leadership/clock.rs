//! The two clocks by which a lease is judged, read together.
//!
//! Boot time (CLOCK_BOOTTIME) goes on while a machine is suspended and is never set by anybody; wall time also shows
//! what a paused virtual machine missed, once it has been corrected. A deadline has passed as soon as one of the two
//! says so. Never used for schedules or for what people read.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Time since this machine was started, suspension included.
    pub boot: Duration,
    /// Time since 1970-01-01T00:00:00Z. May jump either way.
    pub wall: Duration,
}

impl Moment {
    /// Time since `earlier`: the longer of what the two clocks say, so that doubt always shortens a lease.
    pub fn since(self, earlier: Self) -> Duration {
        self.boot.saturating_sub(earlier.boot).max(self.wall.saturating_sub(earlier.wall))
    }

    /// Both clocks moved forward by `span`.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self { boot: self.boot.saturating_add(span), wall: self.wall.saturating_add(span) }
    }
}

/// Where moments come from; tests bring their own.
pub trait Clock: Send + Sync + 'static {
    /// Both clocks now.
    fn now(&self) -> Moment;
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        Moment { boot: read(ClockId::CLOCK_BOOTTIME), wall: read(ClockId::CLOCK_REALTIME) }
    }
}

/// A clock that cannot be read answers the end of time, so that every lease is over: fail closed.
fn read(id: ClockId) -> Duration {
    clock_gettime(id).map_or(Duration::MAX, Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(boot: u64, wall: u64) -> Moment {
        Moment { boot: Duration::from_secs(boot), wall: Duration::from_secs(wall) }
    }

    #[test]
    fn the_clock_that_ran_further_decides() {
        assert_eq!(at(30, 1_005).since(at(10, 1_000)), Duration::from_secs(20), "suspended: boot time saw it");
        assert_eq!(at(11, 1_020).since(at(10, 1_000)), Duration::from_secs(20), "paused machine: wall time saw it");
        assert_eq!(at(12, 900).since(at(10, 1_000)), Duration::from_secs(2), "a wall clock set back gains nothing");
    }

    #[test]
    fn the_system_clock_moves_forward() {
        let first = SystemClock.now();
        let second = SystemClock.now();
        assert!(
            second.boot >= first.boot && first.boot > Duration::ZERO && first.wall > Duration::from_secs(1_700_000_000)
        );
        assert!(second.boot < Duration::MAX);
    }
}
