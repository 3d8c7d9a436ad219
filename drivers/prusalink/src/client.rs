//! The calls to one printer. Each is one question or one command; a 2xx answer to a command means "asked", never
//! "done": the next status report tells. It never polls, never decides and never repeats a command.
//! Endpoints: OpenAPI of Prusa-Link-Web; Buddy lib/WUI/link_content/prusa_link_api_v1.cpp.

use std::fmt;
use std::sync::Arc;

use hyper::{Method, StatusCode};

use crate::config::Config;
use crate::error::Error;
use crate::http::Answer;
use crate::link::{Link, Shared, refused};
use crate::name::RemoteName;
use crate::parse;
use crate::report::{FileInfo, Flavor, JobId, JobReport, PrinterInfo, StatusReport, Storage, VersionInfo};
use crate::start::StartConnection;
use crate::upload::Uploader;

/// One printer. Holds at most one connection, opened with the first call and kept while the printer keeps it.
///
/// Dropping the future of a call cuts its connection; the next call opens a new one.
pub struct Client {
    link: Link,
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Client").field("config", &self.link.shared.config).finish_non_exhaustive()
    }
}

impl Client {
    /// A client that has not connected yet. Fails only for an address that cannot be sent as `Host` header.
    pub fn new(config: Config) -> Result<Self, Error> {
        let user_timeout = config.timeouts.request;
        Ok(Self::from_link(Link::new(Arc::new(Shared::new(config)?), user_timeout)))
    }

    pub(crate) fn from_link(link: Link) -> Self {
        Self { link }
    }

    /// Which server speaks, if a call has found out already.
    pub fn flavor(&self) -> Option<Flavor> {
        self.link.shared.flavor()
    }

    /// Which server speaks, and its versions.
    pub async fn version(&mut self) -> Result<VersionInfo, Error> {
        self.link.version().await
    }

    /// The serial number and the like.
    pub async fn info(&mut self) -> Result<PrinterInfo, Error> {
        Ok(parse::info(&self.link.get_object("/api/v1/info").await?))
    }

    /// The state: the one call to poll with.
    pub async fn status(&mut self) -> Result<StatusReport, Error> {
        status(&mut self.link).await
    }

    /// The print with its file; `None` when there is none, which includes the instant a print ends.
    pub async fn job(&mut self) -> Result<Option<JobReport>, Error> {
        job(&mut self.link).await
    }

    /// Whether `id` is the number of the current or, with nothing printing, of the last print.
    ///
    /// Asked with an unknown sub-command, which changes nothing: Buddy answers 400 for the current or last number and
    /// 404 for every other; Python PrusaLink 204 and 404. Undocumented: read in the source, not yet seen on hardware.
    pub async fn last_job_is(&mut self, id: JobId) -> Result<bool, Error> {
        if self.link.flavor().await? == Flavor::Buddy && id > JobId::from(u16::MAX) {
            return Ok(false);
        }
        let path = format!("/api/v1/job/{id}/x");
        let answer = self.link.command(Method::PUT, &path).await?;
        match answer.status {
            StatusCode::BAD_REQUEST | StatusCode::NO_CONTENT => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(refused(format!("PUT {path}"), &answer)),
        }
    }

    /// The storages.
    pub async fn storage(&mut self) -> Result<Vec<Storage>, Error> {
        let path = "/api/v1/storage";
        parse::storage_list(&format!("GET {path}"), &self.link.get_object(path).await?)
    }

    /// A file in the root of the upload storage; `None` when it is not there.
    pub async fn file(&mut self, name: &RemoteName) -> Result<Option<FileInfo>, Error> {
        file(&mut self.link, name).await
    }

    /// Deletes a file: `true` if it was there, `false` if it was not. On Buddy this also leaves the end screen of a
    /// print of this file, so the end of that print must be on record first.
    ///
    /// Buddy answers 404 for other failures too; a 404 therefore counts as absent only if the file cannot be read.
    pub async fn delete_file(&mut self, name: &RemoteName) -> Result<bool, Error> {
        let path = file_path(self.link.flavor().await?, name);
        let answer = self.link.command(Method::DELETE, &path).await?;
        match answer.status {
            status if status.is_success() => Ok(true),
            StatusCode::NOT_FOUND if self.file(name).await?.is_none() => Ok(false),
            _ => Err(refused(format!("DELETE {path}"), &answer)),
        }
    }

