//! Requests and replies of the printer's HTTP/1.1 server, as data, and the rules that hold for every reply.
//!
//! Errors are JSON only if `application/json` is the first accepted type, else plain text. A failed PUT or POST ends
//! the connection without its body being read.

use axum::http::StatusCode;

/// A request up to its body.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) method: String,
    /// As sent: encoded, with query.
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) keep_alive: bool,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) close: bool,
}

impl Head {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// `None` if absent or not a number.
    pub(crate) fn content_length(&self) -> Option<u64> {
        self.header("content-length")?.trim().parse().ok()
    }

    /// A structured-field boolean as the firmware reads it.
    pub(crate) fn is_true(&self, name: &str) -> bool {
        self.header(name).is_some_and(|value| matches!(value.trim(), "?1" | "1" | "true"))
    }

    /// The path decoded, without query; `None` if its escapes make no text.
    pub(crate) fn decoded_path(&self) -> Option<String> {
        let encoded = self.target.split('?').next()?;
        let mut bytes = Vec::with_capacity(encoded.len());
        let mut rest = encoded.as_bytes();
        while let [first, tail @ ..] = rest {
            if *first == b'%' {
                let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
                rest = &tail[2..];
            } else {
                bytes.push(*first);
                rest = tail;
            }
        }
        String::from_utf8(bytes).ok()
    }

    fn wants_json_errors(&self) -> bool {
        self.header("accept").is_some_and(|value| {
            let first = value.split(',').next().unwrap_or_default();
            first.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
        })
    }
}

impl Reply {
    pub(crate) fn json(body: String) -> Self {
        Self { status: 200, headers: vec![json_type()], body: body.into_bytes(), close: false }
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), close: false }
    }

    /// An error in the form the request accepts.
    pub(crate) fn error(head: &Head, status: u16, message: &str) -> Self {
        if !head.wants_json_errors() {
            return Self::text_error(head, status, message);
        }
        let title = format!("{status}: {}", reason(status));
        let body = serde_json::json!({ "title": title, "message": message }).to_string();
        Self { status, headers: vec![json_type()], body: body.into_bytes(), close: closes_on_error(head) }
    }

    /// An error as plain text, whatever the request accepts: uploads do that.
    pub(crate) fn text_error(head: &Head, status: u16, message: &str) -> Self {
        let text = if message.is_empty() { format!("{status}: {}", reason(status)) } else { message.to_owned() };
        let headers = vec![("Content-Type", "text/plain".to_owned())];
        Self { status, headers, body: text.into_bytes(), close: closes_on_error(head) }
    }

    pub(crate) fn with_header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    /// The bytes on the wire. A HEAD reply has the length but not the body.
    pub(crate) fn encode(&self, head_only: bool) -> Vec<u8> {
        let mut text = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
            text.extend([name, ": ", value, "\r\n"]);
        }
        if !matches!(self.status, 204 | 304) {
            text.extend(["Content-Length: ", &self.body.len().to_string(), "\r\n"]);
        }
        text.push_str(if self.close { "Connection: close\r\n\r\n" } else { "Connection: keep-alive\r\n\r\n" });
        let mut bytes = text.into_bytes();
        if !head_only && !matches!(self.status, 204 | 304) {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }
}

fn closes_on_error(head: &Head) -> bool {
    matches!(head.method.as_str(), "PUT" | "POST")
}

fn json_type() -> (&'static str, String) {
    ("Content-Type", "application/json".to_owned())
}

fn reason(status: u16) -> &'static str {
    StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Unknown")
}
