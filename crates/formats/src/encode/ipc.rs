//! Arrow IPC files. Encoding is little more than copying, so that one job at a time does.

use arrow::array::RecordBatch;
use arrow::compute::BatchCoalescer;
use arrow_ipc::writer::FileWriter;
use arrow_schema::{ArrowError, SchemaRef};
use async_trait::async_trait;
use towpath_core::{Context, Error, Result};

use super::Stage;
use crate::Output;
use crate::plain::{plain_rows, plain_schema};

/// Rows of a record batch.
const BATCH_ROWS: usize = 64 << 10;

/// Encodes an Arrow file.
pub(super) struct IpcStage {
    cx: Context,
    /// Gone while a job works with it, and after an error.
    file: Option<File>,
}

struct File {
    plain: SchemaRef,
    /// Joins and cuts batches, so that the file is the same however the rows came.
    batches: BatchCoalescer,
    writer: FileWriter<Vec<u8>>,
}

impl IpcStage {
    pub(super) fn new(cx: &Context, schema: &SchemaRef) -> Result<Self> {
        let plain = plain_schema(schema);
        let writer = FileWriter::try_new(Vec::new(), &plain).map_err(failed)?;
        let file = File { batches: BatchCoalescer::new(plain.clone(), BATCH_ROWS), plain, writer };
        Ok(Self { cx: cx.clone(), file: Some(file) })
    }

    /// Does something with the file on the CPU pool, and sends out what it wrote.
    async fn work(
        &mut self,
        output: &mut dyn Output,
        work: impl FnOnce(&mut File) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let file = self.file.take();
        let mut file = file.ok_or_else(|| Error::unexpected("the Arrow file was given up after an error"))?;
        let done = self.cx.cpu(move || {
            work(&mut file)?;
            let bytes = std::mem::take(file.writer.get_mut());
            Ok((file, bytes))
        });
        let (file, bytes) = done.await?;
        self.file = Some(file);
        if bytes.is_empty() { Ok(()) } else { output.write(bytes.into()).await }
    }
}

impl File {
    fn write_complete(&mut self) -> Result<()> {
        while let Some(batch) = self.batches.next_completed_batch() {
            self.writer.write(&batch).map_err(failed)?;
        }
        Ok(())
    }
}

#[async_trait]
impl Stage for IpcStage {
    async fn write(&mut self, rows: RecordBatch, output: &mut dyn Output) -> Result<()> {
        self.work(output, |file| {
            file.batches.push_batch(plain_rows(rows, &file.plain)?).map_err(failed)?;
            file.write_complete()
        })
        .await
    }

    async fn finish(&mut self, output: &mut dyn Output) -> Result<()> {
        self.work(output, |file| {
            file.batches.finish_buffered_batch().map_err(failed)?;
            file.write_complete()?;
            file.writer.finish().map_err(failed)
        })
        .await
    }
}

fn failed(error: ArrowError) -> Error {
    Error::unexpected("cannot encode Arrow IPC").source(error)
}

#[cfg(all(test, feature = "full"))]
mod tests {
    use std::io::Cursor;

    use arrow::compute::{cast, concat_batches};
    use arrow_ipc::reader::FileReader;
    use towpath_testkit::context;

    use crate::WriteOptions;
    use crate::plain::plain_type;
    use crate::samples::{batch, columns, encode, encode_counted, orders};

    use super::*;

    fn read(bytes: Vec<u8>) -> RecordBatch {
        let reader = FileReader::try_new(Cursor::new(bytes), None).unwrap();
        let schema = reader.schema();
        concat_batches(&schema, &reader.collect::<Result<Vec<_>, _>>().unwrap()).unwrap()
    }

    #[tokio::test]
    async fn every_type_is_carried() {
        for (name, column) in columns() {
            let bytes = encode(&WriteOptions::default(), "x.arrow", &[batch(name, &column)]).await.unwrap();
            let plain = plain_type(column.data_type());
            let expected = if plain == *column.data_type() { column } else { cast(&column, &plain).unwrap() };
            assert_eq!(read(bytes).column(0), &expected, "{name}");
        }
    }

    #[tokio::test]
    async fn the_file_is_the_same_whatever_the_batches() {
        let rows = orders(100_000);
        let whole = encode(&WriteOptions::default(), "x.arrow", std::slice::from_ref(&rows)).await.unwrap();
        let batches: Vec<_> =
            (0..100_000).step_by(7_777).map(|at| rows.slice(at, 7_777.min(100_000 - at))).collect();
        assert!(encode(&WriteOptions::default(), "x.arrow", &batches).await.unwrap() == whole);
        assert_eq!(read(whole), rows);
    }

    #[tokio::test]
    async fn no_rows_are_a_file_with_columns() {
        let schema = orders(1).schema();
        let (_, bytes) =
            encode_counted(&context(), &WriteOptions::default(), "x.feather", &schema, &[]).await.unwrap();
        assert_eq!(read(bytes), RecordBatch::new_empty(schema));
    }
}
