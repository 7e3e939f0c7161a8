//! Rows of the binary protocol as columns of Arrow.
//!
//! A row is a zero, a bit for each column that is null, and the values one behind the other; where a value begins is known
//! only when the one before it was read. So rows are read once from front to back, straight into builders.

mod builder;
mod decimal;
mod temporal;

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::filter_record_batch;
use arrow_schema::{Field, Schema, SchemaRef};
use towpath_core::{Json, Rejected, Result, json_row};

use crate::client::Rows;
use crate::config::ZeroDates;
use crate::errors::malformed;
use crate::types::source::SourceColumn;

use builder::{Builder, Cell};

/// Makes batches of rows.
#[derive(Debug, Clone)]
pub(crate) struct Decoder {
    columns: Arc<[SourceColumn]>,
    schema: SchemaRef,
    zero_dates: ZeroDates,
    /// Where the rows come from, for those that cannot be read.
    place: Arc<str>,
}

/// What became of some rows.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) rows: RecordBatch,
    pub(crate) rejected: Vec<Rejected>,
    /// All rows, those that were rejected included, which have nulls where nothing could be read.
    all: RecordBatch,
}

impl Decoded {
    /// The last row that came.
    pub(crate) fn last(&self) -> RecordBatch {
        self.all.slice(self.all.num_rows().saturating_sub(1), 1)
    }
}

/// A value that cannot be read.
struct Fault {
    row: usize,
    column: usize,
    value: String,
    reason: String,
}

impl Decoder {
    pub(crate) fn new(columns: Arc<[SourceColumn]>, zero_dates: ZeroDates, place: &str) -> Self {
        let fields: Vec<Field> = columns.iter().map(SourceColumn::field).collect();
        Self { columns, schema: Arc::new(Schema::new(fields)), zero_dates, place: place.into() }
    }

    /// Makes columns of rows. It keeps a processor busy.
    pub(crate) fn decode(&self, rows: &Rows) -> Result<Decoded> {
        let bytes = rows.bytes() / self.columns.len().max(1);
        let mut builders: Vec<Builder> = self
            .columns
            .iter()
            .map(|column| Builder::new(column, rows.len(), bytes, self.zero_dates))
            .collect();
        let mut faults = Vec::new();
        for (index, row) in rows.iter().enumerate() {
            read_row(&row, index, &mut builders, &mut faults)?;
        }
        let mut arrays = Vec::with_capacity(builders.len());
        for (column, builder) in builders.into_iter().enumerate() {
            arrays
                .push(builder.finish(|row, value, reason| faults.push(Fault { row, column, value, reason })));
        }
        self.assemble(arrays, rows.len(), faults)
    }

    fn assemble(&self, arrays: Vec<ArrayRef>, count: usize, mut faults: Vec<Fault>) -> Result<Decoded> {
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        if faults.is_empty() {
            let rows = RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)?;
            return Ok(Decoded { all: rows.clone(), rows, rejected: Vec::new() });
        }
        // What could not be read is null, also where the column has no nulls.
        let all = RecordBatch::try_new_with_options(self.nullable_schema(), arrays, &options)?;
        faults.sort_by_key(|fault| (fault.row, fault.column));
        faults.dedup_by_key(|fault| fault.row);
        let mut keep = vec![true; count];
        let mut rejected = Vec::with_capacity(faults.len());
        for fault in faults {
            keep[fault.row] = false;
            rejected.push(self.rejected(&all, fault)?);
        }
        let kept = filter_record_batch(&all, &BooleanArray::from(keep))?;
        let options = RecordBatchOptions::new().with_row_count(Some(kept.num_rows()));
        let rows = RecordBatch::try_new_with_options(self.schema.clone(), kept.columns().to_vec(), &options)?;
        Ok(Decoded { rows, rejected, all })
    }

    fn nullable_schema(&self) -> SchemaRef {
        let fields = self.schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    fn rejected(&self, all: &RecordBatch, fault: Fault) -> Result<Rejected> {
        let name = &self.columns[fault.column].name;
        let mut row = json_row(all, fault.row)?;
        row[name] = Json::String(fault.value.clone());
        Ok(Rejected::new(&*self.place, fault.reason).column(name, fault.value).row(row))
    }
}

/// Reads one row into the builders. A value that cannot be read is null in its column, and told.
fn read_row(packet: &[u8], index: usize, builders: &mut [Builder], faults: &mut Vec<Fault>) -> Result<()> {
    // The bits begin with two that mean nothing.
    let bitmap = (builders.len() + 2).div_ceil(8);
    let (head, mut rest) = packet.split_at_checked(1 + bitmap).ok_or_else(|| malformed("a short row"))?;
    let nulls = &head[1..];
    for (column, builder) in builders.iter_mut().enumerate() {
        let bit = column + 2;
        if nulls[bit / 8] >> (bit % 8) & 1 == 1 {
            builder.append_null();
            continue;
        }
        match builder.append(&mut rest) {
            Cell::Read => {}
            Cell::Faulty { value, reason } => faults.push(Fault { row: index, column, value, reason }),
            Cell::Malformed => return Err(malformed("a row that breaks off")),
        }
    }
    if rest.is_empty() { Ok(()) } else { Err(malformed("a row that is too long")) }
}
