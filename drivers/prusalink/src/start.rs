//! The one command that must not happen twice. It goes over a connection that has just carried a status report, asks
//! its caller directly before the first byte, is never repeated, and says what is certain afterwards: nothing left,
//! the printer refused, the printer queued it, or anything may have happened. On doubt the connection is cut with RST.
//! Buddy: lib/WUI/link_content/prusa_link_api_v1.cpp (POST of a file, ErrorClose); issues 3062 and 3102 (404 although
//! the print ran), which is why only a few refusals are believed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hyper::{Method, StatusCode};
use tokio::time::Instant;

use crate::client::{self, Client, file_path};
use crate::error::Error;
use crate::http::{Answer, FailureKind};
use crate::link::{Link, Shared, timeout};
use crate::name::RemoteName;
use crate::parse;
use crate::report::{Flavor, JobReport, StatusReport};

/// What is certain after a start command.
#[derive(Debug)]
pub enum StartOutcome {
    /// Not one byte of the command left this machine.
    NotSent(NotSent),
    /// The printer answered 204: it queued the command. This proves no print; only a status report does.
    Accepted,
    /// The printer refused this very command.
    Refused {
        /// 401, 403, 409 or 415.
        status: u16,
        /// The printer's words, shortened.
        message: String,
    },
    /// Timeout, lost connection or another answer: the printer may print or not. Observe, never send again.
    Unclear(Error),
}

/// Why no byte of a start command left.
#[derive(Debug, thiserror::Error)]
pub enum NotSent {
    /// `before_write` said no.
    #[error("withheld: the permission to start had ended when the command was about to be written")]
    Withheld,
    /// The connection with the fresh report had ended, so that report is worth nothing any more.
    #[error("the printer closed the connection after its report: read a new report and decide again")]
    ConnectionEnded,
    /// The command could not be prepared or no connection could be opened.
    #[error("the start command could not be sent: nothing reached the printer")]
    Failed(#[source] Error),
}

/// A new connection to a printer that has carried one status report and waits for a start command.
pub struct StartConnection {
    link: Link,
    flavor: Flavor,
    /// The server closes after every answer (HTTP/1.0), so the command needs a new connection.
    closes_always: bool,
}

impl fmt::Debug for StartConnection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("StartConnection")
            .field("flavor", &self.flavor)
            .field("open", &self.is_open())
            .finish_non_exhaustive()
    }
}

impl StartConnection {
    pub(crate) async fn open(shared: Arc<Shared>, flavor: Flavor) -> Result<(Self, StatusReport), Error> {
        shared.auth().forget_old_nonce(Instant::now());
        let user_timeout = shared.config.timeouts.send;
        let mut link = Link::new(shared, user_timeout);
        let (report, closes_always) = client::status_and_close(&mut link).await?;
        Ok((Self { link, flavor, closes_always }, report))
    }

    /// Whether the connection is still there. Buddy closes it after a start command.
    pub fn is_open(&self) -> bool {
        self.link.connection.is_some()
    }

    /// Whether the server closes the connection after every answer (Python PrusaLink, HTTP/1.0). The start command
    /// then goes over a connection opened for it, instead of the one that carried the report.
    pub fn server_closes_always(&self) -> bool {
        self.closes_always
    }

    /// Sends the start command for a file in the root of the upload storage.
    ///
    /// `before_write` is called once, when everything else is ready and the first byte is the next thing to happen; if
    /// it returns false nothing is written. It may not be called at all if the command fails earlier. The whole call
    /// takes no longer than the send timeout, which is also the kernel's limit for delivering what was written.
    pub async fn start(&mut self, name: &RemoteName, before_write: impl FnOnce() -> bool) -> StartOutcome {
        let began = Instant::now();
        let limit = self.link.shared.config.timeouts.send;
        let path = file_path(self.flavor, name);
        let described = format!("POST {path}");
        let login = match self.link.shared.auth().header(&Method::POST, &path) {
            Ok((_, login)) => login,
            Err(error) => return StartOutcome::NotSent(NotSent::Failed(error)),
        };
        let request = match self.link.request(&Method::POST, &path, login) {
            Ok(request) => request,
            Err(error) => return StartOutcome::NotSent(NotSent::Failed(error)),
        };
        let connection = match self.link.connection.take() {
            Some(connection) => connection,
            None if self.closes_always => match tokio::time::timeout(limit, self.link.connect()).await {
                Ok(Ok(connection)) => connection,
                Ok(Err(error)) => return StartOutcome::NotSent(NotSent::Failed(error)),
                Err(_) => return StartOutcome::NotSent(NotSent::Failed(no_answer(described, limit))),
            },
            None => return StartOutcome::NotSent(NotSent::ConnectionEnded),
        };
        let give_up = timeout(limit.saturating_sub(began.elapsed()));
        match connection.exchange(request, give_up, Some(before_write)).await {
            Ok((answer, connection)) => {
                self.link.connection = connection;
                judge(described, &answer)
            }
            Err(failure) if failure.written_bytes == 0 => StartOutcome::NotSent(match failure.kind {
                FailureKind::GateRefused => NotSent::Withheld,
                FailureKind::Broken(_) => NotSent::ConnectionEnded,
                _ => NotSent::Failed(failure.into_error(described, limit)),
            }),
            Err(failure) => StartOutcome::Unclear(failure.into_error(described, limit)),
        }
    }

    /// The state over this connection. Fails with [`Error::ConnectionLost`] when it has ended; never opens another,
    /// except where the server closes after every answer.
    pub async fn status(&mut self) -> Result<StatusReport, Error> {
        self.check_open("GET /api/v1/status")?;
        client::status(&mut self.link).await
    }

    /// The print over this connection; otherwise like [`Self::status`].
    pub async fn job(&mut self) -> Result<Option<JobReport>, Error> {
        self.check_open("GET /api/v1/job")?;
        client::job(&mut self.link).await
    }

    /// Goes on observing with this connection as long as it lasts, and with new ones after that.
    pub fn into_client(self) -> Client {
        Client::from_link(self.link)
    }

    fn check_open(&self, request: &str) -> Result<(), Error> {
        if self.is_open() || self.closes_always {
            return Ok(());
        }
        let source = std::io::Error::from(std::io::ErrorKind::NotConnected);
        Err(Error::ConnectionLost { request: request.into(), source: source.into() })
    }
}

fn judge(request: String, answer: &Answer) -> StartOutcome {
    match answer.status {
        StatusCode::NO_CONTENT => StartOutcome::Accepted,
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::CONFLICT
        | StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            StartOutcome::Refused { status: answer.status.as_u16(), message: parse::refusal(&answer.body) }
        }
        status => StartOutcome::Unclear(Error::protocol(
            request,
            format!("answered {}, which proves nothing ({})", status.as_u16(), parse::refusal(&answer.body)),
        )),
    }
}

fn no_answer(request: String, limit: Duration) -> Error {
    Error::NoAnswer { request, seconds: limit.as_secs_f64() }
}
