//! Reads one file over http or https into the cache. Names are resolved once, the addresses checked, and the connection
//! made to one of those that passed; each redirect starts over. Credentials go only to hosts their Secret names.
//! Nothing is retried here and no proxy of the environment is used: a proxy would connect to what was not checked.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, LOCATION};
use reqwest::{Response, StatusCode};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use secrecy::{ExposeSecret as _, SecretString};
use url::{Host, Url};

use super::allow::Networks;
use super::cache::Partial;
use super::error::FetchError;

/// Redirects followed for one file.
const MAX_REDIRECTS: usize = 5;

/// How a server is asked for a file.
#[derive(Clone, Debug)]
pub enum Authorization {
    /// User and password (RFC 7617).
    Basic {
        /// User.
        user: String,
        /// Password.
        password: SecretString,
    },
    /// A token (RFC 6750).
    Bearer(SecretString),
}

/// Credentials and where they may go.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// What is sent.
    pub authorization: Authorization,
    /// `host`, for any port of it, or `host:port`. Nobody else is sent the credentials.
    pub allowed_hosts: Vec<String>,
}

/// A file on a web server. `Debug` leaves out the query of the URL, which may be a signature.
#[derive(Clone)]
pub struct HttpSource {
    /// http or https, without user and password in it.
    pub url: String,
    /// For servers that ask who reads.
    pub credentials: Option<Credentials>,
    /// PEM certificates trusted for this server, beside the public ones.
    pub ca_bundle: Option<Vec<u8>>,
}

impl HttpSource {
    /// The URL without what may be secret in it.
    pub(super) fn shown(&self) -> String {
        Url::parse(&self.url).map_or_else(|_| "the source's URL".to_owned(), |url| shown(&url))
    }
}

impl fmt::Debug for HttpSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSource")
            .field("url", &self.shown())
            .field("credentials", &self.credentials)
            .finish_non_exhaustive()
    }
}

/// Limits of one fetch.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest file. 512 MiB by default.
    pub max_file_bytes: u64,
    /// Longest wait for a name and for a connection. 10 s by default.
    pub connect_timeout: Duration,
    /// Longest silence of a server. 30 s by default.
    pub stall_timeout: Duration,
    /// Longest whole fetch. 30 min by default.
    pub total_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_file_bytes: 512 * 1024 * 1024,
            connect_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            total_timeout: Duration::from_mins(30),
        }
    }
}

/// Streams the file into `partial`.
pub(super) async fn fetch(
    source: &HttpSource,
    networks: &Networks,
    limits: &Limits,
    partial: &mut Partial,
) -> Result<(), FetchError> {
    let url = parse(&source.url)?;
    if let Some(credentials) = &source.credentials
        && !credentials.allowed_for(&url)
    {
        return Err(FetchError::CredentialsNotForHost { host: host_of(&url).to_owned() });
    }
    let whole = async {
        let response = follow(source, url.clone(), networks, limits).await?;
        receive(response, limits, partial).await
    };
    let limit = limits.total_timeout;
    tokio::time::timeout(limit, whole).await.unwrap_or_else(|_| Err(FetchError::TooSlow { shown: shown(&url), limit }))
}

/// The first answer that is no redirect.
async fn follow(
    source: &HttpSource,
    mut url: Url,
    networks: &Networks,
    limits: &Limits,
) -> Result<Response, FetchError> {
    let tls = tls(source.ca_bundle.as_deref(), &url)?;
    for _ in 0..=MAX_REDIRECTS {
        let response = ask(source, &url, tls.clone(), networks, limits).await?;
        if !response.status().is_redirection() {
            return Ok(response);
        }
        let refuse = |why| FetchError::Redirect { shown: shown(&url), why };
        let target = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let target = target.ok_or_else(|| refuse("it does not say where to; correct the server or the URL"))?;
        let target = url.join(target).map_err(|_| refuse("it leads to no valid URL; correct the server or the URL"))?;
        if url.scheme() == "https" && target.scheme() != "https" {
            return Err(refuse(
                "it leads from https to an unencrypted address; write that URL yourself if it is meant",
            ));
        }
        url = parse(target.as_str())?;
    }
    Err(FetchError::Redirect { shown: shown(&url), why: "there are more than 5 redirects; write the final URL" })
}

