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

#[cfg(test)]
mod tests {
    use mysql_common::constants::ColumnType;
    use mysql_common::packets::Column;

    use super::*;
    use crate::config::Tinyint1;
    use crate::types::source::TypeOptions;

    const KINDS: [ColumnType; 12] = [
        ColumnType::MYSQL_TYPE_TINY,
        ColumnType::MYSQL_TYPE_SHORT,
        ColumnType::MYSQL_TYPE_LONG,
        ColumnType::MYSQL_TYPE_LONGLONG,
        ColumnType::MYSQL_TYPE_DOUBLE,
        ColumnType::MYSQL_TYPE_NEWDECIMAL,
        ColumnType::MYSQL_TYPE_VAR_STRING,
        ColumnType::MYSQL_TYPE_BIT,
        ColumnType::MYSQL_TYPE_DATE,
        ColumnType::MYSQL_TYPE_DATETIME,
        ColumnType::MYSQL_TYPE_TIME,
        ColumnType::MYSQL_TYPE_GEOMETRY,
    ];

    fn columns() -> Arc<[SourceColumn]> {
        let options = TypeOptions { tinyint1: Tinyint1::Bool, zero_dates: ZeroDates::Reject };
        let column = |column_type| {
            let column = Column::new(column_type).with_name(b"c").with_character_set(45);
            SourceColumn::new(&column.with_column_length(12).with_decimals(2), None, options).unwrap()
        };
        KINDS.into_iter().map(column).collect()
    }

    /// What became of one row.
    fn decoded(packet: &[u8]) -> Result<Decoded> {
        let decoder = Decoder::new(columns(), ZeroDates::Reject, "t");
        let mut builders: Vec<Builder> =
            decoder.columns.iter().map(|column| Builder::new(column, 1, 0, ZeroDates::Reject)).collect();
        let mut faults = Vec::new();
        read_row(packet, 0, &mut builders, &mut faults)?;
        let arrays = builders.into_iter().enumerate().map(|(column, builder)| {
            builder.finish(|row, value, reason| faults.push(Fault { row, column, value, reason }))
        });
        let arrays = arrays.collect();
        decoder.assemble(arrays, 1, faults)
    }

    fn row() -> Vec<u8> {
        let mut row = vec![0, 0, 0];
        row.extend([1]);
        row.extend(7_i16.to_le_bytes());
        row.extend(8_i32.to_le_bytes());
        row.extend((-9_i64).to_le_bytes());
        row.extend(1.5_f64.to_le_bytes());
        for value in
            [&b"12.34"[..], "ü".as_bytes(), &[1, 0], &[232, 7, 2, 29], &[232, 7, 2, 29, 1, 2, 3], &[]]
        {
            row.push(u8::try_from(value.len()).unwrap());
            row.extend(value);
        }
        row.extend([9, 0, 0, 0, 0, 1, 1, 0, 0, 0]);
        row
    }

    #[test]
    fn a_row_is_read_to_its_end_and_not_further() {
        let whole = decoded(&row()).unwrap();
        assert_eq!((whole.rows.num_rows(), whole.rejected.len()), (1, 0));
        for length in 0..row().len() {
            assert!(decoded(&row()[..length]).is_err(), "a row of {length} bytes");
        }
        assert!(decoded(&[row(), vec![0]].concat()).is_err());
    }

    #[test]
    fn nulls_take_no_bytes() {
        let nulls = decoded(&[0, 0xFC, 0x3F]).unwrap();
        assert!(nulls.rows.columns().iter().all(|column| column.null_count() == 1));
    }

    #[test]
    fn a_text_that_is_none_rejects_its_row() {
        let mut broken = row();
        let at = broken.windows(2).position(|window| window == "ü".as_bytes()).unwrap();
        broken[at] = 0xFF;
        let decoded = decoded(&broken).unwrap();
        assert_eq!((decoded.rows.num_rows(), decoded.rejected.len()), (0, 1));
        assert!(decoded.rejected[0].reason.contains("UTF-8"));
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut state = 1_u64;
        for _ in 0..3_000 {
            let mut packet = row();
            for _ in 0..4 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let (at, byte) = ((state >> 33) as usize % packet.len(), (state >> 24).to_le_bytes()[0]);
                packet[at] = byte;
            }
            // Whether it can be read does not matter.
            let _ = decoded(&packet);
        }
    }
}
