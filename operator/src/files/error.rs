//! Why a print file could not be had: one typed error, each with the reason that goes into the job's condition. Texts
//! name host and path only: a query may be a signature, and credentials are never part of an error.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::allow::Forbidden;
use super::credentials::{Presented, USAGE};
use super::refusal::S3Refusal;
use super::tls::Distrust;
use super::trouble::{Root, Told, Trouble};
use crate::error::label_advice;
use crate::tasks::Panicked;

/// The digest a file must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// 64 hexadecimal digits.
    pub sha256: String,
    /// Who says so.
    pub origin: DigestOrigin,
}

/// Where a digest comes from that a file must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestOrigin {
    /// The job's spec.
    Spec,
    /// The file the job was accepted with.
    Accepted,
}

/// A cause shared by all who waited for one fetch.
pub type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// Why a print file could not be had.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum FetchError {
    /// Not a URL this operator fetches.
    #[error("{shown} cannot be fetched: {why}")]
    Url {
        /// The URL without its secrets.
        shown: String,
        /// What is wrong with it, and what to write instead.
        why: &'static str,
    },
    /// The address is not allowed.
    #[error("{host} may not be connected to")]
    Address {
        /// Host as written in the URL, and port.
        host: String,
        /// Which rule forbids it.
        source: Forbidden,
    },
    /// Where it was redirected to, it could not be had.
    #[error("{from} redirects on")]
    Redirected {
        /// The URL that redirected.
        from: String,
        /// What happened there.
        source: Box<FetchError>,
    },
    /// A redirect that is not followed.
    #[error("{shown} redirects in a way that is not followed: {why}")]
    Redirect {
        /// The URL that redirected.
        shown: String,
        /// Why it is not followed.
        why: &'static str,
    },
    /// The Secret does not name this host.
    #[error(
        "the Secret {secret} may not be used for {host}, which its key allowedHosts does not name; {}",
        hosts_advice(host, endpoint.as_deref())
    )]
    CredentialsNotForHost {
        /// Name of the Secret.
        secret: String,
        /// Host and port that would be asked.
        host: String,
        /// Host and port of the S3 service, where the bucket has a host of its own.
        endpoint: Option<String>,
    },
    /// There is no such Secret.
    #[error("create the Secret {secret} with the label printernizer.io/usage=source and the key allowedHosts")]
    SecretNotFound {
        /// Name of the Secret.
        secret: String,
    },
    /// The Secret is not meant for sources.
    #[error("{}", label_advice(secret, USAGE, has.as_deref()))]
    SecretNotLabeled {
        /// Name of the Secret.
        secret: String,
        /// The value the label has.
        has: Option<String>,
    },
    /// The Secret lacks a key, or its value is of no use.
    #[error("the Secret {secret} {why}")]
    SecretKey {
        /// Name of the Secret.
        secret: String,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// The Secret cannot be read.
    #[error("the Secret {secret} cannot be read")]
    SecretUnreadable {
        /// Name of the Secret.
        secret: String,
        /// What the API server said.
        source: Cause,
    },
    /// 401, 403 or 407.
    #[error("{shown} refuses access (HTTP {status}); {presented}")]
    Denied {
        /// The URL without its secrets.
        shown: String,
        /// HTTP status.
        status: u16,
        /// What it was shown.
        presented: Presented,
    },
    /// An S3 server says no.
    #[error("{shown} {refusal}{}", path_style_advice(*path_style && refusal.may_be_of_the_address()))]
    S3 {
        /// Object, bucket and server.
        shown: String,
        /// What it says.
        refusal: S3Refusal,
        /// Whether the bucket's name may have to stand in the path.
        path_style: bool,
    },
    /// No such file.
    #[error("{shown} does not exist; put it there, or correct spec.source")]
    NotFound {
        /// The URL without its secrets.
        shown: String,
    },
    /// No such ConfigMap.
    #[error(
        "the ConfigMap {name:?} does not exist in this namespace; create it (kubectl create configmap {name} \
         --from-file={key}=FILE), or correct spec.source.configMap.name"
    )]
    NoConfigMap {
        /// Name of the ConfigMap.
        name: String,
        /// The key that is wanted.
        key: String,
    },
    /// The ConfigMap has no such key.
    #[error("the ConfigMap {name:?} has no key {key:?}; add it, or correct spec.source.configMap.key")]
    NoConfigMapKey {
        /// Name of the ConfigMap.
        name: String,
        /// The key that is wanted.
        key: String,
        /// The keys it has.
        source: Cause,
    },
    /// The ConfigMap cannot be read.
    #[error("{shown} cannot be read")]
    ConfigMapUnreadable {
        /// ConfigMap and key.
        shown: String,
        /// What the API server said.
        source: Cause,
    },
    /// Another HTTP status than success.
    #[error("{shown} answers HTTP {status}; {}", status_advice(shown, *status))]
    Status {
        /// The URL without its secrets.
        shown: String,
        /// HTTP status.
        status: u16,
    },
    /// No connection, no answer, or broken off on the way.
    #[error("{shown} {}", Told { server, trouble })]
    Unreachable {
        /// URL without its secrets, or object and bucket.
        shown: String,
        /// Host and port.
        server: String,
        /// What happened.
        trouble: Trouble,
        /// The same as the client says it.
        source: Cause,
    },
    /// The whole fetch took too long.
    #[error("{shown} was not complete after {limit:?}; the server or the network is too slow")]
    TooSlow {
        /// The URL without its secrets.
        shown: String,
        /// Time allowed.
        limit: Duration,
    },
    /// The name of the server means nothing.
    #[error(
        "the name {host} cannot be resolved; check how it is spelled, and the operator's name servers{}",
        path_style_advice(*path_style)
    )]
    Unresolved {
        /// Host as written in the URL.
        host: String,
        /// Whether the bucket's name may have to stand in the path.
        path_style: bool,
        /// What the system said.
        source: Cause,
    },
    /// The server's certificate is not good enough.
    #[error(
        "the certificate of {host} is not trusted: it {why}{}",
        path_style_advice(*path_style && why.is_of_the_name())
    )]
    Certificate {
        /// Host and port.
        host: String,
        /// Whether the bucket's name may have to stand in the path.
        path_style: bool,
        /// What is wrong with it.
        why: Distrust,
    },
    /// The private certificates are not there.
    #[error(
        "the key {key:?} of the ConfigMap {name:?}, which caBundleConfigMapRef names, cannot be read; put the authority's \
         certificate there, or correct the reference"
    )]
    CaBundleMissing {
        /// Name of the ConfigMap.
        name: String,
        /// The key.
        key: String,
        /// What is missing.
        source: Cause,
    },
    /// The private certificates cannot be used.
    #[error("{shown} cannot be used as certificates; it must hold PEM with at least one valid certificate")]
    CaBundle {
        /// ConfigMap and key.
        shown: String,
        /// What is wrong.
        source: Cause,
    },
    /// The server compressed the file on the way.
    #[error("{shown} is sent compressed although that was not asked for; switch it off on the server")]
    Encoded {
        /// The URL without its secrets.
        shown: String,
    },
    /// Over the limit.
    #[error(
        "{shown} is larger than {limit_bytes} bytes, the most that is fetched; slice it smaller: fewer parts on the \
         plate, or as binary G-code (.bgcode)"
    )]
    TooLarge {
        /// URL, or ConfigMap and key.
        shown: String,
        /// The limit.
        limit_bytes: u64,
    },
    /// Nothing in it.
    #[error("{shown} is empty; slice and upload it again")]
    Empty {
        /// URL, or ConfigMap and key.
        shown: String,
    },
    /// It would end where the connection does, which may break at any time.
    #[error(
        "{shown} comes from a server that does not say how long it is, so that a part of it cannot be told from the \
         whole; make the server send Content-Length, or write the file's digest into spec.sha256"
    )]
    LengthUnknown {
        /// The URL without its secrets.
        shown: String,
    },
    /// Not a digest.
    #[error("spec.sha256 must be 64 hexadecimal digits, as sha256sum prints them")]
    DigestForm,
    /// Not the file that was meant.
    #[error("{shown} has the SHA-256 {actual}, {}", digest_advice(expected))]
    DigestMismatch {
        /// URL, or ConfigMap and key.
        shown: String,
        /// Digest asked for.
        expected: Expected,
        /// Digest of what came.
        actual: String,
    },
    /// The disk has no room.
    #[error(
        "the disk of the operator's file cache is full; make room on it, or give the cache another (--cache-dir) or a \
         smaller size (--cache-mebibytes)"
    )]
    DiskFull {
        /// What the system said.
        source: Arc<std::io::Error>,
    },
    /// The file alone is too much.
    #[error(
        "the file is larger than the operator's whole file cache of {limit_bytes} bytes; start the operator with a \
         larger --cache-mebibytes, or slice it smaller"
    )]
    CacheTooSmall {
        /// Size of the cache.
        limit_bytes: u64,
    },
    /// All space is taken by files in use.
    #[error(
        "the file cache ({limit_bytes} bytes) is full of files in use; it goes on when one of them is done. If that \
         happens often, start the operator with a larger --cache-mebibytes"
    )]
    CacheFull {
        /// Size of the cache.
        limit_bytes: u64,
    },
    /// The disk does not work.
    #[error("the file cache on disk cannot be used; check its volume")]
    Cache {
        /// What the system said.
        source: Arc<std::io::Error>,
    },
    /// A mistake of this program.
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

