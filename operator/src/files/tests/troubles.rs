//! What a person is told where a server gives nothing: each kind of trouble with its own words, and the server.

use super::*;

/// Accepts connections and says nothing.
async fn silent() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            kept.push(stream);
        }
    });
    address
}

#[tokio::test]
async fn servers_that_give_nothing_are_told_apart() {
    let web = serve(Router::new().route("/a", get(|| async { StatusCode::BAD_REQUEST }))).await;
    let (mute, chatty) = (silent().await, serve_bytes("not http at all").await);
    let cut = serve_bytes("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nG28 ; only the beginning").await;
    let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
    let directory = TempDir::new().unwrap();
    let patient = Files::new(config(directory.path())).unwrap();
    let (connect_timeout, stall_timeout) = (Duration::from_secs(3), Duration::from_secs(4));
    let limits = Limits { connect_timeout, stall_timeout, ..config(directory.path()).limits };
    let hasty = Files::new(FilesConfig { limits, ..config(directory.path()) }).unwrap();
    for (scheme, server, words) in [
        ("http", nobody, "refuses the connection; check that the server is up, and its port: Connection refused"),
        ("http", mute, "sent nothing for 4s"),
        ("https", mute, "within 3s; check that the server is up, and that no firewall"),
        ("https", web, "does not speak TLS; write the port at which it does, or http://"),
        ("http", chatty, "is no HTTP; check the port, and write https:// if it speaks TLS"),
        ("http", cut, "cannot be read to the end: the connection to"),
        ("http", web, "answers HTTP 400; if that port speaks TLS, write https://"),
    ] {
        let files = if server == mute { &hasty } else { &patient };
        let error = files.fetch(&http(format!("{scheme}://{server}/a?signature=hidden")), None).await.unwrap_err();
        assert_eq!((error.reason(), error.retry()), (Reason::SourceUnreachable, Retry::Backoff), "{error:?}");
        let told = crate::error::chain(&error);
        assert!(told.contains(words) && told.contains(&server.to_string()), "{scheme}://{server}: {told}");
        assert!(told.starts_with(&format!("{scheme}://{server}/a ")) && !told.contains("hidden"), "{told}");
    }
}
