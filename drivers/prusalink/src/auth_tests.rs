//! The login against the published vectors and against the two servers' challenges.

use super::*;

fn challenge(text: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(text));
    headers
}

fn auth(username: &str, password: &str) -> Auth {
    Auth::new(Credentials { username: username.into(), password: password.to_owned().into() })
}

fn header_after(auth: &mut Auth, text: &'static str, path: &str) -> String {
    let verdict = auth.learn(Used::Nothing, StatusCode::UNAUTHORIZED, &challenge(text), Instant::now());
    assert_eq!(verdict, Verdict::TryAgain);
    let (used, header) = auth.header(&Method::GET, path).unwrap();
    assert_eq!(used, Used::Digest);
    header.unwrap().1.to_str().unwrap().to_owned()
}

#[test]
fn the_example_of_rfc_2069_is_answered_as_its_erratum_says() {
    let header = header_after(
        &mut auth("Mufasa", "CircleOfLife"),
        r#"Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41""#,
        "/dir/index.html",
    );
    assert!(header.contains(r#"response="1949323746fe6a43ef61f9606e7febea""#), "{header}");
    assert!(!header.contains("algorithm") && !header.contains("qop"), "{header}");
}

#[test]
fn a_buddy_challenge_is_answered_without_qop_and_algorithm() {
    let header = header_after(
        &mut auth("maker", "secret"),
        r#"Digest realm="Printer API", nonce="0123456789abcdef", stale=false"#,
        "/api/v1/status",
    );
    // MD5(MD5("maker:Printer API:secret") ":0123456789abcdef:" MD5("GET:/api/v1/status")), computed with md5sum.
    assert!(header.contains(r#"response="53e8f2af6c63e4077a96f4d0a7e17a01""#), "{header}");
    assert!(!header.contains("algorithm") && !header.contains("qop") && !header.contains("cnonce"), "{header}");
}

/// The example of RFC 7616 section 3.9.1 with its fixed client nonce, which only the crate below can be given.
#[test]
fn the_md5_example_of_rfc_7616_is_answered_as_printed_there() {
    let mut challenge = WwwAuthenticateHeader::parse(
        r#"realm="http-auth@example.org", qop="auth, auth-int", algorithm=MD5, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#,
    )
    .unwrap();
    let mut context = AuthContext::new("Mufasa", "Circle of Life", "/dir/index.html");
    context.set_custom_cnonce("f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ");
    let answer = challenge.respond(&context).unwrap();
    assert_eq!(answer.response, "8ca523f5e9506fed4657c9700eebdbec");
}

#[test]
fn the_session_form_of_python_prusalink_hashes_both_nonces() {
    let mut challenge = WwwAuthenticateHeader::parse(
        r#"realm="Administrator", nonce="abc", opaque="def", algorithm="MD5-sess", qop="auth""#,
    )
    .unwrap();
    let mut context = AuthContext::new("maker", "secret", "/api/version");
    context.set_custom_cnonce("0a4f113b");
    let answer = challenge.respond(&context).unwrap();
    // A1 = MD5(user:realm:password):nonce:cnonce (RFC 7616, 3.4.2); the response computed with md5sum.
    assert_eq!(answer.response, "8b05af369aba82a61386b5e3a35e831f");
}

#[test]
fn a_wrong_password_is_rejected_after_one_try() {
    let mut auth = auth("maker", "wrong");
    let text = r#"Digest realm="Printer API", nonce="0123456789abcdef", stale=false"#;
    header_after(&mut auth, text, "/x");
    let verdict = auth.learn(Used::Digest, StatusCode::UNAUTHORIZED, &challenge(text), Instant::now());
    assert_eq!(verdict, Verdict::Rejected);
    assert!(!auth.is_known());
}

#[test]
fn a_stale_nonce_is_replaced() {
    let mut auth = auth("maker", "secret");
    header_after(&mut auth, r#"Digest realm="Printer API", nonce="0000000000000001", stale=false"#, "/x");
    let stale = challenge(r#"Digest realm="Printer API", nonce="0000000000000002", stale=true"#);
    assert_eq!(auth.learn(Used::Digest, StatusCode::UNAUTHORIZED, &stale, Instant::now()), Verdict::TryAgain);
    let (_, header) = auth.header(&Method::GET, "/x").unwrap();
    assert!(header.unwrap().1.to_str().unwrap().contains("0000000000000002"));
}

#[test]
fn without_a_digest_challenge_the_password_goes_as_api_key_and_is_marked_sensitive() {
    let mut auth = auth("maker", "secret");
    let key_only = challenge(r#"ApiKey realm="Printer API""#);
    assert_eq!(auth.learn(Used::Nothing, StatusCode::UNAUTHORIZED, &key_only, Instant::now()), Verdict::TryAgain);
    let (used, header) = auth.header(&Method::GET, "/x").unwrap();
    let (name, value) = header.unwrap();
    assert_eq!((used, name.as_str(), value.to_str().unwrap()), (Used::ApiKey, "x-api-key", "secret"));
    assert!(value.is_sensitive());
    assert_eq!(auth.learn(Used::ApiKey, StatusCode::FORBIDDEN, &HeaderMap::new(), Instant::now()), Verdict::Rejected);
}

#[test]
fn a_nonce_older_than_half_a_minute_is_not_used_for_commands() {
    let mut auth = auth("maker", "secret");
    header_after(&mut auth, r#"Digest realm="r", nonce="1""#, "/x");
    let now = Instant::now();
    auth.forget_old_nonce(now + Duration::from_secs(29));
    assert!(auth.is_known());
    auth.forget_old_nonce(now + Duration::from_secs(31));
    assert!(!auth.is_known());
}

#[test]
fn challenges_that_make_no_sense_are_ignored() {
    for text in [
        "Digest realm=\"x",
        "Digest",
        "Basic realm=\"x\"",
        "Digest nonce=\"1\"",
        "Digest realm=\"r\", nonce=\"1\", algorithm=ROT13",
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_str(text).unwrap());
        assert_eq!(digest_challenge(&headers), None, "{text}");
    }
    let mut headers = HeaderMap::new();
    headers.insert(WWW_AUTHENTICATE, HeaderValue::from_bytes("Digest realm=\"ä\", nonce=\"1\"".as_bytes()).unwrap());
    assert_eq!(digest_challenge(&headers), None);
}
