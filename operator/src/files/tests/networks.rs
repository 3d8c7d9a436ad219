//! Which servers are connected to, whatever URLs, names and redirects say.

use std::collections::VecDeque;
use std::io;

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::super::resolve::Resolver;
use super::*;

/// A name server whose answers change: each is given once, and there are no others.
struct Changing(Mutex<VecDeque<Vec<&'static str>>>);

impl Resolver for Changing {
    fn resolve<'a>(&'a self, name: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        let answer = self.0.lock().unwrap().pop_front().ok_or_else(|| io::Error::other(format!("{name}: asked again")));
        let addresses =
            answer.map(|texts| texts.iter().map(|text| SocketAddr::new(text.parse().unwrap(), port)).collect());
        std::future::ready(addresses).boxed()
    }
}

#[tokio::test]
async fn a_name_is_judged_by_the_address_it_leads_to() {
    let address = serve(Router::new().route("/a", get(|| async { GCODE }))).await;
    let directory = TempDir::new().unwrap();
    let request = http(format!("http://localhost:{}/a", address.port()));
    assert!(files(&directory).fetch(&request, None).await.is_ok());
    let networks = Networks::for_sources(Vec::new(), false);
    let strict = Files::new(FilesConfig { networks, ..config(directory.path()) }).unwrap();
    let error = strict.fetch(&request, None).await.unwrap_err();
    let server = format!("localhost:{}", address.port());
    assert!(matches!(&error, FetchError::Address { host, .. } if *host == server), "{error:?}");
}

#[tokio::test]
async fn a_name_that_changes_its_address_after_the_check_changes_nothing() {
    let address = serve(Router::new().route("/a", get(|| async { GCODE }))).await;
    let directory = TempDir::new().unwrap();
    let fetch = async |answers: &[&[&'static str]]| {
        let resolver = Arc::new(Changing(Mutex::new(answers.iter().map(|answer| answer.to_vec()).collect())));
        let asked: Arc<dyn Resolver> = resolver.clone();
        let files = Files::new(FilesConfig { resolver: asked, ..config(directory.path()) }).unwrap();
        // No other name server knows this name.
        let fetched = files.fetch(&http(format!("http://files.invalid:{}/a", address.port())), None).await;
        (fetched.map(|file| file.sha256), resolver.0.lock().unwrap().len())
    };
    let (fetched, unasked) = fetch(&[&["127.0.0.1"], &["169.254.169.254"]]).await;
    assert_eq!((fetched.unwrap(), unasked), (sha256(GCODE), 1), "the name was resolved once");
    let (fetched, unasked) = fetch(&[&["169.254.169.254"], &["127.0.0.1"]]).await;
    assert_eq!((fetched.unwrap_err().reason(), unasked), (Reason::SourceForbidden, 1));
    // Of several addresses only the allowed one is tried.
    let (fetched, _) = fetch(&[&["10.0.0.1", "169.254.169.254", "127.0.0.1"]]).await;
    assert_eq!(fetched.unwrap(), sha256(GCODE));
    let (fetched, _) = fetch(&[&[]]).await;
    let error = fetched.unwrap_err();
    assert!(matches!(&error, FetchError::Unresolved { host, .. } if host == "files.invalid"), "{error:?}");
}

#[tokio::test]
async fn a_redirect_to_an_address_that_is_not_allowed_says_who_redirected_where_and_which_option_allows_it() {
    let away = || async { Redirect::temporary("http://10.0.0.1/a.gcode?signature=hidden") };
    let address = serve(Router::new().route("/a", get(away))).await;
    let directory = TempDir::new().unwrap();
    let error = files(&directory).fetch(&http(format!("http://{address}/a?signature=hidden")), None).await.unwrap_err();
    let told = crate::error::chain(&error);
    let expected = format!(
        "http://{address}/a redirects on: 10.0.0.1:80 may not be connected to: 10.0.0.1 is not in an allowed network; if it \
         should be, name its network in --source-networks of `printernizer run`"
    );
    assert_eq!(told, expected);
    assert_eq!((error.reason(), error.retry()), (Reason::SourceForbidden, Retry::Backoff));
}

#[tokio::test]
async fn addresses_written_in_odd_ways_are_judged_by_what_they_mean() {
    let directory = TempDir::new().unwrap();
    let networks = Networks::for_sources(Vec::new(), false);
    let files = Files::new(FilesConfig { networks, ..config(directory.path()) }).unwrap();
    for host in [
        "0x7f.1",
        "2130706433",
        "127.1",
        "0177.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "0251.0376.0251.0376",
        "169.254.169.254",
        "[fe80::1]",
        "[2002:a9fe:a9fe::]",
        "[2001:0:a9fe:a9fe::]",
        "0.0.0.0",
        "10.0.0.1",
        "\u{ff11}\u{ff12}\u{ff17}.0.0.1",
    ] {
        let error = files.fetch(&http(format!("http://{host}/a")), None).await.unwrap_err();
        assert!(matches!(error, FetchError::Address { .. }), "{host}: {error:?}");
        assert_eq!(error.reason(), Reason::SourceForbidden);
    }
    for (url, advice) in [
        ("http://user:hidden@files.example/a", "Secret"),
        ("https://127.0.0.1@files.example/a", "Secret"),
        ("file:///etc/passwd", "http and https"),
        ("ftp://files.example/a", "http and https"),
    ] {
        let error = files.fetch(&http(url), None).await.unwrap_err();
        assert_eq!((error.reason(), error.retry()), (Reason::NotSupported, Retry::AfterChange), "{url}");
        assert!(error.to_string().contains(advice) && !error.to_string().contains("hidden"), "{error}");
    }
}
