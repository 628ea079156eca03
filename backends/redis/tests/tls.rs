//! TLS in a process that has installed no crypto provider: certificates are checked (`R3`).

#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "tests; clippy knows only their functions for such")]

mod common;

use common::{Server, run, variable};
use larder_core::{ErrorKind, Store, StoreExt};
use larder_redis::RedisStore;

fn url() -> String {
    variable("LARDER_TEST_REDIS_TLS_URL")
}

fn authority() -> String {
    variable("LARDER_TEST_REDIS_CA")
}

/// A root of its own on the TLS server; cleared by the test, as it needs the certificate.
fn root() -> String {
    format!("test-{:016x}", common::random())
}

#[tokio::test]
async fn the_right_authority_is_trusted_and_no_provider_is_installed() {
    let pem = std::fs::read(authority()).unwrap();
    let root = root();
    let builders = [
        RedisStore::builder(url()).ca_certificate(pem.clone()),
        RedisStore::builder(url()).ca_certificate_file(authority()),
        RedisStore::builder(format!("{}?ca={}", url(), authority())),
        // Several: one of them fits.
        RedisStore::builder(url()).ca_certificate(other_authority().0).ca_certificate(pem),
    ];
    for builder in builders {
        let store = builder.namespace(&root).build().await.unwrap();
        let value = vec![7; 300_000];
        store.set("k", value.clone()).await.unwrap();
        assert_eq!(store.get("k").await.unwrap().unwrap(), value);
        store.delete_all().await.unwrap();
        store.close().await.unwrap();
        store.reconnect().await.unwrap();
        store.ping().await.unwrap();
    }
    assert!(rustls::crypto::CryptoProvider::get_default().is_none(), "that is the application's");
}

/// A certificate that signs nothing here, and its key.
fn other_authority() -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["elsewhere".to_owned()]).unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

#[tokio::test]
async fn any_other_authority_is_refused() {
    let error = RedisStore::builder(url()).ca_certificate(other_authority().0).build().await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error:?}");
    // Those of the system have not signed it either; a system may have none.
    let error = RedisStore::builder(url()).build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error:?}");
    // Lazily, the first call says so, and may be repeated after the cause is gone.
    let lazy = RedisStore::builder(url()).ca_certificate(other_authority().0).lazy(true);
    let error = lazy.build().await.unwrap().set("k", "v").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error:?}");
}

#[tokio::test]
async fn a_name_that_the_certificate_does_not_have_is_refused() {
    let pem = std::fs::read(authority()).unwrap();
    let url = url().replace("localhost", "127.0.0.2");
    let built = RedisStore::builder(url).ca_certificate(pem).build().await;
    // Where the server listens on 127.0.0.1 alone, nobody answers at all.
    let kind = built.unwrap_err().kind();
    assert!(matches!(kind, ErrorKind::InvalidConfig | ErrorKind::Unavailable), "{kind}");
}

#[tokio::test]
async fn plain_and_tls_do_not_meet() {
    let pem = std::fs::read(authority()).unwrap();
    let plain = common::url().replace("redis://", "rediss://");
    let limit = std::time::Duration::from_millis(500);
    let builder = RedisStore::builder(plain).ca_certificate(pem).connect_timeout(limit);
    let error = builder.build().await.unwrap_err();
    let kinds = [ErrorKind::InvalidConfig, ErrorKind::Unavailable, ErrorKind::Timeout];
    assert!(kinds.contains(&error.kind()), "{error:?}");
    let tls = url().replace("rediss://", "redis://");
    let error = RedisStore::builder(tls).connect_timeout(limit).build().await.unwrap_err();
    assert!(kinds.contains(&error.kind()), "{error:?}");
}

#[tokio::test]
async fn bad_settings_are_told() {
    let (pem, key) = other_authority();
    let rediss = || RedisStore::builder(url());
    let builders = [
        rediss().ca_certificate("no PEM"),
        rediss().ca_certificate(""),
        rediss().ca_certificate("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        rediss().ca_certificate_file("/nowhere/ca.pem"),
        rediss().ca_certificate(pem.clone()).client_certificate("no PEM", key.clone()),
        rediss().ca_certificate(pem.clone()).client_certificate(pem.clone(), "no PEM"),
        rediss().ca_certificate(pem.clone()).client_certificate(pem.clone(), other_authority().1),
        RedisStore::builder(common::url()).ca_certificate(pem.clone()),
        RedisStore::builder(format!("{}#insecure", url())),
    ];
    for builder in builders {
        let shown = format!("{builder:?}");
        let error = builder.build().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{shown}: {error:?}");
        assert!(!format!("{shown} {error} {error:?}").contains("PRIVATE KEY"));
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown() {
    // One authority for both sides, and a server that asks for a certificate.
    let folder = tempfile::tempdir().unwrap();
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "the authority");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(params, &authority_key);
    let make = |name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &issuer).unwrap().pem(), key.serialize_pem())
    };
    let (server_pem, server_key) = make("localhost");
    let (client_pem, client_key) = make("client");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (port, ca) = (common::free_port().to_string(), file("ca.pem", &authority));
    let (cert, key) = (file("cert.pem", &server_pem), file("key.pem", &server_key));
    let server = Server::start(&[
        "--tls-port",
        &port,
        "--tls-ca-cert-file",
        &ca,
        "--tls-cert-file",
        &cert,
        "--tls-key-file",
        &key,
        "--tls-auth-clients",
        "yes",
    ])
    .await;
    let builder =
        || RedisStore::builder(format!("rediss://localhost:{port}")).ca_certificate_file(&ca);
    let store = builder().client_certificate(client_pem, client_key).build().await.unwrap();
    store.set("k", "v").await.unwrap();
    let mut connection = store.connection().await.unwrap();
    let there: bool = run(&mut connection, &[b"EXISTS", b"larder:k"]).await;
    assert!(there);
    let error = builder().build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
    drop(server);
}
