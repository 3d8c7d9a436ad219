//! What an S3 server's refusal means, and what a person does about it. Error codes: Amazon S3 API reference, "Error
//! responses". The text of an answer is never shown: servers repeat the signature in it.

use std::fmt;

use jiff::Timestamp;
use printernizer_crds::Reason;
use reqwest::Response;

use super::s3::SIGNED_FOR;

/// How much of a refusal is read.
const MAX_REFUSAL_BYTES: usize = 16 * 1024;

/// What an S3 server says against a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum S3Refusal {
    /// No such object.
    NoSuchKey,
    /// HTTP 404, and no word of what is not there.
    NotFound,
    /// No such bucket.
    NoSuchBucket,
    /// The keys, or people without keys, may not read the object.
    AccessDenied {
        /// Whether the request was signed.
        signed: bool,
    },
    /// The server does not know the id of the access key.
    UnknownAccessKey,
    /// The signature is not the one the server computes.
    WrongSignature,
    /// The session token is not, or no longer, good.
    Expired,
    /// The clocks of operator and server differ too much.
    ClockSkew,
    /// The bucket is in another region, or wants another address.
    WrongRegion {
        /// The region, where the server says it.
        region: Option<String>,
    },
    /// The server is busy or broken at the moment.
    Unavailable {
        /// HTTP status.
        status: u16,
    },
    /// Something else.
    Other {
        /// HTTP status.
        status: u16,
        /// The error code, if there was one.
        code: String,
    },
}

impl fmt::Display for S3Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::NoSuchKey => {
                "does not exist (NoSuchKey); correct the key in source.s3, capital letters count, or upload the file"
            }
            Self::NotFound => {
                "cannot be found: the server answers HTTP 404 without an error code of S3; check that an S3 server is at \
                 the endpoint, then bucket and key"
            }
            Self::NoSuchBucket => {
                "cannot be found, as there is no such bucket (NoSuchBucket); correct bucket, endpoint or region"
            }
            Self::AccessDenied { signed: true } => {
                "is refused (AccessDenied); let the access key read it (s3:GetObject), and check the key's spelling: \
                 some servers say the same of an object that is not there"
            }
            Self::AccessDenied { signed: false } => {
                "is refused (AccessDenied); name a Secret with an access key in source.s3.credentialsSecretRef"
            }
            Self::UnknownAccessKey => "is refused (InvalidAccessKeyId); correct accessKeyID in the Secret",
            Self::WrongSignature => {
                "is refused (SignatureDoesNotMatch); correct secretAccessKey in the Secret, or region and endpoint"
            }
            Self::Expired => {
                "is refused because the session token is not valid or has expired; renew the keys in the Secret, or \
                 take sessionToken out if they are not temporary"
            }
            Self::ClockSkew => {
                "is refused because the clocks of the operator's machine and of the server differ by more than 15 \
                 minutes (RequestTimeTooSkewed); set them"
            }
            Self::WrongRegion { region: Some(region) } => {
                return write!(f, "is in the region {region}; write that into source.s3.region, and its endpoint");
            }
            Self::WrongRegion { region: None } => {
                "must be asked for at another region or address; correct source.s3.region and endpoint, or set \
                 forcePathStyle"
            }
            Self::Unavailable { status } => {
                return write!(f, "cannot be had at the moment (HTTP {status}); if it stays so, look at the S3 server");
            }
            Self::Other { status, code } if code.is_empty() => {
                return write!(f, "cannot be had (HTTP {status}); check that the endpoint is an S3 server");
            }
            Self::Other { status, code } => {
                return write!(
                    f,
                    "cannot be had (HTTP {status}, {code}); look up that code in your S3 server's manual"
                );
            }
        };
        f.write_str(text)
    }
}

impl S3Refusal {
    /// The reason for the job's condition.
    pub(super) fn reason(&self) -> Reason {
        match self {
            Self::NoSuchKey | Self::NotFound | Self::NoSuchBucket => Reason::FileNotFound,
            Self::AccessDenied { .. }
            | Self::UnknownAccessKey
            | Self::WrongSignature
            | Self::Expired
            | Self::ClockSkew
            | Self::WrongRegion { .. } => Reason::SourceForbidden,
            Self::Unavailable { .. } | Self::Other { .. } => Reason::SourceUnreachable,
        }
    }

    /// Whether it may come from a server that looks for the bucket's name in the path.
    pub(super) fn may_be_of_the_address(&self) -> bool {
        match self {
            Self::NotFound | Self::NoSuchBucket => true,
            Self::Other { code, .. } => code.is_empty(),
            _ => false,
        }
    }

