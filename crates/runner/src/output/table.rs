//! Tables of text.

use console::{Alignment, measure_text_width, pad_str, truncate_str};

use super::paint::Paint;

/// A table: a header, rows, and which columns hold numbers.
#[derive(Debug, Default)]
pub(crate) struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
    numbers: Vec<usize>,
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
        if let Some(width) = width {
            fit(&mut widths, width);
        }
        let left_out = self.header.len() - widths.len();
        let mut text = paint.bold(&self.line(&self.header, &widths));
        text.push('\n');
        for row in &self.rows {
            text.push_str(&self.line(row, &widths));
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

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let cells = cells.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
            let side = if self.numbers.contains(&column) { Alignment::Right } else { Alignment::Left };
            pad_str(&truncate_str(cell, *width, "…"), *width, side, None).into_owned()
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
    fn a_screen_that_is_too_narrow_leaves_columns_out() {
        let mut table = Table::new(["first", "second", "third"]);
        table.row(["a", "b", "a long cell"]);
        let text = table.render(Some(14), Paint::none());
        assert_eq!(text, "first  second\na      b\n(and 1 more columns; widen the terminal)\n");
    }
}
