//! Why a call to the API server did not succeed.

use printernizer_rules::backup_policy::Refusal;
use thiserror::Error;

use crate::leadership::NotLeader;

/// Why a call to the API server did not succeed.
#[derive(Debug, Error)]
pub enum ApiError {
    /// Somebody else wrote first: observe again.
    #[error("the object was changed in between")]
    Conflict,
    /// The object is not there.
    #[error("the object does not exist")]
    NotFound,
    /// No answer in time: a write may have been carried out or not.
    #[error("the API server did not answer in time")]
    Timeout,
    /// It was written, and less than that is stored.
    #[error(
        "{0} is not stored: the cluster has the definitions of an older version; with Helm `helm upgrade` with crds.enabled \
         brings those of this one, by hand printernizer crds | kubectl apply -f -"
    )]
    Dropped(String),
    /// This process does not lead.
    #[error("not carried out: {0}")]
    NotLeader(#[from] NotLeader),
    /// Anything else.
    #[error("the API server: {}", crate::error::of_api(.0.as_ref()))]
    Other(#[source] Box<kube::Error>),
}

impl ApiError {
    /// What the API server says against what was asked, where it judged that and asking again would change nothing.
    pub fn refusal(&self) -> Option<Refusal> {
        let Self::Other(error) = self else { return None };
        let kube::Error::Api(status) = error.as_ref() else { return None };
        match status.code {
            400 | 422 => Some(Refusal::Invalid(status.message.clone())),
            403 => Some(Refusal::Forbidden(status.message.clone())),
            _ => None,
        }
    }

    /// Whether the API server cannot answer what was asked as it was asked.
    pub(super) fn is_bad_request(&self) -> bool {
        matches!(self, Self::Other(error) if matches!(error.as_ref(), kube::Error::Api(status) if status.code == 400))
    }
}

impl From<kube::Error> for ApiError {
    fn from(error: kube::Error) -> Self {
        match &error {
            kube::Error::Api(status) if status.is_not_found() => Self::NotFound,
            kube::Error::Api(status) if status.is_conflict() || status.is_already_exists() => Self::Conflict,
            _ => Self::Other(Box::new(error)),
        }
    }
}
