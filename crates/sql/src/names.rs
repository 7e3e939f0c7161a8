//! The names of what a sink keeps beside its tables.

use sha2::{Digest, Sha256};

/// The table that holds the checkpoints of all pipelines that write into its schema.
pub const CHECKPOINTS: &str = "_towpath_checkpoints";

/// Whether a table of this name is one that a sink keeps beside its tables.
///
/// ```
/// assert!(towpath_sql::is_ours(towpath_sql::CHECKPOINTS) && !towpath_sql::is_ours("orders"));
/// ```
pub fn is_ours(table: &str) -> bool {
    table.starts_with(PREFIX)
}

/// What all our names begin with.
const PREFIX: &str = "_towpath_";

/// The names of what one stream of one pipeline stages. All of them begin with the same prefix, which no other stream
/// has, so that a later run finds what a crashed one left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagingNames {
    prefix: String,
}

impl StagingNames {
    /// The names of a stream.
    pub fn new(pipeline: &str, stream: &str) -> Self {
        // The length keeps ("a", "bc") and ("ab", "c") apart.
        let hash = Sha256::digest(format!("{}:{pipeline}{stream}", pipeline.len()));
        let hash = hash.iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte));
        Self { prefix: format!("{PREFIX}{hash:016x}_") }
    }

    /// What all names of the stream begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The rows of one writer in the run of this epoch.
    pub fn part(&self, epoch: u64, part: u32) -> String {
        format!("{}{epoch}_{part}", self.prefix)
    }

    /// The table that is built beside the target in the run of this epoch.
    pub fn beside(&self, epoch: u64) -> String {
        format!("{}{epoch}_new", self.prefix)
    }

    /// The table that tells which transactions have put rows into the one beside in the run of this epoch.
    pub fn ledger(&self, epoch: u64) -> String {
        format!("{}{epoch}_ledger", self.prefix)
    }

    /// The keys that a run has seen, where those that it did not see are deleted at its end. It outlives a run that was
    /// interrupted.
    pub fn keys(&self) -> String {
        format!("{}keys", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dialect;

    #[test]
    fn each_stream_has_a_prefix_of_its_own_that_never_changes() {
        let names = StagingNames::new("retail", "sales");
        assert_eq!(names, StagingNames::new("retail", "sales"));
        assert_eq!(names.part(3, 7), format!("{}3_7", names.prefix()));
        assert_ne!(StagingNames::new("a", "bc"), StagingNames::new("ab", "c"));
    }

    #[test]
    fn the_longest_name_fits_everywhere() {
        let names = StagingNames::new(&"long".repeat(99), "\u{1f980}");
        let longest = names.part(u64::MAX, u32::MAX).len();
        assert!(longest <= Dialect::Postgres.longest_identifier(), "{longest}");
        assert!(names.part(1, 2).starts_with(names.prefix()));
        for name in [names.beside(1), names.ledger(1), names.keys()] {
            assert!(name.starts_with(names.prefix()));
        }
    }
}
