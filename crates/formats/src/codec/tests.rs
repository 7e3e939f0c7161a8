//! Reading what is compressed.

use std::sync::Arc;

use async_compression::tokio::bufread;
use serde_json::json;
use tokio::io::AsyncReadExt;
use towpath_core::{ByteSize, Position};
use towpath_testkit::context;

use crate::text::testing::{WHOLE, batches, input, joined, messages, rows_of};
use crate::{Compression, Input, ReadOptions, Reader};

async fn compressed(compression: Compression, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match compression {
        Compression::None => out.extend_from_slice(bytes),
        Compression::Gzip => drop(bufread::GzipEncoder::new(bytes).read_to_end(&mut out).await.unwrap()),
        Compression::Zlib => drop(bufread::ZlibEncoder::new(bytes).read_to_end(&mut out).await.unwrap()),
        Compression::Zstd => drop(bufread::ZstdEncoder::new(bytes).read_to_end(&mut out).await.unwrap()),
        Compression::Bzip2 => drop(bufread::BzEncoder::new(bytes).read_to_end(&mut out).await.unwrap()),
        Compression::Xz => drop(bufread::XzEncoder::new(bytes).read_to_end(&mut out).await.unwrap()),
        Compression::Brotli => drop(bufread::BrotliEncoder::new(bytes).read_to_end(&mut out).await.unwrap()),
        Compression::Lz4 => drop(bufread::Lz4Encoder::new(bytes).read_to_end(&mut out).await.unwrap()),
    }
    out
}

const ALL: [(Compression, &str); 7] = [
    (Compression::Gzip, "gz"),
    (Compression::Zlib, "zz"),
    (Compression::Zstd, "zst"),
    (Compression::Bzip2, "bz2"),
    (Compression::Xz, "xz"),
    (Compression::Brotli, "br"),
    (Compression::Lz4, "lz4"),
];

/// Some hundred thousand bytes that do not compress to nothing.
fn rows(count: u64) -> String {
    let row = |n: u64| format!("{n},{:x}\n", n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    std::iter::once("n,s\n".to_owned()).chain((0..count).map(row)).collect()
}

fn text_reader(options: ReadOptions, name: &str) -> crate::text::Reader {
    Reader::new(options, name, None, None).unwrap().into_text().with_block_bytes(64 << 10)
}

#[tokio::test]
async fn every_codec_is_told_by_name_and_can_be_resumed() {
    let text = rows(20_000);
    for (compression, extension) in ALL {
        let name = format!("in/a.csv.{extension}");
        let input = input(&name, compressed(compression, text.as_bytes()).await);
        let reader = text_reader(ReadOptions::default(), &name);
        let all = batches(&reader, &input, &WHOLE, &Position::Start).await.unwrap();
        assert!(all.len() > 3, "{name}");
        let (whole, _) = joined(&all);
        assert_eq!(whole.num_rows(), 20_000, "{name}");
        let (rest, _) = joined(&batches(&reader, &input, &WHOLE, &all[1].resume).await.unwrap());
        let before = all[0].rows.num_rows() + all[1].rows.num_rows();
        assert_eq!(rest, whole.slice(before, whole.num_rows() - before), "{name}");
    }
}

#[tokio::test]
async fn members_one_after_the_other_are_one_file() {
    let text = rows(1_000);
    let (first, second) = text.split_at(text.len() / 2);
    for (compression, extension) in ALL {
        let name = format!("a.csv.{extension}");
        let mut bytes = compressed(compression, first.as_bytes()).await;
        bytes.extend(compressed(compression, second.as_bytes()).await);
        let reader = text_reader(ReadOptions::default(), &name);
        let all = batches(&reader, &input(&name, bytes), &WHOLE, &Position::Start).await.unwrap();
        assert_eq!(joined(&all).0.num_rows(), 1_000, "{name}");
    }
}

#[tokio::test]
async fn a_truncated_file_is_an_error_or_keeps_its_rows_by_choice() {
    let text = rows(20_000);
    for (compression, extension) in ALL {
        let name = format!("in/a.csv.{extension}");
        let mut bytes = compressed(compression, text.as_bytes()).await;
        bytes.truncate(bytes.len() / 2);
        let reader = text_reader(ReadOptions::default(), &name);
        let error =
            batches(&reader, &input(&name, bytes.clone()), &WHOLE, &Position::Start).await.unwrap_err();
        let text = error.to_string();
        let codec = compression.name();
        assert!(text.starts_with(&format!("it ends in the middle of the {codec} stream after ")), "{text}");
        assert!(
            text.ends_with(&format!(
                " rows (input: {name}); get the whole file, or set `keep_truncated: true` to keep the rows before \
                 the end"
            )),
            "{text}"
        );
        let keeping = ReadOptions { keep_truncated: true, ..ReadOptions::default() };
        let reader = text_reader(keeping, &name);
        let kept = batches(&reader, &input(&name, bytes), &WHOLE, &Position::Start).await.unwrap();
        let (kept, rejected) = joined(&kept);
        assert!(kept.num_rows() < 20_000, "{name}: {}", kept.num_rows());
        // Bzip2 gives nothing of a block that is not all there, and this is one block.
        assert!(kept.num_rows() > 0 || compression == Compression::Bzip2, "{name}");
        if let Some(last) = rows_of(&kept).pop() {
            assert_eq!(last["n"], json!(kept.num_rows() - 1), "{name}: only whole rows are kept");
        }
        let line = kept.num_rows() + 2;
        let expected = format!("{name}:{line}: the input ends in the middle of this record");
        assert!(rejected.is_empty() || messages(&rejected) == [expected], "{rejected:?}");
    }
}

#[tokio::test]
async fn a_bomb_ends_with_an_error_that_names_limit_and_option() {
    let bomb = compressed(Compression::Gzip, &vec![b'\n'; 8 << 20]).await;
    let options = ReadOptions { max_decompressed: Some(ByteSize::mib(2)), ..ReadOptions::default() };
    let reader = text_reader(options, "bomb.ndjson.gz");
    let error = batches(&reader, &input("bomb.ndjson.gz", bomb), &WHOLE, &Position::Start).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "it becomes more than 2MiB when it is decompressed (input: bomb.ndjson.gz); set `max_decompressed` higher if \
         it is meant to be so large"
    );
}

