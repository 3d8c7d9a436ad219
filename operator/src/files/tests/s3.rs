//! Objects in S3 from a server that answers as the S3 API reference says. A real server is asked in
//! `tests/process_sources_s3.rs`.

use axum::extract::Request;

use super::*;

fn object(port: u16, key: &str) -> S3Source {
    S3Source {
        bucket: "parts".into(),
        key: key.into(),
        endpoint: Some(format!("http://127.0.0.1:{port}")),
        region: Some("eu-central-1".into()),
        credentials_secret_ref: Some(SecretReference { name: "s3".into() }),
        ..S3Source::default()
    }
}

fn wanted(s3: S3Source) -> SourceRequest {
    SourceRequest { namespace: "farm".to_owned(), source: Source { s3: Some(s3), ..Source::default() } }
}

/// Files, and the Secret `s3` with these hosts.
fn shop(directory: &TempDir, hosts: &str) -> Files {
    let objects = objects();
    let keys = [("accessKeyID", "AKID"), ("secretAccessKey", "hidden"), ("sessionToken", "t/=hidden")];
    objects.write_secret("s3", &[&keys[..], &[("allowedHosts", hosts)]].concat());
    Files::new(FilesConfig { references: objects, ..config(directory.path()) }).unwrap()
}

#[tokio::test]
async fn an_object_is_asked_for_with_a_signature_and_without_the_keys() {
    type Seen = Arc<Mutex<Vec<(String, HeaderMap)>>>;
    let seen = Seen::default();
    let answer = |State(seen): State<Seen>, request: Request| async move {
        seen.lock().unwrap().push((request.uri().to_string(), request.headers().clone()));
        GCODE
    };
    let address = serve(Router::new().fallback(answer).with_state(Arc::clone(&seen))).await;
    let directory = TempDir::new().unwrap();
    let files = shop(&directory, "127.0.0.1");
    let file = files.fetch(&wanted(object(address.port(), "2026/a b.gcode")), None).await.unwrap();
    assert_eq!(file.sha256, sha256(GCODE));
    let anonymous = S3Source { credentials_secret_ref: None, ..object(address.port(), "open.gcode") };
    files.fetch(&wanted(anonymous), None).await.unwrap();
    let seen = seen.lock().unwrap();
    let (signed, headers) = &seen[0];
    assert!(signed.starts_with("/parts/2026/a%20b.gcode?X-Amz-Algorithm=AWS4-HMAC-SHA256"), "{signed}");
    assert!(signed.contains("AKID%2F") && signed.contains("%2Feu-central-1%2Fs3%2Faws4_request"), "{signed}");
    assert!(signed.contains("X-Amz-Security-Token=t%2F%3Dhidden") && signed.contains("X-Amz-Signature="), "{signed}");
    assert!(!signed.replace("t%2F%3Dhidden", "").contains("hidden") && !headers.contains_key("authorization"));
    assert_eq!(seen[1].0, "/parts/open.gcode", "without a Secret nothing is signed");
}

#[tokio::test]
async fn keys_are_used_for_the_hosts_their_secret_names_only() {
    let address = serve(Router::new().fallback(|| async { GCODE })).await;
    let directory = TempDir::new().unwrap();
    let request = wanted(object(address.port(), "a"));
    for (hosts, allowed) in [
        ("127.0.0.1".to_owned(), true),
        (format!("127.0.0.1:{}", address.port()), true),
        ("127.0.0.1:1".to_owned(), false),
        ("s3.example".to_owned(), false),
    ] {
        let fetched = shop(&directory, &hosts).fetch(&request, None).await;
        assert_eq!(fetched.is_ok(), allowed, "{hosts}: {fetched:?}");
    }
}

#[tokio::test]
async fn what_a_server_says_against_a_request_is_said_and_no_signature_with_it() {
    let error = |status: u16, code: &str| {
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>X-Amz-Signature=hidden\
             </Message><StringToSign>hidden</StringToSign></Error>"
        );
        (StatusCode::from_u16(status).unwrap(), [("x-amz-bucket-region", "eu-west-1")], body).into_response()
    };
    let answer = move |request: Request| async move {
        match request.uri().path() {
            "/parts/missing" => error(404, "NoSuchKey"),
            "/parts/bucket" => error(404, "NoSuchBucket"),
            "/parts/denied" => error(403, "AccessDenied"),
            "/parts/id" => error(403, "InvalidAccessKeyId"),
            "/parts/secret" => error(403, "SignatureDoesNotMatch"),
            "/parts/skewed" => error(403, "RequestTimeTooSkewed"),
            "/parts/late" => {
                let mut answer = error(403, "AccessDenied");
                let date = "Sat, 21 Nov 2020 10:00:00 GMT".parse().unwrap();
                answer.headers_mut().insert(header::DATE, date);
                answer
            }
            "/parts/moved" => error(301, "PermanentRedirect"),
            "/parts/led-away" => Redirect::temporary("http://169.254.169.254/a").into_response(),
            "/parts/busy" => error(503, "SlowDown"),
            "/parts/html" => (StatusCode::BAD_REQUEST, "<html>not S3 at all</html>").into_response(),
            "/parts/large" => vec![b'G'; 101].into_response(),
            _ => "".into_response(),
        }
    };
    let address = serve(Router::new().fallback(answer)).await;
    let directory = TempDir::new().unwrap();
    let files = shop(&directory, "127.0.0.1");
    for (key, reason, advice) in [
        ("missing", Reason::FileNotFound, "correct the key"),
        ("bucket", Reason::FileNotFound, "no such bucket"),
        ("denied", Reason::SourceForbidden, "s3:GetObject"),
        ("id", Reason::SourceForbidden, "accessKeyID"),
        ("secret", Reason::SourceForbidden, "secretAccessKey"),
        ("skewed", Reason::SourceForbidden, "clocks"),
        ("late", Reason::SourceForbidden, "clocks"),
        ("moved", Reason::SourceForbidden, "eu-west-1"),
        ("led-away", Reason::SourceForbidden, "forcePathStyle"),
        ("busy", Reason::SourceUnreachable, "503"),
        ("html", Reason::SourceUnreachable, "S3 server"),
        ("large", Reason::FileTooLarge, "100 bytes"),
        ("empty", Reason::FileEmpty, "upload it again"),
    ] {
        let error = files.fetch(&wanted(object(address.port(), key)), None).await.unwrap_err();
        assert_eq!(error.reason(), reason, "{key}: {error}");
        let text = crate::error::chain(&error);
        assert!(text.contains(advice) && text.contains(&format!("{key:?}")), "{key}: {text}");
        assert!(!format!("{text} {error:?}").contains("hidden"), "{key}: {error:?}");
        assert_eq!(names_in(&directory), Vec::<String>::new(), "{key}");
    }
    let nobody = files.fetch(&wanted(object(9, "a")), None).await.unwrap_err();
    let text = format!("{} {nobody:?}", crate::error::chain(&nobody));
    assert!(nobody.reason() == Reason::SourceUnreachable && !text.contains("Signature"), "{text}");
}
