//! Asks for one file over http or https. Names are resolved once, the addresses checked, and the connection made to one of
//! those that passed; each redirect starts over. Credentials go only to hosts their Secret names. No proxy of the
//! environment is used: a proxy would connect to what was not checked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{ACCEPT_ENCODING, HeaderValue, IF_RANGE, LOCATION, RANGE};
use reqwest::{Response, StatusCode};
use secrecy::ExposeSecret as _;
use url::Url;

use super::allow::Networks;
use super::credentials::Login;
use super::error::FetchError;
use super::location::{host_of, parse, port_of, server_of, shown};
use super::origin::Origin;
use super::resolve::{ResolveError, Resolver, resolve};
use super::tls::Distrust;
use super::trouble::Trouble;
use super::version::Version;

/// Redirects followed for one file.
const MAX_REDIRECTS: usize = 5;

/// Limits of one fetch.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest file. 512 MiB by default.
    pub max_file_bytes: u64,
    /// Longest wait for a name and for a connection. 10 s by default.
    pub connect_timeout: Duration,
    /// Longest silence of a server. 30 s by default.
    pub stall_timeout: Duration,
    /// Pause before a transfer that broke off is continued; doubles. 500 ms by default.
    pub resume_pause: Duration,
    /// Longest whole fetch. 30 min by default.
    pub total_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_file_bytes: 512 * 1024 * 1024,
            connect_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            resume_pause: Duration::from_millis(500),
            total_timeout: Duration::from_mins(30),
        }
    }
}

/// Where files may come from, and how their names are resolved.
#[derive(Clone)]
pub(super) struct Network {
    pub(super) networks: Networks,
    pub(super) resolver: Arc<dyn Resolver>,
}

/// The rest of a file whose beginning is there.
pub(super) struct Rest {
    /// Where it begins.
    pub(super) from: u64,
    /// The strong validator of the version the beginning is of (RFC 9110, 13.1.5).
    pub(super) version: HeaderValue,
}

/// How much of a file is asked for.
#[derive(Clone, Copy)]
pub(super) enum Part<'a> {
    Whole,
    /// The whole, unless it is still this version.
    Unless(&'a Version),
    Rest(&'a Rest),
}

/// An answer that is no redirect.
pub(super) struct Answer {
    pub(super) response: Response,
    /// The URL that redirected there, if one did.
    pub(super) from: Option<String>,
}

/// The first answer that is no redirect.
pub(super) async fn follow(
    origin: &Origin,
    part: Part<'_>,
    network: &Network,
    limits: &Limits,
) -> Result<Answer, FetchError> {
    let mut url = origin.first_url(Timestamp::now());
    let mut from = None;
    for _ in 0..=MAX_REDIRECTS {
        let asked = ask(origin, &url, part, network, limits).await;
        let response = asked.map_err(|error| error.redirected_by(from.as_ref()))?;
        let status = response.status();
        if origin.is_s3() || !status.is_redirection() || status == StatusCode::NOT_MODIFIED {
            return Ok(Answer { response, from });
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
        // It is the server's URL that is not fetched, not the spec's: it may be corrected at any time.
        let target = parse(target.as_str())
            .map_err(|_| refuse("it leads to a URL that is not fetched; correct the server or the URL"))?;
        from = Some(shown(&url));
        url = target;
    }
    Err(FetchError::Redirect { shown: shown(&url), why: "there are more than 5 redirects; write the final URL" })
}

/// What a connection is made to: the addresses that were checked, whatever the name stands for by then.
struct Checked(Vec<SocketAddr>);

impl reqwest::dns::Resolve for Checked {
    fn resolve(&self, _: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let addresses: reqwest::dns::Addrs = Box::new(self.0.clone().into_iter());
        Box::pin(std::future::ready(Ok(addresses)))
    }
}

/// One request to an address that was checked.
async fn ask(
    origin: &Origin,
    url: &Url,
    part: Part<'_>,
    network: &Network,
    limits: &Limits,
) -> Result<Response, FetchError> {
    let (timeout, server) = (limits.connect_timeout, server_of(url));
    let resolved = resolve(network.resolver.as_ref(), host_of(url), port_of(url), &network.networks, timeout).await;
    let addresses = resolved.map_err(|error| match error {
        ResolveError::Forbidden { source, .. } => FetchError::Address { host: server.clone(), source },
        ResolveError::Unresolved { host, source } => {
            FetchError::Unresolved { host, path_style: origin.may_need_path_style(), source: Arc::new(source) }
        }
    })?;
    let failed = |error: reqwest::Error| {
        if let Some(why) = Distrust::of(&error, origin.has_bundle) {
            let path_style = origin.may_need_path_style();
            return FetchError::Certificate { host: server.clone(), path_style, why };
        }
        let (error, unencrypted) = (error.without_url(), url.scheme() == "http");
        let trouble = Trouble::of(&error, unencrypted, limits);
        FetchError::trouble(&origin.shown_at(url), server.clone(), trouble, &error)
    };
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .http1_only()
        .tls_backend_preconfigured(origin.tls.clone())
        .connect_timeout(limits.connect_timeout)
        .read_timeout(limits.stall_timeout)
        .dns_resolver(Checked(addresses))
        .build()
        .map_err(failed)?;
    let request = client.get(url.clone()).header(ACCEPT_ENCODING, "identity");
    let mut request = match part {
        Part::Whole => request,
        Part::Unless(version) => version.unless(request),
        Part::Rest(rest) => {
            request.header(RANGE, format!("bytes={}-", rest.from)).header(IF_RANGE, rest.version.clone())
        }
    };
    if let Some(credentials) = origin.credentials.as_ref().filter(|credentials| credentials.allowed_for(url)) {
        request = match &credentials.login {
            Login::Basic { user, password } => request.basic_auth(user, Some(password.expose_secret())),
            Login::Bearer(token) => request.bearer_auth(token.expose_secret()),
            // These have signed the URL.
            Login::S3 { .. } => request,
        };
    }
    request.send().await.map_err(failed)
}
