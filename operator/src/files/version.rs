//! How a server names the version of a file that it sends (RFC 9110, 8.8), so that it can be asked whether there is
//! another one by now, without the bytes.

use reqwest::RequestBuilder;
use reqwest::header::{ETAG, HeaderMap, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};

/// A version of a file, as its server names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    entity_tag: Option<HeaderValue>,
    last_modified: Option<HeaderValue>,
}

impl Version {
    /// The version an answer names.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let (entity_tag, last_modified) = (headers.get(ETAG).cloned(), headers.get(LAST_MODIFIED).cloned());
        (entity_tag.is_some() || last_modified.is_some()).then_some(Self { entity_tag, last_modified })
    }

    /// Its strong validator: only with that parts of a file may be put together (13.1.5).
    pub(super) fn strong(&self) -> Option<HeaderValue> {
        self.entity_tag.clone().filter(|tag| tag.as_bytes().starts_with(b"\""))
    }

    /// Asks for the file only if there is another version of it by now.
    pub(super) fn unless(&self, mut request: RequestBuilder) -> RequestBuilder {
        for (name, value) in [(IF_NONE_MATCH, &self.entity_tag), (IF_MODIFIED_SINCE, &self.last_modified)] {
            if let Some(value) = value {
                request = request.header(name, value.clone());
            }
        }
        request
    }

    /// Its parts, to compare it by.
    pub(super) fn parts(&self) -> [&[u8]; 2] {
        [&self.entity_tag, &self.last_modified].map(|value| value.as_ref().map_or(&[][..], HeaderValue::as_bytes))
    }
}
