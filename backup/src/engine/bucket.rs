//! Whether a bucket is there: the one thing restic does not tell. Asked for a file in a bucket that does not exist, S3 answers
//! as for a file that does not, and `restic init` then makes the bucket. A backup never does: a bucket by a wrong name would
//! hold it, in whatever region and under nobody's rules.
//!
//! One request (HEAD of the bucket), only where no repository was found.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use rusty_s3::actions::{HeadBucket, S3Action as _};
use rusty_s3::{Credentials, UrlStyle};
use secrecy::ExposeSecret as _;

use super::location::{Bucket, Location};
use super::{EngineError, classify};

/// How long the signature of a request is good.
const SIGNED_FOR: Duration = Duration::from_secs(300);

/// Fails if the place is a bucket that is not there. Whatever else is wrong with it restic says itself.
pub async fn check(place: &Location, limit: Duration) -> Result<(), EngineError> {
    let (Some(bucket), Some(key)) = (&place.bucket, &place.key) else { return Ok(()) };
    let keys = Credentials::new(key.id.expose_secret(), key.secret.expose_secret());
    match ask(bucket, &keys, place.authority.as_deref(), limit).await {
        Ok(StatusCode::NOT_FOUND) => Err(classify::error(place, "the specified bucket does not exist")),
        Ok(_) => Ok(()),
        Err(error) => Err(classify::error(place, &error)),
    }
}

async fn ask(
    bucket: &Bucket,
    keys: &Credentials,
    authority: Option<&Path>,
    limit: Duration,
) -> Result<StatusCode, String> {
    let endpoint = bucket.endpoint.parse().map_err(|error| format!("{} is no address: {error}", bucket.endpoint))?;
    let style = if bucket.path_style { UrlStyle::Path } else { UrlStyle::VirtualHost };
    let known = rusty_s3::Bucket::new(endpoint, style, bucket.name.clone(), bucket.region.clone());
    let known = known.map_err(|error| error.to_string())?;
    let url = HeadBucket::new(&known, Some(keys)).sign(SIGNED_FOR);
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .tls_backend_preconfigured(trust(authority)?)
        .timeout(limit)
        .build()
        .map_err(|error| error.to_string())?;
    // The address has the signature in it.
    let answer = client.head(url).send().await.map_err(|error| {
        let error = error.without_url();
        let causes = std::iter::successors(error.source(), |&cause| cause.source());
        causes.fold(format!("request failed: {error}"), |text, cause| format!("{text}: {cause}"))
    })?;
    Ok(answer.status())
}

/// The authorities that are trusted: those in the file instead of the public ones.
fn trust(authority: Option<&Path>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = authority {
        roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())? {
            let certificate = certificate.map_err(|error| error.to_string())?;
            roots.add(certificate).map_err(|error| error.to_string())?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(versions.map_err(|error| error.to_string())?.with_root_certificates(roots).with_no_client_auth())
}
