//! Takes in the bytes of one file. A transfer that breaks off is continued where it stopped, if the server names the
//! version of the file and still has it (Range and If-Range, RFC 9110, 14.2 and 13.1.5); if it has another by now, it
//! begins anew. Otherwise the fetch fails, leaves nothing, and whoever wants the file asks again.

use reqwest::header::{CONTENT_ENCODING, CONTENT_RANGE, ETAG, HeaderMap, TRANSFER_ENCODING};
use reqwest::{Response, StatusCode};

use super::cache::Partial;
use super::error::FetchError;
use super::fetch::{Answer, Limits, Network, Part, Rest, follow};
use super::location::server_of;
use super::origin::Origin;
use super::refusal::S3Refusal;
use super::trouble::Trouble;
use super::version::Version;

/// How often a transfer that broke off is continued.
const MAX_RESUMES: u32 = 5;

/// What is known of a file before it is asked for.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    /// Whether its digest is, so that the end of what comes needs no other proof.
    pub(super) digest: bool,
    /// The version that is not wanted again.
    pub(super) version: Option<&'a Version>,
}

/// What has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// The file.
    Whole,
    /// It is still the version that is not wanted again.
    Unchanged,
}

/// Where a file is taken from, and under which rules.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    pub(super) origin: &'a Origin,
    pub(super) network: &'a Network,
    pub(super) limits: &'a Limits,
    pub(super) known: Known<'a>,
}

/// Streams the file into `partial`; notes in `version` which one the server says it is.
pub(super) async fn receive(
    way: Way<'_>,
    partial: &mut Partial,
    version: &mut Option<Version>,
) -> Result<Received, FetchError> {
    let limit = way.limits.total_timeout;
    let whole = tokio::time::timeout(limit, transfer(way, partial, version)).await;
    whole.unwrap_or_else(|_| Err(FetchError::TooSlow { shown: way.origin.shown(), limit }))
}

