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
            "/parts/page" => (StatusCode::NOT_FOUND, "<html>not S3 at all</html>").into_response(),
            "/parts/json" => (StatusCode::NOT_FOUND, "{\"Code\": \"NoSuchBucket\"}").into_response(),
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
        ("led-away", Reason::SourceForbidden, "another region or address"),
        ("busy", Reason::SourceUnreachable, "503"),
        ("html", Reason::SourceUnreachable, "S3 server"),
        ("page", Reason::FileNotFound, "that an S3 server is at the endpoint"),
        ("json", Reason::FileNotFound, "no such bucket"),
        ("large", Reason::FileTooLarge, "100 bytes"),
        ("empty", Reason::FileEmpty, "upload it again"),
    ] {
        let error = files.fetch(&wanted(object(address.port(), key)), None).await.unwrap_err();
        assert_eq!(error.reason(), reason, "{key}: {error}");
        let text = crate::error::chain(&error);
        assert!(text.contains(advice), "{key}: {text}");
        let what = format!("the object {key:?} in the bucket \"parts\" at 127.0.0.1:{} ", address.port());
        assert!(text.starts_with(&what) && !text.contains("forcePathStyle: true"), "{key}: {text}");
        assert!(!format!("{text} {error:?}").contains("hidden"), "{key}: {error:?}");
        assert_eq!(names_in(&directory), Vec::<String>::new(), "{key}");
    }
    let nobody = files.fetch(&wanted(object(9, "a")), None).await.unwrap_err();
    let text = format!("{} {nobody:?}", crate::error::chain(&nobody));
    assert!(nobody.reason() == Reason::SourceUnreachable && !text.contains("Signature"), "{text}");
}

#[tokio::test]
async fn where_a_bucket_may_have_no_host_of_its_own_it_is_said_how_to_ask_without_one() {
    let missing = "<Error><Code>NoSuchBucket</Code></Error>";
    let server = serve(Router::new().fallback(move || async move { (StatusCode::NOT_FOUND, missing) })).await;
    let told = async |known: bool, endpoint: &str, hosts: &str| {
        let directory = TempDir::new().unwrap();
        let objects = objects();
        objects.write_secret("s3", &[("accessKeyID", "AKID"), ("secretAccessKey", "k"), ("allowedHosts", hosts)]);
        let resolver: Arc<dyn Resolver> = if known { Arc::new(Here) } else { Arc::new(Nowhere) };
        let config = FilesConfig { references: objects, resolver, ..config(directory.path()) };
        let endpoint = Some(format!("{endpoint}:{}", server.port()));
        let request = wanted(S3Source { endpoint, ..object(0, "clip.gcode") });
        crate::error::chain(&Files::new(config).unwrap().fetch(&request, None).await.unwrap_err())
    };
    let advice = "set source.s3.forcePathStyle: true";
    let unknown = told(false, "http://s3.farm.example", "s3.farm.example").await;
    assert!(
        unknown.contains("the name parts.s3.farm.example cannot be resolved") && unknown.contains(advice),
        "{unknown}"
    );
    let no_bucket = told(true, "http://s3.farm.example", "s3.farm.example").await;
    assert!(no_bucket.contains("NoSuchBucket") && no_bucket.contains(advice), "{no_bucket}");
    let in_path = told(true, "http://127.0.0.1", "127.0.0.1").await;
    assert!(in_path.contains("NoSuchBucket") && !in_path.contains(advice), "{in_path}");
    // The host that is asked is the bucket's; naming the service's is enough.
    let port = server.port();
    let not_named = told(true, "http://s3.farm.example", "files.example").await;
    let hosts = format!("may not be used for parts.s3.farm.example:{port}, which");
    let names =
        format!("add parts.s3.farm.example:{port} there if it may be, or s3.farm.example:{port} for all buckets");
    assert!(not_named.contains(&hosts) && not_named.contains(&names), "{not_named}");
}
