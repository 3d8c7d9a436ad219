//! The login: digest as the server challenges it, `X-Api-Key` only where no digest is offered. A refused login is never
//! tried a second time within a call. Buddy: RFC 2069 form without qop, nonce valid 300 s (lib/WUI/nhttp/req_parser.cpp);
//! Python PrusaLink: MD5-sess with qop=auth, nonce bound to the User-Agent, valid 60 s (web/lib/auth.py).
//! The hashing itself is the `digest_auth` crate; it leaves out `algorithm` in the RFC 2069 form, which old Buddy needs.

use std::time::Duration;

use digest_auth::{AuthContext, HttpMethod, WwwAuthenticateHeader};
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, StatusCode};
use secrecy::ExposeSecret;
use tokio::time::Instant;

use crate::config::Credentials;
use crate::error::Error;

/// Before a request that must not be answered with "stale", the nonce is replaced when it is older than this.
const FRESH_NONCE: Duration = Duration::from_secs(30);
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The login of one printer and what its server last asked for.
#[derive(Debug)]
pub(crate) struct Auth {
    credentials: Credentials,
    scheme: Scheme,
}

#[derive(Debug)]
enum Scheme {
    /// Not asked yet.
    Unknown,
    /// The server answers without a login.
    Open,
    Digest {
        challenge: WwwAuthenticateHeader,
        obtained: Instant,
    },
    ApiKey,
}

/// What a request carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Used {
    Nothing,
    Digest,
    ApiKey,
}

/// What to do after a 401 or 403.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The same request with what was just learnt may pass.
    TryAgain,
    /// The login is wrong.
    Rejected,
    /// It is not about the login.
    NotLogin,
}

impl Auth {
    pub(crate) fn new(credentials: Credentials) -> Self {
        Self { credentials, scheme: Scheme::Unknown }
    }

    /// Forgets a nonce that could become stale before the next request is done.
    pub(crate) fn forget_old_nonce(&mut self, now: Instant) {
        if let Scheme::Digest { obtained, .. } = &self.scheme
            && now.duration_since(*obtained) > FRESH_NONCE
        {
            self.scheme = Scheme::Unknown;
        }
    }

    /// Whether the next request will carry what the server wants to see.
    pub(crate) fn is_known(&self) -> bool {
        !matches!(self.scheme, Scheme::Unknown)
    }

    /// The header for a request, with what it carries. `path` is the request target exactly as sent.
    pub(crate) fn header(
        &mut self,
        method: &Method,
        path: &str,
    ) -> Result<(Used, Option<(HeaderName, HeaderValue)>), Error> {
        let unusable = |detail: &str| Error::protocol(format!("{method} {path}"), detail);
        let (used, name, text) = match &mut self.scheme {
            Scheme::Unknown | Scheme::Open => return Ok((Used::Nothing, None)),
            Scheme::ApiKey => (Used::ApiKey, API_KEY, self.credentials.password.expose_secret().to_owned()),
            Scheme::Digest { challenge, .. } => {
                let context = AuthContext::new_with_method(
                    self.credentials.username.as_str(),
                    self.credentials.password.expose_secret(),
                    path,
                    Option::<&[u8]>::None,
                    HttpMethod::from(method.as_str()),
                );
                let answer = challenge.respond(&context).map_err(|_| unusable("the server's digest is not known"))?;
                (Used::Digest, AUTHORIZATION, answer.to_header_string())
            }
        };
        let mut value = HeaderValue::from_str(&text)
            .map_err(|_| unusable("user or password has characters that cannot be sent; set another password"))?;
        value.set_sensitive(true);
        Ok((used, Some((name, value))))
    }

    /// Learns from an answer. Only call it with 401 and 403.
    pub(crate) fn learn(&mut self, used: Used, status: StatusCode, headers: &HeaderMap, now: Instant) -> Verdict {
        let challenge = digest_challenge(headers);
        match (used, challenge) {
            (Used::Nothing, Some(challenge)) => self.adopt(challenge, now),
            (Used::Digest, Some(challenge)) if challenge.stale => self.adopt(challenge, now),
            (Used::Nothing, None) => {
                self.scheme = Scheme::ApiKey;
                Verdict::TryAgain
            }
            // With a digest that was accepted, 403 is about the thing asked for (Buddy: another storage than usb).
            (Used::Digest, None) if status == StatusCode::FORBIDDEN => Verdict::NotLogin,
            (Used::Digest | Used::ApiKey, _) => {
                self.scheme = Scheme::Unknown;
                Verdict::Rejected
            }
        }
    }

    /// A request without a login was served.
    pub(crate) fn learn_open(&mut self) {
        if !self.is_known() {
            self.scheme = Scheme::Open;
        }
    }

    fn adopt(&mut self, challenge: WwwAuthenticateHeader, now: Instant) -> Verdict {
        self.scheme = Scheme::Digest { challenge, obtained: now };
        Verdict::TryAgain
    }
}

/// The first digest challenge that can be answered.
fn digest_challenge(headers: &HeaderMap) -> Option<WwwAuthenticateHeader> {
    headers.get_all(WWW_AUTHENTICATE).iter().find_map(|value| {
        // `to_str` passes visible ASCII only; the crate's parser relies on that.
        let text = value.to_str().ok()?.trim();
        let is_digest = text.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("digest "));
        if !is_digest {
            return None;
        }
        WwwAuthenticateHeader::parse(text.get(7..)?).ok()
    })
}

#[cfg(test)]
#[path = "auth_tests.rs"]
mod tests;
