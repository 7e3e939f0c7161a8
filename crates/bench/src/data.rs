//! Rows that are the same every time.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// Where the random numbers begin.
pub(crate) const SEED: u64 = 7;
/// The columns, as the header names them.
const HEADER: &str = "id,created_at,category,name,score,amount,active";
pub(crate) const CATEGORIES: [&str; 12] = [
    "groceries",
    "books",
    "garden",
    "electronics",
    "clothing",
    "toys",
    "tools",
    "music",
    "sports",
    "health",
    "furniture",
    "stationery",
];
pub(crate) const WORDS: [&str; 16] = [
    "amber", "harbour", "willow", "lantern", "copper", "meadow", "granite", "ferry", "orchard", "saddle",
    "timber", "violet", "compass", "barley", "pebble", "thistle",
];

/// The columns and their types. JSON has no timestamps, so that they are text there.
pub(crate) fn schema(timestamps: bool) -> SchemaRef {
    let created_at =
        if timestamps { DataType::Timestamp(TimeUnit::Microsecond, None) } else { DataType::Utf8 };
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("created_at", created_at, true),
        Field::new("category", DataType::Utf8, true),
        Field::new("name", DataType::Utf8, true),
        Field::new("score", DataType::Float64, true),
        Field::new("amount", DataType::Float64, true),
        Field::new("active", DataType::Boolean, true),
    ]))
}

/// Writes so many rows as CSV, about 120 bytes each.
pub(crate) fn generate(rows: u64, path: &Path) -> Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    write(rows, &mut file)?;
    Ok(file.flush()?)
}

fn write(rows: u64, out: &mut impl Write) -> Result<()> {
    let mut random = fastrand::Rng::with_seed(SEED);
    writeln!(out, "{HEADER}")?;
    for id in 1..=rows {
        let (day, second) = (id / 3600 % 28 + 1, id % 3600);
        let (month, hour) = (id / 100_800 % 12 + 1, random.u32(0..24));
        write!(out, "{id},2026-{month:02}-{day:02}T{hour:02}:{:02}:{:02},", second / 60, second % 60)?;
        let category = CATEGORIES[random.usize(..CATEGORIES.len())];
        write!(out, "{category},")?;
        for _ in 0..6 {
            write!(out, "{} ", WORDS[random.usize(..WORDS.len())])?;
        }
        write!(out, "{:06},", random.u32(..1_000_000))?;
        let (score, cents) = (random.f64() * 1000.0, random.u32(..10_000_000));
        let active = random.bool();
        writeln!(out, "{score:.12},{}.{:02},{active}", cents / 100, cents % 100)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_rows_come_every_time_and_are_of_the_size_that_is_told() {
        let rows = || {
            let mut text = Vec::new();
            write(1000, &mut text).unwrap();
            text
        };
        let text = rows();
        assert_eq!(text, rows());
        assert!((110_000..125_000).contains(&text.len()), "{}", text.len());
    }

    #[test]
    fn the_columns_are_those_of_the_schema() {
        let names: Vec<_> = schema(true).fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names.join(","), HEADER);
    }
}