async fn transfer(way: Way<'_>, partial: &mut Partial, version: &mut Option<Version>) -> Result<Received, FetchError> {
    let Way { origin, network, limits, known } = way;
    let mut resumes = 0;
    loop {
        let strong = version.as_ref().and_then(Version::strong);
        let rest = strong.map(|version| Rest { from: partial.size_bytes(), version });
        let part = match (&rest, known.version) {
            (Some(rest), _) => Part::Rest(rest),
            (None, Some(version)) => Part::Unless(version),
            (None, None) => Part::Whole,
        };
        let received = match follow(origin, part, network, limits).await {
            Ok(answer) => {
                *version = Version::of(answer.response.headers());
                match begin(way, answer, rest.as_ref(), partial).await? {
                    Some(begun) => body(origin, begun, limits, partial).await,
                    None => return Ok(Received::Unchanged),
                }
            }
            Err(error) => Err(error),
        };
        let resumable = version.as_ref().is_some_and(|version| version.strong().is_some());
        match received {
            Ok(()) => return Ok(Received::Whole),
            Err(error)
                if error.may_be_continued() && resumable && partial.size_bytes() > 0 && resumes < MAX_RESUMES =>
            {
                tracing::info!(
                    file = %origin.shown(), bytes = partial.size_bytes(), error = %crate::error::chain(&error),
                    "the transfer broke off and is continued"
                );
                tokio::time::sleep(limits.resume_pause * (1 << resumes)).await;
                resumes += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

/// A good answer whose body is to be read.
struct Begun {
    response: Response,
    /// Size of the whole file, where the server says it.
    total_bytes: Option<u64>,
}

/// Judges an answer by all but its body; none where there is nothing new. An answer that begins at the beginning makes
/// the partial file empty.
async fn begin(
    way: Way<'_>,
    answer: Answer,
    rest: Option<&Rest>,
    partial: &mut Partial,
) -> Result<Option<Begun>, FetchError> {
    let Way { origin, limits, known, .. } = way;
    let Answer { response, from } = answer;
    let place = origin.shown_at(response.url());
    let total_bytes = match (response.status(), rest) {
        // The body is not taken in: with the answer its connection ends.
        (StatusCode::OK, None)
            if known.version.is_some() && known.version == Version::of(response.headers()).as_ref() =>
        {
            return Ok(None);
        }
        (StatusCode::PARTIAL_CONTENT, Some(rest)) => Some(continued(&place, &response, rest)?),
        (StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION, _) => {
            partial.restart().await?;
            response.content_length()
        }
        (StatusCode::NOT_MODIFIED, None) if known.version.is_some() => return Ok(None),
        _ => return Err(refusal(origin, Answer { response, from }, place).await),
    };
    if response.headers().get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(FetchError::Encoded { shown: place });
    }
    if total_bytes.is_none() && !known.digest && !is_chunked(response.headers()) {
        return Err(FetchError::LengthUnknown { shown: place });
    }
    let limit_bytes = limits.max_file_bytes;
    if let Some(total) = total_bytes {
        if total > limit_bytes {
            return Err(FetchError::TooLarge { shown: place, limit_bytes });
        }
        partial.could_hold(total)?;
    }
    Ok(Some(Begun { response, total_bytes }))
}

/// Whether the end of the body is marked in it (RFC 9112, 7.1). Otherwise, without a length, it ends where the connection
/// does (6.3), which may also be because it broke.
fn is_chunked(headers: &HeaderMap) -> bool {
    let codings = headers.get_all(TRANSFER_ENCODING).iter().next_back().and_then(|value| value.to_str().ok());
    let last = codings.and_then(|codings| codings.rsplit(',').next());
    last.is_some_and(|last| last.trim().eq_ignore_ascii_case("chunked"))
}

/// The size of the whole file, if this is the rest of the very version that was begun.
fn continued(place: &str, response: &Response, rest: &Rest) -> Result<u64, FetchError> {
    let headers = response.headers();
    let range = headers.get(CONTENT_RANGE).and_then(|value| value.to_str().ok()).and_then(content_range);
    let same = headers.get(ETAG) == Some(&rest.version);
    range.filter(|(from, _)| same && *from == rest.from).map(|(_, total)| total).ok_or_else(|| {
        let why = "the server continued with another part, or another version of the file; it is fetched anew";
        FetchError::broken_off(place, server_of(response.url()), &std::io::Error::other(why))
    })
}

/// First byte and size of the whole of `bytes 5-9/10`.
fn content_range(text: &str) -> Option<(u64, u64)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (from, _) = range.split_once('-')?;
    Some((from.parse().ok()?, total.parse().ok()?))
}

async fn refusal(origin: &Origin, answer: Answer, place: String) -> FetchError {
    let Answer { response, from } = answer;
    let status = response.status();
    if origin.is_s3() {
        let refusal = S3Refusal::read(response, origin.credentials.is_some()).await;
        return FetchError::S3 { shown: place, refusal, path_style: origin.may_need_path_style() };
    }
    let error = match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => FetchError::NotFound { shown: place },
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            // Who has redirected there is told with what was shown there.
            let first = from.unwrap_or_else(|| origin.shown());
            let presented = origin.presented(response.url(), first);
            return FetchError::Denied { shown: place, status: status.as_u16(), presented };
        }
        StatusCode::NO_CONTENT => FetchError::Empty { shown: place },
        _ => FetchError::Status { shown: place, status: status.as_u16() },
    };
    error.redirected_by(from.as_ref())
}

async fn body(origin: &Origin, begun: Begun, limits: &Limits, partial: &mut Partial) -> Result<(), FetchError> {
    let Begun { mut response, total_bytes } = begun;
    let (place, server) = (origin.shown_at(response.url()), server_of(response.url()));
    let limit_bytes = limits.max_file_bytes;
    let broken = |error: reqwest::Error| {
        let error = error.without_url();
        FetchError::trouble(&place, server.clone(), Trouble::of(&error, false, limits), &error)
    };
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if partial.size_bytes() + chunk.len() as u64 > limit_bytes {
            return Err(FetchError::TooLarge { shown: place, limit_bytes });
        }
        partial.write(&chunk).await?;
    }
    match (partial.size_bytes(), total_bytes) {
        (0, _) => Err(FetchError::Empty { shown: place }),
        // A server may send less of a range than was asked for.
        (size, Some(total)) if size < total => {
            Err(FetchError::broken_off(&place, server, &std::io::Error::from(std::io::ErrorKind::UnexpectedEof)))
        }
        _ => Ok(()),
    }
}
