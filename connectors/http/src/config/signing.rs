//! How things are signed, as pipeline files write it.

use schemars::JsonSchema;
use serde::Deserialize;

/// How a secret is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecretForm {
    /// As it is.
    #[default]
    Text,
    /// Its bytes in hexadecimal digits.
    Hex,
    /// Its bytes in Base64.
    Base64,
}

/// How a signature is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SignatureForm {
    /// In hexadecimal digits.
    #[default]
    Hex,
    /// In Base64.
    Base64,
}

/// How a timestamp is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimestampForm {
    /// Seconds since 1970.
    #[default]
    Seconds,
    /// Milliseconds since 1970.
    Milliseconds,
    /// As `2026-11-27T08:00:00.000Z`.
    Rfc3339,
    /// As `Fri, 27 Nov 2026 08:00:00 GMT`.
    HttpDate,
}

/// The digest of a signature.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Digest {
    /// SHA-1, for servers that know nothing better.
    Sha1,
    /// SHA-256.
    #[default]
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// How a JSON Web Token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum TokenAlgorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
    /// RSA with SHA-256.
    Rs256,
    /// RSA with SHA-384.
    Rs384,
    /// RSA with SHA-512.
    Rs512,
    /// The curve P-256 with SHA-256.
    Es256,
    /// The curve P-384 with SHA-384.
    Es384,
}

impl TokenAlgorithm {
    /// Its name in tokens.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
        }
    }

    /// The digest of those that sign with a shared secret.
    pub(crate) fn digest(self) -> Option<Digest> {
        match self {
            Self::Hs256 => Some(Digest::Sha256),
            Self::Hs384 => Some(Digest::Sha384),
            Self::Hs512 => Some(Digest::Sha512),
            Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Es256 | Self::Es384 => None,
        }
    }
}
