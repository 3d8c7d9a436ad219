//! Objects in S3 buckets: their URL and its signature (SigV4 in the query), made anew for each request. The bytes are
//! fetched like any other file, under the same rules.

use std::time::Duration;

use jiff::Timestamp;
use printernizer_crds::print_job::S3Source;
use rusty_s3::actions::{GetObject, S3Action as _};
use rusty_s3::{Bucket, UrlStyle};
use secrecy::ExposeSecret as _;
use url::{Host, Url};

use super::credentials::{Credentials, Login};
use super::error::FetchError;
use super::location::{host_of, parse, port_of, server_of};

/// The region where a source names none.
const DEFAULT_REGION: &str = "us-east-1";
/// How long a signature is good: for clocks that differ a little, as S3 itself allows them to.
pub(super) const SIGNED_FOR: Duration = Duration::from_mins(15);

/// An object in a bucket.
pub(super) struct Object {
    bucket: Bucket,
    key: String,
    endpoint: Url,
    /// Whether a person has named the endpoint and the bucket's name stands before it all the same.
    may_need_path_style: bool,
}

impl Object {
    /// The object a source names.
    pub(super) fn of(source: &S3Source) -> Result<Self, FetchError> {
        let named = format!("the object {:?} in the bucket {:?}", source.key, source.bucket);
        let refuse = |why| Err(FetchError::Url { shown: named.clone(), why });
        let region = source.region.as_deref().unwrap_or(DEFAULT_REGION);
        let is_plain = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
        if region.is_empty() || !region.bytes().all(is_plain) {
            return refuse("region must be a name such as eu-central-1");
        }
        // Such parts of a path would be resolved on the way, and another object be asked for.
        if source.key.is_empty() || source.key.split('/').any(|part| part == "." || part == "..") {
            return refuse("a key with a part . or .. cannot be fetched; rename the object");
        }
        let endpoint = match source.endpoint.as_deref() {
            Some(endpoint) => parse(endpoint)?,
            None if region.starts_with("cn-") => parse(&format!("https://s3.{region}.amazonaws.com.cn"))?,
            None => parse(&format!("https://s3.{region}.amazonaws.com"))?,
        };
        // A bucket's name cannot stand before an address.
        let is_address = matches!(endpoint.host(), Some(Host::Ipv4(_) | Host::Ipv6(_)));
        let style = if source.force_path_style || is_address { UrlStyle::Path } else { UrlStyle::VirtualHost };
        let may_need_path_style = matches!(style, UrlStyle::VirtualHost) && source.endpoint.is_some();
        let Ok(bucket) = Bucket::new(endpoint.clone(), style, source.bucket.clone(), region.to_owned()) else {
            return refuse("the bucket's name cannot be part of a host; set forcePathStyle: true");
        };
        Ok(Self { bucket, key: source.key.clone(), endpoint, may_need_path_style })
    }

    /// Where the object lies, without a signature.
    pub(super) fn url(&self) -> Url {
        self.bucket.object_url(&self.key)
    }

    /// The service.
    pub(super) fn endpoint(&self) -> &Url {
        &self.endpoint
    }

    /// Whether the bucket's name stands in the host, at a service of which a person says where it is: not each has such
    /// hosts.
    pub(super) fn may_need_path_style(&self) -> bool {
        self.may_need_path_style
    }

    /// What it is, for people.
    pub(super) fn described(&self) -> String {
        format!("the object {:?} in the bucket {:?} at {}", self.key, self.bucket.name(), server_of(&self.endpoint))
    }

    /// Whether the Secret names the service, or the bucket at it. The keys themselves are sent to nobody.
    pub(super) fn may_use(&self, credentials: &Credentials) -> bool {
        credentials.allowed_for(&self.url()) || credentials.allows(host_of(&self.endpoint), port_of(&self.endpoint))
    }

