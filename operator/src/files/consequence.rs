//! What follows from each error of a fetch: the reason in the job's condition, and when the file is asked for again.

use printernizer_crds::conditions::Reason;

use super::error::FetchError;

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
            Self::Redirected { source, .. } => source.reason(),
            Self::NotFound { .. } | Self::NoConfigMap { .. } | Self::NoConfigMapKey { .. } => Reason::FileNotFound,
            Self::S3 { refusal, .. } => refusal.reason(),
            Self::Status { .. }
            | Self::Unreachable { .. }
            | Self::ConfigMapUnreadable { .. }
            | Self::Unresolved { .. }
            | Self::TooSlow { .. } => Reason::SourceUnreachable,
            Self::Certificate { .. } | Self::CaBundle { .. } | Self::CaBundleMissing { .. } => {
                Reason::CertificateNotTrusted
            }
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
            Self::Redirected { source, .. } => source.retry(),
            Self::SecretNotFound { .. }
            | Self::SecretUnreadable { .. }
            | Self::SecretNotLabeled { .. }
            | Self::SecretKey { .. }
            | Self::CredentialsNotForHost { .. }
            | Self::CaBundle { .. }
            | Self::CaBundleMissing { .. } => Retry::Soon,
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
            // The server that redirects is well.
            Self::Redirected { source, .. } if matches!(**source, Self::Address { .. }) => Fault::File,
            Self::Redirected { source, .. } => source.fault(),
            Self::Url { .. }
            | Self::Redirect { .. }
            | Self::NotFound { .. }
            | Self::NoConfigMap { .. }
            | Self::NoConfigMapKey { .. }
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

    /// Whether a transfer that ended so may be continued where it stopped.
    pub(super) fn may_be_continued(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Redirected { source, .. } => source.may_be_continued(),
            _ => false,
        }
    }
}
