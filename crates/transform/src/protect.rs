//! Values that must not be seen: hash and mask.

use sha2::{Digest, Sha256, Sha512};
use towpath_core::Result;

use crate::columns::{find, with_named};
use crate::text::{map_text, push_hexadecimal};
use crate::transform::{Needed, Operation, named_once};
use crate::work::{Named, Work};
use crate::{Hash, HashAlgorithm, Mask, Missing};

/// Changes the texts of some columns.
fn protect(
    work: &mut Work<'_>,
    columns: &[Named],
    missing: Missing,
    mut change: impl FnMut(&str, &mut String),
) -> Result<()> {
    let mut changed = Vec::with_capacity(columns.len());
    for column in columns {
        if let Some(index) = find(column, missing, &work.batch)? {
            let array = map_text(work.batch.column(index), &mut change);
            changed.push((index, array.map_err(|error| error.detail("column", column.name()))?));
        }
    }
    work.set_columns(changed)
}

pub(crate) struct HashColumns {
    columns: Vec<Named>,
    hasher: Hasher,
    missing: Missing,
}

/// A digest that has taken the salt already.
enum Hasher {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    fn push(&self, text: &str, out: &mut String) {
        match self {
            Self::Sha256(salted) => push_hexadecimal(&salted.clone().chain_update(text).finalize(), out),
            Self::Sha512(salted) => push_hexadecimal(&salted.clone().chain_update(text).finalize(), out),
        }
    }
}

impl HashColumns {
    pub(crate) fn new(hash: &Hash) -> Result<Self> {
        let salt = hash.salt.as_ref().map_or("", |salt| salt.expose().as_str());
        let hasher = match hash.algorithm {
            HashAlgorithm::Sha256 => Hasher::Sha256(Sha256::new_with_prefix(salt)),
            HashAlgorithm::Sha512 => Hasher::Sha512(Sha512::new_with_prefix(salt)),
        };
        Ok(Self { columns: named_once(&hash.columns.0)?, hasher, missing: hash.missing })
    }
}

impl Operation for HashColumns {
    fn apply(&self, work: &mut Work<'_>) -> Result<()> {
        protect(work, &self.columns, self.missing, |text, out| self.hasher.push(text, out))
    }

    fn columns_needed(&self, after: Option<Needed>) -> Option<Needed> {
        with_named(after, &self.columns)
    }

    fn named(&self) -> Vec<&Named> {
        self.columns.iter().collect()
    }
}

pub(crate) struct MaskColumns {
    columns: Vec<Named>,
    keep_last: usize,
    with: String,
    missing: Missing,
}

impl MaskColumns {
    pub(crate) fn new(mask: &Mask) -> Result<Self> {
        let columns = named_once(&mask.columns.0)?;
        Ok(Self { columns, keep_last: mask.keep_last, with: mask.with.clone(), missing: mask.missing })
    }

    fn push(&self, text: &str, out: &mut String) {
        let length = text.chars().count();
        let hidden = if length <= self.keep_last { length } else { length - self.keep_last };
        for _ in 0..hidden {
            out.push_str(&self.with);
        }
        out.extend(text.chars().skip(hidden));
    }
}

impl Operation for MaskColumns {
    fn apply(&self, work: &mut Work<'_>) -> Result<()> {
        protect(work, &self.columns, self.missing, |text, out| self.push(text, out))
    }

    fn columns_needed(&self, after: Option<Needed>) -> Option<Needed> {
        with_named(after, &self.columns)
    }

    fn named(&self) -> Vec<&Named> {
        self.columns.iter().collect()
    }
}