    /// Asks to pause this print. 409 (not printing) and 404 (not the current print) come as [`Error::Refused`].
    pub async fn pause(&mut self, id: JobId) -> Result<(), Error> {
        self.job_command(Method::PUT, &format!("/api/v1/job/{id}/pause")).await
    }

    /// Asks to resume this print. Refused while a dialog is open.
    pub async fn resume(&mut self, id: JobId) -> Result<(), Error> {
        self.job_command(Method::PUT, &format!("/api/v1/job/{id}/resume")).await
    }

    /// Asks to stop this print. While the printer is just pausing or resuming, Buddy accepts this and does nothing.
    pub async fn stop(&mut self, id: JobId) -> Result<(), Error> {
        self.job_command(Method::DELETE, &format!("/api/v1/job/{id}")).await
    }

    /// The material a person set at loading; `None` when the printer names none. With a multi-material unit it is the
    /// first slot's (Buddy issue 4413).
    pub async fn material(&mut self) -> Result<Option<String>, Error> {
        Ok(parse::material(&self.link.get_object("/api/printer").await?))
    }

    /// Something that uploads one file on a connection of its own, so that this client can poll meanwhile.
    pub fn uploader(&self) -> Uploader {
        Uploader::new(Arc::clone(&self.link.shared))
    }

    /// Closes this client's connection and opens a new one for a start command; gives it with the status report just
    /// read over it. The client stays usable, over yet another connection.
    pub async fn fresh_start_connection(&mut self) -> Result<(StartConnection, StatusReport), Error> {
        let flavor = self.link.flavor().await?;
        self.link.connection = None;
        StartConnection::open(Arc::clone(&self.link.shared), flavor).await
    }

    /// Closes the connection, if one is open.
    pub fn disconnect(&mut self) {
        self.link.connection = None;
    }

    async fn job_command(&mut self, method: Method, path: &str) -> Result<(), Error> {
        let answer = self.link.command(method.clone(), path).await?;
        if answer.status.is_success() { Ok(()) } else { Err(refused(format!("{method} {path}"), &answer)) }
    }
}

/// The request target of a file in the root of the upload storage. Names need no escaping.
pub(crate) fn file_path(flavor: Flavor, name: &RemoteName) -> String {
    format!("/api/v1/files/{}/{name}", flavor.storage_name())
}

pub(crate) async fn status(link: &mut Link) -> Result<StatusReport, Error> {
    parse::status(&link.get_object("/api/v1/status").await?)
}

/// Reads a status report, and whether the server announced to close the connection after it.
pub(crate) async fn status_and_close(link: &mut Link) -> Result<(StatusReport, bool), Error> {
    let path = "/api/v1/status";
    let answer: Answer = link.get(path).await?;
    if answer.status != StatusCode::OK {
        return Err(refused(format!("GET {path}"), &answer));
    }
    Ok((parse::status(&parse::object(&format!("GET {path}"), &answer.body)?)?, answer.closes))
}

pub(crate) async fn job(link: &mut Link) -> Result<Option<JobReport>, Error> {
    let path = "/api/v1/job";
    let answer = link.get(path).await?;
    match answer.status {
        StatusCode::NO_CONTENT => Ok(None),
        StatusCode::OK => Ok(Some(parse::job(&parse::object(&format!("GET {path}"), &answer.body)?))),
        _ => Err(refused(format!("GET {path}"), &answer)),
    }
}

pub(crate) async fn file(link: &mut Link, name: &RemoteName) -> Result<Option<FileInfo>, Error> {
    let path = file_path(link.flavor().await?, name);
    let answer = link.get(&path).await?;
    match answer.status {
        StatusCode::OK => Ok(Some(parse::file(&parse::object(&format!("GET {path}"), &answer.body)?))),
        StatusCode::NOT_FOUND => Ok(None),
        _ => Err(refused(format!("GET {path}"), &answer)),
    }
}
