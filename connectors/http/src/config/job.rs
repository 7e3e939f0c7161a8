//! The options of jobs: answers that a server prepares, to be downloaded when they are ready.

use schemars::JsonSchema;
use serde::Deserialize;
use towpath_core::HumanDuration;
use towpath_formats::json::JsonPath;

use super::request::{ReadMethod, RequestBody};
use super::values::OneOrMany;

/// An answer that the server prepares: the stream's own request creates a job, its status is asked for until it is done,
/// and its result is downloaded.
///
/// `{job}` stands for the job's id in paths and in the body of the status request, besides the names of `params`. A run that
/// goes on asks for the same job. URLs of a result that are refused are asked for anew, once. A job that is gone is replaced by
/// another one if none of its rows has been loaded; if some have, only with `merge`, which keeps one of each. `append` cannot tell
/// which rows of another job it has, and fails; so does `replace`, of which nothing is seen yet, and the next run begins anew.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// `JSONPath` to the job's id in the answer that created it, such as `$.id`.
    #[serde(default)]
    pub id: Option<JsonPath>,
    /// How its status is asked for.
    pub status: JobStatus,
    /// Where its result is.
    pub result: JobResult,
}

/// How the status of a job is asked for: at a `path`, or at a URL that the answer that created the job holds.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobStatus {
    /// The path behind `base_url`, such as `/reports/{job}`.
    #[serde(default)]
    pub path: Option<String>,
    /// `JSONPath` to the URL in the answer that created the job.
    #[serde(default)]
    pub url: Option<JsonPath>,
    /// The header with the URL in the answer that created the job, such as `Location`.
    #[serde(default)]
    pub url_header: Option<String>,
    /// The method; by default GET, or POST with a `body`.
    #[serde(default)]
    pub method: Option<ReadMethod>,
    /// The body of the request.
    #[serde(default)]
    pub body: Option<RequestBody>,
    /// How long is waited between two requests; 2s by default. A `Retry-After` of the server counts instead.
    #[serde(default = "poll_every")]
    pub poll_every: HumanDuration,
    /// How long a job may take; 1h by default.
    #[serde(default = "timeout")]
    pub timeout: HumanDuration,
    /// What says that it is done; by default any answer but 202.
    #[serde(default)]
    pub done: Option<JobState>,
    /// What says that it has failed. The next run creates another one.
    #[serde(default)]
    pub failed: Option<JobState>,
    /// `JSONPath` to why it has failed.
    #[serde(default)]
    pub message: Option<JsonPath>,
}

/// A field of the status, and the values that count.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobState {
    /// `JSONPath` to the state, such as `$.status`.
    pub path: JsonPath,
    /// The values, such as `[DONE]`; upper and lower case are the same.
    pub values: OneOrMany,
}

/// Where the result of a job is. The stream's `records`, `format`, `compression` and `pagination` are about the result.
/// Credentials go to the connection's own host only.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobResult {
    /// `JSONPath` to one or several URLs in the last answer: that of `path` if there is one, else the status.
    #[serde(default)]
    pub url: Option<JsonPath>,
    /// The path behind `base_url`, such as `/reports/{job}/rows`.
    #[serde(default)]
    pub path: Option<String>,
    /// `JSONPath` to the result's own id in the status, for which `{result}` stands in `path`.
    #[serde(default)]
    pub id: Option<JsonPath>,
}

fn poll_every() -> HumanDuration {
    std::time::Duration::from_secs(2).into()
}

fn timeout() -> HumanDuration {
    std::time::Duration::from_hours(1).into()
}
