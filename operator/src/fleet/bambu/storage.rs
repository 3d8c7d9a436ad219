//! Files of a Bambu Lab printer: under which names they lie until they are started. No printer starts a file by itself
//! whose name does not end as that of a sliced file.

use printernizer_bambu::Config;
use printernizer_bambu::ftps::{Ftps, FtpsError, RemoteName, Renamed, Uploaded};
use printernizer_rules::device::LinkFault;

use super::fault;
use crate::fleet::device::{DeviceFault, UploadJob, local};

/// The reply of a file server that knows no renaming.
const NOT_IMPLEMENTED: u16 = 502;
/// What the name of a file begins with until the printer was seen to rename it.
const UNPROVEN: &str = "up-";

/// The name of a file of which is not known yet whether the printer can rename it. No printer starts it by itself.
pub(super) fn unproven(name: &RemoteName) -> Result<RemoteName, DeviceFault> {
    RemoteName::new(format!("{UNPROVEN}{name}")).map(|n| n.part()).map_err(|e| local(&e))
}

/// Uploads under a name that no printer starts by itself, and finds out by renaming it once whether the printer can. One
/// that cannot gets the file under its own name; the bed is clear, or there would be no upload.
pub(super) async fn upload(config: &Config, job: UploadJob) -> Result<(), DeviceFault> {
    let name = RemoteName::new(job.remote_name.as_str()).map_err(|e| local(&e))?;
    let first = unproven(&name)?;
    let mut ftps = tokio::select! {
        biased;
        () = job.cancel.cancelled() => return Err(file_fault(&FtpsError::Cancelled)),
        connected = Ftps::connect(config) => connected.map_err(|e| file_fault(&e))?,
    };
    send_file(&mut ftps, &first, &job).await?;
    let mut renamed = ftps.rename(&first, &name.part()).await.map_err(|e| file_fault(&e))?;
    if matches!(renamed, Renamed::NotSupported { code, .. } if code != NOT_IMPLEMENTED) {
        // It may only be that the name was taken.
        ftps.delete(&name.part()).await.map_err(|e| file_fault(&e))?;
        renamed = ftps.rename(&first, &name.part()).await.map_err(|e| file_fault(&e))?;
    }
    if let Renamed::NotSupported { code, message } = renamed {
        tracing::info!(code, message, "the printer does not rename files: uploading once more under the final name");
        ftps.delete(&first).await.map_err(|e| file_fault(&e))?;
        send_file(&mut ftps, &name, &job).await?;
    }
    // The file is there whatever comes of this.
    let _ = ftps.close().await;
    Ok(())
}

/// Gives the uploaded file the name under which it can be started.
pub(super) async fn ready(ftps: &mut Ftps, name: &RemoteName) -> Result<(), DeviceFault> {
    let part = name.part();
    let why = match ftps.rename(&part, name).await {
        Ok(Renamed::Done) => return Ok(()),
        Ok(Renamed::NotSupported { code, message }) => format!(
            "the printer does not give {part} the name it could be started under ({code}: {message}): look whether its \
             storage is full or write-protected, and restart it if this stays"
        ),
        Err(FtpsError::Missing { .. }) => "the file is not on the printer any more".to_owned(),
        Err(error) => return Err(file_fault(&error)),
    };
    // Where a printer does not rename, the file was uploaded under its own name.
    match ftps.size(name).await.map_err(|e| file_fault(&e))? {
        Some(_) => Ok(()),
        None => Err(local(&why)),
    }
}

async fn send_file(ftps: &mut Ftps, name: &RemoteName, job: &UploadJob) -> Result<(), DeviceFault> {
    let file = tokio::fs::File::open(&job.path).await.map_err(|e| local(&e))?;
    let progress = |bytes| (job.progress)(bytes);
    let uploaded = ftps.upload(name, file, job.size_bytes, progress, &job.cancel).await;
    let Uploaded { confirmed, session_resumed } = uploaded.map_err(|e| file_fault(&e.error))?;
    tracing::info!(file = %name, confirmed, session_resumed, "the printer has the whole file");
    Ok(())
}

pub(super) fn file_fault(error: &FtpsError) -> DeviceFault {
    match error {
        FtpsError::Connect(error) => fault(error),
        FtpsError::AccessCodeRefused => {
            DeviceFault { cause: LinkFault::CredentialsRefused, message: error.to_string() }
        }
        error => DeviceFault { cause: LinkFault::Unreachable, message: crate::error::chain(error) },
    }
}
