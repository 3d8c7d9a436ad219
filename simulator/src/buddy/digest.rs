//! Login of the Buddy firmware: `X-Api-Key`, or digest in its oldest form (RFC 2069: no qop, no algorithm, no opaque).
//!
//! The server reads only `nonce` and `response`. A nonce is 16 hex digits: 32 random bits per boot, then the uptime in
//! seconds; it may be used any number of times while it is valid. An outdated nonce with the right response is
//! challenged with `stale=true`. An empty password disables the login: everything is 401.

use std::time::Instant;

use md5::{Digest, Md5};

use super::{USERNAME, http::Head, is_api_key};
use crate::{Password, hex::hex};

const REALM: &str = "Printer API";

/// The secret and the nonces of one power-up.
#[derive(Debug)]
pub(crate) struct Login {
    password: Password,
    nonce_seconds: u32,
    boot_random: u32,
    booted_at: Instant,
}

/// Whether a request may pass, or the challenge to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pass,
    /// Value of `WWW-Authenticate`.
    Challenge(String),
}

impl Login {
    pub(crate) fn new(password: Password, nonce_seconds: u32) -> Self {
        Self { password, nonce_seconds, boot_random: rand::random(), booted_at: Instant::now() }
    }

    pub(crate) fn password(&self) -> &Password {
        &self.password
    }

    pub(crate) fn set_password(&mut self, password: Password) {
        self.password = password;
    }

    /// All nonces become outdated.
    pub(crate) fn reboot(&mut self) {
        self.boot_random = rand::random();
        self.booted_at = Instant::now();
    }

    /// Judges one request.
    pub(crate) fn judge(&self, head: &Head) -> Verdict {
        self.judge_at(head, u32::try_from(self.booted_at.elapsed().as_secs()).unwrap_or(u32::MAX))
    }

    fn judge_at(&self, head: &Head, uptime_seconds: u32) -> Verdict {
        if let Some(key) = head.header("x-api-key") {
            let refusal = || Verdict::Challenge(format!("ApiKey realm=\"{REALM}\""));
            return if is_api_key(&self.password, key) { Verdict::Pass } else { refusal() };
        }
        let mut stale = false;
        if let Some(parameters) = head.header("authorization").and_then(|value| value.strip_prefix("Digest "))
            && let (Some(nonce), Some(response)) = (parameter(parameters, "nonce"), parameter(parameters, "response"))
            && !self.password.as_str().is_empty()
            && response.eq_ignore_ascii_case(&self.response(nonce, &head.method, &head.target))
        {
            if self.is_valid(nonce, uptime_seconds) {
                return Verdict::Pass;
            }
            stale = true;
        }
        let nonce = format!("{:08x}{uptime_seconds:08x}", self.boot_random);
        Verdict::Challenge(format!("Digest realm=\"{REALM}\", nonce=\"{nonce}\", stale={stale}"))
    }

    fn is_valid(&self, nonce: &str, uptime_seconds: u32) -> bool {
        let Some((random, issued)) = nonce.split_at_checked(8) else { return false };
        let (Ok(random), Ok(issued)) = (u32::from_str_radix(random, 16), u32::from_str_radix(issued, 16)) else {
            return false;
        };
        nonce.len() == 16
            && random == self.boot_random
            && uptime_seconds.checked_sub(issued).is_some_and(|age| age < self.nonce_seconds)
    }

    fn response(&self, nonce: &str, method: &str, target: &str) -> String {
        let user = md5_hex(&format!("{USERNAME}:{REALM}:{}", self.password.as_str()));
        let request = md5_hex(&format!("{method}:{target}"));
        md5_hex(&format!("{user}:{nonce}:{request}"))
    }
}

fn md5_hex(text: &str) -> String {
    hex(&Md5::digest(text.as_bytes()))
}

/// One parameter of a digest header, without its quotes.
fn parameter<'a>(parameters: &'a str, name: &str) -> Option<&'a str> {
    parameters.split(',').find_map(|part| {
        let (key, value) = part.trim().split_once('=')?;
        (key.trim() == name).then(|| value.trim().trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login() -> Login {
        Login {
            password: Password::new("secret"),
            nonce_seconds: 300,
            boot_random: 0xabcd_ef01,
            booted_at: Instant::now(),
        }
    }

    fn head(name: &str, value: String) -> Head {
        let headers = vec![(name.to_owned(), value)];
        Head { method: "GET".to_owned(), target: "/api/version".to_owned(), headers, keep_alive: true }
    }

    fn with_nonce(login: &Login, nonce: &str) -> Head {
        let response = login.response(nonce, "GET", "/api/version");
        head("authorization", format!("Digest username=\"maker\", nonce=\"{nonce}\", response=\"{response}\""))
    }

    #[test]
    fn the_response_is_the_one_of_rfc_2069() {
        // md5(md5("maker:Printer API:secret") + ":abcdef0100000005:" + md5("GET:/api/version")), computed with md5sum.
        assert_eq!(login().response("abcdef0100000005", "GET", "/api/version"), "4e3c01f5a6528f44666fd719ade2bd94");
    }

    #[test]
    fn a_nonce_passes_until_it_is_too_old() {
        let login = login();
        let head = with_nonce(&login, "abcdef0100000005");
        assert_eq!(login.judge_at(&head, 304), Verdict::Pass);
        let challenge = "Digest realm=\"Printer API\", nonce=\"abcdef0100000131\", stale=true".to_owned();
        assert_eq!(login.judge_at(&head, 305), Verdict::Challenge(challenge));
    }

    #[test]
    fn a_nonce_of_another_boot_is_stale_and_a_wrong_response_is_not() {
        let login = login();
        let other_boot = login.judge_at(&with_nonce(&login, "abcdef0200000005"), 6);
        assert!(matches!(other_boot, Verdict::Challenge(text) if text.ends_with("stale=true")));
        let wrong = head("authorization", "Digest nonce=\"abcdef0100000005\", response=\"00\"".to_owned());
        assert!(matches!(login.judge_at(&wrong, 6), Verdict::Challenge(text) if text.ends_with("stale=false")));
    }

    #[test]
    fn the_api_key_is_the_password_and_an_empty_password_lets_nobody_in() {
        let mut login = login();
        assert_eq!(login.judge_at(&head("x-api-key", "secret".to_owned()), 0), Verdict::Pass);
        let wrong = login.judge_at(&head("x-api-key", "wrong".to_owned()), 0);
        assert_eq!(wrong, Verdict::Challenge("ApiKey realm=\"Printer API\"".to_owned()));
        login.set_password(Password::new(""));
        assert_ne!(login.judge_at(&head("x-api-key", String::new()), 0), Verdict::Pass);
        assert_ne!(login.judge_at(&with_nonce(&login, "abcdef0100000000"), 0), Verdict::Pass);
    }
}
