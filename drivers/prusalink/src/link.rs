//! Requests with a login to one printer, over at most one connection at a time. A GET may meet a kept-alive connection
//! that the printer has closed meanwhile and is then sent once more on a new one; every other request is sent at most
//! once, except when a 401 says that its nonce was stale, which proves that nothing was done. Never follows a redirect.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::header::{ACCEPT, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::auth::{Auth, Verdict};
use crate::config::Config;
use crate::error::Error;
use crate::http::{Answer, Connection, Failure, FailureKind, RequestBody};
use crate::parse;
use crate::report::{Flavor, VersionInfo};

/// Python PrusaLink binds nonces to the User-Agent, so it never changes.
const AGENT: HeaderValue = HeaderValue::from_static("printernizer");
/// Buddy answers errors as JSON only when this is the first accepted type.
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// A command goes over a connection that has just worked, or over a new one: Buddy closes idle ones after 60 s, busy
/// ones after 10 s, and a command must not run into that.
const COMMAND_REUSE: Duration = Duration::from_secs(5);

/// What the connections to one printer share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    host: HeaderValue,
    auth: Mutex<Auth>,
    flavor: Mutex<Option<Flavor>>,
}

impl Shared {
    pub(crate) fn new(config: Config) -> Result<Self, Error> {
        let host = HeaderValue::from_str(&config.base_url.host_header())
            .map_err(|_| Error::protocol("Host", "the address cannot be sent as a Host header"))?;
        let auth = Mutex::new(Auth::new(config.credentials.clone()));
        Ok(Self { config, host, auth, flavor: Mutex::new(None) })
    }

