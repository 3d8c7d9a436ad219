//! Print files from a web server that others wrote, nginx with TLS: behind a password, under a private authority, broken
//! off on the way, and with everything people get wrong. Each mistake has its reason and heals when it is corrected.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod sources;
mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use printernizer_crds::print_job::Phase;
use printernizer_crds::{ConditionType, Reason};
use printernizer_e2e::servers::{Certificate, WebServer};
use printernizer_simulator::Config;
use serde_json::{Value, json};
use sources::{
    accepted, ask, change_secret, everything_said, printed, refused, sha256, with, write_authority, write_secret,
};
use support::{PRINT, SOON, Shop, part};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const USER: &str = "farm";
const PASSWORD: &str = "pass-word-of-a-test";
const METADATA: &str = "https://169.254.169.254/latest/meta-data";

async fn server() -> (WebServer, Certificate) {
    let certificate = Certificate::new(&[]).unwrap();
    (WebServer::start(&certificate, (USER, PASSWORD), METADATA).await.unwrap(), certificate)
}

/// A source on a server at this address, with the authority of the ConfigMap `farm-ca` and these further options.
fn http(address: SocketAddr, path: &str, more: Value) -> Value {
    let authority = json!({ "name": "farm-ca", "key": "ca.crt" });
    let url = format!("https://{address}/{path}");
    json!({ "http": with(json!({ "url": url, "caBundleConfigMapRef": authority }), more) })
}

fn with_secret(name: &str) -> Value {
    json!({ "credentialsSecretRef": { "name": name } })
}

