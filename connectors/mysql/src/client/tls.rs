//! Encryption, with what is asked of the server's certificate.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_rustls::TlsConnector;
use towpath_core::{Error, Result};

use super::wire::Socket;
use crate::config::{Tls, TlsMode};
use crate::errors::config;

/// Wraps a socket into encryption.
pub(super) async fn encrypt(
    socket: Box<dyn Socket>,
    host: &str,
    mode: TlsMode,
    tls: &Tls,
) -> Result<Box<dyn Socket>> {
    let client = client_config(mode, tls)?;
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| config("the host is no name that a certificate can have").source(error))?;
    let stream = TlsConnector::from(Arc::new(client)).connect(name, socket).await.map_err(|error| {
        let is_certificate = error.to_string().contains("certificate");
        let failed = Error::unavailable("no encrypted connection could be made").source(error);
        if is_certificate {
            failed.retry(towpath_core::Retry::Never).help(
                "set `tls.ca` to the authority that signed the server's certificate, or choose another `tls.mode`",
            )
        } else {
            failed
        }
    })?;
    Ok(Box::new(stream))
}

fn client_config(mode: TlsMode, tls: &Tls) -> Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::unexpected("TLS cannot be set up").source(error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier(mode, tls, provider)?);
    let (Some(certificate), Some(key)) = (&tls.cert, &tls.key) else {
        return Ok(builder.with_no_client_auth());
    };
    let key_der = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable("tls.key", key, error))?;
    builder
        .with_client_auth_cert(certificates("tls.cert", certificate)?, key_der)
        .map_err(|error| config("`tls.cert` and `tls.key` do not fit").source(error))
}

fn verifier(mode: TlsMode, tls: &Tls, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>> {
    if matches!(mode, TlsMode::Disabled | TlsMode::Preferred | TlsMode::Required) {
        return Ok(Arc::new(Unverified(provider)));
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(authorities(tls)?), provider)
        .build()
        .map_err(|error| config("no authority to verify the server's certificate with").source(error))?;
    Ok(match mode {
        TlsMode::VerifyCa => Arc::new(AnyName(verifier)),
        _ => verifier,
    })
}

fn authorities(tls: &Tls) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    match &tls.ca {
        Some(path) => {
            for certificate in certificates("tls.ca", path)? {
                store.add(certificate).map_err(|error| unreadable("tls.ca", path, error))?;
            }
        }
        // Some files of a system may be broken while the others are fine.
        None => {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(store)
}

fn certificates(option: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(option, path, error))?;
    if found.is_empty() {
        return Err(config(format!("`{option}` holds no certificate")).detail("path", path.display()));
    }
    Ok(found)
}

fn unreadable(option: &str, path: &Path, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    config(format!("`{option}` cannot be read")).detail("path", path.display()).source(error)
}

/// Asks that a known authority has signed the certificate, for whichever name.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is looked at behind everything else.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Takes every certificate, because `tls.mode` says so.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
