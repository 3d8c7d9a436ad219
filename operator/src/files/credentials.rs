//! What a source's Secret says: with what to log in, and to whom that may be shown. Only Secrets labelled for sources are
//! used, and a Secret that names no hosts goes nowhere. Values never reach `Debug`, logs or error texts.

use std::fmt;
use std::net::Ipv6Addr;

use k8s_openapi::api::core::v1::Secret;
use printernizer_crds::USAGE_LABEL;
use secrecy::SecretString;
use url::{Host, Url};

use super::error::FetchError;
use super::location::{host_of, port_of, server_of};

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
    /// Whether the Secret holds user or password beside the token, which are used for nothing then.
    has_unused: bool,
    /// `host`, for any port of it, or `host:port`, as they stand in a URL.
    allowed_hosts: Vec<String>,
}

/// What a server that refuses access was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presented {
    /// The source names no Secret.
    Nothing,
    /// User and password of this Secret.
    Login {
        /// Name of the Secret.
        secret: String,
    },
    /// The token of this Secret.
    Token {
        /// Name of the Secret.
        secret: String,
        /// Whether it holds user or password, too.
        has_unused: bool,
    },
    /// Nothing, because the Secret does not name the host it was redirected to.
    Withheld {
        /// Name of the Secret.
        secret: String,
        /// Host and port that refuse access.
        host: String,
        /// The URL that redirected.
        from: String,
    },
}

impl fmt::Display for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("if it wants credentials, name a Secret with them in credentialsSecretRef"),
            Self::Login { secret } => {
                write!(f, "correct username and password in the Secret {secret}, or what they may read")
            }
            Self::Token { secret, has_unused } => {
                write!(f, "correct the token in the Secret {secret}, or what it may read")?;
                f.write_str(if *has_unused { "; its username and password are not used beside a token" } else { "" })
            }
            Self::Withheld { secret, host, from } => write!(
                f,
                "{from} redirects there, and the credentials in the Secret {secret} were not sent to {host}, because its key \
                 allowedHosts does not name it; add {host} there if they are meant for it"
            ),
        }
    }
}

impl Credentials {
    /// Reads a Secret.
    pub(super) fn read(secret: &Secret, name: &str, kind: Kind) -> Result<Self, FetchError> {
        let has = secret.metadata.labels.as_ref().and_then(|labels| labels.get(USAGE_LABEL)).cloned();
        if has.as_deref() != Some(USAGE) {
            return Err(FetchError::SecretNotLabeled { secret: name.to_owned(), has });
        }
        let values = Values { secret, name };
        let allowed_hosts = values.hosts()?;
        let mut has_unused = false;
        let login = match kind {
            Kind::Http => match (values.text("token")?, values.text("username")?, values.text("password")?) {
                (Some(token), user, password) => {
                    has_unused = user.is_some() || password.is_some();
                    Login::Bearer(token.into())
                }
                (None, Some(user), Some(password)) => Login::Basic { user, password: password.into() },
                (None, None, None) => {
                    return Err(values.wrong("holds no login: add the keys username and password, or the key token"));
                }
                (None, None, Some(_)) => return Err(values.wrong("has a key password and no username: add that")),
                (None, Some(_), None) => return Err(values.wrong("has a key username and no password: add that")),
            },
            Kind::S3 => Login::S3 {
                access_key_id: values.required("accessKeyID", "the id of the access key")?,
                secret_access_key: values.required("secretAccessKey", "the secret of the access key")?.into(),
                session_token: values.text("sessionToken")?.map(SecretString::from),
            },
        };
        Ok(Self { secret: name.to_owned(), login, has_unused, allowed_hosts })
    }

    /// What the host of this URL was shown of them, which `from` redirected to.
    pub(super) fn presented(&self, url: &Url, from: String) -> Presented {
        let secret = self.secret.clone();
        if !self.allowed_for(url) {
            return Presented::Withheld { secret, host: server_of(url), from };
        }
        match &self.login {
            Login::Bearer(_) => Presented::Token { secret, has_unused: self.has_unused },
            Login::Basic { .. } | Login::S3 { .. } => Presented::Login { secret },
        }
    }

