//! What a source in a spec stands for at this moment: the URL, the credentials its Secret holds now, and the certificates
//! it trusts. Made anew for each fetch, so that a rotated Secret or a corrected ConfigMap counts at once.

use std::sync::Arc;

use jiff::Timestamp;
use printernizer_crds::common::{ConfigMapKeyReference, SecretReference};
use printernizer_crds::print_job::{HttpSource, S3Source};
use rustls::ClientConfig;
use url::Url;

use super::credentials::{Credentials, Kind};
use super::error::FetchError;
use super::location::{host_of, parse, shown};
use super::references::{ReferenceError, References};
use super::{s3, tls};

/// A file on a server, with everything needed to ask for it.
pub(super) struct Origin {
    what: What,
    /// Where it lies, without a signature.
    url: Url,
    pub(super) credentials: Option<Credentials>,
    pub(super) tls: ClientConfig,
}

enum What {
    Http,
    S3(Box<s3::Object>, String),
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
            return Err(not_for(credentials, &url));
        }
        let tls = certificates(source.ca_bundle_config_map_ref.as_ref(), namespace, references).await?;
        Ok(Self { what: What::Http, url, credentials, tls })
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
            return Err(not_for(credentials, &object.url()));
        }
        let tls = certificates(source.ca_bundle_config_map_ref.as_ref(), namespace, references).await?;
        let url = object.url();
        Ok(Self { what: What::S3(Box::new(object), s3::described(source)), url, credentials, tls })
    }

    /// The URL to ask first. For S3 it is signed with this time, and good for minutes.
    pub(super) fn first_url(&self, now: Timestamp) -> Url {
        match &self.what {
            What::Http => self.url.clone(),
            What::S3(object, _) => object.signed(self.credentials.as_ref(), now),
        }
    }

    /// Whether it is an object in S3, which is asked for where it is said to be, and nowhere else.
    pub(super) fn is_s3(&self) -> bool {
        matches!(self.what, What::S3(..))
    }

    /// What it is, for people.
    pub(super) fn shown(&self) -> String {
        match &self.what {
            What::Http => shown(&self.url),
            What::S3(_, shown) => shown.clone(),
        }
    }

    /// The name of the Secret it uses.
    pub(super) fn secret(&self) -> Option<String> {
        self.credentials.as_ref().map(|credentials| credentials.secret.clone())
    }
}

fn not_for(credentials: &Credentials, url: &Url) -> FetchError {
    FetchError::CredentialsNotForHost { secret: credentials.secret.clone(), host: host_of(url).to_owned() }
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
    let shown = format!("the key {key:?} of the ConfigMap {name:?}");
    match references.config_map(namespace, name, key).await {
        Ok(bundle) => tls::config(Some(&bundle), &shown),
        Err(error) => Err(FetchError::CaBundle { shown, source: Arc::new(error) }),
    }
}
