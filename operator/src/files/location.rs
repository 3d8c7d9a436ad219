//! URLs of print files: what is accepted as one, and what of one may be shown.

use url::Url;

use super::error::FetchError;

/// Reads a URL that may be fetched.
pub(super) fn parse(text: &str) -> Result<Url, FetchError> {
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
pub(super) fn shown(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}{}", url.scheme(), host_of(url), url.path())
}

/// The host as it stands in the URL, an IPv6 address in brackets.
pub(super) fn host_of(url: &Url) -> &str {
    url.host_str().unwrap_or_default()
}

/// The port that is connected to.
pub(super) fn port_of(url: &Url) -> u16 {
    url.port_or_known_default().unwrap_or(443)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_is_not_shown() {
        let url = Url::parse("https://files.farm.example:8443/a.gcode?signature=hidden#hidden").unwrap();
        assert_eq!(shown(&url), "https://files.farm.example:8443/a.gcode");
        for text in ["https://user:hidden@files.example/a", "http://hidden@files.example/a", "https://u:hidden@[bad/a"]
        {
            let error = parse(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hidden"), "{error:?}");
        }
    }

    #[test]
    fn only_the_web_is_fetched_from() {
        for text in ["ftp://files.example/a", "file:///etc/passwd", "gopher://files.example/a", "data:text/plain,G28"] {
            assert!(parse(text).unwrap_err().to_string().contains("http and https"), "{text}");
        }
    }
}
