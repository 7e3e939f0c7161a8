//! Figures as Markdown.

use std::time::Duration;

/// A table that grows row by row.
pub(super) struct Table(String);

impl Table {
    pub(super) fn new(columns: &[&str]) -> Self {
        let rule: Vec<_> =
            columns.iter().enumerate().map(|(at, _)| if at == 0 { "---" } else { "---:" }).collect();
        let mut table = Self(String::new());
        table.line(columns);
        table.line(&rule);
        table
    }

    pub(super) fn row(&mut self, cells: &[String]) {
        self.line(cells);
    }

    fn line(&mut self, cells: &[impl AsRef<str>]) {
        for cell in cells {
            self.0.push_str("| ");
            self.0.push_str(cell.as_ref());
            self.0.push(' ');
        }
        self.0.push_str("|\n");
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

pub(super) fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

pub(super) fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes / 1_000_000)
}

/// How many times as long.
pub(super) fn times(duration: Duration, other: Duration) -> String {
    format!("{:.2} ×", duration.as_secs_f64() / other.as_secs_f64())
}

pub(super) fn percent(rate: f64) -> String {
    format!("{:.0} %", rate * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_markdown() {
        let mut table = Table::new(&["work", "time"]);
        table.row(&["reading".into(), seconds(Duration::from_millis(1250))]);
        assert_eq!(table.finish(), "| work | time |\n| --- | ---: |\n| reading | 1.25 s |\n");
    }

    #[test]
    fn figures_have_units() {
        assert_eq!(megabytes(12_900_000), "12 MB");
        assert_eq!(times(Duration::from_secs(3), Duration::from_secs(2)), "1.50 ×");
        assert_eq!(percent(0.514), "51 %");
    }
}
