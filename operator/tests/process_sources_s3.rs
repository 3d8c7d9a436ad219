//! Print files from an S3 server that others wrote, versitygw: by keys, under a private authority, in either style of
//! addresses, and with everything people get wrong. A signature reaches no log, no condition and no event.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod inputs;
mod sources;
mod support;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use inputs::{Answer, WebServer};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use printernizer::files::allow::Networks;
use printernizer::files::resolve::Resolver;
use printernizer::files::{Asked, Files, FilesConfig, Limits, ReferenceError, References, SourceRequest};
use printernizer_crds::Reason;
use printernizer_crds::common::SecretReference;
use printernizer_crds::print_job::{Phase, S3Source, Source};
use printernizer_e2e::servers::Certificate;
use printernizer_e2e::servers::s3::{S3Options, S3Server};
use printernizer_simulator::Config;
use rusty_s3::actions::{PutObject, S3Action as _};
use rusty_s3::{Bucket, Credentials, UrlStyle};
use serde_json::{Value, json};
use sources::{
    accepted, ask, change_secret, everything_said, printed, refused, sha256, with, write_authority, write_secret,
};
use support::{PRINT, Shop, part};

/// Access key of the user the bucket `parts` belongs to.
const FARM: (&str, &str) = ("farm-key", "secret-of-the-farm");
/// Access key of somebody else.
const GUEST: (&str, &str) = ("guest-key", "secret-of-a-guest");

/// A server with these two users and the bucket `parts`.
async fn server(options: S3Options) -> S3Server {
    let server = S3Server::start(options).await.unwrap();
    for (id, secret) in [FARM, GUEST] {
        server.add_user(id, secret).await.unwrap();
    }
    server.add_bucket("parts", FARM.0).await.unwrap();
    server
}

/// Puts an object into a bucket, as any S3 client does.
async fn put(server: &S3Server, certificate: Option<&Certificate>, bucket: &str, key: &str, bytes: &[u8]) {
    let endpoint = server.endpoint().parse().unwrap();
    let bucket = Bucket::new(endpoint, UrlStyle::Path, bucket.to_owned(), server.region().to_owned()).unwrap();
    let (id, secret) = server.root();
    let credentials = Credentials::new(id, secret);
    let url = PutObject::new(&bucket, Some(&credentials), key).sign(Duration::from_mins(1));
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut client = reqwest::Client::builder().no_proxy();
    if let Some(certificate) = certificate {
        let authority = reqwest::Certificate::from_pem(certificate.authority.as_bytes()).unwrap();
        client = client.tls_certs_only([authority]);
    }
    let answer = client.build().unwrap().put(url).body(bytes.to_vec()).send().await.unwrap();
    let status = answer.status();
    assert!(status.is_success(), "{status}: {}", answer.text().await.unwrap());
}

fn keys((id, secret): (&str, &str), hosts: &str) -> Value {
    json!({ "accessKeyID": id, "secretAccessKey": secret, "allowedHosts": hosts })
}