    /// Reads an answer that is no success.
    pub(super) async fn read(mut response: Response, signed: bool) -> Self {
        let header = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        let (status, region) = (response.status().as_u16(), header("x-amz-bucket-region"));
        // An expired signature is called AccessDenied like much else; the server's clock tells it apart.
        let date = header("date").and_then(|date| jiff::fmt::rfc2822::parse(&date).ok());
        if status == 403 && signed && date.is_some_and(|date| is_skewed(date.timestamp(), Timestamp::now())) {
            return Self::ClockSkew;
        }
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            body.extend_from_slice(chunk.get(..MAX_REFUSAL_BYTES.min(chunk.len())).unwrap_or_default());
            if body.len() >= MAX_REFUSAL_BYTES {
                break;
            }
        }
        let body = String::from_utf8_lossy(&body);
        Self::of(status, &code_in(&body), region.unwrap_or_else(|| element(&body, "Region")), signed)
    }

    fn of(status: u16, code: &str, region: String, signed: bool) -> Self {
        let region = is_word(&region).then_some(region).filter(|region| !region.is_empty());
        match (status, code) {
            (_, "NoSuchKey" | "NoSuchVersion") => Self::NoSuchKey,
            (404, "") => Self::NotFound,
            (_, "NoSuchBucket" | "InvalidBucketName") => Self::NoSuchBucket,
            (_, "InvalidAccessKeyId") => Self::UnknownAccessKey,
            (_, "SignatureDoesNotMatch") => Self::WrongSignature,
            (_, "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired") => Self::Expired,
            (_, "RequestTimeTooSkewed" | "ExpiredPresignRequest") => Self::ClockSkew,
            (300..=399, _)
            | (
                _,
                "AuthorizationHeaderMalformed"
                | "AuthorizationQueryParametersError"
                | "IllegalLocationConstraintException"
                | "PermanentRedirect"
                | "IncorrectRegion"
                | "InvalidRegion",
            ) => Self::WrongRegion { region },
            (_, "AccessDenied" | "AllAccessDisabled" | "AccountProblem") | (401 | 403, "") => {
                Self::AccessDenied { signed }
            }
            (429 | 500..=599, _) => Self::Unavailable { status },
            _ => Self::Other { status, code: code.to_owned() },
        }
    }
}

/// Whether a signature made by one of these clocks is no good by the other.
fn is_skewed(one: Timestamp, other: Timestamp) -> bool {
    one.duration_since(other).unsigned_abs() > SIGNED_FOR
}

/// The error code of an answer. Where it is no XML as S3 has it, a code for what is not there is looked for anywhere.
fn code_in(body: &str) -> String {
    let code = element(body, "Code");
    if !code.is_empty() {
        return code;
    }
    let mut words = body.split(|c: char| !c.is_ascii_alphanumeric());
    words.find(|word| ["NoSuchKey", "NoSuchBucket"].contains(word)).unwrap_or_default().to_owned()
}

/// The text of the first such element, if it is a plain word: nothing else of an answer is shown to anybody.
fn element(body: &str, name: &str) -> String {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let text = body.split_once(&open).and_then(|(_, rest)| rest.split_once(&close)).map(|(text, _)| text.trim());
    text.filter(|text| is_word(text)).unwrap_or_default().to_owned()
}

fn is_word(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_known_by_its_code_and_its_text_is_not_shown() {
        let body = "<?xml version=\"1.0\"?><Error><Code>SignatureDoesNotMatch</Code><Message>hidden</Message>\
                    <SignatureProvided>hidden</SignatureProvided></Error>";
        let refusal = S3Refusal::of(403, &element(body, "Code"), element(body, "Region"), true);
        assert_eq!(refusal, S3Refusal::WrongSignature);
        assert!(!format!("{refusal} {refusal:?}").contains("hidden"));
        assert_eq!(element("<Code>X-Amz-Signature=hidden&</Code>", "Code"), "");
        let of = |status, code: &str| S3Refusal::of(status, code, String::new(), true);
        for (status, code, reason, advice) in [
            (404, "NoSuchKey", Reason::FileNotFound, "correct the key"),
            (404, "", Reason::FileNotFound, "that an S3 server is at the endpoint"),
            (404, "NoSuchBucket", Reason::FileNotFound, "correct bucket"),
            (403, "AccessDenied", Reason::SourceForbidden, "s3:GetObject"),
            (403, "", Reason::SourceForbidden, "s3:GetObject"),
            (403, "InvalidAccessKeyId", Reason::SourceForbidden, "accessKeyID"),
            (403, "SignatureDoesNotMatch", Reason::SourceForbidden, "secretAccessKey"),
            (400, "ExpiredToken", Reason::SourceForbidden, "sessionToken"),
            (403, "RequestTimeTooSkewed", Reason::SourceForbidden, "clocks"),
            (301, "PermanentRedirect", Reason::SourceForbidden, "source.s3.region"),
            (307, "TemporaryRedirect", Reason::SourceForbidden, "source.s3.region"),
            (400, "AuthorizationHeaderMalformed", Reason::SourceForbidden, "source.s3.region"),
            (503, "SlowDown", Reason::SourceUnreachable, "HTTP 503"),
            (400, "InvalidRequest", Reason::SourceUnreachable, "InvalidRequest"),
            (200, "", Reason::SourceUnreachable, "S3 server"),
        ] {
            let refusal = of(status, code);
            assert_eq!(refusal.reason(), reason, "{status} {code}: {refusal}");
            assert!(refusal.to_string().contains(advice), "{status} {code}: {refusal}");
        }
        for (body, code) in [
            ("<?xml version=\"1.0\"?><Error><Code>\n NoSuchBucket </Code></Error>", "NoSuchBucket"),
            ("<e:Error xmlns:e=\"x\"><e:Code>NoSuchBucket</e:Code></e:Error>", "NoSuchBucket"),
            ("{\"Code\":\"NoSuchKey\"}", "NoSuchKey"),
            ("<html>404 Not Found</html>", ""),
            ("NoSuchKeyring", ""),
        ] {
            assert_eq!(code_in(body), code, "{body}");
        }
        let elsewhere = S3Refusal::of(301, "PermanentRedirect", "eu-west-1".into(), true);
        assert!(elsewhere.to_string().contains("region eu-west-1"), "{elsewhere}");
        let anonymous = S3Refusal::of(403, "AccessDenied", String::new(), false);
        assert!(anonymous.to_string().contains("credentialsSecretRef"), "{anonymous}");
    }
}
