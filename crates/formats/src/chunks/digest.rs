//! Digests of whole files, as servers, checksum files and pipelines give them.

use std::fmt;
use std::str::FromStr;

use crc::{CRC_32_ISCSI, CRC_32_ISO_HDLC, CRC_64_NVME, Crc, Table};
use data_encoding::{BASE64, HEXLOWER, HEXLOWER_PERMISSIVE};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha512};
use towpath_core::{Error, Result};

static CRC32: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC);
static CRC32C: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);
static CRC64: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_NVME);

/// How a digest is computed, the strongest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is the name of an algorithm")]
pub enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Md5,
    Sha1,
    Sha256,
    Sha512,
}

impl Algorithm {
    const ALL: [Self; 7] =
        [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Md5, Self::Sha1, Self::Sha256, Self::Sha512];

    /// Its name in digests: `sha256`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "crc32",
            Self::Crc32c => "crc32c",
            Self::Crc64Nvme => "crc64nvme",
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// The algorithm of a name, in any case and with or without its hyphen: `SHA-256`.
    pub fn of_name(name: &str) -> Option<Self> {
        let name = name.trim().to_ascii_lowercase().replace('-', "");
        let name = if name == "sha" { "sha1" } else { &name };
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// How many bytes its digests have.
    fn length(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

/// What the bytes of a file come to: `sha256:9f86…`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    value: Vec<u8>,
}

impl Digest {
    /// A digest of so many bytes as the algorithm has; `None` for another number.
    pub fn new(algorithm: Algorithm, value: Vec<u8>) -> Option<Self> {
        (value.len() == algorithm.length()).then_some(Self { algorithm, value })
    }

    /// Reads Base64, as headers have it.
    pub fn of_base64(algorithm: Algorithm, text: &str) -> Option<Self> {
        Self::new(algorithm, BASE64.decode(text.trim().as_bytes()).ok()?)
    }

    /// Reads hexadecimal digits, as checksum files have them; how many there are tells the algorithm.
    pub fn of_hex(text: &str) -> Option<Self> {
        let value = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?;
        let named = [Algorithm::Md5, Algorithm::Sha1, Algorithm::Sha256, Algorithm::Sha512];
        let algorithm = named.into_iter().find(|algorithm| algorithm.length() == value.len())?;
        Self::new(algorithm, value)
    }

    /// How it is computed.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), HEXLOWER.encode(&self.value))
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |what: &str| {
            Err(Error::config(format!("`{text}` is no digest: {what}"))
                .help("write the algorithm and hexadecimal digits, such as `sha256:9f86d0…`"))
        };
        let Some((name, digits)) = text.split_once(':') else { return wrong("it has no colon") };
        let Some(algorithm) = Algorithm::of_name(name) else {
            let known: Vec<_> = Algorithm::ALL.iter().map(|algorithm| algorithm.name()).collect();
            return wrong(&format!("the algorithms are {}", known.join(", ")));
        };
        let value = HEXLOWER_PERMISSIVE.decode(digits.trim().as_bytes()).ok();
        match value.and_then(|value| Self::new(algorithm, value)) {
            Some(digest) => Ok(digest),
            None => wrong(&format!("{} has {} hexadecimal digits", algorithm.name(), 2 * algorithm.length())),
        }
    }
}

/// Computes a digest.
pub enum Hasher {
    #[doc(hidden)]
    Crc32(crc::Digest<'static, u32, Table<16>>),
    #[doc(hidden)]
    Crc32c(crc::Digest<'static, u32, Table<16>>),
    #[doc(hidden)]
    Crc64Nvme(crc::Digest<'static, u64, Table<16>>),
    #[doc(hidden)]
    Md5(Md5),
    #[doc(hidden)]
    Sha1(Sha1),
    #[doc(hidden)]
    Sha256(Sha256),
    #[doc(hidden)]
    Sha512(Box<Sha512>),
}

impl Hasher {
    /// Begins at the first byte.
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Crc32 => Self::Crc32(CRC32.digest()),
            Algorithm::Crc32c => Self::Crc32c(CRC32C.digest()),
            Algorithm::Crc64Nvme => Self::Crc64Nvme(CRC64.digest()),
            Algorithm::Md5 => Self::Md5(Md5::new()),
            Algorithm::Sha1 => Self::Sha1(Sha1::new()),
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Box::default()),
        }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc32(digest) | Self::Crc32c(digest) => digest.update(bytes),
            Self::Crc64Nvme(digest) => digest.update(bytes),
            Self::Md5(digest) => digest.update(bytes),
            Self::Sha1(digest) => digest.update(bytes),
            Self::Sha256(digest) => digest.update(bytes),
            Self::Sha512(digest) => digest.update(bytes),
        }
    }