impl FetchError {
    /// The connection to this server ended early.
    pub(super) fn broken_off(shown: &str, server: String, source: &(dyn std::error::Error + 'static)) -> Self {
        Self::trouble(shown, server, Trouble::BrokenOff, source)
    }

    /// This happened on the way from this server.
    pub(super) fn trouble(
        shown: &str,
        server: String,
        trouble: Trouble,
        source: &(dyn std::error::Error + 'static),
    ) -> Self {
        Self::Unreachable { shown: shown.to_owned(), server, trouble, source: Arc::new(Root::of(source)) }
    }

    /// The same, where the server at `from` had redirected there, if one had.
    pub(super) fn redirected_by(self, from: Option<&String>) -> Self {
        match from {
            Some(from) => Self::Redirected { from: from.clone(), source: Box::new(self) },
            None => self,
        }
    }
}

fn digest_advice(expected: &Expected) -> String {
    let Expected { sha256, origin } = expected;
    match origin {
        DigestOrigin::Spec => {
            format!("and spec.sha256 is {sha256}; put the file there that was meant, or correct spec.sha256")
        }
        DigestOrigin::Accepted => format!(
            "and the job was accepted with another file, {sha256}; put that one back, or, if the new one is meant, \
             create a new job for it"
        ),
    }
}

fn hosts_advice(host: &str, endpoint: Option<&str>) -> String {
    match endpoint {
        None => format!("add {host} there if it may be"),
        Some(endpoint) => format!("add {host} there if it may be, or {endpoint} for all buckets"),
    }
}

fn path_style_advice(needed: bool) -> &'static str {
    if needed { "; if the server has no names of its own for buckets, set source.s3.forcePathStyle: true" } else { "" }
}

fn status_advice(shown: &str, status: u16) -> &'static str {
    match status {
        400 if shown.starts_with("http://") => "if that port speaks TLS, write https://, else look at the server's log",
        _ => "look at the server's log",
    }
}

impl From<std::io::Error> for FetchError {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        let (full, source) = (matches!(error.kind(), StorageFull | QuotaExceeded), Arc::new(error));
        if full { Self::DiskFull { source } } else { Self::Cache { source } }
    }
}
