//! Why a print file could not be had: one typed error, each with the reason that goes into the job's condition. Texts
//! name host and path only: a query may be a signature, and credentials are never part of an error.

use std::sync::Arc;
use std::time::Duration;

use printernizer_crds::conditions::Reason;
use thiserror::Error;

use super::allow::Forbidden;
use super::refusal::S3Refusal;
use super::resolve::ResolveError;
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

/// What keeps a file from being had, and so which others are kept likewise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The operator's own disk: no other file can be taken in.
    Cache,
    /// The server, the way to it, or what it is asked with: likely none of its files can be had.
    Server,
    /// The file alone.
    File,
}

/// When trying again makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Later, with a growing pause: it may heal by itself.
    Backoff,
    /// Likewise, but the pause stays short: a person corrects an object in the cluster, and asking for it costs little.
    Soon,
    /// Likewise, but the pause grows further: each try takes in the whole file, and another one must be put there first.
    Seldom,
    /// Only after the job or the operator's settings have changed.
    AfterChange,
}

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
        /// Host as written in the URL.
        host: String,
        /// Which rule forbids it.
        source: Forbidden,
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
    #[error("the Secret {secret} may not be used for {host}; add {host} to its key allowedHosts if it should be")]
    CredentialsNotForHost {
        /// Name of the Secret.
        secret: String,
        /// Host as written in the URL.
        host: String,
    },
    /// There is no such Secret.
    #[error("create the Secret {secret} with the label printernizer.io/usage=source and the key allowedHosts")]
    SecretNotFound {
        /// Name of the Secret.
        secret: String,
    },
    /// The Secret is not meant for sources.
    #[error("label the Secret {secret} with printernizer.io/usage=source; the operator uses no others for files")]
    SecretNotLabeled {
        /// Name of the Secret.
        secret: String,
    },
    /// The Secret lacks a key, or its value is of no use.
    #[error("the key {key} of the Secret {secret}: {why}")]
    SecretKey {
        /// Name of the Secret.
        secret: String,
        /// The key.
        key: &'static str,
        /// What to do.
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
    #[error("{shown} refuses access (HTTP {status}); {}", credentials_advice(secret.as_deref()))]
    Denied {
        /// The URL without its secrets.
        shown: String,
        /// HTTP status.
        status: u16,
        /// Name of the Secret whose credentials were sent.
        secret: Option<String>,
    },
    /// An S3 server says no.
    #[error("{shown} {refusal}")]
    S3 {
        /// Object, bucket and server.
        shown: String,
        /// What it says.
        refusal: S3Refusal,
    },
    /// No such file.
    #[error("{shown} does not exist; put it there, or correct spec.source")]
    NotFound {
        /// URL, or ConfigMap and key.
        shown: String,
    },
    /// Another HTTP status than success.
    #[error("{shown} answers HTTP {status}; look at the server's log")]
    Status {
        /// The URL without its secrets.
        shown: String,
        /// HTTP status.
        status: u16,
    },
    /// No connection, no answer, or broken off on the way.
    #[error("{shown} cannot be read to the end; check that the server is up and reachable from the operator")]
    Unreachable {
        /// URL, host or ConfigMap.
        shown: String,
        /// What happened.
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
    #[error("the name {host} cannot be resolved; check how it is spelled, and the operator's name servers")]
    Unresolved {
        /// Host as written in the URL.
        host: String,
        /// What the system said.
        source: Cause,
    },
    /// The server's certificate is not good enough.
    #[error(
        "the certificate of {host} is not trusted ({why}); name its authority in caBundleConfigMapRef, or correct the \
         server's certificate or the host's name"
    )]
    Certificate {
        /// Host as written in the URL.
        host: String,
        /// What is wrong with it.
        why: String,
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
    /// The reason for the job's condition `Accepted`.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Url { .. } | Self::Encoded { .. } => Reason::NotSupported,
            Self::Address { .. } | Self::Redirect { .. } | Self::CredentialsNotForHost { .. } | Self::Denied { .. } => {
                Reason::SourceForbidden
            }
            Self::SecretNotFound { .. } | Self::SecretUnreadable { .. } => Reason::SecretNotFound,
            Self::SecretNotLabeled { .. } => Reason::SecretNotLabeled,
            Self::SecretKey { .. } => Reason::SecretKeyMissing,
            Self::NotFound { .. } => Reason::FileNotFound,
            Self::S3 { refusal, .. } => refusal.reason(),
            Self::Status { .. } | Self::Unreachable { .. } | Self::Unresolved { .. } | Self::TooSlow { .. } => {
                Reason::SourceUnreachable
            }
            Self::Certificate { .. } | Self::CaBundle { .. } => Reason::CertificateNotTrusted,
            Self::TooLarge { .. } => Reason::FileTooLarge,
            Self::Empty { .. } => Reason::FileEmpty,
            Self::LengthUnknown { .. } => Reason::FileLengthUnknown,
            Self::DigestForm | Self::DigestMismatch { .. } => Reason::DigestMismatch,
            Self::CacheTooSmall { .. } | Self::CacheFull { .. } | Self::DiskFull { .. } | Self::Cache { .. } => {
                Reason::FileCacheUnusable
            }
            // The job is fine and the file may be too: still being fetched.
            Self::Panicked(_) => Reason::FetchingFile,
        }
    }

    /// When trying again makes sense.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Url { .. } | Self::DigestForm => Retry::AfterChange,
            Self::SecretNotFound { .. }
            | Self::SecretUnreadable { .. }
            | Self::SecretNotLabeled { .. }
            | Self::SecretKey { .. }
            | Self::CredentialsNotForHost { .. }
            | Self::CaBundle { .. } => Retry::Soon,
            Self::TooLarge { .. } | Self::CacheTooSmall { .. } | Self::DigestMismatch { .. } => Retry::Seldom,
            _ => Retry::Backoff,
        }
    }

    /// What keeps the file from being had. Where that is not certain it is taken to be the server, of which another file
    /// is tried in its time.
    pub fn fault(&self) -> Fault {
        match self {
            Self::CacheFull { .. } | Self::DiskFull { .. } | Self::Cache { .. } => Fault::Cache,
            Self::S3 { refusal, .. } if refusal.reason() == Reason::FileNotFound => Fault::File,
            Self::Status { status, .. } if *status < 500 => Fault::File,
            Self::Url { .. }
            | Self::Redirect { .. }
            | Self::NotFound { .. }
            | Self::Encoded { .. }
            | Self::LengthUnknown { .. }
            | Self::DigestForm
            | Self::Panicked(_) => Fault::File,
            _ if self.is_of_the_file() => Fault::File,
            _ => Fault::Server,
        }
    }

    /// Whether it is the file that is refused, and another one must be put in its place.
    pub fn is_of_the_file(&self) -> bool {
        matches!(
            self,
            Self::TooLarge { .. } | Self::CacheTooSmall { .. } | Self::DigestMismatch { .. } | Self::Empty { .. }
        )
    }

    pub(super) fn unreachable(shown: &str, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Unreachable { shown: shown.to_owned(), source: Arc::new(source) }
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

fn credentials_advice(secret: Option<&str>) -> String {
    match secret {
        Some(secret) => format!("correct the credentials in the Secret {secret}, or what they may read"),
        None => "if it wants credentials, name a Secret with them in credentialsSecretRef".to_owned(),
    }
}

impl From<ResolveError> for FetchError {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::Forbidden { host, source } => Self::Address { host, source },
            ResolveError::Unresolved { host, source } => Self::Unresolved { host, source: Arc::new(source) },
        }
    }
}

impl From<std::io::Error> for FetchError {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        let (full, source) = (matches!(error.kind(), StorageFull | QuotaExceeded), Arc::new(error));
        if full { Self::DiskFull { source } } else { Self::Cache { source } }
    }
}
