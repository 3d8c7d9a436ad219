//! The driver against a server that others wrote: PyPI `prusalink` 0.8.1 with a simulated MK3S on its serial line
//! (tests/python/fake_mk3.py). It catches what driver and simulator could misread alike. The server is installed by
//! tests/python/install_prusalink.sh; without it these tests fail, unless PRINTERNIZER_SKIP_PYTHON_PRUSALINK=1 is set.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it meets the unexpected")]
#![allow(clippy::print_stderr, reason = "says why nothing was tested")]

mod wait;

use std::fmt::Write as _;
use std::fs;
use std::io::Cursor;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use printernizer_prusalink::{
    BaseUrl, Client, Config, Credentials, Error, Flavor, NotSent, RemoteName, StartOutcome, State, StatusReport,
    Timeouts,
};
use tokio_util::sync::CancellationToken;
use wait::wait_until;

/// MD5 of `maker:Administrator:secret`, the form in which the server keeps a login.
const LOGIN_DIGEST: &str = "6a9fcb26da87f68e19e719b89f0717b4";
/// The number of the last print in the simulated machine's EEPROM.
const LAST_PRINT: u32 = 41;

/// A running server with its machine; both end with this value, or with the test process.
struct Server {
    child: Child,
    folder: PathBuf,
    address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Closing its input is the order to end; it takes the server with it.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Server {
    /// Starts a server and waits until it has found its machine idle. `None` if the tests are switched off.
    async fn start(test: &str) -> Option<Self> {
        if std::env::var("PRINTERNIZER_SKIP_PYTHON_PRUSALINK").is_ok_and(|value| value == "1") {
            eprintln!(
                "skipped: PRINTERNIZER_SKIP_PYTHON_PRUSALINK=1 is set; nothing was tested against prusalink 0.8.1"
            );
            return None;
        }
        let cache = std::env::var_os("PRINTERNIZER_CACHE").map_or_else(
            || PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache/printernizer"),
            PathBuf::from,
        );
        let installed = cache.join("prusalink-0.8.1");
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python");
        assert!(
            installed.join("installed").exists(),
            "prusalink 0.8.1 is not installed: run {}, or set PRINTERNIZER_SKIP_PYTHON_PRUSALINK=1",
            scripts.join("install_prusalink.sh").display()
        );
        // Not below /tmp: the server refuses to store files there.
        let folder = cache.join(format!("prusalink-run-{}-{test}", std::process::id()));
        fs::create_dir_all(folder.join("gcodes")).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let ini = folder.join("prusalink.ini");
        let place = folder.display();
        fs::write(
            &ini,
            format!(
                "[daemon]\ndata_dir = {place}\n[http]\naddress = 127.0.0.1\nport = {}\n[printer]\nport = {place}/tty\n\
                 directory = {place}/gcodes\nsettings = {place}/settings.ini\n[cameras]\nauto_detect = False\n",
                address.port()
            ),
        )
        .unwrap();
        fs::write(
            folder.join("settings.ini"),
            format!(
                "[printer]\ntype = MK3S\n[service::connect]\nhostname =\ntoken =\n\
                 [service::local]\nenable = 1\nusername = maker\ndigest = {LOGIN_DIGEST}\napi_key = unused\n"
            ),
        )
        .unwrap();
        let log = fs::File::create(folder.join("log")).unwrap();
        let child = Command::new("python3")
            .arg(scripts.join("fake_mk3.py"))
            .arg(folder.join("tty"))
            .arg(installed.join("bin/prusalink"))
            .args(["-f", "-c"])
            .arg(&ini)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let server = Self { child, folder, address };
        let mut client = server.client("secret");
        wait_until("the server has found its machine", async || {
            let outcome = client.status().await;
            match &outcome {
                Ok(report) if report.state == State::Idle && client.info().await.unwrap().serial.is_some() => Ok(()),
                // It listens before it can answer: until then it may drop a connection it has taken.
                Ok(_)
                | Err(
                    Error::Unreachable { .. } | Error::ConnectionLost { .. } | Error::Refused { status: 503, .. },
                ) => Err(format!("{outcome:?}\n{}", server.log())),
                Err(error) => panic!("{error:?}\n{}", server.log()),
            }
        })
        .await;
        Some(server)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn client(&self, password: &str) -> Client {
        let base_url = BaseUrl::parse(&format!("http://{}", self.address)).unwrap();
        let credentials = Credentials { username: "maker".into(), password: password.to_owned().into() };
        // What a client does when no answer comes is not told from this server: one of Python on a busy machine may need
        // longer than a printer, and everything here is about what it answers.
        let timeouts =
            Timeouts { send: Duration::from_secs(60), request: Duration::from_secs(60), ..Timeouts::default() };
        Client::new(Config { base_url, address: self.address, credentials, timeouts }).unwrap()
    }
}

/// Polls until the state is as wanted.
async fn reaches(client: &mut Client, wanted: &State) -> StatusReport {
    wait_until(&format!("the state {wanted}"), async || {
        let report = client.status().await.unwrap();
        if report.state == *wanted { Ok(report) } else { Err(report.state) }
    })
    .await
}

/// A print of so many tenths of a second on the simulated machine.
fn gcode(tenths: u32) -> Vec<u8> {
    let mut text = String::from("; written for this test\nM73 P0 R1\n");
    for step in 0..tenths {
        writeln!(text, "G1 X{step}\nG4 P100").unwrap();
    }
    text.into_bytes()
}

async fn upload(client: &Client, name: &RemoteName, bytes: Vec<u8>) -> Result<(), Error> {
    let size = bytes.len() as u64;
    let file = client.uploader().upload(name, Cursor::new(bytes), size, |_| {}, &CancellationToken::new()).await?;
    assert_eq!((file.size_bytes, file.display_name.as_deref()), (Some(size), Some(name.as_str())));
    Ok(())
}

#[tokio::test]
async fn a_print_is_uploaded_started_once_followed_to_its_end_and_cleaned_up() {
    let Some(server) = Server::start("whole").await else { return };
    let mut client = server.client("secret");

    assert_eq!(client.version().await.unwrap().flavor, Flavor::PyLink);
    assert_eq!(client.info().await.unwrap().serial.as_deref(), Some("CZPX0123X004XK01234"));
    let storages = client.storage().await.unwrap();
    assert!(
        storages.iter().any(|storage| storage.path.as_deref() == Some("/local") && storage.available == Some(true))
    );
    assert_eq!(client.material().await.unwrap(), None);
    assert!(client.last_job_is(LAST_PRINT).await.unwrap());
    assert!(!client.last_job_is(LAST_PRINT + 1).await.unwrap());

    let name = RemoteName::new("bracket-pz-0011223344556677-1.gcode").unwrap();
    assert_eq!(client.file(&name).await.unwrap(), None);
    assert!(!client.delete_file(&name).await.unwrap());
    upload(&client, &name, gcode(40)).await.unwrap();
    let again = upload(&client, &name, gcode(40)).await;
    assert!(matches!(again, Err(Error::FileExists { .. })), "{again:?}");
    assert_eq!(client.status().await.unwrap().state, State::Idle, "an upload starts nothing");

    let (mut connection, report) = client.fresh_start_connection().await.unwrap();
    assert_eq!(report.state, State::Idle);
    let withheld = connection.start(&name, || false).await;
    assert!(matches!(withheld, StartOutcome::NotSent(NotSent::Withheld)), "{withheld:?}");
    assert!(client.last_job_is(LAST_PRINT).await.unwrap());

    let (mut connection, _) = client.fresh_start_connection().await.unwrap();
    let outcome = connection.start(&name, || true).await;
    assert!(matches!(outcome, StartOutcome::Accepted), "{outcome:?}");
    let report = reaches(&mut client, &State::Printing).await;
    assert_eq!(report.job.unwrap().id, Some(LAST_PRINT + 1));
    let job = client.job().await.unwrap().unwrap();
    assert!(job.prints(&name) && job.id == Some(LAST_PRINT + 1), "{job:?}");
    assert!(client.last_job_is(LAST_PRINT + 1).await.unwrap());
    assert!(!client.last_job_is(LAST_PRINT).await.unwrap());

    let (mut connection, _) = client.fresh_start_connection().await.unwrap();
    let second = connection.start(&name, || true).await;
    assert!(matches!(second, StartOutcome::Refused { status: 409, .. }), "{second:?}");
    let busy = client.delete_file(&name).await;
    assert!(matches!(busy, Err(Error::Refused { status: 409, .. })), "{busy:?}");

    let report = reaches(&mut client, &State::Finished).await;
    assert_eq!(report.job, None, "the job vanishes the instant a print ends");
    assert!(client.job().await.unwrap().is_none());
    assert!(client.last_job_is(LAST_PRINT + 1).await.unwrap());
    assert!(client.delete_file(&name).await.unwrap());
    // The server reads its folder once a second.
    wait_until("the deleted file is listed no more", async || {
        let listed = client.file(&name).await.unwrap();
        listed.map_or(Ok(()), Err)
    })
    .await;
}

#[tokio::test]
async fn a_print_is_paused_resumed_and_stopped_by_its_number_only() {
    let Some(server) = Server::start("stopped").await else { return };
    let mut client = server.client("secret");
    let name = RemoteName::new("bracket-pz-0011223344556677-2.gcode").unwrap();
    upload(&client, &name, gcode(600)).await.unwrap();
    let (mut connection, _) = client.fresh_start_connection().await.unwrap();
    assert!(matches!(connection.start(&name, || true).await, StartOutcome::Accepted));
    let id = reaches(&mut client, &State::Printing).await.job.unwrap().id.unwrap();

    for outcome in [client.pause(id - 1).await, client.resume(id - 1).await, client.stop(id - 1).await] {
        assert!(matches!(outcome, Err(Error::Refused { status: 404, .. })), "{outcome:?}");
    }
    client.pause(id).await.unwrap();
    reaches(&mut client, &State::Paused).await;
    client.resume(id).await.unwrap();
    reaches(&mut client, &State::Printing).await;
    client.stop(id).await.unwrap();
    reaches(&mut client, &State::Stopped).await;
    assert!(client.last_job_is(id).await.unwrap());
}

#[tokio::test]
async fn a_wrong_password_is_refused() {
    let Some(server) = Server::start("password").await else { return };
    assert!(matches!(server.client("wrong").status().await, Err(Error::Unauthorized)));
}
