//! Helpers of the tests of all formats.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use towpath_core::{Batch, Position, Result};
use towpath_testkit::context;

use super::{Columnar, pieces, read, schema};
use crate::{ByteStream, Input, MemoryInput, Piece};

/// Bytes as an input.
pub(super) fn input(bytes: &[u8]) -> Arc<dyn Input> {
    Arc::new(MemoryInput::new("rows.data", bytes.to_vec()))
}

/// All of an input.
pub(super) fn whole() -> Piece {
    Piece { start: 0, end: None, line: 0, bytes: None }
}

/// The batches of a piece.
pub(super) async fn read_batches(
    kind: Columnar,
    input: Arc<dyn Input>,
    piece: &Piece,
    from: Position,
) -> Result<Vec<Batch>> {
    read(kind, &context(), input, piece, from, None).try_collect().await
}

/// The rows of an input with their schema, which is checked against the one that the input tells.
pub(super) async fn read_rows(kind: Columnar, input: Arc<dyn Input>) -> Result<RecordBatch> {
    let told = schema(kind, &context(), &input).await?;
    let batches = read_batches(kind, input, &whole(), Position::Start).await?;
    if let Some((last, before)) = batches.split_last() {
        assert_eq!(last.resume, Position::End);
        assert!(before.iter().all(|batch| batch.resume != Position::End));
    }
    Ok(concat_batches(&told, batches.iter().map(|batch| &batch.rows))?)
}

/// Reads an input piece by piece, each from its start and from every position on, and checks that nothing is lost or
/// doubled. Gives the rows and how many pieces there were.
pub(super) async fn resumed(kind: Columnar, bytes: &[u8], target: u64) -> (RecordBatch, usize) {
    let told = schema(kind, &context(), &input(bytes)).await.unwrap();
    let pieces: Vec<Piece> =
        pieces(kind, &context(), input(bytes), target).map(Result::unwrap).collect().await;
    let mut all = Vec::new();
    for piece in &pieces {
        let piece: Piece = serde_json::from_value(serde_json::to_value(piece).unwrap()).unwrap();
        let whole = read_batches(kind, input(bytes), &piece, Position::Start).await.unwrap();
        for index in 0..whole.len() {
            let expected = concat_batches(&told, whole[index + 1..].iter().map(|batch| &batch.rows)).unwrap();
            let resume = whole[index].resume.clone();
            let found = if resume == Position::End {
                assert_eq!(index + 1, whole.len());
                Vec::new()
            } else {
                read_batches(kind, input(bytes), &piece, resume).await.unwrap()
            };
            assert_eq!(concat_batches(&told, found.iter().map(|batch| &batch.rows)).unwrap(), expected);
        }
        all.extend(whole.into_iter().map(|batch| batch.rows));
    }
    (concat_batches(&told, &all).unwrap(), pieces.len())
}

/// An input that counts the bytes that are read.
#[derive(Debug)]
pub(super) struct Counting {
    input: MemoryInput,
    pub(super) bytes: AtomicU64,
}

impl Counting {
    pub(super) fn new(bytes: &[u8]) -> Arc<Self> {
        Arc::new(Self { input: MemoryInput::new("counted", bytes.to_vec()), bytes: AtomicU64::new(0) })
    }
}

#[async_trait]
impl Input for Counting {
    fn name(&self) -> &str {
        self.input.name()
    }

    fn size(&self) -> Option<u64> {
        self.input.size()
    }

    async fn stream(&self, from: u64) -> Result<ByteStream> {
        self.input.stream(from).await
    }

    async fn range(&self, range: Range<u64>) -> Result<Bytes> {
        self.bytes.fetch_add(range.end - range.start, Ordering::Relaxed);
        self.input.range(range).await
    }
}

/// An input without a length, as a body of HTTP.
#[derive(Debug)]
pub(super) struct Endless(pub(super) MemoryInput);

#[async_trait]
impl Input for Endless {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn size(&self) -> Option<u64> {
        None
    }

    async fn stream(&self, from: u64) -> Result<ByteStream> {
        self.0.stream(from).await
    }

    async fn range(&self, _: Range<u64>) -> Result<Bytes> {
        panic!("a body has no ranges")
    }
}

/// Reads inputs that are broken at many places. They give rows or an error that says where, and never a panic.
pub(super) async fn assert_broken_inputs_are_errors(kind: Columnar, bytes: &[u8]) {
    let step = (bytes.len() / 150).max(1);
    for at in (0..bytes.len()).step_by(step) {
        let mut broken = bytes.to_vec();
        broken[at] ^= 0x55;
        for broken in [&broken[..], &bytes[..at]] {
            if let Err(error) = read_rows(kind, input(broken)).await {
                assert_ne!(error.kind(), towpath_core::ErrorKind::Unexpected, "{error}");
                assert_eq!(error.detail_value("input"), Some("rows.data"), "{error}");
            }
        }
    }
}
