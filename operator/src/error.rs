//! Errors in words: the whole chain of causes in one line, and what the API server answers without the client's wrapping.
//! Never quotes an object.

use std::error::Error;

use printernizer_crds::USAGE_LABEL;

use crate::api::ApiError;
use crate::telemetry::metrics::PassError;

/// What to do where the API server does not know our kinds. What kubectl has written over Helm's fails its next upgrade.
const NO_DEFINITIONS: &str = "the definitions are missing: with Helm `helm upgrade` with crds.enabled brings them, by hand \
                              printernizer crds | kubectl apply -f -";

/// The error and all its causes, the outermost first.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = inner.source();
    }
    text
}

fn client_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a kube::Error> {
    let mut cause = Some(error);
    while let Some(inner) = cause {
        let boxed = inner.downcast_ref::<Box<kube::Error>>().map(AsRef::as_ref);
        if let Some(found) = inner.downcast_ref::<kube::Error>().or(boxed) {
            return Some(found);
        }
        cause = inner.source();
    }
    None
}

/// Whether a list or a watch did not succeed because the API server does not know the kind.
pub fn is_definition_missing(error: &(dyn Error + 'static)) -> bool {
    matches!(client_error(error), Some(kube::Error::Api(status)) if status.code == 404)
}

/// Why a list or a watch did not succeed, for a person: what the API server says, or why it cannot be reached.
pub fn of_list(error: &(dyn Error + 'static)) -> String {
    if is_definition_missing(error) { NO_DEFINITIONS.to_owned() } else { of_api(error) }
}

/// Why a call did not succeed, for a person.
pub fn of_api(error: &(dyn Error + 'static)) -> String {
    match client_error(error) {
        Some(kube::Error::SerdeError(error)) => format!("its answer cannot be read: {}", without_values(error)),
        Some(kube::Error::Api(status)) if !status.message.is_empty() => {
            format!("{} (HTTP {})", status.message.trim_end(), status.code)
        }
        Some(found) => chain(found),
        None => chain(error),
    }
}

/// Why a pass failed, as it is counted.
pub fn pass_error(error: &ApiError) -> PassError {
    match error {
        ApiError::Timeout => PassError::Timeout,
        ApiError::NotFound => PassError::NotFound,
        ApiError::Dropped(_) => PassError::Unreadable,
        // Neither is a failure of a pass; as one of a step in it they are refusals.
        ApiError::Conflict | ApiError::NotLeader(_) => PassError::Refused,
        ApiError::Other(error) => match error.as_ref() {
            kube::Error::Api(status) => match status.code {
                401 | 403 => PassError::Forbidden,
                429 | 500..=599 => PassError::Unavailable,
                _ => PassError::Refused,
            },
            kube::Error::SerdeError(_) => PassError::Unreadable,
            _ => PassError::Unreachable,
        },
    }
}

/// What to do about a Secret that does not carry the usage label with this value. `has` is the value it has.
pub fn label_advice(secret: &str, usage: &str, has: Option<&str>) -> String {
    match has {
        None => format!(
            "label the Secret {secret}: kubectl label secret {secret} {USAGE_LABEL}={usage}; the operator reads no others"
        ),
        Some(has) => format!(
            "the Secret {secret} has the label {USAGE_LABEL}={has}, and for this it must be {usage}: kubectl label \
             --overwrite secret {secret} {USAGE_LABEL}={usage}. If it is needed as {has}, make another Secret"
        ),
    }
}

/// What a decoder says, without the texts it stumbled over: they may be addresses with signatures.
pub fn without_values(error: &dyn std::fmt::Display) -> String {
    let (mut text, mut quoted, mut escaped) = (String::new(), false, false);
    for character in error.to_string().chars() {
        if character == '"' && !escaped {
            text.push_str(if quoted { "\"" } else { "\"..." });
            quoted = !quoted;
        } else if !quoted {
            text.push(character);
        }
        escaped = character == '\\' && !escaped;
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kube::core::Status;
    use kube::runtime::watcher;

    use super::*;

    fn answer(code: u16, message: &str) -> kube::Error {
        kube::Error::Api(Box::new(Status { code, message: message.to_owned(), ..Status::default() }))
    }

    #[test]
    fn a_failed_pass_is_counted_by_what_can_be_done_about_it() {
        use PassError::{Forbidden, NotFound, Refused, Unavailable};
        let of = |error: kube::Error| pass_error(&ApiError::from(error));
        let codes = [401, 403, 404, 422, 429, 500, 503].map(|code| {
            let status =
                Status { reason: if code == 404 { "NotFound".into() } else { String::new() }, ..Status::default() };
            of(kube::Error::Api(Box::new(Status { code, ..status })))
        });
        assert_eq!(codes, [Forbidden, Forbidden, NotFound, Refused, Unavailable, Unavailable, Unavailable]);
        let unreadable = serde_json::from_str::<u8>("x").unwrap_err();
        assert_eq!(of(kube::Error::SerdeError(unreadable)), PassError::Unreadable);
        let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert_eq!(of(kube::Error::Service(Box::new(broken))), PassError::Unreachable);
        assert_eq!(pass_error(&ApiError::Timeout), PassError::Timeout);
        assert_eq!(pass_error(&ApiError::Dropped("status.lastStart".into())), PassError::Unreadable);
    }

    #[test]
    fn an_unknown_kind_says_which_command_makes_it_known() {
        let error = watcher::Error::InitialListFailed(answer(404, "404 page not found\n"));
        assert!(is_definition_missing(&error));
        for command in ["helm upgrade", "printernizer crds | kubectl apply -f -"] {
            assert!(of_list(&error).contains(command), "{}", of_list(&error));
        }
    }

    #[test]
    fn the_api_server_is_quoted_without_the_clients_wrapping() {
        let error = watcher::Error::InitialListFailed(answer(429, "storage is (re)initializing"));
        assert!(!is_definition_missing(&error));
        assert_eq!(of_list(&error), "storage is (re)initializing (HTTP 429)");
    }

    #[test]
    fn a_label_of_another_value_is_to_be_overwritten() {
        let plain = "kubectl label secret files printernizer.io/usage=source;";
        assert!(label_advice("files", "source", None).contains(plain));
        let told = label_advice("files", "source", Some("printer"));
        assert!(told.contains("kubectl label --overwrite secret files printernizer.io/usage=source"), "{told}");
        assert!(told.contains("as printer, make another Secret"), "{told}");
    }

    #[test]
    fn an_object_that_cannot_be_read_is_told_without_what_it_says() {
        let object = serde_json::json!({ "source": "https://files.example/a?signature=\"hidden\\" });
        let error = serde_json::from_value::<BTreeMap<String, u8>>(object).unwrap_err();
        assert!(error.to_string().contains("hidden"), "{error}");
        let text = of_api(&kube::Error::SerdeError(error));
        assert_eq!(text, "its answer cannot be read: invalid type: string \"...\", expected u8");
    }

    #[test]
    fn an_api_server_that_cannot_be_reached_is_told_with_the_cause() {
        let refused = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "connection refused");
        let error = watcher::Error::InitialListFailed(kube::Error::Service(Box::new(refused)));
        assert!(of_list(&error).contains("connection refused"), "{}", of_list(&error));
    }
}
