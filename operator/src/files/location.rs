//! URLs of print files: what is accepted as one, and what of one may be shown.

use url::{ParseError, Url};

use super::error::FetchError;

/// Reads a URL that may be fetched.
pub(super) fn parse(text: &str) -> Result<Url, FetchError> {
    // A text that does not parse may hold a password anywhere, so it is not shown.
    let unreadable = |error| FetchError::Url { shown: "the source's URL".to_owned(), why: wrong(text, error) };
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

/// What is wrong with a text that is no URL.
fn wrong(text: &str, error: ParseError) -> &'static str {
    match error {
        _ if text.trim().contains(char::is_whitespace) => {
            "there is a blank in it; take it out, or write %20 in its path"
        }
        ParseError::RelativeUrlWithoutBase => "it does not begin with https:// or http://",
        ParseError::EmptyHost => "it names no host",
        ParseError::InvalidPort => "its port is no number from 1 to 65535",
        ParseError::InvalidIpv4Address | ParseError::InvalidIpv6Address => {
            "its host looks like an address and is none; an IPv6 address stands in brackets"
        }
        ParseError::IdnaError | ParseError::InvalidDomainCharacter => "its host has characters that no name has",
        _ => "it is no valid URL; write it as https://files.example.com/part.gcode",
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

/// Host and port that are connected to.
pub(super) fn server_of(url: &Url) -> String {
    format!("{}:{}", host_of(url), port_of(url))
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
    fn what_is_wrong_with_a_url_is_said() {
        for (text, words) in [
            ("https://files .example/a", "a blank in it"),
            ("files.example/a", "does not begin with https://"),
            ("https:///", "names no host"),
            ("https://files.example:99999/a", "its port"),
            ("https://fd12::1/a", "its port"),
            ("https://[fd12/a", "in brackets"),
            ("https://1.2.3.400/a", "looks like an address"),
            ("https://files|.example/a", "characters that no name has"),
        ] {
            let told = parse(text).unwrap_err().to_string();
            assert!(told.contains(words), "{text}: {told}");
        }
        // One in the path is read as %20, as browsers do.
        assert_eq!(parse("https://files.example/a b.gcode").unwrap().path(), "/a%20b.gcode");
    }

    #[test]
    fn only_the_web_is_fetched_from() {
        for text in ["ftp://files.example/a", "file:///etc/passwd", "gopher://files.example/a", "data:text/plain,G28"] {
            assert!(parse(text).unwrap_err().to_string().contains("http and https"), "{text}");
        }
    }
}
