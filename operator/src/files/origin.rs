//! What a source in a spec stands for at this moment: the URL, the credentials its Secret holds now, and the certificates
//! it trusts. Made anew for each fetch, so that a rotated Secret or a corrected ConfigMap counts at once.

use std::sync::Arc;

use jiff::Timestamp;
use printernizer_crds::common::{ConfigMapKeyReference, SecretReference};
use printernizer_crds::print_job::{HttpSource, S3Source};
use rustls::ClientConfig;
use url::Url;

use super::credentials::{Credentials, Kind, Presented};
use super::error::FetchError;
use super::location::{parse, server_of, shown};
use super::references::{ReferenceError, References};
use super::{s3, tls};

/// A file on a server, with everything needed to ask for it.
pub(super) struct Origin {
    what: What,
    /// Where it lies, without a signature.
    url: Url,
    pub(super) credentials: Option<Credentials>,
    pub(super) tls: ClientConfig,
    /// Whether it names private certificates.
    pub(super) has_bundle: bool,
}

enum What {
    Http,
    S3(Box<s3::Object>),
}

impl Origin {
    /// Resolves the references of an http source.
    pub(super) async fn http(
        source: &HttpSource,
        namespace: &str,
        references: &dyn References,
    ) -> Result<Self, FetchError> {
        let url = parse(&source.url)?;
        let credentials =
            credentials(source.credentials_secret_ref.as_ref(), Kind::Http, namespace, references).await?;
        if let Some(credentials) = credentials.as_ref().filter(|credentials| !credentials.allowed_for(&url)) {
            return Err(not_for(credentials, &url, None));
        }
        let bundle = source.ca_bundle_config_map_ref.as_ref();
        let tls = certificates(bundle, namespace, references).await?;
        Ok(Self { what: What::Http, url, credentials, tls, has_bundle: bundle.is_some() })
    }

    /// Resolves the references of an S3 source.
    pub(super) async fn s3(
        source: &S3Source,
        namespace: &str,
        references: &dyn References,
    ) -> Result<Self, FetchError> {
        let object = s3::Object::of(source)?;
        let credentials = credentials(source.credentials_secret_ref.as_ref(), Kind::S3, namespace, references).await?;
        if let Some(credentials) = credentials.as_ref().filter(|credentials| !object.may_use(credentials)) {
            return Err(not_for(credentials, &object.url(), Some(object.endpoint())));
        }
        let bundle = source.ca_bundle_config_map_ref.as_ref();
        let tls = certificates(bundle, namespace, references).await?;
        let url = object.url();
        Ok(Self { what: What::S3(Box::new(object)), url, credentials, tls, has_bundle: bundle.is_some() })
    }

    /// The URL to ask first. For S3 it is signed with this time, and good for minutes.
    pub(super) fn first_url(&self, now: Timestamp) -> Url {
        match &self.what {
            What::Http => self.url.clone(),
            What::S3(object) => object.signed(self.credentials.as_ref(), now),
        }
    }

    /// Whether it is an object in S3, which is asked for where it is said to be, and nowhere else.
    pub(super) fn is_s3(&self) -> bool {
        matches!(self.what, What::S3(..))
    }

    /// What it is, for people.
    pub(super) fn shown(&self) -> String {
        self.shown_at(&self.url)
    }

    /// What it is, for people, where it is asked for at this URL.
    pub(super) fn shown_at(&self, url: &Url) -> String {
        match &self.what {
            What::Http => shown(url),
            What::S3(object) => object.described(),
        }
    }

    /// Whether it is in a bucket with a host of its own, which not every server has.
    pub(super) fn may_need_path_style(&self) -> bool {
        matches!(&self.what, What::S3(object) if object.may_need_path_style())
    }

    /// What the server of this URL was shown, which `from` had redirected to.
    pub(super) fn presented(&self, url: &Url, from: String) -> Presented {
        self.credentials.as_ref().map_or(Presented::Nothing, |credentials| credentials.presented(url, from))
    }
}

fn not_for(credentials: &Credentials, url: &Url, endpoint: Option<&Url>) -> FetchError {
    let (secret, host) = (credentials.secret.clone(), server_of(url));
    let endpoint = endpoint.map(server_of).filter(|endpoint| *endpoint != host);
    FetchError::CredentialsNotForHost { secret, host, endpoint }
}

async fn credentials(
    reference: Option<&SecretReference>,
    kind: Kind,
    namespace: &str,
    references: &dyn References,
) -> Result<Option<Credentials>, FetchError> {
    let Some(SecretReference { name }) = reference else { return Ok(None) };
    match references.secret(namespace, name).await {
        Ok(secret) => Credentials::read(&secret, name, kind).map(Some),
        Err(ReferenceError::Absent) => Err(FetchError::SecretNotFound { secret: name.clone() }),
        Err(error) => Err(FetchError::SecretUnreadable { secret: name.clone(), source: Arc::new(error) }),
    }
}

async fn certificates(
    reference: Option<&ConfigMapKeyReference>,
    namespace: &str,
    references: &dyn References,
) -> Result<ClientConfig, FetchError> {
    let Some(ConfigMapKeyReference { name, key }) = reference else { return tls::config(None, "") };
    match references.config_map(namespace, name, key).await {
        Ok(bundle) => tls::config(Some(&bundle), &format!("the key {key:?} of the ConfigMap {name:?}")),
        Err(error) => {
            Err(FetchError::CaBundleMissing { name: name.clone(), key: key.clone(), source: Arc::new(error) })
        }
    }
}