    pub(crate) fn auth(&self) -> MutexGuard<'_, Auth> {
        self.auth.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn flavor(&self) -> Option<Flavor> {
        *self.flavor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One user of a printer: a poller, an upload, or a start.
pub(crate) struct Link {
    pub(crate) shared: Arc<Shared>,
    pub(crate) connection: Option<Connection>,
    /// How long sent bytes may stay unacknowledged on this link's connections.
    pub(crate) user_timeout: Duration,
}

impl Link {
    pub(crate) fn new(shared: Arc<Shared>, user_timeout: Duration) -> Self {
        Self { shared, connection: None, user_timeout }
    }

    /// A GET with login. Answers of every status but 401 come back, redirects do not.
    pub(crate) async fn get(&mut self, path: &str) -> Result<Answer, Error> {
        // At most: without login, with the challenge's nonce, with a new nonce instead of a stale one.
        for _ in 0..3 {
            let (used, login) = self.shared.auth().header(&Method::GET, path)?;
            let answer = self.get_once(path, login).await?;
            if answer.status.is_redirection() {
                return Err(Error::NotPrusaLink { found: format!("a redirect, {}", answer.status.as_u16()) });
            }
            let mut auth = self.shared.auth();
            if !is_login_matter(answer.status) {
                if answer.status.is_success() {
                    auth.learn_open();
                }
                return Ok(answer);
            }
            match auth.learn(used, answer.status, &answer.headers, Instant::now()) {
                Verdict::TryAgain => {}
                Verdict::Rejected => return Err(Error::Unauthorized),
                Verdict::NotLogin => return Ok(answer),
            }
        }
        Err(Error::Unauthorized)
    }

    /// A GET that answers with a JSON object.
    pub(crate) async fn get_object(&mut self, path: &str) -> Result<Map<String, Value>, Error> {
        let answer = self.get(path).await?;
        let request = format!("GET {path}");
        match answer.status {
            StatusCode::OK => parse::object(&request, &answer.body),
            StatusCode::NOT_FOUND => Err(Error::NotPrusaLink { found: format!("404 for {path}") }),
            _ => Err(refused(request, &answer)),
        }
    }

    /// Reads `/api/version` and remembers which server speaks.
    pub(crate) async fn version(&mut self) -> Result<VersionInfo, Error> {
        let version = parse::version(&self.get_object("/api/version").await?)?;
        *self.shared.flavor.lock().unwrap_or_else(PoisonError::into_inner) = Some(version.flavor);
        Ok(version)
    }

    /// Which server speaks; asked once.
    pub(crate) async fn flavor(&mut self) -> Result<Flavor, Error> {
        match self.shared.flavor() {
            Some(flavor) => Ok(flavor),
            None => Ok(self.version().await?.flavor),
        }
    }

    /// Makes sure that the next request carries a login the server will take: on Buddy a 401 to a PUT or POST closes
    /// the connection with the body unread, so the nonce comes from a GET.
    pub(crate) async fn prepare_login(&mut self) -> Result<(), Error> {
        let known = {
            let mut auth = self.shared.auth();
            auth.forget_old_nonce(Instant::now());
            auth.is_known()
        };
        if !known {
            self.version().await?;
        }
        Ok(())
    }

    /// A PUT, POST or DELETE without a body.
    pub(crate) async fn command(&mut self, method: Method, path: &str) -> Result<Answer, Error> {
        self.prepare_login().await?;
        for _ in 0..2 {
            let (used, login) = self.shared.auth().header(&method, path)?;
            let request = self.request(&method, path, login)?;
            let connection = match self.connection.take() {
                Some(connection) if connection.used_at().elapsed() < COMMAND_REUSE => connection,
                _ => self.connect().await?,
            };
            let answer = self.run(connection, request, &method, path).await.map_err(|(_, error)| error)?;
            if !is_login_matter(answer.status) {
                return Ok(answer);
            }
            match self.shared.auth().learn(used, answer.status, &answer.headers, Instant::now()) {
                Verdict::TryAgain => {}
                Verdict::Rejected => return Err(Error::Unauthorized),
                Verdict::NotLogin => return Ok(answer),
            }
        }
        Err(Error::Unauthorized)
    }

    pub(crate) async fn connect(&self) -> Result<Connection, Error> {
        let Config { address, timeouts, .. } = &self.shared.config;
        Connection::open(*address, timeouts.connect, self.user_timeout)
            .await
            .map_err(|source| Error::Unreachable { address: *address, source })
    }

    /// A request without a body and with everything this driver always sends.
    pub(crate) fn request(
        &self,
        method: &Method,
        path: &str,
        login: Option<(HeaderName, HeaderValue)>,
    ) -> Result<Request<RequestBody>, Error> {
        let mut builder = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.shared.host.clone())
            .header(USER_AGENT, AGENT)
            .header(ACCEPT, JSON);
        if let Some((name, value)) = login {
            builder = builder.header(name, value);
        }
        if *method == Method::PUT || *method == Method::POST {
            builder = builder.header(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        builder.body(RequestBody::Empty).map_err(|source| Error::Protocol {
            request: format!("{method} {path}"),
            detail: "the request cannot be built".into(),
            source: Some(source.into()),
        })
    }

    async fn get_once(&mut self, path: &str, login: Option<(HeaderName, HeaderValue)>) -> Result<Answer, Error> {
        let method = Method::GET;
        if let Some(connection) = self.connection.take() {
            let request = self.request(&method, path, login.clone())?;
            match self.run(connection, request, &method, path).await {
                Ok(answer) => return Ok(answer),
                // The printer has closed the idle connection; a GET changes nothing and may be sent again.
                Err((true, _)) => {}
                Err((false, error)) => return Err(error),
            }
        }
        let request = self.request(&method, path, login)?;
        let connection = self.connect().await?;
        self.run(connection, request, &method, path).await.map_err(|(_, error)| error)
    }

    /// One exchange within the request timeout. The flag of an error says that the connection broke.
    async fn run(
        &mut self,
        connection: Connection,
        request: Request<RequestBody>,
        method: &Method,
        path: &str,
    ) -> Result<Answer, (bool, Error)> {
        let limit = self.shared.config.timeouts.request;
        match connection.exchange(request, timeout(limit), None::<fn() -> bool>).await {
            Ok((answer, connection)) => {
                self.connection = connection;
                Ok(answer)
            }
            Err(failure) => {
                let broken = matches!(failure.kind, FailureKind::Broken(_));
                Err((broken, failure.into_error(format!("{method} {path}"), limit)))
            }
        }
    }
}

impl Failure {
    /// The error for a caller; `limit` is the timeout that applied.
    pub(crate) fn into_error(self, request: String, limit: Duration) -> Error {
        match self.kind {
            FailureKind::Timeout | FailureKind::Stalled => Error::NoAnswer { request, seconds: limit.as_secs_f64() },
            FailureKind::GateRefused => Error::protocol(request, "withheld by the caller"),
            FailureKind::AnswerTooLong => Error::protocol(request, "the answer is too long to be a printer's"),
            FailureKind::Source(source) => Error::Source(source),
            FailureKind::Broken(source) => Error::ConnectionLost { request, source },
        }
    }
}

/// Resolves when the time is over.
pub(crate) fn timeout(limit: Duration) -> impl Future<Output = FailureKind> {
    let sleep = tokio::time::sleep(limit);
    async move {
        sleep.await;
        FailureKind::Timeout
    }
}

/// The error for an answer that says no.
pub(crate) fn refused(request: String, answer: &Answer) -> Error {
    Error::Refused { request, status: answer.status.as_u16(), message: parse::refusal(&answer.body) }
}

fn is_login_matter(status: StatusCode) -> bool {
    status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN
}
