//! What is known of an object that is not complete.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use towpath_core::{Error, Result, Staged};
use towpath_files::sink::Partial;

use crate::extras::Appearance;

/// Objects that are not complete, by their keys in this map.
pub(in crate::sink) type PartialObjects = BTreeMap<String, PartialObject>;

/// An object that is not complete: an upload, some of its parts, and bytes that are no whole part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sink) struct PartialObject {
    /// Its name, its length, its digest, the bytes that are there.
    #[serde(flatten)]
    pub(super) known: Partial,
    pub(super) upload: OpenUpload,
    /// The parts by their numbers, from 0 on.
    #[serde(default)]
    pub(super) parts: BTreeMap<usize, String>,
    /// Bytes beside them, each in a hidden object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) fragments: Vec<Fragment>,
}

/// An upload that parts are added to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sink) struct OpenUpload {
    /// Where the object will be, below the base.
    pub(super) path: String,
    pub(super) id: String,
    /// What the object will carry.
    pub(super) mark: String,
    /// What it will say of itself.
    #[serde(default, skip_serializing_if = "Appearance::is_plain")]
    pub(super) appearance: Appearance,
    /// How many bytes each part has, but for the last one.
    pub(super) part_size: u64,
}

/// Some bytes of an object, in a hidden object of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sink) struct Fragment {
    pub(super) from: u64,
    pub(super) to: u64,
    /// Below the base.
    pub(super) path: String,
}

/// What a receipt holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Receipt {
    pub(super) objects: PartialObjects,
    /// The notes of uploads that were begun.
    pub(super) notes: Vec<String>,
}

impl Receipt {
    pub(super) fn of(staged: &Staged) -> Result<Self> {
        if staged.version != 1 {
            let message = format!("a receipt has version {}, this build reads 1", staged.version);
            return Err(Error::unsupported(message));
        }
        serde_json::from_value(staged.payload.clone())
            .map_err(|error| Error::unexpected("a receipt cannot be read").source(error))
    }
}

impl PartialObject {
    /// Adds what is known of the same object from elsewhere.
    pub(super) fn merge(&mut self, other: Self) {
        self.known.merge(&other.known);
        if self.upload != other.upload {
            self.known.broken.get_or_insert_with(|| "two uploads were begun for it".to_owned());
        }
        self.parts.extend(other.parts);
        self.fragments.extend(other.fragments);
    }

    /// How many parts the whole object has; an empty one has one without bytes.
    pub(super) fn count(&self) -> usize {
        let size = self.known.size.unwrap_or_default();
        usize::try_from(size.div_ceil(self.upload.part_size).max(1)).unwrap_or(usize::MAX)
    }

    /// The bytes of a part.
    pub(super) fn bounds(&self, index: usize) -> (u64, u64) {
        let from = index as u64 * self.upload.part_size;
        (from, (from + self.upload.part_size).min(self.known.size.unwrap_or(u64::MAX)))
    }
}