/// One request to an address that was checked.
async fn ask(
    source: &HttpSource,
    url: &Url,
    tls: ClientConfig,
    networks: &Networks,
    limits: &Limits,
) -> Result<Response, FetchError> {
    let addresses = resolve(url, networks, limits.connect_timeout).await?;
    let unreachable = |error: reqwest::Error| FetchError::unreachable(&shown(url), error.without_url());
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .http1_only()
        .tls_backend_preconfigured(tls)
        .connect_timeout(limits.connect_timeout)
        .read_timeout(limits.stall_timeout)
        .resolve_to_addrs(host_of(url), &addresses)
        .build()
        .map_err(unreachable)?;
    let mut request = client.get(url.clone()).header(ACCEPT_ENCODING, "identity");
    if let Some(credentials) = source.credentials.as_ref().filter(|credentials| credentials.allowed_for(url)) {
        request = match &credentials.authorization {
            Authorization::Basic { user, password } => request.basic_auth(user, Some(password.expose_secret())),
            Authorization::Bearer(token) => request.bearer_auth(token.expose_secret()),
        };
    }
    request.send().await.map_err(unreachable)
}

/// The addresses of a URL's host that may be connected to; an error when there is none.
async fn resolve(url: &Url, networks: &Networks, limit: Duration) -> Result<Vec<SocketAddr>, FetchError> {
    let port = url.port_or_known_default().unwrap_or(443);
    let found: Vec<SocketAddr> = match url.host() {
        Some(Host::Ipv4(four)) => vec![(IpAddr::V4(four), port).into()],
        Some(Host::Ipv6(six)) => vec![(IpAddr::V6(six), port).into()],
        Some(Host::Domain(name)) => {
            let unreachable = |error: std::io::Error| FetchError::unreachable(name, error);
            let lookup = tokio::time::timeout(limit, tokio::net::lookup_host((name, port))).await;
            lookup.map_err(|elapsed| FetchError::unreachable(name, elapsed))?.map_err(unreachable)?.collect()
        }
        None => Vec::new(),
    };
    let mut allowed = Vec::new();
    let mut forbidden = None;
    for address in found {
        match networks.check(address.ip()) {
            Ok(()) => allowed.push(address),
            Err(why) => forbidden = Some(why),
        }
    }
    match forbidden {
        _ if !allowed.is_empty() => Ok(allowed),
        Some(source) => Err(FetchError::Address { host: host_of(url).to_owned(), source }),
        None => Err(FetchError::unreachable(host_of(url), std::io::Error::other("the name has no address"))),
    }
}

/// The body of a good answer.
async fn receive(mut response: Response, limits: &Limits, partial: &mut Partial) -> Result<(), FetchError> {
    let shown = shown(response.url());
    let status = response.status();
    match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => return Err(FetchError::NotFound { shown }),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            return Err(FetchError::Denied { shown, status: status.as_u16() });
        }
        StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION => {}
        StatusCode::NO_CONTENT => return Err(FetchError::Empty { shown }),
        _ => return Err(FetchError::Status { shown, status: status.as_u16() }),
    }
    if response.headers().get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(FetchError::Encoded { shown });
    }
    let limit_bytes = limits.max_file_bytes;
    let too_large = || FetchError::TooLarge { shown: shown.clone(), limit_bytes };
    if response.content_length().is_some_and(|length| length > limit_bytes) {
        return Err(too_large());
    }
    let broken = |error: reqwest::Error| FetchError::unreachable(&shown, error.without_url());
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if partial.size_bytes() + chunk.len() as u64 > limit_bytes {
            return Err(too_large());
        }
        partial.write(&chunk).await?;
    }
    if partial.size_bytes() == 0 { Err(FetchError::Empty { shown }) } else { Ok(()) }
}

