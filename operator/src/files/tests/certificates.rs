//! Servers whose certificates no public authority has signed.

use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::*;

/// Answers over TLS with this certificate; gives the port.
async fn serve_tls(certificate: CertificateDer<'static>, key: &KeyPair) -> u16 {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let private_key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let tls = tls.with_no_client_auth().with_single_cert(vec![certificate], private_key).unwrap();
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
    port
}

/// A certificate signed by itself.
fn own(host: &str, is_ca: IsCa) -> (Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let mut certificate = CertificateParams::new(vec![host.to_owned()]).unwrap();
    certificate.is_ca = is_ca;
    (certificate.self_signed(&key).unwrap(), key)
}

#[tokio::test]
async fn a_private_authority_is_trusted_only_where_it_is_named() {
    let other = own("other.example", IsCa::ExplicitNoCa).0.pem().into_bytes();
    let (authority_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let bundle = authority.self_signed(&authority_key).unwrap().pem().into_bytes();
    let issuer = Issuer::new(authority, authority_key);
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let port = serve_tls(certificate.der().clone(), &key).await;
    let directory = TempDir::new().unwrap();
    let objects = Objects::of(move |name, key| match (name, key) {
        ("farm-ca", "ca.crt") => Some(bundle.clone()),
        ("farm-ca", "other.crt") => Some(other.clone()),
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
    for (untrusted, words) in [
        (request("localhost", None), "UnknownIssuer); put the authority's certificate into a ConfigMap and name it in"),
        (request("localhost", Some("other.crt")), "neither public nor in the ConfigMap of caBundleConfigMapRef"),
        (request("127.0.0.1", Some("ca.crt")), "is for localhost; ask for the server by such a name"),
    ] {
        let error = files.fetch(&untrusted, None).await.unwrap_err();
        assert_eq!((error.reason(), error.retry()), (Reason::CertificateNotTrusted, Retry::Backoff), "{error:?}");
        assert!(error.to_string().contains(words) && error.to_string().contains(&format!(":{port} ")), "{error}");
    }
    // The server speaks TLS, and is asked without.
    let error = files.fetch(&http(format!("http://localhost:{port}/a")), None).await.unwrap_err();
    assert!(error.to_string().contains("no HTTP; check the port, and write https://"), "{error}");
    for unusable in ["empty", "broken", "missing"] {
        let error = files.fetch(&request("localhost", Some(unusable)), None).await.unwrap_err();
        assert_eq!((error.reason(), error.retry()), (Reason::CertificateNotTrusted, Retry::Soon), "{error}");
        let text = crate::error::chain(&error);
        assert!(text.contains("farm-ca") && text.contains(unusable), "{text}");
    }
}

#[tokio::test]
async fn an_authority_that_is_its_own_server_is_refused_with_what_to_make_instead_and_that_is_taken() {
    let directory = TempDir::new().unwrap();
    let fetched = async |is_ca: IsCa| {
        let (certificate, key) = own("localhost", is_ca);
        let port = serve_tls(certificate.der().clone(), &key).await;
        let bundle = certificate.pem().into_bytes();
        let objects = Objects::of(move |_, _| Some(bundle.clone()));
        let files = Files::new(FilesConfig { references: objects, ..config(directory.path()) }).unwrap();
        let reference = Some(ConfigMapKeyReference { name: "farm-ca".into(), key: "ca.crt".into() });
        let url = format!("https://localhost:{port}/a");
        let request = from(HttpSource { url, ca_bundle_config_map_ref: reference, ..HttpSource::default() });
        files.fetch(&request, None).await
    };
    let error = fetched(IsCa::Ca(BasicConstraints::Unconstrained)).await.unwrap_err();
    assert_eq!(error.reason(), Reason::CertificateNotTrusted);
    let told = error.to_string();
    assert!(told.contains("CA:TRUE") && told.contains("self-signed with CA:FALSE, and name that one there"), "{told}");
    assert_eq!(std::fs::read(fetched(IsCa::ExplicitNoCa).await.unwrap().path).unwrap(), b"G28");
}

#[tokio::test]
async fn a_certificate_for_the_service_alone_does_not_fit_the_host_of_a_bucket() {
    let (certificate, key) = own("localhost", IsCa::ExplicitNoCa);
    let port = serve_tls(certificate.der().clone(), &key).await;
    let bundle = certificate.pem().into_bytes();
    let directory = TempDir::new().unwrap();
    let objects = Objects::of(move |_, _| Some(bundle.clone()));
    let resolver: Arc<dyn Resolver> = Arc::new(Here);
    let files = Files::new(FilesConfig { references: objects, resolver, ..config(directory.path()) }).unwrap();
    let s3 = S3Source {
        bucket: "parts".into(),
        key: "clip.gcode".into(),
        endpoint: Some(format!("https://localhost:{port}")),
        ca_bundle_config_map_ref: Some(ConfigMapKeyReference { name: "farm-ca".into(), key: "ca.crt".into() }),
        ..S3Source::default()
    };
    let request = SourceRequest { namespace: "farm".to_owned(), source: Source { s3: Some(s3), ..Source::default() } };
    let told = files.fetch(&request, None).await.unwrap_err().to_string();
    assert!(told.contains(&format!("parts.localhost:{port} is not trusted: it is for localhost")), "{told}");
    assert!(told.contains("set source.s3.forcePathStyle: true"), "{told}");
}
