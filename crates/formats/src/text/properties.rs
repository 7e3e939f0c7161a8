//! What holds for any text: however it is cut into chunks, blocks and pieces, and wherever somebody stops and goes on,
//! the rows are the same.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde_json::json;
use towpath_core::{Json, Position, Result};
use towpath_testkit::context;

use super::Reader;
use super::testing::{WHOLE, batches, csv_with, declared, joined, json as document, ndjson, rows_of};
use crate::{ByteStream, Input, MemoryInput, Piece, ReadOptions};

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future);
}

/// Bytes that come in chunks of this length.
#[derive(Debug)]
struct Chunked {
    input: MemoryInput,
    bytes: Bytes,
    chunk: usize,
}

fn chunked(text: String, chunk: usize) -> Arc<dyn Input> {
    let bytes = Bytes::from(text);
    Arc::new(Chunked { input: MemoryInput::new("in", bytes.clone()), bytes, chunk })
}

#[async_trait]
impl Input for Chunked {
    fn name(&self) -> &str {
        self.input.name()
    }

    fn size(&self) -> Option<u64> {
        self.input.size()
    }

    async fn stream(&self, from: u64) -> Result<ByteStream> {
        let rest = self.bytes.slice(usize::try_from(from).unwrap().min(self.bytes.len())..);
        let chunks: Vec<_> = rest.chunks(self.chunk).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        Ok(futures::stream::iter(chunks).boxed())
    }

    async fn range(&self, range: Range<u64>) -> Result<Bytes> {
        self.input.range(range).await
    }
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(7),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Cells as they stand in a file: empty ones in quotes, so that none is null.
fn cell() -> impl Strategy<Value = (String, bool)> {
    let piece = prop_oneof![
        4 => "[a-z0-9 ]{1,12}",
        1 => Just("\"".to_owned()),
        1 => Just("\n".to_owned()),
        1 => Just("\r\n".to_owned()),
        1 => Just(",".to_owned()),
        1 => Just("é😀".to_owned()),
    ];
    (vec(piece, 0..4).prop_map(|pieces| pieces.concat()), any::<bool>())
}

fn written((text, quoted): &(String, bool)) -> String {
    let special = text.is_empty() || text.contains([',', '\n', '\r']) || text.starts_with('"');
    if *quoted || special { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.clone() }
}

/// Reads all pieces, and again from every position, and compares with the rows.
async fn check(reader: &Reader, input: &Arc<dyn Input>, target: u64, expected: &[Json]) {
    let whole = batches(reader, input, &WHOLE, &Position::Start).await.unwrap();
    assert_eq!(rows_of(&joined(&whole).0), expected, "the whole");
    let mut before = 0;
    for batch in &whole {
        before += batch.rows.num_rows();
        let rest = batches(reader, input, &WHOLE, &batch.resume).await.unwrap();
        assert_eq!(rows_of(&joined(&rest).0), expected[before..], "behind {:?}", batch.resume);
    }
    let pieces: Vec<Piece> = reader.pieces(&context(), input.clone(), target).try_collect().await.unwrap();
    assert_eq!((pieces[0].start, pieces[pieces.len() - 1].end), (0, None));
    let mut all = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        assert_eq!(piece.end, pieces.get(index + 1).map(|next| next.start), "pieces leave nothing out");
        all.extend(batches(reader, input, piece, &Position::Start).await.unwrap());
        let last = all.last().unwrap();
        assert!(last.rejected.is_empty());
        assert!(
            batches(reader, input, piece, &last.resume).await.unwrap().is_empty(),
            "behind a piece is nothing"
        );
    }
    assert_eq!(rows_of(&joined(&all).0), expected, "the pieces {pieces:?}");
}

proptest! {
    #![proptest_config(config(96))]

    #[test]
    fn csv_is_the_same_however_it_is_cut(
        table in vec((cell(), cell()), 1..24),
        chunk in 1_usize..40,
        block in 1_usize..80,
        target in 8_u64..120,
        carriage in any::<bool>(),
        mark in any::<bool>(),
    ) {
        let end = if carriage { "\r\n" } else { "\n" };
        let mut text = format!("{}a,b{end}", if mark { "\u{feff}" } else { "" });
        for (a, b) in &table {
            text.extend([&written(a), ",", &written(b), end]);
        }
        let expected: Vec<_> = table.iter().map(|(a, b)| json!({"a": a.0, "b": b.0})).collect();
        let reader = csv_with(|_| (), declared(&[("a", "string"), ("b", "string")])).with_block_bytes(block);
        block_on(check(&reader, &chunked(text, chunk), target, &expected));
    }

    #[test]
    fn csv_without_quotes_is_the_same_however_it_is_cut(
        table in vec(("[a-z\"]{1,9}", "[a-z\"]{1,9}"), 1..24),
        chunk in 1_usize..40,
        block in 1_usize..80,
        target in 8_u64..120,
    ) {
        let mut text = "a,b\n".to_owned();
        for (a, b) in &table {
            text.extend([a, ",", b, "\n"]);
        }
        let expected: Vec<_> = table.iter().map(|(a, b)| json!({"a": a, "b": b})).collect();
        let reader = csv_with(|csv| csv.quote = String::new(), ReadOptions::default()).with_block_bytes(block);
        block_on(check(&reader, &chunked(text, chunk), target, &expected));
    }

    #[test]
    fn ndjson_is_the_same_however_it_is_cut(
        table in vec((cell(), vec(0..100_i64, 0..3)), 1..24),
        chunk in 1_usize..40,
        block in 1_usize..80,
        target in 8_u64..120,
    ) {
        let expected: Vec<_> = table.iter().map(|((a, _), b)| json!({"a": a, "b": b})).collect();
        let text = expected.iter().map(Json::to_string).collect::<Vec<_>>().join("\n");
        let reader = ndjson(declared(&[("a", "string"), ("b", "list<int64>")])).with_block_bytes(block);
        block_on(check(&reader, &chunked(text, chunk), target, &expected));
    }

    #[test]
    fn a_document_is_the_same_however_it_is_cut(
        table in vec((cell(), vec(0..100_i64, 1..3)), 1..24),
        chunk in 1_usize..40,
        block in 1_usize..80,
        nested in any::<bool>(),
    ) {
        let expected: Vec<_> = table.iter().map(|((a, _), b)| json!({"a": a, "b": b})).collect();
        let array = serde_json::to_string_pretty(&expected).unwrap();
        let text = if nested { format!("{{\"x\": [{{}}], \"d\": {array}, \"y\": [1]}}") } else { array };
        let reader = document(nested.then_some("$.d")).with_block_bytes(block);
        block_on(check(&reader, &chunked(text, chunk), 1000, &expected));
    }
}
