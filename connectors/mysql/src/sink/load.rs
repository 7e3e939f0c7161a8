//! Getting a batch into a table: by `LOAD DATA LOCAL` from memory, or by `INSERT`. Rows that the server refuses, or would
//! change, are found and left out.

use std::ops::AddAssign;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::{StreamExt, stream};
use towpath_core::{Context, Error, ErrorKind, Result};

use super::state::{Place, Staging};
use super::{names, warnings};
use crate::client::Client;
use crate::encode::{Encoder, Fault};
use crate::sql::identifier;
use crate::types::target::TargetType;

/// How many rows are encoded at a time, and how many such pieces are ahead of the server.
const PIECE: usize = 4_096;
const AHEAD: usize = 2;
/// About how long an `INSERT` becomes, and how many rows of it are encoded at a time.
const STATEMENT: usize = 1 << 20;
const INSERT_PIECE: usize = 512;

/// Writes into one table.
pub(super) struct Loader<'a> {
    pub(super) cx: &'a Context,
    pub(super) client: &'a mut Client,
    /// As it stands in a statement.
    pub(super) table: &'a str,
    pub(super) staging: &'a Staging,
}

/// What became of a batch.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) rows: u64,
    pub(super) bytes: u64,
    pub(super) faults: Vec<Fault>,
}

/// One statement, or several that belong together.
#[derive(Debug, Default)]
struct Attempt {
    /// The rows that could be encoded.
    lines: Vec<usize>,
    bytes: u64,
    faults: Vec<Fault>,
    /// What the server refused.
    refused: Option<Refused>,
}

/// What the server said of lines, which are counted from 0.
#[derive(Debug)]
struct Refused {
    named: Vec<(usize, warnings::Complaint)>,
    message: String,
}

impl AddAssign<Attempt> for Attempt {
    fn add_assign(&mut self, other: Self) {
        self.lines.extend(other.lines);
        self.bytes += other.bytes;
        self.faults.extend(other.faults);
    }
}

impl Loader<'_> {
    /// Writes all rows of the batch that the table takes, within the transaction of the connection.
    pub(super) async fn load(&mut self, encoder: &Arc<Encoder>) -> Result<Loaded> {
        let mut loaded = Loaded::default();
        let mut waiting = vec![(0..encoder.len()).collect::<Vec<_>>()];
        while let Some(rows) = waiting.pop() {
            if rows.is_empty() {
                continue;
            }
            self.client.execute("SAVEPOINT towpath_batch").await?;
            let attempt = self.attempt(encoder, rows).await?;
            loaded.bytes += attempt.bytes;
            loaded.faults.extend(attempt.faults);
            let Some(refused) = attempt.refused else {
                loaded.rows += attempt.lines.len() as u64;
                continue;
            };
            self.client.execute("ROLLBACK TO SAVEPOINT towpath_batch").await?;
            leave_out(attempt.lines, refused, &mut waiting, &mut loaded.faults);
        }
        Ok(loaded)
    }

    async fn attempt(&mut self, encoder: &Arc<Encoder>, rows: Vec<usize>) -> Result<Attempt> {
        if self.staging.by_load_data {
            self.load_data(encoder, rows).await
        } else {
            self.insert(encoder, rows).await
        }
    }

    async fn load_data(&mut self, encoder: &Arc<Encoder>, rows: Vec<usize>) -> Result<Attempt> {
        let seen: Arc<Mutex<Attempt>> = Arc::default();
        let pieces: Vec<Vec<usize>> = rows.chunks(PIECE).map(<[usize]>::to_vec).collect();
        let encode = |piece: Vec<usize>| {
            let (encoder, cx) = (encoder.clone(), self.cx.clone());
            async move { cx.cpu(move || Ok(encoder.load(piece))).await }
        };
        let noted = seen.clone();
        let data = stream::iter(pieces.into_iter().map(encode)).buffered(AHEAD).map(move |encoded| {
            let piece = encoded?;
            let bytes = piece.text.len() as u64;
            *noted.lock().unwrap_or_else(PoisonError::into_inner) +=
                Attempt { lines: piece.lines, bytes, faults: piece.faults, refused: None };
            Ok(Bytes::from(piece.text))
        });
        let outcome = self.client.load(&self.load_statement(), data).await;
        let mut attempt = std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner));
        match outcome {
            Ok(outcome) if outcome.warnings == 0 && outcome.affected_rows == attempt.lines.len() as u64 => {}
            Ok(outcome) => attempt.refused = Some(self.complaints(&outcome.info).await?),
            Err(error) if error.kind() == ErrorKind::DataInvalid => {
                attempt.refused = Some(Refused::of(&error));
            }
            Err(error) => return Err(error),
        }
        Ok(attempt)
    }

    /// What the server would have changed in a load.
    async fn complaints(&mut self, info: &str) -> Result<Refused> {
        let complaints = warnings::show(self.client).await?;
        let message = complaints.first().map_or_else(
            || format!("the server left rows out: {info}"),
            |complaint| complaint.message.clone(),
        );
        let named = complaints.into_iter().filter_map(|complaint| Some((complaint.line?, complaint)));
        Ok(Refused { named: named.collect(), message })
    }

    fn load_statement(&self) -> String {
        let mut fields = self.leading_columns();
        let mut assignments = Vec::new();
        for (index, column) in self.staging.columns.iter().enumerate() {
            let name = identifier(&column.name);
            let target = TargetType::from_catalog(&column.type_name);
            let character_set = column.character_set.as_deref();
            match conversion(&target, character_set, self.client.server().is_mariadb) {
                None => fields.push(name),
                Some(conversion) => {
                    let variable = format!("@towpath_{index}");
                    assignments.push(format!("{name} = {}", conversion.replace('?', &variable)));
                    fields.push(variable);
                }
            }
        }
        let set =
            if assignments.is_empty() { String::new() } else { format!(" SET {}", assignments.join(", ")) };
        format!(
            "LOAD DATA LOCAL INFILE 'towpath' INTO TABLE {} CHARACTER SET binary FIELDS TERMINATED BY '\\t' \
             ESCAPED BY '\\\\' LINES TERMINATED BY '\\n' ({}){set}",
            self.table,
            fields.join(", ")
        )
    }

    /// The columns of our own that stand before those of the rows.
    fn leading_columns(&self) -> Vec<String> {
        let mark = match self.staging.place {
            Place::Parts => names::ROW,
            Place::Beside => names::PART,
        };
        let operation = self.staging.operation.as_ref().map(|_| names::DELETE.to_owned());
        std::iter::once(mark.to_owned()).chain(operation).collect()
    }

    async fn insert(&mut self, encoder: &Arc<Encoder>, rows: Vec<usize>) -> Result<Attempt> {
        let mut columns = self.leading_columns();
        columns.extend(self.staging.columns.iter().map(|column| identifier(&column.name)));
        let head = format!("INSERT INTO {} ({}) VALUES ", self.table, columns.join(", "));
        let longest = self.staging.longest_statement.saturating_sub(head.len() + 64);
        let mut waiting: Vec<Vec<usize>> = rows.chunks(INSERT_PIECE).rev().map(<[usize]>::to_vec).collect();
        let mut attempt = Attempt::default();
        while let Some(mut piece) = waiting.pop() {
            let (encoder, rows) = (encoder.clone(), piece.clone());
            let values = self.cx.cpu(move || Ok(encoder.insert(rows))).await?;
            if values.text.len() > longest.min(STATEMENT) && piece.len() > 1 {
                waiting.push(piece.split_off(piece.len() / 2));
                waiting.push(piece);
                continue;
            }
            attempt.faults.extend(values.faults);
            if values.lines.is_empty() {
                continue;
            }
            if values.text.len() > longest {
                let reason = format!("the row is longer than `max_allowed_packet`, {longest} bytes");
                let too_long = |row| Fault { row, column: None, reason: reason.clone() };
                attempt.faults.extend(values.lines.into_iter().map(too_long));
                continue;
            }
            let before = attempt.lines.len();
            attempt.lines.extend(values.lines);
            attempt.bytes += values.text.len() as u64;
            let statement = [head.as_bytes(), &values.text].concat();
            let statement = String::from_utf8(statement)
                .map_err(|error| Error::unexpected("a statement is no UTF-8").source(error))?;
            match self.client.execute(&statement).await {
                Ok(outcome) if outcome.warnings == 0 => {}
                Ok(outcome) => attempt.refused = Some(self.complaints(&outcome.info).await?.behind(before)),
                Err(error) if error.kind() == ErrorKind::DataInvalid => {
                    attempt.refused = Some(Refused::of(&error).behind(before));
                }
                Err(error) => return Err(error),
            }
            if attempt.refused.is_some() {
                // What was not tried comes again with what is left of this.
                attempt.lines.extend(waiting.into_iter().rev().flatten());
                break;
            }
        }
        Ok(attempt)
    }
}

