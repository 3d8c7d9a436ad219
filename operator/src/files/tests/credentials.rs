//! Who is shown the credentials of a Secret.

use super::*;

#[tokio::test]
async fn credentials_do_not_follow_a_redirect_to_another_host() {
    type Seen = Arc<Mutex<Vec<Option<String>>>>;
    fn note(seen: &Seen, headers: &HeaderMap) {
        let value = headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
        seen.lock().unwrap().push(value);
    }
    let seen = Seen::default();
    let file = |State(seen): State<Seen>, headers: HeaderMap| async move {
        note(&seen, &headers);
        GCODE
    };
    let other = serve(Router::new().route("/a", get(file)).with_state(Arc::clone(&seen))).await;
    let target = format!("http://localhost:{}/a", other.port());
    let forward = move |State(seen): State<Seen>, headers: HeaderMap| async move {
        note(&seen, &headers);
        Response::from(Redirect::temporary(&target).into_response())
    };
    let first = serve(Router::new().route("/a", get(forward)).with_state(Arc::clone(&seen))).await;
    let directory = TempDir::new().unwrap();
    let objects = objects();
    let files = Files::new(FilesConfig { references: objects.clone(), ..config(directory.path()) }).unwrap();
    let credentials_secret_ref = Some(SecretReference { name: "files".into() });
    let request =
        from(HttpSource { url: format!("http://{first}/a"), credentials_secret_ref, ..HttpSource::default() });
    let allow = |hosts: &str| {
        objects.write_secret("files", &[("username", "farm"), ("password", "secret"), ("allowedHosts", hosts)]);
    };
    let missing = files.fetch(&request, None).await.unwrap_err();
    assert_eq!((missing.reason(), missing.retry()), (Reason::SecretNotFound, Retry::Soon), "{missing}");
    allow("127.0.0.1");
    files.fetch(&request, None).await.unwrap();
    let basic = Some("Basic ZmFybTpzZWNyZXQ=".to_owned());
    assert_eq!(*seen.lock().unwrap(), [basic.clone(), None]);
    // The Secret is read anew each time.
    allow("127.0.0.1, localhost");
    files.fetch(&request, None).await.unwrap();
    assert_eq!(seen.lock().unwrap()[2..], [basic.clone(), basic]);
    allow("files.example");
    let error = files.fetch(&request, None).await.unwrap_err();
    assert_eq!((error.reason(), error.retry()), (Reason::SourceForbidden, Retry::Soon), "{error}");
    assert!(
        error.to_string().contains("Secret files") && error.to_string().contains(&format!("add {first}")),
        "{error}"
    );
    assert_eq!(seen.lock().unwrap().len(), 4, "nobody was asked");
    objects.write_secret("files", &[("token", "t0k3n"), ("allowedHosts", "127.0.0.1")]);
    files.fetch(&request, None).await.unwrap();
    assert_eq!(seen.lock().unwrap()[4..], [Some("Bearer t0k3n".to_owned()), None]);
}

#[tokio::test]
async fn a_host_that_refuses_after_a_redirect_is_not_said_to_have_refused_credentials_it_never_saw() {
    let other = serve(Router::new().route("/a", get(|| async { StatusCode::UNAUTHORIZED }))).await;
    let target = format!("http://localhost:{}/a?signature=hidden", other.port());
    let first = serve(Router::new().route("/a", get(move || async move { Redirect::temporary(&target) }))).await;
    let directory = TempDir::new().unwrap();
    let objects = objects();
    let hosts = format!("127.0.0.1:{}", first.port());
    objects.write_secret("files", &[("username", "farm"), ("password", "hidden"), ("allowedHosts", &hosts)]);
    let files = Files::new(FilesConfig { references: objects, ..config(directory.path()) }).unwrap();
    let credentials_secret_ref = Some(SecretReference { name: "files".into() });
    let request =
        from(HttpSource { url: format!("http://{first}/a"), credentials_secret_ref, ..HttpSource::default() });
    let error = files.fetch(&request, None).await.unwrap_err();
    let (told, host) = (crate::error::chain(&error), format!("localhost:{}", other.port()));
    assert!(
        told.starts_with(&format!("http://{host}/a refuses access (HTTP 401); http://{first}/a redirects")),
        "{told}"
    );
    assert!(told.contains(&format!("were not sent to {host}")) && told.contains(&format!("add {host}")), "{told}");
    assert!(!told.contains("correct username") && !told.contains("hidden"), "{told}");
}

#[tokio::test]
async fn who_is_refused_hears_which_secret_to_correct() {
    let address = serve(Router::new().route("/a", get(|| async { StatusCode::UNAUTHORIZED }))).await;
    let directory = TempDir::new().unwrap();
    let objects = objects();
    objects.write_secret("files", &[("token", "hidden"), ("allowedHosts", "127.0.0.1")]);
    let files = Files::new(FilesConfig { references: objects, ..config(directory.path()) }).unwrap();
    let url = format!("http://{address}/a");
    let anonymous = files.fetch(&http(url.clone()), None).await.unwrap_err();
    assert!(anonymous.to_string().contains("credentialsSecretRef"), "{anonymous}");
    let credentials_secret_ref = Some(SecretReference { name: "files".into() });
    let source = from(HttpSource { url, credentials_secret_ref, ..HttpSource::default() });
    let refused = files.fetch(&source, None).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::SourceForbidden);
    assert!(refused.to_string().contains("Secret files") && !format!("{refused:?}").contains("hidden"), "{refused:?}");
}
