//! The footer of a Parquet file: its columns and where its row groups are.

use std::ops::Range;
use std::sync::Arc;

use arrow_schema::{DataType, Fields, Schema, SchemaRef, TimeUnit};
use bytes::{Bytes, BytesMut};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::basic::Type;
use parquet::file::metadata::ParquetMetaDataReader;
use parquet::schema::types::ColumnDescriptor;
use towpath_core::{Context, Error, Result};

use crate::Input;

/// The end of a file that is fetched at once: most footers are within.
const TAIL_BYTES: u64 = 64 << 10;

/// The length of the footer and the magic bytes, at the very end.
const END_BYTES: usize = 8;

/// Fetches and decodes the footer.
///
/// # Errors
/// `DataInvalid` when the input is not Parquet, `Unsupported` when its footer is encrypted.
pub(super) async fn load(cx: &Context, input: &dyn Input, size: u64) -> Result<ArrowReaderMetadata> {
    let footer = fetch(input, size).await.map_err(|error| error.detail("input", input.name()))?;
    let name = input.name().to_owned();
    let decoded = cx.cpu(move || {
        let metadata = ParquetMetaDataReader::decode_metadata(&footer);
        let loaded = metadata.and_then(|metadata| {
            let metadata = Arc::new(metadata);
            let loaded = ArrowReaderMetadata::try_new(metadata.clone(), ArrowReaderOptions::new())?;
            match without_nanoseconds(&loaded) {
                None => Ok(loaded),
                Some(schema) => {
                    ArrowReaderMetadata::try_new(metadata, ArrowReaderOptions::new().with_schema(schema))
                }
            }
        });
        loaded.map_err(|error| Error::data("the footer cannot be decoded").source(error))
    });
    decoded.await.map_err(|error| {
        match error.kind() {
            towpath_core::ErrorKind::Unexpected => Error::data("the footer cannot be decoded").source(error),
            _ => error,
        }
        .detail("input", name)
    })
}

/// The columns with old timestamps of 96 bits in microseconds, if there are any. Such timestamps reach further than 64 bits
/// of nanoseconds, in which they would be read, silently wrapped around.
fn without_nanoseconds(loaded: &ArrowReaderMetadata) -> Option<SchemaRef> {
    let leaves = loaded.parquet_schema().columns().iter();
    let old =
        |leaf: &&Arc<ColumnDescriptor>| leaf.physical_type() == Type::INT96 && leaf.path().parts().len() == 1;
    let names: Vec<_> = leaves.filter(old).map(|leaf| leaf.name()).collect();
    let schema = loaded.schema();
    let fields = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Timestamp(TimeUnit::Nanosecond, zone) if names.contains(&field.name().as_str()) => {
            let data_type = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
            Arc::new(field.as_ref().clone().with_data_type(data_type))
        }
        _ => field.clone(),
    });
    let fields = fields.collect::<Fields>();
    (!names.is_empty()).then(|| Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone())))
}

async fn fetch(input: &dyn Input, size: u64) -> Result<Bytes> {
    let not_parquet = |why: String| {
        Error::data(format!("it is not Parquet: {why}")).help("is it complete, and is `format` right?")
    };
    if size < END_BYTES as u64 + 4 {
        return Err(not_parquet(format!("it has {size} bytes")));
    }
    let start = size.saturating_sub(TAIL_BYTES);
    let tail = input.range(start..size).await?;
    let Some((rest, end)) = tail.split_last_chunk::<END_BYTES>() else {
        return Err(not_parquet(format!("{} of its last bytes came", tail.len())));
    };
    let [a, b, c, d, magic @ ..] = *end;
    match &magic {
        b"PAR1" => {}
        b"PARE" => return Err(Error::unsupported("its footer is encrypted")),
        _ => return Err(not_parquet("it does not end with PAR1".to_owned())),
    }
    let length = u64::from(u32::from_le_bytes([a, b, c, d]));
    let Some(from) = (size - END_BYTES as u64).checked_sub(length) else {
        return Err(not_parquet(format!("its footer would have {length} of its {size} bytes")));
    };
    if from >= start {
        let from = usize::try_from(from - start).unwrap_or(usize::MAX);
        return Ok(tail.slice(from..rest.len()));
    }
    let before: Range<u64> = from..start;
    let mut footer = BytesMut::from(input.range(before).await?);
    footer.extend_from_slice(rest);
    Ok(footer.freeze())
}
