//! The driver against a file server that others wrote: Debian's vsftpd, which printers use too, with implicit TLS, an
//! X.509 v1 certificate and the demand that data connections resume the session. It catches what the driver and the
//! servers of this project could misread alike. It needs root, because vsftpd does; README.md tells how to skip it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it meets the unexpected")]
#![allow(clippy::print_stderr, reason = "says why nothing was tested")]

use std::fs;
use std::io::Cursor;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use printernizer_bambu::ftps::{Deleted, Ftps, FtpsError, RemoteName, Renamed, UploadError, Uploaded};
use printernizer_bambu::{Config, Error, SerialNumber, Timeouts, Trust};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

const SERIAL: &str = "03919A3B0100254";
const CODE: &str = "12ab34cd";
/// The only user of the server: of its password file, not of this machine.
const USER_ID: u32 = 60_990;
const SIZE: usize = 5_000_000;

/// A running server; it ends with this value.
struct Server {
    child: Child,
    folder: TempDir,
    address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(folder: &Path, command: &str) -> Vec<u8> {
    let output = Command::new("sh").args(["-ec", command]).current_dir(folder).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

impl Server {
    /// Starts a server with these settings besides the usual ones. `None` if these tests are switched off.
    fn start(settings: &str) -> Option<Self> {
        if std::env::var("PRINTERNIZER_SKIP_VSFTPD").is_ok_and(|value| value == "1") {
            eprintln!("skipped: PRINTERNIZER_SKIP_VSFTPD=1 is set; nothing was tested against vsftpd");
            return None;
        }
        let is_root = run(Path::new("/"), "id -u").trim_ascii() == b"0";
        let has_program = Path::new("/usr/sbin/vsftpd").exists();
        assert!(
            is_root && has_program,
            "these tests need root and Debian's vsftpd and openssl: run them as root, or set PRINTERNIZER_SKIP_VSFTPD=1"
        );
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path();
        fs::set_permissions(place, fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["etc/pam.d", "empty", "files"] {
            fs::create_dir_all(place.join(name)).unwrap();
        }
        chown(place.join("files"), Some(USER_ID), Some(USER_ID)).unwrap();
        certificates(place);
        accounts(place);
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (port, at) = (address.port(), place.display());
        fs::write(
            place.join("vsftpd.conf"),
            format!(
                "listen=YES\nlisten_address=127.0.0.1\nlisten_port={port}\nbackground=NO\nseccomp_sandbox=NO\n\
                 anonymous_enable=NO\nlocal_enable=YES\nwrite_enable=YES\npam_service_name=vsftpd\n\
                 chroot_local_user=YES\nallow_writeable_chroot=YES\nsecure_chroot_dir={at}/empty\n\
                 ssl_enable=YES\nimplicit_ssl=YES\nrequire_ssl_reuse=YES\nforce_local_data_ssl=YES\n\
                 force_local_logins_ssl=YES\nssl_ciphers=HIGH\nrsa_cert_file={at}/chain.pem\n\
                 rsa_private_key_file={at}/key.pem\n\
                 xferlog_enable=YES\nxferlog_std_format=NO\nlog_ftp_protocol=YES\nvsftpd_log_file={at}/log\n{settings}\n"
            ),
        )
        .unwrap();
        // A mount namespace of its own: its users and its PAM service exist for this server only.
        let child = Command::new("unshare")
            .args(["--mount", "sh", "-ec", "mount --bind etc /etc; exec /usr/sbin/vsftpd \"$PWD/vsftpd.conf\""])
            .current_dir(place)
            .stdin(Stdio::null())
            .stdout(fs::File::create(place.join("out")).unwrap())
            .stderr(fs::File::create(place.join("err")).unwrap())
            .spawn()
            .unwrap();
        let mut server = Self { child, folder, address };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(address).is_err() {
            let ended = server.child.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "vsftpd does not listen: {ended:?} {}",
                server.texts()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(server)
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn texts(&self) -> String {
        ["out", "err", "log"].map(|name| fs::read_to_string(self.path(name)).unwrap_or_default()).join("\n")
    }

    fn config(&self) -> Config {
        Config {
            mqtt: "127.0.0.1:1".parse().unwrap(),
            ftps: self.address,
            serial_number: SerialNumber::new(SERIAL).unwrap(),
            access_code: CODE.to_owned().into(),
            trust: Trust::authorities_from_pem(&fs::read(self.path("ca.pem")).unwrap()).unwrap(),
            timeouts: Timeouts::default(),
        }
    }

    fn file(&self, name: &RemoteName) -> Option<Vec<u8>> {
        fs::read(self.path("files").join(name.as_str())).ok()
    }
}

/// As Bambu makes them: an authority, and a certificate of version 1 whose only name is the serial number. And one of
/// version 3 for the same key, which rustls serves.
fn certificates(place: &Path) {
    run(
        place,
        &format!(
            "exec 2>&1
             openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 30 -subj '/C=CN/O=Test/CN=Test CA'
             openssl req -newkey rsa:2048 -nodes -keyout key.pem -out request.pem -subj '/CN={SERIAL}'
             openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -out leaf.pem
             openssl x509 -in leaf.pem -noout -text | grep -q 'Version: 1 '
             cat leaf.pem ca.pem > chain.pem
             openssl req -x509 -key key.pem -days 30 -subj '/CN={SERIAL}' -out version3.pem
             openssl pkey -in key.pem -pubout -outform DER -out public.der"
        ),
    );
}

fn accounts(place: &Path) {
    let home = place.join("files").display().to_string();
    let empty = place.join("empty").display().to_string();
    let hash = String::from_utf8(run(place, &format!("openssl passwd -6 {CODE}"))).unwrap();
    for (name, text) in [
        (
            "passwd",
            format!(
                "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\nftp:x:60991:60991::{empty}:/bin/sh\n\
                 bblp:x:{USER_ID}:{USER_ID}::{home}:/bin/sh\n"
            ),
        ),
        ("group", format!("root:x:0:\nbblp:x:{USER_ID}:\n")),
        ("shadow", format!("bblp:{}:20000:0:99999:7:::\n", hash.trim())),
        ("nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\n".into()),
        (
            "pam.d/vsftpd",
            "auth required pam_unix.so nodelay\naccount required pam_permit.so\nsession required pam_permit.so\n"
                .into(),
        ),
    ] {
        fs::write(place.join("etc").join(name), text).unwrap();
    }
}

fn name() -> RemoteName {
    RemoteName::new("bracket-pz-0011223344556677-1.gcode.3mf").unwrap()
}

fn content() -> Vec<u8> {
    (0..SIZE).map(|index| u8::try_from(index % 251).unwrap()).collect()
}

async fn upload(ftps: &mut Ftps, name: &RemoteName) -> Result<Uploaded, UploadError> {
    ftps.upload(name, Cursor::new(content()), SIZE as u64, |_| {}, &CancellationToken::new()).await
}

#[tokio::test]
async fn vsftpd_takes_a_file_renames_it_counts_it_and_deletes_it() {
    let Some(server) = Server::start("") else { return };
    let mut ftps = Ftps::connect(&server.config()).await.unwrap();
    let (part, ready) = (name().part(), name());
    assert_eq!(ftps.size(&part).await.unwrap(), None);
    let began = Instant::now();
    let uploaded = upload(&mut ftps, &part).await.unwrap_or_else(|error| panic!("{error:?}\n{}", server.texts()));
    eprintln!("{SIZE} bytes in {:?}", began.elapsed());
    assert_eq!(uploaded, Uploaded { confirmed: true, session_resumed: true });
    assert!(server.file(&part).unwrap() == content(), "the file differs");
    let again = upload(&mut ftps, &part).await.unwrap_err().error;
    assert!(matches!(again, FtpsError::FileExists { size_bytes, .. } if size_bytes == SIZE as u64), "{again:?}");
    assert_eq!(ftps.rename(&part, &ready).await.unwrap(), Renamed::Done);
    assert_eq!((ftps.size(&part).await.unwrap(), ftps.size(&ready).await.unwrap()), (None, Some(SIZE as u64)));
    let missing = ftps.rename(&part, &ready).await.unwrap_err();
    assert!(matches!(missing, FtpsError::Missing { .. }), "{missing:?}");
    assert_eq!(ftps.delete(&ready).await.unwrap(), Deleted::Removed);
    assert_eq!(ftps.delete(&ready).await.unwrap(), Deleted::Absent);
    assert_eq!((server.file(&part), server.file(&ready)), (None, None));
    ftps.close().await.unwrap();
    assert!(server.texts().contains("221 Goodbye"), "{}", server.texts());
}

#[tokio::test]
async fn vsftpd_refuses_a_wrong_code() {
    let Some(server) = Server::start("") else { return };
    let config = Config { access_code: "00000000".to_owned().into(), ..server.config() };
    let error = Ftps::connect(&config).await.unwrap_err();
    assert!(matches!(error, FtpsError::AccessCodeRefused), "{error:?}");
}

#[tokio::test]
async fn another_printer_at_the_address_is_not_told_the_code() {
    let Some(server) = Server::start("") else { return };
    let config = Config { serial_number: SerialNumber::new("03919A3B0100255").unwrap(), ..server.config() };
    let error = Ftps::connect(&config).await.unwrap_err();
    assert!(matches!(error, FtpsError::Connect(Error::Untrusted { .. })), "{error:?}");
    assert!(error.to_string().contains(SERIAL), "{error}");
    assert!(!server.texts().contains("FTP command"), "{}", server.texts());
}

#[tokio::test]
async fn what_vsftpd_cannot_store_is_refused_with_what_to_do() {
    let Some(server) = Server::start("") else { return };
    fs::set_permissions(server.path("files"), fs::Permissions::from_mode(0o555)).unwrap();
    let mut ftps = Ftps::connect(&server.config()).await.unwrap();
    let UploadError { error, left_over } = upload(&mut ftps, &name()).await.unwrap_err();
    assert!(matches!(error, FtpsError::StorageRefused { code: 553, .. }), "{error:?}");
    assert!(!left_over);
    fs::set_permissions(server.path("files"), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(upload(&mut ftps, &name()).await.unwrap().confirmed, "over the same session");
}

#[tokio::test]
async fn vsftpd_sees_a_cancelled_upload_fail_and_keeps_nothing_of_it() {
    let Some(server) = Server::start("local_max_rate=1000000") else { return };
    let mut ftps = Ftps::connect(&server.config()).await.unwrap();
    let cancel = CancellationToken::new();
    let sent = AtomicU64::new(0);
    let progress = |bytes| {
        sent.store(bytes, Ordering::SeqCst);
        if bytes > 1_000_000 {
            cancel.cancel();
        }
    };
    let outcome = ftps.upload(&name(), Cursor::new(content()), SIZE as u64, progress, &cancel).await;
    let UploadError { error, left_over } = outcome.unwrap_err();
    assert!(matches!(error, FtpsError::Cancelled), "{error:?}");
    assert!(sent.load(Ordering::SeqCst) < SIZE as u64);
    assert_eq!((left_over, server.file(&name())), (false, None), "{}", server.texts());
    let texts = server.texts();
    assert!(texts.contains("FAIL UPLOAD") && !texts.contains("OK UPLOAD"), "{texts}");
    assert!(upload(&mut ftps, &name()).await.unwrap().confirmed, "the next try works");
}

#[tokio::test]
async fn half_a_file_that_a_dropped_upload_left_is_seen_by_its_size() {
    let Some(server) = Server::start("local_max_rate=1000000") else { return };
    let mut ftps = Ftps::connect(&server.config()).await.unwrap();
    let (name, begun) = (name(), tokio::sync::Notify::new());
    let progress = |bytes| {
        if bytes > 1_000_000 {
            begun.notify_one();
        }
    };
    let cancel = CancellationToken::new();
    tokio::select! {
        outcome = ftps.upload(&name, Cursor::new(content()), SIZE as u64, progress, &cancel) => panic!("{outcome:?}"),
        () = begun.notified() => {}
    }
    let left = ftps.size(&name).await.unwrap();
    assert!(left.is_some_and(|bytes| bytes < SIZE as u64), "{left:?}");
    let error = upload(&mut ftps, &name).await.unwrap_err().error;
    assert!(matches!(error, FtpsError::FileExists { .. }), "{error:?}");
    assert_eq!(ftps.delete(&name).await.unwrap(), Deleted::Removed);
    assert!(upload(&mut ftps, &name).await.unwrap().confirmed);
}

/// A relay that ends the TLS session of the control connection and begins another one towards vsftpd: the data
/// connection, which goes to vsftpd directly, then has no session that vsftpd knows.
async fn relay(server: &Server) -> SocketAddr {
    let certificate = CertificateDer::from_pem_file(server.path("version3.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(server.path("key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, target) = (listener.local_addr().unwrap(), server.address.to_string());
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(relayed(acceptor.clone(), client, target.clone()));
        }
    });
    address
}

async fn relayed(acceptor: tokio_rustls::TlsAcceptor, client: tokio::net::TcpStream, target: String) {
    let client = acceptor.accept(client).await.unwrap();
    let mut upstream = tokio::process::Command::new("openssl")
        .args(["s_client", "-quiet", "-connect", &target])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut to_server, mut from_server) = (upstream.stdin.take().unwrap(), upstream.stdout.take().unwrap());
    tokio::select! {
        _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
        _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
    }
}

#[tokio::test]
async fn vsftpd_refuses_data_without_the_control_connections_session_and_the_error_says_so() {
    let Some(server) = Server::start("") else { return };
    let key_sha256 = Sha256::digest(fs::read(server.path("public.der")).unwrap()).into();
    let config = Config { ftps: relay(&server).await, trust: Trust::PinnedKey(key_sha256), ..server.config() };
    let mut ftps = Ftps::connect(&config).await.unwrap_or_else(|error| panic!("{error:?}\n{}", server.texts()));
    let UploadError { error, left_over } = upload(&mut ftps, &name()).await.unwrap_err();
    assert!(matches!(error, FtpsError::SessionReuseRequired { .. }), "{error:?}\n{}", server.texts());
    assert!(error.to_string().contains("firmware version"), "{error}");
    assert_eq!(
        (left_over, server.file(&name())),
        (false, None),
        "the empty file it made is deleted: {}",
        server.texts()
    );
}
