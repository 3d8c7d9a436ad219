//! What a source's Secret says: with what to log in, and to whom that may be shown. Only Secrets labelled for sources are
//! used, and a Secret that names no hosts goes nowhere. Values never reach `Debug`, logs or error texts.

use k8s_openapi::api::core::v1::Secret;
use printernizer_crds::USAGE_LABEL;
use secrecy::SecretString;
use url::Url;

use super::error::FetchError;
use super::location::{host_of, port_of};

/// The value the usage label must have on a source's Secret.
pub(super) const USAGE: &str = "source";
/// The key under which a Secret names the hosts it may be shown to.
const ALLOWED_HOSTS: &str = "allowedHosts";

/// How a server is asked for a file.
#[derive(Clone, Debug)]
pub(super) enum Login {
    /// User and password (RFC 7617).
    Basic { user: String, password: SecretString },
    /// A token (RFC 6750).
    Bearer(SecretString),
    /// Keys of S3, which sign requests and are never sent.
    S3 { access_key_id: String, secret_access_key: SecretString, session_token: Option<SecretString> },
}

/// What a source logs in with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Http,
    S3,
}

/// A login and where it may be used.
#[derive(Clone, Debug)]
pub(super) struct Credentials {
    /// Name of the Secret, for texts.
    pub(super) secret: String,
    pub(super) login: Login,
    /// `host`, for any port of it, or `host:port`, in lower case.
    allowed_hosts: Vec<String>,
}

impl Credentials {
    /// Reads a Secret.
    pub(super) fn read(secret: &Secret, name: &str, kind: Kind) -> Result<Self, FetchError> {
        if secret.metadata.labels.as_ref().and_then(|labels| labels.get(USAGE_LABEL)).map(String::as_str) != Some(USAGE)
        {
            return Err(FetchError::SecretNotLabeled { secret: name.to_owned() });
        }
        let values = Values { secret, name };
        let allowed_hosts: Vec<String> = values
            .required(ALLOWED_HOSTS, "the hosts it may be sent to, for example files.example.com")?
            .split(|c: char| c == ',' || c.is_whitespace())
            .filter(|host| !host.is_empty())
            .map(str::to_ascii_lowercase)
            .collect();
        let login = match kind {
            Kind::Http => match values.text("token")? {
                Some(token) => Login::Bearer(token.into()),
                None => Login::Basic {
                    user: values.required("username", "or token in place of username and password")?,
                    password: values.required("password", "the user's password")?.into(),
                },
            },
            Kind::S3 => Login::S3 {
                access_key_id: values.required("accessKeyID", "the id of the access key")?,
                secret_access_key: values.required("secretAccessKey", "the secret of the access key")?.into(),
                session_token: values.text("sessionToken")?.map(SecretString::from),
            },
        };
        Ok(Self { secret: name.to_owned(), login, allowed_hosts })
    }

    /// Whether the host of this URL may see them.
    pub(super) fn allowed_for(&self, url: &Url) -> bool {
        self.allows(host_of(url), port_of(url))
    }

    /// Whether this host may see them.
    pub(super) fn allows(&self, host: &str, port: u16) -> bool {
        let with_port = format!("{host}:{port}");
        self.allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host) || *allowed == with_port)
    }
}

struct Values<'a> {
    secret: &'a Secret,
    name: &'a str,
}

