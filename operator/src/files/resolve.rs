//! From a host to the addresses of it that may be connected to. A name is resolved once, here, and whoever connects uses
//! what came out: a name that stands for something else a moment later changes nothing.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures::future::BoxFuture;
use thiserror::Error;

use super::allow::{Forbidden, Networks};

/// Knows the addresses of names.
pub trait Resolver: Send + Sync {
    /// All addresses of the name, each with this port.
    fn resolve<'a>(&'a self, name: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>>;
}

/// Asks the system.
#[derive(Clone, Copy, Debug)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((name, port)).await?.collect()) })
    }
}

/// Why there is no address to connect to.
#[derive(Debug, Error)]
pub enum ResolveError {
    /// None of the addresses is allowed.
    #[error("{host} may not be connected to")]
    Forbidden {
        /// The host as written.
        host: String,
        /// Which rule forbids it.
        source: Forbidden,
    },
    /// The name stands for nothing, or nobody says for what.
    #[error("the name {host} cannot be resolved; check how it is spelled, and the operator's name servers")]
    Unresolved {
        /// The host as written.
        host: String,
        /// What the system said.
        source: io::Error,
    },
}

/// The addresses of a host that may be connected to, at least one. `host` is a name or an address; an IPv6 address may
/// stand in brackets. `limit` bounds the lookup.
pub async fn resolve(
    resolver: &dyn Resolver,
    host: &str,
    port: u16,
    networks: &Networks,
    limit: Duration,
) -> Result<Vec<SocketAddr>, ResolveError> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let unresolved = |source| ResolveError::Unresolved { host: host.to_owned(), source };
    let found = if let Ok(address) = bare.parse::<IpAddr>() {
        vec![SocketAddr::new(address, port)]
    } else {
        let silent =
            |_| io::Error::new(io::ErrorKind::TimedOut, format!("no name server has answered within {limit:?}"));
        let answered = tokio::time::timeout(limit, resolver.resolve(bare, port)).await.map_err(silent);
        answered.and_then(|found| found).map_err(unresolved)?
    };
    let mut allowed = Vec::new();
    let mut forbidden = None;
    for address in found {
        match networks.check(address.ip()) {
            Ok(()) => allowed.push(address),
            Err(why) => forbidden = Some(why),
        }
    }
    match forbidden {
        _ if !allowed.is_empty() => Ok(allowed),
        Some(source) => Err(ResolveError::Forbidden { host: host.to_owned(), source }),
        None => Err(unresolved(io::Error::other("it has no address"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name server that knows one answer for everything.
    struct Answers(Vec<&'static str>);

    impl Resolver for Answers {
        fn resolve<'a>(&'a self, _: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
            let addresses = self.0.iter().map(|text| SocketAddr::new(text.parse().unwrap(), port)).collect();
            Box::pin(async { Ok(addresses) })
        }
    }

    async fn resolved(answers: &[&'static str]) -> Result<Vec<String>, ResolveError> {
        let networks = Networks::for_printers(false);
        let limit = Duration::from_secs(5);
        let found = resolve(&Answers(answers.to_vec()), "printer.farm.example", 80, &networks, limit).await?;
        Ok(found.iter().map(ToString::to_string).collect())
    }

    #[tokio::test]
    async fn of_several_addresses_only_allowed_ones_are_connected_to() {
        let found = resolved(&["8.8.8.8", "192.168.1.9", "169.254.169.254", "fd12::9"]).await.unwrap();
        assert_eq!(found, ["192.168.1.9:80", "[fd12::9]:80"]);
        for answers in [&["8.8.8.8"][..], &["169.254.169.254"], &["127.0.0.1", "::1"], &["::ffff:169.254.169.254"]] {
            let error = resolved(answers).await.unwrap_err();
            assert!(matches!(error, ResolveError::Forbidden { .. }), "{answers:?}: {error:?}");
        }
        let error = resolved(&[]).await.unwrap_err();
        assert!(matches!(error, ResolveError::Unresolved { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn an_address_is_no_question_for_a_name_server() {
        let networks = Networks::for_printers(false);
        for (host, allowed) in [("192.168.1.9", true), ("[fd12::9]", true), ("fd12::9", true), ("[::1]", false)] {
            let found = resolve(&Answers(vec!["10.9.9.9"]), host, 80, &networks, Duration::from_secs(5)).await;
            assert_eq!(found.is_ok_and(|found| !found[0].to_string().starts_with("10.")), allowed, "{host}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_server_that_never_answers_is_not_waited_for() {
        struct Silent;
        impl Resolver for Silent {
            fn resolve<'a>(&'a self, _: &'a str, _: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
                Box::pin(std::future::pending())
            }
        }
        let networks = Networks::for_printers(false);
        let error = resolve(&Silent, "printer.farm.example", 80, &networks, Duration::from_secs(5)).await.unwrap_err();
        assert!(matches!(error, ResolveError::Unresolved { .. }), "{error:?}");
        let told = crate::error::chain(&error);
        assert!(told.ends_with("no name server has answered within 5s"), "{told}");
    }
}
