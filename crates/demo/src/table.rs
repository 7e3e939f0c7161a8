//! A CSV file in memory, whose rows can be shown as JSON.

use std::io;

use async_compression::tokio::bufread::GzipDecoder;
use tokio::io::AsyncReadExt;

/// How this data spells that there is no value.
const NO_VALUE: &str = "NA";
const TEXT: [&str; 5] = ["carrier", "tailnum", "origin", "dest", "time_hour"];
const FRACTIONS: [&str; 8] =
    ["temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib"];

/// The rows of a CSV file without quotes.
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<String>,
}

struct Column {
    name: String,
    kind: Kind,
}

/// How the values of a column are written in JSON.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    Fraction,
    Whole,
}

impl Table {
    /// Decompresses and cuts into lines.
    pub(crate) async fn load(compressed: &[u8]) -> io::Result<Self> {
        let mut text = String::new();
        GzipDecoder::new(compressed).read_to_string(&mut text).await?;
        let mut lines = text.lines();
        let columns = lines.next().unwrap_or_default().split(',').map(Column::new).collect();
        Ok(Self { columns, rows: lines.map(str::to_owned).collect() })
    }

    /// How many rows it has.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The values of a column, row by row.
    pub(crate) fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let place = self.columns.iter().position(|column| column.name == name);
        let place = place.expect("the data has the columns that are asked for");
        self.rows.iter().map(move |row| row.split(',').nth(place).unwrap_or(NO_VALUE))
    }

    /// How many rows have a value in this column.
    pub(crate) fn count_values(&self, name: &str) -> u64 {
        self.values(name).filter(|value| *value != NO_VALUE).count() as u64
    }

    /// These rows as a JSON array of objects.
    pub(crate) fn json(&self, rows: impl IntoIterator<Item = usize>) -> String {
        let mut json = String::from("[");
        for (index, row) in rows.into_iter().enumerate() {
            json.push_str(if index == 0 { "{" } else { ",{" });
            for (place, (column, value)) in self.columns.iter().zip(self.rows[row].split(',')).enumerate() {
                json.push_str(if place == 0 { "" } else { "," });
                column.write(&mut json, value);
            }
            json.push('}');
        }
        json.push(']');
        json
    }
}

impl Column {
    fn new(name: &str) -> Self {
        let kind = match name {
            _ if TEXT.contains(&name) => Kind::Text,
            _ if FRACTIONS.contains(&name) => Kind::Fraction,
            _ => Kind::Whole,
        };
        Self { name: name.to_owned(), kind }
    }

    fn write(&self, json: &mut String, value: &str) {
        json.push('"');
        json.push_str(&self.name);
        json.push_str("\":");
        match self.kind {
            _ if value == NO_VALUE => json.push_str("null"),
            // The texts are codes and times: nothing in them needs an escape.
            Kind::Text => {
                json.push('"');
                json.push_str(value);
                json.push('"');
            }
            // A fraction stays one where it happens to be whole.
            Kind::Fraction if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                json.push_str(value);
                json.push_str(".0");
            }
            Kind::Fraction | Kind::Whole => json.push_str(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Table {
        let mut lines = text.lines();
        let columns = lines.next().unwrap().split(',').map(Column::new).collect();
        Table { columns, rows: lines.map(str::to_owned).collect() }
    }

    #[test]
    fn rows_become_json_objects_with_the_types_of_their_columns() {
        let table = table("origin,temp,hour\nEWR,39,1\nNA,NA,NA\nJFK,-1e-04,23");
        assert_eq!(
            table.json([0, 1, 2]),
            r#"[{"origin":"EWR","temp":39.0,"hour":1},{"origin":null,"temp":null,"hour":null},{"origin":"JFK","temp":-1e-04,"hour":23}]"#
        );
    }

    #[test]
    fn values_that_are_there_are_counted() {
        let table = table("origin,dep_time\nEWR,517\nEWR,NA\nJFK,518");
        assert_eq!(table.count_values("dep_time"), 2);
        assert_eq!(table.len(), 3);
    }
}
