//! How a server names the version of a file that it sends (RFC 9110, 8.8), so that it can be asked whether there is
//! another one by now, without the bytes.

use reqwest::RequestBuilder;
use reqwest::header::{ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, LAST_MODIFIED};

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

    /// Asks for the file only if there is another version of it by now. A version that is known by its date alone is asked
    /// for as if it were not known, and told by the date in the answer's head: `If-Modified-Since` means later ones only
    /// (13.1.3), and an older file that is put back is another version, too.
    pub(super) fn unless(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.entity_tag {
            Some(tag) => request.header(IF_NONE_MATCH, tag.clone()),
            None => request,
        }
    }

    /// Its parts, to compare it by.
    pub(super) fn parts(&self) -> [&[u8]; 2] {
        [&self.entity_tag, &self.last_modified].map(|value| value.as_ref().map_or(&[][..], HeaderValue::as_bytes))
    }
}
