//! Certificates: trusted by the system, trusted by option, not trusted.
//!
//! The keys in `certificates` protect nothing: they are for `127.0.0.1` in this test.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{WantsServerCert, WebPkiClientVerifier};
use rustls::{ConfigBuilder, RootCertStore, ServerConfig};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use towpath_core::{ErrorKind, Json};

use crate::support::{context, error, install_tls, open_with, read, with};

pub(crate) const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/certificates");

/// A server with a certificate of our own authority, that answers each connection once.
pub(crate) async fn server() -> String {
    install_tls();
    serve(ServerConfig::builder().with_no_client_auth()).await
}

/// The same, for clients with a certificate of an authority of theirs only.
async fn server_for_known_clients() -> String {
    install_tls();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(format!("{FOLDER}/client-authority.pem")).unwrap()).unwrap();
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
    serve(ServerConfig::builder().with_client_cert_verifier(verifier)).await
}

async fn serve(config: ConfigBuilder<ServerConfig, WantsServerCert>) -> String {
    let certificate = CertificateDer::from_pem_file(format!("{FOLDER}/server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(format!("{FOLDER}/server.key")).unwrap();
    let config = config.with_single_cert(vec![certificate], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            // A client that does not trust us hangs up.
            let Ok(mut stream) = acceptor.accept(socket).await else { continue };
            let mut request = vec![0; 4096];
            let _ = stream.read(&mut request).await;
            let answer =
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n[{\"id\":1}]";
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    format!("https://{address}/")
}

#[tokio::test]
async fn an_authority_is_trusted_by_option() {
    let options = with(server().await, json!({"ca_certificate": format!("{FOLDER}/authority.pem")}));
    assert_eq!(read(options).await.unwrap(), [json!({"id": 1})]);
}

#[tokio::test]
async fn an_unknown_authority_is_refused_for_good() {
    let error = error(with(server().await, json!({}))).await;
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, false));
    assert_eq!(error.message(), "the server's certificate is not trusted");
    assert!(error.help_text().unwrap().contains("ca_certificate"));
}

#[tokio::test]
async fn a_file_that_holds_no_certificate_is_named() {
    let (cx, _) = context();
    for (file, kind) in [("missing.pem", ErrorKind::NotFound), ("server.key", ErrorKind::Config)] {
        let options = with("https://a.example/", json!({"ca_certificate": format!("{FOLDER}/{file}")}));
        let Err(error) = open_with(options, &cx).await else { panic!("{file} was taken") };
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(file), "{error}");
    }
}

fn identity(certificate: &str, key: &str) -> Json {
    json!({
        "ca_certificate": format!("{FOLDER}/authority.pem"),
        "client_certificate": format!("{FOLDER}/{certificate}"),
        "client_key": format!("{FOLDER}/{key}"),
    })
}

#[tokio::test]
async fn a_client_shows_its_certificate() {
    let url = server_for_known_clients().await;
    let options = with(url.clone(), identity("client.pem", "client.key"));
    assert_eq!(read(options).await.unwrap(), [json!({"id": 1})]);
    let without = json!({"ca_certificate": format!("{FOLDER}/authority.pem")});
    assert_eq!(error(with(url, without)).await.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_certificate_of_a_client_needs_its_key() {
    let (cx, _) = context();
    let mut lonely = identity("client.pem", "client.key");
    lonely.as_object_mut().unwrap().remove("client_key");
    let mut keyless = identity("client.pem", "client.key");
    keyless.as_object_mut().unwrap().remove("client_certificate");
    for (options, text) in [
        (lonely, "`client_certificate` needs its key"),
        (keyless, "`client_key` needs its certificate"),
        (identity("client.pem", "client.pem"), "hold no PEM certificate with its private key"),
        (identity("missing.pem", "client.key"), "missing.pem"),
        (identity("client.pem", "server.key"), "check that `client_key` belongs to `client_certificate`"),
    ] {
        let Err(error) = open_with(with("https://a.example/", options), &cx).await else {
            panic!("it was taken: {text}")
        };
        assert!(error.to_string().contains(text), "{error}");
        assert!(!format!("{error:?}").contains("PRIVATE"), "{error:?}");
    }
}