    /// The URL to ask at `now`: signed, where there are keys to sign with.
    pub(super) fn signed(&self, credentials: Option<&Credentials>, now: Timestamp) -> Url {
        let keys = credentials.and_then(|credentials| match &credentials.login {
            Login::S3 { access_key_id, secret_access_key, session_token } => {
                let (id, secret) = (access_key_id.clone(), secret_access_key.expose_secret().to_owned());
                let token = session_token.as_ref().map(|token| token.expose_secret().to_owned());
                Some(match token {
                    Some(token) => rusty_s3::Credentials::new_with_token(id, secret, token),
                    None => rusty_s3::Credentials::new(id, secret),
                })
            }
            Login::Basic { .. } | Login::Bearer(_) => None,
        });
        GetObject::new(&self.bucket, keys.as_ref(), &self.key).sign_with_time(SIGNED_FOR, &now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(bucket: &str, key: &str) -> S3Source {
        S3Source { bucket: bucket.into(), key: key.into(), ..S3Source::default() }
    }

    #[test]
    fn an_object_has_the_url_its_service_expects() {
        let url = |source: S3Source| Object::of(&source).unwrap().url().to_string();
        let at = |endpoint: &str, path: bool| S3Source {
            endpoint: Some(endpoint.into()),
            force_path_style: path,
            ..source("parts", "2026/a b+c.gcode")
        };
        assert_eq!(url(source("parts", "clip.gcode")), "https://parts.s3.us-east-1.amazonaws.com/clip.gcode");
        let frankfurt = S3Source { region: Some("eu-central-1".into()), ..source("parts", "clip.gcode") };
        assert_eq!(url(frankfurt), "https://parts.s3.eu-central-1.amazonaws.com/clip.gcode");
        let beijing = S3Source { region: Some("cn-north-1".into()), ..source("parts", "clip.gcode") };
        assert_eq!(url(beijing), "https://parts.s3.cn-north-1.amazonaws.com.cn/clip.gcode");
        assert_eq!(url(at("https://s3.example", false)), "https://parts.s3.example/2026/a%20b%2Bc.gcode");
        assert_eq!(url(at("http://s3.example:9000/", true)), "http://s3.example:9000/parts/2026/a%20b%2Bc.gcode");
        assert_eq!(url(at("http://10.0.0.7:9000", false)), "http://10.0.0.7:9000/parts/2026/a%20b%2Bc.gcode");
        // A key is never taken for a host.
        let odd = Url::parse(&url(source("parts", "//evil.example/a"))).unwrap();
        assert_eq!((host_of(&odd), odd.path()), ("parts.s3.us-east-1.amazonaws.com", "///evil.example/a"));
    }

    #[test]
    fn only_a_named_service_that_is_asked_by_a_host_of_the_bucket_may_need_path_style() {
        for (endpoint, force_path_style, expected) in [
            (None, false, false),
            (Some("https://s3.example"), false, true),
            (Some("https://s3.example"), true, false),
            (Some("http://10.0.0.7:9000"), false, false),
        ] {
            let endpoint = endpoint.map(str::to_owned);
            let object = Object::of(&S3Source { endpoint, force_path_style, ..source("parts", "a") }).unwrap();
            assert_eq!(object.may_need_path_style(), expected, "{}", object.url());
        }
        let described = Object::of(&source("parts", "clip.gcode")).unwrap().described();
        assert_eq!(described, "the object \"clip.gcode\" in the bucket \"parts\" at s3.us-east-1.amazonaws.com:443");
    }

    #[test]
    fn what_would_lead_elsewhere_is_refused() {
        for key in ["../other/secret.gcode", "a/./b", "..", ""] {
            assert!(Object::of(&source("parts", key)).is_err(), "{key}");
        }
        for region in ["evil.example/", "a.b", "", "eu central"] {
            let source = S3Source { region: Some(region.into()), ..source("parts", "a") };
            assert!(Object::of(&source).is_err(), "{region}");
        }
        for endpoint in ["ftp://s3.example", "https://user:hidden@s3.example", "s3.example"] {
            let source = S3Source { endpoint: Some(endpoint.into()), ..source("parts", "a") };
            let error = Object::of(&source).err().unwrap();
            assert!(!format!("{error} {error:?}").contains("hidden"), "{error:?}");
        }
    }
}