impl Refused {
    fn of(error: &Error) -> Self {
        let complaint = warnings::Complaint::new(error.message());
        let message = complaint.message.clone();
        Self { named: complaint.line.map(|line| (line, complaint)).into_iter().collect(), message }
    }

    /// The same, of lines that stand behind so many others.
    fn behind(mut self, lines: usize) -> Self {
        for (line, _) in &mut self.named {
            *line += lines;
        }
        self
    }
}

/// Notes the lines that the server named, and lets the rest be tried again; where it named none, in two halves.
fn leave_out(
    mut lines: Vec<usize>,
    refused: Refused,
    waiting: &mut Vec<Vec<usize>>,
    faults: &mut Vec<Fault>,
) {
    let named = refused.named.into_iter().filter(|(line, _)| *line < lines.len());
    let mut named: Vec<_> = named.collect();
    if named.is_empty() && lines.len() == 1 {
        faults.push(Fault { row: lines[0], column: None, reason: refused.message });
        return;
    }
    if named.is_empty() {
        waiting.push(lines.split_off(lines.len() / 2));
        waiting.push(lines);
        return;
    }
    named.sort_by_key(|(line, _)| *line);
    named.dedup_by_key(|(line, _)| *line);
    for (line, complaint) in named.iter().rev() {
        let row = lines.remove(*line);
        faults.push(Fault { row, column: complaint.column.clone(), reason: complaint.message.clone() });
    }
    waiting.push(lines);
}

/// What has to be made of a value that came as bytes; `?` stands for it.
fn conversion(target: &TargetType, character_set: Option<&str>, is_mariadb: bool) -> Option<&'static str> {
    const AS_TEXT: &str = "CONVERT(? USING utf8mb4)";
    match target {
        // The bytes of a text would become its bits.
        TargetType::Bit(_) => Some("CAST(? AS UNSIGNED)"),
        TargetType::Json if !is_mariadb => Some(AS_TEXT),
        TargetType::Named(_) | TargetType::Other | TargetType::Enum(_) | TargetType::Set(_) => Some(AS_TEXT),
        TargetType::Text(_) if !matches!(character_set, Some("utf8mb4" | "utf8mb3" | "utf8")) => {
            Some(AS_TEXT)
        }
        _ => None,
    }
}