/// A source in the bucket `parts` with the Secret of this name; `more` is written over that.
fn s3(server: &S3Server, key: &str, secret: &str, more: Value) -> Value {
    let plain = json!({
        "bucket": "parts", "key": key, "endpoint": server.endpoint(), "forcePathStyle": true,
        "credentialsSecretRef": { "name": secret },
    });
    json!({ "s3": with(plain, more) })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_from_a_bucket_under_a_private_authority_is_printed() {
    let shop = Shop::open("files-s3", Config::prusalink(1).time_scale(20.0)).await;
    let certificate = Certificate::new(&[]).unwrap();
    let server = server(S3Options { certificate: Some(certificate.clone()), ..S3Options::default() }).await;
    let bytes = part(PRINT + 2);
    put(&server, Some(&certificate), "parts", "2026/clip + größer.gcode", &bytes).await;
    write_secret(&shop, "s3", keys(FARM, "127.0.0.1")).await;
    write_authority(&shop, "farm-ca", &certificate.authority).await;
    let bundle = json!({ "caBundleConfigMapRef": { "name": "farm-ca", "key": "ca.crt" } });
    ask(&shop, "clip", &s3(&server, "2026/clip + größer.gcode", "s3", bundle), json!({})).await;
    shop.phase("clip", Phase::Printing).await;
    assert_eq!(printed(&shop), [sha256(&bytes)]);
    let said = everything_said(&shop).await;
    assert!(!said.contains("X-Amz") && !said.contains(FARM.1), "{said}");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_s3_server_refuses_is_said_and_heals_when_it_is_corrected() {
    let mut shop = Shop::empty("files-s3-wrong", Config::prusalink(1)).await;
    let server = server(S3Options::default()).await;
    let good = part(PRINT);
    put(&server, None, "parts", "clip.gcode", &good).await;
    for (name, key) in [("farm", FARM), ("guest", GUEST), ("typo", (FARM.0, "another")), ("stranger", ("nobody", "x"))]
    {
        write_secret(&shop, name, keys(key, "127.0.0.1")).await;
    }
    write_secret(&shop, "elsewhere", keys(FARM, "s3.example.com")).await;
    write_secret(&shop, "for-http", json!({ "username": "a", "password": "b", "allowedHosts": "127.0.0.1" })).await;
    let nothing = json!({});
    let clip = |secret: &str, more: Value| s3(&server, "clip.gcode", secret, more);
    for (name, source) in [
        ("key", s3(&server, "missing.gcode", "farm", json!({}))),
        ("bucket", clip("farm", json!({ "bucket": "missing" }))),
        ("secret", clip("typo", json!({}))),
        ("id", clip("stranger", json!({}))),
        ("denied", clip("guest", json!({}))),
        ("anonymous", clip("farm", json!({ "credentialsSecretRef": null }))),
        ("region", clip("farm", json!({ "region": "eu-central-1" }))),
        ("hosts", clip("elsewhere", json!({}))),
        ("keys", clip("for-http", json!({}))),
        ("nobody", clip("farm", json!({ "endpoint": "http://127.0.0.1:1" }))),
    ] {
        ask(&shop, name, &source, nothing.clone()).await;
    }
    shop.operate(&[]).await;
    for (name, reason, advice) in [
        ("key", Reason::FileNotFound, "NoSuchKey"),
        ("bucket", Reason::FileNotFound, "NoSuchBucket"),
        ("secret", Reason::SourceForbidden, "secretAccessKey"),
        ("id", Reason::SourceForbidden, "accessKeyID"),
        ("denied", Reason::SourceForbidden, "s3:GetObject"),
        ("anonymous", Reason::SourceForbidden, "credentialsSecretRef"),
        ("region", Reason::SourceForbidden, "source.s3.region"),
        ("hosts", Reason::SourceForbidden, "allowedHosts"),
        ("keys", Reason::SecretKeyMissing, "accessKeyID"),
        ("nobody", Reason::SourceUnreachable, "127.0.0.1"),
    ] {
        refused(&shop, name, reason, advice).await;
    }

    put(&server, None, "parts", "missing.gcode", &good).await;
    server.add_bucket("missing", FARM.0).await.unwrap();
    put(&server, None, "missing", "clip.gcode", &good).await;
    for name in ["typo", "stranger", "guest", "elsewhere", "for-http"] {
        change_secret(&shop, name, json!({ "stringData": keys(FARM, "127.0.0.1") })).await;
    }
    for (name, correction) in [
        ("anonymous", json!({ "credentialsSecretRef": { "name": "farm" } })),
        ("region", json!({ "region": server.region() })),
        ("nobody", json!({ "endpoint": server.endpoint() })),
    ] {
        shop.farm.change_job(name, json!({ "source": { "s3": correction } })).await.unwrap();
    }
    for name in ["anonymous", "region", "nobody", "key", "bucket", "secret", "id", "denied", "hosts", "keys"] {
        assert_eq!(accepted(&shop, name).await, sha256(&good), "{name}");
    }
    let said = everything_said(&shop).await;
    assert!(!said.contains("X-Amz") && !said.contains(FARM.1) && !said.contains(GUEST.1), "{said}");
    shop.close().await;
}

/// An error as S3 servers write it, with these elements besides.
fn s3_error(code: &str, more: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>in the server's words</Message>{more}\
         <RequestId>0A1B2C3D4E5F6071</RequestId><HostId>bm90aGluZyB0byBzZWUgaGVyZQ==</HostId></Error>"
    )
}

/// A time in the form of HTTP.
fn http_date(time: Timestamp) -> String {
    jiff::fmt::rfc2822::to_string(&time.to_zoned(jiff::tz::TimeZone::UTC)).unwrap().replace("+0000", "GMT")
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_differ_and_buckets_in_another_region_are_told_and_heal() {
    let mut shop = Shop::empty("files-s3-elsewhere", Config::prusalink(1)).await;
    let web = WebServer::start().await;
    write_secret(&shop, "farm", keys(FARM, "127.0.0.1")).await;
    let another = web.answer("another/clip.gcode", Answer::File(part(PRINT)));
    let hour_ago = Timestamp::now().checked_sub(Duration::from_hours(1)).unwrap();
    let skewed = "<RequestTime>20261121T120000Z</RequestTime><ServerTime>2026-11-21T13:00:00Z</ServerTime>\
                  <MaxAllowedSkewMilliseconds>900000</MaxAllowedSkewMilliseconds>";
    let expired = "<X-Amz-Expires>900</X-Amz-Expires><Expires>2026-11-21T12:00:00Z</Expires>\
                   <ServerTime>2026-11-21T13:00:00Z</ServerTime>";
    let moved = "<Endpoint>parts.s3.eu-west-1.example.com</Endpoint><Bucket>parts</Bucket>";
    let (clocks, region) = ("set them", "write that into source.s3.region");
    let rows = [
        ("skewed", "403 Forbidden", String::new(), s3_error("RequestTimeTooSkewed", skewed), clocks),
        (
            "expired",
            "403 Forbidden",
            format!("Date: {}\r\n", http_date(hour_ago)),
            s3_error("AccessDenied", expired),
            clocks,
        ),
        (
            "moved",
            "301 Moved Permanently",
            format!("x-amz-bucket-region: eu-west-1\r\nLocation: {another}\r\n"),
            s3_error("PermanentRedirect", moved),
            region,
        ),
        (
            "signed",
            "400 Bad Request",
            String::new(),
            s3_error("AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>"),
            region,
        ),
    ];
    for (name, status, head, body, _) in rows.clone() {
        web.answer(&format!("parts/{name}.gcode"), Answer::Refusal { status, head, body });
        let source = json!({
            "bucket": "parts", "key": format!("{name}.gcode"), "endpoint": web.url(), "forcePathStyle": true,
            "region": "eu-central-1", "credentialsSecretRef": { "name": "farm" },
        });
        ask(&shop, name, &json!({ "s3": source }), json!({})).await;
    }
    shop.operate(&[]).await;
    for (name, _, _, _, advice) in &rows {
        refused(&shop, name, Reason::SourceForbidden, advice).await;
    }
    for name in ["moved", "signed"] {
        refused(&shop, name, Reason::SourceForbidden, "in the region eu-west-1").await;
    }
    assert_eq!(web.asked("another/clip.gcode"), 0, "where it leads to was not allowed by anybody");
    // The clock is set, the bucket moved back.
    for (name, ..) in &rows {
        web.answer(&format!("parts/{name}.gcode"), Answer::File(part(PRINT)));
    }
    for (name, ..) in &rows {
        assert_eq!(accepted(&shop, name).await, sha256(&part(PRINT)), "{name}");
    }
    let said = everything_said(&shop).await;
    assert!(!said.contains("X-Amz") && !said.contains("server's words") && !said.contains(FARM.1), "{said}");
    shop.close().await;
}

/// Says of every name that it is this machine, and remembers the names.
struct Here(Mutex<Vec<String>>);

impl Resolver for Here {
    fn resolve<'a>(&'a self, name: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        self.0.lock().unwrap().push(name.to_owned());
        async move { Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))]) }.boxed()
    }
}

