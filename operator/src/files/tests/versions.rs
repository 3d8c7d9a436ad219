//! Files that were refused and are asked for again: their server is asked whether there is another one by now. And files
//! whose end nobody can know.

use super::*;

/// Answers each connection with what `answer` makes of its request, in small letters.
async fn serve_texts(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let count = stream.read(&mut request).await.unwrap();
            let text = answer(&String::from_utf8_lossy(&request[..count]).to_lowercase());
            let _written = stream.write_all(text.as_bytes()).await;
        }
    });
    address
}

fn unless(version: Option<Version>) -> Asked {
    Asked { expected: None, unless: Some(version.expect("the server named one")) }
}

#[tokio::test]
async fn a_version_that_was_refused_is_not_taken_in_again_until_there_is_another() {
    for (names, asks) in [("ETag: W/\"one\"", "if-none-match: w/\"one\""), ("ETag: \"one\"", "if-none-match: \"one\"")]
    {
        let is_changed = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let changed = Arc::clone(&is_changed);
        let address = serve_texts(move |request| {
            if changed.load(Ordering::SeqCst) {
                "HTTP/1.1 200 OK\r\nETag: \"two\"\r\nContent-Length: 7\r\n\r\nanother".to_owned()
            } else if request.contains(asks) {
                format!("HTTP/1.1 304 Not Modified\r\n{names}\r\n\r\n")
            } else {
                format!("HTTP/1.1 200 OK\r\n{names}\r\nContent-Length: 3\r\n\r\nG28")
            }
        })
        .await;
        let directory = TempDir::new().unwrap();
        let files = files(&directory);
        let request = http(format!("http://{address}/a"));
        let Fetched { file, version } = files.ask(&request, Asked::default()).await;
        assert_eq!(file.unwrap().unwrap().sha256, sha256(b"G28"), "{names}");
        let again = files.ask(&request, unless(version.clone())).await;
        assert!(again.file.unwrap().is_none(), "{names}");
        is_changed.store(true, Ordering::SeqCst);
        let other = files.ask(&request, unless(version)).await;
        assert_eq!(other.file.unwrap().unwrap().sha256, sha256(b"another"), "{names}");
        assert_ne!(other.version, again.version);
    }
}

/// A server asked for what was modified since a date gives nothing that is older (RFC 9110, 13.1.3).
#[tokio::test]
async fn a_version_known_by_its_date_alone_is_told_from_newer_and_older_ones_without_its_bytes() {
    const DATES: [&str; 3] =
        ["Sat, 21 Nov 2026 10:00:00 GMT", "Sun, 22 Nov 2026 10:00:00 GMT", "Mon, 01 Jun 2026 10:00:00 GMT"];
    for (at, changes) in [(1, true), (2, true), (0, false)] {
        let is_at = Arc::new(AtomicUsize::new(0));
        let (now, asked) = (Arc::clone(&is_at), AtomicUsize::new(0));
        let address = serve_texts(move |request| {
            let at = now.load(Ordering::SeqCst);
            let head = format!("HTTP/1.1 200 OK\r\nLast-Modified: {}\r\nContent-Length: 3\r\n\r\n", DATES[at]);
            let since = DATES.iter().position(|date| request.contains(&date.to_lowercase()));
            // What is not newer is kept back, as most servers do. The same file again never comes to its end.
            match (since, asked.fetch_add(1, Ordering::SeqCst)) {
                (Some(since), _) if at != 1 || since == 1 => "HTTP/1.1 304 Not Modified\r\n\r\n".to_owned(),
                (_, 0) => head + "G28",
                _ if at == 0 => head + "G",
                _ => head + "G29",
            }
        })
        .await;
        let directory = TempDir::new().unwrap();
        let files = files(&directory);
        let request = http(format!("http://{address}/a"));
        let Fetched { file, version } = files.ask(&request, Asked::default()).await;
        assert_eq!(file.unwrap().unwrap().sha256, sha256(b"G28"));
        is_at.store(at, Ordering::SeqCst);
        let again = files.ask(&request, unless(version.clone())).await;
        let file = again.file.unwrap();
        assert_eq!(file.map(|file| file.sha256), changes.then(|| sha256(b"G29")), "{}", DATES[at]);
        assert_eq!(again.version != version, changes);
    }
}

#[tokio::test]
async fn what_is_not_the_file_that_was_meant_names_its_version_too() {
    let address = serve_texts(|_| "HTTP/1.1 200 OK\r\nETag: \"one\"\r\nContent-Length: 3\r\n\r\nG28".to_owned()).await;
    let directory = TempDir::new().unwrap();
    let asked = testing::asked(Some(&sha256(b"another")));
    let Fetched { file, version } = files(&directory).ask(&http(format!("http://{address}/a")), asked).await;
    let error = file.unwrap_err();
    assert!(error.is_of_the_file() && version.is_some(), "{error:?} {version:?}");
    assert_eq!(error.retry(), Retry::Seldom);
}

#[tokio::test]
async fn who_says_that_nothing_is_new_without_being_asked_has_sent_no_file() {
    let address = serve_texts(|_| "HTTP/1.1 304 Not Modified\r\n\r\n".to_owned()).await;
    let directory = TempDir::new().unwrap();
    let error = files(&directory).fetch(&http(format!("http://{address}/a")), None).await.unwrap_err();
    assert_eq!(error.reason(), Reason::SourceUnreachable, "{error:?}");
}

#[tokio::test]
async fn a_file_whose_end_is_where_the_connection_ends_is_taken_by_its_digest_only() {
    for head in ["HTTP/1.1 200 OK", "HTTP/1.0 200 OK", "HTTP/1.1 200 OK\r\nConnection: close"] {
        let address = serve_texts(move |_| format!("{head}\r\n\r\n{}", String::from_utf8_lossy(GCODE))).await;
        let directory = TempDir::new().unwrap();
        let (files, request) = (files(&directory), http(format!("http://{address}/a")));
        let error = files.fetch(&request, None).await.unwrap_err();
        assert_eq!((error.reason(), error.retry()), (Reason::FileLengthUnknown, Retry::Backoff), "{head}: {error}");
        assert!(error.to_string().contains("spec.sha256") && error.to_string().contains("Content-Length"), "{error}");
        assert_eq!(names_in(&directory), Vec::<String>::new());
        assert!(files.fetch(&request, Some(&sha256(GCODE))).await.is_ok(), "{head}");
        // The same, broken off.
        let error = files.fetch(&request, Some(&sha256(b"G28 ; home\nM84\n"))).await.unwrap_err();
        assert_eq!(error.reason(), Reason::DigestMismatch, "{head}: {error}");
    }
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nG28\r\n0\r\n\r\n";
    let address = serve_texts(move |_| chunked.to_owned()).await;
    let directory = TempDir::new().unwrap();
    files(&directory).fetch(&http(format!("http://{address}/a")), None).await.unwrap();
}
