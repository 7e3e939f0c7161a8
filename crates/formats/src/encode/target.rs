//! Which format and codec an output gets: by its options, else by its name.

use towpath_core::{Error, Result};

use crate::{Compression, CsvWrite, ParquetWrite, WriteFormat, WriteOptions};

/// A format with its codec.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(super) format: WriteFormat,
    #[cfg_attr(
        not(any(feature = "csv", feature = "json")),
        expect(dead_code, reason = "only text is compressed")
    )]
    pub(super) compression: Compression,
}

impl Target {
    /// What these options and this name ask for.
    ///
    /// # Errors
    /// `Config` when the format cannot be told, when this binary lacks format or codec, or when they do not go together.
    pub(crate) fn new(options: &WriteOptions, name: &str) -> Result<Self> {
        let file = name.rsplit(['/', '\\']).next().unwrap_or(name).to_ascii_lowercase();
        let (stem, by_name) = split_codec(&file);
        let format = options.format.clone().or_else(|| by_extension(stem)).ok_or_else(|| {
            Error::config(format!("the format of `{name}` cannot be told by its name"))
                .help("set `format` to csv, tsv, ndjson, json, parquet, arrow or avro")
        })?;
        if format == WriteFormat::Bytes {
            return Err(crate::feature::no_rows());
        }
        let compression = options.compression.unwrap_or(by_name);
        if !built(&format) {
            return Err(crate::feature::lacks("format", feature(&format)));
        }
        available(compression)?;
        if compression != Compression::None && !is_text(&format) {
            let help = if matches!(format, WriteFormat::Parquet(_)) {
                "leave out `compression`, and choose a codec by `format: { type: parquet, compression: ... }`"
            } else {
                "leave out `compression`"
            };
            return Err(Error::config(format!(
                "a file of {} cannot be compressed as a whole",
                self::name(&format)
            ))
            .detail("output", name)
            .help(help));
        }
        Ok(Self { format, compression })
    }
}

fn split_codec(file: &str) -> (&str, Compression) {
    let Some((stem, extension)) = file.rsplit_once('.') else { return (file, Compression::None) };
    let compression = match extension {
        "gz" | "gzip" => Compression::Gzip,
        "zz" | "zlib" => Compression::Zlib,
        "zst" | "zstd" => Compression::Zstd,
        "bz2" => Compression::Bzip2,
        "xz" => Compression::Xz,
        "br" => Compression::Brotli,
        "lz4" => Compression::Lz4,
        _ => return (file, Compression::None),
    };
    (stem, compression)
}

fn by_extension(file: &str) -> Option<WriteFormat> {
    Some(match file.rsplit_once('.')?.1 {
        "csv" => WriteFormat::Csv(CsvWrite::default()),
        "tsv" | "tab" => WriteFormat::Tsv(CsvWrite::default()),
        "ndjson" | "jsonl" => WriteFormat::Ndjson,
        "json" => WriteFormat::Json,
        "parquet" | "pq" => WriteFormat::Parquet(ParquetWrite::default()),
        "arrow" | "ipc" | "feather" => WriteFormat::Arrow,
        "avro" => WriteFormat::Avro,
        _ => return None,
    })
}

fn is_text(format: &WriteFormat) -> bool {
    matches!(format, WriteFormat::Csv(_) | WriteFormat::Tsv(_) | WriteFormat::Ndjson | WriteFormat::Json)
}

fn built(format: &WriteFormat) -> bool {
    match format {
        WriteFormat::Csv(_) | WriteFormat::Tsv(_) => cfg!(feature = "csv"),
        WriteFormat::Ndjson | WriteFormat::Json => cfg!(feature = "json"),
        WriteFormat::Parquet(_) => cfg!(feature = "parquet"),
        WriteFormat::Arrow => cfg!(feature = "arrow"),
        WriteFormat::Avro => cfg!(feature = "avro"),
        WriteFormat::Bytes => cfg!(feature = "bytes"),
    }
}

/// The cargo feature of a format.
pub(super) fn feature(format: &WriteFormat) -> &'static str {
    match format {
        WriteFormat::Csv(_) | WriteFormat::Tsv(_) => "csv",
        WriteFormat::Ndjson | WriteFormat::Json => "json",
        WriteFormat::Parquet(_) => "parquet",
        WriteFormat::Arrow => "arrow",
        WriteFormat::Avro => "avro",
        WriteFormat::Bytes => "bytes",
    }
}

/// The name of a format, for messages.
pub(super) fn name(format: &WriteFormat) -> &'static str {
    match format {
        WriteFormat::Csv(_) => "CSV",
        WriteFormat::Tsv(_) => "TSV",
        WriteFormat::Ndjson => "NDJSON",
        WriteFormat::Json => "JSON",
        WriteFormat::Parquet(_) => "Parquet",
        WriteFormat::Arrow => "Arrow",
        WriteFormat::Avro => "Avro",
        WriteFormat::Bytes => "bytes",
    }
}

/// Whether this binary has a codec.
///
/// # Errors
/// `Config` names the feature that it lacks.
fn available(compression: Compression) -> Result<()> {
    let (built, feature) = match compression {
        Compression::None => return Ok(()),
        Compression::Gzip => (cfg!(feature = "gzip"), "gzip"),
        Compression::Zlib => (cfg!(feature = "zlib"), "zlib"),
        Compression::Zstd => (cfg!(feature = "zstd"), "zstd"),
        Compression::Bzip2 => (cfg!(feature = "bzip2"), "bzip2"),
        Compression::Xz => (cfg!(feature = "xz"), "xz"),
        Compression::Brotli => (cfg!(feature = "brotli"), "brotli"),
        Compression::Lz4 => (cfg!(feature = "lz4"), "lz4"),
    };
    if built { Ok(()) } else { Err(crate::feature::lacks("codec", feature)) }
}
