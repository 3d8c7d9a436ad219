//! Servers whose certificates no public authority has signed.

use super::*;

#[tokio::test]
async fn a_private_authority_is_trusted_only_where_it_is_named() {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let (authority_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let bundle = authority.self_signed(&authority_key).unwrap().pem().into_bytes();
    let issuer = Issuer::new(authority, authority_key);
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let private_key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let tls = tls.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], private_key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = [0; 4096];
            let _read = stream.read(&mut request).await;
            let _written = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nG28").await;
            let _closed = stream.shutdown().await;
        }
    });
    let directory = TempDir::new().unwrap();
    let objects = Objects::of(move |name, key| match (name, key) {
        ("farm-ca", "ca.crt") => Some(bundle.clone()),
        ("farm-ca", "empty") => Some(Vec::new()),
        ("farm-ca", "broken") => Some(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec()),
        _ => None,
    });
    let files = Files::new(FilesConfig { references: objects, ..config(directory.path()) }).unwrap();
    let request = |host: &str, key: Option<&str>| {
        let reference = key.map(|key| ConfigMapKeyReference { name: "farm-ca".into(), key: key.into() });
        let url = format!("https://{host}:{port}/a");
        from(HttpSource { url, ca_bundle_config_map_ref: reference, ..HttpSource::default() })
    };
    let file = files.fetch(&request("localhost", Some("ca.crt")), None).await.unwrap();
    assert_eq!(std::fs::read(file.path).unwrap(), b"G28");
    for (untrusted, why) in
        [(request("localhost", None), "UnknownIssuer"), (request("127.0.0.1", Some("ca.crt")), "not valid for name")]
    {
        let error = files.fetch(&untrusted, None).await.unwrap_err();
        assert_eq!((error.reason(), error.retry()), (Reason::CertificateNotTrusted, Retry::Backoff), "{error:?}");
        assert!(error.to_string().contains(why) && error.to_string().contains("caBundleConfigMapRef"), "{error}");
    }
    for unusable in ["empty", "broken", "missing"] {
        let error = files.fetch(&request("localhost", Some(unusable)), None).await.unwrap_err();
        assert_eq!((error.reason(), error.retry()), (Reason::CertificateNotTrusted, Retry::Soon), "{error}");
        let text = crate::error::chain(&error);
        assert!(text.contains("farm-ca") && text.contains(unusable), "{text}");
    }
}