#[tokio::test]
async fn broken_data_names_the_codec_and_the_option() {
    for (compression, extension) in ALL {
        if compression == Compression::Brotli {
            // Nearly any bytes are some Brotli.
            continue;
        }
        let name = format!("a.csv.{extension}");
        let reader = text_reader(ReadOptions::default(), &name);
        let input = input(&name, "a,b\n1,2\n3,4 and some more text that is not compressed at all\n");
        let error = batches(&reader, &input, &WHOLE, &Position::Start).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("the {} stream is broken: ", compression.name())), "{error}");
        assert!(error.ends_with("; is `compression` right?"), "{error}");
    }
}

#[tokio::test]
async fn what_is_compressed_is_one_piece() {
    let bytes = compressed(Compression::Gzip, rows(10_000).as_bytes()).await;
    let input: Arc<dyn Input> = input("a.csv.gz", bytes);
    let reader = Reader::new(ReadOptions::default(), "a.csv.gz", None, None).unwrap();
    let pieces: Vec<_> =
        futures::TryStreamExt::try_collect(reader.pieces(&context(), input.clone(), 1_000)).await.unwrap();
    assert_eq!(pieces.len(), 1);
    assert_eq!((pieces[0].end, pieces[0].bytes), (None, input.size()));
}

#[test]
fn an_option_overrules_what_is_told_by_header_and_name() {
    for (option, encoding, name, codec) in [
        (None, None, "a.csv.gz", Compression::Gzip),
        (None, None, "https://x.example/a.csv.zst?sig=a.b", Compression::Zstd),
        (None, Some("br"), "https://x.example/a.csv", Compression::Brotli),
        (None, Some("identity"), "a.csv.gz", Compression::Gzip),
        (Some(Compression::None), None, "a.csv.gz", Compression::None),
    ] {
        let options = ReadOptions { compression: option, ..ReadOptions::default() };
        let reader = Reader::new(options, name, None, encoding).unwrap().into_text();
        assert_eq!(reader.compression(), codec, "{name}");
    }
    let error = Reader::new(ReadOptions::default(), "a.csv", None, Some("rot13")).unwrap_err();
    assert_eq!(error.to_string(), "the content encoding `rot13` is not known");
}