/// A cluster with one Secret.
struct OneSecret(Value);

impl References for OneSecret {
    fn config_map<'a>(&'a self, _: &'a str, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<Vec<u8>, ReferenceError>> {
        async { Err(ReferenceError::Absent) }.boxed()
    }

    fn secret<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<Secret, ReferenceError>> {
        let text = |value: &Value| ByteString(value.as_str().unwrap().as_bytes().to_vec());
        let data = self.0.as_object().unwrap().iter().map(|(key, value)| (key.clone(), text(value))).collect();
        let mut secret = Secret { data: Some(data), ..Secret::default() };
        secret.metadata.labels = Some([("printernizer.io/usage".to_owned(), "source".to_owned())].into());
        async { Ok(secret) }.boxed()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_found_before_the_host_of_its_service_and_in_another_region() {
    let (domain, region) = ("s3.farm.example".to_owned(), "eu-central-1".to_owned());
    let options = S3Options { domain: Some(domain.clone()), region: Some(region.clone()), ..S3Options::default() };
    let server = server(options).await;
    put(&server, None, "parts", "clip.gcode", b"G28").await;
    let directory = tempfile::tempdir().unwrap();
    let names = Arc::new(Here(Mutex::default()));
    let resolver: Arc<dyn Resolver> = names.clone();
    let files = Files::new(FilesConfig {
        directory: directory.path().to_owned(),
        cache_bytes: 1_000,
        max_age: Duration::MAX,
        limits: Limits::default(),
        networks: Networks::for_sources(Vec::new(), true),
        resolver,
        references: Arc::new(OneSecret(keys(FARM, &domain))),
    })
    .unwrap();
    let source = S3Source {
        bucket: "parts".into(),
        key: "clip.gcode".into(),
        endpoint: Some(format!("http://{domain}:{}", server.address().port())),
        region: Some(region),
        credentials_secret_ref: Some(SecretReference { name: "s3".into() }),
        ..S3Source::default()
    };
    let request = SourceRequest { namespace: "farm".into(), source: Source { s3: Some(source), ..Source::default() } };
    let file = files.ask(&request, Asked::default()).await.file.unwrap().unwrap();
    assert_eq!(file.sha256, sha256(b"G28"));
    assert_eq!(*names.0.lock().unwrap(), ["parts.s3.farm.example"]);
}
