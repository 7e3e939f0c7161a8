//! What is known of a file that is not complete.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use towpath_core::{Error, Result, Staged};
use towpath_formats::chunks::Chunk;

use super::staging::check_version;
use crate::names::hex_digits;

/// Files that are not complete, by their keys.
pub type Partials = BTreeMap<String, Partial>;

/// What is known of a file that is not complete.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partial {
    /// Its name below the target's folder.
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    /// Its length, once something told it.
    pub size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    /// The digest that it must have, once something told it.
    pub digest: Option<String>,
    /// The bytes that are there: from, and up to. In order, and none touches another.
    pub ranges: Vec<(u64, u64)>,
    /// Why it can never be completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<String>,
}

/// What a receipt holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PartialReceipt {
    /// The files, with the bytes that were staged.
    pub files: Partials,
}

impl PartialReceipt {
    /// Reads what a writer's receipt holds.
    ///
    /// # Errors
    /// `Unsupported` for the receipt of a newer build.
    pub fn of(staged: &Staged) -> Result<Self> {
        check_version(staged)?;
        serde_json::from_value(staged.payload.clone())
            .map_err(|error| Error::unexpected("a receipt cannot be read").source(error))
    }
}

/// The key of the file that a chunk belongs to. Contents of different versions never meet in one partial file.
pub fn key(chunk: &Chunk<'_>) -> String {
    /// Half of a SHA-256 is more than enough to tell files apart.
    const BYTES: usize = 16;
    let mut hasher = Sha256::new();
    hasher.update(chunk.name);
    hasher.update([0, u8::from(chunk.version.is_some())]);
    hasher.update(chunk.version.unwrap_or_default());
    hasher.finalize().iter().take(BYTES).flat_map(|byte| hex_digits(*byte)).collect()
}

impl Partial {
    /// What a chunk tells.
    pub fn of(chunk: &Chunk<'_>) -> Self {
        let length = chunk.length();
        let end = chunk.offset.saturating_add(length);
        Self {
            name: chunk.name.to_owned(),
            size: chunk.size,
            digest: chunk.digest.map(str::to_owned),
            ranges: if length == 0 { Vec::new() } else { vec![(chunk.offset, end)] },
            broken: None,
        }
    }

    /// Adds what is known of the same file from elsewhere.
    pub fn merge(&mut self, other: &Self) {
        for (ours, theirs, what) in [
            (self.size.map(|size| size.to_string()), other.size.map(|size| size.to_string()), "length"),
            (self.digest.clone(), other.digest.clone(), "digest"),
        ] {
            if let (Some(ours), Some(theirs)) = (ours, theirs)
                && ours != theirs
            {
                self.broken.get_or_insert(format!("its {what} is once {ours} and once {theirs}"));
            }
        }
        self.size = self.size.or(other.size);
        self.digest = self.digest.take().or_else(|| other.digest.clone());
        self.broken = self.broken.take().or_else(|| other.broken.clone());
        self.ranges.extend(&other.ranges);
        self.ranges.sort_unstable();
        let mut joined: Vec<(u64, u64)> = Vec::with_capacity(self.ranges.len());
        for (from, to) in self.ranges.drain(..) {
            match joined.last_mut() {
                Some((_, end)) if from <= *end => *end = to.max(*end),
                _ => joined.push((from, to)),
            }
        }
        self.ranges = joined;
    }

    /// The end of the last bytes that are there.
    pub fn end(&self) -> u64 {
        self.ranges.last().map_or(0, |(_, end)| *end)
    }

    /// Whether all bytes are there.
    pub fn is_complete(&self) -> bool {
        match (self.size, self.ranges.as_slice()) {
            (Some(0), []) => true,
            (Some(size), [(0, end)]) => *end == size,
            _ => false,
        }
    }

    /// Why it is not complete though nothing more will come.
    pub fn lack(&self) -> String {
        let Some(size) = self.size else { return "it is incomplete: nothing told its length".to_owned() };
        let mut next = 0;
        for (from, to) in &self.ranges {
            if *from > next {
                return format!("it is incomplete: the bytes from {next} to {from} are missing");
            }
            next = *to;
        }
        if next < size {
            return format!("it is incomplete: the bytes from {next} to {size} are missing");
        }
        format!("it has {next} bytes, and its length is {size}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partial(size: Option<u64>, ranges: &[(u64, u64)]) -> Partial {
        Partial { name: "a".to_owned(), size, ranges: ranges.to_vec(), ..Partial::default() }
    }

    #[test]
    fn bytes_come_together_in_any_order_and_twice() {
        let mut file = partial(None, &[(10, 20)]);
        for range in [(30, 40), (0, 5), (5, 10), (12, 31)] {
            assert!(!file.is_complete());
            file.merge(&partial(Some(40), &[range]));
        }
        file.merge(&partial(Some(40), &[(0, 40)]));
        assert_eq!(file, partial(Some(40), &[(0, 40)]));
        assert!(file.is_complete() && partial(Some(0), &[]).is_complete());
        assert!(!partial(Some(30), &[(0, 40)]).is_complete());
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(
            partial(Some(9), &[(0, 3), (5, 9)]).lack(),
            "it is incomplete: the bytes from 3 to 5 are missing"
        );
        assert_eq!(partial(Some(9), &[(0, 3)]).lack(), "it is incomplete: the bytes from 3 to 9 are missing");
        assert_eq!(partial(None, &[(0, 3)]).lack(), "it is incomplete: nothing told its length");
        assert_eq!(partial(Some(3), &[(0, 4)]).lack(), "it has 4 bytes, and its length is 3");
    }

    #[test]
    fn chunks_that_disagree_break_their_file() {
        let mut file = partial(Some(9), &[]);
        file.merge(&partial(Some(8), &[]));
        assert_eq!(file.broken.as_deref(), Some("its length is once 9 and once 8"));
    }

    #[test]
    fn another_version_is_another_file() {
        let chunk = Chunk {
            name: "a",
            offset: 0,
            size: None,
            version: None,
            digest: None,
            data: bytes::Bytes::new(),
            named: None,
        };
        let keys =
            [None, Some(""), Some("1"), Some("2")].map(|version| key(&Chunk { version, ..chunk.clone() }));
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), 4);
        assert_eq!(keys[0].len(), 32);
    }
}
