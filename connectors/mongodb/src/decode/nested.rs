//! Documents and arrays under construction.

use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray, NullBufferBuilder, StructArray};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow_schema::Field;
use towpath_core::Result;

use super::builder::{Builder, Late};
use super::{Columns, Refusal, Trouble, shown};
use crate::schema::{Fields, Kind};
use crate::wire::{Elements, Value, tag, utf8};

/// Documents, as one column for each field.
pub(super) struct DocumentBuilder {
    fields: Fields,
    builders: Vec<Builder>,
    /// For each field, the number of the last document that had it, from one.
    seen: Vec<usize>,
    rows: usize,
    nulls: NullBufferBuilder,
}

impl DocumentBuilder {
    pub(super) fn new(fields: &Fields, rows: usize) -> Self {
        Self {
            builders: fields.kinds().iter().map(|kind| Builder::new(kind, rows)).collect(),
            seen: vec![0; fields.len()],
            fields: fields.clone(),
            rows: 0,
            nulls: NullBufferBuilder::new(rows),
        }
    }

    pub(super) fn append_null(&mut self) {
        for builder in &mut self.builders {
            builder.append_null();
        }
        self.rows += 1;
        self.nulls.append_null();
    }

    /// Appends a document. Behind an error the builder is of no use any more.
    pub(super) fn append(&mut self, document: &[u8], refusal: &mut Option<Refusal>) -> Result<(), Trouble> {
        self.rows += 1;
        self.nulls.append_non_null();
        let (row, mut next, mut count) = (self.rows, 0, 0);
        let mut elements = Elements::of(document)?;
        while let Some(element) = self.fields.next_of(&mut elements, next) {
            let (element, found) = element?;
            let Some(position) = found else {
                if self.fields.is_closed() {
                    continue;
                }
                // A name that is no UTF-8 has no column.
                utf8(element.name)?;
                return Err(Trouble::Misfit);
            };
            next = position + 1;
            if self.seen[position] == row {
                self.refuse_double(position, element.value, refusal);
                continue;
            }
            self.seen[position] = row;
            count += 1;
            let had = refusal.is_some();
            self.builders[position].append(element.value, refusal)?;
            if !had && let Some(refusal) = refusal {
                refusal.column = path(self.fields.name(position), &refusal.column);
            }
        }
        if count < self.builders.len() {
            self.fill_up();
        }
        Ok(())
    }

    fn refuse_double(&self, position: usize, value: Value<'_>, refusal: &mut Option<Refusal>) {
        let column = self.fields.name(position).to_owned();
        let reason = "the document has the field twice; `documents: whole` carries such documents".to_owned();
        refusal.get_or_insert(Refusal { column, value: shown(value), reason });
    }

    /// Appends a null to each field that the last document did not have.
    fn fill_up(&mut self) {
        for (builder, seen) in self.builders.iter_mut().zip(&mut self.seen) {
            if *seen != self.rows {
                *seen = self.rows;
                builder.append_null();
            }
        }
    }

    /// The columns, and rows that turned out to be refused.
    pub(super) fn finish(self) -> Result<(Columns, Late)> {
        let (mut columns, mut late) = (Vec::new(), Vec::new());
        for (position, builder) in self.builders.into_iter().enumerate() {
            let (column, refused) = builder.finish()?;
            columns.push(column);
            late.extend(refused.into_iter().map(|(row, mut refusal)| {
                refusal.column = path(self.fields.name(position), &refusal.column);
                (row, refusal)
            }));
        }
        Ok((columns, late))
    }

    pub(super) fn finish_struct(mut self) -> Result<(ArrayRef, Late)> {
        let (arrow, rows) = (self.fields.arrow(), self.rows);
        let nulls = self.nulls.finish();
        let (columns, late) = self.finish()?;
        Ok((Arc::new(StructArray::try_new_with_length(arrow, columns, nulls, rows)?), late))
    }
}

fn path(outer: &str, inner: &str) -> String {
    if inner.is_empty() { outer.to_owned() } else { format!("{outer}.{inner}") }
}

/// Arrays.
pub(super) struct ListBuilder {
    kind: Kind,
    items: Builder,
    count: usize,
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl ListBuilder {
    pub(super) fn new(item: &Kind, rows: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self {
            items: Builder::new(item, rows),
            kind: item.clone(),
            count: 0,
            offsets,
            nulls: NullBufferBuilder::new(rows),
        }
    }

    pub(super) fn append_null(&mut self) {
        self.close();
        self.nulls.append_null();
    }

    /// Ends a list. Batches are much smaller than what offsets can count.
    fn close(&mut self) {
        self.offsets.push(i32::try_from(self.count).unwrap_or(i32::MAX));
    }

    pub(super) fn append(&mut self, value: Value<'_>, refusal: &mut Option<Refusal>) -> Result<(), Trouble> {
        if value.tag != tag::ARRAY {
            return Err(Trouble::Misfit);
        }
        for element in value.elements()? {
            self.items.append(element?.value, refusal)?;
            self.count += 1;
        }
        self.close();
        self.nulls.append_non_null();
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<(ArrayRef, Late)> {
        // A refused item refuses the row that it is in.
        let (items, late) = self.items.finish()?;
        let offsets = self.offsets;
        let row = |item: usize| {
            offsets.partition_point(|&end| usize::try_from(end).is_ok_and(|end| end <= item)) - 1
        };
        let late = late.into_iter().map(|(item, refusal)| (row(item), refusal)).collect();
        let field = self.kind.field(Field::LIST_FIELD_DEFAULT_NAME);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        Ok((Arc::new(ListArray::try_new(field, offsets, items, self.nulls.finish())?), late))
    }
}