impl Values<'_> {
    /// A value without the line end that `kubectl create secret --from-file` keeps; none when it is absent or empty.
    fn text(&self, key: &'static str) -> Result<Option<String>, FetchError> {
        let unusable = |why: &str| FetchError::SecretKey { secret: self.name.to_owned(), key, why: why.to_owned() };
        let Some(bytes) = self.secret.data.as_ref().and_then(|data| data.get(key)) else { return Ok(None) };
        let text = std::str::from_utf8(&bytes.0).map_err(|_| unusable("write it as text"))?.trim();
        if key != ALLOWED_HOSTS && text.contains(char::is_control) {
            return Err(unusable("write it without line ends and other control characters"));
        }
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }

    fn required(&self, key: &'static str, what: &str) -> Result<String, FetchError> {
        let missing = || FetchError::SecretKey { secret: self.name.to_owned(), key, why: format!("add it: {what}") };
        self.text(key)?.ok_or_else(missing)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use printernizer_crds::Reason;

    use super::*;

    fn secret(label: Option<&str>, data: &[(&str, &str)]) -> Secret {
        let mut secret = Secret::default();
        secret.metadata.labels = label.map(|label| [(USAGE_LABEL.to_owned(), label.to_owned())].into());
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
        secret.data = Some(data.collect());
        secret
    }

    fn http(hosts: &str) -> Credentials {
        let data = [("username", "farm\n"), ("password", "hidden"), ("allowedHosts", hosts)];
        Credentials::read(&secret(Some("source"), &data), "files", Kind::Http).unwrap()
    }

    #[test]
    fn credentials_go_to_named_hosts_only() {
        let url = Url::parse("https://files.farm.example:8443/a.gcode").unwrap();
        for hosts in ["other, FILES.farm.example", "files.farm.example:8443", "other\nfiles.farm.example\n"] {
            assert!(http(hosts).allowed_for(&url), "{hosts}");
        }
        for hosts in ["farm.example", "files.farm.example:443", "*", ",", "https://files.farm.example:8443", "other"] {
            assert!(!http(hosts).allowed_for(&url), "{hosts}");
        }
        let six = Url::parse("http://[fd12::1]:8080/a.gcode").unwrap();
        assert!(http("[fd12::1]").allowed_for(&six) && http("[fd12::1]:8080").allowed_for(&six));
    }

    #[test]
    fn a_secret_holds_a_user_a_token_or_keys_of_s3() {
        assert!(matches!(http("a").login, Login::Basic { user, .. } if user == "farm"));
        let token = secret(Some("source"), &[("token", "hidden"), ("allowedHosts", "a")]);
        let token = Credentials::read(&token, "files", Kind::Http).unwrap();
        assert!(matches!(token.login, Login::Bearer(_)));
        let keys = [("accessKeyID", "ID"), ("secretAccessKey", "hidden"), ("allowedHosts", "a")];
        let keys = Credentials::read(&secret(Some("source"), &keys), "files", Kind::S3).unwrap();
        assert!(matches!(keys.login, Login::S3 { session_token: None, .. }));
        assert!(!format!("{token:?} {keys:?} {:?}", http("a")).contains("hidden"));
    }

    #[test]
    fn what_is_wrong_with_a_secret_is_said_with_what_to_do() {
        let whole = [("username", "u"), ("password", "p"), ("allowedHosts", "a")];
        let without = |key: &str| whole.into_iter().filter(|(other, _)| *other != key).collect::<Vec<_>>();
        let with = |key: &'static str, value: &'static str| [without(key), vec![(key, value)]].concat();
        for (label, data, reason, advice) in [
            (None, whole.to_vec(), Reason::SecretNotLabeled, "printernizer.io/usage=source"),
            (Some("printer"), whole.to_vec(), Reason::SecretNotLabeled, "printernizer.io/usage=source"),
            (Some("source"), without("allowedHosts"), Reason::SecretKeyMissing, "allowedHosts"),
            (Some("source"), with("allowedHosts", " \n"), Reason::SecretKeyMissing, "allowedHosts"),
            (Some("source"), without("username"), Reason::SecretKeyMissing, "token"),
            (Some("source"), without("password"), Reason::SecretKeyMissing, "password"),
            (Some("source"), with("password", "a\nb"), Reason::SecretKeyMissing, "line ends"),
        ] {
            let error = Credentials::read(&secret(label, &data), "files", Kind::Http).unwrap_err();
            assert_eq!(error.reason(), reason, "{data:?}");
            assert!(error.to_string().contains(advice), "{error}");
        }
        let error = Credentials::read(&secret(Some("source"), &whole), "files", Kind::S3).unwrap_err();
        assert!(error.to_string().contains("accessKeyID"), "{error}");
    }
}
