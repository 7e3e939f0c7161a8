//! Codecs, read back by their own decoders.

use async_compression::tokio::bufread;
use tokio::io::{AsyncRead, AsyncReadExt};
use towpath_core::ErrorKind;
use towpath_testkit::context;

use crate::samples::{encode, encode_counted, orders};
use crate::{Compression, Encoder, MemoryOutput, ParquetWrite, WriteFormat, WriteOptions};

const CODECS: [(Compression, &str); 7] = [
    (Compression::Gzip, "gz"),
    (Compression::Zlib, "zz"),
    (Compression::Zstd, "zst"),
    (Compression::Bzip2, "bz2"),
    (Compression::Xz, "xz"),
    (Compression::Brotli, "br"),
    (Compression::Lz4, "lz4"),
];

async fn decode(compression: Compression, bytes: &[u8]) -> Vec<u8> {
    macro_rules! all_members {
        ($decoder:ident) => {{
            let mut decoder = bufread::$decoder::new(bytes);
            decoder.multiple_members(true);
            Box::new(decoder) as Box<dyn AsyncRead + Unpin>
        }};
    }
    let mut decoder = match compression {
        Compression::None => Box::new(bytes) as Box<dyn AsyncRead + Unpin>,
        Compression::Gzip => all_members!(GzipDecoder),
        Compression::Zlib => Box::new(bufread::ZlibDecoder::new(bytes)),
        Compression::Zstd => all_members!(ZstdDecoder),
        Compression::Bzip2 => all_members!(BzDecoder),
        Compression::Xz => all_members!(XzDecoder),
        Compression::Brotli => Box::new(bufread::BrotliDecoder::new(bytes)),
        Compression::Lz4 => all_members!(Lz4Decoder),
    };
    let mut out = Vec::new();
    decoder.read_to_end(&mut out).await.unwrap();
    out
}

#[tokio::test]
async fn every_codec_gives_back_what_was_written() {
    // Enough for several blocks.
    let rows = orders(36_000);
    let plain = encode(&WriteOptions::default(), "x.ndjson", std::slice::from_ref(&rows)).await.unwrap();
    for (compression, extension) in CODECS {
        let name = format!("x.ndjson.{extension}");
        let bytes = encode(&WriteOptions::default(), &name, std::slice::from_ref(&rows)).await.unwrap();
        assert!(bytes.len() * 2 < plain.len(), "{compression:?} made {} of {}", bytes.len(), plain.len());
        assert!(decode(compression, &bytes).await == plain, "{compression:?}");
    }
}

#[tokio::test]
async fn a_codec_is_set_or_told_by_the_name() {
    for (compression, extension) in CODECS {
        let set = WriteOptions { format: Some(WriteFormat::Ndjson), compression: Some(compression) };
        let set = encode(&set, "x", &[orders(10)]).await.unwrap();
        let told =
            encode(&WriteOptions::default(), &format!("x.ndjson.{extension}"), &[orders(10)]).await.unwrap();
        assert_eq!(set, told, "{compression:?}");
    }
}

#[tokio::test]
async fn a_compressed_file_without_rows_is_valid() {
    let schema = orders(1).schema();
    for (compression, extension) in CODECS {
        for (format, expected) in [("ndjson", ""), ("csv", "id,price,name,day,at\n"), ("json", "[\n]\n")] {
            let name = format!("x.{format}.{extension}");
            let (_, bytes) =
                encode_counted(&context(), &WriteOptions::default(), &name, &schema, &[]).await.unwrap();
            assert!(!bytes.is_empty(), "{name}");
            assert_eq!(decode(compression, &bytes).await, expected.as_bytes(), "{name}");
        }
    }
}

#[tokio::test]
async fn an_explicit_none_writes_as_it_is() {
    let options = WriteOptions { format: None, compression: Some(Compression::None) };
    let written = encode(&options, "x.csv.gz", &[orders(1)]).await.unwrap();
    assert!(written.starts_with(b"id,price"));
}

#[tokio::test]
async fn a_parquet_file_is_not_compressed_as_a_whole() {
    let schema = orders(1).schema();
    for (options, name) in [
        (WriteOptions::default(), "x.parquet.gz"),
        (
            WriteOptions {
                format: Some(WriteFormat::Parquet(ParquetWrite::default())),
                compression: Some(Compression::Zstd),
            },
            "x",
        ),
    ] {
        let error = Encoder::<MemoryOutput>::check(&options, name, &schema).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("a file of Parquet cannot be compressed as a whole"), "{error}");
        assert!(error.to_string().contains("format: { type: parquet, compression: ... }"), "{error}");
    }
}

#[test]
fn a_format_that_cannot_be_told_names_the_formats() {
    let schema = orders(1).schema();
    let error =
        Encoder::<MemoryOutput>::check(&WriteOptions::default(), "dir.csv/rows", &schema).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the format of `dir.csv/rows` cannot be told by its name; set `format` to csv, tsv, ndjson, json, parquet, \
         arrow or avro"
    );
}
