//! The cells of a block of CSV, by row and column, without a copy of their text.

/// Where a cell's text stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell {
    start: u32,
    length_and_flags: u32,
}

/// It stood in quotes.
const QUOTED: u32 = 1 << 31;
/// Its text is in the scratch, because escapes were taken out.
const REWRITTEN: u32 = 1 << 30;

impl Cell {
    pub(crate) fn plain(start: usize, end: usize) -> Self {
        Self::new(start, end, 0)
    }

    pub(crate) fn quoted(start: usize, end: usize) -> Self {
        Self::new(start, end, QUOTED)
    }

    pub(crate) fn rewritten(start: usize, end: usize) -> Self {
        Self::new(start, end, QUOTED | REWRITTEN)
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "no block comes near 1 GiB, as no record is longer than 256 MiB"
    )]
    fn new(start: usize, end: usize, flags: u32) -> Self {
        Self { start: start as u32, length_and_flags: (end - start) as u32 | flags }
    }

    /// The cell's text and whether it stood in quotes.
    #[inline]
    pub(crate) fn text<'a>(self, text: &'a str, scratch: &'a str) -> (&'a str, bool) {
        let source = if self.length_and_flags & REWRITTEN == 0 { text } else { scratch };
        let start = self.start as usize;
        let end = start + (self.length_and_flags & !(QUOTED | REWRITTEN)) as usize;
        (&source[start..end], self.length_and_flags & QUOTED != 0)
    }
}

/// The cells of one column.
pub(crate) struct Cells<'a> {
    pub(crate) text: &'a str,
    pub(crate) scratch: &'a str,
    /// All cells of all columns, row by row.
    pub(crate) all: &'a [Cell],
    /// How many columns a row has.
    pub(crate) width: usize,
    pub(crate) column: usize,
    pub(crate) null_values: &'a [String],
}

impl<'a> Cells<'a> {
    /// How many rows.
    pub(crate) fn len(&self) -> usize {
        self.all.len() / self.width
    }

    /// A row's text, and whether it stood in quotes; `None` is null. An empty text without quotes is left to the type.
    #[inline]
    pub(crate) fn get(&self, row: usize) -> Option<(&'a str, bool)> {
        let (text, quoted) = self.all[row * self.width + self.column].text(self.text, self.scratch);
        if !self.null_values.is_empty() && self.null_values.iter().any(|null| null == text) {
            return None;
        }
        Some((text, quoted))
    }
}