impl Credentials {
    fn allowed_for(&self, url: &Url) -> bool {
        let host = host_of(url);
        let with_port = format!("{host}:{}", url.port_or_known_default().unwrap_or(443));
        let same = |allowed: &String| {
            let allowed = allowed.trim();
            allowed.eq_ignore_ascii_case(host) || allowed.eq_ignore_ascii_case(&with_port)
        };
        self.allowed_hosts.iter().any(same)
    }
}

fn parse(text: &str) -> Result<Url, FetchError> {
    // A text that does not parse may hold a password anywhere, so it is not shown.
    let unreadable = |_| FetchError::Url { shown: "the source's URL".to_owned(), why: "it is no valid URL" };
    let url = Url::parse(text).map_err(unreadable)?;
    let refuse = |why| Err(FetchError::Url { shown: shown(&url), why });
    match url.scheme() {
        "http" | "https" if !url.username().is_empty() || url.password().is_some() => {
            refuse("user and password do not belong in a URL; put them into a Secret and name it")
        }
        "http" | "https" => Ok(url),
        _ => refuse("only http and https are supported here"),
    }
}

/// A URL without what may be secret: user, password, query and fragment.
fn shown(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}{}", url.scheme(), host_of(url), url.path())
}

fn host_of(url: &Url) -> &str {
    url.host_str().unwrap_or_default()
}

/// Public certificate authorities, and those of the bundle.
fn tls(bundle: Option<&[u8]>, url: &Url) -> Result<ClientConfig, FetchError> {
    let unusable =
        |error: Arc<dyn std::error::Error + Send + Sync>| FetchError::CaBundle { shown: shown(url), source: error };
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(bundle) = bundle {
        let before = roots.len();
        for certificate in CertificateDer::pem_slice_iter(bundle) {
            let certificate = certificate.map_err(|error| unusable(Arc::new(error)))?;
            roots.add(certificate).map_err(|error| unusable(Arc::new(error)))?;
        }
        if roots.len() == before {
            return Err(unusable(Arc::new(std::io::Error::other("it holds no certificate"))));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let versions = versions.map_err(|error| unusable(Arc::new(error)))?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_go_to_named_hosts_only() {
        let credentials = |hosts: &[&str]| Credentials {
            authorization: Authorization::Bearer("t".into()),
            allowed_hosts: hosts.iter().map(ToString::to_string).collect(),
        };
        let url = Url::parse("https://files.farm.example:8443/a.gcode").unwrap();
        assert!(credentials(&["other", "FILES.farm.example"]).allowed_for(&url));
        assert!(credentials(&["files.farm.example:8443"]).allowed_for(&url));
        for others in [&["farm.example"][..], &["files.farm.example:443"], &["*"], &[""], &[]] {
            assert!(!credentials(others).allowed_for(&url), "{others:?}");
        }
    }

    #[test]
    fn what_may_be_secret_is_not_shown() {
        let url = Url::parse("https://files.farm.example:8443/a.gcode?signature=hidden#hidden").unwrap();
        assert_eq!(shown(&url), "https://files.farm.example:8443/a.gcode");
        for text in ["https://user:hidden@files.example/a", "http://hidden@files.example/a", "https://u:hidden@[bad/a"]
        {
            let error = parse(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hidden"), "{error:?}");
        }
        assert!(parse("ftp://files.example/a").unwrap_err().to_string().contains("http and https"));
        let basic = Authorization::Basic { user: "u".into(), password: "hidden".into() };
        assert!(!format!("{basic:?}").contains("hidden"));
    }

    #[tokio::test]
    async fn addresses_written_in_odd_ways_are_judged_by_what_they_mean() {
        let networks = Networks::for_sources(Vec::new(), false);
        for host in ["0x7f.1", "2130706433", "127.1", "[::ffff:7f00:1]", "0251.0376.0251.0376", "[fe80::1]", "0.0.0.0"]
        {
            let url = parse(&format!("http://{host}/a")).unwrap();
            let error = resolve(&url, &networks, Duration::from_secs(1)).await.unwrap_err();
            assert!(matches!(error, FetchError::Address { .. }), "{host}: {error:?}");
        }
    }
}
