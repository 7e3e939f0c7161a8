//! Keys that sign: shared secrets, and private keys.

use std::fmt;

use data_encoding::{BASE64_NOPAD, HEXLOWER_PERMISSIVE};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RsaEncoding, RsaKeyPair,
};
use ring::{hmac, rand};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use towpath_core::{Error, Result, Secret};

use crate::config::{Digest, SecretForm, TokenAlgorithm};

/// The beginning of PKCS#8 around an elliptic curve's key: version, and the curve.
const P256: &[u8] = &[
    2, 1, 0, 0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1,
    7,
];
const P384: &[u8] =
    &[2, 1, 0, 0x30, 0x10, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 5, 0x2b, 0x81, 4, 0, 0x22];

/// The bytes of a shared secret.
pub(super) fn shared(secret: &Secret, form: SecretForm, digest: Digest) -> Result<hmac::Key> {
    let text = secret.expose();
    let (bytes, name) = match form {
        SecretForm::Text => (Some(text.clone().into_bytes()), "text"),
        SecretForm::Hex => (HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok(), "hexadecimal"),
        SecretForm::Base64 => (from_base64(text), "Base64"),
    };
    let bytes = bytes.filter(|bytes| !bytes.is_empty()).ok_or_else(|| {
        Error::config(format!("`secret` is empty or no {name}")).help("check `secret` and `secret_in`")
    })?;
    let algorithm = match digest {
        Digest::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        Digest::Sha256 => hmac::HMAC_SHA256,
        Digest::Sha384 => hmac::HMAC_SHA384,
        Digest::Sha512 => hmac::HMAC_SHA512,
    };
    Ok(hmac::Key::new(algorithm, &bytes))
}

/// What signs JSON Web Tokens.
pub(super) enum TokenKey {
    Shared(hmac::Key),
    Rsa(Box<RsaKeyPair>, &'static dyn RsaEncoding),
    Curve(EcdsaKeyPair),
}

/// Without the key.
impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(***)")
    }
}

impl TokenKey {
    /// The key for an algorithm, out of a secret or of a private key, of which there is one.
    pub(super) fn new(
        algorithm: TokenAlgorithm,
        secret: Option<(&Secret, SecretForm)>,
        private_key: Option<&Secret>,
    ) -> Result<Self> {
        let name = algorithm.name();
        match (algorithm.digest(), secret, private_key) {
            (_, Some(_), Some(_)) => {
                Err(Error::config("a token is signed with `secret` or with a private key, and not with both"))
            }
            (Some(digest), Some((secret, form)), None) => shared(secret, form, digest).map(Self::Shared),
            (None, None, Some(pem)) => Self::private(algorithm, pem),
            (Some(_), None, _) => Err(Error::config(format!("{name} signs with a secret")).help(
                "set `secret` where the scheme has it, or an `algorithm` that signs with a private key",
            )),
            (None, _, None) => Err(Error::config(format!("{name} signs with a private key"))
                .help("set `private_key` or `private_key_file`, or another `algorithm`")),
        }
    }

    fn private(algorithm: TokenAlgorithm, pem: &Secret) -> Result<Self> {
        // The causes are left out: they have seen the key.
        let der = PrivateKeyDer::from_pem_slice(pem.expose().as_bytes()).map_err(|_| {
            Error::config("the private key is no PEM, or has a password")
                .help("give a whole PEM, with its lines `-----BEGIN ...` and `-----END ...`")
        })?;
        let key = match algorithm {
            TokenAlgorithm::Es256 => curve(&ECDSA_P256_SHA256_FIXED_SIGNING, P256, &der),
            TokenAlgorithm::Es384 => curve(&ECDSA_P384_SHA384_FIXED_SIGNING, P384, &der),
            TokenAlgorithm::Rs384 => rsa(&RSA_PKCS1_SHA384, &der),
            TokenAlgorithm::Rs512 => rsa(&RSA_PKCS1_SHA512, &der),
            _ => rsa(&RSA_PKCS1_SHA256, &der),
        };
        key.ok_or_else(|| {
            Error::config(format!("the private key cannot sign with {}", algorithm.name()))
                .help("RS256 and its like need an RSA key of at least 2048 bits, ES256 one of the curve P-256, ES384 one of P-384: check `algorithm`")
        })
    }

