//! How far splits have got. Most of them are at their end, and cost next to nothing.

use std::collections::BTreeMap;

use towpath_core::Position;

/// Splits by their ordinals, each with the position that it has reached.
#[derive(Debug, Default)]
pub(super) struct Covered {
    /// Those that are over.
    ended: Ordinals,
    under_way: BTreeMap<u64, Position>,
}

impl Covered {
    /// Notes how far a split has got. Nothing comes behind its end.
    pub(super) fn insert(&mut self, ordinal: u64, position: Position) {
        if position == Position::End {
            self.under_way.remove(&ordinal);
            self.ended.insert(ordinal);
        } else if !self.ended.contains(ordinal) {
            self.under_way.insert(ordinal, position);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ended.0.is_empty() && self.under_way.is_empty()
    }

    /// Keeps nothing but that this split is over, if it is.
    pub(super) fn keep_end_of(&mut self, ordinal: u64) {
        let has_ended = self.ended.contains(ordinal);
        *self = Self::default();
        if has_ended {
            self.ended.insert(ordinal);
        }
    }

    /// The splits that are over, and how far the others have got.
    pub(super) fn into_parts(self) -> (Ordinals, BTreeMap<u64, Position>) {
        (self.ended, self.under_way)
    }
}

/// A set of ordinals. Splits end nearly in order, so a few ranges hold them.
#[derive(Debug, Default)]
pub(super) struct Ordinals(
    /// The first of each range, and the one behind it. Ranges do not touch.
    BTreeMap<u64, u64>,
);

impl Ordinals {
    pub(super) fn insert(&mut self, ordinal: u64) {
        self.insert_range(ordinal, ordinal + 1);
    }

    pub(super) fn extend(&mut self, other: &Self) {
        other.0.iter().for_each(|(start, end)| self.insert_range(*start, *end));
    }

    /// Whether it has all ordinals below this one.
    pub(super) fn has_all_below(&self, end: u64) -> bool {
        end == 0 || self.0.get(&0).is_some_and(|covered| *covered >= end)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u64> {
        self.0.iter().flat_map(|(start, end)| *start..*end)
    }

    fn contains(&self, ordinal: u64) -> bool {
        self.0.range(..=ordinal).next_back().is_some_and(|(_, end)| ordinal < *end)
    }

    fn insert_range(&mut self, mut start: u64, mut end: u64) {
        // The ranges that it touches become one with it.
        while let Some((first, behind)) = self.0.range(..=end).next_back().map(|(a, b)| (*a, *b))
            && behind >= start
        {
            self.0.remove(&first);
            (start, end) = (start.min(first), end.max(behind));
        }
        self.0.insert(start, end);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    #[test]
    fn ordinals_are_a_set_whatever_their_order() {
        let mut random = 7_u64;
        for _ in 0..50 {
            let (mut ordinals, mut set) = (Ordinals::default(), BTreeSet::new());
            for _ in 0..40 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let ordinal = (random >> 33) % 48;
                ordinals.insert(ordinal);
                set.insert(ordinal);
                assert!((0..50).all(|ordinal| ordinals.contains(ordinal) == set.contains(&ordinal)));
            }
            assert!(ordinals.iter().eq(set.iter().copied()), "{ordinals:?} {set:?}");
            let below = (0..=48).find(|ordinal| !set.contains(ordinal)).unwrap();
            assert!(ordinals.has_all_below(below) && !ordinals.has_all_below(below + 1));
        }
    }

    #[test]
    fn splits_that_end_in_order_are_one_range() {
        let (mut even, mut odd) = (Ordinals::default(), Ordinals::default());
        for ordinal in 0..1000 {
            if ordinal % 2 == 0 { &mut even } else { &mut odd }.insert(ordinal);
        }
        assert_eq!(even.0.len(), 500);
        even.extend(&odd);
        assert_eq!(even.0, BTreeMap::from([(0, 1000)]));
    }

    #[test]
    fn nothing_comes_behind_the_end() {
        let mut covered = Covered::default();
        covered.insert(3, Position::At(json!(1)));
        covered.insert(4, Position::At(json!(2)));
        covered.insert(3, Position::End);
        covered.insert(3, Position::At(json!(5)));
        let (ended, under_way) = covered.into_parts();
        assert!(ended.iter().eq([3]));
        assert_eq!(under_way, BTreeMap::from([(4, Position::At(json!(2)))]));
    }
}
