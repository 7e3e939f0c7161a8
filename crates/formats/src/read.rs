//! Bytes to batches, whatever the format.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use futures::StreamExt;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use towpath_core::{BatchStream, Context, Error, Position, Result};

use crate::columnar::{self, Columnar};
#[cfg(any(feature = "csv", feature = "json"))]
use crate::text;
use crate::{Compression, CsvRead, HtmlRead, Input, JsonRead, ReadFormat, ReadOptions, XmlRead, codec};

/// A piece of an input that can be read on its own: all of it, a range of bytes on record boundaries, or row groups.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Piece {
    /// The first byte, or the first row group.
    pub start: u64,
    /// Behind the last byte or row group; `None` for the end of the input.
    pub end: Option<u64>,
    /// The number of the first line of text formats, for messages; 0 where it is not known.
    pub line: u64,
    /// How many bytes of the input it covers, for progress.
    pub bytes: Option<u64>,
}

/// Reads inputs of one format. One reader serves all files of a stream, and its clones know the same columns.
#[derive(Debug, Clone)]
pub struct Reader {
    format: Format,
}

#[derive(Debug, Clone)]
enum Format {
    #[cfg(any(feature = "csv", feature = "json"))]
    Text(text::Reader),
    Columnar(Columnar),
    #[cfg(feature = "bytes")]
    Bytes,
}

impl Reader {
    /// A reader for inputs like this one. The format is told by the options, else by the content type (`text/csv`,
    /// `application/json`, ...), else by the name's extensions (`.csv.gz`); the codec likewise.
    ///
    /// # Errors
    /// `Config` when the format cannot be told, names the formats; when this binary lacks the format or codec, names
    /// the cargo feature.
    pub fn new(
        mut options: ReadOptions,
        name: &str,
        content_type: Option<&str>,
        content_encoding: Option<&str>,
    ) -> Result<Self> {
        #[cfg(feature = "bytes")]
        if options.format == Some(ReadFormat::Bytes) {
            return Self::of_bytes(&options);
        }
        // What follows a path in a URL is not part of a file's name.
        let name = if name.contains("://") { name.split(['?', '#']).next().unwrap_or(name) } else { name };
        let compression = match options.compression {
            Some(compression) => compression,
            None => match content_encoding.map(Compression::of_content_encoding).transpose()?.flatten() {
                Some(compression) => compression,
                None => Compression::of_name(name).unwrap_or(Compression::None),
            },
        };
        codec::check(compression)?;
        let told = options.format.take();
        let told = told.or_else(|| content_type.and_then(ReadFormat::of_content_type));
        let format = told.or_else(|| ReadFormat::of_name(name)).ok_or_else(|| {
            Error::config("the format cannot be told from the name")
                .detail("input", name)
                .help("set `format` to csv, tsv, ndjson, json, xml, html, parquet, arrow or avro")
        })?;
        let format = match format {
            ReadFormat::Csv(csv) => csv_reader(csv, ',', compression, options)?,
            ReadFormat::Tsv(csv) => csv_reader(csv, '\t', compression, options)?,
            ReadFormat::Ndjson => json_reader(None, compression, options)?,
            ReadFormat::Json(json) => json_reader(Some(json), compression, options)?,
            ReadFormat::Xml(xml) => xml_reader(&xml, compression, options)?,
            ReadFormat::Sse(_) => {
                return Err(Error::unsupported("event streams are read over HTTP").detail("input", name));
            }
            ReadFormat::Html(html) => html_reader(&html, compression, options)?,
            ReadFormat::Parquet => columnar_format(Columnar::Parquet, compression)?,
            ReadFormat::Arrow => columnar_format(Columnar::Arrow, compression)?,
            ReadFormat::Avro => columnar_format(Columnar::Avro, compression)?,
            ReadFormat::Bytes => return Err(crate::feature::lacks("format", "bytes")),
        };
        Ok(Self { format })
    }

    /// A reader of files as they are.
    #[cfg(feature = "bytes")]
    fn of_bytes(options: &ReadOptions) -> Result<Self> {
        let of_rows = [
            (options.compression.is_some(), "compression"),
            (!options.columns.0.is_empty(), "columns"),
            (options.sample_rows.is_some(), "sample_rows"),
        ];
        match of_rows.iter().find(|(is_set, _)| *is_set) {
            None => Ok(Self { format: Format::Bytes }),
            Some((_, option)) => Err(Error::config(format!(
                "`{option}` does not go with `format: bytes`, which reads files as they are"
            ))
            .help(format!("remove `{option}`, or set another `format`"))),
        }
    }

