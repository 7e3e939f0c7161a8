//! A block of CSV to a batch.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::compute::filter_record_batch;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, Schema};
use towpath_core::{ColumnType, Rejected, Result, widen};

use super::dialect::Dialect;
use super::records::{Records, Span, split};
use crate::text::block::{Decoded, Place, readable};
use crate::text::cells::Cells;
use crate::text::scalars::scalars;
use crate::text::value::{self, Accept};
use crate::{Columns, CsvRead};

/// What all blocks of a file have in common.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) options: Arc<CsvRead>,
    pub(crate) dialect: Dialect,
    /// The names of the file's columns.
    pub(crate) names: Arc<[String]>,
}

/// What a block is decoded to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    /// The columns so far, in any order.
    pub(crate) known: &'a Schema,
    /// The types that never widen.
    pub(crate) declared: &'a Columns,
    /// The only columns wanted.
    pub(crate) wanted: Option<&'a [String]>,
}

/// Decodes a block of whole records.
///
/// # Errors
/// `Config` for a declared type that text cannot hold.
pub(crate) fn decode(bytes: &[u8], layout: &Layout, target: Target<'_>, place: &Place) -> Result<Decoded> {
    let (text, invalid) = readable(bytes);
    let width = layout.names.len();
    let records = split(&text, layout.dialect, width, layout.options.allow_short_rows);
    let mut decoder =
        Decoder { bytes, text: &text, layout, target, place, records: &records, bad: BTreeMap::new() };
    decoder.reject_invalid(&invalid);
    let mut fields = Vec::with_capacity(width);
    let mut columns = Vec::with_capacity(width);
    for (index, name) in layout.names.iter().enumerate() {
        if target.wanted.is_none_or(|wanted| wanted.contains(name)) {
            let array = decoder.column(index, name)?;
            fields.push(Field::new(name, array.data_type().clone(), true));
            columns.push(array);
        }
    }
    let options = RecordBatchOptions::new().with_row_count(Some(records.rows.len()));
    let rows = RecordBatch::try_new_with_options(Schema::new(fields).into(), columns, &options)?;
    decoder.finish(rows)
}

/// The types of a block's columns, no narrower than these.
pub(crate) fn infer(
    bytes: &[u8],
    layout: &Layout,
    declared: &Columns,
    types: &mut [DataType],
    max_rows: usize,
) -> usize {
    let (text, _) = readable(bytes);
    let width = layout.names.len();
    let mut records = split(&text, layout.dialect, width, layout.options.allow_short_rows);
    records.cells.truncate(max_rows.saturating_mul(width));
    for (index, (name, data_type)) in layout.names.iter().zip(types).enumerate() {
        if declared.get(name).is_none() {
            *data_type = widen_over(&cells(&text, &records, layout, index), data_type.clone());
        }
    }
    records.cells.len() / width.max(1)
}

fn cells<'a>(text: &'a str, records: &'a Records, layout: &'a Layout, column: usize) -> Cells<'a> {
    Cells {
        text,
        scratch: &records.scratch,
        all: &records.cells,
        width: layout.names.len(),
        column,
        null_values: &layout.options.null_values,
    }
}

/// The narrowest type, no narrower than this one, that holds all cells.
fn widen_over(cells: &Cells<'_>, from: DataType) -> DataType {
    let mut data_type = from;
    for (text, _) in (0..cells.len()).filter_map(|row| cells.get(row)) {
        if data_type == DataType::Utf8 {
            break;
        }
        if text.is_empty() || value::fits(text, &data_type) {
            continue;
        }
        let wider = widen(&data_type, &value::infer(text));
        // Where both types are one already and the value still does not fit, only text is wide enough.
        data_type = if wider == data_type { DataType::Utf8 } else { wider };
    }
    data_type
}

struct Decoder<'a> {
    bytes: &'a [u8],
    text: &'a str,
    layout: &'a Layout,
    target: Target<'a>,
    place: &'a Place,
    records: &'a Records,
    /// Rows that cannot be read.
    bad: BTreeMap<usize, Rejected>,
}

impl Decoder<'_> {
    fn reject_invalid(&mut self, invalid: &[usize]) {
        for at in invalid {
            let row = self.records.rows.partition_point(|span| span.end <= *at);
            if let Some(span) = self.records.rows.get(row).filter(|span| span.start <= *at) {
                let byte = self.bytes[*at];
                let reason =
                    format!("invalid UTF-8 (byte {byte:#04x}); set `encoding` if the file has another one");
                let rejected = self.rejected(*span, reason);
                self.bad.entry(row).or_insert(rejected);
            }
        }
    }

    fn rejected(&self, span: Span, reason: String) -> Rejected {
        let row = String::from_utf8_lossy(&self.bytes[span.start..span.end]);
        Rejected::new(self.place.of(&self.bytes[..span.start], 0), reason).row(row.into_owned())
    }

    fn column(&mut self, index: usize, name: &str) -> Result<ArrayRef> {
        let cells = cells(self.text, self.records, self.layout, index);
        if let Some(declared) = self.target.declared.get(name) {
            return self.declared(&cells, name, declared);
        }
        let known =
            self.target.known.field_with_name(name).map_or(DataType::Null, |field| field.data_type().clone());
        if known != DataType::Null
            && let Some(array) = inferred(&cells, &known)?
        {
            return Ok(array);
        }
        let wider = match widen_over(&cells, known) {
            DataType::Null => DataType::Utf8,
            wider => wider,
        };
        // Types that are joined may not hold all values of both, such as instants far off in nanoseconds.
        match inferred(&cells, &wider)? {
            Some(array) => Ok(array),
            None => Ok(inferred(&cells, &DataType::Utf8)?.expect("every text is a string")),
        }
    }

    fn declared(&mut self, cells: &Cells<'_>, name: &str, column_type: &ColumnType) -> Result<ArrayRef> {
        let mut column = scalars(column_type.data_type(), Accept::Lenient)
            .map_err(|error| error.detail("column", name))?;
        for row in column.extend(cells, false) {
            let text = cells.get(row).map_or("", |(text, _)| text);
            let rejected = self
                .rejected(self.records.rows[row], format!("does not fit {column_type}"))
                .column(name, text);
            self.bad.entry(row).or_insert(rejected);
        }
        column.finish()
    }

    fn finish(self, mut rows: RecordBatch) -> Result<Decoded> {
        if !self.bad.is_empty() {
            let good: BooleanArray =
                (0..rows.num_rows()).map(|row| Some(!self.bad.contains_key(&row))).collect();
            rows = filter_record_batch(&rows, &good)?;
        }
        let expected = self.layout.names.len();
        let ragged = self.records.ragged.iter().map(|(span, found)| {
            let reason = format!("expected {expected} fields, found {found}");
            (span.start, self.rejected(*span, reason))
        });
        let mut rejected: Vec<_> = ragged.collect();
        rejected.extend(self.bad.into_iter().map(|(row, rejected)| (self.records.rows[row].start, rejected)));
        rejected.sort_by_key(|(start, _)| *start);
        Ok(Decoded {
            rows,
            rejected: rejected.into_iter().map(|(_, rejected)| rejected).collect(),
            ends: false,
        })
    }
}

/// The column as this type; `None` when a cell does not fit it.
fn inferred(cells: &Cells<'_>, data_type: &DataType) -> Result<Option<ArrayRef>> {
    let mut column = scalars(data_type, Accept::Canonical)?;
    if column.extend(cells, true).is_empty() { column.finish().map(Some) } else { Ok(None) }
}
