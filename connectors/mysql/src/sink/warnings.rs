//! What the server complains of, row by row.

use towpath_core::Result;

use crate::client::Client;

/// A complaint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) message: String,
    /// The line of the data, counted from 0, if it names one.
    pub(super) line: Option<usize>,
    /// The column, if it names one.
    pub(super) column: Option<String>,
}

impl Complaint {
    /// Reads `Data too long for column 'name' at row 3`, where MariaDB also names database and table.
    pub(super) fn new(message: &str) -> Self {
        let line = message.rsplit_once(" at row ").and_then(|(_, number)| {
            let end = number.find(|character: char| !character.is_ascii_digit()).unwrap_or(number.len());
            number[..end].parse::<usize>().ok()?.checked_sub(1)
        });
        Self { message: message.to_owned(), line, column: column(message) }
    }
}

/// The last name behind `column`.
fn column(message: &str) -> Option<String> {
    let (_, behind) = message.split_once("column ").or_else(|| message.split_once("Column "))?;
    let behind = behind.split_once(" at row ").map_or(behind, |(name, _)| name);
    let quote = behind.chars().next().filter(|character| matches!(character, '\'' | '`'))?;
    let end = behind.rfind(quote)?;
    let name = behind.get(1..end)?.rsplit("`.`").next()?;
    Some(name.to_owned())
}

/// The complaints about the last statement.
pub(super) async fn show(client: &mut Client) -> Result<Vec<Complaint>> {
    let rows = client.query("SHOW WARNINGS").await?;
    let complaint = |row: Vec<Option<String>>| Some(Complaint::new(row.get(2)?.as_deref()?));
    Ok(rows.into_iter().filter_map(complaint).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_and_the_column_are_found_in_the_words_of_both_servers() {
        for (message, line, column) in [
            ("Data too long for column 'name' at row 3", Some(2), Some("name")),
            ("Incorrect integer value: 'at row 9' for column `a`.`b`.`c d` at row 12", Some(11), Some("c d")),
            ("Out of range value for column 'x' at row 1", Some(0), Some("x")),
            ("Column 'x' cannot be null", None, Some("x")),
            ("Duplicate entry '1' for key 'PRIMARY'", None, None),
        ] {
            let complaint = Complaint::new(message);
            assert_eq!((complaint.line, complaint.column.as_deref()), (line, column), "{message}");
        }
    }
}