    /// The columns of an input: from its footer, or declared and inferred from a sample. The reader remembers them for
    /// the inputs that it reads later, so that all batches agree as long as the data does.
    ///
    /// # Errors
    /// `DataInvalid` when the input is not of this format.
    pub async fn schema(&self, cx: &Context, input: &Arc<dyn Input>) -> Result<SchemaRef> {
        match &self.format {
            #[cfg(any(feature = "csv", feature = "json"))]
            Format::Text(reader) => reader.schema(cx, input).await,
            Format::Columnar(kind) => columnar::schema(*kind, cx, input).await,
            #[cfg(feature = "bytes")]
            Format::Bytes if input.reference().is_some() => Ok(towpath_core::reference_schema()),
            #[cfg(feature = "bytes")]
            Format::Bytes => Ok(towpath_core::chunk_schema()),
        }
    }

    /// Cuts an input into pieces of about this many bytes, on record boundaries, as far as its format allows. A
    /// compressed or small one is one piece.
    pub fn pieces(
        &self,
        cx: &Context,
        input: Arc<dyn Input>,
        target: u64,
    ) -> BoxStream<'static, Result<Piece>> {
        match &self.format {
            #[cfg(any(feature = "csv", feature = "json"))]
            Format::Text(reader) => reader.pieces(cx, input, target),
            Format::Columnar(kind) => columnar::pieces(*kind, cx, input, target),
            #[cfg(feature = "bytes")]
            Format::Bytes => crate::chunks::read::pieces(&*input, target),
        }
    }

    /// The batches of a piece. Each batch's position is exact: reading on from it gives the rows behind it. `columns`
    /// are the only ones wanted.
    ///
    /// A row that cannot be read is a `Rejected` of its batch, with place (`name:line`), column and value. Values that
    /// do not fit an inferred column, and unknown columns, give batches with a wider schema.
    pub fn read(
        &self,
        cx: &Context,
        input: Arc<dyn Input>,
        piece: &Piece,
        from: Position,
        columns: Option<&[String]>,
    ) -> BatchStream {
        if from == Position::End {
            return futures::stream::empty().boxed();
        }
        match &self.format {
            #[cfg(any(feature = "csv", feature = "json"))]
            Format::Text(reader) => reader.read(cx, input, piece, &from, columns),
            Format::Columnar(kind) => columnar::read(*kind, cx, input, piece, from, columns),
            // Chunks are whole or none.
            #[cfg(feature = "bytes")]
            Format::Bytes => crate::chunks::read::read(input, piece, &from),
        }
    }

    /// The rows of a page of JSON, with the columns that this reader knows. A small page is decoded where it is called,
    /// since a hop to another thread would cost more. `before` is how many rows of this URL or stream came before, for
    /// the places of messages (`https://api.example/users#12`). The batch's position is `End`: only the caller knows
    /// where the next page is.
    ///
    /// # Errors
    /// `DataInvalid` as [`Page::parse`](crate::json::Page::parse); `Config` when the format is not JSON.
    #[cfg(feature = "json")]
    pub async fn read_page(
        &self,
        cx: &Context,
        page: &crate::json::Page,
        before: u64,
        columns: Option<&[String]>,
    ) -> Result<towpath_core::Batch> {
        match &self.format {
            Format::Text(reader) => reader.page(cx, page, before, columns).await,
            _ => Err(Error::config("pages are JSON; remove `format`")),
        }
    }
}

#[cfg(all(test, any(feature = "csv", feature = "json")))]
impl Reader {
    pub(crate) fn into_text(self) -> text::Reader {
        match self.format {
            Format::Text(reader) => reader,
            other => panic!("{other:?} is no text"),
        }
    }
}

impl ReadFormat {
    fn of_content_type(content_type: &str) -> Option<Self> {
        let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        Some(match media_type.as_str() {
            "text/csv" | "application/csv" => Self::Csv(CsvRead::default()),
            "text/tab-separated-values" => Self::Tsv(CsvRead::default()),
            "application/x-ndjson"
            | "application/ndjson"
            | "application/jsonl"
            | "application/x-jsonlines" => Self::Ndjson,
            "application/vnd.apache.parquet" => Self::Parquet,
            "application/vnd.apache.arrow.file" | "application/vnd.apache.arrow.stream" => Self::Arrow,
            "application/avro" | "avro/binary" => Self::Avro,
            "application/json" | "text/json" => Self::Json(JsonRead::default()),
            other if other.ends_with("+json") => Self::Json(JsonRead::default()),
            "application/xml" | "text/xml" => Self::Xml(XmlRead::default()),
            other if other.ends_with("+xml") && other != "application/xhtml+xml" => {
                Self::Xml(XmlRead::default())
            }
            _ => return None,
        })
    }

    fn of_name(name: &str) -> Option<Self> {
        let name = match Compression::of_name(name) {
            Some(_) => name.rsplit_once('.')?.0,
            None => name,
        };
        Some(match name.rsplit_once('.')?.1.to_ascii_lowercase().as_str() {
            "csv" => Self::Csv(CsvRead::default()),
            "tsv" | "tab" => Self::Tsv(CsvRead::default()),
            "ndjson" | "jsonl" => Self::Ndjson,
            "json" => Self::Json(JsonRead::default()),
            "xml" | "rss" | "atom" => Self::Xml(XmlRead::default()),
            "parquet" | "pq" => Self::Parquet,
            "arrow" | "arrows" | "ipc" | "feather" => Self::Arrow,
            "avro" => Self::Avro,
            _ => return None,
        })
    }
}

