//! Looking for bytes that need quotes or escapes, many at a time.

use arrow::array::{Array, GenericStringArray, OffsetSizeTrait};

/// Bytes to be looked through.
#[derive(Clone, Copy)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl Bytes<'_> {
    /// Whether the test holds for any byte. The inner loop has no branch, so that it compiles to vector instructions.
    #[inline]
    pub(super) fn any(self, test: impl Fn(u8) -> bool) -> bool {
        self.0.chunks(64).any(|chunk| chunk.iter().fold(false, |found, byte| found | test(*byte)))
    }
}

/// All values of a column, one behind the other.
pub(super) fn all_values<O: OffsetSizeTrait>(array: &GenericStringArray<O>) -> Bytes<'_> {
    let offsets = array.value_offsets();
    Bytes(&array.value_data()[offsets[0].as_usize()..offsets[array.len()].as_usize()])
}