    /// The digest of all of them.
    pub fn finish(self) -> Digest {
        let (algorithm, value) = match self {
            Self::Crc32(digest) => (Algorithm::Crc32, digest.finalize().to_be_bytes().to_vec()),
            Self::Crc32c(digest) => (Algorithm::Crc32c, digest.finalize().to_be_bytes().to_vec()),
            Self::Crc64Nvme(digest) => (Algorithm::Crc64Nvme, digest.finalize().to_be_bytes().to_vec()),
            Self::Md5(digest) => (Algorithm::Md5, digest.finalize().to_vec()),
            Self::Sha1(digest) => (Algorithm::Sha1, digest.finalize().to_vec()),
            Self::Sha256(digest) => (Algorithm::Sha256, digest.finalize().to_vec()),
            Self::Sha512(digest) => (Algorithm::Sha512, digest.finalize().to_vec()),
        };
        Digest { algorithm, value }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check values of the catalogues, for `123456789`.
    #[test]
    fn each_algorithm_gives_what_others_give() {
        for expected in [
            "crc32:cbf43926",
            "crc32c:e3069283",
            "crc64nvme:ae8b14860a799888",
            "md5:25f9e794323b453885f5181f1b624d0b",
            "sha1:f7c3bc1d808e04732adf679965ccc34ca7ae3441",
            "sha256:15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
            "sha512:d9e6762dd1c8eaf6d61b3c6192fc408d4d6d5f1176d0c29169bc24e71c3f274ad27fcd5811b313d681f7e55ec02d73d499c95455b6b5bb503acf574fba8ffe85",
        ] {
            let digest: Digest = expected.parse().unwrap();
            let mut hasher = Hasher::new(digest.algorithm());
            hasher.update(b"12345");
            hasher.update(b"6789");
            assert_eq!(hasher.finish().to_string(), expected);
            assert_eq!(digest.to_string(), expected);
        }
    }

    #[test]
    fn digests_are_read_as_headers_and_checksum_files_have_them() {
        let md5 = Digest::of_base64(Algorithm::Md5, "JfnnlDI7RTiF9RgfG2JNCw==").unwrap();
        assert_eq!(md5.to_string(), "md5:25f9e794323b453885f5181f1b624d0b");
        assert_eq!(Digest::of_hex("25F9E794323B453885F5181F1B624D0B"), Some(md5));
        assert_eq!(Digest::of_hex("25f9"), None);
        assert_eq!(Algorithm::of_name("SHA-256"), Some(Algorithm::Sha256));
        assert!(Algorithm::Sha256 > Algorithm::Md5);
    }

    #[test]
    fn what_is_no_digest_is_refused_with_what_would_be() {
        let refused = |text: &str| text.parse::<Digest>().unwrap_err().to_string();
        assert!(refused("9f86").contains("no colon"));
        assert!(refused("sha3:9f86").contains("the algorithms are crc32, crc32c"));
        assert!(refused("sha256:9f86").contains("sha256 has 64 hexadecimal digits"));
    }
}