#[cfg(feature = "csv")]
fn csv_reader(
    csv: CsvRead,
    delimiter: char,
    compression: Compression,
    options: ReadOptions,
) -> Result<Format> {
    let kind = text::Kind::csv(csv, delimiter)?;
    Ok(Format::Text(text::Reader::new(kind, compression, options)))
}

#[cfg(not(feature = "csv"))]
fn csv_reader(_: CsvRead, _: char, _: Compression, _: ReadOptions) -> Result<Format> {
    Err(crate::feature::lacks("format", "csv"))
}

#[cfg(feature = "json")]
fn json_reader(json: Option<JsonRead>, compression: Compression, options: ReadOptions) -> Result<Format> {
    let kind = match json {
        None => text::Kind::Ndjson,
        Some(json) => text::Kind::Json(json.records.map(|path| path.parse()).transpose()?),
    };
    Ok(Format::Text(text::Reader::new(kind, compression, options)))
}

#[cfg(not(feature = "json"))]
fn json_reader(_: Option<JsonRead>, _: Compression, _: ReadOptions) -> Result<Format> {
    Err(crate::feature::lacks("format", "json"))
}

#[cfg(feature = "xml")]
fn xml_reader(xml: &XmlRead, compression: Compression, options: ReadOptions) -> Result<Format> {
    let kind = text::Kind::Xml(text::xml::Layout::new(xml)?);
    Ok(Format::Text(text::Reader::new(kind, compression, options)))
}

#[cfg(not(feature = "xml"))]
fn xml_reader(_: &XmlRead, _: Compression, _: ReadOptions) -> Result<Format> {
    Err(crate::feature::lacks("format", "xml"))
}

#[cfg(feature = "html")]
fn html_reader(html: &HtmlRead, compression: Compression, options: ReadOptions) -> Result<Format> {
    let kind = text::Kind::Html(Arc::new(text::html::Extractor::new(html)?));
    Ok(Format::Text(text::Reader::new(kind, compression, options)))
}

#[cfg(not(feature = "html"))]
fn html_reader(_: &HtmlRead, _: Compression, _: ReadOptions) -> Result<Format> {
    Err(crate::feature::lacks("format", "html"))
}

fn columnar_format(kind: Columnar, compression: Compression) -> Result<Format> {
    if compression == Compression::None {
        kind.available()?;
        return Ok(Format::Columnar(kind));
    }
    Err(Error::unsupported(format!(
        "{kind:?} is read from any place of a file, so it cannot be inside {}",
        compression.name()
    ))
    .help("its own compression is within the file; set `compression: none` if the name misleads"))
}

#[cfg(all(test, feature = "csv", feature = "xml"))]
mod tests {
    use super::*;

    fn kind(name: &str, content_type: Option<&str>) -> String {
        match Reader::new(ReadOptions::default(), name, content_type, None).unwrap().format {
            Format::Text(reader) => reader.kind().to_owned(),
            Format::Columnar(kind) => format!("{kind:?}"),
            #[cfg(feature = "bytes")]
            Format::Bytes => "bytes".to_owned(),
        }
    }

    #[test]
    fn the_format_is_told_by_content_type_or_name() {
        for (name, content_type, expected) in [
            ("in/a.CSV", None, "csv"),
            ("a.b.tsv.gz", None, "csv"),
            ("a.jsonl.zst", None, "ndjson"),
            ("https://x.example/data.json?page=3.csv", None, "json"),
            ("https://x.example/data", Some("application/json; charset=utf-8"), "json"),
            ("https://x.example/data", Some("application/vnd.api+json"), "json"),
            ("https://x.example/data", Some("text/csv"), "csv"),
            ("https://x.example/data.ndjson", Some("application/octet-stream"), "ndjson"),
            ("feed.xml.gz", None, "xml"),
            ("https://x.example/feed", Some("application/atom+xml; charset=utf-8"), "xml"),
        ] {
            assert_eq!(kind(name, content_type), expected, "{name}");
        }
    }

    #[test]
    fn a_format_that_cannot_be_told_is_asked_for() {
        for name in ["data", "data.gz", "data.txt"] {
            let error = Reader::new(ReadOptions::default(), name, None, None).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!(
                    "the format cannot be told from the name (input: {name}); set `format` to csv, tsv, ndjson, json, \
                     xml, html, parquet, arrow or avro"
                )
            );
        }
    }

    #[test]
    fn a_wrong_path_to_the_records_fails_before_anything_is_read() {
        let format = Some(ReadFormat::Json(JsonRead { records: Some("data[".to_owned()) }));
        let options = ReadOptions { format, ..ReadOptions::default() };
        let error = Reader::new(options, "a", None, None).unwrap_err().to_string();
        assert!(error.starts_with("`data[` is not a JSONPath"), "{error}");
    }
}
