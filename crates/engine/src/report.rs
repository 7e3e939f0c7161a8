//! What a run did, for people and machines.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use towpath_core::{Delivery, Error, ErrorKind, Rejected, WriteDisposition};

use crate::{Advice, Ledger};

/// What a run did.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunReport {
    /// The pipeline's name.
    pub pipeline: String,
    /// The run's id.
    pub run: String,
    /// How it ended.
    pub status: RunStatus,
    /// When it began, RFC 3339.
    pub started: String,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Each stream, in the order of the pipeline.
    pub streams: Vec<StreamReport>,
    /// The limits' course, for each origin of each connection.
    pub limits: Vec<LimitCourse>,
    /// The greatest part of the memory budget that was in use, in bytes.
    pub peak_budget: u64,
    /// The one setting that would help most, if there is one.
    pub advice: Option<Advice>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Everything made it.
    Done,
    /// Something did not make it: a row, a split or a stream.
    Incomplete,
    /// It was told to stop.
    Interrupted,
}

/// What a stream did.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StreamReport {
    /// Its name.
    pub name: String,
    /// How it ended.
    pub status: StreamStatus,
    /// How rows landed.
    pub disposition: Option<WriteDisposition>,
    /// What this pipeline really guarantees.
    pub delivery: Option<Delivery>,
    /// Whether it went on with an interrupted run. Then its splits did not share one snapshot.
    pub resumed: bool,
    /// Rows read from the source.
    pub rows_read: u64,
    /// Rows committed by this run.
    pub rows_committed: u64,
    /// Rows that did not make it.
    pub rows_rejected: u64,
    /// Bytes read, as the source stores them.
    pub bytes_read: u64,
    /// Bytes written, as the target stores them.
    pub bytes_written: u64,
    /// Bytes that the service copied, without our reading and writing them.
    #[serde(default)]
    pub bytes_copied: u64,
    /// Splits that were planned in this run or left by the run before.
    pub splits: u64,
    /// Splits that were read to their end.
    pub splits_done: u64,
    /// Splits that failed; the next run reads them again.
    pub splits_failed: u64,
    /// Commits.
    pub commits: u64,
    /// Requests.
    pub requests: u64,
    /// Operations that were tried again.
    pub retries: u64,
    /// Answers that asked for fewer requests.
    pub throttled: u64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Where the time went.
    pub ledger: Ledger,
    /// What failed.
    pub failures: Vec<Failure>,
    /// The first rows that did not make it.
    pub rejected: Vec<Rejected>,
    /// What was noticed.
    pub warnings: Vec<String>,
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamStatus {
    /// Everything made it.
    Done,
    /// The rest made it, some rows or splits did not.
    Incomplete,
    /// It ended with an error.
    Failed,
    /// The run was told to stop.
    Interrupted,
}

/// A failure, in a form that can be kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Failure {
    /// What kind of failure it is.
    pub kind: ErrorKind,
    /// The split, if it was one.
    pub split: Option<String>,
    /// The whole text.
    pub message: String,
}

impl Failure {
    /// The failure of a stream, or of one of its splits.
    pub fn new(error: &Error, split: Option<&str>) -> Self {
        Self { kind: error.kind(), split: split.map(str::to_owned), message: error.to_string() }
    }
}

/// The course of the limits of one origin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LimitCourse {
    /// The connection.
    pub connection: String,
    /// `read` or `write`: each direction has limits of its own.
    pub direction: String,
    /// What its limiter tells: for each origin the smallest, largest and last limit, its steps, the pace, back-offs, and
    /// what was throttled.
    pub course: Json,
}

impl StreamReport {
    /// Whether something did not make it.
    pub fn is_incomplete(&self) -> bool {
        self.status != StreamStatus::Done
    }
}
