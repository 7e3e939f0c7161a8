//! The table `lineitem` of TPC-H.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Result, bail};
use arrow::array::RecordBatchReader;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::file::reader::{FileReader, SerializedFileReader};
use tpchgen::csv::LineItemCsv;
use tpchgen::generators::LineItemGenerator;
use tpchgen_arrow::LineItemArrow;

use crate::loops::{BUFFER, extension, parquet_properties};

/// Writes the table at a scale factor, as `.csv` without a header or as `.parquet`.
pub(crate) fn lineitem(scale: f64, path: &Path) -> Result<()> {
    let generator = LineItemGenerator::new(scale, 1, 1);
    match extension(path)? {
        "csv" => write_csv(&generator, File::create(path)?),
        "parquet" => write_parquet(generator, File::create(path)?),
        other => bail!("cannot write .{other}"),
    }
}

fn write_csv(generator: &LineItemGenerator<'static>, file: impl Write) -> Result<()> {
    let mut file = BufWriter::with_capacity(BUFFER, file);
    for row in generator.iter() {
        writeln!(file, "{}", LineItemCsv::new(row))?;
    }
    Ok(file.flush()?)
}

fn write_parquet(generator: LineItemGenerator<'static>, file: impl Write + Send) -> Result<()> {
    let batches = LineItemArrow::new(generator);
    let schema = RecordBatchReader::schema(&batches);
    // Other readers shall not be told that texts were views in this program's memory.
    let options =
        ArrowWriterOptions::new().with_properties(parquet_properties()?).with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(file, schema, options)?;
    for batch in batches {
        writer.write(&batch?)?;
    }
    writer.close()?;
    Ok(())
}

/// How many rows a Parquet file says that it has.
pub(crate) fn count(path: &Path) -> Result<i64> {
    Ok(SerializedFileReader::new(File::open(path)?)?.metadata().file_metadata().num_rows())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_hold_the_same_number_of_rows() {
        let mut text = Vec::new();
        write_csv(&LineItemGenerator::new(0.001, 1, 1), &mut text).unwrap();
        let lines = String::from_utf8(text).unwrap().lines().count();
        let folder = std::env::temp_dir().join(format!("towpath-bench-{}.parquet", std::process::id()));
        write_parquet(LineItemGenerator::new(0.001, 1, 1), File::create(&folder).unwrap()).unwrap();
        let rows = count(&folder).unwrap();
        std::fs::remove_file(&folder).unwrap();
        assert_eq!(usize::try_from(rows).unwrap(), lines);
        assert_eq!(lines, 6005);
    }
}
