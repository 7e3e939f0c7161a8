//! TLS for connectors whose drivers leave it to them.
//!
//! Databases know three degrees of trust in a server's certificate, under names of their own. Here they are
//! [`Trust`]; the files are [`Files`]. The cryptography is ring's, the only one that a Towpath binary holds.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use towpath_core::{Error, Result};

/// What is asked of a server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trust {
    /// Nothing: what is sent is encrypted, to whomever it goes.
    Anyone,
    /// A known authority has signed it, for whichever name.
    Authority,
    /// A known authority has signed it for the host that was asked for.
    Host,
}

/// PEM files. Errors call them by the names of the options that they come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Files {
    /// The authorities that may have signed the server's certificate; those of the system if there is none.
    pub authorities: Option<(&'static str, PathBuf)>,
    /// Our own certificate, for servers that ask for one.
    pub certificate: Option<(&'static str, PathBuf)>,
    /// The key of our own certificate.
    pub key: Option<(&'static str, PathBuf)>,
}

/// The client's side of TLS.
///
/// # Errors
/// `Config` for files that cannot be read or do not fit together.
///
/// ```
/// use towpath_tls::{Files, Trust, client_config};
///
/// assert!(client_config(Trust::Anyone, &Files::default()).is_ok());
/// let files = Files { authorities: Some(("sslrootcert", "nowhere.pem".into())), ..Files::default() };
/// let error = client_config(Trust::Host, &files).unwrap_err().to_string();
/// assert!(error.contains("`sslrootcert` cannot be read"));
/// ```
pub fn client_config(trust: Trust, files: &Files) -> Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::unexpected("TLS cannot be set up").source(error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier(trust, files, provider)?);
    let (Some((name, certificate)), Some((key_name, key))) = (&files.certificate, &files.key) else {
        return Ok(builder.with_no_client_auth());
    };
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key_name, key, error))?;
    builder
        .with_client_auth_cert(certificates(name, certificate)?, key)
        .map_err(|error| Error::config(format!("`{name}` and `{key_name}` do not fit")).source(error))
}

fn verifier(
    trust: Trust,
    files: &Files,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>> {
    if trust == Trust::Anyone {
        return Ok(Arc::new(Unverified(provider)));
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(authorities(files)?), provider)
        .build()
        .map_err(|error| {
            Error::config("no authority to verify the server's certificate with").source(error)
        })?;
    Ok(if trust == Trust::Authority { Arc::new(AnyName(verifier)) } else { verifier })
}

fn authorities(files: &Files) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    match &files.authorities {
        Some((name, path)) => {
            for certificate in certificates(name, path)? {
                store.add(certificate).map_err(|error| unreadable(name, path, error))?;
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
        return Err(Error::config(format!("`{option}` holds no certificate")).detail("path", path.display()));
    }
    Ok(found)
}

fn unreadable(option: &str, path: &Path, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::config(format!("`{option}` cannot be read")).detail("path", path.display()).source(error)
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

/// Takes every certificate, because the configuration says so.
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
