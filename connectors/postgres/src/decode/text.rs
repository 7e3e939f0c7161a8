//! Text, of which all new values are checked at once.

use std::sync::Arc;

use arrow::array::{ArrayRef, NullBufferBuilder, StringArray};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use towpath_core::Result;

use super::Refusal;
use super::builder::text;

/// A column of text that grows by many values at once.
pub(super) struct TextBuilder {
    values: Vec<u8>,
    /// Where each value ends, behind where the first one begins.
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
    /// How many bytes there may be, so that offsets reach as far.
    most: usize,
}

impl TextBuilder {
    pub(super) fn with_capacity(rows: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        let (values, nulls) = (Vec::with_capacity(16 * rows), NullBufferBuilder::new(rows));
        Self { values, offsets, nulls, most: i32::MAX as usize }
    }

    /// Appends values. One that is no UTF-8 leaves a null, and `refuse` is told which it was and why.
    pub(super) fn append_all<'a>(
        &mut self,
        values: impl Iterator<Item = Option<&'a [u8]>> + Clone,
        refuse: &mut dyn FnMut(usize, Refusal),
    ) {
        let (start, rows) = (self.values.len(), self.offsets.len());
        for value in values.clone() {
            self.push(value.unwrap_or_default());
        }
        // ASCII, as most text is, needs one look at all of it; else each value has to be whole by itself.
        if self.values[start..].is_ascii() && self.values.len() <= self.most {
            values.for_each(|value| self.nulls.append(value.is_some()));
            return;
        }
        self.values.truncate(start);
        self.offsets.truncate(rows);
        for (index, value) in values.enumerate() {
            let value = value.map(|bytes| self.fitting(bytes)).transpose().unwrap_or_else(|refusal| {
                refuse(index, refusal);
                None
            });
            self.push(value.unwrap_or_default().as_bytes());
            self.nulls.append(value.is_some());
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.values.extend_from_slice(bytes);
        // What ends behind that is taken out again.
        self.offsets.push(i32::try_from(self.values.len()).unwrap_or(i32::MAX));
    }

    /// The text, if there is room for it.
    fn fitting<'a>(&self, bytes: &'a [u8]) -> std::result::Result<&'a str, Refusal> {
        if self.values.len() + bytes.len() > self.most {
            let reason = "a batch cannot hold so much text; lower `batch_size`";
            return Err(Refusal::new(format!("{} bytes", bytes.len()), reason));
        }
        text(bytes)
    }

    pub(super) fn finish(mut self) -> Result<ArrayRef> {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        let array = StringArray::try_new(offsets, Buffer::from_vec(self.values), self.nulls.finish())?;
        Ok(Arc::new(array))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::AsArray;

    fn built(values: &[Option<&[u8]>]) -> (Vec<Option<String>>, Vec<(usize, String)>) {
        let (mut builder, mut refused) = (TextBuilder::with_capacity(1), Vec::new());
        // In two goes, so that the second begins behind the first.
        let (first, second) = values.split_at(1);
        builder.append_all(first.iter().copied(), &mut |_, refusal| panic!("{refusal:?}"));
        builder
            .append_all(second.iter().copied(), &mut |index, refusal| refused.push((index, refusal.value)));
        let array = builder.finish().unwrap();
        (array.as_string::<i32>().iter().map(|value| value.map(str::to_owned)).collect(), refused)
    }

    #[test]
    fn ascii_nulls_and_empty_texts_keep_their_places() {
        let (values, refused) = built(&[Some(b"a"), None, Some(b""), Some(b"bcd"), None]);
        let expected = [Some("a"), None, Some(""), Some("bcd"), None];
        assert_eq!(values, expected.map(|value| value.map(str::to_owned)));
        assert_eq!(refused, []);
    }

    #[test]
    fn text_beyond_ascii_arrives_and_what_is_no_utf8_is_refused_alone() {
        let (values, refused) =
            built(&[Some(b"a"), Some("\u{fc}ber".as_bytes()), Some(b"b\xff"), None, Some(b"c")]);
        let expected = [Some("a"), Some("\u{fc}ber"), None, None, Some("c")];
        assert_eq!(values, expected.map(|value| value.map(str::to_owned)));
        assert_eq!(refused, [(1, "b\u{fffd}".to_owned())]);
    }

    #[test]
    fn text_for_which_a_batch_has_no_room_is_refused_and_what_fits_behind_it_is_not() {
        let (mut builder, mut refused) = (TextBuilder::with_capacity(1), Vec::new());
        builder.most = 4;
        let values = [&b"abc"[..], b"de", b"f"].map(Some);
        builder.append_all(values.into_iter(), &mut |index, refusal| refused.push((index, refusal.value)));
        let array = builder.finish().unwrap();
        let found: Vec<_> = array.as_string::<i32>().iter().collect();
        assert_eq!((found, refused), (vec![Some("abc"), None, Some("f")], vec![(1, "2 bytes".to_owned())]));
    }

    #[test]
    fn halves_of_a_character_do_not_make_up_for_each_other() {
        let (values, refused) = built(&[Some(b"a"), Some(b"\xc3"), Some(b"\xbc")]);
        assert_eq!(values, [Some("a".to_owned()), None, None]);
        assert_eq!(refused.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 1]);
    }
}
