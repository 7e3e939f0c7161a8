//! Tables of text.

use console::{Alignment, measure_text_width, pad_str, truncate_str};

use super::paint::Paint;

/// A table: a header, rows, and which columns hold numbers.
#[derive(Debug, Default)]
pub(crate) struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
    numbers: Vec<usize>,
    wraps_last: bool,
}

const GAP: &str = "  ";

impl Table {
    /// A table with these columns.
    pub(crate) fn new<T: Into<String>>(header: impl IntoIterator<Item = T>) -> Self {
        Self { header: header.into_iter().map(|name| one_line(&name.into())).collect(), ..Self::default() }
    }

    /// Aligns these columns to the right.
    pub(crate) fn numbers(mut self, columns: impl IntoIterator<Item = usize>) -> Self {
        self.numbers = columns.into_iter().collect();
        self
    }

    /// Lets the last column take several lines instead of being cut.
    pub(crate) fn wrap_last(mut self) -> Self {
        self.wraps_last = true;
        self
    }

    /// Adds a row.
    pub(crate) fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.rows.push(cells.into_iter().map(|cell| one_line(&cell.into())).collect());
    }

    /// Whether there is no row.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as text, no wider than this. Long columns are cut, and if that does not help, columns left out.
    pub(crate) fn render(&self, width: Option<usize>, paint: Paint) -> String {
        let mut widths: Vec<usize> =
            (0..self.header.len()).map(|column| self.natural_width(column)).collect();
        match width {
            Some(width) if self.wraps_last => fit_wrapping(&mut widths, width),
            Some(width) => fit(&mut widths, width),
            None => {}
        }
        let left_out = self.header.len() - widths.len();
        let mut text = paint.bold(&self.line(&self.header, &widths));
        text.push('\n');
        for line in self.rows.iter().flat_map(|row| self.lines(row, &widths)) {
            text.push_str(&line);
            text.push('\n');
        }
        if left_out > 0 {
            text.push_str(&paint.dim(&format!("(and {left_out} more columns; widen the terminal)")));
            text.push('\n');
        }
        text
    }

    fn natural_width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        cells.chain(self.header.get(column)).map(|cell| measure_text_width(cell)).max().unwrap_or(0)
    }

    /// The lines of a row: one, unless the last column is wrapped.
    fn lines(&self, row: &[String], widths: &[usize]) -> Vec<String> {
        let (Some((last, others)), Some(width)) = (row.split_last(), widths.last()) else {
            return Vec::new();
        };
        if !self.wraps_last {
            return vec![self.line(row, widths)];
        }
        let line = |(index, part): (usize, String)| {
            let blank = vec![String::new(); others.len()];
            let others = if index == 0 { others.to_vec() } else { blank };
            self.line(&[others, vec![part]].concat(), widths)
        };
        wrapped(last, *width).into_iter().enumerate().map(line).collect()
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let cells = cells.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
            let side = if self.numbers.contains(&column) { Alignment::Right } else { Alignment::Left };
            // A word that is longer than the wrapped column stands out rather than being cut.
            let is_whole = self.wraps_last && column + 1 == widths.len();
            let cell = if is_whole { cell.into() } else { truncate_str(cell, *width, "…") };
            pad_str(&cell, *width, side, None).into_owned()
        });
        cells.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
    }
}

/// Narrows the widest columns until all fit; then leaves out the last ones.
fn fit(widths: &mut Vec<usize>, width: usize) {
    const NARROWEST: usize = 8;
    let total = |widths: &[usize]| widths.iter().sum::<usize>() + GAP.len() * widths.len().saturating_sub(1);
    while total(widths) > width {
        let widest = widths.iter_mut().max().expect("a table that is too wide has columns");
        if *widest > NARROWEST {
            *widest -= 1;
        } else if widths.len() > 1 {
            widths.pop();
        } else {
            return;
        }
    }
}

/// Narrows the columns before the last one to what names and types need, and gives the last one the rest.
fn fit_wrapping(widths: &mut [usize], width: usize) {
    const WIDEST: usize = 28;
    const NARROWEST_TEXT: usize = 24;
    let Some((last, others)) = widths.split_last_mut() else { return };
    for other in &mut *others {
        *other = (*other).min(WIDEST);
    }
    let taken = others.iter().map(|other| other + GAP.len()).sum::<usize>();
    *last = (*last).min(width.saturating_sub(taken).max(NARROWEST_TEXT));
}

/// A text in lines that are no wider than this, unless a word is.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is always a line");
        if line.is_empty() {
            line.push_str(word);
        } else if measure_text_width(line) + 1 + measure_text_width(word) <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// A cell is one line; what would break the table is shown as people write it in code.
fn one_line(text: &str) -> String {
    text.chars().fold(String::new(), |mut line, character| {
        match character {
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            control if control.is_control() => line.extend(control.escape_default()),
            other => line.push(other),
        }
        line
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(["id", "name"]).numbers([0]);
        table.row(["1", "Ann"]);
        table.row(["100", "河\nBen the longest name of all"]);
        table
    }

    #[test]
    fn numbers_are_aligned_to_the_right_and_lines_stay_lines() {
        let expected = " id  name\n  1  Ann\n100  河\\nBen the longest name of all\n";
        assert_eq!(table().render(None, Paint::none()), expected);
    }

    #[test]
    fn a_narrow_screen_cuts_the_longest_column() {
        assert_eq!(table().render(Some(15), Paint::none()), " id  name\n  1  Ann\n100  河\\nBen t…\n");
    }

    #[test]
    fn a_last_column_that_wraps_takes_several_lines_and_is_not_cut() {
        let mut table = Table::new(["option", "text"]).wrap_last();
        table.row(["path", "Which files are read, in which folder, by which glob."]);
        let expected = "\
option  text
path    Which files are read, in
        which folder, by which
        glob.
";
        assert_eq!(table.render(Some(32), Paint::none()), expected);
    }

    #[test]
    fn a_screen_that_is_too_narrow_leaves_columns_out() {
        let mut table = Table::new(["first", "second", "third"]);
        table.row(["a", "b", "a long cell"]);
        let text = table.render(Some(14), Paint::none());
        assert_eq!(text, "first  second\na      b\n(and 1 more columns; widen the terminal)\n");
    }
}