    /// Whether the host of this URL may see them.
    pub(super) fn allowed_for(&self, url: &Url) -> bool {
        self.allows(host_of(url), port_of(url))
    }

    /// Whether this host may see them.
    pub(super) fn allows(&self, host: &str, port: u16) -> bool {
        let with_port = format!("{host}:{port}");
        self.allowed_hosts.iter().any(|allowed| allowed == host || *allowed == with_port)
    }
}

/// A host as it stands in a URL, with its port if it has one, of what a person wrote; else what that is, and what to write.
/// The text itself is not repeated: it may have been meant for another key.
fn host(text: &str) -> Result<String, String> {
    let no = |why: &str| Err(why.to_owned());
    if text.contains("://") {
        return no("a URL; write its host alone");
    }
    if text.contains('@') {
        return no("something with an @; write the host alone, user and password have keys of their own");
    }
    if text.contains(['/', '?', '#']) {
        return no("a path; write the host alone, without a / and what follows it");
    }
    if text.contains('*') {
        return no("a pattern; write each host, patterns mean nothing here");
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err(format!("an IPv6 address without brackets; write [{text}]"));
    }
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (text, None),
    };
    let Ok(name) = Host::parse(name) else {
        return no("what can be no host; write it as files.example.com or files.example.com:8443");
    };
    match port.map(str::parse::<u16>) {
        None => Ok(name.to_string()),
        Some(Ok(port)) if port > 0 => Ok(format!("{name}:{port}")),
        Some(_) => no("a host with a port that is none; write a number from 1 to 65535 after the colon, or no colon"),
    }
}

struct Values<'a> {
    secret: &'a Secret,
    name: &'a str,
}