    /// The signature as a token holds it.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let random = SystemRandom::new();
        let failed = |_| Error::unexpected("a token cannot be signed: there are no random numbers");
        match self {
            Self::Shared(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
            Self::Rsa(key, encoding) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(*encoding, &random, message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
            Self::Curve(key) => Ok(key.sign(&random, message).map_err(failed)?.as_ref().to_vec()),
        }
    }
}

fn rsa(encoding: &'static dyn RsaEncoding, der: &PrivateKeyDer<'_>) -> Option<TokenKey> {
    let key = match der {
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
        _ => return None,
    };
    Some(TokenKey::Rsa(Box::new(key.ok()?), encoding))
}

fn curve(
    algorithm: &'static ring::signature::EcdsaSigningAlgorithm,
    name: &[u8],
    der: &PrivateKeyDer<'_>,
) -> Option<TokenKey> {
    let wrapped;
    let pkcs8 = match der {
        PrivateKeyDer::Pkcs8(der) => der.secret_pkcs8_der(),
        PrivateKeyDer::Sec1(der) => {
            let key = element(4, der.secret_sec1_der());
            wrapped = element(0x30, &[name, &key].concat());
            &wrapped
        }
        _ => return None,
    };
    EcdsaKeyPair::from_pkcs8(algorithm, pkcs8, &SystemRandom::new()).ok().map(TokenKey::Curve)
}

/// An element of DER. Keys of curves have fewer than 256 bytes.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap_or(u8::MAX);
    let head = if length < 128 { vec![tag, length] } else { vec![tag, 0x81, length] };
    [&head, content].concat()
}

/// Random bytes that nobody can guess.
pub(super) fn random<const N: usize>() -> Result<[u8; N]> {
    let random = rand::generate::<[u8; N]>(&SystemRandom::new());
    let random = random.map_err(|_| Error::unexpected("there are no random numbers"))?;
    Ok(random.expose())
}

/// Both alphabets, with or without padding.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').replace('-', "+").replace('_', "/");
    BASE64_NOPAD.decode(text.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;

    fn signature(text: &str, form: SecretForm, digest: Digest, message: &str) -> Option<String> {
        let key = shared(&Secret::new(text.to_owned()), form, digest).ok()?;
        Some(HEXLOWER.encode(hmac::sign(&key, message.as_bytes()).as_ref()))
    }

    #[test]
    fn secrets_are_read_in_each_form() {
        let key = |text: &str, form| signature(text, form, Digest::Sha256, "x");
        assert_eq!(key("4a656665", SecretForm::Hex), key("Jefe", SecretForm::Text));
        assert_eq!(key("4A656665", SecretForm::Hex), key("Jefe", SecretForm::Text));
        assert_eq!((key("0", SecretForm::Hex), key("0g", SecretForm::Hex)), (None, None));
        for (text, bytes) in [("", ""), ("Zg==", "f"), ("Zm8", "fo"), ("Zm9v", "foo"), ("Zm9vYg==", "foob")] {
            assert_eq!(from_base64(text), Some(bytes.as_bytes().to_vec()), "{text}");
        }
        assert_eq!(
            (from_base64("+/-_"), from_base64("Z"), from_base64("Z!")),
            (Some(vec![251, 255, 191]), None, None)
        );
    }

    #[test]
    fn signatures_are_those_of_rfc_2202_and_rfc_4231() {
        for (digest, expected) in [
            (Digest::Sha1, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
            (Digest::Sha256, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
            (
                Digest::Sha384,
                "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
            ),
            (
                Digest::Sha512,
                "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
            ),
        ] {
            let found = signature("Jefe", SecretForm::Text, digest, "what do ya want for nothing?");
            assert_eq!(found.as_deref(), Some(expected));
        }
    }
}
