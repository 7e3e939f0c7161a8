//! Certificates by which servers prove who they are, signed by an authority that this checkout made for itself.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};

use super::site::{Site, write_secret};

/// The names under which clients reach a server.
const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

/// A server's certificate and its key.
pub(super) struct Certificate {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

/// The file with the authority's certificate, which tests trust.
pub(super) fn authority(home: &Path) -> PathBuf {
    home.join("tls/ca.pem")
}

/// Who the certificate for clients says they are.
pub(super) const CLIENT: &str = "towpath_client";

/// Makes a certificate for clients, `client.pem` and `client.key` beside that of the authority. Tests show it to servers.
pub(super) fn issue_for_clients(home: &Path) -> Result<()> {
    let issuer = load_or_make(home)?;
    let mut params = params(CLIENT);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let (certificate, key) = sign(&params, &issuer).context("cannot make a certificate for clients")?;
    let folder = home.join("tls");
    write_secret(&folder.join("client.key"), &key)
        .and_then(|()| fs::write(folder.join("client.pem"), certificate))
        .with_context(|| format!("cannot write into {}", folder.display()))
}

/// Makes a certificate that only the server of this site can use.
pub(super) fn issue(site: &Site) -> Result<Certificate> {
    let issuer = load_or_make(site.home())?;
    let mut params = params("Towpath test server");
    params.subject_alt_names = names().context("cannot name a server")?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let (certificate, key) = sign(&params, &issuer).context("cannot make a certificate")?;
    Ok(Certificate {
        certificate: site.write_private("server.pem", &certificate)?,
        key: site.write_private("server.key", &key)?,
    })
}

/// The authority of all servers. It is kept, so that one that was started later has the same.
fn load_or_make(home: &Path) -> Result<Issuer<'static, KeyPair>> {
    let certificate = authority(home);
    let key_file = certificate.with_extension("key");
    let params = authority_params();
    if certificate.is_file() {
        let text = fs::read_to_string(&key_file)
            .with_context(|| format!("cannot read the authority's key in {}", key_file.display()))?;
        let key = KeyPair::from_pem(&text)
            .with_context(|| format!("{} is damaged: remove its folder", key_file.display()))?;
        return Ok(Issuer::new(params, key));
    }
    let key = KeyPair::generate().context("cannot make a key")?;
    let text = params.self_signed(&key).context("cannot make the authority's certificate")?.pem();
    write_authority(&certificate, &text, &key_file, &key.serialize_pem())
        .with_context(|| format!("cannot write {}", certificate.display()))?;
    Ok(Issuer::new(params, key))
}

/// The certificate comes last: where it lies, the key that belongs to it lies too.
fn write_authority(certificate: &Path, text: &str, key_file: &Path, key: &str) -> io::Result<()> {
    if let Some(folder) = certificate.parent() {
        fs::create_dir_all(folder)?;
    }
    write_secret(key_file, key)?;
    let draft = certificate.with_extension("draft");
    fs::write(&draft, text)?;
    fs::rename(draft, certificate)
}

/// Always the same, so that the authority is known by its key alone.
fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Towpath test authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// What the authority says of somebody of this name.
fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    params
}

/// [`NAMES`] as they stand in a certificate.
fn names() -> Result<Vec<SanType>, rcgen::Error> {
    Ok(CertificateParams::new(NAMES.map(str::to_owned))?.subject_alt_names)
}

/// A new certificate and its key, both as PEM.
fn sign(params: &CertificateParams, issuer: &Issuer<'_, KeyPair>) -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, issuer)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_authority_is_made_once_and_its_key_is_its_owners_alone() {
        let home = tempfile::tempdir().unwrap();
        let made = load_or_make(home.path()).unwrap();
        let certificate = fs::read(authority(home.path())).unwrap();

        let loaded = load_or_make(home.path()).unwrap();
        assert_eq!(made.key().public_key_raw(), loaded.key().public_key_raw());
        assert_eq!(fs::read(authority(home.path())).unwrap(), certificate);

        let key = fs::metadata(home.path().join("tls/ca.key")).unwrap();
        assert_eq!(key.permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_certificate_for_clients_lies_beside_that_of_the_authority() {
        let home = tempfile::tempdir().unwrap();
        issue_for_clients(home.path()).unwrap();
        let certificate = fs::read_to_string(home.path().join("tls/client.pem")).unwrap();
        assert!(certificate.starts_with("-----BEGIN CERTIFICATE-----"));
        let key = fs::metadata(home.path().join("tls/client.key")).unwrap();
        assert_eq!(key.permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_key_is_named() {
        let home = tempfile::tempdir().unwrap();
        load_or_make(home.path()).unwrap();
        fs::write(home.path().join("tls/ca.key"), "no key").unwrap();
        let error = load_or_make(home.path()).err().unwrap().to_string();
        assert!(error.contains("tls/ca.key is damaged"), "{error}");
    }

    #[test]
    fn an_authority_that_was_cut_off_while_it_was_made_is_made_again() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("tls")).unwrap();
        fs::write(home.path().join("tls/ca.key"), "half a k").unwrap();
        load_or_make(home.path()).unwrap();
        load_or_make(home.path()).unwrap();
    }
}