fn login(hosts: &str) -> Value {
    json!({ "username": USER, "password": PASSWORD, "allowedHosts": hosts })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_behind_a_password_and_a_private_authority_is_printed_also_when_its_source_is_gone() {
    let mut shop = Shop::empty("files-http", Config::prusalink(1).time_scale(20.0)).await;
    shop.farm.add_printers().await.unwrap();
    shop.operate(&[]).await;
    let (server, certificate) = server().await;
    let bytes = part(PRINT + 1);
    server.put("closed/clip.gcode", &bytes).unwrap();
    write_secret(&shop, "files", login("127.0.0.1")).await;
    write_authority(&shop, "farm-ca", &certificate.authority).await;
    let source = http(server.address(), "closed/clip.gcode", with_secret("files"));
    ask(&shop, "clip", &source, json!({})).await;
    assert_eq!(accepted(&shop, "clip").await, sha256(&bytes));
    let said = everything_said(&shop).await;
    assert!(!said.contains(PASSWORD), "{said}");
    // It waits for a bed that nobody has confirmed.
    shop.job_says("clip", ConditionType::Scheduled, Reason::WaitingForBed).await;

    // What was fetched stays, checked and on disk, over a restart of the operator and without its source.
    shop.close_operator().await;
    drop(server);
    shop.farm.change_job("clip", json!({ "priority": 5 })).await.unwrap();
    shop.operate(&[]).await;
    shop.clear_all().await;
    shop.phase("clip", Phase::Printing).await;
    assert_eq!(printed(&shop), [sha256(&bytes)]);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_source_is_said_and_heals_when_it_is_corrected() {
    let mut shop = Shop::empty("files-wrong", Config::prusalink(1)).await;
    let (server, certificate) = server().await;
    let at = server.address();
    let good = part(PRINT);
    server.put("closed/clip.gcode", &good).unwrap();
    server.put("open/clip.gcode", &good).unwrap();
    server.put("open/empty.gcode", b"").unwrap();
    server.put("open/page.gcode", b"<!DOCTYPE html>\n<html><body>Please log in</body></html>\n").unwrap();
    server.put("open/cut.gcode", &good[..good.len() - 60]).unwrap();
    server.put("open/other.gcode", &part(PRINT + 60)).unwrap();
    server.put_sparse("open/large.gcode", 600 * 1024 * 1024).unwrap();
    write_authority(&shop, "farm-ca", &certificate.authority).await;
    for name in ["unlabeled", "keyless", "elsewhere", "wrong"] {
        write_secret(&shop, name, login("127.0.0.1")).await;
    }
    change_secret(&shop, "unlabeled", json!({ "metadata": { "labels": { "printernizer.io/usage": "printer" } } }))
        .await;
    change_secret(&shop, "keyless", json!({ "data": { "allowedHosts": null } })).await;
    change_secret(&shop, "elsewhere", json!({ "stringData": { "allowedHosts": "files.example.com" } })).await;
    change_secret(&shop, "wrong", json!({ "stringData": { "password": "another" } })).await;
    let closed = |secret: &str| http(at, "closed/clip.gcode", with_secret(secret));
    let open = |path: &str| http(at, path, json!({}));
    let bundle = |name: &str| json!({ "caBundleConfigMapRef": { "name": name, "key": "ca.crt" } });
    let nothing = json!({});
    for (name, source) in [
        ("secret", closed("missing")),
        ("label", closed("unlabeled")),
        ("key", closed("keyless")),
        ("hosts", closed("elsewhere")),
        ("password", closed("wrong")),
        ("anonymous", open("closed/clip.gcode")),
        ("bundle", http(at, "open/clip.gcode", bundle("other-ca"))),
        ("authority", http(at, "open/clip.gcode", json!({ "caBundleConfigMapRef": null }))),
        ("missing", open("open/missing.gcode")),
        ("empty", open("open/empty.gcode")),
        ("page", open("open/page.gcode")),
        ("cut", open("open/cut.gcode")),
        ("large", open("open/large.gcode")),
        ("away", open("led/away")),
        ("around", open("led/around")),
    ] {
        ask(&shop, name, &source, nothing.clone()).await;
    }
    ask(&shop, "digest", &open("open/other.gcode"), json!({ "sha256": sha256(&good) })).await;
    shop.operate(&[]).await;

    for (name, reason, advice) in [
        ("secret", Reason::SecretNotFound, "create the Secret missing"),
        ("label", Reason::SecretNotLabeled, "label --overwrite secret unlabeled printernizer.io/usage=source"),
        ("key", Reason::SecretKeyMissing, "allowedHosts"),
        ("hosts", Reason::SourceForbidden, &format!("add {at} there")),
        ("password", Reason::SourceForbidden, "Secret wrong"),
        ("anonymous", Reason::SourceForbidden, "credentialsSecretRef"),
        ("bundle", Reason::CertificateNotTrusted, "other-ca"),
        ("authority", Reason::CertificateNotTrusted, "name it in caBundleConfigMapRef"),
        ("missing", Reason::FileNotFound, "missing.gcode does not exist"),
        ("empty", Reason::FileEmpty, "empty.gcode is empty"),
        ("page", Reason::NotAPrintFile, "web page"),
        ("cut", Reason::FileCorrupt, "upload it again"),
        ("large", Reason::FileTooLarge, "536870912 bytes"),
        ("away", Reason::SourceForbidden, "led/away redirects on: 169.254.169.254:443"),
        ("around", Reason::SourceForbidden, "more than 5 redirects"),
        ("digest", Reason::DigestMismatch, &sha256(&good)),
    ] {
        refused(&shop, name, reason, advice).await;
    }

    // A server that names versions is asked for another one, not for the same bytes again.
    let asked_again = printernizer_e2e::wait_until("it is asked whether page.gcode has changed", SOON, async || {
        let asked = server.asked().map_err(|e| e.to_string())?;
        let of_page: Vec<_> = asked.into_iter().filter(|line| line.contains("page.gcode")).collect();
        if of_page.iter().any(|line| line.contains(" 304 ")) { Ok(of_page) } else { Err(of_page.join("\n")) }
    });
    let whole = asked_again.await.unwrap().iter().filter(|line| line.contains(" 200 ")).count();
    assert_eq!(whole, 1);

    write_secret(&shop, "missing", login("127.0.0.1")).await;
    change_secret(&shop, "unlabeled", json!({ "metadata": { "labels": { "printernizer.io/usage": "source" } } })).await;
    for name in ["keyless", "elsewhere"] {
        change_secret(&shop, name, json!({ "stringData": { "allowedHosts": format!("files.example.com, {at}") } }))
            .await;
    }
    change_secret(&shop, "wrong", json!({ "stringData": { "password": PASSWORD } })).await;
    write_authority(&shop, "other-ca", &certificate.authority).await;
    for name in ["missing", "empty", "page", "cut", "large", "other"] {
        server.put(&format!("open/{name}.gcode"), &good).unwrap();
    }
    // Whoever corrects the job itself is not kept waiting.
    for (name, source) in [
        ("anonymous", json!({ "http": with_secret("wrong") })),
        ("authority", json!({ "http": bundle("farm-ca") })),
        ("away", json!({ "http": { "url": format!("https://{at}/open/clip.gcode") } })),
        ("around", json!({ "http": { "url": format!("https://{at}/open/clip.gcode") } })),
    ] {
        shop.farm.change_job(name, json!({ "source": source })).await.unwrap();
    }
    for name in [
        "anonymous",
        "authority",
        "away",
        "around",
        "secret",
        "label",
        "key",
        "hosts",
        "password",
        "bundle",
        "missing",
        "empty",
        "page",
        "cut",
        "large",
        "digest",
    ] {
        assert_eq!(accepted(&shop, name).await, sha256(&good), "{name}");
    }
    let said = everything_said(&shop).await;
    assert!(!said.contains(PASSWORD), "{said}");
    shop.close().await;
}

/// Passes connections on to `target`; of the first `cuts` it ends each after so many bytes of the answer.
async fn cutting(target: SocketAddr, cuts: usize, after_bytes: u64) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let cut = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&cut);
    tokio::spawn(async move {
        let mut number = 0;
        while let Ok((client, _)) = listener.accept().await {
            number += 1;
            let (limit, counter) = (if number <= cuts { after_bytes } else { u64::MAX }, Arc::clone(&counter));
            tokio::spawn(async move {
                let server = TcpStream::connect(target).await.unwrap();
                let ((mut from_client, mut to_client), (from_server, mut to_server)) =
                    (client.into_split(), server.into_split());
                let asking = tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
                let passed = tokio::io::copy(&mut from_server.take(limit), &mut to_client).await;
                if passed.is_ok_and(|bytes| bytes == limit) {
                    counter.fetch_add(1, Ordering::SeqCst);
                }
                let _closed = to_client.shutdown().await;
                asking.abort();
            });
        }
    });
    (address, cut)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_transfer_breaks_off_is_continued_and_whole() {
    let mut shop = Shop::empty("files-cut", Config::prusalink(1)).await;
    let (server, certificate) = server().await;
    // A part of 3 MB: comments before it that no two of are alike.
    let comments = (0..60_000).map(|n| format!("; {n:046}\n")).collect::<Vec<_>>().concat();
    let bytes = [&part(PRINT)[..48], comments.as_bytes(), &part(PRINT)[48..]].concat();
    server.put("open/clip.gcode", &bytes).unwrap();
    let (proxy, cut) = cutting(server.address(), 2, 1_000_000).await;
    write_authority(&shop, "farm-ca", &certificate.authority).await;
    shop.operate(&[]).await;
    ask(&shop, "clip", &http(proxy, "open/clip.gcode", json!({})), json!({})).await;
    assert_eq!(accepted(&shop, "clip").await, sha256(&bytes));
    assert_eq!(cut.load(Ordering::SeqCst), 2);
    let asked = server.asked().unwrap();
    let continued = asked.iter().filter(|line| line.contains(" 206 bytes=")).count();
    assert_eq!((asked.len(), continued), (3, 2), "{asked:?}");
    shop.close().await;
}