impl Values<'_> {
    /// A value without the line end that `kubectl create secret --from-file` keeps; none when it is absent or empty.
    fn text(&self, key: &'static str) -> Result<Option<String>, FetchError> {
        let Some(bytes) = self.secret.data.as_ref().and_then(|data| data.get(key)) else { return Ok(None) };
        let no_text = |_| self.wrong(format!("has something in its key {key} that is no text; write it anew"));
        let text = std::str::from_utf8(&bytes.0).map_err(no_text)?.trim();
        if key != ALLOWED_HOSTS && text.contains(char::is_control) {
            let what = "line ends or other control characters";
            return Err(self.wrong(format!("has {what} in its key {key}; write it without them")));
        }
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }

    fn required(&self, key: &'static str, what: &str) -> Result<String, FetchError> {
        self.text(key)?.ok_or_else(|| self.wrong(format!("has no key {key}, or nothing in it: add {what}")))
    }

    /// The hosts its other values may be used for, at least one.
    fn hosts(&self) -> Result<Vec<String>, FetchError> {
        let what = "the hosts the rest may be used for, for example files.example.com";
        let text = self.required(ALLOWED_HOSTS, what)?;
        let entries = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|entry| !entry.is_empty());
        let hosts = entries.zip(1..).map(|(entry, number)| {
            host(entry).map_err(|why| self.wrong(format!("has as entry {number} of its key {ALLOWED_HOSTS} {why}")))
        });
        let hosts = hosts.collect::<Result<Vec<_>, _>>()?;
        if hosts.is_empty() { Err(self.wrong(format!("names no host in its key {ALLOWED_HOSTS}"))) } else { Ok(hosts) }
    }

    fn wrong(&self, why: impl Into<String>) -> FetchError {
        FetchError::SecretKey { secret: self.name.to_owned(), why: why.into() }
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
        for hosts in [
            "other, FILES.farm.example",
            "files.farm.example:8443",
            "other\nfiles.farm.example\n",
            "a files.farm.example",
        ] {
            assert!(http(hosts).allowed_for(&url), "{hosts}");
        }
        for hosts in ["farm.example", "files.farm.example:443", "other", "other, farm.example"] {
            assert!(!http(hosts).allowed_for(&url), "{hosts}");
        }
        let six = Url::parse("http://[fd12::1]:8080/a.gcode").unwrap();
        assert!(http("[fd12::1]").allowed_for(&six) && http("[FD12:0::1]:8080").allowed_for(&six));
        // Written as it is read, whatever it looks like in a URL.
        let odd = Url::parse("http://b\u{fc}ro.example:8443/a").unwrap();
        assert!(http("B\u{fc}ro.example").allowed_for(&odd) && http("127.0.0.1").allowed_for(&parsed("http://127.1/")));
    }

    fn parsed(url: &str) -> Url {
        Url::parse(url).unwrap()
    }

    #[test]
    fn what_can_be_no_host_is_named_with_what_to_write_and_not_repeated() {
        for (hosts, words) in [
            ("good, https://files.example:8443/a", "entry 2 of its key allowedHosts a URL; write its host alone"),
            ("https://hidden@files.example", "write its host alone"),
            ("https://", "a URL; write its host alone"),
            ("files.example/hidden", "a path; write the host alone"),
            ("hidden@files.example", "something with an @"),
            ("*.hidden.example", "a pattern; write each host"),
            ("fd12::1", "write [fd12::1]"),
            ("files.example:http", "a number from 1 to 65535"),
            ("files.example:0", "a number from 1 to 65535"),
            ("files.example:", "a number from 1 to 65535"),
            ("files.ex|hidden", "what can be no host; write it as files.example.com"),
            (",", "names no host in its key allowedHosts"),
        ] {
            let data = [("username", "u"), ("password", "p"), ("allowedHosts", hosts)];
            let error = Credentials::read(&secret(Some("source"), &data), "files", Kind::Http).unwrap_err();
            assert_eq!(error.reason(), Reason::SecretKeyMissing, "{hosts}");
            let told = error.to_string();
            assert!(told.starts_with("the Secret files ") && told.contains(words), "{hosts}: {told}");
            assert!(!told.contains("hidden"), "{hosts}: {told}");
        }
    }

    #[test]
    fn who_refuses_access_is_told_with_what_it_was_shown() {
        let url = parsed("https://files.example/a");
        let presented = |data: &[(&str, &str)], url: &Url| {
            let read = Credentials::read(&secret(Some("source"), data), "files", Kind::Http).unwrap();
            read.presented(url, "https://first.example/a".to_owned()).to_string()
        };
        let hosts = ("allowedHosts", "files.example, first.example");
        let login = [("username", "farm"), ("password", "hidden"), hosts];
        let told = presented(&login, &url);
        assert_eq!(told, "correct username and password in the Secret files, or what they may read");
        let told = presented(&[("token", "hidden"), hosts], &url);
        assert_eq!(told, "correct the token in the Secret files, or what it may read");
        let told = presented(&[&login[..], &[("token", "hidden")]].concat(), &url);
        assert!(told.contains("the token") && told.ends_with("are not used beside a token"), "{told}");
        let told = presented(&login, &parsed("https://cdn.example/a"));
        assert!(told.contains("https://first.example/a redirects there"), "{told}");
        assert!(told.contains("not sent to cdn.example:443") && told.contains("allowedHosts"), "{told}");
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
            (Some("printer"), whole.to_vec(), Reason::SecretNotLabeled, "--overwrite"),
            (Some("source"), without("allowedHosts"), Reason::SecretKeyMissing, "allowedHosts"),
            (Some("source"), with("allowedHosts", " \n"), Reason::SecretKeyMissing, "allowedHosts"),
            (Some("source"), without("username"), Reason::SecretKeyMissing, "no username: add that"),
            (Some("source"), without("password"), Reason::SecretKeyMissing, "no password: add that"),
            (Some("source"), vec![("allowedHosts", "a")], Reason::SecretKeyMissing, "password, or the key token"),
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
