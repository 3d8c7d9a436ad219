//! Why a print file could not be had: one typed error, each with the reason that goes into the job's condition. Texts
//! name host and path only: a query may be a signature, and credentials are never part of an error.

use std::sync::Arc;
use std::time::Duration;

use printernizer_crds::conditions::Reason;
use thiserror::Error;

use super::allow::Forbidden;
use crate::tasks::Panicked;

/// A cause shared by all who waited for one fetch.
pub type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// When trying again makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Later, with a growing pause: it may heal by itself.
    Backoff,
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
    #[error("the credentials may not be sent to {host}; add it to allowedHosts in the Secret if they should be")]
    CredentialsNotForHost {
        /// Host as written in the URL.
        host: String,
    },
    /// 401, 403 or 407.
    #[error("{shown} refuses access (HTTP {status}); check the credentials in the Secret")]
    Denied {
        /// The URL without its secrets.
        shown: String,
        /// HTTP status.
        status: u16,
    },
    /// No such file.
    #[error("{shown} does not exist")]
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
    /// The private certificates cannot be used.
    #[error("the CA bundle for {shown} cannot be used; it must be PEM with at least one valid certificate")]
    CaBundle {
        /// The URL without its secrets.
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
    #[error("{shown} is larger than the limit of {limit_bytes} bytes; raise the operator's limit or slice it smaller")]
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
    /// Not a digest.
    #[error("spec.sha256 must be 64 hexadecimal digits, as sha256sum prints them")]
    DigestForm,
    /// Not the file that was meant.
    #[error("{shown} has the SHA-256 {actual}, expected is {expected}; it was changed or is damaged")]
    DigestMismatch {
        /// URL, or ConfigMap and key.
        shown: String,
        /// Digest asked for.
        expected: String,
        /// Digest of what came.
        actual: String,
    },
    /// All space is taken by files in use.
    #[error(
        "the file cache ({limit_bytes} bytes) is full of files in use; it goes on when one of them is done, or give \
             the cache more space"
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
            Self::NotFound { .. } => Reason::FileNotFound,
            Self::Status { .. } | Self::Unreachable { .. } | Self::TooSlow { .. } | Self::CaBundle { .. } => {
                Reason::SourceUnreachable
            }
            Self::TooLarge { .. } => Reason::FileTooLarge,
            Self::Empty { .. } => Reason::FileEmpty,
            Self::DigestForm | Self::DigestMismatch { .. } => Reason::DigestMismatch,
            // The job is fine and the file may be too: still being fetched.
            Self::CacheFull { .. } | Self::Cache { .. } | Self::Panicked(_) => Reason::FetchingFile,
        }
    }

    /// When trying again makes sense.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Url { .. } | Self::DigestForm => Retry::AfterChange,
            _ => Retry::Backoff,
        }
    }

    pub(super) fn unreachable(shown: &str, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Unreachable { shown: shown.to_owned(), source: Arc::new(source) }
    }
}

impl From<std::io::Error> for FetchError {
    fn from(error: std::io::Error) -> Self {
        Self::Cache { source: Arc::new(error) }
    }
}
