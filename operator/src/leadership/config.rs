//! Who stands for leadership, of which Lease, and by which times.
//!
//! The times must leave room: a leader gives up (renew deadline) well before another may take over (lease duration).
//! The production figures are those of Kubernetes' own controllers, 15, 10 and 2 seconds.

use std::time::Duration;

use rand::Rng as _;
use thiserror::Error;

/// Settings of one candidate.
#[derive(Clone, Debug)]
pub struct Config {
    /// A silent leader is replaced this long after its last sign of life was seen.
    pub lease_duration: Duration,
    /// A leader that could not renew for this long gives up by itself. Shorter than `lease_duration`.
    pub renew_deadline: Duration,
    /// How often a leader renews and a standby looks.
    pub retry_period: Duration,
    /// Longest wait for one answer of the API server.
    pub call_timeout: Duration,
    /// Name of this process in the Lease; unique for each start of it.
    pub identity: String,
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
}

/// Settings that would not keep two leaders apart.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ConfigError {
    /// The times do not leave room for each other.
    #[error(
        "leader election times must satisfy: retry period and call timeout > 0, retry period + call timeout <= renew \
         deadline, and renew deadline <= 80 % of the lease duration; lengthen the lease duration or shorten the others"
    )]
    Times,
    /// A name is missing.
    #[error("leader election needs an identity, a namespace and a Lease name; none of them may be empty")]
    Names,
    /// A scale that makes no sense.
    #[error("leader election times can be scaled by a factor from 0.01 to 100; choose one in that range")]
    Scale,
}

impl Config {
    /// Production times for the Lease `namespace/name`. `process` (the Pod's name) gets a random suffix, because a
    /// restarted container has the same Pod name and must not take its predecessor's lease for its own.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>, process: &str) -> Self {
        Self {
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
            call_timeout: Duration::from_secs(4),
            identity: format!("{process}_{:08x}", rand::rng().random::<u32>()),
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// All times multiplied by `factor`, for simulated farms.
    pub fn scaled(mut self, factor: f64) -> Result<Self, ConfigError> {
        if !(0.01..=100.0).contains(&factor) {
            return Err(ConfigError::Scale);
        }
        for time in [&mut self.lease_duration, &mut self.renew_deadline, &mut self.retry_period, &mut self.call_timeout]
        {
            *time = time.mul_f64(factor);
        }
        Ok(self)
    }

    /// How long after its last renewal a leader's effects may still be under way. The tenth that is kept back covers
    /// clocks of two machines that do not run equally fast.
    pub(super) fn usable(&self) -> Duration {
        self.lease_duration / 10 * 9
    }

    /// Refuses settings that would not keep two leaders apart.
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        if self.identity.is_empty() || self.namespace.is_empty() || self.name.is_empty() {
            return Err(ConfigError::Names);
        }
        let room = self.renew_deadline <= self.lease_duration / 10 * 8
            && self.retry_period + self.call_timeout <= self.renew_deadline
            && !self.retry_period.is_zero()
            && !self.call_timeout.is_zero();
        if room { Ok(()) } else { Err(ConfigError::Times) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn production_times_are_valid_at_every_allowed_scale() {
        for factor in [0.01, 0.1, 1.0, 100.0] {
            assert_eq!(Config::new("farm", "operator", "pod").scaled(factor).unwrap().validate(), Ok(()), "{factor}");
        }
        for factor in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Config::new("farm", "operator", "pod").scaled(factor).unwrap_err(), ConfigError::Scale);
        }
    }

    #[test]
    fn times_without_room_are_refused() {
        let good = || Config::new("farm", "operator", "pod");
        let late = Config { renew_deadline: Duration::from_secs(13), ..good() };
        let slow = Config { call_timeout: Duration::from_secs(9), ..good() };
        let busy = Config { retry_period: Duration::ZERO, ..good() };
        for bad in [late, slow, busy] {
            assert_eq!(bad.validate(), Err(ConfigError::Times));
        }
        assert_eq!(Config { name: String::new(), ..good() }.validate(), Err(ConfigError::Names));
    }

    #[test]
    fn two_starts_of_one_pod_have_different_identities() {
        assert_ne!(Config::new("farm", "operator", "pod").identity, Config::new("farm", "operator", "pod").identity);
    }
}
